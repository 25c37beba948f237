/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hub - taking events; see hub.h. What they mean for the drives of our own jobs is hub-settle.c;
 * looking at what they left is hub-views.c.
 *
 * A batch is taken a step at a time, each step for all events, in their order: read them (before
 * the transaction), whose they are, history, facets, counts. That ends as if each event had gone
 * all the way before the next, since history and facets of different events do not look at each
 * other, and it costs a few round trips to a server instead of several for each event. */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "jobs/event.h"
#include "jobs/hub-internal.h"

/* A store of a station that a batch tells of. */
struct teller {
        const char *source, *uid; /* of its first event here */
        uint64_t id;
        uint64_t newest; /* of the stores under its source */
        bool conflict;   /* was told: there is a newer one */
        uint64_t applied, late, duplicates, refused;
};

struct event {
        struct job_told told;
        size_t teller;
        unsigned refused; /* so many after it, whose station is taken for the same */
        bool fresh;       /* was not known; true for what has no history */
        bool newest;      /* of its facet */
        char serial_key[SERIAL_KEY_MAX];
};

/* One batch under way. */
struct taking {
        struct hub_work w;
        struct job_hub_result *result;
        /* Each has room for all events. */
        struct event *events;
        struct teller *tellers;
        size_t n_events, n_tellers;
        /* the events that a step is about, and how many rows each changed */
        struct event **picked;
        int *changes;
        size_t n_picked;
        struct hub_touch *touched;
};

void job_hub_result_clear(struct job_hub_result *r)
{
        free(r->refused);
        *r = (struct job_hub_result){ 0 };
}

/* --- reading --- */

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
        if (t->n_events > 0)
                t->events[t->n_events - 1].refused++;
        return 0;
}

static int read_all(struct taking *t, const json_t *events)
{
        int r = 0;

        for (size_t i = 0; i < json_array_size(events) && r == 0; i++) {
                struct bth_error why = BTH_ERROR_INIT;

                r = job_told_read(json_array_get(events, i), &t->events[t->n_events].told, &why);
                if (r == 0)
                        t->n_events++;
                else if (r == -EBADMSG || r == -EOPNOTSUPP)
                        r = refuse(t, i, r, &why);
        }
        return r;
}

/* --- whose event it is --- */

/* Ids are given out in the order in which stores are heard of. */
static int hear(struct taking *t, const char *source, const char *uid)
{
        return sql_later(t->w.s, t->w.error,
                         "INSERT INTO hub_stations (id, source, uid, first_usec, heard_usec)"
                         " VALUES ((SELECT coalesce(max(id), 0) + 1 FROM hub_stations), ?, ?, ?, ?)"
                         " ON CONFLICT (source, uid)"
                         " DO UPDATE SET heard_usec = excluded.heard_usec",
                         "ssuu", source, uid, t->w.now_usec, t->w.now_usec);
}

static int find_ids(struct taking *t, struct teller *of)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        int r = sql(t->w.s, t->w.error, &st,
                    "SELECT id, (SELECT max(id) FROM hub_stations WHERE source = ?1 AND uid <> '')"
                    " FROM hub_stations WHERE source = ?1 AND uid = ?2",
                    "ss", of->source, of->uid);

        if (r == 0)
                r = sql_row(t->w.s, st, t->w.error);
        if (r < 0)
                return r;
        of->id = sql_u64(st, 0);
        of->newest = sql_u64(st, 1);
        return 0;
}

static int add_teller(struct taking *t, const struct job_told *e)
{
        struct teller *new = &t->tellers[t->n_tellers];
        int r = hear(t, e->source, e->uid);

        *new = (struct teller){ .source = e->source, .uid = e->uid };
        if (r == 0)
                r = find_ids(t, new);
        if (r < 0)
                return r;
        for (size_t i = 0; i < t->n_tellers; i++)
                if (strcmp(t->tellers[i].source, e->source) == 0)
                        t->tellers[i].newest = new->newest;
        t->n_tellers++;
        return 0;
}

