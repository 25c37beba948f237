/* SPDX-License-Identifier: GPL-3.0-or-later */
/* station - a station with virtual bays, a real store and a worker that does what its job's name
 * says: drives that are docked, pulled, held, ejected, unknown, without a name, and workers that
 * fail, each end in the state of the table. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/time.h"
#include "daemon/station-internal.h"
#include "daemon/verb.h"
#include "daemon/verbs.h"

#define LIMIT_USEC (UINT64_C(60) * 1000000) /* a hanging test ends */

static char program[512];

struct world {
        char folder[64], config[512], credential[128];
        sd_event *loop;
        struct job_thread *store;
        struct dmn_station *station;
        char answer[640]; /* the sentence of the last call */
        int answered;     /* calls that came to an end */
        int result;
        bool stopped;
        uint64_t silent_usec;
};

static void path_of(const struct world *w, const char *name, char *out, size_t n)
{
        assert_true(snprintf(out, n, "%s/%s", w->folder, name) < (int)n);
}

static void write_text(const char *path, const char *text)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        close(fd);
}

static void configure(struct world *w, const char *station_keys, bool with_account)
{
        char text[2048];

        (void)snprintf(text, sizeof text,
                       "[station]\nstate_directory = %s/state\nrun_directory = %s\nworker = %s\n%s"
                       "[bay A1]\ndirectory = %s/A1\n[bay A2]\ndirectory = %s/A2\n",
                       w->folder, w->folder, program, station_keys, w->folder, w->folder);
        if (with_account)
                (void)snprintf(text + strlen(text), sizeof text - strlen(text),
                               "[account photos]\ncredential = key\ncredential_file = %s\n",
                               w->credential);
        write_text(w->config, text);
}

static struct job_store *open_store(struct world *w)
{
        struct job_store *store;
        char path[128];

        path_of(w, "state/store.sqlite", path, sizeof path);
        assert_int_equal(job_store_open(path, &store, NULL), 0);
        return store;
}

static uint64_t add_job(struct job_store *store, const char *name, const char *serial)
{
        const struct job_draft_drive d = { .serial = serial,
                                           .manifest_file = "\\DriveManifest.xml",
                                           .manifest_hash = "0123456789ABCDEF0123456789ABCDEF" };
        const struct job_draft draft = { .name = name,
                                         .account = "photos",
                                         .origin = "journal",
                                         .accept_unshipped = true,
                                         .drives = &d,
                                         .n_drives = 1 };
        struct bth_error e = BTH_ERROR_INIT;
        uint64_t job;

        if (job_store_add(store, &draft, false, bth_now_realtime_usec(), NULL, &job, &e) < 0)
                fail_msg("%s", e.sentence);
        return job;
}

static void begin(struct world *w)
{
        struct dmn_station_options options = { .loop = w->loop,
                                               .config_path = w->config,
                                               .without_udev = true,
                                               .backoff_usec = 1000,
                                               .silent_usec = w->silent_usec };
        struct job_store *store = open_store(w);
        const struct job_policy policy = { 0 };
        struct bth_error e = BTH_ERROR_INIT;

        assert_int_equal(job_store_restart(store, &policy, bth_now_realtime_usec(), NULL), 0);
        assert_int_equal(job_thread_new(store, &w->store), 0);
        options.store = w->store;
        if (dmn_config_load(w->config, &options.config, &e) < 0 ||
            dmn_station_new(&options, &w->station, &e) < 0)
                fail_msg("%s", e.sentence);
}

static void end(struct world *w)
{
        struct job_store *store;
        struct bth_error e = BTH_ERROR_INIT;

        w->station = dmn_station_free(w->station);
        w->store = job_thread_free(w->store);
        store = open_store(w);
        if (job_store_check(store, &e) < 0)
                fail_msg("%s", e.sentence);
        (void)job_store_close(store);
}

static void build(struct world *w, const char *station_keys, bool with_account)
{
        static const char *const folders[] = { "state", "A1", "A2" };
        char path[128];

        *w = (struct world){ 0 };
        (void)snprintf(w->folder, sizeof w->folder, "/tmp/berth-station-XXXXXX");
        assert_non_null(mkdtemp(w->folder));
        for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
                path_of(w, folders[i], path, sizeof path);
                assert_int_equal(mkdir(path, 0700), 0);
        }
        path_of(w, "berthd.conf", w->config, sizeof w->config);
        path_of(w, "photos.key", w->credential, sizeof w->credential);
        write_text(w->credential, "c2VjcmV0\n");
        configure(w, station_keys, with_account);
        assert_true(sd_event_new(&w->loop) >= 0);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
        (void)st;
        (void)kind;
        (void)at;
        return remove(path);
}

