/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hub-settle - what the events of a batch mean: conflicts, and the drives of our own jobs; see
 * hub.h. Everything is asked for all drives of the batch together, then decided, then written; a
 * job that several drives of the batch belong to is read and written once. */
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/str.h"
#include "jobs/event.h"
#include "jobs/hub-internal.h"

#define SOURCES_MAX 16u /* that one conflict names */

/* What the station that holds a drive says of it. */
struct view {
        const char *subject;
        char *source; /* of that station; NULL: none was heard of */
        bool known;   /* it said something of the drive's state */
        struct job_told told;
        json_t *text;             /* that `told` borrows from */
        bool out;                 /* of its bay, it said last of it, with the event … */
        uint64_t out_by, out_seq; /* … of this store, and number */
        struct bth_error *error;  /* of the batch */
};

/* A drive of the batch, each once. */
struct item {
        const struct hub_touch *touch;
        char key[SERIAL_KEY_MAX];
        bool moved;
        uint64_t job; /* of ours; 0: none */
        struct view view;
        struct bth_buf sources; /* where it is docked, when it was moved */
        size_t n_sources;
};

struct settling {
        const struct hub_work *w;
        struct item *items;
        size_t n;
        /* the items that a question is about */
        struct item **picked;
        size_t n_picked;
};

/* --- conflicts --- */

int hub_open_conflict(const struct hub_work *w, enum job_hub_conflict_kind kind, const char *key,
                      const char *sources)
{
        int r = sql_run(w->s, w->error,
                        "UPDATE hub_conflicts SET last_usec = ?, sources = ?"
                        " WHERE kind = ? AND key = ? AND open = 1",
                        "usus", w->now_usec, sources, (uint64_t)kind, key);

        if (r < 0 || sql_changes(w->s) > 0)
                return r;
        return sql_later(
                w->s, w->error,
                "INSERT INTO hub_conflicts (kind, key, since_usec, last_usec, open, sources)"
                " VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT (kind, key, since_usec)"
                " DO UPDATE SET open = 1, sources = excluded.sources",
                "usuus", (uint64_t)kind, key, w->now_usec, w->now_usec, sources);
}

static int close_conflict(const struct hub_work *w, enum job_hub_conflict_kind kind,
                          const char *key)
{
        return sql_later(w->s, w->error,
                         "UPDATE hub_conflicts SET open = 0, last_usec = ?"
                         " WHERE kind = ? AND key = ? AND open = 1",
                         "uus", w->now_usec, (uint64_t)kind, key);
}

static void put_key(void *userdata, size_t i, struct sql_value *v)
{
        const struct settling *g = userdata;

        v[0] = sql_s(g->picked[i]->key);
        v[1] = sql_u(SOURCES_MAX);
}

static int take_source(void *userdata, size_t i, struct sql_statement *st)
{
        const struct settling *g = userdata;
        struct item *it = g->picked[i];

        return bth_buf_add_format(&it->sources, "%s%s", it->n_sources++ > 0 ? " " : "",
                                  sql_text(st, 0));
}

/* Is one serial number docked in two stations? */
static int look_for_twins(struct settling *g)
{
        int r;

        g->n_picked = 0;
        for (size_t i = 0; i < g->n; i++)
                if (g->items[i].moved)
                        g->picked[g->n_picked++] = &g->items[i];
        r = sql_many(g->w->s, g->w->error,
                     "SELECT DISTINCT source FROM hub_facets WHERE serial_key = ? AND facet = 2"
                     " AND docked = 1 ORDER BY source LIMIT ?",
                     "su",
                     &(struct sql_many){ .n = g->n_picked,
                                         .userdata = g,
                                         .arguments = put_key,
                                         .row = take_source });
        for (size_t i = 0; i < g->n_picked && r == 0; i++) {
                const struct item *it = g->picked[i];

                r = it->n_sources < 2 ? close_conflict(g->w, JOB_HUB_DOCKED_TWICE, it->key)
                                      : hub_open_conflict(g->w, JOB_HUB_DOCKED_TWICE, it->key,
                                                          it->sources.data);
        }
        return r;
}

/* --- what stations say --- */

