/* SPDX-License-Identifier: GPL-3.0-or-later */
/* store-load - the records of jobs, with their drives: one, or some at once for a list, in which
 * there is a statement for so many jobs and not for each. */
#include <string.h>

#include "base/str.h"
#include "jobs/sql.h"
#include "jobs/store-fields.h"

void store_record_clear(struct job_record *r)
{
        free(r->scope);
        free(r->name);
        free(r->account);
        free(r->location);
        free(r->diagnostics);
        free(r->origin);
        free(r->tags);
        for (size_t i = 0; i < _JOB_PERSONAL_MAX; i++)
                free(r->personal[i]);
        for (size_t i = 0; i < JOB_MAX_DRIVES; i++) {
                struct job_record_drive *d = &r->drives[i];

                free(d->serial);
                free(d->manifest_file);
                free(d->manifest_hash);
                free(d->header_hash);
                free(d->error_log);
                free(d->verbose_log);
                free(d->manifest_log);
                free(d->detail);
                free(d->bay);
        }
        *r = (struct job_record){ 0 };
}

struct job_record *job_record_free(struct job_record *r)
{
        if (r)
                store_record_clear(r);
        free(r);
        return NULL;
}

/* --- rows --- */

static int copy_texts(struct sql_statement *st, int first, char **const *targets, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                int r = sql_copy(st, first + (int)i, targets[i]);

                if (r < 0)
                        return r;
        }
        return 0;
}

#define JOB_COLUMNS                                                                \
        "id, revision, scope, name, account, location, diagnostics, origin, tags," \
        " verbose_log, backup_manifest" JOB_FIELDS(NAME)
#define DRIVE_COLUMNS                                                                    \
        "job, idx, EXISTS (SELECT 1 FROM keys k WHERE k.job = d.job AND k.idx = d.idx)," \
        " serial, manifest_file, manifest_hash, header_hash, error_log, verbose_log,"    \
        " manifest_log, detail, bay" DRIVE_FIELDS(NAME)

static int read_job_row(struct sql_statement *st, struct job_record *r)
{
        char **const texts[] = { &r->scope,       &r->name,   &r->account, &r->location,
                                 &r->diagnostics, &r->origin, &r->tags };
        struct job_model *v = &r->model;
        int c = 11;

        r->id = sql_u64(st, 0);
        r->revision = sql_u64(st, 1);
        r->verbose_log = sql_u64(st, 9) != 0;
        r->backup_manifest = sql_u64(st, 10) != 0;
#define GET(field) v->field = (__typeof__(v->field))sql_u64(st, c++);
        JOB_FIELDS(GET)
        return copy_texts(st, 2, texts, ARRAY_SIZE(texts));
}

static int read_drive_row(struct sql_statement *st, struct job_record *r, size_t i)
{
        struct job_record_drive *d = &r->drives[i];
        char **const texts[] = { &d->serial,       &d->manifest_file, &d->manifest_hash,
                                 &d->header_hash,  &d->error_log,     &d->verbose_log,
                                 &d->manifest_log, &d->detail,        &d->bay };
        struct job_drive *v = &r->model.drives[i];
        int c = 3 + (int)ARRAY_SIZE(texts);

        d->has_key = sql_u64(st, 2) != 0;
        DRIVE_FIELDS(GET)
#undef GET
        return copy_texts(st, 3, texts, ARRAY_SIZE(texts));
}

/* Are the enums in their lists? The invariants look only at values that are. */
static bool model_in_range(const struct job_model *m)
{
        if ((size_t)m->state >= _BTH_JOB_STATE_MAX)
                return false;
        for (size_t i = 0; i < m->n_drives; i++) {
                const struct job_drive *d = &m->drives[i];

                if ((size_t)d->state >= _BTH_DRIVE_STATE_MAX || (size_t)d->copy >= _JOB_COPY_MAX ||
                    (size_t)d->status >= _BTH_DRIVE_STATUS_MAX ||
                    (size_t)d->activity >= _JOB_ACTIVITY_MAX)
                        return false;
        }
        return true;
}

static int contradicts(const struct job_record *r, const char *how, struct bth_error *error)
{
        return bth_error_set(error, -EBADMSG, BTH_REASON_STORE_DAMAGED,
                             "the record of the job '%s' contradicts itself: %s", r->name, how);
}

static int check_record(const struct job_record *r, struct bth_error *error)
{
        const char *broken =
                !model_in_range(&r->model) ? "a state is not in its list" : job_broken(&r->model);

        if (r->id == 0)
                return bth_error_set(error, -ENOENT, BTH_REASON_NOT_FOUND, "there is no such job");
        return broken ? contradicts(r, broken, error) : 0;
}

/* --- records --- */

/* What is being read: the records of `ids`, in their order. */
struct batch {
        struct job_store *store;
        const uint64_t *ids;
        size_t n;
        struct job_record *records;
};

