/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A hub: each event applied once, whatever the way does to its order; our jobs become what the
 * stations say; two stations with one drive, two stores under one name, silence; what is refused.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/io.h"
#include "base/str.h"
#include "base/time.h"
#include "jobs/event.h"
#include "jobs/hub.h"
#include "tests/lib/pg-world.h"

#define T0       UINT64_C(1900000000000000)
#define SEC      UINT64_C(1000000)
#define STATIONS 3
#define DRIVES   3

static const struct job_policy policy;
static const char *const serials[DRIVES] = { "QX7-1", "QX7-2", "QX7-3" };

struct station {
        char source[32];
        struct job_store *store;
        uint64_t job, docking[DRIVES];
};
struct world {
        char folder[64];
        struct job_store *hub;
        struct station stations[STATIONS];
        uint64_t job, now;
        json_t *sent; /* every event, in the order of sending */
        struct bth_error error;
};

#define OK(call)                                                                \
        do {                                                                    \
                w->error = BTH_ERROR_INIT;                                      \
                int ok_r = (call);                                              \
                if (ok_r < 0)                                                   \
                        fail_msg("%s: %d, %s", #call, ok_r, w->error.sentence); \
        } while (0)

static struct job_store *open_store(struct world *w, const char *name)
{
        struct job_store *s = NULL;
        char path[512];

        (void)snprintf(path, sizeof path, "%s/%s", w->folder, name);
        if (pg_server() && bth_starts_with(name, "hub"))
                pg_url(name, path, sizeof path);
        OK(job_store_open(path, &s, &w->error));
        return s;
}

static uint64_t add_job(struct world *w, struct job_store *s, const char *name, const char *origin,
                        const char *location)
{
        struct job_draft_drive drives[DRIVES] = { 0 };
        uint64_t id = 0;

        for (size_t i = 0; i < DRIVES; i++)
                drives[i] = (struct job_draft_drive){ .serial = serials[i] };
        OK(job_store_add(s,
                         &(struct job_draft){ .scope = "/subscriptions/1/resourceGroups/g",
                                              .name = name,
                                              .origin = origin,
                                              .location = location,
                                              .drives = drives,
                                              .n_drives = DRIVES },
                         true, T0, NULL, &id, &w->error));
        return id;
}

static int set_up(void **state)
{
        struct world *w = calloc(1, sizeof *w);

        assert_non_null(w);
        (void)snprintf(w->folder, sizeof w->folder, "/tmp/berth-hub-XXXXXX");
        assert_non_null(mkdtemp(w->folder));
        w->now = T0;
        w->sent = json_array();
        w->hub = open_store(w, "hub.db");
        w->job = add_job(w, w->hub, "attic", "api", "West Europe");
        for (size_t i = 0; i < STATIONS; i++) {
                struct station *s = &w->stations[i];
                char name[32];

                (void)snprintf(name, sizeof name, "s%zu.db", i);
                (void)snprintf(s->source, sizeof s->source, "/stations/s%zu", i);
                s->store = open_store(w, name);
                OK(job_store_outbox_use(s->store, true, &w->error));
                s->job = add_job(w, s->store, "attic", "upstream", NULL);
        }
        *state = w;
        return 0;
}

static int tear_down(void **state)
{
        struct world *w = *state;
        DIR *d = opendir(w->folder);
        const struct dirent *e;

        (void)job_store_close(w->hub);
        if (pg_server())
                pg_drop("hub.db");
        for (size_t i = 0; i < STATIONS; i++)
                (void)job_store_close(w->stations[i].store);
        while (d && (e = readdir(d)))
                (void)unlinkat(dirfd(d), e->d_name, 0);
        (void)closedir(d);
        assert_int_equal(rmdir(w->folder), 0);
        json_decref(w->sent);
        free(w);
        return 0;
}

/* --- stations at work --- */

static void act(struct world *w, size_t station, const struct job_input *input)
{
        struct station *s = &w->stations[station];
        struct job_outcome out;
        const struct job_act a = { .job = s->job, .input = *input };

        w->now += SEC;
        OK(job_store_apply(s->store, &a, &policy, w->now, NULL, &out, &w->error));
}

static void dock(struct world *w, size_t station, size_t drive)
{
        struct station *s = &w->stations[station];
        struct job_outcome out;

        w->now += SEC;
        OK(job_store_dock(s->store,
                          &(struct job_docking){ .serial = serials[drive],
                                                 .bay = "A1",
                                                 .job = s->job,
                                                 .drive = drive,
                                                 .matched = "serial" },
                          &policy, w->now, NULL, &s->docking[drive], &out, &w->error));
}

static void undock(struct world *w, size_t station, size_t drive)
{
        struct station *s = &w->stations[station];
        struct job_outcome out;

        w->now += SEC;
        OK(job_store_undock(s->store, s->docking[drive], false, &policy, w->now, NULL, &out,
                            &w->error));
}

static void begin(struct world *w, size_t station, size_t drive)
{
        dock(w, station, drive);
        act(w, station, &(struct job_input){ .kind = JOB_INPUT_BEGUN, .drive = drive });
}

static void progress(struct world *w, size_t station, size_t drive, uint64_t bytes)
{
        act(w, station,
            &(struct job_input){ .kind = JOB_INPUT_PROGRESS,
                                 .drive = drive,
                                 .bytes = 1000,
                                 .bytes_done = bytes,
                                 .blobs = 2,
                                 .blobs_done = 1 });
}

static void finish(struct world *w, size_t station, size_t drive, const char *copy_status)
{
        struct station *s = &w->stations[station];
        struct bth_result_report report = { .end = BTH_RUN_END_FINISHED,
                                            .copy_status = (char *)copy_status,
                                            .reason = (char *)"none",
                                            .sentence = (char *)"it is done",
                                            .error_log = (char *)"logs/error.xml" };
        struct job_outcome out;

        w->now += SEC;
        OK(job_store_result(s->store, s->job, drive, &report, &policy, w->now, &out, &w->error));
}

/* --- on the way --- */

struct letter {
        const struct station *s;
        json_t *event;
        uint64_t seq;
};

static int write_letter(void *userdata, const struct job_event *e)
{
        struct letter *l = userdata;
        char *text;

        assert_int_equal(job_event_to_json(e, job_store_uid(l->s->store), l->s->source, &text), 0);
        assert_int_equal(bth_json_parse(text, strlen(text), &l->event, NULL), 0);
        free(text);
        l->seq = e->seq;
        return 1;
}

/* Empties an outbox into `w->sent`, behind what is there. */
static void post(struct world *w, size_t station)
{
        struct station *s = &w->stations[station];
        struct letter l = { .s = s };

        while (job_store_outbox(s->store, w->now, 1, write_letter, &l, &w->error) == 1) {
                assert_int_equal(json_array_append_new(w->sent, l.event), 0);
                OK(job_store_outbox_sent(s->store, l.seq, &w->error));
        }
}

static struct job_hub_result take(struct world *w, struct job_store *hub, const json_t *events)
{
        struct job_hub_result result = { 0 };

        OK(job_hub_take(hub, events, NULL, &policy, w->now, &result, &w->error));
        assert_int_equal(json_array_size(events),
                         result.applied + result.late + result.duplicates + result.n_refused);
        free(result.refused);
        result.refused = NULL;
        return result;
}

/* Everything that was not taken yet. */
static struct job_hub_result deliver(struct world *w)
{
        struct job_hub_result result;

        for (size_t i = 0; i < STATIONS; i++)
                post(w, i);
        result = take(w, w->hub, w->sent);
        json_array_clear(w->sent);
        return result;
}

static struct job_record *look(struct world *w, struct job_store *s, uint64_t job)
{
        struct job_record *r = NULL;

        OK(job_store_get(s, job, &r, &w->error));
        return r;
}

/* --- tests --- */

static void test_follows(void **state)
{
        struct world *w = *state;
        struct job_record *r;
        char *holder;

        begin(w, 0, 0);
        progress(w, 0, 0, 500);
        (void)deliver(w);
        r = look(w, w->hub, w->job);
        assert_int_equal(r->model.state, BTH_JOB_STATE_TRANSFERRING);
        assert_int_equal(r->model.drives[0].state, BTH_DRIVE_STATE_TRANSFERRING);
        assert_int_equal(r->model.drives[0].bytes_done, 500);
        assert_true(r->model.drives[0].running);
        assert_string_equal(r->drives[0].bay, "A1");
        assert_int_equal(r->model.drives[1].state, BTH_DRIVE_STATE_SPECIFIED);
        OK(job_hub_holder(w->hub, r, 0, &holder, &w->error));
        assert_string_equal(holder, "/stations/s0");
        free(holder);
        (void)job_record_free(r);

        finish(w, 0, 0, "Completed");
        begin(w, 1, 1);
        begin(w, 2, 2);
        finish(w, 2, 2, "CompletedWithErrors");
        (void)deliver(w);
        r = look(w, w->hub, w->job);
        assert_int_equal(r->model.state, BTH_JOB_STATE_TRANSFERRING);
        assert_int_equal(r->model.drives[0].state, BTH_DRIVE_STATE_COMPLETED);
        assert_string_equal(r->drives[0].error_log, "logs/error.xml");
        assert_int_equal(r->model.drives[2].state, BTH_DRIVE_STATE_COMPLETED_MORE_INFO);
        assert_int_equal(r->model.drives[2].status, BTH_DRIVE_STATUS_COMPLETED_WITH_ERRORS);
        assert_true(r->model.drives[2].docked);
        (void)job_record_free(r);

        finish(w, 1, 1, "Completed");
        undock(w, 0, 0); /* no word but of its bay */
        undock(w, 1, 1);
        undock(w, 2, 2);
        (void)deliver(w);
        r = look(w, w->hub, w->job);
        assert_int_equal(r->model.state, BTH_JOB_STATE_PACKAGING);
        assert_false(r->model.drives[0].docked || r->model.drives[1].docked ||
                     r->model.drives[2].docked);
        (void)job_record_free(r);
        OK(job_store_check(w->hub, &w->error));
}

/* A drive that was pulled goes on elsewhere. */
static void test_moves(void **state)
{
        struct world *w = *state;
        struct job_record *r;
        char *holder;

        begin(w, 0, 0);
        undock(w, 0, 0);
        (void)deliver(w);
        dock(w, 1, 0); /* Received there; not backwards here */
        (void)deliver(w);
        r = look(w, w->hub, w->job);
        assert_int_equal(r->model.drives[0].state, BTH_DRIVE_STATE_TRANSFERRING);
        (void)job_record_free(r);
        act(w, 1, &(struct job_input){ .kind = JOB_INPUT_BEGUN, .drive = 0 });
        finish(w, 1, 0, "Completed");
        (void)deliver(w);
        r = look(w, w->hub, w->job);
        assert_int_equal(r->model.drives[0].state, BTH_DRIVE_STATE_COMPLETED);
        OK(job_hub_holder(w->hub, r, 0, &holder, &w->error));
        assert_string_equal(holder, "/stations/s1");
        free(holder);
        (void)job_record_free(r);
}

/* Stations that still hold drives in their own copies send theirs back; ours ends with the last. */
static void test_ends(void **state)
{
        struct world *w = *state;
        struct job_record *r;

        for (size_t i = 0; i < DRIVES; i++) {
                begin(w, 0, i);
                finish(w, 0, i, "Completed");
                undock(w, 0, i);
        }
        act(w, 0, &(struct job_input){ .kind = JOB_INPUT_RETURNED });
        (void)deliver(w);
        r = look(w, w->hub, w->job);
        assert_int_equal(r->model.state, BTH_JOB_STATE_COMPLETED);
        assert_int_equal(r->model.drives[2].state, BTH_DRIVE_STATE_SHIPPED_BACK);
        (void)job_record_free(r);
}

/* The customer took the job back at the hub; a station has not heard of it yet. */
static void test_cancelled_here(void **state)
{
        struct world *w = *state;
        const struct job_act a = { .job = w->job, .input.kind = JOB_INPUT_CANCELLED };
        struct job_outcome out;
        struct job_record *r;

        begin(w, 0, 0);
        (void)deliver(w);
        OK(job_store_apply(w->hub, &a, &policy, w->now, NULL, &out, &w->error));
        dock(w, 1, 1);
        (void)deliver(w);
        r = look(w, w->hub, w->job);
        assert_true(r->model.drives[1].unprocessed);
        (void)job_record_free(r);
        finish(w, 0, 0, "Completed");
        (void)deliver(w);
        r = look(w, w->hub, w->job);
        assert_int_equal(r->model.drives[0].state, BTH_DRIVE_STATE_COMPLETED);
        (void)job_record_free(r);
        OK(job_store_check(w->hub, &w->error));
}

/* --- any order --- */

static int write_view(void *userdata, const struct job_hub_view *v)
{
        return bth_buf_add_format(userdata, "%s %s %d %u %s\n", v->source, v->subject,
                                  (int)v->facet, (unsigned)v->seq, v->data);
}

static char *views(struct world *w, struct job_store *hub)
{
        struct bth_buf b = BTH_BUF_INIT;

        OK(job_hub_views(hub, &(struct job_hub_filter){ .limit = 1000 }, write_view, &b,
                         &w->error));
        return b.data;
}

static uint64_t next_random(uint64_t *x)
{
        uint64_t z = *x += UINT64_C(0x9E3779B97F4A7C15);

        z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
        return z ^ z >> 31;
}

/* A day of three stations. */
static void work(struct world *w)
{
        begin(w, 0, 0);
        begin(w, 1, 1);
        progress(w, 0, 0, 10);
        post(w, 0);
        progress(w, 0, 0, 20); /* the first was sent; this one is replaced */
        progress(w, 0, 0, 30);
        undock(w, 0, 0);
        begin(w, 2, 2);
        post(w, 2);
        finish(w, 2, 2, "DriveNotBitLocker");
        begin(w, 2, 0);
        progress(w, 2, 0, 700);
        finish(w, 2, 0, "Completed");
        finish(w, 1, 1, "CompletedWithWarnings");
        undock(w, 1, 1);
        undock(w, 2, 0);
        for (size_t i = 0; i < STATIONS; i++)
                post(w, i);
}

static json_t *shuffled(const json_t *events, uint64_t *x)
{
        json_t *list = json_array();
        size_t n;

        for (size_t i = 0; i < json_array_size(events); i++)
                for (uint64_t k = 0; k <= next_random(x) % 3; k++)
                        (void)json_array_append(list, json_array_get(events, i));
        n = json_array_size(list);
        for (size_t i = n; i > 1; i--) {
                const size_t k = next_random(x) % i;
                json_t *a = json_incref(json_array_get(list, i - 1));

                (void)json_array_set(list, i - 1, json_array_get(list, k));
                (void)json_array_set_new(list, k, a);
        }
        return list;
}

/* In batches of one to seven. */
static struct job_hub_result take_in_parts(struct world *w, struct job_store *hub,
                                           const json_t *list, uint64_t *x)
{
        struct job_hub_result sum = { 0 };

        for (size_t i = 0; i < json_array_size(list);) {
                json_t *part = json_array();
                struct job_hub_result one;

                for (uint64_t n = 1 + next_random(x) % 7; n > 0 && i < json_array_size(list); n--)
                        (void)json_array_append(part, json_array_get(list, i++));
                one = take(w, hub, part);
                sum.applied += one.applied;
                sum.late += one.late;
                sum.duplicates += one.duplicates;
                json_decref(part);
        }
        return sum;
}

static uint64_t count_rows(const char *path, const char *text)
{
        sqlite3 *db;
        sqlite3_stmt *st;
        uint64_t n;

        if (pg_server())
                return pg_ask(path, text);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_prepare_v2(db, text, -1, &st, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(st), SQLITE_ROW);
        n = (uint64_t)sqlite3_column_int64(st, 0);
        (void)sqlite3_finalize(st);
        (void)sqlite3_close(db);
        return n;
}

static void test_any_order(void **state)
{
        struct world *w = *state;
        size_t history = 0;
        char *truth;

        work(w);
        for (size_t i = 0; i < json_array_size(w->sent); i++)
                history += !bth_streq(
                        json_string_value(json_object_get(json_array_get(w->sent, i), "type")),
                        "berth.drive.progress");
        (void)take(w, w->hub, w->sent);
        truth = views(w, w->hub);
        assert_non_null(strstr(truth, "/stations/s2"));
        for (uint64_t seed = 1; seed <= (pg_server() ? 8 : 60); seed++) {
                uint64_t x = seed;
                struct job_store *hub;
                struct job_record *r, *ours;
                json_t *list = shuffled(w->sent, &x);
                uint64_t job;
                char name[32], path[512], *view;

                (void)snprintf(name, sizeof name, "hub-%u.db", (unsigned)seed);
                (void)snprintf(path, sizeof path, "%s/%s", w->folder, name);
                hub = open_store(w, name);
                if (pg_server())
                        pg_url(name, path, sizeof path);
                job = add_job(w, hub, "attic", "api", NULL);
                (void)take_in_parts(w, hub, list, &x);
                view = views(w, hub);
                if (strcmp(view, truth) != 0)
                        fail_msg("seed %u:\n%s\nis not\n%s", (unsigned)seed, view, truth);
                r = look(w, hub, job);
                ours = look(w, w->hub, w->job);
                assert_int_equal(r->model.state, ours->model.state);
                for (size_t i = 0; i < DRIVES; i++) {
                        assert_int_equal(r->model.drives[i].state, ours->model.drives[i].state);
                        assert_int_equal(r->model.drives[i].copy, ours->model.drives[i].copy);
                        assert_int_equal(r->model.drives[i].status, ours->model.drives[i].status);
                        assert_int_equal(r->model.drives[i].docked, ours->model.drives[i].docked);
                }
                OK(job_store_check(hub, &w->error));
                free(view);
                (void)job_record_free(r);
                (void)job_record_free(ours);
                (void)job_store_close(hub);
                assert_int_equal(count_rows(path, "SELECT count(*) FROM hub_events"), history);
                if (pg_server())
                        pg_drop(name);
                json_decref(list);
        }
        free(truth);
}

static void test_each_once(void **state)
{
        struct world *w = *state;
        struct job_hub_result first, again;
        json_t *late = json_array();
        size_t n;

        work(w);
        n = json_array_size(w->sent);
        /* The docking of a drive of which much more is known when it comes. */
        (void)json_array_append(late, json_array_get(w->sent, 3));
        (void)json_array_remove(w->sent, 3);
        first = take(w, w->hub, w->sent);
        assert_int_equal(first.applied, n - 1);
        again = take(w, w->hub, w->sent);
        assert_int_equal(again.duplicates, n - 1);
        assert_int_equal(take(w, w->hub, late).late, 1);
        assert_int_equal(take(w, w->hub, late).duplicates, 1);
        json_decref(late);
}

/* The history is shortened, a step at a time; what comes again changes nothing all the same. */
static void test_shortened(void **state)
{
        struct world *w = *state;
        const size_t many = 2 * JOB_HUB_PRUNE_MAX;
        struct job_record *before, *after;
        uint64_t x = 7;
        int n, sum = 0, steps = 0;

        begin(w, 0, 0);
        OK(job_store_begin(w->stations[0].store, &w->error));
        for (size_t i = 0; i < many; i++)
                act(w, 0,
                    &(struct job_input){ .kind = i % 2 == 0 ? JOB_INPUT_PAUSED : JOB_INPUT_RESUMED,
                                         .drive = 0 });
        OK(job_store_end(w->stations[0].store, 0, &w->error));
        finish(w, 0, 0, "Completed");
        undock(w, 0, 0);
        post(w, 0);
        assert_true(json_array_size(w->sent) > many);
        (void)take_in_parts(w, w->hub, w->sent, &x);
        before = look(w, w->hub, w->job);
        assert_int_equal(job_hub_prune(w->hub, w->now, &w->error), 0); /* it came now */
        do {
                n = job_hub_prune(w->hub, w->now + 1, &w->error);
                assert_true(n >= 0 && n <= (int)JOB_HUB_PRUNE_MAX);
                sum += n;
                steps++;
        } while (n == (int)JOB_HUB_PRUNE_MAX);
        assert_true(steps > 2 && sum > (int)many);
        assert_int_equal(take_in_parts(w, w->hub, w->sent, &x).applied, 0);
        after = look(w, w->hub, w->job);
        assert_int_equal(after->revision, before->revision);
        assert_int_equal(after->model.drives[0].state, BTH_DRIVE_STATE_COMPLETED);
        (void)job_record_free(before);
        (void)job_record_free(after);
}

/* --- conflicts and silence --- */

struct seen {
        size_t n, open;
        char text[512];
};

static int see_conflict(void *userdata, const struct job_hub_conflict *c)
{
        struct seen *s = userdata;

        s->n++;
        s->open += c->open;
        (void)snprintf(s->text, sizeof s->text, "%s %s: %s", job_hub_conflict_to_string(c->kind),
                       c->key, c->sources);
        return 0;
}

static struct seen conflicts(struct world *w)
{
        struct seen s = { 0 };

        OK(job_hub_conflicts(w->hub, w->now, 100, see_conflict, &s, &w->error));
        return s;
}

static void test_docked_twice(void **state)
{
        struct world *w = *state;
        struct seen s;

        begin(w, 0, 0);
        (void)deliver(w);
        assert_int_equal(conflicts(w).n, 0);
        dock(w, 1, 0);
        (void)deliver(w);
        s = conflicts(w);
        assert_int_equal(s.open, 1);
        assert_string_equal(s.text, "docked-twice QX7-1: /stations/s0 /stations/s1");
        undock(w, 0, 0);
        (void)deliver(w);
        s = conflicts(w);
        assert_int_equal(s.n, 1);
        assert_int_equal(s.open, 0);
        dock(w, 2, 0);
        (void)deliver(w);
        assert_int_equal(conflicts(w).open, 1);
}

/* The store of a station is lost: what the new one says is newer, though its numbers are lower. */
static void test_new_store(void **state)
{
        struct world *w = *state;
        struct station *s = &w->stations[0];
        struct job_record *r;
        json_t *old;

        begin(w, 0, 0);
        progress(w, 0, 0, 10);
        post(w, 0);
        old = json_deep_copy(w->sent);
        (void)deliver(w);
        (void)job_store_close(s->store);
        s->store = open_store(w, "again.db");
        OK(job_store_outbox_use(s->store, true, &w->error));
        s->job = add_job(w, s->store, "attic", "upstream", NULL);
        begin(w, 0, 0);
        finish(w, 0, 0, "Completed");
        (void)deliver(w);
        r = look(w, w->hub, w->job);
        assert_int_equal(r->model.drives[0].state, BTH_DRIVE_STATE_COMPLETED);
        (void)job_record_free(r);
        assert_int_equal(conflicts(w).n, 0);

        (void)take(w, w->hub, old); /* the old store speaks again */
        r = look(w, w->hub, w->job);
        assert_int_equal(r->model.drives[0].state, BTH_DRIVE_STATE_COMPLETED);
        (void)job_record_free(r);
        assert_string_equal(conflicts(w).text, "same-name /stations/s0: /stations/s0");
        assert_int_equal(conflicts(w).open, 1);
        w->now += 7200 * SEC;
        assert_int_equal(conflicts(w).open, 0);
        json_decref(old);
}

static int see_station(void *userdata, const struct job_hub_station *s)
{
        return bth_buf_add_format(userdata, "%s heard %u applied %u docked %u; ", s->source,
                                  (unsigned)((s->heard_usec - T0) / SEC), (unsigned)s->applied,
                                  (unsigned)s->docked);
}

static void test_heard(void **state)
{
        struct world *w = *state;
        struct job_hub_result result;
        struct bth_buf b = BTH_BUF_INIT;
        json_t *none = json_array();

        dock(w, 0, 0);
        w->now = T0 + 10 * SEC;
        (void)deliver(w);
        OK(job_hub_take(w->hub, none, "/stations/s0", &policy, T0 + 70 * SEC, &result, &w->error));
        OK(job_hub_take(w->hub, none, "/stations/new", &policy, T0 + 80 * SEC, &result, &w->error));
        assert_int_equal(job_hub_take(w->hub, none, "a b", &policy, T0, &result, &w->error),
                         -EBADMSG);
        OK(job_hub_stations(w->hub, see_station, &b, &w->error));
        if (!strstr(b.data, "/stations/new heard 80 applied 0 docked 0; "
                            "/stations/s0 heard 70 applied 5 docked 1; "
                            "/stations/s1 heard 10"))
                fail_msg("%s", b.data);
        bth_buf_clear(&b);
        json_decref(none);
}

/* --- refused --- */

static void refused(struct world *w, const char *member, json_t *value, const char *sentence)
{
        json_t *list = json_array(), *event = json_deep_copy(json_array_get(w->sent, 0));
        struct job_hub_result result = { 0 };

        (void)json_object_set_new(event, member, value);
        (void)json_array_append_new(list, event);
        (void)json_array_append(list, json_array_get(w->sent, 1));
        OK(job_hub_take(w->hub, list, NULL, &policy, w->now, &result, &w->error));
        if (result.n_refused != 1 || !strstr(result.refused[0].sentence, sentence))
                fail_msg("%s: %zu refused, %s", member, result.n_refused,
                         result.n_refused ? result.refused[0].sentence : "");
        assert_int_equal(result.refused[0].index, 0);
        assert_int_equal(result.applied + result.duplicates, 1); /* the other one goes on */
        job_hub_result_clear(&result);
        json_decref(list);
}

static void test_refused(void **state)
{
        struct world *w = *state;
        struct job_hub_result result;
        json_t *many = json_array(), *no_array = json_object();
        char *long_text = calloc(1, 2000);

        begin(w, 0, 0);
        post(w, 0);
        refused(w, "specversion", json_string("0.3"), "is not 1.0");
        refused(w, "id", json_string("1"), "is not that of a store");
        refused(w, "id", json_string("6BA7B810-9DAD-11D1-80B4-00C04FD430C8-07"), "is not that");
        refused(w, "sequence", json_string("00000000000000000002"), "is not the number");
        refused(w, "source", json_string("a b"), "no URI");
        refused(w, "type", json_string("berth.drive.exploded"), "not known");
        refused(w, "subject", json_string("jobs/other"), "is not its subject");
        refused(w, "partitionkey", json_string("x"), "is not its subject");
        refused(w, "time", json_string("2031-02-30T07:15:02Z"), "is no time");
        refused(w, "data", json_integer(5), "no object");
        refused(w, "data", json_object(), "missing");
        refused(w, "data", json_pack("{s:s,s:s}", "job", "attic", "state", "Lost"), "no state");
        memset(long_text, 'x', 1999);
        refused(w, "subject", json_string(long_text), "too long");
        refused(w, "berthactor", json_string("a\nb"), "control characters");

        for (size_t i = 0; i <= JOB_HUB_BATCH_MAX; i++)
                (void)json_array_append(many, json_array_get(w->sent, 0));
        assert_int_equal(job_hub_take(w->hub, many, NULL, &policy, T0, &result, &w->error),
                         -EBADMSG);
        assert_int_equal(job_hub_take(w->hub, no_array, NULL, &policy, T0, &result, &w->error),
                         -EBADMSG);
        json_decref(many);
        json_decref(no_array);
        free(long_text);
}

/* --- what stations fetch --- */

static int see_job(void *userdata, const struct job_record *r)
{
        return bth_buf_add_format(userdata, "%s ", r->name);
}

static void fetches(struct world *w, const char *location, const char *serial, uint64_t after,
                    const char *want)
{
        struct bth_buf b = BTH_BUF_INIT;

        OK(bth_buf_add_string(&b, ""));
        OK(job_hub_jobs(w->hub, location, &serial, serial ? 1 : 0, after, 10, see_job, &b,
                        &w->error));
        assert_string_equal(b.data, want);
        bth_buf_clear(&b);
}

static void test_fetched(void **state)
{
        struct world *w = *state;
        const struct job_draft_drive other = { .serial = "ZZ" };
        uint64_t id;

        (void)add_job(w, w->hub, "anywhere", "api", NULL);
        OK(job_store_add(w->hub,
                         &(struct job_draft){ .name = "north",
                                              .location = "North Europe",
                                              .drives = &other,
                                              .n_drives = 1 },
                         true, T0, NULL, &id, &w->error));
        fetches(w, "westeurope", NULL, 0, "attic anywhere ");
        fetches(w, "WEST europe", NULL, w->job, "anywhere ");
        fetches(w, "mars", NULL, 0, "anywhere ");
        fetches(w, NULL, NULL, 0, "anywhere ");
        fetches(w, "northeurope", "qx7 -2", 0, "attic anywhere north ");
        fetches(w, "mars", "zz", 0, "anywhere north ");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(test_follows),        TEST(test_moves),     TEST(test_ends),
                TEST(test_cancelled_here), TEST(test_any_order), TEST(test_each_once),
                TEST(test_docked_twice),   TEST(test_new_store), TEST(test_heard),
                TEST(test_refused),        TEST(test_fetched),   TEST(test_shortened),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
