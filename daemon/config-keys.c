/* SPDX-License-Identifier: GPL-3.0-or-later */
/* config-keys - see config-keys.h. */
#include "daemon/config-keys.h"

#include <stddef.h>
#include <string.h>

#include "base/str.h"

#define MEMORY_MIN   (UINT64_C(64) << 20)
#define MAX_JOBS_MAX 100000
#define RATE_MAX     1000000
#define KEEP_MAX_SEC (UINT64_C(36500) * 24 * 3600)

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

struct config_keys {
        const char *section;
        const struct key *keys;
        size_t n;
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
        { "keep_history", KIND_SECONDS, AT(dmn_config, keep_history_sec), 24 * 3600, KEEP_MAX_SEC },
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

const char *const config_bay_keys[_HAL_PLACE_KIND_MAX] = { "id_path", "enclosure", "usb",
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

const struct config_keys config_station_keys = { "station", station_keys,
                                                 ARRAY_SIZE(station_keys) };
const struct config_keys config_account_keys = { "account", account_keys,
                                                 ARRAY_SIZE(account_keys) };
const struct config_keys config_api_keys = { "api", api_keys, ARRAY_SIZE(api_keys) };
const struct config_keys config_location_keys = { "location", location_keys,
                                                  ARRAY_SIZE(location_keys) };

/* --- values --- */

int config_set_text(char **member, const char *value)
{
        char *copy = value[0] != '\0' ? strdup(value) : NULL;

        if (value[0] != '\0' && !copy)
                return -ENOMEM;
        free(*member); /* an empty value takes back what an earlier file said */
        *member = copy;
        return 0;
}

int config_wrong(struct bth_error *error, const struct dmn_ini_entry *e, const char *expected)
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
                return config_wrong(error, e,
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
                        return config_wrong(error, e, "a path from the root is expected");
                return config_set_text(member, e->value);
        case KIND_TEXT:
                return config_set_text(member, e->value);
        case KIND_CREDENTIAL:
                if (!bth_streq(e->value, "key") && !bth_streq(e->value, "sas") &&
                    !bth_streq(e->value, "bearer") && !bth_streq(e->value, DMN_CREDENTIAL_IDENTITY))
                        return config_wrong(
                                error, e,
                                "key, sas, bearer or identity is expected; the secret itself "
                                "stands in credential_file");
                return config_set_text(member, e->value);
        case KIND_BOOL:
                return bth_parse_bool(e->value, member) < 0
                               ? config_wrong(error, e, "yes or no is expected")
                               : 0;
        case KIND_DISPOSITION:
                v = (int)bth_disposition_from_string(e->value);
                if (v < 0)
                        return config_wrong(error, e,
                                            "rename, no-overwrite or overwrite is expected");
                *(enum bth_disposition *)member = (enum bth_disposition)v;
                return 0;
        case KIND_VERIFY:
                v = (int)bth_verify_from_string(e->value);
                if (v < 0)
                        return config_wrong(error, e, "full, readback or service is expected");
                *(enum bth_verify *)member = (enum bth_verify)v;
                return 0;
        default:
                return set_number(member, k, e, error);
        }
}

int config_set(const struct config_keys *keys, void *base, const struct dmn_ini_entry *e,
               struct bth_error *error)
{
        for (size_t i = 0; i < keys->n; i++)
                if (strcmp(keys->keys[i].name, e->key) == 0)
                        return set_value(base, &keys->keys[i], e, error);
        return bth_error_set(error, -EINVAL, BTH_REASON_SYNTAX,
                             "there is no key '%s' in a section [%s]", e->key, e->section);
}

void config_free_texts(const struct config_keys *keys, void *base)
{
        for (size_t i = 0; i < keys->n; i++) {
                const struct key *k = &keys->keys[i];

                if (k->kind == KIND_TEXT || k->kind == KIND_PATH || k->kind == KIND_CREDENTIAL)
                        free(*(char **)((char *)base + k->offset));
        }
}

const char *dmn_config_key(size_t i, const char **ret_section)
{
        static const struct config_keys *const tables[] = {
                &config_station_keys,
                &config_account_keys,
                &config_api_keys,
                &config_location_keys,
        };

        for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
                *ret_section = tables[t]->section;
                if (i < tables[t]->n)
                        return tables[t]->keys[i].name;
                i -= tables[t]->n;
        }
        *ret_section = "bay";
        return i < ARRAY_SIZE(config_bay_keys) ? config_bay_keys[i] : NULL;
}
