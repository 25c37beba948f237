/* SPDX-License-Identifier: GPL-3.0-or-later */
/* udev - drives that are there, drives that come and go, and what is no drive, on a machine that
 * umockdev plays. Run with libumockdev-preload.so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <umockdev.h>

#undef MIN /* GLib's; ours come with base/macros.h */
#undef MAX

#include <cmocka.h>

#include "base/str.h"
#include "base/time.h"
#include "hal/udev.h"

#define LIMIT_USEC (20 * BTH_USEC_PER_SEC)

#define SATA "/devices/pci0/ata2/host1/target1:0:0/1:0:0:0"
#define USB  "/devices/pci0/usb2/2-1/2-1:1.0/host8/target8:0:0/8:0:0:0"
#define NVME "/devices/pci0/0000:01:00.0/nvme/nvme0"

/* As `umockdev-record` writes it, without what nobody asks for. */
static const char *const at_start[] = {
        "P: " SATA "\nE: SUBSYSTEM=scsi\nE: DEVTYPE=scsi_device\n"
        "A: scsi_level=6\\n\nA: vendor=ATA     \\n\nA: model=LAB DISK\\n\n"
        "H: vpd_pg80=0080000a53415441205345522031\n",
        "P: " SATA "/block/sda\nN: sda\nE: SUBSYSTEM=block\nE: DEVTYPE=disk\nE: DEVNAME=/dev/sda\n"
        "E: MAJOR=8\nE: MINOR=0\nE: DISKSEQ=7\nE: ID_PATH=pci-ata-2\nE: ID_BUS=ata\n"
        "A: dev=8:0\\n\nA: size=2048\\n\nA: diskseq=7\\n\nL: device=../../../1:0:0:0\n",
        "P: " SATA "/block/sda/sda1\nN: sda1\nE: SUBSYSTEM=block\nE: DEVTYPE=partition\n"
        "E: DEVNAME=/dev/sda1\nE: MAJOR=8\nE: MINOR=1\nE: ID_PATH=pci-ata-2\n"
        "A: dev=8:1\\n\nA: partition=1\\n\nA: size=1024\\n\n",
        "P: " NVME "\nE: SUBSYSTEM=nvme\nA: serial=SYSTEM-1\\n\nA: model=SYSTEM\\n\n",
        "P: " NVME "/nvme0n1\nN: nvme0n1\nE: SUBSYSTEM=block\nE: DEVTYPE=disk\n"
        "E: DEVNAME=/dev/nvme0n1\nE: MAJOR=259\nE: MINOR=0\nE: ID_PATH=pci-nvme-1\n"
        "A: dev=259:0\\n\nA: size=4096\\n\nL: device=../../nvme0\n",
        "P: /devices/virtual/block/loop0\nN: loop0\nE: SUBSYSTEM=block\nE: DEVTYPE=disk\n"
        "E: DEVNAME=/dev/loop0\nE: MAJOR=7\nE: MINOR=0\nE: ID_PATH=pci-ata-2\n"
        "A: dev=7:0\\n\nA: size=64\\n\n",
        "P: /devices/pci0/ata3/host2/target2:0:0/2:0:0:0/block/sr0\nN: sr0\nE: SUBSYSTEM=block\n"
        "E: DEVTYPE=disk\nE: DEVNAME=/dev/sr0\nE: MAJOR=11\nE: MINOR=0\nE: ID_PATH=pci-ata-2\n"
        "A: dev=11:0\\n\nA: size=0\\n\n",
};

static const char *const usb_disk[] = {
        "P: /devices/pci0/usb2/2-1\nE: SUBSYSTEM=usb\nE: DEVTYPE=usb_device\n"
        "A: idVendor=46f4\\n\nA: serial=BRIDGE-9\\n\n",
        "P: " USB "\nE: SUBSYSTEM=scsi\nA: scsi_level=6\\n\nA: vendor=QEMU    \\n\n",
        "P: " USB "/block/sdb\nN: sdb\nE: SUBSYSTEM=block\nE: DEVTYPE=disk\nE: DEVNAME=/dev/sdb\n"
        "E: MAJOR=8\nE: MINOR=16\nE: DISKSEQ=12\nE: ID_PATH=pci-usb-0:1\nE: ID_BUS=usb\n"
        "E: ID_SERIAL_SHORT=BRIDGE-9\n"
        "A: dev=8:16\\n\nA: size=2048\\n\nA: diskseq=12\\n\nL: device=../../../8:0:0:0\n",
};

static struct bth_buf heard;

