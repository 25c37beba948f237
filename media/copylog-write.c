/* SPDX-License-Identifier: GPL-3.0-or-later */
/* copylog-write - L1 and L3 logs, an entry at a time, and the names of logs. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "media/copylog.h"

#define L1_VERSION "2014-11-01"
#define L3_VERSION "2021-08-01"

struct med_log_writer {
        enum med_log_generation generation;
        char *drive_id;
        med_log_write_fn write;
        void *userdata;
        struct bth_buf text; /* of one entry */
        int failed;          /* negative errno of building the entry */
};

static void put(struct med_log_writer *w, const char *text)
{
        if (w->failed == 0)
                w->failed = bth_buf_add_string(&w->text, text);
}

static void put_xml(struct med_log_writer *w, const char *text)
{
        if (w->failed == 0 && !bth_utf8_valid(text, strlen(text)))
                w->failed = -EINVAL;
        if (w->failed == 0)
                w->failed = bth_buf_add_xml(&w->text, text);
}

static void put_number(struct med_log_writer *w, uint64_t v)
{
        if (w->failed == 0)
                w->failed = bth_buf_add_format(&w->text, "%" PRIu64, v);
}

static void put_attribute(struct med_log_writer *w, const char *name, const char *value)
{
        if (!value)
                return;
        put(w, " ");
        put(w, name);
        put(w, "=\"");
        put_xml(w, value);
        put(w, "\"");
}

static void put_number_attribute(struct med_log_writer *w, const char *name, uint64_t value)
{
        put(w, " ");
        put(w, name);
        put(w, "=\"");
        put_number(w, value);
        put(w, "\"");
}

/* "  <Name Hash="…">text</Name>\n"; nothing when the text is absent. */
static void put_element(struct med_log_writer *w, const char *indent, const char *name,
                        const char *attribute, const char *attribute_value, const char *text)
{
        if (!text)
                return;
        put(w, indent);
        put(w, "<");
        put(w, name);
        if (attribute)
                put_attribute(w, attribute, attribute_value);
        put(w, ">");
        put_xml(w, text);
        put(w, "</");
        put(w, name);
        put(w, ">\n");
}

static int flush(struct med_log_writer *w)
{
        int r = w->failed;

        if (r == 0 && w->text.length > 0)
                r = w->write(w->userdata, w->text.data, w->text.length);
        w->text.length = 0;
        w->failed = 0;
        return r;
}

int med_log_writer_new(enum med_log_generation generation, const char *drive_id,
                       med_log_write_fn write, void *userdata, struct med_log_writer **ret_writer)
{
        _cleanup_(med_log_writer_freep) struct med_log_writer *w = NULL;
        int r;

        if (generation == MED_LOG_L2 || (unsigned)generation >= _MED_LOG_MAX)
                return -EINVAL;
        w = calloc(1, sizeof *w);
        if (!w)
                return -ENOMEM;
        w->generation = generation;
        w->write = write;
        w->userdata = userdata;
        w->drive_id = strdup(drive_id);
        if (!w->drive_id)
                return -ENOMEM;
        if (generation == MED_LOG_L1) {
                put(w, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<DriveLog Version=\"" L1_VERSION
                       "\">\n");
                put_element(w, "  ", "DriveId", NULL, NULL, drive_id);
        }
        r = flush(w);
        if (r < 0)
                return r;
        *ret_writer = take_ptr(w);
        return 0;
}

struct med_log_writer *med_log_writer_free(struct med_log_writer *w)
{
        if (w) {
                free(w->drive_id);
                bth_buf_clear(&w->text);
                free(w);
        }
        return NULL;
}

static void put_sidecar(struct med_log_writer *w, const char *name, const struct med_log_sidecar *s)
{
        if (!s->status)
                return;
        put(w, "    <");
        put(w, name);
        put_attribute(w, "Status", s->status);
        if (!s->path && !s->global_path) {
                put(w, " />\n");
                return;
        }
        put(w, ">\n");
        put_element(w, "      ", "GlobalPath", "Hash", s->global_hash, s->global_path);
        put_element(w, "      ", "Path", "Hash", s->hash, s->path);
        put(w, "    </");
        put(w, name);
        put(w, ">\n");
}

