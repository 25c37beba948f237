/* SPDX-License-Identifier: GPL-3.0-or-later */
/* parts-read - the content of parts: from the drive with the right hash, and back from the service.
 * See parts.h. */
#include "uploader/parts.h"

#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "crypto/crc64.h"

#define SLICE_BYTES (UINT64_C(4) << 20)

static int part_fault(struct upl_transfer *t, size_t i, int code, enum bth_reason reason,
                      enum bth_range_status status, const char *sentence)
{
        bth_error_blob(&t->result->error, t->item->blob->blob_path);
        bth_error_at(&t->result->error, t->item->blob->file_path, 0,
                     t->plan->parts[i].offset_bytes);
        t->result->ranges[i] = status;
        return bth_error_set(&t->result->error, code, reason, "%s", sentence);
}

int upl_part_read_fault(struct upl_transfer *t, size_t i, int r)
{
        switch (r) {
        case -ENOMEM:
        case -ECANCELED:
                return r;
        case -ENODEV:
        case -ENXIO:
                return part_fault(t, i, -ENODEV, BTH_REASON_DRIVE_GONE, BTH_RANGE_STATUS_IO_FAILED,
                                  "the drive was removed");
        case -EILSEQ:
                return part_fault(t, i, -EILSEQ, BTH_REASON_HASH_MISMATCH,
                                  BTH_RANGE_STATUS_CORRUPTED,
                                  "the file's content does not have the manifest's hash");
        default:
                t->drive_failed = true;
                return part_fault(t, i, -EIO, BTH_REASON_DRIVE_READ_ERROR,
                                  BTH_RANGE_STATUS_IO_FAILED,
                                  "the drive cannot read this part of the file");
        }
}

bool upl_part_check_quietly(const struct upl_transfer *t, size_t i)
{
        const struct upl_part *part = &t->plan->parts[i];

        return bth_range_inside(part->offset_bytes, part->length_bytes,
                                t->item->content->size_bytes);
}

int upl_part_check_end(struct upl_transfer *t, size_t i)
{
        if (upl_part_check_quietly(t, i))
                return 0;
        return part_fault(t, i, -ENODATA, BTH_REASON_VALUE_INVALID,
                          BTH_RANGE_STATUS_FILE_UNEXPECTED_END,
                          "the file is shorter than the manifest says");
}

static int read_range(struct upl_transfer *t, size_t i, uint64_t offset_bytes, void *data,
                      uint64_t n)
{
        int r;

        upl_wait_begin(t->env->budget, UPL_WAIT_DISK);
        r = bth_source_read(t->item->content, offset_bytes, data, (size_t)n);
        upl_wait_end(t->env->budget, UPL_WAIT_DISK);
        return r < 0 ? upl_part_read_fault(t, i, r) : 0;
}

static int read_part(struct upl_transfer *t, size_t i, void *data)
{
        const struct upl_part *part = &t->plan->parts[i];
        int r = upl_part_check_end(t, i);

        return r < 0 ? r : read_range(t, i, part->offset_bytes, data, part->length_bytes);
}

static void hash_part(struct upl_transfer *t, size_t i, const void *data,
                      uint8_t md5[BTH_MD5_BYTES])
{
        upl_wait_begin(t->env->budget, UPL_WAIT_CPU);
        upl_hasher_md5(t->env->hasher, data, (size_t)t->plan->parts[i].length_bytes, md5);
        upl_wait_end(t->env->budget, UPL_WAIT_CPU);
}

struct upl_checksum upl_part_checksum(const struct upl_transfer *t, size_t i)
{
        const struct upl_part_state *p = &t->parts[i];

        return (struct upl_checksum){ .md5 = p->has_md5 ? p->md5 : NULL,
                                      .crc64 = !p->has_md5 && p->has_crc64 ? &p->crc64 : NULL };
}

bool upl_part_take_hash(struct upl_transfer *t, size_t i, const uint8_t md5[BTH_MD5_BYTES])
{
        struct upl_part_state *p = &t->parts[i];

        if (p->has_md5)
                return memcmp(md5, p->md5, BTH_MD5_BYTES) == 0;
        memcpy(p->md5, md5, BTH_MD5_BYTES);
        p->has_md5 = p->has_id = true;
        (void)upl_plan_block_id(t->plan, md5, t->plan->parts[i].length_bytes, p->id);
        return true;
}

