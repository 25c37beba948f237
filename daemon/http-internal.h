/* SPDX-License-Identifier: GPL-3.0-or-later */
/* http-internal - what http.c, the server, and http-request.c, its requests, share. */
#pragma once

#include <microhttpd.h>

#include "base/str.h"
#include "daemon/http.h"

#define HTTP_NEVER UINT64_MAX /* of a deadline */

struct http_connection {
        struct http_connection *next;
        struct dmn_http *http;
        int fd; /* libmicrohttpd's */
        uint64_t deadline_usec;
        struct dmn_http_peer peer;
};

struct dmn_http {
        sd_event *loop;
        int listen_fd;
        struct dmn_http_options options;
        struct MHD_Daemon *daemon;
        char *certificate; /* the library only points to these */
        struct bth_secret *key;
        sd_event_source *accepting, *epoll, *soon, *again, *deadlines, *emptied;
        void (*empty)(void *userdata, struct dmn_http *h); /* NULL: it is not being drained */
        void *empty_userdata;
        struct http_connection *connections;
        unsigned n_connections, n_streams;
        struct dmn_http_request *requests;
};

enum http_stage {
        HTTP_STAGE_RECEIVING,
        HTTP_STAGE_HANDLED, /* the handler has it */
        HTTP_STAGE_REPLIED, /* the answer is there and was not handed to the library yet */
        HTTP_STAGE_QUEUED,
};

struct dmn_http_request {
        struct dmn_http_request *next, **at; /* of http->requests */
        struct dmn_http *http;               /* NULL: the connection is gone */
        struct MHD_Connection *connection;
        struct dmn_http_peer peer;
        enum http_stage stage;
        bool suspended, too_large;
        char *method, *target;
        size_t body_limit;
        struct bth_buf body;
        struct MHD_Response *response;
        unsigned status;

        bool streams, stream_ended;
        struct dmn_http_stream stream; /* no functions: ended */
        struct bth_buf waiting;
        size_t taken; /* of `waiting` */
        sd_event_source *hangup;
};

/* --- http.c --- */

/* The connection is cut off `sec` from now, unless it gets another deadline before. */
void http_deadline(struct http_connection *c, unsigned sec);

/* --- http-request.c --- */

/* The library looks at the connection of a request again, if it waits. */
void http_wake(struct dmn_http_request *q);
/* For the library. The line of the request is there, the headers not yet. */
void *http_on_target(void *userdata, const char *target, struct MHD_Connection *connection);
/* Is called with the headers, with each part of the body, at its end, and after a suspension. */
enum MHD_Result http_on_request(void *userdata, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *n, void **context);
/* The answer is out, or the connection broke. What the handler still has stays its own. */
void http_on_completed(void *userdata, struct MHD_Connection *connection, void **context,
                       enum MHD_RequestTerminationCode why);
