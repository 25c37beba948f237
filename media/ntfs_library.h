/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs_library - what of a volume is left to libntfs-3g: compressed files, and its own opinion.
 * Opened read-only at first use, under the watchdog of ntfs_guard. The library is made for one
 * thread: calls wait for each other. Private to media/. */
#pragma once

#include "base/error.h"
#include "media/ntfs_volume.h"

struct med_ntfs_library;

/* Nothing is read yet. `source` is borrowed. Returns 0, -ENOMEM. */
int med_ntfs_library_new(struct bth_source *source, struct med_ntfs_library **ret) _must_check_;
struct med_ntfs_library *med_ntfs_library_free(struct med_ntfs_library *l);

/* Reads a file's stream; the range lies inside it. Returns 0; -EBADMSG when the library
 * cannot; the device's own errno; -ENOMEM. */
int med_ntfs_library_read(struct med_ntfs_library *l, const struct med_ntfs_file *f,
                          uint64_t offset_bytes, void *buffer, size_t length_bytes) _must_check_;

/* Does the library accept the volume? ret_log_dirty tells whether its log was left open. Returns 0,
 * or as med_ntfs_device_mount(). */
int med_ntfs_library_check(struct med_ntfs_library *l, bool *ret_log_dirty, struct bth_error *error)
        _must_check_;
