/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/rest-route.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "base/str.h"
#include "daemon/route.h"

#define SEGMENTS_MAX 9u /* of a path; one more is too many */
#define GROUP_MAX    90u
#define PROVIDER     "Microsoft.ImportExport"
#define PAGE_DEFAULT DMN_REST_TOP_MAX

static const char *const versions[] = { "2016-11-01", "2020-08-01", "2021-01-01" };

static const struct {
        const char *method, *action;
        enum dmn_right right;
} operations[] = {
#define X(id, method, right, action) { method, action, DMN_RIGHT_##right },
        DMN_REST_OPERATIONS(X)
#undef X
};

const char *dmn_rest_version_to_string(enum dmn_rest_version v)
{
        return (size_t)v < ARRAY_SIZE(versions) ? versions[v] : NULL;
}

enum dmn_rest_version dmn_rest_version_from_string(const char *text)
{
        for (size_t i = 0; text && i < ARRAY_SIZE(versions); i++)
                if (strcmp(text, versions[i]) == 0)
                        return (enum dmn_rest_version)i;
        return _DMN_REST_VERSION_INVALID;
}

enum dmn_right dmn_rest_right(enum dmn_rest_operation o)
{
        return (size_t)o < ARRAY_SIZE(operations) ? operations[o].right : DMN_RIGHT_ADMIN;
}

const char *dmn_rest_action(enum dmn_rest_operation o)
{
        return (size_t)o < ARRAY_SIZE(operations) ? operations[o].action : NULL;
}

/* -- faults
 * ------------------------------------------------------------------------------------------- */

int dmn_rest_fault(struct dmn_rest_fault *f, unsigned status, const char *code, const char *target,
                   const char *format, ...)
{
        char text[sizeof f->message];
        va_list list;

        *f = (struct dmn_rest_fault){ .status = status, .code = code };
        (void)snprintf(f->target, sizeof f->target, "%s", target ? target : "");
        va_start(list, format);
        (void)vsnprintf(text, sizeof text, format, list);
        va_end(list);
        (void)bth_escape(text, strlen(text), f->message, sizeof f->message);
        return -EINVAL;
}

int dmn_rest_fault_of(struct dmn_rest_fault *f, const struct bth_error *error)
{
        static const struct {
                int code;
                unsigned status;
                const char *name;
        } table[] = {
                { -EINVAL, 400, "InvalidRequestContent" },
                { -EBADMSG, 400, "InvalidRequestContent" },
                { -E2BIG, 400, "InvalidRequestContent" },
                { -ENOENT, 404, "ResourceNotFound" },
                { -EPERM, 409, "OperationNotAllowed" },
                { -EEXIST, 409, "Conflict" },
                { -EBUSY, 409, "Conflict" },
                { -EDQUOT, 409, "QuotaExceeded" },
                { -EFBIG, 413, "RequestContentTooLarge" },
                { -EAGAIN, 503, "ServerBusy" },
                { -ECANCELED, 503, "ServiceUnavailable" },
                { -ENOSPC, 503, "ServiceUnavailable" },
        };
        unsigned status = 500;
        const char *code = "InternalServerError";

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                if (table[i].code == error->code) {
                        status = table[i].status;
                        code = table[i].name;
                }
        }
        /* What is wrong inside of the station is for its log. */
        (void)dmn_rest_fault(f, status, code, NULL, "%s.",
                             status < 500 && error->sentence[0] ? error->sentence
                             : status == 500 ? "The service met an error of its own"
                                             : "The service cannot do this at the moment");
        if (status >= 500)
                return -EINVAL;
        f->message[0] = (char)toupper((unsigned char)f->message[0]);
        f->reason = bth_reason_to_string(error->reason);
        (void)snprintf(f->advice, sizeof f->advice, "%s", bth_error_advice(error));
        return -EINVAL;
}

json_t *dmn_rest_fault_json(const struct dmn_rest_fault *f)
{
        json_t *error = json_pack("{s:s,s:s}", "code", f->code, "message", f->message);
        json_t *details;

        if (error && f->target[0] != '\0')
                (void)json_object_set_new(error, "target", json_string(f->target));
        if (error && f->reason) {
                details = json_pack("[{s:s,s:s}]", "code", f->reason, "message", f->advice);
                (void)json_object_set_new(error, "details", details);
        }
        return error ? json_pack("{s:o}", "error", error) : NULL;
}

