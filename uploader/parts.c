/* SPDX-License-Identifier: GPL-3.0-or-later */
/* parts - see parts.h. */
#include "uploader/parts.h"

#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/time.h"

#define LEASE_LOOK_SECONDS 5

struct flight {
        struct upl_call call;
        struct upl_transfer *t;
        size_t part;
        void *data;
};

int upl_parts_prepare(struct upl_transfer *t)
{
        size_t n = t->plan->n_parts;

        t->parts = calloc(MAX(n, (size_t)1), sizeof *t->parts);
        t->acknowledged = calloc(MAX(n, (size_t)1), sizeof *t->acknowledged);
        t->result->ranges = calloc(MAX(n, (size_t)1), sizeof *t->result->ranges);
        if (!t->parts || !t->acknowledged || !t->result->ranges)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                const struct upl_part *part = &t->plan->parts[i];

                t->result->ranges[i] = BTH_RANGE_STATUS_CANCELLED;
                if (!part->has_md5)
                        continue;
                memcpy(t->parts[i].md5, part->md5, BTH_MD5_BYTES);
                t->parts[i].has_md5 = t->parts[i].has_id = true;
                (void)upl_plan_block_id(t->plan, part->md5, part->length_bytes, t->parts[i].id);
        }
        if (pthread_mutex_init(&t->lock, NULL) != 0)
                return -ENOMEM;
        if (pthread_cond_init(&t->changed, NULL) != 0) {
                (void)pthread_mutex_destroy(&t->lock);
                return -ENOMEM;
        }
        t->has_lock = true;
        return 0;
}

void upl_parts_clear(struct upl_transfer *t)
{
        if (t->has_lock) {
                (void)pthread_cond_destroy(&t->changed);
                (void)pthread_mutex_destroy(&t->lock);
        }
        upl_remote_blocks_clear(&t->remote);
        free(t->acknowledged);
        free(t->parts);
}

/* --- reading and hashing --- */

static int part_fault(struct upl_transfer *t, size_t i, int code, enum bth_reason reason,
                      enum bth_range_status status, const char *sentence)
{
        bth_error_blob(&t->result->error, t->item->blob->blob_path);
        bth_error_at(&t->result->error, t->item->blob->file_path, 0,
                     t->plan->parts[i].offset_bytes);
        t->result->ranges[i] = status;
        return bth_error_set(&t->result->error, code, reason, "%s", sentence);
}

static int read_part(struct upl_transfer *t, size_t i, void *data)
{
        const struct upl_part *part = &t->plan->parts[i];
        int r;

        if (!bth_range_inside(part->offset_bytes, part->length_bytes, t->item->content->size_bytes))
                return part_fault(t, i, -ENODATA, BTH_REASON_VALUE_INVALID,
                                  BTH_RANGE_STATUS_FILE_UNEXPECTED_END,
                                  "the file is shorter than the manifest says");
        upl_wait_begin(t->env->budget, UPL_WAIT_DISK);
        r = bth_source_read(t->item->content, part->offset_bytes, data, (size_t)part->length_bytes);
        upl_wait_end(t->env->budget, UPL_WAIT_DISK);
        if (r == -ENODEV || r == -ENXIO)
                return part_fault(t, i, -ENODEV, BTH_REASON_DRIVE_GONE, BTH_RANGE_STATUS_IO_FAILED,
                                  "the drive was removed");
        if (r < 0) {
                t->drive_failed = true;
                return part_fault(t, i, -EIO, BTH_REASON_DRIVE_READ_ERROR,
                                  BTH_RANGE_STATUS_IO_FAILED,
                                  "the drive cannot read this part of the file");
        }
        return 0;
}

static void hash_part(struct upl_transfer *t, size_t i, const void *data,
                      uint8_t md5[BTH_MD5_BYTES])
{
        upl_wait_begin(t->env->budget, UPL_WAIT_CPU);
        upl_hasher_md5(t->env->hasher, data, (size_t)t->plan->parts[i].length_bytes, md5);
        upl_wait_end(t->env->budget, UPL_WAIT_CPU);
}

