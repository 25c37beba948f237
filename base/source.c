/* SPDX-License-Identifier: GPL-3.0-or-later */
/* source - range checks in front of every source and sink, and the plain ones: window, memory, fd.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/io.h"
#include "base/source.h"

#define IO_ALIGN_BYTES  4096
#define HUGE_PAGE_BYTES ((size_t)2 << 20)

int bth_source_read(struct bth_source *s, uint64_t offset_bytes, void *buffer, size_t length_bytes)
{
        if (!bth_range_inside(offset_bytes, length_bytes, s->size_bytes))
                return -EINVAL;
        return length_bytes == 0 ? 0 : s->ops->read(s, offset_bytes, buffer, length_bytes);
}

static int read_one_by_one(struct bth_source *s, struct bth_read *reads, size_t n_reads)
{
        int first = 0;

        for (size_t i = 0; i < n_reads; i++) {
                struct bth_read *q = &reads[i];

                q->result = bth_source_read(s, q->offset_bytes, q->buffer, q->length_bytes);
                if (first == 0)
                        first = q->result;
        }
        return first;
}

int bth_source_read_many(struct bth_source *s, struct bth_read *reads, size_t n_reads)
{
        bool all_inside = true;

        for (size_t i = 0; i < n_reads; i++)
                all_inside = all_inside && reads[i].length_bytes > 0 &&
                             bth_range_inside(reads[i].offset_bytes, reads[i].length_bytes,
                                              s->size_bytes);
        /* A batch with a bad piece is rare enough to go the slow way, piece by piece. */
        if (!all_inside || !s->ops->read_many)
                return read_one_by_one(s, reads, n_reads);
        return s->ops->read_many(s, reads, n_reads);
}

struct bth_source *bth_source_free(struct bth_source *s)
{
        if (s)
                s->ops->free(s);
        return NULL;
}

struct window_source {
        struct bth_source base;
        struct bth_source *below;
        uint64_t offset_bytes;
        bool own;
};

static int window_read(struct bth_source *s, uint64_t offset_bytes, void *buffer,
                       size_t length_bytes)
{
        struct window_source *w = container_of(s, struct window_source, base);

        return bth_source_read(w->below, w->offset_bytes + offset_bytes, buffer, length_bytes);
}

static int window_read_many(struct bth_source *s, struct bth_read *reads, size_t n_reads)
{
        struct window_source *w = container_of(s, struct window_source, base);
        int r;

        for (size_t i = 0; i < n_reads; i++)
                reads[i].offset_bytes += w->offset_bytes;
        r = bth_source_read_many(w->below, reads, n_reads);
        for (size_t i = 0; i < n_reads; i++)
                reads[i].offset_bytes -= w->offset_bytes;
        return r;
}

static void window_free(struct bth_source *s)
{
        struct window_source *w = container_of(s, struct window_source, base);

        if (w->own)
                (void)bth_source_free(w->below);
        free(w);
}

/* A window that starts inside a logical block can promise no alignment. */
static uint32_t window_block(uint64_t offset_bytes, uint32_t logical_block_bytes)
{
        return (offset_bytes & (logical_block_bytes - 1)) == 0 ? logical_block_bytes : 1;
}

int bth_source_new_window(struct bth_source *below, uint64_t offset_bytes, uint64_t length_bytes,
                          bool own, struct bth_source **ret_source)
{
        static const struct bth_source_ops ops = {
                .read = window_read,
                .read_many = window_read_many,
                .free = window_free,
        };
        struct window_source *w = NULL;
        int r = -EINVAL;

        if (bth_range_inside(offset_bytes, length_bytes, below->size_bytes)) {
                w = calloc(1, sizeof *w);
                r = w ? 0 : -ENOMEM;
        }
        if (r < 0) {
                if (own)
                        (void)bth_source_free(below);
                return r;
        }
        *w = (struct window_source){
                .base = { .ops = &ops,
                          .size_bytes = length_bytes,
                          .logical_block_bytes =
                                  window_block(offset_bytes, below->logical_block_bytes),
                          .memory_align_bytes = below->memory_align_bytes },
                .below = below,
                .offset_bytes = offset_bytes,
                .own = own,
        };
        *ret_source = &w->base;
        return 0;
}

