/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How much the store works for one answer, counted in steps of SQLite's machine: it must be the
 * same whether there are some hundred jobs or ten times as many, and a list must not ask once for
 * each of its jobs. A statement without an index shows here, however fast the machine is. */
#include <stdio.h>
#include <unistd.h>

#include <sqlite3.h>

#include "jobs/match.h"
#include "jobs/sql.h"
#include "tests/lib/job-place.h"

#define FEW  300u
#define MANY 3000u
#define PAGE 100u

struct work {
        struct place *place;
        uint64_t jobs, rows;
        unsigned made;
};

/* --- a store with many jobs --- */

/* A third is Transferring, a third Completed, a third Closed; one in ten is the station's own. */
static void fill(struct place *p, unsigned jobs)
{
        static const char text[] =
                "BEGIN;"
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %u)"
                " INSERT INTO jobs (id, revision, scope, subscription, name, account, verbose_log,"
                " backup_manifest, state, cancel_requested, accept_unshipped, has_delivery,"
                " has_return, deleted, alerts, created_usec, shipped_usec, asked_usec, done_usec,"
                " packaging_usec, ended_usec, deadline_usec) SELECT i, 1,"
                " iif(i %% 10 = 0, '', '/subscriptions/s/resourceGroups/g' || (i %% 3)),"
                " iif(i %% 10 = 0, '', '/subscriptions/s'), 'job-' || i, 'a', 0, 0,"
                " CASE i %% 3 WHEN 0 THEN 3 WHEN 1 THEN 5 ELSE 6 END, 0, 1, 1, 1, 0, 0, 1, 1, 0,"
                " iif(i %% 3 = 0, 0, 1), 0, iif(i %% 3 = 0, 0, 1), 4102444800000000 FROM n;"
                "INSERT INTO drives (job, idx, serial, serial_key, state, copy, status, activity,"
                " docked, running, held, unprocessed, bytes, bytes_done, blobs, blobs_done,"
                " received_usec, begun_usec, ended_usec, activity_usec, corrections)"
                " SELECT id, k, 'SN' || (id * 3 + k), 'SN' || (id * 3 + k),"
                " iif(state = 3, 1, 6), 0, 0, iif(state = 3, 2, 0), 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, "
                "0,"
                " 1, 0 FROM jobs, (SELECT 0 AS k UNION SELECT 1 UNION SELECT 2);"
                "INSERT INTO keys SELECT job, idx, CAST('1-2' AS BLOB) FROM drives;"
                "INSERT INTO personal SELECT id, 2,"
                " '{\"trackingNumber\":\"T' || id || '\"}', 'T' || id FROM jobs;"
                "INSERT INTO events (kind, time_usec, job, drive, serial, serial_key, subject, "
                "data)"
                " SELECT 6, id, id, k, 'SN' || (id * 3 + k), 'SN' || (id * 3 + k), 'jobs/job', '{}'"
                " FROM jobs, (SELECT 0 AS k UNION SELECT 1 UNION SELECT 2);"
                "COMMIT";
        char sql_text[sizeof text + 16];

        (void)snprintf(sql_text, sizeof sql_text, text, jobs);
        assert_int_equal(sqlite3_exec(p->store->handle, sql_text, NULL, NULL, NULL), SQLITE_OK);
}

/* --- what is asked --- */

static int take_record(void *userdata, const struct job_record *r)
{
        (void)r;
        ((struct work *)userdata)->rows++;
        return 0;
}

static int take_named(void *userdata, const struct job_record *r, size_t drive)
{
        (void)drive;
        return take_record(userdata, r);
}

static int take_event(void *userdata, const struct job_event *e)
{
        (void)e;
        return take_record(userdata, NULL);
}

static void list(struct work *w, const char *scope, int state, const char *tracking)
{
        struct place *p = w->place;
        const struct job_filter filter = { .scope = scope,
                                           .state = state,
                                           .tracking = tracking,
                                           .personal = true,
                                           .before = w->jobs - 5,
                                           .limit = PAGE };

        OK(job_store_list(p->store, &filter, take_record, w, &p->error));
}

