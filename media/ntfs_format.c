/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs_format - mkntfs as a child, libntfs-3g for the regions and the bitmap. */
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "base/checked.h"
#include "base/str.h"
#include "base/utf.h"
#include "media/libntfs.h"
#include "media/ntfs_format.h"

#define VOLUME_MIN_BYTES (UINT64_C(64) << 20)
#define VOLUME_UNIT      4096
#define FIRST_REGION_BYTES \
        (UINT64_C(33) << 20) /* where Windows puts the first one on fresh volumes */
#define OUTPUT_MAX        4096
#define LABEL_MAX_UNITS   32
#define BITMAP_READ_BYTES 65536

/* -- mkntfs
 * ------------------------------------------------------------------------------------------ */

/* Runs the program without a shell, with no environment of ours; keeps the last of what it says. */
static int run(const char *program, char *const argv[], int keep_fd, char output[OUTPUT_MAX])
{
        char *const environment[] = { (char *)"LC_ALL=C",
                                      (char *)"PATH=/usr/sbin:/sbin:/usr/bin:/bin", NULL };
        posix_spawn_file_actions_t actions;
        size_t used = 0;
        int ends[2], status, r;
        pid_t pid;

        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
        /* The same number, without close-on-exec: dup2() onto itself does that here. */
        posix_spawn_file_actions_adddup2(&actions, keep_fd, keep_fd);
        r = posix_spawn(&pid, program, &actions, NULL, argv, environment);
        posix_spawn_file_actions_destroy(&actions);
        (void)bth_close(ends[1]);
        while (r == 0) {
                char piece[512];
                ssize_t n = read(ends[0], piece, sizeof piece);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        break;
                n = MIN(n, (ssize_t)(OUTPUT_MAX - 1 - used));
                memcpy(output + used, piece, (size_t)n);
                used += (size_t)n;
        }
        output[used] = '\0';
        (void)bth_close(ends[0]);
        if (r != 0)
                return -r;
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static const char *find_mkntfs(void)
{
        static const char *const places[] = { "/usr/sbin/mkntfs", "/sbin/mkntfs",
                                              "/usr/bin/mkntfs" };

        for (size_t i = 0; i < ARRAY_SIZE(places); i++)
                if (access(places[i], X_OK) == 0)
                        return places[i];
        return NULL;
}

static int check_params(const struct med_ntfs_params *p, struct bth_error *error)
{
        uint8_t units[2 * LABEL_MAX_UNITS];
        size_t n;

        if (p->volume_bytes < VOLUME_MIN_BYTES || p->volume_bytes % VOLUME_UNIT != 0 ||
            p->volume_bytes > INT64_MAX)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "a volume has at least 64 MiB and a multiple of 4096 bytes");
        if ((p->sector_bytes != 512 && p->sector_bytes != 4096) ||
            (p->cluster_bytes != 0 && (!bth_is_power_of_two(p->cluster_bytes) ||
                                       p->cluster_bytes < 4096 || p->cluster_bytes > 65536)))
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "sectors have 512 or 4096 bytes, clusters 4096 to 65536");
        if (p->label &&
            bth_utf8_to_utf16(p->label, strlen(p->label), units, LABEL_MAX_UNITS, &n) < 0)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "the label is not UTF-8 or longer than 32 characters");
        return 0;
}

