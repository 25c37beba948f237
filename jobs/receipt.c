/* SPDX-License-Identifier: GPL-3.0-or-later */
/* receipt - see receipt.h. The JSON is built from the store; the text is made from the JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/str.h"
#include "base/time.h"
#include "jobs/receipt.h"

#define MAX_EVENTS 10000 /* acts of one drive; more are left out, and that is said */

struct builder {
        json_t *list;
        int r;
        size_t drive;  /* whose acts are collected */
        uint64_t last; /* the newest event that was looked at */
        size_t n;      /* events that were looked at */
};

static int put(json_t *object, const char *key, json_t *value)
{
        return value && json_object_set_new(object, key, value) == 0 ? 0 : -ENOMEM;
}

static int put_text(json_t *object, const char *key, const char *text)
{
        char shown[4096];

        if (!text)
                return 0;
        return put(object, key, json_string(bth_escape(text, strlen(text), shown, sizeof shown)));
}

static int put_number(json_t *object, const char *key, uint64_t v)
{
        return put(object, key, json_integer((json_int_t)MIN(v, (uint64_t)INT64_MAX)));
}

static int put_time(json_t *object, const char *key, uint64_t usec)
{
        char text[BTH_TIME_TEXT_MAX];

        return usec > 0 ? put_text(object, key, bth_time_iso8601(usec, text)) : 0;
}

static int append(struct builder *b, json_t *object, int r)
{
        if (r == 0 && json_array_append_new(b->list, object) == 0)
                return 0;
        if (r < 0)
                json_decref(object);
        b->r = -ENOMEM;
        return 1;
}

/* --- parts --- */

static int add_docking(void *userdata, const struct job_docking *d)
{
        struct builder *b = userdata;
        json_t *o = json_object();
        int r = o ? put_text(o, "serial", d->serial) : -ENOMEM;

        if (r == 0)
                r = put_text(o, "bay", d->bay);
        if (r == 0)
                r = put_text(o, "model", d->model);
        if (r == 0)
                r = put_text(o, "bus", d->bus);
        if (r == 0)
                r = put_text(o, "matched", d->matched);
        if (r == 0)
                r = put_text(o, "warning", d->warning);
        if (r == 0)
                r = put_text(o, "ended", d->ended);
        if (r == 0)
                r = put_number(o, "sizeBytes", d->size_bytes);
        if (r == 0)
                r = put_time(o, "docked", d->docked_usec);
        if (r == 0)
                r = put_time(o, "undocked", d->undocked_usec);
        return append(b, o, r);
}

static int put_counts(json_t *o, const struct job_run_record *run)
{
        const struct {
                const char *name;
                uint64_t n;
        } counts[] = {
                { "blobs", run->blobs },          { "completed", run->completed },
                { "created", run->created },      { "renamed", run->renamed },
                { "skipped", run->skipped },      { "overwritten", run->overwritten },
                { "failed", run->failed },        { "bytes", run->bytes },
                { "sentBytes", run->sent_bytes },
        };
        int r = 0;

        for (size_t i = 0; i < ARRAY_SIZE(counts) && r == 0; i++)
                r = put_number(o, counts[i].name, counts[i].n);
        return r;
}

static int add_run(void *userdata, const struct job_run_record *run)
{
        struct builder *b = userdata;
        json_t *o = json_object();
        int r = o ? put_time(o, "ended", run->ended_usec) : -ENOMEM;

        if (r == 0)
                r = put_text(o, "end", bth_run_end_to_string(run->end));
        if (r == 0)
                r = put_text(o, "copyStatus", run->copy_status);
        if (r == 0)
                r = put_text(o, "reason", run->reason);
        if (r == 0)
                r = put_text(o, "sentence", run->sentence);
        if (r == 0)
                r = put_text(o, "errorLog", run->error_log);
        if (r == 0)
                r = put_text(o, "verboseLog", run->verbose_log);
        if (r == 0)
                r = put_text(o, "manifest", run->manifest);
        if (r == 0)
                r = put_counts(o, run);
        return append(b, o, r);
}

