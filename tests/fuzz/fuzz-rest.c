/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A request of the job service: "METHOD TARGET", a line end, the body. */
#include <string.h>

#include "daemon/rest-json.h"

static void check_fault(const struct dmn_rest_fault *f)
{
        _cleanup_json_ json_t *json = dmn_rest_fault_json(f);

        /* Whoever is refused must be told why, in words that can be sent. */
        if (f->status < 400 || f->status > 599 || !f->code || f->message[0] == '\0' || !json)
                abort();
}

static void take_route(const char *method, const char *target)
{
        struct dmn_rest_fault fault = { 0 };
        struct dmn_rest_route route;
        int r = dmn_rest_route_parse(method, target, &route, &fault);

        if (r == -EINVAL)
                check_fault(&fault);
        if (r == 0 &&
            (route.top < 1 || route.top > DMN_REST_TOP_MAX || !dmn_rest_action(route.operation)))
                abort();
        dmn_rest_route_clear(&route);
}

static void take_body(const json_t *json, bool put)
{
        struct dmn_rest_fault fault = { 0 };
        struct dmn_rest_body body;
        struct job_model model;
        struct job_outcome outcome;
        int r = put ? dmn_rest_parse_put(json, &body, &fault)
                    : dmn_rest_parse_patch(json, &body, &fault);

        if (r == -EINVAL)
                check_fault(&fault);
        if (r == 0 && put && (!body.location || !body.account || body.n_drives == 0))
                abort();
        if (r == 0 && job_begin(1, false, true, 1, &model, &outcome) == 0 &&
            dmn_rest_windows(&body, &model, &fault) < 0)
                check_fault(&fault);
        dmn_rest_body_clear(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        _cleanup_free_ char *text = strndup((const char *)data, n);
        const char *end = memchr(data, '\n', n);
        char *blank, *line_end;
        json_t *json = NULL;

        if (!text)
                return 0;
        if (end &&
            bth_json_parse(end + 1, n - (size_t)(end + 1 - (const char *)data), &json, NULL) == 0) {
                take_body(json, true);
                take_body(json, false);
        }
        json_decref(json);
        line_end = strchr(text, '\n');
        if (line_end)
                *line_end = '\0';
        blank = strchr(text, ' ');
        if (!blank)
                return 0;
        *blank = '\0';
        take_route(text, blank + 1);
        return 0;
}
