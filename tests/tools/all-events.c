/* SPDX-License-Identifier: GPL-3.0-or-later */
/* all-events STORE SEED - lets everything that can happen to jobs and drives happen in a new store,
 * in an order of the seed's, and prints what a receiver must know: first a line with the words that
 * events use, then each event as a CloudEvent, a line each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "jobs/event.h"

#define JOBS   24
#define DRIVES 4
#define STEPS  6000
#define T0     (UINT64_C(1700000000) * 1000000)
#define HOUR   (UINT64_C(3600) * 1000000)

static const struct job_policy policy;
static struct job_store *store;
static uint64_t now_usec = T0, state;

static uint64_t pick(uint64_t n)
{
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        return (state >> 33) % n;
}

static void add_job(unsigned i)
{
        struct job_draft_drive drives[DRIVES];
        char serials[DRIVES][32], name[32];
        struct job_draft d = { .name = name,
                               .scope = i % 3 == 0 ? "/subscriptions/s/resourceGroups/g" : NULL,
                               .account = "/accounts/photos",
                               .origin = i % 2 ? "journal" : "upstream",
                               .accept_unshipped = i % 4 != 0,
                               .drives = drives,
                               .n_drives = DRIVES };
        uint64_t id;

        (void)snprintf(name, sizeof name, "job-%u", i);
        for (unsigned k = 0; k < DRIVES; k++) {
                (void)snprintf(serials[k], sizeof serials[k], "S%u-%u", i, k);
                drives[k] = (struct job_draft_drive){ .serial = serials[k],
                                                      .manifest_file = "\\m.xml",
                                                      .manifest_hash = "0" };
        }
        if (job_store_add(store, &d, pick(2), now_usec, i % 2 ? "uid 0 (root)" : NULL, &id, NULL) <
            0)
                abort();
}

static void dock(uint64_t job, size_t drive)
{
        static uint64_t n_extra;
        char serial[32];
        const bool extra = pick(8) == 0;
        struct job_docking d = { .serial = serial,
                                 .bay = "A1",
                                 .model = "BIG DISK",
                                 .bus = "usb",
                                 .size_bytes = UINT64_C(8) << 40,
                                 .warning = pick(2) ? "a USB bridge" : NULL };
        struct job_outcome outcome;
        uint64_t id;

        (void)snprintf(serial, sizeof serial, extra ? "X%llu" : "S%llu-%llu",
                       extra ? (unsigned long long)n_extra++ : (unsigned long long)job - 1,
                       (unsigned long long)drive);
        if (!extra) {
                d.job = job;
                d.drive = drive;
                d.matched = "serial";
        }
        if (job_store_dock(store, &d, &policy, now_usec, NULL, &id, &outcome, NULL) == 0 && pick(2))
                (void)!job_store_undock(store, id, pick(2), &policy, now_usec, "uid 0 (root)",
                                        &outcome, NULL);
}

static void end_run(uint64_t job, size_t drive)
{
        const struct bth_result_report r = {
                .end = (enum bth_run_end)pick(_BTH_RUN_END_MAX),
                .copy_status = (char *)(uintptr_t)bth_drive_status_to_string(
                        (enum bth_drive_status)pick(_BTH_DRIVE_STATUS_MAX)),
                .sentence = (char *)(uintptr_t) "so it went",
                .blobs = 10,
                .completed = pick(11),
                .bytes = 1000,
                .error_log = (char *)(uintptr_t) "waimportexport/e.xml",
                .verbose_log = (char *)(uintptr_t) "waimportexport/v.xml",
                .manifest = (char *)(uintptr_t) "waimportexport/m.xml",
        };
        struct job_outcome outcome;

        (void)!job_store_result(store, job, drive, &r, &policy, now_usec, &outcome, NULL);
}

/* As far as a drive comes in the usual way. */
static void work(uint64_t job, size_t drive)
{
        static const enum job_input_kind kinds[] = { JOB_INPUT_SHIPPED, JOB_INPUT_DOCKED,
                                                     JOB_INPUT_BEGUN, JOB_INPUT_REPORTED,
                                                     JOB_INPUT_PROGRESS };

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                const struct job_act act = {
                        .job = job,
                        .input = { .kind = kinds[i],
                                   .drive = i == 0 ? JOB_NO_DRIVE : drive,
                                   .activity = JOB_ACTIVITY_TRANSFERRING,
                                   .bytes = 1000,
                                   .bytes_done = pick(1001),
                                   .blobs = 10,
                                   .blobs_done = pick(11) },
                };
                struct job_outcome outcome;

                (void)!job_store_apply(store, &act, &policy, now_usec, NULL, &outcome, NULL);
        }
}

