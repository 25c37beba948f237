/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-check - one thread reads windows in disk order, the caller's hashes and compares them. */
#include "ctl/prep-check.h"

#include <ctype.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/str.h"
#include "crypto/md5multi.h"
#include "ctl/arena.h"
#include "media/sidecar.h"

#define WINDOWS        3
#define WINDOW_BYTES   ((size_t)64 << 20) /* sixteen blocks of 4 MiB fill the lanes of the hasher */
#define BATCH_BYTES    ((size_t)192 << 20)
#define PIECES_MAX     16384u
#define PIECE_ALIGN    4096u
#define GROUP_FILES    8192u             /* whose records are read at a time */
#define GROUP_RUNS     ((size_t)1 << 20) /* of them, 24 MiB; further files are opened one by one */
#define NO_RANGE       SIZE_MAX
#define SENTENCE_MAX   512
#define KEBAB_NAME_MAX 64

/* One file to read: that of a blob, or one that stands beside it. */
struct item {
        enum ctl_check_part part; /* FILE, METADATA or PROPERTIES */
        enum med_manifest_kind kind;
        const char *blob_path, *snapshot, *file_path; /* of the batch's arena */
        uint64_t line, length_bytes;
        struct med_manifest_range *ranges; /* FILE; owned */
        size_t n_ranges;
        uint8_t md5[BTH_MD5_BYTES]; /* of a sidecar */
        struct med_ntfs_found found;
        int found_result;
};

struct batch {
        struct item *items;
        size_t n, allocated, bytes;
        struct ctl_arena *arena;
};

/* A run of bytes that were read, or a fault that the reader met. */
struct piece {
        const struct item *item;
        size_t range; /* NO_RANGE: the file */
        uint8_t *data;
        size_t n;
        bool first, last;   /* of its range */
        const char *status; /* not NULL: a fault */
        bool warning;
        int result;
        uint64_t file_bytes;
};

struct window {
        uint8_t *bytes;
        size_t used, n_pieces;
        struct piece *pieces;
};

/* Bytes of a piece that lie in one run on the volume. */
struct fetch {
        uint64_t volume_offset_bytes;
        size_t length_bytes;
        uint8_t *data;
        struct piece *piece;
};

struct check {
        const struct ctl_check_options *o;
        struct ctl_check_result *result;
        struct bth_error *error;
        size_t window_bytes;
        uint64_t last_list; /* whose defaults were taken */
        struct batch batch;

        struct window windows[WINDOWS];
        struct window *filling; /* the reader's, as what follows */
        struct fetch *fetches;  /* what the window still wants from the disk */
        struct bth_read *reads; /* the same, neighbours as one; as long */
        size_t *first_fetch;    /* of each read */
        size_t n_fetches, fetches_allocated;
        uint64_t read_end_bytes; /* on the volume */
        struct cry_md5 carry;    /* of the range that the last window cut */
        bool carry_bad;          /* that range has a fault already */
        struct cry_md5 *md5;
        struct cry_md5_job *jobs;

        pthread_mutex_t lock; /* over what follows */
        pthread_cond_t changed;
        size_t n_filled, n_hashed; /* windows so far; the ring has room while they differ by less */
        bool ended;
        int reader_result;
};

/* ---- the batch ---- */

static void batch_clear(struct batch *b)
{
        for (size_t i = 0; i < b->n; i++)
                free(b->items[i].ranges);
        free(b->items);
        (void)ctl_arena_free(b->arena);
        *b = (struct batch){ 0 };
}

static int keep_text(struct batch *b, const char *text, const char **ret_text)
{
        const size_t n = text ? strlen(text) : 0;

        *ret_text = NULL;
        if (!text)
                return 0;
        *ret_text = ctl_arena_string(b->arena, text, n);
        b->bytes += n + 1;
        return *ret_text ? 0 : -ENOMEM;
}

