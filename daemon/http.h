/* SPDX-License-Identifier: GPL-3.0-or-later */
/* http - an HTTP/1.1 server inside the daemon's loop, on one listening socket.
 *
 *     accept ── limits ── libmicrohttpd (its epoll descriptor is a source of the loop) ── request
 *        │                                                                                  │
 *     the peer: uid, gid, pid, or an address         answer, at once or later <── handler <─┘
 *
 * Every socket has its own server with its own limits, so that those who come over the network
 * cannot take the places of those who are at the station. A request that is half sent waits at the
 * cost of its sender only; one that does not become whole in time is cut off. Nothing here wakes up
 * while nobody is connected. Bodies may hold keys: all copies are wiped. One thread: the loop's.
 * Source: RFC 9110, RFC 9112; microhttpd.h, "external event loop"; unix(7), SO_PEERCRED. */
#pragma once

#include <netinet/in.h>
#include <systemd/sd-event.h>

#include "base/error.h"
#include "base/secret.h"

struct dmn_http;
struct dmn_http_request;

/* Who is at the other end of a connection. */
struct dmn_http_peer {
        bool local; /* over a Unix socket: uid, gid and pid are the kernel's word */
        uid_t uid;
        gid_t gid;
        pid_t pid;
        char address[INET6_ADDRSTRLEN]; /* of others; "" when local */
};

/* The request is whole. It is answered exactly once, in the handler or later, by dmn_http_reply().
 */
typedef void (*dmn_http_fn)(void *userdata, struct dmn_http_request *request);

#define DMN_HTTP_BODY_BYTES    ((size_t)16 << 20)
#define DMN_HTTP_HEADER_BYTES  ((size_t)32 << 10)
#define DMN_HTTP_CONNECTIONS   64u
#define DMN_HTTP_PER_PEER      24u
#define DMN_HTTP_IDLE_SEC      30u
#define DMN_HTTP_REQUEST_SEC   60u
#define DMN_HTTP_REPLY_SEC     300u
#define DMN_HTTP_HEADERS_EXTRA 8u /* of a reply */

/* TLS 1.2 and 1.3, and nothing older. Both PEM; the certificate with those between it and its
 * authority behind it. */
struct dmn_http_tls {
        const char *certificate;
        const struct bth_secret *key;
};

struct dmn_http_options {
        sd_event *loop;
        int fd; /* listening; taken over also on error */
        /* 0: the numbers above */
        size_t body_bytes, header_bytes; /* of one request */
        unsigned connections, per_peer;  /* at once: all, and of one user or peer (daemon/gate.h) */
        /* So many of the connections are for those of whom `preferred` says so, that all the others
         * together cannot keep them out. NULL: nobody is. */
        unsigned reserved;
        bool (*preferred)(void *userdata, const struct dmn_http_peer *peer);
        unsigned idle_sec;               /* without a byte */
        unsigned request_sec, reply_sec; /* from the first to the last byte, at most */
        const struct dmn_http_tls *tls;  /* NULL: plain; copied */
        dmn_http_fn handler;
        /* Called with the headers, before a byte of the body is taken: how many this request may
         * have, at most `body_bytes`. With more, the handler gets it at once and without a body.
         * NULL: `body_bytes` for all. */
        size_t (*body_limit)(void *userdata, const struct dmn_http_request *request);
        void *userdata;
};

/* Begins to serve. Returns 0, -ENOMEM, -EBADMSG for a certificate and key that cannot be used, or
 * -errno of sd-event(3). */
int dmn_http_new(const struct dmn_http_options *options, struct dmn_http **ret_http) _must_check_;
/* Takes no connection any more and closes the listening socket; those that are open get the answers
 * that they wait for, and end then; streams end after what waits in them. `empty` is called once,
 * from the loop, when none is left: then it may be freed. */
void dmn_http_drain(struct dmn_http *h, void (*empty)(void *userdata, struct dmn_http *h),
                    void *userdata);
/* Cuts all connections off. Requests without an answer stay valid until they get it, which then
 * goes nowhere. NULL is fine; returns NULL. */
struct dmn_http *dmn_http_free(struct dmn_http *h);
DEFINE_CLEANUP(dmn_http_free, struct dmn_http *);

/* How many are connected. */
unsigned dmn_http_connections(const struct dmn_http *h);

/* What was asked. Texts are borrowed until the reply; "target" is the path with its query as it
 * came, not decoded. */
const char *dmn_http_method(const struct dmn_http_request *q);
const char *dmn_http_target(const struct dmn_http_request *q);
const struct dmn_http_peer *dmn_http_peer(const struct dmn_http_request *q);
/* A header of the request, or NULL; only inside of the handler and of `body_limit`. */
const char *dmn_http_header(const struct dmn_http_request *q, const char *name);
/* Is the local peer in this group, as its first or as a further one, by the kernel's word; false
 * for others. Only inside of the handler and of `body_limit`. */
bool dmn_http_peer_in_group(const struct dmn_http_request *q, gid_t group);
/* NULL and 0 when there is none. NUL behind the last byte. */
const char *dmn_http_body(const struct dmn_http_request *q, size_t *ret_n);
/* The body was larger than it may be, and was thrown away. */
bool dmn_http_body_too_large(const struct dmn_http_request *q);
/* So many bytes it may have. */
size_t dmn_http_body_limit(const struct dmn_http_request *q);

struct dmn_http_header {
        const char *name, *value;
};
struct dmn_http_reply {
        unsigned status;  /* 200 to 599 */
        const char *type; /* NULL: no body */
        const char *body; /* copied */
        size_t n;
        struct dmn_http_header headers[DMN_HTTP_HEADERS_EXTRA]; /* up to a NULL name */
};
/* Answers and ends the request. A client that went away meanwhile does no harm. */
void dmn_http_reply(struct dmn_http_request *q, const struct dmn_http_reply *reply);

/* --- an answer without end ---
 *
 * Instead of dmn_http_reply(): the head goes out, and then what is written, as it comes. The stream
 * is the request. Each takes a place of the server's; half of them may be streams. */

#define DMN_HTTP_STREAM_BYTES ((size_t)4 << 20) /* that wait for a slow client */

struct dmn_http_stream {
        void (*drained)(void *userdata); /* nothing waits any more */
        void (*gone)(void *userdata);    /* the client went away, or the server ends: it is over */
        void *userdata;
};
/* `head->body` may be the first part. Returns 0; -EAGAIN when too many are open, -ECANCELED
 * when the client is gone, -ENOMEM: then the request still wants its answer. */
int dmn_http_stream(struct dmn_http_request *q, const struct dmn_http_reply *head,
                    const struct dmn_http_stream *stream) _must_check_;
/* Returns 0; -ENOBUFS when the client is too slow for what waits already; -ENOMEM. */
int dmn_http_stream_write(struct dmn_http_request *q, const void *data, size_t n) _must_check_;
/* Bytes that wait. */
size_t dmn_http_stream_waiting(const struct dmn_http_request *q);
/* Ends it once everything is out; nothing is called any more. */
void dmn_http_stream_end(struct dmn_http_request *q);
