/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/prep-skipwrite.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "crypto/md5multi.h"
#include "ctl/arena.h"
#include "ctl/prep-drive.h"
#include "ctl/prep-manifest.h"
#include "media/naming.h"

#define INDEX_BYTES ((size_t)4 << 30)
#define SLICE_BYTES ((size_t)4 << 20)
#define BATCH_FILES 256u
#define BATCH_BYTES (UINT64_C(4) << 30) /* hashed between two notes of the record */

/* -- which files
 * -------------------------------------------------------------------------------------- */

struct collect {
        const struct ctl_source_row *row;
        uint32_t row_index;
        const char *base; /* the folder as a path on the drive, "" or "\photos" */
        struct ctl_items *out;
        size_t n_allocated;
        struct bth_error *error;
};

static int refuse(struct collect *c, const char *path, int r, enum bth_reason reason,
                  const char *sentence)
{
        bth_error_at(c->error, path, 0, BTH_ERROR_NO_OFFSET);
        return bth_error_set(c->error, r, reason, "%s", sentence);
}

/* What berth-prep and Windows put on a drive for themselves. */
static bool is_own(const char *path)
{
        const char *rest = strchr(path + 1, '\\');
        const size_t n = rest ? (size_t)(rest - path) : strlen(path);
        char top[300];

        (void)snprintf(top, sizeof top, "%.*s", (int)MIN(n, sizeof top - 1), path);
        return bth_ascii_casecmp(top, CTL_MANIFEST_PATH) == 0 ||
               bth_ascii_casecmp(top, "\\$RECYCLE.BIN") == 0 ||
               bth_ascii_casecmp(top, "\\System Volume Information") == 0 ||
               bth_ends_with(top, ".sidecars");
}

static int check_status(struct collect *c, const char *path, enum med_ntfs_status status)
{
        switch (status) {
        case MED_NTFS_IS_ENCRYPTED:
                return refuse(
                        c, path, -EACCES, BTH_REASON_UNSUPPORTED,
                        "it is encrypted by Windows (EFS), and the data centre could not read it");
        case MED_NTFS_IS_REPARSE:
        case MED_NTFS_IS_OFFLINE:
                return refuse(c, path, -EACCES, BTH_REASON_UNSUPPORTED,
                              "it is a link, or its content is kept elsewhere");
        case MED_NTFS_IS_DAMAGED:
                return refuse(c, path, -EBADMSG, BTH_REASON_NTFS_DAMAGED, "its record is damaged");
        default:
                return 0;
        }
}

static bool is_page(const struct ctl_source_row *row, const char *path)
{
        const char *dot = strrchr(path, '.');

        return row->kind == CTL_BLOB_PAGE ||
               (row->kind == CTL_BLOB_AUTO && dot &&
                (bth_ascii_casecmp(dot, ".vhd") == 0 || bth_ascii_casecmp(dot, ".vhdx") == 0));
}

static int add_item(struct collect *c, const char *blob, const char *path, uint64_t size_bytes)
{
        struct ctl_items *out = c->out;
        struct ctl_item *item;
        struct bth_error why = BTH_ERROR_INIT;
        _cleanup_free_ char *container = NULL, *name = NULL;

        if (!bth_utf8_valid(blob, strlen(blob)) ||
            med_blob_path_split(blob, &container, &name) < 0 ||
            med_check_blob_name(container, name, &why) < 0)
                return refuse(c, path, -EINVAL, BTH_REASON_NAME_INVALID,
                              why.code < 0 ? why.sentence : "its name cannot be that of a blob");
        if (is_page(c->row, path) && size_bytes % 512 != 0)
                return refuse(c, path, -EINVAL, BTH_REASON_VALUE_INVALID,
                              "a page blob's size must be a multiple of 512 bytes");
        if (out->n_items == c->n_allocated) {
                const size_t grown = MAX(c->n_allocated * 2, (size_t)256);

                item = reallocarray(out->items, grown, sizeof *item);
                if (!item)
                        return -ENOMEM;
                out->items = item;
                c->n_allocated = grown;
        }
        item = &out->items[out->n_items];
        *item = (struct ctl_item){ .source_path = ctl_arena_string(out->arena, path, strlen(path)),
                                   .blob_path = ctl_arena_string(out->arena, blob, strlen(blob)),
                                   .size_bytes = size_bytes,
                                   .row = c->row_index,
                                   .page = is_page(c->row, path) };
        item->file_path = item->source_path;
        if (!item->source_path || !item->blob_path)
                return -ENOMEM;
        out->n_items++;
        out->total_bytes += size_bytes;
        return 0;
}

/* `below` is "\sub\name" below the row's folder. */
static int visit(void *userdata, const char *below, const struct med_ntfs_found *found)
{
        struct collect *c = userdata;
        _cleanup_free_ char *path = NULL, *blob = NULL;
        int r;

        if (asprintf(&path, "%s%s", c->base, below) < 0 ||
            asprintf(&blob, "%s%s", c->row->destination, below + 1) < 0)
                return -ENOMEM;
        if (is_own(path))
                return 1;
        for (char *p = blob + strlen(c->row->destination); *p; p++)
                if (*p == '\\')
                        *p = '/';
        r = check_status(c, path, found->status);
        if (r < 0 || found->directory)
                return r;
        return add_item(c, blob, path, found->size_bytes);
}

