/* SPDX-License-Identifier: GPL-3.0-or-later */
/* share - memory and bandwidth over all drives: never more than there is, and fair. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/share.h"

#define MIB (UINT64_C(1) << 20)

static void test_memory(void **state)
{
        (void)state;
        assert_int_equal(dmn_memory_share(1024 * MIB, 0, 0), DMN_MEMORY_MAX_BYTES);
        assert_int_equal(dmn_memory_share(1024 * MIB, 0, 7), 128 * MIB);
        assert_int_equal(dmn_memory_share(1024 * MIB, 0, 1000), DMN_MEMORY_MIN_BYTES);
        assert_int_equal(dmn_memory_share(1024 * MIB, 1000 * MIB, 0), 0);
        assert_int_equal(dmn_memory_share(1024 * MIB, 2000 * MIB, 0), 0);
        assert_int_equal(dmn_memory_share(DMN_MEMORY_MIN_BYTES, 0, 5), DMN_MEMORY_MIN_BYTES);
}

/* However many start one after the other, the sum stays within the budget. */
static void test_memory_sum(void **state)
{
        uint64_t taken = 0, share;
        size_t n = 0;

        (void)state;
        while ((share = dmn_memory_share(700 * MIB, taken, 20 - n)) > 0) {
                taken += share;
                n++;
        }
        assert_true(taken <= 700 * MIB);
        assert_true(n >= 10);
}

static void check(uint64_t total, const uint64_t *wants, size_t n, const uint64_t *expected)
{
        uint64_t shares[8];

        dmn_bandwidth_shares(total, wants, n, shares);
        for (size_t i = 0; i < n; i++)
                assert_int_equal(shares[i], expected[i]);
}

static void test_bandwidth(void **state)
{
        (void)state;
        check(0, (uint64_t[]){ 5, UINT64_MAX }, 2, (uint64_t[]){ 0, 0 });
        check(100, (uint64_t[]){ UINT64_MAX, UINT64_MAX }, 2, (uint64_t[]){ 50, 50 });
        check(100, (uint64_t[]){ 10, UINT64_MAX }, 2, (uint64_t[]){ 10, 90 });
        check(100, (uint64_t[]){ UINT64_MAX, 45, 10 }, 3, (uint64_t[]){ 45, 45, 10 });
        check(90, (uint64_t[]){ 1, 2, 3 }, 3, (uint64_t[]){ 1, 2, 3 });
        check(2, (uint64_t[]){ UINT64_MAX, UINT64_MAX, UINT64_MAX }, 3, (uint64_t[]){ 1, 1, 1 });
        check(100, (uint64_t[]){ 0, UINT64_MAX }, 2, (uint64_t[]){ 1, 99 });
        check(100, NULL, 0, NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_memory),
                cmocka_unit_test(test_memory_sum),
                cmocka_unit_test(test_bandwidth),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
