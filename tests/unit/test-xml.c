/* SPDX-License-Identifier: GPL-3.0-or-later */
/* xml - what is read, what is refused, and that bombs end soon and small. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>

#include "base/str.h"
#include "media/xml.h"

/* Writes what it hears as "<name a=v>text</name>". */
static int hear_start(void *userdata, const char *name, const struct med_xml_attributes *a,
                      uint64_t line)
{
        struct bth_buf *b = userdata;

        assert_int_equal(bth_buf_add_format(b, "<%s", name), 0);
        for (size_t i = 0; i < a->n; i++) {
                size_t n;
                const char *v = med_xml_attribute_value(a, i, &n);

                assert_int_equal(
                        bth_buf_add_format(b, " %s=%.*s", med_xml_attribute_name(a, i), (int)n, v),
                        0);
        }
        return bth_buf_add_string(b, ">");
}

static int hear_text(void *userdata, const char *text, size_t n)
{
        return bth_buf_add(userdata, text, n);
}

static int hear_end(void *userdata, const char *name, uint64_t line)
{
        return bth_buf_add_format(userdata, "</%s>", name);
}

static const struct med_xml_handler hearing = { hear_start, hear_text, hear_end };

static void assert_heard(const void *text, size_t n, enum med_xml_flags flags, const char *expected)
{
        for (size_t piece = 1; piece <= n; piece = piece * 3 + 1) {
                _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
                _cleanup_(med_xml_freep) struct med_xml *x = NULL;
                struct bth_error e = BTH_ERROR_INIT;

                assert_int_equal(med_xml_new(&hearing, &b, "f.xml", flags, &x), 0);
                for (size_t at = 0; at < n; at += piece)
                        assert_int_equal(
                                med_xml_feed(x, (const char *)text + at, MIN(piece, n - at), &e),
                                0);
                assert_int_equal(med_xml_finish(x, &e), 0);
                assert_string_equal(b.data ? b.data : "", expected ? expected : "");
        }
}

static void test_read(void **state)
{
        static const char plain[] = "<a x='1' y=\"&lt;&#65;\"><b>t&amp;u</b><![CDATA[<raw>]]></a>";
        static const char bom[] =
                "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<a>\xc3\xa4</a>";
        static const char utf16[] = "\xff\xfe<\0a\0>\0\xe4\0<\0/\0a\0>\0";

        assert_heard(plain, sizeof plain - 1, 0, "<a x=1 y=<A><b>t&u</b><raw></a>");
        assert_heard(bom, sizeof bom - 1, 0, "<a>\xc3\xa4</a>");
        assert_heard(utf16, sizeof utf16 - 1, 0, "<a>\xc3\xa4</a>");
}

/* What is legal though rare: all five entities in an attribute, '>' in one, UTF-16 of either order
 * without a mark and with characters of four bytes, blank lines in front, foreign prefixes. */
static void test_read_rare(void **state)
{
        static const char attribute[] = "<a p='&amp;&lt;&gt;&quot;&apos;&#x26;>x\xc3\xa4'/>";
        static const char blanks[] = "\n\r\n <?xml version='1.0' encoding = 'Utf-8' ?>\n<a/>";
        static const char little[] = "<\0a\0>\0\x3d\xd8\x00\xde<\0/\0a\0>\0";
        static const char big[] = "\0<\0a\0>\xd8\x3d\xde\x00\0<\0/\0a\0>";
        static const char big_mark[] = "\xfe\xff\0<\0a\0/\0>";
        static const char lines[] = "<a>1\r\n2\r\n</a>";
        static const char prefix[] = "<q:a q:b='1' xmlns:z='u'><z:c/></q:a>";
        static const char comment[] = "<!-- > --><a>1<!-- </a> -->2<?pi > ?>3</a><!-- -->";

        assert_heard(attribute, sizeof attribute - 1, 0, "<a p=&<>\"'&>x\xc3\xa4></a>");
        assert_heard(blanks, sizeof blanks - 1, 0, "<a></a>");
        assert_heard(little, sizeof little - 1, 0, "<a>\xf0\x9f\x98\x80</a>");
        assert_heard(big, sizeof big - 1, 0, "<a>\xf0\x9f\x98\x80</a>");
        assert_heard(big_mark, sizeof big_mark - 1, 0, "<a></a>");
        assert_heard(lines, sizeof lines - 1, 0, "<a>1\n2\n</a>");
        assert_heard(prefix, sizeof prefix - 1, 0, "<a b=1><c></c></a>");
        assert_heard(comment, sizeof comment - 1, 0, "<a>123</a>");
}

