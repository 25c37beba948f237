/* SPDX-License-Identifier: GPL-3.0-or-later */
/* upstream - events to a job service that answers as it is told to, and jobs from it: nothing lost,
 * nothing out of its order, whatever the service does; real store, real HTTP. */
#include "station-world.h"

#include <inttypes.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/json.h"
#include "base/time.h"
#include "daemon/upstream.h"

#define TURNS_MAX  600
#define EVENTS_MAX 4000

/* The service: on a thread of its own, so nothing is asserted there. */
struct service {
        struct MHD_Daemon *daemon;
        pthread_mutex_t lock;
        /* how it answers; under `lock` */
        unsigned status; /* of the next `n_status` requests for events; 0: 200 */
        unsigned n_status;
        unsigned batch_max;       /* 413 beyond; 0: none */
        const char *poison;       /* events with this text are bad: 400, or refused one by one */
        bool refuse;              /* … then in the answer's list */
        bool drop;                /* the answer is lost after the events were taken */
        char *jobs;               /* of GET */
        const char *more;         /* … and of its second page, which has a tag as well */
        unsigned retry_after_sec; /* … with a status of 503 instead; 0: none */
        bool more_304;            /* … or is answered with 304, which makes no sense there */
        const char *etag;
        atomic_uint n_seen; /* requests, before anything else */
        /* what it saw */
        char *ids[EVENTS_MAX], *subjects[EVENTS_MAX], *seqs[EVENTS_MAX];
        size_t n_events, n_posts, n_gets, n_304, n_second, largest, n_wrong_token;
        char last_query[1024];
};

struct bench {
        struct world w;
        struct service s;
        struct dmn_upstream *u;
        unsigned n_changed, n_answered;
        uint64_t ask;
        const char *unknown;
        struct dmn_config *config;
};

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

static void start(struct bench *b)
{
        static const struct dmn_upstream_events events = { changed, answered, unknown_drives };
        struct bth_error e = BTH_ERROR_INIT;

        if (dmn_upstream_new(b->w.loop, b->w.store, b->config, &events, b, &b->u, &e) < 0)
                fail_msg("%s", e.sentence);
}

static int set_up(void **state)
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

static int tear_down(void **state)
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

static bool drained(const struct bench *b)
{
        struct dmn_upstream_status st;

        dmn_upstream_status(b->u, &st);
        return b->s.n_posts > 0 && st.heard_usec > 0 && st.outbox.waiting == 0 && st.failures == 0;
}

static void run_until(struct bench *b, bool (*is_so)(const struct bench *))
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

/* --- what happens at the station --- */

struct making {
        unsigned n_jobs, n_drives, done;
        bool dock;
};

static int make_task(struct job_store *s, void *userdata, struct bth_error *error)
{
        static unsigned n_made;
        struct making *m = userdata;
        const struct job_policy policy = { 0 };
        int r = job_store_outbox_use(s, true, error);

        for (unsigned i = 0; i < m->n_jobs && r == 0; i++) {
                struct job_draft_drive drives[JOB_MAX_DRIVES];
                char serials[JOB_MAX_DRIVES][32], name[32];
                struct job_draft d = { .name = name,
                                       .account = "photos",
                                       .accept_unshipped = true,
                                       .drives = drives,
                                       .n_drives = m->n_drives };
                uint64_t id;

                (void)snprintf(name, sizeof name, "job-%u", ++n_made);
                for (unsigned k = 0; k < m->n_drives; k++) {
                        (void)snprintf(serials[k], sizeof serials[k], "S%u-%u", n_made, k);
                        drives[k] = (struct job_draft_drive){ .serial = serials[k],
                                                              .manifest_file = "\\m.xml",
                                                              .manifest_hash = "0" };
                }
                r = job_store_add(s, &d, false, bth_now_realtime_usec(), "test", &id, error);
                for (unsigned k = 0; k < m->n_drives && r == 0 && m->dock; k++)
                        r = job_store_apply(s,
                                            &(struct job_act){ .job = id,
                                                               .input = { .kind = JOB_INPUT_DOCKED,
                                                                          .drive = k } },
                                            &policy, bth_now_realtime_usec(), "test",
                                            &(struct job_outcome){ 0 }, error);
        }
        return r;
}

