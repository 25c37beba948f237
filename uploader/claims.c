/* SPDX-License-Identifier: GPL-3.0-or-later */
/* claims - see claims.h: a table with open addressing, at most half full. */
#include "uploader/claims.h"

#include <stdlib.h>
#include <string.h>

#include "base/guid.h"
#include "base/siphash.h"

#define SLOTS_FIRST 1024u

struct slot {
        uint64_t hash; /* 0: empty */
        uint64_t blob;
};

struct upl_claims {
        struct bth_siphash_key key;
        struct slot *slots;
        size_t n_slots, n; /* a power of two; those in use */
};

static uint64_t hash_of(const struct upl_claims *c, const char *container, const char *name)
{
        /* A container's name has no slash, so that no two pairs give the same hashes. */
        const struct bth_siphash a = bth_siphash_of(&c->key, container, strlen(container));
        const struct bth_siphash_key key = { { c->key.k[0] ^ a.h[0], c->key.k[1] ^ a.h[1] } };
        const struct bth_siphash b = bth_siphash_of(&key, name, strlen(name));

        return b.h[0] ? b.h[0] : 1;
}

/* The name's slot, or the empty one where it would be. */
static struct slot *slot_of(const struct upl_claims *c, uint64_t hash)
{
        size_t i = (size_t)hash & (c->n_slots - 1);

        while (c->slots[i].hash != 0 && c->slots[i].hash != hash)
                i = (i + 1) & (c->n_slots - 1);
        return &c->slots[i];
}

static int grow(struct upl_claims *c)
{
        struct upl_claims larger = { .n_slots = c->n_slots * 2 };

        larger.slots = calloc(larger.n_slots, sizeof *larger.slots);
        if (!larger.slots)
                return -ENOMEM;
        for (size_t i = 0; i < c->n_slots; i++)
                if (c->slots[i].hash != 0)
                        *slot_of(&larger, c->slots[i].hash) = c->slots[i];
        free(c->slots);
        c->slots = larger.slots;
        c->n_slots = larger.n_slots;
        return 0;
}

int upl_claims_new(struct upl_claims **ret_claims)
{
        _cleanup_(upl_claims_freep) struct upl_claims *c = calloc(1, sizeof *c);
        int r;

        if (!c)
                return -ENOMEM;
        c->n_slots = SLOTS_FIRST;
        c->slots = calloc(c->n_slots, sizeof *c->slots);
        r = c->slots ? bth_random_bytes(&c->key, sizeof c->key) : -ENOMEM;
        if (r < 0)
                return r;
        *ret_claims = take_ptr(c);
        return 0;
}

struct upl_claims *upl_claims_free(struct upl_claims *c)
{
        if (c)
                free(c->slots);
        free(c);
        return NULL;
}

/* The slot for a name, with room for it. */
static int reserve(struct upl_claims *c, const char *container, const char *name,
                   struct slot **ret_slot)
{
        uint64_t hash = hash_of(c, container, name);
        struct slot *s = slot_of(c, hash);

        if (s->hash == 0 && (c->n + 1) * 2 > c->n_slots) {
                int r = grow(c);

                if (r < 0)
                        return r;
                s = slot_of(c, hash);
        }
        if (s->hash == 0) {
                *s = (struct slot){ hash, UINT64_MAX };
                c->n++;
        }
        *ret_slot = s;
        return 0;
}

int upl_claims_take(struct upl_claims *c, const char *container, const char *name, uint64_t blob)
{
        struct slot *s;
        int r = reserve(c, container, name, &s);

        if (r < 0)
                return r;
        if (s->blob != UINT64_MAX && s->blob != blob)
                return -EEXIST;
        s->blob = blob;
        return 0;
}

int upl_claims_seize(struct upl_claims *c, const char *container, const char *name, uint64_t blob)
{
        struct slot *s;
        int r = reserve(c, container, name, &s);

        if (r == 0)
                s->blob = blob;
        return r;
}

bool upl_claims_others(const struct upl_claims *c, const char *container, const char *name,
                       uint64_t blob)
{
        const struct slot *s = slot_of(c, hash_of(c, container, name));

        return s->hash != 0 && s->blob != blob;
}
