/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The verbs of the local API that are about jobs, drives and the history, through the socket of a
 * real station with a real store; journals are read by the real worker. */
#include "api-world.h"

#include "jobs/match.h"

#define JOURNAL_KEY "447062-369370-282953-484484-205029-308352-340461-184679"

/* {"name":…,"account":"photos",…,"journals":[…]} */
static char *import_body(const char *name, const char *more, const char *const *serials, size_t n)
{
        json_t *j = json_pack("{s:s}", "account", "photos"), *list = json_array();
        json_t *members = json_loads(more ? more : "{}", 0, NULL);
        char *text;

        for (size_t i = 0; i < n; i++)
                (void)json_array_append_new(list, json_pack("{s:s,s:s}", "name", "Lab 7.jrn",
                                                            "text", world_journal(serials[i])));
        (void)json_object_set_new(j, "journals", list);
        if (name)
                (void)json_object_set_new(j, "name", json_string(name));
        assert_int_equal(json_object_update(j, members), 0);
        text = bth_json_to_text(j);
        json_decref(members);
        json_decref(j);
        assert_non_null(text);
        return text;
}

static void make_job(struct api_world *w, const char *name, const char *more, const char *serial)
{
        _cleanup_free_ char *body = import_body(name, more, &serial, 1);

        api_expect(w, "POST", "/v1/jobs", body, 200, NULL);
}

static const char *text_at(const json_t *j, const char *key)
{
        const char *text = json_string_value(json_object_get(j, key));

        return text ? text : "";
}

/* Asks, and looks at one text in the answer. */
static void expect_text(struct api_world *w, const char *target, const char *key, const char *value)
{
        _cleanup_json_ json_t *j = api_ask(w, "GET", target, NULL);

        if (w->status != 200 || strcmp(text_at(j, key), value) != 0)
                fail_msg("%s: %d, %s is '%s' instead of '%s'", target, w->status, key,
                         text_at(j, key), value);
}

/* What a worker and a slot would tell the store. */
struct inputs {
        uint64_t job;
        const struct job_input *list;
        size_t n;
};

static int apply_inputs(struct job_store *s, void *userdata, struct bth_error *error)
{
        static const struct job_policy policy;
        const struct inputs *i = userdata;

        for (size_t k = 0; k < i->n; k++) {
                const struct job_act act = { .job = i->job, .input = i->list[k] };
                struct job_outcome outcome;
                int r = job_store_apply(s, &act, &policy, bth_now_realtime_usec(), NULL, &outcome,
                                        error);

                if (r < 0)
                        fail_msg("input %zu: %s", k, error->sentence);
        }
        return 0;
}

static void applied(void *userdata, int r, const struct bth_error *error)
{
        *(bool *)((void **)userdata)[1] = true;
}

static int apply_task(struct job_store *s, void *userdata, struct bth_error *error)
{
        return apply_inputs(s, ((void **)userdata)[0], error);
}

static void apply(struct api_world *w, uint64_t job, const struct job_input *list, size_t n)
{
        struct inputs inputs = { job, list, n };
        bool done = false;
        void *both[] = { &inputs, &done };

        assert_int_equal(job_thread_submit(w->base.store, apply_task, applied, both), 0);
        while (!done)
                assert_true(sd_event_run(w->base.loop, UINT64_MAX) >= 0);
}

/* --- jobs --- */

