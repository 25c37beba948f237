/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manifest - reading drive manifests: the sample, other orders, options, several passes.
 * The sample and its hashes are those of the import-export specification, 2.7, 3.4, appendix B. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/lib/manifest-pass.h"

static void assert_md5(const void *data, size_t n, const char *hex)
{
        uint8_t md5[BTH_MD5_BYTES];
        char text[2 * BTH_MD5_BYTES + 1];

        assert_int_equal(bth_digest_of(BTH_DIGEST_MD5, data, n, md5), 0);
        assert_string_equal(bth_hex_encode(md5, sizeof md5, text), hex);
}

/* --- the sample of 2.7 --- */

static const char sample[] =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<DriveManifest Version=\"2014-11-01\">\n"
        "  <Drive>\n"
        "    <DriveId>QX7TESTDRV01</DriveId>\n"
        "    "
        "<ContainerSas>attic?sv=2014-02-14&amp;sr=c&amp;sp=rwd&amp;se=2031-12-31&amp;sig="
        "bm90LXJlYWw%3D</ContainerSas>\n"
        "    <ClientCreator>our-tool 0.1</ClientCreator>\n"
        "    <BlobList>\n"
        "      <PropertiesPath "
        "Hash=\"40CFDEADAA82F319B5A74B43C360AC2D\">\\nightly-7\\all.properties.xml</"
        "PropertiesPath>\n"
        "      <Blob>\n"
        "        <BlobPath>attic/notes/a.txt</BlobPath>\n"
        "        <FilePath>\\nightly-7\\notes\\a.txt</FilePath>\n"
        "        <Length>8</Length>\n"
        "        <ImportDisposition>no-overwrite</ImportDisposition>\n"
        "        <BlockList>\n"
        "          <Block Offset=\"0\" Length=\"4\" Id=\"MD5/ywjKSnu1+Wg8GRM6hIcspw==\" "
        "Hash=\"CB08CA4A7BB5F9683C19133A84872CA7\"/>\n"
        "          <Block Offset=\"4\" Length=\"4\" Id=\"MD5/F91pGfWTDqi9WP7Lr9frew==\" "
        "Hash=\"17DD6919F5930EA8BD58FECBAFD7EB7B\"/>\n"
        "        </BlockList>\n"
        "        <MetadataPath "
        "Hash=\"EA2E5D436F5095E673CE009F3EAE6341\">\\nightly-7\\a.metadata.xml</MetadataPath>\n"
        "      </Blob>\n"
        "      <Blob>\n"
        "        <BlobPath>attic/disk/tiny.vhd</BlobPath>\n"
        "        <FilePath>\\nightly-7\\disk\\tiny.vhd</FilePath>\n"
        "        <Length>1024</Length>\n"
        "        <PageRangeList>\n"
        "          <PageRange Offset=\"512\" Length=\"512\" "
        "Hash=\"DC5086B847289BA8B8BDE149B8388175\"/>\n"
        "        </PageRangeList>\n"
        "      </Blob>\n"
        "    </BlobList>\n"
        "  </Drive>\n"
        "</DriveManifest>\n";

static const char metadata_file[] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                                    "<Metadata>\n<project>willow</project>\n</Metadata>\n";
static const char properties_file[] =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<Properties>\n<Content-Type>text/plain</Content-Type>\n</Properties>\n";

/* Do the ranges of a blob have the hashes of this content? */
static void assert_content(const struct med_manifest_blob *b, const char *content)
{
        for (size_t i = 0; i < b->n_ranges; i++) {
                uint8_t md5[BTH_MD5_BYTES];

                assert_int_equal(bth_digest_of(BTH_DIGEST_MD5, content + b->ranges[i].offset_bytes,
                                               b->ranges[i].length_bytes, md5),
                                 0);
                assert_memory_equal(md5, b->ranges[i].md5, sizeof md5);
        }
}

static void assert_sidecar(const struct med_manifest_sidecar *s, const char *path, const char *file)
{
        uint8_t md5[BTH_MD5_BYTES];

        assert_string_equal(s->path, path);
        assert_int_equal(bth_digest_of(BTH_DIGEST_MD5, file, strlen(file), md5), 0);
        assert_memory_equal(md5, s->md5, sizeof md5);
}

