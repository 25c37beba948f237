/* SPDX-License-Identifier: GPL-3.0-or-later */
/* verbs-drives - looking at the drives of jobs, and booking them in or saying that they did not
 * come. What concerns a drive in a bay is in verbs-bays.c. */
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "daemon/verbs-store.h"
#include "jobs/receipt.h"

#define JOBS_DEFAULT 100 /* on a page */

static const char *const drive_members[] = { "job", "scope", NULL };

/* --- looking --- */

struct page {
        struct dmn_store_call *call;
        uint64_t last;
        size_t n; /* jobs */
};

static int add_drives(void *userdata, const struct job_record *r)
{
        struct page *p = userdata;

        p->last = r->id;
        p->n++;
        for (size_t i = 0; i < r->model.n_drives; i++) {
                int k = dmn_store_list_add(p->call, dmn_drive_view(r, i));

                if (k < 0)
                        return k;
        }
        return 0;
}

static int list_of_job(struct job_store *store, struct dmn_store_call *sc, const char *job,
                       struct page *page, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        int r = dmn_find_job(store, sc->call, job, &record, error);

        return r < 0 ? r : add_drives(page, record);
}

static int run_list(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        struct job_filter filter = { .state = -1, .limit = JOBS_DEFAULT };
        struct page page = { .call = sc };
        const char *job = NULL;
        int r = dmn_call_text(sc->call, "job", &job, error);

        sc->answer = json_object();
        if (r == 0)
                r = dmn_call_text(sc->call, "scope", &filter.scope, error);
        if (r == 0)
                r = dmn_call_u64(sc->call, "before", &filter.before, error);
        if (r == 0 && job)
                return list_of_job(store, sc, job, &page, error);
        if (r == 0)
                r = job_store_list(store, &filter, add_drives, &page, error);
        if (r == 0 && page.n == filter.limit)
                (void)json_object_set_new(sc->answer, "next", json_integer((json_int_t)page.last));
        return r;
}

void dmn_do_drives_list(struct dmn_station *s, struct dmn_call *c)
{
        static const char *const members[] = { "before", "job", "scope", NULL };

        dmn_store_begin(
                &(struct dmn_store_call){
                        .station = s, .call = c, .run = run_list, .list = "drives" },
                members);
}

static int run_show(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        size_t drive;
        int r = dmn_find_drive(store, sc->call, sc->call->target, &record, &drive, error);

        if (r == 0)
                sc->answer = dmn_drive_view(record, drive);
        return r;
}

void dmn_do_drive_show(struct dmn_station *s, struct dmn_call *c)
{
        dmn_store_begin(&(struct dmn_store_call){ .station = s, .call = c, .run = run_show },
                        drive_members);
}

static int run_receipt(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        struct job_receipt receipt;
        json_t *json;
        size_t drive;
        int r = dmn_find_drive(store, sc->call, sc->call->target, &record, &drive, error);

        if (r == 0)
                r = job_receipt_make(store, record->id, drive, sc->place, bth_now_realtime_usec(),
                                     &receipt, error);
        if (r < 0)
                return r;
        r = bth_json_parse(receipt.json, strlen(receipt.json), &json, error);
        if (r == 0)
                sc->answer = json_pack("{s:o,s:s,s:s}", "receipt", json, "text", receipt.text,
                                       "sha256", receipt.sha256);
        job_receipt_clear(&receipt);
        return r;
}

void dmn_do_drive_receipt(struct dmn_station *s, struct dmn_call *c)
{
        dmn_store_begin(&(struct dmn_store_call){ .station = s, .call = c, .run = run_receipt },
                        drive_members);
}

static int add_run(void *userdata, const struct job_run_record *run)
{
        return json_array_append_new(userdata, dmn_run_view(run)) == 0 ? 0 : -ENOMEM;
}

static int run_logs(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        const struct job_record_drive *d;
        json_t *runs = json_array();
        size_t drive;
        int r;

        sc->answer = json_pack("{s:o}", "runs", runs);
        r = dmn_find_drive(store, sc->call, sc->call->target, &record, &drive, error);
        if (r == 0)
                r = job_store_runs(store, record->id, drive, add_run, runs, error);
        if (r < 0)
                return r;
        d = &record->drives[drive];
        return json_object_update_new(
                       sc->answer, json_pack("{s:s,s:s,s:s*,s:s*,s:s*}", "serial", d->serial, "job",
                                             record->name, "error_log", d->error_log, "verbose_log",
                                             d->verbose_log, "manifest_log", d->manifest_log)) == 0
                       ? 0
                       : -ENOMEM;
}

void dmn_do_drive_logs(struct dmn_station *s, struct dmn_call *c)
{
        dmn_store_begin(&(struct dmn_store_call){ .station = s, .call = c, .run = run_logs },
                        drive_members);
}

/* --- acts --- */

static int run_act(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL, *after = NULL;
        struct job_act act = { .input.kind = sc->kind };
        struct job_outcome outcome;
        char sentence[512];
        int r = dmn_find_drive(store, sc->call, sc->call->target, &record, &act.input.drive, error);

        if (r < 0)
                return r;
        act.job = record->id;
        r = job_store_apply(store, &act, &sc->policy, bth_now_realtime_usec(), sc->call->who,
                            &outcome, error);
        if (r == 0)
                r = job_store_get(store, record->id, &after, error);
        if (r < 0)
                return r;
        (void)snprintf(sentence, sizeof sentence,
                       sc->kind == JOB_INPUT_BOOKED ? "drive '%s' of job '%s' was booked in"
                                                    : "drive '%s' of job '%s' did not come",
                       record->drives[act.input.drive].serial, record->name);
        sc->answer = json_pack("{s:s,s:o}", "sentence", sentence, "drive",
                               dmn_drive_view(after, act.input.drive));
        sc->changed = true;
        return 0;
}

void dmn_do_drive_receive(struct dmn_station *s, struct dmn_call *c)
{
        dmn_store_begin(
                &(struct dmn_store_call){
                        .station = s, .call = c, .run = run_act, .kind = JOB_INPUT_BOOKED },
                drive_members);
}

void dmn_do_drive_missing(struct dmn_station *s, struct dmn_call *c)
{
        dmn_store_begin(
                &(struct dmn_store_call){
                        .station = s, .call = c, .run = run_act, .kind = JOB_INPUT_MISSING },
                drive_members);
}
