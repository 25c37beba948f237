/* SPDX-License-Identifier: GPL-3.0-or-later */
/* upstream - what both ways share: requests, the memory that tasks hold, trying again. */
#include "daemon/upstream.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/time.h"
#include "daemon/upstream-internal.h"

/* --- requests --- */

/* As an account has it. */
static struct dmn_account_config token_of(const struct dmn_upstream *u)
{
        return (struct dmn_account_config){ .name = (char *)(uintptr_t) "job_service",
                                            .credential_kind = (char *)(uintptr_t) "bearer",
                                            .credential_file = u->config.token };
}

static int read_token(const struct dmn_upstream *u, struct bth_secret **ret,
                      struct bth_error *error)
{
        const struct dmn_account_config a = token_of(u);

        *ret = NULL;
        return u->config.token ? dmn_credential_read(&a, ret, error) : 0;
}

int upstream_send(struct dmn_upstream *u, const char *method, const char *path,
                  const char *content_type, const char *etag, const struct bth_buf *body,
                  dmn_client_fn done, struct dmn_request **ret_request, struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *token = NULL;
        _cleanup_buf_ struct bth_buf url = BTH_BUF_INIT;
        size_t n = strlen(u->config.url);
        int r = read_token(u, &token, error);

        if (r < 0)
                return r;
        while (n > 0 && u->config.url[n - 1] == '/')
                n--;
        r = bth_buf_add(&url, u->config.url, n);
        if (r == 0)
                r = bth_buf_add_string(&url, path);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY, "no memory");
        const struct dmn_request_options o = {
                .method = method,
                .url = url.data,
                .allow_plain = u->config.allow_plain,
                .token = token,
                .content_type = content_type,
                .if_none_match = etag,
                .body = body ? body->data : NULL,
                .n = body ? body->length : 0,
                .ca_file = u->config.ca_file,
                .client_cert = u->config.client_cert,
                .client_key = u->config.client_key,
                .proxy = u->config.proxy,
        };
        return dmn_client_send(u->client, &o, done, u, ret_request, error);
}

int upstream_explain(const struct dmn_answer *answer, struct bth_error *error)
{
        switch (answer->status) {
        case 401:
        case 403:
                (void)bth_error_set(error, -EACCES, BTH_REASON_CREDENTIALS,
                                    "the job service refuses the token (%u)", answer->status);
                bth_error_advise(error, "renew job_service_token, or give it the right station");
                return -EACCES;
        case 404:
        case 405:
                return bth_error_set(error, -ENOENT, BTH_REASON_NOT_FOUND,
                                     "job_service is no job service for stations (%u)",
                                     answer->status);
        case 429:
        case 503:
                return bth_error_set(error, -EAGAIN, BTH_REASON_NETWORK,
                                     "the job service asks for less (%u)", answer->status);
        default:
                return bth_error_set(error, -EIO, BTH_REASON_NETWORK,
                                     "the job service has trouble of its own (%u)", answer->status);
        }
}

/* --- again --- */

void upstream_at(struct upstream_way *way, uint64_t usec)
{
        (void)sd_event_source_set_time(way->timer, usec);
        (void)sd_event_source_set_enabled(way->timer, SD_EVENT_ONESHOT);
}

/* Anywhere up to twice as long as the last time: many stations must not come back together. */
static uint64_t jittered(unsigned failures)
{
        const unsigned shift = MIN(failures, 16u);
        const uint64_t most =
                MIN(DMN_UPSTREAM_BACKOFF_MIN_USEC << shift, DMN_UPSTREAM_BACKOFF_MAX_USEC);
        uint64_t random = 0;

        if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
                random = bth_now_monotonic_usec();
        return random % (most + 1);
}

