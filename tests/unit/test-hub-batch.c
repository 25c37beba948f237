/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A hub takes a batch whole or not at all: as if its events had come one by one, with one that is
 * refused among them, with an error of the database in its middle, with a server that is gone in
 * its middle, and with another process that is told the same at the same time. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/str.h"
#include "jobs/hub.h"
#include "tests/lib/pg-world.h"

#define T0       UINT64_C(1900000000000000)
#define SCOPE    "/subscriptions/1/resourceGroups/g"
#define JOBS     28u
#define PER_JOB  5u
#define DRIVES   (JOBS * PER_JOB)
#define EVENTS   (2 * DRIVES) /* more than wait in one pipeline */
#define TRIPPING 250u         /* the number of an event that the database does not like */

static const struct job_policy policy;

struct world {
        char folder[64], url[512], other_url[512];
        struct job_store *hub, *other;
        struct bth_error error;
};

#define OK(call)                                                                \
        do {                                                                    \
                w->error = BTH_ERROR_INIT;                                      \
                int ok_r = (call);                                              \
                if (ok_r < 0)                                                   \
                        fail_msg("%s: %d, %s", #call, ok_r, w->error.sentence); \
        } while (0)

static struct job_store *open_hub(struct world *w, const char *name, char *url, size_t n)
{
        struct job_store *s = NULL;

        (void)snprintf(url, n, "%s/%s", w->folder, name);
        if (pg_server())
                pg_url(name, url, n);
        OK(job_store_open(url, &s, &w->error));
        OK(job_store_begin(s, &w->error)); /* one sync to the disk */
        for (unsigned i = 0; i < JOBS; i++) {
                struct job_draft_drive drives[PER_JOB] = { 0 };
                char job[32], serials[PER_JOB][32];
                uint64_t id;

                (void)snprintf(job, sizeof job, "job-%u", i);
                for (unsigned k = 0; k < PER_JOB; k++) {
                        (void)snprintf(serials[k], sizeof serials[k], "SN%u", i * PER_JOB + k);
                        drives[k].serial = serials[k];
                }
                OK(job_store_add(s,
                                 &(struct job_draft){ .scope = SCOPE,
                                                      .name = job,
                                                      .origin = "api",
                                                      .drives = drives,
                                                      .n_drives = PER_JOB },
                                 true, T0, NULL, &id, &w->error));
        }
        OK(job_store_end(s, 0, &w->error));
        return s;
}

static int set_up(void **state)
{
        struct world *w = calloc(1, sizeof *w);

        assert_non_null(w);
        (void)snprintf(w->folder, sizeof w->folder, "/tmp/berth-batch-XXXXXX");
        assert_non_null(mkdtemp(w->folder));
        w->hub = open_hub(w, "batch.db", w->url, sizeof w->url);
        w->other = open_hub(w, "batch-2.db", w->other_url, sizeof w->other_url);
        *state = w;
        return 0;
}

static int tear_down(void **state)
{
        struct world *w = *state;

        (void)job_store_close(w->hub);
        (void)job_store_close(w->other);
        if (pg_server()) {
                pg_drop("batch.db");
                pg_drop("batch-2.db");
        } else {
                (void)unlink(w->url);
                (void)unlink(w->other_url);
        }
        assert_int_equal(rmdir(w->folder), 0);
        free(w);
        return 0;
}

/* --- what is told --- */

static json_t *data_of(unsigned drive, bool docking)
{
        char job[32], serial[32];
        json_t *j;

        (void)snprintf(job, sizeof job, "job-%u", drive / PER_JOB);
        (void)snprintf(serial, sizeof serial, "SN%u", drive);
        j = json_pack("{s:s,s:s,s:s,s:s,s:s}", "job", job, "scope", SCOPE, "origin", "upstream",
                      "driveId", serial, "bay", "A1");
        if (!docking)
                (void)json_object_update_new(
                        j, json_pack("{s:s,s:s,s:s,s:b,s:b,s:i,s:i,s:s}", "state", "Transferring",
                                     "copyStatus", "InProgress", "activity", "transferring",
                                     "docked", 1, "running", 1, "bytes", 1000, "bytesSucceeded",
                                     (int)drive, "receivedAt", "2031-04-09T07:15:02Z"));
        return j;
}

/* First each drive is docked, then each is at work. Numbers are from 1. */
static json_t *event(unsigned seq)
{
        const unsigned drive = (seq - 1) % DRIVES;
        const bool docking = seq <= DRIVES;
        char id[64], sequence[32], subject[128];

        (void)snprintf(id, sizeof id, "6BA7B810-9DAD-11D1-80B4-00C04FD430C8-%u", seq);
        (void)snprintf(sequence, sizeof sequence, "%020u", seq);
        (void)snprintf(subject, sizeof subject, SCOPE "/jobs/job-%u/drives/SN%u", drive / PER_JOB,
                       drive);
        return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:o}", "specversion", "1.0", "id", id,
                         "sequence", sequence, "source", "/stations/north", "type",
                         docking ? "berth.drive.docked" : "berth.drive.state", "subject", subject,
                         "time", "2031-04-09T07:15:02Z", "data", data_of(drive, docking));
}

