/* SPDX-License-Identifier: GPL-3.0-or-later */
/* clocks - the time limits of specification 6.2 as a table: when one runs, since when, how long,
 * and what happens at its end. job_deadline() and the input CLOCK read the same rows, so a timer is
 * never set for something that then does not happen. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/macros.h"
#include "jobs/rules.h"

static bool alerted(const struct job_model *m, enum job_alert a)
{
        return m->alerts & 1u << a;
}

static size_t count(const struct job_model *m, enum bth_drive_state s)
{
        size_t n = 0;

        for (size_t i = 0; i < m->n_drives; i++)
                n += m->drives[i].state == s;
        return n;
}

static void alert(struct job_run *r, enum job_alert a)
{
        r->m.alerts |= 1u << a;
        job_run_note(r, JOB_CHANGE_JOB_ALERT, JOB_NO_DRIVE, 0, (int)a);
}

/* The rows below ask only for what the table allows in the states they name. */
static void apply_to_drive(struct job_run *r, enum job_input_kind kind, size_t i)
{
        int k = job_run_drive(r, &(struct job_input){ .kind = kind, .drive = i });

        assert(k == 0);
        (void)k;
}

/* --- Creating --- */

static uint64_t since_created(const struct job_model *m)
{
        return m->created_usec;
}

/* A job whose drives are in the house is not forgotten while they are. */
static bool never_shipped(const struct job_model *m)
{
        return m->state == BTH_JOB_STATE_CREATING && count(m, BTH_DRIVE_STATE_RECEIVED) == 0;
}

static bool drives_wait(const struct job_model *m)
{
        return m->state == BTH_JOB_STATE_CREATING && count(m, BTH_DRIVE_STATE_RECEIVED) > 0 &&
               !alerted(m, JOB_ALERT_RETURN_DRIVES);
}

static uint64_t since_first_arrival(const struct job_model *m)
{
        uint64_t first = UINT64_MAX;

        for (size_t i = 0; i < m->n_drives; i++)
                if (m->drives[i].state == BTH_DRIVE_STATE_RECEIVED)
                        first = MIN(first, m->drives[i].received_usec);
        return first;
}

static void ask_to_return(struct job_run *r)
{
        alert(r, JOB_ALERT_RETURN_DRIVES);
}

/* --- Shipping --- */

static uint64_t since_shipped(const struct job_model *m)
{
        return m->shipped_usec;
}

static bool drives_missing(const struct job_model *m)
{
        return (m->state == BTH_JOB_STATE_SHIPPING || m->state == BTH_JOB_STATE_TRANSFERRING) &&
               count(m, BTH_DRIVE_STATE_SPECIFIED) > 0;
}

static void never_received(struct job_run *r)
{
        for (size_t i = 0; i < r->m.n_drives; i++)
                if (r->m.drives[i].state == BTH_DRIVE_STATE_SPECIFIED)
                        apply_to_drive(r, JOB_INPUT_MISSING, i);
}

static bool parcel_missing(const struct job_model *m)
{
        return m->state == BTH_JOB_STATE_SHIPPING &&
               count(m, BTH_DRIVE_STATE_NEVER_RECEIVED) == m->n_drives &&
               !alerted(m, JOB_ALERT_PACKAGE_MISSING);
}

static void ask_customer(struct job_run *r)
{
        alert(r, JOB_ALERT_PACKAGE_MISSING);
        r->m.asked_usec = r->now_usec;
}

static bool no_answer(const struct job_model *m)
{
        return m->state == BTH_JOB_STATE_SHIPPING &&
               count(m, BTH_DRIVE_STATE_NEVER_RECEIVED) == m->n_drives &&
               alerted(m, JOB_ALERT_PACKAGE_MISSING);
}

static uint64_t since_asked(const struct job_model *m)
{
        return m->asked_usec;
}

static void close_job(struct job_run *r)
{
        job_run_job_state(r, BTH_JOB_STATE_CLOSED);
}

/* --- Transferring --- */

static bool waits_for_docking(const struct job_drive *d)
{
        return d->state == BTH_DRIVE_STATE_TRANSFERRING && d->activity == JOB_ACTIVITY_DOCK_AGAIN;
}

static uint64_t since_pulled(const struct job_model *m)
{
        uint64_t first = UINT64_MAX;

        for (size_t i = 0; i < m->n_drives; i++)
                if (waits_for_docking(&m->drives[i]))
                        first = MIN(first, m->drives[i].activity_usec);
        return first;
}

static bool any_pulled(const struct job_model *m)
{
        return since_pulled(m) != UINT64_MAX;
}

static uint64_t dock_again_usec(const struct job_policy *p)
{
        return p->dock_again_usec > 0 ? p->dock_again_usec : JOB_DOCK_AGAIN_USEC;
}

