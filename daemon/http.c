/* SPDX-License-Identifier: GPL-3.0-or-later */
/* http - see http.h. Connections are accepted here and handed to libmicrohttpd: so they can be
 * counted by peer before they cost anything, and the backlog waits while all places are taken.
 *
 * Times. Libmicrohttpd closes what moves no byte for `idle_sec`. Who sends a byte now and then
 * would stay for ever, so each connection also has a deadline: for the whole next request, and then
 * for taking the whole answer. While the answer is being made there is none, and none in a stream
 * from which nothing waits.
 *
 * A connection that waits is suspended, and then the library does not look at it. In a stream that
 * would last until something is written, so here its end is watched for meanwhile. */
#include "daemon/http.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/secret.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/gate.h"

#define ACCEPT_AGAIN_USEC BTH_USEC_PER_SEC /* when the process has no descriptor left */
#define STREAM_BLOCK      ((size_t)16 << 10)
#define ACCEPT_AT_ONCE    16u
#define AGAIN_MAX_MSEC    UINT64_C(3600000)
#define NEVER             UINT64_MAX
#define TLS_PRIORITIES    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE"

struct connection {
        struct connection *next;
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
        struct connection *connections;
        unsigned n_connections, n_streams;
        struct dmn_http_request *requests;
};

enum stage {
        STAGE_RECEIVING,
        STAGE_HANDLED, /* the handler has it */
        STAGE_REPLIED, /* the answer is there and was not handed to the library yet */
        STAGE_QUEUED,
};

struct dmn_http_request {
        struct dmn_http_request *next, **at; /* of http->requests */
        struct dmn_http *http;               /* NULL: the connection is gone */
        struct MHD_Connection *connection;
        struct dmn_http_peer peer;
        enum stage stage;
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

/* --- requests --- */

static struct dmn_http_request *request_free(struct dmn_http_request *q)
{
        if (q->at) {
                *q->at = q->next;
                if (q->next)
                        q->next->at = q->at;
        }
        if (q->response)
                MHD_destroy_response(q->response);
        q->hangup = sd_event_source_disable_unref(q->hangup);
        bth_buf_clear(&q->waiting);
        bth_buf_clear(&q->body);
        free(q->method);
        free(q->target);
        free(q);
        return NULL;
}

const char *dmn_http_method(const struct dmn_http_request *q)
{
        return q->method;
}

const char *dmn_http_target(const struct dmn_http_request *q)
{
        return q->target;
}

const struct dmn_http_peer *dmn_http_peer(const struct dmn_http_request *q)
{
        return &q->peer;
}

static struct connection *connection_of(struct MHD_Connection *c)
{
        const union MHD_ConnectionInfo *info =
                MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

        return info ? info->socket_context : NULL;
}

bool dmn_http_peer_in_group(const struct dmn_http_request *q, gid_t group)
{
        const struct connection *c = q->http ? connection_of(q->connection) : NULL;
        _cleanup_free_ gid_t *groups = NULL;
        socklen_t n = 0;
        bool found = q->peer.local && q->peer.gid == group;

        /* The first call tells how many bytes there are. */
        if (!c || !q->peer.local || found ||
            getsockopt(c->fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &n) == 0 || errno != ERANGE)
                return found;
        groups = malloc(n);
        if (!groups || getsockopt(c->fd, SOL_SOCKET, SO_PEERGROUPS, groups, &n) < 0)
                return false;
        for (size_t i = 0; i < n / sizeof *groups; i++)
                found |= groups[i] == group;
        return found;
}

const char *dmn_http_header(const struct dmn_http_request *q, const char *name)
{
        return q->http ? MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, name) : NULL;
}

const char *dmn_http_body(const struct dmn_http_request *q, size_t *ret_n)
{
        *ret_n = q->body.length;
        return q->body.data;
}

bool dmn_http_body_too_large(const struct dmn_http_request *q)
{
        return q->too_large;
}

size_t dmn_http_body_limit(const struct dmn_http_request *q)
{
        return q->body_limit;
}

