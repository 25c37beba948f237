/* SPDX-License-Identifier: GPL-3.0-or-later */
/* copylog - three generations read into one model, two written, names there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "media/copylog.h"
#include "tests/unit/heard.h"

#define MAX_ENTRIES 16

struct kept {
        struct med_log_entry entries[MAX_ENTRIES];
        size_t n;
        struct med_log_summary summary;
        struct heard heard;
};

static char *copy(const char *text)
{
        return text ? strdup(text) : NULL;
}

static int keep(void *userdata, const struct med_log_entry *e)
{
        struct kept *k = userdata;
        struct med_log_entry *c = &k->entries[k->n++];

        assert_true(k->n <= MAX_ENTRIES);
        *c = *e;
        c->status = copy(e->status);
        c->blob_path = copy(e->blob_path);
        c->file_path = copy(e->file_path);
        c->snapshot = copy(e->snapshot);
        c->last_modified = copy(e->last_modified);
        c->disposition = copy(e->disposition);
        c->disposition_status = copy(e->disposition_status);
        c->cloud_format = copy(e->cloud_format);
        c->etag = copy(e->etag);
        c->error_code = copy(e->error_code);
        c->error_message = copy(e->error_message);
        c->type = copy(e->type);
        for (int i = 0; i < 2; i++) {
                struct med_log_sidecar *s = i ? &c->metadata : &c->properties;

                s->status = copy(s->status);
                s->global_path = copy(s->global_path);
                s->global_hash = copy(s->global_hash);
                s->path = copy(s->path);
                s->hash = copy(s->hash);
        }
        c->ranges = calloc(e->n_ranges + 1, sizeof *c->ranges);
        for (size_t i = 0; i < e->n_ranges; i++)
                c->ranges[i] = (struct med_log_range){
                        e->ranges[i].offset_bytes, e->ranges[i].length_bytes, copy(e->ranges[i].id),
                        copy(e->ranges[i].hash), copy(e->ranges[i].status)
                };
        return 0;
}

static struct kept *read_log(const char *text, size_t n, size_t piece)
{
        struct kept *k = calloc(1, sizeof *k);
        const struct med_findings to = { .fn = hear, .userdata = &k->heard, .object = "log.xml" };
        _cleanup_(med_log_reader_freep) struct med_log_reader *r = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        char line[1024];
        int f;

        assert_int_equal(med_log_reader_new(&to, keep, k, &r), 0);
        f = 0;
        for (size_t at = 0; f == 0 && at < n; at += piece)
                f = med_log_feed(r, text + at, MIN(piece, n - at), &e);
        if (f == 0)
                f = med_log_finish(r, &k->summary, &e);
        if (f < 0)
                fail_msg("%s", bth_error_to_string(&e, line, sizeof line));
        return k;
}

static struct kept *let_go(struct kept *k)
{
        for (size_t i = 0; i < k->n; i++)
                med_log_entry_clear(&k->entries[i]);
        med_log_summary_clear(&k->summary);
        free(k);
        return NULL;
}

/* The made-up log of specification 5.3, with a blank inside a hash and the empty forms of 5.2. */
static const char l1[] =
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
        "<DriveLog Version=\"2014-11-01\">\n"
        "  <DriveId>QX7TESTDRV01</DriveId>\n"
        "  <Blob Status=\"CompletedWithErrors\">\n"
        "    <BlobPath>attic/notes/a.txt</BlobPath>\n"
        "    <FilePath>\\nightly-7\\notes\\a.txt</FilePath>\n"
        "    <Length>8</Length>\n"
        "    <ImportDisposition Status=\"Created\">no-overwrite</ImportDisposition>\n"
        "    <BlockList>\n"
        "      <Block Offset=\"4\" Length=\"4\" Id=\"MD5/F91pGfWTDqi9WP7Lr9frew==\" "
        "Hash=\" 17DD6919F5930EA8BD58FECBAFD7EB7B\" Status=\"Corrupted\"/>\n"
        "    </BlockList>\n"
        "    <Metadata Status=\"FileNotFound\">\n"
        "      <Path Hash=\"EA2E5D436F5095E673CE009F3EAE6341\">\\nightly-7\\a.metadata.xml</Path>\n"
        "    </Metadata>\n"
        "  </Blob>\n"
        "  <Blob Status=\"Failed\"><BlobPath>attic/b</BlobPath><BlockList />"
        "<Properties Status=\"Failed\" /></Blob>\n"
        "  <Status>CompletedWithErrors</Status>\n"
        "</DriveLog>\n";

