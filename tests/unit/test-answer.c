/* SPDX-License-Identifier: GPL-3.0-or-later */
/* answer - headers, lists and refusals of a job service that says what it likes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/str.h"
#include "daemon/answer.h"

#define UID "0B5FA1C2-0000-4000-8000-0123456789AB"

static void test_headers(void **state)
{
        static const struct {
                const char *line, *tag;
                uint64_t retry_sec;
        } cases[] = {
                { "ETag: \"1\"\r\n", "\"1\"", 0 },
                { "etag:W/\"a-b\"", "W/\"a-b\"", 0 },
                { "ETag: \"\"\r\n", "\"\"", 0 },
                { "ETag: 1\r\n", "", 0 }, /* no entity-tag */
                { "ETag: \"a b\"\r\n", "", 0 },
                { "ETag: \"a\rX-Evil: 1\"\r\n", "", 0 },
                { "ETag: \"\xff\"\r\n", "", 0 },
                { "ETag: \"a\", \"b\"\r\n", "", 0 },
                { "ETag: \"\r\n", "", 0 },
                { "ETag:\r\n", "", 0 },
                { "ETags: \"1\"\r\n", "", 0 },
                { "Retry-After: 7\r\n", "", 7 },
                { "retry-after:\t 0030 \r\n", "", 30 },
                { "Retry-After: 86400\r\n", "", DMN_ANSWER_RETRY_MAX_SEC },
                { "Retry-After: 99999999999999999999999\r\n", "", DMN_ANSWER_RETRY_MAX_SEC },
                { "Retry-After: -1\r\n", "", 0 },
                { "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n", "", 0 },
                { "\r\n", "", 0 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct dmn_answer_head head = { 0 };

                dmn_answer_header(&head, cases[i].line, strlen(cases[i].line));
                if (strcmp(head.etag, cases[i].tag) != 0 ||
                    head.retry_after_sec != cases[i].retry_sec)
                        fail_msg("%s: '%s', %llu", cases[i].line, head.etag,
                                 (unsigned long long)head.retry_after_sec);
        }
}

static void take(struct dmn_answer_head *head, const char *line)
{
        dmn_answer_header(head, line, strlen(line));
}

/* The longest tag there is room for, one that is longer, and those of an answer that came before:
 * of a proxy, or an interim one. */
static void test_heads(void **state)
{
        struct dmn_answer_head head = { 0 };
        char line[600] = "ETag: \"";

        (void)state;
        memset(line + 7, 'x', DMN_ANSWER_TAG_MAX - 3);
        line[7 + DMN_ANSWER_TAG_MAX - 3] = '"';
        take(&head, line);
        assert_int_equal(strlen(head.etag), DMN_ANSWER_TAG_MAX - 1);
        line[7 + DMN_ANSWER_TAG_MAX - 3] = 'x';
        line[7 + DMN_ANSWER_TAG_MAX - 2] = '"';
        take(&head, line);
        assert_string_equal(head.etag, "");

        take(&head, "HTTP/1.1 200 Connection established\r\n");
        take(&head, "ETag: \"proxy\"\r\n");
        take(&head, "Retry-After: 60\r\n");
        take(&head, "HTTP/1.1 200 OK\r\n");
        assert_string_equal(head.etag, "");
        assert_int_equal(head.retry_after_sec, 0);
}

struct refusals {
        unsigned n;
        size_t index[8];
        char why[DMN_ANSWER_WHY_MAX];
};

static void refused(void *userdata, size_t index, const char *why)
{
        struct refusals *f = userdata;

        f->index[f->n++] = index;
        (void)snprintf(f->why, sizeof f->why, "%s", why);
}

/* Which events were taken must be beyond doubt; else they are all sent again. */
static void test_events(void **state)
{
        static const struct {
                const char *text;
                int n; /* refused; -1: no answer */
                size_t last;
        } cases[] = {
                { "{\"applied\":3,\"refused\":[]}", 0, 0 },
                { "{\"refused\":[{\"id\":\"" UID "-9\"}]}", 1, 1 },
                { "{\"refused\":[{\"id\":\"" UID "-9\",\"index\":0}]}", 1, 1 },
                { "{\"refused\":[{\"index\":2},{\"index\":0}]}", 2, 2 },
                { "{\"refused\":[{\"index\":2},{\"index\":2}]}", 1, 2 },
                { "{\"refused\":[{\"index\":3}]}", -1, 0 },
                { "{\"refused\":[{\"index\":-1}]}", -1, 0 },
                { "{\"refused\":[{\"id\":\"" UID "-8\"}]}", -1, 0 },
                { "{\"refused\":[{\"id\":\"" UID "-\"}]}", -1, 0 },
                { "{\"refused\":[{\"id\":\"other-9\"}]}", -1, 0 },
                { "{\"refused\":[{\"id\":9,\"index\":1}]}", -1, 0 },
                { "{\"refused\":[{}]}", -1, 0 },
                { "{\"refused\":[7]}", -1, 0 },
                { "{\"refused\":[{\"index\":0},{\"index\":0},{\"index\":0},{\"index\":0}]}", -1,
                  0 },
                { "{\"refused\":{}}", -1, 0 },
                { "{\"applied\":3}", -1, 0 },
                { "[]", -1, 0 },
                { "<html>", -1, 0 },
                { "", -1, 0 },
        };
        static const uint64_t seqs[] = { 7, 9, 12 };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct bth_error e = BTH_ERROR_INIT;
                struct refusals f = { 0 };
                int r = dmn_answer_events(cases[i].text, strlen(cases[i].text), UID, seqs,
                                          ARRAY_SIZE(seqs), refused, &f, &e);

                if (cases[i].n < 0 ? r != -EBADMSG || f.n > 0
                                   : r != 0 || f.n != (unsigned)cases[i].n)
                        fail_msg("%s: %d, %u", cases[i].text, r, f.n);
                if (cases[i].n > 0)
                        assert_int_equal(f.index[f.n - 1], cases[i].last);
                if (cases[i].n > 0)
                        assert_string_equal(f.why, "no reason was given");
        }
}

