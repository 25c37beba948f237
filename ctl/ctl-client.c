/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-client - libcurl on the station's socket. Bodies may hold BitLocker keys (journals), so
 * whatever libcurl copied is wiped when it is freed. */
#include <curl/curl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/names.h"
#include "base/secret.h"
#include "ctl/ctl-client.h"

#define CONNECT_MSEC     5000L
#define ANSWER_MSEC      120000L
#define ANSWER_MAX_BYTES ((size_t)16 << 20)
#define URL_BASE         "http://berthd"

static const struct {
        const char *method, *path;
} requests[] = {
#define X(id, method, path) { method, path },
        CTL_REQUESTS(X)
#undef X
};

const char *ctl_request_method(enum ctl_request r)
{
        return (size_t)r < ARRAY_SIZE(requests) ? requests[r].method : NULL;
}

const char *ctl_request_path(enum ctl_request r)
{
        return (size_t)r < ARRAY_SIZE(requests) ? requests[r].path : NULL;
}

/* ---- options ---- */

int ctl_client_options(struct ctl_client *k, struct ctl_context *c,
                       const struct ctl_option *options, size_t n_options, int argc, char **argv,
                       int n_positional_min, int n_positional_max, char ***ret_words,
                       int *ret_n_words)
{
        struct ctl_option all[24];

        if (n_options + 1 > ARRAY_SIZE(all))
                return -EINVAL;
        k->context = c;
        k->socket = getenv(BTH_ENV_SOCKET);
        if (!k->socket || k->socket[0] == '\0')
                k->socket = CTL_SOCKET_PATH;
        c->bare = true;
        for (size_t i = 0; i < n_options; i++)
                all[i] = options[i];
        all[n_options] = (struct ctl_option){ "socket", "PATH", "the socket of the station",
                                              .text = &k->socket };
        return ctl_parse_options(c, all, n_options + 1, argc, argv, n_positional_min,
                                 n_positional_max, ret_words, ret_n_words);
}

enum ctl_exit ctl_exit_of_options(int r)
{
        return r > 0 ? CTL_EXIT_OK : CTL_EXIT_USAGE;
}

/* ---- the connection ---- */

static void wiping_free(void *p)
{
        if (p)
                bth_wipe(p, malloc_usable_size(p));
        free(p);
}

static void *wiping_realloc(void *p, size_t n)
{
        const size_t had = p ? malloc_usable_size(p) : 0;
        void *moved;

        if (p && n <= had)
                return p;
        moved = malloc(n);
        if (moved && p)
                memcpy(moved, p, had);
        if (moved)
                wiping_free(p);
        return moved;
}

static CURL *connection(struct ctl_client *k)
{
        if (k->curl)
                return k->curl;
        if (curl_global_init_mem(CURL_GLOBAL_NOTHING, malloc, wiping_free, wiping_realloc, strdup,
                                 calloc) != CURLE_OK)
                return NULL;
        k->curl = curl_easy_init();
        return k->curl;
}

void ctl_client_clear(struct ctl_client *k)
{
        if (k->curl) {
                curl_easy_cleanup(k->curl);
                curl_global_cleanup();
        }
        json_decref(k->answer);
        *k = (struct ctl_client){ 0 };
}

/* ---- a request ---- */

static int add_escaped(struct bth_buf *url, CURL *curl, const char *text)
{
        char *escaped = curl_easy_escape(curl, text, (int)strlen(text));
        int r = escaped ? bth_buf_add_string(url, escaped) : -ENOMEM;

        curl_free(escaped);
        return r;
}

static int make_url(CURL *curl, const struct ctl_ask *ask, struct bth_buf *url)
{
        const char *path = ctl_request_path(ask->request), *brace = strchr(path, '{');
        char before = '?';
        int r = bth_buf_add_format(url, URL_BASE "%.*s",
                                   brace ? (int)(brace - path) : (int)strlen(path), path);

        if (r >= 0 && brace)
                r = add_escaped(url, curl, ask->target);
        if (r >= 0 && brace)
                r = bth_buf_add_string(url, strchr(brace, '}') + 1);
        for (const struct ctl_pair *q = ask->query; r >= 0 && q && q->name; q++) {
                if (!q->value)
                        continue;
                r = bth_buf_add_format(url, "%c%s=", before, q->name);
                before = '&';
                if (r >= 0)
                        r = add_escaped(url, curl, q->value);
        }
        return r;
}