static void test_l1(void **state)
{
        for (size_t piece = 1; piece < 4000; piece = piece * 7 + 3) {
                struct kept *k = read_log(l1, sizeof l1 - 1, piece);
                const struct med_log_entry *e = &k->entries[0];

                assert_int_equal(k->summary.generation, MED_LOG_L1);
                assert_string_equal(k->summary.drive_id, "QX7TESTDRV01");
                assert_int_equal(bth_drive_status_from_string(k->summary.status),
                                 BTH_DRIVE_STATUS_COMPLETED_WITH_ERRORS);
                assert_int_equal(k->n, 2);
                assert_string_equal(e->file_path, "\\nightly-7\\notes\\a.txt");
                assert_true(e->has_length && e->length_bytes == 8);
                assert_string_equal(e->disposition, "no-overwrite");
                assert_string_equal(e->disposition_status, "Created");
                assert_int_equal(e->n_ranges, 1);
                assert_string_equal(e->ranges[0].hash, "17DD6919F5930EA8BD58FECBAFD7EB7B");
                assert_string_equal(e->ranges[0].status, "Corrupted");
                assert_string_equal(e->metadata.status, "FileNotFound");
                assert_string_equal(e->metadata.path, "\\nightly-7\\a.metadata.xml");
                assert_null(e->properties.status);
                assert_true(k->entries[1].has_ranges);
                assert_int_equal(k->entries[1].n_ranges, 0);
                assert_string_equal(k->entries[1].properties.status, "Failed");
                k = let_go(k);
        }
}

static void test_l2(void **state)
{
        static const char text[] =
                "<DriveLog Version=\"2018-10-01\"><DriveId>D</DriveId><Summary><ValidationErrors>"
                "<None Count=\"3\" /></ValidationErrors><CopyErrors>"
                "<Renamed Count=\"2\" Description=\"renamed\" /></CopyErrors></Summary>"
                "<Blob "
                "Status=\"Renamed\"><BlobPath>c/b</BlobPath><OriginalFilePath>\\BlockBlob\\c\\b"
                "</OriginalFilePath><SizeInBytes>12</SizeInBytes></Blob>"
                "<File "
                "Status=\"Completed\"><FileStoragePath>s/f</"
                "FileStoragePath><FilePath>\\AzureFile\\s\\f"
                "</FilePath><Length>5</Length><FileRangeList><FileRange Offset=\"0\" Length=\"5\" "
                "Status=\"Completed\" "
                "/></FileRangeList></File><Status>CompletedWithErrors</Status></DriveLog>";
        struct kept *k = read_log(text, sizeof text - 1, 100);

        assert_int_equal(k->summary.generation, MED_LOG_L2);
        assert_int_equal(k->summary.n_counts, 2);
        assert_true(k->summary.counts[0].validation);
        assert_string_equal(k->summary.counts[1].description, "renamed");
        assert_int_equal(med_log_code_from_string(k->summary.counts[1].code), MED_LOG_CODE_RENAMED);
        assert_string_equal(k->entries[0].file_path, "\\BlockBlob\\c\\b");
        assert_true(k->entries[1].is_file);
        assert_string_equal(k->entries[1].blob_path, "s/f");
        assert_int_equal(k->entries[1].n_ranges, 1);
        k = let_go(k);
}

