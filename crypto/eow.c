/* SPDX-License-Identifier: GPL-3.0-or-later */
/* eow - info block, bitmap files, records. */
#include <string.h>

#include "base/checked.h"
#include "crypto/eow.h"
#include "crypto/fve.h"

#define INFO_SIGNATURE   "FVE-EOW"   /* and NUL */
#define BITMAP_SIGNATURE "FVE-EOWBM" /* and NUL */
#define RECORD_SIGNATURE "FVE-EOWBR" /* and NUL */
#define INFO_HEADER      0x38
#define INFO_MAX         4096
#define REGIONS_MAX      ((INFO_MAX - INFO_HEADER) / 8)
#define BITMAP_HEADER    0x3c
#define BITMAP_CRC_BYTES 0x200
#define RECORD_HEADER    0x24
#define FILE_MAX         (64u << 10)
#define CHUNK_MIN        4096u
#define RUNS_MAX         (1u << 20) /* 8 TB in chunks of 8 MiB that alternate */

static int damaged(struct bth_error *error, const char *what)
{
        return bth_error_set(error, -EBADMSG, BTH_REASON_BITLOCKER_DAMAGED,
                             "the bitmap of encrypted space is damaged: %s", what);
}

void cry_eow_clear(struct cry_eow *e)
{
        free(e->runs);
        free(e->zeros);
        *e = (struct cry_eow){ 0 };
}

/* A checksum field counts as zero in its own sum. */
static bool crc_fits(uint8_t *data, size_t n, size_t field)
{
        uint32_t stored = bth_load_le32(data + field), computed;

        bth_store_le32(data + field, 0);
        computed = fve_crc32(data, n);
        bth_store_le32(data + field, stored);
        return stored == computed;
}

static int add_zeros(struct cry_eow *e, uint64_t offset_bytes, uint64_t length_bytes)
{
        void *p = reallocarray(e->zeros, e->n_zeros + 1, sizeof *e->zeros);

        if (!p)
                return -ENOMEM;
        e->zeros = p;
        e->zeros[e->n_zeros].offset_bytes = offset_bytes;
        e->zeros[e->n_zeros++].length_bytes = length_bytes;
        return 0;
}

static int add_run(struct cry_eow *e, uint64_t offset_bytes, uint64_t length_bytes, bool encrypted)
{
        struct cry_eow_run *last = e->n_runs > 0 ? &e->runs[e->n_runs - 1] : NULL;

        if (last && last->encrypted == encrypted &&
            last->offset_bytes + last->length_bytes == offset_bytes) {
                last->length_bytes += length_bytes;
                return 0;
        }
        if (e->n_runs == RUNS_MAX)
                return -E2BIG;
        if ((e->n_runs & (e->n_runs - 1)) == 0) { /* grow at 0, 1, 2, 4, 8 … */
                void *p = reallocarray(e->runs, MAX(e->n_runs * 2, (size_t)1), sizeof *e->runs);

                if (!p)
                        return -ENOMEM;
                e->runs = p;
        }
        e->runs[e->n_runs++] = (struct cry_eow_run){ offset_bytes, length_bytes, encrypted };
        return 0;
}

/* The info block into `info`; the first intact copy. */
static int read_info(struct bth_source *volume, const struct cry_metadata *m,
                     uint8_t info[INFO_MAX], struct bth_error *error)
{
        for (size_t i = 0; i < 2; i++) {
                const uint64_t at = m->eow_copies[i];
                size_t size;

                if (at == 0 || !bth_range_inside(at, INFO_MAX, volume->size_bytes) ||
                    bth_source_read(volume, at, info, INFO_MAX) < 0)
                        continue;
                size = bth_load_le16(info + 0x0a);
                if (memcmp(info, INFO_SIGNATURE, sizeof INFO_SIGNATURE) == 0 &&
                    bth_load_le16(info + 0x08) == INFO_HEADER && size >= INFO_HEADER &&
                    size <= INFO_MAX && crc_fits(info, size, 0x24))
                        return 0;
        }
        return damaged(error, "neither copy of its description is intact");
}

/* The newer of the records whose checksum fits, or NULL. */
static const uint8_t *active_record(uint8_t *file, size_t n)
{
        const uint8_t *best = NULL;
        uint32_t record_bytes = bth_load_le32(file + 0x34);

        for (size_t i = 0; i < 2; i++) {
                size_t at = bth_load_le32(file + 0x2c + 4 * i);

                if (record_bytes < RECORD_HEADER || at > n || record_bytes > n - at)
                        continue;
                if (memcmp(file + at, RECORD_SIGNATURE, sizeof RECORD_SIGNATURE) != 0 ||
                    !crc_fits(file + at, record_bytes, 0x20))
                        continue;
                if (!best || bth_load_le64(file + at + 0x14) > bth_load_le64(best + 0x14))
                        best = file + at;
        }
        return best;
}

