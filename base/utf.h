/* SPDX-License-Identifier: GPL-3.0-or-later */
/* utf - UTF-16LE (Windows names, passwords) to UTF-8 and back, whatever the locale.
 * A lone surrogate, which NTFS allows in names, becomes its three-byte form (WTF-8) and comes back
 * as it was; bth_utf8_valid() refuses that form, so such names are recognised. Any thread. */
#pragma once

#include "base/macros.h"

#define BTH_UTF8_MAX_FROM_UTF16(units) ((units)*3 + 1)

/* `units` 16-bit little-endian units at `utf16` (any alignment) into `out`, which has room for
 * BTH_UTF8_MAX_FROM_UTF16(units) bytes; NUL-terminated. Returns the length without NUL. */
size_t bth_utf16_to_utf8(const void *utf16, size_t units, char *out);

/* UTF-8 into 16-bit little-endian units, no terminator; `out` has room for `n` units at most.
 * Returns 0 and the count, -EILSEQ for text that is not UTF-8 (or WTF-8), -ENOSPC when more than
 * `max_units` are needed. */
int bth_utf8_to_utf16(const char *text, size_t n, void *out, size_t max_units, size_t *ret_units)
        _must_check_;
