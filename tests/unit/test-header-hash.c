/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The header hash of a job against a disk in memory. Hashes by sha512sum(1) and others. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "uploader/header-hash.h"

/* 512 zero bytes; "ABCD". */
#define MD5_ZEROS   "BF619EAC0CDF3F68D496EA9344137E8B"
#define MD5_ABCD    "cb08ca4a7bb5f9683c19133a84872ca7"
#define SHA256_ABCD "e12e115acf4552b2568b55e93cbd39394c4ef81c82447fafc997882a02d23677"
#define SHA512_ABCD                                                        \
        "49ec55bd83fcd67838e3d385ce831669e3f815a7f44b7aa5f8d52b5d42354c46" \
        "d89c8b9d06e47a797ae4fbd22291be15bcc35b07735c4a6f92357f93d5a33d9b"

static uint8_t disk[4096];
static struct bth_source *device;

static int set_up(void **state)
{
        (void)state;
        memcpy(disk + 1000, "ABCD", 4);
        return bth_source_new_memory(disk, sizeof disk, &device);
}

static int tear_down(void **state)
{
        (void)state;
        device = bth_source_free(device);
        return 0;
}

static void test_fits(void **state)
{
        static const char *const texts[] = {
                "0:512:" MD5_ZEROS,
                "1000:4:" MD5_ABCD,
                "1000:4:" SHA256_ABCD,
                "1000:4:" SHA512_ABCD,
                "0:512:" MD5_ZEROS ";1000:4:" SHA512_ABCD,
                "0:512:" MD5_ZEROS ";1000:4:" SHA512_ABCD ";",
        };
        struct bth_error e = BTH_ERROR_INIT;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                if (upl_header_hash_check(device, texts[i], &e) != 0)
                        fail_msg("%s: %s", texts[i], e.sentence);
}

static void test_differs(void **state)
{
        struct bth_error e = BTH_ERROR_INIT;

        (void)state;
        assert_int_equal(upl_header_hash_check(device, "0:512:" MD5_ZEROS ";1001:4:" MD5_ABCD, &e),
                         -EILSEQ);
        assert_int_equal(e.reason, BTH_REASON_HASH_MISMATCH);
        assert_int_equal(e.offset_bytes, 1001);
}

static void test_refused(void **state)
{
        static const struct {
                const char *text;
                int r;
        } cases[] = {
                { "", -EINVAL },
                { "0", -EINVAL },
                { "0:512", -EINVAL },
                { "0:512:", -EINVAL },
                { "0:512:12", -EINVAL },
                { "-1:4:" MD5_ABCD, -EINVAL },
                { "0x10:4:" MD5_ABCD, -EINVAL },
                { "1000:4:" MD5_ABCD ";;", -EINVAL },
                { "1000:4:zb08ca4a7bb5f9683c19133a84872ca7", -EINVAL },
                { "4093:4:" MD5_ABCD, -ERANGE },
                { "18446744073709551615:4:" MD5_ABCD, -ERANGE },
                { "0:18446744073709551615:" MD5_ABCD, -ERANGE },
        };
        struct bth_error e = BTH_ERROR_INIT;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                int r = upl_header_hash_check(device, cases[i].text, &e);

                if (r != cases[i].r)
                        fail_msg("'%s': %d instead of %d", cases[i].text, r, cases[i].r);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_fits),
                cmocka_unit_test(test_differs),
                cmocka_unit_test(test_refused),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
