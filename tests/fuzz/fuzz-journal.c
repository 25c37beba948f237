/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "media/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        _cleanup_(med_journal_freep) struct med_journal *j = NULL;
        struct bth_error e = BTH_ERROR_INIT;

        if (med_journal_parse(data, n, NULL, &j, &e) < 0)
                return 0;
        (void)med_journal_get(j, "DriveInfo", "DriveState");
        for (size_t i = 0; i < j->n_drives; i++) {
                _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
                _cleanup_(med_journal_freep) struct med_journal *again = NULL;

                /* What was read can be written, and says the same. */
                if (med_journal_write_drive(&b, 0, &j->drives[i]) < 0)
                        continue;
                if (med_journal_parse(b.data, b.length, NULL, &again, NULL) < 0 ||
                    again->n_drives != 1 ||
                    !bth_streq(again->drives[0].drive_id, j->drives[i].drive_id) ||
                    !bth_streq(again->drives[0].manifest_file, j->drives[i].manifest_file) ||
                    again->drives[0].key_form != j->drives[i].key_form ||
                    !bth_streq(again->drives[0].manifest_hash, j->drives[i].manifest_hash))
                        abort();
        }
        return 0;
}
