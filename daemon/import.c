/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/import.h"

#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "jobs/match.h"

#define NAMES_TRIED 99u /* "lab", "lab-2", …: of names that are made here */

struct dmn_importing {
        struct job_thread *store;
        dmn_import_fn done; /* NULL: nobody waits any more */
        void *userdata;
        struct dmn_journals *reading;
        struct dmn_journals_result *read;
        bool telling, freed; /* done() is being called; it freed the import */
        bool in_store;       /* then all below belongs to the store's thread */

        struct job_draft draft; /* its texts are ours */
        char **serials;         /* that are wanted */
        size_t n_serials;
        char *who;
        bool foreign_name, made_name, shipped, once;
        unsigned max_active;

        struct job_draft_drive drives[JOB_MAX_DRIVES]; /* borrow from `read` */
        char name[DMN_IMPORT_NAME_MAX];
        uint64_t job;
        bool already;
};

static int no_memory(struct bth_error *error)
{
        return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory for a job");
}

/* --- names --- */

static bool is_letter(char c)
{
        return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

void dmn_import_name(const char *file, char ret_name[DMN_IMPORT_NAME_MAX])
{
        const char *slash = strrchr(file, '/');
        size_t n = 0, length;
        const char *end;

        file = slash ? slash + 1 : file;
        end = strrchr(file, '.');
        length = end && end > file ? (size_t)(end - file) : strlen(file);
        for (size_t i = 0; i < length && n < JOB_NAME_MAX; i++) {
                const char c =
                        file[i] >= 'A' && file[i] <= 'Z' ? (char)(file[i] - 'A' + 'a') : file[i];

                if (n == 0 && !is_letter(c) && is_digit(c))
                        n = (size_t)snprintf(ret_name, DMN_IMPORT_NAME_MAX, "job-");
                if (is_letter(c) || is_digit(c))
                        ret_name[n++] = c;
                else if (n > 0 && ret_name[n - 1] != '-')
                        ret_name[n++] = '-';
        }
        while (n > 0 && ret_name[n - 1] == '-')
                n--;
        ret_name[n] = '\0';
        if (n < JOB_NAME_MIN)
                (void)snprintf(ret_name + n, DMN_IMPORT_NAME_MAX - n, n > 0 ? "-job" : "job");
}

/* Cuts the name so that its number fits behind it. */
static void number_name(const char *name, unsigned number, char ret_name[DMN_IMPORT_NAME_MAX])
{
        char tail[16];
        size_t keep = strlen(name);

        (void)snprintf(tail, sizeof tail, "-%u", number);
        keep = MIN(keep, JOB_NAME_MAX - strlen(tail));
        while (keep > 0 && name[keep - 1] == '-')
                keep--;
        (void)snprintf(ret_name, DMN_IMPORT_NAME_MAX, "%.*s%s", (int)keep, name, tail);
}

/* --- on the store's thread --- */

static int find_made(struct job_store *s, struct dmn_importing *i, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        int r = job_store_find_journal(s, i->draft.journal_sha256, &record, error);

        if (r == -ENOENT) {
                bth_error_clear(error);
                return 0;
        }
        if (r < 0)
                return r;
        i->already = true;
        i->job = record->id;
        (void)snprintf(i->name, sizeof i->name, "%s", record->name);
        return 0;
}

static int pick_name(struct job_store *s, struct dmn_importing *i, struct bth_error *error)
{
        int r = 0;

        (void)snprintf(i->name, sizeof i->name, "%s", i->draft.name);
        for (unsigned number = 2; i->made_name && number <= NAMES_TRIED && r == 0; number++) {
                _cleanup_(job_record_freep) struct job_record *record = NULL;

                r = job_store_find(s, i->draft.scope, i->name, &record, error);
                if (r == 0)
                        number_name(i->draft.name, number, i->name);
        }
        if (r == -ENOENT) {
                bth_error_clear(error);
                r = 0;
        }
        return r;
}

static int find_or_make(struct job_store *s, struct dmn_importing *i, struct bth_error *error)
{
        struct job_draft draft;
        int r = i->once ? find_made(s, i, error) : 0;

        if (r < 0 || i->already)
                return r;
        r = pick_name(s, i, error);
        if (r < 0)
                return r;
        draft = i->draft;
        draft.name = i->name;
        r = job_admit(s, &draft, i->foreign_name, i->max_active, error);
        if (r == 0)
                r = job_store_add(s, &draft, i->shipped, bth_now_realtime_usec(), i->who, &i->job,
                                  error);
        return r;
}

/* What the rules say of it still holds when it is written. */
static int make_job(struct job_store *s, void *userdata, struct bth_error *error)
{
        int r = job_store_begin(s, error);

        return r < 0 ? r : job_store_end(s, find_or_make(s, userdata, error), error);
}

/* --- ending --- */

static void free_const(const char *text)
{
        free((char *)(uintptr_t)text);
}

static void destroy(struct dmn_importing *i)
{
        const struct job_draft *d = &i->draft;
        const char *const texts[] = { d->scope,    d->name,         d->account,
                                      d->location, d->diagnostics,  d->origin,
                                      d->tags,     d->journal_name, d->journal_sha256 };

        (void)dmn_journals_free(i->reading);
        (void)dmn_journals_result_free(i->read);
        for (size_t k = 0; k < ARRAY_SIZE(texts); k++)
                free_const(texts[k]);
        for (size_t k = 0; k < _JOB_PERSONAL_MAX; k++)
                free_const(d->personal[k]);
        for (size_t k = 0; k < i->n_serials; k++)
                free(i->serials[k]);
        free(i->serials);
        free(i->who);
        free(i);
}

struct dmn_importing *dmn_import_free(struct dmn_importing *i)
{
        if (!i)
                return NULL;
        i->done = NULL;
        i->freed = true;
        if (!i->in_store && !i->telling) /* else on_stored() or finish() does it */
                destroy(i);
        return NULL;
}

/* Calls done(), after which `i` may be gone. */
static void finish(struct dmn_importing *i, const struct bth_error *error)
{
        dmn_import_fn done = i->done;
        const struct dmn_imported imported = { .job = i->job,
                                               .name = i->name,
                                               .already = i->already,
                                               .notes = i->read ? i->read->notes : NULL,
                                               .n_notes = i->read ? i->read->n_notes : 0 };

        i->done = NULL;
        i->telling = true;
        if (done)
                done(i->userdata, error ? NULL : &imported, error);
        i->telling = false;
        if (i->freed)
                destroy(i);
}

static void on_stored(void *userdata, int r, const struct bth_error *error)
{
        struct dmn_importing *i = userdata;

        i->in_store = false;
        if (i->freed)
                destroy(i);
        else
                finish(i, r < 0 ? error : NULL);
}

/* --- between journals and store --- */

static bool is_wanted(const struct dmn_importing *i, const char *serial)
{
        for (size_t k = 0; k < i->n_serials; k++)
                if (job_serial_equal(i->serials[k], serial))
                        return true;
        return i->n_serials == 0;
}

static int check_wanted(const struct dmn_importing *i, struct bth_error *error)
{
        for (size_t k = 0; k < i->n_serials; k++) {
                bool found = false;

                for (size_t d = 0; d < i->read->n_drives && !found; d++)
                        found = job_serial_equal(i->serials[k], i->read->drafts[d].serial);
                if (!found)
                        return bth_error_set(error, -ENOENT, BTH_REASON_NOT_FOUND,
                                             "no journal names the drive '%s'", i->serials[k]);
        }
        return 0;
}

static int merge(struct dmn_importing *i, struct bth_error *error)
{
        size_t n = 0;
        int r = check_wanted(i, error);

        for (size_t d = 0; d < i->read->n_drives && r == 0; d++)
                if (is_wanted(i, i->read->drafts[d].serial))
                        i->read->drafts[n++] = i->read->drafts[d];
        if (r == 0)
                r = job_merge_drives(i->read->drafts, n, i->drives, &i->draft.n_drives, error);
        i->draft.drives = i->drives;
        return r;
}

static void on_read(void *userdata, struct dmn_journals_result *result,
                    const struct bth_error *error)
{
        struct dmn_importing *i = userdata;
        struct bth_error e = BTH_ERROR_INIT;
        int r;

        i->reading = dmn_journals_free(i->reading);
        i->read = result;
        if (!result) {
                finish(i, error);
                return;
        }
        r = merge(i, &e);
        if (r == 0) {
                r = job_thread_submit(i->store, make_job, on_stored, i);
                i->in_store = r == 0;
                if (r < 0)
                        (void)bth_error_set(&e, r, BTH_REASON_REFUSED,
                                            "the station has too much to do to make a job now");
        }
        if (r < 0)
                finish(i, &e);
}

/* --- beginning --- */

static bool copy_text(const char **to, const char *from)
{
        *to = from && *from ? strdup(from) : NULL;
        return !from || !*from || *to;
}

static bool copy_serials(struct dmn_importing *i, const struct dmn_import *from)
{
        if (from->n_serials == 0)
                return true;
        i->serials = calloc(from->n_serials, sizeof *i->serials);
        if (!i->serials)
                return false;
        for (; i->n_serials < from->n_serials; i->n_serials++) {
                i->serials[i->n_serials] = strdup(from->serials[i->n_serials]);
                if (!i->serials[i->n_serials])
                        return false;
        }
        return true;
}

static int choose(int given, bool configured)
{
        return given < 0 ? configured : given != 0;
}

/* The texts of the draft, and what the configuration adds. */
static bool copy_draft(struct dmn_importing *i, const struct dmn_config *c,
                       const struct dmn_account_config *a, const struct dmn_import *from)
{
        struct job_draft *d = &i->draft;
        char made[DMN_IMPORT_NAME_MAX], sha256[65] = "";
        bool good = true;

        dmn_import_name(from->base_name ? from->base_name : from->journals[0]->name, made);
        i->made_name = !from->name;
        d->verbose_log = choose(from->verbose_log, c->verbose_log);
        d->backup_manifest = choose(from->backup_manifest, c->manifest_backup);
        d->accept_unshipped = choose(from->accept_unshipped, c->accept_unshipped);
        if (dmn_journals_sha256(from->journals, from->n_journals, sha256) < 0)
                return false;
        for (size_t k = 0; k < _JOB_PERSONAL_MAX; k++)
                good &= copy_text(&d->personal[k], from->personal[k]);
        return good && copy_text(&d->scope, from->scope) &&
               copy_text(&d->name, from->name ? from->name : made) &&
               copy_text(&d->account, a->resource_id ? a->resource_id : a->name) &&
               copy_text(&d->location, from->location ? from->location : c->location) &&
               copy_text(&d->diagnostics, from->diagnostics) &&
               copy_text(&d->origin, from->origin ? from->origin : "journal") &&
               copy_text(&d->tags, from->tags) &&
               copy_text(&d->journal_name, from->journals[0]->name) &&
               copy_text(&d->journal_sha256, sha256) && copy_serials(i, from);
}

static int check_import(const struct dmn_config *c, const struct dmn_import *from,
                        const struct dmn_account_config **ret_account, struct bth_error *error)
{
        const struct dmn_account_config *a;

        if (from->n_journals == 0)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING,
                                     "there is no journal to make a job from");
        if (from->n_journals > BTH_JOURNALS_MAX)
                return bth_error_set(error, -E2BIG, BTH_REASON_LIMIT_EXCEEDED,
                                     "more than %u journals at once", BTH_JOURNALS_MAX);
        if (!from->account || !*from->account)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING,
                                     "the job names no storage account");
        a = dmn_config_account(c, from->account);
        if (!a)
                return bth_error_set(error, -ENOENT, BTH_REASON_NOT_FOUND,
                                     "the storage account '%s' is not configured", from->account);
        for (size_t k = 0; k < _JOB_PERSONAL_MAX; k++)
                if (from->personal[k] && strlen(from->personal[k]) > JOB_STORE_TEXT_MAX)
                        return bth_error_set(error, -EINVAL, BTH_REASON_TOO_LARGE,
                                             "'%s' is too long",
                                             job_personal_to_string((enum job_personal)k));
        *ret_account = a;
        return from->name ? job_name_check(from->name, from->foreign_name, error) : 0;
}

int dmn_import_begin(sd_event *loop, struct job_thread *store, const struct dmn_config *config,
                     const struct dmn_import *import, dmn_import_fn done, void *userdata,
                     struct dmn_importing **ret_importing, struct bth_error *error)
{
        _cleanup_(dmn_import_freep) struct dmn_importing *i = NULL;
        const struct dmn_account_config *account = NULL;
        int r = check_import(config, import, &account, error);

        if (r < 0)
                return r;
        i = calloc(1, sizeof *i);
        if (!i)
                return no_memory(error);
        i->store = store;
        i->done = done;
        i->userdata = userdata;
        i->foreign_name = import->foreign_name;
        i->shipped = import->shipped;
        i->once = import->once;
        i->max_active = (unsigned)config->max_jobs;
        i->who = import->who ? strdup(import->who) : NULL;
        if ((import->who && !i->who) || !copy_draft(i, config, account, import))
                return no_memory(error);
        r = dmn_journals_read(loop, dmn_config_worker(config), import->journals, import->n_journals,
                              on_read, i, &i->reading, error);
        if (r < 0)
                return r;
        *ret_importing = take_ptr(i);
        return 0;
}