static void test_import(void **state)
{
        const char *const serials[] = { "ONE1", "TWO2", "one 1" };
        _cleanup_free_ char *body = import_body(NULL, NULL, serials, 3);
        struct api_world w;
        json_t *j, *job;

        api_open(&w, NULL);
        j = api_ask(&w, "POST", "/v1/jobs", body);
        assert_int_equal(w.status, 200);
        assert_string_equal(text_at(j, "sentence"), "job 'lab-7' was made");
        assert_true(json_is_array(json_object_get(j, "notes")));
        job = json_object_get(j, "job");
        assert_string_equal(text_at(job, "name"), "lab-7");
        assert_string_equal(text_at(job, "state"), "Creating");
        assert_string_equal(text_at(job, "account"), "/accounts/photos");
        assert_string_equal(text_at(job, "origin"), "journal");
        assert_int_equal(json_array_size(json_object_get(job, "drives")), 2);
        assert_string_equal(
                text_at(json_array_get(json_object_get(job, "drives"), 0), "manifest_hash"),
                "109B21108597EF36D5785F08303F3638");
        {
                _cleanup_free_ char *all = bth_json_to_text(j);

                assert_null(strstr(all, "447062")); /* no key comes back */
        }
        json_decref(j);

        api_expect(&w, "POST", "/v1/jobs", body, 409, "conflict"); /* drives are wanted already */
        api_expect(&w, "POST", "/v1/jobs", NULL, 400, "value-missing");
        api_expect(&w, "POST", "/v1/jobs", "{\"account\":\"photos\"}", 400, "value-invalid");
        api_expect(&w, "POST", "/v1/jobs", "{\"account\":\"photos\",\"journals\":[]}", 400,
                   "value-invalid");
        api_expect(&w, "POST", "/v1/jobs",
                   "{\"account\":\"photos\",\"journals\":[{\"name\":\"a\"}]}", 400,
                   "value-invalid");
        api_expect(&w, "POST", "/v1/jobs",
                   "{\"account\":\"photos\",\"journals\":[{\"text\":\"a\",\"x\":\"b\"}]}", 400,
                   "value-invalid");
        api_expect(&w, "POST", "/v1/jobs",
                   "{\"account\":\"photos\",\"journals\":[{\"text\":\"garbage\"}]}", 400,
                   "not-a-journal");
        api_expect(&w, "POST", "/v1/jobs", "{\"account\":\"photos\",\"other\":1}", 400,
                   "value-invalid");
        {
                const char *const third[] = { "THREE3" };
                _cleanup_free_ char *bad = import_body("No Name", NULL, third, 1);
                _cleanup_free_ char *none =
                        import_body("fine", "{\"account\":\"nobody\"}", third, 1);

                api_expect(&w, "POST", "/v1/jobs", bad, 400, "name-invalid");
                api_expect(&w, "POST", "/v1/jobs", none, 404, "not-found");
        }
        api_close(&w);
}

/* The station ends while a job is being made: who asked is told, or finds the line cut. */
static void test_import_at_end(void **state)
{
        const char *const serial[] = { "ONE1" };
        _cleanup_free_ char *body = import_body("one", NULL, serial, 1);
        _cleanup_buf_ struct bth_buf request = BTH_BUF_INIT;
        struct api_world w;
        int fd;

        api_open(&w, NULL);
        fd = api_connect(&w);
        assert_int_equal(bth_buf_add_format(&request,
                                            "POST /v1/jobs HTTP/1.1\r\nHost: b\r\n"
                                            "Content-Length: %zu\r\n\r\n%s",
                                            strlen(body), body),
                         0);
        assert_int_equal(send(fd, request.data, request.length, MSG_NOSIGNAL), request.length);
        for (int i = 0; i < 4; i++) /* the request is read, and its reader started */
                assert_true(sd_event_run(w.base.loop, 10000) >= 0);
        api_close(&w);
        (void)close(fd);
}

