/* SPDX-License-Identifier: GPL-3.0-or-later */
/* url - names of containers and blobs on the wire, and endpoints.
 *
 * A name is a string of bytes to us: encoded once when a request is built, and never decoded, so
 * that
 * '%', '?', '#', "..", "//" and trailing dots come out at the service as they lie in the manifest.
 * '/' stays '/', except in names with an empty, "." or ".." segment: there it becomes %2F, because
 * servers and middle boxes normalise such paths although RFC 3986 lets nobody do so for %2F.
 * Any thread. Source: RFC 3986; Naming and Referencing Containers, Blobs, and Metadata (REST). */
#pragma once

#include "base/error.h"
#include "base/str.h"

/* Adds a blob's or container's name, encoded as above. Returns 0 or -ENOMEM. */
int upl_url_add_name(struct bth_buf *url, const char *name) _must_check_;

/* Adds text with all but the unreserved characters encoded, '/' too: for query values.
 * Returns 0 or -ENOMEM. */
int upl_url_add_value(struct bth_buf *url, const char *value) _must_check_;

/* Where an account's blob service is: "https://ACCOUNT.blob.core.windows.net", or an override such
 * as "https://10.0.0.7:10000/devstoreaccount1" (private endpoint, sovereign cloud, emulator). */
struct upl_endpoint {
        char *base; /* scheme://host[:port], no slash behind it */
        char *path; /* "" or "/devstoreaccount1": encoded, part of what is signed */
        bool tls;
};

/* Takes an http or https URL apart. `allow_plain` permits http. No user, query or fragment.
 * Returns 0, -EINVAL with one sentence, -ENOMEM. */
int upl_endpoint_parse(const char *text, bool allow_plain, struct upl_endpoint *ret_endpoint,
                       struct bth_error *error) _must_check_;
/* The public cloud's endpoint of an account (3 to 24 lower-case letters and digits).
 * Returns 0, -EINVAL, -ENOMEM. */
int upl_endpoint_of_account(const char *account, struct upl_endpoint *ret_endpoint,
                            struct bth_error *error) _must_check_;
void upl_endpoint_clear(struct upl_endpoint *e);

/* Is this an account's name? */
bool upl_account_valid(const char *account);
