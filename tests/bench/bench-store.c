/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bench-store - how fast the store answers when it is full.
 *
 *   bench-store [JOBS [EVENTS]]      10,000 jobs with 3 drives each and 1,000,000 events
 *
 * The rows are made by SQL in one transaction, in the form the store writes; then every question is
 * asked many times at random places. Exits with 1 when the 99th percentile of one is over 50 ms,
 * the promise of the job service. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <sqlite3.h>

#include "base/str.h"
#include "base/time.h"
#include "jobs/match.h"
#include "jobs/store.h"

#define JOBS_DEFAULT   UINT64_C(10000)
#define EVENTS_DEFAULT UINT64_C(1000000)
#define ROUNDS         300u
#define WRITES         200u
#define PROMISED_MS    50.0
#define PAGE           100u

struct bench {
        struct job_store *store;
        struct bth_error error;
        uint64_t jobs, events, random;
        bool broken;
};

static uint64_t next_random(struct bench *b)
{
        uint64_t z = b->random += UINT64_C(0x9E3779B97F4A7C15);

        z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
        return z ^ z >> 31;
}

/* --- the rows --- */

static const char fill_jobs[] =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %" PRIu64 ")"
        " INSERT INTO jobs SELECT i, 1, '/subscriptions/s' || (i %% 50) || '/resourceGroups/g',"
        " 'job-' || i, '/subscriptions/1/storageAccounts/a', 'westus', 'waimportexport', 'api',"
        " NULL, 0, 0, 3, 0, 1, 1, 1, 0, 0, 1900000000000000, 1900000000000000, 0, 0, 0, 0,"
        " 1900000000000000 + i * 1000000000, '/subscriptions/s' || (i %% 50) FROM n;";
static const char fill_drives[] =
        "INSERT INTO drives SELECT id, k, 'SN' || (id * 3 + k), 'SN' || (id * 3 + k),"
        " '\\DriveManifest.xml', '0123456789ABCDEF0123456789ABCDEF', NULL, NULL, NULL, NULL, NULL,"
        " NULL, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1900000000000000, 0, 0, 1900000000000000, 0"
        " FROM jobs, (SELECT 0 AS k UNION SELECT 1 UNION SELECT 2);";
static const char fill_events[] =
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %" PRIu64
        " - 1) INSERT INTO events SELECT i + 1, 6 + i %% 2, 1900000000000000 + i * 1000,"
        " i %% %" PRIu64 " + 1, i / %" PRIu64 " %% 3,"
        " 'SN' || ((i %% %" PRIu64 " + 1) * 3 + i / %" PRIu64 " %% 3),"
        " 'SN' || ((i %% %" PRIu64 " + 1) * 3 + i / %" PRIu64 " %% 3),"
        " 'jobs/job-' || (i %% %" PRIu64 " + 1), NULL,"
        " '{\"activity\":\"transferring\",\"blobs\":12000,\"blobsSucceeded\":411,\"bytes\":"
        "1000000000000,\"bytesSucceeded\":5000000000,\"copyStatus\":\"InProgress\",\"driveId\":"
        "\"SN1\",\"job\":\"job-1\",\"jobId\":1,\"percentComplete\":1,\"sentence\":\"blobs are being"
        " copied\",\"state\":\"Transferring\"}' FROM n;";
static const char fill_outbox[] =
        "INSERT INTO outbox (seq, lane, ready) SELECT seq, job * 11 + drive + 1, 0 FROM events"
        " ORDER BY seq DESC LIMIT 100000;"
        "UPDATE outbox SET ready = 1 WHERE seq IN (SELECT min(seq) FROM outbox GROUP BY lane);";

static int run(sqlite3 *db, const char *text)
{
        char *said = NULL;
        int r = sqlite3_exec(db, text, NULL, NULL, &said);

        if (r != SQLITE_OK)
                fprintf(stderr, "%s\n", said);
        sqlite3_free(said);
        return r == SQLITE_OK ? 0 : -EIO;
}

