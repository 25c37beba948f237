/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fve - the bytes of BitLocker metadata. Private to crypto/. Source: BitLocker specification 2
 * to 5. */
#pragma once

#include <assert.h>

#include "base/guid.h"
#include "base/le.h"

#define FVE_SIGNATURE        "-FVE-FS-"
#define FVE_SIGNATURE_BYTES  8
#define FVE_VALIDATION_BYTES 88 /* header and the wrapped hash */

/* First sector: the record that names the copies (2.1; To Go: 2.2). */
struct fve_boot_record {
        struct bth_guid kind;
        le64_t copies[3];
        le64_t eow_copies[2]; /* only where the kind is encrypt-on-write */
};
#define FVE_BOOT_RECORD_OFFSET      0xa0
#define FVE_BOOT_RECORD_OFFSET_TOGO 0x1a8

struct fve_block_header {
        uint8_t signature[8];
        le16_t size_div_16;
        le16_t version;
        le16_t current_state;
        le16_t next_state;
        le64_t encrypted_size;
        le32_t dirty_size;
        le32_t header_sectors;
        le64_t copies[3];
        le64_t header_offset;
};
static_assert(sizeof(struct fve_block_header) == 64, "block header");

struct fve_dataset_header {
        le32_t size;
        le32_t version;
        le32_t header_size;
        le32_t end;
        struct bth_guid volume_id;
        le32_t next_nonce;
        le16_t method;
        le16_t method_again;
        le64_t created;
};
static_assert(sizeof(struct fve_dataset_header) == 48, "dataset header");

struct fve_datum_header {
        le16_t size;
        le16_t role;
        le16_t type;
        le16_t flags;
};
static_assert(sizeof(struct fve_datum_header) == 8, "datum header");

struct fve_validation {
        le16_t size;
        le16_t version;
        le32_t crc32;
};

enum fve_role {
        FVE_ROLE_NESTED = 0,
        FVE_ROLE_VMK = 2,
        FVE_ROLE_FVEK = 3,
        FVE_ROLE_EXTERNAL = 6,
        FVE_ROLE_DESCRIPTION = 7,
        FVE_ROLE_RELOCATED = 0xf,
        FVE_ROLE_RECOVERY_KEY = 0x12,
        FVE_ROLE_RECOVERY_STRETCHED = 0x13,
};

enum fve_type {
        FVE_TYPE_KEY = 1,
        FVE_TYPE_STRING = 2,
        FVE_TYPE_STRETCH = 3,
        FVE_TYPE_USE_KEY = 4,
        FVE_TYPE_WRAPPED = 5,
        FVE_TYPE_VMK = 8,
        FVE_TYPE_EXTERNAL = 9,
        FVE_TYPE_RELOCATED = 0xf,
};

enum fve_kind {
        FVE_KIND_RECOVERY = 0x1000,
        FVE_KIND_PASSWORD = 0x1001,
        FVE_KIND_CLEAR = 0x2000,
        FVE_KIND_EXTERNAL = 0x2002,
        FVE_KIND_VMK = 0x2003,
        FVE_KIND_SHA256 = 0x2005,
        FVE_KIND_STRETCHED_PASSWORD = 0x2007,
        FVE_KIND_STRETCHED_RECOVERY = 0x2008,
};

#define FVE_VMK_HEADER_BYTES     28 /* GUID, time, u16, kind */
#define FVE_STRETCH_HEADER_BYTES 20 /* kind, flags, salt */
#define FVE_SALT_BYTES           16
#define FVE_NONCE_BYTES          12
#define FVE_MAC_BYTES            16
#define FVE_KEY_HEADER_BYTES     12 /* datum header, kind, flags */
#define FVE_KEY_BYTES            32

/* One datum of a packed list; `body` follows its header. */
struct fve_datum {
        uint16_t role;
        uint16_t type;
        const uint8_t *body;
        size_t n;
};

/* Takes the next datum of [*at, end). Returns 1 and the datum, 0 at the end, -EBADMSG when its size
 * is not possible. */
static inline int fve_next_datum(const uint8_t **at, const uint8_t *end,
                                 struct fve_datum *ret_datum)
{
        const struct fve_datum_header *h = (const struct fve_datum_header *)(const void *)*at;
        size_t left = (size_t)(end - *at), size;

        if (left == 0)
                return 0;
        if (left < sizeof *h)
                return -EBADMSG;
        size = le16_get(h->size);
        if (size < sizeof *h || size > left)
                return -EBADMSG;
        *ret_datum = (struct fve_datum){
                .role = le16_get(h->role),
                .type = le16_get(h->type),
                .body = *at + sizeof *h,
                .n = size - sizeof *h,
        };
        *at += size;
        return 1;
}

/* The record in a first sector of 512 bytes, or NULL. */
const struct fve_boot_record *fve_find_record(const uint8_t *boot, bool *ret_eow);

/* CRC-32 of zlib and Ethernet. */
uint32_t fve_crc32(const void *data, size_t n);

extern const struct bth_guid fve_guid_normal;
extern const struct bth_guid fve_guid_eow;
