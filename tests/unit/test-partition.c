/* SPDX-License-Identifier: GPL-3.0-or-later */
/* partition - tables written here, byte by byte, and which volume of them is the data volume. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/guid.h"
#include "base/io.h"
#include "base/le.h"
#include "media/partition.h"
#include "media/partition_make.h"

#define MIB         ((uint64_t)1 << 20)
#define DISK_BYTES  (64 * MIB)
#define GPT_ENTRIES 128u

#define GUID_DATA     "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"
#define GUID_RESERVED "e3c9e316-0b5c-4db8-817d-f92df00215ae"
#define GUID_EFI      "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
#define GUID_RECOVERY "de94bba4-06d1-4d40-a16a-bfd50179d6ac"
#define GUID_LINUX    "0fc63daf-8483-4772-8e79-3d69d8477de4"

struct entry {
        const char *type;
        uint64_t offset_bytes, length_bytes;
        const char *name;
};

static uint32_t crc32_of(const uint8_t *p, size_t n)
{
        uint32_t crc = UINT32_MAX;

        for (size_t i = 0; i < n; i++) {
                crc ^= p[i];
                for (int k = 0; k < 8; k++)
                        crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
        return ~crc;
}

static int new_disk(uint64_t size_bytes)
{
        int fd = memfd_create("disk", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)size_bytes), 0);
        return fd;
}

static void put(int fd, const void *data, size_t n, uint64_t offset_bytes)
{
        assert_int_equal(bth_pwrite_full(fd, data, n, offset_bytes), 0);
}

/* The four entries of a master boot record: type, start and length in sectors. */
static void put_mbr(int fd, const uint32_t entries[4][3])
{
        uint8_t sector[512] = { 0 };

        for (size_t i = 0; i < 4; i++) {
                uint8_t *e = sector + 0x1be + 16 * i;

                e[4] = (uint8_t)entries[i][0];
                bth_store_le32(e + 8, entries[i][1]);
                bth_store_le32(e + 12, entries[i][2]);
        }
        bth_store_le32(sector + 0x1b8, 0x12345678);
        sector[510] = 0x55;
        sector[511] = 0xaa;
        put(fd, sector, sizeof sector, 0);
}

static void put_gpt(int fd, uint32_t sector, const struct entry *entries, size_t n,
                    uint32_t n_claimed)
{
        static const uint32_t protective[4][3] = { { 0xee, 1, 0xffffffff } };
        static uint8_t table[GPT_ENTRIES * 128];
        uint8_t header[92] = { 0 };
        struct bth_guid guid;

        put_mbr(fd, protective);
        memset(table, 0, sizeof table);
        for (size_t i = 0; i < n; i++) {
                uint8_t *e = table + 128 * i;

                assert_int_equal(bth_guid_from_string(entries[i].type, &guid), 0);
                memcpy(e, guid.b, 16);
                memset(e + 16, (int)i + 1, 16);
                bth_store_le64(e + 32, entries[i].offset_bytes / sector);
                bth_store_le64(e + 40,
                               (entries[i].offset_bytes + entries[i].length_bytes) / sector - 1);
                for (size_t k = 0; entries[i].name && entries[i].name[k]; k++)
                        e[56 + 2 * k] = (uint8_t)entries[i].name[k];
        }
        memcpy(header, "EFI PART", 8);
        bth_store_le32(header + 8, 0x10000);
        bth_store_le32(header + 12, sizeof header);
        bth_store_le64(header + 24, 1);
        bth_store_le64(header + 32, DISK_BYTES / sector - 1);
        bth_store_le64(header + 40, 2 + sizeof table / sector);
        bth_store_le64(header + 48, DISK_BYTES / sector - 2 - sizeof table / sector);
        memset(header + 56, 0x77, 16);
        bth_store_le64(header + 72, 2);
        bth_store_le32(header + 80, n_claimed);
        bth_store_le32(header + 84, 128);
        bth_store_le32(header + 88, crc32_of(table, sizeof table));
        bth_store_le32(header + 16, crc32_of(header, sizeof header));
        put(fd, header, sizeof header, sector);
        put(fd, table, sizeof table, (uint64_t)2 * sector);
}

/* A boot sector of BitLocker; enough for the signature. */
static void put_volume(int fd, uint64_t offset_bytes)
{
        uint8_t sector[512] = { 0xeb, 0x58, 0x90, '-', 'F', 'V', 'E', '-', 'F', 'S', '-' };

        memset(sector + 0x1be, 0xff, 0x40);
        sector[510] = 0x55;
        sector[511] = 0xaa;
        put(fd, sector, sizeof sector, offset_bytes);
}

