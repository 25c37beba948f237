/* SPDX-License-Identifier: GPL-3.0-or-later */
/* md5-lanes - what the MD5 engines have in common. Private to crypto/. */
#pragma once

#include "base/macros.h"

#define CRY_MD5_MAX_LANES 16

/* Takes `n_blocks` blocks of 64 bytes from each lane: h[word][lane] is updated, at[lane] moves on.
 */
typedef void (*cry_md5_lanes_fn)(uint32_t h[4][CRY_MD5_MAX_LANES],
                                 const uint8_t *at[CRY_MD5_MAX_LANES], size_t n_blocks);

void cry_md5_lanes_avx2(uint32_t h[4][CRY_MD5_MAX_LANES], const uint8_t *at[CRY_MD5_MAX_LANES],
                        size_t n_blocks);
void cry_md5_lanes_avx512(uint32_t h[4][CRY_MD5_MAX_LANES], const uint8_t *at[CRY_MD5_MAX_LANES],
                          size_t n_blocks);
