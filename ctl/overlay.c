/* SPDX-License-Identifier: GPL-3.0-or-later */
/* overlay - a page table over a volume, and the redo file that makes a checkpoint atomic. */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/digest.h"
#include "base/io.h"
#include "base/le.h"
#include "ctl/overlay.h"

#define PAGE          ((uint64_t)CTL_OVERLAY_PAGE_BYTES)
#define SECTOR        512u /* no cluster is smaller: two files never share one */
#define SECTORS       (CTL_OVERLAY_PAGE_BYTES / SECTOR)
#define MAGIC         "BTHREDO1"
#define HEADER_BYTES  40
#define RUN_MAX_PAGES 256 /* pages that are applied with one write */

struct page {
        uint64_t index;
        uint8_t *data;   /* NULL: the slot is free */
        uint8_t changed; /* a bit for each SECTOR; the others are as below, whatever `data` has */
};

struct ctl_overlay {
        struct bth_source source;
        struct bth_sink sink;
        struct bth_source *below_source;
        struct bth_sink *below_sink;
        struct bth_guid volume_id;
        char *redo_path;

        pthread_rwlock_t lock; /* pages */
        struct page *slots;    /* open addressing, linear probing, no deletion */
        size_t n_slots;        /* power of two */
        size_t n_pages;
};

static size_t slot_of(const struct ctl_overlay *o, uint64_t index)
{
        size_t mask = o->n_slots - 1;
        size_t i = (size_t)(index * UINT64_C(0x9e3779b97f4a7c15) >> 20) & mask;

        while (o->slots[i].data && o->slots[i].index != index)
                i = (i + 1) & mask;
        return i;
}

static int grow(struct ctl_overlay *o)
{
        struct page *old = o->slots;
        size_t n_old = o->n_slots;
        struct page *slots = calloc(n_old * 2, sizeof *slots);

        if (!slots)
                return -ENOMEM;
        o->slots = slots;
        o->n_slots = n_old * 2;
        for (size_t i = 0; i < n_old; i++)
                if (old[i].data)
                        o->slots[slot_of(o, old[i].index)] = old[i];
        free(old);
        return 0;
}

/* Bytes of page `index`: the volume may end inside its last page. */
static size_t page_length(const struct ctl_overlay *o, uint64_t index)
{
        return (size_t)MIN(PAGE, o->source.size_bytes - index * PAGE);
}

/* The sectors that [skip, skip + take) of a page touches. */
static uint8_t sectors_of(size_t skip, size_t take)
{
        const size_t first = skip / SECTOR, end = (skip + take + SECTOR - 1) / SECTOR;

        return (uint8_t)(((1u << end) - 1) & ~((1u << first) - 1));
}

/* The page, filled from below when it is new and will not be overwritten whole. */
static int get_page(struct ctl_overlay *o, uint64_t index, bool whole, struct page **ret_page)
{
        size_t slot = slot_of(o, index);
        uint8_t *data = o->slots[slot].data;
        int r;

        if (!data) {
                if (o->n_pages * 2 >= o->n_slots) {
                        r = grow(o);
                        if (r < 0)
                                return r;
                        slot = slot_of(o, index);
                }
                data = bth_io_buffer_new(PAGE);
                if (!data)
                        return -ENOMEM;
                memset(data, 0,
                       PAGE); /* behind the volume's end, too: it goes into the redo file */
                if (!whole) {
                        r = bth_source_read(o->below_source, index * PAGE, data,
                                            page_length(o, index));
                        if (r < 0) {
                                free(data);
                                return r;
                        }
                }
                o->slots[slot] = (struct page){ .index = index, .data = data };
                o->n_pages++;
        }
        *ret_page = &o->slots[slot];
        return 0;
}

/* Takes into `page` what is below now, in all sectors that `mask` has and that were not changed:
 * with clusters smaller than a page, file data was written there past the overlay. */
