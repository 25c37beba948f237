/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bench-hub - how many events of stations a hub takes.
 *
 *   bench-hub [EVENTS [BATCH [WRITERS [URL]]]]   40,000 events, 100 in a batch, one writer, a file
 *
 * With a URL, into an empty schema of a PostgreSQL server (tests/bench/hub-postgresql makes one);
 * there, more than one WRITER are as many connections that write at once, like hub processes.
 *
 * Ten stations take turns. A batch is what one of them pushes: the next event of each of BATCH
 * drives, since a push has only the oldest event of a drive (daemon/upstream-push.c). The drives
 * belong to the hub's own jobs, three to each, and go from docked to done over twenty events, most
 * of them progress. Batches are texts of JSON that are parsed here; each is one transaction that is
 * on the disk before the writer goes on. Exits with 1 below 2,000 events a second, the promise of
 * the job service. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <libpq-fe.h>

#include "base/str.h"
#include "base/time.h"
#include "jobs/hub.h"

#define DRIVES         3u
#define STEPS          20u
#define STATIONS       10u
#define EVENTS_DEFAULT UINT64_C(40000)
#define EVENTS_MAX     UINT64_C(1000000)
#define BATCH_DEFAULT  UINT64_C(100)
#define PROMISED       2000.0
#define SCOPE          "/subscriptions/1/resourceGroups/g"

/* One connection to the hub's store, and what it is going to be told. */
struct writer {
        const char *url;
        struct job_store *store;
        struct bth_buf *batches;
        size_t n_batches;
        struct job_hub_result sum;
        int r;
        struct bth_error error;
        pthread_t thread;
};

