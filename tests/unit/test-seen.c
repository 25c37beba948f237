/* SPDX-License-Identifier: GPL-3.0-or-later */
/* seen - doubles among many names, in the promised memory; and the hash below it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>

#include "base/siphash.h"
#include "base/str.h"
#include "media/seen.h"

#define NAMES 300000u

static void siphash_by_library(const uint8_t *key, const uint8_t *data, size_t n, uint8_t *out)
{
        size_t size = 16;
        OSSL_PARAM parameters[] = {
                OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
                OSSL_PARAM_construct_end(),
        };
        EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
        EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);

        assert_int_equal(EVP_MAC_init(context, key, 16, parameters), 1);
        assert_int_equal(EVP_MAC_update(context, data, n), 1);
        assert_int_equal(EVP_MAC_final(context, out, &size, 16), 1);
        EVP_MAC_CTX_free(context);
        EVP_MAC_free(mac);
}

static void test_siphash(void **state)
{
        struct bth_siphash_key key;
        uint8_t data[256], expected[16];
        char hex[33];

        for (unsigned i = 0; i < sizeof data; i++)
                data[i] = (uint8_t)i;
        memcpy(&key, data, sizeof key); /* little-endian, as the reference has it */
        for (size_t n = 0; n < sizeof data; n++) {
                struct bth_siphash h = bth_siphash_of(&key, data, n);

                siphash_by_library(data, data, n, expected);
                assert_memory_equal(&h, expected, sizeof expected);
        }
        siphash_by_library(data, data, 0, expected);
        assert_string_equal(bth_hex_encode(expected, sizeof expected, hex),
                            "A3817F04BA25A8E66DF67214C7550293"); /* of the reference */
}

static void test_doubles(void **state)
{
        _cleanup_(med_seen_freep) struct med_seen *s = NULL;
        char name[32];

        assert_int_equal(med_seen_new(&s), 0);
        for (unsigned round = 0; round < 2; round++)
                for (unsigned i = 0; i < NAMES; i++) {
                        int n = snprintf(name, sizeof name, "attic/%u", i);

                        assert_int_equal(med_seen_add(s, name, (size_t)n), (int)round);
                }
        assert_int_equal(med_seen_count(s), NAMES);
        assert_int_equal(med_seen_add(s, "", 0), 0);
        assert_int_equal(med_seen_add(s, "", 0), 1);
        assert_int_equal(med_seen_add(s, "\0", 1), 0);
}

/* At every moment, not only at the end. */
static void test_memory(void **state)
{
        _cleanup_(med_seen_freep) struct med_seen *s = NULL;

        assert_int_equal(med_seen_new(&s), 0);
        for (uint64_t i = 0; i < NAMES; i++) {
                assert_int_equal(med_seen_add(s, &i, sizeof i), 0);
                assert_true(med_seen_bytes(s) <= (i + 1) * 16 + (72 << 10));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_siphash),
                cmocka_unit_test(test_doubles),
                cmocka_unit_test(test_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
