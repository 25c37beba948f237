/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hub - taking events; see hub.h. Looking at what they left is hub-views.c. */
#include <string.h>

#include "base/str.h"
#include "jobs/event.h"
#include "jobs/hub.h"
#include "jobs/sql.h"

#define SOURCES_MAX 16u /* that one conflict names */

/* A drive that an event told something new of. Texts are those of the batch. */
struct touched {
        const char *subject, *scope, *job, *serial;
        bool ours;  /* the job came to the station from here */
        bool moved; /* into a bay, or out of one */
};

/* One batch under way. */
struct taking {
        struct job_store *s;
        const struct job_policy *policy;
        uint64_t now_usec;
        struct bth_error *error;
        struct job_hub_result *result;
        /* the store that the last event was from, and what its events came to */
        const char *source;
        char uid[37];
        uint64_t station;
        struct {
                uint64_t applied, late, duplicates, refused;
        } n;
        struct touched *touched; /* one for each event at most */
        size_t n_touched;
};

void job_hub_result_clear(struct job_hub_result *r)
{
        free(r->refused);
        *r = (struct job_hub_result){ 0 };
}

/* --- conflicts --- */

static int open_conflict(struct taking *t, enum job_hub_conflict_kind kind, const char *key,
                         const char *sources)
{
        int r = sql_run(t->s, t->error,
                        "UPDATE hub_conflicts SET last_usec = ?, sources = ?"
                        " WHERE kind = ? AND key = ? AND open = 1",
                        "usus", t->now_usec, sources, (uint64_t)kind, key);

        if (r < 0 || sql_changes(t->s) > 0)
                return r;
        return sql_run(t->s, t->error,
                       "INSERT INTO hub_conflicts (kind, key, since_usec, last_usec, open, sources)"
                       " VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT (kind, key, since_usec)"
                       " DO UPDATE SET open = 1, sources = excluded.sources",
                       "usuus", (uint64_t)kind, key, t->now_usec, t->now_usec, sources);
}

static int close_conflict(struct taking *t, enum job_hub_conflict_kind kind, const char *key)
{
        return sql_run(t->s, t->error,
                       "UPDATE hub_conflicts SET open = 0, last_usec = ?"
                       " WHERE kind = ? AND key = ? AND open = 1",
                       "uus", t->now_usec, (uint64_t)kind, key);
}

/* Is one serial number docked in two stations? */
static int look_for_twins(struct taking *t, const char *serial)
{
        _cleanup_buf_ struct bth_buf sources = BTH_BUF_INIT;
        char key[SERIAL_KEY_MAX];
        struct sql_statement *st;
        size_t n = 0;
        int r;

        store_serial_key(serial, key);
        r = sql(t->s, t->error, &st,
                "SELECT DISTINCT source FROM hub_facets WHERE serial_key = ? AND facet = 2"
                " AND docked = 1 ORDER BY source LIMIT ?",
                "su", key, (uint64_t)SOURCES_MAX);
        if (r < 0)
                return r;
        while ((r = sql_row(t->s, st, t->error)) == 1) {
                r = bth_buf_add_format(&sources, "%s%s", n++ > 0 ? " " : "", sql_text(st, 0));
                if (r < 0)
                        break;
        }
        sql_done(st);
        if (r < 0)
                return r;
        return n < 2 ? close_conflict(t, JOB_HUB_DOCKED_TWICE, key)
                     : open_conflict(t, JOB_HUB_DOCKED_TWICE, key, sources.data);
}

/* --- whose event it is --- */

static int count(struct taking *t)
{
        int r = 0;

        if (t->station > 0)
                r = sql_run(t->s, t->error,
                            "UPDATE hub_stations SET applied = applied + ?, late = late + ?,"
                            " duplicates = duplicates + ?, refused = refused + ? WHERE id = ?",
                            "uuuuu", t->n.applied, t->n.late, t->n.duplicates, t->n.refused,
                            t->station);
        t->n = (__typeof__(t->n)){ 0 };
        return r;
}