static int add_item(struct check *c, const struct item *item)
{
        struct batch *b = &c->batch;
        struct item *i;
        int r = 0;

        if (b->n == b->allocated) {
                const size_t want = b->allocated * 2 + 64;
                struct item *p = reallocarray(b->items, want, sizeof *p);

                if (!p)
                        return -ENOMEM;
                b->items = p;
                b->allocated = want;
        }
        if (!b->arena)
                r = ctl_arena_new(&b->arena);
        if (r < 0)
                return r;
        i = &b->items[b->n++];
        *i = *item;
        i->ranges = NULL;
        b->bytes += sizeof *i;
        r = keep_text(b, item->blob_path, &i->blob_path);
        if (r == 0)
                r = keep_text(b, item->snapshot, &i->snapshot);
        if (r == 0)
                r = keep_text(b, item->file_path, &i->file_path);
        if (r < 0 || item->n_ranges == 0)
                return r;
        i->ranges = malloc(item->n_ranges * sizeof *i->ranges);
        if (!i->ranges)
                return -ENOMEM;
        memcpy(i->ranges, item->ranges, item->n_ranges * sizeof *i->ranges);
        b->bytes += item->n_ranges * sizeof *i->ranges;
        return 0;
}

static int add_sidecar(struct check *c, enum ctl_check_part part,
                       const struct med_manifest_sidecar *s, const struct med_manifest_blob *blob)
{
        struct item item = { .part = part, .file_path = s->path, .line = s->line };

        if (!s->path)
                return 0;
        if (blob) {
                item.blob_path = blob->blob_path;
                item.snapshot = blob->snapshot;
        }
        memcpy(item.md5, s->md5, sizeof item.md5);
        c->result->n_sidecars++;
        return add_item(c, &item);
}

static int add_blob(struct check *c, const struct med_manifest_blob *blob)
{
        const struct item item = {
                .part = CTL_CHECK_FILE,
                .kind = blob->kind,
                .blob_path = blob->blob_path,
                .snapshot = blob->snapshot,
                .file_path = blob->file_path,
                .line = blob->line,
                .length_bytes = blob->length_bytes,
                /* Copied, never written through. */
                .ranges = (struct med_manifest_range *)(uintptr_t)blob->ranges,
                .n_ranges = blob->n_ranges,
        };
        int r = 0;

        if (blob->list && blob->list->index != c->last_list) {
                c->last_list = blob->list->index;
                r = add_sidecar(c, CTL_CHECK_METADATA, &blob->list->metadata, NULL);
                if (r == 0)
                        r = add_sidecar(c, CTL_CHECK_PROPERTIES, &blob->list->properties, NULL);
        }
        if (r < 0 || blob->n_errors > 0)
                return r;
        c->result->n_blobs++;
        c->result->n_ranges += blob->n_ranges;
        r = add_item(c, &item);
        if (r == 0)
                r = add_sidecar(c, CTL_CHECK_METADATA, &blob->metadata, blob);
        if (r == 0)
                r = add_sidecar(c, CTL_CHECK_PROPERTIES, &blob->properties, blob);
        return r;
}

static int by_place(const void *pa, const void *pb)
{
        const struct item *a = pa, *b = pb;

        if (a->found.first_offset_bytes != b->found.first_offset_bytes)
                return a->found.first_offset_bytes < b->found.first_offset_bytes ? -1 : 1;
        return a->line < b->line ? -1 : a->line > b->line;
}

static void locate(struct check *c)
{
        struct batch *b = &c->batch;

        for (size_t i = 0; i < b->n; i++) {
                struct item *item = &b->items[i];

                item->found = (struct med_ntfs_found){ .first_offset_bytes = MED_NTFS_HOLE };
                item->found_result =
                        med_ntfs_index_find(c->o->index, item->file_path, &item->found);
        }
        qsort(b->items, b->n, sizeof *b->items, by_place);
}

/* ---- the reader ---- */

/* The drive itself is gone: nothing behind this can be read either. */
static bool drive_is_gone(int r)
{
        return r == -ENODEV || r == -ENXIO || r == -ENOMEM;
}

static void blame(struct piece *p, int r)
{
        p->status = bth_range_status_to_string(BTH_RANGE_STATUS_IO_FAILED);
        p->result = r;
}

static int by_volume_offset(const void *pa, const void *pb)
{
        const struct fetch *a = pa, *b = pb;

        return a->volume_offset_bytes > b->volume_offset_bytes   ? 1
               : a->volume_offset_bytes < b->volume_offset_bytes ? -1
                                                                 : 0;
}

