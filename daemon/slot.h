/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slot - one docked drive: from plug to pull. Inside daemon/ only (slot*.c, station*.c,
 * verbs-bays.c).
 *
 * Level-triggered: dmn_slot_step() looks at what is the case and begins the one next thing, which
 * ends in another step. At most one store operation of a slot is under way (`busy`). Wishes of
 * operators wait in the slot with their call until the step can grant them. A slot is freed when
 * its drive is gone, its worker reaped, its result and its undocking stored.
 *
 *     READY ─ health ─ DOCK (match) ─┬─ no job: extra drive, matched again after every import
 *                                    └─ READ ─ may it begin? ─ BEGIN ─ worker ─ RESULT ─ READ … */
#pragma once

#include "base/order.h"
#include "daemon/station.h"
#include "daemon/verb.h"
#include "daemon/worker.h"
#include "hal/health.h"
#include "hal/led.h"
#include "jobs/event.h"
#include "jobs/match.h"

#define DMN_SLOT_FAILURES_MAX 5u /* runs without any progress, one after the other */
#define DMN_BACKOFF_USEC      (UINT64_C(1) * 1000000)
#define DMN_BACKOFF_MAX_USEC  (UINT64_C(60) * 1000000)
#define DMN_STALLED_USEC      (UINT64_C(30) * 1000000) /* before a stalled network is tried again */
#define DMN_SILENT_USEC       (UINT64_C(60) * 1000000) /* a worker reports once a second */
#define DMN_ASK_USEC          (UINT64_C(5) * 1000000)  /* for the job service to answer */
#define DMN_STILL_THERE_USEC  (UINT64_C(10) * 1000000) /* a drive that went, and is there */

/* A wish of an operator; one of a kind at a time. */
struct dmn_wish {
        bool set;
        struct dmn_call *call; /* to be answered; may be NULL when the station itself wishes */
};

struct dmn_slot {
        struct dmn_station *station;
        struct dmn_slot *next;
        const struct hal_docking *docking; /* NULL: gone */
        uint64_t sequence;
        char bay[HAL_BAY_NAME_MAX];
        char node[HAL_NODE_MAX];
        bool is_virtual, ready;
        bool gone, ejected; /* ejected: safe to remove, nothing begins by itself */
        bool in_place;      /* ejected, and so gone for the kernel, but not from its bay */
        struct hal_identity identity; /* constant from `ready` on, but for `fault` */
        char diskseq[24];
        char warning[256];
        bool health_asked, health_known;
        struct hal_health health;
        uint64_t docked_usec;

        /* the store's view */
        bool busy;               /* an operation is under way */
        struct dmn_aside *aside; /* a blocking thing is under way */
        bool stale, rematch;
        uint64_t docking_id; /* 0: not booked */
        bool asked;          /* the job service, before it is booked */
        uint64_t ask, ask_until_usec;
        struct job_match match;
        uint64_t job; /* 0: none */
        size_t drive;
        struct job_record *record; /* as read last; NULL before */

        /* the worker */
        struct dmn_worker *worker;
        bool stopping;         /* it was asked to stop */
        char *ordered_account; /* all that its order says of the account */
        uint64_t heard_usec;   /* CLOCK_MONOTONIC; the last report */
        uint64_t memory_bytes; /* its share; not 0 from before it begins until it has ended */
        uint64_t bandwidth_bytes_per_sec;
        struct bth_sandbox_report
                sandbox; /* what this worker gave up; its sentence NULL: not told */
        struct bth_progress_report progress;
        bool has_progress;
        uint64_t rate; /* bytes a second, smoothed */
        struct job_progress_gate gate;
        bool report_activity, report_progress; /* not stored yet */
        enum job_activity activity;
        char *activity_sentence;
        bool has_result;
        struct bth_message result; /* not stored yet */
        unsigned failures;
        uint64_t bytes_at_failure;
        uint64_t again_usec; /* CLOCK_MONOTONIC; not before */
        sd_event_source *timer;
        bool released;            /* an operator said go, where start_at_once = no */
        char waits[256];          /* why it does not begin, though it may; "" */
        struct bth_error trouble; /* of the last try to begin */

