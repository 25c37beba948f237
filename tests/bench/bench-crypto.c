/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bench-crypto - ciphers and digests on one core, beside libcrypto in the same run.
 * GB/s is 10^9 bytes a second of wall time on data in the second-level cache; the best of several
 * rounds, since other work on the machine only ever slows a round down. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/macros.h"
#include "base/time.h"
#include "crypto/crc64.h"
#include "crypto/md5multi.h"
#include "crypto/sector.h"

#define BUFFER_BYTES ((size_t)256 << 10)
#define ROUND_USEC   60000
#define ROUNDS       9

static uint8_t *buffer;

typedef void (*work_fn)(void *userdata);

static double best_rate(work_fn work, void *userdata, size_t bytes)
{
        double best = 0;

        for (int round = 0; round < ROUNDS; round++) {
                uint64_t start = bth_now_monotonic_usec(), elapsed;
                uint64_t runs = 0;

                do {
                        work(userdata);
                        runs++;
                        elapsed = bth_now_monotonic_usec() - start;
                } while (elapsed < ROUND_USEC);
                best = MAX(best, (double)(runs * bytes) / (double)elapsed / 1000.0);
        }
        return best;
}

static void check(int r)
{
        if (r < 0) {
                fprintf(stderr, "bench-crypto: error %d\n", r);
                exit(1);
        }
}

/* One large buffer under one tweak: what `openssl speed` measures, the library's upper bound. */
static void library_large(void *userdata)
{
        static const uint8_t iv[16] = { 1 };
        int n;

        if (EVP_CipherInit_ex(userdata, NULL, NULL, NULL, iv, -1) != 1 ||
            EVP_CipherUpdate(userdata, buffer, &n, buffer, (int)BUFFER_BYTES) != 1)
                exit(1);
}

static double rate_of_library(const EVP_CIPHER *cipher)
{
        EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
        uint8_t key[64];
        double rate;

        for (size_t i = 0; i < sizeof key; i++)
                key[i] = (uint8_t)i;
        if (!c || EVP_CipherInit_ex(c, cipher, NULL, key, NULL, 0) != 1)
                exit(1);
        (void)EVP_CIPHER_CTX_set_padding(c, 0);
        rate = best_rate(library_large, c, BUFFER_BYTES);
        EVP_CIPHER_CTX_free(c);
        return rate;
}

static void decrypt(void *userdata)
{
        check(cry_sector_decrypt(userdata, 1 << 20, buffer, buffer, BUFFER_BYTES));
}

static void encrypt(void *userdata)
{
        check(cry_sector_encrypt(userdata, 1 << 20, buffer, buffer, BUFFER_BYTES));
}

static double rate_of(enum cry_engine engine, enum cry_method method, uint32_t sector, work_fn work)
{
        struct cry_sector_cipher *c = NULL;
        uint8_t key[64];
        double rate;

        for (size_t i = 0; i < sizeof key; i++)
                key[i] = (uint8_t)i;
        check(cry_sector_cipher_new_with(engine, method, key, cry_method_key_bytes(method), sector,
                                         &c));
        rate = best_rate(work, c, BUFFER_BYTES);
        (void)cry_sector_cipher_free(c);
        return rate;
}

