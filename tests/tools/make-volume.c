/* SPDX-License-Identifier: GPL-3.0-or-later */
/* make-volume - a BitLocker volume with files in it, for tests that let other programs read it.
 *
 *     make-volume OUT SIZE_MIB METHOD SECTOR_BYTES CLUSTER_BYTES [FILE…]
 *
 * METHOD is xts-128 or xts-256. FILE is one of
 *
 *     PATH              copied into the root, by ntfscp
 *     PATH=\FOLDER\NAME copied to there, by our own writer
 *     many:COUNT        \bulk\III\fI for I from 0: "file I\n", 20 times; every eighth 400 times
 *     large:NAME:BYTES  made without writing its clusters: what they hold is noise
 *     sized:COUNT:BYTES \BYTES\III\fI for I from 0: noise as well, or zeros where they are small
 *     packed:PATH       copied into \packed by ntfs-3g over FUSE, compressed by NTFS; ends with 77
 *                       where that cannot be mounted
 *     over:PATH         the first 8 KiB of PATH take the place of the volume's own, so that what is
 *                       encrypted is not NTFS
 *
 * Leaves OUT, and beside it OUT.plain (the file system before encryption), OUT.extents (what of it
 * is used), OUT.recovery, OUT.bek, OUT.external (base64) and OUT.password. */
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"
#include "base/str.h"
#include "crypto/volume_writer.h"
#include "media/ntfs_format.h"
#include "media/ntfs_writer.h"

extern char **environ;

static _noreturn_ void die(const char *what, int r, const struct bth_error *e)
{
        char text[1536];

        if (e && e->code < 0)
                fprintf(stderr, "make-volume: %s\n", bth_error_to_string(e, text, sizeof text));
        else
                fprintf(stderr, "make-volume: %s: %s\n", what, bth_strerror(r));
        exit(1);
}

static void write_beside(const char *out, const char *suffix, const void *data, size_t n)
{
        char path[4096];
        int r;

        snprintf(path, sizeof path, "%s.%s", out, suffix);
        r = bth_write_file_atomic(path, data, n, 0600);
        if (r < 0)
                die(path, r, NULL);
}

static int run(const char *const *argv)
{
        int status;
        pid_t pid;

        if (posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, environ) != 0 ||
            waitpid(pid, &status, 0) < 0 || status != 0)
                return -EIO;
        return 0;
}

#define RUN(...) run((const char *const[]){ __VA_ARGS__, NULL })

