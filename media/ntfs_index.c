/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "media/ntfs_index.h"

#include <string.h>

#include "base/guid.h"
#include "base/le.h"
#include "base/utf.h"
#include "media/spill.h"

#define DEPTH_MAX        4096u
#define NAME_FIXED_BYTES 18u
#define FENCE_ENTRIES    (MED_SPILL_PAGE_BYTES / sizeof(struct entry))
#define BYTES_A_FILE     300u
#define BYTES_FLOOR      ((uint64_t)64 << 20)
#define RUN_ENTRIES      ((size_t)1 << 20)
#define ENTRIES_AT_ONCE  64u

struct entry {
        uint64_t key, at;
};

struct med_ntfs_index {
        const struct med_ntfs_volume *v;
        struct med_spill *spill;
        struct med_spill_area info, names, entries;
        uint64_t *fence;
        size_t n_fences, fences_allocated;
        uint64_t n_names; /* while it is filled: of names; sealed: of entries */
        size_t damaged, max_bytes;
        struct bth_siphash_key hash_key;
};

/* ---- filling ---- */

/* Of the buffer that sorts a run; qsort(3) needs as much again. */
static size_t sort_bytes(const struct med_ntfs_index *x)
{
        size_t most = RUN_ENTRIES * sizeof(struct entry), quarter = x->max_bytes / 4;

        return MIN(most, quarter);
}

int med_ntfs_index_new(const struct med_ntfs_volume *v, const struct med_ntfs_scan_options *options,
                       struct med_ntfs_index **ret)
{
        _cleanup_(med_ntfs_index_freep) struct med_ntfs_index *x = calloc(1, sizeof *x);
        int r;

        if (!x) {
                if (options->fd > 0)
                        (void)bth_close(options->fd);
                return -ENOMEM;
        }
        x->v = v;
        /* However much may be taken, names of the longest kind go to the file sooner. */
        x->max_bytes = MAX(BYTES_FLOOR, v->n_records * (uint64_t)BYTES_A_FILE);
        x->max_bytes = MIN(x->max_bytes, options->max_bytes);
        r = med_spill_new(x->max_bytes - 2 * sort_bytes(x), options->folder, options->fd,
                          &x->spill);
        if (r == 0)
                r = bth_random_bytes(&x->hash_key, sizeof x->hash_key);
        if (r < 0)
                return r;
        x->info.spill = x->names.spill = x->entries.spill = x->spill;
        *ret = take_ptr(x);
        return 0;
}

struct med_ntfs_index *med_ntfs_index_free(struct med_ntfs_index *x)
{
        if (!x)
                return NULL;
        if (x->spill) {
                med_spill_clear(&x->info);
                med_spill_clear(&x->names);
                med_spill_clear(&x->entries);
        }
        (void)med_spill_free(x->spill);
        free(x->fence);
        free(x);
        return NULL;
}

int med_ntfs_index_info(const struct med_ntfs_index *x, uint64_t number, struct med_ntfs_info *ret)
{
        uint64_t at = number * sizeof *ret;

        *ret = (struct med_ntfs_info){ 0 };
        return at < x->info.size_bytes ? med_spill_read(&x->info, at, ret, sizeof *ret) : 0;
}

int med_ntfs_index_note(struct med_ntfs_index *x, uint64_t number, const struct med_ntfs_info *info)
{
        return med_spill_write(&x->info, number * sizeof *info, info, sizeof *info);
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
        uint8_t name[NAME_FIXED_BYTES + MED_NTFS_NAME_ROOM];
        char *text = (char *)name + NAME_FIXED_BYTES;
        size_t n = bth_utf16_to_utf8(utf16, units, text);

        /* The root is its own parent, by the name ".". */
        if (parent == record)
                return (record & MED_NTFS_RECORD_MASK) == MED_NTFS_ROOT_RECORD ? 0 : -EBADMSG;
        if (is_no_name(text, n))
                return -EBADMSG;
        x->n_names++;
        bth_store_le64(name, parent);
        bth_store_le64(name + 8, record);
        bth_store_le16(name + 16, (uint16_t)n);
        return med_spill_write(&x->names, x->names.size_bytes, name, NAME_FIXED_BYTES + n);
}

