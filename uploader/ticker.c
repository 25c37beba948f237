/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ticker - see ticker.h. */
#include "uploader/ticker.h"

#include <pthread.h>
#include <time.h>

#include "base/time.h"

struct upl_ticker {
        uint64_t (*tick)(void *userdata);
        void *userdata;
        pthread_t thread;
        pthread_mutex_t lock; /* over the three below; nothing is locked while it is held */
        pthread_cond_t changed;
        uint64_t due_usec; /* by the monotonic clock */
        bool stop;
};

static void *ticker_thread(void *userdata)
{
        struct upl_ticker *t = userdata;

        (void)pthread_mutex_lock(&t->lock);
        while (!t->stop) {
                struct timespec until = {
                        .tv_sec = (time_t)(t->due_usec / BTH_USEC_PER_SEC),
                        .tv_nsec = (long)(t->due_usec % BTH_USEC_PER_SEC * 1000),
                };
                uint64_t again;

                if (bth_now_monotonic_usec() < t->due_usec) {
                        (void)pthread_cond_timedwait(&t->changed, &t->lock, &until);
                        continue;
                }
                t->due_usec = UINT64_MAX / 2;
                (void)pthread_mutex_unlock(&t->lock);
                again = t->tick(t->userdata);
                (void)pthread_mutex_lock(&t->lock);
                /* A kick that came meanwhile has made it due already. */
                t->due_usec = MIN(t->due_usec, bth_now_monotonic_usec() + again);
        }
        (void)pthread_mutex_unlock(&t->lock);
        return NULL;
}

static int init_waiting(struct upl_ticker *t)
{
        pthread_condattr_t attributes;
        int r = -pthread_condattr_init(&attributes);

        if (r < 0)
                return r;
        (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        r = -pthread_cond_init(&t->changed, &attributes);
        (void)pthread_condattr_destroy(&attributes);
        if (r < 0)
                return r;
        r = -pthread_mutex_init(&t->lock, NULL);
        if (r < 0)
                (void)pthread_cond_destroy(&t->changed);
        return r;
}

int upl_ticker_new(uint64_t (*tick)(void *userdata), void *userdata, uint64_t first_usec,
                   struct upl_ticker **ret_ticker)
{
        struct upl_ticker *t = calloc(1, sizeof *t);
        int r;

        if (!t)
                return -ENOMEM;
        t->tick = tick;
        t->userdata = userdata;
        t->due_usec = bth_now_monotonic_usec() + first_usec;
        r = init_waiting(t);
        if (r == 0) {
                r = -pthread_create(&t->thread, NULL, ticker_thread, t);
                if (r < 0) {
                        (void)pthread_cond_destroy(&t->changed);
                        (void)pthread_mutex_destroy(&t->lock);
                }
        }
        if (r < 0) {
                free(t);
                return r;
        }
        *ret_ticker = t;
        return 0;
}

void upl_ticker_kick(struct upl_ticker *t)
{
        (void)pthread_mutex_lock(&t->lock);
        t->due_usec = 0;
        (void)pthread_cond_signal(&t->changed);
        (void)pthread_mutex_unlock(&t->lock);
}

struct upl_ticker *upl_ticker_free(struct upl_ticker *t)
{
        if (!t)
                return NULL;
        (void)pthread_mutex_lock(&t->lock);
        t->stop = true;
        (void)pthread_cond_signal(&t->changed);
        (void)pthread_mutex_unlock(&t->lock);
        (void)pthread_join(t->thread, NULL);
        (void)pthread_cond_destroy(&t->changed);
        (void)pthread_mutex_destroy(&t->lock);
        free(t);
        return NULL;
}