static const char *base_name(const char *path)
{
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

/* ntfscp of the library's own tools puts the files in. */
static void copy_in(const char *plain, const char *file)
{
        if (RUN("ntfscp", "-q", "-f", plain, file, base_name(file)) < 0)
                die("ntfscp", -EIO, NULL);
}

/* Those that are to be compressed, through a folder whose new files are. */
static void pack_in(const char *plain, char *const *arguments, int n)
{
        static const unsigned char compressed[4] = { 0, 0, 0x08, 0 }; /* big-endian */
        char mount[] = "/tmp/make-volume-XXXXXX", folder[64];
        int r = 0;

        if (!mkdtemp(mount))
                die(mount, -errno, NULL);
        if (RUN("ntfs-3g", "-o", "compression", plain, mount) < 0) {
                (void)rmdir(mount);
                printf("SKIP: cannot run here: ntfs-3g over FUSE\n");
                exit(77);
        }
        snprintf(folder, sizeof folder, "%s/packed", mount);
        if (mkdir(folder, 0700) < 0 ||
            setxattr(folder, "system.ntfs_attrib_be", compressed, sizeof compressed, 0) < 0)
                r = -errno;
        for (int i = 0; i < n && r == 0; i++)
                if (bth_starts_with(arguments[i], "packed:"))
                        r = RUN("cp", arguments[i] + 7, folder);
        /* The mount point goes before the process that writes the image. */
        if (RUN("umount", mount) < 0)
                r = -EIO;
        (void)rmdir(mount);
        if (r < 0)
                die("compressing", r, NULL);
}

static bool wants(const char *what, char *const *arguments, int n)
{
        for (int i = 0; i < n; i++)
                if (bth_starts_with(arguments[i], what))
                        return true;
        return false;
}

#define OVER_BYTES 8192u

static void write_over(int plain_fd, char *const *arguments, int n)
{
        char data[OVER_BYTES];

        for (int i = 0; i < n; i++) {
                int fd, r;

                if (!bth_starts_with(arguments[i], "over:"))
                        continue;
                fd = open(arguments[i] + 5, O_RDONLY | O_CLOEXEC);
                r = fd < 0 ? -errno : bth_pread_full(fd, data, sizeof data, 0);
                if (r == 0)
                        r = bth_pwrite_full(plain_fd, data, sizeof data, 0);
                if (r < 0)
                        die(arguments[i], r, NULL);
                close(fd);
        }
}

/* The path on the volume of an argument FILE=\PATH, or NULL. */
static const char *path_of(const char *argument)
{
        const char *at = strstr(argument, "=\\");

        return at ? at + 1 : NULL;
}

static void write_content(struct bth_sink *sink, const struct med_ntfs_extent *extents, size_t n,
                          const char *data, size_t left)
{
        for (size_t i = 0; i < n && left > 0; i++) {
                const size_t take = (size_t)MIN((uint64_t)left, extents[i].length_bytes);
                int r = bth_sink_write(sink, extents[i].offset_bytes, data, take);

                if (r < 0)
                        die("writing", r, NULL);
                data += take;
                left -= take;
        }
}

static void add_file(struct med_ntfs_writer *w, struct bth_sink *sink, const char *argument)
{
        _cleanup_free_ char *data = NULL, *from = NULL;
        _cleanup_free_ struct med_ntfs_extent *extents = NULL;
        const char *path = path_of(argument);
        struct bth_error e = BTH_ERROR_INIT;
        size_t n, n_extents = 0;
        int r;

        from = strndup(argument, (size_t)(path - 1 - argument));
        r = from ? bth_read_file(from, SIZE_MAX - 1, &data, &n) : -ENOMEM;
        if (r < 0)
                die(argument, r, NULL);
        const struct med_ntfs_new_file file = {
                .path = path,
                .size_bytes = n,
                .created = 130000000000000000,
                .modified = 130000000000000000,
                .content = n <= MED_NTFS_SMALL_BYTES ? data : NULL,
        };
        r = med_ntfs_writer_create(w, &file, &extents, &n_extents, &e);
        if (r < 0)
                die(argument, r, &e);
        write_content(sink, extents, n_extents, data, n);
}

/* --- files that are made --- */

#define SKIPS_MAX  4096
#define SKIP_BYTES (UINT64_C(4) << 20) /* shorter pieces are encrypted as they are */

static struct med_ntfs_extent skips[SKIPS_MAX]; /* places of large files */
static size_t n_skips;

static size_t fill(uint64_t i, char *text, size_t size)
{
        size_t n = (size_t)snprintf(text, size, "file %" PRIu64 "\n", i);
        size_t times = i % 8 == 0 ? 400 : 20;

        for (size_t k = 1; k < times; k++)
                memcpy(text + k * n, text, n);
        return n * times;
}

static void make_many(struct med_ntfs_writer *w, struct bth_sink *sink, uint64_t count)
{
        static char text[16384];
        struct bth_error e = BTH_ERROR_INIT;

        for (uint64_t i = 0; i < count; i++) {
                struct med_ntfs_extent *places;
                struct med_ntfs_new_file f = { .created = 132000000000000000 };
                char path[64];
                size_t n;
                int r;

                snprintf(path, sizeof path, "\\bulk\\%03" PRIu64 "\\f%" PRIu64, i / 1000, i);
                f.path = path;
                f.size_bytes = fill(i, text, sizeof text);
                f.modified = f.created;
                f.content = f.size_bytes <= MED_NTFS_SMALL_BYTES ? text : NULL;
                r = med_ntfs_writer_create(w, &f, &places, &n, &e);
                if (r < 0)
                        die(path, r, &e);
                if (!f.content)
                        write_content(sink, places, n, text, (size_t)f.size_bytes);
                free(places);
        }
}

static void make_noise(struct med_ntfs_writer *w, const char *path, uint64_t size_bytes)
{
        const struct med_ntfs_new_file f = { .path = path,
                                             .size_bytes = size_bytes,
                                             .created = 132000000000000000,
                                             .modified = 132000000000000000 };
        struct bth_error e = BTH_ERROR_INIT;
        struct med_ntfs_extent *places;
        size_t n;
        int r = med_ntfs_writer_create(w, &f, &places, &n, &e);

        if (r < 0)
                die(path, r, &e);
        for (size_t i = 0; i < n; i++) {
                if (places[i].length_bytes < SKIP_BYTES)
                        continue;
                if (n_skips == SKIPS_MAX)
                        die("too many pieces", -E2BIG, NULL);
                skips[n_skips++] = places[i];
        }
        free(places);
}

static void make_large(struct med_ntfs_writer *w, const char *wish)
{
        const char *colon = strchr(wish, ':');
        uint64_t size;
        char path[64];

        if (!colon || bth_parse_u64(colon + 1, &size) < 0)
                die(wish, -EINVAL, NULL);
        snprintf(path, sizeof path, "\\%.*s", (int)(colon - wish), wish);
        make_noise(w, path, size);
}

static void make_sized(struct med_ntfs_writer *w, const char *wish)
{
        const char *colon = strchr(wish, ':');
        uint64_t count, size;
        char path[96];

        if (!colon || bth_parse_u64_n(wish, (size_t)(colon - wish), &count) < 0 ||
            bth_parse_u64(colon + 1, &size) < 0)
                die(wish, -EINVAL, NULL);
        for (uint64_t i = 0; i < count; i++) {
                snprintf(path, sizeof path, "\\%" PRIu64 "\\%03" PRIu64 "\\f%" PRIu64, size,
                         i / 1000, i);
                make_noise(w, path, size);
        }
}

static bool is_made(const char *argument)
{
        return bth_starts_with(argument, "many:") || bth_starts_with(argument, "large:") ||
               bth_starts_with(argument, "sized:");
}

/* Not by the writer: by another program, or later. */
static bool is_elsewhere(const char *argument)
{
        return bth_starts_with(argument, "packed:") || bth_starts_with(argument, "over:");
}

static void make_files(struct med_ntfs_writer *w, struct bth_sink *sink, const char *argument)
{
        uint64_t count;

        if (bth_starts_with(argument, "large:"))
                make_large(w, argument + 6);
        else if (bth_starts_with(argument, "sized:"))
                make_sized(w, argument + 6);
        else if (bth_parse_u64(argument + 5, &count) == 0)
                make_many(w, sink, count);
        else
                die(argument, -EINVAL, NULL);
}

static bool is_skipped(uint64_t offset, uint64_t length)
{
        for (size_t i = 0; i < n_skips; i++)
                if (offset >= skips[i].offset_bytes &&
                    offset + length <= skips[i].offset_bytes + skips[i].length_bytes)
                        return true;
        return false;
}

static void add_files(int plain_fd, char **arguments, int n)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct bth_source *source = NULL;
        struct bth_sink *sink = NULL;
        struct med_ntfs_writer *w = NULL;
        int r = bth_source_new_fd(plain_fd, false, &source);

        if (r == 0)
                r = bth_sink_new_fd(plain_fd, false, &sink);
        if (r == 0)
                r = med_ntfs_writer_open(source, sink, &w, &e);
        if (r < 0)
                die("the writer", r, &e);
        for (int i = 0; i < n; i++)
                if (is_made(arguments[i]))
                        make_files(w, sink, arguments[i]);
                else if (path_of(arguments[i]))
                        add_file(w, sink, arguments[i]);
        r = med_ntfs_writer_close(w, &e);
        if (r < 0)
                die("the writer", r, &e);
        (void)bth_sink_free(sink);
        (void)bth_source_free(source);
}

