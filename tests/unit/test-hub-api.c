/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A hub over its socket: what a station sends and fetches, as berth-hub(7) says it. */
#include "api-world.h"

#include "jobs/event.h"
#include "jobs/hub.h"

#define UID     "6BA7B810-9DAD-11D1-80B4-00C04FD430C8"
#define SUBJECT "/subscriptions/1/resourceGroups/g/jobs/attic/drives/QX7-1"

static char *event(unsigned seq, const char *state, const char *copy)
{
        char *text;

        assert_true(
                asprintf(&text,
                         "{\"specversion\":\"1.0\",\"id\":\"" UID
                         "-%u\",\"sequence\":\"%020u\",\"source\":\"/stations/north\","
                         "\"type\":\"berth.drive.state\",\"subject\":\"" SUBJECT
                         "\",\"partitionkey\":\"" SUBJECT
                         "\",\"time\":\"2031-04-09T07:15:02.118000Z\",\"data\":{\"job\":\"attic\","
                         "\"scope\":\"/subscriptions/1/resourceGroups/g\",\"origin\":\"upstream\","
                         "\"driveId\":\"QX7-1\",\"state\":\"%s\",\"copyStatus\":\"%s\","
                         "\"activity\":\"transferring\",\"bay\":\"A1\",\"docked\":true,"
                         "\"bytes\":900,\"bytesSucceeded\":880,\"blobs\":9,\"blobsSucceeded\":8}}",
                         seq, seq, state, copy) > 0);
        return text;
}

static json_t *send_typed(struct api_world *w, const char *type, const char *target,
                          const char *body, const char *more)
{
        char *request;
        json_t *j;
        int n = asprintf(&request,
                         "POST %s HTTP/1.1\r\nHost: berthd\r\nContent-Type: %s\r\n%s"
                         "Content-Length: %zu\r\n\r\n%s",
                         target, type, more ? more : "", strlen(body), body);

        assert_true(n > 0);
        j = api_raw(w, request, (size_t)n);
        free(request);
        return j;
}

static uint64_t number(const json_t *j, const char *key)
{
        return (uint64_t)json_integer_value(json_object_get(j, key));
}

static int add_job(struct job_store *s, void *userdata, struct bth_error *error)
{
        struct bth_secret *key;
        uint64_t id;
        int r = bth_secret_new_copy("111111-222222", 13, &key);

        assert_int_equal(r, 0);
        r = job_store_add(
                s,
                &(struct job_draft){ .scope = "/subscriptions/1/resourceGroups/g",
                                     .name = "attic",
                                     .account = "/accounts/photos",
                                     .location = "westeurope",
                                     .origin = "api",
                                     .personal = { "{\"recipientName\":\"VERYPERSONAL\"}" },
                                     .drives = &(struct job_draft_drive){ .serial = "QX7-1",
                                                                          .manifest_hash = "AB",
                                                                          .key = key },
                                     .n_drives = 1 },
                true, 1, "test", &id, error);
        (void)bth_secret_free(key);
        *(bool *)userdata = true;
        return r;
}

static void open_hub(struct api_world *w)
{
        bool added = false;

        api_open(w, NULL);
        assert_int_equal(job_thread_submit(w->base.store, add_job, NULL, &added), 0);
        while (job_thread_pending(w->base.store) > 0)
                assert_true(sd_event_run(w->base.loop, 10000) >= 0);
        assert_true(added);
}