static int load_name(const struct med_ntfs_index *x, uint64_t at, struct med_ntfs_name *ret)
{
        uint8_t fixed[NAME_FIXED_BYTES];
        int r = med_spill_read(&x->names, at, fixed, sizeof fixed);

        if (r < 0)
                return r;
        ret->parent = bth_load_le64(fixed);
        ret->record = bth_load_le64(fixed + 8);
        ret->length = bth_load_le16(fixed + 16);
        r = med_spill_read(&x->names, at + sizeof fixed, ret->text, ret->length);
        ret->text[ret->length] = '\0';
        return r;
}

/* A name counts only while its file has the sequence number that the name was made for. Returns 1
 * and the file's info, 0, or a negative errno. */
static int is_current(const struct med_ntfs_index *x, uint64_t reference, struct med_ntfs_info *ret)
{
        uint64_t number = reference & MED_NTFS_RECORD_MASK;
        int r = number < x->v->n_records ? med_ntfs_index_info(x, number, ret) : -ENOENT;

        if (r < 0)
                return r == -ENOENT ? 0 : r;
        return ret->sequence == reference >> 48;
}

/* ---- sorting ---- */

struct run {
        struct med_spill_area entries;
        uint64_t next, n; /* entries */
        struct entry head[ENTRIES_AT_ONCE];
        size_t head_at, head_n;
};

struct sorter {
        struct med_ntfs_index *x;
        struct entry *buffer;
        size_t n, room;
        struct run *run;
        size_t n_runs, runs_allocated;
        size_t *heap; /* of runs that have entries left; the least first */
        size_t heap_n;
};

static int by_key(const void *pa, const void *pb)
{
        const struct entry *a = pa, *b = pb;

        if (a->key != b->key)
                return a->key < b->key ? -1 : 1;
        return a->at < b->at ? -1 : a->at > b->at;
}

static int put_entries(struct med_ntfs_index *x, const struct entry *e, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                if ((x->n_names + i) % FENCE_ENTRIES != 0)
                        continue;
                if (x->n_fences == x->fences_allocated) {
                        size_t want = 2 * x->fences_allocated + 64;
                        uint64_t *p = reallocarray(x->fence, want, sizeof *p);

                        if (!p)
                                return -ENOMEM;
                        x->fence = p;
                        x->fences_allocated = want;
                }
                x->fence[x->n_fences++] = e[i].key;
        }
        x->n_names += n;
        return med_spill_write(&x->entries, x->entries.size_bytes, e, n * sizeof *e);
}

static int end_run(struct sorter *s)
{
        struct run *run;
        int r;

        qsort(s->buffer, s->n, sizeof *s->buffer, by_key);
        if (s->n_runs == s->runs_allocated) {
                size_t want = 2 * s->runs_allocated + 8;

                run = reallocarray(s->run, want, sizeof *run);
                if (!run)
                        return -ENOMEM;
                s->run = run;
                s->runs_allocated = want;
        }
        run = &s->run[s->n_runs++];
        *run = (struct run){ .entries.spill = s->x->spill, .n = s->n };
        r = med_spill_write(&run->entries, 0, s->buffer, s->n * sizeof *s->buffer);
        s->n = 0;
        return r;
}

static int add_entry(struct sorter *s, const struct entry *e)
{
        int r = s->n == s->room ? end_run(s) : 0;

        if (r == 0)
                s->buffer[s->n++] = *e;
        return r;
}

/* Makes the run's next entry its head. Returns 1, 0 at its end, or as med_spill_read(). */
static int advance(struct run *run)
{
        size_t n = (size_t)MIN(run->n - run->next, (uint64_t)ENTRIES_AT_ONCE);
        int r;

        if (++run->head_at < run->head_n)
                return 1;
        if (n == 0)
                return 0;
        r = med_spill_read(&run->entries, run->next * sizeof *run->head, run->head,
                           n * sizeof *run->head);
        run->head_at = 0;
        run->head_n = n;
        run->next += n;
        return r < 0 ? r : 1;
}

