/* SPDX-License-Identifier: GPL-3.0-or-later */
/* digest - MD5, SHA-256 and SHA-512 of one stream through libcrypto. */
#include <openssl/evp.h>

#include "base/digest.h"

struct bth_digest {
        EVP_MD_CTX *context;
        const EVP_MD *algorithm;
        size_t size_bytes;
};

static const EVP_MD *algorithm_of(enum bth_digest_kind kind)
{
        switch (kind) {
        case BTH_DIGEST_MD5:
                return EVP_md5();
        case BTH_DIGEST_SHA256:
                return EVP_sha256();
        case BTH_DIGEST_SHA512:
                return EVP_sha512();
        default:
                return NULL;
        }
}

size_t bth_digest_size(enum bth_digest_kind kind)
{
        switch (kind) {
        case BTH_DIGEST_MD5:
                return 16;
        case BTH_DIGEST_SHA256:
                return 32;
        case BTH_DIGEST_SHA512:
                return 64;
        default:
                return 0;
        }
}

int bth_digest_new(enum bth_digest_kind kind, struct bth_digest **ret_digest)
{
        const EVP_MD *algorithm = algorithm_of(kind);
        _cleanup_(bth_digest_freep) struct bth_digest *d = NULL;

        if (!algorithm)
                return -EINVAL;
        d = calloc(1, sizeof *d);
        if (!d)
                return -ENOMEM;
        d->algorithm = algorithm;
        d->size_bytes = bth_digest_size(kind);
        d->context = EVP_MD_CTX_new();
        if (!d->context)
                return -ENOMEM;
        if (EVP_DigestInit_ex(d->context, algorithm, NULL) != 1)
                return -ENOTSUP;
        *ret_digest = take_ptr(d);
        return 0;
}

int bth_digest_update(struct bth_digest *d, const void *data, size_t n)
{
        return EVP_DigestUpdate(d->context, data, n) == 1 ? 0 : -EIO;
}

int bth_digest_finish(struct bth_digest *d, uint8_t *ret_bytes)
{
        unsigned n = 0;

        if (EVP_DigestFinal_ex(d->context, ret_bytes, &n) != 1 || n != d->size_bytes)
                return -EIO;
        return EVP_DigestInit_ex(d->context, d->algorithm, NULL) == 1 ? 0 : -EIO;
}

struct bth_digest *bth_digest_free(struct bth_digest *d)
{
        if (d) {
                EVP_MD_CTX_free(d->context);
                free(d);
        }
        return NULL;
}

int bth_digest_of(enum bth_digest_kind kind, const void *data, size_t n, uint8_t *ret_bytes)
{
        _cleanup_(bth_digest_freep) struct bth_digest *d = NULL;
        int r = bth_digest_new(kind, &d);

        if (r < 0)
                return r;
        r = bth_digest_update(d, data, n);
        return r < 0 ? r : bth_digest_finish(d, ret_bytes);
}
