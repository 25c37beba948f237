/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which job a docked drive belongs to, which jobs may be made, and the receipt of a drive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/str.h"
#include "jobs/match.h"
#include "jobs/receipt.h"

#define T0   UINT64_C(1900000000000000)
#define HASH "0123456789ABCDEF0123456789abcdef"

static const struct job_policy policy;

struct place {
        char folder[64];
        char path[96];
        struct job_store *store;
        struct bth_error error;
};

static int set_up(void **state)
{
        struct place *p = calloc(1, sizeof *p);

        assert_non_null(p);
        (void)snprintf(p->folder, sizeof p->folder, "/tmp/berth-match-XXXXXX");
        assert_non_null(mkdtemp(p->folder));
        (void)snprintf(p->path, sizeof p->path, "%s/berth.db", p->folder);
        assert_int_equal(job_store_open(p->path, &p->store, NULL), 0);
        *state = p;
        return 0;
}

static int tear_down(void **state)
{
        struct place *p = *state;

        (void)job_store_close(p->store);
        assert_int_equal(unlink(p->path), 0);
        assert_int_equal(rmdir(p->folder), 0);
        free(p);
        return 0;
}

static uint64_t add(struct place *p, const char *name, const char *serial, const char *second)
{
        const struct job_draft_drive drives[] = {
                { .serial = serial, .manifest_file = "\\M.xml", .manifest_hash = HASH },
                { .serial = second, .manifest_file = "\\M.xml", .manifest_hash = HASH },
        };
        uint64_t id;

        assert_int_equal(job_store_add(p->store,
                                       &(struct job_draft){ .name = name,
                                                            .account = "/a",
                                                            .accept_unshipped = true,
                                                            .drives = drives,
                                                            .n_drives = second ? 2 : 1 },
                                       false, T0, "uid 1000", &id, NULL),
                         0);
        return id;
}

static void act(struct place *p, uint64_t job, enum job_input_kind kind, size_t drive,
                const char *who)
{
        const struct job_act a = {
                .job = job,
                .input = { .kind = kind, .drive = drive, .status = BTH_DRIVE_STATUS_COMPLETED }
        };
        struct job_outcome out;

        p->error = BTH_ERROR_INIT;
        if (job_store_apply(p->store, &a, &policy, T0 + 7000000, who, &out, &p->error) < 0)
                fail_msg("%s", p->error.sentence);
}

static const char *match(struct place *p, const char *serial, uint64_t job)
{
        static struct job_match m;

        assert_int_equal(job_match(p->store, serial, &m, NULL), 0);
        assert_int_equal(m.job, job);
        assert_true(m.sentence[0] != '\0');
        return m.kind == JOB_MATCH_SEVERAL || m.kind == JOB_MATCH_DOUBLE
                       ? m.sentence
                       : job_match_kind_to_string(m.kind);
}

static void test_serials(void **state)
{
        assert_true(job_serial_equal(" WD-wx 12 ", "wd-WX12"));
        assert_false(job_serial_equal("A", "B"));
        assert_false(job_serial_equal("", " "));
        assert_false(job_serial_equal(NULL, NULL));
        assert_true(job_serial_usable("QX7"));
        assert_true(job_serial_usable("7"));
        assert_false(job_serial_usable(""));
        assert_false(job_serial_usable("   "));
        assert_false(job_serial_usable(NULL));
        assert_false(job_serial_usable("0000 0000"));
        assert_false(job_serial_usable("A\x01"));
        assert_false(job_serial_usable("\xc3\xa4"));
}

static void test_match(void **state)
{
        struct place *p = *state;
        const uint64_t a = add(p, "one", "SN 1", "SN2");

        assert_string_equal(match(p, "sn1", a), "one");
        assert_string_equal(match(p, "SN9", 0), "none"); /* an extra drive */
        assert_string_equal(match(p, "", 0), "unusable");
        act(p, a, JOB_INPUT_DOCKED, 0, NULL);
        assert_string_equal(match(p, "s n1", a),
                            "a drive with the serial number s n1 is in the bay ? already");
        act(p, a, JOB_INPUT_PULLED, 0, NULL);
        assert_string_equal(match(p, "sn1", a), "one");
        act(p, a, JOB_INPUT_DOCKED, 0, NULL);
        act(p, a, JOB_INPUT_BEGUN, 0, NULL);
        act(p, a, JOB_INPUT_ENDED, 0, NULL);
        act(p, a, JOB_INPUT_EJECTED, 0, NULL);
        assert_string_equal(match(p, "sn1", a), "one"); /* done, and known */
        act(p, a, JOB_INPUT_MISSING, 1, NULL);
        assert_string_equal(match(p, "sn2", a), "past"); /* the job is being packed */
        act(p, a, JOB_INPUT_RETURNED, 0, NULL);
        assert_string_equal(match(p, "sn1", a), "past");
}

