/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl - the verbs of berthctl, and what several of them share. Each verb is a client of the
 * station's local API (ctl/ctl-client.h) and knows nothing that the station does not tell it. */
#pragma once

#include "ctl/cli.h"
#include "ctl/ctl-client.h"
#include "ctl/ctl-table.h"

extern const struct ctl_verb ctl_list, ctl_show, ctl_watch, ctl_bays, ctl_match, ctl_locate,
        ctl_eject;
extern const struct ctl_verb ctl_jobs, ctl_job_import, ctl_job_show, ctl_job_ship, ctl_job_receive,
        ctl_job_return, ctl_job_cancel, ctl_job_delete, ctl_job_forget;
extern const struct ctl_verb ctl_missing, ctl_retry, ctl_pause, ctl_resume, ctl_give_up;
extern const struct ctl_verb ctl_history, ctl_receipt, ctl_logs;
extern const struct ctl_verb ctl_station, ctl_limit, ctl_reload, ctl_config, ctl_names;
extern const struct ctl_verb ctl_outbox_list, ctl_outbox_resend, ctl_outbox_drop;
extern const struct ctl_verb ctl_hub_stations, ctl_hub_drives, ctl_hub_conflicts;

/* Prints a table of an answer. */
enum ctl_exit ctl_print(struct ctl_context *c, const struct ctl_table *t);
/* Asks before something that cannot be taken back; says so when the answer is not yes. */
bool ctl_confirmed(struct ctl_context *c, const char *object, const char *question);

/* Names one of several jobs that have a drive of this serial number. */
#define CTL_OPTION_JOB(variable)                                                           \
        {                                                                                  \
                "job", "JOB", "the job, where several name this drive", .text = (variable) \
        }

/* ---- bays and drives as people read them (ctl/ctl-show.c) ---- */

/* One word for what goes on in a bay, or with a drive. Borrowed from `object`. */
const char *ctl_activity_of(const json_t *object);
/* Percent done, of a bay, drive, job or progress. Returns false where nothing says so. */
bool ctl_percent_of(const json_t *object, unsigned *percent);
/* Everything about them as facts. */
void ctl_bay_facts(struct ctl_table *t, const json_t *bay);
void ctl_drive_facts(struct ctl_table *t, const json_t *drive);
void ctl_job_facts(struct ctl_table *t, const json_t *job);
/* The drives of a job, a line each. */
extern const struct ctl_column ctl_drive_columns[6];
void ctl_drive_row(struct ctl_table *t, const json_t *drive);
