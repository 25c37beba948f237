/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs_scan - every file of a volume by one pass over $MFT, and paths joined to them in memory.
 *
 * The pass reads $MFT front to back in large pieces. Per record it keeps 24 bytes (size, first
 * place on the disk, status), per name its own text and 34 bytes; parents may come after children,
 * so paths are only resolved afterwards: names sorted by (parent, upper-cased name) are looked up
 * one component at a time, without touching the disk. Hard links are names like any other. DOS
 * (8.3) aliases are left out. The index is constant; any thread. */
#pragma once

#include "media/ntfs_volume.h"

struct med_ntfs_index;

struct med_ntfs_found {
        uint64_t reference; /* for med_ntfs_file_open() */
        uint64_t size_bytes;
        uint64_t first_offset_bytes; /* on the volume, to read in disk order: of the content, or of
                                        the record that holds it; MED_NTFS_HOLE: none */
        enum med_ntfs_status status;
        bool directory; /* also where status tells of a link */
};

struct med_ntfs_scan_options {
        size_t max_bytes; /* of memory, at least 2 MiB; the rest lies in a file that is gone when it
                             is closed, encrypted under a key in memory (media/spill.h) */
        const char *folder; /* for that file; NULL: $TMPDIR, else /var/tmp */
        int fd; /* that file itself, where no folder may be opened: empty, unlinked, readable and
                   writable; taken over, also on failure. BTH_FD_NONE or 0: make one */
};

/* Scans the volume, which must outlive the index. Returns 0; -E2BIG with BTH_REASON_LIMIT_EXCEEDED;
 * -ENOSPC with BTH_REASON_DISK_FULL and other errors of the file; -ENOMEM; -EIO and others as
 * bth_source_read(). Damaged records are counted and passed over. Blocks. */
int med_ntfs_scan_with(const struct med_ntfs_volume *v, const struct med_ntfs_scan_options *options,
                       struct med_ntfs_index **ret, struct bth_error *error) _must_check_;

/* The same with `max_bytes` and the usual folder. Returns as that. */
int med_ntfs_scan(const struct med_ntfs_volume *v, size_t max_bytes, struct med_ntfs_index **ret,
                  struct bth_error *error) _must_check_;
struct med_ntfs_index *med_ntfs_index_free(struct med_ntfs_index *x);
DEFINE_CLEANUP(med_ntfs_index_free, struct med_ntfs_index *);

/* The file at an UTF-8 path; components apart by '/' or '\\', compared as the volume does. Returns
 * 0, -ENOENT, -EILSEQ for a path that is not UTF-8, -ENAMETOOLONG; of the index's file: -EIO,
 * -ENOMEM, -errno. */
int med_ntfs_index_find(const struct med_ntfs_index *x, const char *path,
                        struct med_ntfs_found *ret) _must_check_;

size_t med_ntfs_index_names(const struct med_ntfs_index *x) _pure_;
size_t med_ntfs_index_damaged(const struct med_ntfs_index *x) _pure_;
uint64_t med_ntfs_index_records(const struct med_ntfs_index *x) _pure_;

/* What the index takes: memory, and file. */
void med_ntfs_index_memory(const struct med_ntfs_index *x, size_t *ret_memory_bytes,
                           uint64_t *ret_file_bytes);

/* Called for each name: in a list with the name alone, in a walk with the path from the folder that
 * was asked for ("\\folder\\name"). UTF-8 as the volume has it, not upper-cased; a lone surrogate
 * is its three-byte form (base/utf.h). Never ".", "..", nor a name with '/' or NUL in it: those are
 * counted as damage. Both texts are gone after the call. A negative result ends the list or walk,
 * which returns it; in a walk a positive one leaves the folder out. */
typedef int med_ntfs_visit(void *context, const char *name, const struct med_ntfs_found *found);

/* The files and folders of one folder, in no order, without the file system's own ($MFT and such).
 * `folder` as in med_ntfs_index_find(); "" is the root. Returns 0; -ENOTDIR; as
 * med_ntfs_index_find(); what `visit` returned. */
int med_ntfs_index_list(const struct med_ntfs_index *x, const char *folder, med_ntfs_visit *visit,
                        void *context) _must_check_;

/* Everything below a folder, a folder before what is in it. A folder is entered once, whatever the
 * volume says; a file with several names is visited by each. Returns 0; -ENAMETOOLONG beyond 4096
 * levels or 256 KiB of path; -ENOMEM; as med_ntfs_index_list(). */
int med_ntfs_index_walk(const struct med_ntfs_index *x, const char *folder, med_ntfs_visit *visit,
                        void *context) _must_check_;
