/* SPDX-License-Identifier: GPL-3.0-or-later */
/* metrics - see metrics.h. */
#include "daemon/metrics.h"

#include <inttypes.h>
#include <string.h>

#include "base/str.h"
#include "base/time.h"
#include "daemon/api.h"
#include "daemon/station-internal.h"

#define TYPE "text/plain; version=0.0.4; charset=utf-8"

/* X(identifier, name, type, help) */
#define METRICS(X)                                                                            \
        X(BUILD, "build_info", "gauge", "1, with the version of the daemon")                  \
        X(STARTED, "start_time_seconds", "gauge", "when the daemon started, since 1970")      \
        X(HEALTHY, "healthy", "gauge", "1 while the station can write its records")           \
        X(STOPPING, "stopping", "gauge", "1 while the station stops")                         \
        X(BAYS, "bays", "gauge", "bays of the station")                                       \
        X(DOCKED, "bays_docked", "gauge", "bays with a drive in them")                        \
        X(BAY_LED, "bay_led", "gauge", "1 for what the lamp of a bay shows")                  \
        X(BAY_BYTES, "bay_bytes", "gauge", "bytes to copy of the drive in a bay")             \
        X(BAY_DONE, "bay_bytes_done", "gauge", "bytes of them that are copied")               \
        X(BAY_RATE, "bay_bytes_per_second", "gauge", "how fast the drive in a bay is copied") \
        X(BAY_RETRIES, "bay_retries", "gauge", "requests that the worker of a bay repeated")  \
        X(BAY_THROTTLED, "bay_throttled", "gauge", "times the service asked it to send less") \
        X(WORKERS, "workers", "gauge", "workers that run")                                    \
        X(RATE, "bytes_per_second", "gauge", "how fast all drives are copied")                \
        X(CAP, "bandwidth_bytes_per_second", "gauge", "the cap on that; 0: none")             \
        X(MEMORY, "memory_bytes", "gauge", "memory that all workers may take")                \
        X(TAKEN, "memory_taken_bytes", "gauge", "memory that was given to workers")           \
        X(JOBS, "jobs", "gauge", "jobs in a state")                                           \
        X(DRIVES, "drives", "gauge", "drives in a state, of jobs that have not ended")        \
        X(HELD, "drives_held", "gauge", "drives that an operator holds")                      \
        X(ALERTS, "job_alerts", "gauge", "jobs of which a time limit has passed")             \
        X(EVENTS, "events_total", "counter", "number of the newest event of the history")     \
        X(OUTBOX, "outbox_waiting", "gauge", "events that the job service has not got yet")   \
        X(PARKED, "outbox_parked", "gauge", "events that the job service refused")            \
        X(OLDEST, "outbox_oldest_seconds", "gauge", "age of the oldest event that waits")     \
        X(STORE, "store_tasks", "gauge", "tasks that wait for the records")

enum metric {
#define X(id, name, type, help) METRIC_##id,
        METRICS(X)
#undef X
};

static const struct {
        const char *name, *type, *help;
} metrics[] = {
#define X(id, name, type, help) { name, type, help },
        METRICS(X)
#undef X
};

struct scrape {
        struct dmn_station *station;
        struct dmn_http_request *request;
        struct job_counts counts;
        struct job_outbox_state outbox;
        uint64_t newest;
        struct bth_buf text;
        bool failed; /* no memory */
};

/* --- text --- */

static void head(struct scrape *p, enum metric m)
{
        p->failed |= bth_buf_add_format(&p->text, "# HELP berth_%s %s\n# TYPE berth_%s %s\n",
                                        metrics[m].name, metrics[m].help, metrics[m].name,
                                        metrics[m].type) < 0;
}

static void put_label(struct scrape *p, const char *value)
{
        char escaped[256];

        (void)bth_escape(value, strlen(value), escaped, sizeof escaped);
        for (const char *c = escaped; *c && !p->failed; c++) {
                if (*c == '"' || *c == '\\')
                        p->failed |= bth_buf_add(&p->text, "\\", 1) < 0;
                p->failed |= bth_buf_add(&p->text, c, 1) < 0;
        }
}

/* One value; the labels come in pairs, `second` may be NULL. */
static void value2(struct scrape *p, enum metric m, const char *first, const char *first_value,
                   const char *second, const char *second_value, uint64_t v)
{
        p->failed |= bth_buf_add_format(&p->text, "berth_%s", metrics[m].name) < 0;
        if (first) {
                p->failed |= bth_buf_add_format(&p->text, "{%s=\"", first) < 0;
                put_label(p, first_value);
                if (second) {
                        p->failed |= bth_buf_add_format(&p->text, "\",%s=\"", second) < 0;
                        put_label(p, second_value);
                }
                p->failed |= bth_buf_add_string(&p->text, "\"}") < 0;
        }
        p->failed |= bth_buf_add_format(&p->text, " %" PRIu64 "\n", v) < 0;
}

static void value(struct scrape *p, enum metric m, const char *label, const char *label_value,
                  uint64_t v)
{
        value2(p, m, label, label_value, NULL, NULL, v);
}

static void one(struct scrape *p, enum metric m, uint64_t v)
{
        head(p, m);
        value(p, m, NULL, NULL, v);
}

/* --- what there is --- */

