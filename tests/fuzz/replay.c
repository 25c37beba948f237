/* SPDX-License-Identifier: GPL-3.0-or-later */
/* replay - runs a fuzz target over the files of folders, so that every build checks every known
 * input. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/macros.h"

#define REPLAY_MAX_BYTES ((size_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int replay_file(const char *path)
{
        _cleanup_free_ char *data = NULL;
        size_t n;
        int r = bth_read_file(path, REPLAY_MAX_BYTES, &data, &n);

        if (r < 0) {
                fprintf(stderr, "%s: %s\n", path, strerror(-r));
                return r;
        }
        /* A copy of exact size, so that the sanitizer sees a read behind the end. */
        _cleanup_free_ uint8_t *exact = malloc(n > 0 ? n : 1);
        if (!exact)
                return -ENOMEM;
        memcpy(exact, data, n);
        (void)LLVMFuzzerTestOneInput(exact, n);
        return 0;
}

static int replay_folder(const char *folder, unsigned *n_files)
{
        DIR *d = opendir(folder);
        int r = 0;

        if (!d) {
                fprintf(stderr, "%s: %s\n", folder, strerror(errno));
                return -errno;
        }
        for (struct dirent *e; r == 0 && (e = readdir(d));) {
                char path[4096];

                if (e->d_name[0] == '.')
                        continue;
                snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
                r = replay_file(path);
                (*n_files)++;
        }
        closedir(d);
        return r;
}

int main(int argc, char **argv)
{
        unsigned n_files = 0;

        for (int i = 1; i < argc; i++)
                if (replay_folder(argv[i], &n_files) < 0)
                        return 1;
        if (n_files == 0) {
                fprintf(stderr, "no seeds\n");
                return 1;
        }
        printf("%u inputs replayed\n", n_files);
        return 0;
}
