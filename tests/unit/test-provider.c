/* SPDX-License-Identifier: GPL-3.0-or-later */
/* provider - one suite for every way to the plain volume. Where dm-crypt cannot work, its part says
 * what is missing and the program ends with 77; the rest has run all the same. */
#include <fcntl.h>
#include <linux/loop.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/str.h"
#include "crypto/provider.h"
#include "tests/lib/bitlk-images.h"

#define IMAGE       "bitlk-aes-xts-256.img"
#define IMAGE_BYTES 104857600u
#define RECOVERY    "404558-436711-420860-678557-638220-018909-039941-695321"
#define PLAIN       "5bb6ff5acbded10be990c6fa208ab479934a08bc2e88740a1aa2642af2f42025"

static int image_fd = BTH_FD_NONE;

/* A loop device over the image, which goes with its descriptor. Returns it or -errno. */
static int new_loop(void)
{
        struct loop_config config = { .fd = (uint32_t)image_fd };
        _cleanup_close_ int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
        char path[32];
        int number, fd;

        if (control < 0)
                return -errno;
        number = ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0)
                return -errno;
        snprintf(path, sizeof path, "/dev/loop%d", number);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
        if (ioctl(fd, LOOP_CONFIGURE, &config) < 0) {
                number = -errno;
                close(fd);
                return number;
        }
        return fd;
}

static void check_provider(enum cry_provider p, int fd)
{
        struct bth_source *volume = NULL, *plain = NULL;
        struct bth_secret *secret = NULL;
        struct cry_unlocked u = { 0 };
        struct cry_metadata *m = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        struct bth_digest *d = NULL;
        static uint8_t buffer[1 << 20];
        uint8_t hash[BTH_SHA256_BYTES];
        char text[65];

        assert_int_equal(bth_source_new_fd(fd, false, &volume), 0);
        assert_int_equal(bth_secret_new_copy(RECOVERY, strlen(RECOVERY), &secret), 0);
        assert_int_equal(cry_unlock_volume(volume,
                                           &(struct cry_credential){
                                                   CRY_CREDENTIAL_RECOVERY_PASSWORD, secret },
                                           &m, &u, &e),
                         0);
        if (cry_provider_open(p, &(struct cry_encrypted){ volume, fd, m, &u }, &plain, &e) < 0)
                fail_msg("%s: %s", cry_provider_to_string(p), e.sentence);
        cry_unlocked_clear(&u); /* the plain volume does not need it any more */
        assert_int_equal(plain->size_bytes, IMAGE_BYTES);
        assert_int_equal(bth_digest_new(BTH_DIGEST_SHA256, &d), 0);
        for (uint64_t at = 0; at < IMAGE_BYTES; at += sizeof buffer) {
                assert_int_equal(bth_source_read(plain, at, buffer, sizeof buffer), 0);
                assert_int_equal(bth_digest_update(d, buffer, sizeof buffer), 0);
        }
        assert_int_equal(bth_digest_finish(d, hash), 0);
        bth_hex_encode(hash, sizeof hash, text);
        assert_int_equal(bth_ascii_casecmp(text, PLAIN), 0);
        (void)bth_digest_free(d);
        (void)bth_source_free(plain);
        (void)cry_metadata_free(m);
        (void)bth_secret_free(secret);
        (void)bth_source_free(volume);
}

static void test_names(void **state)
{
        for (int i = 0; i < _CRY_PROVIDER_MAX; i++)
                assert_int_equal(
                        cry_provider_from_string(cry_provider_to_string((enum cry_provider)i)), i);
        assert_int_equal(cry_provider_from_string("kernel"), _CRY_PROVIDER_INVALID);
        assert_int_equal(cry_provider_from_string(NULL), _CRY_PROVIDER_INVALID);
        assert_int_equal(cry_provider_check(CRY_PROVIDER_USERSPACE, NULL), 0);
}

static void test_userspace(void **state)
{
        check_provider(CRY_PROVIDER_USERSPACE, image_fd);
}

/* An image file is not for the kernel; where it is not for it anyway, that is said first. */
static void test_file_is_refused(void **state)
{
        struct cry_metadata m = { .state = CRY_VOLUME_ENCRYPTED };
        struct cry_unlocked u = { 0 };
        struct bth_source *plain = NULL;
        struct bth_error e = BTH_ERROR_INIT;

        assert_int_equal(cry_provider_open(CRY_PROVIDER_DM_CRYPT,
                                           &(struct cry_encrypted){ NULL, image_fd, &m, &u },
                                           &plain, &e),
                         -ENOTSUP);
        assert_int_equal(e.reason, BTH_REASON_UNSUPPORTED);
        assert_non_null(strstr(e.sentence, "dm-crypt cannot be used here: "));
        assert_null(plain);
}

static const char *dm_missing;

static void test_dm_crypt(void **state)
{
        int fd;

        if (dm_missing)
                skip();
        fd = new_loop();
        if (fd < 0) {
                dm_missing = "no loop device can be made";
                skip();
        }
        check_provider(CRY_PROVIDER_DM_CRYPT, fd);
        close(fd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_userspace),
                cmocka_unit_test(test_file_is_refused),
                cmocka_unit_test(test_dm_crypt),
        };
        struct bth_error e = BTH_ERROR_INIT;
        int failed;

        image_fd = bitlk_image_memfd(IMAGE);
        if (image_fd == -ENOENT) {
                puts("SKIP: no BitLocker volumes: BERTH_SHARED/data/bitlk is not there");
                return 77;
        }
        if (image_fd < 0)
                return 1;
        if (cry_provider_check(CRY_PROVIDER_DM_CRYPT, &e) < 0)
                dm_missing = e.sentence;
        failed = cmocka_run_group_tests(tests, NULL, NULL);
        close(image_fd);
        if (failed == 0 && dm_missing) {
                printf("SKIP: cannot run here: dm-crypt; the other provider was tested: %s\n",
                       dm_missing);
                return 77;
        }
        return failed;
}
