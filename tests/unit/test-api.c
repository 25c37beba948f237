/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The local API: paths to verbs, rights by who connects, errors as JSON, over a real socket and a
 * real station without drives. */
#include "api-world.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/wait.h>

#include "daemon/metrics.h"
#include "daemon/route.h"

/* --- routes --- */

static void expect_route(const char *method, const char *target, enum dmn_verb verb,
                         const char *name)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct dmn_route r;

        if (dmn_route_parse(method, target, &r, &e) < 0)
                fail_msg("%s %s: %s", method, target, e.sentence);
        assert_int_equal(r.verb, verb);
        if (!bth_streq(r.target, name))
                fail_msg("%s: '%s'", target, r.target ? r.target : "");
        dmn_route_clear(&r);
}

static void expect_no_route(const char *method, const char *target, int code)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct dmn_route r = { 0 };
        int k = dmn_route_parse(method, target, &r, &e);

        if (k != code)
                fail_msg("%s %s: %d instead of %d", method, target, k, code);
        assert_true(code == -ENOMEM || e.sentence[0] != '\0');
}

static void test_routes(void **state)
{
        char path[256];

        /* Every verb of the table is found by its own path. */
        for (int v = 0; v < _DMN_VERB_MAX; v++) {
                const struct dmn_verb_info *info = dmn_verb_info(v);
                const char *brace = strchr(info->path, '{');

                (void)snprintf(path, sizeof path, "%.*s%s%s",
                               brace ? (int)(brace - info->path) : (int)strlen(info->path),
                               info->path, brace ? "N" : "", brace ? strchr(brace, '}') + 1 : "");
                expect_route(info->method, path, (enum dmn_verb)v, brace ? "N" : NULL);
        }
        expect_route("GET", "/v1/bays/A%2F1", DMN_VERB_BAY_SHOW, "A/1");
        expect_route("GET", "/v1/bays/a+b%20c%C3%A4", DMN_VERB_BAY_SHOW, "a+b c\303\244");
        expect_route("HEAD", "/v1/bays", DMN_VERB_BAYS_LIST, NULL);
        expect_route("GET", "/v1/jobs?", DMN_VERB_JOBS_LIST, NULL);
        expect_no_route("GET", "/", -ENOENT);
        expect_no_route("GET", "", -ENOENT);
        expect_no_route("GET", "/v1/bays/", -ENOENT);
        expect_no_route("GET", "/v1/bays/A/", -ENOENT);
        expect_no_route("GET", "/v1/bays/A/B", -ENOENT);
        expect_no_route("GET", "/v1//bays", -ENOENT);
        expect_no_route("GET", "/v1/%62ays", -ENOENT); /* the API's own words are not escaped */
        expect_no_route("GET", "/V1/bays", -ENOENT);
        expect_no_route("GET", "/v1/bays/%", -EINVAL);
        expect_no_route("GET", "/v1/bays/%4", -EINVAL);
        expect_no_route("GET", "/v1/bays/%zz", -EINVAL);
        expect_no_route("GET", "/v1/bays/%00", -EINVAL);
        expect_no_route("GET", "/v1/bays/%ff", -EINVAL);
        expect_no_route("get", "/v1/bays", -EOPNOTSUPP);
        expect_no_route("POST", "/v1/bays", -EOPNOTSUPP);
        expect_no_route("DELETE", "/v1/bays/A", -EOPNOTSUPP);
}

static void test_query(void **state)
{
        struct bth_error e = BTH_ERROR_INIT;
        _cleanup_buf_ struct bth_buf many = BTH_BUF_INIT;
        json_t *q;

        assert_int_equal(dmn_route_query("a=1&&b=x%26y+z&c", &q, &e), 0);
        assert_int_equal(json_object_size(q), 3);
        assert_string_equal(json_string_value(json_object_get(q, "a")), "1");
        assert_string_equal(json_string_value(json_object_get(q, "b")), "x&y z");
        assert_string_equal(json_string_value(json_object_get(q, "c")), "");
        json_decref(q);
        assert_int_equal(dmn_route_query("a=1&a=2", &q, &e), -EINVAL);
        assert_int_equal(dmn_route_query("=1", &q, &e), -EINVAL);
        assert_int_equal(dmn_route_query("a=%", &q, &e), -EINVAL);
        assert_int_equal(dmn_route_query("%00=1", &q, &e), -EINVAL);
        for (unsigned i = 0; i <= DMN_ROUTE_MEMBERS_MAX; i++)
                assert_int_equal(bth_buf_add_format(&many, "m%u=1&", i), 0);
        assert_int_equal(dmn_route_query(many.data, &q, &e), -E2BIG);
}

