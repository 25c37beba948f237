/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker-log - the copy logs of a drive: written to unlinked files while it is copied, uploaded at
 * its end.
 *
 * The error log has what needs attention: blobs that failed, with the ranges that did, and blobs
 * that did not end as a new blob under their own name. The verbose log has every blob. Both are
 * written anew in each run; what was finished in earlier runs comes from the record of decisions.
 * One thread. Source: import-export specification 5.2, 5.3, 5.6. */
#pragma once

#include "media/copylog.h"
#include "uploader/transfer.h"
#include "uploader/worker-list.h"
#include "uploader/worker-sidecar.h"

/* How one blob ended. */
struct upl_log_blob {
        const struct upl_listed *listed;
        enum bth_blob_status status;
        enum bth_disposition_status disposition;
        const char *name;            /* in its container, as it is now; NULL: the manifest's */
        const struct upl_plan *plan; /* NULL: nothing was tried in this run */
        const enum bth_range_status *ranges;  /* of the plan's parts */
        const struct upl_sidecar *metadata;   /* NULL: none */
        const struct upl_sidecar *properties; /* NULL: none */
};

struct upl_logs;

/* Begins the logs. Both descriptors are empty, readable and writable; taken over, also on failure.
 * `verbose_fd` is BTH_FD_NONE when no verbose log is wanted. Returns 0, -ENOMEM, -errno of
 * write(2).
 */
int upl_logs_new(const char *drive_id, int error_fd, int verbose_fd, struct upl_logs **ret_logs)
        _must_check_;
struct upl_logs *upl_logs_free(struct upl_logs *l); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(upl_logs_free, struct upl_logs *);

/* Adds one blob. Returns 0, -ENOMEM, -errno of write(2). */
int upl_logs_add(struct upl_logs *l, const struct upl_log_blob *blob) _must_check_;

/* Ends the logs with the drive's status. Returns 0, -ENOMEM, -errno of write(2). */
int upl_logs_end(struct upl_logs *l, enum bth_drive_status status) _must_check_;

/* What was written, whole after upl_logs_end(); NULL where there is none. Borrowed. */
struct bth_source *upl_logs_error(struct upl_logs *l);
struct bth_source *upl_logs_verbose(struct upl_logs *l);

/* Uploads a small or large XML document as a block blob, replacing one of that name; makes the
 * container when it is missing. Returns 0; -ECANCELED; the errors of reading `content`; as
 * upl_failure_errno() says; -ENOMEM. Blocks. */
int upl_log_upload(struct upl_client *client, const char *container, const char *name,
                   struct bth_source *content, struct bth_error *error) _must_check_;