/* Is the hash of what was read the right one, or the first one that is known of it? */
static bool judge(struct upl_transfer *t, size_t i, const void *data)
{
        struct upl_part_state *p = &t->parts[i];
        uint64_t n = t->plan->parts[i].length_bytes;
        uint8_t md5[BTH_MD5_BYTES];

        if (!p->has_md5 && t->plan->kind == UPL_PLAN_PAGES) {
                uint64_t crc64 = cry_crc64(0, data, (size_t)n);
                bool right = !p->has_crc64 || p->crc64 == crc64;

                p->crc64 = crc64;
                p->has_crc64 = true;
                return right;
        }
        hash_part(t, i, data, md5);
        return upl_part_take_hash(t, i, md5);
}

/* Is the manifest's hash for the service alone to compare? */
static bool leave_to_service(const struct upl_transfer *t, size_t i)
{
        return t->env->service_hash && t->plan->parts[i].has_md5 && !t->parts[i].recheck;
}

/* Reads and hashes; what does not fit is read once more, since memory and cables fail too. */
static int fill_part(struct upl_transfer *t, size_t i, void *data)
{
        for (int pass = 0; pass < 2; pass++) {
                int r = read_part(t, i, data);

                if (r < 0 || leave_to_service(t, i) || judge(t, i, data))
                        return r;
        }
        return upl_part_read_fault(t, i, -EILSEQ);
}

/* The hashes of what was read; called after upl_hasher_expect(). */
static void hash_ahead(struct upl_transfer *t, const struct bth_read *reads, const size_t *parts,
                       size_t n, bool good[UPL_AHEAD_MAX])
{
        struct cry_md5_job jobs[UPL_AHEAD_MAX];
        struct cry_md5 md5[UPL_AHEAD_MAX];
        uint8_t hash[BTH_MD5_BYTES];
        size_t n_jobs = 0;

        for (size_t k = 0; k < n; k++) {
                good[k] = reads[k].result == 0;
                cry_md5_init(&md5[k]);
                if (good[k] && !leave_to_service(t, parts[k]))
                        jobs[n_jobs++] = (struct cry_md5_job){ &md5[k], reads[k].buffer,
                                                               reads[k].length_bytes };
        }
        upl_wait_begin(t->env->budget, UPL_WAIT_CPU);
        upl_hasher_expected(t->env->hasher, jobs, n_jobs);
        upl_wait_end(t->env->budget, UPL_WAIT_CPU);
        for (size_t k = 0; k < n; k++) {
                if (!good[k] || leave_to_service(t, parts[k]))
                        continue;
                cry_md5_finish(&md5[k], hash);
                good[k] = upl_part_take_hash(t, parts[k], hash);
        }
}

int upl_parts_load_ahead(struct upl_transfer *t, const size_t *parts, size_t n)
{
        struct bth_read reads[UPL_AHEAD_MAX];
        uint64_t bytes[UPL_AHEAD_MAX] = { 0 };
        void *buffers[UPL_AHEAD_MAX];
        bool good[UPL_AHEAD_MAX];
        int r;

        assert(n <= UPL_AHEAD_MAX && t->next_ahead == t->n_ahead);
        for (size_t k = 0; k < n; k++)
                bytes[k] = t->plan->parts[parts[k]].length_bytes;
        r = upl_budget_take_buffers(t->env->budget, bytes, n, buffers);
        if (r < 0)
                return r;
        for (size_t k = 0; k < n; k++)
                reads[k] = (struct bth_read){ t->plan->parts[parts[k]].offset_bytes,
                                              (size_t)bytes[k], buffers[k], 0 };
        upl_hasher_expect(t->env->hasher);
        upl_wait_begin(t->env->budget, UPL_WAIT_DISK);
        /* Each has its own result. */
        (void)!bth_source_read_many(t->item->content, reads, n);
        upl_wait_end(t->env->budget, UPL_WAIT_DISK);
        hash_ahead(t, reads, parts, n, good);
        t->n_ahead = t->next_ahead = 0;
        for (size_t k = 0; k < n; k++) {
                if (!good[k]) {
                        upl_part_unload(t, parts[k], buffers[k]);
                        continue;
                }
                t->ahead[t->n_ahead].part = parts[k];
                t->ahead[t->n_ahead++].data = buffers[k];
        }
        return 0;
}

