/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/credential.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/str.h"

#define EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ATTRIB | IN_DELETE)

/* --- where --- */

int dmn_credential_path(const struct dmn_account_config *account, char **ret_path,
                        struct bth_error *error)
{
        const char *name = account->credential_file;
        const char *folder = getenv("CREDENTIALS_DIRECTORY");
        char *path;
        int r;

        if (name[0] != '/' && strchr(name, '/'))
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "credential_file = '%s' is neither a path from the root nor "
                                     "the name of a systemd credential",
                                     name);
        if (name[0] != '/' && !folder)
                return bth_error_set(error, -ENOENT, BTH_REASON_CREDENTIALS,
                                     "there is no systemd credential '%s': the service needs "
                                     "LoadCredential=%s:FILE or LoadCredentialEncrypted=",
                                     name, name);
        r = name[0] == '/' ? asprintf(&path, "%s", name) : asprintf(&path, "%s/%s", folder, name);
        if (r < 0)
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory");
        *ret_path = path;
        return 0;
}

/* --- reading --- */

/* systemd keeps its credentials closed by means of its own, an access list among them. */
static int check_file(int fd, bool of_systemd, struct bth_error *error)
{
        struct stat st;

        if (fstat(fd, &st) < 0)
                return bth_error_set(error, -errno, BTH_REASON_FILE_UNREADABLE, "%s",
                                     bth_strerror(-errno));
        if (!S_ISREG(st.st_mode))
                return bth_error_set(error, -EPERM, BTH_REASON_CREDENTIALS,
                                     "a credential must be a regular file");
        if (of_systemd)
                return 0;
        if (st.st_uid != 0 && st.st_uid != geteuid()) {
                (void)bth_error_set(error, -EPERM, BTH_REASON_CREDENTIALS,
                                    "the credential belongs to another user (uid %u)",
                                    (unsigned)st.st_uid);
                bth_error_advise(error, "chown it to root or to the station's user");
                return -EPERM;
        }
        if (st.st_mode & 077) {
                (void)bth_error_set(error, -EPERM, BTH_REASON_CREDENTIALS,
                                    "the credential is open to others (mode %04o)",
                                    (unsigned)st.st_mode & 07777);
                bth_error_advise(error, "chmod 600 it");
                return -EPERM;
        }
        return 0;
}

static bool is_base64(const struct bth_secret *s)
{
        _cleanup_(bth_secret_freep) struct bth_secret *bytes = NULL;
        size_t n;

        return bth_secret_new(s->length_bytes, &bytes) == 0 &&
               bth_base64_decode((const char *)s->data, s->length_bytes, bytes->data, &n) == 0;
}

/* What every reader of it would refuse. The sentence never has a part of it. */
static int check_secret(const char *kind, const struct bth_secret *s, struct bth_error *error)
{
        for (size_t i = 0; i < s->length_bytes; i++)
                if (s->data[i] <= ' ' || s->data[i] >= 0x7f)
                        return bth_error_set(error, -EINVAL, BTH_REASON_CREDENTIALS,
                                             "the credential has more than one line, blanks, or "
                                             "other characters that none has (byte %zu)",
                                             i + 1);
        if (bth_streq(kind, "key") && !is_base64(s))
                return bth_error_set(error, -EINVAL, BTH_REASON_CREDENTIALS,
                                     "this is not an account key: those are base64");
        if (bth_streq(kind, "sas") && !memmem(s->data, s->length_bytes, "sig=", 4))
                return bth_error_set(error, -EINVAL, BTH_REASON_CREDENTIALS,
                                     "this is not a SAS token: it has no signature (sig=)");
        return 0;
}

static int read_file(const struct dmn_account_config *a, const char *path,
                     struct bth_secret **ret_secret, struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *s = NULL;
        /* Not for a pipe to hold us up. */
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        int r;

        if (fd < 0)
                return bth_error_set(error, -errno, BTH_REASON_CREDENTIALS,
                                     "the credential cannot be opened: %s", bth_strerror(-errno));
        r = check_file(fd, a->credential_file[0] != '/', error);
        if (r < 0)
                return r;
        r = bth_secret_new_from_fd(fd, BTH_ORDER_SECRET_MAX, true, &s);
        if (r == -ENODATA)
                return bth_error_set(error, -EINVAL, BTH_REASON_CREDENTIALS,
                                     "the credential is empty");
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_CREDENTIALS,
                                     r == -EFBIG ? "the credential is larger than any"
                                                 : "the credential cannot be read: %s",
                                     bth_strerror(r));
        r = check_secret(a->credential_kind, s, error);
        if (r == 0)
                *ret_secret = take_ptr(s);
        return r;
}

int dmn_credential_read(const struct dmn_account_config *account, struct bth_secret **ret_secret,
                        struct bth_error *error)
{
        _cleanup_free_ char *path = NULL;
        int r;

        if (dmn_account_is_identity(account)) {
                *ret_secret = NULL;
                return 0;
        }
        r = dmn_credential_path(account, &path, error);

