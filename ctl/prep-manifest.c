/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/prep-manifest.h"

#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/time.h"
#include "media/manifest-spool.h"
#include "media/manifest.h"
#include "media/ntfs_scan.h"
#include "media/sidecar.h"

#define CREATOR     "Berth " BERTH_VERSION
#define COPY_BYTES  ((size_t)1 << 20)
#define INDEX_BYTES ((size_t)8 << 30) /* the index of a drive's files lives for one look-up */
#define ID_CHARS    28                /* "MD5/" and the base64 of the hash */

struct build {
        const struct ctl_manifest_input *in;
        struct med_manifest_writer *writer;
        int fd;
        uint64_t at, n_blobs;
        bool in_list;
};

static int write_piece(void *userdata, const void *data, size_t n)
{
        struct build *b = userdata;
        int r = bth_pwrite_full(b->fd, data, n, b->at);

        b->at += n;
        return r;
}

/* -- the lists that the drive had
 * -------------------------------------------------------------------- */

static bool is_of_session(const struct build *b, const char *list_id)
{
        const size_t n = strlen(b->in->session->id);

        return list_id && strncmp(list_id, b->in->session->id, n) == 0 && list_id[n] == '-' &&
               strspn(list_id + n + 1, "0123456789") == strlen(list_id + n + 1);
}

static int end_list(struct build *b, struct bth_error *error)
{
        const bool open = b->in_list;

        b->in_list = false;
        return open ? med_manifest_writer_end_list(b->writer, error) : 0;
}

static int carry_over(struct build *b, struct med_manifest_reader *reader, struct bth_error *error)
{
        const struct med_manifest_blob *blob;
        const struct med_manifest_list *list = NULL;
        uint64_t index = UINT64_MAX - 1; /* of no list */
        int r;

        while ((r = med_manifest_next(reader, &blob, error)) > 0) {
                list = blob->list;
                if (is_of_session(b, list->id))
                        continue;
                if (list->index != index) {
                        r = end_list(b, error);
                        if (r == 0)
                                r = med_manifest_writer_begin_list(b->writer, list->id,
                                                                   &list->metadata,
                                                                   &list->properties, error);
                        if (r < 0)
                                return r;
                        index = list->index;
                        b->in_list = true;
                }
                r = med_manifest_writer_blob(b->writer, blob, error);
                if (r < 0)
                        return r;
                b->n_blobs++;
        }
        return r < 0 ? r : end_list(b, error);
}

static int read_old(struct build *b, struct bth_source *content, struct bth_error *error)
{
        _cleanup_(med_manifest_summary_freep) struct med_manifest_summary *summary = NULL;
        _cleanup_(med_manifest_reader_freep) struct med_manifest_reader *reader = NULL;
        const struct med_manifest_options options = { .object = CTL_MANIFEST_PATH,
                                                      .direction = MED_MANIFEST_IMPORT,
                                                      .drive_serial = b->in->serial };
        enum bth_drive_status status;
        int r = med_manifest_validate(content, &options, &summary, &status, error);

        if (r == 0)
                r = med_manifest_reader_new(content, &options, summary, &reader);
        return r < 0 ? r : carry_over(b, reader, error);
}

/* The drive's file, opened with our own reader. Returns 0, -ENOENT when there is none, other
 * negative errno. */
static int open_old(const struct ctl_volume *v, struct med_ntfs_volume **ret_ntfs,
                    struct med_ntfs_file **ret_file, struct bth_error *error)
{
        _cleanup_(med_ntfs_closep) struct med_ntfs_volume *ntfs = NULL;
        _cleanup_(med_ntfs_index_freep) struct med_ntfs_index *index = NULL;
        struct med_ntfs_found found;
        int r = med_ntfs_open(v->drive->plain, &ntfs, error);

        if (r == 0)
                r = med_ntfs_scan(ntfs, INDEX_BYTES, &index, error);
        if (r < 0)
                return r;
        r = med_ntfs_index_find(index, CTL_MANIFEST_PATH, &found);
        if (r == 0)
                r = med_ntfs_file_open(ntfs, found.reference, ret_file);
        if (r < 0)
                return r == -ENOENT ? r
                                    : bth_error_set(error, r, BTH_REASON_NTFS_DAMAGED,
                                                    "the drive's manifest cannot be opened: %s",
                                                    bth_strerror(r));
        *ret_ntfs = take_ptr(ntfs);
        return 0;
}

