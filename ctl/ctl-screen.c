/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-screen - entering, leaving, waiting, drawing. */
#include "ctl/ctl-screen.h"

#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>

#include "base/io.h"
#include "base/str.h"
#include "base/time.h"

/* Alternate screen, no cursor, lines that are too long do not wrap; and back. */
#define ENTER "\033[?1049h\033[?25l\033[?7l\033[2J"
#define LEAVE "\033[?7h\033[?25h\033[0m\033[?1049l"

static void put(const char *text)
{
        /* What cannot be shown is noticed by the next drawing. */
        if (bth_write_full(STDOUT_FILENO, text, strlen(text)) < 0)
                return;
}

static void measure(struct ctl_screen *s)
{
        struct winsize w;
        const bool known =
                ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 && w.ws_row > 0;

        s->columns = known ? w.ws_col : 80;
        s->rows = known ? w.ws_row : 24;
}

static bool wants_colours(void)
{
        const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

        return (!no || no[0] == '\0') && term && strcmp(term, "dumb") != 0;
}

static int enter(struct ctl_screen *s)
{
        if (s->has_keys) {
                struct termios raw = s->before;

                raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* Ctrl-C and Ctrl-Z stay signals */
                raw.c_cc[VMIN] = 0;
                raw.c_cc[VTIME] = 0;
                if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) < 0)
                        return -errno;
        }
        s->drawn_on = true;
        put(ENTER);
        measure(s);
        return 0;
}

static void leave(struct ctl_screen *s)
{
        if (!s->drawn_on)
                return;
        s->drawn_on = false;
        put(LEAVE);
        if (s->has_keys)
                (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &s->before);
}

static void watched_signals(sigset_t *set)
{
        static const int all[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP };

        (void)sigemptyset(set);
        for (size_t i = 0; i < ARRAY_SIZE(all); i++)
                (void)sigaddset(set, all[i]);
}

int ctl_screen_open(struct ctl_screen *s)
{
        sigset_t set;
        int r;

        *s = (struct ctl_screen){ .signals = BTH_FD_NONE, .colours = wants_colours() };
        if (!isatty(STDOUT_FILENO))
                return -ENOTTY;
        s->has_keys = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &s->before) == 0;
        watched_signals(&set);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (s->signals < 0)
                return -errno;
        r = enter(s);
        if (r < 0)
                ctl_screen_close(s);
        return r;
}

void ctl_screen_close(struct ctl_screen *s)
{
        leave(s);
        s->signals = bth_close(s->signals);
}

void ctl_screen_end(int signal)
{
        sigset_t set;

        (void)sigemptyset(&set);
        (void)sigaddset(&set, signal);
        (void)raise(signal);
        (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
        _exit(128 + signal); /* where the signal was ignored from the start */
}

/* ---- events ---- */

/* A key, or the sequence of one: what came in one read. */
static enum ctl_screen_event key(const char *k, size_t n)
{
        static const struct {
                const char *keys;
                enum ctl_screen_event event;
        } known[] = {
                { "q", CTL_SCREEN_QUIT },
                { "Q", CTL_SCREEN_QUIT },
                { "\003", CTL_SCREEN_QUIT },
                { "\004", CTL_SCREEN_QUIT },
                { "k", CTL_SCREEN_UP },
                { "\033[A", CTL_SCREEN_UP },
                { "\033OA", CTL_SCREEN_UP },
                { "j", CTL_SCREEN_DOWN },
                { "\033[B", CTL_SCREEN_DOWN },
                { "\033OB", CTL_SCREEN_DOWN },
                { "\033[5~", CTL_SCREEN_PAGE_UP },
                { "\033[6~", CTL_SCREEN_PAGE_DOWN },
                { " ", CTL_SCREEN_PAGE_DOWN },
        };

        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (n >= strlen(known[i].keys) &&
                    memcmp(k, known[i].keys, strlen(known[i].keys)) == 0)
                        return known[i].event;
        return CTL_SCREEN_TIME;
}

/* Stopped by Ctrl-Z, or by kill(1): the shell gets its terminal back meanwhile. */
static enum ctl_screen_event stop(struct ctl_screen *s, int *ret_signal)
{
        leave(s);
        (void)raise(SIGSTOP);
        if (enter(s) == 0)
                return CTL_SCREEN_RESIZED;
        *ret_signal = SIGHUP; /* there is no terminal any more */
        return CTL_SCREEN_ENDED;
}

static enum ctl_screen_event signalled(struct ctl_screen *s, int *ret_signal)
{
        struct signalfd_siginfo info;

        if (read(s->signals, &info, sizeof info) != (ssize_t)sizeof info)
                return CTL_SCREEN_TIME;
        switch (info.ssi_signo) {
        case SIGINT:
                return CTL_SCREEN_QUIT;
        case SIGWINCH:
                measure(s);
                return CTL_SCREEN_RESIZED;
        case SIGTSTP:
                return stop(s, ret_signal);
        default:
                *ret_signal = (int)info.ssi_signo;
                return CTL_SCREEN_ENDED;
        }
}

enum ctl_screen_event ctl_screen_wait(struct ctl_screen *s, unsigned msec, int *ret_signal)
{
        const uint64_t until = bth_now_monotonic_usec() + (uint64_t)msec * 1000;

        for (;;) {
                const uint64_t now = bth_now_monotonic_usec();
                enum ctl_screen_event e = CTL_SCREEN_TIME;
                struct pollfd fds[] = {
                        { .fd = s->signals, .events = POLLIN },
                        { .fd = s->has_keys && !s->deaf ? STDIN_FILENO : -1, .events = POLLIN },
                };
                char keys[16];
                ssize_t n;

                if (poll(fds, ARRAY_SIZE(fds),
                         now < until ? (int)((until - now + 999) / 1000) : 0) <= 0)
                        return CTL_SCREEN_TIME;
                if (fds[0].revents)
                        e = signalled(s, ret_signal);
                if (e == CTL_SCREEN_TIME && fds[1].revents) {
                        n = read(STDIN_FILENO, keys, sizeof keys);
                        if (n <= 0)
                                s->deaf = true; /* or it would be ready for ever */
                        else
                                e = key(keys, (size_t)n);
                }
                if (e != CTL_SCREEN_TIME)
                        return e;
        }
}

int ctl_screen_draw(const struct ctl_screen *s, const char *lines)
{
        _cleanup_buf_ struct bth_buf out = BTH_BUF_INIT;
        int r = bth_buf_add_string(&out, "\033[H");

        for (unsigned row = 0; r >= 0 && row < s->rows && *lines != '\0'; row++) {
                const size_t n = strcspn(lines, "\n");

                r = bth_buf_add_string(&out, row == 0 ? "" : "\r\n");
                if (r >= 0)
                        r = bth_buf_add(&out, lines, n);
                if (r >= 0)
                        r = bth_buf_add_string(&out, "\033[0m\033[K");
                lines += n + (lines[n] == '\n');
        }
        if (r >= 0)
                r = bth_buf_add_string(&out, "\033[J");
        return r < 0 ? r : bth_write_full(STDOUT_FILENO, out.data, out.length);
}

bool ctl_screen_knows_utf8(void)
{
        (void)setlocale(LC_CTYPE, "");
        return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}