static void tear_down(struct world *w)
{
        end(w);
        (void)sd_event_unref(w->loop);
        assert_int_equal(nftw(w->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void dock(const struct world *w, const char *bay, const char *file)
{
        char image[160], hidden[160];
        int fd;

        (void)snprintf(hidden, sizeof hidden, "%s/%s/.new", w->folder, bay);
        (void)snprintf(image, sizeof image, "%s/%s/%s", w->folder, bay, file);
        fd = open(hidden, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, 1 << 20), 0);
        close(fd);
        assert_int_equal(rename(hidden, image), 0);
}

static void pull(const struct world *w, const char *bay, const char *file)
{
        char image[160];

        (void)snprintf(image, sizeof image, "%s/%s/%s", w->folder, bay, file);
        assert_int_equal(unlink(image), 0);
}

static void turn(struct world *w)
{
        assert_true(sd_event_run(w->loop, 20000) >= 0);
}

#define UNTIL(w, condition)                                                                   \
        do {                                                                                  \
                const uint64_t limit = bth_now_monotonic_usec() + LIMIT_USEC;                 \
                while (!(condition)) {                                                        \
                        turn(w);                                                              \
                        if (bth_now_monotonic_usec() > limit)                                 \
                                fail_msg("%s:%d: never: %s", __FILE__, __LINE__, #condition); \
                }                                                                             \
        } while (0)

static struct dmn_slot *in(const struct world *w, const char *bay)
{
        return dmn_station_slot_in(w->station, bay);
}

static enum job_activity shows(const struct world *w, const char *bay)
{
        const struct dmn_slot *slot = in(w, bay);
        const char *sentence;

        return slot ? dmn_slot_activity(slot, &sentence) : JOB_ACTIVITY_NONE;
}

/* At rest with a record that is as the store has it. */
static bool is(const struct world *w, const char *bay, enum bth_drive_state state,
               enum job_activity activity)
{
        const struct dmn_slot *slot = in(w, bay);

        return slot && !slot->busy && !slot->stale && !slot->has_result && slot->record &&
               slot->record->model.drives[0].state == state && shows(w, bay) == activity;
}

/* -- reading what is not docked --- */

struct reading {
        const char *job, *serial;
        struct job_record *record;
        char ended[16]; /* how its last docking did */
        bool done;
};

static int task_read(struct job_store *store, void *userdata, struct bth_error *error)
{
        struct reading *r = userdata;

        return job_store_find(store, NULL, r->job, &r->record, error);
}

static void read_done(void *userdata, int r, const struct bth_error *error)
{
        (void)error;
        assert_int_equal(r, 0);
        ((struct reading *)userdata)->done = true;
}

static struct job_model model_of(struct world *w, const char *job)
{
        struct reading r = { .job = job };
        struct job_model m;

        assert_int_equal(job_thread_submit(w->store, task_read, read_done, &r), 0);
        UNTIL(w, r.done);
        m = r.record->model;
        (void)job_record_free(r.record);
        return m;
}

static int take_ended(void *userdata, const struct job_docking *d)
{
        struct reading *r = userdata;

        (void)snprintf(r->ended, sizeof r->ended, "%s", d->ended ? d->ended : "");
        return 0;
}

static int task_ended(struct job_store *store, void *userdata, struct bth_error *error)
{
        struct reading *r = userdata;

        return job_store_dockings(store, r->serial, 0, 0, 1, take_ended, r, error);
}

static bool docking_ended(struct world *w, const char *serial, const char *how)
{
        struct reading r = { .serial = serial };

        assert_int_equal(job_thread_submit(w->store, task_ended, read_done, &r), 0);
        UNTIL(w, r.done);
        return strcmp(r.ended, how) == 0;
}

/* -- calls --- */

static void on_reply(void *userdata, int r, json_t *answer, const struct bth_error *error)
{
        struct world *w = userdata;
        const char *sentence =
                answer ? json_string_value(json_object_get(answer, "sentence")) : NULL;

        (void)snprintf(w->answer, sizeof w->answer, "%s",
                       r < 0      ? error->sentence
                       : sentence ? sentence
                                  : "");
        w->result = r;
        w->answered++;
}

static void call(struct world *w, enum dmn_verb verb, const char *target, json_t *body)
{
        struct dmn_call *c;

        assert_int_equal(
                dmn_call_new(verb, "uid 0 (test)", DMN_RIGHT_ADMIN, target, NULL, body, &c), 0);
        c->reply = on_reply;
        c->userdata = w;
        dmn_verb_call(w->station, c);
}

static int ask(struct world *w, enum dmn_verb verb, const char *target, json_t *body)
{
        const int before = w->answered;

        call(w, verb, target, body);
        UNTIL(w, w->answered > before);
        return w->result;
}

static void on_stopped(void *userdata)
{
        ((struct world *)userdata)->stopped = true;
}

/* One job whose name says what its worker does, and its drive QX-1. */
static void one(struct world *w, const char *job)
{
        struct job_store *store;

        build(w, "", true);
        store = open_store(w);
        (void)add_job(store, job, "QX-1");
        (void)job_store_close(store);
        begin(w);
}

/* -- tests
 * -------------------------------------------------------------------------------------------- */

static void test_good(void **state)
{
        struct world w;

        (void)state;
        one(&w, "good");
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, is(&w, "A1", BTH_DRIVE_STATE_COMPLETED, JOB_ACTIVITY_SAFE_TO_REMOVE));
        assert_int_equal(model_of(&w, "good").state, BTH_JOB_STATE_PACKAGING);
        pull(&w, "A1", "QX-1.img");
        UNTIL(&w, !in(&w, "A1") && !model_of(&w, "good").drives[0].docked);
        tear_down(&w);
}

/* The record says what the worker told last, though it was too little to be stored while it ran. */
static void test_last_progress(void **state)
{
        struct job_model m;
        struct world w;

        (void)state;
        one(&w, "counting");
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, is(&w, "A1", BTH_DRIVE_STATE_COMPLETED, JOB_ACTIVITY_SAFE_TO_REMOVE));
        m = model_of(&w, "counting");
        assert_int_equal(m.drives[0].blobs_done, 7);
        assert_int_equal(m.drives[0].bytes_done, 6902);
        tear_down(&w);
}

static void test_pulled(void **state)
{
        struct world w;

        (void)state;
        one(&w, "obedient");
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, shows(&w, "A1") == JOB_ACTIVITY_UNLOCKING);
        pull(&w, "A1", "QX-1.img");
        UNTIL(&w, !w.station->slots);
        assert_int_equal(model_of(&w, "obedient").drives[0].state, BTH_DRIVE_STATE_TRANSFERRING);
        assert_int_equal(model_of(&w, "obedient").drives[0].activity, JOB_ACTIVITY_DOCK_AGAIN);
        dock(&w, "A2", "QX-1.img");
        UNTIL(&w, shows(&w, "A2") == JOB_ACTIVITY_UNLOCKING);
        tear_down(&w);
}

