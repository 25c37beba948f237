/* SPDX-License-Identifier: GPL-3.0-or-later */
/* status and reason - the tables behind the enums of status.h and reason.h. */
#include <string.h>

#include "base/macros.h"
#include "base/reason.h"
#include "base/status.h"

struct text_row {
        const char *text;
        const char *sentence;
};

#define TEXT_ROW(id, text, sentence) { text, sentence },

static int find_text(const struct text_row *rows, size_t n, const char *text)
{
        if (!text)
                return -EINVAL;
        for (size_t i = 0; i < n; i++)
                if (strcmp(rows[i].text, text) == 0)
                        return (int)i;
        return -EINVAL;
}

#define DEFINE_STATUS(name, LIST)                                                              \
        static const struct text_row name##_rows[] = { LIST(TEXT_ROW) };                       \
        const char *bth_##name##_to_string(enum bth_##name v)                                  \
        {                                                                                      \
                return (size_t)v < ARRAY_SIZE(name##_rows) ? name##_rows[v].text : NULL;       \
        }                                                                                      \
        enum bth_##name bth_##name##_from_string(const char *text)                             \
        {                                                                                      \
                return (enum bth_##name)find_text(name##_rows, ARRAY_SIZE(name##_rows), text); \
        }                                                                                      \
        const char *bth_##name##_sentence(enum bth_##name v)                                   \
        {                                                                                      \
                return (size_t)v < ARRAY_SIZE(name##_rows) ? name##_rows[v].sentence : "";     \
        }                                                                                      \
        struct bth_swallow_semicolon

DEFINE_STATUS(drive_status, BTH_DRIVE_STATUSES);
DEFINE_STATUS(blob_status, BTH_BLOB_STATUSES);
DEFINE_STATUS(disposition, BTH_DISPOSITIONS);
DEFINE_STATUS(disposition_status, BTH_DISPOSITION_STATUSES);
DEFINE_STATUS(range_status, BTH_RANGE_STATUSES);
DEFINE_STATUS(sidecar_status, BTH_SIDECAR_STATUSES);
DEFINE_STATUS(drive_state, BTH_DRIVE_STATES);
DEFINE_STATUS(job_state, BTH_JOB_STATES);

static const struct {
        const char *name;
        const char *sentence;
        const char *advice;
} reasons[] = {
#define X(id, name, sentence, advice) { name, sentence, advice },
        BTH_REASONS(X)
#undef X
};

const char *bth_reason_to_string(enum bth_reason r)
{
        return (size_t)r < ARRAY_SIZE(reasons) ? reasons[r].name : NULL;
}

enum bth_reason bth_reason_from_string(const char *name)
{
        for (size_t i = 0; name && i < ARRAY_SIZE(reasons); i++)
                if (strcmp(reasons[i].name, name) == 0)
                        return (enum bth_reason)i;
        return _BTH_REASON_INVALID;
}

const char *bth_reason_sentence(enum bth_reason r)
{
        return (size_t)r < ARRAY_SIZE(reasons) ? reasons[r].sentence : "";
}

const char *bth_reason_advice(enum bth_reason r)
{
        return (size_t)r < ARRAY_SIZE(reasons) ? reasons[r].advice : "";
}
