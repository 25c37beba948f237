/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The store's history and outbox: pages, order, what goes upstream, and what it says. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "tests/lib/job-place.h"
#include "tests/lib/pg-world.h"

static void progress(struct place *p, uint64_t id, size_t drive, uint64_t done)
{
        const struct job_act a = { .job = id,
                                   .input = { .kind = JOB_INPUT_PROGRESS,
                                              .drive = drive,
                                              .bytes = 100,
                                              .bytes_done = done } };
        struct job_outcome out;

        OK(job_store_apply(p->store, &a, &policy, T0, NULL, &out, &p->error));
}

static void test_progress_is_coalesced(void **state)
{
        struct place *p = *state;
        struct heard h;
        uint64_t id;

        open_store(p);
        id = add_job(p, "attic", 2);
        for (size_t i = 0; i < 2; i++) {
                assert_int_equal(act(p, id, JOB_INPUT_DOCKED, i), 0);
                assert_int_equal(act(p, id, JOB_INPUT_BEGUN, i), 0);
        }
        h = events(p, (struct job_event_filter){ 0 });
        for (uint64_t i = 1; i <= 50; i++) {
                progress(p, id, 0, i);
                progress(p, id, 1, i);
        }
        progress(p, id, 1, 50); /* nothing new */
        h = events(p, (struct job_event_filter){ .after = h.last });
        assert_string_equal(h.text, "drive.progress:QX7-1 drive.progress:QX7-2 ");
}

static void test_outbox(void **state)
{
        struct place *p = *state;
        struct job_outbox_mark marks[] = { { 0, NULL }, { 99998, NULL }, { 99999, "400" } };
        struct job_outbox_state s;
        struct heard h = { 0 };
        uint64_t id, seq;

        open_store(p);
        assert_int_equal(job_store_last_event(p->store), 0);
        (void)add_job(p, "before", 1); /* nobody wanted to know */
        assert_true(job_store_last_event(p->store) > 0);
        OK(job_store_outbox_use(p->store, true, &p->error));
        id = add_job(p, "attic", 2);
        assert_int_equal(act(p, id, JOB_INPUT_DOCKED, 0), 0);
        assert_int_equal(act(p, id, JOB_INPUT_DOCKED, 1), 0);
        reopen(p); /* it lasts */
        OK(job_store_outbox_state(p->store, &s, &p->error));
        assert_int_equal(s.waiting, 7);
        assert_int_equal(s.oldest_usec, T0);
        /* The oldest of each drive and of the job. */
        OK(job_store_outbox(p->store, T0, 10, hear, &h, &p->error));
        assert_string_equal(h.text, "job.made:- drive.state:QX7-1 drive.state:QX7-2 ");
        seq = h.last;
        OK(job_store_outbox_failed(p->store, seq, T0 + 10, &p->error));
        h = (struct heard){ 0 };
        OK(job_store_outbox(p->store, T0 + 9, 10, hear, &h, &p->error));
        assert_string_equal(h.text, "job.made:- drive.state:QX7-1 "); /* nothing overtakes */
        h = (struct heard){ 0 };
        OK(job_store_outbox(p->store, T0 + 10, 10, hear, &h, &p->error));
        assert_int_equal(h.n, 3);
        OK(job_store_outbox_park(p->store, seq, "400", T0 + 50, &p->error));
        h = (struct heard){ 0 };
        OK(job_store_outbox(p->store, T0, 10, hear, &h, &p->error));
        assert_string_equal(h.text, "job.made:- drive.state:QX7-1 drive.activity:QX7-2 ");
        OK(job_store_outbox_sent(p->store, h.last, &p->error));
        OK(job_store_outbox_sent(p->store, h.last, &p->error)); /* twice is well */
        OK(job_store_outbox_state(p->store, &s, &p->error));
        assert_int_equal(s.waiting, 5);
        assert_int_equal(s.parked, 1);
        assert_int_equal(job_store_outbox_failed(p->store, h.last, T0, &p->error), -ENOENT);
        /* Several at once, also such that are there no more. */
        h = (struct heard){ 0 };
        OK(job_store_outbox(p->store, T0, 10, hear, &h, &p->error));
        marks[0].seq = h.last;
        OK(job_store_outbox_settle(p->store, marks, ARRAY_SIZE(marks), T0, &p->error));
        OK(job_store_outbox_state(p->store, &s, &p->error));
        assert_int_equal(s.waiting, 4);
        assert_int_equal(s.parked, 1);
        OK(job_store_outbox_use(p->store, false, &p->error));
        OK(job_store_outbox_state(p->store, &s, &p->error));
        assert_int_equal(s.waiting + s.parked, 0);
}

struct parked {
        char text[512]; /* "NUMBER KIND WHY MICROSECONDS; " of each */
        uint64_t seqs[8];
        size_t n;
};

