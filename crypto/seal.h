/* SPDX-License-Identifier: GPL-3.0-or-later */
/* seal - the other way of view.h: a sink for plain data that writes an encrypted volume.
 *
 * Any offset and length, many threads at once; the caller's buffer is not changed. Writes to
 * BitLocker's own areas are refused (-EROFS): a file system that knows them never tries. Pieces
 * that begin or end inside a sector are read, changed and written back under a lock. Source:
 * BitLocker specification 6, 8. */
#pragma once

#include "base/source.h"
#include "crypto/metadata.h"
#include "crypto/unlock.h"

/* Opens a volume for writing.
 *   device    the encrypted volume; borrowed, must outlive the sink
 *   readback  the same as a source, for pieces of sectors; borrowed; NULL: such writes give -EINVAL
 *   m, unlocked  copied as far as needed
 * Returns 0; -ENOTSUP for a volume that is not encrypted whole (BTH_REASON_BITLOCKER_UNSUPPORTED),
 * the errors of cry_extents_new() and cry_sector_cipher_new(). */
int cry_seal_new(struct bth_sink *device, struct bth_source *readback, const struct cry_metadata *m,
                 const struct cry_unlocked *unlocked, struct bth_sink **ret_sink,
                 struct bth_error *error) _must_check_;
