/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A blob service that keeps nothing: takes every PUT, discards its body, answers 201. For measuring
 * uploaders: one thread, hardly any work of its own.
 *
 *   sink-server [CERT KEY]        HTTPS with a certificate, else HTTP, on a free port of 127.0.0.1
 *
 * Prints "port N" and runs until SIGTERM, then says how much came. Remembers length and number of
 * what was put, so that uploaders that look afterwards find what they sent: a block list makes a
 * blob as long as the blocks that were put under its name. Speaks what uploaders ask: Put Blob, Put
 * Block, Put Block List, Create Container, Get Blob Properties, empty lists. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"

#define HEAD_MAX    (64u << 10)
#define SCRATCH     (1u << 20)
#define EVENTS      64
#define ANSWER_MAX  1024
#define FIRST_SLOTS (1u << 16)

struct connection {
        int fd;
        SSL *ssl;
        bool writing; /* the answer did not fit into the socket's buffer */
        char head[HEAD_MAX];
        size_t head_bytes;
        uint64_t body_left;
        char answer[ANSWER_MAX];
        size_t answer_bytes, answered;
};

/* What was put under a name: by the hash of the name, which is enough for a benchmark. */
struct blob {
        uint64_t name, committed_bytes, pending_bytes, version;
};

static struct blob *blobs;
static size_t n_slots, n_blobs;
static uint64_t n_requests, n_bytes, n_versions;
static uint8_t scratch[SCRATCH];
static volatile sig_atomic_t stop;

static void on_term(int signal_number)
{
        stop = signal_number;
}

static _Noreturn void die(const char *what)
{
        perror(what);
        exit(1);
}

/* --- blobs --- */

