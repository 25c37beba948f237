/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fuzz-manifest - reads as import and as export. A blob without errors must keep what the checks
 * promise, and what the writer accepts must be read again as it was. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/str.h"
#include "media/manifest.h"

#define BLOBS_MAX 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void demand(bool truth)
{
        if (!truth)
                abort();
}

static void hear(void *userdata, const struct med_finding *finding)
{
        char line[512];

        demand(finding->name && finding->advice[0] != '\0' && finding->line > 0);
        (void)med_finding_to_string(finding, line, sizeof line);
        (*(uint64_t *)userdata)++;
}

static int write_to_buffer(void *userdata, const void *data, size_t n)
{
        return bth_buf_add(userdata, data, n);
}

static bool same_text(const char *a, const char *b)
{
        return a && b ? strcmp(a, b) == 0 : a == b;
}

static void compare(const struct med_manifest_blob *a, const struct med_manifest_blob *b)
{
        demand(same_text(a->blob_path, b->blob_path) && same_text(a->file_path, b->file_path));
        demand(same_text(a->client_data, b->client_data) && same_text(a->snapshot, b->snapshot));
        demand(a->length_bytes == b->length_bytes && a->kind == b->kind);
        demand(a->n_ranges == b->n_ranges && b->n_errors == 0);
        for (size_t i = 0; i < a->n_ranges; i++) {
                demand(a->ranges[i].offset_bytes == b->ranges[i].offset_bytes &&
                       a->ranges[i].length_bytes == b->ranges[i].length_bytes);
                demand(memcmp(a->ranges[i].md5, b->ranges[i].md5, BTH_MD5_BYTES) == 0);
                demand(same_text(med_manifest_range_id(a, i), med_manifest_range_id(b, i)));
        }
}

static void read_again(const struct med_manifest_blob *written, const struct bth_buf *text,
                       enum med_manifest_direction direction)
{
        const struct med_manifest_options options = { .direction = direction };
        _cleanup_(bth_source_freep) struct bth_source *source = NULL;
        _cleanup_(med_manifest_reader_freep) struct med_manifest_reader *r = NULL;
        const struct med_manifest_blob *b;

        if (bth_source_new_memory(text->data, text->length, &source) < 0 ||
            med_manifest_reader_new(source, &options, NULL, &r) < 0)
                return;
        demand(med_manifest_next(r, &b, NULL) == 1);
        compare(written, b);
        demand(med_manifest_next(r, &b, NULL) == 0);
}

static void write_one(const struct med_manifest_blob *b, enum med_manifest_direction direction)
{
        const struct med_manifest_header header = { .drive_id = (char[]){ "Q" } };
        _cleanup_(med_manifest_writer_freep) struct med_manifest_writer *w = NULL;
        _cleanup_buf_ struct bth_buf out = BTH_BUF_INIT;

        if (med_manifest_writer_new(&header, direction, write_to_buffer, &out, &w, NULL) == 0 &&
            med_manifest_writer_begin_list(w, b->list->id, &b->list->metadata, &b->list->properties,
                                           NULL) == 0 &&
            med_manifest_writer_blob(w, b, NULL) == 0 &&
            med_manifest_writer_end_list(w, NULL) == 0 &&
            med_manifest_writer_end(w, NULL, NULL, NULL, NULL) == 0)
                read_again(b, &out, direction);
}

static void check_promises(const struct med_manifest_blob *b)
{
        uint64_t end = 0;

        demand(b->blob_path && strchr(b->blob_path, '/') && b->file_path);
        demand(b->kind != MED_MANIFEST_NONE && b->list);
        for (size_t i = 0; i < b->n_ranges; i++) {
                const struct med_manifest_range *range = &b->ranges[i];

                demand(range->length_bytes > 0 && range->offset_bytes >= end);
                demand(bth_range_inside(range->offset_bytes, range->length_bytes, b->length_bytes));
                demand(b->kind != MED_MANIFEST_BLOCK || range->offset_bytes == end);
                end = range->offset_bytes + range->length_bytes;
        }
}

static void run(const uint8_t *data, size_t n, enum med_manifest_direction direction)
{
        uint64_t heard = 0;
        const struct med_findings findings = { .fn = hear, .userdata = &heard, .object = "f" };
        const struct med_manifest_options options = {
                .object = "f",
                .direction = direction,
                .findings = &findings,
                .find_doubles = true,
        };
        _cleanup_(bth_source_freep) struct bth_source *source = NULL;
        _cleanup_(med_manifest_reader_freep) struct med_manifest_reader *r = NULL;
        _cleanup_(med_manifest_summary_freep) struct med_manifest_summary *s = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        const struct med_manifest_blob *b;
        unsigned n_blobs = 0;

        if (bth_source_new_memory(data, n, &source) < 0)
                return;
        if (med_manifest_validate(source, &options, &s, NULL, &e) < 0)
                demand(e.code < 0 && e.sentence[0] != '\0');
        if (!s || med_manifest_reader_new(source, &options, s, &r) < 0)
                return;
        demand(s->n_errors + s->n_warnings >= heard);
        while (med_manifest_next(r, &b, &e) > 0) {
                if (b->n_errors > 0 || ++n_blobs > BLOBS_MAX)
                        continue;
                check_promises(b);
                write_one(b, direction);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        run(data, n, MED_MANIFEST_IMPORT);
        run(data, n, MED_MANIFEST_EXPORT);
        return 0;
}
