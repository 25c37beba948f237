/* SPDX-License-Identifier: GPL-3.0-or-later */
/* state - a job and its drives as a state machine without input and output.
 *
 * An input (a drive docked, a worker's result, an operator's word, the clock) is looked up in one
 * table (jobs/rules.c, printed by job_table_print) and gives the next states and the list of what
 * changed, or the name of the reason why it changes nothing. The caller stores the new states and
 * the changes in one transaction (jobs/store.h). The model holds no text and no secret.
 *
 *     job     Creating > Shipping > Received > Transferring > Packaging > Completed | Closed
 *     drive   Specified > Received > Transferring > Completed | CompletedMoreInfo > ShippedBack
 *             Specified > NeverReceived > Received
 *
 * Only the operator's correction (RETRIED) takes a drive backwards, from CompletedMoreInfo to
 * Transferring. A job never goes backwards. Import jobs only: the drives of an export job become
 * known when they arrive.
 * Any thread; one model belongs to one thread. Times are CLOCK_REALTIME in microseconds, 0 = never.
 * Source: import-export specification 6 (states, clocks, cancel), 7.10; design, section 4. */
#pragma once

#include <stdio.h>

#include "jobs/words.h"

#define JOB_MAX_DRIVES 10 /* specification 7.10, 9 */

#define JOB_DAY_USEC (UINT64_C(24) * 3600 * 1000000)
/* The clocks of specification 6.2. */
#define JOB_CREATING_USEC   (14 * JOB_DAY_USEC) /* without shipping data, then deleted */
#define JOB_SHIPPING_USEC   (14 * JOB_DAY_USEC) /* without the drive, then NeverReceived */
#define JOB_NO_ANSWER_USEC  (30 * JOB_DAY_USEC) /* about a missing parcel, then Closed */
#define JOB_UNSHIPPED_USEC  (14 * JOB_DAY_USEC) /* drives here, job Creating: return them */
#define JOB_UNRETURNED_USEC (90 * JOB_DAY_USEC) /* Packaging, then destroyed */
#define JOB_KEPT_USEC       (90 * JOB_DAY_USEC) /* Completed or Closed, then deleted */
#define JOB_DOCK_AGAIN_USEC (3 * JOB_DAY_USEC)  /* our own: pulled and not docked again */

/* What the operator of the station decides. */
struct job_policy {
        uint64_t dock_again_usec; /* 0: JOB_DOCK_AGAIN_USEC */
        /* How long a job whose last drive failed as a whole stays Transferring, so that there is
         * time for a correction; 0: it is packed at once, as the table says. */
        uint64_t correction_usec;
};

enum job_copy {
        JOB_COPY_NONE,        /* not begun */
        JOB_COPY_IN_PROGRESS, /* "InProgress" */
        JOB_COPY_ENDED,       /* a drive status of specification 5.3 */
        _JOB_COPY_MAX,
        _JOB_COPY_INVALID = -EINVAL,
};

struct job_drive {
        enum bth_drive_state state;
        enum job_copy copy;
        enum bth_drive_status status; /* when `copy` is ENDED */
        enum job_activity activity;
        bool docked;      /* in a bay of this station, and not ejected */
        bool running;     /* a worker is busy with it */
        bool held;        /* by an operator */
        bool unprocessed; /* cancelled before it began, or its hardware is not accepted */
        uint64_t bytes, bytes_done, blobs, blobs_done;
        uint64_t received_usec, begun_usec, ended_usec;
        uint64_t activity_usec; /* since when the activity is what it is */
        uint64_t corrections;   /* how often an operator let it be tried again */
};

struct job_model {
        enum bth_job_state state;
        bool cancel_requested;
        bool accept_unshipped; /* drives may begin while the job is Creating */
        bool has_delivery;     /* carrier and tracking number are known */
        bool has_return;       /* the return address is known */
        bool deleted;          /* the record goes: out of every list */
        unsigned alerts;       /* bits of enum job_alert that were given */
        uint64_t created_usec; /* or updated: the clock of Creating */
        uint64_t shipped_usec; /* shipping data given, or the first drive begun without it */
        uint64_t asked_usec;   /* the customer was asked about the parcel */
        uint64_t done_usec;    /* the last drive was done */
        uint64_t packaging_usec, ended_usec;
        struct job_drive drives[JOB_MAX_DRIVES];
        size_t n_drives;
};

