/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/udev-rules.h"

#include "base/io.h"

#define RULES_MODE 0644

int dmn_udev_rules_write(const struct dmn_config *c, const char *path, struct bth_error *error)
{
        _cleanup_buf_ struct bth_buf rules = BTH_BUF_INIT;
        int r = hal_bays_udev_rules(&c->bays, &rules);

        if (r == 0 || r == -ENOENT) /* complete but for bays that are only slots */
                r = bth_write_file_atomic(path, rules.data, rules.length, RULES_MODE);
        if (r == 0)
                return 0;
        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        return bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                             "the rules for udev cannot be written: %s", bth_strerror(r));
}
