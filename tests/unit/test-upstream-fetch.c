/* SPDX-License-Identifier: GPL-3.0-or-later */
/* upstream-fetch - jobs from a job service: what it says of them is done here, of a list that is
 * whole and makes sense, and who asks for it learns when it is so. */
#include "upstream-world.h"

#include "base/time.h"

static void set_jobs(struct bench *b, const char *jobs, const char *etag)
{
        (void)pthread_mutex_lock(&b->s.lock);
        free(b->s.jobs);
        b->s.jobs = strdup(jobs);
        b->s.etag = etag;
        b->s.n_304 = 0;
        (void)pthread_mutex_unlock(&b->s.lock);
}

#define DRIVE(serial, state)                                                                \
        "{\"serial\":\"" serial "\",\"manifest_file\":\"\\\\DriveManifest.xml\","           \
        "\"manifest_hash\":\"109B21108597EF36D5785F08303F3638\",\"key\":\"111111-222222\"," \
        "\"state\":\"" state "\"}"
#define JOB(name, more, drives)                                                              \
        "{\"name\":\"" name "\",\"account\":\"/accounts/photos\",\"location\":\"Lab\"," more \
        "\"drives\":[" drives "]}"

static bool answered_304(const struct bench *b)
{
        return b->s.n_304 > 0;
}

struct look {
        const char *name;
        struct job_record *record;
        struct bth_secret *key;
        int r;
};

static int look_task(struct job_store *s, void *userdata, struct bth_error *error)
{
        struct look *l = userdata;

        l->r = job_store_find(s, NULL, l->name, &l->record, error);
        if (l->r == 0)
                (void)!job_store_key(s, l->record->id, 0, &l->key, NULL);
        return 0;
}

static void look_for(struct bench *b, const char *name, struct look *l)
{
        *l = (struct look){ .name = name };
        do_in_store(b, look_task, l);
}

static void look_end(struct look *l)
{
        (void)job_record_free(l->record);
        (void)bth_secret_free(l->key);
}

static void fetched(struct bench *b)
{
        run_until(b, answered_304);
}

static void test_fetch(void **state)
{
        struct bench *b = *state;
        struct look l;

        set_jobs(b,
                 "{\"jobs\":[" JOB("trip", "\"verbose_log\":true,",
                                   DRIVE("AB12", "Specified") "," DRIVE("CD34", "Completed")) "]}",
                 "\"1\"");
        b->unknown = "XY 9";
        start(b);
        fetched(b);
        assert_string_equal(b->s.last_query, "Lab|XY 9");
        assert_int_equal(b->n_changed, 1);
        look_for(b, "trip", &l);
        assert_int_equal(l.r, 0);
        assert_string_equal(l.record->origin, "upstream");
        assert_int_equal(l.record->model.n_drives, 2);
        assert_string_equal(l.record->drives[0].serial, "AB12");
        assert_int_equal(l.record->model.drives[0].state, BTH_DRIVE_STATE_SPECIFIED);
        assert_int_equal(l.record->model.drives[1].state, BTH_DRIVE_STATE_COMPLETED);
        assert_false(l.record->drives[1].has_key); /* it is done elsewhere */
        assert_true(l.record->verbose_log);
        assert_memory_equal(l.key->data, "111111-222222", 13);
        look_end(&l);

        set_jobs(b,
                 "{\"jobs\":[" JOB(
                         "trip", "",
                         DRIVE("AB12",
                               "CompletedMoreInfo\",\"copy_status\":\"CompletedWithErrors\","
                               "\"bytes\":900,\"bytes_done\":880,\"blobs\":9,\"blobs_done\":8,"
                               "\"at\":\"/stations/north") "," DRIVE("CD34", "Completed")) "]}",
                 "\"2\"");
        fetched(b);
        look_for(b, "trip", &l);
        assert_int_equal(l.record->model.drives[0].bytes, 900);
        assert_int_equal(l.record->model.drives[0].bytes_done, 880);
        assert_int_equal(l.record->model.drives[0].blobs, 9);
        assert_int_equal(l.record->model.drives[0].blobs_done, 8);
        assert_int_equal(l.record->model.drives[0].status, BTH_DRIVE_STATUS_COMPLETED_WITH_ERRORS);
        assert_int_equal(l.record->model.drives[0].state, BTH_DRIVE_STATE_COMPLETED_MORE_INFO);
        assert_int_equal(l.record->model.state, BTH_JOB_STATE_PACKAGING);
        look_end(&l);

        set_jobs(b, "{\"jobs\":[]}", "\"3\""); /* sent back, from the other station */
        fetched(b);
        look_for(b, "trip", &l);
        assert_int_equal(l.record->model.state, BTH_JOB_STATE_CLOSED);
        look_end(&l);
}