static void connection_deadline(struct connection *c, unsigned sec);

/* Adds the headers; takes the response over. */
static struct MHD_Response *response_of(struct MHD_Response *response,
                                        const struct dmn_http_reply *reply)
{
        bool well;

        if (!response)
                return NULL;
        well = MHD_add_response_header(response, "Cache-Control", "no-store") == MHD_YES &&
               MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") == MHD_YES;
        if (well && reply->type)
                well = MHD_add_response_header(response, "Content-Type", reply->type) == MHD_YES;
        for (size_t i = 0; well && i < ARRAY_SIZE(reply->headers) && reply->headers[i].name; i++)
                well = MHD_add_response_header(response, reply->headers[i].name,
                                               reply->headers[i].value) == MHD_YES;
        if (!well)
                MHD_destroy_response(response);
        return well ? response : NULL;
}

static void wipe_and_free(void *body)
{
        bth_wipe(body, malloc_usable_size(body));
        free(body);
}

/* A copy of our own: the library would not wipe its. */
static struct MHD_Response *with_body(const struct dmn_http_reply *reply)
{
        char *copy = malloc(reply->n + 1);
        struct MHD_Response *response;

        if (!copy)
                return NULL;
        if (reply->n > 0)
                memcpy(copy, reply->body, reply->n);
        response =
                MHD_create_response_from_buffer_with_free_callback(reply->n, copy, wipe_and_free);
        if (!response)
                wipe_and_free(copy);
        return response;
}

/* Hands the answer to the library. Returns MHD_NO, which ends the connection, when it cannot. */
static enum MHD_Result request_queue(struct dmn_http_request *q)
{
        struct connection *c = connection_of(q->connection);

        q->stage = STAGE_QUEUED;
        if (q->http->empty && q->response &&
            MHD_add_response_header(q->response, "Connection", "close") != MHD_YES)
                return MHD_NO;
        if (c && (!q->streams || q->waiting.length > 0))
                connection_deadline(c, q->http->options.reply_sec);
        return q->response ? MHD_queue_response(q->connection, q->status, q->response) : MHD_NO;
}

/* The library looks at the connection again. */
static void wake(struct dmn_http_request *q)
{
        if (!q->suspended)
                return;
        q->suspended = false;
        q->hangup = sd_event_source_disable_unref(q->hangup);
        MHD_resume_connection(q->connection);
        (void)sd_event_source_set_enabled(q->http->soon, SD_EVENT_ONESHOT);
}

void dmn_http_reply(struct dmn_http_request *q, const struct dmn_http_reply *reply)
{
        if (!q->http) {
                (void)request_free(q);
                return;
        }
        q->response = response_of(with_body(reply), reply);
        q->status = reply->status;
        q->stage = STAGE_REPLIED;
        bth_buf_clear(&q->body);
        wake(q);
}

/* The line of the request is there, the headers not yet. */
static void *on_target(void *userdata, const char *target, struct MHD_Connection *connection)
{
        struct dmn_http *h = userdata;
        struct connection *c = connection_of(connection);
        struct dmn_http_request *q = calloc(1, sizeof *q);

        if (!q || !c) {
                free(q);
                return NULL;
        }
        q->body.secret = true;
        q->target = strdup(target);
        if (!q->target)
                return request_free(q);
        q->connection = connection;
        q->peer = c->peer;
        q->http = h;
        q->next = h->requests;
        q->at = &h->requests;
        if (q->next)
                q->next->at = &q->next;
        h->requests = q;
        return q;
}

/* A part of the body. It is wiped where the library read it to: the library only frees. */
static void request_take(struct dmn_http_request *q, const char *data, size_t n)
{
        if (n > q->body_limit - q->body.length)
                q->too_large = true;
        if (q->too_large)
                bth_buf_clear(&q->body);
        else if (bth_buf_add(&q->body, data, n) < 0)
                q->too_large = true;
        bth_wipe((char *)data, n);
}

