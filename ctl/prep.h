/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep - the verbs of berth-prep, one file each. */
#pragma once

#include "crypto/unlock.h"
#include "ctl/cli.h"
#include "media/finding.h"

extern const struct ctl_verb ctl_prep_forecast;
extern const struct ctl_verb ctl_prep_import;
extern const struct ctl_verb ctl_prep_list;
extern const struct ctl_verb ctl_prep_preview_export;
extern const struct ctl_verb ctl_prep_rebuild_journal;
extern const struct ctl_verb ctl_prep_repair_import;
extern const struct ctl_verb ctl_prep_unlock;
extern const struct ctl_verb ctl_prep_validate;
extern const struct ctl_verb ctl_prep_verify_export;

/* A complaint about the command line (stderr). Returns CTL_EXIT_USAGE. */
enum ctl_exit ctl_usage(const struct ctl_context *c, const char *sentence);
/* The end of a verb that failed: prints the error, one made from `r` where it is empty. Returns
 * CTL_EXIT_USAGE for an error about the command line, else CTL_EXIT_FAILED. */
enum ctl_exit ctl_end_failed(struct ctl_context *c, int r, struct bth_error *error);

/* Prints findings as they come (stderr) and keeps them for the report's array "findings". */
struct ctl_findings {
        struct ctl_context *context;
        unsigned n_errors, n_warnings;
};
void ctl_findings_take(void *userdata, const struct med_finding *f);

/* The options --recovery-key-file, --external-key, --password-file: at most one. */
struct ctl_key_options {
        const char *recovery_file, *external_file, *password_file;
};
#define CTL_KEY_OPTIONS(k)                                                                 \
        { "recovery-key-file", "FILE", "file with the recovery password (mode 0600)",      \
          .text = &(k)->recovery_file },                                                   \
                { "external-key", "FILE", "a .BEK file, or the key as the journal has it", \
                  .text = &(k)->external_file },                                           \
        {                                                                                  \
                "password-file", "FILE", "file with the user password (mode 0600)",        \
                        .text = &(k)->password_file                                        \
        }
/* Reads the one that was given; none is CRY_CREDENTIAL_NONE. The caller frees *ret_secret.
 * Returns 0; -EINVAL for more than one; -EPERM for a file that others may read; -errno. */
int ctl_key_read(const struct ctl_key_options *k, struct cry_credential *ret_credential,
                 struct bth_secret **ret_secret, struct bth_error *error) _must_check_;
