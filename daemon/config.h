/* SPDX-License-Identifier: GPL-3.0-or-later */
/* config - what the operator decided: berthd.conf, then its drop-ins berthd.conf.d/ *.conf in the
 * order of their names.
 *
 *     [station]        one
 *     [api]            the job service over the network, with TLS; none: not served
 *     [location NAME]  where customers send their drives, as the job service tells them
 *     [bay NAME]       a slot, tied to a path, an enclosure's slot, a USB port, or a folder of
 * image files [account NAME]   a storage account: who may be written to, and with which credential
 *
 * An unknown section or key, a value out of bounds, and two bays at one place are errors with file
 * and line. Credentials are never in it, only the files that hold them (mode 0600), or the names of
 * systemd credentials. Constant once loaded. */
#pragma once

#include "base/error.h"
#include "base/order.h"
#include "hal/bay.h"

#define DMN_CONFIG_PATH   "/etc/berth/berthd.conf"
#define DMN_MAX_ACCOUNTS  256
#define DMN_NAME_MAX      64 /* bytes of an account's or location's name */
#define DMN_MAX_LOCATIONS 256

struct dmn_account_config {
        char *name;        /* of the section, and of the storage account */
        char *resource_id; /* by which jobs name it; NULL: by `name` */
        char *endpoint;    /* URL; NULL: the public cloud's */
        bool allow_plain;
        char *credential_kind; /* "key", "sas", "bearer", "identity" */
        char *credential_file; /* mode 0600; a name without '/' is a systemd credential; NULL of an
                                * identity */
        char *identity_client, *identity_endpoint; /* NULL: the machine's only one, the cloud's */
        char *containers; /* that may be written to, apart by blanks; NULL: all */
        char *ca_file, *proxy, *client_cert, *client_key, *connect_to;
        char *diagnostics; /* container or folder of the copy logs; NULL: the default */
        char *file;
        uint64_t line;
};

struct dmn_api_config {
        char *listen;                     /* "ADDRESS:PORT", "[::]:8443"; NULL: not served */
        char *certificate, *key, *tokens; /* files; the last two of mode 0600 */
        char *url;                        /* under which clients know it; NULL: as they ask */
        uint64_t rate, burst;             /* requests of one peer: in a second, and at once */
        char *file;
        uint64_t line;
};

/* The job service above. */
struct dmn_upstream_config {
        char *url;   /* NULL: none, the station is its own */
        char *token; /* file of mode 0600, or a systemd credential; NULL: none */
        char *ca_file, *client_cert, *client_key, *proxy;
        bool allow_plain;
        uint64_t poll_sec;
};

/* Specification 7.9; NULL: empty. */
struct dmn_location_config {
        char *name;  /* of the section: "westus" */
        char *title; /* "West US"; NULL: `name` */
        char *recipient, *street1, *street2, *city, *state, *postal_code, *country, *phone;
        char *additional;
        char *carriers;   /* apart by commas */
        char *alternates; /* names of sections, apart by blanks; NULL: itself */
        char *file;
        uint64_t line;
};

/* Where a key was set last. */
struct dmn_config_place {
        char *section, *name, *key, *file; /* `name` "" where the section has none */
        uint64_t line;
};

struct dmn_config {
        char *name, *location; /* of the station */
        char *state_directory, *run_directory, *spool_directory;
        char *database;            /* URL of a PostgreSQL server; NULL: a file in state_directory */
        char *spool_account;       /* of single journals in the spool; NULL: none */
        char *operators;           /* the group whose members may operate; NULL: the default */
        char *worker;              /* the program */
        char *worker_socket;       /* of berth-worker.socket; NULL: the usual one, if it is there */
        char *usual_worker_socket; /* not a key: in run_directory */
        uint64_t memory_bytes, bandwidth_bytes_per_sec; /* over all drives; bandwidth 0: no cap */
        uint64_t workers_at_once;
        uint64_t max_jobs; /* that are neither Completed nor Closed */
        uint64_t stall_sec, dock_again_sec, keep_history_sec;
        enum bth_disposition default_disposition;
        enum bth_verify verify;
        bool accept_unshipped, strict_hardware, verbose_log, manifest_backup, manifest_credentials,
                start_at_once;
        struct hal_bays bays;
        struct dmn_account_config *accounts;
        size_t n_accounts;
        struct dmn_api_config api;
        struct dmn_upstream_config upstream;
        struct dmn_location_config *locations;
        size_t n_locations;
        struct dmn_config_place *places;
        size_t n_places;
};

/* Reads the file and its drop-ins. Returns 0; -EBADMSG or -EINVAL with file and line; -ENOENT and
 * other -errno of the file; -ENOMEM. */
int dmn_config_load(const char *path, struct dmn_config **ret_config, struct bth_error *error)
        _must_check_;
/* The same from memory, for tests and fuzzing: one file, no drop-ins. Returns as dmn_config_load().
 */
int dmn_config_parse(const char *text, size_t n, const char *object, struct dmn_config **ret_config,
                     struct bth_error *error) _must_check_;
struct dmn_config *dmn_config_free(struct dmn_config *c); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(dmn_config_free, struct dmn_config *);

/* The location by its name or title, blanks and case not counted ("West US", "westus"), or NULL. */
const struct dmn_location_config *dmn_config_location(const struct dmn_config *c, const char *name);

/* How a worker is started, for dmn_worker_start(): the socket that `worker_socket` names; or
 * run_directory/worker.sock, when there is such a socket now; or the program. */
const char *dmn_config_worker(const struct dmn_config *c);

/* Where it was set, or NULL: it is the default. `name` is the section's, or "". */
const struct dmn_config_place *dmn_config_place(const struct dmn_config *c, const char *section,
                                                const char *name, const char *key);
/* All keys that there are, by number; NULL after the last. `*ret_section` is its section. */
const char *dmn_config_key(size_t i, const char **ret_section);

#define DMN_CREDENTIAL_IDENTITY "identity"
/* Does the worker fetch the account's tokens itself, from the machine's identity? */
bool dmn_account_is_identity(const struct dmn_account_config *a) _pure_;

/* The account by resource id or name, or by the name at the end of a resource id where none is
 * configured; ASCII case does not count. NULL: none. */
const struct dmn_account_config *dmn_config_account(const struct dmn_config *c,
                                                    const char *resource);
