/* SPDX-License-Identifier: GPL-3.0-or-later */
/* finding - formatting and handing over complaints. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "media/finding.h"

void med_find(const struct med_findings *to, enum med_severity severity, const char *name,
              uint64_t line, const char *blob, const char *advice, const char *format, ...)
{
        char raw[1024], sentence[1024], blob_text[512];
        struct med_finding f = { .severity = severity,
                                 .name = name,
                                 .line = line,
                                 .sentence = sentence,
                                 .advice = advice };
        va_list ap;
        int n;

        if (!to || !to->fn)
                return;
        va_start(ap, format);
        n = vsnprintf(raw, sizeof raw, format, ap);
        va_end(ap);
        bth_redact_cut(raw, sizeof raw, n);
        bth_escape(raw, strlen(raw), sentence, sizeof sentence);
        if (blob)
                f.blob = bth_escape(blob, strlen(blob), blob_text, sizeof blob_text);
        f.object = to->object ? to->object : "";
        to->fn(to->userdata, &f);
}

char *med_finding_to_string(const struct med_finding *f, char *buffer, size_t size_bytes)
{
        char where[32] = "";

        if (f->line != 0)
                (void)snprintf(where, sizeof where, "%" PRIu64 ":", f->line);
        (void)snprintf(buffer, size_bytes, "%s:%s %s%s%s%s: %s. %s. [%s]", f->object, where,
                       f->blob ? "blob '" : "", f->blob ? f->blob : "", f->blob ? "': " : "",
                       f->severity == MED_SEVERITY_ERROR ? "error" : "warning", f->sentence,
                       f->advice, f->name);
        return buffer;
}
