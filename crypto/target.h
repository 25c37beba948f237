/* SPDX-License-Identifier: GPL-3.0-or-later */
/* target - opening a device that is to be overwritten, after making sure that it may be.
 * Refuses what is mounted or in use, what holds a file system or partition table that nobody said
 * may be destroyed, and what has another size than expected. Nothing is written. Source: open(2)
 * O_EXCL on block devices, libblkid's probes. */
#pragma once

#include "base/error.h"

struct cry_target_params {
        uint64_t expect_bytes; /* 0: any size */
        bool destroy;          /* what is on it may be destroyed */
};

/* Opens a block device or an image file for reading and writing, and holds it: a block device
 * exclusively against mounting, an image file by a lock. Returns 0; -EBUSY with
 * BTH_REASON_DEVICE_BUSY; -ENOTEMPTY with BTH_REASON_DEVICE_NOT_EMPTY, which says what was found;
 * -EFBIG or -ENOSPC with BTH_REASON_DEVICE_WRONG_SIZE; -ENOTBLK for something else; -errno. */
int cry_target_open(const char *path, const struct cry_target_params *params, int *ret_fd,
                    uint64_t *ret_bytes, struct bth_error *error) _must_check_;
