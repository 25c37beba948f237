/* SPDX-License-Identifier: GPL-3.0-or-later */
/* parts - see parts.h. */
#include "uploader/parts.h"

#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/time.h"

#define STREAMS_MAX 4u /* long blocks of one blob at once */

struct upl_flight {
        struct upl_call call;
        struct upl_transfer *t;
        size_t part;
        void *data;                /* NULL: streamed */
        struct upl_stream *stream; /* NULL: held */
        int result;
        struct upl_flight *next; /* in t->ended */
};

/* By content: ids tell it, and the length guards against an id that lies. */
static int compare_parts(const void *a, const void *b, void *userdata)
{
        const struct upl_transfer *t = userdata;
        const size_t *x = a, *y = b;
        uint64_t n = t->plan->parts[*x].length_bytes, m = t->plan->parts[*y].length_bytes;
        int order = strcmp(t->parts[*x].id, t->parts[*y].id);

        if (order != 0)
                return order;
        if (n != m)
                return n < m ? -1 : 1;
        return *x < *y ? -1 : *x > *y;
}

/* Blocks of the same content have the same id: one is sent, and committed in every place. */
static int find_repetitions(struct upl_transfer *t)
{
        size_t n = t->plan->n_parts;
        _cleanup_free_ size_t *order = NULL;

        for (size_t i = 0; i < n; i++)
                t->parts[i].same_as = i;
        if (t->plan->kind != UPL_PLAN_BLOCKS || !t->parts[0].has_id)
                return 0;
        order = calloc(n, sizeof *order);
        if (!order)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                order[i] = i;
        qsort_r(order, n, sizeof *order, compare_parts, t);
        for (size_t i = 1; i < n; i++) {
                const struct upl_part_state *before = &t->parts[order[i - 1]];

                if (strcmp(before->id, t->parts[order[i]].id) == 0 &&
                    t->plan->parts[order[i - 1]].length_bytes ==
                            t->plan->parts[order[i]].length_bytes)
                        t->parts[order[i]].same_as = before->same_as;
        }
        return 0;
}

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
        if (find_repetitions(t) < 0 || pthread_mutex_init(&t->lock, NULL) != 0)
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

/* --- what the service has already --- */

static int compare_ids(const void *a, const void *b)
{
        const struct upl_remote_block *x = a, *y = b;

        return strcmp(x->id, y->id);
}

/* The service takes only ids of one length for a blob, and we do not throw away what is not ours.
 */
