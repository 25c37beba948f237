/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bitlk-real - volumes that Windows made: each opens with each of its credentials, its content has
 * the published hash, and each wrong credential gets its own reason. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/str.h"
#include "crypto/view.h"
#include "tests/lib/bitlk-images.h"

static struct bitlk_image *images;
static int n_images;

static struct bth_source *open_image(const struct bitlk_image *image)
{
        struct bth_source *s = NULL;
        int fd = open(image->path, O_RDONLY | O_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(bth_source_new_fd(fd, true, &s), 0);
        return s;
}

static struct cry_metadata *read_metadata(struct bth_source *s)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct cry_metadata *m = NULL;
        char text[1024];

        if (cry_metadata_read(s, &m, &e) < 0)
                fail_msg("%s", bth_error_to_string(&e, text, sizeof text));
        return m;
}

static void unlock(const struct cry_metadata *m, const struct bitlk_image *image, size_t k,
                   struct cry_unlocked *u)
{
        const struct cry_credential c = { image->credentials[k].kind,
                                          image->credentials[k].secret };
        struct bth_error e = BTH_ERROR_INIT;
        char text[1024];

        if (cry_unlock(m, &c, u, &e) < 0)
                fail_msg("%s, credential %zu: %s", image->name, k,
                         bth_error_to_string(&e, text, sizeof text));
}

/* SHA-256 over what the file has of the plain volume, read in pieces that fit nothing. */
static void assert_content(struct bth_source *view, const struct bitlk_image *image)
{
        const size_t piece = (1 << 20) + 4096 + 512 + 7;
        uint8_t *buffer = malloc(piece), hash[BTH_SHA256_BYTES];
        struct bth_digest *d = NULL;
        char text[65];

        assert_non_null(buffer);
        assert_int_equal(bth_digest_new(BTH_DIGEST_SHA256, &d), 0);
        for (uint64_t at = 0; at < image->size_bytes;) {
                size_t n = (size_t)MIN((uint64_t)piece, image->size_bytes - at);

                assert_int_equal(bth_source_read(view, at, buffer, n), 0);
                assert_int_equal(bth_digest_update(d, buffer, n), 0);
                at += n;
        }
        assert_int_equal(bth_digest_finish(d, hash), 0);
        bth_hex_encode(hash, sizeof hash, text);
        if (bth_ascii_casecmp(text, image->plain_sha256) != 0)
                fail_msg("%s: plain SHA-256 %s, expected %s", image->name, text,
                         image->plain_sha256);
        (void)bth_digest_free(d);
        free(buffer);
}

static void test_every_credential(void **state)
{
        for (int i = 0; i < n_images; i++) {
                struct bth_source *s = open_image(&images[i]), *view = NULL;
                struct cry_metadata *m = read_metadata(s);
                struct cry_unlocked first = { 0 };
                struct bth_error e = BTH_ERROR_INIT;

                assert_int_equal(m->sector_bytes, images[i].sector_bytes);
                assert_true(images[i].n_credentials > 0);
                for (size_t k = 0; k < images[i].n_credentials; k++) {
                        struct cry_unlocked u;

                        unlock(m, &images[i], k, &u);
                        /* Where libcryptsetup can do it, it gives the same key. */
                        assert_int_equal(u.by_libcryptsetup,
                                         images[i].credentials[k].kind != CRY_CREDENTIAL_NONE);
                        if (first.key)
                                assert_true(bth_secret_equal(first.key, u.key));
                        cry_unlocked_clear(&first);
                        first = u;
                }
                if (images[i].plain_sha256[0] == '\0') {
                        /* Its bitmaps were stripped: there is nothing to decide what is encrypted.
                         */
                        assert_int_equal(cry_view_new(s, m, &first, &view, &e), -EBADMSG);
                        assert_int_equal(e.reason, BTH_REASON_BITLOCKER_DAMAGED);
                } else {
                        assert_int_equal(cry_view_new(s, m, &first, &view, &e), 0);
                        assert_content(view, &images[i]);
                        view = bth_source_free(view);
                }
                cry_unlocked_clear(&first);
                m = cry_metadata_free(m);
                s = bth_source_free(s);
        }
}

static const struct bitlk_image *find(const char *name)
{
        for (int i = 0; i < n_images; i++)
                if (strcmp(images[i].name, name) == 0)
                        return &images[i];
        fail_msg("no image %s", name);
        return NULL;
}

