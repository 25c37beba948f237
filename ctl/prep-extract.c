/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/prep-extract.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/checked.h"
#include "base/io.h"
#include "base/str.h"
#include "base/time.h"
#include "ctl/arena.h"
#include "ctl/progress.h"

#define COPY_BYTES       ((size_t)4 << 20)
#define BATCH_BYTES      ((size_t)64 << 20) /* of names, sorted by place before they are copied */
#define LIST_MAX_BYTES   ((size_t)2 << 30)
#define SHOWN_NAME_BYTES 2048u
#define FOLDER_MODE      0777 /* less the umask */
#define FILE_MODE        0666

static const char *status_text(enum med_ntfs_status s)
{
        static const char *const names[] = {
                [MED_NTFS_OK] = "file",
                [MED_NTFS_IS_DIRECTORY] = "folder",
                [MED_NTFS_IS_ENCRYPTED] = "encrypted",
                [MED_NTFS_IS_REPARSE] = "link",
                [MED_NTFS_IS_OFFLINE] = "offline",
                [MED_NTFS_IS_COMPRESSED] = "compressed",
                [MED_NTFS_IS_DAMAGED] = "damaged",
        };

        return (size_t)s < ARRAY_SIZE(names) ? names[s] : "other";
}

static const char *status_sentence(enum med_ntfs_status s)
{
        switch (s) {
        case MED_NTFS_IS_ENCRYPTED:
                return "Windows encrypted it for one user (EFS)";
        case MED_NTFS_IS_REPARSE:
                return "it is a link, or its content is kept elsewhere";
        case MED_NTFS_IS_OFFLINE:
                return "its content was moved to other storage";
        case MED_NTFS_IS_COMPRESSED:
                return "it is compressed in a way that cannot be read here";
        default:
                return "its record in the file table is damaged";
        }
}

/* ---- one entry, as list and walk give it ---- */

struct entry {
        const char *name; /* or path; of the arena */
        struct med_ntfs_found found;
};

struct entries {
        struct entry *items;
        size_t n, allocated;
        size_t bytes; /* of all, roughly */
        struct ctl_arena *arena;
};

static void entries_clear(struct entries *e)
{
        free(e->items);
        (void)ctl_arena_free(e->arena);
        *e = (struct entries){ 0 };
}

static int entries_add(struct entries *e, const char *name, const struct med_ntfs_found *found)
{
        struct entry *p;
        int r = e->arena ? 0 : ctl_arena_new(&e->arena);

        if (r < 0)
                return r;
        if (e->n == CTL_LIST_MAX || e->bytes > LIST_MAX_BYTES)
                return -E2BIG;
        if (e->n == e->allocated) {
                const size_t want = e->allocated * 2 + 256;

                p = reallocarray(e->items, want, sizeof *p);
                if (!p)
                        return -ENOMEM;
                e->items = p;
                e->allocated = want;
        }
        p = &e->items[e->n];
        *p = (struct entry){ .name = ctl_arena_string(e->arena, name, strlen(name)),
                             .found = *found };
        e->n += p->name != NULL;
        e->bytes += sizeof *p + strlen(name) + 1;
        return p->name ? 0 : -ENOMEM;
}

/* ---- list ---- */

static int by_name(const void *pa, const void *pb)
{
        const struct entry *a = pa, *b = pb;

        return strcmp(a->name, b->name);
}

static int collect(void *context, const char *name, const struct med_ntfs_found *found)
{
        return entries_add(context, name, found);
}

static void show(struct ctl_context *c, json_t *list, const struct entry *e)
{
        char name[SHOWN_NAME_BYTES], size[32];

        bth_escape(e->name, strlen(e->name), name, sizeof name);
        if (e->found.directory)
                ctl_say(c, "%-10s %10s  %s", status_text(e->found.status), "", name);
        else
                ctl_say(c, "%-10s %10s  %s", status_text(e->found.status),
                        ctl_bytes_text(e->found.size_bytes, size), name);
        if (!c->json) /* a drive may have millions */
                return;
        (void)json_array_append_new(
                list, json_pack("{s:s, s:s, s:o}", "name",
                                bth_utf8_valid(e->name, strlen(e->name)) ? e->name : name, "kind",
                                status_text(e->found.status), "bytes",
                                ctl_json_bytes(e->found.directory ? 0 : e->found.size_bytes)));
}