static void test_limits(void **state)
{
        char *path = malloc(DMN_ROUTE_TARGET_MAX + 2);

        assert_non_null(path);
        memset(path, 'a', DMN_ROUTE_TARGET_MAX + 1);
        path[DMN_ROUTE_TARGET_MAX + 1] = '\0';
        memcpy(path, "/v1/bays/", 9);
        expect_no_route("GET", path, -E2BIG);
        path[9 + DMN_ROUTE_SEGMENT_MAX + 1] = '\0';
        expect_no_route("GET", path, -E2BIG);
        free(path);
}

/* --- answers --- */

static void test_status(void **state)
{
        assert_int_equal(dmn_api_status(-EINVAL), 400);
        assert_int_equal(dmn_api_status(-EBADMSG), 400);
        assert_int_equal(dmn_api_status(-EACCES), 403);
        assert_int_equal(dmn_api_status(-ENOENT), 404);
        assert_int_equal(dmn_api_status(-EOPNOTSUPP), 405);
        assert_int_equal(dmn_api_status(-EPERM), 409);
        assert_int_equal(dmn_api_status(-EEXIST), 409);
        assert_int_equal(dmn_api_status(-EBUSY), 409);
        assert_int_equal(dmn_api_status(-EFBIG), 413);
        assert_int_equal(dmn_api_status(-EDQUOT), 429);
        assert_int_equal(dmn_api_status(-EAGAIN), 429);
        assert_int_equal(dmn_api_status(-ENOSPC), 507);
        assert_int_equal(dmn_api_status(-ECANCELED), 503);
        assert_int_equal(dmn_api_status(-ENOMEM), 500);
        assert_int_equal(dmn_api_status(-EIO), 500);
}

static void test_answers(void **state)
{
        struct api_world w;
        json_t *j;

        api_open(&w, NULL);
        j = api_ask(&w, "GET", "/v1/station", NULL);
        assert_int_equal(w.status, 200);
        assert_string_equal(json_string_value(json_object_get(j, "name")), "lab");
        assert_non_null(strcasestr(w.head, "content-type: application/json"));
        json_decref(j);
        j = api_ask(&w, "GET", "/v1/nothing", NULL);
        assert_int_equal(w.status, 404);
        assert_string_equal(
                json_string_value(json_object_get(json_object_get(j, "error"), "reason")),
                "not-found");
        assert_non_null(json_object_get(json_object_get(j, "error"), "advice"));
        json_decref(j);
        j = api_ask(&w, "PATCH", "/v1/limits", NULL);
        assert_int_equal(w.status, 405);
        assert_non_null(strstr(w.head, "Allow: GET, HEAD, PUT"));
        json_decref(j);
        api_expect(&w, "GET", "/v1/bays/none", NULL, 404, "not-found");
        api_expect(&w, "PUT", "/v1/limits", "{\"bandwidth_bytes_per_second\": 5}", 200, NULL);
        api_expect(&w, "PUT", "/v1/limits", "{\"x\": 5}", 400, "value-invalid");
        api_expect(&w, "PUT", "/v1/limits", "{\"x\": 5, \"x\": 6}", 400, "syntax");
        api_expect(&w, "PUT", "/v1/limits", "[]", 400, "syntax");
        api_expect(&w, "PUT", "/v1/limits", "{", 400, "syntax");
        api_expect(&w, "PUT", "/v1/limits", "{} {}", 400, "syntax");
        api_expect(&w, "PUT", "/v1/limits", "{\"x\": \"\\u0000\"}", 400, "syntax");
        api_close(&w);
}

/* --- the socket --- */

static void test_listen(void **state)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct api_world w;
        struct stat st;
        char longer[200];
        int fd;

        api_open(&w, NULL);
        assert_int_equal(stat(world_path(&w.base, DMN_API_SOCKET), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0666);
        assert_int_equal(dmn_api_listen(w.base.folder, &fd, &e), -EADDRINUSE);
        w.api = dmn_api_free(w.api);
        /* The daemon was killed: its socket is still there, and is taken over. */
        assert_int_equal(dmn_api_listen(w.base.folder, &fd, &e), 0);
        (void)close(fd);
        memset(longer, 'x', sizeof longer - 1);
        longer[sizeof longer - 1] = '\0';
        assert_int_equal(dmn_api_listen(longer, &fd, &e), -ENAMETOOLONG);
        api_close(&w);
}

/* --- rights --- */

