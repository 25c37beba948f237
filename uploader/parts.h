/* SPDX-License-Identifier: GPL-3.0-or-later */
/* parts - the blocks or pages of one blob under way. Internal to transfer.c and parts.c. */
#pragma once

#include <pthread.h>

#include "base/log.h"
#include "uploader/blob.h"
#include "uploader/stream.h"
#include "uploader/transfer.h"

#define TRANSFER_SKIP 1 /* beside 0 and negative errnos: the blob is left as it is */

struct upl_part_state {
        char id[UPL_PLAN_ID_BYTES];
        uint8_t md5[BTH_MD5_BYTES]; /* the manifest's, or ours once it was read */
        bool has_id, has_md5;
        bool sent;      /* acknowledged under the present name */
        size_t same_as; /* the first part with this content: itself, unless it is a repetition */
};

struct upl_flight;

struct upl_transfer {
        struct upl_transfer_env *env;
        const struct upl_transfer_item *item;
        struct upl_transfer_result *result;
        const struct upl_plan *plan;
        char *container, *name; /* as the manifest says */
        enum bth_disposition disposition;
        struct upl_intent intent;
        char *etag; /* of what we committed */
        struct upl_part_state *parts;
        unsigned n_renames, n_overwrites;
        uint64_t leased_usec;
        bool decided; /* `intent` holds and is stored */
        bool looked;  /* somebody has the name: no more sending without looking */
        bool leased;
        bool ambiguous; /* a commit may have had its effect without an answer */
        bool container_missing;
        bool pages_made;   /* the page blob under this name is ours */
        bool drive_failed; /* a part could not be read */

        struct upl_remote_blocks remote; /* uncommitted ones under this name, by id */
        size_t n_recorded;               /* of `acknowledged`: in the state */
        unsigned n_streams;              /* long blocks under way */
        int part_failed; /* the first fault of a part, which lets the others be tried */
        struct bth_error part_error;

        bool has_lock;
        pthread_mutex_t lock; /* over all below, and parts[].sent, result->ranges,
                                 result->sent_bytes and container_missing while parts are in flight;
                                 nothing is locked while it is held */
        pthread_cond_t changed;
        unsigned n_flying;
        struct upl_flight *ended; /* long blocks whose call has ended, for this thread to free */
        size_t *acknowledged;     /* page parts, in the order of their answers */
        size_t n_acknowledged;
        int failed; /* the first error of a request */
        struct bth_error failed_error;
};

/* Room for the plan's parts, and what is known of them. Returns 0 or -ENOMEM. */
int upl_parts_prepare(struct upl_transfer *t) _must_check_;
void upl_parts_clear(struct upl_transfer *t);

/* Reads, hashes and sends every part that the service does not have, many at once.
 * Returns 0 when it has all; -EILSEQ when one does not have the manifest's hash; -EIO when one
 * cannot be read; -ENODEV, -ECANCELED, -ENOMEM; what upl_failure_errno() says of a request. */
int upl_parts_send(struct upl_transfer *t) _must_check_;

/* One part into memory of the budget, with the right hash. Returns 0 and the buffer, for
 * upl_part_unload(); errors as above. */
int upl_part_load(struct upl_transfer *t, size_t i, void **ret_data) _must_check_;
void upl_part_unload(struct upl_transfer *t, size_t i, void *data);

/* Is the part too long to be held whole? */
bool upl_part_is_long(const struct upl_transfer *t, size_t i);
/* Reads a part only for its hash and id, where the manifest gives none. Returns 0; errors as above.
 */
int upl_part_learn_hash(struct upl_transfer *t, size_t i) _must_check_;
/* The body of a long part with a known hash. Returns 0; errors as above. */
int upl_part_stream(struct upl_transfer *t, size_t i, struct upl_stream **ret_stream) _must_check_;
/* Is the part inside the file? Returns 0, or -ENODATA as the part's fault. */
int upl_part_check_end(struct upl_transfer *t, size_t i) _must_check_;
/* Makes an error of reading or hashing the part's fault. Returns the error as it counts for the
 * blob: -ENODEV, -EILSEQ, -EIO, -ENOMEM, -ECANCELED. */
int upl_part_read_fault(struct upl_transfer *t, size_t i, int r) _must_check_;

/* Downloads every part and compares its hash with what was sent. Returns 0, -EBADMSG, what
 * upl_failure_errno() says, -ENOMEM, -ECANCELED. */
int upl_parts_read_back(struct upl_transfer *t) _must_check_;

/* Renews the lease when it is time. Returns 0, and as upl_failure_errno() says. */
int upl_transfer_keep_lease(struct upl_transfer *t) _must_check_;
