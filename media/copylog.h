/* SPDX-License-Identifier: GPL-3.0-or-later */
/* copylog - what became of each blob: the error log and the verbose log of a drive.
 *
 *   L1  2011 to 2014  <DriveLog> with <Blob> and its ranges          read, written
 *   L2  2018          <DriveLog> with <Summary>, <Blob>, <File>      read
 *   L3  2021          fragments: <ErroredEntity>… <CopyLog>, or <File …/>…   read, written
 *
 * One model for all three; what a generation does not have is absent. Status texts are those of
 * base/status.h where they are known and kept as text where they are not. Source: import-export
 * specification 5. */
#pragma once

#include "base/status.h"
#include "base/str.h"
#include "media/finding.h"

#define MED_LOG_MAX_RANGES 50000
#define MED_LOG_MAX_TEXT   ((size_t)64 << 10)

enum med_log_generation {
        MED_LOG_L1,
        MED_LOG_L2,
        MED_LOG_L3,         /* copy log: what went wrong, and a summary */
        MED_LOG_L3_VERBOSE, /* what went well */
        _MED_LOG_MAX,
        _MED_LOG_INVALID = -EINVAL,
};
const char *med_log_generation_to_string(enum med_log_generation g);

/* Codes of L2 summaries and categories of L3 entities (spec 5.4, 5.5). X(id, text, sentence) */
#define MED_LOG_CODES(X)                                                                           \
        X(NONE, "None", "no error")                                                                \
        X(COMPLETED, "Completed", "no error")                                                      \
        X(RENAMED, "Renamed", "the blob was renamed and uploaded")                                 \
        X(COMPLETED_WITH_ERRORS, "CompletedWithErrors", "uploaded with errors; see the details")   \
        X(CORRUPTED, "Corrupted", "the checksum of what was read and what was stored differ")      \
        X(STORAGE_REQUEST_FAILED, "StorageRequestFailed", "the storage service refused a request") \
        X(LEASE_PRESENT, "LeasePresent", "somebody holds a lease on the blob")                     \
        X(STORAGE_REQUEST_FORBIDDEN, "StorageRequestForbidden", "the account refused access")      \
        X(MANAGED_DISK_FAILURE, "ManagedDiskCreationTerminalFailure",                              \
          "no managed disk was made; the page blob stays in the staging account")                  \
        X(TIER_INFO_MISSING, "DiskConversionNotStartedTierInfoMissing",                            \
          "the disk lay outside a tier folder; it stays a page blob")                              \
        X(INVALID_WORK_ITEM, "InvalidWorkitem", "a name or size breaks a rule; not uploaded")      \
        X(INVALID_PAGE_BLOB, "InvalidPageBlobUploadAsBlockBlob",                                   \
          "no valid page blob; uploaded as block blob elsewhere")                                  \
        X(INVALID_AZURE_FILE, "InvalidAzureFileUploadAsBlockBlob",                                 \
          "no valid Azure file; uploaded as block blob elsewhere")                                 \
        X(INVALID_MANAGED_DISK_BLOCK, "InvalidManagedDiskUploadAsBlockBlob",                       \
          "no valid disk; uploaded as block blob elsewhere")                                       \
        X(INVALID_MANAGED_DISK_PAGE, "InvalidManagedDiskUploadAsPageBlob",                         \
          "no valid disk; uploaded as page blob elsewhere")                                        \
        X(OVERFLOW_SHARE, "MovedToOverflowShare", "moved to a second share: the first was full")   \
        X(DEFAULT_SHARE, "MovedToDefaultAzureShare",                                               \
          "loose files were moved to a share of their own")                                        \
        X(CONTAINER_RENAMED, "ContainerRenamed", "the container's name was not allowed")           \
        X(SHARE_RENAMED, "ShareRenamed", "the share's name was not allowed")                       \
        X(BLOB_RENAMED, "BlobRenamed", "the blob's name was not allowed")                          \
        X(FILE_RENAMED, "FileRenamed", "the file's name was not allowed")                          \
        X(DISK_RENAMED, "DiskRenamed", "the disk's name was not allowed")                          \
        X(UPLOAD_NONE, "UploadErrorNone", "no error")                                              \
        X(UPLOAD_WIN32, "UploadErrorWin32", "the file system refused; the code is a Win32 code")   \
        X(UPLOAD_HTTP, "UploadErrorCloudHttp", "the storage service refused; the code is HTTP's")  \
        X(UPLOAD_VALIDATION, "UploadErrorDataValidationError", "the checksum differs")             \
        X(UPLOAD_CONVERSION, "UploadErrorManagedConversionError", "the size fits no disk")         \
        X(UPLOAD_UNKNOWN, "UploadErrorUnknownType", "an unknown error")                            \
        X(UPLOAD_NETWORK, "UploadErrorCloudNetwork", "the network failed")                         \
        X(UPLOAD_PROPERTY, "UploadErrorFilePropertyError", "a property of the file failed")        \
        X(NAME_TRAILS_SLASH, "FileNameTrailsWithSlash", "the name ends with a slash")              \
        X(EXPORT_HTTP, "ExportCloudHttp", "this kind of blob cannot be exported")

