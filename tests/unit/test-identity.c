/* SPDX-License-Identifier: GPL-3.0-or-later */
/* identity - the serial number by the rules of the hotplug specification, section 5: one machine
 * with a drive of each bus, as sysfs showed them there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#include "hal/identity.h"
#include "hal/scsi.h"
#include "tests/lib/fakesysfs.h"

#define ATA  "devices/pci0000:00/0000:00:1f.2/ata2/host1/target1:0:0/1:0:0:0"
#define SCSI "devices/pci0000:00/0000:00:02.0/virtio0/host6/target6:0:2/6:0:2:0"
#define NVME "devices/pci0000:00/0000:00:03.0/0000:01:00.0/nvme/nvme0"
#define USB  "devices/pci0000:00/0000:00:04.0/usb2/2-1/2-1:1.0/host8/target8:0:0/8:0:0:0"

static struct fake_machine machine;

static void page80(const char *path, const char *serial)
{
        uint8_t page[256] = { 0, 0x80, 0, (uint8_t)strlen(serial) };

        memcpy(page + 4, serial, strlen(serial));
        fake_file(&machine, path, page, 4 + strlen(serial));
}

static void scsi_texts(const char *place, const char *vendor, const char *model, const char *rev)
{
        const char *const names[] = { "vendor", "model", "rev", "scsi_level" };
        const char *const values[] = { vendor, model, rev, "6\n" };
        char path[256];

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                (void)snprintf(path, sizeof path, "%s/%s", place, names[i]);
                fake_text(&machine, path, values[i]);
        }
}

static int setup(void **state)
{
        fake_machine_make(&machine);
        fake_disk(&machine, ATA, "sda", makedev(8, 0), UINT64_C(4000787030016), 9);
        scsi_texts(ATA, "ATA     \n", "LAB SATA SSD    \n", "2.5+\n");
        page80(ATA "/vpd_pg80", "       SATA-SER-0001");
        fake_text(&machine, ATA "/block/sda/sda1/partition", "1\n");
        fake_text(&machine, ATA "/block/sda/sda1/size", "2048\n");
        fake_link(&machine, "dev/block/8:1", "../../" ATA "/block/sda/sda1");

        fake_disk(&machine, SCSI, "sdb", makedev(8, 16), 1 << 30, 12);
        scsi_texts(SCSI, "QEMU    \n", "QEMU HARDDISK   \n", "2.5+\n");
        page80(SCSI "/vpd_pg80", "SCSI SER 0002");

        fake_disk(&machine, NVME, "nvme0n1", makedev(259, 0), 1 << 30, 13);
        fake_text(&machine, NVME "/serial", "NVME-SER-0003       \n");
        fake_text(&machine, NVME "/model", "QEMU NVMe Ctrl                          \n");
        fake_text(&machine, NVME "/firmware_rev", "8.0.0   \n");
        fake_text(&machine, NVME "/vendor", "0x1b36\n");

        fake_disk(&machine, USB, "sdc", makedev(8, 32), 1 << 30, 14);
        scsi_texts(USB, "QEMU    \n", "QEMU HARDDISK   \n", "2.5+\n");
        fake_text(&machine, "devices/pci0000:00/0000:00:04.0/usb2/2-1/idVendor", "46f4\n");
        fake_text(&machine, "devices/pci0000:00/0000:00:04.0/usb2/2-1/serial", "BRIDGE-1\n");
        return 0;
}

static int teardown(void **state)
{
        fake_machine_remove(&machine);
        return 0;
}

static struct hal_identity identify(unsigned maj, unsigned min, int fd,
                                    const struct hal_udev_hints *hints)
{
        struct hal_identity id;
        struct bth_error e = BTH_ERROR_INIT;

        assert_int_equal(hal_identity_read(&machine.host, makedev(maj, min), fd, hints, &id, &e),
                         0);
        return id;
}

static void test_each_bus(void **state)
{
        struct hal_identity id = identify(8, 0, -1, NULL);

        assert_string_equal(id.serial, "SATA-SER-0001");
        assert_string_equal(id.model, "LAB SATA SSD");
        assert_string_equal(id.firmware, "2.5+");
        assert_int_equal(id.bus, HAL_BUS_ATA);
        assert_int_equal(id.serial_source, HAL_SERIAL_SOURCE_VPD_80);
        assert_int_equal(id.fault, HAL_IDENTITY_FAULT_NONE);
        assert_true(id.size_bytes == UINT64_C(4000787030016) && id.diskseq == 9 && id.rotational);
        assert_true(id.logical_sector_bytes == 512 && id.physical_sector_bytes == 4096);
        id = identify(8, 16, -1, NULL);
        assert_string_equal(id.serial, "SCSISER0002");
        assert_string_equal(id.model, "QEMU QEMU HARDDISK");
        assert_int_equal(id.bus, HAL_BUS_SCSI);
        id = identify(259, 0, -1, NULL);
        assert_string_equal(id.serial, "NVME-SER-0003");
        assert_string_equal(id.model, "QEMU NVMe Ctrl");
        assert_string_equal(id.firmware, "8.0.0");
        assert_int_equal(id.bus, HAL_BUS_NVME);
        assert_false(id.rotational);
        id = identify(8, 32, -1, NULL);
        assert_string_equal(id.serial, "BRIDGE-1");
        assert_int_equal(id.bus, HAL_BUS_USB);
        assert_int_equal(id.serial_source, HAL_SERIAL_SOURCE_USB_BRIDGE);
}

static void test_partition_is_its_drive(void **state)
{
        struct hal_identity id = identify(8, 1, -1, NULL);

        assert_string_equal(id.serial, "SATA-SER-0001");
        assert_true(id.device == makedev(8, 0) && id.size_bytes == UINT64_C(4000787030016));
}

/* The recorded answer of a bridge that translates ATA, and of one that only knows SCSI. */
static void test_bridge_asked(void **state)
{
        uint8_t block[512] = { 0 }, page[] = "\0\200\0\14 USB-SER-004";
        const char serial[] = "    WD-WCC4N0000001 ", model[] = "WDC WD40EFRX-68WT0N0";
        struct fake_answer answers[] = {
                { .cdb = { 0x85, 8 }, .n_cdb = 2, .data = block, .n_data = sizeof block },
                { .cdb = { 0x12, 1, 0x80 }, .n_cdb = 3, .data = page, .n_data = sizeof page - 1 },
        };
        struct hal_identity id;

        for (size_t i = 0; i < 20; i++) {
                block[20 + (i ^ 1)] = (uint8_t)serial[i];
                block[54 + (i ^ 1)] = (uint8_t)model[i];
        }
        machine.answers = answers;
        machine.n_answers = 2;
        id = identify(8, 32, 0, NULL);
        assert_string_equal(id.serial, "WD-WCC4N0000001");
        assert_string_equal(id.model, "WDC WD40EFRX-68WT0N0");
        assert_int_equal(id.serial_source, HAL_SERIAL_SOURCE_ATA_IDENTIFY);
        block[510] = 0xa5; /* says that it has a checksum, and it is wrong */
        id = identify(8, 32, 0, NULL);
        assert_string_equal(id.serial, "USB-SER-004");
        assert_int_equal(id.serial_source, HAL_SERIAL_SOURCE_INQUIRY_80);
        /* A standard inquiry in the place of the page is no serial number. */
        page[1] = 0;
        id = identify(8, 32, 0, NULL);
        assert_string_equal(id.serial, "BRIDGE-1");
        /* What sysfs has stands; the drive completes the model only. */
        block[510] = 0;
        id = identify(8, 0, 0, NULL);
        assert_string_equal(id.serial, "SATA-SER-0001");
        assert_string_equal(id.model, "WDC WD40EFRX-68WT0N0");
        machine.n_answers = 0;
}

