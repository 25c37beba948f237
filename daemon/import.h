/* SPDX-License-Identifier: GPL-3.0-or-later */
/* import - a job from journals: read (daemon/journals), put together, admitted, stored.
 *
 *     journals ── worker ──> drives ── merge, admit, add on the store's thread ──> done, once
 *
 * The spool and the local API make jobs by it. On the loop's thread; nothing blocks. Source:
 * design, section 4; import-export specification 7.10. */
#pragma once

#include "daemon/config.h"
#include "daemon/journals.h"
#include "jobs/thread.h"

#define DMN_IMPORT_NAME_MAX 65 /* bytes of a job's name with its NUL */

/* What dmn_import_begin() is told; nothing of it is needed when it returns. NULL and 0: not given.
 */
struct dmn_import {
        struct dmn_journal *const *journals;
        size_t n_journals;
        const char *const *serials; /* only these of the drives that the journals name */
        size_t n_serials;           /* 0: all */
        const char *scope, *name;   /* `name` NULL: one that is free is made */
        const char *base_name;      /* … from this file name; NULL: from the first journal's */
        bool foreign_name;          /* others than berthctl's rules made it: job_name_check() */
        const char *account;        /* by name or resource id; must be configured */
        const char *location, *diagnostics, *tags; /* location NULL: the station's */
        const char *origin;                        /* NULL: "journal" */
        const char *who;
        const char *personal[_JOB_PERSONAL_MAX];            /* JSON objects */
        bool shipped;                                       /* Shipping at once */
        int verbose_log, backup_manifest, accept_unshipped; /* -1: as configured */
        bool once; /* journals that made a job before give that job, and make none */
};

struct dmn_imported {
        uint64_t job;
        const char *name;
        bool already;                         /* `once`: it was there */
        const struct dmn_journal_note *notes; /* what is odd about the journals */
        size_t n_notes;
};

/* Called once, with what was made or with an error; both live during the call only. May free the
 * import. */
typedef void (*dmn_import_fn)(void *userdata, const struct dmn_imported *imported,
                              const struct bth_error *error);

struct dmn_importing;

/* Begins to make a job; `loop`, `store` outlive it, `config` is not needed any longer.
 * Returns 0, then `done` follows from the loop, with the errors of dmn_journals_read(),
 * job_merge_drives(), job_admit(), job_store_add(), -ENOENT for a serial number in no journal, or
 * -EAGAIN when the store has too much to do. Returns at once: -EINVAL for no journal, a name that
 * is not allowed, or a JSON text over its limit; -ENOENT for an account that is not configured;
 * -E2BIG; -ENOMEM; errors of starting the worker. */
int dmn_import_begin(sd_event *loop, struct job_thread *store, const struct dmn_config *config,
                     const struct dmn_import *import, dmn_import_fn done, void *userdata,
                     struct dmn_importing **ret_importing, struct bth_error *error) _must_check_;
/* Without `done` when that was not called yet; a job that is being stored may still come to be.
 * NULL is fine; returns NULL. */
struct dmn_importing *dmn_import_free(struct dmn_importing *i);
DEFINE_CLEANUP(dmn_import_free, struct dmn_importing *);

/* A name that the rules allow, from a file's: "Lab 7_A.jrn" gives "lab-7-a". Never empty. */
void dmn_import_name(const char *file, char ret_name[DMN_IMPORT_NAME_MAX]);
