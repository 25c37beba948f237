/* SPDX-License-Identifier: GPL-3.0-or-later */
/* token - OAuth 2.0 access tokens for the blob service, from a file or from the managed identity of
 * the machine, and when to fetch the next.
 * Source: Azure Instance Metadata Service, "Get a token using HTTP"; RFC 7519 (exp). */
#pragma once

#include "base/error.h"
#include "base/secret.h"
#include "base/str.h"

#define UPL_TOKEN_MAX_BYTES  32768u
#define UPL_TOKEN_IDENTITY   "http://169.254.169.254"
#define UPL_TOKEN_RESOURCE   "https://storage.azure.com/"
#define UPL_TOKEN_EARLY_USEC (300 * UINT64_C(1000000)) /* renewed that long before it expires */

struct upl_token {
        struct bth_secret *text;
        uint64_t expires_usec; /* by the real-time clock; 0: not known */
};
void upl_token_clear(struct upl_token *t);

/* A file with the token alone in it, closed to others; its time of expiry is read from the token
 * where it is a JWT. Returns 0, -EINVAL when it is no token, and as bth_secret_new_from_file(). */
int upl_token_from_file(const char *path, struct upl_token *ret_token, struct bth_error *error)
        _must_check_;

/* The metadata service's answer: {"access_token": …, "expires_on": …}. The text is not kept.
 * Returns 0, -EBADMSG, -ENOMEM. */
int upl_token_from_answer(const char *json, size_t n, struct upl_token *ret_token,
                          struct bth_error *error) _must_check_;

/* Asks the managed identity, over plain HTTP on the link-local address (`base` replaces it for
 * tests). `client_id` picks a user-assigned identity; NULL: the machine's only one. Blocks for 10
 * seconds at most. Returns 0, -EACCES when it refuses, -EBADMSG, the transport's errno, -ENOMEM. */
int upl_token_from_identity(const char *base, const char *client_id, struct upl_token *ret_token,
                            struct bth_error *error) _must_check_;

/* When a token is to be renewed: early enough, but not at once again when it lives shortly. */
uint64_t upl_token_renew_at(const struct upl_token *t, uint64_t now_usec);
