/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/station.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/statvfs.h>

#include "base/log.h"
#include "base/names.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/share.h"
#include "daemon/station-internal.h"
#include "daemon/transfers.h"
#include "daemon/verbs.h"

#define FORGET_EVERY_USEC JOB_DAY_USEC
#define BUSY_NUMERATOR    5 /* a worker that sends less than 4/5 of its share needs no more */
#define BUSY_DENOMINATOR  4

/* -- the store
 * ----------------------------------------------------------------------------------------- */

void dmn_station_listen(struct dmn_station *s, struct dmn_listener *l)
{
        l->next = s->listeners;
        s->listeners = l;
}

void dmn_station_unlisten(struct dmn_station *s, struct dmn_listener *l)
{
        for (struct dmn_listener **at = &s->listeners; *at; at = &(*at)->next)
                if (*at == l) {
                        *at = l->next;
                        return;
                }
}

static void tell_listeners(struct dmn_station *s)
{
        const uint64_t last = job_thread_last_event(s->store);

        if (last == s->last_event)
                return;
        s->last_event = last;
        for (struct dmn_listener *l = s->listeners, *next; l; l = next) {
                next = l->next;
                l->heard(l->userdata);
        }
}

static int on_store(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        struct dmn_station *s = userdata;

        (void)source;
        (void)fd;
        (void)revents;
        (void)job_thread_dispatch(s->store);
        tell_listeners(s);
        return 0;
}

int dmn_station_submit(struct dmn_station *s, job_task_fn task, job_done_fn done, void *userdata)
{
        return s->ending ? -ECANCELED : job_thread_submit(s->store, task, done, userdata);
}

static void log_as(int level, const char *id, const char *sentence)
{
        const struct bth_log_field fields[] = { { BTH_FIELD_MESSAGE_ID, id } };

        bth_log_fields(level, fields, "%s", sentence);
}

static void step_all(struct dmn_station *s)
{
        for (struct dmn_slot *slot = s->slots, *next; slot; slot = next) {
                next = slot->next;
                dmn_slot_step(slot);
        }
}

static uint64_t free_bytes(const struct dmn_station *s)
{
        struct statvfs st;

        return statvfs(s->config->state_directory, &st) < 0 ? UINT64_MAX
                                                            : st.f_bavail * st.f_frsize;
}

static int on_again(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct dmn_station *s = userdata;

        (void)source;
        (void)usec;
        if (s->store_trouble.code == -ENOSPC && free_bytes(s) < DMN_STORE_FREE_BYTES) {
                (void)sd_event_source_set_time_relative(s->again, DMN_STORE_AGAIN_USEC);
                return sd_event_source_set_enabled(s->again, SD_EVENT_ONESHOT);
        }
        dmn_station_look(s); /* the clock's task writes: when that works, all is well again */
        step_all(s);
        return 0;
}

