/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-repair - what failed in an import, by its copy logs, and the originals it came from.
 *
 *     logs ─► entries that failed ─► original below the given folders, or in the path map ─►
 * verified
 *
 * A path on the drive begins with what the preparation put in front (a session's name), so its ends
 * are looked for, the longest first; a file that two folders have is not guessed. An original must
 * have the length, and where the log tells hashes those bytes, that were to be imported.
 * Source: import-export specification 5.2 to 5.5, 8.3. One thread. */
#pragma once

#include "base/digest.h"
#include "base/status.h"
#include "media/copylog.h"

#define CTL_REPAIR_ENTRIES_MAX 10000000u

enum ctl_original {
        CTL_ORIGINAL_FOUND,
        CTL_ORIGINAL_MISSING,
        CTL_ORIGINAL_AMBIGUOUS, /* two folders have one */
        CTL_ORIGINAL_CHANGED,   /* it has another length or content than what was to be imported */
        CTL_ORIGINAL_UNREADABLE,
        _CTL_ORIGINAL_MAX,
        _CTL_ORIGINAL_INVALID = -EINVAL,
};
/* "missing" and a sentence; NULL and "" outside the list. */
const char *ctl_original_to_string(enum ctl_original o);
const char *ctl_original_sentence(enum ctl_original o);

struct ctl_repair_hash {
        uint64_t offset_bytes, length_bytes;
        uint8_t md5[BTH_MD5_BYTES];
};

/* A metadata or properties file of a blob. */
struct ctl_repair_sidecar {
        char *drive_path; /* NULL: none */
        bool has_md5;
        uint8_t md5[BTH_MD5_BYTES];
        char *original; /* NULL: not found */
};

struct ctl_repair_entry {
        uint64_t line;
        char *status;     /* as the log says: "FileNotFound", "UploadErrorCloudHttp" … */
        char *blob_path;  /* "container/name" */
        char *drive_path; /* as the log has it, else made of the blob's path: key of the path map */
        bool azure_file, page;
        bool has_length;
        uint64_t length_bytes;
        bool has_disposition;
        enum bth_disposition disposition; /* for the repair: OVERWRITE where the blob is ours */
        struct ctl_repair_hash *hashes;
        size_t n_hashes;
        struct ctl_repair_sidecar metadata, properties;
        enum ctl_original state;
        char *original; /* FOUND */
};

struct ctl_repair {
        struct ctl_repair_entry *entries;
        size_t n, allocated;
        uint8_t identity[BTH_SHA256_BYTES]; /* of all logs that were read, in their order */
        struct bth_digest *digest;
};

/* Returns 0, -ENOMEM, -ENOTSUP. */
int ctl_repair_new(struct ctl_repair **ret_repair) _must_check_;
struct ctl_repair *ctl_repair_free(struct ctl_repair *r); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(ctl_repair_free, struct ctl_repair *);

/* Adds what failed by one more log. Returns 0; -errno of open(2) and read(2); the errors of
 * med_log_feed(); -E2BIG beyond CTL_REPAIR_ENTRIES_MAX; -ENOMEM. */
int ctl_repair_read_log(struct ctl_repair *repair, const char *path,
                        const struct med_findings *findings, struct bth_error *error) _must_check_;

/* Looks for every original and verifies it.
 *   folders   where the originals are
 *   path_map  lines "PATH-ON-DRIVE<tab>REAL-PATH"; NULL, or a file that need not exist
 * Returns 0, whatever was found; -EBADMSG for a map that cannot be read (with its line); -errno;
 * -ENOMEM. Blocks. */
int ctl_repair_find(struct ctl_repair *repair, const char *const *folders, size_t n_folders,
                    const char *path_map, struct bth_error *error) _must_check_;

/* Writes the path map: what it said, and a line for each path whose original was not found.
 * Returns 0, -errno, -ENOMEM. */
int ctl_repair_write_map(const struct ctl_repair *repair, const char *path, struct bth_error *error)
        _must_check_;
