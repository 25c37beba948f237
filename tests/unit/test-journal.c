/* SPDX-License-Identifier: GPL-3.0-or-later */
/* journal - every form is read, every complaint has its line, what is written comes back, keys stay
 * secret. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/io.h"
#include "media/journal.h"
#include "tests/unit/heard.h"

#define KEY "122221-244442-366663-488884-611105-013574-660000-720885"

/* The made-up sample of specification 1.8. */
static const char sample[] = "[BeginUpdateRecord][2031/04/09 07:15:02.118][Type:NewJournalFile]\r\n"
                             "VocabularyVersion: 2013-02-01\r\n"
                             "[EndUpdateRecord]\r\n"
                             "[BeginUpdateRecord][2031/04/09 07:15:02.131][Type:ActivityRecord]\r\n"
                             "ActivityId: PrepImportDriveCommandContext\r\n"
                             "LogDirectory: D:\\preplogs\r\n"
                             "[EndUpdateRecord]\r\n"
                             "[BeginUpdateRecord][2031/04/09 07:58:44.900][Type:ActivityRecord]\r\n"
                             "ActivityId: DriveInfo\r\n"
                             "DriveState: [BeginValue]\r\n"
                             "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n"
                             "<Drive>\r\n"
                             "   <DriveId>QX7TESTDRV01</DriveId>\r\n"
                             "   <BitLockerKey>" KEY "</BitLockerKey>\r\n"
                             "   <ManifestFile>\\DriveManifest.xml</ManifestFile>\r\n"
                             "   <ManifestHash>0123456789ABCDEF0123456789ABCDEF</ManifestHash>\r\n"
                             "</Drive>\r\n"
                             "[EndValue]\r\n"
                             "SaveCommandOutput: Completed\r\n"
                             "[EndUpdateRecord]\r\n";

static struct med_journal *parse(const void *text, size_t n, struct heard *h)
{
        const struct med_findings to = { .fn = hear, .userdata = h, .object = "j.jrn" };
        struct bth_error e = BTH_ERROR_INIT;
        struct med_journal *j = NULL;
        char line[1024];

        *h = (struct heard){ 0 };
        if (med_journal_parse(text, n, &to, &j, &e) < 0)
                fail_msg("%s", bth_error_to_string(&e, line, sizeof line));
        return j;
}

static void assert_sample_drive(const struct med_journal *j)
{
        const struct med_journal_drive *d = med_journal_drive(j, "qx7 testdrv01");

        assert_int_equal(j->n_drives, 1);
        assert_non_null(d);
        assert_string_equal(d->drive_id, "QX7TESTDRV01");
        assert_string_equal((char *)d->bitlocker_key->data, KEY);
        assert_int_equal(d->key_form, MED_KEY_FORM_NUMERICAL);
        assert_string_equal(d->manifest_file, "\\DriveManifest.xml");
        assert_string_equal(d->manifest_hash, "0123456789ABCDEF0123456789ABCDEF");
}

static void test_sample(void **state)
{
        struct heard h;
        _cleanup_(med_journal_freep) struct med_journal *j = parse(sample, sizeof sample - 1, &h);

        assert_sample_drive(j);
        assert_int_equal(h.n, 0);
        assert_int_equal(j->drives[0].line, 12);
        assert_string_equal(j->vocabulary, "2013-02-01");
        assert_string_equal(med_journal_get(j, "PrepImportDriveCommandContext", "LogDirectory"),
                            "D:\\preplogs");
        assert_null(med_journal_get(j, "DriveInfo", "LogDirectory"));
}

