/* SPDX-License-Identifier: GPL-3.0-or-later */
/* station-import - jobs from journals, by the real worker and the real store. */
#include "station-world.h"

#include "daemon/import.h"

struct heard {
        struct dmn_importing *importing;
        unsigned n_calls;
        uint64_t job;
        char name[DMN_IMPORT_NAME_MAX];
        bool already;
        struct bth_error error;
};

static void done(void *userdata, const struct dmn_imported *imported, const struct bth_error *error)
{
        struct heard *h = userdata;

        h->n_calls++;
        if (imported) {
                h->job = imported->job;
                h->already = imported->already;
                (void)snprintf(h->name, sizeof h->name, "%s", imported->name);
        } else
                h->error = *error;
        h->importing = dmn_import_free(h->importing);
}

static struct dmn_import plain(void)
{
        return (struct dmn_import){ .account = "photos",
                                    .who = "test",
                                    .verbose_log = -1,
                                    .backup_manifest = -1,
                                    .accept_unshipped = -1 };
}

/* Imports `texts` as journals; `import` says the rest. */
static int import(struct world *w, const char *const *texts, size_t n, struct dmn_import import,
                  struct heard *h)
{
        struct dmn_journal *journals[BTH_JOURNALS_MAX] = { NULL };
        int r;

        *h = (struct heard){ .error = BTH_ERROR_INIT };
        for (size_t i = 0; i < n; i++)
                assert_int_equal(dmn_journal_new(i == 0 ? "Lab 7_A.jrn" : "other.jrn", texts[i],
                                                 strlen(texts[i]), &journals[i], NULL),
                                 0);
        import.journals = journals;
        import.n_journals = n;
        r = dmn_import_begin(w->loop, w->store, w->config, &import, done, h, &h->importing,
                             &h->error);
        for (size_t i = 0; i < n; i++)
                (void)dmn_journal_free(journals[i]);
        if (r < 0)
                return r;
        while (h->n_calls == 0)
                assert_true(sd_event_run(w->loop, UINT64_MAX) >= 0);
        assert_int_equal(h->n_calls, 1);
        return h->error.code;
}

struct look {
        uint64_t job;
        struct job_record *record;
        struct bth_secret *key;
};

static int look(struct job_store *s, void *userdata, struct bth_error *error)
{
        struct look *l = userdata;
        int r = job_store_get(s, l->job, &l->record, error);

        return r < 0 ? r : job_store_key(s, l->job, 0, &l->key, error);
}

static void expect_import(struct world *w, const char *const *texts, size_t n, struct dmn_import i,
                          struct heard *h)
{
        int r = import(w, texts, n, i, h);

        if (r < 0)
                fail_msg("%s: %s", h->error.object, h->error.sentence);
}

static void expect_error(struct world *w, const char *const *texts, size_t n, struct dmn_import i,
                         int code, const char *says)
{
        struct heard h;
        int r = import(w, texts, n, i, &h);

        if (r != code || !strstr(h.error.sentence, says))
                fail_msg("%d: %s", r, h.error.sentence);
}

static void test_import(void **state)
{
        const char *const texts[] = { world_journal("ONE1"), world_journal("TWO2"),
                                      world_journal("one 1") };
        struct look l = { .record = NULL };
        struct world w;
        struct heard h;

        (void)state;
        world_new(&w, NULL);
        expect_import(&w, texts, 3, plain(), &h);
        assert_true(h.job > 0);
        assert_string_equal(h.name, "lab-7-a");
        l.job = h.job;
        assert_int_equal(job_thread_submit(w.store, look, NULL, &l), 0);
        world_close_store(&w);
        assert_string_equal(l.record->name, "lab-7-a");
        assert_string_equal(l.record->account, "/accounts/photos");
        assert_string_equal(l.record->location, "Lab");
        assert_string_equal(l.record->origin, "journal");
        assert_int_equal(l.record->model.n_drives, 2); /* the same drive twice is one */
        assert_string_equal(l.record->drives[1].serial, "TWO2");
        assert_true(l.record->model.accept_unshipped);
        assert_int_equal(l.key->length_bytes, 55);
        (void)job_record_free(l.record);
        (void)bth_secret_free(l.key);
        world_free(&w);
}

