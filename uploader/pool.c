/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pool - see pool.h. */
#include "uploader/pool.h"

#include <malloc.h>
#include <string.h>

#include "base/checked.h"

#define HEAP_ARENAS     4
#define HEAP_KEPT_BYTES (16 << 20) /* free at the end of an arena before it is given back */
#define HEAP_MMAP_BYTES (1 << 20)  /* our own buffers are larger, curl's are smaller */

static unsigned log2_of(uint64_t v)
{
        return 63u - (unsigned)__builtin_clzll(v);
}

uint64_t upl_pool_size(uint64_t n_bytes)
{
        uint64_t step, size;

        n_bytes = MAX(n_bytes, (uint64_t)UPL_POOL_LEAST_BYTES);
        step = MAX((UINT64_C(1) << log2_of(n_bytes)) / 4, (uint64_t)UPL_POOL_LEAST_BYTES);
        return bth_align_up(n_bytes, step, &size) ? size : UINT64_MAX;
}

/* Of a size that upl_pool_size() gave: four classes for each power of two from 4 KiB on. */
static unsigned class_of(uint64_t size)
{
        unsigned power = log2_of(size);
        uint64_t quarter = (UINT64_C(1) << power) / 4;

        return (power - log2_of(UPL_POOL_LEAST_BYTES)) * 4 +
               (unsigned)((size - (UINT64_C(1) << power)) / quarter);
}

static uint64_t size_of_class(unsigned class)
{
        uint64_t power = (uint64_t)UPL_POOL_LEAST_BYTES << class / 4;

        return power + power / 4 * (class % 4);
}

static void *next_of(const void *buffer)
{
        void *next;

        memcpy(&next, buffer, sizeof next);
        return next;
}

void *upl_pool_get(struct upl_pool *p, uint64_t n_bytes)
{
        uint64_t size = upl_pool_size(n_bytes);
        unsigned class = class_of(size);
        void *buffer = class < UPL_POOL_CLASSES ? p->classes[class] : NULL;

        if (buffer) {
                p->classes[class] = next_of(buffer);
                p->cached_bytes -= size;
        }
        return buffer;
}

bool upl_pool_put(struct upl_pool *p, void *buffer, uint64_t n_bytes)
{
        uint64_t size = upl_pool_size(n_bytes);
        unsigned class = class_of(size);

        if (class >= UPL_POOL_CLASSES)
                return false;
        memcpy(buffer, &p->classes[class], sizeof(void *));
        p->classes[class] = buffer;
        p->cached_bytes += size;
        return true;
}

void *upl_pool_trim(struct upl_pool *p, uint64_t keep_bytes)
{
        void *chain = NULL;

        for (unsigned class = UPL_POOL_CLASSES; class -- > 0 && p->cached_bytes > keep_bytes;)
                while (p->classes[class] && p->cached_bytes > keep_bytes) {
                        void *buffer = p->classes[class];

                        p->classes[class] = next_of(buffer);
                        p->cached_bytes -= size_of_class(class);
                        memcpy(buffer, &chain, sizeof chain);
                        chain = buffer;
                }
        return chain;
}

void upl_pool_free_chain(void *chain)
{
        while (chain) {
                void *next = next_of(chain);

                free(chain);
                chain = next;
        }
}

void upl_pool_tune_heap(void)
{
        (void)mallopt(M_ARENA_MAX, HEAP_ARENAS);
        (void)mallopt(M_TRIM_THRESHOLD, HEAP_KEPT_BYTES);
        (void)mallopt(M_MMAP_THRESHOLD, HEAP_MMAP_BYTES);
}