/* Ids are given out in the order in which stores are heard of. */
static int hear(struct taking *t, const char *source, const char *uid)
{
        return sql_run(t->s, t->error,
                       "INSERT INTO hub_stations (id, source, uid, first_usec, heard_usec)"
                       " VALUES ((SELECT coalesce(max(id), 0) + 1 FROM hub_stations), ?, ?, ?, ?)"
                       " ON CONFLICT (source, uid) DO UPDATE SET heard_usec = excluded.heard_usec",
                       "ssuu", source, uid, t->now_usec, t->now_usec);
}

static int enter_station(struct taking *t, const struct job_told *e)
{
        uint64_t newest = 0;
        int r;

        if (t->station > 0 && strcmp(t->source, e->source) == 0 && strcmp(t->uid, e->uid) == 0)
                return 0;
        r = count(t);
        if (r == 0)
                r = hear(t, e->source, e->uid);
        if (r == 0)
                r = sql_number(t->s, t->error, &t->station,
                               "SELECT id FROM hub_stations WHERE source = ? AND uid = ?", "ss",
                               e->source, e->uid);
        if (r == 0)
                r = sql_number(t->s, t->error, &newest,
                               "SELECT max(id) FROM hub_stations WHERE source = ? AND uid <> ''",
                               "s", e->source);
        if (r < 0)
                return r;
        t->source = e->source;
        memcpy(t->uid, e->uid, sizeof t->uid);
        return newest == t->station ? 0 : open_conflict(t, JOB_HUB_SAME_NAME, e->source, e->source);
}

/* --- one event --- */

/* Returns 1 when it is new here, 0 when it is not. */
static int remember(struct taking *t, const struct job_told *e)
{
        int r = sql_run(t->s, t->error,
                        "INSERT INTO hub_events (station, seq, kind, time_usec, received_usec,"
                        " subject, who, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                        " ON CONFLICT (station, seq) DO NOTHING",
                        "uuuuusss", t->station, e->seq, (uint64_t)e->kind, e->time_usec,
                        t->now_usec, e->subject, e->who, e->data);

        return r < 0 ? r : sql_changes(t->s) > 0;
}

/* Returns 1 when it is the newest of its facet, 0 when it is not. */
static int renew(struct taking *t, const struct job_told *e)
{
        char key[SERIAL_KEY_MAX];
        int r;

        if (e->serial)
                store_serial_key(e->serial, key);
        r = sql_run(t->s, t->error,
                    "INSERT INTO hub_facets (source, subject, facet, station, seq, kind, time_usec,"
                    " scope, job, serial, serial_key, docked, data)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (source, subject, facet) DO UPDATE SET"
                    " station = excluded.station, seq = excluded.seq, kind = excluded.kind,"
                    " time_usec = excluded.time_usec, docked = excluded.docked,"
                    " data = excluded.data WHERE excluded.station > hub_facets.station"
                    " OR (excluded.station = hub_facets.station"
                    " AND excluded.seq > hub_facets.seq)",
                    "ssuuuuussssus", e->source, e->subject, (uint64_t)e->facet, t->station, e->seq,
                    (uint64_t)e->kind, e->time_usec, e->scope, e->job, e->serial,
                    e->serial ? key : NULL, (uint64_t)e->docked, e->data);
        return r < 0 ? r : sql_changes(t->s) > 0;
}

static void touch(struct taking *t, const struct job_told *e)
{
        const bool moved = e->facet == JOB_FACET_DOCKING;

        if (!e->serial)
                return;
        for (size_t i = t->n_touched; i-- > 0;)
                if (strcmp(t->touched[i].subject, e->subject) == 0) {
                        t->touched[i].moved |= moved;
                        return;
                }
        t->touched[t->n_touched++] = (struct touched){ .subject = e->subject,
                                                       .scope = e->scope,
                                                       .job = e->job,
                                                       .serial = e->serial,
                                                       .ours = e->job && e->from_hub,
                                                       .moved = moved };
}

