/* SPDX-License-Identifier: GPL-3.0-or-later */
/* spool - what is taken from the folder, what waits, where it goes; and a stop at any moment makes
 * no job twice and loses none. Real worker, real store. */
#include "station-world.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/time.h"
#include "daemon/spool-entry.h"
#include "daemon/spool.h"

#define TURNS_MAX 400 /* of the loop, until something must have happened */

struct seen {
        struct world w;
        struct dmn_spool *spool;
        unsigned n_imports, n_made;
        int fail_with; /* the next imports; 0: the real thing */
};

static int import(void *userdata, struct dmn_import *i, dmn_import_fn done, void *done_userdata,
                  struct dmn_importing **ret, struct bth_error *error)
{
        struct seen *s = userdata;

        s->n_imports++;
        if (s->fail_with < 0)
                return bth_error_set(error, s->fail_with, BTH_REASON_INTERNAL, "not now");
        if (!i->account)
                i->account = "photos";
        return dmn_import_begin(s->w.loop, s->w.store, s->w.config, i, done, done_userdata, ret,
                                error);
}

static void made(void *userdata, uint64_t job)
{
        struct seen *s = userdata;

        assert_true(job > 0);
        s->n_made++;
}

static void start(struct seen *s)
{
        static const struct dmn_spool_events events = { import, made };
        struct bth_error e = BTH_ERROR_INIT;

        if (dmn_spool_new(s->w.loop, world_path(&s->w, "spool"), &events, s, &s->spool, &e) < 0)
                fail_msg("%s: %s", e.object, e.sentence);
}

static int set_up(void **state)
{
        struct seen *s = calloc(1, sizeof *s);

        assert_non_null(s);
        world_new(&s->w, NULL);
        assert_int_equal(mkdir(world_path(&s->w, "spool"), 0700), 0);
        *state = s;
        return 0;
}

static int tear_down(void **state)
{
        struct seen *s = *state;

        s->spool = dmn_spool_free(s->spool);
        world_free(&s->w);
        free(s);
        return 0;
}

static bool is_there(struct seen *s, const char *name)
{
        return access(world_path(&s->w, name), F_OK) == 0;
}

static void make_folder(struct seen *s, const char *name)
{
        assert_int_equal(mkdir(world_path(&s->w, name), 0700), 0);
}

static void rename_to(struct seen *s, const char *from, const char *to)
{
        assert_int_equal(rename(world_path(&s->w, from), world_path(&s->w, to)), 0);
}

/* Everything that is to be done now. */
static void settle(struct seen *s)
{
        while (sd_event_run(s->w.loop, 0) > 0)
                ;
}

static void wait_for(struct seen *s, const char *name)
{
        for (int i = 0; i < TURNS_MAX && !is_there(s, name); i++)
                assert_true(sd_event_run(s->w.loop, 100000) >= 0);
        if (!is_there(s, name))
                fail_msg("'%s' did not come", name);
        settle(s);
}

static void expect_text(struct seen *s, const char *name, const char *says)
{
        char *text;
        size_t n;

        assert_int_equal(bth_read_file(world_path(&s->w, name), 100000, &text, &n), 0);
        if (!strstr(text, says))
                fail_msg("'%s' does not say '%s': %s", name, says, text);
        assert_null(strstr(text, "447062-"));
        free(text);
}

/* --- jobs of the store --- */

struct all {
        char names[512];
        struct job_record *last;
};

static int collect(void *userdata, const struct job_record *r)
{
        struct all *a = userdata;

        (void)snprintf(a->names + strlen(a->names), sizeof a->names - strlen(a->names), "%s ",
                       r->name);
        return 0;
}

static int list(struct job_store *s, void *userdata, struct bth_error *error)
{
        const struct job_filter f = { .state = -1, .limit = 100 };

        return job_store_list(s, &f, collect, userdata, error);
}

