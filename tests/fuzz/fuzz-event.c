/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An event of a station: what is accepted is read again from what is kept of it, with the same
 * meaning. */
#include <string.h>

#include "base/json.h"
#include "jobs/told.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        _cleanup_json_ json_t *event = NULL, *kept = NULL;
        struct bth_error error = BTH_ERROR_INIT;
        struct job_told t, again;
        int r;

        if (bth_json_parse((const char *)data, n, &event, NULL) < 0)
                return 0;
        r = job_told_read(event, &t, &error);
        if (r < 0) {
                if ((r != -EBADMSG && r != -EOPNOTSUPP) || error.sentence[0] == '\0')
                        abort();
                return 0;
        }
        if (t.seq == 0 || strlen(t.uid) != 36 || !t.subject[0] ||
            (t.facet != JOB_FACET_JOB && !t.serial) || t.drive.bytes_done > t.drive.bytes ||
            (size_t)t.kind >= _JOB_CHANGE_MAX || !job_change_is_told(t.kind))
                abort();
        if (bth_json_parse(t.data, strlen(t.data), &kept, NULL) < 0 ||
            job_told_read_data(t.kind, kept, &again, &error) < 0 || again.facet != t.facet ||
            memcmp(&again.drive, &t.drive, sizeof t.drive) != 0 || again.docked != t.docked)
                abort();
        job_told_clear(&t);
        return 0;
}
