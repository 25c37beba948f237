/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-watch - `watch`: all bays, looked at once a second.
 *
 *     terminal           the whole screen, drawn again each time (ctl/ctl-screen.h)
 *     pipe, --lines      a line for each bay in which something changed
 *     --json             the station's answer, one line, whenever something in it changed
 *
 * A daemon that goes away meanwhile is waited for. */
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/time.h"
#include "ctl/ctl-screen.h"
#include "ctl/ctl.h"

#define ANSWER_MSEC   2000 /* so that a key is not waited for much longer */
#define INTERVAL_MAX  3600
#define WIDE_COLUMNS  110 /* from here on there is room for sentences and long bars */
#define BAR_COLUMNS   20
#define BAR_NARROW    10
#define STEP_PERCENT  10 /* of progress, between two lines */
#define ROWS_OF_FRAME 3  /* head, titles, foot */

struct watch {
        struct ctl_client client;
        struct ctl_screen screen;
        const char *until_done; /* job */
        uint64_t interval_sec;
        bool lines, blocks;
        json_t *bays;   /* the last answer, whole; NULL: none yet */
        json_t *before; /* as it was told last; for lines */
        char trouble[512];
        size_t first; /* the bay at the top */
        bool done, in_order;
};

/* ---- asking ---- */

/* Returns 0, or the errno of ctl_client_send() with the sentence in `trouble`. */
static int ask(struct watch *w, struct ctl_ask *ask, json_t **ret_answer, struct bth_error *error)
{
        int r;

        bth_error_clear(error);
        ask->wait_msec = ANSWER_MSEC;
        r = ctl_client_send(&w->client, ask, ret_answer, error);
        if (r < 0)
                (void)bth_error_to_string(error, w->trouble, sizeof w->trouble);
        return r;
}

static bool is_done(const json_t *drive)
{
        static const char *const states[] = { "Completed", "CompletedMoreInfo", "NeverReceived",
                                              "ShippedBack" };
        static const char *const activities[] = { "skipped", "not-accepted" };

        for (size_t i = 0; i < ARRAY_SIZE(states); i++)
                if (strcmp(ctl_text_of(drive, "state"), states[i]) == 0)
                        return true;
        for (size_t i = 0; i < ARRAY_SIZE(activities); i++)
                if (strcmp(ctl_text_of(drive, "activity"), activities[i]) == 0)
                        return true;
        return false;
}

static void look_at_job(struct watch *w, const json_t *job)
{
        const json_t *drives = json_object_get(job, "drives"), *drive;
        size_t i;

        w->done = json_array_size(drives) > 0;
        w->in_order = true;
        json_array_foreach(drives, i, drive)
        {
                w->done = w->done && is_done(drive);
                w->in_order =
                        w->in_order && strcmp(ctl_text_of(drive, "copy_status"), "Completed") == 0;
        }
}

static int look(struct watch *w, struct bth_error *error)
{
        json_t *answer;
        int r = ask(w, &(struct ctl_ask){ CTL_REQUEST_BAYS_LIST }, &answer, error);

        if (r < 0)
                return r;
        json_decref(w->bays);
        w->bays = json_incref(answer);
        if (w->until_done) {
                r = ask(w, &(struct ctl_ask){ CTL_REQUEST_JOB_SHOW, .target = w->until_done },
                        &answer, error);
                if (r < 0)
                        return r;
                look_at_job(w, answer);
        }
        w->trouble[0] = '\0';
        return 0;
}

/* A daemon that is being started again, or has too much to do, is worth waiting for. */
static bool may_pass(int r)
{
        return r == -ENOTCONN || r == -ETIMEDOUT || r == -ECANCELED || r == -EAGAIN;
}

/* ---- the screen ---- */

static const struct ctl_column columns[] = {
        { "BAY" },
        { "DRIVE", .may_shrink = true },
        { "JOB", .may_shrink = true },
        { "STATE" },
        { "PROGRESS" },
        { "DONE", .to_right = true },
        { "RATE", .to_right = true },
        { "LEFT", .to_right = true },
        { "WAITS FOR" },
        { "WHAT", .may_shrink = true }, /* last: left out where it is narrow */
};