static void test_crashes(void **state)
{
        static const struct {
                const char *job;
                enum bth_drive_status status;
        } rows[] = { { "crash", BTH_DRIVE_STATUS_DISK_OPERATION_FAILED },
                     { "no-progress", BTH_DRIVE_STATUS_DISK_OPERATION_FAILED },
                     { "code", BTH_DRIVE_STATUS_INTERNAL_ERROR },
                     { "nonsense", BTH_DRIVE_STATUS_INTERNAL_ERROR } };
        struct world w;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                one(&w, rows[i].job);
                dock(&w, "A1", "QX-1.img");
                UNTIL(&w, is(&w, "A1", BTH_DRIVE_STATE_COMPLETED_MORE_INFO, JOB_ACTIVITY_FAILED));
                assert_int_equal(in(&w, "A1")->record->model.drives[0].status, rows[i].status);
                tear_down(&w);
        }
}

/* A worker of the run before hangs and has the record: that is not the drive's end. */
static void test_record_is_busy(void **state)
{
        struct world w;

        (void)state;
        one(&w, "busy");
        dock(&w, "A1", "QX-1.img");
        for (unsigned i = 0; i < DMN_SLOT_FAILURES_MAX + 1; i++) {
                UNTIL(&w, is(&w, "A1", BTH_DRIVE_STATE_TRANSFERRING, JOB_ACTIVITY_RESTARTING));
                in(&w, "A1")->again_usec = 0;
                dmn_slot_step(in(&w, "A1"));
                UNTIL(&w, in(&w, "A1")->worker || in(&w, "A1")->has_result);
        }
        UNTIL(&w, is(&w, "A1", BTH_DRIVE_STATE_TRANSFERRING, JOB_ACTIVITY_RESTARTING));
        assert_int_equal(in(&w, "A1")->failures, 0);
        tear_down(&w);
}

