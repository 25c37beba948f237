/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs-record - records, run lists and small volumes made by hand: right ones, and each way of
 * being wrong that has a check. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/le.h"
#include "media/ntfs_scan.h"
#include "media/ntfs_upcase.h"
#include "tests/lib/ntfs-craft.h"

#define N_RECORDS      64u
#define UPCASE_CLUSTER 24u
#define DATA_CLUSTER   64u
#define N_CLUSTERS     256u
#define ROOT           craft_reference(5, 5)

static uint8_t disk[N_CLUSTERS * CRAFT_CLUSTER_BYTES];

static uint8_t *record(uint64_t number)
{
        return disk + CRAFT_MFT_CLUSTER * CRAFT_CLUSTER_BYTES + number * CRAFT_RECORD_BYTES;
}

static void format(void)
{
        memset(disk, 0, sizeof disk);
        craft_boot(disk, N_CLUSTERS);
        for (uint64_t i = 0; i < N_RECORDS; i++)
                (void)craft_system(record(i), i, N_RECORDS, UPCASE_CLUSTER);
        memcpy(disk + UPCASE_CLUSTER * CRAFT_CLUSTER_BYTES, med_upcase_default(),
               2 * MED_UPCASE_UNITS);
        for (size_t i = DATA_CLUSTER * CRAFT_CLUSTER_BYTES; i < sizeof disk; i++)
                disk[i] = (uint8_t)(i / CRAFT_CLUSTER_BYTES);
}

static void file(uint64_t number, uint64_t parent, const char *name, const struct craft_stream *s)
{
        struct craft_record r;

        craft_begin(&r, record(number), 1, s ? CRAFT_IN_USE : CRAFT_IN_USE | CRAFT_DIRECTORY, 0);
        craft_standard(&r, 0x20);
        craft_name_ascii(&r, parent, name);
        if (s)
                craft_stream(&r, 0x80, s);
        craft_end(&r);
}

struct opened {
        struct bth_source *source;
        struct med_ntfs_volume *v;
        struct med_ntfs_index *x;
};

static struct opened open_disk(void)
{
        struct opened o = { 0 };

        assert_int_equal(bth_source_new_memory(disk, sizeof disk, &o.source), 0);
        assert_int_equal(med_ntfs_open(o.source, &o.v, NULL), 0);
        assert_int_equal(med_ntfs_scan(o.v, 1 << 20, &o.x, NULL), 0);
        return o;
}

static void close_disk(struct opened *o)
{
        (void)med_ntfs_index_free(o->x);
        (void)med_ntfs_close(o->v);
        (void)bth_source_free(o->source);
}

/* ---- records ---- */

static void test_record_checks(void **state _unused_)
{
        static const struct {
                const char *what;
                unsigned at;
                uint32_t value;
                unsigned bytes;
                int expected;
        } cases[] = {
                { "right", 0, 0, 0, 0 },
                { "never used", 0, 0, 4, -ENODATA },
                { "BAAD", 0, 0x44414142, 4, -EBADMSG },
                { "fix-ups outside", 4, 1000, 2, -EBADMSG },
                { "fix-ups over the header", 4, 0x20, 2, -EBADMSG },
                { "fix-ups at an odd place", 4, 0x31, 2, -EBADMSG },
                { "too many fix-ups", 6, 4, 2, -EBADMSG },
                { "too few fix-ups", 6, 2, 2, -EBADMSG },
                { "torn write", 510, 1, 2, -EBADMSG },
                { "torn write at the end", 1022, 1, 2, -EBADMSG },
                { "attributes in the header", 0x14, 8, 2, -EBADMSG },
                { "attributes at an odd place", 0x14, 0x39, 2, -EBADMSG },
                { "attributes outside", 0x14, 0xfff8, 2, -EBADMSG },
                { "longer than it is", 0x18, 1025, 4, -EBADMSG },
        };
        uint8_t bytes[CRAFT_RECORD_BYTES], value[4];
        struct med_ntfs_record rec;
        struct craft_record r;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                craft_begin(&r, bytes, 7, CRAFT_IN_USE, 0);
                craft_standard(&r, 0);
                craft_end(&r);
                bth_store_le32(value, cases[i].value);
                memcpy(bytes + cases[i].at, value, cases[i].bytes);
                if (med_ntfs_record_open(bytes, sizeof bytes, &rec) != cases[i].expected)
                        fail_msg("%s", cases[i].what);
        }
        craft_begin(&r, bytes, 7, CRAFT_DIRECTORY, craft_reference(30, 3));
        craft_end(&r);
        assert_int_equal(med_ntfs_record_open(bytes, sizeof bytes, &rec), 0);
        assert_int_equal(rec.sequence, 7);
        assert_true(rec.directory && !rec.in_use);
        assert_int_equal(rec.base, craft_reference(30, 3));
        assert_int_equal(med_ntfs_record_open(bytes, 512, &rec), -EBADMSG);
}

