/* SPDX-License-Identifier: GPL-3.0-or-later */
/* metadata - what a BitLocker volume says of itself, before any key is known.
 *
 *     sector 0 names three copies of one metadata block; each carries a checksum; the first intact
 * copy is taken. Its fields are hostile until the SHA-256 under the volume master key is checked
 * (unlock.h).
 *
 * Only reads. A metadata object is constant after parsing: any thread may read it.
 * Source: BitLocker specification 2, 3, 8, 10. */
#pragma once

#include "base/error.h"
#include "base/guid.h"
#include "base/source.h"
#include "base/status.h"
#include "crypto/sector.h"

#define CRY_FVE_COPIES       3
#define CRY_FVE_REGION_BYTES 65536
#define CRY_MAX_PROTECTORS   64

/* How much of the volume is encrypted, as its state says. */
enum cry_volume_state {
        CRY_VOLUME_ENCRYPTED,
        CRY_VOLUME_USED_SPACE, /* encrypt-on-write: only chunks in use are encrypted, a bitmap tells
                                  which */
        CRY_VOLUME_PAUSED,     /* conversion stopped: encrypted up to the watermark */
        CRY_VOLUME_CONVERTING, /* conversion under way when it was last written */
        CRY_VOLUME_DECRYPTED,  /* BitLocker structures, but plain data */
        _CRY_VOLUME_STATE_MAX,
        _CRY_VOLUME_STATE_INVALID = -EINVAL,
};
const char *cry_volume_state_to_string(enum cry_volume_state s);
const char *cry_volume_state_sentence(enum cry_volume_state s);

enum cry_protector_kind {
        CRY_PROTECTOR_CLEAR_KEY = 0x0000,
        CRY_PROTECTOR_TPM = 0x0100,
        CRY_PROTECTOR_EXTERNAL_KEY = 0x0200,
        CRY_PROTECTOR_TPM_PIN = 0x0500,
        CRY_PROTECTOR_RECOVERY_PASSWORD = 0x0800,
        CRY_PROTECTOR_SMART_CARD = 0x1000,
        CRY_PROTECTOR_PASSWORD = 0x2000,
};
const char *cry_protector_kind_to_string(unsigned kind); /* "other" for a value outside the list */

struct cry_protector {
        struct bth_guid id;
        unsigned kind;          /* enum cry_protector_kind, or a value that is not in it */
        char *description;      /* UTF-8; NULL: none */
        uint64_t modified_usec; /* realtime */
        size_t body_offset;     /* of its datums in `block` */
        size_t body_bytes;
};

/* What an operator should know; bits of `warnings`. */
enum cry_warning {
        CRY_WARNING_COPY_DAMAGED = 1 << 0,  /* a metadata copy is not intact */
        CRY_WARNING_COPIES_DIFFER = 1 << 1, /* intact copies do not say the same */
        CRY_WARNING_TRUNCATED = 1 << 2,     /* the device is shorter than the volume */
        CRY_WARNING_CLEAR_KEY = 1 << 3,     /* suspended: anybody could read the data */
        CRY_WARNING_USED_SPACE = 1 << 4,    /* deleted data may lie on the drive in plain */
        CRY_WARNING_NOT_FINISHED =
                1 << 5,                 /* conversion was not finished: part of the data is plain */
        CRY_WARNING_DECRYPTED = 1 << 6, /* nothing is encrypted */
        CRY_WARNINGS_END = 1 << 7,
};
const char *
cry_warning_to_string(unsigned bit); /* "volume-truncated" …; NULL for more than one bit */
const char *cry_warning_sentence(unsigned bit);

struct cry_metadata {
        bool to_go;            /* with a FAT discovery volume in front */
        uint32_t sector_bytes; /* 512 or 4096 */
        uint64_t volume_bytes; /* of the plain volume; may be more than the device has */
        uint64_t device_bytes;
        uint64_t copies[CRY_FVE_COPIES]; /* volume offsets, as the intact copy names them */
        unsigned copy;                   /* which copy was taken, from 0 */
        uint16_t current_state, next_state;
        uint64_t watermark_bytes; /* encrypted size */
        uint32_t dirty_bytes;     /* being converted at the watermark; 0: none */
        uint64_t header_offset;   /* where the relocated first sectors lie */
        uint64_t header_bytes;
        struct bth_guid volume_id;
        enum cry_method method;
        uint64_t created_usec;
        char *description; /* UTF-8; NULL: none */
        enum cry_volume_state state;
        unsigned warnings;
        struct cry_protector *protectors;
        size_t n_protectors;
        bool eow;
        uint64_t eow_copies[2];
        uint8_t *boot;        /* the volume's first sector, 512 bytes */
        uint8_t *block;       /* the intact copy, CRY_FVE_REGION_BYTES */
        size_t covered_bytes; /* of `block` that checksum and hash cover */
};

/* Reads and checks the metadata of a volume (not of a whole disk).
 * Returns 0; -EMEDIUMTYPE with BTH_REASON_NOT_BITLOCKER when it is no BitLocker volume; -ENOTSUP
 * with BTH_REASON_BITLOCKER_UNSUPPORTED for Windows Vista's form or an unknown cipher; -EBADMSG
 * with BTH_REASON_BITLOCKER_DAMAGED when no copy is intact (the sentence says why for each); the
 * device's errno; -ENOMEM. */
int cry_metadata_read(struct bth_source *volume, struct cry_metadata **ret_metadata,
                      struct bth_error *error) _must_check_;
/* The same, with the copies before `first_copy` (0 to 2) passed over: for a volume whose first
 * intact copy turned out to be forged. Returns what cry_metadata_read() returns. */
int cry_metadata_read_from(struct bth_source *volume, unsigned first_copy,
                           struct cry_metadata **ret_metadata, struct bth_error *error)
        _must_check_;
struct cry_metadata *cry_metadata_free(struct cry_metadata *m); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(cry_metadata_free, struct cry_metadata *);

/* How an error of this module is reported for a drive (import-export specification 5.3). */
enum bth_drive_status cry_drive_status(const struct bth_error *error);
