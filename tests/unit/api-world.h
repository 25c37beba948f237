/* SPDX-License-Identifier: GPL-3.0-or-later */
/* api-world - a whole station without a drive, its API, and a client that shares its loop. */
#pragma once

#include "station-world.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "base/json.h"
#include "base/time.h"
#include "daemon/api.h"

#define API_PATIENCE_USEC (60 * BTH_USEC_PER_SEC)

struct api_world {
        struct world base;
        struct dmn_station *station;
        struct dmn_api *api;
        int status; /* of the last answer */
        char head[4096];
};

static inline int api_connect(const struct api_world *w)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        assert_true(fd >= 0);
        (void)snprintf(address.sun_path, sizeof address.sun_path, "%s",
                       world_path(&w->base, DMN_API_SOCKET));
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
        return fd;
}

static inline void api_open(struct api_world *w, const char *more)
{
        struct dmn_station_options options = { .without_udev = true };
        struct bth_error e = BTH_ERROR_INIT;
        int fd;

        *w = (struct api_world){ .status = 0 };
        world_new(&w->base, NULL);
        w->base.config = dmn_config_free(w->base.config);
        {
                _cleanup_buf_ struct bth_buf text = BTH_BUF_INIT;

                assert_int_equal(
                        bth_buf_add_format(&text,
                                           "[station]\nname = lab\nlocation = Lab\n"
                                           "worker = %s/uploader/berth-worker\n"
                                           "state_directory = %s\nrun_directory = %s\n%s"
                                           "[account photos]\nresource_id = /accounts/photos\n"
                                           "credential = key\ncredential_file = %s\n",
                                           getenv("BERTH_BUILD") ? getenv("BERTH_BUILD") : "/none",
                                           w->base.folder, w->base.folder, more ? more : "",
                                           world_path(&w->base, "photos")),
                        0);
                world_write(&w->base, "photos", "a2V5a2V5");
                world_write(&w->base, "berthd.conf", text.data);
        }
        if (dmn_config_load(world_path(&w->base, "berthd.conf"), &options.config, &e) < 0)
                fail_msg("line %u: %s", (unsigned)e.line, e.sentence);
        w->base.answers = sd_event_source_disable_unref(w->base.answers); /* the station's */
        options.loop = w->base.loop;
        options.store = w->base.store;
        options.config_path = world_path(&w->base, "berthd.conf");
        if (dmn_station_new(&options, &w->station, &e) < 0)
                fail_msg("%s", e.sentence);
        if (dmn_api_listen(w->base.folder, &fd, &e) < 0)
                fail_msg("%s", e.sentence);
        if (dmn_api_new(w->station, fd, NULL, &w->api, &e) < 0)
                fail_msg("%s", e.sentence);
}

static inline void api_close(struct api_world *w)
{
        w->api = dmn_api_free(w->api);
        w->station = dmn_station_free(w->station);
        world_free(&w->base);
}

/* Has a whole answer come? Then it is cut into head, status and body. */
static inline bool api_whole(struct api_world *w, struct bth_buf *got, char **ret_body)
{
        char *end = got->data ? strstr(got->data, "\r\n\r\n") : NULL, *length;
        uint64_t n = 0;

        if (!end)
                return false;
        (void)snprintf(w->head, sizeof w->head, "%.*s", (int)(end - got->data), got->data);
        length = strcasestr(w->head, "content-length: ");
        if (length)
                assert_int_equal(bth_parse_u64_n(length + 16, strcspn(length + 16, "\r"), &n), 0);
        w->status = (w->head[9] - '0') * 100 + (w->head[10] - '0') * 10 + w->head[11] - '0';
        *ret_body = end + 4;
        return got->length - (size_t)(end + 4 - got->data) >= n;
}

/* Sends a request as it is; gives the answer's JSON, a new object, or NULL when there is no body.
 */
static inline json_t *api_raw(struct api_world *w, const char *request, size_t n)
{
        const uint64_t until = bth_now_monotonic_usec() + API_PATIENCE_USEC;
        _cleanup_buf_ struct bth_buf got = BTH_BUF_INIT;
        _cleanup_close_ int fd = api_connect(w);
        char part[4096], *body;
        json_t *j = NULL;
        size_t sent = 0;

        while (bth_now_monotonic_usec() < until) {
                ssize_t k = send(fd, request + sent, n - sent, MSG_NOSIGNAL);

                sent += k > 0 ? (size_t)k : 0;
                k = recv(fd, part, sizeof part, 0);
                if (k > 0)
                        assert_int_equal(bth_buf_add(&got, part, (size_t)k), 0);
                if (api_whole(w, &got, &body)) {
                        if (*body != '\0')
                                j = json_loads(body, 0, NULL);
                        return j;
                }
                if (k == 0)
                        break;
                assert_true(sd_event_run(w->base.loop, 10000) >= 0);
        }
        fail_msg("no answer to %.100s", request);
        return NULL;
}

/* `body` NULL: none. */
static inline json_t *api_ask(struct api_world *w, const char *method, const char *target,
                              const char *body)
{
        _cleanup_buf_ struct bth_buf request = BTH_BUF_INIT;

        assert_int_equal(bth_buf_add_format(&request,
                                            "%s %s HTTP/1.1\r\nHost: berthd\r\n"
                                            "Content-Length: %zu\r\n\r\n%s",
                                            method, target, body ? strlen(body) : (size_t)0,
                                            body ? body : ""),
                         0);
        return api_raw(w, request.data, request.length);
}

/* The answer has to have this status, and the error, if it is one, this reason. */
static inline void api_expect(struct api_world *w, const char *method, const char *target,
                              const char *body, int status, const char *reason)
{
        _cleanup_json_ json_t *j = api_ask(w, method, target, body);
        const char *got = json_string_value(json_object_get(json_object_get(j, "error"), "reason"));

        if (w->status != status || !bth_streq(got, reason))
                fail_msg(
                        "%s %s: %d %s: %s", method, target, w->status, got ? got : "",
                        json_string_value(json_object_get(json_object_get(j, "error"), "message")));
}

/* Reads until `what` has come. */
static inline void api_hear(struct api_world *w, int fd, const char *what, struct bth_buf *got)
{
        const uint64_t until = bth_now_monotonic_usec() + API_PATIENCE_USEC;
        char part[4096];

        while (!got->data || !strstr(got->data, what)) {
                ssize_t n = recv(fd, part, sizeof part, 0);

                if (n > 0)
                        assert_int_equal(bth_buf_add(got, part, (size_t)n), 0);
                else if (n == 0 || bth_now_monotonic_usec() > until)
                        fail_msg("'%s' did not come, but: %s", what, got->data ? got->data : "");
                else
                        assert_true(sd_event_run(w->base.loop, 10000) >= 0);
        }
}