static void test_other_encodings(void **state)
{
        uint8_t utf16[2 * sizeof sample];
        char lf[sizeof sample], bom[sizeof sample + 3];
        struct heard h;
        struct med_journal *j;
        size_t n = 0;

        for (size_t big = 0; big < 2; big++) {
                utf16[big] = 0xff;
                utf16[1 - big] = 0xfe;
                for (size_t i = 0; i < sizeof sample - 1; i++) {
                        utf16[2 + 2 * i + big] = (uint8_t)sample[i];
                        utf16[2 + 2 * i + 1 - big] = 0;
                }
                j = parse(utf16, 2 * sizeof sample, &h);
                assert_sample_drive(j);
                j = med_journal_free(j);
        }
        for (size_t i = 0; i < sizeof sample - 1; i++)
                if (sample[i] != '\r')
                        lf[n++] = sample[i];
        j = parse(lf, n, &h);
        assert_sample_drive(j);
        j = med_journal_free(j);
        memcpy(bom, "\xef\xbb\xbf", 3);
        memcpy(bom + 3, sample, sizeof sample - 1);
        j = parse(bom, sizeof sample + 2, &h);
        assert_sample_drive(j);
        j = med_journal_free(j);
}

static void test_plain_xml(void **state)
{
        static const char one[] =
                "<Drive><DriveId>A</DriveId><ManifestFile>\\m</ManifestFile>"
                "<BitLockerKey>AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=</BitLockerKey>"
                "<ManifestHash>0123456789abcdef0123456789abcdef</ManifestHash></Drive>";
        static const char many[] = "<Jobs>\n<Drive><DriveId>A</DriveId></Drive>\n"
                                   "<x><Drive><DriveId>B</DriveId></Drive></x></Jobs>";
        struct heard h;
        struct med_journal *j = parse(one, sizeof one - 1, &h);

        assert_true(j->is_xml);
        assert_int_equal(h.n, 0);
        assert_int_equal(j->drives[0].key_form, MED_KEY_FORM_EXTERNAL);
        j = med_journal_free(j);
        j = parse(many, sizeof many - 1, &h);
        assert_int_equal(j->n_drives, 2);
        assert_string_equal(j->drives[1].drive_id, "B");
        assert_non_null(strstr(h.names, "bitlocker-key-missing:2 "));
        assert_non_null(strstr(h.names, "manifest-file-missing:3 "));
        j = med_journal_free(j);
}

static void test_last_record_wins(void **state)
{
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
        struct med_journal_drive d = { .drive_id = (char *)"S1", .manifest_hash = (char *)"00" };
        struct heard h;
        struct med_journal *j;

        assert_int_equal(med_journal_write_drive(&b, 0, &d), 0);
        d.manifest_hash = (char *)"11111111111111111111111111111111";
        d.manifest_file = (char *)"\\m<&>";
        assert_int_equal(med_journal_write_drive(&b, 1, &d), 0);
        j = parse(b.data, b.length, &h);
        assert_int_equal(j->n_drives, 1);
        assert_string_equal(j->drives[0].manifest_hash, d.manifest_hash);
        assert_string_equal(j->drives[0].manifest_file, "\\m<&>");
        assert_non_null(strstr(h.names, "manifest-hash-form:"));
        j = med_journal_free(j);
}