void upstream_failed(struct dmn_upstream *u, struct upstream_way *way,
                     const struct bth_error *error, uint64_t least_sec)
{
        const uint64_t now = bth_now_monotonic_usec(), least = least_sec * BTH_USEC_PER_SEC;
        const uint64_t pause = MAX(jittered(way->failures), least);

        if (way->failures == 0)
                bth_log_error(LOG_WARNING, error);
        /* What it said of our token or certificate says more than that it said nothing. */
        if (error->code != -ECONNRESET || u->error.code != -EACCES)
                u->error = *error;
        way->failures += way->failures < UINT16_MAX;
        way->busy = false;
        way->again_usec = now + pause;
        way->pause_usec = least > 0 ? now + least : 0;
        upstream_at(way, way->again_usec);
}

void upstream_well(struct dmn_upstream *u, struct upstream_way *way)
{
        if (way->failures > 0)
                bth_log(LOG_NOTICE, "the job service answers again");
        way->failures = 0;
        way->again_usec = way->pause_usec = 0;
        u->heard_usec = bth_now_realtime_usec();
        if (u->push.failures == 0 && u->fetch.failures == 0)
                u->error = BTH_ERROR_INIT;
}

/* A new token: what waits need not wait any longer. */
static void on_token(void *userdata, const char *account)
{
        struct dmn_upstream *u = userdata;
        struct upstream_way *const ways[] = { &u->push, &u->fetch };

        (void)account;
        for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
                if (ways[i]->busy || ways[i]->failures == 0)
                        continue;
                ways[i]->again_usec = 0;
                upstream_at(ways[i], 0);
        }
}

static int watch_token(struct dmn_upstream *u)
{
        struct dmn_account_config a = token_of(u);
        const struct dmn_config c = { .accounts = &a, .n_accounts = 1 };

        return u->config.token ? dmn_credential_watch(u->loop, &c, on_token, u, &u->token) : 0;
}

/* --- memory --- */

static void destroy(struct dmn_upstream *u)
{
        free(u->config.url);
        free(u->config.token);
        free(u->config.ca_file);
        free(u->config.client_cert);
        free(u->config.client_key);
        free(u->config.proxy);
        free(u->source);
        free(u->location);
        free(u->query);
        upstream_batch_clear(&u->batch);
        dmn_answer_jobs_clear(&u->list);
        (void)sd_event_unref(u->loop);
        free(u);
}

int upstream_submit(struct dmn_upstream *u, job_task_fn task, job_done_fn done)
{
        int r = job_thread_submit(u->store, task, done, u);

        u->in_store += r == 0;
        return r;
}

bool upstream_is_gone(struct dmn_upstream *u)
{
        const bool freed = u->freed;

        u->in_store--;
        if (freed && u->in_store == 0)
                destroy(u);
        return freed;
}

/* --- all --- */

static bool copy_text(char **to, const char *from)
{
        *to = from ? strdup(from) : NULL;
        return !from || *to;
}

static bool copy_config(struct dmn_upstream *u, const struct dmn_config *c)
{
        const struct dmn_upstream_config *from = &c->upstream;

        u->config.allow_plain = from->allow_plain;
        u->config.poll_sec = from->poll_sec;
        return copy_text(&u->config.url, from->url) && copy_text(&u->config.token, from->token) &&
               copy_text(&u->config.ca_file, from->ca_file) &&
               copy_text(&u->config.client_cert, from->client_cert) &&
               copy_text(&u->config.client_key, from->client_key) &&
               copy_text(&u->config.proxy, from->proxy) && copy_text(&u->location, c->location);
}

/* "/stations/NAME", with what a URI cannot have as %XX. */
static int make_source(struct dmn_upstream *u, const char *name)
{
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
        int r = bth_buf_add_string(&b, "/stations/");

        for (const char *p = name; *p && r == 0; p++) {
                const bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                                   (*p >= '0' && *p <= '9') || strchr("-._~", *p);

                r = plain ? bth_buf_add(&b, p, 1)
                          : bth_buf_add_format(&b, "%%%02X", (unsigned)(uint8_t)*p);
        }
        if (r == 0)
                u->source = take_ptr(b.data);
        return r;
}