static uint64_t hash_of(const char *text, size_t n)
{
        uint64_t h = UINT64_C(0xcbf29ce484222325);

        for (size_t i = 0; i < n; i++)
                h = (h ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
        return h | 1;
}

static struct blob *slot_of(uint64_t name)
{
        size_t i = (size_t)(name * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (n_slots - 1);

        while (blobs[i].name != 0 && blobs[i].name != name)
                i = (i + 1) & (n_slots - 1);
        return &blobs[i];
}

static void grow(void)
{
        struct blob *old = blobs;
        size_t n = n_slots;

        n_slots = n ? n * 2 : FIRST_SLOTS;
        blobs = calloc(n_slots, sizeof *blobs);
        if (!blobs)
                die("calloc");
        for (size_t i = 0; i < n; i++)
                if (old[i].name != 0)
                        *slot_of(old[i].name) = old[i];
        free(old);
}

static struct blob *find_or_add(uint64_t name)
{
        struct blob *b;

        if (n_blobs * 2 >= n_slots)
                grow();
        b = slot_of(name);
        if (b->name == 0) {
                b->name = name;
                n_blobs++;
        }
        return b;
}

/* --- requests --- */

static const char *header(const struct connection *c, const char *name)
{
        size_t n = strlen(name);

        for (const char *line = strstr(c->head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
                if (strncasecmp(line + 2, name, n) == 0 && line[2 + n] == ':')
                        return line + 3 + n + strspn(line + 3 + n, " ");
        return NULL;
}

static void add(struct connection *c, const char *format, ...) _printf_(2, 3);
static void add(struct connection *c, const char *format, ...)
{
        va_list list;
        int n;

        va_start(list, format);
        n = vsnprintf(c->answer + c->answer_bytes, ANSWER_MAX - c->answer_bytes, format, list);
        va_end(list);
        if (n > 0 && (size_t)n < ANSWER_MAX - c->answer_bytes)
                c->answer_bytes += (size_t)n;
}

static void begin_answer(struct connection *c, const char *status)
{
        static time_t then;
        static char date[64];
        const char *id = header(c, "x-ms-client-request-id");
        time_t now = time(NULL);

        if (now != then) {
                struct tm tm;

                then = now;
                (void)strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
        }
        add(c,
            "HTTP/1.1 %s\r\nServer: sink\r\nDate: %s\r\nx-ms-version: 2021-12-02\r\n"
            "x-ms-request-id: 1\r\nLast-Modified: %s\r\n",
            status, date, date);
        if (id)
                add(c, "x-ms-client-request-id: %.*s\r\n", (int)strcspn(id, "\r\n"), id);
}

static void echo_md5(struct connection *c)
{
        const char *md5 = header(c, "Content-MD5");

        if (md5)
                add(c, "Content-MD5: %.*s\r\n", (int)strcspn(md5, "\r\n"), md5);
}

/* A block that comes once more, as after a lost answer, counts once. */
static void add_block(struct blob *b, struct blob *block, uint64_t length)
{
        if (block->version == b->version + 1)
                b->pending_bytes -= block->pending_bytes;
        b->pending_bytes += length;
        block->pending_bytes = length;
        block->version = b->version + 1;
}

static void answer_put(struct connection *c, const char *query, uint64_t name, uint64_t block,
                       uint64_t length)
{
        bool is_block = strstr(query, "comp=block") && !strstr(query, "comp=blocklist");
        struct blob *b;

        begin_answer(c, "201 Created");
        if (strstr(query, "restype=container")) {
                add(c, "ETag: \"0x1\"\r\nContent-Length: 0\r\n\r\n");
                return;
        }
        if (is_block)
                (void)find_or_add(block); /* first, since it may move all others */
        b = find_or_add(name);
        if (strstr(query, "comp=blocklist")) {
                b->committed_bytes = b->pending_bytes;
                b->pending_bytes = 0;
                b->version = ++n_versions;
        } else if (is_block) {
                add_block(b, slot_of(block), length);
        } else if (!strstr(query, "comp=")) {
                b->committed_bytes = length;
                b->version = ++n_versions;
        }
        if (!strstr(query, "comp=blocklist"))
                echo_md5(c);
        if (b->version > 0)
                add(c, "ETag: \"0x%" PRIX64 "\"\r\n", b->version);
        add(c, "x-ms-request-server-encrypted: true\r\nContent-Length: 0\r\n\r\n");
}

static void answer_look(struct connection *c, bool head, const char *query, uint64_t name)
{
        static const char nothing[] = "<?xml version=\"1.0\"?><EnumerationResults><Blobs/>"
                                      "<NextMarker/></EnumerationResults>";
        const struct blob *b = slot_of(name);

        if (strstr(query, "restype=container")) {
                begin_answer(c, "200 OK");
                add(c,
                    "ETag: \"0x1\"\r\nContent-Type: application/xml\r\nContent-Length: %zu\r\n\r\n",
                    sizeof nothing - 1);
                if (!head)
                        add(c, "%s", nothing);
        } else if (b->name != 0 && b->version > 0) {
                begin_answer(c, "200 OK");
                add(c,
                    "ETag: \"0x%" PRIX64 "\"\r\nx-ms-blob-type: BlockBlob\r\n"
                    "Content-Type: application/octet-stream\r\nContent-Length: %" PRIu64 "\r\n\r\n",
                    b->version, head ? b->committed_bytes : 0);
        } else {
                begin_answer(c, "404 Not Found");
                add(c, "x-ms-error-code: BlobNotFound\r\nContent-Length: 0\r\n\r\n");
        }
}

/* The head is whole: the answer is made now and sent when the body has come. */
static bool take_head(struct connection *c)
{
        const char *length = header(c, "Content-Length");
        const char *target = strchr(c->head, ' '), *end, *query;
        char query_text[512];
        uint64_t name;

        if (!target || !(end = strchr(target + 1, ' ')))
                return false;
        target++;
        query = memchr(target, '?', (size_t)(end - target));
        if (!query)
                query = end;
        name = hash_of(target, (size_t)(query - target));
        c->body_left = 0;
        if (length && bth_parse_u64_n(length, strspn(length, "0123456789"), &c->body_left) < 0)
                return false;
        c->answer_bytes = c->answered = 0;
        n_requests++;
        (void)snprintf(query_text, sizeof query_text, "%.*s", (int)(end - query), query);
        if (strncmp(c->head, "PUT ", 4) == 0)
                answer_put(c, query_text, name, hash_of(target, (size_t)(end - target)),
                           c->body_left);
        else
                answer_look(c, c->head[0] == 'H', query_text, name);
        return true;
}

/* --- connections --- */

static ssize_t receive(struct connection *c, void *buffer, size_t n, bool discard)
{
        int got;

        if (!c->ssl)
                return recv(c->fd, buffer, n, discard ? MSG_TRUNC : 0);
        got = SSL_read(c->ssl, buffer, (int)n);
        if (got > 0)
                return got;
        switch (SSL_get_error(c->ssl, got)) {
        case SSL_ERROR_WANT_READ:
        case SSL_ERROR_WANT_WRITE:
                errno = EAGAIN;
                return -1;
        default:
                return 0;
        }
}

static ssize_t give(struct connection *c, const void *data, size_t n)
{
        int put;

        if (!c->ssl)
                return send(c->fd, data, n, MSG_NOSIGNAL);
        put = SSL_write(c->ssl, data, (int)n);
        if (put > 0)
                return put;
        errno = EAGAIN;
        return -1;
}

/* Returns false when the connection is over. */
static bool send_answer(struct connection *c)
{
        while (c->answered < c->answer_bytes) {
                ssize_t n = give(c, c->answer + c->answered, c->answer_bytes - c->answered);

                if (n < 0 && errno == EAGAIN)
                        return true;
                if (n <= 0)
                        return false;
                c->answered += (size_t)n;
        }
        c->answer_bytes = c->answered = 0;
        return true;
}

static bool read_head(struct connection *c)
{
        ssize_t n = receive(c, c->head + c->head_bytes, HEAD_MAX - 1 - c->head_bytes, false);
        size_t whole, more;
        char *end;

        if (n < 0)
                return errno == EAGAIN;
        if (n == 0)
                return false;
        c->head_bytes += (size_t)n;
        c->head[c->head_bytes] = '\0';
        end = strstr(c->head, "\r\n\r\n");
        if (!end)
                return c->head_bytes < HEAD_MAX - 1;
        whole = (size_t)(end - c->head) + 4;
        end[2] = '\0';
        if (!take_head(c))
                return false;
        more = c->head_bytes - whole;
        /* No pipelining: what came with the head is of its body. */
        if (more > c->body_left)
                return false;
        n_bytes += more;
        c->body_left -= more;
        c->head_bytes = 0;
        return c->body_left > 0 || send_answer(c);
}

static bool read_body(struct connection *c)
{
        size_t want = c->body_left < SCRATCH ? (size_t)c->body_left : SCRATCH;
        ssize_t n = receive(c, scratch, want, true);

        if (n < 0)
                return errno == EAGAIN;
        if (n == 0)
                return false;
        n_bytes += (uint64_t)n;
        c->body_left -= (uint64_t)n;
        return c->body_left > 0 || send_answer(c);
}

static bool serve(struct connection *c)
{
        for (;;) {
                uint64_t before = n_bytes;
                size_t head_before = c->head_bytes;
                uint64_t requests = n_requests;

                if (c->answer_bytes > 0 && c->body_left == 0 && !send_answer(c))
                        return false;
                if (!(c->body_left > 0 ? read_body(c) : read_head(c)))
                        return false;
                if (n_bytes == before && c->head_bytes == head_before && n_requests == requests)
                        return true;
        }
}

static void drop(struct connection *c)
{
        if (c->ssl)
                SSL_free(c->ssl);
        (void)close(c->fd);
        free(c);
}

static void take_connection(int listener, int epoll, SSL_CTX *tls)
{
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
        struct connection *c;
        struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET };

        if (fd < 0)
                return;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        c = calloc(1, sizeof *c);
        if (!c)
                die("calloc");
        c->fd = fd;
        if (tls) {
                c->ssl = SSL_new(tls);
                if (!c->ssl || SSL_set_fd(c->ssl, fd) != 1)
                        die("SSL_new");
                SSL_set_accept_state(c->ssl);
        }
        e.data.ptr = c;
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0)
                die("epoll_ctl");
}

static SSL_CTX *make_tls(const char *certificate, const char *key)
{
        SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

        if (!tls || SSL_CTX_use_certificate_chain_file(tls, certificate) != 1 ||
            SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) {
                ERR_print_errors_fp(stderr);
                exit(1);
        }
        (void)SSL_CTX_set_ciphersuites(tls, "TLS_AES_128_GCM_SHA256");
        return tls;
}

static int make_listener(void)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t n = sizeof address;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
            listen(fd, 512) < 0 || getsockname(fd, (struct sockaddr *)&address, &n) < 0)
                die("listen");
        (void)printf("port %u\n", ntohs(address.sin_port));
        (void)fflush(stdout);
        return fd;
}

int main(int argc, char **argv)
{
        struct sigaction action = { .sa_handler = on_term };
        struct epoll_event events[EVENTS], e = { .events = EPOLLIN };
        SSL_CTX *tls = argc == 3 ? make_tls(argv[1], argv[2]) : NULL;
        int listener, epoll = epoll_create1(EPOLL_CLOEXEC);

        (void)signal(SIGPIPE, SIG_IGN);
        (void)sigaction(SIGTERM, &action, NULL);
        grow();
        listener = make_listener();
        if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e) < 0)
                die("epoll");
        while (!stop) {
                int n = epoll_wait(epoll, events, EVENTS, -1);

                for (int i = 0; i < n; i++)
                        if (!events[i].data.ptr)
                                take_connection(listener, epoll, tls);
                        else if (!serve(events[i].data.ptr))
                                drop(events[i].data.ptr);
        }
        (void)fprintf(stderr, "requests %" PRIu64 " bytes %" PRIu64 "\n", n_requests, n_bytes);
        SSL_CTX_free(tls);
        return 0;
}