static void put_ranges(struct med_log_writer *w, const struct med_log_entry *e)
{
        const char *list = e->page ? "PageRangeList" : "BlockList";

        if (!e->has_ranges)
                return;
        put(w, "    <");
        put(w, list);
        put(w, e->n_ranges == 0 ? " />\n" : ">\n");
        for (size_t i = 0; i < e->n_ranges; i++) {
                const struct med_log_range *q = &e->ranges[i];

                put(w, e->page ? "      <PageRange" : "      <Block");
                put_number_attribute(w, "Offset", q->offset_bytes);
                put_number_attribute(w, "Length", q->length_bytes);
                if (!e->page)
                        put_attribute(w, "Id", q->id);
                put_attribute(w, "Hash", q->hash);
                put_attribute(w, "Status", q->status);
                put(w, "/>\n");
        }
        if (e->n_ranges > 0) {
                put(w, "    </");
                put(w, list);
                put(w, ">\n");
        }
}

static void put_l1(struct med_log_writer *w, const struct med_log_entry *e)
{
        char length[24];

        (void)snprintf(length, sizeof length, "%" PRIu64, e->length_bytes);
        put(w, "  <Blob");
        put_attribute(w, "Status", e->status);
        put(w, ">\n");
        put_element(w, "    ", "BlobPath", NULL, NULL, e->blob_path);
        put_element(w, "    ", "FilePath", NULL, NULL, e->file_path);
        put_element(w, "    ", "Snapshot", NULL, NULL, e->snapshot);
        put_element(w, "    ", "Length", NULL, NULL, e->has_length ? length : NULL);
        put_element(w, "    ", "LastModified", NULL, NULL, e->last_modified);
        put_element(w, "    ", "ImportDisposition", "Status", e->disposition_status,
                    e->disposition);
        put_ranges(w, e);
        put_sidecar(w, "Metadata", &e->metadata);
        put_sidecar(w, "Properties", &e->properties);
        put(w, "  </Blob>\n");
}

static void put_l3_verbose(struct med_log_writer *w, const struct med_log_entry *e)
{
        put(w, "<File");
        put_attribute(w, "CloudFormat",
                      e->cloud_format ? e->cloud_format
                      : e->is_file    ? "AzureFile"
                      : e->page       ? "PageBlob"
                                      : "BlockBlob");
        put_attribute(w, "ETag", e->etag);
        put_attribute(w, "Path", e->blob_path);
        put_number_attribute(w, "Size", e->length_bytes);
        if (e->has_crc64)
                put_number_attribute(w, "crc64", e->crc64);
        put(w, ">\n</File>\n");
}

static void put_l3(struct med_log_writer *w, const struct med_log_entry *e)
{
        put(w, "<ErroredEntity");
        put_attribute(w, "CloudFormat", e->cloud_format);
        put_attribute(w, "Path", e->blob_path);
        put(w, ">\n");
        put_element(w, "  ", "Category", NULL, NULL, e->status);
        put_element(w, "  ", "ETag", NULL, NULL, e->etag);
        put_element(w, "  ", "ErrorCode", NULL, NULL, e->error_code);
        put_element(w, "  ", "ErrorMessage", NULL, NULL, e->error_message);
        put_element(w, "  ", "Type", NULL, NULL, e->type ? e->type : "File");
        put(w, "</ErroredEntity>\n");
}

int med_log_write_entry(struct med_log_writer *w, const struct med_log_entry *e)
{
        if (!e->blob_path || (!e->status && w->generation != MED_LOG_L3_VERBOSE) ||
            (e->is_file && w->generation == MED_LOG_L1))
                return -EINVAL;
        if (w->generation == MED_LOG_L1)
                put_l1(w, e);
        else if (w->generation == MED_LOG_L3)
                put_l3(w, e);
        else
                put_l3_verbose(w, e);
        return flush(w);
}

