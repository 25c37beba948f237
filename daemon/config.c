/* SPDX-License-Identifier: GPL-3.0-or-later */
/* config - the sections of the files, and what must fit together in the whole; the keys are in
 * config-keys.c. */
#include "daemon/config.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/str.h"
#include "daemon/config-keys.h"
#include "daemon/worker-connect.h"
#include "jobs/match.h"

#define STATE_DIRECTORY "/var/lib/berth"
#define RUN_DIRECTORY   "/run/berth"
#define WORKER          "/usr/libexec/berth/berth-worker"
#define MEMORY_BYTES    (UINT64_C(1) << 30)
#define STALL_SEC       120
#define POLL_SEC        60
#define DOCK_AGAIN_SEC  (3 * 24 * 3600)
#define KEEP_SEC        (90 * 24 * 3600)
#define DROP_INS_MAX    1024
#define RATE            100
#define BURST           300

/* --- sections --- */

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
                if (strcmp(e->key, config_bay_keys[i]) != 0)
                        continue;
                if (snprintf(place, sizeof place, "%s:%s",
                             hal_place_kind_to_string((enum hal_place_kind)i),
                             e->value) >= (int)sizeof place)
                        return config_wrong(error, e, "it is too long");
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
                r = config_set_text(&a->file, l->file);
        }
        return r < 0 || !e->key ? r : config_set(&config_account_keys, a, e, error);
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
                r = config_set_text(&a->file, l->file);
        }
        return r < 0 || !e->key ? r : config_set(&config_location_keys, a, e, error);
}

static int take_api(struct loading *l, const struct dmn_ini_entry *e, struct bth_error *error)
{
        struct dmn_api_config *a = &l->config->api;

        if (e->key)
                return config_set(&config_api_keys, a, e, error);
        a->line = e->line;
        return config_set_text(&a->file, l->file);
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
        return config_set_text(&p->file, l->file);
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
                r = e->key ? config_set(&config_station_keys, l->config, e, error) : 0;
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

/* --- the whole --- */

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
        c->keep_history_sec = KEEP_SEC;
        c->default_disposition = BTH_DISPOSITION_RENAME;
        c->accept_unshipped = true;
        c->start_at_once = true;
        return config_set_text(&c->state_directory, STATE_DIRECTORY) < 0 ||
                               config_set_text(&c->run_directory, RUN_DIRECTORY) < 0 ||
                               config_set_text(&c->worker, WORKER) < 0
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
                config_free_texts(&config_account_keys, &c->accounts[i]);
                free(c->accounts[i].name);
                free(c->accounts[i].file);
        }
        for (size_t i = 0; i < c->n_locations; i++) {
                config_free_texts(&config_location_keys, &c->locations[i]);
                free(c->locations[i].name);
                free(c->locations[i].file);
        }
        free(c->locations);
        config_free_texts(&config_api_keys, &c->api);
        free(c->api.file);
        hal_bays_clear(&c->bays);
        free(c->accounts);
        config_free_texts(&config_station_keys, c);
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

const char *dmn_config_worker(const struct dmn_config *c)
{
        if (c->worker_socket)
                return c->worker_socket;
        return dmn_worker_is_socket(c->usual_worker_socket) ? c->usual_worker_socket : c->worker;
}
