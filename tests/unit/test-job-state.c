/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The states of jobs and drives: every row of the design's table, every time limit, cancelling,
 * correcting, giving up, sending back; and that no order of inputs leads out of the specification.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/macros.h"
#include "jobs/state.h"

#define T0 UINT64_C(1900000000000000)

static const struct job_policy policy;

struct world {
        struct job_model m;
        struct job_outcome out;
        uint64_t now;
};

static void start(struct world *w, size_t n, bool accept)
{
        w->now = T0;
        assert_int_equal(job_begin(n, accept, false, w->now, &w->m, &w->out), 0);
        w->m.has_delivery = w->m.has_return = true;
}

static int give(struct world *w, struct job_input in)
{
        int r = job_step(&w->m, &policy, &in, w->now, &w->out);

        assert_null(job_broken(&w->m));
        return r;
}

static void ok(struct world *w, enum job_input_kind kind, size_t drive)
{
        if (give(w, (struct job_input){ .kind = kind, .drive = drive }) != 0)
                fail_msg("%s refused: %s", job_input_kind_to_string(kind), w->out.sentence);
}

static void refused(struct world *w, enum job_input_kind kind, size_t drive, enum job_refusal why)
{
        const struct job_model before = w->m;

        assert_int_equal(give(w, (struct job_input){ .kind = kind, .drive = drive }), -EPERM);
        assert_string_equal(job_refusal_to_string(w->out.refusal), job_refusal_to_string(why));
        assert_memory_equal(&before, &w->m, sizeof before);
        assert_int_equal(w->out.n_changes, 0);
}

static void end(struct world *w, size_t drive, enum bth_drive_status status)
{
        assert_int_equal(give(w, (struct job_input){ .kind = JOB_INPUT_ENDED,
                                                     .drive = drive,
                                                     .status = status }),
                         0);
}

static void run(struct world *w, size_t drive, enum bth_drive_status status)
{
        ok(w, JOB_INPUT_DOCKED, drive);
        ok(w, JOB_INPUT_BEGUN, drive);
        end(w, drive, status);
        ok(w, JOB_INPUT_EJECTED, drive);
}

static void pass(struct world *w, uint64_t usec)
{
        w->now += usec;
        ok(w, JOB_INPUT_CLOCK, 0);
}

static void job_is(const struct world *w, const char *state)
{
        assert_string_equal(bth_job_state_to_string(w->m.state), state);
}

static void drive_is(const struct world *w, size_t i, const char *state, const char *copy,
                     const char *activity)
{
        const struct job_drive *d = &w->m.drives[i];
        const char *status = job_drive_copy_status(d);

        assert_string_equal(bth_drive_state_to_string(d->state), state);
        assert_string_equal(status ? status : "-", copy);
        assert_string_equal(job_activity_to_string(d->activity), activity);
}

/* The changes of the last step as text: "job Creating>Shipping, 0 Specified>Received, …" */
static const char *changes(const struct world *w)
{
        static char text[2048];
        size_t n = 0;

        text[0] = '\0';
        for (size_t i = 0; i < w->out.n_changes; i++) {
                const struct job_change *c = &w->out.changes[i];

                if (c->kind == JOB_CHANGE_JOB_STATE)
                        n += (size_t)snprintf(text + n, sizeof text - n, "job>%s ",
                                              bth_job_state_to_string(c->to));
                else if (c->kind == JOB_CHANGE_DRIVE_STATE)
                        n += (size_t)snprintf(text + n, sizeof text - n, "%zu>%s ", c->drive,
                                              bth_drive_state_to_string(c->to));
        }
        return text;
}

/* --- the rows of design section 4, from above --- */

static void test_made(void **state)
{
        struct world w;

        start(&w, 2, false);
        job_is(&w, "Creating");
        drive_is(&w, 1, "Specified", "-", "expected");
        ok(&w, JOB_INPUT_SHIPPED, 0);
        job_is(&w, "Shipping");
        assert_int_equal(w.m.shipped_usec, T0);

        assert_int_equal(job_begin(3, false, true, T0, &w.m, &w.out), 0);
        job_is(&w, "Shipping");
        assert_int_equal(job_begin(0, false, false, T0, &w.m, &w.out), -EINVAL);
        assert_int_equal(job_begin(11, false, false, T0, &w.m, &w.out), -EINVAL);
}

static void test_shipping_needs_addresses(void **state)
{
        struct world w;

        start(&w, 1, false);
        w.m.has_return = false;
        refused(&w, JOB_INPUT_SHIPPED, 0, JOB_REFUSAL_NO_ADDRESS);
        w.m.has_return = true;
        w.m.has_delivery = false;
        refused(&w, JOB_INPUT_SHIPPED, 0, JOB_REFUSAL_NO_ADDRESS);
}

static void test_docked(void **state)
{
        struct world w;

        start(&w, 2, false);
        ok(&w, JOB_INPUT_SHIPPED, 0);
        ok(&w, JOB_INPUT_DOCKED, 0);
        drive_is(&w, 0, "Received", "-", "matching");
        job_is(&w, "Shipping");
        ok(&w, JOB_INPUT_BOOKED, 1);
        drive_is(&w, 1, "Received", "-", "to-dock");
        job_is(&w, "Received");
        refused(&w, JOB_INPUT_DOCKED, 0, JOB_REFUSAL_ALREADY_DOCKED);
        refused(&w, JOB_INPUT_BOOKED, 0, JOB_REFUSAL_ALREADY_RECEIVED);
        refused(&w, JOB_INPUT_DOCKED, 2, JOB_REFUSAL_NO_SUCH_DRIVE);
}

