/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "media/ntfs_scan.h"

#include <string.h>
#include <sys/random.h>

#include "base/checked.h"
#include "base/le.h"
#include "base/siphash.h"
#include "base/utf.h"

#define CHUNK_BYTES   (2u << 20)
#define NAME_UNITS    255u
#define DEPTH_MAX     4096u
#define NAMESPACE_DOS 2
#define NO_NAME       UINT32_MAX

struct info { /* of a base record, by its number */
        uint64_t size_bytes, first_offset_bytes;
        uint32_t sequence;
        uint8_t status;
};

struct name {
        uint64_t parent, record;
        uint64_t pool_at : 56, units : 8;
};

struct med_ntfs_index {
        const struct med_ntfs_volume *v;
        struct info *info;
        struct name *name;
        uint16_t *pool; /* names, upper-cased by the volume's table */
        uint32_t *bucket;
        size_t n_names, names_allocated, pool_used, pool_allocated, n_buckets, damaged;
        size_t bytes, max_bytes;
        struct bth_siphash_key key;
};

static int grow(struct med_ntfs_index *x, void **array, size_t *allocated, size_t need, size_t each)
{
        size_t want = MAX(need, *allocated + *allocated / 2 + 1024), bytes;
        void *p;

        if (need <= *allocated)
                return 0;
        if (!bth_mul_size(want, each, &bytes) ||
            bytes - *allocated * each > x->max_bytes - x->bytes)
                return -E2BIG;
        p = realloc(*array, bytes);
        if (!p)
                return -ENOMEM;
        x->bytes += bytes - *allocated * each;
        *array = p;
        *allocated = want;
        return 0;
}

static void upcase(const struct med_ntfs_volume *v, const uint8_t *from, size_t units, uint16_t *to)
{
        for (size_t i = 0; i < units; i++)
                to[i] = v->upcase[bth_load_le16(from + 2 * i)];
}

static int take_name(struct med_ntfs_index *x, uint64_t record, const struct med_ntfs_attribute *a)
{
        size_t units;
        int r;

        if (!a->resident || a->value_bytes < 66)
                return -EBADMSG;
        units = a->value[64];
        if (units == 0 || 66 + 2 * units > a->value_bytes)
                return -EBADMSG;
        if (a->value[65] == NAMESPACE_DOS)
                return 0;
        if (x->n_names >= NO_NAME)
                return -E2BIG;
        r = grow(x, (void **)&x->name, &x->names_allocated, x->n_names + 1, sizeof *x->name);
        if (r == 0)
                r = grow(x, (void **)&x->pool, &x->pool_allocated, x->pool_used + units, 2);
        if (r < 0)
                return r;
        upcase(x->v, a->value + 66, units, x->pool + x->pool_used);
        x->name[x->n_names++] = (struct name){ .parent = bth_load_le64(a->value),
                                               .record = record,
                                               .pool_at = x->pool_used & ((1ULL << 56) - 1),
                                               .units = (uint8_t)units };
        x->pool_used += units;
        return 0;
}

static void take_flags(struct info *info, const struct med_ntfs_attribute *a)
{
        uint32_t flags;

        if (!a->resident || a->value_bytes < 36)
                return;
        flags = bth_load_le32(a->value + 32);
        if (flags & 0x4000)
                info->status = MED_NTFS_IS_ENCRYPTED;
        else if (flags & 0x400)
                info->status = MED_NTFS_IS_REPARSE;
        else if (flags & 0x1000)
                info->status = MED_NTFS_IS_OFFLINE;
}

