/* SPDX-License-Identifier: GPL-3.0-or-later */
/* block-faults - what the kernel can answer to a read or a write, put in by the linker's --wrap:
 * errors come through by name, short reads end in the truth, a ring that fails loses nothing, and
 * only heads and tails are bounced. */
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/io.h"
#include "hal/block.h"
#include "hal/block_sink.h"

#define FILE_BYTES ((size_t)8 << 20)

static char path[] = "/var/tmp/berth-faults-XXXXXX";
static uint8_t *content;

/* The bad place, and how the kernel behaves there. */
static struct {
        uint64_t bad_start, bad_end; /* none: both 0 */
        int error;                   /* positive errno; 0: no bytes come */
        unsigned grain;              /* short reads end on multiples of it */
        bool refuse_odd;             /* EINVAL for offsets that are no multiples of 4096 */
        unsigned ring_fails_at;      /* the n-th io_uring_submit_and_wait() fails; 0: none */
        bool no_ring;
        unsigned submits;
        uint64_t read_bytes, largest_read, written_bytes, largest_write;
        unsigned odd_writes; /* not aligned to what O_DIRECT wants */
        size_t short_write;  /* a write takes at most so much; 0: all */
        unsigned vanishes;   /* the drive goes when so many reads have failed; 0: it stays */
        const char *drive;   /* that goes */
        unsigned failures;
} kernel;

ssize_t __real_pread64(int fd, void *buffer, size_t n, off_t offset);
ssize_t __wrap_pread64(int fd, void *buffer, size_t n, off_t offset);
ssize_t __real_pwrite64(int fd, const void *buffer, size_t n, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *buffer, size_t n, off_t offset);
int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned n);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned n);
int __real_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);
int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);

/* As the kernel does it: what lies before the bad place comes, and the next read gets the error. */
static ssize_t answer(ssize_t n, uint64_t offset)
{
        if (n <= 0 || offset >= kernel.bad_end || offset + (uint64_t)n <= kernel.bad_start)
                return n;
        if (offset >= kernel.bad_start || kernel.bad_start - offset < kernel.grain)
                return -kernel.error;
        return (ssize_t)((kernel.bad_start - offset) / kernel.grain * kernel.grain);
}

ssize_t __wrap_pread64(int fd, void *buffer, size_t n, off_t offset)
{
        ssize_t r;

        if (kernel.refuse_odd && offset % 4096 != 0) {
                errno = EINVAL;
                return -1;
        }
        kernel.read_bytes += n;
        kernel.largest_read = MAX(kernel.largest_read, n);
        r = __real_pread64(fd, buffer, n, offset);
        r = answer(r, (uint64_t)offset);
        if (r >= 0)
                return r;
        if (++kernel.failures == kernel.vanishes)
                assert_int_equal(truncate(kernel.drive, 0), 0);
        errno = (int)-r;
        return -1;
}

ssize_t __wrap_pwrite64(int fd, const void *buffer, size_t n, off_t offset)
{
        if ((uint64_t)offset < kernel.bad_end && (uint64_t)offset + n > kernel.bad_start) {
                errno = kernel.error;
                return -1;
        }
        kernel.written_bytes += n;
        kernel.largest_write = MAX(kernel.largest_write, n);
        kernel.odd_writes += (((uintptr_t)buffer | n | (uint64_t)offset) & 511) != 0;
        if (kernel.short_write > 0)
                n = MIN(n, kernel.short_write);
        return __real_pwrite64(fd, buffer, n, offset);
}

int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
        return kernel.no_ring ? -EPERM : __real_io_uring_queue_init(entries, ring, flags);
}

int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned n)
{
        struct io_uring_cqe *cqe;
        unsigned head;
        int r;

        if (++kernel.submits == kernel.ring_fails_at)
                return -EBUSY;
        r = __real_io_uring_submit_and_wait(ring, n);
        /* The bad place is in the first request of the ring; where, the completion does not say. */
        io_uring_for_each_cqe(ring, head, cqe) if (kernel.bad_end > 0 && cqe->res > 0 &&
                                                   io_uring_cqe_get_data64(cqe) == 31) cqe->res =
                -kernel.error;
        return r;
}

