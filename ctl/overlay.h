/* SPDX-License-Identifier: GPL-3.0-or-later */
/* overlay - changes to a file system's metadata that reach the drive all together or not at all.
 *
 *      libntfs-3g ──read/write──► overlay (pages in memory) ──commit──► redo file ──► drive
 *      file data  ───────────────────────────────────────────────────────────────► drive
 *
 * NTFS is changed in place by many small writes; a kill -9 between two of them would leave a volume
 * that no reader accepts. So every metadata write stays here until a checkpoint. A checkpoint
 * writes all pages into a redo file beside the journal (complete or absent: temporary name, fsync,
 * rename), applies them to the drive, flushes it, and removes the file. After a crash the drive is
 * at the last checkpoint, or the redo file brings it to the next one; applying it twice does no
 * harm. File data goes straight to the drive, into clusters that nothing on the drive refers to
 * before the checkpoint. Both may lie in one page, where clusters are smaller: of each page only
 * the sectors that were written here are the overlay's.
 *
 * Redo file, little-endian: "BTHREDO1", 16 bytes volume id, u64 volume size, u64 number of pages,
 * then per page u64 index and 4096 bytes, then the SHA-256 of everything before it. Mode 0600: it
 * holds file names, and the content of files so small that NTFS keeps it beside them. Any thread
 * may read and write; commit excludes both. */
#pragma once

#include "base/error.h"
#include "base/guid.h"
#include "base/source.h"

#define CTL_OVERLAY_PAGE_BYTES 4096

struct ctl_overlay;

/* An empty overlay over a volume. Borrows both, which must be of one size and outlive the overlay.
 *   redo_path  where checkpoints are prepared; copied
 * Returns 0, -EINVAL when the sizes differ, -ENOMEM. */
int ctl_overlay_new(struct bth_source *below_source, struct bth_sink *below_sink,
                    const struct bth_guid *volume_id, const char *redo_path,
                    struct ctl_overlay **ret_overlay) _must_check_;

/* Drops what was not committed. NULL is fine; returns NULL. */
struct ctl_overlay *ctl_overlay_free(struct ctl_overlay *o);
DEFINE_CLEANUP(ctl_overlay_free, struct ctl_overlay *);

/* The volume as it will be after the next commit. Borrowed from the overlay; free of effect to
 * free. */
struct bth_source *ctl_overlay_source(struct ctl_overlay *o);
struct bth_sink *ctl_overlay_sink(struct ctl_overlay *o);

/* Memory held by pages; the caller commits when it grows beyond what it likes. */
size_t ctl_overlay_bytes(struct ctl_overlay *o);

/* Makes everything written so far durable on the drive, in one step. Nothing to do is success. File
 * data that the metadata refers to must have been written before: this flushes the drive first.
 * Returns 0; -ENOSPC, -EIO … from writing the redo file (the drive is untouched); the drive's own
 * negative errno (the redo file stays and ctl_overlay_replay() finishes later). Blocks. */
int ctl_overlay_commit(struct ctl_overlay *o, struct bth_error *error) _must_check_;

/* Lets the redo file go, for good. None is success. Returns 0 or -errno of unlink(2) or fsync(2).
 */
int ctl_overlay_forget(const char *redo_path, struct bth_error *error) _must_check_;

/* Finishes a commit that was cut off, and leaves the redo file as ctl_overlay_commit() does. No
 * redo file is success. volume_id, size of `below`  must be those of the file Returns 1 when pages
 * were applied, 0 when there was nothing to do, -EBADMSG for a file that is damaged or belongs to
 * another volume, the drive's or the file's negative errno. Blocks. */
int ctl_overlay_replay(const char *redo_path, const struct bth_guid *volume_id,
                       struct bth_sink *below, struct bth_error *error) _must_check_;
