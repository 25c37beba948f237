/* SPDX-License-Identifier: GPL-3.0-or-later */
/* copylog-read - three generations of logs into one model, an entry at a time. */
#include <string.h>

#include "media/copylog.h"
#include "media/xml.h"

#define COUNTS_MAX 256

static const char *const generations[] = { "L1", "L2", "L3", "L3-verbose" };

const char *med_log_generation_to_string(enum med_log_generation g)
{
        return (size_t)g < ARRAY_SIZE(generations) ? generations[g] : NULL;
}

static const struct {
        const char *text, *sentence;
} codes[] = {
#define X(id, text, sentence) { text, sentence },
        MED_LOG_CODES(X)
#undef X
};

const char *med_log_code_to_string(enum med_log_code c)
{
        return (size_t)c < ARRAY_SIZE(codes) ? codes[c].text : NULL;
}

enum med_log_code med_log_code_from_string(const char *text)
{
        for (size_t i = 0; text && i < ARRAY_SIZE(codes); i++)
                if (strcmp(codes[i].text, text) == 0)
                        return (enum med_log_code)i;
        return _MED_LOG_CODE_INVALID;
}

const char *med_log_code_sentence(enum med_log_code c)
{
        return (size_t)c < ARRAY_SIZE(codes) ? codes[c].sentence : "";
}

static void clear_sidecar(struct med_log_sidecar *s)
{
        free(s->status);
        free(s->global_path);
        free(s->global_hash);
        free(s->path);
        free(s->hash);
}

void med_log_entry_clear(struct med_log_entry *e)
{
        for (size_t i = 0; i < e->n_ranges; i++) {
                free(e->ranges[i].id);
                free(e->ranges[i].hash);
                free(e->ranges[i].status);
        }
        free(e->ranges);
        free(e->status);
        free(e->blob_path);
        free(e->file_path);
        free(e->snapshot);
        free(e->last_modified);
        free(e->disposition);
        free(e->disposition_status);
        clear_sidecar(&e->metadata);
        clear_sidecar(&e->properties);
        free(e->cloud_format);
        free(e->etag);
        free(e->error_code);
        free(e->error_message);
        free(e->type);
        *e = (struct med_log_entry){ 0 };
}

void med_log_summary_clear(struct med_log_summary *s)
{
        for (size_t i = 0; i < s->n_counts; i++) {
                free(s->counts[i].code);
                free(s->counts[i].description);
        }
        free(s->counts);
        free(s->version);
        free(s->drive_id);
        free(s->status);
        *s = (struct med_log_summary){ 0 };
}

/* Where the reader stands; one level of the tree each. */
enum place {
        PLACE_TOP,
        PLACE_DRIVE_LOG,
        PLACE_ENTRY,    /* <Blob>, <File> of L2, <ErroredEntity> */
        PLACE_RANGES,   /* a list of ranges */
        PLACE_SIDECAR,  /* <Metadata>, <Properties> */
        PLACE_COPY_LOG, /* <CopyLog> of L3 */
        PLACE_SUMMARY,
        PLACE_COUNTS,  /* <ValidationErrors>, <CopyErrors> */
        PLACE_LEAF,    /* an element whose text is collected */
        PLACE_UNKNOWN, /* everything below is left out */
};

#define DEPTH_MAX 16

struct med_log_reader {
        struct med_findings findings;
        char *object;
        med_log_entry_fn entry_fn;
        void *userdata;
        struct med_xml *xml;
        struct bth_error *error;
        struct med_log_summary summary;
        struct med_log_entry entry;
        enum place places[DEPTH_MAX];
        unsigned depth; /* places[0 .. depth) are open */
        bool any;
        bool validation;
        struct med_log_sidecar *sidecar;
        char **leaf; /* where the text of the leaf goes */
        uint64_t *leaf_number;
        bool *leaf_flag;
        struct bth_buf text;
};

static int fail(struct med_log_reader *r, enum bth_reason reason, const char *what)
{
        bth_error_at(r->error, r->object, med_xml_line(r->xml), BTH_ERROR_NO_OFFSET);
        return bth_error_set(r->error, -EBADMSG, reason, "%s", what);
}

static int keep(char **field, const char *text, size_t n)
{
        char *copy = strndup(text, n);

        if (!copy)
                return -ENOMEM;
        free(*field);
        *field = copy;
        return 0;
}