static void test_sample(void **state)
{
        _cleanup_(bth_source_freep) struct bth_source *source = NULL;
        _cleanup_(med_manifest_reader_freep) struct med_manifest_reader *r = NULL;
        const struct med_manifest_blob *b;
        struct bth_error e = BTH_ERROR_INIT;
        char vhd[1024] = { 0 };
        struct pass p;

        memset(vhd + 512, 'A', 512);
        assert_int_equal(strlen(metadata_file), 88);
        assert_int_equal(strlen(properties_file), 106);

        pass_init(&p);
        assert_int_equal(bth_source_new_memory(sample, sizeof sample - 1, &source), 0);
        assert_int_equal(med_manifest_reader_new(source, &p.options, NULL, &r), 0);

        assert_int_equal(med_manifest_next(r, &b, &e), 1);
        assert_string_equal(b->blob_path, "attic/notes/a.txt");
        assert_string_equal(b->file_path, "\\nightly-7\\notes\\a.txt");
        assert_true(b->length_bytes == 8);
        assert_true(b->disposition_given);
        assert_int_equal(b->disposition, BTH_DISPOSITION_NO_OVERWRITE);
        assert_int_equal(b->kind, MED_MANIFEST_BLOCK);
        assert_int_equal(b->n_ranges, 2);
        assert_int_equal(b->ranges[1].line, 16);
        assert_string_equal(med_manifest_range_id(b, 0), "MD5/ywjKSnu1+Wg8GRM6hIcspw==");
        assert_content(b, "ABCDEFGH");
        assert_sidecar(med_manifest_metadata(b), "\\nightly-7\\a.metadata.xml", metadata_file);
        assert_sidecar(med_manifest_properties(b), "\\nightly-7\\all.properties.xml",
                       properties_file);
        assert_int_equal(b->n_errors, 0);
        assert_int_equal(b->line, 9);

        assert_int_equal(med_manifest_next(r, &b, &e), 1);
        assert_string_equal(b->blob_path, "attic/disk/tiny.vhd");
        assert_int_equal(b->kind, MED_MANIFEST_PAGE);
        assert_false(b->disposition_given);
        assert_int_equal(b->disposition, BTH_DISPOSITION_RENAME);
        assert_null(med_manifest_range_id(b, 0));
        assert_null(med_manifest_metadata(b)->path);
        assert_content(b, vhd);
        assert_true(b->index == 1);
        assert_int_equal(med_manifest_next(r, &b, &e), 0);
        assert_int_equal(med_manifest_next(r, &b, &e), 0);

        assert_string_equal(med_manifest_reader_summary(r)->header.drive_id, "QX7TESTDRV01");
        assert_string_equal(med_manifest_reader_summary(r)->header.container, "attic");
        assert_string_equal(med_manifest_reader_summary(r)->header.client_creator, "our-tool 0.1");
        assert_string_equal(
                (const char *)med_manifest_reader_summary(r)->header.container_sas->data,
                "attic?sv=2014-02-14&sr=c&sp=rwd&se=2031-12-31&sig=bm90LXJlYWw%3D");
        assert_string_equal(heard_text(&p.heard),
                            OBJECT ":20: blob 'attic/disk/tiny.vhd': warning: there is no "
                                   "ImportDisposition. the station's default is used; older tools "
                                   "meant rename, newer ones overwrite. [disposition-absent]\n");
        pass_clear(&p);
}

static void test_validate_sample(void **state)
{
        struct pass p;

        pass_init(&p);
        p.options.drive_serial = "QX7TESTDRV01";
        pass_run(&p, sample, sizeof sample - 1);
        assert_int_equal(p.result, 0);
        assert_int_equal(p.status, BTH_DRIVE_STATUS_COMPLETED);
        assert_true(p.summary->n_lists == 1);
        assert_true(p.summary->n_blobs == 2);
        assert_true(p.summary->n_ranges == 3);
        assert_true(p.summary->length_bytes == 1032);
        assert_true(p.summary->range_bytes == 520);
        assert_true(p.summary->n_errors == 0);
        assert_true(p.summary->n_warnings == 1);
        pass_clear(&p);

        pass_init(&p);
        p.options.drive_serial = "OTHER";
        pass_run(&p, sample, sizeof sample - 1);
        assert_int_equal(p.result, -EBADMSG);
        assert_int_equal(p.status, BTH_DRIVE_STATUS_MANIFEST_DRIVE_ID_MISMATCH);
        assert_int_equal(p.error.line, 4);
        pass_clear(&p);
}

