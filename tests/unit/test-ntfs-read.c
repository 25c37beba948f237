/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs-read - volumes that mkntfs made and ntfs-3g filled, read back by ours, byte for byte; and
 * the same volumes with flipped bytes. */
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
#include "media/ntfs_scan.h"

#define IMAGE_BYTES (24u << 20)
#define BIG_BYTES   (3u << 20)
#define INDEX_BYTES (64u << 20)

static char folder[] = "/tmp/berth-ntfs-XXXXXX";
static uint8_t *image;

/* Runs a program in the test's folder, silently. Its exit code, or -1. */
static int run(const char *const *argv)
{
        posix_spawn_file_actions_t actions;
        int status = -1;
        pid_t pid;

        assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
        assert_int_equal(posix_spawn_file_actions_addchdir_np(&actions, folder), 0);
        for (int fd = 1; fd <= 2; fd++)
                assert_int_equal(
                        posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_WRONLY, 0),
                        0);
        if (posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, environ) != 0 ||
            waitpid(pid, &status, 0) != pid)
                status = -1;
        (void)posix_spawn_file_actions_destroy(&actions);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define RUN(...) run((const char *const[]){ __VA_ARGS__, NULL })

static void fill_image(const char *clusters)
{
        static const char script[] =
                "import os,sys\n"
                "m=sys.argv[1]\n"
                "def w(p,d):\n"
                "  open(m+'/'+p,'wb').write(d)\n"
                "b=lambda n,s:bytes((i*7+(i>>8)*13+s)&255 for i in range(n))\n"
                "os.makedirs(m+'/deep/'+'/'.join('d%d'%i for i in range(20)))\n"
                "w('deep/'+'/'.join('d%d'%i for i in range(20))+'/small',b(100,1))\n"
                "w('Gr\\u00f6\\u00dfe \\U0001f600.bin',b(70000,2))\n"
                "w('n'*255,b(1,3))\n"
                "w('empty',b'')\n"
                "os.link(m+'/empty',m+'/link-empty')\n"
                "f=open(m+'/sparse','wb');f.seek(2<<20);f.write(b(5000,4));f.close()\n"
                "fs=[open(m+'/frag%d'%k,'wb',0) for k in range(2)]\n"
                "d=[b(3<<20,5),b(3<<20,6)]\n"
                "for i in range(0,3<<20,4096):\n"
                "  for k in range(2): fs[k].write(d[k][i:i+4096]); os.fsync(fs[k].fileno())\n"
                "for i in range(300): w('gone%d'%i,b(50,i))\n"
                "for i in range(0,300,2): os.unlink(m+'/gone%d'%i)\n";
        char path[128];
        FILE *f;

        assert_true(snprintf(path, sizeof path, "%s/fill.py", folder) > 0);
        f = fopen(path, "we");
        assert_non_null(f);
        assert_int_equal(fwrite(script, 1, sizeof script - 1, f), sizeof script - 1);
        assert_int_equal(fclose(f), 0);
        assert_true(snprintf(path, sizeof path, "%s/m", folder) > 0);
        (void)mkdir(path, 0700);
        assert_true(snprintf(path, sizeof path, "%s/i", folder) > 0);
        f = fopen(path, "we");
        assert_non_null(f);
        assert_int_equal(ftruncate(fileno(f), IMAGE_BYTES), 0);
        assert_int_equal(fclose(f), 0);
        if (RUN("mkntfs", "-Q", "-F", "-s", "512", "-p", "0", "-H", "16", "-S", "63", "-c",
                clusters, "i") != 0 ||
            RUN("ntfs-3g", "i", "m") != 0)
                skip();
        int filled = RUN("python3", "fill.py", "m");
        assert_int_equal(RUN("umount", "m"), 0);
        assert_int_equal(filled, 0);
        assert_true(snprintf(path, sizeof path, "%s/i", folder) > 0);
        f = fopen(path, "re");
        assert_non_null(f);
        assert_int_equal(fread(image, 1, IMAGE_BYTES, f), IMAGE_BYTES);
        (void)fclose(f);
}

static uint8_t *read_path(const struct med_ntfs_volume *v, const struct med_ntfs_index *x,
                          const char *path, size_t *n)
{
        struct med_ntfs_found found;
        struct med_ntfs_file *f;
        uint8_t *data;

        assert_int_equal(med_ntfs_index_find(x, path, &found), 0);
        assert_int_equal(med_ntfs_file_open(v, found.reference, &f), 0);
        assert_int_equal(f->status, MED_NTFS_OK);
        assert_int_equal(f->source.size_bytes, found.size_bytes);
        *n = (size_t)found.size_bytes;
        data = malloc(*n + 1);
        assert_int_equal(bth_source_read(&f->source, 0, data, *n), 0);
        (void)bth_source_free(&f->source);
        return data;
}

