/* SPDX-License-Identifier: GPL-3.0-or-later */
/* berthctl's requests against the daemon's table; and how it writes tables, bars and values. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/secret.h"
#include "ctl/ctl-client.h"
#include "ctl/ctl-table.h"
#include "daemon/verb.h"

/* ---- requests ---- */

/* The daemon's verb of this method and path, or _DMN_VERB_MAX. */
static enum dmn_verb find_verb(const char *method, const char *path)
{
        int i = 0;

        while (i < (int)_DMN_VERB_MAX &&
               (strcmp(dmn_verb_info((enum dmn_verb)i)->method, method) != 0 ||
                strcmp(dmn_verb_info((enum dmn_verb)i)->path, path) != 0))
                i++;
        return (enum dmn_verb)i;
}

/* All that berthctl asks is there, and all that people may ask of the daemon berthctl can. */
static void test_requests_are_the_verbs(void **state)
{
        bool asked[_DMN_VERB_MAX] = { false };

        (void)state;
        for (int i = 0; i < (int)_CTL_REQUEST_MAX; i++) {
                const enum dmn_verb verb = find_verb(ctl_request_method((enum ctl_request)i),
                                                     ctl_request_path((enum ctl_request)i));

                assert_int_not_equal(verb, _DMN_VERB_MAX);
                assert_false(asked[verb]);
                asked[verb] = true;
        }
        for (int i = 0; i < (int)_DMN_VERB_MAX; i++)
                if (!asked[i] && dmn_verb_info((enum dmn_verb)i)->right != DMN_RIGHT_STATION)
                        fail_msg("berthctl cannot ask for %s",
                                 dmn_verb_info((enum dmn_verb)i)->path);
        assert_null(ctl_request_path(_CTL_REQUEST_MAX));
        assert_null(ctl_request_method(_CTL_REQUEST_INVALID));
}

static void test_json_string(void **state)
{
        static const char text[] = "a\"b\\c\n\x01\0d\xc3\xa4";
        _cleanup_buf_ struct bth_buf b = { .secret = true };
        _cleanup_json_ json_t *array = NULL;
        const json_t *first;

        (void)state;
        assert_int_equal(bth_buf_add_string(&b, "["), 0);
        assert_int_equal(ctl_json_add_string(&b, text, sizeof text - 1), 0);
        assert_int_equal(bth_buf_add_string(&b, ","), 0);
        assert_int_equal(ctl_json_add_string(&b, "", 0), 0);
        assert_int_equal(bth_buf_add_string(&b, "]"), 0);
        array = json_loadb(b.data, b.length, JSON_ALLOW_NUL, NULL);
        assert_int_equal(json_array_size(array), 2);
        first = json_array_get(array, 0);
        assert_int_equal(json_string_length(first), sizeof text - 1);
        assert_memory_equal(json_string_value(first), text, sizeof text - 1);
        assert_string_equal(json_string_value(json_array_get(array, 1)), "");
}

/* ---- text ---- */

static void test_columns(void **state)
{
        (void)state;
        assert_int_equal(ctl_text_columns(""), 0);
        assert_int_equal(ctl_text_columns("abc"), 3);
        assert_int_equal(ctl_text_columns("ä…█"), 3);
        assert_int_equal(ctl_text_columns("短い"), 4);
        assert_int_equal(ctl_text_columns("e\xcc\x81"), 1);
        assert_int_equal(ctl_text_columns("\xf0\x9f\x92\xbe"), 2); /* a floppy disk */
}

static void check_cut(const char *text, size_t columns, bool right, bool fill, const char *wanted)
{
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;

        assert_int_equal(ctl_text_add(&b, text, columns, right, fill), 0);
        assert_string_equal(b.data ? b.data : "", wanted);
}

static void test_cut(void **state)
{
        (void)state;
        check_cut("abc", 5, false, true, "abc  ");
        check_cut("abc", 5, true, true, "  abc");
        check_cut("abc", 5, true, false, "abc");
        check_cut("abc", 3, false, true, "abc");
        check_cut("abcd", 3, false, true, "ab…");
        check_cut("短短短", 5, false, true, "短短…");
        check_cut("短短短", 4, false, true, "短… ");
        check_cut("短", 1, false, true, "…");
        check_cut("abc", 0, false, true, "");
        check_cut("e\xcc\x81x", 1, false, true, "…");
}

static const struct ctl_column columns[] = {
        { "NAME", .may_shrink = true },
        { "N", .to_right = true },
        { "WHAT", .may_shrink = true },
};

static void fill(struct ctl_table *t)
{
        ctl_table_add(t, "a long name");
        ctl_table_add_format(t, "%d", 100);
        ctl_table_add(t, "what it does, in many words");
        ctl_table_add(t, NULL);
        ctl_table_add(t, "7");
        ctl_table_add(t, "\x1b[31m");
}

