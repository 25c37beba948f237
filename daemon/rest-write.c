/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rest-write - how clients of the job service make, change and delete jobs. On the store's thread.
 *
 * A request is one transaction, from finding the job and holding it against If-Match until the
 * answer has been made: of one that asks for several things all are done or none. What would be
 * refused is looked for first, so that the client is told which of them it is. */
#include <string.h>

#include "base/str.h"
#include "base/time.h"
#include "daemon/rest-act.h"
#include "jobs/match.h"

/* A request of which nothing is done has changed nothing that others would have to look at. */
static int in_one(struct job_store *s, struct dmn_rest_act *a,
                  int (*run)(struct job_store *s, struct dmn_rest_act *a, struct bth_error *error),
                  struct bth_error *error)
{
        int r = job_store_begin(s, error);

        if (r == 0)
                r = job_store_end(s, run(s, a, error), error);
        if (r < 0)
                a->changed = false;
        return r;
}

/* -- making
 * ------------------------------------------------------------------------------------------- */

static int check_keys(struct dmn_rest_act *a)
{
        const struct dmn_rest_body *b = &a->body;

        for (size_t i = 0; i < b->n_drives; i++)
                if (!b->drives[i].key)
                        return dmn_rest_fault(
                                &a->fault, 400, "InvalidRequestContent", "properties.driveList",
                                "The drive '%s' has no bitLockerKey.", b->drives[i].serial);
        return 0;
}

/* Errors of rules that are the client's become faults; the store's own stay errors. */
static int fault_or_error(struct dmn_rest_act *a, int r, struct bth_error *error)
{
        switch (r) {
        case -EINVAL:
        case -EEXIST:
        case -EDQUOT:
        case -EPERM:
        case -ENOENT:
                (void)dmn_rest_fault_of(&a->fault, error);
                bth_error_clear(error);
                return -EINVAL;
        default:
                return r;
        }
}

static int make(struct job_store *s, struct dmn_rest_act *a, struct bth_error *error)
{
        const struct dmn_rest_body *b = &a->body;
        struct job_draft draft = {
                .scope = a->route.scope,
                .name = a->route.name,
                .account = b->account,
                .location = b->location,
                .diagnostics = b->diagnostics,
                .origin = "api",
                .tags = b->tags,
                .verbose_log = b->verbose_log < 0 ? a->verbose_log : b->verbose_log != 0,
                .backup_manifest =
                        b->backup_manifest < 0 ? a->backup_manifest : b->backup_manifest != 0,
                .accept_unshipped = a->accept_unshipped,
                .drives = b->drives,
                .n_drives = b->n_drives,
        };
        struct bth_error e = BTH_ERROR_INIT;
        uint64_t job = 0;
        int r = check_keys(a);

        if (r < 0)
                return r;
        for (size_t i = 0; i < _JOB_PERSONAL_MAX; i++)
                draft.personal[i] = b->personal[i];
        r = job_admit(s, &draft, true, a->max_active, &e);
        if (r == 0)
                r = job_store_add(s, &draft, false, bth_now_realtime_usec(), a->who, &job, &e);
        if (r < 0) {
                *error = e;
                return fault_or_error(a, r, error);
        }
        a->changed = true;
        a->status = 201;
        return dmn_rest_answer_job(s, a, job, error);
}

/* -- changing
 * ----------------------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
        return bth_ascii_casecmp(a ? a : "", b ? b : "") == 0;
}

/* Returns 1 when the key that was sent is the one that is stored, or none was sent; 0, or an error
 * of the store. */
static int same_key(struct job_store *s, const struct job_record *r, size_t i,
                    const struct bth_secret *key, struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *stored = NULL;
        int k;

        if (!key)
                return 1;
        if (!r->drives[i].has_key)
                return 0;
        k = job_store_key(s, r->id, i, &stored, error);
        return k < 0 ? k : bth_secret_equal(stored, key);
}