bool dmn_station_store_failed(struct dmn_station *s, int r, const struct bth_error *error)
{
        if (r != -ENOSPC && r != -EROFS && r != -EIO && r != -EDQUOT) {
                if (s->store_trouble.code < 0 && r == 0) {
                        log_as(LOG_NOTICE, BTH_ID(STORE_WELL), "the records can be written again");
                        s->store_trouble = BTH_ERROR_INIT;
                        dmn_station_look(s);
                }
                return false;
        }
        if (s->store_trouble.code == 0)
                log_as(LOG_CRIT, BTH_ID(STORE_TROUBLE), error->sentence);
        s->store_trouble = *error;
        if (!s->ending)
                (void)sd_event_source_set_time_relative(s->again, DMN_STORE_AGAIN_USEC);
        (void)sd_event_source_set_enabled(s->again, s->ending ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
        for (struct dmn_slot *slot = s->slots; slot; slot = slot->next)
                dmn_slot_stop(slot);
        return true;
}

/* -- the clock of the jobs, and looking again
 * --------------------------------------------------------- */

struct tick {
        struct dmn_station *station;
        struct job_policy policy;
        uint64_t next_usec;
        bool forget;
        char *spool_directory;  /* NULL: none */
        char state_directory[]; /* a copy: the configuration may change meanwhile */
};

static int task_tick(struct job_store *store, void *userdata, struct bth_error *error)
{
        struct tick *t = userdata;
        const uint64_t now = bth_now_realtime_usec();
        int r = job_store_tick(store, &t->policy, now, &t->next_usec, error);

        if (r == 0 && t->forget)
                r = job_store_forget_old(store, now - JOB_KEPT_USEC, error);
        if (r >= 0 && t->forget)
                r = dmn_transfers_forget(store, t->state_directory, error);
        if (t->forget && t->spool_directory)
                dmn_spool_forget(t->spool_directory, now - JOB_KEPT_USEC);
        return r < 0 ? r : 0;
}

static void tick_free(struct tick *t)
{
        free(t->spool_directory);
        free(t);
}

static void look(struct dmn_station *s);

static void ticked(void *userdata, int r, const struct bth_error *error)
{
        struct tick *t = userdata;
        struct dmn_station *s = t->station;
        const uint64_t now = bth_now_realtime_usec();

        s->looking = false;
        if (r == 0 && t->forget) {
                s->forgot_usec = now;
                dmn_station_shorten(s);
        }
        if (!dmn_station_store_failed(s, r, error) && r < 0)
                bth_log_error(LOG_ERR, error);
        if (r == 0)
                (void)sd_event_source_set_time(
                        s->clock, MIN(t->next_usec, s->forgot_usec + FORGET_EVERY_USEC));
        else
                (void)sd_event_source_set_time(s->clock, now + DMN_BACKOFF_MAX_USEC);
        (void)sd_event_source_set_enabled(s->clock, SD_EVENT_ONESHOT);
        tick_free(t);
        if (s->look_again) {
                s->look_again = false;
                look(s);
        }
        step_all(s);
        dmn_station_changed(s);
}

static void look(struct dmn_station *s)
{
        struct tick *t;

        if (s->looking) {
                s->look_again = true;
                return;
        }
        t = calloc(1, sizeof *t + strlen(s->config->state_directory) + 1);
        if (!t)
                return;
        t->station = s;
        t->policy = s->policy;
        if (s->config->spool_directory)
                t->spool_directory = strdup(s->config->spool_directory);
        t->forget = bth_now_realtime_usec() - s->forgot_usec >= FORGET_EVERY_USEC;
        memcpy(t->state_directory, s->config->state_directory,
               strlen(s->config->state_directory) + 1);
        if (dmn_station_submit(s, task_tick, ticked, t) == 0)
                s->looking = true;
        else
                tick_free(t);
}

void dmn_station_look(struct dmn_station *s)
{
        for (struct dmn_slot *slot = s->slots; slot; slot = slot->next)
                slot->stale = slot->rematch = true;
        look(s);
}

static int on_clock(sd_event_source *source, uint64_t usec, void *userdata)
{
        (void)source;
        (void)usec;
        dmn_station_look(userdata);
        return 0;
}

/* -- changes
 * ----------------------------------------------------------------------------------------- */

size_t dmn_station_workers(const struct dmn_station *s)
{
        size_t n = 0;

        for (const struct dmn_slot *slot = s->slots; slot; slot = slot->next)
                n += slot->memory_bytes > 0;
        return n;
}

struct dmn_slot *dmn_station_slot_of(const struct dmn_station *s, uint64_t job, size_t drive)
{
        for (struct dmn_slot *slot = s->slots; slot; slot = slot->next)
                if (slot->job > 0 && slot->job == job && slot->drive == drive && !slot->gone)
                        return slot;
        return NULL;
}

struct dmn_slot *dmn_station_slot_in(const struct dmn_station *s, const char *bay)
{
        const struct hal_bay *b = hal_bays_find(&s->bays, bay);
        const struct hal_docking *d = b ? hal_hotplug_in_bay(s->hotplug, b) : NULL;

        for (struct dmn_slot *slot = s->slots; slot; slot = slot->next)
                if (d ? slot->docking == d : slot->in_place && strcmp(slot->bay, bay) == 0)
                        return slot;
        return NULL;
}

/* Drives that were ejected and stayed in their place: of this bay, or of all. */
static void forget_ejected(struct dmn_station *s, const char *bay)
{
        for (struct dmn_slot *slot = s->slots, *next; slot; slot = next) {
                next = slot->next;
                if (dmn_slot_is_over(slot) && (!bay || strcmp(slot->bay, bay) == 0))
                        dmn_slot_free(slot);
        }
}

/* How many bytes a second a worker has use for. */
static uint64_t wanted(const struct dmn_slot *slot)
{
        const uint64_t share = slot->bandwidth_bytes_per_sec;

        if (share == 0 || slot->rate >= share / BUSY_NUMERATOR * BUSY_DENOMINATOR)
                return UINT64_MAX;
        return slot->rate / BUSY_DENOMINATOR * BUSY_NUMERATOR + DMN_BANDWIDTH_SLACK_BYTES;
}

static void share_bandwidth(struct dmn_station *s)
{
        uint64_t wants[HAL_BAYS_MAX] = { 0 }, shares[HAL_BAYS_MAX];
        struct dmn_slot *slots[HAL_BAYS_MAX];
        size_t n = 0;

        for (struct dmn_slot *slot = s->slots; slot && n < HAL_BAYS_MAX; slot = slot->next)
                if (slot->worker && !slot->stopping)
                        slots[n++] = slot;
        for (size_t i = 0; i < n; i++)
                wants[i] = wanted(slots[i]);
        dmn_bandwidth_shares(s->bandwidth_bytes_per_sec, wants, n, shares);
        for (size_t i = 0; i < n; i++) {
                const struct bth_message m = { .type = BTH_MESSAGE_BANDWIDTH,
                                               .bandwidth = { .bytes_per_sec = shares[i] } };

                if (slots[i]->bandwidth_bytes_per_sec != shares[i] &&
                    dmn_worker_send(slots[i]->worker, &m) == 0)
                        slots[i]->bandwidth_bytes_per_sec = shares[i];
        }
}

/* Runs while there is a cap and a worker; else the station sleeps. */
static int on_shares(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct dmn_station *s = userdata;

        (void)usec;
        share_bandwidth(s);
        if (s->bandwidth_bytes_per_sec == 0 || dmn_station_workers(s) == 0)
                return 0;
        (void)sd_event_source_set_time_relative(source, DMN_SHARES_USEC);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void wake_shares(struct dmn_station *s)
{
        int enabled = SD_EVENT_OFF;

        (void)sd_event_source_get_enabled(s->shares, &enabled);
        if (enabled != SD_EVENT_OFF || dmn_station_workers(s) == 0)
                return;
        (void)sd_event_source_set_time_relative(s->shares, 0);
        (void)sd_event_source_set_enabled(s->shares, SD_EVENT_ONESHOT);
}

static void show_lights(struct dmn_station *s)
{
        for (size_t i = 0; i < s->bays.n_bays; i++) {
                const struct hal_bay *bay = &s->bays.bays[i];
                const struct dmn_slot *slot = dmn_station_slot_in(s, bay->name);
                const char *sentence;

                dmn_lights_show(s->lights, bay,
                                slot ? job_activity_led(dmn_slot_activity(slot, &sentence))
                                     : JOB_LED_OFF);
        }
}

static bool at_rest(const struct dmn_station *s)
{
        for (const struct dmn_slot *slot = s->slots; slot; slot = slot->next)
                if (slot->worker || slot->busy || slot->aside ||
                    (slot->has_result && s->store_trouble.code == 0))
                        return false;
        return true;
}

static void end_stop(struct dmn_station *s)
{
        void (*stopped)(void *) = s->stopped;

        if (!s->stopping || !stopped || !at_rest(s))
                return;
        s->stopped = NULL;
        stopped(s->stopped_userdata);
}

void dmn_station_changed(struct dmn_station *s)
{
        if (s->ending)
                return;
        show_lights(s);
        if (s->bandwidth_bytes_per_sec > 0)
                wake_shares(s);
        if (s->next_config)
                forget_ejected(s, NULL);
        if (s->next_config && !s->slots)
                dmn_station_exchange(s);
        end_stop(s);
}

void dmn_station_limit(struct dmn_station *s, uint64_t bytes_per_sec)
{
        s->bandwidth_bytes_per_sec = bytes_per_sec;
        wake_shares(s);
}

/* -- the drives
 * --------------------------------------------------------------------------------------- */

static struct dmn_slot *slot_of_docking(const struct dmn_station *s, const struct hal_docking *d)
{
        for (struct dmn_slot *slot = s->slots; slot; slot = slot->next)
                if (slot->docking == d)
                        return slot;
        return NULL;
}

static void on_docking(const struct hal_docking *d, void *userdata)
{
        struct dmn_station *s = userdata;
        struct dmn_slot *slot = slot_of_docking(s, d);

        if (!slot && d->bay)
                forget_ejected(s, d->bay->name);
        if (!slot && !s->next_config && d->state != HAL_DOCKING_GONE &&
            d->state != HAL_DOCKING_OUTSIDE && dmn_slot_new(s, d, &slot) < 0)
                bth_log(LOG_ERR, "no memory for the drive in bay %s", d->bay->name);
        if (!slot)
                return;
        dmn_slot_docking(slot, d);
        dmn_slot_step(slot);
        dmn_station_changed(s);
}

static int watch(struct dmn_station *s, struct bth_error *error)
{
        const struct hal_hotplug_options options = {
                .host = s->host, .bays = &s->bays, .handler = on_docking, .userdata = s
        };
        int r = dmn_lights_new(s->loop, s->host, &s->bays, &s->lights);

        if (r == 0)
                r = hal_hotplug_new(s->loop, &options, &s->hotplug);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_INTERNAL,
                                     "the bays cannot be watched: %s", bth_strerror(r));
        r = s->without_udev ? 0 : hal_udev_new(s->hotplug, &s->udev, error);
        return r == 0 ? hal_virtual_new(s->hotplug, &s->virtual, error) : r;
}

static void unwatch(struct dmn_station *s)
{
        s->virtual = hal_virtual_free(s->virtual);
        s->udev = hal_udev_free(s->udev);
        s->hotplug = hal_hotplug_free(s->hotplug);
        s->lights = dmn_lights_free(s->lights);
}

/* -- configuration
 * ------------------------------------------------------------------------------------ */

static void use_config(struct dmn_station *s, struct dmn_config *c)
{
        struct dmn_config *before = s->config;

        s->config = c;
        /* A cap that was set meanwhile stays, unless the configuration has another one now. */
        if (!before || before->bandwidth_bytes_per_sec != c->bandwidth_bytes_per_sec)
                s->bandwidth_bytes_per_sec = c->bandwidth_bytes_per_sec;
        if (before && before->keep_history_sec != c->keep_history_sec)
                s->forgot_usec = 0; /* it counts at once */
        s->policy = (struct job_policy){ .dock_again_usec = c->dock_again_sec * BTH_USEC_PER_SEC };
        (void)dmn_config_free(before);
        dmn_station_credentials(s);
        dmn_station_spool(s);
        dmn_station_upstream(s);
        for (struct dmn_slot *slot = s->slots; slot; slot = slot->next) {
                slot->again_usec = 0; /* what was wrong may have been put right */
                slot->trouble = BTH_ERROR_INIT;
        }
        dmn_station_look(s);
}

/* Takes the bays of a configuration over; what was there before goes. */
static void use_bays(struct dmn_station *s, struct dmn_config *c)
{
        hal_bays_clear(&s->bays);
        s->bays = c->bays;
        c->bays = (struct hal_bays){ 0 };
}

/* The bays are others now, and nothing is in the old ones any more. */
void dmn_station_exchange(struct dmn_station *s)
{
        struct bth_error error = BTH_ERROR_INIT;
        struct dmn_config *c = take_ptr(s->next_config);

        unwatch(s);
        use_bays(s, c);
        use_config(s, c);
        if (watch(s, &error) < 0)
                bth_log_error(LOG_CRIT, &error);
        dmn_station_changed(s);
}

static bool same_bays(const struct hal_bays *a, const struct hal_bays *b)
{
        char x[HAL_PLACE_TEXT_MAX], y[HAL_PLACE_TEXT_MAX];

        if (a->n_bays != b->n_bays)
                return false;
        for (size_t i = 0; i < a->n_bays; i++) {
                if (strcmp(a->bays[i].name, b->bays[i].name) != 0 ||
                    a->bays[i].n_places != b->bays[i].n_places)
                        return false;
                for (size_t k = 0; k < a->bays[i].n_places; k++)
                        if (strcmp(hal_place_to_string(&a->bays[i].places[k], x),
                                   hal_place_to_string(&b->bays[i].places[k], y)) != 0)
                                return false;
        }
        return true;
}

/* Others than those in force, or than those that are about to be. */
static bool other_bays(const struct dmn_station *s, const struct dmn_config *c)
{
        return s->next_config || !same_bays(&s->bays, &c->bays);
}

static int check_bays_rest(const struct dmn_station *s, struct bth_error *error)
{
        for (const struct dmn_slot *slot = s->slots; slot; slot = slot->next)
                if (slot->worker || slot->has_result)
                        return bth_error_set(error, -EBUSY, BTH_REASON_REFUSED,
                                             "the bays cannot change while drive %s is in work",
                                             slot->identity.serial);
        return 0;
}

/* The drives in the bays are looked at anew when the last slot is gone. */
static void change_bays(struct dmn_station *s, struct dmn_config *c)
{
        (void)dmn_config_free(s->next_config);
        s->next_config = c;
        for (struct dmn_slot *slot = s->slots; slot; slot = slot->next) {
                slot->gone = true;
                slot->docking = NULL;
        }
        step_all(s);
        dmn_station_changed(s);
}

static int check_reload(const struct dmn_station *s, const struct dmn_config *c,
                        struct bth_error *error)
{
        if (strcmp(c->state_directory, s->config->state_directory) != 0 ||
            strcmp(c->run_directory, s->config->run_directory) != 0 ||
            !bth_streq(c->database, s->config->database))
                return bth_error_set(
                        error, -EBUSY, BTH_REASON_REFUSED,
                        "state_directory, run_directory and database change at a restart only");
        return other_bays(s, c) ? check_bays_rest(s, error) : 0;
}

int dmn_station_reload(struct dmn_station *s, struct bth_error *error)
{
        _cleanup_(dmn_config_freep) struct dmn_config *c = NULL;
        int r = dmn_config_load(s->config_path, &c, error);

        if (r == 0)
                r = check_reload(s, c, error);
        if (r == 0 && s->take_config)
                r = s->take_config(s->take_config_userdata, c, error);
        if (r < 0)
                return r;
        if (other_bays(s, c)) {
                change_bays(s, take_ptr(c));
                return 0;
        }
        use_config(s, take_ptr(c));
        r = s->udev ? hal_udev_look(s->udev) : 0; /* events may have been lost */
        return r < 0 ? bth_error_set(error, r, BTH_REASON_INTERNAL,
                                     "the drives cannot be looked at: %s", bth_strerror(r))
                     : 0;
}

void dmn_station_on_reload(struct dmn_station *s,
                           int (*take)(void *userdata, const struct dmn_config *next,
                                       struct bth_error *error),
                           void *userdata)
{
        s->take_config = take;
        s->take_config_userdata = userdata;
}

/* -- life
 * --------------------------------------------------------------------------------------------- */

static int add_sources(struct dmn_station *s)
{
        int r = sd_event_add_io(s->loop, &s->store_io, job_thread_fd(s->store), EPOLLIN, on_store,
                                s);

        if (r >= 0)
                r = sd_event_add_time(s->loop, &s->clock, CLOCK_REALTIME, UINT64_MAX,
                                      BTH_USEC_PER_SEC, on_clock, s);
        if (r >= 0)
                r = sd_event_add_time(s->loop, &s->again, CLOCK_MONOTONIC, UINT64_MAX, 0, on_again,
                                      s);
        if (r >= 0)
                r = sd_event_add_time(s->loop, &s->shares, CLOCK_MONOTONIC, UINT64_MAX, 0,
                                      on_shares, s);
        if (r >= 0)
                r = sd_event_source_set_enabled(s->again, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_source_set_enabled(s->shares, SD_EVENT_OFF);
        return r < 0 ? r : 0;
}

int dmn_station_new(const struct dmn_station_options *options, struct dmn_station **ret_station,
                    struct bth_error *error)
{
        _cleanup_(dmn_station_freep) struct dmn_station *s = calloc(1, sizeof *s);
        int r;

        if (!s)
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY,
                                     "no memory for the station");
        s->loop = sd_event_ref(options->loop);
        s->host = options->host;
        s->store = options->store;
        s->without_udev = options->without_udev;
        s->backoff_usec = options->backoff_usec > 0 ? options->backoff_usec : DMN_BACKOFF_USEC;
        s->silent_usec = options->silent_usec > 0 ? options->silent_usec : DMN_SILENT_USEC;
        s->store_trouble = BTH_ERROR_INIT;
        s->started_usec = bth_now_realtime_usec();
        s->config_path = strdup(options->config_path);
        r = s->config_path ? add_sources(s) : -ENOMEM;
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_INTERNAL, "the station cannot begin: %s",
                                     bth_strerror(r));
        use_bays(s, options->config);
        use_config(s, options->config);
        r = watch(s, error);
        if (r < 0) {
                s->config = NULL; /* stays the caller's */
                return r;
        }
        *ret_station = take_ptr(s);
        return 0;
}