static void test_udev_last(void **state)
{
        const struct hal_udev_hints wwn = { .id_bus = "scsi",
                                            .id_serial_short = "5000c500a1b2c3d4" };
        const struct hal_udev_hints both = { .id_bus = "scsi",
                                             .id_scsi_serial = "REAL-1",
                                             .id_serial_short = "5000c500a1b2c3d4" };
        const struct hal_udev_hints ata = { .id_bus = "ata", .id_serial_short = "ATA 7" };
        struct hal_identity id = identify(8, 0, -1, &both);

        assert_string_equal(id.serial, "SATA-SER-0001");
        page80(SCSI "/vpd_pg80", "          ");
        id = identify(8, 16, -1, &wwn);
        assert_string_equal(id.serial, "");
        assert_int_equal(id.fault, HAL_IDENTITY_FAULT_SERIAL_EMPTY);
        /* udev calls it ATA; the bus says that what it has is a WWN. */
        id = identify(8, 16, -1, &ata);
        assert_string_equal(id.serial, "");
        id = identify(8, 16, -1, &both);
        assert_string_equal(id.serial, "REAL-1");
        assert_int_equal(id.serial_source, HAL_SERIAL_SOURCE_UDEV);
        fake_drop(&machine, ATA "/vpd_pg80");
        id = identify(8, 0, -1, &ata);
        assert_string_equal(id.serial, "ATA7");
}