static void made(void *userdata, int r, const struct bth_error *error)
{
        struct making *m = userdata;

        if (r < 0)
                fail_msg("%s", error->sentence);
        m->done = 1;
}

static void make_jobs(struct bench *b, unsigned n_jobs, unsigned n_drives)
{
        struct making m = { .n_jobs = n_jobs, .n_drives = n_drives, .dock = true };

        assert_int_equal(job_thread_submit(b->w.store, make_task, made, &m), 0);
        while (!m.done)
                assert_true(sd_event_run(b->w.loop, UINT64_MAX) >= 0);
}

/* All events of the history, as the service must have them. */
struct truth {
        uint64_t seqs[EVENTS_MAX];
        size_t n;
        char uid[40];
};

static int count_event(void *userdata, const struct job_event *e)
{
        struct truth *t = userdata;

        t->seqs[t->n++] = e->seq;
        return 0;
}

static int truth_task(struct job_store *s, void *userdata, struct bth_error *error)
{
        struct truth *t = userdata;
        const struct job_event_filter f = { .drive = JOB_NO_DRIVE, .limit = JOB_STORE_PAGE_MAX };

        (void)snprintf(t->uid, sizeof t->uid, "%s", job_store_uid(s));
        return job_store_events(s, &f, count_event, t, error);
}

/* Each at least once, and each subject in its order (a later delivery of the same does not count).
 */
static void expect_all(struct bench *b, size_t n_parked)
{
        struct truth *t = calloc(1, sizeof *t);
        size_t n_found = 0;

        assert_non_null(t);
        assert_int_equal(job_thread_submit(b->w.store, truth_task, NULL, t), 0);
        while (job_thread_pending(b->w.store) > 0)
                assert_true(sd_event_run(b->w.loop, UINT64_MAX) >= 0);
        for (size_t i = 0; i < t->n; i++) {
                char id[80];
                bool found = false;

                (void)snprintf(id, sizeof id, "%s-%" PRIu64, t->uid, t->seqs[i]);
                for (size_t k = 0; k < b->s.n_events && !found; k++)
                        found = strcmp(b->s.ids[k], id) == 0;
                n_found += found;
        }
        assert_int_equal(n_found + n_parked, t->n);
        for (size_t i = 0; i < b->s.n_events; i++)
                for (size_t k = i + 1; k < b->s.n_events; k++) {
                        bool again = false;

                        if (strcmp(b->s.subjects[i], b->s.subjects[k]) != 0 ||
                            strcmp(b->s.seqs[i], b->s.seqs[k]) < 0)
                                continue;
                        for (size_t e = 0; e < i && !again; e++)
                                again = strcmp(b->s.ids[e], b->s.ids[k]) == 0;
                        if (!again && strcmp(b->s.ids[i], b->s.ids[k]) != 0)
                                fail_msg("%s overtook %s", b->s.ids[i], b->s.ids[k]);
                }
        free(t);
}

/* --- up --- */

static void test_push(void **state)
{
        struct bench *b = *state;

        make_jobs(b, 20, 3);
        start(b);
        run_until(b, drained);
        expect_all(b, 0);
        assert_int_equal(b->s.n_wrong_token, 0);
        make_jobs(b, 1, 1); /* and what comes later */
        b->s.n_posts = 0;
        run_until(b, drained);
        expect_all(b, 0);
}

/* A service that has trouble, loses its answer after it took the events, and is not there. */
static void test_trouble(void **state)
{
        struct bench *b = *state;

        make_jobs(b, 10, 2);
        b->s.status = 503;
        b->s.n_status = 2;
        start(b);
        run_until(b, drained);
        expect_all(b, 0);
        (void)pthread_mutex_lock(&b->s.lock);
        b->s.drop = true;
        b->s.n_posts = 0;
        (void)pthread_mutex_unlock(&b->s.lock);
        make_jobs(b, 3, 2);
        run_until(b, drained);
        expect_all(b, 0);
}

