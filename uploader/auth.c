/* SPDX-License-Identifier: GPL-3.0-or-later */
/* auth - see auth.h. */
#include "uploader/auth.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#define KEY_MAX_BYTES   256u
#define TOKEN_MAX_BYTES 32768u
#define HMAC_BYTES      32u

struct upl_credential {
        char *account; /* constant */
        enum upl_credential_kind kind;
        pthread_mutex_t lock;      /* over the two below; nothing is locked while it is held */
        struct bth_secret *secret; /* the decoded key, the SAS without '?', the token */
        uint64_t generation;
};

static const char *const kind_names[_UPL_CREDENTIAL_MAX] = {
        [UPL_CREDENTIAL_NONE] = "none",
        [UPL_CREDENTIAL_KEY] = "key",
        [UPL_CREDENTIAL_SAS] = "sas",
        [UPL_CREDENTIAL_BEARER] = "bearer",
};

const char *upl_credential_kind_to_string(enum upl_credential_kind k)
{
        return k >= 0 && k < _UPL_CREDENTIAL_MAX ? kind_names[k] : NULL;
}

enum upl_credential_kind upl_credential_kind_from_string(const char *name)
{
        for (enum upl_credential_kind k = 0; k < _UPL_CREDENTIAL_MAX; k++)
                if (bth_streq(kind_names[k], name))
                        return k;
        return _UPL_CREDENTIAL_INVALID;
}

static int decode_key(const struct bth_secret *secret, struct bth_secret **ret_secret,
                      struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *key = NULL;
        size_t n = 0;
        int r;

        if (secret->length_bytes > KEY_MAX_BYTES)
                return bth_error_set(error, -EINVAL, BTH_REASON_KEY_MALFORMED,
                                     "the account key is longer than %u characters", KEY_MAX_BYTES);
        r = bth_secret_new(secret->length_bytes, &key);
        if (r < 0)
                return r;
        if (bth_base64_decode((const char *)secret->data, secret->length_bytes, key->data, &n) <
                    0 ||
            n == 0)
                return bth_error_set(error, -EINVAL, BTH_REASON_KEY_MALFORMED,
                                     "the account key is not base64");
        bth_secret_truncate(key, n);
        *ret_secret = take_ptr(key);
        return 0;
}

/* A SAS or a token goes into a line of the request: visible ASCII only. */
static int copy_token(const struct bth_secret *secret, bool sas, struct bth_secret **ret_secret,
                      struct bth_error *error)
{
        const char *what = sas ? "SAS" : "bearer token";
        const uint8_t *data = secret->data;
        size_t n = secret->length_bytes;

        if (sas && n > 0 && data[0] == '?') {
                data++;
                n--;
        }
        if (n == 0 || n > TOKEN_MAX_BYTES)
                return bth_error_set(error, -EINVAL, BTH_REASON_KEY_MALFORMED,
                                     "the %s is empty or longer than %u characters", what,
                                     TOKEN_MAX_BYTES);
        for (size_t i = 0; i < n; i++)
                if (data[i] <= ' ' || data[i] >= 0x7f || (sas && data[i] == '#'))
                        return bth_error_set(error, -EINVAL, BTH_REASON_KEY_MALFORMED,
                                             "the %s has a character that cannot be in one", what);
        if (sas && !memmem(data, n, "sig=", 4))
                return bth_error_set(error, -EINVAL, BTH_REASON_KEY_MALFORMED,
                                     "the SAS has no signature");
        return bth_secret_new_copy(data, n, ret_secret);
}

static int prepare(enum upl_credential_kind kind, const struct bth_secret *secret,
                   struct bth_secret **ret_secret, struct bth_error *error)
{
        if (kind == UPL_CREDENTIAL_NONE)
                return 0;
        if (!secret)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING,
                                     "the credential is missing");
        if (kind == UPL_CREDENTIAL_KEY)
                return decode_key(secret, ret_secret, error);
        return copy_token(secret, kind == UPL_CREDENTIAL_SAS, ret_secret, error);
}

int upl_credential_new(enum upl_credential_kind kind, const char *account,
                       const struct bth_secret *secret, struct upl_credential **ret_credential,
                       struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *prepared = NULL;
        struct upl_credential *c;
        int r = prepare(kind, secret, &prepared, error);

        if (r < 0)
                return r;
        c = calloc(1, sizeof *c);
        if (!c)
                return -ENOMEM;
        c->kind = kind;
        c->account = strdup(account ? account : "");
        if (!c->account || pthread_mutex_init(&c->lock, NULL) != 0) {
                free(c->account);
                free(c);
                return -ENOMEM;
        }
        c->secret = take_ptr(prepared);
        c->generation = 1;
        *ret_credential = c;
        return 0;
}

