/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Names on the wire, headers, signatures, requests and the XML of answers. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "uploader/auth.h"
#include "uploader/blob.h"
#include "uploader/content-type.h"

static void expect_name(const char *name, const char *wire)
{
        _cleanup_buf_ struct bth_buf url = BTH_BUF_INIT;

        assert_int_equal(upl_url_add_name(&url, name), 0);
        assert_string_equal(url.data, wire);
}

static void test_names_are_encoded_and_never_decoded(void **state)
{
        expect_name("plain/dir/file-1_2.tar~", "plain/dir/file-1_2.tar~");
        expect_name("a%20b", "a%2520b");
        expect_name("100%", "100%25");
        expect_name("what?#x&y=z+ 1", "what%3F%23x%26y%3Dz%2B%201");
        expect_name("gr\xc3\xbc\xc3\x9f", "gr%C3%BC%C3%9F");
        expect_name("dots...", "dots...");
        expect_name("back\\slash", "back%5Cslash");
        /* What a path parser would eat keeps its slashes hidden. */
        expect_name("a/../b", "a%2F..%2Fb");
        expect_name("a//b", "a%2F%2Fb");
        expect_name("./a", ".%2Fa");
        expect_name("dir/", "dir%2F");
        expect_name("a/..b/c", "a/..b/c");
}

static void test_endpoints(void **state)
{
        static const char *const wrong[] = {
                "ftp://h",  "https://",           "https://h/a?b", "https://u@h/",  "https://h//a",
                "http://h", "https://h\xc3\xbc/", "h:443",         "https://h/a#b",
        };
        struct upl_endpoint e;
        struct bth_error error = BTH_ERROR_INIT;

        assert_int_equal(upl_endpoint_parse("https://10.0.0.7:10000/dev/", false, &e, NULL), 0);
        assert_string_equal(e.base, "https://10.0.0.7:10000");
        assert_string_equal(e.path, "/dev");
        assert_true(e.tls);
        upl_endpoint_clear(&e);
        assert_int_equal(upl_endpoint_parse("http://127.0.0.1:1", true, &e, NULL), 0);
        assert_string_equal(e.path, "");
        assert_false(e.tls);
        upl_endpoint_clear(&e);
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                bth_error_clear(&error);
                assert_int_equal(upl_endpoint_parse(wrong[i], false, &e, &error), -EINVAL);
                assert_true(error.sentence[0] != '\0');
        }
        assert_int_equal(upl_endpoint_of_account("ledger7", &e, NULL), 0);
        assert_string_equal(e.base, "https://ledger7.blob.core.windows.net");
        upl_endpoint_clear(&e);
        assert_int_equal(upl_endpoint_of_account("No-Good", &e, NULL), -EINVAL);
}

static void test_headers_cannot_be_smuggled(void **state)
{
        struct upl_headers h = { 0 };

        assert_int_equal(upl_headers_set(&h, "x-ms-meta-a", "1"), 0);
        assert_int_equal(upl_headers_set(&h, "X-MS-Meta-A", "2"), 0);
        assert_int_equal(h.n, 1);
        assert_string_equal(upl_headers_get(&h, "x-ms-META-a"), "2");
        assert_int_equal(upl_headers_set(&h, "x-ms-meta-b", "v\r\nx-ms-lease-id: y"), -EINVAL);
        assert_int_equal(upl_headers_set(&h, "x ms", "v"), -EINVAL);
        assert_int_equal(upl_headers_set(&h, "a:b", "v"), -EINVAL);
        assert_int_equal(upl_headers_set(&h, "", "v"), -EINVAL);
        assert_null(upl_headers_get(&h, "x-ms-meta-b"));
        upl_headers_clear(&h);
}

/* The text of the example in "Authorize with Shared Key", Get Container Metadata. */
static void test_shared_key_text_is_the_documented_one(void **state)
{
        _cleanup_buf_ struct bth_buf text = BTH_BUF_INIT;
        struct upl_endpoint e = { (char *)"https://myaccount.blob.core.windows.net", (char *)"",
                                  true };
        struct upl_request q;

        assert_int_equal(upl_request_init(&q, UPL_METHOD_GET, "mycontainer", NULL), 0);
        assert_int_equal(upl_request_param(&q, "restype", "container"), 0);
        assert_int_equal(upl_request_param(&q, "comp", "metadata"), 0);
        assert_int_equal(upl_request_param(&q, "timeout", "20"), 0);
        assert_int_equal(upl_request_header(&q, "x-ms-version", "2015-02-21"), 0);
        assert_int_equal(upl_request_header(&q, "X-MS-Date", " Fri, 26 Jun 2015 23:39:12 GMT "), 0);
        assert_int_equal(upl_shared_key_text("myaccount", &e, &q, 0, &q.headers, &text), 0);
        assert_string_equal(text.data,
                            "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\n"
                            "x-ms-version:2015-02-21\n/myaccount/mycontainer\ncomp:metadata\n"
                            "restype:container\ntimeout:20");
        upl_request_clear(&q);
}

