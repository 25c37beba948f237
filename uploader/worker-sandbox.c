/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker-sandbox - what this order needs of the world: files of the TLS and name libraries, ports
 * of the account, memory and time that fit the drive. */
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "uploader/sandbox.h"
#include "uploader/worker-internal.h"

#define PORTS_MAX        40u
#define FILES_MAX        32u
#define PORT_DNS         53u /* long answers come over TCP */
#define PORT_PROXY       1080u
#define DATA_SPARE_BYTES (UINT64_C(1) << 30)
#define CPU_BASE_SEC     3600u
#define CPU_SEC_PER_GIB  60u /* a hundred times what is needed */

struct ports {
        uint16_t items[PORTS_MAX];
        size_t n;
};

static void add_port(struct ports *p, uint64_t port)
{
        if (port > 0 && port <= UINT16_MAX && p->n < PORTS_MAX)
                p->items[p->n++] = (uint16_t)port;
}

/* The number behind the last colon of [text, end), unless that colon is inside an IPv6 address. */
static uint64_t port_at_end(const char *text, const char *end, uint64_t otherwise)
{
        const char *colon = memrchr(text, ':', (size_t)(end - text));
        uint64_t port;

        if (!colon || memchr(colon, ']', (size_t)(end - colon)) ||
            bth_parse_u64_n(colon + 1, (size_t)(end - colon - 1), &port) < 0)
                return otherwise;
        return port;
}

/* Of "scheme://[user@]host[:port][/path]". */
static uint64_t port_of_url(const char *url, uint64_t otherwise)
{
        const char *host = strstr(url, "://");
        const char *end;

        host = host ? host + 3 : url;
        end = host + strcspn(host, "/?#");
        return port_at_end(host, end, otherwise);
}

/* Of lines "HOST:PORT:HOST:PORT": the last number of each. */
static void add_connect_to(struct ports *p, const char *lines)
{
        while (lines && *lines) {
                const char *end = lines + strcspn(lines, "\n");

                add_port(p, port_at_end(lines, end, 0));
                lines = *end ? end + 1 : end;
        }
}

static void list_ports(const struct bth_order *o, struct ports *p)
{
        const char *endpoint = o->endpoint ? o->endpoint : "https://";

        add_port(p, PORT_DNS);
        add_port(p, port_of_url(endpoint, bth_starts_with(endpoint, "http://") ? 80 : 443));
        if (o->proxy)
                add_port(p, port_of_url(o->proxy, PORT_PROXY));
        if (strcmp(o->credential_kind, "identity") == 0)
                add_port(p, port_of_url(o->identity_endpoint ? o->identity_endpoint
                                                             : UPL_TOKEN_IDENTITY,
                                        80));
        add_connect_to(p, o->connect_to);
}

/* For libcurl, OpenSSL, and the name service with what it loads. */
static void list_files(const struct bth_order *o, const char *files[FILES_MAX])
{
        static const char *const common[] = {
                "/etc/resolv.conf",
                "/etc/hosts",
                "/etc/nsswitch.conf",
                "/etc/host.conf",
                "/etc/gai.conf",
                "/etc/services",
                "/etc/ld.so.cache",
                "/etc/ssl/openssl.cnf",
                "/usr/lib",
                "/lib",
                "/run/systemd/resolve",
                "/dev/urandom",
                "/dev/random",
                "/proc/sys/crypto/fips_enabled",
                "/etc/localtime",
        };
        static const char *const authorities[] = { "/etc/ssl/certs", "/usr/share/ca-certificates" };
        size_t n = 0;

        for (size_t i = 0; i < ARRAY_SIZE(common); i++)
                files[n++] = common[i];
        if (o->ca_file)
                files[n++] = o->ca_file;
        for (size_t i = 0; !o->ca_file && i < ARRAY_SIZE(authorities); i++)
                files[n++] = authorities[i];
        if (o->client_cert)
                files[n++] = o->client_cert;
        if (o->client_key)
                files[n++] = o->client_key;
        files[n] = NULL;
}

static uint64_t cpu_seconds(const struct bth_order *o)
{
        off_t bytes = lseek(o->drive_fd, 0, SEEK_END);

        (void)lseek(o->drive_fd, 0, SEEK_SET);
        if (o->cpu_seconds > 0)
                return o->cpu_seconds;
        return CPU_BASE_SEC + (bytes > 0 ? (uint64_t)bytes >> 30 : 0) * CPU_SEC_PER_GIB;
}

void upl_worker_sandbox_report(struct upl_link *link, const struct upl_sandbox_level *level)
{
        char text[256];
        const struct bth_message m = {
                .type = BTH_MESSAGE_SANDBOX,
                .sandbox = { .no_new_privileges = level->no_new_privileges,
                             .no_dumps = level->no_dumps,
                             .system_calls = level->system_calls,
                             .files = level->files,
                             .connections = level->connections,
                             .limits = level->limits,
                             .uring = level->uring,
                             .landlock_abi = level->landlock_abi,
                             .sentence = upl_sandbox_to_string(level, text, sizeof text) },
        };

        upl_link_send(link, &m);
}

int upl_worker_sandbox(struct upl_worker *w)
{
        const struct bth_order *order = &w->order;
        const char *files[FILES_MAX];
        struct ports ports = { .n = 0 };
        struct upl_sandbox_level level;
        uint64_t memory = order->memory_bytes ? order->memory_bytes : UPL_WORKER_MEMORY_BYTES;
        int r;

        list_files(order, files);
        list_ports(order, &ports);
        const struct upl_sandbox_options o = {
                .read_only = files,
                .ports = ports.items,
                .n_ports = ports.n,
                .data_bytes = memory + UPL_WORKER_INDEX_BYTES + DATA_SPARE_BYTES,
                .cpu_seconds = cpu_seconds(order),
                .uring = !order->no_uring,
        };

        r = upl_sandbox_enter(&o, &level, &w->error);
        if (r < 0)
                return r;
        w->order.no_uring = !level.uring;
        upl_worker_sandbox_report(w->link, &level);
        return 0;
}