/* Is the length that was announced too much? Then the body is not waited for. */
static bool announces_too_much(const struct dmn_http_request *q)
{
        const char *text = dmn_http_header(q, MHD_HTTP_HEADER_CONTENT_LENGTH);
        uint64_t n;

        return text && (bth_parse_u64(text, &n) < 0 || n > q->body_limit);
}

static size_t limit_of(const struct dmn_http_request *q)
{
        const struct dmn_http_options *o = &q->http->options;

        return o->body_limit ? MIN(o->body_limit(o->userdata, q), o->body_bytes) : o->body_bytes;
}

static enum MHD_Result request_handle(struct dmn_http_request *q)
{
        struct connection *c = connection_of(q->connection);

        if (c)
                c->deadline_usec = NEVER;
        q->stage = STAGE_HANDLED;
        q->http->options.handler(q->http->options.userdata, q);
        if (q->stage == STAGE_REPLIED)
                return request_queue(q);
        q->suspended = true;
        MHD_suspend_connection(q->connection);
        return MHD_YES;
}

/* Is called with the headers, with each part of the body, at its end, and after a suspension. */
static enum MHD_Result on_request(void *userdata, struct MHD_Connection *connection,
                                  const char *url, const char *method, const char *version,
                                  const char *data, size_t *n, void **context)
{
        struct dmn_http_request *q = *context;

        if (!q)
                return MHD_NO;
        if (q->stage == STAGE_REPLIED)
                return request_queue(q);
        if (q->stage != STAGE_RECEIVING)
                return MHD_YES;
        if (!q->method) {
                q->method = strdup(method);
                if (!q->method)
                        return MHD_NO;
                q->body_limit = limit_of(q);
                q->too_large = announces_too_much(q);
                return q->too_large ? request_handle(q) : MHD_YES;
        }
        if (*n > 0) {
                request_take(q, data, *n);
                *n = 0;
                return MHD_YES;
        }
        return request_handle(q);
}

/* The answer is out, or the connection broke. What the handler still has stays its own. */
static void on_completed(void *userdata, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode why)
{
        struct dmn_http_request *q = *context;
        struct connection *c = connection_of(connection);

        *context = NULL;
        if (c)
                connection_deadline(c, c->http->options.request_sec + c->http->options.idle_sec);
        if (!q)
                return;
        if (q->stage != STAGE_HANDLED) {
                if (q->streams) {
                        q->http->n_streams--;
                        if (q->stream.gone)
                                q->stream.gone(q->stream.userdata);
                }
                (void)request_free(q);
                return;
        }
        *q->at = q->next;
        if (q->next)
                q->next->at = q->at;
        q->at = NULL;
        q->http = NULL;
        q->connection = NULL;
}

/* --- streams --- */

static int on_hangup(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        struct dmn_http_request *q = userdata;

        q->stream_ended = true;
        wake(q);
        return 0;
}

/* Waits until something is written or the client goes away. */
static void stream_pause(struct dmn_http_request *q)
{
        struct connection *c = connection_of(q->connection);

        if (!c || sd_event_add_io(q->http->loop, &q->hangup, c->fd, EPOLLRDHUP, on_hangup, q) < 0)
                bth_debug("http: a stream is not watched, ignoring");
        q->suspended = true;
        MHD_suspend_connection(q->connection);
}

/* The library can send `max` bytes more. */
static ssize_t on_stream(void *userdata, uint64_t position, char *out, size_t max)
{
        struct dmn_http_request *q = userdata;
        struct connection *c = connection_of(q->connection);
        size_t n = MIN(max, q->waiting.length - q->taken);

        if (n == 0 && q->stream_ended)
                return MHD_CONTENT_READER_END_OF_STREAM;
        if (n == 0) {
                stream_pause(q);
                return 0;
        }
        memcpy(out, q->waiting.data + q->taken, n);
        q->taken += n;
        if (q->taken == q->waiting.length) {
                bth_buf_clear(&q->waiting);
                q->taken = 0;
                if (c)
                        c->deadline_usec = NEVER;
                if (q->stream.drained)
                        q->stream.drained(q->stream.userdata);
        }
        return (ssize_t)n;
}

