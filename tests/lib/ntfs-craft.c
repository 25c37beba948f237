/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/lib/ntfs-craft.h"

#include <assert.h>
#include <string.h>

#include "base/le.h"

#define HEADER_BYTES 0x38u
#define FIXUP_MARK   0x0777u
#define UPCASE_BYTES 131072u
#define ROOT         (5ull | 5ull << 48)

void craft_begin(struct craft_record *r, uint8_t *bytes, uint16_t sequence, uint16_t flags,
                 uint64_t base)
{
        memset(bytes, 0, CRAFT_RECORD_BYTES);
        memcpy(bytes, "FILE", 4);
        bth_store_le16(bytes + 4, 0x30);
        bth_store_le16(bytes + 6, CRAFT_RECORD_BYTES / 512 + 1);
        bth_store_le16(bytes + 0x10, sequence);
        bth_store_le16(bytes + 0x12, 1);
        bth_store_le16(bytes + 0x14, HEADER_BYTES);
        bth_store_le16(bytes + 0x16, flags);
        bth_store_le32(bytes + 0x1c, CRAFT_RECORD_BYTES);
        bth_store_le64(bytes + 0x20, base);
        *r = (struct craft_record){ bytes, HEADER_BYTES };
}

static uint8_t *add(struct craft_record *r, uint32_t type, size_t bytes)
{
        size_t length = (bytes + 7) & ~(size_t)7;
        uint8_t *p = r->bytes + r->at;

        assert(r->at + length + 8 <= CRAFT_RECORD_BYTES);
        memset(p, 0, length);
        bth_store_le32(p, type);
        bth_store_le32(p + 4, (uint32_t)length);
        r->at += (uint32_t)length;
        return p;
}

void craft_resident(struct craft_record *r, uint32_t type, const void *value, size_t n)
{
        uint8_t *p = add(r, type, 24 + n);

        bth_store_le32(p + 0x10, (uint32_t)n);
        bth_store_le16(p + 0x14, 24);
        if (n)
                memcpy(p + 24, value, n);
}

void craft_standard(struct craft_record *r, uint32_t dos_flags)
{
        uint8_t value[72] = { 0 };

        bth_store_le64(value, 130000000000000000);
        bth_store_le64(value + 8, 130000000000000000);
        bth_store_le32(value + 32, dos_flags);
        craft_resident(r, 0x10, value, sizeof value);
}

void craft_name(struct craft_record *r, uint64_t parent, const uint16_t *name, size_t units)
{
        uint8_t value[66 + 2 * 255] = { 0 };

        bth_store_le64(value, parent);
        value[64] = (uint8_t)units;
        value[65] = 1;
        for (size_t i = 0; i < units; i++)
                bth_store_le16(value + 66 + 2 * i, name[i]);
        craft_resident(r, 0x30, value, 66 + 2 * units);
}

void craft_name_ascii(struct craft_record *r, uint64_t parent, const char *name)
{
        uint16_t utf16[255];
        size_t n = strlen(name);

        for (size_t i = 0; i < n; i++)
                utf16[i] = (uint8_t)name[i];
        craft_name(r, parent, utf16, n);
}

static unsigned bytes_of(uint64_t v)
{
        unsigned n = 1;

        while (n < 8 && ((int64_t)(v << (64 - 8 * n)) >> (64 - 8 * n)) != (int64_t)v)
                n++;
        return n;
}

static size_t put_runs(uint8_t *out, const struct craft_stream *s)
{
        uint64_t before = 0;
        size_t n = 0;

        for (size_t i = 0; i < s->n_runs; i++) {
                bool hole = s->run[i].lcn == UINT64_MAX;
                uint64_t step = hole ? 0 : s->run[i].lcn - before, length = s->run[i].clusters;
                unsigned nl = bytes_of(length), no = hole ? 0 : bytes_of(step);

                out[n++] = (uint8_t)(no << 4 | nl);
                for (unsigned k = 0; k < nl; k++, length >>= 8)
                        out[n++] = (uint8_t)length;
                for (unsigned k = 0; k < no; k++, step >>= 8)
                        out[n++] = (uint8_t)step;
                if (!hole)
                        before = s->run[i].lcn;
        }
        out[n++] = 0;
        return n;
}

