/* SPDX-License-Identifier: GPL-3.0-or-later */
/* upstream-push - events to a job service: each arrives, none overtakes another of its subject,
 * whatever the service does. */
#include "upstream-world.h"

#include <inttypes.h>

#include "base/time.h"

/* --- what happens at the station --- */

struct making {
        unsigned n_jobs, n_drives;
        bool dock;
};

static int make_task(struct job_store *s, void *userdata, struct bth_error *error)
{
        static unsigned n_made;
        struct making *m = userdata;
        const struct job_policy policy = { 0 };
        int r = job_store_outbox_use(s, true, error);

        for (unsigned i = 0; i < m->n_jobs && r == 0; i++) {
                struct job_draft_drive drives[JOB_MAX_DRIVES];
                char serials[JOB_MAX_DRIVES][32], name[32];
                struct job_draft d = { .name = name,
                                       .account = "photos",
                                       .accept_unshipped = true,
                                       .drives = drives,
                                       .n_drives = m->n_drives };
                uint64_t id;

                (void)snprintf(name, sizeof name, "job-%u", ++n_made);
                for (unsigned k = 0; k < m->n_drives; k++) {
                        (void)snprintf(serials[k], sizeof serials[k], "S%u-%u", n_made, k);
                        drives[k] = (struct job_draft_drive){ .serial = serials[k],
                                                              .manifest_file = "\\m.xml",
                                                              .manifest_hash = "0" };
                }
                r = job_store_add(s, &d, false, bth_now_realtime_usec(), "test", &id, error);
                for (unsigned k = 0; k < m->n_drives && r == 0 && m->dock; k++)
                        r = job_store_apply(s,
                                            &(struct job_act){ .job = id,
                                                               .input = { .kind = JOB_INPUT_DOCKED,
                                                                          .drive = k } },
                                            &policy, bth_now_realtime_usec(), "test",
                                            &(struct job_outcome){ 0 }, error);
        }
        return r;
}

static void make_jobs(struct bench *b, unsigned n_jobs, unsigned n_drives)
{
        struct making m = { .n_jobs = n_jobs, .n_drives = n_drives, .dock = true };

        do_in_store(b, make_task, &m);
}

/* All events of the history, as the service must have them. */
struct truth {
        uint64_t seqs[EVENTS_MAX];
        size_t n;
        char uid[40];
};

static int count_event(void *userdata, const struct job_event *e)
{
        struct truth *t = userdata;

        t->seqs[t->n++] = e->seq;
        return 0;
}

static int truth_task(struct job_store *s, void *userdata, struct bth_error *error)
{
        struct truth *t = userdata;
        const struct job_event_filter f = { .drive = JOB_NO_DRIVE, .limit = JOB_STORE_PAGE_MAX };

        (void)snprintf(t->uid, sizeof t->uid, "%s", job_store_uid(s));
        return job_store_events(s, &f, count_event, t, error);
}

/* Each at least once, and each subject in its order (a later delivery of the same does not count).
 */
static void expect_all(struct bench *b, size_t n_parked)
{
        struct truth *t = calloc(1, sizeof *t);
        size_t n_found = 0;

        assert_non_null(t);
        do_in_store(b, truth_task, t);
        for (size_t i = 0; i < t->n; i++) {
                char id[80];
                bool found = false;

                (void)snprintf(id, sizeof id, "%s-%" PRIu64, t->uid, t->seqs[i]);
                for (size_t k = 0; k < b->s.n_events && !found; k++)
                        found = strcmp(b->s.ids[k], id) == 0;
                n_found += found;
        }
        assert_int_equal(n_found + n_parked, t->n);
        for (size_t i = 0; i < b->s.n_events; i++)
                for (size_t k = i + 1; k < b->s.n_events; k++) {
                        bool again = false;

                        if (strcmp(b->s.subjects[i], b->s.subjects[k]) != 0 ||
                            strcmp(b->s.seqs[i], b->s.seqs[k]) < 0)
                                continue;
                        for (size_t e = 0; e < i && !again; e++)
                                again = strcmp(b->s.ids[e], b->s.ids[k]) == 0;
                        if (!again && strcmp(b->s.ids[i], b->s.ids[k]) != 0)
                                fail_msg("%s overtook %s", b->s.ids[i], b->s.ids[k]);
                }
        free(t);
}

/* --- the tests --- */

