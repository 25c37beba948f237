/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "media/ntfs_volume.h"

#include <string.h>

#include "base/checked.h"
#include "base/le.h"
#include "base/utf.h"
#include "media/ntfs_library.h"
#include "media/ntfs_pieces.h"

#define BOOT_BYTES     512u
#define LIST_MAX       (1u << 20) /* an attribute list's bytes; Windows stops at 256 KiB */
#define CLUSTER_MAX    (2u << 20)
#define UPCASE_RECORD  10u
#define MIRROR_RECORD  1u
#define MIRROR_RECORDS 4u
#define VOLUME_RECORD  3u
#define FLAG_OFFLINE   0x1000u
#define FLAG_REPARSE   0x0400u
#define FLAG_ENCRYPTED 0x4000u
#define NOT_READABLE   (-EOPNOTSUPP)

static const struct med_ntfs_run *find_run(const struct med_ntfs_runs *runs, uint64_t vcn)
{
        size_t lo = 0, hi = runs->n;

        while (lo < hi) {
                size_t mid = lo + (hi - lo) / 2;

                if (runs->run[mid].vcn + runs->run[mid].clusters <= vcn)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        return lo < runs->n ? &runs->run[lo] : NULL;
}

static int read_piece(struct med_ntfs_file *f, uint64_t offset, uint8_t *out, size_t *n)
{
        uint64_t cluster = f->volume->cluster_bytes, left;
        const struct med_ntfs_run *run;

        if (offset >= f->initialized_bytes) {
                memset(out, 0, *n);
                return 0;
        }
        *n = (size_t)MIN((uint64_t)*n, f->initialized_bytes - offset);
        run = find_run(&f->runs, offset / cluster);
        if (!run)
                return -EBADMSG;
        left = (run->clusters - (offset / cluster - run->vcn)); /* clusters, so no overflow */
        if (left < *n / cluster + 2)
                *n = (size_t)MIN((uint64_t)*n, left * cluster - offset % cluster);
        if (run->lcn == MED_NTFS_HOLE) {
                memset(out, 0, *n);
                return 0;
        }
        return bth_source_read(f->volume->source,
                               run->lcn * cluster + (offset - run->vcn * cluster), out, *n);
}

static int file_read(struct bth_source *s, uint64_t offset, void *buffer, size_t length)
{
        struct med_ntfs_file *f = container_of(s, struct med_ntfs_file, source);
        uint8_t *out = buffer;

        if (f->status != MED_NTFS_OK)
                return NOT_READABLE;
        if (f->resident) {
                memcpy(buffer, f->resident + offset, length);
                return 0;
        }
        if (f->packed)
                return med_ntfs_library_read(f->volume->library, f, offset, buffer, length);
        while (length) {
                size_t n = length;
                int r = read_piece(f, offset, out, &n);

                if (r < 0)
                        return r;
                offset += n;
                out += n;
                length -= n;
        }
        return 0;
}

static void file_free(struct bth_source *s)
{
        struct med_ntfs_file *f = container_of(s, struct med_ntfs_file, source);

        free(f->resident);
        med_ntfs_runs_clear(&f->runs);
        free(f);
}

/* The run after `run`, when it goes on where that ends, on the disk or in the hole. */
static const struct med_ntfs_run *next_joined(const struct med_ntfs_runs *runs,
                                              const struct med_ntfs_run *run)
{
        const struct med_ntfs_run *next = run + 1;

        if (next == runs->run + runs->n)
                return NULL;
        if (run->lcn == MED_NTFS_HOLE || next->lcn == MED_NTFS_HOLE)
                return run->lcn == next->lcn ? next : NULL;
        return run->lcn + run->clusters == next->lcn ? next : NULL;
}

static int stored_span(const struct med_ntfs_file *f, uint64_t offset, struct med_ntfs_span *ret)
{
        uint64_t cluster = f->volume->cluster_bytes, end;
        const struct med_ntfs_run *run = find_run(&f->runs, offset / cluster), *next;

        if (!run)
                return -EBADMSG;
        if (run->lcn == MED_NTFS_HOLE)
                ret->kind = MED_NTFS_SPAN_ZERO;
        else
                ret->volume_offset_bytes = run->lcn * cluster + (offset - run->vcn * cluster);
        while ((next = next_joined(&f->runs, run)))
                run = next;
        if (!bth_mul_u64(run->vcn + run->clusters, cluster, &end))
                end = UINT64_MAX;
        ret->length_bytes = MIN(end, f->initialized_bytes) - offset;
        return 1;
}

int med_ntfs_file_span(const struct med_ntfs_file *f, uint64_t offset, struct med_ntfs_span *ret)
{
        struct med_ntfs_span span = { .offset_bytes = offset,
                                      .length_bytes = f->source.size_bytes - offset,
                                      .volume_offset_bytes = MED_NTFS_HOLE };
        int r = 1;

        if (f->status != MED_NTFS_OK)
                return NOT_READABLE;
        if (offset >= f->source.size_bytes)
                return 0;
        if (f->resident || f->packed)
                span.kind = MED_NTFS_SPAN_SOURCE;
        else if (offset >= f->initialized_bytes)
                span.kind = MED_NTFS_SPAN_ZERO;
        else
                r = stored_span(f, offset, &span);
        if (r == 1)
                *ret = span;
        return r;
}

uint64_t med_ntfs_record_place(const struct med_ntfs_volume *v, uint64_t number)
{
        struct med_ntfs_span span;
        uint64_t offset;

        if (!bth_mul_u64(number, v->record_bytes, &offset) ||
            med_ntfs_file_span(v->mft, offset, &span) != 1)
                return MED_NTFS_HOLE;
        return span.volume_offset_bytes;
}

static const struct bth_source_ops file_ops = { .read = file_read, .free = file_free };

/* $MFT's own first record is found by the boot sector, every other one through $MFT. */
static int read_record(const struct med_ntfs_volume *v, uint64_t number, uint8_t *buffer,
                       struct med_ntfs_record *ret)
{
        uint64_t offset;
        int r;

        if (number == 0)
                r = bth_source_read(v->source, v->mft_offset_bytes, buffer, v->record_bytes);
        else if (!v->mft || !bth_mul_u64(number, v->record_bytes, &offset))
                return -EBADMSG;
        else if (!bth_range_inside(offset, v->record_bytes, v->mft->source.size_bytes))
                return -ENOENT;
        else
                r = med_ntfs_pieces_read(v->pieces, &v->mft->source, offset, buffer,
                                         v->record_bytes);
        return r < 0 ? r : med_ntfs_record_open(buffer, v->record_bytes, ret);
}

static bool is_stream(const struct med_ntfs_file *f, const uint8_t *name, size_t units)
{
        if (units != f->stream_units)
                return false;
        for (size_t i = 0; i < units; i++)
                if (f->volume->upcase[bth_load_le16(name + 2 * i)] !=
                    f->volume->upcase[f->stream[i]])
                        return false;
        return true;
}

static bool is_wanted(const struct med_ntfs_file *f, const struct med_ntfs_attribute *a)
{
        return a->type == MED_NTFS_DATA && is_stream(f, a->name, a->name_units);
}

static int take_data(struct med_ntfs_file *f, const struct med_ntfs_attribute *a)
{
        if (a->resident || a->first_vcn == 0) {
                if (f->has_data)
                        return -EBADMSG;
                f->has_data = true;
                for (size_t i = 0; i < f->stream_units; i++)
                        f->stream[i] = bth_load_le16(a->name + 2 * i);
                f->source.size_bytes = a->data_bytes;
                f->initialized_bytes = a->initialized_bytes;
                if (a->flags & 0x4000)
                        f->status = MED_NTFS_IS_ENCRYPTED;
                else if (med_ntfs_is_packed(a))
                        f->packed = true;
                else if ((a->flags & MED_NTFS_COMPRESSED) && !a->resident &&
                         f->status == MED_NTFS_OK)
                        f->status = MED_NTFS_IS_COMPRESSED;
        }
        if (!a->resident)
                return med_ntfs_runs_append(&f->runs, a, f->volume->clusters);
        f->resident = malloc(MAX(a->value_bytes, 1u));
        if (!f->resident)
                return -ENOMEM;
        memcpy(f->resident, a->value, a->value_bytes);
        return 0;
}

static void take_standard(struct med_ntfs_file *f, const struct med_ntfs_attribute *a)
{
        if (!a->resident || a->value_bytes < 36)
                return;
        f->created = bth_load_le64(a->value);
        f->modified = bth_load_le64(a->value + 8);
        f->dos_flags = bth_load_le32(a->value + 32);
        if (f->dos_flags & FLAG_ENCRYPTED)
                f->status = MED_NTFS_IS_ENCRYPTED;
        else if (f->dos_flags & FLAG_REPARSE)
                f->status = MED_NTFS_IS_REPARSE;
        else if (f->dos_flags & FLAG_OFFLINE)
                f->status = MED_NTFS_IS_OFFLINE;
}

static int load_list(struct med_ntfs_file *f, const struct med_ntfs_attribute *a, uint8_t **ret,
                     size_t *ret_n)
{
        struct med_ntfs_file list = { .volume = f->volume,
                                      .initialized_bytes = a->initialized_bytes };
        uint8_t *bytes;
        int r = 0;

        if (*ret || a->data_bytes > LIST_MAX)
                return -EBADMSG;
        bytes = calloc(1, (size_t)a->data_bytes + 1);
        if (!bytes)
                return -ENOMEM;
        if (a->resident) {
                memcpy(bytes, a->value, a->value_bytes);
        } else {
                r = med_ntfs_runs_append(&list.runs, a, f->volume->clusters);
                if (r == 0)
                        r = file_read(&list.source, 0, bytes, (size_t)a->data_bytes);
                med_ntfs_runs_clear(&list.runs);
        }
        if (r < 0) {
                free(bytes);
                return r;
        }
        *ret = bytes;
        *ret_n = (size_t)a->data_bytes;
        return 0;
}

/* Takes times, data and the attribute list of a base record. */
static int take_base(struct med_ntfs_file *f, const struct med_ntfs_record *rec, uint8_t **list,
                     size_t *list_n)
{
        struct med_ntfs_attribute a;
        uint32_t cursor = 0;
        int r;

        while ((r = med_ntfs_attribute_next(rec, &cursor, &a)) > 0) {
                r = 0;
                /* The list sorts before the data: where there is one, it says where data is. */
                if (is_wanted(f, &a) && !*list)
                        r = take_data(f, &a);
                else if (a.type == MED_NTFS_STANDARD_INFORMATION)
                        take_standard(f, &a);
                else if (a.type == MED_NTFS_ATTRIBUTE_LIST)
                        r = load_list(f, &a, list, list_n);
                if (r < 0)
                        return r;
        }
        return r;
}

/* Takes the piece of unnamed data that begins at `vcn` from the record that should hold it. */
static int take_piece(struct med_ntfs_file *f, const struct med_ntfs_record *rec, uint64_t vcn)
{
        struct med_ntfs_attribute a;
        uint32_t cursor = 0;
        int r;

        while ((r = med_ntfs_attribute_next(rec, &cursor, &a)) > 0)
                if (is_wanted(f, &a) && a.first_vcn == vcn)
                        return take_data(f, &a);
        return r < 0 ? r : -EBADMSG;
}

static int take_listed(struct med_ntfs_file *f, const uint8_t *list, size_t n, uint8_t *buffer)
{
        uint64_t own = f->reference & MED_NTFS_RECORD_MASK, open = MED_NTFS_HOLE;
        struct med_ntfs_record rec;
        int r = 0;

        for (size_t at = 0, length; r == 0 && n - at >= 26; at += length) {
                uint64_t where = bth_load_le64(list + at + 16) & MED_NTFS_RECORD_MASK;

                length = bth_load_le16(list + at + 4);
                if (length < 26 || length > n - at)
                        return -EBADMSG;
                if (bth_load_le32(list + at) != MED_NTFS_DATA ||
                    !bth_range_inside(list[at + 7], 2u * list[at + 6], length) ||
                    !is_stream(f, list + at + list[at + 7], list[at + 6]))
                        continue;
                if (where != open)
                        r = read_record(f->volume, where, buffer, &rec);
                open = where;
                if (r == 0 && where != own &&
                    (!rec.in_use || (rec.base & MED_NTFS_RECORD_MASK) != own))
                        r = -EBADMSG;
                if (r == 0)
                        r = take_piece(f, &rec, bth_load_le64(list + at + 8));
        }
        return r == -ENOENT || r == -ENODATA ? -EBADMSG : r;
}

static int load_file(struct med_ntfs_file *f, uint8_t *buffer)
{
        uint64_t number = f->reference & MED_NTFS_RECORD_MASK;
        _cleanup_free_ uint8_t *list = NULL;
        struct med_ntfs_record rec;
        size_t list_n = 0;
        int r = read_record(f->volume, number, buffer, &rec);

        if (r < 0)
                return r == -ENODATA ? -ENOENT : r;
        if (!rec.in_use || rec.base || (f->reference >> 48 && f->reference >> 48 != rec.sequence))
                return -ENOENT;
        f->reference = number | (uint64_t)rec.sequence << 48;
        bool directory = rec.directory; /* the buffer is used again */
        r = take_base(f, &rec, &list, &list_n);
        if (r == 0 && list)
                r = take_listed(f, list, list_n, buffer);
        if (r < 0)
                return r;
        if (directory && f->status != MED_NTFS_IS_REPARSE)
                f->status = MED_NTFS_IS_DIRECTORY;
        return 0;
}

static int file_new(const struct med_ntfs_volume *v, uint64_t reference, struct med_ntfs_file **ret)
{
        struct med_ntfs_file *f = calloc(1, sizeof *f);

        if (!f)
                return -ENOMEM;
        f->source = (struct bth_source){ .ops = &file_ops,
                                         .logical_block_bytes = 1,
                                         .memory_align_bytes = 1 };
        f->volume = v;
        f->reference = reference;
        *ret = f;
        return 0;
}

static int set_stream(struct med_ntfs_file *f, const char *name)
{
        size_t units;
        int r = bth_utf8_to_utf16(name, strlen(name), f->stream, ARRAY_SIZE(f->stream), &units);

        if (r < 0)
                return r == -ENOSPC ? -ENAMETOOLONG : r;
        for (size_t i = 0; i < units; i++)
                f->stream[i] = le16toh(f->stream[i]);
        f->stream_units = (uint8_t)units;
        return 0;
}

int med_ntfs_stream_open(const struct med_ntfs_volume *v, uint64_t reference, const char *name,
                         struct med_ntfs_file **ret)
{
        _cleanup_free_ uint8_t *buffer = malloc(v->record_bytes);
        struct med_ntfs_file *f;
        int r;

        if (!buffer)
                return -ENOMEM;
        r = file_new(v, reference, &f);
        if (r < 0)
                return r;
        r = set_stream(f, name);
        if (r == 0)
                r = load_file(f, buffer);
        if (r == 0 && f->stream_units && !f->has_data)
                r = -ENOENT;
        if (r < 0) {
                file_free(&f->source);
                return r;
        }
        *ret = f;
        return 0;
}

int med_ntfs_file_open(const struct med_ntfs_volume *v, uint64_t reference,
                       struct med_ntfs_file **ret)
{
        return med_ntfs_stream_open(v, reference, "", ret);
}

static uint32_t power_or_count(uint8_t v, uint32_t unit)
{
        return v < 128 ? v * unit : v > 256 - 22 ? 1u << (256 - v) : 0;
}

static int parse_boot(struct med_ntfs_volume *v, const uint8_t *boot)
{
        uint64_t sectors = bth_load_le64(boot + 0x28), lcn = bth_load_le64(boot + 0x30), bytes;

        if (memcmp(boot + 3, "NTFS    ", 8) != 0)
                return -EINVAL;
        v->sector_bytes = bth_load_le16(boot + 0xb);
        v->serial = bth_load_le64(boot + 0x48);
        if (!bth_is_power_of_two(v->sector_bytes) || v->sector_bytes < 256 ||
            v->sector_bytes > 4096)
                return -EBADMSG;
        v->cluster_bytes = boot[0xd] <= 128       ? boot[0xd] * v->sector_bytes
                           : boot[0xd] > 256 - 13 ? v->sector_bytes << (256 - boot[0xd])
                                                  : 0;
        if (!bth_is_power_of_two(v->cluster_bytes) || v->cluster_bytes > CLUSTER_MAX)
                return -EBADMSG;
        v->record_bytes = power_or_count(boot[0x40], v->cluster_bytes);
        if (!bth_is_power_of_two(v->record_bytes) || v->record_bytes < 1024 ||
            v->record_bytes > MED_NTFS_RECORD_MAX)
                return -EBADMSG;
        if (!bth_mul_u64(sectors, v->sector_bytes, &bytes) || bytes > v->source->size_bytes ||
            !bth_mul_u64(lcn, v->cluster_bytes, &v->mft_offset_bytes) ||
            !bth_range_inside(v->mft_offset_bytes, v->record_bytes, bytes))
                return -EBADMSG;
        v->clusters = bytes / v->cluster_bytes;
        return 0;
}

/* It has no holes and is no larger than the volume, so that the volume bounds every loop over it.
 */
static bool is_plausible_mft(const struct med_ntfs_volume *v)
{
        const struct med_ntfs_file *mft = v->mft;

        if (mft->status != MED_NTFS_OK || mft->packed || mft->resident ||
            mft->source.size_bytes > v->source->size_bytes)
                return false;
        for (size_t i = 0; i < mft->runs.n; i++)
                if (mft->runs.run[i].lcn == MED_NTFS_HOLE)
                        return false;
        return true;
}

static int load_mft(struct med_ntfs_volume *v)
{
        _cleanup_free_ uint8_t *buffer = malloc(v->record_bytes);
        int r;

        if (!buffer)
                return -ENOMEM;
        r = file_new(v, 0, &v->mft); /* in place at once: its extension records lie in itself */
        if (r == 0)
                r = load_file(v->mft, buffer);
        if (r == 0 && !is_plausible_mft(v))
                r = -EBADMSG;
        if (r == 0)
                v->n_records = v->mft->source.size_bytes / v->record_bytes;
        return r == -ENOENT ? -EBADMSG : r;
}

static int load_upcase(struct med_ntfs_volume *v)
{
        struct med_ntfs_file *f;
        int r = med_ntfs_file_open(v, UPCASE_RECORD, &f);

        if (r < 0)
                return r == -ENOENT ? -EBADMSG : r;
        r = f->source.size_bytes == sizeof v->upcase
                    ? bth_source_read(&f->source, 0, v->upcase, sizeof v->upcase)
                    : -EBADMSG;
        for (size_t i = 0; i < 65536; i++)
                v->upcase[i] = le16toh(v->upcase[i]);
        (void)bth_source_free(&f->source);
        return r;
}

static int load_information(struct med_ntfs_volume *v)
{
        _cleanup_free_ uint8_t *buffer = malloc(v->record_bytes);
        struct med_ntfs_record rec;
        struct med_ntfs_attribute a;
        uint32_t cursor = 0;
        int r;

        if (!buffer)
                return -ENOMEM;
        r = read_record(v, VOLUME_RECORD, buffer, &rec);
        while (r >= 0 && (r = med_ntfs_attribute_next(&rec, &cursor, &a)) > 0) {
                if (a.type == MED_NTFS_VOLUME_INFORMATION && a.resident && a.value_bytes >= 12)
                        v->dirty = bth_load_le16(a.value + 10) & 1;
                else if (a.type == MED_NTFS_VOLUME_NAME && a.resident)
                        (void)bth_utf16_to_utf8(
                                a.value, MIN(a.value_bytes / 2, MED_NTFS_LABEL_UNITS), v->label);
        }
        return r == -ENOENT || r == -ENODATA ? -EBADMSG : r;
}

int med_ntfs_open(struct bth_source *source, struct med_ntfs_volume **ret, struct bth_error *error)
{
        _cleanup_(med_ntfs_closep) struct med_ntfs_volume *v = calloc(1, sizeof *v);
        uint8_t boot[BOOT_BYTES];
        int r;

        if (!v)
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY,
                                     "no memory for the volume");
        v->source = source;
        v->pieces = med_ntfs_pieces_new();
        if (!v->pieces)
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY,
                                     "no memory for the volume");
        r = source->size_bytes < BOOT_BYTES ? -EINVAL
                                            : bth_source_read(source, 0, boot, sizeof boot);
        if (r == 0)
                r = parse_boot(v, boot);
        if (r == -EINVAL)
                return bth_error_set(error, r, BTH_REASON_NOT_NTFS,
                                     "the volume does not begin with an NTFS boot sector");
        if (r == 0)
                r = med_ntfs_library_new(source, &v->library);
        if (r == 0)
                r = load_mft(v);
        if (r == 0)
                r = load_upcase(v);
        if (r == 0)
                r = load_information(v);
        if (r == -EBADMSG || r == -E2BIG)
                return bth_error_set(error, -EBADMSG, BTH_REASON_NTFS_DAMAGED,
                                     "the boot sector or the master file table is damaged");
        if (r == -ENOMEM)
                return bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY,
                                     "no memory for the volume");
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_DRIVE_READ_ERROR,
                                     "the file system cannot be read: %s", bth_strerror(r));
        *ret = take_ptr(v);
        return 0;
}

