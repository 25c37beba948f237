/* SPDX-License-Identifier: GPL-3.0-or-later */
/* config - one table says which keys there are, what they take, and where it goes. */
#include "daemon/config.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/str.h"
#include "daemon/ini.h"
#include "daemon/worker-connect.h"
#include "jobs/match.h"

#define STATE_DIRECTORY "/var/lib/berth"
#define RUN_DIRECTORY   "/run/berth"
#define WORKER          "/usr/libexec/berth/berth-worker"
#define MEMORY_BYTES    (UINT64_C(1) << 30)
#define MEMORY_MIN      (UINT64_C(64) << 20)
#define STALL_SEC       120
#define POLL_SEC        60
#define MAX_JOBS_MAX    100000
#define DOCK_AGAIN_SEC  (3 * 24 * 3600)
#define DROP_INS_MAX    1024
#define RATE_MAX        1000000
#define RATE            100
#define BURST           300

enum kind {
        KIND_TEXT,
        KIND_PATH, /* begins with '/' */
        KIND_BOOL,
        KIND_BYTES,   /* with a unit */
        KIND_SECONDS, /* "90", "2min", "3h", "3d" */
        KIND_COUNT,
        KIND_DISPOSITION,
        KIND_VERIFY,
        KIND_CREDENTIAL, /* key, sas, bearer, identity */
};

struct key {
        const char *name;
        enum kind kind;
        size_t offset;
        uint64_t min, max; /* of numbers */
};

#define AT(type, member) offsetof(struct type, member)

static const struct key station_keys[] = {
        { "name", KIND_TEXT, AT(dmn_config, name), 0, 0 },
        { "location", KIND_TEXT, AT(dmn_config, location), 0, 0 },
        { "state_directory", KIND_PATH, AT(dmn_config, state_directory), 0, 0 },
        { "database", KIND_TEXT, AT(dmn_config, database), 0, 0 },
        { "run_directory", KIND_PATH, AT(dmn_config, run_directory), 0, 0 },
        { "spool_directory", KIND_PATH, AT(dmn_config, spool_directory), 0, 0 },
        { "spool_account", KIND_TEXT, AT(dmn_config, spool_account), 0, 0 },
        { "operators", KIND_TEXT, AT(dmn_config, operators), 0, 0 },
        { "worker", KIND_PATH, AT(dmn_config, worker), 0, 0 },
        { "worker_socket", KIND_PATH, AT(dmn_config, worker_socket), 0, 0 },
        { "memory", KIND_BYTES, AT(dmn_config, memory_bytes), MEMORY_MIN, UINT64_C(1) << 40 },
        { "bandwidth", KIND_BYTES, AT(dmn_config, bandwidth_bytes_per_sec), 0, UINT64_C(1) << 40 },
        { "workers_at_once", KIND_COUNT, AT(dmn_config, workers_at_once), 1, HAL_BAYS_MAX },
        { "max_jobs", KIND_COUNT, AT(dmn_config, max_jobs), 1, MAX_JOBS_MAX },
        { "stall", KIND_SECONDS, AT(dmn_config, stall_sec), 10, 24 * 3600 },
        { "dock_again", KIND_SECONDS, AT(dmn_config, dock_again_sec), 60, 90 * 24 * 3600 },
        { "default_disposition", KIND_DISPOSITION, AT(dmn_config, default_disposition), 0, 0 },
        { "verify", KIND_VERIFY, AT(dmn_config, verify), 0, 0 },
        { "accept_unshipped", KIND_BOOL, AT(dmn_config, accept_unshipped), 0, 0 },
        { "strict_hardware", KIND_BOOL, AT(dmn_config, strict_hardware), 0, 0 },
        { "verbose_log", KIND_BOOL, AT(dmn_config, verbose_log), 0, 0 },
        { "manifest_backup", KIND_BOOL, AT(dmn_config, manifest_backup), 0, 0 },
        { "manifest_credentials", KIND_BOOL, AT(dmn_config, manifest_credentials), 0, 0 },
        { "job_service", KIND_TEXT, AT(dmn_config, upstream.url), 0, 0 },
        { "job_service_token", KIND_TEXT, AT(dmn_config, upstream.token), 0, 0 },
        { "job_service_ca", KIND_PATH, AT(dmn_config, upstream.ca_file), 0, 0 },
        { "job_service_cert", KIND_PATH, AT(dmn_config, upstream.client_cert), 0, 0 },
        { "job_service_key", KIND_PATH, AT(dmn_config, upstream.client_key), 0, 0 },
        { "job_service_proxy", KIND_TEXT, AT(dmn_config, upstream.proxy), 0, 0 },
        { "job_service_plain", KIND_BOOL, AT(dmn_config, upstream.allow_plain), 0, 0 },
        { "job_service_poll", KIND_SECONDS, AT(dmn_config, upstream.poll_sec), 1, 3600 },
        { "start_at_once", KIND_BOOL, AT(dmn_config, start_at_once), 0, 0 },
};

