/* SPDX-License-Identifier: GPL-3.0-or-later */
/* elephant - the diffuser of Windows Vista to 8, one sector at a time: fallback and oracle.
 * Source: BitLocker specification 7; N. Ferguson, "AES-CBC + Elephant diffuser", 2006. */
#include <string.h>

#include "base/le.h"
#include "crypto/sector-engine.h"

#define MAX_WORDS 1024

static const unsigned rotate_a[4] = { 9, 0, 13, 0 };
static const unsigned rotate_b[4] = { 0, 10, 0, 25 };

static uint32_t rotate_left(uint32_t v, unsigned n)
{
        return n == 0 ? v : v << n | v >> (32 - n);
}

static void load(uint32_t d[MAX_WORDS], const uint8_t *sector, size_t n)
{
        for (size_t i = 0; i < n; i++)
                d[i] = bth_load_le32(sector + 4 * i);
}

static void store(uint8_t *sector, const uint32_t d[MAX_WORDS], size_t n)
{
        for (size_t i = 0; i < n; i++)
                bth_store_le32(sector + 4 * i, d[i]);
}

static void xor_key(uint8_t *sector, size_t sector_bytes, const uint8_t key[32])
{
        for (size_t i = 0; i < sector_bytes; i++)
                sector[i] ^= key[i % 32];
}

void cry_elephant_decrypt_portable(uint8_t *sectors, size_t n, size_t sector_bytes,
                                   const uint8_t *sector_keys)
{
        const size_t words = sector_bytes / 4, mask = words - 1;
        uint32_t d[MAX_WORDS];

        for (; n > 0; n--, sectors += sector_bytes, sector_keys += 32) {
                load(d, sectors, words);
                for (unsigned pass = 0; pass < 3; pass++)
                        for (size_t i = 0; i < words; i++)
                                d[i] += d[(i + 2) & mask] ^
                                        rotate_left(d[(i + 5) & mask], rotate_b[i & 3]);
                for (unsigned pass = 0; pass < 5; pass++)
                        for (size_t i = 0; i < words; i++)
                                d[i] += d[(i - 2) & mask] ^
                                        rotate_left(d[(i - 5) & mask], rotate_a[i & 3]);
                store(sectors, d, words);
                xor_key(sectors, sector_bytes, sector_keys);
        }
}

void cry_elephant_encrypt_portable(uint8_t *sectors, size_t n, size_t sector_bytes,
                                   const uint8_t *sector_keys)
{
        const size_t words = sector_bytes / 4, mask = words - 1;
        uint32_t d[MAX_WORDS];

        for (; n > 0; n--, sectors += sector_bytes, sector_keys += 32) {
                xor_key(sectors, sector_bytes, sector_keys);
                load(d, sectors, words);
                for (unsigned pass = 0; pass < 5; pass++)
                        for (size_t i = words; i-- > 0;)
                                d[i] -= d[(i - 2) & mask] ^
                                        rotate_left(d[(i - 5) & mask], rotate_a[i & 3]);
                for (unsigned pass = 0; pass < 3; pass++)
                        for (size_t i = words; i-- > 0;)
                                d[i] -= d[(i + 2) & mask] ^
                                        rotate_left(d[(i + 5) & mask], rotate_b[i & 3]);
                store(sectors, d, words);
        }
}
