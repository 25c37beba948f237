/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker-link - one lock around the socket. */
#include "uploader/worker-link.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "base/log.h"

#define LAST_TRIES     30
#define LAST_WAIT_USEC 10000u

struct upl_link {
        pthread_mutex_t
                lock; /* over the socket and all below; nothing is locked while it is held */
        int socket_fd;
        int broken; /* negative errno: the station is gone */
        bool finished;
};

int upl_link_new(int socket_fd, struct upl_link **ret_link)
{
        struct upl_link *l = calloc(1, sizeof *l);

        if (!l)
                return -ENOMEM;
        if (pthread_mutex_init(&l->lock, NULL) != 0) {
                free(l);
                return -ENOMEM;
        }
        l->socket_fd = socket_fd;
        *ret_link = l;
        return 0;
}

struct upl_link *upl_link_free(struct upl_link *l)
{
        if (l)
                (void)pthread_mutex_destroy(&l->lock);
        free(l);
        return NULL;
}

static int send_locked(struct upl_link *l, const struct bth_message *m)
{
        _cleanup_(bth_frame_freep) struct bth_frame *f = NULL;
        int r;

        if (l->broken < 0)
                return l->broken;
        r = bth_message_to_frame(m, &f);
        if (r < 0) {
                bth_debug("a report cannot be written: %s, ignoring", bth_strerror(r));
                return r;
        }
        r = bth_frame_send(l->socket_fd, f);
        if (r < 0)
                l->broken = r;
        return r;
}

void upl_link_send(struct upl_link *l, const struct bth_message *m)
{
        (void)pthread_mutex_lock(&l->lock);
        if (!l->finished)
                (void)send_locked(l, m);
        (void)pthread_mutex_unlock(&l->lock);
}

/* A Unix socket is writable only while most of its buffer is free, so a small frame fits. */
static bool has_room(const struct upl_link *l)
{
        struct pollfd p = { .fd = l->socket_fd, .events = POLLOUT };

        return poll(&p, 1, 0) > 0 && (p.revents & POLLOUT);
}

bool upl_link_offer(struct upl_link *l, const struct bth_message *m)
{
        bool sent = false;

        if (pthread_mutex_trylock(&l->lock) != 0)
                return false;
        if (!l->finished && has_room(l))
                sent = send_locked(l, m) == 0;
        (void)pthread_mutex_unlock(&l->lock);
        return sent;
}

int upl_link_finish(struct upl_link *l, const struct bth_message *result)
{
        int r = 0;

        (void)pthread_mutex_lock(&l->lock);
        if (!l->finished) {
                r = send_locked(l, result);
                r = r < 0 ? r : 1;
                l->finished = true;
        }
        (void)pthread_mutex_unlock(&l->lock);
        return r;
}

void upl_link_finish_now(struct upl_link *l, const struct bth_message *result)
{
        /* Another thread may be in the midst of a message. Most are sent at once. */
        for (int tries = 0; tries < LAST_TRIES; tries++) {
                if (pthread_mutex_trylock(&l->lock) == 0) {
                        if (!l->finished && has_room(l))
                                (void)send_locked(l, result);
                        l->finished = true;
                        (void)pthread_mutex_unlock(&l->lock);
                        return;
                }
                (void)usleep(LAST_WAIT_USEC);
        }
}

/* The writer only reads texts; ours are borrowed. NULL and "" mean none. */
static char *borrowed(const char *text)
{
        return text && *text ? (char *)(uintptr_t)text : NULL;
}

void upl_link_activity(struct upl_link *l, enum bth_activity a, const char *sentence)
{
        const struct bth_message m = {
                .type = BTH_MESSAGE_ACTIVITY,
                .activity = { .activity = a, .sentence = borrowed(sentence) },
        };

        upl_link_send(l, &m);
}

void upl_link_note(struct upl_link *l, const char *name, const struct bth_error *e)
{
        const struct bth_message m = {
                .type = BTH_MESSAGE_NOTE,
                .note = { .name = borrowed(name),
                          .object = borrowed(e->object),
                          .blob = borrowed(e->blob),
                          .line = e->line,
                          .sentence = borrowed(e->sentence),
                          .advice = borrowed(bth_error_advice(e)) },
        };

        upl_link_send(l, &m);
}
