/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-work - what a copy session must remember to survive kill -9: its plan, and what is on the
 * drive.
 *
 * Both are files of one JSON object a line in the folder JOURNAL.d (mode 0700), written by
 * berth-prep only:
 *
 *   SESSION.plan     version 1. First line: session, block size, drives; then a line per row, then
 * per file with source, blob, place on the drive, size, time, row, drive. Written once, atomically,
 * before the first byte goes to a drive; it is the intent. SESSION-N.done   for drive N: a line per
 * file that is written, with the MD5 of each block (in parts, where there are very many); then
 *                    {"ready":K}, then, when the drive has the checkpoint, {"checkpoint":K}.
 *
 * At a restart, files up to the last "checkpoint" are on the drive; files up to the last "ready"
 * are too if a redo file was found and replayed (ctl/overlay.h). What stands behind is cut off and
 * copied again. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "ctl/prep-source.h"

/* -- plan
 * -------------------------------------------------------------------------------------------- */

/* Writes the plan. `header` is an object of the caller's own; "version" is added.
 * Returns 0, -EEXIST when this session has a plan, -errno of writing, -ENOMEM. */
int ctl_plan_write(const char *path, json_t *header, const struct ctl_items *items,
                   struct bth_error *error) _must_check_;

/* Reads it back. Returns 0, -ENOENT, -EBADMSG when it is damaged or of another version, -errno,
 * -ENOMEM. */
int ctl_plan_load(const char *path, json_t **ret_header, struct ctl_items *ret_items,
                  struct bth_error *error) _must_check_;

/* -- done
 * -------------------------------------------------------------------------------------------- */

struct ctl_done;

/* Called for each file that is on the drive; `hashes` are n_blocks MD5 values of 16 bytes.
 * Returns 0, or a negative errno that ends the reading. */
typedef int (*ctl_done_found)(void *userdata, size_t item, const uint8_t *hashes, size_t n_blocks);

/* Opens or creates the record of one drive, tells what counts, cuts off what does not.
 *   redo_replayed  the last "ready" counts as a checkpoint; it is noted as one
 *   n_items        item numbers at and above it are damage
 * Returns 0, -EBADMSG (damage before the last checkpoint), -errno of the file, -ENOMEM, what
 * `found` gave. */
int ctl_done_open(const char *path, size_t n_items, bool redo_replayed, ctl_done_found found,
                  void *userdata, struct ctl_done **ret_done, struct bth_error *error) _must_check_;
struct ctl_done *ctl_done_close(struct ctl_done *d); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(ctl_done_close, struct ctl_done *);

/* Notes a file (buffered). Returns 0, -ENOMEM, -errno of writing. */
int ctl_done_add(struct ctl_done *d, size_t item, const uint8_t *hashes, size_t n_blocks)
        _must_check_;
/* Everything noted so far is about to become a checkpoint: durable when this returns 0. Else
 * -errno. */
int ctl_done_ready(struct ctl_done *d) _must_check_;
/* The drive has it: durable when this returns 0. Else -errno. */
int ctl_done_checkpoint(struct ctl_done *d) _must_check_;
