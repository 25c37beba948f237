/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "hal/eject.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>

#include "hal/scsi.h"

/* Where the attribute that lets go of a drive lies, from the folder of the disk. */
static const char *delete_attribute(enum hal_bus bus)
{
        switch (bus) {
        case HAL_BUS_ATA:
        case HAL_BUS_SCSI:
        case HAL_BUS_USB:
                return "device/delete";
        case HAL_BUS_NVME:
                return "device/device/remove"; /* of the PCI function below the controller */
        default:
                return NULL;
        }
}

static bool is_scsi(enum hal_bus bus)
{
        return bus == HAL_BUS_ATA || bus == HAL_BUS_SCSI || bus == HAL_BUS_USB;
}

/* The folder of the disk in sysfs, when it still is this docking. */
static int open_docking(const struct hal_host *host, const struct hal_identity *identity,
                        int *ret_dirfd)
{
        _cleanup_close_ int dirfd = BTH_FD_NONE;
        char path[64];
        uint64_t diskseq = 0;
        int r;

        (void)snprintf(path, sizeof path, "dev/block/%u:%u", major(identity->device),
                       minor(identity->device));
        r = hal_host_open_folder(host, path, &dirfd);
        if (r == -ENOENT)
                return -ENODEV;
        if (r == 0 && identity->diskseq != 0 &&
            (hal_host_read_u64(dirfd, "diskseq", &diskseq) < 0 || diskseq != identity->diskseq))
                return -ENODEV;
        if (r == 0)
                *ret_dirfd = take_fd(dirfd);
        return r;
}

/* What one would still do before pulling it: nothing here may keep the drive. */
static void rest(const struct hal_host *host, int fd, enum hal_bus bus,
                 struct hal_eject_result *result)
{
        result->flushed = fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
        result->spun_down = -EOPNOTSUPP;
        if (is_scsi(bus)) {
                int r = hal_scsi_synchronize(host, fd);

                if (result->flushed == 0)
                        result->flushed = r;
                result->spun_down = hal_scsi_stop(host, fd);
        }
}

static int eject(const struct hal_host *host, const char *node, const struct hal_identity *identity,
                 struct hal_eject_result *result)
{
        const char *attribute = delete_attribute(identity->bus);
        _cleanup_close_ int dirfd = BTH_FD_NONE;
        int fd, r;

        if (identity->bus == HAL_BUS_FILE)
                return 0;
        if (!attribute)
                return -EOPNOTSUPP;
        r = open_docking(host, identity, &dirfd);
        if (r < 0)
                return r;
        /* Exclusively: a drive with a mounted file system is not to be taken away. */
        fd = open(node, O_RDONLY | O_NONBLOCK | O_EXCL | O_CLOEXEC | O_NOCTTY);
        if (fd < 0 && errno == EBUSY)
                return -EBUSY;
        result->flushed = result->spun_down = fd < 0 ? -errno : 0;
        if (fd >= 0)
                rest(host, fd, identity->bus, result);
        fd = bth_close(fd);
        return hal_host_write_text(dirfd, attribute, "1");
}

int hal_eject(const struct hal_host *host, const char *node, const struct hal_identity *identity,
              struct hal_eject_result *ret_result, struct bth_error *error)
{
        struct hal_eject_result result = { 0 };
        int r = eject(host, node, identity, &result);

        bth_error_at(error, node, 0, BTH_ERROR_NO_OFFSET);
        result.deleted = r;
        *ret_result = result;
        if (r == 0 || r == -ENODEV) /* pulled already: as good */
                return 0;
        if (r == -EBUSY)
                return bth_error_set(error, r, BTH_REASON_DEVICE_BUSY,
                                     "the drive is in use and was not ejected");
        return bth_error_set(error, r, BTH_REASON_UNSUPPORTED,
                             "the system would not let go of the drive: %s", bth_strerror(r));
}
