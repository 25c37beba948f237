/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sector-template - XTS and CBC for one width of vectors. Included by sector-aesni.c,
 * sector-vaes256.c and sector-vaes512.c, each compiled for its own instructions, after they have
 * defined
 *
 *   V              the vector type; holds V_BLOCKS blocks of 16 bytes
 *   V_LOAD, V_STORE, V_XOR, V_ENC, V_ENC_LAST, V_DEC, V_DEC_LAST
 *   V_SPREAD(t)    from tweak t: t, t·x, t·x², … one block each
 *   V_STEP(v)      every block times x to the power V_BLOCKS
 *   V_SHIFT_IN(prev, v)   the last block of prev, then all but the last of v
 *   V_LAST(b)      a vector whose last block is b
 *
 * A group is eight vectors: so many AES rounds are in flight at once, which hides their latency. In
 * XTS the blocks of a sector have the tweaks T, T·x, T·x², … in GF(2^128) (IEEE 1619):
 *
 *   T0 = SPREAD(E_k2(number)) = [T, Tx, Tx², Tx³]      T1 = STEP(T0) = [Tx⁴ … Tx⁷]      T2 =
 * STEP(T1) …
 */
#include <immintrin.h>
#include <string.h>

#include "base/secret.h"
#include "crypto/sector-engine.h"

#define GROUP       8
#define V_BYTES     (16 * V_BLOCKS)
#define GROUP_BYTES (GROUP * V_BYTES)

#define EACH for (unsigned i = 0; i < GROUP; i++)

static inline __attribute__((always_inline)) V round_key(const struct cry_aes_schedule *s,
                                                         unsigned round)
{
        return V_LOAD(s->keys[round]);
}

static inline __attribute__((always_inline)) void
encrypt_group(V v[GROUP], const struct cry_aes_schedule *s, unsigned rounds)
{
        V k = round_key(s, 0);

        EACH v[i] = V_XOR(v[i], k);
        for (unsigned round = 1; round < rounds; round++) {
                k = round_key(s, round);
                EACH v[i] = V_ENC(v[i], k);
        }
        k = round_key(s, rounds);
        EACH v[i] = V_ENC_LAST(v[i], k);
}

static inline __attribute__((always_inline)) void
decrypt_group(V v[GROUP], const struct cry_aes_schedule *s, unsigned rounds)
{
        V k = round_key(s, 0);

        EACH v[i] = V_XOR(v[i], k);
        for (unsigned round = 1; round < rounds; round++) {
                k = round_key(s, round);
                EACH v[i] = V_DEC(v[i], k);
        }
        k = round_key(s, rounds);
        EACH v[i] = V_DEC_LAST(v[i], k);
}

/* The tweaks of a batch: each number as a 16-byte little-endian block, encrypted. */
static void make_tweaks(const struct cry_batch *b, uint8_t tweaks[CRY_BATCH_SECTORS][16])
{
        memset(tweaks, 0, 16 * CRY_BATCH_SECTORS);
        for (size_t i = 0; i < b->n_sectors; i++)
                memcpy(tweaks[i], &b->numbers[i], 8);
        cry_aesni_ecb(&b->keys->tweak, b->keys->rounds, tweaks[0], tweaks[0], b->n_sectors);
}

static inline __attribute__((always_inline)) void xts(const struct cry_batch *b, bool decrypt,
                                                      unsigned rounds)
{
        const struct cry_aes_schedule *s = decrypt ? &b->keys->decrypt : &b->keys->encrypt;
        _Alignas(16) uint8_t tweaks[CRY_BATCH_SECTORS][16];
        const uint8_t *in = b->in;
        uint8_t *out = b->out;

        make_tweaks(b, tweaks);
        for (size_t sector = 0; sector < b->n_sectors; sector++) {
                V t = V_SPREAD(_mm_load_si128((const __m128i *)tweaks[sector]));

                for (size_t at = 0; at < b->sector_bytes; at += GROUP_BYTES) {
                        V v[GROUP], tweak[GROUP];

                        EACH
                        {
                                tweak[i] = t;
                                t = V_STEP(t);
                                v[i] = V_XOR(V_LOAD(in + i * V_BYTES), tweak[i]);
                        }
                        if (decrypt)
                                decrypt_group(v, s, rounds);
                        else
                                encrypt_group(v, s, rounds);
                        EACH V_STORE(out + i * V_BYTES, V_XOR(v[i], tweak[i]));
                        in += GROUP_BYTES;
                        out += GROUP_BYTES;
                }
        }
        bth_wipe(tweaks, sizeof tweaks);
}

/* The number of rounds is a constant in each branch, so that the loops unroll. */
static void xts_decrypt(const struct cry_batch *b)
{
        if (b->keys->rounds == 10)
                xts(b, true, 10);
        else
                xts(b, true, 14);
}

static void xts_encrypt(const struct cry_batch *b)
{
        if (b->keys->rounds == 10)
                xts(b, false, 10);
        else
                xts(b, false, 14);
}

static inline __attribute__((always_inline)) void cbc(const struct cry_batch *b, unsigned rounds)
{
        _Alignas(16) uint8_t ivs[CRY_BATCH_SECTORS][16];
        const uint8_t *in = b->in;
        uint8_t *out = b->out;

        make_tweaks(b, ivs);
        for (size_t sector = 0; sector < b->n_sectors; sector++) {
                V last = V_LAST(_mm_load_si128((const __m128i *)ivs[sector]));

                for (size_t at = 0; at < b->sector_bytes; at += GROUP_BYTES) {
                        V v[GROUP], previous[GROUP];

                        EACH
                        {
                                v[i] = V_LOAD(in + i * V_BYTES);
                                previous[i] = V_SHIFT_IN(last, v[i]);
                                last = v[i];
                        }
                        decrypt_group(v, &b->keys->decrypt, rounds);
                        EACH V_STORE(out + i * V_BYTES, V_XOR(v[i], previous[i]));
                        in += GROUP_BYTES;
                        out += GROUP_BYTES;
                }
        }
        bth_wipe(ivs, sizeof ivs);
}

static void cbc_decrypt(const struct cry_batch *b)
{
        if (b->keys->rounds == 10)
                cbc(b, 10);
        else
                cbc(b, 14);
}
