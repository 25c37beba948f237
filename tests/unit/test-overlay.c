/* SPDX-License-Identifier: GPL-3.0-or-later */
/* overlay - metadata reaches the drive whole or not at all, wherever the power goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/io.h"
#include "ctl/overlay.h"

#define VOLUME_BYTES (64 * 4096 + 512) /* ends inside a page */

static const struct bth_guid volume_id = { { 1, 2, 3 } };

/* A drive in memory that fails after `writes_left` writes, as a cut cable would. */
struct frail_sink {
        struct bth_sink base;
        uint8_t *bytes;
        int writes_left; /* negative: never fails */
};

static int frail_write(struct bth_sink *s, uint64_t offset_bytes, const void *buffer,
                       size_t length_bytes)
{
        struct frail_sink *f = container_of(s, struct frail_sink, base);

        if (f->writes_left == 0)
                return -EIO;
        if (f->writes_left > 0)
                f->writes_left--;
        memcpy(f->bytes + offset_bytes, buffer, length_bytes);
        return 0;
}

static int frail_flush(struct bth_sink *s)
{
        return container_of(s, struct frail_sink, base)->writes_left == 0 ? -EIO : 0;
}

static void frail_free(struct bth_sink *s)
{
}

static const struct bth_sink_ops frail_ops = {
        .write = frail_write,
        .flush = frail_flush,
        .free = frail_free,
};

struct fixture {
        uint8_t drive[VOLUME_BYTES];
        uint8_t model[VOLUME_BYTES];
        struct frail_sink sink;
        struct bth_source *source;
        char folder[64];
        char redo[128];
};

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof *f);

        assert_non_null(f);
        for (size_t i = 0; i < VOLUME_BYTES; i++)
                f->drive[i] = (uint8_t)(i * 7);
        memcpy(f->model, f->drive, VOLUME_BYTES);
        f->sink = (struct frail_sink){
                .base = { .ops = &frail_ops,
                          .size_bytes = VOLUME_BYTES,
                          .logical_block_bytes = 1,
                          .memory_align_bytes = 1 },
                .bytes = f->drive,
                .writes_left = -1,
        };
        assert_int_equal(bth_source_new_memory(f->drive, VOLUME_BYTES, &f->source), 0);
        snprintf(f->folder, sizeof f->folder, "/tmp/berth-overlay-XXXXXX");
        assert_non_null(mkdtemp(f->folder));
        snprintf(f->redo, sizeof f->redo, "%s/redo", f->folder);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        (void)unlink(f->redo);
        assert_int_equal(rmdir(f->folder), 0); /* nothing else may be left */
        (void)bth_source_free(f->source);
        free(f);
        return 0;
}

static struct ctl_overlay *open_overlay(struct fixture *f)
{
        struct ctl_overlay *o = NULL;

        assert_int_equal(ctl_overlay_new(f->source, &f->sink.base, &volume_id, f->redo, &o), 0);
        return o;
}

static void random_writes(struct fixture *f, struct ctl_overlay *o, unsigned *seed)
{
        uint8_t noise[9000];

        for (size_t i = 0; i < sizeof noise; i++)
                noise[i] = (uint8_t)rand_r(seed);
        for (int i = 0; i < 20; i++) {
                size_t length = (size_t)rand_r(seed) % sizeof noise + 1;
                size_t offset = (size_t)rand_r(seed) % (VOLUME_BYTES - length + 1);

                assert_int_equal(bth_sink_write(ctl_overlay_sink(o), offset, noise, length), 0);
                memcpy(f->model + offset, noise, length);
        }
}

static void assert_view(struct fixture *f, struct ctl_overlay *o)
{
        uint8_t got[VOLUME_BYTES];

        assert_int_equal(bth_source_read(ctl_overlay_source(o), 0, got, sizeof got), 0);
        assert_memory_equal(got, f->model, sizeof got);
        assert_int_equal(bth_source_read(ctl_overlay_source(o), 4090, got, 5000), 0);
        assert_memory_equal(got, f->model + 4090, 5000);
}

static void test_nothing_before_commit(void **state)
{
        struct fixture *f = *state;
        uint8_t before[VOLUME_BYTES];
        unsigned seed = 1;
        struct ctl_overlay *o = open_overlay(f);

        memcpy(before, f->drive, sizeof before);
        for (int round = 0; round < 5; round++) {
                random_writes(f, o, &seed);
                assert_int_equal(bth_sink_flush(ctl_overlay_sink(o)), 0);
                assert_memory_equal(f->drive, before, sizeof before);
                assert_view(f, o);
                assert_true(ctl_overlay_bytes(o) > 0);
                assert_int_equal(ctl_overlay_commit(o, NULL), 0);
                assert_int_equal(access(f->redo, F_OK), 0); /* until the caller has noted it */
                assert_int_equal(ctl_overlay_forget(f->redo, NULL), 0);
                assert_int_not_equal(access(f->redo, F_OK), 0);
                assert_int_equal(ctl_overlay_bytes(o), 0);
                assert_memory_equal(f->drive, f->model, sizeof before);
                memcpy(before, f->drive, sizeof before);
        }
        (void)ctl_overlay_free(o);
}

/* The drive fails at every possible write of a commit: replay always ends with the whole
 * checkpoint. */
