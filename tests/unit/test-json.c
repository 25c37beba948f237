/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The writer of JSON makes the text that jansson makes, of whatever there can be in a tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"

#define FLAGS (JSON_COMPACT | JSON_ENSURE_ASCII | JSON_SORT_KEYS)

static void check(json_t *j)
{
        char *theirs = json_dumps(j, FLAGS), *ours = bth_json_to_text(j);

        assert_non_null(j);
        assert_non_null(theirs);
        assert_non_null(ours);
        assert_string_equal(ours, theirs);
        free(ours);
        free(theirs);
        json_decref(j);
}

static void test_values(void **state)
{
        (void)state;
        check(json_object());
        check(json_array());
        check(json_pack("[i,I,b,b,n,f,f]", -1, (json_int_t)INT64_MIN, 1, 0, 1.0, -2.5e-7));
        check(json_pack("{s:i,s:i,s:i,s:[{}]}", "b", 1, "a", 2, "", 3, "ab"));
        check(json_pack("[s]", "\"\\/\b\f\n\r\t\x01\x1f\x7f <>&'"));
        check(json_pack("[s,s,s]", "\xc3\xa9\xdf\xbf", "\xe2\x82\xac x \xef\xbf\xbd",
                        "\xf0\x9f\x92\xbe\xf4\x8f\xbf\xbf"));
        check(json_pack("[s%]", "a\0b", (size_t)3));
}

static void test_large(void **state)
{
        json_t *object = json_object(), *deep = json_array();
        char text[5000];

        (void)state;
        for (unsigned i = 0; i < 300; i++) { /* more members than are sorted in place */
                (void)snprintf(text, sizeof text, "%u", i * 7919 % 300);
                assert_int_equal(json_object_set_new(object, text, json_integer(i)), 0);
        }
        check(object);
        memset(text, 'x', sizeof text - 1);
        text[sizeof text - 1] = '\0';
        check(json_pack("[s,s]", text, text));
        for (unsigned i = 0; i < 1000; i++)
                deep = json_pack("[o]", deep);
        check(deep);
}

static uint32_t roll(uint32_t *state)
{
        *state = *state * 1664525u + 1013904223u;
        return *state >> 8;
}

static json_t *grow(uint32_t *dice, unsigned depth)
{
        static const char *const texts[] = { "",
                                             "plain",
                                             "with \"quotes\"",
                                             "\\back",
                                             "\xc3\xbc\xc3\xa4",
                                             "\xf0\x9f\x92\xbe",
                                             "line\n2",
                                             "\x02" };
        json_t *j;

        switch (roll(dice) % (depth < 6 ? 8 : 5)) {
        case 0:
                return json_null();
        case 1:
                return json_boolean(roll(dice) & 1);
        case 2:
                return json_integer((json_int_t)roll(dice) - (1 << 23));
        case 3:
                return json_real((double)roll(dice) / 7);
        case 4:
                return json_string(texts[roll(dice) % 8]);
        case 5:
                j = json_array();
                for (unsigned n = roll(dice) % 6; n > 0; n--)
                        (void)json_array_append_new(j, grow(dice, depth + 1));
                return j;
        default:
                j = json_object();
                for (unsigned n = roll(dice) % 60; n > 0; n--)
                        (void)json_object_set_new(j, texts[roll(dice) % 8], grow(dice, depth + 1));
                return j;
        }
}

static void test_any_tree(void **state)
{
        uint32_t dice = 7;

        (void)state;
        for (unsigned i = 0; i < 300; i++)
                check(json_pack("[o]", grow(&dice, 0)));
}

static void test_refuses(void **state)
{
        json_t *j = json_array();

        (void)state;
        assert_null(bth_json_to_text(NULL));
        assert_null(bth_json_to_text(json_true()));
        (void)json_array_append_new(j, json_string_nocheck("\xc3("));
        assert_null(bth_json_to_text(j));
        (void)json_array_set_new(j, 0, json_string_nocheck("\xe2\x82"));
        assert_null(bth_json_to_text(j));
        json_decref(j);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_values),
                cmocka_unit_test(test_large),
                cmocka_unit_test(test_any_tree),
                cmocka_unit_test(test_refuses),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