/* Files that lie side by side on the disk lie so in the window too: one read gets them all. */
static size_t join_fetches(struct check *c)
{
        size_t n = 0;

        if (c->n_fetches > 0) /* the array may be NULL then */
                qsort(c->fetches, c->n_fetches, sizeof *c->fetches, by_volume_offset);
        for (size_t i = 0; i < c->n_fetches; i++) {
                const struct fetch *f = &c->fetches[i];
                struct bth_read *last = n > 0 ? &c->reads[n - 1] : NULL;

                if (last && last->offset_bytes + last->length_bytes == f->volume_offset_bytes &&
                    (uint8_t *)last->buffer + last->length_bytes == f->data) {
                        last->length_bytes += f->length_bytes;
                        continue;
                }
                c->first_fetch[n] = i;
                c->reads[n++] = (struct bth_read){ .offset_bytes = f->volume_offset_bytes,
                                                   .length_bytes = f->length_bytes,
                                                   .buffer = f->data };
        }
        return n;
}

/* A read that failed is tried again piece by piece, so that only those which have the bad place are
 * at fault. */
static int read_singly(struct check *c, size_t from, size_t to)
{
        for (size_t i = from; i < to; i++) {
                struct fetch *f = &c->fetches[i];
                int r = bth_source_read(c->o->volume->source, f->volume_offset_bytes, f->data,
                                        f->length_bytes);

                if (drive_is_gone(r))
                        return r;
                if (r < 0)
                        blame(f->piece, r);
        }
        return 0;
}

/* Reads what the window wants, in one batch and in the order of the disk. */
static int fetch_all(struct check *c)
{
        const size_t n = join_fetches(c);
        int r = 0;

        if (n > 0)
                (void)!bth_source_read_many(c->o->volume->source, c->reads, n); /* has results */
        for (size_t i = 0; r == 0 && i < n; i++) {
                const size_t end = i + 1 < n ? c->first_fetch[i + 1] : c->n_fetches;

                c->result->n_reads++;
                c->result->n_backward += c->reads[i].offset_bytes < c->read_end_bytes;
                c->read_end_bytes = c->reads[i].offset_bytes + c->reads[i].length_bytes;
                if (c->reads[i].result < 0)
                        r = read_singly(c, c->first_fetch[i], end);
        }
        c->n_fetches = 0;
        return r;
}

static int add_fetch(struct check *c, uint64_t volume_offset, size_t n, uint8_t *data,
                     struct piece *p)
{
        if (c->n_fetches == c->fetches_allocated) {
                const size_t want = c->fetches_allocated * 2 + 1024;
                struct fetch *fetches = reallocarray(c->fetches, want, sizeof *fetches);
                struct bth_read *reads = reallocarray(c->reads, want, sizeof *reads);
                size_t *first = reallocarray(c->first_fetch, want, sizeof *first);

                c->fetches = fetches ? fetches : c->fetches;
                c->reads = reads ? reads : c->reads;
                c->first_fetch = first ? first : c->first_fetch;
                if (!fetches || !reads || !first)
                        return -ENOMEM;
                c->fetches_allocated = want;
        }
        c->fetches[c->n_fetches++] = (struct fetch){ volume_offset, n, data, p };
        return 0;
}

/* Reads the window, hands it over and waits for a free one. */
static int submit(struct check *c)
{
        int r = fetch_all(c);

        if (r < 0)
                return r;
        pthread_mutex_lock(&c->lock);
        c->n_filled++;
        pthread_cond_broadcast(&c->changed);
        while (c->n_filled - c->n_hashed == WINDOWS)
                pthread_cond_wait(&c->changed, &c->lock);
        pthread_mutex_unlock(&c->lock);
        c->filling = &c->windows[c->n_filled % WINDOWS];
        c->filling->used = c->filling->n_pieces = 0;
        return 0;
}

static int room_for(struct check *c, size_t n)
{
        const struct window *w = c->filling;

        return w->n_pieces == PIECES_MAX || c->window_bytes - w->used < n ? submit(c) : 0;
}

/* The next piece of the window under way; its data lie where the disk's sectors fit. */
static struct piece *take_piece(struct check *c, const struct item *item, size_t range, size_t n)
{
        struct window *w = c->filling;
        struct piece *p = &w->pieces[w->n_pieces++];
        uint64_t used;

