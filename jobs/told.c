/* SPDX-License-Identifier: GPL-3.0-or-later */
/* told - see told.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/time.h"
#include "jobs/event.h"
#include "jobs/told.h"

#define UID_CHARACTERS 36u
#define SERIAL_MAX     255u
#define TYPE_PREFIX    "berth."

static int wrong(struct bth_error *error, const char *member, const char *is)
{
        return bth_error_set(error, -EBADMSG, BTH_REASON_SYNTAX, "'%s' of the event %s", member,
                             is);
}

/* --- members --- */

/* A text without control characters, or NULL when it is absent and need not be there. */
static int text(const json_t *o, const char *key, size_t max, bool needed, const char **ret,
                struct bth_error *error)
{
        const json_t *v = json_object_get(o, key);
        const char *s = json_string_value(v);

        *ret = NULL;
        if (!v || json_is_null(v))
                return needed ? wrong(error, key, "is missing") : 0;
        if (!s || strlen(s) != json_string_length(v))
                return wrong(error, key, "is no text");
        if (s[0] == '\0' && needed)
                return wrong(error, key, "is empty");
        if (strlen(s) > max)
                return wrong(error, key, "is too long");
        for (const char *c = s; *c; c++)
                if ((unsigned char)*c < ' ' || *c == 0x7f)
                        return wrong(error, key, "has control characters");
        *ret = s;
        return 0;
}

static int number(const json_t *o, const char *key, uint64_t *ret, struct bth_error *error)
{
        int r = bth_json_get_u64(o, key, ret);

        if (r == -ENOENT)
                *ret = 0;
        return r == -EBADMSG ? wrong(error, key, "is no number from 0") : 0;
}

static int flag(const json_t *o, const char *key, bool *ret, struct bth_error *error)
{
        int r = bth_json_get_bool(o, key, ret);

        if (r == -ENOENT)
                *ret = false;
        return r == -EBADMSG ? wrong(error, key, "is neither true nor false") : 0;
}

static int moment(const json_t *o, const char *key, bool needed, uint64_t *ret,
                  struct bth_error *error)
{
        const char *s;
        int r = text(o, key, BTH_TIME_TEXT_MAX, needed, &s, error);

        *ret = 0;
        if (r < 0 || !s)
                return r;
        return bth_time_from_iso8601(s, ret) < 0 ? wrong(error, key, "is no time") : 0;
}

/* --- data --- */

static int read_copy(const json_t *o, struct job_drive *d, struct bth_error *error)
{
        const char *s;
        int r = text(o, "copyStatus", JOB_TOLD_TEXT_MAX, false, &s, error);

        d->copy = JOB_COPY_NONE;
        if (r < 0 || !s)
                return r;
        d->copy = JOB_COPY_IN_PROGRESS;
        if (bth_streq(s, "InProgress"))
                return 0;
        d->copy = JOB_COPY_ENDED;
        d->status = bth_drive_status_from_string(s);
        return (int)d->status < 0 ? wrong(error, "copyStatus", "is not known") : 0;
}

static int read_progress(const json_t *o, struct job_drive *d, struct bth_error *error)
{
        int r = number(o, "bytes", &d->bytes, error);

        if (r == 0)
                r = number(o, "bytesSucceeded", &d->bytes_done, error);
        if (r == 0)
                r = number(o, "blobs", &d->blobs, error);
        if (r == 0)
                r = number(o, "blobsSucceeded", &d->blobs_done, error);
        if (r == 0 && (d->bytes_done > d->bytes || d->blobs_done > d->blobs))
                r = wrong(error, "bytesSucceeded", "is more than there is");
        return r;
}

static int read_flags(const json_t *o, struct job_drive *d, struct bth_error *error)
{
        int r = flag(o, "docked", &d->docked, error);

        if (r == 0)
                r = flag(o, "running", &d->running, error);
        if (r == 0)
                r = flag(o, "held", &d->held, error);
        if (r == 0)
                r = flag(o, "unprocessed", &d->unprocessed, error);
        if (r == 0)
                r = number(o, "corrections", &d->corrections, error);
        if (r == 0)
                r = moment(o, "receivedAt", false, &d->received_usec, error);
        if (r == 0)
                r = moment(o, "begunAt", false, &d->begun_usec, error);
        return r < 0 ? r : moment(o, "endedAt", false, &d->ended_usec, error);
}

static int read_names(const json_t *o, struct job_told *t, struct bth_error *error)
{
        struct job_drive *d = &t->drive;
        const char *state, *activity;
        int r = text(o, "state", JOB_TOLD_TEXT_MAX, true, &state, error);

        if (r == 0)
                r = text(o, "activity", JOB_TOLD_TEXT_MAX, true, &activity, error);
        if (r < 0)
                return r;
        d->state = bth_drive_state_from_string(state);
        d->activity = job_activity_from_string(activity);
        if ((int)d->state < 0)
                return wrong(error, "state", "is no state of a drive");
        return (int)d->activity < 0 ? wrong(error, "activity", "is not known") : 0;
}

