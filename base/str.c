/* SPDX-License-Identifier: GPL-3.0-or-later */
/* str - growing strings, escaping, and strict parsing of small values. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/checked.h"
#include "base/secret.h"
#include "base/str.h"

#define FORMAT_GUESS_BYTES 48u

/* As realloc(3), which may leave the old bytes in free memory. */
static char *move_secret(const struct bth_buf *b, size_t grown)
{
        char *p = malloc(grown);

        if (p && b->data) {
                memcpy(p, b->data, b->length);
                bth_wipe(b->data, b->allocated);
                free(b->data);
        }
        return p;
}

int bth_buf_reserve(struct bth_buf *b, size_t more_bytes)
{
        size_t need, grown;
        char *p;

        if (!bth_add_size(b->length, more_bytes, &need) || !bth_add_size(need, 1, &need))
                return -ENOMEM;
        if (need <= b->allocated)
                return 0;
        grown = b->allocated < 64 ? 64 : b->allocated;
        while (grown < need)
                if (!bth_mul_size(grown, 2, &grown))
                        return -ENOMEM;
        p = b->secret ? move_secret(b, grown) : realloc(b->data, grown);
        if (!p)
                return -ENOMEM;
        b->data = p;
        b->allocated = grown;
        b->data[b->length] = '\0';
        return 0;
}

int bth_buf_add(struct bth_buf *b, const void *data, size_t n)
{
        int r = bth_buf_reserve(b, n);

        if (r < 0)
                return r;
        if (n > 0)
                memcpy(b->data + b->length, data, n);
        b->length += n;
        b->data[b->length] = '\0';
        return 0;
}

int bth_buf_add_string(struct bth_buf *b, const char *s)
{
        return bth_buf_add(b, s, strlen(s));
}

int bth_buf_add_format(struct bth_buf *b, const char *format, ...)
{
        va_list ap;
        size_t room;
        int n, r = bth_buf_reserve(b, FORMAT_GUESS_BYTES);

        if (r < 0)
                return r;
        room = b->allocated - b->length;
        va_start(ap, format);
        n = vsnprintf(b->data + b->length, room, format, ap);
        va_end(ap);
        if (n >= 0 && (size_t)n < room) {
                b->length += (size_t)n;
                return 0;
        }
        b->data[b->length] = '\0';
        if (n < 0)
                return -EINVAL;
        r = bth_buf_reserve(b, (size_t)n);
        if (r < 0)
                return r;
        va_start(ap, format);
        (void)vsnprintf(b->data + b->length, (size_t)n + 1, format, ap);
        va_end(ap);
        b->length += (size_t)n;
        return 0;
}

static const char *xml_entity(char c)
{
        switch (c) {
        case '&':
                return "&amp;";
        case '<':
                return "&lt;";
        case '>':
                return "&gt;";
        case '"':
                return "&quot;";
        case '\'':
                return "&apos;";
        /* Written as references, or an XML reader would turn them into blanks. */
        case '\t':
                return "&#9;";
        case '\n':
                return "&#10;";
        case '\r':
                return "&#13;";
        default:
                return NULL;
        }
}

int bth_buf_add_xml(struct bth_buf *b, const char *s)
{
        const size_t start = b->length;
        const char *run = s;

        for (; *s; s++) {
                const char *entity = xml_entity(*s);

                if (!entity)
                        continue;
                if (bth_buf_add(b, run, (size_t)(s - run)) < 0 || bth_buf_add_string(b, entity) < 0)
                        goto undo;
                run = s + 1;
        }
        if (bth_buf_add(b, run, (size_t)(s - run)) == 0)
                return 0;
undo:
        b->length = start;
        if (b->data)
                b->data[start] = '\0';
        return -ENOMEM;
}

void bth_buf_clear(struct bth_buf *b)
{
        if (b->secret && b->data)
                bth_wipe(b->data, b->allocated);
        free(b->data);
        *b = (struct bth_buf){ .secret = b->secret };
}

/* Length of the valid UTF-8 sequence at `p`, or 0. */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
        if (p[0] < 0x80)
                return 1;
        if (p[0] >= 0xc2 && p[0] <= 0xdf)
                return n >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
        if (p[0] >= 0xe0 && p[0] <= 0xef) {
                if (n < 3 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80)
                        return 0;
                if (p[0] == 0xe0 && p[1] < 0xa0)
                        return 0; /* overlong */
                if (p[0] == 0xed && p[1] >= 0xa0)
                        return 0; /* surrogate */
                return 3;
        }
        if (p[0] >= 0xf0 && p[0] <= 0xf4) {
                if (n < 4 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80 ||
                    (p[3] & 0xc0) != 0x80)
                        return 0;
                if (p[0] == 0xf0 && p[1] < 0x90)
                        return 0; /* overlong */
                if (p[0] == 0xf4 && p[1] >= 0x90)
                        return 0; /* beyond U+10FFFF */
                return 4;
        }
        return 0;
}