static void add_bay(const struct watch *w, struct ctl_table *t, const json_t *bay)
{
        const json_t *progress = json_object_get(bay, "progress");
        const bool wide = t->n_columns == ARRAY_SIZE(columns);
        char text[CTL_TEXT_MAX], bar[3 * BAR_COLUMNS + 1];
        unsigned percent = 0;
        const bool has_percent = ctl_percent_of(bay, &percent);
        uint64_t n;

        ctl_table_add(t, ctl_text_of(bay, "bay"));
        ctl_table_add(t, ctl_text_of(json_object_get(bay, "drive"), "serial"));
        ctl_table_add(t, ctl_text_of(bay, "job"));
        ctl_table_add(t, ctl_activity_of(bay));
        ctl_table_add(t, has_percent
                                 ? ctl_bar(percent, wide ? BAR_COLUMNS : BAR_NARROW, w->blocks, bar)
                                 : NULL);
        if (has_percent)
                ctl_table_add_format(t, "%u%%", percent);
        else
                ctl_table_add(t, NULL);
        ctl_table_add(t, ctl_number_of(progress, "bytes_per_second", &n) ? ctl_rate_text(n, text)
                                                                         : NULL);
        ctl_table_add(t, ctl_number_of(progress, "seconds_left", &n) ? ctl_duration_text(n, text)
                                                                     : NULL);
        ctl_table_add(t, ctl_text_of(progress, "wait"));
        if (wide)
                ctl_table_add(t, ctl_text_of(bay, "sentence"));
}

static uint64_t rate_of_all(const json_t *bays, size_t *ret_drives)
{
        uint64_t sum = 0, n;
        const json_t *bay;
        size_t i;

        *ret_drives = 0;
        json_array_foreach(bays, i, bay)
        {
                *ret_drives += json_object_get(bay, "drive") != NULL;
                if (ctl_number_of(json_object_get(bay, "progress"), "bytes_per_second", &n))
                        sum += MIN(n, UINT64_MAX - sum);
        }
        return sum;
}

static int add_cut(const struct watch *w, struct bth_buf *out, const char *before, const char *text)
{
        int r = bth_buf_add_string(out, w->screen.colours ? before : "");

        if (r >= 0)
                r = ctl_text_add(out, text, w->screen.columns, false, false);
        return r < 0 ? r : bth_buf_add(out, "\n", 1);
}

static int add_head(const struct watch *w, const json_t *bays, struct bth_buf *out)
{
        char text[256], rate[CTL_TEXT_MAX], now[BTH_TIME_TEXT_MAX], shown[CTL_TEXT_MAX];
        size_t drives;

        ctl_rate_text(rate_of_all(bays, &drives), rate);
        bth_time_iso8601(bth_now_realtime_usec(), now);
        (void)snprintf(text, sizeof text, "Berth   %s   %zu bays, %zu drives   %s   q: quit",
                       ctl_time_text(now, shown), json_array_size(bays), drives, rate);
        return add_cut(w, out, "\033[1m", text);
}

/* By what the lamp of the bay shows. */
static const char *colour_of(const json_t *bay)
{
        const char *led = ctl_text_of(bay, "led");

        if (json_is_true(json_object_get(bay, "locate")) || strcmp(led, "locate") == 0)
                return "\033[33m";
        if (strcmp(led, "fault") == 0)
                return "\033[31m";
        if (strcmp(led, "safe") == 0)
                return "\033[32m";
        return "";
}

/* The lines of the table one by one, each in the colour of its bay. */
static int add_rows(const struct watch *w, const json_t *bays, const char *lines,
                    struct bth_buf *out)
{
        const size_t room = w->screen.rows > ROWS_OF_FRAME ? w->screen.rows - ROWS_OF_FRAME : 0;
        const json_t *bay = NULL;
        int r = 0;