/* Every length and offset of an attribute, at every value that could matter: no read outside the
 * record, which the sanitizers see, and an end. */
static void test_attribute_bounds(void **state _unused_)
{
        static const uint32_t values[] = {
                0,    1,     8,     15,    16,     24,     64,         72,         0x7f,
                0xff, 0x100, 0x3b8, 0x3c0, 0x7fff, 0xffff, 0x7fffffff, 0xfffffff8, 0xffffffff
        };
        const struct craft_run run = { 70, 4 };

        for (unsigned at = 0; at < 0x110; at++)
                for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
                        _cleanup_free_ uint8_t *bytes = malloc(CRAFT_RECORD_BYTES);
                        struct med_ntfs_record rec;
                        struct med_ntfs_attribute a;
                        struct med_ntfs_runs runs = { 0 };
                        struct craft_record r;
                        uint32_t cursor = 0;
                        unsigned n = 0;

                        craft_begin(&r, bytes, 1, CRAFT_IN_USE, 0);
                        craft_standard(&r, 0);
                        craft_stream(&r, 0x80,
                                     &(struct craft_stream){ .name = "other",
                                                             .size_bytes = 16384,
                                                             .initialized_bytes = 16384,
                                                             .run = &run,
                                                             .n_runs = 1 });
                        craft_end(&r);
                        bth_store_le32(bytes + 0x38 + at, values[i]);
                        if (med_ntfs_record_open(bytes, CRAFT_RECORD_BYTES, &rec) < 0)
                                continue;
                        while (med_ntfs_attribute_next(&rec, &cursor, &a) == 1 && ++n < 100)
                                if (!a.resident && med_ntfs_runs_append(&runs, &a, 256) == 0)
                                        assert_in_range(runs.run[0].clusters, 1, INT64_MAX);
                        assert_true(n < 100);
                        med_ntfs_runs_clear(&runs);
                }
}

/* ---- run lists ---- */

static int append(const char *pairs, size_t n, uint64_t last_vcn, struct med_ntfs_runs *runs)
{
        const struct med_ntfs_attribute a = { .value = (const uint8_t *)pairs,
                                              .value_bytes = (uint32_t)n,
                                              .first_vcn = runs->end_vcn,
                                              .last_vcn = last_vcn };

        return med_ntfs_runs_append(runs, &a, 1000);
}

#define APPEND(pairs, last) append(pairs, sizeof(pairs) - 1, last, &runs)

static void test_runs(void **state _unused_)
{
        struct med_ntfs_runs runs = { 0 };

        /* 10 at 100, 5 not stored, 20 at 90 (one byte back), then on in a second piece. */
        assert_int_equal(APPEND("\x11\x0a\x64\x01\x05\x11\x14\xf6\x00", 34), 0);
        assert_int_equal(APPEND("\x21\x01\xe7\x03\x00", 35), 0);
        assert_int_equal(runs.n, 4);
        assert_int_equal(runs.run[0].lcn, 100);
        assert_int_equal(runs.run[1].lcn, MED_NTFS_HOLE);
        assert_int_equal(runs.run[2].lcn, 90);
        assert_int_equal(runs.run[2].vcn, 15);
        assert_int_equal(runs.run[3].lcn, 999);
        assert_int_equal(runs.end_vcn, 36);
        med_ntfs_runs_clear(&runs);
        /* An empty one. */
        assert_int_equal(APPEND("\x00", UINT64_MAX), 0);
}

