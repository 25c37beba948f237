/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slot-store - what a slot asks of the store, one thing at a time, on the store's thread.
 * An operation takes with it what it needs and brings back what it found, so that the two threads
 * share nothing but the slot's constant identity. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/names.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/station-internal.h"

#define WHO_STATION NULL

struct op {
        struct dmn_slot *slot;
        void (*then)(struct op *op); /* on the loop, when it went well */
        struct job_policy policy;
        uint64_t docking, job;
        size_t drive;

        /* in */
        bool by_hand, ejected, released;
        uint64_t hand_job;
        size_t hand_drive;
        char *who;
        struct job_act acts[2];
        size_t n_acts;
        char *detail;
        struct bth_message result;
        struct dmn_wish *wish;

        /* out */
        struct job_match match;
        struct job_outcome outcome;
        struct job_record *record;
        struct bth_secret *key;
        bool was_ejected;
        int refused; /* -EPERM, -ENOENT: the store is well, the answer is no */
        struct bth_error refusal;
};

static void op_free(struct op *op)
{
        if (!op)
                return;
        (void)job_record_free(op->record);
        (void)bth_secret_free(op->key);
        bth_message_clear(&op->result);
        free(op->detail);
        free(op->who);
        free(op);
}

static struct op *op_new(struct dmn_slot *slot, void (*then)(struct op *op))
{
        struct op *op = calloc(1, sizeof *op);

        if (!op)
                return NULL;
        op->slot = slot;
        op->then = then;
        op->policy = slot->station->policy;
        op->docking = slot->docking_id;
        op->job = slot->job;
        op->drive = slot->drive;
        return op;
}

/* A wish that was granted or refused. */
static void answer_wish(struct dmn_wish *wish, int r, const char *sentence,
                        const struct bth_error *error)
{
        struct dmn_call *call = wish->call;

        wish->set = false;
        wish->call = NULL;
        if (!call)
                return;
        if (r == 0)
                dmn_call_answer(call, json_pack("{s:s}", "sentence", sentence));
        else
                dmn_call_fail(call, error);
}

static void take_record(struct dmn_slot *slot, struct op *op)
{
        if (!op->record)
                return;
        (void)job_record_free(slot->record);
        slot->record = take_ptr(op->record);
        slot->stale = false;
}

static void op_done(void *userdata, int r, const struct bth_error *error)
{
        struct op *op = userdata;
        struct dmn_slot *slot = op->slot;
        struct dmn_station *s = slot->station;

        slot->busy = false;
        if (r < 0 && !slot->worker)
                slot->memory_bytes = 0; /* it was to begin, and did not */
        if (dmn_station_store_failed(s, r, error)) {
                /* Everything that was to be stored is still in the slot: the next step repeats it.
                 */
                op_free(op);
                dmn_station_changed(s);
                return;
        }
        if (r < 0) { /* not the disk's fault, and no refusal: not at once again */
                bth_log_error(LOG_ERR, error);
                op_free(op);
                dmn_slot_step_at(slot, bth_now_monotonic_usec() + DMN_BACKOFF_MAX_USEC);
                dmn_station_changed(s);
                return;
        }
        op->then(op);
        op_free(op);
        dmn_slot_step(slot); /* which may free it */
        dmn_station_changed(s);
}

static void submit(struct op *op, job_task_fn task)
{
        struct dmn_slot *slot = op ? op->slot : NULL;

        if (!op)
                return; /* no memory: the clock's next look tries again */
        if (dmn_station_submit(slot->station, task, op_done, op) == 0) {
                slot->busy = true;
                return;
        }
        op_free(op);
        dmn_slot_step_at(slot, bth_now_monotonic_usec() + DMN_BACKOFF_USEC);
}

/* Keeps a refusal apart from trouble with the store. */
static int refusal(struct op *op, int r, struct bth_error *error)
{
        if (r != -EPERM && r != -ENOENT)
                return r;
        op->refused = r;
        op->refusal = error ? *error : BTH_ERROR_INIT;
        return 0;
}

static int get_record(struct op *op, struct job_store *store, struct bth_error *error)
{
        return refusal(op, job_store_get(store, op->job, &op->record, error), error);
}

/* -- docking
 * ------------------------------------------------------------------------------------------ */

static int look_at_docking(void *userdata, const struct job_docking *d)
{
        struct op *op = userdata;

        op->was_ejected = bth_streq(d->ended, "ejected") &&
                          bth_streq(d->diskseq, op->slot->diskseq) &&
                          bth_streq(d->bay, op->slot->bay);
        return 1;
}