static const struct key account_keys[] = {
        { "resource_id", KIND_TEXT, AT(dmn_account_config, resource_id), 0, 0 },
        { "endpoint", KIND_TEXT, AT(dmn_account_config, endpoint), 0, 0 },
        { "allow_plain", KIND_BOOL, AT(dmn_account_config, allow_plain), 0, 0 },
        { "credential", KIND_CREDENTIAL, AT(dmn_account_config, credential_kind), 0, 0 },
        { "credential_file", KIND_TEXT, AT(dmn_account_config, credential_file), 0, 0 },
        { "identity_client", KIND_TEXT, AT(dmn_account_config, identity_client), 0, 0 },
        { "identity_endpoint", KIND_TEXT, AT(dmn_account_config, identity_endpoint), 0, 0 },
        { "containers", KIND_TEXT, AT(dmn_account_config, containers), 0, 0 },
        { "ca_file", KIND_PATH, AT(dmn_account_config, ca_file), 0, 0 },
        { "proxy", KIND_TEXT, AT(dmn_account_config, proxy), 0, 0 },
        { "client_cert", KIND_PATH, AT(dmn_account_config, client_cert), 0, 0 },
        { "client_key", KIND_PATH, AT(dmn_account_config, client_key), 0, 0 },
        { "connect_to", KIND_TEXT, AT(dmn_account_config, connect_to), 0, 0 },
        { "diagnostics", KIND_TEXT, AT(dmn_account_config, diagnostics), 0, 0 },
};

static const char *const bay_keys[_HAL_PLACE_KIND_MAX] = { "id_path", "enclosure", "usb",
                                                           "directory" };

static const struct key api_keys[] = {
        { "listen", KIND_TEXT, AT(dmn_api_config, listen), 0, 0 },
        { "certificate", KIND_PATH, AT(dmn_api_config, certificate), 0, 0 },
        { "key", KIND_PATH, AT(dmn_api_config, key), 0, 0 },
        { "tokens", KIND_PATH, AT(dmn_api_config, tokens), 0, 0 },
        { "url", KIND_TEXT, AT(dmn_api_config, url), 0, 0 },
        { "rate", KIND_COUNT, AT(dmn_api_config, rate), 1, RATE_MAX },
        { "burst", KIND_COUNT, AT(dmn_api_config, burst), 1, RATE_MAX },
};

static const struct key location_keys[] = {
        { "title", KIND_TEXT, AT(dmn_location_config, title), 0, 0 },
        { "recipient", KIND_TEXT, AT(dmn_location_config, recipient), 0, 0 },
        { "street1", KIND_TEXT, AT(dmn_location_config, street1), 0, 0 },
        { "street2", KIND_TEXT, AT(dmn_location_config, street2), 0, 0 },
        { "city", KIND_TEXT, AT(dmn_location_config, city), 0, 0 },
        { "state", KIND_TEXT, AT(dmn_location_config, state), 0, 0 },
        { "postal_code", KIND_TEXT, AT(dmn_location_config, postal_code), 0, 0 },
        { "country", KIND_TEXT, AT(dmn_location_config, country), 0, 0 },
        { "phone", KIND_TEXT, AT(dmn_location_config, phone), 0, 0 },
        { "additional", KIND_TEXT, AT(dmn_location_config, additional), 0, 0 },
        { "carriers", KIND_TEXT, AT(dmn_location_config, carriers), 0, 0 },
        { "alternates", KIND_TEXT, AT(dmn_location_config, alternates), 0, 0 },
};