static void test_docked_before_shipping(void **state)
{
        struct world w;

        start(&w, 1, false);
        ok(&w, JOB_INPUT_DOCKED, 0);
        drive_is(&w, 0, "Received", "-", "waiting-for-job");
        job_is(&w, "Creating");
        assert_false(job_drive_may_begin(&w.m, 0));
        refused(&w, JOB_INPUT_BEGUN, 0, JOB_REFUSAL_NOT_SHIPPED);
        ok(&w, JOB_INPUT_SHIPPED, 0);
        drive_is(&w, 0, "Received", "-", "matching");
        job_is(&w, "Received");
        assert_true(job_drive_may_begin(&w.m, 0));

        start(&w, 2, true);
        ok(&w, JOB_INPUT_DOCKED, 0);
        drive_is(&w, 0, "Received", "-", "matching");
        job_is(&w, "Creating");
        ok(&w, JOB_INPUT_BEGUN, 0);
        assert_string_equal(changes(&w), "0>Transferring job>Shipping job>Transferring ");
        start(&w, 1, true);
        ok(&w, JOB_INPUT_DOCKED, 0);
        assert_string_equal(changes(&w), "0>Received job>Shipping job>Received ");
}

static void test_never_received(void **state)
{
        struct world w;

        start(&w, 3, false);
        refused(&w, JOB_INPUT_MISSING, 0, JOB_REFUSAL_NOT_SHIPPED);
        ok(&w, JOB_INPUT_SHIPPED, 0);
        ok(&w, JOB_INPUT_MISSING, 1);
        drive_is(&w, 1, "NeverReceived", "-", "none");
        ok(&w, JOB_INPUT_DOCKED, 0);
        job_is(&w, "Shipping");
        pass(&w, JOB_SHIPPING_USEC - 1);
        drive_is(&w, 2, "Specified", "-", "expected");
        assert_int_equal(job_deadline(&w.m, &policy), w.now + 1);
        pass(&w, 1);
        drive_is(&w, 2, "NeverReceived", "-", "none");
        job_is(&w, "Received"); /* goes on with the others */
        refused(&w, JOB_INPUT_MISSING, 0, JOB_REFUSAL_DRIVE_IS_HERE);

        ok(&w, JOB_INPUT_DOCKED, 1); /* it comes in a later parcel */
        drive_is(&w, 1, "Received", "-", "matching");
        ok(&w, JOB_INPUT_BEGUN, 0);
        end(&w, 0, BTH_DRIVE_STATUS_COMPLETED);
        job_is(&w, "Transferring");
        ok(&w, JOB_INPUT_BEGUN, 1);
        end(&w, 1, BTH_DRIVE_STATUS_COMPLETED);
        job_is(&w, "Packaging");
        refused(&w, JOB_INPUT_DOCKED, 2, JOB_REFUSAL_TOO_LATE);
}

static void test_transfer(void **state)
{
        struct world w;

        start(&w, 1, false);
        ok(&w, JOB_INPUT_SHIPPED, 0);
        refused(&w, JOB_INPUT_BEGUN, 0, JOB_REFUSAL_NOT_DOCKED);
        ok(&w, JOB_INPUT_DOCKED, 0);
        refused(&w, JOB_INPUT_PROGRESS, 0, JOB_REFUSAL_NOT_RUNNING);
        ok(&w, JOB_INPUT_BEGUN, 0);
        drive_is(&w, 0, "Transferring", "InProgress", "unlocking");
        job_is(&w, "Transferring");
        refused(&w, JOB_INPUT_BEGUN, 0, JOB_REFUSAL_ALREADY_RUNNING);
        refused(&w, JOB_INPUT_EJECTED, 0, JOB_REFUSAL_ALREADY_RUNNING);
        assert_int_equal(give(&w, (struct job_input){ .kind = JOB_INPUT_REPORTED,
                                                      .activity = JOB_ACTIVITY_TRANSFERRING }),
                         0);
        drive_is(&w, 0, "Transferring", "InProgress", "transferring");
        assert_int_equal(give(&w, (struct job_input){ .kind = JOB_INPUT_PROGRESS,
                                                      .bytes = 200,
                                                      .bytes_done = 100,
                                                      .blobs = 4,
                                                      .blobs_done = 2 }),
                         0);
        assert_int_equal(w.out.n_changes, 1);
        assert_int_equal(job_percent(&w.m), 49);
        ok(&w, JOB_INPUT_CREDENTIALS, 0);
        drive_is(&w, 0, "Transferring", "InProgress", "paused-credentials");
        end(&w, 0, BTH_DRIVE_STATUS_COMPLETED);
        drive_is(&w, 0, "Completed", "Completed", "safe-to-remove");
        assert_int_equal(job_percent(&w.m), 100);
        job_is(&w, "Packaging");
}

/* Each status of 5.3 gives the drive state of the table, and the job state when it was sent back.
 */
