/* SPDX-License-Identifier: GPL-3.0-or-later */
/* budget - bounded memory for blocks in flight, and why work waits.
 *
 * A buffer counts from before it is read until its block is acknowledged. Who finds no room waits;
 * everyone who waits says for what, so that status can name the bottleneck. Any thread. */
#pragma once

#include "base/macros.h"

enum upl_wait {
        UPL_WAIT_DISK,      /* for the drive to deliver */
        UPL_WAIT_CPU,       /* for the cipher and the hash */
        UPL_WAIT_NETWORK,   /* for the service to take it */
        UPL_WAIT_THROTTLED, /* because the service, or the bandwidth cap, asks for less */
        UPL_WAIT_BUDGET,    /* for memory */
        _UPL_WAIT_MAX,
        _UPL_WAIT_INVALID = -EINVAL,
};

/* "disk"; NULL outside the list. */
const char *upl_wait_to_string(enum upl_wait w);

struct upl_budget;

/* `total_bytes` at least 1. Returns 0, -EINVAL, -ENOMEM. */
int upl_budget_new(uint64_t total_bytes, struct upl_budget **ret_budget) _must_check_;
/* Nothing may be taken or waiting. NULL is fine; returns NULL. */
struct upl_budget *upl_budget_free(struct upl_budget *b);
DEFINE_CLEANUP(upl_budget_free, struct upl_budget *);

/* Takes `bytes`, waiting in turn until there is room: a large wish is not overtaken for ever by
 * small ones. One larger than the whole is granted when nothing else is taken. Returns 0, or
 * -ECANCELED once upl_budget_close() was called. Blocks. */
int upl_budget_take(struct upl_budget *b, uint64_t bytes) _must_check_;
void upl_budget_give(struct upl_budget *b, uint64_t bytes);
/* The same with memory: a buffer of `bytes` aligned for I/O, not zeroed. Those given back are kept
 * for the next, as long as kept and taken ones together stay within the total.
 * Returns 0, -ECANCELED, -ENOMEM. Blocks. */
int upl_budget_take_buffer(struct upl_budget *b, uint64_t bytes, void **ret_buffer) _must_check_;
/* The same without waiting, also not behind others: -EAGAIN. For who holds some already. Returns 0,
 * -EAGAIN, -ECANCELED, -ENOMEM. */
int upl_budget_try_buffer(struct upl_budget *b, uint64_t bytes, void **ret_buffer) _must_check_;
/* Many in one turn, so that nobody waits who holds some: all or none. Returns as
 * upl_budget_take_buffer(). */
int upl_budget_take_buffers(struct upl_budget *b, const uint64_t *bytes, size_t n,
                            void **ret_buffers) _must_check_;
uint64_t upl_budget_total(struct upl_budget *b);
/* `bytes` as it was taken. NULL is not allowed. */
void upl_budget_give_buffer(struct upl_budget *b, uint64_t bytes, void *buffer);
/* Changes the total while running; what is above it comes back as it is given. */
void upl_budget_resize(struct upl_budget *b, uint64_t total_bytes);
/* Ends all waiting, now and later. */
void upl_budget_close(struct upl_budget *b);

/* Marks the calling piece of work as waiting, or no longer. Calls come in pairs. */
void upl_wait_begin(struct upl_budget *b, enum upl_wait w);
void upl_wait_end(struct upl_budget *b, enum upl_wait w);

struct upl_budget_state {
        uint64_t total_bytes, taken_bytes, peak_bytes;
        uint64_t waiting[_UPL_WAIT_MAX];     /* pieces of work that wait now */
        uint64_t waited_usec[_UPL_WAIT_MAX]; /* since the start, summed over all */
};
void upl_budget_look(struct upl_budget *b, struct upl_budget_state *ret_state);
