/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bitlk-keys - the key chain against known values, and no key in this process after close.
 * Known values: BitLocker specification 14. The process image is read as a core dump would see it;
 * what is looked for is kept masked, so that the test does not find itself. */
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/str.h"
#include "crypto/unwrap.h"
#include "crypto/view.h"
#include "tests/lib/bitlk-images.h"

#define IMAGE          "bitlk-aes-xts-128.img"
#define MASK           0x5a
#define NEEDLE_BYTES   16
#define REGION_MAX     ((size_t)256 << 20)
#define VMK_HEX        "e5862465920b1190605ae29547623fb9c0dbafab073c85634bfb0f8a4b8cf46b"
#define FVEK_HEX       "cc493ad40376cf719d3725073d5c1a6ca5759fc4ad179c95572f16c01a260d66"
#define RP_INITIAL_HEX "fdd303817e456f7a4b64a7063ae00be752a46841e57da98caf8522f136cb3411"
#define RP_STRETCH_HEX "1a39f926dab83e947fa85125b91e556e9ecc2bc5968924e03de234878d1fd4bd"
#define PW_INITIAL_HEX "0d6cbf9e5d75af220d7ac3e9f35d05f56952608dd1dacb31774452c489eadc51"
#define PW_STRETCH_HEX "37554410c6e0df5b4fe096259f4a21b847338d3e8d8d8d8c30012d1447cca957"
#define RP_BINARY_HEX  "be531d7f315abf04a0553557c67932d2"
#define PASSWORD_HEX   "616e61636f6e6461"
#define RECOVERY       "235818-357951-253979-013365-241120-245575-342914-591910"
#define WRAPPED_FVEK_HEX                                           \
        "c049ba6f3632d50108000000c83ef7a71e23b0b146ffd20691856484" \
        "bf886e2f056985d40b004f3b46d5929a1f1a09b20d2778fa3ca2d803f29ea3395c6b4723dd601b34997ae75e"

/* -- known values
 * ------------------------------------------------------------------------------------ */

static size_t from_hex(const char *hex, uint8_t *out)
{
        size_t n = strlen(hex) / 2;

        assert_int_equal(bth_hex_decode(hex, 2 * n, out), 0);
        return n;
}

static void assert_hex(const uint8_t *bytes, size_t n, const char *hex)
{
        char text[2 * 64 + 1];

        bth_hex_encode(bytes, n, text);
        if (bth_ascii_casecmp(text, hex) != 0)
                fail_msg("%s, expected %s", text, hex);
}

static void test_recovery_password(void **state)
{
        uint8_t binary[16], initial[32], salt[16], key[32];
        struct bth_secret *text = NULL;
        unsigned group;
        char again[56];

        assert_int_equal(bth_secret_new_copy(RECOVERY, strlen(RECOVERY), &text), 0);
        assert_int_equal(cry_recovery_parse(text, binary, &group), 0);
        assert_hex(binary, 16, RP_BINARY_HEX);
        cry_recovery_format(binary, again);
        assert_string_equal(again, RECOVERY);
        assert_int_equal(bth_digest_of(BTH_DIGEST_SHA256, binary, 16, initial), 0);
        assert_hex(initial, 32, RP_INITIAL_HEX);
        from_hex("2ba080989af9b50c203aaebd0b40d498", salt);
        assert_int_equal(cry_stretch(initial, salt, key), 0);
        assert_hex(key, 32, RP_STRETCH_HEX);
        (void)bth_secret_free(text);
}

static void test_password(void **state)
{
        uint8_t initial[32], salt[16], key[32], password[8];
        struct bth_secret *text = NULL;

        assert_int_equal(bth_secret_new_copy(password, from_hex(PASSWORD_HEX, password), &text), 0);
        assert_int_equal(cry_password_initial(text, initial), 0);
        assert_hex(initial, 32, PW_INITIAL_HEX);
        from_hex("8d7637cc5d885d5ff4f748dbc8440d2e", salt);
        assert_int_equal(cry_stretch(initial, salt, key), 0);
        assert_hex(key, 32, PW_STRETCH_HEX);
        (void)bth_secret_free(text);
}

