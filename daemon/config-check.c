/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/config-check.h"

#include <fcntl.h>
#include <grp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "daemon/credential.h"
#include "daemon/listen.h"
#include "daemon/token.h"

#define PEM_MAX_BYTES   (4 << 20)
#define CONTAINER_MIN   3
#define CONTAINER_MAX   63
#define CONTAINERS_CHAR "abcdefghijklmnopqrstuvwxyz0123456789-"

struct checking {
        const struct dmn_config *config;
        dmn_config_finding_fn tell;
        void *userdata;
        bool as_daemon; /* who looks is the daemon's user: what is closed to him is closed to it */
        int n_errors;
};

/* A key's place; `name` is the section's. */
struct at {
        const char *section, *name, *key;
};

static void find(struct checking *k, bool is_error, const struct bth_error *e)
{
        const struct dmn_config_finding f = { .is_error = is_error, .error = *e };

        k->n_errors += is_error;
        k->tell(k->userdata, &f);
}

/* The finding's place is the key's; of a default, nothing. */
static void place(const struct checking *k, struct at at, struct bth_error *e)
{
        const struct dmn_config_place *p = dmn_config_place(k->config, at.section, at.name, at.key);

        *e = BTH_ERROR_INIT;
        if (p)
                bth_error_at(e, p->file, p->line, BTH_ERROR_NO_OFFSET);
}

static void report(struct checking *k, bool is_error, struct at at, enum bth_reason reason,
                   const char *format, ...) _printf_(5, 6);
static void report(struct checking *k, bool is_error, struct at at, enum bth_reason reason,
                   const char *format, ...)
{
        struct bth_error e;
        char text[sizeof e.sentence];
        va_list list;

        place(k, at, &e);
        va_start(list, format);
        (void)vsnprintf(text, sizeof text, format, list);
        va_end(list);
        (void)bth_error_set(&e, -EINVAL, reason, "%s", text);
        find(k, is_error, &e);
}

static const char *reader(const struct checking *k)
{
        return k->as_daemon ? "the daemon" : "you";
}

/* --- folders and programs --- */

static void check_folder(struct checking *k, struct at at, const char *path, bool is_error,
                         int rights)
{
        struct stat st;

        if (!path)
                return;
        if (stat(path, &st) < 0)
                report(k, is_error, at, BTH_REASON_FILE_UNREADABLE, "%s = %s: %s", at.key, path,
                       bth_strerror(-errno));
        else if (!S_ISDIR(st.st_mode))
                report(k, true, at, BTH_REASON_VALUE_INVALID, "%s = %s is no folder", at.key, path);
        else if (faccessat(AT_FDCWD, path, rights, AT_EACCESS) < 0)
                report(k, k->as_daemon, at, BTH_REASON_FILE_UNWRITABLE, "%s = %s: %s for %s",
                       at.key, path, bth_strerror(-errno), reader(k));
}

static void check_station(struct checking *k)
{
        const struct dmn_config *c = k->config;
        const struct at worker = { "station", "", c->worker_socket ? "worker_socket" : "worker" };
        struct stat st;

        /* The service's own are made when it starts. */
        check_folder(k, (struct at){ "station", "", "state_directory" }, c->state_directory, false,
                     R_OK | W_OK | X_OK);
        check_folder(k, (struct at){ "station", "", "run_directory" }, c->run_directory, false,
                     R_OK | X_OK);
        check_folder(k, (struct at){ "station", "", "spool_directory" }, c->spool_directory, true,
                     R_OK | W_OK | X_OK);
        if (c->spool_account && !dmn_config_account(c, c->spool_account))
                report(k, true, (struct at){ "station", "", "spool_account" }, BTH_REASON_NOT_FOUND,
                       "spool_account = %s: there is no such [account]", c->spool_account);
        if (c->operators && !getgrnam(c->operators))
                report(k, true, (struct at){ "station", "", "operators" }, BTH_REASON_NOT_FOUND,
                       "operators = %s: there is no such group", c->operators);
        if (c->worker_socket) {
                if (stat(c->worker_socket, &st) < 0 || !S_ISSOCK(st.st_mode))
                        report(k, false, worker, BTH_REASON_NOT_FOUND,
                               "worker_socket = %s is no socket now: is berth-worker.socket "
                               "active?",
                               c->worker_socket);
        } else if (stat(c->worker, &st) < 0)
                report(k, true, worker, BTH_REASON_FILE_UNREADABLE, "worker = %s: %s", c->worker,
                       bth_strerror(-errno));
        else if (!S_ISREG(st.st_mode) || access(c->worker, X_OK) < 0)
                report(k, true, worker, BTH_REASON_VALUE_INVALID,
                       "worker = %s is no program that can be started", c->worker);
}