static void test_vectors(void **state)
{
        char page[512];
        char id[16];

        assert_md5("ABCD", 4, "CB08CA4A7BB5F9683C19133A84872CA7");
        assert_md5("EFGH", 4, "17DD6919F5930EA8BD58FECBAFD7EB7B");
        memset(page, 0x41, sizeof page);
        assert_md5(page, sizeof page, "DC5086B847289BA8B8BDE149B8388175");
        memset(page, 0, sizeof page);
        assert_md5(page, sizeof page, "BF619EAC0CDF3F68D496EA9344137E8B");
        assert_md5("", 0, "D41D8CD98F00B204E9800998ECF8427E");
        assert_string_equal(bth_base64_encode("\x00\x00\x00", 4, id), "AAAAAA==");
        assert_string_equal(bth_base64_encode("\x01\x00\x00", 4, id), "AQAAAA==");
        assert_string_equal(bth_base64_encode("\x02\x00\x00", 4, id), "AgAAAA==");
        assert_string_equal(bth_base64_encode("\x03\x00\x00", 4, id), "AwAAAA==");
}

/* --- tolerance --- */

#define HASH   " Hash=\"CB08CA4A7BB5F9683C19133A84872CA7\""
#define RANGES "<BlockList><Block Length=\"4\"" HASH " Offset=\"0\"></Block></BlockList>"
#define A_BLOB(name)                                                                   \
        "<Blob><Length>4</Length><BlobPath>attic/" name "</BlobPath><FilePath>\\" name \
        "</FilePath><ImportDisposition>overwrite</ImportDisposition>" RANGES "</Blob>"

static struct med_manifest_reader *reader_of(struct pass *p, struct bth_source *source)
{
        struct med_manifest_reader *r = NULL;

        assert_int_equal(med_manifest_reader_new(source, &p->options, p->summary, &r), 0);
        return r;
}

/* Elements in any order, a declaration or none, a byte order mark, CRLF, layout around texts. */
static void test_any_order(void **state)
{
        static const char text[] =
                "\xEF\xBB\xBF\r\n<?xml version='1.0' encoding='Utf-8'?>\r\n"
                "<DriveManifest Version='2011-10-01' xmlns='urn:x'>\r\n<Drive>\r\n"
                "<ClientCreator> tool </ClientCreator>\r\n<BlobList Id='s-0'>\r\n"
                "<Blob>\r\n<PropertiesPath" HASH ">\\p</PropertiesPath>" RANGES
                "<ImportDisposition>\r\n overwrite\r\n</ImportDisposition><Length>\t4 </Length>"
                "<FilePath>\r\n    \\dir\\ file \r\n  </FilePath>"
                "<ClientData/><BlobPath> attic/ a </BlobPath></Blob>\r\n"
                "<PropertiesPath" HASH ">\\q</PropertiesPath></BlobList>\r\n"
                "<StorageAccountKey>\r\nbm90LXJlYWw=\r\n</StorageAccountKey>"
                "<DriveId>\r\nQX7\r\n</DriveId></Drive>\r\n</DriveManifest>\r\n<!-- end -->\r\n";
        _cleanup_(bth_source_freep) struct bth_source *source = NULL;
        _cleanup_(med_manifest_reader_freep) struct med_manifest_reader *r = NULL;
        const struct med_manifest_blob *b;
        struct bth_error e = BTH_ERROR_INIT;
        struct pass p;

        pass_init(&p);
        assert_int_equal(bth_source_new_memory(text, sizeof text - 1, &source), 0);
        r = reader_of(&p, source);
        assert_int_equal(med_manifest_next(r, &b, &e), 1);
        assert_string_equal(b->blob_path, " attic/ a ");
        assert_string_equal(b->file_path, "\\dir\\ file");
        assert_string_equal(b->list->id, "s-0");
        assert_null(b->client_data);
        assert_true(b->length_bytes == 4);
        assert_int_equal(b->disposition, BTH_DISPOSITION_OVERWRITE);
        assert_int_equal(b->ranges[0].line, 8);
        assert_string_equal(med_manifest_properties(b)->path, "\\p");
        assert_int_equal(med_manifest_next(r, &b, &e), 0);
        assert_string_equal(med_manifest_reader_summary(r)->header.drive_id, "QX7");
        assert_string_equal((char *)med_manifest_reader_summary(r)->header.account_key->data,
                            "bm90LXJlYWw=");
        assert_string_equal(med_manifest_reader_summary(r)->header.client_creator, "tool");
        assert_true(p.heard.had[MED_MANIFEST_FINDING_DRIVE_ID_LATE]);
        assert_true(p.heard.had[MED_MANIFEST_FINDING_LIST_DEFAULT_LATE]);
        assert_true(p.heard.had[MED_MANIFEST_FINDING_CONTAINER_INVALID]); /* " attic" */
        assert_int_equal(p.heard.n, 3);
        pass_clear(&p);
}

