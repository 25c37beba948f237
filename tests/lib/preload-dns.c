/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Preloaded: while the file that BERTH_NAMES_GONE names exists, no name can be resolved. */
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <unistd.h>

typedef int (*resolve_fn)(const char *node, const char *service, const struct addrinfo *hints,
                          struct addrinfo **ret);

__attribute__((visibility("default"))) int getaddrinfo(const char *node, const char *service,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **ret)
{
        const char *gone = getenv("BERTH_NAMES_GONE");
        resolve_fn real = (resolve_fn)dlsym(RTLD_NEXT, "getaddrinfo");

        return gone && access(gone, F_OK) == 0 ? EAI_AGAIN : real(node, service, hints, ret);
}