/* -- values
 * ------------------------------------------------------------------------------------------- */

static int set_text(char **member, const char *value)
{
        char *copy = value[0] != '\0' ? strdup(value) : NULL;

        if (value[0] != '\0' && !copy)
                return -ENOMEM;
        free(*member); /* an empty value takes back what an earlier file said */
        *member = copy;
        return 0;
}

static int wrong(struct bth_error *error, const struct dmn_ini_entry *e, const char *expected)
{
        return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID, "'%s' cannot be '%s': %s",
                             e->key, e->value, expected);
}

static int parse_seconds(const char *text, uint64_t *ret)
{
        static const struct {
                const char *unit;
                uint64_t seconds;
        } units[] = { { "", 1 },     { "s", 1 },     { "min", 60 },
                      { "h", 3600 }, { "d", 86400 }, { "w", 7 * 86400 } };
        const size_t digits = strspn(text, "0123456789");
        const char *unit = text + digits + strspn(text + digits, " ");
        uint64_t n;

        if (digits > 9 || bth_parse_u64_n(text, digits, &n) < 0)
                return -EINVAL;
        for (size_t i = 0; i < ARRAY_SIZE(units); i++)
                if (strcmp(unit, units[i].unit) == 0) {
                        *ret = n * units[i].seconds;
                        return 0;
                }
        return -EINVAL;
}

static int set_number(uint64_t *member, const struct key *k, const struct dmn_ini_entry *e,
                      struct bth_error *error)
{
        uint64_t n;
        int r = k->kind == KIND_BYTES     ? bth_parse_size(e->value, &n)
                : k->kind == KIND_SECONDS ? parse_seconds(e->value, &n)
                                          : bth_parse_u64(e->value, &n);

        if (r < 0)
                return wrong(error, e,
                             k->kind == KIND_BYTES ? "a size is expected, such as 512MiB"
                             : k->kind == KIND_SECONDS
                                     ? "a time is expected, such as 90s, 5min, 2h or 3d"
                                     : "a number is expected");
        if (n < k->min || n > k->max)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "'%s' cannot be '%s': it must be %llu to %llu%s", e->key,
                                     e->value, (unsigned long long)k->min,
                                     (unsigned long long)k->max,
                                     k->kind == KIND_BYTES     ? " bytes"
                                     : k->kind == KIND_SECONDS ? " seconds"
                                                               : "");
        *member = n;
        return 0;
}

static int set_value(void *base, const struct key *k, const struct dmn_ini_entry *e,
                     struct bth_error *error)
{
        void *member = (char *)base + k->offset;
        int v;

        switch (k->kind) {
        case KIND_PATH:
                if (e->value[0] != '\0' && e->value[0] != '/')
                        return wrong(error, e, "a path from the root is expected");
                return set_text(member, e->value);
        case KIND_TEXT:
                return set_text(member, e->value);
        case KIND_CREDENTIAL:
                if (!bth_streq(e->value, "key") && !bth_streq(e->value, "sas") &&
                    !bth_streq(e->value, "bearer") && !bth_streq(e->value, DMN_CREDENTIAL_IDENTITY))
                        return wrong(error, e,
                                     "key, sas, bearer or identity is expected; the secret itself "
                                     "stands in credential_file");
                return set_text(member, e->value);
        case KIND_BOOL:
                return bth_parse_bool(e->value, member) < 0
                               ? wrong(error, e, "yes or no is expected")
                               : 0;
        case KIND_DISPOSITION:
                v = (int)bth_disposition_from_string(e->value);
                if (v < 0)
                        return wrong(error, e, "rename, no-overwrite or overwrite is expected");
                *(enum bth_disposition *)member = (enum bth_disposition)v;
                return 0;
        case KIND_VERIFY:
                v = (int)bth_verify_from_string(e->value);
                if (v < 0)
                        return wrong(error, e, "full, readback or service is expected");
                *(enum bth_verify *)member = (enum bth_verify)v;
                return 0;
        default:
                return set_number(member, k, e, error);
        }
}

