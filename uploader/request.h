/* SPDX-License-Identifier: GPL-3.0-or-later */
/* request - one operation of the Blob service before it is signed: what stays the same over all its
 * attempts. Builders for the operations are in uploader/blob.h. Belongs to one thread at a time.
 * Source: Blob service REST API, version 2021-12-02 and later. */
#pragma once

#include "uploader/http.h"

#define UPL_REQUEST_MAX_PARAMS 12

struct upl_param {
        const char *name; /* a literal: lower case, letters and dashes */
        char *value;      /* plain text */
};

struct upl_request {
        enum upl_method method;
        char *container; /* NULL: the account itself */
        char *blob;      /* NULL: the container */
        struct upl_param params[UPL_REQUEST_MAX_PARAMS];
        size_t n_params;
        struct upl_headers headers;
        struct upl_body body;    /* `data` is borrowed, unless it is `own_body` */
        struct bth_buf own_body; /* XML that a builder made */
        size_t max_answer_bytes;
        int (*receive)(void *userdata, const void *data, size_t n);
        /* Called before each attempt, so that a streamed body or answer begins anew. A negative
         * errno ends the call. */
        int (*rewind)(void *userdata);
        void *userdata; /* of body.read, receive and rewind */
};

/* Begins a request. `container` and `blob` may be NULL. Returns 0 or -ENOMEM. */
int upl_request_init(struct upl_request *r, enum upl_method method, const char *container,
                     const char *blob) _must_check_;
/* Adds a query parameter. Returns 0, -E2BIG, -ENOMEM. */
int upl_request_param(struct upl_request *r, const char *name, const char *value) _must_check_;
/* Sets a header; NULL value adds none. Returns 0 and the errors of upl_headers_set(). */
int upl_request_header(struct upl_request *r, const char *name, const char *value) _must_check_;
int upl_request_header_u64(struct upl_request *r, const char *name, uint64_t value) _must_check_;
void upl_request_clear(struct upl_request *r);