/* A worker that says nothing any more and does not hear either. */
static void test_silent(void **state)
{
        struct job_store *store;
        struct world w;

        (void)state;
        build(&w, "", true);
        w.silent_usec = 100000;
        store = open_store(&w);
        (void)add_job(store, "deaf", "QX-1");
        (void)job_store_close(store);
        begin(&w);
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, is(&w, "A1", BTH_DRIVE_STATE_COMPLETED_MORE_INFO, JOB_ACTIVITY_FAILED));
        assert_int_equal(in(&w, "A1")->record->model.drives[0].status,
                         BTH_DRIVE_STATUS_INTERNAL_ERROR);
        tear_down(&w);
}

static void test_pause(void **state)
{
        struct world w;

        (void)state;
        one(&w, "obedient");
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, shows(&w, "A1") == JOB_ACTIVITY_UNLOCKING);
        assert_int_equal(ask(&w, DMN_VERB_DRIVE_RETRY, "QX-1", NULL), -EPERM);
        assert_int_equal(ask(&w, DMN_VERB_DRIVE_PAUSE, "qx-1", NULL), 0);
        UNTIL(&w, is(&w, "A1", BTH_DRIVE_STATE_TRANSFERRING, JOB_ACTIVITY_PAUSED) &&
                          !in(&w, "A1")->worker);
        assert_int_equal(ask(&w, DMN_VERB_DRIVE_PAUSE, "QX-1", NULL), -EPERM);
        assert_int_equal(ask(&w, DMN_VERB_DRIVE_RESUME, "QX-1", NULL), 0);
        UNTIL(&w, shows(&w, "A1") == JOB_ACTIVITY_UNLOCKING);
        assert_int_equal(ask(&w, DMN_VERB_DRIVE_PAUSE, "QX-2", NULL), -ENOENT);
        tear_down(&w);
}

static void test_give_up(void **state)
{
        struct world w;

        (void)state;
        one(&w, "obedient");
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, shows(&w, "A1") == JOB_ACTIVITY_UNLOCKING);
        assert_int_equal(ask(&w, DMN_VERB_DRIVE_GIVE_UP, "QX-1", NULL), 0);
        UNTIL(&w, is(&w, "A1", BTH_DRIVE_STATE_COMPLETED_MORE_INFO, JOB_ACTIVITY_FAILED));
        assert_null(in(&w, "A1")->worker);
        assert_int_equal(ask(&w, DMN_VERB_DRIVE_GIVE_UP, "QX-1", NULL), -EPERM);
        tear_down(&w);
}

/* An ejected drive stays where it is: it does not begin by itself, also not after a restart. */
static void test_eject(void **state)
{
        struct world w;

        (void)state;
        one(&w, "obedient");
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, shows(&w, "A1") == JOB_ACTIVITY_UNLOCKING);
        assert_int_equal(ask(&w, DMN_VERB_BAY_EJECT, "A1", NULL), 0);
        assert_int_equal(shows(&w, "A1"), JOB_ACTIVITY_SAFE_TO_REMOVE);
        assert_false(model_of(&w, "obedient").drives[0].docked);
        assert_int_equal(ask(&w, DMN_VERB_DRIVE_EJECT, "QX-1", NULL), 0); /* twice is well */
        end(&w);
        begin(&w);
        UNTIL(&w, shows(&w, "A1") == JOB_ACTIVITY_SAFE_TO_REMOVE);
        dmn_station_look(w.station);
        for (int i = 0; i < 10; i++)
                turn(&w);
        assert_null(in(&w, "A1")->worker);
        pull(&w, "A1", "QX-1.img");
        UNTIL(&w, !in(&w, "A1"));
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, shows(&w, "A1") == JOB_ACTIVITY_UNLOCKING);
        tear_down(&w);
}

