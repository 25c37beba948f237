/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manifest-validate - the rules for one entry, and the pass over a whole manifest.
 * Source: import-export specification 2.4, 2.6, 2.11. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/str.h"
#include "media/manifest.h"
#include "media/naming.h"

#define GB                  UINT64_C(1000000000)
#define BLOCK_BLOB_2014     (200 * GB)
#define PAGE_BLOB_2014      (UINT64_C(1) << 40)
#define CONTENT_ID          "MD5/"
#define CONTENT_ID_CHARS    28u /* "MD5/" and base64 of 16 bytes */
#define DETAIL_BYTES        160
#define ID_MAX_CHARS        BTH_BASE64_LENGTH(MED_MANIFEST_BLOCK_ID_BYTES)
#define CONTAINER_MAX_CHARS 63u

/* Where the findings of one entry go. */
struct check {
        const struct med_manifest_blob *blob;
        enum med_manifest_direction direction;
        med_manifest_report_fn report;
        void *userdata;
};

static void _printf_(4, 5) found(const struct check *c, enum med_manifest_finding f, uint64_t line,
                                 const char *format, ...)
{
        char detail[DETAIL_BYTES];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(detail, sizeof detail, format, ap);
        va_end(ap);
        c->report(c->userdata, f, line, detail);
}

/* --- names --- */

static size_t count_characters(const char *text)
{
        size_t n = 0;

        for (; *text; text++)
                n += ((unsigned char)*text & 0xc0) != 0x80;
        return n;
}

static void check_container(const struct check *c, const char *path, size_t n,
                            const char *sas_container)
{
        char container[CONTAINER_MAX_CHARS + 1];
        struct bth_error e = BTH_ERROR_INIT;

        if (n > CONTAINER_MAX_CHARS) {
                found(c, MED_MANIFEST_FINDING_CONTAINER_INVALID, c->blob->line,
                      "'%.20s…' has more than 63 characters", path);
                return;
        }
        memcpy(container, path, n);
        container[n] = '\0';
        if (med_check_container(container, &e) < 0)
                found(c, MED_MANIFEST_FINDING_CONTAINER_INVALID, c->blob->line, "%s", e.sentence);
        else if (sas_container && sas_container[0] != '\0' && strcmp(container, sas_container) != 0)
                found(c, MED_MANIFEST_FINDING_BLOB_OUTSIDE_CONTAINER, c->blob->line,
                      "it is in '%s', the credential is for '%s'", container, sas_container);
}

static void check_blob_path(const struct check *c, const char *sas_container)
{
        const struct med_manifest_blob *b = c->blob;
        const char *path = b->blob_path, *slash, *doubt;

        if (path[0] == '/') {
                found(c, MED_MANIFEST_FINDING_BLOB_NAME_DOUBTFUL, b->line,
                      "BlobPath begins with a slash, which is not part of it");
                path++;
        }
        slash = strchr(path, '/');
        check_container(c, path, slash ? (size_t)(slash - path) : strlen(path), sas_container);
        if (!slash || slash[1] == '\0') {
                found(c, MED_MANIFEST_FINDING_BLOB_NAME_MISSING, b->line, "%s", "");
                return;
        }
        if (bth_starts_with(path, "$root/") && strchr(slash + 1, '/'))
                found(c, MED_MANIFEST_FINDING_ROOT_BLOB_SLASH, b->line, "%s", "");
        doubt = med_blob_name_doubt(slash + 1);
        if (doubt)
                found(c, MED_MANIFEST_FINDING_BLOB_NAME_DOUBTFUL, b->line, "%s", doubt);
        if (strlen(slash + 1) > MED_MANIFEST_NAME_CHARACTERS &&
            count_characters(slash + 1) > MED_MANIFEST_NAME_CHARACTERS)
                found(c, MED_MANIFEST_FINDING_BLOB_NAME_LONG, b->line, "it has %zu",
                      count_characters(slash + 1));
}

