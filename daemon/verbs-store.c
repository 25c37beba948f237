/* SPDX-License-Identifier: GPL-3.0-or-later */
/* verbs-store - see verbs-store.h. */
#include "daemon/verbs-store.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "jobs/match.h"

#define NAMES_SHOWN 200 /* bytes of names in a sentence */

/* --- tasks --- */

static struct dmn_store_call *store_call_free(struct dmn_store_call *sc)
{
        json_decref(sc->answer);
        json_decref(sc->extra);
        json_decref(sc->progress);
        (void)dmn_journals_result_free(sc->read);
        free(sc->spool_directory);
        free(sc);
        return NULL;
}

/* Drives that are being copied have a progress that only the loop knows. */
static void add_progress(const struct dmn_station *s, json_t *drive)
{
        uint64_t job, index;
        json_t *progress;

        if (bth_json_get_u64(drive, "job_id", &job) < 0 ||
            bth_json_get_u64(drive, "index", &index) < 0)
                return;
        progress = dmn_station_progress(s, job, (size_t)index);
        if (progress)
                (void)json_object_set_new(drive, "progress", progress);
}

static void add_progress_of_all(const struct dmn_station *s, json_t *answer)
{
        json_t *one;
        size_t i;

        add_progress(s, answer);
        add_progress(s, json_object_get(answer, "drive"));
        json_array_foreach(json_object_get(answer, "drives"), i, one) add_progress(s, one);
        if (json_object_get(answer, "job") && json_is_object(json_object_get(answer, "job")))
                add_progress_of_all(s, json_object_get(answer, "job"));
}

/* In a list the store's thread does it, with what there was when it was asked. */
static void add_known_progress(const json_t *known, json_t *drive)
{
        json_t *one;
        size_t i;

        json_array_foreach(known, i, one)
        {
                if (json_equal(json_object_get(one, "job_id"), json_object_get(drive, "job_id")) &&
                    json_equal(json_object_get(one, "index"), json_object_get(drive, "index")))
                        (void)json_object_set(drive, "progress", json_object_get(one, "progress"));
        }
}

int dmn_store_list_add_text(struct dmn_store_call *sc, char *text)
{
        struct bth_buf *list = &sc->call->list;
        int r = text ? 0 : -ENOMEM;

        if (r == 0 && list->length > 0)
                r = bth_buf_add(list, ",", 1);
        if (r == 0)
                r = bth_buf_add(list, text, strlen(text));
        free(text);
        return r;
}

/* Text at once: a tree of a thousand jobs would be a hundred thousand pieces of memory. */
int dmn_store_list_add(struct dmn_store_call *sc, json_t *view)
{
        json_t *drive;
        char *text;
        size_t i;

        add_known_progress(sc->progress, view);
        json_array_foreach(json_object_get(view, "drives"), i, drive)
                add_known_progress(sc->progress, drive);
        text = bth_json_to_text(view);
        json_decref(view);
        return dmn_store_list_add_text(sc, text);
}

/* A copy: the configuration may change meanwhile. Returns 0 or -ENOMEM. */
static int copy_spool(struct dmn_store_call *sc)
{
        const char *spool = dmn_station_config(sc->station)->spool_directory;

        sc->spool_directory = spool ? strdup(spool) : NULL;
        return spool && !sc->spool_directory ? -ENOMEM : 0;
}

static int task(struct job_store *store, void *userdata, struct bth_error *error)
{
        struct dmn_store_call *sc = userdata;
        int r = sc->run(store, sc, error);

        if (r == 0 && !sc->answer)
                r = -ENOMEM;
        if (r < 0 && error->code == 0)
                (void)bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY,
                                    "there is no memory for the answer");
        return r;
}

static void done(void *userdata, int r, const struct bth_error *error)
{
        struct dmn_store_call *sc = userdata;

        if (r < 0) {
                (void)dmn_station_store_failed(sc->station, r, error);
                dmn_call_fail(sc->call, error);
        } else {
                add_progress_of_all(sc->station, sc->answer);
                if (sc->extra)
                        (void)json_object_update(sc->answer, sc->extra);
                dmn_call_answer(sc->call, take_ptr(sc->answer));
        }
        if (sc->changed)
                dmn_station_look(sc->station);
        (void)store_call_free(sc);
}