static int collect_row(const struct ctl_drive *d, struct collect *c)
{
        _cleanup_free_ char *path = NULL, *blob = NULL;
        const char *row = c->row->base_path;
        struct med_ntfs_found found;
        size_t n;
        int r;

        if (asprintf(&path, "%s%s", row[0] == '/' || row[0] == '\\' ? "" : "\\", row) < 0)
                return -ENOMEM;
        for (n = 0; path[n]; n++)
                if (path[n] == '/')
                        path[n] = '\\';
        while (n > 0 && path[n - 1] == '\\')
                path[--n] = '\0';
        r = n == 0 ? 0 : med_ntfs_index_find(d->index, path, &found);
        if (r < 0)
                return refuse(c, row, r, BTH_REASON_FILE_UNREADABLE,
                              "the drive has no such file or folder");
        if (n == 0 || found.directory) {
                c->base = path;
                return bth_ends_with(c->row->destination, "/")
                               ? med_ntfs_index_walk(d->index, path, visit, c)
                               : refuse(c, row, -EINVAL, BTH_REASON_VALUE_INVALID,
                                        "a folder's destination must end with '/'");
        }
        if (asprintf(&blob, "%s%s", c->row->destination,
                     bth_ends_with(c->row->destination, "/") ? strrchr(path, '\\') + 1 : "") < 0)
                return -ENOMEM;
        r = check_status(c, path, found.status);
        return r < 0 ? r : add_item(c, blob, path, found.size_bytes);
}

int ctl_skipwrite_collect(const char *path, const struct bth_secret *key,
                          const struct ctl_source_row *rows, size_t n_rows,
                          struct ctl_items *ret_items, struct bth_error *error)
{
        _cleanup_(ctl_drive_closep) struct ctl_drive *d = NULL;
        struct cry_credential credential = { .secret = key };
        struct ctl_items items = { 0 };
        struct collect c = { .out = &items, .error = error };
        int r;

        if (!key)
                return bth_error_set(error, -ENOKEY, BTH_REASON_VALUE_MISSING,
                                     "the key of drive %s is not known", path);
        credential.kind = cry_credential_kind_of_journal_key(key);
        r = ctl_drive_open(path, UPL_DRIVE_FILES, &credential, &d, error);
        if (r == 0)
                r = ctl_arena_new(&items.arena);
        for (size_t i = 0; r == 0 && i < n_rows; i++) {
                c.row = &rows[i];
                c.row_index = (uint32_t)i;
                r = collect_row(d, &c);
        }
        if (r < 0) {
                ctl_items_clear(&items);
                if (error && error->code == 0)
                        (void)bth_error_set(error, r, BTH_REASON_DRIVE_READ_ERROR,
                                            "the files cannot be listed: %s", bth_strerror(r));
                return r;
        }
        *ret_items = items;
        return 0;
}

/* -- their hashes
 * ------------------------------------------------------------------------------------- */

struct place {
        uint64_t first_offset_bytes, reference;
        size_t item;
};

struct hashing {
        struct ctl_copy *copy;
        const struct med_ntfs_volume *ntfs;
        size_t item;
        uint64_t reference;
        uint8_t *hashes;
        size_t n_hashes;
        int result;
};

static int by_place(const void *a, const void *b)
{
        const struct place *x = a, *y = b;

        return x->first_offset_bytes < y->first_offset_bytes
                       ? -1
                       : x->first_offset_bytes > y->first_offset_bytes;
}

static int hash_file(struct hashing *h, struct bth_source *file, uint8_t *scratch)
{
        const struct ctl_session *s = h->copy->session;
        const struct ctl_item *item = &s->items.items[h->item];
        const uint64_t block = ctl_item_block_bytes(s, item);
        struct cry_md5 md5, whole;
        uint8_t *out = h->hashes;

        cry_md5_init(&whole);
        for (uint64_t begin = 0; begin < item->size_bytes; begin += block) {
                const uint64_t end = MIN(begin + block, item->size_bytes);

                cry_md5_init(&md5);
                for (uint64_t at = begin; at < end; at += SLICE_BYTES) {
                        const size_t n = (size_t)MIN((uint64_t)SLICE_BYTES, end - at);
                        int r = bth_source_read(file, at, scratch, n);

                        if (r < 0)
                                return r;
                        cry_md5_update(&md5, scratch, n);
                        if (s->content_md5)
                                cry_md5_update(&whole, scratch, n);
                        ctl_progress_add(h->copy->progress, n);
                }
                cry_md5_finish(&md5, out);
                out += BTH_MD5_BYTES;
        }
        if (s->content_md5)
                cry_md5_finish(&whole, out);
        return 0;
}

