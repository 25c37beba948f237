/* SPDX-License-Identifier: GPL-3.0-or-later */
/* thread - the one thread on which the store blocks, so that the loop of the daemon never does.
 *
 *     loop:   job_thread_submit() ──> queue ──> thread: task(store)
 *     loop:   done() <── job_thread_dispatch() <── eventfd readable <── answers
 *
 * Tasks run in the order in which they were handed in, and answers come in the same order. All
 * functions are called by the thread of the loop only; tasks touch nothing but the store and their
 * own userdata, which belongs to the thread until done() is called.
 * Lock: `lock` guards the queue and the answers; nothing is called while it is held.
 * Source: eventfd(2); house style, "Main loop". */
#pragma once

#include "jobs/store.h"

#define JOB_THREAD_MAX 4096u /* tasks that wait or have not been answered */

struct job_thread;

/* On the thread. What it returns goes to done(), with `error`. */
typedef int (*job_task_fn)(struct job_store *s, void *userdata, struct bth_error *error);
/* On the loop. */
typedef void (*job_done_fn)(void *userdata, int r, const struct bth_error *error);

/* Starts the thread; takes the store over when it succeeds. Returns 0, -ENOMEM, or -errno of
 * eventfd(2) or pthread_create(3). */
int job_thread_new(struct job_store *store, struct job_thread **ret_thread) _must_check_;

/* Readable when an answer waits: for sd_event_add_io(). Borrowed. Never an error. Returns it. */
int job_thread_fd(const struct job_thread *t);

/* Hands a task in; `done` may be NULL. Returns 0; -EAGAIN when JOB_THREAD_MAX are under way, then
 * the caller slows down; -ENOMEM. */
int job_thread_submit(struct job_thread *t, job_task_fn task, job_done_fn done, void *userdata)
        _must_check_;

/* Calls done() of all answers that wait; done() may hand in more. Returns their number. */
size_t job_thread_dispatch(struct job_thread *t);

/* job_store_last_event() after the newest task that was answered. */
uint64_t job_thread_last_event(const struct job_thread *t);

/* How many tasks have not been answered. */
size_t job_thread_pending(const struct job_thread *t);

/* Waits until everything that was handed in is done, calls done() of all, ends the thread and
 * closes the store. NULL is fine; returns NULL. */
struct job_thread *job_thread_free(struct job_thread *t);
DEFINE_CLEANUP(job_thread_free, struct job_thread *);
