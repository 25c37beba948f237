/* SPDX-License-Identifier: GPL-3.0-or-later */
/* store-prune - the history is shortened: jobs that ended long ago go with all that the store has
 * of them, and events and dockings of drives that belong to no job.
 *
 *     deleted jobs, by their ids ── events, oldest first ── runs, keys, dockings, …, the job
 *     events that are of no job, oldest first
 *     dockings that are of no job
 *
 * Jobs are taken away when the clock of Completed and Closed jobs, or an operator, has deleted them
 * and the newest of their events is old; what was done late, to a parked event perhaps, is told as
 * long as everything else. An event in the outbox, parked or not, keeps its job. The newest event
 * of all stays: its number is the history's, for those who read on from there.
 *
 * A step is one short transaction, which takes a few hundred rows away, or looks at a few
 * hundred jobs or events: other tasks of the store's thread run between. A job whose events are
 * gone in part is the first of the next step, and after a stop that of the next run. */
#include "jobs/sql.h"

#define STEP_ROWS 500u /* that a transaction takes away, and jobs that it looks at */
#define STEP      "500"
_Static_assert(STEP_ROWS == 500u, "the texts say so");

/* --- jobs --- */

/* Where the next jobs end that one step looks at; 0: there are no more. */
static int find_slice(struct job_store *s, uint64_t after, uint64_t *ret_last,
                      struct bth_error *error)
{
        return sql_number(s, error, ret_last,
                          "SELECT coalesce(max(id), 0) FROM"
                          " (SELECT id FROM jobs WHERE id > ? ORDER BY id LIMIT " STEP ") AS slice",
                          "u", after);
}

/* The first of them that may go; 0: none. A drive that lies in its bay keeps its job. */
static int find_job(struct job_store *s, const struct job_prune *p, uint64_t last, uint64_t newest,
                    uint64_t *ret_job, struct bth_error *error)
{
        return sql_number(
                s, error, ret_job,
                "SELECT id FROM jobs WHERE id > ?1 AND id <= ?2 AND deleted <> 0"
                " AND created_usec < ?3 AND ended_usec < ?3"
                " AND coalesce((SELECT time_usec FROM events WHERE job = jobs.id"
                " ORDER BY seq DESC LIMIT 1), 0) < ?3"
                " AND coalesce((SELECT max(seq) FROM events WHERE job = jobs.id), 0) <> ?4"
                " AND NOT EXISTS (SELECT 1 FROM dockings"
                " WHERE dockings.job = jobs.id AND undocked_usec IS NULL)"
                " AND NOT EXISTS (SELECT 1 FROM events JOIN outbox ON outbox.seq = events.seq"
                " WHERE events.job = jobs.id)"
                " ORDER BY id LIMIT 1",
                "uuuu", p->after_job, last, p->before_usec, newest);
}

/* Oldest first, so that the newest, by which the job is judged, is the last to go. */
static int take_events(struct job_store *s, uint64_t job, uint64_t *ret_n, struct bth_error *error)
{
        int r = sql_run(s, error,
                        "DELETE FROM events WHERE seq IN"
                        " (SELECT seq FROM events WHERE job = ? ORDER BY seq LIMIT " STEP ")",
                        "u", job);

        if (r == 0)
                *ret_n = (uint64_t)sql_changes(s);
        return r;
}

static int take_rows(struct job_store *s, uint64_t job, struct bth_error *error)
{
        int r = sql_later(s, error, "DELETE FROM runs WHERE job = ?", "u", job);

        if (r == 0)
                r = sql_later(s, error, "DELETE FROM dockings WHERE job = ?", "u", job);
        if (r == 0)
                r = sql_later(s, error, "DELETE FROM journals WHERE job = ?", "u", job);
        if (r == 0)
                r = sql_later(s, error, "DELETE FROM personal WHERE job = ?", "u", job);
        if (r == 0)
                r = sql_later(s, error, "DELETE FROM keys WHERE job = ?", "u", job);
        if (r == 0)
                r = sql_later(s, error, "DELETE FROM drives WHERE job = ?", "u", job);
        return r < 0 ? r : sql_later(s, error, "DELETE FROM jobs WHERE id = ?", "u", job);
}