static void test_events(void **state)
{
        _cleanup_free_ char *one = event(7, "Transferring", "InProgress"), *two = NULL,
                            *batch = NULL;
        struct api_world w;
        json_t *j;

        open_hub(&w);
        j = send_typed(&w, "application/cloudevents+json", "/v1/hub/events", "{\"specversion\"",
                       NULL);
        assert_int_equal(w.status, 400);
        json_decref(j);
        j = send_typed(&w, "application/cloudevents+json; charset=utf-8", "/v1/hub/events", one,
                       NULL);
        assert_int_equal(w.status, 200);
        assert_int_equal(number(j, "applied"), 1);
        json_decref(j);

        two = event(9, "CompletedMoreInfo", "Nonsense");
        assert_true(asprintf(&batch, "[%s,%s,5]", one, two) > 0);
        j = send_typed(&w, "application/cloudevents-batch+json", "/v1/hub/events", batch, NULL);
        assert_int_equal(w.status, 200);
        assert_int_equal(number(j, "applied"), 0);
        assert_int_equal(number(j, "duplicates"), 1);
        assert_int_equal(json_array_size(json_object_get(j, "refused")), 2);
        assert_string_equal(json_string_value(json_object_get(
                                    json_array_get(json_object_get(j, "refused"), 0), "id")),
                            UID "-9");
        json_decref(j);
        j = send_typed(&w, "application/cloudevents-batch+json",
                       "/v1/hub/events?source=/stations/quiet", "[]", NULL);
        assert_int_equal(w.status, 200);
        json_decref(j);
        api_expect(&w, "POST", "/v1/hub/events", "{}", 400, "syntax");
        api_expect(&w, "POST", "/v1/hub/events", "[[[", 400, "syntax");
        api_expect(&w, "POST", "/v1/hub/events?x=1", "[]", 400, "value-invalid");

        j = api_ask(&w, "GET", "/v1/hub/stations", NULL);
        assert_int_equal(json_array_size(json_object_get(j, "stations")), 2);
        assert_string_equal(json_string_value(json_object_get(
                                    json_array_get(json_object_get(j, "stations"), 0), "name")),
                            "north");
        json_decref(j);
        j = api_ask(&w, "GET", "/v1/hub/drives?serial=qx7-1", NULL);
        assert_int_equal(json_array_size(json_object_get(j, "drives")), 1);
        json_decref(j);
        j = api_ask(&w, "GET", "/v1/hub/conflicts", NULL);
        assert_int_equal(json_array_size(json_object_get(j, "conflicts")), 0);
        json_decref(j);
        j = api_ask(&w, "GET", "/v1/jobs/attic", NULL);
        assert_string_equal(json_string_value(json_object_get(j, "state")), "Transferring");
        json_decref(j);
        api_close(&w);
}

/* The value of a header of the last answer. */
static void header(const struct api_world *w, const char *name, char out[128])
{
        const char *at = strcasestr(w->head, name);

        assert_non_null(at);
        at += strlen(name) + 2;
        (void)snprintf(out, 128, "%.*s", (int)strcspn(at, "\r"), at);
}

static json_t *fetch(struct api_world *w, const char *query, const char *tag)
{
        char *request;
        json_t *j;
        int n = asprintf(&request, "GET /v1/hub/jobs%s HTTP/1.1\r\nHost: h\r\n%s%s\r\n\r\n", query,
                         tag ? "If-None-Match: " : "Accept: ", tag ? tag : "*/*");

        assert_true(n > 0);
        j = api_raw(w, request, (size_t)n);
        free(request);
        return j;
}

