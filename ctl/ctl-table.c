/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-table - measuring, cutting and aligning text. */
#include <locale.h>
#include <string.h>
#include <sys/ioctl.h>
#include <wchar.h>

#include "ctl/cli.h"
#include "ctl/ctl-table.h"

#define GAP         2    /* blanks between columns */
#define SHRUNK_MIN  8    /* columns that are left of a column that shrinks */
#define CELL_MAX    1024 /* bytes */
#define COLUMNS_MAX 16

/* ---- widths ---- */

/* The tables of widths are the C library's, which has them in a locale only; where that locale is
 * missing every character takes one column. */
static locale_t width_locale(void)
{
        static locale_t utf8;
        static bool tried;

        if (!tried)
                utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
        tried = true;
        return utf8;
}

/* The character at `p`, valid UTF-8, and how many bytes it takes. */
static wchar_t character(const char *p, size_t *ret_bytes)
{
        const unsigned char *u = (const unsigned char *)p;

        if (u[0] < 0x80) {
                *ret_bytes = 1;
                return u[0];
        }
        if (u[0] < 0xe0) {
                *ret_bytes = 2;
                return (wchar_t)((u[0] & 0x1f) << 6 | (u[1] & 0x3f));
        }
        if (u[0] < 0xf0) {
                *ret_bytes = 3;
                return (wchar_t)((u[0] & 0x0f) << 12 | (u[1] & 0x3f) << 6 | (u[2] & 0x3f));
        }
        *ret_bytes = 4;
        return (wchar_t)((u[0] & 0x07) << 18 | (u[1] & 0x3f) << 12 | (u[2] & 0x3f) << 6 |
                         (u[3] & 0x3f));
}

/* Bytes of the longest beginning that fits into `columns`; its columns. */
static size_t fitting(const char *text, size_t columns, size_t *ret_columns)
{
        const locale_t utf8 = width_locale();
        const locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;
        size_t used = 0, bytes = 0, k;

        while (text[bytes] != '\0') {
                const wchar_t c = character(text + bytes, &k);
                const int w = c < 0x80 || !utf8 ? 1 : wcwidth(c);

                if (used + (size_t)(w < 0 ? 1 : w) > columns)
                        break;
                used += (size_t)(w < 0 ? 1 : w);
                bytes += k;
        }
        if (utf8)
                (void)uselocale(before);
        *ret_columns = used;
        return bytes;
}

size_t ctl_text_columns(const char *text)
{
        size_t columns;

        (void)fitting(text, SIZE_MAX, &columns);
        return columns;
}

static int add_blanks(struct bth_buf *out, size_t n)
{
        return n > 0 ? bth_buf_add_format(out, "%*s", (int)MIN(n, (size_t)CELL_MAX), "") : 0;
}

int ctl_text_add(struct bth_buf *out, const char *text, size_t columns, bool to_right, bool fill)
{
        size_t used, bytes = fitting(text, columns, &used);
        const bool cut = text[bytes] != '\0' && columns > 0;
        int r = 0;

        if (cut) {
                bytes = fitting(text, columns - 1, &used);
                used++;
        }
        if (fill && to_right)
                r = add_blanks(out, columns - used);
        if (r >= 0)
                r = bth_buf_add(out, text, bytes);
        if (r >= 0 && cut)
                r = bth_buf_add_string(out, "…");
        if (r >= 0 && fill && !to_right)
                r = add_blanks(out, columns - used);
        return r;
}

unsigned ctl_terminal_columns(int fd)
{
        struct winsize w;

        if (!isatty(fd))
                return 0;
        return ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

/* ---- tables ---- */

void ctl_table_clear(struct ctl_table *t)
{
        for (size_t i = 0; i < t->n_cells; i++)
                free(t->cells[i]);
        free(t->cells);
        t->cells = NULL;
        t->n_cells = 0;
}

void ctl_table_add(struct ctl_table *t, const char *text)
{
        char escaped[CELL_MAX];
        char **grown, *copy;

        if (!text || text[0] == '\0')
                text = "-";
        copy = strdup(bth_escape(text, strlen(text), escaped, sizeof escaped));
        grown = copy ? reallocarray(t->cells, t->n_cells + 1, sizeof *grown) : NULL;
        if (!grown) {
                free(copy);
                t->failed = true;
                return;
        }
        t->cells = grown;
        t->cells[t->n_cells++] = copy;
}

void ctl_table_add_format(struct ctl_table *t, const char *format, ...)
{
        char text[CELL_MAX];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        ctl_table_add(t, text);
}

static size_t sum_of(const size_t *widths, size_t n)
{
        size_t sum = (n - 1) * GAP;

        for (size_t i = 0; i < n; i++)
                sum += widths[i];
        return sum;
}

/* Takes a column from the widest that may give one, until it fits or none is left. */
static void shrink(const struct ctl_table *t, size_t *widths, size_t width)
{
        while (sum_of(widths, t->n_columns) > width) {
                size_t widest = t->n_columns;

                for (size_t i = 0; i < t->n_columns; i++)
                        if (t->columns[i].may_shrink && widths[i] > SHRUNK_MIN &&
                            (widest == t->n_columns || widths[i] >= widths[widest]))
                                widest = i;
                if (widest == t->n_columns)
                        return;
                widths[widest]--;
        }
}

static int add_line(const struct ctl_table *t, char *const *cells, const size_t *widths,
                    size_t width, struct bth_buf *out)
{
        _cleanup_buf_ struct bth_buf line = BTH_BUF_INIT;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < t->n_columns; i++) {
                const bool last = i + 1 == t->n_columns;
                const char *text = cells ? cells[i] : t->columns[i].title;

                r = ctl_text_add(&line, text, widths[i], t->columns[i].to_right,
                                 !last || t->columns[i].to_right);
                if (r >= 0 && !last)
                        r = add_blanks(&line, GAP);
        }
        if (r >= 0)
                r = ctl_text_add(out, line.data, width > 0 ? width : SIZE_MAX, false, false);
        return r < 0 ? r : bth_buf_add(out, "\n", 1);
}