static void test_every_status(void **state)
{
        for (int s = 0; s < _BTH_DRIVE_STATUS_MAX; s++) {
                const bool well = s == BTH_DRIVE_STATUS_COMPLETED;
                const bool partly = s == BTH_DRIVE_STATUS_COMPLETED_WITH_WARNINGS ||
                                    s == BTH_DRIVE_STATUS_COMPLETED_WITH_ERRORS;
                struct world w;

                start(&w, 2, true);
                run(&w, 0, (enum bth_drive_status)s);
                drive_is(&w, 0, well ? "Completed" : "CompletedMoreInfo",
                         bth_drive_status_to_string(s),
                         well || partly ? "safe-to-remove" : "failed");
                job_is(&w, "Transferring");
                run(&w, 1, BTH_DRIVE_STATUS_COMPLETED);
                job_is(&w, "Packaging");
                ok(&w, JOB_INPUT_RETURNED, 0);
                drive_is(&w, 0, "ShippedBack", bth_drive_status_to_string(s), "none");
                job_is(&w, well || s == BTH_DRIVE_STATUS_COMPLETED_WITH_WARNINGS ? "Completed"
                                                                                 : "Closed");
        }
}

static void test_pulled(void **state)
{
        struct world w;

        start(&w, 1, true);
        ok(&w, JOB_INPUT_DOCKED, 0);
        ok(&w, JOB_INPUT_PULLED, 0); /* while it is identified */
        drive_is(&w, 0, "Received", "-", "dock-again");
        refused(&w, JOB_INPUT_PULLED, 0, JOB_REFUSAL_NOT_DOCKED);
        ok(&w, JOB_INPUT_DOCKED, 0);
        ok(&w, JOB_INPUT_BEGUN, 0);
        ok(&w, JOB_INPUT_PULLED, 0);
        drive_is(&w, 0, "Transferring", "InProgress", "dock-again");
        job_is(&w, "Transferring");
        assert_false(job_drive_may_begin(&w.m, 0));
        ok(&w, JOB_INPUT_DOCKED, 0);
        drive_is(&w, 0, "Transferring", "InProgress", "matching");
        assert_true(job_drive_may_begin(&w.m, 0));
        ok(&w, JOB_INPUT_BEGUN, 0);
        ok(&w, JOB_INPUT_PULLED, 0);
        pass(&w, JOB_DOCK_AGAIN_USEC - 1);
        job_is(&w, "Transferring");
        pass(&w, 1);
        drive_is(&w, 0, "CompletedMoreInfo", "DiskOperationFailed", "failed");
        job_is(&w, "Packaging");
}

static void test_given_up(void **state)
{
        struct world w;

        start(&w, 2, false);
        refused(&w, JOB_INPUT_GIVEN_UP, 0, JOB_REFUSAL_NOT_ARRIVED);
        ok(&w, JOB_INPUT_DOCKED, 0);
        refused(&w, JOB_INPUT_GIVEN_UP, 0, JOB_REFUSAL_NOT_SHIPPED);
        ok(&w, JOB_INPUT_SHIPPED, 0);
        ok(&w, JOB_INPUT_GIVEN_UP, 0); /* before a worker began */
        assert_string_equal(changes(&w), "0>Transferring job>Transferring 0>CompletedMoreInfo ");
        refused(&w, JOB_INPUT_GIVEN_UP, 0, JOB_REFUSAL_ALREADY_DONE);
        ok(&w, JOB_INPUT_DOCKED, 1);
        ok(&w, JOB_INPUT_BEGUN, 1);
        ok(&w, JOB_INPUT_PULLED, 1);
        ok(&w, JOB_INPUT_GIVEN_UP, 1);
        drive_is(&w, 1, "CompletedMoreInfo", "DiskOperationFailed", "failed");
        job_is(&w, "Packaging");
}

static void test_worker_stops(void **state)
{
        struct world w;
        struct bth_result_report result = { .end = BTH_RUN_END_FAILED };

        start(&w, 1, true);
        ok(&w, JOB_INPUT_DOCKED, 0);
        ok(&w, JOB_INPUT_BEGUN, 0);
        assert_int_equal(give(&w, job_input_of_result(0, &result)), 0);
        drive_is(&w, 0, "Transferring", "InProgress", "restarting");
        assert_true(job_drive_may_begin(&w.m, 0));
        ok(&w, JOB_INPUT_BEGUN, 0);
        result.end = BTH_RUN_END_DRIVE_GONE;
        assert_int_equal(give(&w, job_input_of_result(0, &result)), 0);
        drive_is(&w, 0, "Transferring", "InProgress", "dock-again");
        ok(&w, JOB_INPUT_DOCKED, 0);
        ok(&w, JOB_INPUT_BEGUN, 0);
        result.end = BTH_RUN_END_NETWORK_STALLED;
        assert_int_equal(give(&w, job_input_of_result(0, &result)), 0);
        drive_is(&w, 0, "Transferring", "InProgress", "waiting-network");
        ok(&w, JOB_INPUT_BEGUN, 0);
        result = (struct bth_result_report){ .end = BTH_RUN_END_FINISHED,
                                             .copy_status = (char *)"ManifestCorrupted" };
        assert_int_equal(give(&w, job_input_of_result(0, &result)), 0);
        drive_is(&w, 0, "CompletedMoreInfo", "ManifestCorrupted", "failed");

        result.copy_status = (char *)"made up";
        assert_int_equal(job_input_of_result(0, &result).status, BTH_DRIVE_STATUS_INTERNAL_ERROR);
}

