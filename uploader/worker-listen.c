/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker-listen - the worker's second thread: new orders, signals, progress, and the last resort.
 *
 * It never waits for the drive or for the transfer. When a stop was asked for and the rest of the
 * process does not end in time, or when the drive has not answered for too long, it sends the
 * result itself and ends the process: what was done is stored, what was not is done by the next
 * run. */
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "uploader/worker-internal.h"

#define TICK_USEC  BTH_USEC_PER_SEC
#define READY_USEC (BTH_USEC_PER_SEC / 50) /* how often it looks whether the worker is ready */
#define QUIET_USEC (10 * BTH_USEC_PER_SEC) /* without a sign of life: people are told */

struct listener {
        struct upl_worker *w;
        bool connected;
        uint64_t stop_deadline_usec; /* 0: not stopping */
        pthread_t stopper;           /* while stopping */
        /* the last second's figures */
        uint64_t tick_usec, bytes_done;
        /* since when nothing moves */
        uint64_t disk_bytes, disk_moved_usec, net_moved, net_moved_usec;
        enum bth_activity stage;
};

/* --- the last resort --- */

static _noreturn_ void end_process(struct upl_worker *w, enum bth_run_end end)
{
        struct bth_message m;

        upl_worker_result(w, end, &m);
        upl_link_finish_now(w->link, &m);
        _exit(0);
}

/* Letting go of requests may take the network library a while, for instance in a name lookup. */
static void *stop_thread(void *userdata)
{
        struct upl_worker *w = userdata;

        upl_engine_stop(&w->env, &w->stop);
        return NULL;
}

static void stop(struct listener *l)
{
        struct upl_worker *w = l->w;

        if (l->stop_deadline_usec > 0)
                return;
        /* Nothing was begun, and what is waited for cannot be told to end. */
        if (!atomic_load(&w->ready))
                end_process(w, BTH_RUN_END_STOPPED);
        l->stop_deadline_usec = bth_now_monotonic_usec() + UPL_WORKER_STOP_USEC;
        atomic_store(&w->stop, true);
        if (pthread_create(&l->stopper, NULL, stop_thread, w) != 0)
                end_process(w, BTH_RUN_END_STOPPED);
}

/* The client may only be freed once the stopper has let go of it. */
static void end_stopper(struct listener *l)
{
        uint64_t now = bth_now_monotonic_usec(), left;
        struct timespec until;

        if (l->stop_deadline_usec == 0)
                return;
        left = l->stop_deadline_usec > now ? l->stop_deadline_usec - now : 0;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += (time_t)(left / BTH_USEC_PER_SEC);
        if (pthread_timedjoin_np(l->stopper, NULL, &until) != 0)
                end_process(l->w, BTH_RUN_END_STOPPED);
}

/* --- orders --- */

static void take_message(struct listener *l, struct bth_message *m)
{
        struct upl_worker *w = l->w;
        struct bth_error error = BTH_ERROR_INIT;

        switch (m->type) {
        case BTH_MESSAGE_CREDENTIAL:
                if (upl_credential_renew(w->credential, m->credential.credential, &error) < 0)
                        upl_link_note(w->link, "credential-refused", &error);
                else
                        upl_client_kick(w->client);
                break;
        case BTH_MESSAGE_BANDWIDTH:
                upl_limit_set(w->limit, m->bandwidth.bytes_per_sec);
                upl_client_kick(w->client);
                break;
        case BTH_MESSAGE_STOP:
                stop(l);
                break;
        default:
                bth_debug("a message of type %d has no meaning now, ignoring", (int)m->type);
        }
}

/* One message: the reader takes no byte of the next, so poll(2) tells of that. The station sends
 * messages whole. Without the station nobody would hear the result: the run ends. */
static void read_message(struct listener *l)
{
        _cleanup_(bth_frame_freep) struct bth_frame *f = NULL;
        _cleanup_message_ struct bth_message m = { .type = BTH_MESSAGE_STOP };
        struct bth_error error = BTH_ERROR_INIT;
        int r = bth_frame_read(l->w->reader, &f);

        if (r < 0) {
                l->connected = false;
                stop(l);
        } else if (bth_message_from_frame(f, &m, &error) == 0)
                take_message(l, &m);
        else
                upl_link_note(l->w->link, "message-refused", &error);
}

/* --- watching --- */