#define GROUP "/subscriptions/s/resourceGroups/g1"

static void list_all(struct work *w)
{
        list(w, NULL, -1, NULL);
}

static void list_by_state(struct work *w)
{
        list(w, NULL, BTH_JOB_STATE_CLOSED, NULL);
}

static void list_own(struct work *w)
{
        list(w, "", -1, NULL);
}

static void list_subscription(struct work *w)
{
        list(w, "/subscriptions/s", -1, NULL);
}

static void list_subscription_by_state(struct work *w)
{
        list(w, "/subscriptions/s", BTH_JOB_STATE_CREATING, NULL);
}

static void list_nobody(struct work *w)
{
        list(w, "/subscriptions/n", -1, NULL);
}

static void list_group(struct work *w)
{
        list(w, GROUP, -1, NULL);
}

static void list_group_by_state(struct work *w)
{
        list(w, GROUP, BTH_JOB_STATE_CREATING, NULL);
}

static void list_tracking(struct work *w)
{
        list(w, "/subscriptions/s", -1, "T151");
}

static void find(struct work *w)
{
        struct place *p = w->place;
        struct job_record *r;

        OK(job_store_find(p->store, GROUP, "job-151", &r, &p->error));
        (void)job_record_free(r);
        OK(job_store_find_all(p->store, "job-151", take_record, w, &p->error));
        OK(job_store_find_all(p->store, "nothing", take_record, w, &p->error));
        OK(job_store_named(p->store, "SN453", take_named, w, &p->error));
}

static void read_events(struct work *w)
{
        struct place *p = w->place;
        struct job_event_filter f = { .drive = JOB_NO_DRIVE, .newest_first = true, .limit = PAGE };

        OK(job_store_events(p->store, &f, take_event, w, &p->error));
        f.newest_first = false;
        f.after = w->jobs;
        OK(job_store_events(p->store, &f, take_event, w, &p->error));
        f.after = 0;
        f.job = 151;
        OK(job_store_events(p->store, &f, take_event, w, &p->error));
        f.drive = 1;
        OK(job_store_events(p->store, &f, take_event, w, &p->error));
        f.serial = "SN453";
        OK(job_store_events(p->store, &f, take_event, w, &p->error));
}

static uint64_t make(struct work *w)
{
        struct place *p = w->place;
        char name[32], serial[32];
        const struct job_draft_drive drive = { .serial = serial,
                                               .manifest_file = "\\DriveManifest.xml",
                                               .manifest_hash =
                                                       "0123456789ABCDEF0123456789ABCDEF" };
        const struct job_draft draft = {
                .scope = "/subscriptions/t/resourceGroups/g", /* active jobs are counted */
                .name = name,
                .account = "a",
                .drives = &drive,
                .n_drives = 1,
                .personal[JOB_PERSONAL_DELIVERY_PACKAGE] = "{\"trackingNumber\":\"N\"}",
        };
        uint64_t id;

        (void)snprintf(name, sizeof name, "new-%u", w->made);
        (void)snprintf(serial, sizeof serial, "NEW%u", w->made++);
        OK(job_admit(p->store, &draft, true, 2 * MANY, &p->error));
        OK(job_store_add(p->store, &draft, false, T0, "x", &id, &p->error));
        return id;
}

static void change_and_delete(struct work *w)
{
        struct place *p = w->place;
        const struct job_edit edit = { .tags = "{}", .verbose_log = 1, .backup_manifest = -1 };
        const struct job_act deleted = { .input.kind = JOB_INPUT_DELETED };
        struct job_act act = deleted;
        struct job_outcome outcome;
        uint64_t next;

        act.job = make(w);
        OK(job_store_edit(p->store, act.job, &edit, &policy, T0, "x", &p->error));
        OK(job_store_apply(p->store, &act, &policy, T0, "x", &outcome, &p->error));
        OK(job_store_tick(p->store, &policy, T0, &next, &p->error));
}

