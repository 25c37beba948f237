/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who may come in over the network, and how often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/io.h"
#include "daemon/gate.h"
#include "daemon/token.h"

#define TEST_SHA256                                                                  \
        "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08" /* "test" \
                                                                            */
#define SEC UINT64_C(1000000)

static void test_finds(void **state)
{
        static const char text[] =
                "# right name hash\r\n"
                "\n"
                "  read  portal@east " TEST_SHA256 "  \r\n"
                "admin root "
                "88D4266FD4E6338D13B845FCF289579D209C897823B9217DA3E161936F031589";
        struct dmn_tokens *t = NULL;
        const struct dmn_token *found;

        (void)state;
        assert_int_equal(dmn_tokens_parse(text, strlen(text), "tokens", &t, NULL), 0);
        found = dmn_tokens_find(t, "test");
        assert_non_null(found);
        assert_int_equal(found->right, DMN_RIGHT_READ);
        assert_string_equal(found->name, "portal@east");
        found = dmn_tokens_find(t, "abcd");
        assert_non_null(found);
        assert_int_equal(found->right, DMN_RIGHT_ADMIN);
        assert_null(dmn_tokens_find(t, "Test"));
        assert_null(dmn_tokens_find(t, ""));
        assert_null(dmn_tokens_find(t, NULL));
        assert_null(dmn_tokens_find(t, TEST_SHA256));
        assert_null(dmn_tokens_find(NULL, "test"));
        (void)dmn_tokens_free(t);
}

