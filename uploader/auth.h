/* SPDX-License-Identifier: GPL-3.0-or-later */
/* auth - an account's credential, which can be renewed while requests are under way.
 *
 *   account key   each request is signed: HMAC-SHA256 over method, headers and resource
 * ("SharedKey") SAS           account, service or container SAS: the token joins the query as it is
 *   bearer        OAuth 2.0 access token, read from a file or fetched from a managed identity
 *
 * A request takes the credential as it is at that moment; `generation` grows with each new one, so
 * that requests which wait for a better credential see it come. Any thread.
 * Source: Authorize with Shared Key (REST), Delegate access with SAS, Authorize with Microsoft
 * Entra ID; Azure Instance Metadata Service, managed identity. */
#pragma once

#include "base/secret.h"
#include "uploader/request.h"
#include "uploader/url.h"

enum upl_credential_kind {
        UPL_CREDENTIAL_NONE, /* public containers, and tests */
        UPL_CREDENTIAL_KEY,
        UPL_CREDENTIAL_SAS,
        UPL_CREDENTIAL_BEARER,
        _UPL_CREDENTIAL_MAX,
        _UPL_CREDENTIAL_INVALID = -EINVAL,
};

/* "key"; NULL outside the list. */
const char *upl_credential_kind_to_string(enum upl_credential_kind k);
/* The value or _UPL_CREDENTIAL_INVALID. */
enum upl_credential_kind upl_credential_kind_from_string(const char *name);

struct upl_credential;

/* `account` signs (key only). `secret` is copied: the key in base64, the SAS with or without its
 * leading '?', or the token; NULL for NONE.
 * Returns 0, -EINVAL with one sentence (never with the secret), -ENOMEM. */
int upl_credential_new(enum upl_credential_kind kind, const char *account,
                       const struct bth_secret *secret, struct upl_credential **ret_credential,
                       struct bth_error *error) _must_check_;
/* A new secret of the same kind; takes effect with the next request. Returns as above. */
int upl_credential_renew(struct upl_credential *c, const struct bth_secret *secret,
                         struct bth_error *error) _must_check_;
/* The same of another kind, before the first request is made. Returns as above. */
int upl_credential_replace(struct upl_credential *c, enum upl_credential_kind kind,
                           const struct bth_secret *secret, struct bth_error *error) _must_check_;
struct upl_credential *upl_credential_free(struct upl_credential *c);
DEFINE_CLEANUP(upl_credential_free, struct upl_credential *);

uint64_t upl_credential_generation(struct upl_credential *c);

/* Finishes a request: `headers` has all that will be sent and gets Authorization; `url` has the
 * whole URL and gets the SAS. `content_length` as the Content-Length header will say. Returns 0,
 * -ENOMEM, -EIO when the library cannot sign. */
int upl_credential_sign(struct upl_credential *c, const struct upl_endpoint *endpoint,
                        const struct upl_request *request, uint64_t content_length,
                        struct upl_headers *headers, struct bth_buf *url) _must_check_;

/* What SharedKey signs, for tests against the documentation's examples. Returns 0 or -ENOMEM. */
int upl_shared_key_text(const char *account, const struct upl_endpoint *endpoint,
                        const struct upl_request *request, uint64_t content_length,
                        const struct upl_headers *headers, struct bth_buf *ret_text) _must_check_;

/* The path of a request on its endpoint: "/account/container/blob", encoded. Returns 0 or -ENOMEM.
 */
int upl_request_path(const struct upl_endpoint *endpoint, const struct upl_request *request,
                     struct bth_buf *path) _must_check_;