/* What an event says in one word: the state or activity that it led to. */
static int put_what(json_t *o, const struct job_event *e)
{
        _cleanup_json_ json_t *data = NULL;
        static const char *const of_kind[_JOB_CHANGE_MAX] = {
                [JOB_CHANGE_JOB_STATE] = "state",   [JOB_CHANGE_JOB_ALERT] = "alert",
                [JOB_CHANGE_DRIVE_STATE] = "state", [JOB_CHANGE_DRIVE_ACTIVITY] = "activity",
                [JOB_CHANGE_DRIVE_DOCKED] = "bay",  [JOB_CHANGE_DRIVE_UNDOCKED] = "bay",
        };
        const char *value = NULL;
        int r = put_text(o, "what", job_change_kind_to_string(e->kind));

        if (r < 0 || (size_t)e->kind >= _JOB_CHANGE_MAX || !of_kind[e->kind] ||
            bth_json_parse(e->data, strlen(e->data), &data, NULL) < 0 ||
            bth_json_get_string(data, of_kind[e->kind], &value) < 0)
                return r;
        return put_text(o, "value", value);
}

static int add_act(struct builder *b, const struct job_event *e)
{
        json_t *o;
        int r;

        if (e->kind == JOB_CHANGE_DRIVE_PROGRESS)
                return 0;
        o = json_object();
        r = o ? put_time(o, "time", e->time_usec) : -ENOMEM;
        if (r == 0)
                r = put_text(o, "who", e->who ? e->who : "station");
        if (r == 0)
                r = put_number(o, "seq", e->seq);
        if (r == 0)
                r = put_what(o, e);
        return append(b, o, r);
}

/* The acts of the drive, and those of its job as a whole, in their order. */
static int add_act_of(void *userdata, const struct job_event *e)
{
        struct builder *b = userdata;

        b->last = e->seq;
        b->n++;
        return e->drive == b->drive || e->drive == JOB_NO_DRIVE ? add_act(b, e) : 0;
}

static int collect_acts(struct job_store *s, uint64_t job, struct builder *b,
                        struct bth_error *error)
{
        size_t before;
        int r;

        do {
                const struct job_event_filter page = { .job = job,
                                                       .drive = JOB_NO_DRIVE,
                                                       .after = b->last,
                                                       .limit = JOB_STORE_PAGE_MAX };

                before = b->n;
                r = job_store_events(s, &page, add_act_of, b, error);
        } while (r == 0 && b->n - before == JOB_STORE_PAGE_MAX && b->n < MAX_EVENTS);
        return r < 0 ? r : b->r;
}

/* --- the whole --- */

static int put_job(json_t *j, const struct job_record *r)
{
        json_t *o = json_object();
        int k = put(j, "job", o);

        if (k == 0)
                k = put_text(o, "name", r->name);
        if (k == 0 && r->scope[0] != '\0')
                k = put_text(o, "scope", r->scope);
        if (k == 0)
                k = put_text(o, "account", r->account);
        if (k == 0)
                k = put_text(o, "state", bth_job_state_to_string(r->model.state));
        if (k == 0)
                k = put(o, "cancelRequested", json_boolean(r->model.cancel_requested));
        return k < 0 ? k : put_number(o, "id", r->id);
}

