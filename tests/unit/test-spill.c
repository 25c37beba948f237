/* SPDX-License-Identifier: GPL-3.0-or-later */
/* spill - areas larger than their memory, against a plain copy; that nothing of them can be read in
 * the file; and the index of a volume in too little memory. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/io.h"
#include "media/ntfs_scan.h"
#include "media/ntfs_upcase.h"
#include "media/spill.h"
#include "tests/lib/ntfs-craft.h"

#define AREA_BYTES (3u << 20)
#define N_AREAS    3u
#define PATTERN    "what customers' drives hold"

static uint8_t copy[N_AREAS][AREA_BYTES];
static struct med_spill_area area[N_AREAS];

static uint64_t next_random(void)
{
        static uint64_t state = 7;

        state = state * 6364136223846793005u + 1442695040888963407u;
        return state >> 24;
}

static void write_both(size_t which, uint64_t at, size_t n)
{
        uint8_t data[40000];

        for (size_t i = 0; i < n; i++)
                data[i] = (uint8_t)PATTERN[i % (sizeof PATTERN - 1)];
        data[0] = (uint8_t)next_random();
        memcpy(copy[which] + at, data, n);
        assert_int_equal(med_spill_write(&area[which], at, data, n), 0);
}

static void *read_all(void *context)
{
        uint8_t data[5000];

        for (unsigned round = 0; round < 1500; round++) {
                size_t which = (round + (size_t)(uintptr_t)context) % N_AREAS;
                uint64_t at = (round * 7919 * 31) % (area[which].size_bytes - sizeof data);

                if (med_spill_read(&area[which], at, data, sizeof data) < 0 ||
                    memcmp(data, copy[which] + at, sizeof data) != 0)
                        return &area;
        }
        return NULL;
}

static void expect_unreadable(int fd)
{
        char *file;
        size_t n;

        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        assert_int_equal(bth_read_fd(fd, 64u << 20, &file, &n), 0);
        assert_true(n > 4u << 20);
        assert_null(memmem(file, n, "customers", 9));
        /* Pages of the same content do not look alike. */
        assert_memory_not_equal(file, file + MED_SPILL_PAGE_BYTES, 16);
        free(file);
}

static void test_areas(void **state _unused_)
{
        _cleanup_close_ int fd = memfd_create("spill", MFD_CLOEXEC);
        struct med_spill *s;
        pthread_t thread[3];
        void *wrong;

        assert_int_equal(med_spill_new(0, NULL, dup(fd), &s), 0);
        for (size_t i = 0; i < N_AREAS; i++)
                area[i] = (struct med_spill_area){ .spill = s };
        for (unsigned i = 0; i < 3000; i++) {
                size_t n = 1 + next_random() % (i % 10 ? 300 : 40000);

                write_both(next_random() % N_AREAS, next_random() % (AREA_BYTES - n), n);
        }
        for (size_t i = 0; i < N_AREAS; i++)
                write_both(i, AREA_BYTES - 10, 10);
        /* Given back and used again: zeros at first. */
        med_spill_clear(&area[1]);
        memset(copy[1], 0, AREA_BYTES);
        write_both(1, AREA_BYTES - 10, 10);
        write_both(1, 100000, 30000);
        med_spill_seal(s);
        for (size_t i = 0; i < N_AREAS; i++) {
                _cleanup_free_ uint8_t *all = malloc(AREA_BYTES);

                assert_int_equal(area[i].size_bytes, AREA_BYTES);
                assert_int_equal(med_spill_read(&area[i], 0, all, AREA_BYTES), 0);
                assert_memory_equal(all, copy[i], AREA_BYTES);
        }
        assert_true(med_spill_memory_bytes(s) < MED_SPILL_MIN_BYTES + (64u << 10));
        assert_true(med_spill_file_bytes(s) >= 2u * AREA_BYTES);
        for (size_t i = 0; i < ARRAY_SIZE(thread); i++)
                assert_int_equal(pthread_create(&thread[i], NULL, read_all, (void *)(uintptr_t)i),
                                 0);
        for (size_t i = 0; i < ARRAY_SIZE(thread); i++) {
                assert_int_equal(pthread_join(thread[i], &wrong), 0);
                assert_null(wrong);
        }
        expect_unreadable(fd);
        for (size_t i = 0; i < N_AREAS; i++)
                med_spill_clear(&area[i]);
        (void)med_spill_free(s);
}

