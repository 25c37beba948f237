/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "hal/virtual.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/time.h"

#define FOLDER_EVENTS                                                                            \
        (IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | \
         IN_MOVE_SELF | IN_ONLYDIR)

struct folder {
        struct hal_hotplug *hotplug;
        const char *path; /* of the bays, which outlive this */
        sd_event_source *source;
};

struct hal_virtual {
        struct folder *folders;
        size_t n_folders;
};

static uint64_t usec_of(const struct timespec *t)
{
        return (uint64_t)t->tv_sec * BTH_USEC_PER_SEC + (uint64_t)t->tv_nsec / 1000;
}

static bool name_path(const struct folder *f, const char *name, char path[HAL_NODE_MAX])
{
        return snprintf(path, HAL_NODE_MAX, "%s/%s", f->path, name) < HAL_NODE_MAX;
}

/* Docks a file, when it is one. Its change time is the time when it came: linking, moving and
 * writing set it, reading does not. */
static void dock(struct folder *f, const char *name, bool only_linked)
{
        struct hal_sighting s = { .is_virtual = true };
        char path[HAL_NODE_MAX];
        struct stat entry, file;
        int r;

        if (name[0] == '.' || !name_path(f, name, path) || lstat(path, &entry) < 0 ||
            stat(path, &file) < 0 || !S_ISREG(file.st_mode))
                return;
        if (only_linked && !S_ISLNK(entry.st_mode) && entry.st_nlink < 2)
                return; /* somebody begins to write it */
        s.sequence = usec_of(&entry.st_ctim);
        s.node = path;
        s.file_device = file.st_dev;
        s.file_inode = file.st_ino;
        (void)snprintf(s.where.directory, sizeof s.where.directory, "%s", f->path);
        r = hal_hotplug_appear(f->hotplug, &s);
        if (r < 0)
                bth_debug("%s cannot be docked: %s, ignoring", path, bth_strerror(r));
}

static void undock(struct folder *f, const char *name)
{
        char path[HAL_NODE_MAX];

        if (name_path(f, name, path))
                hal_hotplug_vanish(f->hotplug, path, 0);
}

/* Looks at the whole folder; a folder that cannot be read is empty. */
static void look(struct folder *f)
{
        struct dirent **entries = NULL;
        int n = scandir(f->path, &entries, NULL, alphasort);

        hal_hotplug_look_begin(f->hotplug, f->path);
        for (int i = 0; i < n; i++) {
                if (i < HAL_VIRTUAL_FILES_MAX)
                        dock(f, entries[i]->d_name, false);
                free(entries[i]);
        }
        free(entries);
        hal_hotplug_look_end(f->hotplug, f->path);
}

static int on_change(sd_event_source *source, const struct inotify_event *e, void *userdata)
{
        struct folder *f = userdata;

        if (e->mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)) {
                look(f);
                return 0;
        }
        if (e->len == 0 || (e->mask & IN_ISDIR))
                return 0;
        if (e->mask & (IN_MOVED_FROM | IN_DELETE))
                undock(f, e->name);
        else
                dock(f, e->name, (e->mask & IN_CREATE) != 0);
        return 0;
}

static int watch(struct hal_virtual *v, struct hal_hotplug *hotplug, const char *path,
                 struct bth_error *error)
{
        struct folder *f = &v->folders[v->n_folders];
        int r;

        *f = (struct folder){ .hotplug = hotplug, .path = path };
        /* First the watch, then the look: what comes in between is seen twice, and not missed. */
        r = sd_event_add_inotify(hal_hotplug_loop(hotplug), &f->source, path, FOLDER_EVENTS,
                                 on_change, f);
        if (r < 0) {
                bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE,
                                     "the folder of the virtual bay cannot be watched: %s",
                                     bth_strerror(r));
        }
        v->n_folders++;
        look(f);
        return 0;
}

static int watch_all(struct hal_virtual *v, struct hal_hotplug *hotplug, struct bth_error *error)
{
        const struct hal_bays *bays = hal_hotplug_bays(hotplug);

        for (size_t i = 0; i < bays->n_bays; i++)
                for (size_t k = 0; k < bays->bays[i].n_places; k++) {
                        const struct hal_place *p = &bays->bays[i].places[k];
                        int r = p->kind == HAL_PLACE_DIRECTORY ? watch(v, hotplug, p->value, error)
                                                               : 0;

                        if (r < 0)
                                return r;
                }
        return 0;
}

int hal_virtual_new(struct hal_hotplug *hotplug, struct hal_virtual **ret_virtual,
                    struct bth_error *error)
{
        const size_t most = hal_hotplug_bays(hotplug)->n_bays * HAL_BAY_PLACES_MAX;
        struct hal_virtual *v = calloc(1, sizeof *v);
        int r;

        if (v)
                v->folders = calloc(most + 1, sizeof *v->folders);
        if (!v || !v->folders) {
                free(v);
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory");
        }
        r = watch_all(v, hotplug, error);
        if (r < 0) {
                (void)hal_virtual_free(v);
                return r;
        }
        *ret_virtual = v;
        return 0;
}

struct hal_virtual *hal_virtual_free(struct hal_virtual *v)
{
        if (!v)
                return NULL;
        for (size_t i = 0; i < v->n_folders; i++)
                (void)sd_event_source_disable_unref(v->folders[i].source);
        free(v->folders);
        free(v);
        return NULL;
}