static void expect_jobs(struct seen *s, const char *names)
{
        struct all a = { .names = "" };

        assert_int_equal(job_thread_submit(s->w.store, list, NULL, &a), 0);
        while (job_thread_pending(s->w.store) > 0)
                assert_true(sd_event_run(s->w.loop, UINT64_MAX) >= 0);
        assert_string_equal(a.names, names);
}

/* --- what is taken --- */

static void test_single(void **state)
{
        struct seen *s = *state;

        start(s);
        world_write(&s->w, "spool/a.jrn", world_journal("ONE1")); /* by rename */
        wait_for(s, "spool/done/a.jrn.txt");
        expect_text(s, "spool/done/a.jrn.txt", "The job 'a-job' was made");
        assert_true(is_there(s, "spool/done/a.jrn"));
        assert_int_equal(s->n_made, 1);
        expect_jobs(s, "a-job ");
}

/* A file that is being written is left alone until it is closed, however long that takes. */
static void test_half_written(void **state)
{
        struct seen *s = *state;
        const char *text = world_journal("ONE1");
        int fd;

        start(s);
        settle(s);
        fd = open(world_path(&s->w, "spool/slow.jrn"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, text, 20), 20);
        settle(s);
        dmn_spool_again(s->spool);
        settle(s);
        assert_int_equal(s->n_imports, 0);
        assert_int_equal(write(fd, text + 20, strlen(text) - 20), (ssize_t)strlen(text) - 20);
        close(fd);
        wait_for(s, "spool/done/slow.jrn.txt");
        assert_int_equal(s->n_made, 1);
}

/* One that was there at the start is taken once it has been quiet. */
static void test_there_at_start(void **state)
{
        struct seen *s = *state;
        const struct timespec old[2] = { { .tv_sec = 1000000 }, { .tv_sec = 1000000 } };

        world_write(&s->w, "spool/new.jrn", world_journal("ONE1"));
        world_write(&s->w, "spool/old.jrn", world_journal("TWO2"));
        assert_int_equal(utimensat(AT_FDCWD, world_path(&s->w, "spool/old.jrn"), old, 0), 0);
        start(s);
        wait_for(s, "spool/done/old.jrn.txt");
        assert_true(is_there(s, "spool/new.jrn"));
        expect_jobs(s, "old ");
}

static void test_passed_over(void **state)
{
        struct seen *s = *state;

        start(s);
        world_write(&s->w, "spool/.hidden.jrn", world_journal("ONE1"));
        world_write(&s->w, "spool/readme.txt", "hello");
        world_write(&s->w, "spool/b.jrn.part", world_journal("ONE1"));
        settle(s);
        assert_int_equal(s->n_imports, 0);
        assert_true(is_there(s, "spool/readme.txt"));
}

static void test_folder(void **state)
{
        struct seen *s = *state;

        start(s);
        make_folder(s, "spool/Lab 7");
        world_write(&s->w, "spool/Lab 7/one.jrn", world_journal("ONE1"));
        world_write(&s->w, "spool/Lab 7/TWO.XML", world_journal("TWO2"));
        world_write(&s->w, "spool/Lab 7/notes.txt", "to whom it may concern");
        settle(s);
        assert_int_equal(s->n_imports, 0);
        world_write(&s->w, "spool/Lab 7/ready", "");
        wait_for(s, "spool/done/Lab 7/result.txt");
        expect_text(s, "spool/done/Lab 7/result.txt", "'lab-7' was made");
        assert_true(is_there(s, "spool/done/Lab 7/one.jrn"));
        expect_jobs(s, "lab-7 ");
}

/* A folder that is renamed in is whole; that is kept in it, for the next start. */
static void test_renamed_in(void **state)
{
        struct seen *s = *state;

        make_folder(s, "batch");
        world_write(&s->w, "batch/one.jrn", world_journal("ONE1"));
        s->fail_with = -EIO;
        start(s);
        rename_to(s, "batch", "spool/batch");
        while (s->n_imports == 0)
                assert_true(sd_event_run(s->w.loop, UINT64_MAX) >= 0);
        assert_true(is_there(s, "spool/batch/ready"));
        s->spool = dmn_spool_free(s->spool);
        s->fail_with = 0;
        start(s);
        wait_for(s, "spool/done/batch/result.txt");
        expect_jobs(s, "batch ");
}

