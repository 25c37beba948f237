/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sync - see sync.h. */
#include "daemon/sync.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/order.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/answer.h"
#include "jobs/match.h"

#define ORIGIN "upstream"
#define WHO    "job service"

/* --- one job --- */

static const char *text_of(const json_t *j, const char *key)
{
        return json_string_value(json_object_get(j, key));
}

static bool flag_of(const json_t *j, const char *key)
{
        return json_is_true(json_object_get(j, key));
}

/* What tells a job from the others, in one spelling; free() it. NULL: no memory. */
static char *key_of(const char *scope, const char *name)
{
        char *key;

        if (asprintf(&key, "%s\n%s", scope ? scope : "", name) < 0)
                return NULL;
        for (char *p = key; *p; p++)
                *p = (char)(*p >= 'A' && *p <= 'Z' ? *p | 0x20 : *p);
        return key;
}

/* 0 when it is not told. */
static uint64_t number_of(const json_t *j, const char *key)
{
        uint64_t v = 0;

        return bth_json_get_u64(j, key, &v) == 0 ? v : 0;
}

/* Done elsewhere: not to be copied again here. */
static bool is_done(const json_t *drive)
{
        switch (bth_drive_state_from_string(text_of(drive, "state"))) {
        case BTH_DRIVE_STATE_COMPLETED:
        case BTH_DRIVE_STATE_COMPLETED_MORE_INFO:
        case BTH_DRIVE_STATE_SHIPPED_BACK:
                return true;
        default:
                return false;
        }
}

static bool all_done(const json_t *drives)
{
        const json_t *drive;
        size_t i;

        json_array_foreach(drives, i, drive) if (!is_done(drive)) return false;
        return json_array_size(drives) > 0;
}

struct drafted {
        struct job_draft_drive drives[JOB_MAX_DRIVES];
        struct bth_secret *keys[JOB_MAX_DRIVES];
        size_t n;
};

static void drafted_clear(struct drafted *d)
{
        for (size_t i = 0; i < d->n; i++)
                (void)bth_secret_free(d->keys[i]);
}

static int draft_drives(const json_t *list, struct drafted *d, struct bth_error *error)
{
        const json_t *drive;
        size_t i;

        json_array_foreach(list, i, drive)
        {
                const char *key = text_of(drive, "key");

                if (d->n == JOB_MAX_DRIVES)
                        return bth_error_set(error, -E2BIG, BTH_REASON_LIMIT_EXCEEDED,
                                             "it has too many drives");
                d->drives[d->n] = (struct job_draft_drive){
                        .serial = text_of(drive, "serial"),
                        .manifest_file = text_of(drive, "manifest_file"),
                        .manifest_hash = text_of(drive, "manifest_hash"),
                        .header_hash = text_of(drive, "header_hash"),
                };
                if (key && *key && !is_done(drive) && strlen(key) <= BTH_ORDER_SECRET_MAX &&
                    bth_secret_new_copy(key, strlen(key), &d->keys[d->n]) < 0)
                        return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory");
                d->drives[d->n].key = d->keys[d->n];
                d->n++;
        }
        return 0;
}

static int apply(struct job_store *s, uint64_t job, enum job_input_kind kind, size_t drive,
                 struct bth_error *error)
{
        static const struct job_policy policy; /* these inputs have no limit of time */
        const struct job_act act = { .job = job, .input = { .kind = kind, .drive = drive } };
        struct job_outcome outcome;
        int r = job_store_apply(s, &act, &policy, bth_now_realtime_usec(), WHO, &outcome, error);

        if (r != -EPERM)
                return r < 0 ? r : 1;
        bth_error_clear(error); /* it is as far, or cannot be */
        return 0;
}

/* Addresses stay with the job service; here it counts that there are some. */
static int ship(struct job_store *s, uint64_t job, struct bth_error *error)
{
        static const struct job_policy policy;
        struct job_edit edit = { .verbose_log = -1, .backup_manifest = -1 };
        int r;

        edit.personal[JOB_PERSONAL_RETURN_ADDRESS] = "{}";
        edit.personal[JOB_PERSONAL_DELIVERY_PACKAGE] = "{}";
        r = job_store_edit(s, job, &edit, &policy, bth_now_realtime_usec(), WHO, error);
        return r < 0 ? r : apply(s, job, JOB_INPUT_SHIPPED, JOB_NO_DRIVE, error);
}