static void test_jobs(void **state)
{
        _cleanup_free_ char *one = event(7, "Transferring", "InProgress"),
                            *two = event(8, "CompletedMoreInfo", "CompletedWithErrors");
        struct api_world w;
        char tag[128], again[128], *text;
        json_t *j, *drive;

        open_hub(&w);
        j = fetch(&w, "?location=West%20Europe", NULL);
        assert_int_equal(w.status, 200);
        header(&w, "ETag", tag);
        drive = json_array_get(
                json_object_get(json_array_get(json_object_get(j, "jobs"), 0), "drives"), 0);
        assert_string_equal(json_string_value(json_object_get(drive, "key")), "111111-222222");
        assert_string_equal(json_string_value(json_object_get(drive, "state")), "Specified");
        text = json_dumps(j, 0);
        assert_null(strstr(text, "VERYPERSONAL"));
        free(text);
        json_decref(j);

        assert_null(fetch(&w, "?location=West%20Europe", tag));
        assert_int_equal(w.status, 304);
        header(&w, "ETag", again);
        assert_string_equal(again, tag);
        json_decref(send_typed(&w, "application/cloudevents+json", "/v1/hub/events", one, NULL));
        assert_int_equal(w.status, 200);
        j = fetch(&w, "?location=West%20Europe", tag);
        assert_int_equal(w.status, 200);
        drive = json_array_get(
                json_object_get(json_array_get(json_object_get(j, "jobs"), 0), "drives"), 0);
        assert_string_equal(json_string_value(json_object_get(drive, "at")), "/stations/north");
        assert_null(json_object_get(drive, "bytes")); /* it would change all the time */
        json_decref(j);

        json_decref(send_typed(&w, "application/cloudevents+json", "/v1/hub/events", two, NULL));
        j = fetch(&w, "?location=West%20Europe", tag);
        drive = json_array_get(
                json_object_get(json_array_get(json_object_get(j, "jobs"), 0), "drives"), 0);
        assert_int_equal(number(drive, "bytes"), 900);
        assert_int_equal(number(drive, "bytes_done"), 880);
        assert_int_equal(number(drive, "blobs"), 9);
        assert_int_equal(number(drive, "blobs_done"), 8);
        json_decref(j);

        j = fetch(&w, "?location=mars&serials=X%20QX7-1%20Y", NULL);
        assert_int_equal(json_array_size(json_object_get(j, "jobs")), 1);
        json_decref(j);
        j = fetch(&w, "?location=mars", NULL);
        assert_int_equal(json_array_size(json_object_get(j, "jobs")), 0);
        json_decref(j);
        api_close(&w);
}

/* Heard a long time ago, and now. */
static int hear_two(struct job_store *s, void *userdata, struct bth_error *error)
{
        const uint64_t now = bth_now_realtime_usec();
        _cleanup_json_ json_t *none = json_array();
        struct job_hub_result result;
        int r = job_hub_take(s, none, "/stations/gone", dmn_station_policy(userdata),
                             now - JOB_HUB_SILENT_USEC - 1, &result, error);

        return r < 0 ? r
                     : job_hub_take(s, none, "/stations/here", dmn_station_policy(userdata), now,
                                    &result, error);
}

static void test_silent(void **state)
{
        struct api_world w;
        json_t *j, *list;

        open_hub(&w);
        assert_int_equal(job_thread_submit(w.base.store, hear_two, NULL, w.station), 0);
        j = api_ask(&w, "GET", "/v1/hub/stations", NULL);
        list = json_object_get(j, "stations");
        assert_int_equal(json_array_size(list), 2);
        assert_true(json_is_true(json_object_get(json_array_get(list, 0), "silent")));
        assert_true(json_is_false(json_object_get(json_array_get(list, 1), "silent")));
        json_decref(j);
        api_close(&w);
}

static void test_right(void **state)
{
        assert_true(dmn_right_allows(DMN_RIGHT_STATION, DMN_RIGHT_STATION));
        assert_true(dmn_right_allows(DMN_RIGHT_ADMIN, DMN_RIGHT_STATION));
        assert_true(dmn_right_allows(DMN_RIGHT_ADMIN, DMN_RIGHT_READ));
        assert_true(dmn_right_allows(DMN_RIGHT_OPERATE, DMN_RIGHT_OPERATE));
        assert_false(dmn_right_allows(DMN_RIGHT_OPERATE, DMN_RIGHT_ADMIN));
        assert_false(dmn_right_allows(DMN_RIGHT_OPERATE, DMN_RIGHT_STATION));
        assert_false(dmn_right_allows(DMN_RIGHT_READ, DMN_RIGHT_STATION));
        assert_false(dmn_right_allows(DMN_RIGHT_STATION, DMN_RIGHT_READ));
        assert_false(dmn_right_allows(DMN_RIGHT_STATION, DMN_RIGHT_ADMIN));
        assert_int_equal(dmn_verb_info(DMN_VERB_HUB_JOBS)->right, DMN_RIGHT_STATION);
        assert_int_equal(dmn_verb_info(DMN_VERB_HUB_EVENTS)->right, DMN_RIGHT_STATION);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_events),
                cmocka_unit_test(test_jobs),
                cmocka_unit_test(test_silent),
                cmocka_unit_test(test_right),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
