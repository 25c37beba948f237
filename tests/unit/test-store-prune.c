/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The history is shortened: what goes, what must stay, and that it goes in short steps. */
#include "tests/lib/job-place.h"

#define DAY  UINT64_C(86400000000)
#define LATE (T0 + 100 * DAY)
#define MANY 1200u /* events of one job: some steps' worth */

static void act_at(struct place *p, uint64_t job, enum job_input_kind kind, uint64_t now)
{
        const struct job_act a = { .job = job, .input = { .kind = kind } };
        struct job_outcome out;

        OK(job_store_apply(p->store, &a, &policy, now, "uid 0", &out, &p->error));
}

/* All of it; the number of steps, if wanted. */
static struct job_prune prune(struct place *p, uint64_t before, unsigned *ret_steps)
{
        struct job_prune k = { .before_usec = before };
        unsigned steps = 0;
        int r;

        do {
                p->error = BTH_ERROR_INIT;
                r = job_store_prune(p->store, &k, &p->error);
                if (r < 0)
                        fail_msg("step %u: %d, %s", steps, r, p->error.sentence);
                steps++;
                assert_true(steps < 1000);
        } while (r == 1);
        if (ret_steps)
                *ret_steps = steps;
        OK(job_store_check(p->store, &p->error));
        return k;
}

static unsigned n_events(struct place *p, uint64_t job)
{
        return events(p, (struct job_event_filter){ .job = job, .drive = JOB_NO_DRIVE }).n;
}

static bool is_there(struct place *p, uint64_t job)
{
        struct job_record *r = NULL;
        int k = job_store_get(p->store, job, &r, NULL);

        (void)job_record_free(r);
        assert_true(k == 0 || k == -ENOENT);
        return k == 0;
}

static int count_docking(void *userdata, const struct job_docking *d)
{
        (void)d;
        (*(unsigned *)userdata)++;
        return 0;
}

static unsigned n_dockings(struct place *p, const char *serial)
{
        unsigned n = 0;

        OK(job_store_dockings(p->store, serial, 0, 0, 10, count_docking, &n, &p->error));
        return n;
}

static uint64_t dock(struct place *p, const char *serial, uint64_t job)
{
        const struct job_docking d = {
                .serial = serial, .bay = "A1", .job = job, .matched = job > 0 ? "serial" : NULL
        };
        struct job_outcome out;
        uint64_t id;

        OK(job_store_dock(p->store, &d, &policy, T0 + 2, NULL, &id, &out, &p->error));
        return id;
}

static void undock(struct place *p, uint64_t docking)
{
        struct job_outcome out;

        OK(job_store_undock(p->store, docking, false, &policy, T0 + 3, NULL, &out, &p->error));
}

/* A job of one drive from its docking to its end. */
static void work_off(struct place *p, uint64_t job)
{
        const struct bth_result_report report = { .end = BTH_RUN_END_FINISHED,
                                                  .copy_status = (char *)"Completed",
                                                  .reason = (char *)"none",
                                                  .sentence = (char *)"it is done" };
        const uint64_t docking = dock(p, "QX7-1", job);
        struct job_outcome out;

        act_at(p, job, JOB_INPUT_BEGUN, T0 + 2);
        OK(job_store_result(p->store, job, 0, &report, &policy, T0 + 3, &out, &p->error));
        undock(p, docking);
        OK(job_store_return(p->store, job, "{}", &policy, T0 + 4, NULL, &out, &p->error));
}

static int count_run(void *userdata, const struct job_run_record *r)
{
        (void)r;
        (*(unsigned *)userdata)++;
        return 0;
}

static unsigned n_runs(struct place *p, uint64_t job)
{
        unsigned n = 0;

        OK(job_store_runs(p->store, job, 0, count_run, &n, &p->error));
        return n;
}

/* --- what goes, and what stays --- */

