/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/transfers.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"

#define FOLDER_MODE 0700

static int make(const char *path)
{
        return mkdir(path, FOLDER_MODE) < 0 && errno != EEXIST ? -errno : 0;
}

int dmn_transfer_open(const char *state_directory, uint64_t job, size_t drive, int *ret_fd,
                      struct bth_error *error)
{
        char path[PATH_MAX];
        int r;

        (void)snprintf(path, sizeof path, "%s/" DMN_TRANSFERS, state_directory);
        r = make(path);
        (void)snprintf(path, sizeof path, "%s/" DMN_TRANSFERS "/%llu-%zu", state_directory,
                       (unsigned long long)job, drive);
        if (r == 0)
                r = make(path);
        if (r == 0) {
                *ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
                r = *ret_fd < 0 ? -errno : 0;
        }
        if (r == 0)
                return 0;
        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        return bth_error_set(error, r,
                             r == -ENOSPC ? BTH_REASON_DISK_FULL : BTH_REASON_FILE_UNWRITABLE,
                             "the folder for the transfer cannot be used: %s", bth_strerror(r));
}

/* "12-3" is of job 12. Returns 0 or -EINVAL. */
static int parse_name(const char *name, uint64_t *ret_job)
{
        const char *dash = strchr(name, '-');
        uint64_t drive;

        return dash && bth_parse_u64_n(name, (size_t)(dash - name), ret_job) == 0 &&
                               bth_parse_u64(dash + 1, &drive) == 0
                       ? 0
                       : -EINVAL;
}

/* 1: the job has ended, or is no more. */
static int is_over(struct job_store *store, uint64_t job, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        int r = job_store_get(store, job, &record, error);

        if (r == -ENOENT)
                return 1;
        return r < 0 ? r
                     : record->model.deleted || record->model.state == BTH_JOB_STATE_COMPLETED ||
                               record->model.state == BTH_JOB_STATE_CLOSED;
}

/* A worker keeps plain files only; whatever else there is holds the folder. */
static void remove_folder(int parent, const char *name)
{
        int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        DIR *folder = fd < 0 ? NULL : fdopendir(fd);
        const struct dirent *e;

        if (!folder) {
                (void)bth_close(fd);
                return;
        }
        while ((e = readdir(folder)))
                if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
                        (void)unlinkat(dirfd(folder), e->d_name, 0);
        (void)closedir(folder);
        (void)unlinkat(parent, name, AT_REMOVEDIR);
}

int dmn_transfers_forget(struct job_store *store, const char *state_directory,
                         struct bth_error *error)
{
        char path[PATH_MAX];
        const struct dirent *e;
        uint64_t job;
        DIR *folder;
        int r = 0;

        (void)snprintf(path, sizeof path, "%s/" DMN_TRANSFERS, state_directory);
        folder = opendir(path);
        if (!folder)
                return 0; /* nothing was ever transferred */
        while (r >= 0 && (e = readdir(folder))) {
                if (parse_name(e->d_name, &job) < 0)
                        continue;
                r = is_over(store, job, error);
                if (r > 0)
                        remove_folder(dirfd(folder), e->d_name);
        }
        (void)closedir(folder);
        return r < 0 ? r : 0;
}
