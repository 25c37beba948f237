/* SPDX-License-Identifier: GPL-3.0-or-later */
/* job.conf of a folder in the spool, which whoever may drop journals has written. */
#include <string.h>

#include "base/json.h"
#include "daemon/spool-entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        struct dmn_spool_entry e = { .verbose_log = -1, .accept_unshipped = -1 };
        struct bth_error error = BTH_ERROR_INIT;
        int r = dmn_spool_conf_parse((const char *)data, n, &e, &error);

        /* Whoever finds it rejected must be told why; what is handed on is JSON. */
        if (r < 0 && error.sentence[0] == '\0')
                abort();
        if (r == 0 && e.package) {
                _cleanup_json_ json_t *j = NULL;

                if (bth_json_parse(e.package, strlen(e.package), &j, NULL) < 0)
                        abort();
        }
        dmn_spool_entry_clear(&e);
        return 0;
}
