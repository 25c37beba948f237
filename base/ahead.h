/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ahead - reading ahead of many small reads that lie near each other.
 *
 *     reader ── a few KiB here, a few KiB there ──> ahead ── 256 KiB at once ──> below
 *
 * Where two small reads fall into one window of the source, or one into the window behind one that
 * was mostly used, the whole window is read, and the neighbours are served from it: files of a few
 * KiB, taken in the order of the disk, then cost a request a window instead of one each. Large
 * reads go straight through.
 *
 * Every place is served from memory once. Who reads it again doubts what came, and gets what the
 * device says now. A window that cannot be read as a whole harms nobody: then each read is made as
 * it was asked for. */
#pragma once

#include "base/source.h"

#define BTH_AHEAD_WINDOW_BYTES ((size_t)256 << 10)
#define BTH_AHEAD_SMALL_BYTES  ((size_t)64 << 10) /* longer reads are not looked at */
#define BTH_AHEAD_WINDOWS      32u                /* in memory at most */

/* Borrows `below`, which must live longer. Any thread may read. Returns 0 or -ENOMEM. */
int bth_source_new_ahead(struct bth_source *below, struct bth_source **ret_source) _must_check_;
