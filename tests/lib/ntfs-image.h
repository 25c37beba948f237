/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs-image - NTFS volumes that others make for a test: mkntfs formats, ntfs-3g (FUSE) writes what
 * a Python script wants, the script writes the same into a folder beside it. */
#pragma once

#include "base/source.h"

struct ntfs_image {
        char folder[64]; /* i: the image; t: the truth, what the script wrote; m: mount point */
        uint8_t *bytes;  /* private memory: changes stay in the test */
        size_t n_bytes;
};

struct ntfs_image_options {
        size_t n_bytes;
        const char *sector, *cluster, *label;
        const char *mount;  /* options of ntfs-3g */
        const char *script; /* Python; argv: mount point, truth folder */
};

/* Returns 0; -EOPNOTSUPP when mkntfs, ntfs-3g or FUSE are not here (skip); -EIO when the script
 * failed; other negative errno. */
int ntfs_image_make(const struct ntfs_image_options *o, struct ntfs_image *ret) _must_check_;
void ntfs_image_free(struct ntfs_image *image);
