/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs-writer - files written into a new volume: read back by our reader and by the library's own
 * tools. */
#include <fcntl.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/str.h"
#include "media/ntfs_scan.h"
#include "media/ntfs_writer.h"

#define VOLUME_BYTES (UINT64_C(96) << 20)
#define MODIFIED     UINT64_C(134000000000000000)

extern char **environ;

static char path[] = "/tmp/berth-writer-XXXXXX";

struct volume {
        int fd;
        struct bth_source *source;
        struct bth_sink *sink;
        struct med_ntfs_writer *w;
};

static void open_writer(struct volume *v)
{
        assert_int_equal(bth_source_new_fd(v->fd, false, &v->source), 0);
        assert_int_equal(bth_sink_new_fd(v->fd, false, &v->sink), 0);
        assert_int_equal(med_ntfs_writer_open(v->source, v->sink, &v->w, NULL), 0);
}

static void new_volume(struct volume *v, uint32_t sector_bytes, uint32_t cluster_bytes)
{
        const struct med_ntfs_params p = { .volume_bytes = VOLUME_BYTES,
                                           .sector_bytes = sector_bytes,
                                           .cluster_bytes = cluster_bytes,
                                           .partition_start_sectors = 2048 };
        struct med_ntfs_region regions[MED_NTFS_REGIONS];
        struct bth_error e = BTH_ERROR_INIT;

        v->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(v->fd >= 0);
        assert_int_equal(med_ntfs_make(v->fd, &p, &e), 0);
        assert_int_equal(med_ntfs_reserve(v->fd, regions, &e), 0);
        open_writer(v);
}

static void close_writer(struct volume *v)
{
        struct bth_error e = BTH_ERROR_INIT;

        assert_int_equal(med_ntfs_writer_close(v->w, &e), 0);
        (void)bth_source_free(v->source);
        (void)bth_sink_free(v->sink);
}

static uint8_t byte_at(uint64_t i, unsigned salt)
{
        return (uint8_t)(i * 7 + (i >> 8) * 13 + (i >> 16) * 5 + salt);
}

static void add(struct volume *v, const char *name, uint64_t size, unsigned salt)
{
        struct med_ntfs_new_file f = {
                .path = name, .size_bytes = size, .created = MODIFIED, .modified = MODIFIED
        };
        _cleanup_free_ uint8_t *data = malloc((size_t)size + 1);
        struct med_ntfs_extent *extents = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        uint64_t done = 0;
        size_t n = 0;

        for (uint64_t i = 0; i < size; i++)
                data[i] = byte_at(i, salt);
        if (size <= MED_NTFS_SMALL_BYTES)
                f.content = data;
        assert_int_equal(med_ntfs_writer_create(v->w, &f, &extents, &n, &e), 0);
        for (size_t k = 0; k < n && done < size; k++) {
                const uint64_t take = MIN(extents[k].length_bytes, size - done);

                assert_int_equal(
                        bth_sink_write(v->sink, extents[k].offset_bytes, data + done, (size_t)take),
                        0);
                done += take;
        }
        assert_true(f.content || done == size);
        free(extents);
}