/* Returns 1 when the drives of the body are those that the job has; 0, or an error of the store. */
static int same_drives(struct job_store *s, const struct job_record *r,
                       const struct dmn_rest_body *b, struct bth_error *error)
{
        int same = b->n_drives == r->model.n_drives;

        for (size_t i = 0; i < b->n_drives && same == 1; i++) {
                const struct job_draft_drive *d = &b->drives[i];
                const struct job_record_drive *had = &r->drives[i];

                if (!job_serial_equal(d->serial, had->serial) ||
                    !same_text(d->manifest_file, had->manifest_file) ||
                    !same_text(d->manifest_hash, had->manifest_hash) ||
                    !same_text(d->header_hash, had->header_hash))
                        return 0;
                same = same_key(s, r, i, d->key, error);
        }
        return same;
}

static bool body_edits(const struct dmn_rest_body *b)
{
        bool edits = b->tags || b->diagnostics || b->verbose_log >= 0 || b->backup_manifest >= 0;

        for (size_t i = 0; i < _JOB_PERSONAL_MAX; i++)
                edits = edits || b->personal[i];
        return edits;
}

static int step_copy(struct dmn_rest_act *a, struct job_model *m, enum job_input_kind kind,
                     const char *target)
{
        const struct job_input input = { .kind = kind };
        struct job_outcome outcome;

        if (job_step(m, &a->policy, &input, bth_now_realtime_usec(), &outcome) == 0)
                return 0;
        return dmn_rest_fault(&a->fault, 409, "OperationNotAllowed", target, "'%s': %s.", target,
                              outcome.sentence);
}

/* Would all of it be possible? `replace`: the drives are others. */
static int rehearse(struct job_store *s, struct dmn_rest_act *a, const struct job_record *r,
                    bool replace, struct bth_error *error)
{
        const struct dmn_rest_body *b = &a->body;
        struct job_model m = r->model;
        struct bth_error e = BTH_ERROR_INIT;
        int k = dmn_rest_windows(b, &m, &a->fault);

        if (k == 0 && replace) {
                k = job_admit_drives(s, r->id, b->drives, b->n_drives, &e);
                if (k < 0) {
                        *error = e;
                        return fault_or_error(a, k, error);
                }
        }
        m.has_return = m.has_return || b->personal[JOB_PERSONAL_RETURN_ADDRESS];
        m.has_delivery = m.has_delivery || b->personal[JOB_PERSONAL_DELIVERY_PACKAGE];
        if (k == 0 && b->ship)
                k = step_copy(a, &m, JOB_INPUT_SHIPPED, "properties.state");
        if (k == 0 && b->cancel)
                k = step_copy(a, &m, JOB_INPUT_CANCELLED, "properties.cancelRequested");
        return k;
}

static int apply(struct job_store *s, const struct dmn_rest_act *a, uint64_t job,
                 enum job_input_kind kind, struct bth_error *error)
{
        const struct job_act act = { .job = job, .input.kind = kind };
        struct job_outcome outcome;

        return job_store_apply(s, &act, &a->policy, bth_now_realtime_usec(), a->who, &outcome,
                               error);
}

static int edit(struct job_store *s, const struct dmn_rest_act *a, uint64_t job,
                struct bth_error *error)
{
        const struct dmn_rest_body *b = &a->body;
        struct job_edit e = { .tags = b->tags,
                              .diagnostics = b->diagnostics,
                              .verbose_log = b->verbose_log,
                              .backup_manifest = b->backup_manifest };

        for (size_t i = 0; i < _JOB_PERSONAL_MAX; i++)
                e.personal[i] = b->personal[i];
        return job_store_edit(s, job, &e, &a->policy, bth_now_realtime_usec(), a->who, error);
}

/* Drives first: only they may still be refused here, since one may have been docked. */
static int change(struct job_store *s, struct dmn_rest_act *a, const struct job_record *record,
                  struct bth_error *error)
{
        const struct dmn_rest_body *b = &a->body;
        struct bth_error e = BTH_ERROR_INIT;
        int same = b->has_drives ? same_drives(s, record, b, error) : 1;
        int r = same < 0 ? same : rehearse(s, a, record, same == 0, error);