static int find_job(struct op *op, struct job_store *store, struct bth_error *error)
{
        int r;

        if (!op->by_hand)
                return job_match(store, op->slot->identity.serial, &op->match, error);
        r = job_match_by_hand(store, op->hand_job, op->hand_drive, error);
        if (r == 0)
                r = job_store_get(store, op->hand_job, &op->record, error);
        op->match = (struct job_match){ .kind = JOB_MATCH_ONE,
                                        .job = op->hand_job,
                                        .drive = op->hand_drive };
        (void)snprintf(op->match.sentence, sizeof op->match.sentence, "%s",
                       "an operator said which drive it is");
        return r;
}

static int book(struct op *op, struct job_store *store, struct bth_error *error)
{
        const struct hal_identity *identity = &op->slot->identity;
        const bool ours = op->match.kind == JOB_MATCH_ONE;
        const char *serial = identity->serial[0] == '\0' && op->record
                                     ? op->record->drives[op->match.drive].serial
                                     : identity->serial;
        struct job_docking d = { .serial = serial,
                                 .bay = op->slot->bay,
                                 .model = identity->model,
                                 .bus = hal_bus_to_string(identity->bus),
                                 .diskseq = op->slot->diskseq,
                                 .size_bytes = identity->size_bytes,
                                 .job = ours ? op->match.job : 0,
                                 .drive = ours ? op->match.drive : 0,
                                 .matched = !ours         ? NULL
                                            : op->by_hand ? "hand"
                                                          : "serial",
                                 .warning = op->slot->warning[0] ? op->slot->warning : NULL };
        int r = job_store_dock(store, &d, &op->policy, bth_now_realtime_usec(), op->who,
                               &op->docking, &op->outcome, error);

        if (r == -EPERM && ours) {
                /* The job does not take it now; it stays here, set aside, with the reason. */
                (void)snprintf(op->match.sentence, sizeof op->match.sentence, "%s",
                               op->outcome.sentence ? op->outcome.sentence : error->sentence);
                op->match.kind = JOB_MATCH_PAST;
                return book(op, store, error);
        }
        return r;
}

static int task_dock(struct job_store *store, void *userdata, struct bth_error *error)
{
        struct op *op = userdata;
        int r = 0;

        if (!op->by_hand && !op->released && op->docking == 0)
                r = job_store_dockings(store, op->slot->identity.serial, 0, 0, 1, look_at_docking,
                                       op, error);
        if (r < 0)
                return r;
        r = refusal(op, find_job(op, store, error), error);
        if (r < 0 || op->refused < 0)
                return r;
        if (op->docking > 0 && op->match.kind != JOB_MATCH_ONE)
                return 0; /* still an extra drive */
        if (op->docking > 0)
                r = job_store_undock(store, op->docking, false, &op->policy,
                                     bth_now_realtime_usec(), op->who, &op->outcome, error);
        if (r == 0)
                r = book(op, store, error);
        op->job = r == 0 && op->match.kind == JOB_MATCH_ONE ? op->match.job : 0;
        op->drive = op->match.drive;
        op->record = job_record_free(op->record); /* as it was before the docking */
        return r == 0 && op->job > 0 ? get_record(op, store, error) : r;
}

/* Who said it reads in the answer, and in the log, what it is now. */
static void answer_match(struct dmn_slot *slot)
{
        struct bth_error error = BTH_ERROR_INIT;
        char sentence[256];

        if (slot->job == 0 || !slot->record) {
                (void)bth_error_set(&error, -EPERM, BTH_REASON_REFUSED, "%s", slot->match.sentence);
                answer_wish(&slot->match_by_hand, -EPERM, NULL, &error);
                return;
        }
        (void)snprintf(sentence, sizeof sentence, "the drive is '%s' of job '%s' now",
                       slot->record->drives[slot->drive].serial, slot->record->name);
        answer_wish(&slot->match_by_hand, 0, sentence, NULL);
}

static void then_docked(struct op *op)
{
        struct dmn_slot *slot = op->slot;

        if (op->refused < 0) {
                if (slot->match_by_hand.set)
                        answer_wish(&slot->match_by_hand, op->refused, NULL, &op->refusal);
                return;
        }
        slot->match = op->match;
        if (slot->match.kind == JOB_MATCH_NONE && slot->station->upstream)
                dmn_upstream_fetch(slot->station->upstream); /* it may know the drive */
        slot->docking_id = op->docking;
        slot->job = op->job;
        slot->drive = op->drive;
        slot->ejected = op->was_ejected;
        take_record(slot, op);
        dmn_slot_log(slot, LOG_NOTICE, slot->job > 0 ? BTH_ID(DRIVE_DOCKED) : BTH_ID(DRIVE_UNKNOWN),
                     NULL, NULL,
                     slot->job > 0 ? "it is docked, and belongs to a job" : slot->match.sentence);
        if (slot->match_by_hand.set && op->by_hand)
                answer_match(slot);
}