static int set_by_table(void *base, const struct key *keys, size_t n, const struct dmn_ini_entry *e,
                        struct bth_error *error)
{
        for (size_t i = 0; i < n; i++)
                if (strcmp(keys[i].name, e->key) == 0)
                        return set_value(base, &keys[i], e, error);
        return bth_error_set(error, -EINVAL, BTH_REASON_SYNTAX,
                             "there is no key '%s' in a section [%s]", e->key, e->section);
}

/* -- sections
 * ----------------------------------------------------------------------------------------- */

static int check_name(const struct dmn_ini_entry *e, struct bth_error *error)
{
        static const char allowed[] =
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

        if (e->name[0] != '\0' && strlen(e->name) <= DMN_NAME_MAX &&
            strspn(e->name, allowed) == strlen(e->name))
                return 0;
        return bth_error_set(
                error, -EINVAL, BTH_REASON_NAME_INVALID,
                "a section [%s NAME] needs a name of at most 64 letters, digits, '.', '_' and '-'",
                e->section);
}

struct loading {
        struct dmn_config *config;
        const char *file;
        char bay[HAL_BAY_NAME_MAX]; /* whose section is open; "": none */
        uint64_t bay_line;
};

/* The element of this name, made when it is not there yet. */
static void *find_or_add(void **list, size_t *n, size_t each, size_t max, const char *name,
                         bool *ret_new)
{
        char *grown;

        *ret_new = false;
        for (size_t i = 0; i < *n; i++)
                if (strcmp(*(char **)((char *)*list + i * each), name) == 0)
                        return (char *)*list + i * each;
        if (*n == max)
                return NULL;
        grown = reallocarray(*list, *n + 1, each);
        if (!grown)
                return NULL;
        *list = grown;
        memset(grown + *n * each, 0, each);
        *(char **)(grown + *n * each) = strdup(name);
        if (!*(char **)(grown + *n * each))
                return NULL;
        *ret_new = true;
        return grown + (*n)++ * each;
}

/* A bay that was begun must have a place before the next section begins. */
static int end_bay(struct loading *l, struct bth_error *error)
{
        if (l->bay[0] == '\0' || hal_bays_find(&l->config->bays, l->bay))
                return 0;
        bth_error_at(error, l->file, l->bay_line, BTH_ERROR_NO_OFFSET);
        return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING,
                             "bay '%s' has no place: id_path, enclosure, usb or directory", l->bay);
}

static int take_bay(struct loading *l, const struct dmn_ini_entry *e, struct bth_error *error)
{
        char place[HAL_PLACE_MAX + 32];

        if (!e->key) {
                if (strlen(e->name) >= sizeof l->bay)
                        return bth_error_set(error, -EINVAL, BTH_REASON_NAME_INVALID,
                                             "the bay's name is too long");
                (void)snprintf(l->bay, sizeof l->bay, "%s", e->name);
                l->bay_line = e->line;
                return e->name[0] != '\0' ? 0
                                          : bth_error_set(error, -EINVAL, BTH_REASON_NAME_INVALID,
                                                          "a section [bay NAME] needs a name");
        }
        for (int i = 0; i < _HAL_PLACE_KIND_MAX; i++) {
                if (strcmp(e->key, bay_keys[i]) != 0)
                        continue;
                if (snprintf(place, sizeof place, "%s:%s",
                             hal_place_kind_to_string((enum hal_place_kind)i),
                             e->value) >= (int)sizeof place)
                        return wrong(error, e, "it is too long");
                return hal_bays_add(&l->config->bays, e->name, place, error);
        }
        return bth_error_set(error, -EINVAL, BTH_REASON_SYNTAX,
                             "there is no key '%s' in a section [bay]: id_path, enclosure, usb or "
                             "directory is expected",
                             e->key);
}