/* -- filter
 * ------------------------------------------------------------------------------------------ */

static void skip_blanks(const char **at)
{
        *at += strspn(*at, " ");
}

static bool take_word(const char **at, const char *word)
{
        const size_t n = strlen(word);

        skip_blanks(at);
        if (strncasecmp(*at, word, n) != 0 || isalnum((unsigned char)(*at)[n]))
                return false;
        *at += n;
        return true;
}

/* 'text', where '' is a quote. */
static bool take_text(const char **at, char *out, size_t out_bytes)
{
        size_t n = 0;

        skip_blanks(at);
        if (*(*at)++ != '\'')
                return false;
        for (;; (*at)++) {
                if (**at == '\0')
                        return false;
                if (**at == '\'' && *++*at != '\'')
                        break;
                if (n + 1 >= out_bytes)
                        return false;
                out[n++] = **at;
        }
        out[n] = '\0';
        return true;
}

static bool take_term(const char **at, struct dmn_rest_filter *f)
{
        static const char *const members[] = { "type", "trackingnumber", "state" };
        char text[sizeof f->tracking];
        size_t m = 0;

        while (m < ARRAY_SIZE(members) && !take_word(at, members[m]))
                m++;
        if (m == ARRAY_SIZE(members) || !take_word(at, "eq") || !take_text(at, text, sizeof text))
                return false;
        if (m == 1) {
                (void)snprintf(f->tracking, sizeof f->tracking, "%s", text);
                return text[0] != '\0';
        }
        if (m == 2) {
                f->state = (int)bth_job_state_from_string(text);
                return f->state >= 0;
        }
        f->is_export = bth_ascii_casecmp(text, "Export") == 0;
        return f->is_export || bth_ascii_casecmp(text, "Import") == 0;
}

int dmn_rest_filter_parse(const char *text, struct dmn_rest_filter *ret_filter,
                          struct dmn_rest_fault *fault)
{
        const char *at = text;

        *ret_filter = (struct dmn_rest_filter){ .state = -1, .is_export = -1 };
        do {
                if (!take_term(&at, ret_filter))
                        return dmn_rest_fault(
                                fault, 400, "InvalidFilterInQueryString", "$filter",
                                "The filter is not understood: terms are type eq 'Import' or "
                                "'Export', state eq 'STATE' and trackingnumber eq 'NUMBER', joined "
                                "by 'and'.");
        } while (take_word(&at, "and"));
        skip_blanks(&at);
        return *at == '\0' ? 0
                           : dmn_rest_fault(fault, 400, "InvalidFilterInQueryString", "$filter",
                                            "The filter has more behind a term than 'and'.");
}

/* -- path
 * -------------------------------------------------------------------------------------------- */

struct path {
        char *segments[SEGMENTS_MAX + 1];
        size_t n;
};

static void path_clear(struct path *p)
{
        for (size_t i = 0; i < p->n; i++)
                free(p->segments[i]);
}

static int path_split(const char *text, size_t n, struct path *ret, struct dmn_rest_fault *fault)
{
        size_t at = 0;

        while (at < n && ret->n < ARRAY_SIZE(ret->segments)) {
                size_t length = 0;
                int r;

                at++; /* the slash */
                while (at + length < n && text[at + length] != '/')
                        length++;
                if (length == 0 && at == n && ret->n > 0)
                        break; /* one slash at the end */
                r = dmn_route_decode(text + at, length, false, &ret->segments[ret->n]);
                if (r == -EINVAL)
                        return dmn_rest_fault(fault, 400, "InvalidRequestUri", NULL,
                                              "The path cannot be decoded.");
                if (r < 0)
                        return r;
                ret->n++;
                at += length;
        }
        return 0;
}

static bool is(const struct path *p, size_t i, const char *word)
{
        return i < p->n && bth_ascii_casecmp(p->segments[i], word) == 0;
}

