/* SPDX-License-Identifier: GPL-3.0-or-later */
/* siphash - a keyed hash for tables that strangers fill: who does not know the key cannot make two
 * texts meet. SipHash-2-4 with 128 bits of output. Not a digest of content. Any thread.
 * Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF". */
#pragma once

#include "base/macros.h"

struct bth_siphash_key {
        uint64_t k[2]; /* random, by bth_random_bytes() */
};

struct bth_siphash {
        uint64_t h[2];
};

struct bth_siphash bth_siphash_of(const struct bth_siphash_key *key, const void *data, size_t n);
