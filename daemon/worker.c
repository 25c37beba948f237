/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/worker.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/exit.h"
#include "base/frame.h"
#include "base/time.h"
#include "daemon/worker-connect.h"

#define REPORTS_AT_ONCE 64 /* of one worker, before the loop looks at the others */

struct dmn_worker {
        struct dmn_worker_events events;
        void *userdata;
        sd_event *loop;
        pid_t pid; /* 0: reaped, or not ours to reap */
        int socket_fd;
        struct bth_frame_reader *reader;
        sd_event_source *io, *child, *timer;
        struct bth_message result; /* of type RESULT when there is one */
        bool remote;               /* started by systemd: what reaped it says so in a message */
        bool has_result, reaped, closed, stopping, terminated;
        int wait_status;
        struct bth_error broken; /* what was wrong with what it said */
};

/* -- ending
 * ------------------------------------------------------------------------------------------- */

static void explain(const struct dmn_worker *w, struct bth_error *error)
{
        if (w->broken.code < 0)
                *error = w->broken;
        else if (!w->reaped && w->stopping)
                (void)bth_error_set(error, -ECANCELED, BTH_REASON_CANCELLED,
                                    "the worker did not end when it was asked to");
        else if (!w->reaped)
                (void)bth_error_set(error, -EIO, BTH_REASON_INTERNAL,
                                    "the worker went away without a result");
        else if (bth_exit_explain(w->wait_status, error) == 0)
                (void)bth_error_set(error, -EIO, BTH_REASON_INTERNAL,
                                    "the worker ended with code %d and without a result",
                                    WEXITSTATUS(w->wait_status));
}

/* When both the process and what it said have come to an end, in whichever order; of a process that
 * is not ours, the end of its words is all. */
static void end_if_over(struct dmn_worker *w)
{
        struct bth_error error = BTH_ERROR_INIT;
        struct bth_message result;
        void (*on_end)(void *, const struct bth_result_report *, const struct bth_error *) =
                w->events.on_end;
        void *userdata = w->userdata;

        if (!(w->reaped || w->remote) || !w->closed || !on_end)
                return;
        w->events.on_end = NULL; /* once */
        w->timer = sd_event_source_disable_unref(w->timer);
        if (w->has_result && w->broken.code == 0) {
                result = w->result;
                w->has_result = false;
                on_end(userdata, &result.result, NULL);
                bth_message_clear(&result);
                return;
        }
        explain(w, &error);
        on_end(userdata, NULL, &error);
}

static void close_socket(struct dmn_worker *w)
{
        w->io = sd_event_source_disable_unref(w->io);
        w->reader = bth_frame_reader_free(w->reader);
        w->socket_fd = bth_close(w->socket_fd);
        w->closed = true;
}

static int on_timer(sd_event_source *s, uint64_t now_usec, void *userdata)
{
        struct dmn_worker *w = userdata;

        (void)now_usec;
        if (w->remote) {
                close_socket(w);
                end_if_over(w);
                return 0;
        }
        if (w->reaped)
                return 0;
        (void)kill(w->pid, w->terminated ? SIGKILL : SIGTERM);
        if (w->terminated)
                return 0;
        w->terminated = true;
        (void)sd_event_source_set_time_relative(s, DMN_WORKER_TERM_USEC);
        return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

static int on_child(sd_event_source *s, const siginfo_t *info, void *userdata)
{
        struct dmn_worker *w = userdata;

        (void)s;
        w->wait_status =
                info->si_code == CLD_EXITED ? info->si_status << 8 : info->si_status & 0x7f;
        w->reaped = true;
        w->pid = 0;
        end_if_over(w);
        return 0;
}

/* What it says makes no sense: it is not trusted with the drive any more. */
static void distrust(struct dmn_worker *w, const struct bth_error *e)
{
        if (w->broken.code == 0)
                w->broken = *e;
        if (w->pid > 0)
                (void)kill(w->pid, SIGKILL);
        close_socket(w);
}

/* -- listening
 * ---------------------------------------------------------------------------------------- */

static int take_report(struct dmn_worker *w, struct bth_frame *frame)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct bth_message m;
        int r = bth_message_from_frame(frame, &m, &e);

        if (r == 0 && m.type == BTH_MESSAGE_EXIT && w->remote && !w->reaped) {
                w->wait_status = (int)m.exit.wait_status;
                w->reaped = true;
                return 0;
        }
        if (r == 0 && (m.type < BTH_MESSAGE_SANDBOX || m.type == BTH_MESSAGE_EXIT ||
                       (w->remote && w->reaped) || w->has_result)) {
                bth_message_clear(&m);
                r = bth_error_set(&e, -EBADMSG, BTH_REASON_INTERNAL,
                                  "the worker said something out of turn");
        }
        if (r < 0) {
                distrust(w, &e);
                return r;
        }
        if (m.type == BTH_MESSAGE_RESULT) {
                w->result = m;
                w->has_result = true;
                return 0;
        }
        if (w->events.on_report)
                w->events.on_report(w->userdata, &m);
        bth_message_clear(&m);
        return 0;
}

