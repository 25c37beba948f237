/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs_writer - records, indexes and the bitmap are libntfs-3g's; the content of files is not.
 *
 * Two open inodes of one record would overwrite each other, so exactly one folder is open at a
 * time: the one that the last file went into. It is closed before any other is opened. */
#include "media/ntfs_writer.h"

#include <string.h>

#include "base/utf.h"
#include "media/ntfs_device.h"

#define NAME_MAX_UNITS 255

struct med_ntfs_writer {
        struct med_ntfs_device device;
        ntfs_volume *volume;
        ntfs_inode *folder; /* NULL: none is open */
        char *folder_path;  /* of `folder`, "" is the root */
};

/* One component of a path. */
struct name {
        ntfschar units[NAME_MAX_UNITS];
        u8 n;
};

static int set_name(const char *text, size_t n, struct name *ret, struct bth_error *error)
{
        size_t units = 0;
        int r = n > 0 ? bth_utf8_to_utf16(text, n, ret->units, NAME_MAX_UNITS, &units) : -EINVAL;

        if (r < 0)
                return bth_error_set(error, -EINVAL, BTH_REASON_NAME_INVALID,
                                     "'%.*s' cannot be a name on NTFS: at most 255 UTF-16 units",
                                     (int)MIN(n, 300u), text);
        ret->n = (u8)units;
        return 0;
}

/* "\a\b\c": `*ret_folder_bytes` is the length of "\a\b", and the name is "c". */
static int split(const char *path, size_t *ret_folder_bytes, struct name *ret,
                 struct bth_error *error)
{
        const char *last = strrchr(path, '\\');

        if (path[0] != '\\')
                return bth_error_set(error, -EINVAL, BTH_REASON_NAME_INVALID,
                                     "'%s' does not begin with '\\'", path);
        *ret_folder_bytes = (size_t)(last - path);
        return set_name(last + 1, strlen(last + 1), ret, error);
}

static int fail(const struct med_ntfs_writer *w, const char *doing, struct bth_error *error)
{
        return med_ntfs_device_error(&w->device, doing, error);
}

static int close_folder(struct med_ntfs_writer *w, struct bth_error *error)
{
        ntfs_inode *folder = take_ptr(w->folder);

        free(take_ptr(w->folder_path));
        return folder && ntfs_inode_close(folder) != 0 ? fail(w, "writing a folder", error) : 0;
}

/* The child's record in a folder. Returns 0, -ENOENT, other negative errno. */
static int look_up(struct med_ntfs_writer *w, ntfs_inode *folder, const struct name *name,
                   MFT_REF *ret, struct bth_error *error)
{
        u64 found;

        errno = 0;
        found = ntfs_inode_lookup_by_name(folder, name->units, name->n);
        if (found == (u64)-1)
                return errno == ENOENT || errno == 0 ? -ENOENT
                                                     : fail(w, "looking a name up", error);
        *ret = MREF(found);
        return 0;
}

/* Goes from an open folder to its child, which is made when `make` is set. The folder is closed. */
static int descend(struct med_ntfs_writer *w, ntfs_inode *folder, const struct name *name,
                   bool make, ntfs_inode **ret_child, struct bth_error *error)
{
        MFT_REF reference = 0;
        ntfs_inode *child;
        int r = look_up(w, folder, name, &reference, error);

        if (r == -ENOENT && make) {
                child = ntfs_create(folder, const_cpu_to_le32(0), name->units, name->n, S_IFDIR);
                r = child ? 0 : fail(w, "making a folder", error);
                if (child) {
                        reference = child->mft_no;
                        if (ntfs_inode_close_in_dir(child, folder) != 0)
                                r = fail(w, "making a folder", error);
                }
        }
        if (ntfs_inode_close(folder) != 0 && r == 0)
                r = fail(w, "writing a folder", error);
        if (r < 0)
                return r;
        child = ntfs_inode_open(w->volume, reference);
        if (!child)
                return fail(w, "opening a folder", error);
        if (!(child->mrec->flags & MFT_RECORD_IS_DIRECTORY)) {
                (void)ntfs_inode_close(child);
                return bth_error_set(error, -ENOTDIR, BTH_REASON_NAME_INVALID,
                                     "a folder is needed where the volume has a file");
        }
        *ret_child = child;
        return 0;
}

/* Opens the folder of the path's first `n` bytes ("" or "\a\b"). Returns 0, -ENOENT (only without
 * `make`), … */
