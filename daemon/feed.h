/* SPDX-License-Identifier: GPL-3.0-or-later */
/* feed - the history as server-sent events: what comes is told as it comes.
 *
 *     id: 42
 *     event: drive.state
 *     data: {"sequence":42,"kind":"drive.state",…}
 *
 * A feed reads a page of the history when its client has taken the one before, so a slow client
 * costs a page of memory. Who was cut off goes on where it was by Last-Event-ID. On the loop's
 * thread. Source: HTML standard, section 9.2; berth-api(7). */
#pragma once

#include "daemon/http.h"
#include "daemon/station.h"

/* Does this request want a feed: by "Accept: text/event-stream"? Only inside of the handler. */
bool dmn_feed_wanted(const struct dmn_http_request *q);

/* Begins to tell. `query` may have after, drive, job, job_id and scope; it is borrowed. Without
 * `after` and Last-Event-ID only what happens from now on is told. The request is answered in any
 * case. The station outlives it. */
void dmn_feed_begin(struct dmn_station *s, struct dmn_http_request *q, const json_t *query);