static void test_shared_key_covers_length_and_standard_headers(void **state)
{
        _cleanup_buf_ struct bth_buf text = BTH_BUF_INIT;
        struct upl_endpoint e = { (char *)"http://127.0.0.1:1", (char *)"/dev", false };
        struct upl_target t = { .container = "c", .blob = "a b", .if_none_match = "*" };
        uint8_t md5[16] = { 0 };
        struct upl_request q;

        assert_int_equal(upl_put_blob(&q, &t, "xyz", 3, (struct upl_checksum){ md5, NULL }, NULL),
                         0);
        assert_int_equal(upl_shared_key_text("dev", &e, &q, 3, &q.headers, &text), 0);
        assert_string_equal(text.data, "PUT\n\n\n3\nAAAAAAAAAAAAAAAAAAAAAA==\n\n\n\n\n*\n\n\n"
                                       "x-ms-blob-type:BlockBlob\n/dev/dev/c/a%20b");
        upl_request_clear(&q);
}

static struct upl_credential *credential(enum upl_credential_kind kind, const char *text)
{
        _cleanup_(bth_secret_freep) struct bth_secret *s = NULL;
        struct upl_credential *c;

        assert_int_equal(bth_secret_new_copy(text, strlen(text), &s), 0);
        if (upl_credential_new(kind, "dev", s, &c, NULL) < 0)
                return NULL;
        return c;
}

static void test_credentials(void **state)
{
        _cleanup_(upl_credential_freep) struct upl_credential *sas = NULL, *bearer = NULL;
        _cleanup_(bth_secret_freep) struct bth_secret *next = NULL;
        _cleanup_buf_ struct bth_buf url = BTH_BUF_INIT;
        struct upl_endpoint e = { (char *)"http://h", (char *)"", false };
        struct upl_headers h = { 0 };
        struct upl_request q;

        assert_null(credential(UPL_CREDENTIAL_KEY, "not base64!"));
        assert_null(credential(UPL_CREDENTIAL_SAS, "sv=1&se=2"));
        assert_null(credential(UPL_CREDENTIAL_SAS, "sv=1&sig=a b"));
        assert_null(credential(UPL_CREDENTIAL_BEARER, "line\nend"));
        sas = credential(UPL_CREDENTIAL_SAS, "?sv=1&sig=a%2Bb%3D");
        bearer = credential(UPL_CREDENTIAL_BEARER, "t.o.k");
        assert_non_null(sas);
        assert_non_null(bearer);
        assert_int_equal(upl_request_init(&q, UPL_METHOD_GET, "c", NULL), 0);
        assert_int_equal(bth_buf_add_string(&url, "http://h/c?comp=list"), 0);
        assert_int_equal(upl_credential_sign(sas, &e, &q, 0, &h, &url), 0);
        assert_string_equal(url.data, "http://h/c?comp=list&sv=1&sig=a%2Bb%3D");
        assert_null(upl_headers_get(&h, "Authorization"));
        assert_int_equal(upl_credential_sign(bearer, &e, &q, 0, &h, &url), 0);
        assert_string_equal(upl_headers_get(&h, "Authorization"), "Bearer t.o.k");
        assert_int_equal(bth_secret_new_copy("new", 3, &next), 0);
        assert_int_equal(upl_credential_renew(bearer, next, NULL), 0);
        assert_int_equal(upl_credential_generation(bearer), 2);
        assert_int_equal(upl_credential_sign(bearer, &e, &q, 0, &h, &url), 0);
        assert_string_equal(upl_headers_get(&h, "Authorization"), "Bearer new");
        upl_headers_clear(&h);
        upl_request_clear(&q);
}

static void test_block_list_body_has_its_own_md5(void **state)
{
        struct upl_target t = { .container = "c", .blob = "b" };
        static const char *const ids[] = { "AAAA", "AQAA" };
        uint8_t whole[16] = { 1 };
        struct upl_attributes a = { .md5 = whole };
        struct upl_request q;

        assert_int_equal(upl_put_block_list(&q, &t, ids, 2, &a), 0);
        assert_string_equal(
                q.own_body.data,
                "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList><Latest>AAAA</Latest>"
                "<Latest>AQAA</Latest></BlockList>");
        assert_string_equal(upl_headers_get(&q.headers, "Content-MD5"), "BVMLzUGpPKAbawkFeiO1pg==");
        assert_string_equal(upl_headers_get(&q.headers, "x-ms-blob-content-md5"),
                            "AQAAAAAAAAAAAAAAAAAAAA==");
        upl_request_clear(&q);
}

