/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hub - what many stations say, kept in the store of the one that they tell it to.
 *
 *     events ── job_told (checked) ── seen before? ── history
 *                                         └ newer than what is kept? ── facet ── drive of our job
 *                                                                         └ conflicts
 *
 * An event is applied once: (source, id) is remembered. Of every drive and job at every station the
 * hub keeps what the event with the highest number says, one facet (jobs/told.h) apart from the
 * other; since each event holds everything that is to be known of its facet, the order of arrival
 * plays no part: any order, doubled or not, ends in the same view, which a test shows. A store that
 * was made anew (another UID under one source) is newer than the one before it.
 *
 * A drive of one of our own jobs (those with the origin "upstream" at the station) becomes what the
 * station says that holds it: the one where it is docked, else where it was docked last, by the
 * time of the event; clocks of stations count for this only. Its job follows (job_adopt()).
 * A store belongs to one thread, as in store.h, whose common errors these functions have too.
 * Source: design, sections 3 (9, 10, 11). */
#pragma once

#include "base/json.h"
#include "jobs/store.h"
#include "jobs/told.h"

#define JOB_HUB_BATCH_MAX   1000u
#define JOB_HUB_SILENT_USEC (UINT64_C(300) * 1000000) /* not heard for so long */
#define JOB_HUB_SERIALS_MAX 64u

/* What became of the events of a batch. */
struct job_hub_result {
        size_t applied;    /* newer than all that was known */
        size_t late;       /* entered in the history only */
        size_t duplicates; /* known */
        size_t n_refused;
        struct job_hub_refusal {
                size_t index; /* in the batch */
                int code;     /* as job_told_read() */
                enum bth_reason reason;
                char sentence[512];
        } * refused; /* job_hub_result_clear() frees it */
};
void job_hub_result_clear(struct job_hub_result *r);

/* Applies a batch, an array of 0 to JOB_HUB_BATCH_MAX events, in one transaction. `source` (or
 * NULL) was heard even when there is no event. Returns 0 and what became of each; -EBADMSG when
 * `events` is no such array, or the source none. */
int job_hub_take(struct job_store *s, const json_t *events, const char *source,
                 const struct job_policy *policy, uint64_t now_usec,
                 struct job_hub_result *ret_result, struct bth_error *error) _must_check_;

struct job_hub_station {
        const char *source;
        uint64_t first_usec, heard_usec;
        uint64_t applied, late, duplicates, refused;
        uint64_t docked; /* drives, now */
};
/* All that were ever heard, by source. As job_store_list(). Returns 0 or the value of `each`. */
typedef int (*job_hub_station_fn)(void *userdata, const struct job_hub_station *station);
int job_hub_stations(struct job_store *s, job_hub_station_fn each, void *userdata,
                     struct bth_error *error) _must_check_;

struct job_hub_view {
        const char *source, *subject;
        const char *scope, *job, *serial; /* NULL: none */
        enum job_facet facet;
        enum job_change_kind kind; /* of the event that said it */
        uint64_t seq, time_usec;
        const char *data; /* JSON */
};
/* What stations say, by source and subject, behind (`source`, `subject`), NULL: from the first; at
 * most `limit`, 1 to JOB_STORE_PAGE_MAX. `serial` (any spelling) and `job` (an exact name), or
 * NULL: any. As job_store_list(). Returns 0, -EINVAL, or the value of `each`. */
struct job_hub_filter {
        const char *source, *subject;
        const char *serial, *job;
        size_t limit;
};
typedef int (*job_hub_view_fn)(void *userdata, const struct job_hub_view *view);
int job_hub_views(struct job_store *s, const struct job_hub_filter *filter, job_hub_view_fn each,
                  void *userdata, struct bth_error *error) _must_check_;
/* The station that holds a drive of one of our jobs, malloc()ed; NULL: none was heard of. Returns
 * 0. */
int job_hub_holder(struct job_store *s, const struct job_record *r, size_t drive, char **ret_source,
                   struct bth_error *error) _must_check_;

enum job_hub_conflict_kind {
        JOB_HUB_DOCKED_TWICE, /* one serial number in two stations at once */
        JOB_HUB_SAME_NAME,    /* two stores under one source */
        _JOB_HUB_CONFLICT_MAX,
        _JOB_HUB_CONFLICT_INVALID = -EINVAL,
};
/* "docked-twice"; NULL outside the list. */
const char *job_hub_conflict_to_string(enum job_hub_conflict_kind k) _const_;

struct job_hub_conflict {
        enum job_hub_conflict_kind kind;
        const char *key;     /* the serial number, or the source */
        const char *sources; /* apart by blanks */
        uint64_t since_usec, last_usec;
        bool open;
};
/* Newest first, those that are open before the others; at most `limit`. As job_store_list().
 * Returns 0 or the value of `each`. */
typedef int (*job_hub_conflict_fn)(void *userdata, const struct job_hub_conflict *conflict);
int job_hub_conflicts(struct job_store *s, uint64_t now_usec, size_t limit,
                      job_hub_conflict_fn each, void *userdata, struct bth_error *error)
        _must_check_;

/* Our jobs that a station needs: neither Completed, Closed nor deleted, at its location (in any
 * spelling of case and blanks) or at none, or with one of the serial numbers; ids over `after`,
 * oldest first. As job_store_list(); -EINVAL beyond JOB_HUB_SERIALS_MAX. Returns 0 or the value of
 * `each`. */
int job_hub_jobs(struct job_store *s, const char *location, const char *const *serials,
                 size_t n_serials, uint64_t after, size_t limit, job_record_fn each, void *userdata,
                 struct bth_error *error) _must_check_;

#define JOB_HUB_PRUNE_MAX 500u

/* Takes the history before a time away, oldest first, at most JOB_HUB_PRUNE_MAX events in one short
 * transaction; an event from before it that comes again changes nothing. Returns the number of
 * events: less than that, and no more are left; or a negative errno. */
int job_hub_prune(struct job_store *s, uint64_t before_usec, struct bth_error *error) _must_check_;
