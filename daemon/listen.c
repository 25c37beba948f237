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

struct dmn_listen {
        struct dmn_station *station;
        struct dmn_rest *rest;
        struct dmn_http *http;
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

static int open_door(struct dmn_listen *l, const struct dmn_api_config *c, struct bth_error *error)
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
        r = open_socket(&address, (socklen_t)r, &l->fd);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_NETWORK, "nobody can listen on %s: %s",
                                     c->listen, bth_strerror(r));
        l->address = strdup(c->listen);
        return l->address ? 0 : -ENOMEM;
}

unsigned dmn_listen_port(const struct dmn_listen *l)
{
        struct sockaddr_storage address = { 0 };
        socklen_t n = sizeof address;

        if (getsockname(l->fd, (struct sockaddr *)&address, &n) < 0)
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

/* -- certificate, key, tokens
 * ------------------------------------------------------------------------- */

struct papers {
        char *certificate;
        struct bth_secret *key;
        struct dmn_tokens *tokens;
};

static void papers_clear(struct papers *p)
{
        free(p->certificate);
        (void)bth_secret_free(p->key);
        (void)dmn_tokens_free(p->tokens);
}

static int read_papers(const struct dmn_api_config *c, struct papers *ret, struct bth_error *error)
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

static int serve(struct dmn_listen *l, const struct papers *p, const char *file,
                 struct bth_error *error)
{
        const struct dmn_http_tls tls = { .certificate = p->certificate, .key = p->key };
        const struct dmn_http_options options = { .loop = dmn_station_loop(l->station),
                                                  .fd = fcntl(l->fd, F_DUPFD_CLOEXEC, 0),
                                                  .connections = CONNECTIONS,
                                                  .per_peer = PER_PEER,
                                                  .tls = &tls,
                                                  .handler = on_request,
                                                  .body_limit = body_limit,
                                                  .userdata = l };
        struct dmn_http *http;
        int r = options.fd < 0 ? -errno : dmn_http_new(&options, &http);

        if (r < 0) {
                bth_error_at(error, file, 0, BTH_ERROR_NO_OFFSET);
                return bth_error_set(error, r, BTH_REASON_VALUE_INVALID,
                                     r == -EBADMSG
                                             ? "certificate and key cannot be used: both have "
                                               "to be PEM, and to fit together"
                                             : "the API cannot be served: %s",
                                     bth_strerror(r));
        }
        l->http = dmn_http_free(l->http);
        l->http = http;
        return 0;
}

static bool same_certificate(const struct dmn_listen *l, const struct papers *p)
{
        return bth_streq(l->certificate, p->certificate) && bth_secret_equal(l->key, p->key);
}

static int take_papers(struct dmn_listen *l, struct papers *p, const char *file,
                       struct bth_error *error)
{
        if (!l->http || !same_certificate(l, p)) {
                int r = serve(l, p, file, error);

                if (r < 0)
                        return r;
        }
        free(l->certificate);
        (void)bth_secret_free(l->key);
        (void)dmn_tokens_free(l->tokens);
        l->certificate = take_ptr(p->certificate);
        l->key = take_ptr(p->key);
        l->tokens = take_ptr(p->tokens);
        return 0;
}

/* -- beginning, again, end
 * --------------------------------------------------------------------------- */

int dmn_listen_reload(struct dmn_listen *l, struct bth_error *error)
{
        const struct dmn_api_config *c = l ? &dmn_station_config(l->station)->api : NULL;
        _cleanup_(papers_clear) struct papers p = { 0 };
        _cleanup_(dmn_gate_freep) struct dmn_gate *gate = NULL;
        int r;

        if (!l)
                return 0;
        if (!bth_streq(l->address, c->listen))
                return bth_error_set(error, -EBUSY, BTH_REASON_REFUSED,
                                     "the address of [api] cannot be changed while it is served: "
                                     "restart the daemon");
        r = read_papers(c, &p, error);
        if (r == 0)
                r = dmn_gate_new((unsigned)c->rate, (unsigned)c->burst, &gate);
        if (r == 0)
                r = take_papers(l, &p, c->certificate, error);
        if (r < 0)
                return r;
        (void)dmn_gate_free(l->gate);
        l->gate = take_ptr(gate);
        return 0;
}

int dmn_listen_new(struct dmn_station *station, struct dmn_listen **ret_listen,
                   struct bth_error *error)
{
        const struct dmn_api_config *c = &dmn_station_config(station)->api;
        _cleanup_(dmn_listen_freep) struct dmn_listen *l = NULL;
        int r;

        *ret_listen = NULL;
        if (!c->listen)
                return 0;
        l = calloc(1, sizeof *l);
        if (!l)
                return -ENOMEM;
        l->fd = BTH_FD_NONE;
        l->station = station;
        r = dmn_rest_new(station, &l->rest);
        if (r == 0)
                r = open_door(l, c, error);
        if (r == 0)
                r = dmn_listen_reload(l, error);
        if (r < 0)
                return r;
        bth_log(LOG_NOTICE, "the job service answers on %s, port %u", c->listen,
                dmn_listen_port(l));
        *ret_listen = take_ptr(l);
        return 0;
}

struct dmn_listen *dmn_listen_free(struct dmn_listen *l)
{
        if (!l)
                return NULL;
        l->http = dmn_http_free(l->http);
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