struct memory_source {
        struct bth_source base;
        const uint8_t *data;
};

static int memory_read(struct bth_source *s, uint64_t offset_bytes, void *buffer,
                       size_t length_bytes)
{
        memcpy(buffer, container_of(s, struct memory_source, base)->data + offset_bytes,
               length_bytes);
        return 0;
}

static void memory_free(struct bth_source *s)
{
        free(container_of(s, struct memory_source, base));
}

int bth_source_new_memory(const void *data, size_t size_bytes, struct bth_source **ret_source)
{
        static const struct bth_source_ops ops = { .read = memory_read, .free = memory_free };
        struct memory_source *m = calloc(1, sizeof *m);

        if (!m)
                return -ENOMEM;
        *m = (struct memory_source){
                .base = { .ops = &ops,
                          .size_bytes = size_bytes,
                          .logical_block_bytes = 1,
                          .memory_align_bytes = 1 },
                .data = data,
        };
        *ret_source = &m->base;
        return 0;
}

/* Size of a regular file or block device. */
static int size_of_fd(int fd, uint64_t *ret_size)
{
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (S_ISBLK(st.st_mode))
                return ioctl(fd, BLKGETSIZE64, ret_size) < 0 ? -errno : 0;
        if (st.st_size < 0)
                return -EIO;
        *ret_size = (uint64_t)st.st_size;
        return 0;
}

struct fd_source {
        struct bth_source base;
        int fd;
        bool own;
};

static int fd_read(struct bth_source *s, uint64_t offset_bytes, void *buffer, size_t length_bytes)
{
        int r = bth_pread_full(container_of(s, struct fd_source, base)->fd, buffer, length_bytes,
                               offset_bytes);

        return r == -ENODATA ? -ENODEV : r; /* shorter than it was: gone, not ended */
}

static void fd_source_free(struct bth_source *s)
{
        struct fd_source *f = container_of(s, struct fd_source, base);

        if (f->own)
                (void)bth_close(f->fd);
        free(f);
}

int bth_source_new_fd(int fd, bool own, struct bth_source **ret_source)
{
        static const struct bth_source_ops ops = { .read = fd_read, .free = fd_source_free };
        struct fd_source *f = NULL;
        uint64_t size;
        int r = size_of_fd(fd, &size);

        if (r == 0) {
                f = calloc(1, sizeof *f);
                r = f ? 0 : -ENOMEM;
        }
        if (r < 0) {
                if (own)
                        (void)bth_close(fd);
                return r;
        }
        *f = (struct fd_source){
                .base = { .ops = &ops,
                          .size_bytes = size,
                          .logical_block_bytes = 1,
                          .memory_align_bytes = 1 },
                .fd = fd,
                .own = own,
        };
        *ret_source = &f->base;
        return 0;
}

int bth_sink_write(struct bth_sink *s, uint64_t offset_bytes, const void *buffer,
                   size_t length_bytes)
{
        if (!bth_range_inside(offset_bytes, length_bytes, s->size_bytes))
                return -EINVAL;
        return length_bytes == 0 ? 0 : s->ops->write(s, offset_bytes, buffer, length_bytes);
}

int bth_sink_flush(struct bth_sink *s)
{
        return s->ops->flush(s);
}

struct bth_sink *bth_sink_free(struct bth_sink *s)
{
        if (s)
                s->ops->free(s);
        return NULL;
}

struct window_sink {
        struct bth_sink base;
        struct bth_sink *below;
        uint64_t offset_bytes;
        bool own;
};

