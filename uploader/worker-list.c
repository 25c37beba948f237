/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker-list - joining, spooling, sorting. */
#include "uploader/worker-list.h"

#include <string.h>

#include "base/checked.h"
#include "base/io.h"
#include "base/str.h"
#include "media/naming.h"

#define WRITE_BYTES ((size_t)1 << 20)
#define READ_BYTES  ((size_t)16 << 10) /* holds some fifty records of small files */

/* A record of the spool: this, the ranges, then the texts, each with its NUL; -> `total` bytes. */
struct record {
        uint64_t total;
        uint64_t index, line, length_bytes, reference, file_bytes;
        uint64_t n_ranges;
        uint32_t blob_path, file_path, metadata_path, properties_path, ids; /* bytes; 0: none */
        uint8_t disposition, kind, status;
        bool disposition_given, azure_file, metadata_global, properties_global;
        uint8_t metadata_md5[BTH_MD5_BYTES], properties_md5[BTH_MD5_BYTES];
};

struct place {
        uint64_t disk, record;
};

struct upl_list {
        int fd;
        struct place *places;
        size_t n, allocated, next;
        struct bth_buf pending; /* of the spool, not yet written */
        uint64_t written;
        char *window; /* READ_BYTES of the spool, read last */
        uint64_t window_at;
        size_t window_bytes;
};

struct upl_listed *upl_listed_free(struct upl_listed *l)
{
        free(l);
        return NULL;
}

struct upl_list *upl_list_free(struct upl_list *l)
{
        if (!l)
                return NULL;
        (void)bth_close(l->fd);
        free(l->places);
        free(l->window);
        bth_buf_clear(&l->pending);
        free(l);
        return NULL;
}

uint64_t upl_list_count(const struct upl_list *l)
{
        return l->n;
}

/* --- joining --- */

static enum bth_blob_status status_of_path(int r)
{
        switch (r) {
        case 0:
                return BTH_BLOB_STATUS_COMPLETED;
        case -ENAMETOOLONG:
                return BTH_BLOB_STATUS_FILE_NAME_TOO_LONG;
        case -ENOENT:
                return BTH_BLOB_STATUS_FILE_NOT_FOUND;
        default:
                return BTH_BLOB_STATUS_FILE_NAME_INVALID;
        }
}

/* What Windows would say to who opens such a file, which is what the service does. */
static enum bth_blob_status status_of_file(enum med_ntfs_status s)
{
        switch (s) {
        case MED_NTFS_OK:
        case MED_NTFS_IS_COMPRESSED: /* reading says whether it can be read */
                return BTH_BLOB_STATUS_COMPLETED;
        case MED_NTFS_IS_DAMAGED:
                return BTH_BLOB_STATUS_IO_FAILED;
        default:
                return BTH_BLOB_STATUS_FILE_ACCESS_DENIED;
        }
}

static void join(const struct med_ntfs_index *index, const struct med_manifest_blob *b,
                 struct record *record, uint64_t *ret_place)
{
        struct med_ntfs_found found;
        int r = med_check_file_path(b->file_path, NULL);

        *ret_place = 0;
        if (r == 0)
                r = med_ntfs_index_find(index, b->file_path, &found);
        record->status = (uint8_t)status_of_path(r);
        if (r < 0)
                return;
        record->status = (uint8_t)status_of_file(found.status);
        record->reference = found.reference;
        record->file_bytes = found.size_bytes;
        if (found.first_offset_bytes != MED_NTFS_HOLE)
                *ret_place = found.first_offset_bytes;
}

/* --- spooling --- */

static uint32_t text_bytes(const char *text)
{
        return text ? (uint32_t)strlen(text) + 1 : 0;
}

/* Block ids lie one behind the other; the last one's end is the end. */
static uint32_t ids_bytes(const struct med_manifest_blob *b)
{
        uint32_t end = 0;

        for (size_t i = 0; i < b->n_ranges; i++) {
                const char *id = med_manifest_range_id(b, i);

                if (id)
                        end = MAX(end, b->ranges[i].id + text_bytes(id));
        }
        return end;
}