/* A stop at any moment: the next start goes on where the store stands. */
static void test_stops(void **state)
{
        struct bench *b = *state;

        make_jobs(b, 20, 4);
        b->s.batch_max = 7;
        for (int i = 0; i < 25; i++) {
                start(b);
                for (int k = 0; k < i; k++)
                        assert_true(sd_event_run(b->w.loop, 20000) >= 0);
                b->u = dmn_upstream_free(b->u);
        }
        make_jobs(b, 1, 1); /* there is something to send, however far it came */
        (void)pthread_mutex_lock(&b->s.lock);
        b->s.n_posts = 0; /* the last client has to have looked at the outbox itself */
        (void)pthread_mutex_unlock(&b->s.lock);
        start(b);
        run_until(b, drained);
        expect_all(b, 0);
        assert_true(b->s.largest > 7); /* it was refused, and made smaller */
}

static void expect_parked(struct bench *b, size_t n)
{
        struct dmn_upstream_status st;

        dmn_upstream_status(b->u, &st);
        assert_int_equal(st.outbox.parked, n);
        assert_int_equal(st.outbox.waiting, 0);
}

/* One that the service cannot read is found among many, and holds nothing back. */
static void test_poison(void **state)
{
        struct bench *b = *state;

        make_jobs(b, 4, 2);
        b->s.poison = "berth.job.made";
        start(b);
        run_until(b, drained);
        expect_all(b, 4);
        expect_parked(b, 4);
}

/* The same when it says which ones. */
static void test_refused(void **state)
{
        struct bench *b = *state;

        make_jobs(b, 4, 2);
        b->s.poison = "berth.job.made";
        b->s.refuse = true;
        start(b);
        run_until(b, drained);
        expect_all(b, 4);
        expect_parked(b, 4);
}

static bool refused_token(const struct bench *b)
{
        struct dmn_upstream_status st;

        dmn_upstream_status(b->u, &st);
        return b->s.n_wrong_token > 0 && st.error.code < 0;
}

/* A wrong token: everything is kept, and goes as soon as there is a right one. */
static void test_token(void **state)
{
        struct bench *b = *state;
        struct dmn_upstream_status st;

        make_jobs(b, 2, 1);
        world_write(&b->w, "token", "wrong\n");
        start(b);
        run_until(b, refused_token);
        dmn_upstream_status(b->u, &st);
        assert_int_equal(st.error.reason, BTH_REASON_CREDENTIALS);
        assert_true(st.failures > 0);
        assert_int_equal(b->s.n_events, 0);
        world_write(&b->w, "token", "let.me.in\n");
        run_until(b, drained);
        expect_all(b, 0);
}

static bool posted(const struct bench *b)
{
        return b->s.n_posts > 0;
}

/* With nothing to tell, it says once that it is there. */
static void test_silence(void **state)
{
        struct bench *b = *state;

        start(b);
        run_until(b, posted);
        for (int i = 0; i < 20; i++)
                assert_true(sd_event_run(b->w.loop, 20000) >= 0);
        assert_int_equal(b->s.n_posts, 1);
        assert_int_equal(b->s.largest, 0);
}

/* --- down --- */

static void set_jobs(struct bench *b, const char *jobs, const char *etag)
{
        (void)pthread_mutex_lock(&b->s.lock);
        free(b->s.jobs);
        b->s.jobs = strdup(jobs);
        b->s.etag = etag;
        b->s.n_304 = 0;
        (void)pthread_mutex_unlock(&b->s.lock);
}

#define DRIVE(serial, state)                                                                \
        "{\"serial\":\"" serial "\",\"manifest_file\":\"\\\\DriveManifest.xml\","           \
        "\"manifest_hash\":\"109B21108597EF36D5785F08303F3638\",\"key\":\"111111-222222\"," \
        "\"state\":\"" state "\"}"