/* What upstream still decides of a job that has not begun. */
static void test_fetch_changes(void **state)
{
        struct bench *b = *state;
        struct look l;

        set_jobs(b, "{\"jobs\":[" JOB("trip", "", DRIVE("AB12", "Specified")) "]}", "\"1\"");
        start(b);
        fetched(b);
        look_for(b, "trip", &l);
        assert_int_equal(l.record->model.state, BTH_JOB_STATE_CREATING);
        look_end(&l);

        set_jobs(b, "{\"jobs\":[" JOB("trip", "\"shipped\":true,", DRIVE("AB12", "Specified")) "]}",
                 "\"2\"");
        fetched(b);
        look_for(b, "trip", &l);
        assert_int_equal(l.record->model.state, BTH_JOB_STATE_SHIPPING);
        look_end(&l);

        set_jobs(b,
                 "{\"jobs\":[" JOB("trip", "\"shipped\":true,\"cancel_requested\":true,",
                                   DRIVE("AB12", "Specified")) "]}",
                 "\"3\"");
        fetched(b);
        look_for(b, "trip", &l);
        assert_true(l.record->model.cancel_requested);
        look_end(&l);
}

/* What is wrong with one job does not keep the others away; what is gone upstream ends here. */
static void test_fetch_some(void **state)
{
        struct bench *b = *state;
        struct look l;

        set_jobs(b,
                 "{\"jobs\":[{\"drives\":[]}," JOB(
                         "bad one", "",
                         DRIVE("AB12",
                               "Specified")) "," JOB("bad2", "",
                                                     DRIVE("000000",
                                                           "Specified")) "," JOB("good", "",
                                                                                 DRIVE("AB12",
                                                                                       "Specifie"
                                                                                       "d")) "]}",
                 "\"1\"");
        start(b);
        fetched(b);
        look_for(b, "good", &l);
        assert_int_equal(l.r, 0);
        look_end(&l);
        look_for(b, "bad2", &l);
        assert_int_equal(l.r, -ENOENT);
        look_end(&l);
        set_jobs(b, "{\"jobs\":[]}", "\"2\"");
        fetched(b);
        look_for(b, "good", &l);
        assert_int_equal(l.r, -ENOENT);
        look_end(&l);
}

static bool fetched_second(const struct bench *b)
{
        return b->s.n_second >= 2;
}

static bool fetched_once(const struct bench *b)
{
        struct dmn_upstream_status st;

        dmn_upstream_status(b->u, &st);
        return st.fetched_usec > 0;
}

