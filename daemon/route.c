/* SPDX-License-Identifier: GPL-3.0-or-later */
/* route - see route.h. */
#include "daemon/route.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

void dmn_route_clear(struct dmn_route *r)
{
        free(r->target);
        json_decref(r->query);
        *r = (struct dmn_route){ 0 };
}

int dmn_route_decode(const char *text, size_t n, bool plus, char **ret_text)
{
        _cleanup_free_ char *out = malloc(n + 1);
        size_t length = 0;

        if (!out)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                if (text[i] == '+' && plus) {
                        out[length++] = ' ';
                } else if (text[i] != '%') {
                        out[length++] = text[i];
                } else {
                        if (n - i < 3 || bth_hex_decode(text + i + 1, 2, out + length) < 0)
                                return -EINVAL;
                        length++;
                        i += 2;
                }
        }
        if (memchr(out, '\0', length) || !bth_utf8_valid(out, length))
                return -EINVAL;
        out[length] = '\0';
        *ret_text = take_ptr(out);
        return 0;
}

/* --- query --- */

static int add_member(json_t *query, const char *text, size_t n, struct bth_error *error)
{
        const char *equals = memchr(text, '=', n);
        const size_t n_name = equals ? (size_t)(equals - text) : n;
        _cleanup_free_ char *name = NULL, *value = NULL;
        int r = dmn_route_decode(text, n_name, true, &name);

        if (r == 0)
                r = equals ? dmn_route_decode(equals + 1, n - n_name - 1, true, &value)
                           : dmn_route_decode("", 0, true, &value);
        if (r == -EINVAL || (r == 0 && name[0] == '\0'))
                return bth_error_set(error, -EINVAL, BTH_REASON_SYNTAX,
                                     "the query has a member that cannot be read");
        if (r == 0 && json_object_get(query, name))
                return bth_error_set(error, -EINVAL, BTH_REASON_SYNTAX, "the query has '%s' twice",
                                     name);
        if (r == 0 && json_object_size(query) >= DMN_ROUTE_MEMBERS_MAX)
                return bth_error_set(error, -E2BIG, BTH_REASON_LIMIT_EXCEEDED,
                                     "the query has more than %u members", DMN_ROUTE_MEMBERS_MAX);
        if (r == 0 && json_object_set_new(query, name, json_string(value)) < 0)
                r = -ENOMEM;
        return r;
}

int dmn_route_query(const char *text, json_t **ret_query, struct bth_error *error)
{
        _cleanup_json_ json_t *query = json_object();

        if (!query)
                return -ENOMEM;
        while (*text != '\0') {
                const size_t n = strcspn(text, "&");
                int r = n > 0 ? add_member(query, text, n, error) : 0;

                if (r < 0)
                        return r;
                text += n + (text[n] == '&');
        }
        *ret_query = take_ptr(query);
        return 0;
}

/* --- path --- */

/* Does the path, of `n` bytes, have the shape of a verb's? `ret_name` is its {…}, or NULL. */
static bool fits(const char *shape, const char *path, size_t n, const char **ret_name,
                 size_t *ret_n_name)
{
        const char *end = path + n;

        *ret_name = NULL;
        *ret_n_name = 0;
        for (; *shape != '\0'; shape++) {
                if (*shape != '{') {
                        if (path == end || *path++ != *shape)
                                return false;
                        continue;
                }
                *ret_name = path;
                while (path < end && *path != '/')
                        path++;
                *ret_n_name = (size_t)(path - *ret_name);
                if (*ret_n_name == 0)
                        return false;
                shape = strchr(shape, '}');
        }
        return path == end;
}

static void add_allow(struct dmn_route *r, const char *method)
{
        const size_t n = strlen(r->allow);

        (void)snprintf(r->allow + n, sizeof r->allow - n, "%s%s%s", n > 0 ? ", " : "", method,
                       strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

static int find_verb(struct dmn_route *r, const char *method, const char *path, size_t n,
                     const char **ret_name, size_t *ret_n_name)
{
        int result = -ENOENT;

        for (int v = 0; v < _DMN_VERB_MAX; v++) {
                const struct dmn_verb_info *info = dmn_verb_info(v);
                const char *name;
                size_t n_name;

                if (!fits(info->path, path, n, &name, &n_name))
                        continue;
                add_allow(r, info->method);
                if (strcmp(info->method, method) != 0) {
                        result = result == 0 ? 0 : -EOPNOTSUPP;
                        continue;
                }
                result = 0;
                r->verb = v;
                *ret_name = name;
                *ret_n_name = n_name;
        }
        return result;
}

static int parse_path(struct dmn_route *r, const char *method, const char *path, size_t n,
                      struct bth_error *error)
{
        const char *name = NULL;
        size_t n_name = 0;
        int k = find_verb(r, strcmp(method, "HEAD") == 0 ? "GET" : method, path, n, &name, &n_name);

        if (k == -ENOENT)
                return bth_error_set(error, k, BTH_REASON_NOT_FOUND, "the API has no path '%.*s'",
                                     (int)MIN(n, (size_t)200), path);
        if (k < 0)
                return bth_error_set(error, k, BTH_REASON_UNSUPPORTED,
                                     "this path has no method %s, but %s", method, r->allow);
        k = name ? dmn_route_decode(name, n_name, false, &r->target) : 0;
        if (k == -EINVAL)
                return bth_error_set(error, k, BTH_REASON_SYNTAX,
                                     "the name in the path cannot be read");
        if (k == 0 && r->target && strlen(r->target) > DMN_ROUTE_SEGMENT_MAX)
                return bth_error_set(error, -E2BIG, BTH_REASON_TOO_LARGE,
                                     "the name in the path is too long");
        return k;
}

int dmn_route_parse(const char *method, const char *target, struct dmn_route *ret_route,
                    struct bth_error *error)
{
        const char *query = strchr(target, '?');
        struct dmn_route route = { 0 };
        int r;

        if (strlen(target) > DMN_ROUTE_TARGET_MAX)
                return bth_error_set(error, -E2BIG, BTH_REASON_TOO_LARGE,
                                     "path and query have more than %zu bytes",
                                     DMN_ROUTE_TARGET_MAX);
        r = parse_path(&route, method, target, query ? (size_t)(query - target) : strlen(target),
                       error);
        if (r == 0)
                r = dmn_route_query(query ? query + 1 : "", &route.query, error);
        if (r < 0) {
                memcpy(ret_route->allow, route.allow, sizeof route.allow);
                dmn_route_clear(&route);
                return r;
        }
        *ret_route = route;
        return 0;
}
