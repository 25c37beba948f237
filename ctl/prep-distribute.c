/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-distribute - first fit, large files first. */
#include <string.h>

#include "base/checked.h"
#include "ctl/prep-distribute.h"

#define CLUSTER_BYTES        4096
#define RECORD_BYTES         1024
#define INDEX_ENTRY_BYTES    112 /* without the name, which is counted twice: $FILE_NAME and index */
#define MANIFEST_BLOB_BYTES  320 /* tags of a <Blob> without the two paths */
#define MANIFEST_BLOCK_BYTES 140 /* one <Block …/> line */
#define LARGE_SHARE          100

uint64_t ctl_item_cost(const struct ctl_item *item, const struct ctl_cost *cost)
{
        const uint64_t names = strlen(item->blob_path) + 5 * strlen(item->file_path);
        const uint64_t blocks = item->size_bytes / cost->block_bytes + 1;
        uint64_t data;

        if (!bth_align_up(item->size_bytes,
                          cost->cluster_bytes ? cost->cluster_bytes : CLUSTER_BYTES, &data))
                return UINT64_MAX;
        return data + RECORD_BYTES + INDEX_ENTRY_BYTES + MANIFEST_BLOB_BYTES + names +
               blocks * MANIFEST_BLOCK_BYTES + cost->more_bytes;
}

struct order {
        uint64_t cost;
        size_t index;
};

static int by_cost_descending(const void *a, const void *b)
{
        const struct order *x = a, *y = b;

        if (x->cost != y->cost)
                return x->cost > y->cost ? -1 : 1;
        return x->index < y->index ? -1 : x->index > y->index;
}

static bool place(struct ctl_item *item, uint64_t cost, struct ctl_target *targets, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (cost <= targets[i].free_bytes - targets[i].used_bytes) {
                        targets[i].used_bytes += cost;
                        targets[i].n_items++;
                        item->drive = (uint32_t)i;
                        return true;
                }
        item->drive = UINT32_MAX;
        return false;
}

struct unplaced {
        uint64_t *costs;
        size_t n, n_allocated;
};

static int remember(struct unplaced *u, struct ctl_distribution *d, const struct ctl_item *item,
                    uint64_t cost, uint64_t largest)
{
        d->n_unplaced++;
        d->unplaced_bytes += item->size_bytes;
        if (!d->largest_unplaced || item->size_bytes > d->largest_unplaced->size_bytes)
                d->largest_unplaced = item;
        if (cost > largest) {
                d->n_too_large++;
                return 0;
        }
        if (u->n == u->n_allocated) {
                size_t grown = MAX(u->n_allocated * 2, (size_t)64);
                uint64_t *p = reallocarray(u->costs, grown, sizeof *p);

                if (!p)
                        return -ENOMEM;
                u->costs = p;
                u->n_allocated = grown;
        }
        u->costs[u->n++] = cost;
        return 0;
}

/* How many drives of `size` the rest would need, by the same rule of first fit. */
static int count_more_drives(const struct unplaced *u, uint64_t size, size_t *ret_n)
{
        _cleanup_free_ uint64_t *used = calloc(MAX(u->n, (size_t)1), sizeof *used);
        size_t n = 0, open = 0;

        if (!used)
                return -ENOMEM;
        for (size_t i = 0; i < u->n; i++) {
                size_t k = open;

                while (k < n && u->costs[i] > size - used[k])
                        k++;
                if (k == n)
                        n++;
                used[k] += u->costs[i];
                /* Drives that are all but full are not looked at again: keeps this linear. */
                while (open < n && size - used[open] < size / 1000)
                        open++;
        }
        *ret_n = n;
        return 0;
}

int ctl_distribute(struct ctl_items *items, const struct ctl_cost *by, struct ctl_target *targets,
                   size_t n_targets, struct ctl_distribution *ret_distribution)
{
        _cleanup_free_ struct order *large = NULL;
        struct ctl_distribution d = { 0 };
        struct unplaced u = { 0 };
        uint64_t largest = 0;
        size_t n_large = 0;
        int r = 0;

        for (size_t i = 0; i < n_targets; i++) {
                targets[i].used_bytes = 0;
                targets[i].n_items = 0;
                largest = MAX(largest, targets[i].free_bytes);
        }
        large = calloc(MAX(items->n_items, (size_t)1), sizeof *large);
        if (!large)
                return -ENOMEM;
        for (size_t i = 0; i < items->n_items; i++) {
                uint64_t cost = ctl_item_cost(&items->items[i], by);

                items->items[i].drive = UINT32_MAX;
                if (cost > largest / LARGE_SHARE)
                        large[n_large++] = (struct order){ cost, i };
        }
        qsort(large, n_large, sizeof *large, by_cost_descending);
        for (size_t i = 0; r == 0 && i < n_large; i++)
                if (!place(&items->items[large[i].index], large[i].cost, targets, n_targets))
                        r = remember(&u, &d, &items->items[large[i].index], large[i].cost, largest);
        for (size_t i = 0; r == 0 && i < items->n_items; i++) {
                uint64_t cost = ctl_item_cost(&items->items[i], by);

                if (cost <= largest / LARGE_SHARE &&
                    !place(&items->items[i], cost, targets, n_targets))
                        r = remember(&u, &d, &items->items[i], cost, largest);
        }
        if (r == 0)
                r = count_more_drives(&u, largest, &d.n_more_drives);
        free(u.costs);
        if (r == 0)
                *ret_distribution = d;
        return r;
}
