/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs_index - what the scan keeps of a volume, and how paths are found in it. Private to media/.
 *
 *     info    by record number: size, first place, sequence, status
 *     names   one behind the other: parent, file, text as it is stored
 *     entries (hash of parent, hash of parent and upper-cased name, place in names), sorted
 *     fences  the key of every 1024th entry: one page of entries is read for a name
 *
 * All names of a folder are neighbours among the sorted entries, and a name in a folder is found by
 * halving: looking up and listing need one order. Sorting is by runs and a merge, so that it works
 * in as little memory as there is. All but the fences lies in a spill (media/spill.h). While it is
 * filled the index belongs to one thread; sealed it is constant. */
#pragma once

#include "base/siphash.h"
#include "media/ntfs_scan.h"

#define MED_NTFS_NAME_UNITS 255u
#define MED_NTFS_NAME_ROOM  (MED_NTFS_NAME_UNITS * 3 + 1)

struct med_ntfs_info { /* of a base record */
        uint64_t size_bytes;
        uint64_t first_offset_bytes; /* 0: none; nobody's content lies there */
        uint16_t sequence;
        uint8_t status;
        bool directory;
};

struct med_ntfs_name {
        uint64_t parent, record; /* references */
        size_t length;
        char text[MED_NTFS_NAME_ROOM]; /* UTF-8, lone surrogates as three bytes */
};

/* Takes over options->fd, also on failure. Returns 0, -ENOMEM, -errno of getrandom(2). */
int med_ntfs_index_new(const struct med_ntfs_volume *v, const struct med_ntfs_scan_options *options,
                       struct med_ntfs_index **ret) _must_check_;

/* What is known of a record so far, zeros at first; and noting it. `number` is below the volume's
 * n_records. Both return 0, or as med_spill_read() and med_spill_write(). */
int med_ntfs_index_info(const struct med_ntfs_index *x, uint64_t number, struct med_ntfs_info *ret)
        _must_check_;
int med_ntfs_index_note(struct med_ntfs_index *x, uint64_t number, const struct med_ntfs_info *info)
        _must_check_;

/* Adds a name of `units` little-endian 16-bit units. Returns 0, -EBADMSG for a name that can be
 * none, as med_spill_write(). */
int med_ntfs_index_add(struct med_ntfs_index *x, uint64_t parent, uint64_t record,
                       const uint8_t *utf16, size_t units) _must_check_;
void med_ntfs_index_count_damage(struct med_ntfs_index *x);

/* Leaves out the names of files that are gone, sorts; then the index is constant. Returns 0,
 * -ENOMEM, as med_spill_write(). */
int med_ntfs_index_seal(struct med_ntfs_index *x) _must_check_;

/* The names of a folder: `*cursor` starts at 0. Returns 1, 0 when there are no more, -EIO. */
int med_ntfs_index_next(const struct med_ntfs_index *x, uint64_t parent, uint64_t *cursor,
                        struct med_ntfs_name *ret) _must_check_;

/* Only for a reference that is in the index. Returns 0, -ENOENT, -EIO. */
int med_ntfs_index_found(const struct med_ntfs_index *x, uint64_t reference,
                         struct med_ntfs_found *ret) _must_check_;
