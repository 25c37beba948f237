/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fuzz-ntfs - a small volume with everything our reader knows, changed by the input, then opened,
 * scanned, walked and read: no crash, an end, bounded memory.
 *
 *     input: (where: le24, how many: u8, bytes) …     over the volume's 1 MiB
 *
 * So an input is a few bytes and hits a boot sector, a record, a run list or an attribute list; the
 * case table and what files hold, an eighth of the volume, need no fuzzing. Fix-ups can be hit as
 * well; where they are not, records stay whole. Content through libntfs-3g is not read here: that
 * library is fenced off, not trusted (media/ntfs_guard.h). */
#include <string.h>

#include "base/le.h"
#include "media/ntfs_scan.h"
#include "media/ntfs_upcase.h"
#include "tests/lib/ntfs-craft.h"

#define N_RECORDS      64u
#define UPCASE_CLUSTER 24u
#define N_CLUSTERS     256u
#define DISK_BYTES     (N_CLUSTERS * CRAFT_CLUSTER_BYTES)
#define ROOT           craft_reference(5, 5)
#define VISITS_MAX     100000u
#define SPANS_MAX      10000u
#define READ_BYTES     8192u
#define PATCHES_MAX    256u

static uint8_t disk[DISK_BYTES];

static uint8_t *record(uint64_t number)
{
        return disk + CRAFT_MFT_CLUSTER * CRAFT_CLUSTER_BYTES + number * CRAFT_RECORD_BYTES;
}

static void begin(struct craft_record *r, uint64_t number, uint16_t flags, uint64_t base)
{
        craft_begin(r, record(number), 1, flags | CRAFT_IN_USE, base);
        if (!base)
                craft_standard(r, 0x20);
}

static void stream(struct craft_record *r, const char *name, uint16_t flags, uint64_t first_vcn,
                   uint64_t bytes, const struct craft_run *run, size_t n_runs)
{
        craft_stream(r, 0x80,
                     &(struct craft_stream){ .name = name,
                                             .flags = flags,
                                             .unit = flags ? 4 : 0,
                                             .first_vcn = first_vcn,
                                             .size_bytes = bytes,
                                             .initialized_bytes = bytes,
                                             .run = run,
                                             .n_runs = n_runs });
}

static void make_files(void)
{
        static const struct craft_run pieces[] = {
                { 80, 2 }, { UINT64_MAX, 3 }, { 70, 1 }, { 71, 2 }
        };
        static const struct craft_run hole = { UINT64_MAX, (uint64_t)1 << 40 };
        struct craft_record r;

        begin(&r, 30, CRAFT_DIRECTORY, 0);
        craft_name_ascii(&r, ROOT, "Folder");
        craft_end(&r);
        begin(&r, 31, 0, 0);
        craft_name_ascii(&r, craft_reference(30, 1), "pieces");
        craft_name_ascii(&r, ROOT, "second name");
        stream(&r, NULL, 0, 0, 30000, pieces, 4);
        stream(&r, "other", 0, 0, 8000, &pieces[0], 1);
        craft_end(&r);
        begin(&r, 35, 0, 0);
        craft_name_ascii(&r, ROOT, "small");
        craft_resident(&r, 0x80, "content", 7);
        craft_end(&r);
        begin(&r, 36, 0, 0);
        craft_name_ascii(&r, ROOT, "packed");
        stream(&r, NULL, 1, 0, 60000, pieces, 4);
        craft_end(&r);
        begin(&r, 37, 0, 0);
        craft_name_ascii(&r, ROOT, "hollow");
        stream(&r, NULL, 0x8000, 0, (uint64_t)1 << 50, &hole, 1);
        craft_end(&r);
}

/* A file of three records; its list lies outside its record. */
static void make_listed(void)
{
        static const struct craft_run list_run = { 100, 1 }, first = { 80, 2 }, second = { 90, 1 };
        uint8_t *list = disk + 100 * CRAFT_CLUSTER_BYTES;
        struct craft_record r;

        for (unsigned i = 0; i < 2; i++) {
                bth_store_le32(list + 32 * i, 0x80);
                bth_store_le16(list + 32 * i + 4, 32);
                list[32 * i + 7] = 26;
                bth_store_le64(list + 32 * i + 8, 2 * i);
                bth_store_le64(list + 32 * i + 16, craft_reference(33 + i, 1));
        }
        begin(&r, 32, 0, 0);
        craft_stream(
                &r, 0x20,
                &(struct craft_stream){
                        .size_bytes = 64, .initialized_bytes = 64, .run = &list_run, .n_runs = 1 });
        craft_name_ascii(&r, craft_reference(30, 1), "listed");
        craft_end(&r);
        begin(&r, 33, 0, craft_reference(32, 1));
        stream(&r, NULL, 0, 0, 12000, &first, 1);
        craft_end(&r);
        begin(&r, 34, 0, craft_reference(32, 1));
        stream(&r, NULL, 0, 2, 0, &second, 1);
        craft_end(&r);
}

