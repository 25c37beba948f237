/* SPDX-License-Identifier: GPL-3.0-or-later */
/* volume_writer - datums, the metadata block, the first sector. */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/digest.h"
#include "base/str.h"
#include "base/time.h"
#include "base/utf.h"
#include "crypto/seal.h"
#include "crypto/unwrap.h"
#include "crypto/volume_writer.h"

#define BOOT_BYTES            512
#define DESCRIPTION_MAX_UNITS 200
#define BEK_BYTES             156
#define LAYOUT_UNIT           4096
#define STATE_ENCRYPTED       4

struct cry_volume_writer {
        struct cry_volume_params params;
        struct cry_volume_layout layout;
        struct bth_sink *device;
        struct bth_sink *seal;
        uint64_t now_filetime;
        uint32_t counter; /* of nonces; never goes back */
        struct bth_guid volume_id, external_id;
        struct bth_secret *vmk, *fvek, *recovery, *external, *bek;
        uint8_t *block; /* CRY_FVE_REGION_BYTES */
        size_t used;    /* of block, while it is put together */
        size_t covered;
};

/* -- putting the block together
 * ---------------------------------------------------------------------- */

static uint8_t *here(struct cry_volume_writer *w)
{
        return w->block + w->used;
}

static void put(struct cry_volume_writer *w, const void *data, size_t n)
{
        memcpy(here(w), data,
               n); /* the block is 64 KiB, and everything put into it is small and fixed */
        w->used += n;
}

static void put_u16(struct cry_volume_writer *w, uint16_t v)
{
        le16_t le = le16_make(v);

        put(w, &le, sizeof le);
}

static void put_u32(struct cry_volume_writer *w, uint32_t v)
{
        le32_t le = le32_make(v);

        put(w, &le, sizeof le);
}

static void put_u64(struct cry_volume_writer *w, uint64_t v)
{
        le64_t le = le64_make(v);

        put(w, &le, sizeof le);
}

/* Begins a datum; end_datum() fills in its size. */
static size_t begin_datum(struct cry_volume_writer *w, uint16_t role, uint16_t type)
{
        const size_t start = w->used;

        put_u16(w, 0);
        put_u16(w, role);
        put_u16(w, type);
        put_u16(w, 1);
        return start;
}

static void end_datum(struct cry_volume_writer *w, size_t start)
{
        bth_store_le16(w->block + start, (uint16_t)(w->used - start));
}

static void put_string(struct cry_volume_writer *w, uint16_t role, const char *text)
{
        const size_t start = begin_datum(w, role, FVE_TYPE_STRING);
        size_t units = 0;

        /* Checked before: valid and short enough. */
        if (bth_utf8_to_utf16(text, strlen(text), here(w), DESCRIPTION_MAX_UNITS, &units) < 0)
                units = 0;
        w->used += 2 * units;
        put_u16(w, 0);
        end_datum(w, start);
}

/* A WRAPPED datum with one KEY inside, under a nonce that was never used before. */
static int put_wrapped(struct cry_volume_writer *w, uint16_t role, const uint8_t *under,
                       uint16_t kind, const uint8_t *key, size_t key_bytes)
{
        const size_t start = begin_datum(w, role, FVE_TYPE_WRAPPED);
        uint8_t plain[CRY_WRAPPED_KEY_MAX], nonce[FVE_NONCE_BYTES];
        const size_t n = FVE_KEY_HEADER_BYTES + key_bytes;
        int r;

        bth_store_le64(nonce, w->now_filetime);
        bth_store_le32(nonce + 8, ++w->counter);
        bth_store_le16(plain, (uint16_t)n);
        bth_store_le16(plain + 2, 0);
        bth_store_le16(plain + 4, FVE_TYPE_KEY);
        bth_store_le16(plain + 6, 0);
        bth_store_le16(plain + 8, kind);
        bth_store_le16(plain + 10, 0);
        memcpy(plain + FVE_KEY_HEADER_BYTES, key, key_bytes);
        r = cry_ccm_wrap(under, nonce, plain, n, here(w));
        bth_wipe(plain, sizeof plain);
        w->used += FVE_NONCE_BYTES + FVE_MAC_BYTES + n;
        end_datum(w, start);
        return r;
}