/* Reads and hashes; what does not fit is read once more, since memory and cables fail too. */
static int fill_part(struct upl_transfer *t, size_t i, void *data)
{
        struct upl_part_state *p = &t->parts[i];
        uint8_t md5[BTH_MD5_BYTES];
        int r;

        for (int pass = 0; pass < 2; pass++) {
                r = read_part(t, i, data);
                if (r < 0)
                        return r;
                hash_part(t, i, data, md5);
                if (!p->has_md5) {
                        memcpy(p->md5, md5, BTH_MD5_BYTES);
                        p->has_md5 = p->has_id = true;
                        (void)upl_plan_block_id(t->plan, md5, t->plan->parts[i].length_bytes,
                                                p->id);
                        return 0;
                }
                if (memcmp(md5, p->md5, BTH_MD5_BYTES) == 0)
                        return 0;
        }
        return part_fault(t, i, -EILSEQ, BTH_REASON_HASH_MISMATCH, BTH_RANGE_STATUS_CORRUPTED,
                          "the file's content does not have the manifest's hash");
}

int upl_part_load(struct upl_transfer *t, size_t i, void **ret_data)
{
        uint64_t n = t->plan->parts[i].length_bytes;
        void *data;
        int r = upl_budget_take(t->env->budget, n);

        if (r < 0)
                return r;
        data = bth_io_buffer_new((size_t)n);
        r = data ? fill_part(t, i, data) : -ENOMEM;
        if (r < 0)
                upl_part_unload(t, i, data);
        else
                *ret_data = data;
        return r;
}

void upl_part_unload(struct upl_transfer *t, size_t i, void *data)
{
        free(data);
        upl_budget_give(t->env->budget, t->plan->parts[i].length_bytes);
}

/* --- what the service has already --- */

static int compare_ids(const void *a, const void *b)
{
        const struct upl_remote_block *x = a, *y = b;

        return strcmp(x->id, y->id);
}

static int fetch_remote(struct upl_transfer *t)
{
        struct upl_target target = { .container = t->container, .blob = t->intent.name };
        _cleanup_call_ struct upl_call call = { 0 };
        size_t want = t->plan->manifest_ids ? 28 : 32;
        int r;

        upl_remote_blocks_clear(&t->remote);
        r = upl_get_block_list(&call.request, &target, false, true);
        if (r == 0)
                r = upl_client_call(t->env->client, &call, &t->result->error);
        if (r == -ENOENT)
                return 0;
        if (r == 0)
                r = upl_answer_blocks(call.content->data, call.content->length, &t->remote,
                                      &t->result->error);
        if (r < 0)
                return r;
        for (size_t i = 0; i < t->remote.n; i++)
                if (strlen(t->remote.items[i].id) != want) {
                        bth_error_blob(&t->result->error, t->item->blob->blob_path);
                        return bth_error_set(
                                &t->result->error, -EPROTO, BTH_REASON_VALUE_INVALID,
                                "somebody else has left uncommitted blocks with ids of another "
                                "length under this name");
                }
        if (t->remote.n > 0)
                qsort(t->remote.items, t->remote.n, sizeof *t->remote.items, compare_ids);
        return 0;
}

/* An id tells the content, so a block of this id and size is the right one. */
static bool remote_has(const struct upl_transfer *t, size_t i)
{
        struct upl_remote_block key = { .committed = false };
        const struct upl_remote_block *found;

        if (t->plan->kind != UPL_PLAN_BLOCKS || !t->parts[i].has_id || t->remote.n == 0)
                return false;
        memcpy(key.id, t->parts[i].id, sizeof t->parts[i].id);
        found = bsearch(&key, t->remote.items, t->remote.n, sizeof key, compare_ids);
        return found && found->length_bytes == t->plan->parts[i].length_bytes;
}

static bool is_there(const struct upl_transfer *t, size_t i)
{
        const struct upl_part *part = &t->plan->parts[i];

        if (t->plan->kind == UPL_PLAN_PAGES)
                return upl_state_has_page(t->env->state, t->item->blob->index, part->offset_bytes,
                                          part->length_bytes);
        return remote_has(t, i);
}

static bool is_zero(const uint8_t *data, uint64_t n)
{
        return n == 0 || (data[0] == 0 && memcmp(data, data + 1, (size_t)n - 1) == 0);
}

/* --- sending --- */

static void mark_sent(struct upl_transfer *t, size_t i)
{
        (void)pthread_mutex_lock(&t->lock);
        t->parts[i].sent = true;
        t->result->ranges[i] = BTH_RANGE_STATUS_COMPLETED;
        (void)pthread_mutex_unlock(&t->lock);
}