void *upl_parts_take_ahead(struct upl_transfer *t, size_t i)
{
        if (t->next_ahead == t->n_ahead || t->ahead[t->next_ahead].part != i)
                return NULL;
        return t->ahead[t->next_ahead++].data;
}

void upl_parts_drop_ahead(struct upl_transfer *t)
{
        for (; t->next_ahead < t->n_ahead; t->next_ahead++)
                upl_part_unload(t, t->ahead[t->next_ahead].part, t->ahead[t->next_ahead].data);
}

int upl_part_load(struct upl_transfer *t, size_t i, void **ret_data)
{
        uint64_t n = t->plan->parts[i].length_bytes;
        void *data;
        int r = upl_budget_take_buffer(t->env->budget, n, &data);

        if (r < 0)
                return r;
        r = fill_part(t, i, data);
        if (r < 0)
                upl_part_unload(t, i, data);
        else
                *ret_data = data;
        return r;
}

void upl_part_unload(struct upl_transfer *t, size_t i, void *data)
{
        upl_budget_give_buffer(t->env->budget, t->plan->parts[i].length_bytes, data);
}

/* --- blocks too long to be held --- */

bool upl_part_is_long(const struct upl_transfer *t, size_t i)
{
        return t->plan->parts[i].length_bytes > UPL_BLOCK_HELD_BYTES;
}

static int hash_slices(struct upl_transfer *t, size_t i, void *slice, struct cry_md5 *md5)
{
        const struct upl_part *part = &t->plan->parts[i];
        int r = 0;

        for (uint64_t at = 0; at < part->length_bytes && r == 0; at += SLICE_BYTES) {
                uint64_t n = MIN(SLICE_BYTES, part->length_bytes - at);

                r = atomic_load(t->env->stop) ? -ECANCELED
                                              : read_range(t, i, part->offset_bytes + at, slice, n);
                if (r == 0)
                        upl_hasher_update(t->env->hasher, md5, slice, (size_t)n);
        }
        return r;
}

/* One pass over a cut range: its hash, and the checksum of each piece. */
static int hash_pieces(struct upl_transfer *t, size_t i, void *piece, uint8_t md5[BTH_MD5_BYTES])
{
        struct cry_md5 stream;

        cry_md5_init(&stream);
        for (size_t k = i; k < i + t->plan->parts[i].n_pieces; k++) {
                uint64_t n = t->plan->parts[k].length_bytes;
                int r = atomic_load(t->env->stop) ? -ECANCELED : read_part(t, k, piece);

                if (r < 0)
                        return r;
                upl_hasher_update(t->env->hasher, &stream, piece, (size_t)n);
                t->parts[k].crc64 = cry_crc64(0, piece, (size_t)n);
                t->parts[k].has_crc64 = true;
        }
        cry_md5_finish(&stream, md5);
        return 0;
}

int upl_part_check_range(struct upl_transfer *t, size_t i)
{
        const struct upl_part *first = &t->plan->parts[i];
        uint8_t md5[BTH_MD5_BYTES];
        void *piece;
        int r = upl_budget_take_buffer(t->env->budget, UPL_PAGE_WRITE_BYTES, &piece);

        if (r < 0)
                return r;
        for (int pass = 0; pass < 2; pass++) {
                r = hash_pieces(t, i, piece, md5);
                if (r == 0 && memcmp(md5, first->md5, BTH_MD5_BYTES) != 0)
                        r = -EILSEQ;
                if (r != -EILSEQ)
                        break;
        }
        upl_budget_give_buffer(t->env->budget, UPL_PAGE_WRITE_BYTES, piece);
        for (size_t k = i; r == -EILSEQ && k < i + first->n_pieces; k++) {
                t->parts[k].bad = true;
                r = upl_part_read_fault(t, k, r);
        }
        return r;
}

