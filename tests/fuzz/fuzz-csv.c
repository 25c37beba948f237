/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "media/dataset.h"
#include "media/driveset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        _cleanup_(med_dataset_freep) struct med_dataset *d = NULL;
        _cleanup_(med_driveset_freep) struct med_driveset *s = NULL;
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
        struct bth_error e = BTH_ERROR_INIT;

        if (med_dataset_parse((const char *)data, n, NULL, &d, &e) == 0 && d->n_errors == 0) {
                _cleanup_(med_dataset_freep) struct med_dataset *again = NULL;

                if (med_dataset_write(&b, d) == 0 &&
                    (med_dataset_parse(b.data, b.length, NULL, &again, NULL) < 0 ||
                     again->n_rows != d->n_rows ||
                     !bth_streq(again->rows[0].base_path, d->rows[0].base_path)))
                        abort();
        }
        (void)!med_driveset_parse((const char *)data, n, NULL, &s, &e);
        return 0;
}