int upl_credential_renew(struct upl_credential *c, const struct bth_secret *secret,
                         struct bth_error *error)
{
        return upl_credential_replace(c, c->kind, secret, error);
}

int upl_credential_replace(struct upl_credential *c, enum upl_credential_kind kind,
                           const struct bth_secret *secret, struct bth_error *error)
{
        struct bth_secret *prepared = NULL, *old;
        int r = prepare(kind, secret, &prepared, error);

        if (r < 0)
                return r;
        (void)pthread_mutex_lock(&c->lock);
        old = c->secret;
        c->kind = kind;
        c->secret = prepared;
        c->generation++;
        (void)pthread_mutex_unlock(&c->lock);
        (void)bth_secret_free(old);
        return 0;
}

struct upl_credential *upl_credential_free(struct upl_credential *c)
{
        if (!c)
                return NULL;
        (void)bth_secret_free(c->secret);
        (void)pthread_mutex_destroy(&c->lock);
        free(c->account);
        free(c);
        return NULL;
}

uint64_t upl_credential_generation(struct upl_credential *c)
{
        uint64_t generation;

        (void)pthread_mutex_lock(&c->lock);
        generation = c->generation;
        (void)pthread_mutex_unlock(&c->lock);
        return generation;
}

int upl_request_path(const struct upl_endpoint *endpoint, const struct upl_request *request,
                     struct bth_buf *path)
{
        int r = bth_buf_add_string(path, endpoint->path);

        if (r == 0)
                r = bth_buf_add_string(path, "/");
        if (r == 0 && request->container)
                r = upl_url_add_name(path, request->container);
        if (r == 0 && request->blob) {
                r = bth_buf_add_string(path, "/");
                if (r == 0)
                        r = upl_url_add_name(path, request->blob);
        }
        return r;
}

static int compare_headers(const void *a, const void *b)
{
        const struct upl_header *const *x = a, *const *y = b;

        return strcasecmp((*x)->name, (*y)->name);
}

static int add_lower(struct bth_buf *text, const char *name)
{
        size_t from = text->length;
        int r = bth_buf_add_string(text, name);

        for (size_t i = from; i < text->length; i++)
                if (text->data[i] >= 'A' && text->data[i] <= 'Z')
                        text->data[i] = (char)(text->data[i] + 32);
        return r;
}

/* Every x-ms- header: name in lower case, value with its line ends and outer blanks gone. */
static int add_canonical_headers(struct bth_buf *text, const struct upl_headers *headers)
{
        const struct upl_header *sorted[UPL_HEADERS_MAX];
        size_t n = 0;
        int r = 0;

        for (size_t i = 0; i < headers->n && n < ARRAY_SIZE(sorted); i++)
                if (strncasecmp(headers->items[i].name, "x-ms-", 5) == 0)
                        sorted[n++] = &headers->items[i];
        qsort(sorted, n, sizeof sorted[0], compare_headers);
        for (size_t i = 0; i < n && r == 0; i++) {
                const char *value = sorted[i]->value + strspn(sorted[i]->value, " \t");
                size_t length = strlen(value);

                while (length > 0 && (value[length - 1] == ' ' || value[length - 1] == '\t'))
                        length--;
                r = add_lower(text, sorted[i]->name);
                if (r == 0)
                        r = bth_buf_add_string(text, ":");
                if (r == 0)
                        r = bth_buf_add(text, value, length);
                if (r == 0)
                        r = bth_buf_add_string(text, "\n");
        }
        return r;
}

static int compare_params(const void *a, const void *b)
{
        const struct upl_param *const *x = a, *const *y = b;

        return strcmp((*x)->name, (*y)->name);
}

static int add_canonical_resource(struct bth_buf *text, const char *account,
                                  const struct upl_endpoint *endpoint,
                                  const struct upl_request *request)
{
        const struct upl_param *sorted[UPL_REQUEST_MAX_PARAMS];
        int r = bth_buf_add_format(text, "/%s", account);

        if (r == 0)
                r = upl_request_path(endpoint, request, text);
        for (size_t i = 0; i < request->n_params; i++)
                sorted[i] = &request->params[i];
        qsort(sorted, request->n_params, sizeof sorted[0], compare_params);
        for (size_t i = 0; i < request->n_params && r == 0; i++)
                r = bth_buf_add_format(text, "\n%s:%s", sorted[i]->name, sorted[i]->value);
        return r;
}

