/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "media/ntfs_record.h"

#include <string.h>

#include "base/checked.h"
#include "base/le.h"

#define STRIDE            512u /* fix-ups guard this many bytes each, whatever the sector */
#define HEADER_BYTES      42u
#define RESIDENT_BYTES    24u
#define NONRESIDENT_BYTES 64u
#define END_MARK          0xffffffffu

static int apply_fixups(uint8_t *bytes, size_t n)
{
        uint32_t offset = bth_load_le16(bytes + 4), count = bth_load_le16(bytes + 6);

        if (count != n / STRIDE + 1 || (offset & 1) || offset < 40 ||
            offset + 2 * count > STRIDE - 2)
                return -EBADMSG;
        for (uint32_t i = 1; i < count; i++) {
                uint8_t *last = bytes + i * STRIDE - 2;

                if (memcmp(last, bytes + offset, 2) != 0)
                        return -EBADMSG;
                memcpy(last, bytes + offset + 2 * i, 2);
        }
        return 0;
}

int med_ntfs_record_open(uint8_t *bytes, size_t n, struct med_ntfs_record *ret)
{
        int r;

        if (n < 2 * STRIDE || n > MED_NTFS_RECORD_MAX || n % STRIDE)
                return -EBADMSG;
        if (bth_load_le32(bytes) == 0)
                return -ENODATA;
        if (memcmp(bytes, "FILE", 4) != 0)
                return -EBADMSG;
        r = apply_fixups(bytes, n);
        if (r < 0)
                return r;
        uint16_t flags = bth_load_le16(bytes + 0x16);
        *ret = (struct med_ntfs_record){
                .bytes = bytes,
                .used_bytes = bth_load_le32(bytes + 0x18),
                .first_attribute = bth_load_le16(bytes + 0x14),
                .sequence = bth_load_le16(bytes + 0x10),
                .in_use = flags & 1,
                .directory = flags & 2,
                .base = bth_load_le64(bytes + 0x20),
        };
        if (ret->used_bytes > n || ret->first_attribute < HEADER_BYTES ||
            ret->first_attribute % 8 || ret->first_attribute > ret->used_bytes)
                return -EBADMSG;
        return 0;
}

static int parse_resident(const uint8_t *p, uint32_t length, struct med_ntfs_attribute *a)
{
        uint32_t offset;

        if (length < RESIDENT_BYTES)
                return -EBADMSG;
        offset = bth_load_le16(p + 0x14);
        a->value_bytes = bth_load_le32(p + 0x10);
        if (!bth_range_inside(offset, a->value_bytes, length))
                return -EBADMSG;
        a->value = p + offset;
        a->data_bytes = a->initialized_bytes = a->value_bytes;
        return 0;
}

static int parse_nonresident(const uint8_t *p, uint32_t length, struct med_ntfs_attribute *a)
{
        uint32_t offset;

        if (length < NONRESIDENT_BYTES)
                return -EBADMSG;
        offset = bth_load_le16(p + 0x20);
        if (offset < NONRESIDENT_BYTES || offset > length)
                return -EBADMSG;
        a->first_vcn = bth_load_le64(p + 0x10);
        a->last_vcn = bth_load_le64(p + 0x18);
        a->compression_unit = p[0x22];
        a->value = p + offset;
        a->value_bytes = length - offset;
        if (a->first_vcn == 0) {
                a->data_bytes = bth_load_le64(p + 0x30);
                a->initialized_bytes = bth_load_le64(p + 0x38);
                if (a->data_bytes > INT64_MAX || a->initialized_bytes > a->data_bytes)
                        return -EBADMSG;
        }
        return 0;
}

int med_ntfs_attribute_next(const struct med_ntfs_record *r, uint32_t *cursor,
                            struct med_ntfs_attribute *ret)
{
        uint32_t at = *cursor ? *cursor : r->first_attribute, length;
        const uint8_t *p = r->bytes + at;

        if (r->used_bytes - at < 4 || bth_load_le32(p) == END_MARK)
                return 0;
        if (r->used_bytes - at < 16)
                return -EBADMSG;
        length = bth_load_le32(p + 4);
        if (length < 16 || length % 8 || length > r->used_bytes - at)
                return -EBADMSG;
        *ret = (struct med_ntfs_attribute){
                .type = bth_load_le32(p),
                .resident = p[8] == 0,
                .name_units = p[9],
                .flags = bth_load_le16(p + 0xc),
                .name = p + bth_load_le16(p + 0xa),
        };
        if (ret->name_units &&
            !bth_range_inside(bth_load_le16(p + 0xa), 2u * ret->name_units, length))
                return -EBADMSG;
        int k = ret->resident ? parse_resident(p, length, ret) : parse_nonresident(p, length, ret);
        if (k < 0)
                return k;
        *cursor = at + length;
        return 1;
}

bool med_ntfs_is_packed(const struct med_ntfs_attribute *a)
{
        return !a->resident && (a->flags & MED_NTFS_COMPRESSED) == 1 && a->compression_unit == 4;
}

static int push_run(struct med_ntfs_runs *runs, uint64_t lcn, uint64_t clusters)
{
        if (runs->n == runs->allocated) {
                size_t want = runs->allocated ? 2 * runs->allocated : 4;
                struct med_ntfs_run *grown;

                if (want > MED_NTFS_RUNS_MAX)
                        return -E2BIG;
                grown = realloc(runs->run, want * sizeof *grown);
                if (!grown)
                        return -ENOMEM;
                runs->run = grown;
                runs->allocated = want;
        }
        runs->run[runs->n++] = (struct med_ntfs_run){ runs->end_vcn, lcn, clusters };
        runs->end_vcn += clusters;
        return 0;
}

static uint64_t load_n(const uint8_t *p, unsigned n, bool sign)
{
        uint64_t v = sign && n && (p[n - 1] & 0x80) ? UINT64_MAX : 0;

        for (unsigned i = n; i-- > 0;)
                v = v << 8 | p[i];
        return v;
}

int med_ntfs_runs_append(struct med_ntfs_runs *runs, const struct med_ntfs_attribute *a,
                         uint64_t volume_clusters)
{
        const uint8_t *p = a->value, *end = p + a->value_bytes;
        uint64_t lcn = 0, stop;

        if (a->resident || a->first_vcn != runs->end_vcn)
                return -EBADMSG;
        while (p < end && *p) {
                unsigned nl = *p & 15, no = *p >> 4;
                uint64_t clusters;
                int r;

                if (nl == 0 || nl > 8 || no > 8 || (size_t)(end - p) < 1u + nl + no)
                        return -EBADMSG;
                clusters = load_n(p + 1, nl, false);
                lcn += load_n(p + 1 + nl, no, true); /* wraps by design: offsets are signed */
                if (clusters == 0 || clusters > (uint64_t)INT64_MAX ||
                    !bth_add_u64(runs->end_vcn, clusters, &stop) || stop > (uint64_t)INT64_MAX)
                        return -EBADMSG;
                if (no && !bth_range_inside(lcn, clusters, volume_clusters))
                        return -EBADMSG;
                r = push_run(runs, no ? lcn : MED_NTFS_HOLE, clusters);
                if (r < 0)
                        return r;
                p += 1 + nl + no;
        }
        /* An empty attribute says its last cluster is -1. */
        return a->last_vcn + 1 == runs->end_vcn ? 0 : -EBADMSG;
}

void med_ntfs_runs_clear(struct med_ntfs_runs *runs)
{
        free(runs->run);
        *runs = (struct med_ntfs_runs){ 0 };
}
