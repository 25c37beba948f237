/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs_writer - new folders and files on an NTFS volume, through libntfs-3g on our own source and
 * sink.
 *
 *     create ── records, indexes, bitmap ──► sink (as libntfs-3g writes them)
 *            └─ the places of the file's bytes ──► caller, who writes the bytes there himself
 *
 * The library never sees the content of a large file; small content (at most MED_NTFS_SMALL_BYTES)
 * goes into the file's record where it fits. The caller's bytes may be written before or after the
 * file's record is on the drive: see ctl/overlay.h. Paths are UTF-8, components apart by '\'. One
 * writer belongs to one thread. Source: NTFS 3.1 as libntfs-3g's layout.h describes it. */
#pragma once

#include "base/error.h"
#include "base/source.h"
#include "media/ntfs_format.h"

#define MED_NTFS_SMALL_BYTES 512u

struct med_ntfs_writer;

struct med_ntfs_new_file {
        const char *path; /* "\folder\name" */
        uint64_t size_bytes;
        uint64_t created, modified; /* 100 ns since 1601 */
        const void *content; /* all of it when size_bytes <= MED_NTFS_SMALL_BYTES, else NULL */
};

/* Opens the file system of `source` for writing into `sink`: one volume, seen twice, so that what
 * was written is read back. Both are borrowed and must outlive the writer. Returns 0; -EMEDIUMTYPE
 * with BTH_REASON_NOT_NTFS; -EPERM with BTH_REASON_NTFS_DAMAGED for a volume that was not closed
 * cleanly; -EBADMSG with BTH_REASON_NTFS_DAMAGED; the errno of source or sink; -ENOMEM. */
int med_ntfs_writer_open(struct bth_source *source, struct bth_sink *sink,
                         struct med_ntfs_writer **ret_writer, struct bth_error *error) _must_check_;

/* Brings everything to the sink and ends the writer, also when it fails; then what is in the sink
 * must be thrown away. NULL is fine. Returns 0, -EBADMSG with BTH_REASON_NTFS_DAMAGED, the sink's
 * errno. */
int med_ntfs_writer_close(struct med_ntfs_writer *w, struct bth_error *error) _must_check_;

/* Room for files. */
uint64_t med_ntfs_writer_free_bytes(const struct med_ntfs_writer *w);
uint32_t med_ntfs_writer_cluster_bytes(const struct med_ntfs_writer *w);

/* Makes the file, and the folders above it that do not exist. What is returned are the places of
 * its bytes on the volume in the order of the file, whole clusters, at least size_bytes together;
 * none when the content is in the record. free() them. Returns 0; -EEXIST when there is a file of
 * this name; -ENOTDIR when a folder's name is a file's; -ENOSPC with BTH_REASON_DISK_FULL (the file
 * is not there); -EINVAL for a path that cannot be; -ENOMEM; as open. */
int med_ntfs_writer_create(struct med_ntfs_writer *w, const struct med_ntfs_new_file *file,
                           struct med_ntfs_extent **ret_extents, size_t *ret_n,
                           struct bth_error *error) _must_check_;

/* Removes a file. Returns 0; -ENOENT; as open. */
int med_ntfs_writer_remove(struct med_ntfs_writer *w, const char *path, struct bth_error *error)
        _must_check_;

/* Removes a folder that is empty. Returns 1; 0 when it is not empty, is no folder or is not there;
 * as open. */
int med_ntfs_writer_remove_folder(struct med_ntfs_writer *w, const char *path,
                                  struct bth_error *error) _must_check_;

/* Gives a file another name in the same folder. Returns 0; -ENOENT; -EEXIST; as open. */
int med_ntfs_writer_rename(struct med_ntfs_writer *w, const char *path, const char *new_path,
                           struct bth_error *error) _must_check_;

/* Is there a file or folder? Returns 1, 0, or as open. */
int med_ntfs_writer_exists(struct med_ntfs_writer *w, const char *path, struct bth_error *error)
        _must_check_;
