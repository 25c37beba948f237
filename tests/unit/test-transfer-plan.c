/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How blobs are cut, how blocks are named, and what a station remembers of a transfer. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "uploader/plan.h"
#include "uploader/state.h"

#define MIB (UINT64_C(1) << 20)

static struct med_manifest_blob blob_of(enum med_manifest_kind kind, uint64_t length,
                                        const struct med_manifest_range *ranges, size_t n)
{
        return (struct med_manifest_blob){
                .blob_path = "c/b",
                .kind = kind,
                .length_bytes = length,
                .ranges = ranges,
                .n_ranges = n,
        };
}

static void test_blocks_follow_the_manifest(void **state)
{
        struct med_manifest_range r[] = {
                { 0, 4 * MIB, { 1 }, MED_MANIFEST_NO_ID, 0 },
                { 4 * MIB, 10, { 2 }, MED_MANIFEST_NO_ID, 0 },
        };
        struct med_manifest_blob b = blob_of(MED_MANIFEST_BLOCK, 4 * MIB + 10, r, 2);
        struct upl_plan *p;
        char id[UPL_PLAN_ID_BYTES], other[UPL_PLAN_ID_BYTES];

        assert_int_equal(upl_plan_new(&b, &p, NULL), 0);
        assert_int_equal(p->kind, UPL_PLAN_BLOCKS);
        assert_int_equal(p->n_parts, 2);
        assert_true(p->parts[1].has_md5);
        assert_int_equal(p->parts[1].md5[0], 2);
        assert_false(p->manifest_ids);
        assert_int_equal(strlen(upl_plan_block_id(p, r[0].md5, r[0].length_bytes, id)), 32);
        assert_int_equal(strlen(upl_plan_block_id(p, r[1].md5, r[1].length_bytes, other)), 32);
        assert_string_not_equal(id, other);
        assert_string_not_equal(id, upl_plan_block_id(p, r[0].md5, 5, other));
        (void)upl_plan_free(p);
        b = blob_of(MED_MANIFEST_BLOCK, 4 * MIB, r, 1);
        assert_int_equal(upl_plan_new(&b, &p, NULL), 0);
        assert_int_equal(p->kind, UPL_PLAN_PUT_BLOB);
        (void)upl_plan_free(p);
        b = blob_of(MED_MANIFEST_BLOCK, 0, NULL, 0);
        assert_int_equal(upl_plan_new(&b, &p, NULL), 0);
        assert_int_equal(p->kind, UPL_PLAN_PUT_BLOB);
        assert_int_equal(p->n_parts, 0);
        (void)upl_plan_free(p);
}

static void test_only_true_content_ids_are_kept(void **state)
{
        /* The second range's id tells another hash than the manifest. */
        static const char ids[] = "MD5/AQAAAAAAAAAAAAAAAAAAAA==\0MD5/AwAAAAAAAAAAAAAAAAAAAA==\0"
                                  "AAAAAA==";
        struct med_manifest_range r[] = {
                { 0, 5, { 1 }, 0, 0 },
                { 5, 5, { 1 }, 0, 0 },
        };
        struct med_manifest_blob b = blob_of(MED_MANIFEST_BLOCK, 10, r, 2);
        char id[UPL_PLAN_ID_BYTES];
        struct upl_plan *p;

        b.ids = ids;
        assert_int_equal(upl_plan_new(&b, &p, NULL), 0);
        assert_true(p->manifest_ids);
        assert_string_equal(upl_plan_block_id(p, r[0].md5, 5, id), ids);
        (void)upl_plan_free(p);
        r[1].id = 29;
        assert_int_equal(upl_plan_new(&b, &p, NULL), 0);
        assert_false(p->manifest_ids);
        (void)upl_plan_free(p);
        r[1].id = 58;
        assert_int_equal(upl_plan_new(&b, &p, NULL), 0);
        assert_false(p->manifest_ids);
        (void)upl_plan_free(p);
}

static void test_without_ranges_we_cut(void **state)
{
        static const uint64_t lengths[] = { 1,
                                            8 * MIB,
                                            8 * MIB + 1,
                                            100 * MIB + 7,
                                            400000 * MIB,
                                            800000 * MIB,
                                            3000001 * MIB,
                                            4000 * MIB * UPL_BLOCKS_MAX };

        for (size_t k = 0; k < ARRAY_SIZE(lengths); k++) {
                struct med_manifest_blob b = blob_of(MED_MANIFEST_NONE, lengths[k], NULL, 0);
                struct upl_plan *p;
                uint64_t at = 0;

                assert_int_equal(upl_plan_new(&b, &p, NULL), 0);
                assert_true(p->n_parts <= UPL_BLOCKS_MAX);
                for (size_t i = 0; i < p->n_parts; i++) {
                        assert_int_equal(p->parts[i].offset_bytes, at);
                        assert_true(p->parts[i].length_bytes <= UPL_BLOCK_MAX_BYTES);
                        assert_false(p->parts[i].has_md5);
                        at += p->parts[i].length_bytes;
                }
                assert_int_equal(at, lengths[k]);
                assert_int_equal(p->kind, p->n_parts <= 1 ? UPL_PLAN_PUT_BLOB : UPL_PLAN_BLOCKS);
                (void)upl_plan_free(p);
        }
}

