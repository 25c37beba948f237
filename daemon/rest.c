/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/rest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/guid.h"
#include "base/log.h"
#include "base/names.h"
#include "base/secret.h"
#include "base/str.h"
#include "daemon/rest-act.h"
#include "daemon/station-internal.h"

#define JSON_TYPE  "application/json; charset=utf-8"
#define ETAG_BYTES 64
#define HOST_BYTES 256u

struct dmn_rest {
        struct dmn_station *station; /* NULL: it is going away */
        unsigned references;
};

static struct dmn_rest *rest_unref(struct dmn_rest *r)
{
        if (--r->references == 0)
                free(r);
        return NULL;
}

/* -- answers
 * ------------------------------------------------------------------------------------------ */

struct reply {
        unsigned status;
        json_t *json; /* borrowed; NULL: no body */
        const char *etag, *allow, *authenticate;
        unsigned retry_after_sec;
};

static void add_header(struct dmn_http_reply *r, size_t *n, const char *name, const char *value)
{
        if (value && value[0] != '\0' && *n < ARRAY_SIZE(r->headers))
                r->headers[(*n)++] = (struct dmn_http_header){ name, value };
}

static void send_reply(struct dmn_http_request *q, const struct reply *from)
{
        char *text = from->json ? bth_json_to_text(from->json) : NULL;
        char id[BTH_GUID_TEXT_MAX] = "", seconds[16] = "";
        struct dmn_http_reply reply = { .status = from->status };
        struct bth_guid guid;
        size_t n = 0;

        if (bth_guid_random(&guid) == 0)
                (void)bth_guid_to_string(&guid, id);
        if (from->retry_after_sec > 0)
                (void)snprintf(seconds, sizeof seconds, "%u", from->retry_after_sec);
        add_header(&reply, &n, "x-ms-request-id", id);
        add_header(&reply, &n, "x-ms-correlation-request-id", id);
        add_header(&reply, &n, "ETag", from->etag);
        add_header(&reply, &n, "Allow", from->allow);
        add_header(&reply, &n, "WWW-Authenticate", from->authenticate);
        add_header(&reply, &n, "Retry-After", seconds);
        if (from->json && !text)
                reply.status = 500;
        if (text) {
                reply.type = JSON_TYPE;
                reply.body = text;
                reply.n = strlen(text);
        }
        dmn_http_reply(q, &reply);
        if (text)
                bth_wipe(text, strlen(text)); /* keys may be in it */
        free(text);
}

static void send_fault(struct dmn_http_request *q, const struct dmn_rest_fault *f,
                       const char *allow)
{
        _cleanup_json_ json_t *json = dmn_rest_fault_json(f);

        send_reply(q, &(struct reply){ .status = f->status,
                                       .json = json,
                                       .allow = f->status == 405 ? allow : NULL,
                                       .retry_after_sec = f->status == 503 ? 5 : 0 });
}

void dmn_rest_refuse(struct dmn_http_request *q, unsigned status, unsigned retry_after_sec)
{
        _cleanup_json_ json_t *json = NULL;
        struct dmn_rest_fault f;

        if (status == 401)
                (void)dmn_rest_fault(&f, 401, "AuthenticationFailed", NULL,
                                     "Authentication failed.");
        else if (status == 403)
                (void)dmn_rest_fault(&f, 403, "AuthorizationFailed", NULL,
                                     "The client does not have authorization to perform this "
                                     "action.");
        else
                (void)dmn_rest_fault(&f, 429, "TooManyRequests", NULL,
                                     "Too many requests: try again later.");
        json = dmn_rest_fault_json(&f);
        send_reply(q, &(struct reply){ .status = f.status,
                                       .json = json,
                                       .authenticate = f.status == 401 ? "Bearer" : NULL,
                                       .retry_after_sec = retry_after_sec });
}

/* -- acts
 * --------------------------------------------------------------------------------------------- */

