/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bitlk-hostile - a real volume, changed: damaged, forged, disagreeing and cut metadata each gets
 * its own reason, or the next copy is used. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "crypto/fve.h"
#include "crypto/view.h"
#include "tests/lib/bitlk-images.h"

#define IMAGE       "bitlk-aes-xts-128.img"
#define IMAGE_BYTES 104857600u
#define RECOVERY    "235818-357951-253979-013365-241120-245575-342914-591910"

static int image_fd = BTH_FD_NONE;
static const uint64_t copies[CRY_FVE_COPIES] = { 0x2195000, 0x2c1d000, 0x373a000 };

/* A volume that may be changed, and the source over it. */
struct volume {
        uint8_t *bytes;
        struct bth_source *source;
};

static int set_up(void **state)
{
        struct volume *v = calloc(1, sizeof *v);

        assert_non_null(v);
        v->bytes = mmap(NULL, IMAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, image_fd, 0);
        assert_true(v->bytes != MAP_FAILED);
        assert_int_equal(bth_source_new_memory(v->bytes, IMAGE_BYTES, &v->source), 0);
        *state = v;
        return 0;
}

static int tear_down(void **state)
{
        struct volume *v = *state;

        (void)bth_source_free(v->source);
        munmap(v->bytes, IMAGE_BYTES);
        free(v);
        return 0;
}

static struct fve_block_header *header_of(const struct volume *v, unsigned copy)
{
        return (struct fve_block_header *)(void *)(v->bytes + copies[copy]);
}

static void mend_checksum(const struct volume *v, unsigned copy)
{
        uint8_t *block = v->bytes + copies[copy];
        size_t covered = (size_t)le16_get(header_of(v, copy)->size_div_16) * 16;

        bth_store_le32(block + covered + 4, fve_crc32(block, covered));
}

static struct cry_metadata *read_metadata(struct bth_source *s)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct cry_metadata *m = NULL;

        if (cry_metadata_read(s, &m, &e) < 0)
                fail_msg("%s", e.sentence);
        return m;
}

static void assert_refused(struct bth_source *s, int code, enum bth_reason reason,
                           enum bth_drive_status status, const char *part)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct cry_metadata *m = NULL;

        assert_int_equal(cry_metadata_read(s, &m, &e), code);
        assert_null(m);
        assert_int_equal(e.reason, reason);
        assert_int_equal(cry_drive_status(&e), status);
        if (!strstr(e.sentence, part))
                fail_msg("'%s' is not in '%s'", part, e.sentence);
}

static void assert_opens_with_copy(struct bth_source *s, unsigned copy, unsigned warnings)
{
        struct bth_secret *secret = NULL;
        struct cry_metadata *m = NULL;
        struct cry_unlocked u = { 0 };
        struct bth_error e = BTH_ERROR_INIT;
        static const uint8_t fvek[4] = { 0xcc, 0x49, 0x3a, 0xd4 };

        assert_int_equal(bth_secret_new_copy(RECOVERY, strlen(RECOVERY), &secret), 0);
        if (cry_unlock_volume(s,
                              &(struct cry_credential){ CRY_CREDENTIAL_RECOVERY_PASSWORD, secret },
                              &m, &u, &e) < 0)
                fail_msg("%s", e.sentence);
        assert_int_equal(m->copy, copy);
        assert_int_equal(m->warnings, warnings);
        assert_memory_equal(u.key->data, fvek, sizeof fvek);
        assert_true(u.by_libcryptsetup); /* whatever copy it was: it sees the good one */
        cry_unlocked_clear(&u);
        (void)cry_metadata_free(m);
        (void)bth_secret_free(secret);
}

static void test_checksum_wrong(void **state)
{
        struct volume *v = *state;

        v->bytes[copies[0] + 0x100] ^= 1;
        assert_opens_with_copy(v->source, 1, CRY_WARNING_COPY_DAMAGED);
        memset(v->bytes + copies[1], 0, CRY_FVE_REGION_BYTES);
        assert_opens_with_copy(v->source, 2, CRY_WARNING_COPY_DAMAGED);
        v->bytes[copies[2] + 0x0a] = 3;
        assert_refused(v->source, -EBADMSG, BTH_REASON_BITLOCKER_DAMAGED,
                       BTH_DRIVE_STATUS_BITLOCKER_FAILED, "copy 1 at 35213312: its checksum");
}