static int setup(void **state)
{
        unsigned seed = 5;
        int fd = mkstemp(path);

        content = bth_io_buffer_new(FILE_BYTES);
        assert_true(fd >= 0 && content);
        for (size_t i = 0; i < FILE_BYTES; i++)
                content[i] = (uint8_t)rand_r(&seed);
        assert_int_equal(bth_write_full(fd, content, FILE_BYTES), 0);
        assert_int_equal(fsync(fd), 0);
        close(fd);
        return 0;
}

static int teardown(void **state)
{
        free(content);
        return unlink(path);
}

static struct bth_source *open_reader(bool no_uring)
{
        const struct hal_block_options options = { .no_uring = no_uring };
        struct bth_source *s = NULL;

        memset(&kernel, 0, sizeof kernel);
        kernel.grain = 512;
        assert_int_equal(
                hal_block_open_fd(open(path, O_RDONLY | O_CLOEXEC), true, &options, &s, NULL), 0);
        kernel.read_bytes = kernel.largest_read = 0;
        return s;
}

static char *make_image(size_t size)
{
        char *name = strdup("/var/tmp/berth-sink-XXXXXX");
        int fd = mkstemp(name);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
        close(fd);
        return name;
}

static void test_errors_by_name(void **state)
{
        static const int errors[] = { EIO, ENODATA, EREMOTEIO, ENODEV, ENXIO };
        uint8_t *buffer = bth_io_buffer_new(FILE_BYTES);

        for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
                for (int no_uring = 0; no_uring < 2; no_uring++) {
                        struct bth_source *s = open_reader(no_uring);
                        struct bth_read reads[3] = { { 0, 1 << 20, buffer, 0 },
                                                     { 1 << 20, 1 << 20, buffer + (1 << 20), 0 },
                                                     { 2 << 20, 1 << 20, buffer + (2 << 20), 0 } };

                        kernel.error = errors[i];
                        kernel.bad_start = 4096 + 512;
                        kernel.bad_end = 4096 + 1024;
                        assert_int_equal(bth_source_read_many(s, reads, 3), -errors[i]);
                        assert_int_equal(reads[0].result, -errors[i]);
                        assert_int_equal(reads[1].result, 0);
                        assert_int_equal(reads[2].result, 0);
                        assert_memory_equal(buffer + (1 << 20), content + (1 << 20), 2 << 20);
                        kernel.bad_end = 0;
                        assert_int_equal(bth_source_read(s, 0, buffer, FILE_BYTES), 0);
                        s = bth_source_free(s);
                }
        free(buffer);
}

/* The kernel stops 512 bytes before a bad sector; O_DIRECT may or may not go on from there. The
 * drive is there, so it never is a drive that was pulled. */
static void test_short_bounced_read(void **state)
{
        uint8_t *buffer = bth_io_buffer_new(65536);

        for (int odd = 0; odd < 2; odd++) {
                struct bth_source *s = open_reader(true);

                kernel.error = odd ? EREMOTEIO : ENODATA;
                kernel.bad_start = 8192 + 3 * 512;
                kernel.bad_end = kernel.bad_start + 512;
                kernel.refuse_odd = odd;
                assert_int_equal(bth_source_read(s, 4099, buffer, 20000), odd ? -EIO : -ENODATA);
                /* A request that comes in pieces, with nothing wrong, comes whole. */
                kernel.error = 0;
                kernel.bad_end = 0;
                kernel.refuse_odd = false;
                assert_int_equal(bth_source_read(s, 4099, buffer, 20000), 0);
                assert_memory_equal(buffer, content + 4099, 20000);
                s = bth_source_free(s);
        }
        free(buffer);
}

/* Of a large piece at any place, into memory at any place, at most three blocks are read besides.
 */
