/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manifest - reading, judging, writing and spooling drive manifests.
 * The sample and its hashes are those of the import-export specification, 2.7, 3.4, appendix B. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "base/guid.h"
#include "base/str.h"
#include "media/manifest-spool.h"
#include "media/manifest.h"

#define OBJECT "\\DriveManifest.xml"

/* --- helpers --- */

/* Findings as they are printed, one a line; and which there were. */
struct heard {
        struct bth_buf text;
        bool had[_MED_MANIFEST_FINDING_MAX];
        unsigned n;
};

static bool covered[_MED_MANIFEST_FINDING_MAX];

static void hear(void *userdata, const struct med_finding *finding)
{
        struct heard *h = userdata;
        enum med_manifest_finding f = med_manifest_finding_from_string(finding->name);
        char line[4096];

        assert_true(f >= 0);
        h->had[f] = covered[f] = true;
        h->n++;
        assert_int_equal(bth_buf_add_format(&h->text, "%s\n",
                                            med_finding_to_string(finding, line, sizeof line)),
                         0);
}

static void heard_clear(struct heard *h)
{
        bth_buf_clear(&h->text);
        memset(h, 0, sizeof *h);
}

static const char *heard_text(const struct heard *h)
{
        return h->text.data ? h->text.data : "";
}

/* One pass over a text. */
struct pass {
        struct heard heard;
        struct med_findings findings;
        struct med_manifest_options options;
        struct med_manifest_summary *summary;
        enum bth_drive_status status;
        struct bth_error error;
        int result;
};

static void pass_init(struct pass *p)
{
        memset(p, 0, sizeof *p);
        p->error = BTH_ERROR_INIT;
        p->findings = (struct med_findings){ .fn = hear, .userdata = &p->heard, .object = OBJECT };
        p->options = (struct med_manifest_options){
                .object = OBJECT,
                .findings = &p->findings,
                .find_doubles = true,
                .default_disposition = BTH_DISPOSITION_RENAME,
        };
}

static void pass_run(struct pass *p, const void *text, size_t n)
{
        _cleanup_(bth_source_freep) struct bth_source *source = NULL;

        assert_int_equal(bth_source_new_memory(text, n, &source), 0);
        p->result = med_manifest_validate(source, &p->options, &p->summary, &p->status, &p->error);
}

static void pass_clear(struct pass *p)
{
        heard_clear(&p->heard);
        p->summary = med_manifest_summary_free(p->summary);
}

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

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sample),
                cmocka_unit_test(test_validate_sample),
                cmocka_unit_test(test_vectors),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