/* How the other station says that it ended. */
static struct job_drive told_of(const json_t *drive)
{
        const enum bth_drive_status status =
                bth_drive_status_from_string(text_of(drive, "copy_status"));
        const enum bth_drive_state state = bth_drive_state_from_string(text_of(drive, "state"));
        const uint64_t now = bth_now_realtime_usec();
        struct job_drive d = { .state = state,
                               .copy = JOB_COPY_ENDED,
                               .activity = JOB_ACTIVITY_SAFE_TO_REMOVE,
                               .bytes = number_of(drive, "bytes"),
                               .bytes_done = number_of(drive, "bytes_done"),
                               .blobs = number_of(drive, "blobs"),
                               .blobs_done = number_of(drive, "blobs_done"),
                               .received_usec = now,
                               .begun_usec = now,
                               .ended_usec = now,
                               .activity_usec = now };

        if (state == BTH_DRIVE_STATE_COMPLETED)
                d.status = BTH_DRIVE_STATUS_COMPLETED;
        else
                d.status = (int)status >= 0 ? status : BTH_DRIVE_STATUS_COMPLETED_WITH_ERRORS;
        return d;
}

/* It is in a bay here, and copied. */
static bool has_begun_here(const struct job_drive *d)
{
        return d->docked && d->copy != JOB_COPY_NONE;
}

/* A drive that another station has done is not waited for here, and not copied again. */
static int adopt_done(struct job_store *s, const struct job_record *r, const json_t *list,
                      struct bth_error *error)
{
        static const struct job_policy policy;
        const json_t *drive;
        int k = 0, changed = 0;
        size_t i;

        json_array_foreach(list, i, drive)
        {
                struct job_drive told = told_of(drive);

                for (size_t d = 0; is_done(drive) && d < r->model.n_drives && k >= 0; d++) {
                        const struct job_drive *here = &r->model.drives[d];

                        if (has_begun_here(here) || job_drive_done(&r->model, d) ||
                            !job_serial_equal(r->drives[d].serial, text_of(drive, "serial")))
                                continue;
                        told.docked = here->docked;
                        k = job_store_adopt(s, r->id, d, &told, &policy, bth_now_realtime_usec(),
                                            WHO, error);
                        changed |= k > 0;
                }
        }
        return k < 0 ? k : changed;
}

static int add_job(struct job_store *s, const json_t *j, struct bth_error *error)
{
        struct drafted d = { .n = 0 };
        struct job_draft draft = {
                .scope = text_of(j, "scope"),
                .name = text_of(j, "name"),
                .account = text_of(j, "account"),
                .location = text_of(j, "location"),
                .diagnostics = text_of(j, "diagnostics"),
                .origin = ORIGIN,
                .verbose_log = flag_of(j, "verbose_log"),
                .backup_manifest = flag_of(j, "backup_manifest"),
                .accept_unshipped = flag_of(j, "accept_unshipped"),
        };
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        uint64_t id;
        int r = draft_drives(json_object_get(j, "drives"), &d, error);

        draft.drives = d.drives;
        draft.n_drives = d.n;
        if (r == 0)
                r = job_admit(s, &draft, true, UINT_MAX, error);
        if (r == 0)
                r = job_store_add(s, &draft, flag_of(j, "shipped"), bth_now_realtime_usec(), WHO,
                                  &id, error);
        drafted_clear(&d);
        if (r == 0)
                r = job_store_get(s, id, &record, error);
        if (r == 0)
                r = adopt_done(s, record, json_object_get(j, "drives"), error);
        return r < 0 ? r : 1;
}

static int sync_job(struct job_store *s, const struct job_record *r, const json_t *j,
                    struct bth_error *error)
{
        int changed = 0, k = 0;

        if (!bth_streq(r->origin, ORIGIN))
                return bth_error_set(error, -EEXIST, BTH_REASON_CONFLICT,
                                     "the station has a job of this name of its own");
        if (flag_of(j, "cancel_requested") && !r->model.cancel_requested) {
                k = apply(s, r->id, JOB_INPUT_CANCELLED, JOB_NO_DRIVE, error);
                return k;
        }
        if (flag_of(j, "shipped") && r->model.state == BTH_JOB_STATE_CREATING) {
                k = ship(s, r->id, error);
                changed |= k > 0;
        }
        if (k >= 0)
                k = adopt_done(s, r, json_object_get(j, "drives"), error);
        return k < 0 ? k : changed | k;
}

/* Returns 1 when something has changed. */
static int take_job(struct job_store *s, const json_t *j, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        const char *name = text_of(j, "name");
        int r;

        if (!name)
                return bth_error_set(error, -EBADMSG, BTH_REASON_VALUE_MISSING,
                                     "a job of the job service has no name");
        bth_error_at(error, name, 0, BTH_ERROR_NO_OFFSET);
        r = dmn_answer_job_check(j, error);
        if (r < 0)
                return r;
        r = job_store_find(s, text_of(j, "scope"), name, &record, error);
        if (r == 0)
                return sync_job(s, record, j, error);
        if (r != -ENOENT)
                return r;
        bth_error_clear(error);
        bth_error_at(error, name, 0, BTH_ERROR_NO_OFFSET);
        return flag_of(j, "cancel_requested") || all_done(json_object_get(j, "drives"))
                       ? 0
                       : add_job(s, j, error);
}

