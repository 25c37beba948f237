/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-hub - what a hub knows of its stations: `hub stations`, `hub drives`, `hub conflicts`. Where
 * the daemon is no hub, it says so. */
#include <string.h>

#include "ctl/ctl.h"

#define PAGE "500"

/* Options were parsed already, a list is asked for, and each entry becomes a row. */
static enum ctl_exit show_list(struct ctl_client *k, enum ctl_request request, const char *member,
                               struct ctl_table *t,
                               void (*add)(struct ctl_table *t, const json_t *entry))
{
        enum ctl_exit code;
        json_t *answer, *entry;
        size_t i;

        code = ctl_client_ask(k, &(struct ctl_ask){ request }, &answer);
        if (code != CTL_EXIT_OK || k->context->json)
                return code;
        json_array_foreach(json_object_get(answer, member), i, entry) add(t, entry);
        if (t->n_cells == 0 && !t->failed) {
                ctl_say(k->context, "There are none.");
                return CTL_EXIT_OK;
        }
        return ctl_print(k->context, t);
}

static void add_number(struct ctl_table *t, const json_t *o, const char *key)
{
        uint64_t n;

        if (ctl_number_of(o, key, &n))
                ctl_table_add_format(t, "%llu", (unsigned long long)n);
        else
                ctl_table_add(t, NULL);
}

static void add_time(struct ctl_table *t, const json_t *o, const char *key)
{
        char text[CTL_TEXT_MAX];

        ctl_table_add(t, ctl_time_text(ctl_text_of(o, key), text));
}

/* ---- stations ---- */

static void add_station(struct ctl_table *t, const json_t *s)
{
        ctl_table_add(t, ctl_text_of(s, "name"));
        ctl_table_add(t, json_is_true(json_object_get(s, "silent")) ? "silent" : "heard");
        add_time(t, s, "heard_at");
        add_number(t, s, "docked");
        add_number(t, s, "applied");
        add_number(t, s, "late");
        add_number(t, s, "duplicates");
        add_number(t, s, "refused");
        ctl_table_add(t, ctl_text_of(s, "source"));
}

static enum ctl_exit run_stations(struct ctl_context *c, int argc, char **argv)
{
        static const struct ctl_column columns[] = {
                { "STATION", .may_shrink = true },
                { "STATE" },
                { "HEARD" },
                { "DOCKED", .to_right = true },
                { "EVENTS", .to_right = true },
                { "LATE", .to_right = true },
                { "DUPLICATES", .to_right = true },
                { "REFUSED", .to_right = true },
                { "SOURCE", .may_shrink = true },
        };
        _cleanup_client_ struct ctl_client k = { 0 };
        _cleanup_table_ struct ctl_table t = CTL_TABLE(columns);
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, NULL, 0, argc, argv, 0, 0, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        return show_list(&k, CTL_REQUEST_HUB_STATIONS, "stations", &t, add_station);
}

const struct ctl_verb ctl_hub_stations = {
        .name = "hub stations",
        .summary = "Lists the stations that a hub heard of, and when.",
        .run = run_stations,
};

/* ---- conflicts ---- */

static void add_conflict(struct ctl_table *t, const json_t *c)
{
        const char *serial = ctl_text_of(c, "serial");

        ctl_table_add(t, ctl_text_of(c, "conflict"));
        ctl_table_add(t, json_is_true(json_object_get(c, "open")) ? "open" : "over");
        ctl_table_add(t, serial[0] != '\0' ? serial : ctl_text_of(c, "source"));
        ctl_table_add(t, ctl_text_of(c, "sources"));
        add_time(t, c, "since");
        add_time(t, c, "last");
        ctl_table_add(t, ctl_text_of(c, "sentence"));
}

static enum ctl_exit run_conflicts(struct ctl_context *c, int argc, char **argv)
{
        static const struct ctl_column columns[] = {
                { "CONFLICT" },
                { "STATE" },
                { "OF", .may_shrink = true },
                { "STATIONS", .may_shrink = true },
                { "SINCE" },
                { "LAST" },
                { "WHAT", .may_shrink = true },
        };
        _cleanup_client_ struct ctl_client k = { 0 };
        _cleanup_table_ struct ctl_table t = CTL_TABLE(columns);
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, NULL, 0, argc, argv, 0, 0, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        return show_list(&k, CTL_REQUEST_HUB_CONFLICTS, "conflicts", &t, add_conflict);
}