int med_ntfs_make(int scratch_fd, const struct med_ntfs_params *p, struct bth_error *error)
{
        const char *program = find_mkntfs();
        char path[32], sector[16], cluster[16], start[16], output[OUTPUT_MAX];
        char *argv[24];
        size_t n = 0;
        int r = check_params(p, error);

        if (r < 0)
                return r;
        if (!program) {
                (void)bth_error_set(error, -ENOENT, BTH_REASON_UNSUPPORTED,
                                    "mkntfs is not installed");
                bth_error_advise(error, "install the package ntfs-3g");
                return -ENOENT;
        }
        if (ftruncate(scratch_fd, (off_t)p->volume_bytes) < 0)
                return bth_error_set(error, -errno, BTH_REASON_FILE_UNWRITABLE,
                                     "the scratch file cannot have the volume's size: %s",
                                     bth_strerror(-errno));
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", scratch_fd);
        (void)snprintf(sector, sizeof sector, "%u", p->sector_bytes);
        (void)snprintf(cluster, sizeof cluster, "%u", MAX(p->cluster_bytes, 4096u));
        (void)snprintf(start, sizeof start, "%u", p->partition_start_sectors);
#define ARGUMENT(text) argv[n++] = (char *)(uintptr_t)(const void *)(text)
        ARGUMENT("mkntfs");
        ARGUMENT("-Q"); /* no zeros over the whole volume */
        ARGUMENT("-F"); /* a file is meant */
        ARGUMENT("-q");
        ARGUMENT("-s");
        ARGUMENT(sector);
        ARGUMENT("-c");
        ARGUMENT(cluster);
        ARGUMENT("-p");
        ARGUMENT(start);
        ARGUMENT("-H");
        ARGUMENT("255");
        ARGUMENT("-S");
        ARGUMENT("63");
        if (p->label) {
                ARGUMENT("-L");
                ARGUMENT(p->label);
        }
        ARGUMENT(path);
        argv[n] = NULL;
#undef ARGUMENT
        r = run(program, argv, scratch_fd, output);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_INTERNAL, "mkntfs failed: %.300s",
                                     output);
        return 0;
}

/* -- regions
 * ----------------------------------------------------------------------------------------- */

static const struct {
        const char *name;
        uint64_t length_bytes;
} region_files[MED_NTFS_REGIONS] = {
        { "FVE2.{e40ad34d-dae9-4bc7-95bd-b16218c10f72}.1", 65536 },
        { "FVE2.{e40ad34d-dae9-4bc7-95bd-b16218c10f72}.2", 65536 },
        { "FVE2.{e40ad34d-dae9-4bc7-95bd-b16218c10f72}.3", 65536 },
        { "FVE2.{24e6f0ae-6a00-4f73-984b-75ce9942852d}", 8192 },
        { "FVE2.{da392a22-cae0-4f0f-9a30-b8830385d046}", 65536 },
};

static ntfs_volume *mount_scratch(int scratch_fd, unsigned long flags, struct bth_error *error)
{
        char path[32];
        ntfs_volume *v;

        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", scratch_fd);
        ntfs_log_set_handler(ntfs_log_handler_null);
        v = ntfs_mount(path, flags);
        if (!v)
                (void)bth_error_set(error, -EIO, BTH_REASON_NTFS_DAMAGED,
                                    "the new file system cannot be opened: %s",
                                    bth_strerror(-errno));
        return v;
}

static int make_name(const char *text, ntfschar out[64], u8 *ret_n)
{
        size_t n;
        int r = bth_utf8_to_utf16(text, strlen(text), out, 64, &n);

        *ret_n = (u8)n;
        return r;
}

static int hide(ntfs_inode *inode)
{
        inode->flags |= FILE_ATTR_HIDDEN | FILE_ATTR_SYSTEM;
        NInoSetDirty(inode);
        NInoFileNameSetDirty(inode);
        return 0;
}

static ntfs_inode *open_or_make_folder(ntfs_volume *v)
{
        static const char name[] = "System Volume Information";
        ntfs_inode *root = ntfs_inode_open(v, FILE_root), *folder = NULL;
        ntfschar units[64];
        u8 n;

        if (!root || make_name(name, units, &n) < 0)
                return NULL;
        folder = ntfs_pathname_to_inode(v, root, name);
        if (!folder) {
                folder = ntfs_create(root, const_cpu_to_le32(0), units, n, S_IFDIR);
                if (folder)
                        (void)hide(folder);
        }
        (void)ntfs_inode_close(root);
        return folder;
}

