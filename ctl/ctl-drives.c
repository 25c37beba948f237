/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-drives - what an operator decides about a drive of a job. */
#include "ctl/ctl.h"

/* The verbs that take a drive and nothing else. `question` is asked before, unless NULL. */
static enum ctl_exit decide(struct ctl_context *c, int argc, char **argv, enum ctl_request request,
                            const char *question)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        _cleanup_json_ json_t *body = NULL;
        const char *job = NULL;
        const struct ctl_option options[] = { CTL_OPTION_JOB(&job) };
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, options, ARRAY_SIZE(options), argc, argv, 1, 1, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        if (question && !ctl_confirmed(c, words[0], question))
                return CTL_EXIT_REFUSED;
        body = json_pack("{s:s*}", "job", job);
        return ctl_client_act(&k, &(struct ctl_ask){ request, .target = words[0], .body = body,
                                                     .has_body = true });
}

static enum ctl_exit run_missing(struct ctl_context *c, int argc, char **argv)
{
        return decide(c, argc, argv, CTL_REQUEST_DRIVE_MISSING, NULL);
}

static enum ctl_exit run_retry(struct ctl_context *c, int argc, char **argv)
{
        return decide(c, argc, argv, CTL_REQUEST_DRIVE_RETRY, NULL);
}

static enum ctl_exit run_pause(struct ctl_context *c, int argc, char **argv)
{
        return decide(c, argc, argv, CTL_REQUEST_DRIVE_PAUSE, NULL);
}

static enum ctl_exit run_resume(struct ctl_context *c, int argc, char **argv)
{
        return decide(c, argc, argv, CTL_REQUEST_DRIVE_RESUME, NULL);
}

static enum ctl_exit run_give_up(struct ctl_context *c, int argc, char **argv)
{
        return decide(c, argc, argv, CTL_REQUEST_DRIVE_GIVE_UP,
                      "The drive will not be copied any further, and goes back as it is.");
}

const struct ctl_verb ctl_missing = {
        .name = "missing",
        .arguments = "DRIVE",
        .summary = "Says that a drive did not come; its job goes on without it.",
        .run = run_missing,
};
const struct ctl_verb ctl_retry = {
        .name = "retry",
        .arguments = "DRIVE",
        .summary = "Lets a drive that failed be tried again.",
        .details = "Possible until its job is being packed. It stands in the drive's history.",
        .run = run_retry,
};
const struct ctl_verb ctl_pause = {
        .name = "pause",
        .arguments = "DRIVE",
        .summary = "Holds a drive until it is resumed.",
        .run = run_pause,
};
const struct ctl_verb ctl_resume = {
        .name = "resume",
        .arguments = "DRIVE",
        .summary = "Lets a drive that is held go on.",
        .run = run_resume,
};
const struct ctl_verb ctl_give_up = {
        .name = "give-up",
        .arguments = "DRIVE",
        .summary = "Ends a drive that will not be copied any further.",
        .details = "Its status becomes DiskOperationFailed. Asks before, unless --yes is given.",
        .run = run_give_up,
};