        *p = (struct piece){ .item = item, .range = range, .data = w->bytes + w->used, .n = n };
        if (!bth_align_up(w->used + n, PIECE_ALIGN, &used) || used > c->window_bytes)
                used = c->window_bytes;
        w->used = (size_t)used;
        return p;
}

static int note_fault(struct check *c, const struct item *item, size_t range, const char *status,
                      bool warning, int result, uint64_t file_bytes)
{
        struct piece *p;
        int r = room_for(c, 0);

        if (r < 0)
                return r;
        p = take_piece(c, item, range, 0);
        p->status = status;
        p->warning = warning;
        p->result = result;
        p->file_bytes = file_bytes;
        return 0;
}

/* What is read at the end of a run: whole sectors, for the fast path, where the window has room for
 * them; the rest of a cluster is there to be read. */
static size_t padded(const struct check *c, const struct piece *p, uint64_t volume_offset,
                     size_t done, size_t n)
{
        const uint64_t unit = MIN(c->o->volume->cluster_bytes, PIECE_ALIGN);
        const size_t room = (size_t)(c->filling->bytes + c->filling->used - (p->data + done));
        uint64_t end;

        if (done + n < p->n || !bth_align_up(volume_offset + n, unit, &end) ||
            end > c->o->volume->source->size_bytes || end - volume_offset > room)
                return n;
        return (size_t)(end - volume_offset);
}

/* Finds where the bytes of a piece lie; they come with the rest of the window. */
static int read_piece(struct check *c, const struct med_ntfs_file *file, struct piece *p,
                      uint64_t offset)
{
        int r = 0;

        c->result->read_bytes += p->n;
        for (size_t done = 0, n; done < p->n; done += n) {
                struct med_ntfs_span span;

                r = med_ntfs_file_span(file, offset + done, &span);
                if (r <= 0) {
                        blame(p, r < 0 ? r : -EBADMSG);
                        return 0;
                }
                n = (size_t)MIN(span.length_bytes, (uint64_t)(p->n - done));
                r = 0;
                if (span.kind == MED_NTFS_SPAN_ZERO)
                        memset(p->data + done, 0, n);
                else if (span.kind == MED_NTFS_SPAN_DISK)
                        r = add_fetch(c, span.volume_offset_bytes,
                                      padded(c, p, span.volume_offset_bytes, done, n),
                                      p->data + done, p);
                else
                        r = bth_source_read((struct bth_source *)(uintptr_t)&file->source,
                                            offset + done, p->data + done, n);
                if (drive_is_gone(r))
                        return r;
                if (r < 0) {
                        blame(p, r);
                        return 0;
                }
        }
        return 0;
}

/* One range, cut where the window ends. A range that fits a whole window is not cut, so that the
 * lanes of the hasher are filled with pieces of one length. */
static int read_range(struct check *c, const struct item *item, size_t range,
                      const struct med_ntfs_file *file, uint64_t offset, uint64_t length)
{
        uint64_t at = 0;
        int r;

        do {
                struct piece *p;
                size_t n;

                r = room_for(c, length <= c->window_bytes ? (size_t)length : PIECE_ALIGN);
                if (r < 0)
                        return r;
                n = (size_t)MIN(length - at, (uint64_t)(c->window_bytes - c->filling->used));
                p = take_piece(c, item, range, n);
                p->first = at == 0;
                p->last = at + n == length;
                r = read_piece(c, file, p, offset + at);
                at += n;
        } while (r == 0 && at < length);
        return r;
}

static int read_sidecar(struct check *c, const struct item *item, const struct med_ntfs_file *file)
{
        if (file->source.size_bytes > MIN(MED_SIDECAR_MAX_BYTES, c->window_bytes))
                return note_fault(c, item, NO_RANGE,
                                  bth_sidecar_status_to_string(BTH_SIDECAR_STATUS_XML_READ_FAILED),
                                  false, -EFBIG, file->source.size_bytes);
        return read_range(c, item, NO_RANGE, file, 0, file->source.size_bytes);
}