static void test_hold(void **state)
{
        struct world w;

        start(&w, 1, true);
        ok(&w, JOB_INPUT_DOCKED, 0);
        ok(&w, JOB_INPUT_PAUSED, 0);
        drive_is(&w, 0, "Received", "-", "paused");
        refused(&w, JOB_INPUT_BEGUN, 0, JOB_REFUSAL_HELD);
        refused(&w, JOB_INPUT_PAUSED, 0, JOB_REFUSAL_HELD);
        ok(&w, JOB_INPUT_RESUMED, 0);
        refused(&w, JOB_INPUT_RESUMED, 0, JOB_REFUSAL_NOT_HELD);
        ok(&w, JOB_INPUT_BEGUN, 0);
        ok(&w, JOB_INPUT_PAUSED, 0);
        assert_int_equal(give(&w, (struct job_input){ .kind = JOB_INPUT_STOPPED,
                                                      .activity = JOB_ACTIVITY_STOPPING }),
                         0);
        drive_is(&w, 0, "Transferring", "InProgress", "paused");
        assert_false(job_drive_may_begin(&w.m, 0));
        ok(&w, JOB_INPUT_EJECTED, 0);
        drive_is(&w, 0, "Transferring", "InProgress", "dock-again");
        ok(&w, JOB_INPUT_DOCKED, 0);
        drive_is(&w, 0, "Transferring", "InProgress", "paused");
        ok(&w, JOB_INPUT_RESUMED, 0);
        assert_true(job_drive_may_begin(&w.m, 0));
}

static void test_retry(void **state)
{
        struct world w;

        start(&w, 2, true);
        refused(&w, JOB_INPUT_RETRIED, 0, JOB_REFUSAL_NOT_ARRIVED);
        ok(&w, JOB_INPUT_DOCKED, 0);
        ok(&w, JOB_INPUT_BEGUN, 0);
        refused(&w, JOB_INPUT_RETRIED, 0, JOB_REFUSAL_ALREADY_RUNNING);
        end(&w, 0, BTH_DRIVE_STATUS_BITLOCKER_KEY_INVALID);
        assert_false(job_drive_may_begin(&w.m, 0)); /* never again by itself */
        refused(&w, JOB_INPUT_BEGUN, 0, JOB_REFUSAL_ALREADY_DONE);
        ok(&w, JOB_INPUT_RETRIED, 0);
        drive_is(&w, 0, "Transferring", "InProgress", "starting");
        assert_int_equal(w.m.drives[0].corrections, 1);
        assert_int_equal(w.out.changes[0].kind, JOB_CHANGE_DRIVE_CORRECTED);
        ok(&w, JOB_INPUT_BEGUN, 0);
        end(&w, 0, BTH_DRIVE_STATUS_COMPLETED);
        refused(&w, JOB_INPUT_RETRIED, 0, JOB_REFUSAL_NOTHING_TO_CORRECT);
        run(&w, 1, BTH_DRIVE_STATUS_COMPLETED_WITH_ERRORS);
        job_is(&w, "Packaging");
        refused(&w, JOB_INPUT_RETRIED, 1, JOB_REFUSAL_TOO_LATE);
}

static void test_retry_of_a_removed_drive(void **state)
{
        struct world w;

        start(&w, 2, true);
        run(&w, 0, BTH_DRIVE_STATUS_MANIFEST_NOT_FOUND);
        ok(&w, JOB_INPUT_RETRIED, 0);
        drive_is(&w, 0, "Transferring", "InProgress", "dock-again");
        refused(&w, JOB_INPUT_BEGUN, 0, JOB_REFUSAL_NOT_DOCKED);
        ok(&w, JOB_INPUT_DOCKED, 0);
        ok(&w, JOB_INPUT_BEGUN, 0);
}

/* With time for a correction, a job whose last drive failed is not packed at once. */
static void test_correction_window(void **state)
{
        const struct job_policy patient = { .correction_usec = JOB_DAY_USEC };
        const struct job_input clock = { .kind = JOB_INPUT_CLOCK };
        const struct job_input failed = { .kind = JOB_INPUT_ENDED,
                                          .status = BTH_DRIVE_STATUS_BITLOCKER_KEY_INVALID };
        struct world w;

        start(&w, 1, true);
        ok(&w, JOB_INPUT_DOCKED, 0);
        ok(&w, JOB_INPUT_BEGUN, 0);
        assert_int_equal(job_step(&w.m, &patient, &failed, w.now, &w.out), 0);
        job_is(&w, "Transferring");
        assert_int_equal(job_deadline(&w.m, &patient), w.now + JOB_DAY_USEC);
        ok(&w, JOB_INPUT_RETRIED, 0);
        assert_int_equal(job_deadline(&w.m, &patient), UINT64_MAX);
        ok(&w, JOB_INPUT_BEGUN, 0);
        assert_int_equal(job_step(&w.m, &patient, &failed, w.now, &w.out), 0);
        w.now += JOB_DAY_USEC;
        assert_int_equal(job_step(&w.m, &patient, &clock, w.now, &w.out), 0);
        job_is(&w, "Packaging");
}

