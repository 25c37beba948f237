/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/listen.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/api.h"
#include "daemon/gate.h"
#include "daemon/rest-route.h"
#include "daemon/token.h"

#define BACKLOG       128
#define PEM_BYTES_MAX ((size_t)256 << 10)
#define CONNECTIONS   512u
#define PER_PEER      64u
#define WRONG_TOKEN   20u /* requests that one costs */
#define WHO_BYTES     96
#define ADDRESS_BYTES INET6_ADDRSTRLEN

/* A server whose place another one took: it ends with its last connection. */
struct former {
        struct former *next;
        struct dmn_http *http;
};

struct dmn_listen {
        struct dmn_station *station;
        struct dmn_rest *rest;
        struct dmn_http *http; /* NULL: nothing is served */
        struct former *formers;
        struct dmn_tokens *tokens;
        struct dmn_gate *gate;
        char *address, *certificate;
        struct bth_secret *key;
        int fd; /* its copies are the servers' */
};

/* -- the address
 * --------------------------------------------------------------------------------------- */

int dmn_listen_parse(const char *text, struct sockaddr_storage *ret_address)
{
        struct sockaddr_in6 *six = (struct sockaddr_in6 *)ret_address;
        struct sockaddr_in *four = (struct sockaddr_in *)ret_address;
        const char *colon = strrchr(text, ':');
        char host[ADDRESS_BYTES + 2];
        size_t n = colon ? (size_t)(colon - text) : 0;
        uint64_t port;

        *ret_address = (struct sockaddr_storage){ 0 };
        if (n == 0 || n >= sizeof host || bth_parse_u64(colon + 1, &port) < 0 || port > 65535)
                return -EINVAL;
        memcpy(host, text, n);
        host[n] = '\0';
        if (host[0] == '[' && host[n - 1] == ']') {
                host[n - 1] = '\0';
                six->sin6_family = AF_INET6;
                six->sin6_port = htons((uint16_t)port);
                return inet_pton(AF_INET6, host + 1, &six->sin6_addr) == 1 ? (int)sizeof *six
                                                                           : -EINVAL;
        }
        four->sin_family = AF_INET;
        four->sin_port = htons((uint16_t)port);
        return inet_pton(AF_INET, host, &four->sin_addr) == 1 ? (int)sizeof *four : -EINVAL;
}

static int open_socket(const struct sockaddr_storage *address, socklen_t n, int *ret_fd)
{
        static const int one = 1;
        _cleanup_close_ int fd =
                socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
            bind(fd, (const struct sockaddr *)address, n) < 0 || listen(fd, BACKLOG) < 0)
                return -errno;
        *ret_fd = take_fd(fd);
        return 0;
}

static int open_door(const struct dmn_api_config *c, int *ret_fd, struct bth_error *error)
{
        struct sockaddr_storage address;
        int r = dmn_listen_parse(c->listen, &address);

        if (r < 0) {
                bth_error_at(error, c->file, c->line, BTH_ERROR_NO_OFFSET);
                return bth_error_set(error, r, BTH_REASON_VALUE_INVALID,
                                     "'%s' is no address to listen on: 192.0.2.1:8443 or [::]:8443 "
                                     "is expected",
                                     c->listen);
        }
        r = open_socket(&address, (socklen_t)r, ret_fd);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_NETWORK, "nobody can listen on %s: %s",
                                     c->listen, bth_strerror(r));
        return 0;
}

unsigned dmn_listen_port(const struct dmn_listen *l)
{
        struct sockaddr_storage address = { 0 };
        socklen_t n = sizeof address;

        if (!l->http || getsockname(l->fd, (struct sockaddr *)&address, &n) < 0)
                return 0;
        return ntohs(address.ss_family == AF_INET6
                             ? ((const struct sockaddr_in6 *)&address)->sin6_port
                             : ((const struct sockaddr_in *)&address)->sin_port);
}

/* -- requests
 * ----------------------------------------------------------------------------------------- */

static const struct dmn_token *token_of(const struct dmn_listen *l,
                                        const struct dmn_http_request *q)
{
        return dmn_tokens_find(l->tokens, dmn_token_of_header(dmn_http_header(q, "Authorization")));
}

