/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bench-manifest - how fast, and in how much memory, a manifest is spooled, hashed and validated.
 *
 *   bench-manifest [BLOBS]      1,000,000 blobs of 4 blocks when not given: about 1 GB
 *
 * A child writes the manifest into an unlinked file, with our own writer; then this process spools
 * it (read, MD5, written) and validates the spool, with the search for doubles. Speed counts the
 * processor time of both together. Exits with 1 when a promise is broken: 100 MB/s on one core, 64
 * MiB and 32 bytes a blob. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/io.h"
#include "base/str.h"
#include "base/time.h"
#include "media/manifest-spool.h"
#include "media/manifest.h"

#define BLOBS_DEFAULT    UINT64_C(1000000)
#define BLOCKS           4u
#define BLOCK_BYTES      (UINT64_C(4) << 20)
#define PROMISED_MB_S    100.0
#define PROMISED_BYTES   (UINT64_C(64) << 20)
#define PROMISED_A_BLOB  UINT64_C(32)
#define CONTENT_ID_CHARS 29u

static int fail(const char *what, const struct bth_error *e)
{
        char text[2048];

        fprintf(stderr, "%s: %s\n", what, bth_error_to_string(e, text, sizeof text));
        return 1;
}

/* --- the manifest --- */

static int write_to_fd(void *userdata, const void *data, size_t n)
{
        return bth_write_full(*(int *)userdata, data, n);
}

/* Something that looks like a hash: SplitMix64. */
static uint64_t next_random(uint64_t *state)
{
        uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);

        z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
        return z ^ z >> 31;
}

static int write_blob(struct med_manifest_writer *w, uint64_t i, uint64_t *state,
                      struct bth_error *e)
{
        struct med_manifest_range ranges[BLOCKS];
        char ids[BLOCKS * CONTENT_ID_CHARS], blob_path[128], file_path[128];
        const struct med_manifest_blob b = {
                .blob_path = blob_path,
                .file_path = file_path,
                .length_bytes = BLOCKS * BLOCK_BYTES,
                .disposition = BTH_DISPOSITION_NO_OVERWRITE,
                .disposition_given = true,
                .kind = MED_MANIFEST_BLOCK,
                .ranges = ranges,
                .n_ranges = BLOCKS,
                .ids = ids,
        };

        (void)snprintf(blob_path, sizeof blob_path,
                       "attic/archive/project-%04" PRIu64 "/scans/page-%09" PRIu64 ".tif", i / 1000,
                       i);
        (void)snprintf(file_path, sizeof file_path,
                       "\\nightly-7\\archive\\project-%04" PRIu64 "\\scans\\page-%09" PRIu64 ".tif",
                       i / 1000, i);
        for (uint32_t k = 0; k < BLOCKS; k++) {
                const uint64_t hash[2] = { next_random(state), next_random(state) };

                ranges[k] = (struct med_manifest_range){
                        .offset_bytes = k * BLOCK_BYTES,
                        .length_bytes = BLOCK_BYTES,
                        .id = k * CONTENT_ID_CHARS,
                };
                memcpy(ranges[k].md5, hash, sizeof hash);
                memcpy(ids + ranges[k].id, "MD5/", 4);
                (void)bth_base64_encode(hash, sizeof hash, ids + ranges[k].id + 4);
        }
        return med_manifest_writer_blob(w, &b, e);
}

static int write_manifest(int fd, uint64_t n_blobs, uint8_t *ret_md5)
{
        struct med_manifest_header header = { .drive_id = (char[]){ "QX7TESTDRV01" } };
        _cleanup_(med_manifest_writer_freep) struct med_manifest_writer *w = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        uint64_t state = 7;
        int r = med_manifest_writer_new(&header, MED_MANIFEST_IMPORT, write_to_fd, &fd, &w, &e);

        if (r == 0)
                r = med_manifest_writer_begin_list(w, NULL, NULL, NULL, &e);
        for (uint64_t i = 0; r == 0 && i < n_blobs; i++)
                r = write_blob(w, i, &state, &e);
        if (r == 0)
                r = med_manifest_writer_end_list(w, &e);
        if (r == 0)
                r = med_manifest_writer_end(w, NULL, ret_md5, NULL, &e);
        return r < 0 ? fail("writing", &e) : 0;
}