static void test_warnings(void **state)
{
        static const struct {
                const char *name;
                unsigned warnings;
                enum cry_volume_state state;
        } cases[] = {
                { "bitlk-aes-xts-128.img", 0, CRY_VOLUME_ENCRYPTED },
                { "bitlk-aes-xts-128-eow.img", CRY_WARNING_USED_SPACE, CRY_VOLUME_USED_SPACE },
                { "dissect-suspended.bin", CRY_WARNING_CLEAR_KEY | CRY_WARNING_TRUNCATED,
                  CRY_VOLUME_ENCRYPTED },
                { "dissect-aes_256_diffuser.bin", CRY_WARNING_TRUNCATED, CRY_VOLUME_ENCRYPTED },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct bth_source *s = open_image(find(cases[i].name));
                struct cry_metadata *m = read_metadata(s);

                /* A copy may lie in the part of a truncated file that is missing. */
                assert_int_equal(m->warnings & ~(unsigned)CRY_WARNING_COPY_DAMAGED,
                                 cases[i].warnings);
                assert_int_equal(m->state, cases[i].state);
                m = cry_metadata_free(m);
                s = bth_source_free(s);
        }
        for (unsigned bit = 1; bit < CRY_WARNINGS_END; bit <<= 1) {
                assert_non_null(cry_warning_to_string(bit));
                assert_true(cry_warning_sentence(bit)[0] != '\0');
        }
}

static void test_truncated_reads(void **state)
{
        const struct bitlk_image *image = find("dissect-suspended.bin");
        struct bth_source *s = open_image(image), *view = NULL;
        struct cry_metadata *m = read_metadata(s);
        struct cry_unlocked u;
        uint8_t sector[512];

        unlock(m, image, 0, &u);
        assert_int_equal(cry_view_new(s, m, &u, &view, NULL), 0);
        assert_true(view->size_bytes > image->size_bytes);
        assert_int_equal(bth_source_read(view, image->size_bytes, sector, 512), -EIO);
        assert_int_equal(bth_source_read(view, image->size_bytes - 256, sector, 512), -EIO);
        assert_int_equal(bth_source_read(view, image->size_bytes - 512, sector, 512), 0);
        view = bth_source_free(view);
        cry_unlocked_clear(&u);
        m = cry_metadata_free(m);
        s = bth_source_free(s);
}

static void assert_reason(const char *name, enum cry_credential_kind kind, const char *text,
                          enum bth_reason reason, enum bth_drive_status status, const char *part)
{
        struct bth_source *s = open_image(find(name));
        struct cry_metadata *m = read_metadata(s);
        struct bth_secret *secret = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        struct cry_unlocked u;

        assert_int_equal(bth_secret_new_copy(text, strlen(text), &secret), 0);
        assert_true(cry_unlock(m, &(struct cry_credential){ kind, secret }, &u, &e) < 0);
        assert_int_equal(e.reason, reason);
        assert_int_equal(cry_drive_status(&e), status);
        if (!strstr(e.sentence, part))
                fail_msg("'%s' is not in '%s'", part, e.sentence);
        assert_null(strstr(e.sentence, text)); /* the credential is not repeated */
        secret = bth_secret_free(secret);
        m = cry_metadata_free(m);
        s = bth_source_free(s);
}

static void test_wrong_credentials(void **state)
{
        const char *plain = "bitlk-aes-xts-128.img";

        assert_reason(plain, CRY_CREDENTIAL_RECOVERY_PASSWORD,
                      "122221-244442-366663-488884-611105-013574-660000-720885",
                      BTH_REASON_WRONG_KEY, BTH_DRIVE_STATUS_BITLOCKER_KEY_INVALID, "does not fit");
        assert_reason(plain, CRY_CREDENTIAL_RECOVERY_PASSWORD,
                      "235818-357951-253978-013365-241120-245575-342914-591910",
                      BTH_REASON_KEY_MALFORMED, BTH_DRIVE_STATUS_BITLOCKER_KEY_INVALID, "group 3");
        assert_reason(plain, CRY_CREDENTIAL_RECOVERY_PASSWORD, "235818-357951",
                      BTH_REASON_KEY_MALFORMED, BTH_DRIVE_STATUS_BITLOCKER_KEY_INVALID,
                      "eight groups");
        assert_reason(plain, CRY_CREDENTIAL_PASSWORD, "anacondA", BTH_REASON_WRONG_KEY,
                      BTH_DRIVE_STATUS_BITLOCKER_KEY_INVALID, "password does not fit");
        assert_reason(plain, CRY_CREDENTIAL_PASSWORD, "gr\xc3\xbc\xc3\x9f", BTH_REASON_WRONG_KEY,
                      BTH_DRIVE_STATUS_BITLOCKER_KEY_INVALID, "password does not fit");
        assert_reason(plain, CRY_CREDENTIAL_PASSWORD, "\xff\xfe", BTH_REASON_KEY_MALFORMED,
                      BTH_DRIVE_STATUS_BITLOCKER_KEY_INVALID, "UTF-8");
        assert_reason(plain, CRY_CREDENTIAL_EXTERNAL_KEY,
                      "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", BTH_REASON_NO_SUCH_PROTECTOR,
                      BTH_DRIVE_STATUS_BITLOCKER_PROTECTOR_NOT_FOUND, "it has: ");
        assert_reason("bitlk-aes-xts-128-startup-key.img", CRY_CREDENTIAL_EXTERNAL_KEY,
                      "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", BTH_REASON_WRONG_KEY,
                      BTH_DRIVE_STATUS_BITLOCKER_KEY_INVALID, "external-key does not fit");
        assert_reason(plain, CRY_CREDENTIAL_EXTERNAL_KEY, "not a key", BTH_REASON_KEY_MALFORMED,
                      BTH_DRIVE_STATUS_BITLOCKER_KEY_INVALID, ".BEK");
}

