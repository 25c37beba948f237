/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The store's files: personal data that is gone when it was taken away, files of other versions and
 * other kinds, a full disk, and kill -9 at any moment. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/io.h"
#include "base/json.h"
#include "base/time.h"
#include "jobs/hub.h"
#include "tests/lib/job-place.h"

/* --- personal data --- */

static bool in_files(struct place *p, const char *needle)
{
        DIR *d = opendir(p->folder);
        const struct dirent *e;
        bool found = false;

        while ((e = readdir(d))) {
                char path[400];
                char *data;
                size_t n;

                (void)snprintf(path, sizeof path, "%s/%s", p->folder, e->d_name);
                if (e->d_name[0] == '.' || bth_read_file(path, 64 << 20, &data, &n) < 0)
                        continue;
                found |= memmem(data, n, needle, strlen(needle)) != NULL;
                free(data);
        }
        (void)closedir(d);
        return found;
}

static void test_forget(void **state)
{
        struct place *p = *state;
        uint64_t a, b, c;
        char *json;

        open_store(p);
        a = add_job(p, "a", 1);
        assert_true(in_files(p, "VERYPERSONAL"));
        OK(job_store_forget(p->store, a, &p->error));
        assert_int_equal(
                job_store_personal(p->store, a, JOB_PERSONAL_RETURN_ADDRESS, &json, &p->error),
                -ENOENT);
        assert_false(in_files(p, "VERYPERSONAL"));
        assert_true(in_files(p, "SECRETKEY"));

        b = add_job(p, "b", 1);
        c = add_job(p, "c", 1);
        assert_int_equal(act(p, a, JOB_INPUT_DELETED, 0), 0);
        assert_int_equal(act(p, b, JOB_INPUT_DELETED, 0), 0);
        assert_true(in_files(p, "VERYPERSONAL"));                           /* c goes on */
        assert_int_equal(job_store_forget_old(p->store, T0, &p->error), 0); /* it is gone */
        OK(job_store_personal(p->store, c, JOB_PERSONAL_RETURN_ADDRESS, &json, &p->error));
        free(json);
        OK(job_store_begin(p->store, &p->error)); /* in another one: when that is through */
        assert_int_equal(act(p, c, JOB_INPUT_DELETED, 0), 0);
        assert_true(in_files(p, "VERYPERSONAL"));
        OK(job_store_end(p->store, 0, &p->error));
        assert_false(in_files(p, "VERYPERSONAL"));
        assert_false(in_files(p, "SECRETKEY"));
}

/* --- other files --- */

