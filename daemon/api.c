/* SPDX-License-Identifier: GPL-3.0-or-later */
/* api - see api.h. */
#include "daemon/api.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/log.h"
#include "base/names.h"
#include "base/secret.h"
#include "base/str.h"
#include "daemon/feed.h"
#include "daemon/metrics.h"
#include "daemon/route.h"

#define BACKLOG      64
#define RESERVED     8    /* connections, for root and the daemon's own user */
#define SOCKET_MODE  0666 /* rights are told by who connects, not by who can */
#define PASSWD_FILE  "/etc/passwd"
#define WHO_MAX      96
#define NAMES_MAX    32u /* of users, that are remembered */
#define JSON_TYPE    "application/json"
#define EVENT_TYPE   "application/cloudevents+json"
#define TAG_MAX      1024u /* bytes of an If-None-Match */
#define GROUP_BUFFER (64u << 10)

struct known_user {
        uid_t uid;
        char who[WHO_MAX];
};

struct dmn_api {
        struct dmn_station *station;
        struct dmn_http *http;
        bool has_group;
        gid_t group;
        struct known_user known[NAMES_MAX];
        size_t n_known;
};

/* --- who --- */

enum dmn_right dmn_api_right(uid_t own, uid_t uid, bool member)
{
        if (uid == 0 || uid == own)
                return DMN_RIGHT_ADMIN;
        return member ? DMN_RIGHT_OPERATE : DMN_RIGHT_READ;
}

size_t dmn_api_body_limit(enum dmn_right right)
{
        return right <= DMN_RIGHT_READ ? DMN_API_BODY_SMALL : DMN_HTTP_BODY_BYTES;
}

/* Users of this machine have a name here; others stay numbers, since a directory service may take
 * its time to answer, and the loop must not wait. */
static void find_name(uid_t uid, char out[WHO_MAX])
{
        FILE *file = fopen(PASSWD_FILE, "re");
        const struct passwd *entry;
        char name[64];

        (void)snprintf(out, WHO_MAX, "uid %u", (unsigned)uid);
        if (!file)
                return;
        while ((entry = fgetpwent(file)) && entry->pw_uid != uid)
                ;
        if (entry)
                (void)snprintf(
                        out, WHO_MAX, "uid %u (%s)", (unsigned)uid,
                        bth_escape(entry->pw_name, strlen(entry->pw_name), name, sizeof name));
        (void)fclose(file);
}

static const char *who_is(struct dmn_api *a, uid_t uid)
{
        struct known_user *k;

        for (size_t i = 0; i < a->n_known; i++)
                if (a->known[i].uid == uid)
                        return a->known[i].who;
        if (a->n_known == NAMES_MAX)
                a->n_known = 0;
        k = &a->known[a->n_known++];
        k->uid = uid;
        find_name(uid, k->who);
        return k->who;
}

/* --- answers --- */

