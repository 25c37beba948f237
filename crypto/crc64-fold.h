/* SPDX-License-Identifier: GPL-3.0-or-later */
/* crc64-fold - what the CRC engines have in common. Private to crypto/.
 *
 * A chunk of 128 bits stands for L·x^64 + H, L its first eight bytes, bits reflected. Moved D bits
 * towards the front it is L·x^(D+64) + H·x^D, so two multiplications by constants bring it onto the
 * chunk D bits behind. A product of two reflected numbers comes out one bit short, so the constants
 * are for D - 1. */
#pragma once

#include "base/macros.h"

struct cry_crc64_fold {
        uint64_t low;  /* x^(D + 63) mod P, reflected: for L */
        uint64_t high; /* x^(D - 1) mod P, reflected: for H */
};

struct cry_crc64_constants {
        struct cry_crc64_fold by_128, by_512, by_2048;
};

/* Both take a state (not inverted) and at least 16 or 256 bytes, and fold as much as they can: the
 * state is spent, `rest` gets 16 bytes that stand for all that was folded. Return how many bytes
 * they took. */
size_t cry_crc64_fold_clmul(const struct cry_crc64_constants *k, uint64_t state,
                            const uint8_t *data, size_t n, uint8_t rest[16]);
size_t cry_crc64_fold_clmul512(const struct cry_crc64_constants *k, uint64_t state,
                               const uint8_t *data, size_t n, uint8_t rest[256]);