/* Tolerance point by point, specification 1.9. */
static void test_tolerance(void **state)
{
        static const char odd[] = "[BeginUpdateRecord][x][Type:Strange]\n" /* 1 */
                                  "Unknown:   a:b:c\n"
                                  "Empty:\n"
                                  "no colon here\n" /* 4 */
                                  "Block: [BeginValue]first\n"
                                  "second\n"
                                  "[EndValue]\n"
                                  "[BeginUpdateRecord][y][Type:ActivityRecord]\n" /* 8 */
                                  "ActivityId: A\n"
                                  "K: 1\n"
                                  "[EndUpdateRecord]\n"
                                  "between\n" /* 12 */
                                  "[BeginUpdateRecord][z][Type:ActivityRecord]\n"
                                  "ActivityId: A\n"
                                  "K: 2\n"; /* not ended */
        struct heard h;
        _cleanup_(med_journal_freep) struct med_journal *j = parse(odd, sizeof odd - 1, &h);

        assert_string_equal(j->fields[0].value, "a:b:c");
        assert_string_equal(j->fields[1].value, "");
        assert_string_equal(j->fields[0].record, "Strange");
        assert_non_null(strstr(h.names, "journal-unknown-record:1 "));
        assert_int_equal(j->fields[2].line, 4); /* the stray line is kept, and not to be printed */
        assert_string_equal(j->fields[2].key, "");
        assert_string_equal(j->fields[2].value, "no colon here");
        assert_true(j->fields[2].secret);
        assert_string_equal(med_journal_get(j, "", "Block"), "first\nsecond");
        assert_string_equal(med_journal_get(j, "A", "K"), "1");
        assert_true(j->cut_off);
        assert_non_null(strstr(h.names, "journal-stray-line:4 "));
        assert_non_null(strstr(h.names, "journal-record-not-ended:1 "));
        assert_non_null(strstr(h.names, "journal-unknown-key:2 "));
        assert_non_null(strstr(h.names, "journal-stray-line:12 "));
        assert_non_null(strstr(h.names, "journal-cut-off:13 "));
        assert_non_null(strstr(h.names, "journal-no-drive:0 "));
}

