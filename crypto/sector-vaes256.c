/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sector-vaes256 - two blocks a vector. Compiled with -mavx2 -mvaes -mvpclmulqdq -maes. */
#include <immintrin.h>

#define V                       __m256i
#define V_BLOCKS                2
#define V_LOAD(p)               _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define V_STORE(p, v)           _mm256_storeu_si256((__m256i *)(void *)(p), (v))
#define V_XOR                   _mm256_xor_si256
#define V_ENC                   _mm256_aesenc_epi128
#define V_ENC_LAST              _mm256_aesenclast_epi128
#define V_DEC                   _mm256_aesdec_epi128
#define V_DEC_LAST              _mm256_aesdeclast_epi128
#define V_SHIFT_IN(previous, v) _mm256_permute2x128_si256((previous), (v), 0x21)
#define V_LAST(b)               _mm256_inserti128_si256(_mm256_setzero_si256(), (b), 1)

/* Clears the registers of keys and tweaks. */
static inline __attribute__((always_inline)) void forget_registers(void)
{
        __asm__ volatile("vzeroall" ::
                                 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                                   "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                                   "xmm15");
}

/* Times x^k. What falls off the top of the lower half goes into the upper; what falls off the upper
 * comes back times x^7 + x^2 + x + 1: one carry-less multiplication. */
static inline __attribute__((always_inline)) __m256i carry_over(__m256i shifted, __m256i carry)
{
        const __m256i polynomial = _mm256_set1_epi64x(0x87);

        return _mm256_xor_si256(_mm256_xor_si256(shifted, _mm256_bslli_epi128(carry, 8)),
                                _mm256_clmulepi64_epi128(carry, polynomial, 0x01));
}

struct walk {
        __m256i t;
};

static inline __attribute__((always_inline)) struct walk walk_start(__m128i t)
{
        const __m256i both = _mm256_broadcastsi128_si256(t), k = _mm256_set_epi64x(1, 1, 0, 0);
        const __m256i back = _mm256_sub_epi64(_mm256_set1_epi64x(64), k);

        return (struct walk){ carry_over(_mm256_sllv_epi64(both, k),
                                         _mm256_srlv_epi64(both, back)) };
}

static inline __attribute__((always_inline)) void walk_group(struct walk *w)
{
        (void)w;
}

static inline __attribute__((always_inline)) __m256i walk_next(struct walk *w)
{
        const __m256i v = w->t;

        w->t = carry_over(_mm256_slli_epi64(v, V_BLOCKS), _mm256_srli_epi64(v, 64 - V_BLOCKS));
        return v;
}

#include "crypto/sector-template.h"

const struct cry_engine_ops cry_engine_vaes256 = {
        .xts_decrypt = xts_decrypt,
        .xts_encrypt = xts_encrypt,
        .cbc_decrypt = cbc_decrypt,
};
