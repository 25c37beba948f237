/* SPDX-License-Identifier: GPL-3.0-or-later */
/* naming - which names containers, blobs, jobs, sessions and paths on a drive may have, and how the
 * name of a destination is put together. All texts are UTF-8. Any thread. Source: import-export
 * specification 1.7 (sessions), 2.4, 2.5 (blobs, rename), 4.3 (destinations), 7.10 (jobs), 9
 * (names). */
#pragma once

#include "base/error.h"

#define MED_BLOB_NAME_MAX_CHARACTERS 1024
#define MED_FILE_PATH_MAX_UNITS      32767

/* The checks return 0, or -EINVAL with one sentence that quotes the name and says the rule. */
int med_check_container(const char *name, struct bth_error *error)
        _must_check_; /* also $root, $web, $logs */
int med_check_session_id(const char *id, struct bth_error *error) _must_check_;
int med_check_job_name(const char *name, struct bth_error *error) _must_check_;
/* A blob's name behind the container; returns 0 or -EINVAL: empty, over 1,024 characters, not
 * UTF-8, in $root with '/'. */
int med_check_blob_name(const char *container, const char *name, struct bth_error *error)
        _must_check_;
/* Is there something about the name that clients get wrong ('%', '?', '#', control characters, a
 * trailing dot or slash)? Returns the sentence, or NULL. */
const char *med_blob_name_doubt(const char *name);

/* A path on a drive as manifests have it: leading backslash, components Windows can open.
 * Returns 0, -EINVAL (name invalid), -ENAMETOOLONG; these are the statuses FileNameInvalid,
 * FileNameTooLong. */
int med_check_file_path(const char *path, struct bth_error *error) _must_check_;

/* Splits "container/name" (one leading slash is tolerated). Both results are malloc()ed.
 * Returns 0, -EINVAL when there is no container or no name, -ENOMEM. */
int med_blob_path_split(const char *blob_path, char **ret_container, char **ret_name) _must_check_;

/* A destination of a data set, split and checked.
 *   "container/", "container/dir/", "container/dir/name", "$root/", "$root/name", or the same
 * behind "https://ACCOUNT.blob.core…/" */
struct med_destination {
        char *account; /* NULL unless a URL was given */
        char *container;
        char *rest;     /* "" or "dir/" or "dir/name" */
        bool is_prefix; /* ends with '/': files below keep their names */
};
/* Returns 0, -EINVAL with the rule that is broken, -ENOMEM. */
int med_destination_parse(const char *text, struct med_destination *ret_destination,
                          struct bth_error *error) _must_check_;
void med_destination_clear(struct med_destination *d);

/* The n-th name that the disposition "rename" tries, n from 2: "stem (n).ext" with the last dot of
 * the whole name, or "name (n)". malloc()ed; returns 0 or -ENOMEM. */
int med_rename(const char *name, unsigned n, char **ret_name) _must_check_;
