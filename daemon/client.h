/* SPDX-License-Identifier: GPL-3.0-or-later */
/* client - HTTP requests to the job service above, several at a time, in the daemon's loop.
 *
 *     sd-event ── descriptor or timer ──> libcurl's multi socket interface ──> done, once a request
 *
 * TLS 1.2 or 1.3 with the peer's name checked; plain http only where it is allowed; no redirects,
 * so that a token goes nowhere else; an answer has a largest size. On the loop's thread; nothing
 * blocks (names are looked up on a thread of libcurl's). Source: curl_multi_socket_action(3). */
#pragma once

#include <systemd/sd-event.h>

#include "base/error.h"
#include "base/secret.h"

#define DMN_CLIENT_ANSWER_MAX  ((size_t)32 << 20)
#define DMN_CLIENT_TIMEOUT_SEC 120u /* of a whole request */
#define DMN_CLIENT_CONNECT_SEC 20u

struct dmn_client;

/* Returns 0, -ENOMEM, -EIO when libcurl cannot be set up. */
int dmn_client_new(sd_event *loop, struct dmn_client **ret_client) _must_check_;
/* Requests must be gone. NULL is fine; returns NULL. */
struct dmn_client *dmn_client_free(struct dmn_client *c);
DEFINE_CLEANUP(dmn_client_free, struct dmn_client *);

/* What a request is; nothing of it is needed when dmn_client_send() returns. NULL: not given. */
struct dmn_request_options {
        const char *method, *url;
        bool allow_plain;
        const struct bth_secret *token; /* Authorization: Bearer */
        const char *content_type, *if_none_match;
        const void *body;
        size_t n;
        const char *ca_file, *client_cert, *client_key, *proxy; /* PEM files; a URL */
};

struct dmn_answer {
        unsigned status;
        const char *body; /* with a NUL behind its last byte; wiped after the call */
        size_t n;
        const char *etag;         /* NULL: none */
        uint64_t retry_after_sec; /* 0: none; at most DMN_ANSWER_RETRY_MAX_SEC */
};
/* Called once: with an answer, whatever its status, or with an error when none came: -EACCES where
 * one side does not trust the other, -ECONNRESET for a TLS connection that was cut off, -EFBIG,
 * -ENOMEM, else -EIO. Both live during the call only. May free the request. */
typedef void (*dmn_client_fn)(void *userdata, const struct dmn_answer *answer,
                              const struct bth_error *error);

struct dmn_request;

/* Begins a request. Returns 0, then `done` follows from the loop; -EINVAL for a URL that is none,
 * or plain where that is not allowed; -ENOMEM; -EIO of libcurl. */
int dmn_client_send(struct dmn_client *c, const struct dmn_request_options *options,
                    dmn_client_fn done, void *userdata, struct dmn_request **ret_request,
                    struct bth_error *error) _must_check_;
/* Ends it; without `done` when that was not called yet. NULL is fine; returns NULL. */
struct dmn_request *dmn_request_free(struct dmn_request *r);
DEFINE_CLEANUP(dmn_request_free, struct dmn_request *);
