/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-skipwrite - a session over files that are on the drive already: they are only hashed.
 * BasePath of a row is a folder or file on the drive, "\photos\" or "/photos/". Source:
 * import-export specification 8.1 (/skipwrite). */
#pragma once

#include "ctl/prep-copy.h"

/* Lists the files of the rows on the drive, by its key (`key`, else the journal's). Returns 0;
 * -ENOENT when a row names nothing; the errors of ctl_drive_open(); -EINVAL for a blob name that
 * cannot be; -ENOMEM. */
int ctl_skipwrite_collect(const char *path, const struct bth_secret *key,
                          const struct ctl_source_row *rows, size_t n_rows,
                          struct ctl_items *ret_items, struct bth_error *error) _must_check_;

/* Hashes what is missing, in disk order, as ctl_copy_drive() does with sources. Returns 0 or the
 * drive's error. */
int ctl_skipwrite_hash(struct ctl_copy *c, struct bth_error *error) _must_check_;
