/* SPDX-License-Identifier: GPL-3.0-or-later */
/* drive - the stages in their order; a stage that fails leaves its own error. */
#include "uploader/drive.h"

#include "base/ahead.h"
#include "crypto/view.h"

static int find_volume(int fd, struct upl_drive *d, struct bth_error *error)
{
        int r = med_partitions_read(fd, &d->partitions, error);

        return r < 0 ? r : med_partitions_first_data(d->partitions, &d->partition, error);
}

static int open_volume(int fd, const struct hal_block_options *block, struct upl_drive *d,
                       struct bth_error *error)
{
        int r = hal_block_open_fd(fd, false, block, &d->device, error);

        if (r < 0)
                return r;
        r = bth_source_new_window(d->device, d->partition->offset_bytes, d->partition->length_bytes,
                                  false, &d->volume);
        return r < 0 ? bth_error_set(error, r, BTH_REASON_NO_PARTITION,
                                     "the partition cannot be opened: %s", bth_strerror(r))
                     : 0;
}

static int open_plain(struct upl_drive *d, bool keep_key, const struct cry_credential *credential,
                      struct bth_error *error)
{
        static const struct cry_credential none = { .kind = CRY_CREDENTIAL_NONE };
        int r = cry_unlock_volume(d->volume, credential ? credential : &none, &d->metadata,
                                  &d->unlocked, error);

        if (r < 0)
                return r;
        d->unlocked_by = (enum cry_protector_kind)d->unlocked.protector->kind;
        r = cry_view_new(d->volume, d->metadata, &d->unlocked, &d->plain, error);
        if (!keep_key)
                cry_unlocked_clear(&d->unlocked);
        return r;
}

int upl_drive_open(int fd, const struct upl_drive_options *o,
                   const struct cry_credential *credential, struct upl_drive **ret_drive,
                   struct bth_error *error)
{
        _cleanup_(upl_drive_closep) struct upl_drive *d = calloc(1, sizeof *d);
        int r = d ? find_volume(fd, d, error) : -ENOMEM;

        if (r == 0)
                r = open_volume(fd, &o->block, d, error);
        if (r == 0 && o->depth == UPL_DRIVE_METADATA)
                r = cry_metadata_read(d->volume, &d->metadata, error);
        if (r == 0 && o->depth >= UPL_DRIVE_PLAIN)
                r = open_plain(d, o->keep_key, credential, error);
        if (r == 0 && o->depth >= UPL_DRIVE_FILES && o->read_ahead)
                r = bth_source_new_ahead(d->plain, &d->ahead);
        if (r == 0 && o->depth >= UPL_DRIVE_FILES)
                r = med_ntfs_open(d->ahead ? d->ahead : d->plain, &d->ntfs, error);
        if (r < 0)
                return r;
        *ret_drive = take_ptr(d);
        return 0;
}

struct upl_drive *upl_drive_close(struct upl_drive *d)
{
        if (!d)
                return NULL;
        (void)med_ntfs_close(d->ntfs);
        (void)bth_source_free(d->ahead);
        (void)bth_source_free(d->plain);
        cry_unlocked_clear(&d->unlocked);
        (void)cry_metadata_free(d->metadata);
        (void)bth_source_free(d->volume);
        (void)bth_source_free(d->device);
        (void)med_partitions_free(d->partitions);
        free(d);
        return NULL;
}

enum bth_drive_status upl_drive_status(const struct bth_error *error)
{
        switch (error->reason) {
        case BTH_REASON_NOT_NTFS:
                return BTH_DRIVE_STATUS_VOLUME_NOT_NTFS;
        case BTH_REASON_NTFS_DAMAGED:
                return BTH_DRIVE_STATUS_DISK_OPERATION_FAILED;
        default:
                return cry_drive_status(error);
        }
}
