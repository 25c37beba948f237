/* SPDX-License-Identifier: GPL-3.0-or-later */
/* station-worker - a worker that answers, crashes, lies, is deaf or goes: the station hears of its
 * end once, with a reason, and goes on. The same for one that is started behind a socket. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/worker-connect.h"
#include "daemon/worker.h"

static char program[512]; /* or a socket */
static char odd_worker[512], folder[] = "/tmp/berth-station-worker-XXXXXX", socket_path[128];
static bool tells_end; /* of what stands behind the socket */
static pid_t listener;

struct seen {
        sd_event *loop;
        struct dmn_worker *worker;
        bool stop_when_heard;
        bool late; /* the loop begins when the worker has ended */
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

/* Until the process has ended, without reaping it or reading what it said. */
static void wait_for_end(const struct dmn_worker *w)
{
        siginfo_t info;

        assert_int_equal(waitid(P_PID, (id_t)dmn_worker_pid(w), &info, WEXITED | WNOWAIT), 0);
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

        *s = (struct seen){ .stop_when_heard = stop, .late = s->late };
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        assert_int_equal(sigprocmask(SIG_BLOCK, &set, NULL), 0);
        assert_true(sd_event_new(&s->loop) >= 0);
        order.drive_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        order.state_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dmn_worker_start(s->loop, program, &order, &events, s, &s->worker, &e) < 0)
                fail_msg("%s", e.sentence);
        if (listener > 0)
                assert_int_equal(dmn_worker_pid(s->worker), 0);
        else
                assert_true(dmn_worker_pid(s->worker) > 0);
        if (s->late)
                wait_for_end(s->worker);
        assert_int_equal(sd_event_loop(s->loop), 0);
        assert_int_equal(s->n_ends, 1);
        close(order.drive_fd);
        close(order.state_fd);
        (void)sd_event_unref(s->loop);
}

static void test_result(void **state)
{
        struct seen s = { 0 };

        (void)state;
        run("good", false, &s);
        assert_true(s.has_result);
        assert_int_equal(s.end, BTH_RUN_END_FINISHED);
        assert_int_equal(s.n_reports, 1);
}

/* The station is busy, and hears of the end of the process before it reads what that said: it is
 * believed all the same. Both wait when the loop begins, in whichever order. */
static void test_result_after_end(void **state)
{
        struct seen s = { .late = true };

        (void)state;
        for (int i = 0; i < 20; i++) {
                run("good", false, &s);
                if (!s.has_result)
                        fail_msg("%s", s.error.sentence);
                assert_int_equal(s.end, BTH_RUN_END_FINISHED);
        }
}

static void expect_broken(const char *job, const char *says)
{
        struct seen s = { 0 };

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
        struct seen s = { 0 };

        (void)state;
        run("obedient", true, &s);
        assert_true(s.has_result);
        assert_int_equal(s.end, BTH_RUN_END_STOPPED);
}

/* It does not listen, not even to SIGTERM. */
static void test_deaf(void **state)
{
        struct seen s = { 0 };

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

/* -- behind a socket: what systemd does, in small
 * -------------------------------------------------- */

static void tell_end(int fd, int wait_status)
{
        const struct bth_message m = { .type = BTH_MESSAGE_EXIT,
                                       .exit = { .wait_status = (uint64_t)wait_status } };
        struct bth_frame *f = NULL;

        if (bth_message_to_frame(&m, &f) == 0)
                (void)!bth_frame_send(fd, f);
        (void)bth_frame_free(f);
}

static _Noreturn void serve(int listening)
{
        for (;;) {
                int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC), status = 0;
                pid_t pid = fork();

                if (pid == 0) {
                        (void)dup2(fd, STDIN_FILENO);
                        (void)execl(odd_worker, "odd-worker", (char *)NULL);
                        _exit(203);
                }
                (void)waitpid(pid, &status, 0);
                if (tells_end)
                        tell_end(fd, status);
                (void)close(fd);
        }
}

static int listen_behind_socket(bool telling)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        tells_end = telling;
        snprintf(socket_path, sizeof socket_path, "%s/worker.sock", folder);
        snprintf(address.sun_path, sizeof address.sun_path, "%s/worker.sock", folder);
        if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
            listen(fd, 8) < 0)
                return -1;
        listener = fork();
        if (listener == 0) {
                (void)setpgid(0, 0);
                serve(fd);
        }
        (void)close(fd);
        snprintf(program, sizeof program, "%s", socket_path);
        return listener > 0 ? 0 : -1;
}

