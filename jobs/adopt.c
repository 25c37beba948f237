/* SPDX-License-Identifier: GPL-3.0-or-later */
/* adopt - a drive of a job is in another station, and what that one says of it counts here; see
 * job_adopt() in state.h. The table of rules has been followed there: here the drive becomes what
 * it is said to be, if that can be, and the job what follows from all its drives. */
#include "jobs/rules.h"

/* How far a drive has come, whichever way. */
static unsigned rank(enum bth_drive_state s)
{
        switch (s) {
        case BTH_DRIVE_STATE_SPECIFIED:
        case BTH_DRIVE_STATE_NEVER_RECEIVED:
                return 0;
        case BTH_DRIVE_STATE_RECEIVED:
                return 1;
        case BTH_DRIVE_STATE_TRANSFERRING:
                return 2;
        case BTH_DRIVE_STATE_COMPLETED:
        case BTH_DRIVE_STATE_COMPLETED_MORE_INFO:
                return 3;
        default:
                return 4;
        }
}

static bool goes_back(const struct job_drive *now, const struct job_drive *told)
{
        return rank(told->state) < rank(now->state) && told->corrections <= now->corrections;
}

/* One that was sent back is shown as what it was before. */
static void bring_back(struct job_drive *d)
{
        if (d->state != BTH_DRIVE_STATE_SHIPPED_BACK)
                return;
        if (d->copy != JOB_COPY_ENDED)
                d->state = BTH_DRIVE_STATE_RECEIVED;
        else if (d->status == BTH_DRIVE_STATUS_COMPLETED)
                d->state = BTH_DRIVE_STATE_COMPLETED;
        else
                d->state = BTH_DRIVE_STATE_COMPLETED_MORE_INFO;
}

/* The station may not have heard yet that the job was taken back. */
static void skip(const struct job_model *m, struct job_drive *d)
{
        if (!m->cancel_requested || d->state != BTH_DRIVE_STATE_RECEIVED)
                return;
        d->unprocessed = true;
        d->held = false;
        d->activity = JOB_ACTIVITY_SKIPPED;
}

static void take_over(struct job_run *r, size_t i, const struct job_drive *told)
{
        struct job_drive *d = &r->m.drives[i];

        if (told->corrections > d->corrections)
                job_run_note(r, JOB_CHANGE_DRIVE_CORRECTED, i, 0, 0);
        if (told->copy != JOB_COPY_ENDED && d->copy == JOB_COPY_ENDED)
                r->m.done_usec = 0;
        job_run_drive_progress(r, i, told->bytes, told->bytes_done, told->blobs, told->blobs_done);
        d->copy = told->copy;
        d->status = told->status;
        job_run_drive_state(r, i, told->state);
        job_run_drive_activity(r, i, told->activity);
        d->docked = told->docked;
        d->running = told->running;
        d->held = told->held;
        d->unprocessed = told->unprocessed;
        d->corrections = told->corrections;
        d->received_usec = told->received_usec;
        d->begun_usec = told->begun_usec;
        d->ended_usec = told->ended_usec;
}

int job_adopt(struct job_model *m, const struct job_policy *policy, size_t drive,
              const struct job_drive *told, uint64_t now_usec, struct job_outcome *ret_outcome)
{
        struct job_run r = {
                .m = *m, .policy = policy, .now_usec = now_usec, .outcome = ret_outcome
        };
        struct job_drive d = *told;

        *ret_outcome = (struct job_outcome){ .sentence = "a station told of the drive" };
        if (m->deleted || m->state >= BTH_JOB_STATE_COMPLETED)
                return job_run_refuse(&r, JOB_REFUSAL_TOO_LATE);
        if (drive >= m->n_drives)
                return job_run_refuse(&r, JOB_REFUSAL_NO_SUCH_DRIVE);
        bring_back(&d);
        skip(m, &d);
        if (job_drive_broken(&d) || goes_back(&m->drives[drive], &d))
                return job_run_refuse(&r, JOB_REFUSAL_NOT_NOW);
        take_over(&r, drive, &d);
        if (rank(d.state) >= rank(BTH_DRIVE_STATE_TRANSFERRING))
                job_run_transfer(&r);
        job_run_arrive(&r);
        if (job_broken(&r.m))
                return job_run_refuse(&r, JOB_REFUSAL_NOT_NOW);
        *m = r.m;
        return 0;
}
