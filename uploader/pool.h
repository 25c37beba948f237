/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pool - I/O buffers that were given back and wait to be used again: fresh memory of the kernel
 * costs as much as reading and sending what is in it. Sizes are rounded up to a quarter of a power
 * of two. No lock of its own: its owner's. */
#pragma once

#include "base/macros.h"

#define UPL_POOL_LEAST_BYTES 4096u
#define UPL_POOL_CLASSES     64u /* four for each doubling: up to 256 MiB */

struct upl_pool {
        void *classes[UPL_POOL_CLASSES]; /* free buffers; each begins with a pointer to the next */
        uint64_t cached_bytes;
};

/* The size of the buffer that holds `n_bytes`. */
uint64_t upl_pool_size(uint64_t n_bytes) _const_;
/* A cached buffer for `n_bytes`, or NULL: then make one of upl_pool_size() bytes. */
void *upl_pool_get(struct upl_pool *p, uint64_t n_bytes);
/* Keeps a buffer that was made for `n_bytes`. False when the pool has no class for it. */
bool upl_pool_put(struct upl_pool *p, void *buffer, uint64_t n_bytes) _must_check_;
/* Takes out buffers, large ones first, until at most `keep_bytes` are cached. Returns them chained
 * like the classes, for upl_pool_free_chain() outside the lock. */
void *upl_pool_trim(struct upl_pool *p, uint64_t keep_bytes);
void upl_pool_free_chain(void *chain);

/* The same for what libraries take from the heap, for the whole process: buffers that one request
 * frees and the next one takes stay instead of going back to the kernel, and there are few arenas,
 * since each would keep what its threads have freed. Before the first thread. */
void upl_pool_tune_heap(void);