static struct dmn_rest_act *act_free(struct dmn_rest_act *a)
{
        dmn_rest_body_clear(&a->body);
        dmn_rest_route_clear(&a->route);
        json_decref(a->json);
        json_decref(a->answer);
        free(a->who);
        free(a->if_match);
        free(a->base);
        (void)rest_unref(a->rest);
        free(a);
        return NULL;
}
DEFINE_CLEANUP(act_free, struct dmn_rest_act *);

static void log_act(const struct dmn_rest_act *a, bool failed)
{
        const struct bth_log_field fields[] = {
                { BTH_FIELD_JOB, a->route.name },
                { BTH_FIELD_REASON, failed ? a->fault.code : NULL },
        };

        if (dmn_rest_right(a->route.operation) == DMN_RIGHT_READ)
                return;
        bth_log_fields(LOG_NOTICE, fields, "%s: %s of job %s: %s", a->who,
                       dmn_rest_action(a->route.operation), a->route.name,
                       failed ? a->fault.message : "done");
}

static void finish_jobs(struct dmn_rest_act *a)
{
        const struct dmn_config *c = dmn_station_config(a->rest->station);
        json_t *job;
        size_t i;

        if (json_is_array(json_object_get(a->answer, "value")))
                json_array_foreach(json_object_get(a->answer, "value"), i, job)
                        dmn_rest_job_finish(job, c);
        else
                dmn_rest_job_finish(a->answer, c);
}

static void send_answer(struct dmn_rest_act *a)
{
        char etag[ETAG_BYTES] = "";

        if (a->is_job)
                finish_jobs(a);
        if (a->job > 0)
                (void)snprintf(etag, sizeof etag, "\"%" PRIu64 "-%" PRIu64 "\"", a->job,
                               a->revision);
        send_reply(a->request, &(struct reply){ .status = a->status ? a->status : 200,
                                                .json = a->answer,
                                                .etag = etag });
}

/* The loop has it again. */
static void on_done(void *userdata, int r, const struct bth_error *error)
{
        struct dmn_rest_act *a = userdata;
        struct dmn_station *station = a->rest->station;
        const struct bth_error other = { .code = r < 0 ? r : -ECANCELED };

        if (!a->fault.code && (r < 0 || !station))
                (void)dmn_rest_fault_of(&a->fault, station && error->code < 0 ? error : &other);
        if (station && !dmn_station_store_failed(station, r, error) && r < 0 &&
            a->fault.status >= 500)
                bth_log_error(LOG_ERR, error);
        log_act(a, a->fault.code != NULL);
        if (a->fault.code)
                send_fault(a->request, &a->fault, NULL);
        else
                send_answer(a);
        if (a->changed && station)
                dmn_station_look(station);
        (void)act_free(a);
}

static void submit(struct dmn_rest_act *a)
{
        static const job_task_fn tasks[_DMN_REST_OPERATION_MAX] = {
                [DMN_REST_JOBS_LIST] = dmn_rest_list,    [DMN_REST_JOB_GET] = dmn_rest_get,
                [DMN_REST_JOB_PUT] = dmn_rest_put,       [DMN_REST_JOB_PATCH] = dmn_rest_patch,
                [DMN_REST_JOB_DELETE] = dmn_rest_delete, [DMN_REST_JOB_KEYS] = dmn_rest_keys,
        };
        int r = dmn_station_submit(a->rest->station, tasks[a->route.operation], on_done, a);
        const struct bth_error error = { .code = r };

        if (r == 0)
                return;
        (void)dmn_rest_fault_of(&a->fault, &error);
        send_fault(a->request, &a->fault, NULL);
        (void)act_free(a);
}

/* -- what the configuration decides
 * ------------------------------------------------------------------ */

/* A job for an account that nobody can write to, or for a place where nobody is, would never end.
 * A hub that knows no account leaves that to its stations. */