/* Of progress there is no history: what is not the newest is nothing. */
static int apply(struct taking *t, const struct job_told *e)
{
        const bool history = e->kind != JOB_CHANGE_DRIVE_PROGRESS;
        int new, newest = 0;

        new = enter_station(t, e);
        if (new == 0)
                new = history ? remember(t, e) : 1;
        if (new > 0) {
                newest = renew(t, e);
                if (newest < 0)
                        return newest;
        }
        if (new < 0)
                return new;
        if (newest > 0) {
                t->n.applied++;
                t->result->applied++;
                touch(t, e);
        } else if (new > 0 && history) {
                t->n.late++;
                t->result->late++;
        } else {
                t->n.duplicates++;
                t->result->duplicates++;
        }
        return 0;
}

static int refuse(struct taking *t, size_t index, int code, const struct bth_error *why)
{
        struct job_hub_refusal *all = t->result->refused;
        struct job_hub_refusal *one;

        all = reallocarray(all, t->result->n_refused + 1, sizeof *all);
        if (!all)
                return -ENOMEM;
        t->result->refused = all;
        one = &all[t->result->n_refused++];
        *one = (struct job_hub_refusal){ .index = index, .code = code, .reason = why->reason };
        (void)snprintf(one->sentence, sizeof one->sentence, "%s", why->sentence);
        t->n.refused++;
        return 0;
}

static int take_one(struct taking *t, size_t index, const json_t *event)
{
        struct bth_error why = BTH_ERROR_INIT;
        struct job_told e;
        int r = job_told_read(event, &e, &why);

        if (r == -EBADMSG || r == -EOPNOTSUPP)
                return refuse(t, index, r, &why);
        if (r < 0)
                return r;
        r = apply(t, &e);
        job_told_clear(&e);
        return r;
}

/* --- our own jobs --- */

/* Where a drive is docked, else where it was docked last, else who spoke of it last. */
static int find_holder(struct job_store *s, const char *subject, char **ret,
                       struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        int r = sql(s, error, &st,
                    "SELECT source FROM hub_facets WHERE subject = ? AND facet > 0"
                    " ORDER BY facet DESC, docked DESC, time_usec DESC, source LIMIT 1",
                    "s", subject);

        *ret = NULL;
        if (r == 0)
                r = sql_row(s, st, error);
        return r == 1 ? sql_copy(st, 0, ret) : r;
}

/* What a station says of a drive; `text` holds the borrowed texts. Returns 1, or 0 when it has said
 * nothing of its state. */
static int find_told(struct taking *t, const char *source, const char *subject, json_t **ret_text,
                     struct job_told *ret)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        uint64_t gone = 0;
        int r = sql(t->s, t->error, &st,
                    "SELECT kind, data, station, seq FROM hub_facets WHERE source = ?"
                    " AND subject = ? AND facet = 1",
                    "ss", source, subject);

        if (r == 0)
                r = sql_row(t->s, st, t->error);
        if (r <= 0)
                return r;
        r = bth_json_parse(sql_text(st, 1), strlen(sql_text(st, 1)), ret_text, t->error);
        if (r == 0)
                r = job_told_read_data((enum job_change_kind)sql_u64(st, 0), *ret_text, ret,
                                       t->error);
        /* A drive that is done is taken out without a word about anything but its bay. */
        if (r == 0)
                r = sql_number(t->s, t->error, &gone,
                               "SELECT count(*) FROM hub_facets WHERE source = ? AND subject = ?"
                               " AND facet = 2 AND docked = 0"
                               " AND (station > ? OR (station = ? AND seq > ?))",
                               "ssuuu", source, subject, sql_u64(st, 2), sql_u64(st, 2),
                               sql_u64(st, 3));
        if (r < 0)
                return r;
        if (gone > 0)
                ret->drive.docked = ret->drive.running = false;
        return 1;
}