static int begin_protector(struct cry_volume_writer *w, uint16_t kind, struct bth_guid *ret_id,
                           size_t *ret_start)
{
        int r = bth_guid_random(ret_id);

        *ret_start = begin_datum(w, FVE_ROLE_VMK, FVE_TYPE_VMK);
        put(w, ret_id->b, sizeof ret_id->b);
        put_u64(w, w->now_filetime);
        put_u16(w, 0);
        put_u16(w, kind);
        return r;
}

/* Salt, and behind it the copies that let an unlocked Windows show and change the protector. */
static int put_stretched(struct cry_volume_writer *w, uint16_t kind, const uint8_t *initial,
                         const uint8_t *recovery_binary, uint16_t stretched_kind)
{
        uint8_t salt[FVE_SALT_BYTES], stretched[FVE_KEY_BYTES];
        size_t start;
        int r = bth_random_bytes(salt, sizeof salt);

        if (r == 0)
                r = cry_stretch(initial, salt, stretched);
        if (r < 0)
                return r;
        start = begin_datum(w, FVE_ROLE_NESTED, FVE_TYPE_STRETCH);
        put_u16(w, kind);
        put_u16(w, 0);
        put(w, salt, sizeof salt);
        if (recovery_binary)
                r = put_wrapped(w, FVE_ROLE_RECOVERY_KEY, w->vmk->data, FVE_KIND_RECOVERY,
                                recovery_binary, 16);
        if (r == 0)
                r = put_wrapped(w, recovery_binary ? FVE_ROLE_RECOVERY_STRETCHED : FVE_ROLE_NESTED,
                                w->vmk->data, stretched_kind, stretched, sizeof stretched);
        end_datum(w, start);
        if (r == 0)
                r = put_wrapped(w, FVE_ROLE_NESTED, stretched, FVE_KIND_VMK, w->vmk->data,
                                FVE_KEY_BYTES);
        bth_wipe(stretched, sizeof stretched);
        return r;
}

static int put_recovery(struct cry_volume_writer *w)
{
        uint8_t binary[16], initial[BTH_SHA256_BYTES];
        struct bth_guid id;
        size_t start;
        int r = bth_random_bytes(binary, sizeof binary);

        if (r == 0)
                r = bth_secret_new(56, &w->recovery);
        if (r < 0)
                return r;
        cry_recovery_format(binary, (char *)w->recovery->data);
        bth_secret_truncate(w->recovery, 55);
        r = bth_digest_of(BTH_DIGEST_SHA256, binary, sizeof binary, initial);
        if (r == 0)
                r = begin_protector(w, CRY_PROTECTOR_RECOVERY_PASSWORD, &id, &start);
        if (r == 0) {
                r = put_stretched(w, FVE_KIND_RECOVERY, initial, binary,
                                  FVE_KIND_STRETCHED_RECOVERY);
                end_datum(w, start);
        }
        bth_wipe(binary, sizeof binary);
        bth_wipe(initial, sizeof initial);
        return r;
}

static int put_password(struct cry_volume_writer *w)
{
        uint8_t initial[FVE_KEY_BYTES];
        struct bth_guid id;
        size_t start;
        int r = cry_password_initial(w->params.password, initial);

        if (r == 0)
                r = begin_protector(w, CRY_PROTECTOR_PASSWORD, &id, &start);
        if (r == 0) {
                r = put_stretched(w, FVE_KIND_PASSWORD, initial, NULL, FVE_KIND_STRETCHED_PASSWORD);
                end_datum(w, start);
        }
        bth_wipe(initial, sizeof initial);
        return r;
}

static int put_external(struct cry_volume_writer *w)
{
        size_t start, use;
        int r = bth_secret_new(FVE_KEY_BYTES, &w->external);

        if (r == 0)
                r = bth_random_bytes(w->external->data, FVE_KEY_BYTES);
        if (r == 0)
                r = begin_protector(w, CRY_PROTECTOR_EXTERNAL_KEY, &w->external_id, &start);
        if (r < 0)
                return r;
        put_string(w, FVE_ROLE_NESTED, "ExternalKey");
        use = begin_datum(w, FVE_ROLE_NESTED, FVE_TYPE_USE_KEY);
        put_u16(w, FVE_KIND_EXTERNAL);
        put_u16(w, 0);
        r = put_wrapped(w, FVE_ROLE_NESTED, w->vmk->data, FVE_KIND_EXTERNAL, w->external->data,
                        FVE_KEY_BYTES);
        end_datum(w, use);
        if (r == 0)
                r = put_wrapped(w, FVE_ROLE_NESTED, w->external->data, FVE_KIND_VMK, w->vmk->data,
                                FVE_KEY_BYTES);
        end_datum(w, start);
        return r;
}

