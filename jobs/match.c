/* SPDX-License-Identifier: GPL-3.0-or-later */
/* match - see match.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "jobs/match.h"
#include "jobs/sql.h"

/* --- serial numbers --- */

bool job_serial_equal(const char *a, const char *b)
{
        char x[SERIAL_KEY_MAX], y[SERIAL_KEY_MAX];

        if (!a || !b)
                return false;
        store_serial_key(a, x);
        store_serial_key(b, y);
        return x[0] != '\0' && bth_streq(x, y);
}

bool job_serial_usable(const char *serial)
{
        char key[SERIAL_KEY_MAX];
        bool repeated = true;

        if (!serial || strlen(serial) > JOB_SERIAL_MAX_BYTES)
                return false;
        store_serial_key(serial, key);
        for (const char *p = key; *p; p++) {
                if (*p <= ' ' || *p >= 0x7f)
                        return false;
                repeated &= *p == key[0];
        }
        return key[0] != '\0' && !(repeated && strlen(key) > 1);
}

/* --- making jobs --- */

static bool is_lower(char c)
{
        return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static bool is_own_name(const char *name, size_t n)
{
        if (n < JOB_NAME_MIN || n > JOB_NAME_MAX || !is_lower(name[0]) || name[n - 1] == '-')
                return false;
        for (size_t i = 0; i < n; i++)
                if (!is_lower(name[i]) && !is_digit(name[i]) && name[i] != '-')
                        return false;
        return true;
}

static bool is_foreign_name(const char *name, size_t n)
{
        if (n == 0 || n > 64 || strchr("-_.", name[0]))
                return false;
        for (size_t i = 0; i < n; i++)
                if (!is_lower(name[i]) && !is_digit(name[i]) &&
                    !(name[i] >= 'A' && name[i] <= 'Z') && !strchr("-_.", name[i]))
                        return false;
        return true;
}

int job_name_check(const char *name, bool foreign, struct bth_error *error)
{
        const size_t n = name ? strlen(name) : 0;

        if (foreign ? is_foreign_name(name, n) : is_own_name(name, n))
                return 0;
        return bth_error_set(error, -EINVAL, BTH_REASON_NAME_INVALID,
                             foreign ? "the job name '%s' is not allowed: 1 to 64 letters, digits, "
                                       "'-', '_' and '.', beginning with a letter or digit"
                                     : "the job name '%s' is not allowed: 3 to 24 lower-case "
                                       "letters, digits and '-', beginning with a letter and not "
                                       "ending with '-'",
                             name ? name : "");
}

static bool same_key(const struct bth_secret *a, const struct bth_secret *b)
{
        return a == b || (a && b && bth_secret_equal(a, b));
}

static bool same_text(const char *a, const char *b)
{
        return (!a && !b) || (a && b && bth_ascii_casecmp(a, b) == 0);
}

static bool same_drive(const struct job_draft_drive *a, const struct job_draft_drive *b)
{
        return same_text(a->manifest_file, b->manifest_file) &&
               same_text(a->manifest_hash, b->manifest_hash) &&
               same_text(a->header_hash, b->header_hash) && same_key(a->key, b->key);
}

static const struct job_draft_drive *find_drive(const struct job_draft_drive *drives, size_t n,
                                                const char *serial)
{
        for (size_t i = 0; i < n; i++)
                if (job_serial_equal(drives[i].serial, serial))
                        return &drives[i];
        return NULL;
}

int job_merge_drives(const struct job_draft_drive *drives, size_t n,
                     struct job_draft_drive ret_drives[JOB_MAX_DRIVES], size_t *ret_n,
                     struct bth_error *error)
{
        size_t count = 0;

        for (size_t i = 0; i < n; i++) {
                const struct job_draft_drive *same =
                        find_drive(ret_drives, count, drives[i].serial);

                if (same && same_drive(same, &drives[i]))
                        continue;
                if (same)
                        return bth_error_set(error, -EEXIST, BTH_REASON_CONFLICT,
                                             "two journals name the drive '%s', and they "
                                             "contradict each other",
                                             drives[i].serial);
                if (count == JOB_MAX_DRIVES)
                        return bth_error_set(error, -E2BIG, BTH_REASON_LIMIT_EXCEEDED,
                                             "the journals name more than %d drives, and a job has "
                                             "at most so many",
                                             JOB_MAX_DRIVES);
                ret_drives[count++] = drives[i];
        }
        *ret_n = count;
        return 0;
}

static bool is_hash(const char *text)
{
        uint8_t bytes[32];
        const size_t n = strlen(text);

        /* MD5; newer tools have 64 digits (2.9). */
        return (n == 32 || n == 64) && bth_hex_decode(text, n, bytes) == 0;
}

static int check_drive(const struct job_draft_drive *d, struct bth_error *error)
{
        if (!job_serial_usable(d->serial))
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "the serial number '%s' tells no drive from another",
                                     d->serial ? d->serial : "");
        if (!d->manifest_file || d->manifest_file[0] == '\0')
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING,
                                     "the drive '%s' has no manifestFile", d->serial);
        if (!d->manifest_hash || !is_hash(d->manifest_hash))
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "the manifestHash of the drive '%s' is not a hash in hex",
                                     d->serial);
        return 0;
}