/* A page that promises more than there is, numbers that are none, text that is not. */
static void test_hostile(void **state)
{
        const uint8_t promises[] = { 0, 0x80, 0, 200, 'A', 27, '[', 'B', 0xff, '\n' };
        const uint8_t other_page[] = { 0, 0x83, 0, 4, 'W', 'W', 'N', '1' };
        struct hal_identity id;
        struct bth_error e = BTH_ERROR_INIT;

        fake_file(&machine, SCSI "/vpd_pg80", promises, sizeof promises);
        fake_text(&machine, SCSI "/block/sdb/queue/logical_block_size", "-512\n");
        fake_text(&machine, SCSI "/block/sdb/diskseq", "99999999999999999999999\n");
        fake_text(&machine, SCSI "/model", "Evil\033[2J\n\n  Disk\xc3\n");
        id = identify(8, 16, -1, NULL);
        assert_string_equal(id.serial, "A[B");
        assert_string_equal(id.model, "QEMU Evil [2J Disk");
        assert_true(id.logical_sector_bytes == 512 && id.diskseq == 0);
        fake_file(&machine, SCSI "/vpd_pg80", other_page, sizeof other_page);
        assert_int_equal(identify(8, 16, -1, NULL).fault, HAL_IDENTITY_FAULT_SERIAL_EMPTY);
        fake_text(&machine, SCSI "/block/sdb/size", "99999999999999999999\n");
        assert_int_equal(hal_identity_read(&machine.host, makedev(8, 16), -1, NULL, &id, &e),
                         -ENODEV);
}

static void test_gone(void **state)
{
        struct hal_identity id;
        struct bth_error e = BTH_ERROR_INIT;

        assert_int_equal(hal_identity_read(&machine.host, makedev(8, 64), -1, NULL, &id, &e),
                         -ENODEV);
        assert_int_equal(e.reason, BTH_REASON_DRIVE_GONE);
        fake_drop(&machine, ATA "/block/sda/size");
        assert_int_equal(hal_identity_read(&machine.host, makedev(8, 0), -1, NULL, &id, &e),
                         -ENODEV);
}

