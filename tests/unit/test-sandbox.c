/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a process can and cannot do in the sandbox; each in a child of its own. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/secret.h"
#include "uploader/sandbox.h"

#define FINE 0 /* what a child says; an errno is what stopped it */
#define LOST 200

static char allowed_path[] = "/tmp/berth-sandbox-allowed-XXXXXX";
static char other_path[] = "/tmp/berth-sandbox-other-XXXXXX";
static int open_fd = BTH_FD_NONE; /* of the other file, read-only */
static int listeners[2];
static uint16_t ports[2]; /* the first may be connected to */
static unsigned landlock;

static bool only_compute;

static bool enter(bool uring, struct upl_sandbox_level *level)
{
        const char *const files[] = { allowed_path, "/usr/lib", "/lib", "/nothing/here", NULL };
        const struct upl_sandbox_options o = {
                .read_only = files,
                .ports = ports,
                .n_ports = 1,
                .data_bytes = UINT64_C(1) << 30,
                .cpu_seconds = 600,
                .uring = uring,
                .only_compute = only_compute,
        };
        struct bth_error e = BTH_ERROR_INIT;

        if (upl_sandbox_enter(&o, level, &e) == 0)
                return true;
        (void)fprintf(stderr, "%s\n", e.sentence);
        return false;
}

/* Runs `act` in the sandbox; it returns FINE or an errno. */
static int inside(int (*act)(void))
{
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                struct upl_sandbox_level level;

                _exit(enter(true, &level) ? act() : LOST);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFSIGNALED(status))
                return -WTERMSIG(status);
        assert_int_not_equal(WEXITSTATUS(status), LOST);
        return WEXITSTATUS(status);
}

static int result(long r)
{
        return r < 0 ? errno : FINE;
}

static int open_other(void)
{
        return result(open(other_path, O_RDONLY));
}
static int open_passwd(void)
{
        return result(open("/etc/passwd", O_RDONLY));
}
static int open_folder(void)
{
        return result(open("/tmp", O_RDONLY | O_DIRECTORY));
}
static int open_allowed(void)
{
        return result(open(allowed_path, O_RDONLY));
}
static int write_allowed(void)
{
        return result(open(allowed_path, O_WRONLY));
}
static int truncate_allowed(void)
{
        return result(open(allowed_path, O_RDONLY | O_TRUNC));
}
static int make_file(void)
{
        return result(open("/tmp/berth-sandbox-new", O_RDONLY | O_CREAT, 0600));
}
static int make_unnamed(void)
{
        return result(open("/tmp", O_RDWR | O_TMPFILE, 0600));
}
static int remove_file(void)
{
        return result(unlink(allowed_path));
}
static int read_open(void)
{
        char c;

        return result(pread(open_fd, &c, 1, 0));
}

static void test_files(void **state)
{
        (void)state;
        if (landlock > 0) {
                assert_int_equal(inside(open_other), EACCES);
                assert_int_equal(inside(open_passwd), EACCES);
                assert_int_equal(inside(open_folder), EACCES);
        }
        assert_int_equal(inside(open_allowed), FINE);
        assert_int_equal(inside(write_allowed), EPERM);
        assert_int_equal(inside(truncate_allowed), EPERM);
        assert_int_equal(inside(make_file), EPERM);
        assert_int_equal(inside(make_unnamed), EPERM);
        assert_int_equal(inside(remove_file), EPERM);
        assert_int_equal(inside(read_open), FINE);
}

