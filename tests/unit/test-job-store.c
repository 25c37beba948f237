/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The store: what is written is found again, also after kill -9 at any moment; history and outbox;
 * personal data that is gone when it was taken away; files of other versions and other kinds. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/io.h"
#include "base/json.h"
#include "base/str.h"
#include "base/time.h"
#include "jobs/event.h"
#include "jobs/hub.h"
#include "jobs/store.h"

#define T0 UINT64_C(1900000000000000)

static const struct job_policy policy;

struct place {
        char folder[64];
        char path[96];
        struct job_store *store;
        struct bth_error error;
};

static int set_up(void **state)
{
        struct place *p = calloc(1, sizeof *p);

        assert_non_null(p);
        (void)snprintf(p->folder, sizeof p->folder, "/tmp/berth-store-XXXXXX");
        assert_non_null(mkdtemp(p->folder));
        (void)snprintf(p->path, sizeof p->path, "%s/berth.db", p->folder);
        *state = p;
        return 0;
}

static int tear_down(void **state)
{
        struct place *p = *state;
        DIR *d = opendir(p->folder);
        const struct dirent *e;

        (void)job_store_close(p->store);
        while (d && (e = readdir(d)))
                (void)unlinkat(dirfd(d), e->d_name, 0);
        (void)closedir(d);
        assert_int_equal(rmdir(p->folder), 0);
        free(p);
        return 0;
}

