/* SPDX-License-Identifier: GPL-3.0-or-later */
/* seen - the search for doubles among millions of names, in at most 16 bytes a name.
 *
 * Names are not kept, only 72 bits of their keyed hash. So one name in a million counts as seen by
 * mistake with a chance of 1 in 10^9, and nobody can make that happen on purpose: good for a
 * warning, not for a decision. One object belongs to one thread. */
#pragma once

#include "base/macros.h"

struct med_seen;

/* Returns 0, -ENOMEM, -errno of getrandom(2). */
int med_seen_new(struct med_seen **ret_seen) _must_check_;
struct med_seen *med_seen_free(struct med_seen *s); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(med_seen_free, struct med_seen *);

/* Adds a name. Returns 1 when it was there already, 0 when it is new, -ENOMEM. */
int med_seen_add(struct med_seen *s, const void *name, size_t n) _must_check_;

uint64_t med_seen_count(const struct med_seen *s) _pure_;
/* Memory in use: at most 16 bytes a name and 72 KiB. */
uint64_t med_seen_bytes(const struct med_seen *s) _pure_;
