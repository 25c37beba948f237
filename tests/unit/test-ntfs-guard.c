/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs-guard - a library that comes to no end ends its process, a slow drive does not; and what the
 * parent says of it. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/exit.h"
#include "media/ntfs_guard.h"

enum behaviour { CIRCLES, CIRCLES_OVER_DEVICE, SLOW_DEVICE, SHORT_CALLS, CRASH, KILLED };

static _noreturn_ void child(enum behaviour b)
{
        const struct rlimit no_core = { 0 };
        struct med_ntfs_guard *g;
        volatile unsigned spin = 0;

        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)close(STDERR_FILENO);
        (void)alarm(60); /* a watchdog that sleeps must not hang the test */
        if (med_ntfs_guard_new(b == SHORT_CALLS ? 3 : 1, &g) < 0)
                _exit(1);
        med_ntfs_guard_enter(g);
        switch (b) {
        case CIRCLES:
                for (;;)
                        spin++;
        case CIRCLES_OVER_DEVICE:
                for (;;) {
                        med_ntfs_guard_outside(g);
                        med_ntfs_guard_inside(g);
                }
        case SLOW_DEVICE:
                med_ntfs_guard_outside(g);
                (void)sleep(4);
                med_ntfs_guard_inside(g);
                break;
        case SHORT_CALLS:
                for (unsigned i = 0; i < 50; i++) {
                        (void)usleep(100000);
                        med_ntfs_guard_leave(g);
                        med_ntfs_guard_enter(g);
                }
                break;
        case CRASH:
                (void)signal(SIGABRT, SIG_DFL);
                abort();
        case KILLED:
                (void)raise(SIGKILL);
        }
        med_ntfs_guard_leave(g);
        (void)med_ntfs_guard_free(g);
        _exit(3); /* not zero: it is the process's own */
}

static int status_of(enum behaviour b)
{
        int status = 0;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0)
                child(b);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return status;
}

static void test_circles_end(void **state _unused_)
{
        const enum behaviour b[] = { CIRCLES, CIRCLES_OVER_DEVICE };

        for (size_t i = 0; i < ARRAY_SIZE(b); i++) {
                struct bth_error e = BTH_ERROR_INIT;
                int status = status_of(b[i]);

                assert_true(WIFEXITED(status));
                assert_int_equal(WEXITSTATUS(status), BTH_EXIT_NO_PROGRESS);
                assert_int_equal(bth_exit_explain(status, &e), -EIO);
                assert_int_equal(e.reason, BTH_REASON_NTFS_DAMAGED);
        }
}

static void test_patience(void **state _unused_)
{
        const enum behaviour b[] = { SLOW_DEVICE, SHORT_CALLS };

        for (size_t i = 0; i < ARRAY_SIZE(b); i++) {
                int status = status_of(b[i]);

                assert_true(WIFEXITED(status));
                assert_int_equal(WEXITSTATUS(status), 3);
                assert_int_equal(bth_exit_explain(status, NULL), 0);
        }
}

static void test_signals(void **state _unused_)
{
        struct bth_error e = BTH_ERROR_INIT;

        assert_int_equal(bth_exit_explain(status_of(CRASH), &e), -EIO);
        assert_int_equal(e.reason, BTH_REASON_NTFS_DAMAGED);
        assert_non_null(strstr(e.sentence, "SIGABRT"));
        bth_error_clear(&e);
        assert_int_equal(bth_exit_explain(status_of(KILLED), &e), -ECANCELED);
        assert_int_equal(e.reason, BTH_REASON_CANCELLED);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_circles_end),
                cmocka_unit_test(test_patience),
                cmocka_unit_test(test_signals),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