static int not_found(int r, struct bth_error *error)
{
        if (r == -E2BIG)
                return bth_error_set(error, r, BTH_REASON_LIMIT_EXCEEDED,
                                     "there are more than %u names, or they are too long",
                                     CTL_LIST_MAX);
        return bth_error_set(error, r,
                             r == -ENOMEM ? BTH_REASON_OUT_OF_MEMORY : BTH_REASON_FILE_UNREADABLE,
                             "%s",
                             r == -ENOENT   ? "it is not on the drive"
                             : r == -EILSEQ ? "its name is not UTF-8"
                                            : bth_strerror(r));
}

int ctl_drive_list(struct ctl_context *c, const struct ctl_drive *d, const char *folder,
                   bool recursive, struct bth_error *error)
{
        json_t *list = json_array();
        struct entries e = { 0 };
        struct med_ntfs_found found;
        int r = med_ntfs_index_find(d->index, folder, &found);

        ctl_report(c, "entries", list);
        bth_error_at(error, folder[0] ? folder : "\\", 0, BTH_ERROR_NO_OFFSET);
        if (r == 0 && !found.directory)
                r = entries_add(&e, folder, &found);
        else if (r == 0)
                r = recursive ? med_ntfs_index_walk(d->index, folder, collect, &e)
                              : med_ntfs_index_list(d->index, folder, collect, &e);
        if (r == 0) {
                if (e.n > 0)
                        qsort(e.items, e.n, sizeof *e.items, by_name);
                for (size_t i = 0; i < e.n; i++)
                        show(c, list, &e.items[i]);
        }
        entries_clear(&e);
        return r < 0 ? not_found(r, error) : 0;
}

/* ---- extract ---- */

struct extract {
        struct ctl_context *context;
        const struct ctl_drive *drive;
        const struct med_findings *findings;
        int to;               /* the folder */
        struct entries batch; /* files */
        uint8_t *buffer;
        struct ctl_progress *progress;
        char *parent; /* the folder that was opened last, below `to` */
        int parent_fd;
        uint64_t n_files, n_folders, total_bytes, copied_bytes, n_left_out;
};

/* Tells of what is left out. Returns 0, so that the rest goes on. */
static int leave_out(struct extract *x, const char *path, const char *why)
{
        x->n_left_out++;
        med_find(x->findings, MED_SEVERITY_ERROR, "not-extracted", 0, NULL, "", "'%s': %s", path,
                 why);
        return 0;
}

/* Opens a component below `fd`, never through a link; makes it when it is not there. */
static int enter(int fd, const char *name, int *ret_fd)
{
        int sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (sub < 0 && errno == ENOENT) {
                if (mkdirat(fd, name, FOLDER_MODE) < 0)
                        return -errno;
                sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        }
        if (sub < 0)
                return -errno;
        *ret_fd = sub;
        return 0;
}

/* The folder below `to` with this path ("\a\b", "" for `to` itself), component by component. Paths
 * may be longer than the kernel takes in one piece. The last one is kept open: neighbours in the
 * tree tend to follow each other. */
