/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Bearer tokens from files and from a managed identity, which a thread plays. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/time.h"
#include "uploader/token.h"

#define SEC BTH_USEC_PER_SEC

static void test_files(void **state)
{
        /* {"exp":1900000000} in the middle */
        static const char jwt[] = "e30.eyJleHAiOjE5MDAwMDAwMDB9.c2ln\n";
        char path[] = "/tmp/berth-token-XXXXXX";
        struct upl_token t = { 0 };
        int fd = mkstemp(path);

        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, jwt, sizeof jwt - 1, 0), sizeof jwt - 1);
        assert_int_equal(upl_token_from_file(path, &t, NULL), 0);
        assert_int_equal(t.text->length_bytes, sizeof jwt - 2);
        assert_int_equal(t.expires_usec, UINT64_C(1900000000) * SEC);
        upl_token_clear(&t);
        assert_int_equal(pwrite(fd, "opaque-token-without-a-time-in-it...", 36, 0), 36);
        assert_int_equal(upl_token_from_file(path, &t, NULL), 0);
        assert_int_equal(t.expires_usec, 0);
        upl_token_clear(&t);
        assert_int_equal(pwrite(fd, "two words", 9, 0), 9);
        assert_int_equal(upl_token_from_file(path, &t, NULL), -EINVAL);
        assert_int_equal(fchmod(fd, 0644), 0);
        assert_int_equal(upl_token_from_file(path, &t, NULL), -EPERM);
        (void)close(fd);
        (void)unlink(path);
}

static void test_answers(void **state)
{
        static const char *const bad[] = {
                "",
                "[]",
                "{}",
                "{\"access_token\":7}",
                "{\"access_token\":\"a b\"}",
                "{\"access_token\":\"\"}",
                "{\"access_token\":\"x\"} trailing",
        };
        static const char text[] = "{\"access_token\":\"abc\",\"expires_on\":\"1900000000\"}";
        static const char number[] = "{\"access_token\":\"abc\",\"expires_on\":1900000000}";
        struct upl_token t = { 0 };

        assert_int_equal(upl_token_from_answer(text, sizeof text - 1, &t, NULL), 0);
        assert_string_equal((const char *)t.text->data, "abc");
        assert_int_equal(t.expires_usec, UINT64_C(1900000000) * SEC);
        upl_token_clear(&t);
        assert_int_equal(upl_token_from_answer(number, sizeof number - 1, &t, NULL), 0);
        assert_int_equal(t.expires_usec, UINT64_C(1900000000) * SEC);
        upl_token_clear(&t);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(upl_token_from_answer(bad[i], strlen(bad[i]), &t, NULL), -EBADMSG);
}

static void test_renewal(void **state)
{
        struct upl_token t = { .expires_usec = 10000 * SEC };

        assert_int_equal(upl_token_renew_at(&t, 1000 * SEC), 9700 * SEC);
        assert_int_equal(upl_token_renew_at(&t, 9600 * SEC), 9800 * SEC);
        assert_int_equal(upl_token_renew_at(&t, 10500 * SEC), 10530 * SEC);
        t.expires_usec = 0;
        assert_int_equal(upl_token_renew_at(&t, 5 * SEC), 605 * SEC);
}

struct identity {
        int listener;
        const char *answer;
        char request[2048];
};

static void *identity_thread(void *userdata)
{
        struct identity *m = userdata;
        int fd = accept(m->listener, NULL, NULL);
        size_t n = 0;

        while (fd >= 0 && n < sizeof m->request - 1 && !strstr(m->request, "\r\n\r\n")) {
                ssize_t got = read(fd, m->request + n, sizeof m->request - 1 - n);

                if (got <= 0)
                        break;
                n += (size_t)got;
                m->request[n] = '\0';
        }
        if (bth_write_full(fd, m->answer, strlen(m->answer)) < 0)
                m->request[0] = '\0';
        (void)close(fd);
        return NULL;
}

static int ask_identity(struct identity *m, struct upl_token *t)
{
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t length = sizeof a;
        pthread_t thread;
        char base[64];
        int r;

        m->request[0] = '\0';
        m->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(m->listener, (struct sockaddr *)&a, sizeof a), 0);
        assert_int_equal(listen(m->listener, 1), 0);
        assert_int_equal(getsockname(m->listener, (struct sockaddr *)&a, &length), 0);
        (void)snprintf(base, sizeof base, "http://127.0.0.1:%u", ntohs(a.sin_port));
        assert_int_equal(pthread_create(&thread, NULL, identity_thread, m), 0);
        r = upl_token_from_identity(base, "my id", t, NULL);
        assert_int_equal(pthread_join(thread, NULL), 0);
        (void)close(m->listener);
        return r;
}

static void test_managed_identity(void **state)
{
        struct identity m = { .answer =
                                      "HTTP/1.1 200 OK\r\nContent-Length: 48\r\n\r\n"
                                      "{\"access_token\":\"abc\",\"expires_on\":\"1900000000\"}" };
        struct upl_token t = { 0 };

        assert_int_equal(ask_identity(&m, &t), 0);
        assert_string_equal((const char *)t.text->data, "abc");
        upl_token_clear(&t);
        assert_non_null(strstr(m.request,
                               "GET /metadata/identity/oauth2/token?api-version=2018-02-01"
                               "&resource=https%3A%2F%2Fstorage.azure.com%2F"
                               "&client_id=my%20id HTTP/1.1\r\n"));
        assert_non_null(strstr(m.request, "\r\nMetadata: true\r\n"));
        m.answer = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        assert_int_equal(ask_identity(&m, &t), -EACCES);
        /* A head that ends with the connection is no answer. */
        m.answer = "HTTP/1.1 200 OK\r\nContent-Le";
        assert_int_equal(ask_identity(&m, &t), -ECONNRESET);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_files),
                cmocka_unit_test(test_answers),
                cmocka_unit_test(test_renewal),
                cmocka_unit_test(test_managed_identity),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
