/* SPDX-License-Identifier: GPL-3.0-or-later */
/* records - TLS records that go to the kernel together.
 *
 *     curl: 64 KiB -> SSL_write() -> 4 records of 16 KiB -> [gathered here] -> one send(2)
 *
 * OpenSSL writes each record by itself, which costs a system call, a packet's way through the
 * kernel and a reader that wakes up for each. Nothing is held back beyond what was announced: the
 * last of these records takes the others with it. So never announce more than is sure to be written
 * before an answer is waited for. Source: OpenSSL 3.0, BIO_meth_new(3), SSL_set0_wbio(3); libcurl,
 * CURLINFO_TLS_SSL_PTR(3). */
#pragma once

#include <curl/curl.h>
#include <stddef.h>

/* The next that curl writes on this connection is at least `n_bytes`, in one piece or in several
 * that follow each other; from a callback, before the first. Not over TLS, or over another library
 * than OpenSSL, nothing happens. */
void upl_records_expect(CURL *easy, size_t n_bytes);
/* The same of a connection by itself: the next SSL_write(), or several, are of `n_bytes`. */
struct ssl_st;
void upl_records_expect_of(struct ssl_st *ssl, size_t n_bytes);
