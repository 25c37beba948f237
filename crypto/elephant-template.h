/* SPDX-License-Identifier: GPL-3.0-or-later */
/* elephant-template - the diffuser on LANES sectors side by side: word i of every sector is one
 * vector.
 *
 *      sector 0:  a0 a1 a2 …                 w[0] = a0 b0 c0 …
 *      sector 1:  b0 b1 b2 …    transpose    w[1] = a1 b1 c1 …
 *      sector 2:  c0 c1 c2 …       ──►       w[2] = a2 b2 c2 …
 *
 * The passes then are plain vector code, since no word of one sector meets a word of another. Each
 * keeps the words around i in registers; read back from memory, every step would wait for the store
 * of the step before it:
 *
 *      pass B, ascending:   i+8 i+7 i+6 i+5 ◄ load │ a4 a3 a2 a1 a0 = not yet passed
 *      pass A, ascending:   b1 b2 b3 b4 b5 = already passed │ load ► i i+1 i+2 i+3
 *
 * Included after defining V, LANES, V_LOAD, V_STORE, V_ADD, V_XOR, V_ROTATE(v, n), V_KEY(p) (the 32
 * bytes at p, repeated) and transpose(V rows[LANES]). */
#include <string.h>

#define MAX_WORDS (4096 / 4)

/* Undoes B: w[i] += w[i + 2] ^ (w[i + 5] <<< 0, 10, 0, 25). */
static inline __attribute__((always_inline)) void undo_pass_b(V *w, size_t words)
{
        const size_t mask = words - 1;
        V a0 = w[0], a1 = w[1], a2 = w[2], a3 = w[3], a4 = w[4];

        for (size_t i = 0; i < words; i += 4) {
                const V a5 = w[(i + 5) & mask], a6 = w[(i + 6) & mask], a7 = w[(i + 7) & mask],
                        a8 = w[(i + 8) & mask];

                w[i] = V_ADD(a0, V_XOR(a2, a5));
                w[i + 1] = V_ADD(a1, V_XOR(a3, V_ROTATE(a6, 10)));
                w[i + 2] = V_ADD(a2, V_XOR(a4, a7));
                w[i + 3] = V_ADD(a3, V_XOR(a5, V_ROTATE(a8, 25)));
                a0 = a4;
                a1 = a5;
                a2 = a6;
                a3 = a7;
                a4 = a8;
        }
}

/* Undoes A: w[i] += w[i - 2] ^ (w[i - 5] <<< 9, 0, 13, 0). */
static inline __attribute__((always_inline)) void undo_pass_a(V *w, size_t words)
{
        V b1 = w[words - 1], b2 = w[words - 2], b3 = w[words - 3], b4 = w[words - 4],
          b5 = w[words - 5];

        for (size_t i = 0; i < words; i += 4) {
                const V c0 = V_ADD(w[i], V_XOR(b2, V_ROTATE(b5, 9)));
                const V c1 = V_ADD(w[i + 1], V_XOR(b1, b4));
                const V c2 = V_ADD(w[i + 2], V_XOR(c0, V_ROTATE(b3, 13)));
                const V c3 = V_ADD(w[i + 3], V_XOR(c1, b2));

                w[i] = c0;
                w[i + 1] = c1;
                w[i + 2] = c2;
                w[i + 3] = c3;
                b5 = b1;
                b4 = c0;
                b3 = c1;
                b2 = c2;
                b1 = c3;
        }
}

static void decrypt_lanes(uint8_t *const sectors[LANES], const uint8_t *const keys[LANES],
                          size_t sector_bytes)
{
        V w[MAX_WORDS], rows[LANES];
        const size_t words = sector_bytes / 4;

        for (size_t at = 0; at < words; at += LANES) {
                for (size_t lane = 0; lane < LANES; lane++)
                        rows[lane] = V_LOAD(sectors[lane] + 4 * at);
                transpose(rows);
                memcpy(&w[at], rows, sizeof rows);
        }
        for (unsigned pass = 0; pass < 3; pass++)
                undo_pass_b(w, words);
        for (unsigned pass = 0; pass < 5; pass++)
                undo_pass_a(w, words);
        for (size_t at = 0; at < words; at += LANES) {
                memcpy(rows, &w[at], sizeof rows);
                transpose(rows);
                for (size_t lane = 0; lane < LANES; lane++)
                        V_STORE(sectors[lane] + 4 * at, V_XOR(rows[lane], V_KEY(keys[lane])));
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
                const uint8_t *keys[LANES];

                for (size_t lane = 0; lane < LANES; lane++) {
                        const bool busy = at + lane < n;

                        lanes[lane] = busy ? sectors + (at + lane) * sector_bytes : spare;
                        keys[lane] = sector_keys + 32 * (busy ? at + lane : 0);
                }
                decrypt_lanes(lanes, keys, sector_bytes);
        }
}