static bool is_name(const char *text, size_t max, const char *more)
{
        const size_t n = strlen(text);

        if (n == 0 || n > max || text[n - 1] == '.')
                return false;
        for (size_t i = 0; i < n; i++)
                if (!isalnum((unsigned char)text[i]) && !strchr(more, text[i]))
                        return false;
        return true;
}

static int not_there(struct dmn_rest_fault *fault)
{
        return dmn_rest_fault(fault, 404, "ResourceNotFound", NULL,
                              "There is no such resource here.");
}

static int make_scope(const struct path *p, bool group, struct dmn_rest_route *r,
                      struct dmn_rest_fault *fault)
{
        if (!is_name(p->segments[1], 64, "-"))
                return dmn_rest_fault(fault, 400, "InvalidSubscriptionId", NULL,
                                      "'%s' is no subscription.", p->segments[1]);
        if (group && !is_name(p->segments[3], GROUP_MAX, "-_.()"))
                return dmn_rest_fault(fault, 400, "InvalidResourceGroup", NULL,
                                      "'%s' is no name of a resource group.", p->segments[3]);
        if (group ? asprintf(&r->scope, "/subscriptions/%s/resourceGroups/%s", p->segments[1],
                             p->segments[3]) < 0
                  : asprintf(&r->scope, "/subscriptions/%s", p->segments[1]) < 0) {
                r->scope = NULL;
                return -ENOMEM;
        }
        return 0;
}

/* The method is one of the path's, or -EINVAL with what would be. */
static int choose(const char *method, struct dmn_rest_route *r, struct dmn_rest_fault *fault,
                  enum dmn_rest_operation first, enum dmn_rest_operation last)
{
        size_t n = 0;

        for (int o = (int)first; o <= (int)last; o++) {
                if (strcmp(method, operations[o].method) == 0) {
                        r->operation = (enum dmn_rest_operation)o;
                        return 0;
                }
                n += (size_t)snprintf(r->allow + n, sizeof r->allow - n, "%s%s", n > 0 ? ", " : "",
                                      operations[o].method);
        }
        return dmn_rest_fault(fault, 405, "MethodNotAllowed", NULL,
                              "This resource has no such method.");
}

static int take_job_path(const char *method, const struct path *p, size_t at,
                         struct dmn_rest_route *r, struct dmn_rest_fault *fault)
{
        if (p->n == at)
                return choose(method, r, fault, DMN_REST_JOBS_LIST, DMN_REST_JOBS_LIST);
        /* Without a group only lists are. */
        if (at != 7 || p->n > SEGMENTS_MAX)
                return not_there(fault);
        r->name = strdup(p->segments[at]);
        if (!r->name)
                return -ENOMEM;
        if (p->n == at + 1)
                return choose(method, r, fault, DMN_REST_JOB_GET, DMN_REST_JOB_DELETE);
        return is(p, at + 1, "listBitLockerKeys")
                       ? choose(method, r, fault, DMN_REST_JOB_KEYS, DMN_REST_JOB_KEYS)
                       : not_there(fault);
}

static int take_provider_path(const char *method, const struct path *p, struct dmn_rest_route *r,
                              struct dmn_rest_fault *fault)
{
        if (is(p, 2, "operations") && p->n == 3)
                return choose(method, r, fault, DMN_REST_OPERATIONS_LIST, DMN_REST_OPERATIONS_LIST);
        if (!is(p, 2, "locations") || p->n > 4)
                return not_there(fault);
        if (p->n == 3)
                return choose(method, r, fault, DMN_REST_LOCATIONS_LIST, DMN_REST_LOCATIONS_LIST);
        r->name = strdup(p->segments[3]);
        return r->name ? choose(method, r, fault, DMN_REST_LOCATION_GET, DMN_REST_LOCATION_GET)
                       : -ENOMEM;
}

static int take_path(const char *method, const struct path *p, struct dmn_rest_route *r,
                     struct dmn_rest_fault *fault)
{
        const bool group = is(p, 2, "resourceGroups");
        const size_t provider = group ? 4 : 2;
        int k;

