/* SPDX-License-Identifier: GPL-3.0-or-later */
/* state - follows the table of rules.c; see state.h. */
#include <assert.h>
#include <string.h>

#include "base/macros.h"
#include "jobs/rules.h"

void job_run_note(struct job_run *r, enum job_change_kind kind, size_t drive, int from, int to)
{
        struct job_outcome *o = r->outcome;

        /* Ten drives with a state passed through, a state, an activity and a correction each, and a
         * job with five states and three alerts, stay below the limit. */
        assert(o->n_changes < JOB_MAX_CHANGES);
        o->changes[o->n_changes++] =
                (struct job_change){ .kind = kind, .drive = drive, .from = from, .to = to };
}

int job_run_refuse(struct job_run *r, enum job_refusal refusal)
{
        *r->outcome = (struct job_outcome){ .refusal = refusal,
                                            .sentence = job_refusal_sentence(refusal) };
        return -EPERM;
}

/* --- the job --- */

void job_run_job_state(struct job_run *r, enum bth_job_state to)
{
        struct job_model *m = &r->m;

        job_run_note(r, JOB_CHANGE_JOB_STATE, JOB_NO_DRIVE, (int)m->state, (int)to);
        m->state = to;
        if (to == BTH_JOB_STATE_SHIPPING)
                m->shipped_usec = r->now_usec;
        else if (to == BTH_JOB_STATE_PACKAGING)
                m->packaging_usec = r->now_usec;
        else if (to == BTH_JOB_STATE_COMPLETED || to == BTH_JOB_STATE_CLOSED)
                m->ended_usec = r->now_usec;
}

void job_run_delete(struct job_run *r)
{
        r->m.deleted = true;
        job_run_note(r, JOB_CHANGE_JOB_DELETED, JOB_NO_DRIVE, 0, 0);
}

static bool any_drive_failed(const struct job_model *m)
{
        for (size_t i = 0; i < m->n_drives; i++)
                if (m->drives[i].copy == JOB_COPY_ENDED && job_status_failed(m->drives[i].status))
                        return true;
        return false;
}

void job_run_pack(struct job_run *r, bool at_once)
{
        struct job_model *m = &r->m;

        if ((m->state != BTH_JOB_STATE_RECEIVED && m->state != BTH_JOB_STATE_TRANSFERRING) ||
            !job_every_drive_done(m))
                return;
        if (m->state == BTH_JOB_STATE_RECEIVED)
                job_run_job_state(r, BTH_JOB_STATE_TRANSFERRING);
        if (m->done_usec == 0)
                m->done_usec = r->now_usec;
        if (!at_once && r->policy->correction_usec > 0 && !m->cancel_requested &&
            any_drive_failed(m))
                return;
        job_run_job_state(r, BTH_JOB_STATE_PACKAGING);
}

/* No drive is on its way any more, and at least one came. */
static bool all_in(const struct job_model *m)
{
        bool came = false;

        for (size_t i = 0; i < m->n_drives; i++) {
                if (m->drives[i].state == BTH_DRIVE_STATE_SPECIFIED)
                        return false;
                came |= m->drives[i].state != BTH_DRIVE_STATE_NEVER_RECEIVED;
        }
        return came;
}

void job_run_arrive(struct job_run *r)
{
        if (r->m.state == BTH_JOB_STATE_CREATING && r->m.accept_unshipped && all_in(&r->m))
                job_run_job_state(r, BTH_JOB_STATE_SHIPPING);
        if (r->m.state == BTH_JOB_STATE_SHIPPING && all_in(&r->m))
                job_run_job_state(r, BTH_JOB_STATE_RECEIVED);
        job_run_pack(r, false);
}

void job_run_transfer(struct job_run *r)
{
        if (r->m.state == BTH_JOB_STATE_CREATING)
                job_run_job_state(r, BTH_JOB_STATE_SHIPPING);
        if (r->m.state < BTH_JOB_STATE_TRANSFERRING)
                job_run_job_state(r, BTH_JOB_STATE_TRANSFERRING);
}

static bool anything_wrong(const struct job_model *m)
{
        for (size_t i = 0; i < m->n_drives; i++) {
                const struct job_drive *d = &m->drives[i];

                if (d->state == BTH_DRIVE_STATE_NEVER_RECEIVED || d->unprocessed)
                        return true;
                if (d->copy == JOB_COPY_ENDED && d->status != BTH_DRIVE_STATUS_COMPLETED &&
                    d->status != BTH_DRIVE_STATUS_COMPLETED_WITH_WARNINGS)
                        return true;
        }
        return false;
}

