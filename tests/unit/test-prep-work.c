/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-work - the plan comes back as it was, and the record counts exactly what is on the drive. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/io.h"
#include "ctl/prep-work.h"

static char folder[64], plan[128], done[128];

static int setup(void **state)
{
        snprintf(folder, sizeof folder, "/tmp/berth-work-XXXXXX");
        assert_non_null(mkdtemp(folder));
        snprintf(plan, sizeof plan, "%s/s.plan", folder);
        snprintf(done, sizeof done, "%s/s-0.done", folder);
        return 0;
}

static int teardown(void **state)
{
        (void)unlink(plan);
        (void)unlink(done);
        assert_int_equal(rmdir(folder), 0);
        return 0;
}

static void test_plan(void **state)
{
        struct ctl_item list[] = {
                { "/src/a", "attic/ä \"q\"", "\\s\\a", 7, 1234, 999999999, 0, 1, false },
                { "/src/b", "attic/b\n", "\\s\\b", UINT64_C(1) << 40, -5, 0, 3, 0, true },
        };
        struct ctl_items in = { .items = list, .n_items = 2 }, out;
        _cleanup_json_ json_t *header = json_pack("{s:s}", "session", "s"), *back = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        struct stat st;

        assert_int_equal(ctl_plan_write(plan, header, &in, &e), 0);
        assert_int_equal(stat(plan, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(ctl_plan_write(plan, header, &in, &e), -EEXIST);
        assert_int_equal(ctl_plan_load(plan, &back, &out, &e), 0);
        assert_int_equal(out.n_items, 2);
        for (size_t i = 0; i < 2; i++) {
                assert_string_equal(out.items[i].source_path, list[i].source_path);
                assert_string_equal(out.items[i].blob_path, list[i].blob_path);
                assert_string_equal(out.items[i].file_path, list[i].file_path);
                assert_true(out.items[i].size_bytes == list[i].size_bytes);
                assert_true(out.items[i].mtime_sec == list[i].mtime_sec);
                assert_true(out.items[i].mtime_nsec == list[i].mtime_nsec);
                assert_int_equal(out.items[i].row, list[i].row);
                assert_int_equal(out.items[i].drive, list[i].drive);
                assert_int_equal(out.items[i].page, list[i].page);
        }
        ctl_items_clear(&out);
}

static void test_plan_cut(void **state)
{
        struct ctl_item item = { "/s", "c/b", "\\s\\f", 1, 1, 0, 0, 0, false };
        struct ctl_items in = { .items = &item, .n_items = 1 }, out;
        _cleanup_json_ json_t *header = json_object(), *back = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        struct stat st;

        assert_int_equal(ctl_plan_write(plan, header, &in, &e), 0);
        assert_int_equal(stat(plan, &st), 0);
        for (off_t n = st.st_size - 2; n >= 0; n -= 7) {
                assert_int_equal(truncate(plan, n), 0);
                assert_int_equal(ctl_plan_load(plan, &back, &out, &e), -EBADMSG);
                assert_string_equal(e.object, plan);
        }
}

/* A data set that names its files one by one. */
static void test_plan_rows(void **state)
{
        struct ctl_items in = { 0 }, out;
        _cleanup_json_ json_t *header = json_object(), *back = NULL;
        json_t *rows = json_array();
        struct bth_error e = BTH_ERROR_INIT;

        for (int i = 0; i < 200000; i++)
                json_array_append_new(rows, json_pack("{s:s, s:i}", "destination",
                                                      "container/folder/and/a/long/name", "n", i));
        json_object_set_new(header, "rows", rows);
        assert_int_equal(ctl_plan_write(plan, header, &in, &e), 0);
        assert_int_equal(ctl_plan_load(plan, &back, &out, &e), 0);
        assert_true(json_equal(json_object_get(back, "rows"), rows));
        ctl_items_clear(&out);
}

struct seen {
        unsigned n;
        size_t last;
        size_t blocks;
};

static int see(void *userdata, size_t item, const uint8_t *hashes, size_t n_blocks)
{
        struct seen *s = userdata;

        s->n++;
        s->last = item;
        s->blocks += n_blocks;
        for (size_t i = 0; i < 16 * n_blocks; i++)
                assert_int_equal(hashes[i], (uint8_t)(item + i));
        return 0;
}

static void add(struct ctl_done *d, size_t item, size_t n_blocks)
{
        uint8_t hashes[16 * 8];

        for (size_t i = 0; i < 16 * n_blocks; i++)
                hashes[i] = (uint8_t)(item + i);
        assert_int_equal(ctl_done_add(d, item, hashes, n_blocks), 0);
}

static struct seen reopen(bool redo_replayed)
{
        struct ctl_done *d = NULL;
        struct seen s = { 0 };

        assert_int_equal(ctl_done_open(done, 100, redo_replayed, see, &s, &d, NULL), 0);
        (void)ctl_done_close(d);
        return s;
}

static void test_what_counts(void **state)
{
        struct ctl_done *d = NULL;
        struct seen s;

        assert_int_equal(ctl_done_open(done, 100, false, see, &s, &d, NULL), 0);
        add(d, 1, 0);
        add(d, 2, 3);
        assert_int_equal(ctl_done_ready(d), 0);
        assert_int_equal(ctl_done_checkpoint(d), 0);
        add(d, 3, 1);
        assert_int_equal(ctl_done_ready(d), 0);
        (void)ctl_done_close(d);

        s = reopen(true); /* a redo file was there: 3 counts, and from now on for ever */
        assert_int_equal(s.n, 3);
        s = reopen(false);
        assert_int_equal(s.n, 3);
        assert_int_equal(s.blocks, 4);

        assert_int_equal(ctl_done_open(done, 100, false, NULL, NULL, &d, NULL), 0);
        add(d, 4, 1);
        assert_int_equal(ctl_done_ready(d), 0);
        (void)ctl_done_close(d);
        s = reopen(false); /* no redo file: 4 is not on the drive */
        assert_int_equal(s.n, 3);
        s = reopen(true); /* and the record of it is gone */
        assert_int_equal(s.n, 3);
}

/* A page blob of 8 TiB has two million blocks. */
static void test_very_many_blocks(void **state)
{
        const size_t n = (size_t)1 << 21;
        uint8_t *hashes = malloc(16 * n);
        struct ctl_done *d = NULL;
        struct seen s = { 0 };

        assert_non_null(hashes);
        for (size_t i = 0; i < 16 * n; i++)
                hashes[i] = (uint8_t)(7 + i);
        assert_int_equal(ctl_done_open(done, 100, false, NULL, NULL, &d, NULL), 0);
        assert_int_equal(ctl_done_add(d, 7, hashes, n), 0);
        assert_int_equal(ctl_done_add(d, 8, hashes, 0), 0);
        assert_int_equal(ctl_done_ready(d), 0);
        assert_int_equal(ctl_done_checkpoint(d), 0);
        (void)ctl_done_close(d);
        free(hashes);
        s = reopen(false);
        assert_int_equal(s.n, 2);
        assert_int_equal(s.blocks, n);
}

/* Cut at every byte: never an error, never more than what has its checkpoint. */
static void test_cut_anywhere(void **state)
{
        struct ctl_done *d = NULL;
        char *data;
        size_t n;

        assert_int_equal(ctl_done_open(done, 100, false, NULL, NULL, &d, NULL), 0);
        for (size_t i = 0; i < 5; i++) {
                add(d, i, 1);
                assert_int_equal(ctl_done_ready(d), 0);
                assert_int_equal(ctl_done_checkpoint(d), 0);
        }
        (void)ctl_done_close(d);
        assert_int_equal(bth_read_file(done, 1 << 20, &data, &n), 0);
        for (size_t cut = 0; cut <= n; cut++) {
                unsigned marks = 0;

                assert_int_equal(bth_write_file_atomic(done, data, cut, 0600), 0);
                for (size_t at = 0; at + 1 < cut; at++)
                        marks += data[at] == '}' && data[at + 1] == '\n' && at > 4 &&
                                 memcmp(data + at - 4, "t\":", 3) == 0;
                assert_int_equal(reopen(false).n, marks);
        }
        free(data);
}

static void test_damage(void **state)
{
        static const char text[] =
                "{\"item\":1,\"md5\":\"00\"}\n{\"ready\":1}\n{\"checkpoint\":1}\n";
        struct bth_error e = BTH_ERROR_INIT;
        struct ctl_done *d = NULL;

        assert_int_equal(bth_write_file_atomic(done, text, sizeof text - 1, 0600), 0);
        assert_int_equal(ctl_done_open(done, 100, false, NULL, NULL, &d, &e), -EBADMSG);
        assert_int_equal(e.line, 1);
        assert_string_equal(e.object, done);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(test_plan),   T(test_plan_cut),  T(test_what_counts),      T(test_cut_anywhere),
                T(test_damage), T(test_plan_rows), T(test_very_many_blocks),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
