/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bench-ntfs-read - the files of an encrypted volume, read by us as the worker does. Run by
 * tests/bench/ntfs-read, which compares.
 *
 *   bench-ntfs-read IMAGE RECOVERY-PASSWORD-FILE FOLDER
 *
 * Opens the drive, scans it, reads every file of the folder (or the file) in disk order: a batch of
 * files is opened, then its places are read, many in flight. Prints a line of JSON: files, bytes;
 * requests and backward seeks of the device after the scan; seconds and processor seconds with the
 * scan. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/time.h"
#include "media/ntfs_scan.h"
#include "uploader/drive.h"

#define INDEX_BYTES ((size_t)256 << 20)
#define BATCH_FILES 512u
#define FLIGHT      16u
#define READ_BYTES  ((size_t)1 << 20)

struct list {
        struct med_ntfs_found *found;
        size_t n, allocated;
};

struct flight {
        struct bth_source *plain;
        struct bth_read read[FLIGHT];
        size_t n;
        uint8_t *buffer;
        uint64_t bytes;
};

static int add(void *context, const char *path, const struct med_ntfs_found *found)
{
        struct list *l = context;

        (void)path;
        if (found->directory || found->status != MED_NTFS_OK)
                return 0;
        if (l->n == l->allocated) {
                size_t want = 2 * l->allocated + 1024;
                void *p = reallocarray(l->found, want, sizeof *l->found);

                if (!p)
                        return -ENOMEM;
                l->found = p;
                l->allocated = want;
        }
        l->found[l->n++] = *found;
        return 0;
}

static int by_place(const void *pa, const void *pb)
{
        const struct med_ntfs_found *a = pa, *b = pb;

        return a->first_offset_bytes < b->first_offset_bytes
                       ? -1
                       : a->first_offset_bytes > b->first_offset_bytes;
}

static int land(struct flight *f)
{
        int r = bth_source_read_many(f->plain, f->read, f->n);

        f->n = 0;
        return r;
}

static int want(struct flight *f, uint64_t offset, size_t length)
{
        f->read[f->n] = (struct bth_read){ .offset_bytes = offset,
                                           .length_bytes = length,
                                           .buffer = f->buffer + f->n * READ_BYTES };
        f->bytes += length;
        return ++f->n == FLIGHT ? land(f) : 0;
}

static int read_file(struct flight *fl, struct med_ntfs_file *f)
{
        struct med_ntfs_span span;
        uint64_t at = 0;
        int r;

        while ((r = med_ntfs_file_span(f, at, &span)) > 0) {
                for (uint64_t done = 0; done < span.length_bytes;) {
                        size_t n = (size_t)MIN(span.length_bytes - done, (uint64_t)READ_BYTES);

                        r = 0;
                        if (span.kind == MED_NTFS_SPAN_DISK)
                                r = want(fl, span.volume_offset_bytes + done, n);
                        else if (span.kind == MED_NTFS_SPAN_SOURCE)
                                r = bth_source_read(&f->source, at + done, fl->buffer, n);
                        if (r < 0)
                                return r;
                        done += n;
                }
                at += span.length_bytes;
        }
        return r;
}

static int read_batch(const struct med_ntfs_volume *v, struct flight *fl,
                      const struct med_ntfs_found *found, size_t n)
{
        struct med_ntfs_file *file[BATCH_FILES];
        size_t opened = 0;
        int r = 0;

        for (; r == 0 && opened < n; opened += r == 0)
                r = med_ntfs_file_open(v, found[opened].reference, &file[opened]);
        for (size_t i = 0; i < opened; i++) {
                if (r == 0)
                        r = read_file(fl, file[i]);
                (void)bth_source_free(&file[i]->source);
        }
        return r;
}

static double cpu_seconds(void)
{
        struct rusage u;

        (void)getrusage(RUSAGE_SELF, &u);
        return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int fail(const char *what, int r, const struct bth_error *e)
{
        char text[1024];

        fprintf(stderr, "%s: %s\n", what,
                e && e->code ? bth_error_to_string(e, text, sizeof text) : bth_strerror(r));
        return 1;
}

static int read_all(const struct upl_drive *d, const char *folder)
{
        _cleanup_(med_ntfs_index_freep) struct med_ntfs_index *x = NULL;
        _cleanup_free_ uint8_t *buffer = bth_io_buffer_new(FLIGHT * READ_BYTES);
        struct flight fl = { .plain = d->plain, .buffer = buffer };
        struct hal_block_stats before, after;
        struct bth_error e = BTH_ERROR_INIT;
        struct list list = { 0 };
        /* Turning a password into a key takes its time on purpose, once a drive: not counted. */
        const double cpu = cpu_seconds();
        const uint64_t begin = bth_now_monotonic_usec();
        int r = buffer ? med_ntfs_scan(d->ntfs, INDEX_BYTES, &x, &e) : -ENOMEM;

        if (r == 0)
                r = med_ntfs_index_walk(x, folder, add, &list);
        if (r < 0)
                return fail(folder, r, &e);
        qsort(list.found, list.n, sizeof *list.found, by_place);
        hal_block_get_stats(d->device, &before);
        for (size_t i = 0; r == 0 && i < list.n; i += BATCH_FILES) {
                r = read_batch(d->ntfs, &fl, list.found + i, MIN(list.n - i, (size_t)BATCH_FILES));
                if (r == 0 && fl.n)
                        r = land(&fl);
        }
        free(list.found);
        if (r < 0)
                return fail("reading", r, NULL);
        hal_block_get_stats(d->device, &after);
        printf("{ \"files\": %zu, \"bytes\": %" PRIu64 ", \"requests\": %" PRIu64
               ", \"backward\": %" PRIu64 ", \"seconds\": %.3f, \"cpu\": %.3f }\n",
               list.n, fl.bytes, after.requests - before.requests,
               after.backward_seeks - before.backward_seeks,
               (double)(bth_now_monotonic_usec() - begin) / 1e6, cpu_seconds() - cpu);
        return 0;
}

int main(int argc, char **argv)
{
        const struct upl_drive_options options = { .depth = UPL_DRIVE_FILES };
        _cleanup_(bth_secret_freep) struct bth_secret *secret = NULL;
        _cleanup_(upl_drive_closep) struct upl_drive *d = NULL;
        struct cry_credential credential = { .kind = CRY_CREDENTIAL_RECOVERY_PASSWORD };
        struct bth_error e = BTH_ERROR_INIT;
        int fd, r;

        if (argc != 4) {
                fprintf(stderr, "usage: bench-ntfs-read IMAGE RECOVERY-PASSWORD-FILE FOLDER\n");
                return 2;
        }
        r = bth_secret_new_from_file(argv[2], 4096, true, &secret);
        if (r < 0)
                return fail(argv[2], r, NULL);
        credential.secret = secret;
        fd = open(argv[1], O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return fail(argv[1], -errno, NULL);
        r = upl_drive_open(fd, &options, &credential, &d, &e);
        if (r < 0)
                return fail(argv[1], r, &e);
        return read_all(d, argv[3]);
}