/* A file that ends too early has one fault, not one for each block that is not there. */
static int read_blob(struct check *c, const struct item *item, const struct med_ntfs_file *file)
{
        const char *too_short = bth_range_status_to_string(BTH_RANGE_STATUS_FILE_UNEXPECTED_END);
        const uint64_t bytes = file->source.size_bytes;
        int r = 0;

        if (bytes > item->length_bytes)
                r = note_fault(c, item, NO_RANGE, "FileLonger", true, 0, bytes);
        for (size_t i = 0; r == 0 && i < item->n_ranges; i++) {
                const struct med_manifest_range *range = &item->ranges[i];

                if (!bth_range_inside(range->offset_bytes, range->length_bytes, bytes))
                        return note_fault(c, item, i, too_short, false, 0, bytes);
                r = read_range(c, item, i, file, range->offset_bytes, range->length_bytes);
        }
        /* The specification wants gaps at the end of an exported page blob told, not refused. */
        if (r == 0 && bytes < item->length_bytes)
                r = note_fault(c, item, NO_RANGE, too_short,
                               c->o->reading->direction == MED_MANIFEST_EXPORT &&
                                       item->kind == MED_MANIFEST_PAGE,
                               0, bytes);
        return r;
}

/* Why a file cannot be read, in the words of the logs; NULL when it can. */
static const char *unreadable(int result, enum med_ntfs_status status)
{
        enum bth_blob_status s;

        if (result == -ENOENT || (result == 0 && status == MED_NTFS_IS_DIRECTORY))
                s = BTH_BLOB_STATUS_FILE_NOT_FOUND;
        else if (result == -EILSEQ)
                s = BTH_BLOB_STATUS_FILE_NAME_INVALID;
        else if (result == -ENAMETOOLONG)
                s = BTH_BLOB_STATUS_FILE_NAME_TOO_LONG;
        else if (result < 0 || status == MED_NTFS_IS_DAMAGED)
                s = BTH_BLOB_STATUS_IO_FAILED;
        else if (status != MED_NTFS_OK)
                s = BTH_BLOB_STATUS_FILE_ACCESS_DENIED;
        else
                return NULL;
        return bth_blob_status_to_string(s);
}

/* A file whose record was read, or why it could not be. */
struct opened {
        struct med_ntfs_file *file;
        size_t item;
        uint64_t record;
        bool done;
        int result;
};

static void open_item(struct check *c, const struct item *item, struct opened *o)
{
        o->done = true;
        o->result = item->found_result;
        if (o->result == 0)
                o->result = med_ntfs_file_open(c->o->volume, item->found.reference, &o->file);
}

static int read_item(struct check *c, const struct item *item, struct opened *o)
{
        const char *why;

        if (!o->done)
                open_item(c, item, o);
        if (drive_is_gone(o->result))
                return o->result;
        why = unreadable(o->result, o->file ? o->file->status : item->found.status);
        if (why)
                return note_fault(c, item, NO_RANGE, why, false, o->result, 0);
        return item->part == CTL_CHECK_FILE ? read_blob(c, item, o->file)
                                            : read_sidecar(c, item, o->file);
}

static int by_record(const void *pa, const void *pb)
{
        const struct opened *a = pa, *b = pb;

        return a->record > b->record ? 1 : a->record < b->record ? -1 : 0;
}

static int by_item(const void *pa, const void *pb)
{
        const struct opened *a = pa, *b = pb;

        return a->item > b->item ? 1 : a->item < b->item ? -1 : 0;
}

/* Files that follow each other on the disk need not do so in the file table; so the records of many
 * are read in the order of the table, before the files are in that of the disk. */
static int read_group(struct check *c, size_t first, size_t n, struct opened *group)
{
        size_t runs = 0;
        int r = 0;

        for (size_t i = 0; i < n; i++) {
                const struct item *item = &c->batch.items[first + i];

                group[i] =
                        (struct opened){ .item = first + i,
                                         .record = item->found.reference & MED_NTFS_RECORD_MASK };
        }
        qsort(group, n, sizeof *group, by_record);
        for (size_t i = 0; i < n && runs < GROUP_RUNS; i++) {
                open_item(c, &c->batch.items[group[i].item], &group[i]);
                runs += group[i].file ? group[i].file->runs.allocated : 0;
        }
        qsort(group, n, sizeof *group, by_item);
        for (size_t i = 0; i < n; i++) {
                if (r == 0)
                        r = read_item(c, &c->batch.items[group[i].item], &group[i]);
                if (group[i].file)
                        (void)bth_source_free(&group[i].file->source);
        }
        return r;
}

