/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker-log - entries of the logs, and the logs as blobs. */
#include "uploader/worker-log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "crypto/md5multi.h"
#include "media/naming.h"
#include "uploader/blob.h"

#define WRITE_BYTES ((size_t)256 << 10)
#define BLOCK_BYTES (UINT64_C(8) << 20)
#define HASH_DIGITS (2 * BTH_MD5_BYTES + 1)

struct log {
        int fd; /* BTH_FD_NONE: not wanted */
        struct med_log_writer *writer;
        struct bth_buf pending;
        uint64_t written;
        struct bth_source *source;
};

struct upl_logs {
        struct log error, verbose;
};

/* --- files --- */

static int flush(struct log *l)
{
        int r = bth_pwrite_full(l->fd, l->pending.data, l->pending.length, l->written);

        if (r == 0) {
                l->written += l->pending.length;
                l->pending.length = 0;
        }
        return r;
}

static int on_write(void *userdata, const void *data, size_t n)
{
        struct log *l = userdata;
        int r = bth_buf_add(&l->pending, data, n);

        return r == 0 && l->pending.length >= WRITE_BYTES ? flush(l) : r;
}

static int begin(struct log *l, const char *drive_id)
{
        return l->fd < 0 ? 0 : med_log_writer_new(MED_LOG_L1, drive_id, on_write, l, &l->writer);
}

static int end(struct log *l, const struct med_log_summary *summary)
{
        int r;

        if (l->fd < 0)
                return 0;
        r = med_log_write_end(l->writer, summary);
        if (r == 0)
                r = flush(l);
        return r < 0 ? r : bth_source_new_fd(l->fd, false, &l->source);
}

static void drop(struct log *l)
{
        (void)bth_source_free(l->source);
        (void)med_log_writer_free(l->writer);
        bth_buf_clear(&l->pending);
        (void)bth_close(l->fd);
}

int upl_logs_new(const char *drive_id, int error_fd, int verbose_fd, struct upl_logs **ret_logs)
{
        _cleanup_(upl_logs_freep) struct upl_logs *l = calloc(1, sizeof *l);
        int r;

        if (!l) {
                (void)bth_close(error_fd);
                (void)bth_close(verbose_fd);
                return -ENOMEM;
        }
        l->error.fd = error_fd;
        l->verbose.fd = verbose_fd;
        r = begin(&l->error, drive_id);
        if (r == 0)
                r = begin(&l->verbose, drive_id);
        if (r == 0)
                *ret_logs = take_ptr(l);
        return r;
}

struct upl_logs *upl_logs_free(struct upl_logs *l)
{
        if (l) {
                drop(&l->error);
                drop(&l->verbose);
        }
        free(l);
        return NULL;
}

struct bth_source *upl_logs_error(struct upl_logs *l)
{
        return l->error.source;
}

struct bth_source *upl_logs_verbose(struct upl_logs *l)
{
        return l->verbose.source;
}

/* --- entries --- */

/* The writer takes malloc()ed texts but only reads them; ours are borrowed. */
static char *borrowed(const char *text)
{
        return (char *)(uintptr_t)text;
}

/* The status of a manifest's range: the first of the parts in it that is not well. Parts and ranges
 * both ascend; `*cursor` goes with them. */
static enum bth_range_status range_status(const struct upl_log_blob *b,
                                          const struct med_manifest_range *range, size_t *cursor)
{
        const struct upl_plan *plan = b->plan;
        const uint64_t range_end = range->offset_bytes + range->length_bytes;
        enum bth_range_status worst = BTH_RANGE_STATUS_COMPLETED;

        if (!plan)
                return b->status == BTH_BLOB_STATUS_COMPLETED ||
                                       b->disposition != BTH_DISPOSITION_STATUS_CANCELLED
                               ? BTH_RANGE_STATUS_COMPLETED
                               : BTH_RANGE_STATUS_CANCELLED;
        while (*cursor < plan->n_parts && plan->parts[*cursor].offset_bytes < range->offset_bytes)
                ++*cursor;
        for (; *cursor < plan->n_parts && plan->parts[*cursor].offset_bytes < range_end; ++*cursor)
                if (worst == BTH_RANGE_STATUS_COMPLETED)
                        worst = b->ranges[*cursor];
        return worst;
}

/* A block that arrived in a blob whose list was never committed is not "Completed" (spec 5.3). */
static enum bth_range_status settled(const struct upl_log_blob *b, enum bth_range_status s)
{
        bool in_vain = b->disposition == BTH_DISPOSITION_STATUS_CANCELLED && b->plan &&
                       b->plan->kind == UPL_PLAN_BLOCKS;

        return in_vain && s == BTH_RANGE_STATUS_COMPLETED ? BTH_RANGE_STATUS_UNCOMMITTED : s;
}

static size_t add_manifest_ranges(const struct upl_log_blob *b, bool problems_only,
                                  struct med_log_range *to, char (*hashes)[HASH_DIGITS])
{
        const struct med_manifest_blob *blob = &b->listed->blob;
        size_t n = 0, cursor = 0;

