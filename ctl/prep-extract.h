/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-extract - files and folders of an opened drive, listed, and copied into a folder of this
 * machine, without mounting.
 *
 * The names are whatever the drive says. They are shown escaped; and what is written stays below
 * the folder that was given: each component is made or opened on its own, never through a link, and
 * a file that exists is never written to. One thread. */
#pragma once

#include "ctl/prep-drive.h"

#define CTL_LIST_MAX 10000000u

/* Prints a folder (`recursive`: all below it), sorted, and reports it as "entries". A file is shown
 * alone. Returns 0; the errors of med_ntfs_index_list(); -E2BIG beyond CTL_LIST_MAX; -ENOMEM. */
int ctl_drive_list(struct ctl_context *c, const struct ctl_drive *d, const char *folder,
                   bool recursive, struct bth_error *error) _must_check_;

/* Copies a file, or a folder with all below it, into `to`, which is made when it does not exist.
 * What cannot be read or made is told to `findings` and left out; nothing half copied stays.
 * Reports "extracted". With --dry-run nothing is written.
 * Returns 0 also then; -ENOENT when `path` is not on the drive; -ENOSPC, before anything is
 * written, when there is no room; -ENODEV when the drive goes; -errno of making `to`; -ENOMEM. */
int ctl_drive_extract(struct ctl_context *c, const struct ctl_drive *d, const char *path,
                      const char *to, const struct med_findings *findings, struct bth_error *error)
        _must_check_;
