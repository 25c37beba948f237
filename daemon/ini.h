/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ini - sections, keys and values of a configuration file, with the line of each.
 *
 *     # comment            ; comment
 *     [account photos]     a section: its kind, and for some a name
 *     key = value          the value goes to the end of the line; blanks around it do not count
 *
 * Nothing else: no quotes, no escapes, no continued lines, so that what is read is what is seen. A
 * key given twice in one section of one file is an error; a later file (drop-in) replaces it. Any
 * thread. */
#pragma once

#include "base/error.h"

#define DMN_INI_MAX_BYTES ((size_t)1 << 20)

struct dmn_ini_entry {
        const char *section; /* "account" */
        const char *name;    /* "photos"; "" where the section has none */
        const char *key;     /* NULL: the section itself */
        const char *value;   /* never NULL with a key; may be "" */
        uint64_t line;
};

/* Called for each section and each key in the order of the file; texts live during the call only.
 * Returns 0, or a negative errno that ends the reading (`error` says why; the place is filled in).
 */
typedef int (*dmn_ini_fn)(void *userdata, const struct dmn_ini_entry *e, struct bth_error *error);

/* Reads a file from memory; `object` names it in errors.
 * Returns 0; -EBADMSG with the line for what is none of the above, a key outside a section or given
 * twice, a control character, text that is not UTF-8; -EFBIG; -ENOMEM; what `fn` gave. */
int dmn_ini_parse(const char *text, size_t n, const char *object, dmn_ini_fn fn, void *userdata,
                  struct bth_error *error) _must_check_;