static void put_counts(struct med_log_writer *w, const struct med_log_summary *s, bool validation)
{
        const char *name = validation ? "ValidationErrors" : "CopyErrors";
        bool any = false;

        put(w, "    <");
        put(w, name);
        put(w, ">\n");
        for (size_t i = 0; i < s->n_counts; i++) {
                if (s->counts[i].validation != validation)
                        continue;
                any = true;
                put(w, "      <");
                put(w, s->counts[i].code);
                put_number_attribute(w, "Count", s->counts[i].count);
                put_attribute(w, "Description", s->counts[i].description);
                put(w, " />\n");
        }
        if (!any)
                put(w, "      <None Count=\"0\" />\n");
        put(w, "    </");
        put(w, name);
        put(w, ">\n");
}

int med_log_write_end(struct med_log_writer *w, const struct med_log_summary *s)
{
        char total[24], errored[24];

        if (w->generation == MED_LOG_L1) {
                put_element(w, "  ", "Status", NULL, NULL, s->status);
                put(w, "</DriveLog>\n");
        } else if (w->generation == MED_LOG_L3) {
                (void)snprintf(total, sizeof total, "%" PRIu64, s->total);
                (void)snprintf(errored, sizeof errored, "%" PRIu64, s->errored);
                put(w, "<CopyLog Summary=\"Summary\">\n");
                put_element(w, "  ", "DriveLogVersion", NULL, NULL, L3_VERSION);
                put_element(w, "  ", "DriveId", NULL, NULL, w->drive_id);
                put_element(w, "  ", "Status", NULL, NULL, s->status);
                put_element(w, "  ", "TotalFiles_Blobs", NULL, NULL, total);
                put_element(w, "  ", "FilesErrored", NULL, NULL, errored);
                put(w, "  <Summary>\n");
                put_counts(w, s, true);
                put_counts(w, s, false);
                put(w, "  </Summary>\n</CopyLog>\n");
        }
        return flush(w);
}

static const char *const kinds[] = { "error", "verbose", "manifest" };

int med_log_name(const char *job, const char *drive_id, uint64_t realtime_usec,
                 enum med_log_kind kind, char **ret_name)
{
        char when[BTH_TIME_TEXT_MAX];

        return asprintf(ret_name, "waies/%s_%s_%s_%s.xml", job, drive_id,
                        bth_time_log_name(realtime_usec, when), kinds[kind]) < 0
                       ? -ENOMEM
                       : 0;
}

/* Position of the last '_' in [text, end), or NULL. */
static const char *last_underscore(const char *text, const char *end)
{
        while (end > text)
                if (*--end == '_')
                        return end;
        return NULL;
}

int med_log_name_split(const char *name, char **ret_job, char **ret_drive_id, char **ret_timestamp,
                       enum med_log_kind *ret_kind)
{
        const char *slash = strrchr(name, '/'), *start = slash ? slash + 1 : name;
        const char *dot = strrchr(start, '.'), *cut[3], *end = dot;
        char *job, *drive, *when;
        size_t kind;

        if (!dot || strcmp(dot, ".xml") != 0)
                return -EINVAL;
        for (size_t i = 0; i < 3; i++) {
                cut[i] = last_underscore(start, end);
                if (!cut[i] || cut[i] + 1 == end)
                        return -EINVAL;
                end = cut[i];
        }
        if (end == start)
                return -EINVAL;
        for (kind = 0; kind < ARRAY_SIZE(kinds); kind++)
                if (strlen(kinds[kind]) == (size_t)(dot - cut[0] - 1) &&
                    memcmp(cut[0] + 1, kinds[kind], strlen(kinds[kind])) == 0)
                        break;
        if (kind == ARRAY_SIZE(kinds))
                return -EINVAL;
        job = strndup(start, (size_t)(cut[2] - start));
        drive = strndup(cut[2] + 1, (size_t)(cut[1] - cut[2] - 1));
        when = strndup(cut[1] + 1, (size_t)(cut[0] - cut[1] - 1));
        if (!job || !drive || !when) {
                free(job);
                free(drive);
                free(when);
                return -ENOMEM;
        }
        *ret_job = job;
        *ret_drive_id = drive;
        *ret_timestamp = when;
        *ret_kind = (enum med_log_kind)kind;
        return 0;
}