/* RELOCATED with the extension of Windows 8 and later (specification 3.5), as finished volumes have
 * it. */
static void put_relocated(struct cry_volume_writer *w)
{
        const uint32_t sector = w->params.sector_bytes;
        const size_t start = begin_datum(w, FVE_ROLE_RELOCATED, FVE_TYPE_RELOCATED);

        put_u64(w, w->layout.header_offset);
        put_u64(w, CRY_VOLUME_HEADER_BYTES);
        if (w->layout.area_offset != 0) {
                put_u16(w, 5);
                put_u16(w, 76);
                put_u32(w, 0);
                put_u64(w, sector == 4096 ? 0x0b : 0x0a);
                put_u64(w, 0); /* no conversion log */
                put_u32(w, 0);
                put_u32(w, sector);
                put_u32(w, sector);
                put_u32(w, 10); /* Windows 10.0.19045 */
                put_u32(w, 0);
                put_u32(w, 19045);
                put_u32(w, 2);
                put_u32(w, 0);
                put_u32(w, 0x02010110);
                put_u64(w, w->layout.area_offset);
                put_u32(w, CRY_VOLUME_AREA_BYTES);
                put_u32(w, 0);
        }
        end_datum(w, start);
}

static int put_datums(struct cry_volume_writer *w)
{
        int r;

        put_string(w, FVE_ROLE_DESCRIPTION,
                   w->params.description ? w->params.description : "Berth");
        r = put_recovery(w);
        if (r == 0 && w->params.password)
                r = put_password(w);
        if (r == 0 && w->params.external_key)
                r = put_external(w);
        if (r == 0)
                r = put_wrapped(w, FVE_ROLE_FVEK, w->vmk->data, (uint16_t)w->params.method,
                                w->fvek->data, w->fvek->length_bytes);
        if (r == 0)
                put_relocated(w);
        return r;
}

static void put_headers(struct cry_volume_writer *w, size_t dataset_bytes)
{
        struct fve_block_header h = {
                .size_div_16 = le16_make((uint16_t)(w->covered / 16)),
                .version = le16_make(2),
                .current_state = le16_make(STATE_ENCRYPTED),
                .next_state = le16_make(STATE_ENCRYPTED),
                .encrypted_size = le64_make(w->device->size_bytes),
                .header_sectors = le32_make(CRY_VOLUME_HEADER_BYTES / w->params.sector_bytes),
                .header_offset = le64_make(w->layout.header_offset),
        };
        const struct fve_dataset_header d = {
                .size = le32_make((uint32_t)dataset_bytes),
                .version = le32_make(1),
                .header_size = le32_make(sizeof d),
                .end = le32_make((uint32_t)dataset_bytes),
                .volume_id = w->volume_id,
                /* The validation takes one more nonce; what comes after that is next. */
                .next_nonce = le32_make(w->counter + 2),
                .method = le16_make((uint16_t)w->params.method),
                .method_again = le16_make((uint16_t)w->params.method),
                .created = le64_make(w->now_filetime),
        };

        memcpy(h.signature, FVE_SIGNATURE, sizeof h.signature);
        for (size_t i = 0; i < CRY_FVE_COPIES; i++)
                h.copies[i] = le64_make(w->layout.copies[i]);
        memcpy(w->block, &h, sizeof h);
        memcpy(w->block + sizeof h, &d, sizeof d);
}

static int put_validation(struct cry_volume_writer *w)
{
        const struct fve_validation v = {
                .size = le16_make((uint16_t)(CRY_FVE_REGION_BYTES - w->covered)),
                .version = le16_make(2),
                .crc32 = le32_make(fve_crc32(w->block, w->covered)),
        };
        uint8_t hash[BTH_SHA256_BYTES];
        int r = bth_digest_of(BTH_DIGEST_SHA256, w->block, w->covered, hash);

        if (r < 0)
                return r;
        w->used = w->covered;
        put(w, &v, sizeof v);
        return put_wrapped(w, FVE_ROLE_NESTED, w->vmk->data, FVE_KIND_SHA256, hash, sizeof hash);
}