static int take_account(struct loading *l, const struct dmn_ini_entry *e, struct bth_error *error)
{
        struct dmn_account_config *a;
        bool new;
        int r = check_name(e, error);

        if (r < 0)
                return r;
        a = find_or_add((void **)&l->config->accounts, &l->config->n_accounts, sizeof *a,
                        DMN_MAX_ACCOUNTS, e->name, &new);
        if (!a)
                return bth_error_set(error, -E2BIG, BTH_REASON_LIMIT_EXCEEDED,
                                     "there are too many accounts");
        if (new) {
                a->line = e->line;
                r = set_text(&a->file, l->file);
        }
        return r < 0 || !e->key ? r
                                : set_by_table(a, account_keys, ARRAY_SIZE(account_keys), e, error);
}

static int take_location(struct loading *l, const struct dmn_ini_entry *e, struct bth_error *error)
{
        struct dmn_location_config *a;
        bool new;
        int r = check_name(e, error);

        if (r < 0)
                return r;
        a = find_or_add((void **)&l->config->locations, &l->config->n_locations, sizeof *a,
                        DMN_MAX_LOCATIONS, e->name, &new);
        if (!a)
                return bth_error_set(error, -E2BIG, BTH_REASON_LIMIT_EXCEEDED,
                                     "there are too many locations");
        if (new) {
                a->line = e->line;
                r = set_text(&a->file, l->file);
        }
        return r < 0 || !e->key
                       ? r
                       : set_by_table(a, location_keys, ARRAY_SIZE(location_keys), e, error);
}

static int take_api(struct loading *l, const struct dmn_ini_entry *e, struct bth_error *error)
{
        struct dmn_api_config *a = &l->config->api;

        if (e->key)
                return set_by_table(a, api_keys, ARRAY_SIZE(api_keys), e, error);
        a->line = e->line;
        return set_text(&a->file, l->file);
}

static struct dmn_config_place *add_place(struct dmn_config *c, const struct dmn_ini_entry *e)
{
        struct dmn_config_place *grown = reallocarray(c->places, c->n_places + 1, sizeof *grown);
        struct dmn_config_place p = { .section = strdup(e->section),
                                      .name = strdup(e->name),
                                      .key = strdup(e->key) };

        if (grown)
                c->places = grown;
        if (grown && p.section && p.name && p.key) {
                grown[c->n_places] = p;
                return &grown[c->n_places++];
        }
        free(p.section);
        free(p.name);
        free(p.key);
        return NULL;
}

static int remember_place(struct loading *l, const struct dmn_ini_entry *e)
{
        struct dmn_config_place *p = (struct dmn_config_place *)(uintptr_t)dmn_config_place(
                l->config, e->section, e->name, e->key);

        if (!p)
                p = add_place(l->config, e);
        if (!p)
                return -ENOMEM;
        p->line = e->line;
        return set_text(&p->file, l->file);
}

static int take_entry(void *userdata, const struct dmn_ini_entry *e, struct bth_error *error)
{
        struct loading *l = userdata;
        int r = e->key ? 0 : end_bay(l, error);

        if (r < 0)
                return r;
        if (!e->key)
                l->bay[0] = '\0';
        if (strcmp(e->section, "bay") == 0)
                r = take_bay(l, e, error);
        else if (strcmp(e->section, "account") == 0)
                r = take_account(l, e, error);
        else if (strcmp(e->section, "location") == 0)
                r = take_location(l, e, error);
        else if (strcmp(e->section, "api") == 0 && e->name[0] == '\0')
                r = take_api(l, e, error);
        else if (strcmp(e->section, "station") == 0 && e->name[0] == '\0')
                r = e->key ? set_by_table(l->config, station_keys, ARRAY_SIZE(station_keys), e,
                                          error)
                           : 0;
        else
                r = bth_error_set(error, -EINVAL, BTH_REASON_SYNTAX,
                                  "there is no section [%s]: [station], [api], [bay NAME], "
                                  "[account NAME] or [location NAME] is expected",
                                  e->section);
        if (r == 0 && e->key)
                r = remember_place(l, e);
        return r == -ENOMEM ? bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY,
                                            "no memory for the configuration")
                            : r;
}

/* -- the whole
 * ---------------------------------------------------------------------------------------- */