static void act(struct job_run *r, enum job_action action)
{
        struct job_model *m = &r->m;

        switch (action) {
        case JOB_ACTION_SHIP:
                job_run_job_state(r, BTH_JOB_STATE_SHIPPING);
                job_run_arrive(r);
                break;
        case JOB_ACTION_ARRIVE:
                job_run_arrive(r);
                break;
        case JOB_ACTION_TRANSFER:
                job_run_transfer(r);
                break;
        case JOB_ACTION_CANCEL:
        case JOB_ACTION_DONE:
                job_run_pack(r, false);
                break;
        case JOB_ACTION_END:
                /* A job taken back ends as Completed, whatever was skipped (6.4). */
                job_run_job_state(r, anything_wrong(m) && !m->cancel_requested
                                             ? BTH_JOB_STATE_CLOSED
                                             : BTH_JOB_STATE_COMPLETED);
                break;
        case JOB_ACTION_DELETE:
                job_run_delete(r);
                break;
        case JOB_ACTION_TOUCH:
                if (m->state == BTH_JOB_STATE_CREATING)
                        m->created_usec = r->now_usec;
                else if (m->asked_usec > 0)
                        m->asked_usec = r->now_usec;
                break;
        default:
                break;
        }
}

/* --- a drive --- */

void job_run_drive_activity(struct job_run *r, size_t i, enum job_activity to)
{
        struct job_drive *d = &r->m.drives[i];

        if (to == JOB_ACTIVITY_SKIPPED || to == JOB_ACTIVITY_NOT_ACCEPTED) {
                d->unprocessed = true;
                d->held = false;
        }
        if (d->activity == to)
                return;
        job_run_note(r, JOB_CHANGE_DRIVE_ACTIVITY, i, (int)d->activity, (int)to);
        d->activity = to;
        d->activity_usec = r->now_usec;
}

void job_run_drive_state(struct job_run *r, size_t i, enum bth_drive_state to)
{
        struct job_drive *d = &r->m.drives[i];

        if (d->state == to)
                return;
        job_run_note(r, JOB_CHANGE_DRIVE_STATE, i, (int)d->state, (int)to);
        d->state = to;
        if (to != BTH_DRIVE_STATE_RECEIVED && to != BTH_DRIVE_STATE_TRANSFERRING)
                d->held = false;
        if (to == BTH_DRIVE_STATE_RECEIVED)
                d->received_usec = r->now_usec;
        else if (to == BTH_DRIVE_STATE_TRANSFERRING && d->begun_usec == 0)
                d->begun_usec = r->now_usec;
        else if (to == BTH_DRIVE_STATE_COMPLETED || to == BTH_DRIVE_STATE_COMPLETED_MORE_INFO)
                d->ended_usec = r->now_usec;
}

void job_run_drive_progress(struct job_run *r, size_t i, uint64_t bytes, uint64_t bytes_done,
                            uint64_t blobs, uint64_t blobs_done)
{
        struct job_drive *d = &r->m.drives[i];

        bytes_done = MIN(bytes_done, bytes);
        blobs_done = MIN(blobs_done, blobs);
        if (d->bytes == bytes && d->bytes_done == bytes_done && d->blobs == blobs &&
            d->blobs_done == blobs_done)
                return;
        d->bytes = bytes;
        d->bytes_done = bytes_done;
        d->blobs = blobs;
        d->blobs_done = blobs_done;
        job_run_note(r, JOB_CHANGE_DRIVE_PROGRESS, i, 0, 0);
}

/* What an input means for the drive beside its state. */
static void set_flags(struct job_run *r, const struct job_input *input)
{
        struct job_drive *d = &r->m.drives[input->drive];

        switch (input->kind) {
        case JOB_INPUT_DOCKED:
                d->docked = true;
                break;
        case JOB_INPUT_PULLED:
        case JOB_INPUT_EJECTED:
                d->docked = d->running = false;
                break;
        case JOB_INPUT_BEGUN:
                d->running = true;
                break;
        case JOB_INPUT_STOPPED:
        case JOB_INPUT_ENDED:
        case JOB_INPUT_GIVEN_UP:
                d->running = false;
                break;
        case JOB_INPUT_PAUSED:
                d->held = true;
                break;
        case JOB_INPUT_RESUMED:
                d->held = false;
                break;
        case JOB_INPUT_RETRIED:
                job_run_note(r, JOB_CHANGE_DRIVE_CORRECTED, input->drive, 0, 0);
                d->corrections++;
                d->held = d->unprocessed = false;
                d->ended_usec = 0;
                r->m.done_usec = 0;
                break;
        case JOB_INPUT_PROGRESS:
                job_run_drive_progress(r, input->drive, input->bytes, input->bytes_done,
                                       input->blobs, input->blobs_done);
                break;
        default:
                break;
        }
}