static void test_rights(void **state)
{
        assert_int_equal(dmn_api_right(100, 0, false), DMN_RIGHT_ADMIN);
        assert_int_equal(dmn_api_right(100, 100, false), DMN_RIGHT_ADMIN);
        assert_int_equal(dmn_api_right(100, 101, true), DMN_RIGHT_OPERATE);
        assert_int_equal(dmn_api_right(100, 101, false), DMN_RIGHT_READ);
}

/* What a process of this user and these groups gets. Its only job is to be somebody else. */
static int status_as(struct api_world *w, const char *request, uid_t uid, gid_t gid,
                     const gid_t *groups, size_t n_groups)
{
        int fds[2], status = 0;
        char text[16] = "";
        pid_t pid;
        ssize_t n;

        assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
        assert_int_equal(chmod(w->base.folder, 0755), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                int fd;

                if (setgroups(n_groups, groups) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
                        _exit(1);
                fd = api_connect(w);
                (void)fcntl(fd, F_SETFL, 0);
                if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0 ||
                    recv(fd, text, 12, MSG_WAITALL) != 12)
                        _exit(2);
                _exit(write(fds[1], text + 9, 3) == 3 ? 0 : 3);
        }
        while (waitpid(pid, &status, WNOHANG) == 0)
                assert_true(sd_event_run(w->base.loop, 10000) >= 0);
        assert_int_equal(status, 0);
        n = read(fds[0], text, sizeof text - 1);
        (void)close(fds[0]);
        (void)close(fds[1]);
        assert_int_equal(n, 3);
        return (text[0] - '0') * 100 + (text[1] - '0') * 10 + text[2] - '0';
}