static void test_files(void **state)
{
        struct hal_identity id;
        struct bth_error e = BTH_ERROR_INIT;
        char path[128];

        assert_int_equal(hal_identity_of_file("/bays/1/WD-WCC 4N.1.img", 1 << 20, &id), 0);
        assert_string_equal(id.serial, "WD-WCC4N.1");
        assert_int_equal(id.bus, HAL_BUS_FILE);
        assert_int_equal(hal_identity_of_file(".img", 1 << 20, &id), 0);
        assert_string_equal(id.serial, ".img");
        assert_int_equal(hal_identity_of_file("/x/ \t.img", 1 << 20, &id), 0);
        assert_int_equal(id.fault, HAL_IDENTITY_FAULT_SERIAL_EMPTY);
        assert_int_equal(hal_identity_of_file("M\xc3\xbcller", 1, &id), 0);
        assert_string_equal(id.serial, "M\xc3\xbcller");
        assert_int_equal(hal_identity_of_file("x", UINT64_MAX, &id), -ENODEV);

        fake_text(&machine, "images/SER-9.raw", "12345");
        (void)snprintf(path, sizeof path, "%s/images/SER-9.raw", machine.root);
        assert_int_equal(hal_identity_of_path(NULL, path, &id, &e), 0);
        assert_string_equal(id.serial, "SER-9");
        assert_true(id.size_bytes == 5);
        assert_int_equal(hal_identity_of_path(NULL, "/dev/null", &id, &e), -ENOTBLK);
        assert_int_equal(hal_identity_of_path(NULL, "/nowhere", &id, &e), -ENOENT);
        assert_string_equal(e.object, "/nowhere");
}

static void test_duplicates(void **state)
{
        struct hal_identity a = { .serial = "A" }, b = { .serial = "A" }, c = { .serial = "" },
                            d = { .serial = "" }, e = { .serial = "E" };
        struct hal_identity *all[] = { &a, &b, &c, &d, &e };

        assert_true(hal_identity_mark_duplicates(all, 5));
        assert_int_equal(a.fault, HAL_IDENTITY_FAULT_SERIAL_DUPLICATE);
        assert_int_equal(b.fault, HAL_IDENTITY_FAULT_SERIAL_DUPLICATE);
        assert_int_equal(c.fault, HAL_IDENTITY_FAULT_SERIAL_EMPTY);
        assert_int_equal(e.fault, HAL_IDENTITY_FAULT_NONE);
        assert_false(hal_identity_mark_duplicates(all, 5));
        assert_true(hal_identity_mark_duplicates(all + 1, 4)); /* the other one was pulled */
        assert_int_equal(b.fault, HAL_IDENTITY_FAULT_NONE);
}

static void test_names(void **state)
{
        for (int i = 0; i < _HAL_BUS_MAX; i++)
                assert_int_equal(hal_bus_from_string(hal_bus_to_string((enum hal_bus)i)), i);
        for (int i = 0; i < _HAL_SERIAL_SOURCE_MAX; i++)
                assert_int_equal(hal_serial_source_from_string(
                                         hal_serial_source_to_string((enum hal_serial_source)i)),
                                 i);
        assert_int_equal(hal_bus_from_string("isa"), _HAL_BUS_INVALID);
        assert_null(hal_bus_to_string(_HAL_BUS_INVALID));
        assert_null(hal_identity_fault_to_string(_HAL_IDENTITY_FAULT_MAX));
        assert_int_equal(hal_identity_fault_from_string("serial-empty"),
                         HAL_IDENTITY_FAULT_SERIAL_EMPTY);
        assert_string_not_equal(hal_identity_fault_sentence(HAL_IDENTITY_FAULT_SERIAL_EMPTY), "");
}

#define WITH_MACHINE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_MACHINE(test_each_bus),     WITH_MACHINE(test_partition_is_its_drive),
                WITH_MACHINE(test_bridge_asked), WITH_MACHINE(test_udev_last),
                WITH_MACHINE(test_hostile),      WITH_MACHINE(test_gone),
                WITH_MACHINE(test_files),        cmocka_unit_test(test_duplicates),
                cmocka_unit_test(test_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