/* Exit code of a program of libntfs-3g; -1 when it is not installed. Its first output is kept. */
static int tool(const char *program, const char *const *argv, char *output, size_t n_output)
{
        posix_spawn_file_actions_t actions;
        int ends[2], status = -1;
        ssize_t n;
        pid_t pid;

        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
        for (int fd = 1; fd <= 2; fd++)
                assert_int_equal(posix_spawn_file_actions_adddup2(&actions, ends[1], fd), 0);
        if (posix_spawnp(&pid, program, &actions, NULL, (char *const *)(uintptr_t)argv, environ) !=
            0)
                pid = -1;
        (void)posix_spawn_file_actions_destroy(&actions);
        close(ends[1]);
        output[0] = '\0';
        for (size_t used = 0; (n = read(ends[0], output + used, n_output - 1 - used)) > 0;
             output[used] = '\0')
                used += (size_t)n;
        close(ends[0]);
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
                return -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void check_clean(void)
{
        static char output[65536];
        const char *const fix[] = { "ntfsfix", "-n", path, NULL };
        const char *const info[] = { "ntfsinfo", "-m", path, NULL };

        assert_int_equal(tool("ntfsfix", fix, output, sizeof output), 0);
        assert_non_null(strstr(output, "processed successfully"));
        assert_null(strstr(output, "FAILED"));
        assert_int_equal(tool("ntfsinfo", info, output, sizeof output), 0);
        assert_non_null(strstr(output, "Volume Flags: 0x0000"));
}

static void expect(const struct med_ntfs_volume *v, const struct med_ntfs_index *x,
                   const char *name, uint64_t size, unsigned salt)
{
        _cleanup_free_ uint8_t *data = malloc((size_t)size + 1);
        struct med_ntfs_found found;
        struct med_ntfs_file *f;

        if (med_ntfs_index_find(x, name, &found) < 0)
                fail_msg("%s is not there", name);
        assert_int_equal(found.status, MED_NTFS_OK);
        assert_int_equal(found.size_bytes, size);
        assert_int_equal(med_ntfs_file_open(v, found.reference, &f), 0);
        assert_int_equal(f->modified, MODIFIED);
        assert_int_equal(f->created, MODIFIED);
        assert_int_equal(bth_source_read(&f->source, 0, data, (size_t)size), 0);
        for (uint64_t i = 0; i < size; i++)
                if (data[i] != byte_at(i, salt))
                        fail_msg("%s differs at %llu", name, (unsigned long long)i);
        (void)bth_source_free(&f->source);
}

static void open_reader(struct volume *v, struct med_ntfs_volume **ret_volume,
                        struct med_ntfs_index **ret_index)
{
        assert_int_equal(bth_source_new_fd(v->fd, false, &v->source), 0);
        assert_int_equal(med_ntfs_open(v->source, ret_volume, NULL), 0);
        assert_int_equal(med_ntfs_scan(*ret_volume, 64u << 20, ret_index, NULL), 0);
        assert_int_equal(med_ntfs_index_damaged(*ret_index), 0);
}

static const uint64_t sizes[] = { 0,    1,    511,  512,  513,   600,     700,
                                  1024, 4095, 4096, 4097, 65536, 1000000, 9000001 };

static void check_kinds(uint32_t sector_bytes, uint32_t cluster_bytes)
{
        struct med_ntfs_volume *n;
        struct med_ntfs_index *x;
        struct volume v = { 0 };
        char name[700], longest[256];

        new_volume(&v, sector_bytes, cluster_bytes);
        memset(longest, 'x', 255);
        longest[255] = '\0';
        for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
                snprintf(name, sizeof name, "\\S1\\deep\\er %u\\file%u", i % 3, i);
                add(&v, name, sizes[i], i);
        }
        for (unsigned i = 0; i < 1500; i++) {
                snprintf(name, sizeof name, "\\S1\\many\\file number %u.txt", i);
                add(&v, name, i % 900, i);
        }
        snprintf(name, sizeof name, "\\S1\\%s", longest);
        add(&v, name, 77, 3);
        add(&v,
            "\\S1\\Gr\xc3\xb6\xc3\x9f"
            "e \xf0\x9f\x98\x80.bin",
            70000, 4);
        add(&v, "\\DriveManifest.xml", 5000, 5);
        close_writer(&v);
        check_clean();

        open_reader(&v, &n, &x);
        for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
                snprintf(name, sizeof name, "\\S1\\deep\\er %u\\file%u", i % 3, i);
                expect(n, x, name, sizes[i], i);
        }
        for (unsigned i = 0; i < 1500; i++) {
                snprintf(name, sizeof name, "\\S1\\many\\file number %u.txt", i);
                expect(n, x, name, i % 900, i);
        }
        snprintf(name, sizeof name, "\\S1\\%s", longest);
        expect(n, x, name, 77, 3);
        expect(n, x,
               "\\s1\\GR\xc3\x96\xc3\x9f"
               "E \xf0\x9f\x98\x80.BIN",
               70000, 4);
        expect(n, x, "\\DriveManifest.xml", 5000, 5);
        (void)med_ntfs_index_free(x);
        (void)med_ntfs_close(n);
        (void)bth_source_free(v.source);
        close(v.fd);
}