static void test_unwrap(void **state)
{
        uint8_t vmk[32], body[80], out[80];
        struct bth_secret *key = NULL;
        size_t n = from_hex(WRAPPED_FVEK_HEX, body);
        uint16_t kind;

        from_hex(VMK_HEX, vmk);
        assert_int_equal(cry_unwrap_key(vmk, body, n, &kind, &key), 0);
        assert_int_equal(kind, 0x8004);
        assert_hex(key->data, key->length_bytes, FVEK_HEX);
        (void)bth_secret_free(key);
        for (size_t i = 0; i < n; i++) { /* every byte counts */
                body[i] ^= 1;
                assert_int_equal(cry_ccm_unwrap(vmk, body, n, out), -EKEYREJECTED);
                body[i] ^= 1;
        }
        assert_int_equal(cry_unwrap_key(vmk, body, 28, &kind, &key), -EBADMSG);
        assert_int_equal(cry_unwrap_key(vmk, body, n - 1, &kind, &key), -EKEYREJECTED);
}

static void test_groups(void **state)
{
        static const struct {
                const char *text;
                unsigned group;
        } cases[] = {
                { "235819-357951-253979-013365-241120-245575-342914-591910", 1 },
                { "235818-357951-253979-013365-241120-245575-342914-720896", 8 },
                { "235818-357951-253979-013365-241120-245575-342914-591911", 8 },
                { "235818-357951-253979-01336x-241120-245575-342914-591910", 0 },
                { "235818 357951-253979-013365-241120-245575-342914-591910", 0 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct bth_secret *text = NULL;
                uint8_t binary[16];
                unsigned group = 99;

                assert_int_equal(bth_secret_new_copy(cases[i].text, strlen(cases[i].text), &text),
                                 0);
                assert_int_equal(cry_recovery_parse(text, binary, &group), -EINVAL);
                assert_int_equal(group, cases[i].group);
                (void)bth_secret_free(text);
        }
}

/* -- the process image
 * ------------------------------------------------------------------------------- */

struct needle {
        const char *name;
        uint8_t masked[NEEDLE_BYTES];
};

static struct needle needles[8];
static size_t n_needles;

static int hex_digit(char c)
{
        return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* Masked from the first byte on: the plain form is never in memory. */
static void add_needle(const char *name, const char *hex, bool utf16)
{
        struct needle *needle = &needles[n_needles++];
        const size_t step = utf16 ? 2 : 1;

        needle->name = name;
        memset(needle->masked, MASK, sizeof needle->masked);
        for (size_t i = 0; i * step < NEEDLE_BYTES; i++)
                needle->masked[i * step] =
                        (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1])) ^ MASK;
}

static bool is_needle(const uint8_t *at, const struct needle *needle)
{
        for (size_t k = 0; k < NEEDLE_BYTES; k++)
                if ((at[k] ^ MASK) != needle->masked[k])
                        return false;
        return true;
}

struct found {
        unsigned total;
        unsigned dumpable; /* in memory that a core dump would have */
        char names[256];
};

static void search_region(const uint8_t *start, size_t n, bool dumpable, struct found *f)
{
        for (size_t i = 0; i + NEEDLE_BYTES <= n; i++)
                for (size_t k = 0; k < n_needles; k++) {
                        size_t used = strlen(f->names);

                        if ((start[i] ^ MASK) != needles[k].masked[0] ||
                            !is_needle(start + i, &needles[k]))
                                continue;
                        f->total++;
                        f->dumpable += dumpable;
                        (void)snprintf(f->names + used, sizeof f->names - used, " %s@%p",
                                       needles[k].name, (const void *)(start + i));
                }
}

/* Every writable mapping; smaps has the flags of a mapping in its last line. */
static struct found search_process(void)
{
        FILE *maps = fopen("/proc/self/smaps", "re");
        struct found f = { 0 };
        uintptr_t start = 0, end = 0;
        bool writable = false;
        char line[4096];

