/* SPDX-License-Identifier: GPL-3.0-or-later */
/* url - see url.h. */
#include "uploader/url.h"

#include <string.h>

#define URL_MAX_BYTES      2048
#define ACCOUNT_MIN_LENGTH 3
#define ACCOUNT_MAX_LENGTH 24

static bool is_unreserved(unsigned char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '.' || c == '_' || c == '~';
}

/* Would a path parser change it: an empty, "." or ".." segment anywhere? */
static bool is_fragile(const char *name)
{
        const char *segment = name;

        for (;;) {
                size_t n = strcspn(segment, "/");

                if (n == 0 || (n == 1 && segment[0] == '.') ||
                    (n == 2 && segment[0] == '.' && segment[1] == '.'))
                        return true;
                if (segment[n] == '\0')
                        return false;
                segment += n + 1;
        }
}

static int add_encoded(struct bth_buf *url, const char *text, bool keep_slash)
{
        static const char digits[] = "0123456789ABCDEF";
        size_t n = strlen(text);
        int r = bth_buf_reserve(url, n * 3 + 1);
        char *out;

        if (r < 0)
                return r;
        out = url->data + url->length;
        for (size_t i = 0; i < n; i++) {
                const unsigned char c = (unsigned char)text[i];

                if (is_unreserved(c) || (keep_slash && c == '/')) {
                        *out++ = (char)c;
                        continue;
                }
                *out++ = '%';
                *out++ = digits[c >> 4];
                *out++ = digits[c & 15];
        }
        *out = '\0';
        url->length = (size_t)(out - url->data);
        return 0;
}

int upl_url_add_name(struct bth_buf *url, const char *name)
{
        return add_encoded(url, name, !is_fragile(name));
}

int upl_url_add_value(struct bth_buf *url, const char *value)
{
        return add_encoded(url, value, false);
}

void upl_endpoint_clear(struct upl_endpoint *e)
{
        free(e->base);
        free(e->path);
        *e = (struct upl_endpoint){ 0 };
}

static int endpoint_make(const char *base, size_t base_n, const char *path, bool tls,
                         struct upl_endpoint *ret_endpoint)
{
        struct upl_endpoint e = { .tls = tls };
        size_t n = strlen(path);

        while (n > 0 && path[n - 1] == '/')
                n--;
        e.base = strndup(base, base_n);
        e.path = strndup(path, n);
        if (!e.base || !e.path) {
                upl_endpoint_clear(&e);
                return -ENOMEM;
        }
        *ret_endpoint = e;
        return 0;
}

int upl_endpoint_parse(const char *text, bool allow_plain, struct upl_endpoint *ret_endpoint,
                       struct bth_error *error)
{
        bool tls = bth_starts_with(text, "https://");
        const char *host, *path;

        if (strlen(text) > URL_MAX_BYTES)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "the endpoint is longer than %d bytes", URL_MAX_BYTES);
        if (!tls && !(allow_plain && bth_starts_with(text, "http://")))
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "the endpoint '%s' does not begin with https://", text);
        host = strstr(text, "://") + 3;
        path = host + strcspn(host, "/");
        if (path == host || strpbrk(text, "?#@\\ ") || strstr(path, "//"))
                return bth_error_set(
                        error, -EINVAL, BTH_REASON_VALUE_INVALID,
                        "the endpoint '%s' is not of the form https://host[:port][/path]", text);
        for (const char *c = text; *c; c++)
                if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f)
                        return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                             "the endpoint '%s' has characters outside ASCII",
                                             text);
        return endpoint_make(text, (size_t)(path - text), path, tls, ret_endpoint);
}

bool upl_account_valid(const char *account)
{
        size_t n = strlen(account);

        return n >= ACCOUNT_MIN_LENGTH && n <= ACCOUNT_MAX_LENGTH &&
               strspn(account, "abcdefghijklmnopqrstuvwxyz0123456789") == n;
}

int upl_endpoint_of_account(const char *account, struct upl_endpoint *ret_endpoint,
                            struct bth_error *error)
{
        char base[128] = "https://";

        if (!upl_account_valid(account))
                return bth_error_set(error, -EINVAL, BTH_REASON_NAME_INVALID,
                                     "'%s' is not the name of a storage account", account);
        (void)memccpy(base + 8, account, '\0', ACCOUNT_MAX_LENGTH + 1);
        (void)memccpy(base + strlen(base), ".blob.core.windows.net", '\0', 32);
        return endpoint_make(base, strlen(base), "", true, ret_endpoint);
}
