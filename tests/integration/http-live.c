/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One request over the transport with options from the environment, for http-live.py.
 *   http-live URL
 *   BERTH_CA, BERTH_PROXY, BERTH_CERT, BERTH_KEY, BERTH_CONNECT_TO
 * Prints "RESULT STATUS CONTENT"; RESULT is an errno's name or "ok". */
#include <stdio.h>
#include <string.h>

#include "uploader/http.h"

static bool finished;

static void on_done(struct upl_exchange *x)
{
        finished = true;
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
                .stall_timeout_sec = 5,
        };
        struct upl_exchange x = { .max_answer_bytes = 4096, .done = on_done };
        struct upl_http *http;
        int r;

        if (argc != 2)
                return 2;
        x.url = argv[1];
        r = upl_http_curl_new(&o, &http);
        if (r < 0) {
                (void)printf("options: %s\n", strerrorname_np(-r));
                return 1;
        }
        r = upl_http_submit(http, &x);
        while (r == 0 && !finished)
                r = upl_http_run(http, 1000000);
        (void)printf("%s %u %s\n",
                     r < 0          ? "transport"
                     : x.result < 0 ? strerrorname_np(-x.result)
                                    : "ok",
                     x.status, x.content.data ? x.content.data : "");
        (void)fprintf(stderr, "%s\n", x.cause);
        upl_exchange_reset(&x);
        (void)upl_http_free(http);
        return 0;
}
