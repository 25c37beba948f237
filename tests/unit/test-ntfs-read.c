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
        if (RUN("mkntfs", "-Q", "-F", "-L", "Etikett", "-s", "512", "-p", "0", "-H", "16", "-S",
                "63", "-c", clusters, "i") != 0 ||
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

/* The file put together from its places on the volume is the file. */
static void expect_spans(const struct med_ntfs_volume *v, const struct med_ntfs_index *x,
                         const char *path, size_t least_disk_spans, size_t least_zero_bytes)
{
        struct med_ntfs_found found;
        struct med_ntfs_file *f;
        struct med_ntfs_span span;
        size_t n, disk = 0, zero = 0;
        uint8_t *data = read_path(v, x, path, &n), *again = calloc(1, n + 1);
        uint64_t at = 0;

        assert_int_equal(med_ntfs_index_find(x, path, &found), 0);
        assert_int_equal(med_ntfs_file_open(v, found.reference, &f), 0);
        while (at < n) {
                assert_int_equal(med_ntfs_file_span(f, at, &span), 1);
                assert_int_equal(span.offset_bytes, at);
                assert_in_range(span.length_bytes, 1, n - at);
                if (span.kind == MED_NTFS_SPAN_DISK) {
                        if (disk++ == 0)
                                assert_int_equal(span.volume_offset_bytes,
                                                 found.first_offset_bytes);
                        memcpy(again + at, image + span.volume_offset_bytes, span.length_bytes);
                } else {
                        assert_int_equal(span.kind, MED_NTFS_SPAN_ZERO);
                        zero += span.length_bytes;
                }
                at += span.length_bytes;
        }
        assert_int_equal(med_ntfs_file_span(f, at, &span), 0);
        assert_memory_equal(data, again, n);
        assert_true(disk >= least_disk_spans);
        assert_true(zero >= least_zero_bytes);
        (void)bth_source_free(&f->source);
        free(data);
        free(again);
}

static void expect_record(const struct med_ntfs_volume *v, const struct med_ntfs_index *x,
                          const char *path)
{
        struct med_ntfs_found found;
        struct med_ntfs_file *f;
        struct med_ntfs_span span;

        assert_int_equal(med_ntfs_index_find(x, path, &found), 0);
        assert_memory_equal(image + found.first_offset_bytes, "FILE", 4);
        assert_int_equal(found.first_offset_bytes,
                         med_ntfs_record_place(v, found.reference & MED_NTFS_RECORD_MASK));
        assert_int_equal(med_ntfs_file_open(v, found.reference, &f), 0);
        assert_int_equal(med_ntfs_file_span(f, 0, &span), 1);
        assert_int_equal(span.kind, MED_NTFS_SPAN_SOURCE);
        assert_int_equal(span.length_bytes, found.size_bytes);
        (void)bth_source_free(&f->source);
}

struct seen {
        size_t n, folders, gone;
        bool deep, gross, leave_deep_out;
        uint64_t bytes;
};

static int visit(void *context, const char *name, const struct med_ntfs_found *found)
{
        struct seen *s = context;

        s->n++;
        s->folders += found->directory;
        s->bytes += found->size_bytes;
        s->gone += strstr(name, "gone") != NULL;
        s->deep |= strstr(name, "\\deep\\d0\\d1\\d2\\") && strstr(name, "\\d19\\small");
        s->gross |= strstr(name, "Größe 😀.bin") != NULL;
        assert_null(strstr(name, "$MFT"));
        return s->leave_deep_out && strcmp(name, "\\deep") == 0;
}

static int stop(void *context, const char *name _unused_,
                const struct med_ntfs_found *found _unused_)
{
        return ++*(int *)context == 3 ? -ECANCELED : 0;
}

/* deep, Größe, nnn, empty, link-empty, sparse, frag0, frag1; 150 times gone; 20 folders; small */
static void expect_lists(const struct med_ntfs_index *x)
{
        struct seen list = { 0 }, walk = { 0 }, part = { .leave_deep_out = true }, deep = { 0 };
        int n = 0;

        assert_int_equal(med_ntfs_index_list(x, "\\", visit, &list), 0);
        assert_int_equal(list.n, 8 + 150);
        assert_int_equal(list.folders, 1);
        assert_int_equal(list.gone, 150);
        assert_true(list.gross);
        assert_int_equal(med_ntfs_index_walk(x, "", visit, &walk), 0);
        assert_int_equal(walk.n, 8 + 150 + 20 + 1);
        assert_int_equal(walk.folders, 21);
        assert_true(walk.gross && walk.deep);
        assert_int_equal(walk.bytes,
                         100 + 70000 + 1 + (2u << 20) + 5000 + 2 * BIG_BYTES + 150 * 50);
        assert_int_equal(med_ntfs_index_walk(x, "", visit, &part), 0);
        assert_int_equal(part.n, 8 + 150);
        assert_int_equal(med_ntfs_index_walk(x, "DEEP/d0", visit, &deep), 0);
        assert_int_equal(deep.n, 20);
        assert_int_equal(med_ntfs_index_walk(x, "", stop, &n), -ECANCELED);
        assert_int_equal(n, 3);
        assert_int_equal(med_ntfs_index_list(x, "empty", stop, &n), -ENOTDIR);
        assert_int_equal(med_ntfs_index_list(x, "nowhere", stop, &n), -ENOENT);
}

static void check_volume(const char *clusters)
{
        _cleanup_(bth_source_freep) struct bth_source *s = NULL;
        _cleanup_(med_ntfs_closep) struct med_ntfs_volume *v = NULL;
        _cleanup_(med_ntfs_index_freep) struct med_ntfs_index *x = NULL;
        struct med_ntfs_found a, b;
        char deep[256] = "DEEP", name[256] = { 0 };
        const size_t pieces = strcmp(clusters, "4096") == 0 ? 100 : 1;

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
        assert_true(a.directory);
        expect_spans(v, x, "Größe 😀.bin", 1, 0);
        expect_spans(v, x, "sparse", 1, 2u << 20);
        expect_spans(v, x, "frag0", pieces, 0);
        expect_spans(v, x, "frag1", pieces, 0);
        expect_record(v, x, "gone1");
        expect_lists(x);
        assert_string_equal(v->label, "Etikett");
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