/* The value of an attribute, or NULL. Names are compared exactly. */
static const char *attribute(const struct med_xml_attributes *a, const char *name, size_t *ret_n)
{
        for (size_t i = 0; i < a->n; i++)
                if (strcmp(med_xml_attribute_name(a, i), name) == 0)
                        return med_xml_attribute_value(a, i, ret_n);
        return NULL;
}

static int keep_attribute(const struct med_xml_attributes *a, const char *name, char **field)
{
        size_t n;
        const char *value = attribute(a, name, &n);

        return value ? keep(field, value, n) : 0;
}

static int number_attribute(struct med_log_reader *r, const struct med_xml_attributes *a,
                            const char *name, uint64_t *ret, bool *ret_found)
{
        size_t n;
        const char *value = attribute(a, name, &n);

        if (ret_found)
                *ret_found = value != NULL;
        if (!value)
                return 0;
        return bth_parse_u64_n(value, n, ret) < 0
                       ? fail(r, BTH_REASON_VALUE_INVALID, "an attribute is not a decimal number")
                       : 0;
}

static void set_leaf(struct med_log_reader *r, char **text, uint64_t *number, bool *flag)
{
        r->leaf = text;
        r->leaf_number = number;
        r->leaf_flag = flag;
        r->text.length = 0;
}

/* -- elements
 * ---------------------------------------------------------------------------------------- */

static int start_entry(struct med_log_reader *r, const struct med_xml_attributes *a, bool is_file,
                       uint64_t line)
{
        med_log_entry_clear(&r->entry);
        r->entry.is_file = is_file;
        r->entry.line = line;
        return keep_attribute(a, "Status", &r->entry.status);
}

static int start_l3_file(struct med_log_reader *r, const struct med_xml_attributes *a,
                         uint64_t line)
{
        struct med_log_entry *e = &r->entry;
        int f = start_entry(r, a, false, line);

        if (f == 0)
                f = keep(&e->status, "Completed", 9);
        if (f == 0)
                f = keep_attribute(a, "CloudFormat", &e->cloud_format);
        if (f == 0)
                f = keep_attribute(a, "Path", &e->blob_path);
        if (f == 0)
                f = keep_attribute(a, "ETag", &e->etag);
        if (f == 0)
                f = number_attribute(r, a, "Size", &e->length_bytes, &e->has_length);
        if (f == 0)
                f = number_attribute(r, a, "crc64", &e->crc64, &e->has_crc64);
        e->is_file = e->cloud_format && strcmp(e->cloud_format, "AzureFile") == 0;
        e->page = e->cloud_format && strcmp(e->cloud_format, "PageBlob") == 0;
        return f;
}

static int start_top(struct med_log_reader *r, const char *name, const struct med_xml_attributes *a,
                     uint64_t line, enum place *ret)
{
        int f = 0;
        size_t n;

        r->any = true;
        if (strcmp(name, "DriveLog") == 0) {
                *ret = PLACE_DRIVE_LOG;
                f = keep_attribute(a, "Version", &r->summary.version);
                if (r->summary.version && bth_starts_with(r->summary.version, "2018"))
                        r->summary.generation = MED_LOG_L2;
                return f;
        }
        if (strcmp(name, "ErroredEntity") == 0) {
                *ret = PLACE_ENTRY;
                r->summary.generation = MED_LOG_L3;
                f = start_entry(r, a, false, line);
                if (f == 0)
                        f = keep_attribute(a, "Path", &r->entry.blob_path);
                return f < 0 ? f : keep_attribute(a, "CloudFormat", &r->entry.cloud_format);
        }
        if (strcmp(name, "CopyLog") == 0) {
                *ret = PLACE_COPY_LOG;
                r->summary.generation = MED_LOG_L3;
                return 0;
        }
        if (strcmp(name, "File") == 0 && attribute(a, "CloudFormat", &n)) {
                *ret = PLACE_ENTRY;
                r->summary.generation = MED_LOG_L3_VERBOSE;
                return start_l3_file(r, a, line);
        }
        return fail(r, BTH_REASON_NOT_A_COPY_LOG, "the file does not begin as a copy log");
}

