/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-table - columns of text for people: aligned, as wide as the terminal, hostile text escaped.
 *
 *     BAY  DRIVE         JOB     STATE         DONE       RATE    LEFT  WHAT
 *     A1   QX7TESTDRV01  photos  transferring   45%   412 MB/s   36 s   blobs are being copied
 *
 * Widths are those that a terminal gives to the characters: wide ones take two columns, combining
 * ones none, whatever the locale. One table belongs to one thread. */
#pragma once

#include <stdio.h>

#include "base/json.h"
#include "base/str.h"

/* Columns that a terminal needs for valid UTF-8 without control characters. */
size_t ctl_text_columns(const char *text);
/* Adds `text` in exactly `columns` columns: cut with "…", or filled with blanks on the right, or on
 * the left with `to_right`. Without `fill` it may stay shorter. Returns 0 or -ENOMEM. */
int ctl_text_add(struct bth_buf *out, const char *text, size_t columns, bool to_right, bool fill)
        _must_check_;
/* Columns of the terminal that `fd` is; 0 when it is none. COLUMNS of the environment does not
 * count: a shell sets it for itself. */
unsigned ctl_terminal_columns(int fd);

struct ctl_column {
        const char *title; /* NULL in the first: no line of titles */
        bool to_right;     /* numbers */
        bool may_shrink;   /* where it does not fit, this is cut first */
};

struct ctl_table {
        const struct ctl_column *columns;
        size_t n_columns;
        char **cells;
        size_t n_cells;
        bool failed; /* out of memory somewhere */
};
#define CTL_TABLE(c) ((struct ctl_table){ .columns = (c), .n_columns = ARRAY_SIZE(c) })
void ctl_table_clear(struct ctl_table *t);
#define _cleanup_table_ _cleanup_(ctl_table_clear)

/* The next cell, copied and escaped; NULL and "" show as "-". */
void ctl_table_add(struct ctl_table *t, const char *text);
void ctl_table_add_format(struct ctl_table *t, const char *format, ...) _printf_(2, 3);

/* The table as lines, not wider than `width` columns (0: as wide as it needs). Returns 0 or
 * -ENOMEM, also when a cell could not be kept. */
int ctl_table_lines(const struct ctl_table *t, size_t width, struct bth_buf *out) _must_check_;
/* The same to a stream, as wide as the terminal that it may be. Returns 0, -ENOMEM or -EIO. */
int ctl_table_print(const struct ctl_table *t, FILE *out) _must_check_;

/* A table of two columns without titles: what it is, how it is. A NULL or empty text is left out.
 */
extern const struct ctl_column ctl_fact_columns[2];
void ctl_fact(struct ctl_table *t, const char *what, const char *text);
void ctl_fact_format(struct ctl_table *t, const char *what, const char *format, ...) _printf_(3, 4);

/* ---- members of answers, and how people read them ---- */

const char *ctl_text_of(const json_t *object, const char *key); /* "" when it is not there */
/* Is the number there? Else `value` stays. */
bool ctl_number_of(const json_t *object, const char *key, uint64_t *value);

#define CTL_TEXT_MAX 48
/* Each writes at most CTL_TEXT_MAX bytes and returns `out`. */
char *ctl_duration_text(uint64_t seconds, char *out);      /* "36 s", "12 min", "3 h 05 min" */
char *ctl_rate_text(uint64_t bytes_per_second, char *out); /* "412 MB/s" */
char *ctl_time_text(const char *rfc3339, char *out);       /* "2031-04-09 07:15:02Z" */
/* A bar of `columns` columns; 0 to 100 percent. In eighths of a column with `blocks`, which wants
 * a terminal that knows UTF-8, else of # and dots. Writes at most 3 * columns + 1 bytes. */
char *ctl_bar(unsigned percent, unsigned columns, bool blocks, char *out);
