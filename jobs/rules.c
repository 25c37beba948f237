/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rules - "event, drive state, copyStatus, activity, job state" of design section 4 as data.
 *
 * Where the specification leaves a drive without a way, this is what was chosen: a drive that is
 * not copied (its job was cancelled, or its hardware is not accepted) stays Received and goes back
 * from there (6.4, 6.5 "returned unprocessed"); a drive given up before a worker began passes
 * through Transferring. */
#include "base/macros.h"
#include "jobs/rules.h"

#define D(id) (1u << BTH_DRIVE_STATE_##id)
#define J(id) (1u << BTH_JOB_STATE_##id)

#define D_ANY   ((1u << _BTH_DRIVE_STATE_MAX) - 1)
#define D_AWAY  (D(SPECIFIED) | D(NEVER_RECEIVED)) /* not here yet */
#define D_DONE  (D(COMPLETED) | D(COMPLETED_MORE_INFO))
#define J_ANY   ((1u << _BTH_JOB_STATE_MAX) - 1)
#define J_EARLY (J(CREATING) | J(SHIPPING) | J(RECEIVED) | J(TRANSFERRING)) /* before Packaging */
#define J_ENDED (J(COMPLETED) | J(CLOSED))

#define KEEP JOB_RULE_KEEP

/* REFUSE(input, drives, jobs, condition, refusal): nothing changes. */
#define REFUSE(i, d, j, c, r)                                                                  \
        {                                                                                      \
                .input = JOB_INPUT_##i, .drives = (d), .jobs = (j), .when = JOB_CONDITION_##c, \
                .refusal = JOB_REFUSAL_##r, .to = KEEP, .activity = KEEP                       \
        }
/* MOVE(input, drives, jobs, condition, drive state, copyStatus, activity, job). */
#define MOVE(i, d, j, c, t, cp, a, act)                                                         \
        {                                                                                       \
                .input = JOB_INPUT_##i, .drives = (d), .jobs = (j), .when = JOB_CONDITION_##c,  \
                .to = (t), .copy = JOB_RULE_COPY_##cp, .activity = (a), .job = JOB_ACTION_##act \
        }
#define S(id) BTH_DRIVE_STATE_##id
#define A(id) JOB_ACTIVITY_##id

