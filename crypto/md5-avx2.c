/* SPDX-License-Identifier: GPL-3.0-or-later */
/* md5-avx2 - eight streams. Compiled with -mavx2. */
#include <immintrin.h>

#include "crypto/md5-lanes.h"

#define V         __m256i
#define V_ADD     _mm256_add_epi32
#define V_SET1(k) _mm256_set1_epi32((int)(k))
#define V_ROTATE(v, n) \
        _mm256_or_si256(_mm256_slli_epi32((v), (n)), _mm256_srli_epi32((v), 32 - (n)))
#define F(x, y, z) _mm256_xor_si256((z), _mm256_and_si256((x), _mm256_xor_si256((y), (z))))
#define G(x, y, z) _mm256_xor_si256((y), _mm256_and_si256((z), _mm256_xor_si256((x), (y))))
#define H(x, y, z) _mm256_xor_si256((x), _mm256_xor_si256((y), (z)))
#define I(x, y, z) \
        _mm256_xor_si256((y), _mm256_or_si256((x), _mm256_xor_si256((z), _mm256_set1_epi32(-1))))

#include "crypto/md5-template.h"

/* Eight rows of eight words become columns. */
static inline __attribute__((always_inline)) void transpose8(V r[8])
{
        V a[8], b[8];

        for (unsigned i = 0; i < 8; i += 2) {
                a[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
                a[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
        }
        for (unsigned i = 0; i < 8; i += 4) {
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

void cry_md5_lanes_avx2(uint32_t h[4][CRY_MD5_MAX_LANES], const uint8_t *at[CRY_MD5_MAX_LANES],
                        size_t n_blocks)
{
        V state[4];

        for (unsigned i = 0; i < 4; i++)
                state[i] = _mm256_loadu_si256((const __m256i *)(const void *)h[i]);
        for (size_t block = 0; block < n_blocks; block++) {
                V m[16];

                for (unsigned half = 0; half < 2; half++) {
                        for (unsigned lane = 0; lane < 8; lane++)
                                m[8 * half + lane] = _mm256_loadu_si256(
                                        (const __m256i *)(const void *)(at[lane] + 64 * block +
                                                                        32 * half));
                        transpose8(m + 8 * half);
                }
                md5_block(state, m);
        }
        for (unsigned i = 0; i < 4; i++)
                _mm256_storeu_si256((__m256i *)(void *)h[i], state[i]);
        for (unsigned lane = 0; lane < 8; lane++)
                at[lane] += 64 * n_blocks;
}
