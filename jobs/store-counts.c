/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How many jobs and drives there are, counted by the database, from indexes that have it all. */
#include "jobs/sql.h"

/* Indexes beyond a list, of a damaged record, are left out. */
static void add(uint64_t *list, size_t n, uint64_t index, uint64_t count)
{
        if (index < n)
                list[index] += count;
}

static void add_jobs(struct job_counts *c, struct sql_statement *st)
{
        add(c->jobs, ARRAY_SIZE(c->jobs), sql_u64(st, 0), sql_u64(st, 1));
}

static void add_alerts(struct job_counts *c, struct sql_statement *st)
{
        for (uint64_t i = 0; i < _JOB_ALERT_MAX; i++)
                if (sql_u64(st, 0) >> i & 1)
                        c->alerts[i] += sql_u64(st, 1);
}

static void add_drives(struct job_counts *c, struct sql_statement *st)
{
        const uint64_t count = sql_u64(st, 3);

        add(c->drives, ARRAY_SIZE(c->drives), sql_u64(st, 0), count);
        c->held += sql_u64(st, 1) ? count : 0;
        c->running += sql_u64(st, 2) ? count : 0;
}

/* `below`: of jobs in an earlier state. */
static int each_row(struct job_store *s, struct job_counts *c, const char *text, uint64_t below,
                    void (*take)(struct job_counts *c, struct sql_statement *st),
                    struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        int r = sql(s, error, &st, text, "u", below);

        while (r == 0 && (r = sql_row(s, st, error)) == 1) {
                take(c, st);
                r = 0;
        }
        return r;
}

int job_store_counts(struct job_store *s, struct job_counts *ret_counts, struct bth_error *error)
{
        const uint64_t ended = BTH_JOB_STATE_COMPLETED;
        struct job_counts c = { 0 };
        int r = each_row(s, &c,
                         "SELECT state, count(*) FROM jobs WHERE deleted = 0 AND state < ?"
                         " GROUP BY state",
                         _BTH_JOB_STATE_MAX, add_jobs, error);

        if (r == 0)
                r = each_row(s, &c,
                             "SELECT alerts, count(*) FROM jobs WHERE deleted = 0 AND alerts <> 0 "
                             "AND state < ?"
                             " GROUP BY alerts",
                             ended, add_alerts, error);
        if (r == 0)
                r = each_row(s, &c,
                             "SELECT drives.state, drives.held, drives.running, count(*)"
                             " FROM jobs JOIN drives ON drives.job = jobs.id"
                             " WHERE jobs.deleted = 0 AND jobs.state < ?"
                             " GROUP BY drives.state, drives.held, drives.running",
                             ended, add_drives, error);
        if (r == 0)
                *ret_counts = c;
        return r;
}
