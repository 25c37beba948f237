/* SPDX-License-Identifier: GPL-3.0-or-later */
/* state-known - see state-known.h. */
#include "uploader/state-known.h"

#include <string.h>

#define BUCKETS_FIRST 1024u

struct entry {
        uint64_t blob;
        struct entry *next; /* in its bucket */
        struct upl_intent *intent;
        struct upl_outcome *outcome;
        struct upl_page *pages; /* by offset */
        size_t n_pages, allocated_pages;
};

void upl_intent_clear(struct upl_intent *i)
{
        free(i->name);
        free(i->etag);
        free(i->lease_id);
        *i = (struct upl_intent){ 0 };
}

void upl_outcome_clear(struct upl_outcome *o)
{
        free(o->name);
        free(o->etag);
        *o = (struct upl_outcome){ 0 };
}

static size_t bucket_of(const struct upl_known *k, uint64_t blob)
{
        return (size_t)(blob * UINT64_C(0x9E3779B97F4A7C15) >> 20) & (k->n_buckets - 1);
}

static struct entry *find(const struct upl_known *k, uint64_t blob)
{
        struct entry *e = k->buckets[bucket_of(k, blob)];

        while (e && e->blob != blob)
                e = e->next;
        return e;
}

static void rehash(struct upl_known *k)
{
        size_t old_n = k->n_buckets;
        struct entry **old = k->buckets, **grown = calloc(old_n * 2, sizeof(struct entry *));

        if (!grown)
                return; /* longer chains are slower, not wrong */
        k->buckets = grown;
        k->n_buckets = old_n * 2;
        for (size_t i = 0; i < old_n; i++)
                for (struct entry *e = old[i], *next; e; e = next) {
                        next = e->next;
                        e->next = k->buckets[bucket_of(k, e->blob)];
                        k->buckets[bucket_of(k, e->blob)] = e;
                }
        free(old);
}

static struct entry *find_or_add(struct upl_known *k, uint64_t blob)
{
        struct entry *e = find(k, blob);
        size_t bucket;

        if (e)
                return e;
        e = calloc(1, sizeof *e);
        if (!e)
                return NULL;
        if (k->n_entries >= k->n_buckets)
                rehash(k);
        bucket = bucket_of(k, blob);
        e->blob = blob;
        e->next = k->buckets[bucket];
        k->buckets[bucket] = e;
        k->n_entries++;
        return e;
}

static void intent_drop(struct entry *e)
{
        if (e->intent)
                upl_intent_clear(e->intent);
        free(e->intent);
        e->intent = NULL;
        free(e->pages);
        e->pages = NULL;
        e->n_pages = e->allocated_pages = 0;
}

static void entry_free(struct entry *e)
{
        intent_drop(e);
        if (e->outcome)
                upl_outcome_clear(e->outcome);
        free(e->outcome);
        free(e);
}

