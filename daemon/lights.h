/* SPDX-License-Identifier: GPL-3.0-or-later */
/* lights - the lamps of all bays that have some: what they show, and the operator's "where is it?".
 *
 * Writing a lamp is a command to a backplane and may take a while, so it is done aside; a wish that
 * comes meanwhile replaces the one before it. A bay without an enclosure's slot has no lamps, which
 * is no error. One thread: the loop's. Source: design, section 4; hotplug specification, section 7.
 */
#pragma once

#include <systemd/sd-event.h>

#include "hal/bay.h"
#include "hal/host.h"
#include "jobs/words.h"

struct dmn_lights;

/* Bays and host are borrowed. Returns 0 or -ENOMEM. */
int dmn_lights_new(sd_event *loop, const struct hal_host *host, const struct hal_bays *bays,
                   struct dmn_lights **ret_lights) _must_check_;
/* Waits for writes that are under way; leaves the lamps. NULL is fine; returns NULL. */
struct dmn_lights *dmn_lights_free(struct dmn_lights *l);
DEFINE_CLEANUP(dmn_lights_free, struct dmn_lights *);

void dmn_lights_show(struct dmn_lights *l, const struct hal_bay *bay, enum job_led led);
void dmn_lights_locate(struct dmn_lights *l, const struct hal_bay *bay, bool on);
bool dmn_lights_located(const struct dmn_lights *l, const struct hal_bay *bay);
/* Does the bay have lamps at all? */
bool dmn_lights_has(const struct dmn_lights *l, const struct hal_bay *bay);
