/* SPDX-License-Identifier: GPL-3.0-or-later */
/* stream - see stream.h. */
#include "uploader/stream.h"

#include <pthread.h>
#include <string.h>

#include "base/checked.h"
#include "crypto/md5multi.h"

#define PASSES_MAX         2u
#define THREAD_STACK_BYTES ((size_t)256 << 10)

struct upl_stream {
        struct upl_stream_options o; /* constant, as the three below */
        uint8_t md5[BTH_MD5_BYTES];
        void *ring; /* of the thread, which frees it; a slice lies at its number modulo four; the
                          thread writes what is free */
        pthread_t thread;

        pthread_mutex_t lock; /* over all below; nothing is locked while it is held */
        pthread_cond_t changed;
        struct upl_call *call;     /* NULL: none under way */
        unsigned attempt;          /* 0: none yet; grows when the body begins anew */
        uint64_t filled_bytes;     /* of this attempt: may be sent */
        uint64_t taken_bytes;      /* was sent */
        unsigned n_mismatches;     /* passes with another hash */
        bool mismatched, starving; /* of this attempt: it must fail; it waits for bytes */
        int fault;                 /* ends the call */
        bool stop;
};

static uint8_t *slot_of(const struct upl_stream *s, uint64_t at)
{
        return (uint8_t *)s->ring + at % UPL_STREAM_HELD_BYTES;
}

/* --- the body, on the client's thread --- */

static ssize_t body_read(void *userdata, void *buffer, size_t n)
{
        struct upl_stream *s = userdata;
        uint64_t from, ready, in_slice;
        int failed = 0;

        (void)pthread_mutex_lock(&s->lock);
        from = s->taken_bytes;
        ready = s->filled_bytes - from;
        if (ready == 0) {
                failed = s->fault < 0 ? s->fault : s->mismatched ? -EILSEQ : UPL_BODY_WAIT;
                s->starving = failed == UPL_BODY_WAIT;
        }
        (void)pthread_mutex_unlock(&s->lock);
        if (failed < 0)
                return failed;
        /* What is filled and not taken stays as it is; only this thread takes and begins anew. */
        in_slice = UPL_STREAM_SLICE_BYTES - from % UPL_STREAM_SLICE_BYTES;
        ready = MIN(ready, in_slice);
        n = (size_t)MIN(ready, (uint64_t)n);
        memcpy(buffer, slot_of(s, from), n);
        (void)pthread_mutex_lock(&s->lock);
        s->taken_bytes += n;
        (void)pthread_cond_signal(&s->changed);
        (void)pthread_mutex_unlock(&s->lock);
        return (ssize_t)n;
}

static int body_rewind(void *userdata)
{
        struct upl_stream *s = userdata;
        int r;

        (void)pthread_mutex_lock(&s->lock);
        r = s->fault;
        s->attempt++;
        s->filled_bytes = s->taken_bytes = 0;
        s->mismatched = s->starving = false;
        (void)pthread_cond_signal(&s->changed);
        (void)pthread_mutex_unlock(&s->lock);
        return r;
}

/* --- the thread that reads --- */

/* Called with the lock held. */
static void feed(struct upl_stream *s)
{
        if (s->starving && s->call)
                upl_client_resume(s->o.client, s->call);
        s->starving = false;
}

/* Waits until the slice at `at` has a free slot. False when this attempt is over. Called and left
 * with the lock held. */
static bool wait_for_room(struct upl_stream *s, unsigned attempt, uint64_t at, uint64_t n)
{
        while (!s->stop && s->attempt == attempt &&
               at + n - bth_align_down(s->taken_bytes, UPL_STREAM_SLICE_BYTES) >
                       UPL_STREAM_HELD_BYTES)
                (void)pthread_cond_wait(&s->changed, &s->lock);
        return !s->stop && s->attempt == attempt;
}

static int fill_slot(struct upl_stream *s, struct cry_md5 *md5, uint64_t at, uint64_t n)
{
        int r;

        upl_wait_begin(s->o.budget, UPL_WAIT_DISK);
        r = bth_source_read(s->o.content, s->o.offset_bytes + at, slot_of(s, at), (size_t)n);
        upl_wait_end(s->o.budget, UPL_WAIT_DISK);
        if (r < 0 || s->o.unchecked)
                return r;
        upl_wait_begin(s->o.budget, UPL_WAIT_CPU);
        upl_hasher_update(s->o.hasher, md5, slot_of(s, at), (size_t)n);
        upl_wait_end(s->o.budget, UPL_WAIT_CPU);
        return 0;
}

static bool hash_is_right(const struct upl_stream *s, const struct cry_md5 *md5)
{
        uint8_t found[BTH_MD5_BYTES];

        if (s->o.unchecked)
                return true;
        cry_md5_finish(md5, found);
        return memcmp(found, s->md5, BTH_MD5_BYTES) == 0;
}

