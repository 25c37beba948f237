/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sidecar, bloblist - the samples byte for byte, what is refused, and the way there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/digest.h"
#include "media/bloblist.h"
#include "media/sidecar.h"
#include "tests/unit/heard.h"

static void assert_md5(const struct bth_buf *b, const char *hex)
{
        uint8_t md5[BTH_MD5_BYTES];
        char text[2 * BTH_MD5_BYTES + 1];

        assert_int_equal(bth_digest_of(BTH_DIGEST_MD5, b->data, b->length, md5), 0);
        assert_string_equal(bth_hex_encode(md5, sizeof md5, text), hex);
}

/* Specification 3.4: length and hash are true. */
static void test_samples(void **state)
{
        struct med_metadata_item item = { (char *)"project", (char *)"willow" };
        const struct med_metadata m = { &item, 1 };
        const struct med_properties p = { .values = { (char *)"text/plain" } };
        _cleanup_buf_ struct bth_buf a = BTH_BUF_INIT, b = BTH_BUF_INIT;
        struct med_metadata m2;
        struct med_properties p2;

        assert_int_equal(med_metadata_write(&a, &m), 0);
        assert_int_equal(a.length, 88);
        assert_md5(&a, "EA2E5D436F5095E673CE009F3EAE6341");
        assert_int_equal(med_properties_write(&b, &p), 0);
        assert_int_equal(b.length, 106);
        assert_md5(&b, "40CFDEADAA82F319B5A74B43C360AC2D");
        assert_int_equal(med_metadata_parse(a.data, a.length, "m", &m2, NULL), 0);
        assert_int_equal(m2.n_items, 1);
        assert_string_equal(m2.items[0].name, "project");
        assert_string_equal(m2.items[0].value, "willow");
        med_metadata_clear(&m2);
        assert_int_equal(med_properties_parse(b.data, b.length, "p", &p2, NULL), 0);
        assert_string_equal(p2.values[MED_PROPERTY_CONTENT_TYPE], "text/plain");
        med_properties_clear(&p2);
}