static void test_bad_lists_are_refused(void **state)
{
        static const struct {
                enum med_manifest_kind kind;
                uint64_t length;
                struct med_manifest_range r[2];
                size_t n;
                int error;
        } cases[] = {
                { MED_MANIFEST_BLOCK, 10, { { 0, 5 }, { 6, 4 } }, 2, -EINVAL },
                { MED_MANIFEST_BLOCK, 10, { { 0, 5 }, { 4, 6 } }, 2, -EINVAL },
                { MED_MANIFEST_BLOCK, 10, { { 0, 5 }, { 5, 4 } }, 2, -EINVAL },
                { MED_MANIFEST_BLOCK, 10, { { 0, 5 }, { 5, 6 } }, 2, -EINVAL },
                { MED_MANIFEST_BLOCK, 10, { { 0, 10 }, { 10, 0 } }, 2, -EINVAL },
                { MED_MANIFEST_BLOCK, 10, { { 0 } }, 0, -EINVAL },
                { MED_MANIFEST_BLOCK, 4001 * MIB, { { 0, 4001 * MIB } }, 1, -EFBIG },
                { MED_MANIFEST_PAGE, 513, { { 0 } }, 0, -EINVAL },
                { MED_MANIFEST_PAGE, 2048, { { 0, 100 } }, 1, -EINVAL },
                { MED_MANIFEST_PAGE, 2048, { { 100, 512 } }, 1, -EINVAL },
                { MED_MANIFEST_PAGE, 2048, { { 512, 512 }, { 0, 512 } }, 2, -EINVAL },
                { MED_MANIFEST_PAGE, 2048, { { 1536, 1024 } }, 1, -EINVAL },
                { MED_MANIFEST_PAGE, 2048, { { UINT64_MAX - 511, 512 } }, 1, -EINVAL },
                { MED_MANIFEST_NONE, UINT64_MAX, { { 0 } }, 0, -EFBIG },
                { MED_MANIFEST_FILE, 10, { { 0, 10 } }, 1, -EINVAL },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct med_manifest_blob b =
                        blob_of(cases[i].kind, cases[i].length, cases[i].r, cases[i].n);
                struct bth_error error = BTH_ERROR_INIT;
                struct upl_plan *p = NULL;

                assert_int_equal(upl_plan_new(&b, &p, &error), cases[i].error);
                assert_null(p);
                assert_true(error.sentence[0] != '\0');
        }
}

static void test_pages_are_cut_to_what_a_request_takes(void **state)
{
        struct med_manifest_range r[] = {
                { 512, 512, { 7 }, MED_MANIFEST_NO_ID, 0 },
                { 1 * MIB, 9 * MIB, { 8 }, MED_MANIFEST_NO_ID, 0 },
        };
        struct med_manifest_blob b = blob_of(MED_MANIFEST_PAGE, 16 * MIB, r, 2);
        struct upl_plan *p;

        assert_int_equal(upl_plan_new(&b, &p, NULL), 0);
        assert_int_equal(p->kind, UPL_PLAN_PAGES);
        assert_int_equal(p->n_parts, 4);
        assert_true(p->parts[0].has_md5);
        assert_false(p->parts[1].has_md5);
        assert_int_equal(p->parts[0].n_pieces, 0);
        assert_int_equal(p->parts[1].n_pieces, 3);
        assert_int_equal(p->parts[1].md5[0], 8);
        assert_int_equal(p->parts[2].n_pieces, 0);
        assert_int_equal(p->parts[3].offset_bytes, 9 * MIB);
        assert_int_equal(p->parts[3].length_bytes, 1 * MIB);
        (void)upl_plan_free(p);
}

/* --- state --- */

struct place {
        char folder[64];
        int fd;
};

