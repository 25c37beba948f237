/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "media/copylog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int drop(void *userdata, const void *data, size_t n)
{
        return 0;
}

/* Every entry that was read can be written in each generation, or is refused; neither crashes. */
static int write_again(void *userdata, const struct med_log_entry *e)
{
        static const enum med_log_generation all[] = { MED_LOG_L1, MED_LOG_L3, MED_LOG_L3_VERBOSE };

        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                _cleanup_(med_log_writer_freep) struct med_log_writer *w = NULL;

                if (med_log_writer_new(all[i], "D", drop, NULL, &w) == 0)
                        (void)!med_log_write_entry(w, e);
        }
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        _cleanup_(med_log_reader_freep) struct med_log_reader *r = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        struct med_log_summary s;
        char *job, *drive, *when, *name;
        enum med_log_kind kind;

        if (med_log_reader_new(NULL, write_again, NULL, &r) < 0)
                return 0;
        if (med_log_feed(r, data, n / 2, &e) == 0 &&
            med_log_feed(r, data + n / 2, n - n / 2, &e) == 0 && med_log_finish(r, &s, &e) == 0)
                med_log_summary_clear(&s);
        name = strndup((const char *)data, n);
        if (name && med_log_name_split(name, &job, &drive, &when, &kind) == 0) {
                free(job);
                free(drive);
                free(when);
        }
        free(name);
        return 0;
}
