/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/spool-entry.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/json.h"
#include "base/str.h"
#include "daemon/ini.h"

#define ENTRIES_MAX    1024 /* in one folder */
#define CONF_MAX_BYTES 65536
#define TEXT_MAX       512 /* bytes of a value */

static int no_memory(struct bth_error *error)
{
        return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory for a journal");
}

/* --- job.conf --- */

struct text_key {
        const char *name;
        size_t offset;
};
static const struct text_key text_keys[] = {
        { "account", offsetof(struct dmn_spool_entry, account) },
        { "name", offsetof(struct dmn_spool_entry, name) },
        { "location", offsetof(struct dmn_spool_entry, location) },
        { "diagnostics", offsetof(struct dmn_spool_entry, diagnostics) },
        { "carrier", offsetof(struct dmn_spool_entry, carrier) },
        { "tracking", offsetof(struct dmn_spool_entry, tracking) },
};
static const struct text_key flag_keys[] = {
        { "verbose_log", offsetof(struct dmn_spool_entry, verbose_log) },
        { "manifest_backup", offsetof(struct dmn_spool_entry, manifest_backup) },
        { "accept_unshipped", offsetof(struct dmn_spool_entry, accept_unshipped) },
};

static int set_text(char **to, const struct dmn_ini_entry *e, struct bth_error *error)
{
        if (e->value[0] == '\0' || strlen(e->value) > TEXT_MAX)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "'%s' has a value of 1 to %d bytes", e->key, TEXT_MAX);
        free(*to);
        *to = strdup(e->value);
        return *to ? 0 : no_memory(error);
}

static int take_value(void *userdata, const struct dmn_ini_entry *e, struct bth_error *error)
{
        struct dmn_spool_entry *entry = userdata;
        bool flag;

        if (strcmp(e->section, "job") != 0 || e->name[0] != '\0')
                return bth_error_set(error, -EINVAL, BTH_REASON_SYNTAX,
                                     "there is no section [%s]: [job] is expected", e->section);
        if (!e->key)
                return 0;
        for (size_t i = 0; i < ARRAY_SIZE(text_keys); i++)
                if (strcmp(e->key, text_keys[i].name) == 0)
                        return set_text((char **)((char *)entry + text_keys[i].offset), e, error);
        for (size_t i = 0; i < ARRAY_SIZE(flag_keys); i++) {
                if (strcmp(e->key, flag_keys[i].name) != 0)
                        continue;
                if (bth_parse_bool(e->value, &flag) < 0)
                        return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                             "'%s' is yes or no", e->key);
                *(int *)((char *)entry + flag_keys[i].offset) = flag;
                return 0;
        }
        return bth_error_set(error, -EINVAL, BTH_REASON_SYNTAX, "there is no key '%s' in [job]",
                             e->key);
}

static int make_package(struct dmn_spool_entry *entry, struct bth_error *error)
{
        _cleanup_json_ json_t *j = NULL;

        if (!entry->carrier && !entry->tracking)
                return 0;
        if (!entry->carrier || !entry->tracking) {
                bth_error_at(error, DMN_SPOOL_CONF, 0, BTH_ERROR_NO_OFFSET);
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING,
                                     "carrier and tracking come together");
        }
        j = json_pack("{s:s, s:s}", "carrierName", entry->carrier, "trackingNumber",
                      entry->tracking);
        entry->package = j ? bth_json_to_text(j) : NULL;
        return entry->package ? 0 : no_memory(error);
}

int dmn_spool_conf_parse(const char *text, size_t n, struct dmn_spool_entry *entry,
                         struct bth_error *error)
{
        int r = dmn_ini_parse(text, n, DMN_SPOOL_CONF, take_value, entry, error);

        return r < 0 ? r : make_package(entry, error);
}

/* --- files --- */

/* Not a link, and not what could hold us up. */
static int open_regular(int folder_fd, const char *name, int *ret_fd, struct bth_error *error)
{
        _cleanup_close_ int fd =
                openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        struct stat st;

        bth_error_at(error, name, 0, BTH_ERROR_NO_OFFSET);
        if (fd < 0 && errno == ELOOP)
                return bth_error_set(error, -EINVAL, BTH_REASON_FILE_UNREADABLE,
                                     "it is a link, which the spool does not follow");
        if (fd < 0 || fstat(fd, &st) < 0)
                return bth_error_set(error, -errno, BTH_REASON_FILE_UNREADABLE,
                                     "it cannot be read: %s", bth_strerror(-errno));
        if (!S_ISREG(st.st_mode))
                return bth_error_set(error, -EINVAL, BTH_REASON_FILE_UNREADABLE,
                                     "it is not a regular file");
        *ret_fd = take_fd(fd);
        return 0;
}

static int add_journal(struct dmn_spool_entry *entry, int folder_fd, const char *name,
                       struct bth_error *error)
{
        _cleanup_close_ int fd = BTH_FD_NONE;
        int r;

