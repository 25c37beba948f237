/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manifest-spool - the manifest, read from its drive exactly once.
 *
 *     drive ── each byte once, in order ──┬── MD5 or SHA-256 ── the journal's hash? ── no: nothing
 *                                         └── unlinked file  ── yes: a source for every later pass
 *
 * A drive may answer differently the second time it is asked; so it is not asked again. Until the
 * hash is right there is no way to the content. Source: import-export specification 2.1, 2.9. */
#pragma once

#include "base/error.h"
#include "base/macros.h"
#include "base/source.h"
#include "base/status.h"
#include "media/finding.h"

#define MED_MANIFEST_MAX_BYTES (UINT64_C(16) << 30) /* about 15 million files */

struct med_manifest_spool;

struct med_manifest_spool_options {
        const char *object; /* the manifest's name, for people; may be NULL */
        const char *hash;   /* of the journal: 32 digits MD5, 64 digits SHA-256; blanks around it
                             * are ignored, and so is the case of digits */
        uint64_t max_bytes; /* 0: MED_MANIFEST_MAX_BYTES */
        const char *folder; /* for the spool file; NULL: $TMPDIR, else /var/tmp */
        int fd; /* the spool file itself, where no folder may be opened: empty, unlinked, readable
                 * and writable; taken over, also on failure. BTH_FD_NONE or 0: make one */
        const struct med_findings *findings; /* may be NULL */
};

/* Reads the whole of `file` (borrowed), in order and once. Blocks.
 * Returns 0; -EBADMSG when the content has another hash (hash-mismatch); -EINVAL when `hash` is
 * none (value-invalid); -EFBIG beyond the limit; the errors of bth_source_read() when the drive
 * fails; -ENOSPC and other errors of the spool file; -ENOMEM. *ret_status (always set, may be NULL)
 * is Completed, ManifestCorrupted, ManifestFormatInvalid, ReadManifestFailed or InternalError. */
int med_manifest_spool_new(struct bth_source *file,
                           const struct med_manifest_spool_options *options,
                           struct med_manifest_spool **ret_spool, enum bth_drive_status *ret_status,
                           struct bth_error *error) _must_check_;

/* The verified content; borrowed from the spool. */
struct bth_source *med_manifest_spool_source(struct med_manifest_spool *s);

/* NULL is fine; returns NULL. */
struct med_manifest_spool *med_manifest_spool_free(struct med_manifest_spool *s);
DEFINE_CLEANUP(med_manifest_spool_free, struct med_manifest_spool *);