static int hear_parked(void *userdata, const struct job_parked *k)
{
        struct parked *h = userdata;
        const size_t n = strlen(h->text);

        (void)snprintf(h->text + n, sizeof h->text - n, "%s:%s %s %" PRIu64 "; ",
                       job_change_kind_to_string(k->event.kind),
                       k->event.serial ? k->event.serial : "-", k->why, k->parked_usec - T0);
        h->seqs[h->n++] = k->event.seq;
        return 0;
}

static struct parked parked(struct place *p, uint64_t after, size_t limit)
{
        struct parked h = { 0 };

        OK(job_store_parked(p->store, after, limit, hear_parked, &h, &p->error));
        return h;
}

static struct heard ready(struct place *p)
{
        struct heard h = { 0 };

        OK(job_store_outbox(p->store, T0, 10, hear, &h, &p->error));
        return h;
}

/* Refused events are listed, sent again in their place, or given up; all of it is in the history,
 * and nothing of the acts goes upstream. */
static void test_parked(void **state)
{
        struct place *p = *state;
        struct job_outbox_state s;
        struct parked h;
        uint64_t id, drive;

        open_store(p);
        OK(job_store_outbox_use(p->store, true, &p->error));
        id = add_job(p, "attic", 1);
        assert_int_equal(act(p, id, JOB_INPUT_DOCKED, 0), 0);
        assert_string_equal(ready(p).text, "job.made:- drive.state:QX7-1 ");
        drive = ready(p).last;
        OK(job_store_outbox_park(p->store, drive, "not this", T0 + 5, &p->error));
        OK(job_store_outbox_park(p->store, drive - 1, "nor this", T0 + 6, &p->error));
        reopen(p);
        h = parked(p, 0, 10);
        assert_string_equal(h.text, "job.made:- nor this 6; drive.state:QX7-1 not this 5; ");
        assert_string_equal(parked(p, h.seqs[0], 10).text, "drive.state:QX7-1 not this 5; ");
        assert_int_equal(parked(p, 0, 1).n, 1);
        assert_int_equal(job_store_parked(p->store, 0, 0, hear_parked, &h, NULL), -EINVAL);

        /* What comes after them goes on … */
        assert_string_equal(ready(p).text, "drive.activity:QX7-1 job.state:- ");
        /* … and waits for one that is sent again, which is the oldest again. */
        OK(job_store_parked_resend(p->store, drive, T0 + 7, "uid 7 (anna)", &p->error));
        assert_string_equal(ready(p).text, "drive.state:QX7-1 job.state:- ");
        assert_string_equal(parked(p, 0, 10).text, "job.made:- nor this 6; ");
        assert_int_equal(job_store_parked_resend(p->store, drive, T0, "x", &p->error), -ENOENT);
        assert_int_equal(job_store_parked_drop(p->store, drive, T0, "x", &p->error), -ENOENT);
        assert_int_equal(job_store_parked_drop(p->store, 12345, T0, "x", &p->error), -ENOENT);
        OK(job_store_outbox_sent(p->store, drive, &p->error));
        assert_string_equal(ready(p).text, "drive.activity:QX7-1 job.state:- ");
        /* Refused once more, after the one behind it was sent. */
        OK(job_store_outbox_sent(p->store, ready(p).last, &p->error));

        OK(job_store_parked_drop(p->store, h.seqs[0], T0 + 8, "uid 7 (anna)", &p->error));
        assert_int_equal(parked(p, 0, 10).n, 0);
        OK(job_store_outbox_state(p->store, &s, &p->error));
        assert_int_equal(s.parked, 0);
        while (ready(p).n > 0)
                OK(job_store_outbox_sent(p->store, ready(p).last, &p->error));
        OK(job_store_outbox_state(p->store, &s, &p->error));
        assert_int_equal(s.waiting, 0); /* the acts were not among them */
        assert_non_null(strstr(events(p, (struct job_event_filter){ 0 }).text,
                               "outbox.resent:QX7-1 outbox.dropped:- "));
        OK(job_store_check(p->store, &p->error));
}

static void test_events_pages(void **state)
{
        struct place *p = *state;
        struct heard h;
        uint64_t id;

        open_store(p);
        id = add_job(p, "attic", 2);
        assert_int_equal(act(p, id, JOB_INPUT_DOCKED, 0), 0);
        assert_int_equal(act(p, id, JOB_INPUT_DOCKED, 1), 0);
        h = events(p, (struct job_event_filter){ .limit = 2 });
        assert_string_equal(h.text, "job.made:- drive.state:QX7-1 ");
        h = events(p, (struct job_event_filter){ .limit = 1, .after = h.last });
        assert_string_equal(h.text, "drive.activity:QX7-1 ");
        h = events(p, (struct job_event_filter){ .limit = 1, .newest_first = true });
        assert_string_equal(h.text, "job.state:- ");
        h = events(p, (struct job_event_filter){ .job = id, .drive = 1 });
        assert_string_equal(h.text, "drive.state:QX7-2 drive.activity:QX7-2 ");
        h = events(p, (struct job_event_filter){ .serial = "qx 7-1", .newest_first = true });
        assert_string_equal(h.text, "drive.activity:QX7-1 drive.state:QX7-1 ");
        assert_int_equal(
                job_store_events(p->store, &(struct job_event_filter){ 0 }, hear, &h, &p->error),
                -EINVAL);
}