static bool heap_less(const struct sorter *s, size_t a, size_t b)
{
        const struct run *ra = &s->run[s->heap[a]], *rb = &s->run[s->heap[b]];

        return by_key(&ra->head[ra->head_at], &rb->head[rb->head_at]) < 0;
}

static void sift_down(struct sorter *s, size_t i)
{
        for (;;) {
                size_t least = i, left = 2 * i + 1, right = left + 1, t;

                if (left < s->heap_n && heap_less(s, left, least))
                        least = left;
                if (right < s->heap_n && heap_less(s, right, least))
                        least = right;
                if (least == i)
                        return;
                t = s->heap[i];
                s->heap[i] = s->heap[least];
                s->heap[least] = t;
                i = least;
        }
}

static int merge(struct sorter *s)
{
        int r = 0;

        s->heap = reallocarray(NULL, s->n_runs, sizeof *s->heap);
        if (!s->heap)
                return -ENOMEM;
        for (size_t i = 0; i < s->n_runs; i++) {
                r = advance(&s->run[i]);
                if (r < 0)
                        return r;
                if (r > 0)
                        s->heap[s->heap_n++] = i;
        }
        for (size_t i = s->heap_n; i-- > 0;)
                sift_down(s, i);
        while (s->heap_n > 0) {
                struct run *run = &s->run[s->heap[0]];

                r = put_entries(s->x, &run->head[run->head_at], 1);
                if (r == 0)
                        r = advance(run);
                if (r < 0)
                        return r;
                if (r == 0) {
                        med_spill_clear(&run->entries);
                        s->heap[0] = s->heap[--s->heap_n];
                }
                sift_down(s, 0);
        }
        return 0;
}

/* Names lie in the order of their records, so this goes through info nearly in order, too. */
static int collect(struct sorter *s)
{
        struct med_ntfs_index *x = s->x;
        uint16_t utf16[MED_NTFS_NAME_UNITS];
        struct med_ntfs_name name;
        struct med_ntfs_info info;
        size_t units;

        for (uint64_t at = 0; at < x->names.size_bytes; at += NAME_FIXED_BYTES + name.length) {
                int r = load_name(x, at, &name);

                if (r == 0)
                        r = is_current(x, name.record, &info);
                if (r < 0)
                        return r;
                if (r == 0 || bth_utf8_to_utf16(name.text, name.length, utf16, MED_NTFS_NAME_UNITS,
                                                &units) < 0)
                        continue;
                r = add_entry(s, &(struct entry){ key_of(x, name.parent, utf16, units), at });
                if (r < 0)
                        return r;
        }
        return 0;
}

int med_ntfs_index_seal(struct med_ntfs_index *x)
{
        struct sorter s = { .x = x };
        int r;

        s.room = MIN(sort_bytes(x) / sizeof *s.buffer, (size_t)x->n_names);
        s.room = MAX(s.room, (size_t)1024);
        s.buffer = reallocarray(NULL, s.room, sizeof *s.buffer);
        r = s.buffer ? collect(&s) : -ENOMEM;
        x->n_names = 0;
        if (r == 0 && s.n_runs > 0)
                r = end_run(&s);
        if (r == 0 && s.n_runs > 0) {
                free(take_ptr(s.buffer));
                r = merge(&s);
        } else if (r == 0) {
                qsort(s.buffer, s.n, sizeof *s.buffer, by_key);
                r = put_entries(x, s.buffer, s.n);
        }
        for (size_t i = 0; i < s.n_runs; i++)
                med_spill_clear(&s.run[i].entries);
        free(s.run);
        free(s.heap);
        free(s.buffer);
        med_spill_seal(x->spill);
        return r;
}

/* ---- looking up ---- */

static int load_entry(const struct med_ntfs_index *x, uint64_t i, struct entry *ret)
{
        return med_spill_read(&x->entries, i * sizeof *ret, ret, sizeof *ret);
}