static int build_block(struct cry_volume_writer *w)
{
        size_t dataset_bytes;
        int r;

        w->used = sizeof(struct fve_block_header) + sizeof(struct fve_dataset_header);
        r = put_datums(w);
        if (r < 0)
                return r;
        dataset_bytes = w->used - sizeof(struct fve_block_header);
        w->covered = (w->used + 15) & ~(size_t)15;
        put_headers(w, dataset_bytes);
        return put_validation(w);
}

/* The .BEK file (specification 5.2), in the form that every reader takes. */
static int build_bek(struct cry_volume_writer *w)
{
        uint8_t *p;
        size_t units;
        int r = bth_secret_new(BEK_BYTES, &w->bek);

        if (r < 0)
                return r;
        p = w->bek->data;
        bth_store_le32(p, BEK_BYTES);
        bth_store_le32(p + 4, 1);
        bth_store_le32(p + 8, 48);
        bth_store_le32(p + 12, BEK_BYTES);
        memcpy(p + 16, w->external_id.b, 16);
        bth_store_le32(p + 32, 1);
        bth_store_le64(p + 40, w->now_filetime);
        p += 48;
        bth_store_le16(p, 108);
        bth_store_le16(p + 2, FVE_ROLE_EXTERNAL);
        bth_store_le16(p + 4, FVE_TYPE_EXTERNAL);
        bth_store_le16(p + 6, 1);
        memcpy(p + 8, w->external_id.b, 16);
        bth_store_le64(p + 24, w->now_filetime);
        p += 32;
        bth_store_le16(p, 32);
        bth_store_le16(p + 4, FVE_TYPE_STRING);
        bth_store_le16(p + 6, 1);
        r = bth_utf8_to_utf16("ExternalKey", 11, p + 8, 11, &units);
        p += 32;
        bth_store_le16(p, 44);
        bth_store_le16(p + 4, FVE_TYPE_KEY);
        bth_store_le16(p + 6, 1);
        bth_store_le16(p + 8, FVE_KIND_EXTERNAL);
        memcpy(p + 12, w->external->data, FVE_KEY_BYTES);
        return r;
}

/* -- the writer
 * -------------------------------------------------------------------------------------- */

static int refuse(struct bth_error *error, const char *what)
{
        return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID, "%s", what);
}

static int check_params(const struct cry_volume_params *p, struct bth_error *error)
{
        uint8_t units[2 * DESCRIPTION_MAX_UNITS];
        size_t n;

        if (p->method != CRY_METHOD_AES_XTS_128 && p->method != CRY_METHOD_AES_XTS_256)
                return refuse(error, "new volumes are encrypted with AES-XTS only");
        if (p->sector_bytes != 512 && p->sector_bytes != 4096)
                return refuse(error, "sectors have 512 or 4096 bytes");
        if (!bth_is_power_of_two(p->cluster_bytes) || p->cluster_bytes < p->sector_bytes ||
            p->cluster_bytes / p->sector_bytes > 128)
                return refuse(error, "the cluster size does not fit the sector size");
        if (p->description && bth_utf8_to_utf16(p->description, strlen(p->description), units,
                                                DESCRIPTION_MAX_UNITS, &n) < 0)
                return refuse(error, "the description is not UTF-8 or longer than 200 characters");
        return 0;
}

static int check_layout(const struct cry_volume_layout *l, uint64_t volume_bytes,
                        struct bth_error *error)
{
        const struct {
                uint64_t offset, length;
        } regions[] = {
                { l->copies[0], CRY_FVE_REGION_BYTES },
                { l->copies[1], CRY_FVE_REGION_BYTES },
                { l->copies[2], CRY_FVE_REGION_BYTES },
                { l->header_offset, CRY_VOLUME_HEADER_BYTES },
                { l->area_offset, CRY_VOLUME_AREA_BYTES },
        };

