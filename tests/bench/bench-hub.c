/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bench-hub - how many events of stations a hub takes.
 *
 *   bench-hub [EVENTS [BATCH [URL]]]  40,000 events of ten stations, 100 in a batch; into an empty
 *                                     schema of a PostgreSQL server instead of a file
 *
 * A thousand of the hub's own jobs with three drives each; each drive goes from docked to done over
 * twenty events, most of them progress, as texts of JSON that are parsed here. Every batch is one
 * transaction that is on the disk before the next begins. Exits with 1 below 2,000 events a second,
 * the promise of the job service. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/time.h"
#include "jobs/hub.h"

#define JOBS           1000u
#define DRIVES         3u
#define STEPS          20u
#define STATIONS       10u
#define EVENTS_DEFAULT UINT64_C(40000)
#define BATCH_DEFAULT  UINT64_C(100)
#define PROMISED       2000.0
#define SCOPE          "/subscriptions/1/resourceGroups/g"

static int make_jobs(struct job_store *s, struct bth_error *error)
{
        int r = 0;

        for (unsigned i = 0; i < JOBS && r == 0; i++) {
                struct job_draft_drive drives[DRIVES];
                char name[32], serials[DRIVES][32];
                uint64_t id;

                (void)snprintf(name, sizeof name, "job-%u", i);
                for (unsigned k = 0; k < DRIVES; k++) {
                        (void)snprintf(serials[k], sizeof serials[k], "SN%u-%u", i, k);
                        drives[k] = (struct job_draft_drive){ .serial = serials[k] };
                }
                r = job_store_add(s,
                                  &(struct job_draft){ .scope = SCOPE,
                                                       .name = name,
                                                       .origin = "api",
                                                       .drives = drives,
                                                       .n_drives = DRIVES },
                                  true, bth_now_realtime_usec(), NULL, &id, error);
        }
        return r;
}

/* What the station says of drive number `n` at one of its steps. */
static int add_data(struct bth_buf *b, uint64_t n, uint64_t step)
{
        const bool done = step == STEPS - 1;
        int r = bth_buf_add_format(b,
                                   "{\"job\":\"job-%" PRIu64 "\",\"scope\":\"" SCOPE
                                   "\",\"jobId\":7,\"origin\":\"upstream\",\"driveId\":\"SN%" PRIu64
                                   "-%" PRIu64 "\",\"bay\":\"A1\",",
                                   n / DRIVES % JOBS, n / DRIVES % JOBS, n % DRIVES);

        if (r == 0 && step == 0)
                return bth_buf_add_format(b, "\"sizeBytes\":1000000000000,\"matched\":\"serial\"}");
        return r < 0 ? r
                     : bth_buf_add_format(
                               b,
                               "\"state\":\"%s\",\"copyStatus\":\"%s\",\"activity\":\"%s\","
                               "\"sentence\":\"blobs are being copied\",\"docked\":true,"
                               "\"running\":%s,\"held\":false,\"unprocessed\":false,"
                               "\"receivedAt\":\"2031-04-09T07:15:02.118000Z\",\"bytes\":1000,"
                               "\"bytesSucceeded\":%" PRIu64 ",\"blobs\":20,\"blobsSucceeded\":1,"
                               "\"percentComplete\":1}",
                               done ? "Completed" : "Transferring",
                               done ? "Completed" : "InProgress",
                               done ? "safe-to-remove" : "transferring", done ? "false" : "true",
                               step * 50);
}

