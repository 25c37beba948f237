/* SPDX-License-Identifier: GPL-3.0-or-later */
/* budget - see budget.h. */
#include "uploader/budget.h"

#include <assert.h>
#include <pthread.h>

#include "base/source.h"
#include "base/time.h"
#include "uploader/pool.h"

struct upl_budget {
        pthread_mutex_t lock; /* over all below; nothing is locked while it is held */
        pthread_cond_t changed;
        uint64_t total_bytes, taken_bytes, peak_bytes;
        struct upl_pool pool;
        uint64_t next_turn, serving; /* tickets: who came first is served first */
        bool closed;
        uint64_t waiting[_UPL_WAIT_MAX];
        uint64_t waited_usec[_UPL_WAIT_MAX];
        uint64_t updated_usec[_UPL_WAIT_MAX];
};

const char *upl_wait_to_string(enum upl_wait w)
{
        static const char *const names[_UPL_WAIT_MAX] = {
                [UPL_WAIT_DISK] = "disk",       [UPL_WAIT_CPU] = "cpu",
                [UPL_WAIT_NETWORK] = "network", [UPL_WAIT_THROTTLED] = "throttled",
                [UPL_WAIT_BUDGET] = "budget",
        };

        return w >= 0 && w < _UPL_WAIT_MAX ? names[w] : NULL;
}

int upl_budget_new(uint64_t total_bytes, struct upl_budget **ret_budget)
{
        struct upl_budget *b;

        if (total_bytes == 0)
                return -EINVAL;
        b = calloc(1, sizeof *b);
        if (!b)
                return -ENOMEM;
        if (pthread_mutex_init(&b->lock, NULL) != 0) {
                free(b);
                return -ENOMEM;
        }
        if (pthread_cond_init(&b->changed, NULL) != 0) {
                (void)pthread_mutex_destroy(&b->lock);
                free(b);
                return -ENOMEM;
        }
        b->total_bytes = total_bytes;
        *ret_budget = b;
        return 0;
}

struct upl_budget *upl_budget_free(struct upl_budget *b)
{
        if (!b)
                return NULL;
        assert(b->taken_bytes == 0);
        upl_pool_free_chain(upl_pool_trim(&b->pool, 0));
        (void)pthread_cond_destroy(&b->changed);
        (void)pthread_mutex_destroy(&b->lock);
        free(b);
        return NULL;
}

/* Brings the time that all current waiters have waited up to now into the sum. */
static void account(struct upl_budget *b, enum upl_wait w)
{
        uint64_t now = bth_now_monotonic_usec();

        if (b->waiting[w] > 0)
                b->waited_usec[w] += (now - b->updated_usec[w]) * b->waiting[w];
        b->updated_usec[w] = now;
}

static void wait_change(struct upl_budget *b, enum upl_wait w, bool begin)
{
        account(b, w);
        assert(begin || b->waiting[w] > 0);
        if (begin)
                b->waiting[w]++;
        else
                b->waiting[w]--;
}

/* Nobody is told who does not wait: with small files that would be every call. */
static void wake(struct upl_budget *b)
{
        if (b->waiting[UPL_WAIT_BUDGET] > 0)
                (void)pthread_cond_broadcast(&b->changed);
}

static bool has_room(const struct upl_budget *b, uint64_t bytes)
{
        return b->taken_bytes == 0 ||
               (b->taken_bytes <= b->total_bytes && bytes <= b->total_bytes - b->taken_bytes);
}

/* How much may lie in the pool beside what is taken. */
static uint64_t room_for_pool(const struct upl_budget *b)
{
        return b->total_bytes - MIN(b->taken_bytes, b->total_bytes);
}

/* Called and left with the lock held. */
static int take_locked(struct upl_budget *b, uint64_t bytes)
{
        uint64_t turn;
        int r = 0;

        turn = b->next_turn++;
        if (!b->closed && !(turn == b->serving && has_room(b, bytes))) {
                wait_change(b, UPL_WAIT_BUDGET, true);
                while (!b->closed && !(turn == b->serving && has_room(b, bytes)))
                        (void)pthread_cond_wait(&b->changed, &b->lock);
                wait_change(b, UPL_WAIT_BUDGET, false);
        }
        if (b->closed)
                r = -ECANCELED;
        else {
                b->taken_bytes += bytes;
                b->peak_bytes = MAX(b->peak_bytes, b->taken_bytes);
                b->serving++;
        }
        wake(b);
        return r;
}

int upl_budget_take(struct upl_budget *b, uint64_t bytes)
{
        void *chain;
        int r;

        (void)pthread_mutex_lock(&b->lock);
        r = take_locked(b, bytes);
        chain = upl_pool_trim(&b->pool, room_for_pool(b));
        (void)pthread_mutex_unlock(&b->lock);
        upl_pool_free_chain(chain);
        return r;
}