static void test_metadata_refused(void **state)
{
        static const struct {
                const char *text;
                uint64_t line;
        } cases[] = {
                { "<Properties/>", 1 },
                { "<Metadata>\n<a-b>x</a-b></Metadata>", 2 },
                { "<Metadata>\n<a>x</a>\n<A>y</A></Metadata>", 3 },
                { "<Metadata><a><b/></a></Metadata>", 1 },
                { "<Metadata a='1'/>", 1 },
                { "<Metadata><a>x&#9;y</a></Metadata>", 1 },
                { "<Metadata>", 1 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct bth_error e = BTH_ERROR_INIT;
                struct med_metadata m;

                assert_int_equal(
                        med_metadata_parse(cases[i].text, strlen(cases[i].text), "f.xml", &m, &e),
                        -EBADMSG);
                assert_string_equal(e.object, "f.xml");
                assert_int_equal(e.line, cases[i].line);
        }
}

/* A megabyte of names, which would take a minute to compare with each other, ends at once. */
static void test_metadata_limit(void **state)
{
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
        struct bth_error e = BTH_ERROR_INIT;
        struct med_metadata m;

        assert_int_equal(bth_buf_add_string(&b, "<Metadata>\n"), 0);
        for (int i = 0; b.length + 32 < MED_SIDECAR_MAX_BYTES; i++)
                assert_int_equal(bth_buf_add_format(&b, "<a%x/>\n", i), 0);
        assert_int_equal(bth_buf_add_string(&b, "</Metadata>"), 0);
        assert_int_equal(med_metadata_parse(b.data, b.length, "f.xml", &m, &e), -EBADMSG);
        assert_int_equal(e.reason, BTH_REASON_LIMIT_EXCEEDED);
        assert_int_equal(e.line, MED_METADATA_MAX_ITEMS + 2);
        assert_int_equal(med_metadata_parse(b.data, MED_SIDECAR_MAX_BYTES + 1, "f.xml", &m, &e),
                         -EFBIG);
}

static void test_properties(void **state)
{
        static const char export[] =
                "<Properties><Last-Modified>x</Last-Modified><Etag>\"0x1\"</Etag>"
                "<Content-Length>5</Content-Length><Cache-Control/>"
                "<Content-MD5>ywjKSnu1+Wg8GRM6hIcspw==</Content-MD5></Properties>";
        static const char *const bad[] = {
                "<Properties><Content-MD5>ywjKSnu1</Content-MD5></Properties>",
                "<Properties><Content-Disposition>x</Content-Disposition></Properties>",
                "<Properties><Etag>1</Etag><Etag>2</Etag></Properties>",
        };
        struct med_properties p;

        assert_int_equal(med_properties_parse(export, sizeof export - 1, "p", &p, NULL), 0);
        assert_string_equal(p.values[MED_PROPERTY_ETAG], "\"0x1\"");
        assert_null(p.values[MED_PROPERTY_CACHE_CONTROL]);
        med_properties_clear(&p);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(med_properties_parse(bad[i], strlen(bad[i]), "p", &p, NULL),
                                 -EBADMSG);
}

static void random_text(char *out, size_t n, unsigned *seed)
{
        static const char *const pieces[] = { "a", "Z",  "9", "&", "<",
                                              ">", "\"", "'", "ä", "\xf0\x9f\x98\x80",
                                              "-" };

        out[0] = '\0';
        while (strlen(out) + 5 < n && rand_r(seed) % 12 != 0)
                strcat(out, pieces[(unsigned)rand_r(seed) % ARRAY_SIZE(pieces)]);
}

static void test_metadata_round_trip(void **state)
{
        unsigned seed = 42;

        for (int round = 0; round < 300; round++) {
                struct med_metadata_item items[8];
                char names[8][16], values[8][80];
                const size_t n = (unsigned)rand_r(&seed) % 9;
                const struct med_metadata in = { items, n };
                _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
                struct med_metadata out;

                for (size_t i = 0; i < n; i++) {
                        snprintf(names[i], sizeof names[i], "_n%zu", i);
                        random_text(values[i], sizeof values[i], &seed);
                        items[i] = (struct med_metadata_item){ names[i], values[i] };
                }
                assert_int_equal(med_metadata_write(&b, &in), 0);
                assert_int_equal(med_metadata_parse(b.data, b.length, "m", &out, NULL), 0);
                assert_int_equal(out.n_items, n);
                for (size_t i = 0; i < n; i++) {
                        assert_string_equal(out.items[i].name, names[i]);
                        assert_string_equal(out.items[i].value, values[i]);
                }
                med_metadata_clear(&out);
        }
}

static struct med_bloblist *parse_list(const char *text, struct heard *h)
{
        const struct med_findings to = { .fn = hear, .userdata = h, .object = "list.xml" };
        struct bth_error e = BTH_ERROR_INIT;
        struct med_bloblist *l = NULL;
        char line[1024];

        *h = (struct heard){ 0 };
        if (med_bloblist_parse(text, strlen(text), &to, &l, &e) < 0)
                fail_msg("%s", bth_error_to_string(&e, line, sizeof line));
        return l;
}

/* The sample of specification 7.8. */
static void test_bloblist(void **state)
{
        struct heard h;
        _cleanup_(med_bloblist_freep) struct med_bloblist *l = parse_list(
                "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<BlobList>\n"
                "<BlobPathPrefix>/attic/scans/</BlobPathPrefix>\n"
                "<BlobPath>attic/notes/a.txt</BlobPath>\n"
                "<BlobPath IncludeSnapshots=\"false\">attic/b</BlobPath>\n"
                "<BlobPath SnapshotTime=\"2031-04-09T01:02:03.0000000Z\">attic/c</BlobPath>\n"
                "</BlobList>",
                &h);
        const struct med_selector *s = l->selectors;

        assert_int_equal(l->n_selectors, 4);
        assert_int_equal(h.n, 0);
        assert_true(med_selector_matches(&s[0], "attic", "scans/x", NULL));
        assert_true(med_selector_matches(&s[0], "attic", "scans/x", "2031"));
        assert_false(med_selector_matches(&s[0], "attic", "scan", NULL));
        assert_true(med_selector_matches(&s[1], "attic", "notes/a.txt", "2031"));
        assert_true(med_selector_matches(&s[2], "attic", "b", NULL));
        assert_false(med_selector_matches(&s[2], "attic", "b", "2031"));
        assert_true(med_selector_matches(&s[3], "attic", "c", "2031-04-09T01:02:03.0000000Z"));
        assert_false(med_selector_matches(&s[3], "attic", "c", NULL));
}

/* The table of prefixes in specification 7.8. */
static void test_prefixes(void **state)
{
        static const struct {
                const char *prefix, *container, *name;
                bool match;
        } cases[] = {
                { "/", "any", "x", true },
                { "/", "$root", "x", true },
                { "/$root/", "$root", "x", true },
                { "/$root/", "root", "x", false },
                { "/book", "books", "x", true },
                { "/book", "boo", "x", false },
                { "/book/", "book", "x", true },
                { "/book/", "books", "x", false },
                { "/book/dra", "book", "drama", true },
                { "/book/dra", "book", "dr", false },
                { "book", "book", "x", false },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const struct med_selector s = { .kind = MED_SELECT_BLOB_PREFIX,
                                                .path = (char *)(uintptr_t)cases[i].prefix };

                assert_int_equal(med_selector_matches(&s, cases[i].container, cases[i].name, NULL),
                                 cases[i].match);
        }
}

static void test_data_box_list(void **state)
{
        struct heard h;
        _cleanup_(med_bloblist_freep) struct med_bloblist *l = parse_list(
                "<BlobList><BlobPath>/attic/a</BlobPath><blobpathprefix>/x</blobpathprefix>"
                "<BlobPath>nothing</BlobPath><Odd/></BlobList>\n"
                "<AzureFileList><FilePath>/share/f</FilePath>"
                "<FilePathPrefix>/share/d/</FilePathPrefix></AzureFileList>",
                &h);
        _cleanup_(med_bloblist_freep) struct med_bloblist *again = NULL;
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;

        assert_int_equal(l->n_selectors, 4);
        assert_int_equal(l->n_errors, 1);
        assert_string_equal(l->selectors[0].path, "attic/a");
        assert_int_equal(l->selectors[2].kind, MED_SELECT_FILE);
        assert_string_equal(h.names, "bloblist-case:1 bloblist-path:1 bloblist-unknown-element:1 ");
        assert_int_equal(med_bloblist_write(&b, l, false), -EINVAL);
        b.length = 0;
        assert_int_equal(med_bloblist_write(&b, l, true), 0);
        again = parse_list(b.data, &h);
        assert_int_equal(again->n_selectors, 4);
        for (size_t i = 0; i < 4; i++) {
                assert_int_equal(again->selectors[i].kind, l->selectors[i].kind);
                assert_string_equal(again->selectors[i].path, l->selectors[i].path);
        }
}

static void test_list_round_trip(void **state)
{
        unsigned seed = 9;

        for (int round = 0; round < 200; round++) {
                struct med_selector s[6] = { 0 };
                struct med_bloblist in = { .selectors = s, .n_selectors = 6 };
                char paths[6][96];
                _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
                _cleanup_(med_bloblist_freep) struct med_bloblist *out = NULL;
                struct heard h;

                for (size_t i = 0; i < 6; i++) {
                        char tail[64];

                        random_text(tail, sizeof tail, &seed);
                        s[i].kind = (enum med_selector_kind)(rand_r(&seed) % 2);
                        snprintf(paths[i], sizeof paths[i], "%satt/x%s",
                                 s[i].kind == MED_SELECT_BLOB ? "" : "/", tail);
                        s[i].path = paths[i];
                        if (s[i].kind == MED_SELECT_BLOB && rand_r(&seed) % 3 == 0)
                                s[i].snapshot = (char *)"2031-04-09T01:02:03.0000000Z";
                        else if (s[i].kind == MED_SELECT_BLOB)
                                s[i].no_snapshots = rand_r(&seed) % 2;
                }
                assert_int_equal(med_bloblist_write(&b, &in, round % 2), 0);
                out = parse_list(b.data, &h);
                assert_int_equal(out->n_selectors, 6);
                for (size_t i = 0; i < 6; i++) {
                        assert_int_equal(out->selectors[i].kind, s[i].kind);
                        assert_string_equal(out->selectors[i].path, s[i].path);
                        assert_int_equal(out->selectors[i].no_snapshots, s[i].no_snapshots);
                        assert_true(bth_streq(out->selectors[i].snapshot, s[i].snapshot));
                }
        }
}

static void test_list_values(void **state)
{
        static const char text[] = "<BlobList>\n"
                                   "<BlobPath IncludeSnapshots=\"no\">c/a </BlobPath>\n"
                                   "<BlobPath IncludeSnapshots=\"False\">\n  c/b \n</BlobPath>\n"
                                   "<BlobPath IncludeSnapshots=\"true\" Odd=\"1\">c/c</BlobPath>\n"
                                   "<BlobPathPrefix>c</BlobPathPrefix>\n"
                                   "<Strange/>\n"
                                   "</BlobList>";
        struct heard h = { 0 };
        const struct med_findings to = { .fn = hear, .userdata = &h, .object = "list.xml" };
        _cleanup_(med_bloblist_freep) struct med_bloblist *l = NULL;
        struct bth_error e = BTH_ERROR_INIT;

        assert_int_equal(med_bloblist_parse(text, sizeof text - 1, &to, &l, &e), 0);
        assert_string_equal(h.names, "bloblist-value:2 bloblist-unknown-attribute:6 "
                                     "bloblist-path:7 bloblist-unknown-element:8 ");
        assert_int_equal(l->n_selectors, 3);
        assert_int_equal(l->n_errors, 1);
        assert_false(l->selectors[0].no_snapshots);
        assert_true(l->selectors[1].no_snapshots);
        assert_string_equal(l->selectors[0].path, "c/a ");
        assert_string_equal(l->selectors[1].path, "c/b");
        assert_false(l->selectors[2].no_snapshots);
}

static void test_list_refused(void **state)
{
        static const char *const bad[] = { "<Other/>", "",
                                           "<BlobList><BlobPath><b/></BlobPath></BlobList>",
                                           "<BlobList>" };

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct bth_error e = BTH_ERROR_INIT;
                struct med_bloblist *l = NULL;

                assert_int_equal(med_bloblist_parse(bad[i], strlen(bad[i]), NULL, &l, &e),
                                 -EBADMSG);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_samples),       cmocka_unit_test(test_metadata_refused),
                cmocka_unit_test(test_properties),    cmocka_unit_test(test_metadata_round_trip),
                cmocka_unit_test(test_bloblist),      cmocka_unit_test(test_prefixes),
                cmocka_unit_test(test_data_box_list), cmocka_unit_test(test_list_round_trip),
                cmocka_unit_test(test_list_refused),  cmocka_unit_test(test_metadata_limit),
                cmocka_unit_test(test_list_values),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
