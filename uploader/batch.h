/* SPDX-License-Identifier: GPL-3.0-or-later */
/* batch - small blobs by the dozen: read one after the other, hashed side by side, sent at once.
 *
 * What costs with small files is not the bytes but waking somebody for each. One thread takes up to
 * sixteen, and waits once for all their answers. Only the first try is made together: whatever does
 * not simply succeed goes its usual way, alone (transfer.h). */
#pragma once

#include "uploader/transfer.h"

#define UPL_BATCH_MAX        16u
#define UPL_BATCH_BLOB_BYTES (UINT64_C(256) << 10)

struct upl_batch_lot {
        struct upl_transfer_item item; /* the caller's, as in upl_transfer_run() */
        void *cookie;                  /* not used here */
        struct upl_transfer_result result;
        int r; /* as upl_transfer_run() returned it */
};

/* Is this a blob for a batch? */
bool upl_batch_takes(const struct upl_transfer_env *env, const struct upl_transfer_item *item);

/* Transfers `n` lots (at most UPL_BATCH_MAX), of any size; sets `result` and `r` of each. Blocks.
 */
void upl_batch_run(struct upl_transfer_env *env, struct upl_batch_lot *lots, size_t n);