/* Defaults behind the blobs of their list hold in the second pass. */
static void test_late_defaults(void **state)
{
        static const char text[] =
                "<DriveManifest Version='1'><Drive><DriveId>Q</DriveId><BlobList>" A_BLOB(
                        "a") "<PropertiesPath" HASH
                             ">\\p</PropertiesPath></BlobList><BlobList>" A_BLOB(
                                     "b") "</BlobList><BlobList><MetadataPath" HASH
                                          ">\\early</MetadataPath>" A_BLOB(
                                                  "c") "<PropertiesPath" HASH
                                                       ">\\late</PropertiesPath>" A_BLOB(
                                                               "d") "</BlobList></Drive></"
                                                                    "DriveManifest>";
        static const char *const properties[] = { "\\p", NULL, "\\late", "\\late" };
        static const char *const metadata[] = { NULL, NULL, "\\early", "\\early" };
        _cleanup_(bth_source_freep) struct bth_source *source = NULL;
        _cleanup_(med_manifest_reader_freep) struct med_manifest_reader *r = NULL;
        const struct med_manifest_blob *b;
        struct bth_error e = BTH_ERROR_INIT;
        struct pass p;

        pass_init(&p);
        assert_int_equal(bth_source_new_memory(text, sizeof text - 1, &source), 0);
        pass_run_on(&p, source);
        assert_int_equal(p.result, 0);
        assert_int_equal(p.summary->n_late, 2);
        r = reader_of(&p, source);
        for (size_t i = 0; i < 4; i++) {
                assert_int_equal(med_manifest_next(r, &b, &e), 1);
                if (properties[i]) {
                        assert_string_equal(med_manifest_properties(b)->path, properties[i]);
                        assert_int_equal(med_manifest_properties(b)->md5[0], 0xCB);
                } else {
                        assert_null(med_manifest_properties(b)->path);
                }
                if (metadata[i])
                        assert_string_equal(med_manifest_metadata(b)->path, metadata[i]);
                else
                        assert_null(med_manifest_metadata(b)->path);
        }
        assert_int_equal(med_manifest_next(r, &b, &e), 0);
        pass_clear(&p);
}

/* Entries for Azure Files, in a list, under Drive, and in an element nobody knows. */
static void test_azure_files(void **state)
{
        static const char text[] =
                "<DriveManifest Version='1'><Drive><DriveId>Q</DriveId>"
                "<FileList><Inner><File><FileStoragePath>share/a</FileStoragePath>"
                "<FilePath>\\a</FilePath><Length>9</Length><FileRangeList>"
                "<FileRange Offset='0' Length='4'" HASH "/><FileRange Offset='5' Length='4'" HASH
                "/></FileRangeList></File></Inner></FileList>"
                "<File><FileStoragePath>share/b</FileStoragePath><FilePath>\\b</FilePath>"
                "<Length>0</Length><FileRangeList/></File><BlobList>" A_BLOB(
                        "c") "<File><BlobPath>share/d</BlobPath><FilePath>\\d</FilePath><Length>0</"
                             "Length>"
                             "<FileRangeList/></File></BlobList></Drive></DriveManifest>";
        _cleanup_(bth_source_freep) struct bth_source *source = NULL;
        _cleanup_(med_manifest_reader_freep) struct med_manifest_reader *r = NULL;
        static const char *const paths[] = { "share/a", "share/b", "attic/c", "share/d" };
        const struct med_manifest_blob *b;
        struct bth_error e = BTH_ERROR_INIT;
        struct pass p;

        pass_init(&p);
        assert_int_equal(bth_source_new_memory(text, sizeof text - 1, &source), 0);
        r = reader_of(&p, source);
        for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                assert_int_equal(med_manifest_next(r, &b, &e), 1);
                assert_string_equal(b->blob_path, paths[i]);
                assert_int_equal(b->azure_file, i != 2);
                assert_int_equal(b->kind, i == 2 ? MED_MANIFEST_BLOCK : MED_MANIFEST_FILE);
                assert_int_equal(b->n_ranges, i == 0 ? 2 : i == 2);
                assert_int_equal(b->n_errors, 0);
                assert_true(b->list->index == (i < 2 ? MED_MANIFEST_NO_LIST : 0));
        }
        assert_int_equal(med_manifest_next(r, &b, &e), 0);
        assert_true(med_manifest_reader_summary(r)->n_azure_files == 3);
        assert_true(p.heard.had[MED_MANIFEST_FINDING_AZURE_FILE]);
        pass_clear(&p);
}

