/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs_guard - ends this process when libntfs-3g comes to no end in a file system.
 *
 *     enter ─ inside ─ outside: reading the device ─ inside ─ … ─ leave
 *
 * The library has loops that a damaged volume can make endless, and no way to stop it from outside.
 * Time counts only inside: a drive that is slow to answer is not its fault. Each read of the device
 * is progress, but only so many within one call, so that going round in circles over the device
 * ends, too. One thread enters and leaves; the watchdog is a second one. */
#pragma once

#include "base/macros.h"

#define MED_NTFS_GUARD_SECONDS 10u
#define MED_NTFS_GUARD_READS   (1u << 20) /* within one call; more is no progress */

struct med_ntfs_guard;

/* Starts the watchdog. After `seconds` without progress it writes one sentence to standard error
 * and ends the process with BTH_EXIT_NO_PROGRESS (base/exit.h). Returns 0, -ENOMEM, -errno of
 * pthread_create(3). */
int med_ntfs_guard_new(unsigned seconds, struct med_ntfs_guard **ret_guard) _must_check_;
struct med_ntfs_guard *med_ntfs_guard_free(struct med_ntfs_guard *g);
DEFINE_CLEANUP(med_ntfs_guard_free, struct med_ntfs_guard *);

/* Around each call of the library. NULL is fine, here and below. */
void med_ntfs_guard_enter(struct med_ntfs_guard *g);
void med_ntfs_guard_leave(struct med_ntfs_guard *g);

/* Around each read of the device that the library asks for. */
void med_ntfs_guard_outside(struct med_ntfs_guard *g);
void med_ntfs_guard_inside(struct med_ntfs_guard *g);
