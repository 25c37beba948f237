/* SPDX-License-Identifier: GPL-3.0-or-later */
/* block - alignment, rings, and what an error means. */
#include <fcntl.h>
#include <liburing.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "hal/block.h"

#define REQUEST_BYTES ((size_t)1 << 20) /* larger reads are cut, so that several are in flight */
#define RING_DEPTH    32
#define RINGS_MAX     16 /* idle rings kept for the next reader */
#define BOUNCE_BYTES  ((size_t)64 << 10)
#define ALIGN_MAX     65536

struct ring {
        struct io_uring uring;
        struct ring *next;
};

struct block {
        struct bth_source base;
        int fd;
        bool own;
        bool direct;
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

/* pread(2) to the end of the request. */
static int read_plain(struct block *b, uint64_t offset, uint8_t *buffer, size_t length)
{
        while (length > 0) {
                ssize_t n = pread(b->fd, buffer, length, (off_t)offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return -ENODEV; /* inside the size that was: the drive is gone */
                buffer += n;
                offset += (uint64_t)n;
                length -= (size_t)n;
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
                settle(&q, read_plain(b, q.offset, q.buffer, q.length));
        }
}

/* A request came back. Short ones are finished by hand: they are rare, and mostly bad news. */
static void complete(struct block *b, struct request *q, int result)
{
        if (result == -EINTR || result == -EAGAIN)
                result = 0;
        if (result < 0)
                settle(q, result);
        else if ((size_t)result < q->length)
                settle(q, read_plain(b, q->offset + (size_t)result, q->buffer + result,
                                     q->length - (size_t)result));
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

/* Whole blocks around the piece, through a buffer of our own. A file may end inside its last block:
 * O_DIRECT then reads short, and that is all there is. */
static int read_bounced(struct block *b, struct bth_read *q)
{
        _cleanup_free_ uint8_t *bounce = bth_io_buffer_new(BOUNCE_BYTES);
        const uint64_t unit = b->base.logical_block_bytes;
        uint64_t at = q->offset_bytes, end = q->offset_bytes + q->length_bytes;
        uint8_t *out = q->buffer;

        if (!bounce)
                return -ENOMEM;
        while (at < end) {
                const uint64_t start = bth_align_down(at, unit);
                const size_t want = (size_t)MIN((uint64_t)BOUNCE_BYTES, b->base.size_bytes - start);
                const size_t use = (size_t)MIN(start + want - at, end - at);
                size_t got = 0;

                count(b, start, want);
                while (got < want) {
                        ssize_t n = pread(b->fd, bounce + got, BOUNCE_BYTES - got,
                                          (off_t)(start + got));

                        if (n < 0 && errno == EINTR)
                                continue;
                        if (n < 0)
                                return -errno;
                        if (n == 0)
                                return -ENODEV;
                        got += (size_t)n;
                        if (got < want && got % unit != 0)
                                return -ENODEV;
                }
                memcpy(out, bounce + (at - start), use);
                out += use;
                at += use;
        }
        return 0;
}

static int block_read_many(struct bth_source *s, struct bth_read *reads, size_t n_reads)
{
        struct block *b = block_of(s);
        size_t run = 0;

        for (size_t i = 0; i <= n_reads; i++) {
                if (i < n_reads)
                        reads[i].result = 0;
                if (i < n_reads && is_aligned(b, &reads[i]))
                        continue;
                if (i > run)
                        run_batch(b, reads + run, i - run);
                if (i < n_reads)
                        reads[i].result = read_bounced(b, &reads[i]);
                run = i + 1;
        }
        for (size_t i = 0; i < n_reads; i++)
                if (reads[i].result < 0)
                        return reads[i].result;
        return 0;
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

static int measure(struct block *b)
{
        struct stat st;
        int sector = 512;

        if (fstat(b->fd, &st) < 0)
                return -errno;
        b->base.logical_block_bytes = 1;
        b->base.memory_align_bytes = 1;
        if (S_ISREG(st.st_mode)) {
                b->base.size_bytes = (uint64_t)st.st_size;
                return 0;
        }
        if (!S_ISBLK(st.st_mode))
                return -ENOTBLK;
        if (ioctl(b->fd, BLKGETSIZE64, &b->base.size_bytes) < 0 ||
            ioctl(b->fd, BLKSSZGET, &sector) < 0)
                return -errno;
        if (sector < 512 || sector > ALIGN_MAX || !bth_is_power_of_two((uint64_t)sector))
                return -EIO;
        b->base.logical_block_bytes = (uint32_t)sector;
        return 0;
}

/* What O_DIRECT wants of offsets and memory here; 4096 where the kernel does not tell. */
static void ask_alignment(struct block *b, uint32_t *ret_offset, uint32_t *ret_memory)
{
        *ret_offset = MAX(b->base.logical_block_bytes, 4096u);
        *ret_memory = 4096;
#ifdef STATX_DIOALIGN
        struct statx x;

        if (statx(b->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &x) == 0 &&
            (x.stx_mask & STATX_DIOALIGN) && bth_is_power_of_two(x.stx_dio_offset_align) &&
            bth_is_power_of_two(x.stx_dio_mem_align) && x.stx_dio_offset_align <= ALIGN_MAX) {
                *ret_offset = x.stx_dio_offset_align;
                *ret_memory = x.stx_dio_mem_align;
        }
#endif
}

/* Turns O_DIRECT on and tries it: some file systems take the flag and refuse the read. */
static void try_direct(struct block *b)
{
        _cleanup_free_ void *probe = bth_io_buffer_new(ALIGN_MAX);
        uint32_t offset_align, memory_align;
        int flags = fcntl(b->fd, F_GETFL);

        if (!probe || flags < 0 || fcntl(b->fd, F_SETFL, flags | O_DIRECT) < 0)
                return;
        ask_alignment(b, &offset_align, &memory_align);
        if (b->base.size_bytes > 0 && pread(b->fd, probe, offset_align, 0) < 0 && errno == EINVAL) {
                (void)fcntl(b->fd, F_SETFL, flags);
                return;
        }
        b->direct = true;
        b->base.logical_block_bytes = offset_align;
        b->base.memory_align_bytes = memory_align;
}

int hal_block_open_fd(int fd, bool own, const struct hal_block_options *options,
                      struct bth_source **ret_source, struct bth_error *error)
{
        static const struct bth_source_ops ops = {
                .read = block_read,
                .read_many = block_read_many,
                .free = block_free,
        };
        struct block *b = calloc(1, sizeof *b);
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
        r = measure(b);
        if (r < 0) {
                block_free(&b->base);
                return bth_error_set(error, r, BTH_REASON_DRIVE_READ_ERROR,
                                     "its size cannot be told: %s", bth_strerror(r));
        }
        if (!options || !options->no_direct)
                try_direct(b);
        *ret_source = &b->base;
        return 0;
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
