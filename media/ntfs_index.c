/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "media/ntfs_index.h"

#include <string.h>
#include <sys/random.h>

#include "base/checked.h"
#include "base/le.h"
#include "base/utf.h"

#define DEPTH_MAX        4096u
#define NAME_FIXED_BYTES 18u

struct entry {
        uint64_t key, at;
};

struct med_ntfs_index {
        const struct med_ntfs_volume *v;
        struct med_ntfs_info *info;
        uint8_t *pool; /* parent 8, record 8, length 2, text */
        struct entry *entry;
        size_t n_names, entries_allocated, pool_used, pool_allocated, damaged;
        size_t bytes, max_bytes;
        struct bth_siphash_key hash_key;
};

/* ---- filling ---- */

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

int med_ntfs_index_new(const struct med_ntfs_volume *v, size_t max_bytes,
                       struct med_ntfs_index **ret)
{
        _cleanup_(med_ntfs_index_freep) struct med_ntfs_index *x = calloc(1, sizeof *x);

        if (!x)
                return -ENOMEM;
        x->v = v;
        x->max_bytes = max_bytes;
        if (v->n_records > max_bytes / sizeof *x->info)
                return -E2BIG;
        x->bytes = (size_t)v->n_records * sizeof *x->info;
        x->info = calloc((size_t)v->n_records + 1, sizeof *x->info);
        if (!x->info)
                return -ENOMEM;
        for (uint64_t i = 0; i < v->n_records; i++)
                x->info[i].first_offset_bytes = MED_NTFS_HOLE;
        if (getrandom(&x->hash_key, sizeof x->hash_key, 0) != (ssize_t)sizeof x->hash_key)
                return -EIO;
        *ret = take_ptr(x);
        return 0;
}

struct med_ntfs_index *med_ntfs_index_free(struct med_ntfs_index *x)
{
        if (x) {
                free(x->info);
                free(x->pool);
                free(x->entry);
        }
        free(x);
        return NULL;
}

struct med_ntfs_info *med_ntfs_index_info(struct med_ntfs_index *x, uint64_t number)
{
        return &x->info[number];
}

void med_ntfs_index_count_damage(struct med_ntfs_index *x)
{
        x->damaged++;
}

/* Upper half: the folder; lower half: the name in it, as the volume compares names. */
static uint64_t key_of(const struct med_ntfs_index *x, uint64_t parent, const void *utf16,
                       size_t units)
{
        uint16_t text[4 + MED_NTFS_NAME_UNITS];
        uint64_t folder;

        memcpy(text, &parent, 8);
        folder = bth_siphash_of(&x->hash_key, text, 8).h[0] >> 32 << 32;
        if (!utf16)
                return folder;
        for (size_t i = 0; i < units; i++)
                text[4 + i] = x->v->upcase[bth_load_le16((const uint8_t *)utf16 + 2 * i)];
        return folder | bth_siphash_of(&x->hash_key, text, 8 + 2 * units).h[0] >> 32;
}

/* Windows makes no such names, and who extracts files must not meet them. */
static bool is_no_name(const char *text, size_t n)
{
        return memchr(text, '\0', n) || memchr(text, '/', n) ||
               (text[0] == '.' && (n == 1 || (n == 2 && text[1] == '.')));
}

int med_ntfs_index_add(struct med_ntfs_index *x, uint64_t parent, uint64_t record,
                       const uint8_t *utf16, size_t units)
{
        char text[MED_NTFS_NAME_ROOM];
        size_t n = bth_utf16_to_utf8(utf16, units, text);
        uint8_t *p;
        int r;

        /* The root is its own parent, by the name ".". */
        if (parent == record)
                return (record & MED_NTFS_RECORD_MASK) == MED_NTFS_ROOT_RECORD ? 0 : -EBADMSG;
        if (is_no_name(text, n))
                return -EBADMSG;
        r = grow(x, (void **)&x->entry, &x->entries_allocated, x->n_names + 1, sizeof *x->entry);
        if (r == 0)
                r = grow(x, (void **)&x->pool, &x->pool_allocated,
                         x->pool_used + NAME_FIXED_BYTES + n, 1);
        if (r < 0)
                return r;
        x->entry[x->n_names++] = (struct entry){ key_of(x, parent, utf16, units), x->pool_used };
        p = x->pool + x->pool_used;
        bth_store_le64(p, parent);
        bth_store_le64(p + 8, record);
        bth_store_le16(p + 16, (uint16_t)n);
        memcpy(p + NAME_FIXED_BYTES, text, n);
        x->pool_used += NAME_FIXED_BYTES + n;
        return 0;
}

static int by_key(const void *pa, const void *pb)
{
        const struct entry *a = pa, *b = pb;

        if (a->key != b->key)
                return a->key < b->key ? -1 : 1;
        return a->at < b->at ? -1 : a->at > b->at;
}

int med_ntfs_index_seal(struct med_ntfs_index *x)
{
        if (x->n_names)
                qsort(x->entry, x->n_names, sizeof *x->entry, by_key);
        return 0;
}

