/* SPDX-License-Identifier: GPL-3.0-or-later */
/* volume-writer - field by field what the readers want (specification 13), the vectors of section
 * 14, what is refused, and that an interrupted format is no BitLocker volume. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/str.h"
#include "crypto/fve.h"
#include "crypto/target.h"
#include "crypto/unwrap.h"
#include "crypto/view.h"
#include "crypto/volume_writer.h"

#define VOLUME_BYTES (UINT64_C(64) << 20)

static const struct cry_volume_layout layout = {
        .copies = { 8 << 20, 24 << 20, 48 << 20 },
        .header_offset = (8 << 20) + 65536,
        .area_offset = (8 << 20) + 2 * 65536,
};

struct device {
        int fd;
        struct bth_sink *sink;
        struct bth_source *source;
};

static struct device make_device(void)
{
        struct device d;

        assert_int_equal(bth_open_unlinked("/var/tmp", &d.fd), 0);
        assert_int_equal(ftruncate(d.fd, VOLUME_BYTES), 0);
        assert_int_equal(bth_sink_new_fd(d.fd, false, &d.sink), 0);
        assert_int_equal(bth_source_new_fd(d.fd, false, &d.source), 0);
        return d;
}

static void close_device(struct device *d)
{
        (void)bth_sink_free(d->sink);
        (void)bth_source_free(d->source);
        close(d->fd);
}

static struct cry_volume_params params_of(enum cry_method method, uint32_t sector)
{
        return (struct cry_volume_params){ .method = method,
                                           .sector_bytes = sector,
                                           .cluster_bytes = 4096,
                                           .partition_start_sectors = 2048,
                                           .description = "HOST \xc3\xbc 11/21/2026",
                                           .external_key = true };
}

static struct cry_volume_writer *make_writer(struct device *d, enum cry_method method,
                                             uint32_t sector)
{
        const struct cry_volume_params p = params_of(method, sector);
        struct cry_volume_writer *w = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        char text[1024];

        if (cry_volume_writer_new(d->sink, d->source, &p, &layout, &w, &e) < 0)
                fail_msg("%s", bth_error_to_string(&e, text, sizeof text));
        return w;
}

/* The checklist at the end of specification 13. */
static void test_checklist(void **state)
{
        const uint32_t sectors[] = { 512, 4096 };

        for (size_t i = 0; i < 2; i++) {
                struct device d = make_device();
                struct cry_volume_writer *w = make_writer(&d, CRY_METHOD_AES_XTS_256, sectors[i]);
                static uint8_t boot[512], block[3][65536];
                const struct fve_block_header *h = (const void *)block[0];
                const struct fve_dataset_header *s = (const void *)(block[0] + 64);
                size_t covered;
                const uint8_t *at, *end;
                struct fve_datum datum;
                unsigned vmks = 0;

                assert_int_equal(cry_volume_writer_finish(w, NULL), 0);
                assert_int_equal(bth_pread_full(d.fd, boot, 512, 0), 0);
                assert_memory_equal(boot, "\xeb\x58\x90-FVE-FS-", 11);
                assert_int_equal(bth_load_le16(boot + 0x0b), sectors[i]);
                for (size_t k = 0x28; k < 0x40; k++)
                        if (k < 0x30 || k >= 0x34)
                                assert_int_equal(boot[k], 0);
                assert_memory_equal(boot + 0xa0, fve_guid_normal.b, 16);
                assert_int_equal(bth_load_le16(boot + 0x1fe), 0xaa55);
                for (size_t k = 0x1be; k < 0x1fe; k += 16) {
                        assert_int_not_equal(boot[k], 0x00);
                        assert_int_not_equal(boot[k], 0x80);
                }
                for (size_t k = 0; k < 3; k++) {
                        assert_true(bth_load_le64(boot + 0xb0 + 8 * k) == layout.copies[k]);
                        assert_int_equal(bth_pread_full(d.fd, block[k], 65536, layout.copies[k]),
                                         0);
                        assert_memory_equal(block[k], block[0], 65536);
                        assert_true(le64_get(h->copies[k]) == layout.copies[k]);
                }
                assert_memory_equal(h->signature, FVE_SIGNATURE, 8);
                assert_int_equal(le16_get(h->version), 2);
                assert_int_equal(le16_get(h->current_state), 4);
                assert_int_equal(le16_get(h->next_state), 4);
                assert_true(le64_get(h->encrypted_size) == VOLUME_BYTES);
                assert_int_equal(le32_get(h->dirty_size), 0);
                assert_int_equal(le32_get(h->header_sectors), 8192 / sectors[i]);
                assert_true(le64_get(h->header_offset) == layout.header_offset);
                assert_int_equal(le32_get(s->size), le32_get(s->end));
                assert_int_equal(le32_get(s->version), 1);
                assert_int_equal(le32_get(s->header_size), 48);
                assert_int_equal(le16_get(s->method), CRY_METHOD_AES_XTS_256);
                covered = (size_t)le16_get(h->size_div_16) * 16;
                assert_int_equal(covered, (64 + le32_get(s->size) + 15) / 16 * 16);
                assert_int_equal(bth_load_le16(block[0] + covered), 65536 - covered);
                assert_int_equal(bth_load_le16(block[0] + covered + 2), 2);
                assert_int_equal(bth_load_le32(block[0] + covered + 4),
                                 fve_crc32(block[0], covered));
                for (size_t k = covered + 88; k < 65536; k++)
                        assert_int_equal(block[0][k], 0);
                at = block[0] + 112;
                end = block[0] + 64 + le32_get(s->size);
                while (fve_next_datum(&at, end, &datum) > 0) {
                        const uint8_t *inner = datum.body + 28;
                        struct fve_datum nested;
                        unsigned wrapped = 0;

                        assert_int_equal(bth_load_le16(datum.body - 2), 1); /* flags */
                        if (datum.type == FVE_TYPE_RELOCATED) {
                                assert_int_equal(datum.n, 92);
                                assert_true(bth_load_le64(datum.body) == layout.header_offset);
                        }
                        if (datum.type != FVE_TYPE_VMK)
                                continue;
                        vmks++;
                        while (fve_next_datum(&inner, datum.body + datum.n, &nested) > 0) {
                                assert_int_equal(nested.role, 0);
                                wrapped += nested.type == FVE_TYPE_WRAPPED;
                        }
                        assert_int_equal(wrapped, 1);
                        /* Sizes of specification 12.3. */
                        assert_int_equal(datum.n + 8,
                                         bth_load_le16(datum.body + 26) == 0x0800 ? 288 : 240);
                }
                assert_int_equal(vmks, 2);
                w = cry_volume_writer_free(w);
                close_device(&d);
        }
}