static int open_folder(struct med_ntfs_writer *w, const char *path, size_t n, bool make,
                       struct bth_error *error)
{
        ntfs_inode *at;
        int r;

        if (w->folder && strlen(w->folder_path) == n && memcmp(w->folder_path, path, n) == 0)
                return 0;
        r = close_folder(w, error);
        if (r < 0)
                return r;
        at = ntfs_inode_open(w->volume, FILE_root);
        if (!at)
                return fail(w, "opening the root folder", error);
        for (size_t begin = 1; begin < n;) {
                const char *end = memchr(path + begin, '\\', n - begin);
                const size_t stop = end ? (size_t)(end - path) : n;
                struct name name;

                r = set_name(path + begin, stop - begin, &name, error);
                if (r < 0)
                        (void)ntfs_inode_close(at);
                else
                        r = descend(w, at, &name, make, &at, error);
                if (r < 0)
                        return r;
                begin = stop + 1;
        }
        w->folder = at;
        w->folder_path = strndup(path, n);
        return w->folder_path ? 0
                              : bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY,
                                              "no memory for a path");
}

/* -- content
 * ----------------------------------------------------------------------------------------- */

/* What the caller is about to write counts as written: without this the file reads as zeros. */
static int set_initialized(ntfs_attr *a, uint64_t size_bytes)
{
        ntfs_attr_search_ctx *c = ntfs_attr_get_search_ctx(a->ni, NULL);
        int r = -1;

        if (!c)
                return -1;
        if (ntfs_attr_lookup(AT_DATA, AT_UNNAMED, 0, CASE_SENSITIVE, 0, NULL, 0, c) == 0) {
                c->attr->initialized_size = cpu_to_le64(size_bytes);
                a->initialized_size = (s64)size_bytes;
                ntfs_inode_mark_dirty(c->ntfs_ino);
                r = 0;
        }
        ntfs_attr_put_search_ctx(c);
        return r;
}

/* Returns 0 or -1 with errno, as the library. */
static int list_extents(const ntfs_volume *v, const ntfs_attr *a, struct med_ntfs_extent **ret,
                        size_t *ret_n)
{
        struct med_ntfs_extent *list;
        size_t n = 0;

        for (const runlist_element *run = a->rl; run && run->length > 0; run++)
                n++;
        list = calloc(MAX(n, (size_t)1), sizeof *list);
        if (!list)
                return -1;
        for (size_t i = 0; i < n; i++) {
                if (a->rl[i].lcn < 0) {
                        free(list);
                        errno = EIO;
                        return -1;
                }
                list[i] = (struct med_ntfs_extent){ (uint64_t)a->rl[i].lcn << v->cluster_size_bits,
                                                    (uint64_t)a->rl[i].length
                                                            << v->cluster_size_bits };
        }
        *ret = list;
        *ret_n = n;
        return 0;
}

/* One call of the library's allocator does not find all that is free: it may end where a zone of
 * the volume ends and call the volume full. Smaller steps come through. */
static int grow(const ntfs_volume *v, ntfs_attr *a, uint64_t size_bytes)
{
        uint64_t at = 0, step = size_bytes;

        if (size_bytes > (uint64_t)v->free_clusters << v->cluster_size_bits) {
                errno = ENOSPC;
                return -1;
        }
        while (at < size_bytes) {
                step = MIN(step, size_bytes - at);
                if (ntfs_attr_truncate_solid(a, (s64)(at + step)) == 0) {
                        at += step;
                        continue;
                }
                if (errno != ENOSPC || step <= v->cluster_size)
                        return -1;
                step = MAX(step / 4, (uint64_t)v->cluster_size);
        }
        return 0;
}

static int allocate(const ntfs_volume *v, ntfs_attr *a, uint64_t size_bytes,
                    struct med_ntfs_extent **ret, size_t *ret_n)
{
        if (size_bytes > INT64_MAX) {
                errno = EFBIG;
                return -1;
        }
        if (ntfs_attr_force_non_resident(a) != 0 || grow(v, a, size_bytes) != 0 ||
            set_initialized(a, size_bytes) != 0 || ntfs_attr_map_whole_runlist(a) != 0)
                return -1;
        return list_extents(v, a, ret, ret_n);
}

/* Behind what it gave the library leaves 16 MiB free for the file to grow. Ours have their length:
 * the next one follows at once, and the drive is written and read from its beginning to its end. */
