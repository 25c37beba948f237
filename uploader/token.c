/* SPDX-License-Identifier: GPL-3.0-or-later */
/* token - see token.h. */
#include "uploader/token.h"

#include <string.h>

#include "base/json.h"
#include "base/time.h"
#include "uploader/http.h"
#include "uploader/url.h"

#define IDENTITY_PATH       "/metadata/identity/oauth2/token?api-version=2018-02-01&resource="
#define ANSWER_MAX_BYTES    ((size_t)64 << 10)
#define ANSWER_WAIT_USEC    (10 * BTH_USEC_PER_SEC)
#define RENEW_UNKNOWN_USEC  (600 * BTH_USEC_PER_SEC)
#define RENEW_SHORTEST_USEC (30 * BTH_USEC_PER_SEC)
#define EXPIRY_MAX_SEC      UINT64_C(253402300799) /* the year 9999 */

void upl_token_clear(struct upl_token *t)
{
        (void)bth_secret_free(t->text);
        *t = (struct upl_token){ 0 };
}

/* The middle part of a JWT is base64url of JSON with "exp". Anything else has no known expiry. */
static uint64_t expiry_of(const char *token, size_t n)
{
        const char *first = memchr(token, '.', n), *second;
        _cleanup_json_ json_t *json = NULL;
        _cleanup_free_ char *text = NULL;
        uint64_t seconds = 0;
        size_t length, decoded = 0;

        second = first ? memchr(first + 1, '.', n - (size_t)(first + 1 - token)) : NULL;
        if (!second)
                return 0;
        length = (size_t)(second - first - 1);
        text = calloc(length + 4, 1);
        if (!text)
                return 0;
        for (size_t i = 0; i < length; i++)
                text[i] = first[1 + i] == '-' ? '+' : first[1 + i] == '_' ? '/' : first[1 + i];
        while (length % 4 != 0)
                text[length++] = '=';
        /* Decoding in place: the output never overtakes the input. */
        if (bth_base64_decode(text, length, text, &decoded) < 0 ||
            bth_json_parse(text, decoded, &json, NULL) < 0 ||
            bth_json_get_u64(json, "exp", &seconds) < 0 || seconds > EXPIRY_MAX_SEC)
                return 0;
        return seconds * BTH_USEC_PER_SEC;
}

static bool is_token(const char *text, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (text[i] <= ' ' || text[i] >= 0x7f)
                        return false;
        return n > 0 && n <= UPL_TOKEN_MAX_BYTES;
}

int upl_token_from_file(const char *path, struct upl_token *ret_token, struct bth_error *error)
{
        struct bth_secret *text = NULL;
        int r = bth_secret_new_from_file(path, UPL_TOKEN_MAX_BYTES, true, &text);

        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE,
                                     "the bearer token cannot be read: %s", bth_strerror(r));
        if (!is_token((const char *)text->data, text->length_bytes)) {
                (void)bth_secret_free(text);
                return bth_error_set(error, -EINVAL, BTH_REASON_KEY_MALFORMED,
                                     "the file holds no bearer token");
        }
        *ret_token = (struct upl_token){
                .text = text,
                .expires_usec = expiry_of((const char *)text->data, text->length_bytes),
        };
        return 0;
}

/* "expires_on" is a number in a string, and in some versions a number. */
static uint64_t answer_expiry(const json_t *json)
{
        const char *text;
        uint64_t seconds;

        if (bth_json_get_string(json, "expires_on", &text) == 0) {
                if (bth_parse_u64(text, &seconds) < 0)
                        return 0;
        } else if (bth_json_get_u64(json, "expires_on", &seconds) < 0)
                return 0;
        return seconds <= EXPIRY_MAX_SEC ? seconds * BTH_USEC_PER_SEC : 0;
}

int upl_token_from_answer(const char *json_text, size_t n, struct upl_token *ret_token,
                          struct bth_error *error)
{
        _cleanup_json_ json_t *json = NULL;
        struct upl_token token = { 0 };
        const char *text;
        int r;