static void test_l3(void **state)
{
        static const char verbose[] = "<File CloudFormat=\"BlockBlob\" Path=\"c/d\\e\" Size=\"8\" "
                                      "crc64=\"7449713957301815563\">\n"
                                      "</File><File CloudFormat=\"AzureFile\" Path=\"s/f\" "
                                      "Size=\"0\" crc64=\"0\">\n</File>";
        static const char copylog[] =
                "<ErroredEntity Path=\"Old "
                "Name\"><Category>ContainerRenamed</Category><ErrorCode>1</ErrorCode>"
                "<ErrorMessage>The container has been renamed to: DataBox-1 :from: Old "
                "Name</ErrorMessage>"
                "<Type>Container</Type></ErroredEntity><CopyLog "
                "Summary=\"Summary\"><DriveLogVersion>2021-08-01"
                "</DriveLogVersion><DriveId>g</DriveId><Status>Failed</Status><TotalFiles_Blobs>60"
                "</TotalFiles_Blobs><FilesErrored>0</FilesErrored><Summary><ValidationErrors>"
                "<None Count=\"60\" /></ValidationErrors><CopyErrors><None Count=\"60\" "
                "Description=\"x\" />"
                "</CopyErrors></Summary></CopyLog>";
        struct kept *k = read_log(verbose, sizeof verbose - 1, 17);

        assert_int_equal(k->summary.generation, MED_LOG_L3_VERBOSE);
        assert_int_equal(k->n, 2);
        assert_true(k->entries[0].has_crc64);
        assert_true(k->entries[0].crc64 == UINT64_C(7449713957301815563));
        assert_true(k->entries[1].is_file);
        assert_null(k->summary.status);
        k = let_go(k);
        k = read_log(copylog, sizeof copylog - 1, 31);
        assert_int_equal(k->summary.generation, MED_LOG_L3);
        assert_string_equal(k->summary.version, "2021-08-01");
        assert_int_equal(k->summary.total, 60);
        assert_string_equal(k->entries[0].type, "Container");
        assert_string_equal(med_log_code_sentence(med_log_code_from_string(k->entries[0].status)),
                            "the container's name was not allowed");
        k = let_go(k);
}

static void test_refused(void **state)
{
        static const struct {
                const char *text;
                enum bth_reason reason;
        } cases[] = {
                { "<Manifest/>", BTH_REASON_NOT_A_COPY_LOG },
                { "", BTH_REASON_NOT_A_COPY_LOG },
                { "<DriveLog>", BTH_REASON_XML_SYNTAX },
                { "<DriveLog><Blob><Length>-1</Length></Blob></DriveLog>",
                  BTH_REASON_VALUE_INVALID },
                { "<File CloudFormat='BlockBlob' Size='99999999999999999999999'/>",
                  BTH_REASON_VALUE_INVALID },
                { "<File Path='c/b' Size='1'/>", BTH_REASON_NOT_A_COPY_LOG },
                { "<DriveLog><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a>",
                  BTH_REASON_LIMIT_EXCEEDED },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const struct med_findings to = { .object = "log.xml" };
                _cleanup_(med_log_reader_freep) struct med_log_reader *r = NULL;
                struct med_log_summary s;
                struct bth_error e = BTH_ERROR_INIT;
                int f;

                assert_int_equal(med_log_reader_new(&to, NULL, NULL, &r), 0);
                f = med_log_feed(r, cases[i].text, strlen(cases[i].text), &e);
                if (f == 0)
                        f = med_log_finish(r, &s, &e);
                assert_int_equal(f, -EBADMSG);
                assert_int_equal(e.reason, cases[i].reason);
                assert_string_equal(e.object, "log.xml");
        }
}

