/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker-sidecar - the metadata and properties files of blobs, each read and checked once while it
 * is wanted: those of a list serve many blobs.
 *
 * A sidecar that is wrong does not hold up its blob: the blob is copied without it, and the log
 * names the sidecar's status. One thread, but for what upl_sidecar_get() returned, which is
 * constant until it is given back. Source: import-export specification 3, 5.3. */
#pragma once

#include "base/status.h"
#include "media/manifest.h"
#include "media/ntfs_scan.h"
#include "media/sidecar.h"

struct upl_sidecar {
        enum bth_sidecar_status status;
        struct med_metadata metadata;     /* one of the two, when Completed */
        struct med_properties properties; /* … */
        struct bth_error error;           /* why it is not Completed */
};

struct upl_sidecars;

/* Borrows both. Returns 0 or -ENOMEM. */
int upl_sidecars_new(const struct med_ntfs_volume *volume, const struct med_ntfs_index *index,
                     struct upl_sidecars **ret_sidecars) _must_check_;
/* All must have been given back. NULL is fine; returns NULL. */
struct upl_sidecars *upl_sidecars_free(struct upl_sidecars *s);
DEFINE_CLEANUP(upl_sidecars_free, struct upl_sidecars *);

/* The file that `from` names, whose path is not NULL. To be given back.
 * Returns 0, also for one that is wrong; -ENODEV when the drive is gone; -ENOMEM. Blocks. */
int upl_sidecar_get(struct upl_sidecars *s, bool properties,
                    const struct med_manifest_sidecar *from, const struct upl_sidecar **ret_sidecar)
        _must_check_;
void upl_sidecar_put(struct upl_sidecars *s, const struct upl_sidecar *sidecar); /* NULL is fine */
