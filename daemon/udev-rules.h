/* SPDX-License-Identifier: GPL-3.0-or-later */
/* udev-rules - "berthd --udev-rules FILE": writes 59-berth-bays.rules, which tell
 * systemd/60-berth.rules what is in a bay. berth-bays.service runs it as root. */
#pragma once

#include "daemon/config.h"

/* Returns 0, also when there are bays that udev cannot know: the file names them; -ENOMEM; -errno
 * of writing with the file in the error. */
int dmn_udev_rules_write(const struct dmn_config *c, const char *path, struct bth_error *error)
        _must_check_;
