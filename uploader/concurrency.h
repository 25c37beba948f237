/* SPDX-License-Identifier: GPL-3.0-or-later */
/* concurrency - how many requests may be in flight: more while that makes it faster, fewer when it
 * does not, half when the service says it is busy.
 *
 *     grow:   each interval one eighth more (at least one), while throughput rises with it
 *     hold:   it did not rise: one step back, stay, and try again after a while
 *     halve:  at 503 or 429, at most once an interval
 *
 * A step function without I/O or clock of its own. One object belongs to one thread. */
#pragma once

#include "base/macros.h"

struct upl_concurrency {
        unsigned limit; /* in flight at most, now */
        unsigned least, most;
        unsigned last_limit;     /* of the interval before */
        unsigned held_intervals; /* to go before growing is tried again */
        uint64_t last_rate;      /* units per second of the interval before */
        uint64_t interval_usec;  /* when this interval began */
        uint64_t units;          /* done in this interval */
        uint64_t last_halved_usec;
        bool limited; /* did something wait for the limit in this interval? */
};

#define UPL_CONCURRENCY_INTERVAL_USEC UINT64_C(1000000)

/* Begins at `start`, stays within [least, most], which must be 1 or more and in order. */
void upl_concurrency_init(struct upl_concurrency *c, unsigned least, unsigned start, unsigned most,
                          uint64_t now_usec);

/* A request ended well; `units` says how much it moved: bytes, plus something for the request. */
void upl_concurrency_done(struct upl_concurrency *c, uint64_t units);
/* A request had to wait because the limit was reached. */
void upl_concurrency_waited(struct upl_concurrency *c);
/* The service asked for less. */
void upl_concurrency_throttled(struct upl_concurrency *c, uint64_t now_usec);
/* To be called now and then; does something once an interval. */
void upl_concurrency_step(struct upl_concurrency *c, uint64_t now_usec);
