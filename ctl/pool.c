/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/pool.h"

#include <pthread.h>

#include "base/source.h"

#define THREADS_MAX 64u

struct entry {
        ctl_pool_job job;
        void *userdata;
};

struct ctl_pool {
        pthread_mutex_t lock;
        pthread_cond_t work, room, idle;
        struct entry *queue; /* a ring */
        size_t queue_max, first, n;
        size_t scratch_bytes;
        unsigned n_busy, n_threads;
        bool stop;
        pthread_t threads[THREADS_MAX];
};

static bool take(struct ctl_pool *p, struct entry *ret)
{
        while (p->n == 0 && !p->stop)
                pthread_cond_wait(&p->work, &p->lock);
        if (p->n == 0)
                return false;
        *ret = p->queue[p->first];
        p->first = (p->first + 1) % p->queue_max;
        p->n--;
        p->n_busy++;
        pthread_cond_signal(&p->room);
        return true;
}

static void *run(void *userdata)
{
        struct ctl_pool *p = userdata;
        void *scratch = bth_io_buffer_new(p->scratch_bytes);
        struct entry e;

        pthread_mutex_lock(&p->lock);
        while (take(p, &e)) {
                pthread_mutex_unlock(&p->lock);
                e.job(e.userdata, scratch);
                pthread_mutex_lock(&p->lock);
                p->n_busy--;
                if (p->n == 0 && p->n_busy == 0)
                        pthread_cond_broadcast(&p->idle);
        }
        pthread_mutex_unlock(&p->lock);
        free(scratch);
        return NULL;
}

int ctl_pool_new(unsigned n_threads, size_t queue_max, size_t scratch_bytes,
                 struct ctl_pool **ret_pool)
{
        struct ctl_pool *p = calloc(1, sizeof *p);
        long processors = sysconf(_SC_NPROCESSORS_ONLN);

        if (!p)
                return -ENOMEM;
        pthread_mutex_init(&p->lock, NULL);
        pthread_cond_init(&p->work, NULL);
        pthread_cond_init(&p->room, NULL);
        pthread_cond_init(&p->idle, NULL);
        p->queue = calloc(queue_max, sizeof *p->queue);
        p->queue_max = queue_max;
        p->scratch_bytes = scratch_bytes;
        if (n_threads == 0)
                n_threads = (unsigned)MAX(processors, 2L);
        n_threads = MIN(n_threads, THREADS_MAX);
        for (int r = p->queue ? 0 : ENOMEM; p->n_threads < n_threads; p->n_threads++) {
                if (r == 0)
                        r = pthread_create(&p->threads[p->n_threads], NULL, run, p);
                if (r != 0) {
                        (void)ctl_pool_free(p);
                        return -r;
                }
        }
        *ret_pool = p;
        return 0;
}

void ctl_pool_submit(struct ctl_pool *p, ctl_pool_job job, void *userdata)
{
        pthread_mutex_lock(&p->lock);
        while (p->n == p->queue_max)
                pthread_cond_wait(&p->room, &p->lock);
        p->queue[(p->first + p->n) % p->queue_max] = (struct entry){ job, userdata };
        p->n++;
        pthread_cond_signal(&p->work);
        pthread_mutex_unlock(&p->lock);
}

void ctl_pool_drain(struct ctl_pool *p)
{
        pthread_mutex_lock(&p->lock);
        while (p->n > 0 || p->n_busy > 0)
                pthread_cond_wait(&p->idle, &p->lock);
        pthread_mutex_unlock(&p->lock);
}

struct ctl_pool *ctl_pool_free(struct ctl_pool *p)
{
        if (!p)
                return NULL;
        pthread_mutex_lock(&p->lock);
        p->stop = true;
        pthread_cond_broadcast(&p->work);
        pthread_mutex_unlock(&p->lock);
        for (unsigned i = 0; i < p->n_threads; i++)
                (void)pthread_join(p->threads[i], NULL);
        pthread_cond_destroy(&p->idle);
        pthread_cond_destroy(&p->room);
        pthread_cond_destroy(&p->work);
        pthread_mutex_destroy(&p->lock);
        free(p->queue);
        free(p);
        return NULL;
}