/* The first page range at or behind an offset. */
static size_t page_slot(const struct entry *e, uint64_t offset_bytes)
{
        size_t low = 0, high = e->n_pages;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (e->pages[middle].offset_bytes < offset_bytes)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

int upl_known_page(struct upl_known *k, uint64_t blob, struct upl_page page)
{
        struct entry *e = find_or_add(k, blob);
        size_t at;

        if (!e)
                return -ENOMEM;
        if (e->n_pages == e->allocated_pages) {
                size_t wanted = e->allocated_pages ? e->allocated_pages * 2 : 64;
                struct upl_page *grown = reallocarray(e->pages, wanted, sizeof *grown);

                if (!grown)
                        return -ENOMEM;
                e->pages = grown;
                e->allocated_pages = wanted;
        }
        at = page_slot(e, page.offset_bytes);
        memmove(&e->pages[at + 1], &e->pages[at], (e->n_pages - at) * sizeof page);
        e->pages[at] = page;
        e->n_pages++;
        return 0;
}

static int copy_text(char **to, const char *from)
{
        *to = from ? strdup(from) : NULL;
        return from && !*to ? -ENOMEM : 0;
}

static int copy_intent(struct upl_intent *to, const struct upl_intent *from)
{
        struct upl_intent copy = { .realtime_usec = from->realtime_usec };
        int r = copy_text(&copy.name, from->name);

        if (r == 0)
                r = copy_text(&copy.etag, from->etag);
        if (r == 0)
                r = copy_text(&copy.lease_id, from->lease_id);
        if (r < 0)
                upl_intent_clear(&copy);
        else
                *to = copy;
        return r;
}

static int copy_outcome(struct upl_outcome *to, const struct upl_outcome *from)
{
        struct upl_outcome copy = { .status = from->status, .disposition = from->disposition };
        int r = copy_text(&copy.name, from->name);

        if (r == 0)
                r = copy_text(&copy.etag, from->etag);
        if (r < 0)
                upl_outcome_clear(&copy);
        else
                *to = copy;
        return r;
}

int upl_known_intent(struct upl_known *k, uint64_t blob, const char *container,
                     const struct upl_intent *intent)
{
        struct upl_intent *copy = calloc(1, sizeof *copy);
        struct entry *e = find_or_add(k, blob);

        if (!copy || !e || upl_claims_seize(k->claims, container, intent->name, blob) < 0 ||
            copy_intent(copy, intent) < 0) {
                free(copy);
                return -ENOMEM;
        }
        intent_drop(e);
        e->intent = copy;
        return 0;
}

int upl_known_outcome(struct upl_known *k, uint64_t blob, const char *container,
                      const struct upl_outcome *outcome)
{
        struct upl_outcome *copy = calloc(1, sizeof *copy);
        struct entry *e = find_or_add(k, blob);
        int r = 0;

        if (outcome->disposition != BTH_DISPOSITION_STATUS_SKIPPED)
                r = upl_claims_seize(k->claims, container, outcome->name, blob);
        if (!copy || !e || r < 0 || copy_outcome(copy, outcome) < 0) {
                free(copy);
                return -ENOMEM;
        }
        intent_drop(e);
        if (e->outcome)
                upl_outcome_clear(e->outcome);
        free(e->outcome);
        e->outcome = copy;
        return 0;
}

int upl_known_get_intent(const struct upl_known *k, uint64_t blob, struct upl_intent *ret_intent)
{
        const struct entry *e = find(k, blob);

        return e && e->intent ? copy_intent(ret_intent, e->intent) : -ENOENT;
}

int upl_known_get_outcome(const struct upl_known *k, uint64_t blob, struct upl_outcome *ret_outcome)
{
        const struct entry *e = find(k, blob);

        return e && e->outcome ? copy_outcome(ret_outcome, e->outcome) : -ENOENT;
}

bool upl_known_has_page(const struct upl_known *k, uint64_t blob, struct upl_page page)
{
        const struct entry *e = find(k, blob);
        const size_t at = e ? page_slot(e, page.offset_bytes) : 0;

        return e && at < e->n_pages && e->pages[at].offset_bytes == page.offset_bytes &&
               e->pages[at].length_bytes == page.length_bytes;
}

int upl_known_init(struct upl_known *k)
{
        *k = (struct upl_known){ .n_buckets = BUCKETS_FIRST };
        k->buckets = calloc(k->n_buckets, sizeof(struct entry *));
        if (k->buckets && upl_claims_new(&k->claims) == 0)
                return 0;
        free(k->buckets);
        *k = (struct upl_known){ 0 };
        return -ENOMEM;
}

void upl_known_clear(struct upl_known *k)
{
        for (size_t i = 0; i < k->n_buckets; i++)
                for (struct entry *e = k->buckets[i], *next; e; e = next) {
                        next = e->next;
                        entry_free(e);
                }
        free(k->buckets);
        (void)upl_claims_free(k->claims);
        *k = (struct upl_known){ 0 };
}