static void test_content_types_are_guessed_by_extension(void **state)
{
        assert_string_equal(upl_content_type_of("a/b.JPG"), "image/jpeg");
        assert_string_equal(upl_content_type_of("x.tar.gz"), "application/gzip");
        assert_string_equal(upl_content_type_of("7.7z"), "application/x-7z-compressed");
        assert_string_equal(upl_content_type_of("z.zst"), "application/zstd");
        assert_null(upl_content_type_of("plain"));
        assert_null(upl_content_type_of("v1.txt/readme"));
        assert_null(upl_content_type_of("dir/.json"));
        assert_null(upl_content_type_of("a.unknown"));
        assert_null(upl_content_type_of("a."));
}

static void test_error_codes(void **state)
{
        static const struct {
                const char *xml, *code;
        } cases[] = {
                { "<?xml "
                  "version=\"1.0\"?><Error><Code>ServerBusy</Code><Message>x</Message></Error>",
                  "ServerBusy" },
                { "<html><body>Bad gateway</body></html>", "" },
                { "not xml", "" },
                { "", "" },
                { "<Error><Code>a\nb</Code></Error>", "a\\x0ab" },
        };
        char code[64];

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct bth_buf b = { (char *)(uintptr_t)cases[i].xml, strlen(cases[i].xml), 0 };

                upl_answer_error_code(&b, code, sizeof code);
                assert_string_equal(code, cases[i].code);
        }
}

static void test_block_lists_are_read(void **state)
{
        static const char good[] =
                "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>"
                "<CommittedBlocks><Block><Name>AAAA</Name><Size>5</Size></Block></CommittedBlocks>"
                "<UncommittedBlocks><Block><Name>BBBB</Name><Size>0</Size></Block>"
                "</UncommittedBlocks></BlockList>";
        static const char *const bad[] = {
                "<BlockList><CommittedBlocks><Block><Name>A</Name></Block></CommittedBlocks></"
                "BlockList>",
                "<BlockList><CommittedBlocks><Block><Size>1</Size></Block></CommittedBlocks></"
                "BlockList>",
                "<BlockList><Block><Name>A</Name><Size>-1</Size></Block></BlockList>",
                "<BlockList><Block><Name></Name><Size>1</Size></Block></BlockList>",
                "<BlockList>",
                "",
        };
        struct upl_remote_blocks b;

        assert_int_equal(upl_answer_blocks(good, sizeof good - 1, &b, NULL), 0);
        assert_int_equal(b.n, 2);
        assert_string_equal(b.items[0].id, "AAAA");
        assert_int_equal(b.items[0].length_bytes, 5);
        assert_true(b.items[0].committed);
        assert_string_equal(b.items[1].id, "BBBB");
        assert_false(b.items[1].committed);
        upl_remote_blocks_clear(&b);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(upl_answer_blocks(bad[i], strlen(bad[i]), &b, NULL), -EBADMSG);
}

static void test_page_ranges_are_read(void **state)
{
        static const char good[] =
                "<PageList><PageRange><Start>0</Start><End>511</End></PageRange>"
                "<ClearRange><Start>512</Start><End>1023</End></ClearRange>"
                "<PageRange><Start>1024</Start><End>2047</End></PageRange></PageList>";
        static const char *const bad[] = {
                "<PageList><PageRange><Start>5</Start><End>4</End></PageRange></PageList>",
                "<PageList><PageRange><Start>5</Start></PageRange></PageList>",
                "<PageList><PageRange><Start>0</Start><End>18446744073709551615</End></PageRange>"
                "</PageList>",
                "<PageList><PageRange><Start>0</Start><End>9</End></PageRange>"
                "<PageRange><Start>9</Start><End>19</End></PageRange></PageList>",
        };
        struct upl_page_ranges p;

        assert_int_equal(upl_answer_page_ranges(good, sizeof good - 1, &p, NULL), 0);
        assert_int_equal(p.n, 2);
        assert_int_equal(p.items[1].offset_bytes, 1024);
        assert_int_equal(p.items[1].length_bytes, 1024);
        upl_page_ranges_clear(&p);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(upl_answer_page_ranges(bad[i], strlen(bad[i]), &p, NULL),
                                 -EBADMSG);
}