static size_t on_answer(char *data, size_t size, size_t n, void *userdata)
{
        struct bth_buf *answer = userdata;

        if (n > ANSWER_MAX_BYTES - answer->length || bth_buf_add(answer, data, size * n) < 0)
                return 0;
        return size * n;
}

static int no_station(const struct ctl_client *k, CURLcode code, struct bth_error *error)
{
        long os = 0;

        (void)curl_easy_getinfo(k->curl, CURLINFO_OS_ERRNO, &os);
        bth_error_at(error, k->socket, 0, BTH_ERROR_NO_OFFSET);
        if (code == CURLE_COULDNT_CONNECT && (os == EACCES || os == EPERM)) {
                (void)bth_error_set(error, -EACCES, BTH_REASON_NOT_PERMITTED,
                                    "this user may not speak to the station");
                bth_error_advise(error, "ask for membership in the group of the socket");
                return -EACCES;
        }
        if (code == CURLE_COULDNT_CONNECT)
                return bth_error_set(error, -ENOTCONN, BTH_REASON_NO_STATION,
                                     "the station's daemon does not run here: nobody listens");
        if (code == CURLE_OPERATION_TIMEDOUT)
                return bth_error_set(error, -ETIMEDOUT, BTH_REASON_NO_STATION,
                                     "the station's daemon did not answer in time");
        if (code == CURLE_OUT_OF_MEMORY)
                return -ENOMEM;
        if (code == CURLE_WRITE_ERROR)
                return bth_error_set(error, -EBADMSG, BTH_REASON_TOO_LARGE,
                                     "the answer has more than %zu bytes", ANSWER_MAX_BYTES);
        return bth_error_set(error, -ENOTCONN, BTH_REASON_NO_STATION,
                             "the station's daemon hung up before it had answered (%s)",
                             curl_easy_strerror(code));
}

/* What kind of refusal a status is; the station chose it by an errno, too (berth-api(7)). */
static int errno_of_status(long status)
{
        switch (status) {
        case 400:
                return -EINVAL;
        case 401:
        case 403:
                return -EACCES;
        case 404:
                return -ENOENT;
        case 409:
                return -EPERM;
        case 413:
                return -EFBIG;
        case 429:
                return -EAGAIN;
        case 503:
                return -ECANCELED;
        case 507:
                return -ENOSPC;
        default:
                return -EIO;
        }
}

static const char *member(const json_t *object, const char *key)
{
        return json_string_value(json_object_get(object, key));
}

static int refusal(const struct ctl_client *k, long status, struct bth_error *error)
{
        const json_t *e = json_object_get(k->answer, "error");
        const char *message = member(e, "message"), *advice = member(e, "advice");
        enum bth_reason reason = bth_reason_from_string(member(e, "reason"));
        int r = errno_of_status(status);
        uint64_t line = 0;

        if (reason == _BTH_REASON_INVALID)
                reason = BTH_REASON_NONE;
        if (bth_json_get_u64(e, "line", &line) < 0)
                line = 0; /* it names none */
        bth_error_at(error, member(e, "object"), line, BTH_ERROR_NO_OFFSET);
        if (message)
                r = bth_error_set(error, r, reason, "%s", message);
        else
                r = bth_error_set(error, r, reason,
                                  "the station refused without a word (HTTP status %ld)", status);
        if (advice)
                bth_error_advise(error, "%s", advice);
        return r;
}