/* A base64 key as journals have it, taken out of the .BEK file, opens too. */
static void test_journal_form_of_external_key(void **state)
{
        const struct bitlk_image *image = find("dissect-startup_key.bin");
        const uint8_t *bek = image->credentials[0].secret->data;
        struct bth_source *s = open_image(image);
        struct cry_metadata *m = read_metadata(s);
        struct bth_secret *text = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        struct cry_unlocked a, b;

        assert_int_equal(image->credentials[0].kind, CRY_CREDENTIAL_EXTERNAL_KEY);
        assert_int_equal(bth_secret_new(44, &text), 0);
        bth_base64_encode(bek + image->credentials[0].secret->length_bytes - 32, 32,
                          (char *)text->data);
        assert_int_equal(cry_credential_kind_of_journal_key(text), CRY_CREDENTIAL_EXTERNAL_KEY);
        assert_int_equal(cry_unlock(m,
                                    &(struct cry_credential){ CRY_CREDENTIAL_EXTERNAL_KEY, text },
                                    &a, &e),
                         0);
        unlock(m, image, 0, &b);
        assert_true(bth_secret_equal(a.key, b.key));
        cry_unlocked_clear(&a);
        cry_unlocked_clear(&b);
        text = bth_secret_free(text);
        m = cry_metadata_free(m);
        s = bth_source_free(s);
}

/* Reads at random places agree with one large read, alone and in batches. */
static void test_random_reads(void **state)
{
        const struct bitlk_image *image = find("bitlk-aes-xts-128-4k.img");
        const size_t n = 48 << 20;
        struct bth_source *s = open_image(image), *view = NULL;
        struct cry_metadata *m = read_metadata(s);
        uint8_t *whole = malloc(n), *piece = malloc(8 * 70000);
        struct cry_unlocked u;
        unsigned seed = 4;

        unlock(m, image, 0, &u);
        assert_int_equal(cry_view_new(s, m, &u, &view, NULL), 0);
        assert_int_equal(bth_source_read(view, 0, whole, n), 0);
        for (int round = 0; round < 300; round++) {
                struct bth_read reads[8];

                for (size_t i = 0; i < 8; i++) {
                        size_t unit = round % 2 ? 1 : 4096;
                        size_t length = (1 + (unsigned)rand_r(&seed) % (65536 / unit)) * unit;
                        size_t base = i == 0   ? 0
                                      : i == 1 ? m->copies[0] - 32768
                                               : (unsigned)rand_r(&seed) % (n - 200000);

                        reads[i] = (struct bth_read){
                                .offset_bytes =
                                        (base + (unsigned)rand_r(&seed) % 65536) / unit * unit,
                                .length_bytes = length,
                                .buffer = piece + i * 70000,
                                .result = -1
                        };
                }
                assert_int_equal(bth_source_read_many(view, reads, 8), 0);
                for (size_t i = 0; i < 8; i++) {
                        assert_int_equal(reads[i].result, 0);
                        assert_memory_equal(reads[i].buffer, whole + reads[i].offset_bytes,
                                            reads[i].length_bytes);
                }
        }
        free(whole);
        free(piece);
        view = bth_source_free(view);
        cry_unlocked_clear(&u);
        m = cry_metadata_free(m);
        s = bth_source_free(s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every_credential),
                cmocka_unit_test(test_warnings),
                cmocka_unit_test(test_truncated_reads),
                cmocka_unit_test(test_wrong_credentials),
                cmocka_unit_test(test_journal_form_of_external_key),
                cmocka_unit_test(test_random_reads),
        };
        int failed;

        n_images = bitlk_images_open(&images);
        if (n_images == -ENOENT) {
                puts("SKIP: no BitLocker volumes: BERTH_SHARED/data/bitlk is not there");
                return 77;
        }
        if (n_images < 0) {
                fprintf(stderr, "the images cannot be unpacked: %s\n", strerror(-n_images));
                return 1;
        }
        failed = cmocka_run_group_tests(tests, NULL, NULL);
        bitlk_images_close(images, n_images);
        return failed;
}