/* Ten drives are at work at once, and each step of one follows that of the next. */
static int add_event(struct bth_buf *b, uint64_t i)
{
        const uint64_t round = i / (STATIONS * STEPS), step = i / STATIONS % STEPS;
        const uint64_t station = i % STATIONS, n = round * STATIONS + station;
        const uint64_t seq = i / STATIONS + 1;
        const char *type = step == 0           ? "drive.docked"
                           : step == 1         ? "drive.state"
                           : step == STEPS - 1 ? "drive.state"
                                               : "drive.progress";
        int r = bth_buf_add_format(
                b,
                "{\"specversion\":\"1.0\",\"id\":\"6BA7B810-9DAD-11D1-80B4-0000000000%02" PRIu64
                "-%" PRIu64 "\",\"sequence\":\"%020" PRIu64 "\",\"source\":\"/stations/s%" PRIu64
                "\",\"type\":\"berth.%s\",\"subject\":\"" SCOPE "/jobs/job-%" PRIu64
                "/drives/SN%" PRIu64 "-%" PRIu64
                "\",\"time\":\"2031-04-09T07:15:02.118000Z\",\"data\":",
                station, seq, seq, station, type, n / DRIVES % JOBS, n / DRIVES % JOBS, n % DRIVES);

        if (r == 0)
                r = add_data(b, n, step);
        return r < 0 ? r : bth_buf_add_string(b, "}");
}

static int take(struct job_store *s, const struct bth_buf *b, struct job_hub_result *sum,
                struct bth_error *error)
{
        static const struct job_policy policy;
        struct job_hub_result result;
        json_t *events;
        int r = bth_json_parse_array(b->data, b->length, &events, error);

        if (r == 0)
                r = job_hub_take(s, events, NULL, &policy, bth_now_realtime_usec(), &result, error);
        if (r == 0) {
                sum->applied += result.applied;
                sum->n_refused += result.n_refused;
                job_hub_result_clear(&result);
        }
        json_decref(events);
        return r;
}

static int measure(struct job_store *s, uint64_t events, uint64_t batch, struct bth_error *error)
{
        struct job_hub_result sum = { 0 };
        uint64_t usec = 0;
        double rate;

        for (uint64_t i = 0; i < events;) {
                _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
                uint64_t begun;
                int r = bth_buf_add_string(&b, "[");

                for (uint64_t k = 0; k < batch && i < events && r == 0; k++, i++) {
                        r = k > 0 ? bth_buf_add_string(&b, ",") : 0;
                        if (r == 0)
                                r = add_event(&b, i);
                }
                if (r == 0)
                        r = bth_buf_add_string(&b, "]");
                begun = bth_now_monotonic_usec();
                if (r == 0)
                        r = take(s, &b, &sum, error);
                usec += bth_now_monotonic_usec() - begun;
                if (r < 0)
                        return r;
        }
        rate = (double)events * 1e6 / (double)MAX(usec, UINT64_C(1));
        printf("%" PRIu64 " events, %" PRIu64 " in a batch: %zu applied, %zu refused, %.0f a "
               "second\n",
               events, batch, sum.applied, sum.n_refused, rate);
        return rate >= PROMISED && sum.applied == events ? 0 : -ERANGE;
}

int main(int argc, char **argv)
{
        char folder[] = "/tmp/berth-bench-hub-XXXXXX", path[64], other[80];
        struct bth_error error = BTH_ERROR_INIT;
        uint64_t events = EVENTS_DEFAULT, batch = BATCH_DEFAULT;
        struct job_store *s = NULL;
        int r;

        if ((argc > 1 && bth_parse_u64(argv[1], &events) < 0) ||
            (argc > 2 && bth_parse_u64(argv[2], &batch) < 0) || batch == 0 ||
            batch > JOB_HUB_BATCH_MAX || !mkdtemp(folder))
                return 2;
        (void)snprintf(path, sizeof path, "%s/hub.db", folder);
        r = job_store_open(argc > 3 ? argv[3] : path, &s, &error);
        if (r == 0)
                r = make_jobs(s, &error);
        if (r == 0)
                r = measure(s, events, batch, &error);
        (void)job_store_close(s);
        (void)unlink(path);
        for (size_t i = 0; i < 2; i++) {
                (void)snprintf(other, sizeof other, "%s-%s", path, i == 0 ? "wal" : "shm");
                (void)unlink(other);
        }
        (void)rmdir(folder);
        if (r < 0)
                (void)fprintf(stderr, "bench-hub: %s\n",
                              r == -ERANGE ? "below what is promised" : error.sentence);
        return r < 0 ? 1 : 0;
}