        if (volume_bytes % LAYOUT_UNIT != 0)
                return refuse(error, "the volume's size is not a multiple of 4096 bytes");
        for (size_t i = 0; i < ARRAY_SIZE(regions); i++) {
                if (i == 4 && l->area_offset == 0)
                        break;
                if (regions[i].offset % LAYOUT_UNIT != 0 ||
                    regions[i].offset < CRY_VOLUME_HEADER_BYTES ||
                    !bth_range_inside(regions[i].offset, regions[i].length, volume_bytes))
                        return refuse(error, "a region for BitLocker lies outside the volume");
                for (size_t k = 0; k < i; k++)
                        if (regions[i].offset < regions[k].offset + regions[k].length &&
                            regions[k].offset < regions[i].offset + regions[i].length)
                                return refuse(error, "two regions for BitLocker overlap");
        }
        return 0;
}

/* XTS with equal halves would be no XTS; chance does not make it, and libcrypto refuses it. */
static int make_keys(struct cry_volume_writer *w)
{
        const size_t n = cry_method_key_bytes(w->params.method);
        int r = bth_secret_new(FVE_KEY_BYTES, &w->vmk);

        if (r == 0)
                r = bth_secret_new(n, &w->fvek);
        if (r == 0)
                r = bth_random_bytes(w->vmk->data, FVE_KEY_BYTES);
        do {
                if (r == 0)
                        r = bth_random_bytes(w->fvek->data, n);
        } while (r == 0 && memcmp(w->fvek->data, w->fvek->data + n / 2, n / 2) == 0);
        return r < 0 ? r : bth_guid_random(&w->volume_id);
}

/* The sink, from a description of the volume that will be there. */
static int open_seal(struct cry_volume_writer *w, struct bth_source *readback,
                     struct bth_error *error)
{
        struct cry_metadata m = {
                .sector_bytes = w->params.sector_bytes,
                .volume_bytes = w->device->size_bytes,
                .device_bytes = w->device->size_bytes,
                .current_state = STATE_ENCRYPTED,
                .watermark_bytes = w->device->size_bytes,
                .header_offset = w->layout.header_offset,
                .header_bytes = CRY_VOLUME_HEADER_BYTES,
                .state = CRY_VOLUME_ENCRYPTED,
        };
        const struct cry_unlocked unlocked = { .method = w->params.method, .key = w->fvek };

        memcpy(m.copies, w->layout.copies, sizeof m.copies);
        return cry_seal_new(w->device, readback, &m, &unlocked, &w->seal, error);
}

int cry_volume_writer_new(struct bth_sink *device, struct bth_source *readback,
                          const struct cry_volume_params *params,
                          const struct cry_volume_layout *layout,
                          struct cry_volume_writer **ret_writer, struct bth_error *error)
{
        _cleanup_(cry_volume_writer_freep) struct cry_volume_writer *w = NULL;
        int r = check_params(params, error);

        if (r == 0)
                r = check_layout(layout, device->size_bytes, error);
        if (r < 0)
                return r;
        w = calloc(1, sizeof *w);
        if (!w)
                return -ENOMEM;
        w->params = *params;
        w->layout = *layout;
        w->device = device;
        w->counter = 1;
        w->now_filetime = bth_filetime_from_usec(bth_now_realtime_usec());
        w->block = bth_io_buffer_new(CRY_FVE_REGION_BYTES);
        if (!w->block)
                return -ENOMEM;
        memset(w->block, 0, CRY_FVE_REGION_BYTES);
        r = make_keys(w);
        if (r == 0)
                r = build_block(w);
        if (r == 0 && w->external)
                r = build_bek(w);
        if (r == -EILSEQ || r == -EKEYREJECTED)
                return bth_error_set(error, -EINVAL, BTH_REASON_KEY_MALFORMED,
                                     "the password is not UTF-8 or longer than 256 characters");
        if (r == 0)
                r = open_seal(w, readback, error);
        if (r < 0)
                return r;
        w->params.password = NULL; /* borrowed for this call only */
        w->params.description = NULL;
        *ret_writer = take_ptr(w);
        return 0;
}

struct cry_volume_writer *cry_volume_writer_free(struct cry_volume_writer *w)
{
        if (!w)
                return NULL;
        (void)bth_sink_free(w->seal);
        (void)bth_secret_free(w->vmk);
        (void)bth_secret_free(w->fvek);
        (void)bth_secret_free(w->recovery);
        (void)bth_secret_free(w->external);
        (void)bth_secret_free(w->bek);
        free(w->block); /* holds nothing that is not on the device in the same form */
        free(w);
        return NULL;
}