#define JOB(name, more, drives)                                                              \
        "{\"name\":\"" name "\",\"account\":\"/accounts/photos\",\"location\":\"Lab\"," more \
        "\"drives\":[" drives "]}"

static bool answered_304(const struct bench *b)
{
        return b->s.n_304 > 0;
}

struct look {
        const char *name;
        struct job_record *record;
        struct bth_secret *key;
        int r, done;
};

static int look_task(struct job_store *s, void *userdata, struct bth_error *error)
{
        struct look *l = userdata;

        l->r = job_store_find(s, NULL, l->name, &l->record, error);
        if (l->r == 0)
                (void)!job_store_key(s, l->record->id, 0, &l->key, NULL);
        return 0;
}

static void looked(void *userdata, int r, const struct bth_error *error)
{
        (void)r;
        (void)error;
        ((struct look *)userdata)->done = 1;
}

static void look_for(struct bench *b, const char *name, struct look *l)
{
        *l = (struct look){ .name = name };
        assert_int_equal(job_thread_submit(b->w.store, look_task, looked, l), 0);
        while (!l->done)
                assert_true(sd_event_run(b->w.loop, UINT64_MAX) >= 0);
}

static void look_end(struct look *l)
{
        (void)job_record_free(l->record);
        (void)bth_secret_free(l->key);
}

static void fetched(struct bench *b)
{
        run_until(b, answered_304);
}

static void test_fetch(void **state)
{
        struct bench *b = *state;
        struct look l;

        set_jobs(b,
                 "{\"jobs\":[" JOB("trip", "\"verbose_log\":true,",
                                   DRIVE("AB12", "Specified") "," DRIVE("CD34", "Completed")) "]}",
                 "\"1\"");
        b->unknown = "XY 9";
        start(b);
        fetched(b);
        assert_string_equal(b->s.last_query, "Lab|XY 9");
        assert_int_equal(b->n_changed, 1);
        look_for(b, "trip", &l);
        assert_int_equal(l.r, 0);
        assert_string_equal(l.record->origin, "upstream");
        assert_int_equal(l.record->model.n_drives, 2);
        assert_string_equal(l.record->drives[0].serial, "AB12");
        assert_int_equal(l.record->model.drives[0].state, BTH_DRIVE_STATE_SPECIFIED);
        assert_int_equal(l.record->model.drives[1].state, BTH_DRIVE_STATE_COMPLETED);
        assert_false(l.record->drives[1].has_key); /* it is done elsewhere */
        assert_true(l.record->verbose_log);
        assert_memory_equal(l.key->data, "111111-222222", 13);
        look_end(&l);

        set_jobs(b,
                 "{\"jobs\":[" JOB(
                         "trip", "",
                         DRIVE("AB12",
                               "CompletedMoreInfo\",\"copy_status\":\"CompletedWithErrors\","
                               "\"bytes\":900,\"bytes_done\":880,\"blobs\":9,\"blobs_done\":8,"
                               "\"at\":\"/stations/north") "," DRIVE("CD34", "Completed")) "]}",
                 "\"2\"");
        fetched(b);
        look_for(b, "trip", &l);
        assert_int_equal(l.record->model.drives[0].bytes, 900);
        assert_int_equal(l.record->model.drives[0].bytes_done, 880);
        assert_int_equal(l.record->model.drives[0].blobs, 9);
        assert_int_equal(l.record->model.drives[0].blobs_done, 8);
        assert_int_equal(l.record->model.drives[0].status, BTH_DRIVE_STATUS_COMPLETED_WITH_ERRORS);
        assert_int_equal(l.record->model.drives[0].state, BTH_DRIVE_STATE_COMPLETED_MORE_INFO);
        assert_int_equal(l.record->model.state, BTH_JOB_STATE_PACKAGING);
        look_end(&l);

        set_jobs(b, "{\"jobs\":[]}", "\"3\""); /* sent back, from the other station */
        fetched(b);
        look_for(b, "trip", &l);
        assert_int_equal(l.record->model.state, BTH_JOB_STATE_CLOSED);
        look_end(&l);
}