static int run_program(void)
{
        char *const argv[] = { (char *)(uintptr_t) "/bin/true", NULL };

        return result(execve("/bin/true", argv, argv + 1));
}
static int make_process(void)
{
        pid_t pid = fork();

        if (pid == 0)
                _exit(0);
        return result(pid);
}
static int kill_parent(void)
{
        return result(kill(getppid(), 0));
}
static int signal_parent(void)
{
        return result(syscall(SYS_tgkill, getppid(), getppid(), 0));
}
static int trace_parent(void)
{
        return result(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
}
static int mount_something(void)
{
        return result(mount("none", "/tmp", "tmpfs", 0, NULL));
}
static int raise_limit(void)
{
        const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

        return result(setrlimit(RLIMIT_CPU, &all));
}
static int allow_dumps(void)
{
        return result(prctl(PR_SET_DUMPABLE, 1));
}
static int run_bpf(void)
{
        return result(syscall(SYS_bpf, 0, NULL, 0));
}
static int add_key(void)
{
        return result(syscall(SYS_keyctl, 0, 0, 0, 0, 0));
}

static void test_processes(void **state)
{
        static int (*const refused[])(void) = {
                run_program,     make_process, kill_parent, signal_parent, trace_parent,
                mount_something, raise_limit,  allow_dumps, run_bpf,       add_key,
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                int r = inside(refused[i]);

                if (r != EPERM)
                        fail_msg("case %zu: %d instead of EPERM", i, r);
        }
}

static int connect_to(uint16_t port)
{
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        if (fd < 0)
                return errno;
        (void)inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
        return result(connect(fd, (struct sockaddr *)&to, sizeof to));
}
static int connect_first(void)
{
        return connect_to(ports[0]);
}
static int connect_second(void)
{
        return connect_to(ports[1]);
}
static int listen_myself(void)
{
        struct sockaddr_in at = { .sin_family = AF_INET };
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 1) < 0)
                return errno;
        return FINE;
}
static int unix_socket(void)
{
        return result(socket(AF_UNIX, SOCK_STREAM, 0));
}
static int unix_datagrams(void)
{
        int pair[2];

        return result(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
}
static int packet_socket(void)
{
        return result(socket(AF_PACKET, SOCK_DGRAM, 0));
}
static int cipher_socket(void)
{
        return result(socket(AF_ALG, SOCK_SEQPACKET, 0));
}

static void test_connections(void **state)
{
        (void)state;
        assert_int_equal(inside(connect_first), FINE);
        if (landlock >= 4)
                assert_int_equal(inside(connect_second), EACCES);
        assert_true(inside(listen_myself) != FINE);
        assert_int_equal(inside(unix_socket), EPERM);
        assert_int_equal(inside(unix_datagrams), EPERM);
        assert_int_equal(inside(packet_socket), EPERM);
        assert_int_equal(inside(cipher_socket), EPERM);
}

static void *thread_main(void *userdata)
{
        *(int *)userdata = open(other_path, O_RDONLY) < 0 ? errno : FINE;
        return NULL;
}

/* A thread can be made, and is inside too. */
static int make_thread(void)
{
        pthread_t thread;
        int seen = LOST, r = pthread_create(&thread, NULL, thread_main, &seen);

        if (r != 0)
                return r;
        (void)pthread_join(thread, NULL);
        return seen;
}
static int take_memory(void)
{
        void *p = mmap(NULL, (size_t)2 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0);

        return p == MAP_FAILED ? errno : FINE;
}
static int keep_secret(void)
{
        struct bth_secret *s;
        int r = bth_secret_new(100, &s);

        return r < 0 ? -r : FINE;
}
static int look_at_process(void)
{
        struct rlimit core;

        if (prctl(PR_GET_DUMPABLE) >= 0)
                return LOST - 1; /* it cannot even be asked */
        return getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0 ? FINE : LOST - 2;
}
static int abort_myself(void)
{
        abort();
}

static void test_life(void **state)
{
        (void)state;
        assert_int_equal(inside(make_thread), landlock > 0 ? EACCES : FINE);
        assert_int_equal(inside(keep_secret), FINE);
        assert_int_equal(inside(look_at_process), FINE);
        assert_int_equal(inside(abort_myself), -SIGABRT);
#ifndef __SANITIZE_ADDRESS__
        assert_int_equal(inside(take_memory), ENOMEM);
#else
        (void)take_memory;
#endif
}

static int make_pipe(void)
{
        int ends[2];

        return result(pipe(ends));
}
static int internet_socket(void)
{
        return result(socket(AF_INET, SOCK_STREAM, 0));
}
static int plain_thread(void)
{
        pthread_t thread;
        int seen;

        return pthread_create(&thread, NULL, thread_main, &seen);
}

/* What only computes has what is open, memory, and nothing else, with or without Landlock. */
static void test_compute(void **state)
{
        static int (*const refused[])(void) = {
                open_other,  open_allowed,    make_file,   remove_file,  run_program, make_process,
                kill_parent, internet_socket, unix_socket, plain_thread, make_pipe,   raise_limit,
        };

        (void)state;
        only_compute = true;
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                int r = inside(refused[i]);

                if (r != EPERM && r != EACCES)
                        fail_msg("case %zu: %d instead of EPERM", i, r);
        }
        assert_int_equal(inside(read_open), FINE);
        assert_int_equal(inside(keep_secret), FINE);
        assert_int_equal(inside(abort_myself), -SIGABRT);
        only_compute = false;
}

