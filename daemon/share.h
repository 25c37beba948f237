/* SPDX-License-Identifier: GPL-3.0-or-later */
/* share - one budget of memory and one of bandwidth over all drives of a station.
 * No state; any thread. Source: design, section 3, decisions 6 and 7. */
#pragma once

#include "base/macros.h"

#define DMN_MEMORY_MIN_BYTES (UINT64_C(48) << 20) /* below it a worker is slow */
#define DMN_MEMORY_MAX_BYTES \
        (UINT64_C(160) << 20) /* above it none is faster; resident it stays below 256 MiB */

/* What a worker that is to start gets of the station's memory, when `taken` bytes are given away
 * and `more` other drives wait; 0: nothing is left now, it has to wait. */
uint64_t dmn_memory_share(uint64_t total_bytes, uint64_t taken_bytes, size_t more) _const_;

/* Shares `total` bytes a second out by need: who wants less than an equal part gets what it wants
 * (UINT64_MAX: as much as it can have), and the others share the rest equally. `total` 0 is no cap:
 * every share is 0. Nobody gets less than one byte a second of a cap. */
void dmn_bandwidth_shares(uint64_t total, const uint64_t *wants, size_t n, uint64_t *ret_shares);