static int window_write(struct bth_sink *s, uint64_t offset_bytes, const void *buffer,
                        size_t length_bytes)
{
        struct window_sink *w = container_of(s, struct window_sink, base);

        return bth_sink_write(w->below, w->offset_bytes + offset_bytes, buffer, length_bytes);
}

static int window_flush(struct bth_sink *s)
{
        return bth_sink_flush(container_of(s, struct window_sink, base)->below);
}

static void window_sink_free(struct bth_sink *s)
{
        struct window_sink *w = container_of(s, struct window_sink, base);

        if (w->own)
                (void)bth_sink_free(w->below);
        free(w);
}

int bth_sink_new_window(struct bth_sink *below, uint64_t offset_bytes, uint64_t length_bytes,
                        bool own, struct bth_sink **ret_sink)
{
        static const struct bth_sink_ops ops = {
                .write = window_write,
                .flush = window_flush,
                .free = window_sink_free,
        };
        struct window_sink *w = NULL;
        int r = -EINVAL;

        if (bth_range_inside(offset_bytes, length_bytes, below->size_bytes)) {
                w = calloc(1, sizeof *w);
                r = w ? 0 : -ENOMEM;
        }
        if (r < 0) {
                if (own)
                        (void)bth_sink_free(below);
                return r;
        }
        *w = (struct window_sink){
                .base = { .ops = &ops,
                          .size_bytes = length_bytes,
                          .logical_block_bytes =
                                  window_block(offset_bytes, below->logical_block_bytes),
                          .memory_align_bytes = below->memory_align_bytes },
                .below = below,
                .offset_bytes = offset_bytes,
                .own = own,
        };
        *ret_sink = &w->base;
        return 0;
}

struct fd_sink {
        struct bth_sink base;
        int fd;
        bool own;
};

static int fd_write(struct bth_sink *s, uint64_t offset_bytes, const void *buffer,
                    size_t length_bytes)
{
        return bth_pwrite_full(container_of(s, struct fd_sink, base)->fd, buffer, length_bytes,
                               offset_bytes);
}

static int fd_flush(struct bth_sink *s)
{
        return fsync(container_of(s, struct fd_sink, base)->fd) < 0 ? -errno : 0;
}

static void fd_sink_free(struct bth_sink *s)
{
        struct fd_sink *f = container_of(s, struct fd_sink, base);

        if (f->own)
                (void)bth_close(f->fd);
        free(f);
}

int bth_sink_new_fd(int fd, bool own, struct bth_sink **ret_sink)
{
        static const struct bth_sink_ops ops = {
                .write = fd_write,
                .flush = fd_flush,
                .free = fd_sink_free,
        };
        struct fd_sink *f = NULL;
        uint64_t size;
        int r = size_of_fd(fd, &size);

        if (r == 0) {
                f = calloc(1, sizeof *f);
                r = f ? 0 : -ENOMEM;
        }
        if (r < 0) {
                if (own)
                        (void)bth_close(fd);
                return r;
        }
        *f = (struct fd_sink){
                .base = { .ops = &ops,
                          .size_bytes = size,
                          .logical_block_bytes = 1,
                          .memory_align_bytes = 1 },
                .fd = fd,
                .own = own,
        };
        *ret_sink = &f->base;
        return 0;
}

void *bth_io_buffer_new(size_t length_bytes)
{
        const size_t align = length_bytes < HUGE_PAGE_BYTES ? IO_ALIGN_BYTES : HUGE_PAGE_BYTES;
        uint64_t rounded;
        void *buffer;

        if (!bth_align_up(MAX(length_bytes, (size_t)1), IO_ALIGN_BYTES, &rounded))
                return NULL;
        if (posix_memalign(&buffer, align, rounded) != 0)
                return NULL;
        /* A wish: without huge pages it is the same memory, in small pieces. */
        if (align == HUGE_PAGE_BYTES)
                (void)madvise(buffer, rounded, MADV_HUGEPAGE);
        return buffer;
}
