/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How many jobs and drives there are, counted by the database. */
#include "jobs/sql.h"

/* A query with one number bound, whose rows are an index and a number. Indexes beyond the list, of
 * a damaged record, are left out. */
static int count_into(struct job_store *s, const char *text, uint64_t bound, uint64_t *list,
                      size_t n, struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        int r = sql(s, error, &st, text, "u", bound);

        while (r == 0) {
                r = sql_row(s, st, error);
                if (r <= 0)
                        break;
                if (sql_u64(st, 0) < n)
                        list[sql_u64(st, 0)] = sql_u64(st, 1);
                r = 0;
        }
        return r;
}

int job_store_counts(struct job_store *s, struct job_counts *ret_counts, struct bth_error *error)
{
        const uint64_t ended = BTH_JOB_STATE_COMPLETED;
        struct job_counts c = { 0 };
        int r = count_into(s,
                           "SELECT state, count(*) FROM jobs WHERE deleted = 0 AND state < ?"
                           " GROUP BY state",
                           _BTH_JOB_STATE_MAX, c.jobs, ARRAY_SIZE(c.jobs), error);

        if (r == 0)
                r = count_into(s,
                               "SELECT drives.state, count(*) FROM jobs JOIN drives"
                               " ON drives.job = jobs.id WHERE jobs.deleted = 0 AND jobs.state < ?"
                               " GROUP BY drives.state",
                               ended, c.drives, ARRAY_SIZE(c.drives), error);
        for (uint64_t i = 0; r == 0 && i < _JOB_ALERT_MAX; i++)
                r = sql_number(s, error, &c.alerts[i],
                               "SELECT count(*) FROM jobs WHERE deleted = 0 AND state < ?1"
                               " AND (alerts & ?2) <> 0",
                               "uu", ended, UINT64_C(1) << i);
        if (r == 0)
                r = sql_number(s, error, &c.held,
                               "SELECT count(*) FROM jobs JOIN drives ON drives.job = jobs.id"
                               " WHERE jobs.deleted = 0 AND jobs.state < ? AND drives.held <> 0",
                               "u", ended);
        if (r == 0)
                r = sql_number(s, error, &c.running,
                               "SELECT count(*) FROM jobs JOIN drives ON drives.job = jobs.id"
                               " WHERE jobs.deleted = 0 AND jobs.state < ? AND drives.running <> 0",
                               "u", ended);
        if (r == 0)
                *ret_counts = c;
        return r;
}
