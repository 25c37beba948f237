/* SPDX-License-Identifier: GPL-3.0-or-later */
/* view - the map of the volume, and reading along it. */
#include <string.h>

#include "base/checked.h"
#include "crypto/eow.h"
#include "crypto/view.h"

#define BOUNCE_BYTES 4096 /* the largest sector */

/* -- the map
 * ----------------------------------------------------------------------------------------- */

struct zero_area {
        uint64_t start, end;
};

struct mapping {
        const struct cry_metadata *m;
        struct cry_eow eow;
        struct zero_area *zeros;
        size_t n_zeros;
        struct cry_extent *extents;
        size_t n_extents;
};

static int by_start(const void *a, const void *b)
{
        uint64_t x = ((const struct zero_area *)a)->start, y = ((const struct zero_area *)b)->start;

        return x < y ? -1 : x > y;
}

static void add_zero_area(struct mapping *map, uint64_t offset_bytes, uint64_t length_bytes)
{
        const uint64_t sector = map->m->sector_bytes;
        uint64_t end = MIN(offset_bytes + length_bytes, map->m->volume_bytes);

        /* Whole sectors, as the volume is encrypted by sectors. */
        end = MIN((end + sector - 1) / sector * sector, map->m->volume_bytes);
        if (offset_bytes < end)
                map->zeros[map->n_zeros++] =
                        (struct zero_area){ offset_bytes / sector * sector, end };
}

static int collect_zeros(struct mapping *map)
{
        const struct cry_metadata *m = map->m;

        map->zeros = calloc(CRY_FVE_COPIES + 1 + map->eow.n_zeros, sizeof *map->zeros);
        if (!map->zeros)
                return -ENOMEM;
        for (size_t i = 0; i < CRY_FVE_COPIES; i++)
                add_zero_area(map, m->copies[i], CRY_FVE_REGION_BYTES);
        add_zero_area(map, m->header_offset, m->header_bytes);
        for (size_t i = 0; i < map->eow.n_zeros; i++)
                add_zero_area(map, map->eow.zeros[i].offset_bytes, map->eow.zeros[i].length_bytes);
        qsort(map->zeros, map->n_zeros, sizeof *map->zeros, by_start);
        return 0;
}

static const struct cry_eow_run *first_run_ending_behind(const struct cry_eow *e, uint64_t physical)
{
        size_t low = 0, high = e->n_runs;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (e->runs[middle].offset_bytes + e->runs[middle].length_bytes <= physical)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < e->n_runs ? &e->runs[low] : NULL;
}

/* Is the physical byte encrypted, and up to where is that the same? (rules 6 to 8) */
static bool is_encrypted(const struct mapping *map, uint64_t physical, uint64_t *ret_until)
{
        const struct cry_metadata *m = map->m;

        *ret_until = UINT64_MAX;
        if (m->current_state == 1)
                return false;
        if (m->eow) {
                const struct cry_eow_run *run = first_run_ending_behind(&map->eow, physical);

                if (!run)
                        return true; /* what no region covers */
                if (physical < run->offset_bytes) {
                        *ret_until = run->offset_bytes;
                        return true;
                }
                *ret_until = run->offset_bytes + run->length_bytes;
                return run->encrypted;
        }
        if (m->watermark_bytes != 0) {
                if (physical >= m->watermark_bytes)
                        return false;
                *ret_until = m->watermark_bytes;
        }
        return true;
}

static int add_extent(struct mapping *map, struct cry_extent e)
{
        struct cry_extent *last = map->n_extents > 0 ? &map->extents[map->n_extents - 1] : NULL;

        if (last && last->kind == e.kind &&
            (e.kind == CRY_EXTENT_ZERO ||
             last->physical_bytes + last->length_bytes == e.physical_bytes)) {
                last->length_bytes += e.length_bytes;
                return 0;
        }
        if ((map->n_extents & (map->n_extents - 1)) == 0) {
                void *p = reallocarray(map->extents, MAX(map->n_extents * 2, (size_t)1),
                                       sizeof *map->extents);

                if (!p)
                        return -ENOMEM;
                map->extents = p;
        }
        map->extents[map->n_extents++] = e;
        return 0;
}

/* One step of the map from `at`: the first rule of specification 8 that fits. */
static struct cry_extent next_extent(const struct mapping *map, uint64_t at)
{
        const struct cry_metadata *m = map->m;
        struct cry_extent e = { .offset_bytes = at, .physical_bytes = at };
        uint64_t end = m->volume_bytes, until;