static int prune_jobs(struct job_store *s, struct job_prune *p, uint64_t newest,
                      struct bth_error *error)
{
        uint64_t last = 0, job = 0, n = 0;
        int r = find_slice(s, p->after_job, &last, error);

        if (r == 0 && last == 0) {
                p->stage = JOB_PRUNE_EVENTS;
                return 0;
        }
        if (r == 0)
                r = find_job(s, p, last, newest, &job, error);
        if (r == 0 && job > 0)
                r = take_events(s, job, &n, error);
        p->events += n;
        if (r == 0 && job == 0)
                p->after_job = last;
        if (r < 0 || job == 0 || n == STEP_ROWS)
                return r;
        p->after_job = job;
        p->jobs++;
        return take_rows(s, job, error);
}

/* --- what is of no job --- */

/* The last of the next STEP_ROWS old events, by time, for which there is an index: the next slice
 * ends with it. When there are fewer, it ends where the old ones do. Returns 1 then. */
static int find_end(struct job_store *s, const struct job_prune *p, uint64_t *ret_usec,
                    uint64_t *ret_seq, struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        int r = sql(s, error, &st,
                    "SELECT time_usec, seq FROM events WHERE time_usec >= ?1 AND time_usec < ?2"
                    " AND (time_usec > ?1 OR seq > ?3)"
                    " ORDER BY time_usec, seq LIMIT 1 OFFSET " STEP " - 1",
                    "uuu", p->after_usec, p->before_usec, p->after_seq);

        if (r == 0)
                r = sql_row(s, st, error);
        if (r < 0)
                return r;
        *ret_usec = r == 1 ? sql_u64(st, 0) : p->before_usec;
        *ret_seq = r == 1 ? sql_u64(st, 1) : 0;
        return r == 0;
}

/* Those of jobs that are there stay with them, and may be many: so it looks at each once only. */
static int prune_events(struct job_store *s, struct job_prune *p, uint64_t newest,
                        struct bth_error *error)
{
        uint64_t usec, seq;
        int last = find_end(s, p, &usec, &seq, error);
        int r = last < 0 ? last
                         : sql_run(s, error,
                                   "DELETE FROM events WHERE time_usec >= ?1 AND time_usec <= ?2"
                                   " AND (time_usec > ?1 OR seq > ?3)"
                                   " AND (time_usec < ?2 OR seq <= ?4) AND seq <> ?5"
                                   " AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = events.job)"
                                   " AND NOT EXISTS (SELECT 1 FROM outbox"
                                   " WHERE outbox.seq = events.seq)",
                                   "uuuuu", p->after_usec, usec, p->after_seq, seq, newest);

        if (r < 0)
                return r;
        p->events += (uint64_t)sql_changes(s);
        p->after_usec = usec;
        p->after_seq = seq;
        if (last)
                p->stage = JOB_PRUNE_DOCKINGS;
        return 0;
}

static int prune_dockings(struct job_store *s, struct job_prune *p, struct bth_error *error)
{
        int r = sql_run(s, error,
                        "DELETE FROM dockings WHERE id IN (SELECT id FROM dockings"
                        " WHERE job IS NULL AND undocked_usec < ? ORDER BY id LIMIT " STEP ")",
                        "u", p->before_usec);

        if (r == 0 && sql_changes(s) < (int)STEP_ROWS)
                p->stage = JOB_PRUNE_DONE;
        return r;
}

/* --- one step --- */

static int step(struct job_store *s, struct job_prune *p, struct bth_error *error)
{
        uint64_t newest = 0;
        int r = sql_number(s, error, &newest, "SELECT coalesce(max(seq), 0) FROM events", "");

        if (r < 0)
                return r;
        switch (p->stage) {
        case JOB_PRUNE_JOBS:
                return prune_jobs(s, p, newest, error);
        case JOB_PRUNE_EVENTS:
                return prune_events(s, p, newest, error);
        case JOB_PRUNE_DOCKINGS:
                return prune_dockings(s, p, error);
        case JOB_PRUNE_DONE:
                break;
        }
        return 0;
}

int job_store_prune(struct job_store *s, struct job_prune *p, struct bth_error *error)
{
        struct job_prune next = *p;
        int r = sql_begin(s, error);

        if (r == 0)
                r = sql_end(s, step(s, &next, error), error);
        if (r < 0)
                return r;
        *p = next;
        return p->stage != JOB_PRUNE_DONE;
}