/* What it says is shown to people: as text, not as commands to their terminals. */
static void test_sentences(void **state)
{
        static const char text[] = "{\"error\":{\"message\":\"no\\u001b[31m\\nwonder\"}}";
        static const uint64_t seq = 1;
        const char *answer = "{\"refused\":[{\"index\":0,\"error\":{\"message\":\"a\\u0007b\"}}]}";
        char out[DMN_ANSWER_WHY_MAX];
        struct refusals f = { 0 };

        (void)state;
        assert_string_equal(dmn_answer_sentence(text, strlen(text), out), "no\\x1b[31m\\x0awonder");
        assert_string_equal(dmn_answer_sentence("{\"error\":\"no\"}", 14, out), "");
        assert_string_equal(dmn_answer_sentence("", 0, out), "");
        assert_int_equal(dmn_answer_events(answer, strlen(answer), UID, &seq, 1, refused, &f, NULL),
                         0);
        assert_string_equal(f.why, "a\\x07b");
}

static int add(struct dmn_answer_jobs *list, const char *text)
{
        struct bth_error e = BTH_ERROR_INIT;
        int r = dmn_answer_jobs(list, text, strlen(text), &e);

        assert_true(r >= 0 || e.sentence[0] != '\0');
        return r;
}

static void test_pages(void **state)
{
        struct dmn_answer_jobs list = { 0 };
        char page[64];
        int r = 1;

        (void)state;
        assert_int_equal(add(&list, "{\"jobs\":[{\"name\":\"a\"}],\"next\":7}"), 1);
        assert_int_equal(list.after, 7);
        assert_int_equal(add(&list, "{\"jobs\":[{\"name\":\"b\"},{\"name\":{\"x\":1}}]}"), 0);
        assert_int_equal(json_array_size(list.jobs), 3);
        assert_true(json_is_null(json_array_get(list.jobs, 2)));
        dmn_answer_jobs_clear(&list);

        assert_int_equal(add(&list, "{\"jobs\":[],\"next\":7}"), 1);
        assert_int_equal(add(&list, "{\"jobs\":[],\"next\":7}"), -EBADMSG); /* a circle */
        dmn_answer_jobs_clear(&list);
        assert_int_equal(add(&list, "{\"jobs\":[],\"next\":-1}"), -EBADMSG);
        dmn_answer_jobs_clear(&list);
        assert_int_equal(add(&list, "{\"jobs\":[],\"next\":\"8\"}"), -EBADMSG);
        dmn_answer_jobs_clear(&list);
        for (unsigned i = 1; r == 1; i++) { /* one that has no end */
                assert_true(i < 100000);
                (void)snprintf(page, sizeof page, "{\"jobs\":[],\"next\":%u}", i);
                r = add(&list, page);
        }
        assert_int_equal(r, -E2BIG);
        assert_int_equal(list.pages, DMN_ANSWER_PAGES_MAX + 1);
        dmn_answer_jobs_clear(&list);
}

#define DRIVE "{\"serial\":\"AB12\",\"state\":\"Completed\",\"copy_status\":\"Completed\""

static void test_job(void **state)
{
        static const struct {
                const char *text, *says; /* NULL: well */
        } cases[] = {
                { "{\"name\":\"a\",\"drives\":[" DRIVE "}],\"new\":1,\"scope\":null}", NULL },
                { "{\"drives\":[" DRIVE ",\"bytes\":9,\"bytes_done\":9,\"blobs\":0}]}", NULL },
                { "null", "is no job" },
                { "{\"name\":\"a\"}", "'drives'" },
                { "{\"name\":7,\"drives\":[]}", "'name'" },
                { "{\"scope\":\"/a\\u0001\",\"drives\":[]}", "control characters" },
                { "{\"location\":\"a\\nb\",\"drives\":[]}", "control characters" },
                { "{\"shipped\":\"yes\",\"drives\":[]}", "'shipped'" },
                { "{\"drives\":[7]}", "'drives'" },
                { "{\"drives\":[{\"state\":\"Stolen\"}]}", "'state'" },
                { "{\"drives\":[{\"copy_status\":\"Fine\"}]}", "'copy_status'" },
                { "{\"drives\":[" DRIVE ",\"bytes\":-1}]}", "'bytes'" },
                { "{\"drives\":[" DRIVE ",\"bytes\":1,\"bytes_done\":2}]}", "'bytes_done'" },
                { "{\"drives\":[" DRIVE ",\"blobs_done\":1}]}", "'blobs_done'" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct bth_error e = BTH_ERROR_INIT;
                _cleanup_json_ json_t *j = json_loads(cases[i].text, JSON_DECODE_ANY, NULL);
                int r;

                assert_non_null(j);
                r = dmn_answer_job_check(j, &e);
                if (cases[i].says ? r != -EBADMSG || !strstr(e.sentence, cases[i].says) : r != 0)
                        fail_msg("%s: %d %s", cases[i].text, r, e.sentence);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_headers), cmocka_unit_test(test_heads),
                cmocka_unit_test(test_events),  cmocka_unit_test(test_sentences),
                cmocka_unit_test(test_pages),   cmocka_unit_test(test_job),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
