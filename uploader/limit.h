/* SPDX-License-Identifier: GPL-3.0-or-later */
/* limit - a bandwidth cap that can change while transfers run: a token bucket of a quarter second.
 * Time comes from the caller, so tests need no clock. Any thread. */
#pragma once

#include "base/macros.h"

struct upl_limit;

/* `bytes_per_sec` 0 means no cap. Returns 0 or -ENOMEM. */
int upl_limit_new(uint64_t bytes_per_sec, struct upl_limit **ret_limit) _must_check_;
struct upl_limit *upl_limit_free(struct upl_limit *l); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(upl_limit_free, struct upl_limit *);

/* Takes effect with the next upl_limit_take(). */
void upl_limit_set(struct upl_limit *l, uint64_t bytes_per_sec);

/* How many of `want_bytes` may go now: 0 to all of them. What is granted counts as sent. */
uint64_t upl_limit_take(struct upl_limit *l, uint64_t want_bytes, uint64_t now_usec);

/* All of `want_bytes` or nothing, for what cannot be sent in pieces. */
bool upl_limit_take_all(struct upl_limit *l, uint64_t want_bytes, uint64_t now_usec);

/* After a take that gave nothing: how long until there is something. */
uint64_t upl_limit_wait_usec(struct upl_limit *l, uint64_t now_usec);
