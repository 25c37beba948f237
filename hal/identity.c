/* SPDX-License-Identifier: GPL-3.0-or-later */
/* identity - sysfs first, then the drive itself, then udev. */
#include "hal/identity.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/str.h"
#include "hal/scsi.h"

#define VPD_HEADER_BYTES 4
#define VPD_MAX_BYTES    259
#define SECTOR_BYTES     512u /* the unit of sysfs sizes, whatever the drive's sectors are */
#define SECTOR_MAX_BYTES 65536u
#define USB_LEVELS_MAX   16 /* folders between a disk and its bridge */

#define ATA_SERIAL_WORD    10 /* of IDENTIFY: 10 words */
#define ATA_SERIAL_WORDS   10
#define ATA_FIRMWARE_WORD  23 /* 4 words */
#define ATA_FIRMWARE_WORDS 4
#define ATA_MODEL_WORD     27 /* 20 words */
#define ATA_MODEL_WORDS    20

/* ---- names ---- */

#define DEFINE_NAMES(type, prefix, max)                                \
        const char *prefix##_to_string(enum type v)                    \
        {                                                              \
                return v >= 0 && v < (max) ? prefix##_names[v] : NULL; \
        }                                                              \
        enum type prefix##_from_string(const char *name)               \
        {                                                              \
                for (int i = 0; i < (int)(max); i++)                   \
                        if (bth_streq(name, prefix##_names[i]))        \
                                return (enum type)i;                   \
                return (enum type) - EINVAL;                           \
        }                                                              \
        struct bth_swallow_semicolon

#define X(id, name) name,
static const char *const hal_bus_names[] = { HAL_BUSES(X) };
static const char *const hal_serial_source_names[] = { HAL_SERIAL_SOURCES(X) };
#undef X
#define X(id, name, sentence) name,
static const char *const hal_identity_fault_names[] = { HAL_IDENTITY_FAULTS(X) };
#undef X

DEFINE_NAMES(hal_bus, hal_bus, _HAL_BUS_MAX);
DEFINE_NAMES(hal_serial_source, hal_serial_source, _HAL_SERIAL_SOURCE_MAX);
DEFINE_NAMES(hal_identity_fault, hal_identity_fault, _HAL_IDENTITY_FAULT_MAX);

const char *hal_identity_fault_sentence(enum hal_identity_fault f)
{
#define X(id, name, sentence) sentence,
        static const char *const sentences[] = { HAL_IDENTITY_FAULTS(X) };
#undef X
        return f >= 0 && f < _HAL_IDENTITY_FAULT_MAX ? sentences[f] : "";
}

/* ---- texts ---- */

static int keep_visible(const void *text, size_t n, bool ascii, char *out)
{
        const unsigned char *p = text;
        char clean[HAL_SERIAL_MAX];
        size_t k = 0;

        for (size_t i = 0; i < n; i++) {
                if (p[i] <= ' ' || p[i] == 0x7f || (ascii && p[i] > '~'))
                        continue;
                if (k == sizeof clean - 1)
                        return -EMSGSIZE;
                clean[k++] = (char)p[i];
        }
        if (k == 0)
                return -ENODATA;
        clean[k] = '\0';
        memcpy(out, clean, k + 1);
        return 0;
}

int hal_serial_clean(const void *text, size_t n, char *out)
{
        return keep_visible(text, n, true, out);
}

/* Text for people: printable ASCII, one blank where there were many, cut to fit. */
static void show_text(const char *text, char *out, size_t out_bytes)
{
        size_t k = 0;

        for (; *text && k + 1 < out_bytes; text++) {
                const unsigned char c = (unsigned char)*text;

                if (c > ' ' && c <= '~')
                        out[k++] = (char)c;
                else if (k > 0 && out[k - 1] != ' ')
                        out[k++] = ' ';
        }
        while (k > 0 && out[k - 1] == ' ')
                k--;
        out[k] = '\0';
}

static bool take_serial(struct hal_identity *id, const void *text, size_t n,
                        enum hal_serial_source source)
{
        if (hal_serial_clean(text, n, id->serial) < 0)
                return false;
        id->serial_source = source;
        return true;
}

/* ---- sysfs ---- */

/* The folder of the whole drive, and its place in the tree of devices. */
static int open_disk(const struct hal_host *host, dev_t device, int *ret_dirfd, char *ret_place)
{
        char path[PATH_MAX];
        struct stat st;
        int fd;

        if (snprintf(path, sizeof path, "%s/dev/block/%u:%u", hal_host_sysfs(host), major(device),
                     minor(device)) >= (int)sizeof path ||
            !realpath(path, ret_place))
                return -ENODEV;
        fd = open(ret_place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -ENODEV;
        if (fstatat(fd, "partition", &st, 0) == 0) {
                int above = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                fd = bth_close(fd);
                if (above < 0)
                        return -ENODEV;
                fd = above;
                *strrchr(ret_place, '/') = '\0';
        }
        *ret_dirfd = fd;
        return 0;
}

/* Is there a folder "ata3" or "usb1" on the way? */
static bool is_below(const char *place, const char *kind)
{
        const size_t n = strlen(kind);

        for (const char *p = strchr(place, '/'); p; p = strchr(p + 1, '/'))
                if (strncmp(p + 1, kind, n) == 0 && p[1 + n] >= '0' && p[1 + n] <= '9')
                        return true;
        return false;
}

static enum hal_bus bus_of(int dirfd, const char *place)
{
        struct stat st;

        if (bth_starts_with(strrchr(place, '/'), "/nvme"))
                return HAL_BUS_NVME;
        if (fstatat(dirfd, "device/scsi_level", &st, 0) == 0) {
                if (is_below(place, "usb"))
                        return HAL_BUS_USB;
                return is_below(place, "ata") ? HAL_BUS_ATA : HAL_BUS_SCSI;
        }
        return bth_starts_with(strrchr(place, '/'), "/vd") ? HAL_BUS_VIRTIO : HAL_BUS_UNKNOWN;
}

static uint64_t number_of(int dirfd, const char *name, uint64_t otherwise)
{
        uint64_t value;

        return hal_host_read_u64(dirfd, name, &value) == 0 ? value : otherwise;
}

static uint32_t sector_of(int dirfd, const char *name)
{
        const uint64_t n = number_of(dirfd, name, SECTOR_BYTES);

        return n >= SECTOR_BYTES && n <= SECTOR_MAX_BYTES ? (uint32_t)n : SECTOR_BYTES;
}

static int read_numbers(int dirfd, struct hal_identity *id)
{
        char text[HAL_HOST_TEXT_MAX];
        uint64_t sectors;
        unsigned maj, min;

        /* The one attribute every disk has: without it the disk went while we looked. */
        if (hal_host_read_u64(dirfd, "size", &sectors) < 0 ||
            __builtin_mul_overflow(sectors, SECTOR_BYTES, &id->size_bytes))
                return -ENODEV;
        id->logical_sector_bytes = sector_of(dirfd, "queue/logical_block_size");
        id->physical_sector_bytes = sector_of(dirfd, "queue/physical_block_size");
        id->rotational = number_of(dirfd, "queue/rotational", 0) != 0;
        id->read_only = number_of(dirfd, "ro", 0) != 0;
        id->diskseq = number_of(dirfd, "diskseq", 0);
        if (hal_host_read_text(dirfd, "dev", text) == 0 && sscanf(text, "%u:%u", &maj, &min) == 2)
                id->device = makedev(maj, min);
        return 0;
}

static void read_texts(int dirfd, struct hal_identity *id)
{
        char vendor[HAL_HOST_TEXT_MAX] = "", model[HAL_HOST_TEXT_MAX] = "";
        char both[2 * HAL_HOST_TEXT_MAX], firmware[HAL_HOST_TEXT_MAX];

        (void)!hal_host_read_text(dirfd, "device/model", model);
        /* "ATA" is no vendor, and NVMe's is a number. */
        if (id->bus != HAL_BUS_NVME && id->bus != HAL_BUS_VIRTIO)
                (void)!hal_host_read_text(dirfd, "device/vendor", vendor);
        (void)snprintf(both, sizeof both, "%s %s", bth_streq(vendor, "ATA") ? "" : vendor, model);
        show_text(both, id->model, sizeof id->model);
        if (hal_host_read_text(dirfd, "device/firmware_rev", firmware) == 0 ||
            hal_host_read_text(dirfd, "device/rev", firmware) == 0)
                show_text(firmware, id->firmware, sizeof id->firmware);
}

static bool serial_from_sysfs(int dirfd, struct hal_identity *id)
{
        uint8_t page[VPD_MAX_BYTES];
        size_t n;

        if (id->bus == HAL_BUS_NVME || id->bus == HAL_BUS_VIRTIO) {
                const bool nvme = id->bus == HAL_BUS_NVME;

                return hal_host_read_bytes(dirfd, nvme ? "device/serial" : "serial", page,
                                           sizeof page, &n) == 0 &&
                       take_serial(id, page, n,
                                   nvme ? HAL_SERIAL_SOURCE_NVME : HAL_SERIAL_SOURCE_VIRTIO);
        }
        return hal_host_read_bytes(dirfd, "device/vpd_pg80", page, sizeof page, &n) == 0 &&
               n > VPD_HEADER_BYTES && page[1] == 0x80 &&
               take_serial(id, page + VPD_HEADER_BYTES, MIN((size_t)page[3], n - VPD_HEADER_BYTES),
                           HAL_SERIAL_SOURCE_VPD_80);
}

/* The serial number of the first thing above the disk that is a USB device. */
static bool serial_of_bridge(const char *place, struct hal_identity *id)
{
        char folder[PATH_MAX];

        (void)snprintf(folder, sizeof folder, "%s", place);
        for (int i = 0; i < USB_LEVELS_MAX; i++) {
                _cleanup_close_ int fd = BTH_FD_NONE;
                char *slash = strrchr(folder, '/'), text[HAL_HOST_TEXT_MAX];

                if (!slash || slash == folder)
                        return false;
                *slash = '\0';
                fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (fd >= 0 && hal_host_read_text(fd, "idVendor", text) == 0)
                        return hal_host_read_text(fd, "serial", text) == 0 &&
                               take_serial(id, text, strlen(text), HAL_SERIAL_SOURCE_USB_BRIDGE);
        }
        return false;
}

/* ---- the drive itself, and udev ---- */

/* IDENTIFY has the whole model; SCSI's INQUIRY, which sysfs shows, cuts it at 16 characters. */
static bool serial_from_ata(const struct hal_host *host, int fd, struct hal_identity *id)
{
        uint8_t block[HAL_ATA_BLOCK_BYTES];
        char text[2 * ATA_MODEL_WORDS + 1];

        if (hal_scsi_ata_identify(host, fd, block) < 0)
                return false;
        hal_scsi_ata_text(block, ATA_MODEL_WORD, ATA_MODEL_WORDS, text);
        if (text[0] != '\0')
                show_text(text, id->model, sizeof id->model);
        hal_scsi_ata_text(block, ATA_FIRMWARE_WORD, ATA_FIRMWARE_WORDS, text);
        if (text[0] != '\0')
                show_text(text, id->firmware, sizeof id->firmware);
        if (id->serial[0] != '\0')
                return true;
        hal_scsi_ata_text(block, ATA_SERIAL_WORD, ATA_SERIAL_WORDS, text);
        return take_serial(id, text, strlen(text), HAL_SERIAL_SOURCE_ATA_IDENTIFY);
}

static void ask_drive(const struct hal_host *host, int fd, int dirfd, struct hal_identity *id)
{
        uint8_t page[VPD_MAX_BYTES];
        char vendor[HAL_HOST_TEXT_MAX] = "";
        size_t n;

        if (id->bus != HAL_BUS_ATA && id->bus != HAL_BUS_SCSI && id->bus != HAL_BUS_USB)
                return;
        (void)!hal_host_read_text(dirfd, "device/vendor", vendor);
        if ((id->bus == HAL_BUS_USB || bth_streq(vendor, "ATA")) && serial_from_ata(host, fd, id))
                return;
        if (id->serial[0] == '\0' &&
            hal_scsi_inquiry_page(host, fd, 0x80, page, sizeof page, &n) == 0)
                (void)!take_serial(id, page, n, HAL_SERIAL_SOURCE_INQUIRY_80);
}

static void ask_udev(const struct hal_udev_hints *hints, struct hal_identity *id)
{
        const char *text = hints->id_scsi_serial;

        if (text && take_serial(id, text, strlen(text), HAL_SERIAL_SOURCE_UDEV))
                return;
        text = hints->id_serial_short;
        if (text && id->bus != HAL_BUS_SCSI && !bth_streq(hints->id_bus, "scsi"))
                (void)!take_serial(id, text, strlen(text),
                                   id->bus == HAL_BUS_USB ? HAL_SERIAL_SOURCE_USB_BRIDGE
                                                          : HAL_SERIAL_SOURCE_UDEV);
}

int hal_identity_read(const struct hal_host *host, dev_t device, int fd,
                      const struct hal_udev_hints *hints, struct hal_identity *ret_identity,
                      struct bth_error *error)
{
        _cleanup_close_ int dirfd = BTH_FD_NONE;
        struct hal_identity id = { .device = device };
        char place[PATH_MAX];
        int r = open_disk(host, device, &dirfd, place);

        if (r == 0) {
                id.bus = bus_of(dirfd, place);
                r = read_numbers(dirfd, &id);
        }
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_DRIVE_GONE,
                                     "the system does not know the device %u:%u (any more)",
                                     major(device), minor(device));
        read_texts(dirfd, &id);
        (void)serial_from_sysfs(dirfd, &id);
        if (fd >= 0)
                ask_drive(host, fd, dirfd, &id);
        if (id.serial[0] == '\0' && hints)
                ask_udev(hints, &id);
        if (id.serial[0] == '\0' && id.bus == HAL_BUS_USB)
                (void)serial_of_bridge(place, &id);
        /* Pulled meanwhile: half an identity must not become an empty serial number. */
        if (id.serial[0] == '\0' && faccessat(dirfd, "size", F_OK, 0) < 0)
                return bth_error_set(error, -ENODEV, BTH_REASON_DRIVE_GONE,
                                     "the drive went while it was identified");
        id.fault = id.serial[0] == '\0' ? HAL_IDENTITY_FAULT_SERIAL_EMPTY : HAL_IDENTITY_FAULT_NONE;
        *ret_identity = id;
        return 0;
}

/* ---- image files, and names ---- */

int hal_identity_of_file(const char *path, uint64_t size_bytes, struct hal_identity *ret_identity)
{
        const char *slash = strrchr(path, '/');
        const char *name = slash ? slash + 1 : path;
        const char *dot = strrchr(name, '.');
        struct hal_identity id = {
                .model = "image file",
                .bus = HAL_BUS_FILE,
                .size_bytes = size_bytes,
                .logical_sector_bytes = SECTOR_BYTES,
                .physical_sector_bytes = SECTOR_BYTES,
        };
        size_t n;

        if (size_bytes > INT64_MAX)
                return -ENODEV;
        n = dot && dot > name ? (size_t)(dot - name) : strlen(name);
        if (keep_visible(name, n, !bth_utf8_valid(name, n), id.serial) == 0)
                id.serial_source = HAL_SERIAL_SOURCE_FILE_NAME;
        else
                id.fault = HAL_IDENTITY_FAULT_SERIAL_EMPTY;
        *ret_identity = id;
        return 0;
}

int hal_identity_of_path(const struct hal_host *host, const char *path,
                         struct hal_identity *ret_identity, struct bth_error *error)
{
        _cleanup_close_ int fd = BTH_FD_NONE;
        struct stat st;

        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        if (stat(path, &st) < 0)
                return bth_error_set(error, -errno, BTH_REASON_FILE_UNREADABLE,
                                     "it cannot be opened: %s", bth_strerror(-errno));
        if (S_ISREG(st.st_mode))
                return hal_identity_of_file(path, (uint64_t)st.st_size, ret_identity);
        if (!S_ISBLK(st.st_mode))
                return bth_error_set(error, -ENOTBLK, BTH_REASON_UNSUPPORTED,
                                     "it is neither a drive nor an image file");
        /* Not every caller may open it; sysfs is for everybody. */
        fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        return hal_identity_read(host, st.st_rdev, fd, NULL, ret_identity, error);
}

/* ---- duplicates ---- */

static bool has_twin(struct hal_identity *const *identities, size_t n, size_t at)
{
        for (size_t i = 0; i < n; i++)
                if (i != at && strcmp(identities[i]->serial, identities[at]->serial) == 0)
                        return true;
        return false;
}

bool hal_identity_mark_duplicates(struct hal_identity *const *identities, size_t n)
{
        bool changed = false;

        for (size_t i = 0; i < n; i++) {
                enum hal_identity_fault fault = HAL_IDENTITY_FAULT_SERIAL_EMPTY;

                if (identities[i]->serial[0] != '\0')
                        fault = has_twin(identities, n, i) ? HAL_IDENTITY_FAULT_SERIAL_DUPLICATE
                                                           : HAL_IDENTITY_FAULT_NONE;
                changed = changed || identities[i]->fault != fault;
                identities[i]->fault = fault;
        }
        return changed;
}