#define OK(call)                                                                \
        do {                                                                    \
                p->error = BTH_ERROR_INIT;                                      \
                int ok_r = (call);                                              \
                if (ok_r < 0)                                                   \
                        fail_msg("%s: %d, %s", #call, ok_r, p->error.sentence); \
        } while (0)

static void open_store(struct place *p)
{
        OK(job_store_open(p->path, &p->store, &p->error));
}

static void reopen(struct place *p)
{
        p->store = job_store_close(p->store);
        open_store(p);
}

static uint64_t add_job(struct place *p, const char *name, size_t n)
{
        static const char *const serials[] = { "QX 7-1", "QX7-2", "QX7-3" };
        struct job_draft_drive drives[3] = { 0 };
        struct bth_secret *key;
        uint64_t id;

        assert_int_equal(bth_secret_new_copy("SECRETKEY-1234", 14, &key), 0);
        for (size_t i = 0; i < n; i++)
                drives[i] = (struct job_draft_drive){ .serial = serials[i],
                                                      .manifest_file = "\\DriveManifest.xml",
                                                      .manifest_hash = "AB",
                                                      .key = i == 0 ? key : NULL };
        OK(job_store_add(
                p->store,
                &(struct job_draft){ .name = name,
                                     .account = "/subscriptions/1/…/acct",
                                     .origin = "journal",
                                     .journal_name = "a.jrn",
                                     .accept_unshipped = true,
                                     .personal = { "{\"recipientName\":\"VERYPERSONAL\"}" },
                                     .drives = drives,
                                     .n_drives = n },
                false, T0, "uid 1000", &id, &p->error));
        (void)bth_secret_free(key);
        return id;
}

static int act(struct place *p, uint64_t job, enum job_input_kind kind, size_t drive)
{
        const struct job_act a = { .job = job, .input = { .kind = kind, .drive = drive } };
        struct job_outcome out;

        p->error = BTH_ERROR_INIT;
        return job_store_apply(p->store, &a, &policy, T0 + 5, "uid 0", &out, &p->error);
}

static struct job_record *get(struct place *p, uint64_t job)
{
        struct job_record *r;

        OK(job_store_get(p->store, job, &r, &p->error));
        return r;
}

/* "kind:subject kind:subject …" */
struct heard {
        char text[4096];
        uint64_t last;
        unsigned n;
        struct place *p;
};

static int hear(void *userdata, const struct job_event *e)
{
        struct heard *h = userdata;
        const size_t n = strlen(h->text);

        if (n + 128 < sizeof h->text)
                (void)snprintf(h->text + n, sizeof h->text - n, "%s:%s ",
                               job_change_kind_to_string(e->kind), e->serial ? e->serial : "-");
        h->last = e->seq;
        h->n++;
        return 0;
}

static struct heard events(struct place *p, struct job_event_filter f)
{
        struct heard h = { 0 };

        if (f.limit == 0)
                f.limit = JOB_STORE_PAGE_MAX;
        OK(job_store_events(p->store, &f, hear, &h, &p->error));
        return h;
}

static void test_open(void **state)
{
        struct place *p = *state;
        char uid[64];
        struct stat st;

        open_store(p);
        (void)snprintf(uid, sizeof uid, "%s", job_store_uid(p->store));
        assert_int_equal(strlen(uid), 36);
        reopen(p);
        assert_string_equal(uid, job_store_uid(p->store));
        assert_int_equal(stat(p->path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        OK(job_store_check(p->store, &p->error));
}

static void test_add_and_get(void **state)
{
        struct place *p = *state;
        struct job_record *r;
        struct bth_secret *key;
        char *json;
        uint64_t id;

        open_store(p);
        id = add_job(p, "attic", 2);
        reopen(p);
        r = get(p, id);
        assert_string_equal(r->name, "attic");
        assert_string_equal(r->scope, "");
        assert_string_equal(r->drives[0].serial, "QX7-1"); /* blanks removed */
        assert_string_equal(r->drives[1].manifest_file, "\\DriveManifest.xml");
        assert_true(r->drives[0].has_key && !r->drives[1].has_key);
        assert_int_equal(r->model.n_drives, 2);
        assert_int_equal(r->model.created_usec, T0);
        assert_true(r->model.has_return && !r->model.has_delivery && r->model.accept_unshipped);
        (void)job_record_free(r);
        OK(job_store_find(p->store, NULL, "ATTIC", &r, &p->error));
        assert_int_equal(r->id, id);
        (void)job_record_free(r);
        OK(job_store_key(p->store, id, 0, &key, &p->error));
        assert_memory_equal(key->data, "SECRETKEY-1234", 14);
        (void)bth_secret_free(key);
        assert_int_equal(job_store_key(p->store, id, 1, &key, &p->error), -ENOENT);
        OK(job_store_personal(p->store, id, JOB_PERSONAL_RETURN_ADDRESS, &json, &p->error));
        assert_non_null(strstr(json, "VERYPERSONAL"));
        free(json);
        assert_string_equal(events(p, (struct job_event_filter){ 0 }).text, "job.made:- ");
        assert_int_equal(job_store_get(p->store, id + 1, &r, &p->error), -ENOENT);
        assert_int_equal(job_store_find(p->store, "/other", "attic", &r, &p->error), -ENOENT);
}

static void test_add_refuses(void **state)
{
        struct place *p = *state;
        const struct job_draft_drive twice[] = { { .serial = "ab 1" }, { .serial = "AB1" } };
        struct job_draft d = { .name = "attic", .drives = twice, .n_drives = 2 };
        uint64_t id;

        open_store(p);
        (void)add_job(p, "attic", 1);
        d.n_drives = 1;
        assert_int_equal(job_store_add(p->store, &d, false, T0, NULL, &id, &p->error), -EEXIST);
        d.name = "Attic";
        assert_int_equal(job_store_add(p->store, &d, false, T0, NULL, &id, &p->error), -EEXIST);
        d.scope = "/subscriptions/1/resourceGroups/g";
        OK(job_store_add(p->store, &d, false, T0, NULL, &id, &p->error));
        d.name = "two";
        d.n_drives = 2;
        assert_int_equal(job_store_add(p->store, &d, false, T0, NULL, &id, &p->error), -EEXIST);
        assert_string_equal(p->error.sentence, "the job names the drive 'AB1' twice");
        d.n_drives = 0;
        assert_int_equal(job_store_add(p->store, &d, false, T0, NULL, &id, &p->error), -EINVAL);
        d.n_drives = 11;
        assert_int_equal(job_store_add(p->store, &d, false, T0, NULL, &id, &p->error), -EINVAL);
        d.n_drives = 1;
        d.name = "";
        assert_int_equal(job_store_add(p->store, &d, false, T0, NULL, &id, &p->error), -EINVAL);
        /* Nothing of what was refused is there. */
        assert_int_equal(events(p, (struct job_event_filter){ 0 }).n, 2);
        OK(job_store_check(p->store, &p->error));
}

static void test_apply(void **state)
{
        struct place *p = *state;
        struct job_record *r;
        uint64_t id, before;

        open_store(p);
        id = add_job(p, "attic", 2);
        assert_int_equal(act(p, id, JOB_INPUT_BEGUN, 0), -EPERM);
        assert_int_equal(p->error.reason, BTH_REASON_REFUSED);
        assert_non_null(strstr(p->error.sentence, "in no bay"));
        assert_int_equal(act(p, 99, JOB_INPUT_BEGUN, 0), -ENOENT);
        r = get(p, id);
        before = r->revision;
        (void)job_record_free(r);
        assert_int_equal(act(p, id, JOB_INPUT_DOCKED, 0), 0);
        assert_int_equal(act(p, id, JOB_INPUT_BEGUN, 0), 0);
        reopen(p);
        r = get(p, id);
        assert_int_equal(r->revision, before + 2);
        assert_int_equal(r->model.state, BTH_JOB_STATE_TRANSFERRING);
        assert_int_equal(r->model.drives[0].state, BTH_DRIVE_STATE_TRANSFERRING);
        assert_int_equal(r->model.drives[0].begun_usec, T0 + 5);
        assert_true(r->model.drives[0].running);
        (void)job_record_free(r);
        assert_string_equal(
                events(p, (struct job_event_filter){ .job = id, .drive = JOB_NO_DRIVE }).text,
                "job.made:- drive.state:QX7-1 drive.activity:QX7-1 "
                "drive.state:QX7-1 drive.activity:QX7-1 job.state:- job.state:- ");
}

static void test_apply_all(void **state)
{
        struct place *p = *state;
        struct job_outcome out[4];
        struct job_record *r;
        uint64_t id;

        open_store(p);
        id = add_job(p, "attic", 1);
        const struct job_act acts[] = {
                { .job = id, .input = { .kind = JOB_INPUT_DOCKED } },
                { .job = id, .input = { .kind = JOB_INPUT_DOCKED } },
                { .job = 77, .input = { .kind = JOB_INPUT_DOCKED } },
                { .job = id, .input = { .kind = JOB_INPUT_BEGUN } },
        };
        OK(job_store_apply_all(p->store, acts, 4, &policy, T0, NULL, out, &p->error));
        assert_int_equal(out[0].refusal, JOB_REFUSAL_NONE);
        assert_int_equal(out[1].refusal, JOB_REFUSAL_ALREADY_DOCKED);
        assert_int_equal(out[2].refusal, JOB_REFUSAL_NO_SUCH_JOB);
        assert_int_equal(out[3].refusal, JOB_REFUSAL_NONE);
        assert_int_equal(p->error.code, 0);
        r = get(p, id);
        assert_int_equal(r->model.state, BTH_JOB_STATE_TRANSFERRING);
        (void)job_record_free(r);
}

static int count_records(void *userdata, const struct job_record *r)
{
        struct heard *h = userdata;
        struct job_record *again;

        h->n++;
        h->last = r->id;
        /* A list may ask the store for more. */
        assert_int_equal(job_store_get(h->p->store, r->id, &again, NULL), 0);
        (void)job_record_free(again);
        return 0;
}

static unsigned list(struct place *p, const char *scope, int state, uint64_t before, size_t limit)
{
        const struct job_filter f = {
                .scope = scope, .state = state, .before = before, .limit = limit
        };
        struct heard h = { .p = p };

        OK(job_store_list(p->store, &f, count_records, &h, &p->error));
        return h.n;
}

static void test_list(void **state)
{
        static const char *const scopes[] = { NULL, "/subscriptions/1", "/Subscriptions/1/g/a",
                                              "/subscriptions/1/g/b", "/subscriptions/10/g/a" };
        const struct job_draft_drive drive = { .serial = "1" };
        struct place *p = *state;
        uint64_t id = 0;

        open_store(p);
        for (size_t i = 0; i < ARRAY_SIZE(scopes); i++)
                OK(job_store_add(
                        p->store,
                        &(struct job_draft){
                                .scope = scopes[i], .name = "j", .drives = &drive, .n_drives = 1 },
                        i == 1, T0, NULL, &id, &p->error));
        assert_int_equal(list(p, NULL, -1, 0, 100), 5);
        assert_int_equal(list(p, NULL, -1, 0, 2), 2);
        assert_int_equal(list(p, NULL, -1, id - 1, 100), 3);
        assert_int_equal(list(p, "", -1, 0, 100), 1);
        assert_int_equal(list(p, "/subscriptions/1", -1, 0, 100), 3);
        assert_int_equal(list(p, "/subscriptions/1/g/a", -1, 0, 100), 1);
        assert_int_equal(list(p, NULL, BTH_JOB_STATE_SHIPPING, 0, 100), 1);
        assert_int_equal(list(p, "/subscriptions/1", BTH_JOB_STATE_CREATING, 0, 100), 2);
        assert_int_equal(act(p, id, JOB_INPUT_DELETED, 0), 0);
        assert_int_equal(list(p, NULL, -1, 0, 100), 4);
        assert_int_equal(list(p, "/subscriptions/10", -1, 0, 100), 0);
}

static void test_edit(void **state)
{
        struct place *p = *state;
        struct job_edit edit = { .verbose_log = 1, .backup_manifest = -1 };
        struct job_record *r;
        uint64_t id;

        open_store(p);
        id = add_job(p, "attic", 1);
        assert_int_equal(act(p, id, JOB_INPUT_SHIPPED, 0), -EPERM);
        edit.personal[JOB_PERSONAL_DELIVERY_PACKAGE] = "{\"trackingNumber\":\"T\"}";
        OK(job_store_edit(p->store, id, &edit, &policy, T0 + 9, "uid 1", &p->error));
        r = get(p, id);
        assert_true(r->verbose_log && !r->backup_manifest && r->model.has_delivery);
        assert_int_equal(r->model.created_usec, T0 + 9);
        (void)job_record_free(r);
        assert_int_equal(act(p, id, JOB_INPUT_SHIPPED, 0), 0);
        assert_int_equal(job_store_edit(p->store, 9, &edit, &policy, T0, NULL, &p->error), -ENOENT);
}

static void test_tick(void **state)
{
        struct place *p = *state;
        uint64_t a, b, next;
        struct job_record *r;

        open_store(p);
        a = add_job(p, "a", 1);
        b = add_job(p, "b", 1);
        assert_int_equal(act(p, b, JOB_INPUT_DOCKED, 0), 0);
        OK(job_store_tick(p->store, &policy, T0, &next, &p->error));
        assert_int_equal(next, T0 + JOB_CREATING_USEC);
        OK(job_store_tick(p->store, &policy, T0 + JOB_CREATING_USEC, &next, &p->error));
        assert_int_equal(next, UINT64_MAX);
        r = get(p, a);
        assert_true(r->model.deleted);
        (void)job_record_free(r);
        r = get(p, b);
        assert_false(r->model.deleted);
        (void)job_record_free(r);
        (void)add_job(p, "a", 1); /* the name is free again */
}

static int hear_docking(void *userdata, const struct job_docking *d)
{
        struct heard *h = userdata;
        const size_t n = strlen(h->text);

        (void)snprintf(h->text + n, sizeof h->text - n, "%s@%s=%s ", d->serial, d->bay,
                       d->ended ? d->ended : "there");
        return 0;
}

static void test_docking(void **state)
{
        struct place *p = *state;
        struct job_docking d = {
                .serial = "qx7-1", .bay = "A1", .model = "M", .matched = "serial"
        };
        struct heard h = { 0 };
        struct job_outcome out;
        struct job_record *r;
        uint64_t first, extra, again;

        open_store(p);
        d.job = add_job(p, "attic", 1);
        OK(job_store_dock(p->store, &d, &policy, T0, NULL, &first, &out, &p->error));
        r = get(p, d.job);
        assert_string_equal(r->drives[0].bay, "A1");
        assert_true(r->model.drives[0].docked);
        (void)job_record_free(r);
        d.bay = "A2"; /* the same serial number again: nothing is kept */
        assert_int_equal(job_store_dock(p->store, &d, &policy, T0, NULL, &again, &out, &p->error),
                         -EPERM);
        assert_int_equal(out.refusal, JOB_REFUSAL_ALREADY_DOCKED);
        r = get(p, d.job);
        assert_string_equal(r->drives[0].bay, "A1");
        (void)job_record_free(r);
        OK(job_store_dock(p->store,
                          &(struct job_docking){ .serial = "ZZ", .bay = "A3", .drive = 0 }, &policy,
                          T0, NULL, &extra, &out, &p->error));
        assert_int_equal(act(p, d.job, JOB_INPUT_BEGUN, 0), 0);
        assert_int_equal(
                job_store_undock(p->store, first, true, &policy, T0, NULL, &out, &p->error),
                -EPERM); /* a worker runs */
        OK(job_store_undock(p->store, first, false, &policy, T0, NULL, &out, &p->error));
        OK(job_store_undock(p->store, first, false, &policy, T0, NULL, &out, &p->error));
        assert_int_equal(job_store_undock(p->store, 99, false, &policy, T0, NULL, &out, &p->error),
                         -ENOENT);
        OK(job_store_dock(p->store, &d, &policy, T0, NULL, &again, &out, &p->error));
        reopen(p);
        OK(job_store_restart(p->store, &policy, T0, &p->error));
        r = get(p, d.job);
        assert_int_equal(r->model.drives[0].activity, JOB_ACTIVITY_DOCK_AGAIN);
        assert_false(r->model.drives[0].docked);
        (void)job_record_free(r);
        OK(job_store_dockings(p->store, " QX7-1 ", 0, 0, 10, hear_docking, &h, &p->error));
        assert_string_equal(h.text, "qx7-1@A2=restart qx7-1@A1=pulled ");
        h.text[0] = '\0';
        OK(job_store_dockings(p->store, NULL, d.job, 0, 1, hear_docking, &h, &p->error));
        assert_string_equal(h.text, "qx7-1@A2=restart ");
        assert_string_equal(events(p, (struct job_event_filter){ .serial = "zz" }).text,
                            "drive.docked:ZZ drive.undocked:ZZ ");
        OK(job_store_check(p->store, &p->error));
}

static int hear_named(void *userdata, const struct job_record *r, size_t drive)
{
        struct heard *h = userdata;
        const size_t n = strlen(h->text);

        (void)snprintf(h->text + n, sizeof h->text - n, "%s/%zu ", r->name, drive);
        return 0;
}

static void test_named(void **state)
{
        struct place *p = *state;
        struct heard h = { 0 };
        uint64_t gone;

        open_store(p);
        (void)add_job(p, "one", 3);
        gone = add_job(p, "two", 2);
        (void)add_job(p, "three", 2);
        assert_int_equal(act(p, gone, JOB_INPUT_DELETED, 0), 0);
        OK(job_store_named(p->store, "q x7-2", hear_named, &h, &p->error));
        assert_string_equal(h.text, "one/1 three/1 ");
        h.text[0] = '\0';
        OK(job_store_named(p->store, "QX7", hear_named, &h, &p->error));
        assert_string_equal(h.text, "");
}

static int hear_run(void *userdata, const struct job_run_record *run)
{
        struct heard *h = userdata;
        const size_t n = strlen(h->text);

        (void)snprintf(h->text + n, sizeof h->text - n, "%s:%s:%llu ",
                       bth_run_end_to_string(run->end), run->copy_status ? run->copy_status : "-",
                       (unsigned long long)run->sent_bytes);
        return 0;
}

static void test_result(void **state)
{
        struct place *p = *state;
        struct bth_result_report w = { .end = BTH_RUN_END_FAILED,
                                       .sentence = (char *)"it crashed",
                                       .sent_bytes = 5 };
        struct heard h = { 0 };
        struct job_outcome out;
        struct job_record *r;
        uint64_t id;

        open_store(p);
        id = add_job(p, "attic", 1);
        assert_int_equal(act(p, id, JOB_INPUT_DOCKED, 0), 0);
        assert_int_equal(act(p, id, JOB_INPUT_BEGUN, 0), 0);
        OK(job_store_result(p->store, id, 0, &w, &policy, T0, &out, &p->error));
        r = get(p, id);
        assert_string_equal(r->drives[0].detail, "it crashed");
        (void)job_record_free(r);
        /* No worker runs: neither the run nor the state is stored. */
        assert_int_equal(job_store_result(p->store, id, 0, &w, &policy, T0, &out, &p->error),
                         -EPERM);
        assert_int_equal(act(p, id, JOB_INPUT_BEGUN, 0), 0);
        w = (struct bth_result_report){ .end = BTH_RUN_END_FINISHED,
                                        .copy_status = (char *)"Completed",
                                        .sent_bytes = 7,
                                        .error_log = (char *)"waimportexport/log" };
        OK(job_store_result(p->store, id, 0, &w, &policy, T0, &out, &p->error));
        OK(job_store_runs(p->store, id, 0, hear_run, &h, &p->error));
        assert_string_equal(h.text, "failed:-:5 finished:Completed:7 ");
        r = get(p, id);
        assert_int_equal(r->model.state, BTH_JOB_STATE_PACKAGING);
        assert_null(r->drives[0].detail);
        assert_string_equal(r->drives[0].error_log, "waimportexport/log");
        (void)job_record_free(r);
}

static void progress(struct place *p, uint64_t id, size_t drive, uint64_t done)
{
        const struct job_act a = { .job = id,
                                   .input = { .kind = JOB_INPUT_PROGRESS,
                                              .drive = drive,
                                              .bytes = 100,
                                              .bytes_done = done } };
        struct job_outcome out;

        OK(job_store_apply(p->store, &a, &policy, T0, NULL, &out, &p->error));
}

static void test_progress_is_coalesced(void **state)
{
        struct place *p = *state;
        struct heard h;
        uint64_t id;

        open_store(p);
        id = add_job(p, "attic", 2);
        for (size_t i = 0; i < 2; i++) {
                assert_int_equal(act(p, id, JOB_INPUT_DOCKED, i), 0);
                assert_int_equal(act(p, id, JOB_INPUT_BEGUN, i), 0);
        }
        h = events(p, (struct job_event_filter){ 0 });
        for (uint64_t i = 1; i <= 50; i++) {
                progress(p, id, 0, i);
                progress(p, id, 1, i);
        }
        progress(p, id, 1, 50); /* nothing new */
        h = events(p, (struct job_event_filter){ .after = h.last });
        assert_string_equal(h.text, "drive.progress:QX7-1 drive.progress:QX7-2 ");
}

static void test_outbox(void **state)
{
        struct place *p = *state;
        struct job_outbox_mark marks[] = { { 0, NULL }, { 99998, NULL }, { 99999, "400" } };
        struct job_outbox_state s;
        struct heard h = { 0 };
        uint64_t id, seq;

        open_store(p);
        assert_int_equal(job_store_last_event(p->store), 0);
        (void)add_job(p, "before", 1); /* nobody wanted to know */
        assert_true(job_store_last_event(p->store) > 0);
        OK(job_store_outbox_use(p->store, true, &p->error));
        id = add_job(p, "attic", 2);
        assert_int_equal(act(p, id, JOB_INPUT_DOCKED, 0), 0);
        assert_int_equal(act(p, id, JOB_INPUT_DOCKED, 1), 0);
        reopen(p); /* it lasts */
        OK(job_store_outbox_state(p->store, &s, &p->error));
        assert_int_equal(s.waiting, 7);
        assert_int_equal(s.oldest_usec, T0);
        /* The oldest of each drive and of the job. */
        OK(job_store_outbox(p->store, T0, 10, hear, &h, &p->error));
        assert_string_equal(h.text, "job.made:- drive.state:QX7-1 drive.state:QX7-2 ");
        seq = h.last;
        OK(job_store_outbox_failed(p->store, seq, T0 + 10, &p->error));
        h = (struct heard){ 0 };
        OK(job_store_outbox(p->store, T0 + 9, 10, hear, &h, &p->error));
        assert_string_equal(h.text, "job.made:- drive.state:QX7-1 "); /* nothing overtakes */
        h = (struct heard){ 0 };
        OK(job_store_outbox(p->store, T0 + 10, 10, hear, &h, &p->error));
        assert_int_equal(h.n, 3);
        OK(job_store_outbox_park(p->store, seq, "400", &p->error));
        h = (struct heard){ 0 };
        OK(job_store_outbox(p->store, T0, 10, hear, &h, &p->error));
        assert_string_equal(h.text, "job.made:- drive.state:QX7-1 drive.activity:QX7-2 ");
        OK(job_store_outbox_sent(p->store, h.last, &p->error));
        OK(job_store_outbox_sent(p->store, h.last, &p->error)); /* twice is well */
        OK(job_store_outbox_state(p->store, &s, &p->error));
        assert_int_equal(s.waiting, 5);
        assert_int_equal(s.parked, 1);
        assert_int_equal(job_store_outbox_failed(p->store, h.last, T0, &p->error), -ENOENT);
        /* What upstream has not got is not pruned. */
        assert_true(job_store_prune(p->store, T0 + 100, &p->error) > 0);
        assert_int_equal(events(p, (struct job_event_filter){ 0 }).n, 6);
        /* Several at once, also such that are there no more. */
        h = (struct heard){ 0 };
        OK(job_store_outbox(p->store, T0, 10, hear, &h, &p->error));
        marks[0].seq = h.last;
        OK(job_store_outbox_settle(p->store, marks, ARRAY_SIZE(marks), &p->error));
        OK(job_store_outbox_state(p->store, &s, &p->error));
        assert_int_equal(s.waiting, 4);
        assert_int_equal(s.parked, 1);
        OK(job_store_outbox_use(p->store, false, &p->error));
        OK(job_store_outbox_state(p->store, &s, &p->error));
        assert_int_equal(s.waiting + s.parked, 0);
}

static void test_events_pages(void **state)
{
        struct place *p = *state;
        struct heard h;
        uint64_t id;

        open_store(p);
        id = add_job(p, "attic", 2);
        assert_int_equal(act(p, id, JOB_INPUT_DOCKED, 0), 0);
        assert_int_equal(act(p, id, JOB_INPUT_DOCKED, 1), 0);
        h = events(p, (struct job_event_filter){ .limit = 2 });
        assert_string_equal(h.text, "job.made:- drive.state:QX7-1 ");
        h = events(p, (struct job_event_filter){ .limit = 1, .after = h.last });
        assert_string_equal(h.text, "drive.activity:QX7-1 ");
        h = events(p, (struct job_event_filter){ .limit = 1, .newest_first = true });
        assert_string_equal(h.text, "job.state:- ");
        h = events(p, (struct job_event_filter){ .job = id, .drive = 1 });
        assert_string_equal(h.text, "drive.state:QX7-2 drive.activity:QX7-2 ");
        h = events(p, (struct job_event_filter){ .serial = "qx 7-1", .newest_first = true });
        assert_string_equal(h.text, "drive.activity:QX7-1 drive.state:QX7-1 ");
        assert_int_equal(
                job_store_events(p->store, &(struct job_event_filter){ 0 }, hear, &h, &p->error),
                -EINVAL);
}

/* Every event is a CloudEvent whose required attributes are there, without secrets. */
static int check_cloud_event(void *userdata, const struct job_event *e)
{
        _cleanup_json_ json_t *j = NULL;
        _cleanup_free_ char *text = NULL;
        struct heard *h = userdata;
        const char *s, *id;
        char want[128];

        assert_int_equal(job_event_to_json(e, job_store_uid(h->p->store), "/stations/s1", &text),
                         0);
        assert_null(strstr(text, "SECRET"));
        assert_null(strstr(text, "VERYPERSONAL"));
        assert_int_equal(bth_json_parse(text, strlen(text), &j, NULL), 0);
        assert_int_equal(bth_json_get_string(j, "specversion", &s), 0);
        assert_string_equal(s, "1.0");
        assert_int_equal(bth_json_get_string(j, "id", &id), 0);
        (void)snprintf(want, sizeof want, "%s-%llu", job_store_uid(h->p->store),
                       (unsigned long long)e->seq);
        assert_string_equal(id, want);
        assert_int_equal(bth_json_get_string(j, "source", &s), 0);
        assert_int_equal(bth_json_get_string(j, "type", &s), 0);
        assert_true(bth_starts_with(s, "berth."));
        assert_int_equal(bth_json_get_string(j, "time", &s), 0);
        assert_true(bth_starts_with(s, "2030-03-17T"));
        assert_true(json_is_object(json_object_get(j, "data")));
        h->n++;
        return 0;
}

static int find_state(void *userdata, const struct job_event *e)
{
        struct heard *h = userdata;

        if (e->kind == JOB_CHANGE_JOB_STATE || e->kind == JOB_CHANGE_DRIVE_STATE) {
                _cleanup_json_ json_t *j = NULL;
                const char *from, *to, *copy = "-";
                const size_t n = strlen(h->text);

                assert_int_equal(bth_json_parse(e->data, strlen(e->data), &j, NULL), 0);
                assert_int_equal(bth_json_get_string(j, "from", &from), 0);
                assert_int_equal(bth_json_get_string(j, "state", &to), 0);
                if (bth_json_get_string(j, "copyStatus", &copy) < 0)
                        copy = "-";
                (void)snprintf(h->text + n, sizeof h->text - n, "%s>%s:%s ", from, to, copy);
        }
        return 0;
}

static void test_cloud_events(void **state)
{
        const struct job_event_filter all = { .limit = 100 };
        struct place *p = *state;
        struct heard h = { .p = p };
        struct job_outcome out;
        uint64_t id, docking;

        open_store(p);
        id = add_job(p, "attic", 1);
        assert_int_equal(act(p, id, JOB_INPUT_DOCKED, 0), 0);
        OK(job_store_dock(p->store, &(struct job_docking){ .serial = "\xff\n", .bay = "B" },
                          &policy, T0, NULL, &docking, &out, &p->error));
        assert_int_equal(act(p, id, JOB_INPUT_GIVEN_UP, 0), 0);
        OK(job_store_events(p->store, &all, check_cloud_event, &h, &p->error));
        assert_true(h.n >= 6);
        OK(job_store_events(p->store, &all, find_state, &h, &p->error));
        assert_string_equal(h.text, "Specified>Received:- Creating>Shipping:- Shipping>Received:- "
                                    "Received>Transferring:InProgress Received>Transferring:- "
                                    "Transferring>CompletedMoreInfo:DiskOperationFailed "
                                    "Transferring>Packaging:- ");
}

static void test_progress_gate(void **state)
{
        struct job_progress_gate g = { 0 };
        const uint64_t s = 1000000;
        uint64_t t = T0;

        assert_true(job_progress_due(&g, 1000, 1, 0, t)); /* the first */
        assert_false(job_progress_due(&g, 1000, 500, 0, t + s));
        assert_true(job_progress_due(&g, 1000, 500, 0, t += 5 * s));
        assert_false(job_progress_due(&g, 1000, 501, 0, t + 6 * s)); /* no new percent */
        assert_true(job_progress_due(&g, 1000, 501, 0, t += 60 * s));
        assert_false(job_progress_due(&g, 1000, 501, 0, t + 600 * s)); /* nothing moves */
        assert_true(job_progress_due(&g, 1000, 100, 0, t));            /* begun anew */
        assert_true(job_progress_due(&g, 1000, 1000, 0, t));           /* the end */
        assert_true(job_progress_due(&g, 2000, 1000, 0, t));
}

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
        assert_int_equal(job_store_forget_old(p->store, T0, &p->error), 1); /* b; c goes on */
        assert_true(in_files(p, "VERYPERSONAL"));
        OK(job_store_personal(p->store, c, JOB_PERSONAL_RETURN_ADDRESS, &json, &p->error));
        free(json);
        assert_int_equal(act(p, c, JOB_INPUT_DELETED, 0), 0);
        assert_int_equal(job_store_forget_old(p->store, T0, &p->error), 1);
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
        change(p, "PRAGMA user_version = 3");
        assert_int_equal(try_open(p), -EPROTONOSUPPORT);
        assert_int_equal(p->error.reason, BTH_REASON_STORE_NEWER);
        (void)bth_error_to_string(&p->error, text, sizeof text);
        assert_non_null(strstr(text, "version 3, and this program knows only up to version 2"));
        assert_non_null(strstr(text, p->path));
}

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
        change(p, "DROP TABLE hub_conflicts; DROP TABLE hub_facets; DROP TABLE hub_events;"
                  "DROP TABLE hub_stations; PRAGMA user_version = 1");
        open_store(p);
        OK(job_store_check(p->store, &p->error));
        OK(job_store_get(p->store, id, &r, &p->error));
        assert_string_equal(r->name, "attic");
        (void)job_record_free(r);
        OK(job_hub_take(p->store, none, "/stations/a", &policy, T0, &result, &p->error));
        reopen(p);
        json_decref(none);
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

static void check_key(struct place *p, uint64_t job, size_t drive, const char *text)
{
        struct bth_secret *key = NULL;

        OK(job_store_key(p->store, job, drive, &key, &p->error));
        assert_string_equal((const char *)key->data, text);
        (void)bth_secret_free(key);
}

static void test_other_drives(void **state)
{
        struct place *p = *state;
        struct bth_secret *key;
        struct job_draft_drive drives[2] = { { .serial = "NEW 1", .manifest_file = "\\m" },
                                             { .serial = "qx7-1", .manifest_hash = "AB" } };
        struct job_record *r;
        uint64_t job;
        char text[64];

        open_store(p);
        job = add_job(p, "a", 3);
        OK(job_store_key(p->store, job, 0, &key, &p->error));
        (void)snprintf(text, sizeof text, "%s", (const char *)key->data);
        (void)bth_secret_free(key);

        OK(job_store_set_drives(p->store, job, drives, 2, &policy, T0 + 9, "x", &p->error));
        r = get(p, job);
        assert_int_equal(r->model.n_drives, 2);
        assert_string_equal(r->drives[0].serial, "NEW1");
        assert_false(r->drives[0].has_key);
        assert_string_equal(r->drives[1].manifest_hash, "AB");
        assert_int_equal(r->model.created_usec, T0 + 9); /* its two weeks begin again */
        (void)job_record_free(r);
        check_key(p, job, 1, text); /* it kept the key of its serial number */

        assert_int_equal(bth_secret_new_copy("other", 5, &key), 0);
        drives[0].key = key;
        OK(job_store_set_drives(p->store, job, drives, 1, &policy, T0 + 9, "x", &p->error));
        (void)bth_secret_free(key);
        drives[0].key = NULL;
        check_key(p, job, 0, "other");

        drives[1].serial = "new1";
        assert_int_equal(job_store_set_drives(p->store, job, drives, 2, &policy, T0, "x", NULL),
                         -EEXIST);
        assert_int_equal(job_store_set_drives(p->store, job, drives, 0, &policy, T0, "x", NULL),
                         -EINVAL);
        assert_int_equal(job_store_set_drives(p->store, 999, drives, 1, &policy, T0, "x", NULL),
                         -ENOENT);
        check_key(p, job, 0, "other"); /* what failed has changed nothing */
        OK(act(p, job, JOB_INPUT_BOOKED, 0));
        assert_int_equal(job_store_set_drives(p->store, job, drives, 1, &policy, T0, "x", NULL),
                         -EPERM);
        OK(job_store_check(p->store, &p->error));
}

static void test_tags_at_any_time(void **state)
{
        struct place *p = *state;
        struct job_edit edit = { .tags = "{}", .verbose_log = -1, .backup_manifest = -1 };
        struct job_record *before, *after;
        uint64_t job;

        open_store(p);
        job = add_job(p, "a", 1);
        OK(act(p, job, JOB_INPUT_CANCELLED, 0));
        OK(act(p, job, JOB_INPUT_BOOKED, 0));
        OK(act(p, job, JOB_INPUT_RETURNED, 0));
        before = get(p, job);
        assert_int_equal(before->model.state, BTH_JOB_STATE_COMPLETED);
        OK(job_store_edit(p->store, job, &edit, &policy, T0 + 9, "x", &p->error));
        after = get(p, job);
        assert_string_equal(after->tags, "{}");
        assert_true(after->revision > before->revision);
        (void)job_record_free(before);
        (void)job_record_free(after);
        edit.verbose_log = 1;
        assert_int_equal(job_store_edit(p->store, job, &edit, &policy, T0 + 9, "x", NULL), -EPERM);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(test_other_drives),   TEST(test_tags_at_any_time),
                TEST(test_open),           TEST(test_add_and_get),
                TEST(test_add_refuses),    TEST(test_apply),
                TEST(test_apply_all),      TEST(test_list),
                TEST(test_edit),           TEST(test_tick),
                TEST(test_docking),        TEST(test_named),
                TEST(test_result),         TEST(test_progress_is_coalesced),
                TEST(test_outbox),         TEST(test_events_pages),
                TEST(test_cloud_events),   TEST(test_progress_gate),
                TEST(test_forget),         TEST(test_newer),
                TEST(test_older),          TEST(test_foreign),
                TEST(test_damaged_record), TEST(test_one_process),
                TEST(test_disk_full),      TEST(test_kill),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
