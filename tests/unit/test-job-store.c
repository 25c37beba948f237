/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The store's records: what is written of jobs and drives is found again. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "tests/lib/job-place.h"
#include "tests/lib/pg-world.h"

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
        if (!pg_server()) {
                assert_int_equal(stat(p->path, &st), 0);
                assert_int_equal(st.st_mode & 0777, 0600);
        }
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

/* Several changes are one transaction when the caller says so: all or none. */
static void test_all_or_none(void **state)
{
        struct place *p = *state;
        struct job_edit edit = { .tags = "{}", .verbose_log = -1, .backup_manifest = -1 };
        struct job_record *r;
        uint64_t a, b;

        open_store(p);
        a = add_job(p, "a", 1);
        OK(job_store_begin(p->store, &p->error));
        OK(job_store_edit(p->store, a, &edit, &policy, T0 + 1, "x", &p->error));
        b = add_job(p, "b", 1);
        OK(job_store_end(p->store, 0, &p->error));
        reopen(p);
        r = get(p, a);
        assert_string_equal(r->tags, "{}");
        (void)job_record_free(r);
        r = get(p, b);
        (void)job_record_free(r);

        edit.tags = "{\"n\":\"2\"}";
        OK(job_store_begin(p->store, &p->error));
        OK(job_store_edit(p->store, a, &edit, &policy, T0 + 2, "x", &p->error));
        assert_int_equal(job_store_end(p->store, -EPERM, &p->error), -EPERM);
        r = get(p, a);
        assert_string_equal(r->tags, "{}");
        (void)job_record_free(r);

        /* A part that failed takes the rest with it, also when nobody minds. */
        OK(job_store_begin(p->store, &p->error));
        OK(job_store_edit(p->store, a, &edit, &policy, T0 + 3, "x", &p->error));
        assert_int_equal(act(p, a, JOB_INPUT_SHIPPED, 0), -EPERM);
        assert_int_equal(job_store_end(p->store, 0, &p->error), -ECANCELED);
        r = get(p, a);
        assert_string_equal(r->tags, "{}");
        (void)job_record_free(r);
        OK(act(p, a, JOB_INPUT_CANCELLED, 0)); /* and the next one is as any other */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_open),
                TEST(test_add_and_get),
                TEST(test_add_refuses),
                TEST(test_apply),
                TEST(test_apply_all),
                TEST(test_list),
                TEST(test_edit),
                TEST(test_tick),
                TEST(test_docking),
                TEST(test_named),
                TEST(test_result),
                TEST(test_other_drives),
                TEST(test_tags_at_any_time),
                TEST(test_all_or_none),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
