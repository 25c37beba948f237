/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-client - asks the station: one request, one answer, as JSON over HTTP on its Unix socket.
 *
 *     verb ─ ctl_client_options() ─ ctl_client_ask() ─ socket ─ berthd
 *                                        └ answer, or the sentence why not and the exit code
 *
 * What may be asked is the list below; a test holds it against the daemon's own (daemon/verb.h),
 * which berthctl does not include. One process, one verb, one thread.
 * Source: berth-api(7); RFC 9112; CURLOPT_UNIX_SOCKET_PATH(3). */
#pragma once

#include "base/json.h"
#include "base/str.h"
#include "ctl/cli.h"

#define CTL_SOCKET_PATH "/run/berth/berthd.sock"

/* X(identifier, method, path) */
#define CTL_REQUESTS(X)                                        \
        X(STATION_SHOW, "GET", "/v1/station")                  \
        X(CONFIG_SHOW, "GET", "/v1/config")                    \
        X(RELOAD, "POST", "/v1/reload")                        \
        X(LIMITS_SHOW, "GET", "/v1/limits")                    \
        X(LIMITS_SET, "PUT", "/v1/limits")                     \
        X(BAYS_LIST, "GET", "/v1/bays")                        \
        X(BAY_SHOW, "GET", "/v1/bays/{bay}")                   \
        X(BAY_LOCATE, "POST", "/v1/bays/{bay}/locate")         \
        X(BAY_MATCH, "POST", "/v1/bays/{bay}/match")           \
        X(BAY_EJECT, "POST", "/v1/bays/{bay}/eject")           \
        X(PLACES_LIST, "GET", "/v1/places")                    \
        X(DRIVES_LIST, "GET", "/v1/drives")                    \
        X(DRIVE_SHOW, "GET", "/v1/drives/{drive}")             \
        X(DRIVE_PAUSE, "POST", "/v1/drives/{drive}/pause")     \
        X(DRIVE_RESUME, "POST", "/v1/drives/{drive}/resume")   \
        X(DRIVE_RETRY, "POST", "/v1/drives/{drive}/retry")     \
        X(DRIVE_GIVE_UP, "POST", "/v1/drives/{drive}/give-up") \
        X(DRIVE_EJECT, "POST", "/v1/drives/{drive}/eject")     \
        X(DRIVE_RECEIVE, "POST", "/v1/drives/{drive}/receive") \
        X(DRIVE_MISSING, "POST", "/v1/drives/{drive}/missing") \
        X(DRIVE_RECEIPT, "GET", "/v1/drives/{drive}/receipt")  \
        X(DRIVE_LOGS, "GET", "/v1/drives/{drive}/logs")        \
        X(JOBS_LIST, "GET", "/v1/jobs")                        \
        X(JOB_IMPORT, "POST", "/v1/jobs")                      \
        X(JOB_SHOW, "GET", "/v1/jobs/{job}")                   \
        X(JOB_JOURNALS, "POST", "/v1/jobs/{job}/journals")     \
        X(JOB_SHIP, "POST", "/v1/jobs/{job}/ship")             \
        X(JOB_RECEIVE, "POST", "/v1/jobs/{job}/receive")       \
        X(JOB_CANCEL, "POST", "/v1/jobs/{job}/cancel")         \
        X(JOB_RETURN, "POST", "/v1/jobs/{job}/return")         \
        X(JOB_DELETE, "DELETE", "/v1/jobs/{job}")              \
        X(JOB_FORGET, "POST", "/v1/jobs/{job}/forget")         \
        X(EVENTS_LIST, "GET", "/v1/events")                    \
        X(OUTBOX_LIST, "GET", "/v1/outbox")                    \
        X(OUTBOX_RESEND, "POST", "/v1/outbox/{event}/resend")  \
        X(OUTBOX_DROP, "POST", "/v1/outbox/{event}/drop")      \
        X(HUB_STATIONS, "GET", "/v1/hub/stations")             \
        X(HUB_DRIVES, "GET", "/v1/hub/drives")                 \
        X(HUB_CONFLICTS, "GET", "/v1/hub/conflicts")

enum ctl_request {
#define X(id, method, path) CTL_REQUEST_##id,
        CTL_REQUESTS(X)
#undef X
                _CTL_REQUEST_MAX,
        _CTL_REQUEST_INVALID = -EINVAL,
};
const char *ctl_request_method(enum ctl_request r) _const_; /* NULL outside the list */
const char *ctl_request_path(enum ctl_request r) _const_;

/* A member of a query; an array of them ends with a name of NULL. One without a value is left out.
 */
struct ctl_pair {
        const char *name, *value;
};

#define CTL_WAIT_FOREVER (-1L)

struct ctl_ask {
        enum ctl_request request;
        const char *target;           /* for the {…} of the path; NULL when it has none */
        const struct ctl_pair *query; /* NULL: none */
        const json_t *body;           /* NULL: none, or see `has_body` */
        const struct bth_buf *text;   /* the body as it is sent, instead: for secrets */
        bool has_body;                /* `body` was made; NULL is memory that was not there */
        long wait_msec;               /* for the answer; 0: as long as is usual */
};

/* Starts as { 0 }. */
struct ctl_client {
        struct ctl_context *context;
        const char *socket; /* --socket */
        void *curl;         /* the connection; made by the first request */
        json_t *answer;     /* the last one, also that of an error; NULL: none */
};
void ctl_client_clear(struct ctl_client *k);
#define _cleanup_client_ _cleanup_(ctl_client_clear)

/* ctl_parse_options() with --socket beside the options of the verb. Returns as that does. */
int ctl_client_options(struct ctl_client *k, struct ctl_context *c,
                       const struct ctl_option *options, size_t n_options, int argc, char **argv,
                       int n_positional_min, int n_positional_max, char ***ret_words,
                       int *ret_n_words) _must_check_;
/* What a verb ends with when its options could not be parsed (the result of the above). */
enum ctl_exit ctl_exit_of_options(int r) _const_;

/* Sends, waits, and says nothing to people. `ret_answer` is borrowed until the next request, and
 * may be NULL. Returns 0; -ENOTCONN when no daemon answers, -ETIMEDOUT when it takes its time;
 * -EACCES when the right is missing;
 * -EINVAL, -ENOENT, -EPERM (not now), -EFBIG, -EAGAIN as the station refused; -ENOSPC, -ECANCELED,
 * -EIO when it failed; -EBADMSG for an answer that is none; -ENOMEM. */
int ctl_client_send(struct ctl_client *k, const struct ctl_ask *ask, json_t **ret_answer,
                    struct bth_error *error) _must_check_;

/* The same, and an error is told to people; --json prints the answer, or the error, as it came. A
 * request that changes something is only told with --dry-run: then there is no answer, NULL. */
enum ctl_exit ctl_client_ask(struct ctl_client *k, const struct ctl_ask *ask, json_t **ret_answer);
/* And says the sentence of the answer. */
enum ctl_exit ctl_client_act(struct ctl_client *k, const struct ctl_ask *ask);
/* Tells an error of ctl_client_send(), and gives the exit code to it. */
enum ctl_exit ctl_client_fail(struct ctl_client *k, const struct bth_error *error);

/* Adds text as a JSON string with its quotes; what is no valid UTF-8 must not come here. Wiped
 * when the buffer is secret, other than what a JSON library keeps. Returns 0 or -ENOMEM. */
int ctl_json_add_string(struct bth_buf *b, const char *text, size_t n) _must_check_;