static void test_only_edges_bounce(void **state)
{
        const size_t length = (size_t)5 << 20;
        uint8_t *buffer = bth_io_buffer_new(FILE_BYTES);

        for (size_t i = 0; i < 64; i++) {
                const size_t offset = i * 131 % 8192, into = i * 67 % 4096 * (i % 3);
                struct bth_source *s = open_reader(i % 2);
                struct hal_block_stats stats;

                memset(buffer, 0, FILE_BYTES);
                assert_int_equal(bth_source_read(s, offset, buffer + into, length + i), 0);
                assert_memory_equal(buffer + into, content + offset, length + i);
                for (size_t k = 0; k < into; k++)
                        assert_int_equal(buffer[k], 0);
                assert_int_equal(buffer[into + length + i], 0);
                hal_block_get_stats(s, &stats);
                if (stats.direct) {
                        /* Six requests of the middle, a head, a tail; no 64 KiB at a time. */
                        assert_true(stats.requests <= 9);
                        assert_true(stats.bytes <= length + i + 4 * s->logical_block_bytes);
                }
                s = bth_source_free(s);
        }
        free(buffer);
}

static struct bth_source *open_failing(const char *name, int error, uint64_t vanish_usec)
{
        const struct hal_block_options options = { .no_uring = true, .vanish_usec = vanish_usec };
        struct bth_source *s = NULL;

        memset(&kernel, 0, sizeof kernel);
        assert_int_equal(
                hal_block_open_fd(open(name, O_RDONLY | O_CLOEXEC), true, &options, &s, NULL), 0);
        kernel.grain = 512;
        kernel.drive = name;
        kernel.error = error;
        kernel.bad_end = FILE_BYTES;
        return s;
}

/* Requests in flight of a drive that is being pulled fail as bad places do; it vanishes later. */
static void test_pulled_in_flight(void **state)
{
        static const int errors[] = { EIO, ETIMEDOUT, ENXIO };
        uint8_t *buffer = bth_io_buffer_new(FILE_BYTES);

        for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
                char *name = make_image(FILE_BYTES);
                struct bth_source *s = open_failing(name, errors[i], 60 * UINT64_C(1000000));
                struct bth_read reads[2] = { { 0, 1 << 20, buffer, 0 },
                                             { 1 << 20, 1 << 20, buffer + (1 << 20), 0 } };

                kernel.vanishes = 9;
                assert_int_equal(bth_source_read_many(s, reads, 2), -ENODEV);
                assert_int_equal(reads[0].result, -ENODEV);
                assert_int_equal(reads[1].result, -ENODEV);
                assert_int_equal(kernel.failures, kernel.vanishes);
                assert_int_equal(bth_source_read(s, 0, buffer, 4096), -ENODEV);
                s = bth_source_free(s);
                (void)unlink(name);
                free(name);
        }
        free(buffer);
}

/* One that answers nothing and stays is broken. It is waited for once, not at each read. */
static void test_broken(void **state)
{
        char *name = make_image(FILE_BYTES);
        struct bth_source *s = open_failing(name, EIO, 1);
        uint8_t *buffer = bth_io_buffer_new(4096);
        unsigned failures;

        assert_int_equal(bth_source_read(s, 0, buffer, 4096), -EIO);
        failures = kernel.failures;
        assert_int_equal(bth_source_read(s, 4096, buffer, 4096), -EIO);
        assert_int_equal(kernel.failures, failures + 3); /* the read, and a look at both ends */
        kernel.bad_start = 4096;
        kernel.bad_end = 8192;
        assert_int_equal(bth_source_read(s, 4096, buffer, 4096), -EIO);
        assert_int_equal(kernel.failures, failures + 4);
        assert_int_equal(bth_source_read(s, 8192, buffer, 4096), 0);
        s = bth_source_free(s);
        (void)unlink(name);
        free(name);
        free(buffer);
}

