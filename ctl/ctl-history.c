/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-history - what happened: history, receipt, logs. */
#include <string.h>

#include "base/io.h"
#include "ctl/ctl.h"
#include "jobs/words.h"

#define PAGE_TEXT     "1000"
#define HISTORY_LINES 100 /* that are shown when nothing else is said */
#define HISTORY_MAX   1000000

/* ---- history ---- */

static const char *first_of(const json_t *data, const char *const *keys)
{
        for (; *keys; keys++)
                if (ctl_text_of(data, *keys)[0] != '\0')
                        return ctl_text_of(data, *keys);
        return "";
}

static void add_event(struct ctl_table *t, const json_t *e)
{
        static const char *const telling[] = { "sentence",   "warning", "alert", "activity",
                                               "copyStatus", "state",   "ended", NULL };
        const char *kind = ctl_text_of(e, "kind");
        const enum job_change_kind known = job_change_kind_from_string(kind);
        const json_t *data = json_object_get(e, "data");
        const json_t *percent = json_object_get(data, "percentComplete");
        char time[CTL_TEXT_MAX];

        ctl_table_add(t, ctl_time_text(ctl_text_of(e, "time"), time));
        ctl_table_add(t, ctl_text_of(e, "job"));
        ctl_table_add(t, ctl_text_of(e, "serial"));
        ctl_table_add(t, ctl_text_of(data, "bay"));
        ctl_table_add(t, known == _JOB_CHANGE_INVALID ? kind : job_change_kind_sentence(known));
        if (known == JOB_CHANGE_DRIVE_PROGRESS && json_is_number(percent))
                ctl_table_add_format(t, "%.0f%%", json_number_value(percent));
        else if (known == JOB_CHANGE_DRIVE_STATE)
                ctl_table_add_format(t, "%s %s", ctl_text_of(data, "state"),
                                     ctl_text_of(data, "copyStatus"));
        else
                ctl_table_add(t, first_of(data, telling));
        ctl_table_add(t, ctl_text_of(e, "who"));
}

/* Newest first from the station, so that the newest are had however long the history is. */
static enum ctl_exit collect(struct ctl_client *k, struct ctl_pair *query, uint64_t lines,
                             json_t *events)
{
        uint64_t before = UINT64_MAX, next;
        char text[32];

        for (;;) {
                json_t *answer, *e;
                size_t i;
                enum ctl_exit code = ctl_client_ask(
                        k, &(struct ctl_ask){ CTL_REQUEST_EVENTS_LIST, .query = query }, &answer);

                if (code != CTL_EXIT_OK || k->context->json)
                        return code;
                json_array_foreach(json_object_get(answer, "events"), i,
                                   e) if (json_array_size(events) < lines)(void)
                        json_array_append(events, e);
                if (json_array_size(events) >= lines || !ctl_number_of(answer, "next", &next) ||
                    next == 0 || next >= before)
                        return CTL_EXIT_OK;
                before = next;
                (void)snprintf(text, sizeof text, "%llu", (unsigned long long)next);
                query[0].value = text;
        }
}

static enum ctl_exit show_history(struct ctl_context *c, const json_t *events)
{
        static const struct ctl_column columns[] = {
                { "TIME" },
                { "JOB", .may_shrink = true },
                { "DRIVE", .may_shrink = true },
                { "BAY" },
                { "WHAT", .may_shrink = true },
                { "HOW", .may_shrink = true },
                { "WHO", .may_shrink = true },
        };
        _cleanup_table_ struct ctl_table t = CTL_TABLE(columns);

        for (size_t i = json_array_size(events); i > 0; i--)
                add_event(&t, json_array_get(events, i - 1));
        if (t.n_cells == 0 && !t.failed) {
                ctl_say(c, "Nothing happened.");
                return CTL_EXIT_OK;
        }
        return ctl_print(c, &t);
}