static void check_file_path(const struct check *c)
{
        const struct med_manifest_blob *b = c->blob;
        struct bth_error e = BTH_ERROR_INIT;

        if (strlen(b->file_path) > MED_MANIFEST_PATH_CHARACTERS &&
            count_characters(b->file_path) > MED_MANIFEST_PATH_CHARACTERS)
                found(c, MED_MANIFEST_FINDING_PATH_LONG, b->line, "it has %zu",
                      count_characters(b->file_path));
        if (med_check_file_path(b->file_path, &e) < 0)
                found(c, MED_MANIFEST_FINDING_FILE_PATH_DOUBTFUL, b->line, "%s", e.sentence);
}

void med_manifest_check_names(const struct med_manifest_blob *b, const char *sas_container,
                              med_manifest_report_fn report, void *userdata)
{
        const struct check c = { .blob = b, .report = report, .userdata = userdata };

        if (!b->blob_path || b->blob_path[0] == '\0')
                found(&c, MED_MANIFEST_FINDING_BLOB_PATH_MISSING, b->line, "%s", "");
        else
                check_blob_path(&c, sas_container);
        if (!b->file_path || b->file_path[0] == '\0')
                found(&c, MED_MANIFEST_FINDING_FILE_PATH_MISSING, b->line, "%s", "");
        else
                check_file_path(&c);
        if (b->azure_file)
                found(&c, MED_MANIFEST_FINDING_AZURE_FILE, b->line, "%s", "");
}

/* --- block ids --- */

static bool id_is_content(const char *id, size_t n)
{
        return n == CONTENT_ID_CHARS && memcmp(id, CONTENT_ID, strlen(CONTENT_ID)) == 0;
}

static bool id_is_base64(const char *id, size_t n)
{
        uint8_t bytes[(ID_MAX_CHARS + 3) / 4 * 3];
        size_t k;

        return n > 0 && n <= ID_MAX_CHARS && bth_base64_decode(id, n, bytes, &k) == 0 && k > 0 &&
               k <= MED_MANIFEST_BLOCK_ID_BYTES;
}

/* Returns whether the id is the hash of its own block, which cannot be given to another. */
static bool check_id(const struct check *c, const struct med_manifest_range *range, const char *id,
                     size_t n)
{
        char content[CONTENT_ID_CHARS + 1] = CONTENT_ID;

        if (!id_is_content(id, n)) {
                if (!id_is_base64(id, n))
                        found(c, MED_MANIFEST_FINDING_BLOCK_ID_INVALID, range->line, "'%.100s'",
                              id);
                return false;
        }
        (void)bth_base64_encode(range->md5, sizeof range->md5, content + strlen(CONTENT_ID));
        if (memcmp(id, content, CONTENT_ID_CHARS) == 0)
                return true;
        if (!id_is_base64(id, n))
                found(c, MED_MANIFEST_FINDING_BLOCK_ID_INVALID, range->line, "'%.100s'", id);
        else
                found(c, MED_MANIFEST_FINDING_BLOCK_ID_NOT_HASH, range->line, "'%s' should be '%s'",
                      id, content);
        return false;
}

static int compare_by_id(const void *a, const void *b, void *userdata)
{
        const struct med_manifest_blob *blob = userdata;
        const uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
        int order = strcmp(med_manifest_range_id(blob, i), med_manifest_range_id(blob, k));

        return order != 0 ? order : (i > k) - (i < k);
}