/* A file that cannot be written is told, and that it cannot be read back, too. */
static void test_file_errors(void **state _unused_)
{
        _cleanup_close_ int read_only = open("/dev/null", O_RDONLY | O_CLOEXEC);
        _cleanup_close_ int fd = memfd_create("spill", MFD_CLOEXEC);
        struct med_spill *s;
        struct med_spill_area a = { 0 };
        uint8_t data[MED_SPILL_PAGE_BYTES] = { 1 };
        int r = 0;

        assert_int_equal(med_spill_new(0, NULL, dup(read_only), &s), 0);
        a.spill = s;
        for (unsigned i = 0; r == 0 && i < 100; i++)
                r = med_spill_write(&a, a.size_bytes, data, sizeof data);
        assert_int_equal(r, -EBADF);
        med_spill_clear(&a);
        (void)med_spill_free(s);
        assert_int_equal(med_spill_new(0, NULL, dup(fd), &s), 0);
        a.spill = s;
        for (unsigned i = 0; i < 100; i++)
                assert_int_equal(med_spill_write(&a, a.size_bytes, data, sizeof data), 0);
        med_spill_seal(s);
        /* Once all is in the file nothing is written any more. */
        for (uint64_t at = 0; at < a.size_bytes; at += sizeof data)
                assert_int_equal(med_spill_read(&a, at, data, 1), 0);
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(med_spill_read(&a, 0, data, 1), -EIO);
        assert_int_equal(med_spill_read(&a, 0, data, 1), -EIO);
        med_spill_clear(&a);
        (void)med_spill_free(s);
}

/* ---- the index ---- */

#define N_RECORDS      40000u
#define FIRST          64u
#define FOLDERS        3u
#define UPCASE_CLUSTER (CRAFT_MFT_CLUSTER + N_RECORDS / 4 + 1)
#define DISK_BYTES     ((UPCASE_CLUSTER + 64) * CRAFT_CLUSTER_BYTES)

static uint8_t *make_disk(void)
{
        uint8_t *disk = calloc(1, DISK_BYTES);

        assert_non_null(disk);
        craft_boot(disk, DISK_BYTES / CRAFT_CLUSTER_BYTES);
        memcpy(disk + (size_t)UPCASE_CLUSTER * CRAFT_CLUSTER_BYTES, med_upcase_default(),
               2 * MED_UPCASE_UNITS);
        for (uint64_t i = 0; i < N_RECORDS; i++) {
                uint8_t *p =
                        disk + CRAFT_MFT_CLUSTER * CRAFT_CLUSTER_BYTES + i * CRAFT_RECORD_BYTES;
                uint64_t parent = i < FIRST + FOLDERS ? craft_reference(5, 5)
                                                      : craft_reference(FIRST + i % FOLDERS, 1);
                struct craft_record r;
                char name[64];

                if (craft_system(p, i, N_RECORDS, UPCASE_CLUSTER) || i < FIRST)
                        continue;
                (void)snprintf(name, sizeof name, "File number %ju", (uintmax_t)i);
                craft_begin(&r, p, 1, i < FIRST + FOLDERS ? 3 : 1, 0);
                craft_standard(&r, 0x20);
                craft_name_ascii(&r, parent, name);
                craft_end(&r);
        }
        return disk;
}

static int count(void *context, const char *name _unused_,
                 const struct med_ntfs_found *found _unused_)
{
        (*(size_t *)context)++;
        return 0;
}

static void test_index(void **state _unused_)
{
        _cleanup_free_ uint8_t *disk = make_disk();
        _cleanup_(bth_source_freep) struct bth_source *source = NULL;
        _cleanup_(med_ntfs_closep) struct med_ntfs_volume *v = NULL;
        _cleanup_(med_ntfs_index_freep) struct med_ntfs_index *x = NULL;
        struct med_ntfs_found found;
        uint64_t file;
        size_t memory, n = 0;
        char path[128];

        assert_int_equal(bth_source_new_memory(disk, DISK_BYTES, &source), 0);
        assert_int_equal(med_ntfs_open(source, &v, NULL), 0);
        assert_int_equal(med_ntfs_scan(v, 2u << 20, &x, NULL), 0);
        med_ntfs_index_memory(x, &memory, &file);
        assert_true(memory <= 2u << 20);
        assert_true(file > 2u << 20);
        for (uint64_t i = FIRST + FOLDERS; i < N_RECORDS; i++) {
                (void)snprintf(path, sizeof path, "file NUMBER %ju\\file number %ju",
                               (uintmax_t)(FIRST + i % FOLDERS), (uintmax_t)i);
                assert_int_equal(med_ntfs_index_find(x, path, &found), 0);
                assert_int_equal(found.reference, craft_reference(i, 1));
        }
        assert_int_equal(med_ntfs_index_find(x, "file number 64\\file number 65", &found), -ENOENT);
        assert_int_equal(med_ntfs_index_walk(x, "", count, &n), 0);
        assert_int_equal(n, N_RECORDS - FIRST);
        n = 0;
        assert_int_equal(med_ntfs_index_list(x, "file number 65", count, &n), 0);
        assert_in_range(n, (N_RECORDS - FIRST) / FOLDERS - 2, (N_RECORDS - FIRST) / FOLDERS + 2);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_areas),
                cmocka_unit_test(test_file_errors),
                cmocka_unit_test(test_index),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