static void test_fragments(void **state)
{
        static const char two[] = "<File a='1'></File><File/>\n<CopyLog>x</CopyLog>";
        static const char declared[] = "\xef\xbb\xbf<?xml version='1.0'?>\n<A/>\n<B/>";

        assert_heard(two, sizeof two - 1, MED_XML_FRAGMENTS,
                     "<File a=1></File><File></File>\n<CopyLog>x</CopyLog>");
        assert_heard(declared, sizeof declared - 1, MED_XML_FRAGMENTS, "\n<A></A>\n<B></B>");
}

static void assert_refused(const char *text, enum bth_reason reason, uint64_t line)
{
        struct bth_error e = BTH_ERROR_INIT;
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;

        assert_int_equal(med_xml_parse(text, strlen(text), &hearing, &b, "f.xml", 0, &e), -EBADMSG);
        assert_int_equal(e.reason, reason);
        assert_string_equal(e.object, "f.xml");
        assert_int_equal(e.line, line);
}

static void test_refused(void **state)
{
        assert_refused("<a>\n<b>\n</a>", BTH_REASON_XML_SYNTAX, 3);
        assert_refused("", BTH_REASON_XML_SYNTAX, 1);
        assert_refused("plain", BTH_REASON_XML_SYNTAX, 1);
        assert_refused("<a>\n&other;</a>", BTH_REASON_XML_FORBIDDEN, 2);
        assert_refused("<!DOCTYPE a SYSTEM 'file:///etc/passwd'>\n<a/>", BTH_REASON_XML_FORBIDDEN,
                       1);
        assert_refused("<!DOCTYPE a [<!ENTITY x 'y'>]>\n<a>&x;</a>", BTH_REASON_XML_FORBIDDEN, 1);
        assert_refused("<?xml version='1.0' encoding='ISO-8859-1'?><a/>", BTH_REASON_NOT_TEXT, 1);
        assert_refused("<a/><b/>", BTH_REASON_XML_SYNTAX, 1);
        assert_refused("<a>\xff</a>", BTH_REASON_XML_SYNTAX, 1);
        assert_refused("\n\n<?xml version='1.0'\n?>\n<a>\n<b c='1'c='2'/></a>",
                       BTH_REASON_XML_SYNTAX, 6);
        assert_refused("\xff\xfe<", BTH_REASON_NOT_TEXT, 1);
        assert_refused("<a b='&other;'/>", BTH_REASON_XML_FORBIDDEN, 1);
        assert_refused("<?xml version='1.0' encoding='UTF-16'?><a/>", BTH_REASON_NOT_TEXT, 1);
        assert_refused("<a>", BTH_REASON_XML_SYNTAX, 1);
        assert_refused("<a/>text", BTH_REASON_XML_SYNTAX, 1);
}

static int stop_at_b(void *userdata, const char *name, const struct med_xml_attributes *a,
                     uint64_t line)
{
        return strcmp(name, "b") == 0 ? -ECANCELED : 0;
}

static void test_handler_stops(void **state)
{
        const struct med_xml_handler stopping = { .start = stop_at_b };
        struct bth_error e = BTH_ERROR_INIT;

        assert_int_equal(med_xml_parse("<a><b/><c", 9, &stopping, NULL, NULL, 0, &e), -ECANCELED);
}

/* -- bombs: each ends in an error, soon and small. The alarm guards against hanging; it measures
 * nothing -- */

#define BOMB_MEMORY_KIB (32L * 1024)
#define BOMB_BYTES      (UINT64_C(1) << 30)

static long peak_kib(void)
{
        struct rusage u;

        assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
        return u.ru_maxrss;
}

/* Feeds `head`, then `piece` again and again up to a gigabyte, until it is refused. */
static void assert_bomb(const char *head, const char *piece, enum bth_reason reason)
{
        const struct med_xml_handler deaf = { 0 };
        _cleanup_(med_xml_freep) struct med_xml *x = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        const size_t n = strlen(piece);
        long before = peak_kib();
        int r;

        alarm(20);
        assert_int_equal(med_xml_new(&deaf, NULL, "bomb.xml", 0, &x), 0);
        r = med_xml_feed(x, head, strlen(head), &e);
        for (uint64_t sent = 0; r == 0 && sent < BOMB_BYTES; sent += n)
                r = med_xml_feed(x, piece, n, &e);
        assert_int_equal(r, -EBADMSG);
        assert_int_equal(e.reason, reason);
        assert_string_equal(e.object, "bomb.xml");
        assert_int_equal(e.line, 1);
        assert_int_equal(med_xml_feed(x, "<a>", 3, &e), -EBADMSG); /* and stays ended */
        assert_int_equal(med_xml_finish(x, &e), -EBADMSG);
        alarm(0);
        assert_true(peak_kib() - before < BOMB_MEMORY_KIB);
}

