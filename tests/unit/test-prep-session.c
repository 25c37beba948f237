/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-session - how files are cut into blocks, the plan's header there and back, places of
 * content, the pool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/pool.h"
#include "ctl/prep-session.h"
#include "ctl/prep-volume.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static json_t *header(void)
{
        const struct ctl_session_row rows[] = {
                { .destination = "attic/",
                  .disposition_given = true,
                  .disposition = BTH_DISPOSITION_OVERWRITE,
                  .sidecars = { "/m.xml", NULL },
                  .sidecar_md5 = { { 1, 2, 3 } } },
                { .destination = "attic/x" },
        };
        const struct ctl_session_drive drive = { "/dev/sdx", "SERIAL", true };

        return json_pack("{s:s, s:I, s:b, s:b, s:[o,o], s:[o]}", "session", "one", "blockBytes",
                         (json_int_t)(4 * MIB), "contentMd5", 1, "skipWrite", 0, "rows",
                         ctl_session_row_to_json(&rows[0]), ctl_session_row_to_json(&rows[1]),
                         "drives", ctl_session_drive_to_json(&drive));
}

static void test_header(void **state)
{
        struct ctl_session s;
        char path[128];

        (void)state;
        assert_int_equal(ctl_session_read(header(), &s), 0);
        assert_string_equal(s.id, "one");
        assert_true(s.content_md5 && !s.skip_write);
        assert_int_equal(s.n_rows, 2);
        assert_int_equal(s.rows[0].disposition, BTH_DISPOSITION_OVERWRITE);
        assert_string_equal(s.rows[0].sidecars[CTL_SIDECAR_METADATA], "/m.xml");
        assert_null(s.rows[0].sidecars[CTL_SIDECAR_PROPERTIES]);
        assert_int_equal(s.rows[0].sidecar_md5[CTL_SIDECAR_METADATA][2], 3);
        assert_false(s.rows[1].disposition_given);
        assert_true(s.drives[0].format);
        assert_string_equal(ctl_sidecar_path(&s, 1, CTL_SIDECAR_METADATA, path),
                            "\\one.sidecars\\1.metadata.xml");
        ctl_session_clear(&s);
}

/* Each member that is missing or of another type is damage, not a default. */
static void test_damaged_header(void **state)
{
        static const char *const members[] = { "session",   "blockBytes", "contentMd5",
                                               "skipWrite", "rows",       "drives" };

        (void)state;
        for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
                json_t *without = header(), *odd = header();
                struct ctl_session s;

                json_object_del(without, members[i]);
                assert_int_equal(ctl_session_read(without, &s), -EBADMSG);
                json_object_set_new(odd, members[i], json_real(0.5));
                assert_int_equal(ctl_session_read(odd, &s), -EBADMSG);
        }
}

static void check_blocks(uint64_t base, uint64_t size, bool page, uint64_t block, size_t n)
{
        const struct ctl_session s = { .block_bytes = base };
        const struct ctl_item item = { .size_bytes = size, .page = page };

        assert_int_equal(ctl_item_block_bytes(&s, &item), block);
        assert_int_equal(ctl_item_blocks(&s, &item), n);
        assert_true(page || n <= 50000);
        assert_true(block * n >= size && (n == 0 || block * (n - 1) < size));
}

static void test_blocks(void **state)
{
        (void)state;
        check_blocks(4 * MIB, 0, false, 4 * MIB, 0);
        check_blocks(4 * MIB, 1, false, 4 * MIB, 1);
        check_blocks(4 * MIB, 4 * MIB, false, 4 * MIB, 1);
        check_blocks(4 * MIB, 4 * MIB + 1, false, 4 * MIB, 2);
        check_blocks(4 * MIB, 50000 * 4 * MIB, false, 4 * MIB, 50000); /* 195.3 GiB */
        check_blocks(4 * MIB, 50000 * 4 * MIB + 1, false, 5 * MIB, 40001);
        check_blocks(4 * MIB, 1000 * GIB, false, 21 * MIB, 48762);
        check_blocks(100 * MIB, 1000 * GIB, false, 100 * MIB, 10240);
        check_blocks(100 * MIB, 40 * MIB, true, 4 * MIB, 10); /* page ranges stay at 4 MiB */
        check_blocks(1 * MIB, 1000 * GIB, true, 1 * MIB, 1024000);
        /* A manifest holds two million ranges of one blob. */
        check_blocks(512, GIB, true, 512, 2097152);
        check_blocks(512, GIB + 512, true, 1024, 1048577);
        check_blocks(512, 8192 * GIB, true, 4 * MIB, 2097152);
}

/* Content lands in the places in the order of the file, whatever their order on the volume. */
static void test_extents(void **state)
{
        static const struct med_ntfs_extent places[] = { { 8192, 4096 },
                                                         { 0, 4096 },
                                                         { 16384, 8192 } };
        char name[] = "/tmp/berth-extents-XXXXXX", data[16384], back[24576];
        int fd = mkstemp(name);
        struct bth_sink *sink;

        (void)state;
        assert_true(fd >= 0);
        unlink(name);
        assert_int_equal(ftruncate(fd, sizeof back), 0);
        for (size_t i = 0; i < sizeof data; i++)
                data[i] = (char)(i / 1024 + 1);
        assert_int_equal(bth_sink_new_fd(fd, false, &sink), 0);
        assert_int_equal(ctl_extents_bytes(places, 3), sizeof data);
        assert_int_equal(ctl_extents_write(sink, places, 3, 5000, data + 5000, sizeof data - 5000),
                         0);
        assert_int_equal(ctl_extents_write(sink, places, 3, 0, data, 5000), 0);
        assert_int_equal(ctl_extents_write(sink, places, 3, 1, data, sizeof data), -EINVAL);
        assert_int_equal(pread(fd, back, sizeof back, 0), sizeof back);
        assert_memory_equal(back + 8192, data, 4096);
        assert_memory_equal(back, data + 4096, 4096);
        assert_memory_equal(back + 16384, data + 8192, 8192);
        (void)bth_sink_free(sink);
        close(fd);
}

static _Atomic unsigned n_done;

static void job(void *userdata, void *scratch)
{
        memset(scratch, 1, 100);
        n_done += (unsigned)(uintptr_t)userdata;
}

static void test_pool(void **state)
{
        struct ctl_pool *p;

        (void)state;
        assert_int_equal(ctl_pool_new(3, 2, 100, &p), 0);
        for (unsigned round = 1; round <= 3; round++) {
                n_done = 0;
                for (uintptr_t i = 0; i < 1000; i++)
                        ctl_pool_submit(p, job, (void *)(uintptr_t)1);
                ctl_pool_drain(p);
                assert_int_equal(n_done, 1000);
        }
        (void)ctl_pool_free(p);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_header), cmocka_unit_test(test_damaged_header),
                cmocka_unit_test(test_blocks), cmocka_unit_test(test_extents),
                cmocka_unit_test(test_pool),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