static void test_conf(void **state)
{
        struct seen *s = *state;

        start(s);
        make_folder(s, "batch");
        world_write(&s->w, "batch/one.jrn", world_journal("ONE1"));
        world_write(&s->w, "batch/job.conf",
                    "[job]\naccount = photos\nname = trip-to-sea\nverbose_log = yes\n"
                    "carrier = Blue Post\ntracking = 1Z \"9\"\n");
        rename_to(s, "batch", "spool/batch");
        wait_for(s, "spool/done/batch/result.txt");
        expect_jobs(s, "trip-to-sea ");
}

static void test_conf_values(void **state)
{
        struct dmn_spool_entry e = { .verbose_log = -1, .accept_unshipped = -1 };
        struct bth_error error = BTH_ERROR_INIT;
        static const char good[] = "[job]\naccount = a\ncarrier = C\ntracking = \"1\\\n"
                                   "verbose_log = no\n";
        static const struct {
                const char *text, *says;
                uint64_t line;
        } bad[] = {
                { "[job]\ncarrier = C\n", "come together", 0 },
                { "[job]\ncolour = red\n", "no key 'colour'", 2 },
                { "[job]\nverbose_log = maybe\n", "yes or no", 2 },
                { "[job]\nname =\n", "1 to 512", 2 },
                { "[jobs]\n", "no section [jobs]", 1 },
                { "name = x\n", "", 1 },
        };

        (void)state;
        assert_int_equal(dmn_spool_conf_parse(good, strlen(good), &e, &error), 0);
        assert_string_equal(e.package, "{\"carrierName\":\"C\",\"trackingNumber\":\"\\\"1\\\\\"}");
        assert_int_equal(e.verbose_log, 0);
        assert_int_equal(e.accept_unshipped, -1);
        dmn_spool_entry_clear(&e);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                bth_error_clear(&error);
                if (dmn_spool_conf_parse(bad[i].text, strlen(bad[i].text), &e, &error) >= 0 ||
                    !strstr(error.sentence, bad[i].says) || error.line != bad[i].line)
                        fail_msg("%s: line %u: %s", bad[i].text, (unsigned)error.line,
                                 error.sentence);
                dmn_spool_entry_clear(&e);
        }
}

/* --- what is not --- */

static void test_rejected(void **state)
{
        struct seen *s = *state;

        start(s);
        world_write(&s->w, "spool/bad.jrn", "this is no journal");
        wait_for(s, "spool/rejected/bad.jrn.txt");
        expect_text(s, "spool/rejected/bad.jrn.txt", "bad.jrn");
        assert_int_equal(symlink("/etc/passwd", world_path(&s->w, "spool/link.jrn")), 0);
        dmn_spool_again(s->spool);
        wait_for(s, "spool/rejected/link.jrn.txt");
        expect_text(s, "spool/rejected/link.jrn.txt", "link");
        make_folder(s, "empty");
        rename_to(s, "empty", "spool/empty");
        wait_for(s, "spool/rejected/empty/result.txt");
        expect_text(s, "spool/rejected/empty/result.txt", "no journal");
        make_folder(s, "other");
        world_write(&s->w, "other/one.jrn", world_journal("ONE1"));
        world_write(&s->w, "other/job.conf", "[job]\naccount = unknown\n");
        rename_to(s, "other", "spool/other");
        wait_for(s, "spool/rejected/other/result.txt");
        expect_text(s, "spool/rejected/other/result.txt", "'unknown' is not configured");
        expect_jobs(s, "");
}

