/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-jobs - the list of jobs, and one of them. */
#include <string.h>

#include "ctl/ctl.h"

/* The name of an account at the end of its resource id. */
static const char *short_account(const char *resource)
{
        const char *slash = strrchr(resource, '/');

        return slash && slash[1] != '\0' ? slash + 1 : resource;
}

static void add_job(struct ctl_table *t, const json_t *job)
{
        const json_t *alerts = json_object_get(job, "alerts");
        char time[CTL_TEXT_MAX];
        unsigned percent;

        ctl_table_add(t, ctl_text_of(job, "name"));
        ctl_table_add(t, ctl_text_of(job, "state"));
        if (ctl_percent_of(job, &percent))
                ctl_table_add_format(t, "%u%%", percent);
        else
                ctl_table_add(t, NULL);
        ctl_table_add_format(t, "%zu", json_array_size(json_object_get(job, "drives")));
        ctl_table_add(t, short_account(ctl_text_of(job, "account")));
        ctl_table_add(t, ctl_time_text(ctl_text_of(job, "created_at"), time));
        if (json_array_size(alerts) > 0)
                ctl_table_add(t, json_string_value(json_array_get(alerts, 0)));
        else
                ctl_table_add(t, json_is_true(json_object_get(job, "cancel_requested"))
                                         ? "cancelled"
                                         : NULL);
}

/* Asks for page after page, so that a long list costs neither side much memory. */
static enum ctl_exit list_jobs(struct ctl_client *k, struct ctl_pair *query, struct ctl_table *t)
{
        char next_text[32];
        uint64_t next, before = UINT64_MAX;

        for (;;) {
                json_t *answer, *job;
                size_t i;
                enum ctl_exit code = ctl_client_ask(
                        k, &(struct ctl_ask){ CTL_REQUEST_JOBS_LIST, .query = query }, &answer);

                if (code != CTL_EXIT_OK || k->context->json)
                        return code;
                json_array_foreach(json_object_get(answer, "jobs"), i, job) add_job(t, job);
                /* Ids only fall, or it would never end. */
                if (!ctl_number_of(answer, "next", &next) || next == 0 || next >= before)
                        return CTL_EXIT_OK;
                before = next;
                (void)snprintf(next_text, sizeof next_text, "%llu", (unsigned long long)next);
                query[0].value = next_text;
        }
}

static enum ctl_exit run_jobs(struct ctl_context *c, int argc, char **argv)
{
        static const struct ctl_column columns[] = {
                { "JOB", .may_shrink = true },     { "STATE" },
                { "DONE", .to_right = true },      { "DRIVES", .to_right = true },
                { "ACCOUNT", .may_shrink = true }, { "MADE" },
                { "NOTE", .may_shrink = true },
        };
        _cleanup_client_ struct ctl_client k = { 0 };
        _cleanup_table_ struct ctl_table t = CTL_TABLE(columns);
        struct ctl_pair query[] = { { "before", NULL }, { "state", NULL }, { NULL } };
        const struct ctl_option options[] = {
                { "state", "STATE", "only jobs in this state, for example Packaging",
                  .text = &query[1].value },
                { "before", "ID", "only jobs older than that of this id, as the answer names it",
                  .text = &query[0].value },
        };
        enum ctl_exit code;
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, options, ARRAY_SIZE(options), argc, argv, 0, 0, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        code = list_jobs(&k, query, &t);
        if (code != CTL_EXIT_OK || c->json)
                return code;
        if (t.n_cells == 0 && !t.failed) {
                ctl_say(c, "There are no such jobs.");
                return CTL_EXIT_OK;
        }
        return ctl_print(c, &t);
}

const struct ctl_verb ctl_jobs = {
        .name = "jobs",
        .summary = "Lists the jobs, newest first.",
        .details =
                "With --json it is one page; the member \"next\" is the --before of the next one.",
        .run = run_jobs,
};

/* ---- job show ---- */

static enum ctl_exit run_show(struct ctl_context *c, int argc, char **argv)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        _cleanup_table_ struct ctl_table facts = CTL_TABLE(ctl_fact_columns);
        _cleanup_table_ struct ctl_table drives = CTL_TABLE(ctl_drive_columns);
        json_t *answer, *drive;
        enum ctl_exit code;
        char **words;
        size_t i;
        int n, r;

        r = ctl_client_options(&k, c, NULL, 0, argc, argv, 1, 1, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        code = ctl_client_ask(&k, &(struct ctl_ask){ CTL_REQUEST_JOB_SHOW, .target = words[0] },
                              &answer);
        if (code != CTL_EXIT_OK || c->json)
                return code;
        ctl_job_facts(&facts, answer);
        json_array_foreach(json_object_get(answer, "drives"), i, drive)
                ctl_drive_row(&drives, drive);
        code = ctl_print(c, &facts);
        if (code != CTL_EXIT_OK)
                return code;
        ctl_say(c, "%s", "");
        return ctl_print(c, &drives);
}

const struct ctl_verb ctl_job_show = {
        .name = "job show",
        .arguments = "JOB",
        .summary = "Shows a job and its drives.",
        .run = run_show,
};
