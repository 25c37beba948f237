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

/* verbs-jobs.c */
void dmn_do_jobs_list(struct dmn_station *s, struct dmn_call *c);
void dmn_do_job_show(struct dmn_station *s, struct dmn_call *c);
void dmn_do_job_ship(struct dmn_station *s, struct dmn_call *c);
void dmn_do_job_receive(struct dmn_station *s, struct dmn_call *c);
void dmn_do_job_cancel(struct dmn_station *s, struct dmn_call *c);
void dmn_do_job_return(struct dmn_station *s, struct dmn_call *c);
void dmn_do_job_delete(struct dmn_station *s, struct dmn_call *c);
void dmn_do_job_forget(struct dmn_station *s, struct dmn_call *c);

/* verbs-import.c */
void dmn_do_job_import(struct dmn_station *s, struct dmn_call *c);
void dmn_do_job_journals(struct dmn_station *s, struct dmn_call *c);
/* Answers all imports that are open with -ECANCELED; when the station ends. */
void dmn_imports_end(struct dmn_station *s);

/* verbs-drives.c */
void dmn_do_drives_list(struct dmn_station *s, struct dmn_call *c);
void dmn_do_drive_show(struct dmn_station *s, struct dmn_call *c);
void dmn_do_drive_receive(struct dmn_station *s, struct dmn_call *c);
void dmn_do_drive_missing(struct dmn_station *s, struct dmn_call *c);
void dmn_do_drive_receipt(struct dmn_station *s, struct dmn_call *c);
void dmn_do_drive_logs(struct dmn_station *s, struct dmn_call *c);

/* verbs-events.c */
void dmn_do_events_list(struct dmn_station *s, struct dmn_call *c);

/* verbs-outbox.c */
void dmn_do_outbox_list(struct dmn_station *s, struct dmn_call *c);
void dmn_do_outbox_resend(struct dmn_station *s, struct dmn_call *c);
void dmn_do_outbox_drop(struct dmn_station *s, struct dmn_call *c);

/* verbs-hub.c */
void dmn_do_hub_events(struct dmn_station *s, struct dmn_call *c);
void dmn_do_hub_jobs(struct dmn_station *s, struct dmn_call *c);
void dmn_do_hub_stations(struct dmn_station *s, struct dmn_call *c);
void dmn_do_hub_drives(struct dmn_station *s, struct dmn_call *c);
void dmn_do_hub_conflicts(struct dmn_station *s, struct dmn_call *c);

/* job-view.c: the same for what the store has; any thread. */
json_t *dmn_job_view(const struct job_record *r);
json_t *dmn_drive_view(const struct job_record *r, size_t drive);
json_t *dmn_run_view(const struct job_run_record *run);
json_t *dmn_event_view(const struct job_event *e);
char *dmn_event_text(const struct job_event *e); /* the same as text; free() it */

/* bay-view.c: new objects as berth-api(7) describes them; NULL when there is no memory. */
json_t *dmn_station_view(const struct dmn_station *s);
json_t *dmn_config_view(const struct dmn_station *s);
json_t *dmn_places_view(const struct dmn_station *s);
json_t *dmn_bay_view(const struct dmn_station *s, const struct hal_bay *bay);
