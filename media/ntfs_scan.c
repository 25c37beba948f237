/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "media/ntfs_scan.h"

#include <string.h>

#include "base/le.h"
#include "media/ntfs_index.h"

#define CHUNK_BYTES      (2u << 20)
#define FAILURES_MAX     64u /* records that cannot be read; more is a drive that fails */
#define NAMESPACE_DOS    2
#define NAME_HEAD_BYTES  66u
#define STANDARD_BYTES   36u
#define FLAG_REPARSE     0x0400u
#define FLAG_OFFLINE     0x1000u
#define FLAG_ENCRYPTED   0x4000u
#define ATTRIBUTE_SEALED 0x4000u

static int take_name(struct med_ntfs_index *x, uint64_t record, const struct med_ntfs_attribute *a)
{
        size_t units;

        if (!a->resident || a->value_bytes < NAME_HEAD_BYTES)
                return -EBADMSG;
        units = a->value[64];
        if (units == 0 || NAME_HEAD_BYTES + 2 * units > a->value_bytes)
                return -EBADMSG;
        if (a->value[65] == NAMESPACE_DOS)
                return 0;
        return med_ntfs_index_add(x, bth_load_le64(a->value), record, a->value + NAME_HEAD_BYTES,
                                  units);
}

static void take_flags(struct med_ntfs_info *info, const struct med_ntfs_attribute *a)
{
        uint32_t flags;

        if (!a->resident || a->value_bytes < STANDARD_BYTES)
                return;
        flags = bth_load_le32(a->value + 32);
        /* A folder's own flags only say how new files in it begin, except for links. */
        if (info->directory)
                info->status = flags & FLAG_REPARSE ? MED_NTFS_IS_REPARSE : MED_NTFS_IS_DIRECTORY;
        else if (flags & FLAG_ENCRYPTED)
                info->status = MED_NTFS_IS_ENCRYPTED;
        else if (flags & FLAG_REPARSE)
                info->status = MED_NTFS_IS_REPARSE;
        else if (flags & FLAG_OFFLINE)
                info->status = MED_NTFS_IS_OFFLINE;
}

static void take_runs(const struct med_ntfs_volume *v, struct med_ntfs_info *info,
                      const struct med_ntfs_attribute *a)
{
        struct med_ntfs_runs runs = { 0 };

        if (med_ntfs_runs_append(&runs, a, v->clusters) < 0)
                info->status = MED_NTFS_IS_DAMAGED;
        for (size_t i = 0; i < runs.n && info->first_offset_bytes == 0; i++)
                if (runs.run[i].lcn != MED_NTFS_HOLE)
                        info->first_offset_bytes = runs.run[i].lcn * v->cluster_bytes;
        med_ntfs_runs_clear(&runs);
}

static void take_data(const struct med_ntfs_volume *v, struct med_ntfs_info *info, uint64_t number,
                      const struct med_ntfs_attribute *a)
{
        if (!a->resident && a->first_vcn != 0)
                return;
        info->size_bytes = a->data_bytes;
        info->first_offset_bytes = 0;
        if (a->flags & ATTRIBUTE_SEALED)
                info->status = MED_NTFS_IS_ENCRYPTED;
        else if ((a->flags & MED_NTFS_COMPRESSED) && !a->resident && !med_ntfs_is_packed(a) &&
                 info->status == MED_NTFS_OK)
                info->status = MED_NTFS_IS_COMPRESSED;
        if (!a->resident)
                take_runs(v, info, a);
        else if (a->data_bytes > 0)
                info->first_offset_bytes = med_ntfs_record_place(v, number);
}

static int take_attributes(struct med_ntfs_index *x, const struct med_ntfs_volume *v,
                           uint64_t number, uint64_t self, const struct med_ntfs_record *rec,
                           struct med_ntfs_info *info)
{
        struct med_ntfs_attribute a;
        uint32_t cursor = 0;
        int r;

        while ((r = med_ntfs_attribute_next(rec, &cursor, &a)) > 0) {
                r = 0;
                if (a.type == MED_NTFS_STANDARD_INFORMATION)
                        take_flags(info, &a);
                else if (a.type == MED_NTFS_FILE_NAME)
                        r = take_name(x, self, &a);
                else if (a.type == MED_NTFS_DATA && a.name_units == 0)
                        take_data(v, info, number, &a);
                if (r < 0)
                        break;
        }
        return r;
}

