/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fault-source - the misbehaving drive of other tests does what it says, and nothing else. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/faultsource.h"

static uint8_t content[65536];

static struct bth_source *make(const struct fault_plan *plan)
{
        struct bth_source *below = NULL, *s = NULL;

        for (size_t i = 0; i < sizeof content; i++)
                content[i] = (uint8_t)(i * 7 + i / 256);
        assert_int_equal(bth_source_new_memory(content, sizeof content, &below), 0);
        assert_int_equal(fault_source_new(below, true, plan, &s), 0);
        return s;
}

static void test_ranges(void **state)
{
        const struct fault_range ranges[] = { { 4096, 512, -EIO, 0 }, { 8192, 1, -ENODATA, 2 } };
        struct fault_plan plan = FAULT_PLAN_NONE;
        uint8_t buffer[4096];
        struct fault_counts counts;
        struct bth_source *s;

        plan.ranges = ranges;
        plan.n_ranges = 2;
        s = make(&plan);
        assert_int_equal(bth_source_read(s, 0, buffer, 4096), 0);
        assert_memory_equal(buffer, content, 4096);
        assert_int_equal(bth_source_read(s, 1, buffer, 4096), -EIO);
        assert_int_equal(bth_source_read(s, 4607, buffer, 1), -EIO);
        assert_int_equal(bth_source_read(s, 4608, buffer, 4096 - 512), 0);
        assert_int_equal(bth_source_read(s, 8192, buffer, 10), -ENODATA);
        assert_int_equal(bth_source_read(s, 8192, buffer, 10), -ENODATA);
        assert_int_equal(bth_source_read(s, 8192, buffer, 10), 0);
        fault_source_get_counts(s, &counts);
        assert_true(counts.reads == 3 && counts.failed == 4);
        s = bth_source_free(s);
}

static void test_gone(void **state)
{
        struct fault_plan plan = FAULT_PLAN_NONE;
        uint8_t buffer[4096] = { 0 };
        struct bth_source *s;

        plan.gone_after_bytes = 4096;
        plan.short_reads = true;
        s = make(&plan);
        assert_int_equal(bth_source_read(s, 0, buffer, 4096), 0);
        memset(buffer, 0xee, sizeof buffer);
        assert_int_equal(bth_source_read(s, 4096, buffer, 4096), -ENODEV);
        assert_memory_equal(buffer, content + 4096, 2048);
        assert_int_equal(buffer[2048], 0xee);
        assert_int_equal(bth_source_read(s, 0, buffer, 1), -ENODEV);
        fault_source_dock(s);
        assert_int_equal(bth_source_read(s, 0, buffer, 4096), 0);
        s = bth_source_free(s);
}

static void *read_one(void *userdata)
{
        uint8_t byte;

        return (void *)(intptr_t)bth_source_read(userdata, 0, &byte, 1);
}

static void test_stall(void **state)
{
        struct bth_source *s = make(&FAULT_PLAN_NONE);
        pthread_t thread;
        void *r;

        for (int pull = 0; pull < 2; pull++) {
                fault_source_stall(s);
                assert_int_equal(pthread_create(&thread, NULL, read_one, s), 0);
                fault_source_wait_stalled(s);
                if (pull)
                        fault_source_pull(s);
                else
                        fault_source_resume(s);
                assert_int_equal(pthread_join(thread, &r), 0);
                assert_int_equal((intptr_t)r, pull ? -ENODEV : 0);
        }
        s = bth_source_free(s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_ranges),
                cmocka_unit_test(test_gone),
                cmocka_unit_test(test_stall),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