static void test_blob_lists_are_read(void **state)
{
        static const char good[] =
                "<EnumerationResults><Prefix>x</Prefix><Blobs><Blob><Name>a/b</Name>"
                "<Snapshot>2031-01-01T00:00:00.0000000Z</Snapshot><Properties>"
                "<Content-Length>7</Content-Length><BlobType>PageBlob</BlobType>"
                "</Properties></Blob><Blob>"
                "<Name Encoded=\"true\">c%01%25</Name><Properties>"
                "<AccessTier>Archive</AccessTier></Properties></Blob></Blobs>"
                "<NextMarker>m</NextMarker></EnumerationResults>";
        static const char bad[] =
                "<EnumerationResults><Blobs><Blob><Name Encoded=\"true\">%0</Name>"
                "</Blob></Blobs></EnumerationResults>";
        static const char nul[] =
                "<EnumerationResults><Blobs><Blob><Name Encoded=\"true\">%00</Name>"
                "</Blob></Blobs></EnumerationResults>";
        struct upl_blob_items b;

        assert_int_equal(upl_answer_blobs(good, sizeof good - 1, &b, NULL), 0);
        assert_int_equal(b.n, 2);
        assert_string_equal(b.items[0].name, "a/b");
        assert_non_null(b.items[0].snapshot);
        assert_int_equal(b.items[0].length_bytes, 7);
        assert_string_equal(b.items[1].name, "c\x01%");
        assert_true(b.items[0].page && !b.items[0].archived);
        assert_true(!b.items[1].page && b.items[1].archived);
        assert_string_equal(b.next_marker, "m");
        upl_blob_items_clear(&b);
        assert_int_equal(upl_answer_blobs(bad, sizeof bad - 1, &b, NULL), -EBADMSG);
        assert_int_equal(upl_answer_blobs(nul, sizeof nul - 1, &b, NULL), -EBADMSG);
}

static void test_container_lists_are_read(void **state)
{
        static const char good[] =
                "<EnumerationResults><Prefix>x</Prefix><Containers><Container><Name>attic</Name>"
                "<Properties><Etag>e</Etag></Properties></Container><Container><Name>$root</Name>"
                "</Container></Containers><NextMarker/></EnumerationResults>";
        static const char bad[] =
                "<EnumerationResults><Containers><Container><Name/></Container></Containers>"
                "</EnumerationResults>";
        struct upl_container_names c;

        assert_int_equal(upl_answer_containers(good, sizeof good - 1, &c, NULL), 0);
        assert_int_equal(c.n, 2);
        assert_string_equal(c.items[0], "attic");
        assert_string_equal(c.items[1], "$root");
        assert_null(c.next_marker);
        upl_container_names_clear(&c);
        assert_int_equal(upl_answer_containers(bad, sizeof bad - 1, &c, NULL), -EBADMSG);
}

static void test_looking_at_a_blob(void **state)
{
        struct upl_headers h = { 0 };
        struct upl_blob_look look;

        assert_int_equal(upl_headers_set(&h, "Content-Length", "12"), 0);
        assert_int_equal(upl_blob_look(&h, &look), -EBADMSG);
        assert_int_equal(upl_headers_set(&h, "ETag", "\"0x1\""), 0);
        assert_int_equal(upl_blob_look(&h, &look), 0);
        assert_int_equal(look.length_bytes, 12);
        assert_false(look.has_md5);
        assert_int_equal(upl_headers_set(&h, "Content-MD5", "AQAAAAAAAAAAAAAAAAAAAA=="), 0);
        assert_int_equal(upl_blob_look(&h, &look), 0);
        assert_true(look.has_md5);
        assert_int_equal(look.md5[0], 1);
        assert_int_equal(upl_headers_set(&h, "Content-MD5", "AQAAAA=="), 0);
        assert_int_equal(upl_blob_look(&h, &look), -EBADMSG);
        upl_headers_clear(&h);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names_are_encoded_and_never_decoded),
                cmocka_unit_test(test_endpoints),
                cmocka_unit_test(test_headers_cannot_be_smuggled),
                cmocka_unit_test(test_shared_key_text_is_the_documented_one),
                cmocka_unit_test(test_shared_key_covers_length_and_standard_headers),
                cmocka_unit_test(test_credentials),
                cmocka_unit_test(test_block_list_body_has_its_own_md5),
                cmocka_unit_test(test_content_types_are_guessed_by_extension),
                cmocka_unit_test(test_error_codes),
                cmocka_unit_test(test_block_lists_are_read),
                cmocka_unit_test(test_page_ranges_are_read),
                cmocka_unit_test(test_blob_lists_are_read),
                cmocka_unit_test(test_container_lists_are_read),
                cmocka_unit_test(test_looking_at_a_blob),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
