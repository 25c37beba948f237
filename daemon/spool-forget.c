/* SPDX-License-Identifier: GPL-3.0-or-later */
/* spool-forget - what became of old entries of the spool is taken away: journals hold the keys of
 * drives, and job.conf the number of a parcel, and neither is to outlive the job.
 *
 *     done/NAME/, rejected/NAME/   with result.txt        as old as result.txt
 *     done/X.jrn and X.jrn.txt                            as old as X.jrn.txt
 *
 * What has no such text was put there by somebody else, and stays. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/time.h"
#include "daemon/spool.h"

static bool is_old(int folder_fd, const char *text, uint64_t before_usec)
{
        struct stat st;

        return fstatat(folder_fd, text, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
               (uint64_t)MAX(st.st_mtim.tv_sec, 0) * BTH_USEC_PER_SEC < before_usec;
}

/* One level of plain files, which is all that an entry has; whatever else there is holds it. The
 * text goes last, so that what could not be taken away now is known the next time. */
static void remove_folder(int parent_fd, const char *name)
{
        int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        DIR *folder = fd < 0 ? NULL : fdopendir(fd);
        bool all = true;
        const struct dirent *e;

        if (!folder) {
                (void)bth_close(fd);
                return;
        }
        while ((e = readdir(folder)))
                if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
                    strcmp(e->d_name, DMN_SPOOL_RESULT) != 0)
                        all = unlinkat(dirfd(folder), e->d_name, 0) == 0 && all;
        if (all && unlinkat(dirfd(folder), DMN_SPOOL_RESULT, 0) == 0)
                all = unlinkat(parent_fd, name, AT_REMOVEDIR) == 0;
        if (!all)
                bth_log(LOG_WARNING,
                        "the spool's old entry '%s' cannot be taken away whole, ignoring", name);
        (void)closedir(folder);
}

static void forget_one(int fd, const char *name, uint64_t before_usec)
{
        char text[NAME_MAX + sizeof DMN_SPOOL_RESULT + 2];

        (void)snprintf(text, sizeof text, "%s/" DMN_SPOOL_RESULT, name);
        if (is_old(fd, text, before_usec)) {
                remove_folder(fd, name);
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