static void move(struct job_run *r, const struct job_rule *rule, const struct job_input *input)
{
        const size_t i = input->drive;
        struct job_drive *d = &r->m.drives[i];
        enum bth_drive_state to =
                rule->to == JOB_RULE_KEEP ? d->state : (enum bth_drive_state)rule->to;

        set_flags(r, input);
        if (to == BTH_DRIVE_STATE_COMPLETED_MORE_INFO && d->state == BTH_DRIVE_STATE_RECEIVED) {
                job_run_drive_state(r, i, BTH_DRIVE_STATE_TRANSFERRING);
                job_run_transfer(r);
        }
        if (rule->copy == JOB_RULE_COPY_IN_PROGRESS) {
                d->copy = JOB_COPY_IN_PROGRESS;
        } else if (rule->copy != JOB_RULE_COPY_KEEP) {
                d->copy = JOB_COPY_ENDED;
                d->status = rule->copy == JOB_RULE_COPY_GIVEN
                                    ? input->status
                                    : BTH_DRIVE_STATUS_DISK_OPERATION_FAILED;
        }
        job_run_drive_state(r, i, to);
        if (rule->activity == JOB_RULE_GIVEN)
                job_run_drive_activity(r, i, input->activity);
        else if (rule->activity != JOB_RULE_KEEP)
                job_run_drive_activity(r, i, (enum job_activity)rule->activity);
}

/* --- looking up --- */

static const struct job_rule *find_rule(const struct job_model *m, const struct job_input *input,
                                        const struct job_drive *d)
{
        for (size_t i = 0; i < job_n_rules; i++) {
                const struct job_rule *r = &job_rules[i];

                if (r->input == input->kind && (r->drives == 0) == (d == NULL) &&
                    (!d || r->drives & 1u << d->state) && r->jobs & 1u << m->state &&
                    job_condition_holds(r->when, m, d, input))
                        return r;
        }
        return NULL;
}

int job_run_drive(struct job_run *r, const struct job_input *input)
{
        const struct job_rule *rule = find_rule(&r->m, input, &r->m.drives[input->drive]);

        if (!rule || rule->refusal != JOB_REFUSAL_NONE)
                return job_run_refuse(r, rule ? rule->refusal : JOB_REFUSAL_NOT_NOW);
        move(r, rule, input);
        act(r, rule->job);
        return 0;
}

static int run_job(struct job_run *r, const struct job_input *input)
{
        const struct job_rule *rule = find_rule(&r->m, input, NULL);
        /* The conditions of a drive's rule look at the job as it was. */
        const struct job_model before = r->m;

        if (!rule || rule->refusal != JOB_REFUSAL_NONE)
                return job_run_refuse(r, rule ? rule->refusal : JOB_REFUSAL_NOT_NOW);
        if (input->kind == JOB_INPUT_UPDATED || input->kind == JOB_INPUT_ANSWERED)
                job_run_note(r, JOB_CHANGE_JOB_UPDATED, JOB_NO_DRIVE, 0, 0);
        if (rule->job == JOB_ACTION_CANCEL) {
                r->m.cancel_requested = true;
                job_run_note(r, JOB_CHANGE_JOB_CANCELLED, JOB_NO_DRIVE, 0, 0);
        }
        if (rule->job == JOB_ACTION_END)
                job_run_pack(r, true);
        for (size_t i = 0; i < before.n_drives; i++) {
                const struct job_input one = { .kind = input->kind, .drive = i };
                const struct job_rule *of_drive = find_rule(&before, &one, &before.drives[i]);

                if (of_drive)
                        move(r, of_drive, &one);
        }
        act(r, rule->job);
        return 0;
}

static int run_input(struct job_run *r, const struct job_input *input)
{
        if (r->m.deleted)
                return job_run_refuse(r, JOB_REFUSAL_TOO_LATE);
        if (input->kind == JOB_INPUT_CLOCK) {
                job_run_clocks(r);
                return 0;
        }
        if (input->kind < JOB_INPUT_FIRST_OF_DRIVE)
                return run_job(r, input);
        if (input->drive >= r->m.n_drives)
                return job_run_refuse(r, JOB_REFUSAL_NO_SUCH_DRIVE);
        return job_run_drive(r, input);
}