static json_t *events(unsigned first, unsigned n)
{
        json_t *list = json_array();

        for (unsigned i = 0; i < n; i++)
                assert_int_equal(json_array_append_new(list, event(first + i)), 0);
        return list;
}

static int take(struct world *w, struct job_store *hub, json_t *list, struct job_hub_result *ret)
{
        int r = job_hub_take(hub, list, "/stations/north", &policy, T0, ret, &w->error);

        json_decref(list);
        return r;
}

/* --- what came of it --- */

static int write_view(void *userdata, const struct job_hub_view *v)
{
        return bth_buf_add_format(userdata, "%s %d %u %s\n", v->subject, (int)v->facet,
                                  (unsigned)v->seq, v->data);
}

static int write_job(void *userdata, const struct job_record *r)
{
        int k = bth_buf_add_format(userdata, "%s %d:", r->name, (int)r->model.state);

        for (size_t i = 0; i < r->model.n_drives && k == 0; i++)
                k = bth_buf_add_format(userdata, " %d %u %s", (int)r->model.drives[i].state,
                                       (unsigned)r->model.drives[i].bytes_done,
                                       r->drives[i].bay ? r->drives[i].bay : "-");
        return k < 0 ? k : bth_buf_add_string(userdata, "\n");
}

static int write_station(void *userdata, const struct job_hub_station *s)
{
        return bth_buf_add_format(userdata, "%s %u %u %u %u %u\n", s->source, (unsigned)s->applied,
                                  (unsigned)s->late, (unsigned)s->duplicates, (unsigned)s->refused,
                                  (unsigned)s->docked);
}

static char *everything(struct world *w, struct job_store *hub, bool counts)
{
        struct bth_buf b = BTH_BUF_INIT;

        OK(bth_buf_add_string(&b, ""));
        OK(job_hub_views(hub, &(struct job_hub_filter){ .limit = 1000 }, write_view, &b,
                         &w->error));
        OK(job_hub_jobs(hub, NULL, NULL, 0, 0, JOBS, write_job, &b, &w->error));
        if (counts)
                OK(job_hub_stations(hub, write_station, &b, &w->error));
        OK(job_store_check(hub, &w->error));
        return b.data;
}

static void same(struct world *w, bool counts)
{
        char *a = everything(w, w->hub, counts), *b = everything(w, w->other, counts);

        if (strcmp(a, b) != 0)
                fail_msg("%s\nis not\n%s", a, b);
        free(a);
        free(b);
}

static int count_event(void *userdata, const struct job_event *e)
{
        uint64_t *newest = userdata;

        *newest = e->seq;
        return 1;
}

/* What the store says its newest event is, is it. */
static void check_newest(struct world *w)
{
        const struct job_event_filter last = { .drive = JOB_NO_DRIVE,
                                               .newest_first = true,
                                               .limit = 1 };
        uint64_t newest = 0;

        OK(job_store_events(w->hub, &last, count_event, &newest, &w->error));
        assert_true(newest > 0);
        assert_int_equal(job_store_last_event(w->hub), newest);
}

