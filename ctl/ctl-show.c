/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-show - bays, drives and jobs in words: `list`, `show`, and what `jobs` and `watch` take from
 * here. Members that are not there are not shown; whatever is shown is escaped by the table. */
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "jobs/match.h"

enum ctl_exit ctl_print(struct ctl_context *c, const struct ctl_table *t)
{
        struct bth_error error = BTH_ERROR_INIT;
        int r = ctl_table_print(t, stdout);

        if (r >= 0)
                return CTL_EXIT_OK;
        (void)bth_error_set(&error, r,
                            r == -ENOMEM ? BTH_REASON_OUT_OF_MEMORY : BTH_REASON_FILE_UNWRITABLE,
                            "the answer cannot be shown");
        ctl_fail(c, &error);
        return CTL_EXIT_FAILED;
}

bool ctl_confirmed(struct ctl_context *c, const char *object, const char *question)
{
        struct bth_error error = BTH_ERROR_INIT;
        char name[256], text[512];

        (void)snprintf(text, sizeof text, "%s: %s",
                       bth_escape(object, strlen(object), name, sizeof name), question);
        if (c->dry_run || ctl_confirm(c, text))
                return true;
        bth_error_at(&error, object, 0, BTH_ERROR_NO_OFFSET);
        (void)bth_error_set(&error, -EPERM, BTH_REASON_REFUSED, "that was not confirmed");
        bth_error_advise(&error, "answer yes, or give --yes");
        ctl_fail(c, &error);
        return false;
}

const char *ctl_activity_of(const json_t *object)
{
        const char *activity = ctl_text_of(object, "activity");

        if (activity[0] != '\0' && strcmp(activity, "none") != 0)
                return activity;
        return ctl_text_of(object, "state");
}

bool ctl_percent_of(const json_t *object, unsigned *percent)
{
        const json_t *p = json_object_get(json_object_get(object, "progress"), "percent");

        /* What the worker says is newer than what is recorded. */
        if (!json_is_number(p))
                p = json_object_get(object, "percent");
        if (!json_is_number(p) || !(json_number_value(p) >= 0))
                return false;
        *percent = (unsigned)MIN(json_number_value(p), 100.0);
        return true;
}

/* ---- list ---- */

static void add_percent(struct ctl_table *t, const json_t *object)
{
        unsigned percent;

        if (ctl_percent_of(object, &percent))
                ctl_table_add_format(t, "%u%%", percent);
        else
                ctl_table_add(t, NULL);
}

static void add_bay(struct ctl_table *t, const json_t *bay)
{
        const json_t *progress = json_object_get(bay, "progress");
        char text[CTL_TEXT_MAX];
        uint64_t n;

        ctl_table_add(t, ctl_text_of(bay, "bay"));
        ctl_table_add(t, ctl_text_of(json_object_get(bay, "drive"), "serial"));
        ctl_table_add(t, ctl_text_of(bay, "job"));
        ctl_table_add(t, ctl_activity_of(bay));
        add_percent(t, bay);
        ctl_table_add(t, ctl_number_of(progress, "bytes_per_second", &n) ? ctl_rate_text(n, text)
                                                                         : NULL);
        ctl_table_add(t, ctl_number_of(progress, "seconds_left", &n) ? ctl_duration_text(n, text)
                                                                     : NULL);
        ctl_table_add(t, ctl_text_of(bay, "sentence"));
}

static enum ctl_exit run_list(struct ctl_context *c, int argc, char **argv)
{
        static const struct ctl_column columns[] = {
                { "BAY" },
                { "DRIVE", .may_shrink = true },
                { "JOB", .may_shrink = true },
                { "STATE" },
                { "DONE", .to_right = true },
                { "RATE", .to_right = true },
                { "LEFT", .to_right = true },
                { "WHAT", .may_shrink = true },
        };
        _cleanup_client_ struct ctl_client k = { 0 };
        _cleanup_table_ struct ctl_table t = CTL_TABLE(columns);
        json_t *answer, *bays, *bay;
        enum ctl_exit code;
        char **words;
        size_t i;
        int n, r;