/* What goes in through the sink comes out of the view, whatever the offsets. */
static void test_there_and_back(void **state)
{
        const enum cry_method methods[] = { CRY_METHOD_AES_XTS_128, CRY_METHOD_AES_XTS_256 };
        unsigned seed = 77;

        for (int round = 0; round < 4; round++) {
                const uint32_t sector = round / 2 ? 4096 : 512;
                struct device d = make_device();
                struct cry_volume_writer *w = make_writer(&d, methods[round % 2], sector);
                struct bth_sink *sink = cry_volume_writer_sink(w);
                uint8_t *model = calloc(1, 8 << 20), *got = malloc(8 << 20), noise[9000];
                struct bth_source *view = NULL;
                struct cry_metadata *m = NULL;
                struct cry_unlocked u;
                struct bth_error e = BTH_ERROR_INIT;

                /* What was never written decrypts to noise, so everything is written first. */
                assert_int_equal(bth_sink_write(sink, 0, model, 8 << 20), 0);
                for (int i = 0; i < 300; i++) {
                        size_t n = 1 + (unsigned)rand_r(&seed) % sizeof noise;
                        size_t at = i % 4 == 0 ? (unsigned)rand_r(&seed) % 10000
                                               : (unsigned)rand_r(&seed) % ((8u << 20) - n);

                        for (size_t k = 0; k < n; k++)
                                noise[k] = (uint8_t)rand_r(&seed);
                        assert_int_equal(bth_sink_write(sink, at, noise, n), 0);
                        memcpy(model + at, noise, n);
                }
                for (size_t i = 0; i < 3; i++)
                        assert_int_equal(bth_sink_write(sink, layout.copies[i] + 100, noise, 1),
                                         -EROFS);
                assert_int_equal(bth_sink_write(sink, layout.header_offset - 1, noise, 2), -EROFS);
                /* Not yet a volume: the first sector comes last. */
                assert_int_equal(cry_metadata_read(d.source, &m, &e), -EMEDIUMTYPE);
                assert_int_equal(cry_volume_writer_finish(w, &e), 0);
                assert_int_equal(cry_metadata_read(d.source, &m, &e), 0);
                assert_int_equal(m->warnings, 0);
                assert_string_equal(m->description, "HOST \xc3\xbc 11/21/2026");
                assert_int_equal(cry_unlock(m,
                                            &(struct cry_credential){ CRY_CREDENTIAL_EXTERNAL_KEY,
                                                                      cry_volume_writer_bek(w) },
                                            &u, &e),
                                 0);
                assert_true(u.by_libcryptsetup);
                assert_int_equal(cry_view_new(d.source, m, &u, &view, &e), 0);
                assert_int_equal(bth_source_read(view, 0, got, 8 << 20), 0);
                assert_memory_equal(got, model, 8 << 20);
                view = bth_source_free(view);
                cry_unlocked_clear(&u);
                m = cry_metadata_free(m);
                w = cry_volume_writer_free(w);
                close_device(&d);
                free(model);
                free(got);
        }
}