/* Would a drive that is docked now be wanted by this job? */
static bool wanted(const struct job_record *r, size_t drive)
{
        switch (r->model.drives[drive].state) {
        case BTH_DRIVE_STATE_SPECIFIED:
        case BTH_DRIVE_STATE_NEVER_RECEIVED:
                return r->model.state < BTH_JOB_STATE_PACKAGING ||
                       (r->model.state == BTH_JOB_STATE_PACKAGING && r->model.cancel_requested &&
                        r->model.drives[drive].state == BTH_DRIVE_STATE_SPECIFIED);
        case BTH_DRIVE_STATE_RECEIVED:
        case BTH_DRIVE_STATE_TRANSFERRING:
                return true;
        default:
                return false;
        }
}

struct conflict {
        uint64_t job; /* whose own it is no conflict with */
        char name[128];
        bool found;
};

static int find_conflict(void *userdata, const struct job_record *r, size_t drive)
{
        struct conflict *c = userdata;

        if (r->id == c->job || !wanted(r, drive))
                return 0;
        c->found = true;
        (void)snprintf(c->name, sizeof c->name, "%s", r->name);
        return 1;
}

int job_admit_drives(struct job_store *s, uint64_t job, const struct job_draft_drive *drives,
                     size_t n, struct bth_error *error)
{
        for (size_t i = 0; i < n; i++) {
                struct conflict c = { .job = job };
                int r = check_drive(&drives[i], error);

                if (r == 0 && find_drive(drives, i, drives[i].serial))
                        r = bth_error_set(error, -EINVAL, BTH_REASON_CONFLICT,
                                          "the job names the drive '%s' twice", drives[i].serial);
                if (r == 0)
                        r = job_store_named(s, drives[i].serial, find_conflict, &c, error);
                if (r < 0)
                        return r;
                if (c.found)
                        return bth_error_set(error, -EEXIST, BTH_REASON_CONFLICT,
                                             "the drive '%s' belongs to the job '%s', which is not "
                                             "done with it",
                                             drives[i].serial, c.name);
        }
        return 0;
}

int job_admit(struct job_store *s, const struct job_draft *draft, bool foreign_name,
              unsigned max_active, struct bth_error *error)
{
        uint64_t active = 0;
        int r = job_name_check(draft->name, foreign_name, error);

        if (r < 0)
                return r;
        if (!draft->account || draft->account[0] == '\0')
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING,
                                     "the job '%s' names no storage account", draft->name);
        if (draft->n_drives == 0 || draft->n_drives > JOB_MAX_DRIVES)
                return bth_error_set(error, -EINVAL, BTH_REASON_LIMIT_EXCEEDED,
                                     "the job '%s' has %zu drives; 1 to %d are possible",
                                     draft->name, draft->n_drives, JOB_MAX_DRIVES);
        if (max_active == 0)
                max_active = JOB_ACTIVE_MAX;
        r = job_store_count_active(s, draft->scope, &active, error);
        if (r == 0 && active >= max_active)
                r = bth_error_set(error, -EDQUOT, BTH_REASON_LIMIT_EXCEEDED,
                                  "there are %" PRIu64 " active jobs, and %u are possible", active,
                                  max_active);
        return r < 0 ? r : job_admit_drives(s, 0, draft->drives, draft->n_drives, error);
}

/* --- docked drives --- */

JOB_DEFINE_WORDS(job_match_kind, JOB_MATCHES, JOB_WORD);