static int foreign_blocks(struct upl_transfer *t, struct bth_error *error)
{
        bth_error_blob(error, t->item->blob->blob_path);
        return bth_error_set(error, -EPROTO, BTH_REASON_FOREIGN_BLOCKS,
                             "somebody else has left uncommitted blocks with ids of another length "
                             "under this name");
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
                if (strlen(t->remote.items[i].id) != want)
                        return foreign_blocks(t, &t->result->error);
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

/* A new page blob is zero everywhere. */
static bool need_not_be_written(const struct upl_transfer *t, size_t i, const void *data)
{
        return t->plan->kind == UPL_PLAN_PAGES && !t->parts[i].dirty &&
               is_zero(data, t->plan->parts[i].length_bytes);
}

/* --- sending --- */

static void mark_sent(struct upl_transfer *t, size_t i)
{
        (void)pthread_mutex_lock(&t->lock);
        t->parts[i].sent = true;
        t->result->ranges[i] = BTH_RANGE_STATUS_COMPLETED;
        (void)pthread_mutex_unlock(&t->lock);
}

static void land_well(struct upl_flight *f)
{
        struct upl_transfer *t = f->t;

        t->parts[f->part].sent = true;
        t->result->ranges[f->part] = BTH_RANGE_STATUS_COMPLETED;
        t->result->sent_bytes += t->plan->parts[f->part].length_bytes;
        if (t->plan->kind == UPL_PLAN_PAGES)
                t->acknowledged[t->n_acknowledged++] = f->part;
}

static void land_badly(struct upl_flight *f, int result)
{
        struct upl_transfer *t = f->t;

        /* Either the drive or our memory was wrong: once more from the drive, hashed here. */
        if (result == -EBADMSG && !t->parts[f->part].recheck) {
                t->parts[f->part].recheck = t->again = true;
                return;
        }
        t->result->ranges[f->part] = BTH_RANGE_STATUS_BLOB_REQUEST_FAILED;
        if (result == -ENOENT && strcmp(f->call.code, "ContainerNotFound") == 0)
                t->container_missing = true;
        if (t->failed < 0)
                return;
        t->failed = result;
        t->failed_error = BTH_ERROR_INIT;
        if (strcmp(f->call.code, "InvalidBlobOrBlock") == 0)
                (void)foreign_blocks(t, &t->failed_error);
        else if (f->call.result < 0)
                (void)upl_call_explain(&f->call, &t->failed_error);
        else
                (void)bth_error_set(&t->failed_error, result, BTH_REASON_HASH_MISMATCH,
                                    "the service answered with another hash than was sent");
}

/* On the client's thread. Once the lock is given back with nothing flying, the transfer may be
 * gone. */
static void on_landed(struct upl_call *call)
{
        struct upl_flight *f = container_of(call, struct upl_flight, call);
        struct upl_transfer *t = f->t;
        struct upl_checksum sum = upl_part_checksum(t, f->part);
        int result = call->result;

        if (result == 0 && !upl_checksum_echoed(call->answer, sum))
                result = -EBADMSG;
        if (f->stream) {
                /* Its thread may be reading: who frees it may have to wait, which we must not. */
                upl_stream_detach(f->stream);
                f->result = result;
                (void)pthread_mutex_lock(&t->lock);
                f->next = t->ended;
                t->ended = f;
                t->n_flying--;
                (void)pthread_cond_signal(&t->changed);
                (void)pthread_mutex_unlock(&t->lock);
                return;
        }
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

/* Keeps the first fault of a part and lets the others be tried. Returns 0, or what ends the blob.
 */
static int note_part(struct upl_transfer *t, int r)
{
        if (r != -EIO && r != -EILSEQ && r != -ENODATA)
                return r;
        if (t->part_failed == 0) {
                t->part_failed = r;
                t->part_error = t->result->error;
        }
        return 0;
}

/* Frees the long blocks whose calls have ended. Returns 0, or what ends the blob. */
static int harvest(struct upl_transfer *t)
{
        int r = 0;

        for (;;) {
                struct upl_flight *f;
                int fault;

                (void)pthread_mutex_lock(&t->lock);
                f = t->ended;
                if (f)
                        t->ended = f->next;
                (void)pthread_mutex_unlock(&t->lock);
                if (!f)
                        return r;
                fault = upl_stream_fault(f->stream);
                f->stream = upl_stream_free(f->stream);
                t->n_streams--;
                if (f->result < 0 && fault < 0) {
                        fault = note_part(t, upl_part_read_fault(t, f->part, fault));
                        r = r < 0 ? r : fault;
                } else {
                        (void)pthread_mutex_lock(&t->lock);
                        if (f->result == 0)
                                land_well(f);
                        else
                                land_badly(f, f->result);
                        (void)pthread_mutex_unlock(&t->lock);
                }
                upl_call_clear(&f->call);
                free(f);
        }
}

static int build(struct upl_transfer *t, size_t i, const void *data, struct upl_request *request)
{
        const struct upl_part *part = &t->plan->parts[i];
        struct upl_checksum sum = upl_part_checksum(t, i);
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

/* Takes over the buffer or the stream. */
static int launch(struct upl_transfer *t, size_t i, void *data, struct upl_stream *stream)
{
        struct upl_flight *f = calloc(1, sizeof *f);
        int r = f ? build(t, i, data, &f->call.request) : -ENOMEM;

        if (r == 0) {
                f->t = t;
                f->part = i;
                f->data = data;
                f->stream = stream;
                f->call.done = on_landed;
                if (stream)
                        upl_stream_attach(stream, &f->call);
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
        if (stream) {
                upl_stream_detach(stream);
                (void)upl_stream_free(stream);
                t->n_streams--;
        } else
                upl_part_unload(t, i, data);
        if (f)
                upl_call_clear(&f->call);
        free(f);
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

/* Until nothing is in flight and at most `streams` long blocks are; the lease is kept meanwhile.
 * Returns 0, or what ends the blob. */
static int wait_landed(struct upl_transfer *t, bool all, unsigned streams)
{
        int r = harvest(t), e;

        (void)pthread_mutex_lock(&t->lock);
        while ((all && t->n_flying > 0) || t->n_streams > streams) {
                struct timespec until;

                (void)clock_gettime(CLOCK_REALTIME, &until);
                until.tv_sec += UPL_LEASE_LOOK_SECONDS;
                if (!t->ended)
                        (void)pthread_cond_timedwait(&t->changed, &t->lock, &until);
                (void)pthread_mutex_unlock(&t->lock);
                e = harvest(t);
                r = r < 0 ? r : e;
                /* A lease that is lost shows at the commit, by its condition. */
                if (upl_transfer_keep_lease(t) < 0)
                        bth_debug("the lease of a blob could not be renewed, ignoring");
                (void)pthread_mutex_lock(&t->lock);
        }
        (void)pthread_mutex_unlock(&t->lock);
        return r;
}

static bool has_failed(struct upl_transfer *t)
{
        bool failed;

        (void)pthread_mutex_lock(&t->lock);
        failed = t->failed < 0;
        (void)pthread_mutex_unlock(&t->lock);
        return failed;
}

static int send_long(struct upl_transfer *t, size_t i)
{
        struct upl_stream *stream;
        int r = upl_part_learn_hash(t, i);

        if (r < 0)
                return r;
        if (remote_has(t, i)) {
                mark_sent(t, i);
                return 0;
        }
        r = wait_landed(t, false, STREAMS_MAX - 1);
        if (r == 0)
                r = upl_part_stream(t, i, &stream);
        if (r < 0)
                return r;
        t->n_streams++;
        return launch(t, i, NULL, stream);
}

/* The second round is for those that are to be read again; the first one for all. */
static bool wanted_in_round(const struct upl_transfer *t, size_t i)
{
        return t->round == 0 || t->parts[i].recheck;
}

/* Is the part one to be read and sent now, and not only known to be there? */
static bool is_to_be_loaded(struct upl_transfer *t, size_t i)
{
        bool sent;

        (void)pthread_mutex_lock(&t->lock);
        sent = t->parts[i].sent;
        (void)pthread_mutex_unlock(&t->lock);
        return !sent && !t->parts[i].bad && t->parts[i].same_as == i && wanted_in_round(t, i) &&
               upl_part_check_quietly(t, i) && !is_there(t, i);
}

/* Blocks from `i` on are read and hashed side by side, as many as half of the memory holds: then
 * one half is sent while the other is read. */
static int load_ahead(struct upl_transfer *t, size_t i)
{
        uint64_t left = upl_budget_total(t->env->budget) / 2;
        size_t parts[UPL_AHEAD_MAX], n = 0;

        if (t->plan->kind != UPL_PLAN_BLOCKS || t->next_ahead < t->n_ahead)
                return 0;
        for (; i < t->plan->n_parts && n < UPL_AHEAD_MAX; i++) {
                if (t->plan->parts[i].length_bytes > left || upl_part_is_long(t, i))
                        break;
                if (!is_to_be_loaded(t, i))
                        continue;
                left -= t->plan->parts[i].length_bytes;
                parts[n++] = i;
        }
        return n > 1 ? upl_parts_load_ahead(t, parts, n) : 0;
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
        if (upl_part_is_long(t, i))
                return send_long(t, i);
        r = load_ahead(t, i);
        data = r == 0 ? upl_parts_take_ahead(t, i) : NULL;
        if (r == 0 && !data) {
                /* Who waits for memory must hold none. */
                upl_parts_drop_ahead(t);
                r = upl_part_load(t, i, &data);
        }
        if (r < 0)
                return r;
        /* Of blocks that we cut, the id is known only now. */
        if (remote_has(t, i) || need_not_be_written(t, i, data)) {
                upl_part_unload(t, i, data);
                mark_sent(t, i);
                return 0;
        }
        return launch(t, i, data, NULL);
}

/* One part as it comes, unless it has arrived before or is the repetition of one. */
static int take_part(struct upl_transfer *t, size_t i)
{
        bool sent;
        int r = 0;

        (void)pthread_mutex_lock(&t->lock);
        sent = t->parts[i].sent;
        (void)pthread_mutex_unlock(&t->lock);
        if (t->plan->parts[i].n_pieces > 0 && !t->parts[i].has_crc64)
                r = note_part(t, upl_part_check_range(t, i));
        if (r < 0 || sent || t->parts[i].bad || !wanted_in_round(t, i))
                return r;
        if (t->parts[i].same_as != i)
                return note_part(t, upl_part_check_end(t, i));
        r = atomic_load(t->env->stop) ? -ECANCELED : upl_transfer_keep_lease(t);
        if (r == 0)
                r = record_pages(t);
        return r < 0 ? r : note_part(t, send_part(t, i));
}

/* What came of a part came of its repetitions, unless these had a fault of their own. */
static void spread_to_repetitions(struct upl_transfer *t)
{
        for (size_t i = 0; i < t->plan->n_parts; i++) {
                size_t first = t->parts[i].same_as;

                if (first == i || t->result->ranges[i] == BTH_RANGE_STATUS_FILE_UNEXPECTED_END)
                        continue;
                t->parts[i].sent = t->parts[first].sent;
                t->result->ranges[i] = t->result->ranges[first];
        }
}

/* What an earlier run, another station or a replaced blob's writer may have left. */
static int find_remote(struct upl_transfer *t)
{
        bool ours;

        if (t->plan->kind == UPL_PLAN_BLOCKS &&
            (t->result->resumed || t->n_overwrites > 0 || t->env->begun_usec > 0))
                return fetch_remote(t);
        if (t->plan->kind == UPL_PLAN_PAGES && t->result->resumed)
                return upl_pages_compare(t, &ours);
        return 0;
}

int upl_parts_send(struct upl_transfer *t)
{
        int r = 0, e;

        t->failed = t->part_failed = 0;
        r = find_remote(t);
        for (t->round = 0; r == 0 && t->round < 2; t->round++) {
                t->again = false;
                for (size_t i = 0; i < t->plan->n_parts && r == 0 && !has_failed(t); i++)
                        r = take_part(t, i);
                upl_parts_drop_ahead(t);
                e = wait_landed(t, true, 0);
                r = r < 0 ? r : e;
                if (!t->again)
                        break;
        }
        if (r == 0)
                r = record_pages(t);
        spread_to_repetitions(t);
        if (r < 0)
                return r;
        if (t->failed < 0) {
                t->result->error = t->failed_error;
                return t->failed;
        }
        if (t->part_failed < 0)
                t->result->error = t->part_error;
        return t->part_failed;
}
