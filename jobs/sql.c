/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sql - what both databases have in common; see sql.h. */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/guid.h"
#include "base/str.h"
#include "jobs/sql.h"

/* --- statements --- */

static int prepare(struct job_store *s, const char *text, const char *types,
                   struct sql_statement **ret, struct bth_error *error)
{
        struct sql_statement *st;
        int r;

        assert(!s->giving);
        for (size_t i = 0; i < s->n_statements; i++)
                if (s->statements[i].text == text) {
                        *ret = &s->statements[i];
                        return 0;
                }
        assert(s->n_statements < SQL_MAX_STATEMENTS); /* one a literal of this folder */
        st = &s->statements[s->n_statements];
        *st = (struct sql_statement){ .store = s, .text = text, .types = types };
        r = s->backend->prepare(st, error);
        if (r < 0)
                return r;
        s->n_statements++;
        *ret = st;
        return 0;
}

struct sql_value sql_s(const char *text)
{
        return (struct sql_value){ .type = 's', .data = text, .n = text ? strlen(text) : 0 };
}

static struct sql_value value_of(char type, va_list *ap)
{
        struct sql_value v = { .type = type };

        switch (type) {
        case 'u':
                return sql_u(va_arg(*ap, uint64_t));
        case 's':
                return sql_s(va_arg(*ap, const char *));
        default:
                assert(type == 'b');
                v.data = va_arg(*ap, const void *);
                v.n = va_arg(*ap, size_t);
                return v;
        }
}

static size_t values_of(const char *types, va_list *ap, struct sql_value values[SQL_MAX_ARGUMENTS])
{
        size_t n = 0;

        for (; types[n]; n++) {
                assert(n < SQL_MAX_ARGUMENTS);
                values[n] = value_of(types[n], ap);
        }
        return n;
}

static int sql_v(struct job_store *s, struct bth_error *error, struct sql_statement **ret,
                 const char *text, const char *types, va_list *ap)
{
        struct sql_value values[SQL_MAX_ARGUMENTS];
        struct sql_statement *st;
        int r = prepare(s, text, types, &st, error);

        if (r < 0)
                return r;
        r = s->backend->bind(st, values, values_of(types, ap, values), error);
        if (r < 0) {
                sql_done(st);
                return r;
        }
        *ret = st;
        return 0;
}

int sql(struct job_store *s, struct bth_error *error, struct sql_statement **ret, const char *text,
        const char *types, ...)
{
        va_list ap;
        int r;

        va_start(ap, types);
        r = sql_v(s, error, ret, text, types, &ap);
        va_end(ap);
        return r;
}

/* Places that are left over ask for a row that no table has. */
int sql_ids(struct job_store *s, struct bth_error *error, struct sql_statement **ret,
            const char *text, const uint64_t *ids, size_t n)
{
        static const char types[] = "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu";
        struct sql_value values[SQL_IDS];
        struct sql_statement *st;
        int r = prepare(s, text, types, &st, error);

        _Static_assert(sizeof types == SQL_IDS + 1 && SQL_IDS <= SQL_MAX_ARGUMENTS, "one for each");
        assert(n > 0 && n <= SQL_IDS);
        if (r < 0)
                return r;
        for (size_t i = 0; i < SQL_IDS; i++)
                values[i] = (struct sql_value){ .type = 'u', .number = i < n ? ids[i] : 0 };
        r = s->backend->bind(st, values, SQL_IDS, error);
        if (r < 0) {
                sql_done(st);
                return r;
        }
        *ret = st;
        return 0;
}

int sql_row(struct job_store *s, struct sql_statement *st, struct bth_error *error)
{
        return s->backend->step(st, error);
}

void sql_done(struct sql_statement *st)
{
        st->store->backend->reset(st);
}

int sql_run(struct job_store *s, struct bth_error *error, const char *text, const char *types, ...)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        va_list ap;
        int r;

        va_start(ap, types);
        r = sql_v(s, error, &st, text, types, &ap);
        va_end(ap);
        return r < 0 ? r : sql_row(s, st, error);
}

int sql_number(struct job_store *s, struct bth_error *error, uint64_t *ret, const char *text,
               const char *types, ...)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        va_list ap;
        int r;

        va_start(ap, types);
        r = sql_v(s, error, &st, text, types, &ap);
        va_end(ap);
        if (r == 0)
                r = sql_row(s, st, error);
        if (r < 0)
                return r;
        *ret = r == 1 ? sql_u64(st, 0) : 0;
        return 0;
}