struct search {
        struct job_match m;
        uint64_t done_job, past_job, docked_job; /* the newest of each */
        size_t done_drive, past_drive, docked_drive;
        char names[256];
        char docked_in[128];
};

static void add_name(struct search *f, const struct job_record *r)
{
        const size_t n = strlen(f->names);

        (void)snprintf(f->names + n, sizeof f->names - n, "%s'%s'", n > 0 ? ", " : "", r->name);
}

static int look_at(void *userdata, const struct job_record *r, size_t drive)
{
        const struct job_drive *d = &r->model.drives[drive];
        struct search *f = userdata;

        if (d->docked) {
                f->docked_job = r->id;
                f->docked_drive = drive;
                (void)snprintf(f->docked_in, sizeof f->docked_in, "%s",
                               r->drives[drive].bay ? r->drives[drive].bay : "?");
        }
        if (wanted(r, drive)) {
                if (f->m.n_wanted_by < JOB_MATCH_MAX)
                        f->m.wanted_by[f->m.n_wanted_by++] = r->id;
                f->m.job = r->id;
                f->m.drive = drive;
                add_name(f, r);
        } else if (r->model.state < BTH_JOB_STATE_COMPLETED &&
                   d->state != BTH_DRIVE_STATE_NEVER_RECEIVED) {
                f->done_job = r->id;
                f->done_drive = drive;
        } else {
                f->past_job = r->id;
                f->past_drive = drive;
        }
        return 0;
}

static void conclude(struct search *f, const char *serial)
{
        struct job_match *m = &f->m;

        if (f->docked_job > 0) {
                m->kind = JOB_MATCH_DOUBLE;
                m->job = f->docked_job;
                m->drive = f->docked_drive;
        } else if (m->n_wanted_by > 1) {
                m->kind = JOB_MATCH_SEVERAL;
                m->job = 0;
        } else if (m->n_wanted_by == 1) {
                m->kind = JOB_MATCH_ONE;
        } else if (f->done_job > 0) {
                m->kind = JOB_MATCH_ONE;
                m->job = f->done_job;
                m->drive = f->done_drive;
        } else if (f->past_job > 0) {
                m->kind = JOB_MATCH_PAST;
                m->job = f->past_job;
                m->drive = f->past_drive;
        } else {
                m->kind = JOB_MATCH_NONE;
        }
        if (m->kind != JOB_MATCH_SEVERAL)
                m->n_wanted_by = 0;
        if (m->kind == JOB_MATCH_SEVERAL)
                (void)snprintf(m->sentence, sizeof m->sentence,
                               "the jobs %s want the drive %s: match it by hand", f->names, serial);
        else if (m->kind == JOB_MATCH_DOUBLE)
                (void)snprintf(m->sentence, sizeof m->sentence,
                               "a drive with the serial number %s is in the bay %s already", serial,
                               f->docked_in);
        else
                (void)snprintf(m->sentence, sizeof m->sentence, "%s",
                               job_match_kind_sentence(m->kind));
}

int job_match(struct job_store *s, const char *serial, struct job_match *ret_match,
              struct bth_error *error)
{
        struct search f = { .m.kind = JOB_MATCH_NONE };
        char shown[256];
        int r;

        if (!job_serial_usable(serial)) {
                *ret_match = (struct job_match){ .kind = JOB_MATCH_UNUSABLE };
                (void)snprintf(ret_match->sentence, sizeof ret_match->sentence, "%s",
                               job_match_kind_sentence(JOB_MATCH_UNUSABLE));
                return 0;
        }
        r = job_store_named(s, serial, look_at, &f, error);
        if (r < 0)
                return r;
        conclude(&f, bth_escape(serial, strlen(serial), shown, sizeof shown));
        *ret_match = f.m;
        return 0;
}

int job_match_by_hand(struct job_store *s, uint64_t job, size_t drive, struct bth_error *error)
{
        static const struct job_policy policy;
        const struct job_input docked = { .kind = JOB_INPUT_DOCKED, .drive = drive };
        struct job_outcome outcome;
        struct job_record *record;
        int r = job_store_get(s, job, &record, error);

        if (r < 0)
                return r;
        /* Tried on a copy, at a time that starts no clock. */
        r = job_step(&record->model, &policy, &docked, record->model.created_usec, &outcome);
        (void)job_record_free(record);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_REFUSED, "%s", outcome.sentence);
        return 0;
}
