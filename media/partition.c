/* SPDX-License-Identifier: GPL-3.0-or-later */
/* partition - libblkid on a descriptor, twice where the sector size is a guess. */
#include <blkid/blkid.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/le.h"
#include "media/partition.h"

#define MAX_PARTITIONS    512
#define MAX_GPT_ENTRIES   1024 /* 128 is usual; libblkid would allocate for any number */
#define BLKID_SECTOR      512  /* libblkid counts in these, whatever the device does */
#define SIGNATURE_OFFSET  3
#define SIGNATURE_BYTES   8
#define GPT_HEADER_BYTES  92
#define GPT_ENTRIES_FIELD 80

static const char *const tables[] = { "none", "mbr", "gpt", "other" };
static const char *const roles[] = { "data", "reserved", "efi", "recovery", "other" };

const char *med_table_to_string(enum med_table t)
{
        return (size_t)t < ARRAY_SIZE(tables) ? tables[t] : NULL;
}

const char *med_partition_role_to_string(enum med_partition_role r)
{
        return (size_t)r < ARRAY_SIZE(roles) ? roles[r] : NULL;
}

struct med_partitions *med_partitions_free(struct med_partitions *p)
{
        if (p)
                free(p->items);
        free(p);
        return NULL;
}

static int unreadable(struct bth_error *error, int r, uint64_t offset_bytes)
{
        bth_error_at(error, NULL, 0, offset_bytes);
        return bth_error_set(error, r,
                             r == -ENODEV || r == -ENXIO ? BTH_REASON_DRIVE_GONE
                                                         : BTH_REASON_DRIVE_READ_ERROR,
                             "the partition table cannot be read: %s", bth_strerror(r));
}

static blkid_probe probe_free(blkid_probe p)
{
        blkid_free_probe(p);
        return NULL;
}
DEFINE_CLEANUP(probe_free, blkid_probe);

/* Reads exactly n bytes, or says that there are not so many. Returns 0, -ENODATA, -errno. */
static int read_at(int fd, uint64_t offset_bytes, void *buffer, size_t n)
{
        size_t done = 0;

        while (done < n) {
                ssize_t k =
                        pread(fd, (char *)buffer + done, n - done, (off_t)(offset_bytes + done));

                if (k < 0 && errno == EINTR)
                        continue;
                if (k <= 0)
                        return k < 0 ? -errno : -ENODATA;
                done += (size_t)k;
        }
        return 0;
}

/* -- what a partition is
 * ----------------------------------------------------------------------------- */

static enum med_partition_role role_of_guid(const char *guid)
{
        static const struct {
                const char *guid;
                enum med_partition_role role;
        } known[] = {
                { "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", MED_PARTITION_DATA },
                { "e3c9e316-0b5c-4db8-817d-f92df00215ae", MED_PARTITION_RESERVED },
                { "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", MED_PARTITION_EFI },
                { "de94bba4-06d1-4d40-a16a-bfd50179d6ac", MED_PARTITION_RECOVERY },
        };

        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (strcasecmp(guid, known[i].guid) == 0)
                        return known[i].role;
        return MED_PARTITION_OTHER;
}

static enum med_partition_role role_of_mbr_type(int type)
{
        switch (type) {
        case 0x01: /* FAT12 */
        case 0x04: /* FAT16 */
        case 0x06:
        case 0x07: /* NTFS, exFAT, and BitLocker around them */
        case 0x0b: /* FAT32 */
        case 0x0c:
        case 0x0e:
                return MED_PARTITION_DATA;
        case 0x27:
                return MED_PARTITION_RECOVERY;
        case 0xef:
                return MED_PARTITION_EFI;
        default:
                return MED_PARTITION_OTHER;
        }
}

/* BitLocker or NTFS, by libblkid; by the signature alone where libblkid wants more to be intact. */
static int find_content(int fd, struct med_partition *p)
{
        static char bitlocker[] = "BitLocker", ntfs[] = "ntfs";
        char *names[] = { bitlocker, ntfs, NULL };
        _cleanup_(probe_freep) blkid_probe probe = blkid_new_probe();
        uint8_t head[SIGNATURE_OFFSET + SIGNATURE_BYTES];
        const char *type = NULL;
        int r;

        if (!probe)
                return -ENOMEM;
        if (blkid_probe_set_device(probe, fd, (blkid_loff_t)p->offset_bytes,
                                   (blkid_loff_t)p->length_bytes) == 0 &&
            blkid_probe_enable_superblocks(probe, 1) == 0 &&
            blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE) == 0 &&
            blkid_probe_filter_superblocks_type(probe, BLKID_FLTR_ONLYIN, names) == 0 &&
            blkid_do_probe(probe) == 0 && blkid_probe_lookup_value(probe, "TYPE", &type, NULL) == 0)
                (void)snprintf(p->content, sizeof p->content, "%s", type);
        if (type)
                return 0;
        r = read_at(fd, p->offset_bytes, head, sizeof head);
        if (r == -ENODATA)
                return 0;
        if (r == 0 && memcmp(head + SIGNATURE_OFFSET, "-FVE-FS-", SIGNATURE_BYTES) == 0)
                (void)snprintf(p->content, sizeof p->content, "%s", bitlocker);
        return r;
}

