/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Files against a manifest with windows and batches so small that every cut is made, over a volume
 * that fails where it is told to. */
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/str.h"
#include "ctl/prep-check.h"
#include "media/ntfs_writer.h"

#define VOLUME_BYTES (UINT64_C(96) << 20)
#define FILES        40u
#define BLOCK_BYTES  ((size_t)3 << 20)

/* A source that passes everything on, but for one place that cannot be read. */
struct failing {
        struct bth_source base;
        struct bth_source *below;
        uint64_t bad_from, bad_to;
        int result;
};

static int failing_read(struct bth_source *s, uint64_t offset, void *buffer, size_t n)
{
        struct failing *f = container_of(s, struct failing, base);

        if (offset < f->bad_to && offset + n > f->bad_from)
                return f->result;
        return bth_source_read(f->below, offset, buffer, n);
}

static void failing_free(struct bth_source *s _unused_)
{
}

static const struct bth_source_ops failing_ops = { .read = failing_read, .free = failing_free };

struct seen {
        unsigned n;
        char names[64][64];
        uint64_t offsets[64];
};

static void take_finding(void *userdata, const struct med_finding *f)
{
        struct seen *s = userdata;

        if (s->n < ARRAY_SIZE(s->names))
                snprintf(s->names[s->n], sizeof s->names[0], "%s", f->name);
        s->n++;
}

static void take_fault(void *userdata, const struct ctl_check_fault *f)
{
        struct seen *s = userdata;
        const struct med_findings to = { take_finding, s, "M" };

        if (s->n < ARRAY_SIZE(s->offsets))
                s->offsets[s->n] = f->offset_bytes;
        ctl_check_find(&to, f, "");
}

struct world {
        int fd;
        struct bth_source *below;
        struct failing source;
        struct med_ntfs_volume *volume;
        struct med_ntfs_index *index;
        struct bth_buf manifest;
        struct bth_source *manifest_source;
        struct ctl_check_options o;
        struct med_manifest_options reading;
        struct med_manifest_summary *summary;
        struct seen seen;
        uint64_t big_at; /* where the large file's first byte lies */
        uint64_t total_bytes;
};

static void add_entry(struct world *w, const char *path, const uint8_t *data, size_t n)
{
        uint8_t hash[BTH_MD5_BYTES];
        char hex[2 * BTH_MD5_BYTES + 1];

        assert_int_equal(0, bth_buf_add_format(&w->manifest,
                                               "<Blob><BlobPath>box%s</BlobPath><FilePath>%s"
                                               "</FilePath><Length>%zu</Length>"
                                               "<ImportDisposition>rename</ImportDisposition>"
                                               "<BlockList>",
                                               "/name", path, n));
        for (size_t at = 0; at < n; at += BLOCK_BYTES) {
                const size_t take = MIN(BLOCK_BYTES, n - at);

                assert_int_equal(0, bth_digest_of(BTH_DIGEST_MD5, data + at, take, hash));
                assert_int_equal(
                        0, bth_buf_add_format(&w->manifest,
                                              "<Block Offset=\"%zu\" Length=\"%zu\" Hash=\"%s\"/>",
                                              at, take, bth_hex_encode(hash, sizeof hash, hex)));
        }
        assert_int_equal(0, bth_buf_add_string(&w->manifest, "</BlockList></Blob>\n"));
        w->total_bytes += n;
}

static uint64_t add_file(struct world *w, struct med_ntfs_writer *writer, struct bth_sink *sink,
                         unsigned number, size_t n)
{
        _cleanup_free_ struct med_ntfs_extent *extents = NULL;
        _cleanup_free_ uint8_t *data = malloc(n + 1);
        size_t n_extents = 0, at = 0;
        char path[64];

        snprintf(path, sizeof path, "\\folder%u\\file%u", number % 3, number);
        for (size_t i = 0; i < n; i++)
                data[i] = (uint8_t)(i * 31 + i / 4096 + number);
        const struct med_ntfs_new_file file = {
                .path = path, .size_bytes = n, .content = n <= MED_NTFS_SMALL_BYTES ? data : NULL
        };
        assert_int_equal(0, med_ntfs_writer_create(writer, &file, &extents, &n_extents, NULL));
        for (size_t i = 0; i < n_extents && at < n; i++) {
                const size_t take = (size_t)MIN((uint64_t)(n - at), extents[i].length_bytes);

                assert_int_equal(0, bth_sink_write(sink, extents[i].offset_bytes, data + at, take));
                at += take;
        }
        add_entry(w, path, data, n);
        return n_extents > 0 ? extents[0].offset_bytes : 0;
}

static void fill(struct world *w)
{
        struct med_ntfs_writer *writer;
        struct bth_sink *sink;

        assert_int_equal(0, bth_sink_new_fd(w->fd, false, &sink));
        assert_int_equal(0, med_ntfs_writer_open(w->below, sink, &writer, NULL));
        for (unsigned i = 0; i < FILES; i++)
                (void)add_file(w, writer, sink, i, i * 1777);
        w->big_at = add_file(w, writer, sink, FILES, ((size_t)20 << 20) + 12345);
        assert_int_equal(0, med_ntfs_writer_close(writer, NULL));
        bth_sink_free(sink);
}