static void test_refused_parameters(void **state)
{
        struct device d = make_device();
        struct cry_volume_writer *w = NULL;

        for (int i = 0; i < 6; i++) {
                struct cry_volume_params p = params_of(CRY_METHOD_AES_XTS_256, 512);
                struct cry_volume_layout l = layout;
                struct bth_error e = BTH_ERROR_INIT;

                if (i == 0)
                        p.method = CRY_METHOD_AES_CBC_256;
                if (i == 1)
                        p.sector_bytes = 1024;
                if (i == 2)
                        l.copies[1] = l.copies[0] + 4096;
                if (i == 3)
                        l.header_offset = VOLUME_BYTES;
                if (i == 4)
                        l.copies[2] = 0;
                if (i == 5)
                        p.description = "\xff";
                assert_int_equal(cry_volume_writer_new(d.sink, d.source, &p, &l, &w, &e), -EINVAL);
                assert_true(e.sentence[0] != '\0');
        }
        close_device(&d);
}

static void assert_target(const char *path, uint64_t expect, bool destroy, enum bth_reason reason)
{
        const struct cry_target_params p = { expect, destroy };
        struct bth_error e = BTH_ERROR_INIT;
        uint64_t bytes;
        int fd = -1, r = cry_target_open(path, &p, &fd, &bytes, &e);

        if (reason == BTH_REASON_NONE) {
                assert_int_equal(r, 0);
                close(fd);
                return;
        }
        assert_true(r < 0);
        assert_int_equal(e.reason, reason);
        assert_string_equal(e.object, path);
}

static void test_target(void **state)
{
        char path[] = "/var/tmp/berth-target-XXXXXX";
        uint8_t boot[512] = { 0 };
        int fd = mkstemp(path);

        assert_int_equal(ftruncate(fd, 1 << 20), 0);
        assert_target(path, 0, false, BTH_REASON_NONE);
        assert_target(path, 1 << 20, false, BTH_REASON_NONE);
        assert_target(path, (1 << 20) + 512, false, BTH_REASON_DEVICE_WRONG_SIZE);
        assert_target(path, 4096, true, BTH_REASON_DEVICE_WRONG_SIZE);
        assert_target("/nowhere", 0, false, BTH_REASON_FILE_UNREADABLE);
        assert_target("/dev/null", 0, true, BTH_REASON_USAGE);
        /* A partition table with one partition. */
        memcpy(boot + 0x1be, "\x00\x00\x02\x00\x07\x00\x3f\x00\x01\x00\x00\x00\x00\x04\x00\x00",
               16);
        memcpy(boot + 510, "\x55\xaa", 2);
        assert_int_equal(bth_pwrite_full(fd, boot, 512, 0), 0);
        assert_target(path, 0, false, BTH_REASON_DEVICE_NOT_EMPTY);
        assert_target(path, 0, true, BTH_REASON_NONE);
        /* A swap area: no file system, but somebody's all the same. */
        memset(boot, 0, sizeof boot);
        assert_int_equal(bth_pwrite_full(fd, boot, 512, 0), 0);
        assert_int_equal(bth_pwrite_full(fd, "\x01\0\0\0\xfe", 5, 1024), 0);
        assert_int_equal(bth_pwrite_full(fd, "SWAPSPACE2", 10, 4086), 0);
        assert_target(path, 0, false, BTH_REASON_DEVICE_NOT_EMPTY);
        /* In use. */
        assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
        assert_target(path, 0, true, BTH_REASON_DEVICE_BUSY);
        close(fd);
        assert_int_equal(unlink(path), 0);
}

