/* SPDX-License-Identifier: GPL-3.0-or-later */
/* engine - many blobs at once: threads that take the next blob, transfer it to its end, and tell.
 *
 *     next() in disk order ──> thread: upl_transfer_run() ──> ended()
 *
 * How much is in flight is the client's and the budget's affair; threads only carry decisions and
 * wait. Source: design, section 3. */
#pragma once

#include "uploader/report.h"
#include "uploader/transfer.h"

#define UPL_ENGINE_THREADS_MAX 256u

struct upl_engine_options {
        struct upl_transfer_env *env; /* borrowed */
        unsigned threads;             /* blobs under way at once; 0: 32 */
        /* The next blob, and a cookie for ended(). Returns 1, 0 at the end, or a negative errno,
         * which ends the engine. What the item points to stays until ended(). */
        int (*next)(void *userdata, struct upl_transfer_item *ret_item, void **ret_cookie);
        /* A blob has come to its end; the result is cleared afterwards. */
        void (*ended)(void *userdata, void *cookie, const struct upl_transfer_item *item,
                      const struct upl_transfer_result *result);
        /* A blob was taken and given up, because the drive cannot go on. May be NULL. */
        void (*dropped)(void *userdata, void *cookie);
        void *userdata;
        /* Once a second, and once at the end, on a thread of its own. May be NULL. */
        void (*report)(void *userdata, const struct upl_report *report);
        uint64_t report_usec; /* 0: UPL_REPORT_USEC */
};

/* Runs until next() has no more, or the drive cannot go on. Its functions but report() are called
 * by one thread at a time. Blocks. Returns 0 when each blob has come to an end, well or badly; else
 * the first error of next() or upl_transfer_run(); -EINVAL; -ENOMEM; -errno of pthread_create(3).
 */
int upl_engine_run(const struct upl_engine_options *options) _must_check_;

/* Makes a run end soon: no new requests, those under way are cut off. Returns when the client has
 * let go of them, well within five seconds. Any thread but the client's. `stop` is the one of
 * `env`. */
void upl_engine_stop(struct upl_transfer_env *env, atomic_bool *stop);
