/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs_scan - every file of a volume by one pass over $MFT, and paths joined to them in memory.
 *
 * The pass reads $MFT front to back in large pieces. Per record it keeps 24 bytes (size, first
 * place on the disk, status), per name 24 bytes, a hash bucket and the name's own units; parents
 * may come after children, so paths are only resolved afterwards: a table hashed by (parent
 * reference, upper-cased name) is walked one component at a time, without touching the disk. Hard
 * links are names like any other. DOS (8.3) aliases are left out. The index is constant; any
 * thread. */
#pragma once

#include "media/ntfs_volume.h"

struct med_ntfs_index;

struct med_ntfs_found {
        uint64_t reference; /* for med_ntfs_file_open() */
        uint64_t size_bytes;
        uint64_t first_offset_bytes; /* on the volume, to read in disk order; MED_NTFS_HOLE: none */
        enum med_ntfs_status status;
};

/* Scans the volume, which must outlive the index. `max_bytes` bounds the index's memory. Returns 0;
 * -E2BIG with BTH_REASON_LIMIT_EXCEEDED; -ENOMEM; -EIO and others as bth_source_read(). Damaged
 * records are counted and passed over. Blocks. */
int med_ntfs_scan(const struct med_ntfs_volume *v, size_t max_bytes, struct med_ntfs_index **ret,
                  struct bth_error *error) _must_check_;
struct med_ntfs_index *med_ntfs_index_free(struct med_ntfs_index *x);
DEFINE_CLEANUP(med_ntfs_index_free, struct med_ntfs_index *);

/* The file at an UTF-8 path; components apart by '/' or '\\', compared as the volume does. Returns
 * 0, -ENOENT, -EILSEQ for a path that is not UTF-8, -ENAMETOOLONG. */
int med_ntfs_index_find(const struct med_ntfs_index *x, const char *path,
                        struct med_ntfs_found *ret) _must_check_;

size_t med_ntfs_index_names(const struct med_ntfs_index *x) _pure_;
size_t med_ntfs_index_damaged(const struct med_ntfs_index *x) _pure_;
