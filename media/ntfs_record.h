/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs_record - one FILE record of $MFT, from hostile bytes.
 * Nothing here reads a device or allocates, except the run list that grows. Any thread.
 * Source: NTFS 3.1 as libntfs-3g's layout.h describes it. */
#pragma once

#include "base/macros.h"

#define MED_NTFS_RECORD_MAX  65536u
#define MED_NTFS_RUNS_MAX    (1u << 22) /* pieces of one file */
#define MED_NTFS_HOLE        UINT64_MAX
#define MED_NTFS_RECORD_MASK 0xffffffffffffULL /* a reference's record number; above: sequence */

#define MED_NTFS_COMPRESSED 0x00ffu /* of an attribute's flags */

enum med_ntfs_type {
        MED_NTFS_STANDARD_INFORMATION = 0x10,
        MED_NTFS_ATTRIBUTE_LIST = 0x20,
        MED_NTFS_FILE_NAME = 0x30,
        MED_NTFS_VOLUME_NAME = 0x60,
        MED_NTFS_VOLUME_INFORMATION = 0x70,
        MED_NTFS_DATA = 0x80,
};

struct med_ntfs_record {
        const uint8_t *bytes; /* borrowed */
        uint32_t used_bytes, first_attribute;
        uint16_t sequence;
        bool in_use, directory;
        uint64_t base; /* reference of the base record; 0: this is one */
};

struct med_ntfs_attribute {
        uint32_t type;
        uint16_t flags; /* 0x00ff compressed, 0x4000 encrypted, 0x8000 sparse */
        bool resident;
        uint8_t name_units;
        const uint8_t *name;  /* name_units 16-bit little-endian units, inside the record */
        const uint8_t *value; /* resident content, or the mapping pairs; inside the record */
        uint32_t value_bytes;
        uint64_t first_vcn, last_vcn;           /* not resident only, as all below */
        uint64_t data_bytes, initialized_bytes; /* only where first_vcn is 0 */
        uint8_t compression_unit;
};

struct med_ntfs_run {
        uint64_t vcn, lcn, clusters; /* lcn MED_NTFS_HOLE: not stored */
};

struct med_ntfs_runs {
        struct med_ntfs_run *run; /* ascending, gapless from 0 */
        size_t n, allocated;
        uint64_t end_vcn;
};

/* Checks a record of `n` bytes and puts its last words of each 512 bytes back in place. Returns 0;
 * -ENODATA when the place never held a record; -EBADMSG when it is damaged. */
int med_ntfs_record_open(uint8_t *bytes, size_t n, struct med_ntfs_record *ret) _must_check_;

/* The next attribute; `*cursor` starts at 0. Returns 1, 0 at the end, -EBADMSG. */
int med_ntfs_attribute_next(const struct med_ntfs_record *r, uint32_t *cursor,
                            struct med_ntfs_attribute *ret) _must_check_;

/* Is it stored in LZNT1 units, the one way of compression that there is? */
bool med_ntfs_is_packed(const struct med_ntfs_attribute *a) _pure_;

/* Appends the attribute's mapping pairs, whose first cluster must be where `runs` ends. Returns 0;
 * -EBADMSG when they leave the volume of `volume_clusters` or do not join; -E2BIG; -ENOMEM. */
int med_ntfs_runs_append(struct med_ntfs_runs *runs, const struct med_ntfs_attribute *a,
                         uint64_t volume_clusters) _must_check_;
void med_ntfs_runs_clear(struct med_ntfs_runs *runs);