/* --- tests --- */

static void test_as_one_by_one(void **state)
{
        struct world *w = *state;
        struct job_hub_result result;

        OK(take(w, w->hub, events(1, EVENTS), &result));
        assert_int_equal(result.applied, EVENTS);
        check_newest(w);
        OK(job_store_begin(w->other, &w->error)); /* one sync to the disk */
        for (unsigned seq = 1; seq <= EVENTS; seq++)
                OK(take(w, w->other, events(seq, 1), &result));
        OK(job_store_end(w->other, 0, &w->error));
        same(w, true);
        OK(take(w, w->hub, events(1, EVENTS), &result));
        assert_int_equal(result.duplicates, EVENTS);
        OK(take(w, w->other, events(1, EVENTS), &result));
        same(w, true);
}

static void test_refused_in_the_middle(void **state)
{
        struct world *w = *state;
        json_t *list = events(1, EVENTS);
        struct job_hub_result result;

        (void)json_object_set_new(json_array_get(list, TRIPPING - 1), "specversion",
                                  json_string("0.3"));
        OK(take(w, w->hub, list, &result));
        assert_int_equal(result.applied, EVENTS - 1);
        assert_int_equal(result.n_refused, 1);
        assert_int_equal(result.refused[0].index, TRIPPING - 1);
        job_hub_result_clear(&result);
        OK(take(w, w->hub, events(TRIPPING, 1), &result)); /* it was docked before its state */
        assert_int_equal(result.applied, 1);
        OK(take(w, w->other, events(1, EVENTS), &result));
        same(w, false);
}

