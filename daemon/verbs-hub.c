/* SPDX-License-Identifier: GPL-3.0-or-later */
/* verbs-hub - what stations send to their hub and fetch from it, and what people see there.
 * Source: berth-hub(7). */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/siphash.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/verbs-store.h"
#include "jobs/hub.h"

#define PAGE_DEFAULT     1000
#define TAG_MAX          64
#define CONFLICTS_SHOWN  500
#define SERIALS_TEXT_MAX 8192

static int no_memory(struct bth_error *error)
{
        return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY,
                             "there is no memory for the answer");
}

static void put(json_t *o, const char *key, const char *text)
{
        if (text)
                (void)json_object_set_new(o, key, json_string(text));
}

static void put_number(json_t *o, const char *key, uint64_t v)
{
        (void)json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void put_time(json_t *o, const char *key, uint64_t usec)
{
        char text[BTH_TIME_TEXT_MAX];

        if (usec > 0)
                put(o, key, bth_time_iso8601(usec, text));
}

static void put_bool(json_t *o, const char *key, bool v)
{
        (void)json_object_set_new(o, key, json_boolean(v));
}

static int read_limit(const struct dmn_call *c, uint64_t *limit, struct bth_error *error)
{
        int r;

        *limit = PAGE_DEFAULT;
        r = dmn_call_u64(c, "limit", limit, error);
        if (r == 0 && (*limit < 1 || *limit > JOB_STORE_PAGE_MAX))
                r = bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                  "'limit' has to be 1 to %u", JOB_STORE_PAGE_MAX);
        return r;
}

/* --- events --- */

static json_t *refused_view(const json_t *events, const struct job_hub_result *result)
{
        json_t *list = json_array();

        for (size_t i = 0; i < result->n_refused; i++) {
                const struct job_hub_refusal *f = &result->refused[i];
                json_t *event = json_array_get(events, f->index);
                json_t *one = json_pack("{s:{s:s,s:s}}", "error", "reason",
                                        bth_reason_to_string(f->reason), "message", f->sentence);

                put_number(one, "index", f->index);
                put(one, "id", json_string_value(json_object_get(event, "id")));
                (void)json_array_append_new(list, one);
        }
        return list;
}

static int run_events(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        const json_t *events = json_object_get(sc->call->body, "events");
        struct job_hub_result result;
        const char *source = NULL;
        int r = dmn_call_text(sc->call, "source", &source, error);

        if (r == 0)
                r = job_hub_take(store, events, source, &sc->policy, bth_now_realtime_usec(),
                                 &result, error);
        if (r < 0)
                return r;
        sc->changed = result.applied > 0;
        sc->answer = json_pack("{s:I,s:I,s:I,s:o}", "applied", (json_int_t)result.applied, "late",
                               (json_int_t)result.late, "duplicates", (json_int_t)result.duplicates,
                               "refused", refused_view(events, &result));
        job_hub_result_clear(&result);
        return 0;
}

void dmn_do_hub_events(struct dmn_station *s, struct dmn_call *c)
{
        static const char *const members[] = { "events", "source", NULL };

        dmn_store_begin(&(struct dmn_store_call){ .station = s, .call = c, .run = run_events },
                        members);
}

/* --- jobs --- */

struct fetching {
        struct job_store *store;
        struct bth_error *error;
        json_t *list;
        uint64_t last;
        size_t n;
        bool keys;
};

static int put_key(struct fetching *f, const struct job_record *r, size_t i, json_t *drive)
{
        struct bth_secret *key;
        int k = r->drives[i].has_key ? job_store_key(f->store, r->id, i, &key, f->error) : -ENOENT;

        if (k < 0)
                return k == -ENOENT ? 0 : k;
        (void)json_object_set_new(drive, "key",
                                  json_stringn((const char *)key->data, key->length_bytes));
        (void)bth_secret_free(key);
        f->keys = true;
        return 0;
}

static void put_progress(json_t *o, const struct job_drive *d)
{
        put_number(o, "bytes", d->bytes);
        put_number(o, "bytes_done", d->bytes_done);
        put_number(o, "blobs", d->blobs);
        put_number(o, "blobs_done", d->blobs_done);
}