static void test_kinds_512(void **state)
{
        (void)state;
        check_kinds(512, 4096);
}

static void test_kinds_4096(void **state)
{
        (void)state;
        check_kinds(4096, 4096);
}

static void test_large_clusters(void **state)
{
        (void)state;
        check_kinds(512, 65536);
}

static void test_names(void **state)
{
        const struct med_ntfs_new_file again = { .path = "\\a\\FILE", .size_bytes = 0 };
        const struct med_ntfs_new_file under = { .path = "\\a\\file\\x", .size_bytes = 0 };
        struct med_ntfs_extent *extents = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        struct med_ntfs_volume *nv;
        struct med_ntfs_index *x;
        struct med_ntfs_found found;
        struct volume v = { 0 };
        size_t n;

        (void)state;
        new_volume(&v, 512, 4096);
        add(&v, "\\a\\file", 3000, 1);
        assert_int_equal(med_ntfs_writer_create(v.w, &again, &extents, &n, &e), -EEXIST);
        assert_int_equal(med_ntfs_writer_create(v.w, &under, &extents, &n, &e), -ENOTDIR);
        assert_int_equal(med_ntfs_writer_exists(v.w, "\\A\\file", &e), 1);
        assert_int_equal(med_ntfs_writer_exists(v.w, "\\A\\none", &e), 0);
        assert_int_equal(med_ntfs_writer_exists(v.w, "\\none\\none", &e), 0);
        add(&v, "\\a\\new", 4000, 2);
        assert_int_equal(med_ntfs_writer_rename(v.w, "\\a\\new", "\\a\\file", &e), -EEXIST);
        assert_int_equal(med_ntfs_writer_remove(v.w, "\\a\\file", &e), 0);
        assert_int_equal(med_ntfs_writer_remove(v.w, "\\a\\file", &e), -ENOENT);
        assert_int_equal(med_ntfs_writer_rename(v.w, "\\a\\new", "\\a\\file", &e), 0);
        add(&v, "\\b\\c\\file", 10, 3);
        assert_int_equal(med_ntfs_writer_remove_folder(v.w, "\\a", &e), 0);
        assert_int_equal(med_ntfs_writer_remove_folder(v.w, "\\a\\file", &e), 0);
        assert_int_equal(med_ntfs_writer_remove_folder(v.w, "\\none", &e), 0);
        assert_int_equal(med_ntfs_writer_remove(v.w, "\\b\\c\\file", &e), 0);
        assert_int_equal(med_ntfs_writer_remove_folder(v.w, "\\b", &e), 0);
        assert_int_equal(med_ntfs_writer_remove_folder(v.w, "\\b\\c", &e), 1);
        assert_int_equal(med_ntfs_writer_remove_folder(v.w, "\\b", &e), 1);
        assert_int_equal(med_ntfs_writer_exists(v.w, "\\b", &e), 0);
        close_writer(&v);
        check_clean();
        open_reader(&v, &nv, &x);
        expect(nv, x, "\\a\\file", 4000, 2);
        assert_int_equal(med_ntfs_index_find(x, "\\a\\new", &found), -ENOENT);
        (void)med_ntfs_index_free(x);
        (void)med_ntfs_close(nv);
        (void)bth_source_free(v.source);
        close(v.fd);
}

