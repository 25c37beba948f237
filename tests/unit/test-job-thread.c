/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The store's thread inside an sd-event loop: order, answers on the loop, limit, end. */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <systemd/sd-event.h>

#include "jobs/thread.h"

#define T0 UINT64_C(1900000000000000)

struct place {
        char folder[64];
        char path[96];
        struct job_thread *thread;
};

static int set_up(void **state)
{
        struct place *p = calloc(1, sizeof *p);
        struct job_store *store;

        assert_non_null(p);
        (void)snprintf(p->folder, sizeof p->folder, "/tmp/berth-thread-XXXXXX");
        assert_non_null(mkdtemp(p->folder));
        (void)snprintf(p->path, sizeof p->path, "%s/berth.db", p->folder);
        assert_int_equal(job_store_open(p->path, &store, NULL), 0);
        assert_int_equal(job_thread_new(store, &p->thread), 0);
        *state = p;
        return 0;
}

static int tear_down(void **state)
{
        struct place *p = *state;

        (void)job_thread_free(p->thread);
        assert_int_equal(unlink(p->path), 0);
        assert_int_equal(rmdir(p->folder), 0);
        free(p);
        return 0;
}

/* One request: which one it is, and what came of it. */
struct request {
        unsigned number;
        pthread_t loop;
        struct tally *tally;
};
struct tally {
        unsigned ran, answered, failed;
        bool in_order, other_thread;
        sd_event *event;
        unsigned wanted;
};

static int add_job(struct job_store *s, void *userdata, struct bth_error *error)
{
        const struct job_draft_drive drive = { .serial = "1" };
        struct request *q = userdata;
        char name[32];
        uint64_t id;

        if (pthread_equal(pthread_self(), q->loop))
                q->tally->other_thread = false;
        if (q->number != q->tally->ran++)
                q->tally->in_order = false;
        /* Every third has a name that is there already. */
        (void)snprintf(name, sizeof name, "job-%u", q->number % 3 == 2 ? 0 : q->number);
        return job_store_add(s,
                             &(struct job_draft){ .name = name, .drives = &drive, .n_drives = 1 },
                             false, T0, NULL, &id, error);
}

static void added(void *userdata, int r, const struct bth_error *error)
{
        struct request *q = userdata;

        assert_true(pthread_equal(pthread_self(), q->loop));
        assert_int_equal(q->number, q->tally->answered++);
        if (r < 0) {
                assert_int_equal(r, -EEXIST);
                assert_string_equal(error->sentence, "there is a job 'job-0' already");
                q->tally->failed++;
        }
        if (q->tally->event && q->tally->answered == q->tally->wanted)
                assert_true(sd_event_exit(q->tally->event, 0) >= 0);
}

static int on_answer(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        (void)job_thread_dispatch(userdata);
        return 0;
}

static void hand_in(struct place *p, struct request *requests, unsigned n, struct tally *tally)
{
        *tally = (struct tally){ .in_order = true, .other_thread = true, .wanted = n };
        for (unsigned i = 0; i < n; i++) {
                requests[i] = (struct request){ i, pthread_self(), tally };
                assert_int_equal(job_thread_submit(p->thread, add_job, added, &requests[i]), 0);
        }
        assert_int_equal(job_thread_pending(p->thread), n);
}

static void test_loop(void **state)
{
        struct place *p = *state;
        struct request requests[30];
        struct tally tally;
        sd_event *event;

        assert_true(sd_event_new(&event) >= 0);
        assert_true(sd_event_add_io(event, NULL, job_thread_fd(p->thread), POLLIN, on_answer,
                                    p->thread) >= 0);
        hand_in(p, requests, 30, &tally);
        tally.event = event;
        assert_int_equal(sd_event_loop(event), 0);
        assert_int_equal(tally.answered, 30);
        assert_int_equal(tally.failed, 10);
        assert_true(tally.in_order && tally.other_thread);
        assert_int_equal(job_thread_pending(p->thread), 0);
        (void)sd_event_unref(event);
}

/* Nothing that was handed in is lost when the daemon ends. */
static void test_end(void **state)
{
        struct place *p = *state;
        struct request requests[20];
        struct job_store *store;
        struct job_record *record;
        struct tally tally;

        hand_in(p, requests, 20, &tally);
        p->thread = job_thread_free(p->thread);
        assert_int_equal(tally.answered, 20);
        assert_int_equal(job_store_open(p->path, &store, NULL), 0);
        assert_int_equal(job_store_find(store, NULL, "job-19", &record, NULL), 0);
        (void)job_record_free(record);
        (void)job_store_close(store);
}

static int nothing(struct job_store *s, void *userdata, struct bth_error *error)
{
        return 0;
}

static void test_limit(void **state)
{
        struct place *p = *state;

        for (unsigned i = 0; i < JOB_THREAD_MAX; i++)
                assert_int_equal(job_thread_submit(p->thread, nothing, NULL, NULL), 0);
        assert_int_equal(job_thread_submit(p->thread, nothing, NULL, NULL), -EAGAIN);
        while (job_thread_pending(p->thread) > 0) {
                struct pollfd fd = { .fd = job_thread_fd(p->thread), .events = POLLIN };

                assert_int_equal(poll(&fd, 1, -1), 1);
                (void)job_thread_dispatch(p->thread);
        }
        assert_int_equal(job_thread_submit(p->thread, nothing, NULL, NULL), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(test_loop),
                TEST(test_end),
                TEST(test_limit),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