static int read_batch(struct check *c)
{
        _cleanup_free_ struct opened *group = calloc(GROUP_FILES, sizeof *group);
        int r = group ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && i < c->batch.n; i += GROUP_FILES)
                r = read_group(c, i, MIN(c->batch.n - i, (size_t)GROUP_FILES), group);
        return r < 0 ? r : fetch_all(c);
}

static void *reader_main(void *userdata)
{
        struct check *c = userdata;
        const int r = read_batch(c);

        pthread_mutex_lock(&c->lock);
        if (r == 0 && c->filling->n_pieces > 0)
                c->n_filled++;
        c->reader_result = r;
        c->ended = true;
        pthread_cond_broadcast(&c->changed);
        pthread_mutex_unlock(&c->lock);
        return NULL;
}

/* ---- the hasher ---- */

/* One sentence for people. `detail` says it better than the status does, or is "". */
static void describe(const struct piece *p, const struct ctl_check_fault *f, const char *detail,
                     char out[SENTENCE_MAX])
{
        const uint64_t end = f->offset_bytes + f->length_bytes;
        const bool length =
                bth_streq(f->status, "FileLonger") || bth_streq(f->status, "FileUnexpectedEnd");

        if (f->part == CTL_CHECK_RANGE && !length)
                (void)snprintf(out, SENTENCE_MAX, "bytes %" PRIu64 " to %" PRIu64 " of '%.200s' %s",
                               f->offset_bytes, end, f->file_path,
                               detail[0] ? detail : "cannot be read");
        else if (length)
                (void)snprintf(out, SENTENCE_MAX,
                               "'%.200s' has %" PRIu64 " bytes, the manifest says %" PRIu64,
                               f->file_path, p->file_bytes,
                               f->part == CTL_CHECK_RANGE ? end : p->item->length_bytes);
        else
                (void)snprintf(out, SENTENCE_MAX, "'%.200s': %s", f->file_path, detail);
}

static void tell(struct check *c, const struct piece *p, const char *status, const char *detail)
{
        const struct item *item = p->item;
        char sentence[SENTENCE_MAX];
        struct ctl_check_fault f = {
                .part = item->part,
                .status = status,
                .warning = p->warning,
                .line = item->line,
                .blob_path = item->blob_path,
                .snapshot = item->snapshot,
                .file_path = item->file_path,
                .sentence = sentence,
        };

        if (item->part == CTL_CHECK_FILE && p->range != NO_RANGE) {
                f.part = CTL_CHECK_RANGE;
                f.line = item->ranges[p->range].line;
                f.offset_bytes = item->ranges[p->range].offset_bytes;
                f.length_bytes = item->ranges[p->range].length_bytes;
        }
        describe(p, &f, detail, sentence);
        if (f.warning)
                c->result->n_warnings++;
        else
                c->result->n_faults++;
        c->o->fault(c->o->userdata, &f);
}

/* A fault that the reader met: the drive's own words where it has some. */
static void tell_read_fault(struct check *c, const struct piece *p)
{
        const enum bth_blob_status s = bth_blob_status_from_string(p->status);
        char detail[128];

        if (p->result < 0 && p->result != -ENOENT)
                (void)snprintf(detail, sizeof detail, "cannot be read: %s",
                               bth_strerror(p->result));
        else
                (void)snprintf(detail, sizeof detail, "%s",
                               s >= 0 ? bth_blob_status_sentence(s) : "");
        tell(c, p, p->status, detail);
}

static void compare(struct check *c, const struct piece *p, const struct cry_md5 *md5)
{
        const uint8_t *want = p->range == NO_RANGE ? p->item->md5 : p->item->ranges[p->range].md5;
        char is[2 * BTH_MD5_BYTES + 1], should[2 * BTH_MD5_BYTES + 1], detail[128];
        uint8_t hash[BTH_MD5_BYTES];

        cry_md5_finish(md5, hash);
        if (memcmp(hash, want, sizeof hash) == 0)
                return;
        (void)snprintf(detail, sizeof detail, "%s MD5 %s, the manifest says %s",
                       p->range == NO_RANGE ? "it has" : "have",
                       bth_hex_encode(hash, sizeof hash, is),
                       bth_hex_encode(want, sizeof hash, should));
        tell(c, p, bth_range_status_to_string(BTH_RANGE_STATUS_CORRUPTED), detail);
}