static int replace(char **text, const char *with, bool *changed)
{
        char *copy = NULL;

        if (bth_streq(*text, with))
                return 0;
        if (with && !(copy = strdup(with)))
                return -ENOMEM;
        free(*text);
        *text = copy;
        *changed = true;
        return 0;
}

static int replace_texts(struct job_record_drive *d, const struct job_told *e, bool *changed)
{
        const char *detail = e->detail;
        int r;

        if (bth_streq(detail, job_activity_sentence(e->drive.activity)))
                detail = NULL; /* says the same in every language */
        r = replace(&d->detail, detail, changed);
        if (r == 0 && e->bay)
                r = replace(&d->bay, e->bay, changed);
        if (r == 0 && e->error_log)
                r = replace(&d->error_log, e->error_log, changed);
        if (r == 0 && e->verbose_log)
                r = replace(&d->verbose_log, e->verbose_log, changed);
        return r == 0 && e->manifest_log ? replace(&d->manifest_log, e->manifest_log, changed) : r;
}

static int adopt(struct taking *t, struct job_record *r, size_t i, const struct job_told *e,
                 const char *source)
{
        struct job_record_drive *d = &r->drives[i];
        const struct job_model before = r->model;
        struct job_outcome outcome;
        bool changed = false;
        int k = job_adopt(&r->model, t->policy, i, &e->drive, t->now_usec, &outcome);

        if (k == -EPERM)
                return 0;
        k = replace_texts(d, e, &changed);
        if (k < 0 || (!changed && memcmp(&before, &r->model, sizeof before) == 0))
                return k;
        k = sql_run(t->s, t->error,
                    "UPDATE drives SET error_log = ?, verbose_log = ?, manifest_log = ?"
                    " WHERE job = ? AND idx = ?",
                    "sssuu", d->error_log, d->verbose_log, d->manifest_log, r->id, (uint64_t)i);
        if (k == 0)
                k = store_save(t->s, r, t->policy, t->error);
        return k < 0 ? k : store_add_changes(t->s, r, &outcome, t->now_usec, source, t->error);
}

/* Says the station that holds it that the drive was sent back, or never came? */
static int is_back(struct taking *t, const struct job_record *r, size_t i)
{
        _cleanup_free_ char *subject = NULL, *source = NULL;
        _cleanup_json_ json_t *text = NULL;
        struct job_told e;
        int k;

        if (r->model.drives[i].state == BTH_DRIVE_STATE_NEVER_RECEIVED)
                return 1;
        k = job_event_subject(r, r->drives[i].serial, &subject);
        if (k == 0)
                k = find_holder(t->s, subject, &source, t->error);
        if (k < 0 || !source)
                return k;
        k = find_told(t, source, subject, &text, &e);
        return k <= 0 ? k : e.drive.state == BTH_DRIVE_STATE_SHIPPED_BACK;
}

/* The job ends when all its drives were sent back, from wherever. */
static int end_job(struct taking *t, const struct job_record *r)
{
        const struct job_act act = { .job = r->id, .input.kind = JOB_INPUT_RETURNED };
        struct job_outcome outcome;
        int k = 1;

        for (size_t i = 0; i < r->model.n_drives && k == 1; i++)
                k = is_back(t, r, i);
        if (k == 1)
                k = store_step(t->s, &act, t->policy, t->now_usec, NULL, &outcome, t->error);
        return k == -EPERM ? 0 : k;
}