static int refresh(const struct ctl_overlay *o, struct page *page, uint8_t mask)
{
        const uint8_t stale = (uint8_t)(mask & ~page->changed);
        const size_t length = page_length(o, page->index);
        uint8_t below[CTL_OVERLAY_PAGE_BYTES] = { 0 };
        int r = stale ? bth_source_read(o->below_source, page->index * PAGE, below, length) : 0;

        for (size_t i = 0; r == 0 && stale >> i; i++)
                if (stale & 1u << i)
                        memcpy(page->data + i * SECTOR, below + i * SECTOR, SECTOR);
        return r;
}

/* [skip, skip + take) is about to be changed: its sectors are the overlay's from now on. */
static int begin_sectors(const struct ctl_overlay *o, struct page *page, size_t skip, size_t take)
{
        const uint8_t mask = sectors_of(skip, take);
        int r = skip % SECTOR == 0 && (skip + take) % SECTOR == 0 ? 0 : refresh(o, page, mask);

        if (r == 0)
                page->changed |= mask;
        return r;
}

static int overlay_write(struct bth_sink *s, uint64_t offset_bytes, const void *buffer,
                         size_t length_bytes)
{
        struct ctl_overlay *o = container_of(s, struct ctl_overlay, sink);
        const uint8_t *p = buffer;
        int r = 0;

        pthread_rwlock_wrlock(&o->lock);
        while (r == 0 && length_bytes > 0) {
                uint64_t index = offset_bytes / PAGE;
                size_t skip = (size_t)(offset_bytes % PAGE);
                size_t take = MIN(length_bytes, (size_t)PAGE - skip);
                struct page *page;

                r = get_page(o, index, skip == 0 && take == page_length(o, index), &page);
                if (r == 0)
                        r = begin_sectors(o, page, skip, take);
                if (r == 0)
                        memcpy(page->data + skip, p, take);
                p += take;
                offset_bytes += take;
                length_bytes -= take;
        }
        pthread_rwlock_unlock(&o->lock);
        return r;
}

static void patch_page(const struct page *page, size_t skip, uint8_t *buffer, size_t take)
{
        if (page->changed == UINT8_MAX) {
                memcpy(buffer, page->data + skip, take);
                return;
        }
        while (take > 0) {
                const size_t n = MIN(take, SECTOR - skip % SECTOR);

                if (page->changed & 1u << skip / SECTOR)
                        memcpy(buffer, page->data + skip, n);
                buffer += n;
                skip += n;
                take -= n;
        }
}

/* Copies over `buffer`, which holds [offset, offset + length) as it is on the drive, what was
 * changed. */
static void patch(const struct ctl_overlay *o, uint64_t offset_bytes, uint8_t *buffer,
                  size_t length_bytes)
{
        while (length_bytes > 0) {
                size_t skip = (size_t)(offset_bytes % PAGE);
                size_t take = MIN(length_bytes, (size_t)PAGE - skip);
                const struct page *page = &o->slots[slot_of(o, offset_bytes / PAGE)];

                if (page->data)
                        patch_page(page, skip, buffer, take);
                buffer += take;
                offset_bytes += take;
                length_bytes -= take;
        }
}

static int overlay_read(struct bth_source *s, uint64_t offset_bytes, void *buffer,
                        size_t length_bytes)
{
        struct ctl_overlay *o = container_of(s, struct ctl_overlay, source);
        int r;

        pthread_rwlock_rdlock(&o->lock);
        r = bth_source_read(o->below_source, offset_bytes, buffer, length_bytes);
        if (r == 0 && o->n_pages > 0)
                patch(o, offset_bytes, buffer, length_bytes);
        pthread_rwlock_unlock(&o->lock);
        return r;
}

/* libntfs-3g flushes often; nothing may reach the drive before the checkpoint. */
static int overlay_flush(struct bth_sink *s)
{
        return 0;
}

static void source_free_nothing(struct bth_source *s)
{
}

static void sink_free_nothing(struct bth_sink *s)
{
}

int ctl_overlay_new(struct bth_source *below_source, struct bth_sink *below_sink,
                    const struct bth_guid *volume_id, const char *redo_path,
                    struct ctl_overlay **ret_overlay)
{
        static const struct bth_source_ops source_ops = {
                .read = overlay_read,
                .free = source_free_nothing,
        };
        static const struct bth_sink_ops sink_ops = {
                .write = overlay_write,
                .flush = overlay_flush,
                .free = sink_free_nothing,
        };
        struct ctl_overlay *o;

