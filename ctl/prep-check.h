/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-check - the files of a drive against its manifest, in the order in which they lie on it.
 *
 *     manifest ─► batch: located, sorted by place ─► reader thread ─► windows ─► MD5 of many
 *                 (bounded memory)                                    (a ring)   blocks at once
 *
 * The manifest is read once more from its spool; what of it is held at a time is bounded, so a
 * drive of many millions of files is several sweeps over the disk and not one. A fault ends
 * nothing: everything is looked at and every fault is told, by the words of the service's logs.
 * Source: import-export specification 2.6, 2.8, 3, 5.3. */
#pragma once

#include "ctl/progress.h"
#include "media/manifest.h"
#include "media/ntfs_scan.h"

enum ctl_check_part {
        CTL_CHECK_FILE,  /* the file itself: not there, not readable, shorter, longer */
        CTL_CHECK_RANGE, /* a block or page range of it */
        CTL_CHECK_METADATA,
        CTL_CHECK_PROPERTIES,
        _CTL_CHECK_PART_MAX,
        _CTL_CHECK_PART_INVALID = -EINVAL,
};

/* Pointers are valid during the call only; texts other than `status` are the manifest's: hostile.
 */
struct ctl_check_fault {
        enum ctl_check_part part;
        const char *status;    /* "FileNotFound", "Corrupted" …, or "FileLonger" */
        bool warning;          /* the data is usable nevertheless */
        uint64_t line;         /* in the manifest */
        const char *blob_path; /* NULL: a default of a whole BlobList */
        const char *snapshot;  /* NULL: none */
        const char *file_path;
        uint64_t offset_bytes, length_bytes; /* of the range */
        const char *sentence;
};

struct ctl_check_options {
        const struct med_ntfs_volume *volume;
        const struct med_ntfs_index *index;
        struct bth_source *manifest;                /* of its spool */
        const struct med_manifest_options *reading; /* findings and doubles are not looked at */
        const struct med_manifest_summary *summary; /* of the validating pass */
        bool parse_sidecars;                        /* what does not fit its format is a fault */
        struct ctl_progress *progress;              /* may be NULL; counts bytes of ranges */
        /* Told of each fault, on the thread that called ctl_check_run(). */
        void (*fault)(void *userdata, const struct ctl_check_fault *fault);
        void *userdata;
        size_t batch_bytes;  /* of the manifest held at a time; 0: 192 MiB */
        size_t window_bytes; /* read ahead in each of the ring's windows; 0: 64 MiB */
};

struct ctl_check_result {
        uint64_t n_blobs, n_ranges, n_sidecars; /* looked at */
        uint64_t read_bytes;
        uint64_t n_faults, n_warnings;
        uint64_t n_batches;
        uint64_t n_reads;    /* from the disk, neighbours taken as one */
        uint64_t n_backward; /* of these: begin before the end of the one before, within a batch */
};

/* Checks every entry of a manifest without errors of its own (those are passed over: the validating
 * pass has told of them).
 * Returns 0 when all was looked at, also with faults; -ENODEV when the drive went; the errors of
 * med_manifest_next(); -ENOMEM; -errno of pthread_create(3). Blocks. */
int ctl_check_run(const struct ctl_check_options *options, struct ctl_check_result *ret_result,
                  struct bth_error *error) _must_check_;

/* A fault as finding: name such as "range-corrupted" or "file-not-found". */
void ctl_check_find(const struct med_findings *to, const struct ctl_check_fault *fault,
                    const char *advice);