static int spool_old(struct build *b, struct bth_source *file,
                     struct med_manifest_spool **ret_spool, struct bth_error *error)
{
        int r = -EBADMSG;

        for (size_t i = 0; i < ARRAY_SIZE(b->in->old_hashes) && r == -EBADMSG; i++) {
                const struct med_manifest_spool_options options = { .object = CTL_MANIFEST_PATH,
                                                                    .hash = b->in->old_hashes[i],
                                                                    .fd = BTH_FD_NONE };

                if (!options.hash)
                        continue;
                bth_error_clear(error);
                r = med_manifest_spool_new(file, &options, ret_spool, NULL, error);
        }
        return r;
}

static int add_old(struct build *b, struct bth_error *error)
{
        _cleanup_(med_manifest_spool_freep) struct med_manifest_spool *spool = NULL;
        struct med_ntfs_volume *ntfs = NULL;
        struct med_ntfs_file *file = NULL;
        int r = open_old(b->in->volume, &ntfs, &file, error);

        if (r == -ENOENT)
                return !b->in->old_hashes[0]
                               ? 0
                               : bth_error_set(
                                         error, -EBADMSG, BTH_REASON_NOT_A_MANIFEST,
                                         "the journal knows a manifest, and the drive has none");
        if (r == 0 && !b->in->old_hashes[0] && !b->in->old_hashes[1]) {
                r = bth_error_set(error, -EEXIST, BTH_REASON_USAGE,
                                  "the drive has a manifest that this journal does not know");
                bth_error_advise(
                        error,
                        "use the journal it was made with, or remove the file from the drive");
        }
        if (r == 0)
                r = spool_old(b, &file->source, &spool, error);
        if (file)
                (void)bth_source_free(&file->source);
        (void)med_ntfs_close(ntfs);
        return r < 0 ? r : read_old(b, med_manifest_spool_source(spool), error);
}

/* -- the session's own lists
 * ------------------------------------------------------------------------- */

/* Ranges and ids of one file: each block has its hash, and an id made from it. */
static int cut(const struct ctl_session *s, const struct ctl_item *item, const uint8_t *hashes,
               struct med_manifest_range **ret_ranges, char **ret_ids)
{
        const size_t n = ctl_item_blocks(s, item);
        const uint64_t block = ctl_item_block_bytes(s, item);
        struct med_manifest_range *ranges = calloc(MAX(n, (size_t)1), sizeof *ranges);
        char *ids = malloc(n * (ID_CHARS + 1) + 1);

        if (!ranges || !ids) {
                free(ranges);
                free(ids);
                return -ENOMEM;
        }
        for (size_t i = 0; i < n; i++) {
                ranges[i].offset_bytes = i * block;
                ranges[i].length_bytes = MIN(block, item->size_bytes - i * block);
                memcpy(ranges[i].md5, hashes + i * BTH_MD5_BYTES, BTH_MD5_BYTES);
                ranges[i].id = item->page ? MED_MANIFEST_NO_ID : (uint32_t)(i * (ID_CHARS + 1));
                memcpy(ids + i * (ID_CHARS + 1), "MD5/", 4);
                bth_base64_encode(ranges[i].md5, BTH_MD5_BYTES, ids + i * (ID_CHARS + 1) + 4);
        }
        *ret_ranges = ranges;
        *ret_ids = ids;
        return 0;
}

char *ctl_item_properties_path(const struct ctl_session *s, size_t item, char out[128])
{
        (void)snprintf(out, 128, "\\%s.sidecars\\blob-%zu.properties.xml", s->id, item);
        return out;
}

int ctl_item_properties(const struct med_properties *row, const uint8_t md5[BTH_MD5_BYTES],
                        struct bth_buf *out)
{
        struct med_properties p = row ? *row : (struct med_properties){ 0 };
        char text[BTH_BASE64_LENGTH(BTH_MD5_BYTES) + 1];

        p.values[MED_PROPERTY_CONTENT_MD5] = bth_base64_encode(md5, BTH_MD5_BYTES, text);
        return med_properties_write(out, &p);
}

