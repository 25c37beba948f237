/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manifest-pass - for tests of manifests: a pass that writes down what it heard, and a source of
 * any length that keeps nothing. Include behind <cmocka.h>. */
#pragma once

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "media/manifest.h"

#define OBJECT "\\DriveManifest.xml"

/* Findings as they are printed, one a line; and which there were. */
struct heard {
        struct bth_buf text;
        bool had[_MED_MANIFEST_FINDING_MAX];
        unsigned n;
};

static inline void hear(void *userdata, const struct med_finding *finding)
{
        struct heard *h = userdata;
        enum med_manifest_finding f = med_manifest_finding_from_string(finding->name);
        char line[4096];

        assert_true(f >= 0);
        h->had[f] = true;
        h->n++;
        assert_int_equal(bth_buf_add_format(&h->text, "%s\n",
                                            med_finding_to_string(finding, line, sizeof line)),
                         0);
}

static inline void heard_clear(struct heard *h)
{
        bth_buf_clear(&h->text);
        memset(h, 0, sizeof *h);
}

static inline const char *heard_text(const struct heard *h)
{
        return h->text.data ? h->text.data : "";
}

/* One pass over a text. */
struct pass {
        struct heard heard;
        struct med_findings findings;
        struct med_manifest_options options;
        struct med_manifest_summary *summary;
        enum bth_drive_status status;
        struct bth_error error;
        int result;
};

static inline void pass_init(struct pass *p)
{
        memset(p, 0, sizeof *p);
        p->error = BTH_ERROR_INIT;
        p->findings = (struct med_findings){ .fn = hear, .userdata = &p->heard, .object = OBJECT };
        p->options = (struct med_manifest_options){
                .object = OBJECT,
                .findings = &p->findings,
                .find_doubles = true,
                .default_disposition = BTH_DISPOSITION_RENAME,
        };
}

static inline void pass_run_on(struct pass *p, struct bth_source *source)
{
        p->result = med_manifest_validate(source, &p->options, &p->summary, &p->status, &p->error);
}

static inline void pass_run(struct pass *p, const void *text, size_t n)
{
        _cleanup_(bth_source_freep) struct bth_source *source = NULL;

        assert_int_equal(bth_source_new_memory(text, n, &source), 0);
        pass_run_on(p, source);
}

static inline void pass_clear(struct pass *p)
{
        heard_clear(&p->heard);
        p->summary = med_manifest_summary_free(p->summary);
}

/* A source of a head, `n` records of equal length and a tail, made up as they are read. */
struct synthetic {
        struct bth_source base;
        const char *head, *tail;
        size_t n_head, record_bytes;
        uint64_t n_records;
        /* Writes record `i` of `record_bytes` and a NUL. NULL: `pattern`. */
        void (*record)(uint64_t i, char *out);
        const char *pattern;
};

#define SYNTHETIC_RECORD_MAX 256

static inline int synthetic_read(struct bth_source *source, uint64_t offset, void *buffer, size_t n)
{
        struct synthetic *s = (struct synthetic *)source;
        char *out = buffer, record[SYNTHETIC_RECORD_MAX];

        while (n > 0) {
                const char *from;
                size_t k;

                if (offset < s->n_head) {
                        from = s->head + offset;
                        k = s->n_head - offset;
                } else if ((offset - s->n_head) / s->record_bytes < s->n_records) {
                        const uint64_t i = (offset - s->n_head) / s->record_bytes;
                        const size_t at = (size_t)((offset - s->n_head) % s->record_bytes);

                        if (s->record)
                                s->record(i, record);
                        from = (s->record ? record : s->pattern) + at;
                        k = s->record_bytes - at;
                } else {
                        from = s->tail + (offset - s->n_head - s->n_records * s->record_bytes);
                        k = strlen(from);
                }
                k = MIN(k, n);
                memcpy(out, from, k);
                out += k;
                offset += k;
                n -= k;
        }
        return 0;
}

static inline void synthetic_free(struct bth_source *source)
{
}

/* `record` or `pattern` is set by the caller before. */
static inline void synthetic_init(struct synthetic *s, const char *head, uint64_t n_records,
                                  const char *tail)
{
        static const struct bth_source_ops ops = { .read = synthetic_read, .free = synthetic_free };
        char record[SYNTHETIC_RECORD_MAX];

        if (s->record)
                s->record(0, record);
        s->head = head;
        s->n_head = strlen(head);
        s->tail = tail;
        s->record_bytes = strlen(s->record ? record : s->pattern);
        s->n_records = n_records;
        s->base = (struct bth_source){
                .ops = &ops,
                .size_bytes = s->n_head + n_records * s->record_bytes + strlen(tail),
                .logical_block_bytes = 1,
                .memory_align_bytes = 1,
        };
}