/* Writes zeros, so that clusters are allocated where the zone begins, and says where that was. */
static int fill(ntfs_volume *v, ntfs_inode *inode, uint64_t length_bytes, uint64_t *ret_offset)
{
        _cleanup_free_ void *zeros = calloc(1, length_bytes);
        ntfs_attr *a = zeros ? ntfs_attr_open(inode, AT_DATA, AT_UNNAMED, 0) : NULL;
        const uint64_t clusters = length_bytes >> v->cluster_size_bits;
        int r = -EIO;

        if (!a)
                return -ENOMEM;
        if (ntfs_attr_pwrite(a, 0, (s64)length_bytes, zeros) == (s64)length_bytes &&
            ntfs_attr_map_whole_runlist(a) == 0 && NAttrNonResident(a)) {
                const runlist_element *run = a->rl;

                r = run && run->lcn >= 0 && (uint64_t)run->length >= MAX(clusters, (uint64_t)1)
                            ? 0
                            : -ENOSPC;
                if (r == 0)
                        *ret_offset = (uint64_t)run->lcn << v->cluster_size_bits;
        }
        ntfs_attr_close(a);
        return r;
}

static int reserve_one(ntfs_volume *v, ntfs_inode *folder, size_t i, uint64_t wish_bytes,
                       struct med_ntfs_region *ret_region)
{
        /* A cluster larger than the region is reserved whole. */
        const uint64_t length = MAX(region_files[i].length_bytes, (uint64_t)v->cluster_size);
        ntfschar units[64];
        ntfs_inode *inode;
        uint64_t offset = 0;
        u8 n;
        int r = make_name(region_files[i].name, units, &n);

        if (r < 0)
                return r;
        inode = ntfs_create(folder, const_cpu_to_le32(0), units, n, S_IFREG);
        if (!inode)
                return -EIO;
        v->data1_zone_pos = (LCN)(wish_bytes >> v->cluster_size_bits);
        r = fill(v, inode, length, &offset);
        (void)hide(inode);
        if (ntfs_inode_close_in_dir(inode, folder) < 0 && r == 0)
                r = -EIO;
        if (r == 0)
                *ret_region = (struct med_ntfs_region){ offset, region_files[i].length_bytes };
        return r;
}

/* The first at 33 MiB, the others at thirds of what is behind, as on Windows' own volumes. */
static uint64_t wish(size_t i, uint64_t volume_bytes)
{
        const uint64_t first = MIN(FIRST_REGION_BYTES, volume_bytes / 4);
        const uint64_t rest = volume_bytes - first;

        switch (i) {
        case 1:
                return first + rest / 3;
        case 2:
                return first + rest / 3 * 2;
        default:
                return first;
        }
}

int med_ntfs_reserve(int scratch_fd, struct med_ntfs_region ret_regions[MED_NTFS_REGIONS],
                     struct bth_error *error)
{
        /* The first copy, then what stands right behind it, then the others. */
        static const size_t order[MED_NTFS_REGIONS] = { 0, 3, 4, 1, 2 };
        ntfs_volume *v = mount_scratch(scratch_fd, 0, error);
        ntfs_inode *folder;
        int r = 0;

        if (!v)
                return -EIO;
        folder = open_or_make_folder(v);
        if (!folder)
                r = -EIO;
        for (size_t k = 0; r == 0 && k < MED_NTFS_REGIONS; k++) {
                uint64_t volume = (uint64_t)v->nr_clusters << v->cluster_size_bits;

                r = reserve_one(v, folder, order[k], wish(order[k], volume),
                                &ret_regions[order[k]]);
        }
        if (folder && ntfs_inode_close(folder) < 0 && r == 0)
                r = -EIO;
        if (ntfs_umount(v, FALSE) < 0 && r == 0)
                r = -EIO;
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_NTFS_DAMAGED,
                                     "the file system has no room for BitLocker's regions: %s",
                                     bth_strerror(r));
        return 0;
}

/* -- what is used
 * ------------------------------------------------------------------------------------ */

struct extent_list {
        struct med_ntfs_extent *items;
        size_t n, n_allocated;
};