static int read_drive(const json_t *o, struct job_told *t, struct bth_error *error)
{
        int r = read_names(o, t, error);

        if (r == 0)
                r = read_copy(o, &t->drive, error);
        if (r == 0)
                r = read_progress(o, &t->drive, error);
        if (r == 0)
                r = read_flags(o, &t->drive, error);
        if (r == 0)
                r = text(o, "sentence", JOB_TOLD_TEXT_MAX, false, &t->detail, error);
        if (r == 0)
                r = text(o, "bay", JOB_TOLD_TEXT_MAX, false, &t->bay, error);
        if (r == 0)
                r = text(o, "errorLog", JOB_TOLD_TEXT_MAX, false, &t->error_log, error);
        if (r == 0)
                r = text(o, "verboseLog", JOB_TOLD_TEXT_MAX, false, &t->verbose_log, error);
        if (r == 0)
                r = text(o, "manifestLog", JOB_TOLD_TEXT_MAX, false, &t->manifest_log, error);
        t->docked = t->drive.docked;
        return r;
}

static int read_job(const json_t *o, const struct job_told *t, struct bth_error *error)
{
        const char *state, *alert;
        uint64_t percent;
        bool cancelled;
        int r = text(o, "state", JOB_TOLD_TEXT_MAX, true, &state, error);

        if (r == 0 && (int)bth_job_state_from_string(state) < 0)
                r = wrong(error, "state", "is no state of a job");
        if (r == 0)
                r = flag(o, "cancelRequested", &cancelled, error);
        if (r == 0)
                r = number(o, "percentComplete", &percent, error);
        if (r == 0 && percent > 100)
                r = wrong(error, "percentComplete", "is over 100");
        if (r == 0)
                r = text(o, "alert", JOB_TOLD_TEXT_MAX, t->kind == JOB_CHANGE_JOB_ALERT, &alert,
                         error);
        if (r == 0 && alert && (int)job_alert_from_string(alert) < 0)
                r = wrong(error, "alert", "is not known");
        return r;
}

static int read_docking(const json_t *o, struct job_told *t, struct bth_error *error)
{
        t->docked = t->kind == JOB_CHANGE_DRIVE_DOCKED;
        return text(o, "bay", JOB_TOLD_TEXT_MAX, true, &t->bay, error);
}

static int read_whose(const json_t *o, struct job_told *t, struct bth_error *error)
{
        const char *origin;
        int r = text(o, "job", JOB_TOLD_SUBJECT_MAX, t->facet != JOB_FACET_DOCKING, &t->job, error);

        if (r == 0)
                r = text(o, "scope", JOB_TOLD_SUBJECT_MAX, false, &t->scope, error);
        if (r == 0 && t->facet != JOB_FACET_JOB)
                r = text(o, "driveId", SERIAL_MAX, true, &t->serial, error);
        if (r == 0)
                r = text(o, "origin", JOB_TOLD_TEXT_MAX, false, &origin, error);
        if (r < 0)
                return r;
        if (!t->scope)
                t->scope = "";
        t->from_hub = bth_streq(origin, "upstream");
        return 0;
}

static enum job_facet facet_of(enum job_change_kind kind)
{
        if (kind < JOB_CHANGE_DRIVE_STATE)
                return JOB_FACET_JOB;
        return kind >= JOB_CHANGE_DRIVE_DOCKED ? JOB_FACET_DOCKING : JOB_FACET_DRIVE;
}

static int read_data(const json_t *data, struct job_told *t, struct bth_error *error)
{
        int r;

        if (!json_is_object(data) || json_object_size(data) > JOB_TOLD_MEMBERS_MAX)
                return wrong(error, "data", "is no object, or has too many members");
        t->facet = facet_of(t->kind);
        r = read_whose(data, t, error);
        if (r < 0)
                return r;
        switch (t->facet) {
        case JOB_FACET_JOB:
                return read_job(data, t, error);
        case JOB_FACET_DRIVE:
                return read_drive(data, t, error);
        default:
                return read_docking(data, t, error);
        }
}

int job_told_read_data(enum job_change_kind kind, const json_t *data, struct job_told *ret_told,
                       struct bth_error *error)
{
        struct job_told t = { .kind = kind };
        int r = read_data(data, &t, error);

        if (r == 0)
                *ret_told = t;
        return r;
}

/* --- the envelope --- */

/* UID-SEQ, and the same number with leading zeros. */
static int read_id(const json_t *event, struct job_told *t, struct bth_error *error)
{
        static const char hex[] = "0123456789ABCDEFabcdef-";
        const char *id, *sequence;
        uint64_t again;
        int r = text(event, "id", 64, true, &id, error);

        if (r == 0)
                r = text(event, "sequence", 20, true, &sequence, error);
        if (r < 0)
                return r;
        if (strspn(id, hex) < UID_CHARACTERS || id[UID_CHARACTERS] != '-' ||
            id[UID_CHARACTERS + 1] == '0' || bth_parse_u64(id + UID_CHARACTERS + 1, &t->seq) < 0 ||
            t->seq > INT64_MAX)
                return wrong(error, "id", "is not that of a store, and a number");
        if (strlen(sequence) != 20 || bth_parse_u64(sequence, &again) < 0 || again != t->seq)
                return wrong(error, "sequence", "is not the number of its id");
        (void)snprintf(t->uid, sizeof t->uid, "%.*s", (int)UID_CHARACTERS, id);
        return 0;
}