/* --- many at once --- */

static int run_now(struct sql_statement *st, const struct sql_value *values, size_t n,
                   struct bth_error *error)
{
        const struct sql_backend *b = st->store->backend;
        int r = b->bind(st, values, n, error);

        if (r == 0)
                r = b->step(st, error);
        b->reset(st);
        return MIN(r, 0);
}

int sql_later(struct job_store *s, struct bth_error *error, const char *text, const char *types,
              ...)
{
        struct sql_value values[SQL_MAX_ARGUMENTS];
        struct sql_statement *st;
        va_list ap;
        size_t n;
        int r = prepare(s, text, types, &st, error);

        assert(s->depth > 0);
        if (r < 0)
                return r;
        va_start(ap, types);
        n = values_of(types, &ap, values);
        va_end(ap);
        return s->backend->later ? s->backend->later(st, values, n, error)
                                 : run_now(st, values, n, error);
}

int sql_give(struct sql_statement *st, const struct sql_many *many, size_t i,
             struct bth_error *error)
{
        struct job_store *s = st->store;
        int r;

        while ((r = s->backend->step(st, error)) == 1 && many->row) {
                s->giving = true;
                r = many->row(many->userdata, i, st);
                s->giving = false;
                if (r < 0)
                        return r;
        }
        if (r == 0 && many->changes)
                many->changes[i] = s->backend->changes(s);
        return MIN(r, 0);
}

static int one_by_one(struct sql_statement *st, const struct sql_many *many,
                      struct bth_error *error)
{
        const struct sql_backend *b = st->store->backend;
        const size_t n_values = strlen(st->types);
        struct sql_value values[SQL_MAX_ARGUMENTS];
        int r = 0;

        for (size_t i = 0; i < many->n && r == 0; i++) {
                many->arguments(many->userdata, i, values);
                r = b->bind(st, values, n_values, error);
                if (r == 0)
                        r = sql_give(st, many, i, error);
                b->reset(st);
        }
        return r;
}

int sql_many(struct job_store *s, struct bth_error *error, const char *text, const char *types,
             const struct sql_many *many)
{
        struct sql_statement *st;
        int r = prepare(s, text, types, &st, error);

        assert(s->depth > 0 && strlen(types) <= SQL_MAX_ARGUMENTS);
        if (r < 0 || many->n == 0)
                return r;
        return s->backend->many ? s->backend->many(st, many, error) : one_by_one(st, many, error);
}

int sql_changes(struct job_store *s)
{
        return s->backend->changes(s);
}

uint64_t sql_last_id(struct job_store *s)
{
        return s->backend->last_id(s);
}

uint64_t sql_u64(struct sql_statement *st, int column)
{
        return st->store->backend->column(st, column, 'u').number;
}

bool sql_is_null(struct sql_statement *st, int column)
{
        return st->store->backend->column(st, column, 's').data == NULL;
}

const char *sql_text(struct sql_statement *st, int column)
{
        return st->store->backend->column(st, column, 's').data;
}

int sql_copy(struct sql_statement *st, int column, char **ret)
{
        const char *text = sql_text(st, column);

        *ret = text ? strdup(text) : NULL;
        return text && !*ret ? -ENOMEM : 0;
}

int sql_secret(struct sql_statement *st, int column, struct bth_secret **ret)
{
        const struct sql_value v = st->store->backend->column(st, column, 'b');

        return v.data ? bth_secret_new_copy(v.data, v.n, ret) : -ENOMEM;
}

/* --- transactions --- */

int sql_begin(struct job_store *s, struct bth_error *error)
{
        int r = s->depth == 0 ? s->backend->begin(s, false, error) : 0;

        if (r == 0 && s->depth++ == 0) {
                s->broken = 0;
                s->scrub = false;
                s->new_events = false;
        }
        return r;
}

