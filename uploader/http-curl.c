/* SPDX-License-Identifier: GPL-3.0-or-later */
/* http-curl - the transport over libcurl's multi interface; see http.h.
 *
 *     submit -> easy handle from the pool -> multi -> message queue drained -> done
 *
 * A body that must wait, for bytes or for the bandwidth cap, pauses its handle. Such a one is not
 * held to be stalled, as curl's own watch over slow transfers would: we keep our own.
 * Source: libcurl 7.88 documentation. */
#include "uploader/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/secret.h"
#include "base/time.h"
#include "uploader/limit.h"
#include "uploader/records.h"

#define DEFAULT_CONNECTIONS         64u
#define DEFAULT_CONNECT_TIMEOUT_SEC 30u
#define DEFAULT_STALL_TIMEOUT_SEC   60u
#define SEND_BUFFER_BYTES           (64L << 10)
#define SMALL_BODY_BYTES            (64u << 10)
#define AT_ONCE_BYTES               (64u << 10) /* curl sends less than this with the headers */
#define HEADER_LINE_MAX             (16u << 10)
#define LOOK_USEC                   BTH_USEC_PER_SEC /* between two looks for what stalls */

struct job {
        struct job *previous, *next; /* in curl_http.jobs */
        struct curl_http *http;
        struct upl_exchange *exchange;
        CURL *easy;
        struct curl_slist *headers; /* nodes and lines in one piece of memory, see add_headers() */
        size_t headers_bytes;
        uint64_t body_offset_bytes;
        uint64_t moved_bytes, moved_usec; /* both ways, when it was looked at; and since when */
        bool waits;                       /* the body has nothing to send now, or must not */
        int abort;                        /* why one of our callbacks ended it */
        bool head_whole;                  /* the blank line behind the headers came */
        bool at_once;                     /* the body goes in one piece with the headers */
        bool big;                         /* the body goes in pieces of SEND_BUFFER_BYTES */
};

struct curl_http {
        struct upl_http base;
        CURLM *multi;
        struct job *jobs, *last_job; /* the oldest first: it gets first what the cap lets through */
        CURL **idle;
        size_t n_idle;
        uint64_t looked_usec; /* for what stalls */
        struct curl_slist *connect_to;
        struct upl_http_options options; /* texts are our copies */
};

static size_t on_read(char *buffer, size_t size, size_t n, void *userdata)
{
        struct job *j = userdata;
        struct upl_exchange *x = j->exchange;
        uint64_t want = MIN((uint64_t)size * n, x->body.length_bytes - j->body_offset_bytes);
        ssize_t got;

        if (want == 0)
                return 0;
        if (j->http->options.limit) {
                want = upl_limit_take(j->http->options.limit, want, bth_now_monotonic_usec());
                if (want == 0) {
                        x->held = j->waits = true;
                        return CURL_READFUNC_PAUSE;
                }
        }
        if (x->body.read) {
                got = x->body.read(x->userdata, buffer, (size_t)want);
                if (got == UPL_BODY_WAIT) {
                        j->waits = true;
                        return CURL_READFUNC_PAUSE;
                }
                if (got <= 0 || (uint64_t)got > want) {
                        j->abort = got < 0 ? (int)got : -ENODATA;
                        return CURL_READFUNC_ABORT;
                }
        } else {
                memcpy(buffer, (const uint8_t *)x->body.data + j->body_offset_bytes, (size_t)want);
                got = (ssize_t)want;
        }
        if (j->big)
                upl_records_expect(j->easy, (size_t)got);
        j->waits = false;
        j->body_offset_bytes += (uint64_t)got;
        x->sent_bytes = j->body_offset_bytes;
        return (size_t)got;
}

static size_t on_write(char *data, size_t size, size_t n, void *userdata)
{
        struct job *j = userdata;
        struct upl_exchange *x = j->exchange;
        size_t bytes = size * n;
        int r;

        if (x->receive && x->status >= 200 && x->status < 300)
                r = x->receive(x->userdata, data, bytes);
        else if (bytes > x->max_answer_bytes - MIN(x->content.length, x->max_answer_bytes))
                r = -EMSGSIZE;
        else
                r = bth_buf_add(&x->content, data, bytes);
        if (r < 0) {
                j->abort = r;
                return 0;
        }
        return bytes;
}

