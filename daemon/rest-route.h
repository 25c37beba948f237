/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rest-route - from a request of the job service to one of its operations, and what went wrong, as
 * the service says it.
 *
 *     GET /subscriptions/S/resourceGroups/G/providers/Microsoft.ImportExport/jobs?api-version=V
 *         -> JOBS_LIST, scope "/subscriptions/S/resourceGroups/G", version V
 *
 * Words of the path are compared without case, as the resource manager does. Any thread.
 * Source: import-export specification 7.1, 7.2. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "daemon/verb.h"

#define DMN_REST_TOP_MAX    100u
#define DMN_REST_NAME_BYTES 64u

enum dmn_rest_version {
        DMN_REST_2016_11_01,
        DMN_REST_2020_08_01,
        DMN_REST_2021_01_01,
        _DMN_REST_VERSION_MAX,
        _DMN_REST_VERSION_INVALID = -EINVAL,
};
const char *dmn_rest_version_to_string(enum dmn_rest_version v); /* NULL outside the list */
enum dmn_rest_version dmn_rest_version_from_string(const char *text);

/* X(identifier, method, right, what the service calls it) */
#define DMN_REST_OPERATIONS(X)                             \
        X(OPERATIONS_LIST, "GET", READ, "operations/read") \
        X(LOCATIONS_LIST, "GET", READ, "locations/read")   \
        X(LOCATION_GET, "GET", READ, "locations/read")     \
        X(JOBS_LIST, "GET", READ, "jobs/read")             \
        X(JOB_GET, "GET", READ, "jobs/read")               \
        X(JOB_PUT, "PUT", OPERATE, "jobs/write")           \
        X(JOB_PATCH, "PATCH", OPERATE, "jobs/write")       \
        X(JOB_DELETE, "DELETE", OPERATE, "jobs/delete")    \
        X(JOB_KEYS, "POST", ADMIN, "jobs/listBitLockerKeys/action")

enum dmn_rest_operation {
#define X(id, method, right, action) DMN_REST_##id,
        DMN_REST_OPERATIONS(X)
#undef X
                _DMN_REST_OPERATION_MAX,
        _DMN_REST_OPERATION_INVALID = -EINVAL,
};
enum dmn_right dmn_rest_right(enum dmn_rest_operation o);
const char *dmn_rest_action(enum dmn_rest_operation o); /* "jobs/write"; NULL outside the list */

/* What is wrong, for people and programs elsewhere: never more than they may know. */
struct dmn_rest_fault {
        unsigned status;
        const char *code; /* static: "ResourceNotFound" */
        char target[128]; /* "properties.driveList[0].manifestHash"; "": none */
        char message[512];
        const char *reason; /* our own word for it; NULL: none */
        char advice[256];
};
/* Sets it, and gives -EINVAL, so that `return dmn_rest_fault(f, 400, …)` is one line. Always
 * returns -EINVAL. */
int dmn_rest_fault(struct dmn_rest_fault *f, unsigned status, const char *code, const char *target,
                   const char *format, ...) _printf_(5, 6);
/* The same of an error of the store or of a rule: its errno decides status and code. Always returns
 * -EINVAL. */
int dmn_rest_fault_of(struct dmn_rest_fault *f, const struct bth_error *error);
/* {"error":{…}} of specification 7.2; NULL when there is no memory. */
json_t *dmn_rest_fault_json(const struct dmn_rest_fault *f);

struct dmn_rest_filter {
        int state;          /* enum bth_job_state; -1: any */
        int is_export;      /* -1: any */
        char tracking[256]; /* "": any */
};

struct dmn_rest_route {
        enum dmn_rest_operation operation;
        enum dmn_rest_version version;
        char *scope; /* of lists and jobs */
        char *name;  /* of the job or location */
        unsigned top;
        uint64_t before; /* the page begins below this id; 0: at the newest */
        struct dmn_rest_filter filter;
        char *filter_text; /* as it was asked; NULL: none */
        char allow[32];    /* with 405 */
};
void dmn_rest_route_clear(struct dmn_rest_route *r);

/* Is a target of the job service's, so that dmn_rest_route_parse() is to be asked? */
bool dmn_rest_is_target(const char *target);
/* Returns 0; -EINVAL with `fault`; -ENOMEM. */
int dmn_rest_route_parse(const char *method, const char *target, struct dmn_rest_route *ret_route,
                         struct dmn_rest_fault *fault) _must_check_;
/* $filter: "type eq 'Import' and state eq 'Creating'". Returns 0, or -EINVAL with `fault`. */
int dmn_rest_filter_parse(const char *text, struct dmn_rest_filter *ret_filter,
                          struct dmn_rest_fault *fault) _must_check_;