/* A real drive is gone for the kernel once it is ejected, but not from its bay. */
static void test_eject_for_good(void **state)
{
        struct dmn_slot *slot;
        struct hal_docking gone;
        struct world w;
        json_t *view;

        (void)state;
        one(&w, "obedient");
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, shows(&w, "A1") == JOB_ACTIVITY_UNLOCKING);
        slot = in(&w, "A1");
        slot->is_virtual = false;
        slot->eject.set = true;
        dmn_slot_step(slot);
        UNTIL(&w, slot->aside);
        gone = *slot->docking;
        gone.state = HAL_DOCKING_GONE;
        dmn_slot_docking(slot, &gone);
        pull(&w, "A1", "QX-1.img");
        UNTIL(&w, in(&w, "A1") && dmn_slot_is_over(slot));
        assert_ptr_equal(in(&w, "A1"), slot);
        assert_int_equal(shows(&w, "A1"), JOB_ACTIVITY_SAFE_TO_REMOVE);
        assert_false(model_of(&w, "obedient").drives[0].docked);
        assert_int_equal(model_of(&w, "obedient").drives[0].activity, JOB_ACTIVITY_DOCK_AGAIN);
        assert_true(docking_ended(&w, "QX-1", "ejected"));
        assert_int_equal(ask(&w, DMN_VERB_BAY_EJECT, "A1", NULL), 0); /* twice is well */
        assert_int_equal(ask(&w, DMN_VERB_DRIVE_EJECT, "QX-1", NULL), 0);
        assert_int_equal(ask(&w, DMN_VERB_BAY_MATCH, "A1", json_pack("{s:s}", "drive", "QX-1")),
                         -ENOENT);
        view = dmn_bay_view(w.station, hal_bays_find(&w.station->bays, "A1"));
        assert_string_equal(json_string_value(json_object_get(view, "state")), "ejected");
        json_decref(view);
        dock(&w, "A1", "QX-2.img");
        UNTIL(&w, in(&w, "A1") && strcmp(in(&w, "A1")->identity.serial, "QX-2") == 0);
        assert_null(w.station->slots->next);
        tear_down(&w);
}

struct adding {
        const char *job, *serial;
        bool done;
};

static int task_add(struct job_store *store, void *userdata, struct bth_error *error)
{
        const struct adding *a = userdata;

        (void)error;
        return add_job(store, a->job, a->serial) > 0 ? 0 : -EIO;
}

static void added(void *userdata, int r, const struct bth_error *error)
{
        (void)error;
        assert_int_equal(r, 0);
        ((struct adding *)userdata)->done = true;
}

static void test_extra(void **state)
{
        struct adding a = { .job = "good", .serial = "QX-1" };
        struct world w;

        (void)state;
        build(&w, "", true);
        begin(&w);
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, in(&w, "A1") && in(&w, "A1")->docking_id > 0);
        assert_int_equal(shows(&w, "A1"), JOB_ACTIVITY_UNKNOWN_DRIVE);
        assert_int_equal(ask(&w, DMN_VERB_DRIVE_GIVE_UP, "QX-1", NULL), -ENOENT);
        assert_int_equal(job_thread_submit(w.store, task_add, added, &a), 0);
        UNTIL(&w, a.done);
        dmn_station_look(w.station);
        UNTIL(&w, is(&w, "A1", BTH_DRIVE_STATE_COMPLETED, JOB_ACTIVITY_SAFE_TO_REMOVE));
        tear_down(&w);
}

static void test_by_hand(void **state)
{
        struct world w;

        (void)state;
        one(&w, "good");
        dock(&w, "A1", " .img"); /* without a serial number */
        UNTIL(&w, in(&w, "A1") && in(&w, "A1")->health_asked);
        assert_int_equal(shows(&w, "A1"), JOB_ACTIVITY_UNKNOWN_DRIVE);
        assert_int_equal(ask(&w, DMN_VERB_BAY_MATCH, "A1", json_pack("{s:s}", "drive", "NO")),
                         -ENOENT);
        assert_int_equal(ask(&w, DMN_VERB_BAY_MATCH, "A1", json_object()), -EINVAL);
        assert_int_equal(ask(&w, DMN_VERB_BAY_MATCH, "A2", json_pack("{s:s}", "drive", "QX-1")),
                         -ENOENT);
        assert_int_equal(ask(&w, DMN_VERB_BAY_MATCH, "A1", json_pack("{s:s}", "drive", "QX-1")), 0);
        UNTIL(&w, is(&w, "A1", BTH_DRIVE_STATE_COMPLETED, JOB_ACTIVITY_SAFE_TO_REMOVE));
        tear_down(&w);
}