static void check_bays(struct checking *k)
{
        const struct hal_bays *bays = &k->config->bays;

        if (bays->n_bays == 0)
                report(k, false, (struct at){ "", "", "" }, BTH_REASON_VALUE_MISSING,
                       "there is no [bay NAME]: no drive will be looked at");
        for (size_t i = 0; i < bays->n_bays; i++)
                for (size_t p = 0; p < bays->bays[i].n_places; p++)
                        if (bays->bays[i].places[p].kind == HAL_PLACE_DIRECTORY)
                                check_folder(k,
                                             (struct at){ "bay", bays->bays[i].name, "directory" },
                                             bays->bays[i].places[p].value, true, R_OK | X_OK);
}

/* --- certificates --- */

static int read_pem(struct checking *k, struct at at, const char *path, BIO **ret_bio)
{
        struct stat st;
        BIO *bio;

        if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > PEM_MAX_BYTES) {
                report(k, true, at, BTH_REASON_FILE_UNREADABLE,
                       "%s = %s is no file that can be read", at.key, path);
                return -ENOENT;
        }
        bio = BIO_new_file(path, "r");
        if (!bio) {
                report(k, k->as_daemon, at, BTH_REASON_FILE_UNREADABLE,
                       "%s = %s cannot be read by %s", at.key, path, reader(k));
                return -EACCES;
        }
        *ret_bio = bio;
        return 0;
}

