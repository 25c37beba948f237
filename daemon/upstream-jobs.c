/* SPDX-License-Identifier: GPL-3.0-or-later */
/* upstream-jobs - jobs and keys from the job service into the store.
 *
 *     GET jobs?location=…&serials=… ── 304: as before
 *                                  └── 200: page after page ── one task: made, shipped, cancelled
 *
 * A job is made once and is then this station's: what upstream still decides is that it was shipped
 * or taken back, and which drives another station has done. One that upstream has no more ends here
 * when nothing of it has come, or all of it is done. What upstream says is checked like any draft.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "daemon/upstream-internal.h"
#include "jobs/match.h"

#define PATH        "/v1/hub/jobs"
#define SERIALS_MAX 64u
#define JOBS_MAX    20000u /* of all pages */
#define ORIGIN      "upstream"
#define WHO         "job service"

static void rest(struct dmn_upstream *u)
{
        u->fetch.busy = false;
        upstream_at(&u->fetch, bth_now_monotonic_usec() + u->config.poll_sec * BTH_USEC_PER_SEC);
}

/* Keys are in it: texts are wiped before they are freed. */
static void wipe(json_t *j)
{
        const char *name;
        json_t *value;
        size_t i;

        if (json_is_string(j))
                bth_wipe((char *)(uintptr_t)json_string_value(j), json_string_length(j));
        json_object_foreach(j, name, value) wipe(value);
        json_array_foreach(j, i, value) wipe(value);
}

void upstream_drop_jobs(struct dmn_upstream *u)
{
        wipe(u->jobs);
        u->jobs = bth_json_free(u->jobs);
        u->after = 0;
}

/* --- on the store's thread: one job --- */

static const char *text_of(const json_t *j, const char *key)
{
        return json_string_value(json_object_get(j, key));
}

