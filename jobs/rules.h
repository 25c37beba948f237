/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rules - the table that jobs/state.c follows, as data. Inside jobs/ only. Any thread.
 * Source: design, section 4; import-export specification 6. */
#pragma once

#include "jobs/state.h"

/* What a rule asks for beside the states. X(identifier, text) */
#define JOB_CONDITIONS(X)                                                        \
        X(ALWAYS, "")                                                            \
        X(WAITS, "job Creating, accept_unshipped = no")                          \
        X(NO_ADDRESS, "carrier, tracking number or return address is not known") \
        X(CANCELLED, "cancelled")                                                \
        X(ANY_HERE, "a drive is in the house")                                   \
        X(ANY_DOCKED, "a drive is in a bay")                                     \
        X(NOT_ALL_DONE, "not all drives are done")                               \
        X(DOCKED, "in a bay")                                                    \
        X(NOT_DOCKED, "in no bay")                                               \
        X(RUNNING, "a worker is busy with it")                                   \
        X(NOT_RUNNING, "no worker is busy with it")                              \
        X(HELD, "held")                                                          \
        X(NOT_HELD, "not held")                                                  \
        X(UNPROCESSED, "goes back without being copied")                         \
        X(WELL, "status Completed")                                              \
        X(PARTLY, "status CompletedWithWarnings or CompletedWithErrors")

enum job_condition {
#define X(id, text) JOB_CONDITION_##id,
        JOB_CONDITIONS(X)
#undef X
                _JOB_CONDITION_MAX,
        _JOB_CONDITION_INVALID = -EINVAL,
};

/* What the job does after its drive has moved. X(identifier, text) */
#define JOB_ACTIONS(X)                                                                       \
        X(KEEP, "unchanged")                                                                 \
        X(SHIP, "Shipping; Received when all drives are in")                                 \
        X(ARRIVE, "Received when all drives are in, else unchanged")                         \
        X(TRANSFER, "Transferring")                                                          \
        X(DONE, "Packaging when all drives are done, else unchanged")                        \
        X(CANCEL, "cancel requested; Packaging when all have arrived and those running end") \
        X(END, "Completed, or Closed when anything went wrong")                              \
        X(DELETE, "deleted")                                                                 \
        X(TOUCH, "unchanged; its two weeks begin again")

enum job_action {
#define X(id, text) JOB_ACTION_##id,
        JOB_ACTIONS(X)
#undef X
                _JOB_ACTION_MAX,
        _JOB_ACTION_INVALID = -EINVAL,
};

enum job_rule_copy {
        JOB_RULE_COPY_KEEP,
        JOB_RULE_COPY_IN_PROGRESS,
        JOB_RULE_COPY_GIVEN,  /* the status that came with the input */
        JOB_RULE_COPY_FAILED, /* DiskOperationFailed */
};

#define JOB_RULE_KEEP  (-1) /* of `to` and `activity` */
#define JOB_RULE_GIVEN (-2) /* of `activity`: what came with the input */

/* The first rule that fits an input counts; where none fits the input is refused with NOT_NOW.
 * An input of the whole job takes its first rule without drive states, and after that the first one
 * that fits each drive, if there is one. */
struct job_rule {
        enum job_input_kind input;
        unsigned drives; /* bits of enum bth_drive_state; 0: about the whole job */
        unsigned jobs;   /* bits of enum bth_job_state */
        enum job_condition when;
        enum job_refusal refusal; /* not NONE: nothing below counts */
        int to;                   /* enum bth_drive_state, or KEEP */
        enum job_rule_copy copy;
        int activity; /* enum job_activity, KEEP or GIVEN */
        enum job_action job;
};

extern const struct job_rule job_rules[];
extern const size_t job_n_rules;

/* Does the condition hold? `d` is NULL for a rule about the whole job. */
bool job_condition_holds(enum job_condition c, const struct job_model *m, const struct job_drive *d,
                         const struct job_input *input);
const char *job_condition_text(enum job_condition c) _const_;

/* Shared between rules.c and state.c. */
bool job_waits(const struct job_model *m); /* for shipping data */
bool job_every_drive_done(const struct job_model *m);
/* The time limits, as a second table (jobs/clocks.c). */
void job_clocks_print(FILE *out);
/* A status that says the drive as a whole failed. */
bool job_status_failed(enum bth_drive_status s);

/* --- one step under way --- */

/* The model is a copy, which takes the place of the caller's when the step is not refused. */
struct job_run {
        struct job_model m;
        const struct job_policy *policy;
        uint64_t now_usec;
        struct job_outcome *outcome;
};

void job_run_note(struct job_run *r, enum job_change_kind kind, size_t drive, int from, int to);
void job_run_job_state(struct job_run *r, enum bth_job_state to);
void job_run_delete(struct job_run *r);
/* Packs the job when every drive is done; `at_once`: without time for a correction. */
void job_run_pack(struct job_run *r, bool at_once);
/* Applies the first rule that fits one drive, and what the job does after it. Returns 0 or -EPERM
 * with the refusal. */
int job_run_drive(struct job_run *r, const struct job_input *input) _must_check_;
/* What became of a drive, with its note, and its times. */
void job_run_drive_state(struct job_run *r, size_t drive, enum bth_drive_state to);
void job_run_drive_activity(struct job_run *r, size_t drive, enum job_activity to);
void job_run_drive_progress(struct job_run *r, size_t drive, uint64_t bytes, uint64_t bytes_done,
                            uint64_t blobs, uint64_t blobs_done);
/* What follows for the job when a drive has come, and when one is being copied. */
void job_run_arrive(struct job_run *r);
void job_run_transfer(struct job_run *r);
/* Sets the outcome. Returns -EPERM. */
int job_run_refuse(struct job_run *r, enum job_refusal refusal);
/* What must hold for a drive alone, or NULL. */
const char *job_drive_broken(const struct job_drive *d);

/* Applies every time limit that has passed. */
void job_run_clocks(struct job_run *r);
