/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/str.h"
#include "daemon/answer.h"

#define HEADER_MAX    (DMN_ANSWER_TAG_MAX + 64) /* bytes of a header that is sent */
#define TOKEN_HEADER  "Authorization: Bearer "
#define HEADERS_MAX   8
#define USER_AGENT    "berthd/" BERTH_VERSION
#define KEEPALIVE_SEC 30L

struct dmn_client {
        sd_event *loop;
        CURLM *multi;
        sd_event_source *timer;
};

/* A descriptor of libcurl's. */
struct watched {
        struct dmn_client *client;
        sd_event_source *source;
        curl_socket_t fd;
};

struct dmn_request {
        struct dmn_client *client;
        CURL *easy;
        dmn_client_fn done; /* NULL once it was called */
        void *userdata;
        bool telling, freed;
        char *url;
        void *body; /* wiped */
        size_t n;
        struct bth_secret *token_header;
        char headers_text[HEADERS_MAX][HEADER_MAX];
        struct curl_slist headers[HEADERS_MAX]; /* made by hand: no copies of the token */
        size_t n_headers;
        char reason[CURL_ERROR_SIZE];
        char *answer; /* wiped */
        size_t answered, allocated;
        bool too_large;
        struct dmn_answer_head head;
};

/* --- between libcurl and the loop --- */

static void finish_all(struct dmn_client *c);

static void act(struct dmn_client *c, curl_socket_t fd, int events)
{
        int running;

        (void)curl_multi_socket_action(c->multi, fd, events, &running);
        finish_all(c);
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        struct watched *w = userdata;
        int events = 0;

        (void)s;
        if (revents & EPOLLIN)
                events |= CURL_CSELECT_IN;
        if (revents & EPOLLOUT)
                events |= CURL_CSELECT_OUT;
        if (revents & (EPOLLERR | EPOLLHUP))
                events |= CURL_CSELECT_ERR;
        act(w->client, fd, events);
        return 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
        (void)s;
        (void)usec;
        act(userdata, CURL_SOCKET_TIMEOUT, 0);
        return 0;
}

static uint32_t epoll_of(int what)
{
        return what == CURL_POLL_IN    ? EPOLLIN
               : what == CURL_POLL_OUT ? EPOLLOUT
                                       : (uint32_t)EPOLLIN | EPOLLOUT;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *of_socket)
{
        struct dmn_client *c = userdata;
        struct watched *w = of_socket;

        (void)easy;
        if (what == CURL_POLL_REMOVE) {
                if (w)
                        (void)sd_event_source_disable_unref(w->source);
                free(w);
                (void)curl_multi_assign(c->multi, fd, NULL);
                return 0;
        }
        if (w)
                return sd_event_source_set_io_events(w->source, epoll_of(what)) < 0 ? -1 : 0;
        w = calloc(1, sizeof *w);
        if (!w)
                return -1;
        w->client = c;
        w->fd = fd;
        if (sd_event_add_io(c->loop, &w->source, fd, epoll_of(what), on_io, w) < 0 ||
            curl_multi_assign(c->multi, fd, w) != CURLM_OK) {
                (void)sd_event_source_disable_unref(w->source);
                free(w);
                return -1;
        }
        return 0;
}

static int on_timeout(CURLM *multi, long msec, void *userdata)
{
        struct dmn_client *c = userdata;

        (void)multi;
        if (msec < 0)
                return sd_event_source_set_enabled(c->timer, SD_EVENT_OFF) < 0 ? -1 : 0;
        if (sd_event_source_set_time_relative(c->timer, (uint64_t)msec * 1000) < 0 ||
            sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT) < 0)
                return -1;
        return 0;
}

int dmn_client_new(sd_event *loop, struct dmn_client **ret_client)
{
        _cleanup_(dmn_client_freep) struct dmn_client *c = calloc(1, sizeof *c);

        if (!c)
                return -ENOMEM;
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
                return -EIO;
        c->loop = sd_event_ref(loop);
        c->multi = curl_multi_init();
        if (!c->multi)
                return -ENOMEM;
        if (sd_event_add_time(loop, &c->timer, CLOCK_MONOTONIC, 0, 0, on_timer, c) < 0 ||
            sd_event_source_set_enabled(c->timer, SD_EVENT_OFF) < 0)
                return -ENOMEM;
        if (curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket) != CURLM_OK ||
            curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c) != CURLM_OK ||
            curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timeout) != CURLM_OK ||
            curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c) != CURLM_OK)
                return -EIO;
        *ret_client = take_ptr(c);
        return 0;
}

