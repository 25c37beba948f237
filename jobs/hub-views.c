/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hub-views - what the events of the stations came to, and what stations fetch; see hub.h. */
#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "jobs/hub.h"
#include "jobs/sql.h"

/* Two stores that send at the same time under one name are seen by the older one's events. */
#define SAME_NAME_USEC (UINT64_C(3600) * 1000000)
#define LOCATION_MAX   256u

const char *job_hub_conflict_to_string(enum job_hub_conflict_kind k)
{
        static const char *const names[] = { "docked-twice", "same-name" };

        return (size_t)k < ARRAY_SIZE(names) ? names[k] : NULL;
}

int job_hub_stations(struct job_store *s, job_hub_station_fn each, void *userdata,
                     struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        int r = sql(s, error, &st,
                    "SELECT source, min(first_usec), max(heard_usec), sum(applied), sum(late),"
                    " sum(duplicates), sum(refused), (SELECT count(*) FROM hub_facets f"
                    "  WHERE f.source = h.source AND f.facet = 2 AND f.docked = 1)"
                    " FROM hub_stations h GROUP BY source ORDER BY source",
                    "");

        if (r < 0)
                return r;
        while ((r = sql_row(s, st, error)) == 1) {
                const struct job_hub_station station = {
                        .source = sql_text(st, 0),
                        .first_usec = sql_u64(st, 1),
                        .heard_usec = sql_u64(st, 2),
                        .applied = sql_u64(st, 3),
                        .late = sql_u64(st, 4),
                        .duplicates = sql_u64(st, 5),
                        .refused = sql_u64(st, 6),
                        .docked = sql_u64(st, 7),
                };

                r = each(userdata, &station);
                if (r != 0)
                        break;
        }
        return r;
}

static int bad_page(struct bth_error *error)
{
        return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID, "a page has 1 to %u entries",
                             JOB_STORE_PAGE_MAX);
}

int job_hub_views(struct job_store *s, const struct job_hub_filter *filter, job_hub_view_fn each,
                  void *userdata, struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        const char *source = filter->source ? filter->source : "";
        const char *subject = filter->subject ? filter->subject : "";
        char key[SERIAL_KEY_MAX];
        int r;

        if (filter->limit == 0 || filter->limit > JOB_STORE_PAGE_MAX)
                return bad_page(error);
        store_serial_key(filter->serial ? filter->serial : "", key);
        r = sql(s, error, &st,
                "SELECT source, subject, scope, job, serial, facet, kind, seq, time_usec, data"
                " FROM hub_facets WHERE (source > ?1 OR (source = ?1 AND subject > ?2))"
                " AND (?3 = '' OR serial_key = ?3) AND (?4 = '' OR job = ?4)"
                " ORDER BY source, subject, facet LIMIT ?5",
                "ssssu", source, subject, key, filter->job ? filter->job : "",
                (uint64_t)filter->limit);
        if (r < 0)
                return r;
        while ((r = sql_row(s, st, error)) == 1) {
                const struct job_hub_view view = {
                        .source = sql_text(st, 0),
                        .subject = sql_text(st, 1),
                        .scope = sql_text(st, 2),
                        .job = sql_text(st, 3),
                        .serial = sql_text(st, 4),
                        .facet = (enum job_facet)sql_u64(st, 5),
                        .kind = (enum job_change_kind)sql_u64(st, 6),
                        .seq = sql_u64(st, 7),
                        .time_usec = sql_u64(st, 8),
                        .data = sql_text(st, 9),
                };

                r = each(userdata, &view);
                if (r != 0)
                        break;
        }
        return r;
}