void dmn_store_begin(const struct dmn_store_call *from, const char *const *members)
{
        struct bth_error error = BTH_ERROR_INIT;
        struct dmn_store_call *sc = calloc(1, sizeof *sc);
        struct dmn_call *c = from->call;
        const char *name = dmn_station_config(from->station)->name;
        int r;

        if (!sc) {
                json_decref(from->extra);
                (void)dmn_journals_result_free(from->read);
                dmn_call_refuse(c, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory for the request");
                return;
        }
        *sc = *from;
        sc->policy = *dmn_station_policy(sc->station);
        (void)snprintf(sc->place, sizeof sc->place, "%s", name ? name : "");
        c->list_name = sc->list;
        sc->progress = sc->list ? dmn_station_progress_all(sc->station) : NULL;
        r = members ? dmn_call_members(c, members, &error) : 0;
        if (r == 0)
                r = copy_spool(sc);
        if (r == 0)
                r = dmn_station_submit(sc->station, task, done, sc);
        if (r == 0)
                return;
        (void)store_call_free(sc);
        if (r == -ECANCELED)
                (void)bth_error_set(&error, r, BTH_REASON_CANCELLED, "the station is stopping");
        else if (error.code == 0)
                (void)bth_error_set(&error, r, BTH_REASON_REFUSED,
                                    "the station has too much to do; ask again later");
        dmn_call_fail(c, &error);
}

/* --- finding --- */

/* What is found is of a rank: the best counts. */
enum rank {
        RANK_NONE,
        RANK_ENDED,    /* the job has ended: the newest one is meant */
        RANK_DONE,     /* the job goes on, and the drive is done */
        RANK_EXPECTED, /* the job waits for the drive, or copies it */
};

struct search {
        const char *name, *scope; /* NULL: any */
        enum rank rank;
        uint64_t job;
        size_t drive;
        unsigned n; /* of this rank */
        char names[NAMES_SHOWN];
};

static void take(struct search *s, const struct job_record *r, size_t drive, enum rank rank)
{
        size_t n;

        if (rank < s->rank)
                return;
        if (rank > s->rank) {
                s->n = 0;
                s->names[0] = '\0';
                s->job = 0;
        }
        s->rank = rank;
        s->n++;
        n = strlen(s->names);
        (void)snprintf(s->names + n, sizeof s->names - n, "%s%s%s%s", n > 0 ? ", " : "", r->scope,
                       r->scope[0] ? "/" : "", r->name);
        if (r->id > s->job) {
                s->job = r->id;
                s->drive = drive;
        }
}

static bool is_meant(const struct search *s, const struct job_record *r)
{
        /* Names are the same in any case, as in the store. */
        return (!s->name || bth_ascii_casecmp(s->name, r->name) == 0) &&
               (!s->scope || bth_ascii_casecmp(s->scope, r->scope) == 0);
}

static int take_drive(void *userdata, const struct job_record *r, size_t drive)
{
        const struct job_model *m = &r->model;
        struct search *s = userdata;

        if (is_meant(s, r))
                take(s, r, drive,
                     m->state == BTH_JOB_STATE_COMPLETED || m->state == BTH_JOB_STATE_CLOSED
                             ? RANK_ENDED
                     : job_drive_done(m, drive) ? RANK_DONE
                                                : RANK_EXPECTED);
        return 0;
}

static int take_job(void *userdata, const struct job_record *r)
{
        struct search *s = userdata;

        take(s, r, 0, RANK_EXPECTED);
        return 0;
}

int dmn_find_job(struct job_store *store, const struct dmn_call *c, const char *name,
                 struct job_record **ret_record, struct bth_error *error)
{
        struct search s = { .name = name };
        int r = dmn_call_text(c, "scope", &s.scope, error);

        if (r < 0)
                return r;
        r = job_store_find(store, s.scope && s.scope[0] ? s.scope : NULL, name, ret_record, error);
        if (r != -ENOENT || s.scope)
                return r;
        bth_error_clear(error);
        r = job_store_find_all(store, name, take_job, &s, error);
        if (r < 0)
                return r;
        if (s.n == 0)
                return bth_error_set(error, -ENOENT, BTH_REASON_NOT_FOUND, "there is no job '%s'",
                                     name);
        if (s.n == 1)
                return job_store_get(store, s.job, ret_record, error);
        bth_error_advise(error, "say which one by its scope");
        return bth_error_set(error, -EEXIST, BTH_REASON_CONFLICT,
                             "several jobs have the name '%s': %s", name, s.names);
}

int dmn_find_drive(struct job_store *store, const struct dmn_call *c, const char *serial,
                   struct job_record **ret_record, size_t *ret_drive, struct bth_error *error)
{
        struct search s = { 0 };
        int r = dmn_call_text(c, "job", &s.name, error);

        if (r == 0)
                r = dmn_call_text(c, "scope", &s.scope, error);
        if (r == 0)
                r = job_store_named(store, serial, take_drive, &s, error);
        if (r < 0)
                return r;
        if (s.n == 0)
                return bth_error_set(error, -ENOENT, BTH_REASON_NOT_FOUND,
                                     "no job%s%s%s has a drive '%s'", s.name ? " '" : "",
                                     s.name ? s.name : "", s.name ? "'" : "", serial);
        if (s.n > 1 && s.rank > RANK_ENDED) {
                bth_error_advise(error, "say which job is meant");
                return bth_error_set(error, -EEXIST, BTH_REASON_CONFLICT,
                                     "several jobs have a drive '%s': %s", serial, s.names);
        }
        *ret_drive = s.drive;
        return job_store_get(store, s.job, ret_record, error);
}
