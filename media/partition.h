/* SPDX-License-Identifier: GPL-3.0-or-later */
/* partition - what lies where on a drive: MBR, GPT, or one volume without a table.
 *
 * libblkid reads the tables, through a descriptor, and nothing is written. Several threads must not
 * use one descriptor here at once, as libblkid moves its file offset (pread(2) elsewhere does not
 * mind), and it must not be open with O_DIRECT. Start and length are only as true as the drive.
 * Source: import-export specification, "only the first data volume is processed"; UEFI 5.3. */
#pragma once

#include "base/error.h"

#define MED_PARTITION_TYPE_MAX    40
#define MED_PARTITION_NAME_MAX    128
#define MED_PARTITION_CONTENT_MAX 32

enum med_table {
        MED_TABLE_NONE, /* the whole device is one volume */
        MED_TABLE_MBR,
        MED_TABLE_GPT,
        MED_TABLE_OTHER, /* a table that Windows does not use */
        _MED_TABLE_MAX,
        _MED_TABLE_INVALID = -EINVAL,
};
const char *med_table_to_string(enum med_table t);

/* What a partition is for, by its type alone. */
enum med_partition_role {
        MED_PARTITION_DATA,     /* basic data; Windows gives it a drive letter */
        MED_PARTITION_RESERVED, /* Microsoft reserved */
        MED_PARTITION_EFI,
        MED_PARTITION_RECOVERY,
        MED_PARTITION_OTHER,
        _MED_PARTITION_ROLE_MAX,
        _MED_PARTITION_ROLE_INVALID = -EINVAL,
};
const char *med_partition_role_to_string(enum med_partition_role r);

struct med_partition {
        unsigned number; /* in its table, from 1; 0: the whole device */
        uint64_t offset_bytes;
        uint64_t length_bytes; /* at least 1; ends inside the device */
        bool cut;              /* the table says it is longer than the device */
        enum med_partition_role role;
        char type[MED_PARTITION_TYPE_MAX];       /* "ebd0a0a2-…" or "0x07"; "" without a table */
        char name[MED_PARTITION_NAME_MAX];       /* of GPT, as stored: hostile text; "" = none */
        char content[MED_PARTITION_CONTENT_MAX]; /* "BitLocker", "ntfs", or "" */
};

struct med_partitions {
        enum med_table table;
        uint32_t sector_bytes; /* that the table counts in */
        uint64_t device_bytes;
        struct med_partition *items; /* by ascending offset */
        size_t n;
};

/* Reads the table of a block device or image file. The sector size of an image is not stored in it:
 * 512 is tried, then 4096, and the one under which a known volume begins where the table says wins.
 * `fd` is borrowed.
 * Returns 0; -EBADMSG with BTH_REASON_SYNTAX for a table beyond the limits; -EIO and others with
 * BTH_REASON_DRIVE_READ_ERROR; -errno of fstat(2) or ioctl(2); -ENOMEM. */
int med_partitions_read(int fd, struct med_partitions **ret_partitions, struct bth_error *error)
        _must_check_;
struct med_partitions *med_partitions_free(struct med_partitions *p); /* NULL is fine */
DEFINE_CLEANUP(med_partitions_free, struct med_partitions *);

/* The volume that the service processes: the first data partition, reserved, EFI and recovery
 * partitions passed over. Where none has the type of data, the first other one that holds BitLocker
 * or NTFS is taken. The result belongs to `p`.
 * Returns 0, or -ENOENT with BTH_REASON_NO_PARTITION. */
int med_partitions_first_data(const struct med_partitions *p,
                              const struct med_partition **ret_partition, struct bth_error *error)
        _must_check_;
