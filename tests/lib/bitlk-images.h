/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bitlk-images - the real BitLocker volumes that Windows made, unpacked for a test. */
#pragma once

#include "base/secret.h"
#include "crypto/unlock.h"

#define BITLK_MAX_CREDENTIALS 4

struct bitlk_image {
        char name[64];
        char path[256]; /* unpacked, sparse, in a folder of its own */
        uint64_t size_bytes;
        char plain_sha256[65]; /* "" where none exists */
        char cipher[32];
        uint32_t sector_bytes;
        struct {
                enum cry_credential_kind kind;
                struct bth_secret *secret; /* NULL for none */
        } credentials[BITLK_MAX_CREDENTIALS];
        size_t n_credentials;
};

/* Unpacks all images below $TMPDIR (else /tmp). Returns their number, or -ENOENT when the data are
 * not there (say so and skip), other negative errno. */
int bitlk_images_open(struct bitlk_image **ret_images);
void bitlk_images_close(struct bitlk_image *images, int n);

/* Unpacks one image into memory, without reading the table of credentials. Returns a descriptor;
 * -ENOENT when the data are not there; other negative errno. */
int bitlk_image_memfd(const char *name);
