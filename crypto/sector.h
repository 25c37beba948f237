/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sector - the ciphers that BitLocker applies to sectors, on many sectors a call.
 *
 * The tweaks (CBC: IVs, Elephant: sector keys) of many sectors are encrypted together, and the
 * widest AES instructions of the machine are used; libcrypto is the fallback and the oracle of the
 * tests. Source: BitLocker specification 6, 7, 14; IEEE 1619 (XTS). A cipher is read-only after its
 * making: any number of threads may use one at once. */
#pragma once

#include "base/macros.h"

/* Values are those of the volume's metadata (specification 7). */
enum cry_method {
        CRY_METHOD_AES_CBC_128_ELEPHANT = 0x8000,
        CRY_METHOD_AES_CBC_256_ELEPHANT = 0x8001,
        CRY_METHOD_AES_CBC_128 = 0x8002,
        CRY_METHOD_AES_CBC_256 = 0x8003,
        CRY_METHOD_AES_XTS_128 = 0x8004,
        CRY_METHOD_AES_XTS_256 = 0x8005,
};

/* "AES-XTS-128" …; NULL for another value. */
const char *cry_method_to_string(enum cry_method method);
/* Bytes of the key in the metadata: 16, 32 or 64; 0 for another value. */
size_t cry_method_key_bytes(enum cry_method method);

/* Who does the work. Benchmarks and tests choose; everybody else takes CRY_ENGINE_BEST. */
enum cry_engine {
        CRY_ENGINE_BEST,
        CRY_ENGINE_LIBRARY, /* libcrypto, a call a sector */
        CRY_ENGINE_AESNI,   /* 128 bit */
        CRY_ENGINE_VAES256, /* AVX2 width */
        CRY_ENGINE_VAES512, /* AVX-512 */
        _CRY_ENGINE_MAX,
        _CRY_ENGINE_INVALID = -EINVAL,
};
const char *cry_engine_to_string(enum cry_engine engine);
/* Can this machine run it? */
bool cry_engine_available(enum cry_engine engine);

struct cry_sector_cipher;

/* Prepares a cipher. Keys and round keys lie in locked memory that no core dump takes, and nowhere
 * else behind a call; only the library's engine has its own on the heap, wiped by _free.
 *   key, key_bytes  as in the volume's metadata: cry_method_key_bytes() of them
 *   sector_bytes    512 or 4096: the unit of encryption
 * Returns 0; -EINVAL for another method, key length or sector size, or XTS with equal halves;
 * -ENOTSUP for an engine that this machine lacks; -ENOMEM. */
int cry_sector_cipher_new(enum cry_method method, const uint8_t *key, size_t key_bytes,
                          uint32_t sector_bytes, struct cry_sector_cipher **ret_cipher)
        _must_check_;
int cry_sector_cipher_new_with(enum cry_engine engine, enum cry_method method, const uint8_t *key,
                               size_t key_bytes, uint32_t sector_bytes,
                               struct cry_sector_cipher **ret_cipher) _must_check_;
struct cry_sector_cipher *cry_sector_cipher_free(struct cry_sector_cipher *c); /* NULL is fine */
DEFINE_CLEANUP(cry_sector_cipher_free, struct cry_sector_cipher *);

enum cry_engine cry_sector_cipher_engine(const struct cry_sector_cipher *c);

/* Whole sectors, in place or from `in` to `out` (no other overlap), any alignment.
 *   offset_bytes  where the first sector lies on the volume, physically (specification 6)
 *   length_bytes  a multiple of the sector size
 * Returns 0; -EINVAL when offset or length are not whole sectors; -ENOMEM, -EIO only from the
 * library. */
int cry_sector_decrypt(const struct cry_sector_cipher *c, uint64_t offset_bytes, const void *in,
                       void *out, size_t length_bytes) _must_check_;
int cry_sector_encrypt(const struct cry_sector_cipher *c, uint64_t offset_bytes, const void *in,
                       void *out, size_t length_bytes) _must_check_;
