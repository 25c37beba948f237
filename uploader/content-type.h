/* SPDX-License-Identifier: GPL-3.0-or-later */
/* content-type - a blob's content type guessed by its name's extension. Any thread.
 * Source: IANA media types; a small table of what drives carry. */
#pragma once

#include "base/macros.h"

/* "image/jpeg" for "a/b.JPG"; NULL where the extension tells nothing. */
const char *upl_content_type_of(const char *name);