static bool flag_of(const json_t *j, const char *key)
{
        return json_is_true(json_object_get(j, key));
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
                               .activity = JOB_ACTIVITY_NONE,
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
                const struct job_drive told = told_of(drive);

                for (size_t d = 0; is_done(drive) && d < r->model.n_drives && k >= 0; d++) {
                        if (r->model.drives[d].docked || job_drive_done(&r->model, d) ||
                            !job_serial_equal(r->drives[d].serial, text_of(drive, "serial")))
                                continue;
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
        const struct dmn_upstream *u;
        struct job_store *store;
        struct bth_error *error;
        bool changed;
        uint64_t last;
};

static bool is_listed(const struct dmn_upstream *u, const struct job_record *r)
{
        const json_t *j;
        size_t i;

        json_array_foreach(u->jobs, i, j)
        {
                const char *name = text_of(j, "name"), *scope = text_of(j, "scope");

                if (name && bth_ascii_casecmp(name, r->name) == 0 &&
                    bth_ascii_casecmp(scope ? scope : "", r->scope) == 0)
                        return true;
        }
        return false;
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
        if (!bth_streq(r->origin, ORIGIN) || r->model.state >= BTH_JOB_STATE_COMPLETED ||
            is_listed(g->u, r))
                return 0;
        /* One at another place was asked for by the serial number of its drive only. */
        if (r->location && (!g->u->location || bth_ascii_casecmp(r->location, g->u->location) != 0))
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

static int end_gone(struct job_store *s, const struct dmn_upstream *u, bool *ret_changed,
                    struct bth_error *error)
{
        struct gone g = { .u = u, .store = s, .error = error };
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

/* --- the task --- */

static bool is_of_store(int r)
{
        return r == -ENOSPC || r == -EIO || r == -EROFS || r == -ENOMEM || r == -EDQUOT;
}

static int apply_task(struct job_store *s, void *userdata, struct bth_error *error)
{
        struct dmn_upstream *u = userdata;
        const json_t *j;
        size_t i;
        int r;

        u->changed = false;
        bth_error_clear(&u->trouble);
        json_array_foreach(u->jobs, i, j)
        {
                struct bth_error e = BTH_ERROR_INIT;

                r = take_job(s, j, &e);
                u->changed |= r > 0;
                if (r < 0 && is_of_store(r)) {
                        if (error)
                                *error = e;
                        return r;
                }
                if (r < 0 && u->trouble.code == 0) /* the others go on */
                        u->trouble = e;
        }
        return end_gone(s, u, &u->changed, error);
}

static void tell_trouble(struct dmn_upstream *u)
{
        if (u->trouble.code < 0 && strcmp(u->trouble.sentence, u->told) != 0)
                bth_log_error(LOG_WARNING, &u->trouble);
        (void)snprintf(u->told, sizeof u->told, "%s", u->trouble.sentence);
}

static void applied(void *userdata, int r, const struct bth_error *error)
{
        struct dmn_upstream *u = userdata;

        if (upstream_is_gone(u))
                return;
        upstream_drop_jobs(u);
        if (r < 0) {
                u->etag[0] = '\0'; /* the same is to come again */
                upstream_failed(u, &u->fetch, error, 0);
                return;
        }
        u->fetched_usec = bth_now_realtime_usec();
        tell_trouble(u);
        rest(u);
        if (u->changed && u->events->changed)
                u->events->changed(u->userdata);
}

/* --- fetching --- */

static int fetch_page(struct dmn_upstream *u, struct bth_error *error);

static void failed(struct dmn_upstream *u, const struct bth_error *error, uint64_t least_sec)
{
        upstream_drop_jobs(u);
        u->etag[0] = '\0';
        upstream_failed(u, &u->fetch, error, least_sec);
}

/* Adds the jobs of a page, whose array stays `page`'s. Returns 1 when there is another page. */
static int take_page(struct dmn_upstream *u, json_t *page, struct bth_error *error)
{
        json_t *jobs = json_object_get(page, "jobs");
        const json_t *next = json_object_get(page, "next");

        if (!u->jobs)
                u->jobs = json_array();
        if (!json_is_array(jobs) || (next && !json_is_integer(next)))
                return bth_error_set(error, -EBADMSG, BTH_REASON_NETWORK,
                                     "the job service's list of jobs is no such list");
        if (json_array_size(u->jobs) + json_array_size(jobs) > JOBS_MAX)
                return bth_error_set(error, -E2BIG, BTH_REASON_LIMIT_EXCEEDED,
                                     "the job service has more than %u jobs for this station",
                                     JOBS_MAX);
        if (!u->jobs || json_array_extend(u->jobs, jobs) < 0)
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory");
        if (!next)
                return 0;
        if ((uint64_t)json_integer_value(next) <= u->after)
                return bth_error_set(error, -EBADMSG, BTH_REASON_NETWORK,
                                     "the job service's list of jobs goes in a circle");
        u->after = (uint64_t)json_integer_value(next);
        return 1;
}

static void take_answer(struct dmn_upstream *u, const struct dmn_answer *answer)
{
        _cleanup_json_ json_t *page = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        int r = bth_json_parse(answer->body, answer->n, &page, &e);

        if (r == 0)
                r = take_page(u, page, &e);
        if (r > 0) {
                r = fetch_page(u, &e);
        } else if (r == 0) {
                upstream_well(u, &u->fetch);
                r = upstream_submit(u, apply_task, applied);
                if (r < 0)
                        (void)bth_error_set(&e, r, BTH_REASON_INTERNAL,
                                            "the jobs cannot be stored: %s", bth_strerror(r));
        }
        if (r < 0)
                failed(u, &e, 0);
}

static void on_answer(void *userdata, const struct dmn_answer *answer,
                      const struct bth_error *error)
{
        struct dmn_upstream *u = userdata;
        struct bth_error e = BTH_ERROR_INIT;

        u->fetch.request = dmn_request_free(u->fetch.request);
        if (!answer) {
                failed(u, error, 0);
        } else if (answer->status == 304 && u->etag[0] != '\0') {
                upstream_well(u, &u->fetch);
                u->fetched_usec = bth_now_realtime_usec();
                rest(u);
        } else if (answer->status == 200) {
                if (u->after == 0) /* the tag is the whole list's */
                        (void)snprintf(u->etag, sizeof u->etag, "%s",
                                       answer->etag ? answer->etag : "");
                take_answer(u, answer);
        } else {
                bth_error_at(&e, u->config.url, 0, BTH_ERROR_NO_OFFSET);
                (void)upstream_explain(answer, &e);
                failed(u, &e, answer->retry_after_sec);
        }
}

static int add_escaped(struct bth_buf *b, const char *text)
{
        int r = 0;

        for (const char *p = text; *p && r == 0; p++) {
                const bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                                   (*p >= '0' && *p <= '9') || strchr("-._~", *p);

                r = plain ? bth_buf_add(b, p, 1)
                          : bth_buf_add_format(b, "%%%02X", (unsigned)(uint8_t)*p);
        }
        return r;
}

static int make_query(struct dmn_upstream *u, char **ret_query)
{
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
        const char *serials[SERIALS_MAX];
        size_t n = u->events->unknown_drives
                           ? u->events->unknown_drives(u->userdata, serials, SERIALS_MAX)
                           : 0;
        int r = bth_buf_add_string(&b, PATH "?location=");

        if (r == 0)
                r = add_escaped(&b, u->location ? u->location : "");
        for (size_t i = 0; i < n && r == 0; i++) {
                r = bth_buf_add_string(&b, i == 0 ? "&serials=" : "%20");
                if (r == 0)
                        r = add_escaped(&b, serials[i]);
        }
        if (r == 0)
                *ret_query = take_ptr(b.data);
        return r;
}

static int fetch_page(struct dmn_upstream *u, struct bth_error *error)
{
        _cleanup_buf_ struct bth_buf path = BTH_BUF_INIT;
        const bool first = u->after == 0;
        int r = bth_buf_add_string(&path, u->query);

        if (r == 0 && !first)
                r = bth_buf_add_format(&path, "&after=%" PRIu64, u->after);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY, "no memory");
        return upstream_send(u, "GET", path.data, NULL,
                             first && u->etag[0] != '\0' ? u->etag : NULL, NULL, on_answer,
                             &u->fetch.request, error);
}

int upstream_on_fetch(sd_event_source *s, uint64_t usec, void *userdata)
{
        struct dmn_upstream *u = userdata;
        struct bth_error e = BTH_ERROR_INIT;
        char *query = NULL;
        int r;

        (void)s;
        (void)usec;
        if (u->fetch.busy)
                return 0;
        u->fetch.busy = true;
        upstream_drop_jobs(u);
        r = make_query(u, &query);
        if (r < 0) {
                (void)bth_error_set(&e, r, BTH_REASON_OUT_OF_MEMORY, "no memory");
        } else {
                if (!bth_streq(query, u->query))
                        u->etag[0] = '\0';
                free(u->query);
                u->query = query;
                r = fetch_page(u, &e);
        }
        if (r < 0)
                failed(u, &e, 0);
        return 0;
}