static int read_kind(const json_t *event, struct job_told *t, struct bth_error *error)
{
        const char *type;
        int r = text(event, "type", 128, true, &type, error);

        if (r < 0)
                return r;
        t->kind = bth_starts_with(type, TYPE_PREFIX)
                          ? job_change_kind_from_string(type + strlen(TYPE_PREFIX))
                          : _JOB_CHANGE_INVALID;
        if ((int)t->kind >= 0 && job_change_is_told(t->kind))
                return 0;
        return bth_error_set(error, -EOPNOTSUPP, BTH_REASON_UNSUPPORTED,
                             "events of the type '%s' are not known here", type);
}

bool job_told_is_source(const char *s)
{
        const size_t n = strlen(s);

        for (size_t i = 0; i < n; i++)
                if (s[i] <= ' ' || s[i] >= 0x7f || strchr("<>\"\\^`{|}", s[i]))
                        return false;
        return n > 0 && n <= JOB_TOLD_SOURCE_MAX;
}

static int read_source(const json_t *event, struct job_told *t, struct bth_error *error)
{
        int r = text(event, "source", JOB_TOLD_SOURCE_MAX, true, &t->source, error);

        if (r == 0 && !job_told_is_source(t->source))
                r = wrong(error, "source", "is no URI reference");
        return r;
}

static int read_constants(const json_t *event, struct bth_error *error)
{
        const char *version, *type;
        int r = text(event, "specversion", 8, true, &version, error);

        if (r == 0 && !bth_streq(version, "1.0"))
                r = wrong(error, "specversion", "is not 1.0");
        if (r == 0)
                r = text(event, "datacontenttype", 128, false, &type, error);
        if (r == 0 && type && !bth_streq(type, "application/json"))
                r = wrong(error, "datacontenttype", "is not application/json");
        return r;
}

static int read_subject(const json_t *event, struct job_told *t, struct bth_error *error)
{
        const char *key;
        int r = text(event, "subject", JOB_TOLD_SUBJECT_MAX, true, &t->subject, error);

        if (r == 0)
                r = text(event, "partitionkey", JOB_TOLD_SUBJECT_MAX, false, &key, error);
        if (r == 0 && key && !bth_streq(key, t->subject))
                r = wrong(error, "partitionkey", "is not its subject");
        return r < 0 ? r : text(event, "berthactor", JOB_TOLD_TEXT_MAX, false, &t->who, error);
}

static int compare_subject(const struct job_told *t, struct bth_error *error)
{
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
        int r = bth_buf_add_format(&b, "%s%s", t->scope, t->scope[0] ? "/" : "");

        if (r == 0 && t->job)
                r = bth_buf_add_format(&b, "jobs/%s%s", t->job, t->serial ? "/" : "");
        if (r == 0 && t->serial)
                r = bth_buf_add_format(&b, "drives/%s", t->serial);
        if (r < 0)
                return -ENOMEM;
        return strcmp(b.data, t->subject) == 0 ? 0 : wrong(error, "subject", "is not its data's");
}

static int read_envelope(const json_t *event, struct job_told *t, struct bth_error *error)
{
        int r = read_constants(event, error);

        if (r == 0)
                r = read_id(event, t, error);
        if (r == 0)
                r = read_source(event, t, error);
        if (r == 0)
                r = read_kind(event, t, error);
        if (r == 0)
                r = read_subject(event, t, error);
        return r < 0 ? r : moment(event, "time", true, &t->time_usec, error);
}

/* What is kept of the data. */
static int keep_data(const json_t *data, struct job_told *t, struct bth_error *error)
{
        t->data = bth_json_to_text(data);
        if (!t->data)
                return -ENOMEM;
        if (strlen(t->data) <= JOB_TOLD_DATA_MAX)
                return 0;
        job_told_clear(t);
        return wrong(error, "data", "is too long");
}

int job_told_read(const json_t *event, struct job_told *ret_told, struct bth_error *error)
{
        const json_t *data = json_object_get(event, "data");
        struct job_told t = { 0 };
        int r;

        if (!json_is_object(event) || json_object_size(event) > JOB_TOLD_MEMBERS_MAX)
                return bth_error_set(error, -EBADMSG, BTH_REASON_SYNTAX,
                                     "this is no event: no object, or too many members");
        r = read_envelope(event, &t, error);
        if (r == 0)
                r = read_data(data, &t, error);
        if (r == 0)
                r = compare_subject(&t, error);
        if (r == 0)
                r = keep_data(data, &t, error);
        if (r == 0)
                *ret_told = t;
        return r;
}

void job_told_clear(struct job_told *t)
{
        free(t->data);
        t->data = NULL;
}
