/* SPDX-License-Identifier: GPL-3.0-or-later */
/* block_sink - writing a drive or an image file past the page cache.
 *
 * Whole blocks go to the device straight from the caller's memory, or through an aligned buffer
 * where that memory is not aligned; a head or tail inside a block is read, changed and written.
 * Where O_DIRECT cannot be had (the file system, a descriptor that cannot read, an image that ends
 * inside a block) it writes through the page cache. Works on a descriptor, never on a name;
 * exclusive opening is the caller's. Any number of threads; two that change parts of one block at
 * once both get their way. Source: open(2); hotplug specification 6. */
#pragma once

#include "base/error.h"
#include "base/source.h"
#include "hal/block.h"

/* Opens a sink over a descriptor that was opened for writing. Takes over `fd` when `own` is set,
 * also when this fails. `options` may be NULL; no_uring plays no part. With O_DIRECT the
 * descriptor's flags are changed. Flushing also empties the drive's own cache. Returns 0; -EBADF
 * for a descriptor that cannot write; -EROFS for a drive that is write-protected; -errno of
 * fstat(2), ioctl(2); -ENOTBLK for what is neither block device nor regular file; -ENOMEM. */
int hal_block_sink_open_fd(int fd, bool own, const struct hal_block_options *options,
                           struct bth_sink **ret_sink, struct bth_error *error) _must_check_;
