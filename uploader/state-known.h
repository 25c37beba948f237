/* SPDX-License-Identifier: GPL-3.0-or-later */
/* state-known - what the records of a transfer say, in memory: of each blob its intent, its outcome
 * and its acknowledged page ranges, and whose each name is. Grows only. Inside uploader/state*.c
 * only; one thread at a time: whoever holds the lock of the state. */
#pragma once

#include "uploader/claims.h"
#include "uploader/state.h"

struct entry;
struct upl_known {
        struct entry **buckets; /* by blob */
        size_t n_buckets, n_entries;
        struct upl_claims *claims;
};

struct upl_page {
        uint64_t offset_bytes, length_bytes;
};

/* Returns 0 or -ENOMEM; then it is empty. */
int upl_known_init(struct upl_known *k) _must_check_;
void upl_known_clear(struct upl_known *k); /* nothing happens to one that is empty */

/* A record says so. An intent, and an outcome, ends what was known of the blob's intent and pages,
 * and takes the name in `container` for the blob, unless it was skipped. Return 0 or -ENOMEM. */
int upl_known_intent(struct upl_known *k, uint64_t blob, const char *container,
                     const struct upl_intent *intent) _must_check_;
int upl_known_outcome(struct upl_known *k, uint64_t blob, const char *container,
                      const struct upl_outcome *outcome) _must_check_;
int upl_known_page(struct upl_known *k, uint64_t blob, struct upl_page page) _must_check_;

/* As upl_state_get_intent() and the like. Return 0, -ENOENT when nothing is known, -ENOMEM. */
int upl_known_get_intent(const struct upl_known *k, uint64_t blob, struct upl_intent *ret_intent)
        _must_check_;
int upl_known_get_outcome(const struct upl_known *k, uint64_t blob, struct upl_outcome *ret_outcome)
        _must_check_;
bool upl_known_has_page(const struct upl_known *k, uint64_t blob, struct upl_page page);
