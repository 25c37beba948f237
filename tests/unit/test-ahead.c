/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reading ahead: what comes is what is there, fewer requests reach the source, doubts reach it
 * always. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/ahead.h"

#define WINDOW BTH_AHEAD_WINDOW_BYTES
#define SIZE_BYTES                                                                     \
        (WINDOW * 40 + 5000) /* more windows than there is room for; the last is short \
                              */
#define NO_PLACE UINT64_MAX

/* Content that tells its place; counts requests, and may fail at one place. */
struct below {
        struct bth_source base;
        atomic_uint_fast64_t reads;
        uint64_t bad_place;
        uint8_t spin; /* added to every byte: what the device says now */
};

static uint8_t byte_at(uint64_t place)
{
        return (uint8_t)(place * UINT64_C(0x9E3779B97F4A7C15) >> 56);
}

static int below_read(struct bth_source *s, uint64_t offset, void *buffer, size_t length)
{
        struct below *b = container_of(s, struct below, base);
        uint8_t *out = buffer;

        atomic_fetch_add(&b->reads, 1);
        if (b->bad_place >= offset && b->bad_place - offset < length)
                return -EIO;
        for (size_t i = 0; i < length; i++)
                out[i] = (uint8_t)(byte_at(offset + i) + b->spin);
        return 0;
}

static const struct bth_source_ops below_ops = { .read = below_read };

struct fixture {
        struct below below;
        struct bth_source *ahead;
};

static int set_up(void **state)
{
        struct fixture *f = calloc(1, sizeof *f);

        assert_non_null(f);
        f->below.base = (struct bth_source){ &below_ops, SIZE_BYTES, 512, 1 };
        f->below.bad_place = NO_PLACE;
        assert_int_equal(bth_source_new_ahead(&f->below.base, &f->ahead), 0);
        assert_int_equal(f->ahead->size_bytes, SIZE_BYTES);
        *state = f;
        return 0;
}

static int tear_down(void **state)
{
        struct fixture *f = *state;

        (void)bth_source_free(f->ahead);
        free(f);
        return 0;
}

static bool is_right(struct fixture *f, uint64_t offset, size_t length)
{
        static _Thread_local uint8_t buffer[2 * WINDOW];

        if (bth_source_read(f->ahead, offset, buffer, length) < 0)
                return false;
        for (size_t i = 0; i < length; i++)
                if (buffer[i] != byte_at(offset + i))
                        return false;
        return true;
}

static void test_small_files_in_a_row(void **state)
{
        struct fixture *f = *state;
        uint64_t windows = SIZE_BYTES / WINDOW;

        for (uint64_t at = 0; at + 16384 <= SIZE_BYTES; at += 16384)
                assert_true(is_right(f, at, 16384));
        /* The first window's first read is the only one that goes alone. */
        assert_int_equal(atomic_load(&f->below.reads), windows + 1);
        assert_true(is_right(f, SIZE_BYTES - 5000, 3000));
        assert_true(is_right(f, SIZE_BYTES - 1000, 1000));
        assert_int_equal(atomic_load(&f->below.reads), windows + 2);
}

static void test_a_place_is_served_once(void **state)
{
        struct fixture *f = *state;
        uint8_t byte;

        assert_true(is_right(f, 0, 4096));
        assert_true(is_right(f, 4096, 4096)); /* fills */
        assert_true(is_right(f, 8192, 4096)); /* served */
        f->below.spin = 1;
        assert_int_equal(bth_source_read(f->ahead, 8192, &byte, 1), 0);
        assert_int_equal(byte, (uint8_t)(byte_at(8192) + 1));
        assert_int_equal(bth_source_read(f->ahead, 12288, &byte, 1), 0);
        assert_int_equal(byte, byte_at(12288)); /* of the window as it was read */
        assert_int_equal(bth_source_read(f->ahead, 12288 + 1023, &byte, 1), 0);
        assert_int_equal(byte, (uint8_t)(byte_at(12288 + 1023) + 1));
}

static void test_large_and_lonely_reads_go_through(void **state)
{
        struct fixture *f = *state;

        assert_true(is_right(f, 100, BTH_AHEAD_SMALL_BYTES + 1));
        assert_true(is_right(f, 200, BTH_AHEAD_SMALL_BYTES + 1));
        assert_true(is_right(f, WINDOW - 10, 20));
        assert_true(is_right(f, WINDOW - 10, 20));
        for (uint64_t window = 2; window < 30; window++)
                assert_true(is_right(f, window * WINDOW + 77, 100));
        assert_int_equal(atomic_load(&f->below.reads), 4 + 28);
        assert_int_equal(bth_source_read(f->ahead, SIZE_BYTES, &(uint8_t){ 0 }, 1), -EINVAL);
}

static void test_a_bad_neighbour(void **state)
{
        struct fixture *f = *state;
        uint8_t byte;

        f->below.bad_place = 100000;
        for (uint64_t at = 0; at < WINDOW; at += 8192)
                if (at / 8192 != 100000 / 8192)
                        assert_true(is_right(f, at, 8192));
                else
                        assert_int_equal(bth_source_read(f->ahead, 100000, &byte, 1), -EIO);
}

struct worker {
        struct fixture *f;
        uint64_t seed;
        bool right;
};

static void *read_at_random(void *userdata)
{
        struct worker *w = userdata;

        w->right = true;
        for (int i = 0; i < 400; i++) {
                uint64_t at;

                w->seed = w->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
                at = (w->seed >> 16) % (SIZE_BYTES - 6000);
                w->right = w->right && is_right(w->f, at, 1 + (size_t)(w->seed >> 52));
        }
        return NULL;
}

static void test_many_threads(void **state)
{
        struct worker workers[8];
        pthread_t threads[8];

        for (size_t i = 0; i < ARRAY_SIZE(workers); i++) {
                workers[i] = (struct worker){ *state, i + 1, false };
                assert_int_equal(pthread_create(&threads[i], NULL, read_at_random, &workers[i]), 0);
        }
        for (size_t i = 0; i < ARRAY_SIZE(workers); i++) {
                assert_int_equal(pthread_join(threads[i], NULL), 0);
                assert_true(workers[i].right);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_small_files_in_a_row, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_a_place_is_served_once, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_large_and_lonely_reads_go_through, set_up,
                                                tear_down),
                cmocka_unit_test_setup_teardown(test_a_bad_neighbour, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_many_threads, set_up, tear_down),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