static void test_jobs(void **state)
{
        struct api_world w;
        json_t *j;

        api_open(&w, NULL);
        make_job(&w, "one", NULL, "ONE1");
        make_job(&w, "two", "{\"shipped\":true,\"verbose_log\":true}", "TWO2");
        make_job(&w, "three", NULL, "THREE3");
        j = api_ask(&w, "GET", "/v1/jobs", NULL);
        assert_int_equal(json_array_size(json_object_get(j, "jobs")), 3);
        assert_string_equal(text_at(json_array_get(json_object_get(j, "jobs"), 0), "name"),
                            "three");
        assert_null(json_object_get(j, "next"));
        json_decref(j);
        j = api_ask(&w, "GET", "/v1/jobs?limit=2", NULL);
        assert_int_equal(json_array_size(json_object_get(j, "jobs")), 2);
        assert_int_equal(json_integer_value(json_object_get(j, "next")), 2);
        json_decref(j);
        j = api_ask(&w, "GET", "/v1/jobs?limit=2&before=2", NULL);
        assert_int_equal(json_array_size(json_object_get(j, "jobs")), 1);
        assert_null(json_object_get(j, "next"));
        json_decref(j);
        j = api_ask(&w, "GET", "/v1/jobs?state=Shipping", NULL);
        assert_int_equal(json_array_size(json_object_get(j, "jobs")), 1);
        assert_string_equal(text_at(json_array_get(json_object_get(j, "jobs"), 0), "name"), "two");
        assert_true(json_is_true(
                json_object_get(json_array_get(json_object_get(j, "jobs"), 0), "verbose_log")));
        json_decref(j);
        expect_text(&w, "/v1/jobs/one", "state", "Creating");
        api_expect(&w, "GET", "/v1/jobs/none", NULL, 404, "not-found");
        api_expect(&w, "GET", "/v1/jobs?limit=0", NULL, 400, "value-invalid");
        api_expect(&w, "GET", "/v1/jobs?limit=1001", NULL, 400, "value-invalid");
        api_expect(&w, "GET", "/v1/jobs?limit=-1", NULL, 400, "value-invalid");
        api_expect(&w, "GET", "/v1/jobs?state=Lost", NULL, 400, "value-invalid");
        api_expect(&w, "GET", "/v1/jobs?what=1", NULL, 400, "value-invalid");
        api_close(&w);
}

static bool file_has(struct api_world *w, const char *name, const char *what)
{
        _cleanup_free_ char *data = NULL;
        size_t n;

        return bth_read_file(world_path(&w->base, name), 64 << 20, &data, &n) == 0 &&
               memmem(data, n, what, strlen(what)) != NULL;
}

static bool store_has(struct api_world *w, const char *what)
{
        return file_has(w, "store.db", what) || file_has(w, "store.db-wal", what);
}

/* From the word that it was shipped to the word that it was sent back. */
static void test_life(void **state)
{
        static const struct job_input work[] = {
                { .kind = JOB_INPUT_DOCKED },
                { .kind = JOB_INPUT_BEGUN },
                { .kind = JOB_INPUT_ENDED, .status = BTH_DRIVE_STATUS_COMPLETED },
                { .kind = JOB_INPUT_EJECTED },
        };
        static const char parcel[] = "{\"carrier\":\"Blue Fox\",\"tracking\":\"1Z\"}";
        static const char shipped[] = "{\"carrier\":\"Blue Fox\",\"tracking\":\"1Z\","
                                      "\"return_address\":{\"recipientName\":\"Anna\"}}";
        struct api_world w;
        json_t *j;

        api_open(&w, NULL);
        make_job(&w, "one", "{\"accept_unshipped\":false}", "ONE1");
        api_expect(&w, "POST", "/v1/jobs/one/ship", NULL, 400, "value-missing");
        api_expect(&w, "POST", "/v1/jobs/one/ship",
                   "{\"carrier\":\"a\",\"tracking\":\"b\",\"return_address\":[]}", 400,
                   "value-invalid");
        api_expect(&w, "POST", "/v1/jobs/one/ship",
                   "{\"carrier\":\"a\",\"tracking\":\"b\",\"return_address\":{\"x\":\"y\"}}", 400,
                   "value-invalid");
        api_expect(&w, "POST", "/v1/jobs/one/ship", parcel, 409, "refused"); /* no address */
        api_expect(&w, "POST", "/v1/jobs/one/ship", shipped, 200, NULL);
        expect_text(&w, "/v1/jobs/one", "state", "Shipping");
        api_expect(&w, "POST", "/v1/jobs/one/ship", shipped, 409, "refused");
        api_expect(&w, "POST", "/v1/jobs/one/receive", NULL, 200, NULL);
        expect_text(&w, "/v1/jobs/one", "state", "Received");
        expect_text(&w, "/v1/drives/one1", "state", "Received");
        expect_text(&w, "/v1/drives/one1", "activity", "to-dock");
        api_expect(&w, "POST", "/v1/jobs/one/receive", NULL, 409, "refused");
        api_expect(&w, "POST", "/v1/jobs/one/return", parcel, 409, "refused");
        api_expect(&w, "POST", "/v1/jobs/one/forget", NULL, 409, "refused"); /* it goes on */
        apply(&w, 1, work, ARRAY_SIZE(work));
        expect_text(&w, "/v1/jobs/one", "state", "Packaging");
        api_expect(&w, "POST", "/v1/jobs/one/cancel", NULL, 409, "refused");
        api_expect(&w, "POST", "/v1/jobs/one/return", "{\"carrier\":\"Blue Fox\"}", 400,
                   "value-missing");
        j = api_ask(&w, "POST", "/v1/jobs/one/return", parcel);
        assert_int_equal(w.status, 200);
        assert_string_equal(text_at(json_object_get(j, "job"), "state"), "Completed");
        json_decref(j);
        expect_text(&w, "/v1/drives/ONE1", "state", "ShippedBack");
        expect_text(&w, "/v1/drives/ONE1", "copy_status", "Completed");
        api_expect(&w, "POST", "/v1/jobs/one/return", parcel, 409, "refused");
        assert_true(store_has(&w, "Anna") && store_has(&w, "Blue Fox"));
        api_expect(&w, "POST", "/v1/jobs/one/forget", NULL, 200, NULL);
        assert_false(store_has(&w, "Anna") || store_has(&w, "Blue Fox"));
        assert_true(store_has(&w, JOURNAL_KEY));
        api_expect(&w, "DELETE", "/v1/jobs/one", NULL, 200, NULL);
        assert_false(store_has(&w, JOURNAL_KEY));
        api_expect(&w, "GET", "/v1/jobs/one", NULL, 404, "not-found");
        api_expect(&w, "DELETE", "/v1/jobs/one", NULL, 404, "not-found");
        api_close(&w);
}