        assert_non_null(maps);
        while (fgets(line, sizeof line, maps)) {
                uintptr_t a, b;
                char mode[5];

                if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &a, &b, mode) == 3) {
                        start = a;
                        end = b;
                        writable = mode[0] == 'r' && mode[1] == 'w';
                } else if (strncmp(line, "VmFlags:", 8) == 0 && writable &&
                           end - start <= REGION_MAX) {
                        search_region((const uint8_t *)start, end - start, !strstr(line, " dd"),
                                      &f);
                }
        }
        fclose(maps);
        return f;
}

static void use_volume(struct bth_source *s, const struct bth_secret *secret,
                       enum cry_credential_kind kind)
{
        struct cry_unlocked u = { 0 };
        struct cry_metadata *m = NULL;
        struct bth_source *view = NULL;
        uint8_t sector[4096];
        struct found f;

        assert_int_equal(
                cry_unlock_volume(s, &(struct cry_credential){ kind, secret }, &m, &u, NULL), 0);
        assert_true(u.by_libcryptsetup);
        assert_int_equal(cry_view_new(s, m, &u, &view, NULL), 0);
        assert_int_equal(bth_source_read(view, 0x100000, sector, sizeof sector), 0);
        f = search_process();
        assert_true(f.total > 0); /* the search does find a key that is there */
        if (f.dumpable > 0)
                fail_msg("keys that a core dump would show:%s", f.names);
        (void)bth_source_free(view);
        cry_unlocked_clear(&u);
        (void)cry_metadata_free(m);
}

static void check_kind(enum cry_credential_kind kind, const char *masked_text, size_t n)
{
        struct bth_source *s = NULL;
        struct bth_secret *secret = NULL;
        struct found f;
        int fd = bitlk_image_memfd(IMAGE);

        if (fd == -ENOENT) {
                print_message("SKIP: no BitLocker volumes: BERTH_SHARED/data/bitlk is not there\n");
                skip();
        }
        assert_true(fd >= 0);
        assert_int_equal(bth_source_new_fd(fd, true, &s), 0);
        assert_int_equal(bth_secret_new(n, &secret), 0);
        for (size_t i = 0; i < n; i++)
                secret->data[i] = (uint8_t)masked_text[i] ^ MASK;
        use_volume(s, secret, kind);
        (void)bth_secret_free(secret);
        f = search_process();
        if (f.total > 0)
                fail_msg("keys left behind:%s", f.names);
        (void)bth_source_free(s);
}

static void test_nothing_left(void **state)
{
        char masked[64];

#if defined(__SANITIZE_ADDRESS__)
        skip(); /* the sanitizer keeps freed memory as it was, and its shadow is endless */
#endif
        /* Clean slate: what the tests above left on the stack is theirs. */
        add_needle("volume key", FVEK_HEX, false);
        add_needle("second half of the volume key", &FVEK_HEX[32], false);
        add_needle("master key", VMK_HEX, false);
        add_needle("stretched password", PW_STRETCH_HEX, false);
        add_needle("stretched recovery password", RP_STRETCH_HEX, false);
        add_needle("hash of the password", PW_INITIAL_HEX, false);
        add_needle("password in UTF-16", PASSWORD_HEX, true);
        add_needle("recovery password", RP_BINARY_HEX, false);
        for (size_t i = 0; i < 8; i++)
                masked[i] = (char)(uint8_t)(((hex_digit(PASSWORD_HEX[2 * i]) << 4 |
                                              hex_digit(PASSWORD_HEX[2 * i + 1]))) ^
                                            MASK);
        check_kind(CRY_CREDENTIAL_PASSWORD, masked, 8);
        for (size_t i = 0; i < 55; i++)
                masked[i] = (char)(RECOVERY[i] ^ MASK);
        check_kind(CRY_CREDENTIAL_RECOVERY_PASSWORD, masked, 55);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                /* First, while nothing else of this process has held a key. */
                cmocka_unit_test(test_nothing_left), cmocka_unit_test(test_recovery_password),
                cmocka_unit_test(test_password),     cmocka_unit_test(test_unwrap),
                cmocka_unit_test(test_groups),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