void dmn_slot_dock(struct dmn_slot *slot)
{
        struct op *op = op_new(slot, then_docked);

        slot->rematch = false;
        if (op)
                op->released = slot->released; /* an operator wants it, though it was ejected */
        if (op && slot->match_by_hand.set) {
                op->by_hand = true;
                op->hand_job = slot->hand_job;
                op->hand_drive = slot->hand_drive;
                op->who = slot->match_by_hand.call ? strdup(slot->match_by_hand.call->who) : NULL;
        }
        submit(op, task_dock);
}

static int task_undock(struct job_store *store, void *userdata, struct bth_error *error)
{
        struct op *op = userdata;

        return refusal(op,
                       job_store_undock(store, op->docking, op->ejected, &op->policy,
                                        bth_now_realtime_usec(), op->who, &op->outcome, error),
                       error);
}

static void then_undocked(struct op *op)
{
        struct dmn_slot *slot = op->slot;

        if (op->refused < 0 && op->ejected) {
                answer_wish(&slot->eject, op->refused, NULL, &op->refusal);
                slot->stale = true;
                if (slot->gone) /* for the kernel it is, whatever the record says */
                        slot->ejected = slot->in_place = false;
                return;
        }
        slot->docking_id = 0;
        slot->stale = true;
        if (!op->ejected)
                return;
        slot->ejected = true;
        dmn_slot_log(slot, LOG_NOTICE, BTH_ID(DRIVE_SAFE), NULL, NULL, "it is safe to remove");
        answer_wish(&slot->eject, 0, "the drive is safe to remove", NULL);
}

void dmn_slot_undock(struct dmn_slot *slot, bool ejected)
{
        struct op *op = op_new(slot, then_undocked);

        if (op) {
                op->ejected = ejected;
                op->who = ejected && slot->eject.call ? strdup(slot->eject.call->who) : NULL;
        }
        submit(op, task_undock);
}

/* -- the record
 * ---------------------------------------------------------------------------------------- */

static int task_read(struct job_store *store, void *userdata, struct bth_error *error)
{
        return get_record(userdata, store, error);
}

static void then_read(struct op *op)
{
        struct dmn_slot *slot = op->slot;

        slot->stale = false;
        if (op->refused < 0) { /* the job is gone: the drive is an extra one now */
                slot->job = 0;
                slot->record = job_record_free(slot->record);
                slot->rematch = true;
        }
        take_record(slot, op);
}

void dmn_slot_read(struct dmn_slot *slot)
{
        submit(op_new(slot, then_read), task_read);
}

/* -- a run
 * --------------------------------------------------------------------------------------------- */

static int task_begin(struct job_store *store, void *userdata, struct bth_error *error)
{
        struct op *op = userdata;
        const struct job_act act = { .job = op->job,
                                     .input = { .kind = JOB_INPUT_BEGUN, .drive = op->drive } };
        int r = refusal(op,
                        job_store_apply(store, &act, &op->policy, bth_now_realtime_usec(),
                                        WHO_STATION, &op->outcome, error),
                        error);

        if (r == 0)
                r = get_record(op, store, error);
        if (r == 0 && op->refused == 0) {
                r = job_store_key(store, op->job, op->drive, &op->key, error);
                r = r == -ENOENT ? 0 : r; /* a suspended volume needs none */
        }
        return r;
}

static void then_begun(struct op *op)
{
        struct dmn_slot *slot = op->slot;
        struct bth_error error = BTH_ERROR_INIT;

        take_record(slot, op);
        slot->stale = true;
        if (op->refused < 0) {
                slot->memory_bytes = 0;
                return;
        }
        if (dmn_slot_work(slot, op->key, &error) == 0) {
                slot->trouble = BTH_ERROR_INIT;
                return;
        }
        slot->memory_bytes = 0;
        slot->trouble = error;
        slot->again_usec = bth_now_monotonic_usec() + DMN_BACKOFF_MAX_USEC;
        bth_log_error(LOG_ERR, &error);
        /* The store says that a worker runs; it has to know better before anything else. */
        slot->result.type = BTH_MESSAGE_RESULT;
        slot->result.result = (struct bth_result_report){ .end = BTH_RUN_END_FAILED };
        slot->result.result.reason = strdup(bth_reason_to_string(error.reason));
        slot->result.result.sentence = strdup(error.sentence);
        slot->has_result = true;
}

