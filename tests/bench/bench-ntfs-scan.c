/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bench-ntfs-scan - how long the list of files of a very full volume takes, and how much memory.
 *
 *   bench-ntfs-scan [RECORDS]     10,000,000 when not given: a $MFT of 10 GB
 *
 * The volume is not there: its source makes each record when it is read, so the time holds the
 * making, too. Scanned twice: with memory as it comes, and with 192 MiB at most, when the rest goes
 * to an encrypted file. Exits with 1 when a promise is broken: 300 bytes a file, the limit, and
 * every path that is looked up is found. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/time.h"
#include "media/ntfs_scan.h"
#include "media/ntfs_upcase.h"
#include "tests/lib/ntfs-craft.h"

#define RECORDS_DEFAULT UINT64_C(10000000)
#define FIRST           64u
#define FOLDER_EVERY    200u
#define LOOKUPS         200000u
#define PROMISED_A_FILE 300u
#define SMALL_BYTES     ((size_t)192 << 20)
#define UPCASE_CLUSTERS 32u

struct generator {
        struct bth_source source;
        uint64_t n_records, upcase_cluster, n_clusters;
        uint64_t spent_usec;
        uint8_t file[CRAFT_RECORD_BYTES]; /* one to begin with */
};

/* Folders are every 200th record, in the root; what follows is in them. */
static uint64_t parent_of(uint64_t i)
{
        return i % FOLDER_EVERY == 0 ? craft_reference(5, 5)
                                     : craft_reference(i - i % FOLDER_EVERY, 1);
}

static bool is_folder(uint64_t i)
{
        return i % FOLDER_EVERY == 0;
}

static void name_of(uint64_t i, char *name, size_t n)
{
        (void)snprintf(name, n, is_folder(i) ? "Folder %08" PRIx64 : "Document %08" PRIx64 ".docx",
                       i);
}

static void make_record(const struct generator *g, uint64_t i, uint8_t *out)
{
        char name[64];
        const struct craft_run run = { g->upcase_cluster + UPCASE_CLUSTERS + i % 1000000, 4 };
        struct craft_record r;

        if (i < FIRST) {
                if (!craft_system(out, i, g->n_records, g->upcase_cluster))
                        memset(out, 0, CRAFT_RECORD_BYTES);
                return;
        }
        name_of(i, name, sizeof name);
        craft_begin(&r, out, 1, is_folder(i) ? CRAFT_IN_USE | CRAFT_DIRECTORY : CRAFT_IN_USE, 0);
        craft_standard(&r, 0x20);
        craft_name_ascii(&r, parent_of(i), name);
        if (!is_folder(i))
                craft_stream(&r, 0x80,
                             &(struct craft_stream){ .size_bytes = 16000,
                                                     .initialized_bytes = 16000,
                                                     .run = &run,
                                                     .n_runs = 1 });
        craft_end(&r);
}

static int generate(struct bth_source *s, uint64_t offset, void *buffer, size_t length)
{
        struct generator *g = container_of(s, struct generator, source);
        const uint64_t mft = CRAFT_MFT_CLUSTER * CRAFT_CLUSTER_BYTES;
        const uint64_t mft_end = mft + g->n_records * CRAFT_RECORD_BYTES;
        const uint64_t upcase = g->upcase_cluster * CRAFT_CLUSTER_BYTES;
        uint64_t begin = bth_now_monotonic_usec();

        memset(buffer, 0, length);
        if (offset == 0 && length >= 512)
                craft_boot(buffer, g->n_clusters);
        else if (offset >= mft && offset < mft_end && (offset - mft) % CRAFT_RECORD_BYTES == 0)
                for (size_t at = 0; at < length; at += CRAFT_RECORD_BYTES)
                        make_record(g, (offset - mft + at) / CRAFT_RECORD_BYTES,
                                    (uint8_t *)buffer + at);
        else if (offset >= upcase && offset < upcase + 2 * MED_UPCASE_UNITS)
                memcpy(buffer, (const uint8_t *)med_upcase_default() + (offset - upcase), length);
        g->spent_usec += bth_now_monotonic_usec() - begin;
        return 0;
}