static int judge(struct ctl_client *k, const struct bth_buf *text, struct bth_error *error)
{
        long status = 0;
        int r;

        (void)curl_easy_getinfo(k->curl, CURLINFO_RESPONSE_CODE, &status);
        r = bth_json_parse(text->data ? text->data : "", text->length, &k->answer,
                           status < 400 ? error : NULL);
        if (status >= 400)
                return refusal(k, status, error);
        if (r == -ENOMEM)
                return r;
        if (r < 0 || status < 200 || status > 299) {
                bth_error_at(error, k->socket, 0, BTH_ERROR_NO_OFFSET);
                return bth_error_set(error, -EBADMSG, BTH_REASON_SYNTAX,
                                     "what listens there gives no answer of a station (HTTP "
                                     "status %ld)",
                                     status);
        }
        return 0;
}

/* libcurl takes 0 for: for ever. */
static long wait_of(const struct ctl_ask *ask)
{
        if (ask->wait_msec == CTL_WAIT_FOREVER)
                return 0;
        return ask->wait_msec > 0 ? ask->wait_msec : ANSWER_MSEC;
}

static bool is_get(const struct ctl_ask *ask)
{
        return strcmp(ctl_request_method(ask->request), "GET") == 0;
}

static bool set_up(struct ctl_client *k, const struct ctl_ask *ask, const char *url,
                   struct curl_slist *headers, struct bth_buf *answer)
{
        CURL *c = k->curl;

        /* Proxies of the environment are for the network; this is none. What changes something is
         * sent once: on a connection that was used before, libcurl would send it again when that
         * one breaks. */
        return curl_easy_setopt(c, CURLOPT_URL, url) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, k->socket) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http") == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, is_get(ask) ? 0L : 1L) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_USERAGENT, "berthctl/" BERTH_VERSION) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, ctl_request_method(ask->request)) ==
                       CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MSEC) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, wait_of(ask)) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_answer) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_WRITEDATA, answer) == CURLE_OK;
}

/* Without one its length is told all the same: 0. */
static bool set_body(CURL *c, const char *body, size_t n)
{
        return curl_easy_setopt(c, CURLOPT_POST, 1L) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)n) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_POSTFIELDS, body ? body : "") == CURLE_OK;
}

static int exchange(struct ctl_client *k, const struct ctl_ask *ask, const char *body, size_t n,
                    struct bth_error *error)
{
        _cleanup_buf_ struct bth_buf url = BTH_BUF_INIT, answer = BTH_BUF_INIT;
        struct curl_slist *headers, *more;
        CURLcode code = CURLE_OUT_OF_MEMORY;
        int r = make_url(k->curl, ask, &url);

        if (r < 0)
                return r;
        headers = curl_slist_append(NULL, "Expect:");
        more = headers ? curl_slist_append(headers, "Content-Type: application/json") : NULL;
        if (more && (is_get(ask) || set_body(k->curl, body, n)) &&
            set_up(k, ask, url.data, headers, &answer))
                code = curl_easy_perform(k->curl);
        r = code == CURLE_OK ? judge(k, &answer, error) : no_station(k, code, error);
        curl_easy_reset(k->curl);
        curl_slist_free_all(headers);
        return r;
}

static int send_request(struct ctl_client *k, const struct ctl_ask *ask, json_t **ret_answer,
                        struct bth_error *error)
{
        _cleanup_free_ char *body = NULL;
        const char *text = ask->text ? ask->text->data : NULL;
        int r;

        json_decref(k->answer);
        k->answer = NULL;
        if (ask->target && ask->target[0] == '\0')
                return bth_error_set(error, -EINVAL, BTH_REASON_USAGE, "a name is empty");
        if (strlen(k->socket) >= sizeof((struct sockaddr_un){ 0 }).sun_path)
                return bth_error_set(error, -EINVAL, BTH_REASON_USAGE,
                                     "the path of the socket is too long");
        if (ask->body || ask->has_body) {
                body = ask->body ? bth_json_to_text(ask->body) : NULL;
                if (!body)
                        return bth_error_set(error, -EINVAL, BTH_REASON_NOT_TEXT,
                                             "what was given is not UTF-8 text");
                text = body;
        }
        if (!connection(k))
                return -ENOMEM;
        r = exchange(k, ask, text, ask->text ? ask->text->length : text ? strlen(text) : 0, error);
        if (r >= 0 && ret_answer)
                *ret_answer = k->answer;
        return r;
}

