/* SPDX-License-Identifier: GPL-3.0-or-later */
/* upstream-world - a station's side of its job service, and a service that answers as it is told
 * to; real store, real HTTP. For tests of cmocka's: made by set_up, taken away by tear_down. */
#pragma once

#include "station-world.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "daemon/upstream.h"

#define TURNS_MAX  600
#define EVENTS_MAX 4000

/* The service: on a thread of its own, so nothing is asserted there. */
struct service {
        struct MHD_Daemon *daemon;
        pthread_mutex_t lock;
        /* how it answers; under `lock` */
        unsigned status; /* of the next `n_status` requests for events; 0: 200 */
        unsigned n_status;
        unsigned batch_max;       /* 413 beyond; 0: none */
        const char *poison;       /* events with this text are bad: 400, or refused one by one */
        bool refuse;              /* … then in the answer's list */
        bool drop;                /* the answer is lost after the events were taken */
        char *jobs;               /* of GET */
        const char *more;         /* … and of its second page, which has a tag as well */
        unsigned retry_after_sec; /* … with a status of 503 instead; 0: none */
        bool more_304;            /* … or is answered with 304, which makes no sense there */
        const char *etag;
        atomic_uint n_seen; /* requests, before anything else */
        /* what it saw */
        char *ids[EVENTS_MAX], *subjects[EVENTS_MAX], *seqs[EVENTS_MAX];
        size_t n_events, n_posts, n_gets, n_304, n_second, largest, n_wrong_token;
        char last_query[1024];
};

struct bench {
        struct world w;
        struct service s;
        struct dmn_upstream *u;
        unsigned n_changed, n_answered;
        uint64_t ask;
        const char *unknown;
        struct dmn_config *config;
};

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int set_up(void **state);
int tear_down(void **state);

/* The client begins; it is ended by dmn_upstream_free(), at the latest by tear_down. */
void start(struct bench *b);
/* Turns the loop until it is so, which is asked under the service's lock. */
void run_until(struct bench *b, bool (*is_so)(const struct bench *));
/* The task is done when it returns, and has not failed. */
void do_in_store(struct bench *b, job_task_fn task, void *userdata);