static int settle_in(struct taking *t, const struct touched *o, struct job_record *r, size_t i)
{
        _cleanup_free_ char *source = NULL;
        _cleanup_json_ json_t *text = NULL;
        struct job_told e;
        int k = find_holder(t->s, o->subject, &source, t->error);

        if (k < 0 || !source)
                return k;
        k = find_told(t, source, o->subject, &text, &e);
        if (k <= 0)
                return k;
        k = adopt(t, r, i, &e, source);
        if (k == 0 && e.drive.state == BTH_DRIVE_STATE_SHIPPED_BACK)
                k = end_job(t, r);
        return k;
}

static int settle(struct taking *t, const struct touched *o)
{
        struct job_record *r = NULL;
        char key[SERIAL_KEY_MAX], other[SERIAL_KEY_MAX];
        int k = o->moved ? look_for_twins(t, o->serial) : 0;

        if (k < 0 || !o->ours)
                return k;
        k = job_store_find(t->s, o->scope, o->job, &r, t->error);
        if (k < 0)
                return k == -ENOENT ? 0 : k;
        store_serial_key(o->serial, key);
        for (size_t i = 0; i < r->model.n_drives && k == 0; i++) {
                store_serial_key(r->drives[i].serial, other);
                if (strcmp(key, other) == 0)
                        k = settle_in(t, o, r, i);
        }
        (void)job_record_free(r);
        return k;
}

/* --- the batch --- */

static int take_all(struct taking *t, const json_t *events, const char *source)
{
        int r = source ? hear(t, source, "") : 0;

        for (size_t i = 0; i < json_array_size(events) && r == 0; i++)
                r = take_one(t, i, json_array_get(events, i));
        if (r == 0)
                r = count(t);
        for (size_t i = 0; i < t->n_touched && r == 0; i++)
                r = settle(t, &t->touched[i]);
        return r;
}

static int check_batch(const json_t *events, const char *source, struct bth_error *error)
{
        if (!json_is_array(events) || json_array_size(events) > JOB_HUB_BATCH_MAX)
                return bth_error_set(error, -EBADMSG, BTH_REASON_SYNTAX,
                                     "a batch is an array of at most %u events", JOB_HUB_BATCH_MAX);
        if (source && !job_told_is_source(source))
                return bth_error_set(error, -EBADMSG, BTH_REASON_VALUE_INVALID,
                                     "the source is no URI reference");
        return 0;
}

int job_hub_take(struct job_store *s, const json_t *events, const char *source,
                 const struct job_policy *policy, uint64_t now_usec,
                 struct job_hub_result *ret_result, struct bth_error *error)
{
        struct job_hub_result result = { 0 };
        struct taking t = {
                .s = s, .policy = policy, .now_usec = now_usec, .error = error, .result = &result
        };
        int r = check_batch(events, source, error);

        if (r < 0)
                return r;
        t.touched = calloc(json_array_size(events) + 1, sizeof *t.touched);
        r = t.touched ? sql_begin(s, error) : -ENOMEM;
        if (r == 0)
                r = sql_end(s, take_all(&t, events, source), error);
        free(t.touched);
        if (r < 0)
                job_hub_result_clear(&result);
        else
                *ret_result = result;
        return r;
}

int job_hub_holder(struct job_store *s, const struct job_record *r, size_t drive, char **ret_source,
                   struct bth_error *error)
{
        _cleanup_free_ char *subject = NULL;
        int k = job_event_subject(r, r->drives[drive].serial, &subject);

        return k < 0 ? k : find_holder(s, subject, ret_source, error);
}

int job_hub_prune(struct job_store *s, uint64_t before_usec, struct bth_error *error)
{
        int r = sql_begin(s, error), n = 0;

        if (r < 0)
                return r;
        r = sql_run(s, error, "DELETE FROM hub_events WHERE received_usec < ?", "u", before_usec);
        if (r == 0) {
                n = sql_changes(s);
                r = sql_run(s, error, "DELETE FROM hub_conflicts WHERE last_usec < ? AND open = 0",
                            "u", before_usec);
        }
        r = sql_end(s, r, error);
        return r < 0 ? r : n;
}
