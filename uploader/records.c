/* SPDX-License-Identifier: GPL-3.0-or-later */
/* records - see records.h. */
#include "uploader/records.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

#define RECORD_BYTES   16384u /* of plain text at most: RFC 8446, section 5.1 */
#define OVERHEAD_BYTES 256u   /* and what may come to it */
#define RECORDS_MAX    5u     /* gathered */

struct gather {
        size_t n_expected; /* records, with the last one */
        size_t n_held, n_passed;
        bool ends; /* the last one is among them, and was not yet said to be written */
        uint8_t held[RECORDS_MAX * (RECORD_BYTES + OVERHEAD_BYTES)];
};

/* 1 when nothing is held any more; else what BIO_write() said, with its reason. */
static int pass_on(BIO *b, struct gather *g)
{
        while (g->n_passed < g->n_held) {
                int n = BIO_write(BIO_next(b), g->held + g->n_passed,
                                  (int)(g->n_held - g->n_passed));

                if (n <= 0) {
                        BIO_copy_next_retry(b);
                        return n;
                }
                g->n_passed += (size_t)n;
        }
        g->n_held = g->n_passed = 0;
        return 1;
}

/* OpenSSL comes again with the same record when it was told to. */
static int on_write(BIO *b, const char *data, int n)
{
        struct gather *g = BIO_get_data(b);
        int r;

        BIO_clear_retry_flags(b);
        if (n <= 0)
                return 0;
        /* More was announced than there is room for. */
        if (!g->ends && (size_t)n > sizeof g->held - g->n_held) {
                r = pass_on(b, g);
                if (r == 1 && (size_t)n > sizeof g->held) {
                        r = BIO_write(BIO_next(b), data, n);
                        BIO_copy_next_retry(b);
                        return r;
                }
                if (r != 1)
                        return r;
        }
        if (!g->ends) {
                memcpy(g->held + g->n_held, data, (size_t)n);
                g->n_held += (size_t)n;
                if (g->n_expected > 1) {
                        g->n_expected--;
                        return n;
                }
                g->ends = true;
        }
        r = pass_on(b, g);
        if (r != 1)
                return r;
        g->ends = false;
        g->n_expected = 0;
        return n;
}

static long on_control(BIO *b, int command, long number, void *pointer)
{
        if (command == BIO_CTRL_FLUSH) {
                int r = pass_on(b, BIO_get_data(b));

                if (r != 1)
                        return r;
        }
        return BIO_next(b) ? BIO_ctrl(BIO_next(b), command, number, pointer) : 0;
}

static int on_destroy(BIO *b)
{
        free(BIO_get_data(b));
        BIO_set_data(b, NULL);
        return 1;
}

static BIO_METHOD *method;
static int place = -1; /* of the gather in an SSL */

static void make_method(void)
{
        BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_FILTER, "gathered records");

        if (!m || BIO_meth_set_write(m, on_write) != 1 || BIO_meth_set_ctrl(m, on_control) != 1 ||
            BIO_meth_set_destroy(m, on_destroy) != 1)
                return;
        place = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
        if (place >= 0)
                method = m;
}

/* Puts a BIO of ours in front of the one that curl writes through. */
static struct gather *attach(SSL *ssl)
{
        struct gather *g = malloc(sizeof *g);
        BIO *b = g ? BIO_new(method) : NULL, *below = SSL_get_wbio(ssl);

        if (!b || !below || SSL_set_ex_data(ssl, place, g) != 1) {
                (void)BIO_free(b);
                free(g);
                return NULL;
        }
        g->n_expected = g->n_held = g->n_passed = 0;
        g->ends = false;
        BIO_set_data(b, g);
        BIO_set_init(b, 1);
        (void)BIO_up_ref(below); /* SSL_set0_wbio() gives up the one that it has */
        SSL_set0_wbio(ssl, BIO_push(b, below));
        return g;
}

void upl_records_expect_of(SSL *ssl, size_t n_bytes)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        struct gather *g;

        (void)pthread_once(&once, make_method);
        if (!method)
                return;
        g = SSL_get_ex_data(ssl, place);
        if (!g)
                g = attach(ssl);
        if (g && !g->ends)
                g->n_expected = (n_bytes + RECORD_BYTES - 1) / RECORD_BYTES;
}

void upl_records_expect(CURL *easy, size_t n_bytes)
{
        const struct curl_tlssessioninfo *session = NULL;

        if (curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &session) == CURLE_OK && session &&
            session->backend == CURLSSLBACKEND_OPENSSL && session->internals)
                upl_records_expect_of(session->internals, n_bytes);
}