static void view_clear(struct view *v)
{
        free(v->source);
        json_decref(v->text);
        *v = (struct view){ 0 };
}

static int take_drive(struct view *v, struct sql_statement *st)
{
        const char *text = sql_text(st, 3);
        const uint64_t by = sql_u64(st, 4), seq = sql_u64(st, 5);
        int r = bth_json_parse(text, strlen(text), &v->text, v->error);

        if (r == 0)
                r = job_told_read_data((enum job_change_kind)sql_u64(st, 2), v->text, &v->told,
                                       v->error);
        if (r < 0)
                return r;
        v->known = true;
        /* A drive that is done is taken out without a word about anything but its bay. */
        if (v->out && (v->out_by > by || (v->out_by == by && v->out_seq > seq)))
                v->told.drive.docked = v->told.drive.running = false;
        return 0;
}

/* The first row is the holder's; its word about the bay comes before that about the drive. */
static int take_view(struct view *v, struct sql_statement *st)
{
        int r = v->source ? 0 : sql_copy(st, 0, &v->source);

        if (r < 0 || strcmp(v->source, sql_text(st, 0)) != 0)
                return r;
        if (sql_u64(st, 1) == JOB_FACET_DRIVE)
                return take_drive(v, st);
        v->out = sql_u64(st, 6) == 0;
        v->out_by = sql_u64(st, 4);
        v->out_seq = sql_u64(st, 5);
        return 0;
}

/* The holder: where a drive is docked, else where it was docked last, else who spoke of it last. */
#define SELECT_VIEW                                                              \
        "SELECT source, facet, kind, data, station, seq, docked FROM hub_facets" \
        " WHERE subject = ? AND facet > 0 ORDER BY facet DESC, docked DESC,"     \
        " time_usec DESC, source"

static void put_subject(void *userdata, size_t i, struct sql_value *v)
{
        struct view *const *views = userdata;

        v[0] = sql_s(views[i]->subject);
}

static int take_view_row(void *userdata, size_t i, struct sql_statement *st)
{
        struct view **views = userdata;

        return take_view(views[i], st);
}

static int find_views(const struct hub_work *w, struct view **views, size_t n)
{
        for (size_t i = 0; i < n; i++)
                views[i]->error = w->error;
        return sql_many(w->s, w->error, SELECT_VIEW, "s",
                        &(struct sql_many){ .n = n,
                                            .userdata = views,
                                            .arguments = put_subject,
                                            .row = take_view_row });
}

int job_hub_holder(struct job_store *s, const struct job_record *r, size_t drive, char **ret_source,
                   struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        _cleanup_free_ char *subject = NULL;
        int k = job_event_subject(r, r->drives[drive].serial, &subject);

        if (k == 0)
                k = sql(s, error, &st, SELECT_VIEW " LIMIT 1", "s", subject);
        if (k == 0)
                k = sql_row(s, st, error);
        if (k < 0)
                return k;
        *ret_source = NULL;
        return k == 1 ? sql_copy(st, 0, ret_source) : 0;
}

/* --- our own jobs --- */

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

/* Returns 1 when the drive is now what the view says, 0 when it was or cannot be. */
static int adopt(const struct hub_work *w, struct job_record *r, size_t i, const struct view *v)
{
        struct job_record_drive *d = &r->drives[i];
        const struct job_model before = r->model;
        struct job_outcome outcome;
        bool changed = false;
        int k = job_adopt(&r->model, w->policy, i, &v->told.drive, w->now_usec, &outcome);

        if (k == -EPERM)
                return 0;
        k = replace_texts(d, &v->told, &changed);
        if (k < 0 || (!changed && memcmp(&before, &r->model, sizeof before) == 0))
                return k;
        if (changed)
                k = sql_later(w->s, w->error,
                              "UPDATE drives SET error_log = ?, verbose_log = ?, manifest_log = ?"
                              " WHERE job = ? AND idx = ?",
                              "sssuu", d->error_log, d->verbose_log, d->manifest_log, r->id,
                              (uint64_t)i);
        if (k == 0)
                k = store_add_changes(w->s, r, &outcome, w->now_usec, v->source, w->error);
        return k < 0 ? k : 1;
}