static int end_outermost(struct job_store *s, int r, struct bth_error *error)
{
        uint64_t newest = s->last_event;

        if (r == 0 && s->broken < 0)
                r = bth_error_set(error, -ECANCELED, BTH_REASON_INTERNAL,
                                  "a part of the change was not possible: %s",
                                  bth_strerror(s->broken));
        /* Who writes is alone, and numbers grow: ours is the highest. */
        if (r == 0 && s->new_events)
                r = sql_number(s, error, &newest, "SELECT max(seq) FROM events", "");
        if (r == 0)
                r = s->backend->end(s, true, error);
        if (r < 0)
                (void)s->backend->end(s, false, NULL); /* what went wrong before is told */
        else
                s->last_event = newest;
        s->depth = 0;
        return r == 0 && s->scrub ? s->backend->scrub(s, error) : r;
}

int sql_end(struct job_store *s, int r, struct bth_error *error)
{
        assert(s->depth > 0);
        if (s->depth == 1)
                return end_outermost(s, r, error);
        s->depth--;
        if (r < 0 && s->broken == 0)
                s->broken = r;
        return r;
}

int sql_begin_reading(struct job_store *s, bool *ret_begun, struct bth_error *error)
{
        int r = s->depth > 0 ? 0 : s->backend->begin(s, true, error);

        *ret_begun = r == 0 && s->depth == 0;
        s->depth += *ret_begun;
        return r;
}

void sql_end_reading(struct job_store *s)
{
        (void)s->backend->end(s, false, NULL); /* nothing was written */
        s->depth = 0;
}

int sql_check(struct job_store *s, struct bth_error *error)
{
        return s->backend->check(s, error);
}

int sql_scrub(struct job_store *s, struct bth_error *error)
{
        if (s->depth == 0)
                return s->backend->scrub(s, error);
        s->scrub = true;
        return 0;
}

int job_store_begin(struct job_store *s, struct bth_error *error)
{
        return sql_begin(s, error);
}

int job_store_end(struct job_store *s, int r, struct bth_error *error)
{
        return sql_end(s, r, error);
}

/* --- opening --- */

int sql_make_uid(struct job_store *s, struct bth_error *error)
{
        char text[BTH_GUID_TEXT_MAX];
        struct bth_guid g;
        int r = bth_guid_random(&g);

        if (r < 0)
                return r;
        return sql_run(s, error, "INSERT INTO meta (name, value) VALUES ('uid', ?)", "s",
                       bth_guid_to_string(&g, text));
}

int sql_too_new(uint64_t version, struct bth_error *error)
{
        return bth_error_set(error, -EPROTONOSUPPORT, BTH_REASON_STORE_NEWER,
                             "the records have version %" PRIu64
                             ", and this program knows only up to version %u",
                             version, JOB_STORE_VERSION);
}

static int read_meta(struct job_store *s, struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        uint64_t used = 0;
        int r = sql_number(s, error, &used, "SELECT count(*) FROM meta WHERE name = 'outbox'", "");

        if (r == 0)
                r = sql(s, error, &st, "SELECT value FROM meta WHERE name = 'uid'", "");
        if (r == 0)
                r = sql_row(s, st, error);
        if (r < 0)
                return r;
        if (r == 0 || !sql_text(st, 0) || strlen(sql_text(st, 0)) >= sizeof s->uid)
                return bth_error_set(error, -EBADMSG, BTH_REASON_STORE_DAMAGED,
                                     "the records of the station do not say which they are");
        (void)snprintf(s->uid, sizeof s->uid, "%s", sql_text(st, 0));
        s->outbox = used > 0;
        return 0;
}

int job_store_open(const char *path, struct job_store **ret_store, struct bth_error *error)
{
        _cleanup_(job_store_closep) struct job_store *s = calloc(1, sizeof *s);
        int r;

        if (!s)
                return -ENOMEM;
        if (bth_starts_with(path, "postgresql://")) {
                bth_error_at(error, "postgresql", 0, BTH_ERROR_NO_OFFSET);
                r = sql_pg_open(s, path, error);
        } else {
                bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
                r = sql_lite_open(s, path, error);
        }
        if (r == 0)
                r = s->backend->migrate(s, error);
        if (r == 0)
                r = read_meta(s, error);
        if (r == 0)
                *ret_store = take_ptr(s);
        return r;
}

struct job_store *job_store_close(struct job_store *s)
{
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n_statements; i++)
                s->backend->finalize(&s->statements[i]);
        if (s->backend)
                s->backend->close(s);
        free(s);
        return NULL;
}

const char *job_store_uid(const struct job_store *s)
{
        return s->uid;
}