int job_step(struct job_model *m, const struct job_policy *policy, const struct job_input *input,
             uint64_t now_usec, struct job_outcome *ret_outcome)
{
        struct job_run r = {
                .m = *m, .policy = policy, .now_usec = now_usec, .outcome = ret_outcome
        };
        int k;

        *ret_outcome = (struct job_outcome){ .sentence = job_input_kind_sentence(input->kind) };
        k = run_input(&r, input);
        if (k < 0)
                return k;
        assert(!job_broken(&r.m));
        *m = r.m;
        return 0;
}

int job_begin(size_t n_drives, bool accept_unshipped, bool shipped, uint64_t now_usec,
              struct job_model *ret_model, struct job_outcome *ret_outcome)
{
        static const struct job_policy defaults;
        struct job_run r = { .policy = &defaults, .now_usec = now_usec, .outcome = ret_outcome };

        if (n_drives == 0 || n_drives > JOB_MAX_DRIVES)
                return -EINVAL;
        *ret_outcome = (struct job_outcome){ .sentence = "the job was made" };
        r.m = (struct job_model){
                .state = BTH_JOB_STATE_CREATING,
                .accept_unshipped = accept_unshipped,
                .created_usec = now_usec,
                .n_drives = n_drives,
        };
        for (size_t i = 0; i < n_drives; i++)
                r.m.drives[i] = (struct job_drive){ .activity = JOB_ACTIVITY_EXPECTED,
                                                    .activity_usec = now_usec };
        job_run_note(&r, JOB_CHANGE_JOB_MADE, JOB_NO_DRIVE, 0, 0);
        if (shipped) {
                r.m.has_delivery = r.m.has_return = true;
                job_run_job_state(&r, BTH_JOB_STATE_SHIPPING);
        }
        *ret_model = r.m;
        return 0;
}

/* --- questions --- */

bool job_drive_may_begin(const struct job_model *m, size_t drive)
{
        const struct job_input begun = { .kind = JOB_INPUT_BEGUN, .drive = drive };
        const struct job_rule *rule;

        if (m->deleted || drive >= m->n_drives)
                return false;
        rule = find_rule(m, &begun, &m->drives[drive]);
        return rule && rule->refusal == JOB_REFUSAL_NONE;
}

const char *job_drive_copy_status(const struct job_drive *d)
{
        switch (d->copy) {
        case JOB_COPY_IN_PROGRESS:
                return "InProgress";
        case JOB_COPY_ENDED:
                return bth_drive_status_to_string(d->status);
        default:
                return NULL;
        }
}

unsigned job_drive_percent(const struct job_drive *d)
{
        if (d->copy == JOB_COPY_ENDED)
                return 100;
        if (d->copy == JOB_COPY_NONE || d->bytes == 0)
                return 0;
        return (unsigned)((unsigned __int128)d->bytes_done * 99 / d->bytes);
}

unsigned job_percent(const struct job_model *m)
{
        unsigned sum = 0, n = 0;

        for (size_t i = 0; i < m->n_drives; i++) {
                const struct job_drive *d = &m->drives[i];

                if (d->state == BTH_DRIVE_STATE_NEVER_RECEIVED || d->unprocessed)
                        continue;
                sum += job_drive_percent(d);
                n++;
        }
        if (n == 0)
                return m->state >= BTH_JOB_STATE_PACKAGING ? 100 : 0;
        return sum / n;
}

bool job_may_change(const struct job_model *m, enum job_property p)
{
        switch (p) {
        case JOB_PROPERTY_TAGS:
                return !m->deleted;
        case JOB_PROPERTY_STATE:
        case JOB_PROPERTY_DRIVES:
                return !m->deleted && m->state == BTH_JOB_STATE_CREATING;
        case JOB_PROPERTY_CANCEL:
        case JOB_PROPERTY_RETURN:
        case JOB_PROPERTY_LOGS:
                return !m->deleted && m->state < BTH_JOB_STATE_PACKAGING;
        case JOB_PROPERTY_DELIVERY:
                return !m->deleted && m->state <= BTH_JOB_STATE_SHIPPING;
        default:
                return false;
        }
}

struct job_input job_input_of_result(size_t drive, const struct bth_result_report *result)
{
        struct job_input in = { .kind = JOB_INPUT_STOPPED, .drive = drive };

