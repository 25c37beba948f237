/* SPDX-License-Identifier: GPL-3.0-or-later */
/* digest - one stream of MD5 or SHA-256 through libcrypto, for manifests and small files.
 * Many streams at once are crypto/md5multi. One digest belongs to one thread. */
#pragma once

#include "base/macros.h"

enum bth_digest_kind {
        BTH_DIGEST_MD5,
        BTH_DIGEST_SHA256,
        BTH_DIGEST_SHA512,
        _BTH_DIGEST_MAX,
        _BTH_DIGEST_INVALID = -EINVAL,
};

#define BTH_MD5_BYTES        16
#define BTH_SHA256_BYTES     32
#define BTH_DIGEST_MAX_BYTES 64

struct bth_digest;

/* Bytes of a result: 16, 32 or 64. */
size_t bth_digest_size(enum bth_digest_kind kind) _const_;

/* Returns 0, -EINVAL, -ENOMEM, -ENOTSUP where the library refuses the algorithm. */
int bth_digest_new(enum bth_digest_kind kind, struct bth_digest **ret_digest) _must_check_;
/* Returns 0 or -EIO when the library fails. */
int bth_digest_update(struct bth_digest *d, const void *data, size_t n) _must_check_;
/* Writes bth_digest_size() bytes and makes the digest ready for a new message. Returns 0 or -EIO.
 */
int bth_digest_finish(struct bth_digest *d, uint8_t *ret_bytes) _must_check_;
struct bth_digest *bth_digest_free(struct bth_digest *d);
DEFINE_CLEANUP(bth_digest_free, struct bth_digest *);

/* One message in one call. Returns 0, -EINVAL, -ENOMEM, -ENOTSUP, -EIO. */
int bth_digest_of(enum bth_digest_kind kind, const void *data, size_t n, uint8_t *ret_bytes)
        _must_check_;