/* --- those that upstream has no more --- */

struct gone {
        struct job_store *store;
        const json_t *names;
        const char *location;
        struct bth_error *error;
        bool changed;
        uint64_t last;
};

static int is_listed(const json_t *names, const struct job_record *r)
{
        _cleanup_free_ char *key = key_of(r->scope, r->name);

        return !key ? -ENOMEM : json_object_get(names, key) != NULL;
}

static bool has_begun(const struct job_record *r)
{
        for (size_t i = 0; i < r->model.n_drives; i++)
                if (r->model.drives[i].docked ||
                    r->model.drives[i].state != BTH_DRIVE_STATE_SPECIFIED)
                        return true;
        return false;
}

static bool is_over(const struct job_record *r)
{
        for (size_t i = 0; i < r->model.n_drives; i++)
                if (r->model.drives[i].docked || !job_drive_done(&r->model, i))
                        return false;
        return true;
}

static int end_if_gone(void *userdata, const struct job_record *r)
{
        struct gone *g = userdata;
        int k = 0;

        g->last = r->id;
        if (!bth_streq(r->origin, ORIGIN) || r->model.state >= BTH_JOB_STATE_COMPLETED)
                return 0;
        k = is_listed(g->names, r);
        if (k != 0)
                return MIN(k, 0);
        /* One at another place was asked for by the serial number of its drive only. */
        if (r->location && (!g->location || bth_ascii_casecmp(r->location, g->location) != 0))
                return 0;
        if (!has_begun(r))
                k = apply(g->store, r->id,
                          r->model.state == BTH_JOB_STATE_CREATING ? JOB_INPUT_DELETED
                                                                   : JOB_INPUT_CANCELLED,
                          JOB_NO_DRIVE, g->error);
        else if (is_over(r)) /* its drives were sent back, from wherever */
                k = apply(g->store, r->id, JOB_INPUT_RETURNED, JOB_NO_DRIVE, g->error);
        g->changed |= k > 0;
        return k < 0 ? k : 0;
}

static int end_gone(struct job_store *s, const json_t *names, const char *location,
                    bool *ret_changed, struct bth_error *error)
{
        struct gone g = { .store = s, .names = names, .location = location, .error = error };
        struct job_filter f = { .state = -1, .limit = JOB_STORE_PAGE_MAX };
        int r;

        do {
                f.before = g.last;
                g.last = 0;
                r = job_store_list(s, &f, end_if_gone, &g, error);
        } while (r == 0 && g.last > 1);
        *ret_changed |= g.changed;
        return r;
}

/* --- all --- */

/* Of two jobs with one name nobody knows which is meant: the first counts. */
static int add_name(json_t *names, const json_t *job, struct bth_error *error)
{
        const char *name = text_of(job, "name");
        _cleanup_free_ char *key = name ? key_of(text_of(job, "scope"), name) : NULL;

        if (!name)
                return 0;
        bth_error_at(error, name, 0, BTH_ERROR_NO_OFFSET);
        if (key && json_object_get(names, key))
                return bth_error_set(error, -EEXIST, BTH_REASON_CONFLICT,
                                     "the job service's list names this job twice");
        if (!key || json_object_set_new(names, key, json_true()) < 0)
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory");
        return 0;
}

static bool is_of_store(int r)
{
        return r == -ENOSPC || r == -EIO || r == -EROFS || r == -ENOMEM || r == -EDQUOT;
}

int dmn_sync_jobs(struct job_store *s, const json_t *jobs, const char *location,
                  struct dmn_synced *ret_synced, struct bth_error *error)
{
        struct dmn_synced done = { .trouble = BTH_ERROR_INIT };
        _cleanup_json_ json_t *names = json_object();
        const json_t *j;
        size_t i;
        int r;

        json_array_foreach(jobs, i, j)
        {
                struct bth_error e = BTH_ERROR_INIT;

                r = add_name(names, j, &e);
                if (r == 0)
                        r = take_job(s, j, &e);
                done.changed |= r > 0;
                if (r < 0 && is_of_store(r)) {
                        if (error)
                                *error = e;
                        return r;
                }
                if (r < 0 && done.trouble.code == 0) /* the others go on */
                        done.trouble = e;
        }
        r = end_gone(s, names, location, &done.changed, error);
        if (r == 0)
                *ret_synced = done;
        return r;
}