        struct dmn_wish eject, give_up, match_by_hand;
        uint64_t hand_job;
        size_t hand_drive;
};

/* Makes the slot of a docking and links it in. Returns 0 or -ENOMEM. */
int dmn_slot_new(struct dmn_station *s, const struct hal_docking *d, struct dmn_slot **ret_slot)
        _must_check_;
/* Ejected, and nothing is left to be done: the slot stays for its bay to show, until another drive
 * comes there. */
bool dmn_slot_is_over(const struct dmn_slot *slot);
/* The docking changed; on GONE for the last time. */
void dmn_slot_docking(struct dmn_slot *slot, const struct hal_docking *d);
/* Does the next thing. May free the slot. */
void dmn_slot_step(struct dmn_slot *slot);
/* Kills the worker, answers wishes with -ECANCELED, unlinks and frees. */
void dmn_slot_free(struct dmn_slot *slot);
/* Steps again at this time of CLOCK_MONOTONIC, unless an earlier one is set. */
void dmn_slot_step_at(struct dmn_slot *slot, uint64_t usec);

/* What the bay shows: the drive's own activity and sentence, or what the slot waits for. */
enum job_activity dmn_slot_activity(const struct dmn_slot *slot, const char **ret_sentence);
struct job_drive *dmn_slot_drive(const struct dmn_slot *slot); /* NULL: no record */
/* One line about the drive, with its fields. `id` is BTH_ID(…) or NULL, as blob and reason. */
void dmn_slot_log(const struct dmn_slot *slot, int level, const char *id, const char *blob,
                  const char *reason, const char *sentence);
bool dmn_slot_works(const struct dmn_slot *slot);
/* The worker's progress for the API, a new object; NULL when it has told none. */
json_t *dmn_slot_progress(const struct dmn_slot *slot);
/* What it told of its sandbox, likewise. */
json_t *dmn_slot_sandbox(const struct dmn_slot *slot);

/* --- slot-store.c: one operation each; the slot is busy until it ends in a step --- */

void dmn_slot_dock(struct dmn_slot *slot);   /* match and book; again where it is an extra drive */
void dmn_slot_read(struct dmn_slot *slot);   /* the record */
void dmn_slot_begin(struct dmn_slot *slot);  /* BEGUN, then the worker */
void dmn_slot_report(struct dmn_slot *slot); /* activity and progress */
void dmn_slot_result(struct dmn_slot *slot); /* the end of a run */
void dmn_slot_undock(struct dmn_slot *slot, bool ejected);
/* One input for the drive; `wish` (or NULL) is answered with what came of it. */
void dmn_slot_input(struct dmn_slot *slot, enum job_input_kind kind, const char *detail,
                    struct dmn_wish *wish);

/* --- slot-work.c --- */

/* Starts the worker. Returns 0; or what hinders it now, with its sentence. */
int dmn_slot_work(struct dmn_slot *slot, const struct bth_secret *key, struct bth_error *error)
        _must_check_;
void dmn_slot_stop(struct dmn_slot *slot);
/* It could not begin: is that as it was? Then it is tried later, and the history is not filled with
 * what was told already. */
bool dmn_slot_hindered(struct dmn_slot *slot);
/* The configuration is another: a worker whose account is not what its order says stops, and goes
 * on with a new order. */
void dmn_slot_account_look(struct dmn_slot *slot);
/* Ends a worker that has said nothing for too long; else looks again when it would be. */
void dmn_slot_listen(struct dmn_slot *slot);
/* Is there room for one more? 0: no, and `waits` says why. */
uint64_t dmn_slot_memory(struct dmn_slot *slot);

/* A deep copy. Returns 0 or -ENOMEM. */
int dmn_message_copy(const struct bth_message *m, struct bth_message *ret_copy) _must_check_;
