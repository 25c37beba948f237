/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker - the process that does one drive, as the station sees it.
 *
 *     start ── order ──► berth-worker ── reports ──► on_report
 *     stop: STOP, then SIGTERM after a while, then SIGKILL           ──► on_end, once, whatever
 * happened
 *
 * Everything happens on the loop's thread, in its callbacks; nothing blocks. The worker has no
 * environment, no files of the station but its standard error, and gets the drive as a descriptor.
 * Source: design, section 6. */
#pragma once

#include <systemd/sd-event.h>

#include "base/error.h"
#include "base/order.h"

#define DMN_WORKER_STOP_USEC \
        (UINT64_C(6) * 1000000) /* after STOP; the worker promises five seconds */
#define DMN_WORKER_TERM_USEC (UINT64_C(2) * 1000000) /* after SIGTERM */

struct dmn_worker;

struct dmn_worker_events {
        /* A report, not the result. It lives during the call only. */
        void (*on_report)(void *userdata, const struct bth_message *report);
        /* The worker is gone and reaped. `result` is NULL when it gave none: then `error` says why
         * (it crashed, made no progress, was killed, spoke nonsense), and bth_exit_explain() gave
         * the reason. May free the worker. */
        void (*on_end)(void *userdata, const struct bth_result_report *result,
                       const struct bth_error *error);
};

/* Starts `program` and gives it the order; what the order holds is copied or duplicated.
 * Returns 0; -EINVAL for an order that its reader would refuse; -errno of socketpair(2) or
 * posix_spawn(3); -ENOMEM. */
int dmn_worker_start(sd_event *loop, const char *program, const struct bth_order *order,
                     const struct dmn_worker_events *events, void *userdata,
                     struct dmn_worker **ret_worker, struct bth_error *error) _must_check_;

/* The same with other first messages than one order: those of journals. Returns as above. */
int dmn_worker_start_with(sd_event *loop, const char *program, const struct bth_message *messages,
                          size_t n, const struct dmn_worker_events *events, void *userdata,
                          struct dmn_worker **ret_worker, struct bth_error *error) _must_check_;

/* Asks it to stop at once; on_end follows. May be called again. */
void dmn_worker_stop(struct dmn_worker *w);

/* Gives it a new credential or bandwidth. Returns 0, -EPIPE when it is ending, -EAGAIN when it does
 * not read, -EINVAL, -ENOMEM. */
int dmn_worker_send(struct dmn_worker *w, const struct bth_message *m) _must_check_;

pid_t dmn_worker_pid(const struct dmn_worker *w);

/* Kills it when it still runs, without on_end. NULL is fine; returns NULL. */
struct dmn_worker *dmn_worker_free(struct dmn_worker *w);
DEFINE_CLEANUP(dmn_worker_free, struct dmn_worker *);
