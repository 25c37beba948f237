/* SPDX-License-Identifier: GPL-3.0-or-later */
/* block_sink - whole blocks out, and what lies inside a block in between. */
#include "hal/block_sink.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/checked.h"
#include "base/io.h"
#include "hal/block_shape.h"

#define BOUNCE_BYTES ((size_t)1 << 20)

struct block_sink {
        struct bth_sink base;
        int fd;
        bool own;
        bool direct;
        pthread_mutex_t edges; /* between reading a block and writing it back changed */
};

static struct block_sink *sink_of(struct bth_sink *s)
{
        return container_of(s, struct block_sink, base);
}

/* Writes whole blocks from aligned memory. A write that ends early is a device that cannot take the
 * rest; the write that begins there says why, unless O_DIRECT may not begin there. */
static int write_blocks(struct block_sink *b, uint64_t offset, const uint8_t *data, size_t length)
{
        size_t done = 0;

        while (done < length) {
                ssize_t n = pwrite(b->fd, data + done, length - done, (off_t)(offset + done));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n == 0 || (n < 0 && errno == EINVAL && done > 0))
                        return hal_block_is_whole(b->fd, b->base.size_bytes) ? -EIO : -ENODEV;
                if (n < 0)
                        return -errno;
                done += (size_t)n;
        }
        return 0;
}

/* Changes bytes inside one block. */
static int write_edge(struct block_sink *b, uint64_t offset, const uint8_t *data, size_t length)
{
        const size_t unit = b->base.logical_block_bytes;
        const uint64_t start = bth_align_down(offset, unit);
        _cleanup_free_ uint8_t *block = bth_io_buffer_new(MAX(unit, b->base.memory_align_bytes));
        int r;

        if (!block)
                return -ENOMEM;
        pthread_mutex_lock(&b->edges);
        r = bth_pread_full(b->fd, block, unit, start);
        if (r == 0) {
                memcpy(block + (offset - start), data, length);
                r = write_blocks(b, start, block, unit);
        }
        pthread_mutex_unlock(&b->edges);
        return r == -ENODATA ? -ENODEV : r;
}

/* Whole blocks from memory that is not aligned. */
static int write_bounced(struct block_sink *b, uint64_t offset, const uint8_t *data, size_t length)
{
        _cleanup_free_ uint8_t *bounce = bth_io_buffer_new(MIN(length, BOUNCE_BYTES));
        int r = bounce ? 0 : -ENOMEM;

        for (size_t n; r == 0 && length > 0; offset += n, data += n, length -= n) {
                n = MIN(length, BOUNCE_BYTES);
                memcpy(bounce, data, n);
                r = write_blocks(b, offset, bounce, n);
        }
        return r;
}

static int sink_write(struct bth_sink *s, uint64_t offset_bytes, const void *buffer,
                      size_t length_bytes)
{
        struct block_sink *b = sink_of(s);
        const size_t unit = s->logical_block_bytes;
        const uint8_t *data = buffer;
        const size_t into = (size_t)(offset_bytes & (unit - 1));
        size_t n = into == 0 ? 0 : MIN(unit - into, length_bytes);
        int r = 0;

        if (!b->direct)
                return write_blocks(b, offset_bytes, data, length_bytes);
        if (n > 0)
                r = write_edge(b, offset_bytes, data, n);
        offset_bytes += n;
        data += n;
        length_bytes -= n;
        n = length_bytes & ~(unit - 1);
        if (r == 0 && n > 0)
                r = ((uintptr_t)data & (s->memory_align_bytes - 1)) == 0
                            ? write_blocks(b, offset_bytes, data, n)
                            : write_bounced(b, offset_bytes, data, n);
        if (r == 0 && length_bytes > n)
                r = write_edge(b, offset_bytes + n, data + n, length_bytes - n);
        return r;
}

/* fsync(2) of a block device also empties the cache in the drive. */
static int sink_flush(struct bth_sink *s)
{
        return fsync(sink_of(s)->fd) < 0 ? -errno : 0;
}

static void sink_free(struct bth_sink *s)
{
        struct block_sink *b = sink_of(s);

        pthread_mutex_destroy(&b->edges);
        if (b->own)
                (void)bth_close(b->fd);
        free(b);
}

/* May it be written, and can blocks be read back to change a part of them? */
static int check_access(int fd, bool *ret_readable)
{
        const int flags = fcntl(fd, F_GETFL);

        if (flags < 0)
                return -errno;
        if ((flags & O_ACCMODE) == O_RDONLY)
                return -EBADF;
        *ret_readable = (flags & O_ACCMODE) == O_RDWR;
        return 0;
}

static int measure(struct block_sink *b, bool want_direct)
{
        struct hal_block_shape shape;
        bool readable = false;
        int read_only = 0, r = check_access(b->fd, &readable);

        if (r == 0)
                r = hal_block_measure(b->fd, want_direct && readable, &shape);
        if (r < 0)
                return r;
        if (shape.is_device && ioctl(b->fd, BLKROGET, &read_only) == 0 && read_only)
                return -EROFS;
        /* The last block of such a file cannot be written without making the file longer. */
        if (shape.direct && shape.size_bytes % shape.unit_bytes != 0) {
                const int flags = fcntl(b->fd, F_GETFL);

                if (flags < 0 || fcntl(b->fd, F_SETFL, flags & ~O_DIRECT) < 0)
                        return -errno;
                r = hal_block_measure(b->fd, false, &shape);
                if (r < 0)
                        return r;
        }
        b->direct = shape.direct;
        b->base.size_bytes = shape.size_bytes;
        b->base.logical_block_bytes = shape.unit_bytes;
        b->base.memory_align_bytes = shape.memory_align_bytes;
        return 0;
}

int hal_block_sink_open_fd(int fd, bool own, const struct hal_block_options *options,
                           struct bth_sink **ret_sink, struct bth_error *error)
{
        static const struct bth_sink_ops ops = {
                .write = sink_write,
                .flush = sink_flush,
                .free = sink_free,
        };
        struct block_sink *b = calloc(1, sizeof *b);
        int r;

        if (!b) {
                if (own)
                        (void)bth_close(fd);
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory");
        }
        pthread_mutex_init(&b->edges, NULL);
        b->base.ops = &ops;
        b->fd = fd;
        b->own = own;
        r = measure(b, !options || !options->no_direct);
        if (r < 0) {
                sink_free(&b->base);
                return bth_error_set(error, r, BTH_REASON_DRIVE_WRITE_ERROR,
                                     "it cannot be written: %s", bth_strerror(r));
        }
        *ret_sink = &b->base;
        return 0;
}