/* What upstream still decides of a job that has not begun. */
static void test_fetch_changes(void **state)
{
        struct bench *b = *state;
        struct look l;

        set_jobs(b, "{\"jobs\":[" JOB("trip", "", DRIVE("AB12", "Specified")) "]}", "\"1\"");
        start(b);
        fetched(b);
        look_for(b, "trip", &l);
        assert_int_equal(l.record->model.state, BTH_JOB_STATE_CREATING);
        look_end(&l);

        set_jobs(b, "{\"jobs\":[" JOB("trip", "\"shipped\":true,", DRIVE("AB12", "Specified")) "]}",
                 "\"2\"");
        fetched(b);
        look_for(b, "trip", &l);
        assert_int_equal(l.record->model.state, BTH_JOB_STATE_SHIPPING);
        look_end(&l);

        set_jobs(b,
                 "{\"jobs\":[" JOB("trip", "\"shipped\":true,\"cancel_requested\":true,",
                                   DRIVE("AB12", "Specified")) "]}",
                 "\"3\"");
        fetched(b);
        look_for(b, "trip", &l);
        assert_true(l.record->model.cancel_requested);
        look_end(&l);
}

/* What is wrong with one job does not keep the others away; what is gone upstream ends here. */
static void test_fetch_some(void **state)
{
        struct bench *b = *state;
        struct look l;

        set_jobs(b,
                 "{\"jobs\":[{\"drives\":[]}," JOB(
                         "bad one", "",
                         DRIVE("AB12",
                               "Specified")) "," JOB("bad2", "",
                                                     DRIVE("000000",
                                                           "Specified")) "," JOB("good", "",
                                                                                 DRIVE("AB12",
                                                                                       "Specifie"
                                                                                       "d")) "]}",
                 "\"1\"");
        start(b);
        fetched(b);
        look_for(b, "good", &l);
        assert_int_equal(l.r, 0);
        look_end(&l);
        look_for(b, "bad2", &l);
        assert_int_equal(l.r, -ENOENT);
        look_end(&l);
        set_jobs(b, "{\"jobs\":[]}", "\"2\"");
        fetched(b);
        look_for(b, "good", &l);
        assert_int_equal(l.r, -ENOENT);
        look_end(&l);
}

static bool fetched_second(const struct bench *b)
{
        return b->s.n_second >= 2;
}

static bool fetched_once(const struct bench *b)
{
        struct dmn_upstream_status st;

        dmn_upstream_status(b->u, &st);
        return st.fetched_usec > 0;
}

/* The tag of a page says nothing of the pages behind it: what changes there is seen. */
static void test_fetch_pages(void **state)
{
        struct bench *b = *state;
        struct look l;

        b->s.more = "{\"jobs\":[" JOB("later", "", DRIVE("CD34", "Specified")) "]}";
        set_jobs(b, "{\"jobs\":[" JOB("trip", "", DRIVE("AB12", "Specified")) "],\"next\":5}",
                 "\"1\"");
        start(b);
        run_until(b, fetched_once);
        look_for(b, "later", &l);
        assert_int_equal(l.r, 0);
        look_end(&l);
        (void)pthread_mutex_lock(&b->s.lock);
        b->s.n_second = 0;
        b->s.more = "{\"jobs\":[" JOB("last", "", DRIVE("EF56", "Specified")) "]}";
        (void)pthread_mutex_unlock(&b->s.lock);
        run_until(b, fetched_second);
        look_for(b, "last", &l);
        assert_int_equal(l.r, 0);
        look_end(&l);
        look_for(b, "later", &l);
        assert_int_equal(l.r, -ENOENT);
        look_end(&l);
        look_for(b, "trip", &l);
        assert_int_equal(l.r, 0);
        look_end(&l);
}

static bool fetch_failed(const struct bench *b)
{
        struct dmn_upstream_status st;

        dmn_upstream_status(b->u, &st);
        return st.error.code < 0;
}

static bool is_answered(const struct bench *b)
{
        return dmn_upstream_answered(b->u, b->ask);
}

