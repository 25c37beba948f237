/* SPDX-License-Identifier: GPL-3.0-or-later */
/* utf - UTF-16LE to UTF-8 and back without the locale.
 * Source: Unicode 15 section 3.9 (encoding forms); WTF-8 for lone surrogates. */
#include "base/le.h"
#include "base/utf.h"

static bool is_high(uint32_t u)
{
        return u >= 0xd800 && u <= 0xdbff;
}

static bool is_low(uint32_t u)
{
        return u >= 0xdc00 && u <= 0xdfff;
}

static size_t put_utf8(uint32_t c, char *out)
{
        if (c < 0x80) {
                out[0] = (char)c;
                return 1;
        }
        if (c < 0x800) {
                out[0] = (char)(0xc0 | c >> 6);
                out[1] = (char)(0x80 | (c & 63));
                return 2;
        }
        if (c < 0x10000) {
                out[0] = (char)(0xe0 | c >> 12);
                out[1] = (char)(0x80 | (c >> 6 & 63));
                out[2] = (char)(0x80 | (c & 63));
                return 3;
        }
        out[0] = (char)(0xf0 | c >> 18);
        out[1] = (char)(0x80 | (c >> 12 & 63));
        out[2] = (char)(0x80 | (c >> 6 & 63));
        out[3] = (char)(0x80 | (c & 63));
        return 4;
}

size_t bth_utf16_to_utf8(const void *utf16, size_t units, char *out)
{
        const uint8_t *p = utf16;
        size_t n = 0;

        for (size_t i = 0; i < units; i++) {
                uint32_t c = bth_load_le16(p + 2 * i);

                if (is_high(c) && i + 1 < units) {
                        uint32_t low = bth_load_le16(p + 2 * (i + 1));

                        if (is_low(low)) {
                                c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
                                i++;
                        }
                }
                n += put_utf8(c, out + n);
        }
        out[n] = '\0';
        return n;
}

/* One code point at `p`, surrogates allowed (WTF-8). Returns its length, or 0 when it is not one.
 */
static size_t get_utf8(const uint8_t *p, size_t n, uint32_t *ret_c)
{
        static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
        size_t k = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
        uint32_t c;

        if (k == 0 || k > n || p[0] > 0xf4)
                return 0;
        c = k == 1 ? p[0] : p[0] & (0xffu >> (k + 1));
        for (size_t i = 1; i < k; i++) {
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | (p[i] & 63);
        }
        if (c < least[k] || c > 0x10ffff)
                return 0;
        *ret_c = c;
        return k;
}

int bth_utf8_to_utf16(const char *text, size_t n, void *out, size_t max_units, size_t *ret_units)
{
        const uint8_t *p = (const uint8_t *)text;
        uint8_t *o = out;
        size_t units = 0;

        while (n > 0) {
                uint32_t c;
                size_t k = get_utf8(p, n, &c);
                size_t need;

                if (k == 0)
                        return -EILSEQ;
                need = c >= 0x10000 ? 2 : 1;
                if (need > max_units - units)
                        return -ENOSPC;
                if (need == 2) {
                        bth_store_le16(o + 2 * units, (uint16_t)(0xd800 + ((c - 0x10000) >> 10)));
                        c = 0xdc00 + ((c - 0x10000) & 0x3ff);
                        units++;
                }
                bth_store_le16(o + 2 * units++, (uint16_t)c);
                p += k;
                n -= k;
        }
        *ret_units = units;
        return 0;
}