static bool drained(const struct bench *b)
{
        struct dmn_upstream_status st;

        dmn_upstream_status(b->u, &st);
        return b->s.n_posts > 0 && st.heard_usec > 0 && st.outbox.waiting == 0 && st.failures == 0;
}

static void test_push(void **state)
{
        struct bench *b = *state;

        make_jobs(b, 20, 3);
        start(b);
        run_until(b, drained);
        expect_all(b, 0);
        assert_int_equal(b->s.n_wrong_token, 0);
        make_jobs(b, 1, 1); /* and what comes later */
        b->s.n_posts = 0;
        run_until(b, drained);
        expect_all(b, 0);
}

/* A service that has trouble, loses its answer after it took the events, and is not there. */
static void test_trouble(void **state)
{
        struct bench *b = *state;

        make_jobs(b, 10, 2);
        b->s.status = 503;
        b->s.n_status = 2;
        start(b);
        run_until(b, drained);
        expect_all(b, 0);
        (void)pthread_mutex_lock(&b->s.lock);
        b->s.drop = true;
        b->s.n_posts = 0;
        (void)pthread_mutex_unlock(&b->s.lock);
        make_jobs(b, 3, 2);
        run_until(b, drained);
        expect_all(b, 0);
}

/* A stop at any moment: the next start goes on where the store stands. */
static void test_stops(void **state)
{
        struct bench *b = *state;

        make_jobs(b, 20, 4);
        b->s.batch_max = 7;
        for (int i = 0; i < 25; i++) {
                start(b);
                for (int k = 0; k < i; k++)
                        assert_true(sd_event_run(b->w.loop, 20000) >= 0);
                b->u = dmn_upstream_free(b->u);
        }
        make_jobs(b, 1, 1); /* there is something to send, however far it came */
        (void)pthread_mutex_lock(&b->s.lock);
        b->s.n_posts = 0; /* the last client has to have looked at the outbox itself */
        (void)pthread_mutex_unlock(&b->s.lock);
        start(b);
        run_until(b, drained);
        expect_all(b, 0);
        assert_true(b->s.largest > 7); /* it was refused, and made smaller */
}

static void expect_parked(struct bench *b, size_t n)
{
        struct dmn_upstream_status st;

        dmn_upstream_status(b->u, &st);
        assert_int_equal(st.outbox.parked, n);
        assert_int_equal(st.outbox.waiting, 0);
}

/* One that the service cannot read is found among many, and holds nothing back. */
static void test_poison(void **state)
{
        struct bench *b = *state;

        make_jobs(b, 4, 2);
        b->s.poison = "berth.job.made";
        start(b);
        run_until(b, drained);
        expect_all(b, 4);
        expect_parked(b, 4);
}

/* The same when it says which ones. */
static void test_refused(void **state)
{
        struct bench *b = *state;

        make_jobs(b, 4, 2);
        b->s.poison = "berth.job.made";
        b->s.refuse = true;
        start(b);
        run_until(b, drained);
        expect_all(b, 4);
        expect_parked(b, 4);
}

static bool refused_token(const struct bench *b)
{
        struct dmn_upstream_status st;

        dmn_upstream_status(b->u, &st);
        return b->s.n_wrong_token > 0 && st.error.code < 0;
}

/* A wrong token: everything is kept, and goes as soon as there is a right one. */
static void test_token(void **state)
{
        struct bench *b = *state;
        struct dmn_upstream_status st;

        make_jobs(b, 2, 1);
        world_write(&b->w, "token", "wrong\n");
        start(b);
        run_until(b, refused_token);
        dmn_upstream_status(b->u, &st);
        assert_int_equal(st.error.reason, BTH_REASON_CREDENTIALS);
        assert_true(st.failures > 0);
        assert_int_equal(b->s.n_events, 0);
        world_write(&b->w, "token", "let.me.in\n");
        run_until(b, drained);
        expect_all(b, 0);
}

static bool posted(const struct bench *b)
{
        return b->s.n_posts > 0;
}

/* With nothing to tell, it says once that it is there. */
static void test_silence(void **state)
{
        struct bench *b = *state;

        start(b);
        run_until(b, posted);
        for (int i = 0; i < 20; i++)
                assert_true(sd_event_run(b->w.loop, 20000) >= 0);
        assert_int_equal(b->s.n_posts, 1);
        assert_int_equal(b->s.largest, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_push),    TEST(test_trouble), TEST(test_stops),   TEST(test_poison),
                TEST(test_refused), TEST(test_token),   TEST(test_silence),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
