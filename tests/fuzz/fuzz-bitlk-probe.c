/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bitlk-probe - what a docked drive goes through before any key: table, first data volume,
 * BitLocker metadata. The input is the drive's first bytes; zeros follow. */
#include <string.h>
#include <sys/mman.h>

#include "base/io.h"
#include "crypto/metadata.h"
#include "media/partition.h"

#define DEVICE_BYTES (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void probe_volume(int fd, const struct med_partition *p)
{
        _cleanup_(bth_source_freep) struct bth_source *disk = NULL, *volume = NULL;
        _cleanup_(cry_metadata_freep) struct cry_metadata *m = NULL;
        struct bth_error e = BTH_ERROR_INIT;

        if (bth_source_new_fd(fd, false, &disk) < 0)
                return;
        if (bth_source_new_window(disk, p->offset_bytes, p->length_bytes, false, &volume) < 0)
                abort(); /* a partition lies inside its disk */
        if (cry_metadata_read(volume, &m, &e) < 0 &&
            !bth_drive_status_to_string(cry_drive_status(&e)))
                abort();
        for (size_t i = 0; m && i < m->n_protectors; i++)
                if (!cry_protector_kind_to_string(m->protectors[i].kind))
                        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        _cleanup_(med_partitions_freep) struct med_partitions *p = NULL;
        _cleanup_close_ int fd = memfd_create("drive", MFD_CLOEXEC);
        const struct med_partition *first;

        if (fd < 0 || ftruncate(fd, DEVICE_BYTES) < 0 ||
            bth_pwrite_full(fd, data, MIN(n, (size_t)DEVICE_BYTES), 0) < 0)
                return 0;
        if (med_partitions_read(fd, &p, NULL) == 0 &&
            med_partitions_first_data(p, &first, NULL) == 0)
                probe_volume(fd, first);
        return 0;
}