static void test_wrong_runs(void **state _unused_)
{
        static const struct {
                const char *what, *pairs;
                size_t n;
                uint64_t last;
        } cases[] = {
                { "behind the volume", "\x21\x02\xe7\x03\x00", 5, 1 },
                { "before the volume", "\x11\x02\xff\x00", 4, 1 },
                { "no length", "\x10\x05\x00", 3, 0 },
                { "length of nine bytes", "\x19\x01\x01\x01\x01\x01\x01\x01\x01\x01\x05\x00", 12,
                  0 },
                { "place of nine bytes", "\x91\x01\x01\x01\x01\x01\x01\x01\x01\x01\x05\x00", 12,
                  0 },
                { "zero clusters", "\x11\x00\x05\x00", 4, 0 },
                { "cut off", "\x21\x01\x05", 3, 0 },
                { "negative length", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\x00", 10, 0 },
                { "sum beyond all", "\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x01\x01\x00", 12, 0 },
                { "shorter than it says", "\x11\x02\x05\x00", 4, 2 },
                { "longer than it says", "\x11\x02\x05\x00", 4, 0 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct med_ntfs_runs runs = { 0 };

                if (append(cases[i].pairs, cases[i].n, cases[i].last, &runs) != -EBADMSG)
                        fail_msg("%s", cases[i].what);
                med_ntfs_runs_clear(&runs);
        }
}

/* ---- volumes ---- */

static void test_crafted_volume(void **state _unused_)
{
        const struct craft_run pieces[] = { { 80, 2 }, { UINT64_MAX, 3 }, { 70, 1 }, { 71, 2 } };
        const struct craft_stream s = {
                .size_bytes = 30000, .initialized_bytes = 29000, .run = pieces, .n_runs = 4
        };
        struct med_ntfs_span span;
        struct med_ntfs_found found;
        struct med_ntfs_file *f;
        uint8_t data[30000];

        format();
        file(30, ROOT, "Folder", NULL);
        file(31, craft_reference(30, 1), "pieces", &s);
        struct opened o = open_disk();
        assert_string_equal(o.v->label, "Craft");
        assert_int_equal(med_ntfs_index_find(o.x, "\\fOLDER\\PIECES", &found), 0);
        assert_int_equal(found.first_offset_bytes, 80 * CRAFT_CLUSTER_BYTES);
        assert_int_equal(med_ntfs_file_open(o.v, found.reference, &f), 0);
        assert_int_equal(bth_source_read(&f->source, 0, data, sizeof data), 0);
        assert_int_equal(data[8191], 81);
        assert_int_equal(data[8192], 0);
        assert_int_equal(data[20480], 70);
        assert_int_equal(data[24576], 71);
        assert_int_equal(data[28999], 72);
        assert_int_equal(data[29000], 0);
        /* 70 and 71 touch; what was never written is zero though it has clusters. */
        assert_int_equal(med_ntfs_file_span(f, 20480, &span), 1);
        assert_int_equal(span.length_bytes, 29000 - 20480);
        assert_int_equal(med_ntfs_file_span(f, 29000, &span), 1);
        assert_int_equal(span.kind, MED_NTFS_SPAN_ZERO);
        assert_int_equal(span.length_bytes, 1000);
        assert_int_equal(med_ntfs_file_span(f, 30000, &span), 0);
        (void)bth_source_free(&f->source);
        close_disk(&o);
}

/* A file of 8 EiB less a byte that is a hole costs nothing; its ends read as zeros. */
static void test_sparse_claims(void **state _unused_)
{
        const struct craft_run hole = { UINT64_MAX, INT64_MAX / CRAFT_CLUSTER_BYTES + 1 };
        struct craft_stream s = { .flags = 0x8000,
                                  .size_bytes = INT64_MAX,
                                  .initialized_bytes = INT64_MAX,
                                  .run = &hole,
                                  .n_runs = 1 };
        struct med_ntfs_span span;
        struct med_ntfs_file *f;
        uint8_t data[4096] = { 1 };

        format();
        file(30, ROOT, "hole", &s);
        s.size_bytes = s.initialized_bytes = UINT64_MAX; /* 16 EiB */
        file(31, ROOT, "more", &s);
        s.size_bytes = INT64_MAX;
        s.initialized_bytes = 0;
        s.n_runs = 0;
        file(32, ROOT, "never written", &s);
        struct opened o = open_disk();
        assert_int_equal(med_ntfs_index_damaged(o.x), 1); /* "more" */
        assert_int_equal(med_ntfs_file_open(o.v, 31, &f), -EBADMSG);
        for (uint64_t i = 30; i <= 32; i += 2) {
                assert_int_equal(med_ntfs_file_open(o.v, i, &f), 0);
                assert_int_equal(
                        bth_source_read(&f->source, INT64_MAX - sizeof data, data, sizeof data), 0);
                assert_int_equal(data[0], 0);
                assert_int_equal(med_ntfs_file_span(f, 5, &span), 1);
                assert_int_equal(span.length_bytes, INT64_MAX - 5);
                assert_int_equal(span.kind, MED_NTFS_SPAN_ZERO);
                (void)bth_source_free(&f->source);
        }
        close_disk(&o);
}

/* The first piece of a file may lie in any record, in any order: the list says where. */
static void test_attribute_list(void **state _unused_)
{
        const struct craft_run first = { 80, 2 }, second = { 90, 1 }, third = { 85, 1 };
        uint8_t list[3 * 32] = { 0 };
        struct med_ntfs_file *f;
        struct craft_record r;
        uint8_t data[16384];
        const uint64_t where[] = { 32, 31, 30 };

        format();
        for (uint64_t i = 0; i < 3; i++) {
                bth_store_le32(list + 32 * i, 0x80);
                bth_store_le16(list + 32 * i + 4, 32);
                list[32 * i + 7] = 26;
                bth_store_le64(list + 32 * i + 8, i == 0 ? 0 : i + 1);
                bth_store_le64(list + 32 * i + 16, craft_reference(where[i], 1));
        }
        craft_begin(&r, record(30), 1, CRAFT_IN_USE, 0);
        craft_standard(&r, 0x20);
        craft_resident(&r, 0x20, list, sizeof list);
        craft_name_ascii(&r, ROOT, "listed");
        craft_stream(&r, 0x80,
                     &(struct craft_stream){ .first_vcn = 3, .run = &third, .n_runs = 1 });
        craft_end(&r);
        craft_begin(&r, record(31), 1, CRAFT_IN_USE, craft_reference(30, 1));
        craft_stream(&r, 0x80,
                     &(struct craft_stream){ .first_vcn = 2, .run = &second, .n_runs = 1 });
        craft_end(&r);
        craft_begin(&r, record(32), 1, CRAFT_IN_USE, craft_reference(30, 1));
        craft_stream(&r, 0x80,
                     &(struct craft_stream){ .size_bytes = 16000,
                                             .initialized_bytes = 16000,
                                             .run = &first,
                                             .n_runs = 1 });
        craft_end(&r);
        struct opened o = open_disk();
        struct med_ntfs_found found;
        assert_int_equal(med_ntfs_index_find(o.x, "listed", &found), 0);
        assert_int_equal(found.size_bytes, 16000);
        assert_int_equal(found.first_offset_bytes, 80 * CRAFT_CLUSTER_BYTES);
        assert_int_equal(med_ntfs_file_open(o.v, found.reference, &f), 0);
        assert_int_equal(bth_source_read(&f->source, 0, data, 16000), 0);
        assert_int_equal(data[0], 80);
        assert_int_equal(data[8192], 90);
        assert_int_equal(data[12288], 85);
        (void)bth_source_free(&f->source);
        close_disk(&o);
        /* A record that is another file's is not taken. */
        bth_store_le64(record(31) + 0x20, craft_reference(33, 1));
        o = open_disk();
        assert_int_equal(med_ntfs_file_open(o.v, 30, &f), -EBADMSG);
        close_disk(&o);
}

static int count(void *context, const char *name, const struct med_ntfs_found *found _unused_)
{
        assert_true(strlen(name) < 100);
        (*(unsigned *)context)++;
        return 0;
}

/* Folders inside each other, in themselves, names no file may have, names of files that are gone.
 */
static void test_hostile_tree(void **state _unused_)
{
        const struct craft_stream s = { 0 };
        struct med_ntfs_found found;
        struct craft_record r;
        unsigned n = 0;

        format();
        craft_begin(&r, record(30), 1, CRAFT_IN_USE | CRAFT_DIRECTORY, 0);
        craft_name_ascii(&r, ROOT, "a");
        craft_name_ascii(&r, craft_reference(31, 1), "in b");
        craft_end(&r);
        craft_begin(&r, record(31), 1, CRAFT_IN_USE | CRAFT_DIRECTORY, 0);
        craft_name_ascii(&r, craft_reference(30, 1), "in a");
        craft_name_ascii(&r, craft_reference(30, 1), "again");
        craft_end(&r);
        file(32, craft_reference(32, 1), "itself", NULL);
        file(33, ROOT, "..", &s);
        file(34, ROOT, "../../etc/passwd", &s);
        file(35, craft_reference(30, 2), "of an older folder", &s);
        file(36, ROOT, "older file", &s);
        bth_store_le16(record(36) + 0x16, 0); /* deleted */
        craft_begin(&r, record(37), 1, CRAFT_IN_USE, craft_reference(38, 9));
        craft_name_ascii(&r, ROOT, "of a newer file");
        craft_end(&r);
        file(38, ROOT, "fine", &s);
        struct opened o = open_disk();
        assert_int_equal(med_ntfs_index_damaged(o.x), 3);
        assert_int_equal(med_ntfs_index_walk(o.x, "", count, &n), 0);
        assert_int_equal(n, 5); /* a, in a, again, in b (once), fine */
        assert_int_equal(med_ntfs_index_find(o.x, "older file", &found), -ENOENT);
        assert_int_equal(med_ntfs_index_find(o.x, "of a newer file", &found), -ENOENT);
        assert_int_equal(med_ntfs_index_find(o.x, "a/again/in b/in a", &found), 0);
        close_disk(&o);
}

/* What is wrong with the volume itself ends at once: no table of 2^60 records, none of holes. */
static void test_hostile_volume(void **state _unused_)
{
        const struct craft_run hole = { UINT64_MAX, (uint64_t)1 << 50 };
        _cleanup_(bth_source_freep) struct bth_source *source = NULL;
        struct med_ntfs_volume *v;
        struct craft_record r;

        format();
        craft_begin(&r, record(0), 1, CRAFT_IN_USE, 0);
        craft_standard(&r, 6);
        craft_stream(&r, 0x80,
                     &(struct craft_stream){ .size_bytes = (uint64_t)1 << 60,
                                             .initialized_bytes = (uint64_t)1 << 60,
                                             .run = &hole,
                                             .n_runs = 1 });
        craft_end(&r);
        assert_int_equal(bth_source_new_memory(disk, sizeof disk, &source), 0);
        assert_int_equal(med_ntfs_open(source, &v, NULL), -EBADMSG);
        format();
        disk[3] = 'n';
        assert_int_equal(med_ntfs_open(source, &v, NULL), -EINVAL);
        format();
        bth_store_le64(disk + 0x28, UINT64_MAX);
        assert_int_equal(med_ntfs_open(source, &v, NULL), -EBADMSG);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_record_checks),  cmocka_unit_test(test_attribute_bounds),
                cmocka_unit_test(test_runs),           cmocka_unit_test(test_wrong_runs),
                cmocka_unit_test(test_crafted_volume), cmocka_unit_test(test_sparse_claims),
                cmocka_unit_test(test_attribute_list), cmocka_unit_test(test_hostile_tree),
                cmocka_unit_test(test_hostile_volume),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
