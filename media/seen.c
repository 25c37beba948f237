/* SPDX-License-Identifier: GPL-3.0-or-later */
/* seen - hash tables with open addressing, 256 of them, so that growing one costs little memory.
 *
 *     128-bit SipHash:  8 bits choose the table, 64 others are the slot's content; as a fraction
 *                       of 2^64 they say where in the table the search begins
 *
 * A table grows by a seventh when six tenths are taken: it is never less than 0.52 full, so a name
 * costs at most 8 / 0.52 = 15.3 bytes, and is found within a cache line or two. Large tables are
 * mappings of their own, so what an old one held goes back to the system at once. */
#include <sys/mman.h>

#include "base/checked.h"
#include "base/guid.h"
#include "base/siphash.h"
#include "media/seen.h"

#define TABLES      256u
#define SLOTS_START 30u /* 240 bytes: while small, tables come from malloc() */
#define SLOTS_MAX   (UINT32_C(1) << 30)
#define MAP_BYTES   ((size_t)32 << 10)

struct table {
        uint64_t *slots; /* 0: free */
        uint32_t n_slots;
        uint32_t n_used;
};

struct med_seen {
        struct bth_siphash_key key;
        uint64_t count;
        uint64_t bytes;
        struct table tables[TABLES];
};

static size_t table_bytes(uint32_t n_slots)
{
        return (size_t)n_slots * sizeof(uint64_t);
}

static uint64_t *slots_new(uint32_t n_slots)
{
        const size_t n = table_bytes(n_slots);
        void *p;

        if (n < MAP_BYTES)
                return calloc(n_slots, sizeof(uint64_t));
        p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return p == MAP_FAILED ? NULL : p;
}

static void slots_free(uint64_t *slots, uint32_t n_slots)
{
        if (slots && table_bytes(n_slots) >= MAP_BYTES)
                (void)munmap(slots, table_bytes(n_slots));
        else
                free(slots);
}

/* Returns the slot of that name, or the free one where it belongs. */
static uint64_t *slot_find(uint64_t *slots, uint32_t n_slots, uint64_t name)
{
        uint32_t i = (uint32_t)((name >> 32) * n_slots >> 32);

        while (slots[i] != 0 && slots[i] != name)
                i = i + 1 == n_slots ? 0 : i + 1;
        return &slots[i];
}

static int table_grow(struct med_seen *s, struct table *t)
{
        const uint32_t grown = t->n_slots == 0 ? SLOTS_START : t->n_slots + t->n_slots / 7;
        uint64_t *slots;

        if (grown > SLOTS_MAX)
                return -ENOMEM;
        slots = slots_new(grown);
        if (!slots)
                return -ENOMEM;
        for (uint32_t i = 0; i < t->n_slots; i++)
                if (t->slots[i] != 0)
                        *slot_find(slots, grown, t->slots[i]) = t->slots[i];
        slots_free(t->slots, t->n_slots);
        s->bytes += table_bytes(grown) - table_bytes(t->n_slots);
        t->slots = slots;
        t->n_slots = grown;
        return 0;
}

int med_seen_new(struct med_seen **ret_seen)
{
        _cleanup_(med_seen_freep) struct med_seen *s = calloc(1, sizeof *s);
        int r;

        if (!s)
                return -ENOMEM;
        r = bth_random_bytes(&s->key, sizeof s->key);
        if (r < 0)
                return r;
        s->bytes = sizeof *s;
        *ret_seen = take_ptr(s);
        return 0;
}

struct med_seen *med_seen_free(struct med_seen *s)
{
        if (s) {
                for (unsigned i = 0; i < TABLES; i++)
                        slots_free(s->tables[i].slots, s->tables[i].n_slots);
                free(s);
        }
        return NULL;
}

int med_seen_add(struct med_seen *s, const void *name, size_t n)
{
        const struct bth_siphash hash = bth_siphash_of(&s->key, name, n);
        struct table *t = &s->tables[hash.h[0] >> 56];
        const uint64_t wanted = hash.h[1] != 0 ? hash.h[1] : 1; /* 0 means free */
        uint64_t *at;
        int r;

        if ((uint64_t)t->n_used * 10 >= (uint64_t)t->n_slots * 6) {
                r = table_grow(s, t);
                if (r < 0)
                        return r;
        }
        at = slot_find(t->slots, t->n_slots, wanted);
        if (*at != 0)
                return 1;
        *at = wanted;
        t->n_used++;
        s->count++;
        return 0;
}

uint64_t med_seen_count(const struct med_seen *s)
{
        return s->count;
}

uint64_t med_seen_bytes(const struct med_seen *s)
{
        return s->bytes;
}