/* --- encryption --- */

static void copy_extents(const char *out, int plain_fd, struct bth_sink *sink,
                         const struct med_ntfs_extent *extents, size_t n)
{
        _cleanup_free_ uint8_t *buffer = malloc(1 << 20);
        _cleanup_buf_ struct bth_buf list = BTH_BUF_INIT;

        for (size_t i = 0; i < n; i++) {
                if (bth_buf_add_format(&list, "%" PRIu64 " %" PRIu64 "\n", extents[i].offset_bytes,
                                       extents[i].length_bytes) < 0)
                        die("memory", -ENOMEM, NULL);
                for (uint64_t at = 0; at < extents[i].length_bytes;) {
                        size_t take = (size_t)MIN(UINT64_C(1) << 20, extents[i].length_bytes - at);
                        uint64_t offset = extents[i].offset_bytes + at;
                        int r;

                        at += take;
                        if (is_skipped(offset, take))
                                continue;
                        r = bth_pread_full(plain_fd, buffer, take, offset);
                        if (r == 0)
                                r = bth_sink_write(sink, offset, buffer, take);
                        if (r < 0)
                                die("copying", r, NULL);
                }
        }
        write_beside(out, "extents", list.data, list.length);
}

static void write_keys(const char *out, const struct cry_volume_writer *w,
                       const struct bth_secret *password)
{
        const struct bth_secret *recovery = cry_volume_writer_recovery_password(w);
        const struct bth_secret *bek = cry_volume_writer_bek(w);
        char external[BTH_BASE64_LENGTH(32) + 1];

        write_beside(out, "recovery", recovery->data, recovery->length_bytes);
        write_beside(out, "bek", bek->data, bek->length_bytes);
        bth_base64_encode(cry_volume_writer_external_key(w)->data, 32, external);
        write_beside(out, "external", external, strlen(external));
        write_beside(out, "password", password->data, password->length_bytes);
}

