/* SPDX-License-Identifier: GPL-3.0-or-later */
/* aside - something that blocks for a moment (a SMART command, spinning a drive down, a lamp), on a
 * thread of its own, so that the loop never does.
 *
 *     loop: dmn_aside_run() ──> thread: work(userdata)
 *     loop: done(userdata, r) <── eventfd readable
 *
 * `userdata` belongs to the thread until done() is called, which happens exactly once. What was
 * begun cannot be taken back. Called by the loop's thread only. */
#pragma once

#include <systemd/sd-event.h>

#include "base/macros.h"

struct dmn_aside;

typedef int (*dmn_aside_work_fn)(void *userdata);
typedef void (*dmn_aside_done_fn)(void *userdata, int r);

/* The handle is good until done() is called. Returns 0; -ENOMEM; -errno of eventfd(2),
 * pthread_create(3) or sd_event_add_io(3): then nothing is called. */
int dmn_aside_run(sd_event *loop, dmn_aside_work_fn work, dmn_aside_done_fn done, void *userdata,
                  struct dmn_aside **ret_aside) _must_check_;

/* Waits for the thread and calls done(): for who has to end now. */
void dmn_aside_finish(struct dmn_aside *a);