static void check_lines(size_t width, const char *wanted)
{
        _cleanup_table_ struct ctl_table t = CTL_TABLE(columns);
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;

        fill(&t);
        assert_int_equal(ctl_table_lines(&t, width, &b), 0);
        assert_string_equal(b.data, wanted);
}

static void test_table(void **state)
{
        (void)state;
        check_lines(0, "NAME           N  WHAT\n"
                       "a long name  100  what it does, in many words\n"
                       "-              7  \\x1b[31m\n");
        check_lines(30, "NAME           N  WHAT\n"
                        "a long name  100  what it doe…\n"
                        "-              7  \\x1b[31m\n");
        check_lines(24, "NAME         N  WHAT\n"
                        "a long n…  100  what it…\n"
                        "-            7  \\x1b[31m\n");
        /* What cannot shrink any more is cut. */
        check_lines(10, "NAME     …\n"
                        "a long … …\n"
                        "-        …\n");
}

static void test_facts(void **state)
{
        _cleanup_table_ struct ctl_table t = CTL_TABLE(ctl_fact_columns);
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;

        (void)state;
        ctl_fact(&t, "Bay", "A1");
        ctl_fact(&t, "Job", "");
        ctl_fact(&t, "Job", NULL);
        ctl_fact_format(&t, "Temperature", "%d degrees", 31);
        assert_int_equal(ctl_table_lines(&t, 0, &b), 0);
        assert_string_equal(b.data, "Bay          A1\nTemperature  31 degrees\n");
}

/* ---- values ---- */

static void test_durations(void **state)
{
        static const struct {
                uint64_t seconds;
                const char *text;
        } cases[] = { { 0, "0 s" },           { 119, "119 s" },
                      { 120, "2 min" },       { 7199, "120 min" },
                      { 7200, "2 h 00 min" }, { 11100, "3 h 05 min" },
                      { 360000, "4 days" },   { UINT64_MAX, "213503982334601 days" } };
        char text[CTL_TEXT_MAX];

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                assert_string_equal(ctl_duration_text(cases[i].seconds, text), cases[i].text);
}

static void test_values(void **state)
{
        char text[CTL_TEXT_MAX];

        (void)state;
        assert_string_equal(ctl_rate_text(412000000, text), "412 MB/s");
        assert_string_equal(ctl_rate_text(0, text), "0 bytes/s");
        assert_string_equal(ctl_rate_text(UINT64_MAX, text), "18.4 EB/s");
        assert_string_equal(ctl_time_text("2031-04-09T07:15:02.118000Z", text),
                            "2031-04-09 07:15:02Z");
        assert_string_equal(ctl_time_text("", text), "");
        assert_string_equal(ctl_time_text("yesterday\x1b", text), "yesterday\\x1b");
}

static void test_members(void **state)
{
        _cleanup_json_ json_t *o =
                json_pack("{s:s, s:i, s:i, s:n}", "t", "x", "n", 7, "m", -1, "z");
        uint64_t v = 99;

        (void)state;
        assert_string_equal(ctl_text_of(o, "t"), "x");
        assert_string_equal(ctl_text_of(o, "n"), "");
        assert_string_equal(ctl_text_of(NULL, "n"), "");
        assert_false(ctl_number_of(o, "t", &v) || ctl_number_of(o, "m", &v) ||
                     ctl_number_of(o, "z", &v) || ctl_number_of(NULL, "n", &v));
        assert_int_equal(v, 99);
        assert_true(ctl_number_of(o, "n", &v));
        assert_int_equal(v, 7);
}

static void test_bars(void **state)
{
        char bar[3 * 20 + 1];

        (void)state;
        assert_string_equal(ctl_bar(0, 4, false, bar), "....");
        assert_string_equal(ctl_bar(49, 4, false, bar), "#...");
        assert_string_equal(ctl_bar(50, 4, false, bar), "##..");
        assert_string_equal(ctl_bar(100, 4, false, bar), "####");
        assert_string_equal(ctl_bar(1000, 4, false, bar), "####");
        assert_string_equal(ctl_bar(50, 0, false, bar), "");
        assert_string_equal(ctl_bar(0, 4, true, bar), "    ");
        assert_string_equal(ctl_bar(50, 3, true, bar), "█▌ ");
        assert_string_equal(ctl_bar(100, 4, true, bar), "████");
        for (unsigned p = 0; p <= 100; p++)
                assert_int_equal(ctl_text_columns(ctl_bar(p, 20, true, bar)), 20);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_requests_are_the_verbs),
                cmocka_unit_test(test_json_string),
                cmocka_unit_test(test_columns),
                cmocka_unit_test(test_cut),
                cmocka_unit_test(test_table),
                cmocka_unit_test(test_facts),
                cmocka_unit_test(test_durations),
                cmocka_unit_test(test_values),
                cmocka_unit_test(test_members),
                cmocka_unit_test(test_bars),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
