/* SPDX-License-Identifier: GPL-3.0-or-later */
/* state - what a transfer remembers on the station: intents, page ranges, finished blobs.
 *
 *     +0  header, 64 bytes: "BERTHUPL", u32 version, u32 0, 32 bytes identity, 8 bytes 0, u64
 * CRC-64 then records: u32 kind, u32 length, u64 blob index, payload, u64 CRC-64 of all before
 *
 * A file that only grows. The service is the memory of the data itself; here stands what it cannot
 * tell: which name was picked, under which condition, and what was finished, and which entry of the
 * manifest has which name. An intent is on stable storage before the first block of its blob is
 * sent. A record that was cut by a crash ends the
 * file: what is behind it is dropped. All integers little-endian. Any thread. Source: design,
 * decisions 5 and 8. */
#pragma once

#include "base/error.h"
#include "base/status.h"

#define UPL_STATE_VERSION        2u
#define UPL_STATE_IDENTITY_BYTES 32u

struct upl_state;

/* Opens or makes the file `name` in the folder `folder_fd`. `identity` names drive and manifest (a
 * SHA-256): a file of another one is not used. The file is locked against a second worker.
 * Returns 0; -ESTALE for another identity; -EPROTO for another version; -EBADMSG when it is no such
 * file; -EBUSY when it is in use; -errno of openat(2), pread(2), ftruncate(2); -ENOMEM. */
int upl_state_open(int folder_fd, const char *name,
                   const uint8_t identity[UPL_STATE_IDENTITY_BYTES], struct upl_state **ret_state,
                   struct bth_error *error) _must_check_;
struct upl_state *upl_state_free(struct upl_state *s); /* does not flush; NULL is fine */
DEFINE_CLEANUP(upl_state_free, struct upl_state *);

/* The identity it was opened with, UPL_STATE_IDENTITY_BYTES; borrowed. */
const uint8_t *upl_state_identity(const struct upl_state *s);

/* When this transfer was begun, by the service's clock: what was put there since and is ours needs
 * no intent. Recorded once, and on stable storage when it returns. Returns as upl_state_intend().
 */
int upl_state_begin(struct upl_state *s, uint64_t realtime_usec) _must_check_;
uint64_t upl_state_begun(struct upl_state *s); /* 0: not yet */

/* What is decided for a blob before anything of it is sent. */
struct upl_intent {
        char *name;             /* in its container; after rename another one than the manifest's */
        char *etag;             /* of the blob that is replaced; NULL: there must be none */
        char *lease_id;         /* taken while it is replaced; NULL: none */
        uint64_t realtime_usec; /* when it was decided, by the clock of the service where known */
};
void upl_intent_clear(struct upl_intent *i);

/* How a blob ended. */
struct upl_outcome {
        enum bth_blob_status status;
        enum bth_disposition_status disposition;
        char *name; /* as it is in its container */
        char *etag; /* NULL: none */
};
void upl_outcome_clear(struct upl_outcome *o);

/* A name is taken by one entry: by a record of it, or for this run. Returns 0, also when the entry
 * had it already; -EEXIST when another entry has it; -ENOMEM. */
int upl_state_claim(struct upl_state *s, uint64_t blob, const char *container, const char *name)
        _must_check_;
/* Has another entry than `blob` the name? */
bool upl_state_is_claimed(struct upl_state *s, uint64_t blob, const char *container,
                          const char *name);

/* Record; an intent is on stable storage when it returns, and calls of many threads share one
 * flush. An outcome is not: should it be lost, the blob is found to be ours again. Their names in
 * `container` are the entry's from then on, unless it was skipped. Return 0; -errno of write(2) or
 * fdatasync(2), after which every call fails alike; -ENOMEM. */
int upl_state_intend(struct upl_state *s, uint64_t blob, const char *container,
                     const struct upl_intent *intent) _must_check_;
int upl_state_finish(struct upl_state *s, uint64_t blob, const char *container,
                     const struct upl_outcome *outcome) _must_check_;
/* Brings all to stable storage. Returns as above. */
int upl_state_flush(struct upl_state *s) _must_check_;
/* A range of a page blob is acknowledged. Not flushed at once: a lost record costs sending it
 * again. Returns 0, -errno of write(2), -ENOMEM. */
int upl_state_page(struct upl_state *s, uint64_t blob, uint64_t offset_bytes, uint64_t length_bytes)
        _must_check_;
/* The page blob of the present intent was made by us; recorded before its first page is sent. Not
 * flushed: should it be lost, its pages are compared. Returns as above. */
int upl_state_made(struct upl_state *s, uint64_t blob) _must_check_;

/* What is known; results are copies. Returns 0, -ENOENT when nothing is, -ENOMEM. */
int upl_state_get_intent(struct upl_state *s, uint64_t blob, struct upl_intent *ret_intent)
        _must_check_;
int upl_state_get_outcome(struct upl_state *s, uint64_t blob, struct upl_outcome *ret_outcome)
        _must_check_;
/* Is [offset, offset + length) recorded as one acknowledged range, since the last intent? */
bool upl_state_has_page(struct upl_state *s, uint64_t blob, uint64_t offset_bytes,
                        uint64_t length_bytes);
bool upl_state_is_made(struct upl_state *s, uint64_t blob);
