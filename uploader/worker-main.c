/* SPDX-License-Identifier: GPL-3.0-or-later */
/* berth-worker - does the order that comes over its standard input, a connected Unix socket. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
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

int main(int argc, char **argv)
{
        int r;

        if (argc == 2 && strcmp(argv[1], "--version") == 0) {
                (void)puts("berth-worker " BERTH_VERSION);
                return 0;
        }
        bth_log_open(BTH_LOG_TARGET_AUTO, getenv("BERTH_DEBUG") ? LOG_DEBUG : LOG_INFO);
        if (argc != 1 || !is_stream_socket(STDIN_FILENO)) {
                bth_log(LOG_ERR, "berth-worker is started by berthd, with a socket as its standard "
                                 "input; see berth-worker(8)");
                return 2;
        }
        r = upl_worker_main(STDIN_FILENO);
        return r < 0 ? 1 : 0;
}
