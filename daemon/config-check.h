/* SPDX-License-Identifier: GPL-3.0-or-later */
/* config-check - is what the configuration names there and usable? Credentials, certificates,
 * folders, the worker, the group of operators: for `berthd --check`, before a station is started
 * with it. As the user who asks: what that one may not read, the station may. */
#pragma once

#include "daemon/config.h"

struct dmn_config_finding {
        bool is_error;          /* the station cannot do its work so; else a warning */
        struct bth_error error; /* one sentence, with file and line where there is one */
};

/* The finding lives during the call only. */
typedef void (*dmn_config_finding_fn)(void *userdata, const struct dmn_config_finding *finding);

/* Looks at everything that a configuration names; every finding is told. Returns the number of
 * errors among them; never a negative errno. */
int dmn_config_check(const struct dmn_config *c, dmn_config_finding_fn tell, void *userdata);
/* Loads the file and checks it; what keeps it from being loaded is one finding. Returns as above.
 */
int dmn_config_check_file(const char *path, dmn_config_finding_fn tell, void *userdata);