static void test_keys(void **state)
{
        static const struct {
                const char *key;
                enum med_key_form form;
                unsigned group;
        } cases[] = {
                { KEY, MED_KEY_FORM_NUMERICAL, 0 },
                { "122221-244442-366664-488884-611105-013574-660000-720885", MED_KEY_FORM_NUMERICAL,
                  3 },
                { "122221-244442-366663-488884-611105-013574-660000-720896", MED_KEY_FORM_NUMERICAL,
                  8 },
                { "****", MED_KEY_FORM_REDACTED, 0 },
                { "", MED_KEY_FORM_NONE, 0 },
                { "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", MED_KEY_FORM_EXTERNAL, 0 },
                { "not a key", MED_KEY_FORM_UNKNOWN, 0 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                unsigned group = 99;

                assert_int_equal(med_key_form_of(cases[i].key, strlen(cases[i].key), &group),
                                 cases[i].form);
                assert_int_equal(group, cases[i].group);
        }
}

static void test_secrets_stay_inside(void **state)
{
        static const char text[] =
                "[BeginUpdateRecord][x][Type:ActivityRecord]\n"
                "ActivityId: PrepImportDriveCommandContext\n"
                "StorageAccountKey: c2VjcmV0c2VjcmV0\n"
                "SomeContainerSas: attic?sig=zzzz\n"
                "[EndUpdateRecord]\n"
                "[BeginUpdateRecord][x][Type:ActivityRecord]\n"
                "ActivityId: DriveInfo\n"
                "DriveState: [BeginValue]\n<Drive><DriveId>" KEY "</DriveId>\n"
                "<BitLockerKey>122222-244442-366663-488884-611105-013574-660000-720885"
                "</BitLockerKey></Drive>\n[EndValue]\n"
                "[EndUpdateRecord]\n";
        struct heard h;
        _cleanup_(med_journal_freep) struct med_journal *j = parse(text, sizeof text - 1, &h);

        assert_true(h.n > 0);
        assert_null(strstr(h.texts, "c2VjcmV0"));
        assert_null(strstr(h.texts, "zzzz"));
        assert_null(strstr(h.texts, "122222"));
        assert_null(strstr(h.texts, "122221")); /* not even where a key stands in the wrong place */
        for (size_t i = 0; i < j->n_fields; i++)
                if (strstr(j->fields[i].key, "Key") || strstr(j->fields[i].key, "Sas"))
                        assert_true(j->fields[i].secret);
}

static void test_refused(void **state)
{
        static const struct {
                const char *text;
                enum bth_reason reason;
        } cases[] = {
                { "", BTH_REASON_NOT_A_JOURNAL },
                { "hello", BTH_REASON_NOT_A_JOURNAL },
                { "<Other/>", BTH_REASON_NOT_A_JOURNAL },
                { "<Drive>\n<x></Drive>", BTH_REASON_XML_SYNTAX },
                { "[BeginUpdateRecord]\xff", BTH_REASON_NOT_TEXT },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const struct med_findings to = { .object = "j.jrn" };
                struct bth_error e = BTH_ERROR_INIT;
                struct med_journal *j = NULL;

                assert_true(med_journal_parse(cases[i].text, strlen(cases[i].text), &to, &j, &e) <
                            0);
                assert_int_equal(e.reason, cases[i].reason);
                assert_string_equal(e.object, "j.jrn");
        }
}

static void test_broken_drive_state(void **state)
{
        static const char text[] = "[BeginUpdateRecord][x][Type:ActivityRecord]\n"
                                   "ActivityId: DriveInfo\n"
                                   "DriveState: [BeginValue]\n"
                                   "<Drive>\n"
                                   "<DriveId>A</Wrong>\n"
                                   "[EndValue]\n"
                                   "[EndUpdateRecord]\n";
        struct heard h;
        _cleanup_(med_journal_freep) struct med_journal *j = parse(text, sizeof text - 1, &h);

        assert_non_null(strstr(h.names, "drive-state-xml:5 "));
        assert_int_equal(j->n_drives, 0);
}

/* The tool crashed inside a block, and was run again: the drive behind it is not lost. */
static void test_block_cut_off(void **state)
{
        static const char text[] = "[BeginUpdateRecord][x][Type:ActivityRecord]\n"
                                   "ActivityId: DriveInfo\n"
                                   "SaveCommandOutput: Completed\n"
                                   "DriveState: [BeginValue]\n"
                                   "<Drive>\n" /* 5 */
                                   "[BeginUpdateRecord][x][Type:ActivityRecord]\n"
                                   "ActivityId: DriveInfo\n"
                                   "DriveState: [BeginValue]\n"
                                   "<Drive>\n<DriveId>A</DriveId>\n</Drive>\n"
                                   "[EndValue]\n"
                                   "[EndUpdateRecord]\n";
        struct heard h;
        _cleanup_(med_journal_freep) struct med_journal *j = parse(text, sizeof text - 1, &h);

        assert_non_null(strstr(h.names, "journal-value-not-ended:5 "));
        assert_non_null(strstr(h.names, "journal-record-not-ended:1 "));
        assert_int_equal(j->n_drives, 1);
        assert_int_equal(j->drives[0].line, 9);
        assert_string_equal(med_journal_get(j, "DriveInfo", "SaveCommandOutput"), "Completed");
        assert_false(j->cut_off);
}

/* Windows saves XML as UTF-16 and declares it so. */
static void test_declared_utf16(void **state)
{
        static const char text[] = "<?xml version=\"1.0\" encoding=\"utf-16\"?>\r\n"
                                   "<Drive>\r\n<DriveId>A</DriveId></Drive>";
        uint8_t wide[2 + 2 * (sizeof text - 1)] = { 0xff, 0xfe };
        struct heard h;
        _cleanup_(med_journal_freep) struct med_journal *j = NULL;

        for (size_t i = 0; i < sizeof text - 1; i++) {
                wide[2 + 2 * i] = (uint8_t)text[i];
                wide[3 + 2 * i] = 0;
        }
        j = parse(wide, sizeof wide, &h);
        assert_true(j->is_xml);
        assert_int_equal(j->n_drives, 1);
        assert_string_equal(j->drives[0].drive_id, "A");
        assert_int_equal(j->drives[0].line, 2);
}

/* Every complaint tells its file, its line and what to do. */
static void test_complaints_are_whole(void **state)
{
        static const char text[] =
                "[BeginUpdateRecord][x][Type:?]\n"
                "stray\n"
                "Odd: 1\n"
                "[EndUpdateRecord]\n"
                "[BeginUpdateRecord][x][Type:ActivityRecord]\n"
                "ActivityId: DriveInfo\n"
                "DriveState: [BeginValue]\n"
                "<D><Drive><DriveId>A B</DriveId><BitLockerKey>***</BitLockerKey>"
                "<ManifestHash>zz</ManifestHash></Drive>\n"
                "<Drive><DriveId/></Drive></D>\n"
                "[EndValue]\n"
                "[EndUpdateRecord]\n";
        struct heard h;
        _unused_ _cleanup_(med_journal_freep) struct med_journal *j =
                parse(text, sizeof text - 1, &h);
        char *rest = h.texts, *line;

        assert_string_equal(h.names, "journal-unknown-record:1 journal-stray-line:2 "
                                     "journal-unknown-key:3 drive-id-blanks:8 "
                                     "bitlocker-key-redacted:8 manifest-hash-form:8 "
                                     "drive-id-missing:9 manifest-file-missing:8 ");
        assert_int_equal(h.n, 8);
        while ((line = strsep(&rest, "\n")) && *line) {
                const char *advice = strstr(line, ". ");

                assert_int_equal(strncmp(line, "j.jrn:", 6), 0);
                assert_non_null(advice);
                assert_true(advice[2] != '.' && advice[2] != '[');
        }
}

/* 15 MiB of the same drive, and of keys without end. */
static void test_hostile_sizes(void **state)
{
        static const char record[] = "[BeginUpdateRecord][][Type:ActivityRecord]\n"
                                     "DriveState: <Drive><DriveId>A</DriveId></Drive>\n"
                                     "[EndUpdateRecord]\n";
        _cleanup_free_ char *text = malloc(MED_JOURNAL_MAX_BYTES + 1);
        struct bth_error e = BTH_ERROR_INIT;
        struct med_journal *j = NULL;
        size_t n = 0;

        assert_non_null(text);
        memset(text, 'x', MED_JOURNAL_MAX_BYTES + 1);
        assert_int_equal(med_journal_parse(text, MED_JOURNAL_MAX_BYTES + 1, NULL, &j, &e), -EFBIG);
        assert_int_equal(e.reason, BTH_REASON_TOO_LARGE);
        memcpy(text, "\xff\xfe", 2); /* as UTF-8 it would not fit */
        assert_int_equal(med_journal_parse(text, MED_JOURNAL_MAX_BYTES, NULL, &j, &e), -EFBIG);
        n = (size_t)snprintf(text, 64, "[BeginUpdateRecord][][Type:ActivityRecord]\n");
        for (size_t i = 0; i <= MED_JOURNAL_MAX_FIELDS; i++)
                n += (size_t)snprintf(text + n, 8, "k:v\n");
        assert_int_equal(med_journal_parse(text, n, NULL, &j, &e), -EBADMSG);
        assert_int_equal(e.reason, BTH_REASON_LIMIT_EXCEEDED);
        for (n = 0; n + sizeof record < MED_JOURNAL_MAX_BYTES; n += sizeof record - 1)
                memcpy(text + n, record, sizeof record - 1);
        assert_int_equal(med_journal_parse(text, n, NULL, &j, &e), 0);
        assert_int_equal(j->n_drives, 1);
        j = med_journal_free(j);
}

/* A file of another kind, named by mistake, is left as it is; so is a journal in UTF-16. */
static void test_append_spares_others(void **state)
{
        static const struct {
                const char *text;
                size_t n;
                int result;
        } cases[] = {
                { "important\n", 10, -EBADMSG },
                { "<Drive/>", 8, -EBADMSG },
                { "\xff\xfe[\0B\0", 6, -ENOTSUP },
                { "[BeginUpd", 9, 0 }, /* a crash in the first record */
                { "[BeginUpdateRecord][x][Type:A]\r\nK: [EndUpdateRecord]\r\nL:", 56, 0 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char path[] = "/tmp/berth-journal-XXXXXX";
                int fd = mkstemp(path);
                _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
                _cleanup_free_ char *after = NULL;
                struct bth_error e = BTH_ERROR_INIT;
                size_t n;

                assert_true(fd >= 0);
                assert_int_equal(bth_write_full(fd, cases[i].text, cases[i].n), 0);
                close(fd);
                assert_int_equal(med_journal_write_record(&b, 0, "BerthSession", NULL, 0), 0);
                assert_int_equal(med_journal_append(path, &b, 0, &e), cases[i].result);
                assert_int_equal(bth_read_file(path, 4096, &after, &n), 0);
                if (cases[i].result < 0) {
                        assert_int_equal(n, cases[i].n);
                        assert_memory_equal(after, cases[i].text, n);
                        assert_string_equal(e.object, path);
                } else {
                        assert_null(memmem(after, n, "K:", 2));
                        assert_non_null(memmem(after, n, "NewJournalFile", 14));
                }
                assert_int_equal(unlink(path), 0);
        }
}

/* Random records, written, cut anywhere, appended to: whole records always come back. */
static void test_round_trip(void **state)
{
        char path[] = "/tmp/berth-journal-XXXXXX";
        int fd = mkstemp(path);
        unsigned seed = 20261121;
        struct stat st;

        assert_true(fd >= 0);
        close(fd);
        assert_int_equal(unlink(path), 0);
        for (unsigned i = 0; i < 200; i++) {
                _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
                _cleanup_(med_journal_freep) struct med_journal *j = NULL;
                struct bth_error e = BTH_ERROR_INIT;
                char value[64], block[64];

                snprintf(value, sizeof value, "v%u:%u ä", i, rand_r(&seed));
                snprintf(block, sizeof block, "line %u\r\n\r\n  [x] %u", i, rand_r(&seed));
                const struct med_journal_value values[] = { { "BerthA", value, false },
                                                            { "BerthB", block, true } };
                assert_int_equal(med_journal_write_record(&b, i, "BerthSession", values, 2), 0);
                assert_int_equal(med_journal_append(path, &b, i, &e), 0);
                assert_int_equal(med_journal_load(path, NULL, &j, &e), 0);
                assert_string_equal(med_journal_get(j, "BerthSession", "BerthA"), value);
                assert_string_equal(med_journal_get(j, "BerthSession", "BerthB"), block);
                assert_false(j->cut_off);
                assert_int_equal(stat(path, &st), 0);
                assert_int_equal(st.st_mode & 0777, 0600);
                if (i % 3 == 0) /* a crash in the middle of the last record */
                        assert_int_equal(truncate(path, st.st_size - 1 -
                                                                (off_t)((unsigned)rand_r(&seed) %
                                                                        (unsigned)b.length)),
                                         0);
        }
        assert_int_equal(unlink(path), 0);
}

static void test_not_writable(void **state)
{
        const struct med_journal_value bad[] = {
                { "a:b", "x", false },
                { "a", "x\ny", false },
                { "", "x", false },
                { "a", " x", false },
                { "a", "x\n[EndValue]\n", true },
                { "a", "[BeginValue]", false },
                { "a", "x\n[BeginUpdateRecord]\n", true },
        };
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                assert_int_equal(med_journal_write_record(&b, 0, "A", &bad[i], 1), -EINVAL);
                assert_int_equal(b.length, 0);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sample),
                cmocka_unit_test(test_other_encodings),
                cmocka_unit_test(test_plain_xml),
                cmocka_unit_test(test_last_record_wins),
                cmocka_unit_test(test_tolerance),
                cmocka_unit_test(test_keys),
                cmocka_unit_test(test_secrets_stay_inside),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_broken_drive_state),
                cmocka_unit_test(test_block_cut_off),
                cmocka_unit_test(test_declared_utf16),
                cmocka_unit_test(test_complaints_are_whole),
                cmocka_unit_test(test_hostile_sizes),
                cmocka_unit_test(test_append_spares_others),
                cmocka_unit_test(test_round_trip),
                cmocka_unit_test(test_not_writable),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
