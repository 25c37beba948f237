/* SPDX-License-Identifier: GPL-3.0-or-later */
/* renew - see renew.h. */
#include "uploader/renew.h"

#include <pthread.h>

#include "base/time.h"
#include "uploader/ticker.h"

#define LOOK_USEC          (1 * BTH_USEC_PER_SEC) /* how often to see whether it is refused */
#define LONGEST_RETRY_USEC (60 * BTH_USEC_PER_SEC)

struct upl_renewer {
        struct upl_renewer_options o;
        struct upl_ticker *ticker;

        /* Of the ticker's thread. */
        struct bth_secret *last;
        uint64_t due_usec;   /* by the real-time clock */
        uint64_t again_usec; /* by the monotonic one: not before, after a fetch that was no help */
        uint64_t wait_usec;  /* the last such wait; 0: none */

        pthread_mutex_t lock; /* over `error`; nothing is locked while it is held */
        struct bth_error error;
};

static void set_error(struct upl_renewer *r, const struct bth_error *error)
{
        (void)pthread_mutex_lock(&r->lock);
        r->error = *error;
        (void)pthread_mutex_unlock(&r->lock);
}

static void try_later(struct upl_renewer *r, uint64_t now)
{
        r->wait_usec = r->wait_usec ? MIN(r->wait_usec * 2, LONGEST_RETRY_USEC) : LOOK_USEC;
        r->again_usec = now + r->wait_usec;
}

static void fetch(struct upl_renewer *r, uint64_t now)
{
        struct bth_error error = BTH_ERROR_INIT;
        struct upl_token token = { 0 };
        int e = r->o.fetch(r->o.userdata, &token, &error);

        if (e == 0 && r->last && bth_secret_equal(r->last, token.text)) {
                /* Nothing new: what was refused would be refused again. */
                r->due_usec = upl_token_renew_at(&token, bth_now_realtime_usec());
                try_later(r, now);
        } else if (e == 0) {
                e = upl_credential_renew(r->o.credential, token.text, &error);
                if (e == 0) {
                        r->due_usec = upl_token_renew_at(&token, bth_now_realtime_usec());
                        r->wait_usec = r->again_usec = 0;
                        (void)bth_secret_free(r->last);
                        r->last = take_ptr(token.text);
                        upl_client_kick(r->o.client);
                }
        }
        if (e < 0) {
                error.code = e;
                try_later(r, now);
        }
        set_error(r, &error);
        upl_token_clear(&token);
}

static uint64_t on_tick(void *userdata)
{
        struct upl_renewer *r = userdata;
        uint64_t now = bth_now_monotonic_usec();
        struct upl_client_state state;

        upl_client_look(r->o.client, &state);
        if (now >= r->again_usec &&
            (state.refused_since_usec > 0 || bth_now_realtime_usec() >= r->due_usec))
                fetch(r, now);
        return LOOK_USEC;
}

int upl_renewer_new(const struct upl_renewer_options *options, struct upl_renewer **ret_renewer)
{
        struct upl_renewer *r = calloc(1, sizeof *r);
        int e;

        if (!r)
                return -ENOMEM;
        r->o = *options;
        r->due_usec = r->o.first_usec;
        r->error = BTH_ERROR_INIT;
        e = -pthread_mutex_init(&r->lock, NULL);
        if (e < 0) {
                free(r);
                return e;
        }
        e = upl_ticker_new(on_tick, r, 0, &r->ticker);
        if (e < 0) {
                (void)pthread_mutex_destroy(&r->lock);
                free(r);
                return e;
        }
        *ret_renewer = r;
        return 0;
}

struct upl_renewer *upl_renewer_free(struct upl_renewer *r)
{
        if (!r)
                return NULL;
        (void)upl_ticker_free(r->ticker);
        (void)pthread_mutex_destroy(&r->lock);
        (void)bth_secret_free(r->last);
        free(r);
        return NULL;
}

void upl_renewer_error(struct upl_renewer *r, struct bth_error *ret_error)
{
        (void)pthread_mutex_lock(&r->lock);
        *ret_error = r->error;
        (void)pthread_mutex_unlock(&r->lock);
}

int upl_renew_from_file(void *userdata, struct upl_token *ret_token, struct bth_error *error)
{
        return upl_token_from_file(userdata, ret_token, error);
}

int upl_renew_from_identity(void *userdata, struct upl_token *ret_token, struct bth_error *error)
{
        const struct upl_renew_identity *i = userdata;

        return upl_token_from_identity(i->base, i->client_id, ret_token, error);
}