static int check_accounts(const struct dmn_config *c, struct bth_error *error)
{
        for (size_t i = 0; i < c->n_accounts; i++) {
                const struct dmn_account_config *a = &c->accounts[i];

                bth_error_at(error, a->file, a->line, BTH_ERROR_NO_OFFSET);
                if (dmn_account_is_identity(a) ? a->credential_file != NULL
                                               : !a->credential_kind || !a->credential_file)
                        return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING,
                                             "account '%s' needs credential (key, sas, bearer) and "
                                             "credential_file, or credential = identity alone",
                                             a->name);
                if (!dmn_account_is_identity(a) && (a->identity_client || a->identity_endpoint))
                        return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                             "account '%s' has identity_client or "
                                             "identity_endpoint without credential = identity",
                                             a->name);
                if (a->endpoint && bth_starts_with(a->endpoint, "http://") && !a->allow_plain)
                        return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                             "account '%s' has a plain http endpoint: allow_plain "
                                             "= yes allows it",
                                             a->name);
        }
        return 0;
}

static int check_api(const struct dmn_config *c, struct bth_error *error)
{
        const struct dmn_api_config *a = &c->api;

        if (!a->listen || (a->certificate && a->key && a->tokens))
                return 0;
        bth_error_at(error, a->file, a->line, BTH_ERROR_NO_OFFSET);
        return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING,
                             "[api] needs certificate, key and tokens beside listen: over the "
                             "network nothing is served without TLS and tokens");
}

static int check_locations(const struct dmn_config *c, struct bth_error *error)
{
        for (size_t i = 0; i < c->n_locations; i++) {
                const struct dmn_location_config *l = &c->locations[i];
                _cleanup_free_ char *names = strdup(l->alternates ? l->alternates : "");
                char *save = NULL, *name = names ? strtok_r(names, " ", &save) : NULL;

                for (; name; name = strtok_r(NULL, " ", &save)) {
                        if (dmn_config_location(c, name))
                                continue;
                        bth_error_at(error, l->file, l->line, BTH_ERROR_NO_OFFSET);
                        return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                             "location '%s' names '%s' as its alternate, which is "
                                             "no [location]",
                                             l->name, name);
                }
        }
        return 0;
}

static int check_upstream(const struct dmn_config *c, struct bth_error *error)
{
        const struct dmn_upstream_config *u = &c->upstream;
        const struct dmn_config_place *p = dmn_config_place(c, "station", "", "job_service");

        if (!u->url)
                return 0;
        if (p)
                bth_error_at(error, p->file, p->line, BTH_ERROR_NO_OFFSET);
        if (!bth_starts_with(u->url, "https://") &&
            !(u->allow_plain && bth_starts_with(u->url, "http://")))
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "job_service = %s is not https: job_service_plain = yes "
                                     "allows plain http",
                                     u->url);
        if (!c->name)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING,
                                     "a station with a job_service needs a name, which tells it "
                                     "from the others");
        if (!u->token && !u->client_cert)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING,
                                     "job_service needs job_service_token, or job_service_cert "
                                     "and job_service_key");
        return 0;
}

/* The processes of a hub share a database; what is docked is known to the process that sees it. */
static int check_database(const struct dmn_config *c, struct bth_error *error)
{
        const struct dmn_config_place *p = dmn_config_place(c, "station", "", "database");

        if (!c->database)
                return 0;
        if (p)
                bth_error_at(error, p->file, p->line, BTH_ERROR_NO_OFFSET);
        if (!bth_starts_with(c->database, "postgresql://"))
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "database is a URL postgresql://…");
        if (c->bays.n_bays > 0)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "a database is for hubs, which have no bays");
        return 0;
}

static int set_defaults(struct dmn_config *c)
{
        c->memory_bytes = MEMORY_BYTES;
        c->workers_at_once = HAL_BAYS_MAX;
        c->max_jobs = JOB_ACTIVE_MAX;
        c->api.rate = RATE;
        c->api.burst = BURST;
        c->stall_sec = STALL_SEC;
        c->upstream.poll_sec = POLL_SEC;
        c->dock_again_sec = DOCK_AGAIN_SEC;
        c->default_disposition = BTH_DISPOSITION_RENAME;
        c->accept_unshipped = true;
        c->start_at_once = true;
        return set_text(&c->state_directory, STATE_DIRECTORY) < 0 ||
                               set_text(&c->run_directory, RUN_DIRECTORY) < 0 ||
                               set_text(&c->worker, WORKER) < 0
                       ? -ENOMEM
                       : 0;
}

