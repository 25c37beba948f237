/* SPDX-License-Identifier: GPL-3.0-or-later */
/* verbs-events - the history of jobs and drives, page by page. */
#include <string.h>

#include "daemon/verbs-store.h"

#define PAGE_DEFAULT 100

struct page {
        struct dmn_store_call *call;
        uint64_t last;
        size_t n;
};

static int add_event(void *userdata, const struct job_event *e)
{
        struct page *p = userdata;

        p->last = e->seq;
        p->n++;
        return dmn_store_list_add_text(p->call, dmn_event_text(e));
}

static int read_order(const struct dmn_call *c, bool *newest_first, struct bth_error *error)
{
        const char *order = NULL;
        int r = dmn_call_text(c, "order", &order, error);

        if (r < 0 || !order)
                return r;
        *newest_first = strcmp(order, "newest") == 0;
        return *newest_first || strcmp(order, "oldest") == 0
                       ? 0
                       : bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                       "'order' has to be oldest or newest");
}

static int read_filter(const struct dmn_call *c, struct job_event_filter *f,
                       struct bth_error *error)
{
        uint64_t limit = PAGE_DEFAULT;
        int r = dmn_call_u64(c, "after", &f->after, error);

        if (r == 0)
                r = dmn_call_u64(c, "before", &f->before, error);
        if (r == 0)
                r = dmn_call_u64(c, "limit", &limit, error);
        if (r == 0)
                r = dmn_call_u64(c, "job_id", &f->job, error);
        if (r == 0)
                r = dmn_call_text(c, "drive", &f->serial, error);
        if (r == 0)
                r = read_order(c, &f->newest_first, error);
        if (r == 0 && (limit < 1 || limit > JOB_STORE_PAGE_MAX))
                r = bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                  "'limit' has to be 1 to %u", JOB_STORE_PAGE_MAX);
        f->limit = (size_t)limit;
        return r;
}

static int find_job(struct job_store *store, const struct dmn_call *c, uint64_t *job,
                    struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        const char *name = NULL;
        int r = dmn_call_text(c, "job", &name, error);

        if (r == 0 && name)
                r = dmn_find_job(store, c, name, &record, error);
        if (record)
                *job = record->id;
        return r;
}

static int run_list(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        struct page page = { .call = sc };
        struct job_event_filter filter = { .drive = JOB_NO_DRIVE };
        int r = read_filter(sc->call, &filter, error);

        sc->answer = json_object();
        if (r == 0)
                r = find_job(store, sc->call, &filter.job, error);
        if (r == 0)
                r = job_store_events(store, &filter, add_event, &page, error);
        if (r == 0 && page.n == filter.limit)
                (void)json_object_set_new(sc->answer, "next", json_integer((json_int_t)page.last));
        return r;
}

void dmn_do_events_list(struct dmn_station *s, struct dmn_call *c)
{
        static const char *const members[] = { "after", "before", "drive", "job", "job_id",
                                               "limit", "order",  "scope", NULL };

        dmn_store_begin(
                &(struct dmn_store_call){
                        .station = s, .call = c, .run = run_list, .list = "events" },
                members);
}