static void test_hardware(void **state)
{
        struct world w;

        start(&w, 2, true);
        refused(&w, JOB_INPUT_NOT_ACCEPTED, 0, JOB_REFUSAL_NOT_DOCKED);
        ok(&w, JOB_INPUT_DOCKED, 0);
        ok(&w, JOB_INPUT_NOT_ACCEPTED, 0);
        drive_is(&w, 0, "Received", "-", "not-accepted");
        refused(&w, JOB_INPUT_BEGUN, 0, JOB_REFUSAL_UNPROCESSED);
        run(&w, 1, BTH_DRIVE_STATUS_COMPLETED); /* the others go on */
        job_is(&w, "Packaging");
        assert_int_equal(job_percent(&w.m), 100);
        refused(&w, JOB_INPUT_RETURNED, 0, JOB_REFUSAL_STILL_DOCKED);
        ok(&w, JOB_INPUT_EJECTED, 0);
        ok(&w, JOB_INPUT_RETURNED, 0);
        drive_is(&w, 0, "ShippedBack", "-", "none");
        job_is(&w, "Closed");
}

/* --- specification 6.4 --- */

static void test_cancel(void **state)
{
        struct world w;

        start(&w, 4, true);
        ok(&w, JOB_INPUT_DOCKED, 0);
        ok(&w, JOB_INPUT_DOCKED, 1);
        ok(&w, JOB_INPUT_BEGUN, 0);
        ok(&w, JOB_INPUT_MISSING, 3);
        ok(&w, JOB_INPUT_CANCELLED, 0);
        drive_is(&w, 0, "Transferring", "InProgress", "unlocking"); /* finishes */
        drive_is(&w, 1, "Received", "-", "skipped");
        drive_is(&w, 2, "Specified", "-", "skipped");
        job_is(&w, "Transferring");
        refused(&w, JOB_INPUT_CANCELLED, 0, JOB_REFUSAL_ALREADY_CANCELLED);
        refused(&w, JOB_INPUT_BEGUN, 1, JOB_REFUSAL_UNPROCESSED);
        refused(&w, JOB_INPUT_RETRIED, 1, JOB_REFUSAL_JOB_CANCELLED);
        end(&w, 0, BTH_DRIVE_STATUS_COMPLETED_WITH_ERRORS);
        job_is(&w, "Packaging");
        ok(&w, JOB_INPUT_BOOKED, 2); /* it was on its way */
        drive_is(&w, 2, "Received", "-", "skipped");
        ok(&w, JOB_INPUT_EJECTED, 0);
        ok(&w, JOB_INPUT_EJECTED, 1);
        ok(&w, JOB_INPUT_RETURNED, 0);
        job_is(&w, "Completed");
        drive_is(&w, 2, "ShippedBack", "-", "none");
        drive_is(&w, 3, "NeverReceived", "-", "none");
        refused(&w, JOB_INPUT_CANCELLED, 0, JOB_REFUSAL_TOO_LATE);
}

static void test_cancel_early(void **state)
{
        struct world w;

        start(&w, 1, false);
        ok(&w, JOB_INPUT_CANCELLED, 0);
        job_is(&w, "Creating"); /* as recorded of the service */
        assert_true(w.m.cancel_requested);
        ok(&w, JOB_INPUT_SHIPPED, 0);
        job_is(&w, "Shipping");
        ok(&w, JOB_INPUT_DOCKED, 0);
        assert_string_equal(changes(&w), "0>Received job>Received job>Transferring job>Packaging ");
        ok(&w, JOB_INPUT_EJECTED, 0);
        ok(&w, JOB_INPUT_RETURNED, 0);
        job_is(&w, "Completed");

        start(&w, 2, true); /* all in, none begun */
        ok(&w, JOB_INPUT_DOCKED, 0);
        ok(&w, JOB_INPUT_DOCKED, 1);
        ok(&w, JOB_INPUT_CANCELLED, 0);
        job_is(&w, "Packaging");
        assert_int_equal(job_percent(&w.m), 100);
}

static void test_delete(void **state)
{
        struct world w;

        start(&w, 1, false);
        ok(&w, JOB_INPUT_DELETED, 0);
        assert_true(w.m.deleted);
        refused(&w, JOB_INPUT_SHIPPED, 0, JOB_REFUSAL_TOO_LATE);
        assert_int_equal(job_deadline(&w.m, &policy), UINT64_MAX);

        start(&w, 1, false);
        ok(&w, JOB_INPUT_DOCKED, 0);
        refused(&w, JOB_INPUT_DELETED, 0, JOB_REFUSAL_DRIVES_ARE_HERE);
        ok(&w, JOB_INPUT_SHIPPED, 0);
        refused(&w, JOB_INPUT_DELETED, 0, JOB_REFUSAL_NOT_NOW);
        ok(&w, JOB_INPUT_BEGUN, 0);
        end(&w, 0, BTH_DRIVE_STATUS_INTERNAL_ERROR);
        ok(&w, JOB_INPUT_EJECTED, 0);
        ok(&w, JOB_INPUT_RETURNED, 0);
        job_is(&w, "Closed");
        refused(&w, JOB_INPUT_DELETED, 0, JOB_REFUSAL_NOT_NOW); /* only Creating, Completed */
}

/* --- specification 6.2 --- */

