/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-list - which drives and sessions a journal names, and whether each drive is ready for a job.
 */
#include <string.h>

#include "ctl/prep-journal.h"
#include "ctl/prep.h"

static const char *readiness(const struct med_journal_drive *d)
{
        if (!d->manifest_file || !d->manifest_hash)
                return "not finished";
        return d->key_form == MED_KEY_FORM_NUMERICAL || d->key_form == MED_KEY_FORM_EXTERNAL
                       ? "ready"
                       : "key missing";
}

static void list_drive(struct ctl_context *c, json_t *list, const char *path,
                       const struct med_journal_drive *d)
{
        ctl_say(c, "%-24s %-12s key: %-10s manifest: %s %s", d->drive_id, readiness(d),
                med_key_form_to_string(d->key_form), d->manifest_file ? d->manifest_file : "-",
                d->manifest_hash ? d->manifest_hash : "");
        (void)json_array_append_new(
                list, json_pack("{s:s, s:s, s:s, s:s, s:s*, s:s*}", "journal", path, "driveId",
                                d->drive_id, "state", readiness(d), "keyForm",
                                med_key_form_to_string(d->key_form), "manifestFile",
                                d->manifest_file, "manifestHash", d->manifest_hash));
}

struct sessions {
        struct ctl_context *context;
        json_t *list;
        const char *path;
};

static void list_session(void *userdata, const char *id, enum ctl_session_state state)
{
        const struct sessions *s = userdata;

        ctl_say(s->context, "session %-30s %s", id, ctl_session_state_to_string(state));
        (void)json_array_append_new(s->list,
                                    json_pack("{s:s, s:s, s:s}", "journal", s->path, "session", id,
                                              "state", ctl_session_state_to_string(state)));
}

static enum ctl_exit run(struct ctl_context *c, int argc, char **argv)
{
        struct ctl_findings findings = { .context = c };
        struct bth_error error = BTH_ERROR_INIT;
        json_t *list = json_array();
        struct sessions sessions = { .context = c, .list = json_array() };
        char **words;
        int n;
        int r = ctl_parse_options(c, NULL, 0, argc, argv, 1, 1000, &words, &n);

        ctl_report(c, "drives", list);
        ctl_report(c, "sessions", sessions.list);
        if (r != 0)
                return r > 0 ? CTL_EXIT_OK : CTL_EXIT_USAGE;
        for (int i = 0; i < n; i++) {
                const struct med_findings to = { ctl_findings_take, &findings, words[i] };
                _cleanup_(med_journal_freep) struct med_journal *j = NULL;

                if (med_journal_load(words[i], &to, &j, &error) < 0) {
                        ctl_fail(c, &error);
                        return CTL_EXIT_FAILED;
                }
                for (size_t k = 0; k < j->n_drives; k++)
                        list_drive(c, list, words[i], &j->drives[k]);
                sessions.path = words[i];
                ctl_journal_each_session(j, list_session, &sessions);
        }
        return findings.n_errors > 0 ? CTL_EXIT_FINDINGS : CTL_EXIT_OK;
}

const struct ctl_verb ctl_prep_list = {
        .name = "list",
        .arguments = "JOURNAL…",
        .summary = "Lists the drives and sessions that journals name, and whether each drive is "
                   "ready for a job.",
        .details = "Reads .jrn files of every version and the per-drive files made from them. Keys "
                   "are\n"
                   "never printed. Exit code 1 when a drive is not ready.",
        .run = run,
};
