/* SPDX-License-Identifier: GPL-3.0-or-later */
/* upstream-internal - what daemon/upstream*.c share. */
#pragma once

#include "base/str.h"
#include "daemon/answer.h"
#include "daemon/client.h"
#include "daemon/credential.h"
#include "daemon/sync.h"
#include "daemon/upstream.h"

/* One direction: when it may try again, and what is under way. */
struct upstream_way {
        sd_event_source *timer;
        struct dmn_request *request;
        bool busy;           /* a task or a request is under way */
        unsigned failures;   /* in a row */
        uint64_t again_usec; /* CLOCK_MONOTONIC: not before */
        uint64_t pause_usec; /* the same, since the service asks for it */
};

struct upstream_batch {
        uint64_t seqs[DMN_UPSTREAM_BATCH_MAX];
        struct job_outbox_mark marks[DMN_UPSTREAM_BATCH_MAX];
        char *whys[DMN_UPSTREAM_BATCH_MAX]; /* of `marks` */
        size_t n, n_marks;
        bool full; /* there may be more */
        struct job_outbox_state outbox;
        struct bth_buf body;
};

struct dmn_upstream {
        sd_event *loop;
        struct job_thread *store;
        struct dmn_client *client;
        struct dmn_credential_watch *token; /* NULL: it is not in a file */
        const struct dmn_upstream_events *events;
        void *userdata;
        struct dmn_upstream_config config; /* its own texts */
        char *source, *location;
        unsigned in_store; /* tasks under way: they hold the memory */
        bool freed;

        struct upstream_way push, fetch;
        struct bth_error error;
        uint64_t heard_usec, fetched_usec, said_usec; /* said: CLOCK_MONOTONIC */
        struct job_outbox_state outbox;

        /* up */
        char uid[40];
        uint64_t seen_event; /* of job_thread_last_event() */
        bool kept;           /* the store keeps events for us; the tasks' */
        size_t batch_max;    /* events of the next request */
        size_t singles;      /* so many are sent one by one, to find the one that is refused */
        struct upstream_batch batch;

        /* down */
        uint64_t begun, ended;         /* fetches, counted */
        bool asked;                    /* for one more, when this one has ended */
        char etag[DMN_ANSWER_TAG_MAX]; /* of the whole list, as it was last; "": none */
        char *query;                   /* of the last request: its tag counts for no other */
        struct dmn_answer_jobs list;   /* the pages so far; then the task's */
        struct dmn_synced synced;      /* the task's, until it is done */
        char told[512];                /* what was told of its trouble last */
};

/* --- upstream.c --- */

/* Begins a request with the token as it is now. Returns 0 or what keeps it from being made. */
int upstream_send(struct dmn_upstream *u, const char *method, const char *path,
                  const char *content_type, const char *etag, const struct bth_buf *body,
                  dmn_client_fn done, struct dmn_request **ret_request, struct bth_error *error)
        _must_check_;
/* Hands a task in that holds the memory of `u`. Returns 0, -EAGAIN, -ENOMEM. */
int upstream_submit(struct dmn_upstream *u, job_task_fn task, job_done_fn done) _must_check_;
/* In `done`: true when `u` is gone now, or only waits for its last task. */
bool upstream_is_gone(struct dmn_upstream *u);

/* The way failed: told at its first failure; it is tried again after a while, at the earliest after
 * `least_sec`. */
void upstream_failed(struct dmn_upstream *u, struct upstream_way *way,
                     const struct bth_error *error, uint64_t least_sec);
void upstream_well(struct dmn_upstream *u, struct upstream_way *way);
/* What an answer that is no success means. Returns -EACCES, -ENOENT, -EAGAIN or -EIO. */
int upstream_explain(const struct dmn_answer *answer, struct bth_error *error);
void upstream_at(struct upstream_way *way, uint64_t usec);

/* --- upstream-push.c, upstream-jobs.c --- */

/* Handlers of the timers. Returns 0. */
int upstream_on_push(sd_event_source *s, uint64_t usec, void *userdata);
int upstream_on_fetch(sd_event_source *s, uint64_t usec, void *userdata);
void upstream_batch_clear(struct upstream_batch *b);