static void on_docking(const struct hal_docking *d, void *userdata)
{
        assert_int_equal(bth_buf_add_format(&heard, "%s:%s:%s ", d->node,
                                            d->bay ? d->bay->name : "-",
                                            hal_docking_state_to_string(d->state)),
                         0);
}

static void wait_for(sd_event *loop, const char *text)
{
        const uint64_t end = bth_now_monotonic_usec() + LIMIT_USEC;

        while (!heard.data || !strstr(heard.data, text)) {
                if (bth_now_monotonic_usec() > end)
                        fail_msg("not heard: %s; but: %s", text, heard.data);
                assert_true(sd_event_run(loop, LIMIT_USEC / 10) >= 0);
        }
}

static void add_all(UMockdevTestbed *bed, const char *const *devices, size_t n)
{
        for (size_t i = 0; i < n; i++)
                assert_true(umockdev_testbed_add_from_string(bed, devices[i], NULL));
}

static const struct hal_docking *docking_at(const struct hal_hotplug *h, const char *node)
{
        const struct hal_docking *d;

        for (size_t i = 0; (d = hal_hotplug_at(h, i)); i++)
                if (strcmp(d->node, node) == 0)
                        return d;
        fail_msg("no docking of %s", node);
        return NULL;
}

static void test_machine(void **state)
{
        UMockdevTestbed *bed = umockdev_testbed_new();
        struct hal_bays bays = { 0 };
        struct hal_hotplug_options options = { .bays = &bays, .handler = on_docking };
        struct hal_hotplug *h = NULL;
        struct hal_udev *u = NULL;
        sd_event *loop = NULL;

        assert_int_equal(hal_bays_add(&bays, "sata", "id-path:pci-ata-2", NULL), 0);
        assert_int_equal(hal_bays_add(&bays, "front", "usb:2-1", NULL), 0);
        add_all(bed, at_start, ARRAY_SIZE(at_start));
        assert_true(sd_event_new(&loop) >= 0);
        assert_int_equal(hal_hotplug_new(loop, &options, &h), 0);
        assert_int_equal(hal_udev_new(h, &u, NULL), 0);

        /* There at start; the system's disk is seen and left alone; the rest is no drive. */
        wait_for(loop, "/dev/sda:sata:ready");
        assert_non_null(strstr(heard.data, "/dev/nvme0n1:-:outside"));
        assert_non_null(hal_hotplug_at(h, 1));
        assert_null(hal_hotplug_at(h, 2));
        assert_string_equal(docking_at(h, "/dev/sda")->identity.serial, "SATASER1");
        assert_true(docking_at(h, "/dev/sda")->sequence == 7);
        assert_string_equal(docking_at(h, "/dev/nvme0n1")->where.id_path, "pci-nvme-1");

        /* Docked later, with the change events that follow. */
        bth_buf_clear(&heard);
        add_all(bed, usb_disk, ARRAY_SIZE(usb_disk));
        umockdev_testbed_uevent(bed, "/sys" USB "/block/sdb", "add");
        umockdev_testbed_uevent(bed, "/sys" USB "/block/sdb", "change");
        umockdev_testbed_uevent(bed, "/sys" USB "/block/sdb", "change");
        wait_for(loop, "/dev/sdb:front:ready");
        assert_string_equal(docking_at(h, "/dev/sdb")->identity.serial, "BRIDGE-9");
        assert_string_equal(docking_at(h, "/dev/sdb")->where.usb_port, "2-1");
        assert_int_equal(docking_at(h, "/dev/sdb")->identity.bus, HAL_BUS_USB);
        umockdev_testbed_uevent(bed, "/sys" USB "/block/sdb", "remove");
        wait_for(loop, "/dev/sdb:front:gone");
        assert_string_equal(heard.data, "/dev/sdb:front:identifying /dev/sdb:front:ready "
                                        "/dev/sdb:front:gone ");

        /* An event was lost: looking again finds what is there, and what is not. */
        bth_buf_clear(&heard);
        umockdev_testbed_remove_device(bed, "/sys" SATA "/block/sda");
        assert_int_equal(hal_udev_look(u), 0);
        wait_for(loop, "/dev/sdb:front:ready");
        assert_non_null(strstr(heard.data, "/dev/sda:sata:gone"));

        u = hal_udev_free(u);
        h = hal_hotplug_free(h);
        (void)sd_event_unref(loop);
        hal_bays_clear(&bays);
        bth_buf_clear(&heard);
        g_object_unref(bed);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_machine) };

        const char *preload = getenv("LD_PRELOAD");

        if (!preload || !strstr(preload, "umockdev")) {
                puts("SKIP: cannot run here: libumockdev-preload.so is not loaded");
                return 77;
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
