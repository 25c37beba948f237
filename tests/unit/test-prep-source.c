/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-source - what is found, what it is called as a blob and on the drive. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/str.h"
#include "ctl/prep-source.h"

struct fixture {
        char folder[64];
        char base[80]; /* with '/' at its end */
        unsigned n_notes;
        char last_note[256];
};

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof *f);

        assert_non_null(f);
        snprintf(f->folder, sizeof f->folder, "/tmp/berth-source-XXXXXX");
        assert_non_null(mkdtemp(f->folder));
        snprintf(f->base, sizeof f->base, "%s/", f->folder);
        *state = f;
        return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
        return remove(path);
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
        free(f);
        return 0;
}

static void make_file(struct fixture *f, const char *name, size_t n)
{
        char path[512], *data = calloc(1, n + 1);

        snprintf(path, sizeof path, "%s/%s", f->folder, name);
        assert_int_equal(bth_write_file_atomic(path, data, n, 0644), 0);
        free(data);
}

static void make_folder(struct fixture *f, const char *name)
{
        char path[512];

        snprintf(path, sizeof path, "%s/%s", f->folder, name);
        assert_int_equal(mkdir(path, 0755), 0);
}

static void count_note(void *userdata, const char *path, const char *sentence)
{
        struct fixture *f = userdata;

        f->n_notes++;
        snprintf(f->last_note, sizeof f->last_note, "%s", sentence);
}

static int collect(struct fixture *f, const char *base, const char *destination,
                   struct ctl_items *items, struct bth_error *e)
{
        const struct ctl_source_row row = { .base_path = base,
                                            .destination = destination,
                                            .line = 2 };

        *e = BTH_ERROR_INIT;
        return ctl_items_collect(&row, 1, "night-7", count_note, f, items, e);
}

static void test_tree(void **state)
{
        struct fixture *f = *state;
        struct ctl_items items;
        struct bth_error e;

        make_file(f, "b.txt", 5);
        make_folder(f, "a");
        make_file(f, "a/disk.VHD", 1024);
        make_file(f, "a/Ünï.txt", 0);
        assert_int_equal(collect(f, f->base, "attic/x/", &items, &e), 0);
        assert_int_equal(items.n_items, 3);
        assert_int_equal(items.total_bytes, 1029);
        assert_string_equal(items.items[0].blob_path, "attic/x/a/disk.VHD");
        assert_string_equal(items.items[0].file_path, "\\night-7\\a\\disk.VHD");
        assert_true(items.items[0].page);
        assert_string_equal(items.items[1].blob_path, "attic/x/a/Ünï.txt");
        assert_string_equal(items.items[2].blob_path, "attic/x/b.txt");
        assert_false(items.items[2].page);
        ctl_items_clear(&items);
}

/* Names that differ on Linux and not for NTFS must not meet on the drive. */
static void test_names_meet(void **state)
{
        struct fixture *f = *state;
        struct ctl_items items;
        struct bth_error e;

        make_file(f, "Name.txt", 1);
        make_file(f, "name.TXT", 1);
        make_file(f, "NAME~2.txt", 1);
        make_file(f, "end.", 1);
        make_file(f, "end%2E", 1);
        make_file(f, "con.log", 1);
        make_file(f, "what?", 1);
        assert_int_equal(collect(f, f->base, "attic/", &items, &e), 0);
        assert_int_equal(items.n_items, 7);
        for (size_t i = 0; i < items.n_items; i++)
                for (size_t k = 0; k < i; k++) {
                        assert_true(strcasecmp(items.items[i].file_path,
                                               items.items[k].file_path) != 0);
                        assert_true(strcmp(items.items[i].blob_path, items.items[k].blob_path) !=
                                    0);
                }
        ctl_items_clear(&items);
}

