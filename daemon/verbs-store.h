/* SPDX-License-Identifier: GPL-3.0-or-later */
/* verbs-store - calls that the store answers, shared by verbs-jobs.c, verbs-drives.c and
 * verbs-events.c. Inside daemon/ only.
 *
 *     loop:   dmn_store_begin() ──> store's thread: run() makes the answer
 *     loop:   adds what only the loop knows (progress) <── answers the call, and slots look again
 *
 * While a task is under way the call and the answer belong to the store's thread. */
#pragma once

#include "daemon/journals.h"
#include "daemon/station-internal.h"
#include "daemon/verbs.h"

struct dmn_store_call;
/* On the store's thread. Sets `answer`. Returns 0, or a negative errno with its sentence. */
typedef int (*dmn_store_fn)(struct job_store *store, struct dmn_store_call *sc,
                            struct bth_error *error);

struct dmn_store_call {
        struct dmn_station *station; /* the loop's */
        struct dmn_call *call;
        dmn_store_fn run;
        enum job_input_kind kind; /* of acts */
        uint64_t job;             /* of imports: what was made */
        struct job_policy policy;
        char place[128];       /* the station's name */
        char *spool_directory; /* as configured, or NULL */
        json_t *answer;
        const char *list;                 /* of lists: the member that is one; else NULL */
        json_t *progress;                 /* with `list`: what is being copied, and how far */
        json_t *extra;                    /* members for the answer, of imports; or NULL */
        struct dmn_journals_result *read; /* what journals say; or NULL */
        bool changed;                     /* the store: slots look again */
};

/* Refuses members that are not in `members` (NULL at the end), and hands the call to the store. It
 * is answered in any case. `sc` is copied, `extra` and `read` taken over. */
void dmn_store_begin(const struct dmn_store_call *sc, const char *const *members);

/* --- on the store's thread --- */

/* Adds a job, a drive, or what else there is a list of; takes it over. Returns 0 or -ENOMEM. */
int dmn_store_list_add(struct dmn_store_call *sc, json_t *view) _must_check_;
/* The same of a text: it is freed. Returns 0 or -ENOMEM, also for NULL. */
int dmn_store_list_add_text(struct dmn_store_call *sc, char *text) _must_check_;

/* The job of a call's {job}: by its name; a job of another scope when the station's own has none of
 * that name; with the member "scope" in that one only. Returns 0; -ENOENT; -EEXIST when several
 * scopes have it, with their names; or an error of the store. */
int dmn_find_job(struct job_store *store, const struct dmn_call *c, const char *name,
                 struct job_record **ret_record, struct bth_error *error) _must_check_;

/* The drive of a job by its serial number in any spelling. Of several jobs that which still goes
 * on; of none that does the newest; with the members "job" and "scope" that one. Returns 0;
 * -ENOENT; -EEXIST when several jobs that go on have it, with their names; or an error of the
 * store. */
int dmn_find_drive(struct job_store *store, const struct dmn_call *c, const char *serial,
                   struct job_record **ret_record, size_t *ret_drive, struct bth_error *error)
        _must_check_;