static int check_places(struct dmn_rest_act *a, const struct dmn_config *c)
{
        if (c->n_accounts > 0 && !dmn_config_account(c, a->body.account))
                return dmn_rest_fault(
                        &a->fault, 400, "StorageAccountNotFound", "properties.storageAccountId",
                        "The storage account '%s' is not served here.", a->body.account);
        if (c->n_locations > 0 && !dmn_config_location(c, a->body.location))
                return dmn_rest_fault(&a->fault, 400, "LocationNotAvailableForResourceType",
                                      "location",
                                      "The location '%s' is not available for jobs: see the list "
                                      "of locations.",
                                      a->body.location);
        return 0;
}

static int take_config(struct dmn_rest_act *a, const struct dmn_station *station)
{
        const struct dmn_config *c = dmn_station_config(station);
        const char *host = dmn_http_header(a->request, "Host");
        static const char allowed[] =
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]";

        a->policy = *dmn_station_policy(station);
        a->max_active = (unsigned)c->max_jobs;
        a->verbose_log = c->verbose_log;
        a->backup_manifest = c->manifest_backup;
        a->accept_unshipped = c->accept_unshipped;
        if (c->api.url)
                a->base = strdup(c->api.url);
        else if (!host || strlen(host) > HOST_BYTES || strspn(host, allowed) != strlen(host))
                a->base = strdup("https://localhost");
        else if (asprintf(&a->base, "https://%s", host) < 0)
                a->base = NULL;
        return a->base ? 0 : -ENOMEM;
}

/* -- taking a request
 * -------------------------------------------------------------------------------- */

static bool has_body(enum dmn_rest_operation o)
{
        return o == DMN_REST_JOB_PUT || o == DMN_REST_JOB_PATCH;
}

static bool is_json_type(const char *type)
{
        static const char json[] = "application/json";
        const size_t n = sizeof json - 1;

        return !type || (strncasecmp(type, json, n) == 0 && strchr("; \t", type[n]));
}

static int take_json(struct dmn_rest_act *a)
{
        struct bth_error error = BTH_ERROR_INIT;
        size_t n;
        const char *text = dmn_http_body(a->request, &n);
        int r;

        if (dmn_http_body_too_large(a->request) || n > DMN_REST_BODY_BYTES)
                return dmn_rest_fault(&a->fault, 413, "RequestContentTooLarge", NULL,
                                      "The body has more than %zu bytes.", DMN_REST_BODY_BYTES);
        if (!has_body(a->route.operation))
                return 0;
        if (!is_json_type(dmn_http_header(a->request, "Content-Type")))
                return dmn_rest_fault(&a->fault, 415, "UnsupportedMediaType", NULL,
                                      "The body has to be application/json.");
        r = bth_json_parse(text ? text : "", n, &a->json, &error);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return dmn_rest_fault(&a->fault, 400, "InvalidRequestContent", NULL,
                                      "The body is no JSON object (line %" PRIu64 ").", error.line);
        return a->route.operation == DMN_REST_JOB_PUT
                       ? dmn_rest_parse_put(a->json, &a->body, &a->fault)
                       : dmn_rest_parse_patch(a->json, &a->body, &a->fault);
}

static int take_conditions(struct dmn_rest_act *a)
{
        const char *match = dmn_http_header(a->request, "If-Match");
        const char *none = dmn_http_header(a->request, "If-None-Match");

        a->if_none_match = none && strcmp(none, "*") == 0;
        if (match && none)
                return dmn_rest_fault(&a->fault, 400, "MultipleConditionHeadersNotSupported", NULL,
                                      "If-Match and If-None-Match exclude each other.");
        if (!match)
                return 0;
        a->if_match = strndup(match, ETAG_BYTES);
        return a->if_match ? 0 : -ENOMEM;
}

