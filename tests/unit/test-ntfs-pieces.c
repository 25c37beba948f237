/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Pieces of $MFT: one read for the records of many files and for all who ask at once; a bad sector
 * costs the record it is in and no other. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "media/ntfs_pieces.h"

#define PIECE    ((uint64_t)MED_NTFS_PIECE_BYTES)
#define RECORD   1024u
#define N_PIECES 40u
#define THREADS  16u
#define NO_PLACE UINT64_MAX

/* A table whose bytes tell their record; counts reads, fails where a bad place is. */
struct table {
        struct bth_source base;
        struct med_ntfs_pieces *pieces;
        atomic_uint reads;
        uint64_t bad_place;
        long slow_nsec;
};

static uint8_t byte_of(uint64_t offset)
{
        return (uint8_t)(offset / RECORD * 37 + 1);
}

static int table_read(struct bth_source *s, uint64_t offset, void *buffer, size_t length)
{
        struct table *t = container_of(s, struct table, base);

        atomic_fetch_add(&t->reads, 1);
        (void)nanosleep(&(struct timespec){ .tv_nsec = t->slow_nsec }, NULL);
        if (t->bad_place >= offset && t->bad_place - offset < length)
                return -EIO;
        for (size_t i = 0; i < length; i++)
                ((uint8_t *)buffer)[i] = byte_of(offset + i);
        return 0;
}

static const struct bth_source_ops table_ops = { .read = table_read };

static int set_up(void **state)
{
        struct table *t = calloc(1, sizeof *t);

        assert_non_null(t);
        t->base = (struct bth_source){ &table_ops, N_PIECES * PIECE + 3 * RECORD, 1, 1 };
        t->bad_place = NO_PLACE;
        t->pieces = med_ntfs_pieces_new();
        assert_non_null(t->pieces);
        *state = t;
        return 0;
}

static int tear_down(void **state)
{
        struct table *t = *state;

        (void)med_ntfs_pieces_free(t->pieces);
        free(t);
        return 0;
}

static int get(struct table *t, uint64_t offset)
{
        uint8_t record[RECORD];
        int r = med_ntfs_pieces_read(t->pieces, &t->base, offset, record, sizeof record);

        for (size_t i = 0; i < sizeof record && r == 0; i++)
                if (record[i] != byte_of(offset))
                        return -EBADMSG;
        return r;
}

static void test_one_read_for_many(void **state)
{
        struct table *t = *state;

        for (uint64_t at = 0; at < 8 * PIECE; at += RECORD)
                assert_int_equal(get(t, at), 0);
        assert_int_equal(atomic_load(&t->reads), 8);
        /* Those that were read last are kept, in any order. */
        for (uint64_t at = 8 * PIECE; at > 0; at -= RECORD)
                assert_int_equal(get(t, at - RECORD), 0);
        assert_int_equal(atomic_load(&t->reads), 8);
        for (uint64_t piece = 8; piece < N_PIECES; piece++)
                assert_int_equal(get(t, piece * PIECE), 0);
        assert_int_equal(atomic_load(&t->reads), N_PIECES);
        assert_int_equal(get(t, 0), 0); /* long gone */
        assert_int_equal(atomic_load(&t->reads), N_PIECES + 1);
}

static void test_the_end_is_read_alone(void **state)
{
        struct table *t = *state;

        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(get(t, N_PIECES * PIECE + i * RECORD), 0);
        assert_int_equal(atomic_load(&t->reads), 3);
        assert_int_equal(get(t, N_PIECES * PIECE + 3 * RECORD), -EINVAL);
}

static void test_a_bad_sector(void **state)
{
        struct table *t = *state;

        t->bad_place = 5 * RECORD + 100;
        for (unsigned i = 0; i < 10; i++)
                assert_int_equal(get(t, i * RECORD), i == 5 ? -EIO : 0);
        /* The piece is not tried again for each of its records. */
        assert_int_equal(atomic_load(&t->reads), 1 + 10);
}

static void *get_one(void *userdata)
{
        static atomic_uint turn;
        uint64_t i = atomic_fetch_add(&turn, 1) % THREADS;

        return get(userdata, i * RECORD) == 0 ? userdata : NULL;
}

static void test_all_at_once(void **state)
{
        struct table *t = *state;
        pthread_t threads[THREADS];

        t->slow_nsec = 50000000;
        for (unsigned i = 0; i < THREADS; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, get_one, t), 0);
        for (unsigned i = 0; i < THREADS; i++) {
                void *right;

                assert_int_equal(pthread_join(threads[i], &right), 0);
                assert_non_null(right);
        }
        assert_int_equal(atomic_load(&t->reads), 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_one_read_for_many, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_the_end_is_read_alone, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_a_bad_sector, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_all_at_once, set_up, tear_down),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