int dmn_http_stream(struct dmn_http_request *q, const struct dmn_http_reply *head,
                    const struct dmn_http_stream *stream)
{
        struct MHD_Response *response;

        if (!q->http)
                return -ECANCELED;
        if (q->http->n_streams >= MAX(q->http->options.connections / 2, 1u))
                return -EAGAIN;
        if (head->n > 0 && bth_buf_add(&q->waiting, head->body, head->n) < 0)
                return -ENOMEM;
        response = response_of(MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK,
                                                                 on_stream, q, NULL),
                               head);
        if (!response) {
                bth_buf_clear(&q->waiting);
                return -ENOMEM;
        }
        q->response = response;
        q->status = head->status;
        q->stage = STAGE_REPLIED;
        q->streams = true;
        q->stream_ended = q->http->empty != NULL;
        q->stream = *stream;
        q->http->n_streams++;
        bth_buf_clear(&q->body);
        wake(q);
        return 0;
}

int dmn_http_stream_write(struct dmn_http_request *q, const void *data, size_t n)
{
        struct connection *c = connection_of(q->connection);
        int r;

        if (n > DMN_HTTP_STREAM_BYTES - (q->waiting.length - q->taken))
                return -ENOBUFS;
        if (q->taken > 0) {
                q->waiting.length -= q->taken;
                memmove(q->waiting.data, q->waiting.data + q->taken, q->waiting.length + 1);
                q->taken = 0;
        }
        if (q->waiting.length == 0 && c)
                connection_deadline(c, q->http->options.request_sec);
        r = bth_buf_add(&q->waiting, data, n);
        if (r == 0)
                wake(q);
        return r;
}

size_t dmn_http_stream_waiting(const struct dmn_http_request *q)
{
        return q->waiting.length - q->taken;
}

void dmn_http_stream_end(struct dmn_http_request *q)
{
        q->stream = (struct dmn_http_stream){ 0 };
        q->stream_ended = true;
        wake(q);
}

/* --- the library inside the loop --- */

/* Lets the library work, and asks when it wants to again although no descriptor moves. */
static void run(struct dmn_http *h)
{
        MHD_UNSIGNED_LONG_LONG msec;

        (void)MHD_run(h->daemon);
        if (MHD_get_timeout(h->daemon, &msec) != MHD_YES) {
                (void)sd_event_source_set_enabled(h->again, SD_EVENT_OFF);
        } else if (msec == 0) {
                (void)sd_event_source_set_enabled(h->soon, SD_EVENT_ONESHOT);
        } else {
                (void)sd_event_source_set_time_relative(h->again,
                                                        MIN(msec, AGAIN_MAX_MSEC) * UINT64_C(1000));
                (void)sd_event_source_set_enabled(h->again, SD_EVENT_ONESHOT);
        }
}

static int on_epoll(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        run(userdata);
        return 0;
}

static int on_soon(sd_event_source *source, void *userdata)
{
        run(userdata);
        return 0;
}

static int on_again(sd_event_source *source, uint64_t usec, void *userdata)
{
        run(userdata);
        return 0;
}

_printf_(2, 0) static void log_library(void *userdata, const char *format, va_list list)
{
        char text[256];

        (void)vsnprintf(text, sizeof text, format, list);
        text[strcspn(text, "\n")] = '\0';
        bth_debug("http: %s", text);
}

/* --- connections --- */

static void connection_deadline(struct connection *c, unsigned sec)
{
        struct dmn_http *h = c->http;
        uint64_t next;

        c->deadline_usec = bth_now_monotonic_usec() + sec * BTH_USEC_PER_SEC;
        if (sd_event_source_get_enabled(h->deadlines, NULL) > 0 &&
            sd_event_source_get_time(h->deadlines, &next) >= 0 && next <= c->deadline_usec)
                return;
        (void)sd_event_source_set_time(h->deadlines, c->deadline_usec);
        (void)sd_event_source_set_enabled(h->deadlines, SD_EVENT_ONESHOT);
}

