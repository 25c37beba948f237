/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cpu - asked once. The compilers' own builtin does not know all of these names everywhere. */
#include <pthread.h>

#include "crypto/cpu.h"

static unsigned present;

#ifdef BERTH_X86_64
#include <cpuid.h>

static uint64_t enabled_registers(void)
{
        uint32_t low, high;

        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        return (uint64_t)high << 32 | low;
}

static void ask(void)
{
        unsigned a, b, c, d, features = 0;
        uint64_t registers = 0;

        if (!__get_cpuid(1, &a, &b, &c, &d))
                return;
        features |= c & bit_SSSE3 ? CRY_CPU_SSSE3 : 0;
        features |= c & bit_SSE4_1 ? CRY_CPU_SSE41 : 0;
        features |= c & bit_PCLMUL ? CRY_CPU_PCLMUL : 0;
        features |= c & bit_AES ? CRY_CPU_AES : 0;
        if (c & bit_OSXSAVE)
                registers = enabled_registers();
        if ((registers & 0x06) == 0x06 && __get_cpuid_count(7, 0, &a, &b, &c, &d)) {
                features |= b & bit_AVX2 ? CRY_CPU_AVX2 : 0;
                features |= c & bit_VAES ? CRY_CPU_VAES : 0;
                features |= c & bit_VPCLMULQDQ ? CRY_CPU_VPCLMUL : 0;
                if ((registers & 0xe6) == 0xe6) {
                        features |= b & bit_AVX512F ? CRY_CPU_AVX512F : 0;
                        features |= b & bit_AVX512BW ? CRY_CPU_AVX512BW : 0;
                }
        }
        present = features;
}
#else
static void ask(void)
{
}
#endif

bool cry_cpu_has(unsigned features)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        (void)pthread_once(&once, ask);
        return (present & features) == features;
}
