/* SPDX-License-Identifier: GPL-3.0-or-later */
/* arena - many strings that live and die together, without a malloc() each. One thread. */
#pragma once

#include "base/macros.h"

struct ctl_arena;

/* Returns 0 or -ENOMEM. */
int ctl_arena_new(struct ctl_arena **ret_arena) _must_check_;
struct ctl_arena *ctl_arena_free(struct ctl_arena *a); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(ctl_arena_free, struct ctl_arena *);

/* A copy of `n` bytes with NUL behind, or NULL when there is no memory. Owned by the arena. */
char *ctl_arena_string(struct ctl_arena *a, const char *text, size_t n) _must_check_;
