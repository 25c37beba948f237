/* SPDX-License-Identifier: GPL-3.0-or-later */
/* event - see event.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "base/time.h"
#include "jobs/event.h"

/* Sets a member; takes `value` over. A NULL value is memory that was not there. */
static int put(json_t *object, const char *key, json_t *value)
{
        return value && json_object_set_new(object, key, value) == 0 ? 0 : -ENOMEM;
}

/* Texts come from outside: a journal may have spelled a serial number in no UTF-8 at all. */
static int put_text(json_t *object, const char *key, const char *text)
{
        char escaped[4096];

        if (!text)
                return 0;
        if (bth_utf8_valid(text, strlen(text)))
                return put(object, key, json_string(text));
        return put(object, key,
                   json_string(bth_escape(text, strlen(text), escaped, sizeof escaped)));
}

static int put_number(json_t *object, const char *key, uint64_t v)
{
        return put(object, key, json_integer((json_int_t)MIN(v, (uint64_t)INT64_MAX)));
}

static int to_text(const json_t *j, int r, char **ret)
{
        char *text = r == 0 ? bth_json_to_text(j) : NULL;

        if (!text)
                return -ENOMEM;
        *ret = text;
        return 0;
}

/* --- data --- */

static int put_job(json_t *j, const struct job_record *r)
{
        int k = put_text(j, "job", r->name);

        if (k == 0 && r->scope && r->scope[0] != '\0')
                k = put_text(j, "scope", r->scope);
        if (k == 0)
                k = put_text(j, "origin", r->origin);
        return k < 0 ? k : put_number(j, "jobId", r->id);
}

static int put_job_change(json_t *j, const struct job_record *r, const struct job_change *c)
{
        enum bth_job_state state = r->model.state;
        int k = 0;

        if (c->kind == JOB_CHANGE_JOB_STATE) {
                k = put_text(j, "from", bth_job_state_to_string((enum bth_job_state)c->from));
                state = (enum bth_job_state)c->to;
        }
        if (k == 0 && c->kind == JOB_CHANGE_JOB_ALERT) {
                k = put_text(j, "alert", job_alert_to_string((enum job_alert)c->to));
                if (k == 0)
                        k = put_text(j, "sentence", job_alert_sentence((enum job_alert)c->to));
        }
        if (k == 0)
                k = put_text(j, "state", bth_job_state_to_string(state));
        if (k == 0)
                k = put(j, "cancelRequested", json_boolean(r->model.cancel_requested));
        return k < 0 ? k : put_number(j, "percentComplete", job_percent(&r->model));
}

static int put_progress(json_t *j, const struct job_drive *d)
{
        int k = put_number(j, "percentComplete", job_drive_percent(d));

        if (k == 0)
                k = put_number(j, "bytes", d->bytes);
        if (k == 0)
                k = put_number(j, "bytesSucceeded", d->bytes_done);
        if (k == 0)
                k = put_number(j, "blobs", d->blobs);
        return k < 0 ? k : put_number(j, "blobsSucceeded", d->blobs_done);
}

static int put_drive_state(json_t *j, const struct job_drive *d, const struct job_change *c)
{
        const char *copy = job_drive_copy_status(d);
        enum bth_drive_state state = d->state;
        int k = 0;

        if (c->kind == JOB_CHANGE_DRIVE_STATE) {
                k = put_text(j, "from", bth_drive_state_to_string((enum bth_drive_state)c->from));
                state = (enum bth_drive_state)c->to;
                if (state != d->state) /* passed through */
                        copy = state == BTH_DRIVE_STATE_TRANSFERRING ? "InProgress" : NULL;
        }
        if (k == 0)
                k = put_text(j, "state", bth_drive_state_to_string(state));
        return k < 0 ? k : put_text(j, "copyStatus", copy);
}

static int put_time(json_t *j, const char *key, uint64_t usec)
{
        char text[BTH_TIME_TEXT_MAX];

        return usec > 0 ? put_text(j, key, bth_time_iso8601(usec, text)) : 0;
}

/* All that is to be known of the drive, so that a receiver needs the newest event only. */
static int put_drive_facts(json_t *j, const struct job_drive *d, const struct job_record_drive *t)
{
        int k = put(j, "docked", json_boolean(d->docked));

        if (k == 0)
                k = put(j, "running", json_boolean(d->running));
        if (k == 0)
                k = put(j, "held", json_boolean(d->held));
        if (k == 0)
                k = put(j, "unprocessed", json_boolean(d->unprocessed));
        if (k == 0)
                k = put_time(j, "receivedAt", d->received_usec);
        if (k == 0)
                k = put_time(j, "begunAt", d->begun_usec);
        if (k == 0)
                k = put_time(j, "endedAt", d->ended_usec);
        if (k == 0)
                k = put_text(j, "errorLog", t->error_log);
        if (k == 0)
                k = put_text(j, "verboseLog", t->verbose_log);
        return k < 0 ? k : put_text(j, "manifestLog", t->manifest_log);
}

