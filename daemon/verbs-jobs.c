/* SPDX-License-Identifier: GPL-3.0-or-later */
/* verbs-jobs - looking at jobs, and what an operator says about a whole job. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/time.h"
#include "daemon/rest-json.h"
#include "daemon/verbs-store.h"

#define PAGE_DEFAULT 100
#define PARCEL_MAX   128 /* bytes of a carrier or a tracking number */
#define ADDRESS_MAX  (16u << 10)

/* --- looking --- */

struct page {
        struct dmn_store_call *call;
        uint64_t last;
        size_t n;
};

static int add_job(void *userdata, const struct job_record *r)
{
        struct page *p = userdata;

        p->last = r->id;
        p->n++;
        return dmn_store_list_add(p->call, dmn_job_view(r));
}

static int read_filter(const struct dmn_call *c, struct job_filter *f, struct bth_error *error)
{
        const char *state = NULL;
        uint64_t limit = PAGE_DEFAULT;
        int r = dmn_call_u64(c, "before", &f->before, error);

        if (r == 0)
                r = dmn_call_u64(c, "limit", &limit, error);
        if (r == 0)
                r = dmn_call_text(c, "scope", &f->scope, error);
        if (r == 0)
                r = dmn_call_text(c, "state", &state, error);
        if (r < 0)
                return r;
        f->state = state ? (int)bth_job_state_from_string(state) : -1;
        if (state && f->state < 0)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "no job is ever in a state '%s'", state);
        if (limit < 1 || limit > JOB_STORE_PAGE_MAX)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "'limit' has to be 1 to %u", JOB_STORE_PAGE_MAX);
        f->limit = (size_t)limit;
        return 0;
}

static int run_list(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        struct page page = { .call = sc };
        struct job_filter filter = { .state = -1 };
        int r = read_filter(sc->call, &filter, error);

        sc->answer = json_object();
        if (r == 0)
                r = job_store_list(store, &filter, add_job, &page, error);
        if (r == 0 && page.n == filter.limit)
                (void)json_object_set_new(sc->answer, "next", json_integer((json_int_t)page.last));
        return r;
}

void dmn_do_jobs_list(struct dmn_station *s, struct dmn_call *c)
{
        static const char *const members[] = { "before", "limit", "scope", "state", NULL };

        dmn_store_begin(
                &(struct dmn_store_call){
                        .station = s, .call = c, .run = run_list, .list = "jobs" },
                members);
}

static int run_show(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        int r = dmn_find_job(store, sc->call, sc->call->target, &record, error);

        if (r == 0)
                sc->answer = dmn_job_view(record);
        return r;
}

static const char *const scope_only[] = { "scope", NULL };

void dmn_do_job_show(struct dmn_station *s, struct dmn_call *c)
{
        dmn_store_begin(&(struct dmn_store_call){ .station = s, .call = c, .run = run_show },
                        scope_only);
}

/* --- acts --- */

/* What an act answers: the sentence, and the job as it is now when it is still there. */
static int answer_job(struct job_store *store, struct dmn_store_call *sc, uint64_t job,
                      const char *sentence, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        int r = job_store_get(store, job, &record, error);

        if (r < 0)
                return r;
        sc->answer = json_pack("{s:s}", "sentence", sentence);
        if (!record->model.deleted)
                (void)json_object_set_new(sc->answer, "job", dmn_job_view(record));
        sc->changed = true;
        return 0;
}

/* What the spool has of a job: journals, and job.conf with the number of a parcel. */
static int forget_spool(struct job_store *store, const struct dmn_store_call *sc,
                        const struct job_record *record, struct bth_error *error)
{
        return sc->spool_directory ? dmn_spool_forget_job(sc->spool_directory, store, record, error)
                                   : 0;
}

/* Inputs that say nothing but themselves. */
static int run_act(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        struct job_act act = { .input.kind = sc->kind };
        struct bth_error left = BTH_ERROR_INIT;
        struct job_outcome outcome;
        char sentence[256];
        int r = dmn_find_job(store, sc->call, sc->call->target, &record, error);

        if (r < 0)
                return r;
        act.job = record->id;
        r = job_store_apply(store, &act, &sc->policy, bth_now_realtime_usec(), sc->call->who,
                            &outcome, error);
        if (r < 0)
                return r;
        /* It cannot be asked for again, and ninety days later it goes by itself. */
        if (sc->kind == JOB_INPUT_DELETED && forget_spool(store, sc, record, &left) < 0)
                bth_log_error(LOG_WARNING, &left);
        (void)snprintf(sentence, sizeof sentence,
                       sc->kind == JOB_INPUT_CANCELLED
                               ? "job '%s' was cancelled: drives that are being copied finish, "
                                 "others are skipped"
                               : "the record of job '%s' was taken away",
                       record->name);
        return answer_job(store, sc, record->id, sentence, error);
}

