/* SPDX-License-Identifier: GPL-3.0-or-later */
/* plan - see plan.h. */
#include "uploader/plan.h"

#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/le.h"
#include "base/str.h"

#define OWN_ID_PREFIX      "brth"
#define MANIFEST_ID_PREFIX "MD5/"
#define MD5_TEXT_LENGTH    BTH_BASE64_LENGTH(BTH_MD5_BYTES)

const char *upl_plan_kind_to_string(enum upl_plan_kind k)
{
        static const char *const names[_UPL_PLAN_KIND_MAX] = {
                [UPL_PLAN_PUT_BLOB] = "put-blob",
                [UPL_PLAN_BLOCKS] = "blocks",
                [UPL_PLAN_PAGES] = "pages",
        };

        return k >= 0 && k < _UPL_PLAN_KIND_MAX ? names[k] : NULL;
}

char *upl_plan_block_id(const struct upl_plan *p, const uint8_t md5[BTH_MD5_BYTES],
                        uint64_t length_bytes, char id[UPL_PLAN_ID_BYTES])
{
        uint8_t raw[4 + BTH_MD5_BYTES + 4];

        if (p->manifest_ids) {
                memcpy(id, MANIFEST_ID_PREFIX, 4);
                (void)bth_base64_encode(md5, BTH_MD5_BYTES, id + 4);
                return id;
        }
        memcpy(raw, OWN_ID_PREFIX, 4);
        memcpy(raw + 4, md5, BTH_MD5_BYTES);
        bth_store_le32(raw + 4 + BTH_MD5_BYTES, (uint32_t)length_bytes);
        return bth_base64_encode(raw, sizeof raw, id);
}

/* Are all ids of the manifest the content scheme, and do they tell the truth? */
static bool has_content_ids(const struct med_manifest_blob *blob)
{
        char text[MD5_TEXT_LENGTH + 1];

        for (size_t i = 0; i < blob->n_ranges; i++) {
                const char *id = med_manifest_range_id(blob, i);

                if (!id || strlen(id) != 4 + MD5_TEXT_LENGTH ||
                    memcmp(id, MANIFEST_ID_PREFIX, 4) != 0 ||
                    strcmp(id + 4, bth_base64_encode(blob->ranges[i].md5, BTH_MD5_BYTES, text)) !=
                            0)
                        return false;
        }
        return blob->n_ranges > 0;
}

static int refuse(struct bth_error *error, const struct med_manifest_blob *blob, int code,
                  const char *what, uint64_t offset_bytes)
{
        bth_error_blob(error, blob->blob_path);
        bth_error_at(error, NULL, blob->line, offset_bytes);
        return bth_error_set(error, code,
                             code == -EFBIG ? BTH_REASON_LIMIT_EXCEEDED : BTH_REASON_VALUE_INVALID,
                             "%s", what);
}

static int parts_new(struct upl_plan *p, size_t n)
{
        p->parts = calloc(MAX(n, (size_t)1), sizeof *p->parts);
        return p->parts ? 0 : -ENOMEM;
}

static int plan_ranges_as_blocks(struct upl_plan *p, const struct med_manifest_blob *blob,
                                 struct bth_error *error)
{
        uint64_t at = 0;
        int r;

        if (blob->n_ranges > UPL_BLOCKS_MAX)
                return refuse(error, blob, -EFBIG, "the blob has more than 50000 blocks",
                              BTH_ERROR_NO_OFFSET);
        r = parts_new(p, blob->n_ranges);
        if (r < 0)
                return r;
        for (size_t i = 0; i < blob->n_ranges; i++) {
                const struct med_manifest_range *from = &blob->ranges[i];

                if (from->offset_bytes != at || from->length_bytes == 0 ||
                    !bth_range_inside(at, from->length_bytes, blob->length_bytes))
                        return refuse(error, blob, -EINVAL,
                                      "the blob's blocks do not cover it one after the other", at);
                if (from->length_bytes > UPL_BLOCK_MAX_BYTES)
                        return refuse(error, blob, -EFBIG, "the block is longer than 4000 MiB", at);
                p->parts[p->n_parts++] = (struct upl_part){
                        .offset_bytes = at,
                        .length_bytes = from->length_bytes,
                        .has_md5 = true,
                };
                memcpy(p->parts[i].md5, from->md5, BTH_MD5_BYTES);
                at += from->length_bytes;
        }
        if (at != blob->length_bytes)
                return refuse(error, blob, -EINVAL, "the blob's blocks end before it does", at);
        p->kind = blob->n_ranges == 1 ? UPL_PLAN_PUT_BLOB : UPL_PLAN_BLOCKS;
        p->manifest_ids = has_content_ids(blob);
        return 0;
}

/* Without a list of ranges we cut the blob ourselves. */
static int plan_own_blocks(struct upl_plan *p, const struct med_manifest_blob *blob,
                           struct bth_error *error)
{
        uint64_t length = blob->length_bytes, size = UPL_BLOCK_OWN_BYTES, n;
        int r;