static int put_drive_change(json_t *j, const struct job_record *r, const struct job_change *c)
{
        const struct job_drive *d = &r->model.drives[c->drive];
        const struct job_record_drive *texts = &r->drives[c->drive];
        enum job_activity activity =
                c->kind == JOB_CHANGE_DRIVE_ACTIVITY ? (enum job_activity)c->to : d->activity;
        int k = put_text(j, "driveId", texts->serial);

        if (k == 0)
                k = put_drive_state(j, d, c);
        if (k == 0)
                k = put_text(j, "activity", job_activity_to_string(activity));
        if (k == 0)
                k = put_text(j, "sentence",
                             texts->detail ? texts->detail : job_activity_sentence(activity));
        if (k == 0 && d->docked)
                k = put_text(j, "bay", texts->bay);
        if (k == 0 && d->corrections > 0)
                k = put_number(j, "corrections", d->corrections);
        if (k == 0)
                k = put_drive_facts(j, d, texts);
        return k < 0 ? k : put_progress(j, d);
}

int job_event_data(const struct job_record *r, const struct job_change *change, char **ret_json)
{
        _cleanup_json_ json_t *j = json_object();
        int k = j ? put_job(j, r) : -ENOMEM;

        if (k == 0)
                k = change->drive == JOB_NO_DRIVE ? put_job_change(j, r, change)
                                                  : put_drive_change(j, r, change);
        return to_text(j, k, ret_json);
}

int job_event_docking_data(const struct job_docking *d, const struct job_record *r, char **ret_json)
{
        _cleanup_json_ json_t *j = json_object();
        int k = j ? 0 : -ENOMEM;

        if (k == 0 && r)
                k = put_job(j, r);
        if (k == 0)
                k = put_text(j, "driveId", d->serial);
        if (k == 0)
                k = put_text(j, "bay", d->bay);
        if (k == 0)
                k = put_text(j, "model", d->model);
        if (k == 0)
                k = put_text(j, "matched", d->matched);
        if (k == 0)
                k = put_text(j, "warning", d->warning);
        if (k == 0)
                k = put_text(j, "ended", d->ended);
        if (k == 0)
                k = put_number(j, "sizeBytes", d->size_bytes);
        if (k == 0 && !r)
                k = put_text(j, "sentence", job_activity_sentence(JOB_ACTIVITY_UNKNOWN_DRIVE));
        return to_text(j, k, ret_json);
}

int job_event_subject(const struct job_record *r, const char *serial, char **ret_subject)
{
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
        int k = 0;

        if (r && r->scope && r->scope[0] != '\0')
                k = bth_buf_add_format(&b, "%s/", r->scope);
        if (k == 0 && r)
                k = bth_buf_add_format(&b, "jobs/%s%s", r->name, serial ? "/" : "");
        if (k == 0 && serial)
                k = bth_buf_add_format(&b, "drives/%s", serial);
        if (k < 0)
                return -ENOMEM;
        *ret_subject = take_ptr(b.data);
        return 0;
}

/* --- the envelope --- */

int job_event_to_json(const struct job_event *e, const char *uid, const char *source,
                      char **ret_json)
{
        _cleanup_json_ json_t *j = json_object();
        const char *kind = job_change_kind_to_string(e->kind);
        char text[BTH_TIME_TEXT_MAX];
        json_t *data;
        int k = j ? put(j, "specversion", json_string("1.0")) : -ENOMEM;

        if (k < 0)
                return k;
        if (bth_json_parse(e->data, strlen(e->data), &data, NULL) < 0 || !kind)
                return -EBADMSG;
        k = put(j, "data", data);
        if (k == 0)
                k = put(j, "id", json_sprintf("%s-%" PRIu64, uid, e->seq));
        if (k == 0)
                k = put_text(j, "source", source);
        if (k == 0)
                k = put(j, "type", json_sprintf("berth.%s", kind));
        if (k == 0)
                k = put_text(j, "subject", e->subject);
        if (k == 0)
                k = put_text(j, "partitionkey", e->subject);
        if (k == 0)
                k = put_text(j, "time", bth_time_iso8601(e->time_usec, text));
        if (k == 0)
                k = put_text(j, "datacontenttype", "application/json");
        if (k == 0)
                k = put(j, "sequence", json_sprintf("%020" PRIu64, e->seq));
        if (k == 0)
                k = put_text(j, "berthactor", e->who);
        return to_text(j, k, ret_json);
}

/* --- progress --- */

static unsigned percent(uint64_t bytes, uint64_t bytes_done)
{
        return bytes == 0 ? 0 : (unsigned)((unsigned __int128)bytes_done * 100 / bytes);
}

bool job_progress_due(struct job_progress_gate *g, uint64_t bytes, uint64_t bytes_done,
                      uint64_t blobs_done, uint64_t now_usec)
{
        const uint64_t since = now_usec >= g->told_usec ? now_usec - g->told_usec : UINT64_MAX;
        const bool changed =
                bytes != g->bytes || bytes_done != g->bytes_done || blobs_done != g->blobs_done;
        const bool due = g->told_usec == 0 || bytes_done < g->bytes_done || bytes != g->bytes ||
                         bytes_done == bytes || since >= JOB_PROGRESS_LAST_USEC ||
                         (since >= JOB_PROGRESS_USEC &&
                          percent(bytes, bytes_done) != percent(g->bytes, g->bytes_done));

        if (!changed || !due)
                return false;
        *g = (struct job_progress_gate){ .told_usec = now_usec,
                                         .bytes = bytes,
                                         .bytes_done = bytes_done,
                                         .blobs_done = blobs_done };
        return true;
}
