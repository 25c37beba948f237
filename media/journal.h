/* SPDX-License-Identifier: GPL-3.0-or-later */
/* journal - the .jrn file of a prepared drive, and its smaller per-drive form.
 *
 * A log of update records; the last value of (activity, key) counts. Read tolerantly, written
 * strictly: V1 and V2 journals, the V2 per-drive ".xml" that is really one record, and plain XML.
 * The content decides, never the extension. What the vocabulary does not say is kept and listed.
 * Source: import-export specification 1.2 to 1.9. Keys live in locked memory and are never
 * reported. */
#pragma once

#include "base/secret.h"
#include "base/str.h"
#include "media/finding.h"

#define MED_JOURNAL_MAX_BYTES \
        ((size_t)15 << 20) /* the portal takes 2 MB; a long history may be larger */
#define MED_JOURNAL_PORTAL_BYTES 2000000
#define MED_JOURNAL_MAX_DRIVES   1024
#define MED_JOURNAL_MAX_FIELDS   200000

enum med_key_form {
        MED_KEY_FORM_NONE,      /* absent or empty */
        MED_KEY_FORM_NUMERICAL, /* eight groups of six digits */
        MED_KEY_FORM_EXTERNAL,  /* base64 */
        MED_KEY_FORM_REDACTED,  /* a run of asterisks, as published samples have it */
        MED_KEY_FORM_UNKNOWN,
        _MED_KEY_FORM_MAX,
        _MED_KEY_FORM_INVALID = -EINVAL,
};
const char *med_key_form_to_string(enum med_key_form form);

/* What the service wants to know of one drive (spec 1.4, 7.6). */
struct med_journal_drive {
        char *drive_id;                   /* blanks removed; never empty */
        struct bth_secret *bitlocker_key; /* NULL when absent */
        enum med_key_form key_form;
        char *manifest_file;     /* "\DriveManifest.xml"; NULL when absent */
        char *manifest_hash;     /* hex as written; NULL when absent */
        char *drive_header_hash; /* NULL when absent */
        uint64_t line;           /* where this drive's record begins */
};

struct med_journal_field {
        const char *record;   /* type of the record, "ActivityRecord"; "" when it names none */
        const char *activity; /* "" outside an activity */
        const char *key;      /* "" for a stray line, whose text is the value */
        const char *value;    /* NUL-terminated; secret when `secret` is set: do not print */
        size_t value_length;
        uint64_t line;
        bool secret;
        bool known; /* the key is in the public vocabulary, or is ours */
};

struct med_journal {
        char *vocabulary;                 /* "2013-02-01", or NULL */
        struct med_journal_drive *drives; /* one per DriveId, in order of first appearance */
        size_t n_drives;
        struct med_journal_field *fields; /* every field in file order, unknown ones too */
        size_t n_fields;
        struct bth_secret *text; /* what the fields point into */
        bool is_xml;             /* plain XML, not records */
        bool cut_off;            /* the last record was not ended, and was dropped */
};

/* Reads a journal from memory. Complaints go to `findings`.
 * Returns 0; -EBADMSG with BTH_REASON_NOT_A_JOURNAL for anything else, XML that is not well-formed,
 * or too many drives or fields; -EFBIG; -EILSEQ for text in no known encoding; -ENOMEM. A journal
 * without a drive is read, and is a finding. */
int med_journal_parse(const void *data, size_t n, const struct med_findings *findings,
                      struct med_journal **ret_journal, struct bth_error *error) _must_check_;
/* The same from a file. Returns also -errno of open(2) and read(2). */
int med_journal_load(const char *path, const struct med_findings *findings,
                     struct med_journal **ret_journal, struct bth_error *error) _must_check_;
struct med_journal *med_journal_free(struct med_journal *j); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(med_journal_free, struct med_journal *);

/* The last value of a key, or NULL. */
const char *med_journal_get(const struct med_journal *j, const char *activity, const char *key);
/* The drive of this id (blanks ignored, ASCII case ignored), or NULL. */
const struct med_journal_drive *med_journal_drive(const struct med_journal *j,
                                                  const char *drive_id);

/* Is the key well formed? For a numerical key that fails, *ret_group is the first wrong group (1 to
 * 8), else 0. Published samples have invented keys, so this warns and never rejects (spec 1.5). */
enum med_key_form med_key_form_of(const char *key, size_t n, unsigned *ret_group);

/* -- writing
 * ----------------------------------------------------------------------------------------- */

struct med_journal_value {
        const char *key;
        const char *value; /* one line, or with `block` several */
        bool block;
};

/* Adds one record to `out`. `activity` NULL makes a NewJournalFile record. Line ends are CRLF.
 * Returns 0, -EINVAL when a key or value could not be read back, -ENOMEM. */
int med_journal_write_record(struct bth_buf *out, uint64_t realtime_usec, const char *activity,
                             const struct med_journal_value *values, size_t n_values) _must_check_;

/* The DriveState XML of spec 1.4. Absent texts are left out. Returns 0, -EINVAL, -ENOMEM. */
int med_journal_write_drive_state(struct bth_buf *out, const struct med_journal_drive *d)
        _must_check_;

/* Adds the DriveInfo record of a drive. Returns 0, -EINVAL, -ENOMEM. */
int med_journal_write_drive(struct bth_buf *out, uint64_t realtime_usec,
                            const struct med_journal_drive *d) _must_check_;

/* Appends records to a journal file so that they are durable when this returns; creates it with
 * mode 0600 and a NewJournalFile record. What a crash left of a last record is cut off first, as
 * readers drop it. Returns 0; -EBADMSG with BTH_REASON_NOT_A_JOURNAL for a file of another kind,
 * -ENOTSUP for one in UTF-16, both untouched; or -errno with the file named. */
int med_journal_append(const char *path, const struct bth_buf *records, uint64_t realtime_usec,
                       struct bth_error *error) _must_check_;