static int take_record(struct med_ntfs_index *x, const struct med_ntfs_volume *v, uint64_t number,
                       const struct med_ntfs_record *rec)
{
        uint64_t self = rec->base ? rec->base : number | (uint64_t)rec->sequence << 48;
        uint64_t owner = self & MED_NTFS_RECORD_MASK;
        struct med_ntfs_info info;
        int r, noted;

        if (owner >= v->n_records)
                return -EBADMSG;
        r = med_ntfs_index_info(x, owner, &info);
        if (r < 0)
                return r;
        if (!rec->base) {
                info.sequence = rec->sequence;
                info.directory = rec->directory;
                if (rec->directory)
                        info.status = MED_NTFS_IS_DIRECTORY;
        }
        r = take_attributes(x, v, number, self, rec, &info);
        if (r == -EBADMSG)
                info.status = MED_NTFS_IS_DAMAGED;
        noted = med_ntfs_index_note(x, owner, &info);
        return noted < 0 ? noted : r;
}

static int take_chunk(struct med_ntfs_index *x, const struct med_ntfs_volume *v, uint8_t *chunk,
                      uint64_t first, uint64_t n)
{
        for (uint64_t i = 0; i < n; i++) {
                struct med_ntfs_record rec;
                int r = med_ntfs_record_open(chunk + i * v->record_bytes, v->record_bytes, &rec);

                if (r == 0 && rec.in_use)
                        r = take_record(x, v, first + i, &rec);
                if (r == -EBADMSG)
                        med_ntfs_index_count_damage(x);
                else if (r < 0 && r != -ENODATA)
                        return r;
        }
        return 0;
}

/* A chunk that cannot be read as a whole is read record by record: a bad sector costs one file. */
static int read_singly(struct med_ntfs_index *x, const struct med_ntfs_volume *v, uint8_t *chunk,
                       uint64_t first, uint64_t n, unsigned *failures)
{
        const uint64_t each = v->record_bytes;

        for (uint64_t i = 0; i < n; i++) {
                uint8_t *record = chunk + i * each;
                int r = bth_source_read(&v->mft->source, (first + i) * each, record, each);

                if (r == 0)
                        continue;
                if (r == -ENODEV || r == -ENOMEM || ++*failures > FAILURES_MAX)
                        return r;
                memset(record, 0, each); /* as one that never was */
                med_ntfs_index_count_damage(x);
        }
        return 0;
}

static int pass(struct med_ntfs_index *x, const struct med_ntfs_volume *v)
{
        const uint64_t each = v->record_bytes, at_once = MIN(CHUNK_BYTES / each, v->n_records);
        _cleanup_free_ uint8_t *chunk = bth_io_buffer_new((size_t)(at_once * each));
        unsigned failures = 0;
        int r = chunk ? 0 : -ENOMEM;

        for (uint64_t first = 0; r == 0 && first < v->n_records; first += at_once) {
                uint64_t n = MIN(at_once, v->n_records - first);

                r = bth_source_read(&v->mft->source, first * each, chunk, n * each);
                if (r < 0 && r != -ENODEV && r != -ENOMEM)
                        r = read_singly(x, v, chunk, first, n, &failures);
                if (r == 0)
                        r = take_chunk(x, v, chunk, first, n);
        }
        return r;
}

static int explain(int r, struct bth_error *error)
{
        switch (r) {
        case -EFBIG:
                return bth_error_set(error, -E2BIG, BTH_REASON_LIMIT_EXCEEDED,
                                     "the volume has more files than can be listed");
        case -ENOMEM:
                return bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY, "no memory");
        case -ENOSPC:
                return bth_error_set(error, r, BTH_REASON_DISK_FULL,
                                     "there is no room for the list of files");
        default:
                return bth_error_set(error, r, BTH_REASON_DRIVE_READ_ERROR,
                                     "the master file table cannot be read: %s", bth_strerror(r));
        }
}

int med_ntfs_scan_with(const struct med_ntfs_volume *v, const struct med_ntfs_scan_options *options,
                       struct med_ntfs_index **ret, struct bth_error *error)
{
        _cleanup_(med_ntfs_index_freep) struct med_ntfs_index *x = NULL;
        int r = med_ntfs_index_new(v, options, &x);

        if (r == 0)
                r = pass(x, v);
        if (r == 0)
                r = med_ntfs_index_seal(x);
        if (r < 0)
                return explain(r, error);
        *ret = take_ptr(x);
        return 0;
}

int med_ntfs_scan(const struct med_ntfs_volume *v, size_t max_bytes, struct med_ntfs_index **ret,
                  struct bth_error *error)
{
        const struct med_ntfs_scan_options options = { .max_bytes = max_bytes };

        return med_ntfs_scan_with(v, &options, ret, error);
}
