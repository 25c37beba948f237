/* SPDX-License-Identifier: GPL-3.0-or-later */
/* transfer - one blob from the drive to the service, to its end.
 *
 *     outcome known? ── yes ── done
 *     intent known?  ── yes ── is the blob there already ours? ── yes ── done
 *        │ no: look, pick the name, store the intent
 *        v
 *     parts: budget - read - hash - compare - send (many in flight)
 *        v
 *     commit under a condition ── 409, 412 ── ours? else by disposition: next name, skip, look
 * again
 *        v
 *     compare the service's answer ── store the outcome
 *
 * Everything may run twice without harm: after a kill at any point the same call goes on where it
 * was. A blob is "ours" when it is this entry's of the manifest: what another entry has put there
 * (claims.h), with one path and the same content, is somebody else's, and under rename both stay.
 * Source: design, section 3; import-export specification 2.5, 5.3. */
#pragma once

#include <stdatomic.h>

#include "base/source.h"
#include "media/sidecar.h"
#include "uploader/budget.h"
#include "uploader/client.h"
#include "uploader/hasher.h"
#include "uploader/plan.h"
#include "uploader/state.h"

#define UPL_RENAMES_MAX 1000u

/* What all transfers of a drive share; everything is borrowed and may be used by many threads. */
struct upl_transfer_env {
        struct upl_client *client;
        struct upl_state *state;
        struct upl_budget *budget;
        struct upl_hasher *hasher;
        const atomic_bool *stop; /* set: no new request; running ones end by upl_client_stop() */
        bool readback;           /* download and hash again before a blob is called done */
        bool service_hash; /* no local hash where the service compares the manifest's with it */
        bool guess_content_type;    /* by the blob's name, where nothing else gives one */
        const char *only_container; /* blobs of others are refused; NULL: any */
        const char *containers;     /* the same of several, apart by blanks; NULL: any */
        /* When this drive was first begun, by the service's clock, perhaps on another station: what
         * was put there since and equals ours is ours. 0: by this record only. */
        uint64_t begun_usec;
        unsigned lease_seconds;          /* 15 to 60; 0: 60 */
        atomic_llong service_clock_usec; /* what the service's clock is ahead of ours; set by us */
};

struct upl_transfer_item {
        const struct med_manifest_blob *blob;
        struct bth_source *content; /* the file; at least as long as the blob, or reads say so */
        const struct med_properties *properties; /* NULL: none */
        const struct med_metadata *metadata;     /* NULL: none */
        const char *content_type;                /* when the properties have none; NULL: none */
};

struct upl_transfer_result {
        struct upl_outcome outcome;
        enum bth_range_status *ranges; /* of the plan's parts; NULL when there was no plan */
        struct upl_plan *plan;
        struct bth_error error; /* why it is not Completed */
        uint64_t sent_bytes;
        bool resumed; /* an intent of an earlier run was found */
};
void upl_transfer_result_clear(struct upl_transfer_result *r);

/* Transfers one blob. Blocks.
 * Returns 0 with a result, which is also how a blob that failed ends: `outcome.status` names it,
 * and it is not stored, so that a later run tries it again. A negative errno means that the drive
 * cannot go on: -ECANCELED stopped, -ENODEV the drive is gone, -ENOMEM, or the state's own error.
 */
int upl_transfer_run(struct upl_transfer_env *env, const struct upl_transfer_item *item,
                     struct upl_transfer_result *ret_result) _must_check_;
