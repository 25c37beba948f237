/* SPDX-License-Identifier: GPL-3.0-or-later */
/* feed - see feed.h. */
#include "daemon/feed.h"

#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/api.h"
#include "daemon/verbs-store.h"

#define PAGE      100
#define BEAT_USEC (25 * BTH_USEC_PER_SEC) /* so that nobody in between thinks the line is dead */
#define TYPE      "text/event-stream"

struct feed {
        struct dmn_station *station;
        struct dmn_http_request *request; /* NULL: the client went away */
        struct dmn_listener listener;
        sd_event_source *beat;
        struct dmn_call *call; /* what was asked, for the finding of jobs */
        bool begun;            /* the head is out */
        bool busy;             /* a task is under way; then all below is the store's thread's */
        bool again;            /* news came meanwhile (the loop's) */
        bool from_now;
        struct job_event_filter filter;
        size_t n; /* on the page */
        struct bth_buf text;
};

static void feed_free(struct feed *f)
{
        dmn_station_unlisten(f->station, &f->listener);
        f->beat = sd_event_source_disable_unref(f->beat);
        f->call = dmn_call_free(f->call);
        bth_buf_clear(&f->text);
        free(f);
}

static void end(struct feed *f)
{
        if (f->begun)
                dmn_http_stream_end(f->request);
        f->request = NULL;
        feed_free(f);
}

static void refuse(struct feed *f, const struct bth_error *error)
{
        _cleanup_free_ char *text = dmn_api_error_text(error);

        dmn_http_reply(f->request,
                       &(struct dmn_http_reply){ .status = text ? dmn_api_status(error->code) : 500,
                                                 .type = "application/json",
                                                 .body = text,
                                                 .n = text ? strlen(text) : 0 });
        f->request = NULL;
        feed_free(f);
}

/* --- the store's thread --- */

static int add_event(void *userdata, const struct job_event *e)
{
        struct feed *f = userdata;
        _cleanup_free_ char *json = dmn_event_text(e);

        if (!json)
                return -ENOMEM;
        f->filter.after = e->seq;
        f->n++;
        return bth_buf_add_format(&f->text, "id: %llu\nevent: %s\ndata: %s\n\n",
                                  (unsigned long long)e->seq, job_change_kind_to_string(e->kind),
                                  json);
}

static int take_newest(void *userdata, const struct job_event *e)
{
        ((struct feed *)userdata)->filter.after = e->seq;
        return 0;
}

/* Whose history, and from where; once. */
static int prepare(struct job_store *store, struct feed *f, struct bth_error *error)
{
        const struct job_event_filter newest = { .drive = JOB_NO_DRIVE,
                                                 .newest_first = true,
                                                 .limit = 1 };
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        const char *job = NULL;
        int r = dmn_call_text(f->call, "job", &job, error);

        if (r == 0 && job)
                r = dmn_find_job(store, f->call, job, &record, error);
        if (r == 0 && record)
                f->filter.job = record->id;
        if (r == 0 && f->from_now)
                r = job_store_events(store, &newest, take_newest, f, error);
        return r;
}

static int read_page(struct job_store *store, void *userdata, struct bth_error *error)
{
        struct feed *f = userdata;
        int r = f->begun ? 0 : prepare(store, f, error);

        f->n = 0;
        return r < 0 ? r : job_store_events(store, &f->filter, add_event, f, error);
}

/* --- the loop --- */

static void pull(struct feed *f);

static void on_drained(void *userdata)
{
        pull(userdata);
}

static void on_gone(void *userdata)
{
        struct feed *f = userdata;

        f->request = NULL;
        f->beat = sd_event_source_disable_unref(f->beat);
        if (!f->busy)
                feed_free(f);
}

static void on_heard(void *userdata)
{
        pull(userdata);
}