        for (size_t i = 0; i < blob->n_ranges; i++) {
                const struct med_manifest_range *range = &blob->ranges[i];
                enum bth_range_status s = settled(b, range_status(b, range, &cursor));

                if (problems_only && s == BTH_RANGE_STATUS_COMPLETED)
                        continue;
                to[n] = (struct med_log_range){
                        .offset_bytes = range->offset_bytes,
                        .length_bytes = range->length_bytes,
                        .id = borrowed(med_manifest_range_id(blob, i)),
                        .hash = bth_hex_encode(range->md5, BTH_MD5_BYTES, hashes[n]),
                        .status = borrowed(bth_range_status_to_string(s)),
                };
                n++;
        }
        return n;
}

/* Of a blob without ranges in the manifest: the ones we cut. */
static size_t add_own_ranges(const struct upl_log_blob *b, bool problems_only,
                             struct med_log_range *to)
{
        size_t n = 0;

        for (size_t i = 0; b->plan && i < b->plan->n_parts; i++) {
                enum bth_range_status s = settled(b, b->ranges[i]);

                if (problems_only && s == BTH_RANGE_STATUS_COMPLETED)
                        continue;
                to[n++] = (struct med_log_range){
                        .offset_bytes = b->plan->parts[i].offset_bytes,
                        .length_bytes = b->plan->parts[i].length_bytes,
                        .status = borrowed(bth_range_status_to_string(s)),
                };
        }
        return n;
}

static void add_sidecar(struct med_log_sidecar *to, const struct med_manifest_sidecar *from,
                        const struct upl_sidecar *found, bool global, char hash[HASH_DIGITS])
{
        if (!from->path)
                return;
        bth_hex_encode(from->md5, BTH_MD5_BYTES, hash);
        to->status = borrowed(
                bth_sidecar_status_to_string(found ? found->status : BTH_SIDECAR_STATUS_CANCELLED));
        *(global ? &to->global_path : &to->path) = borrowed(from->path);
        *(global ? &to->global_hash : &to->hash) = hash;
}

/* "container/name" as it is now. Returns 0 or -ENOMEM. */
static int path_now(const struct upl_log_blob *b, char **ret_path)
{
        const char *path = b->listed->blob.blob_path;
        const char *slash = strchr(path + (*path == '/'), '/');
        int n;

        if (!b->name || !slash)
                n = asprintf(ret_path, "%s", path);
        else
                n = asprintf(ret_path, "%.*s/%s", (int)(slash - path), path, b->name);
        return n < 0 ? -ENOMEM : 0;
}

static bool sidecar_failed(const struct upl_sidecar *s)
{
        return s && s->status != BTH_SIDECAR_STATUS_COMPLETED;
}

static bool needs_attention(const struct upl_log_blob *b)
{
        return b->status != BTH_BLOB_STATUS_COMPLETED ||
               b->disposition != BTH_DISPOSITION_STATUS_CREATED || sidecar_failed(b->metadata) ||
               sidecar_failed(b->properties);
}

static int write_entry(struct log *l, const struct upl_log_blob *b, bool problems_only)
{
        const struct med_manifest_blob *blob = &b->listed->blob;
        size_t n = blob->n_ranges > 0 ? blob->n_ranges : b->plan ? b->plan->n_parts : 0;
        _cleanup_free_ struct med_log_range *ranges = calloc(MAX(n, (size_t)1), sizeof *ranges);
        _cleanup_free_ char(*hashes)[HASH_DIGITS] = calloc(MAX(n, (size_t)1), sizeof *hashes);
        char metadata_hash[HASH_DIGITS], properties_hash[HASH_DIGITS];
        _cleanup_free_ char *path = NULL;
        struct med_log_entry e = {
                .is_file = blob->azure_file,
                .status = borrowed(bth_blob_status_to_string(b->status)),
                .file_path = borrowed(blob->file_path),
                .length_bytes = blob->length_bytes,
                .has_length = true,
                .disposition = borrowed(bth_disposition_to_string(blob->disposition)),
                .disposition_status = borrowed(bth_disposition_status_to_string(b->disposition)),
                .page = blob->kind == MED_MANIFEST_PAGE,
                .ranges = ranges,
        };
        int r;

        if (!ranges || !hashes)
                return -ENOMEM;
        r = path_now(b, &path);
        if (r < 0)
                return r;
        e.blob_path = path;
        e.n_ranges = blob->n_ranges > 0 ? add_manifest_ranges(b, problems_only, ranges, hashes)
                                        : add_own_ranges(b, problems_only, ranges);
        e.has_ranges = problems_only ? e.n_ranges > 0 : blob->kind != MED_MANIFEST_NONE;
        if (!problems_only || sidecar_failed(b->metadata))
                add_sidecar(&e.metadata, &blob->metadata, b->metadata, b->listed->metadata_global,
                            metadata_hash);
        if (!problems_only || sidecar_failed(b->properties))
                add_sidecar(&e.properties, &blob->properties, b->properties,
                            b->listed->properties_global, properties_hash);
        return med_log_write_entry(l->writer, &e);
}

