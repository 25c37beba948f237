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
        /* The worker is gone and reaped, or its connection is closed. `result` is NULL when it gave
         * none: then `error` says why (it crashed, made no progress, was killed, spoke nonsense),
         * and bth_exit_explain() gave the reason. May free the worker. */
        void (*on_end)(void *userdata, const struct bth_result_report *result,
                       const struct bth_error *error);
};

/* Starts a worker and gives it the order; what the order holds is copied or duplicated.
 *   program  a path: of a program, which becomes a child; or of a socket, behind which systemd
 *            starts one for each connection (berth-worker.socket). The order's folder is then
 *            given to the socket's group, see daemon/worker-connect.h. Such a worker cannot be
 *            killed from here: it loses its connection, which it takes for the station's end
 * Returns 0; -EINVAL for an order that its reader would refuse; -errno of socketpair(2),
 * posix_spawn(3) or connect(2); the errors of dmn_worker_share_folder(); -ENOMEM. */
int dmn_worker_start(sd_event *loop, const char *program, const struct bth_order *order,
                     const struct dmn_worker_events *events, void *userdata,
                     struct dmn_worker **ret_worker, struct bth_error *error) _must_check_;

/* The same with other first messages than one order: those of journals. Returns as above. */
int dmn_worker_start_with(sd_event *loop, const char *program, const struct bth_message *messages,
                          size_t n, const struct dmn_worker_events *events, void *userdata,
                          struct dmn_worker **ret_worker, struct bth_error *error) _must_check_;

/* Asks it to stop at once; on_end follows. May be called again. */
void dmn_worker_stop(struct dmn_worker *w);

/* Ends it without asking, because of `why`, which on_end gets; on_end follows later. */
void dmn_worker_abandon(struct dmn_worker *w, const struct bth_error *why);

/* Gives it a new credential or bandwidth. Returns 0, -EPIPE when it is ending, -EAGAIN when it does
 * not read, -EINVAL, -ENOMEM. */
int dmn_worker_send(struct dmn_worker *w, const struct bth_message *m) _must_check_;

/* 0 when it is no child, or no more. */
pid_t dmn_worker_pid(const struct dmn_worker *w);

/* Kills it when it still runs, without on_end. NULL is fine; returns NULL. */
struct dmn_worker *dmn_worker_free(struct dmn_worker *w);
DEFINE_CLEANUP(dmn_worker_free, struct dmn_worker *);