static struct job_record *record_of(const struct batch *b, uint64_t id)
{
        for (size_t i = 0; i < b->n; i++)
                if (b->ids[i] == id)
                        return &b->records[i];
        return NULL;
}

/* `one` and `some` are the same question about one job and about SQL_IDS; `take` gets each row and
 * the record that it belongs to. */
static int each_row(const struct batch *b, const char *one, const char *some,
                    int (*take)(struct sql_statement *st, struct job_record *r,
                                struct bth_error *error),
                    struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        int r = b->n == 1 ? sql(b->store, error, &st, one, "u", b->ids[0])
                          : sql_ids(b->store, error, &st, some, b->ids, b->n);

        if (r < 0)
                return r;
        while ((r = sql_row(b->store, st, error)) == 1) {
                struct job_record *record = record_of(b, sql_u64(st, 0));

                if (record)
                        r = take(st, record, error);
                if (r < 0)
                        return r;
        }
        return r;
}

static int take_job(struct sql_statement *st, struct job_record *r, struct bth_error *error)
{
        (void)error;
        return read_job_row(st, r);
}

static int take_drive(struct sql_statement *st, struct job_record *r, struct bth_error *error)
{
        const size_t i = r->model.n_drives;
        int k;

        if (i >= JOB_MAX_DRIVES || sql_u64(st, 1) != i)
                return contradicts(r, "its drives are not numbered from 0", error);
        k = read_drive_row(st, r, i);
        r->model.n_drives += k == 0;
        return k;
}

static int take_personal(struct sql_statement *st, struct job_record *r, struct bth_error *error)
{
        const uint64_t what = sql_u64(st, 1);

        (void)error;
        return what < _JOB_PERSONAL_MAX && !r->personal[what] ? sql_copy(st, 2, &r->personal[what])
                                                              : 0;
}

static int load(const struct batch *b, bool personal, struct bth_error *error)
{
        int r = each_row(b, "SELECT " JOB_COLUMNS " FROM jobs WHERE id = ?",
                         "SELECT " JOB_COLUMNS " FROM jobs WHERE id IN (" SQL_IDS_LIST ")",
                         take_job, error);

        if (r == 0)
                r = each_row(b, "SELECT " DRIVE_COLUMNS " FROM drives d WHERE job = ? ORDER BY idx",
                             "SELECT " DRIVE_COLUMNS " FROM drives d WHERE job IN (" SQL_IDS_LIST
                             ") ORDER BY job, idx",
                             take_drive, error);
        if (r == 0 && personal)
                r = each_row(b, "SELECT job, what, value FROM personal WHERE job = ?",
                             "SELECT job, what, value FROM personal WHERE job IN (" SQL_IDS_LIST
                             ")",
                             take_personal, error);
        for (size_t i = 0; i < b->n && r == 0; i++)
                r = check_record(&b->records[i], error);
        return r;
}

/* Jobs and drives as they were at one moment: another process may be writing. */
int store_load_some(struct job_store *s, const uint64_t *ids, size_t n, bool personal,
                    struct job_record *ret, struct bth_error *error)
{
        const struct batch b = { .store = s, .ids = ids, .n = n, .records = ret };
        bool begun;
        int r = sql_begin_reading(s, &begun, error);

        memset(ret, 0, n * sizeof *ret);
        if (r < 0)
                return r;
        r = load(&b, personal, error);
        if (begun)
                sql_end_reading(s);
        for (size_t i = 0; i < n && r < 0; i++)
                store_record_clear(&ret[i]);
        return r;
}

int store_load(struct job_store *s, uint64_t job, struct job_record *ret, struct bth_error *error)
{
        return store_load_some(s, &job, 1, false, ret, error);
}

int store_each(struct job_store *s, const uint64_t *ids, size_t n, bool personal,
               int (*each)(void *userdata, const struct job_record *record, size_t index),
               void *userdata, struct bth_error *error)
{
        struct job_record *records =
                calloc(MIN(MAX(n, (size_t)1), (size_t)SQL_IDS), sizeof *records);
        int r = records ? 0 : -ENOMEM;

        for (size_t begin = 0; begin < n && r == 0; begin += SQL_IDS) {
                const size_t some = MIN(n - begin, (size_t)SQL_IDS);

                r = store_load_some(s, ids + begin, some, personal, records, error);
                if (r < 0)
                        break;
                for (size_t i = 0; i < some && r == 0; i++)
                        r = each(userdata, &records[i], begin + i);
                for (size_t i = 0; i < some; i++)
                        store_record_clear(&records[i]);
        }
        free(records);
        return r;
}

struct giving {
        job_record_fn each;
        void *userdata;
};

static int give(void *userdata, const struct job_record *record, size_t index)
{
        const struct giving *g = userdata;

        (void)index;
        return g->each(g->userdata, record);
}

int store_each_record(struct job_store *s, const uint64_t *ids, size_t n, bool personal,
                      job_record_fn each, void *userdata, struct bth_error *error)
{
        struct giving g = { each, userdata };

        return store_each(s, ids, n, personal, give, &g, error);
}