bool bth_utf8_valid(const char *text, size_t n)
{
        const unsigned char *p = (const unsigned char *)text;

        while (n > 0) {
                size_t k = utf8_sequence(p, n);

                if (k == 0)
                        return false;
                p += k;
                n -= k;
        }
        return true;
}

/* Must the sequence be shown as \xNN? C0, DEL, C1, and the bidirectional controls that can make a
 * terminal show text in another order than it has. */
static bool is_unprintable(const unsigned char *p, size_t k)
{
        if (k == 1)
                return p[0] < 0x20 || p[0] == 0x7f;
        if (k == 2)
                return p[0] == 0xc2 && p[1] < 0xa0;
        if (k == 3 && p[0] == 0xe2 && p[1] == 0x80)
                return p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae);
        if (k == 3 && p[0] == 0xe2 && p[1] == 0x81)
                return p[2] >= 0xa6 && p[2] <= 0xa9;
        return false;
}

char *bth_escape(const char *text, size_t n, char *out, size_t out_bytes)
{
        static const char ellipsis[] = "…";
        const unsigned char *p = (const unsigned char *)text;
        size_t used = 0, cut = 0;

        if (out_bytes == 0)
                return out;
        while (n > 0) {
                size_t k = utf8_sequence(p, n);
                bool hex = k == 0 || is_unprintable(p, k);
                size_t take = k == 0 ? 1 : k;
                size_t need = hex ? 4 * take : take;

                if (used + need + 1 > out_bytes)
                        break;
                if (hex)
                        for (size_t i = 0; i < take; i++)
                                (void)snprintf(out + used + 4 * i, 5, "\\x%02x", p[i]);
                else
                        memcpy(out + used, p, take);
                used += need;
                if (used + sizeof ellipsis <= out_bytes)
                        cut = used;
                p += take;
                n -= take;
        }
        if (n > 0 && cut + sizeof ellipsis <= out_bytes) {
                memcpy(out + cut, ellipsis, sizeof ellipsis);
                return out;
        }
        out[used] = '\0';
        return out;
}

int bth_parse_u64_n(const char *text, size_t n, uint64_t *ret_value)
{
        uint64_t v = 0;

        if (n == 0)
                return -EINVAL;
        for (size_t i = 0; i < n; i++) {
                if (text[i] < '0' || text[i] > '9')
                        return -EINVAL;
        }
        for (size_t i = 0; i < n; i++)
                if (!bth_mul_u64(v, 10, &v) || !bth_add_u64(v, (uint64_t)(text[i] - '0'), &v))
                        return -ERANGE;
        *ret_value = v;
        return 0;
}

int bth_parse_u64(const char *text, uint64_t *ret_value)
{
        return text ? bth_parse_u64_n(text, strlen(text), ret_value) : -EINVAL;
}

static int parse_unit(const char *unit, uint64_t *ret_factor)
{
        static const char letters[] = "KMGT";
        const char *found;
        uint64_t base = 1000, factor = 1;

        if (unit[0] == '\0' || bth_streq(unit, "B")) {
                *ret_factor = 1;
                return 0;
        }
        found = memchr(letters, unit[0] & ~0x20, sizeof letters - 1);
        if (!found)
                return -EINVAL;
        unit++;
        if (*unit == 'i') {
                base = 1024;
                unit++;
        }
        if (*unit == 'B' || *unit == 'b')
                unit++;
        if (*unit != '\0')
                return -EINVAL;
        for (const char *p = letters; p <= found; p++)
                factor *= base;
        *ret_factor = factor;
        return 0;
}

int bth_parse_size(const char *text, uint64_t *ret_bytes)
{
        size_t whole, fraction = 0;
        uint64_t value, factor, part = 0, scale = 1;
        int r;

        if (!text)
                return -EINVAL;
        whole = strspn(text, "0123456789");
        r = bth_parse_u64_n(text, whole, &value);
        if (r < 0)
                return r;
        text += whole;
        if (*text == '.') {
                fraction = strspn(++text, "0123456789");
                /* Six digits keep part * factor (at most 10^6 * 2^40) inside 64 bits. */
                if (fraction == 0 || fraction > 6)
                        return -EINVAL;
                r = bth_parse_u64_n(text, fraction, &part);
                if (r < 0)
                        return r;
                for (size_t i = 0; i < fraction; i++)
                        scale *= 10;
                text += fraction;
        }
        r = parse_unit(text, &factor);
        if (r < 0)
                return r;
        if (part != 0 && factor == 1)
                return -EINVAL;
        if (!bth_mul_u64(value, factor, &value) ||
            !bth_add_u64(value, part * factor / scale, &value))
                return -ERANGE;
        *ret_bytes = value;
        return 0;
}

