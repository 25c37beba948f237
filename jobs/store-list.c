/* SPDX-License-Identifier: GPL-3.0-or-later */
/* store-list - many jobs of the store: pages of them, those of a name or a serial number, and how
 * many there are. */
#include <string.h>

#include "base/str.h"
#include "jobs/sql.h"

/* Ids first, then one record after the other: so `each` may ask the store for more. */
int store_list_ids(struct job_store *s, struct sql_statement *st, uint64_t *ids, size_t max,
                   size_t *ret_n, struct bth_error *error)
{
        size_t n = 0;
        int r = 0;

        while (n < max && (r = sql_row(s, st, error)) == 1)
                ids[n++] = sql_u64(st, 0);
        *ret_n = n;
        return r < 0 ? r : 0;
}

static int select_ids(struct job_store *s, const struct job_filter *f, struct sql_statement **ret,
                      struct bth_error *error)
{
        const uint64_t before = f->before > 0 ? f->before : INT64_MAX;

        if (!f->scope && f->state < 0)
                return sql(s, error, ret,
                           "SELECT id FROM jobs WHERE deleted = 0 AND id < ?"
                           " ORDER BY id DESC LIMIT ?",
                           "uu", before, (uint64_t)f->limit);
        if (!f->scope)
                return sql(s, error, ret,
                           "SELECT id FROM jobs WHERE deleted = 0 AND state = ? AND id < ?"
                           " ORDER BY id DESC LIMIT ?",
                           "uuu", (uint64_t)f->state, before, (uint64_t)f->limit);
        if (f->scope[0] == '\0')
                return sql(s, error, ret,
                           "SELECT id FROM jobs WHERE deleted = 0 AND scope = '' AND id < ?1"
                           " AND (?2 < 0 OR state = ?2) ORDER BY id DESC LIMIT ?3",
                           "uuu", before, (uint64_t)(int64_t)f->state, (uint64_t)f->limit);
        /* What begins with "scope/" lies between it and "scope0": '0' is the character after '/'.
         */
        return sql(s, error, ret,
                   "SELECT id FROM jobs WHERE deleted = 0 AND id < ?1 AND (?2 < 0 OR state = ?2)"
                   " AND (scope = ?3 OR (scope > ?3 || '/' AND scope < ?3 || '0'))"
                   " ORDER BY id DESC LIMIT ?4",
                   "uusu", before, (uint64_t)(int64_t)f->state, f->scope, (uint64_t)f->limit);
}

static int each_record(struct job_store *s, const uint64_t *ids, size_t n, job_record_fn each,
                       void *userdata, struct bth_error *error)
{
        int r = 0;

        for (size_t i = 0; i < n && r == 0; i++) {
                struct job_record record;

                r = store_load(s, ids[i], &record, error);
                if (r < 0)
                        break;
                r = each(userdata, &record);
                store_record_clear(&record);
        }
        return r;
}

#define FIND_MAX 16

int job_store_find_all(struct job_store *s, const char *name, job_record_fn each, void *userdata,
                       struct bth_error *error)
{
        uint64_t ids[FIND_MAX];
        struct sql_statement *st;
        size_t n = 0;
        int r = sql(s, error, &st,
                    "SELECT id FROM jobs WHERE name = ? AND deleted = 0 ORDER BY id LIMIT ?", "su",
                    name, (uint64_t)ARRAY_SIZE(ids));

        if (r < 0)
                return r;
        while (n < ARRAY_SIZE(ids) && (r = sql_row(s, st, error)) == 1)
                ids[n++] = sql_u64(st, 0);
        sql_done(st);
        for (size_t i = 0; i < n && r >= 0; i++) {
                _cleanup_(job_record_freep) struct job_record *record = NULL;

                r = job_store_get(s, ids[i], &record, error);
                if (r < 0)
                        break;
                r = each(userdata, record);
                if (r != 0)
                        return r;
        }
        return MIN(r, 0);
}

int job_store_list(struct job_store *s, const struct job_filter *filter, job_record_fn each,
                   void *userdata, struct bth_error *error)
{
        uint64_t ids[JOB_STORE_PAGE_MAX];
        struct sql_statement *st;
        size_t n;
        int r;

        if (filter->limit == 0 || filter->limit > JOB_STORE_PAGE_MAX)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "a page has 1 to %u jobs", JOB_STORE_PAGE_MAX);
        r = select_ids(s, filter, &st, error);
        if (r < 0)
                return r;
        r = store_list_ids(s, st, ids, filter->limit, &n, error);
        sql_done(st);
        return r < 0 ? r : each_record(s, ids, n, each, userdata, error);
}

int job_store_named(struct job_store *s, const char *serial, job_named_fn each, void *userdata,
                    struct bth_error *error)
{
        struct {
                uint64_t job;
                size_t drive;
        } found[JOB_STORE_PAGE_MAX];
        char key[SERIAL_KEY_MAX];
        struct sql_statement *st;
        size_t n = 0;
        int r;

        store_serial_key(serial, key);
        r = sql(s, error, &st,
                "SELECT job, idx FROM drives JOIN jobs ON jobs.id = drives.job"
                " WHERE serial_key = ? AND deleted = 0 ORDER BY job LIMIT ?",
                "su", key, (uint64_t)ARRAY_SIZE(found));
        if (r < 0)
                return r;
        while (n < ARRAY_SIZE(found) && (r = sql_row(s, st, error)) == 1) {
                found[n].job = sql_u64(st, 0);
                found[n++].drive = sql_u64(st, 1);
        }
        sql_done(st);
        for (size_t i = 0; i < n && r >= 0; i++) {
                struct job_record record;

                r = store_load(s, found[i].job, &record, error);
                if (r < 0)
                        break;
                r = each(userdata, &record, found[i].drive);
                store_record_clear(&record);
                if (r != 0)
                        return r;
        }
        return r < 0 ? r : 0;
}

int job_store_count_active(struct job_store *s, const char *scope, uint64_t *ret_n,
                           struct bth_error *error)
{
        return sql_number(s, error, ret_n,
                          "SELECT count(*) FROM jobs WHERE deleted = 0 AND state < ?2 AND"
                          " (scope = ?1 OR"
                          " (?1 <> '' AND scope > ?1 || '/' AND scope < ?1 || '0'))",
                          "su", scope ? scope : "", (uint64_t)BTH_JOB_STATE_COMPLETED);
}