/* What a slice came to, for the attempt that it was read for. Called with the lock held. */
static bool publish(struct upl_stream *s, const struct cry_md5 *md5, int result, uint64_t end)
{
        if (result == 0 && (end < s->o.length_bytes || hash_is_right(s, md5)))
                s->filled_bytes = end;
        else if (result == 0) {
                s->mismatched = true;
                if (++s->n_mismatches == PASSES_MAX)
                        s->fault = -EILSEQ;
        } else
                s->fault = result;
        feed(s);
        return !s->mismatched && s->fault == 0;
}

/* One pass over the content. Called and left with the lock held. */
static void read_pass(struct upl_stream *s, unsigned attempt)
{
        struct cry_md5 md5;
        uint64_t n;

        cry_md5_init(&md5);
        for (uint64_t at = 0; at < s->o.length_bytes; at += n) {
                int r;

                n = MIN(UPL_STREAM_SLICE_BYTES, s->o.length_bytes - at);
                if (!wait_for_room(s, attempt, at, n))
                        return;
                (void)pthread_mutex_unlock(&s->lock);
                r = fill_slot(s, &md5, at, n);
                (void)pthread_mutex_lock(&s->lock);
                if (s->stop || s->attempt != attempt || !publish(s, &md5, r, at + n))
                        return;
        }
}

static void *stream_thread(void *userdata)
{
        struct upl_stream *s = userdata;
        unsigned done = 0;

        (void)pthread_mutex_lock(&s->lock);
        while (!s->stop) {
                if (s->attempt == done)
                        (void)pthread_cond_wait(&s->changed, &s->lock);
                else {
                        done = s->attempt;
                        read_pass(s, done);
                }
        }
        (void)pthread_mutex_unlock(&s->lock);
        /* Not left to who frees the stream: he may be waiting for this very memory. */
        upl_budget_give_buffer(s->o.budget, UPL_STREAM_HELD_BYTES, s->ring);
        return NULL;
}

static int start_thread(struct upl_stream *s)
{
        pthread_attr_t attributes;
        int r = -pthread_attr_init(&attributes);

        if (r < 0)
                return r;
        r = -pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
        if (r == 0)
                r = -pthread_create(&s->thread, &attributes, stream_thread, s);
        (void)pthread_attr_destroy(&attributes);
        return r;
}

static int start(struct upl_stream *s)
{
        int r = -pthread_mutex_init(&s->lock, NULL);

        if (r < 0)
                return r;
        r = -pthread_cond_init(&s->changed, NULL);
        if (r == 0) {
                r = start_thread(s);
                if (r < 0)
                        (void)pthread_cond_destroy(&s->changed);
        }
        if (r < 0)
                (void)pthread_mutex_destroy(&s->lock);
        return r;
}

int upl_stream_new(const struct upl_stream_options *options, struct upl_stream **ret_stream)
{
        struct upl_stream *s;
        int r;

        if (options->length_bytes == 0 ||
            !bth_range_inside(options->offset_bytes, options->length_bytes,
                              options->content->size_bytes))
                return -EINVAL;
        s = calloc(1, sizeof *s);
        if (!s)
                return -ENOMEM;
        s->o = *options;
        memcpy(s->md5, options->md5, BTH_MD5_BYTES);
        s->o.md5 = s->md5;
        r = upl_budget_take_buffer(s->o.budget, UPL_STREAM_HELD_BYTES, &s->ring);
        if (r < 0) {
                free(s);
                return r;
        }
        r = start(s);
        if (r < 0) {
                upl_budget_give_buffer(s->o.budget, UPL_STREAM_HELD_BYTES, s->ring);
                free(s);
                return r;
        }
        *ret_stream = s;
        return 0;
}

struct upl_stream *upl_stream_free(struct upl_stream *s)
{
        if (!s)
                return NULL;
        (void)pthread_mutex_lock(&s->lock);
        s->stop = true;
        (void)pthread_cond_signal(&s->changed);
        (void)pthread_mutex_unlock(&s->lock);
        (void)pthread_join(s->thread, NULL);
        (void)pthread_cond_destroy(&s->changed);
        (void)pthread_mutex_destroy(&s->lock);
        free(s);
        return NULL;
}

void upl_stream_attach(struct upl_stream *s, struct upl_call *call)
{
        call->request.body = (struct upl_body){
                .length_bytes = s->o.length_bytes,
                .read = body_read,
        };
        call->request.rewind = body_rewind;
        call->request.userdata = s;
        (void)pthread_mutex_lock(&s->lock);
        s->call = call;
        (void)pthread_mutex_unlock(&s->lock);
}

void upl_stream_detach(struct upl_stream *s)
{
        (void)pthread_mutex_lock(&s->lock);
        s->call = NULL;
        s->stop = true;
        (void)pthread_cond_signal(&s->changed);
        (void)pthread_mutex_unlock(&s->lock);
}

int upl_stream_fault(struct upl_stream *s)
{
        int r;

        (void)pthread_mutex_lock(&s->lock);
        r = s->fault;
        (void)pthread_mutex_unlock(&s->lock);
        return r;
}