static void put_bays(struct scrape *p)
{
        const struct dmn_station *s = p->station;
        static const enum metric amounts[] = { METRIC_BAY_BYTES, METRIC_BAY_DONE, METRIC_BAY_RATE,
                                               METRIC_BAY_RETRIES, METRIC_BAY_THROTTLED };

        head(p, METRIC_BAY_LED);
        for (const struct dmn_slot *slot = s->slots; slot; slot = slot->next) {
                const char *sentence;
                const enum job_activity activity = dmn_slot_activity(slot, &sentence);

                if (slot->docking)
                        value2(p, METRIC_BAY_LED, "bay", slot->bay, "led",
                               job_led_to_string(job_activity_led(activity)), 1);
        }
        for (size_t i = 0; i < ARRAY_SIZE(amounts); i++) {
                head(p, amounts[i]);
                for (const struct dmn_slot *slot = s->slots; slot; slot = slot->next) {
                        const struct bth_progress_report *g = &slot->progress;
                        const uint64_t values[] = { g->bytes, g->bytes_done, slot->rate, g->retries,
                                                    g->throttled };

                        if (slot->worker && slot->has_progress)
                                value(p, amounts[i], "bay", slot->bay, values[i]);
                }
        }
}

static void put_station(struct scrape *p)
{
        const struct dmn_station *s = p->station;
        uint64_t docked = 0, rate = 0, taken = 0;

        for (const struct dmn_slot *slot = s->slots; slot; slot = slot->next) {
                docked += slot->docking != NULL;
                rate += slot->rate;
                taken += slot->worker ? slot->memory_bytes : 0;
        }
        head(p, METRIC_BUILD);
        value(p, METRIC_BUILD, "version", BERTH_VERSION, 1);
        one(p, METRIC_STARTED, s->started_usec / BTH_USEC_PER_SEC);
        one(p, METRIC_HEALTHY, s->store_trouble.code == 0);
        one(p, METRIC_STOPPING, s->stopping);
        one(p, METRIC_BAYS, s->bays.n_bays);
        one(p, METRIC_DOCKED, docked);
        put_bays(p);
        one(p, METRIC_WORKERS, dmn_station_workers(s));
        one(p, METRIC_RATE, rate);
        one(p, METRIC_CAP, s->bandwidth_bytes_per_sec);
        one(p, METRIC_MEMORY, s->config->memory_bytes);
        one(p, METRIC_TAKEN, taken);
        one(p, METRIC_STORE, job_thread_pending(s->store));
}

static void put_store(struct scrape *p)
{
        const uint64_t now = bth_now_realtime_usec();
        const uint64_t oldest = p->outbox.oldest_usec;

        head(p, METRIC_JOBS);
        for (int i = 0; i < _BTH_JOB_STATE_MAX; i++)
                value(p, METRIC_JOBS, "state", bth_job_state_to_string(i), p->counts.jobs[i]);
        head(p, METRIC_DRIVES);
        for (int i = 0; i < _BTH_DRIVE_STATE_MAX; i++)
                value(p, METRIC_DRIVES, "state", bth_drive_state_to_string(i), p->counts.drives[i]);
        one(p, METRIC_HELD, p->counts.held);
        head(p, METRIC_ALERTS);
        for (int i = 0; i < _JOB_ALERT_MAX; i++)
                value(p, METRIC_ALERTS, "alert", job_alert_to_string(i), p->counts.alerts[i]);
        one(p, METRIC_EVENTS, p->newest);
        one(p, METRIC_OUTBOX, p->outbox.waiting);
        one(p, METRIC_PARKED, p->outbox.parked);
        one(p, METRIC_OLDEST, oldest > 0 && oldest < now ? (now - oldest) / BTH_USEC_PER_SEC : 0);
}

/* --- the request --- */

static int take_newest(void *userdata, const struct job_event *e)
{
        ((struct scrape *)userdata)->newest = e->seq;
        return 0;
}

static int count(struct job_store *store, void *userdata, struct bth_error *error)
{
        const struct job_event_filter newest = { .drive = JOB_NO_DRIVE,
                                                 .newest_first = true,
                                                 .limit = 1 };
        struct scrape *p = userdata;
        int r = job_store_counts(store, &p->counts, error);

        if (r == 0)
                r = job_store_outbox_state(store, &p->outbox, error);
        return r < 0 ? r : job_store_events(store, &newest, take_newest, p, error);
}

/* A station that cannot read its records says so by what it can: healthy is 0 soon, and the rest
 * of what it has is told. */
static void counted(void *userdata, int r, const struct bth_error *error)
{
        struct scrape *p = userdata;

        put_station(p);
        if (r == 0)
                put_store(p);
        else
                (void)dmn_station_store_failed(p->station, r, error);
        dmn_http_reply(p->request, &(struct dmn_http_reply){ .status = p->failed ? 500 : 200,
                                                             .type = TYPE,
                                                             .body = p->text.data,
                                                             .n = p->text.length });
        bth_buf_clear(&p->text);
        free(p);
}

void dmn_metrics_answer(struct dmn_station *s, struct dmn_http_request *q)
{
        struct scrape *p = calloc(1, sizeof *p);

        if (p) {
                *p = (struct scrape){ .station = s, .request = q };
                if (dmn_station_submit(s, count, counted, p) == 0)
                        return;
                free(p);
        }
        dmn_http_reply(q, &(struct dmn_http_reply){ .status = 503 });
}