static void test_cancel(void **state)
{
        struct api_world w;
        json_t *j;

        api_open(&w, NULL);
        make_job(&w, "one", NULL, "ONE1");
        j = api_ask(&w, "POST", "/v1/jobs/one/cancel", NULL);
        assert_int_equal(w.status, 200);
        assert_true(json_is_true(json_object_get(json_object_get(j, "job"), "cancel_requested")));
        json_decref(j);
        api_expect(&w, "POST", "/v1/jobs/one/cancel", NULL, 409, "refused");
        expect_text(&w, "/v1/drives/ONE1", "activity", "skipped");
        api_expect(&w, "POST", "/v1/jobs/none/cancel", NULL, 404, "not-found");
        api_expect(&w, "POST", "/v1/jobs/one/cancel", "{\"x\":1}", 400, "value-invalid");
        api_close(&w);
}

/* --- drives --- */

static void test_drives(void **state)
{
        struct api_world w;
        json_t *j;

        api_open(&w, NULL);
        make_job(&w, "one", NULL, "ONE1");
        make_job(&w, "two", NULL, "TWO2");
        j = api_ask(&w, "GET", "/v1/drives", NULL);
        assert_int_equal(json_array_size(json_object_get(j, "drives")), 2);
        json_decref(j);
        j = api_ask(&w, "GET", "/v1/drives?job=one", NULL);
        assert_int_equal(json_array_size(json_object_get(j, "drives")), 1);
        json_decref(j);
        expect_text(&w, "/v1/drives/%20o%20NE1", "serial", "ONE1");
        api_expect(&w, "GET", "/v1/drives/ONE1?job=two", NULL, 404, "not-found");
        api_expect(&w, "GET", "/v1/drives/X", NULL, 404, "not-found");

        api_expect(&w, "POST", "/v1/drives/ONE1/missing", NULL, 200, NULL);
        expect_text(&w, "/v1/drives/ONE1", "state", "NeverReceived");
        api_expect(&w, "POST", "/v1/drives/ONE1/missing", NULL, 409, "refused");
        api_expect(&w, "POST", "/v1/drives/ONE1/receive", "{\"job\":\"one\"}", 200, NULL);
        expect_text(&w, "/v1/drives/ONE1", "state", "Received");
        api_expect(&w, "POST", "/v1/drives/ONE1/receive", NULL, 409, "refused");
        api_expect(&w, "POST", "/v1/drives/ONE1/missing", NULL, 409, "refused");
        api_expect(&w, "POST", "/v1/drives/TWO2/receive", "{\"job\":\"one\"}", 404, "not-found");

        j = api_ask(&w, "GET", "/v1/drives/ONE1/receipt", NULL);
        assert_int_equal(w.status, 200);
        assert_non_null(strstr(text_at(j, "text"), "ONE1"));
        assert_non_null(strstr(text_at(j, "text"), text_at(j, "sha256")));
        assert_string_equal(text_at(json_object_get(j, "receipt"), "station"), "lab");
        json_decref(j);
        j = api_ask(&w, "GET", "/v1/drives/ONE1/logs", NULL);
        assert_int_equal(w.status, 200);
        assert_int_equal(json_array_size(json_object_get(j, "runs")), 0);
        assert_string_equal(text_at(j, "job"), "one");
        json_decref(j);
        api_close(&w);
}