/* The service keeps one block for each id, so an id that stands for two contents loses one. */
static int check_ids_reused(const struct check *c)
{
        const struct med_manifest_blob *b = c->blob;
        _cleanup_free_ uint32_t *order = malloc(b->n_ranges * sizeof *order);

        if (!order)
                return -ENOMEM;
        for (uint32_t i = 0; i < b->n_ranges; i++)
                order[i] = i;
        qsort_r(order, b->n_ranges, sizeof *order, compare_by_id, (void *)(uintptr_t)b);
        for (size_t i = 1; i < b->n_ranges; i++) {
                const struct med_manifest_range *first = &b->ranges[order[i - 1]];
                const struct med_manifest_range *second = &b->ranges[order[i]];
                const char *id = b->ids + second->id;

                if (strcmp(b->ids + first->id, id) == 0 &&
                    memcmp(first->md5, second->md5, sizeof first->md5) != 0) {
                        found(c, MED_MANIFEST_FINDING_BLOCK_ID_REUSED, second->line,
                              "'%s' is also at line %" PRIu32, id, first->line);
                        break;
                }
        }
        return 0;
}

static int check_ids(const struct check *c)
{
        const struct med_manifest_blob *b = c->blob;
        const struct med_manifest_range *odd = NULL, *without = NULL;
        size_t n_ids = 0, length = 0;
        bool all_content = true;

        for (size_t i = 0; i < b->n_ranges; i++) {
                const struct med_manifest_range *range = &b->ranges[i];
                const char *id = med_manifest_range_id(b, i);
                const size_t n = id ? strlen(id) : 0;

                if (!id) {
                        without = without ? without : range;
                        continue;
                }
                if (n_ids++ == 0)
                        length = n;
                else if (n != length && !odd)
                        odd = range;
                all_content &= check_id(c, range, id, n);
        }
        if (n_ids > 0 && without)
                found(c, MED_MANIFEST_FINDING_BLOCK_IDS_INCOMPLETE, without->line,
                      "%zu of %zu blocks have an id; the block at offset %" PRIu64 " has none",
                      n_ids, b->n_ranges, without->offset_bytes);
        if (odd)
                found(c, MED_MANIFEST_FINDING_BLOCK_ID_LENGTHS, odd->line,
                      "the first has %zu characters, that at offset %" PRIu64 " has %zu", length,
                      odd->offset_bytes, strlen(b->ids + odd->id));
        if (n_ids == 0 && b->length_bytes > MED_MANIFEST_IDS_FROM_BYTES)
                found(c, MED_MANIFEST_FINDING_LARGE_BLOB_WITHOUT_IDS, b->line, "%s", "");
        return without || all_content || n_ids < 2 ? 0 : check_ids_reused(c);
}

/* --- ranges --- */

static uint64_t range_limit(enum med_manifest_kind kind)
{
        return kind == MED_MANIFEST_PAGE ? MED_MANIFEST_RANGE_2014_BYTES : MED_MANIFEST_BLOCK_BYTES;
}

/* A range by itself. Returns false when it reaches behind the blob's end. */
static bool check_range(const struct check *c, const struct med_manifest_range *range)
{
        const struct med_manifest_blob *b = c->blob;
        const uint64_t limit = range_limit(b->kind);

        if (range->length_bytes == 0)
                found(c, MED_MANIFEST_FINDING_RANGE_EMPTY, range->line, "Offset %" PRIu64,
                      range->offset_bytes);
        if (range->length_bytes > limit)
                found(c, MED_MANIFEST_FINDING_RANGE_TOO_LONG, range->line,
                      "Length %" PRIu64 " at Offset %" PRIu64 "; at most %" PRIu64
                      " bytes are possible",
                      range->length_bytes, range->offset_bytes, limit);
        else if (range->length_bytes > MED_MANIFEST_RANGE_2014_BYTES)
                found(c, MED_MANIFEST_FINDING_BEYOND_2014_FORMAT, range->line,
                      "a block of %" PRIu64 " bytes; that format had at most 4194304",
                      range->length_bytes);
        if (b->kind == MED_MANIFEST_PAGE && (range->offset_bytes % MED_MANIFEST_PAGE_BYTES != 0 ||
                                             range->length_bytes % MED_MANIFEST_PAGE_BYTES != 0))
                found(c, MED_MANIFEST_FINDING_PAGE_RANGE_UNALIGNED, range->line,
                      "Offset %" PRIu64 ", Length %" PRIu64, range->offset_bytes,
                      range->length_bytes);
        if (bth_range_inside(range->offset_bytes, range->length_bytes, b->length_bytes))
                return true;
        found(c, MED_MANIFEST_FINDING_RANGE_PAST_END, range->line,
              "Offset %" PRIu64 ", Length %" PRIu64 "; the blob has %" PRIu64 " bytes",
              range->offset_bytes, range->length_bytes, b->length_bytes);
        return false;
}

