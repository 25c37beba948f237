/* SPDX-License-Identifier: GPL-3.0-or-later */
/* upstream-push - events from the outbox to the job service, a batch at a time.
 *
 *     collect (store) ── POST ── 200: settle (store) ── more? ── collect …
 *                         │       400, several: one by one, until the one that is refused is parked
 *                         │       400, one: parked          413: half of it
 *                         └── all else: later, everything as it was
 *
 * Each batch has the oldest of each drive and job only, so none overtakes another. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "daemon/upstream-internal.h"
#include "jobs/event.h"

#define PATH       "/v1/hub/events"
#define BATCH_TYPE "application/cloudevents-batch+json"

void upstream_batch_clear(struct upstream_batch *b)
{
        for (size_t i = 0; i < b->n_marks; i++)
                free(b->whys[i]);
        bth_buf_clear(&b->body);
        b->n = b->n_marks = 0;
        b->full = false;
}

static void mark(struct upstream_batch *b, uint64_t seq, const char *why)
{
        b->whys[b->n_marks] = why ? strdup(why) : NULL;
        b->marks[b->n_marks] = (struct job_outbox_mark){
                .seq = seq, .parked = why && !b->whys[b->n_marks] ? "" : b->whys[b->n_marks]
        };
        b->n_marks++;
}

static void collect_soon(struct dmn_upstream *u)
{
        u->push.busy = false;
        upstream_at(&u->push, 0);
}

static void rest(struct dmn_upstream *u)
{
        u->push.busy = false;
        upstream_at(&u->push, u->said_usec + DMN_UPSTREAM_BEAT_USEC);
        if (job_thread_last_event(u->store) != u->seen_event)
                dmn_upstream_wake(u);
}

/* --- settling --- */

static int settle_task(struct job_store *s, void *userdata, struct bth_error *error)
{
        struct dmn_upstream *u = userdata;
        int r = job_store_outbox_settle(s, u->batch.marks, u->batch.n_marks,
                                        bth_now_realtime_usec(), error);

        return r < 0 ? r : job_store_outbox_state(s, &u->batch.outbox, error);
}

static void settled(void *userdata, int r, const struct bth_error *error)
{
        struct dmn_upstream *u = userdata;
        bool more;

        if (upstream_is_gone(u))
                return;
        u->outbox = u->batch.outbox;
        more = u->batch.full || u->outbox.waiting > 0;
        upstream_batch_clear(&u->batch);
        if (r < 0) /* they will be sent again, which does no harm */
                upstream_failed(u, &u->push, error, 0);
        else if (more)
                collect_soon(u);
        else
                rest(u);
}

static void settle(struct dmn_upstream *u)
{
        struct bth_error e = BTH_ERROR_INIT;
        int r = upstream_submit(u, settle_task, settled);

        if (r == 0)
                return;
        upstream_batch_clear(&u->batch);
        (void)bth_error_set(&e, r, BTH_REASON_INTERNAL, "the outbox cannot be settled: %s",
                            bth_strerror(r));
        upstream_failed(u, &u->push, &e, 0);
}

/* --- the answer --- */

/* Event `index` of the batch is not wanted. */
static void park(void *userdata, size_t index, const char *why)
{
        struct dmn_upstream *u = userdata;
        const uint64_t seq = u->batch.seqs[index];

        bth_log(LOG_ERR,
                "the job service refuses the event %s-%" PRIu64
                ", which is parked until an operator looks at it: %s",
                u->uid, seq, why);
        mark(&u->batch, seq, why);
        u->batch.seqs[index] = 0;
}

/* What is not refused has been taken. */
static void take_answer(struct dmn_upstream *u, const struct dmn_answer *answer)
{
        struct upstream_batch *b = &u->batch;
        struct bth_error e = BTH_ERROR_INIT;
        int r;

        bth_error_at(&e, u->config.url, 0, BTH_ERROR_NO_OFFSET);
        r = dmn_answer_events(answer->body, answer->n, u->uid, b->seqs, b->n, park, u, &e);
        if (r < 0) {
                upstream_failed(u, &u->push, &e, 0);
                return;
        }
        upstream_well(u, &u->push);
        u->singles -= MIN(u->singles, b->n);
        if (u->singles == 0)
                u->batch_max = MIN(u->batch_max * 2, (size_t)DMN_UPSTREAM_BATCH_MAX);
        if (b->n == 0) {
                rest(u);
                return;
        }
        for (size_t i = 0; i < b->n; i++)
                if (b->seqs[i] > 0)
                        mark(b, b->seqs[i], NULL);
        settle(u);
}

static void take_refusal(struct dmn_upstream *u, const struct dmn_answer *answer)
{
        char said[DMN_ANSWER_WHY_MAX], why[DMN_ANSWER_WHY_MAX + 32];

        upstream_well(u, &u->push);
        if (u->batch.n == 1) {
                (void)dmn_answer_sentence(answer->body, answer->n, said);
                (void)snprintf(why, sizeof why, "HTTP status %u%s%s", answer->status,
                               said[0] ? ": " : "", said);
                park(u, 0, why);
                u->singles -= MIN(u->singles, (size_t)1);
                settle(u);
                return;
        }
        if (answer->status == 413)
                u->batch_max = MAX(u->batch.n / 2, (size_t)1);
        else
                u->singles = u->batch.n;
        collect_soon(u);
}