        if (below_source->size_bytes != below_sink->size_bytes)
                return -EINVAL;
        o = calloc(1, sizeof *o);
        if (!o)
                return -ENOMEM;
        pthread_rwlock_init(&o->lock, NULL);
        o->n_slots = 1024;
        o->slots = calloc(o->n_slots, sizeof *o->slots);
        o->redo_path = strdup(redo_path);
        if (!o->slots || !o->redo_path) {
                (void)ctl_overlay_free(o);
                return -ENOMEM;
        }
        o->source = *below_source;
        o->source.ops = &source_ops;
        o->sink = *below_sink;
        o->sink.ops = &sink_ops;
        o->below_source = below_source;
        o->below_sink = below_sink;
        o->volume_id = *volume_id;
        *ret_overlay = o;
        return 0;
}

static void drop_pages(struct ctl_overlay *o)
{
        for (size_t i = 0; o->slots && i < o->n_slots; i++) {
                free(o->slots[i].data);
                o->slots[i] = (struct page){ 0 };
        }
        o->n_pages = 0;
}

struct ctl_overlay *ctl_overlay_free(struct ctl_overlay *o)
{
        if (o) {
                drop_pages(o);
                free(o->slots);
                free(o->redo_path);
                pthread_rwlock_destroy(&o->lock);
                free(o);
        }
        return NULL;
}

struct bth_source *ctl_overlay_source(struct ctl_overlay *o)
{
        return &o->source;
}

struct bth_sink *ctl_overlay_sink(struct ctl_overlay *o)
{
        return &o->sink;
}

size_t ctl_overlay_bytes(struct ctl_overlay *o)
{
        size_t n;

        pthread_rwlock_rdlock(&o->lock);
        n = o->n_pages * (size_t)PAGE;
        pthread_rwlock_unlock(&o->lock);
        return n;
}

/* A file under construction whose bytes are hashed as they go. */
struct redo_writer {
        int fd;
        struct bth_digest *digest;
};

static int redo_put(struct redo_writer *w, const void *data, size_t n)
{
        int r = bth_digest_update(w->digest, data, n);

        return r < 0 ? r : bth_write_full(w->fd, data, n);
}

static void put_header(uint8_t header[HEADER_BYTES], const struct bth_guid *volume_id,
                       uint64_t size_bytes, uint64_t n_pages)
{
        memcpy(header, MAGIC, 8);
        memcpy(header + 8, volume_id->b, 16);
        bth_store_le64(header + 24, size_bytes);
        bth_store_le64(header + 32, n_pages);
}

static int put_pages(struct redo_writer *w, const struct page *pages, size_t n)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < n; i++) {
                le64_t index = le64_make(pages[i].index);

                r = redo_put(w, index.b, sizeof index.b);
                if (r == 0)
                        r = redo_put(w, pages[i].data, PAGE);
        }
        return r;
}

static int write_redo(const struct ctl_overlay *o, const struct page *pages, size_t n,
                      const char *path)
{
        _cleanup_(bth_digest_freep) struct bth_digest *digest = NULL;
        _cleanup_close_ int fd =
                open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        struct redo_writer w = { .fd = fd };
        uint8_t header[HEADER_BYTES], sum[BTH_SHA256_BYTES];
        int r;

        if (fd < 0)
                return -errno;
        r = bth_digest_new(BTH_DIGEST_SHA256, &digest);
        if (r < 0)
                return r;
        w.digest = digest;
        put_header(header, &o->volume_id, o->source.size_bytes, n);
        r = redo_put(&w, header, sizeof header);
        if (r == 0)
                r = put_pages(&w, pages, n);
        if (r == 0)
                r = bth_digest_finish(digest, sum);
        if (r == 0)
                r = bth_write_full(fd, sum, sizeof sum);
        if (r == 0 && fsync(fd) < 0)
                r = -errno;
        return r;
}