/* A drive that comes a second time, in another job, is that job's; the old one by its name. */
static void test_drive_of_several(void **state)
{
        static const struct job_input work[] = {
                { .kind = JOB_INPUT_DOCKED },
                { .kind = JOB_INPUT_BEGUN },
                { .kind = JOB_INPUT_ENDED, .status = BTH_DRIVE_STATUS_COMPLETED },
                { .kind = JOB_INPUT_EJECTED },
        };
        static const char parcel[] = "{\"carrier\":\"Blue Fox\",\"tracking\":\"1Z\"}";
        struct api_world w;

        api_open(&w, NULL);
        make_job(&w, "one", NULL, "ONE1");
        apply(&w, 1, work, ARRAY_SIZE(work));
        make_job(&w, "two", NULL, "one1");
        expect_text(&w, "/v1/drives/ONE1", "job", "two"); /* which still expects it */
        expect_text(&w, "/v1/drives/ONE1?job=one", "state", "Completed");
        apply(&w, 2, work, ARRAY_SIZE(work));
        api_expect(&w, "GET", "/v1/drives/ONE1", NULL, 409, "conflict"); /* done in both */
        api_expect(&w, "POST", "/v1/jobs/one/return", parcel, 200, NULL);
        expect_text(&w, "/v1/drives/ONE1", "job", "two");
        api_expect(&w, "POST", "/v1/jobs/two/return", parcel, 200, NULL);
        expect_text(&w, "/v1/drives/ONE1", "job", "two"); /* the newest */
        api_close(&w);
}

/* --- history --- */

static void test_events(void **state)
{
        struct api_world w;
        json_t *j, *list, *e;
        uint64_t last = 0;
        size_t i, n;

        api_open(&w, NULL);
        make_job(&w, "one", NULL, "O/jobs/1");
        make_job(&w, "two", NULL, "TWO2");
        api_expect(&w, "POST", "/v1/drives/O%2Fjobs%2F1/missing", NULL, 200, NULL);
        j = api_ask(&w, "GET", "/v1/events", NULL);
        list = json_object_get(j, "events");
        n = json_array_size(list);
        assert_true(n >= 3);
        assert_string_equal(text_at(json_array_get(list, 0), "kind"), "job.made");
        assert_non_null(strstr(text_at(json_array_get(list, 0), "who"), "uid "));
        json_array_foreach(list, i, e)
        {
                assert_true((uint64_t)json_integer_value(json_object_get(e, "sequence")) > last);
                last = (uint64_t)json_integer_value(json_object_get(e, "sequence"));
                assert_true(json_is_object(json_object_get(e, "data")));
        }
        json_decref(j);
        j = api_ask(&w, "GET", "/v1/events?drive=o%2Fjobs%2F1", NULL);
        list = json_object_get(j, "events");
        assert_true(json_array_size(list) >= 1);
        json_array_foreach(list, i, e)
        {
                assert_string_equal(text_at(e, "job"), "one");
                assert_string_equal(text_at(e, "serial"), "O/jobs/1");
        }
        json_decref(j);
        j = api_ask(&w, "GET", "/v1/events?job=two", NULL);
        json_array_foreach(json_object_get(j, "events"), i, e)
                assert_string_equal(text_at(e, "job"), "two");
        assert_true(i >= 1);
        json_decref(j);
        j = api_ask(&w, "GET", "/v1/events?order=newest&limit=1", NULL);
        list = json_object_get(j, "events");
        assert_int_equal(json_array_size(list), 1);
        assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "sequence")),
                         last);
        assert_int_equal(json_integer_value(json_object_get(j, "next")), last);
        json_decref(j);
        api_expect(&w, "GET", "/v1/events?order=any", NULL, 400, "value-invalid");
        api_expect(&w, "GET", "/v1/events?limit=0", NULL, 400, "value-invalid");
        api_expect(&w, "GET", "/v1/events?job=none", NULL, 404, "not-found");
        api_close(&w);
}

