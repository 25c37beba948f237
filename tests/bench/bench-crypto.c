/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bench-crypto - ciphers and digests on one core, beside libcrypto in the same run.
 * GB/s is 10^9 bytes a second of wall time on data in the second-level cache; the best of many
 * short rounds, since other work on the machine only ever slows a round down. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/macros.h"
#include "base/time.h"
#include "crypto/crc64.h"
#include "crypto/md5multi.h"
#include "crypto/sector.h"

#define BUFFER_BYTES ((size_t)256 << 10)
#define ROUND_USEC   3000
#define ROUNDS       100

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

static const struct {
        enum cry_method method;
        const EVP_CIPHER *(*cipher)(void); /* NULL: the library has no such thing */
} methods[] = {
        { CRY_METHOD_AES_XTS_128, EVP_aes_128_xts }, { CRY_METHOD_AES_XTS_256, EVP_aes_256_xts },
        { CRY_METHOD_AES_CBC_128, EVP_aes_128_cbc }, { CRY_METHOD_AES_CBC_256, EVP_aes_256_cbc },
        { CRY_METHOD_AES_CBC_128_ELEPHANT, NULL },   { CRY_METHOD_AES_CBC_256_ELEPHANT, NULL },
};

static void print_ratio(double rate, double large)
{
        if (rate > 0 && large > 0)
                printf(" %8.2f", rate / large);
        else
                printf(" %8s", "-");
}

/* A method: the library's bound, the library on sectors, our engines, and two of them as parts of
 * the bound. */
static void print_method(size_t i)
{
        const double large = methods[i].cipher ? rate_of_library(methods[i].cipher()) : 0;
        double rates[_CRY_ENGINE_MAX] = { 0 }, best = 0;

        printf("%-22s", cry_method_to_string(methods[i].method));
        if (large > 0)
                printf(" %8.2f", large);
        else
                printf(" %8s", "-");
        for (int e = CRY_ENGINE_LIBRARY; e < _CRY_ENGINE_MAX; e++) {
                if (!cry_engine_available((enum cry_engine)e)) {
                        printf(" %8s", "-");
                        continue;
                }
                rates[e] = rate_of((enum cry_engine)e, methods[i].method, 512, decrypt);
                best = MAX(best, rates[e]);
                printf(" %8.2f", rates[e]);
        }
        print_ratio(rates[CRY_ENGINE_AESNI], large);
        print_ratio(best, large);
        putchar('\n');
}

static void print_ciphers(void)
{
        printf("Decrypting 512-byte sectors, GB/s on one core\n"
               "large: %s on one 256 KiB buffer; library: the same, a call a sector; then ours\n"
               "%-22s %8s",
               OpenSSL_version(OPENSSL_VERSION), "method", "large");
        for (int e = CRY_ENGINE_LIBRARY; e < _CRY_ENGINE_MAX; e++)
                printf(" %8s", cry_engine_to_string((enum cry_engine)e));
        printf(" %8s %8s\n", "ni/large", "best/lrg");
        for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
                print_method(i);
        printf("\nBest engine, GB/s\n%-22s %14s %14s %14s\n", "method", "decrypt 4096",
               "encrypt 512", "encrypt 4096");
        for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
                printf("%-22s %14.2f %14.2f %14.2f\n", cry_method_to_string(methods[i].method),
                       rate_of(CRY_ENGINE_BEST, methods[i].method, 4096, decrypt),
                       rate_of(CRY_ENGINE_BEST, methods[i].method, 512, encrypt),
                       rate_of(CRY_ENGINE_BEST, methods[i].method, 4096, encrypt));
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

/* What `openssl speed -evp md5` measures. */
static void evp_md5(void *userdata)
{
        uint8_t hash[EVP_MAX_MD_SIZE];
        unsigned n;

        if (EVP_Digest(buffer, BUFFER_BYTES, hash, &n, EVP_md5(), NULL) != 1)
                exit(1);
}

static void print_md5(void)
{
        const double evp = best_rate(evp_md5, NULL, BUFFER_BYTES);

        printf("\nMD5 of 16 streams, GB/s on one core\n%-22s %8s %10s\n%-22s %8.2f %10.1f\n",
               "engine", "GB/s", "times EVP", "EVP, one stream", evp, 1.0);
        for (int e = CRY_MD5_LIBRARY; e < _CRY_MD5_ENGINE_MAX; e++) {
                double rate;

                if (!cry_md5_engine_available((enum cry_md5_engine)e))
                        continue;
                rate = best_rate(md5_lanes, &e, BUFFER_BYTES);
                printf("%-22s %8.2f %10.1f\n", cry_md5_engine_to_string((enum cry_md5_engine)e),
                       rate, rate / evp);
        }
}

static void print_crc(void)
{
        printf("\nCRC-64/NVME, GB/s on one core\n%-22s %8s\n", "engine", "GB/s");
        for (int e = CRY_CRC64_TABLE; e < _CRY_CRC64_ENGINE_MAX; e++)
                if (cry_crc64_engine_available((enum cry_crc64_engine)e))
                        printf("%-22s %8.2f\n",
                               cry_crc64_engine_to_string((enum cry_crc64_engine)e),
                               best_rate(crc, &e, BUFFER_BYTES));
}

int main(void)
{
        buffer = aligned_alloc(4096, BUFFER_BYTES);
        if (!buffer)
                return 1;
        memset(buffer, 0x5a, BUFFER_BYTES);
        print_ciphers();
        print_md5();
        print_crc();
        free(buffer);
        return 0;
}