static void test_old_jobs_go(void **state)
{
        struct place *p = *state;
        uint64_t old, first, young, open, last, next;
        struct job_prune k;
        struct heard before;

        open_store(p);
        old = add_job(p, "old", 1);
        work_off(p, old);
        first = add_job(p, "first", 1);
        assert_int_equal(n_runs(p, old), 1);
        assert_int_equal(prune(p, LATE, NULL).events, 0); /* it has ended, and its record is kept */
        act_at(p, old, JOB_INPUT_DELETED, T0 + 5);
        young = add_job(p, "young", 1);
        act_at(p, young, JOB_INPUT_DELETED, LATE);
        open = add_job(p, "open", 1); /* it is as old, and goes on */
        assert_int_equal(act(p, open, JOB_INPUT_CANCELLED, 0), 0);
        last = add_job(p, "last", 1); /* that has the newest event */
        before = events(p, (struct job_event_filter){ .after = 0 });

        k = prune(p, T0 + 5, NULL); /* its last event is not older than that */
        assert_int_equal(k.jobs + k.events, 0);
        k = prune(p, T0 + 6, NULL);
        assert_int_equal(k.jobs, 1);
        assert_int_equal(k.events, before.n - n_events(p, first) - n_events(p, young) -
                                           n_events(p, open) - n_events(p, last));
        assert_false(is_there(p, old));
        assert_int_equal(n_events(p, old), 0);
        assert_int_equal(n_dockings(p, "QX7-1") + n_runs(p, old), 0);
        assert_true(is_there(p, young) && is_there(p, open));
        assert_true(n_events(p, young) > 1 && n_events(p, open) > 1);
        k = prune(p, T0 + 6, NULL); /* twice is well */
        assert_int_equal(k.jobs + k.events, 0);

        k = prune(p, UINT64_C(1) << 62, NULL);
        assert_int_equal(k.jobs, 1);
        assert_false(is_there(p, young));
        assert_true(is_there(p, open));
        assert_true(n_events(p, open) > 1);
        next = add_job(p, "old", 1); /* an id is never used twice */
        assert_true(next > last);
}

/* The newest event of all stays with its job: who reads on from its number misses nothing. */
static void test_newest_stays(void **state)
{
        struct place *p = *state;
        uint64_t id, last;

        open_store(p);
        id = add_job(p, "only", 1);
        act_at(p, id, JOB_INPUT_DELETED, T0 + 5);
        last = events(p, (struct job_event_filter){ 0 }).last;
        assert_int_equal(prune(p, LATE, NULL).jobs, 0);
        assert_int_equal(events(p, (struct job_event_filter){ 0 }).last, last);
        (void)add_job(p, "next", 1);
        assert_int_equal(prune(p, LATE, NULL).jobs, 1);
        assert_false(is_there(p, id));
}

static void test_drive_in_a_bay(void **state)
{
        struct place *p = *state;
        uint64_t id, docking;

        open_store(p);
        id = add_job(p, "inside", 1);
        act_at(p, id, JOB_INPUT_DELETED, T0 + 1);
        docking = dock(p, "QX7-1", 0);
        (void)add_job(p, "next", 1);
        assert_int_equal(prune(p, LATE, NULL).jobs, 1); /* it is nobody's */
        assert_int_equal(n_dockings(p, "QX7-1"), 1);    /* still docked */
        undock(p, docking);
        (void)add_job(p, "third", 1);
        assert_int_equal(prune(p, LATE, NULL).events, 1); /* that it went; that it came is gone */
        assert_int_equal(n_dockings(p, "QX7-1"), 0);
}

/* --- what upstream has not got --- */

static uint64_t first_ready(struct place *p)
{
        struct heard h = { 0 };

        OK(job_store_outbox(p->store, UINT64_MAX >> 1, 1, hear, &h, &p->error));
        return h.last;
}