/* The database fails when it is given the event, or what the hub makes of it. */
static void lay_snare(struct world *w, const char *table, const char *when, const char *pg_does)
{
        char text[512];
        sqlite3 *db;

        if (pg_server()) {
                (void)snprintf(text, sizeof text,
                               "CREATE FUNCTION snare() RETURNS trigger LANGUAGE plpgsql AS"
                               " $$BEGIN %s; RETURN NEW; END$$",
                               pg_does);
                (void)pg_ask(w->url, text);
                (void)snprintf(text, sizeof text,
                               "CREATE TRIGGER snare BEFORE INSERT ON %s FOR EACH ROW WHEN (%s)"
                               " EXECUTE FUNCTION snare()",
                               table, when);
                (void)pg_ask(w->url, text);
                return;
        }
        (void)snprintf(text, sizeof text,
                       "CREATE TRIGGER snare BEFORE INSERT ON %s WHEN %s"
                       " BEGIN SELECT RAISE(ABORT, 'snare'); END",
                       table, when);
        (void)job_store_close(w->hub);
        assert_int_equal(sqlite3_open(w->url, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        OK(job_store_open(w->url, &w->hub, &w->error));
}

static void take_snare_away(struct world *w)
{
        sqlite3 *db;

        if (pg_server()) {
                (void)pg_ask(w->url, "DROP FUNCTION snare() CASCADE");
                return;
        }
        (void)job_store_close(w->hub);
        assert_int_equal(sqlite3_open(w->url, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, "DROP TRIGGER snare", NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        OK(job_store_open(w->url, &w->hub, &w->error));
}

static void all_or_nothing(struct world *w, const char *table, const char *when,
                           const char *pg_does, int code)
{
        char *before = everything(w, w->hub, true), *after;
        struct job_hub_result result;
        uint64_t newest;

        lay_snare(w, table, when, pg_does);
        newest = job_store_last_event(w->hub);
        w->error = BTH_ERROR_INIT;
        assert_int_equal(take(w, w->hub, events(1, EVENTS), &result), code);
        assert_true(w->error.sentence[0] != '\0');
        assert_int_equal(job_store_last_event(w->hub), newest);
        after = everything(w, w->hub, true);
        assert_string_equal(after, before);
        take_snare_away(w);
        OK(take(w, w->hub, events(1, EVENTS), &result));
        assert_int_equal(result.applied, EVENTS);
        OK(take(w, w->other, events(1, EVENTS), &result));
        same(w, true);
        free(before);
        free(after);
}

#define FAILS "RAISE EXCEPTION 'snare' USING ERRCODE = 'check_violation'"

static void test_history_fails(void **state)
{
        all_or_nothing(*state, "hub_events", "NEW.seq = 250", FAILS, -EEXIST);
}

/* Nobody waits for this one. */
static void test_later_fails(void **state)
{
        all_or_nothing(*state, "events", "NEW.serial = 'SN100'", FAILS, -EEXIST);
}

static void test_another_in_the_way(void **state)
{
        if (!pg_server())
                skip();
        all_or_nothing(*state, "hub_facets", "NEW.seq = 250",
                       "RAISE EXCEPTION 'snare' USING ERRCODE = 'serialization_failure'", -EAGAIN);
}

/* The connection ends between two events, and the next batch has a new one. */
static void test_gone_in_the_middle(void **state)
{
        if (!pg_server())
                skip();
        all_or_nothing(*state, "hub_facets", "NEW.seq = 250",
                       "PERFORM pg_terminate_backend(pg_backend_pid())", -EAGAIN);
}

static void test_gone_later(void **state)
{
        if (!pg_server())
                skip();
        all_or_nothing(*state, "events", "NEW.serial = 'SN100'",
                       "PERFORM pg_terminate_backend(pg_backend_pid())", -EAGAIN);
}

/* --- two processes --- */

#define PART 40u

struct process {
        struct job_store *store;
        bool backwards;
        size_t applied, late, duplicates;
        int r;
        struct bth_error error;
        pthread_t thread;
};

static void *be_told(void *userdata)
{
        struct process *p = userdata;

        for (unsigned i = 0; i < EVENTS / PART && p->r == 0; i++) {
                const unsigned part = p->backwards ? EVENTS / PART - 1 - i : i;
                json_t *list = events(part * PART + 1, PART);
                struct job_hub_result result = { 0 };

                p->r = job_hub_take(p->store, list, "/stations/north", &policy, T0, &result,
                                    &p->error);
                p->applied += result.applied;
                p->late += result.late;
                p->duplicates += result.duplicates;
                json_decref(list);
        }
        return NULL;
}

/* Both are told everything, from either end: each event counts once, whoever was first. */
static void test_two_processes(void **state)
{
        struct world *w = *state;
        struct process p[2] = { { .store = w->hub }, { .backwards = true } };
        struct job_hub_result result;

        if (!pg_server())
                skip();
        OK(job_store_open(w->url, &p[1].store, &w->error));
        for (size_t i = 0; i < 2; i++)
                assert_int_equal(pthread_create(&p[i].thread, NULL, be_told, &p[i]), 0);
        for (size_t i = 0; i < 2; i++)
                assert_int_equal(pthread_join(p[i].thread, NULL), 0);
        for (size_t i = 0; i < 2; i++)
                if (p[i].r < 0)
                        fail_msg("%d: %s", p[i].r, p[i].error.sentence);
        (void)job_store_close(p[1].store);
        assert_int_equal(p[0].applied + p[0].late + p[1].applied + p[1].late, EVENTS);
        assert_int_equal(p[0].duplicates + p[1].duplicates, EVENTS);
        assert_int_equal(pg_ask(w->url, "SELECT count(*) FROM hub_events"), EVENTS);
        assert_int_equal(pg_ask(w->url, "SELECT sum(applied + late) FROM hub_stations"), EVENTS);
        OK(take(w, w->other, events(1, EVENTS), &result));
        same(w, false);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(test_as_one_by_one),      TEST(test_refused_in_the_middle),
                TEST(test_history_fails),      TEST(test_later_fails),
                TEST(test_another_in_the_way), TEST(test_gone_in_the_middle),
                TEST(test_gone_later),         TEST(test_two_processes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
