/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bitlk-images - reads images.tsv and unpacks with xz, keeping holes. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/io.h"
#include "base/str.h"
#include "tests/lib/bitlk-images.h"

#define MAX_IMAGES 32

extern char **environ;

static char folder[128];

/* xz -dc FROM, its output written to TO with holes for zeros. */
static int unpack(const char *from, const char *to)
{
        char *const argv[] = { (char *)"xz", (char *)"-dc", (char *)(uintptr_t)from, NULL };
        _cleanup_close_ int out = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        posix_spawn_file_actions_t actions;
        static char buffer[1 << 20];
        int ends[2], status;
        uint64_t size = 0;
        pid_t pid;

        if (out < 0 || pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
        status = posix_spawnp(&pid, "xz", &actions, NULL, argv, environ);
        posix_spawn_file_actions_destroy(&actions);
        close(ends[1]);
        if (status != 0) {
                close(ends[0]);
                return -status;
        }
        for (;;) {
                ssize_t n = read(ends[0], buffer, sizeof buffer);

                if (n <= 0)
                        break;
                for (ssize_t at = 0; at < n; at += 4096) {
                        size_t take = (size_t)MIN(n - at, (ssize_t)4096);
                        static const char zeros[4096];

                        if (memcmp(buffer + at, zeros, take) != 0 &&
                            bth_pwrite_full(out, buffer + at, take, size + (uint64_t)at) < 0)
                                break;
                }
                size += (uint64_t)n;
        }
        close(ends[0]);
        if (waitpid(pid, &status, 0) < 0 || status != 0)
                return -EIO;
        return ftruncate(out, (off_t)size) < 0 ? -errno : 0;
}

static int add_credential(struct bitlk_image *image, const char *text, const char *data_folder)
{
        size_t k = image->n_credentials;
        char path[512], *data;
        size_t n;
        int r = 0;

        if (bth_starts_with(text, "pw ")) {
                image->credentials[k].kind = CRY_CREDENTIAL_PASSWORD;
                r = bth_secret_new_copy(text + 3, strlen(text + 3), &image->credentials[k].secret);
        } else if (bth_starts_with(text, "rp ")) {
                image->credentials[k].kind = CRY_CREDENTIAL_RECOVERY_PASSWORD;
                r = bth_secret_new_copy(text + 3, strlen(text + 3), &image->credentials[k].secret);
        } else if (bth_starts_with(text, "bek ")) {
                snprintf(path, sizeof path, "%s/%s", data_folder, text + 4);
                image->credentials[k].kind = CRY_CREDENTIAL_EXTERNAL_KEY;
                r = bth_read_file(path, 4096, &data, &n);
                if (r == 0) {
                        r = bth_secret_new_copy(data, n, &image->credentials[k].secret);
                        free(data);
                }
        } else {
                image->credentials[k].kind = CRY_CREDENTIAL_NONE;
        }
        image->n_credentials++;
        return r;
}

static int parse_line(char *line, const char *data_folder, struct bitlk_image *image)
{
        char *fields[7], *save = NULL;
        uint64_t v = 0;
        int r = 0;

        for (size_t i = 0; i < 7; i++)
                fields[i] = strsep(&line, "\t");
        if (!fields[6])
                return -EINVAL;
        snprintf(image->name, sizeof image->name, "%s", fields[0]);
        snprintf(image->cipher, sizeof image->cipher, "%s", fields[1]);
        (void)!bth_parse_u64(fields[2], &v);
        image->sector_bytes = (uint32_t)v;
        (void)!bth_parse_u64(fields[3], &image->size_bytes);
        if (strlen(fields[5]) == 64)
                memcpy(image->plain_sha256, fields[5], 65);
        for (char *c = strtok_r(fields[4], ";", &save); r == 0 && c; c = strtok_r(NULL, ";", &save))
                r = add_credential(image, c + strspn(c, " "), data_folder);
        return r;
}

int bitlk_images_open(struct bitlk_image **ret_images)
{
        const char *shared = getenv("BERTH_SHARED"), *tmp = getenv("TMPDIR");
        struct bitlk_image *images;
        char data_folder[400], path[600], *table, *line, *rest;
        int n = 0, r;

        snprintf(data_folder, sizeof data_folder, "%s/data/bitlk", shared ? shared : "../shared");
        snprintf(path, sizeof path, "%s/images.tsv", data_folder);
        if (access(path, R_OK) < 0)
                return -ENOENT;
        r = bth_read_file(path, 1 << 20, &table, NULL);
        if (r < 0)
                return r;
        snprintf(folder, sizeof folder, "%s/berth-bitlk-XXXXXX", tmp ? tmp : "/tmp");
        images = calloc(MAX_IMAGES, sizeof *images);
        if (!images || !mkdtemp(folder)) {
                free(images);
                free(table);
                return -ENOMEM;
        }
        rest = table;
        (void)strsep(&rest, "\n"); /* the header */
        while (r == 0 && n < MAX_IMAGES && (line = strsep(&rest, "\n")) && *line) {
                struct bitlk_image *image = &images[n];

                r = parse_line(line, data_folder, image);
                n++;
                if (r < 0)
                        break;
                snprintf(path, sizeof path, "%s/%s.xz", data_folder, image->name);
                snprintf(image->path, sizeof image->path, "%s/%s", folder, image->name);
                r = unpack(path, image->path);
        }
        free(table);
        if (r < 0) {
                bitlk_images_close(images, n);
                return r;
        }
        *ret_images = images;
        return n;
}

int bitlk_image_memfd(const char *name)
{
        const char *shared = getenv("BERTH_SHARED");
        _cleanup_close_ int fd = memfd_create("bitlk-image", MFD_CLOEXEC);
        char from[600], to[40];
        int r;

        snprintf(from, sizeof from, "%s/data/bitlk/%s.xz", shared ? shared : "../shared", name);
        if (access(from, R_OK) < 0)
                return -ENOENT;
        if (fd < 0)
                return -errno;
        snprintf(to, sizeof to, "/proc/self/fd/%d", fd);
        r = unpack(from, to);
        return r < 0 ? r : take_fd(fd);
}

void bitlk_images_close(struct bitlk_image *images, int n)
{
        for (int i = 0; i < n; i++) {
                for (size_t k = 0; k < images[i].n_credentials; k++)
                        (void)bth_secret_free(images[i].credentials[k].secret);
                (void)unlink(images[i].path);
        }
        free(images);
        (void)rmdir(folder);
}
