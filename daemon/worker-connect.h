/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker-connect - a worker that systemd starts for whoever connects to berth-worker.socket.
 *
 * It runs as a user of its own, in the group that owns the socket; what it shall write to is given
 * to that group. Source: systemd/berth-worker@.service; design, section 6. */
#pragma once

#include "base/error.h"

/* Is there a socket at this path? */
bool dmn_worker_is_socket(const char *path);

/* Connects. A write that finds no reader for some seconds fails then. Returns 0; -errno of
 * socket(2) and connect(2) with the path in the error: -ECONNREFUSED when nobody listens. */
int dmn_worker_connect(const char *path, int *ret_fd, struct bth_error *error) _must_check_;

/* Gives a folder of ours, and the files in it that are ours, to the group of the socket at `path`.
 * Whoever wrote there before is not trusted: only plain files with one name are touched. Returns 0;
 * -errno, -EPERM when this process is not in that group. */
int dmn_worker_share_folder(const char *path, int folder_fd, struct bth_error *error) _must_check_;
