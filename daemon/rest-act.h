/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rest-act - one request of the job service on its way through the store. Inside daemon/rest*.c
 * only. Belongs to the loop, to the store's thread, and to the loop again, one after the other; so
 * it has copies of what it needs of the configuration. */
#pragma once

#include "daemon/rest-json.h"
#include "daemon/rest.h"

struct dmn_rest_act {
        struct dmn_rest *rest; /* a reference */
        struct dmn_http_request *request;
        struct dmn_rest_route route;
        char *who;
        char *if_match;     /* an ETag; NULL: any */
        bool if_none_match; /* "*": only when there is none */
        char *base;         /* "https://host:8443": of absolute addresses */

        json_t *json; /* the body; what `body` borrows from */
        struct dmn_rest_body body;

        struct job_policy policy;
        unsigned max_active;
        bool verbose_log, backup_manifest, accept_unshipped; /* as configured */

        /* What came out. */
        struct dmn_rest_fault fault; /* `code` NULL: none */
        json_t *answer;              /* NULL: an empty body */
        bool is_job;                 /* the answer is a Job, or a list of Jobs in "value" */
        unsigned status;
        bool changed;           /* something in the store */
        uint64_t job, revision; /* 0: none */
};

/* On the store's thread. Each returns 0 with answer or fault, or a negative errno with `error`. */
int dmn_rest_list(struct job_store *s, void *act, struct bth_error *error) _must_check_;
int dmn_rest_get(struct job_store *s, void *act, struct bth_error *error) _must_check_;
int dmn_rest_put(struct job_store *s, void *act, struct bth_error *error) _must_check_;
int dmn_rest_patch(struct job_store *s, void *act, struct bth_error *error) _must_check_;
int dmn_rest_delete(struct job_store *s, void *act, struct bth_error *error) _must_check_;
int dmn_rest_keys(struct job_store *s, void *act, struct bth_error *error) _must_check_;

/* Finds the job of the path and holds it against If-Match. Returns 0; -EINVAL with the act's fault;
 * or an error of the store. */
int dmn_rest_find(struct job_store *s, struct dmn_rest_act *a, struct job_record **ret_record,
                  struct bth_error *error) _must_check_;
/* Makes the job the answer. Returns 0 or an error of the store. */
int dmn_rest_answer_job(struct job_store *s, struct dmn_rest_act *a, uint64_t job,
                        struct bth_error *error) _must_check_;
