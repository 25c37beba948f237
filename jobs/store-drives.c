/* SPDX-License-Identifier: GPL-3.0-or-later */
/* store-drives - dockings, runs of workers, keys, and personal data. */
#include <limits.h>
#include <string.h>

#include "base/str.h"
#include "jobs/sql.h"

/* --- dockings --- */

static int insert_docking(struct job_store *s, const struct job_docking *d, uint64_t now_usec,
                          uint64_t *ret_id, struct bth_error *error)
{
        char key[SERIAL_KEY_MAX];
        int r;

        store_serial_key(d->serial, key);
        r = sql_run(s, error,
                    "INSERT INTO dockings (serial, serial_key, bay, model, bus, diskseq,"
                    " size_bytes, job, drive, matched, warning, docked_usec)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, nullif(?, 0), CASE WHEN ?8 = 0 THEN NULL ELSE "
                    "?9 END, ?, ?, ?)",
                    "ssssssuuussu", d->serial, key, d->bay, d->model, d->bus, d->diskseq,
                    d->size_bytes, d->job, (uint64_t)d->drive, d->matched, d->warning, now_usec);
        *ret_id = sql_last_id(s);
        return r;
}

static int dock_with_job(struct job_store *s, const struct job_docking *d,
                         const struct job_policy *policy, uint64_t now_usec, const char *who,
                         struct job_outcome *ret_outcome, struct bth_error *error)
{
        const struct job_act act = { .job = d->job,
                                     .input = { .kind = JOB_INPUT_DOCKED, .drive = d->drive } };
        struct job_record record;
        int r = sql_run(s, error, "UPDATE drives SET bay = ? WHERE job = ? AND idx = ?", "suu",
                        d->bay, d->job, (uint64_t)d->drive);

        if (r == 0)
                r = store_load(s, d->job, &record, error);
        if (r < 0)
                return r;
        r = store_add_docking_event(s, JOB_CHANGE_DRIVE_DOCKED, d, &record, now_usec, who, error);
        store_record_clear(&record);
        return r < 0 ? r : store_step(s, &act, policy, now_usec, who, ret_outcome, error);
}

static int dock(struct job_store *s, const struct job_docking *d, const struct job_policy *policy,
                uint64_t now_usec, const char *who, uint64_t *ret_id,
                struct job_outcome *ret_outcome, struct bth_error *error)
{
        int r = 0;

        *ret_outcome = (struct job_outcome){ .sentence = "the drive was booked in" };
        if (d->job > 0) {
                r = dock_with_job(s, d, policy, now_usec, who, ret_outcome, error);
        } else {
                ret_outcome->sentence = job_activity_sentence(JOB_ACTIVITY_UNKNOWN_DRIVE);
                r = store_add_docking_event(s, JOB_CHANGE_DRIVE_DOCKED, d, NULL, now_usec, who,
                                            error);
        }
        return r < 0 ? r : insert_docking(s, d, now_usec, ret_id, error);
}

int job_store_dock(struct job_store *s, const struct job_docking *d,
                   const struct job_policy *policy, uint64_t now_usec, const char *who,
                   uint64_t *ret_docking, struct job_outcome *ret_outcome, struct bth_error *error)
{
        uint64_t id = 0;
        int r = sql_begin(s, error);

        if (r < 0)
                return r;
        r = sql_end(s, dock(s, d, policy, now_usec, who, &id, ret_outcome, error), error);
        if (r == 0)
                *ret_docking = id;
        return r;
}

#define DOCKING_COLUMNS                                                                   \
        "id, serial, bay, model, bus, diskseq, size_bytes, job, drive, matched, warning," \
        " docked_usec, undocked_usec, ended"

static struct job_docking docking_of(struct sql_statement *st)
{
        return (struct job_docking){
                .id = sql_u64(st, 0),
                .serial = sql_text(st, 1),
                .bay = sql_text(st, 2),
                .model = sql_text(st, 3),
                .bus = sql_text(st, 4),
                .diskseq = sql_text(st, 5),
                .size_bytes = sql_u64(st, 6),
                .job = sql_u64(st, 7),
                .drive = sql_is_null(st, 8) ? JOB_NO_DRIVE : sql_u64(st, 8),
                .matched = sql_text(st, 9),
                .warning = sql_text(st, 10),
                .docked_usec = sql_u64(st, 11),
                .undocked_usec = sql_u64(st, 12),
                .ended = sql_text(st, 13),
        };
}

