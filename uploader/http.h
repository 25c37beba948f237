/* SPDX-License-Identifier: GPL-3.0-or-later */
/* http - one HTTP exchange, and the table of functions behind which transports stand.
 *
 *     client -> [layers that tests put between] -> libcurl
 *
 * All functions of a transport are called on one thread, the one that calls upl_http_run(); only
 * upl_http_wake() may come from another. An exchange is owned by who submits it and must stay until
 * `done` was called or it was cancelled. A transport knows nothing of retries or signatures.
 * Source: RFC 9110, RFC 9112. */
#pragma once

#include "base/error.h"
#include "base/str.h"

struct upl_limit;

enum upl_method {
        UPL_METHOD_GET,
        UPL_METHOD_HEAD,
        UPL_METHOD_PUT,
        UPL_METHOD_DELETE,
        _UPL_METHOD_MAX,
        _UPL_METHOD_INVALID = -EINVAL,
};

/* "GET"; NULL outside the list. */
const char *upl_method_to_string(enum upl_method m);

struct upl_header {
        char *name;
        char *value; /* in one piece of memory with the name, behind it */
};

/* At most UPL_HEADERS_MAX headers; names compare without case. */
#define UPL_HEADERS_MAX 128
struct upl_headers {
        struct upl_header *items;
        size_t n;
        size_t allocated;
};

/* Sets a header or replaces it. Returns 0, -EINVAL for a name or value that is none (line ends and
 * other control characters), -E2BIG beyond the limit, -ENOMEM. */
int upl_headers_set(struct upl_headers *h, const char *name, const char *value) _must_check_;
/* The same of counted texts; a NUL in them is no header either. Returns as above. */
int upl_headers_set_n(struct upl_headers *h, const char *name, size_t n_name, const char *value,
                      size_t n_value) _must_check_;
/* The value, borrowed; NULL when absent. */
const char *upl_headers_get(const struct upl_headers *h, const char *name);
void upl_headers_clear(struct upl_headers *h); /* wipes the values: they may be credentials */

/* What is sent: `data` for as long as the exchange lives, or what `read` gives. */
struct upl_body {
        const void *data;
        uint64_t length_bytes;
        /* When set, asked for the body instead of `data`, from its start to `length_bytes`.
         * Returns the number of bytes, UPL_BODY_WAIT when there are none yet (upl_http_wake() and
         * upl_http_resume() go on), or another negative errno, which aborts the exchange. */
        ssize_t (*read)(void *userdata, void *buffer, size_t n);
};
#define UPL_BODY_WAIT (-EAGAIN)

struct upl_exchange {
        /* the request */
        enum upl_method method;
        const char *url;
        const struct upl_headers *headers;
        struct upl_body body;
        /* A header that the answer repeats from the request; NULL: none. An answer with another
         * value is another request's, and -ECONNRESET. One without it is taken, but is the last on
         * its connection, where a repetition of it could not be told from the next answer. */
        const char *echo;
        size_t max_answer_bytes; /* of `content`; a longer answer is -EMSGSIZE */
        /* When set and the status is 2xx, gets the answer's body instead of `content`. A negative
         * errno aborts the exchange. */
        int (*receive)(void *userdata, const void *data, size_t n);
        /* Called once from upl_http_run(). It may submit others, or this again once reset. */
        void (*done)(struct upl_exchange *x);
        void *userdata;

        /* the answer */
        int result;      /* 0: a whole answer came; else a negative errno */
        unsigned status; /* 100 to 599 */
        struct upl_headers answer;
        struct bth_buf content;
        uint64_t sent_bytes;
        bool held;       /* the bandwidth cap holds the body back just now */
        char cause[160]; /* the transport's words for `result`; no secrets */

        void *transport; /* the transport's own, NULL when not submitted */
};

/* Drops the answer, so that the exchange can be submitted again. */
void upl_exchange_reset(struct upl_exchange *x);

struct upl_http;
struct upl_http_ops {
        int (*submit)(struct upl_http *h, struct upl_exchange *x);
        void (*cancel)(struct upl_http *h, struct upl_exchange *x);
        void (*resume)(struct upl_http *h, struct upl_exchange *x);
        int (*run)(struct upl_http *h, uint64_t timeout_usec);
        void (*wake)(struct upl_http *h);
        void (*free)(struct upl_http *h);
};

/* Embedded as first member by every transport. */
struct upl_http {
        const struct upl_http_ops *ops;
};

/* Starts an exchange; `done` tells its end. Returns 0, -EINVAL, -ENOMEM; then `done` is not called.
 */
int upl_http_submit(struct upl_http *h, struct upl_exchange *x) _must_check_;
/* Stops an exchange without calling `done`. Nothing happens when it is not under way. */
void upl_http_cancel(struct upl_http *h, struct upl_exchange *x);
/* The body's `read` has bytes again. */
void upl_http_resume(struct upl_http *h, struct upl_exchange *x);
/* Moves everything on: waits at most `timeout_usec` for something to happen, calls `done` of what
 * ended. Returns 0 or a negative errno of the transport itself, which is then of no more use. */
int upl_http_run(struct upl_http *h, uint64_t timeout_usec) _must_check_;
/* Makes upl_http_run() return soon. Any thread. */
void upl_http_wake(struct upl_http *h);
/* Cancels what is under way. NULL is fine; returns NULL. */
struct upl_http *upl_http_free(struct upl_http *h);
DEFINE_CLEANUP(upl_http_free, struct upl_http *);

/* libcurl's multi interface, HTTP/1.1 with kept connections, at least TLS 1.2, no redirects, no
 * cookies, no environment. Texts are copied; NULL or 0 takes the default. */
struct upl_http_options {
        const char *ca_file;     /* PEM; default: the system's */
        const char *proxy;       /* "http://host:port"; default: none, whatever the environment */
        const char *client_cert; /* PEM */
        const char *client_key;  /* PEM */
        const char *const *connect_to; /* "HOST:PORT:HOST:PORT" of curl's --connect-to, NULL ends */
        unsigned max_connections;      /* kept open; default 64 */
        unsigned connect_timeout_sec;  /* default 30 */
        unsigned stall_timeout_sec;    /* no byte either way for so long: -ETIMEDOUT; default 60 */
        struct upl_limit *limit;       /* bandwidth of what is sent, borrowed; default: none */
};

/* Returns 0, -EINVAL for an option curl refuses, -ENOMEM. */
int upl_http_curl_new(const struct upl_http_options *options, struct upl_http **ret_http)
        _must_check_;
