/* SPDX-License-Identifier: GPL-3.0-or-later */
/* verbs-import - a job from journals that came in a request, and journals for a job that came
 * without. The journals hold keys: they go from the request into sealed memory, and the request is
 * wiped (daemon/verb.c). */
#include <string.h>

#include "base/time.h"
#include "daemon/import.h"
#include "daemon/verbs-store.h"
#include "jobs/match.h"

struct dmn_import_call {
        struct dmn_import_call *next;
        struct dmn_station *station;
        struct dmn_call *call;
        struct dmn_importing *importing; /* one of the two */
        struct dmn_journals *reading;
};

static void import_call_free(struct dmn_import_call *i)
{
        struct dmn_import_call **at = &i->station->imports;

        while (*at && *at != i)
                at = &(*at)->next;
        if (*at)
                *at = i->next;
        (void)dmn_import_free(i->importing);
        (void)dmn_journals_free(i->reading);
        free(i);
}

void dmn_imports_end(struct dmn_station *s)
{
        while (s->imports) {
                struct dmn_call *c = s->imports->call;

                import_call_free(s->imports);
                dmn_call_refuse(c, -ECANCELED, BTH_REASON_CANCELLED, "the station is stopping");
        }
}

/* --- the answer --- */

static int run_show(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        int r = job_store_get(store, sc->job, &record, error);

        if (r < 0)
                return r;
        sc->answer = json_pack("{s:s++,s:o}", "sentence", "job '", record->name, "' was made",
                               "job", dmn_job_view(record));
        sc->changed = true;
        return 0;
}

static json_t *notes_view(const struct dmn_journal_note *notes, size_t n_notes)
{
        json_t *list = json_array();

        for (size_t i = 0; i < n_notes; i++) {
                const struct dmn_journal_note *n = &notes[i];

                (void)json_array_append_new(list, json_pack("{s:s,s:I,s:s,s:s,s:s*}", "journal",
                                                            n->journal, "line", (json_int_t)n->line,
                                                            "name", n->name, "sentence",
                                                            n->sentence, "advice", n->advice));
        }
        return json_pack("{s:o}", "notes", list);
}

static void on_imported(void *userdata, const struct dmn_imported *imported,
                        const struct bth_error *error)
{
        struct dmn_import_call *i = userdata;
        struct dmn_station *s = i->station;
        struct dmn_call *c = i->call;

        if (imported) {
                const struct dmn_store_call show = {
                        .station = s,
                        .call = c,
                        .run = run_show,
                        .job = imported->job,
                        .extra = notes_view(imported->notes, imported->n_notes),
                };

                dmn_store_begin(&show, NULL);
        } else {
                (void)dmn_station_store_failed(s, error->code, error);
                dmn_call_fail(c, error);
        }
        import_call_free(i);
}

/* --- the request --- */

static int read_flag(const struct dmn_call *c, const char *member, int *ret,
                     struct bth_error *error)
{
        bool value = false;
        int r = dmn_call_bool(c, member, &value, error);

        *ret = json_is_boolean(json_object_get(c->body, member)) ? value : -1;
        return r;
}

static int read_members(const struct dmn_call *c, struct dmn_import *import,
                        struct bth_error *error)
{
        int r = dmn_call_text(c, "name", &import->name, error);

        if (r == 0)
                r = dmn_call_text(c, "account", &import->account, error);
        if (r == 0)
                r = dmn_call_text(c, "location", &import->location, error);
        if (r == 0)
                r = dmn_call_bool(c, "shipped", &import->shipped, error);
        if (r == 0)
                r = read_flag(c, "verbose_log", &import->verbose_log, error);
        if (r == 0)
                r = read_flag(c, "backup_manifest", &import->backup_manifest, error);
        if (r == 0)
                r = read_flag(c, "accept_unshipped", &import->accept_unshipped, error);
        if (r == 0 && !import->account)
                r = bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING, "'account' is missing");
        return r;
}

/* {"name":…,"text":…}; the text may be large, and holds keys. */
static int read_journal(const json_t *j, struct dmn_journal **ret, struct bth_error *error)
{
        const json_t *text = json_object_get(j, "text"), *name = json_object_get(j, "name");

        if (!json_is_string(text) || (name && !json_is_string(name)) ||
            json_object_size(j) != (size_t)1 + (name != NULL))
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "each of 'journals' has to be an object with the texts "
                                     "'name' and 'text'");
        return dmn_journal_new(json_string_value(name), json_string_value(text),
                               json_string_length(text), ret, error);
}

static int read_journals(const struct dmn_call *c, struct dmn_journal **journals, size_t *ret_n,
                         struct bth_error *error)
{
        const json_t *list = json_object_get(c->body, "journals"), *one;
        int r = 0;
        size_t i;

        if (!json_is_array(list) || json_array_size(list) < 1 ||
            json_array_size(list) > BTH_JOURNALS_MAX)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "'journals' has to be a list of 1 to %u journals",
                                     (unsigned)BTH_JOURNALS_MAX);
        json_array_foreach((json_t *)list, i, one)
        {
                r = read_journal(one, &journals[i], error);
                if (r < 0)
                        break;
                *ret_n = i + 1;
        }
        return r;
}

/* --- journals for a job --- */

/* What the job says of a drive, and over it what a journal says. */
static struct job_draft_drive draft_of(const struct job_record_drive *had,
                                       const struct job_draft_drive *journal)
{
        struct job_draft_drive d = { .serial = had->serial,
                                     .manifest_file = had->manifest_file,
                                     .manifest_hash = had->manifest_hash,
                                     .header_hash = had->header_hash };

        if (!journal)
                return d;
        d.manifest_file = journal->manifest_file ? journal->manifest_file : d.manifest_file;
        d.manifest_hash = journal->manifest_hash ? journal->manifest_hash : d.manifest_hash;
        d.header_hash = journal->header_hash ? journal->header_hash : d.header_hash;
        d.key = journal->key;
        return d;
}

