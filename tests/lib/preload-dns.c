/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Preloaded: what a program finds when it looks up names.
 *
 * While the file that BERTH_NAMES_GONE names exists, no name can be resolved. BERTH_NAMES_PORT is
 * the port of 127.0.0.1 where a name server of the test listens: the C library's own resolver asks
 * that one instead of the machine's, after it has read what it always reads. A file of those that
 * is there and may not be opened is told, since the library would go on without it. With
 * BERTH_NAMES_CLOSED the program is to be inside its sandbox by then: what it could open or connect
 * to beyond what it needs is told. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int (*resolve_fn)(const char *node, const char *service, const struct addrinfo *hints,
                          struct addrinfo **ret);

static void check_files(void)
{
        static const char *const files[] = { "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf",
                                             "/etc/host.conf", "/etc/gai.conf" };

        for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
                int fd = open(files[i], O_RDONLY | O_CLOEXEC);

                if (fd < 0 && errno != ENOENT)
                        fprintf(stderr, "%s: %s\n", files[i], strerror(errno));
                if (fd >= 0)
                        close(fd);
        }
}

static void check_closed(void)
{
        static const char *const paths[] = {
                "/",     "/etc",      "/etc/passwd",     "/etc/shadow",
                "/root", "/tmp",      "/usr/bin/env",    "/usr/share",
                "/var",  "/dev/null", "/proc/self/maps", "/proc/self/mem",
                "/sys"
        };
        static const uint16_t ports[] = { 1, 22, 80 };

        for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
                if (open(paths[i], O_RDONLY | O_CLOEXEC) >= 0)
                        fprintf(stderr, "%s can be opened\n", paths[i]);
        if (open("/etc/hosts", O_RDWR | O_CLOEXEC) >= 0)
                fprintf(stderr, "a file can be opened for writing\n");
        for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++) {
                struct sockaddr_in to = { .sin_family = AF_INET,
                                          .sin_port = htons(ports[i]),
                                          .sin_addr = { htonl(INADDR_LOOPBACK) } };
                int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

                if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 || errno != EACCES)
                        fprintf(stderr, "port %d can be connected to\n", ports[i]);
                close(fd);
        }
}

/* The resolver's state is the thread's; once it was changed, the library takes it as it is. */
static void ask(unsigned port)
{
        if (res_init() != 0) {
                fprintf(stderr, "the resolver cannot begin: %s\n", strerror(errno));
                return;
        }
        _res.nscount = 1;
        _res.retrans = 1;
        _res.nsaddr_list[0] = (struct sockaddr_in){
                .sin_family = AF_INET,
                .sin_port = htons((uint16_t)port),
                .sin_addr = { htonl(INADDR_LOOPBACK) },
        };
}

__attribute__((visibility("default"))) int getaddrinfo(const char *node, const char *service,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **ret)
{
        const char *gone = getenv("BERTH_NAMES_GONE"), *port = getenv("BERTH_NAMES_PORT");
        resolve_fn real = (resolve_fn)dlsym(RTLD_NEXT, "getaddrinfo");
        unsigned n;

        if (gone && access(gone, F_OK) == 0)
                return EAI_AGAIN;
        if (port && sscanf(port, "%u", &n) == 1) {
                check_files();
                if (getenv("BERTH_NAMES_CLOSED"))
                        check_closed();
                ask(n);
        }
        return real(node, service, hints, ret);
}
