/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker-open - what a run has before its first stage: the files that it may not open later, and
 * the network with its credential. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/str.h"
#include "base/time.h"
#include "uploader/worker-internal.h"

#define CONNECT_TO_MAX    16u
#define STALL_TIMEOUT_SEC 60u
#define CLOCK_SKEW_USEC   (900 * BTH_USEC_PER_SEC) /* more, and the service refuses signatures */
#define IDENTITY          "identity"

/* --- before the sandbox --- */

static int check_descriptors(const struct upl_worker *w, struct bth_error *error)
{
        int flags = fcntl(w->order.drive_fd, F_GETFL);
        struct stat st;

        if (flags < 0 || (flags & O_ACCMODE) != O_RDONLY)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "the drive's descriptor is not read-only");
        if (fstat(w->order.state_fd, &st) < 0 || !S_ISDIR(st.st_mode))
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "the descriptor for state is no folder");
        return 0;
}

/* Drive, manifest and account; another of them is another transfer. */
static int identify(const struct upl_worker *w, uint8_t identity[UPL_STATE_IDENTITY_BYTES])
{
        _cleanup_buf_ struct bth_buf text = BTH_BUF_INIT;
        int r = bth_buf_add_format(&text, "%s\n", w->order.drive_id);

        for (const char *p = w->order.manifest_hash; *p && r == 0; p++)
                if (strchr(" \t\r\n", *p) == NULL)
                        r = bth_buf_add_format(&text, "%c", *p >= 'a' && *p <= 'f' ? *p - 32 : *p);
        if (r == 0)
                r = bth_buf_add_format(&text, "\n%s\n", w->order.account);
        return r < 0 ? r : bth_digest_of(BTH_DIGEST_SHA256, text.data, text.length, identity);
}

static int open_state(struct upl_worker *w)
{
        uint8_t identity[UPL_STATE_IDENTITY_BYTES];
        char name[sizeof "transfer-" + 16], hex[17];
        int r = identify(w, identity);

        if (r < 0)
                return r;
        (void)snprintf(name, sizeof name, "transfer-%s", bth_hex_encode(identity, 8, hex));
        return upl_state_open(w->order.state_fd, name, identity, &w->state, &w->error);
}

int upl_worker_open_files(struct upl_worker *w)
{
        char folder[40];
        int r = check_descriptors(w, &w->error);

        if (r == 0)
                r = open_state(w);
        (void)snprintf(folder, sizeof folder, "/proc/self/fd/%d", w->order.state_fd);
        if (r == 0)
                r = bth_open_unlinked(folder, &w->manifest_fd);
        if (r == 0)
                r = bth_open_unlinked(folder, &w->index_fd);
        if (r == 0)
                r = bth_open_unlinked(folder, &w->list_fd);
        if (r == 0)
                r = bth_open_unlinked(folder, &w->error_log_fd);
        if (r == 0 && w->order.verbose_log)
                r = bth_open_unlinked(folder, &w->verbose_log_fd);
        if (r < 0 && w->error.code == 0)
                (void)bth_error_set(&w->error, r, BTH_REASON_FILE_UNWRITABLE,
                                    "the folder for state cannot be used: %s", bth_strerror(r));
        return r;
}

/* --- the network --- */

static uint64_t stall_sec(const struct upl_worker *w)
{
        return w->order.stall_sec ? w->order.stall_sec : UPL_WORKER_STALL_SEC;
}

static bool is_identity(const struct upl_worker *w)
{
        return strcmp(w->order.credential_kind, IDENTITY) == 0;
}

/* Its first token; the renewer fetches the others. */
static int open_identity(struct upl_worker *w)
{
        struct upl_token token = { 0 };
        int r;

        w->identity = (struct upl_renew_identity){ .base = w->order.identity_endpoint,
                                                   .client_id = w->order.identity_client };
        r = upl_renew_from_identity(&w->identity, &token, &w->error);
        if (r == 0)
                r = upl_credential_new(UPL_CREDENTIAL_BEARER, w->order.account, token.text,
                                       &w->credential, &w->error);
        w->identity_usec = upl_token_renew_at(&token, bth_now_realtime_usec());
        upl_token_clear(&token);
        return r;
}

static int open_renewer(struct upl_worker *w)
{
        const struct upl_renewer_options o = { .client = w->client,
                                               .credential = w->credential,
                                               .fetch = upl_renew_from_identity,
                                               .userdata = &w->identity,
                                               .first_usec = w->identity_usec };

        return is_identity(w) ? upl_renewer_new(&o, &w->renewer) : 0;
}