/* Nothing that is there is written over. */
static void test_same_name(void **state)
{
        struct seen *s = *state;

        start(s);
        world_write(&s->w, "spool/a.jrn", world_journal("ONE1"));
        wait_for(s, "spool/done/a.jrn.txt");
        world_write(&s->w, "spool/a.jrn", world_journal("TWO2"));
        wait_for(s, "spool/done/a.jrn.2.txt");
        expect_jobs(s, "a-job-2 a-job ");
}

/* What cannot be done now stays where it is, and is told of once. */
static void test_later(void **state)
{
        struct seen *s = *state;

        s->fail_with = -EAGAIN;
        start(s);
        world_write(&s->w, "spool/a.jrn", world_journal("ONE1"));
        while (s->n_imports == 0)
                assert_true(sd_event_run(s->w.loop, UINT64_MAX) >= 0);
        settle(s);
        assert_int_equal(s->n_imports, 1); /* not again and again */
        assert_true(is_there(s, "spool/a.jrn"));
        s->fail_with = 0;
        dmn_spool_again(s->spool);
        wait_for(s, "spool/done/a.jrn.txt");
}

/* --- stops --- */

/* The job is stored, and the station ends before the entry is moved. */
static void test_stop_after_store(void **state)
{
        struct seen *s = *state;

        start(s);
        world_write(&s->w, "spool/a.jrn", world_journal("ONE1"));
        while (job_thread_pending(s->w.store) == 0)
                assert_true(sd_event_run(s->w.loop, UINT64_MAX) >= 0);
        s->spool = dmn_spool_free(s->spool); /* its answer will find nobody */
        assert_true(is_there(s, "spool/a.jrn"));
        expect_jobs(s, "a-job ");
        assert_int_equal(utimensat(AT_FDCWD, world_path(&s->w, "spool/a.jrn"),
                                   (const struct timespec[2]){ { .tv_sec = 1 }, { .tv_sec = 1 } },
                                   0),
                         0);
        start(s);
        wait_for(s, "spool/done/a.jrn.txt");
        expect_text(s, "spool/done/a.jrn.txt", "'a-job' was made from this before");
        expect_jobs(s, "a-job ");
        assert_int_equal(s->n_made, 0);
}

/* The station ends while the journal is being read. */
static void test_stop_before_store(void **state)
{
        struct seen *s = *state;

        make_folder(s, "batch");
        world_write(&s->w, "batch/one.jrn", world_journal("ONE1"));
        start(s);
        rename_to(s, "batch", "spool/batch");
        while (s->n_imports == 0)
                assert_true(sd_event_run(s->w.loop, UINT64_MAX) >= 0);
        s->spool = dmn_spool_free(s->spool);
        expect_jobs(s, "");
        start(s);
        wait_for(s, "spool/done/batch/result.txt");
        expect_jobs(s, "batch ");
}

static void make_old(struct seen *s, const char *name)
{
        const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = 1000000 } };

        assert_int_equal(utimensat(AT_FDCWD, world_path(&s->w, name), times, 0), 0);
}

/* Journals and what stands in job.conf do not outlive their jobs; what others keep there does. */
static void test_forgets(void **state)
{
        struct seen *s = *state;

        make_folder(s, "spool/done");
        make_folder(s, "spool/done/old");
        make_folder(s, "spool/done/new");
        make_folder(s, "spool/done/foreign");
        make_folder(s, "spool/rejected");
        world_write(&s->w, "spool/done/old/a.jrn", "key");
        world_write(&s->w, "spool/done/old/job.conf", "tracking");
        world_write(&s->w, "spool/done/old/result.txt", "made");
        world_write(&s->w, "spool/done/new/a.jrn", "key");
        world_write(&s->w, "spool/done/new/result.txt", "made");
        world_write(&s->w, "spool/done/foreign/a.jrn", "key");
        world_write(&s->w, "spool/done/notes", "of somebody");
        world_write(&s->w, "spool/rejected/b.jrn", "key");
        world_write(&s->w, "spool/rejected/b.jrn.txt", "rejected");
        make_old(s, "spool/done/old/result.txt");
        make_old(s, "spool/done/new/a.jrn");
        make_old(s, "spool/done/foreign/a.jrn");
        make_old(s, "spool/done/notes");
        make_old(s, "spool/rejected/b.jrn.txt");
        dmn_spool_forget(world_path(&s->w, "spool"), 2000000 * BTH_USEC_PER_SEC);
        assert_false(is_there(s, "spool/done/old"));
        assert_true(is_there(s, "spool/done/new/a.jrn"));
        assert_true(is_there(s, "spool/done/foreign/a.jrn"));
        assert_true(is_there(s, "spool/done/notes"));
        assert_false(is_there(s, "spool/rejected/b.jrn"));
        assert_false(is_there(s, "spool/rejected/b.jrn.txt"));
        dmn_spool_forget(world_path(&s->w, "nowhere"), UINT64_MAX);
}

