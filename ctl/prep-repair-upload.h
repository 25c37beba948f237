/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-repair-upload - the originals that were found, straight to the account, with the engine that
 * the station uses: what the service holds already of a blob is not sent again, and a run that was
 * cut off goes on where it was. */
#pragma once

#include "ctl/prep-account.h"
#include "ctl/prep-repair.h"

struct ctl_repair_upload {
        struct ctl_account *account;
        struct ctl_repair *repair;
        const char *state_path; /* of the engine; bound to the logs and the account */
        const char *account_url;
        bool quiet;
        /* How a blob ended; one thread at a time. */
        void (*ended)(void *userdata, const struct ctl_repair_entry *e, enum bth_blob_status status,
                      enum bth_disposition_status disposition, const char *name,
                      const struct bth_error *error);
        void *userdata;
};

/* Uploads every entry whose original is FOUND, except those of Azure Files.
 * Returns 0 when each came to its end, well or badly; the errors of upl_state_open() (-ESTALE: the
 * state is of other logs or another account) and upl_engine_run(); -ENOMEM. Blocks. */
int ctl_repair_upload(const struct ctl_repair_upload *upload, struct bth_error *error) _must_check_;