static void test_cut_off_anywhere(void **state)
{
        struct fixture *f = *state;
        unsigned seed = 2;

        for (int cut = 1; cut < 200; cut++) {
                struct bth_error e = BTH_ERROR_INIT;
                struct ctl_overlay *o = open_overlay(f);
                int r;

                random_writes(f, o, &seed);
                f->sink.writes_left = cut;
                r = ctl_overlay_commit(o, &e);
                (void)ctl_overlay_free(o);
                f->sink.writes_left = -1;
                if (r == 0)
                        return; /* the cut lay behind the last write */
                assert_int_equal(r, -EIO);
                assert_int_equal(e.reason, BTH_REASON_DRIVE_WRITE_ERROR);
                assert_int_equal(ctl_overlay_replay(f->redo, &volume_id, &f->sink.base, &e), 1);
                assert_memory_equal(f->drive, f->model, VOLUME_BYTES);
                assert_int_equal(ctl_overlay_replay(f->redo, &volume_id, &f->sink.base, &e), 1);
                assert_memory_equal(f->drive, f->model, VOLUME_BYTES);
                assert_int_equal(ctl_overlay_forget(f->redo, &e), 0);
                assert_int_equal(ctl_overlay_replay(f->redo, &volume_id, &f->sink.base, &e), 0);
        }
        fail_msg("no commit ever succeeded");
}

/* Clusters of 512 bytes: file data and metadata in one page, in any order of their writes. */
static void test_small_clusters(void **state)
{
        struct fixture *f = *state;
        struct ctl_overlay *o = open_overlay(f);
        uint8_t sector[512];
        unsigned seed = 5;

        for (int round = 0; round < 50; round++) {
                bool metadata[VOLUME_BYTES / 512] = { false };

                for (size_t i = 0; i < 600; i++) {
                        const size_t at = (size_t)rand_r(&seed) % (VOLUME_BYTES / 512);

                        if (i < 300)
                                metadata[at] = true; /* as the file system said at first */
                        memset(sector, rand_r(&seed), sizeof sector);
                        if (metadata[at]) {
                                const size_t skip = (size_t)rand_r(&seed) % 512;
                                const size_t n = rand_r(&seed) % 2 ? 512 - skip : 1;

                                assert_int_equal(bth_sink_write(ctl_overlay_sink(o),
                                                                at * 512 + skip, sector, n),
                                                 0);
                                memcpy(f->model + at * 512 + skip, sector, n);
                        } else {
                                memcpy(f->drive + at * 512, sector, 512);
                                memcpy(f->model + at * 512, sector, 512);
                        }
                        if (i % 50 == 0)
                                assert_view(f, o);
                }
                assert_view(f, o);
                assert_int_equal(ctl_overlay_commit(o, NULL), 0);
                assert_memory_equal(f->drive, f->model, VOLUME_BYTES);
                assert_int_equal(ctl_overlay_replay(f->redo, &volume_id, &f->sink.base, NULL), 1);
                assert_memory_equal(f->drive, f->model, VOLUME_BYTES);
        }
        assert_int_equal(ctl_overlay_forget(f->redo, NULL), 0);
        (void)ctl_overlay_free(o);
}

static void test_bad_redo(void **state)
{
        struct fixture *f = *state;
        const struct bth_guid other = { { 9 } };
        struct bth_error e = BTH_ERROR_INIT;
        struct ctl_overlay *o = open_overlay(f);
        uint8_t before[VOLUME_BYTES];
        unsigned seed = 3;
        char *data;
        size_t n;

        random_writes(f, o, &seed);
        f->sink.writes_left = 1;
        assert_int_equal(ctl_overlay_commit(o, NULL), -EIO);
        (void)ctl_overlay_free(o);
        f->sink.writes_left = -1;
        memcpy(before, f->drive, sizeof before);
        assert_int_equal(ctl_overlay_replay(f->redo, &other, &f->sink.base, &e), -EBADMSG);
        assert_int_equal(bth_read_file(f->redo, 1 << 20, &data, &n), 0);
        for (size_t at = 0; at < n; at += 997) {
                data[at] ^= 1;
                assert_int_equal(bth_write_file_atomic(f->redo, data, n, 0600), 0);
                assert_int_equal(ctl_overlay_replay(f->redo, &volume_id, &f->sink.base, &e),
                                 -EBADMSG);
                data[at] ^= 1;
        }
        assert_int_equal(bth_write_file_atomic(f->redo, data, n - 1, 0600), 0);
        assert_int_equal(ctl_overlay_replay(f->redo, &volume_id, &f->sink.base, &e), -EBADMSG);
        assert_memory_equal(f->drive, before, sizeof before);
        free(data);
}

static void test_redo_not_writable(void **state)
{
        struct fixture *f = *state;
        struct bth_error e = BTH_ERROR_INIT;
        struct ctl_overlay *o = NULL;
        uint8_t before[VOLUME_BYTES];
        unsigned seed = 4;

        memcpy(before, f->drive, sizeof before);
        assert_int_equal(ctl_overlay_new(f->source, &f->sink.base, &volume_id, "/nowhere/redo", &o),
                         0);
        random_writes(f, o, &seed);
        assert_int_equal(ctl_overlay_commit(o, &e), -ENOENT);
        assert_int_equal(e.reason, BTH_REASON_FILE_UNWRITABLE);
        assert_string_equal(e.object, "/nowhere/redo");
        assert_memory_equal(f->drive, before, sizeof before);
        assert_view(f, o); /* nothing is lost: the next commit may succeed */
        (void)ctl_overlay_free(o);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_nothing_before_commit, setup, teardown),
                cmocka_unit_test_setup_teardown(test_cut_off_anywhere, setup, teardown),
                cmocka_unit_test_setup_teardown(test_small_clusters, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bad_redo, setup, teardown),
                cmocka_unit_test_setup_teardown(test_redo_not_writable, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
