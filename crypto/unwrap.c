/* SPDX-License-Identifier: GPL-3.0-or-later */
/* unwrap - AES-256-CCM and stretching through libcrypto. */
#define OPENSSL_SUPPRESS_DEPRECATED    /* a million hashes of 88 bytes: the old calls cost half of \
                                          EVP's */
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/sha.h>

#include "base/str.h"
#include "base/utf.h"
#include "crypto/unwrap.h"

#define STRETCH_ROUNDS     0x100000
#define PASSWORD_MAX_UNITS 256

static EVP_CIPHER_CTX *context_free(EVP_CIPHER_CTX *c)
{
        EVP_CIPHER_CTX_free(c);
        return NULL;
}
DEFINE_CLEANUP(context_free, EVP_CIPHER_CTX *);

static int begin_ccm(EVP_CIPHER_CTX *c, bool encrypt, const uint8_t *key, const uint8_t *nonce,
                     uint8_t *tag, size_t n)
{
        int length;

        /* The order is prescribed: cipher, lengths and tag, key and nonce, message length. */
        if (EVP_CipherInit_ex(c, EVP_aes_256_ccm(), NULL, NULL, NULL, encrypt) != 1 ||
            EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_IVLEN, FVE_NONCE_BYTES, NULL) != 1 ||
            EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, FVE_MAC_BYTES, tag) != 1 ||
            EVP_CipherInit_ex(c, NULL, NULL, key, nonce, encrypt) != 1 ||
            EVP_CipherUpdate(c, NULL, &length, NULL, (int)n) != 1)
                return -EIO;
        return 0;
}

int cry_ccm_unwrap(const uint8_t key[FVE_KEY_BYTES], const uint8_t *body, size_t n,
                   uint8_t *ret_plain)
{
        _cleanup_(context_freep) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
        uint8_t tag[FVE_MAC_BYTES];
        int length, r;

        if (!c)
                return -EIO;
        if (n <= FVE_NONCE_BYTES + FVE_MAC_BYTES || n > UINT16_MAX)
                return -EBADMSG;
        n -= FVE_NONCE_BYTES + FVE_MAC_BYTES;
        memcpy(tag, body + FVE_NONCE_BYTES, sizeof tag);
        r = begin_ccm(c, false, key, body, tag, n);
        if (r < 0)
                return r;
        return EVP_CipherUpdate(c, ret_plain, &length, body + FVE_NONCE_BYTES + FVE_MAC_BYTES,
                                (int)n) == 1
                       ? 0
                       : -EKEYREJECTED;
}

int cry_ccm_wrap(const uint8_t key[FVE_KEY_BYTES], const uint8_t nonce[FVE_NONCE_BYTES],
                 const uint8_t *plain, size_t n, uint8_t *ret_body)
{
        _cleanup_(context_freep) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
        uint8_t *tag = ret_body + FVE_NONCE_BYTES;
        int length;

        if (!c || begin_ccm(c, true, key, nonce, NULL, n) < 0)
                return -EIO;
        memcpy(ret_body, nonce, FVE_NONCE_BYTES);
        if (EVP_CipherUpdate(c, tag + FVE_MAC_BYTES, &length, plain, (int)n) != 1 ||
            EVP_CipherFinal_ex(c, tag + FVE_MAC_BYTES + length, &length) != 1 ||
            EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, FVE_MAC_BYTES, tag) != 1)
                return -EIO;
        return 0;
}

int cry_unwrap_key(const uint8_t key[FVE_KEY_BYTES], const uint8_t *body, size_t n,
                   uint16_t *ret_kind, struct bth_secret **ret_key)
{
        uint8_t plain[CRY_WRAPPED_KEY_MAX];
        size_t length;
        int r;

        if (n <= FVE_NONCE_BYTES + FVE_MAC_BYTES + FVE_KEY_HEADER_BYTES ||
            n > FVE_NONCE_BYTES + FVE_MAC_BYTES + sizeof plain)
                return -EBADMSG;
        length = n - FVE_NONCE_BYTES - FVE_MAC_BYTES;
        r = cry_ccm_unwrap(key, body, n, plain);
        if (r == 0 && (bth_load_le16(plain) != length || bth_load_le16(plain + 4) != FVE_TYPE_KEY))
                r = -EBADMSG;
        if (r == 0) {
                *ret_kind = bth_load_le16(plain + 8);
                r = bth_secret_new_copy(plain + FVE_KEY_HEADER_BYTES, length - FVE_KEY_HEADER_BYTES,
                                        ret_key);
        }
        bth_wipe(plain, sizeof plain);
        return r;
}

int cry_stretch(const uint8_t initial[FVE_KEY_BYTES], const uint8_t salt[FVE_SALT_BYTES],
                uint8_t ret_key[FVE_KEY_BYTES])
{
        struct {
                uint8_t last[32];
                uint8_t initial[32];
                uint8_t salt[16];
                le64_t count;
        } record = { 0 };
        SHA256_CTX c;
        int r = 0;

        memcpy(record.initial, initial, 32);
        memcpy(record.salt, salt, 16);
        for (uint64_t count = 0; r == 0 && count < STRETCH_ROUNDS; count++) {
                record.count = le64_make(count);
                if (SHA256_Init(&c) != 1 || SHA256_Update(&c, &record, sizeof record) != 1 ||
                    SHA256_Final(record.last, &c) != 1)
                        r = -EIO;
        }
        memcpy(ret_key, record.last, 32);
        bth_wipe(&record, sizeof record);
        bth_wipe(&c, sizeof c);
        return r;
}

static int sha256(const void *data, size_t n, uint8_t ret[32])
{
        return SHA256(data, n, ret) ? 0 : -EIO;
}

int cry_password_initial(const struct bth_secret *password, uint8_t ret[FVE_KEY_BYTES])
{
        uint8_t units[2 * PASSWORD_MAX_UNITS], once[32];
        size_t n = 0;
        int r = bth_utf8_to_utf16((const char *)password->data, password->length_bytes, units,
                                  PASSWORD_MAX_UNITS, &n);

        if (r == -ENOSPC)
                r = -EKEYREJECTED; /* longer than Windows lets a password be */
        if (r == 0)
                r = sha256(units, 2 * n, once);
        if (r == 0)
                r = sha256(once, sizeof once, ret);
        bth_wipe(units, sizeof units);
        bth_wipe(once, sizeof once);
        return r;
}

int cry_recovery_parse(const struct bth_secret *password, uint8_t ret_binary[16],
                       unsigned *ret_group)
{
        const char *text = (const char *)password->data;

        *ret_group = 0;
        if (password->length_bytes != 55)
                return -EINVAL;
        for (unsigned group = 0; group < 8; group++) {
                uint64_t v = 0;

                if (bth_parse_u64_n(text + 7 * group, 6, &v) < 0 ||
                    (group < 7 && text[7 * group + 6] != '-'))
                        return -EINVAL;
                if (v % 11 != 0 || v / 11 > UINT16_MAX) {
                        *ret_group = group + 1;
                        return -EINVAL;
                }
                bth_store_le16(ret_binary + 2 * group, (uint16_t)(v / 11));
        }
        return 0;
}

void cry_recovery_format(const uint8_t binary[16], char ret_text[56])
{
        for (unsigned group = 0; group < 8; group++)
                (void)snprintf(ret_text + 7 * group, 8, "%06u%s",
                               (unsigned)bth_load_le16(binary + 2 * group) * 11,
                               group < 7 ? "-" : "");
}