static int start_in_drive_log(struct med_log_reader *r, const char *name,
                              const struct med_xml_attributes *a, uint64_t line, enum place *ret)
{
        struct med_log_summary *s = &r->summary;

        if (strcmp(name, "Blob") == 0 || strcmp(name, "File") == 0) {
                *ret = PLACE_ENTRY;
                if (name[0] == 'F')
                        s->generation = MED_LOG_L2;
                return start_entry(r, a, name[0] == 'F', line);
        }
        if (strcmp(name, "Summary") == 0) {
                s->generation = MED_LOG_L2;
                *ret = PLACE_SUMMARY;
                return 0;
        }
        *ret = PLACE_LEAF;
        if (strcmp(name, "DriveId") == 0)
                set_leaf(r, &s->drive_id, NULL, NULL);
        else if (strcmp(name, "Status") == 0)
                set_leaf(r, &s->status, NULL, NULL);
        else
                *ret = PLACE_UNKNOWN;
        return 0;
}

static int start_in_copy_log(struct med_log_reader *r, const char *name, enum place *ret)
{
        struct med_log_summary *s = &r->summary;

        *ret = PLACE_LEAF;
        if (strcmp(name, "DriveLogVersion") == 0)
                set_leaf(r, &s->version, NULL, NULL);
        else if (strcmp(name, "DriveId") == 0)
                set_leaf(r, &s->drive_id, NULL, NULL);
        else if (strcmp(name, "Status") == 0)
                set_leaf(r, &s->status, NULL, NULL);
        else if (strcmp(name, "TotalFiles_Blobs") == 0)
                set_leaf(r, NULL, &s->total, &s->has_totals);
        else if (strcmp(name, "FilesErrored") == 0)
                set_leaf(r, NULL, &s->errored, &s->has_totals);
        else
                *ret = strcmp(name, "Summary") == 0 ? PLACE_SUMMARY : PLACE_UNKNOWN;
        return 0;
}

static int start_in_entry(struct med_log_reader *r, const char *name,
                          const struct med_xml_attributes *a, enum place *ret)
{
        struct med_log_entry *e = &r->entry;
        const struct {
                const char *name;
                char **field;
        } leaves[] = {
                { "BlobPath", &e->blob_path },
                { "FileStoragePath", &e->blob_path },
                { "FilePath", &e->file_path },
                { "OriginalFilePath", &e->file_path },
                { "Snapshot", &e->snapshot },
                { "LastModified", &e->last_modified },
                { "Category", &e->status },
                { "ErrorCode", &e->error_code },
                { "ErrorMessage", &e->error_message },
                { "Type", &e->type },
                { "ETag", &e->etag },
        };

        *ret = PLACE_LEAF;
        for (size_t i = 0; i < ARRAY_SIZE(leaves); i++)
                if (strcmp(name, leaves[i].name) == 0) {
                        set_leaf(r, leaves[i].field, NULL, NULL);
                        return 0;
                }
        if (strcmp(name, "Length") == 0 || strcmp(name, "SizeInBytes") == 0) {
                set_leaf(r, NULL, &e->length_bytes, &e->has_length);
                return 0;
        }
        if (strcmp(name, "ImportDisposition") == 0) {
                set_leaf(r, &e->disposition, NULL, NULL);
                return keep_attribute(a, "Status", &e->disposition_status);
        }
        if (strcmp(name, "PageRangeList") == 0 || strcmp(name, "BlockList") == 0 ||
            strcmp(name, "FileRangeList") == 0) {
                *ret = PLACE_RANGES;
                e->has_ranges = true;
                e->page = name[0] == 'P';
                return 0;
        }
        if (strcmp(name, "Metadata") == 0 || strcmp(name, "Properties") == 0) {
                *ret = PLACE_SIDECAR;
                r->sidecar = name[0] == 'M' ? &e->metadata : &e->properties;
                if (keep(&r->sidecar->status, "", 0) < 0)
                        return -ENOMEM;
                return keep_attribute(a, "Status", &r->sidecar->status);
        }
        *ret = PLACE_UNKNOWN;
        return 0;
}

/* Published logs have a blank inside the quotes of some hashes. */
static void squeeze(char *text)
{
        char *o = text;

        for (; text && *text; text++)
                if (!strchr(" \t\r\n", *text))
                        *o++ = *text;
        if (o)
                *o = '\0';
}

