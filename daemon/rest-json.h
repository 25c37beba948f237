/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rest-json - jobs as the job service writes them, from JSON and to JSON.
 *
 *     PUT, PATCH ── body ─> dmn_rest_body ─> draft or edit (jobs/store.h)
 *     record, personal data, history ─> Job ─> answer
 *
 * What the service sets by itself (state, percentComplete, …) may stand in what a client sends back
 * and is not looked at; a member that nobody knows is refused with its name, since it would be lost
 * without a word. BitLocker keys go in and never out. Any thread; jansson's rules apply.
 * Source: import-export specification 6.3, 6.6, 7.3 to 7.10. */
#pragma once

#include "daemon/config.h"
#include "daemon/rest-route.h"
#include "jobs/store.h"

#define DMN_REST_TEXT_MAX 1024u /* bytes of one text of a body */
#define DMN_REST_TAGS_MAX 50u

/* What a body asks for. NULL, -1 and false: it says nothing about it. Texts without a note borrow
 * from the body. */
struct dmn_rest_body {
        const char *location, *account, *diagnostics;
        char *tags; /* JSON, made */
        int verbose_log, backup_manifest;
        char *personal[_JOB_PERSONAL_MAX]; /* JSON, made */
        bool has_drives;
        struct job_draft_drive drives[JOB_MAX_DRIVES]; /* keys and manifest_file are made */
        size_t n_drives;
        bool ship, cancel; /* PATCH only */
};
/* Wipes the keys. */
void dmn_rest_body_clear(struct dmn_rest_body *b);

/* PutJobParameters: everything that a new import job needs is there, but keys: an update may leave
 * them out. Returns 0; -EINVAL with `fault`; -ENOMEM. Clear the body in any case. */
int dmn_rest_parse_put(const json_t *json, struct dmn_rest_body *ret_body,
                       struct dmn_rest_fault *fault) _must_check_;
/* UpdateJobParameters. Returns as dmn_rest_parse_put(). */
int dmn_rest_parse_patch(const json_t *json, struct dmn_rest_body *ret_body,
                         struct dmn_rest_fault *fault) _must_check_;

/* Is it a member of a return address (7.5)? */
bool dmn_rest_is_address_member(const char *name) _pure_;

/* Does the window of everything that the body changes stand open (6.3)? Returns 0, or -EINVAL with
 * `fault`. */
int dmn_rest_windows(const struct dmn_rest_body *b, const struct job_model *m,
                     struct dmn_rest_fault *fault) _must_check_;

/* What a Job is made of beside its record. */
struct dmn_rest_more {
        char *personal[_JOB_PERSONAL_MAX];    /* JSON; NULL: none */
        char *created_by, *modified_by;       /* NULL: the station itself */
        uint64_t created_usec, modified_usec; /* 0: not known, then there is no systemData */
};
void dmn_rest_more_clear(struct dmn_rest_more *m);

/* A Job without what the configuration adds. NULL when there is no memory. */
json_t *dmn_rest_job(const struct job_record *r, const struct dmn_rest_more *more,
                     enum dmn_rest_version version);
/* Adds the address of the data centre, and makes URIs of the places of logs. Never fails for good:
 * what there is no memory for is left out. */
void dmn_rest_job_finish(json_t *job, const struct dmn_config *c);

/* NULL when there is no memory. */
json_t *dmn_rest_location(const struct dmn_config *c, const struct dmn_location_config *l);
json_t *dmn_rest_operations(void);
