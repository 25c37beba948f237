/* SPDX-License-Identifier: GPL-3.0-or-later */
/* block - alignment, rings, and what an error means. */
#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/checked.h"
#include "base/time.h"
#include "hal/block.h"
#include "hal/block_shape.h"

#define REQUEST_BYTES ((size_t)1 << 20) /* larger reads are cut, so that several are in flight */
#define RING_DEPTH    32
#define RINGS_MAX     16 /* idle rings kept for the next reader */
#define VANISH_USEC   (10 * BTH_USEC_PER_SEC)
#define BOUNCE_BYTES  ((size_t)64 << 10)

struct ring {
        struct io_uring uring;
        struct ring *next;
};

struct block {
        struct bth_source base;
        int fd;
        bool own;
        bool direct;
        struct hal_block_watch watch;
        _Atomic bool uring;   /* turned off when the kernel refuses it */
        pthread_mutex_t lock; /* of idle rings */
        struct ring *idle;
        unsigned n_idle;
        _Atomic uint64_t requests, bytes, backward, last_end;
};

static struct block *block_of(struct bth_source *s)
{
        return container_of(s, struct block, base);
}

/* -- rings
 * ------------------------------------------------------------------------------------------- */

/* A ring serves one read at a time; threads take one from the pool or make it. */
static struct ring *take_ring(struct block *b)
{
        struct ring *r;

        pthread_mutex_lock(&b->lock);
        r = b->idle;
        if (r) {
                b->idle = r->next;
                b->n_idle--;
        }
        pthread_mutex_unlock(&b->lock);
        if (r)
                return r;
        r = calloc(1, sizeof *r);
        if (r && io_uring_queue_init(RING_DEPTH, &r->uring, 0) < 0) {
                /* Not permitted here (seccomp, sysctl) or no memory to lock: pread does it. */
                free(r);
                atomic_store(&b->uring, false);
                return NULL;
        }
        return r;
}

static void give_ring(struct block *b, struct ring *r)
{
        pthread_mutex_lock(&b->lock);
        if (b->n_idle < RINGS_MAX) {
                r->next = b->idle;
                b->idle = r;
                b->n_idle++;
                r = NULL;
        }
        pthread_mutex_unlock(&b->lock);
        if (r) {
                io_uring_queue_exit(&r->uring);
                free(r);
        }
}

/* -- requests
 * ---------------------------------------------------------------------------------------- */

/* One request: part of a piece of the caller's batch. */
struct request {
        struct bth_read *owner;
        uint64_t offset;
        uint8_t *buffer;
        size_t length;
};

static void count(struct block *b, uint64_t offset, size_t length)
{
        uint64_t end = atomic_exchange(&b->last_end, offset + length);

        atomic_fetch_add(&b->requests, 1);
        atomic_fetch_add(&b->bytes, length);
        if (offset < end)
                atomic_fetch_add(&b->backward, 1);
}

/* The last request of a file that ends inside a block asks for the whole block and gets what there
 * is. */
static size_t needed(const struct block *b, uint64_t offset, size_t length)
{
        return (size_t)MIN((uint64_t)length, b->base.size_bytes - offset);
}

/* pread(2) to the end of the request, of which `got` bytes are there. The kernel reads short in
 * front of a bad place, and the read that begins there tells what is wrong. O_DIRECT may not begin
 * there: then the size tells a drive that went from one that cannot read. */
static int read_plain(struct block *b, uint64_t offset, uint8_t *buffer, size_t length, size_t got)
{
        const size_t need = needed(b, offset, length);

        while (got < need) {
                ssize_t n = pread(b->fd, buffer + got, length - got, (off_t)(offset + got));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EINVAL && got > 0)
                        return hal_block_is_whole(b->fd, b->base.size_bytes) ? -EIO : -ENODEV;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return -ENODEV; /* inside the size that was: the drive is gone */
                got += (size_t)n;
        }
        return 0;
}

static void settle(struct request *q, int r)
{
        if (r < 0 && q->owner->result == 0)
                q->owner->result = r;
}

/* The next request of a batch: pieces in order, each cut. Returns false at the end. */
struct cursor {
        struct bth_read *reads;
        size_t n, at;
        size_t done; /* of reads[at] */
};

static bool next_request(struct cursor *c, struct request *ret)
{
        struct bth_read *q;

        while (c->at < c->n && c->done == c->reads[c->at].length_bytes) {
                c->at++;
                c->done = 0;
        }
        if (c->at == c->n)
                return false;
        q = &c->reads[c->at];
        *ret = (struct request){ q, q->offset_bytes + c->done, (uint8_t *)q->buffer + c->done,
                                 MIN(q->length_bytes - c->done, REQUEST_BYTES) };
        c->done += ret->length;
        return true;
}

