/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-source - from the rows of a data set to the list of files that go onto drives.
 *
 * A folder is walked in the order of its names' bytes, so that two runs over the same tree give the
 * same list. Each file gets the name of its blob (destination prefix + path below the folder) and
 * its place on the drive (`\SESSION\…`), where the name is made one that Windows can open and that
 * differs from its neighbours by more than case; the blob keeps the original name. Source:
 * import-export specification 1.6 (layout), 4.2, 4.3 (rows and destinations), 9 (limits). */
#pragma once

#include "base/error.h"

enum ctl_blob_kind {
        CTL_BLOB_AUTO, /* page for *.vhd and *.vhdx, else block (spec 4.2) */
        CTL_BLOB_BLOCK,
        CTL_BLOB_PAGE,
};

struct ctl_source_row {
        const char *base_path; /* ends with '/': a folder; otherwise one file */
        const char
                *destination; /* "container/", "container/prefix/", "container/blob", "$root/…" */
        enum ctl_blob_kind kind;
        uint64_t line; /* in the data set, for complaints */
};

struct ctl_item {
        const char *source_path;
        const char *blob_path; /* "container/name", UTF-8, plain */
        const char
                *file_path; /* `\SESSION\…` on the drive, UTF-8, at most CTL_ITEM_PATH_MAX units */
        uint64_t size_bytes;
        int64_t mtime_sec; /* since 1970; files may be older */
        uint32_t mtime_nsec;
        uint32_t row;   /* index into the rows */
        uint32_t drive; /* index into the drives, set by ctl_distribute() */
        bool page;
};

/* A found thing that is not copied; called during the walk. The text is one sentence for people. */
typedef void (*ctl_source_note)(void *userdata, const char *source_path, const char *sentence);

struct ctl_items {
        struct ctl_item *items;
        size_t n_items;
        uint64_t total_bytes;
        struct ctl_arena *arena; /* owns every string */
};

#define CTL_ITEM_PATH_MAX  32767 /* UTF-16 units of a whole path, as Windows allows */
#define CTL_ITEM_DEPTH_MAX 512

/* Walks all rows. Links, sockets, pipes and devices are not copied, and noted; so are folders below
 * a destination in $root. Each folder is read whole before its files are looked at. session   valid
 * session id: the top folder on the drive Returns 0; -ENOENT, -EACCES … for what cannot be read
 * (nothing is left out silently); -EINVAL for a row that fits no rule, a name that is not UTF-8, a
 * blob name over 1,024 characters, a page blob whose size is not a multiple of 512; -ENAMETOOLONG;
 * -ELOOP beyond CTL_ITEM_DEPTH_MAX; -ENOMEM. */
int ctl_items_collect(const struct ctl_source_row *rows, size_t n_rows, const char *session,
                      ctl_source_note note, void *userdata, struct ctl_items *ret_items,
                      struct bth_error *error) _must_check_;

void ctl_items_clear(struct ctl_items *items);

/* One path component as it goes onto the drive: `<>:"|?*\`, control characters, a trailing dot or
 * blank and the first letter of a device name (CON, NUL, COM1 …) become %XX; longer than 255 units
 * is cut. `out` has room for 4 * n + 16 bytes. Returns `out`. */
char *ctl_drive_component(const char *name, size_t n, char *out);
