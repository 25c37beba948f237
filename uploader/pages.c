/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pages - a page blob that is there already: which of its ranges are ours. See parts.h. */
#include "uploader/parts.h"

/* Compares one part that has pages at the service. */
static int compare_part(struct upl_transfer *t, size_t i, bool *ret_ours)
{
        const struct upl_part *part = &t->plan->parts[i];
        bool same = false;
        int r;

        if (upl_state_has_page(t->env->state, t->item->blob->index, part->offset_bytes,
                               part->length_bytes))
                return 0;
        r = upl_part_learn_hash(t, i);
        if (r == -EIO || r == -ENODATA)
                return 0; /* told when it is to be sent */
        if (r == 0)
                r = upl_budget_take(t->env->budget, UPL_PAGE_WRITE_BYTES);
        if (r < 0)
                return r;
        r = upl_part_compare_remote(t, i, &same);
        upl_budget_give(t->env->budget, UPL_PAGE_WRITE_BYTES);
        if (r < 0)
                return r;
        t->parts[i].sent = same;
        t->parts[i].dirty = !same;
        if (same)
                t->result->ranges[i] = BTH_RANGE_STATUS_COMPLETED;
        else
                *ret_ours = false;
        return 0;
}

static int compare_ranges(struct upl_transfer *t, const struct upl_page_ranges *ranges,
                          bool *ret_ours)
{
        const struct upl_part *parts = t->plan->parts;
        size_t i = 0;
        int r = 0;

        for (size_t k = 0; k < ranges->n && r == 0; k++) {
                uint64_t at = ranges->items[k].offset_bytes;
                uint64_t end = at + ranges->items[k].length_bytes;

                while (i < t->plan->n_parts && parts[i].offset_bytes + parts[i].length_bytes <= at)
                        i++;
                /* Each part that the range touches; what lies between parts is not ours. */
                for (size_t p = i; at < end && r == 0; p++) {
                        if (p >= t->plan->n_parts || parts[p].offset_bytes > at) {
                                *ret_ours = false;
                                break;
                        }
                        if (!t->parts[p].sent && !t->parts[p].dirty)
                                r = compare_part(t, p, ret_ours);
                        at = parts[p].offset_bytes + parts[p].length_bytes;
                }
        }
        return r;
}

int upl_pages_compare(struct upl_transfer *t, bool *ret_ours)
{
        struct upl_target target = { .container = t->container, .blob = t->intent.name };
        _cleanup_call_ struct upl_call call = { 0 };
        struct upl_page_ranges ranges;
        int r = upl_transfer_call(t, &call, upl_get_page_ranges(&call.request, &target));

        if (r == 0)
                r = upl_answer_page_ranges(call.content->data, call.content->length, &ranges,
                                           &t->result->error);
        if (r < 0)
                return r;
        *ret_ours = true;
        r = compare_ranges(t, &ranges, ret_ours);
        upl_page_ranges_clear(&ranges);
        return r;
}
