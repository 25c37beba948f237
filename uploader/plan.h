/* SPDX-License-Identifier: GPL-3.0-or-later */
/* plan - cut one blob into requests.
 *
 *     one range, or none and small      Put Blob
 *     ranges of a BlockList             Put Block each, Put Block List
 *     no ranges and large               our own blocks, hashed as they are read
 *     ranges of a PageRangeList         Put Page in pieces of at most 4 MiB
 *
 * A block's id is derived from its content, so that a block which is there is known to be the right
 * one: the manifest's own ids where they are "MD5/" and the block's hash in base64 (they are
 * checked), otherwise "brth", MD5 and length in base64. Counter ids are replaced. All ids of a blob
 * are equally long. Not thread safe. Source: import-export specification 2.6; Put Block, Put Block
 * List (REST). */
#pragma once

#include "media/manifest.h"

#define UPL_BLOCKS_MAX       50000u
#define UPL_BLOCK_MAX_BYTES  (UINT64_C(4000) << 20)
#define UPL_BLOCK_HELD_BYTES (UINT64_C(16) << 20) /* the largest body that is held whole */
#define UPL_BLOCK_OWN_BYTES  (UINT64_C(8) << 20)  /* of blocks we cut, unless there were too many */
#define UPL_PAGE_WRITE_BYTES (UINT64_C(4) << 20)
#define UPL_PLAN_ID_BYTES    33 /* 32 characters and NUL */

enum upl_plan_kind {
        UPL_PLAN_PUT_BLOB,
        UPL_PLAN_BLOCKS,
        UPL_PLAN_PAGES,
        _UPL_PLAN_KIND_MAX,
        _UPL_PLAN_KIND_INVALID = -EINVAL,
};
/* "put-blob"; NULL outside the list. */
const char *upl_plan_kind_to_string(enum upl_plan_kind k);

struct upl_part {
        uint64_t offset_bytes;
        uint64_t length_bytes;
        bool has_md5; /* known before it is read */
        uint8_t md5[BTH_MD5_BYTES];
        /* Of the first piece of a page range that was cut: how many there are; else 0. Then `md5`
         * is that of the whole range, although has_md5 is not set. */
        uint32_t n_pieces;
};

struct upl_plan {
        enum upl_plan_kind kind;
        struct upl_part *parts; /* ascending; of blocks they touch and cover the blob */
        size_t n_parts;
        uint64_t length_bytes;
        bool manifest_ids; /* "MD5/" ids, as the manifest has them */
};

/* Plans one blob. `kind`, `ranges` and ids come from the manifest, which was validated; what could
 * harm is checked again here. Page ranges longer than 4 MiB are cut; their hash stands with the
 * first piece. Returns 0; -EINVAL for ranges that overlap, leave gaps (blocks), are no pages, or
 * lie outside; -EFBIG for more than 50,000 blocks or a block over UPL_BLOCK_MAX_BYTES; -ENOMEM. */
int upl_plan_new(const struct med_manifest_blob *blob, struct upl_plan **ret_plan,
                 struct bth_error *error) _must_check_;
struct upl_plan *upl_plan_free(struct upl_plan *p); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(upl_plan_free, struct upl_plan *);

/* The id of a block with this content, of the plan's scheme, into `id`. Returns `id`. */
char *upl_plan_block_id(const struct upl_plan *p, const uint8_t md5[BTH_MD5_BYTES],
                        uint64_t length_bytes, char id[UPL_PLAN_ID_BYTES]);