static void test_complaints(void **state)
{
        static const struct {
                const char *text, *says;
                uint64_t line;
        } bad[] = {
                { "\nwrite a " TEST_SHA256, "begins with the right", 2 },
                { "none a " TEST_SHA256, "begins with the right", 1 },
                { "read", "the name behind", 1 },
                { "read a/b " TEST_SHA256, "the name behind", 1 },
                { "read a", "SHA-256", 1 },
                { "read a test", "never the token itself", 1 },
                { "read a " TEST_SHA256 "00", "SHA-256", 1 },
                { "read a " TEST_SHA256 " x", "more behind", 1 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct bth_error e = BTH_ERROR_INIT;
                struct dmn_tokens *t = NULL;
                int r = dmn_tokens_parse(bad[i].text, strlen(bad[i].text), "tokens", &t, &e);

                assert_int_equal(r, -EBADMSG);
                assert_null(t);
                if (!strstr(e.sentence, bad[i].says) || e.line != bad[i].line)
                        fail_msg("%s: %s (line %d)", bad[i].text, e.sentence, (int)e.line);
                /* What stands there may be a token. */
                assert_null(strstr(e.sentence, "test "));
        }
}

static void test_made(void **state)
{
        struct bth_secret *one = NULL, *two = NULL;
        char *line = NULL, *other = NULL;
        struct dmn_tokens *t = NULL;

        (void)state;
        assert_int_equal(dmn_token_make(DMN_RIGHT_OPERATE, "station-1", &one, &line), 0);
        assert_int_equal(dmn_token_make(DMN_RIGHT_OPERATE, "station-1", &two, &other), 0);
        assert_int_equal(one->length_bytes, DMN_TOKEN_TEXT_BYTES);
        assert_false(bth_secret_equal(one, two));
        assert_null(strstr(line, (const char *)one->data));
        assert_int_equal(dmn_tokens_parse(line, strlen(line), "tokens", &t, NULL), 0);
        assert_non_null(dmn_tokens_find(t, (const char *)one->data));
        assert_null(dmn_tokens_find(t, (const char *)two->data));
        (void)dmn_tokens_free(t);
        (void)bth_secret_free(one);
        (void)bth_secret_free(two);
        free(line);
        free(other);
        assert_int_equal(dmn_token_make(DMN_RIGHT_NONE, "a", &one, &line), -EINVAL);
        assert_int_equal(dmn_token_make(DMN_RIGHT_READ, "a b", &one, &line), -EINVAL);
}

static void test_added(void **state)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct bth_secret *one = NULL, *two = NULL;
        const struct dmn_token *found;
        struct dmn_tokens *t = NULL;
        char path[64];
        struct stat st;

        (void)state;
        (void)snprintf(path, sizeof path, "/tmp/berth-added-%d", (int)getpid());
        (void)unlink(path);
        assert_int_equal(dmn_tokens_add(path, "read:portal", geteuid(), getegid(), &one, &e), 0);
        assert_int_equal(dmn_tokens_add(path, "station:east-1", geteuid(), getegid(), &two, &e), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(dmn_tokens_load(path, &t, &e), 0);
        found = dmn_tokens_find(t, (const char *)two->data);
        assert_non_null(found);
        assert_int_equal(found->right, DMN_RIGHT_STATION);
        assert_non_null(dmn_tokens_find(t, (const char *)one->data));
        t = dmn_tokens_free(t);
        one = bth_secret_free(one);
        two = bth_secret_free(two);
        assert_int_equal(dmn_tokens_add(path, "admin:portal", geteuid(), getegid(), &one, &e),
                         -EEXIST);
        assert_int_equal(dmn_tokens_add(path, "portal", geteuid(), getegid(), &one, &e), -EINVAL);
        assert_int_equal(dmn_tokens_add(path, "all:x", geteuid(), getegid(), &one, &e), -EINVAL);
        assert_int_equal(dmn_tokens_add(path, "read:a b", geteuid(), getegid(), &one, &e), -EINVAL);
        assert_int_equal(unlink(path), 0);
}

/* An editor left the last line without an end: the next token must not become a part of it. */
static void test_added_behind_open_line(void **state)
{
        static const char text[] = "read a " TEST_SHA256;
        struct bth_secret *made = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        struct dmn_tokens *t = NULL;
        char path[64];

        (void)state;
        (void)snprintf(path, sizeof path, "/tmp/berth-open-line-%d", (int)getpid());
        assert_int_equal(bth_write_file_atomic(path, text, strlen(text), 0600), 0);
        assert_int_equal(dmn_tokens_add(path, "admin:b", geteuid(), getegid(), &made, &e), 0);
        assert_int_equal(dmn_tokens_load(path, &t, &e), 0);
        assert_non_null(dmn_tokens_find(t, "test"));
        assert_int_equal(dmn_tokens_find(t, (const char *)made->data)->right, DMN_RIGHT_ADMIN);
        t = dmn_tokens_free(t);
        made = bth_secret_free(made);
        assert_int_equal(unlink(path), 0);
}

/* Root makes tokens for a daemon that is another user: both must be able to go on with the file. */
static void test_added_by_root(void **state)
{
        struct bth_secret *one = NULL, *two = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        struct dmn_tokens *t = NULL;
        const uid_t user = 12345;
        char path[64];
        struct stat st;

        (void)state;
        if (geteuid() != 0)
                skip();
        (void)snprintf(path, sizeof path, "/tmp/berth-root-%d", (int)getpid());
        (void)unlink(path);
        assert_int_equal(dmn_tokens_add(path, "read:a", user, user, &one, &e), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_uid, user);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(dmn_tokens_add(path, "read:b", user, user, &two, &e), 0);
        assert_int_equal(seteuid(user), 0);
        assert_int_equal(dmn_tokens_load(path, &t, &e), 0);
        assert_int_equal(seteuid(0), 0);
        assert_non_null(dmn_tokens_find(t, (const char *)one->data));
        assert_non_null(dmn_tokens_find(t, (const char *)two->data));
        t = dmn_tokens_free(t);
        one = bth_secret_free(one);
        two = bth_secret_free(two);
        assert_int_equal(unlink(path), 0);
}

static void test_file(void **state)
{
        static const char text[] = "read a " TEST_SHA256 "\n";
        struct bth_error e = BTH_ERROR_INIT;
        struct dmn_tokens *t = NULL;
        char path[64];

        (void)state;
        (void)snprintf(path, sizeof path, "/tmp/berth-tokens-%d", (int)getpid());
        assert_int_equal(dmn_tokens_load(path, &t, &e), -ENOENT);
        assert_int_equal(bth_write_file_atomic(path, text, strlen(text), 0600), 0);
        assert_int_equal(dmn_tokens_load(path, &t, NULL), 0);
        assert_non_null(dmn_tokens_find(t, "test"));
        t = dmn_tokens_free(t);
        assert_int_equal(chmod(path, 0640), 0);
        assert_int_equal(dmn_tokens_load(path, &t, &e), -EPERM);
        assert_non_null(strstr(e.sentence, "0600"));
        assert_int_equal(unlink(path), 0);
        assert_int_equal(dmn_tokens_load("/tmp", &t, NULL), -EPERM);
}

static void test_header(void **state)
{
        (void)state;
        assert_string_equal(dmn_token_of_header("Bearer abc"), "abc");
        assert_string_equal(dmn_token_of_header("bearer   abc"), "abc");
        assert_null(dmn_token_of_header("Basic abc"));
        assert_null(dmn_token_of_header("Bearer "));
        assert_null(dmn_token_of_header("Bearerabc"));
        assert_null(dmn_token_of_header(NULL));
}

static void test_gate(void **state)
{
        struct dmn_gate *g = NULL;
        uint64_t now = 5 * SEC;

        (void)state;
        assert_int_equal(dmn_gate_new(0, 1, &g), -EINVAL);
        assert_int_equal(dmn_gate_new(2, 10, &g), 0);
        for (unsigned i = 0; i < 10; i++)
                assert_int_equal(dmn_gate_pass(g, "192.0.2.1", 1, now), 0);
        assert_int_equal(dmn_gate_pass(g, "192.0.2.1", 1, now), 1);
        assert_int_equal(dmn_gate_pass(g, "::ffff:192.0.2.1", 1, now), 1);
        assert_int_equal(dmn_gate_pass(g, "192.0.2.2", 1, now), 0);
        /* Half a second is one request. */
        assert_int_equal(dmn_gate_pass(g, "192.0.2.1", 1, now + SEC / 2), 0);
        assert_int_equal(dmn_gate_pass(g, "192.0.2.1", 1, now + SEC / 2), 1);
        assert_int_equal(dmn_gate_pass(g, "192.0.2.1", 10, now + SEC / 2), 6);
        /* It never holds more than the burst, however long nobody came. */
        now += 1000000 * SEC;
        assert_int_equal(dmn_gate_pass(g, "192.0.2.1", 10, now), 0);
        assert_int_equal(dmn_gate_pass(g, "192.0.2.1", 1, now), 1);
        /* One network of IPv6 is one peer; what costs more than the burst costs the burst. */
        assert_int_equal(dmn_gate_pass(g, "2001:db8::1", 99, now), 0);
        assert_int_equal(dmn_gate_pass(g, "2001:db8::2", 1, now), 1);
        assert_int_equal(dmn_gate_pass(g, "2001:db8:0:1::1", 1, now), 0);
        dmn_gate_charge(g, "2001:db8:0:1::1", 8, now);
        assert_int_equal(dmn_gate_pass(g, "2001:db8:0:1::1", 2, now), 1);
        dmn_gate_charge(g, "2001:db8:0:1::1", 100, now);
        assert_int_equal(dmn_gate_pass(g, "2001:db8:0:1::1", 1, now + SEC / 2), 0);
        (void)dmn_gate_free(g);
}

/* Who has a whole network of addresses is one peer all the same. */
static void test_same_peer(void **state)
{
        (void)state;
        assert_true(dmn_gate_same_peer("192.0.2.1", "192.0.2.1"));
        assert_true(dmn_gate_same_peer("192.0.2.1", "::ffff:192.0.2.1"));
        assert_false(dmn_gate_same_peer("192.0.2.1", "192.0.2.2"));
        assert_true(dmn_gate_same_peer("2001:db8:0:1::1", "2001:db8:0:1:ffff::2"));
        assert_false(dmn_gate_same_peer("2001:db8:0:1::1", "2001:db8:0:2::1"));
        assert_false(dmn_gate_same_peer("2001:db8::1", "192.0.2.1"));
}

static void test_gate_is_bounded(void **state)
{
        struct dmn_gate *g = NULL;
        unsigned limited = 0;

        (void)state;
        assert_int_equal(dmn_gate_new(1, 1, &g), 0);
        for (unsigned i = 0; i < 100000; i++) {
                char address[32];

                (void)snprintf(address, sizeof address, "10.%u.%u.%u", i >> 16, (i >> 8) & 255,
                               i & 255);
                assert_int_equal(dmn_gate_pass(g, address, 1, SEC + i), 0);
                limited += dmn_gate_pass(g, address, 1, SEC + i) > 0;
        }
        assert_int_equal(limited, 100000);
        (void)dmn_gate_free(g);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_finds),
                cmocka_unit_test(test_complaints),
                cmocka_unit_test(test_made),
                cmocka_unit_test(test_file),
                cmocka_unit_test(test_added),
                cmocka_unit_test(test_header),
                cmocka_unit_test(test_added_behind_open_line),
                cmocka_unit_test(test_added_by_root),
                cmocka_unit_test(test_same_peer),
                cmocka_unit_test(test_gate),
                cmocka_unit_test(test_gate_is_bounded),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
