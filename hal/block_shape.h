/* SPDX-License-Identifier: GPL-3.0-or-later */
/* block_shape - how large a drive or image is, and how O_DIRECT wants to be asked there.
 * Of use to the block source and the block sink only. Any thread.
 * Source: open(2), statx(2) STATX_DIOALIGN. */
#pragma once

#include <stdatomic.h>

#include "base/macros.h"

struct hal_block_shape {
        uint64_t size_bytes;
        bool is_device;              /* a block device; else a regular file */
        bool direct;                 /* O_DIRECT is on */
        uint32_t unit_bytes;         /* offsets and lengths are multiples of it; 1: any */
        uint32_t memory_align_bytes; /* 1: any */
};

/* Measures, and turns O_DIRECT on (else off) where `want_direct` is set and the place takes it.
 * Returns 0; -errno of fstat(2), ioctl(2); -ENOTBLK for what is neither block device nor regular
 * file; -EIO for a device whose sectors make no sense. */
int hal_block_measure(int fd, bool want_direct, struct hal_block_shape *ret_shape) _must_check_;

/* Is it still as large as it was? A drive that was pulled has no size any more. */
bool hal_block_is_whole(int fd, uint64_t size_bytes);

/* A drive whose reads fail may be on its way out. */
struct hal_block_watch {
        int fd;
        struct hal_block_shape shape;
        uint64_t vanish_usec;
        _Atomic uint64_t silent_usec; /* since when no read was answered; 0: it does answer */
};

/* What the error `r` of a read means: -ENODEV when the drive was pulled, else `r`. Reads elsewhere
 * to find out; where nothing can be read, waits for the drive to vanish, all threads together no
 * longer than `vanish_usec`. Returns -ENODEV or `r`. */
int hal_block_explain(struct hal_block_watch *w, int r) _must_check_;
