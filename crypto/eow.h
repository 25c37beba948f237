/* SPDX-License-Identifier: GPL-3.0-or-later */
/* eow - which chunks of a used-space-only volume are encrypted. Private to crypto/.
 * Source: BitLocker specification 10 (the reading rules are inferred from two volumes). */
#pragma once

#include "base/error.h"
#include "base/source.h"
#include "crypto/metadata.h"

/* One run of the volume; runs ascend and do not overlap. */
struct cry_eow_run {
        uint64_t offset_bytes;
        uint64_t length_bytes;
        bool encrypted;
};

struct cry_eow {
        struct cry_eow_run *runs;
        size_t n_runs;
        /* Areas of BitLocker's own that read as zeros: info blocks, bitmap files, conversion logs.
         */
        struct {
                uint64_t offset_bytes, length_bytes;
        } * zeros;
        size_t n_zeros;
};

/* Reads info block and bitmaps. Returns 0; -EBADMSG with BTH_REASON_BITLOCKER_DAMAGED; the device's
 * errno; -ENOMEM. */
int cry_eow_read(struct bth_source *volume, const struct cry_metadata *m, struct cry_eow *ret_eow,
                 struct bth_error *error) _must_check_;
void cry_eow_clear(struct cry_eow *e);