static void test_bombs(void **state)
{
        static const char laughs[] =
                "<!DOCTYPE l [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'>"
                "<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;'>]><l>&c;</l>";
        char piece[4097];

        assert_refused(laughs, BTH_REASON_XML_FORBIDDEN, 1);
        assert_bomb("", "<a>", BTH_REASON_LIMIT_EXCEEDED);

        memset(piece, 'x', sizeof piece - 1);
        piece[sizeof piece - 1] = '\0';
        assert_bomb("<a b='", piece, BTH_REASON_LIMIT_EXCEEDED);
        assert_bomb("<a", piece, BTH_REASON_LIMIT_EXCEEDED);
        assert_bomb("<a ", piece, BTH_REASON_LIMIT_EXCEEDED);
        assert_bomb("</", piece, BTH_REASON_LIMIT_EXCEEDED);
        assert_bomb("<a>", piece, BTH_REASON_LIMIT_EXCEEDED);
        assert_bomb("<a>&", piece, BTH_REASON_LIMIT_EXCEEDED);
        assert_bomb("<!-- ", piece, BTH_REASON_LIMIT_EXCEEDED);
        assert_bomb("<a><!-- ", piece, BTH_REASON_LIMIT_EXCEEDED);
        assert_bomb("<?p ", piece, BTH_REASON_LIMIT_EXCEEDED);
        assert_bomb("<!DOCTYPE ", piece, BTH_REASON_LIMIT_EXCEEDED);
        assert_bomb("<a><![CDATA[", piece, BTH_REASON_LIMIT_EXCEEDED);
        assert_bomb("<?xml ", piece, BTH_REASON_XML_SYNTAX);
}

/* A million attributes in one tag, which libxml2 2.9 would compare each with each. */
static void test_bomb_of_attributes(void **state)
{
        const struct med_xml_handler deaf = { 0 };
        _cleanup_(med_xml_freep) struct med_xml *x = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        int r;

        alarm(20);
        assert_int_equal(med_xml_new(&deaf, NULL, "bomb.xml", 0, &x), 0);
        r = med_xml_feed(x, "<a", 2, &e);
        for (unsigned i = 0; r == 0 && i < 1000000; i++) {
                char piece[32];
                int n = snprintf(piece, sizeof piece, " a%u=''", i);

                r = med_xml_feed(x, piece, (size_t)n, &e);
        }
        assert_int_equal(r, -EBADMSG);
        assert_int_equal(e.reason, BTH_REASON_LIMIT_EXCEEDED);
        x = med_xml_free(x);

        assert_int_equal(med_xml_new(&deaf, NULL, "bomb.xml", 0, &x), 0);
        r = med_xml_feed(x, "<a", 2, &e);
        for (unsigned i = 0; r == 0 && i <= MED_XML_MAX_ATTRIBUTES; i++) {
                char piece[32];
                int n = snprintf(piece, sizeof piece, " a%u=''", i);

                r = med_xml_feed(x, piece, (size_t)n, &e);
        }
        assert_int_equal(r, 0);
        assert_int_equal(med_xml_feed(x, "/>", 2, &e), 0);
        assert_int_equal(med_xml_finish(x, &e), -EBADMSG);
        assert_int_equal(e.reason, BTH_REASON_LIMIT_EXCEEDED);
        alarm(0);
}

/* The virtual root cannot be closed from inside. */
static void test_fragments_closed(void **state)
{
        static const char text[] = "<a/></fragments><fragments><b/>";
        struct bth_error e = BTH_ERROR_INIT;
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;

        assert_int_equal(
                med_xml_parse(text, sizeof text - 1, &hearing, &b, "f.xml", MED_XML_FRAGMENTS, &e),
                -EBADMSG);
        assert_string_equal(b.data, "<a></a>");
        assert_string_equal(e.sentence, "an end tag has no start tag");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_read),
                cmocka_unit_test(test_fragments),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_handler_stops),
                cmocka_unit_test(test_bombs),
                cmocka_unit_test(test_read_rare),
                cmocka_unit_test(test_bomb_of_attributes),
                cmocka_unit_test(test_fragments_closed),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
