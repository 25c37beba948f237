/* SPDX-License-Identifier: GPL-3.0-or-later */
/* verbs - the functions behind the table of daemon/verb.h. Inside daemon/ only. Each takes the call
 * over and answers it once, now or later. */
#pragma once

#include "daemon/station.h"
#include "daemon/verb.h"

typedef void (*dmn_verb_fn)(struct dmn_station *s, struct dmn_call *c);

/* verbs-bays.c */
void dmn_do_station_show(struct dmn_station *s, struct dmn_call *c);
void dmn_do_config_show(struct dmn_station *s, struct dmn_call *c);
void dmn_do_reload(struct dmn_station *s, struct dmn_call *c);
void dmn_do_limits_show(struct dmn_station *s, struct dmn_call *c);
void dmn_do_limits_set(struct dmn_station *s, struct dmn_call *c);
void dmn_do_places_list(struct dmn_station *s, struct dmn_call *c);
void dmn_do_bays_list(struct dmn_station *s, struct dmn_call *c);
void dmn_do_bay_show(struct dmn_station *s, struct dmn_call *c);
void dmn_do_bay_locate(struct dmn_station *s, struct dmn_call *c);
void dmn_do_bay_match(struct dmn_station *s, struct dmn_call *c);
void dmn_do_bay_eject(struct dmn_station *s, struct dmn_call *c);
void dmn_do_drive_pause(struct dmn_station *s, struct dmn_call *c);
void dmn_do_drive_resume(struct dmn_station *s, struct dmn_call *c);
void dmn_do_drive_retry(struct dmn_station *s, struct dmn_call *c);
void dmn_do_drive_give_up(struct dmn_station *s, struct dmn_call *c);
void dmn_do_drive_eject(struct dmn_station *s, struct dmn_call *c);

/* bay-view.c: new objects as berth-api(7) describes them; NULL when there is no memory. */
json_t *dmn_station_view(const struct dmn_station *s);
json_t *dmn_config_view(const struct dmn_station *s);
json_t *dmn_places_view(const struct dmn_station *s);
json_t *dmn_bay_view(const struct dmn_station *s, const struct hal_bay *bay);