static int open_credential(struct upl_worker *w)
{
        enum upl_credential_kind kind = upl_credential_kind_from_string(w->order.credential_kind);
        int r;

        if (is_identity(w))
                return open_identity(w);
        if (kind == _UPL_CREDENTIAL_INVALID)
                return bth_error_set(&w->error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "the kind of credential '%s' is unknown",
                                     w->order.credential_kind);
        r = upl_credential_new(kind, w->order.account, w->order.credential, &w->credential,
                               &w->error);
        /* The credential has its own copy. */
        w->order.credential = bth_secret_free(w->order.credential);
        return r;
}

/* Cuts the lines of `text` in place. Returns their number. */
static size_t cut_lines(char *text, const char **lines, size_t max)
{
        char *rest = NULL;
        size_t n = 0;

        for (char *line = text ? strtok_r(text, "\n", &rest) : NULL; line && n < max;
             line = strtok_r(NULL, "\n", &rest))
                lines[n++] = line;
        return n;
}

static int open_http(struct upl_worker *w, struct upl_http **ret_http)
{
        const char *connect_to[CONNECT_TO_MAX + 1] = { NULL };
        struct upl_http_options o = {
                .ca_file = w->order.ca_file,
                .proxy = w->order.proxy,
                .client_cert = w->order.client_cert,
                .client_key = w->order.client_key,
                .stall_timeout_sec = (unsigned)MIN(stall_sec(w), (uint64_t)STALL_TIMEOUT_SEC),
                .limit = w->limit,
        };
        _cleanup_free_ char *lines = w->order.connect_to ? strdup(w->order.connect_to) : NULL;

        if (w->order.connect_to && !lines)
                return -ENOMEM;
        if (cut_lines(lines, connect_to, CONNECT_TO_MAX) > 0)
                o.connect_to = connect_to;
        if (w->order.max_in_flight)
                o.max_connections = (unsigned)w->order.max_in_flight;
        return upl_http_curl_new(&o, ret_http);
}

static int open_client(struct upl_worker *w)
{
        struct upl_client_options o = {
                .credential = w->credential,
                .retry = UPL_RETRY_POLICY_DEFAULT,
                .max_in_flight = (unsigned)w->order.max_in_flight,
                .waits = w->budget,
        };
        int r;

        o.retry.total_usec = stall_sec(w) * BTH_USEC_PER_SEC;
        if (o.max_in_flight && o.max_in_flight < 8)
                o.start_in_flight = o.max_in_flight;
        r = w->order.endpoint ? upl_endpoint_parse(w->order.endpoint, w->order.allow_plain,
                                                   &o.endpoint, &w->error)
                              : upl_endpoint_of_account(w->order.account, &o.endpoint, &w->error);
        if (r == 0)
                r = open_http(w, &o.http);
        if (r == 0)
                r = upl_client_new(&o, &w->client);
        upl_endpoint_clear(&o.endpoint);
        return r;
}

/* The station's word for when the drive was first begun, on whatever station, in terms of the
 * service's clock: that may be behind by as much as it lets requests be. 0: the record here must
 * do. */
static uint64_t begun(uint64_t started_usec)
{
        if (started_usec > bth_now_realtime_usec() || started_usec < CLOCK_SKEW_USEC)
                return 0;
        return started_usec - CLOCK_SKEW_USEC;
}

int upl_worker_open_network(struct upl_worker *w)
{
        uint64_t memory = w->order.memory_bytes ? w->order.memory_bytes : UPL_WORKER_MEMORY_BYTES;
        int r = upl_limit_new(w->order.bandwidth_bytes_per_sec, &w->limit);

        if (r == 0)
                r = upl_budget_new(memory, &w->budget);
        if (r == 0)
                r = upl_hasher_new(&w->hasher);
        if (r == 0)
                r = open_credential(w);
        if (r == 0)
                r = open_client(w);
        if (r == 0)
                r = open_renewer(w);
        w->env.client = w->client;
        w->env.state = w->state;
        w->env.budget = w->budget;
        w->env.hasher = w->hasher;
        w->env.stop = &w->stop;
        w->env.readback = w->order.verify == BTH_VERIFY_READBACK;
        w->env.service_hash = w->order.verify == BTH_VERIFY_SERVICE;
        w->env.guess_content_type = w->order.guess_content_type;
        w->env.containers = w->order.containers;
        w->env.begun_usec = begun(w->order.started_usec);
        return r;
}
