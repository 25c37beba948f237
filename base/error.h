/* SPDX-License-Identifier: GPL-3.0-or-later */
/* error - what went wrong, for code and for people.
 *
 * Code gets a negative errno as return value. People get a `struct bth_error`: a reason (one of a
 * closed list, with a stable name), where it happened (object, line, offset, blob), one sentence,
 * and what to do. Functions that can explain themselves take a `struct bth_error *error` as last
 * argument, which may be NULL; they fill it only when they return a negative errno. Texts in it are
 * escaped: safe to log. No allocation. One error belongs to one thread. */
#pragma once

#include "base/macros.h"
#include "base/reason.h"

#define BTH_ERROR_NO_OFFSET UINT64_MAX

struct bth_error {
        int code; /* negative errno; 0 when empty */
        enum bth_reason reason;
        uint64_t line;         /* from 1; 0 = none */
        uint64_t offset_bytes; /* BTH_ERROR_NO_OFFSET = none */
        char object[384];      /* file, drive or account; "" = none */
        char blob[384];        /* "" = none */
        char sentence[512];    /* what is wrong, no final full stop */
        char advice[256];      /* what to do; "" = the reason's own advice */
};

#define BTH_ERROR_INIT ((struct bth_error){ .offset_bytes = BTH_ERROR_NO_OFFSET })

/* Sets code, reason and sentence, and keeps where-fields that were set before. `e` may be NULL.
 * Arguments of the format may be hostile: control bytes and invalid UTF-8 are escaped.
 * Returns `code` (negative errno), so that `return bth_error_set(e, -EINVAL, …)` is one line. */
int bth_error_set(struct bth_error *e, int code, enum bth_reason reason, const char *format, ...)
        _printf_(4, 5);

/* Name the place. `e` and texts may be NULL (NULL text keeps what is there). */
void bth_error_at(struct bth_error *e, const char *object, uint64_t line, uint64_t offset_bytes);
void bth_error_blob(struct bth_error *e, const char *blob);
void bth_error_advise(struct bth_error *e, const char *format, ...) _printf_(2, 3);

void bth_error_clear(struct bth_error *e);

/* What to do: the error's own advice, else the reason's. Never NULL. */
const char *bth_error_advice(const struct bth_error *e);

/* Writes "OBJECT:LINE: offset N: blob 'B': SENTENCE. ADVICE." (absent parts left out) into
 * `buffer`, cut with "…" where it does not fit; always NUL-terminated when size_bytes > 0. Returns
 * `buffer`. */
char *bth_error_to_string(const struct bth_error *e, char *buffer, size_t size_bytes);

/* "No such file or directory" for -ENOENT: thread safe, never NULL. */
const char *bth_strerror(int negative_errno);