/* The same drive comes again, years later, in another job. */
static void test_match_of_several(void **state)
{
        struct place *p = *state;
        const uint64_t old = add(p, "old", "SN1", NULL), now = add(p, "new", "sn 1", NULL);

        assert_string_equal(match(p, "SN1", 0),
                            "the jobs 'old', 'new' want the drive SN1: match it by hand");
        act(p, old, JOB_INPUT_DOCKED, 0, NULL);
        act(p, old, JOB_INPUT_BEGUN, 0, NULL);
        act(p, old, JOB_INPUT_ENDED, 0, NULL);
        act(p, old, JOB_INPUT_EJECTED, 0, NULL);
        assert_string_equal(match(p, "SN1", now), "one");
        act(p, now, JOB_INPUT_DELETED, 0, NULL);
        assert_string_equal(match(p, "SN1", old), "one");
}

static void test_match_by_hand(void **state)
{
        struct place *p = *state;
        const uint64_t a = add(p, "one", "SN1", NULL);

        assert_int_equal(job_match_by_hand(p->store, a, 0, &p->error), 0);
        assert_int_equal(job_match_by_hand(p->store, a, 1, &p->error), -EPERM);
        assert_int_equal(job_match_by_hand(p->store, 99, 0, &p->error), -ENOENT);
        act(p, a, JOB_INPUT_DOCKED, 0, NULL);
        p->error = BTH_ERROR_INIT;
        assert_int_equal(job_match_by_hand(p->store, a, 0, &p->error), -EPERM);
        assert_int_equal(p->error.reason, BTH_REASON_REFUSED);
}

static void test_names(void **state)
{
        static const struct {
                const char *name;
                bool own, foreign;
        } cases[] = {
                { "abc", true, true },
                { "a-1", true, true },
                { "abcdefghijklmnopqrstuvwx", true, true },
                { "abcdefghijklmnopqrstuvwxy", false, true },
                { "ab", false, true },
                { "1bc", false, true },
                { "ab-", false, true },
                { "MyIEjob1", false, true },
                { "a_b.c", false, true },
                { "-ab", false, false },
                { "a b", false, false },
                { "a/b", false, false },
                { "", false, false },
                { NULL, false, false },
                { "\xc3\xa4"
                  "bc",
                  false, false },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_int_equal(job_name_check(cases[i].name, false, NULL) == 0, cases[i].own);
                assert_int_equal(job_name_check(cases[i].name, true, NULL) == 0, cases[i].foreign);
        }
}

static void test_merge(void **state)
{
        struct job_draft_drive in[12], out[JOB_MAX_DRIVES];
        struct bth_error error = BTH_ERROR_INIT;
        struct bth_secret *a, *b, *c;
        char serials[12][8];
        size_t n;

        assert_int_equal(bth_secret_new_copy("key 1", 5, &a), 0);
        assert_int_equal(bth_secret_new_copy("key 1", 5, &b), 0);
        assert_int_equal(bth_secret_new_copy("key 2", 5, &c), 0);
        for (size_t i = 0; i < 12; i++) {
                (void)snprintf(serials[i], sizeof serials[i], "S%zu", i);
                in[i] = (struct job_draft_drive){ .serial = serials[i],
                                                  .manifest_hash = "AB",
                                                  .key = a };
        }
        assert_int_equal(job_merge_drives(in, 10, out, &n, &error), 0);
        assert_int_equal(n, 10);
        assert_int_equal(job_merge_drives(in, 11, out, &n, &error), -E2BIG);
        in[1] = (struct job_draft_drive){ .serial = "s 0", .manifest_hash = "ab", .key = b };
        assert_int_equal(job_merge_drives(in, 3, out, &n, &error), 0);
        assert_int_equal(n, 2);
        assert_string_equal(out[1].serial, "S2");
        in[1].key = c;
        assert_int_equal(job_merge_drives(in, 3, out, &n, &error), -EEXIST);
        assert_null(strstr(error.sentence, "key"));
        in[1].key = a;
        in[1].manifest_hash = "AC";
        assert_int_equal(job_merge_drives(in, 3, out, &n, &error), -EEXIST);
        (void)bth_secret_free(a);
        (void)bth_secret_free(b);
        (void)bth_secret_free(c);
}

static int admit(struct place *p, const struct job_draft *d, unsigned max)
{
        p->error = BTH_ERROR_INIT;
        return job_admit(p->store, d, false, max, &p->error);
}