/* Those whose time is over see their socket end, which makes the library drop them. */
static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct dmn_http *h = userdata;
        uint64_t now = bth_now_monotonic_usec(), next = NEVER;

        for (struct connection *c = h->connections; c; c = c->next) {
                if (c->deadline_usec <= now) {
                        bth_debug("http: a request or answer took too long");
                        (void)shutdown(c->fd, SHUT_RDWR);
                        c->deadline_usec = NEVER;
                }
                next = MIN(next, c->deadline_usec);
        }
        if (next != NEVER) {
                (void)sd_event_source_set_time(source, next);
                (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        }
        if (h->accepting)
                (void)sd_event_source_set_enabled(
                        h->accepting,
                        h->n_connections < h->options.connections ? SD_EVENT_ON : SD_EVENT_OFF);
        return 0;
}

static void connection_free(struct connection *c)
{
        struct connection **at = &c->http->connections;

        while (*at != c)
                at = &(*at)->next;
        *at = c->next;
        c->http->n_connections--;
        if (c->http->accepting)
                (void)sd_event_source_set_enabled(c->http->accepting, SD_EVENT_ON);
        else if (c->http->n_connections == 0 && c->http->emptied)
                (void)sd_event_source_set_enabled(c->http->emptied, SD_EVENT_ONESHOT);
        free(c);
}

static void on_connection(void *userdata, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
        struct dmn_http *h = userdata;
        const union MHD_ConnectionInfo *info;
        struct connection *c = h->connections;

        if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
                if (*context)
                        connection_free(*context);
                *context = NULL;
                return;
        }
        info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        while (c && info && c->fd != info->connect_fd)
                c = c->next;
        *context = c;
}

static bool same_peer(const struct dmn_http_peer *a, const struct dmn_http_peer *b)
{
        return a->local == b->local &&
               (a->local ? a->uid == b->uid : dmn_gate_same_peer(a->address, b->address));
}

/* Returns 0 or -errno of getsockopt(2). */
static int peer_of(int fd, const struct sockaddr_storage *address, struct dmn_http_peer *ret)
{
        struct ucred who;
        socklen_t n = sizeof who;

        *ret = (struct dmn_http_peer){ .local = address->ss_family == AF_UNIX };
        if (!ret->local) {
                const void *number =
                        address->ss_family == AF_INET6
                                ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
                                : (const void *)&((const struct sockaddr_in *)address)->sin_addr;

                return inet_ntop(address->ss_family, number, ret->address, sizeof ret->address)
                               ? 0
                               : -errno;
        }
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0)
                return -errno;
        ret->uid = who.uid;
        ret->gid = who.gid;
        ret->pid = who.pid;
        return 0;
}

static bool too_many_of(const struct dmn_http *h, const struct dmn_http_peer *peer)
{
        const struct dmn_http_options *o = &h->options;
        unsigned n = 0;

        if (o->preferred && h->n_connections + o->reserved >= o->connections &&
            !o->preferred(o->userdata, peer))
                return true;

        for (const struct connection *c = h->connections; c; c = c->next)
                n += same_peer(&c->peer, peer);
        return n >= h->options.per_peer;
}

static void take_connection(struct dmn_http *h, int fd_taken,
                            const struct sockaddr_storage *address, socklen_t n)
{
        _cleanup_close_ int fd = fd_taken;
        struct dmn_http_peer peer;
        struct connection *c;

        if (peer_of(fd, address, &peer) < 0)
                return;
        if (too_many_of(h, &peer)) {
                bth_debug("http: a peer has too many connections");
                return;
        }
        c = calloc(1, sizeof *c);
        if (!c)
                return;
        c->http = h;
        c->fd = fd;
        c->peer = peer;
        c->next = h->connections;
        h->connections = c;
        h->n_connections++;
        connection_deadline(c, h->options.request_sec + h->options.idle_sec);
        if (MHD_add_connection(h->daemon, take_fd(fd), (const struct sockaddr *)address, n) ==
            MHD_YES)
                return;
        /* When it was refused late, the library has told and `c` is gone already. */
        for (struct connection *known = h->connections; known; known = known->next) {
                if (known == c) {
                        connection_free(c);
                        break;
                }
        }
}

