/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "media/ntfs_library.h"

#include <endian.h>
#include <pthread.h>
#include <string.h>

#include "media/ntfs_device.h"

#include <ntfs-3g/logfile.h>

struct med_ntfs_library {
        pthread_mutex_t lock; /* of everything below */
        struct med_ntfs_device device;
        ntfs_volume *volume;
        /* The file that was read last: it is mostly read on. */
        uint64_t reference;
        uint16_t stream[ARRAY_SIZE(((struct med_ntfs_file *)0)->stream)];
        uint8_t stream_units;
        ntfs_inode *inode;
        ntfs_attr *data;
};

int med_ntfs_library_new(struct bth_source *source, struct med_ntfs_library **ret)
{
        struct med_ntfs_library *l = calloc(1, sizeof *l);

        if (!l)
                return -ENOMEM;
        l->device.source = source;
        (void)pthread_mutex_init(&l->lock, NULL);
        *ret = l;
        return 0;
}

static void close_file(struct med_ntfs_library *l)
{
        if (l->data)
                ntfs_attr_close(l->data);
        if (l->inode)
                (void)ntfs_inode_close(l->inode); /* nothing was changed */
        l->data = NULL;
        l->inode = NULL;
}

struct med_ntfs_library *med_ntfs_library_free(struct med_ntfs_library *l)
{
        if (!l)
                return NULL;
        med_ntfs_guard_enter(l->device.guard);
        close_file(l);
        (void)!med_ntfs_device_unmount(&l->device, l->volume, NULL); /* nothing was changed */
        med_ntfs_guard_leave(l->device.guard);
        (void)med_ntfs_guard_free(l->device.guard);
        (void)pthread_mutex_destroy(&l->lock);
        free(l);
        return NULL;
}

/* Enters the guard when it succeeds. */
static int open_volume(struct med_ntfs_library *l, struct bth_error *error)
{
        int r;

        l->device.failed = 0;
        if (!l->device.guard) {
                r = med_ntfs_guard_new(MED_NTFS_GUARD_SECONDS, &l->device.guard);
                if (r < 0)
                        return bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY,
                                             "the watchdog cannot be started: %s", bth_strerror(r));
        }
        med_ntfs_guard_enter(l->device.guard);
        if (l->volume)
                return 0;
        r = med_ntfs_device_mount(&l->device, &l->volume, error);
        if (r < 0)
                med_ntfs_guard_leave(l->device.guard);
        return r;
}

static bool is_open(const struct med_ntfs_library *l, const struct med_ntfs_file *f)
{
        return l->data && l->reference == f->reference && l->stream_units == f->stream_units &&
               memcmp(l->stream, f->stream, 2u * f->stream_units) == 0;
}

static int open_file(struct med_ntfs_library *l, const struct med_ntfs_file *f)
{
        if (is_open(l, f))
                return 0;
        close_file(l);
        l->reference = f->reference;
        l->stream_units = f->stream_units;
        for (size_t i = 0; i < f->stream_units; i++)
                l->stream[i] = htole16(f->stream[i]);
        l->inode = ntfs_inode_open(l->volume, f->reference);
        if (l->inode)
                l->data = ntfs_attr_open(l->inode, AT_DATA,
                                         l->stream_units ? l->stream : AT_UNNAMED, l->stream_units);
        for (size_t i = 0; i < f->stream_units; i++)
                l->stream[i] = f->stream[i];
        return l->data ? 0 : med_ntfs_device_error(&l->device, "opening the file", NULL);
}

static int read_file(struct med_ntfs_library *l, uint64_t offset, uint8_t *out, size_t length)
{
        while (length) {
                s64 n = ntfs_attr_pread(l->data, (s64)offset, (s64)length, out);

                if (n < 0)
                        return med_ntfs_device_error(&l->device, "reading the file", NULL);
                if (n == 0 || (uint64_t)n > length)
                        return -EBADMSG;
                offset += (uint64_t)n;
                out += n;
                length -= (size_t)n;
        }
        return 0;
}

int med_ntfs_library_read(struct med_ntfs_library *l, const struct med_ntfs_file *f,
                          uint64_t offset, void *buffer, size_t length)
{
        int r;

        (void)pthread_mutex_lock(&l->lock);
        r = open_volume(l, NULL);
        if (r == 0) {
                r = open_file(l, f);
                if (r == 0)
                        r = read_file(l, offset, buffer, length);
                med_ntfs_guard_leave(l->device.guard);
        }
        (void)pthread_mutex_unlock(&l->lock);
        return r;
}

static int check_log(struct med_ntfs_library *l, bool *ret_dirty)
{
        RESTART_PAGE_HEADER *page = NULL;
        ntfs_inode *inode = ntfs_inode_open(l->volume, FILE_LogFile);
        ntfs_attr *log = inode ? ntfs_attr_open(inode, AT_DATA, AT_UNNAMED, 0) : NULL;
        bool dirty = !log || !ntfs_check_logfile(log, &page) || !ntfs_is_logfile_clean(log, page);

        free(page);
        if (log)
                ntfs_attr_close(log);
        if (inode)
                (void)ntfs_inode_close(inode); /* nothing was changed */
        *ret_dirty = dirty;
        return 0;
}

int med_ntfs_library_check(struct med_ntfs_library *l, bool *ret_log_dirty, struct bth_error *error)
{
        int r;

        (void)pthread_mutex_lock(&l->lock);
        r = open_volume(l, error);
        if (r == 0) {
                r = check_log(l, ret_log_dirty);
                med_ntfs_guard_leave(l->device.guard);
        }
        (void)pthread_mutex_unlock(&l->lock);
        return r;
}
