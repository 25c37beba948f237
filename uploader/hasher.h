/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hasher - MD5 for many threads at once, in the lanes of one multi-buffer hash.
 * Who comes while nobody hashes does so for all that wait; who comes meanwhile is in the next
 * batch. */
#pragma once

#include "base/digest.h"
#include "base/macros.h"
#include "crypto/md5multi.h"

struct upl_hasher;

/* Returns 0 or -ENOMEM. */
int upl_hasher_new(struct upl_hasher **ret_hasher) _must_check_;
struct upl_hasher *upl_hasher_free(struct upl_hasher *h); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(upl_hasher_free, struct upl_hasher *);

/* A thread that reads says that it will come: others wait for it, to hash side by side. It must
 * come, with at most 32 jobs, or say that it does not; meanwhile it must not wait for anybody's
 * hash or for memory. */
void upl_hasher_expect(struct upl_hasher *h);
void upl_hasher_expected(struct upl_hasher *h, struct cry_md5_job *jobs, size_t n);
void upl_hasher_expect_no_more(struct upl_hasher *h);

/* Adds data to a stream of the caller's, or makes the MD5 of one whole message. Block until it is
 * done, for about as long as hashing the longest data of the batch takes. Any thread; a stream
 * belongs to one. */
void upl_hasher_update(struct upl_hasher *h, struct cry_md5 *md5, const void *data, size_t n);
void upl_hasher_md5(struct upl_hasher *h, const void *data, size_t n,
                    uint8_t ret_md5[BTH_MD5_BYTES]);