static int fill(const struct bench *b, const char *path)
{
        const uint64_t j = b->jobs;
        char text[4096];
        sqlite3 *db;
        int r = sqlite3_open(path, &db) == SQLITE_OK ? 0 : -EIO;

        if (r == 0)
                r = run(db, "PRAGMA cache_size = -200000; BEGIN");
        (void)snprintf(text, sizeof text, fill_jobs, j);
        if (r == 0)
                r = run(db, text);
        if (r == 0)
                r = run(db, fill_drives);
        (void)snprintf(text, sizeof text, fill_events, b->events, j, j, j, j, j, j, j);
        if (r == 0)
                r = run(db, text);
        if (r == 0)
                r = run(db, fill_outbox);
        if (r == 0)
                r = run(db, "COMMIT");
        (void)sqlite3_close(db);
        return r;
}

/* --- the questions --- */

static int count_job(void *userdata, const struct job_record *r)
{
        ++*(unsigned *)userdata;
        return 0;
}

static int count_event(void *userdata, const struct job_event *e)
{
        ++*(unsigned *)userdata;
        return 0;
}

static int list(struct bench *b, const char *scope, int state, bool anywhere, unsigned *n)
{
        const struct job_filter f = { .scope = scope,
                                      .state = state,
                                      .before = anywhere ? 1 + next_random(b) % b->jobs : 0,
                                      .limit = PAGE };

        return job_store_list(b->store, &f, count_job, n, &b->error);
}

static int jobs_newest(struct bench *b, unsigned *n)
{
        return list(b, NULL, -1, false, n);
}

static int jobs_anywhere(struct bench *b, unsigned *n)
{
        return list(b, NULL, -1, true, n);
}

static int jobs_by_state(struct bench *b, unsigned *n)
{
        return list(b, NULL, BTH_JOB_STATE_TRANSFERRING, true, n);
}

static int jobs_by_absent_state(struct bench *b, unsigned *n)
{
        return list(b, NULL, BTH_JOB_STATE_CLOSED, false, n);
}

static int jobs_by_subscription(struct bench *b, unsigned *n)
{
        char scope[64];

        (void)snprintf(scope, sizeof scope, "/subscriptions/s%" PRIu64, next_random(b) % 50);
        return list(b, scope, -1, false, n);
}

static int one_job(struct bench *b, unsigned *n)
{
        struct job_record *record;
        int r = job_store_get(b->store, 1 + next_random(b) % b->jobs, &record, &b->error);

        if (r == 0)
                (void)job_record_free(record);
        ++*n;
        return r;
}

static int match_serial(struct bench *b, unsigned *n)
{
        struct job_match match;
        char serial[32];

        (void)snprintf(serial, sizeof serial, "sn %" PRIu64, next_random(b) % (b->jobs * 3) + 3);
        ++*n;
        return job_match(b->store, serial, &match, &b->error);
}

static int ask_events(struct bench *b, struct job_event_filter f, unsigned *n)
{
        f.limit = PAGE;
        return job_store_events(b->store, &f, count_event, n, &b->error);
}

static int events_newest(struct bench *b, unsigned *n)
{
        return ask_events(b, (struct job_event_filter){ .newest_first = true }, n);
}

static int events_anywhere(struct bench *b, unsigned *n)
{
        return ask_events(b, (struct job_event_filter){ .after = next_random(b) % b->events }, n);
}

static int events_of_job(struct bench *b, unsigned *n)
{
        return ask_events(b,
                          (struct job_event_filter){ .job = 1 + next_random(b) % b->jobs,
                                                     .drive = JOB_NO_DRIVE },
                          n);
}

static int events_of_drive(struct bench *b, unsigned *n)
{
        return ask_events(b,
                          (struct job_event_filter){ .job = 1 + next_random(b) % b->jobs,
                                                     .drive = next_random(b) % 3,
                                                     .newest_first = true },
                          n);
}

static int events_of_serial(struct bench *b, unsigned *n)
{
        char serial[32];

        (void)snprintf(serial, sizeof serial, "SN%" PRIu64, next_random(b) % (b->jobs * 3) + 3);
        return ask_events(b, (struct job_event_filter){ .serial = serial }, n);
}

static int outbox_heads(struct bench *b, unsigned *n)
{
        return job_store_outbox(b->store, UINT64_MAX >> 1, PAGE, count_event, n, &b->error);
}

static int change_drive(struct bench *b, unsigned *n)
{
        const struct job_act act = { .job = 1 + next_random(b) % b->jobs,
                                     .input.kind = JOB_INPUT_UPDATED };
        const struct job_policy policy = { 0 };
        struct job_outcome outcome;
        int r = job_store_apply(b->store, &act, &policy, bth_now_realtime_usec(), "bench", &outcome,
                                &b->error);

        ++*n;
        return r == -EPERM ? 0 : r;
}

