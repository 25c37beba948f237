/* SPDX-License-Identifier: GPL-3.0-or-later */
/* TLS records that are gathered: what one side writes in pieces of any size comes whole to the
 * other, through a line that takes little at once, and nothing is held back behind a write that was
 * said to be done. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/macros.h"
#include "uploader/records.h"

#define PIECE_BYTES (256u << 10)
#define LINE_BYTES  (40u << 10) /* what the line holds */

struct world {
        SSL_CTX *contexts[2];
        SSL *client, *server;
        BIO *counter; /* below the client: how often it is written to */
};

static unsigned n_writes;

static long count(BIO *b, int what, const char *data, size_t n, int i, long l, int r,
                  size_t *processed)
{
        (void)b, (void)data, (void)n, (void)i, (void)l, (void)processed;
        n_writes += what == (BIO_CB_WRITE | BIO_CB_RETURN) && r > 0;
        return r;
}

static SSL_CTX *server_context(void)
{
        SSL_CTX *context = SSL_CTX_new(TLS_server_method());
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509 *certificate = X509_new();

        assert_true(context && key && certificate);
        assert_true(ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1));
        assert_non_null(X509_gmtime_adj(X509_getm_notBefore(certificate), 0));
        assert_non_null(X509_gmtime_adj(X509_getm_notAfter(certificate), 3600));
        assert_true(X509_set_pubkey(certificate, key));
        assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
        assert_int_equal(SSL_CTX_use_certificate(context, certificate), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
        X509_free(certificate);
        EVP_PKEY_free(key);
        return context;
}

static void world_new(struct world *w, int version)
{
        BIO *ends[2];
        int done[2] = { 0, 0 };

        *w = (struct world){ .contexts = { SSL_CTX_new(TLS_client_method()), server_context() } };
        assert_int_equal(SSL_CTX_set_max_proto_version(w->contexts[0], version), 1);
        assert_int_equal(BIO_new_bio_pair(&ends[0], LINE_BYTES, &ends[1], LINE_BYTES), 1);
        w->client = SSL_new(w->contexts[0]);
        w->server = SSL_new(w->contexts[1]);
        w->counter = ends[0];
        SSL_set_bio(w->client, ends[0], ends[0]);
        SSL_set_bio(w->server, ends[1], ends[1]);
        for (int i = 0; i < 100 && !(done[0] == 1 && done[1] == 1); i++) {
                done[0] = SSL_connect(w->client);
                done[1] = SSL_accept(w->server);
        }
        assert_true(done[0] == 1 && done[1] == 1);
        BIO_set_callback_ex(w->counter, count);
}

static void world_free(struct world *w)
{
        SSL_free(w->client);
        SSL_free(w->server);
        SSL_CTX_free(w->contexts[0]);
        SSL_CTX_free(w->contexts[1]);
}

/* Reads what there is, at most `max` bytes; returns how many. */
static size_t take(struct world *w, uint8_t *to, size_t max)
{
        size_t n = 0;
        int r;

        while (n < max && (r = SSL_read(w->server, to + n, (int)(max - n))) > 0)
                n += (size_t)r;
        return n;
}

/* One write as curl makes it: again with the same until it is taken. */
static void send_whole(struct world *w, const uint8_t *from, size_t n, uint8_t *to)
{
        size_t came = 0;
        int r, turns = 0;

        while ((r = SSL_write(w->client, from, (int)n)) <= 0) {
                assert_int_equal(SSL_get_error(w->client, r), SSL_ERROR_WANT_WRITE);
                came += take(w, to + came, n - came);
                assert_true(++turns < 1000);
        }
        assert_int_equal(r, n);
        came += take(w, to + came, n - came);
        /* Nothing is left on this side. */
        assert_int_equal(came, n);
        assert_memory_equal(from, to, n);
}

static void check_sizes(int version)
{
        static const size_t sizes[] = { 1,     16384,  16385,           100000,
                                        65536, 262143, PIECE_BYTES - 1, PIECE_BYTES };
        _cleanup_free_ uint8_t *from = malloc(PIECE_BYTES), *to = malloc(PIECE_BYTES);
        struct world w;

        assert_true(from && to);
        assert_int_equal(RAND_bytes(from, PIECE_BYTES), 1);
        world_new(&w, version);
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                upl_records_expect_of(w.client, sizes[i]);
                send_whole(&w, from, sizes[i], to);
                /* What is not announced, such as the head of a request, goes at once. */
                send_whole(&w, from + 5, MIN(sizes[i], (size_t)700), to);
        }
        world_free(&w);
}

static void test_comes_whole(void **state)
{
        (void)state;
        check_sizes(TLS1_3_VERSION);
        check_sizes(TLS1_2_VERSION);
}

/* Who announced too much or too little loses nothing either. */
static void test_wrong_announcement(void **state)
{
        _cleanup_free_ uint8_t *from = malloc(PIECE_BYTES), *to = malloc(PIECE_BYTES);
        struct world w;

        (void)state;
        assert_true(from && to);
        assert_int_equal(RAND_bytes(from, PIECE_BYTES), 1);
        world_new(&w, TLS1_3_VERSION);
        upl_records_expect_of(w.client, 20000);
        send_whole(&w, from, PIECE_BYTES, to);
        upl_records_expect_of(w.client, PIECE_BYTES);
        assert_int_equal(SSL_write(w.client, from, 20000), 20000); /* two records of sixteen */
        assert_int_equal(take(&w, to, PIECE_BYTES), 0);
        upl_records_expect_of(w.client, 10000);
        assert_int_equal(SSL_write(w.client, from + 20000, 10000), 10000);
        assert_int_equal(take(&w, to, PIECE_BYTES), 30000);
        assert_memory_equal(from, to, 30000);
        world_free(&w);
}

static void test_goes_together(void **state)
{
        _cleanup_free_ uint8_t *from = calloc(1, PIECE_BYTES), *to = malloc(PIECE_BYTES);
        struct world w;

        (void)state;
        assert_true(from && to);
        world_new(&w, TLS1_3_VERSION);
        n_writes = 0;
        upl_records_expect_of(w.client, 32768); /* fits into the line */
        send_whole(&w, from, 32768, to);
        assert_int_equal(n_writes, 1);
        n_writes = 0;
        send_whole(&w, from, 32768, to);
        assert_int_equal(n_writes, 2);
        world_free(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_comes_whole),
                cmocka_unit_test(test_wrong_announcement),
                cmocka_unit_test(test_goes_together),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
