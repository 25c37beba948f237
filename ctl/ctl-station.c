/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-station - the station as a whole: what it is, its limits, reading its configuration again. */
#include <string.h>

#include "ctl/ctl.h"

/* ---- station ---- */

static void bytes_fact(struct ctl_table *t, const char *what, const json_t *o, const char *key)
{
        char text[32];
        uint64_t n;

        if (ctl_number_of(o, key, &n))
                ctl_fact(t, what, ctl_bytes_text(n, text));
}

static void rate_fact(struct ctl_table *t, const char *what, const json_t *o, const char *key,
                      const char *none)
{
        char text[CTL_TEXT_MAX];
        uint64_t n;

        if (ctl_number_of(o, key, &n))
                ctl_fact(t, what, n == 0 && none ? none : ctl_rate_text(n, text));
}

static void count_fact(struct ctl_table *t, const char *what, const json_t *o, const char *key)
{
        uint64_t n;

        if (ctl_number_of(o, key, &n))
                ctl_fact_format(t, what, "%llu", (unsigned long long)n);
}

static void time_fact(struct ctl_table *t, const char *what, const json_t *o, const char *key)
{
        char text[CTL_TEXT_MAX];

        ctl_fact(t, what, ctl_time_text(ctl_text_of(o, key), text));
}

/* The job service above: does it hear this station, and what has it not got? */
static void job_service_facts(struct ctl_table *t, const json_t *u)
{
        ctl_fact(t, "Job service", ctl_text_of(u, "url"));
        ctl_fact(t, "Tells as", ctl_text_of(u, "source"));
        time_fact(t, "Heard at", u, "heard_at");
        time_fact(t, "Jobs fetched at", u, "fetched_at");
        count_fact(t, "Failures in a row", u, "failures");
        count_fact(t, "Events that wait", u, "waiting");
        time_fact(t, "The oldest is of", u, "oldest_at");
        count_fact(t, "Events put aside", u, "parked");
        ctl_fact(t, "Its trouble", ctl_text_of(u, "trouble"));
}

static void station_facts(struct ctl_table *t, const json_t *s)
{
        ctl_fact(t, "Station", ctl_text_of(s, "name"));
        ctl_fact(t, "Location", ctl_text_of(s, "location"));
        ctl_fact(t, "Version", ctl_text_of(s, "version"));
        time_fact(t, "Running since", s, "started_at");
        count_fact(t, "Bays", s, "bays");
        count_fact(t, "Drives in bays", s, "docked");
        count_fact(t, "Drives copied now", s, "workers");
        rate_fact(t, "Rate", s, "bytes_per_second", NULL);
        rate_fact(t, "Cap", s, "bandwidth_bytes_per_second", "none");
        bytes_fact(t, "Memory", s, "memory_bytes");
        bytes_fact(t, "Memory in use", s, "memory_taken_bytes");
        if (json_is_true(json_object_get(s, "stopping")))
                ctl_fact(t, "Stopping", "yes");
        ctl_fact(t, "Trouble", ctl_text_of(s, "trouble"));
        job_service_facts(t, json_object_get(s, "job_service"));
}

static enum ctl_exit run_station(struct ctl_context *c, int argc, char **argv)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        _cleanup_table_ struct ctl_table t = CTL_TABLE(ctl_fact_columns);
        enum ctl_exit code;
        json_t *answer;
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, NULL, 0, argc, argv, 0, 0, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        code = ctl_client_ask(&k, &(struct ctl_ask){ CTL_REQUEST_STATION_SHOW }, &answer);
        if (code != CTL_EXIT_OK || c->json)
                return code;
        station_facts(&t, answer);
        return ctl_print(c, &t);
}

const struct ctl_verb ctl_station = {
        .name = "station",
        .summary = "Shows the station, its limits and how it is.",
        .run = run_station,
};

/* ---- limit ---- */

static enum ctl_exit show_limits(struct ctl_context *c, const json_t *limits)
{
        _cleanup_table_ struct ctl_table t = CTL_TABLE(ctl_fact_columns);

        rate_fact(&t, "Cap over all drives", limits, "bandwidth_bytes_per_second", "none");
        bytes_fact(&t, "Memory", limits, "memory_bytes");
        return ctl_print(c, &t);
}

static enum ctl_exit run_limit(struct ctl_context *c, int argc, char **argv)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        _cleanup_json_ json_t *body = NULL;
        struct ctl_ask ask = { CTL_REQUEST_LIMITS_SHOW };
        enum ctl_exit code;
        uint64_t rate = 0;
        json_t *answer;
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, NULL, 0, argc, argv, 0, 1, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        if (n == 1) {
                if (strcmp(words[0], "none") != 0 &&
                    (bth_parse_size(words[0], &rate) < 0 || rate == 0 || rate > INT64_MAX)) {
                        fprintf(stderr,
                                "%s limit: a rate is needed, such as 50MB (a second), or none.\n",
                                c->program);
                        return CTL_EXIT_USAGE;
                }
                body = json_pack("{s:I}", "bandwidth_bytes_per_second", (json_int_t)rate);
                ask = (struct ctl_ask){ CTL_REQUEST_LIMITS_SET, .body = body, .has_body = true };
        }
        code = ctl_client_ask(&k, &ask, &answer);
        if (code != CTL_EXIT_OK || c->json || !answer)
                return code;
        return show_limits(c, answer);
}

const struct ctl_verb ctl_limit = {
        .name = "limit",
        .arguments = "[RATE|none]",
        .summary = "Shows or changes the cap on the bandwidth over all drives.",
        .details =
                "RATE is bytes a second, with a unit: 50MB, 400MiB. It counts at once, until the "
                "daemon is started again.",
        .run = run_limit,
};

/* ---- reload ---- */

static enum ctl_exit run_reload(struct ctl_context *c, int argc, char **argv)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, NULL, 0, argc, argv, 0, 0, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        return ctl_client_act(&k, &(struct ctl_ask){ CTL_REQUEST_RELOAD });
}

const struct ctl_verb ctl_reload = {
        .name = "reload",
        .summary = "Makes the station read its configuration and credentials again.",
        .details = "A mistake in it changes nothing.",
        .run = run_reload,
};
