/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cpu - which instructions this processor has and this kernel lets programs use. Private to
 * crypto/. Source: Intel SDM volume 2, CPUID; XCR0 tells whether the wide registers are saved. Any
 * thread. */
#pragma once

#include "base/macros.h"

enum cry_cpu_feature {
        CRY_CPU_SSSE3 = 1 << 0,
        CRY_CPU_SSE41 = 1 << 1,
        CRY_CPU_PCLMUL = 1 << 2,
        CRY_CPU_AES = 1 << 3,
        CRY_CPU_AVX2 = 1 << 4,
        CRY_CPU_VAES = 1 << 5,
        CRY_CPU_VPCLMUL = 1 << 6,
        CRY_CPU_AVX512F = 1 << 7,
        CRY_CPU_AVX512BW = 1 << 8,
};

/* Has it all of `features`? Always false where the processor is not x86-64. */
bool cry_cpu_has(unsigned features);