static int config_new(struct dmn_config **ret, struct bth_error *error)
{
        struct dmn_config *c = calloc(1, sizeof *c);

        if (!c || set_defaults(c) < 0) {
                (void)dmn_config_free(c);
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY,
                                     "no memory for the configuration");
        }
        *ret = c;
        return 0;
}

static int check(struct dmn_config *c, struct bth_error *error)
{
        int r = check_accounts(c, error);

        if (r == 0)
                r = check_api(c, error);
        if (r == 0)
                r = check_upstream(c, error);
        if (r == 0)
                r = check_database(c, error);
        if (r == 0)
                r = check_locations(c, error);
        if (r == 0 && asprintf(&c->usual_worker_socket, "%s/worker.sock", c->run_directory) < 0) {
                c->usual_worker_socket = NULL;
                r = bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY,
                                  "no memory for the configuration");
        }
        if (r == 0)
                bth_error_clear(error);
        return r;
}

int dmn_config_parse(const char *text, size_t n, const char *object, struct dmn_config **ret_config,
                     struct bth_error *error)
{
        _cleanup_(dmn_config_freep) struct dmn_config *c = NULL;
        struct loading l = { .file = object };
        int r = config_new(&c, error);

        l.config = c;
        if (r == 0)
                r = dmn_ini_parse(text, n, object, take_entry, &l, error);
        if (r == 0)
                r = end_bay(&l, error);
        if (r == 0)
                r = check(c, error);
        if (r < 0)
                return r;
        *ret_config = take_ptr(c);
        return 0;
}

static int load_file(struct dmn_config *c, const char *path, struct bth_error *error)
{
        struct loading l = { .config = c, .file = path };
        _cleanup_free_ char *text = NULL;
        size_t n;
        int r = bth_read_file(path, DMN_INI_MAX_BYTES, &text, &n);

        if (r < 0) {
                bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE, "it cannot be read: %s",
                                     bth_strerror(r));
        }
        r = dmn_ini_parse(text, n, path, take_entry, &l, error);
        return r < 0 ? r : end_bay(&l, error);
}

static int is_drop_in(const struct dirent *e)
{
        return e->d_name[0] != '.' && bth_ends_with(e->d_name, ".conf");
}

static int load_drop_ins(struct dmn_config *c, const char *path, struct bth_error *error)
{
        char folder[PATH_MAX], file[PATH_MAX + NAME_MAX + 2];
        struct dirent **names = NULL;
        int n, r = 0;

        (void)snprintf(folder, sizeof folder, "%s.d", path);
        n = scandir(folder, &names, is_drop_in, alphasort);
        if (n < 0)
                return errno == ENOENT ? 0
                                       : bth_error_set(error, -errno, BTH_REASON_FILE_UNREADABLE,
                                                       "'%s' cannot be read: %s", folder,
                                                       bth_strerror(-errno));
        for (int i = 0; i < n; i++) {
                (void)snprintf(file, sizeof file, "%s/%s", folder, names[i]->d_name);
                if (r == 0)
                        r = i < DROP_INS_MAX ? load_file(c, file, error) : -E2BIG;
                free(names[i]);
        }
        free(names);
        return r == -E2BIG ? bth_error_set(error, r, BTH_REASON_LIMIT_EXCEEDED,
                                           "'%s' has too many files", folder)
                           : r;
}

int dmn_config_load(const char *path, struct dmn_config **ret_config, struct bth_error *error)
{
        _cleanup_(dmn_config_freep) struct dmn_config *c = NULL;
        int r = config_new(&c, error);

        if (r == 0)
                r = load_file(c, path, error);
        if (r == 0)
                r = load_drop_ins(c, path, error);
        if (r == 0)
                r = check(c, error);
        if (r < 0)
                return r;
        *ret_config = take_ptr(c);
        return 0;
}

static void free_texts(void *base, const struct key *keys, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (keys[i].kind == KIND_TEXT || keys[i].kind == KIND_PATH ||
                    keys[i].kind == KIND_CREDENTIAL)
                        free(*(char **)((char *)base + keys[i].offset));
}

