/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-format - an empty drive becomes one that can be shipped: GPT, one partition, BitLocker,
 * NTFS.
 *
 *     prepare   NTFS is made in a sparse scratch file; nothing is written to the drive, and the
 * room is known write     keys are made and handed over; then table, file system, metadata; the
 * first sector last of all
 *
 * A drive whose write was cut off holds no BitLocker volume, and is written again from the
 * beginning. */
#pragma once

#include "base/secret.h"
#include "media/ntfs_format.h"
#include "media/partition_make.h"

struct ctl_format {
        uint64_t device_bytes;
        uint32_t sector_bytes;
        struct med_partition_place place;
        struct med_ntfs_region regions[MED_NTFS_REGIONS];
        struct med_ntfs_extent *extents;
        size_t n_extents;
        int scratch_fd;
        uint32_t cluster_bytes;
        uint64_t free_bytes; /* for files */
};

/* Returns 0; -ENOSPC with BTH_REASON_DEVICE_WRONG_SIZE for a device that is too small; the errors
 * of med_ntfs_make() and med_ntfs_reserve(); -errno of the scratch file; -ENOMEM. */
int ctl_format_prepare(uint64_t device_bytes, uint32_t sector_bytes, const char *label,
                       struct ctl_format *ret_format, struct bth_error *error) _must_check_;
void ctl_format_clear(struct ctl_format *f);

/* Called when the key exists and before anything is written: who has not stored it must fail.
 * Returns 0 or a negative errno, which ends the formatting. */
typedef int (*ctl_format_key_fn)(void *userdata, const struct bth_secret *recovery_password,
                                 struct bth_error *error);

/* Writes to `fd` (borrowed; of cry_target_open()). Everything is on the device when this returns 0;
 * else -EIO and others with BTH_REASON_DRIVE_WRITE_ERROR, what `key` gave, -ENOMEM. */
int ctl_format_write(const struct ctl_format *f, int fd, const char *description,
                     ctl_format_key_fn key, void *userdata, struct bth_error *error) _must_check_;