enum med_log_code {
#define X(id, text, sentence) MED_LOG_CODE_##id,
        MED_LOG_CODES(X)
#undef X
                _MED_LOG_CODE_MAX,
        _MED_LOG_CODE_INVALID = -EINVAL,
};
const char *med_log_code_to_string(enum med_log_code c);      /* NULL outside the list */
enum med_log_code med_log_code_from_string(const char *text); /* _INVALID when unknown */
const char *med_log_code_sentence(enum med_log_code c);       /* "" outside the list */

struct med_log_range {
        uint64_t offset_bytes;
        uint64_t length_bytes;
        char *id;     /* NULL: none */
        char *hash;   /* hex, blanks removed; NULL: none */
        char *status; /* text; "" when absent */
};

/* Metadata or properties of a blob. */
struct med_log_sidecar {
        char *status;                                  /* NULL: the element is absent */
        char *global_path, *global_hash, *path, *hash; /* NULL: absent */
};

struct med_log_entry {
        bool is_file;    /* Azure Files */
        char *status;    /* L1, L2: blob status; L3: category or "Completed" */
        char *blob_path; /* destination: BlobPath, FileStoragePath, @Path */
        char *file_path; /* on the drive; NULL: absent */
        char *snapshot;
        char *last_modified;
        char *disposition, *disposition_status;
        uint64_t length_bytes;
        bool has_length;
        bool page;       /* ranges are pages */
        bool has_ranges; /* there is a list, possibly empty */
        struct med_log_range *ranges;
        size_t n_ranges;
        struct med_log_sidecar metadata, properties;
        /* L3 */
        char *cloud_format, *etag, *error_code, *error_message, *type;
        uint64_t crc64;
        bool has_crc64;
        uint64_t line;
};
void med_log_entry_clear(struct med_log_entry *e);

struct med_log_count {
        char *code;
        char *description; /* NULL: none */
        uint64_t count;
        bool validation; /* in ValidationErrors, else in CopyErrors */
};

struct med_log_summary {
        enum med_log_generation generation;
        char *version; /* NULL: absent */
        char *drive_id;
        char *status; /* drive status; NULL in an L3 verbose log */
        uint64_t total, errored;
        bool has_totals;
        struct med_log_count *counts;
        size_t n_counts;
        uint64_t n_entries;
};
void med_log_summary_clear(struct med_log_summary *s);

/* Called for each entry in file order; the entry is cleared afterwards. A negative errno ends the
 * reading. */
typedef int (*med_log_entry_fn)(void *userdata, const struct med_log_entry *entry);

struct med_log_reader;
/* Reads pushed pieces of any length. `object` names the log. Returns 0 or -ENOMEM. */
int med_log_reader_new(const struct med_findings *findings, med_log_entry_fn entry, void *userdata,
                       struct med_log_reader **ret_reader) _must_check_;