static int add_region(struct cry_eow *e, const uint8_t *file, const uint8_t *record, uint32_t chunk,
                      uint64_t volume_bytes, struct bth_error *error)
{
        const uint64_t start = bth_load_le64(file + 0x14), size = bth_load_le64(file + 0x1c);
        const uint64_t bits = bth_load_le32(record + 0x10);
        const uint64_t room = ((uint64_t)bth_load_le32(file + 0x34) - RECORD_HEADER) * 8;
        const uint64_t chunks = size / chunk + (size % chunk != 0);
        int r = 0;

        if (!bth_range_inside(start, size, volume_bytes) || chunks > bits || bits > room)
                return damaged(error, "a region is not possible");
        for (uint64_t k = 0; r == 0 && k < chunks; k++) {
                bool encrypted = record[RECORD_HEADER + k / 8] >> (k & 7) & 1;

                r = add_run(e, start + k * chunk, MIN((uint64_t)chunk, size - k * chunk),
                            encrypted);
        }
        return r == -E2BIG ? damaged(error, "it alternates too often") : r;
}

static int read_bitmap(struct bth_source *volume, const struct cry_metadata *m,
                       uint64_t offset_bytes, uint32_t chunk, uint32_t log_bytes, struct cry_eow *e,
                       struct bth_error *error)
{
        uint8_t head[BITMAP_CRC_BYTES];
        _cleanup_free_ uint8_t *file = NULL;
        const uint8_t *record;
        uint32_t size;
        int r;

        if (!bth_range_inside(offset_bytes, sizeof head, volume->size_bytes))
                return damaged(error, "a bitmap lies outside the device");
        r = bth_source_read(volume, offset_bytes, head, sizeof head);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_DRIVE_READ_ERROR,
                                     "the bitmap of encrypted space cannot be read: %s",
                                     bth_strerror(r));
        size = bth_load_le32(head + 0x0c);
        if (memcmp(head, BITMAP_SIGNATURE, sizeof BITMAP_SIGNATURE) != 0 ||
            size < BITMAP_CRC_BYTES || size > FILE_MAX ||
            !bth_range_inside(offset_bytes, size, volume->size_bytes) ||
            !crc_fits(head, sizeof head, 0x38))
                return damaged(error, "a bitmap is not intact");
        file = malloc(size);
        if (!file)
                return -ENOMEM;
        r = bth_source_read(volume, offset_bytes, file, size);
        record = r == 0 ? active_record(file, size) : NULL;
        if (!record)
                return damaged(error, "no record of a bitmap is intact");
        r = add_region(e, file, record, chunk, m->volume_bytes, error);
        if (r == 0)
                r = add_zeros(e, offset_bytes, size);
        if (r == 0 && bth_load_le64(file + 0x24) != 0)
                r = add_zeros(e, bth_load_le64(file + 0x24), log_bytes);
        return r;
}

static int by_offset(const void *a, const void *b)
{
        uint64_t x = ((const struct cry_eow_run *)a)->offset_bytes,
                 y = ((const struct cry_eow_run *)b)->offset_bytes;

        return x < y ? -1 : x > y;
}

/* In order, and no byte in two of them: then each byte has one answer. */
static int sort_runs(struct cry_eow *e, struct bth_error *error)
{
        if (e->n_runs == 0)
                return damaged(error, "it has no regions");
        qsort(e->runs, e->n_runs, sizeof *e->runs, by_offset);
        for (size_t i = 1; i < e->n_runs; i++)
                if (e->runs[i].offset_bytes - e->runs[i - 1].offset_bytes <
                    e->runs[i - 1].length_bytes)
                        return damaged(error, "its regions overlap");
        return 0;
}

int cry_eow_read(struct bth_source *volume, const struct cry_metadata *m, struct cry_eow *ret_eow,
                 struct bth_error *error)
{
        uint8_t info[INFO_MAX];
        struct cry_eow e = { 0 };
        uint32_t chunk, n_regions;
        int r = read_info(volume, m, info, error);

        if (r < 0)
                return r;
        chunk = bth_load_le32(info + 0x14);
        n_regions = bth_load_le32(info + 0x20);
        if (chunk < CHUNK_MIN || !bth_is_power_of_two(chunk) || n_regions > REGIONS_MAX ||
            INFO_HEADER + 8 * n_regions > bth_load_le16(info + 0x0a))
                return damaged(error, "its chunk size or number of regions is not possible");
        for (size_t i = 0; r == 0 && i < 2; i++)
                if (m->eow_copies[i] != 0)
                        r = add_zeros(&e, m->eow_copies[i], bth_load_le16(info + 0x0a));
        for (uint32_t i = 0; r == 0 && i < n_regions; i++)
                r = read_bitmap(volume, m, bth_load_le64(info + INFO_HEADER + 8 * i), chunk,
                                bth_load_le32(info + 0x18), &e, error);
        if (r == 0)
                r = sort_runs(&e, error);
        if (r < 0) {
                cry_eow_clear(&e);
                return r;
        }
        *ret_eow = e;
        return 0;
}
