/* SPDX-License-Identifier: GPL-3.0-or-later */
/* csv - the comma-separated dialect of the WAImportExport tool.
 *
 * One header line, one row a line. A field may stand in '"'; inside, a backslash is an ordinary
 * character (a quoted folder ends with backslash and quote) and a doubled quote is one quote.
 * Blanks around an unquoted field do not count. LF or CRLF, blank lines, a byte order mark and a
 * trailing " |" (a slip of published samples) are accepted, the last with a warning. Source:
 * import-export specification 4.1. */
#pragma once

#include "media/finding.h"

#define MED_CSV_MAX_BYTES   ((size_t)64 << 20)
#define MED_CSV_MAX_COLUMNS 32
#define MED_CSV_MAX_FIELD   ((size_t)64 << 10)

struct med_csv;

struct med_csv_row {
        uint64_t line; /* where the row begins */
        size_t n_fields;
        const char *fields[MED_CSV_MAX_COLUMNS]; /* NUL-terminated, valid UTF-8, trimmed; "" for
                                                    empty */
};

/* Reads from memory, which must outlive the reader; UTF-8 without NUL.
 * Returns 0, -EFBIG beyond MED_CSV_MAX_BYTES, -EILSEQ (not UTF-8), -ENOMEM. */
int med_csv_new(const char *text, size_t n, const struct med_findings *findings,
                struct med_csv **ret_csv, struct bth_error *error) _must_check_;
struct med_csv *med_csv_free(struct med_csv *c); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(med_csv_free, struct med_csv *);

/* The next row that is not blank. Fields live until the next call.
 * Returns 1 and a row, 0 at the end, -EBADMSG with line and column: an open quote, text behind a
 * closing quote, too many columns, a field that is too long; -ENOMEM. */
int med_csv_next(struct med_csv *c, struct med_csv_row *ret_row, struct bth_error *error)
        _must_check_;

/* Adds one row, quoting where needed. Returns 0, -ENOMEM, -EINVAL for a field with a line end. */
struct bth_buf;
int med_csv_write_row(struct bth_buf *out, const char *const *fields, size_t n) _must_check_;