unsigned dmn_api_status(int code)
{
        static const struct {
                int code;
                unsigned status;
        } table[] = {
                { -EINVAL, 400 }, { -EBADMSG, 400 }, { -E2BIG, 400 },      { -EACCES, 403 },
                { -ENOENT, 404 }, { -ENODEV, 404 },  { -EOPNOTSUPP, 405 }, { -EPERM, 409 },
                { -EEXIST, 409 }, { -EBUSY, 409 },   { -EALREADY, 409 },   { -EFBIG, 413 },
                { -EDQUOT, 429 }, { -EAGAIN, 429 },  { -ECANCELED, 503 },  { -ENOSPC, 507 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                if (table[i].code == code)
                        return table[i].status;
        return 500;
}

char *dmn_api_error_text(const struct bth_error *error)
{
        const char *reason = bth_reason_to_string(error->reason);
        const char *sentence =
                error->sentence[0] ? error->sentence : bth_reason_sentence(error->reason);
        _cleanup_json_ json_t *j =
                json_pack("{s:{s:s,s:s,s:s}}", "error", "reason", reason ? reason : "none",
                          "message", sentence, "advice", bth_error_advice(error));
        json_t *e = json_object_get(j, "error");

        if (!j)
                return NULL;
        if (error->object[0])
                (void)json_object_set_new(e, "object", json_string(error->object));
        if (error->line > 0)
                (void)json_object_set_new(e, "line", json_integer((json_int_t)error->line));
        return bth_json_to_text(j);
}

static void reply_text(struct dmn_http_request *q, unsigned status, const char *text,
                       const char *allow)
{
        struct dmn_http_reply reply = {
                .status = status,
                .type = JSON_TYPE,
                .body = text,
                .n = text ? strlen(text) : 0,
        };

        if (allow && allow[0])
                reply.headers[0] = (struct dmn_http_header){ "Allow", allow };
        if (!text)
                reply.status = 500;
        dmn_http_reply(q, &reply);
}

/* With its tag, or with nothing when the client has what bears it. */
static void reply_tagged(struct dmn_http_request *q, const char *text, const char *tag,
                         bool unchanged)
{
        struct dmn_http_reply reply = { .status = 304 };

        if (!unchanged) {
                reply.status = text ? 200 : 500;
                reply.type = JSON_TYPE;
                reply.body = text;
                reply.n = text ? strlen(text) : 0;
        }
        reply.headers[0] = (struct dmn_http_header){ "ETag", tag };
        dmn_http_reply(q, &reply);
}

static void reply_error(struct dmn_http_request *q, const struct bth_error *error,
                        const char *allow)
{
        _cleanup_free_ char *text = dmn_api_error_text(error);

        reply_text(q, dmn_api_status(error->code), text, allow);
}

/* --- calls --- */

/* A call that a verb has. It may outlive the API, as its request outlives the server. */
struct open_call {
        struct dmn_http_request *request;
        const struct dmn_call *call;
        enum dmn_verb verb;
        char who[WHO_MAX];
        char target[256];
};

static void log_act(const struct open_call *o, const char *sentence, const struct bth_error *error)
{
        const struct dmn_verb_info *info = dmn_verb_info(o->verb);
        char why[1024];
        const struct bth_log_field fields[] = {
                { BTH_FIELD_OBJECT, o->target[0] ? o->target : NULL },
                { BTH_FIELD_REASON, error ? bth_reason_to_string(error->reason) : NULL },
        };

        if (strcmp(info->method, "GET") == 0 || o->verb == DMN_VERB_HUB_EVENTS)
                return;
        bth_log_fields(LOG_NOTICE, fields, "%s: %s%s%s: %s", o->who, info->name,
                       o->target[0] ? " " : "", o->target,
                       error      ? bth_error_to_string(error, why, sizeof why)
                       : sentence ? sentence
                                  : "done");
}

static void on_answer(void *userdata, int r, json_t *answer, const struct bth_error *error)
{
        struct open_call *o = userdata;
        _cleanup_free_ char *text = r == 0 ? dmn_call_written(o->call, answer) : NULL;

        log_act(o, json_string_value(json_object_get(answer, "sentence")), r < 0 ? error : NULL);
        if (r < 0)
                reply_error(o->request, error, NULL);
        else if (o->verb == DMN_VERB_HUB_JOBS)
                reply_tagged(o->request, text, json_string_value(json_object_get(answer, "etag")),
                             json_is_true(json_object_get(answer, "unchanged")));
        else
                reply_text(o->request, 200, text, NULL);
        if (text)
                bth_wipe(text, strlen(text)); /* some have keys */
        free(o);
}

/* Events come alone or in an array; either way the verb gets {"events":[…]}. */
static int parse_events(struct dmn_http_request *q, const char *body, size_t n, json_t **ret_body,
                        struct bth_error *error)
{
        const char *type = dmn_http_header(q, "Content-Type");
        json_t *events;
        int r;

        if (bth_starts_with(type, EVENT_TYPE)) {
                json_t *one;

                r = bth_json_parse(body, n, &one, error);
                events = r == 0 ? json_pack("[o]", one) : NULL;
        } else {
                r = bth_json_parse_array(body, n, &events, error);
        }
        if (r < 0)
                return r;
        *ret_body = json_pack("{s:o}", "events", events);
        return *ret_body ? 0 : -ENOMEM;
}

static int parse_body(struct dmn_http_request *q, enum dmn_verb verb, json_t **ret_body,
                      struct bth_error *error)
{
        size_t n;
        const char *body = dmn_http_body(q, &n);

        if (dmn_http_body_too_large(q))
                return bth_error_set(error, -EFBIG, BTH_REASON_TOO_LARGE,
                                     "the body has more than %zu bytes", dmn_http_body_limit(q));
        *ret_body = NULL;
        if (verb == DMN_VERB_HUB_EVENTS)
                return parse_events(q, body ? body : "", n, ret_body, error);
        return n > 0 ? bth_json_parse(body, n, ret_body, error) : 0;
}

/* A verb knows of no headers. */
static int add_tag(struct dmn_http_request *q, const struct dmn_route *route)
{
        const char *tag = dmn_http_header(q, "If-None-Match");

        if (route->verb != DMN_VERB_HUB_JOBS || !tag || strlen(tag) > TAG_MAX)
                return 0;
        return json_object_set_new(route->query, "if_none_match", json_string(tag)) < 0 ? -ENOMEM
                                                                                        : 0;
}

static int make_call(struct dmn_http_request *q, const char *who, enum dmn_right right,
                     struct dmn_route *route, struct dmn_call **ret_call, struct bth_error *error)
{
        struct open_call *o;
        json_t *body = NULL;
        int r = add_tag(q, route);

        /* Who may not is told so by the verb, and has nothing parsed. */
        if (r == 0 && dmn_right_allows(right, dmn_verb_info(route->verb)->right))
                r = parse_body(q, route->verb, &body, error);
        if (r < 0)
                return r;
        o = calloc(1, sizeof *o);
        if (!o) {
                json_decref(body);
                return -ENOMEM;
        }
        *o = (struct open_call){ .request = q, .verb = route->verb };
        (void)snprintf(o->who, sizeof o->who, "%s", who);
        if (route->target)
                (void)bth_escape(route->target, strlen(route->target), o->target, sizeof o->target);
        r = dmn_call_new(route->verb, who, right, route->target, take_ptr(route->query), body,
                         ret_call);
        if (r < 0) {
                free(o);
                return r;
        }
        o->call = *ret_call;
        (*ret_call)->reply = on_answer;
        (*ret_call)->userdata = o;
        (*ret_call)->takes_lists = true;
        return 0;
}

static bool wants_metrics(const struct dmn_http_request *q)
{
        const char *method = dmn_http_method(q);

        return strcmp(dmn_http_target(q), DMN_METRICS_PATH) == 0 &&
               (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0);
}

void dmn_api_handle(struct dmn_station *s, struct dmn_http_request *q, const char *who,
                    enum dmn_right right)
{
        struct bth_error error = BTH_ERROR_INIT;
        struct dmn_route route = { 0 };
        struct dmn_call *call = NULL;
        int r;

        if (wants_metrics(q) && dmn_right_allows(right, DMN_RIGHT_READ)) {
                dmn_metrics_answer(s, q);
                return;
        }
        r = dmn_route_parse(dmn_http_method(q), dmn_http_target(q), &route, &error);
        if (r == 0 && route.verb == DMN_VERB_EVENTS_LIST && dmn_feed_wanted(q) &&
            dmn_right_allows(right, DMN_RIGHT_READ)) {
                dmn_feed_begin(s, q, route.query);
                dmn_route_clear(&route);
                return;
        }
        if (r == 0)
                r = make_call(q, who, right, &route, &call, &error);
        if (r < 0) {
                if (error.code == 0)
                        (void)bth_error_set(&error, r, BTH_REASON_OUT_OF_MEMORY,
                                            "there is no memory for the request");
                reply_error(q, &error, r == -EOPNOTSUPP ? route.allow : NULL);
        }
        dmn_route_clear(&route);
        if (call)
                dmn_verb_call(s, call);
}

static enum dmn_right right_of(const struct dmn_api *a, const struct dmn_http_request *q)
{
        const bool member = a->has_group && dmn_http_peer_in_group(q, a->group);

        return dmn_api_right(getuid(), dmn_http_peer(q)->uid, member);
}

/* Whoever of this machine may connect, with as many users as he likes, and look. */
static bool preferred(void *userdata, const struct dmn_http_peer *peer)
{
        return dmn_api_right(getuid(), peer->uid, false) == DMN_RIGHT_ADMIN;
}

static size_t body_limit(void *userdata, const struct dmn_http_request *q)
{
        return dmn_api_body_limit(right_of(userdata, q));
}

static void on_request(void *userdata, struct dmn_http_request *q)
{
        struct dmn_api *a = userdata;

        dmn_api_handle(a->station, q, who_is(a, dmn_http_peer(q)->uid), right_of(a, q));
}

/* --- the socket --- */

/* Does nobody listen on it? Then a daemon that was killed left it behind. */
static bool is_left_behind(const struct sockaddr_un *address)
{
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        return fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 &&
               errno == ECONNREFUSED;
}

static int bind_to(int fd, const struct sockaddr_un *address)
{
        if (bind(fd, (const struct sockaddr *)address, sizeof *address) == 0)
                return 0;
        if (errno != EADDRINUSE || !is_left_behind(address))
                return -errno;
        if (unlink(address->sun_path) < 0 ||
            bind(fd, (const struct sockaddr *)address, sizeof *address) < 0)
                return -errno;
        return 0;
}

int dmn_api_listen(const char *folder, int *ret_fd, struct bth_error *error)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        const int n = snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", folder,
                               DMN_API_SOCKET);
        int r = fd < 0 ? -errno : 0;

        bth_error_at(error, address.sun_path, 0, BTH_ERROR_NO_OFFSET);
        if (r == 0 && (n < 0 || (size_t)n >= sizeof address.sun_path))
                r = -ENAMETOOLONG;
        if (r == 0)
                r = bind_to(fd, &address);
        if (r == 0 && (chmod(address.sun_path, SOCKET_MODE) < 0 || listen(fd, BACKLOG) < 0))
                r = -errno;
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                                     r == -EADDRINUSE ? "another daemon listens on the socket: %s"
                                                      : "the socket cannot be made: %s",
                                     bth_strerror(r));
        *ret_fd = take_fd(fd);
        return 0;
}

