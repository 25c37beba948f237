/* SPDX-License-Identifier: GPL-3.0-or-later */
/* header-hash - a job's driveHeaderHash, compared with the drive: "offset:length:hash;…" over the
 * raw disk. How it is computed was never published; the form is observed, so a difference is only
 * something to be told. Any thread. Source: import-export specification 2.9. */
#pragma once

#include "base/error.h"
#include "base/source.h"

#define UPL_HEADER_REGIONS_MAX 64u
#define UPL_HEADER_BYTES_MAX   (UINT64_C(256) << 20) /* of all regions */

/* The digits of a hash say which it is: 32 MD5, 64 SHA-256, 128 SHA-512.
 * Returns 0 when all regions fit; -EILSEQ when one does not, with its offset; -EINVAL for a text of
 * another form; -ERANGE for a region outside the disk or too many bytes; as bth_source_read();
 * -ENOMEM. Blocks. */
int upl_header_hash_check(struct bth_source *device, const char *text, struct bth_error *error)
        _must_check_;
