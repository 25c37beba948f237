/* SPDX-License-Identifier: GPL-3.0-or-later */
/* exit - what the end of a process that reads a stranger's drive tells its parent.
 * A hostile or damaged file system may crash a parser or keep it busy for ever; that ends the
 * process of this one drive, and its parent reports DiskOperationFailed. Any thread. */
#pragma once

#include "base/error.h"

/* The exit code of a process whose watchdog saw no progress (media/ntfs_guard.h). */
#define BTH_EXIT_NO_PROGRESS 86

/* Explains a status of waitpid(2). Returns 0 when the process ended by itself, with whatever code;
 * -EIO with BTH_REASON_NTFS_DAMAGED when it crashed or made no progress; -ECANCELED with
 * BTH_REASON_CANCELLED when it was ended by a signal that is no crash. */
int bth_exit_explain(int wait_status, struct bth_error *error) _must_check_;

/* The status of waitpid(2) from what systemd tells a service's ExecStopPost= in $EXIT_CODE
 * ("exited", "killed", "dumped") and $EXIT_STATUS (a number, or a signal's name without SIG); see
 * systemd.exec(5). Returns 0; -EINVAL for other words and for NULL. */
int bth_exit_from_systemd(const char *code, const char *status, int *ret_wait_status) _must_check_;