int main(int argc, char **argv)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct med_ntfs_region regions[MED_NTFS_REGIONS];
        struct med_ntfs_extent *extents;
        struct bth_secret *password = NULL;
        struct cry_volume_writer *w = NULL;
        struct bth_source *readback = NULL;
        struct bth_sink *device = NULL;
        const char *password_text;
        uint64_t size, sector, cluster;
        char plain[4096];
        size_t n;
        int fd, plain_fd, r;

        if (argc < 6 || bth_parse_u64(argv[2], &size) < 0 || bth_parse_u64(argv[4], &sector) < 0 ||
            bth_parse_u64(argv[5], &cluster) < 0)
                die("usage", -EINVAL, NULL);
        size <<= 20;
        /* Not every reader takes a password outside ASCII, so only some volumes have one. */
        password_text = sector == 4096 ? "berth \xc3\xbc test" : "berth test";
        snprintf(plain, sizeof plain, "%s.plain", argv[1]);
        plain_fd = open(plain, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || plain_fd < 0 || ftruncate(fd, (off_t)size) < 0)
                die(argv[1], -errno, NULL);

        const struct med_ntfs_params ntfs = { .volume_bytes = size,
                                              .sector_bytes = (uint32_t)sector,
                                              .cluster_bytes = (uint32_t)cluster,
                                              .partition_start_sectors = 2048,
                                              .label = "BERTH" };
        r = med_ntfs_make(plain_fd, &ntfs, &e);
        if (r == 0)
                r = med_ntfs_reserve(plain_fd, regions, &e);
        if (r < 0)
                die("formatting", r, &e);
        for (int i = 6; i < argc; i++)
                if (!path_of(argv[i]) && !is_made(argv[i]) && !is_elsewhere(argv[i]))
                        copy_in(plain, argv[i]);
        if (wants("packed:", argv + 6, argc - 6))
                pack_in(plain, argv + 6, argc - 6);
        add_files(plain_fd, argv + 6, argc - 6);
        r = med_ntfs_used_extents(plain_fd, regions, MED_NTFS_REGIONS, &extents, &n, &e);
        if (r < 0)
                die("extents", r, &e);
        write_over(plain_fd, argv + 6, argc - 6);

        if (bth_sink_new_fd(fd, false, &device) < 0 ||
            bth_source_new_fd(fd, false, &readback) < 0 ||
            bth_secret_new_copy(password_text, strlen(password_text), &password) < 0)
                die("memory", -ENOMEM, NULL);
        const struct cry_volume_params params = {
                .method = strcmp(argv[3], "xts-128") == 0 ? CRY_METHOD_AES_XTS_128
                                                          : CRY_METHOD_AES_XTS_256,
                .sector_bytes = (uint32_t)sector,
                .cluster_bytes = (uint32_t)cluster,
                .partition_start_sectors = 2048,
                .description = "BERTH TEST \xc3\xbc",
                .password = password,
                .external_key = true,
        };
        const struct cry_volume_layout layout = {
                .copies = { regions[0].offset_bytes, regions[1].offset_bytes,
                            regions[2].offset_bytes },
                .header_offset = regions[3].offset_bytes,
                .area_offset = regions[4].offset_bytes,
        };
        r = cry_volume_writer_new(device, readback, &params, &layout, &w, &e);
        if (r < 0)
                die("the writer", r, &e);
        copy_extents(argv[1], plain_fd, cry_volume_writer_sink(w), extents, n);
        r = cry_volume_writer_finish(w, &e);
        if (r < 0)
                die("finishing", r, &e);
        write_keys(argv[1], w, password);
        (void)cry_volume_writer_free(w);
        (void)bth_secret_free(password);
        (void)bth_sink_free(device);
        (void)bth_source_free(readback);
        free(extents);
        close(fd);
        close(plain_fd);
        return 0;
}
