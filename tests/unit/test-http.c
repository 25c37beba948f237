/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The HTTP server inside an sd-event loop, over a real Unix socket: answers at once and later,
 * limits, clients that stop in the middle or go away. Client and server share one thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>
#include <systemd/sd-event.h>

#include "base/str.h"
#include "base/time.h"
#include "daemon/http.h"

#define PATIENCE_USEC (20 * BTH_USEC_PER_SEC)

struct place {
        sd_event *loop;
        struct dmn_http *http;
        struct sockaddr_un address;
        bool later; /* the handler keeps the request */
        bool streams;
        unsigned drained, gone, empty;
        struct dmn_http_request *kept[8];
        size_t n_kept;
        unsigned handled;
        char target[256], header[64], body[64];
        size_t n_body;
        struct dmn_http_peer peer;
};

static void answer(struct dmn_http_request *q, const char *text)
{
        dmn_http_reply(q, &(struct dmn_http_reply){ .status = 200,
                                                    .type = "text/plain",
                                                    .body = text,
                                                    .n = strlen(text),
                                                    .headers = { { "X-Test", "yes" } } });
}

static void on_drained(void *userdata)
{
        ((struct place *)userdata)->drained++;
}

static void on_gone(void *userdata)
{
        ((struct place *)userdata)->gone++;
}

static int begin_stream(struct place *p, struct dmn_http_request *q, const char *first)
{
        return dmn_http_stream(
                q,
                &(struct dmn_http_reply){
                        .status = 200, .type = "text/plain", .body = first, .n = strlen(first) },
                &(struct dmn_http_stream){ on_drained, on_gone, p });
}

static void handle(void *userdata, struct dmn_http_request *q)
{
        struct place *p = userdata;
        const char *header = dmn_http_header(q, "X-Ask"), *body;

        p->handled++;
        p->peer = *dmn_http_peer(q);
        (void)snprintf(p->target, sizeof p->target, "%s %s", dmn_http_method(q),
                       dmn_http_target(q));
        (void)snprintf(p->header, sizeof p->header, "%s", header ? header : "");
        body = dmn_http_body(q, &p->n_body);
        (void)snprintf(p->body, sizeof p->body, "%s", body ? body : "");
        if (dmn_http_body_too_large(q))
                dmn_http_reply(q, &(struct dmn_http_reply){ .status = 413 });
        else if (p->streams && begin_stream(p, q, "begin;") == -EAGAIN)
                dmn_http_reply(q, &(struct dmn_http_reply){ .status = 429 });
        else if (p->later || p->streams)
                p->kept[p->n_kept++] = q;
        else
                answer(q, "hello");
}

static void serve(struct place *p, struct dmn_http_options options)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        assert_true(fd >= 0);
        (void)unlink(p->address.sun_path);
        assert_int_equal(bind(fd, (struct sockaddr *)&p->address, sizeof p->address), 0);
        assert_int_equal(listen(fd, 64), 0);
        options.loop = p->loop;
        options.fd = fd;
        options.handler = handle;
        options.userdata = p;
        assert_int_equal(dmn_http_new(&options, &p->http), 0);
}

static int set_up(void **state)
{
        struct place *p = calloc(1, sizeof *p);

        assert_non_null(p);
        p->address.sun_family = AF_UNIX;
        (void)snprintf(p->address.sun_path, sizeof p->address.sun_path, "/tmp/berth-http-%d",
                       (int)getpid());
        assert_true(sd_event_new(&p->loop) >= 0);
        *state = p;
        return 0;
}

static int tear_down(void **state)
{
        struct place *p = *state;

        (void)dmn_http_free(p->http);
        p->loop = sd_event_unref(p->loop);
        assert_int_equal(unlink(p->address.sun_path), 0);
        free(p);
        return 0;
}

static void turn(struct place *p)
{
        assert_true(sd_event_run(p->loop, 10000) >= 0);
}

static int connect_to(struct place *p)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        assert_true(fd >= 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&p->address, sizeof p->address), 0);
        return fd;
}

