/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cryptsetup - a volume of nothing but metadata, and libcryptsetup on it.
 * It takes a path, knows no offset inside a disk, and reads only the first metadata copy; so a
 * memfd gets the volume's length, its first sector, and the intact copy at all three places. */
#include <fcntl.h>
#include <libcryptsetup.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/io.h"
#include "base/log.h"
#include "crypto/cryptsetup.h"
#include "crypto/fve.h"

#define BOOT_BYTES 512

static void on_log(int level, const char *message, void *userdata)
{
        /* Its messages may say what a credential looks like; they are for developers only. */
        bth_debug("libcryptsetup: %s", message);
}

/* The first sector may name wrong places; ours names the intact copy's. */
static int write_boot(const struct cry_metadata *m, const struct fve_block_header *h, int fd)
{
        uint8_t boot[BOOT_BYTES];
        const struct fve_boot_record *record;
        bool eow;

        memcpy(boot, m->boot, sizeof boot);
        record = fve_find_record(boot, &eow);
        if (!record)
                return -EBADMSG;
        memcpy(boot + ((const uint8_t *)record - boot) + offsetof(struct fve_boot_record, copies),
               h->copies, sizeof h->copies);
        return bth_pwrite_full(fd, boot, sizeof boot, 0);
}

static int make_volume(const struct cry_metadata *m, int *ret_fd)
{
        _cleanup_close_ int fd = memfd_create("berth-bitlocker-metadata", MFD_CLOEXEC);
        const struct fve_block_header *h = (const struct fve_block_header *)(const void *)m->block;
        int r = 0;

        if (fd < 0)
                return -errno;
        if (ftruncate(fd, (off_t)m->volume_bytes) < 0)
                return -errno;
        r = write_boot(m, h, fd);
        for (size_t i = 0; r == 0 && i < CRY_FVE_COPIES; i++)
                r = bth_pwrite_full(fd, m->block, CRY_FVE_REGION_BYTES, le64_get(h->copies[i]));
        if (r == 0)
                *ret_fd = take_fd(fd);
        return r;
}

int cry_cryptsetup_key(const struct cry_metadata *m, const struct bth_secret *credential,
                       struct bth_secret **ret_key)
{
        _cleanup_(bth_secret_freep) struct bth_secret *key = NULL;
        _cleanup_close_ int fd = BTH_FD_NONE;
        struct crypt_device *cd = NULL;
        char path[40];
        size_t n = 64;
        int r = make_volume(m, &fd);

        if (r == 0)
                r = bth_secret_new(n, &key);
        if (r < 0)
                return r;
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        crypt_set_log_callback(NULL, on_log, NULL);
        if (crypt_init(&cd, path) < 0)
                return -ENOKEY;
        crypt_set_log_callback(cd, on_log, NULL);
        r = crypt_load(cd, CRYPT_BITLK, NULL);
        if (r == 0)
                r = crypt_volume_key_get(cd, CRYPT_ANY_SLOT, (char *)key->data, &n,
                                         (const char *)credential->data, credential->length_bytes);
        crypt_free(cd);
        if (r < 0 || n == 0 || n > key->length_bytes)
                return -ENOKEY;
        bth_secret_truncate(key, n);
        *ret_key = take_ptr(key);
        return 0;
}
