/* SPDX-License-Identifier: GPL-3.0-or-later */
/* upstream-world - see upstream-world.h. */
#include "upstream-world.h"

#include "base/json.h"

/* --- the service --- */

struct post {
        struct bth_buf body;
};

static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, const char *text,
                              const char *etag)
{
        struct MHD_Response *r = MHD_create_response_from_buffer(
                strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
        enum MHD_Result k;

        if (etag)
                (void)MHD_add_response_header(r, "ETag", etag);
        k = MHD_queue_response(c, status, r);
        MHD_destroy_response(r);
        return k;
}

static void take(struct service *s, const json_t *e)
{
        if (s->n_events == EVENTS_MAX)
                return;
        s->ids[s->n_events] = strdup(json_string_value(json_object_get(e, "id")));
        s->subjects[s->n_events] = strdup(json_string_value(json_object_get(e, "partitionkey")));
        s->seqs[s->n_events] = strdup(json_string_value(json_object_get(e, "sequence")));
        s->n_events++;
}

static bool is_bad(const struct service *s, const json_t *e)
{
        const char *type = json_string_value(json_object_get(e, "type"));

        return s->poison && type && strcmp(type, s->poison) == 0;
}

static enum MHD_Result answer_events(struct service *s, struct MHD_Connection *c,
                                     const struct bth_buf *body)
{
        json_t *j = json_loadb(body->data ? body->data : "", body->length, 0, NULL);
        json_t *refused = json_array();
        const size_t n = json_array_size(j);
        enum MHD_Result k;
        const json_t *e;
        char *text;
        size_t i;

        s->n_posts++;
        s->largest = MAX(s->largest, n);
        if (s->n_status > 0) {
                s->n_status--;
                json_decref(j);
                json_decref(refused);
                return answer(c, s->status, "{}", NULL);
        }
        if (s->batch_max > 0 && n > s->batch_max) {
                json_decref(j);
                json_decref(refused);
                return answer(c, 413, "{}", NULL);
        }
        json_array_foreach(j, i, e) if (is_bad(s, e) && !s->refuse)
        {
                json_decref(j);
                json_decref(refused);
                return answer(c, 400, "{}", NULL);
        }
        json_array_foreach(j, i, e)
        {
                if (is_bad(s, e))
                        json_array_append_new(refused, json_pack("{s:O, s:{s:s}}", "id",
                                                                 json_object_get(e, "id"), "error",
                                                                 "message", "not this"));
                else
                        take(s, e);
        }
        json_decref(j);
        j = json_pack("{s:i, s:o}", "applied", (int)n, "refused", refused);
        text = json_dumps(j, 0);
        json_decref(j);
        if (s->drop) {
                s->drop = false;
                free(text);
                return MHD_NO; /* the connection ends */
        }
        k = answer(c, 200, text, NULL);
        free(text);
        return k;
}

static enum MHD_Result answer_later(struct MHD_Connection *c, unsigned seconds)
{
        struct MHD_Response *r = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
        char text[16];
        enum MHD_Result k;

        (void)snprintf(text, sizeof text, "%u", seconds);
        (void)MHD_add_response_header(r, "Retry-After", text);
        k = MHD_queue_response(c, 503, r);
        MHD_destroy_response(r);
        return k;
}

static enum MHD_Result answer_jobs(struct service *s, struct MHD_Connection *c)
{
        const char *tag = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "If-None-Match");
        const char *serials = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "serials");
        const char *location = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "location");

        s->n_gets++;
        if (s->retry_after_sec > 0)
                return answer_later(c, s->retry_after_sec);
        if (MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "after")) {
                s->n_second++;
                return s->more_304 ? answer(c, 304, "", "\"second\"")
                                   : answer(c, 200, s->more ? s->more : "{}", "\"second\"");
        }
        (void)snprintf(s->last_query, sizeof s->last_query, "%s|%s", location ? location : "",
                       serials ? serials : "");
        if (tag && s->etag && strcmp(tag, s->etag) == 0) {
                s->n_304++;
                return answer(c, 304, "", s->etag);
        }
        return answer(c, 200, s->jobs ? s->jobs : "{\"jobs\":[]}", s->etag);
}

static enum MHD_Result on_request(void *userdata, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *n, void **state)
{
        const char *token = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization");
        struct service *s = userdata;
        struct post *p = *state;
        enum MHD_Result k;

        (void)version;
        if (!p) {
                atomic_fetch_add(&s->n_seen, 1);
                p = calloc(1, sizeof *p);
                *state = p;
                return p ? MHD_YES : MHD_NO;
        }
        if (*n > 0) {
                const int r = bth_buf_add(&p->body, data, *n);

                *n = 0;
                return r == 0 ? MHD_YES : MHD_NO;
        }
        (void)pthread_mutex_lock(&s->lock);
        if (!token || strcmp(token, "Bearer let.me.in") != 0) {
                s->n_wrong_token++;
                k = answer(c, 401, "{}", NULL);
        } else if (strcmp(method, "POST") == 0 && strcmp(url, "/v1/hub/events") == 0)
                k = answer_events(s, c, &p->body);
        else if (strcmp(url, "/v1/hub/jobs") == 0)
                k = answer_jobs(s, c);
        else
                k = answer(c, 404, "{}", NULL);
        (void)pthread_mutex_unlock(&s->lock);
        return k;
}