/* A blob with more ranges than there can be, and a text without end. */
static void test_bombs(void **state)
{
        static const char *const heads[] = { "<DriveLog><Blob><BlockList>",
                                             "<DriveLog><Blob><BlobPath>" };
        static const char *const pieces[] = { "<Block Offset='0' Length='4'/>",
                                              "0123456789abcdef" };
        static const enum bth_reason reasons[] = { BTH_REASON_LIMIT_EXCEEDED,
                                                   BTH_REASON_TOO_LARGE };

        for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
                _cleanup_(med_log_reader_freep) struct med_log_reader *r = NULL;
                struct bth_error e = BTH_ERROR_INIT;
                int f;

                assert_int_equal(med_log_reader_new(NULL, NULL, NULL, &r), 0);
                f = med_log_feed(r, heads[i], strlen(heads[i]), &e);
                for (size_t n = 0; f == 0 && n < 100000; n++)
                        f = med_log_feed(r, pieces[i], strlen(pieces[i]), &e);
                assert_int_equal(f, -EBADMSG);
                assert_int_equal(e.reason, reasons[i]);
                assert_int_equal(e.line, 1);
        }
}

static int stop(void *userdata, const struct med_log_entry *e)
{
        return -ECANCELED;
}

/* What the taker of an entry says comes back as it is. */
static void test_taker_stops(void **state)
{
        _cleanup_(med_log_reader_freep) struct med_log_reader *r = NULL;
        struct med_log_summary summary;
        struct bth_error e = BTH_ERROR_INIT;
        int f;

        assert_int_equal(med_log_reader_new(NULL, stop, NULL, &r), 0);
        f = med_log_feed(r, l1, sizeof l1 - 1, &e);
        if (f == 0) /* a short log may be held back until the end is known */
                f = med_log_finish(r, &summary, &e);
        assert_int_equal(f, -ECANCELED);
}

static int collect(void *userdata, const void *data, size_t n)
{
        return bth_buf_add(userdata, data, n);
}

static void test_l1_sample_written(void **state)
{
        struct kept *k = read_log(l1, sizeof l1 - 1, 512), *again;
        _cleanup_(med_log_writer_freep) struct med_log_writer *w = NULL;
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;

        assert_int_equal(med_log_writer_new(MED_LOG_L1, k->summary.drive_id, collect, &b, &w), 0);
        for (size_t i = 0; i < k->n; i++)
                assert_int_equal(med_log_write_entry(w, &k->entries[i]), 0);
        assert_int_equal(med_log_write_end(w, &k->summary), 0);
        again = read_log(b.data, b.length, 512);
        assert_int_equal(again->n, k->n);
        assert_string_equal(again->entries[0].ranges[0].id, k->entries[0].ranges[0].id);
        assert_string_equal(again->summary.status, k->summary.status);
        again = let_go(again);
        k = let_go(k);
}

/* What cannot be read back is not written; only a server's message is mended. */
static void test_not_writable(void **state)
{
        struct med_log_count count = { .code = (char *)"a b", .count = 1 };
        const struct med_log_summary bad = { .status = (char *)"Completed",
                                             .counts = &count,
                                             .n_counts = 1 };
        const struct med_log_entry entries[] = {
                { .blob_path = (char *)"a\x01", .status = (char *)"Failed" },
                { .blob_path = (char *)"a\xff", .status = (char *)"Failed" },
                { .blob_path = (char *)"a\xef\xbf\xbf", .status = (char *)"Failed" },
                { .blob_path = (char *)"a" },
                { .status = (char *)"Failed" },
        };
        const struct med_log_entry message = { .blob_path = (char *)"c/b",
                                               .status = (char *)"UploadErrorCloudHttp",
                                               .error_message = (char *)"a\x01<\xff" };
        _cleanup_(med_log_writer_freep) struct med_log_writer *w = NULL;
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
        struct kept *k;

        assert_int_equal(med_log_writer_new(MED_LOG_L2, "D", collect, &b, &w), -EINVAL);
        assert_int_equal(med_log_writer_new(MED_LOG_L3, "D", collect, &b, &w), 0);
        for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
                assert_int_equal(med_log_write_entry(w, &entries[i]), -EINVAL);
        assert_int_equal(med_log_write_end(w, &bad), -EINVAL);
        assert_int_equal(b.length, 0);
        assert_int_equal(med_log_write_entry(w, &message), 0);
        count.code = (char *)"StorageRequestFailed";
        assert_int_equal(med_log_write_end(w, &bad), 0);
        k = read_log(b.data, b.length, 9);
        assert_string_equal(k->entries[0].error_message, "a?<?");
        assert_string_equal(k->summary.counts[0].code, "None");
        assert_string_equal(k->summary.counts[1].code, "StorageRequestFailed");
        k = let_go(k);
}

