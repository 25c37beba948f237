/* SPDX-License-Identifier: GPL-3.0-or-later */
/* http-request - one request of the server of http.h: what was asked, the answer, and the answer
 * without end.
 *
 * A connection that waits is suspended, and then the library does not look at it. In a stream that
 * would last until something is written, so here its end is watched for meanwhile. */
#include <malloc.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/str.h"
#include "daemon/http-internal.h"

#define STREAM_BLOCK ((size_t)16 << 10)

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

static struct http_connection *connection_of(struct MHD_Connection *c)
{
        const union MHD_ConnectionInfo *info =
                MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

        return info ? info->socket_context : NULL;
}

bool dmn_http_peer_in_group(const struct dmn_http_request *q, gid_t group)
{
        const struct http_connection *c = q->http ? connection_of(q->connection) : NULL;
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
        struct http_connection *c = connection_of(q->connection);

        q->stage = HTTP_STAGE_QUEUED;
        if (q->http->empty && q->response &&
            MHD_add_response_header(q->response, "Connection", "close") != MHD_YES)
                return MHD_NO;
        if (c && (!q->streams || q->waiting.length > 0))
                http_deadline(c, q->http->options.reply_sec);
        return q->response ? MHD_queue_response(q->connection, q->status, q->response) : MHD_NO;
}

void http_wake(struct dmn_http_request *q)
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
        q->stage = HTTP_STAGE_REPLIED;
        bth_buf_clear(&q->body);
        http_wake(q);
}

void *http_on_target(void *userdata, const char *target, struct MHD_Connection *connection)
{
        struct dmn_http *h = userdata;
        struct http_connection *c = connection_of(connection);
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
        struct http_connection *c = connection_of(q->connection);

        if (c)
                c->deadline_usec = HTTP_NEVER;
        q->stage = HTTP_STAGE_HANDLED;
        q->http->options.handler(q->http->options.userdata, q);
        if (q->stage == HTTP_STAGE_REPLIED)
                return request_queue(q);
        q->suspended = true;
        MHD_suspend_connection(q->connection);
        return MHD_YES;
}

enum MHD_Result http_on_request(void *userdata, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *n, void **context)
{
        struct dmn_http_request *q = *context;

        if (!q)
                return MHD_NO;
        if (q->stage == HTTP_STAGE_REPLIED)
                return request_queue(q);
        if (q->stage != HTTP_STAGE_RECEIVING)
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

void http_on_completed(void *userdata, struct MHD_Connection *connection, void **context,
                       enum MHD_RequestTerminationCode why)
{
        struct dmn_http_request *q = *context;
        struct http_connection *c = connection_of(connection);

        *context = NULL;
        if (c)
                http_deadline(c, c->http->options.request_sec + c->http->options.idle_sec);
        if (!q)
                return;
        if (q->stage != HTTP_STAGE_HANDLED) {
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
        http_wake(q);
        return 0;
}

/* Waits until something is written or the client goes away. */
static void stream_pause(struct dmn_http_request *q)
{
        struct http_connection *c = connection_of(q->connection);

        if (!c || sd_event_add_io(q->http->loop, &q->hangup, c->fd, EPOLLRDHUP, on_hangup, q) < 0)
                bth_debug("http: a stream is not watched, ignoring");
        q->suspended = true;
        MHD_suspend_connection(q->connection);
}

/* The library can send `max` bytes more. */
static ssize_t on_stream(void *userdata, uint64_t position, char *out, size_t max)
{
        struct dmn_http_request *q = userdata;
        struct http_connection *c = connection_of(q->connection);
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
                        c->deadline_usec = HTTP_NEVER;
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
        q->stage = HTTP_STAGE_REPLIED;
        q->streams = true;
        q->stream_ended = q->http->empty != NULL;
        q->stream = *stream;
        q->http->n_streams++;
        bth_buf_clear(&q->body);
        http_wake(q);
        return 0;
}

int dmn_http_stream_write(struct dmn_http_request *q, const void *data, size_t n)
{
        struct http_connection *c = connection_of(q->connection);
        int r;

        if (n > DMN_HTTP_STREAM_BYTES - (q->waiting.length - q->taken))
                return -ENOBUFS;
        if (q->taken > 0) {
                q->waiting.length -= q->taken;
                memmove(q->waiting.data, q->waiting.data + q->taken, q->waiting.length + 1);
                q->taken = 0;
        }
        if (q->waiting.length == 0 && c)
                http_deadline(c, q->http->options.request_sec);
        r = bth_buf_add(&q->waiting, data, n);
        if (r == 0)
                http_wake(q);
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
        http_wake(q);
}
