/* SPDX-License-Identifier: GPL-3.0-or-later */
/* progress - counting and drawing. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/time.h"
#include "ctl/cli.h"
#include "ctl/ctl-table.h"
#include "ctl/progress.h"

#define DRAW_EVERY_USEC 250000

struct ctl_progress {
        char what[40];
        uint64_t total_bytes;
        _Atomic uint64_t done_bytes;
        uint64_t started_usec;
        bool drawing;
        bool stop; /* under lock */
        pthread_mutex_t lock;
        pthread_cond_t wake;
        pthread_t thread;
};

static unsigned terminal_columns(void)
{
        struct winsize w;

        return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 20 ? w.ws_col : 80;
}

char *ctl_progress_line(const struct ctl_progress *p, uint64_t elapsed_usec, unsigned columns,
                        char *out, size_t out_bytes)
{
        const uint64_t done = MIN(atomic_load(&p->done_bytes), p->total_bytes);
        const double share = p->total_bytes > 0 ? (double)done / (double)p->total_bytes : 1.0;
        const double rate = elapsed_usec > 0 ? (double)done * 1e6 / (double)elapsed_usec : 0.0;
        char bar[21], a[32], b[32], speed[32], left[CTL_TEXT_MAX] = "-";

        for (unsigned i = 0; i < 20; i++)
                bar[i] = i < (unsigned)(share * 20) ? '#' : '.';
        bar[20] = '\0';
        if (rate >= 1.0)
                ctl_duration_text((uint64_t)((double)(p->total_bytes - done) / rate), left);
        (void)snprintf(
                out, MIN(out_bytes, (size_t)columns), "%-10s [%s] %3u%%  %s of %s   %s/s   %s left",
                p->what, bar, (unsigned)(share * 100), ctl_bytes_text(done, a),
                ctl_bytes_text(p->total_bytes, b), ctl_bytes_text((uint64_t)rate, speed), left);
        return out;
}

static void draw(const struct ctl_progress *p)
{
        char line[256];

        ctl_progress_line(p, bth_now_monotonic_usec() - p->started_usec, terminal_columns(), line,
                          sizeof line);
        fprintf(stderr, "\r%s\033[K", line);
        (void)fflush(stderr);
}

static void *draw_loop(void *userdata)
{
        struct ctl_progress *p = userdata;

        pthread_mutex_lock(&p->lock);
        while (!p->stop) {
                struct timespec until;

                draw(p);
                (void)clock_gettime(CLOCK_REALTIME, &until);
                until.tv_nsec += DRAW_EVERY_USEC * 1000;
                if (until.tv_nsec >= 1000000000) {
                        until.tv_nsec -= 1000000000;
                        until.tv_sec++;
                }
                (void)pthread_cond_timedwait(&p->wake, &p->lock, &until);
        }
        pthread_mutex_unlock(&p->lock);
        return NULL;
}

int ctl_progress_new(const char *what, uint64_t total_bytes, bool quiet,
                     struct ctl_progress **ret_progress)
{
        struct ctl_progress *p = calloc(1, sizeof *p);

        if (!p)
                return -ENOMEM;
        (void)snprintf(p->what, sizeof p->what, "%s", what);
        p->total_bytes = total_bytes;
        p->started_usec = bth_now_monotonic_usec();
        pthread_mutex_init(&p->lock, NULL);
        pthread_cond_init(&p->wake, NULL);
        if (!quiet && isatty(STDERR_FILENO))
                p->drawing = pthread_create(&p->thread, NULL, draw_loop, p) == 0;
        *ret_progress = p;
        return 0;
}

void ctl_progress_add(struct ctl_progress *p, uint64_t bytes)
{
        if (p)
                atomic_fetch_add_explicit(&p->done_bytes, bytes, memory_order_relaxed);
}

uint64_t ctl_progress_done(const struct ctl_progress *p)
{
        return atomic_load(&p->done_bytes);
}

struct ctl_progress *ctl_progress_free(struct ctl_progress *p)
{
        if (!p)
                return NULL;
        if (p->drawing) {
                pthread_mutex_lock(&p->lock);
                p->stop = true;
                pthread_cond_signal(&p->wake);
                pthread_mutex_unlock(&p->lock);
                (void)pthread_join(p->thread, NULL);
                draw(p);
                fputc('\n', stderr);
        }
        pthread_cond_destroy(&p->wake);
        pthread_mutex_destroy(&p->lock);
        free(p);
        return NULL;
}
