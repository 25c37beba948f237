/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "media/partition_make.h"

#include <libfdisk/libfdisk.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define BASIC_DATA "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"
#define NAME       "Basic data partition"

int med_partition_plan(uint64_t device_bytes, struct med_partition_place *ret_place,
                       struct bth_error *error)
{
        const uint64_t whole = device_bytes / MED_PARTITION_ALIGN_BYTES;

        if (whole < 4)
                return bth_error_set(error, -ENOSPC, BTH_REASON_DEVICE_WRONG_SIZE,
                                     "the device is too small for a partition table and a volume");
        /* The first and the last MiB hold the two copies of the table. */
        *ret_place = (struct med_partition_place){ MED_PARTITION_ALIGN_BYTES,
                                                   (whole - 2) * MED_PARTITION_ALIGN_BYTES };
        return 0;
}

static int add_partition(struct fdisk_context *c, const struct med_partition_place *place,
                         uint32_t sector_bytes)
{
        struct fdisk_partition *p = fdisk_new_partition();
        struct fdisk_parttype *type =
                fdisk_label_parse_parttype(fdisk_get_label(c, NULL), BASIC_DATA);
        int r = p && type ? 0 : -ENOMEM;

        if (r == 0)
                r = fdisk_partition_set_type(p, type);
        if (r == 0)
                r = fdisk_partition_set_name(p, NAME);
        if (r == 0)
                r = fdisk_partition_set_partno(p, 0);
        if (r == 0)
                r = fdisk_partition_set_start(p, place->offset_bytes / sector_bytes);
        if (r == 0)
                r = fdisk_partition_set_size(p, place->length_bytes / sector_bytes);
        if (r == 0)
                r = fdisk_partition_size_explicit(p, 1);
        if (r == 0)
                r = fdisk_add_partition(c, p, NULL);
        fdisk_unref_parttype(type);
        fdisk_unref_partition(p);
        return r;
}

static int write_table(int fd, uint32_t sector_bytes, const struct med_partition_place *place)
{
        struct fdisk_context *c = fdisk_new_context();
        int r = c ? 0 : -ENOMEM;

        if (r == 0)
                r = fdisk_disable_dialogs(c, 1);
        if (r == 0)
                r = fdisk_save_user_sector_size(c, sector_bytes, sector_bytes);
        /* The name is only for messages. */
        if (r == 0)
                r = fdisk_assign_device_by_fd(c, fd, "device", 0);
        if (r == 0)
                r = fdisk_enable_wipe(c, 1); /* of what would still be taken for a file system */
        if (r == 0)
                r = fdisk_create_disklabel(c, "gpt");
        if (r == 0)
                r = add_partition(c, place, sector_bytes);
        if (r == 0)
                r = fdisk_write_disklabel(c);
        if (c)
                (void)fdisk_deassign_device(c, 1);
        fdisk_unref_context(c);
        return r;
}

int med_partition_make(int fd, uint32_t sector_bytes, struct med_partition_place *ret_place,
                       struct bth_error *error)
{
        uint64_t bytes = 0;
        struct stat st;
        int r = fstat(fd, &st) < 0 ? -errno : 0;

        if (r == 0 && S_ISBLK(st.st_mode))
                r = ioctl(fd, BLKGETSIZE64, &bytes) < 0 ? -errno : 0;
        else if (r == 0)
                bytes = (uint64_t)st.st_size;
        if (r == 0) {
                r = med_partition_plan(bytes, ret_place, error);
                if (r < 0)
                        return r;
                r = write_table(fd, sector_bytes, ret_place);
        }
        if (r == 0 && fsync(fd) < 0)
                r = -errno;
        return r == 0 ? 0
                      : bth_error_set(error, r == -ENOMEM ? r : -EIO,
                                      r == -ENOMEM ? BTH_REASON_OUT_OF_MEMORY
                                                   : BTH_REASON_DRIVE_WRITE_ERROR,
                                      "the partition table cannot be written: %s", bth_strerror(r));
}
