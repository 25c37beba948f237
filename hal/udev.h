/* SPDX-License-Identifier: GPL-3.0-or-later */
/* udev - the drives of the machine: those that are there, and those that come and go.
 *
 * Listens to udev's events (not the kernel's: the rules have to have run, for ID_PATH) and looks at
 * all block devices once, after it began to listen. Whole disks of real hardware only: no
 * partitions, loop devices, device-mapper, RAM disks or optical drives. Without udevd no event
 * arrives, and the drives that are there are found all the same, without ID_PATH. One thread: the
 * loop's. Source: sd-device(3); hotplug specification, section 5. */
#pragma once

#include "hal/hotplug.h"

struct hal_udev;

/* Starts; `hotplug` is borrowed. Returns 0, or the errors of sd_device_monitor_start(3) and
 * sd_device_enumerator_new(3), which are -errno of the kernel's calls, and -ENOMEM. */
int hal_udev_new(struct hal_hotplug *hotplug, struct hal_udev **ret_udev, struct bth_error *error)
        _must_check_;
struct hal_udev *hal_udev_free(struct hal_udev *u); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(hal_udev_free, struct hal_udev *);

/* Looks at all drives again, as at start; for SIGHUP, and when events may have been lost. Returns 0
 * or the errors of hal_udev_new(). */
int hal_udev_look(struct hal_udev *u) _must_check_;
