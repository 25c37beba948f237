/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manifest-finding - the list of findings, and reporting one. */
#include <stdarg.h>
#include <stdio.h>

#include "base/str.h"
#include "media/manifest-finding.h"

#define DETAIL_BYTES 512

static const struct {
        const char *name;
        enum med_severity severity;
        const char *sentence;
        const char *advice;
} table[] = {
#define X(id, name, severity, sentence, advice) { name, MED_SEVERITY_##severity, sentence, advice },
        MED_MANIFEST_FINDINGS(X)
#undef X
};

static bool in_table(enum med_manifest_finding f)
{
        return f >= 0 && f < _MED_MANIFEST_FINDING_MAX;
}

const char *med_manifest_finding_to_string(enum med_manifest_finding f)
{
        return in_table(f) ? table[f].name : NULL;
}

enum med_manifest_finding med_manifest_finding_from_string(const char *name)
{
        for (int f = 0; f < _MED_MANIFEST_FINDING_MAX; f++)
                if (bth_streq(name, table[f].name))
                        return f;
        return _MED_MANIFEST_FINDING_INVALID;
}

enum med_severity med_manifest_finding_severity(enum med_manifest_finding f)
{
        return in_table(f) ? table[f].severity : _MED_SEVERITY_INVALID;
}

const char *med_manifest_finding_sentence(enum med_manifest_finding f)
{
        return in_table(f) ? table[f].sentence : "";
}

const char *med_manifest_finding_advice(enum med_manifest_finding f)
{
        return in_table(f) ? table[f].advice : "";
}

void med_manifest_report(const struct med_findings *to, enum med_manifest_finding f, uint64_t line,
                         const char *blob, const char *format, ...)
{
        char detail[DETAIL_BYTES];
        va_list ap;

        if (!in_table(f))
                return;
        va_start(ap, format);
        (void)vsnprintf(detail, sizeof detail, format, ap);
        va_end(ap);
        med_find(to, table[f].severity, table[f].name, line, blob, table[f].advice, "%s%s%s",
                 table[f].sentence, detail[0] != '\0' ? ": " : "", detail);
}
