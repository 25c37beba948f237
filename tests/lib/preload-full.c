/* SPDX-License-Identifier: GPL-3.0-or-later */
/* preload-full - a full disk below one folder, while a flag file exists.
 *
 *   LD_PRELOAD=…/preload-full.so BERTH_FULL_FOLDER=FOLDER BERTH_FULL_FLAG=FILE
 *
 * Writes to files below FOLDER, and growing them, fail with ENOSPC; statvfs(3) tells no space. */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

typedef ssize_t (*pwrite_fn)(int fd, const void *data, size_t n, off_t offset);
typedef ssize_t (*write_fn)(int fd, const void *data, size_t n);
typedef int (*statvfs_fn)(const char *path, struct statvfs *st);
typedef int (*statvfs64_fn)(const char *path, struct statvfs64 *st);

static int is_full(void)
{
        const char *flag = getenv("BERTH_FULL_FLAG");

        return flag && access(flag, F_OK) == 0;
}

static int is_in_folder(int fd)
{
        const char *folder = getenv("BERTH_FULL_FOLDER");
        char link[64], path[PATH_MAX];
        ssize_t n;

        if (!folder || !is_full())
                return 0;
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        n = readlink(link, path, sizeof path - 1);
        if (n < 0)
                return 0;
        path[n] = '\0';
        return strncmp(path, folder, strlen(folder)) == 0;
}

static void *next(const char *name)
{
        return dlsym(RTLD_NEXT, name);
}

static ssize_t full_pwrite(const char *name, int fd, const void *data, size_t n, off_t offset)
{
        void *symbol = next(name);
        pwrite_fn real;

        memcpy(&real, &symbol, sizeof real);
        if (is_in_folder(fd)) {
                errno = ENOSPC;
                return -1;
        }
        return real(fd, data, n, offset);
}

#define EXPORT __attribute__((visibility("default")))
EXPORT ssize_t pwrite(int fd, const void *data, size_t n, off_t offset);
EXPORT ssize_t pwrite64(int fd, const void *data, size_t n, off_t offset);
EXPORT ssize_t write(int fd, const void *data, size_t n);
EXPORT int statvfs(const char *path, struct statvfs *st);
EXPORT int statvfs64(const char *path, struct statvfs64 *st);

ssize_t pwrite(int fd, const void *data, size_t n, off_t offset)
{
        return full_pwrite("pwrite", fd, data, n, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off_t offset)
{
        return full_pwrite("pwrite64", fd, data, n, offset);
}

ssize_t write(int fd, const void *data, size_t n)
{
        void *symbol = next("write");
        write_fn real;

        memcpy(&real, &symbol, sizeof real);
        if (is_in_folder(fd)) {
                errno = ENOSPC;
                return -1;
        }
        return real(fd, data, n);
}

int statvfs(const char *path, struct statvfs *st)
{
        void *symbol = next("statvfs");
        statvfs_fn real;
        int r;

        memcpy(&real, &symbol, sizeof real);
        r = real(path, st);
        if (r == 0 && is_full())
                st->f_bavail = st->f_bfree = 0;
        return r;
}

int statvfs64(const char *path, struct statvfs64 *st)
{
        void *symbol = next("statvfs64");
        statvfs64_fn real;
        int r;

        memcpy(&real, &symbol, sizeof real);
        r = real(path, st);
        if (r == 0 && is_full())
                st->f_bavail = st->f_bfree = 0;
        return r;
}