static int open_folder(struct extract *x, const char *path, size_t n, int *ret_fd)
{
        _cleanup_free_ char *copy = strndup(path, n);
        _cleanup_close_ int fd = BTH_FD_NONE;
        char *rest = copy, *name;
        int r = 0;

        if (!copy)
                return -ENOMEM;
        if (x->parent && strcmp(x->parent, copy) == 0) {
                *ret_fd = x->parent_fd;
                return 0;
        }
        fd = fcntl(x->to, F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        while (r == 0 && (name = strsep(&rest, "\\"))) {
                int sub = BTH_FD_NONE;

                if (name[0] == '\0')
                        continue;
                if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/'))
                        return -EPERM;
                r = enter(fd, name, &sub);
                if (r == 0) {
                        (void)bth_close(fd);
                        fd = sub;
                }
        }
        if (r < 0)
                return r;
        free(x->parent);
        (void)bth_close(x->parent_fd);
        x->parent = strndup(path, n);
        x->parent_fd = take_fd(fd);
        *ret_fd = x->parent_fd;
        return x->parent ? 0 : -ENOMEM;
}

/* The end of a path: its last component, and where that begins. */
static const char *last_component(const char *path, size_t *ret_parent_n)
{
        const char *backslash = strrchr(path, '\\');

        *ret_parent_n = backslash ? (size_t)(backslash - path) : 0;
        return backslash ? backslash + 1 : path;
}

/* Writes what is stored; holes stay holes. */
static int copy_content(struct extract *x, struct med_ntfs_file *file, int fd, bool *ret_reading)
{
        const uint64_t size = file->source.size_bytes;
        struct med_ntfs_span span;
        int r = 0;

        for (uint64_t at = 0; r == 0 && at < size;) {
                size_t n;

                *ret_reading = true;
                r = med_ntfs_file_span(file, at, &span);
                if (r <= 0)
                        return r < 0 ? r : -EBADMSG;
                if (span.kind == MED_NTFS_SPAN_ZERO) {
                        ctl_progress_add(x->progress, span.length_bytes);
                        at += span.length_bytes;
                        r = 0;
                        continue;
                }
                n = (size_t)MIN(span.length_bytes, (uint64_t)COPY_BYTES);
                r = bth_source_read(&file->source, at, x->buffer, n);
                if (r < 0)
                        break;
                *ret_reading = false;
                r = bth_pwrite_full(fd, x->buffer, n, at);
                ctl_progress_add(x->progress, n);
                at += n;
        }
        if (r < 0)
                return r;
        *ret_reading = false;
        return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

static void keep_time(int fd, const struct med_ntfs_file *file)
{
        const uint64_t usec = bth_filetime_to_usec(file->modified);
        const struct timespec times[2] = {
                { .tv_nsec = UTIME_OMIT },
                { .tv_sec = (time_t)(usec / BTH_USEC_PER_SEC),
                  .tv_nsec = (long)(usec % BTH_USEC_PER_SEC * 1000) },
        };

        (void)!futimens(fd, times); /* a file with another time is better than none */
}

static bool ends_all(int r, bool reading)
{
        return r == -ENOMEM || (reading ? r == -ENODEV || r == -ENXIO
                                        : r == -ENOSPC || r == -EDQUOT || r == -EROFS);
}

static int copy_file(struct extract *x, const char *path, struct med_ntfs_file *file)
{
        size_t parent_n;
        const char *name = last_component(path, &parent_n);
        _cleanup_close_ int fd = BTH_FD_NONE;
        bool reading = false;
        int parent, r = open_folder(x, path, parent_n, &parent);

        if (r == 0) {
                fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                            FILE_MODE);
                if (fd < 0)
                        r = -errno;
        }
        if (r < 0)
                return ends_all(r, false) ? r
                                          : leave_out(x, path,
                                                      r == -EEXIST ? "there is a file of this name"
                                                                   : bth_strerror(r));
        r = copy_content(x, file, fd, &reading);
        if (r == 0) {
                keep_time(fd, file);
                x->n_files++;
                x->copied_bytes += file->source.size_bytes;
                return 0;
        }
        (void)unlinkat(parent, name, 0);
        return ends_all(r, reading) ? r : leave_out(x, path, bth_strerror(r));
}

static int extract_one(struct extract *x, const struct entry *e)
{
        struct med_ntfs_file *file = NULL;
        int r = med_ntfs_file_open(x->drive->drive->ntfs, e->found.reference, &file);

        if (r < 0)
                return ends_all(r, true) ? r : leave_out(x, e->name, bth_strerror(r));
        r = file->status != MED_NTFS_OK ? leave_out(x, e->name, status_sentence(file->status))
                                        : copy_file(x, e->name, file);
        (void)bth_source_free(&file->source);
        return r;
}

static int by_place(const void *pa, const void *pb)
{
        const uint64_t a = ((const struct entry *)pa)->found.first_offset_bytes;
        const uint64_t b = ((const struct entry *)pb)->found.first_offset_bytes;

        return a < b ? -1 : a > b;
}

static int flush(struct extract *x)
{
        int r = 0;

        if (x->batch.n > 0)
                qsort(x->batch.items, x->batch.n, sizeof *x->batch.items, by_place);
        for (size_t i = 0; r == 0 && i < x->batch.n; i++)
                r = extract_one(x, &x->batch.items[i]);
        entries_clear(&x->batch);
        return r;
}

/* First pass: what it comes to. */
static int count(void *context, const char *path, const struct med_ntfs_found *found)
{
        struct extract *x = context;

        (void)path;
        if (!found->directory && !bth_add_u64(x->total_bytes, found->size_bytes, &x->total_bytes))
                x->total_bytes = UINT64_MAX;
        return 0;
}

/* Second pass: folders are made as they come, files wait until there are enough to sort. */
static int take(void *context, const char *path, const struct med_ntfs_found *found)
{
        struct extract *x = context;
        int r, fd;

        if (found->directory && found->status == MED_NTFS_IS_DIRECTORY) {
                r = open_folder(x, path, strlen(path), &fd);
                x->n_folders += r == 0;
                if (r < 0 && !ends_all(r, false)) {
                        (void)leave_out(x, path, bth_strerror(r));
                        return 1; /* with all below it */
                }
                return r;
        }
        if (found->directory) {
                (void)leave_out(x, path, status_sentence(found->status));
                return 1;
        }
        r = entries_add(&x->batch, path, found);
        return r == 0 && x->batch.bytes >= BATCH_BYTES ? flush(x) : r;
}

static int check_room(struct extract *x, struct bth_error *error)
{
        struct statvfs fs;
        uint64_t free_bytes;
        char need[32], have[32];

        if (fstatvfs(x->to, &fs) < 0 || !bth_mul_u64(fs.f_bavail, fs.f_frsize, &free_bytes) ||
            x->total_bytes <= free_bytes)
                return 0;
        return bth_error_set(
                error, -ENOSPC, BTH_REASON_DISK_FULL, "it has %s free, and %s would be needed",
                ctl_bytes_text(free_bytes, have), ctl_bytes_text(x->total_bytes, need));
}

static int open_target(const char *to, int *ret_fd, struct bth_error *error)
{
        int fd, r = mkdir(to, FOLDER_MODE) < 0 && errno != EEXIST ? -errno : 0;

        bth_error_at(error, to, 0, BTH_ERROR_NO_OFFSET);
        fd = r < 0 ? BTH_FD_NONE : open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) {
                *ret_fd = fd;
                return 0;
        }
        r = r < 0 ? r : -errno;
        return bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE, "it cannot be used: %s",
                             bth_strerror(r));
}

