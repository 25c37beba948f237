/* SPDX-License-Identifier: GPL-3.0-or-later */
/* station-worker - a worker that answers, crashes, lies, is deaf or goes: the station hears of its
 * end once, with a reason, and goes on. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/worker.h"

static char program[512];

struct seen {
        sd_event *loop;
        struct dmn_worker *worker;
        bool stop_when_heard;
        unsigned n_reports, n_ends;
        bool has_result;
        enum bth_run_end end;
        struct bth_error error;
};

static void on_report(void *userdata, const struct bth_message *report)
{
        struct seen *s = userdata;

        assert_int_equal(report->type, BTH_MESSAGE_ACTIVITY);
        s->n_reports++;
        if (s->stop_when_heard)
                dmn_worker_stop(s->worker);
}

static void on_end(void *userdata, const struct bth_result_report *result,
                   const struct bth_error *error)
{
        struct seen *s = userdata;

        s->n_ends++;
        s->has_result = result != NULL;
        if (result)
                s->end = result->end;
        else
                s->error = *error;
        s->worker = dmn_worker_free(s->worker); /* from its own callback */
        assert_int_equal(sd_event_exit(s->loop, 0), 0);
}

static void run(const char *job, bool stop, struct seen *s)
{
        static const struct dmn_worker_events events = { on_report, on_end };
        struct bth_order order = { .job = (char *)(uintptr_t)job,
                                   .drive_id = (char *)"SERIAL",
                                   .manifest_path = (char *)"\\DriveManifest.xml",
                                   .manifest_hash = (char *)"0123456789ABCDEF0123456789ABCDEF",
                                   .account = (char *)"photos",
                                   .credential_kind = (char *)"none" };
        struct bth_error e = BTH_ERROR_INIT;
        sigset_t set;

        *s = (struct seen){ .stop_when_heard = stop };
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        assert_int_equal(sigprocmask(SIG_BLOCK, &set, NULL), 0);
        assert_true(sd_event_new(&s->loop) >= 0);
        order.drive_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        order.state_fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dmn_worker_start(s->loop, program, &order, &events, s, &s->worker, &e) < 0)
                fail_msg("%s", e.sentence);
        assert_true(dmn_worker_pid(s->worker) > 0);
        assert_int_equal(sd_event_loop(s->loop), 0);
        assert_int_equal(s->n_ends, 1);
        close(order.drive_fd);
        close(order.state_fd);
        (void)sd_event_unref(s->loop);
}

static void test_result(void **state)
{
        struct seen s;

        (void)state;
        run("good", false, &s);
        assert_true(s.has_result);
        assert_int_equal(s.end, BTH_RUN_END_FINISHED);
        assert_int_equal(s.n_reports, 1);
}

static void expect_broken(const char *job, const char *says)
{
        struct seen s;

        run(job, false, &s);
        assert_false(s.has_result);
        if (s.error.code >= 0 || !strstr(s.error.sentence, says))
                fail_msg("%s: %s", job, s.error.sentence);
}

static void test_ends_without_result(void **state)
{
        (void)state;
        expect_broken("crash", "crash");
        expect_broken("no-progress", "came to no end");
        expect_broken("code", "code 5");
        expect_broken("empty", "code 0");
        expect_broken("closes", "code 0");
}

static void test_lies(void **state)
{
        (void)state;
        expect_broken("nonsense", "cannot be understood");
        expect_broken("twice", "out of turn");
        expect_broken("out-of-turn", "out of turn");
}

static void test_stop(void **state)
{
        struct seen s;

        (void)state;
        run("obedient", true, &s);
        assert_true(s.has_result);
        assert_int_equal(s.end, BTH_RUN_END_STOPPED);
}

/* It does not listen, not even to SIGTERM. */
static void test_deaf(void **state)
{
        struct seen s;

        (void)state;
        run("deaf", true, &s);
        assert_false(s.has_result);
        assert_int_equal(s.error.code, -ECANCELED);
}

static void test_no_program(void **state)
{
        static const struct dmn_worker_events events = { on_report, on_end };
        const struct bth_order order = { .drive_fd = 0, .state_fd = 0 };
        struct bth_error e = BTH_ERROR_INIT;
        struct dmn_worker *w = NULL;
        sd_event *loop;

        (void)state;
        assert_true(sd_event_new(&loop) >= 0);
        assert_int_equal(dmn_worker_start(loop, "/nonexistent", &order, &events, NULL, &w, &e),
                         -ENOENT);
        assert_string_equal(e.object, "/nonexistent");
        assert_null(w);
        (void)sd_event_unref(loop);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_result), cmocka_unit_test(test_ends_without_result),
                cmocka_unit_test(test_lies),   cmocka_unit_test(test_stop),
                cmocka_unit_test(test_deaf),   cmocka_unit_test(test_no_program),
        };
        const char *build = getenv("BERTH_BUILD");

        snprintf(program, sizeof program, "%s/tests/tools/odd-worker", build ? build : ".");
        return cmocka_run_group_tests(tests, NULL, NULL);
}