static void run_plain(struct block *b, struct cursor *c)
{
        struct request q;

        while (next_request(c, &q)) {
                count(b, q.offset, q.length);
                settle(&q, read_plain(b, q.offset, q.buffer, q.length, 0));
        }
}

/* A request came back. Short ones are finished by hand: they are rare, and mostly bad news. */
static void complete(struct block *b, struct request *q, int result)
{
        if (result == -EINTR || result == -EAGAIN)
                result = 0;
        if (result < 0)
                settle(q, result);
        else
                settle(q, read_plain(b, q->offset, q->buffer, q->length, (size_t)result));
}

/* Waits for `n` requests whose buffers somebody wants to use again. */
static void drain(struct ring *ring, unsigned n)
{
        while (n > 0) {
                struct io_uring_cqe *cqe;
                int r = io_uring_wait_cqe(&ring->uring, &cqe);

                if (r == -EINTR)
                        continue;
                if (r < 0)
                        return;
                io_uring_cqe_seen(&ring->uring, cqe);
                n--;
        }
}

/* Keeps the ring full until the batch is done. Every request that was submitted is waited for. */
static int run_ring(struct block *b, struct ring *ring, struct cursor *c)
{
        struct request slots[RING_DEPTH];
        unsigned free_slots[RING_DEPTH], n_free = RING_DEPTH, in_flight = 0;
        bool more = true;
        int r = 0;

        for (unsigned i = 0; i < RING_DEPTH; i++)
                free_slots[i] = i;
        while (more || in_flight > 0) {
                struct io_uring_cqe *cqe;
                unsigned slot;

                while (more && n_free > 0 && r == 0) {
                        struct io_uring_sqe *sqe;

                        slot = free_slots[n_free - 1];
                        more = next_request(c, &slots[slot]);
                        if (!more)
                                break;
                        sqe = io_uring_get_sqe(&ring->uring); /* there are as many as slots */
                        io_uring_prep_read(sqe, b->fd, slots[slot].buffer,
                                           (unsigned)slots[slot].length, slots[slot].offset);
                        io_uring_sqe_set_data64(sqe, slot);
                        count(b, slots[slot].offset, slots[slot].length);
                        n_free--;
                        in_flight++;
                }
                if (in_flight == 0)
                        break;
                r = io_uring_submit_and_wait(&ring->uring, 1);
                if (r < 0 && r != -EINTR) {
                        drain(ring, in_flight - MIN(in_flight, io_uring_sq_ready(&ring->uring)));
                        return r;
                }
                r = 0;
                while (io_uring_peek_cqe(&ring->uring, &cqe) == 0) {
                        slot = (unsigned)io_uring_cqe_get_data64(cqe);
                        complete(b, &slots[slot], cqe->res);
                        io_uring_cqe_seen(&ring->uring, cqe);
                        free_slots[n_free++] = slot;
                        in_flight--;
                }
        }
        return 0;
}

/* Reads pieces that need no bounce buffer. */
static void run_batch(struct block *b, struct bth_read *reads, size_t n)
{
        struct cursor c = { .reads = reads, .n = n };
        struct ring *ring = NULL;

        /* One small read gains nothing from a ring. */
        if (atomic_load(&b->uring) && (n > 1 || (n == 1 && reads[0].length_bytes > REQUEST_BYTES)))
                ring = take_ring(b);
        if (!ring) {
                run_plain(b, &c);
                return;
        }
        if (run_ring(b, ring, &c) < 0) {
                /* The ring is in an unknown state: what is not settled is read again without it. */
                io_uring_queue_exit(&ring->uring);
                free(ring);
                atomic_store(&b->uring, false);
                for (size_t i = 0; i < n; i++)
                        reads[i].result = 0;
                c = (struct cursor){ .reads = reads, .n = n };
                run_plain(b, &c);
                return;
        }
        give_ring(b, ring);
}

/* -- alignment
 * --------------------------------------------------------------------------------------- */

static bool is_aligned(const struct block *b, const struct bth_read *q)
{
        return !b->direct ||
               (((q->offset_bytes | q->length_bytes) & (b->base.logical_block_bytes - 1)) == 0 &&
                ((uintptr_t)q->buffer & (b->base.memory_align_bytes - 1)) == 0);
}

/* A piece that does not lie on blocks. Its whole blocks are read into the caller's own memory, at
 * the first aligned place there, and moved; only what lies before and behind them is bounced:
 *
 *     piece        |  head  | whole blocks ................ |  tail  |
 *     memory       |..| whole blocks ................ |..............|   then moved up by `moved`
 *
 * A small piece is bounced as a whole. Lengths that are 0 are not read. */