/* At the start, before anything waits for the loop: the group may be in a directory service. */
static bool find_group(const char *name, gid_t *ret_group)
{
        _cleanup_free_ char *buffer = malloc(GROUP_BUFFER);
        struct group entry, *found = NULL;

        if (!buffer || getgrnam_r(name, &entry, buffer, GROUP_BUFFER, &found) != 0 || !found) {
                bth_log(LOG_WARNING, "there is no group '%s', so only root may operate, ignoring",
                        name);
                return false;
        }
        *ret_group = entry.gr_gid;
        return true;
}

int dmn_api_new(struct dmn_station *station, int fd, const char *group, struct dmn_api **ret_api,
                struct bth_error *error)
{
        _cleanup_(dmn_api_freep) struct dmn_api *a = calloc(1, sizeof *a);
        struct dmn_http_options options = { .fd = fd,
                                            .handler = on_request,
                                            .body_limit = body_limit,
                                            .reserved = RESERVED,
                                            .preferred = preferred };
        int r;

        if (!a) {
                (void)bth_close(fd);
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory");
        }
        bth_json_wipe_freed();
        a->station = station;
        a->has_group = find_group(group ? group : DMN_API_GROUP, &a->group);
        options.loop = dmn_station_loop(station);
        options.userdata = a;
        r = dmn_http_new(&options, &a->http);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_INTERNAL, "the API cannot be served: %s",
                                     bth_strerror(r));
        *ret_api = take_ptr(a);
        return 0;
}

struct dmn_api *dmn_api_free(struct dmn_api *a)
{
        if (!a)
                return NULL;
        a->http = dmn_http_free(a->http);
        free(a);
        return NULL;
}