/* The checksum is right and the hash is not: somebody changed what only the key proves. */
static void test_hash_wrong(void **state)
{
        struct volume *v = *state;
        struct bth_secret *secret = NULL;
        struct cry_metadata *m;
        struct cry_unlocked u = { 0 };
        struct bth_error e = BTH_ERROR_INIT;

        header_of(v, 0)->next_state = le16_make(3);
        mend_checksum(v, 0);
        m = read_metadata(v->source);
        assert_int_equal(m->copy, 0);
        assert_int_equal(m->warnings, CRY_WARNING_COPIES_DIFFER);
        assert_int_equal(bth_secret_new_copy(RECOVERY, strlen(RECOVERY), &secret), 0);
        assert_int_equal(
                cry_unlock(m, &(struct cry_credential){ CRY_CREDENTIAL_RECOVERY_PASSWORD, secret },
                           &u, &e),
                -EBADMSG);
        assert_int_equal(e.reason, BTH_REASON_BITLOCKER_DAMAGED);
        assert_non_null(strstr(e.sentence, "hash is wrong"));
        assert_null(u.key);
        (void)cry_metadata_free(m);
        assert_opens_with_copy(v->source, 1, CRY_WARNING_COPY_DAMAGED);

        for (unsigned i = 1; i < CRY_FVE_COPIES; i++) {
                header_of(v, i)->next_state = le16_make(3);
                mend_checksum(v, i);
        }
        m = NULL;
        e = BTH_ERROR_INIT;
        bth_error_at(&e, "a drive", 0, BTH_ERROR_NO_OFFSET);
        assert_int_equal(cry_unlock_volume(v->source,
                                           &(struct cry_credential){
                                                   CRY_CREDENTIAL_RECOVERY_PASSWORD, secret },
                                           &m, &u, &e),
                         -EBADMSG);
        assert_null(m);
        assert_string_equal(e.object, "a drive");
        assert_non_null(strstr(e.sentence, "hash is wrong"));
        (void)bth_secret_free(secret);
}

static void test_places(void **state)
{
        struct volume *v = *state;
        uint8_t *record = v->bytes + FVE_BOOT_RECORD_OFFSET + 16;

        bth_store_le64(record, UINT64_MAX - 511);
        assert_opens_with_copy(v->source, 1, CRY_WARNING_COPY_DAMAGED);
        bth_store_le64(record + 8, IMAGE_BYTES - 512);
        assert_opens_with_copy(v->source, 2, CRY_WARNING_COPY_DAMAGED);
        bth_store_le64(record + 16, 0x373a001);
        assert_refused(v->source, -EBADMSG, BTH_REASON_BITLOCKER_DAMAGED,
                       BTH_DRIVE_STATUS_BITLOCKER_FAILED, "copy 2 at 104857088: it lies outside");
}

static void test_relocated_header_outside(void **state)
{
        struct volume *v = *state;

        for (unsigned i = 0; i < CRY_FVE_COPIES; i++) {
                header_of(v, i)->header_offset = le64_make(IMAGE_BYTES - 4096);
                mend_checksum(v, i);
        }
        assert_refused(v->source, -EBADMSG, BTH_REASON_BITLOCKER_DAMAGED,
                       BTH_DRIVE_STATUS_BITLOCKER_FAILED, "relocated header");
}

static void test_cut(void **state)
{
        struct volume *v = *state;
        struct bth_source *cut = NULL;

        assert_int_equal(bth_source_new_window(v->source, 0, 40 << 20, false, &cut), 0);
        assert_opens_with_copy(cut, 0, CRY_WARNING_COPY_DAMAGED | CRY_WARNING_TRUNCATED);
        cut = bth_source_free(cut);
        assert_int_equal(bth_source_new_window(v->source, 0, 1 << 20, false, &cut), 0);
        assert_refused(cut, -EBADMSG, BTH_REASON_BITLOCKER_DAMAGED,
                       BTH_DRIVE_STATUS_BITLOCKER_FAILED, "outside the device");
        cut = bth_source_free(cut);
        assert_int_equal(bth_source_new_window(v->source, 0, 511, false, &cut), 0);
        assert_refused(cut, -EMEDIUMTYPE, BTH_REASON_NOT_BITLOCKER,
                       BTH_DRIVE_STATUS_BITLOCKER_NOT_ACTIVATED, "too small");
        cut = bth_source_free(cut);
}

static void set_state(struct volume *v, uint16_t current, uint64_t watermark, uint32_t dirty)
{
        for (unsigned i = 0; i < CRY_FVE_COPIES; i++) {
                header_of(v, i)->current_state = le16_make(current);
                header_of(v, i)->encrypted_size = le64_make(watermark);
                header_of(v, i)->dirty_size = le32_make(dirty);
                mend_checksum(v, i);
        }
}

