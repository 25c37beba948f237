/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/lib/ntfs-image.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/io.h"

/* Runs a program in the folder; only its errors are seen. Its exit code, or -1. */
static int run(const char *folder, const char *const *argv)
{
        posix_spawn_file_actions_t actions;
        int status = -1;
        pid_t pid;

        if (posix_spawn_file_actions_init(&actions) != 0)
                return -1;
        (void)posix_spawn_file_actions_addchdir_np(&actions, folder);
        (void)posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
        if (posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, environ) != 0 ||
            waitpid(pid, &status, 0) != pid)
                status = -1;
        (void)posix_spawn_file_actions_destroy(&actions);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define RUN(folder, ...) run(folder, (const char *const[]){ __VA_ARGS__, NULL })

static int open_in(const struct ntfs_image *image, const char *name, int flags)
{
        char path[96];

        (void)snprintf(path, sizeof path, "%s/%s", image->folder, name);
        return open(path, flags | O_CLOEXEC, 0600);
}

static int prepare(const struct ntfs_image_options *o, const struct ntfs_image *image)
{
        _cleanup_close_ int script = open_in(image, "fill.py", O_WRONLY | O_CREAT);
        _cleanup_close_ int fd = open_in(image, "i", O_WRONLY | O_CREAT);

        if (script < 0 || fd < 0 || ftruncate(fd, (off_t)o->n_bytes) < 0 ||
            bth_write_full(script, o->script, strlen(o->script)) < 0)
                return -EIO;
        return RUN(image->folder, "mkdir", "m", "t") == 0 ? 0 : -EIO;
}

static int fill(const struct ntfs_image_options *o, const struct ntfs_image *image)
{
        int filled;

        if (RUN(image->folder, "mkntfs", "-qq", "-Q", "-F", "-L", o->label, "-s", o->sector, "-p",
                "0", "-H", "16", "-S", "63", "-c", o->cluster, "i") != 0 ||
            RUN(image->folder, "ntfs-3g", "-o", o->mount, "i", "m") != 0)
                return -EOPNOTSUPP;
        filled = RUN(image->folder, "python3", "fill.py", "m", "t");
        /* The mount point goes before the process that writes the image. */
        if (RUN(image->folder, "umount", "m") != 0)
                return -EIO;
        return filled == 0 ? 0 : -EIO;
}

static int load(const struct ntfs_image_options *o, struct ntfs_image *image)
{
        _cleanup_close_ int fd = open_in(image, "i", O_RDONLY);
        void *p = fd < 0 ? MAP_FAILED
                         : mmap(NULL, o->n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

        if (p == MAP_FAILED)
                return -errno;
        image->bytes = p;
        image->n_bytes = o->n_bytes;
        return 0;
}

int ntfs_image_make(const struct ntfs_image_options *o, struct ntfs_image *ret)
{
        /* In memory where that can be: ntfs-3g calls fsync for each file that it closes. */
        struct ntfs_image image = { .folder = "/dev/shm/berth-ntfs-XXXXXX" };
        int r;

        if (!mkdtemp(image.folder)) {
                image = (struct ntfs_image){ .folder = "/tmp/berth-ntfs-XXXXXX" };
                if (!mkdtemp(image.folder))
                        return -errno;
        }
        r = prepare(o, &image);
        if (r == 0)
                r = fill(o, &image);
        if (r == 0)
                r = load(o, &image);
        if (r < 0)
                ntfs_image_free(&image);
        else
                *ret = image;
        return r;
}

void ntfs_image_free(struct ntfs_image *image)
{
        if (image->bytes)
                (void)munmap(image->bytes, image->n_bytes);
        if (image->folder[0])
                (void)RUN("/", "rm", "-rf", "--one-file-system", image->folder);
        *image = (struct ntfs_image){ 0 };
}
