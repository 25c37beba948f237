/* SPDX-License-Identifier: GPL-3.0-or-later */
/* event - changes of jobs and drives as CloudEvents 1.0 in JSON.
 *
 *   { "specversion": "1.0", "id": "STORE-SEQ", "source": "…", "type": "berth.drive.state",
 *     "subject": "jobs/NAME/drives/SERIAL", "time": "2031-04-09T07:15:02.118000Z",
 *     "datacontenttype": "application/json", "sequence": "00000000000000000042",
 *     "partitionkey": "jobs/NAME/drives/SERIAL", "data": { … } }
 *
 * (source, id) is unique for ever and the same in every delivery: it is what a receiver
 * deduplicates by. "sequence" grows within a source; events of one partition key are delivered in
 * its order. No secret and no personal data is ever in an event.
 * Any thread. Source: CloudEvents 1.0.2, its JSON format, its extensions sequence and partitioning;
 * design, section 3, decision 9. */
#pragma once

#include "jobs/store.h"

/* What stands in "data" of one change of a step, malloc()ed. The record is as after the step; a
 * state that was only passed through is told as it was. Returns 0 or -ENOMEM. */
int job_event_data(const struct job_record *r, const struct job_change *change, char **ret_json)
        _must_check_;
/* The same for a drive that was docked or left its bay; `r` is NULL for an extra drive. Returns 0
 * or -ENOMEM. */
int job_event_docking_data(const struct job_docking *d, const struct job_record *r, char **ret_json)
        _must_check_;

/* "jobs/NAME", "jobs/NAME/drives/SERIAL" behind the scope of the job, or "drives/SERIAL";
 * malloc()ed. Returns 0 or -ENOMEM. */
int job_event_subject(const struct job_record *r, const char *serial, char **ret_subject)
        _must_check_;

/* The whole event. `source` is a URI reference that names the station; `uid` that of the store.
 * malloc()ed. Returns 0, -ENOMEM, or -EBADMSG when the event's data is no JSON object. */
int job_event_to_json(const struct job_event *e, const char *uid, const char *source,
                      char **ret_json) _must_check_;

/* Progress comes from workers once a second; what is stored and told is less: at once when nothing
 * was told yet, when it ends or goes back, else when the percentage has changed and some seconds
 * have passed, and at the latest once a minute while something moves. One gate a drive; starts
 * zeroed. */
#define JOB_PROGRESS_USEC      (5 * UINT64_C(1000000))
#define JOB_PROGRESS_LAST_USEC (60 * UINT64_C(1000000))
struct job_progress_gate {
        uint64_t told_usec;
        uint64_t bytes, bytes_done, blobs_done;
};
/* Should this progress be stored now? Then it counts as told. */
bool job_progress_due(struct job_progress_gate *g, uint64_t bytes, uint64_t bytes_done,
                      uint64_t blobs_done, uint64_t now_usec);
