/* SPDX-License-Identifier: GPL-3.0-or-later */
/* completion - what a shell offers behind the program's name, made from the verbs themselves: each
 * verb is asked for its options, so nothing can be offered that is not there, nor forgotten. */
#pragma once

#include "ctl/cli.h"

/* Prints the program's table as bash or zsh reads it, or as "json" for tools.
 * Returns an exit code: CTL_EXIT_USAGE for another shell, CTL_EXIT_FAILED without memory. */
enum ctl_exit ctl_completion(const char *program, const struct ctl_verb *const *verbs,
                             size_t n_verbs, const char *shell);

/* The same table: {"verbs": [{"name", "arguments", "summary", "options": [{"name", "argument",
 * "help"}]}]}; members without a value are left out. NULL when there is no memory. */
json_t *ctl_describe(const struct ctl_verb *const *verbs, size_t n_verbs) _must_check_;