        if (is(p, 0, "providers") && is(p, 1, PROVIDER))
                return take_provider_path(method, p, r, fault);
        if (!is(p, 0, "subscriptions") || !is(p, provider, "providers") ||
            !is(p, provider + 1, PROVIDER) || !is(p, provider + 2, "jobs"))
                return not_there(fault);
        k = make_scope(p, group, r, fault);
        return k < 0 ? k : take_job_path(method, p, provider + 3, r, fault);
}

/* -- query
 * ------------------------------------------------------------------------------------------- */

static int take_version(const char *text, struct dmn_rest_route *r, struct dmn_rest_fault *fault)
{
        if (!text)
                return dmn_rest_fault(fault, 400, "MissingApiVersionParameter", "api-version",
                                      "The query parameter api-version is required.");
        r->version = dmn_rest_version_from_string(text);
        if ((int)r->version >= 0)
                return 0;
        return dmn_rest_fault(fault, 400, "InvalidApiVersionParameter", "api-version",
                              "The api-version '%s' is invalid. The supported versions are "
                              "'2016-11-01,2020-08-01,2021-01-01'.",
                              text);
}

static int take_page(const json_t *query, struct dmn_rest_route *r, struct dmn_rest_fault *fault)
{
        const char *top = json_string_value(json_object_get(query, "$top"));
        const char *filter = json_string_value(json_object_get(query, "$filter"));
        const char *skip = json_string_value(json_object_get(query, "$skiptoken"));
        uint64_t n = PAGE_DEFAULT;

        r->filter = (struct dmn_rest_filter){ .state = -1, .is_export = -1 };
        if (top && (bth_parse_u64(top, &n) < 0 || n < 1 || n > DMN_REST_TOP_MAX))
                return dmn_rest_fault(fault, 400, "InvalidQueryParameterValue", "$top",
                                      "$top has to be 1 to %u.", DMN_REST_TOP_MAX);
        r->top = (unsigned)n;
        if (skip &&
            (bth_parse_u64(skip, &r->before) < 0 || r->before == 0 || r->before > INT64_MAX))
                return dmn_rest_fault(fault, 400, "InvalidQueryParameterValue", "$skiptoken",
                                      "$skiptoken is what a nextLink had, and nothing else.");
        if (!filter || filter[strspn(filter, " ")] == '\0')
                return 0;
        r->filter_text = strdup(filter);
        return r->filter_text ? dmn_rest_filter_parse(filter, &r->filter, fault) : -ENOMEM;
}

static int take_query(const char *text, struct dmn_rest_route *r, struct dmn_rest_fault *fault)
{
        _cleanup_json_ json_t *query = NULL;
        struct bth_error error = BTH_ERROR_INIT;
        int k = dmn_route_query(text, &query, &error);

        if (k == -ENOMEM)
                return k;
        if (k < 0)
                return dmn_rest_fault(fault, 400, "InvalidRequestUri", NULL,
                                      "The query cannot be understood.");
        k = take_version(json_string_value(json_object_get(query, "api-version")), r, fault);
        return k < 0 ? k : take_page(query, r, fault);
}

/* -- the whole
 * --------------------------------------------------------------------------------------- */

bool dmn_rest_is_target(const char *target)
{
        return strncasecmp(target, "/subscriptions/", 15) == 0 ||
               strncasecmp(target, "/providers/", 11) == 0;
}

void dmn_rest_route_clear(struct dmn_rest_route *r)
{
        free(r->scope);
        free(r->name);
        free(r->filter_text);
        r->scope = r->name = r->filter_text = NULL;
}

int dmn_rest_route_parse(const char *method, const char *target, struct dmn_rest_route *ret_route,
                         struct dmn_rest_fault *fault)
{
        const size_t n = strcspn(target, "?");
        struct path path = { .n = 0 };
        int r = 0;

        *ret_route = (struct dmn_rest_route){ .operation = _DMN_REST_OPERATION_INVALID };
        if (strlen(target) > DMN_ROUTE_TARGET_MAX)
                return dmn_rest_fault(fault, 414, "RequestUriTooLong", NULL,
                                      "The address is too long.");
        r = path_split(target, n, &path, fault);
        if (r == 0)
                r = take_path(method, &path, ret_route, fault);
        if (r == 0)
                r = take_query(target[n] == '?' ? target + n + 1 : "", ret_route, fault);
        path_clear(&path);
        return r;
}
