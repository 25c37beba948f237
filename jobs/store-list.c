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

/* What is counted together in a subscription (specification 7.10), and listed together. */
size_t store_subscription_length(const char *scope)
{
        static const char head[] = "/subscriptions/";
        const size_t n = sizeof head - 1;

        return strncasecmp(scope, head, n) == 0 ? n + strcspn(scope + n, "/") : strlen(scope);
}

/* One text for each kind of question, so that each has its index and finds its page in the order in
 * which it is given. `filters` may use ?1. */
#define SELECT_IDS(filters)                                  \
        "SELECT id FROM jobs WHERE deleted = 0 AND " filters \
        " AND id < ?2 ORDER BY id DESC LIMIT ?3"

static int select_any(struct job_store *s, const struct job_filter *f, uint64_t before,
                      struct sql_statement **ret, struct bth_error *error)
{
        if (f->state >= 0)
                return sql(s, error, ret, SELECT_IDS("state = ?1"), "uuu", (uint64_t)f->state,
                           before, (uint64_t)f->limit);
        return sql(s, error, ret,
                   "SELECT id FROM jobs WHERE deleted = 0 AND id < ? ORDER BY id DESC LIMIT ?",
                   "uu", before, (uint64_t)f->limit);
}

static int select_equal(struct job_store *s, const struct job_filter *f, bool subscription,
                        uint64_t before, struct sql_statement **ret, struct bth_error *error)
{
        static const char *const texts[2][2] = {
                { SELECT_IDS("scope = ?1"), SELECT_IDS("scope = ?1 AND state = ?4") },
                { SELECT_IDS("subscription = ?1"), SELECT_IDS("subscription = ?1 AND state = ?4") },
        };
        const char *const *t = texts[subscription];
        const uint64_t limit = f->limit;

        if (f->state < 0)
                return sql(s, error, ret, t[0], "suu", f->scope, before, limit);
        return sql(s, error, ret, t[1], "suuu", f->scope, before, limit, (uint64_t)f->state);
}

/* What begins with "scope/" lies between it and "scope0": '0' is the character after '/'. */
#define BELOW(scope) "scope > " scope " || '/' AND scope < " scope " || '0'"

static int has_more_below(struct job_store *s, const char *scope, bool *ret,
                          struct bth_error *error)
{
        uint64_t found = 0;
        int r = scope[0] == '\0' ? 0
                                 : sql_number(s, error, &found,
                                              "SELECT id FROM jobs WHERE deleted = 0 AND " BELOW(
                                                      "?1") " LIMIT 1",
                                              "s", scope);

        *ret = found > 0;
        return r;
}

/* A parcel's number is hardly ever that of many jobs: whatever else is asked for is looked at. */
static int select_tracking(struct job_store *s, const struct job_filter *f, uint64_t before,
                           struct sql_statement **ret, struct bth_error *error)
{
        return sql(s, error, ret,
                   "SELECT jobs.id FROM personal JOIN jobs ON jobs.id = personal.job"
                   " WHERE tracking = ?1 AND personal.job < ?2 AND deleted = 0"
                   " AND (?4 < 0 OR state = ?4)"
                   " AND (?5 = '*' OR scope = ?5 OR (?5 <> '' AND " BELOW(
                           "?5") "))"
                                 " ORDER BY personal.job DESC LIMIT ?3",
                   "suuus", f->tracking, before, (uint64_t)f->limit, (uint64_t)(int64_t)f->state,
                   f->scope ? f->scope : "*");
}

static int select_ids(struct job_store *s, const struct job_filter *f, struct sql_statement **ret,
                      struct bth_error *error)
{
        const uint64_t before = f->before > 0 ? f->before : INT64_MAX;
        bool more = false;
        int r;

        if (f->tracking)
                return select_tracking(s, f, before, ret, error);
        if (!f->scope)
                return select_any(s, f, before, ret, error);
        if (bth_starts_with(f->scope, "/subscriptions/") &&
            store_subscription_length(f->scope) == strlen(f->scope))
                return select_equal(s, f, true, before, ret, error);
        r = has_more_below(s, f->scope, &more, error);
        if (r < 0 || !more)
                return r < 0 ? r : select_equal(s, f, false, before, ret, error);
        return sql(s, error, ret,
                   "SELECT id FROM jobs WHERE deleted = 0 AND id < ?1 AND (?2 < 0 OR state = ?2)"
                   " AND (scope = ?3 OR (" BELOW("?3") ")) ORDER BY id DESC LIMIT ?4",
                   "uusu", before, (uint64_t)(int64_t)f->state, f->scope, (uint64_t)f->limit);
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
        r = store_list_ids(s, st, ids, ARRAY_SIZE(ids), &n, error);
        sql_done(st);
        return r < 0 ? r : store_each_record(s, ids, n, false, each, userdata, error);
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
        return r < 0 ? r : store_each_record(s, ids, n, filter->personal, each, userdata, error);
}

struct naming {
        job_named_fn each;
        void *userdata;
        size_t drives[JOB_STORE_PAGE_MAX];
};

static int give_named(void *userdata, const struct job_record *record, size_t index)
{
        const struct naming *g = userdata;

        return g->each(g->userdata, record, g->drives[index]);
}

int job_store_named(struct job_store *s, const char *serial, job_named_fn each, void *userdata,
                    struct bth_error *error)
{
        struct naming g = { .each = each, .userdata = userdata };
        uint64_t ids[JOB_STORE_PAGE_MAX];
        char key[SERIAL_KEY_MAX];
        struct sql_statement *st;
        size_t n = 0;
        int r;

        store_serial_key(serial, key);
        r = sql(s, error, &st,
                "SELECT job, idx FROM drives JOIN jobs ON jobs.id = drives.job"
                " WHERE serial_key = ? AND deleted = 0 ORDER BY job LIMIT ?",
                "su", key, (uint64_t)ARRAY_SIZE(ids));
        if (r < 0)
                return r;
        while (n < ARRAY_SIZE(ids) && (r = sql_row(s, st, error)) == 1) {
                ids[n] = sql_u64(st, 0);
                g.drives[n++] = sql_u64(st, 1);
        }
        sql_done(st);
        return r < 0 ? r : store_each(s, ids, n, false, give_named, &g, error);
}

int job_store_count_active(struct job_store *s, const char *scope, uint64_t *ret_n,
                           struct bth_error *error)
{
        _cleanup_free_ char *subscription =
                strndup(scope ? scope : "", scope ? store_subscription_length(scope) : 0);

        if (!subscription)
                return -ENOMEM;
        return sql_number(s, error, ret_n,
                          "SELECT count(*) FROM jobs WHERE deleted = 0 AND subscription = ?"
                          " AND state < ?",
                          "su", subscription, (uint64_t)BTH_JOB_STATE_COMPLETED);
}
