/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/lib/faultsource.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/time.h"

struct fault_source {
        struct bth_source base;
        struct bth_source *below;
        bool own;
        pthread_mutex_t lock; /* of all below; never held while `below` reads */
        pthread_cond_t changed;
        struct fault_plan plan;
        struct fault_range *ranges;
        bool gone, stalled;
        struct fault_counts counts;
};

static struct fault_source *fault_of(struct bth_source *s)
{
        return container_of(s, struct fault_source, base);
}

static bool touches(const struct fault_range *f, uint64_t offset, size_t length)
{
        return offset < f->offset_bytes + f->length_bytes && f->offset_bytes < offset + length;
}

/* What the drive does with this read; waits while it is silent. Lock held. */
static int decide(struct fault_source *f, uint64_t offset, size_t length)
{
        if (f->counts.bytes >= f->plan.stall_after_bytes)
                f->stalled = true;
        while (f->stalled && !f->gone) {
                f->counts.waiting++;
                pthread_cond_broadcast(&f->changed);
                pthread_cond_wait(&f->changed, &f->lock);
                f->counts.waiting--;
        }
        if (f->counts.bytes >= f->plan.gone_after_bytes)
                f->gone = true;
        if (f->gone)
                return -ENODEV;
        for (size_t i = 0; i < f->plan.n_ranges; i++) {
                struct fault_range *q = &f->ranges[i];

                if (q->length_bytes == 0 || !touches(q, offset, length))
                        continue;
                if (q->times > 0 && --q->times == 0)
                        q->length_bytes = 0; /* the last time */
                return q->error;
        }
        return 0;
}

static void take_time(const struct fault_source *f, size_t length)
{
        const uint64_t usec = f->plan.slow_usec_per_mib * length / (1 << 20);
        const struct timespec t = { .tv_sec = (time_t)(usec / BTH_USEC_PER_SEC),
                                    .tv_nsec = (long)(usec % BTH_USEC_PER_SEC * 1000) };

        if (usec > 0)
                (void)nanosleep(&t, NULL);
}

static int fault_read(struct bth_source *s, uint64_t offset_bytes, void *buffer,
                      size_t length_bytes)
{
        struct fault_source *f = fault_of(s);
        int r, below = 0;

        pthread_mutex_lock(&f->lock);
        r = decide(f, offset_bytes, length_bytes);
        pthread_mutex_unlock(&f->lock);
        take_time(f, length_bytes);
        if (r == 0)
                below = bth_source_read(f->below, offset_bytes, buffer, length_bytes);
        else if (f->plan.short_reads && length_bytes > 1)
                below = bth_source_read(f->below, offset_bytes, buffer, length_bytes / 2);
        pthread_mutex_lock(&f->lock);
        if (r == 0 && below == 0 && f->gone)
                r = -ENODEV; /* pulled while it was on its way */
        if (r == 0 && below == 0) {
                f->counts.reads++;
                f->counts.bytes += length_bytes;
        } else {
                f->counts.failed++;
        }
        pthread_mutex_unlock(&f->lock);
        return r < 0 ? r : below;
}

static void fault_free(struct bth_source *s)
{
        struct fault_source *f = fault_of(s);

        if (f->own)
                (void)bth_source_free(f->below);
        pthread_cond_destroy(&f->changed);
        pthread_mutex_destroy(&f->lock);
        free(f->ranges);
        free(f);
}

int fault_source_new(struct bth_source *below, bool own, const struct fault_plan *plan,
                     struct bth_source **ret_source)
{
        static const struct bth_source_ops ops = { .read = fault_read, .free = fault_free };
        struct fault_source *f = calloc(1, sizeof *f);
        struct fault_range *ranges = calloc(plan->n_ranges + 1, sizeof *ranges);

        if (!f || !ranges) {
                free(f);
                free(ranges);
                if (own)
                        (void)bth_source_free(below);
                return -ENOMEM;
        }
        if (plan->n_ranges > 0)
                memcpy(ranges, plan->ranges, plan->n_ranges * sizeof *ranges);
        *f = (struct fault_source){
                .base = *below, .below = below, .own = own, .plan = *plan, .ranges = ranges
        };
        f->base.ops = &ops;
        pthread_mutex_init(&f->lock, NULL);
        pthread_cond_init(&f->changed, NULL);
        *ret_source = &f->base;
        return 0;
}

static void change(struct bth_source *s, bool gone, bool stalled)
{
        struct fault_source *f = fault_of(s);

        pthread_mutex_lock(&f->lock);
        f->gone = gone;
        f->stalled = stalled;
        if (!stalled)
                f->plan.stall_after_bytes = FAULT_NEVER;
        pthread_cond_broadcast(&f->changed);
        pthread_mutex_unlock(&f->lock);
}

void fault_source_pull(struct bth_source *s)
{
        change(s, true, false);
}

void fault_source_dock(struct bth_source *s)
{
        struct fault_source *f = fault_of(s);

        pthread_mutex_lock(&f->lock);
        f->plan.gone_after_bytes = FAULT_NEVER;
        pthread_mutex_unlock(&f->lock);
        change(s, false, false);
}

void fault_source_stall(struct bth_source *s)
{
        change(s, false, true);
}

void fault_source_resume(struct bth_source *s)
{
        change(s, false, false);
}

void fault_source_wait_stalled(struct bth_source *s)
{
        struct fault_source *f = fault_of(s);

        pthread_mutex_lock(&f->lock);
        while (f->counts.waiting == 0)
                pthread_cond_wait(&f->changed, &f->lock);
        pthread_mutex_unlock(&f->lock);
}

void fault_source_get_counts(struct bth_source *s, struct fault_counts *ret_counts)
{
        struct fault_source *f = fault_of(s);

        pthread_mutex_lock(&f->lock);
        *ret_counts = f->counts;
        pthread_mutex_unlock(&f->lock);
}
