/* SPDX-License-Identifier: GPL-3.0-or-later */
/* limit - see limit.h. */
#include "uploader/limit.h"

#include <pthread.h>

#include "base/time.h"

/* Tokens for a quarter of a second are kept at most: idle time must not become a burst. */
#define BURST_USEC (BTH_USEC_PER_SEC / 4)
/* Handing out single bytes would cost more than it saves. */
#define CHUNK_BYTES 4096u

struct upl_limit {
        pthread_mutex_t lock; /* over all below; nothing is locked while it is held */
        uint64_t bytes_per_sec;
        uint64_t tokens_bytes;
        uint64_t remainder; /* of the division by a million, so that slow caps lose nothing */
        uint64_t last_usec;
        bool started;
};

int upl_limit_new(uint64_t bytes_per_sec, struct upl_limit **ret_limit)
{
        struct upl_limit *l = calloc(1, sizeof *l);

        if (!l)
                return -ENOMEM;
        if (pthread_mutex_init(&l->lock, NULL) != 0) {
                free(l);
                return -ENOMEM;
        }
        l->bytes_per_sec = bytes_per_sec;
        *ret_limit = l;
        return 0;
}

struct upl_limit *upl_limit_free(struct upl_limit *l)
{
        if (!l)
                return NULL;
        (void)pthread_mutex_destroy(&l->lock);
        free(l);
        return NULL;
}

void upl_limit_set(struct upl_limit *l, uint64_t bytes_per_sec)
{
        (void)pthread_mutex_lock(&l->lock);
        l->bytes_per_sec = bytes_per_sec;
        l->remainder = 0;
        (void)pthread_mutex_unlock(&l->lock);
}

static uint64_t burst_bytes(const struct upl_limit *l)
{
        return MAX((uint64_t)(l->bytes_per_sec / (BTH_USEC_PER_SEC / BURST_USEC)),
                   (uint64_t)CHUNK_BYTES);
}

static void refill(struct upl_limit *l, uint64_t now_usec)
{
        uint64_t passed = now_usec > l->last_usec ? now_usec - l->last_usec : 0;
        __uint128_t earned;

        if (!l->started) {
                l->started = true;
                passed = 0;
        }
        l->last_usec = MAX(now_usec, l->last_usec);
        earned = (__uint128_t)passed * l->bytes_per_sec + l->remainder;
        l->remainder = (uint64_t)(earned % BTH_USEC_PER_SEC);
        earned = earned / BTH_USEC_PER_SEC + l->tokens_bytes;
        l->tokens_bytes = earned > burst_bytes(l) ? burst_bytes(l) : (uint64_t)earned;
}

/* The least that is handed out, unless less is wanted. */
static uint64_t least_bytes(const struct upl_limit *l, uint64_t want_bytes)
{
        uint64_t most = MIN(burst_bytes(l), (uint64_t)CHUNK_BYTES);

        return MIN(want_bytes, most);
}

uint64_t upl_limit_take(struct upl_limit *l, uint64_t want_bytes, uint64_t now_usec)
{
        uint64_t granted = want_bytes;

        (void)pthread_mutex_lock(&l->lock);
        if (l->bytes_per_sec > 0) {
                refill(l, now_usec);
                granted = MIN(want_bytes, l->tokens_bytes);
                if (granted < least_bytes(l, want_bytes))
                        granted = 0;
                l->tokens_bytes -= granted;
        }
        (void)pthread_mutex_unlock(&l->lock);
        return granted;
}

bool upl_limit_take_all(struct upl_limit *l, uint64_t want_bytes, uint64_t now_usec)
{
        bool granted = true;

        (void)pthread_mutex_lock(&l->lock);
        if (l->bytes_per_sec > 0) {
                refill(l, now_usec);
                granted = want_bytes <= l->tokens_bytes;
                if (granted)
                        l->tokens_bytes -= want_bytes;
        }
        (void)pthread_mutex_unlock(&l->lock);
        return granted;
}

uint64_t upl_limit_wait_usec(struct upl_limit *l, uint64_t now_usec)
{
        uint64_t wait = 0;

        (void)pthread_mutex_lock(&l->lock);
        if (l->bytes_per_sec > 0) {
                refill(l, now_usec);
                if (l->tokens_bytes < CHUNK_BYTES)
                        wait = (CHUNK_BYTES - l->tokens_bytes) * BTH_USEC_PER_SEC /
                                       l->bytes_per_sec +
                               1;
        }
        (void)pthread_mutex_unlock(&l->lock);
        return wait;
}
