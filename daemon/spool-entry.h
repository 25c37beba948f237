/* SPDX-License-Identifier: GPL-3.0-or-later */
/* spool-entry - one folder or file of the spool, opened and read. Inside daemon/spool*.c only. */
#pragma once

#include "daemon/import.h"

#define DMN_SPOOL_READY "ready"
#define DMN_SPOOL_CONF  "job.conf"
#define DMN_SPOOL_MADE  "The job '%s' " /* the text of what is done begins so, with its name */

struct dmn_spool_entry {
        struct dmn_journal *journals[BTH_JOURNALS_MAX];
        size_t n_journals;
        char *account, *name, *location, *diagnostics, *carrier, *tracking;
        char *package; /* carrier and tracking as the job API has them */
        int verbose_log, manifest_backup, accept_unshipped; /* -1: not said */
};

/* Reads `name` in the folder `spool_fd`; a folder with its job.conf, or one file.
 * Returns 0; -EINVAL, -EBADMSG, -EFBIG, -E2BIG for what can never become a job, with the place;
 * -errno of reading; -ENOMEM. */
int dmn_spool_entry_read(int spool_fd, const char *name, struct dmn_spool_entry **ret_entry,
                         struct bth_error *error) _must_check_;
/* job.conf alone; for tests and fuzzing. Returns 0, -EINVAL or -EBADMSG with the line, -ENOMEM. */
int dmn_spool_conf_parse(const char *text, size_t n, struct dmn_spool_entry *entry,
                         struct bth_error *error) _must_check_;
void dmn_spool_entry_clear(struct dmn_spool_entry *e);
struct dmn_spool_entry *dmn_spool_entry_free(struct dmn_spool_entry *e); /* NULL is fine */
DEFINE_CLEANUP(dmn_spool_entry_free, struct dmn_spool_entry *);

/* A file of a folder that is read for a job, by its name: *.jrn, *.xml. */
bool dmn_spool_is_journal(const char *name) _pure_;

/* What to import of it; borrows all texts. `name` is the entry's. */
void dmn_spool_entry_import(const struct dmn_spool_entry *e, const char *name,
                            struct dmn_import *ret_import);