static int drive_for_station(struct fetching *f, const struct job_record *r, size_t i,
                             json_t *drives)
{
        const struct job_record_drive *d = &r->drives[i];
        _cleanup_free_ char *holder = NULL;
        json_t *drive = json_object();
        int k = json_array_append_new(drives, drive) < 0 ? -ENOMEM : 0;

        if (k < 0)
                return no_memory(f->error);
        put(drive, "serial", d->serial);
        put(drive, "manifest_file", d->manifest_file);
        put(drive, "manifest_hash", d->manifest_hash);
        put(drive, "header_hash", d->header_hash);
        put(drive, "state", bth_drive_state_to_string(r->model.drives[i].state));
        put(drive, "copy_status", job_drive_copy_status(&r->model.drives[i]));
        if (r->model.drives[i].copy == JOB_COPY_ENDED) /* before, it would change all the time */
                put_progress(drive, &r->model.drives[i]);
        k = job_hub_holder(f->store, r, i, &holder, f->error);
        put(drive, "at", holder);
        return k < 0 ? k : put_key(f, r, i, drive);
}

static int job_for_station(void *userdata, const struct job_record *r)
{
        struct fetching *f = userdata;
        const struct job_model *m = &r->model;
        json_t *drives = json_array();
        json_t *job = json_pack("{s:o}", "drives", drives);
        int k = 0;

        if (json_array_append_new(f->list, job) < 0)
                return no_memory(f->error);
        put(job, "name", r->name);
        put(job, "scope", r->scope);
        put(job, "account", r->account);
        put(job, "location", r->location);
        put(job, "diagnostics", r->diagnostics);
        put_bool(job, "verbose_log", r->verbose_log);
        put_bool(job, "backup_manifest", r->backup_manifest);
        put_bool(job, "accept_unshipped", m->accept_unshipped);
        put_bool(job, "shipped", m->state != BTH_JOB_STATE_CREATING);
        put_bool(job, "has_return", m->has_return);
        put_bool(job, "cancel_requested", m->cancel_requested);
        put(job, "state", bth_job_state_to_string(m->state));
        put_time(job, "created_at", m->created_usec);
        for (size_t i = 0; i < m->n_drives && k == 0; i++)
                k = drive_for_station(f, r, i, drives);
        f->last = r->id;
        f->n++;
        return k;
}

/* "A B C": the texts of `buffer`, which is cut at the blanks. */
static int split_serials(char *buffer, const char *serials[JOB_HUB_SERIALS_MAX], size_t *ret_n,
                         struct bth_error *error)
{
        char *rest = NULL;
        size_t n = 0;

        for (char *one = strtok_r(buffer, " ", &rest); one; one = strtok_r(NULL, " ", &rest)) {
                if (n == JOB_HUB_SERIALS_MAX)
                        return bth_error_set(error, -EINVAL, BTH_REASON_LIMIT_EXCEEDED,
                                             "at most %u serial numbers can be asked for at once",
                                             JOB_HUB_SERIALS_MAX);
                serials[n++] = one;
        }
        *ret_n = n;
        return 0;
}

/* The same for the same answer of the same store, whichever process gives it. */
static int tag_of(struct job_store *store, const json_t *answer, char out[TAG_MAX])
{
        const char *uid = job_store_uid(store);
        struct bth_siphash_key key = { 0 };
        struct bth_siphash h;
        char *text = bth_json_to_text(answer);

        if (!text)
                return -ENOMEM;
        memcpy(&key, uid, MIN(strlen(uid), sizeof key));
        h = bth_siphash_of(&key, text, strlen(text));
        bth_wipe(text, strlen(text));
        free(text);
        (void)snprintf(out, TAG_MAX, "\"%016llX%016llX\"", (unsigned long long)h.h[0],
                       (unsigned long long)h.h[1]);
        return 0;
}

/* Does a header If-None-Match have the tag? */
static bool has_tag(const char *header, const char *tag)
{
        return header && (bth_streq(header, "*") || strstr(header, tag));
}