static void land_well(struct flight *f)
{
        struct upl_transfer *t = f->t;

        t->parts[f->part].sent = true;
        t->result->ranges[f->part] = BTH_RANGE_STATUS_COMPLETED;
        t->result->sent_bytes += t->plan->parts[f->part].length_bytes;
        if (t->plan->kind == UPL_PLAN_PAGES)
                t->acknowledged[t->n_acknowledged++] = f->part;
}

static void land_badly(struct flight *f, int result)
{
        struct upl_transfer *t = f->t;

        t->result->ranges[f->part] = BTH_RANGE_STATUS_BLOB_REQUEST_FAILED;
        if (result == -ENOENT && strcmp(f->call.code, "ContainerNotFound") == 0)
                t->container_missing = true;
        if (t->failed < 0)
                return;
        t->failed = result;
        t->failed_error = BTH_ERROR_INIT;
        if (f->call.result < 0)
                (void)upl_call_explain(&f->call, &t->failed_error);
        else
                (void)bth_error_set(&t->failed_error, result, BTH_REASON_HASH_MISMATCH,
                                    "the service answered with another hash than was sent");
}

/* On the client's thread. Once the lock is given back with nothing flying, the transfer may be
 * gone. */
static void on_landed(struct upl_call *call)
{
        struct flight *f = container_of(call, struct flight, call);
        struct upl_transfer *t = f->t;
        struct upl_checksum sum = { t->parts[f->part].md5, NULL };
        int result = call->result;

        if (result == 0 && !upl_checksum_echoed(call->answer, sum))
                result = -EBADMSG;
        upl_part_unload(t, f->part, f->data);
        (void)pthread_mutex_lock(&t->lock);
        if (result == 0)
                land_well(f);
        else
                land_badly(f, result);
        t->n_flying--;
        (void)pthread_cond_signal(&t->changed);
        (void)pthread_mutex_unlock(&t->lock);
        upl_call_clear(&f->call);
        free(f);
}

static int build(struct upl_transfer *t, size_t i, const void *data, struct upl_request *request)
{
        const struct upl_part *part = &t->plan->parts[i];
        struct upl_checksum sum = { t->parts[i].md5, NULL };
        struct upl_target target = {
                .container = t->container,
                .blob = t->intent.name,
                .lease_id = t->leased ? t->intent.lease_id : NULL,
        };

        if (t->plan->kind == UPL_PLAN_PAGES)
                return upl_put_pages(request, &target, part->offset_bytes, data, part->length_bytes,
                                     sum);
        return upl_put_block(request, &target, t->parts[i].id, data, part->length_bytes, sum);
}

static int launch(struct upl_transfer *t, size_t i, void *data)
{
        struct flight *f = calloc(1, sizeof *f);
        int r = f ? build(t, i, data, &f->call.request) : -ENOMEM;

        if (r == 0) {
                f->t = t;
                f->part = i;
                f->data = data;
                f->call.done = on_landed;
                (void)pthread_mutex_lock(&t->lock);
                t->n_flying++;
                (void)pthread_mutex_unlock(&t->lock);
                r = upl_client_start(t->env->client, &f->call);
                if (r == 0)
                        return 0;
                (void)pthread_mutex_lock(&t->lock);
                t->n_flying--;
                (void)pthread_mutex_unlock(&t->lock);
        }
        if (f)
                upl_call_clear(&f->call);
        free(f);
        upl_part_unload(t, i, data);
        return r;
}

/* Stores what was acknowledged since the last time. */
static int record_pages(struct upl_transfer *t)
{
        for (;;) {
                const struct upl_part *part = NULL;
                int r;

                (void)pthread_mutex_lock(&t->lock);
                if (t->n_recorded < t->n_acknowledged)
                        part = &t->plan->parts[t->acknowledged[t->n_recorded++]];
                (void)pthread_mutex_unlock(&t->lock);
                if (!part)
                        return 0;
                r = upl_state_page(t->env->state, t->item->blob->index, part->offset_bytes,
                                   part->length_bytes);
                if (r < 0)
                        return r;
        }
}

/* Until nothing is in flight; the lease is kept meanwhile. */
static void wait_landed(struct upl_transfer *t)
{
        (void)pthread_mutex_lock(&t->lock);
        while (t->n_flying > 0) {
                struct timespec until;

                (void)clock_gettime(CLOCK_REALTIME, &until);
                until.tv_sec += LEASE_LOOK_SECONDS;
                (void)pthread_cond_timedwait(&t->changed, &t->lock, &until);
                (void)pthread_mutex_unlock(&t->lock);
                /* A lease that is lost shows at the commit, by its condition. */
                if (upl_transfer_keep_lease(t) < 0)
                        bth_debug("the lease of a blob could not be renewed, ignoring");
                (void)pthread_mutex_lock(&t->lock);
        }
        (void)pthread_mutex_unlock(&t->lock);
}

