/* SPDX-License-Identifier: GPL-3.0-or-later */
/* batch - see batch.h. */
#include "uploader/batch.h"

#include <assert.h>
#include <string.h>

#include "uploader/parts.h"

struct batch {
        struct upl_transfer_env *env;
        pthread_mutex_t lock; /* over n_flying; nothing is locked while it is held */
        pthread_cond_t changed;
        unsigned n_flying;
};

struct lot {
        struct batch *batch;
        struct upl_batch_lot *out;
        struct upl_transfer t;
        struct upl_call call;
        void *data;
        uint8_t md5[BTH_MD5_BYTES];
        bool open;  /* `t` is to be closed */
        bool tried; /* the first try was made, and ended with `r` */
        int r;
};

bool upl_batch_takes(const struct upl_transfer_env *env, const struct upl_transfer_item *item)
{
        const struct med_manifest_blob *b = item->blob;

        return !env->readback && b->length_bytes > 0 && b->length_bytes <= UPL_BATCH_BLOB_BYTES &&
               ((b->kind == MED_MANIFEST_BLOCK && b->n_ranges == 1) ||
                b->kind == MED_MANIFEST_NONE);
}

/* Is it in the state in which a first try is made without looking? */
static bool is_fresh(const struct lot *l)
{
        return l->r == 0 && l->open && !l->t.decided && l->t.plan->kind == UPL_PLAN_PUT_BLOB &&
               l->t.plan->n_parts == 1 && upl_part_check_quietly(&l->t, 0);
}

static void open_lot(struct batch *b, struct lot *l, struct upl_batch_lot *out)
{
        l->batch = b;
        l->out = out;
        l->t = (struct upl_transfer){ .env = b->env, .item = &out->item, .result = &out->result };
        l->r = upl_transfer_open(&l->t);
        l->open = l->r != TRANSFER_KNOWN;
}

/* Reads the fresh ones into memory that is free just now. */
static void read_lots(struct batch *b, struct lot *lots, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                const struct upl_part *part;
                struct lot *l = &lots[i];

                if (!is_fresh(l))
                        continue;
                part = &l->t.plan->parts[0];
                if (upl_budget_try_buffer(b->env->budget, part->length_bytes, &l->data) < 0)
                        continue;
                upl_wait_begin(b->env->budget, UPL_WAIT_DISK);
                if (bth_source_read(l->out->item.content, part->offset_bytes, l->data,
                                    (size_t)part->length_bytes) < 0) {
                        upl_part_unload(&l->t, 0, l->data);
                        l->data = NULL;
                }
                upl_wait_end(b->env->budget, UPL_WAIT_DISK);
        }
}

/* Hashes what was read; what does not have its hash is left for the usual way, which reads it
 * again.
 */
static void hash_lots(struct batch *b, struct lot *lots, size_t n)
{
        struct cry_md5_job jobs[UPL_BATCH_MAX];
        struct cry_md5 md5[UPL_BATCH_MAX];
        size_t n_jobs = 0;

        for (size_t i = 0; i < n; i++) {
                struct lot *l = &lots[i];

                if (!l->data || (b->env->service_hash && l->t.plan->parts[0].has_md5))
                        continue;
                cry_md5_init(&md5[i]);
                jobs[n_jobs++] = (struct cry_md5_job){ &md5[i], l->data,
                                                       (size_t)l->t.plan->parts[0].length_bytes };
        }
        /* In this thread: sixteen lanes are full, and nobody is woken. */
        cry_md5_update_many(jobs, n_jobs);
        for (size_t i = 0; i < n; i++) {
                struct lot *l = &lots[i];

                if (!l->data || (b->env->service_hash && l->t.plan->parts[0].has_md5))
                        continue;
                cry_md5_finish(&md5[i], l->md5);
                if (!upl_part_take_hash(&l->t, 0, l->md5)) {
                        upl_part_unload(&l->t, 0, l->data);
                        l->data = NULL;
                }
        }
}

