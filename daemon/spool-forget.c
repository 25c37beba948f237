/* SPDX-License-Identifier: GPL-3.0-or-later */
/* spool-forget - what became of old entries of the spool is taken away: journals hold the keys of
 * drives, and job.conf the number of a parcel, and neither is to outlive the job.
 *
 *     done/NAME/, rejected/NAME/   with result.txt        as old as result.txt
 *     done/X.jrn and X.jrn.txt                            as old as X.jrn.txt
 *
 * What has no such text was put there by somebody else, and stays. Of one job what is done for it
 * can be taken away before: the text names the job, and the journals are those it was made from, so
 * that a job of the same name that was there before or comes later is not meant. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/time.h"
#include "base/str.h"
#include "daemon/spool-entry.h"
#include "daemon/spool.h"

static bool is_old(int folder_fd, const char *text, uint64_t before_usec)
{
        struct stat st;

        return fstatat(folder_fd, text, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
               (uint64_t)MAX(st.st_mtim.tv_sec, 0) * BTH_USEC_PER_SEC < before_usec;
}

static bool unlink_files(DIR *folder, bool journals)
{
        const struct dirent *e;
        bool all = true;

        rewinddir(folder);
        while ((e = readdir(folder)))
                if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
                    strcmp(e->d_name, DMN_SPOOL_RESULT) != 0 &&
                    dmn_spool_is_journal(e->d_name) == journals)
                        all = unlinkat(dirfd(folder), e->d_name, 0) == 0 && all;
        return all;
}

/* One level of plain files, which is all that an entry has; whatever else there is holds it. The
 * text goes last, so that what could not be taken away now is known the next time; with `whole` the
 * journals stay as well then, since they say whose the entry is. */
static bool remove_folder(int parent_fd, const char *name, bool whole)
{
        int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        DIR *folder = fd < 0 ? NULL : fdopendir(fd);
        bool all;

        if (!folder) {
                (void)bth_close(fd);
                return false;
        }
        all = unlink_files(folder, false);
        if (all || !whole)
                all = unlink_files(folder, true) && all;
        if (all && unlinkat(dirfd(folder), DMN_SPOOL_RESULT, 0) == 0)
                all = unlinkat(parent_fd, name, AT_REMOVEDIR) == 0;
        (void)closedir(folder);
        return all;
}

static void forget_one(int fd, const char *name, uint64_t before_usec)
{
        char text[NAME_MAX + sizeof DMN_SPOOL_RESULT + 2];

        (void)snprintf(text, sizeof text, "%s/" DMN_SPOOL_RESULT, name);
        if (is_old(fd, text, before_usec)) {
                if (!remove_folder(fd, name, false))
                        bth_log(LOG_WARNING,
                                "the spool's old entry '%s' cannot be taken away whole, ignoring",
                                name);
                return;
        }
        (void)snprintf(text, sizeof text, "%s.txt", name);
        if (is_old(fd, text, before_usec) && unlinkat(fd, name, 0) == 0)
                (void)unlinkat(fd, text, 0);
}

static void forget_in(const char *spool, const char *name, uint64_t before_usec)
{
        char path[PATH_MAX];
        const struct dirent *e;
        DIR *folder;

        if (snprintf(path, sizeof path, "%s/%s", spool, name) >= (int)sizeof path)
                return;
        folder = opendir(path);
        if (!folder)
                return;
        while ((e = readdir(folder)))
                if (e->d_name[0] != '.')
                        forget_one(dirfd(folder), e->d_name, before_usec);
        (void)closedir(folder);
}

void dmn_spool_forget(const char *spool, uint64_t before_usec)
{
        forget_in(spool, DMN_SPOOL_DONE, before_usec);
        forget_in(spool, DMN_SPOOL_REJECTED, before_usec);
}

/* --- of one job --- */

struct done {
        int fd; /* the folder `done` */
        struct job_store *store;
        const struct job_record *job;
        char says[DMN_IMPORT_NAME_MAX + sizeof DMN_SPOOL_MADE]; /* how its texts begin */
        struct bth_error *error;
};