/* "HTTP/1.1 201 Created" begins an answer; one after "100 Continue" replaces what came before. */
static int take_status_line(struct upl_exchange *x, const char *line, size_t n)
{
        const char *code = memchr(line, ' ', n);
        uint64_t status;

        if (!code || (size_t)(line + n - code) < 4 || bth_parse_u64_n(code + 1, 3, &status) < 0 ||
            status < 100 || status > 599)
                return -EBADMSG;
        upl_headers_clear(&x->answer);
        x->status = (unsigned)status;
        return 0;
}

static int take_header_line(struct upl_exchange *x, const char *line, size_t n)
{
        const char *colon = memchr(line, ':', n), *start;

        if (!colon || n > HEADER_LINE_MAX)
                return -EBADMSG;
        start = colon + 1;
        n -= (size_t)(start - line);
        while (n > 0 && (*start == ' ' || *start == '\t')) {
                start++;
                n--;
        }
        return upl_headers_set_n(&x->answer, line, (size_t)(colon - line), start, n) == -ENOMEM
                       ? -ENOMEM
                       : 0;
}

/* The answer's head is whole: is it this request's? */
static int check_echo(struct job *j)
{
        const struct upl_exchange *x = j->exchange;
        const char *sent = x->echo && x->headers ? upl_headers_get(x->headers, x->echo) : NULL;
        const char *found = sent ? upl_headers_get(&x->answer, x->echo) : NULL;

        if (sent && !found)
                (void)curl_easy_setopt(j->easy, CURLOPT_FORBID_REUSE, 1L);
        return found && strcmp(found, sent) != 0 ? -ECONNRESET : 0;
}

static size_t on_header(char *data, size_t size, size_t n, void *userdata)
{
        struct job *j = userdata;
        size_t bytes = size * n, length = bytes;
        int r = 0;

        while (length > 0 && (data[length - 1] == '\r' || data[length - 1] == '\n'))
                length--;
        if (length >= 5 && memcmp(data, "HTTP/", 5) == 0)
                r = take_status_line(j->exchange, data, length);
        else if (length > 0)
                r = take_header_line(j->exchange, data, length);
        else if (j->exchange->status >= 200) {
                j->head_whole = true;
                r = check_echo(j);
        }
        if (r < 0) {
                j->abort = r;
                return 0;
        }
        return bytes;
}

static int result_of(CURLcode code, int abort_reason)
{
        if (code != CURLE_OK && abort_reason < 0)
                return abort_reason;
        switch (code) {
        case CURLE_OK:
                return 0;
        case CURLE_OUT_OF_MEMORY:
                return -ENOMEM;
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_RESOLVE_PROXY:
                return -EHOSTUNREACH;
        case CURLE_COULDNT_CONNECT:
                return -ECONNREFUSED;
        case CURLE_OPERATION_TIMEDOUT:
                return -ETIMEDOUT;
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_ISSUER_ERROR:
                return -EKEYREJECTED;
        case CURLE_URL_MALFORMAT:
        case CURLE_UNSUPPORTED_PROTOCOL:
                return -EINVAL;
        default:
                return -ECONNRESET;
        }
}

static void job_unlink(struct job *j)
{
        if (j->previous)
                j->previous->next = j->next;
        else
                j->http->jobs = j->next;
        if (j->next)
                j->next->previous = j->previous;
        else
                j->http->last_job = j->previous;
}

/* Ends a job: the easy handle, with its buffers, goes back into the pool. */
static void job_end(struct job *j)
{
        struct curl_http *h = j->http;

        job_unlink(j);
        (void)curl_multi_remove_handle(h->multi, j->easy);
        if (j->headers)
                bth_wipe(j->headers, j->headers_bytes);
        free(j->headers);
        if (h->n_idle < h->options.max_connections)
                h->idle[h->n_idle++] = j->easy;
        else
                curl_easy_cleanup(j->easy);
        j->exchange->transport = NULL;
        free(j);
}