int job_hub_conflicts(struct job_store *s, uint64_t now_usec, size_t limit,
                      job_hub_conflict_fn each, void *userdata, struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        const uint64_t since = now_usec > SAME_NAME_USEC ? now_usec - SAME_NAME_USEC : 0;
        int r;

        if (limit == 0 || limit > JOB_STORE_PAGE_MAX)
                return bad_page(error);
        r = sql(s, error, &st,
                "SELECT kind, key, sources, since_usec, last_usec,"
                " CASE WHEN open = 1 AND (kind = 0 OR last_usec >= ?) THEN 1 ELSE 0 END AS now_open"
                " FROM hub_conflicts ORDER BY now_open DESC, since_usec DESC, kind, key LIMIT ?",
                "uu", since, (uint64_t)limit);
        if (r < 0)
                return r;
        while ((r = sql_row(s, st, error)) == 1) {
                const struct job_hub_conflict conflict = {
                        .kind = (enum job_hub_conflict_kind)sql_u64(st, 0),
                        .key = sql_text(st, 1),
                        .sources = sql_text(st, 2),
                        .since_usec = sql_u64(st, 3),
                        .last_usec = sql_u64(st, 4),
                        .open = sql_u64(st, 5) != 0,
                };

                r = each(userdata, &conflict);
                if (r != 0)
                        break;
        }
        return r;
}

/* --- jobs for a station --- */

/* Ids, ascending, each once; the highest fall out when there are too many. */
struct ids {
        uint64_t all[JOB_STORE_PAGE_MAX];
        size_t n, max;
};

static void put_id(struct ids *ids, uint64_t id)
{
        size_t i = ids->n;

        while (i > 0 && ids->all[i - 1] > id)
                i--;
        if ((i > 0 && ids->all[i - 1] == id) || i == ids->max)
                return;
        if (ids->n == ids->max)
                ids->n--;
        memmove(&ids->all[i + 1], &ids->all[i], (ids->n - i) * sizeof ids->all[0]);
        ids->all[i] = id;
        ids->n++;
}

static int put_ids(struct job_store *s, struct sql_statement *st, struct ids *ids,
                   struct bth_error *error)
{
        int r;

        while ((r = sql_row(s, st, error)) == 1)
                put_id(ids, sql_u64(st, 0));
        sql_done(st);
        return r;
}

static int ids_at(struct job_store *s, const char *location, uint64_t after, struct ids *ids,
                  struct bth_error *error)
{
        char key[LOCATION_MAX] = "";
        struct sql_statement *st;
        size_t n = 0;
        int r;

        for (; location && *location && n + 1 < sizeof key; location++)
                if (*location != ' ')
                        key[n++] = (char)tolower((unsigned char)*location);
        key[n] = '\0';
        r = sql(s, error, &st,
                "SELECT id FROM jobs WHERE deleted = 0 AND state < ? AND id > ?"
                " AND coalesce(replace(lower(location), ' ', ''), '') IN ('', ?)"
                " ORDER BY id LIMIT ?",
                "uusu", (uint64_t)BTH_JOB_STATE_COMPLETED, after, key, (uint64_t)ids->max);
        return r < 0 ? r : put_ids(s, st, ids, error);
}

static int ids_of(struct job_store *s, const char *serial, uint64_t after, struct ids *ids,
                  struct bth_error *error)
{
        char key[SERIAL_KEY_MAX];
        struct sql_statement *st;
        int r;

        store_serial_key(serial, key);
        r = sql(s, error, &st,
                "SELECT jobs.id FROM drives JOIN jobs ON jobs.id = drives.job"
                " WHERE serial_key = ? AND deleted = 0 AND jobs.state < ? AND jobs.id > ?"
                " ORDER BY jobs.id LIMIT ?",
                "suuu", key, (uint64_t)BTH_JOB_STATE_COMPLETED, after, (uint64_t)ids->max);
        return r < 0 ? r : put_ids(s, st, ids, error);
}

int job_hub_jobs(struct job_store *s, const char *location, const char *const *serials,
                 size_t n_serials, uint64_t after, size_t limit, job_record_fn each, void *userdata,
                 struct bth_error *error)
{
        struct ids ids = { .max = limit };
        int r;

        if (limit == 0 || limit > JOB_STORE_PAGE_MAX)
                return bad_page(error);
        if (n_serials > JOB_HUB_SERIALS_MAX)
                return bth_error_set(error, -EINVAL, BTH_REASON_LIMIT_EXCEEDED,
                                     "at most %u serial numbers can be asked for at once",
                                     JOB_HUB_SERIALS_MAX);
        r = ids_at(s, location, after, &ids, error);
        for (size_t i = 0; i < n_serials && r == 0; i++)
                r = ids_of(s, serials[i], after, &ids, error);
        return r < 0 ? r : store_each_record(s, ids.all, ids.n, false, each, userdata, error);
}
