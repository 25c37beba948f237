/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sync - jobs and keys of the job service into the store of a station.
 *
 *     list of jobs ── each: checked ── not here ──> made, its drives that are done elsewhere
 * adopted └─ here ──────> shipped, taken back, drives adopted jobs here that the list has no more
 * ────────> ended, when nothing of them is under way
 *
 * A job is made once and is then this station's: what upstream still decides is that it was shipped
 * or taken back, and which drives another station has done. What upstream says is checked like any
 * draft, and its texts so that every event that tells of them can be read. The same list a second
 * time changes nothing. On the store's thread. Source: berth-hub(7). */
#pragma once

#include "base/json.h"
#include "jobs/store.h"

struct dmn_synced {
        bool changed;
        struct bth_error trouble; /* of the first job that cannot be as it is said; code 0: none */
};
/* `jobs` is complete: all that upstream has for this station; `location` is its own, or NULL. One
 * job's trouble does not keep the others away. Returns 0, or an error of the store. */
int dmn_sync_jobs(struct job_store *s, const json_t *jobs, const char *location,
                  struct dmn_synced *ret_synced, struct bth_error *error) _must_check_;