/* In a child, so that its memory does not count. */
static int write_in_child(int fd, uint64_t n_blobs, char *ret_hash)
{
        uint8_t md5[BTH_MD5_BYTES];
        int pair[2], status;
        pid_t pid;

        if (pipe(pair) < 0)
                return 1;
        pid = fork();
        if (pid < 0)
                return 1;
        if (pid == 0) {
                int r = write_manifest(fd, n_blobs, md5);

                _exit(r != 0 || bth_write_full(pair[1], md5, sizeof md5) < 0);
        }
        (void)bth_close(pair[1]);
        if (bth_read_full(pair[0], md5, sizeof md5) < 0)
                memset(md5, 0, sizeof md5);
        (void)bth_close(pair[0]);
        if (waitpid(pid, &status, 0) < 0 || status != 0)
                return 1;
        (void)bth_hex_encode(md5, sizeof md5, ret_hash);
        return 0;
}

/* --- measuring --- */

static double processor_seconds(void)
{
        struct rusage u;

        (void)getrusage(RUSAGE_SELF, &u);
        return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static uint64_t peak_bytes(void)
{
        struct rusage u;

        (void)getrusage(RUSAGE_SELF, &u);
        return (uint64_t)u.ru_maxrss * 1024;
}

static void print_step(const char *what, double mb, double cpu, double wall)
{
        printf("%-28s %7.2f s processor, %7.2f s in all: %6.0f MB/s a core\n", what, cpu, wall,
               mb / cpu);
}

static int measure(int fd, uint64_t n_blobs, const char *hash)
{
        const struct med_manifest_options options = { .object = "manifest", .find_doubles = true };
        const struct med_manifest_spool_options spool_options = { .object = "manifest",
                                                                  .hash = hash };
        _cleanup_(bth_source_freep) struct bth_source *file = NULL;
        _cleanup_(med_manifest_spool_freep) struct med_manifest_spool *spool = NULL;
        _cleanup_(med_manifest_summary_freep) struct med_manifest_summary *summary = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        double cpu[3], wall[3], mb;
        uint64_t promised = PROMISED_BYTES + PROMISED_A_BLOB * n_blobs;

        if (bth_source_new_fd(fd, false, &file) < 0)
                return 1;
        mb = (double)file->size_bytes / 1e6;
        cpu[0] = processor_seconds();
        wall[0] = (double)bth_now_monotonic_usec() / 1e6;
        if (med_manifest_spool_new(file, &spool_options, &spool, NULL, &e) < 0)
                return fail("spooling", &e);
        cpu[1] = processor_seconds();
        wall[1] = (double)bth_now_monotonic_usec() / 1e6;
        if (med_manifest_validate(med_manifest_spool_source(spool), &options, &summary, NULL, &e) <
            0)
                return fail("validating", &e);
        cpu[2] = processor_seconds();
        wall[2] = (double)bth_now_monotonic_usec() / 1e6;

        printf("%" PRIu64 " blobs, %" PRIu64 " blocks, %.0f MB\n", summary->n_blobs,
               summary->n_ranges, mb);
        print_step("spool (read, MD5, write)", mb, cpu[1] - cpu[0], wall[1] - wall[0]);
        print_step("parse and validate", mb, cpu[2] - cpu[1], wall[2] - wall[1]);
        print_step("together", mb, cpu[2] - cpu[0], wall[2] - wall[0]);
        printf("peak resident %.1f MiB, promised %.1f MiB; search for doubles %.1f bytes a blob\n",
               (double)peak_bytes() / 1048576, (double)promised / 1048576,
               (double)summary->double_search_bytes / (double)MAX(n_blobs, UINT64_C(1)));
        if (summary->n_blobs != n_blobs || summary->n_errors + summary->n_warnings != 1)
                return fail("counting", &e); /* the one warning: no credential */
        if (peak_bytes() > promised || mb / (cpu[2] - cpu[0]) < PROMISED_MB_S) {
                fprintf(stderr, "the promise is broken\n");
                return 1;
        }
        return 0;
}

int main(int argc, char **argv)
{
        _cleanup_close_ int fd = BTH_FD_NONE;
        uint64_t n_blobs = BLOBS_DEFAULT;
        char hash[2 * BTH_MD5_BYTES + 1];

        if (argc > 1 && bth_parse_u64(argv[1], &n_blobs) < 0) {
                fprintf(stderr, "usage: bench-manifest [BLOBS]\n");
                return 2;
        }
        if (bth_open_unlinked(NULL, &fd) < 0 || write_in_child(fd, n_blobs, hash) != 0)
                return 1;
        return measure(fd, n_blobs, hash);
}