/* ---- looking up ---- */

static void load_name(const struct med_ntfs_index *x, uint64_t at, struct med_ntfs_name *ret)
{
        const uint8_t *p = x->pool + at;

        ret->parent = bth_load_le64(p);
        ret->record = bth_load_le64(p + 8);
        ret->length = bth_load_le16(p + 16);
        memcpy(ret->text, p + NAME_FIXED_BYTES, ret->length);
        ret->text[ret->length] = '\0';
}

static uint64_t lower_bound(const struct med_ntfs_index *x, uint64_t key)
{
        uint64_t lo = 0, hi = x->n_names;

        while (lo < hi) {
                uint64_t mid = lo + (hi - lo) / 2;

                if (x->entry[mid].key < key)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        return lo;
}

/* A name counts only while its file has the sequence number that the name was made for. */
static bool is_current(const struct med_ntfs_index *x, uint64_t reference)
{
        uint64_t number = reference & MED_NTFS_RECORD_MASK;

        return number < x->v->n_records && x->info[number].sequence == reference >> 48;
}

int med_ntfs_index_next(const struct med_ntfs_index *x, uint64_t parent, uint64_t *cursor,
                        struct med_ntfs_name *ret)
{
        uint64_t folder = key_of(x, parent, NULL, 0);
        uint64_t i = *cursor ? *cursor : lower_bound(x, folder);

        for (; i < x->n_names && x->entry[i].key >> 32 == folder >> 32; i++) {
                load_name(x, x->entry[i].at, ret);
                if (ret->parent != parent || !is_current(x, ret->record))
                        continue;
                *cursor = i + 1;
                return 1;
        }
        return 0;
}

int med_ntfs_index_found(const struct med_ntfs_index *x, uint64_t reference,
                         struct med_ntfs_found *ret)
{
        const struct med_ntfs_info *info;

        if (!is_current(x, reference))
                return -ENOENT;
        info = &x->info[reference & MED_NTFS_RECORD_MASK];
        *ret = (struct med_ntfs_found){
                .reference = reference,
                .size_bytes = info->size_bytes,
                .first_offset_bytes = info->first_offset_bytes,
                .status = info->status,
                .directory = info->directory,
        };
        return 0;
}

static bool same_name(const struct med_ntfs_index *x, const struct med_ntfs_name *n,
                      const uint16_t *utf16, size_t units)
{
        uint16_t own[MED_NTFS_NAME_UNITS];
        size_t own_units;

        if (bth_utf8_to_utf16(n->text, n->length, own, MED_NTFS_NAME_UNITS, &own_units) < 0 ||
            own_units != units)
                return false;
        for (size_t i = 0; i < units; i++)
                if (x->v->upcase[le16toh(own[i])] != x->v->upcase[le16toh(utf16[i])])
                        return false;
        return true;
}

/* Where Linux made names that differ only in their case, the one that is meant exactly wins. */
static int find_name(const struct med_ntfs_index *x, uint64_t parent, const char *text, size_t n,
                     uint64_t *ret_reference)
{
        uint16_t utf16[MED_NTFS_NAME_UNITS];
        struct med_ntfs_name name;
        size_t units;
        uint64_t key;
        int r = bth_utf8_to_utf16(text, n, utf16, MED_NTFS_NAME_UNITS, &units);

        if (r < 0)
                return r == -EILSEQ ? r : -ENAMETOOLONG;
        key = key_of(x, parent, utf16, units);
        r = -ENOENT;
        for (uint64_t i = lower_bound(x, key); i < x->n_names && x->entry[i].key == key; i++) {
                load_name(x, x->entry[i].at, &name);
                if (name.parent != parent || !is_current(x, name.record) ||
                    !same_name(x, &name, utf16, units))
                        continue;
                if (r == 0 && (name.length != n || memcmp(name.text, text, n) != 0))
                        continue;
                *ret_reference = name.record;
                r = 0;
        }
        return r;
}

int med_ntfs_index_find(const struct med_ntfs_index *x, const char *path,
                        struct med_ntfs_found *ret)
{
        uint64_t at;

        if (x->v->n_records <= MED_NTFS_ROOT_RECORD)
                return -ENOENT;
        at = MED_NTFS_ROOT_RECORD | (uint64_t)x->info[MED_NTFS_ROOT_RECORD].sequence << 48;
        for (unsigned depth = 0; *(path += strspn(path, "/\\")); depth++) {
                size_t n = strcspn(path, "/\\");
                int r = depth < DEPTH_MAX ? find_name(x, at, path, n, &at) : -ENAMETOOLONG;

                if (r < 0)
                        return r;
                path += n;
        }
        return med_ntfs_index_found(x, at, ret);
}

size_t med_ntfs_index_names(const struct med_ntfs_index *x)
{
        return x->n_names;
}

size_t med_ntfs_index_damaged(const struct med_ntfs_index *x)
{
        return x->damaged;
}

uint64_t med_ntfs_index_records(const struct med_ntfs_index *x)
{
        return x->v->n_records;
}
