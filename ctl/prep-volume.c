/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/prep-volume.h"

#include <string.h>

#include "base/checked.h"
#include "base/time.h"
#include "crypto/seal.h"

static int open_sinks(struct ctl_volume *v, struct bth_error *error)
{
        const struct med_partition *p = v->drive->partition;
        int r = bth_sink_new_fd(v->fd, false, &v->device);

        if (r == 0)
                r = bth_sink_new_window(v->device, p->offset_bytes, p->length_bytes, false,
                                        &v->volume);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_DRIVE_WRITE_ERROR,
                                     "the drive cannot be opened: %s", bth_strerror(r));
        return cry_seal_new(v->volume, v->drive->volume, v->drive->metadata, &v->drive->unlocked,
                            &v->seal, error);
}

static int open_overlay(struct ctl_volume *v, struct bth_error *error)
{
        const struct bth_guid *id = &v->drive->metadata->volume_id;
        int r = ctl_overlay_replay(v->redo_path, id, v->seal, error);

        if (r < 0)
                return r;
        v->redo_replayed = r > 0;
        r = ctl_overlay_new(v->drive->plain, v->seal, id, v->redo_path, &v->overlay);
        return r < 0 ? bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY, "no memory for the drive")
                     : 0;
}

int ctl_volume_begin(struct ctl_volume *v, struct bth_error *error)
{
        if (!v->overlay)
                return med_ntfs_writer_open(v->drive->plain, NULL, &v->writer, error);
        return med_ntfs_writer_open(ctl_overlay_source(v->overlay), ctl_overlay_sink(v->overlay),
                                    &v->writer, error);
}

int ctl_volume_end(struct ctl_volume *v, struct bth_error *error)
{
        return med_ntfs_writer_close(take_ptr(v->writer), error);
}

int ctl_volume_open(int fd, const struct cry_credential *credential, const char *redo_path,
                    struct ctl_volume **ret_volume, struct bth_error *error)
{
        /* The file system is not looked at before a cut-off checkpoint was finished. What is
         * written through one descriptor must be read through it, and small pieces at any offset:
         * no O_DIRECT. */
        const struct upl_drive_options options = { .depth = UPL_DRIVE_PLAIN,
                                                   .keep_key = true,
                                                   .block = { .no_direct = true,
                                                              .no_uring = true } };
        _cleanup_(ctl_volume_closep) struct ctl_volume *v = calloc(1, sizeof *v);
        int r;

        if (!v) {
                (void)bth_close(fd);
                return -ENOMEM;
        }
        v->fd = fd;
        v->redo_path = redo_path ? strdup(redo_path) : NULL;
        if (redo_path && !v->redo_path)
                return -ENOMEM;
        r = upl_drive_open(v->fd, &options, credential, &v->drive, error);
        if (r == 0)
                r = open_sinks(v, error);
        if (r == 0 && redo_path)
                r = open_overlay(v, error);
        if (r == 0)
                r = ctl_volume_begin(v, error);
        if (r < 0)
                return r;
        *ret_volume = take_ptr(v);
        return 0;
}

struct ctl_volume *ctl_volume_close(struct ctl_volume *v)
{
        if (!v)
                return NULL;
        /* What has no checkpoint is dropped with the overlay, so an error of it means nothing. */
        if (med_ntfs_writer_close(v->writer, NULL) < 0)
                v->writer = NULL;
        (void)ctl_overlay_free(v->overlay);
        (void)bth_sink_free(v->seal);
        (void)bth_sink_free(v->volume);
        (void)bth_sink_free(v->device);
        (void)upl_drive_close(v->drive);
        (void)bth_close(v->fd);
        free(v->redo_path);
        free(v);
        return NULL;
}

uint64_t ctl_extents_bytes(const struct med_ntfs_extent *extents, size_t n)
{
        uint64_t bytes = 0;

        for (size_t i = 0; i < n; i++)
                bytes += extents[i].length_bytes;
        return bytes;
}

int ctl_extents_write(struct bth_sink *sink, const struct med_ntfs_extent *extents,
                      size_t n_extents, uint64_t at_bytes, const void *data, size_t n)
{
        const uint8_t *p = data;

        if (!bth_range_inside(at_bytes, n, ctl_extents_bytes(extents, n_extents)))
                return -EINVAL;
        for (size_t i = 0; i < n_extents && n > 0; i++) {
                size_t take;
                int r;

                if (at_bytes >= extents[i].length_bytes) {
                        at_bytes -= extents[i].length_bytes;
                        continue;
                }
                take = (size_t)MIN((uint64_t)n, extents[i].length_bytes - at_bytes);
                r = bth_sink_write(sink, extents[i].offset_bytes + at_bytes, p, take);
                if (r < 0)
                        return r;
                p += take;
                n -= take;
                at_bytes = 0;
        }
        return 0;
}

int ctl_volume_put(struct ctl_volume *v, const char *path, const void *data, size_t n,
                   struct bth_error *error)
{
        const uint64_t now = bth_filetime_from_usec(bth_now_realtime_usec());
        const struct med_ntfs_new_file f = { .path = path,
                                             .size_bytes = n,
                                             .created = now,
                                             .modified = now,
                                             .content = n <= MED_NTFS_SMALL_BYTES ? data : NULL };
        _cleanup_free_ struct med_ntfs_extent *extents = NULL;
        size_t n_extents = 0;
        int r = med_ntfs_writer_create(v->writer, &f, &extents, &n_extents, error);

        if (r == 0 && !f.content && n > 0) {
                r = ctl_extents_write(v->seal, extents, n_extents, 0, data, n);
                if (r < 0)
                        return bth_error_set(error, r, BTH_REASON_DRIVE_WRITE_ERROR,
                                             "the drive cannot be written: %s", bth_strerror(r));
        }
        return r;
}
