/* SPDX-License-Identifier: GPL-3.0-or-later */
/* md5-avx512 - sixteen streams. Compiled with -mavx512f. */
#include <immintrin.h>

#include "crypto/md5-lanes.h"
#include "crypto/transpose-avx512.h"

#define V              __m512i
#define V_ADD          _mm512_add_epi32
#define V_SET1(k)      _mm512_set1_epi32((int)(k))
#define V_ROTATE(v, n) _mm512_rol_epi32((v), (n))
/* Each round function is one instruction with its truth table. */
#define F(x, y, z) _mm512_ternarylogic_epi32((x), (y), (z), 0xca)
#define G(x, y, z) _mm512_ternarylogic_epi32((x), (y), (z), 0xe4)
#define H(x, y, z) _mm512_ternarylogic_epi32((x), (y), (z), 0x96)
#define I(x, y, z) _mm512_ternarylogic_epi32((x), (y), (z), 0x39)

#include "crypto/md5-template.h"

void cry_md5_lanes_avx512(uint32_t h[4][CRY_MD5_MAX_LANES], const uint8_t *at[CRY_MD5_MAX_LANES],
                          size_t n_blocks)
{
        V state[4];

        for (unsigned i = 0; i < 4; i++)
                state[i] = _mm512_loadu_si512(h[i]);
        for (size_t block = 0; block < n_blocks; block++) {
                V m[16];

                for (unsigned lane = 0; lane < 16; lane++)
                        m[lane] = _mm512_loadu_si512(at[lane] + 64 * block);
                transpose(m);
                md5_block(state, m);
        }
        for (unsigned i = 0; i < 4; i++)
                _mm512_storeu_si512(h[i], state[i]);
        for (unsigned lane = 0; lane < 16; lane++)
                at[lane] += 64 * n_blocks;
}