static bool is_back(const struct job_record *r, size_t i, const struct view *v)
{
        return r->model.drives[i].state == BTH_DRIVE_STATE_NEVER_RECEIVED ||
               (v->known && v->told.drive.state == BTH_DRIVE_STATE_SHIPPED_BACK);
}

/* Were all drives sent back, from wherever, or never came? Returns 1, 0 or an error. */
static int all_back(const struct hub_work *w, const struct job_record *r)
{
        struct view views[JOB_MAX_DRIVES] = { 0 }, *all[JOB_MAX_DRIVES];
        char *subjects[JOB_MAX_DRIVES] = { 0 };
        const size_t n = r->model.n_drives;
        bool back = true;
        int k = 0;

        for (size_t i = 0; i < n && k == 0; i++) {
                k = job_event_subject(r, r->drives[i].serial, &subjects[i]);
                views[i].subject = subjects[i];
                all[i] = &views[i];
        }
        if (k == 0)
                k = find_views(w, all, n);
        for (size_t i = 0; i < n; i++) {
                back = back && is_back(r, i, &views[i]);
                view_clear(&views[i]);
                free(subjects[i]);
        }
        return k < 0 ? k : back;
}

static int end_job(const struct hub_work *w, const struct job_record *r)
{
        const struct job_act act = { .job = r->id, .input.kind = JOB_INPUT_RETURNED };
        struct job_outcome outcome;
        int k = all_back(w, r);

        if (k == 1)
                k = store_step(w->s, &act, w->policy, w->now_usec, NULL, &outcome, w->error);
        return k == -EPERM ? 0 : k;
}

/* The drives of one job that are `n` items. */
static int settle_job(const struct hub_work *w, struct job_record *r, const struct item *items,
                      size_t n)
{
        const struct job_model before = r->model;
        unsigned drives = 0;
        bool back = false;
        int k = 0;

        for (size_t i = 0; i < n && k >= 0; i++)
                for (size_t d = 0; d < r->model.n_drives && k >= 0; d++) {
                        char key[SERIAL_KEY_MAX];

                        store_serial_key(r->drives[d].serial, key);
                        if (!items[i].view.known || strcmp(key, items[i].key) != 0)
                                continue;
                        k = adopt(w, r, d, &items[i].view);
                        if (k > 0)
                                drives |= STORE_DRIVE(d);
                        back |= items[i].view.told.drive.state == BTH_DRIVE_STATE_SHIPPED_BACK;
                }
        if (k >= 0 && drives != 0)
                k = store_save(w->s, r, drives | store_changed_drives(&before, &r->model),
                               w->policy, w->error);
        if (k >= 0 && back)
                k = end_job(w, r);
        return MIN(k, 0);
}

static void put_name(void *userdata, size_t i, struct sql_value *v)
{
        const struct settling *g = userdata;

        v[0] = sql_s(g->picked[i]->touch->scope);
        v[1] = sql_s(g->picked[i]->touch->job);
}

static int take_id(void *userdata, size_t i, struct sql_statement *st)
{
        const struct settling *g = userdata;

        g->picked[i]->job = sql_u64(st, 0);
        return 0;
}

static bool same_job(const struct item *a, const struct item *b)
{
        return a->touch->ours && b->touch->ours && bth_streq(a->touch->scope, b->touch->scope) &&
               bth_streq(a->touch->job, b->touch->job);
}

/* Drives of one job follow each other, and the job is asked for once. */
static int find_jobs(struct settling *g)
{
        int r;

        g->n_picked = 0;
        for (size_t i = 0; i < g->n; i++)
                if (g->items[i].touch->ours &&
                    (i == 0 || !same_job(&g->items[i - 1], &g->items[i])))
                        g->picked[g->n_picked++] = &g->items[i];
        r = sql_many(
                g->w->s, g->w->error,
                "SELECT id FROM jobs WHERE scope = ? AND name = ? AND deleted = 0", "ss",
                &(struct sql_many){
                        .n = g->n_picked, .userdata = g, .arguments = put_name, .row = take_id });
        for (size_t i = 1; i < g->n && r == 0; i++)
                if (same_job(&g->items[i - 1], &g->items[i]))
                        g->items[i].job = g->items[i - 1].job;
        return r;
}