/* --- what is forgotten of one job --- */

struct forgetting {
        struct seen *s;
        const char *name;
        int r; /* what came of it */
        struct bth_error error;
};

static int forget_task(struct job_store *store, void *userdata, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        struct forgetting *f = userdata;

        assert_int_equal(job_store_find(store, NULL, f->name, &record, error), 0);
        f->r = dmn_spool_forget_job(world_path(&f->s->w, "spool"), store, record, &f->error);
        return 0;
}

static struct forgetting forget(struct seen *s, const char *name)
{
        struct forgetting f = { .s = s, .name = name, .error = BTH_ERROR_INIT };

        assert_int_equal(job_thread_submit(s->w.store, forget_task, NULL, &f), 0);
        while (job_thread_pending(s->w.store) > 0)
                assert_true(sd_event_run(s->w.loop, UINT64_MAX) >= 0);
        return f;
}

/* What the job's entry holds goes, however it came; what is another's, or looks like it, stays. */
static void test_forgets_one_job(void **state)
{
        struct seen *s = *state;

        start(s);
        make_folder(s, "trip");
        world_write(&s->w, "trip/one.jrn", world_journal("ONE1"));
        world_write(&s->w, "trip/two.xml", world_journal("TWO2"));
        world_write(&s->w, "trip/notes.txt", "Anna Example, Graz");
        world_write(&s->w, "trip/job.conf", "[job]\ncarrier = Blue Post\ntracking = 1Z9\n");
        rename_to(s, "trip", "spool/trip");
        wait_for(s, "spool/done/trip/result.txt");
        world_write(&s->w, "spool/lone.jrn", world_journal("LONE"));
        wait_for(s, "spool/done/lone.jrn.txt");
        world_write(&s->w, "spool/lone.jrn", world_journal("LONE")); /* once more: the same job */
        wait_for(s, "spool/done/lone.jrn.2.txt");
        world_write(&s->w, "spool/other.jrn", world_journal("OTHER"));
        wait_for(s, "spool/done/other.jrn.txt");
        make_folder(s, "spool/done/before"); /* a job of this name that there was before */
        world_write(&s->w, "spool/done/before/a.jrn", world_journal("OLD"));
        world_write(&s->w, "spool/done/before/result.txt", "The job 'lone' was made.\n");
        make_folder(s, "spool/done/silent"); /* nobody says whose it is */
        world_write(&s->w, "spool/done/silent/a.jrn", world_journal("LONE"));
        world_write(&s->w, "spool/rejected/lone.jrn", world_journal("LONE"));
        expect_jobs(s, "other lone trip ");

        assert_int_equal(forget(s, "lone").r, 0);
        assert_false(is_there(s, "spool/done/lone.jrn") || is_there(s, "spool/done/lone.jrn.txt") ||
                     is_there(s, "spool/done/lone.jrn.2") ||
                     is_there(s, "spool/done/lone.jrn.2.txt"));
        assert_true(is_there(s, "spool/done/before/a.jrn"));
        assert_true(is_there(s, "spool/done/silent/a.jrn"));
        assert_true(is_there(s, "spool/rejected/lone.jrn"));
        assert_true(is_there(s, "spool/done/trip/job.conf"));
        assert_int_equal(forget(s, "trip").r, 0);
        assert_false(is_there(s, "spool/done/trip"));
        assert_true(is_there(s, "spool/done/other.jrn") && is_there(s, "spool/done/other.jrn.txt"));
        assert_int_equal(forget(s, "trip").r, 0); /* twice is well */
}