static void expect(const struct med_ntfs_volume *v, const struct med_ntfs_index *x,
                   const char *path, size_t zeros, size_t length, unsigned salt)
{
        size_t n;
        uint8_t *data = read_path(v, x, path, &n);

        assert_int_equal(n, zeros + length);
        for (size_t i = 0; i < zeros; i++)
                assert_int_equal(data[i], 0);
        for (size_t i = 0; i < length; i++)
                if (data[zeros + i] != (uint8_t)(i * 7 + (i >> 8) * 13 + salt))
                        fail_msg("%s differs at %zu", path, zeros + i);
        free(data);
}

static void check_volume(const char *clusters)
{
        _cleanup_(bth_source_freep) struct bth_source *s = NULL;
        _cleanup_(med_ntfs_closep) struct med_ntfs_volume *v = NULL;
        _cleanup_(med_ntfs_index_freep) struct med_ntfs_index *x = NULL;
        struct med_ntfs_found a, b;
        char deep[256] = "DEEP", name[256] = { 0 };

        fill_image(clusters);
        assert_int_equal(bth_source_new_memory(image, IMAGE_BYTES, &s), 0);
        assert_int_equal(med_ntfs_open(s, &v, NULL), 0);
        assert_int_equal(med_ntfs_scan(v, INDEX_BYTES, &x, NULL), 0);
        assert_int_equal(med_ntfs_index_damaged(x), 0);
        for (int i = 0; i < 20; i++)
                (void)snprintf(deep + strlen(deep), sizeof deep - strlen(deep), "\\d%d", i);
        (void)snprintf(deep + strlen(deep), sizeof deep - strlen(deep), "\\SMALL");
        memset(name, 'N', 255);
        expect(v, x, deep, 0, 100, 1);
        expect(v, x, "grÖße 😀.BIN", 0, 70000, 2);
        expect(v, x, name, 0, 1, 3);
        expect(v, x, "sparse", 2u << 20, 5000, 4);
        expect(v, x, "frag0", 0, BIG_BYTES, 5);
        expect(v, x, "frag1", 0, BIG_BYTES, 6);
        expect(v, x, "gone1", 0, 50, 1);
        assert_int_equal(med_ntfs_index_find(x, "gone2", &a), -ENOENT);
        assert_int_equal(med_ntfs_index_find(x, "empty", &a), 0);
        assert_int_equal(med_ntfs_index_find(x, "link-EMPTY", &b), 0);
        assert_int_equal(a.reference, b.reference);
        assert_int_equal(med_ntfs_index_find(x, "deep", &a), 0);
        assert_int_equal(a.status, MED_NTFS_IS_DIRECTORY);
}

static void test_clusters_4096(void **state _unused_)
{
        check_volume("4096");
}

static void test_clusters_512(void **state _unused_)
{
        check_volume("512");
}

/* Whatever the bytes say: no crash, no read outside, an end. Failure is fine. */
static void test_flipped_bytes(void **state _unused_)
{
        uint64_t seed = 1;

        for (unsigned round = 0; round < 300; round++) {
                _cleanup_(bth_source_freep) struct bth_source *s = NULL;
                _cleanup_(med_ntfs_closep) struct med_ntfs_volume *v = NULL;
                _cleanup_(med_ntfs_index_freep) struct med_ntfs_index *x = NULL;
                struct {
                        size_t at;
                        uint8_t old;
                } undo[64];

                for (size_t i = 0; i < ARRAY_SIZE(undo); i++) {
                        seed = seed * 6364136223846793005u + 1442695040888963407u;
                        undo[i].at = i < 2 ? seed >> 40 & 127 : 16384 + (seed >> 33) % (256 << 10);
                        undo[i].old = image[undo[i].at];
                        if (i >= 2 || round % 4 == 0)
                                image[undo[i].at] ^= (uint8_t)(1u << (seed >> 60 & 7));
                }
                assert_int_equal(bth_source_new_memory(image, IMAGE_BYTES, &s), 0);
                if (med_ntfs_open(s, &v, NULL) == 0 && med_ntfs_scan(v, INDEX_BYTES, &x, NULL) == 0)
                        for (uint64_t i = 0; i < MIN(v->n_records, (uint64_t)1000); i++) {
                                struct med_ntfs_file *f;
                                uint8_t byte[4096];

                                if (med_ntfs_file_open(v, i, &f) < 0)
                                        continue;
                                if (f->source.size_bytes >= sizeof byte &&
                                    bth_source_read(&f->source, 0, byte, sizeof byte) == 0)
                                        assert_int_equal(f->status, MED_NTFS_OK);
                                (void)bth_source_free(&f->source);
                        }
                for (size_t i = ARRAY_SIZE(undo); i-- > 0;)
                        image[undo[i].at] = undo[i].old;
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_clusters_4096),
                cmocka_unit_test(test_clusters_512),
                cmocka_unit_test(test_flipped_bytes),
        };
        int r;

        image = calloc(1, IMAGE_BYTES);
        if (!image || !mkdtemp(folder))
                return 1;
        r = cmocka_run_group_tests(tests, NULL, NULL);
        (void)RUN("rm", "-f", "i", "fill.py");
        (void)RUN("rmdir", "m");
        (void)rmdir(folder);
        free(image);
        return r;
}
