/* SPDX-License-Identifier: GPL-3.0-or-later */
/* store-jobs - jobs and their drives in the store: looking them up, making them, and what people
 * change of them. How they change with what happens is in store-step.c. */
#include <ctype.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "jobs/sql.h"
#include "jobs/store-fields.h"

void store_serial_key(const char *serial, char out[SERIAL_KEY_MAX])
{
        size_t n = 0;

        for (; *serial && n + 1 < SERIAL_KEY_MAX; serial++)
                if (!isspace((unsigned char)*serial))
                        out[n++] = (char)toupper((unsigned char)*serial);
        out[n] = '\0';
}

/* --- reading --- */

static int no_such_job(struct bth_error *error)
{
        return bth_error_set(error, -ENOENT, BTH_REASON_NOT_FOUND, "there is no such job");
}

int job_store_get(struct job_store *s, uint64_t job, struct job_record **ret_record,
                  struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = calloc(1, sizeof *record);
        int r = record ? store_load(s, job, record, error) : -ENOMEM;

        if (r == 0)
                *ret_record = take_ptr(record);
        return r;
}

int job_store_find(struct job_store *s, const char *scope, const char *name,
                   struct job_record **ret_record, struct bth_error *error)
{
        uint64_t id = 0;
        int r = sql_number(s, error, &id,
                           "SELECT id FROM jobs WHERE scope = ? AND name = ? AND deleted = 0", "ss",
                           scope ? scope : "", name);

        if (r < 0)
                return r;
        return id > 0 ? job_store_get(s, id, ret_record, error) : no_such_job(error);
}

int job_store_find_journal(struct job_store *s, const char *sha256, struct job_record **ret_record,
                           struct bth_error *error)
{
        uint64_t id = 0;
        int r = sql_number(s, error, &id,
                           "SELECT max(j.id) FROM journals n JOIN jobs j ON j.id = n.job"
                           " WHERE n.sha256 = ? AND j.deleted = 0",
                           "s", sha256);

        if (r < 0)
                return r;
        return id > 0 ? job_store_get(s, id, ret_record, error) : no_such_job(error);
}

int job_store_is_of_journal(struct job_store *s, uint64_t job, const char *sha256,
                            struct bth_error *error)
{
        uint64_t n = 0;
        int r = sql_number(s, error, &n,
                           "SELECT count(*) FROM journals WHERE job = ? AND sha256 = ?", "us", job,
                           sha256);

        return r < 0 ? r : n > 0;
}

/* --- making --- */

static int check_draft(const struct job_draft *d, struct bth_error *error)
{
        const char *const texts[] = { d->scope,       d->name,   d->account, d->location,
                                      d->diagnostics, d->origin, d->tags,    d->journal_name };

        if (!d->name || d->name[0] == '\0')
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING,
                                     "a job needs a name");
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                if (texts[i] && strlen(texts[i]) > JOB_STORE_TEXT_MAX)
                        return bth_error_set(error, -EINVAL, BTH_REASON_TOO_LARGE,
                                             "a text of the job is too long");
        if (d->n_drives == 0 || d->n_drives > JOB_MAX_DRIVES)
                return bth_error_set(error, -EINVAL, BTH_REASON_LIMIT_EXCEEDED,
                                     "a job has 1 to %d drives, not %zu", JOB_MAX_DRIVES,
                                     d->n_drives);
        for (size_t i = 0; i < d->n_drives; i++)
                if (!d->drives[i].serial || d->drives[i].serial[0] == '\0' ||
                    strlen(d->drives[i].serial) >= SERIAL_KEY_MAX)
                        return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                             "drive %zu of the job has no usable serial number",
                                             i + 1);
        return 0;
}

static int insert_job(struct job_store *s, const struct job_draft *d, struct job_record *r,
                      struct bth_error *error)
{
        const char *scope = d->scope ? d->scope : "";
        _cleanup_free_ char *subscription = strndup(scope, store_subscription_length(scope));
        const struct job_model *v = &r->model;
        uint64_t same = 0;
        int k = subscription ? sql_number(s, error, &same,
                                          "SELECT count(*) FROM jobs"
                                          " WHERE scope = ? AND name = ? AND deleted = 0",
                                          "ss", scope, d->name)
                             : -ENOMEM;

        if (k < 0)
                return k;
        if (same > 0)
                return bth_error_set(error, -EEXIST, BTH_REASON_CONFLICT,
                                     "there is a job '%s' already", d->name);
        k = sql_run(s, error,
                    "INSERT INTO jobs (revision, scope, subscription, name, account, location,"
                    " diagnostics, origin, tags, verbose_log, backup_manifest" JOB_FIELDS(
                            NAME) ") VALUES (0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
                                  "?, ?, ?, ?, ?, ?)",
                    "ssssssssuu" JOB_FIELDS(LETTER), scope, subscription, d->name, d->account,
                    d->location, d->diagnostics, d->origin, d->tags, (uint64_t)d->verbose_log,
                    (uint64_t)d->backup_manifest JOB_FIELDS(NUMBER));
        r->id = sql_last_id(s);
        return k;
}

