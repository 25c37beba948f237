/* SPDX-License-Identifier: GPL-3.0-or-later */
/* elephant-avx512 - the diffuser on sixteen sectors. Compiled with -mavx512f -mavx2. */
#include <immintrin.h>

#include "crypto/sector-engine.h"

#define V              __m512i
#define LANES          16
#define V_LOAD(p)      _mm512_loadu_si512((const void *)(p))
#define V_STORE(p, v)  _mm512_storeu_si512((void *)(p), (v))
#define V_ADD          _mm512_add_epi32
#define V_XOR          _mm512_xor_si512
#define V_KEY(p)       _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#define V_ROTATE(v, n) ((n) == 0 ? (v) : _mm512_rol_epi32((v), (n)))

#include "crypto/transpose-avx512.h"
#include "crypto/elephant-template.h"

void cry_elephant_decrypt_avx512(uint8_t *sectors, size_t n, size_t sector_bytes,
                                 const uint8_t *sector_keys)
{
        decrypt_all(sectors, n, sector_bytes, sector_keys);
}