/* Does the service's reader take this file? It is whole in its window. */
static void parse_sidecar(struct check *c, const struct piece *p)
{
        struct bth_error e = BTH_ERROR_INIT;
        int r;

        if (p->item->part == CTL_CHECK_METADATA) {
                struct med_metadata m = { 0 };

                r = med_metadata_parse(p->data, p->n, NULL, &m, &e);
                if (r == 0)
                        med_metadata_clear(&m);
        } else {
                struct med_properties m = { 0 };

                r = med_properties_parse(p->data, p->n, NULL, &m, &e);
                if (r == 0)
                        med_properties_clear(&m);
        }
        if (r < 0)
                tell(c, p, bth_sidecar_status_to_string(BTH_SIDECAR_STATUS_XML_READ_FAILED),
                     e.sentence);
}

static int by_length(const void *pa, const void *pb)
{
        const struct cry_md5_job *a = pa, *b = pb;

        return a->length_bytes > b->length_bytes ? -1 : a->length_bytes < b->length_bytes;
}

static void hash_pieces(struct check *c, const struct window *w)
{
        size_t n = 0;

        for (size_t i = 0; i < w->n_pieces; i++) {
                const struct piece *p = &w->pieces[i];

                if (p->first || p->status)
                        cry_md5_init(&c->md5[i]);
                else
                        c->md5[i] = c->carry; /* only the first of a window goes on */
                if (!p->status)
                        c->jobs[n++] = (struct cry_md5_job){ &c->md5[i], p->data, p->n };
        }
        qsort(c->jobs, n, sizeof *c->jobs, by_length);
        cry_md5_update_many(c->jobs, n);
}

static void judge(struct check *c, const struct window *w)
{
        hash_pieces(c, w);
        for (size_t i = 0; i < w->n_pieces; i++) {
                const struct piece *p = &w->pieces[i];

                if (p->first || p->range == NO_RANGE)
                        c->carry_bad = false;
                if (p->status && !c->carry_bad)
                        tell_read_fault(c, p);
                else if (p->last && !c->carry_bad)
                        compare(c, p, &c->md5[i]);
                if (!p->status && p->item->part != CTL_CHECK_FILE && c->o->parse_sidecars)
                        parse_sidecar(c, p);
                c->carry_bad = p->n > 0 && !p->last && (c->carry_bad || p->status);
                ctl_progress_add(c->o->progress, p->item->part == CTL_CHECK_FILE ? p->n : 0);
        }
        if (w->n_pieces > 0)
                c->carry = c->md5[w->n_pieces - 1];
}

/* Hashes windows as they come, until the reader has ended. Returns its result. */
static int hash_all(struct check *c)
{
        bool more = true;

        while (more) {
                size_t at;

                pthread_mutex_lock(&c->lock);
                while (c->n_hashed == c->n_filled && !c->ended)
                        pthread_cond_wait(&c->changed, &c->lock);
                at = c->n_hashed;
                more = at < c->n_filled;
                pthread_mutex_unlock(&c->lock);
                if (!more)
                        break;
                judge(c, &c->windows[at % WINDOWS]);
                pthread_mutex_lock(&c->lock);
                c->n_hashed++;
                pthread_cond_broadcast(&c->changed);
                pthread_mutex_unlock(&c->lock);
        }
        return c->reader_result;
}

static int sweep(struct check *c)
{
        pthread_t reader;
        int r;

        locate(c);
        c->n_filled = c->n_hashed = 0;
        c->ended = false;
        c->filling = &c->windows[0];
        c->filling->used = c->filling->n_pieces = 0;
        c->n_fetches = 0;
        c->read_end_bytes = 0;
        r = -pthread_create(&reader, NULL, reader_main, c);
        if (r < 0)
                return bth_error_set(c->error, r, BTH_REASON_INTERNAL, "no thread: %s",
                                     bth_strerror(r));
        r = hash_all(c);
        (void)pthread_join(reader, NULL);
        batch_clear(&c->batch);
        c->result->n_batches++;
        if (r == -ENOMEM)
                return bth_error_set(c->error, r, BTH_REASON_OUT_OF_MEMORY, "no memory");
        return r < 0 ? bth_error_set(c->error, r, BTH_REASON_DRIVE_GONE,
                                     "the drive went while its files were read: %s",
                                     bth_strerror(r))
                     : 0;
}

