/* SPDX-License-Identifier: GPL-3.0-or-later */
/* progress - one line on a terminal: what, how much of it, how fast, how long still.
 *
 *     copying   [#########...........]  45%  12.3 GB of 27.1 GB   412 MB/s   36 s left
 *
 * Counting is for any thread; drawing is done by a thread of its own, four times a second, and only
 * when stderr is a terminal. */
#pragma once

#include "base/macros.h"

struct ctl_progress;

/* `what` is copied. With `quiet`, or without a terminal, only counts. Returns 0 or -ENOMEM. */
int ctl_progress_new(const char *what, uint64_t total_bytes, bool quiet,
                     struct ctl_progress **ret_progress) _must_check_;
/* More bytes are done. Any thread; cheap. NULL is fine. */
void ctl_progress_add(struct ctl_progress *p, uint64_t bytes);
/* Bytes counted so far. */
uint64_t ctl_progress_done(const struct ctl_progress *p);
/* Writes the line without colours or line end, for one moment of the clock: tests and drawing.
 * `columns` is the width to fill. Returns `out`. */
char *ctl_progress_line(const struct ctl_progress *p, uint64_t elapsed_usec, unsigned columns,
                        char *out, size_t out_bytes);
/* Draws the last state, ends the line and the thread. NULL is fine; returns NULL. */
struct ctl_progress *ctl_progress_free(struct ctl_progress *p);
DEFINE_CLEANUP(ctl_progress_free, struct ctl_progress *);