/* Specification 14. */
static void test_key_chain_vectors(void **state)
{
        static const char recovery[] = "235818-357951-253979-013365-241120-245575-342914-591910";
        uint8_t binary[16], expected[64], salt[16], stretched[32];
        char text[56];
        struct bth_secret *s = NULL;
        unsigned group;

#define HEX(hex, out) assert_int_equal(bth_hex_decode(hex, strlen(hex), out), 0)
        assert_int_equal(bth_secret_new_copy(recovery, 55, &s), 0);
        assert_int_equal(cry_recovery_parse(s, binary, &group), 0);
        HEX("be531d7f315abf04a0553557c67932d2", expected);
        assert_memory_equal(binary, expected, 16);
        cry_recovery_format(binary, text);
        assert_string_equal(text, recovery);
        s = bth_secret_free(s);
        HEX("fdd303817e456f7a4b64a7063ae00be752a46841e57da98caf8522f136cb3411", expected);
        HEX("2ba080989af9b50c203aaebd0b40d498", salt);
        assert_int_equal(cry_stretch(expected, salt, stretched), 0);
        HEX("1a39f926dab83e947fa85125b91e556e9ecc2bc5968924e03de234878d1fd4bd", expected);
        assert_memory_equal(stretched, expected, 32);
        assert_int_equal(bth_secret_new_copy("anaconda", 8, &s), 0);
        assert_int_equal(cry_password_initial(s, stretched), 0);
        HEX("0d6cbf9e5d75af220d7ac3e9f35d05f56952608dd1dacb31774452c489eadc51", expected);
        assert_memory_equal(stretched, expected, 32);
        s = bth_secret_free(s);
}

static void test_unwrap_vector(void **state)
{
        uint8_t vmk[32], body[72], fvek[32], nonce[12], again[72], plain[44];
        struct bth_secret *key = NULL;
        uint16_t kind;

        HEX("e5862465920b1190605ae29547623fb9c0dbafab073c85634bfb0f8a4b8cf46b", vmk);
        HEX("c049ba6f3632d50108000000c83ef7a71e23b0b146ffd20691856484"
            "bf886e2f056985d40b004f3b46d5929a1f1a09b20d2778fa3ca2d803f29ea3395c6b4723dd601b34997ae7"
            "5e",
            body);
        HEX("cc493ad40376cf719d3725073d5c1a6ca5759fc4ad179c95572f16c01a260d66", fvek);
        assert_int_equal(cry_unwrap_key(vmk, body, sizeof body, &kind, &key), 0);
        assert_int_equal(kind, 0x8004);
        assert_memory_equal(key->data, fvek, 32);
        key = bth_secret_free(key);
        assert_int_equal(cry_ccm_unwrap(vmk, body, sizeof body, plain), 0);
        memcpy(nonce, body, 12);
        assert_int_equal(cry_ccm_wrap(vmk, nonce, plain, sizeof plain, again), 0);
        assert_memory_equal(again, body, sizeof body);
        body[30] ^= 1;
        assert_int_equal(cry_unwrap_key(vmk, body, sizeof body, &kind, &key), -EKEYREJECTED);
        assert_int_equal(cry_unwrap_key(vmk, body, 20, &kind, &key), -EBADMSG);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_checklist),          cmocka_unit_test(test_there_and_back),
                cmocka_unit_test(test_refused_parameters), cmocka_unit_test(test_target),
                cmocka_unit_test(test_key_chain_vectors),  cmocka_unit_test(test_unwrap_vector),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
