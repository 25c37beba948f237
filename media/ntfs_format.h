/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs_format - a new NTFS file system with room for BitLocker's own regions.
 *
 * NTFS itself is mkntfs's: it runs on a sparse scratch file of the volume's size, so a drive of any
 * size takes seconds. libntfs-3g then reserves the clusters of BitLocker's regions as hidden files
 * in
 * `\System Volume Information`, as Windows does, so that no driver ever allocates them. What the
 * file system uses is listed as extents, which the caller copies through the encrypting sink.
 * Blocks; one volume belongs to one thread. Source: BitLocker specification 11, 12.1; mkntfs(8). */
#pragma once

#include "base/error.h"

#define MED_NTFS_REGIONS 5 /* three metadata copies, the relocated header, one more area */

struct med_ntfs_params {
        uint64_t volume_bytes;  /* a multiple of 4096, at least 64 MiB */
        uint32_t sector_bytes;  /* 512 or 4096 */
        uint32_t cluster_bytes; /* 0: mkntfs's choice for the size, at least 4096 */
        uint32_t partition_start_sectors;
        const char *label; /* at most 32 characters; NULL: none */
};

struct med_ntfs_region {
        uint64_t offset_bytes;
        uint64_t length_bytes;
};

struct med_ntfs_extent {
        uint64_t offset_bytes;
        uint64_t length_bytes;
};

/* Makes the file system in `scratch_fd`, an empty regular file (bth_open_unlinked()), which is
 * grown to the volume's size. Returns 0; -EINVAL for sizes that cannot be; -ENOENT when mkntfs is
 * not installed; -EIO with what it said when it failed; -errno. */
int med_ntfs_make(int scratch_fd, const struct med_ntfs_params *params, struct bth_error *error)
        _must_check_;

/* Reserves the regions, each in one piece: regions[0..2] of 65536 bytes spread over the volume, [3]
 * of 8192, [4] of 65536. Returns 0 and where they are; -ENOSPC when no piece is large enough; -EIO
 * with BTH_REASON_NTFS_DAMAGED when libntfs-3g refuses the volume; -ENOMEM. */
int med_ntfs_reserve(int scratch_fd, struct med_ntfs_region ret_regions[MED_NTFS_REGIONS],
                     struct bth_error *error) _must_check_;

/* Lists what the file system uses, without the regions: ascending, apart, whole clusters, and the
 * last sector (the second boot sector). free() it. Returns 0; -EIO with BTH_REASON_NTFS_DAMAGED;
 * -ENOMEM. */
int med_ntfs_used_extents(int scratch_fd, const struct med_ntfs_region *regions, size_t n_regions,
                          struct med_ntfs_extent **ret_extents, size_t *ret_n,
                          struct bth_error *error) _must_check_;