int ctl_table_lines(const struct ctl_table *t, size_t width, struct bth_buf *out)
{
        const bool titles = t->columns[0].title != NULL;
        size_t widths[COLUMNS_MAX] = { 0 };
        int r = 0;

        if (t->failed || t->n_columns > COLUMNS_MAX)
                return -ENOMEM;
        for (size_t i = 0; titles && i < t->n_columns; i++)
                widths[i] = ctl_text_columns(t->columns[i].title);
        for (size_t i = 0; i < t->n_cells; i++)
                widths[i % t->n_columns] =
                        MAX(widths[i % t->n_columns], ctl_text_columns(t->cells[i]));
        if (width > 0)
                shrink(t, widths, width);
        if (titles)
                r = add_line(t, NULL, widths, width, out);
        for (size_t i = 0; r >= 0 && i + t->n_columns <= t->n_cells; i += t->n_columns)
                r = add_line(t, t->cells + i, widths, width, out);
        return r;
}

int ctl_table_print(const struct ctl_table *t, FILE *out)
{
        _cleanup_buf_ struct bth_buf lines = BTH_BUF_INIT;
        int r = ctl_table_lines(t, ctl_terminal_columns(fileno(out)), &lines);

        if (r < 0)
                return r;
        return lines.length == 0 || fputs(lines.data, out) >= 0 ? 0 : -EIO;
}

const struct ctl_column ctl_fact_columns[2] = { { NULL }, { NULL, .may_shrink = true } };

void ctl_fact(struct ctl_table *t, const char *what, const char *text)
{
        if (!text || text[0] == '\0')
                return;
        ctl_table_add(t, what);
        ctl_table_add(t, text);
}

void ctl_fact_format(struct ctl_table *t, const char *what, const char *format, ...)
{
        char text[CELL_MAX];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        ctl_fact(t, what, text);
}

/* ---- values ---- */

const char *ctl_text_of(const json_t *object, const char *key)
{
        const char *text = json_string_value(json_object_get(object, key));

        return text ? text : "";
}

bool ctl_number_of(const json_t *object, const char *key, uint64_t *value)
{
        uint64_t v;

        if (bth_json_get_u64(object, key, &v) < 0)
                return false;
        *value = v;
        return true;
}

char *ctl_duration_text(uint64_t seconds, char *out)
{
        const unsigned long long s = seconds;

        if (s < 120)
                (void)snprintf(out, CTL_TEXT_MAX, "%llu s", s);
        else if (s < 2 * 3600)
                (void)snprintf(out, CTL_TEXT_MAX, "%llu min", (s + 30) / 60);
        else if (s < 100 * 3600)
                (void)snprintf(out, CTL_TEXT_MAX, "%llu h %02llu min", s / 3600, s % 3600 / 60);
        else
                (void)snprintf(out, CTL_TEXT_MAX, "%llu days", s / 86400);
        return out;
}

char *ctl_rate_text(uint64_t bytes_per_second, char *out)
{
        char bytes[32];

        (void)snprintf(out, CTL_TEXT_MAX, "%s/s", ctl_bytes_text(bytes_per_second, bytes));
        return out;
}

char *ctl_time_text(const char *rfc3339, char *out)
{
        const size_t n = strlen(rfc3339);

        if (n >= 20 && rfc3339[10] == 'T' && rfc3339[n - 1] == 'Z')
                (void)snprintf(out, CTL_TEXT_MAX, "%.10s %.8sZ", rfc3339, rfc3339 + 11);
        else
                (void)bth_escape(rfc3339, n, out, CTL_TEXT_MAX);
        return out;
}

char *ctl_bar(unsigned percent, unsigned columns, bool blocks, char *out)
{
        static const char *const parts[] = { " ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█" };
        const unsigned eighths = MIN(percent, 100u) * columns * 8 / 100;
        char *end = out;

        for (unsigned i = 0; i < columns; i++) {
                const unsigned from = MIN(eighths, i * 8), filled = MIN(eighths - from, 8u);

                if (blocks)
                        end = stpcpy(end, parts[filled]);
                else
                        *end++ = filled == 8 ? '#' : '.';
        }
        *end = '\0';
        return out;
}