void dmn_do_job_cancel(struct dmn_station *s, struct dmn_call *c)
{
        dmn_store_begin(
                &(struct dmn_store_call){
                        .station = s, .call = c, .run = run_act, .kind = JOB_INPUT_CANCELLED },
                scope_only);
}

void dmn_do_job_delete(struct dmn_station *s, struct dmn_call *c)
{
        dmn_store_begin(
                &(struct dmn_store_call){
                        .station = s, .call = c, .run = run_act, .kind = JOB_INPUT_DELETED },
                scope_only);
}

/* While a job goes on, its drives have to find their way back. */
static int run_forget(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        char sentence[256];
        int r = dmn_find_job(store, sc->call, sc->call->target, &record, error);

        if (r < 0)
                return r;
        if (record->model.state < BTH_JOB_STATE_COMPLETED)
                return bth_error_set(error, -EPERM, BTH_REASON_REFUSED,
                                     "job '%s' goes on: its return address is still needed",
                                     record->name);
        r = job_store_forget(store, record->id, error);
        if (r == 0)
                r = forget_spool(store, sc, record, error);
        if (r < 0)
                return r;
        (void)snprintf(sentence, sizeof sentence,
                       "the addresses and tracking numbers of job '%s'%s were taken away",
                       record->name, sc->spool_directory ? ", and its files in the spool," : "");
        return answer_job(store, sc, record->id, sentence, error);
}

void dmn_do_job_forget(struct dmn_station *s, struct dmn_call *c)
{
        dmn_store_begin(&(struct dmn_store_call){ .station = s, .call = c, .run = run_forget },
                        scope_only);
}

/* Books all drives in that have not arrived. */
static int run_receive(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        struct job_outcome outcomes[JOB_MAX_DRIVES], *refused = NULL;
        struct job_act acts[JOB_MAX_DRIVES];
        unsigned booked = 0;
        char sentence[256];
        size_t n = 0;
        int r = dmn_find_job(store, sc->call, sc->call->target, &record, error);

        if (r < 0)
                return r;
        for (size_t i = 0; i < record->model.n_drives; i++) {
                const enum bth_drive_state state = record->model.drives[i].state;

                if (state == BTH_DRIVE_STATE_SPECIFIED || state == BTH_DRIVE_STATE_NEVER_RECEIVED)
                        acts[n++] = (struct job_act){
                                .job = record->id,
                                .input = { .kind = JOB_INPUT_BOOKED, .drive = i },
                        };
        }
        if (n == 0)
                return bth_error_set(error, -EPERM, BTH_REASON_REFUSED,
                                     "all drives of job '%s' were booked in before", record->name);
        r = job_store_apply_all(store, acts, n, &sc->policy, bth_now_realtime_usec(), sc->call->who,
                                outcomes, error);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                booked += outcomes[i].refusal == JOB_REFUSAL_NONE;
                if (outcomes[i].refusal != JOB_REFUSAL_NONE)
                        refused = &outcomes[i];
        }
        if (booked == 0)
                return bth_error_set(error, -EPERM, BTH_REASON_REFUSED, "%s", refused->sentence);
        (void)snprintf(sentence, sizeof sentence, "%u drive%s of job '%s' %s booked in", booked,
                       booked == 1 ? "" : "s", record->name, booked == 1 ? "was" : "were");
        return answer_job(store, sc, record->id, sentence, error);
}

void dmn_do_job_receive(struct dmn_station *s, struct dmn_call *c)
{
        dmn_store_begin(&(struct dmn_store_call){ .station = s, .call = c, .run = run_receive },
                        scope_only);
}

/* --- parcels --- */

static int read_parcel_text(const struct dmn_call *c, const char *member, const char **ret,
                            struct bth_error *error)
{
        int r = dmn_call_text(c, member, ret, error);

        if (r == 0 && (!*ret || (*ret)[0] == '\0'))
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING, "'%s' is missing",
                                     member);
        if (r == 0 && strlen(*ret) > PARCEL_MAX)
                return bth_error_set(error, -EINVAL, BTH_REASON_TOO_LARGE,
                                     "'%s' has more than %d bytes", member, PARCEL_MAX);
        return r;
}

/* The parcel as the service's data has it (specification 7.6). */
static int read_parcel(const struct dmn_call *c, size_t n_drives, char **ret_json,
                       struct bth_error *error)
{
        const char *carrier = NULL, *tracking = NULL;
        char date[BTH_TIME_TEXT_MAX];
        int r = read_parcel_text(c, "carrier", &carrier, error);

