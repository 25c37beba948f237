/* SPDX-License-Identifier: GPL-3.0-or-later */
/* job-view - jobs, drives, runs and events as the API shows them (berth-api(7)). Any thread. */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/time.h"
#include "daemon/verbs.h"

static void set(json_t *object, const char *key, json_t *value)
{
        (void)json_object_set_new(object, key, value);
}

static void set_text(json_t *object, const char *key, const char *text)
{
        if (text && text[0] != '\0' && bth_utf8_valid(text, strlen(text)))
                set(object, key, json_string(text));
}

static void set_u64(json_t *object, const char *key, uint64_t value)
{
        set(object, key, json_integer((json_int_t)MIN(value, (uint64_t)INT64_MAX)));
}

static void set_time(json_t *object, const char *key, uint64_t usec)
{
        char text[BTH_TIME_TEXT_MAX];

        if (usec > 0)
                set_text(object, key, bth_time_iso8601(usec, text));
}

/* --- drives --- */

static void add_amounts(json_t *j, const struct job_drive *d)
{
        set_u64(j, "percent", job_drive_percent(d));
        if (d->bytes > 0 || d->blobs > 0) {
                set_u64(j, "bytes", d->bytes);
                set_u64(j, "bytes_done", d->bytes_done);
                set_u64(j, "blobs", d->blobs);
                set_u64(j, "blobs_done", d->blobs_done);
        }
        set_time(j, "received_at", d->received_usec);
        set_time(j, "begun_at", d->begun_usec);
        set_time(j, "ended_at", d->ended_usec);
        if (d->corrections > 0)
                set_u64(j, "corrections", d->corrections);
}

json_t *dmn_drive_view(const struct job_record *r, size_t drive)
{
        const struct job_record_drive *texts = &r->drives[drive];
        const struct job_drive *d = &r->model.drives[drive];
        json_t *j = json_object();

        set_text(j, "serial", texts->serial);
        set_text(j, "job", r->name);
        set_text(j, "scope", r->scope);
        set_u64(j, "job_id", r->id);
        set_u64(j, "index", drive);
        set_text(j, "state", bth_drive_state_to_string(d->state));
        set_text(j, "copy_status", job_drive_copy_status(d));
        set_text(j, "activity", job_activity_to_string(d->activity));
        set_text(j, "sentence", texts->detail ? texts->detail : job_activity_sentence(d->activity));
        set_text(j, "bay", texts->bay);
        set(j, "docked", json_boolean(d->docked));
        set(j, "running", json_boolean(d->running));
        set(j, "held", json_boolean(d->held));
        add_amounts(j, d);
        set_text(j, "manifest_file", texts->manifest_file);
        set_text(j, "manifest_hash", texts->manifest_hash);
        set_text(j, "error_log", texts->error_log);
        set_text(j, "verbose_log", texts->verbose_log);
        set_text(j, "manifest_log", texts->manifest_log);
        return j;
}

/* --- jobs --- */

json_t *dmn_job_view(const struct job_record *r)
{
        const struct job_model *m = &r->model;
        json_t *j = json_object(), *alerts = json_array(), *drives = json_array();

        set_u64(j, "id", r->id);
        set_text(j, "name", r->name);
        set_text(j, "scope", r->scope);
        set_text(j, "account", r->account);
        set_text(j, "location", r->location);
        set_text(j, "origin", r->origin);
        set_text(j, "state", bth_job_state_to_string(m->state));
        set_u64(j, "percent", job_percent(m));
        set(j, "cancel_requested", json_boolean(m->cancel_requested));
        set(j, "accept_unshipped", json_boolean(m->accept_unshipped));
        set(j, "verbose_log", json_boolean(r->verbose_log));
        set(j, "backup_manifest", json_boolean(r->backup_manifest));
        set_time(j, "created_at", m->created_usec);
        set_time(j, "shipped_at", m->shipped_usec);
        set_time(j, "ended_at", m->ended_usec);
        for (int a = 0; a < _JOB_ALERT_MAX; a++)
                if (m->alerts & 1u << a)
                        (void)json_array_append_new(alerts, json_string(job_alert_to_string(a)));
        for (size_t i = 0; i < m->n_drives; i++)
                (void)json_array_append_new(drives, dmn_drive_view(r, i));
        set(j, "alerts", alerts);
        set(j, "drives", drives);
        return j;
}

/* --- runs and events --- */

json_t *dmn_run_view(const struct job_run_record *run)
{
        json_t *j = json_object();

        set_time(j, "ended_at", run->ended_usec);
        set_text(j, "end", bth_run_end_to_string(run->end));
        set_text(j, "copy_status", run->copy_status);
        set_text(j, "reason", run->reason);
        set_text(j, "sentence", run->sentence);
        set_u64(j, "blobs", run->blobs);
        set_u64(j, "completed", run->completed);
        set_u64(j, "created", run->created);
        set_u64(j, "renamed", run->renamed);
        set_u64(j, "skipped", run->skipped);
        set_u64(j, "overwritten", run->overwritten);
        set_u64(j, "failed", run->failed);
        set_u64(j, "bytes", run->bytes);
        set_u64(j, "sent_bytes", run->sent_bytes);
        set_text(j, "error_log", run->error_log);
        set_text(j, "verbose_log", run->verbose_log);
        set_text(j, "manifest", run->manifest);
        return j;
}

/* The name of the job in "SCOPE/jobs/NAME/drives/SERIAL", where a serial number may have slashes.
 */
static void set_job_of_subject(json_t *j, const struct job_event *e)
{
        static const char before_serial[] = "/drives/";
        size_t n = strlen(e->subject), name;

        if (e->serial && bth_ends_with(e->subject, e->serial) &&
            n > strlen(e->serial) + strlen(before_serial))
                n -= strlen(e->serial) + strlen(before_serial);
        name = n;
        while (name > 0 && e->subject[name - 1] != '/')
                name--;
        set(j, "job", json_stringn(e->subject + name, n - name));
}

/* All but what it is about. */
static json_t *event_head(const struct job_event *e)
{
        json_t *j = json_object();

        set_u64(j, "sequence", e->seq);
        set_text(j, "kind", job_change_kind_to_string(e->kind));
        set_time(j, "time", e->time_usec);
        if (e->job > 0 && e->subject) {
                set_u64(j, "job_id", e->job);
                set_job_of_subject(j, e);
        }
        set_text(j, "serial", e->serial);
        set_text(j, "subject", e->subject);
        set_text(j, "who", e->who ? e->who : "station");
        return j;
}

json_t *dmn_event_view(const struct job_event *e)
{
        json_t *j = event_head(e), *data = NULL;

        if (e->data && bth_json_parse(e->data, strlen(e->data), &data, NULL) == 0)
                set(j, "data", data);
        return j;
}

/* What an event is about is JSON already (jobs/event.c): it is not taken apart and put together
 * again. "data" comes before all other members in the alphabet. */
char *dmn_event_text(const struct job_event *e)
{
        _cleanup_json_ json_t *j = event_head(e);
        _cleanup_free_ char *rest = bth_json_to_text(j);
        char *text = NULL;

        if (!rest || !e->data)
                return take_ptr(rest);
        return asprintf(&text, "{\"data\":%s,%s", e->data, rest + 1) < 0 ? NULL : text;
}