static int lay_over(const struct job_record *r, const struct job_draft_drive *said, size_t n,
                    struct job_draft_drive ret[JOB_MAX_DRIVES], struct bth_error *error)
{
        size_t used = 0;

        for (size_t i = 0; i < r->model.n_drives; i++) {
                const struct job_draft_drive *journal = NULL;

                for (size_t k = 0; k < n; k++)
                        if (job_serial_equal(said[k].serial, r->drives[i].serial))
                                journal = &said[k];
                ret[i] = draft_of(&r->drives[i], journal);
                used += journal != NULL;
        }
        for (size_t k = 0; k < n && used < n; k++) {
                size_t i = 0;

                while (i < r->model.n_drives &&
                       !job_serial_equal(said[k].serial, r->drives[i].serial))
                        i++;
                if (i == r->model.n_drives)
                        return bth_error_set(error, -ENOENT, BTH_REASON_NOT_FOUND,
                                             "the journals name the drive '%s', which the job '%s' "
                                             "does not have",
                                             said[k].serial, r->name);
        }
        return 0;
}

static int run_journals(struct job_store *store, struct dmn_store_call *sc, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL, *after = NULL;
        struct job_draft_drive said[JOB_MAX_DRIVES], drives[JOB_MAX_DRIVES];
        size_t n = 0;
        int r = dmn_find_job(store, sc->call, sc->call->target, &record, error);

        if (r == 0)
                r = job_merge_drives(sc->read->drafts, sc->read->n_drives, said, &n, error);
        if (r == 0)
                r = lay_over(record, said, n, drives, error);
        if (r == 0)
                r = job_admit_drives(store, record->id, drives, record->model.n_drives, error);
        if (r == 0)
                r = job_store_set_drives(store, record->id, drives, record->model.n_drives,
                                         &sc->policy, bth_now_realtime_usec(), sc->call->who,
                                         error);
        if (r == 0)
                r = job_store_get(store, record->id, &after, error);
        if (r < 0)
                return r;
        sc->changed = true;
        sc->answer = json_pack("{s:s++,s:o}", "sentence", "the drives of the job '", after->name,
                               "' are as the journals say", "job", dmn_job_view(after));
        return 0;
}

static void on_read(void *userdata, struct dmn_journals_result *result,
                    const struct bth_error *error)
{
        struct dmn_import_call *i = userdata;

        if (result) {
                const struct dmn_store_call change = {
                        .station = i->station,
                        .call = i->call,
                        .run = run_journals,
                        .extra = notes_view(result->notes, result->n_notes),
                        .read = result,
                };

                dmn_store_begin(&change, NULL);
        } else {
                dmn_call_fail(i->call, error);
        }
        import_call_free(i);
}

static int begin_reading(struct dmn_import_call *i, struct dmn_journal **journals,
                         struct bth_error *error)
{
        static const char *const members[] = { "journals", "scope", NULL };
        size_t n = 0;
        int r = dmn_call_members(i->call, members, error);

        if (r == 0)
                r = read_journals(i->call, journals, &n, error);
        return r < 0 ? r
                     : dmn_journals_read(dmn_station_loop(i->station),
                                         dmn_config_worker(dmn_station_config(i->station)),
                                         journals, n, on_read, i, &i->reading, error);
}

/* --- both --- */

static int begin(struct dmn_import_call *i, struct dmn_journal **journals, struct bth_error *error)
{
        static const char *const members[] = { "name",     "account",          "location",
                                               "shipped",  "verbose_log",      "backup_manifest",
                                               "journals", "accept_unshipped", NULL };
        struct dmn_import import = { .journals = journals, .who = i->call->who };
        struct dmn_station *s = i->station;
        int r = dmn_call_members(i->call, members, error);

        if (r == 0)
                r = read_members(i->call, &import, error);
        if (r == 0)
                r = read_journals(i->call, journals, &import.n_journals, error);
        if (r == 0)
                r = dmn_import_begin(dmn_station_loop(s), dmn_station_store(s),
                                     dmn_station_config(s), &import, on_imported, i, &i->importing,
                                     error);
        return r;
}

static void take_call(struct dmn_station *s, struct dmn_call *c,
                      int (*start)(struct dmn_import_call *i, struct dmn_journal **journals,
                                   struct bth_error *error))
{
        struct dmn_journal *journals[BTH_JOURNALS_MAX] = { NULL };
        struct dmn_import_call *i = calloc(1, sizeof *i);
        struct bth_error error = BTH_ERROR_INIT;
        int r = i ? 0 : -ENOMEM;

        if (i) {
                *i = (struct dmn_import_call){ .next = s->imports, .station = s, .call = c };
                s->imports = i;
                r = start(i, journals, &error);
        }
        for (size_t k = 0; k < ARRAY_SIZE(journals); k++)
                (void)dmn_journal_free(journals[k]);
        if (r == 0)
                return;
        if (error.code == 0)
                (void)bth_error_set(&error, r, BTH_REASON_OUT_OF_MEMORY,
                                    "there is no memory for the journals");
        if (i)
                import_call_free(i);
        dmn_call_fail(c, &error);
}

void dmn_do_job_import(struct dmn_station *s, struct dmn_call *c)
{
        take_call(s, c, begin);
}

void dmn_do_job_journals(struct dmn_station *s, struct dmn_call *c)
{
        take_call(s, c, begin_reading);
}
