/* SPDX-License-Identifier: GPL-3.0-or-later */
/* verbs-import - a job from journals that came in a request. The journals hold keys: they go from
 * the request into sealed memory, and the request is wiped (daemon/verb.c). */
#include <string.h>

#include "daemon/import.h"
#include "daemon/verbs-store.h"

struct dmn_import_call {
        struct dmn_import_call *next;
        struct dmn_station *station;
        struct dmn_call *call;
        struct dmn_importing *importing;
};

static void import_call_free(struct dmn_import_call *i)
{
        struct dmn_import_call **at = &i->station->imports;

        while (*at && *at != i)
                at = &(*at)->next;
        if (*at)
                *at = i->next;
        (void)dmn_import_free(i->importing);
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

static json_t *notes_view(const struct dmn_imported *imported)
{
        json_t *list = json_array();

        for (size_t i = 0; i < imported->n_notes; i++) {
                const struct dmn_journal_note *n = &imported->notes[i];

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
                        .extra = notes_view(imported),
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

void dmn_do_job_import(struct dmn_station *s, struct dmn_call *c)
{
        struct dmn_journal *journals[BTH_JOURNALS_MAX] = { NULL };
        struct dmn_import_call *i = calloc(1, sizeof *i);
        struct bth_error error = BTH_ERROR_INIT;
        int r = i ? 0 : -ENOMEM;

        if (i) {
                *i = (struct dmn_import_call){ .next = s->imports, .station = s, .call = c };
                s->imports = i;
                r = begin(i, journals, &error);
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