/* Is it the name of a job? Else it is that of a drive, which may be in no job. */
static enum ctl_exit whose(struct ctl_client *k, const char *name, struct ctl_pair *job,
                           struct ctl_pair *drive)
{
        struct bth_error error = BTH_ERROR_INIT;
        int r = ctl_client_send(k, &(struct ctl_ask){ CTL_REQUEST_JOB_SHOW, .target = name }, NULL,
                                &error);

        if (r < 0 && r != -ENOENT)
                return ctl_client_fail(k, &error);
        *(r == 0 ? &job->value : &drive->value) = name;
        return CTL_EXIT_OK;
}

static int parse_lines(const char *value, void *userdata)
{
        uint64_t n;
        int r = bth_parse_u64(value, &n);

        if (r < 0 || n < 1 || n > HISTORY_MAX)
                return -EINVAL;
        *(uint64_t *)userdata = n;
        return 0;
}

static enum ctl_exit run_history(struct ctl_context *c, int argc, char **argv)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        _cleanup_json_ json_t *events = json_array();
        struct ctl_pair query[] = { { "before", NULL },     { "job", NULL },
                                    { "drive", NULL },      { "order", "newest" },
                                    { "limit", PAGE_TEXT }, { NULL } };
        uint64_t lines = HISTORY_LINES;
        const struct ctl_option options[] = {
                { "lines", "N", "how many of the newest are shown; 100 when not given",
                  .parse = parse_lines, .userdata = &lines },
                { "before", "SEQUENCE", "only what happened before this one",
                  .text = &query[0].value },
        };
        enum ctl_exit code = CTL_EXIT_OK;
        char limit[32], **words;
        int n, r;

        r = ctl_client_options(&k, c, options, ARRAY_SIZE(options), argc, argv, 0, 1, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        if (n == 1)
                code = whose(&k, words[0], &query[1], &query[2]);
        (void)snprintf(limit, sizeof limit, "%llu", (unsigned long long)MIN(lines, UINT64_C(1000)));
        query[4].value = limit;
        if (code == CTL_EXIT_OK)
                code = collect(&k, query, lines, events);
        return code != CTL_EXIT_OK || c->json ? code : show_history(c, events);
}

const struct ctl_verb ctl_history = {
        .name = "history",
        .arguments = "[DRIVE|JOB]",
        .summary = "Shows what happened, to all or to one drive or job; the newest is last.",
        .run = run_history,
};

/* ---- receipt ---- */

static void print_text(struct ctl_context *c, const char *text)
{
        while (*text != '\0') {
                const size_t n = strcspn(text, "\n");
                char shown[4096];

                ctl_say(c, "%s", bth_escape(text, n, shown, sizeof shown));
                text += n + (text[n] == '\n');
        }
}

static enum ctl_exit write_receipt(struct ctl_context *c, const char *path, const char *text)
{
        struct bth_error error = BTH_ERROR_INIT;
        int r = bth_write_file_atomic(path, text, strlen(text), 0644);

        if (r >= 0) {
                ctl_say(c, "The receipt is in %s.", path);
                return CTL_EXIT_OK;
        }
        bth_error_at(&error, path, 0, BTH_ERROR_NO_OFFSET);
        (void)bth_error_set(&error, r, BTH_REASON_FILE_UNWRITABLE,
                            "the receipt cannot be written: %s", bth_strerror(r));
        ctl_fail(c, &error);
        return CTL_EXIT_FAILED;
}

static enum ctl_exit run_receipt(struct ctl_context *c, int argc, char **argv)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        struct ctl_pair query[] = { { "job", NULL }, { NULL } };
        const char *file = NULL;
        const struct ctl_option options[] = {
                CTL_OPTION_JOB(&query[0].value),
                { "output", "FILE", "write it there", .text = &file },
        };
        _cleanup_free_ char *json = NULL;
        enum ctl_exit code;
        json_t *answer;
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, options, ARRAY_SIZE(options), argc, argv, 1, 1, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        code = ctl_client_ask(
                &k,
                &(struct ctl_ask){ CTL_REQUEST_DRIVE_RECEIPT, .target = words[0], .query = query },
                &answer);
        if (code != CTL_EXIT_OK)
                return code;
        if (c->json && file) {
                json = json_dumps(answer, JSON_INDENT(2));
                return json ? write_receipt(c, file, json) : CTL_EXIT_FAILED;
        }
        if (file)
                return write_receipt(c, file, ctl_text_of(answer, "text"));
        print_text(c, ctl_text_of(answer, "text"));
        return CTL_EXIT_OK;
}

