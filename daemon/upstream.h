/* SPDX-License-Identifier: GPL-3.0-or-later */
/* upstream - the job service above: events go up, jobs come down.
 *
 *     store: outbox ── the oldest of each drive and job ──> one batch ── POST ──> settled in the
 * store GET jobs, with the tag of the last answer ──> made, shipped, cancelled in the store
 *
 * Every event is delivered at least once and in the order of its drive, over every stop, crash and
 * outage; it is taken out of the outbox after the answer was read. What fails is tried again, with
 * back-off and full jitter, for ever; what upstream refuses is parked and told. An outage stops no
 * transfer: jobs, keys and history are kept here. Tokens are read when they are needed. On the
 * loop's thread; the store on its own. Source: berth-hub(7); CloudEvents 1.0.2, HTTP binding;
 * design, section 3 (9). */
#pragma once

#include <systemd/sd-event.h>

#include "daemon/config.h"
#include "jobs/thread.h"

#define DMN_UPSTREAM_BATCH_MAX        500u /* events of a request */
#define DMN_UPSTREAM_BATCH_BYTES      ((size_t)4 << 20)
#define DMN_UPSTREAM_SOON_USEC        (UINT64_C(200) * 1000) /* events are collected for so long */
#define DMN_UPSTREAM_BEAT_USEC        (UINT64_C(50) * 1000000) /* the longest silence */
#define DMN_UPSTREAM_BACKOFF_MIN_USEC (UINT64_C(1) * 1000000)
#define DMN_UPSTREAM_BACKOFF_MAX_USEC (UINT64_C(300) * 1000000)

struct dmn_upstream_events {
        /* Jobs were made or changed. */
        void (*changed)(void *userdata);
        /* A fetch has ended, well or not; after `changed`. May be NULL. */
        void (*answered)(void *userdata);
        /* The serial numbers of drives that are docked and have no job, at most `max`; borrowed
         * until the loop goes on. Returns their number; may be NULL. */
        size_t (*unknown_drives)(void *userdata, const char **serials, size_t max);
};

struct dmn_upstream;

/* Begins to send and to fetch. `config` (with an upstream) is copied from; `store` outlives it, and
 * goes on to serve what was handed in. Returns 0, -EINVAL, -EIO of libcurl, -ENOMEM. */
int dmn_upstream_new(sd_event *loop, struct job_thread *store, const struct dmn_config *config,
                     const struct dmn_upstream_events *events, void *userdata,
                     struct dmn_upstream **ret_upstream, struct bth_error *error) _must_check_;
/* NULL is fine; returns NULL. */
struct dmn_upstream *dmn_upstream_free(struct dmn_upstream *u);
DEFINE_CLEANUP(dmn_upstream_free, struct dmn_upstream *);

/* To be called when the store's thread has answered something: is there something new to send? */
void dmn_upstream_wake(struct dmn_upstream *u);
/* A drive was docked that no job names, or an operator asks: fetches jobs now. */
void dmn_upstream_fetch(struct dmn_upstream *u);

/* Asks for the jobs before something begins: what they were a while ago does not do. Returns a
 * number for dmn_upstream_answered(). Not so when the service asked for a pause. */
uint64_t dmn_upstream_ask(struct dmn_upstream *u);
/* Has a fetch that began after dmn_upstream_ask() ended, well or not? What it brought is stored. */
bool dmn_upstream_answered(const struct dmn_upstream *u, uint64_t ask);

struct dmn_upstream_status {
        const char *url, *source;
        uint64_t heard_usec;            /* the last answer of any use; 0: none yet */
        uint64_t fetched_usec;          /* jobs; 0: not yet */
        unsigned failures;              /* in a row */
        struct bth_error error;         /* of the last failure; code 0: all is well */
        struct job_outbox_state outbox; /* as of the last batch */
};
/* Texts are borrowed. */
void dmn_upstream_status(const struct dmn_upstream *u, struct dmn_upstream_status *ret_status);