/* What is asked after work on a drive failed. */
static void test_is_gone(void **state)
{
        char *name = make_image(FILE_BYTES);
        int fd = open(name, O_RDONLY | O_CLOEXEC);

        memset(&kernel, 0, sizeof kernel);
        kernel.grain = 512;
        kernel.drive = name;
        kernel.error = EIO;
        assert_true(hal_block_size(fd) == FILE_BYTES);
        assert_false(hal_block_is_gone(fd, FILE_BYTES));
        kernel.bad_end = 65536; /* one end is bad, and the other answers */
        assert_false(hal_block_is_gone(fd, FILE_BYTES));
        kernel.bad_end = FILE_BYTES;
        kernel.failures = 0;
        kernel.vanishes = 9;
        assert_true(hal_block_is_gone(fd, FILE_BYTES));
        assert_int_equal(kernel.failures, kernel.vanishes);
        assert_true(hal_block_is_gone(fd, FILE_BYTES));
        assert_true(hal_block_size(fd) == 0);
        close(fd);
        assert_true(hal_block_is_gone(-1, FILE_BYTES));
        (void)unlink(name);
        free(name);
}

static void test_ring_fails(void **state)
{
        uint8_t *buffer = bth_io_buffer_new(FILE_BYTES);

        for (unsigned at = 1; at < 6; at++) {
                struct bth_source *s = open_reader(false);
                struct hal_block_stats stats;

                kernel.ring_fails_at = at;
                memset(buffer, 0, FILE_BYTES);
                assert_int_equal(bth_source_read(s, 0, buffer, FILE_BYTES), 0);
                assert_memory_equal(buffer, content, FILE_BYTES);
                if (kernel.submits >= at) {
                        hal_block_get_stats(s, &stats);
                        assert_false(stats.uring);
                }
                assert_int_equal(bth_source_read(s, 0, buffer, FILE_BYTES), 0);
                s = bth_source_free(s);
        }
        {
                struct bth_source *s = open_reader(false);
                struct hal_block_stats stats;

                kernel.no_ring = true;
                assert_int_equal(bth_source_read(s, 0, buffer, FILE_BYTES), 0);
                hal_block_get_stats(s, &stats);
                assert_false(stats.uring);
                s = bth_source_free(s);
        }
        free(buffer);
}

/* ---- writing ---- */

static struct bth_sink *open_sink(const char *name, bool no_direct)
{
        const struct hal_block_options options = { .no_direct = no_direct };
        struct bth_sink *s = NULL;

        memset(&kernel, 0, sizeof kernel);
        kernel.grain = 512;
        assert_int_equal(
                hal_block_sink_open_fd(open(name, O_RDWR | O_CLOEXEC), true, &options, &s, NULL),
                0);
        return s;
}

static void compare(const char *name, const uint8_t *expected, size_t size)
{
        char *data = NULL;
        size_t n;

        assert_int_equal(bth_read_file(name, size, &data, &n), 0);
        assert_int_equal(n, size);
        assert_memory_equal(data, expected, size);
        free(data);
}

/* Against a copy in memory: any place, any length, any alignment. */
static void test_sink_model(void **state)
{
        static const size_t sizes[] = { 3 << 20, (3 << 20) + 512, (3 << 20) + 17 };

        for (size_t k = 0; k < 2 * ARRAY_SIZE(sizes); k++) {
                const size_t size = sizes[k / 2];
                char *name = make_image(size);
                struct bth_sink *s = open_sink(name, k % 2);
                uint8_t *model = calloc(1, size);
                unsigned seed = (unsigned)k;

                assert_true(s->size_bytes == size);
                for (int i = 0; i < 150; i++) {
                        const size_t unit = rand_r(&seed) % 2 ? 4096 : 1;
                        const size_t at = (unsigned)rand_r(&seed) % (size - 1) / unit * unit;
                        const size_t n =
                                1 + (unsigned)rand_r(&seed) % MIN(size - at, (size_t)99999);
                        const size_t from = (unsigned)rand_r(&seed) % 4096;

                        assert_int_equal(bth_sink_write(s, at, content + from, n), 0);
                        memcpy(model + at, content + from, n);
                }
                assert_int_equal(bth_sink_write(s, size - 1, content, 1), 0);
                model[size - 1] = content[0];
                assert_int_equal(bth_sink_write(s, size - 1, content, 2), -EINVAL);
                assert_int_equal(bth_sink_flush(s), 0);
                if (s->logical_block_bytes > 1)
                        assert_int_equal(kernel.odd_writes, 0);
                s = bth_sink_free(s);
                compare(name, model, size);
                (void)unlink(name);
                free(name);
                free(model);
        }
}