int upl_shared_key_text(const char *account, const struct upl_endpoint *endpoint,
                        const struct upl_request *request, uint64_t content_length,
                        const struct upl_headers *headers, struct bth_buf *ret_text)
{
        /* NULL stands for Content-Length, which is empty when it is 0. Date stays empty, because
         * x-ms-date is there. */
        static const char *const signed_headers[] = {
                "Content-Encoding",
                "Content-Language",
                NULL,
                "Content-MD5",
                "Content-Type",
                "Date",
                "If-Modified-Since",
                "If-Match",
                "If-None-Match",
                "If-Unmodified-Since",
                "Range",
        };
        int r = bth_buf_add_format(ret_text, "%s\n", upl_method_to_string(request->method));

        for (size_t i = 0; i < ARRAY_SIZE(signed_headers) && r == 0; i++) {
                const char *value =
                        signed_headers[i] ? upl_headers_get(headers, signed_headers[i]) : NULL;

                if (!signed_headers[i] && content_length > 0)
                        r = bth_buf_add_format(ret_text, "%" PRIu64, content_length);
                else if (value)
                        r = bth_buf_add_string(ret_text, value);
                if (r == 0)
                        r = bth_buf_add_string(ret_text, "\n");
        }
        if (r == 0)
                r = add_canonical_headers(ret_text, headers);
        if (r == 0)
                r = add_canonical_resource(ret_text, account, endpoint, request);
        return r;
}

static int sign_shared_key(const struct upl_credential *c, const struct upl_endpoint *endpoint,
                           const struct upl_request *request, uint64_t content_length,
                           struct upl_headers *headers)
{
        _cleanup_buf_ struct bth_buf text = BTH_BUF_INIT, line = BTH_BUF_INIT;
        uint8_t mac[HMAC_BYTES];
        char mac_text[BTH_BASE64_LENGTH(HMAC_BYTES) + 1];
        unsigned mac_bytes = sizeof mac;
        int r = upl_shared_key_text(c->account, endpoint, request, content_length, headers, &text);

        if (r < 0)
                return r;
        if (!HMAC(EVP_sha256(), c->secret->data, (int)c->secret->length_bytes,
                  (const uint8_t *)text.data, text.length, mac, &mac_bytes) ||
            mac_bytes != sizeof mac)
                return -EIO;
        r = bth_buf_add_format(&line, "SharedKey %s:%s", c->account,
                               bth_base64_encode(mac, sizeof mac, mac_text));
        return r < 0 ? r : upl_headers_set(headers, "Authorization", line.data);
}

static int sign_bearer(const struct upl_credential *c, struct upl_headers *headers)
{
        _cleanup_buf_ struct bth_buf line = BTH_BUF_INIT;
        int r = bth_buf_add_format(&line, "Bearer %s", (const char *)c->secret->data);

        if (r < 0)
                return r;
        r = upl_headers_set(headers, "Authorization", line.data);
        bth_wipe(line.data, line.length);
        return r;
}

static int sign_sas(const struct upl_credential *c, struct bth_buf *url)
{
        int r = bth_buf_add_string(url, strchr(url->data, '?') ? "&" : "?");

        return r < 0 ? r : bth_buf_add(url, c->secret->data, c->secret->length_bytes);
}

int upl_credential_sign(struct upl_credential *c, const struct upl_endpoint *endpoint,
                        const struct upl_request *request, uint64_t content_length,
                        struct upl_headers *headers, struct bth_buf *url)
{
        int r = 0;

        (void)pthread_mutex_lock(&c->lock);
        switch (c->kind) {
        case UPL_CREDENTIAL_KEY:
                r = sign_shared_key(c, endpoint, request, content_length, headers);
                break;
        case UPL_CREDENTIAL_SAS:
                r = sign_sas(c, url);
                break;
        case UPL_CREDENTIAL_BEARER:
                r = sign_bearer(c, headers);
                break;
        case UPL_CREDENTIAL_NONE:
        default:
                break;
        }
        (void)pthread_mutex_unlock(&c->lock);
        return r;
}