static void take_sidecars(const struct med_manifest_blob *b, struct record *record,
                          const struct med_manifest_sidecar **ret_metadata,
                          const struct med_manifest_sidecar **ret_properties)
{
        *ret_metadata = med_manifest_metadata(b);
        *ret_properties = med_manifest_properties(b);
        record->metadata_path = text_bytes((*ret_metadata)->path);
        record->properties_path = text_bytes((*ret_properties)->path);
        record->metadata_global = *ret_metadata != &b->metadata;
        record->properties_global = *ret_properties != &b->properties;
        memcpy(record->metadata_md5, (*ret_metadata)->md5, BTH_MD5_BYTES);
        memcpy(record->properties_md5, (*ret_properties)->md5, BTH_MD5_BYTES);
}

static int flush(struct upl_list *l)
{
        int r = bth_pwrite_full(l->fd, l->pending.data, l->pending.length, l->written);

        if (r == 0) {
                l->written += l->pending.length;
                l->pending.length = 0;
        }
        return r;
}

static int add_text(struct upl_list *l, const char *text)
{
        return text ? bth_buf_add(&l->pending, text, strlen(text) + 1) : 0;
}

static int add_place(struct upl_list *l, uint64_t disk)
{
        if (l->n == l->allocated) {
                size_t more = l->allocated ? l->allocated + l->allocated / 2 : 1024;
                struct place *p = reallocarray(l->places, more, sizeof *p);

                if (!p)
                        return -ENOMEM;
                l->places = p;
                l->allocated = more;
        }
        l->places[l->n++] = (struct place){ disk, l->written + l->pending.length };
        return 0;
}

static int add_blob(struct upl_list *l, const struct med_ntfs_index *index,
                    const struct med_manifest_blob *b)
{
        const struct med_manifest_sidecar *metadata, *properties;
        struct record record = {
                .index = b->index,
                .line = b->line,
                .length_bytes = b->length_bytes,
                .n_ranges = b->n_ranges,
                .blob_path = text_bytes(b->blob_path),
                .file_path = text_bytes(b->file_path),
                .ids = ids_bytes(b),
                .disposition = (uint8_t)b->disposition,
                .kind = (uint8_t)b->kind,
                .disposition_given = b->disposition_given,
                .azure_file = b->azure_file,
        };
        uint64_t disk;
        int r;

        join(index, b, &record, &disk);
        if (b->n_errors > 0 || b->azure_file)
                record.status = BTH_BLOB_STATUS_FAILED;
        take_sidecars(b, &record, &metadata, &properties);
        record.total = sizeof record + record.n_ranges * sizeof *b->ranges + record.blob_path +
                       record.file_path + record.metadata_path + record.properties_path +
                       record.ids;
        r = add_place(l, disk);
        if (r == 0)
                r = bth_buf_add(&l->pending, &record, sizeof record);
        if (r == 0 && b->n_ranges > 0)
                r = bth_buf_add(&l->pending, b->ranges, b->n_ranges * sizeof *b->ranges);
        if (r == 0)
                r = add_text(l, b->blob_path);
        if (r == 0)
                r = add_text(l, b->file_path);
        if (r == 0)
                r = add_text(l, metadata->path);
        if (r == 0)
                r = add_text(l, properties->path);
        if (r == 0 && record.ids > 0)
                r = bth_buf_add(&l->pending, b->ids, record.ids);
        if (r == 0 && l->pending.length >= WRITE_BYTES)
                r = flush(l);
        return r;
}

static int compare_places(const void *a, const void *b)
{
        const struct place *x = a, *y = b;

        if (x->disk != y->disk)
                return x->disk < y->disk ? -1 : 1;
        return x->record < y->record ? -1 : x->record > y->record;
}

static int fill(struct upl_list *l, struct med_manifest_reader *reader,
                const struct med_ntfs_index *index, const atomic_bool *stop,
                struct bth_error *error)
{
        const struct med_manifest_blob *blob;
        int r;

        while ((r = med_manifest_next(reader, &blob, error)) > 0) {
                r = atomic_load(stop) ? -ECANCELED : add_blob(l, index, blob);
                if (r < 0)
                        return bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                                             "the list of blobs cannot be kept: %s",
                                             bth_strerror(r));
        }
        if (r == 0)
                r = flush(l);
        return r;
}

