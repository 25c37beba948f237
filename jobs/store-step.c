/* SPDX-License-Identifier: GPL-3.0-or-later */
/* store-step - the one way in which jobs change (store_step): an input is looked up, the model is
 * written back, and events tell of it, in one transaction. */
#include <string.h>

#include "base/str.h"
#include "jobs/sql.h"
#include "jobs/store-fields.h"

static int save_drive(struct job_store *s, const struct job_record *r, size_t i,
                      struct bth_error *error)
{
        const struct job_drive *v = &r->model.drives[i];
        const struct job_record_drive *d = &r->drives[i];

        return sql_later(s, error,
                         "UPDATE drives SET detail = ?, bay = ?" DRIVE_FIELDS(
                                 SET) " WHERE job = ? AND idx = ?",
                         "ss" DRIVE_FIELDS(LETTER) "uu", d->detail, d->bay DRIVE_FIELDS(NUMBER),
                         r->id, (uint64_t)i);
}

unsigned store_changed_drives(const struct job_model *a, const struct job_model *b)
{
        unsigned drives = 0;

        for (size_t i = 0; i < JOB_MAX_DRIVES; i++)
                if (memcmp(&a->drives[i], &b->drives[i], sizeof a->drives[i]) != 0)
                        drives |= STORE_DRIVE(i);
        return drives;
}

int store_save(struct job_store *s, struct job_record *r, unsigned drives,
               const struct job_policy *policy, struct bth_error *error)
{
        const struct job_model *v = &r->model;
        const uint64_t deadline = job_deadline(v, policy);
        int k;

        r->revision++;
        k = sql_later(s, error,
                      "UPDATE jobs SET revision = ?, deadline_usec = nullif(?, -1)" JOB_FIELDS(
                              SET) " WHERE id = ?",
                      "uu" JOB_FIELDS(LETTER) "u", r->revision, deadline JOB_FIELDS(NUMBER), r->id);
        for (size_t i = 0; i < v->n_drives && k == 0; i++)
                if (drives & STORE_DRIVE(i))
                        k = save_drive(s, r, i, error);
        return k;
}

/* The sentence to an activity lives as long as the activity. */
static int set_detail(struct job_record *r, const struct job_act *act,
                      const struct job_outcome *outcome)
{
        struct job_record_drive *d;
        char *copy = NULL;

        if (act->input.kind < JOB_INPUT_FIRST_OF_DRIVE)
                return 0;
        d = &r->drives[act->input.drive];
        if (act->detail) {
                copy = strndup(act->detail, 4096);
                if (!copy)
                        return -ENOMEM;
        }
        for (size_t i = 0; i < outcome->n_changes; i++)
                if (copy || outcome->changes[i].kind == JOB_CHANGE_DRIVE_ACTIVITY ||
                    outcome->changes[i].kind == JOB_CHANGE_DRIVE_STATE) {
                        free(d->detail);
                        d->detail = take_ptr(copy);
                        break;
                }
        free(copy);
        return 0;
}

bool store_says_deleted(const struct job_outcome *outcome)
{
        for (size_t i = 0; i < outcome->n_changes; i++)
                if (outcome->changes[i].kind == JOB_CHANGE_JOB_DELETED)
                        return true;
        return false;
}

static int step_record(struct job_store *s, struct job_record *r, const struct job_act *act,
                       const struct job_policy *policy, uint64_t now_usec, const char *who,
                       struct job_outcome *ret_outcome, struct bth_error *error)
{
        const struct job_model before = r->model;
        unsigned drives = 0;
        int k = job_step(&r->model, policy, &act->input, now_usec, ret_outcome);

        if (k < 0)
                return bth_error_set(error, k, BTH_REASON_REFUSED, "%s", ret_outcome->sentence);
        /* Flags may change without anything that is worth an event, and often nothing does. */
        if (ret_outcome->n_changes == 0 && memcmp(&before, &r->model, sizeof before) == 0)
                return 0;
        k = set_detail(r, act, ret_outcome);
        if (act->input.kind >= JOB_INPUT_FIRST_OF_DRIVE)
                drives |= STORE_DRIVE(act->input.drive);
        if (k == 0)
                k = store_save(s, r, drives | store_changed_drives(&before, &r->model), policy,
                               error);
        if (k == 0 && store_says_deleted(ret_outcome))
                k = store_forget_job(s, r->id, error);
        return k < 0 ? k : store_add_changes(s, r, ret_outcome, now_usec, who, error);
}

int store_step(struct job_store *s, const struct job_act *act, const struct job_policy *policy,
               uint64_t now_usec, const char *who, struct job_outcome *ret_outcome,
               struct bth_error *error)
{
        struct job_record record;
        int r;

