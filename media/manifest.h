/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manifest - the XML file that maps the files of a drive to blobs: model, reader, checks, writer.
 *
 *     drive ── manifest-spool: read once, hashed ── med_manifest_validate ── med_manifest_next …
 *
 * The reader hands over one blob at a time, and holds one blob and a piece of the file. Nothing may
 * act on a manifest before its spool has the right hash and med_manifest_validate() has seen all of
 * it. Objects belong to one thread each. Every string is UTF-8 and terminated.
 * Source: import-export specification section 2; findings: 2.11. */
#pragma once

#include "base/digest.h"
#include "base/error.h"
#include "base/secret.h"
#include "base/source.h"
#include "base/status.h"
#include "media/manifest-finding.h"
#include "media/seen.h"

#define MED_MANIFEST_VERSION          "2014-11-01"
#define MED_MANIFEST_BLOCKS_MAX       50000u
#define MED_MANIFEST_RANGES_MAX       (UINT32_C(1) << 21)    /* 8 TiB by 4 MiB; 80 MiB of memory */
#define MED_MANIFEST_RANGE_2014_BYTES (UINT64_C(4) << 20)    /* of a block or page range */
#define MED_MANIFEST_BLOCK_BYTES      (UINT64_C(4000) << 20) /* of a block, today */
#define MED_MANIFEST_PAGE_BYTES       512u
#define MED_MANIFEST_PAGE_BLOB_BYTES  (UINT64_C(8) << 40)
#define MED_MANIFEST_IDS_FROM_BYTES   (UINT64_C(64) << 20) /* larger blobs need block ids */
#define MED_MANIFEST_BLOCK_ID_BYTES   64u                  /* before base64 */
#define MED_MANIFEST_PATH_CHARACTERS  256u
#define MED_MANIFEST_NAME_CHARACTERS  1024u
#define MED_MANIFEST_TEXT_BYTES       ((size_t)64 << 10) /* of one element */

enum med_manifest_direction {
        MED_MANIFEST_IMPORT, /* written by the customer's tool: what to upload */
        MED_MANIFEST_EXPORT, /* written by the service: what was exported */
        _MED_MANIFEST_DIRECTION_MAX,
        _MED_MANIFEST_DIRECTION_INVALID = -EINVAL,
};

enum med_manifest_kind {
        MED_MANIFEST_NONE,  /* no list of ranges at all */
        MED_MANIFEST_BLOCK, /* BlockList, perhaps empty */
        MED_MANIFEST_PAGE,  /* PageRangeList */
        MED_MANIFEST_FILE,  /* FileRangeList of an Azure Files entry (2.10: inferred) */
        _MED_MANIFEST_KIND_MAX,
        _MED_MANIFEST_KIND_INVALID = -EINVAL,
};

/* --- model --- */

struct med_manifest_range {
        uint64_t offset_bytes; /* in the file; for pages also in the blob */
        uint64_t length_bytes;
        uint8_t md5[BTH_MD5_BYTES]; /* of exactly these bytes */
        uint32_t id; /* where in `ids`; MED_MANIFEST_NO_ID; use med_manifest_range_id() */
        uint32_t line;
};
#define MED_MANIFEST_NO_ID UINT32_MAX

/* A metadata or properties file on the drive. */
struct med_manifest_sidecar {
        const char *path; /* NULL: none */
        uint8_t md5[BTH_MD5_BYTES];
        uint64_t line;
};

#define MED_MANIFEST_NO_LIST UINT64_MAX

struct med_manifest_list {
        uint64_t index; /* of the BlobList, from 0; MED_MANIFEST_NO_LIST: entries in no list */
        const char *id; /* NULL: none */
        struct med_manifest_sidecar metadata;   /* defaults for the blobs of the list */
        struct med_manifest_sidecar properties; /* … */
        uint64_t line;
};

struct med_manifest_blob {
        uint64_t index;          /* in the manifest, from 0 */
        uint64_t line;           /* of the start tag */
        const char *blob_path;   /* "container/name" as written; FileStoragePath of a file entry */
        const char *file_path;   /* "\folder\name" as written */
        const char *client_data; /* NULL: none */
        const char *snapshot;    /* NULL: none */
        uint64_t length_bytes;
        enum bth_disposition disposition;
        bool disposition_given; /* otherwise the default of the options */
        bool azure_file;        /* a File entry, for Azure Files */
        enum med_manifest_kind kind;
        const struct med_manifest_range *ranges; /* in the order of the manifest */
        size_t n_ranges;
        const char *ids;                        /* strings that ranges point into */
        struct med_manifest_sidecar metadata;   /* the blob's own */
        struct med_manifest_sidecar properties; /* the blob's own */
        const struct med_manifest_list *list;   /* never NULL from the reader */
        unsigned n_errors; /* findings of that severity about this blob: do not copy it */
        unsigned n_warnings;
};

