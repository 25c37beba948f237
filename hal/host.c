/* SPDX-License-Identifier: GPL-3.0-or-later */
/* host - small reads and writes of sysfs attributes, and ioctl(2) that can be replaced. */
#include "hal/host.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/io.h"
#include "base/str.h"

const char *hal_host_sysfs(const struct hal_host *host)
{
        return host && host->sysfs ? host->sysfs : "/sys";
}

int hal_host_ioctl(const struct hal_host *host, int fd, unsigned long request, void *argument)
{
        if (host && host->ioctl)
                return host->ioctl(host->userdata, fd, request, argument);
        return ioctl(fd, request, argument) < 0 ? -errno : 0;
}

int hal_host_read_bytes(int dirfd, const char *name, void *buffer, size_t max_bytes, size_t *ret_n)
{
        _cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        ssize_t n;

        if (fd < 0)
                return -errno;
        /* An attribute comes whole with the first read; a second one would ask the drive again. */
        do
                n = read(fd, buffer, max_bytes);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        *ret_n = (size_t)n;
        return 0;
}

int hal_host_read_text(int dirfd, const char *name, char ret_text[HAL_HOST_TEXT_MAX])
{
        char text[HAL_HOST_TEXT_MAX];
        size_t n, start = 0;
        int r = hal_host_read_bytes(dirfd, name, text, sizeof text, &n);

        if (r < 0)
                return r;
        if (n == sizeof text)
                return -EFBIG;
        n = strnlen(text, n);
        while (n > 0 && (unsigned char)text[n - 1] <= ' ')
                n--;
        while (start < n && (unsigned char)text[start] <= ' ')
                start++;
        memcpy(ret_text, text + start, n - start);
        ret_text[n - start] = '\0';
        return 0;
}

int hal_host_read_u64(int dirfd, const char *name, uint64_t *ret_value)
{
        char text[HAL_HOST_TEXT_MAX];
        int r = hal_host_read_text(dirfd, name, text);

        if (r < 0)
                return r;
        return bth_parse_u64(text, ret_value) < 0 ? -EINVAL : 0;
}

int hal_host_write_text(int dirfd, const char *name, const char *text)
{
        _cleanup_close_ int fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC | O_NOCTTY);

        return fd < 0 ? -errno : bth_write_full(fd, text, strlen(text));
}

int hal_host_open_folder(const struct hal_host *host, const char *path, int *ret_dirfd)
{
        _cleanup_free_ char *full = NULL;
        int fd;

        if (asprintf(&full, "%s/%s", hal_host_sysfs(host), path) < 0) {
                full = NULL;
                return -ENOMEM;
        }
        fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_dirfd = fd;
        return 0;
}