struct split {
        struct bth_read *piece;
        struct bth_read head, middle, tail;
        size_t head_use, tail_use; /* bytes that the piece gets of them */
        size_t head_skip;          /* bytes of head in front of the piece */
        ptrdiff_t moved;           /* where the middle belongs, from where it was read */
};

#define SPLIT_PARTS 3
#define SPLITS_MAX  32 /* pieces that are bounced at once */

static void split_piece(const struct block *b, struct bth_read *q, struct split *ret)
{
        const uint64_t unit = b->base.logical_block_bytes, align = b->base.memory_align_bytes;
        const uint64_t end = q->offset_bytes + q->length_bytes;
        const uint64_t start = bth_align_down(q->offset_bytes, unit);
        uint64_t first = start, last = bth_align_down(end, unit);
        struct split s = { .piece = q, .head_skip = (size_t)(q->offset_bytes - start) };
        uint8_t *place;

        if (first < q->offset_bytes)
                first += unit;
        place = (uint8_t *)(((uintptr_t)q->buffer + align - 1) & ~(uintptr_t)(align - 1));
        /* What alignment costs in front must be left at the end. */
        while (last > first &&
               (size_t)(place - (uint8_t *)q->buffer) + (last - first) > q->length_bytes)
                last -= unit;
        if (q->length_bytes <= BOUNCE_BYTES || last <= first) {
                /* All of it is head. */
                s.head = (struct bth_read){ start, (size_t)(end - start), NULL, 0 };
                s.head_use = q->length_bytes;
        } else {
                s.head = (struct bth_read){ start, (size_t)(first - start), NULL, 0 };
                s.head_use = (size_t)(first - q->offset_bytes);
                s.middle = (struct bth_read){ first, (size_t)(last - first), place, 0 };
                s.moved = (uint8_t *)q->buffer + (first - q->offset_bytes) - place;
                s.tail = (struct bth_read){ last, (size_t)(end - last), NULL, 0 };
                s.tail_use = (size_t)(end - last);
        }
        s.head.length_bytes = (s.head.length_bytes + unit - 1) / unit * unit;
        s.tail.length_bytes = (s.tail.length_bytes + unit - 1) / unit * unit;
        *ret = s;
}

/* Bounced parts lie one behind the other, each on a place that every device accepts. */
static size_t bounce_room(const struct block *b, size_t length)
{
        const size_t align = b->base.memory_align_bytes;

        return (length + align - 1) / align * align;
}

static void join_piece(struct split *s)
{
        uint8_t *out = s->piece->buffer;

        s->piece->result = s->head.result   ? s->head.result
                           : s->tail.result ? s->tail.result
                                            : s->middle.result;
        if (s->piece->result < 0)
                return;
        if (s->middle.length_bytes > 0)
                memmove((uint8_t *)s->middle.buffer + s->moved, s->middle.buffer,
                        s->middle.length_bytes);
        if (s->head_use > 0)
                memcpy(out, (uint8_t *)s->head.buffer + s->head_skip, s->head_use);
        if (s->tail_use > 0)
                memcpy(out + s->piece->length_bytes - s->tail_use, s->tail.buffer, s->tail_use);
}

/* Reads up to SPLITS_MAX pieces that are not aligned, all parts in flight together. */
static int read_splits(struct block *b, struct split *splits, size_t n)
{
        struct bth_read parts[SPLIT_PARTS * SPLITS_MAX], *owners[SPLIT_PARTS * SPLITS_MAX];
        _cleanup_free_ uint8_t *bounce = NULL;
        size_t n_parts = 0, room = 0, at = 0;

        for (size_t i = 0; i < n; i++)
                room += bounce_room(b, splits[i].head.length_bytes) +
                        bounce_room(b, splits[i].tail.length_bytes);
        bounce = bth_io_buffer_new(room + b->base.memory_align_bytes);
        if (!bounce)
                return -ENOMEM;
        at = (size_t)(-(uintptr_t)bounce & (b->base.memory_align_bytes - 1));
        for (size_t i = 0; i < n; i++) {
                struct bth_read *all[] = { &splits[i].head, &splits[i].middle, &splits[i].tail };

                for (size_t k = 0; k < ARRAY_SIZE(all); k++) {
                        if (all[k]->length_bytes == 0)
                                continue;
                        if (!all[k]->buffer) {
                                all[k]->buffer = bounce + at;
                                at += bounce_room(b, all[k]->length_bytes);
                        }
                        owners[n_parts] = all[k];
                        parts[n_parts++] = *all[k];
                }
        }
        run_batch(b, parts, n_parts);
        for (size_t i = 0; i < n_parts; i++)
                owners[i]->result = parts[i].result;
        for (size_t i = 0; i < n; i++)
                join_piece(&splits[i]);
        return 0;
}