static int place_new(void **state)
{
        struct place *p = calloc(1, sizeof *p);

        assert_non_null(p);
        (void)snprintf(p->folder, sizeof p->folder, "/tmp/berth-state-XXXXXX");
        assert_non_null(mkdtemp(p->folder));
        p->fd = open(p->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(p->fd >= 0);
        *state = p;
        return 0;
}

static int place_free(void **state)
{
        struct place *p = *state;

        (void)unlinkat(p->fd, "s", 0);
        (void)close(p->fd);
        (void)rmdir(p->folder);
        free(p);
        return 0;
}

static const uint8_t identity[UPL_STATE_IDENTITY_BYTES] = { 1, 2, 3 };

static struct upl_state *reopen(const struct place *p, struct upl_state *s)
{
        (void)upl_state_free(s);
        s = NULL;
        assert_int_equal(upl_state_open(p->fd, "s", identity, &s, NULL), 0);
        return s;
}

static void fill(struct upl_state *s)
{
        struct upl_intent overwrite = { (char *)"b", (char *)"\"0x1\"", (char *)"lease", 77 };
        struct upl_intent fresh = { (char *)"b (2)", NULL, NULL, 78 };
        struct upl_outcome outcome = { BTH_BLOB_STATUS_COMPLETED, BTH_DISPOSITION_STATUS_RENAMED,
                                       (char *)"b (2)", (char *)"\"0x9\"" };

        assert_int_equal(upl_state_intend(s, 5, "c", &overwrite), 0);
        assert_int_equal(upl_state_page(s, 5, 4096, 512), 0);
        assert_int_equal(upl_state_page(s, 5, 0, 512), 0);
        assert_int_equal(upl_state_intend(s, 6, "c", &fresh), 0);
        assert_int_equal(upl_state_finish(s, 6, "c", &outcome), 0);
}

static void check_filled(struct upl_state *s)
{
        struct upl_intent i;
        struct upl_outcome o;

        assert_int_equal(upl_state_get_intent(s, 5, &i), 0);
        assert_string_equal(i.name, "b");
        assert_string_equal(i.etag, "\"0x1\"");
        assert_string_equal(i.lease_id, "lease");
        assert_int_equal(i.realtime_usec, 77);
        upl_intent_clear(&i);
        assert_true(upl_state_has_page(s, 5, 0, 512));
        assert_true(upl_state_has_page(s, 5, 4096, 512));
        assert_false(upl_state_has_page(s, 5, 4096, 1024));
        assert_int_equal(upl_state_get_outcome(s, 5, &o), -ENOENT);
        assert_int_equal(upl_state_get_intent(s, 6, &i), -ENOENT);
        assert_int_equal(upl_state_get_outcome(s, 6, &o), 0);
        assert_string_equal(o.name, "b (2)");
        assert_int_equal(o.disposition, BTH_DISPOSITION_STATUS_RENAMED);
        upl_outcome_clear(&o);
}

static void test_state_survives(void **state)
{
        struct place *p = *state;
        struct upl_state *s = reopen(p, NULL), *second = NULL;
        struct upl_intent again = { (char *)"b", NULL, NULL, 99 };

        fill(s);
        check_filled(s);
        assert_false(upl_state_is_made(s, 5));
        assert_int_equal(upl_state_made(s, 5), 0);
        assert_int_equal(upl_state_open(p->fd, "s", identity, &second, NULL), -EBUSY);
        s = reopen(p, s);
        check_filled(s);
        assert_true(upl_state_is_made(s, 5));
        /* A new intent begins the blob anew: its old pages are another blob's. */
        assert_int_equal(upl_state_intend(s, 5, "c", &again), 0);
        assert_false(upl_state_has_page(s, 5, 0, 512));
        assert_false(upl_state_is_made(s, 5));
        s = reopen(p, s);
        assert_false(upl_state_has_page(s, 5, 0, 512));
        (void)upl_state_free(s);
}

static void test_many_records(void **state)
{
        struct place *p = *state;
        struct upl_state *s = reopen(p, NULL);
        struct upl_outcome o = { BTH_BLOB_STATUS_COMPLETED, BTH_DISPOSITION_STATUS_CREATED,
                                 (char *)"name", NULL };

        for (uint64_t i = 0; i < 3000; i++)
                assert_int_equal(upl_state_page(s, i * 4096, i, 1), 0);
        assert_int_equal(upl_state_finish(s, 1, "c", &o), 0);
        s = reopen(p, s);
        for (uint64_t i = 0; i < 3000; i++)
                assert_true(upl_state_has_page(s, i * 4096, i, 1));
        (void)upl_state_free(s);
}

/* A name is one entry's: by what was recorded, or because it came first in this run. */
static void test_names_have_owners(void **state)
{
        struct place *p = *state;
        struct upl_state *s = reopen(p, NULL);
        struct upl_outcome o = { BTH_BLOB_STATUS_COMPLETED, BTH_DISPOSITION_STATUS_SKIPPED,
                                 (char *)"skipped", NULL };
        char name[32];

        fill(s);
        assert_int_equal(upl_state_finish(s, 7, "c", &o), 0);
        for (unsigned again = 0; again < 2; again++) {
                assert_true(upl_state_is_claimed(s, 6, "c", "b"));
                assert_false(upl_state_is_claimed(s, 5, "c", "b"));
                assert_int_equal(upl_state_claim(s, 5, "c", "b (2)"), -EEXIST);
                assert_int_equal(upl_state_claim(s, 6, "c", "b (2)"), 0);
                assert_false(upl_state_is_claimed(s, 1, "other", "b"));
                assert_false(upl_state_is_claimed(s, 1, "c", "skipped"));
                for (unsigned i = 0; i < 5000; i++) {
                        (void)snprintf(name, sizeof name, "n%u", i);
                        assert_int_equal(upl_state_claim(s, i, "c", name), 0);
                        assert_int_equal(upl_state_claim(s, i, "c", name), 0);
                        assert_int_equal(upl_state_claim(s, i + 1, "c", name), -EEXIST);
                }
                /* What was not recorded is forgotten. */
                s = reopen(p, s);
                assert_false(upl_state_is_claimed(s, 9999, "c", "n0"));
        }
        (void)upl_state_free(s);
}

/* Whatever the length at which a crash cut the file, it opens, and knows a beginning of the story.
 */
static void test_every_cut_opens(void **state)
{
        struct place *p = *state;
        struct upl_state *s = reopen(p, NULL);
        struct stat st;
        _cleanup_free_ char *whole = NULL;
        unsigned known = 0;

        fill(s);
        (void)upl_state_free(s);
        assert_int_equal(fstatat(p->fd, "s", &st, 0), 0);
        whole = malloc((size_t)st.st_size);
        assert_non_null(whole);
        for (int pass = 0; pass < 2; pass++)
                for (off_t cut = st.st_size; cut >= 0; cut--) {
                        struct upl_intent i;
                        int fd = openat(p->fd, "s", O_RDWR | O_CLOEXEC);

                        assert_true(fd >= 0);
                        if (cut == st.st_size && pass == 0)
                                assert_int_equal(read(fd, whole, (size_t)cut), cut);
                        assert_int_equal(ftruncate(fd, 0), 0);
                        assert_int_equal(pwrite(fd, whole, (size_t)cut, 0), cut);
                        /* In the second pass the last byte is wrong instead of missing. */
                        if (pass == 1 && cut > 64)
                                assert_int_equal(pwrite(fd, "\xaa", 1, cut - 1), 1);
                        (void)close(fd);
                        s = reopen(p, NULL);
                        if (upl_state_get_intent(s, 5, &i) == 0) {
                                assert_string_equal(i.name, "b");
                                upl_intent_clear(&i);
                                known++;
                        }
                        (void)upl_state_free(s);
                }
        assert_true(known > 100);
}

static void test_a_foreign_file_is_refused(void **state)
{
        static const uint8_t other[UPL_STATE_IDENTITY_BYTES] = { 9 };
        struct place *p = *state;
        struct upl_state *s = reopen(p, NULL);
        struct bth_error error = BTH_ERROR_INIT;
        int fd;

        fill(s);
        (void)upl_state_free(s);
        assert_int_equal(upl_state_open(p->fd, "s", other, &s, &error), -ESTALE);
        assert_true(error.sentence[0] != '\0');
        fd = openat(p->fd, "s", O_RDWR | O_CLOEXEC);
        assert_int_equal(pwrite(fd, "X", 1, 3), 1);
        (void)close(fd);
        assert_int_equal(upl_state_open(p->fd, "s", identity, &s, &error), -EBADMSG);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_blocks_follow_the_manifest),
                cmocka_unit_test(test_only_true_content_ids_are_kept),
                cmocka_unit_test(test_without_ranges_we_cut),
                cmocka_unit_test(test_bad_lists_are_refused),
                cmocka_unit_test(test_pages_are_cut_to_what_a_request_takes),
                cmocka_unit_test_setup_teardown(test_state_survives, place_new, place_free),
                cmocka_unit_test_setup_teardown(test_names_have_owners, place_new, place_free),
                cmocka_unit_test_setup_teardown(test_many_records, place_new, place_free),
                cmocka_unit_test_setup_teardown(test_every_cut_opens, place_new, place_free),
                cmocka_unit_test_setup_teardown(test_a_foreign_file_is_refused, place_new,
                                                place_free),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
