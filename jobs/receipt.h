/* SPDX-License-Identifier: GPL-3.0-or-later */
/* receipt - what happened to one drive while the station had it: for the customer, for custody.
 *
 * Serial number, bays and times, hash of the manifest, blobs and bytes of every run, where the logs
 * are, and who did what. As JSON and as text, both made from the same; the text ends with the
 * SHA-256 of the JSON, so that the two can be held together. No key, no address.
 * Blocks; belongs to the store's thread. Source: design, sections 3 and 4; import-export
 * specification 6.5, 6.6, 7.6. */
#pragma once

#include "jobs/store.h"

#define JOB_RECEIPT_VERSION 1

struct job_receipt {
        char *json;      /* one line, members sorted */
        char *text;      /* lines, UTF-8, what is hostile escaped */
        char sha256[65]; /* of `json`, upper-case hex */
};
void job_receipt_clear(struct job_receipt *r);

/* `station` names the station. A deleted job's drive has its receipt too, until the history is
 * pruned. Returns 0; -ENOENT for a job or drive that is not there; or an error of the store. */
int job_receipt_make(struct job_store *s, uint64_t job, size_t drive, const char *station,
                     uint64_t now_usec, struct job_receipt *ret_receipt, struct bth_error *error)
        _must_check_;