static const struct bth_source_ops generator_ops = { .read = generate };

static bool look_up(const struct med_ntfs_index *x, uint64_t n_records)
{
        uint64_t state = 1;

        for (unsigned i = 0; i < LOOKUPS; i++) {
                struct med_ntfs_found found;
                char folder[64], name[64], path[160];
                uint64_t which;

                state = state * 6364136223846793005u + 1442695040888963407u;
                which = FOLDER_EVERY + (state >> 20) % (n_records - FOLDER_EVERY);
                name_of(which - which % FOLDER_EVERY, folder, sizeof folder);
                name_of(which, name, sizeof name);
                (void)snprintf(path, sizeof path, is_folder(which) ? "\\%s" : "\\%s\\%s", folder,
                               name);
                if (med_ntfs_index_find(x, path, &found) < 0 ||
                    (found.reference & MED_NTFS_RECORD_MASK) != which) {
                        fprintf(stderr, "%s was not found\n", path);
                        return false;
                }
        }
        return true;
}

static int scan(struct generator *g, const struct med_ntfs_volume *v, size_t max_bytes)
{
        _cleanup_(med_ntfs_index_freep) struct med_ntfs_index *x = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        uint64_t begin = bth_now_monotonic_usec(), file, scanned, found;
        size_t memory, n;
        char text[1024];

        g->spent_usec = 0;
        if (med_ntfs_scan(v, max_bytes, &x, &e) < 0) {
                fprintf(stderr, "%s\n", bth_error_to_string(&e, text, sizeof text));
                return 1;
        }
        scanned = bth_now_monotonic_usec();
        if (!look_up(x, g->n_records))
                return 1;
        found = bth_now_monotonic_usec();
        med_ntfs_index_memory(x, &memory, &file);
        n = med_ntfs_index_names(x);
        printf("%zu files, at most %zu MiB: %.1f s (%.1f s of them to make the records), "
               "%.1f bytes of memory a file, %ju MB in the file, %.1f us a lookup\n",
               n, max_bytes >> 20, (double)(scanned - begin) / 1e6, (double)g->spent_usec / 1e6,
               (double)memory / (double)n, (uintmax_t)(file / 1000000),
               (double)(found - scanned) / LOOKUPS);
        /* Without the folder that is too early, and the system's own. */
        if (med_ntfs_index_damaged(x) || n < g->n_records - 2 * FOLDER_EVERY)
                return 1;
        return memory <= max_bytes && memory / n <= PROMISED_A_FILE ? 0 : 1;
}

int main(int argc, char **argv)
{
        struct generator g = { .source = { .ops = &generator_ops,
                                           .logical_block_bytes = 1,
                                           .memory_align_bytes = 1 },
                               .n_records = RECORDS_DEFAULT };
        _cleanup_(med_ntfs_closep) struct med_ntfs_volume *v = NULL;

        if (argc > 1 && (bth_parse_u64(argv[1], &g.n_records) < 0 || g.n_records < 100000)) {
                fprintf(stderr, "usage: bench-ntfs-scan [RECORDS, at least 100000]\n");
                return 2;
        }
        g.upcase_cluster = CRAFT_MFT_CLUSTER + g.n_records / 4 + 1;
        g.n_clusters = g.upcase_cluster + UPCASE_CLUSTERS + 2000000;
        g.source.size_bytes = g.n_clusters * CRAFT_CLUSTER_BYTES;
        if (med_ntfs_open(&g.source, &v, NULL) < 0) {
                fprintf(stderr, "the made volume does not open\n");
                return 1;
        }
        int first = scan(&g, v, (size_t)4 << 30), second = scan(&g, v, SMALL_BYTES);

        return first || second;
}