/* The first certificate, or NULL; all must be well-formed. */
static X509 *check_certificates(struct checking *k, struct at at, const char *path)
{
        X509 *first = NULL, *next;
        BIO *bio;

        if (!path || read_pem(k, at, path, &bio) < 0)
                return NULL;
        while ((next = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
                if (first)
                        X509_free(next);
                else
                        first = next;
        }
        /* Behind the last one, "no start line" is the normal end. */
        if (!first || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
                X509_free(first);
                first = NULL;
                report(k, true, at, BTH_REASON_VALUE_INVALID,
                       "%s = %s has no certificates in PEM, or a damaged one", at.key, path);
        }
        ERR_clear_error();
        (void)BIO_free(bio);
        if (first && X509_cmp_current_time(X509_get0_notAfter(first)) < 0)
                report(k, true, at, BTH_REASON_VALUE_INVALID, "%s = %s has expired", at.key, path);
        return first;
}

static int no_passphrase(char *buffer, int size, int writing, void *userdata)
{
        (void)buffer;
        (void)size;
        (void)writing;
        (void)userdata;
        return -1;
}

static void check_key(struct checking *k, struct at at, const char *path, X509 *certificate)
{
        EVP_PKEY *key;
        struct stat st;
        BIO *bio;

        if (!path || read_pem(k, at, path, &bio) < 0)
                return;
        key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
        if (!key)
                report(k, true, at, BTH_REASON_VALUE_INVALID,
                       "%s = %s has no private key in PEM without a passphrase", at.key, path);
        else if (certificate && X509_check_private_key(certificate, key) != 1)
                report(k, true, at, BTH_REASON_VALUE_INVALID,
                       "%s = %s is not the key of the certificate", at.key, path);
        if (stat(path, &st) == 0 && (st.st_mode & 077))
                report(k, true, at, BTH_REASON_CREDENTIALS, "%s = %s is open to others (mode %04o)",
                       at.key, path, (unsigned)st.st_mode & 07777);
        ERR_clear_error();
        EVP_PKEY_free(key);
        (void)BIO_free(bio);
}

static void check_pair(struct checking *k, struct at certificate_at, const char *certificate_path,
                       struct at key_at, const char *key_path)
{
        X509 *certificate = check_certificates(k, certificate_at, certificate_path);

        check_key(k, key_at, key_path, certificate);
        if (!certificate_path != !key_path)
                report(k, true, certificate_path ? certificate_at : key_at,
                       BTH_REASON_VALUE_MISSING, "%s and %s come together", certificate_at.key,
                       key_at.key);
        X509_free(certificate);
}

/* --- accounts --- */

static void check_secret(struct checking *k, struct at at, const struct dmn_account_config *a)
{
        _cleanup_(bth_secret_freep) struct bth_secret *s = NULL;
        struct bth_error e = BTH_ERROR_INIT, f;
        int r = dmn_credential_read(a, &s, &e); /* nothing of an identity */

        if (r == 0)
                return;
        place(k, at, &f);
        (void)bth_error_set(&f, r, e.reason, "%s '%s': %s%s%s", at.section, a->name, e.object,
                            e.object[0] ? ": " : "", e.sentence);
        bth_error_advise(&f, "%s", bth_error_advice(&e));
        /* systemd gives credentials to the service, not to who checks its configuration. */
        find(k, a->credential_file[0] == '/' && (r != -EACCES || k->as_daemon), &f);
}

static void check_endpoint(struct checking *k, const struct dmn_account_config *a)
{
        const char *host = a->endpoint ? strstr(a->endpoint, "://") : NULL;

        if (!a->endpoint)
                return;
        if ((bth_starts_with(a->endpoint, "https://") || bth_starts_with(a->endpoint, "http://")) &&
            host[3] != '\0' && host[3] != '/')
                return;
        report(k, true, (struct at){ "account", a->name, "endpoint" }, BTH_REASON_VALUE_INVALID,
               "endpoint = %s is no URL: https://HOST/ is expected", a->endpoint);
}

static bool is_container(const char *name, size_t n)
{
        if ((n == 5 && memcmp(name, "$root", 5) == 0) || (n == 4 && memcmp(name, "$web", 4) == 0))
                return true;
        return n >= CONTAINER_MIN && n <= CONTAINER_MAX && strspn(name, CONTAINERS_CHAR) >= n &&
               name[0] != '-' && name[n - 1] != '-';
}

static void check_containers(struct checking *k, const struct dmn_account_config *a)
{
        for (const char *p = a->containers; p && *p;) {
                const size_t n = strcspn(p, " \t");

                if (n > 0 && !is_container(p, n))
                        report(k, true, (struct at){ "account", a->name, "containers" },
                               BTH_REASON_NAME_INVALID,
                               "containers: '%.*s' is no name of a container", (int)n, p);
                p += n + strspn(p + n, " \t");
        }
}

static void check_account(struct checking *k, const struct dmn_account_config *a)
{
        check_secret(k, (struct at){ "account", a->name, "credential_file" }, a);
        check_endpoint(k, a);
        check_containers(k, a);
        X509_free(check_certificates(k, (struct at){ "account", a->name, "ca_file" }, a->ca_file));
        check_pair(k, (struct at){ "account", a->name, "client_cert" }, a->client_cert,
                   (struct at){ "account", a->name, "client_key" }, a->client_key);
        for (const struct dmn_account_config *b = k->config->accounts; b < a; b++)
                if (a->resource_id && bth_streq(a->resource_id, b->resource_id))
                        report(k, true, (struct at){ "account", a->name, "resource_id" },
                               BTH_REASON_CONFLICT,
                               "the accounts '%s' and '%s' have the same "
                               "resource_id",
                               b->name, a->name);
}

/* --- the job service --- */

static void check_upstream(struct checking *k)
{
        const struct dmn_upstream_config *u = &k->config->upstream;
        const struct dmn_account_config a = {
                .name = (char *)(uintptr_t) "job_service",
                .credential_kind = (char *)(uintptr_t) "bearer",
                .credential_file = u->token,
        };

        if (u->url && u->token)
                check_secret(k, (struct at){ "station", "", "job_service_token" }, &a);
        X509_free(
                check_certificates(k, (struct at){ "station", "", "job_service_ca" }, u->ca_file));
        check_pair(k, (struct at){ "station", "", "job_service_cert" }, u->client_cert,
                   (struct at){ "station", "", "job_service_key" }, u->client_key);
}

static void check_api(struct checking *k)
{
        const struct dmn_api_config *a = &k->config->api;
        const struct at at = { "api", "", "tokens" };
        _cleanup_(dmn_tokens_freep) struct dmn_tokens *tokens = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        struct sockaddr_storage address;
        char text[2048];
        int r = a->tokens ? dmn_tokens_load(a->tokens, &tokens, &e) : 0;

        if (r < 0)
                report(k, r != -EACCES || k->as_daemon, at, e.reason, "tokens = %s",
                       bth_error_to_string(&e, text, sizeof text));
        if (a->listen && dmn_listen_parse(a->listen, &address) < 0)
                report(k, true, (struct at){ "api", "", "listen" }, BTH_REASON_VALUE_INVALID,
                       "listen = %s is no address: 192.0.2.1:8443 or [::]:8443 is expected",
                       a->listen);
        check_pair(k, (struct at){ "api", "", "certificate" }, a->certificate,
                   (struct at){ "api", "", "key" }, a->key);
}

/* --- all --- */

int dmn_config_check(const struct dmn_config *c, dmn_config_finding_fn tell, void *userdata)
{
        struct checking k = { .config = c, .tell = tell, .userdata = userdata };
        struct stat st;

        k.as_daemon = stat(c->state_directory, &st) == 0 && st.st_uid == geteuid();
        check_station(&k);
        check_bays(&k);
        if (c->n_accounts == 0)
                report(&k, false, (struct at){ "", "", "" }, BTH_REASON_VALUE_MISSING,
                       "there is no [account NAME]: no job can be made");
        for (size_t i = 0; i < c->n_accounts; i++)
                check_account(&k, &c->accounts[i]);
        check_upstream(&k);
        check_api(&k);
        return k.n_errors;
}

int dmn_config_check_file(const char *path, dmn_config_finding_fn tell, void *userdata)
{
        _cleanup_(dmn_config_freep) struct dmn_config *c = NULL;
        struct dmn_config_finding f = { .is_error = true, .error = BTH_ERROR_INIT };

        if (dmn_config_load(path, &c, &f.error) == 0)
                return dmn_config_check(c, tell, userdata);
        tell(userdata, &f);
        return 1;
}