        for (size_t i = 0; i < map->n_zeros; i++) {
                if (at >= map->zeros[i].start && at < map->zeros[i].end) {
                        e.kind = CRY_EXTENT_ZERO;
                        e.length_bytes = map->zeros[i].end - at;
                        return e;
                }
                if (at < map->zeros[i].start)
                        end = MIN(end, map->zeros[i].start);
        }
        if (m->current_state == 2 && m->dirty_bytes != 0 && at >= m->watermark_bytes &&
            at < m->watermark_bytes + m->dirty_bytes) {
                e.kind = CRY_EXTENT_ZERO;
                e.length_bytes = MIN(end, m->watermark_bytes + m->dirty_bytes) - at;
                return e;
        }
        if (at < m->header_bytes) {
                end = MIN(end, m->header_bytes);
                e.physical_bytes = m->header_offset + at;
        }
        e.kind = is_encrypted(map, e.physical_bytes, &until) ? CRY_EXTENT_ENCRYPTED
                                                             : CRY_EXTENT_PLAIN;
        e.length_bytes = MIN(end - at, until - e.physical_bytes);
        return e;
}

static int build_map(struct mapping *map)
{
        int r = collect_zeros(map);

        for (uint64_t at = 0; r == 0 && at < map->m->volume_bytes;) {
                struct cry_extent e = next_extent(map, at);

                r = add_extent(map, e);
                at += e.length_bytes;
        }
        return r;
}

int cry_extents_new(struct bth_source *volume, const struct cry_metadata *m,
                    struct cry_extent **ret_extents, size_t *ret_n, struct bth_error *error)
{
        struct mapping map = { .m = m };
        int r = m->eow ? cry_eow_read(volume, m, &map.eow, error) : 0;

        if (r == 0)
                r = build_map(&map);
        cry_eow_clear(&map.eow);
        free(map.zeros);
        if (r < 0) {
                free(map.extents);
                return r;
        }
        *ret_extents = map.extents;
        *ret_n = map.n_extents;
        return 0;
}

/* -- reading
 * ----------------------------------------------------------------------------------------- */

struct view {
        struct bth_source base;
        struct bth_source *below;
        struct cry_sector_cipher *cipher; /* NULL for a volume in the state decrypted */
        struct cry_extent *extents;
        size_t n_extents;
        uint32_t sector_bytes;
};

/* The extent that holds a byte of the volume. */
static const struct cry_extent *find_extent(const struct view *v, uint64_t offset_bytes)
{
        size_t low = 0, high = v->n_extents;

        while (high - low > 1) {
                size_t middle = low + (high - low) / 2;

                if (v->extents[middle].offset_bytes <= offset_bytes)
                        low = middle;
                else
                        high = middle;
        }
        return &v->extents[low];
}

static int read_below(struct view *v, uint64_t physical, void *buffer, size_t n)
{
        /* Longer than its device: there is nothing to read there. */
        if (!bth_range_inside(physical, n, v->below->size_bytes))
                return -EIO;
        return bth_source_read(v->below, physical, buffer, n);
}

/* Whole sectors, in place. */
static int read_sectors(struct view *v, uint64_t physical, uint8_t *buffer, size_t n)
{
        int r = read_below(v, physical, buffer, n);

        return r < 0 ? r : cry_sector_decrypt(v->cipher, physical, buffer, buffer, n);
}

/* A piece inside one sector. */
static int read_inside_sector(struct view *v, uint64_t physical, uint8_t *buffer, size_t n)
{
        _Alignas(BOUNCE_BYTES) uint8_t sector[BOUNCE_BYTES];
        const size_t skip = (size_t)(physical & (v->sector_bytes - 1));
        int r = read_sectors(v, physical - skip, sector, v->sector_bytes);

        if (r == 0)
                memcpy(buffer, sector + skip, n);
        return r;
}

/* A piece of an encrypted extent: head, whole sectors, tail. */
static int read_encrypted(struct view *v, uint64_t physical, uint8_t *buffer, size_t n)
{
        const uint64_t mask = v->sector_bytes - 1;
        size_t head = (size_t)(-physical & mask), whole;
        int r = 0;

        if (head > 0 || n <= mask) {
                head = head == 0 ? n : MIN(head, n);
                r = read_inside_sector(v, physical, buffer, head);
                physical += head;
                buffer += head;
                n -= head;
        }
        whole = (size_t)(n & ~mask);
        if (r == 0 && whole > 0)
                r = read_sectors(v, physical, buffer, whole);
        if (r == 0 && n > whole)
                r = read_inside_sector(v, physical + whole, buffer + whole, n - whole);
        return r;
}

