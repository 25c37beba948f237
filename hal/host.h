/* SPDX-License-Identifier: GPL-3.0-or-later */
/* host - where hal/ finds the machine, so that a test can put another one in its place.
 *
 * Everything in hal/ that looks into sysfs or asks a drive takes one of these. NULL means the real
 * machine: /sys and ioctl(2). Constant while in use; any thread. */
#pragma once

#include "base/macros.h"

struct hal_host {
        const char *sysfs; /* root of sysfs, no final slash; NULL: "/sys" */
        /* Does what ioctl(2) does and returns 0 or -errno. NULL: the real one. Called by any
         * thread. */
        int (*ioctl)(void *userdata, int fd, unsigned long request, void *argument);
        void *userdata; /* of ioctl */
};

#define HAL_HOST_TEXT_MAX 256 /* bytes of an attribute that is read as text, with NUL */

/* Root of sysfs; never NULL. `host` may be NULL here and below. */
const char *hal_host_sysfs(const struct hal_host *host) _pure_;

/* ioctl(2) with errno as return value. Returns 0 or -errno. */
int hal_host_ioctl(const struct hal_host *host, int fd, unsigned long request, void *argument)
        _must_check_;

/* Attributes of the sysfs folder `dirfd`, by a path below it. Text comes without the blanks at its
 * ends, cut at the first NUL. Each returns 0; -ENOENT and other errors of open(2) and read(2);
 * -EINVAL for a number that is none; -EFBIG for text that does not fit. */
int hal_host_read_text(int dirfd, const char *name, char ret_text[HAL_HOST_TEXT_MAX]) _must_check_;
int hal_host_read_u64(int dirfd, const char *name, uint64_t *ret_value) _must_check_;
/* Raw bytes, at most `max_bytes`. Returns 0 or -errno. */
int hal_host_read_bytes(int dirfd, const char *name, void *buffer, size_t max_bytes, size_t *ret_n)
        _must_check_;
/* Writes a small text in one write(2), as attributes want it. Returns 0 or -errno. */
int hal_host_write_text(int dirfd, const char *name, const char *text) _must_check_;

/* Opens a folder below the root of sysfs ("class/enclosure"). Returns 0 or -errno. */
int hal_host_open_folder(const struct hal_host *host, const char *path, int *ret_dirfd)
        _must_check_;