/* -- tables
 * ------------------------------------------------------------------------------------------ */

/* The number of entries that a GPT header claims, before libblkid allocates for them. */
static int check_gpt_header(int fd, uint64_t offset_bytes, uint64_t size_bytes,
                            struct bth_error *error)
{
        uint8_t header[GPT_HEADER_BYTES];
        uint32_t entries;
        int r;

        if (!bth_range_inside(offset_bytes, sizeof header, size_bytes))
                return 0;
        r = read_at(fd, offset_bytes, header, sizeof header);
        if (r < 0)
                return unreadable(error, r, offset_bytes);
        if (memcmp(header, "EFI PART", 8) != 0)
                return 0;
        entries = bth_load_le32(header + GPT_ENTRIES_FIELD);
        if (entries <= MAX_GPT_ENTRIES)
                return 0;
        bth_error_at(error, NULL, 0, offset_bytes);
        return bth_error_set(error, -EBADMSG, BTH_REASON_SYNTAX,
                             "the partition table claims %u entries, which is more than %u",
                             entries, MAX_GPT_ENTRIES);
}

static int check_gpt(int fd, const struct med_partitions *t, struct bth_error *error)
{
        int r = check_gpt_header(fd, t->sector_bytes, t->device_bytes, error);

        if (r == 0 && t->device_bytes >= t->sector_bytes)
                r = check_gpt_header(
                        fd, bth_align_down(t->device_bytes, t->sector_bytes) - t->sector_bytes,
                        t->device_bytes, error);
        return r;
}

/* Start and length in bytes. False when the device has nothing of the partition. */
static bool place(const struct med_partitions *t, uint64_t start, uint64_t sectors,
                  struct med_partition *p)
{
        uint64_t length;

        if (!bth_mul_u64(start, BLKID_SECTOR, &p->offset_bytes) || sectors == 0 ||
            p->offset_bytes >= t->device_bytes)
                return false;
        p->cut = !bth_mul_u64(sectors, BLKID_SECTOR, &length) ||
                 length > t->device_bytes - p->offset_bytes;
        p->length_bytes = p->cut ? t->device_bytes - p->offset_bytes : length;
        return true;
}

static bool take_entry(const struct med_partitions *t, blkid_partition entry,
                       struct med_partition *p)
{
        const char *text = blkid_partition_get_type_string(entry);
        const blkid_loff_t start = blkid_partition_get_start(entry);
        const blkid_loff_t sectors = blkid_partition_get_size(entry);

        *p = (struct med_partition){ 0 };
        if (blkid_partition_is_extended(entry) || start < 0 || sectors < 0 ||
            !place(t, (uint64_t)start, (uint64_t)sectors, p))
                return false;
        p->number = (unsigned)blkid_partition_get_partno(entry);
        if (text) {
                p->role = role_of_guid(text);
                (void)snprintf(p->type, sizeof p->type, "%s", text);
        } else {
                p->role = role_of_mbr_type(blkid_partition_get_type(entry));
                (void)snprintf(p->type, sizeof p->type, "0x%02x",
                               (unsigned)blkid_partition_get_type(entry) & 0xff);
        }
        text = blkid_partition_get_name(entry);
        if (text)
                (void)snprintf(p->name, sizeof p->name, "%s", text);
        return true;
}

static enum med_table table_of(blkid_partlist list)
{
        blkid_parttable table = blkid_partlist_get_table(list);
        const char *type = table ? blkid_parttable_get_type(table) : NULL;

        if (!type)
                return MED_TABLE_NONE;
        if (strcmp(type, "gpt") == 0)
                return MED_TABLE_GPT;
        return strcmp(type, "dos") == 0 ? MED_TABLE_MBR : MED_TABLE_OTHER;
}

static int by_offset(const void *a, const void *b)
{
        uint64_t x = ((const struct med_partition *)a)->offset_bytes,
                 y = ((const struct med_partition *)b)->offset_bytes;

        return x < y ? -1 : x > y;
}

/* The entries of the table, if there is one. */
static int read_table(int fd, struct med_partitions *t, struct bth_error *error)
{
        _cleanup_(probe_freep) blkid_probe probe = blkid_new_probe();
        blkid_partlist list;
        int n, r = check_gpt(fd, t, error);

        if (r < 0 || !probe)
                return r < 0 ? r : -ENOMEM;
        errno = 0;
        if (blkid_probe_set_device(probe, fd, 0, 0) < 0 ||
            blkid_probe_set_sectorsize(probe, t->sector_bytes) < 0)
                return unreadable(error, errno > 0 ? -errno : -EIO, 0);
        list = blkid_probe_get_partitions(probe);
        t->table = list ? table_of(list) : MED_TABLE_NONE;
        n = list ? blkid_partlist_numof_partitions(list) : 0;
        if (t->table == MED_TABLE_NONE || n <= 0)
                return 0;
        if (n > MAX_PARTITIONS)
                return bth_error_set(error, -EBADMSG, BTH_REASON_SYNTAX,
                                     "the drive has %d partitions, which is more than %d", n,
                                     MAX_PARTITIONS);
        t->items = calloc((size_t)n, sizeof *t->items);
        if (!t->items)
                return -ENOMEM;
        for (int i = 0; i < n; i++)
                if (take_entry(t, blkid_partlist_get_partition(list, i), &t->items[t->n]))
                        t->n++;
        qsort(t->items, t->n, sizeof *t->items, by_offset);
        for (size_t i = 0; r == 0 && i < t->n; i++) {
                r = find_content(fd, &t->items[i]);
                if (r < 0 && r != -ENOMEM)
                        r = unreadable(error, r, t->items[i].offset_bytes);
        }
        return r;
}