static int start_range(struct med_log_reader *r, const struct med_xml_attributes *a)
{
        struct med_log_entry *e = &r->entry;
        struct med_log_range range = { 0 }, *p;
        int f;

        if (e->n_ranges == MED_LOG_MAX_RANGES)
                return fail(r, BTH_REASON_LIMIT_EXCEEDED, "a blob has more than 50,000 ranges");
        if ((e->n_ranges & (e->n_ranges - 1)) == 0) { /* grow at 0, 1, 2, 4, 8 … */
                p = reallocarray(e->ranges, MAX(e->n_ranges * 2, (size_t)1), sizeof *p);
                if (!p)
                        return -ENOMEM;
                e->ranges = p;
        }
        e->ranges[e->n_ranges] = range;
        p = &e->ranges[e->n_ranges++];
        f = number_attribute(r, a, "Offset", &p->offset_bytes, NULL);
        if (f == 0)
                f = number_attribute(r, a, "Length", &p->length_bytes, NULL);
        if (f == 0)
                f = keep_attribute(a, "Id", &p->id);
        if (f == 0)
                f = keep_attribute(a, "Hash", &p->hash);
        if (f == 0)
                f = keep(&p->status, "", 0);
        if (f == 0)
                f = keep_attribute(a, "Status", &p->status);
        squeeze(p->hash);
        return f;
}

static int start_count(struct med_log_reader *r, const char *name,
                       const struct med_xml_attributes *a)
{
        struct med_log_summary *s = &r->summary;
        struct med_log_count *p;
        int f;

        if (s->n_counts == COUNTS_MAX)
                return fail(r, BTH_REASON_LIMIT_EXCEEDED, "the summary has more than 256 codes");
        p = reallocarray(s->counts, s->n_counts + 1, sizeof *p);
        if (!p)
                return -ENOMEM;
        s->counts = p;
        p += s->n_counts++;
        *p = (struct med_log_count){ .validation = r->validation };
        f = keep(&p->code, name, strlen(name));
        if (f == 0)
                f = keep_attribute(a, "Description", &p->description);
        return f < 0 ? f : number_attribute(r, a, "Count", &p->count, NULL);
}

static int start_in_sidecar(struct med_log_reader *r, const char *name,
                            const struct med_xml_attributes *a, enum place *ret)
{
        bool global = strcmp(name, "GlobalPath") == 0;

        if (!global && strcmp(name, "Path") != 0) {
                *ret = PLACE_UNKNOWN;
                return 0;
        }
        *ret = PLACE_LEAF;
        set_leaf(r, global ? &r->sidecar->global_path : &r->sidecar->path, NULL, NULL);
        return keep_attribute(a, "Hash", global ? &r->sidecar->global_hash : &r->sidecar->hash);
}

static int on_start(void *userdata, const char *name, const struct med_xml_attributes *a,
                    uint64_t line)
{
        struct med_log_reader *r = userdata;
        enum place now = r->depth > 0 ? r->places[r->depth - 1] : PLACE_TOP, next = PLACE_UNKNOWN;
        int f = 0;

        if (r->depth == DEPTH_MAX)
                return fail(r, BTH_REASON_LIMIT_EXCEEDED, "elements are nested too deep");
        switch (now) {
        case PLACE_TOP:
                f = start_top(r, name, a, line, &next);
                break;
        case PLACE_DRIVE_LOG:
                f = start_in_drive_log(r, name, a, line, &next);
                break;
        case PLACE_COPY_LOG:
                f = start_in_copy_log(r, name, &next);
                break;
        case PLACE_ENTRY:
                f = start_in_entry(r, name, a, &next);
                break;
        case PLACE_RANGES:
                f = start_range(r, a);
                break;
        case PLACE_SIDECAR:
                f = start_in_sidecar(r, name, a, &next);
                break;
        case PLACE_SUMMARY:
                next = PLACE_COUNTS;
                r->validation = strcmp(name, "ValidationErrors") == 0;
                break;
        case PLACE_COUNTS:
                f = start_count(r, name, a);
                break;
        case PLACE_LEAF:
        case PLACE_UNKNOWN:
                break;
        }
        r->places[r->depth++] = next;
        return f;
}

