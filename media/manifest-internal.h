/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manifest-internal - what the two halves of the reader share: manifest-parse.c turns XML events
 * into blobs, manifest-read.c feeds it and hands them out. Nobody else includes this. */
#pragma once

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "media/manifest.h"
#include "media/xml.h"

#define MANIFEST_NOTES_MAX    48u /* findings kept for one blob; more are only counted */
#define MANIFEST_DETAIL_BYTES 160
#define MANIFEST_SECRET_BYTES 4096u

/* Names of elements and attributes. X(identifier, name) */
#define TOKENS(X)                               \
        X(BLOCK, "Block")                       \
        X(PAGE_RANGE, "PageRange")              \
        X(FILE_RANGE, "FileRange")              \
        X(OFFSET, "Offset")                     \
        X(LENGTH, "Length")                     \
        X(ID, "Id")                             \
        X(HASH, "Hash")                         \
        X(BLOB, "Blob")                         \
        X(BLOB_PATH, "BlobPath")                \
        X(FILE_PATH, "FilePath")                \
        X(DISPOSITION, "ImportDisposition")     \
        X(BLOCK_LIST, "BlockList")              \
        X(PAGE_RANGE_LIST, "PageRangeList")     \
        X(METADATA_PATH, "MetadataPath")        \
        X(PROPERTIES_PATH, "PropertiesPath")    \
        X(CLIENT_DATA, "ClientData")            \
        X(SNAPSHOT, "Snapshot")                 \
        X(FILE, "File")                         \
        X(FILE_STORAGE_PATH, "FileStoragePath") \
        X(FILE_RANGE_LIST, "FileRangeList")     \
        X(BLOB_LIST, "BlobList")                \
        X(DRIVE_MANIFEST, "DriveManifest")      \
        X(VERSION, "Version")                   \
        X(DRIVE, "Drive")                       \
        X(DRIVE_ID, "DriveId")                  \
        X(ACCOUNT_KEY, "StorageAccountKey")     \
        X(CONTAINER_SAS, "ContainerSas")        \
        X(CLIENT_CREATOR, "ClientCreator")

enum token {
#define X(id, name) T_##id,
        TOKENS(X)
#undef X
                N_TOKENS,
        T_UNKNOWN = N_TOKENS,
};

/* What an open element is, and so what may be in it. */
enum state {
        S_DOCUMENT,
        S_ROOT,
        S_DRIVE,
        S_LIST,
        S_BLOB,
        S_RANGES,
        S_RANGE,
        S_LEAF,
        S_UNKNOWN, /* below Drive: entries may still be found in it */
        S_IGNORED, /* nothing in it counts */
};

/* A BlobList, shared by the reader and the blobs of it that are still about. Its strings are its
 * own. */
struct list {
        struct med_manifest_list public;
        unsigned n_users;
};

/* A blob with the memory it stands in; reused. */
struct slot {
        struct med_manifest_blob blob;
        struct med_manifest_range *ranges;
        size_t n_ranges_allocated;
        struct bth_buf strings;
        struct list *list;
        struct slot *next;
};

/* The blob that is being read. */
struct draft {
        struct slot *slot;      /* NULL outside blobs */
        size_t texts[N_TOKENS]; /* where in slot->strings an element's text begins */
        uint32_t seen;          /* bit per token: the element was there */
        bool has_list;
        uint64_t n_listed; /* ranges in the list, kept or not */
        bool bad_length;   /* Length was no number */
        bool bad_range;    /* a range was not: then the others cannot be judged */
        bool bad_hash;
};

struct note {
        enum med_manifest_finding finding;
        uint64_t line;
        char detail[MANIFEST_DETAIL_BYTES];
};

struct med_manifest_late_default {
        uint64_t list_index;
        bool properties; /* PropertiesPath, else MetadataPath */
        char *path;
        uint8_t md5[BTH_MD5_BYTES];
        uint64_t line;
};

struct med_manifest_reader {
        struct bth_source *source;
        uint64_t offset_bytes;
        struct med_manifest_options options;
        const struct med_manifest_summary *earlier;
        struct med_manifest_summary *summary;
        struct med_xml *xml;
        const char *names[N_TOKENS];
        char *piece;
        bool finished;
        int failed;
        struct bth_error error;       /* of the failure */
        struct bth_error first_error; /* of the findings */
        uint32_t reported[_MED_MANIFEST_FINDING_MAX];

