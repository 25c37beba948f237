/* SPDX-License-Identifier: GPL-3.0-or-later */
/* transpose-avx512 - sixteen rows of sixteen 32-bit words become columns. Private to crypto/;
 * included where AVX-512 is compiled for. */
#pragma once

#include <immintrin.h>

/* 32-bit pairs, 64-bit pairs, then quarters twice. */
static inline __attribute__((always_inline)) void transpose(__m512i r[16])
{
        __m512i a[16], b[16];

        for (unsigned i = 0; i < 16; i += 2) {
                a[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
                a[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
        }
        for (unsigned i = 0; i < 16; i += 4) {
                b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
                b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
                b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
                b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
        }
        for (unsigned i = 0; i < 4; i++) {
                a[i] = _mm512_shuffle_i32x4(b[i], b[i + 4], 0x88);
                a[i + 4] = _mm512_shuffle_i32x4(b[i], b[i + 4], 0xdd);
                a[i + 8] = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0x88);
                a[i + 12] = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0xdd);
        }
        for (unsigned i = 0; i < 4; i++) {
                r[i] = _mm512_shuffle_i32x4(a[i], a[i + 8], 0x88);
                r[i + 8] = _mm512_shuffle_i32x4(a[i], a[i + 8], 0xdd);
                r[i + 4] = _mm512_shuffle_i32x4(a[i + 4], a[i + 12], 0x88);
                r[i + 12] = _mm512_shuffle_i32x4(a[i + 4], a[i + 12], 0xdd);
        }
}