/* Memory for what was taken, if it was; called with the lock held, left without it. */
static int finish_taking(struct upl_budget *b, const uint64_t *bytes, size_t n, int r,
                         void **ret_buffers)
{
        void *chain;

        for (size_t i = 0; i < n; i++)
                ret_buffers[i] = r == 0 ? upl_pool_get(&b->pool, bytes[i]) : NULL;
        chain = upl_pool_trim(&b->pool, room_for_pool(b));
        (void)pthread_mutex_unlock(&b->lock);
        upl_pool_free_chain(chain);
        for (size_t i = 0; i < n && r == 0; i++) {
                if (!ret_buffers[i])
                        ret_buffers[i] = bth_io_buffer_new((size_t)upl_pool_size(bytes[i]));
                if (!ret_buffers[i])
                        r = -ENOMEM;
        }
        for (size_t i = 0; i < n && r == -ENOMEM; i++) {
                free(ret_buffers[i]);
                upl_budget_give(b, bytes[i]);
        }
        return r;
}

int upl_budget_take_buffers(struct upl_budget *b, const uint64_t *bytes, size_t n,
                            void **ret_buffers)
{
        uint64_t sum = 0;

        for (size_t i = 0; i < n; i++)
                sum += bytes[i];
        (void)pthread_mutex_lock(&b->lock);
        return finish_taking(b, bytes, n, take_locked(b, sum), ret_buffers);
}

int upl_budget_take_buffer(struct upl_budget *b, uint64_t bytes, void **ret_buffer)
{
        return upl_budget_take_buffers(b, &bytes, 1, ret_buffer);
}

uint64_t upl_budget_total(struct upl_budget *b)
{
        uint64_t total;

        (void)pthread_mutex_lock(&b->lock);
        total = b->total_bytes;
        (void)pthread_mutex_unlock(&b->lock);
        return total;
}

int upl_budget_try_buffer(struct upl_budget *b, uint64_t bytes, void **ret_buffer)
{
        (void)pthread_mutex_lock(&b->lock);
        if (!b->closed && (b->next_turn != b->serving || !has_room(b, bytes))) {
                (void)pthread_mutex_unlock(&b->lock);
                return -EAGAIN;
        }
        return finish_taking(b, &bytes, 1, take_locked(b, bytes), ret_buffer);
}

/* Called with the lock held. */
static void give_locked(struct upl_budget *b, uint64_t bytes)
{
        assert(bytes <= b->taken_bytes);
        b->taken_bytes -= bytes;
        wake(b);
}

void upl_budget_give(struct upl_budget *b, uint64_t bytes)
{
        (void)pthread_mutex_lock(&b->lock);
        give_locked(b, bytes);
        (void)pthread_mutex_unlock(&b->lock);
}

void upl_budget_give_buffer(struct upl_budget *b, uint64_t bytes, void *buffer)
{
        bool kept;

        (void)pthread_mutex_lock(&b->lock);
        give_locked(b, bytes);
        kept = b->pool.cached_bytes + upl_pool_size(bytes) <= room_for_pool(b) &&
               upl_pool_put(&b->pool, buffer, bytes);
        (void)pthread_mutex_unlock(&b->lock);
        if (!kept)
                free(buffer);
}

void upl_budget_resize(struct upl_budget *b, uint64_t total_bytes)
{
        (void)pthread_mutex_lock(&b->lock);
        b->total_bytes = MAX(total_bytes, UINT64_C(1));
        (void)pthread_cond_broadcast(&b->changed);
        (void)pthread_mutex_unlock(&b->lock);
}

void upl_budget_close(struct upl_budget *b)
{
        (void)pthread_mutex_lock(&b->lock);
        b->closed = true;
        (void)pthread_cond_broadcast(&b->changed);
        (void)pthread_mutex_unlock(&b->lock);
}

void upl_wait_begin(struct upl_budget *b, enum upl_wait w)
{
        (void)pthread_mutex_lock(&b->lock);
        wait_change(b, w, true);
        (void)pthread_mutex_unlock(&b->lock);
}

void upl_wait_end(struct upl_budget *b, enum upl_wait w)
{
        (void)pthread_mutex_lock(&b->lock);
        wait_change(b, w, false);
        (void)pthread_mutex_unlock(&b->lock);
}

void upl_budget_look(struct upl_budget *b, struct upl_budget_state *ret_state)
{
        (void)pthread_mutex_lock(&b->lock);
        *ret_state = (struct upl_budget_state){
                .total_bytes = b->total_bytes,
                .taken_bytes = b->taken_bytes,
                .peak_bytes = b->peak_bytes,
        };
        for (enum upl_wait w = 0; w < _UPL_WAIT_MAX; w++) {
                account(b, w);
                ret_state->waiting[w] = b->waiting[w];
                ret_state->waited_usec[w] = b->waited_usec[w];
        }
        (void)pthread_mutex_unlock(&b->lock);
}