static void on_completed(void *userdata, struct MHD_Connection *c, void **state,
                         enum MHD_RequestTerminationCode why)
{
        struct post *p = *state;

        (void)userdata;
        (void)c;
        (void)why;
        if (p)
                bth_buf_clear(&p->body);
        free(p);
        *state = NULL;
}

static uint16_t start_service(struct service *s, uint16_t port)
{
        s->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, port, NULL, NULL, on_request,
                                     s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
                                     MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_END);
        assert_non_null(s->daemon);
        return MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
}

/* --- the station's side --- */

static void changed(void *userdata)
{
        ((struct bench *)userdata)->n_changed++;
}

static void answered(void *userdata)
{
        ((struct bench *)userdata)->n_answered++;
}

static size_t unknown_drives(void *userdata, const char **serials, size_t max)
{
        struct bench *b = userdata;

        if (!b->unknown || max == 0)
                return 0;
        serials[0] = b->unknown;
        return 1;
}

static int wake(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        struct bench *b = userdata;

        (void)source;
        (void)fd;
        (void)revents;
        (void)job_thread_dispatch(b->w.store);
        if (b->u)
                dmn_upstream_wake(b->u);
        return 0;
}

void start(struct bench *b)
{
        static const struct dmn_upstream_events events = { changed, answered, unknown_drives };
        struct bth_error e = BTH_ERROR_INIT;

        if (dmn_upstream_new(b->w.loop, b->w.store, b->config, &events, b, &b->u, &e) < 0)
                fail_msg("%s", e.sentence);
}

int set_up(void **state)
{
        struct bench *b = calloc(1, sizeof *b);
        struct bth_error e = BTH_ERROR_INIT;
        char text[1024];
        uint16_t port;

        assert_non_null(b);
        world_new(&b->w, NULL);
        b->w.answers = sd_event_source_disable_unref(b->w.answers);
        assert_true(sd_event_add_io(b->w.loop, &b->w.answers, job_thread_fd(b->w.store), EPOLLIN,
                                    wake, b) >= 0);
        assert_int_equal(pthread_mutex_init(&b->s.lock, NULL), 0);
        port = start_service(&b->s, 0);
        world_write(&b->w, "token", "let.me.in\n");
        (void)snprintf(text, sizeof text,
                       "[station]\nname = Hall 1\nlocation = Lab\n"
                       "job_service = http://127.0.0.1:%u/\njob_service_plain = yes\n"
                       "job_service_token = %s/token\njob_service_poll = 1s\n",
                       (unsigned)port, b->w.folder);
        if (dmn_config_parse(text, strlen(text), "t", &b->config, &e) < 0)
                fail_msg("%s", e.sentence);
        *state = b;
        return 0;
}

int tear_down(void **state)
{
        struct bench *b = *state;

        b->u = dmn_upstream_free(b->u);
        if (b->s.daemon)
                MHD_stop_daemon(b->s.daemon);
        world_free(&b->w);
        b->config = dmn_config_free(b->config);
        for (size_t i = 0; i < b->s.n_events; i++) {
                free(b->s.ids[i]);
                free(b->s.subjects[i]);
                free(b->s.seqs[i]);
        }
        free(b->s.jobs);
        (void)pthread_mutex_destroy(&b->s.lock);
        free(b);
        return 0;
}

void run_until(struct bench *b, bool (*is_so)(const struct bench *))
{
        for (int i = 0; i < TURNS_MAX; i++) {
                bool so;

                (void)pthread_mutex_lock(&b->s.lock);
                so = is_so(b);
                (void)pthread_mutex_unlock(&b->s.lock);
                if (so)
                        return;
                assert_true(sd_event_run(b->w.loop, 50000) >= 0);
        }
        fail_msg("it did not come to that");
}

struct doing {
        job_task_fn task;
        void *userdata;
        bool done;
};

static int do_task(struct job_store *s, void *userdata, struct bth_error *error)
{
        const struct doing *d = userdata;

        return d->task(s, d->userdata, error);
}

static void task_done(void *userdata, int r, const struct bth_error *error)
{
        struct doing *d = userdata;

        if (r < 0)
                fail_msg("%s", error->sentence);
        d->done = true;
}

void do_in_store(struct bench *b, job_task_fn task, void *userdata)
{
        struct doing d = { .task = task, .userdata = userdata };

        assert_int_equal(job_thread_submit(b->w.store, do_task, task_done, &d), 0);
        while (!d.done)
                assert_true(sd_event_run(b->w.loop, UINT64_MAX) >= 0);
}
