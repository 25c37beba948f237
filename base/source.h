/* SPDX-License-Identifier: GPL-3.0-or-later */
/* source - the byte source and byte sink that modules hand to each other.
 *
 * A drive, an image file, a partition, a decrypted volume and a buffer all look the same:
 *
 *     hal block reader -> partition window -> BitLocker view -> NTFS
 *
 * Layers stack by owning or borrowing the one below; which, its constructor says. Every operation
 * may be called from many threads at once. Any offset and length may be read; those that are
 * multiples of `logical_block_bytes` into memory aligned to `memory_align_bytes` take the fast path
 * (no copy). */
#pragma once

#include "base/macros.h"

struct bth_source;
struct bth_sink;

/* One piece of a batch. The caller fills offset, length, buffer; the source fills result. */
struct bth_read {
        uint64_t offset_bytes;
        size_t length_bytes;
        void *buffer;
        int result; /* 0, or negative errno of this piece alone */
};

struct bth_source_ops {
        /* Reads exactly `length_bytes`. Inside the size and not readable: -EIO, or what the device
         * said. The caller (bth_source_read) has checked the range. */
        int (*read)(struct bth_source *s, uint64_t offset_bytes, void *buffer, size_t length_bytes);
        /* Reads a batch, as many pieces in flight as the source can; sets every `result`. May be
         * NULL: then the pieces are read one after another. Returns 0 or the first negative result.
         */
        int (*read_many)(struct bth_source *s, struct bth_read *reads, size_t n_reads);
        /* Drops what the source holds (not the struct's own memory, unless it allocated it). */
        void (*free)(struct bth_source *s);
};

/* Embedded as first member by every source. Set once by the constructor, constant afterwards. */
struct bth_source {
        const struct bth_source_ops *ops;
        uint64_t size_bytes; /* taken once; a device that shrinks later gives errors, not a new size
                              */
        uint32_t logical_block_bytes; /* power of two, at least 1 (plain memory) */
        uint32_t memory_align_bytes;  /* power of two, at least 1 */
};

/* Reads [offset, offset + length) whole.
 * Returns 0; -EINVAL when the range is not inside the source; -EIO, -ENODEV, -ENXIO, -ENODATA,
 * -EREMOTEIO as the device said (a short read is -ENODEV: the drive went); -ENOMEM. On failure the
 * buffer's content is undefined. Blocks. */
int bth_source_read(struct bth_source *s, uint64_t offset_bytes, void *buffer, size_t length_bytes)
        _must_check_;

/* Reads `n_reads` pieces, in flight together where the source can; each gets its own `result`.
 * Returns 0 when all came, otherwise the first negative result in array order (see
 * bth_source_read). Blocks until every piece is settled. */
int bth_source_read_many(struct bth_source *s, struct bth_read *reads, size_t n_reads) _must_check_;

/* NULL is fine; returns NULL. */
struct bth_source *bth_source_free(struct bth_source *s);
DEFINE_CLEANUP(bth_source_free, struct bth_source *);

/* A window [offset, offset + length) of another source, for partitions. Borrows `below`, which must
 * live longer, unless `own` is set: then it is freed with the window (also when this call fails).
 * Returns 0, -EINVAL when the window is not inside, -ENOMEM. */
int bth_source_new_window(struct bth_source *below, uint64_t offset_bytes, uint64_t length_bytes,
                          bool own, struct bth_source **ret_source) _must_check_;

/* A source over memory, which is borrowed. Returns 0 or -ENOMEM. */
int bth_source_new_memory(const void *data, size_t size_bytes, struct bth_source **ret_source)
        _must_check_;

/* A source over an open descriptor by plain pread(2): for tests, regular files and spools. Takes
 * over `fd` when `own` is set (also when this call fails). Returns 0, -errno of fstat(2)/ioctl(2),
 * -ENOMEM. */
int bth_source_new_fd(int fd, bool own, struct bth_source **ret_source) _must_check_;

struct bth_sink_ops {
        /* Writes exactly `length_bytes`; the caller (bth_sink_write) has checked the range. */
        int (*write)(struct bth_sink *s, uint64_t offset_bytes, const void *buffer,
                     size_t length_bytes);
        /* Everything written so far is on stable storage when this returns 0. */
        int (*flush)(struct bth_sink *s);
        void (*free)(struct bth_sink *s);
};

/* Embedded as first member by every sink; the fields mean what they mean in bth_source. */
struct bth_sink {
        const struct bth_sink_ops *ops;
        uint64_t size_bytes;
        uint32_t logical_block_bytes;
        uint32_t memory_align_bytes;
};

/* Writes [offset, offset + length) whole. The buffer is not changed. Threads may write at once;
 * pieces that overlap, or that share a logical block, are the caller's to order. Returns 0, -EINVAL
 * when the range is not inside the sink, -EIO, -ENOSPC, -ENODEV, -ENOMEM. Blocks. */
int bth_sink_write(struct bth_sink *s, uint64_t offset_bytes, const void *buffer,
                   size_t length_bytes) _must_check_;

/* Brings what was written to stable storage. Returns 0 or the device's negative errno. Blocks. */
int bth_sink_flush(struct bth_sink *s) _must_check_;

/* NULL is fine; returns NULL. Does not flush. */
struct bth_sink *bth_sink_free(struct bth_sink *s);
DEFINE_CLEANUP(bth_sink_free, struct bth_sink *);

/* A window of another sink; borrows `below` unless `own`. Returns 0, -EINVAL, -ENOMEM. */
int bth_sink_new_window(struct bth_sink *below, uint64_t offset_bytes, uint64_t length_bytes,
                        bool own, struct bth_sink **ret_sink) _must_check_;

/* A sink over an open descriptor by plain pwrite(2). Takes over `fd` when `own` is set (also on
 * failure). Returns 0, -errno of fstat(2)/ioctl(2), -ENOMEM. */
int bth_sink_new_fd(int fd, bool own, struct bth_sink **ret_sink) _must_check_;

/* Memory for I/O: `length_bytes` rounded up to 4096, aligned to 4096, not zeroed. From 2 MiB on it
 * lies in huge pages where the kernel has them: a direct read then pins two of them instead of a
 * thousand small ones. Free with free(). Returns NULL when there is none. */
void *bth_io_buffer_new(size_t length_bytes) _must_check_;