/* A range and the one before it, which ends at `end`. Returns false when they do not fit. */
static bool check_order(const struct check *c, const struct med_manifest_range *before,
                        const struct med_manifest_range *range, uint64_t end)
{
        if (before && range->offset_bytes < before->offset_bytes)
                found(c, MED_MANIFEST_FINDING_RANGE_NOT_ORDERED, range->line,
                      "Offset %" PRIu64 " follows Offset %" PRIu64, range->offset_bytes,
                      before->offset_bytes);
        else if (range->offset_bytes < end)
                found(c, MED_MANIFEST_FINDING_RANGE_OVERLAP, range->line,
                      "Offset %" PRIu64 " lies in the range before, which ends at %" PRIu64,
                      range->offset_bytes, end);
        else if (range->offset_bytes > end && c->blob->kind == MED_MANIFEST_BLOCK)
                found(c, MED_MANIFEST_FINDING_BLOCK_GAP, range->line,
                      "Offset %" PRIu64 " where %" PRIu64 " was expected", range->offset_bytes,
                      end);
        else
                return true;
        return false;
}

/* Returns whether all fit; *ret_end is then where the last ends. */
static bool check_each(const struct check *c, uint64_t *ret_end)
{
        const struct med_manifest_blob *b = c->blob;
        uint64_t end = 0;
        bool fit = true;

        for (size_t i = 0; i < b->n_ranges; i++) {
                const struct med_manifest_range *range = &b->ranges[i];

                fit &= check_order(c, i > 0 ? range - 1 : NULL, range, end);
                fit &= check_range(c, range);
                if (!bth_add_u64(range->offset_bytes, range->length_bytes, &end))
                        end = UINT64_MAX; /* reported as behind the blob's end */
        }
        *ret_end = end;
        return fit;
}

static void check_length(const struct check *c)
{
        const struct med_manifest_blob *b = c->blob;
        const bool page = b->kind == MED_MANIFEST_PAGE;
        const uint64_t length_2014 = page ? PAGE_BLOB_2014 : BLOCK_BLOB_2014;

        if (page && b->length_bytes % MED_MANIFEST_PAGE_BYTES != 0)
                found(c, MED_MANIFEST_FINDING_PAGE_LENGTH_UNALIGNED, b->line, "it is %" PRIu64,
                      b->length_bytes);
        if (page && b->length_bytes > MED_MANIFEST_PAGE_BLOB_BYTES)
                found(c, MED_MANIFEST_FINDING_PAGE_BLOB_TOO_LONG, b->line, "it has %" PRIu64,
                      b->length_bytes);
        else if (b->length_bytes > length_2014 && !b->azure_file)
                found(c, MED_MANIFEST_FINDING_BEYOND_2014_FORMAT, b->line,
                      "a blob of %" PRIu64 " bytes; that format had at most %" PRIu64,
                      b->length_bytes, length_2014);
}

