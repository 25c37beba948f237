/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs_device - the operations that libntfs-3g calls. They follow its conventions: -1 and errno. */
#include "media/ntfs_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"

#define PIECE_BYTES ((uint64_t)64 << 10)

/* The library's own macros for these mix signs. */
#define STATE_OPEN      (1UL << ND_Open)
#define STATE_READ_ONLY (1UL << ND_ReadOnly)
#define STATE_DIRTY     (1UL << ND_Dirty)

static struct med_ntfs_device *of(struct ntfs_device *dev)
{
        return dev->d_private;
}

static int op_open(struct ntfs_device *dev, int flags)
{
        if ((flags & O_ACCMODE) != O_RDONLY && !of(dev)->sink) {
                errno = EROFS;
                return -1;
        }
        if (!of(dev)->sink)
                dev->d_state |= STATE_READ_ONLY;
        dev->d_state |= STATE_OPEN;
        return 0;
}

static int op_sync(struct ntfs_device *dev)
{
        /* Durability is the caller's: it commits when the whole of a change is written. */
        dev->d_state &= ~STATE_DIRTY;
        return 0;
}

static int op_close(struct ntfs_device *dev)
{
        dev->d_state &= ~STATE_DIRTY;
        dev->d_state &= ~STATE_OPEN;
        return 0;
}

static s64 op_seek(struct ntfs_device *dev, s64 offset, int whence)
{
        struct med_ntfs_device *d = of(dev);
        uint64_t base = whence == SEEK_CUR   ? d->position
                        : whence == SEEK_END ? d->source->size_bytes
                                             : 0;
        int64_t at;

        if (__builtin_add_overflow((int64_t)base, offset, &at) || at < 0) {
                errno = EINVAL;
                return -1;
        }
        d->position = (uint64_t)at;
        return at;
}

static s64 fail(struct med_ntfs_device *d, int r, s64 offset)
{
        if (d->failed == 0) {
                d->failed = r;
                d->failed_at = (uint64_t)offset;
        }
        errno = r == -ENOMEM ? ENOMEM : EIO;
        return -1;
}

static int read_source(struct med_ntfs_device *d, uint64_t offset, void *buffer, size_t n)
{
        int r;

        med_ntfs_guard_outside(d->guard);
        r = bth_source_read(d->source, offset, buffer, n);
        med_ntfs_guard_inside(d->guard);
        return r;
}

/* The piece that begins at `offset`, read now if it is not kept; NULL where it cannot be had. */
static const uint8_t *get_piece(struct med_ntfs_device *d, uint64_t offset)
{
        size_t oldest = 0;

        if (offset + PIECE_BYTES > d->source->size_bytes)
                return NULL;
        for (size_t i = 0; i < MED_NTFS_DEVICE_PIECES; i++) {
                if (d->piece[i].bytes && d->piece[i].offset == offset) {
                        d->piece[i].used = ++d->clock;
                        return d->piece[i].bytes;
                }
                if (d->piece[i].used < d->piece[oldest].used)
                        oldest = i;
        }
        uint8_t *bytes = take_ptr(d->piece[oldest].bytes);

        d->piece[oldest].used = 0;
        if (!bytes)
                bytes = bth_io_buffer_new(PIECE_BYTES);
        if (!bytes || read_source(d, offset, bytes, PIECE_BYTES) < 0) {
                free(bytes);
                return NULL;
        }
        d->piece[oldest].bytes = bytes;
        d->piece[oldest].offset = offset;
        d->piece[oldest].used = ++d->clock;
        return bytes;
}

/* One piece or less. A bad sector elsewhere in the piece does not fail what was asked for. */
static int read_small(struct med_ntfs_device *d, uint64_t offset, uint8_t *out, size_t n)
{
        uint64_t first = bth_align_down(offset, PIECE_BYTES);
        const uint8_t *piece = get_piece(d, first);

        if (!piece)
                return read_source(d, offset, out, n);
        memcpy(out, piece + (offset - first), n);
        return 0;
}

static void patch_pieces(struct med_ntfs_device *d, uint64_t offset, const uint8_t *from, size_t n)
{
        for (size_t i = 0; i < MED_NTFS_DEVICE_PIECES; i++) {
                uint64_t begin = MAX(offset, d->piece[i].offset);
                uint64_t end = MIN(offset + n, d->piece[i].offset + PIECE_BYTES);

                if (d->piece[i].bytes && begin < end)
                        memcpy(d->piece[i].bytes + (begin - d->piece[i].offset),
                               from + (begin - offset), (size_t)(end - begin));
        }
}

static void drop_pieces(struct med_ntfs_device *d)
{
        for (size_t i = 0; i < MED_NTFS_DEVICE_PIECES; i++) {
                free(d->piece[i].bytes);
                d->piece[i].bytes = NULL;
        }
}

static s64 op_pread(struct ntfs_device *dev, void *buf, s64 count, s64 offset)
{
        struct med_ntfs_device *d = of(dev);
        uint8_t *out = buf;
        uint64_t at = (uint64_t)offset, left;

        if (offset < 0 || count < 0 || at >= d->source->size_bytes)
                return 0;
        left = MIN((uint64_t)count, d->source->size_bytes - at);
        count = (s64)left;
        while (left) {
                size_t n = (size_t)MIN(left, PIECE_BYTES - at % PIECE_BYTES);
                int r = read_small(d, at, out, n);

                if (r < 0)
                        return fail(d, r, (s64)at);
                at += n;
                out += n;
                left -= n;
        }
        return count;
}