static int add_item(struct build *b, size_t index, const struct med_properties *row_properties,
                    struct bth_error *error)
{
        const struct ctl_session *s = b->in->session;
        const struct ctl_item *item = &s->items.items[index];
        const struct ctl_session_row *row = &s->rows[item->row];
        const uint8_t *hashes = b->in->copied->hashes[index];
        _cleanup_free_ struct med_manifest_range *ranges = NULL;
        _cleanup_buf_ struct bth_buf properties = BTH_BUF_INIT;
        _cleanup_free_ char *ids = NULL;
        struct med_manifest_blob blob = {
                .blob_path = item->blob_path,
                .file_path = item->file_path,
                .length_bytes = item->size_bytes,
                .disposition = row->disposition,
                .disposition_given = row->disposition_given,
                .kind = item->page ? MED_MANIFEST_PAGE : MED_MANIFEST_BLOCK,
                .n_ranges = ctl_item_blocks(s, item),
        };
        char path[128];
        int r = cut(s, item, hashes, &ranges, &ids);

        if (r == 0 && s->content_md5) {
                r = ctl_item_properties(row_properties, hashes + blob.n_ranges * BTH_MD5_BYTES,
                                        &properties);
                if (r == 0)
                        r = bth_digest_of(BTH_DIGEST_MD5, properties.data, properties.length,
                                          blob.properties.md5);
                blob.properties.path = ctl_item_properties_path(s, index, path);
        }
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY,
                                     "no memory for the manifest");
        blob.ranges = ranges;
        blob.ids = ids;
        b->n_blobs++;
        return med_manifest_writer_blob(b->writer, &blob, error);
}

static void set_sidecars(const struct ctl_session *s, size_t row, char paths[_CTL_SIDECAR_MAX][128],
                         struct med_manifest_sidecar ret[_CTL_SIDECAR_MAX])
{
        for (int k = 0; k < _CTL_SIDECAR_MAX; k++) {
                ret[k] = (struct med_manifest_sidecar){ 0 };
                if (!s->rows[row].sidecars[k])
                        continue;
                ret[k].path = ctl_sidecar_path(s, row, (enum ctl_sidecar)k, paths[k]);
                memcpy(ret[k].md5, s->rows[row].sidecar_md5[k], BTH_MD5_BYTES);
        }
}

int ctl_row_properties(const struct ctl_session *s, size_t row, struct med_properties *ret,
                       struct bth_error *error)
{
        const char *path = s->rows[row].sidecars[CTL_SIDECAR_PROPERTIES];
        _cleanup_free_ char *text = NULL;
        size_t n;
        int r;

        *ret = (struct med_properties){ 0 };
        if (!path || !s->content_md5)
                return 0;
        r = bth_read_file(path, MED_SIDECAR_MAX_BYTES, &text, &n);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE,
                                     "'%s' cannot be read: %s", path, bth_strerror(r));
        return med_properties_parse(text, n, path, ret, error);
}

static int add_row(struct build *b, size_t row, struct bth_error *error)
{
        const struct ctl_session *s = b->in->session;
        struct med_manifest_sidecar sidecars[_CTL_SIDECAR_MAX];
        char paths[_CTL_SIDECAR_MAX][128], id[64];
        struct med_properties properties;
        int r = ctl_row_properties(s, row, &properties, error);

        if (r < 0)
                return r;
        set_sidecars(s, row, paths, sidecars);
        (void)snprintf(id, sizeof id, "%s-%zu", s->id, row);
        for (size_t i = 0; r == 0 && i < s->items.n_items; i++) {
                const struct ctl_item *item = &s->items.items[i];

                if (item->row != row || item->drive != b->in->drive || !b->in->copied->hashes[i])
                        continue;
                if (!b->in_list) {
                        r = med_manifest_writer_begin_list(
                                b->writer, id, &sidecars[CTL_SIDECAR_METADATA],
                                &sidecars[CTL_SIDECAR_PROPERTIES], error);
                        b->in_list = r == 0;
                }
                if (r == 0)
                        r = add_item(b, i, &properties, error);
        }
        med_properties_clear(&properties);
        return r < 0 ? r : end_list(b, error);
}

/* -- all of it
 * ---------------------------------------------------------------------------------------- */

