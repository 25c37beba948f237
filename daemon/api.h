/* SPDX-License-Identifier: GPL-3.0-or-later */
/* api - the station's local API: requests on its Unix socket become calls of verbs.
 *
 *     http ── request ── route ── right? ── call ── verb ── answer as JSON
 *
 * Who may do what is told by the kernel's word on who connected: root and the daemon's own user
 * everything; members of the operators' group what operators do; whoever else can open the socket
 * may look. On the loop's thread. Source: design, sections 3 (10) and 6; berth-api(7). */
#pragma once

#include "daemon/http.h"
#include "daemon/station.h"
#include "daemon/verb.h"

#define DMN_API_SOCKET     "berthd.sock" /* in the run directory */
#define DMN_API_GROUP      "berth-operators"
#define DMN_API_BODY_SMALL ((size_t)64 << 10) /* of who may only look, or not even that */

struct dmn_api;

/* Makes and binds the socket in `folder`; one that nobody listens on any more is taken away.
 * Returns 0 and a listening socket; -EADDRINUSE when another daemon listens there; -ENAMETOOLONG;
 * other -errno of socket(2), bind(2), chmod(2). */
int dmn_api_listen(const char *folder, int *ret_fd, struct bth_error *error) _must_check_;

/* Serves `fd`, which it takes over also on error. The station outlives it.
 * `group` NULL: DMN_API_GROUP; one that does not exist has no members.
 * Returns 0, -ENOMEM, -errno of sd-event(3). */
int dmn_api_new(struct dmn_station *station, int fd, const char *group, struct dmn_api **ret_api,
                struct bth_error *error) _must_check_;
/* Cuts its clients off; calls that are open are answered to nobody. NULL is fine; returns NULL. */
struct dmn_api *dmn_api_free(struct dmn_api *a);
DEFINE_CLEANUP(dmn_api_free, struct dmn_api *);

/* Answers a request of /v1 or /metrics by somebody whose right is known: the same for every
 * listener. `who` stands in the log and in the history. */
void dmn_api_handle(struct dmn_station *s, struct dmn_http_request *q, const char *who,
                    enum dmn_right right);

/* How large the body of somebody with this right may be: who may change nothing sends next to
 * none, and must not fill the memory with it. */
size_t dmn_api_body_limit(enum dmn_right right) _const_;
/* The right of a peer. `member`: of the operators' group. */
enum dmn_right dmn_api_right(uid_t own, uid_t uid, bool member) _const_;
/* The HTTP status of an errno, by the table of berth-api(7). */
unsigned dmn_api_status(int code) _const_;
/* The error as JSON text, {"error":{…}}; free() it. NULL when there is no memory. */
char *dmn_api_error_text(const struct bth_error *error) _must_check_;
