/* SPDX-License-Identifier: GPL-3.0-or-later */
/* answer - the XML that the Blob service answers with, read as hostile input.
 * Any thread. Source: Get Block List, Get Page Ranges, List Blobs, Status and error codes (REST).
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

#define UPL_ANSWER_BLOCKS_MAX 100000u /* 50,000 committed and as many that are not yet */
#define UPL_ANSWER_RANGES_MAX 1000000u
#define UPL_ANSWER_BLOBS_MAX  5000u

/* The <Code> of an error answer into `code`, escaped; "" when there is none. */
void upl_answer_error_code(const struct bth_buf *content, char *code, size_t code_bytes);

#define UPL_BLOCK_ID_MAX 88 /* 64 bytes in base64 */

struct upl_remote_block {
        char id[UPL_BLOCK_ID_MAX + 1];
        uint64_t length_bytes;
        bool committed;
};
struct upl_remote_blocks {
        struct upl_remote_block *items; /* committed ones first, in the blob's order */
        size_t n;
        size_t allocated;
};

struct upl_page_range {
        uint64_t offset_bytes;
        uint64_t length_bytes;
};
struct upl_page_ranges {
        struct upl_page_range *items; /* ascending, not touching each other's bytes */
        size_t n;
        size_t allocated;
};

struct upl_blob_item {
        char *name;
        char *snapshot; /* NULL: the blob itself */
        uint64_t length_bytes;
        bool page;
        bool archived; /* its content cannot be read */
};
struct upl_blob_items {
        struct upl_blob_item *items;
        size_t n;
        size_t allocated;
        char *next_marker; /* NULL at the end */
};

struct upl_container_names {
        char **items;
        size_t n;
        size_t allocated;
        char *next_marker; /* NULL at the end */
};

/* Each reads a whole answer. Returns 0; -EBADMSG for what is not the answer's format; -E2BIG beyond
 * a limit; -ENOMEM. */
int upl_answer_blocks(const void *data, size_t n, struct upl_remote_blocks *ret_blocks,
                      struct bth_error *error) _must_check_;
int upl_answer_page_ranges(const void *data, size_t n, struct upl_page_ranges *ret_ranges,
                           struct bth_error *error) _must_check_;
int upl_answer_blobs(const void *data, size_t n, struct upl_blob_items *ret_blobs,
                     struct bth_error *error) _must_check_;

void upl_remote_blocks_clear(struct upl_remote_blocks *b);
void upl_page_ranges_clear(struct upl_page_ranges *r);
void upl_blob_items_clear(struct upl_blob_items *b);

/* The same for a list of an account's containers. Returns as above. */
int upl_answer_containers(const void *data, size_t n, struct upl_container_names *ret_names,
                          struct bth_error *error) _must_check_;
void upl_container_names_clear(struct upl_container_names *c);