static int build(struct build *b, struct ctl_manifest *ret, struct bth_error *error)
{
        const struct med_manifest_header header = { .drive_id = (char *)(uintptr_t)b->in->serial,
                                                    .client_creator = (char *)(uintptr_t)CREATOR };
        uint8_t md5[BTH_MD5_BYTES];
        int r = med_manifest_writer_new(&header, MED_MANIFEST_IMPORT, write_piece, b, &b->writer,
                                        error);

        if (r == 0)
                r = add_old(b, error);
        for (size_t row = 0; r == 0 && row < b->in->session->n_rows; row++)
                r = add_row(b, row, error);
        if (r == 0 && b->n_blobs == 0) { /* a manifest without any list is none */
                char id[64];

                (void)snprintf(id, sizeof id, "%s-0", b->in->session->id);
                r = med_manifest_writer_begin_list(b->writer, id, NULL, NULL, error);
                if (r == 0)
                        r = med_manifest_writer_end_list(b->writer, error);
        }
        if (r == 0)
                r = med_manifest_writer_end(b->writer, &ret->length_bytes, md5, NULL, error);
        if (r < 0)
                return r;
        bth_hex_encode(md5, sizeof md5, ret->md5);
        ret->n_blobs = b->n_blobs;
        return 0;
}

int ctl_manifest_build(const struct ctl_manifest_input *in, struct ctl_manifest *ret,
                       struct bth_error *error)
{
        struct build b = { .in = in, .fd = BTH_FD_NONE };
        int r = bth_open_unlinked(NULL, &b.fd);

        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                                     "there is no place to put the manifest together: %s",
                                     bth_strerror(r));
        *ret = (struct ctl_manifest){ .fd = b.fd };
        r = build(&b, ret, error);
        (void)med_manifest_writer_free(b.writer);
        if (r < 0) {
                if (error && error->code == 0)
                        (void)bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                                            "the manifest cannot be put together: %s",
                                            bth_strerror(r));
                ctl_manifest_clear(ret);
        }
        return r;
}

void ctl_manifest_clear(struct ctl_manifest *m)
{
        if (m->fd > 0)
                (void)bth_close(m->fd);
        *m = (struct ctl_manifest){ .fd = BTH_FD_NONE };
}

static int copy_in(const struct ctl_manifest *m, struct ctl_volume *v,
                   const struct med_ntfs_extent *extents, size_t n_extents)
{
        _cleanup_free_ uint8_t *buffer = bth_io_buffer_new(COPY_BYTES);
        const uint64_t room = ctl_extents_bytes(extents, n_extents);
        int r = buffer ? 0 : -ENOMEM;

        for (uint64_t at = 0; r == 0 && at < m->length_bytes; at += COPY_BYTES) {
                const size_t n = (size_t)MIN((uint64_t)COPY_BYTES, m->length_bytes - at);
                const size_t whole = (size_t)MIN((n + 4095) / 4096 * 4096, room - at);

                memset(buffer + n, 0, whole - n);
                r = bth_pread_full(m->fd, buffer, n, at);
                if (r == 0)
                        r = ctl_extents_write(v->seal, extents, n_extents, at, buffer, whole);
        }
        return r;
}

int ctl_manifest_put(const struct ctl_manifest *m, struct ctl_volume *v, struct bth_error *error)
{
        const uint64_t now = bth_filetime_from_usec(bth_now_realtime_usec());
        _cleanup_free_ struct med_ntfs_extent *extents = NULL;
        uint8_t small[MED_NTFS_SMALL_BYTES];
        struct med_ntfs_new_file f = { .path = CTL_MANIFEST_NEXT_PATH,
                                       .size_bytes = m->length_bytes,
                                       .created = now,
                                       .modified = now };
        size_t n = 0;
        int r = 0;

        if (m->length_bytes <= sizeof small) {
                r = bth_pread_full(m->fd, small, (size_t)m->length_bytes, 0);
                f.content = small;
        }
        if (r == 0) {
                r = med_ntfs_writer_create(v->writer, &f, &extents, &n, error);
                if (r < 0)
                        return r;
                r = n > 0 ? copy_in(m, v, extents, n) : 0;
        }
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_DRIVE_WRITE_ERROR,
                                     "the manifest cannot be written: %s", bth_strerror(r));
        /* The old one goes last, so that no new byte lies where its bytes are before the
         * checkpoint. */
        r = med_ntfs_writer_exists(v->writer, CTL_MANIFEST_PATH, error);
        if (r > 0)
                r = med_ntfs_writer_remove(v->writer, CTL_MANIFEST_PATH, error);
        return r < 0 ? r
                     : med_ntfs_writer_rename(v->writer, CTL_MANIFEST_NEXT_PATH, CTL_MANIFEST_PATH,
                                              error);
}