static void make_disk(void)
{
        craft_boot(disk, N_CLUSTERS);
        for (uint64_t i = 0; i < N_RECORDS; i++)
                (void)craft_system(record(i), i, N_RECORDS, UPCASE_CLUSTER);
        memcpy(disk + UPCASE_CLUSTER * CRAFT_CLUSTER_BYTES, med_upcase_default(),
               2 * MED_UPCASE_UNITS);
        make_files();
        make_listed();
}

/* ---- what is done with it ---- */

static void read_file(struct med_ntfs_file *f)
{
        static uint8_t buffer[READ_BYTES];
        struct med_ntfs_span span;
        uint64_t at = 0, size = f->source.size_bytes;
        size_t n = (size_t)MIN(size, (uint64_t)READ_BYTES);

        for (unsigned i = 0; i < SPANS_MAX && med_ntfs_file_span(f, at, &span) == 1; i++) {
                if (span.length_bytes == 0 || span.length_bytes > size - at)
                        abort();
                if (span.kind == MED_NTFS_SPAN_DISK &&
                    (span.volume_offset_bytes >= DISK_BYTES ||
                     span.length_bytes > DISK_BYTES - span.volume_offset_bytes))
                        abort();
                at += span.length_bytes;
        }
        if (f->packed)
                return;
        (void)!bth_source_read(&f->source, 0, buffer, n);
        (void)!bth_source_read(&f->source, size - n, buffer, n);
        (void)!bth_source_read(&f->source, size / 2, buffer, MIN(n, (size_t)(size - size / 2)));
}

struct visits {
        const struct med_ntfs_index *x;
        unsigned n;
};

static int visit(void *context, const char *name, const struct med_ntfs_found *found)
{
        struct visits *v = context;

        if (!*name || found->reference == 0)
                abort();
        return ++v->n > VISITS_MAX ? -ECANCELED : 0;
}

static void look(const struct med_ntfs_volume *v, const struct med_ntfs_index *x)
{
        static const char *const paths[] = { "", "folder/PIECES", "Folder\\listed", "small",
                                             "x/y" };
        struct visits visits = { x, 0 };
        struct med_ntfs_found found;
        struct med_ntfs_file *f;

        for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
                (void)!med_ntfs_index_find(x, paths[i], &found);
        (void)!med_ntfs_index_list(x, "folder", visit, &visits);
        if (med_ntfs_index_walk(x, "", visit, &visits) == -ECANCELED)
                abort(); /* 64 records cannot have as many names */
        for (uint64_t i = 0; i < MIN(v->n_records, (uint64_t)2 * N_RECORDS); i++) {
                if (med_ntfs_file_open(v, i, &f) == 0) {
                        read_file(f);
                        (void)bth_source_free(&f->source);
                }
                if (med_ntfs_stream_open(v, i, "OTHER", &f) == 0) {
                        read_file(f);
                        (void)bth_source_free(&f->source);
                }
        }
}

static void run(void)
{
        _cleanup_(bth_source_freep) struct bth_source *source = NULL;
        _cleanup_(med_ntfs_closep) struct med_ntfs_volume *v = NULL;
        _cleanup_(med_ntfs_index_freep) struct med_ntfs_index *x = NULL;

        if (bth_source_new_memory(disk, sizeof disk, &source) < 0 ||
            med_ntfs_open(source, &v, NULL) < 0 || med_ntfs_scan(v, 1u << 20, &x, NULL) < 0)
                return;
        look(v, x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static uint8_t old[PATCHES_MAX][256];
        struct {
                size_t at, n;
        } undo[PATCHES_MAX];
        size_t n = 0;

        if (disk[3] != 'N')
                make_disk();
        while (size > 4 && n < PATCHES_MAX) {
                size_t at = (size_t)data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16;
                size_t k = MIN((size_t)data[3], size - 4);

                at %= DISK_BYTES - 256;
                undo[n].at = at;
                undo[n].n = k;
                memcpy(old[n], disk + at, k);
                memcpy(disk + at, data + 4, k);
                n++;
                data += 4 + k;
                size -= 4 + k;
        }
        run();
        while (n-- > 0)
                memcpy(disk + undo[n].at, old[n], undo[n].n);
        return 0;
}
