/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-distribute - which file goes onto which drive, decided before a byte is written.
 *
 * Files larger than a hundredth of the largest drive are placed first, largest first, each on the
 * first drive with room; the small ones follow in the order of the walk, so that a folder stays
 * together where it can. The same input gives the same answer. What a file costs on NTFS and in the
 * manifest is counted. Source: import-export specification 4.6 (the service's own algorithm is
 * unknown), 8.1 (manifest). */
#pragma once

#include "ctl/prep-source.h"

struct ctl_cost {
        uint64_t block_bytes;   /* length of a block, which decides the manifest's size */
        uint64_t cluster_bytes; /* the largest of the drives; 0: 4096 */
        uint64_t more_bytes;    /* a file's, for what is kept beside it */
};

struct ctl_target {
        uint64_t free_bytes; /* room for files, as the file system or the format plan says */
        /* Set by ctl_distribute(): */
        uint64_t used_bytes; /* what the files will take, overhead included */
        size_t n_items;
};

struct ctl_distribution {
        size_t n_unplaced; /* files for which there is no room */
        uint64_t unplaced_bytes;
        size_t n_more_drives; /* so many more of the largest drive's size would do; 0: enough */
        size_t n_too_large;   /* of the unplaced: larger than the largest drive */
        const struct ctl_item *largest_unplaced; /* NULL: all placed */
};

/* What one file takes on a drive, with cluster rounding, its record, its index entry and its lines
 * in the manifest. */
uint64_t ctl_item_cost(const struct ctl_item *item, const struct ctl_cost *cost) _pure_;

/* Sets every item's `drive`; UINT32_MAX for those without room.
 * Returns 0, also when not all found room: see ret_distribution; -ENOMEM. */
int ctl_distribute(struct ctl_items *items, const struct ctl_cost *cost, struct ctl_target *targets,
                   size_t n_targets, struct ctl_distribution *ret_distribution) _must_check_;