/* The base64 text of a block's id, or NULL. */
static inline const char *med_manifest_range_id(const struct med_manifest_blob *b, size_t i)
{
        return b->ranges[i].id == MED_MANIFEST_NO_ID ? NULL : b->ids + b->ranges[i].id;
}

/* What holds for the blob: its own file, else that of its list. `path` is NULL when there is none.
 */
static inline const struct med_manifest_sidecar *
med_manifest_metadata(const struct med_manifest_blob *b)
{
        return b->metadata.path || !b->list ? &b->metadata : &b->list->metadata;
}
static inline const struct med_manifest_sidecar *
med_manifest_properties(const struct med_manifest_blob *b)
{
        return b->properties.path || !b->list ? &b->properties : &b->list->properties;
}

struct med_manifest_header {
        char *version;                    /* NULL: none */
        char *drive_id;                   /* as written; NULL: none */
        char *client_creator;             /* NULL: none */
        struct bth_secret *account_key;   /* base64 text; NULL: none */
        struct bth_secret *container_sas; /* "container?token"; NULL: none */
        char container[64];               /* of container_sas; "" without */
};

/* --- reader --- */

struct med_manifest_options {
        const char *object; /* the file's name, for people; borrowed; may be NULL */
        enum med_manifest_direction direction;
        enum bth_disposition default_disposition; /* where the manifest gives none */
        bool without_range_list; /* take entries without any list (appendix A 8): no error */
        /* Where findings go; borrowed; may be NULL. Its object should be `object`. */
        const struct med_findings *findings;
        unsigned max_each;        /* of one name: more are counted, not reported; 0: 100 */
        const char *drive_serial; /* to compare with DriveId, blanks ignored; NULL: do not */
        bool find_doubles;        /* of BlobPath and FilePath: costs up to 32 bytes a blob */
        /* BlobPaths of the job's other drives: added to and searched; borrowed; NULL: none. */
        struct med_seen *job_blobs;
};

/* What a whole pass has found. */
struct med_manifest_summary {
        struct med_manifest_header header;
        uint64_t n_lists, n_blobs, n_azure_files, n_ranges;
        uint64_t length_bytes; /* sum of Length, at most UINT64_MAX */
        uint64_t range_bytes;  /* sum of the ranges */
        uint64_t n_errors, n_warnings;
        uint64_t counts[_MED_MANIFEST_FINDING_MAX];
        uint64_t double_search_bytes;           /* memory the search for doubles took */
        struct med_manifest_late_default *late; /* see med_manifest_reader_new() */
        size_t n_late;
};
struct med_manifest_summary *med_manifest_summary_free(struct med_manifest_summary *s);
DEFINE_CLEANUP(med_manifest_summary_free, struct med_manifest_summary *);

struct med_manifest_reader;

/* Reads from `source` (borrowed), a spool whose hash is right. `options` are copied; what they
 * point to is borrowed. `summary` (borrowed, may be NULL) is that of an earlier pass over the same
 * spool: with it, defaults of a BlobList hold for blobs in front of them too.
 * Returns 0, -ENOMEM, -errno of getrandom(2). */
int med_manifest_reader_new(struct bth_source *source, const struct med_manifest_options *options,
                            const struct med_manifest_summary *summary,
                            struct med_manifest_reader **ret_reader) _must_check_;
struct med_manifest_reader *med_manifest_reader_free(struct med_manifest_reader *r);
DEFINE_CLEANUP(med_manifest_reader_free, struct med_manifest_reader *);

/* The next blob, which lives until the next call. Findings about it were reported before.
 * Returns 1 with a blob; 0 at the end; -EBADMSG when the file is not XML or no manifest; -EIO and
 * other errors of bth_source_read(); -ENOMEM. After an error every call returns the same. */
int med_manifest_next(struct med_manifest_reader *r, const struct med_manifest_blob **ret_blob,
                      struct bth_error *error) _must_check_;