/* clang-format off */
const struct job_rule job_rules[] = {
        /* --- the whole job --- */
        MOVE(UPDATED, 0, J(CREATING), ALWAYS, KEEP, KEEP, KEEP, TOUCH),
        MOVE(UPDATED, 0, J_EARLY, ALWAYS, KEEP, KEEP, KEEP, KEEP),
        REFUSE(UPDATED, 0, J_ANY, ALWAYS, TOO_LATE),

        REFUSE(SHIPPED, 0, J(CREATING), NO_ADDRESS, NO_ADDRESS),
        MOVE(SHIPPED, 0, J(CREATING), ALWAYS, KEEP, KEEP, KEEP, SHIP),
        REFUSE(SHIPPED, 0, J_ANY, ALWAYS, TOO_LATE),
        MOVE(SHIPPED, D(RECEIVED), J_ANY, UNPROCESSED, KEEP, KEEP, KEEP, KEEP),
        MOVE(SHIPPED, D(RECEIVED), J_ANY, HELD, KEEP, KEEP, KEEP, KEEP),
        MOVE(SHIPPED, D(RECEIVED), J_ANY, DOCKED, KEEP, KEEP, A(MATCHING), KEEP),
        MOVE(SHIPPED, D(RECEIVED), J_ANY, ALWAYS, KEEP, KEEP, A(TO_DOCK), KEEP),

        MOVE(ANSWERED, 0, J(SHIPPING), ALWAYS, KEEP, KEEP, KEEP, TOUCH),

        REFUSE(CANCELLED, 0, J_EARLY, CANCELLED, ALREADY_CANCELLED),
        MOVE(CANCELLED, 0, J_EARLY, ALWAYS, KEEP, KEEP, KEEP, CANCEL),
        REFUSE(CANCELLED, 0, J_ANY, ALWAYS, TOO_LATE),
        MOVE(CANCELLED, D(SPECIFIED) | D(RECEIVED), J_ANY, ALWAYS, KEEP, KEEP, A(SKIPPED), KEEP),

        REFUSE(DELETED, 0, J(CREATING), ANY_HERE, DRIVES_ARE_HERE),
        MOVE(DELETED, 0, J(CREATING) | J(COMPLETED), ALWAYS, KEEP, KEEP, KEEP, DELETE),

        REFUSE(RETURNED, 0, J_ANY, ANY_DOCKED, STILL_DOCKED),
        /* Drives that came without shipping data went back (6.2): nothing of the job is left. */
        MOVE(RETURNED, 0, J(CREATING), ANY_HERE, KEEP, KEEP, KEEP, DELETE),
        REFUSE(RETURNED, 0, J_EARLY, NOT_ALL_DONE, NOT_DONE),
        MOVE(RETURNED, 0, J(TRANSFERRING) | J(PACKAGING), ALWAYS, KEEP, KEEP, KEEP, END),
        REFUSE(RETURNED, 0, J_ENDED, ALWAYS, TOO_LATE),
        MOVE(RETURNED, D(RECEIVED) | D_DONE, J_ANY, ALWAYS, S(SHIPPED_BACK), KEEP, A(NONE), KEEP),
        MOVE(RETURNED, D(SPECIFIED), J(TRANSFERRING) | J(PACKAGING), ALWAYS,
             S(NEVER_RECEIVED), KEEP, A(NONE), KEEP),

        /* --- a drive comes --- */
        REFUSE(DOCKED, D_ANY, J_ANY, DOCKED, ALREADY_DOCKED),
        MOVE(DOCKED, D_AWAY, J_EARLY, CANCELLED, S(RECEIVED), KEEP, A(SKIPPED), ARRIVE),
        MOVE(DOCKED, D_AWAY, J(CREATING), WAITS, S(RECEIVED), KEEP, A(WAITING_FOR_JOB), KEEP),
        MOVE(DOCKED, D_AWAY, J_EARLY, ALWAYS, S(RECEIVED), KEEP, A(MATCHING), ARRIVE),
        /* The rest of a cancelled job may come while the first ones are packed. */
        MOVE(DOCKED, D(SPECIFIED), J(PACKAGING), ALWAYS, S(RECEIVED), KEEP, A(SKIPPED), KEEP),
        MOVE(DOCKED, D(RECEIVED), J_EARLY | J(PACKAGING), UNPROCESSED, KEEP, KEEP, KEEP, KEEP),
        MOVE(DOCKED, D(RECEIVED), J(CREATING), WAITS, KEEP, KEEP, A(WAITING_FOR_JOB), KEEP),
        MOVE(DOCKED, D(RECEIVED) | D(TRANSFERRING), J_EARLY, HELD, KEEP, KEEP, A(PAUSED), KEEP),
        MOVE(DOCKED, D(RECEIVED) | D(TRANSFERRING), J_EARLY, ALWAYS, KEEP, KEEP, A(MATCHING), KEEP),
        MOVE(DOCKED, D_DONE, J_EARLY | J(PACKAGING), ALWAYS, KEEP, KEEP, KEEP, KEEP),
        REFUSE(DOCKED, D_ANY, J_ANY, ALWAYS, TOO_LATE),

        MOVE(BOOKED, D_AWAY, J_EARLY, CANCELLED, S(RECEIVED), KEEP, A(SKIPPED), ARRIVE),
        MOVE(BOOKED, D_AWAY, J(CREATING), WAITS, S(RECEIVED), KEEP, A(WAITING_FOR_JOB), KEEP),
        MOVE(BOOKED, D_AWAY, J_EARLY, ALWAYS, S(RECEIVED), KEEP, A(TO_DOCK), ARRIVE),
        MOVE(BOOKED, D(SPECIFIED), J(PACKAGING), ALWAYS, S(RECEIVED), KEEP, A(SKIPPED), KEEP),
        REFUSE(BOOKED, D_AWAY, J_ANY, ALWAYS, TOO_LATE),
        REFUSE(BOOKED, D_ANY, J_ANY, ALWAYS, ALREADY_RECEIVED),

        REFUSE(MISSING, D(SPECIFIED), J(CREATING), WAITS, NOT_SHIPPED),
        MOVE(MISSING, D(SPECIFIED), J_EARLY | J(PACKAGING), ALWAYS,
             S(NEVER_RECEIVED), KEEP, A(NONE), ARRIVE),
        REFUSE(MISSING, D(NEVER_RECEIVED), J_ANY, ALWAYS, NOT_NOW),
        REFUSE(MISSING, D_ANY, J_ANY, ALWAYS, DRIVE_IS_HERE),

        REFUSE(NOT_ACCEPTED, D_ANY, J_ANY, NOT_DOCKED, NOT_DOCKED),
        MOVE(NOT_ACCEPTED, D(RECEIVED), J_EARLY, UNPROCESSED, KEEP, KEEP, KEEP, KEEP),
        MOVE(NOT_ACCEPTED, D(RECEIVED), J_EARLY, ALWAYS, KEEP, KEEP, A(NOT_ACCEPTED), DONE),

        /* --- a worker runs --- */
        REFUSE(BEGUN, D_ANY, J_ANY, NOT_DOCKED, NOT_DOCKED),
        REFUSE(BEGUN, D_ANY, J_ANY, RUNNING, ALREADY_RUNNING),
        REFUSE(BEGUN, D(RECEIVED), J_ANY, UNPROCESSED, UNPROCESSED),
        REFUSE(BEGUN, D(RECEIVED), J(CREATING), WAITS, NOT_SHIPPED),
        REFUSE(BEGUN, D(RECEIVED) | D(TRANSFERRING), J_ANY, HELD, HELD),
        MOVE(BEGUN, D(RECEIVED) | D(TRANSFERRING), J_EARLY, ALWAYS,
             S(TRANSFERRING), IN_PROGRESS, A(UNLOCKING), TRANSFER),
        REFUSE(BEGUN, D_ANY, J_ANY, ALWAYS, ALREADY_DONE),

        REFUSE(REPORTED, D_ANY, J_ANY, NOT_RUNNING, NOT_RUNNING),
        MOVE(REPORTED, D(TRANSFERRING), J_ANY, HELD, KEEP, KEEP, KEEP, KEEP),
        MOVE(REPORTED, D(TRANSFERRING), J_ANY, ALWAYS, KEEP, KEEP, JOB_RULE_GIVEN, KEEP),
        REFUSE(CREDENTIALS, D_ANY, J_ANY, NOT_RUNNING, NOT_RUNNING),
        MOVE(CREDENTIALS, D(TRANSFERRING), J_ANY, ALWAYS, KEEP, KEEP, A(PAUSED_CREDENTIALS), KEEP),
        REFUSE(PROGRESS, D_ANY, J_ANY, NOT_RUNNING, NOT_RUNNING),
        MOVE(PROGRESS, D(TRANSFERRING), J_ANY, ALWAYS, KEEP, KEEP, KEEP, KEEP),

        REFUSE(ENDED, D_ANY, J_ANY, NOT_RUNNING, NOT_RUNNING),
        MOVE(ENDED, D(TRANSFERRING), J_ANY, WELL, S(COMPLETED), GIVEN, A(SAFE_TO_REMOVE), DONE),
        MOVE(ENDED, D(TRANSFERRING), J_ANY, PARTLY,
             S(COMPLETED_MORE_INFO), GIVEN, A(SAFE_TO_REMOVE), DONE),
        MOVE(ENDED, D(TRANSFERRING), J_ANY, ALWAYS, S(COMPLETED_MORE_INFO), GIVEN, A(FAILED), DONE),

        REFUSE(STOPPED, D_ANY, J_ANY, NOT_RUNNING, NOT_RUNNING),
        MOVE(STOPPED, D(TRANSFERRING), J_ANY, HELD, KEEP, KEEP, A(PAUSED), KEEP),
        MOVE(STOPPED, D(TRANSFERRING), J_ANY, ALWAYS, KEEP, KEEP, JOB_RULE_GIVEN, KEEP),

        /* --- a drive goes --- */
        REFUSE(PULLED, D_ANY, J_ANY, NOT_DOCKED, NOT_DOCKED),
        MOVE(PULLED, D(TRANSFERRING), J_ANY, ALWAYS, KEEP, KEEP, A(DOCK_AGAIN), KEEP),
        MOVE(PULLED, D(RECEIVED), J_ANY, UNPROCESSED, KEEP, KEEP, KEEP, KEEP),
        MOVE(PULLED, D(RECEIVED), J(CREATING), WAITS, KEEP, KEEP, KEEP, KEEP),
        MOVE(PULLED, D(RECEIVED), J_ANY, ALWAYS, KEEP, KEEP, A(DOCK_AGAIN), KEEP),
        MOVE(PULLED, D_ANY, J_ANY, ALWAYS, KEEP, KEEP, KEEP, KEEP),

        REFUSE(EJECTED, D_ANY, J_ANY, NOT_DOCKED, NOT_DOCKED),
        REFUSE(EJECTED, D_ANY, J_ANY, RUNNING, ALREADY_RUNNING),
        MOVE(EJECTED, D(TRANSFERRING), J_ANY, ALWAYS, KEEP, KEEP, A(DOCK_AGAIN), KEEP),
        MOVE(EJECTED, D(RECEIVED), J_ANY, UNPROCESSED, KEEP, KEEP, KEEP, KEEP),
        MOVE(EJECTED, D(RECEIVED), J(CREATING), WAITS, KEEP, KEEP, KEEP, KEEP),
        MOVE(EJECTED, D(RECEIVED), J_ANY, ALWAYS, KEEP, KEEP, A(DOCK_AGAIN), KEEP),
        MOVE(EJECTED, D_ANY, J_ANY, ALWAYS, KEEP, KEEP, KEEP, KEEP),

        /* --- an operator's word --- */
        REFUSE(PAUSED, D_ANY, J_ANY, HELD, HELD),
        REFUSE(PAUSED, D(RECEIVED), J_ANY, UNPROCESSED, UNPROCESSED),
        MOVE(PAUSED, D(RECEIVED) | D(TRANSFERRING), J_ANY, ALWAYS, KEEP, KEEP, A(PAUSED), KEEP),

        REFUSE(RESUMED, D_ANY, J_ANY, NOT_HELD, NOT_HELD),
        MOVE(RESUMED, D(RECEIVED), J(CREATING), WAITS, KEEP, KEEP, A(WAITING_FOR_JOB), KEEP),
        MOVE(RESUMED, D(RECEIVED), J_ANY, NOT_DOCKED, KEEP, KEEP, A(TO_DOCK), KEEP),
        MOVE(RESUMED, D(TRANSFERRING), J_ANY, NOT_DOCKED, KEEP, KEEP, A(DOCK_AGAIN), KEEP),
        MOVE(RESUMED, D(RECEIVED) | D(TRANSFERRING), J_ANY, ALWAYS, KEEP, KEEP, A(STARTING), KEEP),

        REFUSE(GIVEN_UP, D_AWAY, J_ANY, ALWAYS, NOT_ARRIVED),
        REFUSE(GIVEN_UP, D(RECEIVED), J_ANY, UNPROCESSED, UNPROCESSED),
        REFUSE(GIVEN_UP, D(RECEIVED), J(CREATING), WAITS, NOT_SHIPPED),
        MOVE(GIVEN_UP, D(RECEIVED) | D(TRANSFERRING), J_EARLY, ALWAYS,
             S(COMPLETED_MORE_INFO), FAILED, A(FAILED), DONE),
        REFUSE(GIVEN_UP, D_ANY, J_ANY, ALWAYS, ALREADY_DONE),

        REFUSE(RETRIED, D_ANY, J(PACKAGING) | J_ENDED, ALWAYS, TOO_LATE),
        REFUSE(RETRIED, D_ANY, J_ANY, CANCELLED, JOB_CANCELLED),
        REFUSE(RETRIED, D_ANY, J_ANY, RUNNING, ALREADY_RUNNING),
        REFUSE(RETRIED, D_AWAY, J_ANY, ALWAYS, NOT_ARRIVED),
        REFUSE(RETRIED, D(RECEIVED) | D(TRANSFERRING), J_ANY, NOT_DOCKED, NOT_DOCKED),
        MOVE(RETRIED, D(RECEIVED), J(CREATING), WAITS, KEEP, KEEP, A(WAITING_FOR_JOB), KEEP),
        MOVE(RETRIED, D(RECEIVED), J_ANY, ALWAYS, KEEP, KEEP, A(STARTING), KEEP),
        MOVE(RETRIED, D(TRANSFERRING), J_ANY, ALWAYS, KEEP, KEEP, A(STARTING), KEEP),
        REFUSE(RETRIED, D(COMPLETED), J_ANY, ALWAYS, NOTHING_TO_CORRECT),
        MOVE(RETRIED, D(COMPLETED_MORE_INFO), J_ANY, DOCKED,
             S(TRANSFERRING), IN_PROGRESS, A(STARTING), KEEP),
        MOVE(RETRIED, D(COMPLETED_MORE_INFO), J_ANY, ALWAYS,
             S(TRANSFERRING), IN_PROGRESS, A(DOCK_AGAIN), KEEP),
};
/* clang-format on */
const size_t job_n_rules = ARRAY_SIZE(job_rules);

