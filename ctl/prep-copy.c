/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/prep-copy.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/str.h"
#include "base/time.h"
#include "crypto/md5multi.h"

#define SLICE_BYTES       ((size_t)4 << 20)
#define JOB_BYTES         (UINT64_C(64) << 20) /* of one file, by one thread */
#define QUEUE_MAX         128
#define OVERLAY_MAX_BYTES ((size_t)48 << 20)
#define CHECKPOINT_USEC \
        (UINT64_C(60) * 1000000) /* so that a crash costs a minute, also of small files */
#define SENTENCE_BYTES 256

/* -- what is on the drives
 * ---------------------------------------------------------------------------- */

int ctl_copied_new(size_t n_items, struct ctl_copied *ret)
{
        *ret = (struct ctl_copied){ calloc(MAX(n_items, (size_t)1), sizeof *ret->hashes), n_items };
        return ret->hashes ? 0 : -ENOMEM;
}

void ctl_copied_clear(struct ctl_copied *c)
{
        for (size_t i = 0; c->hashes && i < c->n_items; i++)
                free(c->hashes[i]);
        free(c->hashes);
        *c = (struct ctl_copied){ 0 };
}

int ctl_copied_take(void *userdata, size_t item, const uint8_t *hashes, size_t n_blocks)
{
        struct ctl_copied *c = userdata;
        uint8_t *copy = malloc(MAX(n_blocks, (size_t)1) * BTH_MD5_BYTES);

        if (!copy)
                return -ENOMEM;
        memcpy(copy, hashes, n_blocks * BTH_MD5_BYTES);
        free(c->hashes[item]);
        c->hashes[item] = copy;
        return 0;
}

/* -- one file
 * ----------------------------------------------------------------------------------------- */

struct file {
        struct file *next; /* of the same epoch */
        struct ctl_copy *copy;
        const struct ctl_item *item;
        size_t index;
        int fd;
        uint64_t block_bytes;
        size_t n_blocks;
        struct med_ntfs_extent *extents;
        size_t n_extents;
        uint8_t *hashes;
        _Atomic unsigned n_jobs; /* not done yet; one more while they are handed out */
        pthread_mutex_t lock;
        _Atomic int result; /* the first negative errno; set under lock, with what follows */
        bool drive_failed;
        bool made; /* the volume has it */
        char sentence[SENTENCE_BYTES];
};

struct job {
        struct file *file;
        size_t first_block, n_blocks;
};

static size_t n_hashes(const struct file *f)
{
        return f->n_blocks + (f->copy->session->content_md5 ? 1 : 0);
}

static struct file *file_free(struct file *f)
{
        (void)bth_close(f->fd);
        pthread_mutex_destroy(&f->lock);
        free(f->extents);
        free(f->hashes);
        free(f);
        return NULL;
}

static int file_new(struct ctl_copy *c, size_t index, struct file **ret)
{
        const struct ctl_item *item = &c->session->items.items[index];
        struct file *f = calloc(1, sizeof *f);

        if (!f)
                return -ENOMEM;
        f->copy = c;
        f->item = item;
        f->index = index;
        f->fd = BTH_FD_NONE;
        f->block_bytes = ctl_item_block_bytes(c->session, item);
        f->n_blocks = ctl_item_blocks(c->session, item);
        pthread_mutex_init(&f->lock, NULL);
        f->hashes = calloc(n_hashes(f) + 1, BTH_MD5_BYTES);
        if (!f->hashes) {
                (void)file_free(f);
                return -ENOMEM;
        }
        *ret = f;
        return 0;
}

static void file_failed(struct file *f, int r, bool drive_failed, const char *sentence)
{
        pthread_mutex_lock(&f->lock);
        if (f->result == 0) {
                f->result = r;
                f->drive_failed = drive_failed;
                (void)snprintf(f->sentence, sizeof f->sentence, "%s: %s", sentence,
                               bth_strerror(r));
        }
        pthread_mutex_unlock(&f->lock);
}

/* Is it still the file that was planned? */
static int check_unchanged(struct file *f)
{
        struct stat st;

        if (fstat(f->fd, &st) < 0)
                return -errno;
        return S_ISREG(st.st_mode) && (uint64_t)st.st_size == f->item->size_bytes &&
                               st.st_mtim.tv_sec == f->item->mtime_sec &&
                               st.st_mtim.tv_nsec == (long)f->item->mtime_nsec
                       ? 0
                       : -ESTALE;
}

