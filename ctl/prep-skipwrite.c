/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/prep-skipwrite.h"
int ctl_skipwrite_collect(const char *path, const struct bth_secret *key,
                          const struct ctl_source_row *rows, size_t n_rows,
                          struct ctl_items *ret_items, struct bth_error *error)
{
        return bth_error_set(error, -ENOTSUP, BTH_REASON_UNSUPPORTED, "not yet");
}
int ctl_skipwrite_hash(struct ctl_copy *c, struct bth_error *error)
{
        return bth_error_set(error, -ENOTSUP, BTH_REASON_UNSUPPORTED, "not yet");
}