/* Every event is a CloudEvent whose required attributes are there, without secrets. */
static int check_cloud_event(void *userdata, const struct job_event *e)
{
        _cleanup_json_ json_t *j = NULL;
        _cleanup_free_ char *text = NULL;
        struct heard *h = userdata;
        const char *s, *id;
        char want[128];

        assert_int_equal(job_event_to_json(e, job_store_uid(h->p->store), "/stations/s1", &text),
                         0);
        assert_null(strstr(text, "SECRET"));
        assert_null(strstr(text, "VERYPERSONAL"));
        assert_int_equal(bth_json_parse(text, strlen(text), &j, NULL), 0);
        assert_int_equal(bth_json_get_string(j, "specversion", &s), 0);
        assert_string_equal(s, "1.0");
        assert_int_equal(bth_json_get_string(j, "id", &id), 0);
        (void)snprintf(want, sizeof want, "%s-%llu", job_store_uid(h->p->store),
                       (unsigned long long)e->seq);
        assert_string_equal(id, want);
        assert_int_equal(bth_json_get_string(j, "source", &s), 0);
        assert_int_equal(bth_json_get_string(j, "type", &s), 0);
        assert_true(bth_starts_with(s, "berth."));
        assert_int_equal(bth_json_get_string(j, "time", &s), 0);
        assert_true(bth_starts_with(s, "2030-03-17T"));
        assert_true(json_is_object(json_object_get(j, "data")));
        h->n++;
        return 0;
}

static int find_state(void *userdata, const struct job_event *e)
{
        struct heard *h = userdata;

        if (e->kind == JOB_CHANGE_JOB_STATE || e->kind == JOB_CHANGE_DRIVE_STATE) {
                _cleanup_json_ json_t *j = NULL;
                const char *from, *to, *copy = "-";
                const size_t n = strlen(h->text);

                assert_int_equal(bth_json_parse(e->data, strlen(e->data), &j, NULL), 0);
                assert_int_equal(bth_json_get_string(j, "from", &from), 0);
                assert_int_equal(bth_json_get_string(j, "state", &to), 0);
                if (bth_json_get_string(j, "copyStatus", &copy) < 0)
                        copy = "-";
                (void)snprintf(h->text + n, sizeof h->text - n, "%s>%s:%s ", from, to, copy);
        }
        return 0;
}

static void test_cloud_events(void **state)
{
        const struct job_event_filter all = { .limit = 100 };
        struct place *p = *state;
        struct heard h = { .p = p };
        struct job_outcome out;
        uint64_t id, docking;

        if (pg_server())
                skip(); /* what is not UTF-8 comes from drives, and a hub has none */
        open_store(p);
        id = add_job(p, "attic", 1);
        assert_int_equal(act(p, id, JOB_INPUT_DOCKED, 0), 0);
        OK(job_store_dock(p->store, &(struct job_docking){ .serial = "\xff\n", .bay = "B" },
                          &policy, T0, NULL, &docking, &out, &p->error));
        assert_int_equal(act(p, id, JOB_INPUT_GIVEN_UP, 0), 0);
        OK(job_store_events(p->store, &all, check_cloud_event, &h, &p->error));
        assert_true(h.n >= 6);
        OK(job_store_events(p->store, &all, find_state, &h, &p->error));
        assert_string_equal(h.text, "Specified>Received:- Creating>Shipping:- Shipping>Received:- "
                                    "Received>Transferring:InProgress Received>Transferring:- "
                                    "Transferring>CompletedMoreInfo:DiskOperationFailed "
                                    "Transferring>Packaging:- ");
}

static void test_progress_gate(void **state)
{
        struct job_progress_gate g = { 0 };
        const uint64_t s = 1000000;
        uint64_t t = T0;

        assert_true(job_progress_due(&g, 1000, 1, 0, t)); /* the first */
        assert_false(job_progress_due(&g, 1000, 500, 0, t + s));
        assert_true(job_progress_due(&g, 1000, 500, 0, t += 5 * s));
        assert_false(job_progress_due(&g, 1000, 501, 0, t + 6 * s)); /* no new percent */
        assert_true(job_progress_due(&g, 1000, 501, 0, t += 60 * s));
        assert_false(job_progress_due(&g, 1000, 501, 0, t + 600 * s)); /* nothing moves */
        assert_true(job_progress_due(&g, 1000, 100, 0, t));            /* begun anew */
        assert_true(job_progress_due(&g, 1000, 1000, 0, t));           /* the end */
        assert_true(job_progress_due(&g, 2000, 1000, 0, t));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_progress_is_coalesced), TEST(test_outbox),       TEST(test_parked),
                TEST(test_events_pages),          TEST(test_cloud_events), TEST(test_progress_gate),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