static void on_answer(void *userdata, const struct dmn_answer *answer,
                      const struct bth_error *error)
{
        struct dmn_upstream *u = userdata;
        struct bth_error e = BTH_ERROR_INIT;

        u->push.request = dmn_request_free(u->push.request);
        u->said_usec = bth_now_monotonic_usec();
        if (!answer) {
                upstream_failed(u, &u->push, error, 0);
        } else if (answer->status == 200) {
                take_answer(u, answer);
        } else if ((answer->status == 400 || answer->status == 413) && u->batch.n > 0) {
                take_refusal(u, answer);
        } else {
                bth_error_at(&e, u->config.url, 0, BTH_ERROR_NO_OFFSET);
                (void)upstream_explain(answer, &e);
                upstream_failed(u, &u->push, &e, answer->retry_after_sec);
        }
}

/* --- collecting --- */

static int collect_event(void *userdata, const struct job_event *event)
{
        struct dmn_upstream *u = userdata;
        struct upstream_batch *b = &u->batch;
        const size_t max = u->singles > 0 ? 1 : u->batch_max;
        _cleanup_free_ char *text = NULL;
        int r = job_event_to_json(event, u->uid, u->source, &text);

        if (r == -EBADMSG) { /* nobody could read it */
                if (b->n_marks < DMN_UPSTREAM_BATCH_MAX)
                        mark(b, event->seq, "its data is damaged");
                return 0;
        }
        if (r < 0)
                return r;
        if (b->n == max || (b->n > 0 && b->body.length + strlen(text) > DMN_UPSTREAM_BATCH_BYTES)) {
                b->full = true;
                return 1;
        }
        r = bth_buf_add_string(&b->body, b->n > 0 ? ",\n" : "[");
        if (r == 0)
                r = bth_buf_add_string(&b->body, text);
        if (r == 0)
                b->seqs[b->n++] = event->seq;
        return r;
}

static int collect_task(struct job_store *s, void *userdata, struct bth_error *error)
{
        struct dmn_upstream *u = userdata;
        int r = 0;

        (void)snprintf(u->uid, sizeof u->uid, "%s", job_store_uid(s));
        if (!u->kept) /* from now on */
                r = job_store_outbox_use(s, true, error);
        u->kept |= r == 0;
        if (r == 0)
                r = job_store_outbox(s, bth_now_realtime_usec(), DMN_UPSTREAM_BATCH_MAX,
                                     collect_event, u, error);
        if (r == 0 && u->batch.n == DMN_UPSTREAM_BATCH_MAX)
                u->batch.full = true;
        if (r >= 0)
                r = job_store_outbox_state(s, &u->batch.outbox, error);
        if (r == 0)
                r = bth_buf_add_string(&u->batch.body, u->batch.n > 0 ? "]" : "[]");
        return r;
}

/* With nothing to tell, who we are tells that we are there. */
static int send_batch(struct dmn_upstream *u, struct bth_error *error)
{
        _cleanup_buf_ struct bth_buf path = BTH_BUF_INIT;
        int r = bth_buf_add_string(&path, PATH "?source=");

        for (const char *p = u->source; *p && r == 0; p++)
                r = *p == '%'   ? bth_buf_add_string(&path, "%25")
                    : *p == '/' ? bth_buf_add_string(&path, "%2F")
                                : bth_buf_add(&path, p, 1);
        return r < 0 ? r
                     : upstream_send(u, "POST", path.data, BATCH_TYPE, NULL, &u->batch.body,
                                     on_answer, &u->push.request, error);
}

static void collected(void *userdata, int r, const struct bth_error *error)
{
        struct dmn_upstream *u = userdata;
        struct bth_error e = error ? *error : BTH_ERROR_INIT;

        if (upstream_is_gone(u))
                return;
        u->outbox = u->batch.outbox;
        if (r == 0 && u->batch.n == 0 && u->batch.n_marks > 0) {
                settle(u);
                return;
        }
        if (r == 0 && u->batch.n == 0 && u->said_usec > 0 &&
            bth_now_monotonic_usec() < u->said_usec + DMN_UPSTREAM_BEAT_USEC) {
                rest(u);
                return;
        }
        if (r == 0)
                r = send_batch(u, &e);
        if (r < 0)
                upstream_failed(u, &u->push, &e, 0);
}

int upstream_on_push(sd_event_source *s, uint64_t usec, void *userdata)
{
        struct dmn_upstream *u = userdata;
        struct bth_error e = BTH_ERROR_INIT;
        int r;

        (void)s;
        (void)usec;
        if (u->push.busy)
                return 0;
        u->push.busy = true;
        upstream_batch_clear(&u->batch);
        r = upstream_submit(u, collect_task, collected);
        if (r < 0) {
                (void)bth_error_set(&e, r, BTH_REASON_INTERNAL, "the outbox cannot be read: %s",
                                    bth_strerror(r));
                upstream_failed(u, &u->push, &e, 0);
        }
        return 0;
}
