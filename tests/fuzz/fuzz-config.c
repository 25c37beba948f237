/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        _cleanup_(dmn_config_freep) struct dmn_config *c = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        int r = dmn_config_parse((const char *)data, n, "fuzz.conf", &c, &e);

        /* Whoever cannot start a station must be told why. */
        if (r < 0 && e.sentence[0] == '\0')
                abort();
        for (size_t i = 0; r == 0 && i < c->bays.n_bays; i++)
                if (hal_bays_find(&c->bays, c->bays.bays[i].name) != &c->bays.bays[i])
                        abort();
        return 0;
}