        r = bth_json_parse(json_text, n, &json, NULL);
        if (r == -ENOMEM)
                return r;
        if (r < 0 || bth_json_get_string(json, "access_token", &text) < 0 ||
            !is_token(text, strlen(text)))
                return bth_error_set(error, -EBADMSG, BTH_REASON_CREDENTIALS,
                                     "the managed identity's answer has no token");
        r = bth_secret_new_copy(text, strlen(text), &token.text);
        token.expires_usec = answer_expiry(json);
        bth_wipe((char *)(uintptr_t)text, strlen(text));
        if (r == 0)
                *ret_token = token;
        return r;
}

static void on_answer(struct upl_exchange *x)
{
        *(bool *)x->userdata = true;
}

/* One exchange on a transport of its own, which no proxy may see. */
static int ask(const char *url, struct upl_exchange *x)
{
        static const struct upl_http_options options = { .connect_timeout_sec = 5,
                                                         .stall_timeout_sec = 10 };
        _cleanup_(upl_http_freep) struct upl_http *http = NULL;
        uint64_t until = bth_now_monotonic_usec() + ANSWER_WAIT_USEC;
        struct upl_headers headers = { 0 };
        bool finished = false;
        int r;

        x->url = url;
        x->headers = &headers;
        x->max_answer_bytes = ANSWER_MAX_BYTES;
        x->done = on_answer;
        x->userdata = &finished;
        r = upl_headers_set(&headers, "Metadata", "true");
        if (r == 0)
                r = upl_http_curl_new(&options, &http);
        if (r == 0)
                r = upl_http_submit(http, x);
        while (r == 0 && !finished) {
                uint64_t now = bth_now_monotonic_usec();

                r = now < until ? upl_http_run(http, until - now) : -ETIMEDOUT;
        }
        if (r < 0 && http)
                upl_http_cancel(http, x);
        upl_headers_clear(&headers);
        return r < 0 ? r : x->result;
}

int upl_token_from_identity(const char *base, const char *client_id, struct upl_token *ret_token,
                            struct bth_error *error)
{
        _cleanup_buf_ struct bth_buf url = BTH_BUF_INIT;
        struct upl_exchange x = { .method = UPL_METHOD_GET };
        int r = bth_buf_add_format(&url, "%s" IDENTITY_PATH, base ? base : UPL_TOKEN_IDENTITY);

        if (r == 0)
                r = upl_url_add_value(&url, UPL_TOKEN_RESOURCE);
        if (r == 0 && client_id) {
                r = bth_buf_add_string(&url, "&client_id=");
                if (r == 0)
                        r = upl_url_add_value(&url, client_id);
        }
        if (r < 0)
                return r;
        r = ask(url.data, &x);
        if (r < 0)
                r = bth_error_set(error, r, BTH_REASON_CREDENTIALS,
                                  "the managed identity does not answer: %s", bth_strerror(r));
        else if (x.status != 200)
                r = bth_error_set(error, -EACCES, BTH_REASON_CREDENTIALS,
                                  "the managed identity gives no token (status %u)", x.status);
        else
                r = upl_token_from_answer(x.content.data ? x.content.data : "", x.content.length,
                                          ret_token, error);
        if (x.content.data)
                bth_wipe(x.content.data, x.content.length);
        upl_exchange_reset(&x);
        return r;
}

uint64_t upl_token_renew_at(const struct upl_token *t, uint64_t now_usec)
{
        uint64_t left;

        if (t->expires_usec == 0)
                return now_usec + RENEW_UNKNOWN_USEC;
        left = t->expires_usec > now_usec ? t->expires_usec - now_usec : 0;
        if (left > 2 * UPL_TOKEN_EARLY_USEC)
                return t->expires_usec - UPL_TOKEN_EARLY_USEC;
        return now_usec + MAX(left / 2, RENEW_SHORTEST_USEC);
}