int upl_logs_add(struct upl_logs *l, const struct upl_log_blob *b)
{
        int r = 0;

        if (needs_attention(b))
                r = write_entry(&l->error, b, true);
        if (r == 0 && l->verbose.fd >= 0)
                r = write_entry(&l->verbose, b, false);
        return r;
}

int upl_logs_end(struct upl_logs *l, enum bth_drive_status status)
{
        const struct med_log_summary summary = {
                .generation = MED_LOG_L1,
                .status = borrowed(bth_drive_status_to_string(status)),
        };
        int r = end(&l->error, &summary);

        return r < 0 ? r : end(&l->verbose, &summary);
}

/* --- uploading --- */

static void md5_of(const void *data, size_t n, uint8_t md5[BTH_MD5_BYTES])
{
        struct cry_md5 state;

        cry_md5_init(&state);
        cry_md5_update(&state, data, n);
        cry_md5_finish(&state, md5);
}

static int run(struct upl_client *client, struct upl_call *call, int built, struct bth_error *error)
{
        return built < 0 ? built : upl_client_call(client, call, error);
}

static int make_container(struct upl_client *client, const char *container, struct bth_error *error)
{
        _cleanup_call_ struct upl_call call = { 0 };
        int r = run(client, &call, upl_create_container(&call.request, container), error);

        return r == -EEXIST ? 0 : r;
}

static const struct upl_attributes xml = { .content_type = "application/xml" };

static int put_whole(struct upl_client *client, const struct upl_target *target, const void *data,
                     size_t n, struct bth_error *error)
{
        _cleanup_call_ struct upl_call call = { 0 };
        uint8_t md5[BTH_MD5_BYTES];

        md5_of(data, n, md5);
        return run(client, &call,
                   upl_put_blob(&call.request, target, data, n, (struct upl_checksum){ md5, NULL },
                                &xml),
                   error);
}

static int put_block(struct upl_client *client, const struct upl_target *target, const char *id,
                     const void *data, size_t n, struct bth_error *error)
{
        _cleanup_call_ struct upl_call call = { 0 };
        uint8_t md5[BTH_MD5_BYTES];

        md5_of(data, n, md5);
        return run(client, &call,
                   upl_put_block(&call.request, target, id, data, n,
                                 (struct upl_checksum){ md5, NULL }),
                   error);
}

/* Blocks one after the other: logs are small beside what they tell of. */
static int put_blocks(struct upl_client *client, const struct upl_target *target,
                      struct bth_source *content, void *buffer, struct bth_error *error)
{
        const size_t n = (size_t)((content->size_bytes + BLOCK_BYTES - 1) / BLOCK_BYTES);
        _cleanup_free_ char(*ids)[UPL_PLAN_ID_BYTES] = calloc(n, sizeof *ids);
        _cleanup_free_ const char **list = calloc(n, sizeof *list);
        _cleanup_call_ struct upl_call call = { 0 };

        if (!ids || !list)
                return -ENOMEM;
        if (n > UPL_BLOCKS_MAX)
                return bth_error_set(error, -EFBIG, BTH_REASON_TOO_LARGE,
                                     "the log is too large for a blob");
        for (size_t i = 0; i < n; i++) {
                const uint64_t offset = i * BLOCK_BYTES;
                const size_t take = (size_t)MIN(BLOCK_BYTES, content->size_bytes - offset);
                char plain[UPL_PLAN_ID_BYTES];
                int r = bth_source_read(content, offset, buffer, take);

                (void)snprintf(plain, sizeof plain, "berth-log-%08zu", i);
                list[i] = bth_base64_encode(plain, 18, ids[i]);
                if (r == 0)
                        r = put_block(client, target, ids[i], buffer, take, error);
                if (r < 0)
                        return r;
        }
        return run(client, &call, upl_put_block_list(&call.request, target, list, n, &xml), error);
}

int upl_log_upload(struct upl_client *client, const char *container, const char *name,
                   struct bth_source *content, struct bth_error *error)
{
        const struct upl_target target = { .container = container, .blob = name };
        const bool whole = content->size_bytes <= BLOCK_BYTES;
        const size_t n = (size_t)MIN(BLOCK_BYTES, content->size_bytes);
        _cleanup_free_ void *buffer = bth_io_buffer_new(MAX(n, (size_t)1));
        int r = buffer ? 0 : -ENOMEM;

        for (int pass = 0; r == 0 && pass < 2; pass++) {
                if (whole) {
                        r = bth_source_read(content, 0, buffer, n);
                        if (r == 0)
                                r = put_whole(client, &target, buffer, n, error);
                } else
                        r = put_blocks(client, &target, content, buffer, error);
                if (r != -ENOENT || pass > 0)
                        return r;
                r = make_container(client, container, error);
        }
        return r;
}
