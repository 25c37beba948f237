/* SPDX-License-Identifier: GPL-3.0-or-later */
/* guid - Microsoft GUIDs and the kernel's random source. */
#include <string.h>
#include <sys/random.h>

#include "base/guid.h"
#include "base/str.h"

/* Where each byte on disk stands in the text's order: the first three groups are little-endian. */
static const uint8_t text_order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

char *bth_guid_to_string(const struct bth_guid *g, char out[BTH_GUID_TEXT_MAX])
{
        static const char digits[] = "0123456789abcdef";
        char *o = out;

        for (size_t i = 0; i < 16; i++) {
                const uint8_t byte = g->b[text_order[i]];

                if (i == 4 || i == 6 || i == 8 || i == 10)
                        *o++ = '-';
                *o++ = digits[byte >> 4];
                *o++ = digits[byte & 15];
        }
        *o = '\0';
        return out;
}

int bth_guid_from_string(const char *text, struct bth_guid *ret_guid)
{
        char digits[32];
        uint8_t bytes[16];
        size_t n;

        if (!text)
                return -EINVAL;
        n = strlen(text);
        if (n == 38 && text[0] == '{' && text[37] == '}') {
                text++;
                n = 36;
        }
        if (n != 36)
                return -EINVAL;
        for (size_t i = 0, k = 0; i < 36; i++) {
                bool dash = i == 8 || i == 13 || i == 18 || i == 23;

                if (dash != (text[i] == '-'))
                        return -EINVAL;
                if (!dash)
                        digits[k++] = text[i];
        }
        if (bth_hex_decode(digits, sizeof digits, bytes) < 0)
                return -EINVAL;
        for (size_t i = 0; i < 16; i++)
                ret_guid->b[text_order[i]] = bytes[i];
        return 0;
}

int bth_random_bytes(void *p, size_t n)
{
        uint8_t *o = p;

        while (n > 0) {
                ssize_t k = getrandom(o, n, 0);

                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                o += k;
                n -= (size_t)k;
        }
        return 0;
}

int bth_guid_random(struct bth_guid *ret_guid)
{
        struct bth_guid g;
        int r = bth_random_bytes(g.b, sizeof g.b);

        if (r < 0)
                return r;
        g.b[7] = (uint8_t)((g.b[7] & 0x0f) | 0x40); /* version 4 stands in the third group */
        g.b[8] = (uint8_t)((g.b[8] & 0x3f) | 0x80);
        *ret_guid = g;
        return 0;
}