        *ret_outcome = (struct job_outcome){ .refusal = JOB_REFUSAL_NO_SUCH_JOB };
        ret_outcome->sentence = job_refusal_sentence(ret_outcome->refusal);
        r = store_load(s, act->job, &record, error);
        if (r < 0)
                return r;
        r = step_record(s, &record, act, policy, now_usec, who, ret_outcome, error);
        store_record_clear(&record);
        return r;
}

int job_store_apply(struct job_store *s, const struct job_act *act, const struct job_policy *policy,
                    uint64_t now_usec, const char *who, struct job_outcome *ret_outcome,
                    struct bth_error *error)
{
        int r = sql_begin(s, error);

        if (r < 0)
                return r;
        return sql_end(s, store_step(s, act, policy, now_usec, who, ret_outcome, error), error);
}

static int adopt(struct job_store *s, struct job_record *r, size_t drive,
                 const struct job_drive *told, const struct job_policy *policy, uint64_t now_usec,
                 const char *who, struct bth_error *error)
{
        const struct job_model before = r->model;
        struct job_outcome outcome;
        int k = job_adopt(&r->model, policy, drive, told, now_usec, &outcome);

        if (k == -EPERM)
                return 0;
        if (k == 0 && outcome.n_changes == 0 && memcmp(&before, &r->model, sizeof before) == 0)
                return 0;
        if (k == 0)
                k = store_save(s, r, store_changed_drives(&before, &r->model), policy, error);
        if (k == 0)
                k = store_add_changes(s, r, &outcome, now_usec, who, error);
        return k < 0 ? k : 1;
}

int job_store_adopt(struct job_store *s, uint64_t job, size_t drive, const struct job_drive *told,
                    const struct job_policy *policy, uint64_t now_usec, const char *who,
                    struct bth_error *error)
{
        struct job_record record = { 0 };
        int k, r = sql_begin(s, error);

        if (r < 0)
                return r;
        r = store_load(s, job, &record, error);
        if (r == 0)
                r = adopt(s, &record, drive, told, policy, now_usec, who, error);
        store_record_clear(&record);
        k = sql_end(s, MIN(r, 0), error);
        return k < 0 ? k : r;
}

int job_store_apply_all(struct job_store *s, const struct job_act *acts, size_t n,
                        const struct job_policy *policy, uint64_t now_usec, const char *who,
                        struct job_outcome *ret_outcomes, struct bth_error *error)
{
        int r = sql_begin(s, error);

        if (r < 0)
                return r;
        for (size_t i = 0; i < n && r == 0; i++) {
                struct bth_error why = BTH_ERROR_INIT;
                struct job_outcome outcome;

                r = store_step(s, &acts[i], policy, now_usec, who, &outcome, &why);
                if (r == -EPERM || r == -ENOENT) /* neither has written anything */
                        r = 0;
                if (r < 0 && error)
                        *error = why;
                if (ret_outcomes)
                        ret_outcomes[i] = outcome;
        }
        return sql_end(s, r, error);
}

/* --- the clock --- */

#define TICK_MAX 256 /* jobs in one transaction */

static int tick_some(struct job_store *s, const struct job_policy *policy, uint64_t now_usec,
                     size_t *ret_n, struct bth_error *error)
{
        uint64_t ids[TICK_MAX];
        struct sql_statement *st;
        int r = sql(s, error, &st,
                    "SELECT id FROM jobs WHERE deadline_usec <= ? ORDER BY deadline_usec LIMIT ?",
                    "uu", now_usec, (uint64_t)TICK_MAX);

        if (r < 0)
                return r;
        r = store_list_ids(s, st, ids, TICK_MAX, ret_n, error);
        sql_done(st);
        for (size_t i = 0; i < *ret_n && r == 0; i++) {
                const struct job_act act = { .job = ids[i], .input.kind = JOB_INPUT_CLOCK };
                struct job_outcome outcome;

                r = store_step(s, &act, policy, now_usec, NULL, &outcome, error);
                /* A limit that another policy had set: it is set anew. */
                if (r == 0 && outcome.n_changes == 0) {
                        struct job_record record;

                        r = store_load(s, ids[i], &record, error);
                        if (r == 0)
                                r = store_save(s, &record, 0, policy, error);
                        store_record_clear(&record);
                }
        }
        return r;
}

int job_store_tick(struct job_store *s, const struct job_policy *policy, uint64_t now_usec,
                   uint64_t *ret_next_usec, struct bth_error *error)
{
        uint64_t next = 0;
        size_t n;
        int r;

        do {
                r = sql_begin(s, error);
                if (r == 0)
                        r = sql_end(s, tick_some(s, policy, now_usec, &n, error), error);
        } while (r == 0 && n == TICK_MAX);
        if (r == 0)
                r = sql_number(s, error, &next,
                               "SELECT min(deadline_usec) FROM jobs"
                               " WHERE deadline_usec IS NOT NULL",
                               "");
        if (r == 0)
                *ret_next_usec = next > 0 ? next : UINT64_MAX;
        return r;
}
