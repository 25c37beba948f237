/* SPDX-License-Identifier: GPL-3.0-or-later */
/* request - see request.h. */
#include "uploader/request.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_MAX_ANSWER_BYTES ((size_t)256 << 10)

int upl_request_init(struct upl_request *r, enum upl_method method, const char *container,
                     const char *blob)
{
        *r = (struct upl_request){ .method = method, .max_answer_bytes = DEFAULT_MAX_ANSWER_BYTES };
        if (container)
                r->container = strdup(container);
        if (blob)
                r->blob = strdup(blob);
        if ((container && !r->container) || (blob && !r->blob)) {
                upl_request_clear(r);
                return -ENOMEM;
        }
        return 0;
}

int upl_request_param(struct upl_request *r, const char *name, const char *value)
{
        char *copy;

        if (r->n_params >= UPL_REQUEST_MAX_PARAMS)
                return -E2BIG;
        copy = strdup(value);
        if (!copy)
                return -ENOMEM;
        r->params[r->n_params++] = (struct upl_param){ .name = name, .value = copy };
        return 0;
}

int upl_request_header(struct upl_request *r, const char *name, const char *value)
{
        return value ? upl_headers_set(&r->headers, name, value) : 0;
}

int upl_request_header_u64(struct upl_request *r, const char *name, uint64_t value)
{
        char text[24];

        (void)snprintf(text, sizeof text, "%" PRIu64, value);
        return upl_headers_set(&r->headers, name, text);
}

void upl_request_clear(struct upl_request *r)
{
        free(r->container);
        free(r->blob);
        for (size_t i = 0; i < r->n_params; i++)
                free(r->params[i].value);
        upl_headers_clear(&r->headers);
        bth_buf_clear(&r->own_body);
        *r = (struct upl_request){ 0 };
}
