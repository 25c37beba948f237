/* SPDX-License-Identifier: GPL-3.0-or-later */
/* arena - a list of chunks, filled from the front. */
#include <string.h>

#include "ctl/arena.h"

#define CHUNK_BYTES ((size_t)256 << 10)

struct chunk {
        struct chunk *next;
        size_t used;
        size_t size;
        char bytes[];
};

struct ctl_arena {
        struct chunk *chunks;
};

int ctl_arena_new(struct ctl_arena **ret_arena)
{
        *ret_arena = calloc(1, sizeof **ret_arena);
        return *ret_arena ? 0 : -ENOMEM;
}

struct ctl_arena *ctl_arena_free(struct ctl_arena *a)
{
        struct chunk *next;

        if (!a)
                return NULL;
        for (struct chunk *c = a->chunks; c; c = next) {
                next = c->next;
                free(c);
        }
        free(a);
        return NULL;
}

char *ctl_arena_string(struct ctl_arena *a, const char *text, size_t n)
{
        struct chunk *c = a->chunks;
        char *p;

        if (!c || c->size - c->used < n + 1) {
                size_t size = n + 1 > CHUNK_BYTES ? n + 1 : CHUNK_BYTES;

                c = malloc(sizeof *c + size);
                if (!c)
                        return NULL;
                *c = (struct chunk){ .next = a->chunks, .size = size };
                a->chunks = c;
        }
        p = c->bytes + c->used;
        memcpy(p, text, n);
        p[n] = '\0';
        c->used += n + 1;
        return p;
}
