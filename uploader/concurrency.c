/* SPDX-License-Identifier: GPL-3.0-or-later */
/* concurrency - see concurrency.h. */
#include "uploader/concurrency.h"

#include <assert.h>

#include "base/time.h"

#define HOLD_INTERVALS 10u
/* A gain must be above one part in this, else it is noise. */
#define GAIN_PART 32u

void upl_concurrency_init(struct upl_concurrency *c, unsigned least, unsigned start, unsigned most,
                          uint64_t now_usec)
{
        assert(least >= 1 && least <= start && start <= most);
        *c = (struct upl_concurrency){
                .limit = start,
                .least = least,
                .most = most,
                .last_limit = start,
                .interval_usec = now_usec,
        };
}

void upl_concurrency_done(struct upl_concurrency *c, uint64_t units)
{
        c->units += units;
}

void upl_concurrency_waited(struct upl_concurrency *c)
{
        c->limited = true;
}

void upl_concurrency_throttled(struct upl_concurrency *c, uint64_t now_usec)
{
        if (c->last_halved_usec != 0 &&
            now_usec - c->last_halved_usec < UPL_CONCURRENCY_INTERVAL_USEC)
                return;
        c->last_halved_usec = now_usec;
        c->limit = MAX(c->limit / 2, c->least);
        c->held_intervals = HOLD_INTERVALS;
        /* What was measured before says nothing about the service as it is now. */
        c->last_rate = 0;
        c->last_limit = c->limit;
        c->interval_usec = now_usec;
        c->units = 0;
}

static unsigned grown(const struct upl_concurrency *c)
{
        return MIN(c->limit + MAX(c->limit / 8, 1u), c->most);
}

void upl_concurrency_step(struct upl_concurrency *c, uint64_t now_usec)
{
        uint64_t passed = now_usec - c->interval_usec, rate;
        unsigned limit = c->limit;

        if (now_usec < c->interval_usec || passed < UPL_CONCURRENCY_INTERVAL_USEC)
                return;
        rate = (uint64_t)((__uint128_t)c->units * BTH_USEC_PER_SEC / passed);
        if (c->held_intervals > 0)
                c->held_intervals--;
        else if (!c->limited)
                ; /* nobody waits: a higher limit would change nothing, and prove nothing */
        else if (c->limit > c->last_limit && rate < c->last_rate + c->last_rate / GAIN_PART) {
                limit = c->last_limit;
                c->held_intervals = HOLD_INTERVALS;
        } else
                limit = grown(c);
        c->last_limit = c->limit;
        c->limit = limit;
        c->last_rate = rate;
        c->interval_usec = now_usec;
        c->units = 0;
        c->limited = false;
}