/* A credential behind the blobs holds for them all the same. */
static void test_late_credential(void **state)
{
#define SAS(container) \
        "<ContainerSas>" container "?sv=2019-12-12&amp;sp=rwd&amp;sig=x</ContainerSas>"
#define LATE(blobs, sas)                                                         \
        "<DriveManifest Version='1'><Drive><DriveId>Q</DriveId><BlobList>" blobs \
        "</BlobList>\n" sas "</Drive></DriveManifest>"
        static const char good[] = LATE(A_BLOB("a") A_BLOB("b"), SAS("attic"));
        static const char bad[] = LATE(A_BLOB("a") A_BLOB("b"), SAS("cellar"));
        _cleanup_(bth_source_freep) struct bth_source *source = NULL;
        _cleanup_(med_manifest_reader_freep) struct med_manifest_reader *r = NULL;
        const struct med_manifest_blob *b;
        struct bth_error e = BTH_ERROR_INIT;
        struct pass p;

        pass_init(&p);
        pass_run(&p, good, sizeof good - 1);
        assert_string_equal(heard_text(&p.heard), "");
        pass_clear(&p);

        pass_init(&p);
        assert_int_equal(bth_source_new_memory(bad, sizeof bad - 1, &source), 0);
        pass_run_on(&p, source);
        assert_int_equal(p.result, -EBADMSG);
        assert_string_equal(p.error.sentence,
                            "the blob is not in the container of ContainerSas: blobs in front of "
                            "ContainerSas are in 'attic', the credential is for 'cellar'");
        assert_int_equal(p.error.line, 2);
        r = reader_of(&p, source);
        assert_int_equal(med_manifest_next(r, &b, &e), 1);
        assert_int_equal(b->n_errors, 1);
        pass_clear(&p);
}

/* --- exports --- */

static void test_export(void **state)
{
        static const char text[] =
                "<DriveManifest Version='2011-10-01'><Drive><DriveId>Q</DriveId>"
                "<ClientCreator>Windows Azure Import/Export service</ClientCreator><BlobList>"
                "<Blob><BlobPath>attic/a</BlobPath><FilePath>\\attic\\a</FilePath>"
                "<Snapshot>2031-01-01T00:00:00.0000000Z</Snapshot><Length>1024</Length>"
                "<PageRangeList><PageRange Offset='0' Length='512'" HASH "/></PageRangeList>"
                "<PropertiesPath" HASH ">\\attic\\a.properties</PropertiesPath></Blob>"
                "<Blob><BlobPath>attic/a</BlobPath><FilePath>\\attic\\a2</FilePath>"
                "<Length>8</Length>" RANGES "</Blob></BlobList></Drive></DriveManifest>";
        struct pass p;

        pass_init(&p);
        p.options.direction = MED_MANIFEST_EXPORT;
        pass_run(&p, text, sizeof text - 1);
        assert_int_equal(p.result, 0);
        /* A snapshot and its blob are not the same blob; blocks may miss the end. */
        assert_int_equal(p.heard.n, 1);
        assert_true(p.heard.had[MED_MANIFEST_FINDING_EXPORT_SUM]);
        pass_clear(&p);

        pass_init(&p);
        pass_run(&p, text, sizeof text - 1);
        assert_int_equal(p.result, -EBADMSG);
        assert_true(p.heard.had[MED_MANIFEST_FINDING_EXPORT_ONLY]);
        assert_true(p.heard.had[MED_MANIFEST_FINDING_BLOCK_SUM]);
        pass_clear(&p);
}

/* --- options --- */

#define AROUND(blobs)                                                                   \
        "<DriveManifest Version='1'><Drive><DriveId>Q</DriveId><StorageAccountKey>bm90" \
        "</StorageAccountKey><BlobList>" blobs "</BlobList></Drive></DriveManifest>"

