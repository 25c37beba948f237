/* SPDX-License-Identifier: GPL-3.0-or-later */
/* crc64-clmul512 - folding by carry-less multiplication, four vectors of four chunks at a time.
 * Compiled with -mvpclmulqdq -mavx512f. */
#include <immintrin.h>

#include "crypto/crc64-fold.h"

size_t cry_crc64_fold_clmul512(const struct cry_crc64_constants *c, uint64_t state,
                               const uint8_t *data, size_t n, uint8_t rest[256])
{
        const __m512i k = _mm512_broadcast_i32x4(
                _mm_set_epi64x((long long)c->by_2048.high, (long long)c->by_2048.low));
        const uint8_t *p = data;
        __m512i v[4];

        for (unsigned i = 0; i < 4; i++)
                v[i] = _mm512_loadu_si512(p + 64 * i);
        v[0] = _mm512_xor_si512(v[0], _mm512_zextsi128_si512(_mm_cvtsi64_si128((long long)state)));
        for (p += 256; (size_t)(p - data) + 256 <= n; p += 256)
                for (unsigned i = 0; i < 4; i++)
                        v[i] = _mm512_ternarylogic_epi64(_mm512_loadu_si512(p + 64 * i),
                                                         _mm512_clmulepi64_epi128(v[i], k, 0x00),
                                                         _mm512_clmulepi64_epi128(v[i], k, 0x11),
                                                         0x96);
        for (unsigned i = 0; i < 4; i++)
                _mm512_storeu_si512(rest + 64 * i, v[i]);
        return (size_t)(p - data);
}