        for (size_t i = 0; r >= 0 && *lines != '\0'; i++) {
                const size_t n = strcspn(lines, "\n") + 1;
                const bool shown = i == 0 || (i - 1 >= w->first && i - 1 - w->first < room);

                bay = i > 0 ? json_array_get(bays, i - 1) : NULL;
                if (shown && w->screen.colours)
                        r = bth_buf_add_string(out, i == 0 ? "\033[4m" : colour_of(bay));
                if (r >= 0 && shown)
                        r = bth_buf_add(out, lines, n);
                lines += n;
        }
        return r;
}

static int add_foot(const struct watch *w, size_t n_bays, struct bth_buf *out)
{
        const size_t room = w->screen.rows > ROWS_OF_FRAME ? w->screen.rows - ROWS_OF_FRAME : 0;
        char text[128] = "";

        if (w->trouble[0] != '\0')
                return add_cut(w, out, "\033[31m", w->trouble);
        if (n_bays > room)
                (void)snprintf(text, sizeof text, "bays %zu to %zu of %zu; arrows show the others",
                               w->first + 1, MIN(w->first + room, n_bays), n_bays);
        else if (w->until_done)
                (void)snprintf(text, sizeof text, "until the drives of %.64s are done",
                               w->until_done);
        return add_cut(w, out, "", text);
}

static int draw(struct watch *w)
{
        const json_t *bays = json_object_get(w->bays, "bays"), *bay;
        _cleanup_table_ struct ctl_table t = CTL_TABLE(columns);
        _cleanup_buf_ struct bth_buf lines = BTH_BUF_INIT, out = BTH_BUF_INIT;
        size_t i;
        int r;

        if (w->screen.columns < WIDE_COLUMNS)
                t.n_columns--;
        json_array_foreach(bays, i, bay) add_bay(w, &t, bay);
        r = ctl_table_lines(&t, w->screen.columns, &lines);
        if (r >= 0)
                r = add_head(w, bays, &out);
        if (r >= 0)
                r = add_rows(w, bays, lines.data, &out);
        if (r >= 0)
                r = add_foot(w, json_array_size(bays), &out);
        return r < 0 ? r : ctl_screen_draw(&w->screen, out.data);
}

static void scroll(struct watch *w, enum ctl_screen_event e)
{
        const size_t n = json_array_size(json_object_get(w->bays, "bays"));
        const size_t room = w->screen.rows > ROWS_OF_FRAME ? w->screen.rows - ROWS_OF_FRAME : 1;
        const size_t last = n > room ? n - room : 0;
        const size_t by = e == CTL_SCREEN_PAGE_UP || e == CTL_SCREEN_PAGE_DOWN ? room : 1;

        if (e == CTL_SCREEN_UP || e == CTL_SCREEN_PAGE_UP)
                w->first -= MIN(w->first, by);
        else if (e == CTL_SCREEN_DOWN || e == CTL_SCREEN_PAGE_DOWN)
                w->first += by;
        w->first = MIN(w->first, last);
}

/* Rounded up: what is waited for is over then. */
static unsigned msec_until(uint64_t monotonic_usec)
{
        const uint64_t now = bth_now_monotonic_usec();

        return (unsigned)((monotonic_usec - MIN(monotonic_usec, now) + 999) / 1000);
}

/* Draws until a key, a signal or the end of the job. Returns 0, -errno; `ret_signal` as
 * ctl_screen_wait(). */
static int run_screen(struct watch *w, int *ret_signal, struct bth_error *error)
{
        uint64_t next = bth_now_monotonic_usec();
        enum ctl_screen_event e = CTL_SCREEN_TIME;
        int r = 0;

        for (;;) {
                const uint64_t now = bth_now_monotonic_usec();

                if (now >= next) {
                        r = look(w, error);
                        if (r < 0 && !may_pass(r))
                                return r;
                        next = bth_now_monotonic_usec() + w->interval_sec * BTH_USEC_PER_SEC;
                }
                scroll(w, e);
                r = draw(w);
                if (r < 0)
                        return bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                                             "the screen cannot be drawn: %s", bth_strerror(r));
                if (w->done)
                        return 0;
                e = ctl_screen_wait(&w->screen, msec_until(next), ret_signal);
                if (e == CTL_SCREEN_QUIT || e == CTL_SCREEN_ENDED)
                        return 0;
        }
}