struct painter {
        struct bth_sink *sink;
        size_t first;
        int r;
};

static void *paint(void *userdata)
{
        struct painter *p = userdata;

        for (size_t at = p->first; at < 8192 && p->r == 0; at += 4)
                p->r = bth_sink_write(p->sink, at, content + at, 1);
        return NULL;
}

/* Four threads fill the same blocks, a byte each in turn: none takes away what another wrote. */
static void test_sink_shared_blocks(void **state)
{
        char *name = make_image(8192);
        struct bth_sink *s = open_sink(name, false);
        struct painter painters[4];
        pthread_t threads[4];

        for (size_t i = 0; i < 4; i++) {
                painters[i] = (struct painter){ .sink = s, .first = i };
                assert_int_equal(pthread_create(&threads[i], NULL, paint, &painters[i]), 0);
        }
        for (size_t i = 0; i < 4; i++) {
                assert_int_equal(pthread_join(threads[i], NULL), 0);
                assert_int_equal(painters[i].r, 0);
        }
        s = bth_sink_free(s);
        compare(name, content, 8192);
        (void)unlink(name);
        free(name);
}

static void test_sink_errors(void **state)
{
        char *name = make_image(1 << 20);
        struct bth_sink *s = open_sink(name, false);
        struct bth_error e = BTH_ERROR_INIT;

        kernel.error = ENOSPC;
        kernel.bad_start = 65536;
        kernel.bad_end = 65537;
        assert_int_equal(bth_sink_write(s, 0, content, 1 << 20), -ENOSPC);
        assert_int_equal(bth_sink_write(s, 65540, content, 10), -ENOSPC);
        assert_int_equal(bth_sink_write(s, 0, content, 4096), 0);
        kernel.bad_end = 0;
        kernel.short_write = 8192;
        assert_int_equal(bth_sink_write(s, 0, content, 1 << 20), 0);
        s = bth_sink_free(s);
        compare(name, content, 1 << 20);
        assert_int_equal(
                hal_block_sink_open_fd(open(name, O_RDONLY | O_CLOEXEC), true, NULL, &s, &e),
                -EBADF);
        assert_int_equal(e.reason, BTH_REASON_DRIVE_WRITE_ERROR);
        assert_int_equal(hal_block_sink_open_fd(open("/dev/null", O_RDWR), true, NULL, &s, &e),
                         -ENOTBLK);
        /* Write-only works too, through the page cache. */
        assert_int_equal(
                hal_block_sink_open_fd(open(name, O_WRONLY | O_CLOEXEC), true, NULL, &s, &e), 0);
        assert_int_equal(s->logical_block_bytes, 1);
        kernel.short_write = 0;
        assert_int_equal(bth_sink_write(s, 3, content + 100, 5), 0);
        s = bth_sink_free(s);
        (void)unlink(name);
        free(name);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_errors_by_name),
                cmocka_unit_test(test_short_bounced_read),
                cmocka_unit_test(test_pulled_in_flight),
                cmocka_unit_test(test_broken),
                cmocka_unit_test(test_is_gone),
                cmocka_unit_test(test_only_edges_bounce),
                cmocka_unit_test(test_ring_fails),
                cmocka_unit_test(test_sink_model),
                cmocka_unit_test(test_sink_shared_blocks),
                cmocka_unit_test(test_sink_errors),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