        if (entry->n_journals == BTH_JOURNALS_MAX)
                return bth_error_set(error, -E2BIG, BTH_REASON_LIMIT_EXCEEDED,
                                     "more than %u journals", BTH_JOURNALS_MAX);
        r = open_regular(folder_fd, name, &fd, error);
        if (r == 0)
                r = dmn_journal_new_from_fd(name, fd, &entry->journals[entry->n_journals], error);
        if (r == 0)
                entry->n_journals++;
        return r;
}

static int read_conf(struct dmn_spool_entry *entry, int folder_fd, struct bth_error *error)
{
        _cleanup_close_ int fd = BTH_FD_NONE;
        _cleanup_free_ char *text = NULL;
        size_t n;
        int r = open_regular(folder_fd, DMN_SPOOL_CONF, &fd, error);

        if (r < 0)
                return r;
        r = bth_read_fd(fd, CONF_MAX_BYTES, &text, &n);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE, "it cannot be read: %s",
                                     bth_strerror(r));
        return dmn_spool_conf_parse(text, n, entry, error);
}

static bool has_ending(const char *name, const char *ending)
{
        const size_t n = strlen(name), k = strlen(ending);

        return n > k && bth_ascii_casecmp(name + n - k, ending) == 0;
}

bool dmn_spool_is_journal(const char *name)
{
        return name[0] != '.' && (has_ending(name, ".jrn") || has_ending(name, ".xml"));
}

static int is_ours(const struct dirent *d)
{
        return dmn_spool_is_journal(d->d_name) || strcmp(d->d_name, DMN_SPOOL_CONF) == 0;
}

static int read_folder(struct dmn_spool_entry *entry, int fd, struct bth_error *error)
{
        struct dirent **names;
        int n = scandirat(fd, ".", &names, is_ours, alphasort);
        int r = 0;

        if (n < 0)
                return bth_error_set(error, -errno, BTH_REASON_FILE_UNREADABLE,
                                     "it cannot be read: %s", bth_strerror(-errno));
        if (n > ENTRIES_MAX)
                r = bth_error_set(error, -E2BIG, BTH_REASON_LIMIT_EXCEEDED,
                                  "there are too many files in it");
        for (int i = 0; i < n; i++) {
                if (r == 0)
                        r = strcmp(names[i]->d_name, DMN_SPOOL_CONF) == 0
                                    ? read_conf(entry, fd, error)
                                    : add_journal(entry, fd, names[i]->d_name, error);
                free(names[i]);
        }
        free(names);
        if (r == 0 && entry->n_journals == 0)
                r = bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING,
                                  "there is no journal (*.jrn or *.xml) in it");
        return r;
}

/* --- all --- */

int dmn_spool_entry_read(int spool_fd, const char *name, struct dmn_spool_entry **ret_entry,
                         struct bth_error *error)
{
        _cleanup_(dmn_spool_entry_freep) struct dmn_spool_entry *entry = calloc(1, sizeof *entry);
        _cleanup_close_ int fd = BTH_FD_NONE;
        int r;

        if (!entry)
                return no_memory(error);
        entry->verbose_log = entry->manifest_backup = entry->accept_unshipped = -1;
        bth_error_at(error, name, 0, BTH_ERROR_NO_OFFSET);
        fd = openat(spool_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0)
                r = read_folder(entry, fd, error);
        else if (errno == ENOTDIR)
                r = add_journal(entry, spool_fd, name, error);
        else
                r = bth_error_set(error, -errno, BTH_REASON_FILE_UNREADABLE,
                                  "it cannot be read: %s", bth_strerror(-errno));
        if (r == 0)
                *ret_entry = take_ptr(entry);
        return r;
}

void dmn_spool_entry_import(const struct dmn_spool_entry *e, const char *name,
                            struct dmn_import *ret_import)
{
        struct dmn_import i = {
                .journals = e->journals,
                .n_journals = e->n_journals,
                .name = e->name,
                .base_name = name,
                .account = e->account,
                .location = e->location,
                .diagnostics = e->diagnostics,
                .who = "spool",
                .verbose_log = e->verbose_log,
                .backup_manifest = e->manifest_backup,
                .accept_unshipped = e->accept_unshipped,
                .shipped = e->package != NULL,
                .once = true,
        };

        i.personal[JOB_PERSONAL_DELIVERY_PACKAGE] = e->package;
        *ret_import = i;
}

void dmn_spool_entry_clear(struct dmn_spool_entry *e)
{
        for (size_t i = 0; i < e->n_journals; i++)
                (void)dmn_journal_free(e->journals[i]);
        for (size_t i = 0; i < ARRAY_SIZE(text_keys); i++)
                free(*(char **)((char *)e + text_keys[i].offset));
        free(e->package);
        *e = (struct dmn_spool_entry){ 0 };
}

struct dmn_spool_entry *dmn_spool_entry_free(struct dmn_spool_entry *e)
{
        if (e)
                dmn_spool_entry_clear(e);
        free(e);
        return NULL;
}