static int fetch(struct job_store *store, const struct dmn_call *c, struct fetching *f,
                 uint64_t limit, struct bth_error *error)
{
        const char *location = NULL, *list = "", *serials[JOB_HUB_SERIALS_MAX];
        char buffer[SERIALS_TEXT_MAX];
        uint64_t after = 0;
        size_t n = 0;
        int r = dmn_call_text(c, "location", &location, error);

        if (r == 0)
                r = dmn_call_text(c, "serials", &list, error);
        if (r == 0)
                r = dmn_call_u64(c, "after", &after, error);
        if (r == 0 && strlen(list) >= sizeof buffer)
                r = bth_error_set(error, -EINVAL, BTH_REASON_TOO_LARGE, "'serials' is too long");
        if (r < 0)
                return r;
        (void)snprintf(buffer, sizeof buffer, "%s", list);
        r = split_serials(buffer, serials, &n, error);
        if (r < 0)
                return r;
        return job_hub_jobs(store, location, serials, n, after, (size_t)limit, job_for_station, f,
                            error);
}

static int run_jobs(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        struct fetching f = { .store = store, .error = error, .list = json_array() };
        const char *known = NULL;
        char tag[TAG_MAX];
        uint64_t limit;
        int r = read_limit(sc->call, &limit, error);

        sc->answer = json_pack("{s:o}", "jobs", f.list);
        if (r == 0)
                r = dmn_call_text(sc->call, "if_none_match", &known, error);
        if (r == 0)
                r = fetch(store, sc->call, &f, limit, error);
        if (r < 0)
                return r;
        if (f.n == limit)
                put_number(sc->answer, "next", f.last);
        if (tag_of(store, sc->answer, tag) < 0)
                return no_memory(error);
        if (has_tag(known, tag)) {
                json_decref(sc->answer);
                sc->answer = json_pack("{s:b}", "unchanged", 1);
        } else if (f.keys) {
                bth_log(LOG_NOTICE, "%s: fetched %zu jobs with BitLocker keys", sc->call->who, f.n);
        }
        put(sc->answer, "etag", tag);
        return 0;
}

void dmn_do_hub_jobs(struct dmn_station *s, struct dmn_call *c)
{
        static const char *const members[] = { "after",    "if_none_match", "limit",
                                               "location", "serials",       NULL };

        dmn_store_begin(&(struct dmn_store_call){ .station = s, .call = c, .run = run_jobs },
                        members);
}

/* --- people --- */

static const char *const none[] = { NULL };

/* "/stations/north" is called north. */
static const char *name_of(const char *source)
{
        const char *slash = strrchr(source, '/');

        return slash && slash[1] ? slash + 1 : source;
}

struct listing {
        json_t *list;
        uint64_t now_usec;
        size_t n;
        char source[JOB_TOLD_SOURCE_MAX + 1], subject[JOB_TOLD_SUBJECT_MAX + 1];
        json_t *drive; /* the one that is being put together */
};

static int add_station(void *userdata, const struct job_hub_station *s)
{
        struct listing *l = userdata;
        json_t *j = json_object();

        put(j, "source", s->source);
        put(j, "name", name_of(s->source));
        put_time(j, "first_at", s->first_usec);
        put_time(j, "heard_at", s->heard_usec);
        put_bool(j, "silent", s->heard_usec + JOB_HUB_SILENT_USEC < l->now_usec);
        put_number(j, "applied", s->applied);
        put_number(j, "late", s->late);
        put_number(j, "duplicates", s->duplicates);
        put_number(j, "refused", s->refused);
        put_number(j, "docked", s->docked);
        return json_array_append_new(l->list, j) < 0 ? -ENOMEM : 0;
}

static int run_stations(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        struct listing l = { .list = json_array(), .now_usec = bth_now_realtime_usec() };

        sc->answer = json_pack("{s:o}", "stations", l.list);
        return job_hub_stations(store, add_station, &l, error);
}

void dmn_do_hub_stations(struct dmn_station *s, struct dmn_call *c)
{
        dmn_store_begin(&(struct dmn_store_call){ .station = s, .call = c, .run = run_stations },
                        none);
}

static const char *conflict_sentence(enum job_hub_conflict_kind k)
{
        return k == JOB_HUB_DOCKED_TWICE
                       ? "drives with this serial number are docked in several stations: find out "
                         "which is the right one, and eject the other"
                       : "two stores send events under this name: give each station its own name";
}

