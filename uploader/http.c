/* SPDX-License-Identifier: GPL-3.0-or-later */
/* http - headers and the calls through the transport table; see http.h. */
#include "uploader/http.h"

#include <string.h>

#include "base/secret.h"

#define HEADERS_AT_ONCE 16u

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
static bool header_valid(const char *name, size_t n_name, const char *value, size_t n_value)
{
        for (size_t i = 0; i < n_name; i++)
                if (name[i] <= ' ' || name[i] == ':' || (unsigned char)name[i] >= 0x7f)
                        return false;
        for (size_t i = 0; i < n_value; i++)
                if (((unsigned char)value[i] < ' ' && value[i] != '\t') || value[i] == 0x7f)
                        return false;
        return n_name > 0;
}

static struct upl_header *find(const struct upl_headers *h, const char *name, size_t n)
{
        for (size_t i = 0; i < h->n; i++)
                if (bth_ascii_ncasecmp(h->items[i].name, name, n) == 0 &&
                    h->items[i].name[n] == '\0')
                        return &h->items[i];
        return NULL;
}

static void header_clear(struct upl_header *h)
{
        bth_wipe(h->value, strlen(h->value));
        free(h->name);
}

static int make_room(struct upl_headers *h)
{
        struct upl_header *grown;

        if (h->n >= UPL_HEADERS_MAX)
                return -E2BIG;
        if (h->n < h->allocated)
                return 0;
        grown = reallocarray(h->items, h->allocated + HEADERS_AT_ONCE, sizeof *grown);
        if (!grown)
                return -ENOMEM;
        h->items = grown;
        h->allocated += HEADERS_AT_ONCE;
        return 0;
}

int upl_headers_set_n(struct upl_headers *h, const char *name, size_t n_name, const char *value,
                      size_t n_value)
{
        struct upl_header *old, made;
        int r;

        if (!header_valid(name, n_name, value, n_value))
                return -EINVAL;
        old = find(h, name, n_name);
        r = old ? 0 : make_room(h);
        if (r < 0)
                return r;
        made.name = malloc(n_name + n_value + 2);
        if (!made.name)
                return -ENOMEM;
        made.value = made.name + n_name + 1;
        memcpy(made.name, name, n_name);
        made.name[n_name] = '\0';
        memcpy(made.value, value, n_value);
        made.value[n_value] = '\0';
        if (old) {
                header_clear(old);
                *old = made;
        } else
                h->items[h->n++] = made;
        return 0;
}

int upl_headers_set(struct upl_headers *h, const char *name, const char *value)
{
        return upl_headers_set_n(h, name, strlen(name), value, strlen(value));
}

const char *upl_headers_get(const struct upl_headers *h, const char *name)
{
        const struct upl_header *found = find(h, name, strlen(name));

        return found ? found->value : NULL;
}

void upl_headers_clear(struct upl_headers *h)
{
        for (size_t i = 0; i < h->n; i++)
                header_clear(&h->items[i]);
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