static int insert_drive(struct job_store *s, const struct job_draft_drive *d,
                        const struct job_record *r, size_t i, struct bth_error *error)
{
        const struct job_drive *v = &r->model.drives[i];
        char key[SERIAL_KEY_MAX];
        int k;

        store_serial_key(d->serial, key);
        k = sql_run(s, error,
                    "INSERT INTO drives (job, idx, serial, serial_key, manifest_file,"
                    " manifest_hash, header_hash" DRIVE_FIELDS(
                            NAME) ") VALUES (?, ?, ?, ?, ?, ?, ?,"
                                  " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    "uusssss" DRIVE_FIELDS(LETTER), r->id, (uint64_t)i, r->drives[i].serial, key,
                    d->manifest_file, d->manifest_hash, d->header_hash DRIVE_FIELDS(NUMBER));
        if (k == -EEXIST)
                return bth_error_set(error, k, BTH_REASON_CONFLICT,
                                     "the job names the drive '%s' twice", d->serial);
        if (k == 0 && d->key)
                k = sql_run(s, error, "INSERT INTO keys (job, idx, value) VALUES (?, ?, ?)", "uub",
                            r->id, (uint64_t)i, (const void *)d->key->data, d->key->length_bytes);
        return k;
}

int store_tracking(const char *package, char **ret_number)
{
        _cleanup_json_ json_t *j = NULL;
        const char *number = NULL;
        int r = bth_json_parse(package, strlen(package), &j, NULL);

        *ret_number = NULL;
        if (r == -ENOMEM)
                return r;
        if (r < 0 || bth_json_get_string(j, "trackingNumber", &number) < 0)
                return 0;
        *ret_number = strdup(number);
        return *ret_number ? 0 : -ENOMEM;
}

static int insert_personal(struct job_store *s, uint64_t job, const char *const *texts,
                           struct bth_error *error)
{
        _cleanup_free_ char *tracking = NULL;
        int r = texts[JOB_PERSONAL_DELIVERY_PACKAGE]
                        ? store_tracking(texts[JOB_PERSONAL_DELIVERY_PACKAGE], &tracking)
                        : 0;

        for (uint64_t i = 0; i < _JOB_PERSONAL_MAX && r == 0; i++)
                if (texts[i])
                        r = sql_run(s, error,
                                    "INSERT INTO personal (job, what, value, tracking)"
                                    " VALUES (?, ?, ?, ?) ON CONFLICT (job, what) DO UPDATE"
                                    " SET value = excluded.value, tracking = excluded.tracking",
                                    "uuss", job, i, texts[i],
                                    i == JOB_PERSONAL_DELIVERY_PACKAGE ? tracking : NULL);
        return r;
}

/* What events and errors say of a new job, before it can be loaded. */
static int name_record(struct job_record *r, const struct job_draft *d)
{
        r->scope = strdup(d->scope ? d->scope : "");
        r->name = strdup(d->name);
        if (!r->scope || !r->name)
                return -ENOMEM;
        for (size_t i = 0; i < d->n_drives; i++) {
                char *to = r->drives[i].serial = strdup(d->drives[i].serial);

                if (!to)
                        return -ENOMEM;
                for (const char *from = d->drives[i].serial; *from; from++)
                        if (!isspace((unsigned char)*from))
                                *to++ = *from;
                *to = '\0';
        }
        return 0;
}

static int insert_all(struct job_store *s, const struct job_draft *draft, struct job_record *r,
                      const struct job_outcome *outcome, uint64_t now_usec, const char *who,
                      struct bth_error *error)
{
        static const struct job_policy defaults;
        int k = insert_job(s, draft, r, error);

        for (size_t i = 0; i < draft->n_drives && k == 0; i++)
                k = insert_drive(s, &draft->drives[i], r, i, error);
        if (k == 0)
                k = insert_personal(s, r->id, draft->personal, error);
        if (k == 0 && (draft->journal_name || draft->journal_sha256))
                k = sql_run(s, error,
                            "INSERT INTO journals (job, name, sha256, added_usec, who)"
                            " VALUES (?, ?, ?, ?, ?)",
                            "ussus", r->id, draft->journal_name, draft->journal_sha256, now_usec,
                            who);
        if (k == 0)
                k = store_save(s, r, STORE_ALL_DRIVES, &defaults, error);
        return k < 0 ? k : store_add_changes(s, r, outcome, now_usec, who, error);
}