static int add_conflict(void *userdata, const struct job_hub_conflict *c)
{
        struct listing *l = userdata;
        json_t *j = json_object();

        put(j, "conflict", job_hub_conflict_to_string(c->kind));
        put(j, c->kind == JOB_HUB_DOCKED_TWICE ? "serial" : "source", c->key);
        put(j, "sources", c->sources);
        put_time(j, "since", c->since_usec);
        put_time(j, "last", c->last_usec);
        put_bool(j, "open", c->open);
        put(j, "sentence", conflict_sentence(c->kind));
        return json_array_append_new(l->list, j) < 0 ? -ENOMEM : 0;
}

static int run_conflicts(struct job_store *store, struct dmn_store_call *sc,
                         struct bth_error *error)
{
        struct listing l = { .list = json_array() };

        sc->answer = json_pack("{s:o}", "conflicts", l.list);
        return job_hub_conflicts(store, bth_now_realtime_usec(), CONFLICTS_SHOWN, add_conflict, &l,
                                 error);
}

void dmn_do_hub_conflicts(struct dmn_station *s, struct dmn_call *c)
{
        dmn_store_begin(&(struct dmn_store_call){ .station = s, .call = c, .run = run_conflicts },
                        none);
}

/* The facets of one subject follow each other, and become one entry. */
static int add_view(void *userdata, const struct job_hub_view *v)
{
        static const char *const facets[] = { "job_says", "drive_says", "bay_says" };
        struct listing *l = userdata;
        json_t *data;

        l->n++;
        if (!l->drive || !bth_streq(l->source, v->source) || !bth_streq(l->subject, v->subject)) {
                l->drive = json_object();
                if (json_array_append_new(l->list, l->drive) < 0)
                        return -ENOMEM;
                put(l->drive, "source", v->source);
                put(l->drive, "subject", v->subject);
                put(l->drive, "scope", v->scope);
                put(l->drive, "job", v->job);
                put(l->drive, "serial", v->serial);
                (void)snprintf(l->source, sizeof l->source, "%s", v->source);
                (void)snprintf(l->subject, sizeof l->subject, "%s", v->subject);
        }
        if (bth_json_parse(v->data, strlen(v->data), &data, NULL) < 0)
                return -EBADMSG;
        if (v->facet == JOB_FACET_DOCKING)
                put_bool(data, "docked", v->kind == JOB_CHANGE_DRIVE_DOCKED);
        put_number(data, "sequence", v->seq);
        put_time(data, "time", v->time_usec);
        (void)json_object_set_new(l->drive, facets[v->facet], data);
        return 0;
}

static int run_drives(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        const struct dmn_call *c = sc->call;
        struct listing l = { .list = json_array() };
        struct job_hub_filter f = { 0 };
        uint64_t limit;
        int r = read_limit(c, &limit, error);

        sc->answer = json_pack("{s:o}", "drives", l.list);
        f.limit = (size_t)limit;
        if (r == 0)
                r = dmn_call_text(c, "serial", &f.serial, error);
        if (r == 0)
                r = dmn_call_text(c, "job", &f.job, error);
        if (r == 0)
                r = dmn_call_text(c, "after_source", &f.source, error);
        if (r == 0)
                r = dmn_call_text(c, "after_subject", &f.subject, error);
        if (r == 0)
                r = job_hub_views(store, &f, add_view, &l, error);
        /* The last one may have been cut in the middle: the next page begins with it. */
        if (r == 0 && l.n == limit && json_array_size(l.list) > 1) {
                const json_t *last;

                (void)json_array_remove(l.list, json_array_size(l.list) - 1);
                last = json_array_get(l.list, json_array_size(l.list) - 1);
                put(sc->answer, "next_source", json_string_value(json_object_get(last, "source")));
                put(sc->answer, "next_subject",
                    json_string_value(json_object_get(last, "subject")));
        }
        return r;
}

void dmn_do_hub_drives(struct dmn_station *s, struct dmn_call *c)
{
        static const char *const members[] = { "after_source", "after_subject", "job",
                                               "limit",        "serial",        NULL };

        dmn_store_begin(&(struct dmn_store_call){ .station = s, .call = c, .run = run_drives },
                        members);
}
