/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sector-engine - what the engines of sector.c have in common. Private to crypto/. */
#pragma once

#include "base/macros.h"

#define CRY_AES_MAX_KEYS  15
#define CRY_BATCH_SECTORS 32 /* sectors whose tweaks are encrypted together */

/* One key schedule; the round keys stand four times side by side, so that each is a memory operand
 * for every width. Lies in locked memory. */
struct cry_aes_schedule {
        _Alignas(64) uint8_t keys[CRY_AES_MAX_KEYS][64];
};

struct cry_aes_keys {
        struct cry_aes_schedule encrypt;  /* data key */
        struct cry_aes_schedule decrypt;  /* data key, for the equivalent inverse cipher */
        struct cry_aes_schedule tweak;    /* XTS: second key. CBC: the data key. */
        struct cry_aes_schedule diffuser; /* Elephant: sector key */
        unsigned rounds;                  /* 10 or 14 */
};

/* Up to CRY_BATCH_SECTORS sectors; `numbers` are the values whose encryption is the tweak. */
struct cry_batch {
        const struct cry_aes_keys *keys;
        const uint8_t *in;
        uint8_t *out;
        size_t n_sectors;
        size_t sector_bytes;
        const uint64_t *numbers;
};

struct cry_engine_ops {
        void (*xts_decrypt)(const struct cry_batch *b);
        void (*xts_encrypt)(const struct cry_batch *b);
        void (*cbc_decrypt)(const struct cry_batch *b);
};

/* CBC encryption is one chain a sector, so several sectors go side by side, a block each; wider
 * vectors would only gather them. Serves all engines. Needs AES-NI. */
void cry_aesni_cbc_encrypt(const struct cry_batch *b);

extern const struct cry_engine_ops cry_engine_aesni;
extern const struct cry_engine_ops cry_engine_vaes256;
extern const struct cry_engine_ops cry_engine_vaes512;

/* Expands a key of 16 or 32 bytes; either schedule may be NULL. Needs AES-NI. */
void cry_aesni_expand(const uint8_t *key, size_t key_bytes, struct cry_aes_schedule *ret_encrypt,
                      struct cry_aes_schedule *ret_decrypt);
/* Encrypts `n` blocks of 16 bytes, each alone. Needs AES-NI. */
void cry_aesni_ecb(const struct cry_aes_schedule *s, unsigned rounds, const uint8_t *in,
                   uint8_t *out, size_t n);

/* Takes the diffuser off `n` sectors that lie one behind the other, and xors the sector keys (32
 * bytes each) in. */
typedef void (*cry_elephant_fn)(uint8_t *sectors, size_t n, size_t sector_bytes,
                                const uint8_t *sector_keys);
void cry_elephant_decrypt_portable(uint8_t *sectors, size_t n, size_t sector_bytes,
                                   const uint8_t *sector_keys);
void cry_elephant_decrypt_avx2(uint8_t *sectors, size_t n, size_t sector_bytes,
                               const uint8_t *sector_keys);
void cry_elephant_decrypt_avx512(uint8_t *sectors, size_t n, size_t sector_bytes,
                                 const uint8_t *sector_keys);
void cry_elephant_encrypt_portable(uint8_t *sectors, size_t n, size_t sector_bytes,
                                   const uint8_t *sector_keys);
