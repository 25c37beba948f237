/* SPDX-License-Identifier: GPL-3.0-or-later */
/* http - see http.h; this is the server, its requests are in http-request.c. Connections are
 * accepted here and handed to libmicrohttpd: so they can be counted by peer before they cost
 * anything, and the backlog waits while all places are taken.
 *
 * Times. Libmicrohttpd closes what moves no byte for `idle_sec`. Who sends a byte now and then
 * would stay for ever, so each connection also has a deadline: for the whole next request, and then
 * for taking the whole answer. While the answer is being made there is none, and none in a stream
 * from which nothing waits. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/gate.h"
#include "daemon/http-internal.h"

#define ACCEPT_AGAIN_USEC BTH_USEC_PER_SEC /* when the process has no descriptor left */
#define ACCEPT_AT_ONCE    16u
#define AGAIN_MAX_MSEC    UINT64_C(3600000)
#define TLS_PRIORITIES    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE"

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

void http_deadline(struct http_connection *c, unsigned sec)
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
        uint64_t now = bth_now_monotonic_usec(), next = HTTP_NEVER;

        for (struct http_connection *c = h->connections; c; c = c->next) {
                if (c->deadline_usec <= now) {
                        bth_debug("http: a request or answer took too long");
                        (void)shutdown(c->fd, SHUT_RDWR);
                        c->deadline_usec = HTTP_NEVER;
                }
                next = MIN(next, c->deadline_usec);
        }
        if (next != HTTP_NEVER) {
                (void)sd_event_source_set_time(source, next);
                (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        }
        if (h->accepting)
                (void)sd_event_source_set_enabled(
                        h->accepting,
                        h->n_connections < h->options.connections ? SD_EVENT_ON : SD_EVENT_OFF);
        return 0;
}

static void connection_free(struct http_connection *c)
{
        struct http_connection **at = &c->http->connections;

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
        struct http_connection *c = h->connections;

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

        for (const struct http_connection *c = h->connections; c; c = c->next)
                n += same_peer(&c->peer, peer);
        return n >= h->options.per_peer;
}

static void take_connection(struct dmn_http *h, int fd_taken,
                            const struct sockaddr_storage *address, socklen_t n)
{
        _cleanup_close_ int fd = fd_taken;
        struct dmn_http_peer peer;
        struct http_connection *c;

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
        http_deadline(c, h->options.request_sec + h->options.idle_sec);
        if (MHD_add_connection(h->daemon, take_fd(fd), (const struct sockaddr *)address, n) ==
            MHD_YES)
                return;
        /* When it was refused late, the library has told and `c` is gone already. */
        for (struct http_connection *known = h->connections; known; known = known->next) {
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
                0, NULL, NULL, http_on_request, h, MHD_OPTION_EXTERNAL_LOGGER, log_library, NULL,
                MHD_OPTION_URI_LOG_CALLBACK, http_on_target, h, MHD_OPTION_NOTIFY_COMPLETED,
                http_on_completed, h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
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
                        http_wake(q);
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