/* What is known so far; complete after the end. Borrowed from the reader. */
const struct med_manifest_summary *med_manifest_reader_summary(const struct med_manifest_reader *r);

/* The same, which the caller then owns; the reader is of no more use but to be freed. */
struct med_manifest_summary *med_manifest_reader_take_summary(struct med_manifest_reader *r)
        _must_check_;
/* The first finding that was an error. Returns -EBADMSG with that error, 0 when there was none. */
int med_manifest_reader_first_error(const struct med_manifest_reader *r, struct bth_error *error)
        _must_check_;

/* One pass over the whole manifest.
 * Returns 0 when it is valid, perhaps with warnings; -EBADMSG when it has errors (`error` holds the
 * first); otherwise as med_manifest_reader_new() and med_manifest_next(). *ret_status (always set,
 * may be NULL) is Completed, ManifestFormatInvalid, ManifestDriveIdMismatch, ReadManifestFailed or
 * InternalError. *ret_summary is set whenever the pass came to the end; may be NULL. */
int med_manifest_validate(struct bth_source *source, const struct med_manifest_options *options,
                          struct med_manifest_summary **ret_summary,
                          enum bth_drive_status *ret_status, struct bth_error *error) _must_check_;

/* Checks of one entry by itself: its names, its length and ranges. `report` is called for each
 * finding with a detail ("" where the sentence says all), which may be hostile text. Returns 0 or
 * -ENOMEM. */
typedef void (*med_manifest_report_fn)(void *userdata, enum med_manifest_finding f, uint64_t line,
                                       const char *detail);
void med_manifest_check_names(const struct med_manifest_blob *b, const char *sas_container,
                              med_manifest_report_fn report, void *userdata);
int med_manifest_check_ranges(const struct med_manifest_blob *b,
                              enum med_manifest_direction direction, med_manifest_report_fn report,
                              void *userdata) _must_check_;

/* Reports a file on the drive that is longer than its entry says (shorter shows when it is read).
 */
void med_manifest_check_file(const struct med_findings *to, const struct med_manifest_blob *b,
                             uint64_t file_bytes);

/* --- writer --- */

/* Takes `n` bytes of the manifest. Returns 0 or a negative errno, which the writer returns. */
typedef int (*med_manifest_write_fn)(void *userdata, const void *data, size_t n);

struct med_manifest_writer;

/* Begins a manifest: version 2014-11-01, elements in the documented order. `header` needs drive_id;
 * its version is not used. Import: at most one credential. Export: none.
 * Returns 0, -EINVAL for a header that may not be written, -ENOMEM, what `write` returned. */
int med_manifest_writer_new(const struct med_manifest_header *header,
                            enum med_manifest_direction direction, med_manifest_write_fn write,
                            void *userdata, struct med_manifest_writer **ret_writer,
                            struct bth_error *error) _must_check_;
struct med_manifest_writer *med_manifest_writer_free(struct med_manifest_writer *w);
DEFINE_CLEANUP(med_manifest_writer_free, struct med_manifest_writer *);

/* `id` and sidecars may be NULL. Strict: what the reader would call an error is refused, so are
 * names, paths and ids it would doubt, text that XML cannot hold, and Azure Files entries, whose
 * format is unknown. A blob belongs
 * between begin_list and end_list. Disposition is written when `disposition_given`.
 * Each returns 0; -EINVAL when it may not be written (`error` says why; nothing was written);
 * -ENOMEM; what `write` returned, after which the writer is of no use. */
int med_manifest_writer_begin_list(struct med_manifest_writer *w, const char *id,
                                   const struct med_manifest_sidecar *metadata,
                                   const struct med_manifest_sidecar *properties,
                                   struct bth_error *error) _must_check_;
int med_manifest_writer_blob(struct med_manifest_writer *w, const struct med_manifest_blob *b,
                             struct bth_error *error) _must_check_;
int med_manifest_writer_end_list(struct med_manifest_writer *w, struct bth_error *error)
        _must_check_;

/* Writes the end and says length and hashes of the whole file (each may be NULL): 16 bytes of MD5,
 * 32 bytes of SHA-256. Returns as above; -EINVAL without a list or inside one. */
int med_manifest_writer_end(struct med_manifest_writer *w, uint64_t *ret_length_bytes,
                            uint8_t *ret_md5, uint8_t *ret_sha256, struct bth_error *error)
        _must_check_;
