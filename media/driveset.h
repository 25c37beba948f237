/* SPDX-License-Identifier: GPL-3.0-or-later */
/* driveset - driveset.csv: which drives are prepared, and how.
 * Windows names a drive by its letter. Here the column DriveLetter also takes a block device
 * ("/dev/sdb") or an image file ("drives/QX7TESTDRV01.img"); everything else is as the tool has it.
 * The key of an encrypted drive is kept in locked memory. Source: import-export specification 4.5.
 */
#pragma once

#include "base/secret.h"
#include "base/str.h"
#include "media/csv.h"

#define MED_DRIVESET_MAX_ROWS   250
#define MED_DRIVESET_JOB_DRIVES 10 /* one job takes so many (spec 9) */

struct med_driveset_row {
        uint64_t line;
        char *drive; /* "K", "/dev/sdb", "dir/name.img" */
        bool is_letter;
        bool format;            /* Format, else AlreadyFormatted */
        bool prompt;            /* PromptOnFormat, else SilentMode */
        bool encrypt;           /* Encrypt, else AlreadyEncrypted */
        struct bth_secret *key; /* of an AlreadyEncrypted drive; numerical, or base64 */
};

struct med_driveset {
        struct med_driveset_row *rows;
        size_t n_rows;
        unsigned n_errors;
};

/* Every fault is a finding. Returns 0 also with findings: look at n_errors; -EBADMSG when it cannot
 * be cut into rows or has no known header; -EFBIG, -EILSEQ, -ENOMEM. The caller wipes `text`, which
 * holds keys. */
int med_driveset_parse(const char *text, size_t n, const struct med_findings *findings,
                       struct med_driveset **ret_driveset, struct bth_error *error) _must_check_;
struct med_driveset *med_driveset_free(struct med_driveset *d); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(med_driveset_free, struct med_driveset *);

/* Adds the file; `out` then holds keys. Returns 0, -EINVAL, -ENOMEM. */
int med_driveset_write(struct bth_buf *out, const struct med_driveset *d) _must_check_;
