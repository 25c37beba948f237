/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sector-template - XTS and CBC for one width of vectors. Included by sector-aesni.c,
 * sector-vaes256.c and sector-vaes512.c, each compiled for its own instructions, after they have
 * defined
 *
 *   V              the vector type; holds V_BLOCKS blocks of 16 bytes
 *   V_LOAD, V_STORE, V_XOR, V_ENC, V_ENC_LAST, V_DEC, V_DEC_LAST
 *   V_SHIFT_IN(prev, v)   the last block of prev, then all but the last of v
 *   V_LAST(b)      a vector whose last block is b
 *   forget_registers()    clears the vector registers of keys and tweaks
 *   struct walk           the tweaks of one sector, a vector after the other
 *   walk_start(t)         begins with tweak T: the first vector is T, T·x, T·x², …
 *   walk_group(w)         is called before every GROUP of steps
 *   walk_next(w)          returns the next vector
 *
 * A group is eight vectors: so many AES rounds are in flight at once, which hides their latency. In
 * XTS the blocks of a sector have the tweaks T, T·x, T·x², … in GF(2^128) (IEEE 1619). With four
 * blocks a vector:
 *
 *   [T, Tx, Tx², Tx³]      [Tx⁴ … Tx⁷]      [Tx⁸ … Tx¹¹] …
 *
 * Each is made from the one before, which is a long chain: so a tweak of the next group is made
 * between two rounds of this one.
 *
 *   group g     round 1   round 2   round 3   …   round 8   …   xor with its tweaks, store
 *   group g+1    tweak 0   tweak 1   tweak 2  …    tweak 7
 */
#include <immintrin.h>
#include <string.h>

#include "base/secret.h"
#include "crypto/sector-engine.h"

#define GROUP       8
#define V_BYTES     (16 * V_BLOCKS)
#define GROUP_BYTES (GROUP * V_BYTES)

#define EACH for (unsigned i = 0; i < GROUP; i++)

static inline __attribute__((always_inline)) __m128i load_block(const uint8_t block[16])
{
        return _mm_load_si128((const __m128i *)(const void *)block);
}

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

static inline __attribute__((always_inline)) void walk_some(struct walk *w, V tweaks[GROUP])
{
        walk_group(w);
        EACH tweaks[i] = walk_next(w);
}

/* One group under its tweaks; makes those of the next group meanwhile. */
static inline __attribute__((always_inline)) void
xts_group(const struct cry_aes_schedule *s, bool decrypt, unsigned rounds, const V tweak[GROUP],
          V next[GROUP], struct walk *w, const uint8_t *in, uint8_t *out)
{
        V v[GROUP], k = round_key(s, 0);

        EACH v[i] = V_XOR(V_LOAD(in + i * V_BYTES), V_XOR(tweak[i], k));
        walk_group(w);
        for (unsigned round = 1; round < rounds; round++) {
                k = round_key(s, round);
                EACH v[i] = decrypt ? V_DEC(v[i], k) : V_ENC(v[i], k);
                if (round <= GROUP)
                        next[round - 1] = walk_next(w);
        }
        /* The last round ends with a xor of its key: the tweak rides along. */
        k = round_key(s, rounds);
        EACH
        {
                const V last = V_XOR(tweak[i], k);

                V_STORE(out + i * V_BYTES,
                        decrypt ? V_DEC_LAST(v[i], last) : V_ENC_LAST(v[i], last));
        }
}

static inline __attribute__((always_inline)) void xts(const struct cry_batch *b, bool decrypt,
                                                      unsigned rounds)
{
        const struct cry_aes_schedule *s = decrypt ? &b->keys->decrypt : &b->keys->encrypt;
        const size_t sector_groups = b->sector_bytes / GROUP_BYTES;
        /* Behind the last sector the walk goes on from zero, for nobody. */
        _Alignas(16) uint8_t firsts[CRY_BATCH_SECTORS + 1][16];
        const uint8_t *in = b->in;
        uint8_t *out = b->out;
        struct walk w;
        V tweak[2][GROUP]; /* of this group and of the next, by turns: nothing is copied */
        unsigned turn = 0;

        make_tweaks(b, firsts);
        memset(firsts[b->n_sectors], 0, sizeof firsts[0]);
        w = walk_start(load_block(firsts[0]));
        walk_some(&w, tweak[0]);
        for (size_t sector = 0; sector < b->n_sectors; sector++)
                for (size_t group = 0; group < sector_groups; group++) {
                        if (group + 1 == sector_groups)
                                w = walk_start(load_block(firsts[sector + 1]));
                        xts_group(s, decrypt, rounds, tweak[turn], tweak[turn ^ 1], &w, in, out);
                        turn ^= 1;
                        in += GROUP_BYTES;
                        out += GROUP_BYTES;
                }
        forget_registers();
        bth_wipe(firsts, sizeof firsts);
        bth_wipe(tweak, sizeof tweak);
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
                V last = V_LAST(load_block(ivs[sector]));

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
        forget_registers();
        bth_wipe(ivs, sizeof ivs);
}

static void cbc_decrypt(const struct cry_batch *b)
{
        if (b->keys->rounds == 10)
                cbc(b, 10);
        else
                cbc(b, 14);
}
