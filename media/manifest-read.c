/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manifest-read - the streaming reader: pieces of the file in, one blob at a time out.
 *
 *     source ── 64 KiB ── libxml2 ── manifest-parse.c ── queue of complete blobs ── caller
 *
 * A piece is parsed as a whole, so the blobs it completes wait in a queue: memory is one blob and
 * what one piece can hold. Slots, with the memory in them, are used again. */
#include <stdarg.h>

#include "media/manifest-internal.h"

#define PIECE_BYTES       ((size_t)64 << 10)
#define NOTES_MAX_EACH    8u
#define MAX_EACH_DEFAULT  100u
#define KEEP_RANGES       1024u /* memory that an idle slot may keep */
#define KEEP_STRING_BYTES ((size_t)16 << 10)

/* --- findings --- */

/* Reports now, unless there were enough of the kind. */
static void emit(struct med_manifest_reader *r, enum med_manifest_finding f, uint64_t line,
                 const char *blob, const char *detail)
{
        const unsigned max = r->options.max_each > 0 ? r->options.max_each : MAX_EACH_DEFAULT;

        if (med_manifest_finding_severity(f) == MED_SEVERITY_ERROR && r->first_error.code == 0) {
                bth_error_at(&r->first_error, r->options.object, line, BTH_ERROR_NO_OFFSET);
                bth_error_blob(&r->first_error, blob);
                (void)bth_error_set(&r->first_error, -EBADMSG,
                                    f == MED_MANIFEST_FINDING_NOT_A_MANIFEST
                                            ? BTH_REASON_NOT_A_MANIFEST
                                            : BTH_REASON_VALUE_INVALID,
                                    "%s%s%s", med_manifest_finding_sentence(f),
                                    detail[0] != '\0' ? ": " : "", detail);
                bth_error_advise(&r->first_error, "%s", med_manifest_finding_advice(f));
        }
        if (r->options.findings && r->reported[f] < max) {
                r->reported[f]++;
                med_manifest_report(r->options.findings, f, line, blob, "%s", detail);
        }
}

static void count(struct med_manifest_reader *r, enum med_manifest_finding f, bool is_error)
{
        struct med_manifest_blob *blob = r->draft.slot ? &r->draft.slot->blob : NULL;

        r->summary->counts[f]++;
        r->summary->n_errors += is_error;
        r->summary->n_warnings += !is_error;
        if (blob) {
                blob->n_errors += is_error;
                blob->n_warnings += !is_error;
        }
}

/* Inside a blob findings wait for its end, because only then its name is surely known; each warning
 * is kept once. */
void manifest_note_text(void *reader, enum med_manifest_finding f, uint64_t line,
                        const char *detail)
{
        struct med_manifest_reader *r = reader;
        const bool is_error = med_manifest_finding_severity(f) == MED_SEVERITY_ERROR;
        struct note *n;

        if (!r->draft.slot) {
                count(r, f, is_error);
                emit(r, f, line, NULL, detail);
                return;
        }
        if (!is_error && r->notes_each[f] > 0)
                return;
        count(r, f, is_error);
        if (r->notes_each[f] == NOTES_MAX_EACH || r->n_notes == MANIFEST_NOTES_MAX)
                return;
        r->notes_each[f]++;
        n = &r->notes[r->n_notes++];
        n->finding = f;
        n->line = line;
        (void)snprintf(n->detail, sizeof n->detail, "%s", detail);
}

void manifest_note(struct med_manifest_reader *r, enum med_manifest_finding f, uint64_t line,
                   const char *format, ...)
{
        char detail[MANIFEST_DETAIL_BYTES];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(detail, sizeof detail, format, ap);
        va_end(ap);
        manifest_note_text(r, f, line, detail);
}

void manifest_emit_notes(struct med_manifest_reader *r, const char *blob)
{
        for (unsigned i = 0; i < r->n_notes; i++) {
                emit(r, r->notes[i].finding, r->notes[i].line, blob, r->notes[i].detail);
                r->notes_each[r->notes[i].finding] = 0;
        }
        r->n_notes = 0;
}

/* --- lists and slots --- */