static int check_blocks(const struct check *c, bool fit, uint64_t end)
{
        const struct med_manifest_blob *b = c->blob;

        if (b->n_ranges > MED_MANIFEST_BLOCKS_MAX)
                found(c, MED_MANIFEST_FINDING_TOO_MANY_BLOCKS, b->line, "%s", "");
        else if (fit && end != b->length_bytes)
                found(c,
                      c->direction == MED_MANIFEST_EXPORT ? MED_MANIFEST_FINDING_EXPORT_SUM
                                                          : MED_MANIFEST_FINDING_BLOCK_SUM,
                      b->line, "the blocks have %" PRIu64 " bytes, the blob %" PRIu64, end,
                      b->length_bytes);
        return check_ids(c);
}

int med_manifest_check_ranges(const struct med_manifest_blob *b,
                              enum med_manifest_direction direction, med_manifest_report_fn report,
                              void *userdata)
{
        const struct check c = {
                .blob = b,
                .direction = direction,
                .report = report,
                .userdata = userdata,
        };
        uint64_t end;
        bool fit;

        if (b->kind == MED_MANIFEST_NONE)
                found(&c, MED_MANIFEST_FINDING_NO_RANGE_LIST, b->line, "%s", "");
        check_length(&c);
        fit = check_each(&c, &end);
        if (b->kind == MED_MANIFEST_BLOCK)
                return check_blocks(&c, fit, end);
        if (b->n_ranges > MED_MANIFEST_RANGES_MAX)
                found(&c, MED_MANIFEST_FINDING_TOO_MANY_RANGES, b->line, "%s", "");
        return 0;
}

/* --- the drive --- */

void med_manifest_check_file(const struct med_findings *to, const struct med_manifest_blob *b,
                             uint64_t file_bytes)
{
        if (file_bytes > b->length_bytes)
                med_manifest_report(to, MED_MANIFEST_FINDING_FILE_LONGER, b->line, b->blob_path,
                                    "%s has %" PRIu64 " bytes, Length is %" PRIu64, b->file_path,
                                    file_bytes, b->length_bytes);
}

/* --- the whole manifest --- */

static enum bth_drive_status status_of(int r, const struct med_manifest_summary *s)
{
        if (r == -EBADMSG)
                return BTH_DRIVE_STATUS_MANIFEST_FORMAT_INVALID;
        if (r == -ENOMEM)
                return BTH_DRIVE_STATUS_INTERNAL_ERROR;
        if (r < 0)
                return BTH_DRIVE_STATUS_READ_MANIFEST_FAILED;
        if (s->counts[MED_MANIFEST_FINDING_DRIVE_ID_MISMATCH] > 0)
                return BTH_DRIVE_STATUS_MANIFEST_DRIVE_ID_MISMATCH;
        return s->n_errors > 0 ? BTH_DRIVE_STATUS_MANIFEST_FORMAT_INVALID
                               : BTH_DRIVE_STATUS_COMPLETED;
}

int med_manifest_validate(struct bth_source *source, const struct med_manifest_options *options,
                          struct med_manifest_summary **ret_summary,
                          enum bth_drive_status *ret_status, struct bth_error *error)
{
        _cleanup_(med_manifest_reader_freep) struct med_manifest_reader *reader = NULL;
        const struct med_manifest_summary *summary = NULL;
        const struct med_manifest_blob *blob;
        enum bth_drive_status status;
        int r = med_manifest_reader_new(source, options, NULL, &reader);

        if (r < 0)
                (void)bth_error_set(error, r, BTH_REASON_INTERNAL, "no reader for the manifest: %s",
                                    bth_strerror(r));
        while (r == 0 && (r = med_manifest_next(reader, &blob, error)) > 0)
                r = 0;
        if (r == 0)
                summary = med_manifest_reader_summary(reader);
        status = reader || r == -ENOMEM ? status_of(r, summary) : BTH_DRIVE_STATUS_INTERNAL_ERROR;
        if (ret_status)
                *ret_status = status;
        if (r < 0)
                return r;
        if (summary->n_errors > 0)
                r = med_manifest_reader_first_error(reader, error);
        if (ret_summary)
                *ret_summary = med_manifest_reader_take_summary(reader);
        return r;
}