/* Who can write in the spool cannot have other files taken away by links. */
static void test_forgets_no_links(void **state)
{
        struct seen *s = *state;
        struct forgetting f;

        start(s);
        world_write(&s->w, "spool/lone.jrn", world_journal("LONE"));
        wait_for(s, "spool/done/lone.jrn.txt");
        make_folder(s, "trip");
        world_write(&s->w, "trip/one.jrn", world_journal("ONE1"));
        rename_to(s, "trip", "spool/trip");
        wait_for(s, "spool/done/trip/result.txt");
        make_folder(s, "precious");
        world_write(&s->w, "precious/a.jrn", world_journal("LONE"));
        world_write(&s->w, "precious/result.txt", "The job 'lone' was made.\n");
        assert_int_equal(
                symlink(world_path(&s->w, "precious"), world_path(&s->w, "spool/done/link")), 0);
        world_write(&s->w, "spool/done/x.jrn.txt", "The job 'lone' was made.\n");
        assert_int_equal(
                symlink(world_path(&s->w, "precious/a.jrn"), world_path(&s->w, "spool/done/x.jrn")),
                0);
        assert_int_equal(symlink(world_path(&s->w, "precious/a.jrn"),
                                 world_path(&s->w, "spool/done/trip/notes")),
                         0);
        assert_int_equal(forget(s, "lone").r, 0);
        assert_int_equal(forget(s, "trip").r, 0);
        assert_false(is_there(s, "spool/done/lone.jrn") || is_there(s, "spool/done/trip"));
        assert_true(is_there(s, "precious/a.jrn") && is_there(s, "precious/result.txt"));
        assert_true(is_there(s, "spool/done/x.jrn.txt"));

        /* What cannot be taken away is said, and the next time it goes. */
        world_write(&s->w, "spool/stay.jrn", world_journal("STAY"));
        wait_for(s, "spool/done/stay.jrn.txt");
        make_folder(s, "spool/done/stays");
        rename_to(s, "spool/done/stay.jrn", "spool/done/stays/a.jrn");
        rename_to(s, "spool/done/stay.jrn.txt", "spool/done/stays/result.txt");
        make_folder(s, "spool/done/stays/inner");
        f = forget(s, "stay");
        assert_int_equal(f.r, -EPERM);
        assert_string_equal(f.error.object, "stays");
        assert_true(is_there(s, "spool/done/stays/result.txt"));
        assert_int_equal(rmdir(world_path(&s->w, "spool/done/stays/inner")), 0);
        assert_int_equal(forget(s, "stay").r, 0);
        assert_false(is_there(s, "spool/done/stays"));
}

static void test_no_folder(void **state)
{
        static const struct dmn_spool_events events = { import, made };
        struct seen *s = *state;
        struct bth_error e = BTH_ERROR_INIT;

        assert_int_equal(dmn_spool_new(s->w.loop, "/nowhere/at/all", &events, s, &s->spool, &e),
                         -ENOENT);
        assert_string_equal(e.object, "/nowhere/at/all");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(test_single),
                TEST(test_half_written),
                TEST(test_there_at_start),
                TEST(test_passed_over),
                TEST(test_folder),
                TEST(test_renamed_in),
                TEST(test_conf),
                TEST(test_conf_values),
                TEST(test_rejected),
                TEST(test_same_name),
                TEST(test_later),
                TEST(test_stop_after_store),
                TEST(test_stop_before_store),
                TEST(test_forgets),
                TEST(test_forgets_one_job),
                TEST(test_forgets_no_links),
                TEST(test_no_folder),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
