/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "media/ntfs_guard.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/exit.h"
#include "base/io.h"

struct med_ntfs_guard {
        pthread_t thread;
        pthread_mutex_t lock; /* of `stop` */
        pthread_cond_t wake;
        bool stop;
        unsigned seconds;
        atomic_bool inside;
        atomic_uint_fast64_t progress;
        uint32_t reads; /* of this call; only the calling thread's */
};

static _noreturn_ void end_process(void)
{
        static const char sentence[] =
                "The file system of the drive is damaged in a way that keeps its reader going in "
                "circles; this process ends.\n";

        (void)!bth_write_full(STDERR_FILENO, sentence, sizeof sentence - 1);
        _exit(BTH_EXIT_NO_PROGRESS);
}

/* False when it is to stop. */
static bool wait_second(struct med_ntfs_guard *g)
{
        struct timespec until;
        bool stop;

        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec++;
        (void)pthread_mutex_lock(&g->lock);
        while (!g->stop && pthread_cond_timedwait(&g->wake, &g->lock, &until) == 0)
                ;
        stop = g->stop;
        (void)pthread_mutex_unlock(&g->lock);
        return !stop;
}

static void *watch(void *context)
{
        struct med_ntfs_guard *g = context;
        uint64_t last = 0;
        unsigned stuck = 0;

        while (wait_second(g)) {
                uint64_t now = atomic_load(&g->progress);

                stuck = atomic_load(&g->inside) && now == last ? stuck + 1 : 0;
                last = now;
                if (stuck >= g->seconds)
                        end_process();
        }
        return NULL;
}

static int init_wait(struct med_ntfs_guard *g)
{
        pthread_condattr_t attributes;
        int r = pthread_condattr_init(&attributes);

        if (r == 0)
                r = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        if (r == 0)
                r = pthread_cond_init(&g->wake, &attributes);
        if (r == 0)
                r = pthread_mutex_init(&g->lock, NULL);
        (void)pthread_condattr_destroy(&attributes);
        return -r;
}

int med_ntfs_guard_new(unsigned seconds, struct med_ntfs_guard **ret_guard)
{
        _cleanup_free_ struct med_ntfs_guard *g = calloc(1, sizeof *g);
        int r;

        if (!g)
                return -ENOMEM;
        g->seconds = seconds;
        r = init_wait(g);
        if (r == 0)
                r = -pthread_create(&g->thread, NULL, watch, g);
        if (r < 0)
                return r;
        *ret_guard = take_ptr(g);
        return 0;
}

struct med_ntfs_guard *med_ntfs_guard_free(struct med_ntfs_guard *g)
{
        if (!g)
                return NULL;
        (void)pthread_mutex_lock(&g->lock);
        g->stop = true;
        (void)pthread_cond_signal(&g->wake);
        (void)pthread_mutex_unlock(&g->lock);
        (void)pthread_join(g->thread, NULL);
        (void)pthread_cond_destroy(&g->wake);
        (void)pthread_mutex_destroy(&g->lock);
        free(g);
        return NULL;
}

void med_ntfs_guard_enter(struct med_ntfs_guard *g)
{
        if (!g)
                return;
        g->reads = 0;
        atomic_fetch_add(&g->progress, 1);
        atomic_store(&g->inside, true);
}

void med_ntfs_guard_leave(struct med_ntfs_guard *g)
{
        if (!g)
                return;
        atomic_store(&g->inside, false);
        atomic_fetch_add(&g->progress, 1);
}

void med_ntfs_guard_outside(struct med_ntfs_guard *g)
{
        if (!g)
                return;
        atomic_store(&g->inside, g->reads >= MED_NTFS_GUARD_READS);
        if (g->reads < MED_NTFS_GUARD_READS) {
                g->reads++;
                atomic_fetch_add(&g->progress, 1);
        }
}

void med_ntfs_guard_inside(struct med_ntfs_guard *g)
{
        if (g)
                atomic_store(&g->inside, true);
}
