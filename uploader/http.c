/* SPDX-License-Identifier: GPL-3.0-or-later */
/* http - headers and the calls through the transport table; see http.h. */
#include "uploader/http.h"

#include <string.h>

#include "base/secret.h"

const char *upl_method_to_string(enum upl_method m)
{
        static const char *const names[_UPL_METHOD_MAX] = {
                [UPL_METHOD_GET] = "GET",
                [UPL_METHOD_HEAD] = "HEAD",
                [UPL_METHOD_PUT] = "PUT",
                [UPL_METHOD_DELETE] = "DELETE",
        };

        return m >= 0 && m < _UPL_METHOD_MAX ? names[m] : NULL;
}

/* A header that could end its line early would let a metadata value write headers of its own. */
static bool header_valid(const char *name, const char *value)
{
        if (name[0] == '\0')
                return false;
        for (const char *c = name; *c; c++)
                if (*c <= ' ' || *c == ':' || (unsigned char)*c >= 0x7f)
                        return false;
        for (const char *c = value; *c; c++)
                if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
                        return false;
        return true;
}

static struct upl_header *find(const struct upl_headers *h, const char *name)
{
        for (size_t i = 0; i < h->n; i++)
                if (bth_ascii_casecmp(h->items[i].name, name) == 0)
                        return &h->items[i];
        return NULL;
}

static void value_free(char *value)
{
        if (value)
                bth_wipe(value, strlen(value));
        free(value);
}

int upl_headers_set(struct upl_headers *h, const char *name, const char *value)
{
        struct upl_header *old = find(h, name), *grown;
        char *new_name, *new_value;

        if (!header_valid(name, value))
                return -EINVAL;
        new_value = strdup(value);
        if (!new_value)
                return -ENOMEM;
        if (old) {
                value_free(old->value);
                old->value = new_value;
                return 0;
        }
        if (h->n >= UPL_HEADERS_MAX) {
                value_free(new_value);
                return -E2BIG;
        }
        new_name = strdup(name);
        grown = new_name ? reallocarray(h->items, h->n + 1, sizeof *h->items) : NULL;
        if (!grown) {
                free(new_name);
                value_free(new_value);
                return -ENOMEM;
        }
        h->items = grown;
        h->items[h->n++] = (struct upl_header){ .name = new_name, .value = new_value };
        return 0;
}

const char *upl_headers_get(const struct upl_headers *h, const char *name)
{
        const struct upl_header *found = find(h, name);

        return found ? found->value : NULL;
}

void upl_headers_clear(struct upl_headers *h)
{
        for (size_t i = 0; i < h->n; i++) {
                free(h->items[i].name);
                value_free(h->items[i].value);
        }
        free(h->items);
        *h = (struct upl_headers){ 0 };
}

void upl_exchange_reset(struct upl_exchange *x)
{
        x->result = 0;
        x->status = 0;
        x->sent_bytes = 0;
        x->held = false;
        x->cause[0] = '\0';
        upl_headers_clear(&x->answer);
        bth_buf_clear(&x->content);
}

int upl_http_submit(struct upl_http *h, struct upl_exchange *x)
{
        return h->ops->submit(h, x);
}

void upl_http_cancel(struct upl_http *h, struct upl_exchange *x)
{
        h->ops->cancel(h, x);
}

void upl_http_resume(struct upl_http *h, struct upl_exchange *x)
{
        if (h->ops->resume)
                h->ops->resume(h, x);
}

int upl_http_run(struct upl_http *h, uint64_t timeout_usec)
{
        return h->ops->run(h, timeout_usec);
}

void upl_http_wake(struct upl_http *h)
{
        if (h->ops->wake)
                h->ops->wake(h);
}

struct upl_http *upl_http_free(struct upl_http *h)
{
        if (h)
                h->ops->free(h);
        return NULL;
}
