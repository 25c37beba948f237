/* SPDX-License-Identifier: GPL-3.0-or-later */
/* verbs-outbox - the events that the job service refused, and what an operator does about them. */
#include <inttypes.h>
#include <string.h>

#include "base/str.h"
#include "base/time.h"
#include "daemon/verbs-store.h"

#define PAGE_DEFAULT 100

/* --- looking --- */

struct page {
        json_t *list;
        uint64_t last;
        size_t n;
};

static int add_parked(void *userdata, const struct job_parked *parked)
{
        struct page *p = userdata;
        char text[BTH_TIME_TEXT_MAX];
        json_t *j = dmn_event_view(&parked->event);

        p->last = parked->event.seq;
        p->n++;
        if (json_object_set_new(j, "refusal", json_string(parked->why)) < 0 ||
            (parked->parked_usec > 0 &&
             json_object_set_new(j, "parked_at",
                                 json_string(bth_time_iso8601(parked->parked_usec, text))) < 0)) {
                json_decref(j);
                return -ENOMEM;
        }
        return json_array_append_new(p->list, j) == 0 ? 0 : -ENOMEM;
}

static int run_list(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        struct page page = { .list = json_array() };
        uint64_t after = 0, limit = PAGE_DEFAULT;
        int r = dmn_call_u64(sc->call, "after", &after, error);

        sc->answer = json_pack("{s:o}", "parked", page.list);
        if (r == 0)
                r = dmn_call_u64(sc->call, "limit", &limit, error);
        if (r == 0 && (limit < 1 || limit > JOB_STORE_PAGE_MAX))
                r = bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                  "'limit' has to be 1 to %u", JOB_STORE_PAGE_MAX);
        if (r == 0)
                r = job_store_parked(store, after, (size_t)limit, add_parked, &page, error);
        if (r == 0 && page.n == limit)
                (void)json_object_set_new(sc->answer, "next", json_integer((json_int_t)page.last));
        return r;
}

void dmn_do_outbox_list(struct dmn_station *s, struct dmn_call *c)
{
        static const char *const members[] = { "after", "limit", NULL };

        dmn_store_begin(&(struct dmn_store_call){ .station = s, .call = c, .run = run_list },
                        members);
}

/* --- acting --- */

static int read_seq(const struct dmn_call *c, uint64_t *ret_seq, struct bth_error *error)
{
        int r = bth_parse_u64(c->target, ret_seq);

        if (r < 0 || *ret_seq > INT64_MAX)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "'%s' is not the sequence number of an event", c->target);
        return 0;
}

static int run_resend(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        uint64_t seq;
        int r = read_seq(sc->call, &seq, error);

        if (r == 0)
                r = job_store_parked_resend(store, seq, bth_now_realtime_usec(), sc->call->who,
                                            error);
        if (r == 0)
                sc->answer = json_pack("{s:s}", "sentence",
                                       "the event goes to the job service once more");
        return r;
}

static int run_drop(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        uint64_t seq;
        int r = read_seq(sc->call, &seq, error);

        if (r == 0)
                r = job_store_parked_drop(store, seq, bth_now_realtime_usec(), sc->call->who,
                                          error);
        if (r == 0)
                sc->answer = json_pack("{s:s}", "sentence",
                                       "the job service will not get the event; the history here "
                                       "keeps it");
        return r;
}

static const char *const none[] = { NULL };

void dmn_do_outbox_resend(struct dmn_station *s, struct dmn_call *c)
{
        dmn_store_begin(&(struct dmn_store_call){ .station = s, .call = c, .run = run_resend },
                        none);
}

void dmn_do_outbox_drop(struct dmn_station *s, struct dmn_call *c)
{
        dmn_store_begin(&(struct dmn_store_call){ .station = s, .call = c, .run = run_drop }, none);
}
