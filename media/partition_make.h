/* SPDX-License-Identifier: GPL-3.0-or-later */
/* partition_make - a new partition table with one data partition, as Windows would find it on a
 * shipped drive. libfdisk writes it. What the device held before is overwritten: who calls has
 * asked (crypto/target.h). Source: UEFI 5.3; the type is Microsoft's basic data. */
#pragma once

#include "base/error.h"

#define MED_PARTITION_ALIGN_BYTES (UINT64_C(1) << 20)

struct med_partition_place {
        uint64_t offset_bytes; /* multiples of MED_PARTITION_ALIGN_BYTES */
        uint64_t length_bytes;
};

/* Where the partition of med_partition_make() lies on a device of this size, without writing
 * anything. Returns 0, -ENOSPC with BTH_REASON_DEVICE_WRONG_SIZE when the device is smaller than 4
 * MiB. */
int med_partition_plan(uint64_t device_bytes, struct med_partition_place *ret_place,
                       struct bth_error *error) _must_check_;

/* Writes a GPT with one basic data partition over nearly the whole device.
 *   fd            open for reading and writing; borrowed
 *   sector_bytes  512 or 4096; of a block device, its logical sector
 * Returns 0 and where the partition is; as med_partition_plan(); -EIO with
 * BTH_REASON_DRIVE_WRITE_ERROR; -ENOMEM. Blocks. */
int med_partition_make(int fd, uint32_t sector_bytes, struct med_partition_place *ret_place,
                       struct bth_error *error) _must_check_;
