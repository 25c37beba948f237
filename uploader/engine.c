/* SPDX-License-Identifier: GPL-3.0-or-later */
/* engine - see engine.h. */
#include "uploader/engine.h"

#include <pthread.h>

#include "uploader/batch.h"

#define DEFAULT_THREADS    32u
#define THREAD_STACK_BYTES ((size_t)256 << 10)

struct engine {
        const struct upl_engine_options *options;
        pthread_mutex_t lock; /* over `failed`, and around the three functions of the options */
        int failed;
        bool at_end;
};

/* Takes the next blob. Returns false when there is none, or none wanted. Called with the lock held.
 */
static bool take(struct engine *e, struct upl_batch_lot *lot)
{
        const struct upl_engine_options *o = e->options;
        int r = 0;

        if (e->failed == 0 && !e->at_end) {
                r = atomic_load(o->env->stop) ? -ECANCELED
                                              : o->next(o->userdata, &lot->item, &lot->cookie);
                if (r < 0)
                        e->failed = r;
                e->at_end = r <= 0;
        }
        return r > 0;
}

/* Takes one blob, and more as long as they are small. */
static size_t take_some(struct engine *e, struct upl_batch_lot *lots)
{
        size_t n = 0;

        (void)pthread_mutex_lock(&e->lock);
        while (n < UPL_BATCH_MAX && take(e, &lots[n]))
                if (!upl_batch_takes(e->options->env, &lots[n++].item))
                        break;
        (void)pthread_mutex_unlock(&e->lock);
        return n;
}

static void tell_end(struct engine *e, struct upl_batch_lot *lot)
{
        const struct upl_engine_options *o = e->options;

        if (lot->r == 0)
                o->ended(o->userdata, lot->cookie, &lot->item, &lot->result);
        else if (o->dropped)
                o->dropped(o->userdata, lot->cookie);
        if (lot->r < 0 && e->failed == 0)
                e->failed = lot->r;
}

static void *engine_thread(void *userdata)
{
        struct engine *e = userdata;
        struct upl_batch_lot lots[UPL_BATCH_MAX];
        size_t n;

        while ((n = take_some(e, lots)) > 0) {
                upl_batch_run(e->options->env, lots, n);
                (void)pthread_mutex_lock(&e->lock);
                for (size_t i = 0; i < n; i++)
                        tell_end(e, &lots[i]);
                (void)pthread_mutex_unlock(&e->lock);
                for (size_t i = 0; i < n; i++)
                        if (lots[i].r == 0)
                                upl_transfer_result_clear(&lots[i].result);
        }
        return NULL;
}

static int start_reporting(const struct upl_engine_options *o, struct upl_reporter **ret_reporter)
{
        struct upl_reporter_options r = { o->env->client, o->env->budget, o->report_usec, o->report,
                                          o->userdata };

        return o->report ? upl_reporter_new(&r, ret_reporter) : 0;
}

int upl_engine_run(const struct upl_engine_options *options)
{
        _cleanup_(upl_reporter_freep) struct upl_reporter *reporter = NULL;
        struct engine e = { .options = options, .lock = PTHREAD_MUTEX_INITIALIZER };
        unsigned wanted = options->threads ? options->threads : DEFAULT_THREADS, n = 0;
        pthread_t threads[UPL_ENGINE_THREADS_MAX];
        pthread_attr_t attributes;
        int r, flushed;

        if (wanted > UPL_ENGINE_THREADS_MAX)
                return -EINVAL;
        r = start_reporting(options, &reporter);
        if (r == 0)
                r = -pthread_attr_init(&attributes);
        if (r < 0)
                return r;
        r = -pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
        for (; r == 0 && n < wanted; n++) {
                r = -pthread_create(&threads[n], &attributes, engine_thread, &e);
                if (r < 0)
                        break;
        }
        (void)pthread_attr_destroy(&attributes);
        for (unsigned i = 0; i < n; i++)
                (void)pthread_join(threads[i], NULL);
        /* With at least one thread everything was done, only slower. */
        if (n > 0)
                r = e.failed;
        flushed = upl_state_flush(options->env->state);
        return r < 0 ? r : flushed;
}

void upl_engine_stop(struct upl_transfer_env *env, atomic_bool *stop)
{
        atomic_store(stop, true);
        upl_budget_close(env->budget);
        upl_client_stop(env->client);
}