static void open_source(struct file *f)
{
        int r;

        f->fd = open(f->item->source_path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (f->fd < 0) {
                file_failed(f, -errno, false, "it cannot be opened any more");
                return;
        }
        r = check_unchanged(f);
        if (r < 0)
                file_failed(f, r, false, "it has changed since the session was planned");
}

/* -- content
 * ------------------------------------------------------------------------------------------ */

/* Copies one slice; `block` and `whole` (may be NULL) take its bytes. */
static int copy_slice(struct file *f, uint64_t at, size_t n, uint8_t *scratch,
                      struct cry_md5 *block, struct cry_md5 *whole)
{
        size_t padded = n;
        int r = bth_pread_full(f->fd, scratch, n, at);

        if (r < 0) {
                file_failed(f, r == -ENODATA ? -ESTALE : r, false,
                            r == -ENODATA ? "it became shorter while it was copied"
                                          : "it cannot be read");
                return r;
        }
        cry_md5_update(block, scratch, n);
        if (whole)
                cry_md5_update(whole, scratch, n);
        if (at + n == f->item->size_bytes) {
                padded = (size_t)MIN((n + 65535) / 65536 * 65536,
                                     ctl_extents_bytes(f->extents, f->n_extents) - at);
                memset(scratch + n, 0, padded - n);
        }
        r = ctl_extents_write(f->copy->volume->seal, f->extents, f->n_extents, at, scratch, padded);
        if (r < 0)
                file_failed(f, r, true, "the drive cannot be written");
        else
                ctl_progress_add(f->copy->progress, n);
        return r;
}

static int copy_block(struct file *f, size_t index, uint8_t *scratch, struct cry_md5 *whole)
{
        const uint64_t begin = index * f->block_bytes;
        const uint64_t end = MIN(begin + f->block_bytes, f->item->size_bytes);
        struct cry_md5 md5;
        int r = 0;

        cry_md5_init(&md5);
        for (uint64_t at = begin; r == 0 && at < end; at += SLICE_BYTES)
                r = copy_slice(f, at, (size_t)MIN((uint64_t)SLICE_BYTES, end - at), scratch, &md5,
                               whole);
        cry_md5_finish(&md5, f->hashes + index * BTH_MD5_BYTES);
        return r;
}

/* The last of a file's jobs looks whether the source was the same all the time. */
static void job_done(struct file *f)
{
        int r;

        if (--f->n_jobs > 0)
                return;
        r = f->result == 0 ? check_unchanged(f) : 0;
        if (r < 0)
                file_failed(f, r, false, "it changed while it was copied");
        f->fd = bth_close(f->fd);
}

static void run_job(void *userdata, void *scratch)
{
        struct job *j = userdata;
        struct file *f = j->file;
        struct cry_md5 whole;
        const bool content_md5 = f->copy->session->content_md5;
        int r = 0;

        cry_md5_init(&whole);
        if (!scratch)
                file_failed(f, -ENOMEM, true, "there is no memory for a buffer");
        for (size_t i = 0; scratch && r == 0 && f->result == 0 && i < j->n_blocks; i++)
                r = copy_block(f, j->first_block + i, scratch, content_md5 ? &whole : NULL);
        if (content_md5)
                cry_md5_finish(&whole, f->hashes + f->n_blocks * BTH_MD5_BYTES);
        free(j);
        job_done(f);
}

static void submit(struct file *f)
{
        /* A hash of the whole file is a chain: one thread. */
        const size_t each = f->copy->session->content_md5
                                    ? f->n_blocks
                                    : MAX((size_t)(JOB_BYTES / f->block_bytes), (size_t)1);

        f->n_jobs = 1;
        for (size_t i = 0; i < f->n_blocks; i += each) {
                struct job *j = malloc(sizeof *j);

                if (!j) {
                        file_failed(f, -ENOMEM, true, "there is no memory");
                        break;
                }
                *j = (struct job){ f, i, MIN(each, f->n_blocks - i) };
                f->n_jobs++;
                ctl_pool_submit(f->copy->pool, run_job, j);
        }
        job_done(f);
}

/* -- an epoch: from one checkpoint to the next
 * --------------------------------------------------------- */

struct epoch {
        struct file *files;
        uint64_t bytes, began_usec;
};

static int make_file(struct file *f, const void *content, struct bth_error *error)
{
        const uint64_t time = bth_filetime_from_time(f->item->mtime_sec, f->item->mtime_nsec);
        const struct med_ntfs_new_file n = { .path = f->item->file_path,
                                             .size_bytes = f->item->size_bytes,
                                             .created = time,
                                             .modified = time,
                                             .content = content };

        return med_ntfs_writer_create(f->copy->volume->writer, &n, &f->extents, &f->n_extents,
                                      error);
}

/* Small ones are read here and now, since their content goes into the record. Returns 0, also when
 * the source failed, or the drive's error. */
static int copy_small(struct file *f, struct bth_error *error)
{
        uint8_t content[MED_NTFS_SMALL_BYTES];
        const size_t n = (size_t)f->item->size_bytes;
        struct cry_md5 md5;
        int r = bth_pread_full(f->fd, content, n, 0);

        if (r == 0)
                r = check_unchanged(f);
        if (r < 0) {
                file_failed(f, r == -ENODATA ? -ESTALE : r, false, "it cannot be read, or changed");
                return 0;
        }
        f->fd = bth_close(f->fd);
        r = make_file(f, content, error);
        if (r < 0)
                return r;
        f->made = true;
        cry_md5_init(&md5);
        cry_md5_update(&md5, content, n);
        for (size_t i = 0; i < n_hashes(f); i++)
                cry_md5_finish(&md5, f->hashes + i * BTH_MD5_BYTES);
        ctl_progress_add(f->copy->progress, n);
        return 0;
}

static int copy_large(struct file *f, struct bth_error *error)
{
        int r = make_file(f, NULL, error);

        if (r < 0)
                return r;
        f->made = true;
        submit(f);
        return 0;
}

static void report(struct ctl_copy *c, const struct file *f)
{
        c->n_failed++;
        if (c->failed)
                c->failed(c->userdata, f->item, f->sentence);
}

/* Returns 0, also when the source failed, or the drive's error. */
static int copy_file(struct ctl_copy *c, size_t index, struct epoch *epoch, struct bth_error *error)
{
        struct file *f;
        int r = file_new(c, index, &f);

        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY, "no memory for a file");
        open_source(f);
        if (f->result == 0)
                r = f->item->size_bytes <= MED_NTFS_SMALL_BYTES ? copy_small(f, error)
                                                                : copy_large(f, error);
        if (!f->made) {
                if (r == 0)
                        report(c, f);
                (void)file_free(f);
                return r;
        }
        f->next = epoch->files;
        epoch->files = f;
        epoch->bytes += f->item->size_bytes;
        return 0;
}

