/* SPDX-License-Identifier: GPL-3.0-or-later */
/* report - see report.h. */
#include "uploader/report.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "base/time.h"
#include "uploader/ticker.h"

struct upl_reporter {
        struct upl_reporter_options o;
        struct upl_ticker *ticker;
        uint64_t started_usec;

        /* Of the ticker's thread. */
        uint64_t last_usec, last_sent_bytes, last_requests;
        uint64_t last_waited_usec[_UPL_WAIT_MAX];
};

static uint64_t rate(uint64_t now, uint64_t before, uint64_t passed_usec)
{
        uint64_t n = now > before ? now - before : 0;

        return passed_usec > 0 ? (uint64_t)((__uint128_t)n * BTH_USEC_PER_SEC / passed_usec) : 0;
}

static void make_report(struct upl_reporter *r, struct upl_report *ret_report)
{
        uint64_t now = bth_now_monotonic_usec(), passed = now - r->last_usec, most = 0;
        struct upl_report report = {
                .elapsed_usec = now - r->started_usec,
                .bottleneck = _UPL_WAIT_MAX,
        };

        upl_client_look(r->o.client, &report.client);
        upl_budget_look(r->o.budget, &report.budget);
        report.bytes_per_sec = rate(report.client.sent_bytes, r->last_sent_bytes, passed);
        report.requests_per_sec = rate(report.client.requests, r->last_requests, passed);
        for (enum upl_wait w = 0; w < _UPL_WAIT_MAX; w++) {
                report.waited_usec[w] = report.budget.waited_usec[w] - r->last_waited_usec[w];
                r->last_waited_usec[w] = report.budget.waited_usec[w];
                if (report.waited_usec[w] > most) {
                        most = report.waited_usec[w];
                        report.bottleneck = w;
                }
        }
        if (report.client.refused_since_usec > 0)
                report.paused_usec = MAX(now - report.client.refused_since_usec, UINT64_C(1));
        r->last_usec = now;
        r->last_sent_bytes = report.client.sent_bytes;
        r->last_requests = report.client.requests;
        *ret_report = report;
}

static uint64_t on_tick(void *userdata)
{
        struct upl_reporter *r = userdata;
        struct upl_report report;

        make_report(r, &report);
        r->o.report(r->o.userdata, &report);
        return r->o.interval_usec;
}

int upl_reporter_new(const struct upl_reporter_options *options, struct upl_reporter **ret_reporter)
{
        struct upl_reporter *r = calloc(1, sizeof *r);
        int e;

        if (!r)
                return -ENOMEM;
        r->o = *options;
        if (r->o.interval_usec == 0)
                r->o.interval_usec = UPL_REPORT_USEC;
        r->started_usec = r->last_usec = bth_now_monotonic_usec();
        e = upl_ticker_new(on_tick, r, r->o.interval_usec, &r->ticker);
        if (e < 0) {
                free(r);
                return e;
        }
        *ret_reporter = r;
        return 0;
}

struct upl_reporter *upl_reporter_free(struct upl_reporter *r)
{
        if (!r)
                return NULL;
        r->ticker = upl_ticker_free(r->ticker);
        (void)on_tick(r);
        free(r);
        return NULL;
}

char *upl_report_to_string(const struct upl_report *r, char *text, size_t size_bytes)
{
        if (r->paused_usec > 0)
                (void)snprintf(text, size_bytes,
                               "paused: credentials refused for %" PRIu64 " s, %u requests wait",
                               r->paused_usec / BTH_USEC_PER_SEC,
                               r->client.waiting_credentials + r->client.queued);
        else
                (void)snprintf(text, size_bytes,
                               "%" PRIu64 ".%" PRIu64 " MB/s, %u of %u requests in flight, %" PRIu64
                               " retries, waiting for %s",
                               r->bytes_per_sec / 1000000, r->bytes_per_sec / 100000 % 10,
                               r->client.in_flight, r->client.limit, r->client.retries,
                               r->bottleneck < _UPL_WAIT_MAX ? upl_wait_to_string(r->bottleneck)
                                                             : "nothing");
        return text;
}