int ctl_client_send(struct ctl_client *k, const struct ctl_ask *ask, json_t **ret_answer,
                    struct bth_error *error)
{
        struct bth_error own = BTH_ERROR_INIT;
        int r = send_request(k, ask, ret_answer, error ? error : &own);

        /* The libraries below are silent about memory. */
        if (r < 0 && (error ? error : &own)->code == 0)
                (void)bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY,
                                    "there is no memory to ask the station");
        return r;
}

/* ---- for people ---- */

static enum ctl_exit exit_of(int r)
{
        switch (r) {
        case -EINVAL:
        case -EFBIG:
                return CTL_EXIT_USAGE;
        case -ENOENT:
        case -EPERM:
        case -EAGAIN:
                return CTL_EXIT_FINDINGS;
        case -EACCES:
                return CTL_EXIT_REFUSED;
        default:
                return CTL_EXIT_FAILED;
        }
}

static void report_answer(struct ctl_client *k)
{
        json_decref(k->context->report);
        k->context->report = json_incref(k->answer);
}

enum ctl_exit ctl_client_fail(struct ctl_client *k, const struct bth_error *error)
{
        ctl_fail(k->context, error);
        if (json_object_get(k->answer, "error"))
                report_answer(k);
        return exit_of(error->code);
}

static enum ctl_exit tell_only(struct ctl_client *k, const struct ctl_ask *ask)
{
        ctl_say(k->context, "Would ask the station: %s %s%s%s", ctl_request_method(ask->request),
                ctl_request_path(ask->request), ask->target ? " for " : "",
                ask->target ? ask->target : "");
        ctl_report(k->context, "method", json_string(ctl_request_method(ask->request)));
        ctl_report(k->context, "path", json_string(ctl_request_path(ask->request)));
        if (ask->target)
                ctl_report(k->context, "target", json_string(ask->target));
        return CTL_EXIT_OK;
}

enum ctl_exit ctl_client_ask(struct ctl_client *k, const struct ctl_ask *ask, json_t **ret_answer)
{
        struct bth_error error = BTH_ERROR_INIT;
        int r;

        if (ret_answer)
                *ret_answer = NULL;
        if (k->context->dry_run && !is_get(ask))
                return tell_only(k, ask);
        r = ctl_client_send(k, ask, ret_answer, &error);
        if (r < 0)
                return ctl_client_fail(k, &error);
        report_answer(k);
        return CTL_EXIT_OK;
}

enum ctl_exit ctl_client_act(struct ctl_client *k, const struct ctl_ask *ask)
{
        json_t *answer;
        const char *sentence;
        char text[1024];
        enum ctl_exit code = ctl_client_ask(k, ask, &answer);

        if (code != CTL_EXIT_OK || !answer || k->context->quiet)
                return code;
        sentence = member(answer, "sentence");
        if (sentence)
                ctl_say(k->context, "%s",
                        bth_escape(sentence, strlen(sentence), text, sizeof text));
        return code;
}

int ctl_json_add_string(struct bth_buf *b, const char *text, size_t n)
{
        /* At once, so that a secret is not moved around in memory while it grows. */
        int r = bth_buf_reserve(b, n + 2);

        if (r >= 0)
                r = bth_buf_add(b, "\"", 1);
        for (size_t i = 0, run = 0; r >= 0 && i <= n; i++) {
                const unsigned char c = i < n ? (unsigned char)text[i] : '"';

                if (c >= 0x20 && c != '"' && c != '\\')
                        continue;
                r = bth_buf_add(b, text + run, i - run);
                run = i + 1;
                if (r >= 0 && i < n)
                        r = bth_buf_add_format(b, "\\u%04x", c);
        }
        return r < 0 ? r : bth_buf_add(b, "\"", 1);
}