/* --- counting --- */

static uint64_t take_status(struct place *p, int what)
{
        uint64_t sum = 0;

        for (size_t i = 0; i < p->store->n_statements; i++)
                sum += (uint64_t)sqlite3_stmt_status(p->store->statements[i].handle, what, true);
        return sum;
}

static const struct {
        const char *name;
        void (*ask)(struct work *w);
} questions[] = {
        { "all jobs", list_all },
        { "jobs by state", list_by_state },
        { "own jobs", list_own },
        { "a subscription", list_subscription },
        { "a subscription by state", list_subscription_by_state },
        { "nobody's subscription", list_nobody },
        { "a group", list_group },
        { "a group by state", list_group_by_state },
        { "a tracking number", list_tracking },
        { "a job or drive by its name", find },
        { "events", read_events },
        { "a job is made, changed and deleted", change_and_delete },
};

struct cost {
        uint64_t steps, scanned, runs, rows;
};

static void measure(struct place *p, unsigned jobs, struct cost costs[ARRAY_SIZE(questions)])
{
        struct work w = { .place = p, .jobs = jobs };

        open_store(p);
        fill(p, jobs);
        for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
                questions[i].ask(&w); /* prepares the statements */
                w.rows = 0;
                (void)take_status(p, SQLITE_STMTSTATUS_VM_STEP);
                (void)take_status(p, SQLITE_STMTSTATUS_FULLSCAN_STEP);
                (void)take_status(p, SQLITE_STMTSTATUS_RUN);
                questions[i].ask(&w);
                costs[i] = (struct cost){
                        .steps = take_status(p, SQLITE_STMTSTATUS_VM_STEP),
                        .scanned = take_status(p, SQLITE_STMTSTATUS_FULLSCAN_STEP),
                        .runs = take_status(p, SQLITE_STMTSTATUS_RUN),
                        .rows = w.rows,
                };
                print_message("%u jobs, %s: %lu rows, %lu steps, %lu scanned, %lu statements\n",
                              jobs, questions[i].name, (unsigned long)w.rows,
                              (unsigned long)costs[i].steps, (unsigned long)costs[i].scanned,
                              (unsigned long)costs[i].runs);
        }
}

/* A page may have more rows in a larger store, up to its limit. */
static void test_work_does_not_grow(void **state)
{
        struct cost few[ARRAY_SIZE(questions)], many[ARRAY_SIZE(questions)];
        struct place *p = *state;

        measure(p, FEW, few);
        p->store = job_store_close(p->store);
        assert_int_equal(unlink(p->path), 0);
        measure(p, MANY, many);
        for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
                const uint64_t more = many[i].rows > few[i].rows ? many[i].rows - few[i].rows : 0;

                if (many[i].steps > few[i].steps + few[i].steps / 4 + more * 800 + 100)
                        fail_msg("%s: %lu steps became %lu", questions[i].name,
                                 (unsigned long)few[i].steps, (unsigned long)many[i].steps);
                if (many[i].scanned > 0)
                        fail_msg("%s: %lu rows of a table were scanned", questions[i].name,
                                 (unsigned long)many[i].scanned);
        }
}

/* Four statements a page of a hundred, for each of: which jobs, jobs, drives, what is personal. */
static void test_lists_do_not_ask_for_each(void **state)
{
        struct cost costs[ARRAY_SIZE(questions)];
        struct place *p = *state;

        measure(p, MANY, costs);
        assert_int_equal(costs[0].rows, PAGE);
        assert_in_range(costs[0].runs, 1, 1 + 3 * ((PAGE + SQL_IDS - 1) / SQL_IDS));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_work_does_not_grow),
                TEST(test_lists_do_not_ask_for_each),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