        if (r == 0)
                r = read_parcel_text(c, "tracking", &tracking, error);
        if (r == 0) {
                _cleanup_json_ json_t *j =
                        json_pack("{s:s,s:s,s:I,s:s}", "carrierName", carrier, "trackingNumber",
                                  tracking, "driveCount", (json_int_t)n_drives, "shipDate",
                                  bth_time_iso8601(bth_now_realtime_usec(), date));

                *ret_json = j ? bth_json_to_text(j) : NULL;
                r = *ret_json ? 0 : -ENOMEM;
        }
        return r;
}

/* Where the drives are to go, an object of texts as the job service has it; NULL when it is not
 * given. */
static int read_address(const struct dmn_call *c, char **ret_json, struct bth_error *error)
{
        const json_t *address = json_object_get(c->body, "return_address"), *value;
        const char *key;

        *ret_json = NULL;
        if (!address || json_is_null(address))
                return 0;
        json_object_foreach((json_t *)address, key, value)
        {
                if (!dmn_rest_is_address_member(key))
                        return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                             "a return address has no member '%s'", key);
                if (!json_is_string(value))
                        return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                             "'%s' of the return address has to be a text", key);
        }
        *ret_json = json_is_object(address) ? bth_json_to_text(address) : NULL;
        if (!json_is_object(address) || (*ret_json && strlen(*ret_json) > ADDRESS_MAX)) {
                free(take_ptr(*ret_json));
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "'return_address' has to be an object of texts");
        }
        return *ret_json ? 0 : -ENOMEM;
}

/* First the data, then the word that it is shipped: a word without data would be refused. */
static int tell_shipped(struct job_store *store, struct dmn_store_call *sc,
                        const struct job_record *record, const struct job_edit *edit,
                        struct bth_error *error)
{
        const struct job_act act = { .job = record->id, .input.kind = JOB_INPUT_SHIPPED };
        const uint64_t now = bth_now_realtime_usec();
        struct job_outcome outcome;
        int r = 0;

        if (record->model.state == BTH_JOB_STATE_CREATING)
                r = job_store_edit(store, record->id, edit, &sc->policy, now, sc->call->who, error);
        return r < 0 ? r
                     : job_store_apply(store, &act, &sc->policy, now, sc->call->who, &outcome,
                                       error);
}

static int ship(struct job_store *store, struct dmn_store_call *sc, const struct job_record *record,
                struct bth_error *error)
{
        _cleanup_free_ char *parcel = NULL, *address = NULL;
        struct job_edit edit = { .verbose_log = -1, .backup_manifest = -1 };
        int r = read_parcel(sc->call, record->model.n_drives, &parcel, error);

        if (r == 0)
                r = read_address(sc->call, &address, error);
        edit.personal[JOB_PERSONAL_DELIVERY_PACKAGE] = parcel;
        edit.personal[JOB_PERSONAL_RETURN_ADDRESS] = address;
        if (r == 0)
                r = job_store_begin(store, error);
        return r < 0 ? r
                     : job_store_end(store, tell_shipped(store, sc, record, &edit, error), error);
}

static int run_ship(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        char sentence[256];
        int r = dmn_find_job(store, sc->call, sc->call->target, &record, error);

        if (r == 0)
                r = ship(store, sc, record, error);
        if (r < 0)
                return r;
        (void)snprintf(sentence, sizeof sentence, "job '%s' is on its way here", record->name);
        return answer_job(store, sc, record->id, sentence, error);
}

void dmn_do_job_ship(struct dmn_station *s, struct dmn_call *c)
{
        static const char *const members[] = { "carrier", "tracking", "return_address", "scope",
                                               NULL };

        dmn_store_begin(&(struct dmn_store_call){ .station = s, .call = c, .run = run_ship },
                        members);
}

static int run_return(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        _cleanup_free_ char *parcel = NULL;
        struct job_outcome outcome;
        char sentence[256];
        int r = dmn_find_job(store, sc->call, sc->call->target, &record, error);

        if (r == 0)
                r = read_parcel(sc->call, record->model.n_drives, &parcel, error);
        if (r == 0)
                r = job_store_return(store, record->id, parcel, &sc->policy,
                                     bth_now_realtime_usec(), sc->call->who, &outcome, error);
        if (r < 0)
                return r;
        (void)snprintf(sentence, sizeof sentence, "the drives of job '%s' were sent back",
                       record->name);
        return answer_job(store, sc, record->id, sentence, error);
}

void dmn_do_job_return(struct dmn_station *s, struct dmn_call *c)
{
        static const char *const members[] = { "carrier", "tracking", "scope", NULL };

        dmn_store_begin(&(struct dmn_store_call){ .station = s, .call = c, .run = run_return },
                        members);
}
