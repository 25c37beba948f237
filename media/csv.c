/* SPDX-License-Identifier: GPL-3.0-or-later */
/* csv - one pass over the text, a row at a time. */
#include <string.h>

#include "base/secret.h"
#include "base/str.h"
#include "media/csv.h"

struct med_csv {
        const char *at, *end;
        uint64_t line;
        const struct med_findings *findings;
        struct bth_buf fields; /* the row's fields, each NUL-terminated */
};

int med_csv_new(const char *text, size_t n, const struct med_findings *findings,
                struct med_csv **ret_csv, struct bth_error *error)
{
        struct med_csv *c;

        if (findings)
                bth_error_at(error, findings->object, 0, BTH_ERROR_NO_OFFSET);
        if (n > MED_CSV_MAX_BYTES)
                return bth_error_set(error, -EFBIG, BTH_REASON_TOO_LARGE,
                                     "the file has %zu bytes; at most %zu are read", n,
                                     MED_CSV_MAX_BYTES);
        if (memchr(text, '\0', n) || !bth_utf8_valid(text, n))
                return bth_error_set(error, -EILSEQ, BTH_REASON_NOT_TEXT,
                                     "the file is not UTF-8 text");
        c = calloc(1, sizeof *c);
        if (!c)
                return -ENOMEM;
        if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
                text += 3;
                n -= 3;
        }
        *c = (struct med_csv){
                .at = text, .end = text + n, .findings = findings, .fields = { .secret = true }
        }; /* a drive set has keys */
        *ret_csv = c;
        return 0;
}

struct med_csv *med_csv_free(struct med_csv *c)
{
        if (c) {
                bth_buf_clear(&c->fields);
                free(c);
        }
        return NULL;
}

static int complain(const struct med_csv *c, const char *at, const char *line_start,
                    struct bth_error *error, const char *what)
{
        bth_error_at(error, c->findings ? c->findings->object : NULL, c->line, BTH_ERROR_NO_OFFSET);
        return bth_error_set(error, -EBADMSG, BTH_REASON_SYNTAX, "column %zu: %s",
                             (size_t)(at - line_start) + 1, what);
}

static bool is_blank(char ch)
{
        return ch == ' ' || ch == '\t';
}

/* A quoted field from behind its opening quote. Leaves `*at` behind the closing one. */
static int read_quoted(struct med_csv *c, const char **at, const char *end)
{
        const char *p = *at;

        for (;;) {
                const char *quote = memchr(p, '"', (size_t)(end - p));
                int r;

                if (!quote)
                        return -EBADMSG;
                r = bth_buf_add(&c->fields, p, (size_t)(quote - p));
                if (r < 0)
                        return r;
                p = quote + 1;
                if (p == end || *p != '"') {
                        *at = p;
                        return 0;
                }
                r = bth_buf_add(&c->fields, "\"", 1);
                if (r < 0)
                        return r;
                p++;
        }
}

/* Reads one line [start, end) into fields; offsets first, pointers later, since the buffer moves.
 */
static int split_line(struct med_csv *c, const char *start, const char *end,
                      size_t offsets[MED_CSV_MAX_COLUMNS], size_t *ret_n, struct bth_error *error)
{
        const char *p = start;
        size_t n = 0;

        c->fields.length = 0;
        for (;;) {
                int r;

                while (p < end && is_blank(*p))
                        p++;
                if (n == MED_CSV_MAX_COLUMNS)
                        return complain(c, p, start, error, "more than 32 columns");
                offsets[n++] = c->fields.length;
                if (p < end && *p == '"') {
                        const char *open = p++;

                        r = read_quoted(c, &p, end);
                        if (r == -EBADMSG)
                                return complain(c, open, start, error,
                                                "the quote that opens here is not closed");
                        while (p < end && is_blank(*p))
                                p++;
                        if (r == 0 && p < end && *p != ',')
                                return complain(c, p, start, error, "text behind a closing quote");
                } else {
                        const char *stop = p, *last;

                        while (stop < end && *stop != ',')
                                stop++;
                        for (last = stop; last > p && is_blank(last[-1]); last--)
                                ;
                        r = bth_buf_add(&c->fields, p, (size_t)(last - p));
                        p = stop;
                }
                if (r == 0)
                        r = bth_buf_add(&c->fields, "", 1);
                if (r < 0)
                        return r;
                if (c->fields.length - offsets[n - 1] > MED_CSV_MAX_FIELD)
                        return complain(c, p, start, error, "a field is longer than 64 KiB");
                if (p == end)
                        break;
                p++; /* the comma */
        }
        *ret_n = n;
        return 0;
}

/* Published samples end some lines with " |", a slip of a table. */
static const char *drop_bar(const struct med_csv *c, const char *start, const char *end)
{
        if (end - start < 2 || end[-1] != '|' || !is_blank(end[-2]))
                return end;
        med_find(c->findings, MED_SEVERITY_WARNING, "csv-trailing-bar", c->line, NULL,
                 "remove the bar", "the line ends with a bar, which is left out");
        end--;
        while (end > start && is_blank(end[-1]))
                end--;
        return end;
}

int med_csv_next(struct med_csv *c, struct med_csv_row *ret_row, struct bth_error *error)
{
        size_t offsets[MED_CSV_MAX_COLUMNS], n = 0;

        while (c->at < c->end) {
                const char *start = c->at;
                const char *newline = memchr(start, '\n', (size_t)(c->end - start));
                const char *end = newline ? newline : c->end;
                int r;

                c->at = newline ? newline + 1 : c->end;
                c->line++;
                if (end > start && end[-1] == '\r')
                        end--;
                while (end > start && is_blank(end[-1]))
                        end--;
                end = drop_bar(c, start, end);
                if (end == start)
                        continue;
                r = split_line(c, start, end, offsets, &n, error);
                if (r < 0)
                        return r;
                *ret_row = (struct med_csv_row){ .line = c->line, .n_fields = n };
                for (size_t i = 0; i < n; i++)
                        ret_row->fields[i] = c->fields.data + offsets[i];
                return 1;
        }
        return 0;
}

static int write_field(struct bth_buf *out, const char *field)
{
        size_t n = strlen(field);
        int r;

        if (strpbrk(field, "\r\n"))
                return -EINVAL;
        if (n == 0 || (!strpbrk(field, ",\"| \t")))
                return bth_buf_add(out, field, n);
        r = bth_buf_add(out, "\"", 1);
        for (; r == 0 && *field; field++)
                r = bth_buf_add(out, *field == '"' ? "\"\"" : field, *field == '"' ? 2 : 1);
        return r < 0 ? r : bth_buf_add(out, "\"", 1);
}

int med_csv_write_row(struct bth_buf *out, const char *const *fields, size_t n)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < n; i++) {
                if (i > 0)
                        r = bth_buf_add(out, ",", 1);
                if (r == 0)
                        r = write_field(out, fields[i]);
        }
        return r < 0 ? r : bth_buf_add(out, "\r\n", 2);
}