static int setup(void **state)
{
        struct world *w = calloc(1, sizeof *w);
        const struct med_ntfs_params params = { .volume_bytes = VOLUME_BYTES,
                                                .sector_bytes = 512,
                                                .cluster_bytes = 4096,
                                                .label = "T" };

        w->fd = memfd_create("volume", MFD_CLOEXEC);
        assert_int_equal(0, ftruncate(w->fd, (off_t)VOLUME_BYTES));
        assert_int_equal(0, med_ntfs_make(w->fd, &params, NULL));
        assert_int_equal(0, bth_source_new_fd(w->fd, false, &w->below));
        assert_int_equal(0, bth_buf_add_string(&w->manifest,
                                               "<DriveManifest Version=\"2014-11-01\"><Drive>"
                                               "<DriveId>D</DriveId><BlobList>"));
        fill(w);
        assert_int_equal(0,
                         bth_buf_add_string(&w->manifest, "</BlobList></Drive></DriveManifest>"));
        w->source = (struct failing){ .base = *w->below, .below = w->below, .result = -EIO };
        w->source.base.ops = &failing_ops;
        assert_int_equal(0, med_ntfs_open(&w->source.base, &w->volume, NULL));
        assert_int_equal(0, med_ntfs_scan(w->volume, 64 << 20, &w->index, NULL));
        assert_int_equal(0, bth_source_new_memory(w->manifest.data, w->manifest.length,
                                                  &w->manifest_source));
        w->reading.direction = MED_MANIFEST_IMPORT;
        assert_int_equal(
                0, med_manifest_validate(w->manifest_source, &w->reading, &w->summary, NULL, NULL));
        w->o = (struct ctl_check_options){ .volume = w->volume,
                                           .index = w->index,
                                           .manifest = w->manifest_source,
                                           .reading = &w->reading,
                                           .summary = w->summary,
                                           .fault = take_fault,
                                           .userdata = &w->seen };
        *state = w;
        return 0;
}

static int teardown(void **state)
{
        struct world *w = *state;

        med_manifest_summary_free(w->summary);
        bth_source_free(w->manifest_source);
        med_ntfs_index_free(w->index);
        med_ntfs_close(w->volume);
        bth_source_free(w->below);
        bth_buf_clear(&w->manifest);
        close(w->fd);
        free(w);
        return 0;
}

/* Every combination of window and batch reads every byte once and finds nothing. */
static void test_cuts(void **state)
{
        static const size_t windows[] = { 0, 8192, 12288, 1 << 20, 5 << 20 };
        static const size_t batches[] = { 0, 1, 4096 };
        struct world *w = *state;

        for (size_t i = 0; i < ARRAY_SIZE(windows); i++) {
                for (size_t k = 0; k < ARRAY_SIZE(batches); k++) {
                        struct ctl_check_result result;

                        w->o.window_bytes = windows[i];
                        w->o.batch_bytes = batches[k];
                        w->seen.n = 0;
                        assert_int_equal(0, ctl_check_run(&w->o, &result, NULL));
                        assert_int_equal(0, w->seen.n);
                        assert_int_equal(w->total_bytes, result.read_bytes);
                        assert_int_equal(FILES + 1, result.n_blobs);
                        /* All in one window: one sweep, and neighbours come together. Cut small,
                         * a file in two pieces may be left and come back to. */
                        assert_in_range(result.n_backward, 0, windows[i] == 0 ? 0 : 8);
                        if (windows[i] == 0 && batches[k] == 0)
                                assert_in_range(result.n_reads, 1, FILES / 2);
                        assert_true(batches[k] == 1 ? result.n_batches == FILES + 1
                                                    : result.n_batches >= 1);
                }
        }
}

/* A flipped byte is found in its block alone, wherever windows are cut. */
static void test_flipped_byte(void **state)
{
        static const size_t windows[] = { 0, 8192, 1 << 20 };
        struct world *w = *state;
        const uint64_t place = w->big_at + 2 * BLOCK_BYTES + 5;
        struct ctl_check_result result;
        uint8_t byte;

        assert_int_equal(1, pread(w->fd, &byte, 1, (off_t)place));
        byte ^= 0x40;
        assert_int_equal(1, pwrite(w->fd, &byte, 1, (off_t)place));
        for (size_t i = 0; i < ARRAY_SIZE(windows); i++) {
                w->o.window_bytes = windows[i];
                w->seen.n = 0;
                assert_int_equal(0, ctl_check_run(&w->o, &result, NULL));
                assert_int_equal(1, w->seen.n);
                assert_string_equal("range-corrupted", w->seen.names[0]);
                assert_int_equal(2 * BLOCK_BYTES, w->seen.offsets[0]);
        }
}

/* A place that cannot be read costs its block and nothing else, and is told once although the block
 * was cut into many pieces. */
static void test_unreadable_place(void **state)
{
        struct world *w = *state;
        struct ctl_check_result result;

        w->source.bad_from = w->big_at + 4 * BLOCK_BYTES + 100;
        w->source.bad_to = w->source.bad_from + 40000;
        w->o.window_bytes = 16384;
        assert_int_equal(0, ctl_check_run(&w->o, &result, NULL));
        assert_int_equal(1, w->seen.n);
        assert_string_equal("range-io-failed", w->seen.names[0]);
        assert_int_equal(4 * BLOCK_BYTES, w->seen.offsets[0]);
        assert_int_equal(1, result.n_faults);
}

static void test_drive_goes(void **state)
{
        struct world *w = *state;
        struct bth_error error = BTH_ERROR_INIT;
        struct ctl_check_result result;

        w->source.bad_from = w->big_at + BLOCK_BYTES;
        w->source.bad_to = UINT64_MAX;
        w->source.result = -ENODEV;
        assert_int_equal(-ENODEV, ctl_check_run(&w->o, &result, &error));
        assert_int_equal(BTH_REASON_DRIVE_GONE, error.reason);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_cuts, setup, teardown),
                cmocka_unit_test_setup_teardown(test_flipped_byte, setup, teardown),
                cmocka_unit_test_setup_teardown(test_unreadable_place, setup, teardown),
                cmocka_unit_test_setup_teardown(test_drive_goes, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