/* Known with the headers: who has no token does not get the memory for a large body. */
static size_t body_limit(void *userdata, const struct dmn_http_request *q)
{
        const struct dmn_token *token = token_of(userdata, q);

        return dmn_api_body_limit(token ? token->right : DMN_RIGHT_NONE);
}

static void on_request(void *userdata, struct dmn_http_request *q)
{
        struct dmn_listen *l = userdata;
        const char *address = dmn_http_peer(q)->address;
        const uint64_t now = bth_now_monotonic_usec();
        const unsigned wait = dmn_gate_pass(l->gate, address, 1, now);
        const struct dmn_token *token;
        char who[WHO_BYTES];

        if (wait > 0) {
                dmn_rest_refuse(q, 429, wait);
                return;
        }
        token = token_of(l, q);
        if (!token) {
                dmn_gate_charge(l->gate, address, WRONG_TOKEN, now);
                bth_debug("%s: no token, or nobody's", address);
                dmn_rest_refuse(q, 401, 0);
                return;
        }
        (void)snprintf(who, sizeof who, "token %s", token->name);
        if (dmn_rest_is_target(dmn_http_target(q)))
                dmn_rest_request(l->rest, q, token->right, who);
        else
                dmn_api_handle(l->station, q, who, token->right);
}

/* -- what a configuration asks for, made before anything is changed
 * -----------------------------------------------------------------------------------------------
 */

struct next {
        char *address, *certificate;
        struct bth_secret *key;
        struct dmn_tokens *tokens;
        struct dmn_gate *gate;
        struct dmn_http *http; /* NULL: the one there is stays */
        int fd;                /* none: the one there is stays */
};

static void next_clear(struct next *n)
{
        (void)dmn_http_free(n->http);
        (void)bth_close(n->fd);
        free(n->address);
        free(n->certificate);
        (void)bth_secret_free(n->key);
        (void)dmn_tokens_free(n->tokens);
        (void)dmn_gate_free(n->gate);
}

static int read_papers(const struct dmn_api_config *c, struct next *ret, struct bth_error *error)
{
        size_t n;
        int r = bth_read_file(c->certificate, PEM_BYTES_MAX, &ret->certificate, &n);

        bth_error_at(error, c->certificate, 0, BTH_ERROR_NO_OFFSET);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE,
                                     "the certificate cannot be read: %s", bth_strerror(r));
        r = bth_secret_new_from_file(c->key, PEM_BYTES_MAX, false, &ret->key);
        bth_error_at(error, c->key, 0, BTH_ERROR_NO_OFFSET);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE,
                                     r == -EPERM ? "others may read or write the key: mode 0600 is "
                                                   "needed"
                                                 : "the key cannot be read: %s",
                                     bth_strerror(r));
        return dmn_tokens_load(c->tokens, &ret->tokens, error);
}

static int serve(struct dmn_listen *l, struct next *n, const char *file, struct bth_error *error)
{
        const struct dmn_http_tls tls = { .certificate = n->certificate, .key = n->key };
        const int fd = n->fd >= 0 ? n->fd : l->fd;
        const struct dmn_http_options options = { .loop = dmn_station_loop(l->station),
                                                  .fd = fcntl(fd, F_DUPFD_CLOEXEC, 0),
                                                  .connections = CONNECTIONS,
                                                  .per_peer = PER_PEER,
                                                  .tls = &tls,
                                                  .handler = on_request,
                                                  .body_limit = body_limit,
                                                  .userdata = l };
        int r = options.fd < 0 ? -errno : dmn_http_new(&options, &n->http);

        if (r == 0)
                return 0;
        bth_error_at(error, file, 0, BTH_ERROR_NO_OFFSET);
        return bth_error_set(error, r, BTH_REASON_VALUE_INVALID,
                             r == -EBADMSG ? "certificate and key cannot be used: both have "
                                             "to be PEM, and to fit together"
                                           : "the API cannot be served: %s",
                             bth_strerror(r));
}

static bool same_certificate(const struct dmn_listen *l, const struct next *n)
{
        return bth_streq(l->certificate, n->certificate) && bth_secret_equal(l->key, n->key);
}

static int prepare(struct dmn_listen *l, const struct dmn_api_config *c, struct next *n,
                   struct bth_error *error)
{
        const bool same_door = l->http && bth_streq(l->address, c->listen);
        int r = read_papers(c, n, error);