/* --- the history as it happens --- */

/* Asks for a feed and waits until its head is there. */
static int feed_open(struct api_world *w, const char *target, const char *header,
                     struct bth_buf *got)
{
        char request[512];
        int fd = api_connect(w);

        (void)snprintf(request, sizeof request,
                       "GET %s HTTP/1.1\r\nHost: b\r\nAccept: text/event-stream\r\n%s\r\n", target,
                       header);
        assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
        api_hear(w, fd, "retry: 3000\n\n", got);
        return fd;
}

static void test_feed(void **state)
{
        _cleanup_buf_ struct bth_buf now = BTH_BUF_INIT, all = BTH_BUF_INIT, one = BTH_BUF_INIT,
                                     later = BTH_BUF_INIT;
        struct api_world w;
        int fds[4];

        api_open(&w, NULL);
        make_job(&w, "one", NULL, "ONE1");
        fds[0] = feed_open(&w, "/v1/events", "", &now);
        fds[1] = feed_open(&w, "/v1/events?after=0", "", &all);
        fds[2] = feed_open(&w, "/v1/events?job=one", "", &one);
        fds[3] = feed_open(&w, "/v1/events?after=0", "Last-Event-ID: 1\r\n", &later);
        api_hear(&w, fds[1], "event: job.made\ndata: {", &all);
        make_job(&w, "two", NULL, "TWO2");
        api_hear(&w, fds[0], "\"job\":\"two\"", &now);
        api_hear(&w, fds[1], "\"job\":\"two\"", &all);
        api_hear(&w, fds[3], "\"job\":\"two\"", &later);
        assert_null(strstr(now.data, "\"job\":\"one\"")); /* only what is new */
        assert_null(strstr(later.data, "id: 1\n"));
        api_expect(&w, "POST", "/v1/drives/ONE1/missing", NULL, 200, NULL);
        api_hear(&w, fds[2], "event: drive.state\n", &one);
        assert_null(strstr(one.data, "\"job\":\"two\""));
        assert_null(strstr(one.data, "event: job.made"));
        api_expect(&w, "GET", "/v1/jobs", NULL, 200, NULL);
        (void)close(fds[0]);
        for (int i = 0; i < 5; i++)
                assert_true(sd_event_run(w.base.loop, 10000) >= 0);
        make_job(&w, "three", NULL, "THREE3");
        api_hear(&w, fds[1], "\"job\":\"three\"", &all);
        api_close(&w); /* with three open */
        for (int i = 1; i < 4; i++)
                (void)close(fds[i]);
}

/* More than one page, to a client that takes it slowly. */
static void test_feed_of_many(void **state)
{
        _cleanup_buf_ struct bth_buf got = BTH_BUF_INIT;
        struct api_world w;
        unsigned n = 0;
        int fd;

        api_open(&w, NULL);
        make_job(&w, "one", NULL, "ONE1");
        for (int i = 0; i < 120; i++) {
                api_expect(&w, "POST", "/v1/drives/ONE1/receive", NULL, i == 0 ? 200 : 409,
                           i == 0 ? NULL : "refused");
                api_expect(&w, "POST",
                           i % 2 == 0 ? "/v1/drives/ONE1/pause" : "/v1/drives/ONE1/resume", "{}",
                           200, NULL);
        }
        fd = feed_open(&w, "/v1/events?after=0", "", &got);
        make_job(&w, "last", NULL, "TWO2");
        api_hear(&w, fd, "\"job\":\"last\"", &got);
        for (const char *at = got.data; (at = strstr(at, "\nid: ")); at++)
                n++;
        assert_true(n > 120);
        (void)close(fd);
        api_close(&w);
}

