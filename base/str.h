/* SPDX-License-Identifier: GPL-3.0-or-later */
/* str - growing strings, escaping, and strict parsing of small values.
 * Any thread; one object belongs to one thread. */
#pragma once

#include <stdarg.h>

#include "base/macros.h"

/* A growing byte string; always NUL-terminated once something was added. Zero-initialise; free with
 * bth_buf_clear(). After a failed call the content is unchanged. */
struct bth_buf {
        char *data;
        size_t length;
        size_t allocated;
        bool secret; /* set before anything is added: what is left behind when it moves or ends is
                      * wiped */
};
#define BTH_BUF_INIT ((struct bth_buf){ 0 })

/* Each returns 0 or -ENOMEM (formatting also -EINVAL). */
int bth_buf_reserve(struct bth_buf *b, size_t more_bytes) _must_check_;
int bth_buf_add(struct bth_buf *b, const void *data, size_t n) _must_check_;
int bth_buf_add_string(struct bth_buf *b, const char *s) _must_check_;
int bth_buf_add_format(struct bth_buf *b, const char *format, ...) _must_check_ _printf_(2, 3);
/* Adds text escaped for XML (both element and attribute context). Returns 0 or -ENOMEM. */
int bth_buf_add_xml(struct bth_buf *b, const char *s) _must_check_;
void bth_buf_clear(struct bth_buf *b);
static inline void bth_buf_clearp(struct bth_buf *b)
{
        bth_buf_clear(b);
}
#define _cleanup_buf_ _cleanup_(bth_buf_clearp)

/* Writes `n` bytes of hostile text into `out` with control bytes and invalid UTF-8 as \xNN, cut
 * with "…" where it does not fit; NUL-terminated when out_bytes > 0. Returns `out`. */
char *bth_escape(const char *text, size_t n, char *out, size_t out_bytes);

/* Is `n` bytes of text valid UTF-8 (no surrogates, no overlong forms, NUL allowed)? */
bool bth_utf8_valid(const char *text, size_t n);

/* Strict decimal: digits only, no sign, no blank, no overflow.
 * Returns 0, -EINVAL (not a number), -ERANGE (more than 64 bit). */
int bth_parse_u64(const char *text, uint64_t *ret_value) _must_check_;
int bth_parse_u64_n(const char *text, size_t n, uint64_t *ret_value) _must_check_;
/* A decimal number with an optional unit: none, K M G T (1000), KiB MiB GiB TiB (1024), with
 * optional B and fraction ("1.5TB"). Returns 0, -EINVAL, -ERANGE. */
int bth_parse_size(const char *text, uint64_t *ret_bytes) _must_check_;
/* yes/no, true/false, on/off, 1/0. Returns 0 or -EINVAL. */
int bth_parse_bool(const char *text, bool *ret_value) _must_check_;

/* 2 * n_bytes hex digits of either case into bytes. Returns 0 or -EINVAL. */
int bth_hex_decode(const char *hex, size_t n_digits, void *ret_bytes) _must_check_;
/* Upper-case hex with NUL into `out` (2 * n + 1 bytes). Returns `out`. */
char *bth_hex_encode(const void *bytes, size_t n, char *out);

/* Base64 with padding (RFC 4648 section 4), strict: no blanks, no other alphabet, zero trailing
 * bits. */
#define BTH_BASE64_LENGTH(n) (((n) + 2) / 3 * 4)
/* Writes BTH_BASE64_LENGTH(n) characters and NUL. Returns `out`. */
char *bth_base64_encode(const void *bytes, size_t n, char *out);
/* Decodes into `out` (at least n_chars / 4 * 3 bytes). Returns 0 or -EINVAL. */
int bth_base64_decode(const char *text, size_t n_chars, void *ret_bytes, size_t *ret_n)
        _must_check_;

/* NULL-tolerant helpers. */
bool bth_streq(const char *a, const char *b);
bool bth_starts_with(const char *text, const char *prefix);
bool bth_ends_with(const char *text, const char *suffix);
/* Returns less than, equal to or greater than 0; ASCII only, locale plays no part. No errors. */
int bth_ascii_casecmp(const char *a, const char *b);
int bth_ascii_ncasecmp(const char *a, const char *b, size_t n); /* at most n bytes */