struct job_input {
        enum job_input_kind kind;
        size_t drive;                 /* index; not read for an input of the whole job */
        enum bth_drive_status status; /* of ENDED */
        enum job_activity activity;   /* of REPORTED and STOPPED */
        uint64_t bytes, bytes_done, blobs, blobs_done; /* of PROGRESS */
};

#define JOB_NO_DRIVE SIZE_MAX
struct job_change {
        enum job_change_kind kind;
        size_t drive; /* JOB_NO_DRIVE: the whole job */
        /* JOB_STATE: enum bth_job_state; DRIVE_STATE: enum bth_drive_state; DRIVE_ACTIVITY: enum
         * job_activity; JOB_ALERT: `to` is the enum job_alert; others: 0 */
        int from, to;
};

#define JOB_MAX_CHANGES 64
struct job_outcome {
        enum job_refusal refusal; /* NONE: it was done */
        const char *sentence;     /* static: of the refusal, or of the rule that was followed */
        struct job_change changes[JOB_MAX_CHANGES];
        size_t n_changes;
};

/* A new job, Creating, with `n_drives` drives Specified and expected; Shipping when `shipped`.
 * Returns 0, or -EINVAL for no drive or more than JOB_MAX_DRIVES. */
int job_begin(size_t n_drives, bool accept_unshipped, bool shipped, uint64_t now_usec,
              struct job_model *ret_model, struct job_outcome *ret_outcome) _must_check_;

/* Follows the table. The model is changed only when 0 is returned.
 * Returns 0 and what changed, perhaps nothing; or -EPERM and the refusal, nothing is changed. */
int job_step(struct job_model *m, const struct job_policy *policy, const struct job_input *input,
             uint64_t now_usec, struct job_outcome *ret_outcome) _must_check_;

/* What another station says of a drive of this job takes the place of what is known here, and the
 * job follows: a drive never goes backwards, but by a correction; one that was sent back counts as
 * done, since RETURNED is said of the whole job. Returns 0 and what changed, perhaps nothing; or
 * -EPERM and a refusal for what cannot be, or is too late; nothing is changed. */
int job_adopt(struct job_model *m, const struct job_policy *policy, size_t drive,
              const struct job_drive *told, uint64_t now_usec, struct job_outcome *ret_outcome)
        _must_check_;

/* When job_step(CLOCK) has something to do next; UINT64_MAX: never. */
uint64_t job_deadline(const struct job_model *m, const struct job_policy *policy);

/* May a worker be started on this drive now? Exactly when BEGUN would not be refused. */
bool job_drive_may_begin(const struct job_model *m, size_t drive);
/* Has the drive come to an end, whichever? */
bool job_drive_done(const struct job_model *m, size_t drive);
/* The copyStatus of specification 7.6: "InProgress", a drive status, or NULL when absent. */
const char *job_drive_copy_status(const struct job_drive *d);

/* 0 to 100, specification 6.6. A drive has 100 only when it is done; a job's is the mean of the
 * drives that are copied, whatever their size, so that it does not jump when a manifest is read. */
unsigned job_drive_percent(const struct job_drive *d);
unsigned job_percent(const struct job_model *m);

/* What must always hold. NULL, or the sentence that is broken: our own bug. */
const char *job_broken(const struct job_model *m);

/* The result of a worker's run as input of its drive. */
struct job_input job_input_of_result(size_t drive, const struct bth_result_report *result);

/* The windows of specification 6.3. */
enum job_property {
        JOB_PROPERTY_TAGS,
        JOB_PROPERTY_STATE,
        JOB_PROPERTY_CANCEL,
        JOB_PROPERTY_RETURN, /* returnAddress, returnShipping */
        JOB_PROPERTY_DELIVERY,
        JOB_PROPERTY_LOGS, /* logLevel, backupDriveManifest */
        JOB_PROPERTY_DRIVES,
        _JOB_PROPERTY_MAX,
        _JOB_PROPERTY_INVALID = -EINVAL,
};
bool job_may_change(const struct job_model *m, enum job_property p);

/* The table as Markdown: input, drive state, job state, condition; next drive state, copyStatus,
 * activity, what the job does, or the refusal. Returns 0 or -EIO. */
int job_table_print(FILE *out) _must_check_;
