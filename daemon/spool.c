/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/spool.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/log.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/spool-entry.h"

#define ENTRIES_MAX   4096u /* that are known at a time */
#define NAMES_TRIED   1000u /* NAME, NAME.2, … of what was done */
#define TEXT_MODE     0640
#define FOLDER_MODE   0750
#define SPOOL_EVENTS  (IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE)
#define FOLDER_EVENTS (IN_CREATE | IN_MOVED_TO)

/* What events told of a name; it is forgotten when the name goes. */
struct known {
        struct known *next;
        struct dmn_spool *spool;
        sd_event_source *watch; /* of a folder that waits for `ready` */
        uint64_t again_usec;    /* CLOCK_MONOTONIC: not before; UINT64_MAX: when somebody acts */
        bool writing;           /* it was made here, and is not closed yet */
        bool whole;             /* it was renamed in, or closed */
        char name[];
};

struct dmn_spool {
        sd_event *loop;
        sd_event_source *watch, *timer, *look;
        char *folder;
        int fd;
        const struct dmn_spool_events *events;
        void *userdata;
        struct known *known;
        size_t n_known;
        char active[NAME_MAX + 1]; /* being imported; "": none */
        struct dmn_importing *importing;
};

/* --- what is known of names --- */

static struct known *find_known(const struct dmn_spool *s, const char *name)
{
        for (struct known *k = s->known; k; k = k->next)
                if (strcmp(k->name, name) == 0)
                        return k;
        return NULL;
}

/* NULL when there is no memory, or too much: then the next look makes up for it. */
static struct known *know(struct dmn_spool *s, const char *name)
{
        struct known *k = find_known(s, name);

        if (k)
                return k;
        k = s->n_known < ENTRIES_MAX ? calloc(1, sizeof *k + strlen(name) + 1) : NULL;
        if (!k)
                return NULL;
        memcpy(k->name, name, strlen(name) + 1);
        k->spool = s;
        k->next = s->known;
        s->known = k;
        s->n_known++;
        return k;
}

static void forget(struct dmn_spool *s, const char *name)
{
        for (struct known **k = &s->known; *k; k = &(*k)->next) {
                struct known *gone = *k;

                if (strcmp(gone->name, name) != 0)
                        continue;
                *k = gone->next;
                (void)sd_event_source_disable_unref(gone->watch);
                free(gone);
                s->n_known--;
                return;
        }
}

static void look_soon(struct dmn_spool *s)
{
        (void)sd_event_source_set_enabled(s->look, SD_EVENT_ONESHOT);
}