struct list *manifest_list_unref(struct list *l)
{
        if (l && --l->n_users == 0) {
                free((void *)(uintptr_t)l->public.id);
                free((void *)(uintptr_t)l->public.metadata.path);
                free((void *)(uintptr_t)l->public.properties.path);
                free(l);
        }
        return NULL;
}

static struct slot *slot_free(struct slot *s)
{
        while (s) {
                struct slot *next = s->next;

                bth_buf_clear(&s->strings);
                (void)manifest_list_unref(s->list);
                free(s->ranges);
                free(s);
                s = next;
        }
        return NULL;
}

/* Puts a slot away for the next blob, without the memory of an unusually large one. */
static void slot_recycle(struct med_manifest_reader *r, struct slot *s)
{
        s->list = manifest_list_unref(s->list);
        if (s->n_ranges_allocated > KEEP_RANGES) {
                free(s->ranges);
                s->ranges = NULL;
                s->n_ranges_allocated = 0;
        }
        if (s->strings.allocated > KEEP_STRING_BYTES)
                bth_buf_clear(&s->strings);
        s->strings.length = 0;
        s->next = r->spare;
        r->spare = s;
}

struct slot *manifest_slot_take(struct med_manifest_reader *r)
{
        struct slot *s = r->spare;

        if (s)
                r->spare = s->next;
        else
                s = calloc(1, sizeof *s);
        if (s) {
                s->next = NULL;
                s->blob = (struct med_manifest_blob){ 0 };
        }
        return s;
}

int manifest_slot_add_range(struct slot *s, const struct med_manifest_range *range)
{
        if (s->blob.n_ranges == s->n_ranges_allocated) {
                const size_t grown = s->n_ranges_allocated == 0 ? 8 : 2 * s->n_ranges_allocated;
                void *p = reallocarray(s->ranges, grown, sizeof *s->ranges);

                if (!p)
                        return -ENOMEM;
                s->ranges = p;
                s->n_ranges_allocated = grown;
        }
        s->ranges[s->blob.n_ranges++] = *range;
        return 0;
}

int manifest_slot_add_text(struct slot *s, const char *text, size_t n, size_t *ret_at)
{
        const size_t at = s->strings.length;
        int r = bth_buf_reserve(&s->strings, n + 1);

        if (r < 0)
                return r;
        memcpy(s->strings.data + at, text, n);
        s->strings.data[at + n] = '\0';
        s->strings.length = at + n + 1;
        *ret_at = at;
        return 0;
}

void manifest_enqueue(struct med_manifest_reader *r, struct slot *s)
{
        *r->ready_end = s;
        r->ready_end = &s->next;
}

/* --- reader --- */

static const struct med_xml_handler xml_handler = {
        .start = manifest_on_start,
        .text = manifest_on_text,
        .end = manifest_on_end,
};

static int reader_set_up_xml(struct med_manifest_reader *r)
{
        int k = med_xml_new(&xml_handler, r, r->options.object, MED_XML_DOCUMENT, &r->xml);

        if (k < 0)
                return k;
        for (int t = 0; t < N_TOKENS; t++) {
                r->names[t] = med_xml_intern(r->xml, manifest_token_name((enum token)t));
                if (!r->names[t])
                        return -ENOMEM;
        }
        return 0;
}

int med_manifest_reader_new(struct bth_source *source, const struct med_manifest_options *options,
                            const struct med_manifest_summary *summary,
                            struct med_manifest_reader **ret_reader)
{
        _cleanup_(med_manifest_reader_freep) struct med_manifest_reader *r = calloc(1, sizeof *r);
        int k;

        if (!r)
                return -ENOMEM;
        r->source = source;
        r->options = *options;
        r->earlier = summary;
        r->error = r->first_error = BTH_ERROR_INIT;
        r->ready_end = &r->ready;
        r->piece = bth_io_buffer_new(PIECE_BYTES);
        r->summary = calloc(1, sizeof *r->summary);
        if (!r->piece || !r->summary)
                return -ENOMEM;
        k = bth_buf_reserve(&r->text, MANIFEST_SECRET_BYTES);
        if (k == 0)
                k = reader_set_up_xml(r);
        if (k == 0 && options->find_doubles)
                k = med_seen_new(&r->files_seen);
        if (k == 0 && options->find_doubles && !options->job_blobs)
                k = med_seen_new(&r->blobs_seen);
        if (k < 0)
                return k;
        *ret_reader = take_ptr(r);
        return 0;
}