/* The request's headers and those that take away curl's own, as the list that curl reads: its nodes
 * and then their lines, which are credentials, in one piece of memory. */
static int add_headers(struct job *j)
{
        /* A wait for "100 Continue" would cost a round trip a block; curl would invent a type. */
        static const char *const without[] = { "Expect:", "Content-Type:" };
        static const struct upl_headers none = { 0 };
        const struct upl_headers *from = j->exchange->headers ? j->exchange->headers : &none;
        size_t n_without = j->at_once && !upl_headers_get(from, "Content-Type") ? 2 : 1;
        size_t n = from->n + n_without, bytes = n * sizeof(struct curl_slist);
        struct curl_slist *list;
        char *line;

        for (size_t i = 0; i < from->n; i++)
                bytes += strlen(from->items[i].name) + strlen(from->items[i].value) + 3;
        list = malloc(bytes);
        if (!list)
                return -ENOMEM;
        line = (char *)(list + n);
        for (size_t i = 0; i < n; i++) {
                list[i].next = i + 1 < n ? &list[i + 1] : NULL;
                if (i >= from->n) {
                        list[i].data = (char *)(uintptr_t)without[i - from->n];
                        continue;
                }
                list[i].data = line;
                line = stpcpy(line, from->items[i].name);
                /* curl's way to write a header with an empty value is a semicolon. */
                line = stpcpy(line, from->items[i].value[0] ? ": " : ";");
                line = stpcpy(line, from->items[i].value) + 1;
        }
        j->headers = list;
        j->headers_bytes = bytes;
        return 0;
}

/* A small body in memory goes with the headers, in one packet: a PUT by the way of curl's POST. */
static bool goes_at_once(const struct curl_http *h, const struct upl_exchange *x)
{
        uint64_t n = x->body.length_bytes;

        return x->method == UPL_METHOD_PUT && !x->body.read && n > 0 && n < AT_ONCE_BYTES &&
               (!h->options.limit ||
                upl_limit_take_all(h->options.limit, n, bth_now_monotonic_usec()));
}

/* The connection stands and the request is about to go. A body that goes at once makes at least one
 * record more than its length says, since the headers are before it; curl writes these records in
 * two steps, which need not be two packets. Were too many announced, the last would wait for ever:
 * the headers count as one byte. */
static int on_ready(void *userdata, char *address, char *local_address, int port, int local_port)
{
        struct job *j = userdata;

        (void)address;
        (void)local_address;
        (void)port;
        (void)local_port;
        upl_records_expect(j->easy, (size_t)j->exchange->body.length_bytes + 1);
        return CURL_PREREQFUNC_OK;
}

static CURLcode set_connection(CURL *e, const struct curl_http *h)
{
        const struct upl_http_options *o = &h->options;
        CURLcode c = CURLE_OK;

#define SET(option, value) c = c ? c : curl_easy_setopt(e, option, value)
        SET(CURLOPT_NOSIGNAL, 1L);
        SET(CURLOPT_PATH_AS_IS, 1L);
        SET(CURLOPT_PROTOCOLS_STR, "http,https");
        SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
        SET(CURLOPT_FOLLOWLOCATION, 0L);
        SET(CURLOPT_PROXY, o->proxy ? o->proxy : "");
        SET(CURLOPT_NOPROXY, "");
        SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
        SET(CURLOPT_TCP_NODELAY, 1L);
        SET(CURLOPT_CONNECTTIMEOUT, (long)o->connect_timeout_sec);
        if (o->ca_file)
                SET(CURLOPT_CAINFO, o->ca_file);
        if (o->client_cert)
                SET(CURLOPT_SSLCERT, o->client_cert);
        if (o->client_key)
                SET(CURLOPT_SSLKEY, o->client_key);
        if (h->connect_to)
                SET(CURLOPT_CONNECT_TO, h->connect_to);
        return c;
}