static void take_data(const struct med_ntfs_volume *v, struct info *info,
                      const struct med_ntfs_attribute *a)
{
        struct med_ntfs_runs runs = { 0 };

        if (!a->resident && a->first_vcn != 0)
                return;
        info->size_bytes = a->data_bytes;
        if (a->flags & 0x4000)
                info->status = MED_NTFS_IS_ENCRYPTED;
        else if ((a->flags & 0xff) && !a->resident && info->status == MED_NTFS_OK)
                info->status = MED_NTFS_IS_COMPRESSED;
        if (a->resident)
                return;
        if (med_ntfs_runs_append(&runs, a, v->clusters) < 0)
                info->status = MED_NTFS_IS_DAMAGED;
        for (size_t i = 0; i < runs.n && info->first_offset_bytes == MED_NTFS_HOLE; i++)
                if (runs.run[i].lcn != MED_NTFS_HOLE)
                        info->first_offset_bytes = runs.run[i].lcn * v->cluster_bytes;
        med_ntfs_runs_clear(&runs);
}

static int take_record(struct med_ntfs_index *x, uint64_t number, const struct med_ntfs_record *rec)
{
        uint64_t self = rec->base ? rec->base : number | (uint64_t)rec->sequence << 48;
        uint64_t owner = self & MED_NTFS_RECORD_MASK;
        struct med_ntfs_attribute a;
        struct info *info;
        uint32_t cursor = 0;
        int r;

        if (owner >= x->v->n_records)
                return -EBADMSG;
        info = &x->info[owner];
        if (!rec->base) {
                info->sequence = rec->sequence;
                if (rec->directory)
                        info->status = MED_NTFS_IS_DIRECTORY;
        }
        while ((r = med_ntfs_attribute_next(rec, &cursor, &a)) > 0) {
                r = 0;
                if (a.type == MED_NTFS_STANDARD_INFORMATION)
                        take_flags(info, &a);
                else if (a.type == MED_NTFS_FILE_NAME)
                        r = take_name(x, self, &a);
                else if (a.type == MED_NTFS_DATA && a.name_units == 0)
                        take_data(x->v, info, &a);
                if (r < 0)
                        break;
        }
        if (r == -EBADMSG)
                info->status = MED_NTFS_IS_DAMAGED;
        return r;
}

static int pass(struct med_ntfs_index *x)
{
        _cleanup_free_ uint8_t *chunk = bth_io_buffer_new(CHUNK_BYTES);
        const uint32_t each = x->v->record_bytes;

        if (!chunk)
                return -ENOMEM;
        for (uint64_t first = 0; first < x->v->n_records; first += CHUNK_BYTES / each) {
                uint64_t n = MIN((uint64_t)CHUNK_BYTES / each, x->v->n_records - first);
                int r = bth_source_read(&x->v->mft->source, first * each, chunk, n * each);

                if (r < 0)
                        return r;
                for (uint64_t i = 0; i < n; i++) {
                        struct med_ntfs_record rec;

                        r = med_ntfs_record_open(chunk + i * each, each, &rec);
                        if (r == 0 && rec.in_use)
                                r = take_record(x, first + i, &rec);
                        if (r == -EBADMSG)
                                x->damaged++;
                        else if (r < 0 && r != -ENODATA)
                                return r;
                }
        }
        return 0;
}

static size_t bucket_of(const struct med_ntfs_index *x, uint64_t parent, const uint16_t *name,
                        size_t units)
{
        uint16_t text[4 + NAME_UNITS];

        memcpy(text, &parent, 8);
        memcpy(text + 4, name, 2 * units);
        return (size_t)bth_siphash_of(&x->key, text, 8 + 2 * units).h[0] & (x->n_buckets - 1);
}

static int build_table(struct med_ntfs_index *x)
{
        size_t want = 16;

        while (want < x->n_names * 2)
                want *= 2;
        if (want * sizeof *x->bucket > x->max_bytes - x->bytes)
                return -E2BIG;
        x->bucket = malloc(want * sizeof *x->bucket);
        if (!x->bucket)
                return -ENOMEM;
        memset(x->bucket, 0xff, want * sizeof *x->bucket);
        x->n_buckets = want;
        for (size_t i = 0; i < x->n_names; i++) {
                const struct name *n = &x->name[i];
                size_t b = bucket_of(x, n->parent, x->pool + n->pool_at, n->units);

                while (x->bucket[b] != NO_NAME)
                        b = (b + 1) & (want - 1);
                x->bucket[b] = (uint32_t)i;
        }
        return 0;
}