bool job_waits(const struct job_model *m)
{
        return m->state == BTH_JOB_STATE_CREATING && !m->accept_unshipped;
}

bool job_status_failed(enum bth_drive_status s)
{
        return s != BTH_DRIVE_STATUS_COMPLETED && s != BTH_DRIVE_STATUS_COMPLETED_WITH_WARNINGS &&
               s != BTH_DRIVE_STATUS_COMPLETED_WITH_ERRORS;
}

bool job_drive_done(const struct job_model *m, size_t drive)
{
        const struct job_drive *d = &m->drives[drive];

        switch (d->state) {
        case BTH_DRIVE_STATE_SPECIFIED:
        case BTH_DRIVE_STATE_RECEIVED:
                return d->unprocessed;
        case BTH_DRIVE_STATE_TRANSFERRING:
                return false;
        default:
                return true;
        }
}

bool job_every_drive_done(const struct job_model *m)
{
        for (size_t i = 0; i < m->n_drives; i++)
                if (!job_drive_done(m, i))
                        return false;
        return true;
}

static bool any_drive_in(const struct job_model *m, unsigned states)
{
        for (size_t i = 0; i < m->n_drives; i++)
                if (states & 1u << m->drives[i].state)
                        return true;
        return false;
}

static bool any_drive_docked(const struct job_model *m)
{
        for (size_t i = 0; i < m->n_drives; i++)
                if (m->drives[i].docked)
                        return true;
        return false;
}

