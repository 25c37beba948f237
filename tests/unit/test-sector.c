/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sector - the vectors of specification 14 on every engine, and all engines against the library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/str.h"
#include "crypto/sector.h"

static const struct {
        enum cry_method method;
        const char *first, *last, *sha256;
} vectors[] = {
        { CRY_METHOD_AES_XTS_128, "dad1bc6f5d266710c5348b8da6850252",
          "43fe1f6bf340c50943165782a52aad89",
          "e4d401e9defbca67db6fdf23874c2d13ec1d7653543064496d05ce6508b7d04f" },
        { CRY_METHOD_AES_XTS_256, "80a9a5d38f8cfc9940c712ff0b0e7cdd",
          "483ca6711138b7e9688a63a3508d5f2d",
          "a03cf7bd3a3c505abe65abf624effd1ca5ac3ab8e5c6af690aad07934a20a3b7" },
        { CRY_METHOD_AES_CBC_128, "2fb9a15d82b014144abdf5fcdc564b98",
          "0512faedb44df798c0d9facee579c62c",
          "a3ba9e4261f19e9e32bcccdb1d1537e481ea5e2a5c8229be0cedcb5c0728e4e3" },
        { CRY_METHOD_AES_CBC_256, "1b44a3d42c28e28da3a868a3302b6ed4",
          "0c08b5d45e76d6fa22dc39fa4cc2e3a4",
          "a2b399884a902a9b1f63b0b81c252b91cae2da26e382a3b740b5af727c87cb3c" },
        { CRY_METHOD_AES_CBC_128_ELEPHANT, "d7d9631a6174027cdf7061bd05d856ef",
          "600381e76f1235649ae35a18f92dc657",
          "e414411fc22ef6eb7989901e50f5cc7d1841708bfcad7d8e2fcf99fbb3ca0fd3" },
        { CRY_METHOD_AES_CBC_256_ELEPHANT, "976e576a57063a9b50cf1e0bc9ac7963",
          "79747ee7ea42d16dedcab236e4cd9c73",
          "a099fd207fa6401fccc25b981992fd373859443d212ba0e276cb5b71f73bb5f9" },
};

static struct cry_sector_cipher *make(enum cry_engine engine, enum cry_method method,
                                      uint32_t sector)
{
        struct cry_sector_cipher *c = NULL;
        uint8_t key[64];

        for (size_t i = 0; i < sizeof key; i++)
                key[i] = (uint8_t)i;
        assert_int_equal(cry_sector_cipher_new_with(engine, method, key,
                                                    cry_method_key_bytes(method), sector, &c),
                         0);
        return c;
}

static void assert_hex(const uint8_t *data, size_t n, const char *hex)
{
        uint8_t expected[64];

        assert_int_equal(strlen(hex), 2 * n);
        assert_int_equal(bth_hex_decode(hex, 2 * n, expected), 0);
        assert_memory_equal(data, expected, n);
}

static void test_vectors(void **state)
{
        for (int e = CRY_ENGINE_BEST; e < _CRY_ENGINE_MAX; e++) {
                if (!cry_engine_available((enum cry_engine)e)) {
                        print_message("this machine has no %s\n",
                                      cry_engine_to_string((enum cry_engine)e));
                        continue;
                }
                for (size_t v = 0; v < ARRAY_SIZE(vectors); v++) {
                        struct cry_sector_cipher *c =
                                make((enum cry_engine)e, vectors[v].method, 512);
                        uint8_t plain[512], sealed[512], back[512], sum[32];

                        for (size_t i = 0; i < 512; i++)
                                plain[i] = (uint8_t)i;
                        assert_int_equal(cry_sector_encrypt(c, 0x100000, plain, sealed, 512), 0);
                        assert_hex(sealed, 16, vectors[v].first);
                        assert_hex(sealed + 496, 16, vectors[v].last);
                        assert_int_equal(bth_digest_of(BTH_DIGEST_SHA256, sealed, 512, sum), 0);
                        assert_hex(sum, 32, vectors[v].sha256);
                        assert_int_equal(cry_sector_decrypt(c, 0x100000, sealed, back, 512), 0);
                        assert_memory_equal(back, plain, 512);
                        c = cry_sector_cipher_free(c);
                }
        }
}

/* Random runs of sectors, at random alignments and offsets, in place and not, on every engine. */
static void test_engines_agree(void **state)
{
        enum { MAX = 80 * 4096 };
        uint8_t *in = malloc(MAX + 64), *expected = malloc(MAX), *out = malloc(MAX + 64);
        unsigned seed = 20261121;

        assert_true(in && expected && out);
        for (size_t i = 0; i < MAX + 64; i++)
                in[i] = (uint8_t)rand_r(&seed);
        for (int round = 0; round < 240; round++) {
                const enum cry_method method =
                        vectors[(unsigned)round % ARRAY_SIZE(vectors)].method;
                const uint32_t sector = round % 2 ? 512 : 4096;
                const size_t n = (1 + (unsigned)rand_r(&seed) % 79) * sector;
                const uint64_t offset =
                        ((uint64_t)rand_r(&seed) << 20 | (unsigned)rand_r(&seed)) * sector;
                const uint8_t *from = in + (unsigned)rand_r(&seed) % 64;
                uint8_t *to = out + (unsigned)rand_r(&seed) % 64;
                struct cry_sector_cipher *library = make(CRY_ENGINE_LIBRARY, method, sector);

                assert_int_equal(cry_sector_decrypt(library, offset, from, expected, n), 0);
                for (int e = CRY_ENGINE_AESNI; e < _CRY_ENGINE_MAX; e++) {
                        struct cry_sector_cipher *c;

                        if (!cry_engine_available((enum cry_engine)e))
                                continue;
                        c = make((enum cry_engine)e, method, sector);
                        assert_int_equal(cry_sector_decrypt(c, offset, from, to, n), 0);
                        assert_memory_equal(to, expected, n);
                        memcpy(to, from, n);
                        assert_int_equal(cry_sector_decrypt(c, offset, to, to, n), 0);
                        assert_memory_equal(to, expected, n);
                        assert_int_equal(cry_sector_encrypt(c, offset, to, to, n), 0);
                        assert_memory_equal(to, from, n);
                        c = cry_sector_cipher_free(c);
                }
                library = cry_sector_cipher_free(library);
        }
        free(in);
        free(expected);
        free(out);
}

static void test_refused(void **state)
{
        struct cry_sector_cipher *c = NULL;
        uint8_t key[64] = { 0 }, data[1024];

        assert_int_equal(cry_sector_cipher_new((enum cry_method)0x8006, key, 32, 512, &c), -EINVAL);
        assert_int_equal(cry_sector_cipher_new(CRY_METHOD_AES_CBC_128, key, 32, 512, &c), -EINVAL);
        assert_int_equal(cry_sector_cipher_new(CRY_METHOD_AES_CBC_128, key, 16, 1024, &c), -EINVAL);
        assert_int_equal(cry_sector_cipher_new(CRY_METHOD_AES_XTS_128, key, 32, 512, &c), -EINVAL);
        c = make(CRY_ENGINE_BEST, CRY_METHOD_AES_XTS_128, 512);
        assert_int_equal(cry_sector_decrypt(c, 0, data, data, 100), -EINVAL);
        assert_int_equal(cry_sector_decrypt(c, 100, data, data, 512), -EINVAL);
        assert_int_equal(cry_sector_decrypt(c, 0, data, data, 0), 0);
        c = cry_sector_cipher_free(c);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_vectors),
                cmocka_unit_test(test_engines_agree),
                cmocka_unit_test(test_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