static void test_outbox_stays(void **state)
{
        struct place *p = *state;
        struct job_outbox_state s;
        uint64_t id, seq;
        unsigned n;

        open_store(p);
        OK(job_store_outbox_use(p->store, true, &p->error));
        id = add_job(p, "attic", 2);
        act_at(p, id, JOB_INPUT_DELETED, T0 + 5);
        n = n_events(p, id);
        (void)add_job(p, "next", 1);
        undock(p, dock(p, "STRAY", 0));
        assert_int_equal(prune(p, LATE, NULL).events, 0); /* nothing was sent */
        assert_int_equal(n_events(p, id), n);

        for (unsigned i = 1; i < n; i++) {
                seq = first_ready(p);
                OK(job_store_outbox_sent(p->store, seq, &p->error));
                assert_int_equal(prune(p, LATE, NULL).jobs, 0);
        }
        assert_int_equal(n_events(p, id), n); /* a job's history is whole, or gone */
        seq = first_ready(p);
        OK(job_store_outbox_park(p->store, seq, "400", T0 + 9, &p->error));
        assert_int_equal(prune(p, LATE, NULL).jobs, 0); /* an operator will decide */
        OK(job_store_parked_resend(p->store, seq, T0 + 10, "uid 0", &p->error));
        assert_int_equal(prune(p, LATE, NULL).jobs, 0);
        OK(job_store_outbox_sent(p->store, seq, &p->error));
        (void)add_job(p, "third", 1);
        assert_int_equal(prune(p, LATE, NULL).jobs, 1);
        assert_int_equal(n_events(p, id), 0);
        OK(job_store_outbox_state(p->store, &s, &p->error));
        assert_true(s.waiting > 0); /* of the others */
        assert_int_equal(n_dockings(p, "STRAY"), 0);
        assert_int_equal(
                events(p, (struct job_event_filter){ .serial = "STRAY", .drive = JOB_NO_DRIVE }).n,
                2);
}

/* --- steps --- */

static void write_often(struct place *p, uint64_t job, unsigned n)
{
        const struct job_edit edit = { .tags = "{}", .verbose_log = -1, .backup_manifest = -1 };

        OK(job_store_begin(p->store, &p->error));
        for (unsigned i = 0; i < n; i++)
                OK(job_store_edit(p->store, job, &edit, &policy, T0 + 1, NULL, &p->error));
        OK(job_store_end(p->store, 0, &p->error));
}

static void test_short_steps(void **state)
{
        struct place *p = *state;
        struct job_prune k = { .before_usec = LATE };
        unsigned steps;
        uint64_t id;

        open_store(p);
        id = add_job(p, "busy", 1);
        write_often(p, id, MANY);
        act_at(p, id, JOB_INPUT_DELETED, T0 + 5);
        for (int i = 0; i < 3; i++)
                undock(p, dock(p, "STRAY", 0));
        (void)add_job(p, "next", 1);
        assert_int_equal(job_store_prune(p->store, &k, &p->error), 1);
        assert_true(k.events > 0 && k.events <= 500);
        assert_int_equal(k.jobs, 0);
        reopen(p); /* a stop between two steps: the next run goes on */
        assert_true(is_there(p, id));
        k = prune(p, LATE, &steps);
        assert_int_equal(k.jobs, 1);
        assert_true(k.events > MANY - 500);
        assert_true(steps >= 4);
        assert_false(is_there(p, id));
}

/* Events that stay are looked at once, a few in each step, and hide none that goes. */
static void test_between_others(void **state)
{
        struct place *p = *state;
        unsigned steps;
        uint64_t id;

        open_store(p);
        undock(p, dock(p, "STRAY", 0));
        id = add_job(p, "busy", 1); /* it goes on */
        write_often(p, id, MANY);
        undock(p, dock(p, "STRAY", 0));
        write_often(p, id, MANY);
        undock(p, dock(p, "STRAY", 0));
        write_often(p, id, 1);
        assert_int_equal(prune(p, LATE, &steps).events, 6);
        assert_true(steps > 2 * MANY / 500);
        assert_int_equal(events(p, (struct job_event_filter){ .serial = "STRAY" }).n, 0);
        assert_true(is_there(p, id));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_old_jobs_go),  TEST(test_newest_stays), TEST(test_drive_in_a_bay),
                TEST(test_outbox_stays), TEST(test_short_steps),  TEST(test_between_others),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