static void test_clock_of_creating(void **state)
{
        struct world w;

        start(&w, 1, false);
        assert_int_equal(job_deadline(&w.m, &policy), T0 + JOB_CREATING_USEC);
        pass(&w, JOB_CREATING_USEC - 1);
        assert_false(w.m.deleted);
        ok(&w, JOB_INPUT_UPDATED, 0); /* begins again */
        pass(&w, JOB_CREATING_USEC - 1);
        assert_false(w.m.deleted);
        pass(&w, 1);
        assert_true(w.m.deleted);
        assert_int_equal(w.out.changes[0].kind, JOB_CHANGE_JOB_DELETED);
}

static void test_clock_of_drives_without_shipping(void **state)
{
        struct world w;

        start(&w, 1, false);
        pass(&w, JOB_DAY_USEC);
        ok(&w, JOB_INPUT_DOCKED, 0);
        assert_int_equal(job_deadline(&w.m, &policy), w.now + JOB_UNSHIPPED_USEC);
        pass(&w, JOB_UNSHIPPED_USEC);
        assert_int_equal(w.out.n_changes, 1);
        assert_int_equal(w.out.changes[0].to, JOB_ALERT_RETURN_DRIVES);
        assert_int_equal(job_deadline(&w.m, &policy), UINT64_MAX); /* once */
        ok(&w, JOB_INPUT_EJECTED, 0);
        ok(&w, JOB_INPUT_RETURNED, 0);
        drive_is(&w, 0, "ShippedBack", "-", "none");
        job_is(&w, "Creating");
        assert_true(w.m.deleted);
}

static void test_clock_of_a_missing_parcel(void **state)
{
        struct world w;

        start(&w, 2, false);
        ok(&w, JOB_INPUT_SHIPPED, 0);
        pass(&w, JOB_SHIPPING_USEC);
        drive_is(&w, 0, "NeverReceived", "-", "none");
        job_is(&w, "Shipping");
        assert_int_equal(w.out.changes[w.out.n_changes - 1].to, JOB_ALERT_PACKAGE_MISSING);
        pass(&w, JOB_NO_ANSWER_USEC - 1);
        ok(&w, JOB_INPUT_ANSWERED, 0); /* 30 days more */
        pass(&w, JOB_NO_ANSWER_USEC - 1);
        job_is(&w, "Shipping");
        pass(&w, 1);
        job_is(&w, "Closed");
        refused(&w, JOB_INPUT_DOCKED, 0, JOB_REFUSAL_TOO_LATE);
        pass(&w, JOB_KEPT_USEC - 1);
        assert_false(w.m.deleted);
        pass(&w, 1);
        assert_true(w.m.deleted);
}

static void test_clock_after_packaging(void **state)
{
        struct world w;

        start(&w, 1, true);
        run(&w, 0, BTH_DRIVE_STATUS_COMPLETED);
        pass(&w, JOB_UNRETURNED_USEC);
        assert_int_equal(w.out.changes[0].to, JOB_ALERT_DESTROY_DUE);
        job_is(&w, "Packaging");
        ok(&w, JOB_INPUT_RETURNED, 0);
        job_is(&w, "Completed");
        pass(&w, JOB_KEPT_USEC);
        assert_true(w.m.deleted);
}

/* --- percent, windows, printing, manual --- */

/* Is there an entry ".B word", with the hyphens of a manual page? */
static bool manual_has(const char *text, const char *word)
{
        char entry[128] = "\n.B ";
        size_t n = strlen(entry);

        for (; *word && n + 4 < sizeof entry; word++) {
                if (*word == '-')
                        entry[n++] = '\\';
                entry[n++] = *word;
        }
        entry[n++] = '\n';
        entry[n] = '\0';
        return strstr(text, entry) != NULL;
}

static void test_percent(void **state)
{
        struct job_drive d = { .state = BTH_DRIVE_STATE_TRANSFERRING,
                               .copy = JOB_COPY_IN_PROGRESS,
                               .bytes = UINT64_MAX,
                               .bytes_done = UINT64_MAX };
        struct world w;

        assert_int_equal(job_drive_percent(&d), 99); /* 100 only when it is confirmed */
        d.bytes_done = UINT64_MAX / 2 + 1;
        assert_int_equal(job_drive_percent(&d), 49);
        start(&w, 4, true);
        run(&w, 0, BTH_DRIVE_STATUS_COMPLETED);
        assert_int_equal(job_percent(&w.m), 25);
        ok(&w, JOB_INPUT_MISSING, 3);
        assert_int_equal(job_percent(&w.m), 33);
}

static void test_windows(void **state)
{
        static const unsigned last[] = {
                [JOB_PROPERTY_TAGS] = BTH_JOB_STATE_CLOSED,
                [JOB_PROPERTY_STATE] = BTH_JOB_STATE_CREATING,
                [JOB_PROPERTY_CANCEL] = BTH_JOB_STATE_TRANSFERRING,
                [JOB_PROPERTY_RETURN] = BTH_JOB_STATE_TRANSFERRING,
                [JOB_PROPERTY_DELIVERY] = BTH_JOB_STATE_SHIPPING,
                [JOB_PROPERTY_LOGS] = BTH_JOB_STATE_TRANSFERRING,
                [JOB_PROPERTY_DRIVES] = BTH_JOB_STATE_CREATING,
        };
        struct job_model m = { .n_drives = 1 };

        for (unsigned p = 0; p < _JOB_PROPERTY_MAX; p++)
                for (unsigned s = 0; s < _BTH_JOB_STATE_MAX; s++) {
                        m.state = (enum bth_job_state)s;
                        assert_int_equal(job_may_change(&m, (enum job_property)p), s <= last[p]);
                }
}