static void test_states(void **state)
{
        struct volume *v = *state;
        struct cry_metadata *m;

        set_state(v, 2, 16 << 20, 1 << 20);
        assert_refused(v->source, -EBUSY, BTH_REASON_CONVERSION_ACTIVE,
                       BTH_DRIVE_STATUS_BITLOCKER_UNLOCK_VOLUME_FAILED, "log is active");
        set_state(v, 9, 16 << 20, 0);
        assert_refused(v->source, -EBADMSG, BTH_REASON_BITLOCKER_DAMAGED,
                       BTH_DRIVE_STATUS_BITLOCKER_FAILED, "state");
        set_state(v, 1, 0, 0);
        m = read_metadata(v->source);
        assert_int_equal(m->state, CRY_VOLUME_DECRYPTED);
        assert_int_equal(m->warnings, CRY_WARNING_DECRYPTED);
        (void)cry_metadata_free(m);
}

/* A conversion that was stopped: encrypted in front of the watermark, plain behind. */
static void test_paused_extents(void **state)
{
        struct volume *v = *state;
        struct cry_extent *extents;
        struct cry_metadata *m;
        uint64_t at = 0;
        size_t n;

        set_state(v, 3, 80 << 20, 0);
        m = read_metadata(v->source);
        assert_int_equal(m->state, CRY_VOLUME_PAUSED);
        assert_int_equal(m->warnings, CRY_WARNING_NOT_FINISHED);
        assert_int_equal(m->volume_bytes, IMAGE_BYTES);
        assert_int_equal(cry_extents_new(v->source, m, &extents, &n, NULL), 0);
        for (size_t i = 0; i < n; i++) {
                assert_int_equal(extents[i].offset_bytes, at);
                assert_int_equal(extents[i].kind == CRY_EXTENT_PLAIN, at >= 80 << 20);
                at += extents[i].length_bytes;
        }
        assert_int_equal(at, IMAGE_BYTES);
        assert_int_equal(extents[0].physical_bytes, m->header_offset);
        assert_int_equal(extents[0].length_bytes, 8192);
        free(extents);
        (void)cry_metadata_free(m);
}

static void test_unsupported(void **state)
{
        struct volume *v = *state;

        for (unsigned i = 0; i < CRY_FVE_COPIES; i++) {
                bth_store_le16(v->bytes + copies[i] + 64 + 0x24, 0x8006);
                mend_checksum(v, i);
        }
        assert_refused(v->source, -ENOTSUP, BTH_REASON_BITLOCKER_UNSUPPORTED,
                       BTH_DRIVE_STATUS_BITLOCKER_FAILED, "0x8006");
        memset(v->bytes + FVE_BOOT_RECORD_OFFSET, 0, 16); /* what Vista has there */
        assert_refused(v->source, -ENOTSUP, BTH_REASON_BITLOCKER_UNSUPPORTED,
                       BTH_DRIVE_STATUS_BITLOCKER_FAILED, "Vista");
        memcpy(v->bytes + 3, "NTFS    ", 8);
        assert_refused(v->source, -EMEDIUMTYPE, BTH_REASON_NOT_BITLOCKER,
                       BTH_DRIVE_STATUS_BITLOCKER_NOT_ACTIVATED, "not encrypted");
}

/* No datum length, whatever it is, leads out of the block. */
static void test_datum_lengths(void **state)
{
        struct volume *v = *state;
        static const uint16_t lengths[] = { 0, 7, 8, 9, 0x7fff, 0xffff };
        const uint64_t first = copies[0] + 64 + 48;

        for (unsigned i = 1; i < CRY_FVE_COPIES; i++)
                memset(v->bytes + copies[i], 0, 512);
        for (uint64_t at = first; at < first + 700; at++)
                for (size_t k = 0; k < ARRAY_SIZE(lengths); k++) {
                        struct cry_metadata *m = NULL;
                        uint16_t saved = bth_load_le16(v->bytes + at);

                        bth_store_le16(v->bytes + at, lengths[k]);
                        mend_checksum(v, 0);
                        if (cry_metadata_read(v->source, &m, NULL) == 0)
                                assert_true(m->n_protectors <= CRY_MAX_PROTECTORS);
                        else if (at == first && lengths[k] != 8 && lengths[k] != 9)
                                assert_null(m);
                        (void)cry_metadata_free(m);
                        bth_store_le16(v->bytes + at, saved);
                }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_checksum_wrong),
                TEST(test_hash_wrong),
                TEST(test_places),
                TEST(test_relocated_header_outside),
                TEST(test_cut),
                TEST(test_states),
                TEST(test_paused_extents),
                TEST(test_unsupported),
                TEST(test_datum_lengths),
        };
        int failed;

        image_fd = bitlk_image_memfd(IMAGE);
        if (image_fd == -ENOENT) {
                puts("SKIP: no BitLocker volumes: BERTH_SHARED/data/bitlk is not there");
                return 77;
        }
        if (image_fd < 0) {
                fprintf(stderr, "the image cannot be unpacked: %s\n", strerror(-image_fd));
                return 1;
        }
        failed = cmocka_run_group_tests(tests, NULL, NULL);
        close(image_fd);
        return failed;
}
