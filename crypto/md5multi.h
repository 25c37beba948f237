/* SPDX-License-Identifier: GPL-3.0-or-later */
/* md5multi - MD5 of many independent streams at once.
 *
 * One stream of MD5 is a chain that no processor can shorten; sixteen streams side by side fill its
 * vectors. Each stream has its own state and takes its data in pieces of any length, so large
 * blocks are hashed in slices. AVX-512: 16 lanes, AVX2: 8, otherwise libcrypto one after the other.
 * Source: RFC 1321. */
#pragma once

#include "base/macros.h"

/* A stream under way. Plain data: may be copied, and kept on disk between two runs. */
struct cry_md5 {
        uint32_t h[4];
        uint64_t length_bytes;
        uint8_t pending[64]; /* the last length_bytes % 64 bytes */
};

struct cry_md5_job {
        struct cry_md5 *md5;
        const void *data; /* any alignment */
        size_t length_bytes;
};

enum cry_md5_engine {
        CRY_MD5_BEST,
        CRY_MD5_LIBRARY,
        CRY_MD5_AVX2,
        CRY_MD5_AVX512,
        _CRY_MD5_ENGINE_MAX,
        _CRY_MD5_ENGINE_INVALID = -EINVAL,
};
const char *cry_md5_engine_to_string(enum cry_md5_engine engine);
bool cry_md5_engine_available(enum cry_md5_engine engine);

void cry_md5_init(struct cry_md5 *md5);

/* Adds each job's data to its stream; the jobs' data and length are spent by that. No stream may
 * stand in two jobs. Best with sixteen jobs or more of similar length; a lane whose job ends takes
 * the next one, so long jobs belong to the front. Any thread; no memory is allocated. */
void cry_md5_update_many(struct cry_md5_job *jobs, size_t n_jobs);
void cry_md5_update_many_with(enum cry_md5_engine engine, struct cry_md5_job *jobs, size_t n_jobs);
/* One stream alone. */
void cry_md5_update(struct cry_md5 *md5, const void *data, size_t length_bytes);

/* The hash of all that was added; the stream is not changed. */
void cry_md5_finish(const struct cry_md5 *md5, uint8_t ret_hash[16]);