        r = ctl_client_options(&k, c, NULL, 0, argc, argv, 0, 0, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        code = ctl_client_ask(&k, &(struct ctl_ask){ CTL_REQUEST_BAYS_LIST }, &answer);
        if (code != CTL_EXIT_OK || c->json)
                return code;
        bays = json_object_get(answer, "bays");
        if (json_array_size(bays) == 0) {
                ctl_say(c, "The station has no bays. 'berthctl bays --learn' names them.");
                return CTL_EXIT_OK;
        }
        json_array_foreach(bays, i, bay) add_bay(&t, bay);
        return ctl_print(c, &t);
}

const struct ctl_verb ctl_list = {
        .name = "list",
        .summary = "Lists the bays and what is in them.",
        .run = run_list,
};

/* ---- facts ---- */

static void time_fact(struct ctl_table *t, const char *what, const json_t *object, const char *key)
{
        const char *time = ctl_text_of(object, key);
        char text[CTL_TEXT_MAX];

        if (time[0] != '\0')
                ctl_fact(t, what, ctl_time_text(time, text));
}

static void list_facts(struct ctl_table *t, const char *what, const json_t *list)
{
        const json_t *item;
        size_t i;

        json_array_foreach(list, i, item) ctl_fact(t, i == 0 ? what : " ", json_string_value(item));
}

static void yes_fact(struct ctl_table *t, const char *what, const json_t *object, const char *key)
{
        const json_t *value = json_object_get(object, key);

        if (json_is_boolean(value))
                ctl_fact(t, what, json_is_true(value) ? "yes" : "no");
}

static void state_fact(struct ctl_table *t, const json_t *object)
{
        const char *activity = ctl_text_of(object, "activity");
        const char *sentence = ctl_text_of(object, "sentence");

        ctl_fact(t, "State", ctl_text_of(object, "state"));
        if (activity[0] != '\0' && strcmp(activity, "none") != 0)
                ctl_fact_format(t, "Activity", "%s%s%s", activity, sentence[0] ? ": " : "",
                                sentence);
        else
                ctl_fact(t, "", sentence);
}

/* "12.3 GB of 27.1 GB, 45%" */
static void share_fact(struct ctl_table *t, const json_t *object)
{
        char done_text[32], all_text[32];
        uint64_t done = 0, all;
        unsigned percent;

        if (ctl_number_of(object, "bytes", &all) && all > 0) {
                (void)ctl_number_of(object, "bytes_done", &done);
                ctl_fact_format(t, "Bytes", "%s of %s", ctl_bytes_text(done, done_text),
                                ctl_bytes_text(all, all_text));
        }
        done = 0;
        if (ctl_number_of(object, "blobs", &all) && all > 0) {
                (void)ctl_number_of(object, "blobs_done", &done);
                ctl_fact_format(t, "Blobs", "%llu of %llu", (unsigned long long)done,
                                (unsigned long long)all);
        }
        if (ctl_percent_of(object, &percent))
                ctl_fact_format(t, "Done", "%u%%", percent);
}

static void number_fact(struct ctl_table *t, const char *what, const json_t *object,
                        const char *key)
{
        uint64_t n;

        if (ctl_number_of(object, key, &n))
                ctl_fact_format(t, what, "%llu", (unsigned long long)n);
}

static void progress_facts(struct ctl_table *t, const json_t *p)
{
        char text[CTL_TEXT_MAX];
        uint64_t n;

        if (!p)
                return;
        share_fact(t, p);
        if (ctl_number_of(p, "bytes_per_second", &n))
                ctl_fact(t, "Rate", ctl_rate_text(n, text));
        if (ctl_number_of(p, "seconds_left", &n))
                ctl_fact(t, "Time left", ctl_duration_text(n, text));
        ctl_fact(t, "Waits for", ctl_text_of(p, "wait"));
        if (ctl_number_of(p, "sent_bytes", &n))
                ctl_fact(t, "Sent", ctl_bytes_text(n, text));
        number_fact(t, "Requests", p, "requests");
        number_fact(t, "In flight", p, "in_flight");
        number_fact(t, "Retries", p, "retries");
        number_fact(t, "Throttled", p, "throttled");
        if (ctl_number_of(p, "memory_bytes", &n))
                ctl_fact(t, "Memory", ctl_bytes_text(n, text));
}

static void health_facts(struct ctl_table *t, const json_t *h)
{
        uint64_t n;

        if (!h)
                return;
        ctl_fact_format(t, "Health", "%s%s%s", ctl_text_of(h, "verdict"),
                        ctl_text_of(h, "sentence")[0] ? ": " : "", ctl_text_of(h, "sentence"));
        if (ctl_number_of(h, "temperature", &n))
                ctl_fact_format(t, "Temperature", "%llu degrees", (unsigned long long)n);
        number_fact(t, "Hours powered", h, "power_on_hours");
        number_fact(t, "Reallocated", h, "reallocated");
        number_fact(t, "Pending", h, "pending");
}

/* The drive as it is plugged in. */
static void hardware_facts(struct ctl_table *t, const json_t *d)
{
        char text[32];
        uint64_t n;

        if (!d)
                return;
        ctl_fact(t, "Drive", ctl_text_of(d, "serial"));
        ctl_fact(t, "Serial from", ctl_text_of(d, "serial_source"));
        ctl_fact(t, "Model", ctl_text_of(d, "model"));
        ctl_fact(t, "Firmware", ctl_text_of(d, "firmware"));
        ctl_fact(t, "Bus", ctl_text_of(d, "bus"));
        if (ctl_number_of(d, "size", &n))
                ctl_fact(t, "Size", ctl_bytes_text(n, text));
        number_fact(t, "Sector bytes", d, "sector_bytes");
        yes_fact(t, "Rotational", d, "rotational");
        ctl_fact(t, "Device", ctl_text_of(d, "node"));
        ctl_fact(t, "Fault", ctl_text_of(d, "fault"));
        list_facts(t, "Warnings", json_object_get(d, "warnings"));
        health_facts(t, json_object_get(d, "health"));
}

void ctl_bay_facts(struct ctl_table *t, const json_t *bay)
{
        const json_t *match = json_object_get(bay, "match");

        ctl_fact(t, "Bay", ctl_text_of(bay, "bay"));
        list_facts(t, "Places", json_object_get(bay, "places"));
        state_fact(t, bay);
        ctl_fact(t, "Lamp", ctl_text_of(bay, "led"));
        if (json_is_true(json_object_get(bay, "locate")))
                ctl_fact(t, "Locate", "on");
        time_fact(t, "Docked at", bay, "docked_at");
        hardware_facts(t, json_object_get(bay, "drive"));
        if (match)
                ctl_fact_format(t, "Match", "%s: %s", ctl_text_of(match, "kind"),
                                ctl_text_of(match, "sentence"));
        ctl_fact(t, "Job", ctl_text_of(bay, "job"));
        progress_facts(t, json_object_get(bay, "progress"));
        ctl_fact(t, "Sandbox", ctl_text_of(json_object_get(bay, "sandbox"), "sentence"));
}

void ctl_drive_facts(struct ctl_table *t, const json_t *d)
{
        ctl_fact(t, "Drive", ctl_text_of(d, "serial"));
        ctl_fact(t, "Job", ctl_text_of(d, "job"));
        state_fact(t, d);
        ctl_fact(t, "Copy status", ctl_text_of(d, "copy_status"));
        ctl_fact(t, "Bay", ctl_text_of(d, "bay"));
        yes_fact(t, "Docked", d, "docked");
        yes_fact(t, "Worker runs", d, "running");
        if (json_is_true(json_object_get(d, "held")))
                ctl_fact(t, "Held", "yes");
        if (json_object_get(d, "progress"))
                progress_facts(t, json_object_get(d, "progress"));
        else
                share_fact(t, d);
        time_fact(t, "Received", d, "received_at");
        time_fact(t, "Begun", d, "begun_at");
        time_fact(t, "Ended", d, "ended_at");
        number_fact(t, "Corrections", d, "corrections");
        ctl_fact(t, "Manifest", ctl_text_of(d, "manifest_file"));
        ctl_fact(t, "Manifest hash", ctl_text_of(d, "manifest_hash"));
        ctl_fact(t, "Error log", ctl_text_of(d, "error_log"));
        ctl_fact(t, "Verbose log", ctl_text_of(d, "verbose_log"));
        ctl_fact(t, "Manifest copy", ctl_text_of(d, "manifest_log"));
}

void ctl_job_facts(struct ctl_table *t, const json_t *job)
{
        unsigned percent;

        ctl_fact(t, "Job", ctl_text_of(job, "name"));
        ctl_fact(t, "Scope", ctl_text_of(job, "scope"));
        ctl_fact(t, "State", ctl_text_of(job, "state"));
        if (ctl_percent_of(job, &percent))
                ctl_fact_format(t, "Done", "%u%%", percent);
        if (json_is_true(json_object_get(job, "cancel_requested")))
                ctl_fact(t, "Cancelled", "yes");
        list_facts(t, "Alerts", json_object_get(job, "alerts"));
        ctl_fact(t, "Account", ctl_text_of(job, "account"));
        ctl_fact(t, "Location", ctl_text_of(job, "location"));
        ctl_fact(t, "Made from", ctl_text_of(job, "origin"));
        yes_fact(t, "May begin unshipped", job, "accept_unshipped");
        time_fact(t, "Made", job, "created_at");
        time_fact(t, "Ended", job, "ended_at");
}

const struct ctl_column ctl_drive_columns[6] = {
        { "DRIVE", .may_shrink = true }, { "STATE" },       { "BAY" },
        { "DONE", .to_right = true },    { "COPY STATUS" }, { "WHAT", .may_shrink = true },
};

void ctl_drive_row(struct ctl_table *t, const json_t *drive)
{
        const char *sentence = ctl_text_of(drive, "sentence");

        ctl_table_add(t, ctl_text_of(drive, "serial"));
        ctl_table_add(t, ctl_text_of(drive, "state"));
        ctl_table_add(t, ctl_text_of(drive, "bay"));
        add_percent(t, drive);
        ctl_table_add(t, ctl_text_of(drive, "copy_status"));
        ctl_table_add(t, sentence[0] != '\0' ? sentence : ctl_activity_of(drive));
}

/* ---- show ---- */

/* The bay in which a drive is that is in no job, or NULL: in `bays`. */
static const json_t *bay_of_drive(const json_t *bays, const char *serial)
{
        const json_t *bay;
        size_t i;

        json_array_foreach(
                bays, i,
                bay) if (job_serial_equal(ctl_text_of(json_object_get(bay, "drive"), "serial"),
                                          serial)) return bay;
        return NULL;
}

/* Returns a new reference, or NULL where no bay has it. */
static json_t *find_extra(struct ctl_client *k, const char *serial)
{
        json_t *answer;

        if (ctl_client_send(k, &(struct ctl_ask){ CTL_REQUEST_BAYS_LIST }, &answer, NULL) < 0)
                return NULL;
        return json_incref((json_t *)bay_of_drive(json_object_get(answer, "bays"), serial));
}

static enum ctl_exit print_one(struct ctl_client *k, json_t *answer, bool is_bay)
{
        _cleanup_table_ struct ctl_table t = CTL_TABLE(ctl_fact_columns);