static int view_read(struct bth_source *s, uint64_t offset_bytes, void *buffer, size_t length_bytes)
{
        struct view *v = container_of(s, struct view, base);
        const struct cry_extent *e = find_extent(v, offset_bytes);
        uint8_t *out = buffer;
        int r = 0;

        for (; r == 0 && length_bytes > 0; e++) {
                uint64_t inside = offset_bytes - e->offset_bytes;
                size_t take = (size_t)MIN((uint64_t)length_bytes, e->length_bytes - inside);

                if (e->kind == CRY_EXTENT_ZERO)
                        memset(out, 0, take);
                else if (e->kind == CRY_EXTENT_PLAIN)
                        r = read_below(v, e->physical_bytes + inside, out, take);
                else
                        r = read_encrypted(v, e->physical_bytes + inside, out, take);
                out += take;
                offset_bytes += take;
                length_bytes -= take;
        }
        return r;
}

/* Can the piece be read below as it is, and decrypted in its buffer afterwards? */
static const struct cry_extent *direct(const struct view *v, const struct bth_read *q)
{
        const struct cry_extent *e = find_extent(v, q->offset_bytes);
        const uint64_t inside = q->offset_bytes - e->offset_bytes;
        const uint64_t physical = e->physical_bytes + inside;

        if (e->kind == CRY_EXTENT_ZERO || q->length_bytes > e->length_bytes - inside ||
            ((physical | q->length_bytes) & (v->sector_bytes - 1)) != 0 ||
            !bth_range_inside(physical, q->length_bytes, v->below->size_bytes))
                return NULL;
        return e;
}

/* The pieces that can go below together do; they are decrypted as a whole afterwards. */
static int view_read_many(struct bth_source *s, struct bth_read *reads, size_t n_reads)
{
        struct view *v = container_of(s, struct view, base);
        _cleanup_free_ struct bth_read *below = calloc(n_reads, sizeof *below);
        int first = 0;
        size_t n = 0;

        if (!below)
                return -ENOMEM;
        for (size_t i = 0; i < n_reads; i++) {
                const struct cry_extent *e = direct(v, &reads[i]);

                if (e)
                        below[n++] = (struct bth_read){
                                .offset_bytes =
                                        e->physical_bytes + reads[i].offset_bytes - e->offset_bytes,
                                .length_bytes = reads[i].length_bytes,
                                .buffer = reads[i].buffer,
                        };
        }
        if (n > 0)
                (void)!bth_source_read_many(v->below, below, n); /* each piece has its own result */
        n = 0;
        for (size_t i = 0; i < n_reads; i++) {
                struct bth_read *q = &reads[i];
                const struct cry_extent *e = direct(v, q);

                if (!e) {
                        q->result = view_read(s, q->offset_bytes, q->buffer, q->length_bytes);
                } else {
                        q->result = below[n].result;
                        if (q->result == 0 && e->kind == CRY_EXTENT_ENCRYPTED)
                                q->result =
                                        cry_sector_decrypt(v->cipher, below[n].offset_bytes,
                                                           q->buffer, q->buffer, q->length_bytes);
                        n++;
                }
                first = first == 0 ? q->result : first;
        }
        return first;
}

static void view_free(struct bth_source *s)
{
        struct view *v = container_of(s, struct view, base);

        (void)cry_sector_cipher_free(v->cipher);
        free(v->extents);
        free(v);
}

int cry_view_new(struct bth_source *volume, const struct cry_metadata *m,
                 const struct cry_unlocked *unlocked, struct bth_source **ret_view,
                 struct bth_error *error)
{
        static const struct bth_source_ops ops = {
                .read = view_read,
                .read_many = view_read_many,
                .free = view_free,
        };
        struct view *v = calloc(1, sizeof *v);
        int r;

        if (!v)
                return -ENOMEM;
        v->base = (struct bth_source){
                .ops = &ops,
                .size_bytes = m->volume_bytes,
                .logical_block_bytes = MAX(m->sector_bytes, volume->logical_block_bytes),
                .memory_align_bytes = volume->memory_align_bytes,
        };
        v->below = volume;
        v->sector_bytes = m->sector_bytes;
        r = cry_sector_cipher_new(unlocked->method, unlocked->key->data,
                                  unlocked->key->length_bytes, m->sector_bytes, &v->cipher);
        if (r < 0)
                r = bth_error_set(error, r, BTH_REASON_BITLOCKER_UNSUPPORTED,
                                  "the cipher cannot be prepared: %s", bth_strerror(r));
        else
                r = cry_extents_new(volume, m, &v->extents, &v->n_extents, error);
        if (r < 0) {
                view_free(&v->base);
                return r;
        }
        *ret_view = &v->base;
        return 0;
}
