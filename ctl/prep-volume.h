/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-volume - an encrypted drive, opened for adding files to it.
 *
 *      files' content ─────────────────────────► seal (encrypts) ──► drive
 *      records, indexes ── ntfs_writer ── overlay ──┘ at a checkpoint
 *
 * Nothing is opened that cry_target_open() would refuse. One thread changes names; any thread may
 * write content. */
#pragma once

#include "base/secret.h"
#include "crypto/unlock.h"
#include "ctl/overlay.h"
#include "media/ntfs_writer.h"
#include "uploader/drive.h"

struct ctl_volume {
        int fd;
        struct upl_drive *drive;
        struct bth_sink *device, *volume; /* the whole device; its partition */
        struct bth_sink *seal;            /* plain bytes in, encrypted on the drive */
        struct ctl_overlay *overlay;
        struct med_ntfs_writer *writer; /* NULL between end and begin */
        bool redo_replayed;             /* a cut-off checkpoint was finished when it was opened */
        char *redo_path;
};

/* Opens the drive for writing and finishes what a cut-off checkpoint left. Takes `fd` (of
 * cry_target_open()) over, also on failure. With `redo_path` NULL nothing can be written: for
 * looking at free space. Returns 0; the errors of upl_drive_open(), cry_seal_new(),
 * ctl_overlay_replay(), med_ntfs_writer_open(). */
int ctl_volume_open(int fd, const struct cry_credential *credential, const char *redo_path,
                    struct ctl_volume **ret_volume, struct bth_error *error) _must_check_;
/* Drops what has no checkpoint. NULL is fine; returns NULL. */
struct ctl_volume *ctl_volume_close(struct ctl_volume *v);
DEFINE_CLEANUP(ctl_volume_close, struct ctl_volume *);

/* Brings the file system into the overlay, whole, as a clean volume. The content of files must be
 * written. Returns 0 or as med_ntfs_writer_close(). ctl_overlay_commit() comes next, then
 * ctl_volume_begin(). */
int ctl_volume_end(struct ctl_volume *v, struct bth_error *error) _must_check_;
/* Opens the file system again. Returns 0 or as med_ntfs_writer_open(). */
int ctl_volume_begin(struct ctl_volume *v, struct bth_error *error) _must_check_;

/* Makes a file with this content, of any length. Returns 0 or as med_ntfs_writer_create() and
 * bth_sink_write(). */
int ctl_volume_put(struct ctl_volume *v, const char *path, const void *data, size_t n,
                   struct bth_error *error) _must_check_;

/* How many bytes the places hold. */
uint64_t ctl_extents_bytes(const struct med_ntfs_extent *extents, size_t n) _pure_;

/* Writes content of a file into its places. `at_bytes` counts in the file. Room behind the last
 * byte is written with `n` longer than the file, up to the end of the places. Returns 0, -EINVAL
 * outside them, as bth_sink_write(). */
int ctl_extents_write(struct bth_sink *sink, const struct med_ntfs_extent *extents,
                      size_t n_extents, uint64_t at_bytes, const void *data, size_t n) _must_check_;