/* Those of one job stand together then, in the order of their subjects. */
static int by_job(const void *a, const void *b)
{
        const struct item *x = a, *y = b;

        return x->job != y->job ? (x->job > y->job) - (x->job < y->job)
                                : strcmp(x->touch->subject, y->touch->subject);
}

/* Some jobs, whose drives are the `n` items. */
static int settle_some(const struct hub_work *w, const struct item *items, size_t n,
                       const uint64_t *ids, size_t n_ids)
{
        struct job_record records[SQL_IDS];
        size_t at = 0;
        int r = store_load_some(w->s, ids, n_ids, false, records, w->error);

        if (r < 0)
                return r;
        for (size_t i = 0; i < n_ids && r == 0; i++) {
                const size_t first = at;

                while (at < n && items[at].job == ids[i])
                        at++;
                r = settle_job(w, &records[i], items + first, at - first);
        }
        for (size_t i = 0; i < n_ids; i++)
                store_record_clear(&records[i]);
        return r;
}

/* `items` are drives of jobs of ours, sorted by job. */
static int settle_jobs(const struct hub_work *w, const struct item *items, size_t n)
{
        uint64_t ids[SQL_IDS];
        size_t n_ids = 0;
        int r = 0;

        for (size_t i = 0, begin = 0; i < n && r == 0; i++) {
                if (i == begin || items[i].job != items[i - 1].job)
                        ids[n_ids++] = items[i].job;
                if (i + 1 < n && (n_ids < SQL_IDS || items[i + 1].job == items[i].job))
                        continue;
                r = settle_some(w, items + begin, i + 1 - begin, ids, n_ids);
                begin = i + 1;
                n_ids = 0;
        }
        return r;
}

static int look_and_settle(const struct hub_work *w, struct item *items, size_t n)
{
        struct view **views = calloc(n, sizeof(struct view *));
        int r = views ? 0 : -ENOMEM;

        for (size_t i = 0; i < n && r == 0; i++) {
                views[i] = &items[i].view;
                views[i]->subject = items[i].touch->subject;
        }
        if (r == 0)
                r = find_views(w, views, n);
        if (r == 0)
                r = settle_jobs(w, items, n);
        free(views);
        return r;
}

/* --- the batch --- */

static int by_subject(const void *a, const void *b)
{
        const struct hub_touch *x = a, *y = b;

        return strcmp(x->subject, y->subject);
}

/* What events told of one drive is one item. */
static void gather(struct settling *g, struct hub_touch *touched, size_t n)
{
        qsort(touched, n, sizeof *touched, by_subject);
        for (size_t i = 0; i < n; i++) {
                if (i == 0 || by_subject(&touched[i - 1], &touched[i]) != 0) {
                        struct item *it = &g->items[g->n++];

                        it->touch = &touched[i];
                        store_serial_key(touched[i].serial, it->key);
                }
                g->items[g->n - 1].moved |= touched[i].moved;
                if (touched[i].ours)
                        g->items[g->n - 1].touch = &touched[i];
        }
}

static int settle(struct settling *g)
{
        size_t foreign = 0;
        int r = look_for_twins(g);

        if (r == 0)
                r = find_jobs(g);
        if (r < 0)
                return r;
        qsort(g->items, g->n, sizeof *g->items, by_job);
        while (foreign < g->n && g->items[foreign].job == 0)
                foreign++;
        return foreign == g->n ? 0 : look_and_settle(g->w, g->items + foreign, g->n - foreign);
}

int hub_settle(const struct hub_work *w, struct hub_touch *touched, size_t n)
{
        struct settling g = { .w = w };
        int r;

        if (n == 0)
                return 0;
        g.items = calloc(n, sizeof *g.items);
        g.picked = calloc(n, sizeof(struct item *));
        r = g.items && g.picked ? 0 : -ENOMEM;
        if (r == 0)
                gather(&g, touched, n);
        if (r == 0)
                r = settle(&g);
        for (size_t i = 0; i < g.n; i++) {
                view_clear(&g.items[i].view);
                bth_buf_clear(&g.items[i].sources);
        }
        free(g.items);
        free(g.picked);
        return r;
}
