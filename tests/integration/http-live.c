/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requests over the transport with options from the environment, for http-live.py.
 *   http-live URL
 *   BERTH_CA, BERTH_PROXY, BERTH_CERT, BERTH_KEY, BERTH_CONNECT_TO, BERTH_STALL (seconds)
 * Prints "RESULT STATUS CONTENT" of a GET; RESULT is an errno's name or "ok". With BERTH_CAP, bytes
 * a second, the same of four PUT of 32 KiB at once; with BERTH_PAUSE of one, whose body has nothing
 * to send for so many seconds after its first byte; with BERTH_BODY of one with so many bytes. */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/time.h"
#include "uploader/http.h"
#include "uploader/limit.h"

#define PUTS       4u
#define BODY_BYTES 32768u
#define BODY_MAX   (1u << 20)

static unsigned n_running;

static void on_done(struct upl_exchange *x)
{
        (void)x;
        n_running--;
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
        const char *text = getenv(name);
        uint64_t number;

        return text && bth_parse_u64(text, &number) == 0 ? number : otherwise;
}

static uint64_t pause_usec, paused_usec;

static ssize_t read_slowly(void *userdata, void *buffer, size_t n)
{
        uint64_t now = bth_now_monotonic_usec();

        (void)userdata;
        if (paused_usec > 0 && now - paused_usec < pause_usec)
                return UPL_BODY_WAIT;
        if (paused_usec == 0) {
                paused_usec = now;
                n = 1;
        }
        memset(buffer, 'x', n);
        return (ssize_t)n;
}

static int run(struct upl_http *http, struct upl_exchange *x, unsigned n)
{
        int r = 0;

        for (unsigned i = 0; i < n && r == 0; i++) {
                r = upl_http_submit(http, &x[i]);
                n_running += r == 0;
        }
        while (r == 0 && n_running > 0) {
                r = upl_http_run(http, (pause_usec > 0 ? 1 : 60) * BTH_USEC_PER_SEC);
                if (pause_usec > 0)
                        upl_http_resume(http, &x[0]);
        }
        return r;
}

int main(int argc, char **argv)
{
        const char *connect_to[] = { getenv("BERTH_CONNECT_TO"), NULL };
        struct upl_http_options o = {
                .ca_file = getenv("BERTH_CA"),
                .proxy = getenv("BERTH_PROXY"),
                .client_cert = getenv("BERTH_CERT"),
                .client_key = getenv("BERTH_KEY"),
                .connect_to = connect_to[0] ? connect_to : NULL,
                .connect_timeout_sec = 5,
                .stall_timeout_sec = (unsigned)number_of("BERTH_STALL", 5),
        };
        static const uint8_t body[BODY_MAX];
        uint64_t cap = number_of("BERTH_CAP", 0), body_bytes = number_of("BERTH_BODY", 0);
        unsigned n = cap > 0 ? PUTS : 1;
        struct upl_exchange x[PUTS] = { 0 };
        struct upl_limit *limit = NULL;
        struct upl_http *http;
        int r;

        if (argc != 2 || body_bytes > BODY_MAX || (cap > 0 && upl_limit_new(cap, &limit) < 0))
                return 2;
        pause_usec = number_of("BERTH_PAUSE", 0) * BTH_USEC_PER_SEC;
        o.limit = limit;
        r = upl_http_curl_new(&o, &http);
        if (r < 0) {
                (void)printf("options: %s\n", strerrorname_np(-r));
                return 1;
        }
        for (unsigned i = 0; i < n; i++) {
                x[i].url = argv[1];
                x[i].max_answer_bytes = 4096;
                x[i].done = on_done;
                if (cap > 0 || pause_usec > 0 || body_bytes > 0) {
                        x[i].method = UPL_METHOD_PUT;
                        x[i].body.data = body;
                        x[i].body.length_bytes = body_bytes > 0 ? body_bytes : BODY_BYTES;
                        x[i].body.read = pause_usec > 0 ? read_slowly : NULL;
                }
        }
        r = run(http, x, n);
        for (unsigned i = 0; i < n; i++) {
                (void)printf("%s %u %s\n",
                             r < 0             ? "transport"
                             : x[i].result < 0 ? strerrorname_np(-x[i].result)
                                               : "ok",
                             x[i].status, x[i].content.data ? x[i].content.data : "");
                (void)fprintf(stderr, "%s\n", x[i].cause);
                upl_exchange_reset(&x[i]);
        }
        (void)upl_http_free(http);
        (void)upl_limit_free(limit);
        return 0;
}