const struct ctl_verb ctl_hub_conflicts = {
        .name = "hub conflicts",
        .summary = "Lists what stations say that cannot be true at once.",
        .run = run_conflicts,
};

/* ---- drives ---- */

static void add_drive(struct ctl_table *t, const json_t *d)
{
        const json_t *drive = json_object_get(d, "drive_says"),
                     *bay = json_object_get(d, "bay_says");
        const json_t *percent = json_object_get(drive, "percentComplete");
        const char *source = ctl_text_of(d, "source"), *slash = strrchr(source, '/');

        if (ctl_text_of(d, "serial")[0] == '\0')
                return; /* what is said of a job as a whole */
        ctl_table_add(t, ctl_text_of(d, "serial"));
        ctl_table_add(t, ctl_text_of(d, "job"));
        ctl_table_add(t, slash ? slash + 1 : source);
        ctl_table_add(t, json_is_true(json_object_get(bay, "docked")) ? ctl_text_of(bay, "bay")
                                                                      : NULL);
        ctl_table_add(t, ctl_text_of(drive, "state"));
        ctl_table_add(t, ctl_text_of(drive, "copyStatus"));
        if (json_is_number(percent))
                ctl_table_add_format(t, "%.0f%%", json_number_value(percent));
        else
                ctl_table_add(t, NULL);
        add_time(t, drive ? drive : bay, "time");
}

/* Page after page. A page that does not go on from the one before ends it. */
static enum ctl_exit collect(struct ctl_client *k, struct ctl_pair *query, struct ctl_table *t)
{
        _cleanup_free_ char *source = NULL, *subject = NULL;

        for (;;) {
                json_t *answer, *drive;
                size_t i;
                enum ctl_exit code = ctl_client_ask(
                        k, &(struct ctl_ask){ CTL_REQUEST_HUB_DRIVES, .query = query }, &answer);
                const char *next;

                if (code != CTL_EXIT_OK || k->context->json)
                        return code;
                json_array_foreach(json_object_get(answer, "drives"), i, drive) add_drive(t, drive);
                next = ctl_text_of(answer, "next_subject");
                if (next[0] == '\0' || (subject && source && strcmp(next, subject) == 0 &&
                                        strcmp(ctl_text_of(answer, "next_source"), source) == 0))
                        return CTL_EXIT_OK;
                free(source);
                free(subject);
                subject = strdup(next);
                source = strdup(ctl_text_of(answer, "next_source"));
                if (!source || !subject)
                        return CTL_EXIT_FAILED;
                query[0].value = source;
                query[1].value = subject;
        }
}

static enum ctl_exit run_drives(struct ctl_context *c, int argc, char **argv)
{
        static const struct ctl_column columns[] = {
                { "DRIVE", .may_shrink = true },
                { "JOB", .may_shrink = true },
                { "STATION", .may_shrink = true },
                { "BAY" },
                { "STATE" },
                { "COPY STATUS" },
                { "DONE", .to_right = true },
                { "SAID" },
        };
        _cleanup_client_ struct ctl_client k = { 0 };
        _cleanup_table_ struct ctl_table t = CTL_TABLE(columns);
        struct ctl_pair query[] = { { "after_source", NULL }, { "after_subject", NULL },
                                    { "serial", NULL },       { "job", NULL },
                                    { "limit", PAGE },        { NULL } };
        const struct ctl_option options[] = {
                { "drive", "SERIAL", "only this drive", .text = &query[2].value },
                { "job", "JOB", "only drives of this job", .text = &query[3].value },
        };
        enum ctl_exit code;
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, options, ARRAY_SIZE(options), argc, argv, 0, 0, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        code = collect(&k, query, &t);
        if (code != CTL_EXIT_OK || c->json)
                return code;
        if (t.n_cells == 0 && !t.failed) {
                ctl_say(c, "There are none.");
                return CTL_EXIT_OK;
        }
        return ctl_print(c, &t);
}

const struct ctl_verb ctl_hub_drives = {
        .name = "hub drives",
        .summary = "Lists what each station says of each drive.",
        .run = run_drives,
};
