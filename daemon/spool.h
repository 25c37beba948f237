/* SPDX-License-Identifier: GPL-3.0-or-later */
/* spool - a folder into which journals are put, and jobs come out.
 *
 *     spool/NAME/   journals (*.jrn, *.xml), job.conf if wanted, and `ready` when all is there; or
 *                   the whole folder renamed in
 *     spool/X.jrn   one journal, for the account `spool_account`; renamed in, or written and closed
 *     spool/done/, spool/rejected/   where they go, each with a text that says what came of it
 *
 *     job.conf:     [job]  account, name, location, diagnostics, carrier and tracking, verbose_log,
 *                   manifest_backup, accept_unshipped
 *
 * Names that begin with '.' are passed over, links are refused. Level-triggered: after every event
 * the folder is looked at again, and one entry after the other is taken. A job is made before its
 * entry is moved, and journals that made one make no second: a stop at any moment makes no job
 * twice and loses none. What cannot be done now, but may be later, stays and is tried again. On the
 * loop's thread; reading small files is all that blocks. Source: inotify(7). */
#pragma once

#include "daemon/import.h"

#define DMN_SPOOL_QUIET_USEC (UINT64_C(10) * 1000000) /* of a file that was there at the start */
#define DMN_SPOOL_AGAIN_USEC (UINT64_C(60) * 1000000) /* before what failed is tried again */

#define DMN_SPOOL_DONE     "done"
#define DMN_SPOOL_REJECTED "rejected"
#define DMN_SPOOL_RESULT   "result.txt" /* of a folder; of a file FILE.txt */

struct dmn_spool_events {
        /* Begins an import, as dmn_import_begin() with the station's own; `import->account` is NULL
         * where the entry names none. Returns as dmn_import_begin(). */
        int (*import)(void *userdata, struct dmn_import *import, dmn_import_fn done,
                      void *done_userdata, struct dmn_importing **ret_importing,
                      struct bth_error *error);
        /* A job was made. May be NULL. */
        void (*made)(void *userdata, uint64_t job);
};

struct dmn_spool;

/* Begins to watch; makes the folders `done` and `rejected`. Returns 0; -ENOENT and other -errno of
 * the folder with a sentence; -ENOMEM. */
int dmn_spool_new(sd_event *loop, const char *folder, const struct dmn_spool_events *events,
                  void *userdata, struct dmn_spool **ret_spool, struct bth_error *error)
        _must_check_;
/* What is being read is read again by the next one. NULL is fine; returns NULL. */
struct dmn_spool *dmn_spool_free(struct dmn_spool *s);
DEFINE_CLEANUP(dmn_spool_free, struct dmn_spool *);

/* Takes away what was done or rejected before that time. Needs no spool; any thread; blocks. */
void dmn_spool_forget(const char *spool, uint64_t before_usec);

/* Takes away what was done for one job: what says that it made this job, and has the journals from
 * which the job was made. Links are not followed, and what others put there stays. Needs no spool;
 * on the store's thread; blocks. Returns 0, also where nothing is; -EPERM with the entry when
 * something of the job is left, or may be; or an error of the store. */
int dmn_spool_forget_job(const char *spool, struct job_store *store, const struct job_record *job,
                         struct bth_error *error) _must_check_;

/* Tries what failed before at once: the configuration is another. */
void dmn_spool_again(struct dmn_spool *s);
