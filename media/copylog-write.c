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

/* XML has no way to write these, not even as references. */
static bool not_in_xml(char c)
{
        return (unsigned char)c < 0x20 && !strchr("\t\r\n", c);
}

static bool xml_can_hold(const char *text)
{
        for (const char *p = text; *p; p++)
                if (not_in_xml(*p))
                        return false;
        return bth_utf8_valid(text, strlen(text)) && !strstr(text, "\xef\xbf\xbe") &&
               !strstr(text, "\xef\xbf\xbf"); /* U+FFFE, U+FFFF */
}

static void put_xml(struct med_log_writer *w, const char *text)
{
        if (w->failed == 0 && !xml_can_hold(text))
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

/* A server's words must not spoil the log. Text that is not UTF-8 keeps only its ASCII. */
static void put_message(struct med_log_writer *w, const char *message)
{
        _cleanup_free_ char *text = message ? strdup(message) : NULL;

        if (message && !text)
                w->failed = -ENOMEM;
        if (!text)
                return;
        for (char *p = text; *p; p++)
                if (not_in_xml(*p))
                        *p = '?';
        if (!xml_can_hold(text))
                for (char *p = text; *p; p++)
                        if ((unsigned char)*p >= 0x80)
                                *p = '?';
        put_element(w, "  ", "ErrorMessage", NULL, NULL, text);
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
        put_message(w, e->error_message);
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

/* A code becomes the name of an element. */
static bool is_code(const char *text)
{
        for (const char *p = text; *p; p++) {
                const bool letter =
                        (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '_';

                if (!letter && (p == text || *p < '0' || *p > '9'))
                        return false;
        }
        return text[0] != '\0';
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
                if (w->failed == 0 && !is_code(s->counts[i].code))
                        w->failed = -EINVAL;
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

/* Cuts "A_B_C_D" into its four parts, from the right: only A may have '_'. `*cut` are the positions
 * of the last three '_', the rightmost first. Returns whether there are four parts. */
static bool cut_name(const char *start, const char *end, const char *cut[3])
{
        for (size_t i = 0; i < 3; i++) {
                cut[i] = last_underscore(start, end);
                if (!cut[i] || cut[i] + 1 == end)
                        return false;
                end = cut[i];
        }
        return end > start;
}

/* Position of ".xml" at the end of the last part of a name, which begins at *ret_start; or NULL. */
static const char *last_part(const char *name, const char **ret_start)
{
        const char *slash = strrchr(name, '/'), *dot;

        *ret_start = slash ? slash + 1 : name;
        dot = strrchr(*ret_start, '.');
        return dot && strcmp(dot, ".xml") == 0 ? dot : NULL;
}

/* Which of `n` words stands in [text, end)? Returns `n` for none. */
static size_t word_at(const char *const *words, size_t n, const char *text, const char *end)
{
        size_t i = 0;

        while (i < n && (strlen(words[i]) != (size_t)(end - text) ||
                         memcmp(text, words[i], strlen(words[i])) != 0))
                i++;
        return i;
}

/* Copies three parts, or none. Returns 0 or -ENOMEM. */
static int copy_parts(const char *const from[3], const char *const to[3], char **ret[3])
{
        char *parts[3];

        for (size_t i = 0; i < 3; i++)
                parts[i] = strndup(from[i], (size_t)(to[i] - from[i]));
        if (!parts[0] || !parts[1] || !parts[2]) {
                for (size_t i = 0; i < 3; i++)
                        free(parts[i]);
                return -ENOMEM;
        }
        for (size_t i = 0; i < 3; i++)
                *ret[i] = parts[i];
        return 0;
}

int med_log_name_split(const char *name, char **ret_job, char **ret_drive_id, char **ret_timestamp,
                       enum med_log_kind *ret_kind)
{
        const char *start, *end = last_part(name, &start), *cut[3];
        size_t kind;
        int r;

        if (!end || !cut_name(start, end, cut))
                return -EINVAL;
        kind = word_at(kinds, ARRAY_SIZE(kinds), cut[0] + 1, end);
        if (kind == ARRAY_SIZE(kinds))
                return -EINVAL;
        r = copy_parts((const char *[]){ start, cut[2] + 1, cut[1] + 1 },
                       (const char *[]){ cut[2], cut[1], cut[0] },
                       (char **[]){ ret_job, ret_drive_id, ret_timestamp });
        if (r == 0)
                *ret_kind = (enum med_log_kind)kind;
        return r;
}

static const char *const l3_kinds[] = { "CopyLog", "VerboseLog" };

int med_log_l3_name(const char *order, const char *drive_id, const char *job_id,
                    enum med_log_kind kind, char **ret_name)
{
        if ((size_t)kind >= ARRAY_SIZE(l3_kinds))
                return -EINVAL;
        return asprintf(ret_name, "databoxcopylog/%s_%s_%s_%s.xml", order, drive_id, l3_kinds[kind],
                        job_id) < 0
                       ? -ENOMEM
                       : 0;
}

int med_log_l3_name_split(const char *name, char **ret_order, char **ret_drive_id,
                          char **ret_job_id, enum med_log_kind *ret_kind)
{
        const char *start, *end = last_part(name, &start), *cut[3];
        size_t kind;
        int r;

        if (!end || !cut_name(start, end, cut))
                return -EINVAL;
        kind = word_at(l3_kinds, ARRAY_SIZE(l3_kinds), cut[1] + 1, cut[0]);
        if (kind == ARRAY_SIZE(l3_kinds))
                return -EINVAL;
        r = copy_parts((const char *[]){ start, cut[2] + 1, cut[0] + 1 },
                       (const char *[]){ cut[2], cut[1], end },
                       (char **[]){ ret_order, ret_drive_id, ret_job_id });
        if (r == 0)
                *ret_kind = (enum med_log_kind)kind;
        return r;
}
