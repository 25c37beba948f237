/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/worker-connect.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/io.h"

#define SEND_MAX_SEC 5
#define FOLDER_MODE  0770
#define FILE_MODE    0660

bool dmn_worker_is_socket(const char *path)
{
        struct stat st;

        return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

int dmn_worker_connect(const char *path, int *ret_fd, struct bth_error *error)
{
        static const struct timeval patience = { .tv_sec = SEND_MAX_SEC };
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = BTH_FD_NONE;
        int r = 0;

        if (strlen(path) >= sizeof address.sun_path)
                return bth_error_set(error, -ENAMETOOLONG, BTH_REASON_VALUE_INVALID,
                                     "the path of the workers' socket is too long: %s", path);
        memcpy(address.sun_path, path, strlen(path) + 1);
        /* Not blocking for as long as it takes to connect: a full queue is an error. */
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0 ||
            fcntl(fd, F_SETFL, 0) < 0)
                r = -errno;
        if (r == 0) {
                *ret_fd = take_fd(fd);
                return 0;
        }
        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        return bth_error_set(error, r, BTH_REASON_INTERNAL, "no worker can be had there: %s",
                             bth_strerror(r));
}

/* A file that a run left which was our child, and so of our own group. */
static int share_file(int folder_fd, const char *name, gid_t group)
{
        _cleanup_close_ int fd =
                openat(folder_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        struct stat st;

        if (fd < 0) /* a symbolic link, gone, or not ours to read */
                return errno == ELOOP || errno == ENOENT || errno == EACCES || errno == ENXIO
                               ? 0
                               : -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid != geteuid())
                return 0;
        if (st.st_gid != group && fchown(fd, (uid_t)-1, group) < 0)
                return -errno;
        return (st.st_mode & 07777) != FILE_MODE && fchmod(fd, FILE_MODE) < 0 ? -errno : 0;
}

static int share_files(int folder_fd, gid_t group)
{
        int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
        DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
        const struct dirent *e;

        if (!folder) {
                r = -errno;
                (void)bth_close(fd);
                return r;
        }
        while (r == 0 && (e = readdir(folder)))
                if (e->d_name[0] != '.')
                        r = share_file(folder_fd, e->d_name, group);
        (void)closedir(folder);
        return r;
}

int dmn_worker_share_folder(const char *path, int folder_fd, struct bth_error *error)
{
        struct stat socket, folder;
        int r = 0;

        if (stat(path, &socket) < 0 || fstat(folder_fd, &folder) < 0)
                r = -errno;
        else if (folder.st_gid == socket.st_gid && (folder.st_mode & 07777) == FOLDER_MODE)
                return 0;
        /* The files first: a folder that is shared is one whose files are. */
        if (r == 0)
                r = share_files(folder_fd, socket.st_gid);
        if (r == 0 &&
            (fchown(folder_fd, (uid_t)-1, socket.st_gid) < 0 || fchmod(folder_fd, FOLDER_MODE) < 0))
                r = -errno;
        return r < 0 ? bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                                     "the folder for the transfer cannot be given to the group of "
                                     "'%s': %s",
                                     path, bth_strerror(r))
                     : 0;
}
