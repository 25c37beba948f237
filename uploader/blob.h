/* SPDX-License-Identifier: GPL-3.0-or-later */
/* blob - builders for the operations of the Blob service, and readers for their answers.
 *
 * A builder fills a `struct upl_request` (it need not be initialised), which is then given to
 * upl_client_call() or upl_client_start() within a call. All texts are copied; bodies are borrowed
 * and must stay until the call has ended. Every builder returns 0, -EINVAL for a text that cannot
 * be in a header, -E2BIG, -ENOMEM; on failure the request is cleared. Any thread. Source: Blob
 * service REST API, the pages named after the operations. */
#pragma once

#include "media/sidecar.h"
#include "uploader/answer.h"
#include "uploader/request.h"

/* Which blob, and under which conditions. Unused parts are NULL. */
struct upl_target {
        const char *container;
        const char *blob;
        const char *snapshot;
        const char *lease_id;
        const char *if_match;      /* an ETag with its quotes */
        const char *if_none_match; /* an ETag, or "*": the blob must not exist */
};

/* What a blob gets with its content. Unused parts are NULL. */
struct upl_attributes {
        const struct med_properties *properties;
        const struct med_metadata *metadata;
        const char *content_type; /* when the properties have none */
        const uint8_t *md5;       /* 16 bytes: the whole blob's, stored as its property */
};

/* The checksum that the service compares with the body: one of them, or none. */
struct upl_checksum {
        const uint8_t *md5;    /* 16 bytes */
        const uint64_t *crc64; /* CRC-64/NVME */
};

/* Containers. Returns as said on top. */
int upl_create_container(struct upl_request *q, const char *container) _must_check_;
int upl_delete_container(struct upl_request *q, const char *container) _must_check_;
/* Lists at most `max_results` (1 to 5000) containers of the account whose names begin with `prefix`
 * (may be NULL), from `marker` on (NULL: the first). Returns as said on top. */
int upl_list_containers(struct upl_request *q, const char *prefix, const char *marker,
                        unsigned max_results) _must_check_;
/* Lists at most `max_results` (1 to 5000) blobs whose names begin with `prefix` (may be NULL), from
 * `marker` on (NULL: the first). With `snapshots` also those. Returns as said on top. */
int upl_list_blobs(struct upl_request *q, const char *container, const char *prefix,
                   const char *marker, bool snapshots, unsigned max_results) _must_check_;

/* A whole block blob in one request. Returns as said on top. */
int upl_put_blob(struct upl_request *q, const struct upl_target *t, const void *data, uint64_t n,
                 struct upl_checksum sum, const struct upl_attributes *a) _must_check_;
/* One block; `block_id` in base64. Conditions do not apply, the lease does. Returns as said on top.
 */
int upl_put_block(struct upl_request *q, const struct upl_target *t, const char *block_id,
                  const void *data, uint64_t n, struct upl_checksum sum) _must_check_;
/* Commits `ids` in order, each from the newest block of that name; the body gets its Content-MD5.
 * Returns as said on top. */
int upl_put_block_list(struct upl_request *q, const struct upl_target *t, const char *const *ids,
                       size_t n_ids, const struct upl_attributes *a) _must_check_;
/* `committed` and `uncommitted` say which lists are wanted. Returns as said on top. */
int upl_get_block_list(struct upl_request *q, const struct upl_target *t, bool committed,
                       bool uncommitted) _must_check_;

/* An empty page blob of `length_bytes`, a multiple of 512. Returns as said on top. */
int upl_create_page_blob(struct upl_request *q, const struct upl_target *t, uint64_t length_bytes,
                         const struct upl_attributes *a) _must_check_;
/* Pages: offset and length are multiples of 512, at most 4 MiB. Returns as said on top. */
int upl_put_pages(struct upl_request *q, const struct upl_target *t, uint64_t offset_bytes,
                  const void *data, uint64_t n, struct upl_checksum sum) _must_check_;
int upl_clear_pages(struct upl_request *q, const struct upl_target *t, uint64_t offset_bytes,
                    uint64_t length_bytes) _must_check_;
int upl_get_page_ranges(struct upl_request *q, const struct upl_target *t) _must_check_;

/* Reading, and what stands beside the content. `range_md5` asks for the MD5 of a range of at most
 * 4 MiB. `length_bytes` 0 asks for the whole blob. Returns as said on top. */
int upl_get_blob(struct upl_request *q, const struct upl_target *t, uint64_t offset_bytes,
                 uint64_t length_bytes, bool range_md5) _must_check_;
int upl_get_properties(struct upl_request *q, const struct upl_target *t) _must_check_;
int upl_set_properties(struct upl_request *q, const struct upl_target *t,
                       const struct upl_attributes *a) _must_check_;
int upl_set_metadata(struct upl_request *q, const struct upl_target *t,
                     const struct med_metadata *metadata) _must_check_;
int upl_snapshot(struct upl_request *q, const struct upl_target *t) _must_check_;
/* `snapshots` deletes those of the blob with it. Returns as said on top. */
int upl_delete_blob(struct upl_request *q, const struct upl_target *t, bool snapshots) _must_check_;

/* Leases. `seconds` is 15 to 60. `lease_id` is a GUID we choose, so that acquiring twice gives the
 * same lease; the others take it from the target. Returns as said on top. */
int upl_lease_acquire(struct upl_request *q, const struct upl_target *t, const char *lease_id,
                      unsigned seconds) _must_check_;
int upl_lease_renew(struct upl_request *q, const struct upl_target *t) _must_check_;
int upl_lease_release(struct upl_request *q, const struct upl_target *t) _must_check_;
int upl_lease_break(struct upl_request *q, const struct upl_target *t) _must_check_;

/* What the headers of Get Blob Properties and Get Blob say. Borrowed from the answer. */
struct upl_blob_look {
        const char *etag;          /* never NULL */
        const char *type;          /* "BlockBlob", "PageBlob", "AppendBlob", or NULL */
        const char *last_modified; /* or NULL */
        const char *access_tier;   /* or NULL; "Archive" cannot be read */
        uint64_t length_bytes;
        bool has_md5;
        uint8_t md5[16];
};
/* Returns 0, or -EBADMSG when a header is missing or malformed. */
int upl_blob_look(const struct upl_headers *answer, struct upl_blob_look *ret_look) _must_check_;

/* Does an answer that echoes a checksum echo ours? Also true when it echoes none. */
bool upl_checksum_echoed(const struct upl_headers *answer, struct upl_checksum sum);