/* Writes pages to the drive, neighbours together. `pages` ascend. */
static int apply_pages(struct bth_sink *below, const struct page *pages, size_t n)
{
        _cleanup_free_ uint8_t *run = bth_io_buffer_new(RUN_MAX_PAGES * PAGE);
        int r = 0;

        if (!run)
                return -ENOMEM;
        for (size_t i = 0; r == 0 && i < n;) {
                uint64_t start = pages[i].index * PAGE;
                size_t k = 0;

                while (i + k < n && k < RUN_MAX_PAGES && pages[i + k].index == pages[i].index + k) {
                        memcpy(run + k * PAGE, pages[i + k].data, PAGE);
                        k++;
                }
                r = bth_sink_write(below, start, run,
                                   (size_t)MIN((uint64_t)k * PAGE, below->size_bytes - start));
                i += k;
        }
        return r < 0 ? r : bth_sink_flush(below);
}

static int by_index(const void *a, const void *b)
{
        uint64_t x = ((const struct page *)a)->index, y = ((const struct page *)b)->index;

        return x < y ? -1 : x > y;
}

static struct page *sorted_pages(const struct ctl_overlay *o)
{
        struct page *pages = calloc(MAX(o->n_pages, (size_t)1), sizeof *pages);
        size_t n = 0;

        if (!pages)
                return NULL;
        for (size_t i = 0; i < o->n_slots; i++)
                if (o->slots[i].data)
                        pages[n++] = o->slots[i];
        qsort(pages, n, sizeof *pages, by_index);
        return pages;
}

static int explain(struct bth_error *error, const char *object, int r, enum bth_reason reason,
                   const char *what)
{
        bth_error_at(error, object, 0, BTH_ERROR_NO_OFFSET);
        return bth_error_set(error, r, r == -ENOSPC ? BTH_REASON_DISK_FULL : reason, "%s: %s", what,
                             bth_strerror(r));
}

static int commit_locked(struct ctl_overlay *o, struct bth_error *error)
{
        _cleanup_free_ struct page *pages = sorted_pages(o);
        char temporary[PATH_MAX];
        int r;

        if (!pages)
                return -ENOMEM;
        for (size_t i = 0; i < o->n_pages; i++) {
                r = refresh(o, &pages[i], UINT8_MAX);
                if (r < 0)
                        return explain(error, NULL, r, BTH_REASON_DRIVE_READ_ERROR,
                                       "the drive cannot be read");
        }
        if (snprintf(temporary, sizeof temporary, "%s.tmp", o->redo_path) >= (int)sizeof temporary)
                return -ENAMETOOLONG;
        /* The data first: metadata must never refer to clusters that were not written. */
        r = bth_sink_flush(o->below_sink);
        if (r < 0)
                return explain(error, NULL, r, BTH_REASON_DRIVE_WRITE_ERROR,
                               "the drive does not take what was written to it");
        r = write_redo(o, pages, o->n_pages, temporary);
        if (r == 0 && rename(temporary, o->redo_path) < 0)
                r = -errno;
        if (r == 0)
                r = bth_sync_folder_of(o->redo_path);
        if (r < 0) {
                (void)unlink(temporary);
                return explain(error, o->redo_path, r, BTH_REASON_FILE_UNWRITABLE,
                               "the checkpoint cannot be written");
        }
        r = apply_pages(o->below_sink, pages, o->n_pages);
        if (r < 0)
                return explain(error, NULL, r, BTH_REASON_DRIVE_WRITE_ERROR,
                               "the drive cannot take the checkpoint");
        drop_pages(o);
        return 0;
}

int ctl_overlay_commit(struct ctl_overlay *o, struct bth_error *error)
{
        int r = 0;

        pthread_rwlock_wrlock(&o->lock);
        if (o->n_pages > 0)
                r = commit_locked(o, error);
        pthread_rwlock_unlock(&o->lock);
        return r;
}