struct dmn_client *dmn_client_free(struct dmn_client *c)
{
        if (!c)
                return NULL;
        if (c->multi)
                (void)curl_multi_cleanup(c->multi);
        c->timer = sd_event_source_disable_unref(c->timer);
        (void)sd_event_unref(c->loop);
        free(c);
        return NULL;
}

/* --- a request --- */

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
        struct dmn_request *r = userdata;
        const size_t bytes = size * n, need = r->answered + bytes + 1;
        char *grown;

        if (need > DMN_CLIENT_ANSWER_MAX) {
                r->too_large = true;
                return 0;
        }
        if (need > r->allocated) {
                const size_t allocated = MAX(need, MIN(r->allocated * 2, DMN_CLIENT_ANSWER_MAX));

                grown = malloc(allocated);
                if (!grown)
                        return 0;
                if (r->answered > 0)
                        memcpy(grown, r->answer, r->answered);
                bth_wipe(r->answer, r->allocated);
                free(r->answer);
                r->answer = grown;
                r->allocated = allocated;
        }
        memcpy(r->answer + r->answered, data, bytes);
        r->answered += bytes;
        r->answer[r->answered] = '\0';
        bth_wipe(data, bytes); /* libcurl keeps its buffer for the next transfer */
        return bytes;
}

static size_t on_header(char *line, size_t size, size_t n, void *userdata)
{
        struct dmn_request *r = userdata;

        dmn_answer_header(&r->head, line, size * n);
        return size * n;
}

static void add_header(struct dmn_request *r, char *text)
{
        struct curl_slist *h = &r->headers[r->n_headers];

        *h = (struct curl_slist){ .data = text };
        if (r->n_headers++ > 0)
                r->headers[r->n_headers - 2].next = h;
}

static void add_text_header(struct dmn_request *r, const char *name, const char *value)
{
        char *text = r->headers_text[r->n_headers];

        if (value) {
                (void)snprintf(text, sizeof r->headers_text[0], "%s: %s", name, value);
                add_header(r, text);
        }
}

static int add_headers(struct dmn_request *r, const struct dmn_request_options *o)
{
        const size_t n = sizeof TOKEN_HEADER - 1;

        add_text_header(r, "Accept", "application/json");
        add_text_header(r, "Content-Type", o->content_type);
        add_text_header(r, "If-None-Match", o->if_none_match);
        add_text_header(r, "Expect", ""); /* no waiting for 100 */
        if (!o->token)
                return 0;
        if (bth_secret_new(n + o->token->length_bytes, &r->token_header) < 0)
                return -ENOMEM;
        memcpy(r->token_header->data, TOKEN_HEADER, n);
        memcpy(r->token_header->data + n, o->token->data, o->token->length_bytes);
        add_header(r, (char *)r->token_header->data);
        return 0;
}