/* ---- lines ---- */

static const json_t *bay_of(const json_t *answer, const char *name)
{
        const json_t *bay;
        size_t i;

        json_array_foreach(json_object_get(answer, "bays"), i,
                           bay) if (strcmp(ctl_text_of(bay, "bay"), name) == 0) return bay;
        return NULL;
}

/* Would a person want to hear of it? */
static bool differs(const json_t *a, const json_t *b)
{
        static const char *const texts[] = { "state", "activity", "sentence", "job",
                                             "copy_status" };
        unsigned x = 0, y = 0;

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                if (strcmp(ctl_text_of(a, texts[i]), ctl_text_of(b, texts[i])) != 0)
                        return true;
        if (strcmp(ctl_text_of(json_object_get(a, "drive"), "serial"),
                   ctl_text_of(json_object_get(b, "drive"), "serial")) != 0)
                return true;
        return ctl_percent_of(a, &x) != ctl_percent_of(b, &y) ||
               x / STEP_PERCENT != y / STEP_PERCENT || x < y;
}

static int print_bay(const json_t *bay)
{
        const json_t *progress = json_object_get(bay, "progress");
        const char *sentence = ctl_text_of(bay, "sentence"), *parts[4];
        char now[BTH_TIME_TEXT_MAX], time[CTL_TEXT_MAX], rate[CTL_TEXT_MAX], left[CTL_TEXT_MAX];
        char raw[2048], shown[2048];
        uint64_t n;
        unsigned percent;
        int k;

        parts[0] = ctl_text_of(bay, "bay");
        parts[1] = ctl_text_of(json_object_get(bay, "drive"), "serial");
        parts[2] = ctl_text_of(bay, "job");
        parts[3] = ctl_activity_of(bay);
        k = snprintf(raw, sizeof raw, "%s  %.64s",
                     ctl_time_text(bth_time_iso8601(bth_now_realtime_usec(), now), time), parts[0]);
        for (size_t i = 1; i < ARRAY_SIZE(parts); i++)
                k += snprintf(raw + k, sizeof raw - (size_t)k, "  %.256s",
                              parts[i][0] ? parts[i] : "-");
        if (ctl_percent_of(bay, &percent))
                k += snprintf(raw + k, sizeof raw - (size_t)k, "  %u%%", percent);
        if (ctl_number_of(progress, "bytes_per_second", &n))
                k += snprintf(raw + k, sizeof raw - (size_t)k, "  %s", ctl_rate_text(n, rate));
        if (ctl_number_of(progress, "seconds_left", &n))
                k += snprintf(raw + k, sizeof raw - (size_t)k, "  %s left",
                              ctl_duration_text(n, left));
        if (sentence[0] != '\0')
                (void)snprintf(raw + k, sizeof raw - (size_t)k, ": %.512s", sentence);
        return puts(bth_escape(raw, strlen(raw), shown, sizeof shown)) < 0 ? -EIO : 0;
}

/* What changed since it was told last; all at first. Returns 0 or -EIO. */
static int tell(struct watch *w)
{
        const json_t *bay;
        bool changed = !w->before || json_array_size(json_object_get(w->before, "bays")) !=
                                             json_array_size(json_object_get(w->bays, "bays"));
        size_t i;
        int r = 0;

        json_array_foreach(json_object_get(w->bays, "bays"), i, bay)
        {
                const json_t *was = bay_of(w->before, ctl_text_of(bay, "bay"));

                if (was && !differs(bay, was))
                        continue;
                changed = true;
                if (!w->client.context->json && r >= 0)
                        r = print_bay(bay);
        }
        if (!changed)
                return 0;
        if (w->client.context->json) {
                _cleanup_free_ char *text = json_dumps(w->bays, JSON_COMPACT);

                r = text && puts(text) >= 0 ? 0 : -EIO;
        }
        json_decref(w->before);
        w->before = json_incref(w->bays);
        return r < 0 || fflush(stdout) != 0 ? -EIO : 0;
}