bool job_condition_holds(enum job_condition c, const struct job_model *m, const struct job_drive *d,
                         const struct job_input *input)
{
        switch (c) {
        case JOB_CONDITION_WAITS:
                return job_waits(m);
        case JOB_CONDITION_NO_ADDRESS:
                return !m->has_delivery || !m->has_return;
        case JOB_CONDITION_CANCELLED:
                return m->cancel_requested;
        case JOB_CONDITION_ANY_HERE:
                return any_drive_in(m, D(RECEIVED));
        case JOB_CONDITION_ANY_DOCKED:
                return any_drive_docked(m);
        case JOB_CONDITION_NOT_ALL_DONE:
                return !job_every_drive_done(m);
        case JOB_CONDITION_DOCKED:
                return d->docked;
        case JOB_CONDITION_NOT_DOCKED:
                return !d->docked;
        case JOB_CONDITION_RUNNING:
                return d->running;
        case JOB_CONDITION_NOT_RUNNING:
                return !d->running;
        case JOB_CONDITION_HELD:
                return d->held;
        case JOB_CONDITION_NOT_HELD:
                return !d->held;
        case JOB_CONDITION_UNPROCESSED:
                return d->unprocessed;
        case JOB_CONDITION_WELL:
                return input->status == BTH_DRIVE_STATUS_COMPLETED;
        case JOB_CONDITION_PARTLY:
                return !job_status_failed(input->status) &&
                       input->status != BTH_DRIVE_STATUS_COMPLETED;
        default:
                return true;
        }
}