static int add_timer(struct dmn_upstream *u, struct upstream_way *way,
                     sd_event_time_handler_t handler)
{
        int r = sd_event_add_time(u->loop, &way->timer, CLOCK_MONOTONIC, 0, 0, handler, u);

        return r < 0 ? r : 0;
}

static int set_up(struct dmn_upstream *u, const struct dmn_config *config)
{
        int r;

        if (!copy_config(u, config))
                return -ENOMEM;
        r = make_source(u, config->name ? config->name : "station");
        if (r == 0)
                r = dmn_client_new(u->loop, &u->client);
        if (r == 0)
                r = watch_token(u);
        if (r == 0)
                r = add_timer(u, &u->push, upstream_on_push);
        if (r == 0)
                r = add_timer(u, &u->fetch, upstream_on_fetch);
        return r;
}

int dmn_upstream_new(sd_event *loop, struct job_thread *store, const struct dmn_config *config,
                     const struct dmn_upstream_events *events, void *userdata,
                     struct dmn_upstream **ret_upstream, struct bth_error *error)
{
        _cleanup_(dmn_upstream_freep) struct dmn_upstream *u = calloc(1, sizeof *u);
        int r;

        if (!u)
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory");
        u->loop = sd_event_ref(loop);
        u->store = store;
        u->events = events;
        u->userdata = userdata;
        u->error = BTH_ERROR_INIT;
        u->batch_max = DMN_UPSTREAM_BATCH_MAX;
        r = config->upstream.url ? set_up(u, config) : -EINVAL;
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_INTERNAL,
                                     "the job service cannot be spoken to: %s", bth_strerror(r));
        *ret_upstream = take_ptr(u);
        return 0;
}

void dmn_upstream_wake(struct dmn_upstream *u)
{
        const uint64_t last = job_thread_last_event(u->store);

        if (last == u->seen_event || u->push.busy)
                return;
        u->seen_event = last;
        upstream_at(&u->push,
                    MAX(u->push.again_usec, bth_now_monotonic_usec() + DMN_UPSTREAM_SOON_USEC));
}

void dmn_upstream_fetch(struct dmn_upstream *u)
{
        if (!u->fetch.busy)
                upstream_at(&u->fetch, u->fetch.again_usec);
}

uint64_t dmn_upstream_ask(struct dmn_upstream *u)
{
        if (u->fetch.pause_usec > bth_now_monotonic_usec())
                return 0;
        if (u->fetch.busy)
                u->asked = true;
        else
                upstream_at(&u->fetch, 0);
        return u->begun + 1;
}

bool dmn_upstream_answered(const struct dmn_upstream *u, uint64_t ask)
{
        return u->ended >= ask;
}

void dmn_upstream_status(const struct dmn_upstream *u, struct dmn_upstream_status *ret_status)
{
        *ret_status =
                (struct dmn_upstream_status){ .url = u->config.url,
                                              .source = u->source,
                                              .heard_usec = u->heard_usec,
                                              .fetched_usec = u->fetched_usec,
                                              .failures = MAX(u->push.failures, u->fetch.failures),
                                              .error = u->error,
                                              .outbox = u->outbox };
}

struct dmn_upstream *dmn_upstream_free(struct dmn_upstream *u)
{
        if (!u)
                return NULL;
        u->push.request = dmn_request_free(u->push.request);
        u->fetch.request = dmn_request_free(u->fetch.request);
        u->push.timer = sd_event_source_disable_unref(u->push.timer);
        u->fetch.timer = sd_event_source_disable_unref(u->fetch.timer);
        u->client = dmn_client_free(u->client);
        u->token = dmn_credential_watch_free(u->token);
        u->freed = true;
        if (u->in_store == 0)
                destroy(u);
        return NULL;
}