        if (k->context->json) {
                json_decref(k->context->report);
                k->context->report = json_incref(answer);
                return CTL_EXIT_OK;
        }
        if (is_bay)
                ctl_bay_facts(&t, answer);
        else
                ctl_drive_facts(&t, answer);
        return ctl_print(k->context, &t);
}

/* A bay of that name, which the operator gave it; else a drive of a job; else the bay in which a
 * drive is that no job names. */
static enum ctl_exit show(struct ctl_client *k, const char *name, const char *job)
{
        const struct ctl_pair query[] = { { "job", job }, { NULL } };
        struct bth_error error = BTH_ERROR_INIT;
        _cleanup_json_ json_t *extra = NULL;
        json_t *answer = NULL;
        int r = -ENOENT;

        if (!job)
                r = ctl_client_send(k, &(struct ctl_ask){ CTL_REQUEST_BAY_SHOW, .target = name },
                                    &answer, &error);
        if (r != -ENOENT)
                return r < 0 ? ctl_client_fail(k, &error) : print_one(k, answer, true);
        bth_error_clear(&error);
        r = ctl_client_send(
                k, &(struct ctl_ask){ CTL_REQUEST_DRIVE_SHOW, .target = name, .query = query },
                &answer, &error);
        if (r >= 0)
                return print_one(k, answer, false);
        if (r == -ENOENT && !job) {
                json_t *refused = json_incref(k->answer);

                extra = find_extra(k, name);
                json_decref(k->answer);
                k->answer = refused; /* that is what is told when there is no such drive */
        }
        return extra ? print_one(k, extra, true) : ctl_client_fail(k, &error);
}

static enum ctl_exit run_show(struct ctl_context *c, int argc, char **argv)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        const char *job = NULL;
        const struct ctl_option options[] = { CTL_OPTION_JOB(&job) };
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, options, ARRAY_SIZE(options), argc, argv, 1, 1, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        return show(&k, words[0], job);
}

const struct ctl_verb ctl_show = {
        .name = "show",
        .arguments = "BAY|DRIVE",
        .summary = "Shows everything about a bay, or about a drive.",
        .details =
                "A name that a bay and a drive have is that of the bay; with --job it is a drive.",
        .run = run_show,
};