        if (r == 0)
                r = dmn_gate_new((unsigned)c->rate, (unsigned)c->burst, &n->gate);
        if (r == 0) {
                n->address = strdup(c->listen);
                r = n->address ? 0 : -ENOMEM;
        }
        if (r == 0 && !same_door)
                r = open_door(c, &n->fd, error);
        if (r == 0 && (!same_door || !same_certificate(l, n)))
                r = serve(l, n, c->certificate, error);
        if (r == -ENOMEM)
                (void)bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY, "no memory for the API");
        return r;
}

/* -- changing over
 * -----------------------------------------------------------------------------------------------
 */

static void on_former_empty(void *userdata, struct dmn_http *http)
{
        struct dmn_listen *l = userdata;
        struct former **at = &l->formers, *gone;

        while ((*at)->http != http)
                at = &(*at)->next;
        gone = *at;
        *at = gone->next;
        (void)dmn_http_free(http);
        free(gone);
}

/* It may be the very server that brought the request for this. Returns 0 or -ENOMEM. */
static int retire(struct dmn_listen *l)
{
        struct former *f = l->http ? calloc(1, sizeof *f) : NULL;

        if (!l->http)
                return 0;
        if (!f)
                return -ENOMEM;
        f->http = take_ptr(l->http);
        f->next = l->formers;
        l->formers = f;
        dmn_http_drain(f->http, on_former_empty, l);
        return 0;
}

static void take_over(struct dmn_listen *l, struct next *n)
{
        free(l->address);
        free(l->certificate);
        (void)bth_secret_free(l->key);
        (void)dmn_tokens_free(l->tokens);
        l->address = take_ptr(n->address);
        l->certificate = take_ptr(n->certificate);
        l->key = take_ptr(n->key);
        l->tokens = take_ptr(n->tokens);
        if (n->gate) {
                (void)dmn_gate_free(l->gate);
                l->gate = take_ptr(n->gate);
        }
        if (n->fd >= 0 || !l->http) {
                l->fd = bth_close(l->fd);
                l->fd = take_fd(n->fd);
        }
}

int dmn_listen_reload(struct dmn_listen *l, const struct dmn_config *config,
                      struct bth_error *error)
{
        const struct dmn_api_config *c = &config->api;
        _cleanup_(next_clear) struct next n = { .fd = BTH_FD_NONE };
        bool opened;
        int r = c->listen ? prepare(l, c, &n, error) : 0;

        if (r == 0 && (n.http || !c->listen))
                r = retire(l);
        if (r < 0)
                return r;
        opened = n.fd >= 0;
        if (n.http)
                l->http = take_ptr(n.http);
        if (l->address && !c->listen)
                bth_log(LOG_NOTICE, "the job service answers on %s no longer", l->address);
        take_over(l, &n);
        if (opened)
                bth_log(LOG_NOTICE, "the job service answers on %s, port %u", c->listen,
                        dmn_listen_port(l));
        return 0;
}

/* -- beginning and end
 * -----------------------------------------------------------------------------------------------
 */

int dmn_listen_new(struct dmn_station *station, struct dmn_listen **ret_listen,
                   struct bth_error *error)
{
        _cleanup_(dmn_listen_freep) struct dmn_listen *l = calloc(1, sizeof *l);
        int r;

        if (!l)
                return -ENOMEM;
        l->fd = BTH_FD_NONE;
        l->station = station;
        r = dmn_rest_new(station, &l->rest);
        if (r == 0)
                r = dmn_listen_reload(l, dmn_station_config(station), error);
        if (r == 0)
                *ret_listen = take_ptr(l);
        return r;
}

struct dmn_listen *dmn_listen_free(struct dmn_listen *l)
{
        if (!l)
                return NULL;
        l->http = dmn_http_free(l->http);
        while (l->formers)
                on_former_empty(l, l->formers->http);
        l->rest = dmn_rest_free(l->rest);
        l->tokens = dmn_tokens_free(l->tokens);
        l->gate = dmn_gate_free(l->gate);
        l->key = bth_secret_free(l->key);
        l->fd = bth_close(l->fd);
        free(l->certificate);
        free(l->address);
        free(l);
        return NULL;
}