static int put_drive(json_t *j, const struct job_record *r, size_t i)
{
        const struct job_record_drive *texts = &r->drives[i];
        const struct job_drive *d = &r->model.drives[i];
        json_t *o = json_object();
        int k = put(j, "drive", o);

        if (k == 0)
                k = put_text(o, "driveId", texts->serial);
        if (k == 0)
                k = put_text(o, "manifestFile", texts->manifest_file);
        if (k == 0)
                k = put_text(o, "manifestHash", texts->manifest_hash);
        if (k == 0)
                k = put_text(o, "state", bth_drive_state_to_string(d->state));
        if (k == 0)
                k = put_text(o, "copyStatus", job_drive_copy_status(d));
        if (k == 0)
                k = put_number(o, "bytes", d->bytes);
        if (k == 0)
                k = put_number(o, "bytesSucceeded", d->bytes_done);
        if (k == 0)
                k = put_number(o, "blobs", d->blobs);
        if (k == 0)
                k = put_number(o, "blobsSucceeded", d->blobs_done);
        if (k == 0)
                k = put_number(o, "corrections", d->corrections);
        if (k == 0)
                k = put_time(o, "received", d->received_usec);
        if (k == 0)
                k = put_time(o, "begun", d->begun_usec);
        return k < 0 ? k : put_time(o, "ended", d->ended_usec);
}

static int put_list(json_t *j, const char *key, struct builder *b)
{
        *b = (struct builder){ .list = json_array() };
        return put(j, key, b->list);
}

static int build(struct job_store *s, const struct job_record *record, size_t drive, json_t *j,
                 struct bth_error *error)
{
        struct builder b;
        int r = put_job(j, record);

        if (r == 0)
                r = put_drive(j, record, drive);
        if (r == 0)
                r = put_list(j, "dockings", &b);
        if (r == 0)
                r = job_store_dockings(s, NULL, record->id, drive, JOB_STORE_PAGE_MAX, add_docking,
                                       &b, error);
        if (r >= 0)
                r = r > 0 ? b.r : put_list(j, "runs", &b);
        if (r == 0)
                r = job_store_runs(s, record->id, drive, add_run, &b, error);
        if (r >= 0)
                r = r > 0 ? b.r : put_list(j, "acts", &b);
        b.drive = drive;
        if (r == 0)
                r = collect_acts(s, record->id, &b, error);
        if (r == 0)
                r = put(j, "actsLeftOut", json_boolean(b.n >= MAX_EVENTS));
        return r;
}

/* --- text --- */

static const char *text_of(const json_t *o, const char *key)
{
        const char *text = json_string_value(json_object_get(o, key));

        return text ? text : "-";
}

static long long number_of(const json_t *o, const char *key)
{
        return (long long)json_integer_value(json_object_get(o, key));
}

static int write_head(struct bth_buf *out, const json_t *j)
{
        const json_t *job = json_object_get(j, "job"), *drive = json_object_get(j, "drive");

        return bth_buf_add_format(out,
                                  "RECEIPT FOR ONE DRIVE\n\n"
                                  "station         %s\nmade            %s\n"
                                  "job             %s (%s)\nstorage account %s\n"
                                  "serial number   %s\nmanifest        %s\nmanifest hash   %s\n"
                                  "state           %s\nstatus          %s\n"
                                  "received        %s\ncopy begun      %s\ncopy ended      %s\n"
                                  "blobs           %lld of %lld\nbytes           %lld of %lld\n",
                                  text_of(j, "station"), text_of(j, "made"), text_of(job, "name"),
                                  text_of(job, "state"), text_of(job, "account"),
                                  text_of(drive, "driveId"), text_of(drive, "manifestFile"),
                                  text_of(drive, "manifestHash"), text_of(drive, "state"),
                                  text_of(drive, "copyStatus"), text_of(drive, "received"),
                                  text_of(drive, "begun"), text_of(drive, "ended"),
                                  number_of(drive, "blobsSucceeded"), number_of(drive, "blobs"),
                                  number_of(drive, "bytesSucceeded"), number_of(drive, "bytes"));
}

static int write_dockings(struct bth_buf *out, const json_t *j)
{
        int r = bth_buf_add_string(out, "\nIN THE BAYS (newest first)\n");
        const json_t *o;
        size_t i;

        json_array_foreach(json_object_get(j, "dockings"), i, o) if (r == 0) r = bth_buf_add_format(
                out, "  %s to %s  bay %s  %s  %s%s%s\n", text_of(o, "docked"),
                text_of(o, "undocked"), text_of(o, "bay"), text_of(o, "model"), text_of(o, "ended"),
                json_object_get(o, "warning") ? "  warning: " : "",
                json_object_get(o, "warning") ? text_of(o, "warning") : "");
        return r;
}