struct med_ntfs_volume *med_ntfs_close(struct med_ntfs_volume *v)
{
        if (v && v->mft)
                (void)bth_source_free(&v->mft->source);
        if (v) {
                (void)med_ntfs_pieces_free(v->pieces);
                (void)med_ntfs_library_free(v->library);
        }
        free(v);
        return NULL;
}

static int compare_mirror(const struct med_ntfs_volume *v, bool *ret_differs)
{
        const size_t n = MIRROR_RECORDS * v->record_bytes;
        _cleanup_free_ uint8_t *first = malloc(n), *second = malloc(n);
        struct med_ntfs_file *mirror;
        int r;

        if (!first || !second)
                return -ENOMEM;
        r = med_ntfs_file_open(v, MIRROR_RECORD, &mirror);
        if (r < 0) {
                *ret_differs = true;
                return r == -ENOENT || r == -EBADMSG ? 0 : r;
        }
        *ret_differs = mirror->source.size_bytes < n || v->mft->source.size_bytes < n;
        if (!*ret_differs) {
                r = bth_source_read(&mirror->source, 0, first, n);
                if (r == 0)
                        r = bth_source_read(&v->mft->source, 0, second, n);
                *ret_differs = r == -EBADMSG || (r == 0 && memcmp(first, second, n) != 0);
        }
        (void)bth_source_free(&mirror->source);
        return r == -EBADMSG ? 0 : r;
}

int med_ntfs_check(const struct med_ntfs_volume *v, struct med_ntfs_health *ret,
                   struct bth_error *error)
{
        struct med_ntfs_health health = { .dirty = v->dirty };
        int r = compare_mirror(v, &health.mirror_differs);

        if (r < 0)
                return r;
        r = med_ntfs_library_check(v->library, &health.log_dirty, error);
        health.refused = r == -EBADMSG || r == -EMEDIUMTYPE || r == -EPERM;
        if (r < 0 && !health.refused)
                return r;
        *ret = health;
        return 0;
}
