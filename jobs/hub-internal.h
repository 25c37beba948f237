/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hub-internal - what hub.c and hub-settle.c share. */
#pragma once

#include "jobs/hub.h"
#include "jobs/sql.h"

/* A batch under way, inside a transaction. */
struct hub_work {
        struct job_store *s;
        const struct job_policy *policy;
        uint64_t now_usec;
        struct bth_error *error;
};

/* A drive that an event told something new of. Texts are those of the batch. */
struct hub_touch {
        const char *subject, *scope, *job, *serial;
        bool ours;  /* the job came to the station from here */
        bool moved; /* into a bay, or out of one */
};

/* Finds conflicts of the drives, and lets those of our own jobs, and then the jobs, be what their
 * stations say now. A drive may be there several times; `touched` is sorted. Returns 0 or an error
 * of the store. */
int hub_settle(const struct hub_work *w, struct hub_touch *touched, size_t n) _must_check_;

/* Returns 0 or an error of the store. */
int hub_open_conflict(const struct hub_work *w, enum job_hub_conflict_kind kind, const char *key,
                      const char *sources) _must_check_;
