/* SPDX-License-Identifier: GPL-3.0-or-later */
/* station-history - what is older than `keep_history` goes out of the store: once a day, and when
 * that key changes. A step is a short task; whatever else is handed in meanwhile runs between two,
 * so that neither a large store nor the first run of all holds the bays up. */
#include "base/log.h"
#include "base/names.h"
#include "base/time.h"
#include "daemon/station-internal.h"
#include "jobs/hub.h"

struct shortening {
        struct dmn_station *station;
        uint64_t keep_sec;
        struct job_prune prune;
        uint64_t hub_events;
};

/* First what is the station's own, then what others told it. Returns 1 when there is more to do. */
static int task_shorten(struct job_store *store, void *userdata, struct bth_error *error)
{
        struct shortening *k = userdata;
        int n;

        if (k->prune.stage != JOB_PRUNE_DONE) {
                n = job_store_prune(store, &k->prune, error);
                return n < 0 ? n : 1;
        }
        n = job_hub_prune(store, k->prune.before_usec, error);
        if (n < 0)
                return n;
        k->hub_events += (uint64_t)n;
        return n == (int)JOB_HUB_PRUNE_MAX;
}

static void tell(const struct shortening *k)
{
        static const struct bth_log_field fields[] = { { BTH_FIELD_MESSAGE_ID,
                                                         BTH_ID(HISTORY_SHORTENED) } };
        const unsigned long long events = k->prune.events + k->hub_events;

        if (k->prune.jobs + events > 0)
                bth_log_fields(LOG_INFO, fields,
                               "the history was shortened to %llu days: %llu jobs that ended and "
                               "%llu events were taken out of the records",
                               (unsigned long long)(k->keep_sec * BTH_USEC_PER_SEC / JOB_DAY_USEC),
                               (unsigned long long)k->prune.jobs, events);
}

static void shortened(void *userdata, int r, const struct bth_error *error);

static void next_step(struct shortening *k)
{
        struct dmn_station *s = k->station;

        s->shortening = !s->stopping && dmn_station_submit(s, task_shorten, shortened, k) == 0;
        if (s->shortening)
                return;
        tell(k); /* the next run goes on */
        free(k);
}

static void shortened(void *userdata, int r, const struct bth_error *error)
{
        struct shortening *k = userdata;
        struct dmn_station *s = k->station;
        const bool again = k->keep_sec != s->config->keep_history_sec;

        if (!dmn_station_store_failed(s, r, error) && r < 0)
                bth_log_error(LOG_ERR, error);
        if (r > 0) {
                next_step(k);
                return;
        }
        tell(k);
        free(k);
        s->shortening = false;
        if (r == 0 && again)
                dmn_station_shorten(s);
}

void dmn_station_shorten(struct dmn_station *s)
{
        const uint64_t now = bth_now_realtime_usec();
        const uint64_t keep = s->config->keep_history_sec * BTH_USEC_PER_SEC;
        struct shortening *k;

        if (s->shortening || keep >= now)
                return;
        k = calloc(1, sizeof *k);
        if (!k)
                return;
        k->station = s;
        k->keep_sec = s->config->keep_history_sec;
        k->prune.before_usec = now - keep;
        next_step(k);
}