struct dmn_config *dmn_config_free(struct dmn_config *c)
{
        if (!c)
                return NULL;
        for (size_t i = 0; i < c->n_places; i++) {
                free(c->places[i].section);
                free(c->places[i].name);
                free(c->places[i].key);
                free(c->places[i].file);
        }
        free(c->places);
        for (size_t i = 0; i < c->n_accounts; i++) {
                free_texts(&c->accounts[i], account_keys, ARRAY_SIZE(account_keys));
                free(c->accounts[i].name);
                free(c->accounts[i].file);
        }
        for (size_t i = 0; i < c->n_locations; i++) {
                free_texts(&c->locations[i], location_keys, ARRAY_SIZE(location_keys));
                free(c->locations[i].name);
                free(c->locations[i].file);
        }
        free(c->locations);
        free_texts(&c->api, api_keys, ARRAY_SIZE(api_keys));
        free(c->api.file);
        hal_bays_clear(&c->bays);
        free(c->accounts);
        free_texts(c, station_keys, ARRAY_SIZE(station_keys));
        free(c->usual_worker_socket);
        free(c);
        return NULL;
}

bool dmn_account_is_identity(const struct dmn_account_config *a)
{
        return bth_streq(a->credential_kind, DMN_CREDENTIAL_IDENTITY);
}

/* A name of an account is one all over the world: that it is the last part of the id is enough. */
static bool names_account(const struct dmn_account_config *a, const char *resource)
{
        const char *last = resource[0] == '/' ? strrchr(resource, '/') + 1 : resource;

        if (a->resource_id && bth_ascii_casecmp(a->resource_id, resource) == 0)
                return true;
        return bth_ascii_casecmp(a->name, a->resource_id ? resource : last) == 0;
}

const struct dmn_account_config *dmn_config_account(const struct dmn_config *c,
                                                    const char *resource)
{
        for (size_t i = 0; i < c->n_accounts; i++)
                if (names_account(&c->accounts[i], resource))
                        return &c->accounts[i];
        return NULL;
}

static bool same_location(const char *a, const char *b)
{
        while (a && *a && *b) {
                a += strspn(a, " ");
                b += strspn(b, " ");
                if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
                        return false;
                a += *a != '\0';
                b += *b != '\0';
        }
        return a && a[strspn(a, " ")] == '\0' && b[strspn(b, " ")] == '\0';
}

const struct dmn_location_config *dmn_config_location(const struct dmn_config *c, const char *name)
{
        for (size_t i = 0; i < c->n_locations; i++)
                if (same_location(c->locations[i].name, name) ||
                    same_location(c->locations[i].title, name))
                        return &c->locations[i];
        return NULL;
}

const struct dmn_config_place *dmn_config_place(const struct dmn_config *c, const char *section,
                                                const char *name, const char *key)
{
        for (size_t i = 0; i < c->n_places; i++) {
                const struct dmn_config_place *p = &c->places[i];

                if (strcmp(p->key, key) == 0 && strcmp(p->name, name) == 0 &&
                    strcmp(p->section, section) == 0)
                        return p;
        }
        return NULL;
}

const char *dmn_config_key(size_t i, const char **ret_section)
{
        static const struct {
                const char *section;
                const struct key *keys;
                size_t n;
        } tables[] = {
                { "station", station_keys, ARRAY_SIZE(station_keys) },
                { "account", account_keys, ARRAY_SIZE(account_keys) },
                { "api", api_keys, ARRAY_SIZE(api_keys) },
                { "location", location_keys, ARRAY_SIZE(location_keys) },
        };

        for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
                *ret_section = tables[t].section;
                if (i < tables[t].n)
                        return tables[t].keys[i].name;
                i -= tables[t].n;
        }
        *ret_section = "bay";
        return i < ARRAY_SIZE(bay_keys) ? bay_keys[i] : NULL;
}

const char *dmn_config_worker(const struct dmn_config *c)
{
        if (c->worker_socket)
                return c->worker_socket;
        return dmn_worker_is_socket(c->usual_worker_socket) ? c->usual_worker_socket : c->worker;
}