static int allocate(struct check *c)
{
        c->md5 = calloc(PIECES_MAX, sizeof *c->md5);
        c->jobs = calloc(PIECES_MAX, sizeof *c->jobs);
        if (!c->md5 || !c->jobs)
                return -ENOMEM;
        for (size_t i = 0; i < WINDOWS; i++) {
                c->windows[i].bytes = bth_io_buffer_new(c->window_bytes);
                c->windows[i].pieces = calloc(PIECES_MAX, sizeof *c->windows[i].pieces);
                if (!c->windows[i].bytes || !c->windows[i].pieces)
                        return -ENOMEM;
        }
        return 0;
}

static int check_all(struct check *c, struct med_manifest_reader *reader)
{
        const size_t batch_bytes = c->o->batch_bytes ? c->o->batch_bytes : BATCH_BYTES;
        const struct med_manifest_blob *blob;
        int r;

        while ((r = med_manifest_next(reader, &blob, c->error)) > 0) {
                r = add_blob(c, blob);
                if (r < 0)
                        return bth_error_set(c->error, r, BTH_REASON_OUT_OF_MEMORY, "no memory");
                if (c->batch.bytes >= batch_bytes) {
                        r = sweep(c);
                        if (r < 0)
                                return r;
                }
        }
        return r == 0 && c->batch.n > 0 ? sweep(c) : r;
}

int ctl_check_run(const struct ctl_check_options *options, struct ctl_check_result *ret_result,
                  struct bth_error *error)
{
        _cleanup_(med_manifest_reader_freep) struct med_manifest_reader *reader = NULL;
        struct med_manifest_options reading = *options->reading;
        struct check c = {
                .o = options,
                .result = ret_result,
                .error = error,
                .window_bytes = options->window_bytes ? options->window_bytes : WINDOW_BYTES,
                .last_list = MED_MANIFEST_NO_LIST,
                .lock = PTHREAD_MUTEX_INITIALIZER,
                .changed = PTHREAD_COND_INITIALIZER,
        };
        int r = allocate(&c);

        *ret_result = (struct ctl_check_result){ 0 };
        reading.findings = NULL;
        reading.find_doubles = false;
        reading.job_blobs = NULL;
        if (r == 0)
                r = med_manifest_reader_new(options->manifest, &reading, options->summary, &reader);
        if (r < 0)
                r = bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY, "no memory");
        else
                r = check_all(&c, reader);
        batch_clear(&c.batch);
        for (size_t i = 0; i < WINDOWS; i++) {
                free(c.windows[i].bytes);
                free(c.windows[i].pieces);
        }
        free(c.md5);
        free(c.jobs);
        free(c.fetches);
        free(c.reads);
        free(c.first_fetch);
        return r;
}

/* ---- as a finding ---- */

/* "FileNotFound" -> "file-not-found", "IOFailed" -> "io-failed". */
static void kebab(const char *status, char *out, size_t n)
{
        size_t k = 0;

        for (size_t i = 0; status[i] && k + 2 < n; i++) {
                if (i > 0 && isupper((unsigned char)status[i]) &&
                    !isupper((unsigned char)status[i - 1]))
                        out[k++] = '-';
                else if (i > 0 && isupper((unsigned char)status[i]) &&
                         islower((unsigned char)status[i + 1]))
                        out[k++] = '-';
                out[k++] = (char)tolower((unsigned char)status[i]);
        }
        out[k] = '\0';
}

void ctl_check_find(const struct med_findings *to, const struct ctl_check_fault *fault,
                    const char *advice)
{
        static const char *const prefix[] = {
                [CTL_CHECK_FILE] = "",
                [CTL_CHECK_RANGE] = "range-",
                [CTL_CHECK_METADATA] = "metadata-",
                [CTL_CHECK_PROPERTIES] = "properties-",
        };
        char name[KEBAB_NAME_MAX];
        const size_t n = strlen(prefix[fault->part]);

        memcpy(name, prefix[fault->part], n);
        kebab(fault->status, name + n, sizeof name - n);
        med_find(to, fault->warning ? MED_SEVERITY_WARNING : MED_SEVERITY_ERROR, name, fault->line,
                 fault->blob_path, advice, "%s", fault->sentence);
}
