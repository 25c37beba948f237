/* SPDX-License-Identifier: GPL-3.0-or-later */
/* virtual - bays that are folders: an image file put there is a drive docked, taken away is a drive
 * pulled.
 *
 * A file is docked when it is whole: there at start, moved in, linked in (hard or symbolic), or
 * closed after it was written. Names that begin with '.' are never looked at, so a copy can grow
 * under such a name. When a bay's folder has several images, the first is docked and the others
 * wait for it to go. Everything above sees no difference to a real drive. One thread: the loop's.
 * Source: design, section 5; inotify(7). */
#pragma once

#include "hal/hotplug.h"

#define HAL_VIRTUAL_FILES_MAX 256 /* looked at in one folder */

struct hal_virtual;

/* Watches the folders of all virtual bays of `hotplug`, which is borrowed, and docks the images
 * that are there. Returns 0; -errno of inotify_add_watch(2) with the folder's name in the error
 * (-ENOENT, -ENOTDIR, -EACCES, -ENOSPC); -ENOMEM. */
int hal_virtual_new(struct hal_hotplug *hotplug, struct hal_virtual **ret_virtual,
                    struct bth_error *error) _must_check_;
struct hal_virtual *hal_virtual_free(struct hal_virtual *v); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(hal_virtual_free, struct hal_virtual *);
