/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sector-aesni - one block a vector: every x86-64 machine of the last decade. Also the key
 * schedule. Compiled with -maes -mssse3 -mpclmul. Source: Intel, "AES New Instructions" (key
 * expansion). */
#include <immintrin.h>

#define V                       __m128i
#define V_BLOCKS                1
#define V_LOAD(p)               _mm_loadu_si128((const __m128i *)(const void *)(p))
#define V_STORE(p, v)           _mm_storeu_si128((__m128i *)(void *)(p), (v))
#define V_XOR                   _mm_xor_si128
#define V_ENC                   _mm_aesenc_si128
#define V_ENC_LAST              _mm_aesenclast_si128
#define V_DEC                   _mm_aesdec_si128
#define V_DEC_LAST              _mm_aesdeclast_si128
#define V_SHIFT_IN(previous, v) (previous)
#define V_LAST(b)               (b)

/* Clears the registers of keys and tweaks. */
static inline __attribute__((always_inline)) void forget_registers(void)
{
        __asm__ volatile(".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
                         "pxor %%xmm\\n, %%xmm\\n\n"
                         ".endr" ::
                                 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                                   "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                                   "xmm15");
}

/* Times x: shift the 128 bits left by one; a bit that falls off the upper half comes back as x^7 +
 * x^2 + x + 1, one that falls off the lower half goes into the upper. Both bits lead their 32-bit
 * word. Those of the next steps stand behind them in the word, so a copy of the words, shifted
 * along, takes the shuffle out of the chain from one tweak to the next:
 *
 *      t:     [ word 3 | word 2 | word 1 | word 0 ]
 *      tops:  [    -   | word 1 |    -   | word 3 ]     tops + tops: those of the next step
 */
struct walk {
        __m128i t, tops;
};

static inline __attribute__((always_inline)) struct walk walk_start(__m128i t)
{
        return (struct walk){ .t = t };
}

static inline __attribute__((always_inline)) void walk_group(struct walk *w)
{
        w->tops = _mm_shuffle_epi32(w->t, 0x13);
}

static inline __attribute__((always_inline)) __m128i walk_next(struct walk *w)
{
        const __m128i v = w->t;
        const __m128i back =
                _mm_and_si128(_mm_srai_epi32(w->tops, 31), _mm_set_epi32(0, 1, 0, 0x87));

        w->t = _mm_xor_si128(_mm_add_epi64(v, v), back);
        w->tops = _mm_add_epi32(w->tops, w->tops);
        return v;
}

#include "crypto/sector-template.h"

/* Spreads one round key into its four places. */
static void put_key(struct cry_aes_schedule *s, unsigned i, __m128i k)
{
        for (unsigned place = 0; place < 4; place++)
                _mm_store_si128((__m128i *)(void *)(s->keys[i] + 16 * place), k);
}

static __m128i mix(__m128i key, __m128i assist)
{
        key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
        key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
        key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
        return _mm_xor_si128(key, assist);
}

#define NEXT_EVEN(previous, last, constant) \
        mix((previous), _mm_shuffle_epi32(_mm_aeskeygenassist_si128((last), (constant)), 0xff))
#define NEXT_ODD(previous, last) \
        mix((previous), _mm_shuffle_epi32(_mm_aeskeygenassist_si128((last), 0), 0xaa))

static void expand_128(const uint8_t *key, __m128i k[CRY_AES_MAX_KEYS])
{
        k[0] = V_LOAD(key);
        k[1] = NEXT_EVEN(k[0], k[0], 0x01);
        k[2] = NEXT_EVEN(k[1], k[1], 0x02);
        k[3] = NEXT_EVEN(k[2], k[2], 0x04);
        k[4] = NEXT_EVEN(k[3], k[3], 0x08);
        k[5] = NEXT_EVEN(k[4], k[4], 0x10);
        k[6] = NEXT_EVEN(k[5], k[5], 0x20);
        k[7] = NEXT_EVEN(k[6], k[6], 0x40);
        k[8] = NEXT_EVEN(k[7], k[7], 0x80);
        k[9] = NEXT_EVEN(k[8], k[8], 0x1b);
        k[10] = NEXT_EVEN(k[9], k[9], 0x36);
}

static void expand_256(const uint8_t *key, __m128i k[CRY_AES_MAX_KEYS])
{
        k[0] = V_LOAD(key);
        k[1] = V_LOAD(key + 16);
        k[2] = NEXT_EVEN(k[0], k[1], 0x01);
        k[3] = NEXT_ODD(k[1], k[2]);
        k[4] = NEXT_EVEN(k[2], k[3], 0x02);
        k[5] = NEXT_ODD(k[3], k[4]);
        k[6] = NEXT_EVEN(k[4], k[5], 0x04);
        k[7] = NEXT_ODD(k[5], k[6]);
        k[8] = NEXT_EVEN(k[6], k[7], 0x08);
        k[9] = NEXT_ODD(k[7], k[8]);
        k[10] = NEXT_EVEN(k[8], k[9], 0x10);
        k[11] = NEXT_ODD(k[9], k[10]);
        k[12] = NEXT_EVEN(k[10], k[11], 0x20);
        k[13] = NEXT_ODD(k[11], k[12]);
        k[14] = NEXT_EVEN(k[12], k[13], 0x40);
}

void cry_aesni_expand(const uint8_t *key, size_t key_bytes, struct cry_aes_schedule *ret_encrypt,
                      struct cry_aes_schedule *ret_decrypt)
{
        const unsigned rounds = key_bytes == 16 ? 10 : 14;
        __m128i k[CRY_AES_MAX_KEYS];

        if (key_bytes == 16)
                expand_128(key, k);
        else
                expand_256(key, k);
        for (unsigned i = 0; i <= rounds; i++) {
                if (ret_encrypt)
                        put_key(ret_encrypt, i, k[i]);
                if (ret_decrypt)
                        put_key(ret_decrypt, rounds - i,
                                i == 0 || i == rounds ? k[i] : _mm_aesimc_si128(k[i]));
        }
        forget_registers();
        bth_wipe(k, sizeof k);
}

void cry_aesni_ecb(const struct cry_aes_schedule *s, unsigned rounds, const uint8_t *in,
                   uint8_t *out, size_t n)
{
        __m128i v[GROUP];

        while (n > 0) {
                const size_t take = n < GROUP ? n : GROUP;

                for (size_t i = 0; i < GROUP; i++)
                        v[i] = V_LOAD(in + 16 * (i < take ? i : 0));
                encrypt_group(v, s, rounds);
                for (size_t i = 0; i < take; i++)
                        V_STORE(out + 16 * i, v[i]);
                in += 16 * take;
                out += 16 * take;
                n -= take;
        }
        forget_registers();
}

/* Up to GROUP sectors; `chain` holds their IVs. Places without a sector work along with the first.
 */
static inline __attribute__((always_inline)) void cbc_encrypt_group(const struct cry_batch *b,
                                                                    size_t first, size_t take,
                                                                    __m128i chain[GROUP],
                                                                    unsigned rounds)
{
        const size_t start = first * b->sector_bytes;

        for (size_t at = start; at < start + b->sector_bytes; at += 16) {
                const uint8_t *in = b->in + at;

                EACH chain[i] = V_XOR(chain[i], V_LOAD(in + (i < take ? i : 0) * b->sector_bytes));
                encrypt_group(chain, &b->keys->encrypt, rounds);
                for (size_t i = 0; i < take; i++)
                        V_STORE(b->out + at + i * b->sector_bytes, chain[i]);
        }
}

void cry_aesni_cbc_encrypt(const struct cry_batch *b)
{
        _Alignas(16) uint8_t ivs[CRY_BATCH_SECTORS][16];

        make_tweaks(b, ivs);
        for (size_t first = 0; first < b->n_sectors; first += GROUP) {
                const size_t left = b->n_sectors - first, take = left < GROUP ? left : GROUP;
                __m128i chain[GROUP];

                EACH chain[i] = load_block(ivs[first + (i < take ? i : 0)]);
                if (b->keys->rounds == 10)
                        cbc_encrypt_group(b, first, take, chain, 10);
                else
                        cbc_encrypt_group(b, first, take, chain, 14);
        }
        forget_registers();
        bth_wipe(ivs, sizeof ivs);
}

const struct cry_engine_ops cry_engine_aesni = {
        .xts_decrypt = xts_decrypt,
        .xts_encrypt = xts_encrypt,
        .cbc_decrypt = cbc_decrypt,
};
