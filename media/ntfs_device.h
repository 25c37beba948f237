/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs_device - libntfs-3g on our own sources and sinks: no path, no mount, no kernel.
 *
 * The library sees a device of the source's size. Without a sink every write is refused (EROFS),
 * whatever the library intends. The library is made for one thread: so is everything here.
 *
 * It reads a record or a cluster at a time: reads go through pieces of 64 KiB, aligned, which are
 * kept; what is written is written through. Private to media/. */
#pragma once

#include "base/error.h"
#include "base/source.h"
#include "media/libntfs.h"
#include "media/ntfs_guard.h"

#define MED_NTFS_DEVICE_PIECES 32u

struct med_ntfs_device {
        struct bth_source *source;    /* borrowed */
        struct bth_sink *sink;        /* borrowed; NULL: read-only */
        struct med_ntfs_guard *guard; /* borrowed; NULL: nobody watches */
        int failed;                   /* the first negative errno of source or sink */
        uint64_t failed_at;           /* … and its offset */
        /* From here on its own; zero before. */
        uint64_t position, clock;
        struct {
                uint64_t offset, used;
                uint8_t *bytes; /* NULL: empty */
        } piece[MED_NTFS_DEVICE_PIECES];
};

/* Opens the file system through the library. `d` must outlive the volume, and be unmounted.
 * Returns 0; -EMEDIUMTYPE with BTH_REASON_NOT_NTFS; -EPERM with BTH_REASON_NTFS_DAMAGED when the
 * volume was not closed cleanly or is hibernated and would be written; -EBADMSG with
 * BTH_REASON_NTFS_DAMAGED; the device's own errno; -ENOMEM. */
int med_ntfs_device_mount(struct med_ntfs_device *d, ntfs_volume **ret_volume,
                          struct bth_error *error) _must_check_;

/* Ends it; everything written is in the sink then. NULL is fine.
 * Returns 0; -EBADMSG with BTH_REASON_NTFS_DAMAGED; the device's own errno. */
int med_ntfs_device_unmount(struct med_ntfs_device *d, ntfs_volume *volume, struct bth_error *error)
        _must_check_;

/* The error of a failed call of the library, from `errno` and what the device met. `doing` ends the
 * sentence "… failed". Returns its negative errno: the device's, -ENOSPC, -ENOMEM, -EEXIST,
 * -ENOENT, else -EBADMSG. */
int med_ntfs_device_error(const struct med_ntfs_device *d, const char *doing,
                          struct bth_error *error);
