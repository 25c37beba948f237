/* SPDX-License-Identifier: GPL-3.0-or-later */
/* berth-worker - does the order that comes over its standard input, a connected Unix socket.
 *
 * Where systemd started it, systemd runs "berth-worker --ended" on the same socket when it is over
 * (ExecStopPost=), so that the station hears how, as it would from a child. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/exit.h"
#include "base/log.h"
#include "base/order.h"
#include "uploader/worker.h"

#ifdef __SANITIZE_ADDRESS__
/* The leak checker traces the process, which the sandbox forbids. */
const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
        return "detect_leaks=0";
}
#endif

static bool is_stream_socket(int fd)
{
        struct sockaddr_storage address;
        socklen_t n = sizeof address;
        int type;

        if (getsockname(fd, (struct sockaddr *)&address, &n) < 0 || address.ss_family != AF_UNIX)
                return false;
        n = sizeof type;
        return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM;
}

/* The station may be gone, which is no failure. */
static int say_how_it_ended(void)
{
        struct bth_message m = { .type = BTH_MESSAGE_EXIT };
        _cleanup_(bth_frame_freep) struct bth_frame *f = NULL;
        int status, r = bth_exit_from_systemd(getenv("EXIT_CODE"), getenv("EXIT_STATUS"), &status);

        if (r < 0)
                return r;
        m.exit.wait_status = (uint64_t)status;
        r = bth_message_to_frame(&m, &f);
        if (r == 0)
                r = bth_frame_send(STDIN_FILENO, f);
        return r == -EPIPE || r == -ECONNRESET ? 0 : r;
}

int main(int argc, char **argv)
{
        const bool ended = argc == 2 && strcmp(argv[1], "--ended") == 0;
        int r;

        if (argc == 2 && strcmp(argv[1], "--version") == 0) {
                (void)puts("berth-worker " BERTH_VERSION);
                return 0;
        }
        bth_log_open(BTH_LOG_TARGET_AUTO, getenv("BERTH_DEBUG") ? LOG_DEBUG : LOG_INFO);
        if ((argc != 1 && !ended) || !is_stream_socket(STDIN_FILENO)) {
                bth_log(LOG_ERR, "berth-worker is started by berthd, with a socket as its standard "
                                 "input; see berth-worker(8)");
                return 2;
        }
        r = ended ? say_how_it_ended() : upl_worker_main(STDIN_FILENO);
        return r < 0 ? 1 : 0;
}