/* Visits a file under its own name, a folder's content under the paths below it. */
static int walk(struct extract *x, const char *path, med_ntfs_visit *visit)
{
        struct med_ntfs_found found;
        int r = med_ntfs_index_find(x->drive->index, path, &found);
        _cleanup_free_ char *single = NULL;
        const char *name = strrchr(path, '\\');

        if (r < 0)
                return r;
        if (found.directory)
                return med_ntfs_index_walk(x->drive->index, path, visit, x);
        name = name ? name : strrchr(path, '/');
        if (asprintf(&single, "\\%s", name ? name + 1 : path) < 0)
                return -ENOMEM;
        return visit(x, single, &found);
}

static void report(struct extract *x)
{
        char size[32];

        ctl_say(x->context, "%" PRIu64 " files and %" PRIu64 " folders, %s; %" PRIu64 " left out",
                x->n_files, x->n_folders, ctl_bytes_text(x->copied_bytes, size), x->n_left_out);
        ctl_report(x->context, "extracted",
                   json_pack("{s:o, s:o, s:o, s:o}", "files", ctl_json_bytes(x->n_files), "folders",
                             ctl_json_bytes(x->n_folders), "bytes", ctl_json_bytes(x->copied_bytes),
                             "leftOut", ctl_json_bytes(x->n_left_out)));
}

static int run_passes(struct extract *x, const char *path, const char *to, struct bth_error *error)
{
        int r = walk(x, path, count);

        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        if (r < 0)
                return not_found(r, error);
        if (x->context->dry_run) {
                char size[32];

                ctl_say(x->context, "%s would be written", ctl_bytes_text(x->total_bytes, size));
                return 0;
        }
        r = open_target(to, &x->to, error);
        if (r == 0)
                r = check_room(x, error);
        if (r < 0)
                return r;
        x->buffer = bth_io_buffer_new(COPY_BYTES);
        r = x->buffer ? ctl_progress_new("extracting", x->total_bytes,
                                         x->context->quiet || x->context->json, &x->progress)
                      : -ENOMEM;
        if (r == 0)
                r = walk(x, path, take);
        if (r == 0)
                r = flush(x);
        if (r < 0)
                return bth_error_set(error, r,
                                     r == -ENOSPC || r == -EDQUOT  ? BTH_REASON_DISK_FULL
                                     : r == -ENODEV || r == -ENXIO ? BTH_REASON_DRIVE_GONE
                                     : r == -ENOMEM                ? BTH_REASON_OUT_OF_MEMORY
                                                                   : BTH_REASON_FILE_UNWRITABLE,
                                     "it could not all be copied: %s", bth_strerror(r));
        report(x);
        return 0;
}

int ctl_drive_extract(struct ctl_context *c, const struct ctl_drive *d, const char *path,
                      const char *to, const struct med_findings *findings, struct bth_error *error)
{
        struct extract x = {
                .context = c,
                .drive = d,
                .findings = findings,
                .to = BTH_FD_NONE,
                .parent_fd = BTH_FD_NONE,
        };
        int r = run_passes(&x, path, to, error);

        entries_clear(&x.batch);
        (void)ctl_progress_free(x.progress);
        (void)bth_close(x.parent_fd);
        (void)bth_close(x.to);
        free(x.parent);
        free(x.buffer);
        return r;
}