/* Reads and checks the head and the checksum; leaves the file at its first page. */
static int check_redo(int fd, const struct bth_guid *volume_id, uint64_t size_bytes,
                      uint64_t *ret_n_pages)
{
        _cleanup_(bth_digest_freep) struct bth_digest *digest = NULL;
        _cleanup_free_ uint8_t *record = malloc(8 + PAGE);
        uint8_t header[HEADER_BYTES], sum[BTH_SHA256_BYTES], stored[BTH_SHA256_BYTES];
        uint64_t n;
        int r;

        if (!record)
                return -ENOMEM;
        r = bth_read_full(fd, header, sizeof header);
        if (r < 0)
                return r;
        if (memcmp(header, MAGIC, 8) != 0 || memcmp(header + 8, volume_id->b, 16) != 0 ||
            bth_load_le64(header + 24) != size_bytes)
                return -EBADMSG;
        n = bth_load_le64(header + 32);
        if (n > size_bytes / PAGE + 1)
                return -EBADMSG;
        r = bth_digest_new(BTH_DIGEST_SHA256, &digest);
        if (r == 0)
                r = bth_digest_update(digest, header, sizeof header);
        for (uint64_t i = 0; r == 0 && i < n; i++) {
                r = bth_read_full(fd, record, 8 + PAGE);
                if (r == 0 && bth_load_le64(record) > (size_bytes - 1) / PAGE)
                        r = -EBADMSG;
                if (r == 0)
                        r = bth_digest_update(digest, record, 8 + PAGE);
        }
        if (r == 0)
                r = bth_digest_finish(digest, sum);
        if (r == 0)
                r = bth_read_full(fd, stored, sizeof stored);
        if (r < 0)
                return r;
        if (memcmp(sum, stored, sizeof sum) != 0)
                return -EBADMSG;
        *ret_n_pages = n;
        return lseek(fd, HEADER_BYTES, SEEK_SET) < 0 ? -errno : 0;
}

static int apply_redo(int fd, uint64_t n_pages, struct bth_sink *below)
{
        _cleanup_free_ uint8_t *record = malloc(8 + PAGE);
        int r = record ? 0 : -ENOMEM;

        for (uint64_t i = 0; r == 0 && i < n_pages; i++) {
                struct page page;

                r = bth_read_full(fd, record, 8 + PAGE);
                if (r < 0)
                        break;
                page = (struct page){ .index = bth_load_le64(record), .data = record + 8 };
                r = bth_sink_write(below, page.index * PAGE, page.data,
                                   (size_t)MIN(PAGE, below->size_bytes - page.index * PAGE));
        }
        return r < 0 ? r : bth_sink_flush(below);
}

int ctl_overlay_replay(const char *redo_path, const struct bth_guid *volume_id,
                       struct bth_sink *below, struct bth_error *error)
{
        _cleanup_close_ int fd = open(redo_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        uint64_t n_pages = 0;
        int r;

        if (fd < 0)
                return errno == ENOENT
                               ? 0
                               : explain(error, redo_path, -errno, BTH_REASON_FILE_UNREADABLE,
                                         "the checkpoint cannot be read");
        r = check_redo(fd, volume_id, below->size_bytes, &n_pages);
        if (r == -EBADMSG || r == -ENODATA) {
                bth_error_at(error, redo_path, 0, BTH_ERROR_NO_OFFSET);
                return bth_error_set(error, -EBADMSG, BTH_REASON_HASH_MISMATCH,
                                     "this checkpoint is damaged or belongs to another drive");
        }
        if (r < 0)
                return explain(error, redo_path, r, BTH_REASON_FILE_UNREADABLE,
                               "the checkpoint cannot be read");
        r = apply_redo(fd, n_pages, below);
        if (r < 0)
                return explain(error, NULL, r, BTH_REASON_DRIVE_WRITE_ERROR,
                               "the drive cannot take the checkpoint");
        return 1;
}

int ctl_overlay_forget(const char *redo_path, struct bth_error *error)
{
        int r = 0;

        if (unlink(redo_path) < 0)
                r = errno == ENOENT ? 0 : -errno;
        else /* one that came back when the power went would pass for the next checkpoint */
                r = bth_sync_folder_of(redo_path);
        return r == 0 ? 0
                      : explain(error, redo_path, r, BTH_REASON_FILE_UNWRITABLE,
                                "the finished checkpoint cannot be removed");
}