/* In which the drive is all that can be waited for. */
static bool is_disk_stage(enum bth_activity a)
{
        return a == BTH_ACTIVITY_UNLOCKING || a == BTH_ACTIVITY_SCANNING;
}

static uint64_t disk_bytes(struct upl_worker *w)
{
        struct bth_source *device = atomic_load(&w->device);
        struct hal_block_stats stats = { 0 };

        if (device)
                hal_block_get_stats(device, &stats);
        return stats.bytes;
}

/* How long reads have been waiting without one being answered. */
static uint64_t disk_quiet_usec(struct listener *l, enum bth_activity stage, bool waiting,
                                uint64_t now)
{
        uint64_t bytes = disk_bytes(l->w);

        if (bytes != l->disk_bytes || stage != l->stage || !(waiting || is_disk_stage(stage))) {
                l->disk_bytes = bytes;
                l->disk_moved_usec = now;
        }
        return now - l->disk_moved_usec;
}

static uint64_t net_quiet_usec(struct listener *l, const struct upl_client_state *client,
                               uint64_t now)
{
        uint64_t moved = client->requests - client->retries + client->sent_bytes;

        if (moved != l->net_moved || client->in_flight + client->waiting_retry == 0) {
                l->net_moved = moved;
                l->net_moved_usec = now;
        }
        return now - l->net_moved_usec;
}

static bool is_network_stage(enum bth_activity a)
{
        return a == BTH_ACTIVITY_TRANSFERRING || a == BTH_ACTIVITY_WRITING_LOGS;
}

static enum bth_activity judge(struct listener *l, enum bth_activity stage,
                               const struct upl_client_state *client,
                               const struct upl_budget_state *budget, uint64_t now)
{
        uint64_t disk = disk_quiet_usec(l, stage, budget->waiting[UPL_WAIT_DISK] > 0, now);
        uint64_t net = net_quiet_usec(l, client, now);
        uint64_t stall_sec = l->w->order.stall_sec ? l->w->order.stall_sec : UPL_WORKER_STALL_SEC;

        l->stage = stage;
        if (disk > stall_sec * BTH_USEC_PER_SEC)
                end_process(l->w, BTH_RUN_END_DRIVE_STALLED);
        if (l->stop_deadline_usec > 0)
                return BTH_ACTIVITY_STOPPING;
        if (is_network_stage(stage) && client->refused_since_usec > 0)
                return BTH_ACTIVITY_PAUSED_CREDENTIALS;
        if (is_network_stage(stage) && client->in_flight == 0) {
                if (client->waiting_retry > 0 && budget->waiting[UPL_WAIT_THROTTLED] > 0)
                        return BTH_ACTIVITY_WAITING_THROTTLED;
                if (client->waiting_retry > 0)
                        return BTH_ACTIVITY_WAITING_NETWORK;
        }
        if (disk > QUIET_USEC)
                return BTH_ACTIVITY_WAITING_DISK;
        if (is_network_stage(stage) && net > QUIET_USEC)
                return BTH_ACTIVITY_WAITING_NETWORK;
        return stage;
}

static void fill_progress(struct listener *l, const struct upl_client_state *client,
                          const struct upl_budget_state *budget, uint64_t now,
                          struct bth_progress_report *p)
{
        struct upl_worker_counts *c = &l->w->counts;
        uint64_t ended = atomic_load(&c->bytes_done), sent = atomic_load(&c->sent_bytes);
        uint64_t all = atomic_load(&c->bytes);
        /* What the service has of blobs that have not ended. */
        uint64_t under_way = client->accepted_bytes > sent ? client->accepted_bytes - sent : 0;
        uint64_t done = MIN(all, ended + under_way);

        *p = (struct bth_progress_report){
                .blobs = atomic_load(&c->blobs),
                .blobs_done = atomic_load(&c->blobs_done),
                .bytes = all,
                .bytes_done = done,
                .sent_bytes = client->sent_bytes,
                .requests = client->requests,
                .retries = client->retries,
                .throttled = client->throttled,
                .refused = client->refused,
                .in_flight = client->in_flight,
                .limit = client->limit,
                .queued = client->queued,
                .waiting_retry = client->waiting_retry,
                .waiting_credentials = client->waiting_credentials,
                .waiting_disk = budget->waiting[UPL_WAIT_DISK],
                .waiting_cpu = budget->waiting[UPL_WAIT_CPU],
                .waiting_network = budget->waiting[UPL_WAIT_NETWORK],
                .waiting_throttled = budget->waiting[UPL_WAIT_THROTTLED],
                .waiting_budget = budget->waiting[UPL_WAIT_BUDGET],
                .budget_bytes = budget->total_bytes,
                .budget_taken_bytes = budget->taken_bytes,
        };
        if (l->tick_usec > 0 && now > l->tick_usec && done > l->bytes_done)
                p->bytes_per_sec = (done - l->bytes_done) * BTH_USEC_PER_SEC / (now - l->tick_usec);
        l->tick_usec = now;
        l->bytes_done = done;
}