static void test_component(void **state)
{
        static const char *const pairs[][2] = {
                { "plain", "plain" },         { "dot.", "dot%2E" },
                { "blank ", "blank%20" },     { "CON", "%43ON" },
                { "com1.txt", "%63om1.txt" }, { "com0", "com0" },
                { "console", "console" },     { "a:b*c", "a%3Ab%2Ac" },
                { "100%", "100%" },           { "back\\slash", "back%5Cslash" },
                { "tab\t", "tab%09" },        { "LPT9", "%4CPT9" },
        };
        char out[4 * 255 + 16], name[256], pairs_name[253];

        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
                assert_string_equal(ctl_drive_component(pairs[i][0], strlen(pairs[i][0]), out),
                                    pairs[i][1]);
        memset(name, '?', 255);
        name[255] = '\0';
        assert_true(strlen(ctl_drive_component(name, 255, out)) <= 255);
        for (size_t i = 0; i < 63; i++)
                memcpy(pairs_name + 4 * i, "\xf0\x9f\x98\x80", 4);
        pairs_name[252] = '\0';
        assert_string_equal(ctl_drive_component(pairs_name, 252, out), pairs_name);
}

static void test_left_out(void **state)
{
        struct fixture *f = *state;
        struct ctl_items items;
        struct bth_error e;
        char path[128];

        snprintf(path, sizeof path, "%s/link", f->folder);
        assert_int_equal(symlink("/etc/passwd", path), 0);
        snprintf(path, sizeof path, "%s/pipe", f->folder);
        assert_int_equal(mkfifo(path, 0600), 0);
        make_folder(f, "sub");
        make_file(f, "sub/x", 1);
        assert_int_equal(collect(f, f->base, "$root/", &items, &e), 0);
        assert_int_equal(items.n_items, 0);
        assert_int_equal(f->n_notes, 3);
        ctl_items_clear(&items);
}

static void test_refusals(void **state)
{
        struct fixture *f = *state;
        struct ctl_items items;
        struct bth_error e;
        char text[1024];

        assert_int_equal(collect(f, "/nowhere/", "attic/", &items, &e), -ENOENT);
        assert_string_equal(e.object, "/nowhere/");
        assert_int_equal(collect(f, f->folder, "attic/", &items, &e), -EINVAL);
        assert_string_equal(bth_error_advice(&e), "add a '/' at its end");
        assert_int_equal(collect(f, f->base, "attic/x", &items, &e), -EINVAL);
        assert_non_null(strstr(bth_error_to_string(&e, text, sizeof text), ":2: "));
        make_file(f, "odd.vhd", 513);
        assert_int_equal(collect(f, f->base, "attic/", &items, &e), -EINVAL);
        assert_non_null(strstr(e.object, "odd.vhd"));
        assert_non_null(strstr(e.sentence, "multiple of 512"));
}

static void test_not_utf8(void **state)
{
        struct fixture *f = *state;
        struct ctl_items items;
        struct bth_error e;

        make_file(f, "bad\xff", 1);
        assert_int_equal(collect(f, f->base, "attic/", &items, &e), -EINVAL);
        assert_non_null(strstr(e.object, "bad\\xff"));
        assert_true(bth_utf8_valid(e.object, strlen(e.object)));
}

static void test_two_rows(void **state)
{
        struct fixture *f = *state;
        char file[128];
        struct ctl_items items;

        make_file(f, "x", 3);
        snprintf(file, sizeof file, "%s/x", f->folder);
        const struct ctl_source_row rows[] = {
                { .base_path = f->base, .destination = "attic/" },
                { .base_path = file, .destination = "attic/y.bin", .kind = CTL_BLOB_BLOCK },
        };
        assert_int_equal(ctl_items_collect(rows, 2, "s01", NULL, NULL, &items, NULL), 0);
        assert_int_equal(items.n_items, 2);
        assert_string_equal(items.items[0].file_path, "\\s01\\1\\x");
        assert_string_equal(items.items[1].file_path, "\\s01\\2\\x");
        assert_string_equal(items.items[1].blob_path, "attic/y.bin");
        ctl_items_clear(&items);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(test_tree),     T(test_names_meet), T(test_component), T(test_left_out),
                T(test_refusals), T(test_not_utf8),   T(test_two_rows),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
