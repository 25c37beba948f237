/* SPDX-License-Identifier: GPL-3.0-or-later */
/* unwrap - the primitives of BitLocker's key chain. Private to crypto/. Source: BitLocker
 * specification 5. */
#pragma once

#include "base/secret.h"
#include "crypto/fve.h"

#define CRY_WRAPPED_KEY_MAX 76 /* key datum with 64 bytes of key */

/* Takes a WRAPPED datum's body apart with AES-256-CCM. `ret_plain` gets n - 28 bytes.
 * Returns 0, -EKEYREJECTED when the tag does not fit, -EBADMSG for an impossible length, -EIO. */
int cry_ccm_unwrap(const uint8_t key[FVE_KEY_BYTES], const uint8_t *body, size_t n,
                   uint8_t *ret_plain) _must_check_;
/* The other way: nonce and plain text into a body of n + 28 bytes. Returns 0 or -EIO. */
int cry_ccm_wrap(const uint8_t key[FVE_KEY_BYTES], const uint8_t nonce[FVE_NONCE_BYTES],
                 const uint8_t *plain, size_t n, uint8_t *ret_body) _must_check_;

/* Unwraps a KEY datum and checks its form. Returns 0, the key's kind and secret; -EKEYREJECTED,
 * -EBADMSG, -EIO, -ENOMEM. */
int cry_unwrap_key(const uint8_t key[FVE_KEY_BYTES], const uint8_t *body, size_t n,
                   uint16_t *ret_kind, struct bth_secret **ret_key) _must_check_;

/* 2^20 rounds of SHA-256 from the first hash and the salt. Returns 0 or -EIO. */
int cry_stretch(const uint8_t initial[FVE_KEY_BYTES], const uint8_t salt[FVE_SALT_BYTES],
                uint8_t ret_key[FVE_KEY_BYTES]) _must_check_;

/* The first hash of a user password (UTF-8). Returns 0, -EILSEQ when it is not UTF-8, -EIO,
 * -ENOMEM. */
int cry_password_initial(const struct bth_secret *password, uint8_t ret[FVE_KEY_BYTES])
        _must_check_;
/* The 16 bytes behind a recovery password. Returns 0, or -EINVAL and the first wrong group, 1 to 8
 * (0: the shape is wrong). */
int cry_recovery_parse(const struct bth_secret *password, uint8_t ret_binary[16],
                       unsigned *ret_group) _must_check_;
/* "122221-244442-…" and NUL from 16 bytes. */
void cry_recovery_format(const uint8_t binary[16], char ret_text[56]);
