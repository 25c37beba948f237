/* SPDX-License-Identifier: GPL-3.0-or-later */
/* crc64 - the checksum of the blob service: CRC-64/NVME.
 * Reflected polynomial 0x9A6C9329AC4BC9B5, initial value and final xor all ones; check("123456789")
 * = 0xAE8B14860A799888. Source: import-export specification 5.5; x-ms-content-crc64 (8 bytes
 * little-endian in base64). Any thread. */
#pragma once

#include "base/macros.h"

enum cry_crc64_engine {
        CRY_CRC64_BEST,
        CRY_CRC64_TABLE,    /* eight bytes a step */
        CRY_CRC64_CLMUL,    /* carry-less multiplication, 128 bit */
        CRY_CRC64_CLMUL512, /* the same, 512 bit */
        _CRY_CRC64_ENGINE_MAX,
        _CRY_CRC64_ENGINE_INVALID = -EINVAL,
};
const char *cry_crc64_engine_to_string(enum cry_crc64_engine engine);
bool cry_crc64_engine_available(enum cry_crc64_engine engine);

/* The checksum of what had `crc` (0: nothing) and then `data`. */
uint64_t cry_crc64(uint64_t crc, const void *data, size_t length_bytes);
uint64_t cry_crc64_with(enum cry_crc64_engine engine, uint64_t crc, const void *data,
                        size_t length_bytes);

/* The checksum of A followed by B, from theirs and B's length. */
uint64_t cry_crc64_combine(uint64_t crc_a, uint64_t crc_b, uint64_t length_b_bytes) _const_;