static int enter_teller(struct taking *t, struct event *e)
{
        struct teller *its;
        size_t i = t->n_tellers;
        int r = 0;

        while (i > 0 && (strcmp(t->tellers[i - 1].source, e->told.source) != 0 ||
                         strcmp(t->tellers[i - 1].uid, e->told.uid) != 0))
                i--;
        if (i == 0) {
                r = add_teller(t, &e->told);
                i = t->n_tellers;
        }
        if (r < 0)
                return r;
        e->teller = i - 1;
        its = &t->tellers[i - 1];
        its->refused += e->refused;
        if (its->newest == its->id || its->conflict)
                return 0;
        its->conflict = true;
        return hub_open_conflict(&t->w, JOB_HUB_SAME_NAME, its->source, its->source);
}

static int count(struct taking *t)
{
        int r = 0;

        for (size_t i = 0; i < t->n_tellers && r == 0; i++) {
                const struct teller *its = &t->tellers[i];

                r = sql_later(t->w.s, t->w.error,
                              "UPDATE hub_stations SET applied = applied + ?, late = late + ?,"
                              " duplicates = duplicates + ?, refused = refused + ? WHERE id = ?",
                              "uuuuu", its->applied, its->late, its->duplicates, its->refused,
                              its->id);
        }
        return r;
}

/* --- history and facets --- */

/* Of progress there is no history: what is not the newest is nothing. */
static bool has_history(const struct event *e)
{
        return e->told.kind != JOB_CHANGE_DRIVE_PROGRESS;
}

static void put_history(void *userdata, size_t i, struct sql_value *v)
{
        const struct taking *t = userdata;
        const struct job_told *e = &t->picked[i]->told;

        *v++ = sql_u(t->tellers[t->picked[i]->teller].id);
        *v++ = sql_u(e->seq);
        *v++ = sql_u((uint64_t)e->kind);
        *v++ = sql_u(e->time_usec);
        *v++ = sql_u(t->w.now_usec);
        *v++ = sql_s(e->subject);
        *v++ = sql_s(e->who);
        *v = sql_s(e->data);
}

static int remember(struct taking *t)
{
        int r;

        t->n_picked = 0;
        for (size_t i = 0; i < t->n_events; i++)
                if (has_history(&t->events[i]))
                        t->picked[t->n_picked++] = &t->events[i];
                else
                        t->events[i].fresh = true;
        r = sql_many(t->w.s, t->w.error,
                     "INSERT INTO hub_events (station, seq, kind, time_usec, received_usec,"
                     " subject, who, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                     " ON CONFLICT (station, seq) DO NOTHING",
                     "uuuuusss",
                     &(struct sql_many){ .n = t->n_picked,
                                         .userdata = t,
                                         .arguments = put_history,
                                         .changes = t->changes });
        for (size_t i = 0; i < t->n_picked && r == 0; i++)
                t->picked[i]->fresh = t->changes[i] > 0;
        return r;
}

static void put_facet(void *userdata, size_t i, struct sql_value *v)
{
        const struct taking *t = userdata;
        const struct job_told *e = &t->picked[i]->told;

        *v++ = sql_s(e->source);
        *v++ = sql_s(e->subject);
        *v++ = sql_u((uint64_t)e->facet);
        *v++ = sql_u(t->tellers[t->picked[i]->teller].id);
        *v++ = sql_u(e->seq);
        *v++ = sql_u((uint64_t)e->kind);
        *v++ = sql_u(e->time_usec);
        *v++ = sql_s(e->scope);
        *v++ = sql_s(e->job);
        *v++ = sql_s(e->serial);
        *v++ = sql_s(e->serial ? t->picked[i]->serial_key : NULL);
        *v++ = sql_u(e->docked);
        *v = sql_s(e->data);
}

static int renew(struct taking *t)
{
        int r;

        t->n_picked = 0;
        for (size_t i = 0; i < t->n_events; i++) {
                struct event *e = &t->events[i];

                if (!e->fresh)
                        continue;
                if (e->told.serial)
                        store_serial_key(e->told.serial, e->serial_key);
                t->picked[t->n_picked++] = e;
        }
        r = sql_many(t->w.s, t->w.error,
                     "INSERT INTO hub_facets (source, subject, facet, station, seq, kind,"
                     " time_usec, scope, job, serial, serial_key, docked, data)"
                     " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                     " ON CONFLICT (source, subject, facet) DO UPDATE SET"
                     " station = excluded.station, seq = excluded.seq, kind = excluded.kind,"
                     " time_usec = excluded.time_usec, docked = excluded.docked,"
                     " data = excluded.data WHERE excluded.station > hub_facets.station"
                     " OR (excluded.station = hub_facets.station"
                     " AND excluded.seq > hub_facets.seq)",
                     "ssuuuuussssus",
                     &(struct sql_many){ .n = t->n_picked,
                                         .userdata = t,
                                         .arguments = put_facet,
                                         .changes = t->changes });
        for (size_t i = 0; i < t->n_picked && r == 0; i++)
                t->picked[i]->newest = t->changes[i] > 0;
        return r;
}

