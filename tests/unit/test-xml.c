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
                assert_string_equal(b.data, expected);
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

static long peak_kib(void)
{
        struct rusage u;

        assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
        return u.ru_maxrss;
}

/* The alarm is a guard against hanging, not a measurement. */
static void test_bombs(void **state)
{
        static const char laughs[] =
                "<!DOCTYPE l [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'>"
                "<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;'>]><l>&c;</l>";
        const struct med_xml_handler deaf = { 0 };
        long before = peak_kib();
        struct bth_error e = BTH_ERROR_INIT;
        struct med_xml *x = NULL;
        char piece[4096];
        int r = 0;

        alarm(20);
        assert_refused(laughs, BTH_REASON_XML_FORBIDDEN, 1);

        assert_int_equal(med_xml_new(&deaf, NULL, "deep.xml", 0, &x), 0);
        for (int i = 0; r == 0 && i < 100000; i++)
                r = med_xml_feed(x, "<a>", 3, &e);
        assert_int_equal(r, -EBADMSG);
        assert_int_equal(e.reason, BTH_REASON_LIMIT_EXCEEDED);
        assert_int_equal(med_xml_feed(x, "<a>", 3, &e), -EBADMSG); /* and stays ended */
        x = med_xml_free(x);

        memset(piece, 'x', sizeof piece);
        assert_int_equal(med_xml_new(&deaf, NULL, "long.xml", 0, &x), 0);
        r = med_xml_feed(x, "<a b='", 6, &e);
        for (uint64_t sent = 0; r == 0 && sent < UINT64_C(1) << 30; sent += sizeof piece)
                r = med_xml_feed(x, piece, sizeof piece, &e);
        assert_int_equal(r, -EBADMSG);
        x = med_xml_free(x);
        alarm(0);
        assert_true(peak_kib() - before < 96 * 1024);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_read),    cmocka_unit_test(test_fragments),
                cmocka_unit_test(test_refused), cmocka_unit_test(test_handler_stops),
                cmocka_unit_test(test_bombs),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