/* What has no room leaves nothing behind, and the volume goes on. */
static void test_full(void **state)
{
        const struct med_ntfs_new_file large = { .path = "\\d\\large", .size_bytes = VOLUME_BYTES };
        struct med_ntfs_extent *extents = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        struct med_ntfs_volume *nv;
        struct med_ntfs_index *x;
        struct med_ntfs_found found;
        struct volume v = { 0 };
        uint64_t before;
        size_t n;

        (void)state;
        new_volume(&v, 512, 4096);
        add(&v, "\\d\\first", 1000, 9);
        before = med_ntfs_writer_free_bytes(v.w);
        assert_true(before > VOLUME_BYTES / 2 && before < VOLUME_BYTES);
        assert_int_equal(med_ntfs_writer_create(v.w, &large, &extents, &n, &e), -ENOSPC);
        assert_int_equal(e.reason, BTH_REASON_DISK_FULL);
        assert_int_equal(med_ntfs_writer_free_bytes(v.w), before);
        add(&v, "\\d\\second", 1000, 8);
        close_writer(&v);
        check_clean();
        open_reader(&v, &nv, &x);
        expect(nv, x, "\\d\\first", 1000, 9);
        expect(nv, x, "\\d\\second", 1000, 8);
        assert_int_equal(med_ntfs_index_find(x, "\\d\\large", &found), -ENOENT);
        (void)med_ntfs_index_free(x);
        (void)med_ntfs_close(nv);
        (void)bth_source_free(v.source);
        close(v.fd);
}

/* One file over nearly everything that is free, also where the library wants to keep room for
 * records. */
static void test_nearly_full(void **state)
{
        struct med_ntfs_volume *nv;
        struct med_ntfs_index *x;
        struct volume v = { 0 };
        uint64_t size;

        (void)state;
        new_volume(&v, 512, 4096);
        size = med_ntfs_writer_free_bytes(v.w) - (UINT64_C(1) << 20);
        add(&v, "\\large", size, 3);
        add(&v, "\\d\\small", 700, 4);
        close_writer(&v);
        check_clean();
        open_reader(&v, &nv, &x);
        expect(nv, x, "\\large", size, 3);
        expect(nv, x, "\\d\\small", 700, 4);
        (void)med_ntfs_index_free(x);
        (void)med_ntfs_close(nv);
        (void)bth_source_free(v.source);
        close(v.fd);
}

/* One sweep over the disk writes them, and one reads them; only blocks of the folder's index may
 * lie between. */
static void test_files_follow_one_another(void **state)
{
        const uint64_t size = 65536;
        struct volume v = { 0 };
        unsigned n_jumps = 0;
        uint64_t end = 0;

        (void)state;
        new_volume(&v, 512, 4096);
        for (unsigned i = 0; i < 40; i++) {
                char name[32];
                const struct med_ntfs_new_file f = { .path = name, .size_bytes = size };
                struct med_ntfs_extent *extents = NULL;
                struct bth_error e = BTH_ERROR_INIT;
                size_t n = 0;

                snprintf(name, sizeof name, "\\d\\file %u", i);
                assert_int_equal(med_ntfs_writer_create(v.w, &f, &extents, &n, &e), 0);
                assert_int_equal(n, 1);
                if (extents[0].offset_bytes < end || extents[0].offset_bytes > end + 4 * 4096)
                        n_jumps++;
                end = extents[0].offset_bytes + extents[0].length_bytes;
                free(extents);
        }
        assert_in_range(n_jumps, 1, 5); /* the first one comes from nowhere */
        close_writer(&v);
        check_clean();
        close(v.fd);
}

static void test_not_ntfs(void **state)
{
        static uint8_t zeros[1 << 20];
        struct med_ntfs_writer *w = NULL;
        struct bth_source *s = NULL;
        struct bth_error e = BTH_ERROR_INIT;

        (void)state;
        assert_int_equal(bth_source_new_memory(zeros, sizeof zeros, &s), 0);
        assert_int_equal(med_ntfs_writer_open(s, NULL, &w, &e), -EMEDIUMTYPE);
        assert_int_equal(e.reason, BTH_REASON_NOT_NTFS);
        (void)bth_source_free(s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_kinds_512),
                cmocka_unit_test(test_kinds_4096),
                cmocka_unit_test(test_large_clusters),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_full),
                cmocka_unit_test(test_nearly_full),
                cmocka_unit_test(test_files_follow_one_another),
                cmocka_unit_test(test_not_ntfs),
        };
        int fd = mkstemp(path), r;

        if (fd < 0)
                return 1;
        close(fd);
        r = cmocka_run_group_tests(tests, NULL, NULL);
        unlink(path);
        return r;
}
