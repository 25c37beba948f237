/* SPDX-License-Identifier: GPL-3.0-or-later */
/* eject - making a drive safe to pull: empty its cache, park its heads, take it from the kernel.
 *
 *     flush (fsync, SYNCHRONIZE CACHE) ─ spin down (START STOP UNIT) ─ delete in sysfs
 *
 * All descriptors of the drive must be closed by others before. The drive that is deleted is the
 * one that was docked: a node that is another docking's by now is left alone. Only the last step
 * decides: a drive that cannot flush or spin down (a reader's bridge, an SSD) is still let go,
 * since Berth has written nothing to it. Spinning down takes seconds: not in the loop. Any thread.
 * Source: hotplug specification, sections 4 and 6; SBC-3. */
#pragma once

#include "hal/identity.h"

struct hal_eject_result {
        int flushed;   /* 0 or negative errno of each step */
        int spun_down; /* -EOPNOTSUPP: not for this bus (NVMe is shut down by being deleted) */
        int deleted;
};

/* Ejects the drive of this identity, whose node is `node`. An image file has nothing to eject: all
 * steps are 0. Returns 0 when it may be pulled (also when it is gone already); -EBUSY while
 * somebody has it open exclusively (a file system is mounted); -EACCES and others when it could not
 * be deleted. `ret_result` is set in every case. */
int hal_eject(const struct hal_host *host, const char *node, const struct hal_identity *identity,
              struct hal_eject_result *ret_result, struct bth_error *error) _must_check_;
