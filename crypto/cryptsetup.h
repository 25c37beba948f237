/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cryptsetup - libcryptsetup as a source of the volume key. Private to crypto/. */
#pragma once

#include "crypto/metadata.h"
#include "base/secret.h"

/* Asks libcryptsetup for the volume key, over a memfd that holds what it needs.
 *   credential  as it wants it: recovery password or password text, or a whole .BEK file
 * Returns 0; -ENOKEY when it says no, whatever its reason; -errno of memfd_create(2) and writes;
 * -ENOMEM. */
int cry_cryptsetup_key(const struct cry_metadata *m, const struct bth_secret *credential,
                       struct bth_secret **ret_key) _must_check_;