/* The tag of a page says nothing of the pages behind it: what changes there is seen. */
static void test_fetch_pages(void **state)
{
        struct bench *b = *state;
        struct look l;

        b->s.more = "{\"jobs\":[" JOB("later", "", DRIVE("CD34", "Specified")) "]}";
        set_jobs(b, "{\"jobs\":[" JOB("trip", "", DRIVE("AB12", "Specified")) "],\"next\":5}",
                 "\"1\"");
        start(b);
        run_until(b, fetched_once);
        look_for(b, "later", &l);
        assert_int_equal(l.r, 0);
        look_end(&l);
        (void)pthread_mutex_lock(&b->s.lock);
        b->s.n_second = 0;
        b->s.more = "{\"jobs\":[" JOB("last", "", DRIVE("EF56", "Specified")) "]}";
        (void)pthread_mutex_unlock(&b->s.lock);
        run_until(b, fetched_second);
        look_for(b, "last", &l);
        assert_int_equal(l.r, 0);
        look_end(&l);
        look_for(b, "later", &l);
        assert_int_equal(l.r, -ENOENT);
        look_end(&l);
        look_for(b, "trip", &l);
        assert_int_equal(l.r, 0);
        look_end(&l);
}

static bool fetch_failed(const struct bench *b)
{
        struct dmn_upstream_status st;

        dmn_upstream_status(b->u, &st);
        return st.error.code < 0;
}

static bool is_answered(const struct bench *b)
{
        return dmn_upstream_answered(b->u, b->ask);
}

/* Who asks gets an answer of after that, also of a service that is gone; a pause that the service
 * asks for is kept. */
static void test_ask(void **state)
{
        struct bench *b = *state;
        unsigned n_answered, n_seen;
        uint64_t first;
        size_t n_gets;
        struct look l;

        b->config->upstream.poll_sec = 3600;
        set_jobs(b, "{\"jobs\":[]}", "\"1\"");
        start(b);
        b->ask = dmn_upstream_ask(b->u);
        assert_false(is_answered(b));
        run_until(b, is_answered);
        n_gets = b->s.n_gets;
        n_answered = b->n_answered;
        assert_int_equal(n_answered, n_gets);

        /* One that is under way has begun before, whatever it brings. */
        set_jobs(b, "{\"jobs\":[" JOB("trip", "", DRIVE("AB12", "Specified")) "]}", "\"2\"");
        (void)pthread_mutex_lock(&b->s.lock); /* the service does not come to its answer */
        n_seen = atomic_load(&b->s.n_seen);
        first = dmn_upstream_ask(b->u);
        for (int i = 0; i < TURNS_MAX && atomic_load(&b->s.n_seen) == n_seen; i++)
                assert_true(sd_event_run(b->w.loop, 50000) >= 0);
        b->ask = dmn_upstream_ask(b->u);
        assert_true(b->ask > first);
        (void)pthread_mutex_unlock(&b->s.lock);
        run_until(b, is_answered);
        assert_int_equal(b->s.n_gets, n_gets + 2);
        look_for(b, "trip", &l);
        assert_int_equal(l.r, 0); /* it is stored when it is answered */
        look_end(&l);

        (void)pthread_mutex_lock(&b->s.lock);
        b->s.retry_after_sec = 600;
        (void)pthread_mutex_unlock(&b->s.lock);
        b->ask = dmn_upstream_ask(b->u);
        run_until(b, is_answered);
        n_gets = b->s.n_gets;
        b->ask = dmn_upstream_ask(b->u);
        assert_true(is_answered(b));
        for (int i = 0; i < 10; i++)
                assert_true(sd_event_run(b->w.loop, 10000) >= 0);
        assert_int_equal(b->s.n_gets, n_gets);
}

/* The service is gone: that is an answer, too. */
static void test_ask_nobody(void **state)
{
        struct bench *b = *state;

        b->config->upstream.poll_sec = 3600;
        start(b);
        run_until(b, fetched_once);
        MHD_stop_daemon(b->s.daemon);
        b->s.daemon = NULL;
        for (int i = 0; i < 3; i++) { /* each tries, whatever the back-off */
                const unsigned n = b->n_answered;

                b->ask = dmn_upstream_ask(b->u);
                assert_false(is_answered(b));
                run_until(b, is_answered);
                assert_int_equal(b->n_answered, n + 1);
        }
}