static void answer_at_once(struct dmn_rest_act *a)
{
        const struct dmn_config *c = dmn_station_config(a->rest->station);
        const struct dmn_location_config *l;
        json_t *value;

        if (a->route.operation == DMN_REST_OPERATIONS_LIST) {
                a->answer = dmn_rest_operations();
        } else if (a->route.operation == DMN_REST_LOCATIONS_LIST) {
                value = json_array();
                for (size_t i = 0; i < c->n_locations; i++)
                        (void)json_array_append_new(value, dmn_rest_location(c, &c->locations[i]));
                a->answer = json_pack("{s:o}", "value", value);
        } else {
                l = dmn_config_location(c, a->route.name);
                if (l)
                        a->answer = dmn_rest_location(c, l);
                else
                        (void)dmn_rest_fault(&a->fault, 404, "ResourceNotFound", NULL,
                                             "There is no location '%s'.", a->route.name);
        }
        if (!a->answer && !a->fault.code) {
                const struct bth_error error = { .code = -ENOMEM };

                (void)dmn_rest_fault_of(&a->fault, &error);
        }
        if (a->fault.code)
                send_fault(a->request, &a->fault, NULL);
        else
                send_answer(a);
}

static int prepare(struct dmn_rest_act *a, enum dmn_right right)
{
        struct dmn_http_request *q = a->request;
        int r = dmn_rest_route_parse(dmn_http_method(q), dmn_http_target(q), &a->route, &a->fault);

        if (r < 0)
                return r;
        if (!dmn_right_allows(right, dmn_rest_right(a->route.operation)))
                return -EACCES;
        r = take_config(a, a->rest->station);
        if (r == 0)
                r = take_conditions(a);
        if (r == 0)
                r = take_json(a);
        if (r == 0 && a->route.operation == DMN_REST_JOB_PUT)
                r = check_places(a, dmn_station_config(a->rest->station));
        return r;
}

static void refuse(struct dmn_rest_act *a, int r)
{
        const struct bth_error error = { .code = r };

        if (r == -EACCES) {
                bth_log(LOG_NOTICE, "%s: %s: the right is missing", a->who,
                        dmn_rest_action(a->route.operation));
                dmn_rest_refuse(a->request, 403, 0);
                return;
        }
        if (!a->fault.code)
                (void)dmn_rest_fault_of(&a->fault, &error);
        send_fault(a->request, &a->fault, a->route.allow);
}

static struct dmn_rest_act *act_new(struct dmn_rest *rest, struct dmn_http_request *q,
                                    const char *who)
{
        struct dmn_rest_act *a = calloc(1, sizeof *a);

        if (!a)
                return NULL;
        rest->references++;
        a->rest = rest;
        a->request = q;
        a->route.operation = _DMN_REST_OPERATION_INVALID;
        a->who = strdup(who);
        return a->who ? a : act_free(a);
}

void dmn_rest_request(struct dmn_rest *r, struct dmn_http_request *q, enum dmn_right right,
                      const char *who)
{
        _cleanup_(act_freep) struct dmn_rest_act *a = act_new(r, q, who);
        int k;

        if (!a) {
                dmn_http_reply(q, &(struct dmn_http_reply){ .status = 500 });
                return;
        }
        k = prepare(a, right);
        if (k < 0)
                refuse(a, k);
        else if (a->route.scope)
                submit(take_ptr(a));
        else
                answer_at_once(a);
}

/* -- beginning and end
 * ------------------------------------------------------------------------------- */

int dmn_rest_new(struct dmn_station *station, struct dmn_rest **ret_rest)
{
        struct dmn_rest *r = calloc(1, sizeof *r);

        if (!r)
                return -ENOMEM;
        bth_json_wipe_freed();
        r->station = station;
        r->references = 1;
        *ret_rest = r;
        return 0;
}

struct dmn_rest *dmn_rest_free(struct dmn_rest *r)
{
        if (!r)
                return NULL;
        r->station = NULL;
        return rest_unref(r);
}