static CURLcode set_request(CURL *e, struct job *j)
{
        struct upl_exchange *x = j->exchange;
        CURLcode c = CURLE_OK;

        SET(CURLOPT_PRIVATE, j);
        SET(CURLOPT_URL, x->url);
        SET(CURLOPT_HTTPHEADER, j->headers);
        SET(CURLOPT_WRITEFUNCTION, on_write);
        SET(CURLOPT_WRITEDATA, j);
        SET(CURLOPT_HEADERFUNCTION, on_header);
        SET(CURLOPT_HEADERDATA, j);
        if (x->method == UPL_METHOD_HEAD)
                SET(CURLOPT_NOBODY, 1L);
        if (x->method == UPL_METHOD_DELETE)
                SET(CURLOPT_CUSTOMREQUEST, "DELETE");
        if (j->at_once) {
                SET(CURLOPT_CUSTOMREQUEST, "PUT");
                SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->body.length_bytes);
                SET(CURLOPT_POSTFIELDS, x->body.data);
                SET(CURLOPT_PREREQFUNCTION, on_ready);
                SET(CURLOPT_PREREQDATA, j);
        } else if (x->method == UPL_METHOD_PUT) {
                SET(CURLOPT_UPLOAD, 1L);
                SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)x->body.length_bytes);
                SET(CURLOPT_READFUNCTION, on_read);
                SET(CURLOPT_READDATA, j);
                j->big = x->body.length_bytes > SMALL_BODY_BYTES;
                if (j->big)
                        SET(CURLOPT_UPLOAD_BUFFERSIZE, SEND_BUFFER_BYTES);
        }
#undef SET
        return c;
}

static int easy_take(struct curl_http *h, CURL **ret_easy)
{
        CURL *easy = h->n_idle > 0 ? h->idle[--h->n_idle] : curl_easy_init();

        if (!easy)
                return -ENOMEM;
        curl_easy_reset(easy);
        *ret_easy = easy;
        return 0;
}

static int transport_submit(struct upl_http *base, struct upl_exchange *x)
{
        struct curl_http *h = container_of(base, struct curl_http, base);
        struct job *j;
        int r;

        if (x->transport)
                return -EINVAL;
        j = calloc(1, sizeof *j);
        if (!j)
                return -ENOMEM;
        j->http = h;
        j->exchange = x;
        j->moved_usec = bth_now_monotonic_usec();
        r = easy_take(h, &j->easy);
        if (r < 0) {
                free(j);
                return r;
        }
        j->previous = h->last_job;
        if (h->last_job)
                h->last_job->next = j;
        else
                h->jobs = j;
        h->last_job = j;
        j->at_once = goes_at_once(h, x);
        r = add_headers(j);
        if (r == 0 && (set_connection(j->easy, h) || set_request(j->easy, j)))
                r = -EINVAL;
        if (r == 0 && curl_multi_add_handle(h->multi, j->easy))
                r = -ENOMEM;
        if (r < 0) {
                job_end(j);
                return r;
        }
        x->transport = j;
        return 0;
}

static void transport_cancel(struct upl_http *base, struct upl_exchange *x)
{
        if (x->transport)
                job_end(x->transport);
}

static void transport_resume(struct upl_http *base, struct upl_exchange *x)
{
        struct job *j = x->transport;

        if (j && !j->exchange->held)
                (void)curl_easy_pause(j->easy, CURLPAUSE_CONT);
}

/* Lets held bodies try again once the bucket has bytes. */
static void release_held(struct curl_http *h)
{
        if (!h->options.limit ||
            upl_limit_wait_usec(h->options.limit, bth_now_monotonic_usec()) > 0)
                return;
        for (struct job *j = h->jobs; j; j = j->next) {
                if (!j->exchange->held)
                        continue;
                j->exchange->held = false;
                (void)curl_easy_pause(j->easy, CURLPAUSE_CONT);
        }
}