/* Errors of a drive that is on its way out become what they are. Returns the first. */
static int explain(struct block *b, struct bth_read *reads, size_t n)
{
        int first = 0;
        bool gone = false;

        for (size_t i = 0; i < n && !gone; i++)
                gone = reads[i].result < 0 &&
                       hal_block_explain(&b->watch, reads[i].result) == -ENODEV;
        for (size_t i = 0; i < n; i++) {
                if (gone && reads[i].result < 0)
                        reads[i].result = -ENODEV;
                if (first == 0)
                        first = reads[i].result;
        }
        if (first == 0 && atomic_load(&b->watch.silent_usec) > 0)
                atomic_store(&b->watch.silent_usec, 0);
        return first;
}

/* Takes aligned pieces as they are and the others in groups, in the order of the batch. */
static int block_read_many(struct bth_source *s, struct bth_read *reads, size_t n_reads)
{
        struct block *b = block_of(s);
        struct split splits[SPLITS_MAX];
        size_t at = 0;

        while (at < n_reads) {
                const bool aligned = is_aligned(b, &reads[at]);
                const size_t first = at;

                for (; at < n_reads && is_aligned(b, &reads[at]) == aligned &&
                       (aligned || at - first < SPLITS_MAX);
                     at++) {
                        reads[at].result = 0;
                        if (!aligned)
                                split_piece(b, &reads[at], &splits[at - first]);
                }
                if (aligned)
                        run_batch(b, reads + first, at - first);
                else if (read_splits(b, splits, at - first) < 0)
                        for (size_t i = first; i < at; i++)
                                reads[i].result = -ENOMEM;
        }
        return explain(b, reads, n_reads);
}

static int block_read(struct bth_source *s, uint64_t offset_bytes, void *buffer,
                      size_t length_bytes)
{
        struct bth_read q = { offset_bytes, length_bytes, buffer, 0 };

        return block_read_many(s, &q, 1);
}

static void block_free(struct bth_source *s)
{
        struct block *b = block_of(s);

        while (b->idle) {
                struct ring *next = b->idle->next;

                io_uring_queue_exit(&b->idle->uring);
                free(b->idle);
                b->idle = next;
        }
        pthread_mutex_destroy(&b->lock);
        if (b->own)
                (void)bth_close(b->fd);
        free(b);
}

/* -- opening
 * ----------------------------------------------------------------------------------------- */

int hal_block_open_fd(int fd, bool own, const struct hal_block_options *options,
                      struct bth_source **ret_source, struct bth_error *error)
{
        static const struct bth_source_ops ops = {
                .read = block_read,
                .read_many = block_read_many,
                .free = block_free,
        };
        struct block *b = calloc(1, sizeof *b);
        struct hal_block_shape shape;
        int r;

        if (!b) {
                if (own)
                        (void)bth_close(fd);
                return -ENOMEM;
        }
        pthread_mutex_init(&b->lock, NULL);
        b->base.ops = &ops;
        b->fd = fd;
        b->own = own;
        atomic_store(&b->uring, !options || !options->no_uring);
        r = hal_block_measure(fd, !options || !options->no_direct, &shape);
        if (r < 0) {
                block_free(&b->base);
                return bth_error_set(error, r, BTH_REASON_DRIVE_READ_ERROR,
                                     "its size cannot be told: %s", bth_strerror(r));
        }
        b->watch = (struct hal_block_watch){ .fd = fd,
                                             .shape = shape,
                                             .vanish_usec = options && options->vanish_usec > 0
                                                                    ? options->vanish_usec
                                                                    : VANISH_USEC };
        b->direct = shape.direct;
        b->base.size_bytes = shape.size_bytes;
        b->base.logical_block_bytes = shape.unit_bytes;
        b->base.memory_align_bytes = shape.memory_align_bytes;
        *ret_source = &b->base;
        return 0;
}

uint64_t hal_block_size(int fd)
{
        struct hal_block_shape shape;

        return hal_block_measure(fd, false, &shape) < 0 ? 0 : shape.size_bytes;
}

bool hal_block_is_gone(int fd, uint64_t size_bytes)
{
        struct hal_block_watch watch = { .fd = fd, .vanish_usec = VANISH_USEC };

        if (hal_block_measure(fd, true, &watch.shape) < 0 || watch.shape.size_bytes < size_bytes ||
            (watch.shape.is_device && watch.shape.size_bytes == 0))
                return true;
        return hal_block_explain(&watch, -EIO) == -ENODEV;
}

void hal_block_get_stats(struct bth_source *source, struct hal_block_stats *ret_stats)
{
        struct block *b = block_of(source);

        *ret_stats = (struct hal_block_stats){
                .direct = b->direct,
                .uring = atomic_load(&b->uring),
                .requests = atomic_load(&b->requests),
                .bytes = atomic_load(&b->bytes),
                .backward_seeks = atomic_load(&b->backward),
        };
}