void dmn_slot_begin(struct dmn_slot *slot)
{
        submit(op_new(slot, then_begun), task_begin);
}

static int task_acts(struct job_store *store, void *userdata, struct bth_error *error)
{
        struct op *op = userdata;
        struct job_outcome outcomes[ARRAY_SIZE(op->acts)];

        return job_store_apply_all(store, op->acts, op->n_acts, &op->policy,
                                   bth_now_realtime_usec(), WHO_STATION, outcomes, error);
}

/* What the bay shows comes from the worker itself while it runs: nothing is read again. */
static void then_reported(struct op *op)
{
        (void)op;
}

static void add_progress(struct op *op)
{
        const struct bth_progress_report *p = &op->slot->progress;

        op->acts[op->n_acts++] = (struct job_act){ .job = op->job,
                                                   .input = { .kind = JOB_INPUT_PROGRESS,
                                                              .drive = op->drive,
                                                              .bytes = p->bytes,
                                                              .bytes_done = p->bytes_done,
                                                              .blobs = p->blobs,
                                                              .blobs_done = p->blobs_done } };
}

void dmn_slot_report(struct dmn_slot *slot)
{
        struct op *op = op_new(slot, then_reported);

        if (op && slot->report_activity) {
                op->detail = slot->activity_sentence ? strdup(slot->activity_sentence) : NULL;
                op->acts[op->n_acts++] = (struct job_act){
                        .job = slot->job,
                        .input = { .kind = slot->activity == JOB_ACTIVITY_PAUSED_CREDENTIALS
                                                   ? JOB_INPUT_CREDENTIALS
                                                   : JOB_INPUT_REPORTED,
                                   .drive = slot->drive,
                                   .activity = slot->activity },
                        .detail = op->detail
                };
        }
        if (op && slot->report_progress)
                add_progress(op);
        slot->report_activity = slot->report_progress = false;
        submit(op, task_acts);
}

static int task_result(struct job_store *store, void *userdata, struct bth_error *error)
{
        struct op *op = userdata;
        int r = op->n_acts > 0 ? task_acts(store, op, error) : 0;

        if (r < 0)
                return r;
        r = job_store_result(store, op->job, op->drive, &op->result.result, &op->policy,
                             bth_now_realtime_usec(), &op->outcome, error);

        r = refusal(op, r, error);
        return r == 0 ? get_record(op, store, error) : r;
}

static void then_ended(struct op *op)
{
        struct dmn_slot *slot = op->slot;

        if (op->refused < 0)
                dmn_slot_log(slot, LOG_WARNING, NULL, NULL, "refused", op->refusal.sentence);
        bth_message_clear(&slot->result);
        slot->has_result = false;
        slot->report_activity = slot->report_progress = false;
        take_record(slot, op);
        slot->stale = true;
        dmn_station_look(slot->station); /* the job may have moved, and its clock */
}

void dmn_slot_result(struct dmn_slot *slot)
{
        struct op *op = op_new(slot, then_ended);

        /* What it told last, and had not been stored: the record says how far the run came. */
        if (op && slot->report_progress)
                add_progress(op);
        if (op && dmn_message_copy(&slot->result, &op->result) < 0) {
                op_free(op);
                op = NULL;
                dmn_slot_step_at(slot, bth_now_monotonic_usec() + DMN_BACKOFF_USEC);
        }
        submit(op, task_result);
}

/* -- an input
 * ------------------------------------------------------------------------------------------ */

static int task_input(struct job_store *store, void *userdata, struct bth_error *error)
{
        struct op *op = userdata;
        int r = refusal(op,
                        job_store_apply(store, &op->acts[0], &op->policy, bth_now_realtime_usec(),
                                        op->who, &op->outcome, error),
                        error);

        return r == 0 && op->refused == 0 ? get_record(op, store, error) : r;
}

static void then_input(struct op *op)
{
        struct dmn_slot *slot = op->slot;

        take_record(slot, op);
        slot->stale = true;
        if (op->wish)
                answer_wish(op->wish, op->refused, op->outcome.sentence, &op->refusal);
        dmn_station_look(slot->station);
}

void dmn_slot_input(struct dmn_slot *slot, enum job_input_kind kind, const char *detail,
                    struct dmn_wish *wish)
{
        struct op *op = op_new(slot, then_input);

        if (op) {
                op->wish = wish;
                op->who = wish && wish->call ? strdup(wish->call->who) : NULL;
                op->detail = detail ? strdup(detail) : NULL;
                op->acts[0] = (struct job_act){ .job = slot->job,
                                                .input = { .kind = kind, .drive = slot->drive },
                                                .detail = op->detail };
        }
        submit(op, task_input);
}
