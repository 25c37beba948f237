/* SPDX-License-Identifier: GPL-3.0-or-later */
/* identity - who a drive is: the facts that match it to a journal, and those that people want to
 * see.
 *
 * The serial number is the drive's own, without blanks, looked for in this order:
 *
 *     NVMe     device/serial
 *     others   device/vpd_pg80 (SCSI's unit serial number; SATA ports and adapters translate it)
 *     by fd    ATA IDENTIFY (drives that say ATA, USB bridges), INQUIRY page 80
 *     udev     ID_SCSI_SERIAL; ID_SERIAL_SHORT, but never of a SCSI drive: there it is a WWN
 *     USB      the serial number of the bridge, told apart by serial_source
 *
 * Which docking of the drive it is tells `diskseq`: the kernel's counter grows with every plug,
 * also of the same drive in the same bay; names like sda come back. What a drive says is hostile:
 * all texts are bounded and free of control bytes. Blocks for a moment; any thread. Source: hotplug
 * specification, section 5. */
#pragma once

#include "base/error.h"
#include "hal/host.h"

#define HAL_SERIAL_MAX 256 /* bytes with NUL: what a SCSI page or a file name can hold */
#define HAL_MODEL_MAX  64  /* bytes with NUL; cut */

/* X(identifier, name) */
#define HAL_BUSES(X)          \
        X(UNKNOWN, "unknown") \
        X(ATA, "ata")         \
        X(SCSI, "scsi")       \
        X(NVME, "nvme")       \
        X(USB, "usb")         \
        X(VIRTIO, "virtio")   \
        X(FILE, "file")

enum hal_bus {
#define X(id, name) HAL_BUS_##id,
        HAL_BUSES(X)
#undef X
                _HAL_BUS_MAX,
        _HAL_BUS_INVALID = -EINVAL,
};
const char *hal_bus_to_string(enum hal_bus b);      /* "nvme"; NULL outside the list */
enum hal_bus hal_bus_from_string(const char *name); /* _INVALID for others */

/* Where the serial number came from, the most trusted first. X(identifier, name) */
#define HAL_SERIAL_SOURCES(X)           \
        X(NONE, "none")                 \
        X(NVME, "nvme")                 \
        X(VPD_80, "vpd-80")             \
        X(ATA_IDENTIFY, "ata-identify") \
        X(INQUIRY_80, "inquiry-80")     \
        X(VIRTIO, "virtio")             \
        X(UDEV, "udev")                 \
        X(USB_BRIDGE, "usb-bridge")     \
        X(FILE_NAME, "file-name")

enum hal_serial_source {
#define X(id, name) HAL_SERIAL_SOURCE_##id,
        HAL_SERIAL_SOURCES(X)
#undef X
                _HAL_SERIAL_SOURCE_MAX,
        _HAL_SERIAL_SOURCE_INVALID = -EINVAL,
};
const char *hal_serial_source_to_string(enum hal_serial_source s);      /* NULL outside the list */
enum hal_serial_source hal_serial_source_from_string(const char *name); /* _INVALID for others */

/* Why a drive cannot be told by its serial number. X(identifier, name, sentence) */
#define HAL_IDENTITY_FAULTS(X)                                                            \
        X(NONE, "none", "the drive has a serial number of its own")                       \
        X(SERIAL_EMPTY, "serial-empty", "the drive or its bridge tells no serial number") \
        X(SERIAL_DUPLICATE, "serial-duplicate",                                           \
          "another docked drive has the same serial "                                     \
          "number")

enum hal_identity_fault {
#define X(id, name, sentence) HAL_IDENTITY_FAULT_##id,
        HAL_IDENTITY_FAULTS(X)
#undef X
                _HAL_IDENTITY_FAULT_MAX,
        _HAL_IDENTITY_FAULT_INVALID = -EINVAL,
};
const char *hal_identity_fault_to_string(enum hal_identity_fault f); /* NULL outside the list */
enum hal_identity_fault hal_identity_fault_from_string(const char *name); /* _INVALID for others */
const char *hal_identity_fault_sentence(enum hal_identity_fault f) _const_; /* "" outside */

struct hal_identity {
        char serial[HAL_SERIAL_MAX]; /* "" when there is none: fault says so */
        char model[HAL_MODEL_MAX];   /* with the vendor in front where that says something */
        char firmware[HAL_MODEL_MAX];
        enum hal_serial_source serial_source;
        enum hal_identity_fault fault; /* reading sets _NONE or _SERIAL_EMPTY */
        enum hal_bus bus;
        bool rotational;
        bool read_only;
        uint64_t size_bytes;
        uint32_t logical_sector_bytes, physical_sector_bytes;
        uint64_t diskseq; /* 0: the kernel has none, or an image file */
        dev_t device;     /* of the whole drive, also when a partition was asked for; 0: a file */
};

/* What udev knows; each may be NULL. */
struct hal_udev_hints {
        const char *id_bus;
        const char *id_scsi_serial;
        const char *id_serial_short;
};

/* Reads the identity of a block device; of a partition, that of its drive.
 *   fd     the drive, open for reading; a negative one: sysfs and udev only
 *   hints  may be NULL
 * A drive without a serial number is no error. Returns 0; -ENODEV when sysfs does not know the
 * device (any more), or when it went while it was read; -ENOMEM. */
int hal_identity_read(const struct hal_host *host, dev_t device, int fd,
                      const struct hal_udev_hints *hints, struct hal_identity *ret_identity,
                      struct bth_error *error) _must_check_;

/* The identity of an image file: its name without folder and last extension, blanks removed; there
 * letters beyond ASCII stay.
 * Returns 0; -ENODEV when `size_bytes` cannot be (beyond 2^63); never any other error. */
int hal_identity_of_file(const char *path, uint64_t size_bytes, struct hal_identity *ret_identity)
        _must_check_;

/* By name: a block device or a regular file. Returns the errors above; -errno of stat(2); -ENOTBLK
 * for what is neither. The error names the path. */
int hal_identity_of_path(const struct hal_host *host, const char *path,
                         struct hal_identity *ret_identity, struct bth_error *error) _must_check_;

/* Takes the bytes of a serial number as they came and removes what cannot be seen. `out` holds
 * HAL_SERIAL_MAX bytes. Returns 0; -ENODATA when nothing is left; -EMSGSIZE when it is too long. */
int hal_serial_clean(const void *text, size_t n, char *out) _must_check_;

/* Sets _SERIAL_DUPLICATE on all that share a serial number with another one in the list, and takes
 * it back from those that do not any more. Returns true when a fault changed. Never an error. */
bool hal_identity_mark_duplicates(struct hal_identity *const *identities, size_t n);