static void test_admit(void **state)
{
        struct place *p = *state;
        struct job_draft_drive drives[2] = {
                { .serial = "SN1", .manifest_file = "\\M.xml", .manifest_hash = HASH },
                { .serial = "SN2", .manifest_file = "\\M.xml", .manifest_hash = HASH HASH },
        };
        struct job_draft d = { .name = "one", .account = "/a", .drives = drives, .n_drives = 2 };
        uint64_t other;

        assert_int_equal(admit(p, &d, 0), 0);
        d.name = "One";
        assert_int_equal(admit(p, &d, 0), -EINVAL);
        d.name = "one";
        d.account = NULL;
        assert_int_equal(admit(p, &d, 0), -EINVAL);
        d.account = "/a";
        d.n_drives = 11;
        assert_int_equal(admit(p, &d, 0), -EINVAL);
        d.n_drives = 2;
        drives[1].serial = "s n1";
        assert_int_equal(admit(p, &d, 0), -EINVAL);
        drives[1].serial = "0000";
        assert_int_equal(admit(p, &d, 0), -EINVAL);
        drives[1].serial = "SN2";
        drives[1].manifest_hash = "xyz";
        assert_int_equal(admit(p, &d, 0), -EINVAL);
        drives[1].manifest_hash = HASH;
        drives[1].manifest_file = NULL;
        assert_int_equal(admit(p, &d, 0), -EINVAL);
        drives[1].manifest_file = "\\M.xml";
        assert_int_equal(admit(p, &d, 0), 0);

        other = add(p, "other", "sn 2", NULL);
        assert_int_equal(admit(p, &d, 0), -EEXIST);
        assert_string_equal(
                p->error.sentence,
                "the drive 'SN2' belongs to the job 'other', which is not done with it");
        act(p, other, JOB_INPUT_DOCKED, 0, NULL);
        assert_int_equal(admit(p, &d, 0), -EEXIST);
        act(p, other, JOB_INPUT_BEGUN, 0, NULL);
        act(p, other, JOB_INPUT_ENDED, 0, NULL);
        assert_int_equal(admit(p, &d, 0), 0); /* it is done with the drive */

        other = add(p, "third", "sn 2", NULL);
        assert_int_equal(job_admit_drives(p->store, 0, drives, 2, NULL), -EEXIST);
        assert_int_equal(job_admit_drives(p->store, other, drives, 2, NULL), 0); /* its own */
}

static void test_quota(void **state)
{
        struct place *p = *state;
        const struct job_draft_drive drive = { .serial = "Z1",
                                               .manifest_file = "\\M.xml",
                                               .manifest_hash = HASH };
        struct job_draft d = { .name = "one", .account = "/a", .drives = &drive, .n_drives = 1 };
        uint64_t first = 0;

        for (unsigned i = 0; i < JOB_ACTIVE_MAX; i++) {
                char name[16], serial[16];
                uint64_t id;

                (void)snprintf(name, sizeof name, "job-%u", i);
                (void)snprintf(serial, sizeof serial, "SN%u", i);
                assert_int_equal(admit(p, &d, 0), 0);
                id = add(p, name, serial, NULL);
                first = i == 0 ? id : first;
        }
        assert_int_equal(admit(p, &d, 0), -EDQUOT);
        assert_string_equal(p->error.sentence, "there are 20 active jobs, and 20 are possible");
        assert_int_equal(admit(p, &d, 21), 0);
        d.scope = "/subscriptions/2/resourceGroups/g";
        assert_int_equal(admit(p, &d, 0), 0);
        /* All groups of a subscription are counted together, and no other subscription. */
        for (unsigned i = 0; i < 2; i++) {
                const struct job_draft_drive other = { .serial = i ? "Y1" : "Y0" };
                const struct job_draft draft = {
                        .scope = i ? "/subscriptions/2/resourceGroups/h"
                                   : "/subscriptions/22/resourceGroups/g",
                        .name = "far",
                        .drives = &other,
                        .n_drives = 1,
                };
                uint64_t id;

                assert_int_equal(admit(p, &d, 1), 0);
                assert_int_equal(job_store_add(p->store, &draft, false, T0, NULL, &id, &p->error),
                                 0);
        }
        assert_int_equal(admit(p, &d, 1), -EDQUOT);
        assert_int_equal(admit(p, &d, 2), 0);
        d.scope = NULL;
        act(p, first, JOB_INPUT_DOCKED, 0, NULL);
        act(p, first, JOB_INPUT_BEGUN, 0, NULL);
        act(p, first, JOB_INPUT_ENDED, 0, NULL);
        act(p, first, JOB_INPUT_EJECTED, 0, NULL);
        act(p, first, JOB_INPUT_RETURNED, 0, NULL);
        assert_int_equal(admit(p, &d, 0), 0); /* Completed is not counted */
}

/* --- the receipt --- */