static int add_extent(struct extent_list *l, uint64_t start, uint64_t end)
{
        if (start >= end)
                return 0;
        if (l->n > 0 &&
            l->items[l->n - 1].offset_bytes + l->items[l->n - 1].length_bytes == start) {
                l->items[l->n - 1].length_bytes += end - start;
                return 0;
        }
        if (l->n == l->n_allocated) {
                size_t grown = MAX(l->n_allocated * 2, (size_t)64);
                struct med_ntfs_extent *p = reallocarray(l->items, grown, sizeof *p);

                if (!p)
                        return -ENOMEM;
                l->items = p;
                l->n_allocated = grown;
        }
        l->items[l->n++] = (struct med_ntfs_extent){ start, end - start };
        return 0;
}

/* Adds [start, end) without the regions. */
static int add_outside(struct extent_list *l, uint64_t start, uint64_t end,
                       const struct med_ntfs_region *regions, size_t n_regions)
{
        while (start < end) {
                uint64_t stop = end, next = end;
                int r;

                for (size_t i = 0; i < n_regions; i++) {
                        const uint64_t a = regions[i].offset_bytes, b = a + regions[i].length_bytes;

                        if (start >= a && start < b) {
                                stop = start;
                                next = MIN(b, end);
                                break;
                        }
                        if (a > start && a < stop) {
                                stop = a;
                                next = a;
                        }
                }
                r = add_extent(l, start, stop);
                if (r < 0)
                        return r;
                start = next;
        }
        return 0;
}

static int walk_bitmap(ntfs_volume *v, const struct med_ntfs_region *regions, size_t n_regions,
                       struct extent_list *l)
{
        _cleanup_free_ uint8_t *bits = malloc(BITMAP_READ_BYTES);
        const uint64_t clusters = (uint64_t)v->nr_clusters;
        int r = bits ? 0 : -ENOMEM;

        for (uint64_t at = 0; r == 0 && at < clusters; at += BITMAP_READ_BYTES * 8) {
                const uint64_t n = MIN((uint64_t)BITMAP_READ_BYTES * 8, clusters - at);
                const s64 bytes = (s64)((n + 7) / 8);

                if (ntfs_attr_pread(v->lcnbmp_na, (s64)(at / 8), bytes, bits) != bytes)
                        return -EIO;
                for (uint64_t k = 0; r == 0 && k < n;) {
                        uint64_t first = k;

                        if (!(bits[k / 8] >> (k & 7) & 1)) {
                                k += k % 8 == 0 && bits[k / 8] == 0 ? 8 : 1;
                                continue;
                        }
                        while (k < n && bits[k / 8] >> (k & 7) & 1)
                                k++;
                        r = add_outside(l, (at + first) << v->cluster_size_bits,
                                        (at + k) << v->cluster_size_bits, regions, n_regions);
                }
        }
        return r;
}

int med_ntfs_used_extents(int scratch_fd, const struct med_ntfs_region *regions, size_t n_regions,
                          struct med_ntfs_extent **ret_extents, size_t *ret_n,
                          struct bth_error *error)
{
        ntfs_volume *v = mount_scratch(scratch_fd, NTFS_MNT_RDONLY, error);
        struct extent_list l = { 0 };
        uint64_t end;
        struct stat st;
        int r;

        if (!v)
                return -EIO;
        r = walk_bitmap(v, regions, n_regions, &l);
        /* The second boot sector stands behind the last cluster, in the volume's last sector. */
        end = (uint64_t)v->nr_clusters << v->cluster_size_bits;
        if (r == 0 && fstat(scratch_fd, &st) < 0)
                r = -errno;
        if (r == 0)
                r = add_extent(&l, MAX(end, (uint64_t)st.st_size - v->sector_size),
                               (uint64_t)st.st_size);
        (void)ntfs_umount(v, TRUE);
        if (r < 0) {
                free(l.items);
                return bth_error_set(error, r, BTH_REASON_NTFS_DAMAGED,
                                     "the space in use cannot be listed: %s", bth_strerror(r));
        }
        *ret_extents = l.items;
        *ret_n = l.n;
        return 0;
}
