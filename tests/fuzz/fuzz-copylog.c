/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "media/copylog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int collect(void *userdata, const void *data, size_t n)
{
        return bth_buf_add(userdata, data, n);
}

static int count(void *userdata, const struct med_log_entry *e)
{
        ++*(size_t *)userdata;
        return 0;
}

/* What a writer has accepted is read again, and has as many entries. */
static void read_again(const struct bth_buf *b, size_t n_entries)
{
        _cleanup_(med_log_reader_freep) struct med_log_reader *r = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        struct med_log_summary s;
        size_t n = 0;

        if (med_log_reader_new(NULL, count, &n, &r) < 0)
                return;
        if (med_log_feed(r, b->data, b->length, &e) < 0 || med_log_finish(r, &s, &e) < 0 ||
            n != n_entries)
                abort();
        med_log_summary_clear(&s);
}

/* Every entry that was read can be written in each generation, or is refused; neither crashes. */
static int write_again(void *userdata, const struct med_log_entry *e)
{
        static const enum med_log_generation all[] = { MED_LOG_L1, MED_LOG_L3, MED_LOG_L3_VERBOSE };
        char *name;

        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                _cleanup_(med_log_writer_freep) struct med_log_writer *w = NULL;

                _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
                const struct med_log_summary s = { .status = (char *)"Completed" };

                if (med_log_writer_new(all[i], "D", collect, &b, &w) == 0 &&
                    med_log_write_entry(w, e) == 0 && med_log_write_end(w, &s) == 0)
                        read_again(&b, 1);
        }
        if (med_log_entry_renamed_to(e, &name) == 0)
                free(name);
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
        if (name && med_log_l3_name_split(name, &job, &drive, &when, &kind) == 0) {
                free(job);
                free(drive);
                free(when);
        }
        free(name);
        return 0;
}
