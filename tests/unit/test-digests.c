/* SPDX-License-Identifier: GPL-3.0-or-later */
/* md5multi, crc64 - known values, every engine against another, pieces of any length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/str.h"
#include "crypto/crc64.h"
#include "crypto/md5multi.h"

#define DATA_BYTES ((size_t)1 << 20)

static uint8_t *data;

static int setup(void **state)
{
        unsigned seed = 5;

        data = malloc(DATA_BYTES);
        assert_non_null(data);
        for (size_t i = 0; i < DATA_BYTES; i++)
                data[i] = (uint8_t)rand_r(&seed);
        return 0;
}

static int teardown(void **state)
{
        free(data);
        return 0;
}

/* Import-export specification, appendix B, and RFC 1321. */
static void test_md5_known(void **state)
{
        static const struct {
                const char *text, *hash;
        } cases[] = {
                { "ABCD", "CB08CA4A7BB5F9683C19133A84872CA7" },
                { "EFGH", "17DD6919F5930EA8BD58FECBAFD7EB7B" },
                { "", "D41D8CD98F00B204E9800998ECF8427E" },
                { "abcdefghijklmnopqrstuvwxyz", "C3FCD3D76192E4007DFB496CCA67E13B" },
                { "1234567890123456789012345678901234567890123456789012345678901234567890123456789"
                  "0",
                  "57EDF4A22BE3C955AC49DA2E2107B67A" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct cry_md5 md5;
                uint8_t hash[16];
                char text[33];

                cry_md5_init(&md5);
                cry_md5_update(&md5, cases[i].text, strlen(cases[i].text));
                cry_md5_finish(&md5, hash);
                assert_string_equal(bth_hex_encode(hash, 16, text), cases[i].hash);
        }
}

static void assert_right(const struct cry_md5 *md5, const uint8_t *bytes, size_t n)
{
        uint8_t hash[16], expected[16];

        cry_md5_finish(md5, hash);
        assert_int_equal(bth_digest_of(BTH_DIGEST_MD5, bytes, n, expected), 0);
        assert_memory_equal(hash, expected, 16);
}

/* Streams of unequal lengths, fed in pieces of any length: lanes end and are filled again. */
static void test_md5_streams(void **state)
{
        enum { STREAMS = 53 };
        unsigned seed = 11;

        for (int e = CRY_MD5_BEST; e < _CRY_MD5_ENGINE_MAX; e++) {
                if (!cry_md5_engine_available((enum cry_md5_engine)e))
                        continue;
                for (int round = 0; round < 12; round++) {
                        struct cry_md5 md5[STREAMS];
                        size_t start[STREAMS], fed[STREAMS] = { 0 };
                        const size_t n = 1 + (unsigned)rand_r(&seed) % STREAMS;

                        for (size_t i = 0; i < n; i++) {
                                cry_md5_init(&md5[i]);
                                start[i] = (unsigned)rand_r(&seed) % 1000;
                        }
                        for (int piece = 0; piece < 6; piece++) {
                                struct cry_md5_job jobs[STREAMS];

                                for (size_t i = 0; i < n; i++) {
                                        size_t length = (unsigned)rand_r(&seed) %
                                                        (piece % 2 ? 200u : 20000u);

                                        jobs[i] = (struct cry_md5_job){ &md5[i],
                                                                        data + start[i] + fed[i],
                                                                        length };
                                        fed[i] += length;
                                }
                                cry_md5_update_many_with((enum cry_md5_engine)e, jobs, n);
                        }
                        for (size_t i = 0; i < n; i++)
                                assert_right(&md5[i], data + start[i], fed[i]);
                }
        }
}

/* Every length around the block border, on every engine. */
static void test_md5_lengths(void **state)
{
        for (int e = CRY_MD5_BEST; e < _CRY_MD5_ENGINE_MAX; e++) {
                if (!cry_md5_engine_available((enum cry_md5_engine)e))
                        continue;
                for (size_t n = 0; n < 200; n++) {
                        struct cry_md5 md5[2];
                        struct cry_md5_job jobs[] = { { &md5[0], data, n },
                                                      { &md5[1], data + 1, n } };

                        cry_md5_init(&md5[0]);
                        cry_md5_init(&md5[1]);
                        cry_md5_update_many_with((enum cry_md5_engine)e, jobs, 2);
                        assert_right(&md5[0], data, n);
                        assert_right(&md5[1], data + 1, n);
                }
        }
}

static void test_crc_known(void **state)
{
        uint8_t ones[4096];

        memset(ones, 0x31, sizeof ones);
        for (int e = CRY_CRC64_BEST; e < _CRY_CRC64_ENGINE_MAX; e++) {
                enum cry_crc64_engine engine = (enum cry_crc64_engine)e;

                if (!cry_crc64_engine_available(engine))
                        continue;
                assert_true(cry_crc64_with(engine, 0, "123456789", 9) ==
                            UINT64_C(0xAE8B14860A799888));
                assert_true(cry_crc64_with(engine, 0, "ABCDEFGH", 8) ==
                            UINT64_C(7449713957301815563));
                assert_true(cry_crc64_with(engine, 0, ones, sizeof ones) ==
                            UINT64_C(16033727819182370206));
                assert_true(cry_crc64_with(engine, 0, "", 0) == 0);
        }
}

static void test_crc_engines_agree(void **state)
{
        unsigned seed = 17;

        for (int round = 0; round < 3000; round++) {
                const size_t n = (unsigned)rand_r(&seed) % (round < 2000 ? 1500u : 100000u);
                const uint8_t *p = data + (unsigned)rand_r(&seed) % 64;
                const uint64_t before = (uint64_t)rand_r(&seed) * (unsigned)rand_r(&seed);
                const uint64_t expected = cry_crc64_with(CRY_CRC64_TABLE, before, p, n);

                for (int e = CRY_CRC64_CLMUL; e < _CRY_CRC64_ENGINE_MAX; e++)
                        if (cry_crc64_engine_available((enum cry_crc64_engine)e))
                                assert_true(cry_crc64_with((enum cry_crc64_engine)e, before, p,
                                                           n) == expected);
        }
}

static void test_crc_combine(void **state)
{
        unsigned seed = 19;

        for (int round = 0; round < 200; round++) {
                size_t a = (unsigned)rand_r(&seed) % 5000, b = (unsigned)rand_r(&seed) % 5000;
                uint64_t whole = cry_crc64(0, data, a + b);

                assert_true(cry_crc64(cry_crc64(0, data, a), data + a, b) == whole);
                assert_true(cry_crc64_combine(cry_crc64(0, data, a), cry_crc64(0, data + a, b),
                                              b) == whole);
        }
}

/* Zero bytes by doubling, to 2^60 and beyond: (A + B) + C equals A + (B + C) at every length. */
static void test_crc_combine_huge(void **state)
{
        const uint64_t tail = cry_crc64(0, "123456789", 9), head = cry_crc64(0, "ABCDEFGH", 8);
        uint64_t zeros = cry_crc64(0, "", 1);

        for (unsigned log2_bytes = 0; log2_bytes < 64; log2_bytes++) {
                const uint64_t n = UINT64_C(1) << log2_bytes;
                const uint64_t left = cry_crc64_combine(cry_crc64_combine(head, zeros, n), tail, 9);
                const uint64_t right =
                        cry_crc64_combine(head, cry_crc64_combine(zeros, tail, 9), n + 9);

                assert_true(left == right);
                zeros = cry_crc64_combine(zeros, zeros, n);
        }
}

/* One long stream among short ones is finished alone; the state may be kept in between. */
static void test_md5_one_long(void **state)
{
        for (int e = CRY_MD5_BEST; e < _CRY_MD5_ENGINE_MAX; e++) {
                struct cry_md5 md5[20];

                if (!cry_md5_engine_available((enum cry_md5_engine)e))
                        continue;
                for (size_t i = 0; i < 20; i++)
                        cry_md5_init(&md5[i]);
                for (int half = 0; half < 2; half++) {
                        struct cry_md5_job jobs[20];

                        for (size_t i = 0; i < 20; i++) {
                                size_t n = i == 7 ? DATA_BYTES / 2 : 100 * i;

                                jobs[i] =
                                        (struct cry_md5_job){ &md5[i], data + (size_t)half * n, n };
                        }
                        cry_md5_update_many_with((enum cry_md5_engine)e, jobs, 20);
                }
                for (size_t i = 0; i < 20; i++)
                        assert_right(&md5[i], data, i == 7 ? DATA_BYTES : 200 * i);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_md5_known),         cmocka_unit_test(test_md5_streams),
                cmocka_unit_test(test_md5_lengths),       cmocka_unit_test(test_crc_known),
                cmocka_unit_test(test_crc_engines_agree), cmocka_unit_test(test_crc_combine),
                cmocka_unit_test(test_crc_combine_huge),  cmocka_unit_test(test_md5_one_long),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