static int on_beat(sd_event_source *source, uint64_t usec, void *userdata)
{
        static const char beat[] = ": still here\n\n";
        struct feed *f = userdata;

        if (dmn_http_stream_waiting(f->request) == 0 &&
            dmn_http_stream_write(f->request, beat, strlen(beat)) < 0)
                bth_debug("feed: no memory for a sign of life, ignoring");
        (void)sd_event_source_set_time_relative(source, BEAT_USEC);
        (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        return 0;
}

static int begin_stream(struct feed *f)
{
        static const char first[] = "retry: 3000\n\n";
        const struct dmn_http_reply head = {
                .status = 200, .type = TYPE, .body = first, .n = strlen(first)
        };
        const struct dmn_http_stream stream = { on_drained, on_gone, f };
        int r = dmn_http_stream(f->request, &head, &stream);

        if (r < 0)
                return r;
        f->begun = true;
        r = sd_event_add_time_relative(dmn_station_loop(f->station), &f->beat, CLOCK_MONOTONIC,
                                       BEAT_USEC, BTH_USEC_PER_SEC, on_beat, f);
        return MIN(r, 0);
}

static void give_up(struct feed *f, int r, const struct bth_error *error)
{
        struct bth_error why = *error;

        if (why.code == 0)
                (void)bth_error_set(&why, r, BTH_REASON_LIMIT_EXCEEDED,
                                    r == -EAGAIN ? "too many listen to the history already"
                                                 : "the history cannot be told now");
        if (f->begun)
                end(f);
        else
                refuse(f, &why);
}

static void on_page(void *userdata, int r, const struct bth_error *error)
{
        struct feed *f = userdata;

        f->busy = false;
        if (f->begun && !f->request) {
                feed_free(f);
                return;
        }
        if (r == 0 && !f->begun)
                r = begin_stream(f);
        if (r == 0 && f->text.length > 0)
                r = dmn_http_stream_write(f->request, f->text.data, f->text.length);
        bth_buf_clear(&f->text);
        if (r < 0)
                give_up(f, r, error);
        else if (f->again)
                pull(f);
}

/* Reads on, unless the client has not taken yet what it has, or that is being done. */
static void pull(struct feed *f)
{
        const struct bth_error none = BTH_ERROR_INIT;
        int r;

        f->again = f->busy || (f->begun && dmn_http_stream_waiting(f->request) > 0);
        if (f->again)
                return;
        f->busy = true;
        r = dmn_station_submit(f->station, read_page, on_page, f);
        if (r == 0)
                return;
        f->busy = false;
        give_up(f, r, &none);
}

/* --- the request --- */

bool dmn_feed_wanted(const struct dmn_http_request *q)
{
        const char *accept = dmn_http_header(q, "Accept");

        /* A HEAD of it would never come to its end: it gets the head of the list. */
        return accept && bth_starts_with(accept, TYPE) && strcmp(dmn_http_method(q), "GET") == 0;
}

static int read_query(struct feed *f, const char *last, struct bth_error *error)
{
        static const char *const members[] = { "after", "drive", "job", "job_id", "scope", NULL };
        uint64_t after = UINT64_MAX;
        int r = dmn_call_members(f->call, members, error);

        if (r == 0)
                r = dmn_call_u64(f->call, "after", &after, error);
        if (r == 0)
                r = dmn_call_u64(f->call, "job_id", &f->filter.job, error);
        if (r == 0)
                r = dmn_call_text(f->call, "drive", &f->filter.serial, error);
        if (r == 0 && last && bth_parse_u64(last, &after) < 0)
                r = bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                  "Last-Event-ID has to be a whole number");
        f->from_now = after == UINT64_MAX;
        f->filter.after = f->from_now ? 0 : after;
        return r;
}

void dmn_feed_begin(struct dmn_station *s, struct dmn_http_request *q, const json_t *query)
{
        struct feed *f = calloc(1, sizeof *f);
        struct bth_error error = BTH_ERROR_INIT;
        int r;

        if (!f) {
                dmn_http_reply(q, &(struct dmn_http_reply){ .status = 500 });
                return;
        }
        *f = (struct feed){
                .station = s,
                .request = q,
                .listener = { .heard = on_heard, .userdata = f },
                .filter = { .drive = JOB_NO_DRIVE, .limit = PAGE },
        };
        dmn_station_listen(s, &f->listener);
        r = dmn_call_new(DMN_VERB_EVENTS_LIST, "feed", DMN_RIGHT_READ, NULL, json_deep_copy(query),
                         NULL, &f->call);
        if (r == 0)
                r = read_query(f, dmn_http_header(q, "Last-Event-ID"), &error);
        if (r == 0)
                pull(f);
        else if (error.code == 0)
                give_up(f, r, &error);
        else
                refuse(f, &error);
}