static void test_nameless_eject(void **state)
{
        struct world w;

        (void)state;
        one(&w, "good");
        dock(&w, "A1", " .img");
        UNTIL(&w, in(&w, "A1") && in(&w, "A1")->health_asked);
        assert_int_equal(ask(&w, DMN_VERB_BAY_EJECT, "A1", NULL), 0);
        assert_int_equal(shows(&w, "A1"), JOB_ACTIVITY_SAFE_TO_REMOVE);
        pull(&w, "A1", " .img");
        UNTIL(&w, !in(&w, "A1"));
        tear_down(&w);
}

/* A bridge is taken with a warning, or not at all. An image has none: the slot is told that it is
 * one while the store still books it. */
static void test_strict_hardware(void **state)
{
        struct job_store *store;
        struct world w;

        (void)state;
        build(&w, "strict_hardware = yes\n", true);
        store = open_store(&w);
        (void)add_job(store, "good", "QX-1");
        (void)job_store_close(store);
        begin(&w);
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, in(&w, "A1") && in(&w, "A1")->busy);
        in(&w, "A1")->identity.bus = HAL_BUS_USB;
        UNTIL(&w, is(&w, "A1", BTH_DRIVE_STATE_RECEIVED, JOB_ACTIVITY_NOT_ACCEPTED));
        assert_true(in(&w, "A1")->record->model.drives[0].unprocessed);
        tear_down(&w);
}

static bool is_there(const struct world *w, const char *name)
{
        char path[128];

        path_of(w, name, path, sizeof path);
        return access(path, F_OK) == 0;
}

/* What a run remembered goes with its job, and not before. */
static void test_forgets(void **state)
{
        static const char *const folders[] = { "state/transfers", "state/transfers/1-0",
                                               "state/transfers/999-0", "state/transfers/other" };
        struct job_store *store;
        char path[128];
        struct world w;

        (void)state;
        build(&w, "", true);
        store = open_store(&w);
        assert_int_equal(add_job(store, "good", "QX-1"), 1);
        (void)job_store_close(store);
        for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
                path_of(&w, folders[i], path, sizeof path);
                assert_int_equal(mkdir(path, 0700), 0);
                if (i > 0) {
                        (void)strcat(path, "/record");
                        write_text(path, "x");
                }
        }
        begin(&w);
        UNTIL(&w, !is_there(&w, "state/transfers/999-0"));
        assert_true(is_there(&w, "state/transfers/1-0/record"));
        assert_true(is_there(&w, "state/transfers/other/record"));
        tear_down(&w);
}

/* Two bays with one serial number: neither is touched until one of them is gone. */
static void test_duplicate(void **state)
{
        struct world w;

        (void)state;
        one(&w, "obedient");
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, shows(&w, "A1") == JOB_ACTIVITY_UNLOCKING);
        dock(&w, "A2", "QX-1.bin");
        UNTIL(&w, in(&w, "A2") && in(&w, "A2")->health_asked);
        assert_int_equal(shows(&w, "A2"), JOB_ACTIVITY_UNKNOWN_DRIVE);
        pull(&w, "A1", "QX-1.img");
        UNTIL(&w, !in(&w, "A1") && shows(&w, "A2") == JOB_ACTIVITY_UNLOCKING);
        tear_down(&w);
}

static void test_one_at_once(void **state)
{
        struct job_store *store;
        struct world w;

        (void)state;
        build(&w, "workers_at_once = 1\n", true);
        store = open_store(&w);
        (void)add_job(store, "obedient", "QX-1");
        (void)add_job(store, "good", "QX-2");
        (void)job_store_close(store);
        begin(&w);
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, shows(&w, "A1") == JOB_ACTIVITY_UNLOCKING);
        dock(&w, "A2", "QX-2.img");
        UNTIL(&w, in(&w, "A2") && in(&w, "A2")->waits[0] != '\0');
        assert_int_equal(ask(&w, DMN_VERB_DRIVE_PAUSE, "QX-1", NULL), 0);
        UNTIL(&w, is(&w, "A2", BTH_DRIVE_STATE_COMPLETED, JOB_ACTIVITY_SAFE_TO_REMOVE));
        tear_down(&w);
}

