/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-bays - what an operator does at a bay: match, locate, eject. */
#include "ctl/ctl.h"

/* ---- match ---- */

static enum ctl_exit run_match(struct ctl_context *c, int argc, char **argv)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        _cleanup_json_ json_t *body = NULL;
        const char *job = NULL;
        const struct ctl_option options[] = { CTL_OPTION_JOB(&job) };
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, options, ARRAY_SIZE(options), argc, argv, 2, 2, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        body = json_pack("{s:s, s:s*}", "drive", words[1], "job", job);
        return ctl_client_act(&k, &(struct ctl_ask){ CTL_REQUEST_BAY_MATCH, .target = words[0],
                                                     .body = body, .has_body = true });
}

const struct ctl_verb ctl_match = {
        .name = "match",
        .arguments = "BAY DRIVE",
        .summary = "Says which drive of which job is in a bay.",
        .details = "For a drive whose own serial number says nothing, for example behind a USB "
                   "bridge. After unlocking, the\nmanifest must name the same drive.",
        .run = run_match,
};

/* ---- locate ---- */

static enum ctl_exit run_locate(struct ctl_context *c, int argc, char **argv)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        _cleanup_json_ json_t *body = NULL;
        bool off = false;
        const struct ctl_option options[] = {
                { "off", NULL, "let the lamp show what it showed before", .flag = &off },
        };
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, options, ARRAY_SIZE(options), argc, argv, 1, 1, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        body = json_pack("{s:b}", "on", !off);
        return ctl_client_act(&k, &(struct ctl_ask){ CTL_REQUEST_BAY_LOCATE, .target = words[0],
                                                     .body = body, .has_body = true });
}

const struct ctl_verb ctl_locate = {
        .name = "locate",
        .arguments = "BAY",
        .summary = "Lights the lamp of a bay, so that it is found.",
        .run = run_locate,
};

/* ---- eject ---- */

#define NO_WAIT_MSEC 2000 /* long enough to hear of a refusal */

/* The station answers when the drive is safe to remove. One that goes on meanwhile is well. */
static enum ctl_exit eject_without_waiting(struct ctl_client *k, struct ctl_ask *ask)
{
        struct bth_error error = BTH_ERROR_INIT;
        int r;

        if (k->context->dry_run)
                return ctl_client_act(k, ask);
        ask->wait_msec = NO_WAIT_MSEC;
        r = ctl_client_send(k, ask, NULL, &error);
        if (r < 0 && r != -ETIMEDOUT)
                return ctl_client_fail(k, &error);
        ctl_say(k->context, "%s",
                r < 0 ? "The drive is being made safe to remove; 'berthctl list' shows when it is."
                      : "The drive is safe to remove.");
        ctl_report(k->context, "waiting", json_boolean(r < 0));
        return CTL_EXIT_OK;
}

static enum ctl_exit run_eject(struct ctl_context *c, int argc, char **argv)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        struct bth_error error = BTH_ERROR_INIT;
        bool no_wait = false;
        const struct ctl_option options[] = {
                { "no-wait", NULL, "do not wait until it is safe to remove", .flag = &no_wait },
        };
        struct ctl_ask ask = { CTL_REQUEST_BAY_EJECT };
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, options, ARRAY_SIZE(options), argc, argv, 1, 1, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        ask.target = words[0];
        r = ctl_client_send(&k, &(struct ctl_ask){ CTL_REQUEST_BAY_SHOW, .target = words[0] }, NULL,
                            &error);
        if (r == -ENOENT)
                ask.request = CTL_REQUEST_DRIVE_EJECT;
        else if (r < 0)
                return ctl_client_fail(&k, &error);
        if (no_wait)
                return eject_without_waiting(&k, &ask);
        ask.wait_msec = CTL_WAIT_FOREVER;
        return ctl_client_act(&k, &ask);
}

const struct ctl_verb ctl_eject = {
        .name = "eject",
        .arguments = "BAY|DRIVE",
        .summary = "Makes a drive safe to remove, and waits until it is.",
        .details = "Stops its worker, closes and flushes it, and spins it down. What was copied "
                   "stays copied; docked again, it\ngoes on.",
        .run = run_eject,
};
