/* SPDX-License-Identifier: GPL-3.0-or-later */
/* odd-worker - a worker that misbehaves on demand: what it does stands in the order's job, or in
 * the name of the last journal. Never part of a station. */
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/exit.h"
#include "base/order.h"
#include "base/str.h"

static void say(const struct bth_message *m)
{
        struct bth_frame *f = NULL;

        if (bth_message_to_frame(m, &f) < 0 || bth_frame_send(STDIN_FILENO, f) < 0)
                _exit(3);
        (void)bth_frame_free(f);
}

static void say_activity(enum bth_activity a)
{
        const struct bth_message m = { .type = BTH_MESSAGE_ACTIVITY,
                                       .activity = { .activity = a } };

        say(&m);
}

static void say_progress(uint64_t blobs_done, uint64_t bytes_done)
{
        const struct bth_message m = { .type = BTH_MESSAGE_PROGRESS,
                                       .progress = { .blobs = 7,
                                                     .blobs_done = blobs_done,
                                                     .bytes = 7000,
                                                     .bytes_done = bytes_done } };

        say(&m);
}

static void say_result(enum bth_run_end end, const char *status)
{
        const struct bth_message m = {
                .type = BTH_MESSAGE_RESULT,
                .result = { .end = end, .copy_status = (char *)(uintptr_t)status, .blobs = 7 }
        };

        say(&m);
}

static void say_failure(const char *reason)
{
        const struct bth_message m = { .type = BTH_MESSAGE_RESULT,
                                       .result = { .end = BTH_RUN_END_FAILED,
                                                   .reason = (char *)(uintptr_t)reason } };

        say(&m);
}

static int hear(struct bth_frame_reader *reader, struct bth_message *ret)
{
        struct bth_frame *f = NULL;
        int r = bth_frame_read(reader, &f);

        r = r > 0 ? bth_message_from_frame(f, ret, NULL) : -1;
        (void)bth_frame_free(f);
        return r;
}

/* A new credential or another share of the bandwidth changes nothing for it. */
static int hear_until_stop(struct bth_frame_reader *reader, struct bth_message *ret)
{
        int r = hear(reader, ret);

        while (r == 0 &&
               (ret->type == BTH_MESSAGE_CREDENTIAL || ret->type == BTH_MESSAGE_BANDWIDTH)) {
                bth_message_clear(ret);
                r = hear(reader, ret);
        }
        return r;
}

static void say_drive(uint64_t journal)
{
        const struct bth_message m = { .type = BTH_MESSAGE_JOURNAL_DRIVE,
                                       .journal_drive = { .journal = journal,
                                                          .serial = (char *)(uintptr_t) "ODD1" } };

        say(&m);
}

static void say_read(uint64_t journal)
{
        const struct bth_message m = { .type = BTH_MESSAGE_JOURNAL_READ,
                                       .journal_read = { .journal = journal } };

        say(&m);
}

_noreturn_ static void read_journals(struct bth_frame_reader *reader, struct bth_message *m)
{
        uint64_t last = m->journal.count - 1;
        const char *what;

        while (m->journal.index < last && hear(reader, m) == 0)
                say_read(m->journal.index - 1);
        what = m->journal.name;
        if (bth_streq(what, "crash")) {
                (void)signal(SIGSEGV, SIG_DFL);
                (void)raise(SIGSEGV);
        } else if (bth_streq(what, "silent")) {
                for (;;)
                        (void)pause();
        } else if (bth_streq(what, "killed")) {
                (void)raise(SIGKILL);
        } else if (bth_streq(what, "other-journal"))
                say_drive(last + 1);
        else if (bth_streq(what, "too-many"))
                for (unsigned i = 0; i <= BTH_JOURNAL_DRIVES_MAX; i++)
                        say_drive(last);
        else if (bth_streq(what, "activity"))
                say_activity(BTH_ACTIVITY_UNLOCKING);
        else if (bth_streq(what, "good"))
                say_drive(last);
        if (!bth_streq(what, "unread"))
                say_read(last);
        say_result(bth_streq(what, "fails") ? BTH_RUN_END_FAILED : BTH_RUN_END_FINISHED, NULL);
        _exit(0);
}

int main(void)
{
        struct bth_frame_reader *reader;
        struct bth_message order, more;
        const char *what;

        if (bth_frame_reader_new(STDIN_FILENO, &reader) < 0 || hear(reader, &order) < 0)
                return 2;
        if (order.type == BTH_MESSAGE_JOURNAL)
                read_journals(reader, &order);
        what = order.order.job;
        say_activity(BTH_ACTIVITY_UNLOCKING);
        if (bth_streq(what, "good"))
                say_result(BTH_RUN_END_FINISHED, "Completed");
        else if (bth_streq(what, "counting")) {
                say_progress(6, 6901);
                say_progress(7, 6902);
                say_result(BTH_RUN_END_FINISHED, "Completed");
        } else if (bth_streq(what, "crash")) {
                (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer would make an exit of it */
                (void)raise(SIGSEGV);
        } else if (bth_streq(what, "no-progress"))
                _exit(BTH_EXIT_NO_PROGRESS);
        else if (bth_streq(what, "busy"))
                say_failure("device-busy");
        else if (bth_streq(what, "code"))
                _exit(5);
        else if (bth_streq(what, "nonsense"))
                (void)!write(STDIN_FILENO, "GET / HTTP/1.1\r\nHost: station\r\n\r\n", 33);
        else if (bth_streq(what, "twice")) {
                say_result(BTH_RUN_END_FINISHED, "Completed");
                say_result(BTH_RUN_END_FINISHED, "Completed");
        } else if (bth_streq(what, "out-of-turn"))
                say(&order);
        else if (bth_streq(what, "deaf")) {
                (void)signal(SIGTERM, SIG_IGN);
                for (;;)
                        (void)pause();
        } else if (bth_streq(what, "obedient") && hear_until_stop(reader, &more) == 0)
                say_result(more.type == BTH_MESSAGE_STOP ? BTH_RUN_END_STOPPED : BTH_RUN_END_FAILED,
                           NULL);
        else if (bth_streq(what, "closes")) { /* says nothing more, and lives on */
                (void)shutdown(STDIN_FILENO, SHUT_RDWR);
                (void)close(STDIN_FILENO);
                (void)usleep(200000);
        }
        _exit(0); /* what is left goes with the process */
}
