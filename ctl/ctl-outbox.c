/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-outbox - the events that the job service refused: `outbox list`, `outbox resend`, `outbox
 * drop`. */
#include <string.h>

#include "ctl/ctl.h"

#define PAGE      "500"
#define PAGES_MAX 100u /* of one list */

static void add_parked(struct ctl_table *t, const json_t *e)
{
        const char *serial = ctl_text_of(e, "serial");
        char text[CTL_TEXT_MAX];
        uint64_t sequence;

        if (ctl_number_of(e, "sequence", &sequence))
                ctl_table_add_format(t, "%llu", (unsigned long long)sequence);
        else
                ctl_table_add(t, NULL);
        ctl_table_add(t, ctl_text_of(e, "kind"));
        ctl_table_add(t, ctl_text_of(e, "job"));
        ctl_table_add(t, serial[0] != '\0' ? serial : NULL);
        ctl_table_add(t, ctl_time_text(ctl_text_of(e, "time"), text));
        ctl_table_add(t, ctl_time_text(ctl_text_of(e, "parked_at"), text));
        ctl_table_add(t, ctl_text_of(e, "refusal"));
}

/* Page after page. One that does not go on from the one before ends it. */
static enum ctl_exit collect(struct ctl_client *k, struct ctl_table *t)
{
        struct ctl_pair query[] = { { "limit", PAGE }, { "after", NULL }, { NULL } };
        uint64_t last = 0, next;
        char after[24];

        for (unsigned page = 0; page < PAGES_MAX; page++) {
                json_t *answer, *event;
                size_t i;
                enum ctl_exit code = ctl_client_ask(
                        k, &(struct ctl_ask){ CTL_REQUEST_OUTBOX_LIST, .query = query }, &answer);

                if (code != CTL_EXIT_OK || k->context->json)
                        return code;
                json_array_foreach(json_object_get(answer, "parked"), i, event)
                        add_parked(t, event);
                if (!ctl_number_of(answer, "next", &next) || next <= last)
                        break;
                last = next;
                (void)snprintf(after, sizeof after, "%llu", (unsigned long long)next);
                query[1].value = after;
        }
        return CTL_EXIT_OK;
}

static enum ctl_exit run_list(struct ctl_context *c, int argc, char **argv)
{
        static const struct ctl_column columns[] = {
                { "EVENT", .to_right = true },   { "KIND" },     { "JOB", .may_shrink = true },
                { "DRIVE", .may_shrink = true }, { "HAPPENED" }, { "REFUSED" },
                { "WHY", .may_shrink = true },
        };
        _cleanup_client_ struct ctl_client k = { 0 };
        _cleanup_table_ struct ctl_table t = CTL_TABLE(columns);
        enum ctl_exit code;
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, NULL, 0, argc, argv, 0, 0, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        code = collect(&k, &t);
        if (code != CTL_EXIT_OK || c->json)
                return code;
        if (t.n_cells == 0 && !t.failed) {
                ctl_say(c, "The job service refused nothing.");
                return CTL_EXIT_OK;
        }
        return ctl_print(c, &t);
}

const struct ctl_verb ctl_outbox_list = {
        .name = "outbox list",
        .summary = "Lists the events that the job service refused, and why.",
        .run = run_list,
};

/* ---- resend, drop ---- */

static enum ctl_exit decide(struct ctl_context *c, int argc, char **argv, enum ctl_request request,
                            const char *question)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        enum ctl_exit code = CTL_EXIT_OK;
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, NULL, 0, argc, argv, 1, 100, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        for (int i = 0; i < n && code == CTL_EXIT_OK; i++) {
                if (question && !ctl_confirmed(c, words[i], question))
                        return CTL_EXIT_REFUSED;
                code = ctl_client_act(&k, &(struct ctl_ask){ request, .target = words[i] });
        }
        return code;
}

static enum ctl_exit run_resend(struct ctl_context *c, int argc, char **argv)
{
        return decide(c, argc, argv, CTL_REQUEST_OUTBOX_RESEND, NULL);
}

static enum ctl_exit run_drop(struct ctl_context *c, int argc, char **argv)
{
        return decide(c, argc, argv, CTL_REQUEST_OUTBOX_DROP,
                      "The job service will never get this event.");
}

const struct ctl_verb ctl_outbox_resend = {
        .name = "outbox resend",
        .arguments = "EVENT...",
        .summary = "Sends events that the job service refused once more.",
        .run = run_resend,
};
const struct ctl_verb ctl_outbox_drop = {
        .name = "outbox drop",
        .arguments = "EVENT...",
        .summary = "Gives events up that the job service refused.",
        .details = "The history of the station keeps them. Asks before, unless --yes is given.",
        .run = run_drop,
};