/* How long to sleep at most: until the bucket has bytes, or to the next look for what stalls. */
static uint64_t sleep_usec(struct curl_http *h, uint64_t timeout_usec)
{
        for (const struct job *j = h->jobs; j; j = j->next) {
                if (j->exchange->held)
                        timeout_usec =
                                MIN(timeout_usec, upl_limit_wait_usec(h->options.limit,
                                                                      bth_now_monotonic_usec()));
                else if (!j->waits)
                        timeout_usec = MIN(timeout_usec, LOOK_USEC);
        }
        return timeout_usec;
}

/* Then it is not the URL's protocol that curl does not know, but that of the answer. */
static bool was_connected(const struct job *j)
{
        curl_off_t usec = 0;

        return curl_easy_getinfo(j->easy, CURLINFO_PRETRANSFER_TIME_T, &usec) == CURLE_OK &&
               usec > 0;
}

/* Hands a finished exchange back; `cause` is why it failed, if it did. */
static void finish(struct job *j, int result, const char *cause)
{
        struct upl_exchange *x = j->exchange;

        x->result = result;
        if (j->at_once && x->status > 0)
                x->sent_bytes = x->body.length_bytes;
        if (result < 0)
                (void)snprintf(x->cause, sizeof x->cause, "%s", cause);
        job_end(j);
        x->done(x);
}

static unsigned drain(struct curl_http *h)
{
        unsigned n_done = 0;
        CURLMsg *message;
        int left;

        while ((message = curl_multi_info_read(h->multi, &left))) {
                CURLcode code = message->data.result;
                char *private = NULL;
                struct job *j;

                if (message->msg != CURLMSG_DONE ||
                    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private))
                        continue;
                j = (struct job *)(void *)private;
                /* To curl, headers that end with the connection are an answer; to us they are not.
                 */
                if (code == CURLE_OK && !j->head_whole)
                        code = CURLE_RECV_ERROR;
                if (code == CURLE_UNSUPPORTED_PROTOCOL && was_connected(j))
                        code = CURLE_WEIRD_SERVER_REPLY;
                finish(j, result_of(code, j->abort),
                       j->abort < 0 ? bth_strerror(j->abort) : curl_easy_strerror(code));
                n_done++;
        }
        return n_done;
}

