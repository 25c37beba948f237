/* SPDX-License-Identifier: GPL-3.0-or-later */
/* stream - the body of a request too long to be held: read, hashed and sent in slices.
 *
 *     thread: read a slice ── hash ── ring of four slices ── client's thread: into the request
 *                                         ^ the last slice only when the whole hash is right
 *
 * The hash goes out in front of the body, so a body that does not have it must never end: its last
 * slice is held back until our own MD5 agrees, else the request is aborted and the service keeps
 * nothing. A retry begins again at the drive. The first time that the hash differs counts as a
 * failed attempt, since memory and cables fail too; the second time ends the call.
 * Source: issue "uploader", blocks up to 4,000 MiB; Put Block (REST). */
#pragma once

#include "base/source.h"
#include "uploader/budget.h"
#include "uploader/client.h"
#include "uploader/hasher.h"

#define UPL_STREAM_SLICE_BYTES (UINT64_C(1) << 20)
#define UPL_STREAM_HELD_BYTES  (4 * UPL_STREAM_SLICE_BYTES) /* of the budget, while it lives */

struct upl_stream;

struct upl_stream_options {
        struct bth_source *content; /* [offset, offset + length) of it; borrowed */
        uint64_t offset_bytes;
        uint64_t length_bytes; /* at least 1 */
        const uint8_t *md5;    /* 16 bytes; copied */
        bool unchecked; /* no hash here: the service compares its own with what it was told */
        struct upl_client *client;
        struct upl_budget *budget;
        struct upl_hasher *hasher;
};

/* Takes its share of the budget, which may wait. Returns 0; -EINVAL when the range is not in the
 * source; -ECANCELED once the budget is closed; -ENOMEM; -errno of pthread_create(3). */
int upl_stream_new(const struct upl_stream_options *options, struct upl_stream **ret_stream)
        _must_check_;
/* Waits for the read that is under way. The call must have ended. NULL is fine; returns NULL. */
struct upl_stream *upl_stream_free(struct upl_stream *s);
DEFINE_CLEANUP(upl_stream_free, struct upl_stream *);

/* Makes the stream the body of `call`, whose request was built with the right length. The stream
 * must outlive the call. */
void upl_stream_attach(struct upl_stream *s, struct upl_call *call);
/* The call has ended: the memory is given back as soon as a read under way is. Does not wait; any
 * thread. */
void upl_stream_detach(struct upl_stream *s);

/* Why the body could not be delivered. Returns 0 when nothing of ours failed, -EILSEQ when the
 * content does not have its hash, -EIO, -ENODEV and others of bth_source_read(). */
int upl_stream_fault(struct upl_stream *s) _must_check_;
