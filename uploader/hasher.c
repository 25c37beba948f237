/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hasher - see hasher.h. */
#include "uploader/hasher.h"

#include <pthread.h>

#define BATCH_MAX 32u

struct ticket {
        struct ticket *next;
        struct cry_md5 *md5;
        const void *data;
        size_t length_bytes;
        bool done;
};

struct upl_hasher {
        pthread_mutex_t lock; /* over all below; nothing is locked while it is held */
        pthread_cond_t changed;
        struct ticket *waiting;
        bool busy; /* a thread hashes a batch, without the lock */
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
        struct ticket *batch[BATCH_MAX];
        struct cry_md5_job jobs[BATCH_MAX];
        size_t n = 0;

        for (; h->waiting && n < BATCH_MAX; n++) {
                batch[n] = h->waiting;
                h->waiting = batch[n]->next;
                jobs[n] = (struct cry_md5_job){ batch[n]->md5, batch[n]->data,
                                                batch[n]->length_bytes };
        }
        h->busy = true;
        (void)pthread_mutex_unlock(&h->lock);
        cry_md5_update_many(jobs, n);
        (void)pthread_mutex_lock(&h->lock);
        h->busy = false;
        for (size_t i = 0; i < n; i++)
                batch[i]->done = true;
        (void)pthread_cond_broadcast(&h->changed);
}

void upl_hasher_update(struct upl_hasher *h, struct cry_md5 *md5, const void *data, size_t n)
{
        struct ticket t = { .md5 = md5, .data = data, .length_bytes = n };

        (void)pthread_mutex_lock(&h->lock);
        t.next = h->waiting;
        h->waiting = &t;
        while (!t.done) {
                if (h->busy)
                        (void)pthread_cond_wait(&h->changed, &h->lock);
                else
                        hash_batch(h);
        }
        (void)pthread_mutex_unlock(&h->lock);
}

void upl_hasher_md5(struct upl_hasher *h, const void *data, size_t n,
                    uint8_t ret_md5[BTH_MD5_BYTES])
{
        struct cry_md5 md5;

        cry_md5_init(&md5);
        upl_hasher_update(h, &md5, data, n);
        cry_md5_finish(&md5, ret_md5);
}