struct med_log_reader *
med_log_reader_free(struct med_log_reader *r); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(med_log_reader_free, struct med_log_reader *);
/* Returns 0; -EBADMSG with line: not XML, no copy log (BTH_REASON_NOT_A_COPY_LOG), a number that is
 * none, too many ranges, too long a text; what `entry` gave; -ENOMEM. */
int med_log_feed(struct med_log_reader *r, const void *data, size_t n, struct bth_error *error)
        _must_check_;
/* Returns 0 and the summary (clear it), and the errors of med_log_feed(). */
int med_log_finish(struct med_log_reader *r, struct med_log_summary *ret_summary,
                   struct bth_error *error) _must_check_;

/* -- writing: L1 and L3
 * ------------------------------------------------------------------------------ */

/* Takes pieces of the log; a negative errno ends the writing and is returned. */
typedef int (*med_log_write_fn)(void *userdata, const void *data, size_t n);

struct med_log_writer;
/* Begins a log: for L1 with version and DriveId. Returns 0, -EINVAL for L2, -ENOMEM, what `write`
 * gave. */
int med_log_writer_new(enum med_log_generation generation, const char *drive_id,
                       med_log_write_fn write, void *userdata, struct med_log_writer **ret_writer)
        _must_check_;
struct med_log_writer *
med_log_writer_free(struct med_log_writer *w); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(med_log_writer_free, struct med_log_writer *);
/* Adds one entry as it is: who writes an error log leaves successful ranges out. For L3 an entry is
 * an ErroredEntity, for L3 verbose a File. Returns 0, -EINVAL for what the generation or XML cannot
 * hold, -ENOMEM, what `write` gave. An error message is a foreign server's text: what XML cannot
 * hold of it becomes '?'. */
int med_log_write_entry(struct med_log_writer *w, const struct med_log_entry *e) _must_check_;
/* Ends the log with the drive's status; L3 also with the totals and counts of the summary.
 * Returns 0, -EINVAL for a code that cannot be the name of an element, -ENOMEM, what `write` gave.
 */
int med_log_write_end(struct med_log_writer *w, const struct med_log_summary *s) _must_check_;

/* -- names (spec 5.6)
 * -------------------------------------------------------------------------------- */

enum med_log_kind { MED_LOG_ERROR, MED_LOG_VERBOSE, MED_LOG_MANIFEST, _MED_LOG_KIND_MAX };

/* "waies/JOB_DRIVE_20310409-071502-118_error.xml" below the diagnostics container. malloc()ed.
 * Returns 0 or -ENOMEM. */
int med_log_name(const char *job, const char *drive_id, uint64_t realtime_usec,
                 enum med_log_kind kind, char **ret_name) _must_check_;
/* Splits the last part of such a name, from the right since job names may hold '_'. Results are
 * malloc()ed. Returns 0, -EINVAL for another shape, -ENOMEM. */
int med_log_name_split(const char *name, char **ret_job, char **ret_drive_id, char **ret_timestamp,
                       enum med_log_kind *ret_kind) _must_check_;

/* "databoxcopylog/ORDER_SERIAL_CopyLog_JOBID.xml" (or VerboseLog), as L3 names its logs.
 * malloc()ed. Returns 0, -EINVAL for MED_LOG_MANIFEST, -ENOMEM. */
int med_log_l3_name(const char *order, const char *drive_id, const char *job_id,
                    enum med_log_kind kind, char **ret_name) _must_check_;
/* Splits the last part of such a name, from the right. Results are malloc()ed. Returns 0, -EINVAL
 * for another shape, -ENOMEM. */
int med_log_l3_name_split(const char *name, char **ret_order, char **ret_drive_id,
                          char **ret_job_id, enum med_log_kind *ret_kind) _must_check_;

/* The new name that an L3 entry of a renamed container, blob … gives inside its message, between
 * "renamed to:" and ":from:" (observed). malloc()ed. Returns 0, -ENOENT when there is none,
 * -ENOMEM. */
int med_log_entry_renamed_to(const struct med_log_entry *e, char **ret_name) _must_check_;
