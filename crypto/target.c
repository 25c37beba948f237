/* SPDX-License-Identifier: GPL-3.0-or-later */
/* target - three questions before the first write. */
#include <blkid.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/io.h"
#include "base/str.h"
#include "crypto/target.h"

#define MOUNTINFO_MAX ((size_t)16 << 20)

static int busy(struct bth_error *error, const char *why)
{
        return bth_error_set(error, -EBUSY, BTH_REASON_DEVICE_BUSY, "the device is in use: %s",
                             why);
}

/* Is the device, or a partition of it, mounted? O_EXCL asks the same; this one can say so by name,
 * and also sees image files that something has attached and mounted by their path. */
static int check_mounts(const struct stat *st, const char *path, struct bth_error *error)
{
        _cleanup_free_ char *text = NULL;
        char number[32], *line, *rest;
        int r = bth_read_file("/proc/self/mountinfo", MOUNTINFO_MAX, &text, NULL);

        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_DEVICE_BUSY,
                                     "what is mounted cannot be told: %s", bth_strerror(r));
        (void)snprintf(number, sizeof number, " %u:%u ", major(st->st_rdev), minor(st->st_rdev));
        for (rest = text; (line = strsep(&rest, "\n"));) {
                const char *source = strstr(line, " - "), *type_end;

                if (S_ISBLK(st->st_mode) && strstr(line, number))
                        return busy(error, "it is mounted");
                source = source ? strchr(source + 3, ' ') : NULL;
                type_end = source ? strchr(source + 1, ' ') : NULL;
                if (type_end && (size_t)(type_end - source - 1) == strlen(path) &&
                    memcmp(source + 1, path, strlen(path)) == 0)
                        return busy(error, "it is mounted");
        }
        return 0;
}

static int open_and_hold(const char *path, struct stat *st, int *ret_fd, struct bth_error *error)
{
        _cleanup_close_ int fd = BTH_FD_NONE;
        int flags = O_RDWR | O_CLOEXEC | O_NOCTTY;

        if (stat(path, st) < 0)
                return bth_error_set(error, -errno, BTH_REASON_FILE_UNREADABLE,
                                     "it cannot be opened: %s", bth_strerror(-errno));
        if (!S_ISBLK(st->st_mode) && !S_ISREG(st->st_mode))
                return bth_error_set(error, -ENOTBLK, BTH_REASON_USAGE,
                                     "it is neither a block device nor an image file");
        fd = open(path, S_ISBLK(st->st_mode) ? flags | O_EXCL : flags);
        if (fd < 0 && errno == EBUSY)
                return busy(error, "it is mounted or held by another driver");
        if (fd < 0)
                return bth_error_set(error, -errno, BTH_REASON_FILE_UNWRITABLE,
                                     "it cannot be opened for writing: %s", bth_strerror(-errno));
        if (S_ISREG(st->st_mode) && flock(fd, LOCK_EX | LOCK_NB) < 0)
                return busy(error, "another program holds the image");
        *ret_fd = take_fd(fd);
        return 0;
}

static int check_size(int fd, const struct stat *st, uint64_t expect_bytes, uint64_t *ret_bytes,
                      struct bth_error *error)
{
        uint64_t bytes = (uint64_t)st->st_size;

        if (S_ISBLK(st->st_mode) && ioctl(fd, BLKGETSIZE64, &bytes) < 0)
                return bth_error_set(error, -errno, BTH_REASON_DRIVE_READ_ERROR,
                                     "its size cannot be told: %s", bth_strerror(-errno));
        *ret_bytes = bytes;
        if (expect_bytes == 0 || bytes == expect_bytes)
                return 0;
        return bth_error_set(
                error, bytes > expect_bytes ? -EFBIG : -ENOSPC, BTH_REASON_DEVICE_WRONG_SIZE,
                "it has %" PRIu64 " bytes, and %" PRIu64 " were expected", bytes, expect_bytes);
}

/* What libblkid sees first: a table, then a file system or anything else with a signature. */
static int find_content(int fd, char what[64], struct bth_error *error)
{
        blkid_probe probe = blkid_new_probe();
        const char *value = NULL;
        int r;

        if (!probe)
                return -ENOMEM;
        if (blkid_probe_set_device(probe, fd, 0, 0) < 0) {
                blkid_free_probe(probe);
                return bth_error_set(error, -EIO, BTH_REASON_DRIVE_READ_ERROR,
                                     "what is on it cannot be told");
        }
        (void)blkid_probe_enable_superblocks(probe, 1);
        (void)blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE);
        (void)blkid_probe_enable_partitions(probe, 1);
        what[0] = '\0';
        /* One signature after the other, so that two of them do not hide each other. */
        while ((r = blkid_do_probe(probe)) == 0) {
                if (blkid_probe_lookup_value(probe, "PTTYPE", &value, NULL) == 0)
                        (void)snprintf(what, 64, "a partition table (%.30s)", value);
                else if (blkid_probe_lookup_value(probe, "TYPE", &value, NULL) == 0)
                        (void)snprintf(what, 64, "a volume (%.40s)", value);
                if (what[0] != '\0')
                        break;
        }
        blkid_free_probe(probe);
        return r < 0 ? bth_error_set(error, -EIO, BTH_REASON_DRIVE_READ_ERROR,
                                     "what is on it cannot be told")
                     : 0;
}

int cry_target_open(const char *path, const struct cry_target_params *params, int *ret_fd,
                    uint64_t *ret_bytes, struct bth_error *error)
{
        _cleanup_close_ int fd = BTH_FD_NONE;
        uint64_t bytes = 0;
        char what[64];
        struct stat st;
        int r;

        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        r = open_and_hold(path, &st, &fd, error);
        if (r == 0)
                r = check_mounts(&st, path, error);
        if (r == 0)
                r = check_size(fd, &st, params->expect_bytes, &bytes, error);
        if (r == 0)
                r = find_content(fd, what, error);
        if (r < 0)
                return r;
        if (what[0] != '\0' && !params->destroy)
                return bth_error_set(error, -ENOTEMPTY, BTH_REASON_DEVICE_NOT_EMPTY,
                                     "the device holds %s", what);
        *ret_fd = take_fd(fd);
        *ret_bytes = bytes;
        return 0;
}