static int by_number(const void *x, const void *y)
{
        const uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

        return a < b ? -1 : a > b;
}

static void ask(struct bench *b, const char *what, int (*question)(struct bench *, unsigned *),
                unsigned rounds, bool promised)
{
        uint64_t usec[ROUNDS];
        unsigned rows = 0;
        double p99;

        for (unsigned i = 0; i < rounds; i++) {
                const uint64_t start = bth_now_monotonic_usec();

                if (question(b, &rows) < 0) {
                        fprintf(stderr, "%s: %s\n", what, b->error.sentence);
                        b->broken = true;
                        return;
                }
                usec[i] = bth_now_monotonic_usec() - start;
        }
        qsort(usec, rounds, sizeof usec[0], by_number);
        p99 = (double)usec[rounds * 99 / 100] / 1000;
        printf("%-24s %6.1f rows  median %8.3f ms  99th %8.3f ms  worst %8.3f ms\n", what,
               (double)rows / rounds, (double)usec[rounds / 2] / 1000, p99,
               (double)usec[rounds - 1] / 1000);
        if (promised && p99 >= PROMISED_MS) {
                printf("  more than the %.0f ms that are promised\n", PROMISED_MS);
                b->broken = true;
        }
}

static void ask_everything(struct bench *b)
{
        ask(b, "jobs, newest", jobs_newest, ROUNDS, true);
        ask(b, "jobs, anywhere", jobs_anywhere, ROUNDS, true);
        ask(b, "jobs, by state", jobs_by_state, ROUNDS, true);
        ask(b, "jobs, in no such state", jobs_by_absent_state, ROUNDS, true);
        ask(b, "jobs, of a subscription", jobs_by_subscription, ROUNDS, true);
        ask(b, "one job", one_job, ROUNDS, true);
        ask(b, "match a serial number", match_serial, ROUNDS, true);
        ask(b, "events, newest", events_newest, ROUNDS, true);
        ask(b, "events, anywhere", events_anywhere, ROUNDS, true);
        ask(b, "events, of a job", events_of_job, ROUNDS, true);
        ask(b, "events, of a drive", events_of_drive, ROUNDS, true);
        ask(b, "events, of a serial", events_of_serial, ROUNDS, true);
        ask(b, "outbox, what can go", outbox_heads, ROUNDS, true);
        /* Waits for the disk: as fast as that is. */
        ask(b, "one change, durable", change_drive, WRITES, false);
}

int main(int argc, char **argv)
{
        struct bench b = { .jobs = JOBS_DEFAULT, .events = EVENTS_DEFAULT, .random = 1 };
        char folder[] = "/tmp/berth-bench-store-XXXXXX", path[64];
        const uint64_t start = bth_now_monotonic_usec();
        struct stat st;
        int r;

        if ((argc > 1 && bth_parse_u64(argv[1], &b.jobs) < 0) ||
            (argc > 2 && bth_parse_u64(argv[2], &b.events) < 0) || argc > 3 || b.jobs == 0 ||
            b.events == 0) {
                fprintf(stderr, "usage: bench-store [JOBS [EVENTS]]\n");
                return 2;
        }
        if (!mkdtemp(folder))
                return 1;
        (void)snprintf(path, sizeof path, "%s/berth.db", folder);
        r = job_store_open(path, &b.store, &b.error);
        b.store = job_store_close(b.store);
        if (r == 0)
                r = fill(&b, path);
        if (r == 0)
                r = job_store_open(path, &b.store, &b.error);
        if (r == 0) {
                (void)stat(path, &st);
                printf("%" PRIu64 " jobs, %" PRIu64 " events: %" PRIu64 " MB, made in %.1f s\n",
                       b.jobs, b.events, (uint64_t)st.st_size / 1000000,
                       (double)(bth_now_monotonic_usec() - start) / 1e6);
                ask_everything(&b);
        } else {
                fprintf(stderr, "the store cannot be made: %s\n", b.error.sentence);
        }
        (void)job_store_close(b.store);
        (void)unlink(path);
        (void)rmdir(folder);
        return r < 0 || b.broken;
}
