/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bloblist - which blobs an export takes: the list blob of Import/Export and its Data Box variant.
 *
 * Read tolerantly: element names whatever their case, paths with or without a leading slash, a
 * second root AzureFileList (whose paths are kept apart). Source: import-export specification 7.8.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "media/finding.h"

#define MED_BLOBLIST_MAX_BYTES   ((size_t)64 << 20)
#define MED_BLOBLIST_MAX_ENTRIES 1000000

enum med_selector_kind {
        MED_SELECT_BLOB,        /* "container/name", no leading slash */
        MED_SELECT_BLOB_PREFIX, /* "/cont", "/container/pre" */
        MED_SELECT_FILE,        /* Azure Files: "/share/dir/file" */
        MED_SELECT_FILE_PREFIX,
        _MED_SELECT_MAX,
        _MED_SELECT_INVALID = -EINVAL,
};

struct med_selector {
        enum med_selector_kind kind;
        char *path;
        bool no_snapshots; /* IncludeSnapshots="false" */
        char *snapshot;    /* one snapshot only; NULL: as no_snapshots says */
        uint64_t line;
};

struct med_bloblist {
        struct med_selector *selectors;
        size_t n_selectors;
        unsigned n_errors; /* selectors that were left out */
};

/* Returns 0, also with findings; -EBADMSG with line: not XML, no BlobList or AzureFileList, too
 * many entries; -EFBIG; -ENOMEM. */
int med_bloblist_parse(const void *data, size_t n, const struct med_findings *findings,
                       struct med_bloblist **ret_list, struct bth_error *error) _must_check_;
struct med_bloblist *med_bloblist_free(struct med_bloblist *l); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(med_bloblist_free, struct med_bloblist *);

/* Does the selector choose this blob (snapshot: NULL for the blob itself)? */
bool med_selector_matches(const struct med_selector *s, const char *container, const char *name,
                          const char *snapshot);

/* Adds the list as Import/Export has it; with `data_box` as Data Box has it.
 * Returns 0, -EINVAL when Azure Files are listed without `data_box`, -ENOMEM. */
int med_bloblist_write(struct bth_buf *out, const struct med_bloblist *l, bool data_box)
        _must_check_;