int upl_list_new(struct bth_source *source, const struct med_manifest_options *options,
                 const struct med_manifest_summary *summary, const struct med_ntfs_index *index,
                 int spool_fd, const atomic_bool *stop, struct upl_list **ret_list,
                 struct bth_error *error)
{
        _cleanup_(med_manifest_reader_freep) struct med_manifest_reader *reader = NULL;
        _cleanup_(upl_list_freep) struct upl_list *l = calloc(1, sizeof *l);
        int r;

        if (!l) {
                (void)bth_close(spool_fd);
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory");
        }
        l->fd = spool_fd;
        r = med_manifest_reader_new(source, options, summary, &reader);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY, "no memory");
        r = fill(l, reader, index, stop, error);
        if (r < 0)
                return r;
        bth_buf_clear(&l->pending);
        if (l->n > 0)
                qsort(l->places, l->n, sizeof *l->places, compare_places);
        *ret_list = take_ptr(l);
        return 0;
}

/* --- reading back --- */

static const char *take_text(const char **at, uint32_t bytes)
{
        const char *text = bytes > 0 ? *at : NULL;

        *at += bytes;
        return text;
}

static void open_record(struct upl_listed *l, const struct record *record)
{
        const struct med_manifest_range *ranges = (const void *)(record + 1);
        const char *at = (const char *)(ranges + record->n_ranges);

        l->blob.index = record->index;
        l->blob.line = record->line;
        l->blob.length_bytes = record->length_bytes;
        l->blob.disposition = (enum bth_disposition)record->disposition;
        l->blob.disposition_given = record->disposition_given;
        l->blob.azure_file = record->azure_file;
        l->blob.kind = (enum med_manifest_kind)record->kind;
        l->blob.ranges = ranges;
        l->blob.n_ranges = (size_t)record->n_ranges;
        l->blob.blob_path = take_text(&at, record->blob_path);
        l->blob.file_path = take_text(&at, record->file_path);
        l->blob.metadata.path = take_text(&at, record->metadata_path);
        l->blob.properties.path = take_text(&at, record->properties_path);
        l->blob.ids = take_text(&at, record->ids);
        memcpy(l->blob.metadata.md5, record->metadata_md5, BTH_MD5_BYTES);
        memcpy(l->blob.properties.md5, record->properties_md5, BTH_MD5_BYTES);
        l->metadata_global = record->metadata_global;
        l->properties_global = record->properties_global;
        l->status = (enum bth_blob_status)record->status;
        l->reference = record->reference;
        l->file_bytes = record->file_bytes;
}

/* Bytes of the spool. Manifests often name files in the order in which they lie on the disk: what
 * is behind a record is then wanted next. */
static int read_spool(struct upl_list *l, uint64_t at, void *data, size_t n)
{
        int r;

        if (!bth_range_inside(at, n, l->written))
                return -EBADMSG;
        if (n > READ_BYTES)
                return bth_pread_full(l->fd, data, n, at);
        if (at < l->window_at || !bth_range_inside(at - l->window_at, n, l->window_bytes)) {
                size_t most = (size_t)MIN(l->written - at, (uint64_t)READ_BYTES);

                if (!l->window)
                        l->window = malloc(READ_BYTES);
                if (!l->window)
                        return -ENOMEM;
                l->window_bytes = 0;
                r = bth_pread_full(l->fd, l->window, most, at);
                if (r < 0)
                        return r;
                l->window_at = at;
                l->window_bytes = most;
        }
        memcpy(data, l->window + (at - l->window_at), n);
        return 0;
}

int upl_list_next(struct upl_list *l, struct upl_listed **ret_listed)
{
        _cleanup_(upl_listed_freep) struct upl_listed *listed = NULL;
        struct record *inside;
        uint64_t at, total;
        int r;

        if (l->next == l->n)
                return 0;
        at = l->places[l->next].record;
        r = read_spool(l, at, &total, sizeof total);
        if (r < 0)
                return r;
        listed = calloc(1, sizeof *listed + (size_t)total);
        if (!listed)
                return -ENOMEM;
        inside = (struct record *)(listed + 1);
        r = read_spool(l, at, inside, (size_t)total);
        if (r < 0)
                return r;
        open_record(listed, inside);
        l->next++;
        *ret_listed = take_ptr(listed);
        return 1;
}