static void say(int fd, const char *text)
{
        assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* What comes back until `end` is in it, or until the server closes. Returns whether it closed. */
static bool hear_until(struct place *p, int fd, const char *end, char *out, size_t out_bytes)
{
        uint64_t until = bth_now_monotonic_usec() + PATIENCE_USEC;
        size_t n = 0;

        out[0] = '\0';
        while (bth_now_monotonic_usec() < until) {
                ssize_t got = recv(fd, out + n, out_bytes - n - 1, 0);

                if (got == 0 || (got < 0 && errno != EAGAIN))
                        return true;
                n += got > 0 ? (size_t)got : 0;
                out[n] = '\0';
                if (got > 0 && end && strstr(out, end))
                        return false;
                turn(p);
        }
        fail_msg("nothing came within the time");
        return false;
}

static void wait_for(struct place *p, const unsigned *what, unsigned value)
{
        uint64_t until = bth_now_monotonic_usec() + PATIENCE_USEC;

        while (*what < value && bth_now_monotonic_usec() < until)
                turn(p);
        assert_int_equal(*what, value);
}

static void wait_until_gone(struct place *p, unsigned left)
{
        uint64_t until = bth_now_monotonic_usec() + PATIENCE_USEC;

        while (dmn_http_connections(p->http) != left && bth_now_monotonic_usec() < until)
                turn(p);
        assert_int_equal(dmn_http_connections(p->http), left);
}

static void test_answers(void **state)
{
        struct place *p = *state;
        char text[1024];
        int fd;

        serve(p, (struct dmn_http_options){ 0 });
        fd = connect_to(p);
        say(fd, "GET /v1/a%2Fb?x=%20+1 HTTP/1.1\r\nHost: b\r\nX-Ask: what\r\n\r\n");
        assert_false(hear_until(p, fd, "hello", text, sizeof text));
        assert_non_null(strstr(text, "HTTP/1.1 200 "));
        assert_non_null(strstr(text, "X-Test: yes\r\n"));
        assert_non_null(strstr(text, "Cache-Control: no-store\r\n"));
        assert_string_equal(p->target, "GET /v1/a%2Fb?x=%20+1");
        assert_string_equal(p->header, "what");
        assert_int_equal(p->n_body, 0);
        assert_true(p->peer.local);
        assert_int_equal(p->peer.uid, getuid());
        assert_int_equal(p->peer.pid, getpid());

        /* The same connection again, with a body in two parts. */
        say(fd, "POST /two HTTP/1.1\r\nHost: b\r\nContent-Length: 8\r\n\r\nfour");
        for (int i = 0; i < 10; i++)
                turn(p);
        assert_int_equal(p->handled, 1);
        say(fd, "more");
        assert_false(hear_until(p, fd, "hello", text, sizeof text));
        assert_string_equal(p->body, "fourmore");
        say(fd, "POST /three HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n"
                "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        assert_false(hear_until(p, fd, "hello", text, sizeof text));
        assert_string_equal(p->body, "abcde");
        (void)close(fd);
        wait_until_gone(p, 0);
}

static void test_later(void **state)
{
        struct place *p = *state;
        char text[1024];
        int fds[3];

        serve(p, (struct dmn_http_options){ 0 });
        p->later = true;
        for (unsigned i = 0; i < 3; i++) {
                fds[i] = connect_to(p);
                say(fds[i], "GET / HTTP/1.1\r\nHost: b\r\n\r\n");
                wait_for(p, &p->handled, i + 1);
        }
        /* The second client goes away before its answer, which harms nobody. */
        (void)close(fds[1]);
        answer(p->kept[2], "third");
        assert_false(hear_until(p, fds[2], "third", text, sizeof text));
        answer(p->kept[1], "second");
        answer(p->kept[0], "first");
        assert_false(hear_until(p, fds[0], "first", text, sizeof text));
        wait_until_gone(p, 2);
        (void)close(fds[0]);
        (void)close(fds[2]);
        wait_until_gone(p, 0);
}

static void test_end_with_open_requests(void **state)
{
        struct place *p = *state;
        char text[64];
        int fd;

        serve(p, (struct dmn_http_options){ 0 });
        p->later = true;
        fd = connect_to(p);
        say(fd, "GET / HTTP/1.1\r\nHost: b\r\n\r\n");
        wait_for(p, &p->handled, 1);
        p->http = dmn_http_free(p->http);
        assert_true(hear_until(p, fd, NULL, text, sizeof text));
        assert_null(dmn_http_header(p->kept[0], "Host"));
        assert_string_equal(dmn_http_target(p->kept[0]), "/");
        answer(p->kept[0], "to nobody");
        (void)close(fd);
}

static void put(struct dmn_http_request *q, const char *text)
{
        assert_int_equal(dmn_http_stream_write(q, text, strlen(text)), 0);
}

static void test_stream(void **state)
{
        struct place *p = *state;
        char text[2048];
        int fds[3];

        serve(p, (struct dmn_http_options){ .connections = 4 });
        p->streams = true;
        for (unsigned i = 0; i < 3; i++) {
                fds[i] = connect_to(p);
                say(fds[i], "GET / HTTP/1.1\r\nHost: b\r\n\r\n");
                wait_for(p, &p->handled, i + 1);
        }
        assert_false(hear_until(p, fds[0], "begin;", text, sizeof text));
        assert_non_null(strstr(text, "Transfer-Encoding: chunked"));
        assert_false(hear_until(p, fds[2], "\r\n\r\n", text, sizeof text));
        assert_non_null(strstr(text, " 429 ")); /* half of the places are taken */
        wait_for(p, &p->drained, 2);
        assert_int_equal(p->gone, 0);

        put(p->kept[0], "one;");
        put(p->kept[0], "two;");
        assert_int_equal(dmn_http_stream_waiting(p->kept[0]), 8);
        assert_false(hear_until(p, fds[0], "two;", text, sizeof text));
        assert_non_null(strstr(text, "one;"));
        wait_for(p, &p->drained, 3);
        assert_int_equal(dmn_http_stream_waiting(p->kept[0]), 0);

        /* A client that goes away is noticed although nothing is written. */
        (void)close(fds[1]);
        wait_for(p, &p->gone, 1);

        put(p->kept[0], "three;");
        dmn_http_stream_end(p->kept[0]);
        assert_false(hear_until(p, fds[0], "\r\n0\r\n\r\n", text, sizeof text));
        assert_non_null(strstr(text, "three;"));
        /* The connection can be used again. */
        p->streams = false;
        say(fds[0], "GET / HTTP/1.1\r\nHost: b\r\n\r\n");
        assert_false(hear_until(p, fds[0], "hello", text, sizeof text));
        assert_int_equal(p->gone, 1);
        (void)close(fds[0]);
        (void)close(fds[2]);
        wait_until_gone(p, 0);
}

/* The server ends; or the stream does when the client takes nothing. */
static void test_stream_ends(void **state)
{
        static char much[1 << 20];
        struct place *p = *state;
        char text[2048];
        int fd, r = 0;

        serve(p, (struct dmn_http_options){ .request_sec = 1, .idle_sec = 1 });
        p->streams = true;
        fd = connect_to(p);
        say(fd, "GET / HTTP/1.1\r\nHost: b\r\n\r\n");
        assert_false(hear_until(p, fd, "begin;", text, sizeof text));
        memset(much, 'x', sizeof much);
        for (unsigned i = 0; i < 10 && r == 0; i++) {
                r = dmn_http_stream_write(p->kept[0], much, sizeof much);
                turn(p);
        }
        assert_int_equal(r, -ENOBUFS);
        wait_for(p, &p->gone, 1); /* its time is over */
        (void)close(fd);

        fd = connect_to(p);
        say(fd, "GET / HTTP/1.1\r\nHost: b\r\n\r\n");
        assert_false(hear_until(p, fd, "begin;", text, sizeof text));
        p->http = dmn_http_free(p->http);
        assert_int_equal(p->gone, 2);
        assert_true(hear_until(p, fd, NULL, text, sizeof text));
        (void)close(fd);
}

static void on_empty(void *userdata, struct dmn_http *h)
{
        struct place *p = userdata;

        p->empty++;
        assert_ptr_equal(h, p->http);
        p->http = dmn_http_free(p->http);
}

/* Another server takes its place: nobody new, and whoever waits gets an answer. */
static void test_drain(void **state)
{
        struct place *p = *state;
        char text[2048];
        int idle, waiting, stream, late;

        serve(p, (struct dmn_http_options){ .idle_sec = 2 });
        idle = connect_to(p);
        say(idle, "GET / HTTP/1.1\r\nHost: b\r\n\r\n");
        assert_false(hear_until(p, idle, "hello", text, sizeof text));
        assert_null(strstr(text, "Connection: close"));
        p->streams = true;
        stream = connect_to(p);
        say(stream, "GET / HTTP/1.1\r\nHost: b\r\n\r\n");
        assert_false(hear_until(p, stream, "begin;", text, sizeof text));
        p->streams = false;
        p->later = true;
        waiting = connect_to(p);
        say(waiting, "GET / HTTP/1.1\r\nHost: b\r\n\r\n");
        wait_for(p, &p->handled, 3);
        put(p->kept[0], "last;");

        dmn_http_drain(p->http, on_empty, p);
        late = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(connect(late, (struct sockaddr *)&p->address, sizeof p->address) < 0);
        assert_int_equal(errno, ECONNREFUSED);
        (void)close(late);
        assert_false(hear_until(p, stream, "\r\n0\r\n\r\n", text, sizeof text));
        assert_non_null(strstr(text, "last;"));
        wait_for(p, &p->gone, 1);
        /* One that had its answer before may ask once more. */
        p->later = false;
        say(idle, "GET / HTTP/1.1\r\nHost: b\r\n\r\n");
        assert_true(hear_until(p, idle, NULL, text, sizeof text));
        assert_non_null(strstr(text, "hello"));
        assert_non_null(strstr(text, "Connection: close"));
        assert_int_equal(p->empty, 0);
        answer(p->kept[1], "at last");
        assert_true(hear_until(p, waiting, NULL, text, sizeof text));
        assert_non_null(strstr(text, "at last"));
        wait_for(p, &p->empty, 1);
        (void)close(idle);
        (void)close(stream);
        (void)close(waiting);
}

static void test_drain_empty(void **state)
{
        struct place *p = *state;

        serve(p, (struct dmn_http_options){ 0 });
        dmn_http_drain(p->http, on_empty, p);
        wait_for(p, &p->empty, 1);
        assert_null(p->http);
}

static void test_half_sent(void **state)
{
        struct place *p = *state;
        char text[1024];
        int slow, fast, dribble;

        serve(p, (struct dmn_http_options){ .idle_sec = 1, .request_sec = 1 });
        slow = connect_to(p);
        say(slow, "POST / HTTP/1.1\r\nHost: b\r\nContent-Len");
        dribble = connect_to(p);
        fast = connect_to(p);
        say(fast, "GET / HTTP/1.1\r\nHost: b\r\n\r\n");
        assert_false(hear_until(p, fast, "hello", text, sizeof text));
        assert_int_equal(dmn_http_connections(p->http), 3);
        /* A byte now and then does not keep a connection for ever. */
        for (const char *c = "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
             *c; c++) {
                if (send(dribble, c, 1, MSG_NOSIGNAL) < 0)
                        break;
                for (int i = 0; i < 20; i++)
                        turn(p);
        }
        (void)hear_until(p, slow, NULL, text, sizeof text);
        (void)hear_until(p, dribble, NULL, text, sizeof text);
        wait_until_gone(p, 0);
        assert_int_equal(p->handled, 1);
        (void)close(slow);
        (void)close(fast);
        (void)close(dribble);
}

static void test_body_limit(void **state)
{
        struct place *p = *state;
        char text[1024];
        int fd;

        serve(p, (struct dmn_http_options){ .body_bytes = 8 });
        fd = connect_to(p);
        say(fd, "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 8\r\n\r\n12345678");
        assert_false(hear_until(p, fd, "hello", text, sizeof text));
        say(fd, "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 9\r\n\r\n");
        assert_false(hear_until(p, fd, "\r\n\r\n", text, sizeof text));
        assert_non_null(strstr(text, " 413 "));
        (void)close(fd);
        fd = connect_to(p);
        say(fd, "POST / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n"
                "5\r\n12345\r\n5\r\n67890\r\n0\r\n\r\n");
        assert_false(hear_until(p, fd, "\r\n\r\n", text, sizeof text));
        assert_non_null(strstr(text, " 413 "));
        (void)close(fd);
        fd = connect_to(p);
        say(fd, "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 99999999999999999999\r\n\r\n");
        (void)hear_until(p, fd, "\r\n\r\n", text, sizeof text);
        assert_null(strstr(text, " 200 "));
        (void)close(fd);
        wait_until_gone(p, 0);
}

/* Those who may not send much are told with the headers, and cost no memory. */
static size_t limit_by_header(void *userdata, const struct dmn_http_request *q)
{
        const char *ask = dmn_http_header(q, "X-Ask");

        assert_non_null(userdata);
        return ask && strcmp(ask, "much") == 0 ? 1u << 20 : 4;
}

static void test_body_limit_of_request(void **state)
{
        struct place *p = *state;
        char text[1024];
        int fd;

        serve(p, (struct dmn_http_options){ .body_bytes = 8, .body_limit = limit_by_header });
        fd = connect_to(p);
        say(fd, "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 4\r\n\r\n1234");
        assert_false(hear_until(p, fd, "hello", text, sizeof text));
        say(fd, "POST / HTTP/1.1\r\nHost: b\r\nX-Ask: much\r\nContent-Length: 8\r\n\r\n12345678");
        assert_false(hear_until(p, fd, "hello", text, sizeof text));
        assert_string_equal(p->body, "12345678");
        /* More than all may have, whatever this one may. */
        say(fd, "POST / HTTP/1.1\r\nHost: b\r\nX-Ask: much\r\nContent-Length: 9\r\n\r\n");
        assert_false(hear_until(p, fd, "\r\n\r\n", text, sizeof text));
        assert_non_null(strstr(text, " 413 "));
        (void)close(fd);
        /* Answered although not a byte of the body was sent. */
        fd = connect_to(p);
        say(fd, "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\n");
        assert_false(hear_until(p, fd, "\r\n\r\n", text, sizeof text));
        assert_non_null(strstr(text, " 413 "));
        assert_int_equal(p->n_body, 0);
        (void)close(fd);
        fd = connect_to(p);
        say(fd, "POST / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n"
                "5\r\n12345\r\n0\r\n\r\n");
        assert_false(hear_until(p, fd, "\r\n\r\n", text, sizeof text));
        assert_non_null(strstr(text, " 413 "));
        (void)close(fd);
        wait_until_gone(p, 0);
}

static void test_header_limit(void **state)
{
        struct place *p = *state;
        char text[2048], filler[1024];
        int fd;

        serve(p, (struct dmn_http_options){ .header_bytes = 4096 });
        fd = connect_to(p);
        memset(filler, 'a', sizeof filler);
        filler[sizeof filler - 1] = '\0';
        say(fd, "GET / HTTP/1.1\r\nHost: b\r\nX-Long: ");
        for (int i = 0; i < 8; i++) {
                if (send(fd, filler, sizeof filler - 1, MSG_NOSIGNAL) < 0)
                        break;
                turn(p);
        }
        (void)hear_until(p, fd, "\r\n\r\n", text, sizeof text);
        assert_int_equal(p->handled, 0);
        (void)close(fd);
        wait_until_gone(p, 0);
}

static void test_places(void **state)
{
        struct place *p = *state;
        char text[1024];
        int fds[4];

        serve(p, (struct dmn_http_options){ .per_peer = 2 });
        for (int i = 0; i < 3; i++)
                fds[i] = connect_to(p);
        assert_true(hear_until(p, fds[2], NULL, text, sizeof text));
        assert_int_equal(dmn_http_connections(p->http), 2);
        p->http = dmn_http_free(p->http);
        for (int i = 0; i < 3; i++)
                (void)close(fds[i]);

        /* When all places are taken, the next one waits for its turn. */
        serve(p, (struct dmn_http_options){ .connections = 2 });
        for (int i = 0; i < 3; i++)
                fds[i] = connect_to(p);
        say(fds[2], "GET / HTTP/1.1\r\nHost: b\r\n\r\n");
        for (int i = 0; i < 5; i++)
                turn(p);
        assert_int_equal(dmn_http_connections(p->http), 2);
        assert_int_equal(p->handled, 0);
        (void)close(fds[0]);
        assert_false(hear_until(p, fds[2], "hello", text, sizeof text));
        (void)close(fds[1]);
        (void)close(fds[2]);
        wait_until_gone(p, 0);
}

static bool is_preferred(void *userdata, const struct dmn_http_peer *peer)
{
        assert_true(peer->local);
        return ((struct place *)userdata)->later; /* who comes while this is set */
}

/* All the others cannot keep those out for whom places are kept. */
static void test_reserved(void **state)
{
        struct place *p = *state;
        char text[1024];
        int fds[3];

        serve(p, (struct dmn_http_options){
                         .connections = 3, .reserved = 1, .preferred = is_preferred });
        for (size_t i = 0; i < 2; i++) {
                fds[i] = connect_to(p);
                say(fds[i], "GET / HTTP/1.1\r\nHost: b\r\n\r\n");
                assert_false(hear_until(p, fds[i], "hello", text, sizeof text));
        }
        fds[2] = connect_to(p);
        assert_true(hear_until(p, fds[2], NULL, text, sizeof text));
        (void)close(fds[2]);
        p->later = true;
        fds[2] = connect_to(p);
        for (unsigned i = 0; i < 1000 && dmn_http_connections(p->http) < 3; i++)
                turn(p);
        p->later = false;
        say(fds[2], "GET / HTTP/1.1\r\nHost: b\r\n\r\n");
        assert_false(hear_until(p, fds[2], "hello", text, sizeof text));
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                (void)close(fds[i]);
        wait_until_gone(p, 0);
}

static void test_garbage(void **state)
{
        struct place *p = *state;
        static const char *const lines[] = {
                "\r\n\r\n\r\n",
                "hello\r\n\r\n",
                "GET\r\n\r\n",
                "GET / HTTP/9.9\r\n\r\n",
                "GET / HTTP/1.1\r\n\r\n", /* no Host */
                "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: -1\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        };
        char text[2048];

        serve(p, (struct dmn_http_options){ .idle_sec = 1, .request_sec = 1 });
        for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
                int fd = connect_to(p);

                say(fd, lines[i]);
                (void)hear_until(p, fd, "\r\n\r\n", text, sizeof text);
                assert_null(strstr(text, " 200 "));
                (void)close(fd);
        }
        wait_until_gone(p, 0);
        assert_int_equal(p->handled, 0);
}

/* With nobody connected, nothing wakes the loop. */
static void test_sleeps(void **state)
{
        struct place *p = *state;
        char text[1024];
        int fd, r = 1;

        serve(p, (struct dmn_http_options){ 0 });
        fd = connect_to(p);
        say(fd, "GET / HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n");
        assert_true(hear_until(p, fd, NULL, text, sizeof text));
        (void)close(fd);
        wait_until_gone(p, 0);
        for (int i = 0; i < 100 && r > 0; i++)
                r = sd_event_run(p->loop, 0);
        assert_int_equal(r, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_answers, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_later, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_end_with_open_requests, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_stream, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_stream_ends, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_drain, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_drain_empty, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_half_sent, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_body_limit, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_body_limit_of_request, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_header_limit, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_places, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_reserved, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_garbage, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_sleeps, set_up, tear_down),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
