/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-names - `names`: a name a line, for the completion of shells and for scripts. */
#include <string.h>

#include "ctl/ctl.h"

static const struct {
        const char *word;
        enum ctl_request request;
        const char *list, *member;
} kinds[] = {
        { "bays", CTL_REQUEST_BAYS_LIST, "bays", "bay" },
        { "drives", CTL_REQUEST_DRIVES_LIST, "drives", "serial" },
        { "jobs", CTL_REQUEST_JOBS_LIST, "jobs", "name" },
};

static enum ctl_exit print_kind(struct ctl_client *k, size_t kind)
{
        enum ctl_exit code;
        json_t *answer, *item;
        size_t i;

        code = ctl_client_ask(k, &(struct ctl_ask){ kinds[kind].request }, &answer);
        if (code != CTL_EXIT_OK || k->context->json)
                return code;
        json_array_foreach(json_object_get(answer, kinds[kind].list), i, item)
        {
                const char *name = ctl_text_of(item, kinds[kind].member);
                char shown[1024];

                if (name[0] != '\0')
                        ctl_say(k->context, "%s",
                                bth_escape(name, strlen(name), shown, sizeof shown));
        }
        return CTL_EXIT_OK;
}

static enum ctl_exit run(struct ctl_context *c, int argc, char **argv)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        enum ctl_exit code = CTL_EXIT_OK;
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, NULL, 0, argc, argv, 1, (int)ARRAY_SIZE(kinds), &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        for (int i = 0; i < n && code == CTL_EXIT_OK; i++) {
                size_t kind = 0;

                while (kind < ARRAY_SIZE(kinds) && strcmp(kinds[kind].word, words[i]) != 0)
                        kind++;
                if (kind == ARRAY_SIZE(kinds)) {
                        fprintf(stderr, "%s names: bays, drives or jobs.\n", c->program);
                        return CTL_EXIT_USAGE;
                }
                code = print_kind(&k, kind);
        }
        return code;
}

const struct ctl_verb ctl_names = {
        .name = "names",
        .arguments = "bays|drives|jobs...",
        .summary = "Prints the names of bays, drives or jobs, one a line.",
        .details = "Of drives and jobs the newest page. Shells complete words by it.",
        .run = run,
};