int med_ntfs_scan(const struct med_ntfs_volume *v, size_t max_bytes, struct med_ntfs_index **ret,
                  struct bth_error *error)
{
        _cleanup_(med_ntfs_index_freep) struct med_ntfs_index *x = calloc(1, sizeof *x);
        int r = -E2BIG;

        if (!x)
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory");
        x->v = v;
        x->max_bytes = max_bytes;
        if (v->n_records <= max_bytes / sizeof *x->info) {
                x->bytes = (size_t)v->n_records * sizeof *x->info;
                x->info = calloc((size_t)v->n_records + 1, sizeof *x->info);
                r = x->info ? 0 : -ENOMEM;
        }
        for (uint64_t i = 0; r == 0 && i < v->n_records; i++)
                x->info[i].first_offset_bytes = MED_NTFS_HOLE;
        if (r == 0 && getrandom(&x->key, sizeof x->key, 0) != (ssize_t)sizeof x->key)
                r = -EIO;
        if (r == 0)
                r = pass(x);
        if (r == 0)
                r = build_table(x);
        if (r == -E2BIG)
                return bth_error_set(error, r, BTH_REASON_LIMIT_EXCEEDED,
                                     "the index of files needs more than %zu bytes", max_bytes);
        if (r == -ENOMEM)
                return bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY, "no memory");
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_DRIVE_READ_ERROR,
                                     "the master file table cannot be read: %s", bth_strerror(r));
        *ret = take_ptr(x);
        return 0;
}

struct med_ntfs_index *med_ntfs_index_free(struct med_ntfs_index *x)
{
        if (x) {
                free(x->info);
                free(x->name);
                free(x->pool);
                free(x->bucket);
        }
        free(x);
        return NULL;
}

/* A name counts only when its file still has the sequence number that the name was made for. */
static const struct name *find_name(const struct med_ntfs_index *x, uint64_t parent,
                                    const uint16_t *text, size_t units)
{
        for (size_t b = bucket_of(x, parent, text, units); x->bucket[b] != NO_NAME;
             b = (b + 1) & (x->n_buckets - 1)) {
                const struct name *n = &x->name[x->bucket[b]];

                if (n->parent == parent && n->units == units &&
                    memcmp(x->pool + n->pool_at, text, 2 * units) == 0 &&
                    x->info[n->record & MED_NTFS_RECORD_MASK].sequence == n->record >> 48)
                        return n;
        }
        return NULL;
}

int med_ntfs_index_find(const struct med_ntfs_index *x, const char *path,
                        struct med_ntfs_found *ret)
{
        const struct info *info;
        uint64_t at;

        if (x->v->n_records <= MED_NTFS_ROOT_RECORD)
                return -ENOENT;
        at = MED_NTFS_ROOT_RECORD | (uint64_t)x->info[MED_NTFS_ROOT_RECORD].sequence << 48;
        for (unsigned depth = 0; *(path += strspn(path, "/\\")); depth++) {
                size_t n = strcspn(path, "/\\"), units;
                uint16_t raw[NAME_UNITS], text[NAME_UNITS];
                const struct name *name;
                int r = bth_utf8_to_utf16(path, n, raw, NAME_UNITS, &units);

                if (r < 0 || depth >= DEPTH_MAX)
                        return r == -EILSEQ ? r : -ENAMETOOLONG;
                upcase(x->v, (const uint8_t *)raw, units, text);
                name = find_name(x, at, text, units);
                if (!name)
                        return -ENOENT;
                at = name->record;
                path += n;
        }
        info = &x->info[at & MED_NTFS_RECORD_MASK];
        *ret = (struct med_ntfs_found){ at, info->size_bytes, info->first_offset_bytes,
                                        info->status };
        return 0;
}

size_t med_ntfs_index_names(const struct med_ntfs_index *x)
{
        return x->n_names;
}

size_t med_ntfs_index_damaged(const struct med_ntfs_index *x)
{
        return x->damaged;
}