static void look_at(struct dmn_spool *s, uint64_t usec)
{
        uint64_t set;
        int enabled;

        if (usec == UINT64_MAX)
                return;
        if (sd_event_source_get_enabled(s->timer, &enabled) >= 0 && enabled != SD_EVENT_OFF &&
            sd_event_source_get_time(s->timer, &set) >= 0 && set <= usec)
                return;
        (void)sd_event_source_set_time(s->timer, usec);
        (void)sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

/* --- moving --- */

/* NAME, or NAME.2 and so on, so that nothing is written over. */
static int move_to(struct dmn_spool *s, const char *name, const char *to, char ret_path[PATH_MAX])
{
        for (unsigned i = 1; i <= NAMES_TRIED; i++) {
                if (i == 1)
                        (void)snprintf(ret_path, PATH_MAX, "%s/%s", to, name);
                else
                        (void)snprintf(ret_path, PATH_MAX, "%s/%s.%u", to, name, i);
                if (renameat2(s->fd, name, s->fd, ret_path, RENAME_NOREPLACE) == 0)
                        return 0;
                if (errno != EEXIST)
                        return -errno;
        }
        return -EEXIST;
}

/* For people, so what cannot be written is no reason to stop. */
static void write_text(int folder_fd, const char *name, const char *text)
{
        _cleanup_close_ int fd = openat(
                folder_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, TEXT_MODE);
        int r = fd < 0 ? -errno : bth_write_full(fd, text, strlen(text));

        if (fd >= 0)
                (void)fchmod(fd,
                             TEXT_MODE); /* whatever the umask; those who drop journals read it */
        if (r == 0 && !bth_ends_with(text, "\n"))
                r = bth_write_full(fd, "\n", 1);
        if (r < 0)
                bth_log(LOG_WARNING, "'%s' cannot be written in the spool: %s, ignoring", name,
                        bth_strerror(r));
}

static void tell(struct dmn_spool *s, const char *path, const char *text)
{
        _cleanup_close_ int fd =
                openat(s->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        char beside[PATH_MAX + 8];

        if (fd >= 0) {
                write_text(fd, DMN_SPOOL_RESULT, text);
                return;
        }
        (void)snprintf(beside, sizeof beside, "%s.txt", path);
        write_text(s->fd, beside, text);
}

/* Once it is moved it is out of sight; so what cannot be moved must not be taken again. */
static void settle(struct dmn_spool *s, const char *to, const char *text)
{
        char path[PATH_MAX];
        int r = move_to(s, s->active, to, path);
        struct known *k;

        if (r == 0) {
                tell(s, path, text);
                forget(s, s->active);
        } else if (r != -ENOENT) {
                bth_log(LOG_ERR,
                        "'%s/%s' cannot be moved to '%s': %s; the station must be able to write in "
                        "it and in the spool",
                        s->folder, s->active, to, bth_strerror(r));
                k = know(s, s->active);
                if (k)
                        k->again_usec = UINT64_MAX;
        }
        s->active[0] = '\0';
        look_soon(s);
}

/* --- what came of it --- */

/* May it be otherwise later, with nobody touching the entry? */
static bool is_passing(const struct bth_error *e)
{
        switch (e->reason) {
        case BTH_REASON_INTERNAL:
        case BTH_REASON_OUT_OF_MEMORY:
        case BTH_REASON_DISK_FULL:
        case BTH_REASON_STORE_BUSY:
        case BTH_REASON_STORE_DAMAGED:
        case BTH_REASON_CANCELLED:
                return true;
        default:
                return e->code == -EAGAIN || e->code == -EDQUOT || e->code == -ENOSPC ||
                       e->code == -EIO || e->code == -EMFILE || e->code == -ENFILE;
        }
}

static void fail(struct dmn_spool *s, const struct bth_error *e)
{
        char text[2048];
        struct known *k;

        (void)bth_error_to_string(e, text, sizeof text);
        if (!is_passing(e)) {
                bth_log(LOG_WARNING, "the spool's '%s' was rejected: %s", s->active, text);
                settle(s, DMN_SPOOL_REJECTED, text);
                return;
        }
        k = know(s, s->active);
        if (!k || k->again_usec == 0)
                bth_log(LOG_WARNING, "the spool's '%s' waits: %s", s->active, text);
        if (k)
                k->again_usec = bth_now_monotonic_usec() + DMN_SPOOL_AGAIN_USEC;
        look_at(s, bth_now_monotonic_usec() + DMN_SPOOL_AGAIN_USEC);
        s->active[0] = '\0';
        look_soon(s);
}

static int add_notes(struct bth_buf *text, const struct dmn_imported *imported)
{
        int r = 0;

        for (size_t i = 0; i < imported->n_notes && r == 0; i++) {
                const struct dmn_journal_note *n = &imported->notes[i];

                r = bth_buf_add_format(text, "%s:%llu: %s. %s.\n", n->journal,
                                       (unsigned long long)n->line, n->sentence,
                                       n->advice ? n->advice : "");
        }
        return r;
}

static void done(void *userdata, const struct dmn_imported *imported, const struct bth_error *error)
{
        _cleanup_buf_ struct bth_buf text = BTH_BUF_INIT;
        struct dmn_spool *s = userdata;
        int r;

        s->importing = dmn_import_free(s->importing);
        if (!imported) {
                fail(s, error);
                return;
        }
        r = bth_buf_add_format(&text, DMN_SPOOL_MADE "%s.\n", imported->name,
                               imported->already ? "was made from this before" : "was made");
        if (r == 0)
                r = add_notes(&text, imported);
        bth_log(LOG_INFO, "the spool's '%s': the job '%s' %s", s->active, imported->name,
                imported->already ? "was made before" : "was made");
        settle(s, DMN_SPOOL_DONE, r == 0 ? text.data : "The job was made.\n");
        if (s->events->made && !imported->already)
                s->events->made(s->userdata, imported->job);
}

static void take(struct dmn_spool *s, const char *name)
{
        _cleanup_(dmn_spool_entry_freep) struct dmn_spool_entry *entry = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        struct dmn_import import;
        int r;

        (void)snprintf(s->active, sizeof s->active, "%s", name);
        r = dmn_spool_entry_read(s->fd, name, &entry, &e);
        if (r == 0) {
                bth_error_clear(&e); /* it names the last file */
                bth_error_at(&e, name, 0, BTH_ERROR_NO_OFFSET);
                dmn_spool_entry_import(entry, name, &import);
                r = s->events->import(s->userdata, &import, done, s, &s->importing, &e);
        }
        if (r < 0)
                fail(s, &e);
}

/* --- looking --- */

static bool is_ready(const struct dmn_spool *s, const char *name)
{
        char path[NAME_MAX + sizeof DMN_SPOOL_READY + 1];

        (void)snprintf(path, sizeof path, "%s/%s", name, DMN_SPOOL_READY);
        return faccessat(s->fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int on_in_folder(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
        struct known *k = userdata;

        (void)source;
        if (event->len > 0 && strcmp(event->name, DMN_SPOOL_READY) == 0) {
                k->again_usec = 0;
                look_soon(k->spool);
        }
        return 0;
}

/* To be watched before it is looked into, so that nothing is missed between. */
static void watch_folder(struct dmn_spool *s, const char *name)
{
        struct known *k = know(s, name);
        char path[PATH_MAX];
        int r;

        if (!k || k->watch)
                return;
        (void)snprintf(path, sizeof path, "%s/%s", s->folder, name);
        r = sd_event_add_inotify(s->loop, &k->watch, path,
                                 FOLDER_EVENTS | IN_ONLYDIR | IN_DONT_FOLLOW, on_in_folder, k);
        if (r < 0) {
                bth_debug("'%s' cannot be watched: %s, ignoring", path, bth_strerror(r));
                look_at(s, bth_now_monotonic_usec() + DMN_SPOOL_AGAIN_USEC);
        }
}

/* A file whose writing we did not see may still be written to: it must be quiet for a while. */
static bool is_quiet(struct dmn_spool *s, const struct stat *st)
{
        const uint64_t now = bth_now_realtime_usec();
        const struct timespec *t = &st->st_mtim;
        const uint64_t written =
                (uint64_t)t->tv_sec * BTH_USEC_PER_SEC + (uint64_t)t->tv_nsec / 1000;

        if (written > now || now - written >= DMN_SPOOL_QUIET_USEC)
                return true; /* a clock that was put back must not hold it up for ever */
        look_at(s, bth_now_monotonic_usec() + DMN_SPOOL_QUIET_USEC - (now - written));
        return false;
}

static bool may_take(struct dmn_spool *s, const char *name)
{
        const struct known *k = find_known(s, name);
        struct stat st;

        if (k && k->again_usec > bth_now_monotonic_usec()) {
                look_at(s, k->again_usec);
                return false;
        }
        if (fstatat(s->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return false;
        if (S_ISDIR(st.st_mode)) {
                if (is_ready(s, name))
                        return true;
                watch_folder(s, name);
                return is_ready(s, name);
        }
        if (k && k->writing)
                return false;
        return bth_ends_with(name, ".jrn") && ((k && k->whole) || is_quiet(s, &st));
}

static bool is_candidate(const char *name)
{
        return name[0] != '.' && strcmp(name, DMN_SPOOL_DONE) != 0 &&
               strcmp(name, DMN_SPOOL_REJECTED) != 0;
}

static int on_look(sd_event_source *source, void *userdata)
{
        struct dmn_spool *s = userdata;
        const struct dirent *d;
        int fd;
        DIR *folder;

        (void)source;
        if (s->active[0] != '\0')
                return 0; /* its end looks again */
        fd = openat(s->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        folder = fd >= 0 ? fdopendir(fd) : NULL;
        if (!folder) {
                bth_log(LOG_ERR, "the spool '%s' cannot be read: %s", s->folder,
                        bth_strerror(-errno));
                (void)bth_close(fd);
                look_at(s, bth_now_monotonic_usec() + DMN_SPOOL_AGAIN_USEC);
                return 0;
        }
        while (s->active[0] == '\0' && (d = readdir(folder)))
                if (is_candidate(d->d_name) && may_take(s, d->d_name))
                        take(s, d->d_name);
        (void)closedir(folder);
        return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        (void)source;
        (void)usec;
        look_soon(userdata);
        return 0;
}

/* Who renames a folder in says that it is whole; `ready` keeps that over a restart. */
static void mark_ready(struct dmn_spool *s, const char *name)
{
        char path[NAME_MAX + sizeof DMN_SPOOL_READY + 1];
        int fd;

        (void)snprintf(path, sizeof path, "%s/%s", name, DMN_SPOOL_READY);
        fd = openat(s->fd, path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640);
        if (fd < 0)
                bth_log(LOG_WARNING, "the spool's '%s' waits: the station cannot write in it: %s",
                        name, bth_strerror(-errno));
        (void)bth_close(fd);
}

/* Another name for a file, or none: there will be no close. */
static bool is_made_whole(const struct dmn_spool *s, const char *name)
{
        struct stat st;

        return fstatat(s->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
               (st.st_nlink > 1 || !S_ISREG(st.st_mode));
}

static void on_file(struct dmn_spool *s, uint32_t mask, const char *name)
{
        struct known *k = know(s, name);

        if (!k)
                return;
        k->again_usec = 0;
        k->writing = (mask & IN_CREATE) && !is_made_whole(s, name);
        k->whole = !k->writing;
}

static int on_spool(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
        struct dmn_spool *s = userdata;

        (void)source;
        if (event->len > 0 && is_candidate(event->name)) {
                if (event->mask & (IN_MOVED_FROM | IN_DELETE))
                        forget(s, event->name);
                else if (!(event->mask & IN_ISDIR))
                        on_file(s, event->mask, event->name);
                else if (event->mask & IN_MOVED_TO)
                        mark_ready(s, event->name);
        }
        look_soon(s); /* also after IN_Q_OVERFLOW */
        return 0;
}

/* --- all --- */

static int open_folder(struct dmn_spool *s, struct bth_error *error)
{
        static const char *const folders[] = { DMN_SPOOL_DONE, DMN_SPOOL_REJECTED };

        bth_error_at(error, s->folder, 0, BTH_ERROR_NO_OFFSET);
        s->fd = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->fd < 0)
                return bth_error_set(error, -errno, BTH_REASON_FILE_UNREADABLE,
                                     "the spool cannot be opened: %s", bth_strerror(-errno));
        for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
                bool made = mkdirat(s->fd, folders[i], FOLDER_MODE) == 0;

                if (made) /* whatever the umask; those who drop journals look here */
                        made = fchmodat(s->fd, folders[i], FOLDER_MODE, 0) == 0;
                if (!made && errno != EEXIST)
                        return bth_error_set(error, -errno, BTH_REASON_FILE_UNWRITABLE,
                                             "the folder '%s' cannot be made in the spool: %s",
                                             folders[i], bth_strerror(-errno));
        }
        return 0;
}

static int add_sources(struct dmn_spool *s)
{
        int r = sd_event_add_inotify(s->loop, &s->watch, s->folder, SPOOL_EVENTS | IN_ONLYDIR,
                                     on_spool, s);

        if (r >= 0)
                r = sd_event_add_time(s->loop, &s->timer, CLOCK_MONOTONIC, 0, 0, on_timer, s);
        if (r >= 0)
                r = sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_defer(s->loop, &s->look, on_look, s);
        return r < 0 ? r : 0;
}

int dmn_spool_new(sd_event *loop, const char *folder, const struct dmn_spool_events *events,
                  void *userdata, struct dmn_spool **ret_spool, struct bth_error *error)
{
        _cleanup_(dmn_spool_freep) struct dmn_spool *s = calloc(1, sizeof *s);
        int r;

        if (!s)
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY,
                                     "no memory for the spool");
        s->loop = sd_event_ref(loop);
        s->fd = BTH_FD_NONE;
        s->events = events;
        s->userdata = userdata;
        s->folder = strdup(folder);
        r = s->folder ? open_folder(s, error) : -ENOMEM;
        if (r < 0)
                return r;
        r = add_sources(s);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_INTERNAL, "it cannot be watched: %s",
                                     bth_strerror(r));
        *ret_spool = take_ptr(s);
        return 0;
}

void dmn_spool_again(struct dmn_spool *s)
{
        for (struct known *k = s->known; k; k = k->next)
                k->again_usec = 0;
        look_soon(s);
}

struct dmn_spool *dmn_spool_free(struct dmn_spool *s)
{
        if (!s)
                return NULL;
        s->importing = dmn_import_free(s->importing);
        s->watch = sd_event_source_disable_unref(s->watch);
        s->timer = sd_event_source_disable_unref(s->timer);
        s->look = sd_event_source_disable_unref(s->look);
        while (s->known)
                forget(s, s->known->name);
        (void)bth_close(s->fd);
        (void)sd_event_unref(s->loop);
        free(s->folder);
        free(s);
        return NULL;
}
