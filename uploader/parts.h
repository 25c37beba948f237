/* SPDX-License-Identifier: GPL-3.0-or-later */
/* parts - the blocks or pages of one blob under way. Internal to transfer.c and parts.c. */
#pragma once

#include <pthread.h>

#include "base/log.h"
#include "uploader/blob.h"
#include "uploader/stream.h"
#include "uploader/transfer.h"

/* Beside 0 and negative errnos: */
#define TRANSFER_SKIP  1 /* the blob is left as it is */
#define TRANSFER_OURS  2 /* another station has put it there */
#define TRANSFER_KNOWN 3 /* an earlier run has brought it to its end */

struct upl_part_state {
        char id[UPL_PLAN_ID_BYTES];
        uint8_t md5[BTH_MD5_BYTES]; /* the manifest's, or ours once it was read */
        uint64_t crc64;             /* of a piece of a page range, which has no MD5 of its own */
        bool has_id, has_md5, has_crc64;
        bool sent;      /* acknowledged under the present name */
        bool recheck;   /* the service found another hash: read it again and hash it here */
        bool dirty;     /* pages of other content are there: zeros are to be written too */
        bool bad;       /* its range does not have the manifest's hash */
        size_t same_as; /* the first part with this content: itself, unless it is a repetition */
};

struct upl_flight;

#define UPL_AHEAD_MAX 16u

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
        unsigned n_renames, n_overwrites, n_leases_lost;
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
        struct {
                size_t part;
                void *data;
        } ahead[UPL_AHEAD_MAX]; /* read and hashed together, in the order of parts; not yet sent */
        size_t n_ahead, next_ahead;
        int part_failed; /* the first fault of a part, which lets the others be tried */
        struct bth_error part_error;
        unsigned round; /* 1: only parts that are read again */
        bool again;     /* some parts are to be read and sent once more; under the lock in flight */

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

/* Reads and hashes parts side by side into `ahead`, which must be empty; waits for memory for all
 * of them. What cannot be read or has another hash is left out: loading it alone tells why. Returns
 * 0, -ENOMEM, -ECANCELED. */
int upl_parts_load_ahead(struct upl_transfer *t, const size_t *parts, size_t n) _must_check_;
/* The part's buffer if it is the next of `ahead`, or NULL; dropping frees what is left. */
void *upl_parts_take_ahead(struct upl_transfer *t, size_t i);
void upl_parts_drop_ahead(struct upl_transfer *t);

/* Is the part too long to be held whole? */
bool upl_part_is_long(const struct upl_transfer *t, size_t i);
/* Reads a whole page range that was cut, of which `i` is the first piece, and compares its hash;
 * the pieces get their CRC-64. Returns 0; errors as above, -EILSEQ for every piece. */
int upl_part_check_range(struct upl_transfer *t, size_t i) _must_check_;
/* Is what the service has in place of a part the same? Returns 0; -ENOMEM, -ECANCELED, and as
 * upl_failure_errno() says. */
int upl_part_compare_remote(struct upl_transfer *t, size_t i, bool *ret_same) _must_check_;
/* What the service is to compare the part's body with. */
struct upl_checksum upl_part_checksum(const struct upl_transfer *t, size_t i);
/* Reads a part only for its hash and id, where the manifest gives none. Returns 0; errors as above.
 */
int upl_part_learn_hash(struct upl_transfer *t, size_t i) _must_check_;
/* The body of a long part with a known hash. Returns 0; errors as above. */
int upl_part_stream(struct upl_transfer *t, size_t i, struct upl_stream **ret_stream) _must_check_;
/* Takes the MD5 that was computed of a part. False when it is not the one that is known. */
bool upl_part_take_hash(struct upl_transfer *t, size_t i, const uint8_t md5[BTH_MD5_BYTES]);
/* Is the part inside the file? Without making it a fault. */
bool upl_part_check_quietly(const struct upl_transfer *t, size_t i);
/* Is the part inside the file? Returns 0, or -ENODATA as the part's fault. */
int upl_part_check_end(struct upl_transfer *t, size_t i) _must_check_;
/* Makes an error of reading or hashing the part's fault. Returns the error as it counts for the
 * blob: -ENODEV, -EILSEQ, -EIO, -ENOMEM, -ECANCELED. */
int upl_part_read_fault(struct upl_transfer *t, size_t i, int r) _must_check_;

/* Downloads every part and compares its hash with what was sent. Returns 0, -EBADMSG, what
 * upl_failure_errno() says, -ENOMEM, -ECANCELED. */
int upl_parts_read_back(struct upl_transfer *t) _must_check_;

/* Compares a page blob that is there with what is to be there, by the hashes of its ranges: parts
 * that are the same are marked as sent. *ret_ours: nothing is there that would not be ours. Returns
 * 0, and errors as upl_parts_send(). */
int upl_pages_compare(struct upl_transfer *t, bool *ret_ours) _must_check_;

/* The stages of upl_transfer_run(), for batches. `t` has its environment, item and result.
 * Opening returns 0, TRANSFER_KNOWN (nothing else may be done), or an error for closing; */
int upl_transfer_open(struct upl_transfer *t) _must_check_;
/* driving to the end, where the first try was made already or not, returns what closing takes; */
int upl_transfer_drive(struct upl_transfer *t, bool tried, int r) _must_check_;
/* closing returns as upl_transfer_run(). */
int upl_transfer_close(struct upl_transfer *t, int r) _must_check_;
/* Put Blob of all that is held. Returns 0 and the errors of the builder. */
int upl_transfer_build_whole(struct upl_transfer *t, const void *data, struct upl_call *call)
        _must_check_;
/* Its answer. Returns as upl_failure_errno() says, -EBADMSG for another checksum. */
int upl_transfer_whole_answered(struct upl_transfer *t, struct upl_call *call) _must_check_;

/* Takes the service's clock from an answer. */
void upl_transfer_learn(struct upl_transfer *t, const struct upl_call *call);
/* A request of this blob; the service's clock is learned from its answer. `built` is the builder's
 * result. Returns as upl_client_call(), and -ECANCELED. */
int upl_transfer_call(struct upl_transfer *t, struct upl_call *call, int built) _must_check_;
/* The same of one that may take longer than the blob's lease, which is kept meanwhile. Returns the
 * same. */
int upl_transfer_call_leased(struct upl_transfer *t, struct upl_call *call, int built) _must_check_;
/* The blob under its picked name, with the lease where there is one. */
struct upl_target upl_transfer_target(const struct upl_transfer *t);
/* Did an earlier attempt of ours, under the stored intent, commit what is there now? Returns 0, and
 * errors as upl_parts_send(). */
int upl_transfer_is_ours(struct upl_transfer *t, bool *ret_ours) _must_check_;
/* Takes a name for this entry of the manifest. Returns as upl_state_claim(). */
int upl_transfer_claim(struct upl_transfer *t, const char *name) _must_check_;
/* Picks the name and the condition and stores the intent. Returns 0, TRANSFER_SKIP, TRANSFER_OURS,
 * and errors as upl_parts_send(). */
int upl_transfer_decide(struct upl_transfer *t) _must_check_;
/* Takes the lease of a blob that is to be replaced. Returns 0, and as upl_failure_errno() says. */
int upl_transfer_lease(struct upl_transfer *t) _must_check_;
void upl_transfer_release(struct upl_transfer *t);
#define UPL_LEASE_LOOK_SECONDS 5
/* Renews the lease when it is time. Returns 0, and as upl_failure_errno() says. */
int upl_transfer_keep_lease(struct upl_transfer *t) _must_check_;
