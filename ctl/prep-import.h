/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-import - a copy session from the command line to the last record of the journal.
 *
 *     plan   rows and files, drives and their room; nothing is written before all of it fits
 * (prep-plan.c) run    per drive: format, copy, manifest, journal; can be ended at any moment and
 * run again  (prep-run.c) abort  what the session put on its drives is taken off again (prep-run.c)
 *
 * Beside JOURNAL stands the folder JOURNAL.d with the plan and the records of an unfinished
 * session. Source: import-export specification 1.6, 1.7, 4, 8.1, 8.2. */
#pragma once

#include "ctl/prep-journal.h"
#include "ctl/prep-session.h"
#include "ctl/prep.h"

struct ctl_import {
        struct ctl_context *context;
        struct ctl_findings findings;
        const char *journal, *session;
        uint64_t block_bytes, checkpoint_bytes;
        bool content_md5, skip_write, leave_out;
        /* The CSV form: */
        const char *dataset, *driveset, *more_drives;
        /* The form of one drive, one folder or file: */
        const char *drive, *source_dir, *destination_dir, *source_file, *destination_blob;
        const char *disposition, *blob_type, *metadata_file, *properties_file;
        bool format, silent;
        struct ctl_key_options key;
};

/* A file of the session in JOURNAL.d, for drive `drive` (SIZE_MAX: of all), e.g. "done".
 * malloc()ed; NULL when there is no memory. */
char *ctl_import_file(const struct ctl_import *im, size_t drive, const char *suffix) _must_check_;

/* Reads the journal, or says that there is none yet (*ret_journal NULL). Returns 0 or as
 * med_journal_load(). */
int ctl_import_journal(const struct ctl_import *im, struct med_journal **ret_journal,
                       struct bth_error *error) _must_check_;

/* Plans a session and, unless it is a dry run, stores the plan. *ret_exit says why it ended when
 * nothing is to be run. Returns 1 with a session to run; 0 with *ret_exit; a negative errno with
 * the error. */
int ctl_import_plan(struct ctl_import *im, struct ctl_session *ret_session, enum ctl_exit *ret_exit,
                    struct bth_error *error) _must_check_;

/* The stored plan of an unfinished session, to be resumed or aborted: what is half aborted cannot
 * be resumed. Returns 0; -ENOENT when there is none; -EALREADY when that was done before; -EEXIST
 * when the session came to the other end; -EBADMSG. */
int ctl_import_load(const struct ctl_import *im, bool to_abort, struct ctl_session *ret_session,
                    struct bth_error *error) _must_check_;

/* One program at a time works with a journal: takes the lock file in JOURNAL.d, which is made.
 * Returns 0; -EBUSY when another has it; -errno of the folder or file. */
int ctl_import_lock(const struct ctl_import *im, int *ret_fd, struct bth_error *error) _must_check_;
/* Gives it back, and removes JOURNAL.d when nothing is left in it. Negative: there is none. */
void ctl_import_unlock(const struct ctl_import *im, int fd);

/* Removes the plan and the records of a session that is over; what cannot be removed does no harm.
 */
void ctl_import_forget(const struct ctl_import *im);

/* Runs what is left of the session. Returns 1 when it is complete; 0 when files failed and it stays
 * open; the error of a drive or the journal. */
int ctl_import_run(struct ctl_import *im, const struct ctl_session *s, struct bth_error *error)
        _must_check_;

/* Takes the session off its drives. Returns 0 or the error of a drive or the journal. */
int ctl_import_abort(struct ctl_import *im, const struct ctl_session *s, struct bth_error *error)
        _must_check_;
