/* SPDX-License-Identifier: GPL-3.0-or-later */
/* station - everything that goes on in the bays: who is docked, what belongs to it, and the worker
 * that copies it.
 *
 *     hal/hotplug ── docking ──> slot ── match, dock ──> store (jobs/thread)
 *                                 │  ▲
 *                        order ───┘  └── reports, result ── worker (daemon/worker)
 *
 * One slot a docking. Slots decide by what the store says: after every change of a job the slot
 * reads its record again and does what is to be done next (match, begin, hold, show "safe to
 * remove"), so that a step that was missed is made up for by the next look. State before action: a
 * worker is started after BEGUN is stored. Everything on the loop's thread; the store on its own.
 * Source: design, sections 3 (8), 4 and 5. */
#pragma once

#include <systemd/sd-event.h>

#include "base/json.h"
#include "daemon/config.h"
#include "hal/hotplug.h"
#include "jobs/thread.h"

struct dmn_station;

struct dmn_station_options {
        sd_event *loop;
        const char *config_path;   /* to read again */
        struct dmn_config *config; /* taken over when the station is made */
        const struct hal_host *host;
        struct job_thread *store; /* borrowed, outlives the station; after job_store_restart() */
        bool without_udev;        /* virtual bays only */
        uint64_t silent_usec;     /* after which a worker is ended; 0: a minute */
        uint64_t backoff_usec;    /* before a run that failed is repeated; 0: a second */
};

/* Begins to watch the bays. Returns 0; errors of the watchers with their sentence; -ENOMEM. */
int dmn_station_new(const struct dmn_station_options *options, struct dmn_station **ret_station,
                    struct bth_error *error) _must_check_;
/* Kills workers that still run. NULL is fine; returns NULL. */
struct dmn_station *dmn_station_free(struct dmn_station *s);
DEFINE_CLEANUP(dmn_station_free, struct dmn_station *);

/* Starts no worker any more and asks those that run to stop; `stopped` is called once when the last
 * one is gone and stored. Drives stay as they are and go on at the next start. */
void dmn_station_stop(struct dmn_station *s, void (*stopped)(void *userdata), void *userdata);

/* Reads configuration and credentials again. A mistake changes nothing. Bays cannot be changed
 * while their drives are in work. Returns 0 or the errors of dmn_config_load(). */
int dmn_station_reload(struct dmn_station *s, struct bth_error *error) _must_check_;

/* `take` is called in each reload with the next configuration, before anything of it is in force:
 * its error is the reload's, which then changes nothing. */
void dmn_station_on_reload(struct dmn_station *s,
                           int (*take)(void *userdata, const struct dmn_config *next,
                                       struct bth_error *error),
                           void *userdata);

/* Something in the store changed: every slot looks again, and the clock of the jobs too. */
void dmn_station_look(struct dmn_station *s);

sd_event *dmn_station_loop(const struct dmn_station *s);
struct job_thread *dmn_station_store(const struct dmn_station *s);
const struct dmn_config *dmn_station_config(const struct dmn_station *s);
const struct job_policy *dmn_station_policy(const struct dmn_station *s);

/* What the worker of a job's drive says about its progress, as a new object; NULL when none runs.
 */
json_t *dmn_station_progress(const struct dmn_station *s, uint64_t job, size_t drive);
/* The same of all drives that have it: an array of "job_id", "index", "progress". */
json_t *dmn_station_progress_all(const struct dmn_station *s);
/* Does a worker run on it, or is one just being started? */
bool dmn_station_works_on(const struct dmn_station *s, uint64_t job, size_t drive);

/* Somebody who wants to know when the history grew; `heard` may end the listening. */
struct dmn_listener {
        struct dmn_listener *next;
        void (*heard)(void *userdata);
        void *userdata;
};
/* The listener stays the caller's, until it is told that it listens no more; twice is well. */
void dmn_station_listen(struct dmn_station *s, struct dmn_listener *l);
void dmn_station_unlisten(struct dmn_station *s, struct dmn_listener *l);