static int dock_task(struct job_store *s, void *userdata, struct bth_error *error)
{
        static const struct job_policy policy;
        struct job_record *r;
        struct job_outcome out;
        uint64_t docking;
        int k = job_store_find(s, NULL, "trip", &r, error);

        for (size_t i = 0; i < 2 && k == 0; i++) {
                const struct job_docking d = { .serial = r->drives[i].serial,
                                               .bay = i ? "A2" : "A1",
                                               .job = r->id,
                                               .drive = i,
                                               .matched = "serial" };

                k = job_store_dock(s, &d, &policy, bth_now_realtime_usec(), NULL, &docking, &out,
                                   error);
        }
        if (k == 0) /* the second one is being copied */
                k = job_store_apply(
                        s,
                        &(struct job_act){ .job = r->id,
                                           .input = { .kind = JOB_INPUT_BEGUN, .drive = 1 } },
                        &policy, bth_now_realtime_usec(), NULL, &out, error);
        (void)job_record_free(r);
        return k;
}

/* The other station is heard after the drive was docked here: one that waits is not copied again,
 * one that is being copied goes on. */
static void test_fetch_docked(void **state)
{
        struct bench *b = *state;
        struct look l;

        set_jobs(b,
                 "{\"jobs\":[" JOB("trip", "\"shipped\":true,",
                                   DRIVE("AB12", "Specified") "," DRIVE("CD34", "Specified")) "]}",
                 "\"1\"");
        start(b);
        fetched(b);
        do_in_store(b, dock_task, NULL);
        set_jobs(b,
                 "{\"jobs\":[" JOB("trip", "\"shipped\":true,",
                                   DRIVE("AB12", "Completed") "," DRIVE("CD34", "Completed")) "]}",
                 "\"2\"");
        fetched(b);
        look_for(b, "trip", &l);
        assert_int_equal(l.record->model.drives[0].state, BTH_DRIVE_STATE_COMPLETED);
        assert_true(l.record->model.drives[0].docked);
        assert_int_equal(l.record->model.drives[0].activity, JOB_ACTIVITY_SAFE_TO_REMOVE);
        assert_int_equal(l.record->model.drives[1].state, BTH_DRIVE_STATE_TRANSFERRING);
        look_end(&l);
}

/* Half a list is none, whatever the tag of its first page. */
static void test_fetch_half(void **state)
{
        struct bench *b = *state;
        struct dmn_upstream_status st;
        struct look l;

        b->s.more_304 = true;
        set_jobs(b, "{\"jobs\":[" JOB("trip", "", DRIVE("AB12", "Specified")) "],\"next\":5}",
                 "\"1\"");
        start(b);
        run_until(b, fetch_failed);
        dmn_upstream_status(b->u, &st);
        assert_int_equal(st.fetched_usec, 0);
        look_for(b, "trip", &l);
        assert_int_equal(l.r, -ENOENT);
        look_end(&l);
}

/* Nonsense changes nothing. */
static void test_fetch_nonsense(void **state)
{
        static const char *const texts[] = { "{\"jobs\":7}", "[]", "{\"jobs\":[],\"next\":\"x\"}",
                                             "{\"jobs\":[],\"next\":0}",
                                             "{\"jobs\":[],\"next\":-1}" };
        struct bench *b = *state;
        struct look l;

        set_jobs(b, "{\"jobs\":[" JOB("good", "", DRIVE("AB12", "Specified")) "]}", "\"1\"");
        start(b);
        fetched(b);
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                b->u = dmn_upstream_free(b->u);
                set_jobs(b, texts[i], NULL);
                start(b);
                run_until(b, fetch_failed);
        }
        look_for(b, "good", &l);
        assert_int_equal(l.r, 0);
        look_end(&l);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_fetch),         TEST(test_fetch_some),
                TEST(test_fetch_changes), TEST(test_fetch_nonsense),
                TEST(test_fetch_pages),   TEST(test_fetch_half),
                TEST(test_ask),           TEST(test_ask_nobody),
                TEST(test_fetch_docked),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
