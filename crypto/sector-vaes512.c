/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sector-vaes512 - four blocks a vector. Compiled with -mavx512f -mavx512bw -mvaes -mvpclmulqdq
 * -maes. */
#include <immintrin.h>

#define V                       __m512i
#define V_BLOCKS                4
#define V_LOAD(p)               _mm512_loadu_si512((const void *)(p))
#define V_STORE(p, v)           _mm512_storeu_si512((void *)(p), (v))
#define V_XOR                   _mm512_xor_si512
#define V_ENC                   _mm512_aesenc_epi128
#define V_ENC_LAST              _mm512_aesenclast_epi128
#define V_DEC                   _mm512_aesdec_epi128
#define V_DEC_LAST              _mm512_aesdeclast_epi128
#define V_SHIFT_IN(previous, v) _mm512_alignr_epi64((v), (previous), 6)
#define V_LAST(b)               _mm512_inserti32x4(_mm512_setzero_si512(), (b), 3)

/* Clears the registers of keys and tweaks: vzeroall knows the first sixteen only. */
static inline __attribute__((always_inline)) void forget_registers(void)
{
        __asm__ volatile("vzeroall\n"
                         ".irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n"
                         "vpxord %%zmm\\n, %%zmm\\n, %%zmm\\n\n"
                         ".endr" ::
                                 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                                   "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                                   "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21",
                                   "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28",
                                   "xmm29", "xmm30", "xmm31");
}

/* Times x^k. What falls off the top of the lower half goes into the upper; what falls off the upper
 * comes back times x^7 + x^2 + x + 1: one carry-less multiplication. */
static inline __attribute__((always_inline)) __m512i carry_over(__m512i shifted, __m512i carry)
{
        const __m512i polynomial = _mm512_set1_epi64(0x87);

        return _mm512_ternarylogic_epi64(shifted, _mm512_bslli_epi128(carry, 8),
                                         _mm512_clmulepi64_epi128(carry, polynomial, 0x01), 0x96);
}

struct walk {
        __m512i t;
};

static inline __attribute__((always_inline)) struct walk walk_start(__m128i t)
{
        const __m512i four = _mm512_broadcast_i32x4(t);
        const __m512i k = _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0);
        const __m512i back = _mm512_sub_epi64(_mm512_set1_epi64(64), k);

        return (struct walk){ carry_over(_mm512_sllv_epi64(four, k),
                                         _mm512_srlv_epi64(four, back)) };
}

static inline __attribute__((always_inline)) void walk_group(struct walk *w)
{
        (void)w;
}

static inline __attribute__((always_inline)) __m512i walk_next(struct walk *w)
{
        const __m512i v = w->t;

        w->t = carry_over(_mm512_slli_epi64(v, V_BLOCKS), _mm512_srli_epi64(v, 64 - V_BLOCKS));
        return v;
}

#include "crypto/sector-template.h"

const struct cry_engine_ops cry_engine_vaes512 = {
        .xts_decrypt = xts_decrypt,
        .xts_encrypt = xts_encrypt,
        .cbc_decrypt = cbc_decrypt,
};
