/* SPDX-License-Identifier: GPL-3.0-or-later */
/* preload-drive - makes a file read like a failing drive, in a program that is none the wiser.
 *
 *   LD_PRELOAD=…/preload-drive.so BERTH_DRIVE_BYTES=SIZE BERTH_DRIVE_FAULT=eio|stall
 *   BERTH_DRIVE_FROM=OFFSET BERTH_DRIVE_TO=OFFSET
 *
 * Reads by pread(2) of a file of exactly SIZE bytes that touch [FROM, TO) fail with EIO, or do not
 * come back. With BERTH_SYNC_FAULT=eio it is the station's disk that fails: fdatasync(2) of any
 * file. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef ssize_t (*pread_fn)(int fd, void *buffer, size_t n, off_t offset);

static unsigned long long number(const char *name)
{
        const char *text = getenv(name);
        unsigned long long value = 0;

        for (; text && *text >= '0' && *text <= '9'; text++)
                value = value * 10 + (unsigned)(*text - '0');
        return value;
}

static ssize_t faulty(const char *name, int fd, void *buffer, size_t n, off_t offset)
{
        const char *fault = getenv("BERTH_DRIVE_FAULT");
        unsigned long long at = (unsigned long long)offset;
        void *symbol = dlsym(RTLD_NEXT, name);
        struct stat st;
        pread_fn next;

        memcpy(&next, &symbol, sizeof next);
        if (fault && fstat(fd, &st) == 0 &&
            (unsigned long long)st.st_size == number("BERTH_DRIVE_BYTES") &&
            at < number("BERTH_DRIVE_TO") && at + n > number("BERTH_DRIVE_FROM")) {
                while (strcmp(fault, "stall") == 0)
                        (void)sleep(3600);
                errno = EIO;
                return -1;
        }
        return next(fd, buffer, n, offset);
}

__attribute__((visibility("default"))) ssize_t pread(int fd, void *buffer, size_t n, off_t offset);
__attribute__((visibility("default"))) ssize_t pread64(int fd, void *buffer, size_t n,
                                                       off_t offset);

ssize_t pread(int fd, void *buffer, size_t n, off_t offset)
{
        return faulty("pread", fd, buffer, n, offset);
}

ssize_t pread64(int fd, void *buffer, size_t n, off_t offset)
{
        return faulty("pread64", fd, buffer, n, offset);
}

__attribute__((visibility("default"))) int fdatasync(int fd);

int fdatasync(int fd)
{
        void *symbol = dlsym(RTLD_NEXT, "fdatasync");
        int (*next)(int);

        if (getenv("BERTH_SYNC_FAULT")) {
                errno = EIO;
                return -1;
        }
        memcpy(&next, &symbol, sizeof next);
        return next(fd);
}
