/* SPDX-License-Identifier: GPL-3.0-or-later */
/* drive - a customer's drive, opened from its descriptor to its files. Only reads.
 *
 *     descriptor -> device (hal/block) -> volume (its partition) -> plain (decrypted) -> ntfs
 *
 * The first data volume is taken, as the service does. Nothing is mounted and no name is opened.
 * Once open it is constant: any thread may read any of its sources. Source: import-export
 * specification, "only the first data volume is processed"; BitLocker specification 5, 15. */
#pragma once

#include "base/status.h"
#include "crypto/unlock.h"
#include "hal/block.h"
#include "media/ntfs_volume.h"
#include "media/partition.h"

struct upl_drive {
        struct med_partitions *partitions;
        const struct med_partition *partition; /* of `partitions` */
        struct bth_source *device;             /* the whole drive; of hal_block_open_fd() */
        struct bth_source *volume;             /* as it lies on the drive */
        struct cry_metadata *metadata;
        struct cry_unlocked unlocked; /* `key` is NULL unless it was to be kept */
        enum cry_protector_kind unlocked_by;
        struct bth_source *plain;
        struct bth_source *ahead; /* `plain`, read ahead for `ntfs`; NULL: not wanted */
        struct med_ntfs_volume *ntfs;
};

enum upl_drive_depth {
        UPL_DRIVE_VOLUME,   /* partition found; `metadata` and what follows is NULL */
        UPL_DRIVE_METADATA, /* BitLocker metadata read, nothing unlocked */
        UPL_DRIVE_PLAIN,    /* unlocked; no file system looked at */
        UPL_DRIVE_FILES,    /* all of it */
};

struct upl_drive_options {
        enum upl_drive_depth depth;
        bool keep_key;   /* in `unlocked`, for cry_seal_new() */
        bool read_ahead; /* many small files are read, and nobody writes meanwhile (base/ahead.h) */
        struct hal_block_options block;
};

/* Opens a drive or an image of one (or of its volume alone). Borrows `fd`, which must be readable,
 * not open with O_DIRECT (it may be set by this) and open as long as the drive. `credential` may be
 * NULL where `depth` needs none. Returns 0, or the error of the stage that failed:
 * med_partitions_read(), med_partitions_first_data(), hal_block_open_fd(), cry_unlock_volume(),
 * cry_view_new(), med_ntfs_open(). Blocks. */
int upl_drive_open(int fd, const struct upl_drive_options *options,
                   const struct cry_credential *credential, struct upl_drive **ret_drive,
                   struct bth_error *error) _must_check_;
struct upl_drive *upl_drive_close(struct upl_drive *d); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(upl_drive_close, struct upl_drive *);

/* How an error of upl_drive_open() is reported for the drive (import-export specification 5.3). */
enum bth_drive_status upl_drive_status(const struct bth_error *error);
