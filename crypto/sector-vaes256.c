/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sector-vaes256 - two blocks a vector. Compiled with -mavx2 -mvaes -maes. */
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

/* Times x^k, k for each 64-bit half of each block; k up to 3. What falls off the top comes back
 * times x^7 + x^2 + x + 1, which for so few bits is a handful of shifts. */
static inline __attribute__((always_inline)) __m256i times_x_power(__m256i v, __m256i k)
{
        __m256i carry = _mm256_srlv_epi64(v, _mm256_sub_epi64(_mm256_set1_epi64x(64), k));
        __m256i low = _mm256_bsrli_epi128(carry, 8), high = _mm256_bslli_epi128(carry, 8);

        low = _mm256_xor_si256(
                _mm256_xor_si256(low, _mm256_slli_epi64(low, 1)),
                _mm256_xor_si256(_mm256_slli_epi64(low, 2), _mm256_slli_epi64(low, 7)));
        return _mm256_xor_si256(_mm256_sllv_epi64(v, k), _mm256_xor_si256(low, high));
}
#define V_SPREAD(t) times_x_power(_mm256_broadcastsi128_si256(t), _mm256_set_epi64x(1, 1, 0, 0))
#define V_STEP(v)   times_x_power((v), _mm256_set1_epi64x(2))

#include "crypto/sector-template.h"

const struct cry_engine_ops cry_engine_vaes256 = {
        .xts_decrypt = xts_decrypt,
        .xts_encrypt = xts_encrypt,
        .cbc_decrypt = cbc_decrypt,
};