static void test_print(void **state)
{
        char *text = NULL;
        size_t n = 0;
        FILE *f = open_memstream(&text, &n);

        assert_non_null(f);
        assert_int_equal(job_table_print(f), 0);
        assert_int_equal(fclose(f), 0);
        assert_non_null(strstr(text, "| begun | Received, Transferring | before Packaging |  | "
                                     "Transferring | InProgress | unlocking | Transferring |"));
        assert_non_null(strstr(text, "| job Completed or Closed | 90 | job deleted |"));
        assert_null(strstr(text, "(null)"));
        free(text);
}

static void test_words(void **state)
{
        for (int i = 0; i < _JOB_ACTIVITY_MAX; i++) {
                assert_int_equal(job_activity_from_string(job_activity_to_string(i)), i);
                assert_true(job_activity_sentence(i)[0] != '\0');
        }
        assert_null(job_activity_to_string(_JOB_ACTIVITY_MAX));
        assert_int_equal(job_refusal_from_string("?"), -EINVAL);
        assert_int_equal(job_input_kind_from_string(NULL), -EINVAL);
        assert_int_equal(job_activity_led(JOB_ACTIVITY_SAFE_TO_REMOVE), JOB_LED_SAFE);
        for (int i = 0; i < _BTH_ACTIVITY_MAX; i++)
                assert_string_equal(job_activity_to_string(job_activity_of_worker(i)),
                                    bth_activity_to_string(i));
}