static void tick(struct listener *l, uint64_t now)
{
        struct upl_worker *w = l->w;
        struct bth_message m = { .type = BTH_MESSAGE_PROGRESS };
        struct upl_client_state client;
        struct upl_budget_state budget;
        enum bth_activity is, before;

        upl_client_look(w->client, &client);
        upl_budget_look(w->budget, &budget);
        is = judge(l, atomic_load(&w->activity), &client, &budget, now);
        before = atomic_exchange(&w->told, is);
        if (before != is) {
                const struct bth_message a = { .type = BTH_MESSAGE_ACTIVITY,
                                               .activity = { .activity = is } };

                if (!upl_link_offer(w->link, &a))
                        atomic_store(&w->told, before);
        }
        fill_progress(l, &client, &budget, now, &m.progress);
        (void)upl_link_offer(w->link, &m); /* the next one is as good */
}

/* How far it came in the end, whatever a second was not over yet. */
static void tell_last(struct listener *l)
{
        struct bth_message m = { .type = BTH_MESSAGE_PROGRESS };
        struct upl_client_state client;
        struct upl_budget_state budget;

        upl_client_look(l->w->client, &client);
        upl_budget_look(l->w->budget, &budget);
        fill_progress(l, &client, &budget, bth_now_monotonic_usec(), &m.progress);
        (void)upl_link_offer(l->w->link, &m);
}

/* --- the thread --- */

static void *listen_thread(void *userdata)
{
        struct upl_worker *w = userdata;
        struct listener l = { .w = w, .connected = true };
        uint64_t next = bth_now_monotonic_usec() + TICK_USEC;

        l.disk_moved_usec = l.net_moved_usec = bth_now_monotonic_usec();
        for (;;) {
                uint64_t now = bth_now_monotonic_usec(), wake;
                const bool ready = atomic_load(&w->ready);
                struct pollfd p[3] = {
                        { .fd = w->quit_fd, .events = POLLIN },
                        { .fd = l.stop_deadline_usec == 0 ? w->signal_fd : -1, .events = POLLIN },
                        { .fd = ready && l.connected ? w->socket_fd : -1, .events = POLLIN },
                };

                if (l.stop_deadline_usec > 0 && now >= l.stop_deadline_usec)
                        end_process(w, BTH_RUN_END_STOPPED);
                if (now >= next) {
                        if (ready)
                                tick(&l, now);
                        next = now + TICK_USEC;
                }
                wake = l.stop_deadline_usec > 0 ? MIN(next, l.stop_deadline_usec) : next;
                if (!ready)
                        wake = MIN(wake, now + READY_USEC);
                if (poll(p, ARRAY_SIZE(p), (int)((wake - now) / 1000) + 1) < 0)
                        continue;
                if (p[0].revents) {
                        end_stopper(&l);
                        if (atomic_load(&w->ready))
                                tell_last(&l);
                        return NULL;
                }
                if (p[1].revents)
                        stop(&l);
                if (p[2].revents)
                        read_message(&l);
        }
}

static int open_signals(void)
{
        sigset_t set;
        int fd;

        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGTERM);
        (void)sigaddset(&set, SIGINT);
        fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        return fd < 0 ? -errno : fd;
}

int upl_worker_listen(struct upl_worker *w)
{
        int r;

        w->signal_fd = open_signals();
        if (w->signal_fd < 0)
                return w->signal_fd;
        w->quit_fd = eventfd(0, EFD_CLOEXEC);
        if (w->quit_fd < 0)
                return -errno;
        r = -pthread_create(&w->listener, NULL, listen_thread, w);
        w->listening = r == 0;
        return r;
}

void upl_worker_listen_end(struct upl_worker *w)
{
        const uint64_t one = 1;

        if (w->listening && write(w->quit_fd, &one, sizeof one) == (ssize_t)sizeof one)
                (void)pthread_join(w->listener, NULL);
}