static void happen(void)
{
        const uint64_t job = 1 + pick(JOBS);
        const size_t drive = pick(DRIVES);
        const struct job_act act = {
                .job = job,
                .detail = pick(3) ? NULL : "a sentence of the station's",
                .input = { .kind = (enum job_input_kind)pick(_JOB_INPUT_MAX),
                           .drive = drive,
                           .status = (enum bth_drive_status)pick(_BTH_DRIVE_STATUS_MAX),
                           .activity = JOB_ACTIVITY_STARTING +
                                       (enum job_activity)pick(JOB_ACTIVITY_STOPPING -
                                                               JOB_ACTIVITY_STARTING + 1),
                           .bytes = 1000,
                           .bytes_done = pick(1001),
                           .blobs = 10,
                           .blobs_done = pick(11) },
        };
        struct job_outcome outcome;
        uint64_t next;

        now_usec += pick(HOUR);
        switch (pick(12)) {
        case 0:
                dock(job, drive);
                break;
        case 1:
                end_run(job, drive);
                break;
        case 3:
                work(job, drive);
                break;
        case 2:
                if (pick(20) == 0)
                        now_usec += 24 * 15 * HOUR;
                (void)!job_store_tick(store, &policy, now_usec, &next, NULL);
                break;
        default:
                (void)!job_store_apply(store, &act, &policy, now_usec,
                                       pick(2) ? "uid 7 (anna)" : NULL, &outcome, NULL);
        }
}

/* --- printing --- */

#define PUT_WORDS(j, key, type, TYPE)                                                  \
        do {                                                                           \
                json_t *list = json_array();                                           \
                for (int i = 0; i < _##TYPE##_MAX; i++)                                \
                        json_array_append_new(list, json_string(type##_to_string(i))); \
                json_object_set_new(j, key, list);                                     \
        } while (0)

static void print_words(void)
{
        json_t *j = json_object();

        json_t *types = json_array();

        for (int i = 0; i < _JOB_CHANGE_MAX; i++)
                if (job_change_is_told(i))
                        json_array_append_new(types, json_string(job_change_kind_to_string(i)));
        json_object_set_new(j, "types", types);
        PUT_WORDS(j, "jobStates", bth_job_state, BTH_JOB_STATE);
        PUT_WORDS(j, "driveStates", bth_drive_state, BTH_DRIVE_STATE);
        PUT_WORDS(j, "driveStatuses", bth_drive_status, BTH_DRIVE_STATUS);
        PUT_WORDS(j, "activities", job_activity, JOB_ACTIVITY);
        PUT_WORDS(j, "alerts", job_alert, JOB_ALERT);
        (void)json_dumpf(j, stdout, JSON_COMPACT);
        (void)putchar('\n');
        json_decref(j);
}

static int print_event(void *userdata, const struct job_event *e)
{
        _cleanup_free_ char *text = NULL;

        if (job_event_to_json(e, job_store_uid(store), "/stations/hall%201", &text) < 0)
                abort();
        (void)puts(text);
        *(uint64_t *)userdata = e->seq;
        return 0;
}

int main(int argc, char **argv)
{
        struct job_event_filter f = { .drive = JOB_NO_DRIVE, .limit = JOB_STORE_PAGE_MAX };
        struct bth_error e = BTH_ERROR_INIT;
        uint64_t before;

        if (argc != 3 || bth_parse_u64(argv[2], &state) < 0)
                return 2;
        if (job_store_open(argv[1], &store, &e) < 0) {
                (void)fprintf(stderr, "%s\n", e.sentence);
                return 1;
        }
        for (unsigned i = 0; i < JOBS; i++)
                add_job(i);
        for (unsigned i = 0; i < STEPS; i++)
                happen();
        print_words();
        do {
                before = f.after;
                if (job_store_events(store, &f, print_event, &f.after, &e) < 0)
                        return 1;
        } while (f.after > before);
        store = job_store_close(store);
        return 0;
}
