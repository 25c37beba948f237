/* SPDX-License-Identifier: GPL-3.0-or-later */
/* block - every mode reads the same bytes, at every alignment, from many threads; a pulled drive is
 * told. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/io.h"
#include "hal/block.h"

#define FILE_BYTES ((size_t)9 * 1024 * 1024 + 777) /* ends inside a block */

static char path[] = "/var/tmp/berth-block-XXXXXX";
static uint8_t *content;

static int setup(void **state)
{
        unsigned seed = 12;
        int fd = mkstemp(path);

        content = malloc(FILE_BYTES);
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

static const struct hal_block_options modes[] = {
        { false, false }, { false, true }, { true, false }, { true, true }
};

static struct bth_source *open_mode(const struct hal_block_options *mode)
{
        struct bth_source *s = NULL;
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(hal_block_open_fd(fd, true, mode, &s, NULL), 0);
        assert_true(s->size_bytes == FILE_BYTES);
        return s;
}

static void read_randomly(struct bth_source *s, unsigned seed, int rounds)
{
        uint8_t *buffer = bth_io_buffer_new(8 * 1100000);

        assert_non_null(buffer);
        for (int round = 0; round < rounds; round++) {
                struct bth_read reads[8];
                size_t n = 1 + (unsigned)rand_r(&seed) % 8;

                for (size_t i = 0; i < n; i++) {
                        const size_t unit = rand_r(&seed) % 3 ? 4096 : 1;
                        size_t length = (1 + (unsigned)rand_r(&seed) % (1000000 / unit)) * unit;
                        size_t offset =
                                (unsigned)rand_r(&seed) % (FILE_BYTES - length) / unit * unit;

                        reads[i] = (struct bth_read){
                                offset, length,
                                buffer + i * 1100000 / 4096 * 4096 +
                                        (unit == 1 ? (unsigned)rand_r(&seed) % 64 : 0),
                                -1
                        };
                }
                assert_int_equal(bth_source_read_many(s, reads, n), 0);
                for (size_t i = 0; i < n; i++) {
                        assert_int_equal(reads[i].result, 0);
                        assert_memory_equal(reads[i].buffer, content + reads[i].offset_bytes,
                                            reads[i].length_bytes);
                }
        }
        free(buffer);
}

static void test_modes(void **state)
{
        for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
                struct bth_source *s = open_mode(&modes[i]);
                struct hal_block_stats stats;
                uint8_t *whole = bth_io_buffer_new(FILE_BYTES);

                assert_int_equal(bth_source_read(s, 0, whole, FILE_BYTES), 0);
                assert_memory_equal(whole, content, FILE_BYTES);
                read_randomly(s, (unsigned)i, 40);
                hal_block_get_stats(s, &stats);
                assert_true(stats.requests > 0 && stats.bytes >= FILE_BYTES);
                if (modes[i].no_direct)
                        assert_false(stats.direct);
                if (modes[i].no_uring)
                        assert_false(stats.uring);
                print_message("mode %zu: direct %d, io_uring %d\n", i, stats.direct, stats.uring);
                free(whole);
                s = bth_source_free(s);
        }
}

/* The end of the file, byte by byte around the last block. */
static void test_tail(void **state)
{
        for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
                struct bth_source *s = open_mode(&modes[i]);
                uint8_t buffer[5000];

                for (size_t back = 1; back < 5000; back += 97) {
                        assert_int_equal(bth_source_read(s, FILE_BYTES - back, buffer, back), 0);
                        assert_memory_equal(buffer, content + FILE_BYTES - back, back);
                }
                assert_int_equal(bth_source_read(s, FILE_BYTES - 1, buffer, 2), -EINVAL);
                s = bth_source_free(s);
        }
}

static void *reader(void *userdata)
{
        read_randomly(userdata, (unsigned)(uintptr_t)pthread_self(), 25);
        return NULL;
}

static void test_threads(void **state)
{
        struct bth_source *s = open_mode(NULL);
        pthread_t threads[6];

        for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
                assert_int_equal(pthread_create(&threads[i], NULL, reader, s), 0);
        for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        s = bth_source_free(s);
}

/* What was there is gone: never taken for an end of file. */
static void test_pulled(void **state)
{
        for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
                char other[] = "/var/tmp/berth-block-XXXXXX";
                int fd = mkstemp(other);
                struct bth_source *s = NULL;
                uint8_t *buffer = bth_io_buffer_new(4 << 20);
                struct bth_read reads[3];

                assert_int_equal(ftruncate(fd, 4 << 20), 0);
                assert_int_equal(hal_block_open_fd(fd, true, &modes[i], &s, NULL), 0);
                assert_int_equal(truncate(other, 1 << 20), 0);
                assert_int_equal(bth_source_read(s, 0, buffer, 4 << 20), -ENODEV);
                assert_int_equal(bth_source_read(s, (2 << 20) + 1, buffer, 100), -ENODEV);
                reads[0] = (struct bth_read){ 0, 1 << 20, buffer, -1 };
                reads[1] = (struct bth_read){ 2 << 20, 1 << 20, buffer + (1 << 20), -1 };
                reads[2] = (struct bth_read){ 4096, 4096, buffer + (2 << 20), -1 };
                assert_int_equal(bth_source_read_many(s, reads, 3), -ENODEV);
                assert_int_equal(reads[0].result, 0);
                assert_int_equal(reads[1].result, -ENODEV);
                assert_int_equal(reads[2].result, 0);
                s = bth_source_free(s);
                free(buffer);
                unlink(other);
        }
}

static void test_refused(void **state)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct bth_source *s = NULL;

        assert_int_equal(hal_block_open_fd(open("/dev/null", O_RDONLY), true, NULL, &s, &e),
                         -ENOTBLK);
        assert_int_equal(hal_block_open_fd(-1, true, NULL, &s, &e), -EBADF);
        assert_int_equal(e.reason, BTH_REASON_DRIVE_READ_ERROR);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_modes),   cmocka_unit_test(test_tail),
                cmocka_unit_test(test_threads), cmocka_unit_test(test_pulled),
                cmocka_unit_test(test_refused),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
