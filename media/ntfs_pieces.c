/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs_pieces - see ntfs_pieces.h. */
#include "media/ntfs_pieces.h"

#include <pthread.h>
#include <string.h>

#define PIECE   ((uint64_t)MED_NTFS_PIECE_BYTES)
#define NOWHERE UINT64_MAX

struct piece {
        uint64_t number; /* of $MFT's pieces; NOWHERE: nothing is in it */
        uint64_t last_used;
        bool filling;   /* a thread reads it, without the lock */
        bool bad;       /* it cannot be read as a whole: not tried again for each of its records */
        uint8_t *bytes; /* PIECE; NULL until it is needed */
};

struct med_ntfs_pieces {
        pthread_mutex_t lock; /* over all below; nothing is locked while it is held */
        pthread_cond_t filled;
        uint64_t clock;
        struct piece pieces[MED_NTFS_PIECES];
};

struct med_ntfs_pieces *med_ntfs_pieces_new(void)
{
        struct med_ntfs_pieces *c = calloc(1, sizeof *c);

        if (!c)
                return NULL;
        if (pthread_mutex_init(&c->lock, NULL) != 0) {
                free(c);
                return NULL;
        }
        if (pthread_cond_init(&c->filled, NULL) != 0) {
                (void)pthread_mutex_destroy(&c->lock);
                free(c);
                return NULL;
        }
        for (size_t i = 0; i < MED_NTFS_PIECES; i++)
                c->pieces[i].number = NOWHERE;
        return c;
}

struct med_ntfs_pieces *med_ntfs_pieces_free(struct med_ntfs_pieces *c)
{
        if (!c)
                return NULL;
        for (size_t i = 0; i < MED_NTFS_PIECES; i++)
                free(c->pieces[i].bytes);
        (void)pthread_cond_destroy(&c->filled);
        (void)pthread_mutex_destroy(&c->lock);
        free(c);
        return NULL;
}

static struct piece *find(struct med_ntfs_pieces *c, uint64_t number)
{
        for (size_t i = 0; i < MED_NTFS_PIECES; i++)
                if (c->pieces[i].number == number)
                        return &c->pieces[i];
        return NULL;
}

/* The one that nobody needs for longest, with memory; NULL when there is none. */
static struct piece *make_room(struct med_ntfs_pieces *c)
{
        struct piece *oldest = NULL;

        for (size_t i = 0; i < MED_NTFS_PIECES; i++) {
                struct piece *p = &c->pieces[i];

                if (!p->filling && (!oldest || p->last_used < oldest->last_used))
                        oldest = p;
        }
        if (oldest && !oldest->bytes)
                oldest->bytes = bth_io_buffer_new(MED_NTFS_PIECE_BYTES);
        return oldest && oldest->bytes ? oldest : NULL;
}

/* Reads a piece; called and left with the lock held. Returns NULL when there is no room. */
static struct piece *fill(struct med_ntfs_pieces *c, struct bth_source *mft, uint64_t number)
{
        struct piece *p = make_room(c);
        int r;

        if (!p)
                return NULL;
        p->number = number;
        p->filling = true;
        (void)pthread_mutex_unlock(&c->lock);
        r = bth_source_read(mft, number * PIECE, p->bytes, MED_NTFS_PIECE_BYTES);
        (void)pthread_mutex_lock(&c->lock);
        p->filling = false;
        p->bad = r < 0;
        (void)pthread_cond_broadcast(&c->filled);
        return p;
}

static bool copy(struct med_ntfs_pieces *c, struct bth_source *mft, uint64_t offset_bytes,
                 void *buffer, size_t n)
{
        const uint64_t number = offset_bytes / PIECE;
        bool there = false;
        struct piece *p;

        (void)pthread_mutex_lock(&c->lock);
        while ((p = find(c, number)) && p->filling)
                (void)pthread_cond_wait(&c->filled, &c->lock);
        if (!p)
                p = fill(c, mft, number);
        if (p) {
                p->last_used = ++c->clock;
                there = !p->bad;
        }
        if (there)
                memcpy(buffer, p->bytes + offset_bytes % PIECE, n);
        (void)pthread_mutex_unlock(&c->lock);
        return there;
}

int med_ntfs_pieces_read(struct med_ntfs_pieces *c, struct bth_source *mft, uint64_t offset_bytes,
                         void *buffer, size_t n)
{
        /* The last piece of a table, or $MFT while its own runs are still being gathered. */
        bool whole = (offset_bytes / PIECE + 1) * PIECE <= mft->size_bytes;

        if (whole && copy(c, mft, offset_bytes, buffer, n))
                return 0;
        return bth_source_read(mft, offset_bytes, buffer, n);
}