/* Who asks gets an answer of after that, also of a service that is gone; a pause that the service
 * asks for is kept. */
static void test_ask(void **state)
{
        struct bench *b = *state;
        unsigned n_answered, n_seen;
        uint64_t first;
        size_t n_gets;
        struct look l;

        b->config->upstream.poll_sec = 3600;
        set_jobs(b, "{\"jobs\":[]}", "\"1\"");
        start(b);
        b->ask = dmn_upstream_ask(b->u);
        assert_false(is_answered(b));
        run_until(b, is_answered);
        n_gets = b->s.n_gets;
        n_answered = b->n_answered;
        assert_int_equal(n_answered, n_gets);

        /* One that is under way has begun before, whatever it brings. */
        set_jobs(b, "{\"jobs\":[" JOB("trip", "", DRIVE("AB12", "Specified")) "]}", "\"2\"");
        (void)pthread_mutex_lock(&b->s.lock); /* the service does not come to its answer */
        n_seen = atomic_load(&b->s.n_seen);
        first = dmn_upstream_ask(b->u);
        for (int i = 0; i < TURNS_MAX && atomic_load(&b->s.n_seen) == n_seen; i++)
                assert_true(sd_event_run(b->w.loop, 50000) >= 0);
        b->ask = dmn_upstream_ask(b->u);
        assert_true(b->ask > first);
        (void)pthread_mutex_unlock(&b->s.lock);
        run_until(b, is_answered);
        assert_int_equal(b->s.n_gets, n_gets + 2);
        look_for(b, "trip", &l);
        assert_int_equal(l.r, 0); /* it is stored when it is answered */
        look_end(&l);

        (void)pthread_mutex_lock(&b->s.lock);
        b->s.retry_after_sec = 600;
        (void)pthread_mutex_unlock(&b->s.lock);
        b->ask = dmn_upstream_ask(b->u);
        run_until(b, is_answered);
        n_gets = b->s.n_gets;
        b->ask = dmn_upstream_ask(b->u);
        assert_true(is_answered(b));
        for (int i = 0; i < 10; i++)
                assert_true(sd_event_run(b->w.loop, 10000) >= 0);
        assert_int_equal(b->s.n_gets, n_gets);
}

/* The service is gone: that is an answer, too. */
static void test_ask_nobody(void **state)
{
        struct bench *b = *state;

        b->config->upstream.poll_sec = 3600;
        start(b);
        run_until(b, fetched_once);
        MHD_stop_daemon(b->s.daemon);
        b->s.daemon = NULL;
        for (int i = 0; i < 3; i++) { /* each tries, whatever the back-off */
                const unsigned n = b->n_answered;

                b->ask = dmn_upstream_ask(b->u);
                assert_false(is_answered(b));
                run_until(b, is_answered);
                assert_int_equal(b->n_answered, n + 1);
        }
}

static int dock_task(struct job_store *s, void *userdata, struct bth_error *error)
{
        static const struct job_policy policy;
        struct job_record *r;
        struct job_outcome out;
        uint64_t docking;
        int k = job_store_find(s, NULL, "trip", &r, error);

        for (size_t i = 0; i < 2 && k == 0; i++) {
                const struct job_docking d = { .serial = r->drives[i].serial,
                                               .bay = i ? "A2" : "A1",
                                               .job = r->id,
                                               .drive = i,
                                               .matched = "serial" };

                k = job_store_dock(s, &d, &policy, bth_now_realtime_usec(), NULL, &docking, &out,
                                   error);
        }
        if (k == 0) /* the second one is being copied */
                k = job_store_apply(
                        s,
                        &(struct job_act){ .job = r->id,
                                           .input = { .kind = JOB_INPUT_BEGUN, .drive = 1 } },
                        &policy, bth_now_realtime_usec(), NULL, &out, error);
        (void)job_record_free(r);
        return k;
}

/* The other station is heard after the drive was docked here: one that waits is not copied again,
 * one that is being copied goes on. */