static void run_job(void *userdata, void *scratch)
{
        struct hashing *h = userdata;
        const uint64_t size = h->copy->session->items.items[h->item].size_bytes;
        struct med_ntfs_file *file = NULL;

        h->result = scratch ? med_ntfs_file_open(h->ntfs, h->reference, &file) : -ENOMEM;
        if (h->result == 0 && file->source.size_bytes != size)
                h->result = -ESTALE;
        if (h->result == 0)
                h->result = hash_file(h, &file->source, scratch);
        if (file)
                (void)bth_source_free(&file->source);
}

static int settle(struct hashing *h, struct bth_error *error)
{
        struct ctl_copy *c = h->copy;
        const struct ctl_item *item = &c->session->items.items[h->item];
        char sentence[200];
        int r;

        if (h->result == 0) {
                r = ctl_done_add(c->done, h->item, h->hashes, h->n_hashes);
                if (r < 0)
                        return bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                                             "the session's record cannot be written: %s",
                                             bth_strerror(r));
                c->copied->hashes[h->item] = take_ptr(h->hashes);
                return 0;
        }
        if (h->result == -ENODEV || h->result == -ENOMEM)
                return bth_error_set(error, h->result,
                                     h->result == -ENODEV ? BTH_REASON_DRIVE_GONE
                                                          : BTH_REASON_OUT_OF_MEMORY,
                                     "the drive cannot be read: %s", bth_strerror(h->result));
        c->n_failed++;
        (void)snprintf(sentence, sizeof sentence, "%s: %s",
                       h->result == -ESTALE ? "it has changed since the session was planned"
                                            : "it cannot be read",
                       bth_strerror(h->result));
        if (c->failed)
                c->failed(c->userdata, item, sentence);
        return 0;
}

/* Hashes places[0 … n) at once. */
static int run_batch(struct ctl_copy *c, const struct med_ntfs_volume *ntfs,
                     const struct place *places, size_t n, struct bth_error *error)
{
        _cleanup_free_ struct hashing *all = calloc(n, sizeof *all);
        int r = all ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && i < n; i++) {
                const struct ctl_item *item = &c->session->items.items[places[i].item];

                all[i] = (struct hashing){ .copy = c,
                                           .ntfs = ntfs,
                                           .item = places[i].item,
                                           .reference = places[i].reference };
                all[i].n_hashes =
                        ctl_item_blocks(c->session, item) + (c->session->content_md5 ? 1 : 0);
                all[i].hashes = malloc((all[i].n_hashes + 1) * BTH_MD5_BYTES);
                if (all[i].hashes)
                        ctl_pool_submit(c->pool, run_job, &all[i]);
                else
                        r = -ENOMEM;
        }
        ctl_pool_drain(c->pool);
        if (r < 0)
                (void)bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY, "no memory for the hashes");
        for (size_t i = 0; all && i < n; i++) {
                if (r == 0)
                        r = settle(&all[i], error);
                free(all[i].hashes);
        }
        return r < 0 ? r : ctl_copy_checkpoint(c->volume, c->done, error);
}

static int find_places(struct ctl_copy *c, const struct med_ntfs_index *index, struct place **ret,
                       size_t *ret_n)
{
        const struct ctl_items *items = &c->session->items;
        struct place *places = calloc(MAX(items->n_items, (size_t)1), sizeof *places);
        size_t n = 0;

        if (!places)
                return -ENOMEM;
        for (size_t i = 0; i < items->n_items; i++) {
                struct med_ntfs_found found;

                if (items->items[i].drive != c->drive || c->copied->hashes[i])
                        continue;
                if (med_ntfs_index_find(index, items->items[i].file_path, &found) < 0) {
                        c->n_failed++;
                        if (c->failed)
                                c->failed(c->userdata, &items->items[i],
                                          "it is not on the drive any more");
                        continue;
                }
                places[n++] = (struct place){ found.first_offset_bytes, found.reference, i };
        }
        qsort(places, n, sizeof *places, by_place);
        *ret = places;
        *ret_n = n;
        return 0;
}

int ctl_skipwrite_hash(struct ctl_copy *c, struct bth_error *error)
{
        _cleanup_(med_ntfs_closep) struct med_ntfs_volume *ntfs = NULL;
        _cleanup_(med_ntfs_index_freep) struct med_ntfs_index *index = NULL;
        _cleanup_free_ struct place *places = NULL;
        size_t n = 0;
        int r = med_ntfs_open(c->volume->drive->plain, &ntfs, error);

        if (r == 0)
                r = med_ntfs_scan(ntfs, INDEX_BYTES, &index, error);
        if (r < 0)
                return r;
        r = find_places(c, index, &places, &n);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY, "no memory for the files");
        for (size_t i = 0; r == 0 && i < n;) {
                uint64_t bytes = 0;
                size_t take = 0;

                while (i + take < n && take < BATCH_FILES && bytes < BATCH_BYTES)
                        bytes += c->session->items.items[places[i + take++].item].size_bytes;
                r = run_batch(c, ntfs, places + i, take, error);
                i += take;
        }
        return r;
}