static int write_runs(struct bth_buf *out, const json_t *j)
{
        int r = bth_buf_add_string(out, "\nRUNS\n");
        const json_t *o;
        size_t i;

        json_array_foreach(json_object_get(j, "runs"), i, o) if (r == 0) r = bth_buf_add_format(
                out,
                "  %s  %s  %s  %lld of %lld blobs, %lld bytes sent, %lld failed\n"
                "    log %s\n",
                text_of(o, "ended"), text_of(o, "end"), text_of(o, "copyStatus"),
                number_of(o, "completed"), number_of(o, "blobs"), number_of(o, "sentBytes"),
                number_of(o, "failed"), text_of(o, "errorLog"));
        return r;
}

static int write_acts(struct bth_buf *out, const json_t *j)
{
        int r = bth_buf_add_string(out, "\nWHO DID WHAT\n");
        const json_t *o;
        size_t i;

        json_array_foreach(json_object_get(j, "acts"), i, o) if (r == 0) r = bth_buf_add_format(
                out, "  %s  %s  %s  %s\n", text_of(o, "time"), text_of(o, "who"),
                text_of(o, "what"), json_object_get(o, "value") ? text_of(o, "value") : "");
        if (r == 0 && json_is_true(json_object_get(j, "actsLeftOut")))
                r = bth_buf_add_string(out, "  (later ones are left out)\n");
        return r;
}

static int write_text(const json_t *j, const char *sha256, char **ret)
{
        _cleanup_buf_ struct bth_buf out = BTH_BUF_INIT;
        int r = write_head(&out, j);

        if (r == 0)
                r = write_dockings(&out, j);
        if (r == 0)
                r = write_runs(&out, j);
        if (r == 0)
                r = write_acts(&out, j);
        if (r == 0)
                r = bth_buf_add_format(&out, "\nSHA-256 of the receipt as JSON: %s\n", sha256);
        if (r < 0)
                return -ENOMEM;
        *ret = take_ptr(out.data);
        return 0;
}

void job_receipt_clear(struct job_receipt *r)
{
        free(r->json);
        free(r->text);
        *r = (struct job_receipt){ 0 };
}

static int finish(const json_t *j, struct job_receipt *ret)
{
        uint8_t digest[BTH_SHA256_BYTES];
        struct job_receipt made = { .json = bth_json_to_text(j) };
        int r = made.json ? bth_digest_of(BTH_DIGEST_SHA256, made.json, strlen(made.json), digest)
                          : -ENOMEM;

        if (r == 0)
                r = write_text(j, bth_hex_encode(digest, sizeof digest, made.sha256), &made.text);
        if (r < 0)
                job_receipt_clear(&made);
        else
                *ret = made;
        return r;
}

int job_receipt_make(struct job_store *s, uint64_t job, size_t drive, const char *station,
                     uint64_t now_usec, struct job_receipt *ret_receipt, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        _cleanup_json_ json_t *j = json_object();
        int r = j ? job_store_get(s, job, &record, error) : -ENOMEM;

        if (r < 0)
                return r;
        if (drive >= record->model.n_drives)
                return bth_error_set(error, -ENOENT, BTH_REASON_NOT_FOUND,
                                     "the job '%s' has no drive %zu", record->name, drive);
        r = put_number(j, "receiptVersion", JOB_RECEIPT_VERSION);
        if (r == 0)
                r = put_text(j, "station", station);
        if (r == 0)
                r = put_time(j, "made", now_usec);
        if (r == 0)
                r = build(s, record, drive, j, error);
        return r < 0 ? r : finish(j, ret_receipt);
}