static struct med_partitions *read_disk(int fd)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct med_partitions *p = NULL;

        if (med_partitions_read(fd, &p, &e) < 0)
                fail_msg("%s", e.sentence);
        return p;
}

static const struct med_partition *first_data(const struct med_partitions *p)
{
        const struct med_partition *data = NULL;

        assert_int_equal(med_partitions_first_data(p, &data, NULL), 0);
        return data;
}

static const struct entry windows_disk[] = {
        { GUID_EFI, 1 * MIB, 2 * MIB, "EFI system partition" },
        { GUID_RESERVED, 3 * MIB, 1 * MIB, "Microsoft reserved" },
        { GUID_RECOVERY, 4 * MIB, 4 * MIB, NULL },
        { GUID_DATA, 8 * MIB, 16 * MIB, "Basic data partition" },
        { GUID_DATA, 24 * MIB, 16 * MIB, "second" },
};

static void check_gpt(uint32_t sector)
{
        int fd = new_disk(DISK_BYTES);
        struct med_partitions *p;
        const struct med_partition *data;

        put_gpt(fd, sector, windows_disk, ARRAY_SIZE(windows_disk), GPT_ENTRIES);
        put_volume(fd, 8 * MIB);
        p = read_disk(fd);
        assert_int_equal(p->table, MED_TABLE_GPT);
        assert_int_equal(p->sector_bytes, sector);
        assert_int_equal(p->n, 5);
        assert_int_equal(p->items[0].role, MED_PARTITION_EFI);
        assert_int_equal(p->items[1].role, MED_PARTITION_RESERVED);
        assert_int_equal(p->items[2].role, MED_PARTITION_RECOVERY);
        data = first_data(p);
        assert_int_equal(data->number, 4);
        assert_int_equal(data->offset_bytes, 8 * MIB);
        assert_int_equal(data->length_bytes, 16 * MIB);
        assert_string_equal(data->type, GUID_DATA);
        assert_string_equal(data->name, "Basic data partition");
        assert_string_equal(data->content, "BitLocker");
        assert_false(data->cut);
        (void)med_partitions_free(p);
        close(fd);
}

static void test_gpt_512(void **state)
{
        check_gpt(512);
}

static void test_gpt_4096(void **state)
{
        check_gpt(4096);
}

static void test_mbr(void **state)
{
        static const uint32_t entries[4][3] = { { 0x27, 2048, 2048 },
                                                { 0x07, 20480, 40960 },
                                                { 0x07, 8192, 4096 },
                                                { 0x83, 4096, 2048 } };
        int fd = new_disk(DISK_BYTES);
        struct med_partitions *p;
        const struct med_partition *data;

        put_mbr(fd, entries);
        put_volume(fd, 8192 * 512);
        p = read_disk(fd);
        assert_int_equal(p->table, MED_TABLE_MBR);
        assert_int_equal(p->n, 4);
        data = first_data(p); /* by place on the disk, not in the table */
        assert_int_equal(data->number, 3);
        assert_int_equal(data->offset_bytes, 8192 * 512);
        assert_string_equal(data->type, "0x07");
        (void)med_partitions_free(p);
        close(fd);
}

/* The same numbers mean other places on a disk of 4,096-byte sectors; the volume tells which. */
static void test_mbr_4096(void **state)
{
        static const uint32_t entries[4][3] = { { 0x07, 256, 2048 } };
        int fd = new_disk(DISK_BYTES);
        struct med_partitions *p;

        put_mbr(fd, entries);
        put_volume(fd, 256 * 4096);
        p = read_disk(fd);
        assert_int_equal(p->sector_bytes, 4096);
        assert_int_equal(first_data(p)->offset_bytes, 256 * 4096);
        assert_int_equal(first_data(p)->length_bytes, 2048 * 4096);
        (void)med_partitions_free(p);
        close(fd);
}

static void test_bare(void **state)
{
        int fd = new_disk(DISK_BYTES);
        struct med_partitions *p;

        put_volume(fd, 0);
        p = read_disk(fd);
        assert_int_equal(p->table, MED_TABLE_NONE);
        assert_int_equal(first_data(p)->number, 0);
        assert_int_equal(first_data(p)->length_bytes, DISK_BYTES);
        assert_string_equal(first_data(p)->content, "BitLocker");
        (void)med_partitions_free(p);
        close(fd);
}