static void leave_no_gap(ntfs_volume *v, const ntfs_attr *a)
{
        const runlist_element *last = NULL;
        LCN end;

        for (const runlist_element *run = a->rl; run && run->length > 0; run++)
                last = run;
        if (!last || last->lcn < 0)
                return;
        end = last->lcn + last->length;
        if (last->lcn >= v->mft_zone_end && end < v->nr_clusters)
                v->data1_zone_pos = end;
        else if (last->lcn < v->mft_zone_start && end < v->mft_zone_start)
                v->data2_zone_pos = end;
}

/* Gives the new, empty file its content or its clusters, and its times. */
static int fill(ntfs_volume *v, ntfs_inode *inode, const struct med_ntfs_new_file *f,
                struct med_ntfs_extent **ret, size_t *ret_n)
{
        const u64 times[3] = { f->created, f->modified, f->modified };
        int r = 0;

        if (f->size_bytes > 0) {
                ntfs_attr *a = ntfs_attr_open(inode, AT_DATA, AT_UNNAMED, 0);

                if (!a)
                        return -1;
                if (f->content)
                        r = ntfs_attr_pwrite(a, 0, (s64)f->size_bytes, f->content) ==
                                            (s64)f->size_bytes
                                    ? 0
                                    : -1;
                else
                        r = allocate(v, a, f->size_bytes, ret, ret_n);
                if (r == 0)
                        leave_no_gap(v, a);
                ntfs_attr_close(a);
        }
        if (r == 0)
                r = ntfs_inode_set_times(inode, (const char *)times, sizeof times, 0) == 0 ? 0 : -1;
        NInoFileNameSetDirty(inode);
        return r;
}

/* Takes a file that could not be filled away again; the library closes both inodes. */
static void undo(struct med_ntfs_writer *w, ntfs_inode *inode, const struct name *name)
{
        const int saved = errno;

        free(take_ptr(w->folder_path));
        (void)ntfs_delete(w->volume, NULL, inode, take_ptr(w->folder), name->units, name->n);
        errno = saved;
}

int med_ntfs_writer_create(struct med_ntfs_writer *w, const struct med_ntfs_new_file *f,
                           struct med_ntfs_extent **ret_extents, size_t *ret_n,
                           struct bth_error *error)
{
        struct med_ntfs_extent *extents = NULL;
        MFT_REF reference;
        ntfs_inode *inode;
        size_t n_folder, n = 0;
        struct name name;
        int r = split(f->path, &n_folder, &name, error);

        if (r == 0)
                r = open_folder(w, f->path, n_folder, true, error);
        if (r == 0) {
                r = look_up(w, w->folder, &name, &reference, error);
                if (r == 0)
                        return bth_error_set(error, -EEXIST, BTH_REASON_NAME_INVALID,
                                             "the volume has a file '%s' already", f->path);
        }
        if (r != -ENOENT)
                return r;
        inode = ntfs_create(w->folder, const_cpu_to_le32(0), name.units, name.n, S_IFREG);
        if (!inode)
                return fail(w, "making a file", error);
        if (fill(w->volume, inode, f, &extents, &n) != 0) {
                undo(w, inode, &name);
                free(extents);
                return fail(w, "making room for a file", error);
        }
        if (ntfs_inode_close_in_dir(inode, w->folder) != 0) {
                free(extents);
                return fail(w, "making a file", error);
        }
        *ret_extents = extents;
        *ret_n = n;
        return 0;
}

/* -- names
 * ------------------------------------------------------------------------------------------- */

/* Opens the file's folder and the file. Returns 0, -ENOENT, other negative errno. */
static int open_file(struct med_ntfs_writer *w, const char *path, struct name *ret_name,
                     ntfs_inode **ret_inode, struct bth_error *error)
{
        MFT_REF reference;
        size_t n_folder;
        int r = split(path, &n_folder, ret_name, error);

        if (r == 0)
                r = open_folder(w, path, n_folder, false, error);
        if (r == 0)
                r = look_up(w, w->folder, ret_name, &reference, error);
        if (r < 0)
                return r;
        *ret_inode = ntfs_inode_open(w->volume, reference);
        return *ret_inode ? 0 : fail(w, "opening a file", error);
}

static int not_there(const char *path, struct bth_error *error)
{
        return bth_error_set(error, -ENOENT, BTH_REASON_NAME_INVALID, "the volume has no file '%s'",
                             path);
}