const char *job_condition_text(enum job_condition c)
{
        static const char *const texts[] = {
#define X(id, text) text,
                JOB_CONDITIONS(X)
#undef X
        };

        return (size_t)c < ARRAY_SIZE(texts) ? texts[c] : "";
}

/* --- printing --- */

static const char *action_text(enum job_action a)
{
        static const char *const texts[] = {
#define X(id, text) text,
                JOB_ACTIONS(X)
#undef X
        };

        return texts[a];
}

static void print_drive_states(FILE *out, unsigned states)
{
        const char *between = "";

        if (states == 0 || states == D_ANY) {
                (void)fputs(states == 0 ? "(the job)" : "any", out);
                return;
        }
        for (int i = 0; i < _BTH_DRIVE_STATE_MAX; i++)
                if (states & 1u << i) {
                        (void)fprintf(out, "%s%s", between, bth_drive_state_to_string(i));
                        between = ", ";
                }
}

static void print_job_states(FILE *out, unsigned states)
{
        const char *between = "";

        if (states == J_ANY || states == J_EARLY) {
                (void)fputs(states == J_ANY ? "any" : "before Packaging", out);
                return;
        }
        for (int i = 0; i < _BTH_JOB_STATE_MAX; i++)
                if (states & 1u << i) {
                        (void)fprintf(out, "%s%s", between, bth_job_state_to_string(i));
                        between = ", ";
                }
}

