/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-copy - the files of one drive: read, hashed block by block, encrypted, written, remembered.
 *
 *     this thread   name after name: makes the record, gets the places          ┐
 *     a pool        reads the source once, hashes it, writes it to its places    ├─ until a
 * checkpoint is due this thread   waits, takes away what failed, notes the hashes, commits     ┘
 *
 * A source that vanished or changed costs its own file only: it is taken off the drive again and
 * reported, and the session stays open. A drive that fails ends the copy at its last checkpoint.
 * Source: import-export specification 1.7 (sources must not change), 2.6 (hashes). */
#pragma once

#include "ctl/pool.h"
#include "ctl/prep-session.h"
#include "ctl/prep-volume.h"
#include "ctl/prep-work.h"
#include "ctl/progress.h"

#define CTL_CHECKPOINT_BYTES (UINT64_C(2) << 30)
#define CTL_COPY_SCRATCH \
        (((size_t)4 << 20) + 65536) /* a slice, and zeros to the end of its cluster */

/* What is on the drives: for each item NULL, or the MD5 of its blocks, ctl_item_blocks() of them,
 * and with
 * --content-md5 one more for the whole file. */
struct ctl_copied {
        uint8_t **hashes;
        size_t n_items;
};
int ctl_copied_new(size_t n_items, struct ctl_copied *ret) _must_check_; /* Returns 0 or -ENOMEM. */
void ctl_copied_clear(struct ctl_copied *c);
/* A ctl_done_found whose userdata is the struct ctl_copied. Returns 0 or -ENOMEM. */
int ctl_copied_take(void *userdata, size_t item, const uint8_t *hashes, size_t n_blocks);

/* One file could not be copied; the others go on. Called by the thread of ctl_copy_drive(). */
typedef void (*ctl_copy_failed)(void *userdata, const struct ctl_item *item, const char *sentence);

struct ctl_copy {
        const struct ctl_session *session;
        uint32_t drive; /* index */
        struct ctl_volume *volume;
        struct ctl_done *done;
        struct ctl_copied *copied; /* taken as done before, and added to */
        struct ctl_pool *pool;     /* with CTL_COPY_SCRATCH */
        uint64_t checkpoint_bytes;
        struct ctl_progress *progress;
        ctl_copy_failed failed;
        void *userdata;
        size_t n_failed; /* set */
};

/* Copies what is missing. At the end everything copied has its checkpoint and the file system is
 * open again. Returns 0, also when files failed: see n_failed; the error of the drive or of the
 * record, after which the volume must be closed: it is as its last checkpoint left it. */
int ctl_copy_drive(struct ctl_copy *c, struct bth_error *error) _must_check_;

/* Makes everything so far durable: record, file system, record. Returns 0 or the error of the drive
 * or the record. */
int ctl_copy_checkpoint(struct ctl_volume *v, struct ctl_done *done, struct bth_error *error)
        _must_check_;
