/* SPDX-License-Identifier: GPL-3.0-or-later */
/* elephant-avx2 - the diffuser on eight sectors. Compiled with -mavx2. */
#include <immintrin.h>

#include "crypto/sector-engine.h"

#define V             __m256i
#define LANES         8
#define V_LOAD(p)     _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define V_STORE(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), (v))
#define V_ADD         _mm256_add_epi32
#define V_XOR         _mm256_xor_si256
#define V_KEY(p)      V_LOAD(p)
#define V_ROTATE(v, n) \
        ((n) == 0      \
                 ? (v) \
                 : _mm256_or_si256(_mm256_slli_epi32((v), (n)), _mm256_srli_epi32((v), 32 - (n))))

/* Rows become columns: 32-bit pairs, 64-bit pairs, then the two halves. */
static inline __attribute__((always_inline)) void transpose(V r[LANES])
{
        V a[LANES], b[LANES];

        for (unsigned i = 0; i < LANES; i += 2) {
                a[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
                a[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
        }
        for (unsigned i = 0; i < LANES; i += 4) {
                b[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
                b[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
                b[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
                b[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
        }
        for (unsigned i = 0; i < 4; i++) {
                r[i] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x20);
                r[i + 4] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x31);
        }
}

#include "crypto/elephant-template.h"

void cry_elephant_decrypt_avx2(uint8_t *sectors, size_t n, size_t sector_bytes,
                               const uint8_t *sector_keys)
{
        decrypt_all(sectors, n, sector_bytes, sector_keys);
}