struct bth_sink *cry_volume_writer_sink(struct cry_volume_writer *w)
{
        return w->seal;
}

const struct bth_secret *cry_volume_writer_recovery_password(const struct cry_volume_writer *w)
{
        return w->recovery;
}

const struct bth_secret *cry_volume_writer_external_key(const struct cry_volume_writer *w)
{
        return w->external;
}

const struct bth_secret *cry_volume_writer_bek(const struct cry_volume_writer *w)
{
        return w->bek;
}

void cry_volume_writer_bek_name(const struct cry_volume_writer *w, char out[BTH_GUID_TEXT_MAX + 4])
{
        bth_guid_to_string(&w->external_id, out);
        for (char *p = out; *p; p++)
                *p = (char)(*p >= 'a' && *p <= 'f' ? *p - 32 : *p);
        memcpy(out + BTH_GUID_TEXT_MAX - 1, ".BEK", 5);
}

/* -- finishing
 * --------------------------------------------------------------------------------------- */

/* The first sector of specification 2.1. What is free there is ours or filler; no boot code. */
static void build_boot(const struct cry_volume_writer *w, uint8_t boot[BOOT_BYTES])
{
        struct fve_boot_record record = { .kind = fve_guid_normal };

        memset(boot, 0, BOOT_BYTES);
        memcpy(boot, "\xeb\x58\x90" FVE_SIGNATURE, 3 + FVE_SIGNATURE_BYTES);
        bth_store_le16(boot + 0x0b, (uint16_t)w->params.sector_bytes);
        boot[0x0d] = (uint8_t)(w->params.cluster_bytes / w->params.sector_bytes);
        boot[0x15] = 0xf8;
        bth_store_le16(boot + 0x18, 63);
        bth_store_le16(boot + 0x1a, 255);
        bth_store_le32(boot + 0x1c, w->params.partition_start_sectors);
        bth_store_le32(boot + 0x24, 0x1fe0);
        bth_store_le16(boot + 0x30, 1);
        bth_store_le16(boot + 0x32, 6);
        memcpy(boot + 0x40, "\x80\x00\x29", 3);
        memcpy(boot + 0x47, "NO NAME    FAT32   ", 19);
        for (size_t i = 0; i < CRY_FVE_COPIES; i++)
                record.copies[i] = le64_make(w->layout.copies[i]);
        memcpy(boot + FVE_BOOT_RECORD_OFFSET, &record, sizeof record);
        /* Non-zero where a partition table would be, or some tools would see an empty one. */
        memset(boot + 0x198, 0x78, 0x1e8 - 0x198);
        memset(boot + 0x1e8, 0xff, 19);
        memcpy(boot + 0x1fb, "\x00\x1f\x2c\x55\xaa", 5);
}

static int failed(struct bth_error *error, int r, uint64_t offset_bytes)
{
        bth_error_at(error, NULL, 0, offset_bytes);
        return bth_error_set(error, r, BTH_REASON_DRIVE_WRITE_ERROR,
                             "the drive does not take what is written: %s", bth_strerror(r));
}

int cry_volume_writer_finish(struct cry_volume_writer *w, struct bth_error *error)
{
        _cleanup_free_ uint8_t *head = bth_io_buffer_new(CRY_VOLUME_HEADER_BYTES);
        const size_t sector = w->params.sector_bytes;
        int r = head ? bth_random_bytes(head, CRY_VOLUME_HEADER_BYTES) : -ENOMEM;

        if (r < 0)
                return r;
        for (size_t i = 0; r == 0 && i < CRY_FVE_COPIES; i++) {
                r = bth_sink_write(w->device, w->layout.copies[i], w->block, CRY_FVE_REGION_BYTES);
                if (r < 0)
                        return failed(error, r, w->layout.copies[i]);
        }
        r = bth_sink_write(w->device, sector, head + sector, CRY_VOLUME_HEADER_BYTES - sector);
        if (r == 0)
                r = bth_sink_flush(w->device);
        if (r < 0)
                return failed(error, r, sector);
        memset(head, 0, sector);
        build_boot(w, head);
        r = bth_sink_write(w->device, 0, head, sector);
        if (r == 0)
                r = bth_sink_flush(w->device);
        return r < 0 ? failed(error, r, 0) : 0;
}
