/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-manifest - the manifest of a drive after a session: the lists it had, and one for each row
 * of the session. It is written to an unlinked file first, so that its hash can stand in the
 * journal before the drive has it. Source: import-export specification 2.1 to 2.6; lists: 2.3 (Id).
 */
#pragma once

#include "base/str.h"
#include "ctl/prep-copy.h"
#include "media/sidecar.h"

#define CTL_MANIFEST_PATH      "\\DriveManifest.xml"
#define CTL_MANIFEST_NEXT_PATH "\\DriveManifest.next.xml"

struct ctl_manifest {
        int fd; /* the whole file, unlinked */
        uint64_t length_bytes;
        char md5[2 * BTH_MD5_BYTES + 1]; /* upper-case hex, as the journal has it */
        uint64_t n_blobs;
};

struct ctl_manifest_input {
        const struct ctl_session *session;
        uint32_t drive; /* index */
        const char *serial;
        const struct ctl_copied *copied;
        struct ctl_volume
                *volume; /* its file system as of the last checkpoint, with the old manifest */
        const char *old_hashes[2]; /* that the old manifest may have; NULL: none. Both NULL: there
                                      is no old one */
};

/* Builds it. Lists of this session that the old manifest has already are left out and made again.
 * Returns 0; -EBADMSG when the old manifest has another hash, or is none; -EEXIST when there is one
 * that the journal does not know; -EINVAL when an entry may not stand in a manifest (the blob is
 * named); the drive's errno; -errno of the temporary file; -ENOMEM. */
int ctl_manifest_build(const struct ctl_manifest_input *in, struct ctl_manifest *ret,
                       struct bth_error *error) _must_check_;
void ctl_manifest_clear(struct ctl_manifest *m);

/* Puts it in the place of the old one, in the epoch under way: a checkpoint makes it so. Returns 0
 * or the drive's error. */
int ctl_manifest_put(const struct ctl_manifest *m, struct ctl_volume *v, struct bth_error *error)
        _must_check_;

/* What the row's properties file says, for the blobs that get one of their own; nothing without
 * --content-md5. med_properties_clear() it. Returns 0; -errno of the file; -EBADMSG; -ENOMEM. */
int ctl_row_properties(const struct ctl_session *s, size_t row, struct med_properties *ret,
                       struct bth_error *error) _must_check_;

/* With --content-md5: the properties file of one item, "\SESSION.sidecars\blob-17.properties.xml".
 * `out` has room for 128 bytes. Returns `out`. */
char *ctl_item_properties_path(const struct ctl_session *s, size_t item, char out[128]);
/* Its content: the row's properties (`row`, NULL: none) with the file's Content-MD5. Returns 0,
 * -ENOMEM, -EINVAL. */
int ctl_item_properties(const struct med_properties *row, const uint8_t md5[BTH_MD5_BYTES],
                        struct bth_buf *out) _must_check_;