static void judge(struct taking *t, const struct event *e)
{
        struct teller *its = &t->tellers[e->teller];

        if (e->newest) {
                its->applied++;
                t->result->applied++;
        } else if (e->fresh && has_history(e)) {
                its->late++;
                t->result->late++;
        } else {
                its->duplicates++;
                t->result->duplicates++;
        }
}

/* --- the batch --- */

static size_t touch(struct taking *t)
{
        size_t n = 0;

        for (size_t i = 0; i < t->n_events; i++) {
                const struct job_told *e = &t->events[i].told;

                if (t->events[i].newest && e->serial)
                        t->touched[n++] = (struct hub_touch){
                                .subject = e->subject,
                                .scope = e->scope,
                                .job = e->job,
                                .serial = e->serial,
                                .ours = e->job && e->from_hub,
                                .moved = e->facet == JOB_FACET_DOCKING,
                        };
        }
        return n;
}

static int take_all(struct taking *t, const char *source)
{
        int r = source ? hear(t, source, "") : 0;

        for (size_t i = 0; i < t->n_events && r == 0; i++)
                r = enter_teller(t, &t->events[i]);
        if (r == 0)
                r = remember(t);
        if (r == 0)
                r = renew(t);
        for (size_t i = 0; i < t->n_events && r == 0; i++)
                judge(t, &t->events[i]);
        if (r == 0)
                r = count(t);
        return r < 0 ? r : hub_settle(&t->w, t->touched, touch(t));
}

static int make_room(struct taking *t, size_t n)
{
        t->events = calloc(n + 1, sizeof *t->events);
        t->tellers = calloc(n + 1, sizeof *t->tellers);
        t->picked = calloc(n + 1, sizeof(struct event *));
        t->changes = calloc(n + 1, sizeof *t->changes);
        t->touched = calloc(n + 1, sizeof *t->touched);
        return t->events && t->tellers && t->picked && t->changes && t->touched ? 0 : -ENOMEM;
}

static void taking_clear(struct taking *t)
{
        for (size_t i = 0; i < t->n_events; i++)
                job_told_clear(&t->events[i].told);
        free(t->events);
        free(t->tellers);
        free(t->picked);
        free(t->changes);
        free(t->touched);
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
                .w = { .s = s, .policy = policy, .now_usec = now_usec, .error = error },
                .result = &result,
        };
        int r = check_batch(events, source, error);

        if (r < 0)
                return r;
        r = make_room(&t, json_array_size(events));
        if (r == 0)
                r = read_all(&t, events);
        if (r == 0)
                r = sql_begin(s, error);
        if (r == 0)
                r = sql_end(s, take_all(&t, source), error);
        taking_clear(&t);
        if (r < 0)
                job_hub_result_clear(&result);
        else
                *ret_result = result;
        return r;
}

int job_hub_prune(struct job_store *s, uint64_t before_usec, struct bth_error *error)
{
        int r = sql_begin(s, error), n = 0;

        if (r < 0)
                return r;
        r = sql_run(s, error,
                    "DELETE FROM hub_events WHERE (station, seq) IN (SELECT station, seq"
                    " FROM hub_events WHERE received_usec < ? ORDER BY received_usec LIMIT ?)",
                    "uu", before_usec, (uint64_t)JOB_HUB_PRUNE_MAX);
        if (r == 0) {
                n = sql_changes(s);
                r = sql_run(s, error, "DELETE FROM hub_conflicts WHERE last_usec < ? AND open = 0",
                            "u", before_usec);
        }
        r = sql_end(s, r, error);
        return r < 0 ? r : n;
}
