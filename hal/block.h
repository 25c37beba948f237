/* SPDX-License-Identifier: GPL-3.0-or-later */
/* block - reading a drive or an image file as fast as it goes.
 *
 *     caller's aligned buffer  <── O_DIRECT, several requests of 1 MiB in flight (io_uring) ──
 *
 * Of a piece that does not lie on blocks, the whole blocks come straight into the caller's memory
 * too; only its head and tail go through a buffer of our own.
 *
 * Works on a descriptor, never on a name. Where the file system refuses O_DIRECT, where io_uring is
 * not permitted, or on request, it falls back: buffered reads, pread(2). The size is taken once; a
 * read that ends before it means that the drive was pulled (-ENODEV), whatever the kernel calls it.
 * An error of the drive is not believed at once: of a drive that is being pulled, requests in
 * flight fail like bad sectors, and the kernel takes its node away later. So where other places
 * cannot be read either, the reader waits a while for the drive to vanish. Any number of threads.
 * Source: open(2), statx(2) STATX_DIOALIGN, io_uring(7); hotplug specification 6. */
#pragma once

#include "base/error.h"
#include "base/source.h"

struct hal_block_options {
        bool no_direct; /* through the page cache */
        bool no_uring;  /* pread(2) only */
        /* How long a drive that answers no read any more may take to vanish: then it was pulled,
         * else it is broken. 0: ten seconds. */
        uint64_t vanish_usec;
};

/* What the reader found and did; for status and benchmarks. */
struct hal_block_stats {
        bool direct;
        bool uring;
        uint64_t requests;
        uint64_t bytes;
        uint64_t backward_seeks; /* requests that begin before the end of the one before */
};

/* Opens a reader. Takes over `fd` when `own` is set, also when this fails. `options` may be NULL.
 * With O_DIRECT the descriptor's flags are changed. Returns 0; -errno of fstat(2), ioctl(2);
 * -ENOTBLK for what is neither block device nor regular file; -ENOMEM. */
int hal_block_open_fd(int fd, bool own, const struct hal_block_options *options,
                      struct bth_source **ret_source, struct bth_error *error) _must_check_;

/* How large it is now; 0 where nothing can be told. */
uint64_t hal_block_size(int fd);

/* Is the drive, which was `size_bytes` large, gone? For those whose work on it failed: what a drive
 * gives on its way out is not always an error. Reads at both ends, and waits for one that does not
 * answer to vanish, as readers do. Turns O_DIRECT on. */
bool hal_block_is_gone(int fd, uint64_t size_bytes);

/* Only for sources of hal_block_open_fd(). */
void hal_block_get_stats(struct bth_source *source, struct hal_block_stats *ret_stats);
