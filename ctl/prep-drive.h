/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-drive - a drive as a verb of berth-prep opens it: by name, with a key, down to its files and
 * its manifest. Nothing is mounted and nothing is written. One thread opens; any may read. */
#pragma once

#include "base/digest.h"
#include "ctl/prep.h"
#include "hal/identity.h"
#include "media/manifest-spool.h"
#include "media/ntfs_scan.h"
#include "uploader/drive.h"

struct ctl_drive {
        int fd;
        char *path;
        char *serial; /* blanks removed; NULL: a block device that tells none */
        struct upl_drive *drive;
        struct med_ntfs_index *index; /* UPL_DRIVE_FILES */
};

/* Opens a drive, a partition, or an image of either, as deep as asked for.
 *   credential  borrowed; NULL where no key is needed
 * Returns 0; -errno of open(2); the errors of upl_drive_open() and med_ntfs_scan(); -ENOMEM. The
 * error names the drive. */
int ctl_drive_open(const char *path, enum upl_drive_depth depth,
                   const struct cry_credential *credential, struct ctl_drive **ret_drive,
                   struct bth_error *error) _must_check_;
struct ctl_drive *ctl_drive_close(struct ctl_drive *d); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(ctl_drive_close, struct ctl_drive *);

/* The serial number that journal and manifest know the drive by (hal/identity.h). malloc()ed.
 * Returns 0; -ENODATA when the drive has none; the errors of hal_identity_of_path(); -ENOMEM. */
int ctl_drive_serial(const char *path, char **ret_serial, struct bth_error *error) _must_check_;

/* Opens a file of the drive by its path. Free with bth_source_free(&f->source).
 * Returns 0; -ENOENT; -ENAMETOOLONG, -EILSEQ; -EISDIR for a folder; -EACCES for what cannot be read
 * (encrypted by Windows, kept elsewhere); -EBADMSG; -EIO and others as bth_source_read(); -ENOMEM.
 */
int ctl_drive_file(const struct ctl_drive *d, const char *path, struct med_ntfs_file **ret_file,
                   struct bth_error *error) _must_check_;

/* Copies the manifest off the drive.
 *   path        on the drive; NULL: \DriveManifest.xml, else \SERIAL.manifest, else the only
 *               one in the root
 *   hash        32 or 64 digits; NULL: whatever it has by MD5
 *   ret_path    malloc()ed: where it is
 *   ret_hash    the hash it has
 *   ret_status  always set
 * Returns 0, or the errors of ctl_drive_file() and med_manifest_spool_new(). */
int ctl_drive_manifest(struct ctl_drive *d, const char *path, const char *hash,
                       const struct med_findings *findings, struct med_manifest_spool **ret_spool,
                       char **ret_path, char ret_hash[2 * BTH_DIGEST_MAX_BYTES + 1],
                       enum bth_drive_status *ret_status, struct bth_error *error) _must_check_;