int upl_part_learn_hash(struct upl_transfer *t, size_t i)
{
        struct upl_part_state *p = &t->parts[i];
        struct cry_md5 md5;
        void *slice;
        int r;

        if (p->has_md5)
                return 0;
        r = upl_part_check_end(t, i);
        if (r == 0)
                r = upl_budget_take_buffer(t->env->budget, SLICE_BYTES, &slice);
        if (r < 0)
                return r;
        cry_md5_init(&md5);
        r = hash_slices(t, i, slice, &md5);
        upl_budget_give_buffer(t->env->budget, SLICE_BYTES, slice);
        if (r < 0)
                return r;
        cry_md5_finish(&md5, p->md5);
        p->has_md5 = p->has_id = true;
        (void)upl_plan_block_id(t->plan, p->md5, t->plan->parts[i].length_bytes, p->id);
        return 0;
}

int upl_part_stream(struct upl_transfer *t, size_t i, struct upl_stream **ret_stream)
{
        const struct upl_part *part = &t->plan->parts[i];
        struct upl_stream_options o = {
                .content = t->item->content,
                .offset_bytes = part->offset_bytes,
                .length_bytes = part->length_bytes,
                .md5 = t->parts[i].md5,
                .client = t->env->client,
                .budget = t->env->budget,
                .hasher = t->env->hasher,
                .unchecked = leave_to_service(t, i),
        };
        int r = upl_part_check_end(t, i);

        return r < 0 ? r : upl_stream_new(&o, ret_stream);
}

/* --- reading back --- */

/* What a part is at the service: the MD5 and the CRC-64 of what came. */
struct remote_sum {
        struct cry_md5 md5;
        uint64_t crc64;
};

/* One slice from the service into the sums. */
static int read_back_slice(struct upl_transfer *t, uint64_t offset_bytes, uint64_t n, bool use_md5,
                           struct remote_sum *sum)
{
        struct upl_target target = { .container = t->container, .blob = t->intent.name };
        _cleanup_call_ struct upl_call call = { 0 };
        int r;

        r = upl_get_blob(&call.request, &target, offset_bytes, n, false);
        if (r < 0)
                return r;
        call.request.max_answer_bytes = (size_t)n;
        r = upl_client_call(t->env->client, &call, &t->result->error);
        if (r < 0)
                return r;
        if (call.content->length != n)
                return 0; /* then the sum is wrong */
        if (use_md5)
                upl_hasher_update(t->env->hasher, &sum->md5, call.content->data, (size_t)n);
        else
                sum->crc64 = cry_crc64(sum->crc64, call.content->data, (size_t)n);
        return 0;
}

int upl_part_compare_remote(struct upl_transfer *t, size_t i, bool *ret_same)
{
        const struct upl_part *part = &t->plan->parts[i];
        const struct upl_part_state *p = &t->parts[i];
        struct remote_sum sum = { .crc64 = 0 };
        uint8_t md5[BTH_MD5_BYTES];
        int r = 0;

        cry_md5_init(&sum.md5);
        for (uint64_t at = 0; at < part->length_bytes && r == 0; at += SLICE_BYTES)
                r = atomic_load(t->env->stop)
                            ? -ECANCELED
                            : read_back_slice(t, part->offset_bytes + at,
                                              MIN(SLICE_BYTES, part->length_bytes - at), p->has_md5,
                                              &sum);
        if (r < 0)
                return r;
        cry_md5_finish(&sum.md5, md5);
        *ret_same = p->has_md5 ? memcmp(md5, p->md5, BTH_MD5_BYTES) == 0
                               : p->has_crc64 && sum.crc64 == p->crc64;
        return 0;
}

static int read_back(struct upl_transfer *t, size_t i)
{
        bool same = false;
        int r = upl_part_compare_remote(t, i, &same);

        if (r < 0 || same)
                return r;
        return part_fault(t, i, -EBADMSG, BTH_REASON_HASH_MISMATCH, BTH_RANGE_STATUS_CORRUPTED,
                          "what was read back is not what was sent");
}

int upl_parts_read_back(struct upl_transfer *t)
{
        int r = 0;

        if (t->plan->n_parts > 0)
                r = upl_budget_take(t->env->budget, SLICE_BYTES);
        if (r < 0 || t->plan->n_parts == 0)
                return r;
        for (size_t i = 0; i < t->plan->n_parts && r == 0; i++)
                r = read_back(t, i);
        upl_budget_give(t->env->budget, SLICE_BYTES);
        return r;
}