static void report_level(bool uring, struct upl_sandbox_level *ret_level)
{
        int pipe_fds[2], status;
        pid_t pid;

        assert_int_equal(pipe(pipe_fds), 0);
        pid = fork();
        if (pid == 0) {
                struct upl_sandbox_level level;

                if (!enter(uring, &level) ||
                    write(pipe_fds[1], &level, sizeof level) != (ssize_t)sizeof level)
                        _exit(LOST);
                _exit(level.uring == (syscall(SYS_io_uring_setup, 0, NULL) >= 0 ||
                                      (errno != EPERM && errno != ENOSYS))
                              ? 0
                              : LOST);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_int_equal(read(pipe_fds[0], ret_level, sizeof *ret_level), sizeof *ret_level);
        (void)close(pipe_fds[0]);
        (void)close(pipe_fds[1]);
}

static void test_level(void **state)
{
        struct upl_sandbox_level level;
        char text[256];

        (void)state;
        report_level(false, &level);
        assert_true(level.no_new_privileges && level.no_dumps && level.limits);
        assert_true(level.system_calls);
        assert_int_equal(level.files, landlock > 0);
        assert_int_equal(level.connections, landlock >= 4);
        assert_false(level.uring);
        assert_int_equal(level.landlock_abi, landlock);
        (void)upl_sandbox_to_string(&level, text, sizeof text);
        print_message("%s\n", text);
        assert_non_null(strstr(text, "system calls listed"));
        level = (struct upl_sandbox_level){ 0 };
        (void)upl_sandbox_to_string(&level, text, sizeof text);
        assert_string_equal(text,
                            "system calls OPEN, files OPEN, connections OPEN, limits NONE; no "
                            "Landlock");
}

static void listen_on(int i)
{
        struct sockaddr_in at = { .sin_family = AF_INET };
        socklen_t n = sizeof at;

        (void)inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
        listeners[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(listeners[i] >= 0);
        assert_int_equal(bind(listeners[i], (struct sockaddr *)&at, sizeof at), 0);
        assert_int_equal(listen(listeners[i], 50), 0);
        assert_int_equal(getsockname(listeners[i], (struct sockaddr *)&at, &n), 0);
        ports[i] = ntohs(at.sin_port);
}

static int set_up(void **state)
{
        int allowed = mkstemp(allowed_path), other = mkstemp(other_path);
        long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);

        (void)state;
        assert_true(allowed >= 0 && other >= 0);
        assert_int_equal(write(other, "x", 1), 1);
        (void)close(allowed);
        (void)close(other);
        open_fd = open(other_path, O_RDONLY | O_CLOEXEC);
        assert_true(open_fd >= 0);
        landlock = abi > 0 ? (unsigned)abi : 0;
        for (int i = 0; i < 2; i++)
                listen_on(i);
        return 0;
}

static int tear_down(void **state)
{
        (void)state;
        (void)unlink(allowed_path);
        (void)unlink(other_path);
        (void)close(open_fd);
        for (int i = 0; i < 2; i++)
                (void)close(listeners[i]);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_files),       cmocka_unit_test(test_processes),
                cmocka_unit_test(test_connections), cmocka_unit_test(test_life),
                cmocka_unit_test(test_compute),     cmocka_unit_test(test_level),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