static void test_receipt(void **state)
{
        struct place *p = *state;
        const uint64_t job = add(p, "attic", "SN1", "SN2");
        const struct job_docking docking = { .serial = "SN1",
                                             .bay = "A1",
                                             .model = "Disk\x1b[2J",
                                             .size_bytes = 4000,
                                             .job = job,
                                             .matched = "serial" };
        const struct bth_result_report result = { .end = BTH_RUN_END_FINISHED,
                                                  .copy_status = (char *)"Completed",
                                                  .blobs = 12,
                                                  .completed = 12,
                                                  .bytes = 3456,
                                                  .sent_bytes = 3400,
                                                  .error_log = (char *)"waimportexport/e.xml" };
        _cleanup_json_ json_t *j = NULL;
        struct job_receipt r;
        struct job_outcome out;
        uint8_t digest[BTH_SHA256_BYTES];
        char hex[2 * BTH_SHA256_BYTES + 1];
        uint64_t id;

        assert_int_equal(job_store_dock(p->store, &docking, &policy, T0, NULL, &id, &out, NULL), 0);
        act(p, job, JOB_INPUT_DOCKED, 1, "uid 7 (other drive)");
        act(p, job, JOB_INPUT_BEGUN, 0, NULL);
        act(p, job, JOB_INPUT_PAUSED, 0, "uid 1000 (alice)");
        act(p, job, JOB_INPUT_RESUMED, 0, "uid 1001 (bob)");
        assert_int_equal(job_store_result(p->store, job, 0, &result, &policy, T0, &out, NULL), 0);
        assert_int_equal(job_store_undock(p->store, id, true, &policy, T0, NULL, &out, NULL), 0);
        assert_int_equal(job_receipt_make(p->store, job, 0, "station 1", T0, &r, &p->error), 0);

        assert_int_equal(bth_json_parse(r.json, strlen(r.json), &j, NULL), 0);
        assert_int_equal(json_array_size(json_object_get(j, "dockings")), 1);
        assert_int_equal(json_array_size(json_object_get(j, "runs")), 1);
        assert_int_equal(bth_digest_of(BTH_DIGEST_SHA256, r.json, strlen(r.json), digest), 0);
        assert_string_equal(bth_hex_encode(digest, sizeof digest, hex), r.sha256);
        assert_non_null(strstr(r.text, r.sha256));
        assert_non_null(strstr(r.text, "serial number   SN1\n"));
        assert_non_null(strstr(r.text, "manifest hash   " HASH "\n"));
        assert_non_null(strstr(r.text, "status          Completed\n"));
        assert_non_null(strstr(r.text, "12 of 12 blobs, 3400 bytes sent, 0 failed"));
        assert_non_null(strstr(r.text, "uid 1000 (alice)  drive.activity  paused\n"));
        assert_non_null(strstr(r.text, "uid 1001 (bob)"));
        assert_non_null(strstr(r.text, "uid 1000  job.made"));
        assert_non_null(strstr(r.text, "waimportexport/e.xml"));
        assert_null(strstr(r.text, "(other drive)  drive."));
        assert_null(strchr(r.text, '\x1b'));
        job_receipt_clear(&r);
        assert_int_equal(job_receipt_make(p->store, job, 2, "s", T0, &r, &p->error), -ENOENT);
        assert_int_equal(job_receipt_make(p->store, 99, 0, "s", T0, &r, &p->error), -ENOENT);
}

/* More acts than a page of the store has. */
static void test_receipt_of_a_long_life(void **state)
{
        struct place *p = *state;
        const uint64_t job = add(p, "attic", "SN1", NULL);
        struct job_act acts[200];
        struct job_receipt r;
        const char *line;
        unsigned n = 0;

        for (size_t i = 0; i < ARRAY_SIZE(acts); i++)
                acts[i] = (struct job_act){ .job = job,
                                            .input.kind =
                                                    i % 2 ? JOB_INPUT_PULLED : JOB_INPUT_DOCKED };
        for (unsigned i = 0; i < 6; i++)
                assert_int_equal(job_store_apply_all(p->store, acts, ARRAY_SIZE(acts), &policy,
                                                     T0 + i, "uid 5", NULL, NULL),
                                 0);
        assert_int_equal(job_receipt_make(p->store, job, 0, "s", T0, &r, NULL), 0);
        for (line = r.text; (line = strstr(line, "uid 5  drive.activity")); line++)
                n++;
        assert_int_equal(n, 1200);
        job_receipt_clear(&r);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_serials),
                TEST(test_match),
                TEST(test_match_of_several),
                TEST(test_match_by_hand),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_merge),
                TEST(test_admit),
                TEST(test_quota),
                TEST(test_receipt),
                TEST(test_receipt_of_a_long_life),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