int job_store_add(struct job_store *s, const struct job_draft *draft, bool shipped,
                  uint64_t now_usec, const char *who, uint64_t *ret_job, struct bth_error *error)
{
        struct job_record record = { 0 };
        struct job_outcome outcome;
        int r = check_draft(draft, error);

        if (r == 0)
                r = job_begin(draft->n_drives, draft->accept_unshipped, shipped, now_usec,
                              &record.model, &outcome);
        if (r == 0)
                r = name_record(&record, draft);
        if (r == 0) {
                record.model.has_return |= draft->personal[JOB_PERSONAL_RETURN_ADDRESS] != NULL;
                record.model.has_delivery |= draft->personal[JOB_PERSONAL_DELIVERY_PACKAGE] != NULL;
                r = sql_begin(s, error);
                if (r == 0)
                        r = sql_end(s,
                                    insert_all(s, draft, &record, &outcome, now_usec, who, error),
                                    error);
        }
        if (r == 0)
                *ret_job = record.id;
        store_record_clear(&record);
        return r;
}

/* --- what people change --- */

static bool only_tags(const struct job_edit *edit)
{
        bool more = edit->diagnostics || edit->verbose_log >= 0 || edit->backup_manifest >= 0;

        for (size_t i = 0; i < _JOB_PERSONAL_MAX; i++)
                more = more || edit->personal[i];
        return edit->tags && !more;
}

/* Tags have no window, and say nothing about the state of the job (6.3). */
static int touch_tags(struct job_store *s, uint64_t job, const struct job_policy *policy,
                      uint64_t now_usec, const char *who, struct bth_error *error)
{
        const struct job_outcome outcome = {
                .changes = { { .kind = JOB_CHANGE_JOB_UPDATED, .drive = JOB_NO_DRIVE } },
                .n_changes = 1,
        };
        struct job_record record;
        int r = store_load(s, job, &record, error);

        if (r < 0)
                return r;
        r = record.model.deleted ? no_such_job(error) : store_save(s, &record, 0, policy, error);
        if (r == 0)
                r = store_add_changes(s, &record, &outcome, now_usec, who, error);
        store_record_clear(&record);
        return r;
}

int job_store_edit(struct job_store *s, uint64_t job, const struct job_edit *edit,
                   const struct job_policy *policy, uint64_t now_usec, const char *who,
                   struct bth_error *error)
{
        const struct job_act act = { .job = job, .input.kind = JOB_INPUT_UPDATED };
        struct job_outcome outcome;
        int r = sql_begin(s, error);

        if (r < 0)
                return r;
        r = sql_run(s, error,
                    "UPDATE jobs SET tags = coalesce(?1, tags),"
                    " diagnostics = coalesce(?2, diagnostics),"
                    " verbose_log = CASE WHEN ?3 < 0 THEN verbose_log ELSE ?3 END,"
                    " backup_manifest = CASE WHEN ?4 < 0 THEN backup_manifest ELSE ?4 END,"
                    " has_return = CASE WHEN ?5 > 0 THEN 1 ELSE has_return END,"
                    " has_delivery = CASE WHEN ?6 > 0 THEN 1 ELSE has_delivery END"
                    " WHERE id = ?7",
                    "ssuuuuu", edit->tags, edit->diagnostics, (uint64_t)(int64_t)edit->verbose_log,
                    (uint64_t)(int64_t)edit->backup_manifest,
                    (uint64_t)(edit->personal[JOB_PERSONAL_RETURN_ADDRESS] != NULL),
                    (uint64_t)(edit->personal[JOB_PERSONAL_DELIVERY_PACKAGE] != NULL), job);
        if (r == 0)
                r = only_tags(edit) ? touch_tags(s, job, policy, now_usec, who, error)
                                    : store_step(s, &act, policy, now_usec, who, &outcome, error);
        if (r == 0)
                r = insert_personal(s, job, edit->personal, error);
        return sql_end(s, r, error);
}

int job_store_return(struct job_store *s, uint64_t job, const char *package,
                     const struct job_policy *policy, uint64_t now_usec, const char *who,
                     struct job_outcome *ret_outcome, struct bth_error *error)
{
        const struct job_act act = { .job = job, .input.kind = JOB_INPUT_RETURNED };
        const char *const personal[_JOB_PERSONAL_MAX] = { [JOB_PERSONAL_RETURN_PACKAGE] = package };
        int r = sql_begin(s, error);

        if (r < 0)
                return r;
        r = store_step(s, &act, policy, now_usec, who, ret_outcome, error);
        if (r == 0 && package && !store_says_deleted(ret_outcome))
                r = insert_personal(s, job, personal, error);
        return sql_end(s, r, error);
}

/* --- other drives --- */

