/* SPDX-License-Identifier: GPL-3.0-or-later */
/* redact - a manifest as it may be shown: with its credentials blanked out.
 *
 * What is in <StorageAccountKey> and <ContainerSas> is read as asterisks; all else, and every
 * length, is as it was. In UTF-8 and its kin, and in UTF-16. Source: import-export specification
 * 2.2, 5.6. */
#pragma once

#include "base/source.h"

#define UPL_REDACT_PLACES_MAX 64u

/* A source over `below`, which is borrowed and is read once from its begin to its end to find them.
 * Returns 0; -E2BIG for more places than UPL_REDACT_PLACES_MAX; the errors of bth_source_read();
 * -ENOMEM. Blocks. */
int upl_redact_new(struct bth_source *below, struct bth_source **ret_source) _must_check_;