/* What is under way on the store's thread points into slots: it ends first. */
static void drain(struct dmn_station *s)
{
        struct pollfd p = { .fd = job_thread_fd(s->store), .events = POLLIN };

        while (job_thread_pending(s->store) > 0 && (poll(&p, 1, -1) >= 0 || errno == EINTR))
                (void)job_thread_dispatch(s->store);
}

struct dmn_station *dmn_station_free(struct dmn_station *s)
{
        if (!s)
                return NULL;
        s->ending = true;
        dmn_imports_end(s);
        drain(s);
        while (s->slots)
                dmn_slot_free(s->slots);
        unwatch(s);
        s->credentials = dmn_credential_watch_free(s->credentials);
        s->spool = dmn_spool_free(s->spool);
        s->upstream = dmn_upstream_free(s->upstream);
        s->store_io = sd_event_source_disable_unref(s->store_io);
        s->clock = sd_event_source_disable_unref(s->clock);
        s->again = sd_event_source_disable_unref(s->again);
        s->shares = sd_event_source_disable_unref(s->shares);
        (void)dmn_config_free(s->config);
        (void)dmn_config_free(s->next_config);
        hal_bays_clear(&s->bays);
        sd_event_unref(s->loop);
        free(s->config_path);
        free(s);
        return NULL;
}