/* On the client's thread. */
static void on_landed(struct upl_call *call)
{
        struct batch *b = container_of(call, struct lot, call)->batch;

        (void)pthread_mutex_lock(&b->lock);
        if (--b->n_flying == 0)
                (void)pthread_cond_signal(&b->changed);
        (void)pthread_mutex_unlock(&b->lock);
}

/* Once the begin of the transfer is recorded, first tries need no record of their own; for that the
 * service's clock must be known, and any answer tells it. */
static void learn_clock(struct batch *b, struct lot *lots, size_t n)
{
        for (size_t i = 0; i < n && upl_state_begun(b->env->state) == 0; i++) {
                struct upl_target target = { .container = lots[i].t.container,
                                             .blob = lots[i].t.name };
                _cleanup_call_ struct upl_call call = { 0 };

                if (!lots[i].data)
                        continue;
                if (upl_transfer_call(&lots[i].t, &call,
                                      upl_get_properties(&call.request, &target)) < 0)
                        bth_error_clear(&lots[i].out->result.error);
                return;
        }
}

static void send_lots(struct batch *b, struct lot *lots, size_t n)
{
        struct upl_call *calls[UPL_BATCH_MAX];
        size_t n_calls = 0;

        for (size_t i = 0; i < n; i++) {
                struct lot *l = &lots[i];

                if (!l->data || atomic_load(b->env->stop))
                        continue;
                /* Another entry has its name: what it gets instead must be looked for. */
                l->r = upl_transfer_claim(&l->t, l->t.name);
                if (l->r == -EEXIST) {
                        l->r = 0;
                        continue;
                }
                if (l->r == 0)
                        l->r = upl_transfer_decide(&l->t);
                if (l->r == 0)
                        l->r = upl_transfer_build_whole(&l->t, l->data, &l->call);
                if (l->r < 0)
                        continue;
                l->call.done = on_landed;
                l->tried = true;
                calls[n_calls++] = &l->call;
        }
        b->n_flying = (unsigned)n_calls;
        n_calls = upl_client_start_many(b->env->client, calls, n_calls);
        (void)pthread_mutex_lock(&b->lock);
        /* Those behind were not started. */
        for (size_t i = 0; i < n; i++)
                if (lots[i].tried && !lots[i].call.attempt) {
                        lots[i].tried = false;
                        lots[i].r = -ECANCELED;
                        b->n_flying--;
                }
        while (b->n_flying > 0)
                (void)pthread_cond_wait(&b->changed, &b->lock);
        (void)pthread_mutex_unlock(&b->lock);
}

/* What came of the first try, and then whatever else it takes. */
static void end_lot(struct lot *l)
{
        if (!l->open) {
                l->out->r = 0;
                return;
        }
        if (l->tried)
                l->r = upl_transfer_whole_answered(&l->t, &l->call);
        upl_call_clear(&l->call);
        if (l->data)
                upl_part_unload(&l->t, 0, l->data);
        if (l->r == 0 || l->tried)
                l->r = upl_transfer_drive(&l->t, l->tried, l->r);
        l->out->r = upl_transfer_close(&l->t, l->r);
}

void upl_batch_run(struct upl_transfer_env *env, struct upl_batch_lot *out, size_t n)
{
        struct batch b = { .env = env,
                           .lock = PTHREAD_MUTEX_INITIALIZER,
                           .changed = PTHREAD_COND_INITIALIZER };
        _cleanup_free_ struct lot *lots = calloc(UPL_BATCH_MAX, sizeof *lots);

        assert(n <= UPL_BATCH_MAX);
        for (size_t i = 0; i < n; i++) {
                if (!lots) {
                        out[i].r = -ENOMEM;
                        continue;
                }
                open_lot(&b, &lots[i], &out[i]);
        }
        if (!lots)
                return;
        if (n > 1) {
                read_lots(&b, lots, n);
                hash_lots(&b, lots, n);
                learn_clock(&b, lots, n);
                send_lots(&b, lots, n);
        }
        for (size_t i = 0; i < n; i++)
                end_lot(&lots[i]);
}
