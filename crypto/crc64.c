/* SPDX-License-Identifier: GPL-3.0-or-later */
/* crc64 - tables and constants, made once, and the choice of engine. */
#include <pthread.h>
#include <string.h>

#include "base/le.h"
#include "crypto/cpu.h"
#include "crypto/crc64-fold.h"
#include "crypto/crc64.h"

#define POLYNOMIAL UINT64_C(0x9a6c9329ac4bc9b5) /* reflected: bit 63 stands for x^0 */
#define ONE        (UINT64_C(1) << 63)
#define X          (ONE >> 1)

static uint64_t table[8][256];
static struct cry_crc64_constants constants;

/* v · x mod P */
static uint64_t times_x(uint64_t v)
{
        return v >> 1 ^ (v & 1 ? POLYNOMIAL : 0);
}

/* a · b mod P */
static uint64_t multiply(uint64_t a, uint64_t b)
{
        uint64_t product = 0;

        for (; a != 0; a <<= 1, b = times_x(b))
                if (a & ONE)
                        product ^= b;
        return product;
}

/* base^n mod P */
static uint64_t power(uint64_t base, uint64_t n)
{
        uint64_t result = ONE;

        for (; n > 0; n >>= 1, base = multiply(base, base))
                if (n & 1)
                        result = multiply(result, base);
        return result;
}

static struct cry_crc64_fold fold_by(uint64_t bits)
{
        return (struct cry_crc64_fold){ .low = power(X, bits + 63), .high = power(X, bits - 1) };
}

static void build(void)
{
        for (unsigned i = 0; i < 256; i++) {
                uint64_t v = i;

                for (unsigned bit = 0; bit < 8; bit++)
                        v = times_x(v);
                table[0][i] = v;
        }
        for (unsigned i = 0; i < 256; i++)
                for (unsigned k = 1; k < 8; k++)
                        table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
        constants.by_128 = fold_by(128);
        constants.by_512 = fold_by(512);
        constants.by_2048 = fold_by(2048);
}

static uint64_t by_table(uint64_t state, const uint8_t *p, size_t n)
{
        for (; n >= 8; p += 8, n -= 8) {
                uint64_t v = state ^ bth_load_le64(p);

                state = 0;
                for (unsigned k = 0; k < 8; k++)
                        state ^= table[7 - k][v >> 8 * k & 255];
        }
        for (; n > 0; p++, n--)
                state = state >> 8 ^ table[0][(state ^ *p) & 255];
        return state;
}

#ifdef BERTH_X86_64
static uint64_t by_clmul(uint64_t state, const uint8_t *p, size_t n)
{
        uint8_t rest[16];
        size_t taken;

        if (n < 32)
                return by_table(state, p, n);
        taken = cry_crc64_fold_clmul(&constants, state, p, n, rest);
        return by_table(by_table(0, rest, sizeof rest), p + taken, n - taken);
}

static uint64_t by_clmul512(uint64_t state, const uint8_t *p, size_t n)
{
        uint8_t rest[256];
        size_t taken;

        if (n < 512)
                return by_clmul(state, p, n);
        taken = cry_crc64_fold_clmul512(&constants, state, p, n, rest);
        return by_clmul(by_clmul(0, rest, sizeof rest), p + taken, n - taken);
}
#endif

const char *cry_crc64_engine_to_string(enum cry_crc64_engine engine)
{
        static const char *const names[] = { "best", "table", "clmul", "clmul512" };

        return (size_t)engine < ARRAY_SIZE(names) ? names[engine] : NULL;
}

bool cry_crc64_engine_available(enum cry_crc64_engine engine)
{
        switch (engine) {
        case CRY_CRC64_BEST:
        case CRY_CRC64_TABLE:
                return true;
        case CRY_CRC64_CLMUL:
                return cry_cpu_has(CRY_CPU_PCLMUL | CRY_CPU_SSE41);
        case CRY_CRC64_CLMUL512:
                return cry_cpu_has(CRY_CPU_VPCLMUL | CRY_CPU_AVX512F | CRY_CPU_PCLMUL |
                                   CRY_CPU_SSE41);
        default:
                return false;
        }
}

uint64_t cry_crc64_with(enum cry_crc64_engine engine, uint64_t crc, const void *data,
                        size_t length_bytes)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        (void)pthread_once(&once, build);
        if (engine == CRY_CRC64_BEST)
                engine = cry_crc64_engine_available(CRY_CRC64_CLMUL512) ? CRY_CRC64_CLMUL512
                         : cry_crc64_engine_available(CRY_CRC64_CLMUL)  ? CRY_CRC64_CLMUL
                                                                        : CRY_CRC64_TABLE;
#ifdef BERTH_X86_64
        if (engine == CRY_CRC64_CLMUL512)
                return ~by_clmul512(~crc, data, length_bytes);
        if (engine == CRY_CRC64_CLMUL)
                return ~by_clmul(~crc, data, length_bytes);
#endif
        return ~by_table(~crc, data, length_bytes);
}

uint64_t cry_crc64(uint64_t crc, const void *data, size_t length_bytes)
{
        return cry_crc64_with(CRY_CRC64_BEST, crc, data, length_bytes);
}

uint64_t cry_crc64_combine(uint64_t crc_a, uint64_t crc_b, uint64_t length_b_bytes)
{
        /* Behind A come length_b zero bytes, which B then fills: the inversions cancel out. */
        return multiply(crc_a, power(ONE >> 8, length_b_bytes)) ^ crc_b;
}