static void change(struct place *p, const char *text)
{
        sqlite3 *db;

        p->store = job_store_close(p->store);
        assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int try_open(struct place *p)
{
        p->error = BTH_ERROR_INIT;
        return job_store_open(p->path, &p->store, &p->error);
}

static void test_newer(void **state)
{
        struct place *p = *state;
        char text[2048];

        open_store(p);
        change(p, "PRAGMA user_version = 6");
        assert_int_equal(try_open(p), -EPROTONOSUPPORT);
        assert_int_equal(p->error.reason, BTH_REASON_STORE_NEWER);
        (void)bth_error_to_string(&p->error, text, sizeof text);
        assert_non_null(strstr(text, "version 6, and this program knows only up to version 5"));
        assert_non_null(strstr(text, p->path));
}

#define BACK_TO_4 "DROP INDEX jobs_of_alerts; DROP INDEX drives_counted; PRAGMA user_version = 4;"
#define BACK_TO_3                                                                         \
        BACK_TO_4 "DROP INDEX outbox_parked; ALTER TABLE outbox DROP COLUMN parked_usec;" \
                  "PRAGMA user_version = 3;"
#define BACK_TO_2                                                                                \
        BACK_TO_3 "DROP INDEX jobs_by_subscription; DROP INDEX jobs_of_subscription;"            \
                  "DROP INDEX jobs_of_scope; DROP INDEX jobs_of_name; DROP INDEX "               \
                  "personal_by_tracking;"                                                        \
                  "ALTER TABLE jobs DROP COLUMN subscription; ALTER TABLE personal DROP COLUMN " \
                  "tracking;"                                                                    \
                  "PRAGMA user_version = 2;"
#define BACK_TO_1                                                                           \
        BACK_TO_2 "DROP TABLE hub_conflicts; DROP TABLE hub_facets; DROP TABLE hub_events;" \
                  "DROP TABLE hub_stations; PRAGMA user_version = 1"

/* A file of the first version, as it was: it keeps what it has, and gets what came after it. */
static void test_older(void **state)
{
        struct place *p = *state;
        struct job_hub_result result;
        struct job_record *r;
        json_t *none = json_array();
        uint64_t id;

        open_store(p);
        id = add_job(p, "attic", 2);
        p->store = job_store_close(p->store);
        change(p, BACK_TO_1);
        open_store(p);
        OK(job_store_check(p->store, &p->error));
        OK(job_store_get(p->store, id, &r, &p->error));
        assert_string_equal(r->name, "attic");
        (void)job_record_free(r);
        OK(job_hub_take(p->store, none, "/stations/a", &policy, T0, &result, &p->error));
        reopen(p);
        json_decref(none);
}

static int count_one(void *userdata, const struct job_record *r)
{
        assert_string_equal(r->name, "attic");
        ++*(unsigned *)userdata;
        return 0;
}

static unsigned count_jobs(struct place *p, const char *scope, const char *tracking)
{
        const struct job_filter filter = {
                .scope = scope, .state = -1, .tracking = tracking, .limit = 9
        };
        unsigned n = 0;

        OK(job_store_list(p->store, &filter, count_one, &n, &p->error));
        return n;
}

/* What is looked for by columns of the third version is found in a file that had none of them. */
static void test_older_lists(void **state)
{
        struct place *p = *state;
        const struct job_draft_drive drive = { .serial = "QX7-1" };
        const struct job_draft draft = {
                .scope = "/subscriptions/S-1/resourceGroups/g",
                .name = "attic",
                .drives = &drive,
                .n_drives = 1,
                .personal[JOB_PERSONAL_DELIVERY_PACKAGE] =
                        "{\"carrierName\":\"X\",\"trackingNumber\":\"TRK-7a\"}",
        };
        uint64_t id, active = 0;

        open_store(p);
        OK(job_store_add(p->store, &draft, false, T0, "x", &id, &p->error));
        change(p, BACK_TO_2);
        open_store(p);
        OK(job_store_check(p->store, &p->error));
        assert_int_equal(count_jobs(p, "/subscriptions/s-1", NULL), 1);
        assert_int_equal(count_jobs(p, "/subscriptions/s-1/resourceGroups/G", NULL), 1);
        assert_int_equal(count_jobs(p, "/subscriptions/s-2", NULL), 0);
        assert_int_equal(count_jobs(p, NULL, "trk-7A"), 1);
        assert_int_equal(count_jobs(p, "/subscriptions/s-1", "TRK-7a"), 1);
        assert_int_equal(count_jobs(p, "/subscriptions/s-2", "TRK-7a"), 0);
        assert_int_equal(count_jobs(p, NULL, "TRK-7"), 0);
        OK(job_store_count_active(p->store, draft.scope, &active, &p->error));
        assert_int_equal(active, 1);
        OK(job_store_forget(p->store, id, &p->error));
        assert_int_equal(count_jobs(p, NULL, "TRK-7a"), 0);
        assert_false(in_files(p, "TRK-7a"));
}

static void test_foreign(void **state)
{
        struct place *p = *state;

        change(p, "CREATE TABLE t (x)");
        assert_int_equal(try_open(p), -EBADMSG);
        assert_int_equal(unlink(p->path), 0);
        assert_int_equal(bth_write_file_atomic(p->path, "this is no database at all", 26, 0600), 0);
        assert_int_equal(try_open(p), -EBADMSG);
        assert_int_equal(unlink(p->path), 0);
        assert_int_equal(mkdir(p->path, 0700), 0);
        assert_int_equal(try_open(p), -EINVAL);
        assert_int_equal(rmdir(p->path), 0);
}

static void test_damaged_record(void **state)
{
        struct place *p = *state;
        struct job_record *r;
        uint64_t id;

        open_store(p);
        id = add_job(p, "attic", 1);
        change(p, "UPDATE drives SET running = 1");
        open_store(p);
        assert_int_equal(job_store_get(p->store, id, &r, &p->error), -EBADMSG);
        assert_int_equal(job_store_check(p->store, &p->error), -EBADMSG);
        change(p, "UPDATE drives SET running = 0, activity = 999");
        open_store(p);
        assert_int_equal(job_store_get(p->store, id, &r, &p->error), -EBADMSG);
        change(p, "UPDATE drives SET activity = 1, idx = 4; DELETE FROM keys");
        open_store(p);
        assert_int_equal(job_store_get(p->store, id, &r, &p->error), -EBADMSG);
}

static void test_one_process(void **state)
{
        struct place *p = *state;
        pid_t child;
        int status;

        open_store(p);
        (void)add_job(p, "attic", 1);
        child = fork();
        if (child == 0) {
                struct job_store *other = NULL;

                _exit(job_store_open(p->path, &other, NULL) == -EBUSY ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
}

/* A full disk: what could not be stored did not happen, and it goes on when there is room. */
static void test_disk_full(void **state)
{
        struct place *p = *state;
        unsigned jobs = 0;
        int r = 0;

        open_store(p);
        change(p, "PRAGMA wal_checkpoint(TRUNCATE)");
        /* Files of this process may not grow beyond a limit: write(2) fails as on a full disk. */
        pid_t child = fork();

        if (child == 0) {
                const struct rlimit limit = { 600 << 10, 600 << 10 };
                const struct job_draft_drive drive = { .serial = "1" };
                char name[32];
                uint64_t id;

                (void)signal(SIGXFSZ, SIG_IGN);
                if (job_store_open(p->path, &p->store, NULL) < 0 ||
                    setrlimit(RLIMIT_FSIZE, &limit) < 0)
                        _exit(9);
                for (; jobs < 10000 && r == 0; jobs++) {
                        (void)snprintf(name, sizeof name, "j%u", jobs);
                        r = job_store_add(p->store,
                                          &(struct job_draft){
                                                  .name = name, .drives = &drive, .n_drives = 1 },
                                          false, T0, NULL, &id, &p->error);
                }
                /* It failed, and says so; reading goes on. */
                _exit(r < 0 && p->error.sentence[0] != '\0' && jobs > 2 &&
                                      job_store_check(p->store, NULL) == 0
                              ? 0
                              : 1);
        }
        assert_int_equal(waitpid(child, &r, 0), child);
        assert_int_equal(r, 0);
        open_store(p);
        OK(job_store_check(p->store, &p->error));
        (void)add_job(p, "after", 1);
}

/* --- kill -9 --- */

#define KILLS 40

/* Drives a job through its life again and again; after each commit it says the newest number of an
 * event that it knows to be stored. */
static _Noreturn void write_until_killed(const char *path, int out, unsigned round)
{
        const struct job_draft_drive drives[] = { { .serial = "A" }, { .serial = "B" } };
        static const enum job_input_kind life[] = { JOB_INPUT_DOCKED,   JOB_INPUT_BEGUN,
                                                    JOB_INPUT_PROGRESS, JOB_INPUT_CREDENTIALS,
                                                    JOB_INPUT_PROGRESS, JOB_INPUT_ENDED,
                                                    JOB_INPUT_EJECTED };
        struct job_store *store;
        uint64_t done = 0;

        if (job_store_open(path, &store, NULL) < 0)
                _exit(3);
        for (unsigned i = 0;; i++) {
                char name[64];
                uint64_t id;

                (void)snprintf(name, sizeof name, "job-%u-%u", round, i);
                if (job_store_add(store,
                                  &(struct job_draft){ .name = name,
                                                       .accept_unshipped = true,
                                                       .drives = drives,
                                                       .n_drives = 2 },
                                  false, T0, NULL, &id, NULL) < 0)
                        _exit(4);
                for (size_t k = 0; k < 2 * ARRAY_SIZE(life); k++) {
                        struct job_act a = { .job = id,
                                             .input = { .kind = life[k / 2],
                                                        .drive = k % 2,
                                                        .bytes = UINT64_MAX,
                                                        .bytes_done = ++done } };
                        struct job_outcome o;
                        uint64_t said[3] = { id, k, 0 };

                        if (job_store_apply(store, &a, &policy, T0 + done, NULL, &o, NULL) < 0)
                                _exit(5);
                        said[2] = o.n_changes;
                        if (write(out, said, sizeof said) != sizeof said)
                                _exit(6);
                }
        }
}

/* What is stored agrees with itself: the last event of a state says the state that is stored. */
struct replay {
        int job;
        int drives[JOB_MAX_DRIVES];
        unsigned n;
        uint64_t last;
};

static int replay(void *userdata, const struct job_event *e)
{
        struct replay *r = userdata;
        _cleanup_json_ json_t *j = NULL;
        const char *text;

        assert_true(e->seq > r->last);
        r->last = e->seq;
        r->n++;
        if (e->kind != JOB_CHANGE_JOB_STATE && e->kind != JOB_CHANGE_DRIVE_STATE)
                return 0;
        assert_int_equal(bth_json_parse(e->data, strlen(e->data), &j, NULL), 0);
        assert_int_equal(bth_json_get_string(j, "state", &text), 0);
        if (e->kind == JOB_CHANGE_JOB_STATE)
                r->job = bth_job_state_from_string(text);
        else
                r->drives[e->drive] = bth_drive_state_from_string(text);
        return 0;
}

static unsigned replay_job(struct place *p, uint64_t id)
{
        const struct job_event_filter f = { .job = id, .drive = JOB_NO_DRIVE, .limit = 1000 };
        struct job_record *r = get(p, id);
        struct replay seen = { 0 };

        OK(job_store_events(p->store, &f, replay, &seen, &p->error));
        assert_int_equal(seen.job, r->model.state);
        for (size_t i = 0; i < r->model.n_drives; i++)
                assert_int_equal(seen.drives[i], r->model.drives[i].state);
        (void)job_record_free(r);
        return seen.n;
}

/* The events that inputs 0 to k of the life above leave; progress replaces progress. */
static unsigned expected_events(const uint64_t changes[], uint64_t k)
{
        unsigned n = 1; /* job.made */

        for (uint64_t i = 0; i <= k; i++)
                n += (unsigned)changes[i];
        for (uint64_t i = 8; i <= k && i < 10; i++)
                n--; /* the second progress of a drive */
        return n;
}

static uint64_t next_random(uint64_t *state)
{
        uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);

        z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
        return z ^ z >> 31;
}

static void count(const uint64_t said[3], uint64_t *job, uint64_t *step, uint64_t *changes,
                  unsigned *acknowledged)
{
        *job = said[0];
        *step = said[1];
        changes[*step] = said[2];
        ++*acknowledged;
}

static void test_kill(void **state)
{
        struct place *p = *state;
        const uint64_t seed = bth_now_realtime_usec();
        uint64_t random = seed;
        unsigned acknowledged = 0;

        print_message("seed %llu\n", (unsigned long long)seed);
        for (unsigned round = 0; round < KILLS; round++) {
                uint64_t said[3] = { 0 }, job = 0, step = 0, changes[16] = { 0 };
                int fds[2];
                pid_t child;

                assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
                child = fork();
                if (child == 0)
                        write_until_killed(p->path, fds[1], round);
                (void)close(fds[1]);
                /* Some commits, and then a moment anywhere in the next ones. */
                for (unsigned wanted = 1 + (unsigned)(next_random(&random) % 20);
                     bth_read_full(fds[0], said, sizeof said) == 0;
                     count(said, &job, &step, changes, &acknowledged))
                        if (wanted-- == 0)
                                break;
                (void)usleep((useconds_t)(next_random(&random) % 3000));
                assert_int_equal(kill(child, SIGKILL), 0);
                assert_int_equal(waitpid(child, NULL, 0), child);
                do
                        count(said, &job, &step, changes, &acknowledged);
                while (bth_read_full(fds[0], said, sizeof said) == 0);
                (void)close(fds[0]);
                open_store(p);
                OK(job_store_check(p->store, &p->error));
                if (job > 0)
                        assert_true(replay_job(p, job) >= expected_events(changes, step));
                for (uint64_t id = job; id > 1 && id + 5 > job; id--)
                        (void)replay_job(p, id - 1);
                p->store = job_store_close(p->store);
        }
        print_message("%u commits acknowledged over %d kills\n", acknowledged, KILLS);
        assert_true(acknowledged > KILLS);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_forget),      TEST(test_newer),     TEST(test_older),
                TEST(test_older_lists), TEST(test_foreign),   TEST(test_damaged_record),
                TEST(test_one_process), TEST(test_disk_full), TEST(test_kill),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