void craft_stream(struct craft_record *r, uint32_t type, const struct craft_stream *s)
{
        uint8_t pairs[CRAFT_RECORD_BYTES];
        size_t n, name_units = s->name ? strlen(s->name) : 0;
        uint64_t clusters = 0;
        uint8_t *p;

        assert(s->n_runs * 17 < sizeof pairs);
        n = put_runs(pairs, s);
        for (size_t i = 0; i < s->n_runs; i++)
                clusters += s->run[i].clusters;
        p = add(r, type, 72 + 2 * name_units + n);
        p[8] = 1;
        p[9] = (uint8_t)name_units;
        bth_store_le16(p + 0xa, 72);
        bth_store_le16(p + 0xc, s->flags);
        bth_store_le64(p + 0x10, s->first_vcn);
        bth_store_le64(p + 0x18, s->first_vcn + clusters - 1);
        bth_store_le16(p + 0x20, (uint16_t)(72 + 2 * name_units));
        p[0x22] = s->unit;
        bth_store_le64(p + 0x28, clusters * CRAFT_CLUSTER_BYTES);
        bth_store_le64(p + 0x30, s->size_bytes);
        bth_store_le64(p + 0x38, s->initialized_bytes);
        for (size_t i = 0; i < name_units; i++)
                bth_store_le16(p + 72 + 2 * i, (uint8_t)s->name[i]);
        memcpy(p + 72 + 2 * name_units, pairs, n);
}

void craft_end(struct craft_record *r)
{
        bth_store_le32(r->bytes + r->at, 0xffffffff);
        bth_store_le32(r->bytes + 0x18, r->at + 8);
        bth_store_le16(r->bytes + 0x30, FIXUP_MARK);
        for (unsigned i = 1; i <= CRAFT_RECORD_BYTES / 512; i++) {
                memcpy(r->bytes + 0x30 + 2 * i, r->bytes + 512 * i - 2, 2);
                bth_store_le16(r->bytes + 512 * i - 2, FIXUP_MARK);
        }
}

void craft_boot(uint8_t *boot, uint64_t n_clusters)
{
        memset(boot, 0, 512);
        memcpy(boot, "\xeb\x52\x90NTFS    ", 11);
        bth_store_le16(boot + 0xb, 512);
        boot[0xd] = CRAFT_CLUSTER_BYTES / 512;
        boot[0x15] = 0xf8;
        bth_store_le64(boot + 0x28, n_clusters * (CRAFT_CLUSTER_BYTES / 512));
        bth_store_le64(boot + 0x30, CRAFT_MFT_CLUSTER);
        bth_store_le64(boot + 0x38, 2);
        boot[0x40] = 246; /* 1024 */
        boot[0x44] = 1;
        bth_store_le64(boot + 0x48, 0x1122334455667788);
        bth_store_le16(boot + 510, 0xaa55);
}

static void system_stream(struct craft_record *r, uint64_t lcn, uint64_t bytes)
{
        const struct craft_run run = { lcn,
                                       (bytes + CRAFT_CLUSTER_BYTES - 1) / CRAFT_CLUSTER_BYTES };

        craft_stream(r, 0x80,
                     &(struct craft_stream){ .size_bytes = bytes,
                                             .initialized_bytes = bytes,
                                             .run = &run,
                                             .n_runs = 1 });
}

bool craft_system(uint8_t *bytes, uint64_t number, uint64_t n_records, uint64_t upcase_cluster)
{
        static const uint8_t information[12] = { [8] = 3, [9] = 1 };
        struct craft_record r;

        if (number != 0 && number != 1 && number != 3 && number != 5 && number != 10)
                return false;
        craft_begin(&r, bytes, (uint16_t)MAX(number, 1u),
                    number == 5 ? CRAFT_IN_USE | CRAFT_DIRECTORY : CRAFT_IN_USE, 0);
        craft_standard(&r, 6);
        craft_name_ascii(&r, ROOT,
                         number == 0   ? "$MFT"
                         : number == 1 ? "$MFTMirr"
                         : number == 3 ? "$Volume"
                         : number == 5 ? "."
                                       : "$UpCase");
        if (number == 0)
                system_stream(&r, CRAFT_MFT_CLUSTER, n_records * CRAFT_RECORD_BYTES);
        else if (number == 1)
                system_stream(&r, 2, 4 * CRAFT_RECORD_BYTES);
        else if (number == 10)
                system_stream(&r, upcase_cluster, UPCASE_BYTES);
        if (number == 3) {
                craft_resident(&r, 0x60, "C\0r\0a\0f\0t\0", 10);
                craft_resident(&r, 0x70, information, sizeof information);
        }
        craft_end(&r);
        return true;
}