static void test_feed_refused(void **state)
{
        static const char *const headers = "Accept: text/event-stream\r\n";
        static const struct {
                const char *target, *more;
                int status;
        } asks[] = {
                { "/v1/events?order=newest", "", 400 },
                { "/v1/events?limit=3", "", 400 },
                { "/v1/events?after=x", "", 400 },
                { "/v1/events?job=none", "", 404 },
                { "/v1/events", "Last-Event-ID: x\r\n", 400 },
        };
        char request[512];
        struct api_world w;

        api_open(&w, NULL);
        for (size_t i = 0; i < ARRAY_SIZE(asks); i++) {
                (void)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: b\r\n%s%s\r\n",
                               asks[i].target, headers, asks[i].more);
                json_decref(api_raw(&w, request, strlen(request)));
                assert_int_equal(w.status, asks[i].status);
        }
        api_close(&w);
}

/* A HEAD has no body, however the answer would go on: what comes behind it on the connection is the
 * next answer. */
static void test_feed_head(void **state)
{
        static const char head[] =
                "HEAD /v1/events HTTP/1.1\r\nHost: b\r\nAccept: text/event-stream\r\n\r\n";
        static const char next[] = "\r\n\r\nHTTP/1.1 200 OK\r\n";
        static const char get[] = "GET /v1/limits HTTP/1.1\r\nHost: b\r\n\r\n";
        _cleanup_buf_ struct bth_buf got = BTH_BUF_INIT;
        struct api_world w;
        int fd;

        api_open(&w, NULL);
        fd = api_connect(&w);
        assert_int_equal(send(fd, head, strlen(head), MSG_NOSIGNAL), strlen(head));
        api_hear(&w, fd, "\r\n\r\n", &got);
        make_job(&w, "one", NULL, "ONE1");
        assert_int_equal(send(fd, get, strlen(get), MSG_NOSIGNAL), strlen(get));
        api_hear(&w, fd, "\"memory_bytes\"", &got);
        if (strncmp(strstr(got.data, "\r\n\r\n"), next, strlen(next)) != 0)
                fail_msg("%s", got.data);
        (void)close(fd);
        api_close(&w);
}

/* --- metrics --- */

static char *scrape(struct api_world *w)
{
        static const char request[] = "GET /metrics HTTP/1.1\r\nHost: b\r\n\r\n";
        _cleanup_buf_ struct bth_buf got = BTH_BUF_INIT;
        _cleanup_close_ int fd = api_connect(w);

        assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
        api_hear(w, fd, "berth_outbox_oldest_seconds ", &got);
        return strdup(strstr(got.data, "\r\n\r\n") + 4);
}

/* Each line is a comment, or a name with perhaps labels, and a number. */
static void check_format(const char *text)
{
        for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
                const size_t n = strcspn(line, "\n");
                const char *blank = memrchr(line, ' ', n);
                uint64_t number;

                if (line[n] == '\0')
                        return; /* the last one may be cut */
                if (line[0] == '#')
                        continue;
                assert_non_null(blank);
                assert_int_equal(strncmp(line, "berth_", 6), 0);
                assert_int_equal(
                        bth_parse_u64_n(blank + 1, n - (size_t)(blank + 1 - line), &number), 0);
        }
}

/* The rules ask for nothing that is not there. */
static void check_alerts(const char *text)
{
        const char *source = getenv("BERTH_SOURCE");
        _cleanup_free_ char *rules = NULL;
        char path[4096], name[128];
        unsigned n_names = 0;
        size_t n;

        if (!source)
                return;
        (void)snprintf(path, sizeof path, "%s/docs/berth-alerts.yml", source);
        assert_int_equal(bth_read_file(path, 1 << 20, &rules, &n), 0);
        for (const char *at = rules; (at = strstr(at, "berth_")); at += 6) {
                (void)snprintf(name, sizeof name, "# TYPE %.*s ",
                               (int)strspn(at, "abcdefghijklmnopqrstuvwxyz_"), at);
                if (!strstr(text, name))
                        fail_msg("no metric for %s", name);
                n_names++;
        }
        assert_true(n_names >= 8);
}

