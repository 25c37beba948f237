/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker-link - reports to the station. Any thread; each message goes out whole. */
#pragma once

#include "base/order.h"

struct upl_link;

/* Borrows the socket. Returns 0, -ENOMEM. */
int upl_link_new(int socket_fd, struct upl_link **ret_link) _must_check_;
struct upl_link *upl_link_free(struct upl_link *l); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(upl_link_free, struct upl_link *);

/* Sends; waits for a station that is slow. One that is gone is forgotten: the listener sees it too.
 */
void upl_link_send(struct upl_link *l, const struct bth_message *m);
/* The same, unless it would have to wait: then nothing is sent, and false comes back. */
bool upl_link_offer(struct upl_link *l, const struct bth_message *m);

/* Sends the result, the last message: later calls of all these do nothing. Returns 1 when this call
 * was the one, 0 when another thread was, -EPIPE when the station is gone, -ENOMEM. */
int upl_link_finish(struct upl_link *l, const struct bth_message *result) _must_check_;
/* The same without waiting for a slow station: for who ends the process next. */
void upl_link_finish_now(struct upl_link *l, const struct bth_message *result);

void upl_link_activity(struct upl_link *l, enum bth_activity a, const char *sentence);
void upl_link_note(struct upl_link *l, const char *name, const struct bth_error *e);
