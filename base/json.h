/* SPDX-License-Identifier: GPL-3.0-or-later */
/* json - jansson with cleanup and strict getters. Jansson's own rules on threads apply: one value
 * belongs to one thread. */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/macros.h"

static inline json_t *bth_json_free(json_t *j)
{
        json_decref(j);
        return NULL;
}
DEFINE_CLEANUP(bth_json_free, json_t *);
#define _cleanup_json_ _cleanup_(bth_json_freep)

/* From now on what jansson frees is wiped before: also the copies that its parser makes of texts.
 * For a process that gets secrets as JSON; once, when it begins. */
void bth_json_wipe_freed(void);

/* Parses `n` bytes: an object, no duplicate keys, valid UTF-8, nothing behind it.
 * Returns 0, -EBADMSG (error names line and column), -EFBIG beyond 16 MiB, -ENOMEM. */
int bth_json_parse(const char *text, size_t n, json_t **ret_json, struct bth_error *error)
        _must_check_;

/* The same with an array. Returns as bth_json_parse(). */
int bth_json_parse_array(const char *text, size_t n, json_t **ret_json, struct bth_error *error)
        _must_check_;

/* Members of an object. Returns 0, -ENOENT when absent or null, -EBADMSG for another type or range.
 * The string is borrowed from `object`. */
int bth_json_get_string(const json_t *object, const char *key, const char **ret_text) _must_check_;
int bth_json_get_u64(const json_t *object, const char *key, uint64_t *ret_value) _must_check_;
int bth_json_get_bool(const json_t *object, const char *key, bool *ret_value) _must_check_;

/* Compact text; free() it. NULL when there is no memory. */
char *bth_json_to_text(const json_t *j) _must_check_;