static void test_metrics(void **state)
{
        struct api_world w;
        char *text;

        api_open(&w, NULL);
        make_job(&w, "one", NULL, "ONE1");
        make_job(&w, "two", "{\"shipped\":true}", "TWO2");
        api_expect(&w, "POST", "/v1/drives/ONE1/receive", NULL, 200, NULL);
        text = scrape(&w);
        check_format(text);
        check_alerts(text);
        assert_non_null(strstr(text, "\nberth_jobs{state=\"Shipping\"} 1\n"));
        assert_non_null(strstr(text, "\nberth_jobs{state=\"Completed\"} 0\n"));
        assert_non_null(strstr(text, "\nberth_drives{state=\"Received\"} 1\n"));
        assert_non_null(strstr(text, "\nberth_drives{state=\"Specified\"} 1\n"));
        assert_non_null(strstr(text, "\nberth_healthy 1\n"));
        assert_null(strstr(text, "ONE1"));
        free(text);
        api_expect(&w, "POST", "/metrics", NULL, 404, "not-found");
        api_close(&w);
}

/* --- scopes --- */

struct foreign {
        const char *scope, *serial;
        bool done;
};

static int add_foreign(struct job_store *s, void *userdata, struct bth_error *error)
{
        const struct foreign *f = userdata;
        const struct job_draft_drive drive = { .serial = f->serial,
                                               .manifest_file = "\\m.xml",
                                               .manifest_hash =
                                                       "109B21108597EF36D5785F08303F3638" };
        const struct job_draft draft = { .scope = f->scope,
                                         .name = "same",
                                         .account = "/accounts/photos",
                                         .drives = &drive,
                                         .n_drives = 1 };
        uint64_t job;

        return job_store_add(s, &draft, true, bth_now_realtime_usec(), "test", &job, error);
}

static void added(void *userdata, int r, const struct bth_error *error)
{
        ((struct foreign *)userdata)->done = true;
        assert_int_equal(r, 0);
}

static void foreign_job(struct api_world *w, const char *scope, const char *serial)
{
        struct foreign f = { .scope = scope, .serial = serial };

        assert_int_equal(job_thread_submit(w->base.store, add_foreign, added, &f), 0);
        while (!f.done)
                assert_true(sd_event_run(w->base.loop, UINT64_MAX) >= 0);
}

static void test_scopes(void **state)
{
        struct api_world w;

        api_open(&w, NULL);
        foreign_job(&w, "/a", "ONE1");
        expect_text(&w, "/v1/jobs/same", "scope", "/a");
        foreign_job(&w, "/b", "TWO2");
        api_expect(&w, "GET", "/v1/jobs/same", NULL, 409, "conflict");
        expect_text(&w, "/v1/jobs/same?scope=%2Fb", "scope", "/b");
        api_expect(&w, "GET", "/v1/jobs/same?scope=%2Fc", NULL, 404, "not-found");
        make_job(&w, "same", NULL, "THREE3");
        expect_text(&w, "/v1/jobs/same", "scope", ""); /* the station's own first */
        api_expect(&w, "POST", "/v1/jobs/same/cancel?scope=%2Fa", NULL, 200, NULL);
        api_close(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_import),
                cmocka_unit_test(test_import_at_end),
                cmocka_unit_test(test_jobs),
                cmocka_unit_test(test_life),
                cmocka_unit_test(test_cancel),
                cmocka_unit_test(test_drives),
                cmocka_unit_test(test_drive_of_several),
                cmocka_unit_test(test_events),
                cmocka_unit_test(test_scopes),
                cmocka_unit_test(test_metrics),
                cmocka_unit_test(test_feed),
                cmocka_unit_test(test_feed_of_many),
                cmocka_unit_test(test_feed_refused),
                cmocka_unit_test(test_feed_head),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
