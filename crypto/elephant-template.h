/* SPDX-License-Identifier: GPL-3.0-or-later */
/* elephant-template - the diffuser on LANES sectors side by side: word i of every sector is one
 * vector.
 *
 *      sector 0:  a0 a1 a2 …                 w[0] = a0 b0 c0 …
 *      sector 1:  b0 b1 b2 …    transpose    w[1] = a1 b1 c1 …
 *      sector 2:  c0 c1 c2 …       ──►       w[2] = a2 b2 c2 …
 *
 * The passes then are plain vector code, since no word of one sector meets a word of another.
 * Included after defining V, LANES, V_LOAD, V_STORE, V_ADD, V_XOR, V_ROTATE(v, n) and transpose(V
 * rows[LANES]). */
#include <string.h>

#define MAX_WORDS 1024
#define STEP(i, at2, at5, n) \
        w[(i)] = V_ADD(w[(i)], V_XOR(w[(at2)&mask], V_ROTATE(w[(at5)&mask], n)))

static void undo_passes(V *w, size_t words)
{
        const size_t mask = words - 1;

        for (unsigned pass = 0; pass < 3; pass++)
                for (size_t i = 0; i < words; i += 4) {
                        STEP(i, i + 2, i + 5, 0);
                        STEP(i + 1, i + 3, i + 6, 10);
                        STEP(i + 2, i + 4, i + 7, 0);
                        STEP(i + 3, i + 5, i + 8, 25);
                }
        for (unsigned pass = 0; pass < 5; pass++)
                for (size_t i = 0; i < words; i += 4) {
                        STEP(i, i - 2, i - 5, 9);
                        STEP(i + 1, i - 1, i - 4, 0);
                        STEP(i + 2, i, i - 3, 13);
                        STEP(i + 3, i + 1, i - 2, 0);
                }
}

static void decrypt_lanes(uint8_t *const sectors[LANES], size_t sector_bytes)
{
        V w[MAX_WORDS], rows[LANES];
        const size_t words = sector_bytes / 4;

        for (size_t at = 0; at < words; at += LANES) {
                for (size_t lane = 0; lane < LANES; lane++)
                        rows[lane] = V_LOAD(sectors[lane] + 4 * at);
                transpose(rows);
                memcpy(&w[at], rows, sizeof rows);
        }
        undo_passes(w, words);
        for (size_t at = 0; at < words; at += LANES) {
                memcpy(rows, &w[at], sizeof rows);
                transpose(rows);
                for (size_t lane = 0; lane < LANES; lane++)
                        V_STORE(sectors[lane] + 4 * at, rows[lane]);
        }
}

static void xor_key(uint8_t *sector, size_t sector_bytes, const uint8_t *key)
{
        const __m256i k = _mm256_loadu_si256((const __m256i *)(const void *)key);

        for (size_t i = 0; i < sector_bytes; i += 32) {
                __m256i *p = (__m256i *)(void *)(sector + i);

                _mm256_storeu_si256(p, _mm256_xor_si256(_mm256_loadu_si256(p), k));
        }
}

static void decrypt_all(uint8_t *sectors, size_t n, size_t sector_bytes, const uint8_t *sector_keys)
{
        uint8_t spare[4 * MAX_WORDS]; /* the lanes that have no sector work here, on whatever it
                                         holds */

        if (n % LANES != 0)
                memset(spare, 0, sector_bytes);
        for (size_t at = 0; at < n; at += LANES) {
                uint8_t *lanes[LANES];

                for (size_t lane = 0; lane < LANES; lane++)
                        lanes[lane] = at + lane < n ? sectors + (at + lane) * sector_bytes : spare;
                decrypt_lanes(lanes, sector_bytes);
        }
        for (size_t i = 0; i < n; i++)
                xor_key(sectors + i * sector_bytes, sector_bytes, sector_keys + 32 * i);
}