/* Ends one docking that is open, inside a transaction. */
static int undock(struct job_store *s, const struct job_docking *d, const char *how,
                  const struct job_policy *policy, uint64_t now_usec, const char *who,
                  struct job_outcome *ret_outcome, struct bth_error *error)
{
        const struct job_act act = {
                .job = d->job,
                .input = { .kind = bth_streq(how, "ejected") ? JOB_INPUT_EJECTED : JOB_INPUT_PULLED,
                           .drive = d->drive },
        };
        struct job_docking gone = *d;
        struct job_record record = { 0 };
        int r;

        gone.ended = how;
        r = sql_run(s, error, "UPDATE dockings SET undocked_usec = ?, ended = ? WHERE id = ?",
                    "usu", now_usec, how, d->id);
        if (r == 0 && d->job > 0)
                r = store_load(s, d->job, &record, error);
        if (r == 0)
                r = store_add_docking_event(s, JOB_CHANGE_DRIVE_UNDOCKED, &gone,
                                            d->job > 0 ? &record : NULL, now_usec, who, error);
        /* The drive of a job that has been deleted meanwhile has nothing to tell it. */
        if (r == 0 && d->job > 0 && !record.model.deleted && record.model.drives[d->drive].docked)
                r = store_step(s, &act, policy, now_usec, who, ret_outcome, error);
        store_record_clear(&record);
        return r;
}

static int undock_by_id(struct job_store *s, uint64_t docking, const char *how,
                        const struct job_policy *policy, uint64_t now_usec, const char *who,
                        struct job_outcome *ret_outcome, struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        struct job_docking d;
        int r = sql(s, error, &st, "SELECT " DOCKING_COLUMNS " FROM dockings WHERE id = ?", "u",
                    docking);

        *ret_outcome = (struct job_outcome){ .sentence = "the drive left its bay" };
        if (r == 0)
                r = sql_row(s, st, error);
        if (r < 0)
                return r;
        if (r == 0)
                return bth_error_set(error, -ENOENT, BTH_REASON_NOT_FOUND,
                                     "there is no such docking");
        d = docking_of(st);
        if (d.undocked_usec > 0)
                return 0;
        return undock(s, &d, how, policy, now_usec, who, ret_outcome, error);
}

int job_store_undock(struct job_store *s, uint64_t docking, bool ejected,
                     const struct job_policy *policy, uint64_t now_usec, const char *who,
                     struct job_outcome *ret_outcome, struct bth_error *error)
{
        int r = sql_begin(s, error);

        if (r < 0)
                return r;
        return sql_end(s,
                       undock_by_id(s, docking, ejected ? "ejected" : "pulled", policy, now_usec,
                                    who, ret_outcome, error),
                       error);
}

static int restart_all(struct job_store *s, const struct job_policy *policy, uint64_t now_usec,
                       struct bth_error *error)
{
        for (;;) {
                struct job_outcome outcome;
                uint64_t id;
                int r = sql_number(s, error, &id,
                                   "SELECT min(id) FROM dockings WHERE undocked_usec IS NULL", "");

                if (r < 0 || id == 0)
                        return r;
                r = undock_by_id(s, id, "restart", policy, now_usec, NULL, &outcome, error);
                if (r < 0)
                        return r;
        }
}

int job_store_restart(struct job_store *s, const struct job_policy *policy, uint64_t now_usec,
                      struct bth_error *error)
{
        int r = sql_begin(s, error);

        if (r < 0)
                return r;
        return sql_end(s, restart_all(s, policy, now_usec, error), error);
}

