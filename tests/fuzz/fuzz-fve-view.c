/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fve-view - the plain volume behind hostile metadata: bitmaps of used space, map, and reads.
 *
 *     input    | first sector, 512 | length of block, u16 | block | the rest       |
 *     device   | 0                                        | 64 KiB | EOW, 256 KiB |
 *
 * The checksums of block, description, bitmap and records are made right, so that what the parsers
 * believe is reached; fuzz-fve.c is about the block alone. */
#include <string.h>

#include "base/le.h"
#include "crypto/fve.h"
#include "crypto/view.h"

#define DEVICE_BYTES (512u << 10)
#define BLOCK_AT     (64u << 10)
#define EOW_AT       (256u << 10)
#define BITMAP_AT    (EOW_AT + 4096)
#define EXTENTS_READ 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static uint8_t device[DEVICE_BYTES];

/* The checksum of `n` bytes at `p`, whose own field counts as zero. */
static void mend(uint8_t *p, size_t n, size_t field)
{
        bth_store_le32(p + field, 0);
        bth_store_le32(p + field, fve_crc32(p, n));
}

static void mend_block(uint8_t *block)
{
        size_t covered = (size_t)bth_load_le16(block + 8) * 16;

        if (covered <= CRY_FVE_REGION_BYTES - FVE_VALIDATION_BYTES)
                bth_store_le32(block + covered + 4, fve_crc32(block, covered));
}

static void mend_eow(void)
{
        uint8_t *info = device + EOW_AT, *bitmap = device + BITMAP_AT;
        size_t size = bth_load_le16(info + 0x0a), record = bth_load_le32(bitmap + 0x34);

        if (size >= 0x38 && size <= 4096)
                mend(info, size, 0x24);
        for (size_t i = 0; i < 2; i++) {
                size_t at = bth_load_le32(bitmap + 0x2c + 4 * i);

                if (record >= 0x24 && record <= 65536 && at >= 0x200 && at <= 65536)
                        mend(bitmap + at, record, 0x20);
        }
        mend(bitmap, 0x200, 0x38);
}

static void lay_out(const uint8_t *data, size_t n)
{
        size_t take = MIN(n, (size_t)512);

        memset(device, 0, sizeof device);
        memcpy(device, data, take);
        data += take;
        n -= take;
        if (n < 2)
                return;
        take = MIN((size_t)bth_load_le16(data), n - 2);
        memcpy(device + BLOCK_AT, data + 2, take);
        data += 2 + take;
        n -= 2 + take;
        memcpy(device + EOW_AT, data, MIN(n, (size_t)DEVICE_BYTES - EOW_AT));
        mend_block(device + BLOCK_AT);
        mend_eow();
}

/* Extents ascend, touch and cover the volume. */
static void check_extents(struct bth_source *volume, const struct cry_metadata *m)
{
        _cleanup_free_ struct cry_extent *extents = NULL;
        uint64_t at = 0;
        size_t n = 0;

        if (cry_extents_new(volume, m, &extents, &n, NULL) < 0)
                return;
        for (size_t i = 0; i < n; i++) {
                if (extents[i].offset_bytes != at || extents[i].length_bytes == 0)
                        abort();
                at += extents[i].length_bytes;
        }
        if (at != m->volume_bytes)
                abort();
}

static void read_view(struct bth_source *volume, const struct cry_metadata *m)
{
        static const uint8_t key[32] = { 1, 2, 3 };
        static uint8_t buffer[16384];
        _cleanup_(bth_source_freep) struct bth_source *view = NULL;
        struct cry_unlocked u = { .method = CRY_METHOD_AES_XTS_128 };
        uint64_t step;

        if (bth_secret_new_copy(key, sizeof key, &u.key) < 0)
                return;
        if (cry_view_new(volume, m, &u, &view, NULL) == 0) {
                step = MAX(view->size_bytes / EXTENTS_READ, (uint64_t)1);
                for (uint64_t i = 0; i < EXTENTS_READ; i++)
                        (void)!bth_source_read(view, i * step, buffer,
                                               (size_t)MIN(view->size_bytes - i * step,
                                                           (uint64_t)sizeof buffer - i));
        }
        cry_unlocked_clear(&u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        _cleanup_(bth_source_freep) struct bth_source *volume = NULL;
        _cleanup_(cry_metadata_freep) struct cry_metadata *m = NULL;
        struct cry_unlocked u = { 0 };
        struct bth_error e = BTH_ERROR_INIT;
        int r;

        lay_out(data, n);
        if (bth_source_new_memory(device, sizeof device, &volume) < 0)
                return 0;
        r = cry_metadata_read(volume, &m, &e);
        if (r < 0) {
                if (r != -ENOMEM && (e.code == 0 || e.sentence[0] == '\0'))
                        abort(); /* no failure without its sentence */
                return 0;
        }
        check_extents(volume, m);
        read_view(volume, m);
        if (cry_unlock(m, &(struct cry_credential){ .kind = CRY_CREDENTIAL_NONE }, &u, NULL) == 0)
                cry_unlocked_clear(&u);
        return 0;
}