static void give_up(struct job_run *r)
{
        const uint64_t limit = dock_again_usec(r->policy);

        for (size_t i = 0; i < r->m.n_drives; i++) {
                const struct job_drive *d = &r->m.drives[i];

                if (waits_for_docking(d) && r->now_usec >= d->activity_usec &&
                    r->now_usec - d->activity_usec >= limit)
                        apply_to_drive(r, JOB_INPUT_GIVEN_UP, i);
        }
}

/* Only a failed drive keeps a job of done drives from being packed (struct job_policy). */
static bool correction_waits(const struct job_model *m)
{
        return m->state == BTH_JOB_STATE_TRANSFERRING && m->done_usec > 0 &&
               job_every_drive_done(m);
}

static uint64_t since_done(const struct job_model *m)
{
        return m->done_usec;
}

static uint64_t correction_usec(const struct job_policy *p)
{
        return p->correction_usec;
}

static void pack(struct job_run *r)
{
        job_run_pack(r, true);
}

/* --- Packaging and after --- */

static bool unreturned(const struct job_model *m)
{
        return m->state == BTH_JOB_STATE_PACKAGING && !alerted(m, JOB_ALERT_DESTROY_DUE);
}

static uint64_t since_packaging(const struct job_model *m)
{
        return m->packaging_usec;
}

static void ask_to_destroy(struct job_run *r)
{
        alert(r, JOB_ALERT_DESTROY_DUE);
}

static bool ended(const struct job_model *m)
{
        return m->state == BTH_JOB_STATE_COMPLETED || m->state == BTH_JOB_STATE_CLOSED;
}

static uint64_t since_ended(const struct job_model *m)
{
        return m->ended_usec;
}

static const struct clock {
        const char *runs, *then; /* for people */
        bool (*applies)(const struct job_model *m);
        uint64_t (*since)(const struct job_model *m);
        uint64_t usec;
        uint64_t (*of_policy)(const struct job_policy *p); /* instead of `usec` */
        void (*apply)(struct job_run *r);
} clocks[] = {
        { "job Creating without shipping data and without a drive in the house", "job deleted",
          never_shipped, since_created, JOB_CREATING_USEC, NULL, job_run_delete },
        { "drives in the house, job Creating", "alert: return-drives", drives_wait,
          since_first_arrival, JOB_UNSHIPPED_USEC, NULL, ask_to_return },
        { "shipping data given, drive Specified", "drive NeverReceived", drives_missing,
          since_shipped, JOB_SHIPPING_USEC, NULL, never_received },
        { "shipping data given, no drive came", "alert: package-missing", parcel_missing,
          since_shipped, JOB_SHIPPING_USEC, NULL, ask_customer },
        { "customer asked about the parcel, no answer", "job Closed", no_answer, since_asked,
          JOB_NO_ANSWER_USEC, NULL, close_job },
        { "drive pulled and not docked again (dock_again)",
          "drive CompletedMoreInfo, DiskOperationFailed", any_pulled, since_pulled, 0,
          dock_again_usec, give_up },
        { "all drives done, one failed (correction)", "job Packaging", correction_waits, since_done,
          0, correction_usec, pack },
        { "job Packaging", "alert: destroy-due", unreturned, since_packaging, JOB_UNRETURNED_USEC,
          NULL, ask_to_destroy },
        { "job Completed or Closed", "job deleted", ended, since_ended, JOB_KEPT_USEC, NULL,
          job_run_delete },
};

static uint64_t ends_usec(const struct clock *c, const struct job_model *m,
                          const struct job_policy *p)
{
        uint64_t end;

        if (__builtin_add_overflow(c->since(m), c->of_policy ? c->of_policy(p) : c->usec, &end))
                return UINT64_MAX;
        return end;
}

uint64_t job_deadline(const struct job_model *m, const struct job_policy *policy)
{
        uint64_t next = UINT64_MAX;

        for (size_t i = 0; !m->deleted && i < ARRAY_SIZE(clocks); i++)
                if (clocks[i].applies(m))
                        next = MIN(next, ends_usec(&clocks[i], m, policy));
        return next;
}

void job_run_clocks(struct job_run *r)
{
        /* In the order of the table, which is that of a job's life: each clock starts no earlier
         * one, so one pass is enough. */
        for (size_t i = 0; !r->m.deleted && i < ARRAY_SIZE(clocks); i++)
                if (clocks[i].applies(&r->m) &&
                    ends_usec(&clocks[i], &r->m, r->policy) <= r->now_usec)
                        clocks[i].apply(r);
}

void job_clocks_print(FILE *out)
{
        (void)fputs("\n| time limit | days | then |\n|---|---|---|\n", out);
        for (size_t i = 0; i < ARRAY_SIZE(clocks); i++) {
                static const struct job_policy defaults;
                const struct clock *c = &clocks[i];
                uint64_t usec = c->of_policy ? c->of_policy(&defaults) : c->usec;

                (void)fprintf(out, "| %s | %" PRIu64 "%s | %s |\n", c->runs, usec / JOB_DAY_USEC,
                              c->of_policy ? ", configured" : "", c->then);
        }
}