/* Did nothing go either way for too long? Connecting has a time of its own. */
static bool is_stalled(struct job *j, uint64_t now_usec)
{
        curl_off_t up = 0, down = 0;
        long head = 0;
        uint64_t moved;

        (void)curl_easy_getinfo(j->easy, CURLINFO_SIZE_UPLOAD_T, &up);
        (void)curl_easy_getinfo(j->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
        (void)curl_easy_getinfo(j->easy, CURLINFO_HEADER_SIZE, &head);
        moved = (uint64_t)up + (uint64_t)down + (uint64_t)head;
        if (j->waits || moved != j->moved_bytes || !was_connected(j)) {
                j->moved_bytes = moved;
                j->moved_usec = now_usec;
        }
        return now_usec - j->moved_usec >= j->http->options.stall_timeout_sec * BTH_USEC_PER_SEC;
}

/* Ends one of them; who is told may begin and cancel others, so that the rest is looked at again.
 */
static bool end_stalled(struct curl_http *h, uint64_t now_usec)
{
        for (struct job *j = h->jobs; j; j = j->next) {
                if (!is_stalled(j, now_usec))
                        continue;
                finish(j, -ETIMEDOUT, "nothing moved for too long");
                return true;
        }
        return false;
}

static bool end_all_stalled(struct curl_http *h)
{
        uint64_t now = bth_now_monotonic_usec();
        bool ended = false;

        if (now - h->looked_usec < LOOK_USEC)
                return false;
        h->looked_usec = now;
        while (end_stalled(h, now))
                ended = true;
        return ended;
}

static int transport_run(struct upl_http *base, uint64_t timeout_usec)
{
        struct curl_http *h = container_of(base, struct curl_http, base);
        int running;

        if (end_all_stalled(h))
                return 0;
        release_held(h);
        if (curl_multi_perform(h->multi, &running))
                return -EIO;
        if (drain(h) > 0)
                return 0;
        timeout_usec = sleep_usec(h, timeout_usec);
        if (curl_multi_poll(h->multi, NULL, 0, (int)MIN(timeout_usec / 1000 + 1, (uint64_t)60000),
                            NULL))
                return -EIO;
        release_held(h);
        if (curl_multi_perform(h->multi, &running))
                return -EIO;
        (void)drain(h);
        return 0;
}

static void transport_wake(struct upl_http *base)
{
        (void)curl_multi_wakeup(container_of(base, struct curl_http, base)->multi);
}

static void transport_free(struct upl_http *base)
{
        struct curl_http *h = container_of(base, struct curl_http, base);

        while (h->jobs)
                job_end(h->jobs);
        for (size_t i = 0; i < h->n_idle; i++)
                curl_easy_cleanup(h->idle[i]);
        if (h->multi)
                (void)curl_multi_cleanup(h->multi);
        curl_slist_free_all(h->connect_to);
        free(h->idle);
        free((void *)(uintptr_t)h->options.ca_file);
        free((void *)(uintptr_t)h->options.proxy);
        free((void *)(uintptr_t)h->options.client_cert);
        free((void *)(uintptr_t)h->options.client_key);
        free(h);
}

static const struct upl_http_ops transport_ops = {
        .submit = transport_submit,
        .cancel = transport_cancel,
        .resume = transport_resume,
        .run = transport_run,
        .wake = transport_wake,
        .free = transport_free,
};

static CURLcode global_result;

static void global_init(void)
{
        global_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int copy_text(const char **text)
{
        if (*text) {
                *text = strdup(*text);
                if (!*text)
                        return -ENOMEM;
        }
        return 0;
}

static int copy_options(struct curl_http *h, const struct upl_http_options *from)
{
        struct upl_http_options *o = &h->options;
        int r = 0;

        for (size_t i = 0; from->connect_to && from->connect_to[i]; i++) {
                struct curl_slist *list = curl_slist_append(h->connect_to, from->connect_to[i]);

                if (!list)
                        return -ENOMEM;
                h->connect_to = list;
        }
        o->limit = from->limit;
        o->max_connections = from->max_connections ? from->max_connections : DEFAULT_CONNECTIONS;
        o->connect_timeout_sec =
                from->connect_timeout_sec ? from->connect_timeout_sec : DEFAULT_CONNECT_TIMEOUT_SEC;
        o->stall_timeout_sec =
                from->stall_timeout_sec ? from->stall_timeout_sec : DEFAULT_STALL_TIMEOUT_SEC;
        /* Each field holds our copy or NULL, also when one in the middle fails. */
        const char *texts[] = { from->ca_file, from->proxy, from->client_cert, from->client_key };
        const char **slots[] = { &o->ca_file, &o->proxy, &o->client_cert, &o->client_key };
        for (size_t i = 0; i < ARRAY_SIZE(texts) && r == 0; i++) {
                r = copy_text(&texts[i]);
                if (r == 0)
                        *slots[i] = texts[i];
        }
        return r;
}

int upl_http_curl_new(const struct upl_http_options *options, struct upl_http **ret_http)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        struct curl_http *h;
        CURL *probe = NULL;
        int r;

        (void)pthread_once(&once, global_init);
        if (global_result)
                return -ENOMEM;
        h = calloc(1, sizeof *h);
        if (!h)
                return -ENOMEM;
        h->base.ops = &transport_ops;
        r = copy_options(h, options);
        if (r == 0) {
                h->multi = curl_multi_init();
                h->idle = calloc(h->options.max_connections, sizeof *h->idle);
                if (!h->multi || !h->idle ||
                    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS,
                                      (long)h->options.max_connections))
                        r = -ENOMEM;
        }
        /* What curl does not take is better known now than at the first block. */
        if (r == 0)
                r = easy_take(h, &probe);
        if (r == 0) {
                if (set_connection(probe, h))
                        r = -EINVAL;
                h->idle[h->n_idle++] = probe;
        }
        if (r < 0) {
                transport_free(&h->base);
                return r;
        }
        *ret_http = &h->base;
        return 0;
}