static bool says_so(int folder_fd, const char *text, const char *says)
{
        _cleanup_close_ int fd =
                openat(folder_fd, text, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        const size_t n = strlen(says);
        char begin[DMN_IMPORT_NAME_MAX + sizeof DMN_SPOOL_MADE];
        struct stat st;

        return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
               read(fd, begin, n) == (ssize_t)n && memcmp(begin, says, n) == 0;
}

/* One code for all: the spool's trouble is not the store's. */
static int cannot_remove(const struct done *d, const char *name)
{
        bth_error_clear(d->error);
        bth_error_at(d->error, name, 0, BTH_ERROR_NO_OFFSET);
        bth_error_advise(d->error, "look at it in the folder " DMN_SPOOL_DONE " of the spool");
        return bth_error_set(d->error, -EPERM, BTH_REASON_FILE_UNWRITABLE,
                             "not all that the spool has of job '%s' can be taken away",
                             d->job->name);
}

/* An entry whose text names the job. One that cannot be read may be the job's, so that is told. */
static int is_made_from(const struct done *d, const char *name)
{
        _cleanup_(dmn_spool_entry_freep) struct dmn_spool_entry *entry = NULL;
        char sha256[65];

        if (dmn_spool_entry_read(d->fd, name, &entry, d->error) < 0 ||
            dmn_journals_sha256(entry->journals, entry->n_journals, sha256) < 0)
                return cannot_remove(d, name);
        return job_store_is_of_journal(d->store, d->job->id, sha256, d->error);
}

static int forget_folder(const struct done *d, const char *name)
{
        _cleanup_close_ int fd =
                openat(d->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        int r;

        if (fd < 0 || !says_so(fd, DMN_SPOOL_RESULT, d->says))
                return 0;
        r = is_made_from(d, name);
        return r <= 0 || remove_folder(d->fd, name, true) ? MIN(r, 0) : cannot_remove(d, name);
}

static int forget_file(const struct done *d, const char *name)
{
        char text[NAME_MAX + sizeof ".txt"];
        int r;

        (void)snprintf(text, sizeof text, "%s.txt", name);
        if (!says_so(d->fd, text, d->says))
                return 0;
        r = is_made_from(d, name);
        if (r <= 0)
                return r;
        return unlinkat(d->fd, name, 0) < 0 || unlinkat(d->fd, text, 0) < 0 ? cannot_remove(d, name)
                                                                            : 0;
}

/* All of them, also behind one that stays. */
static int forget_all(const struct done *d, DIR *folder)
{
        const struct dirent *e;
        struct stat st;
        int r = 0, k;

        while ((e = readdir(folder))) {
                if (e->d_name[0] == '.' || fstatat(d->fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        continue;
                k = S_ISDIR(st.st_mode)   ? forget_folder(d, e->d_name)
                    : S_ISREG(st.st_mode) ? forget_file(d, e->d_name)
                                          : 0;
                r = k < 0 ? k : r;
        }
        return r;
}

int dmn_spool_forget_job(const char *spool, struct job_store *store, const struct job_record *job,
                         struct bth_error *error)
{
        struct done d = { .store = store, .job = job, .error = error };
        char path[PATH_MAX];
        DIR *folder;
        int r;

        if (snprintf(path, sizeof path, "%s/" DMN_SPOOL_DONE, spool) >= (int)sizeof path)
                return 0;
        d.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (d.fd < 0) /* ENOENT: nothing was ever done */
                return errno == ENOENT ? 0 : cannot_remove(&d, DMN_SPOOL_DONE);
        folder = fdopendir(d.fd);
        if (!folder) {
                (void)bth_close(d.fd);
                return cannot_remove(&d, DMN_SPOOL_DONE);
        }
        (void)snprintf(d.says, sizeof d.says, DMN_SPOOL_MADE, job->name);
        r = forget_all(&d, folder);
        (void)closedir(folder);
        return r;
}