        enum state stack[MED_XML_MAX_DEPTH + 2];
        unsigned depth;
        enum token range_token; /* what the list of ranges under way holds */
        enum token field;       /* the leaf under way */
        uint64_t field_line;
        bool field_too_long;
        uint8_t field_md5[BTH_MD5_BYTES]; /* of its Hash attribute */
        struct bth_buf text; /* large enough for secrets from the start: growing leaves copies */
        bool stray;          /* text between elements was reported since the last tag */

        unsigned n_drives;
        uint64_t drive_line;
        uint32_t drive_seen; /* bit per token */
        /* For a ContainerSas that follows blobs: where these are, and whether all are there. */
        char first_container[64];
        bool more_containers;
        struct list *list;    /* the one under way */
        struct list *outside; /* for entries in no list */
        uint32_t list_seen;
        uint64_t list_blobs;
        size_t next_late; /* in earlier->late */
        struct draft draft;
        struct note notes[MANIFEST_NOTES_MAX];
        unsigned n_notes;
        uint8_t notes_each[_MED_MANIFEST_FINDING_MAX];

        struct slot *ready, **ready_end; /* complete blobs, oldest first */
        struct slot *lent;               /* the one the caller has */
        struct slot *spare;
        struct med_seen *blobs_seen, *files_seen;
        struct bth_buf scratch;
};

static inline uint32_t manifest_bit(enum token t)
{
        return UINT32_C(1) << t;
}

static inline bool manifest_importing(const struct med_manifest_reader *r)
{
        return r->options.direction == MED_MANIFEST_IMPORT;
}

/* --- manifest-read.c --- */

/* Reports a finding, or, inside a blob, keeps it until the blob's end. */
void manifest_note(struct med_manifest_reader *r, enum med_manifest_finding f, uint64_t line,
                   const char *format, ...) _printf_(4, 5);
/* The same as a med_manifest_report_fn. */
void manifest_note_text(void *reader, enum med_manifest_finding f, uint64_t line,
                        const char *detail);
void manifest_emit_notes(struct med_manifest_reader *r, const char *blob);

struct list *manifest_list_unref(struct list *l);
struct slot *manifest_slot_take(struct med_manifest_reader *r);
/* Returns 0 or -ENOMEM. */
int manifest_slot_add_range(struct slot *s, const struct med_manifest_range *range) _must_check_;
/* Keeps a terminated copy; gives its place, which stays right when the buffer moves. Returns 0 or
 * -ENOMEM. */
int manifest_slot_add_text(struct slot *s, const char *text, size_t n, size_t *ret_at) _must_check_;
/* The blob is complete and waits for med_manifest_next(). */
void manifest_enqueue(struct med_manifest_reader *r, struct slot *s);

/* --- manifest-parse.c --- */

/* Handlers for r->xml. Each returns 0; -ENOMEM; -EBADMSG when the root is another. */
int manifest_on_start(void *userdata, const char *name, const struct med_xml_attributes *attributes,
                      uint64_t line);
int manifest_on_text(void *userdata, const char *text, size_t n);
int manifest_on_end(void *userdata, const char *name, uint64_t line);
/* The name of a token, T_UNKNOWN excepted. */
const char *manifest_token_name(enum token t);
/* A decimal number with white space around it; false when it is none, which is then noted. */
bool manifest_read_number(struct med_manifest_reader *r, enum token what, const char *text,
                          size_t n, uint64_t line, uint64_t *ret_value);

/* --- manifest-field.c --- */

/* The text in r->text belongs to r->field, below an element of state `parent`. Returns 0
 * or -ENOMEM. */
int manifest_end_leaf(struct med_manifest_reader *r, enum state parent) _must_check_;
/* The draft is complete: checked, reported, handed on. Returns 0 or -ENOMEM. */
int manifest_end_blob(struct med_manifest_reader *r) _must_check_;
/* What can only be said at the end of the document. */
void manifest_check_header(struct med_manifest_reader *r);
