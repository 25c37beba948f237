/* SPDX-License-Identifier: GPL-3.0-or-later */
/* route - from the line of a request to a verb (the table of daemon/verb.h), its target and query.
 *
 *     "POST" "/v1/drives/WD%2D1/retry?job=a"  ->  DRIVE_RETRY, "WD-1", { "job": "a" }
 *
 * The path is split before it is decoded, so an escaped slash is part of a name. Strict: a broken
 * escape, an escaped NUL, text that is not UTF-8, and a member that comes twice are errors. Needs
 * nothing of the daemon; any thread. Source: RFC 3986, 2.1 and 3.3; RFC 9110, 15.5.6. */
#pragma once

#include "daemon/verb.h"

#define DMN_ROUTE_TARGET_MAX  ((size_t)8 << 10) /* bytes of path and query */
#define DMN_ROUTE_SEGMENT_MAX ((size_t)1 << 10) /* bytes of a name in the path, decoded */
#define DMN_ROUTE_MEMBERS_MAX 32u               /* of a query */
#define DMN_ROUTE_ALLOW_MAX   64

struct dmn_route {
        enum dmn_verb verb;
        char *target; /* NULL: the path has none */
        json_t *query;
        char allow[DMN_ROUTE_ALLOW_MAX]; /* "GET, PUT": what this path has */
};
void dmn_route_clear(struct dmn_route *r);

/* Returns 0; -EINVAL for a broken path or query; -E2BIG for one over its limits; -ENOENT for a path
 * that is not in the table; -EOPNOTSUPP when it has other methods, then `allow` is set; -ENOMEM.
 * HEAD is answered as GET. */
int dmn_route_parse(const char *method, const char *target, struct dmn_route *ret_route,
                    struct bth_error *error) _must_check_;

/* Takes %XX out of `n` bytes; `plus`: a '+' is a blank. malloc()ed text. Returns 0; -EINVAL for a
 * broken escape, a NUL, or what is not UTF-8; -ENOMEM. */
int dmn_route_decode(const char *text, size_t n, bool plus, char **ret_text) _must_check_;
/* "a=1&b=two" to an object of texts. Returns 0, -EINVAL, -E2BIG, -ENOMEM. */
int dmn_route_query(const char *text, json_t **ret_query, struct bth_error *error) _must_check_;