/* One volume over all of the device. */
static int take_whole(int fd, struct med_partitions *t, struct bth_error *error)
{
        struct med_partition whole = { .length_bytes = t->device_bytes };
        int r = t->device_bytes > 0 ? find_content(fd, &whole) : 0;

        if (r < 0)
                return r == -ENOMEM ? r : unreadable(error, r, 0);
        if (t->device_bytes == 0)
                return 0;
        t->items = calloc(1, sizeof *t->items);
        if (!t->items)
                return -ENOMEM;
        t->items[t->n++] = whole;
        return 0;
}

static bool holds_known_volume(const struct med_partitions *t)
{
        for (size_t i = 0; i < t->n; i++)
                if (t->items[i].content[0] != '\0')
                        return true;
        return false;
}

static int try_sector(int fd, uint64_t size_bytes, uint32_t sector_bytes,
                      struct med_partitions **ret_table, struct bth_error *error)
{
        _cleanup_(med_partitions_freep) struct med_partitions *t = calloc(1, sizeof *t);
        int r;

        if (!t)
                return -ENOMEM;
        t->sector_bytes = sector_bytes;
        t->device_bytes = size_bytes;
        r = read_table(fd, t, error);
        if (r == 0)
                *ret_table = take_ptr(t);
        return r;
}

static int size_of(int fd, uint64_t *ret_size_bytes, uint32_t *ret_sector_bytes)
{
        struct stat st;
        int sector = 0;

        if (fstat(fd, &st) < 0)
                return -errno;
        *ret_sector_bytes = 0; /* a file does not say */
        if (!S_ISBLK(st.st_mode)) {
                *ret_size_bytes = (uint64_t)st.st_size;
                return S_ISREG(st.st_mode) ? 0 : -ENOTBLK;
        }
        if (ioctl(fd, BLKGETSIZE64, ret_size_bytes) < 0 || ioctl(fd, BLKSSZGET, &sector) < 0)
                return -errno;
        *ret_sector_bytes = sector == 4096 ? 4096 : 512;
        return 0;
}

int med_partitions_read(int fd, struct med_partitions **ret_partitions, struct bth_error *error)
{
        _cleanup_(med_partitions_freep) struct med_partitions *t = NULL, *large = NULL;
        struct med_partition whole = { 0 };
        uint32_t sector;
        uint64_t size;
        int r = size_of(fd, &size, &sector);

        if (r < 0)
                return unreadable(error, r, 0);
        /* A volume without a table first: BitLocker's own boot sector can look like a table. */
        whole.length_bytes = size;
        r = size > 0 ? find_content(fd, &whole) : 0;
        if (r < 0)
                return r == -ENOMEM ? r : unreadable(error, r, 0);
        if (whole.content[0] != '\0') {
                t = calloc(1, sizeof *t);
                if (!t)
                        return -ENOMEM;
                t->sector_bytes = sector ? sector : 512;
                t->device_bytes = size;
        } else {
                r = try_sector(fd, size, sector ? sector : 512, &t, error);
                if (r == 0 && sector == 0 && !holds_known_volume(t))
                        r = try_sector(fd, size, 4096, &large, error);
                if (r < 0)
                        return r;
                if (large && (holds_known_volume(large) ||
                              (t->table == MED_TABLE_NONE && large->table != MED_TABLE_NONE))) {
                        struct med_partitions *other = t;

                        t = large;
                        large = other;
                }
        }
        if (t->table == MED_TABLE_NONE)
                r = take_whole(fd, t, error);
        if (r == 0)
                *ret_partitions = take_ptr(t);
        return r;
}

int med_partitions_first_data(const struct med_partitions *p,
                              const struct med_partition **ret_partition, struct bth_error *error)
{
        for (size_t i = 0; i < p->n; i++)
                if (p->items[i].role == MED_PARTITION_DATA) {
                        *ret_partition = &p->items[i];
                        return 0;
                }
        for (size_t i = 0; i < p->n; i++)
                if (p->items[i].role == MED_PARTITION_OTHER && p->items[i].content[0] != '\0') {
                        *ret_partition = &p->items[i];
                        return 0;
                }
        return bth_error_set(error, -ENOENT, BTH_REASON_NO_PARTITION,
                             "none of the %zu partitions of the drive is a data partition", p->n);
}
