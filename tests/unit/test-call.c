/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A call's answer with a list that is text already. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/verb.h"

static struct dmn_call *make(const char *list)
{
        struct dmn_call *c = NULL;

        assert_int_equal(
                dmn_call_new(DMN_VERB_JOBS_LIST, "x", DMN_RIGHT_READ, NULL, NULL, NULL, &c), 0);
        if (list) {
                c->list_name = "jobs";
                assert_int_equal(bth_buf_add_string(&c->list, list), 0);
        }
        return c;
}

static void check(const char *list, json_t *answer, const char *wanted)
{
        struct dmn_call *c = make(list);
        char *text = dmn_call_written(c, answer);

        assert_non_null(text);
        assert_string_equal(text, wanted);
        free(text);
        json_decref(answer);
        (void)dmn_call_free(c);
}

static void test_text(void **state)
{
        (void)state;
        check(NULL, json_pack("{s:i}", "n", 1), "{\"n\":1}");
        check("", json_object(), "{\"jobs\":[]}");
        check("", json_pack("{s:i}", "next", 7), "{\"jobs\":[],\"next\":7}");
        check("{\"a\":1},{\"a\":2}", json_object(), "{\"jobs\":[{\"a\":1},{\"a\":2}]}");
        check("{\"a\":1},{\"a\":2}", json_pack("{s:i}", "next", 7),
              "{\"jobs\":[{\"a\":1},{\"a\":2}],\"next\":7}");
}

static void take(void *userdata, int r, json_t *answer, const struct bth_error *error)
{
        assert_int_equal(r, 0);
        assert_null(error);
        *(char **)userdata = bth_json_to_text(answer);
}

static void test_who_wants_a_tree(void **state)
{
        struct dmn_call *c = make("{\"a\":1},{\"a\":2}");
        char *text = NULL;

        (void)state;
        c->reply = take;
        c->userdata = &text;
        dmn_call_answer(c, json_pack("{s:i}", "next", 7));
        assert_non_null(text);
        assert_string_equal(text, "{\"jobs\":[{\"a\":1},{\"a\":2}],\"next\":7}");
        free(text);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_text),
                cmocka_unit_test(test_who_wants_a_tree),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
