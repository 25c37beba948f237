/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the copy logs say of blobs that ended in different ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "uploader/worker-log.h"

static struct med_manifest_range ranges[] = {
        { .offset_bytes = 0, .length_bytes = 1024, .id = MED_MANIFEST_NO_ID, .md5 = { 0xab } },
        { .offset_bytes = 1024, .length_bytes = 1024, .id = MED_MANIFEST_NO_ID, .md5 = { 0xcd } },
};
static struct upl_part parts[] = {
        { .offset_bytes = 0, .length_bytes = 512 },
        { .offset_bytes = 512, .length_bytes = 512 },
        { .offset_bytes = 1024, .length_bytes = 1024 },
};

static struct upl_listed listed(enum med_manifest_kind kind)
{
        return (struct upl_listed){ .blob = { .blob_path = "c/dir/n.bin",
                                              .file_path = "\\n.bin",
                                              .length_bytes = 2048,
                                              .disposition = BTH_DISPOSITION_RENAME,
                                              .kind = kind,
                                              .ranges = ranges,
                                              .n_ranges = ARRAY_SIZE(ranges) } };
}

/* Writes both logs about one blob; free() them. */
static void write_logs(const struct upl_log_blob *b, char **ret_error, char **ret_verbose)
{
        _cleanup_(upl_logs_freep) struct upl_logs *logs = NULL;
        struct bth_source *sources[2];
        char **to[2] = { ret_error, ret_verbose };

        assert_int_equal(upl_logs_new("QX7", memfd_create("error", MFD_CLOEXEC),
                                      memfd_create("verbose", MFD_CLOEXEC), &logs),
                         0);
        assert_int_equal(upl_logs_add(logs, b), 0);
        assert_int_equal(upl_logs_end(logs, BTH_DRIVE_STATUS_COMPLETED_WITH_ERRORS), 0);
        sources[0] = upl_logs_error(logs);
        sources[1] = upl_logs_verbose(logs);
        for (size_t i = 0; i < 2; i++) {
                size_t n = (size_t)sources[i]->size_bytes;

                *to[i] = calloc(1, n + 1);
                assert_non_null(*to[i]);
                assert_int_equal(bth_source_read(sources[i], 0, *to[i], n), 0);
                assert_non_null(strstr(*to[i], "<Status>CompletedWithErrors</Status>"));
                assert_non_null(strstr(*to[i], "<DriveId>QX7</DriveId>"));
        }
}

static void expect(const char *log, const char *wanted)
{
        if (!strstr(log, wanted))
                fail_msg("no '%s' in:\n%s", wanted, log);
}

static void expect_none(const char *log, const char *unwanted)
{
        if (strstr(log, unwanted))
                fail_msg("'%s' in:\n%s", unwanted, log);
}

/* A page range that was cut has the status of its part that failed; blocks that arrived in a blob
 * that was never committed are Uncommitted, pages are there. */
static void test_ranges(void **state)
{
        const enum bth_range_status found[] = { BTH_RANGE_STATUS_COMPLETED,
                                                BTH_RANGE_STATUS_IO_FAILED,
                                                BTH_RANGE_STATUS_COMPLETED };

        (void)state;
        for (int pages = 0; pages < 2; pages++) {
                const struct upl_plan plan = { .kind = pages ? UPL_PLAN_PAGES : UPL_PLAN_BLOCKS,
                                               .parts = parts,
                                               .n_parts = ARRAY_SIZE(parts) };
                const struct upl_listed l = listed(pages ? MED_MANIFEST_PAGE : MED_MANIFEST_BLOCK);
                const struct upl_log_blob b = { .listed = &l,
                                                .status = BTH_BLOB_STATUS_IO_FAILED,
                                                .disposition = BTH_DISPOSITION_STATUS_CANCELLED,
                                                .plan = &plan,
                                                .ranges = found };
                _cleanup_free_ char *error = NULL, *verbose = NULL;

                write_logs(&b, &error, &verbose);
                expect(error, "Blob Status=\"IOFailed\"");
                expect(error, "Offset=\"0\" Length=\"1024\"");
                expect(error, "Hash=\"AB000000000000000000000000000000\" Status=\"IOFailed\"");
                expect(verbose,
                       pages ? "CD000000000000000000000000000000\" Status=\"Completed\""
                             : "CD000000000000000000000000000000\" Status=\"Uncommitted\"");
                if (pages)
                        expect_none(error, "Offset=\"1024\"");
                expect(error, pages ? "<PageRange " : "<Block ");
        }
}

/* Finished in an earlier run, under another name: no plan, all is well, and people are told. */
static void test_renamed(void **state)
{
        const struct upl_listed l = listed(MED_MANIFEST_BLOCK);
        const struct upl_log_blob b = { .listed = &l,
                                        .status = BTH_BLOB_STATUS_COMPLETED,
                                        .disposition = BTH_DISPOSITION_STATUS_RENAMED,
                                        .name = "dir/n (2).bin" };
        _cleanup_free_ char *error = NULL, *verbose = NULL;

        (void)state;
        write_logs(&b, &error, &verbose);
        expect(error, "<BlobPath>c/dir/n (2).bin</BlobPath>");
        expect(error, "<ImportDisposition Status=\"Renamed\">rename</ImportDisposition>");
        expect_none(error, "<Block");
        expect_none(verbose, "Cancelled");
        expect(verbose, "Offset=\"1024\" Length=\"1024\"");
}

/* What went as it should is in the verbose log alone. */
static void test_created(void **state)
{
        const struct upl_listed l = listed(MED_MANIFEST_BLOCK);
        const struct upl_log_blob b = { .listed = &l,
                                        .status = BTH_BLOB_STATUS_COMPLETED,
                                        .disposition = BTH_DISPOSITION_STATUS_CREATED };
        _cleanup_free_ char *error = NULL, *verbose = NULL;

        (void)state;
        write_logs(&b, &error, &verbose);
        expect_none(error, "<Blob");
        expect(verbose, "<Blob Status=\"Completed\">");
}

/* A file that is not there: nothing was tried; its sidecars neither. */
static void test_missing(void **state)
{
        struct upl_listed l = listed(MED_MANIFEST_BLOCK);
        const struct upl_log_blob b = { .listed = &l,
                                        .status = BTH_BLOB_STATUS_FILE_NOT_FOUND,
                                        .disposition = BTH_DISPOSITION_STATUS_CANCELLED };
        _cleanup_free_ char *error = NULL, *verbose = NULL;

        (void)state;
        l.blob.metadata.path = "\\m.xml";
        l.metadata_global = true;
        write_logs(&b, &error, &verbose);
        expect(error, "<Blob Status=\"FileNotFound\">");
        expect(error, "Hash=\"CD000000000000000000000000000000\" Status=\"Cancelled\"");
        expect_none(error, "Status=\"Completed\"");
        expect(verbose, "<Metadata Status=\"Cancelled\">");
        expect(verbose, "<GlobalPath ");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_ranges),
                cmocka_unit_test(test_renamed),
                cmocka_unit_test(test_created),
                cmocka_unit_test(test_missing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