static void print_rule(FILE *out, const struct job_rule *r)
{
        static const char *const copies[] = {
                [JOB_RULE_COPY_KEEP] = "kept",
                [JOB_RULE_COPY_IN_PROGRESS] = "InProgress",
                [JOB_RULE_COPY_GIVEN] = "its own",
                [JOB_RULE_COPY_FAILED] = "DiskOperationFailed",
        };
        const char *activity = r->activity == JOB_RULE_KEEP    ? "kept"
                               : r->activity == JOB_RULE_GIVEN ? "its own"
                                                               : NULL;

        (void)fprintf(out, "| %s | ", job_input_kind_to_string(r->input));
        print_drive_states(out, r->drives);
        (void)fputs(" | ", out);
        print_job_states(out, r->jobs);
        (void)fprintf(out, " | %s | ", job_condition_text(r->when));
        if (r->refusal != JOB_REFUSAL_NONE) {
                (void)fprintf(out, "refused: %s | | | |\n", job_refusal_to_string(r->refusal));
                return;
        }
        if (!activity)
                activity = job_activity_to_string((enum job_activity)r->activity);
        (void)fprintf(out, "%s | %s | %s | %s |\n",
                      r->to == JOB_RULE_KEEP
                              ? "kept"
                              : bth_drive_state_to_string((enum bth_drive_state)r->to),
                      copies[r->copy], activity, action_text(r->job));
}

int job_table_print(FILE *out)
{
        (void)fputs("| input | drive state | job state | when | drive state after | copyStatus | "
                    "activity | job |\n|---|---|---|---|---|---|---|---|\n",
                    out);
        for (size_t i = 0; i < job_n_rules; i++)
                print_rule(out, &job_rules[i]);
        job_clocks_print(out);
        return ferror(out) ? -EIO : 0;
}