static bool has_failed(struct upl_transfer *t)
{
        bool failed;

        (void)pthread_mutex_lock(&t->lock);
        failed = t->failed < 0;
        (void)pthread_mutex_unlock(&t->lock);
        return failed;
}

/* One part on its way, unless the service has it. Returns 0 or a negative errno. */
static int send_part(struct upl_transfer *t, size_t i)
{
        void *data;
        int r;

        if (is_there(t, i)) {
                mark_sent(t, i);
                return 0;
        }
        r = upl_part_load(t, i, &data);
        if (r < 0)
                return r;
        /* Of blocks that we cut, the id is known only now. A new page blob is zero everywhere. */
        if (remote_has(t, i) ||
            (t->plan->kind == UPL_PLAN_PAGES && is_zero(data, t->plan->parts[i].length_bytes))) {
                upl_part_unload(t, i, data);
                mark_sent(t, i);
                return 0;
        }
        return launch(t, i, data);
}

/* Is it this part only that failed, so that the rest is tried? */
static bool is_of_part(int r)
{
        return r == -EIO || r == -EILSEQ || r == -ENODATA;
}

int upl_parts_send(struct upl_transfer *t)
{
        struct bth_error first = BTH_ERROR_INIT;
        int r = 0, worst = 0;

        t->failed = 0;
        if (t->plan->kind == UPL_PLAN_BLOCKS && (t->result->resumed || t->n_overwrites > 0))
                r = fetch_remote(t);
        for (size_t i = 0; i < t->plan->n_parts && r == 0 && !has_failed(t); i++) {
                bool sent;

                (void)pthread_mutex_lock(&t->lock);
                sent = t->parts[i].sent;
                (void)pthread_mutex_unlock(&t->lock);
                if (sent)
                        continue;
                r = atomic_load(t->env->stop) ? -ECANCELED : upl_transfer_keep_lease(t);
                if (r == 0)
                        r = record_pages(t);
                if (r == 0)
                        r = send_part(t, i);
                if (is_of_part(r)) {
                        if (worst == 0)
                                first = t->result->error;
                        worst = worst ? worst : r;
                        r = 0;
                }
        }
        wait_landed(t);
        if (r == 0)
                r = record_pages(t);
        if (r < 0)
                return r;
        if (t->failed < 0) {
                t->result->error = t->failed_error;
                return t->failed;
        }
        if (worst < 0)
                t->result->error = first;
        return worst;
}

/* --- reading back --- */

static int read_back(struct upl_transfer *t, size_t i)
{
        const struct upl_part *part = &t->plan->parts[i];
        struct upl_target target = { .container = t->container, .blob = t->intent.name };
        _cleanup_call_ struct upl_call call = { 0 };
        uint8_t md5[BTH_MD5_BYTES];
        int r;

        r = upl_get_blob(&call.request, &target, part->offset_bytes, part->length_bytes, false);
        if (r < 0)
                return r;
        call.request.max_answer_bytes = (size_t)part->length_bytes;
        r = upl_client_call(t->env->client, &call, &t->result->error);
        if (r < 0)
                return r;
        if (call.content->length == part->length_bytes) {
                upl_hasher_md5(t->env->hasher, call.content->data, call.content->length, md5);
                if (t->parts[i].has_md5 && memcmp(md5, t->parts[i].md5, BTH_MD5_BYTES) == 0)
                        return 0;
        }
        return part_fault(t, i, -EBADMSG, BTH_REASON_HASH_MISMATCH, BTH_RANGE_STATUS_CORRUPTED,
                          "what was read back is not what was sent");
}

int upl_parts_read_back(struct upl_transfer *t)
{
        int r = 0;

        for (size_t i = 0; i < t->plan->n_parts && r == 0; i++) {
                uint64_t n = t->plan->parts[i].length_bytes;

                r = atomic_load(t->env->stop) ? -ECANCELED : upl_budget_take(t->env->budget, n);
                if (r < 0)
                        break;
                r = read_back(t, i);
                upl_budget_give(t->env->budget, n);
        }
        return r;
}
