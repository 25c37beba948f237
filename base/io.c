/* SPDX-License-Identifier: GPL-3.0-or-later */
/* io - whole reads and writes, small files, atomic replacement. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/guid.h"
#include "base/io.h"

/* Kernel calls move at most 0x7ffff000 bytes; ask for less, so that a count never surprises. */
#define IO_CHUNK_BYTES ((size_t)1 << 30)

int bth_pread_full(int fd, void *buffer, size_t n, uint64_t offset_bytes)
{
        uint8_t *p = buffer;

        if (offset_bytes > INT64_MAX || n > INT64_MAX - offset_bytes)
                return -EINVAL;
        while (n > 0) {
                ssize_t k = pread(fd, p, MIN(n, IO_CHUNK_BYTES), (off_t)offset_bytes);

                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (k == 0)
                        return -ENODATA;
                p += k;
                n -= (size_t)k;
                offset_bytes += (uint64_t)k;
        }
        return 0;
}

int bth_pwrite_full(int fd, const void *buffer, size_t n, uint64_t offset_bytes)
{
        const uint8_t *p = buffer;

        if (offset_bytes > INT64_MAX || n > INT64_MAX - offset_bytes)
                return -EINVAL;
        while (n > 0) {
                ssize_t k = pwrite(fd, p, MIN(n, IO_CHUNK_BYTES), (off_t)offset_bytes);

                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (k == 0)
                        return -EIO;
                p += k;
                n -= (size_t)k;
                offset_bytes += (uint64_t)k;
        }
        return 0;
}

int bth_read_full(int fd, void *buffer, size_t n)
{
        uint8_t *p = buffer;

        while (n > 0) {
                ssize_t k = read(fd, p, MIN(n, IO_CHUNK_BYTES));

                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (k == 0)
                        return -ENODATA;
                p += k;
                n -= (size_t)k;
        }
        return 0;
}

int bth_write_full(int fd, const void *buffer, size_t n)
{
        const uint8_t *p = buffer;

        while (n > 0) {
                ssize_t k = write(fd, p, MIN(n, IO_CHUNK_BYTES));

                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (k == 0)
                        return -EIO;
                p += k;
                n -= (size_t)k;
        }
        return 0;
}

int bth_read_fd(int fd, size_t max_bytes, char **ret_data, size_t *ret_n)
{
        _cleanup_free_ char *data = NULL;
        size_t allocated = 0, n = 0;

        for (;;) {
                ssize_t k;

                if (n == allocated) {
                        size_t grown = allocated == 0 ? 4096 : allocated * 2;
                        char *p = realloc(data, grown + 1);

                        if (!p)
                                return -ENOMEM;
                        data = p;
                        allocated = grown;
                }
                k = read(fd, data + n, allocated - n);
                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (k == 0)
                        break;
                n += (size_t)k;
                if (n > max_bytes)
                        return -EFBIG;
        }
        data[n] = '\0';
        *ret_data = take_ptr(data);
        if (ret_n)
                *ret_n = n;
        return 0;
}

int bth_read_file(const char *path, size_t max_bytes, char **ret_data, size_t *ret_n)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

        if (fd < 0)
                return -errno;
        return bth_read_fd(fd, max_bytes, ret_data, ret_n);
}

int bth_sync_folder_of(const char *path)
{
        _cleanup_close_ int fd = BTH_FD_NONE;
        char folder[PATH_MAX];
        const char *slash = strrchr(path, '/');

        if (!slash)
                (void)snprintf(folder, sizeof folder, ".");
        else if ((size_t)snprintf(folder, sizeof folder, "%.*s", (int)MAX(slash - path, 1), path) >=
                 sizeof folder)
                return -ENAMETOOLONG;
        fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return fsync(fd) < 0 ? -errno : 0;
}

static int write_new_file(const char *path, const void *data, size_t n, mode_t mode)
{
        _cleanup_close_ int fd =
                open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
        int r;

        if (fd < 0)
                return -errno;
        r = bth_write_full(fd, data, n);
        if (r == 0 && fchmod(fd, mode) < 0) /* the umask must not decide */
                r = -errno;
        if (r == 0 && fsync(fd) < 0)
                r = -errno;
        if (r < 0)
                (void)unlink(path);
        return r;
}

int bth_write_file_atomic(const char *path, const void *data, size_t n, mode_t mode)
{
        char temporary[PATH_MAX];
        uint64_t tag;
        int r = bth_random_bytes(&tag, sizeof tag);

        if (r < 0)
                return r;
        if ((size_t)snprintf(temporary, sizeof temporary, "%s.%016lx.tmp", path,
                             (unsigned long)tag) >= sizeof temporary)
                return -ENAMETOOLONG;
        r = write_new_file(temporary, data, n, mode);
        if (r < 0)
                return r;
        if (rename(temporary, path) < 0) {
                r = -errno;
                (void)unlink(temporary);
                return r;
        }
        return bth_sync_folder_of(path);
}

int bth_open_unlinked(const char *folder, int *ret_fd)
{
        char path[PATH_MAX];
        int fd;

        if (!folder)
                folder = getenv("TMPDIR");
        if (!folder)
                folder = "/var/tmp";
        fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
        if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
                if ((size_t)snprintf(path, sizeof path, "%s/berth-XXXXXX", folder) >= sizeof path)
                        return -ENAMETOOLONG;
                fd = mkostemp(path, O_CLOEXEC);
                if (fd >= 0 && unlink(path) < 0) {
                        int r = -errno;

                        (void)bth_close(fd);
                        return r;
                }
        }
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}