static void test_fetch_docked(void **state)
{
        struct bench *b = *state;
        struct making m = { 0 };
        struct look l;

        set_jobs(b,
                 "{\"jobs\":[" JOB("trip", "\"shipped\":true,",
                                   DRIVE("AB12", "Specified") "," DRIVE("CD34", "Specified")) "]}",
                 "\"1\"");
        start(b);
        fetched(b);
        assert_int_equal(job_thread_submit(b->w.store, dock_task, made, &m), 0);
        while (!m.done)
                assert_true(sd_event_run(b->w.loop, UINT64_MAX) >= 0);
        set_jobs(b,
                 "{\"jobs\":[" JOB("trip", "\"shipped\":true,",
                                   DRIVE("AB12", "Completed") "," DRIVE("CD34", "Completed")) "]}",
                 "\"2\"");
        fetched(b);
        look_for(b, "trip", &l);
        assert_int_equal(l.record->model.drives[0].state, BTH_DRIVE_STATE_COMPLETED);
        assert_true(l.record->model.drives[0].docked);
        assert_int_equal(l.record->model.drives[0].activity, JOB_ACTIVITY_SAFE_TO_REMOVE);
        assert_int_equal(l.record->model.drives[1].state, BTH_DRIVE_STATE_TRANSFERRING);
        look_end(&l);
}

/* Half a list is none, whatever the tag of its first page. */
static void test_fetch_half(void **state)
{
        struct bench *b = *state;
        struct dmn_upstream_status st;
        struct look l;

        b->s.more_304 = true;
        set_jobs(b, "{\"jobs\":[" JOB("trip", "", DRIVE("AB12", "Specified")) "],\"next\":5}",
                 "\"1\"");
        start(b);
        run_until(b, fetch_failed);
        dmn_upstream_status(b->u, &st);
        assert_int_equal(st.fetched_usec, 0);
        look_for(b, "trip", &l);
        assert_int_equal(l.r, -ENOENT);
        look_end(&l);
}

/* Nonsense changes nothing. */
static void test_fetch_nonsense(void **state)
{
        static const char *const texts[] = { "{\"jobs\":7}", "[]", "{\"jobs\":[],\"next\":\"x\"}",
                                             "{\"jobs\":[],\"next\":0}",
                                             "{\"jobs\":[],\"next\":-1}" };
        struct bench *b = *state;
        struct look l;

        set_jobs(b, "{\"jobs\":[" JOB("good", "", DRIVE("AB12", "Specified")) "]}", "\"1\"");
        start(b);
        fetched(b);
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                b->u = dmn_upstream_free(b->u);
                set_jobs(b, texts[i], NULL);
                start(b);
                run_until(b, fetch_failed);
        }
        look_for(b, "good", &l);
        assert_int_equal(l.r, 0);
        look_end(&l);
}

static void test_config(void **state)
{
        static const struct {
                const char *text, *says;
        } cases[] = {
                { "[station]\nname = a\njob_service = http://x/\njob_service_token = t\n",
                  "is not https" },
                { "[station]\njob_service = https://x/\njob_service_token = t\n", "needs a name" },
                { "[station]\nname = a\njob_service = https://x/\n", "needs job_service_token" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct bth_error e = BTH_ERROR_INIT;
                struct dmn_config *c = NULL;

                assert_int_equal(
                        dmn_config_parse(cases[i].text, strlen(cases[i].text), "t", &c, &e),
                        -EINVAL);
                if (!strstr(e.sentence, cases[i].says))
                        fail_msg("%s", e.sentence);
                assert_true(e.line > 0);
        }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(test_push),
                TEST(test_trouble),
                TEST(test_stops),
                TEST(test_poison),
                TEST(test_refused),
                TEST(test_token),
                TEST(test_silence),
                TEST(test_fetch),
                TEST(test_fetch_some),
                TEST(test_fetch_changes),
                TEST(test_fetch_nonsense),
                TEST(test_fetch_pages),
                TEST(test_fetch_half),
                TEST(test_ask),
                TEST(test_ask_nobody),
                TEST(test_fetch_docked),
                cmocka_unit_test(test_config),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