/* What became of one file whose jobs are over. */
static int settle(struct ctl_copy *c, struct file *f, struct bth_error *error)
{
        int r;

        if (f->result == 0) {
                r = ctl_done_add(c->done, f->index, f->hashes, n_hashes(f));
                if (r < 0)
                        return bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                                             "the session's record cannot be written: %s",
                                             bth_strerror(r));
                free(c->copied->hashes[f->index]);
                c->copied->hashes[f->index] = take_ptr(f->hashes);
                return 0;
        }
        if (f->drive_failed) {
                bth_error_blob(error, f->item->blob_path);
                return bth_error_set(error, f->result,
                                     f->result == -ENOMEM ? BTH_REASON_OUT_OF_MEMORY
                                                          : BTH_REASON_DRIVE_WRITE_ERROR,
                                     "%s", f->sentence);
        }
        r = med_ntfs_writer_remove(c->volume->writer, f->item->file_path, error);
        if (r == 0)
                report(c, f);
        return r;
}

/* Waits for the content, then settles every file of the epoch. */
static int end_epoch(struct ctl_copy *c, struct epoch *e, struct bth_error *error)
{
        int r = 0;

        ctl_pool_drain(c->pool);
        while (e->files) {
                struct file *f = e->files;

                e->files = f->next;
                if (r == 0)
                        r = settle(c, f, error);
                (void)file_free(f);
        }
        *e = (struct epoch){ .began_usec = bth_now_monotonic_usec() };
        return r;
}

int ctl_copy_checkpoint(struct ctl_volume *v, struct ctl_done *done, struct bth_error *error)
{
        int r = ctl_volume_end(v, error), q;

        if (r < 0)
                return r;
        q = ctl_done_ready(done);
        if (q == 0) {
                r = ctl_overlay_commit(v->overlay, error);
                if (r < 0)
                        return r;
                q = ctl_done_checkpoint(done);
        }
        if (q < 0)
                return bth_error_set(
                        error, q, q == -ENOSPC ? BTH_REASON_DISK_FULL : BTH_REASON_FILE_UNWRITABLE,
                        "the session's record cannot be written: %s", bth_strerror(q));
        r = ctl_overlay_forget(v->redo_path, error);
        return r < 0 ? r : ctl_volume_begin(v, error);
}

static bool checkpoint_due(const struct ctl_copy *c, const struct epoch *e)
{
        return e->bytes >= c->checkpoint_bytes ||
               ctl_overlay_bytes(c->volume->overlay) >= OVERLAY_MAX_BYTES ||
               bth_now_monotonic_usec() - e->began_usec >= CHECKPOINT_USEC;
}

int ctl_copy_drive(struct ctl_copy *c, struct bth_error *error)
{
        const struct ctl_items *items = &c->session->items;
        struct epoch e = { .began_usec = bth_now_monotonic_usec() };
        int r = 0, q;

        for (size_t i = 0; r == 0 && i < items->n_items; i++) {
                if (items->items[i].drive != c->drive || c->copied->hashes[i])
                        continue;
                r = copy_file(c, i, &e, error);
                if (r == 0 && checkpoint_due(c, &e)) {
                        r = end_epoch(c, &e, error);
                        if (r == 0)
                                r = ctl_copy_checkpoint(c->volume, c->done, error);
                }
        }
        q = end_epoch(c, &e, r < 0 ? NULL : error);
        if (r == 0)
                r = q;
        return r < 0 ? r : ctl_copy_checkpoint(c->volume, c->done, error);
}