int med_ntfs_writer_remove(struct med_ntfs_writer *w, const char *path, struct bth_error *error)
{
        ntfs_inode *inode;
        struct name name;
        int r = open_file(w, path, &name, &inode, error);

        if (r < 0)
                return r == -ENOENT ? not_there(path, error) : r;
        free(take_ptr(w->folder_path));
        return ntfs_delete(w->volume, NULL, inode, take_ptr(w->folder), name.units, name.n) == 0
                       ? 0
                       : fail(w, "removing a file", error);
}

int med_ntfs_writer_remove_folder(struct med_ntfs_writer *w, const char *path,
                                  struct bth_error *error)
{
        ntfs_inode *inode;
        struct name name;
        int r = open_file(w, path, &name, &inode, error);

        if (r < 0)
                return r == -ENOENT ? 0 : r;
        if (!(inode->mrec->flags & MFT_RECORD_IS_DIRECTORY))
                return ntfs_inode_close_in_dir(inode, w->folder) == 0
                               ? 0
                               : fail(w, "closing a file", error);
        free(take_ptr(w->folder_path));
        if (ntfs_delete(w->volume, NULL, inode, take_ptr(w->folder), name.units, name.n) == 0)
                return 1;
        return errno == ENOTEMPTY ? 0 : fail(w, "removing a folder", error);
}

int med_ntfs_writer_rename(struct med_ntfs_writer *w, const char *path, const char *new_path,
                           struct bth_error *error)
{
        struct name name, new_name;
        MFT_REF reference;
        size_t n_folder;
        ntfs_inode *inode;
        int r = split(new_path, &n_folder, &new_name, error);

        if (r == 0)
                r = open_file(w, path, &name, &inode, error);
        if (r < 0)
                return r == -ENOENT ? not_there(path, error) : r;
        r = look_up(w, w->folder, &new_name, &reference, error);
        if (r == 0)
                r = bth_error_set(error, -EEXIST, BTH_REASON_NAME_INVALID,
                                  "the volume has a file '%s' already", new_path);
        else if (r == -ENOENT)
                r = ntfs_link(inode, w->folder, new_name.units, new_name.n) == 0
                            ? 0
                            : fail(w, "renaming a file", error);
        if (r < 0) {
                (void)ntfs_inode_close(inode);
                return r;
        }
        free(take_ptr(w->folder_path));
        return ntfs_delete(w->volume, NULL, inode, take_ptr(w->folder), name.units, name.n) == 0
                       ? 0
                       : fail(w, "renaming a file", error);
}

int med_ntfs_writer_exists(struct med_ntfs_writer *w, const char *path, struct bth_error *error)
{
        ntfs_inode *inode;
        struct name name;
        int r = open_file(w, path, &name, &inode, error);

        if (r < 0)
                return r == -ENOENT ? 0 : r;
        return ntfs_inode_close_in_dir(inode, w->folder) == 0 ? 1
                                                              : fail(w, "closing a file", error);
}

/* -- life
 * -------------------------------------------------------------------------------------------- */

int med_ntfs_writer_open(struct bth_source *source, struct bth_sink *sink,
                         struct med_ntfs_writer **ret_writer, struct bth_error *error)
{
        struct med_ntfs_writer *w = calloc(1, sizeof *w);
        int r = w ? 0 : -ENOMEM;

        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY,
                                     "no memory for the file system");
        w->device = (struct med_ntfs_device){ .source = source, .sink = sink };
        r = med_ntfs_device_mount(&w->device, &w->volume, error);
        if (r == 0 && ntfs_volume_get_free_space(w->volume) != 0) {
                r = fail(w, "counting free space", error);
                (void)ntfs_umount(w->volume, TRUE);
        }
        if (r < 0) {
                free(w);
                return r;
        }
        *ret_writer = w;
        return 0;
}

int med_ntfs_writer_close(struct med_ntfs_writer *w, struct bth_error *error)
{
        int r, q;

        if (!w)
                return 0;
        r = close_folder(w, error);
        q = med_ntfs_device_unmount(&w->device, w->volume, r < 0 ? NULL : error);
        free(w);
        return r < 0 ? r : q;
}

uint64_t med_ntfs_writer_free_bytes(const struct med_ntfs_writer *w)
{
        return w->volume->free_clusters > 0
                       ? (uint64_t)w->volume->free_clusters << w->volume->cluster_size_bits
                       : 0;
}

uint32_t med_ntfs_writer_cluster_bytes(const struct med_ntfs_writer *w)
{
        return w->volume->cluster_size;
}
