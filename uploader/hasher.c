/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hasher - see hasher.h. */
#include "uploader/hasher.h"

#include <assert.h>
#include <pthread.h>

#define BATCH_MAX 32u
#define LANES     16u

struct ticket {
        struct ticket *next;
        struct cry_md5_job *jobs;
        size_t n_jobs;
        bool done;
};

struct upl_hasher {
        pthread_mutex_t lock; /* over all below; nothing is locked while it is held */
        pthread_cond_t changed;
        struct ticket *waiting;
        size_t n_waiting;  /* jobs of these */
        unsigned n_coming; /* threads that read and will be here soon */
        bool busy;         /* a thread hashes a batch, without the lock */
};

int upl_hasher_new(struct upl_hasher **ret_hasher)
{
        struct upl_hasher *h = calloc(1, sizeof *h);

        if (!h)
                return -ENOMEM;
        if (pthread_mutex_init(&h->lock, NULL) != 0) {
                free(h);
                return -ENOMEM;
        }
        if (pthread_cond_init(&h->changed, NULL) != 0) {
                (void)pthread_mutex_destroy(&h->lock);
                free(h);
                return -ENOMEM;
        }
        *ret_hasher = h;
        return 0;
}

struct upl_hasher *upl_hasher_free(struct upl_hasher *h)
{
        if (!h)
                return NULL;
        (void)pthread_cond_destroy(&h->changed);
        (void)pthread_mutex_destroy(&h->lock);
        free(h);
        return NULL;
}

/* Hashes what waits; called and left with the lock held. */
static void hash_batch(struct upl_hasher *h)
{
        struct cry_md5_job jobs[BATCH_MAX];
        struct ticket *batch = NULL;
        size_t n = 0;

        while (h->waiting && (n == 0 || n + h->waiting->n_jobs <= BATCH_MAX)) {
                struct ticket *t = h->waiting;

                h->waiting = t->next;
                t->next = batch;
                batch = t;
                for (size_t i = 0; i < t->n_jobs; i++)
                        jobs[n++] = t->jobs[i];
        }
        h->n_waiting -= n;
        h->busy = true;
        (void)pthread_mutex_unlock(&h->lock);
        cry_md5_update_many(jobs, n);
        (void)pthread_mutex_lock(&h->lock);
        h->busy = false;
        for (struct ticket *t = batch, *next; t; t = next) {
                next = t->next;
                t->done = true;
        }
        (void)pthread_cond_broadcast(&h->changed);
}

void upl_hasher_expect(struct upl_hasher *h)
{
        (void)pthread_mutex_lock(&h->lock);
        h->n_coming++;
        (void)pthread_mutex_unlock(&h->lock);
}

/* Called with the lock held. */
static void arrive(struct upl_hasher *h)
{
        assert(h->n_coming > 0);
        if (--h->n_coming == 0)
                (void)pthread_cond_broadcast(&h->changed);
}

void upl_hasher_expect_no_more(struct upl_hasher *h)
{
        (void)pthread_mutex_lock(&h->lock);
        arrive(h);
        (void)pthread_mutex_unlock(&h->lock);
}

/* Half-empty lanes cost as much as full ones: worth waiting for who is on the way. */
static bool is_time(const struct upl_hasher *h)
{
        return !h->busy && (h->n_waiting >= LANES || h->n_coming == 0);
}

static void hash_many(struct upl_hasher *h, struct cry_md5_job *jobs, size_t n, bool expected)
{
        struct ticket t = { .jobs = jobs, .n_jobs = n };

        assert(n <= BATCH_MAX);
        (void)pthread_mutex_lock(&h->lock);
        t.next = h->waiting;
        h->waiting = &t;
        h->n_waiting += n;
        if (expected)
                arrive(h);
        while (!t.done) {
                if (is_time(h))
                        hash_batch(h);
                else
                        (void)pthread_cond_wait(&h->changed, &h->lock);
        }
        (void)pthread_mutex_unlock(&h->lock);
}

void upl_hasher_expected(struct upl_hasher *h, struct cry_md5_job *jobs, size_t n)
{
        hash_many(h, jobs, n, true);
}

void upl_hasher_update(struct upl_hasher *h, struct cry_md5 *md5, const void *data, size_t n)
{
        struct cry_md5_job job = { md5, data, n };

        hash_many(h, &job, 1, false);
}

void upl_hasher_md5(struct upl_hasher *h, const void *data, size_t n,
                    uint8_t ret_md5[BTH_MD5_BYTES])
{
        struct cry_md5 md5;

        cry_md5_init(&md5);
        upl_hasher_update(h, &md5, data, n);
        cry_md5_finish(&md5, ret_md5);
}
