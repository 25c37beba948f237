/* SPDX-License-Identifier: GPL-3.0-or-later */
/* crc64-clmul - folding by carry-less multiplication, four chunks of 128 bits at a time. Compiled
 * with -mpclmul -msse4.1. */
#include <immintrin.h>

#include "crypto/crc64-fold.h"

#define LOAD(p) _mm_loadu_si128((const __m128i *)(const void *)(p))

static inline __attribute__((always_inline)) __m128i fold(__m128i v, __m128i k, __m128i next)
{
        return _mm_xor_si128(next, _mm_xor_si128(_mm_clmulepi64_si128(v, k, 0x00),
                                                 _mm_clmulepi64_si128(v, k, 0x11)));
}

static __m128i constant(const struct cry_crc64_fold *f)
{
        return _mm_set_epi64x((long long)f->high, (long long)f->low);
}

size_t cry_crc64_fold_clmul(const struct cry_crc64_constants *c, uint64_t state,
                            const uint8_t *data, size_t n, uint8_t rest[16])
{
        const __m128i by_128 = constant(&c->by_128), by_512 = constant(&c->by_512);
        const uint8_t *p = data;
        __m128i v = _mm_xor_si128(LOAD(p), _mm_cvtsi64_si128((long long)state));

        if (n >= 128) {
                __m128i w[4] = { v, LOAD(p + 16), LOAD(p + 32), LOAD(p + 48) };

                for (p += 64; (size_t)(p - data) + 64 <= n; p += 64)
                        for (unsigned i = 0; i < 4; i++)
                                w[i] = fold(w[i], by_512, LOAD(p + 16 * i));
                v = fold(fold(fold(w[0], by_128, w[1]), by_128, w[2]), by_128, w[3]);
        } else {
                p += 16;
        }
        for (; (size_t)(p - data) + 16 <= n; p += 16)
                v = fold(v, by_128, LOAD(p));
        _mm_storeu_si128((__m128i *)(void *)rest, v);
        return (size_t)(p - data);
}
