/* SPDX-License-Identifier: GPL-3.0-or-later */
/* station-upstream - the job service above, where the configuration names one. */
#include "base/log.h"
#include "base/str.h"
#include "daemon/station-internal.h"

static void changed(void *userdata)
{
        dmn_station_look(userdata);
}

/* Slots that wait for the answer go on. */
static void answered(void *userdata)
{
        struct dmn_station *s = userdata;

        for (struct dmn_slot *slot = s->slots, *next; slot; slot = next) {
                next = slot->next;
                if (slot->asked)
                        dmn_slot_step(slot);
        }
}

/* Docked, with a serial number that says something, and in no job. */
static size_t unknown_drives(void *userdata, const char **serials, size_t max)
{
        const struct dmn_station *s = userdata;
        size_t n = 0;

        for (const struct dmn_slot *slot = s->slots; slot && n < max; slot = slot->next)
                if (slot->docking && slot->ready && slot->job == 0 &&
                    job_serial_usable(slot->identity.serial))
                        serials[n++] = slot->identity.serial;
        return n;
}

static void heard(void *userdata)
{
        dmn_upstream_wake(userdata);
}

/* Without an upstream nobody takes events out of the outbox. */
static int task_no_outbox(struct job_store *store, void *userdata, struct bth_error *error)
{
        (void)userdata;
        return job_store_outbox_use(store, false, error);
}

static void no_outbox_done(void *userdata, int r, const struct bth_error *error)
{
        (void)userdata;
        if (r < 0)
                bth_log_error(LOG_WARNING, error);
}

void dmn_station_upstream(struct dmn_station *s)
{
        static const struct dmn_upstream_events events = { .changed = changed,
                                                           .answered = answered,
                                                           .unknown_drives = unknown_drives };
        struct bth_error error = BTH_ERROR_INIT;
        int r;

        dmn_station_unlisten(s, &s->upstream_listener);
        s->upstream = dmn_upstream_free(s->upstream);
        for (struct dmn_slot *slot = s->slots; slot; slot = slot->next)
                slot->asked = false; /* that one does not answer any more */
        if (s->config->upstream.url) {
                r = dmn_upstream_new(s->loop, s->store, s->config, &events, s, &s->upstream,
                                     &error);
                s->upstream_listener =
                        (struct dmn_listener){ .heard = heard, .userdata = s->upstream };
                if (r == 0)
                        dmn_station_listen(s, &s->upstream_listener);
        } else
                r = job_thread_submit(s->store, task_no_outbox, no_outbox_done, NULL);
        if (r < 0 && error.code == 0)
                (void)bth_error_set(&error, r, BTH_REASON_INTERNAL, "the outbox: %s",
                                    bth_strerror(r));
        if (r < 0)
                bth_log_error(LOG_ERR, &error);
}
