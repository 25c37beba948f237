/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "media/bloblist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        _cleanup_(med_bloblist_freep) struct med_bloblist *l = NULL, *again = NULL;
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
        struct bth_error e = BTH_ERROR_INIT;

        if (med_bloblist_parse(data, n, NULL, &l, &e) < 0)
                return 0;
        for (size_t i = 0; i < l->n_selectors; i++)
                (void)med_selector_matches(&l->selectors[i], "attic", "notes/a", NULL);
        if (med_bloblist_write(&b, l, true) == 0 &&
            (med_bloblist_parse(b.data, b.length, NULL, &again, &e) < 0 ||
             again->n_selectors != l->n_selectors))
                abort();
        return 0;
}