static s64 op_pwrite(struct ntfs_device *dev, const void *buf, s64 count, s64 offset)
{
        struct med_ntfs_device *d = of(dev);
        int r;

        if (!d->sink || (dev->d_state & STATE_READ_ONLY)) {
                errno = EROFS;
                return -1;
        }
        if (offset < 0 || count < 0 ||
            !bth_range_inside((uint64_t)offset, (uint64_t)count, d->sink->size_bytes)) {
                errno = ENOSPC;
                return -1;
        }
        dev->d_state |= STATE_DIRTY;
        med_ntfs_guard_outside(d->guard);
        r = bth_sink_write(d->sink, (uint64_t)offset, buf, (size_t)count);
        med_ntfs_guard_inside(d->guard);
        if (r == 0)
                patch_pieces(d, (uint64_t)offset, buf, (size_t)count);
        else
                drop_pieces(d); /* nobody knows how much of it is there */
        return r < 0 ? fail(d, r, offset) : count;
}

static s64 op_read(struct ntfs_device *dev, void *buf, s64 count)
{
        s64 n = op_pread(dev, buf, count, (s64)of(dev)->position);

        if (n > 0)
                of(dev)->position += (uint64_t)n;
        return n;
}

static s64 op_write(struct ntfs_device *dev, const void *buf, s64 count)
{
        s64 n = op_pwrite(dev, buf, count, (s64)of(dev)->position);

        if (n > 0)
                of(dev)->position += (uint64_t)n;
        return n;
}

static int op_stat(struct ntfs_device *dev, struct stat *st)
{
        memset(st, 0, sizeof *st);
        st->st_mode = S_IFREG | 0600;
        st->st_size = (off_t)of(dev)->source->size_bytes;
        return 0;
}

static int op_ioctl(struct ntfs_device *dev, unsigned long request, void *argp)
{
        switch (request) {
        case BLKGETSIZE64:
                *(uint64_t *)argp = of(dev)->source->size_bytes;
                return 0;
        case BLKBSZSET:
                return 0;
        default:
                errno = EOPNOTSUPP;
                return -1;
        }
}

static struct ntfs_device_operations operations = {
        .open = op_open,
        .close = op_close,
        .seek = op_seek,
        .read = op_read,
        .write = op_write,
        .pread = op_pread,
        .pwrite = op_pwrite,
        .sync = op_sync,
        .stat = op_stat,
        .ioctl = op_ioctl,
};

int med_ntfs_device_error(const struct med_ntfs_device *d, const char *doing,
                          struct bth_error *error)
{
        const int code = errno;

        if (d->failed < 0) {
                bth_error_at(error, NULL, 0, d->failed_at);
                return bth_error_set(error, d->failed,
                                     d->failed == -ENODEV ? BTH_REASON_DRIVE_GONE
                                     : d->sink            ? BTH_REASON_DRIVE_WRITE_ERROR
                                                          : BTH_REASON_DRIVE_READ_ERROR,
                                     "%s failed: %s", doing, bth_strerror(d->failed));
        }
        switch (code) {
        case ENOSPC:
                return bth_error_set(error, -ENOSPC, BTH_REASON_DISK_FULL,
                                     "%s failed: the volume is full", doing);
        case ENOMEM:
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY,
                                     "%s failed: no memory", doing);
        case EEXIST:
        case ENOENT:
                return bth_error_set(error, -code, BTH_REASON_NAME_INVALID, "%s failed: %s", doing,
                                     bth_strerror(-code));
        default:
                return bth_error_set(error, -EBADMSG, BTH_REASON_NTFS_DAMAGED, "%s failed: %s",
                                     doing, bth_strerror(-code));
        }
}

static int mount_error(const struct med_ntfs_device *d, struct bth_error *error)
{
        switch (errno) {
        case EINVAL:
                if (d->failed == 0)
                        return bth_error_set(error, -EMEDIUMTYPE, BTH_REASON_NOT_NTFS,
                                             "the volume does not hold NTFS");
                break;
        case EPERM:
        case EOPNOTSUPP:
                (void)bth_error_set(error, -EPERM, BTH_REASON_NTFS_DAMAGED,
                                    "the volume was not closed cleanly, or Windows sleeps on it");
                bth_error_advise(error, "run chkdsk on Windows and shut it down, then try again");
                return -EPERM;
        default:
                break;
        }
        return med_ntfs_device_error(d, "opening the file system", error);
}

int med_ntfs_device_mount(struct med_ntfs_device *d, ntfs_volume **ret_volume,
                          struct bth_error *error)
{
        struct ntfs_device *dev = ntfs_device_alloc("volume", 0, &operations, d);
        ntfs_volume *v;
        int r;

        if (!dev)
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY,
                                     "no memory for the device");
        ntfs_log_set_handler(ntfs_log_handler_null);
        v = ntfs_device_mount(dev, d->sink ? 0 : NTFS_MNT_RDONLY | NTFS_MNT_FORENSIC);
        if (!v) {
                r = mount_error(d, error);
                dev->d_state &= ~STATE_OPEN;
                (void)ntfs_device_free(dev);
                drop_pieces(d);
                return r;
        }
        /* As Windows does: "drivemanifest.xml" is the manifest, too. */
        if (ntfs_set_ignore_case(v) != 0) {
                r = med_ntfs_device_error(d, "reading the case table", error);
                (void)ntfs_umount(v, TRUE);
                drop_pieces(d);
                return r;
        }
        *ret_volume = v;
        return 0;
}

int med_ntfs_device_unmount(struct med_ntfs_device *d, ntfs_volume *v, struct bth_error *error)
{
        int r;

        if (!v)
                return 0;
        /* Without force a volume that cannot be brought to the device stays open; it is of no use
         * then. */
        r = ntfs_umount(v, FALSE);
        drop_pieces(d);
        if (r != 0)
                return med_ntfs_device_error(d, "closing the file system", error);
        return d->failed < 0 ? med_ntfs_device_error(d, "closing the file system", error) : 0;
}