static void test_empty(void **state)
{
        int fd = new_disk(DISK_BYTES), none = new_disk(0);
        struct med_partitions *p = read_disk(fd);
        const struct med_partition *data;
        struct bth_error e = BTH_ERROR_INIT;

        assert_int_equal(p->table, MED_TABLE_NONE);
        assert_string_equal(first_data(p)->content, "");
        (void)med_partitions_free(p);
        p = read_disk(none);
        assert_int_equal(p->n, 0);
        assert_int_equal(med_partitions_first_data(p, &data, &e), -ENOENT);
        assert_int_equal(e.reason, BTH_REASON_NO_PARTITION);
        (void)med_partitions_free(p);
        close(fd);
        close(none);
}

static void test_no_data_partition(void **state)
{
        static const struct entry entries[] = {
                { GUID_EFI, 1 * MIB, 2 * MIB, NULL },
                { GUID_LINUX, 4 * MIB, 4 * MIB, NULL },
        };
        int fd = new_disk(DISK_BYTES);
        const struct med_partition *data;
        struct bth_error e = BTH_ERROR_INIT;
        struct med_partitions *p;

        put_gpt(fd, 512, entries, 2, GPT_ENTRIES);
        put_volume(fd, 1 * MIB); /* what is an EFI partition stays one */
        p = read_disk(fd);
        assert_int_equal(med_partitions_first_data(p, &data, &e), -ENOENT);
        assert_int_equal(e.reason, BTH_REASON_NO_PARTITION);
        (void)med_partitions_free(p);
        put_volume(fd, 4 * MIB); /* a wrong type, and yet the customer's volume */
        p = read_disk(fd);
        assert_int_equal(first_data(p)->offset_bytes, 4 * MIB);
        (void)med_partitions_free(p);
        close(fd);
}

static void test_hostile(void **state)
{
        static const uint32_t beyond[4][3] = { { 0x07, 2048, 0xfffffff0 },
                                               { 0x07, 0xfffffff0, 16 } };
        int fd = new_disk(DISK_BYTES);
        struct bth_error e = BTH_ERROR_INIT;
        struct med_partitions *p = NULL;

        put_mbr(fd, beyond);
        p = read_disk(fd);
        assert_int_equal(p->n, 1);
        assert_true(p->items[0].cut);
        assert_int_equal(p->items[0].offset_bytes + p->items[0].length_bytes, DISK_BYTES);
        (void)med_partitions_free(p);
        p = NULL;
        put_gpt(fd, 512, windows_disk, 5, 0x01000000);
        assert_int_equal(med_partitions_read(fd, &p, &e), -EBADMSG);
        assert_int_equal(e.reason, BTH_REASON_SYNTAX);
        assert_int_equal(e.offset_bytes, 512);
        assert_null(p);
        close(fd);
}

static void check_made(uint32_t sector_bytes)
{
        static const uint8_t bitlocker[] = { 0xeb, 0x58, 0x90, '-', 'F', 'V',
                                             'E',  '-',  'F',  'S', '-' };
        struct med_partition_place place = { 0 };
        struct bth_error e = BTH_ERROR_INIT;
        const struct med_partition *data = NULL;
        struct med_partitions *p = NULL;
        int fd = new_disk(DISK_BYTES + 12345);

        put(fd, "old", 3, 512);
        assert_int_equal(med_partition_make(fd, sector_bytes, &place, &e), 0);
        put(fd, bitlocker, sizeof bitlocker, place.offset_bytes);
        assert_int_equal(med_partitions_read(fd, &p, &e), 0);
        assert_int_equal(p->table, MED_TABLE_GPT);
        assert_int_equal(p->n, 1);
        assert_int_equal(med_partitions_first_data(p, &data, &e), 0);
        assert_int_equal(data->role, MED_PARTITION_DATA);
        assert_int_equal(data->offset_bytes, MIB);
        assert_int_equal(data->offset_bytes, place.offset_bytes);
        assert_int_equal(data->length_bytes, place.length_bytes);
        assert_int_equal(data->length_bytes, DISK_BYTES - 2 * MIB);
        assert_string_equal(data->name, "Basic data partition");
        (void)med_partitions_free(p);
        close(fd);
}

static void test_made(void **state)
{
        struct med_partition_place place;
        struct bth_error e = BTH_ERROR_INIT;

        (void)state;
        check_made(512);
        check_made(4096);
        assert_int_equal(med_partition_plan(3 * MIB, &place, &e), -ENOSPC);
        assert_int_equal(e.reason, BTH_REASON_DEVICE_WRONG_SIZE);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_gpt_512),
                cmocka_unit_test(test_gpt_4096),
                cmocka_unit_test(test_mbr),
                cmocka_unit_test(test_mbr_4096),
                cmocka_unit_test(test_bare),
                cmocka_unit_test(test_empty),
                cmocka_unit_test(test_no_data_partition),
                cmocka_unit_test(test_hostile),
                cmocka_unit_test(test_made),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
