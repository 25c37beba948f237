/* SPDX-License-Identifier: GPL-3.0-or-later */
/* claims - which entry of the manifest has which blob's name, so that two entries with one path and
 * the same content do not take each other's blob for their own.
 *
 * Names are not kept, only 64 bits of their keyed hash: 16 to 32 bytes a name. Should two names
 * meet by chance, a blob gets another name than it might have had. The caller locks. */
#pragma once

#include "base/macros.h"

struct upl_claims;

/* Returns 0, -ENOMEM, -errno of getrandom(2). */
int upl_claims_new(struct upl_claims **ret_claims) _must_check_;
struct upl_claims *upl_claims_free(struct upl_claims *c); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(upl_claims_free, struct upl_claims *);

/* Gives a name to the entry `blob`. Returns 0, also when it had it already; -EEXIST when another
 * entry has it; -ENOMEM. */
int upl_claims_take(struct upl_claims *c, const char *container, const char *name, uint64_t blob)
        _must_check_;
/* The same, whoever had it. Returns 0, -ENOMEM. */
int upl_claims_seize(struct upl_claims *c, const char *container, const char *name, uint64_t blob)
        _must_check_;
/* Has another entry than `blob` the name? */
bool upl_claims_others(const struct upl_claims *c, const char *container, const char *name,
                       uint64_t blob);