static int on_readable(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        struct dmn_worker *w = userdata;
        struct bth_error e = BTH_ERROR_INIT;
        int r = 1;

        (void)s;
        (void)fd;
        (void)revents;
        for (int i = 0; i < REPORTS_AT_ONCE && r > 0 && w->reader; i++) {
                _cleanup_(bth_frame_freep) struct bth_frame *frame = NULL;

                r = bth_frame_read(w->reader, &frame);
                if (r > 0 && take_report(w, frame) < 0)
                        r = 0;
        }
        if (r == -EPIPE || r == -ECONNRESET) {
                close_socket(w);
        } else if (r < 0 && r != -EINTR) {
                (void)bth_error_set(&e, r, BTH_REASON_INTERNAL,
                                    "the worker's words cannot be understood: %s", bth_strerror(r));
                distrust(w, &e);
        }
        end_if_over(w);
        return 0;
}

/* -- starting
 * ----------------------------------------------------------------------------------------- */

static int spawn(struct dmn_worker *w, const char *program, int theirs, struct bth_error *error)
{
        char *const argv[] = { (char *)"berth-worker", NULL };
        char *const environment[] = { (char *)"LC_ALL=C.UTF-8", NULL };
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        sigset_t none, all;
        int r;

        sigemptyset(&none);
        sigfillset(&all);
        posix_spawn_file_actions_init(&actions);
        posix_spawnattr_init(&attributes);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        posix_spawn_file_actions_adddup2(&actions, theirs, STDIN_FILENO);
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        r = posix_spawn(&w->pid, program, &actions, &attributes, argv, environment);
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
        if (r == 0)
                return 0;
        w->pid = 0;
        bth_error_at(error, program, 0, BTH_ERROR_NO_OFFSET);
        return bth_error_set(error, -r, BTH_REASON_INTERNAL, "the worker cannot be started: %s",
                             bth_strerror(-r));
}

static int send_message(int fd, const struct bth_message *m)
{
        _cleanup_(bth_frame_freep) struct bth_frame *frame = NULL;
        int r = bth_message_to_frame(m, &frame);

        return r < 0 ? r : bth_frame_send(fd, frame);
}