        if (r < 0)
                return r;
        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        return read_file(account, path, ret_secret, error);
}

/* --- watching --- */

/* What tells one state of a file from another. */
struct print {
        dev_t device;
        ino_t inode;
        off_t size;
        struct timespec changed;
};

struct watched {
        char *account, *path;
        struct print last;
};

struct dmn_credential_watch {
        dmn_credential_fn changed;
        void *userdata;
        struct watched *files;
        size_t n_files;
        sd_event_source **sources; /* one a folder */
        char **folders;
        size_t n_folders;
        bool busy, freed; /* `changed` is being called; it freed the watch */
};

/* All zero when it is not there. */
static struct print take_print(const char *path)
{
        struct stat st;

        if (stat(path, &st) < 0)
                return (struct print){ 0 };
        return (struct print){ st.st_dev, st.st_ino, st.st_size, st.st_ctim };
}

static bool same_print(const struct print *a, const struct print *b)
{
        return a->device == b->device && a->inode == b->inode && a->size == b->size &&
               a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static void destroy(struct dmn_credential_watch *w)
{
        for (size_t i = 0; i < w->n_files; i++) {
                free(w->files[i].account);
                free(w->files[i].path);
        }
        for (size_t i = 0; i < w->n_folders; i++) {
                (void)sd_event_source_disable_unref(w->sources[i]);
                free(w->folders[i]);
        }
        free(w->files);
        free(w->sources);
        free(w->folders);
        free(w);
}

/* A file may be reached through links, so it is not the name in the event that counts. */
static int on_folder(sd_event_source *s, const struct inotify_event *event, void *userdata)
{
        struct dmn_credential_watch *w = userdata;

        (void)s;
        (void)event;
        w->busy = true;
        for (size_t i = 0; !w->freed && i < w->n_files; i++) {
                const struct print now = take_print(w->files[i].path);

                if (same_print(&now, &w->files[i].last))
                        continue;
                w->files[i].last = now;
                if (now.inode != 0) /* gone: the next one will come */
                        w->changed(w->userdata, w->files[i].account);
        }
        w->busy = false;
        if (w->freed)
                destroy(w);
        return 0;
}

static int watch_folder(struct dmn_credential_watch *w, sd_event *loop, const char *path)
{
        const char *slash = strrchr(path, '/');
        _cleanup_free_ char *folder = strndup(path, slash > path ? (size_t)(slash - path) : 1);
        int r;

        if (!folder)
                return -ENOMEM;
        for (size_t i = 0; i < w->n_folders; i++)
                if (strcmp(w->folders[i], folder) == 0)
                        return 0;
        r = sd_event_add_inotify(loop, &w->sources[w->n_folders], folder, EVENTS | IN_ONLYDIR,
                                 on_folder, w);
        if (r == -ENOENT || r == -EACCES || r == -ENOTDIR) {
                bth_debug("'%s' cannot be watched: %s, ignoring", folder, bth_strerror(r));
                return 0;
        }
        if (r < 0)
                return r;
        w->folders[w->n_folders++] = take_ptr(folder);
        return 0;
}

static int add_account(struct dmn_credential_watch *w, sd_event *loop,
                       const struct dmn_account_config *a)
{
        struct watched *f = &w->files[w->n_files];
        int r = dmn_credential_path(a, &f->path, NULL);

        if (r < 0)
                return r == -ENOMEM ? r : 0; /* reading it will say what is wrong */
        f->account = strdup(a->name);
        w->n_files++;
        if (!f->account)
                return -ENOMEM;
        r = watch_folder(w, loop, f->path);
        f->last = take_print(f->path); /* watched first: nothing is missed between */
        return r;
}

int dmn_credential_watch(sd_event *loop, const struct dmn_config *config, dmn_credential_fn changed,
                         void *userdata, struct dmn_credential_watch **ret_watch)
{
        _cleanup_(dmn_credential_watch_freep) struct dmn_credential_watch *w = calloc(1, sizeof *w);
        const size_t n = MAX(config->n_accounts, (size_t)1);
        int r = 0;

        if (!w)
                return -ENOMEM;
        w->changed = changed;
        w->userdata = userdata;
        w->files = calloc(n, sizeof *w->files);
        w->sources = calloc(n, sizeof *w->sources);
        w->folders = calloc(n, sizeof *w->folders);
        if (!w->files || !w->sources || !w->folders)
                return -ENOMEM;
        for (size_t i = 0; i < config->n_accounts && r == 0; i++)
                r = dmn_account_is_identity(&config->accounts[i])
                            ? 0
                            : add_account(w, loop, &config->accounts[i]);
        if (r < 0)
                return r;
        *ret_watch = take_ptr(w);
        return 0;
}

struct dmn_credential_watch *dmn_credential_watch_free(struct dmn_credential_watch *w)
{
        if (!w)
                return NULL;
        w->freed = w->busy;
        if (!w->busy)
                destroy(w);
        return NULL;
}