/* A second time by the same journals: the same job when it is asked for once; else an error. */
static void test_once(void **state)
{
        const char *const texts[] = { world_journal("ONE1") };
        struct dmn_import i = plain();
        struct world w;
        struct heard first, second;

        (void)state;
        world_new(&w, NULL);
        i.once = true;
        expect_import(&w, texts, 1, i, &first);
        assert_false(first.already);
        expect_import(&w, texts, 1, i, &second);
        assert_true(second.already);
        assert_int_equal(second.job, first.job);
        assert_string_equal(second.name, first.name);
        expect_error(&w, texts, 1, plain(), -EEXIST, "belongs to the job 'lab-7-a'");
        world_free(&w);
}

static void test_some_drives(void **state)
{
        const char *const texts[] = { world_journal("ONE1"), world_journal("TWO2") };
        const char *const one[] = { "t wo2" }, *const other[] = { "THREE3" };
        struct dmn_import i = plain();
        struct world w;
        struct heard h;

        (void)state;
        world_new(&w, NULL);
        i.serials = other;
        i.n_serials = 1;
        expect_error(&w, texts, 2, i, -ENOENT, "THREE3");
        i.serials = one;
        expect_import(&w, texts, 2, i, &h);
        i.serials = NULL;
        i.n_serials = 0;
        expect_import(&w, texts, 1, i, &h); /* the other one is still free */
        assert_string_equal(h.name, "lab-7-a-2");
        world_free(&w);
}

static void test_refused(void **state)
{
        const char *const texts[] = { world_journal("ONE1") }, *const bad[] = { "no journal" };
        const char *const repeated[] = { world_journal("00000000") };
        struct dmn_import i = plain();
        struct world w;

        (void)state;
        world_new(&w, NULL);
        expect_error(&w, texts, 0, i, -EINVAL, "no journal");
        expect_error(&w, bad, 1, i, -EBADMSG, "");
        expect_error(&w, repeated, 1, i, -EINVAL, "tells no drive");
        i.name = "Not A Name";
        expect_error(&w, texts, 1, i, -EINVAL, "is not allowed");
        i = plain();
        i.account = "other";
        expect_error(&w, texts, 1, i, -ENOENT, "not configured");
        i.account = NULL;
        expect_error(&w, texts, 1, i, -EINVAL, "no storage account");
        world_free(&w);
}

static void test_quota(void **state)
{
        const char *const one[] = { world_journal("ONE1") }, *const two[] = { world_journal(
                                                                     "TWO2") };
        struct world w;
        struct heard h;

        (void)state;
        world_new(&w, "[station]\nmax_jobs = 1\n");
        expect_import(&w, one, 1, plain(), &h);
        expect_error(&w, two, 1, plain(), -EDQUOT, "active jobs");
        world_free(&w);
}

/* Whoever asked may go at any time; what is in the store then ends by itself. */
static void test_gone(void **state)
{
        const char *text = world_journal("ONE1");
        struct dmn_importing *importing;
        struct dmn_journal *journal;
        struct dmn_import i = plain();
        struct heard h = { .n_calls = 0 };
        struct world w;

        (void)state;
        world_new(&w, NULL);
        assert_int_equal(dmn_journal_new("a.jrn", text, strlen(text), &journal, NULL), 0);
        i.journals = &journal;
        i.n_journals = 1;
        assert_int_equal(
                dmn_import_begin(w.loop, w.store, w.config, &i, done, &h, &importing, NULL), 0);
        importing = dmn_import_free(importing); /* while it is read */
        assert_int_equal(
                dmn_import_begin(w.loop, w.store, w.config, &i, done, &h, &importing, NULL), 0);
        while (job_thread_pending(w.store) == 0)
                assert_true(sd_event_run(w.loop, UINT64_MAX) >= 0);
        importing = dmn_import_free(importing); /* while it is stored */
        (void)dmn_journal_free(journal);
        world_free(&w);
        assert_int_equal(h.n_calls, 0);
}

static void test_names(void **state)
{
        static const struct {
                const char *file, *name;
        } cases[] = {
                { "Lab 7_A.jrn", "lab-7-a" },
                { "/srv/x/9WM35C2V.jrn", "job-9wm35c2v" },
                { "a.jrn", "a-job" },
                { "---.jrn", "job" },
                { ".jrn", "jrn" },
                { "\xc3\xa4\xc3\xb6.jrn", "job" },
                { "a-very-long-name-that-goes-on-and-on.jrn", "a-very-long-name-that-go" },
        };
        char name[DMN_IMPORT_NAME_MAX];

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                dmn_import_name(cases[i].file, name);
                assert_string_equal(name, cases[i].name);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_import),      cmocka_unit_test(test_once),
                cmocka_unit_test(test_some_drives), cmocka_unit_test(test_refused),
                cmocka_unit_test(test_quota),       cmocka_unit_test(test_gone),
                cmocka_unit_test(test_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
