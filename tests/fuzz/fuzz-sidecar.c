/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "media/sidecar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct med_metadata m, again;
        struct med_properties p;

        if (med_metadata_parse(data, n, "f", &m, &e) == 0) {
                _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;

                if (med_metadata_write(&b, &m) == 0) {
                        if (med_metadata_parse(b.data, b.length, "f", &again, &e) < 0 ||
                            again.n_items != m.n_items)
                                abort();
                        med_metadata_clear(&again);
                }
                med_metadata_clear(&m);
        }
        if (med_properties_parse(data, n, "f", &p, &e) == 0)
                med_properties_clear(&p);
        return 0;
}