int job_store_dockings(struct job_store *s, const char *serial, uint64_t job, size_t drive,
                       size_t limit, job_docking_fn each, void *userdata, struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        char key[SERIAL_KEY_MAX];
        int r;

        if (limit == 0 || limit > JOB_STORE_PAGE_MAX)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "a page has 1 to %u dockings", JOB_STORE_PAGE_MAX);
        if (serial) {
                store_serial_key(serial, key);
                r = sql(s, error, &st,
                        "SELECT " DOCKING_COLUMNS " FROM dockings WHERE serial_key = ?"
                        " ORDER BY id DESC LIMIT ?",
                        "su", key, (uint64_t)limit);
        } else {
                r = sql(s, error, &st,
                        "SELECT " DOCKING_COLUMNS " FROM dockings WHERE job = ? AND drive = ?"
                        " ORDER BY id DESC LIMIT ?",
                        "uuu", job, (uint64_t)drive, (uint64_t)limit);
        }
        if (r < 0)
                return r;
        while ((r = sql_row(s, st, error)) == 1) {
                const struct job_docking d = docking_of(st);

                r = each(userdata, &d);
                if (r != 0)
                        break;
        }
        return r;
}

/* --- runs --- */

static int insert_run(struct job_store *s, uint64_t job, size_t drive,
                      const struct bth_result_report *w, uint64_t now_usec, struct bth_error *error)
{
        int r = sql_run(s, error,
                        "INSERT INTO runs (job, drive, ended_usec, end, copy_status, reason,"
                        " sentence, blobs, completed, created, renamed, skipped, overwritten,"
                        " failed, bytes, sent_bytes, error_log, verbose_log, manifest) VALUES"
                        " (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        "uuuusssuuuuuuuuusss", job, (uint64_t)drive, now_usec, (uint64_t)w->end,
                        w->copy_status, w->reason, w->sentence, w->blobs, w->completed, w->created,
                        w->renamed, w->skipped, w->overwritten, w->failed, w->bytes, w->sent_bytes,
                        w->error_log, w->verbose_log, w->manifest);

        if (r < 0)
                return r;
        return sql_run(s, error,
                       "UPDATE drives SET error_log = coalesce(?, error_log),"
                       " verbose_log = coalesce(?, verbose_log),"
                       " manifest_log = coalesce(?, manifest_log) WHERE job = ? AND idx = ?",
                       "sssuu", w->error_log, w->verbose_log, w->manifest, job, (uint64_t)drive);
}

int job_store_result(struct job_store *s, uint64_t job, size_t drive,
                     const struct bth_result_report *result, const struct job_policy *policy,
                     uint64_t now_usec, struct job_outcome *ret_outcome, struct bth_error *error)
{
        const struct job_act act = { .job = job,
                                     .input = job_input_of_result(drive, result),
                                     .detail = result->sentence };
        int r = sql_begin(s, error);

        if (r < 0)
                return r;
        r = insert_run(s, job, drive, result, now_usec, error);
        if (r == 0)
                r = store_step(s, &act, policy, now_usec, NULL, ret_outcome, error);
        return sql_end(s, r, error);
}

int job_store_runs(struct job_store *s, uint64_t job, size_t drive, job_run_fn each, void *userdata,
                   struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        int r = sql(s, error, &st,
                    "SELECT ended_usec, end, copy_status, reason, sentence, blobs, completed,"
                    " created, renamed, skipped, overwritten, failed, bytes, sent_bytes, error_log,"
                    " verbose_log, manifest FROM runs WHERE job = ? AND drive = ? ORDER BY id",
                    "uu", job, (uint64_t)drive);

        if (r < 0)
                return r;
        while ((r = sql_row(s, st, error)) == 1) {
                const struct job_run_record run = {
                        .ended_usec = sql_u64(st, 0),
                        .end = (enum bth_run_end)sql_u64(st, 1),
                        .copy_status = sql_text(st, 2),
                        .reason = sql_text(st, 3),
                        .sentence = sql_text(st, 4),
                        .blobs = sql_u64(st, 5),
                        .completed = sql_u64(st, 6),
                        .created = sql_u64(st, 7),
                        .renamed = sql_u64(st, 8),
                        .skipped = sql_u64(st, 9),
                        .overwritten = sql_u64(st, 10),
                        .failed = sql_u64(st, 11),
                        .bytes = sql_u64(st, 12),
                        .sent_bytes = sql_u64(st, 13),
                        .error_log = sql_text(st, 14),
                        .verbose_log = sql_text(st, 15),
                        .manifest = sql_text(st, 16),
                };

                r = each(userdata, &run);
                if (r != 0)
                        break;
        }
        return r;
}