        if (length > UPL_BLOCK_MAX_BYTES * UPL_BLOCKS_MAX)
                return refuse(error, blob, -EFBIG, "the blob is too large for 50000 blocks",
                              BTH_ERROR_NO_OFFSET);
        while (size * UPL_BLOCKS_MAX < length)
                size += UINT64_C(1) << 20;
        n = length / size + (length % size > 0);
        r = parts_new(p, (size_t)n);
        for (uint64_t at = 0; r == 0 && at < length; at += size)
                p->parts[p->n_parts++] = (struct upl_part){
                        .offset_bytes = at,
                        .length_bytes = MIN(size, length - at),
                };
        p->kind = n <= 1 ? UPL_PLAN_PUT_BLOB : UPL_PLAN_BLOCKS;
        return r;
}

static int check_page_range(const struct med_manifest_blob *blob, size_t i, uint64_t at,
                            struct bth_error *error)
{
        const struct med_manifest_range *from = &blob->ranges[i];

        if (from->offset_bytes % MED_MANIFEST_PAGE_BYTES != 0 || from->length_bytes == 0 ||
            from->length_bytes % MED_MANIFEST_PAGE_BYTES != 0)
                return refuse(error, blob, -EINVAL, "the range is not made of whole pages",
                              from->offset_bytes);
        if (from->offset_bytes < at ||
            !bth_range_inside(from->offset_bytes, from->length_bytes, blob->length_bytes))
                return refuse(error, blob, -EINVAL,
                              "the page range overlaps another or lies outside the blob",
                              from->offset_bytes);
        return 0;
}

static int plan_pages(struct upl_plan *p, const struct med_manifest_blob *blob,
                      struct bth_error *error)
{
        uint64_t at = 0, n = 0;
        int r;

        if (blob->length_bytes % MED_MANIFEST_PAGE_BYTES != 0 ||
            blob->length_bytes > MED_MANIFEST_PAGE_BLOB_BYTES)
                return refuse(error, blob, -EINVAL,
                              "a page blob's length is a multiple of 512, at most 8 TiB",
                              BTH_ERROR_NO_OFFSET);
        for (size_t i = 0; i < blob->n_ranges; i++) {
                r = check_page_range(blob, i, at, error);
                if (r < 0)
                        return r;
                at = blob->ranges[i].offset_bytes + blob->ranges[i].length_bytes;
                n += (blob->ranges[i].length_bytes - 1) / UPL_PAGE_WRITE_BYTES + 1;
        }
        if (n > MED_MANIFEST_RANGES_MAX)
                return refuse(error, blob, -EFBIG, "the blob has too many page ranges",
                              BTH_ERROR_NO_OFFSET);
        r = parts_new(p, (size_t)n);
        for (size_t i = 0; r == 0 && i < blob->n_ranges; i++) {
                const struct med_manifest_range *from = &blob->ranges[i];

                for (uint64_t done = 0; done < from->length_bytes; done += UPL_PAGE_WRITE_BYTES) {
                        struct upl_part *part = &p->parts[p->n_parts++];

                        part->offset_bytes = from->offset_bytes + done;
                        part->length_bytes = MIN(UPL_PAGE_WRITE_BYTES, from->length_bytes - done);
                        part->has_md5 = part->length_bytes == from->length_bytes;
                        if (done == 0)
                                memcpy(part->md5, from->md5, BTH_MD5_BYTES);
                        if (done == 0 && !part->has_md5)
                                part->n_pieces =
                                        (uint32_t)((from->length_bytes - 1) / UPL_PAGE_WRITE_BYTES +
                                                   1);
                }
        }
        p->kind = UPL_PLAN_PAGES;
        return r;
}

int upl_plan_new(const struct med_manifest_blob *blob, struct upl_plan **ret_plan,
                 struct bth_error *error)
{
        _cleanup_(upl_plan_freep) struct upl_plan *p = calloc(1, sizeof *p);
        int r;

        if (!p)
                return -ENOMEM;
        p->length_bytes = blob->length_bytes;
        if (blob->kind == MED_MANIFEST_PAGE)
                r = plan_pages(p, blob, error);
        else if (blob->kind == MED_MANIFEST_BLOCK &&
                 (blob->n_ranges > 0 || blob->length_bytes == 0))
                r = plan_ranges_as_blocks(p, blob, error);
        else if (blob->kind == MED_MANIFEST_NONE)
                r = plan_own_blocks(p, blob, error);
        else
                r = refuse(error, blob, -EINVAL,
                           "the blob's list of blocks is empty, the blob is not",
                           BTH_ERROR_NO_OFFSET);
        if (r < 0)
                return r;
        /* Nothing to hash and nothing to commit: an empty blob is one empty Put Blob. */
        if (p->kind != UPL_PLAN_PAGES && p->n_parts <= 1)
                p->kind = UPL_PLAN_PUT_BLOB;
        *ret_plan = take_ptr(p);
        return 0;
}

struct upl_plan *upl_plan_free(struct upl_plan *p)
{
        if (p)
                free(p->parts);
        free(p);
        return NULL;
}