static int start_telling(void **state)
{
        (void)state;
        return listen_behind_socket(true);
}

static int start_silent(void **state)
{
        (void)state;
        return listen_behind_socket(false);
}

static int end_listener(void **state)
{
        (void)state;
        (void)kill(-listener, SIGKILL);
        (void)kill(listener, SIGKILL);
        (void)waitpid(listener, NULL, 0);
        listener = 0;
        snprintf(program, sizeof program, "%s", odd_worker);
        return unlink(socket_path);
}

static void test_remote(void **state)
{
        test_result(state);
        test_stop(state);
        test_lies(state);
        expect_broken("crash", "crash");
        expect_broken("no-progress", "came to no end");
        expect_broken("code", "code 5");
        expect_broken("empty", "code 0");
        expect_broken("closes", "went away");
}

static void test_remote_silent(void **state)
{
        test_result(state);
        expect_broken("crash", "went away");
}

static void test_remote_deaf(void **state)
{
        struct seen s = { 0 };

        (void)state;
        run("deaf", true, &s);
        assert_false(s.has_result);
        assert_int_equal(s.error.code, -ECANCELED);
        assert_non_null(strstr(s.error.sentence, "did not end"));
}

static void test_nobody_listens(void **state)
{
        static const struct dmn_worker_events events = { on_report, on_end };
        struct bth_order order = { .drive_fd = 0 };
        struct bth_error e = BTH_ERROR_INIT;
        struct dmn_worker *w = NULL;
        sd_event *loop;

        assert_int_equal(listen_behind_socket(true), 0);
        (void)kill(-listener, SIGKILL);
        (void)kill(listener, SIGKILL);
        (void)waitpid(listener, NULL, 0);
        assert_true(sd_event_new(&loop) >= 0);
        order.state_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(dmn_worker_start(loop, program, &order, &events, NULL, &w, &e),
                         -ECONNREFUSED);
        assert_string_equal(e.object, program);
        close(order.state_fd);
        (void)sd_event_unref(loop);
        (void)end_listener(state);
}

static void expect_mode(const char *name, mode_t mode)
{
        char path[256];
        struct stat st;

        snprintf(path, sizeof path, "%s/%s", folder, name);
        assert_int_equal(lstat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, mode);
}

static void put(const char *name)
{
        char path[256];
        int fd;

        snprintf(path, sizeof path, "%s/%s", folder, name);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        close(fd);
}

/* What is given to the group: the folder and plain files; never what a name only leads to. */
static void test_share(void **state)
{
        char from[256], to[256];
        struct bth_error e = BTH_ERROR_INIT;
        int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        (void)state;
        assert_int_equal(fchmod(fd, 0700), 0);
        put("transfer-1");
        put("twice");
        snprintf(from, sizeof from, "%s/twice", folder);
        snprintf(to, sizeof to, "%s/again", folder);
        assert_int_equal(link(from, to), 0);
        snprintf(to, sizeof to, "%s/leads", folder);
        assert_int_equal(symlink("/etc/passwd", to), 0);
        assert_int_equal(dmn_worker_share_folder(socket_path, fd, &e), 0);
        expect_mode(".", 0770);
        expect_mode("transfer-1", 0660);
        expect_mode("twice", 0600);
        for (size_t i = 0; i < 4; i++) {
                static const char *const names[] = { "transfer-1", "twice", "again", "leads" };

                assert_int_equal(unlinkat(fd, names[i], 0), 0);
        }
        close(fd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_result),
                cmocka_unit_test(test_result_after_end),
                cmocka_unit_test(test_ends_without_result),
                cmocka_unit_test(test_lies),
                cmocka_unit_test(test_stop),
                cmocka_unit_test(test_deaf),
                cmocka_unit_test(test_no_program),
                cmocka_unit_test_setup_teardown(test_remote, start_telling, end_listener),
                cmocka_unit_test_setup_teardown(test_remote_silent, start_silent, end_listener),
                cmocka_unit_test_setup_teardown(test_remote_deaf, start_telling, end_listener),
                cmocka_unit_test(test_nobody_listens),
                cmocka_unit_test_setup_teardown(test_share, start_silent, end_listener),
        };
        const char *build = getenv("BERTH_BUILD");
        int r;

        snprintf(odd_worker, sizeof odd_worker, "%s/tests/tools/odd-worker", build ? build : ".");
        snprintf(program, sizeof program, "%s", odd_worker);
        if (!mkdtemp(folder))
                return 1;
        r = cmocka_run_group_tests(tests, NULL, NULL);
        (void)rmdir(folder);
        return r;
}