static void test_without_range_list(void **state)
{
        static const char text[] =
                AROUND("<Blob><BlobPath>attic/a</BlobPath><FilePath>\\a</FilePath><Length>4"
                       "</Length></Blob>");
        _cleanup_(bth_source_freep) struct bth_source *source = NULL;
        _cleanup_(med_manifest_reader_freep) struct med_manifest_reader *r = NULL;
        const struct med_manifest_blob *b;
        struct bth_error e = BTH_ERROR_INIT;
        struct pass p;

        pass_init(&p);
        p.options.without_range_list = true;
        p.options.default_disposition = BTH_DISPOSITION_OVERWRITE;
        assert_int_equal(bth_source_new_memory(text, sizeof text - 1, &source), 0);
        r = reader_of(&p, source);
        assert_int_equal(med_manifest_next(r, &b, &e), 1);
        assert_int_equal(b->kind, MED_MANIFEST_NONE);
        assert_int_equal(b->n_errors, 0);
        assert_int_equal(b->n_warnings, 1);
        assert_false(b->disposition_given);
        assert_int_equal(b->disposition, BTH_DISPOSITION_OVERWRITE);
        pass_clear(&p);
}

/* BlobPaths of all drives of a job, FilePaths of each drive alone. */
static void test_job_blobs(void **state)
{
        static const char first[] = AROUND(A_BLOB("a") A_BLOB("b"));
        static const char second[] = AROUND(A_BLOB("b") A_BLOB("c"));
        _cleanup_(med_seen_freep) struct med_seen *job = NULL;
        struct pass p;

        assert_int_equal(med_seen_new(&job), 0);
        pass_init(&p);
        p.options.job_blobs = job;
        pass_run(&p, first, sizeof first - 1);
        assert_string_equal(heard_text(&p.heard), "");
        pass_clear(&p);

        pass_init(&p);
        p.options.job_blobs = job;
        pass_run(&p, second, sizeof second - 1);
        assert_int_equal(p.heard.n, 1);
        assert_true(p.heard.had[MED_MANIFEST_FINDING_BLOB_PATH_TWICE]);
        pass_clear(&p);
        assert_true(med_seen_count(job) == 3);
}

/* A drive that fails, and a file that is cut off, after a blob was complete. */
static int failing_read(struct bth_source *source, uint64_t offset, void *buffer, size_t n)
{
        return -EIO;
}

static void test_broken_source(void **state)
{
        static const char cut[] = "<DriveManifest Version='1'><Drive><BlobList>" A_BLOB("a");
        static const struct bth_source_ops ops = { .read = failing_read, .free = synthetic_free };
        struct bth_source failing = {
                .ops = &ops, .size_bytes = 100, .logical_block_bytes = 1, .memory_align_bytes = 1
        };
        _cleanup_(bth_source_freep) struct bth_source *source = NULL;
        _cleanup_(med_manifest_reader_freep) struct med_manifest_reader *r = NULL;
        const struct med_manifest_blob *b;
        struct bth_error e = BTH_ERROR_INIT;
        struct pass p;

        pass_init(&p);
        assert_int_equal(bth_source_new_memory(cut, sizeof cut - 1, &source), 0);
        r = reader_of(&p, source);
        assert_int_equal(med_manifest_next(r, &b, &e), 1);
        assert_int_equal(med_manifest_next(r, &b, &e), -EBADMSG);
        assert_int_equal(e.reason, BTH_REASON_XML_SYNTAX);
        assert_int_equal(e.line, 1);
        e = BTH_ERROR_INIT;
        assert_int_equal(med_manifest_next(r, &b, &e), -EBADMSG);
        assert_int_equal(e.reason, BTH_REASON_XML_SYNTAX);

        pass_run_on(&p, &failing);
        assert_int_equal(p.result, -EIO);
        assert_int_equal(p.status, BTH_DRIVE_STATUS_READ_MANIFEST_FAILED);
        assert_null(p.summary);
        pass_clear(&p);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sample),
                cmocka_unit_test(test_validate_sample),
                cmocka_unit_test(test_vectors),
                cmocka_unit_test(test_any_order),
                cmocka_unit_test(test_late_defaults),
                cmocka_unit_test(test_azure_files),
                cmocka_unit_test(test_late_credential),
                cmocka_unit_test(test_export),
                cmocka_unit_test(test_without_range_list),
                cmocka_unit_test(test_job_blobs),
                cmocka_unit_test(test_broken_source),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