#define SET(option, value) \
        (curl_easy_setopt(r->easy, CURLOPT_##option, (value)) == CURLE_OK ? 0 : -EIO)

static int set_tls(struct dmn_request *r, const struct dmn_request_options *o)
{
        int k = SET(PROTOCOLS_STR, o->allow_plain ? "https,http" : "https");

        if (k == 0)
                k = SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
        if (k == 0 && o->ca_file)
                k = SET(CAINFO, o->ca_file);
        if (k == 0 && o->ca_file)
                k = SET(CAPATH, NULL);
        if (k == 0 && o->client_cert)
                k = SET(SSLCERT, o->client_cert);
        if (k == 0 && o->client_key)
                k = SET(SSLKEY, o->client_key);
        /* Not what the environment says. */
        return k < 0 ? k : SET(PROXY, o->proxy ? o->proxy : "");
}

static int set_limits(struct dmn_request *r)
{
        int k = SET(TIMEOUT, (long)DMN_CLIENT_TIMEOUT_SEC);

        if (k == 0)
                k = SET(CONNECTTIMEOUT, (long)DMN_CLIENT_CONNECT_SEC);
        if (k == 0)
                k = SET(NOSIGNAL, 1L);
        if (k == 0)
                k = SET(FOLLOWLOCATION, 0L);
        if (k == 0)
                k = SET(TCP_KEEPALIVE, 1L);
        return k < 0 ? k : SET(TCP_KEEPIDLE, KEEPALIVE_SEC);
}

static int set_callbacks(struct dmn_request *r)
{
        int k = SET(WRITEFUNCTION, on_body);

        if (k == 0)
                k = SET(WRITEDATA, r);
        if (k == 0)
                k = SET(HEADERFUNCTION, on_header);
        if (k == 0)
                k = SET(HEADERDATA, r);
        if (k == 0)
                k = SET(ERRORBUFFER, r->reason);
        return k < 0 ? k : SET(PRIVATE, r);
}

static int set_request(struct dmn_request *r, const struct dmn_request_options *o)
{
        int k = SET(URL, r->url);

        if (k == 0)
                k = SET(USERAGENT, USER_AGENT);
        if (k == 0 && o->body) {
                k = SET(POSTFIELDSIZE_LARGE, (curl_off_t)r->n);
                if (k == 0)
                        k = SET(POSTFIELDS, r->body);
        }
        if (k == 0 && strcmp(o->method, o->body ? "POST" : "GET") != 0)
                k = SET(CUSTOMREQUEST, o->method);
        if (k == 0)
                k = add_headers(r, o);
        if (k == 0)
                k = SET(HTTPHEADER, r->headers);
        if (k == 0)
                k = set_tls(r, o);
        if (k == 0)
                k = set_limits(r);
        return k < 0 ? k : set_callbacks(r);
}

static void destroy(struct dmn_request *r)
{
        if (r->easy) {
                (void)curl_multi_remove_handle(r->client->multi, r->easy);
                curl_easy_cleanup(r->easy);
        }
        bth_wipe(r->answer, r->allocated);
        free(r->answer);
        bth_wipe(r->body, r->n);
        free(r->body);
        (void)bth_secret_free(r->token_header);
        free(r->url);
        free(r);
}

static bool is_url(const char *url, bool allow_plain)
{
        return (bth_starts_with(url, "https://") && url[8] != '\0') ||
               (allow_plain && bth_starts_with(url, "http://") && url[7] != '\0');
}

static int copy_texts(struct dmn_request *r, const struct dmn_request_options *o)
{
        r->url = strdup(o->url);
        r->n = o->body ? o->n : 0;
        r->body = o->body ? malloc(MAX(o->n, (size_t)1)) : NULL;
        if (!r->url || (o->body && !r->body))
                return -ENOMEM;
        if (r->n > 0)
                memcpy(r->body, o->body, o->n);
        return 0;
}

int dmn_client_send(struct dmn_client *c, const struct dmn_request_options *options,
                    dmn_client_fn done, void *userdata, struct dmn_request **ret_request,
                    struct bth_error *error)
{
        _cleanup_(dmn_request_freep) struct dmn_request *r = NULL;
        int k;

        if (!is_url(options->url, options->allow_plain))
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "'%s' is no URL that may be used: https:// is expected",
                                     options->url);
        r = calloc(1, sizeof *r);
        if (!r)
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory");
        r->client = c;
        r->done = done;
        r->userdata = userdata;
        k = copy_texts(r, options);
        if (k == 0)
                r->easy = curl_easy_init();
        if (k == 0)
                k = r->easy ? set_request(r, options) : -ENOMEM;
        if (k == 0 && curl_multi_add_handle(c->multi, r->easy) != CURLM_OK)
                k = -EIO;
        if (k < 0)
                return bth_error_set(error, k, BTH_REASON_INTERNAL,
                                     "the request cannot be made: %s", bth_strerror(k));
        *ret_request = take_ptr(r);
        return 0;
}

struct dmn_request *dmn_request_free(struct dmn_request *r)
{
        if (!r)
                return NULL;
        r->done = NULL;
        r->freed = true;
        if (!r->telling)
                destroy(r);
        return NULL;
}

/* --- its end --- */

/* What the other side's TLS says of our certificate, in OpenSSL's words for the alerts of RFC 8446,
 * section 6.2. */
static const struct {
        const char *alert, *sentence;
} alerts[] = {
        { "alert certificate required",
          "the job service asks for a certificate, and job_service_cert is not set" },
        { "alert certificate expired", "the certificate of job_service_cert has expired" },
        { "alert certificate revoked", "the certificate of job_service_cert was revoked" },
        { "alert unknown ca",
          "the job service does not know the authority of the certificate of job_service_cert" },
        { "alert bad certificate", "the job service refuses the certificate of job_service_cert" },
        { "alert unsupported certificate",
          "the job service refuses the certificate of job_service_cert" },
        { "alert certificate unknown",
          "the job service refuses the certificate of job_service_cert" },
        { "alert access denied", "the job service refuses the certificate of job_service_cert" },
        { "alert handshake failure",
          "the job service does not agree to TLS: often, it asks for the certificate of "
          "job_service_cert" },
};

/* Who is not believed by whom, when that is what keeps them apart. */
static bool explain_trust(CURLcode code, const char *text, struct bth_error *error)
{
        switch (code) {
        case CURLE_PEER_FAILED_VERIFICATION:
                (void)bth_error_set(error, -EACCES, BTH_REASON_CREDENTIALS,
                                    "the job service is not trusted, and was told nothing: %s",
                                    text);
                bth_error_advise(error, "compare job_service_ca with the authority that made its "
                                        "certificate, and the name in it with job_service");
                return true;
        case CURLE_SSL_CERTPROBLEM:
                (void)bth_error_set(error, -EACCES, BTH_REASON_CREDENTIALS,
                                    "job_service_cert and job_service_key cannot be used: %s",
                                    text);
                bth_error_advise(error, "check them with berthctl config --check");
                return true;
        case CURLE_SSL_CACERT_BADFILE:
                (void)bth_error_set(error, -EACCES, BTH_REASON_CREDENTIALS,
                                    "job_service_ca cannot be used: %s", text);
                bth_error_advise(error, "check it with berthctl config --check");
                return true;
        default:
                break;
        }
        for (size_t i = 0; i < ARRAY_SIZE(alerts); i++) {
                if (!strstr(text, alerts[i].alert))
                        continue;
                (void)bth_error_set(error, -EACCES, BTH_REASON_CREDENTIALS, "%s",
                                    alerts[i].sentence);
                bth_error_advise(error, "renew job_service_cert and job_service_key");
                return true;
        }
        return false;
}

/* A connection that ends in the middle often loses the alert that says why. */
static bool explain_cut(const struct dmn_request *r, CURLcode code, const char *text,
                        struct bth_error *error)
{
        if ((code != CURLE_SEND_ERROR && code != CURLE_RECV_ERROR) || r->answered > 0 ||
            !bth_starts_with(r->url, "https://"))
                return false;
        (void)bth_error_set(error, -ECONNRESET, BTH_REASON_NETWORK,
                            "the job service cut the connection off before it answered; if it asks "
                            "for certificates, it may refuse that of job_service_cert: %s",
                            text);
        return true;
}

static void explain(const struct dmn_request *r, CURLcode code, struct bth_error *error)
{
        const char *text = r->reason[0] ? r->reason : curl_easy_strerror(code);
        const bool memory = code == CURLE_OUT_OF_MEMORY;

        bth_error_at(error, r->url, 0, BTH_ERROR_NO_OFFSET);
        if (r->too_large)
                (void)bth_error_set(error, -EFBIG, BTH_REASON_TOO_LARGE,
                                    "the answer is larger than %zu MiB",
                                    DMN_CLIENT_ANSWER_MAX >> 20);
        else if (!explain_trust(code, text, error) && !explain_cut(r, code, text, error))
                (void)bth_error_set(error, memory ? -ENOMEM : -EIO,
                                    memory ? BTH_REASON_OUT_OF_MEMORY : BTH_REASON_NETWORK, "%s",
                                    text);
}

static void finish(struct dmn_request *r, CURLcode code)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct dmn_answer answer = { .body = r->answer ? r->answer : "",
                                     .n = r->answered,
                                     .etag = r->head.etag[0] ? r->head.etag : NULL,
                                     .retry_after_sec = r->head.retry_after_sec };
        dmn_client_fn done = r->done;
        long status = 0;

        (void)curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
        (void)curl_multi_remove_handle(r->client->multi, r->easy);
        answer.status = (unsigned)status;
        r->done = NULL;
        r->telling = true;
        if (code != CURLE_OK)
                explain(r, code, &e);
        if (done)
                done(r->userdata, code == CURLE_OK ? &answer : NULL, code == CURLE_OK ? NULL : &e);
        r->telling = false;
        if (r->freed)
                destroy(r);
}

static void finish_all(struct dmn_client *c)
{
        const CURLMsg *m;
        int left;

        while ((m = curl_multi_info_read(c->multi, &left))) {
                char *request = NULL;
                const CURLcode code = m->data.result; /* gone with the handle */

                if (m->msg == CURLMSG_DONE &&
                    curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &request) == CURLE_OK)
                        finish((struct dmn_request *)(void *)request, code);
        }
}