        if (r < 0)
                return r;
        if (same == 0)
                r = job_store_set_drives(s, record->id, b->drives, b->n_drives, &a->policy,
                                         bth_now_realtime_usec(), a->who, &e);
        if (r == 0)
                a->changed = same == 0 || body_edits(b) || b->ship || b->cancel;
        if (r == 0 && body_edits(b))
                r = edit(s, a, record->id, &e);
        if (r == 0 && b->ship)
                r = apply(s, a, record->id, JOB_INPUT_SHIPPED, &e);
        if (r == 0 && b->cancel)
                r = apply(s, a, record->id, JOB_INPUT_CANCELLED, &e);
        if (r < 0) {
                *error = e;
                return fault_or_error(a, r, error);
        }
        return dmn_rest_answer_job(s, a, record->id, error);
}

static int patch(struct job_store *s, struct dmn_rest_act *a, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        int r = dmn_rest_find(s, a, &record, error);

        return r < 0 ? r : change(s, a, record, error);
}

int dmn_rest_patch(struct job_store *s, void *act, struct bth_error *error)
{
        return in_one(s, act, patch, error);
}

/* -- PUT
 * ---------------------------------------------------------------------------------------------- */

static bool same_place(const char *a, const char *b)
{
        while (a && b) {
                a += strspn(a, " ");
                b += strspn(b, " ");
                if (strncasecmp(a, b, 1) != 0)
                        return false;
                if (*a == '\0')
                        return true;
                a++;
                b++;
        }
        return !a && !b;
}

/* What a job is for stays; the rest of it can be written anew while it is Creating. */
static int replace(struct job_store *s, struct dmn_rest_act *a, const struct job_record *record,
                   struct bth_error *error)
{
        struct dmn_rest_body *b = &a->body;

        if (record->model.state != BTH_JOB_STATE_CREATING)
                return dmn_rest_fault(&a->fault, 409, "OperationNotAllowed", NULL,
                                      "The job '%s' is %s: it can only be written again while it "
                                      "is Creating.",
                                      record->name, bth_job_state_to_string(record->model.state));
        if (!same_place(record->location, b->location))
                return dmn_rest_fault(&a->fault, 409, "InvalidResourceLocation", "location",
                                      "The job exists already in the location '%s'.",
                                      record->location ? record->location : "");
        if (!same_text(record->account, b->account))
                return dmn_rest_fault(&a->fault, 409, "PropertyChangeNotAllowed",
                                      "properties.storageAccountId",
                                      "The storage account of a job cannot be changed.");
        if (!b->tags)
                b->tags = strdup("{}");
        if (!b->tags)
                return -ENOMEM;
        b->verbose_log = b->verbose_log < 0 ? a->verbose_log : b->verbose_log;
        b->backup_manifest = b->backup_manifest < 0 ? a->backup_manifest : b->backup_manifest;
        return change(s, a, record, error);
}

static int put(struct job_store *s, struct dmn_rest_act *a, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        int r = dmn_rest_find(s, a, &record, error);

        if (r == -EINVAL && a->fault.status == 404 && !a->if_match) {
                a->fault = (struct dmn_rest_fault){ 0 };
                return make(s, a, error);
        }
        if (r == -EINVAL && a->fault.status == 404)
                return dmn_rest_fault(&a->fault, 412, "PreconditionFailed", NULL,
                                      "There is no such job that could match.");
        if (r == 0 && a->if_none_match)
                return dmn_rest_fault(&a->fault, 412, "PreconditionFailed", NULL,
                                      "The job '%s' exists already.", record->name);
        return r < 0 ? r : replace(s, a, record, error);
}

int dmn_rest_put(struct job_store *s, void *act, struct bth_error *error)
{
        return in_one(s, act, put, error);
}

/* -- deleting
 * ----------------------------------------------------------------------------------------- */

/* Addresses and keys go with the record, at once. */
static int delete (struct job_store *s, struct dmn_rest_act *a, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        int r = dmn_rest_find(s, a, &record, error);

        if (r < 0)
                return r;
        r = apply(s, a, record->id, JOB_INPUT_DELETED, &e);
        if (r < 0) {
                *error = e;
                return fault_or_error(a, r, error);
        }
        a->changed = true;
        return 0;
}

int dmn_rest_delete(struct job_store *s, void *act, struct bth_error *error)
{
        return in_one(s, act, delete, error);
}