static int listen_to(struct dmn_worker *w, sd_event *loop)
{
        const int flags = fcntl(w->socket_fd, F_GETFL);
        int r = flags < 0 || fcntl(w->socket_fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;

        if (r == 0)
                r = bth_frame_reader_new(w->socket_fd, &w->reader);
        if (r == 0)
                r = sd_event_add_io(loop, &w->io, w->socket_fd, EPOLLIN, on_readable, w);
        if (r >= 0 && !w->remote)
                r = sd_event_add_child(loop, &w->child, w->pid, WEXITED, on_child, w);
        /* What it said comes before its end, also when both wait. */
        if (r >= 0 && !w->remote)
                r = sd_event_source_set_priority(w->child, SD_EVENT_PRIORITY_IDLE);
        return r < 0 ? r : 0;
}

static int start_child(struct dmn_worker *w, const char *program, struct bth_error *error)
{
        _cleanup_close_ int theirs = BTH_FD_NONE;
        int ends[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
                return bth_error_set(error, -errno, BTH_REASON_INTERNAL,
                                     "no socket for the worker: %s", bth_strerror(-errno));
        w->socket_fd = ends[0];
        theirs = ends[1];
        return spawn(w, program, theirs, error);
}

static int start(struct dmn_worker *w, sd_event *loop, const char *program,
                 const struct bth_message *messages, size_t n, struct bth_error *error)
{
        int r = w->remote ? dmn_worker_connect(program, &w->socket_fd, error)
                          : start_child(w, program, error);

        if (r < 0)
                return r;
        for (size_t i = 0; i < n && r == 0; i++)
                r = send_message(w->socket_fd, &messages[i]);
        if (r == 0)
                r = listen_to(w, loop);
        return r < 0 ? bth_error_set(error, r, BTH_REASON_INTERNAL,
                                     "the worker's order cannot be given: %s", bth_strerror(r))
                     : 0;
}

int dmn_worker_start(sd_event *loop, const char *program, const struct bth_order *order,
                     const struct dmn_worker_events *events, void *userdata,
                     struct dmn_worker **ret_worker, struct bth_error *error)
{
        const struct bth_message m = { .type = BTH_MESSAGE_ORDER, .order = *order };
        int r = dmn_worker_is_socket(program)
                        ? dmn_worker_share_folder(program, order->state_fd, error)
                        : 0;

        if (r < 0)
                return r;
        return dmn_worker_start_with(loop, program, &m, 1, events, userdata, ret_worker, error);
}

int dmn_worker_start_with(sd_event *loop, const char *program, const struct bth_message *messages,
                          size_t n, const struct dmn_worker_events *events, void *userdata,
                          struct dmn_worker **ret_worker, struct bth_error *error)
{
        _cleanup_(dmn_worker_freep) struct dmn_worker *w = calloc(1, sizeof *w);
        int r;

        if (!w)
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY,
                                     "no memory for a worker");
        w->socket_fd = BTH_FD_NONE;
        w->broken = BTH_ERROR_INIT;
        w->events = *events;
        w->userdata = userdata;
        w->remote = dmn_worker_is_socket(program);
        w->loop = sd_event_ref(loop);
        r = start(w, loop, program, messages, n, error);
        if (r < 0)
                return r;
        *ret_worker = take_ptr(w);
        return 0;
}

/* -- orders while it runs
 * ----------------------------------------------------------------------------- */

int dmn_worker_send(struct dmn_worker *w, const struct bth_message *m)
{
        return w->closed ? -EPIPE : send_message(w->socket_fd, m);
}

void dmn_worker_stop(struct dmn_worker *w)
{
        const struct bth_message stop = { .type = BTH_MESSAGE_STOP };
        int r;

        if (w->stopping || w->reaped)
                return;
        w->stopping = true;
        r = dmn_worker_send(w, &stop);
        if (r == 0 || w->remote)
                r = sd_event_add_time_relative(w->loop, &w->timer, CLOCK_MONOTONIC,
                                               r == 0 ? DMN_WORKER_STOP_USEC : 0, 0, on_timer, w);
        if (r < 0 && w->pid > 0)
                (void)kill(w->pid, SIGTERM);
}

void dmn_worker_abandon(struct dmn_worker *w, const struct bth_error *why)
{
        w->has_result = false;
        distrust(w, why);
        if (w->remote) {
                w->timer = sd_event_source_disable_unref(w->timer);
                (void)sd_event_add_time_relative(w->loop, &w->timer, CLOCK_MONOTONIC, 0, 0,
                                                 on_timer, w);
        }
}

pid_t dmn_worker_pid(const struct dmn_worker *w)
{
        return w->pid;
}

struct dmn_worker *dmn_worker_free(struct dmn_worker *w)
{
        if (!w)
                return NULL;
        w->child = sd_event_source_disable_unref(w->child);
        w->timer = sd_event_source_disable_unref(w->timer);
        if (w->pid > 0) {
                (void)kill(w->pid, SIGKILL);
                while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        close_socket(w);
        w->loop = sd_event_unref(w->loop);
        if (w->has_result)
                bth_message_clear(&w->result);
        free(w);
        return NULL;
}
