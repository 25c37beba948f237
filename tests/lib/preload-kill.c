/* SPDX-License-Identifier: GPL-3.0-or-later */
/* preload-kill - ends a program at one of its system calls that change a file, as SIGKILL would.
 *
 * Loaded with LD_PRELOAD. Counts write(2), pwrite(2), fsync(2), fdatasync(2), ftruncate(2),
 * rename(2), unlink(2), mkdir(2) and rmdir(2), of all threads. With KILL_AT=N the program dies
 * before the Nth; with KILL_COUNT=FILE their number is left in FILE when it exits. Writes to what
 * is not a regular file (a terminal, a pipe) do not count, nor files without a name, nor the
 * removal of what is not there. */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_ulong n_calls;

static void count(void)
{
        const char *at = getenv("KILL_AT");
        char number[24];

        (void)snprintf(number, sizeof number, "%lu", (unsigned long)++n_calls);
        if (at && strcmp(at, number) == 0)
                (void)kill(getpid(), SIGKILL);
}

static void count_fd(int fd)
{
        struct stat st;

        if (fstat(fd, &st) == 0 && st.st_nlink > 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
                count();
}

static void __attribute__((destructor)) leave_count(void)
{
        const char *path = getenv("KILL_COUNT");
        FILE *f = path ? fopen(path, "w") : NULL;

        if (f) {
                (void)fprintf(f, "%lu\n", (unsigned long)n_calls);
                (void)fclose(f);
        }
}

#define NEXT(type, name) type next = (type)dlsym(RTLD_NEXT, name)

typedef ssize_t (*write_fn)(int, const void *, size_t);
typedef ssize_t (*pwrite_fn)(int, const void *, size_t, off_t);
typedef int (*fd_fn)(int);
typedef int (*truncate_fn)(int, off_t);
typedef int (*path_fn)(const char *);
typedef int (*paths_fn)(const char *, const char *);
typedef int (*mkdir_fn)(const char *, mode_t);

#define EXPORT __attribute__((visibility("default")))

EXPORT ssize_t write(int fd, const void *data, size_t n)
{
        NEXT(write_fn, "write");

        count_fd(fd);
        return next(fd, data, n);
}

EXPORT ssize_t pwrite64(int fd, const void *data, size_t n, off_t offset)
{
        NEXT(pwrite_fn, "pwrite64");

        count_fd(fd);
        return next(fd, data, n, offset);
}

EXPORT int fsync(int fd)
{
        NEXT(fd_fn, "fsync");

        count_fd(fd);
        return next(fd);
}

EXPORT int fdatasync(int fd)
{
        NEXT(fd_fn, "fdatasync");

        count_fd(fd);
        return next(fd);
}

EXPORT int ftruncate64(int fd, off_t length)
{
        NEXT(truncate_fn, "ftruncate64");

        count_fd(fd);
        return next(fd, length);
}

EXPORT int rename(const char *from, const char *to)
{
        NEXT(paths_fn, "rename");

        count();
        return next(from, to);
}

EXPORT int unlink(const char *path)
{
        NEXT(path_fn, "unlink");

        if (access(path, F_OK) == 0)
                count();
        return next(path);
}

EXPORT int mkdir(const char *path, mode_t mode)
{
        NEXT(mkdir_fn, "mkdir");

        count();
        return next(path, mode);
}

EXPORT int rmdir(const char *path)
{
        NEXT(path_fn, "rmdir");

        count();
        return next(path);
}