/* The account is not in the configuration; then it is. */
static void test_account(void **state)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct job_store *store;
        struct world w;

        (void)state;
        build(&w, "", false);
        store = open_store(&w);
        (void)add_job(store, "good", "QX-1");
        (void)job_store_close(store);
        begin(&w);
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, in(&w, "A1") && in(&w, "A1")->trouble.code < 0 && !in(&w, "A1")->busy);
        assert_non_null(strstr(in(&w, "A1")->trouble.sentence, "photos"));
        write_text(w.config, "[station]\nnonsense = 1\n");
        assert_true(dmn_station_reload(w.station, &e) < 0);
        configure(&w, "", true);
        assert_int_equal(dmn_station_reload(w.station, &e), 0);
        UNTIL(&w, is(&w, "A1", BTH_DRIVE_STATE_COMPLETED, JOB_ACTIVITY_SAFE_TO_REMOVE));
        tear_down(&w);
}

static void test_stop(void **state)
{
        struct world w;

        (void)state;
        one(&w, "obedient");
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, shows(&w, "A1") == JOB_ACTIVITY_UNLOCKING);
        dmn_station_stop(w.station, on_stopped, &w);
        UNTIL(&w, w.stopped);
        assert_null(in(&w, "A1")->worker);
        end(&w);
        begin(&w);
        UNTIL(&w, shows(&w, "A1") == JOB_ACTIVITY_UNLOCKING);
        tear_down(&w);
}

/* -- the store has too much to do -- */

static atomic_bool held_up;

static int task_hold(struct job_store *store, void *userdata, struct bth_error *error)
{
        (void)store;
        (void)userdata;
        (void)error;
        while (atomic_load(&held_up))
                (void)usleep(1000);
        return 0;
}

/* A drive that could not begin at once gives its share of the memory back, and begins later. */
static void test_store_is_busy(void **state)
{
        struct job_store *store;
        struct world w;

        (void)state;
        build(&w, "workers_at_once = 1\nstart_at_once = no\n", true);
        store = open_store(&w);
        (void)add_job(store, "good", "QX-1");
        (void)job_store_close(store);
        begin(&w);
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, in(&w, "A1") && in(&w, "A1")->waits[0] != '\0' && !in(&w, "A1")->busy);
        atomic_store(&held_up, true);
        while (job_thread_submit(w.store, task_hold, NULL, NULL) == 0)
                ;
        in(&w, "A1")->released = true;
        dmn_slot_step(in(&w, "A1"));
        assert_false(in(&w, "A1")->busy);
        atomic_store(&held_up, false);
        UNTIL(&w, is(&w, "A1", BTH_DRIVE_STATE_COMPLETED, JOB_ACTIVITY_SAFE_TO_REMOVE));
        tear_down(&w);
}

/* A worker has its order for good: with another account it gets another order. */
static void test_account_changes(void **state)
{
        struct bth_error e = BTH_ERROR_INIT;
        char text[2048], longer[2304];
        struct world w;
        pid_t first;
        ssize_t n;
        int fd;

        (void)state;
        one(&w, "obedient");
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, in(&w, "A1") && in(&w, "A1")->worker);
        first = dmn_worker_pid(in(&w, "A1")->worker);
        assert_int_equal(dmn_station_reload(w.station, &e), 0);
        assert_int_equal(ask(&w, DMN_VERB_DRIVE_RESUME, "QX-1", NULL), -EPERM);
        assert_int_equal(dmn_worker_pid(in(&w, "A1")->worker), first);
        assert_false(in(&w, "A1")->stopping);

        fd = open(w.config, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        n = read(fd, text, sizeof text - 1);
        assert_true(n > 0);
        (void)close(fd);
        text[n] = '\0';
        (void)snprintf(longer, sizeof longer, "%sendpoint = https://other.example/\n", text);
        write_text(w.config, longer);
        assert_int_equal(dmn_station_reload(w.station, &e), 0);
        UNTIL(&w, in(&w, "A1")->worker && dmn_worker_pid(in(&w, "A1")->worker) != first);
        assert_int_equal(in(&w, "A1")->failures, 0);
        tear_down(&w);
}

static int count_run(void *userdata, const struct job_run_record *run)
{
        (void)run;
        (*(int *)userdata)++;
        return 0;
}

static int runs;

