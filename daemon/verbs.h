/* SPDX-License-Identifier: GPL-3.0-or-later */
/* verbs - the functions behind the table of daemon/verb.h. Inside daemon/ only. Each takes the call
 * over and answers it once, now or later. */
#pragma once

#include "daemon/station.h"
#include "daemon/verb.h"

typedef void (*dmn_verb_fn)(struct dmn_station *s, struct dmn_call *c);