const struct ctl_verb ctl_receipt = {
        .name = "receipt",
        .arguments = "DRIVE",
        .summary = "Tells what happened to a drive while the station had it, for its owner.",
        .run = run_receipt,
};

/* ---- logs ---- */

static void add_run(struct ctl_table *t, const json_t *run)
{
        char time[CTL_TEXT_MAX], bytes[32];
        const char *sentence = ctl_text_of(run, "sentence");
        uint64_t n;

        ctl_table_add(t, ctl_time_text(ctl_text_of(run, "ended_at"), time));
        ctl_table_add(t, ctl_text_of(run, "end"));
        ctl_table_add(t, ctl_text_of(run, "copy_status"));
        if (ctl_number_of(run, "blobs", &n))
                ctl_table_add_format(t, "%llu", (unsigned long long)n);
        else
                ctl_table_add(t, NULL);
        ctl_table_add(t, ctl_number_of(run, "bytes", &n) ? ctl_bytes_text(n, bytes) : NULL);
        ctl_table_add(t, sentence[0] != '\0' ? sentence : ctl_text_of(run, "reason"));
}

static void log_facts(struct ctl_table *t, const json_t *o)
{
        ctl_fact(t, "Error log", ctl_text_of(o, "error_log"));
        ctl_fact(t, "Verbose log", ctl_text_of(o, "verbose_log"));
        ctl_fact(t, "Manifest", ctl_text_of(o, "manifest"));
        ctl_fact(t, "Manifest copy", ctl_text_of(o, "manifest_log"));
}

static enum ctl_exit show_logs(struct ctl_context *c, const json_t *answer)
{
        static const struct ctl_column columns[] = {
                { "ENDED" },
                { "END" },
                { "COPY STATUS" },
                { "BLOBS", .to_right = true },
                { "BYTES", .to_right = true },
                { "WHY", .may_shrink = true },
        };
        _cleanup_table_ struct ctl_table runs = CTL_TABLE(columns);
        _cleanup_table_ struct ctl_table logs = CTL_TABLE(ctl_fact_columns);
        const json_t *run;
        enum ctl_exit code;
        size_t i;

        json_array_foreach(json_object_get(answer, "runs"), i, run)
        {
                add_run(&runs, run);
                log_facts(&logs, run);
        }
        if (logs.n_cells == 0)
                log_facts(&logs, answer);
        if (runs.n_cells == 0 && logs.n_cells == 0) {
                ctl_say(c, "No worker was busy with the drive yet.");
                return CTL_EXIT_OK;
        }
        code = ctl_print(c, &runs);
        if (code != CTL_EXIT_OK || logs.n_cells == 0)
                return code;
        ctl_say(c, "%s", "");
        return ctl_print(c, &logs);
}

static enum ctl_exit run_logs(struct ctl_context *c, int argc, char **argv)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        struct ctl_pair query[] = { { "job", NULL }, { NULL } };
        const struct ctl_option options[] = { CTL_OPTION_JOB(&query[0].value) };
        enum ctl_exit code;
        json_t *answer;
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, options, ARRAY_SIZE(options), argc, argv, 1, 1, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        code = ctl_client_ask(
                &k, &(struct ctl_ask){ CTL_REQUEST_DRIVE_LOGS, .target = words[0], .query = query },
                &answer);
        return code != CTL_EXIT_OK || c->json ? code : show_logs(c, answer);
}

const struct ctl_verb ctl_logs = {
        .name = "logs",
        .arguments = "DRIVE",
        .summary = "Lists the runs of a drive, and where its copy logs are.",
        .run = run_logs,
};
