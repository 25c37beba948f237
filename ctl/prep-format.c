/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/prep-format.h"

#include <string.h>

#include "base/io.h"
#include "crypto/volume_writer.h"
#include "media/ntfs_writer.h"

#define COPY_BYTES ((size_t)1 << 20)
#define WIPE_BYTES \
        ((size_t)64 << 10) /* of the partition's begin: no old boot sector may be found there */

static int count_free(struct ctl_format *f, struct bth_error *error)
{
        _cleanup_(bth_source_freep) struct bth_source *scratch = NULL;
        struct med_ntfs_writer *w = NULL;
        int r = bth_source_new_fd(f->scratch_fd, false, &scratch);

        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE,
                                     "the scratch file cannot be read: %s", bth_strerror(r));
        r = med_ntfs_writer_open(scratch, NULL, &w, error);
        if (r < 0)
                return r;
        f->free_bytes = med_ntfs_writer_free_bytes(w);
        f->cluster_bytes = med_ntfs_writer_cluster_bytes(w);
        return med_ntfs_writer_close(w, error);
}

int ctl_format_prepare(uint64_t device_bytes, uint32_t sector_bytes, const char *label,
                       struct ctl_format *ret_format, struct bth_error *error)
{
        struct ctl_format f = { .device_bytes = device_bytes,
                                .sector_bytes = sector_bytes,
                                .scratch_fd = BTH_FD_NONE };
        struct med_ntfs_params p = { .sector_bytes = sector_bytes, .label = label };
        int r = med_partition_plan(device_bytes, &f.place, error);

        if (r < 0)
                return r;
        p.volume_bytes = f.place.length_bytes;
        p.partition_start_sectors = (uint32_t)(f.place.offset_bytes / sector_bytes);
        r = bth_open_unlinked(NULL, &f.scratch_fd);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                                     "there is no place for a scratch file: %s", bth_strerror(r));
        r = med_ntfs_make(f.scratch_fd, &p, error);
        if (r == 0)
                r = med_ntfs_reserve(f.scratch_fd, f.regions, error);
        if (r == 0)
                r = med_ntfs_used_extents(f.scratch_fd, f.regions, MED_NTFS_REGIONS, &f.extents,
                                          &f.n_extents, error);
        if (r == 0)
                r = count_free(&f, error);
        if (r < 0) {
                ctl_format_clear(&f);
                return r;
        }
        *ret_format = f;
        return 0;
}

void ctl_format_clear(struct ctl_format *f)
{
        free(f->extents);
        if (f->scratch_fd > 0) /* a zeroed object has none */
                (void)bth_close(f->scratch_fd);
        *f = (struct ctl_format){ .scratch_fd = BTH_FD_NONE };
}

static int copy_extents(const struct ctl_format *f, struct bth_sink *plain)
{
        _cleanup_free_ uint8_t *buffer = bth_io_buffer_new(COPY_BYTES);
        int r = buffer ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && i < f->n_extents; i++)
                for (uint64_t at = 0; r == 0 && at < f->extents[i].length_bytes;) {
                        const uint64_t offset = f->extents[i].offset_bytes + at;
                        const size_t n =
                                (size_t)MIN((uint64_t)COPY_BYTES, f->extents[i].length_bytes - at);

                        r = bth_pread_full(f->scratch_fd, buffer, n, offset);
                        if (r == 0)
                                r = bth_sink_write(plain, offset, buffer, n);
                        at += n;
                }
        return r;
}

static int wipe(struct bth_sink *volume)
{
        _cleanup_free_ uint8_t *zeros = calloc(1, WIPE_BYTES);
        int r = zeros ? bth_sink_write(volume, 0, zeros, WIPE_BYTES) : -ENOMEM;

        return r < 0 ? r : bth_sink_flush(volume);
}

static int write_all(const struct ctl_format *f, int fd, struct bth_sink *volume,
                     struct cry_volume_writer *w, struct bth_error *error)
{
        struct med_partition_place place;
        int r = wipe(volume);

        if (r == 0) {
                r = med_partition_make(fd, f->sector_bytes, &place, error);
                if (r < 0)
                        return r;
                r = copy_extents(f, cry_volume_writer_sink(w));
        }
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_DRIVE_WRITE_ERROR,
                                     "formatting failed: %s", bth_strerror(r));
        return cry_volume_writer_finish(w, error);
}

static int open_ends(const struct ctl_format *f, int fd, struct bth_sink **ret_volume,
                     struct bth_source **ret_readback)
{
        struct bth_source *below_source = NULL;
        struct bth_sink *below_sink = NULL;
        int r = bth_sink_new_fd(fd, false, &below_sink);

        if (r == 0)
                r = bth_sink_new_window(below_sink, f->place.offset_bytes, f->place.length_bytes,
                                        true, ret_volume);
        if (r == 0)
                r = bth_source_new_fd(fd, false, &below_source);
        if (r == 0)
                r = bth_source_new_window(below_source, f->place.offset_bytes,
                                          f->place.length_bytes, true, ret_readback);
        return r;
}

int ctl_format_write(const struct ctl_format *f, int fd, const char *description,
                     ctl_format_key_fn key, void *userdata, struct bth_error *error)
{
        const struct cry_volume_params params = {
                .method = CRY_METHOD_AES_XTS_256,
                .sector_bytes = f->sector_bytes,
                .cluster_bytes = f->cluster_bytes,
                .partition_start_sectors = (uint32_t)(f->place.offset_bytes / f->sector_bytes),
                .description = description,
        };
        const struct cry_volume_layout layout = {
                .copies = { f->regions[0].offset_bytes, f->regions[1].offset_bytes,
                            f->regions[2].offset_bytes },
                .header_offset = f->regions[3].offset_bytes,
                .area_offset = f->regions[4].offset_bytes,
        };
        _cleanup_(bth_sink_freep) struct bth_sink *volume = NULL;
        _cleanup_(bth_source_freep) struct bth_source *readback = NULL;
        _cleanup_(cry_volume_writer_freep) struct cry_volume_writer *w = NULL;
        int r = open_ends(f, fd, &volume, &readback);

        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_DRIVE_WRITE_ERROR,
                                     "the drive cannot be opened: %s", bth_strerror(r));
        r = cry_volume_writer_new(volume, readback, &params, &layout, &w, error);
        if (r == 0)
                r = key(userdata, cry_volume_writer_recovery_password(w), error);
        if (r == 0)
                r = write_all(f, fd, volume, w, error);
        return r;
}