void dmn_station_stop(struct dmn_station *s, void (*stopped)(void *userdata), void *userdata)
{
        s->stopping = true;
        s->stopped = stopped;
        s->stopped_userdata = userdata;
        for (struct dmn_slot *slot = s->slots; slot; slot = slot->next)
                dmn_slot_stop(slot);
        dmn_station_changed(s);
}

/* -- what others look at
 * ------------------------------------------------------------------------------ */

sd_event *dmn_station_loop(const struct dmn_station *s)
{
        return s->loop;
}

struct job_thread *dmn_station_store(const struct dmn_station *s)
{
        return s->store;
}

const struct dmn_config *dmn_station_config(const struct dmn_station *s)
{
        return s->config;
}

const struct job_policy *dmn_station_policy(const struct dmn_station *s)
{
        return &s->policy;
}

bool dmn_station_works_on(const struct dmn_station *s, uint64_t job, size_t drive)
{
        const struct dmn_slot *slot = dmn_station_slot_of(s, job, drive);

        return slot && (dmn_slot_works(slot) || slot->busy);
}

json_t *dmn_station_progress_all(const struct dmn_station *s)
{
        json_t *list = json_array();

        for (const struct dmn_slot *slot = s->slots; slot; slot = slot->next) {
                json_t *progress = slot->job > 0 && !slot->gone ? dmn_slot_progress(slot) : NULL;

                if (progress)
                        (void)json_array_append_new(list, json_pack("{s:I,s:I,s:o}", "job_id",
                                                                    (json_int_t)slot->job, "index",
                                                                    (json_int_t)slot->drive,
                                                                    "progress", progress));
        }
        return list;
}

json_t *dmn_station_progress(const struct dmn_station *s, uint64_t job, size_t drive)
{
        const struct dmn_slot *slot = dmn_station_slot_of(s, job, drive);

        return slot ? dmn_slot_progress(slot) : NULL;
}