static int make_jobs(struct job_store *s, uint64_t n, struct bth_error *error)
{
        int r = 0;

        for (uint64_t i = 0; i < n && r == 0; i++) {
                struct job_draft_drive drives[DRIVES];
                char name[32], serials[DRIVES][32];
                uint64_t id;

                (void)snprintf(name, sizeof name, "job-%" PRIu64, i);
                for (unsigned k = 0; k < DRIVES; k++) {
                        (void)snprintf(serials[k], sizeof serials[k], "SN%" PRIu64 "-%u", i, k);
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
                                   n / DRIVES, n / DRIVES, n % DRIVES);

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

static int add_event(struct bth_buf *b, uint64_t station, uint64_t seq, uint64_t n, uint64_t step)
{
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
                station, seq, seq, station, type, n / DRIVES, n / DRIVES, n % DRIVES);

        if (r == 0)
                r = add_data(b, n, step);
        return r < 0 ? r : bth_buf_add_string(b, "}");
}

/* Push number `push` of a station: `count` of its drives go on by one step. */
static int make_batch(struct bth_buf *b, uint64_t station, uint64_t push, uint64_t batch,
                      uint64_t count)
{
        const uint64_t step = push % STEPS;
        const uint64_t drive = (push / STEPS * STATIONS + station) * batch;
        int r = bth_buf_add_string(b, "[");

        for (uint64_t k = 0; k < count && r == 0; k++) {
                r = k > 0 ? bth_buf_add_string(b, ",") : 0;
                if (r == 0)
                        r = add_event(b, station, push * batch + k + 1, drive + k, step);
        }
        return r < 0 ? r : bth_buf_add_string(b, "]");
}

/* Stations belong to writers: one speaks to one hub process at a time. */
static int make_batches(struct writer *w, size_t n_writers, uint64_t events, uint64_t batch)
{
        const uint64_t n = (events + batch - 1) / batch;
        int r = 0;

        for (size_t i = 0; i < n_writers; i++) {
                w[i].batches = calloc(n, sizeof *w[i].batches);
                if (!w[i].batches)
                        return -ENOMEM;
        }
        for (uint64_t i = 0; i < n && r == 0; i++) {
                struct writer *its = &w[i % STATIONS % n_writers];

                r = make_batch(&its->batches[its->n_batches++], i % STATIONS, i / STATIONS, batch,
                               MIN(batch, events - i * batch));
        }
        return r;
}

static int take(struct writer *w, const struct bth_buf *b)
{
        static const struct job_policy policy;
        struct job_hub_result result;
        json_t *events;
        int r = bth_json_parse_array(b->data, b->length, &events, &w->error);

        if (r < 0)
                return r;
        r = job_hub_take(w->store, events, NULL, &policy, bth_now_realtime_usec(), &result,
                         &w->error);
        if (r == 0) {
                w->sum.applied += result.applied;
                w->sum.n_refused += result.n_refused;
                job_hub_result_clear(&result);
        }
        json_decref(events);
        return r;
}

static void *write_all(void *userdata)
{
        struct writer *w = userdata;

        for (size_t i = 0; i < w->n_batches && w->r == 0; i++)
                w->r = take(w, &w->batches[i]);
        return NULL;
}

static int run_writers(struct writer *w, size_t n)
{
        size_t begun = 0;
        int r = 0;

        for (; begun < n && r == 0; begun += r == 0)
                r = -pthread_create(&w[begun].thread, NULL, write_all, &w[begun]);
        for (size_t i = 0; i < begun; i++)
                (void)pthread_join(w[i].thread, NULL);
        for (size_t i = 0; i < n && r == 0; i++)
                r = w[i].r;
        return r;
}

static double cpu_seconds(void)
{
        struct rusage u;

        (void)getrusage(RUSAGE_SELF, &u); /* cannot fail with these */
        return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int measure(struct writer *w, size_t n_writers, uint64_t events, uint64_t batch)
{
        const double cpu = cpu_seconds();
        const uint64_t begun = bth_now_monotonic_usec();
        size_t applied = 0, refused = 0;
        int r = run_writers(w, n_writers);
        double rate;

        if (r < 0)
                return r;
        rate = (double)events * 1e6 / (double)MAX(bth_now_monotonic_usec() - begun, UINT64_C(1));
        for (size_t i = 0; i < n_writers; i++) {
                applied += w[i].sum.applied;
                refused += w[i].sum.n_refused;
        }
        printf("%" PRIu64 " events, %" PRIu64 " in a batch, %zu at once: %zu applied, %zu refused, "
               "%.0f a second, %.2f s of CPU here\n",
               events, batch, n_writers, applied, refused, rate, cpu_seconds() - cpu);
        return rate >= PROMISED && applied == events ? 0 : -ERANGE;
}

/* What the server does of itself within a minute: until then it knows nothing of its tables. */
static int analyze(const char *url)
{
        PGconn *c = PQconnectdb(url);
        PGresult *done = PQexec(c, "ANALYZE jobs, drives");
        const bool well = PQresultStatus(done) == PGRES_COMMAND_OK;

        PQclear(done);
        PQfinish(c);
        return well ? 0 : -EIO;
}

static int bench(struct writer *w, size_t n_writers, uint64_t events, uint64_t batch)
{
        const uint64_t rounds =
                (events + STATIONS * STEPS * batch - 1) / (STATIONS * STEPS * batch);
        const uint64_t jobs = (rounds * STATIONS * batch + DRIVES - 1) / DRIVES;
        int r = 0;

        for (size_t i = 0; i < n_writers && r == 0; i++)
                r = job_store_open(w[i].url, &w[i].store, &w[0].error);
        if (r == 0)
                r = make_jobs(w[0].store, jobs, &w[0].error);
        if (r == 0)
                r = make_batches(w, n_writers, events, batch);
        if (r == 0 && bth_starts_with(w[0].url, "postgresql://"))
                r = analyze(w[0].url);
        if (r == 0) {
                printf("%" PRIu64 " jobs; ", jobs); /* whoever counts for the server begins here */
                (void)fflush(stdout);
                r = measure(w, n_writers, events, batch);
        }
        for (size_t i = 0; i < n_writers; i++) {
                if (r < 0 && w[i].error.sentence[0] != '\0')
                        (void)fprintf(stderr, "bench-hub: %s\n", w[i].error.sentence);
                for (size_t k = 0; k < w[i].n_batches; k++)
                        bth_buf_clear(&w[i].batches[k]);
                free(w[i].batches);
                (void)job_store_close(w[i].store);
        }
        if (r == -ERANGE)
                (void)fprintf(stderr, "bench-hub: below what is promised\n");
        return r;
}

static bool read_number(int argc, char **argv, int at, uint64_t max, uint64_t *ret)
{
        return at >= argc || (bth_parse_u64(argv[at], ret) == 0 && *ret > 0 && *ret <= max);
}

int main(int argc, char **argv)
{
        char folder[] = "/tmp/berth-bench-hub-XXXXXX", path[64], other[80];
        uint64_t events = EVENTS_DEFAULT, batch = BATCH_DEFAULT, n = 1;
        struct writer writers[STATIONS] = { 0 };
        int r;

        if (!read_number(argc, argv, 1, EVENTS_MAX, &events) ||
            !read_number(argc, argv, 2, JOB_HUB_BATCH_MAX, &batch) ||
            !read_number(argc, argv, 3, argc > 4 ? STATIONS : 1, &n) || !mkdtemp(folder))
                return 2;
        (void)snprintf(path, sizeof path, "%s/hub.db", folder);
        for (size_t i = 0; i < n; i++)
                writers[i].url = argc > 4 ? argv[4] : path;
        r = bench(writers, n, events, batch);
        (void)unlink(path);
        for (size_t i = 0; i < 2; i++) {
                (void)snprintf(other, sizeof other, "%s-%s", path, i == 0 ? "wal" : "shm");
                (void)unlink(other);
        }
        (void)rmdir(folder);
        return r < 0 ? 1 : 0;
}
