/* SPDX-License-Identifier: GPL-3.0-or-later */
/* upstream-jobs - jobs and keys from the job service into the store.
 *
 *     GET jobs?location=…&serials=… ── 304: as before
 *                                  └── 200: page after page ── one task: made, shipped, cancelled
 *
 * What becomes of them says daemon/sync.h. The tag of the last list is sent along with the first
 * page only, and only when the list had one page: a tag says nothing of the pages behind it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "daemon/upstream-internal.h"

#define PATH        "/v1/hub/jobs"
#define SERIALS_MAX 64u

/* Whoever asked meanwhile is not served by what was asked before. */
static void ended(struct dmn_upstream *u)
{
        const bool again = u->asked;

        u->ended = u->begun;
        u->asked = false;
        if (again && u->fetch.pause_usec == 0)
                upstream_at(&u->fetch, 0);
        if (u->events->answered)
                u->events->answered(u->userdata);
}

static void rest(struct dmn_upstream *u)
{
        u->fetch.busy = false;
        upstream_at(&u->fetch, bth_now_monotonic_usec() + u->config.poll_sec * BTH_USEC_PER_SEC);
}

/* --- the task --- */

static int apply_task(struct job_store *s, void *userdata, struct bth_error *error)
{
        struct dmn_upstream *u = userdata;

        return dmn_sync_jobs(s, u->list.jobs, u->location, &u->synced, error);
}

static void tell_trouble(struct dmn_upstream *u)
{
        const struct bth_error *trouble = &u->synced.trouble;

        if (trouble->code < 0 && strcmp(trouble->sentence, u->told) != 0)
                bth_log_error(LOG_WARNING, trouble);
        (void)snprintf(u->told, sizeof u->told, "%s", trouble->sentence);
}

static void applied(void *userdata, int r, const struct bth_error *error)
{
        struct dmn_upstream *u = userdata;

        if (upstream_is_gone(u))
                return;
        dmn_answer_jobs_clear(&u->list);
        if (r < 0) {
                u->etag[0] = '\0'; /* the same is to come again */
                upstream_failed(u, &u->fetch, error, 0);
                ended(u);
                return;
        }
        u->fetched_usec = bth_now_realtime_usec();
        tell_trouble(u);
        rest(u);
        if (u->synced.changed && u->events->changed)
                u->events->changed(u->userdata);
        ended(u);
}

/* --- fetching --- */

static int fetch_page(struct dmn_upstream *u, struct bth_error *error);

static void failed(struct dmn_upstream *u, const struct bth_error *error, uint64_t least_sec)
{
        dmn_answer_jobs_clear(&u->list);
        u->etag[0] = '\0';
        upstream_failed(u, &u->fetch, error, least_sec);
        ended(u);
}

static void take_answer(struct dmn_upstream *u, const struct dmn_answer *answer)
{
        struct bth_error e = BTH_ERROR_INIT;
        int r;

        bth_error_at(&e, u->config.url, 0, BTH_ERROR_NO_OFFSET);
        r = dmn_answer_jobs(&u->list, answer->body, answer->n, &e);
        (void)snprintf(u->etag, sizeof u->etag, "%s",
                       r == 0 && u->list.pages == 1 && answer->etag ? answer->etag : "");
        if (r > 0) {
                r = fetch_page(u, &e);
        } else if (r == 0) {
                upstream_well(u, &u->fetch);
                r = upstream_submit(u, apply_task, applied);
                if (r < 0)
                        (void)bth_error_set(&e, r, BTH_REASON_INTERNAL,
                                            "the jobs cannot be stored: %s", bth_strerror(r));
        }
        if (r < 0)
                failed(u, &e, 0);
}

static void on_answer(void *userdata, const struct dmn_answer *answer,
                      const struct bth_error *error)
{
        struct dmn_upstream *u = userdata;
        struct bth_error e = BTH_ERROR_INIT;

        u->fetch.request = dmn_request_free(u->fetch.request);
        if (!answer) {
                failed(u, error, 0);
        } else if (answer->status == 304 && u->list.pages == 0 && u->etag[0] != '\0') {
                upstream_well(u, &u->fetch);
                u->fetched_usec = bth_now_realtime_usec();
                rest(u);
                ended(u);
        } else if (answer->status == 200) {
                take_answer(u, answer);
        } else {
                bth_error_at(&e, u->config.url, 0, BTH_ERROR_NO_OFFSET);
                (void)upstream_explain(answer, &e);
                failed(u, &e, answer->retry_after_sec);
        }
}

static int add_escaped(struct bth_buf *b, const char *text)
{
        int r = 0;

        for (const char *p = text; *p && r == 0; p++) {
                const bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                                   (*p >= '0' && *p <= '9') || strchr("-._~", *p);

                r = plain ? bth_buf_add(b, p, 1)
                          : bth_buf_add_format(b, "%%%02X", (unsigned)(uint8_t)*p);
        }
        return r;
}

static int make_query(struct dmn_upstream *u, char **ret_query)
{
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
        const char *serials[SERIALS_MAX];
        size_t n = u->events->unknown_drives
                           ? u->events->unknown_drives(u->userdata, serials, SERIALS_MAX)
                           : 0;
        int r = bth_buf_add_string(&b, PATH "?location=");

        if (r == 0)
                r = add_escaped(&b, u->location ? u->location : "");
        for (size_t i = 0; i < n && r == 0; i++) {
                r = bth_buf_add_string(&b, i == 0 ? "&serials=" : "%20");
                if (r == 0)
                        r = add_escaped(&b, serials[i]);
        }
        if (r == 0)
                *ret_query = take_ptr(b.data);
        return r;
}

static int fetch_page(struct dmn_upstream *u, struct bth_error *error)
{
        _cleanup_buf_ struct bth_buf path = BTH_BUF_INIT;
        const bool first = u->list.pages == 0;
        int r = bth_buf_add_string(&path, u->query);

        if (r == 0 && !first)
                r = bth_buf_add_format(&path, "&after=%" PRIu64, u->list.after);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY, "no memory");
        return upstream_send(u, "GET", path.data, NULL,
                             first && u->etag[0] != '\0' ? u->etag : NULL, NULL, on_answer,
                             &u->fetch.request, error);
}

int upstream_on_fetch(sd_event_source *s, uint64_t usec, void *userdata)
{
        struct dmn_upstream *u = userdata;
        struct bth_error e = BTH_ERROR_INIT;
        char *query = NULL;
        int r;

        (void)s;
        (void)usec;
        if (u->fetch.busy)
                return 0;
        u->fetch.busy = true;
        u->begun++;
        dmn_answer_jobs_clear(&u->list);
        r = make_query(u, &query);
        if (r < 0) {
                (void)bth_error_set(&e, r, BTH_REASON_OUT_OF_MEMORY, "no memory");
        } else {
                if (!bth_streq(query, u->query))
                        u->etag[0] = '\0';
                free(u->query);
                u->query = query;
                r = fetch_page(u, &e);
        }
        if (r < 0)
                failed(u, &e, 0);
        return 0;
}