static int on_accept(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        struct dmn_http *h = userdata;

        for (unsigned i = 0; i < ACCEPT_AT_ONCE && h->n_connections < h->options.connections; i++) {
                struct sockaddr_storage address = { 0 };
                socklen_t n = sizeof address;
                int r = accept4(fd, (struct sockaddr *)&address, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);

                if (r >= 0) {
                        take_connection(h, r, &address, n);
                        continue;
                }
                if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                        bth_log(LOG_WARNING, "cannot take a connection: %s, ignoring",
                                bth_strerror(-errno));
                        (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
                        (void)sd_event_source_set_time_relative(h->deadlines, ACCEPT_AGAIN_USEC);
                        (void)sd_event_source_set_enabled(h->deadlines, SD_EVENT_ONESHOT);
                }
                break;
        }
        if (h->n_connections >= h->options.connections)
                (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
        run(h);
        return 0;
}

unsigned dmn_http_connections(const struct dmn_http *h)
{
        return h->n_connections;
}

/* --- beginning and end --- */

static void set_defaults(struct dmn_http_options *o)
{
        o->body_bytes = o->body_bytes ? o->body_bytes : DMN_HTTP_BODY_BYTES;
        o->header_bytes = o->header_bytes ? o->header_bytes : DMN_HTTP_HEADER_BYTES;
        o->connections = o->connections ? o->connections : DMN_HTTP_CONNECTIONS;
        o->per_peer = o->per_peer ? o->per_peer : DMN_HTTP_PER_PEER;
        o->idle_sec = o->idle_sec ? o->idle_sec : DMN_HTTP_IDLE_SEC;
        o->request_sec = o->request_sec ? o->request_sec : DMN_HTTP_REQUEST_SEC;
        o->reply_sec = o->reply_sec ? o->reply_sec : DMN_HTTP_REPLY_SEC;
}

/* The path stays as it came: it is decoded after it was split (daemon/api.c). */
static size_t keep_escapes(void *userdata, struct MHD_Connection *connection, char *text)
{
        return strlen(text);
}

static int copy_tls(struct dmn_http *h, struct MHD_OptionItem items[4])
{
        const struct dmn_http_tls *tls = h->options.tls;
        int r;

        items[0] = (struct MHD_OptionItem){ MHD_OPTION_END, 0, NULL };
        if (!tls)
                return 0;
        h->certificate = strdup(tls->certificate);
        r = bth_secret_new_copy(tls->key->data, tls->key->length_bytes, &h->key);
        if (r < 0 || !h->certificate)
                return -ENOMEM;
        items[0] = (struct MHD_OptionItem){ MHD_OPTION_HTTPS_MEM_CERT, 0, h->certificate };
        items[1] = (struct MHD_OptionItem){ MHD_OPTION_HTTPS_MEM_KEY, 0, h->key->data };
        items[2] = (struct MHD_OptionItem){ MHD_OPTION_HTTPS_PRIORITIES, 0,
                                            (void *)(uintptr_t)TLS_PRIORITIES };
        items[3] = (struct MHD_OptionItem){ MHD_OPTION_END, 0, NULL };
        return 0;
}

static int start_library(struct dmn_http *h)
{
        const struct dmn_http_options *o = &h->options;
        struct MHD_OptionItem tls[4];
        int r = copy_tls(h, tls);

        if (r < 0)
                return r;
        h->daemon = MHD_start_daemon(
                MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME |
                        MHD_USE_ERROR_LOG | (o->tls ? MHD_USE_TLS : 0),
                0, NULL, NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER, log_library, NULL,
                MHD_OPTION_URI_LOG_CALLBACK, on_target, h, MHD_OPTION_NOTIFY_COMPLETED,
                on_completed, h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
                MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_CONNECTION_LIMIT,
                o->connections, MHD_OPTION_CONNECTION_TIMEOUT, o->idle_sec,
                MHD_OPTION_CONNECTION_MEMORY_LIMIT, o->header_bytes, MHD_OPTION_STRICT_FOR_CLIENT,
                1, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
        r = h->daemon ? 0 : o->tls ? -EBADMSG : -ENOMEM;
        h->options.tls = NULL; /* the caller's */
        return r;
}

static int add_sources(struct dmn_http *h)
{
        const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
        int r;

        if (!info)
                return -EOPNOTSUPP;
        r = sd_event_add_io(h->loop, &h->epoll, info->epoll_fd, EPOLLIN, on_epoll, h);
        if (r >= 0)
                r = sd_event_add_defer(h->loop, &h->soon, on_soon, h);
        if (r >= 0)
                r = sd_event_add_time_relative(h->loop, &h->again, CLOCK_MONOTONIC, 0, 0, on_again,
                                               h);
        if (r >= 0)
                r = sd_event_source_set_enabled(h->again, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time_relative(h->loop, &h->deadlines, CLOCK_MONOTONIC, 0, 0,
                                               on_deadline, h);
        if (r >= 0)
                r = sd_event_source_set_enabled(h->deadlines, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_io(h->loop, &h->accepting, h->listen_fd, EPOLLIN, on_accept, h);
        return MIN(r, 0);
}

int dmn_http_new(const struct dmn_http_options *options, struct dmn_http **ret_http)
{
        _cleanup_(dmn_http_freep) struct dmn_http *h = calloc(1, sizeof *h);
        int r;

        if (!h) {
                (void)bth_close(options->fd);
                return -ENOMEM;
        }
        h->listen_fd = options->fd;
        h->options = *options;
        h->loop = sd_event_ref(options->loop);
        set_defaults(&h->options);
        r = start_library(h);
        if (r < 0)
                return r;
        r = add_sources(h);
        if (r < 0)
                return r;
        *ret_http = take_ptr(h);
        return 0;
}

static int on_emptied(sd_event_source *source, void *userdata)
{
        struct dmn_http *h = userdata;

        if (h->n_connections == 0)
                h->empty(h->empty_userdata, h);
        return 0;
}

void dmn_http_drain(struct dmn_http *h, void (*empty)(void *userdata, struct dmn_http *h),
                    void *userdata)
{
        h->empty = empty;
        h->empty_userdata = userdata;
        h->accepting = sd_event_source_disable_unref(h->accepting);
        h->listen_fd = bth_close(h->listen_fd);
        for (struct dmn_http_request *q = h->requests; q; q = q->next) {
                if (q->streams) {
                        q->stream_ended = true;
                        wake(q);
                }
        }
        /* Enabled by itself: there may be none at all. */
        if (sd_event_add_defer(h->loop, &h->emptied, on_emptied, h) < 0)
                bth_debug("http: no memory to hear of the last connection, ignoring");
}

/* The library must not be stopped while a connection is suspended: each wakes up to its end. */
static void abandon_requests(struct dmn_http *h)
{
        for (struct dmn_http_request *q = h->requests; q; q = q->next) {
                if (q->suspended) {
                        q->suspended = false;
                        q->hangup = sd_event_source_disable_unref(q->hangup);
                        MHD_resume_connection(q->connection);
                }
        }
}

struct dmn_http *dmn_http_free(struct dmn_http *h)
{
        if (!h)
                return NULL;
        h->accepting = sd_event_source_disable_unref(h->accepting);
        h->epoll = sd_event_source_disable_unref(h->epoll);
        h->soon = sd_event_source_disable_unref(h->soon);
        h->again = sd_event_source_disable_unref(h->again);
        h->emptied = sd_event_source_disable_unref(h->emptied);
        abandon_requests(h);
        if (h->daemon)
                MHD_stop_daemon(h->daemon);
        h->deadlines = sd_event_source_disable_unref(h->deadlines);
        h->loop = sd_event_unref(h->loop);
        h->listen_fd = bth_close(h->listen_fd);
        h->key = bth_secret_free(h->key);
        free(h->certificate);
        free(h);
        return NULL;
}
