/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ticker - a thread that does something now and then, and can be told to do it now. */
#pragma once

#include "base/macros.h"

struct upl_ticker;

/* `tick` is called on the ticker's thread, first after `first_usec`; it returns after how many
 * microseconds it wants to be called again. Returns 0, -ENOMEM, -errno of pthread_create(3). */
int upl_ticker_new(uint64_t (*tick)(void *userdata), void *userdata, uint64_t first_usec,
                   struct upl_ticker **ret_ticker) _must_check_;
/* The next tick is due now. Any thread. */
void upl_ticker_kick(struct upl_ticker *t);
/* Waits for a tick under way. NULL is fine; returns NULL. */
struct upl_ticker *upl_ticker_free(struct upl_ticker *t);
DEFINE_CLEANUP(upl_ticker_free, struct upl_ticker *);