static int task_runs(struct job_store *store, void *userdata, struct bth_error *error)
{
        const struct dmn_slot *slot = userdata;

        runs = 0;
        return job_store_runs(store, slot->job, slot->drive, count_run, &runs, error);
}

/* A drive that waits for its credential says so, once, however long that takes. */
static void test_no_credential(void **state)
{
        struct job_store *store;
        struct world w;

        (void)state;
        build(&w, "", true);
        assert_int_equal(unlink(w.credential), 0);
        store = open_store(&w);
        (void)add_job(store, "good", "QX-1");
        (void)job_store_close(store);
        begin(&w);
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, is(&w, "A1", BTH_DRIVE_STATE_TRANSFERRING, JOB_ACTIVITY_PAUSED_CREDENTIALS));
        for (unsigned i = 0; i < 3; i++) {
                in(&w, "A1")->again_usec = 0;
                dmn_slot_step(in(&w, "A1"));
                UNTIL(&w,
                      is(&w, "A1", BTH_DRIVE_STATE_TRANSFERRING, JOB_ACTIVITY_PAUSED_CREDENTIALS));
        }
        assert_int_equal(job_thread_submit(w.store, task_runs, NULL, in(&w, "A1")), 0);
        UNTIL(&w, job_thread_pending(w.store) == 0);
        assert_int_equal(runs, 1);
        write_text(w.credential, "c2VjcmV0\n");
        UNTIL(&w, is(&w, "A1", BTH_DRIVE_STATE_COMPLETED, JOB_ACTIVITY_SAFE_TO_REMOVE));
        tear_down(&w);
}

static void test_bays_change(void **state)
{
        struct bth_error e = BTH_ERROR_INIT;
        char text[1024];
        struct world w;

        (void)state;
        one(&w, "obedient");
        dock(&w, "A1", "QX-1.img");
        UNTIL(&w, shows(&w, "A1") == JOB_ACTIVITY_UNLOCKING);
        (void)snprintf(text, sizeof text,
                       "[station]\nstate_directory = %s/state\nrun_directory = %s\nworker = %s\n"
                       "[bay B1]\ndirectory = %s/A1\n",
                       w.folder, w.folder, program, w.folder);
        write_text(w.config, text);
        assert_int_equal(dmn_station_reload(w.station, &e), -EBUSY);
        assert_int_equal(ask(&w, DMN_VERB_DRIVE_PAUSE, "QX-1", NULL), 0);
        UNTIL(&w, is(&w, "A1", BTH_DRIVE_STATE_TRANSFERRING, JOB_ACTIVITY_PAUSED) &&
                          !in(&w, "A1")->worker);
        if (dmn_station_reload(w.station, &e) < 0)
                fail_msg("%s", e.sentence);
        UNTIL(&w, is(&w, "B1", BTH_DRIVE_STATE_TRANSFERRING, JOB_ACTIVITY_PAUSED));
        tear_down(&w);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_good),
                cmocka_unit_test(test_last_progress),
                cmocka_unit_test(test_pulled),
                cmocka_unit_test(test_crashes),
                cmocka_unit_test(test_pause),
                cmocka_unit_test(test_give_up),
                cmocka_unit_test(test_eject),
                cmocka_unit_test(test_eject_for_good),
                cmocka_unit_test(test_extra),
                cmocka_unit_test(test_by_hand),
                cmocka_unit_test(test_duplicate),
                cmocka_unit_test(test_one_at_once),
                cmocka_unit_test(test_account),
                cmocka_unit_test(test_stop),
                cmocka_unit_test(test_store_is_busy),
                cmocka_unit_test(test_account_changes),
                cmocka_unit_test(test_no_credential),
                cmocka_unit_test(test_bays_change),
                cmocka_unit_test(test_record_is_busy),
                cmocka_unit_test(test_silent),
                cmocka_unit_test(test_nameless_eject),
                cmocka_unit_test(test_forgets),
                cmocka_unit_test(test_strict_hardware),
        };
        sigset_t set;

        if (argc != 2)
                return EXIT_FAILURE;
        (void)snprintf(program, sizeof program, "%s", argv[1]);
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return EXIT_FAILURE;
        bth_log_open(getenv("BERTH_TEST_LOG") ? BTH_LOG_TARGET_STDERR : BTH_LOG_TARGET_NONE,
                     LOG_DEBUG);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
