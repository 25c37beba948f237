/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A Windows volume opened stage by stage, and the status of what fails. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/bitlk-images.h"
#include "uploader/drive.h"

#define RECOVERY "404558-436711-420860-678557-638220-018909-039941-695321"

static int image_fd = BTH_FD_NONE;

static int open_as(enum upl_drive_depth depth, const char *recovery, bool keep_key,
                   struct upl_drive **ret, struct bth_error *e)
{
        const struct upl_drive_options o = { .depth = depth, .keep_key = keep_key };
        _cleanup_(bth_secret_freep) struct bth_secret *secret = NULL;
        struct cry_credential c = { .kind = CRY_CREDENTIAL_RECOVERY_PASSWORD };

        assert_int_equal(bth_secret_new_copy(recovery, strlen(recovery), &secret), 0);
        c.secret = secret;
        return upl_drive_open(image_fd, &o, &c, ret, e);
}

static void test_depths(void **state)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct upl_drive *d = NULL;

        (void)state;
        assert_int_equal(open_as(UPL_DRIVE_VOLUME, RECOVERY, false, &d, &e), 0);
        assert_non_null(d->volume);
        assert_null(d->metadata);
        (void)upl_drive_close(d);

        assert_int_equal(open_as(UPL_DRIVE_METADATA, RECOVERY, false, &d, &e), 0);
        assert_non_null(d->metadata);
        assert_null(d->plain);
        (void)upl_drive_close(d);

        assert_int_equal(open_as(UPL_DRIVE_PLAIN, RECOVERY, true, &d, &e), 0);
        assert_non_null(d->unlocked.key);
        assert_int_equal(d->unlocked_by, CRY_PROTECTOR_RECOVERY_PASSWORD);
        assert_null(d->ntfs);
        (void)upl_drive_close(d);

        assert_int_equal(open_as(UPL_DRIVE_PLAIN, RECOVERY, false, &d, &e), 0);
        assert_null(d->unlocked.key);
        (void)upl_drive_close(d);

        /* What is behind the boot sector was taken out of the image by who published it. */
        d = NULL;
        assert_int_equal(open_as(UPL_DRIVE_FILES, RECOVERY, false, &d, &e), -EBADMSG);
        assert_null(d);
        assert_int_equal(upl_drive_status(&e), BTH_DRIVE_STATUS_DISK_OPERATION_FAILED);
}

static void test_wrong_key(void **state)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct upl_drive *d = NULL;

        (void)state;
        assert_int_equal(open_as(UPL_DRIVE_FILES,
                                 "404558-436711-420860-678557-638220-018909-039941-000011", false,
                                 &d, &e),
                         -EKEYREJECTED);
        assert_null(d);
        assert_int_equal(upl_drive_status(&e), BTH_DRIVE_STATUS_BITLOCKER_KEY_INVALID);
        bth_error_clear(&e);
        assert_int_equal(open_as(UPL_DRIVE_FILES, "1-2", false, &d, &e), -EINVAL);
        assert_int_equal(upl_drive_status(&e), BTH_DRIVE_STATUS_BITLOCKER_KEY_INVALID);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_depths),
                cmocka_unit_test(test_wrong_key),
        };

        image_fd = bitlk_image_memfd("bitlk-aes-xts-256.img");
        if (image_fd == -ENOENT) {
                printf("SKIP: cannot run here: the volumes of Windows are not beside the "
                       "project\n");
                return 77;
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