static void print_ciphers(void)
{
        const struct {
                enum cry_method method;
                const EVP_CIPHER *cipher;
        } rows[] = {
                { CRY_METHOD_AES_XTS_128, EVP_aes_128_xts() },
                { CRY_METHOD_AES_XTS_256, EVP_aes_256_xts() },
                { CRY_METHOD_AES_CBC_128, EVP_aes_128_cbc() },
                { CRY_METHOD_AES_CBC_256, EVP_aes_256_cbc() },
                { CRY_METHOD_AES_CBC_128_ELEPHANT, NULL },
                { CRY_METHOD_AES_CBC_256_ELEPHANT, NULL },
        };

        printf("decrypting 512-byte sectors, GB/s  (large: libcrypto on one 256 KiB buffer)\n");
        printf("%-22s %7s", "method", "large");
        for (int e = CRY_ENGINE_LIBRARY; e < _CRY_ENGINE_MAX; e++)
                printf(" %8s", cry_engine_to_string((enum cry_engine)e));
        printf("   best/large\n");
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                double large = rows[i].cipher ? rate_of_library(rows[i].cipher) : 0, best = 0;

                printf("%-22s ", cry_method_to_string(rows[i].method));
                if (large > 0)
                        printf("%7.2f", large);
                else
                        printf("%7s", "-");
                for (int e = CRY_ENGINE_LIBRARY; e < _CRY_ENGINE_MAX; e++) {
                        double rate =
                                cry_engine_available((enum cry_engine)e)
                                        ? rate_of((enum cry_engine)e, rows[i].method, 512, decrypt)
                                        : 0;

                        best = MAX(best, rate);
                        printf(" %8.2f", rate);
                }
                if (large > 0)
                        printf("   %.2f", best / large);
                putchar('\n');
        }
        printf("encrypting, best engine: XTS-128 %.2f, XTS-256 %.2f; 4096-byte sectors, "
               "decrypting: "
               "XTS-128 %.2f, XTS-256 %.2f\n",
               rate_of(CRY_ENGINE_BEST, CRY_METHOD_AES_XTS_128, 512, encrypt),
               rate_of(CRY_ENGINE_BEST, CRY_METHOD_AES_XTS_256, 512, encrypt),
               rate_of(CRY_ENGINE_BEST, CRY_METHOD_AES_XTS_128, 4096, decrypt),
               rate_of(CRY_ENGINE_BEST, CRY_METHOD_AES_XTS_256, 4096, decrypt));
}

static void md5_lanes(void *userdata)
{
        struct cry_md5 md5[16];
        struct cry_md5_job jobs[16];

        for (size_t i = 0; i < 16; i++) {
                cry_md5_init(&md5[i]);
                jobs[i] = (struct cry_md5_job){ &md5[i], buffer + i * (BUFFER_BYTES / 16),
                                                BUFFER_BYTES / 16 };
        }
        cry_md5_update_many_with(*(enum cry_md5_engine *)userdata, jobs, 16);
}

static void crc(void *userdata)
{
        static volatile uint64_t sink;

        sink = cry_crc64_with(*(enum cry_crc64_engine *)userdata, sink, buffer, BUFFER_BYTES);
}

static void print_digests(void)
{
        double first = 0;

        printf("\nMD5 of 16 streams, GB/s\n");
        for (int e = CRY_MD5_LIBRARY; e < _CRY_MD5_ENGINE_MAX; e++) {
                double rate = cry_md5_engine_available((enum cry_md5_engine)e)
                                      ? best_rate(md5_lanes, &e, BUFFER_BYTES)
                                      : 0;

                first = e == CRY_MD5_LIBRARY ? rate : first;
                printf("%-22s %7.2f   %.1f times the library\n",
                       cry_md5_engine_to_string((enum cry_md5_engine)e), rate, rate / first);
        }
        printf("\nCRC-64/NVME, GB/s\n");
        for (int e = CRY_CRC64_TABLE; e < _CRY_CRC64_ENGINE_MAX; e++)
                printf("%-22s %7.2f\n", cry_crc64_engine_to_string((enum cry_crc64_engine)e),
                       cry_crc64_engine_available((enum cry_crc64_engine)e)
                               ? best_rate(crc, &e, BUFFER_BYTES)
                               : 0.0);
}

int main(void)
{
        buffer = aligned_alloc(4096, BUFFER_BYTES);
        if (!buffer)
                return 1;
        memset(buffer, 0x5a, BUFFER_BYTES);
        print_ciphers();
        print_digests();
        free(buffer);
        return 0;
}
