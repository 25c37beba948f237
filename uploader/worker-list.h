/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker-list - the blobs of a manifest in the order in which their files lie on the disk.
 *
 *     manifest, once ──> each blob joined to its file ──> unlinked spool, one record a blob
 *                                                   └──> 16 bytes in memory: place, record
 *     sort by place ──> upl_list_next() reads records back in disk order
 *
 * So memory is 16 bytes a blob, whatever blobs there are. The spool is ours and is trusted. Blobs
 * without a place on the disk (empty, resident in the file table, not found) come first. One
 * thread. Source: design, section 3, decision 4. */
#pragma once

#include <stdatomic.h>

#include "media/manifest.h"
#include "media/ntfs_scan.h"

/* One blob, joined. Everything points into one piece of memory: free with upl_listed_free(). */
struct upl_listed {
        struct med_manifest_blob blob; /* `list` is NULL: its sidecars are those in force */
        bool metadata_global, properties_global; /* they are the list's, not the blob's own */
        enum bth_blob_status status;             /* Completed: the file can be read */
        uint64_t reference;                      /* for med_ntfs_file_open() */
        uint64_t file_bytes;
};
struct upl_listed *upl_listed_free(struct upl_listed *l); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(upl_listed_free, struct upl_listed *);

struct upl_list;

/* Reads the manifest behind `source` (validated before, with the same `options`; `summary` is that
 * pass's) and joins it to `index`. `spool_fd` is empty, readable and writable; taken over, also on
 * failure. Returns 0; the errors of med_manifest_next(); -errno of writing the spool; -ECANCELED
 * when `*stop` was set; -ENOMEM. Blocks. */
int upl_list_new(struct bth_source *source, const struct med_manifest_options *options,
                 const struct med_manifest_summary *summary, const struct med_ntfs_index *index,
                 int spool_fd, const atomic_bool *stop, struct upl_list **ret_list,
                 struct bth_error *error) _must_check_;
struct upl_list *upl_list_free(struct upl_list *l); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(upl_list_free, struct upl_list *);

uint64_t upl_list_count(const struct upl_list *l) _pure_;

/* The next blob in disk order. Returns 1 with a blob, 0 at the end, -errno of reading the spool,
 * -ENOMEM. */
int upl_list_next(struct upl_list *l, struct upl_listed **ret_listed) _must_check_;