static int check_may_replace(const struct job_record *r, struct bth_error *error)
{
        if (r->model.deleted)
                return no_such_job(error);
        if (!job_may_change(&r->model, JOB_PROPERTY_DRIVES))
                return bth_error_set(
                        error, -EPERM, BTH_REASON_REFUSED,
                        "the drives of a job can only be changed while it is Creating");
        for (size_t i = 0; i < r->model.n_drives; i++)
                if (r->model.drives[i].state != BTH_DRIVE_STATE_SPECIFIED ||
                    r->model.drives[i].docked)
                        return bth_error_set(error, -EPERM, BTH_REASON_REFUSED,
                                             "the drive '%s' of the job has arrived, so its drives "
                                             "cannot be changed any more",
                                             r->drives[i].serial);
        return 0;
}

struct drive_keys {
        struct bth_secret *keys[JOB_MAX_DRIVES]; /* that stay */
};

static void drive_keys_clear(struct drive_keys *k)
{
        for (size_t i = 0; i < JOB_MAX_DRIVES; i++)
                k->keys[i] = bth_secret_free(k->keys[i]);
}

static int find_keys(struct job_store *s, const struct job_record *old, const struct job_draft *d,
                     struct drive_keys *ret, struct bth_error *error)
{
        for (size_t i = 0; i < d->n_drives; i++) {
                for (size_t k = 0; k < old->model.n_drives && !d->drives[i].key; k++) {
                        char a[SERIAL_KEY_MAX], b[SERIAL_KEY_MAX];
                        int r;

                        store_serial_key(d->drives[i].serial, a);
                        store_serial_key(old->drives[k].serial, b);
                        if (strcmp(a, b) != 0 || !old->drives[k].has_key)
                                continue;
                        r = job_store_key(s, old->id, k, &ret->keys[i], error);
                        if (r < 0)
                                return r;
                        break;
                }
        }
        return 0;
}

static int replace_drives(struct job_store *s, struct job_record *old, const struct job_draft *d,
                          uint64_t now_usec, struct bth_error *error)
{
        struct job_record fresh = { .id = old->id };
        struct drive_keys kept = { 0 };
        struct job_outcome unused;
        int r = find_keys(s, old, d, &kept, error);

        if (r == 0)
                r = job_begin(d->n_drives, false, false, now_usec, &fresh.model, &unused);
        if (r == 0)
                r = name_record(&fresh, d);
        if (r == 0)
                r = sql_run(s, error, "DELETE FROM keys WHERE job = ?", "u", old->id);
        if (r == 0)
                r = sql_run(s, error, "DELETE FROM drives WHERE job = ?", "u", old->id);
        for (size_t i = 0; i < d->n_drives && r == 0; i++) {
                struct job_draft_drive drive = d->drives[i];

                drive.key = drive.key ? drive.key : kept.keys[i];
                r = insert_drive(s, &drive, &fresh, i, error);
        }
        drive_keys_clear(&kept);
        store_record_clear(&fresh);
        return r;
}

static int set_drives(struct job_store *s, uint64_t job, const struct job_draft *d,
                      const struct job_policy *policy, uint64_t now_usec, const char *who,
                      struct bth_error *error)
{
        const struct job_act act = { .job = job, .input.kind = JOB_INPUT_UPDATED };
        struct job_outcome outcome;
        struct job_record old;
        int r = store_load(s, job, &old, error);

        if (r < 0)
                return r;
        r = check_may_replace(&old, error);
        if (r == 0)
                r = replace_drives(s, &old, d, now_usec, error);
        store_record_clear(&old);
        return r < 0 ? r : store_step(s, &act, policy, now_usec, who, &outcome, error);
}

int job_store_set_drives(struct job_store *s, uint64_t job, const struct job_draft_drive *drives,
                         size_t n, const struct job_policy *policy, uint64_t now_usec,
                         const char *who, struct bth_error *error)
{
        const struct job_draft draft = { .name = "drives", .drives = drives, .n_drives = n };
        int r = check_draft(&draft, error);

        if (r == 0)
                r = sql_begin(s, error);
        return r < 0 ? r
                     : sql_end(s, set_drives(s, job, &draft, policy, now_usec, who, error), error);
}

/* --- checking --- */

static int check_jobs(struct job_store *s, struct bth_error *error)
{
        uint64_t id = 0;

        for (;;) {
                struct job_record record;
                int r = sql_number(s, error, &id,
                                   "SELECT coalesce(min(id), 0) FROM jobs WHERE id > ?", "u", id);

                if (r < 0 || id == 0)
                        return r;
                r = store_load(s, id, &record, error);
                if (r < 0)
                        return r;
                store_record_clear(&record);
        }
}

int job_store_check(struct job_store *s, struct bth_error *error)
{
        int r = sql_check(s, error);

        return r < 0 ? r : check_jobs(s, error);
}
