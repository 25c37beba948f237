/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pool - a few threads that take jobs from a bounded queue. One thread submits and drains. */
#pragma once

#include "base/macros.h"

struct ctl_pool;

/* `scratch` is the thread's own memory for I/O, of the size given to ctl_pool_new(). */
typedef void (*ctl_pool_job)(void *userdata, void *scratch);

/* Starts `n_threads` (0: one for each processor, at least 2). Returns 0, -ENOMEM, -errno of
 * pthread_create(3). */
int ctl_pool_new(unsigned n_threads, size_t queue_max, size_t scratch_bytes,
                 struct ctl_pool **ret_pool) _must_check_;

/* Puts a job behind the others; waits while the queue is full. */
void ctl_pool_submit(struct ctl_pool *p, ctl_pool_job job, void *userdata);
/* Waits until every job is done. */
void ctl_pool_drain(struct ctl_pool *p);

/* Drains and ends the threads. NULL is fine; returns NULL. */
struct ctl_pool *ctl_pool_free(struct ctl_pool *p);
DEFINE_CLEANUP(ctl_pool_free, struct ctl_pool *);
