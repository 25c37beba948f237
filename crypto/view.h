/* SPDX-License-Identifier: GPL-3.0-or-later */
/* view - the plain volume, decrypted on the way: a read-only source over the encrypted one.
 *
 *     0                H                                                         size
 *     | first sectors  | encrypted in place …  |metadata| … |relocated| … |metadata|
 *       read from the                            zeros        zeros        zeros
 *       relocated area
 *
 * Any offset and length, many threads at once. Whole sectors are decrypted in the caller's buffer;
 * what begins or ends inside a sector goes through a small one of its own. A volume that is longer
 * than its device has its own length; what is not there reads as -EIO. Source: BitLocker
 * specification 6, 8, 10. */
#pragma once

#include "base/source.h"
#include "crypto/metadata.h"
#include "crypto/unlock.h"

/* What a piece of the plain volume is. */
enum cry_extent_kind {
        CRY_EXTENT_ZERO, /* BitLocker's own areas */
        CRY_EXTENT_PLAIN,
        CRY_EXTENT_ENCRYPTED,
};

struct cry_extent {
        uint64_t offset_bytes; /* in the plain volume */
        uint64_t length_bytes;
        uint64_t physical_bytes; /* where it lies on the device; feeds the cipher */
        enum cry_extent_kind kind;
};

/* The map of a volume: extents ascend, touch and cover [0, volume_bytes). `volume` is read for
 * bitmaps. free() it. Returns 0; -EBADMSG with BTH_REASON_BITLOCKER_DAMAGED; the device's errno;
 * -ENOMEM. */
int cry_extents_new(struct bth_source *volume, const struct cry_metadata *m,
                    struct cry_extent **ret_extents, size_t *ret_n, struct bth_error *error)
        _must_check_;

/* Opens the plain volume. Borrows `volume`, which must outlive the view; copies what it needs of
 * the rest. Returns 0, the errors of cry_extents_new() and cry_sector_cipher_new(). Reads return
 * the device's errno, and -EIO behind the device's end. */
int cry_view_new(struct bth_source *volume, const struct cry_metadata *m,
                 const struct cry_unlocked *unlocked, struct bth_source **ret_view,
                 struct bth_error *error) _must_check_;