static int on_text(void *userdata, const char *text, size_t n)
{
        struct med_log_reader *r = userdata;

        if (r->depth == 0 || r->places[r->depth - 1] != PLACE_LEAF)
                return 0;
        if (r->text.length + n > MED_LOG_MAX_TEXT)
                return fail(r, BTH_REASON_TOO_LARGE, "a text is longer than 64 KiB");
        return bth_buf_add(&r->text, text, n);
}

static int end_leaf(struct med_log_reader *r)
{
        const char *text = r->text.data ? r->text.data : "";
        size_t n = r->text.length;

        if (r->leaf && (r->leaf == &r->entry.blob_path || r->leaf == &r->entry.file_path))
                med_xml_trim_layout(&text, &n);
        else
                med_xml_trim(&text, &n);
        if (r->leaf)
                return keep(r->leaf, text, n);
        if (bth_parse_u64_n(text, n, r->leaf_number) < 0)
                return fail(r, BTH_REASON_VALUE_INVALID, "an element is not a decimal number");
        *r->leaf_flag = true;
        return 0;
}

static int end_entry(struct med_log_reader *r)
{
        int f = 0;

        r->summary.n_entries++;
        if (!r->entry.blob_path)
                med_find(&r->findings, MED_SEVERITY_WARNING, "copylog-no-path", r->entry.line, NULL,
                         "compare with the original log", "an entry names no blob");
        if (r->entry_fn)
                f = r->entry_fn(r->userdata, &r->entry);
        med_log_entry_clear(&r->entry);
        return f;
}

static int on_end(void *userdata, const char *name, uint64_t line)
{
        struct med_log_reader *r = userdata;

        switch (r->places[--r->depth]) {
        case PLACE_LEAF:
                return end_leaf(r);
        case PLACE_ENTRY:
                return end_entry(r);
        default:
                return 0;
        }
}

/* -- the reader
 * -------------------------------------------------------------------------------------- */

int med_log_reader_new(const struct med_findings *findings, med_log_entry_fn entry, void *userdata,
                       struct med_log_reader **ret_reader)
{
        static const struct med_xml_handler handler = { on_start, on_text, on_end };
        _cleanup_(med_log_reader_freep) struct med_log_reader *r = calloc(1, sizeof *r);
        int f;

        if (!r)
                return -ENOMEM;
        r->entry_fn = entry;
        r->userdata = userdata;
        r->object = strdup(findings && findings->object ? findings->object : "");
        if (!r->object)
                return -ENOMEM;
        if (findings)
                r->findings = *findings;
        r->findings.object = r->object;
        f = med_xml_new(&handler, r, r->object, MED_XML_FRAGMENTS, &r->xml);
        if (f < 0)
                return f;
        *ret_reader = take_ptr(r);
        return 0;
}

struct med_log_reader *med_log_reader_free(struct med_log_reader *r)
{
        if (!r)
                return NULL;
        (void)med_xml_free(r->xml);
        med_log_entry_clear(&r->entry);
        med_log_summary_clear(&r->summary);
        bth_buf_clear(&r->text);
        free(r->object);
        free(r);
        return NULL;
}

int med_log_feed(struct med_log_reader *r, const void *data, size_t n, struct bth_error *error)
{
        int f;

        r->error = error;
        f = med_xml_feed(r->xml, data, n, error);
        r->error = NULL;
        return f;
}

int med_log_finish(struct med_log_reader *r, struct med_log_summary *ret_summary,
                   struct bth_error *error)
{
        int f;

        r->error = error;
        f = med_xml_finish(r->xml, error);
        if (f == 0 && !r->any)
                f = fail(r, BTH_REASON_NOT_A_COPY_LOG, "the file has no element of a copy log");
        r->error = NULL;
        if (f < 0)
                return f;
        *ret_summary = r->summary;
        r->summary = (struct med_log_summary){ 0 };
        return 0;
}

int med_log_entry_renamed_to(const struct med_log_entry *e, char **ret_name)
{
        static const char before[] = "renamed to:", behind[] = ":from:";
        const char *start = e->error_message ? strstr(e->error_message, before) : NULL, *end;

        if (!start)
                return -ENOENT;
        start += sizeof before - 1;
        start += strspn(start, " ");
        end = strstr(start, behind);
        while (end && end > start && end[-1] == ' ')
                end--;
        if (!end || end == start)
                return -ENOENT;
        *ret_name = strndup(start, (size_t)(end - start));
        return *ret_name ? 0 : -ENOMEM;
}