/* berth-states(7) has every word that people can meet. */
static void test_manual(void **state)
{
        const char *source = getenv("BERTH_SOURCE");
        char path[4096];
        char *text;
        size_t n;

        if (!source)
                skip();
        (void)snprintf(path, sizeof path, "%s/man/berth-states.7", source);
        assert_int_equal(bth_read_file(path, 1 << 20, &text, &n), 0);
#define HAS(type, first, max)                               \
        for (int i = (first); i < (max); i++)               \
                if (!manual_has(text, type##_to_string(i))) \
        fail_msg("berth-states(7) does not have %s", type##_to_string(i))
        HAS(bth_job_state, 0, _BTH_JOB_STATE_MAX);
        HAS(bth_drive_state, 0, _BTH_DRIVE_STATE_MAX);
        HAS(job_activity, 0, _JOB_ACTIVITY_MAX);
        HAS(job_refusal, 1, _JOB_REFUSAL_MAX);
        HAS(job_alert, 0, _JOB_ALERT_MAX);
        HAS(job_change_kind, 0, _JOB_CHANGE_MAX);
        free(text);
}

/* --- any order of inputs --- */

static uint64_t next_random(uint64_t *state)
{
        uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);

        z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
        return z ^ z >> 31;
}

/* The arrows of 6.1 and 6.5, written down once more, independently of the table: nothing else may
 * ever happen. */
static bool drive_may(enum bth_drive_state from, enum bth_drive_state to, bool corrected,
                      bool unprocessed)
{
        switch (from) {
        case BTH_DRIVE_STATE_SPECIFIED:
                return to == BTH_DRIVE_STATE_RECEIVED || to == BTH_DRIVE_STATE_NEVER_RECEIVED;
        case BTH_DRIVE_STATE_NEVER_RECEIVED:
                return to == BTH_DRIVE_STATE_RECEIVED;
        case BTH_DRIVE_STATE_RECEIVED: /* unprocessed ones are returned */
                return to == BTH_DRIVE_STATE_TRANSFERRING ||
                       (to == BTH_DRIVE_STATE_SHIPPED_BACK && unprocessed);
        case BTH_DRIVE_STATE_TRANSFERRING:
                return to == BTH_DRIVE_STATE_COMPLETED || to == BTH_DRIVE_STATE_COMPLETED_MORE_INFO;
        case BTH_DRIVE_STATE_COMPLETED_MORE_INFO:
                return to == BTH_DRIVE_STATE_SHIPPED_BACK ||
                       (to == BTH_DRIVE_STATE_TRANSFERRING && corrected);
        case BTH_DRIVE_STATE_COMPLETED:
                return to == BTH_DRIVE_STATE_SHIPPED_BACK;
        default:
                return false;
        }
}

static bool job_may(enum bth_job_state from, enum bth_job_state to)
{
        switch (from) {
        case BTH_JOB_STATE_CREATING:
                return to == BTH_JOB_STATE_SHIPPING;
        case BTH_JOB_STATE_SHIPPING:
                return to == BTH_JOB_STATE_RECEIVED || to == BTH_JOB_STATE_TRANSFERRING ||
                       to == BTH_JOB_STATE_CLOSED;
        case BTH_JOB_STATE_RECEIVED:
                return to == BTH_JOB_STATE_TRANSFERRING;
        case BTH_JOB_STATE_TRANSFERRING:
                return to == BTH_JOB_STATE_PACKAGING;
        case BTH_JOB_STATE_PACKAGING:
                return to == BTH_JOB_STATE_COMPLETED || to == BTH_JOB_STATE_CLOSED;
        default:
                return false;
        }
}

/* The changes lead from the old states to the new ones, by allowed arrows only. */
static void check_changes(const struct job_model *before, const struct job_model *after,
                          const struct job_input *in, const struct job_outcome *out)
{
        struct job_model m = *before;

        for (size_t i = 0; i < out->n_changes; i++) {
                const struct job_change *c = &out->changes[i];

                if (c->kind == JOB_CHANGE_JOB_STATE) {
                        assert_int_equal(c->from, m.state);
                        assert_true(job_may(c->from, c->to));
                        m.state = c->to;
                } else if (c->kind == JOB_CHANGE_DRIVE_STATE) {
                        struct job_drive *d = &m.drives[c->drive];
                        const bool home = d->unprocessed || before->state == BTH_JOB_STATE_CREATING;

                        assert_int_equal(c->from, d->state);
                        assert_true(drive_may(c->from, c->to, in->kind == JOB_INPUT_RETRIED, home));
                        d->state = c->to;
                }
        }
        assert_int_equal(m.state, after->state);
        for (size_t i = 0; i < m.n_drives; i++)
                assert_int_equal(m.drives[i].state, after->drives[i].state);
}

static struct job_input random_input(const struct job_model *m, uint64_t *seed)
{
        struct job_input in = { .kind = next_random(seed) % _JOB_INPUT_MAX,
                                .drive = next_random(seed) % (m->n_drives + 1) };

        /* Inputs that end everything would leave short lives: they are rarer. */
        if (in.kind < JOB_INPUT_FIRST_OF_DRIVE && next_random(seed) % 4 != 0)
                in.kind = JOB_INPUT_DOCKED + next_random(seed) % 6;
        in.status = next_random(seed) % _BTH_DRIVE_STATUS_MAX;
        in.activity = JOB_ACTIVITY_STARTING + next_random(seed) % 10;
        in.bytes = next_random(seed);
        in.bytes_done = next_random(seed);
        in.blobs = next_random(seed) % 10;
        in.blobs_done = next_random(seed) % 10;
        return in;
}

static uint64_t random_time(uint64_t *seed)
{
        return next_random(seed) % 8 == 0 ? next_random(seed) % (20 * JOB_DAY_USEC)
                                          : next_random(seed) % 1000;
}

static void live(uint64_t *seed, unsigned *seen_jobs, unsigned *seen_drives)
{
        const struct job_policy p = {
                .correction_usec = next_random(seed) % 2 * JOB_DAY_USEC,
        };
        struct job_model m;
        struct job_outcome out;
        uint64_t now = T0;

        assert_int_equal(job_begin(1 + next_random(seed) % JOB_MAX_DRIVES, next_random(seed) % 2,
                                   next_random(seed) % 2, now, &m, &out),
                         0);
        m.has_delivery = m.has_return = true;
        for (unsigned i = 0; i < 200; i++) {
                const struct job_model before = m;
                const struct job_input in = random_input(&m, seed);
                int r;

                now += random_time(seed);
                r = job_step(&m, &p, &in, now, &out);
                assert_null(job_broken(&m));
                if (r < 0) {
                        assert_int_equal(r, -EPERM);
                        assert_int_not_equal(out.refusal, JOB_REFUSAL_NONE);
                        assert_memory_equal(&before, &m, sizeof m);
                }
                check_changes(&before, &m, &in, &out);
                /* A timer is never set for the past, or the daemon would never sleep. */
                if (in.kind == JOB_INPUT_CLOCK)
                        assert_true(job_deadline(&m, &p) > now);
                *seen_jobs |= 1u << m.state;
                for (size_t k = 0; k < m.n_drives; k++) {
                        *seen_drives |= 1u << m.drives[k].state;
                        assert_true(job_drive_percent(&m.drives[k]) <= 100);
                }
        }
}

static void test_any_order(void **state)
{
        uint64_t seed = 1;
        unsigned jobs = 0, drives = 0;

        for (unsigned i = 0; i < 20000; i++)
                live(&seed, &jobs, &drives);
        /* The walk went everywhere, or it would show nothing. */
        assert_int_equal(jobs, (1u << _BTH_JOB_STATE_MAX) - 1);
        assert_int_equal(drives, (1u << _BTH_DRIVE_STATE_MAX) - 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_made),
                cmocka_unit_test(test_shipping_needs_addresses),
                cmocka_unit_test(test_docked),
                cmocka_unit_test(test_docked_before_shipping),
                cmocka_unit_test(test_never_received),
                cmocka_unit_test(test_transfer),
                cmocka_unit_test(test_every_status),
                cmocka_unit_test(test_pulled),
                cmocka_unit_test(test_given_up),
                cmocka_unit_test(test_worker_stops),
                cmocka_unit_test(test_hold),
                cmocka_unit_test(test_retry),
                cmocka_unit_test(test_retry_of_a_removed_drive),
                cmocka_unit_test(test_correction_window),
                cmocka_unit_test(test_hardware),
                cmocka_unit_test(test_cancel),
                cmocka_unit_test(test_cancel_early),
                cmocka_unit_test(test_delete),
                cmocka_unit_test(test_clock_of_creating),
                cmocka_unit_test(test_clock_of_drives_without_shipping),
                cmocka_unit_test(test_clock_of_a_missing_parcel),
                cmocka_unit_test(test_clock_after_packaging),
                cmocka_unit_test(test_percent),
                cmocka_unit_test(test_windows),
                cmocka_unit_test(test_print),
                cmocka_unit_test(test_words),
                cmocka_unit_test(test_manual),
                cmocka_unit_test(test_any_order),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