/* Random entries in both generations, with hostile text. */
static void test_round_trip(void **state)
{
        static const char *const texts[] = { "attic/a", "a<b>&\"c'", "ü/\xf0\x9f\x98\x80",
                                             "\\p\\q r", " t\tn " };
        unsigned seed = 3;

        for (int round = 0; round < 300; round++) {
                const enum med_log_generation g =
                        (enum med_log_generation[]){ MED_LOG_L1, MED_LOG_L3,
                                                     MED_LOG_L3_VERBOSE }[round % 3];
                _cleanup_(med_log_writer_freep) struct med_log_writer *w = NULL;
                _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
                struct med_log_summary s = { .status = (char *)"Completed",
                                             .total = 5,
                                             .errored = 1 };
                struct med_log_range range = { 4, UINT64_MAX, (char *)"SWQ=", (char *)"AB",
                                               (char *)"Completed" };
                struct kept *k;
                const char *paths[4];

                assert_int_equal(med_log_writer_new(g, "D<1>", collect, &b, &w), 0);
                for (int i = 0; i < 4; i++) {
                        struct med_log_entry e = {
                                .status = (char *)"Completed",
                                .blob_path =
                                        (char *)(uintptr_t)(paths[i] =
                                                                    texts[(unsigned)rand_r(&seed) %
                                                                          5]),
                                .file_path = g == MED_LOG_L1 ? (char *)(uintptr_t)texts[3] : NULL,
                                .length_bytes = (uint64_t)rand_r(&seed),
                                .has_length = true,
                                .has_ranges = true,
                                .page = i % 2,
                                .ranges = &range,
                                .n_ranges = (unsigned)i % 2,
                                .crc64 = UINT64_MAX,
                                .has_crc64 = true,
                                .error_message = (char *)(uintptr_t)texts[1],
                        };

                        assert_int_equal(med_log_write_entry(w, &e), 0);
                }
                assert_int_equal(med_log_write_end(w, &s), 0);
                k = read_log(b.data, b.length, 64);
                assert_int_equal(k->n, 4);
                assert_int_equal(k->summary.generation, g);
                for (int i = 0; i < 4; i++)
                        assert_string_equal(k->entries[i].blob_path, paths[i]);
                if (g == MED_LOG_L3_VERBOSE) {
                        assert_true(k->entries[3].crc64 == UINT64_MAX);
                        assert_true(k->entries[3].page && !k->entries[2].page);
                }
                if (g != MED_LOG_L3_VERBOSE)
                        assert_string_equal(k->summary.drive_id, "D<1>");
                if (g == MED_LOG_L1) {
                        assert_int_equal(k->entries[1].n_ranges, 1);
                        assert_true(k->entries[1].page);
                        assert_true(k->entries[1].ranges[0].length_bytes == UINT64_MAX);
                }
                if (g == MED_LOG_L3)
                        assert_string_equal(k->entries[2].error_message, texts[1]);
                k = let_go(k);
        }
}