static int run_lines(struct watch *w, struct bth_error *error)
{
        char told[sizeof w->trouble] = "";
        int r;

        for (;;) {
                const struct timespec pause = { .tv_sec = (time_t)w->interval_sec };

                r = look(w, error);
                if (r < 0 && !may_pass(r))
                        return r;
                if (strcmp(told, w->trouble) != 0 && w->trouble[0] != '\0')
                        fprintf(stderr, "berthctl watch: %s\n", w->trouble);
                memcpy(told, w->trouble, sizeof told);
                if (r >= 0)
                        r = tell(w);
                if (r == -EIO)
                        return bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                                             "the output cannot be written");
                if (w->done)
                        return 0;
                (void)nanosleep(&pause, NULL);
        }
}

/* ---- the verb ---- */

static int parse_interval(const char *value, void *userdata)
{
        uint64_t n;
        int r = bth_parse_u64(value, &n);

        if (r < 0 || n < 1 || n > INTERVAL_MAX)
                return -EINVAL;
        *(uint64_t *)userdata = n;
        return 0;
}

static enum ctl_exit watch(struct watch *w)
{
        struct ctl_context *c = w->client.context;
        struct bth_error error = BTH_ERROR_INIT;
        int signal = 0, r;

        /* A mistake is told before the screen is taken, and a daemon that is away from the start.
         */
        r = look(w, &error);
        if (r >= 0 && w->lines) {
                r = run_lines(w, &error);
        } else if (r >= 0) {
                r = ctl_screen_open(&w->screen);
                if (r >= 0)
                        r = run_screen(w, &signal, &error);
                else
                        (void)bth_error_set(&error, r, BTH_REASON_UNSUPPORTED,
                                            "the terminal cannot be used: %s", bth_strerror(r));
                ctl_screen_close(&w->screen);
        }
        if (signal != 0)
                ctl_screen_end(signal);
        if (r < 0)
                return ctl_client_fail(&w->client, &error);
        json_decref(c->report);
        c->report = NULL; /* all of it was printed */
        if (!w->until_done)
                return CTL_EXIT_OK;
        if (w->done && !c->quiet)
                ctl_say(c, "All drives of %s are %s.", w->until_done,
                        w->in_order ? "copied" : "done, but not all are copied well");
        return w->done && w->in_order ? CTL_EXIT_OK : CTL_EXIT_FINDINGS;
}

static enum ctl_exit run(struct ctl_context *c, int argc, char **argv)
{
        struct watch w = { .interval_sec = 1 };
        const struct ctl_option options[] = {
                { "lines", NULL, "a line for each change instead of a screen", .flag = &w.lines },
                { "until-done", "JOB", "end when every drive of this job is done",
                  .text = &w.until_done },
                { "interval", "SECONDS", "how often it looks; 1 when not given",
                  .parse = parse_interval, .userdata = &w.interval_sec },
        };
        enum ctl_exit code;
        char **words;
        int n, r;

        r = ctl_client_options(&w.client, c, options, ARRAY_SIZE(options), argc, argv, 0, 0, &words,
                               &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        w.lines = w.lines || c->json || !isatty(STDOUT_FILENO);
        w.blocks = ctl_screen_knows_utf8();
        code = watch(&w);
        json_decref(w.bays);
        json_decref(w.before);
        ctl_client_clear(&w.client);
        return code;
}

const struct ctl_verb ctl_watch = {
        .name = "watch",
        .summary = "Shows all bays and goes on showing them: a live screen.",
        .details =
                "On a terminal: q ends it, arrows scroll. Elsewhere, or with --lines, a line for "
                "each change; with --json\nthe station's answer in one line. With --until-done "
                "the exit code is 1 when a drive was not copied well.",
        .run = run,
};
