/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rest - the job service: Microsoft.ImportExport in the api-versions 2016-11-01, 2020-08-01 and
 * 2021-01-01, over the same records as everything else.
 *
 *     request ── route, right, body ──> act ── store's thread ──> act ── answer
 *        loop                                                    loop
 *
 * An act is answered once, from the loop, whatever happens to the service meanwhile. Import jobs
 * only. On the loop's thread. Source: import-export specification 6 and 7. */
#pragma once

#include "daemon/http.h"
#include "daemon/station.h"
#include "daemon/verb.h"

#define DMN_REST_BODY_BYTES ((size_t)1 << 20) /* ten drives and their addresses are a few KiB */

struct dmn_rest;

/* The station outlives it. Returns 0 or -ENOMEM. */
int dmn_rest_new(struct dmn_station *station, struct dmn_rest **ret_rest) _must_check_;
/* Acts that the store still has are answered with 503. NULL is fine; returns NULL. */
struct dmn_rest *dmn_rest_free(struct dmn_rest *r);
DEFINE_CLEANUP(dmn_rest_free, struct dmn_rest *);

/* Answers a request whose target dmn_rest_is_target(), now or later. `who` is told in the history:
 * "token portal". */
void dmn_rest_request(struct dmn_rest *r, struct dmn_http_request *q, enum dmn_right right,
                      const char *who);

/* Answers that come before anybody looks at the path: 401 and 403 tell nothing, 429 when to come
 * back. */
void dmn_rest_refuse(struct dmn_http_request *q, unsigned status, unsigned retry_after_sec);
