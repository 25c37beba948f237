/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker - one drive, from its order to its result.
 *
 *     order ─> files and sockets it will need ─> sandbox ─> unlock ─> list files ─> manifest
 *           ─> join, disk order ─> transfer ─> copy logs ─> result
 *
 * A second thread listens to the station and to SIGTERM, says once a second how far things are, and
 * ends the process when the drive or the transfer does not let go. Everything the worker knows is
 * stored or at the service, so it may be killed at any moment and started again with the same
 * order. Source: design, sections 3, 4, 6; import-export specification 5.3. */
#pragma once

#include "base/macros.h"

/* In place of an order there may be journals: the worker reads them and names their drives, with
 * fewer rights still (uploader/worker-journals.c).
 *
 * Takes the order from `socket_fd` (borrowed, a connected Unix stream socket), does it, and sends
 * the result. To be called once, first thing, in a process of its own with one thread: it changes
 * signals, limits and rights of the process for good. Returns 0 when a result was sent; -EBADMSG
 * for an order that cannot be understood; -EPIPE when the station went away; -errno. Blocks. */
int upl_worker_main(int socket_fd) _must_check_;