static void test_peers(void **state)
{
        static const char look[] = "GET /v1/limits HTTP/1.1\r\nHost: b\r\n\r\n";
        static const char operate[] = "PUT /v1/limits HTTP/1.1\r\nHost: b\r\n\r\n";
        static const char administer[] = "POST /v1/reload HTTP/1.1\r\nHost: b\r\n\r\n";
        const struct group *daemon = getgrnam("daemon");
        const gid_t others[] = { 60001, 60002 };
        gid_t with[100];
        struct api_world w;
        int fd;

        if (getuid() != 0 || !daemon) {
                (void)fprintf(stderr, "only root can be somebody else\n");
                skip();
        }
        api_open(&w, NULL);
        w.api = dmn_api_free(w.api);
        assert_int_equal(dmn_api_listen(w.base.folder, &fd, NULL), 0);
        assert_int_equal(dmn_api_new(w.station, fd, "daemon", &w.api, NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(with); i++)
                with[i] = 60000 + (gid_t)i;
        with[50] = daemon->gr_gid;

        assert_int_equal(status_as(&w, look, 60000, 60000, others, 2), 200);
        assert_int_equal(status_as(&w, operate, 60000, 60000, others, 2), 403);
        assert_int_equal(status_as(&w, operate, 60000, 60000, NULL, 0), 403);
        assert_int_equal(status_as(&w, operate, 60000, daemon->gr_gid, NULL, 0), 200);
        assert_int_equal(status_as(&w, operate, 60000, 60000, with, ARRAY_SIZE(with)), 200);
        assert_int_equal(status_as(&w, administer, 60000, 60000, with, ARRAY_SIZE(with)), 403);
        assert_int_equal(status_as(&w, administer, 0, 60000, NULL, 0), 200);
        api_close(&w);
}

/* A member that a verb does not know is refused, by those too that know none. */
static void test_unknown_members(void **state)
{
        struct api_world w;

        api_open(&w, NULL);
        for (int v = 0; v < _DMN_VERB_MAX; v++) {
                const struct dmn_verb_info *info = dmn_verb_info(v);
                const char *brace = strchr(info->path, '{'),
                           *rest = brace ? strchr(brace, '}') : "}";
                char target[256];

                if (v == DMN_VERB_HUB_EVENTS) /* its body is an array */
                        continue;
                (void)snprintf(target, sizeof target, "%.*s%s%s",
                               brace ? (int)(brace - info->path) : (int)strlen(info->path),
                               info->path, brace ? "x" : "", rest + 1);
                /* There is no bay x: that is said first, or the member is. */
                if (strstr(info->path, "{bay}") && v != DMN_VERB_BAY_SHOW &&
                    v != DMN_VERB_BAY_EJECT) {
                        api_expect(&w, info->method, target, "{\"surprise\":1}", 404, "not-found");
                        continue;
                }
                api_expect(&w, info->method, target, "{\"surprise\":1}", 400, "value-invalid");
                (void)strcat(target, "?surprise=1");
                api_expect(&w, info->method, target, NULL, 400, "value-invalid");
        }
        api_close(&w);
}

static void test_no_group(void **state)
{
        struct api_world w;
        int fd;

        api_open(&w, NULL);
        w.api = dmn_api_free(w.api);
        assert_int_equal(dmn_api_listen(w.base.folder, &fd, NULL), 0);
        assert_int_equal(dmn_api_new(w.station, fd, "no-such-group", &w.api, NULL), 0);
        api_expect(&w, "GET", "/v1/limits", NULL, 200, NULL);
        api_close(&w);
}

/* --- the manual --- */

/* berth-api(7) has every verb with its right, as `.BR "GET /v1/bays" " (read)"`. */
static void test_manual(void **state)
{
        const char *source = getenv("BERTH_SOURCE");
        _cleanup_free_ char *text = NULL;
        char path[4096], line[256];
        size_t n;

        if (!source)
                skip();
        (void)snprintf(path, sizeof path, "%s/man/berth-api.7", source);
        assert_int_equal(bth_read_file(path, 1 << 20, &text, &n), 0);
        for (int v = 0; v < _DMN_VERB_MAX; v++) {
                const struct dmn_verb_info *info = dmn_verb_info(v);
                const char *hyphen = strchr(info->path, '-');

                (void)snprintf(line, sizeof line, ".BR \"%s %.*s%s%s\" \" (%s)\"\n", info->method,
                               hyphen ? (int)(hyphen - info->path) : (int)strlen(info->path),
                               info->path, hyphen ? "\\" : "", hyphen ? hyphen : "",
                               dmn_right_to_string(info->right));
                if (!strstr(text, line))
                        fail_msg("berth-api(7) does not have %s", line);
        }
}

/* --- the description --- */

static const json_t *described(const json_t *paths, const struct dmn_verb_info *info)
{
        char method[16] = "";

        for (size_t i = 0; info->method[i] && i < sizeof method - 1; i++)
                method[i] = (char)(info->method[i] + ('a' - 'A'));
        return json_object_get(json_object_get(paths, info->path), method);
}

/* The {…} of the path is a parameter of it. */
static bool has_path_parameter(const json_t *operation, const char *path)
{
        const char *brace = strchr(path, '{');
        const json_t *list = json_object_get(operation, "parameters"), *one;
        size_t i;

        json_array_foreach((json_t *)list, i, one)
        {
                const char *name = json_string_value(json_object_get(one, "name"));
                const char *in = json_string_value(json_object_get(one, "in"));

                if (brace && bth_streq(in, "path") && strncmp(brace + 1, name, strlen(name)) == 0 &&
                    brace[strlen(name) + 1] == '}')
                        return true;
        }
        return !brace;
}

/* docs/openapi.json has every verb with its right, the metrics, and nothing else. */
static void test_description(void **state)
{
        const char *source = getenv("BERTH_SOURCE");
        struct bth_error e = BTH_ERROR_INIT;
        _cleanup_free_ char *text = NULL;
        _cleanup_json_ json_t *j = NULL;
        json_t *paths, *methods;
        size_t n, n_described = 0;
        const char *path;
        char file[4096];

        if (!source)
                skip();
        (void)snprintf(file, sizeof file, "%s/docs/openapi.json", source);
        assert_int_equal(bth_read_file(file, 1 << 20, &text, &n), 0);
        if (bth_json_parse(text, n, &j, &e) < 0)
                fail_msg("%s", e.sentence);
        paths = json_object_get(j, "paths");
        for (int v = 0; v < _DMN_VERB_MAX; v++) {
                const struct dmn_verb_info *info = dmn_verb_info(v);
                const json_t *operation = described(paths, info);

                if (!operation ||
                    !bth_streq(json_string_value(json_object_get(operation, "operationId")),
                               info->name) ||
                    !bth_streq(json_string_value(json_object_get(operation, "x-right")),
                               dmn_right_to_string(info->right)) ||
                    !has_path_parameter(operation, info->path))
                        fail_msg("%s is not described as it is", info->name);
        }
        assert_non_null(json_object_get(json_object_get(paths, DMN_METRICS_PATH), "get"));
        json_object_foreach(paths, path, methods) n_described += json_object_size(methods);
        assert_int_equal(n_described, (size_t)_DMN_VERB_MAX + 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_routes),   cmocka_unit_test(test_query),
                cmocka_unit_test(test_limits),   cmocka_unit_test(test_status),
                cmocka_unit_test(test_answers),  cmocka_unit_test(test_listen),
                cmocka_unit_test(test_rights),   cmocka_unit_test(test_peers),
                cmocka_unit_test(test_no_group), cmocka_unit_test(test_unknown_members),
                cmocka_unit_test(test_manual),   cmocka_unit_test(test_description),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