int bth_parse_bool(const char *text, bool *ret_value)
{
        static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };

        for (size_t i = 0; text && i < ARRAY_SIZE(words); i++)
                if (bth_ascii_casecmp(text, words[i]) == 0) {
                        *ret_value = i % 2 == 1;
                        return 0;
                }
        return -EINVAL;
}

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

int bth_hex_decode(const char *hex, size_t n_digits, void *ret_bytes)
{
        uint8_t *out = ret_bytes;

        if (n_digits % 2 != 0)
                return -EINVAL;
        for (size_t i = 0; i < n_digits; i++)
                if (hex_digit(hex[i]) < 0)
                        return -EINVAL;
        for (size_t i = 0; i < n_digits; i += 2)
                out[i / 2] = (uint8_t)(hex_digit(hex[i]) << 4 | hex_digit(hex[i + 1]));
        return 0;
}

char *bth_hex_encode(const void *bytes, size_t n, char *out)
{
        static const char digits[] = "0123456789ABCDEF";
        const uint8_t *p = bytes;

        for (size_t i = 0; i < n; i++) {
                out[2 * i] = digits[p[i] >> 4];
                out[2 * i + 1] = digits[p[i] & 15];
        }
        out[2 * n] = '\0';
        return out;
}

static const char base64_alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *bth_base64_encode(const void *bytes, size_t n, char *out)
{
        const uint8_t *p = bytes;
        char *o = out;

        for (; n > 0; p += 3) {
                size_t take = MIN(n, (size_t)3);
                uint32_t v = (uint32_t)p[0] << 16;

                if (take > 1)
                        v |= (uint32_t)p[1] << 8;
                if (take > 2)
                        v |= p[2];
                *o++ = base64_alphabet[v >> 18];
                *o++ = base64_alphabet[v >> 12 & 63];
                *o++ = take > 1 ? base64_alphabet[v >> 6 & 63] : '=';
                *o++ = take > 2 ? base64_alphabet[v & 63] : '=';
                n -= take;
        }
        *o = '\0';
        return out;
}

static int base64_value(char c)
{
        if (c >= 'A' && c <= 'Z')
                return c - 'A';
        if (c >= 'a' && c <= 'z')
                return c - 'a' + 26;
        if (c >= '0' && c <= '9')
                return c - '0' + 52;
        return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int bth_base64_decode(const char *text, size_t n_chars, void *ret_bytes, size_t *ret_n)
{
        uint8_t *out = ret_bytes;
        size_t n = 0;

        if (n_chars % 4 != 0)
                return -EINVAL;
        for (size_t i = 0; i < n_chars; i += 4) {
                bool last = i + 4 == n_chars;
                int pad = !last ? 0 : text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
                uint32_t v = 0;

                for (int k = 0; k < 4; k++) {
                        int d = k >= 4 - pad ? 0 : base64_value(text[i + (size_t)k]);

                        if (d < 0)
                                return -EINVAL;
                        v = v << 6 | (uint32_t)d;
                }
                /* Bits behind the last byte must be zero, or two texts would mean the same bytes.
                 */
                if ((pad == 1 && (v & 0xff) != 0) || (pad == 2 && (v & 0xffff) != 0))
                        return -EINVAL;
                out[n++] = (uint8_t)(v >> 16);
                if (pad < 2)
                        out[n++] = (uint8_t)(v >> 8);
                if (pad < 1)
                        out[n++] = (uint8_t)v;
        }
        *ret_n = n;
        return 0;
}

bool bth_streq(const char *a, const char *b)
{
        return a == b || (a && b && strcmp(a, b) == 0);
}

bool bth_starts_with(const char *text, const char *prefix)
{
        return text && prefix && strncmp(text, prefix, strlen(prefix)) == 0;
}

bool bth_ends_with(const char *text, const char *suffix)
{
        size_t n, k;

        if (!text || !suffix)
                return false;
        n = strlen(text);
        k = strlen(suffix);
        return k <= n && memcmp(text + n - k, suffix, k) == 0;
}

static int ascii_lower(unsigned char c)
{
        return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

int bth_ascii_casecmp(const char *a, const char *b)
{
        return bth_ascii_ncasecmp(a, b, SIZE_MAX);
}

int bth_ascii_ncasecmp(const char *a, const char *b, size_t n)
{
        for (; n > 0; a++, b++, n--) {
                int x = ascii_lower((unsigned char)*a), y = ascii_lower((unsigned char)*b);

                if (x != y || x == 0)
                        return x - y;
        }
        return 0;
}