/* The first entry whose key is not less. */
static int lower_bound(const struct med_ntfs_index *x, uint64_t key, uint64_t *ret)
{
        uint64_t lo = 0, hi = x->n_fences;

        while (lo < hi) {
                uint64_t mid = lo + (hi - lo) / 2;

                if (x->fence[mid] < key)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        hi = MIN(lo * FENCE_ENTRIES, x->n_names);
        lo = lo ? (lo - 1) * FENCE_ENTRIES : 0;
        while (lo < hi) {
                uint64_t mid = lo + (hi - lo) / 2;
                struct entry e;
                int r = load_entry(x, mid, &e);

                if (r < 0)
                        return r;
                if (e.key < key)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        *ret = lo;
        return 0;
}

int med_ntfs_index_next(const struct med_ntfs_index *x, uint64_t parent, uint64_t *cursor,
                        struct med_ntfs_name *ret)
{
        uint64_t folder = key_of(x, parent, NULL, 0), i = *cursor;
        struct entry e;
        int r = i ? 0 : lower_bound(x, folder, &i);

        for (; r == 0 && i < x->n_names; i++) {
                r = load_entry(x, i, &e);
                if (r < 0 || e.key >> 32 != folder >> 32)
                        break;
                r = load_name(x, e.at, ret);
                if (r < 0 || ret->parent != parent)
                        continue;
                *cursor = i + 1;
                return 1;
        }
        return r;
}

int med_ntfs_index_found(const struct med_ntfs_index *x, uint64_t reference,
                         struct med_ntfs_found *ret)
{
        struct med_ntfs_info info;
        int r = is_current(x, reference, &info);

        if (r <= 0)
                return r < 0 ? r : -ENOENT;
        *ret = (struct med_ntfs_found){
                .reference = reference,
                .size_bytes = info.size_bytes,
                .first_offset_bytes =
                        info.first_offset_bytes ? info.first_offset_bytes : MED_NTFS_HOLE,
                .status = info.status,
                .directory = info.directory,
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
        struct entry e;
        size_t units;
        uint64_t key, i;
        bool found = false;
        int r = bth_utf8_to_utf16(text, n, utf16, MED_NTFS_NAME_UNITS, &units);

        if (r < 0)
                return r == -EILSEQ ? r : -ENAMETOOLONG;
        key = key_of(x, parent, utf16, units);
        for (r = lower_bound(x, key, &i); r == 0 && i < x->n_names; i++) {
                r = load_entry(x, i, &e);
                if (r < 0 || e.key != key)
                        break;
                r = load_name(x, e.at, &name);
                if (r < 0 || name.parent != parent || !same_name(x, &name, utf16, units))
                        continue;
                if (found && (name.length != n || memcmp(name.text, text, n) != 0))
                        continue;
                *ret_reference = name.record;
                found = true;
        }
        return r < 0 ? r : found ? 0 : -ENOENT;
}

int med_ntfs_index_find(const struct med_ntfs_index *x, const char *path,
                        struct med_ntfs_found *ret)
{
        struct med_ntfs_info root;
        uint64_t at;
        int r;

        if (x->v->n_records <= MED_NTFS_ROOT_RECORD)
                return -ENOENT;
        r = med_ntfs_index_info(x, MED_NTFS_ROOT_RECORD, &root);
        at = MED_NTFS_ROOT_RECORD | (uint64_t)root.sequence << 48;
        for (unsigned depth = 0; r == 0 && *(path += strspn(path, "/\\")); depth++) {
                size_t n = strcspn(path, "/\\");

                r = depth < DEPTH_MAX ? find_name(x, at, path, n, &at) : -ENAMETOOLONG;
                path += n;
        }
        return r < 0 ? r : med_ntfs_index_found(x, at, ret);
}

void med_ntfs_index_memory(const struct med_ntfs_index *x, size_t *ret_memory_bytes,
                           uint64_t *ret_file_bytes)
{
        *ret_memory_bytes = sizeof *x + x->fences_allocated * sizeof *x->fence +
                            med_spill_memory_bytes(x->spill);
        *ret_file_bytes = med_spill_file_bytes(x->spill);
}

size_t med_ntfs_index_names(const struct med_ntfs_index *x)
{
        return (size_t)x->n_names;
}

size_t med_ntfs_index_damaged(const struct med_ntfs_index *x)
{
        return x->damaged;
}

uint64_t med_ntfs_index_records(const struct med_ntfs_index *x)
{
        return x->v->n_records;
}
