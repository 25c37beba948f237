/* SPDX-License-Identifier: GPL-3.0-or-later */
/* volume_writer - a new BitLocker volume around a file system.
 *
 *     new        keys and metadata are made; nothing is written
 *     sink       the caller writes its file system through it, encrypted
 *     finish     three metadata copies, filler, flush; then the first sector, last of all
 *
 * Until finish() has returned there is no BitLocker volume on the device: an interrupted format is
 * not taken for one. The file system must keep the layout's regions free (media/ntfs_format.h
 * does). One writer belongs to one thread; its sink may be used by many. Windows itself was never
 * tried on these volumes; every free reader was. Source: BitLocker specification 12, 13. */
#pragma once

#include "base/secret.h"
#include "base/source.h"
#include "crypto/metadata.h"

#define CRY_VOLUME_HEADER_BYTES 8192 /* of the file system, that are relocated */
#define CRY_VOLUME_AREA_BYTES   65536

/* Where BitLocker's own regions lie on the volume: multiples of 4096, apart from each other. */
struct cry_volume_layout {
        uint64_t copies[CRY_FVE_COPIES]; /* CRY_FVE_REGION_BYTES each */
        uint64_t header_offset;          /* CRY_VOLUME_HEADER_BYTES */
        uint64_t area_offset; /* CRY_VOLUME_AREA_BYTES; 0: none, the short form is written */
};

struct cry_volume_params {
        enum cry_method method;           /* XTS, 128 or 256 */
        uint32_t sector_bytes;            /* 512 or 4096 */
        uint32_t cluster_bytes;           /* of the file system */
        uint32_t partition_start_sectors; /* hidden sectors, as the file system has them */
        const char *description; /* UTF-8, at most 200 characters, e.g. "HOST DRIVE 11/21/2026" */
        const struct bth_secret *password; /* adds a password protector; NULL: none */
        bool external_key;                 /* adds an external key */
};

struct cry_volume_writer;

/* Makes keys and metadata for a volume of the whole device.
 *   device    borrowed, must outlive the writer; its size is the volume's, a multiple of 4096
 *   readback  see cry_seal_new()
 * Returns 0; -EINVAL for parameters or a layout that do not fit (with the sentence); -errno of the
 * kernel's random source; -EIO of libcrypto; -ENOMEM. */
int cry_volume_writer_new(struct bth_sink *device, struct bth_source *readback,
                          const struct cry_volume_params *params,
                          const struct cry_volume_layout *layout,
                          struct cry_volume_writer **ret_writer, struct bth_error *error)
        _must_check_;
struct cry_volume_writer *cry_volume_writer_free(struct cry_volume_writer *w); /* NULL is fine */
DEFINE_CLEANUP(cry_volume_writer_free, struct cry_volume_writer *);

/* Borrowed from the writer. */
struct bth_sink *cry_volume_writer_sink(struct cry_volume_writer *w);
const struct bth_secret *
cry_volume_writer_recovery_password(const struct cry_volume_writer *w); /* text */
const struct bth_secret *
cry_volume_writer_external_key(const struct cry_volume_writer *w); /* 32 bytes or NULL */
const struct bth_secret *
cry_volume_writer_bek(const struct cry_volume_writer *w); /* 156-byte file or NULL */
void cry_volume_writer_bek_name(const struct cry_volume_writer *w, char out[BTH_GUID_TEXT_MAX + 4]);

/* Writes what makes the device a BitLocker volume. Returns 0 or the device's negative errno. */
int cry_volume_writer_finish(struct cry_volume_writer *w, struct bth_error *error) _must_check_;
