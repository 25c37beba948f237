/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs_pieces - the pieces of $MFT that were read last.
 *
 * Files are opened in disk order, which is nearly the order of their records, and by many threads
 * at once: one read of $MFT serves many files, and who comes while it is made waits for it. */
#pragma once

#include "base/source.h"

#define MED_NTFS_PIECE_BYTES 65536u /* at least MED_NTFS_RECORD_MAX */
#define MED_NTFS_PIECES      16u

struct med_ntfs_pieces;

/* NULL when there is no memory. */
struct med_ntfs_pieces *med_ntfs_pieces_new(void);
struct med_ntfs_pieces *med_ntfs_pieces_free(struct med_ntfs_pieces *pieces);

/* Reads a record of `n` bytes, a power of two and at most a piece, that lies at a multiple of its
 * length. Where the piece around it cannot be read (a bad sector, the end of `mft`) the record is
 * read alone. Any thread may call it. Returns what bth_source_read() does, or -ENOMEM. */
int med_ntfs_pieces_read(struct med_ntfs_pieces *pieces, struct bth_source *mft,
                         uint64_t offset_bytes, void *buffer, size_t n) _must_check_;
