/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ahead - see ahead.h. */
#include "base/ahead.h"

#include <pthread.h>
#include <string.h>

#define WINDOW      BTH_AHEAD_WINDOW_BYTES
#define PLACE_BYTES 1024u /* what is served once: a record of a file table, or a part of a file */
#define PLACES      (WINDOW / PLACE_BYTES)
#define TOUCHED     128u /* windows that were read from lately, without being in memory */
#define NO_WINDOW   UINT64_MAX
#define WORD_BITS   64u

struct window {
        uint64_t number; /* of the source's windows; NO_WINDOW: nothing is in it */
        uint64_t last_used;
        unsigned users; /* threads that copy from it */
        bool filling;   /* a thread reads it from below */
        uint64_t served[PLACES / WORD_BITS];
        uint8_t *data; /* WINDOW bytes; NULL until it is needed */
};

struct ahead {
        struct bth_source base;
        struct bth_source *below;
        pthread_mutex_t lock; /* over all below; nothing is locked while it is held */
        pthread_cond_t filled;
        uint64_t clock;
        uint64_t touched[TOUCHED]; /* a ring */
        size_t next_touched;
        struct window windows[BTH_AHEAD_WINDOWS];
};

static struct window *find(struct ahead *a, uint64_t number)
{
        for (size_t i = 0; i < ARRAY_SIZE(a->windows); i++)
                if (a->windows[i].number == number)
                        return &a->windows[i];
        return NULL;
}

/* The first read of a window only leaves its number here: it may stay the only one. */
static bool was_touched(struct ahead *a, uint64_t number)
{
        for (size_t i = 0; i < TOUCHED; i++)
                if (a->touched[i] == number)
                        return true;
        a->touched[a->next_touched] = number;
        a->next_touched = (a->next_touched + 1) % TOUCHED;
        return false;
}

/* Was most of the window before served, as somebody does who reads one file after the other? */
static bool follows(struct ahead *a, uint64_t number)
{
        const struct window *before = number > 0 ? find(a, number - 1) : NULL;
        unsigned n_served = 0;

        if (!before || before->filling)
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(before->served); i++)
                n_served += (unsigned)__builtin_popcountll(before->served[i]);
        return n_served >= PLACES / 2;
}

/* The one that nobody needs for longest, with memory; NULL when there is none. */
static struct window *make_room(struct ahead *a)
{
        struct window *oldest = NULL;

        for (size_t i = 0; i < ARRAY_SIZE(a->windows); i++) {
                struct window *w = &a->windows[i];

                if (w->users == 0 && !w->filling && (!oldest || w->last_used < oldest->last_used))
                        oldest = w;
        }
        if (oldest && !oldest->data)
                oldest->data = bth_io_buffer_new(WINDOW);
        return oldest && oldest->data ? oldest : NULL;
}

/* Reads a window from below; called and left with the lock held. Returns NULL when it cannot be. */
static struct window *fill(struct ahead *a, uint64_t number)
{
        struct window *w = make_room(a);
        uint64_t start = number * WINDOW;
        int r;

        if (!w)
                return NULL;
        w->number = number;
        w->filling = true;
        memset(w->served, 0, sizeof w->served);
        (void)pthread_mutex_unlock(&a->lock);
        r = bth_source_read(a->below, start, w->data,
                            (size_t)MIN((uint64_t)WINDOW, a->base.size_bytes - start));
        (void)pthread_mutex_lock(&a->lock);
        w->filling = false;
        if (r < 0)
                w->number = NO_WINDOW;
        (void)pthread_cond_broadcast(&a->filled);
        return r < 0 ? NULL : w;
}

/* Marks the places of a read; false when one was served before. */
static bool take_places(struct window *w, size_t offset, size_t length)
{
        size_t first = offset / PLACE_BYTES, last = (offset + length - 1) / PLACE_BYTES;

        for (size_t i = first; i <= last; i++)
                if (w->served[i / WORD_BITS] >> (i % WORD_BITS) & 1)
                        return false;
        for (size_t i = first; i <= last; i++)
                w->served[i / WORD_BITS] |= UINT64_C(1) << (i % WORD_BITS);
        return true;
}

/* The window that serves a read, with one user more; NULL: to be read from below. */
static struct window *window_for(struct ahead *a, uint64_t number, size_t offset, size_t length)
{
        struct window *w;

        (void)pthread_mutex_lock(&a->lock);
        while ((w = find(a, number)) && w->filling)
                (void)pthread_cond_wait(&a->filled, &a->lock);
        if (!w && (was_touched(a, number) || follows(a, number)))
                w = fill(a, number);
        if (w && !take_places(w, offset, length))
                w = NULL;
        if (w) {
                w->users++;
                w->last_used = ++a->clock;
        }
        (void)pthread_mutex_unlock(&a->lock);
        return w;
}

static int ahead_read(struct bth_source *s, uint64_t offset_bytes, void *buffer,
                      size_t length_bytes)
{
        struct ahead *a = container_of(s, struct ahead, base);
        uint64_t number = offset_bytes / WINDOW;
        size_t offset = (size_t)(offset_bytes % WINDOW);
        struct window *w = NULL;

        if (length_bytes <= BTH_AHEAD_SMALL_BYTES && offset + length_bytes <= WINDOW)
                w = window_for(a, number, offset, length_bytes);
        if (!w)
                return bth_source_read(a->below, offset_bytes, buffer, length_bytes);
        memcpy(buffer, w->data + offset, length_bytes);
        (void)pthread_mutex_lock(&a->lock);
        w->users--;
        (void)pthread_mutex_unlock(&a->lock);
        return 0;
}

/* Who hands over many pieces at once has them read at once already. */
static int ahead_read_many(struct bth_source *s, struct bth_read *reads, size_t n_reads)
{
        return bth_source_read_many(container_of(s, struct ahead, base)->below, reads, n_reads);
}

static void ahead_free(struct bth_source *s)
{
        struct ahead *a = container_of(s, struct ahead, base);

        for (size_t i = 0; i < ARRAY_SIZE(a->windows); i++)
                free(a->windows[i].data);
        (void)pthread_cond_destroy(&a->filled);
        (void)pthread_mutex_destroy(&a->lock);
        free(a);
}

int bth_source_new_ahead(struct bth_source *below, struct bth_source **ret_source)
{
        static const struct bth_source_ops ops = {
                .read = ahead_read,
                .read_many = ahead_read_many,
                .free = ahead_free,
        };
        struct ahead *a = calloc(1, sizeof *a);

        if (!a)
                return -ENOMEM;
        if (pthread_mutex_init(&a->lock, NULL) != 0) {
                free(a);
                return -ENOMEM;
        }
        if (pthread_cond_init(&a->filled, NULL) != 0) {
                (void)pthread_mutex_destroy(&a->lock);
                free(a);
                return -ENOMEM;
        }
        a->base = *below;
        a->base.ops = &ops;
        a->below = below;
        for (size_t i = 0; i < ARRAY_SIZE(a->windows); i++)
                a->windows[i].number = NO_WINDOW;
        for (size_t i = 0; i < TOUCHED; i++)
                a->touched[i] = NO_WINDOW;
        *ret_source = &a->base;
        return 0;
}
