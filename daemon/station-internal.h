/* SPDX-License-Identifier: GPL-3.0-or-later */
/* station-internal - what station*.c, slot*.c, lights.c and verbs-bays.c share. */
#pragma once

#include "daemon/credential.h"
#include "daemon/lights.h"
#include "daemon/slot.h"
#include "daemon/spool.h"
#include "daemon/station.h"
#include "daemon/upstream.h"
#include "hal/udev.h"
#include "hal/virtual.h"

#define DMN_STORE_AGAIN_USEC      (UINT64_C(5) * 1000000) /* after the store could not write */
#define DMN_STORE_FREE_BYTES      (UINT64_C(8) << 20) /* a full disk has to have that much again */
#define DMN_BANDWIDTH_SLACK_BYTES (UINT64_C(256) << 10)   /* above what a worker sends now */
#define DMN_SHARES_USEC           (UINT64_C(2) * 1000000) /* bandwidth is shared out again */

struct dmn_station {
        sd_event *loop;
        char *config_path;
        struct dmn_config *config;
        struct dmn_config *next_config; /* waits until the bays are empty of work; or NULL */
        struct hal_bays bays;           /* those in force; hotplug borrows them */
        const struct hal_host *host;
        bool without_udev;
        uint64_t backoff_usec, silent_usec;
        struct job_thread *store;
        /* NULL: nobody asked */
        int (*take_config)(void *userdata, const struct dmn_config *next, struct bth_error *error);
        void *take_config_userdata;
        struct job_policy policy;
        uint64_t bandwidth_bytes_per_sec; /* the cap; 0: none */
        uint64_t started_usec;

        struct hal_hotplug *hotplug;
        struct hal_udev *udev;
        struct hal_virtual *virtual;
        struct dmn_lights *lights;
        struct dmn_credential_watch *credentials;
        struct dmn_spool *spool;
        struct dmn_upstream *upstream; /* NULL: none */
        struct dmn_listener upstream_listener;
        struct dmn_slot *slots;
        struct dmn_import_call *imports; /* that are under way: verbs-import.c */

        sd_event_source *store_io, *clock, *again, *shares;
        struct dmn_listener *listeners;
        uint64_t last_event;  /* that they were told of */
        bool looking;         /* the clock's task is under way */
        bool look_again;      /* and another one is wanted */
        uint64_t forgot_usec; /* when old personal data was looked for last */
        bool shortening;      /* the history: a step is under way */

        struct bth_error store_trouble; /* code < 0: records cannot be written now */
        bool stopping, ending;
        void (*stopped)(void *userdata);
        void *stopped_userdata;
};

/* Hands a task to the store's thread. Returns 0, -EAGAIN, -ENOMEM. */
int dmn_station_submit(struct dmn_station *s, job_task_fn task, job_done_fn done, void *userdata)
        _must_check_;
/* What became of a task: remembers that records cannot be written, and that they can again. True
 * when the task has to be repeated later because of that. */
bool dmn_station_store_failed(struct dmn_station *s, int r, const struct bth_error *error);
/* After a slot changed in any way: lamps, shares, and the end of a stop. */
void dmn_station_changed(struct dmn_station *s);

/* Takes the next configuration and its bays over. */
void dmn_station_exchange(struct dmn_station *s);
/* Watches the credentials of the configuration in force, and gives them to who runs. */
void dmn_station_credentials(struct dmn_station *s);
/* The same for its spool, and for the job service above. */
void dmn_station_spool(struct dmn_station *s);
void dmn_station_upstream(struct dmn_station *s);
/* Takes what is older than the configuration wants out of the store, a short task after the other;
 * while it does so, nothing. */
void dmn_station_shorten(struct dmn_station *s);
/* A new cap on the bandwidth over all drives; 0: none. */
void dmn_station_limit(struct dmn_station *s, uint64_t bytes_per_sec);

size_t dmn_station_workers(const struct dmn_station *s);
/* The slot of a job's drive, or of a bay; or NULL. */
struct dmn_slot *dmn_station_slot_of(const struct dmn_station *s, uint64_t job, size_t drive);
struct dmn_slot *dmn_station_slot_in(const struct dmn_station *s, const char *bay);