/* --- keys and personal data --- */

int job_store_key(struct job_store *s, uint64_t job, size_t drive, struct bth_secret **ret_key,
                  struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        int r = sql(s, error, &st, "SELECT value FROM keys WHERE job = ? AND idx = ?", "uu", job,
                    (uint64_t)drive);

        if (r == 0)
                r = sql_row(s, st, error);
        if (r < 0)
                return r;
        if (r == 0)
                return bth_error_set(error, -ENOENT, BTH_REASON_NOT_FOUND,
                                     "the job has no key for this drive");
        return sql_secret(st, 0, ret_key);
}

const char *job_personal_to_string(enum job_personal p)
{
        static const char *const names[] = { "returnAddress", "returnShipping", "deliveryPackage",
                                             "returnPackage", "shippingInformation" };

        return (size_t)p < ARRAY_SIZE(names) ? names[p] : NULL;
}

int job_store_personal(struct job_store *s, uint64_t job, enum job_personal what, char **ret_json,
                       struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        int r = sql(s, error, &st, "SELECT value FROM personal WHERE job = ? AND what = ?", "uu",
                    job, (uint64_t)what);

        if (r == 0)
                r = sql_row(s, st, error);
        if (r < 0)
                return r;
        if (r == 0)
                return bth_error_set(error, -ENOENT, BTH_REASON_NOT_FOUND, "the job has no %s",
                                     job_personal_to_string(what));
        return sql_copy(st, 0, ret_json);
}

int job_store_personal_all(struct job_store *s, uint64_t job, char *ret_json[_JOB_PERSONAL_MAX],
                           struct bth_error *error)
{
        _cleanup_sql_ struct sql_statement *st = NULL;
        int r = sql(s, error, &st, "SELECT what, value FROM personal WHERE job = ?", "u", job);

        for (size_t i = 0; i < _JOB_PERSONAL_MAX; i++)
                ret_json[i] = NULL;
        if (r < 0)
                return r;
        while ((r = sql_row(s, st, error)) == 1) {
                const uint64_t what = sql_u64(st, 0);

                if (what < _JOB_PERSONAL_MAX && !ret_json[what])
                        r = sql_copy(st, 1, &ret_json[what]);
                if (r < 0)
                        break;
        }
        for (size_t i = 0; r < 0 && i < _JOB_PERSONAL_MAX; i++) {
                free(ret_json[i]);
                ret_json[i] = NULL;
        }
        return r;
}

int job_store_forget(struct job_store *s, uint64_t job, struct bth_error *error)
{
        int r = sql_run(s, error, "DELETE FROM personal WHERE job = ?", "u", job);

        return r < 0 ? r : sql_scrub(s, error);
}

int store_forget_job(struct job_store *s, uint64_t job, struct bth_error *error)
{
        int r = sql_run(s, error, "DELETE FROM keys WHERE job = ?", "u", job);

        return r < 0 ? r : job_store_forget(s, job, error);
}

#define OLD_JOBS "SELECT id FROM jobs WHERE deleted <> 0 OR (ended_usec > 0 AND ended_usec < ?)"

int job_store_forget_old(struct job_store *s, uint64_t before_usec, struct bth_error *error)
{
        uint64_t n = 0;
        int r = sql_begin(s, error);

        if (r < 0)
                return r;
        r = sql_number(s, error, &n,
                       "SELECT count(DISTINCT job) FROM personal WHERE job IN (" OLD_JOBS ")", "u",
                       before_usec);
        if (r == 0)
                r = sql_run(s, error, "DELETE FROM personal WHERE job IN (" OLD_JOBS ")", "u",
                            before_usec);
        if (r == 0)
                r = sql_run(
                        s, error,
                        "DELETE FROM keys WHERE job IN (SELECT id FROM jobs WHERE deleted <> 0)",
                        "");
        r = sql_end(s, r, error);
        if (r == 0)
                r = sql_scrub(s, error);
        return r < 0 ? r : (int)MIN(n, (uint64_t)INT_MAX);
}