static void test_names(void **state)
{
        _cleanup_free_ char *name = NULL, *job = NULL, *drive = NULL, *when = NULL;
        enum med_log_kind kind;
        char *unused;

        assert_int_equal(med_log_name("my_job-1", "QX7", 1933830902118000, MED_LOG_VERBOSE, &name),
                         0);
        assert_string_equal(name, "waies/my_job-1_QX7_20310413-071502-118_verbose.xml");
        assert_int_equal(med_log_name_split(name, &job, &drive, &when, &kind), 0);
        assert_string_equal(job, "my_job-1");
        assert_string_equal(drive, "QX7");
        assert_string_equal(when, "20310413-071502-118");
        assert_int_equal(kind, MED_LOG_VERBOSE);
        assert_int_equal(med_log_name_split("a_b_error.xml", &unused, &unused, &unused, &kind),
                         -EINVAL);
        assert_int_equal(med_log_name_split("a_b_c_other.xml", &unused, &unused, &unused, &kind),
                         -EINVAL);
        assert_int_equal(med_log_name_split("a_b__error.xml", &unused, &unused, &unused, &kind),
                         -EINVAL);
}

static void test_l3_names(void **state)
{
        _cleanup_free_ char *name = NULL, *order = NULL, *drive = NULL, *job = NULL;
        enum med_log_kind kind;
        char *unused;

        assert_int_equal(med_log_l3_name("my_order", "QX7", "5b1f-02", MED_LOG_VERBOSE, &name), 0);
        assert_string_equal(name, "databoxcopylog/my_order_QX7_VerboseLog_5b1f-02.xml");
        assert_int_equal(med_log_l3_name_split(name, &order, &drive, &job, &kind), 0);
        assert_string_equal(order, "my_order");
        assert_string_equal(drive, "QX7");
        assert_string_equal(job, "5b1f-02");
        assert_int_equal(kind, MED_LOG_VERBOSE);
        assert_int_equal(med_log_l3_name("o", "d", "j", MED_LOG_MANIFEST, &unused), -EINVAL);
        assert_int_equal(
                med_log_l3_name_split("o_d_Copylog_j.xml", &unused, &unused, &unused, &kind),
                -EINVAL);
        assert_int_equal(med_log_l3_name_split("d_CopyLog_j.xml", &unused, &unused, &unused, &kind),
                         -EINVAL);
        assert_int_equal(med_log_name_split(name, &unused, &unused, &unused, &kind), -EINVAL);
}

static void test_renamed_to(void **state)
{
        static const char *const none[] = { NULL, "nothing", "renamed to: x",
                                            "renamed to: :from: y" };
        const struct med_log_entry e = { .error_message = (char *)"The container has been renamed "
                                                                  "to: DataBox-1 :from: Old" };
        _cleanup_free_ char *name = NULL;
        char *unused;

        assert_int_equal(med_log_entry_renamed_to(&e, &name), 0);
        assert_string_equal(name, "DataBox-1");
        for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
                const struct med_log_entry f = { .error_message = (char *)(uintptr_t)none[i] };

                assert_int_equal(med_log_entry_renamed_to(&f, &unused), -ENOENT);
        }
}

static void test_codes(void **state)
{
        for (int i = 0; i < _MED_LOG_CODE_MAX; i++) {
                enum med_log_code c = (enum med_log_code)i;

                assert_int_equal(med_log_code_from_string(med_log_code_to_string(c)), c);
                assert_true(med_log_code_sentence(c)[0] != '\0');
        }
        assert_int_equal(med_log_code_from_string("SomethingNew"), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_l1),
                cmocka_unit_test(test_l2),
                cmocka_unit_test(test_l3),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_l1_sample_written),
                cmocka_unit_test(test_bombs),
                cmocka_unit_test(test_taker_stops),
                cmocka_unit_test(test_not_writable),
                cmocka_unit_test(test_round_trip),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_l3_names),
                cmocka_unit_test(test_renamed_to),
                cmocka_unit_test(test_codes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