struct med_manifest_reader *med_manifest_reader_free(struct med_manifest_reader *r)
{
        if (!r)
                return NULL;
        r->xml = med_xml_free(r->xml);
        (void)slot_free(r->ready);
        (void)slot_free(r->spare);
        (void)slot_free(r->lent);
        (void)slot_free(r->draft.slot);
        (void)manifest_list_unref(r->list);
        (void)manifest_list_unref(r->outside);
        (void)med_manifest_summary_free(r->summary);
        (void)med_seen_free(r->blobs_seen);
        (void)med_seen_free(r->files_seen);
        if (r->piece)
                bth_wipe(r->piece, PIECE_BYTES); /* the credential may have been in it */
        free(r->piece);
        bth_wipe(r->text.data, r->text.allocated);
        bth_buf_clear(&r->text);
        bth_buf_clear(&r->scratch);
        free(r);
        return NULL;
}

/* Parses one more piece, or the end. */
static int feed(struct med_manifest_reader *r)
{
        const uint64_t left = r->source->size_bytes - r->offset_bytes;
        const size_t n = (size_t)MIN(left, (uint64_t)PIECE_BYTES);
        int k;

        if (n == 0) {
                k = med_xml_finish(r->xml, &r->error);
                if (k < 0)
                        return k;
                r->finished = true;
                manifest_check_header(r);
                return 0;
        }
        k = bth_source_read(r->source, r->offset_bytes, r->piece, n);
        if (k < 0) {
                bth_error_at(&r->error, r->options.object, 0, r->offset_bytes);
                return bth_error_set(&r->error, k, BTH_REASON_FILE_UNREADABLE,
                                     "the manifest cannot be read: %s", bth_strerror(k));
        }
        r->offset_bytes += n;
        return med_xml_feed(r->xml, r->piece, n, &r->error);
}

static int fail(struct med_manifest_reader *r, int k)
{
        if (r->error.code == 0 && r->first_error.code != 0 && k == -EBADMSG)
                r->error = r->first_error;
        else if (r->error.code == 0)
                (void)bth_error_set(&r->error, k, BTH_REASON_INTERNAL,
                                    "the manifest cannot be read: %s", bth_strerror(k));
        return r->failed = k;
}

int med_manifest_next(struct med_manifest_reader *r, const struct med_manifest_blob **ret_blob,
                      struct bth_error *error)
{
        if (r->lent)
                slot_recycle(r, take_ptr(r->lent));
        while (!r->ready) {
                int k = r->failed;

                if (k == 0 && r->finished)
                        return 0;
                if (k == 0)
                        k = feed(r);
                if (k < 0 && r->failed == 0)
                        (void)fail(r, k);
                if (k < 0 && !r->ready) {
                        if (error)
                                *error = r->error;
                        return k;
                }
        }
        r->lent = r->ready;
        r->ready = r->lent->next;
        if (!r->ready)
                r->ready_end = &r->ready;
        r->lent->next = NULL;
        *ret_blob = &r->lent->blob;
        return 1;
}

const struct med_manifest_summary *med_manifest_reader_summary(const struct med_manifest_reader *r)
{
        return r->summary;
}

struct med_manifest_summary *med_manifest_reader_take_summary(struct med_manifest_reader *r)
{
        return take_ptr(r->summary);
}

int med_manifest_reader_first_error(const struct med_manifest_reader *r, struct bth_error *error)
{
        if (r->first_error.code == 0)
                return 0;
        if (error)
                *error = r->first_error;
        return -EBADMSG;
}

struct med_manifest_summary *med_manifest_summary_free(struct med_manifest_summary *s)
{
        if (!s)
                return NULL;
        free(s->header.version);
        free(s->header.drive_id);
        free(s->header.client_creator);
        (void)bth_secret_free(s->header.account_key);
        (void)bth_secret_free(s->header.container_sas);
        for (size_t i = 0; i < s->n_late; i++)
                free(s->late[i].path);
        free(s->late);
        free(s);
        return NULL;
}