        switch (result->end) {
        case BTH_RUN_END_FINISHED:
                in.kind = JOB_INPUT_ENDED;
                in.status = bth_drive_status_from_string(result->copy_status);
                if (in.status == _BTH_DRIVE_STATUS_INVALID)
                        in.status = BTH_DRIVE_STATUS_INTERNAL_ERROR;
                break;
        case BTH_RUN_END_DRIVE_GONE:
                in.kind = JOB_INPUT_PULLED;
                break;
        case BTH_RUN_END_STOPPED:
                in.activity = JOB_ACTIVITY_STOPPING;
                break;
        case BTH_RUN_END_DRIVE_STALLED:
                in.activity = JOB_ACTIVITY_WAITING_DISK;
                break;
        case BTH_RUN_END_NETWORK_STALLED:
                in.activity = JOB_ACTIVITY_WAITING_NETWORK;
                break;
        default:
                in.activity = bth_reason_from_string(result->reason) == BTH_REASON_CREDENTIALS
                                      ? JOB_ACTIVITY_PAUSED_CREDENTIALS
                                      : JOB_ACTIVITY_RESTARTING;
                break;
        }
        return in;
}

/* --- invariants --- */

const char *job_drive_broken(const struct job_drive *d)
{
        const bool done = d->state == BTH_DRIVE_STATE_COMPLETED ||
                          d->state == BTH_DRIVE_STATE_COMPLETED_MORE_INFO;

        if (d->running && (!d->docked || d->state != BTH_DRIVE_STATE_TRANSFERRING))
                return "a worker runs only on a docked drive that is Transferring";
        if ((d->copy == JOB_COPY_IN_PROGRESS) != (d->state == BTH_DRIVE_STATE_TRANSFERRING))
                return "copyStatus is InProgress exactly while Transferring";
        if (done && d->copy != JOB_COPY_ENDED)
                return "a drive that is done has a final copyStatus";
        if (d->copy == JOB_COPY_ENDED && !done && d->state != BTH_DRIVE_STATE_SHIPPED_BACK)
                return "a final copyStatus is for drives that are done or sent back";
        if (d->state == BTH_DRIVE_STATE_COMPLETED && d->status != BTH_DRIVE_STATUS_COMPLETED)
                return "a Completed drive has the status Completed";
        if (d->docked &&
            (d->state == BTH_DRIVE_STATE_SPECIFIED || d->state == BTH_DRIVE_STATE_NEVER_RECEIVED ||
             d->state == BTH_DRIVE_STATE_SHIPPED_BACK))
                return "a drive in a bay has arrived";
        if (d->unprocessed && d->copy != JOB_COPY_NONE)
                return "a drive that is not copied has no copyStatus";
        if (d->held && d->state != BTH_DRIVE_STATE_RECEIVED &&
            d->state != BTH_DRIVE_STATE_TRANSFERRING)
                return "only a drive that waits or runs is held";
        if (d->bytes_done > d->bytes || d->blobs_done > d->blobs)
                return "no more is done than there is";
        return NULL;
}

/* Which drive states each job state allows. */
static unsigned drives_of(enum bth_job_state s)
{
#define D(id) (1u << BTH_DRIVE_STATE_##id)
        const unsigned early = D(SPECIFIED) | D(NEVER_RECEIVED) | D(RECEIVED);
        const unsigned copied = D(COMPLETED) | D(COMPLETED_MORE_INFO);

        switch (s) {
        case BTH_JOB_STATE_CREATING:
                return early | D(SHIPPED_BACK);
        case BTH_JOB_STATE_SHIPPING:
                return early;
        case BTH_JOB_STATE_RECEIVED:
                return D(NEVER_RECEIVED) | D(RECEIVED);
        case BTH_JOB_STATE_TRANSFERRING:
                return early | copied | D(TRANSFERRING);
        case BTH_JOB_STATE_PACKAGING:
                return early | copied;
        default:
                return D(NEVER_RECEIVED) | D(SHIPPED_BACK);
        }
#undef D
}

const char *job_broken(const struct job_model *m)
{
        if (m->n_drives == 0 || m->n_drives > JOB_MAX_DRIVES)
                return "a job has 1 to 10 drives";
        for (size_t i = 0; i < m->n_drives; i++) {
                const char *sentence = job_drive_broken(&m->drives[i]);

                if (sentence)
                        return sentence;
                if (!(drives_of(m->state) & 1u << m->drives[i].state))
                        return "the state of a drive does not fit the state of its job";
                if (m->cancel_requested && !m->drives[i].unprocessed &&
                    m->drives[i].state == BTH_DRIVE_STATE_RECEIVED)
                        return "a drive of a cancelled job does not wait to be copied";
        }
        if (m->state >= BTH_JOB_STATE_PACKAGING && m->state != BTH_JOB_STATE_CLOSED &&
            !job_every_drive_done(m))
                return "a job is packed when all its drives are done";
        if (m->state == BTH_JOB_STATE_RECEIVED && job_every_drive_done(m))
                return "a job of drives that are done is packed";
        if (m->state != BTH_JOB_STATE_CREATING && m->shipped_usec == 0)
                return "a job beyond Creating was shipped";
        return NULL;
}
