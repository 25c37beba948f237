/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-distribute - every file on one drive, no drive over its room, and an honest count of what is
 * missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/prep-distribute.h"

static const struct ctl_cost cost = { .block_bytes = UINT64_C(4) << 20 };
#define GB UINT64_C(1000000000)

static struct ctl_items make_items(const uint64_t *sizes, size_t n)
{
        struct ctl_items items = { .items = calloc(n, sizeof *items.items), .n_items = n };

        assert_non_null(items.items);
        for (size_t i = 0; i < n; i++)
                items.items[i] = (struct ctl_item){ .source_path = "/s",
                                                    .blob_path = "c/b",
                                                    .file_path = "\\s\\f",
                                                    .size_bytes = sizes[i] };
        return items;
}

static void test_fits(void **state)
{
        const uint64_t sizes[] = { GB, 5, 6 * GB, 0, 3 * GB, 100000 };
        struct ctl_items items = make_items(sizes, ARRAY_SIZE(sizes));
        struct ctl_target targets[] = { { .free_bytes = 8 * GB }, { .free_bytes = 4 * GB } };
        struct ctl_distribution d;
        uint64_t used[2] = { 0 };

        assert_int_equal(ctl_distribute(&items, &cost, targets, 2, &d), 0);
        assert_int_equal(d.n_unplaced, 0);
        assert_int_equal(d.n_more_drives, 0);
        assert_null(d.largest_unplaced);
        for (size_t i = 0; i < items.n_items; i++) {
                assert_in_range(items.items[i].drive, 0, 1);
                used[items.items[i].drive] += ctl_item_cost(&items.items[i], &cost);
        }
        for (size_t i = 0; i < 2; i++) {
                assert_true(used[i] == targets[i].used_bytes);
                assert_true(used[i] <= targets[i].free_bytes);
        }
        free(items.items);
}

static void test_counts_more(void **state)
{
        const uint64_t sizes[] = { 6 * GB, 6 * GB, 6 * GB, 20 * GB };
        struct ctl_items items = make_items(sizes, ARRAY_SIZE(sizes));
        struct ctl_target target = { .free_bytes = 10 * GB };
        struct ctl_distribution d;

        assert_int_equal(ctl_distribute(&items, &cost, &target, 1, &d), 0);
        assert_int_equal(d.n_unplaced, 3);
        assert_int_equal(d.n_too_large, 1);
        assert_int_equal(d.n_more_drives, 2);
        assert_ptr_equal(d.largest_unplaced, &items.items[3]);
        assert_int_equal(items.items[3].drive, UINT32_MAX);
        free(items.items);
}

static void test_small_files_stay_in_order(void **state)
{
        enum { N = 1000 };
        uint64_t sizes[N];
        struct ctl_items items;
        struct ctl_target targets[2] = { { .free_bytes = 4000000 }, { .free_bytes = 4000000 } };
        struct ctl_distribution d;

        for (size_t i = 0; i < N; i++)
                sizes[i] = 1000;
        items = make_items(sizes, N);
        assert_int_equal(ctl_distribute(&items, &cost, targets, 2, &d), 0);
        assert_int_equal(d.n_unplaced, 0);
        for (size_t i = 1; i < N; i++)
                assert_true(items.items[i - 1].drive <= items.items[i].drive);
        assert_int_equal(targets[0].n_items + targets[1].n_items, N);
        assert_true(targets[1].n_items > 0);
        free(items.items);
}

static void test_no_drives(void **state)
{
        const uint64_t sizes[] = { 1 };
        struct ctl_items items = make_items(sizes, 1);
        struct ctl_distribution d;

        assert_int_equal(ctl_distribute(&items, &cost, NULL, 0, &d), 0);
        assert_int_equal(d.n_unplaced, 1);
        free(items.items);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_fits),
                cmocka_unit_test(test_counts_more),
                cmocka_unit_test(test_small_files_stay_in_order),
                cmocka_unit_test(test_no_drives),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
