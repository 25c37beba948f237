/* SPDX-License-Identifier: GPL-3.0-or-later */
/* naming - the rules for names, with what is just inside and just outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "media/naming.h"

static char *repeat(char c, size_t n)
{
        static char buffer[40000];

        assert_true(n < sizeof buffer);
        memset(buffer, c, n);
        buffer[n] = '\0';
        return buffer;
}

static void test_container(void **state)
{
        static const char *const good[] = { "abc", "a-b", "0a1", "$root", "$web" };
        static const char *const bad[] = { "ab",  "",    "Abc", "a--b", "-ab",
                                           "ab-", "a_b", "a.b", "$rooT" };
        struct bth_error e = BTH_ERROR_INIT;

        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                assert_int_equal(med_check_container(good[i], NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                assert_int_equal(med_check_container(bad[i], &e), -EINVAL);
                assert_non_null(strstr(e.sentence, bad[i]));
        }
        assert_int_equal(med_check_container(repeat('a', 63), NULL), 0);
        assert_int_equal(med_check_container(repeat('a', 64), NULL), -EINVAL);
}

static void test_session_and_job(void **state)
{
        assert_int_equal(med_check_session_id("a#_-9", NULL), 0);
        assert_int_equal(med_check_session_id(repeat('x', 30), NULL), 0);
        assert_int_equal(med_check_session_id(repeat('x', 31), NULL), -EINVAL);
        assert_int_equal(med_check_session_id("ab", NULL), -EINVAL);
        assert_int_equal(med_check_session_id("a b", NULL), -EINVAL);
        assert_int_equal(med_check_job_name("job-1", NULL), 0);
        assert_int_equal(med_check_job_name(repeat('j', 24), NULL), 0);
        assert_int_equal(med_check_job_name(repeat('j', 25), NULL), -EINVAL);
        assert_int_equal(med_check_job_name("1job", NULL), -EINVAL);
        assert_int_equal(med_check_job_name("Job", NULL), -EINVAL);
        assert_int_equal(med_check_job_name("job-", NULL), -EINVAL);
}

static void test_blob_name(void **state)
{
        assert_int_equal(med_check_blob_name("attic", "a/b", NULL), 0);
        assert_int_equal(med_check_blob_name("$root", "ab", NULL), 0);
        assert_int_equal(med_check_blob_name("$root", "a/b", NULL), -EINVAL);
        assert_int_equal(med_check_blob_name("attic", "", NULL), -EINVAL);
        assert_int_equal(med_check_blob_name("attic", "\xff", NULL), -EINVAL);
        assert_int_equal(med_check_blob_name("attic", repeat('b', 1024), NULL), 0);
        assert_int_equal(med_check_blob_name("attic", repeat('b', 1025), NULL), -EINVAL);
        assert_null(med_blob_name_doubt("a/b (2).txt"));
        assert_non_null(med_blob_name_doubt("100%"));
        assert_non_null(med_blob_name_doubt("end."));
        assert_non_null(med_blob_name_doubt("end/"));
        assert_non_null(med_blob_name_doubt("a\tb"));
}

static void test_file_path(void **state)
{
        static char far[801 * 100 + 1];
        char path[600];

        assert_int_equal(med_check_file_path("\\a\\b.txt", NULL), 0);
        assert_int_equal(med_check_file_path("a\\b", NULL), -EINVAL);
        assert_int_equal(med_check_file_path("\\", NULL), -EINVAL);
        assert_int_equal(med_check_file_path("\\a\\\\b", NULL), -EINVAL);
        assert_int_equal(med_check_file_path("\\a\\..\\b", NULL), -EINVAL);
        assert_int_equal(med_check_file_path("\\a:stream", NULL), -EINVAL);
        assert_int_equal(med_check_file_path("\\a/b", NULL), -EINVAL);
        path[0] = '\\';
        memcpy(path + 1, repeat('n', 255), 256);
        assert_int_equal(med_check_file_path(path, NULL), 0);
        memcpy(path + 1, repeat('n', 256), 257);
        assert_int_equal(med_check_file_path(path, NULL), -ENAMETOOLONG);
        {
                char *long_path = repeat('\\', 33000);

                for (size_t i = 1; i < 33000; i += 2)
                        long_path[i] = 'a';
                assert_int_equal(med_check_file_path(long_path, NULL), -ENAMETOOLONG);
                /* 100 of "\\", 200 characters of two units each: 40,100 units, 20,100 characters */
                for (size_t i = 0; i < 100; i++)
                        for (size_t k = 0; k < 801; k++)
                                far[801 * i + k] =
                                        "\\\xf0\x9f\x98\x80"[k == 0 ? 0 : 1 + (k - 1) % 4];
                far[801 * 100] = '\0';
                assert_int_equal(med_check_file_path(far, NULL), -ENAMETOOLONG);
        }
}

static void test_destination(void **state)
{
        static const struct {
                const char *text, *account, *container, *rest;
                bool prefix;
        } good[] = {
                { "attic/", NULL, "attic", "", true },
                { "attic/dir/sub/", NULL, "attic", "dir/sub/", true },
                { "attic/dir/name.ext", NULL, "attic", "dir/name.ext", false },
                { "$root/name", NULL, "$root", "name", false },
                { "$root/", NULL, "$root", "", true },
                { "https://acct.blob.core.windows.net/attic/x/", "acct", "attic", "x/", true },
        };
        static const char *const bad[] = { "attic",    "",          "/attic/",       "At/",
                                           "$root/a/", "attic\\x/", "https://acct/", "$root/a/b" };

        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                struct med_destination d;

                assert_int_equal(med_destination_parse(good[i].text, &d, NULL), 0);
                if (good[i].account)
                        assert_string_equal(d.account, good[i].account);
                else
                        assert_null(d.account);
                assert_string_equal(d.container, good[i].container);
                assert_string_equal(d.rest, good[i].rest);
                assert_int_equal(d.is_prefix, good[i].prefix);
                med_destination_clear(&d);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct med_destination d;

                assert_int_equal(med_destination_parse(bad[i], &d, NULL), -EINVAL);
        }
}

/* The invented examples of specification 2.5. */
static void test_rename(void **state)
{
        static const char *const cases[][3] = {
                { "ledger", "ledger (2)", "ledger (3)" },
                { "scan.tar.gz", "scan.tar (2).gz", "scan.tar (3).gz" },
                { "v1.2/readme", "v1 (2).2/readme", "v1 (3).2/readme" },
                { ".hidden", " (2).hidden", " (3).hidden" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                for (unsigned n = 2; n < 4; n++) {
                        _cleanup_free_ char *name = NULL;

                        assert_int_equal(med_rename(cases[i][0], n, &name), 0);
                        assert_string_equal(name, cases[i][n - 1]);
                }
}

static void test_split(void **state)
{
        _cleanup_free_ char *container = NULL, *name = NULL;

        assert_int_equal(med_blob_path_split("/attic/a/b", &container, &name), 0);
        assert_string_equal(container, "attic");
        assert_string_equal(name, "a/b");
        assert_int_equal(med_blob_path_split("attic", &container, &name), -EINVAL);
        assert_int_equal(med_blob_path_split("attic/", &container, &name), -EINVAL);
        assert_int_equal(med_blob_path_split("//a", &container, &name), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_container),   cmocka_unit_test(test_session_and_job),
                cmocka_unit_test(test_blob_name),   cmocka_unit_test(test_file_path),
                cmocka_unit_test(test_destination), cmocka_unit_test(test_rename),
                cmocka_unit_test(test_split),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
