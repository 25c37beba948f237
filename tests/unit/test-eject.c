/* SPDX-License-Identifier: GPL-3.0-or-later */
/* eject - flushed, spun down and deleted, the right drive only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#include "hal/eject.h"
#include "tests/lib/fakesysfs.h"

#define ATA  "devices/pci0/ata2/host1/target1:0:0/1:0:0:0"
#define NVME "devices/pci0/0000:01:00.0/nvme/nvme0"

static struct fake_machine machine;
static char node[128];
static const struct fake_answer answers[] = { { .cdb = { 0x35 }, .n_cdb = 1 },
                                              { .cdb = { 0x1b }, .n_cdb = 1 } };

static int setup(void **state)
{
        fake_machine_make(&machine);
        fake_disk(&machine, ATA, "sda", makedev(8, 0), 1 << 30, 5);
        fake_text(&machine, ATA "/scsi_level", "6\n");
        fake_text(&machine, ATA "/delete", "");
        fake_disk(&machine, NVME, "nvme0n1", makedev(259, 0), 1 << 30, 6);
        fake_text(&machine, "devices/pci0/0000:01:00.0/remove", "");
        fake_link(&machine, NVME "/device", "../..");
        fake_text(&machine, "node", "the drive");
        (void)snprintf(node, sizeof node, "%s/node", machine.root);
        machine.answers = answers;
        machine.n_answers = 2;
        return 0;
}

static int teardown(void **state)
{
        fake_machine_remove(&machine);
        return 0;
}

static bool was_deleted(const char *attribute)
{
        char *text = fake_content(&machine, attribute);
        bool yes = strcmp(text, "1") == 0;

        free(text);
        return yes;
}

static int eject(enum hal_bus bus, dev_t device, uint64_t diskseq, struct hal_eject_result *result)
{
        struct hal_identity id = { .bus = bus, .device = device, .diskseq = diskseq };
        struct bth_error e = BTH_ERROR_INIT;

        return hal_eject(&machine.host, node, &id, result, &e);
}

static void test_scsi(void **state)
{
        struct hal_eject_result result;

        assert_int_equal(eject(HAL_BUS_ATA, makedev(8, 0), 5, &result), 0);
        assert_true(result.flushed == 0 && result.spun_down == 0 && result.deleted == 0);
        assert_int_equal(machine.n_commands, 2);
        assert_int_equal(machine.last_cdb[0], 0x1b);
        assert_int_equal(machine.last_cdb[4], 0); /* stop, and do not throw a tray out */
        assert_true(was_deleted(ATA "/delete"));
}

/* An old bridge knows neither command: it is let go all the same, and the result tells. */
static void test_cannot_stop(void **state)
{
        struct hal_eject_result result;

        machine.n_answers = 0;
        assert_int_equal(eject(HAL_BUS_USB, makedev(8, 0), 5, &result), 0);
        assert_int_equal(result.flushed, -ENOTTY);
        assert_int_equal(result.spun_down, -ENOTTY);
        assert_true(was_deleted(ATA "/delete"));
}

static void test_nvme(void **state)
{
        struct hal_eject_result result;

        assert_int_equal(eject(HAL_BUS_NVME, makedev(259, 0), 6, &result), 0);
        assert_int_equal(result.spun_down, -EOPNOTSUPP);
        assert_true(was_deleted("devices/pci0/0000:01:00.0/remove"));
        assert_int_equal(machine.n_commands, 0);
}

/* Another drive got the name meanwhile, or the drive is gone: nothing is touched. */
static void test_not_the_docked_one(void **state)
{
        struct hal_eject_result result;

        assert_int_equal(eject(HAL_BUS_ATA, makedev(8, 0), 4, &result), 0);
        assert_int_equal(result.deleted, -ENODEV);
        assert_int_equal(eject(HAL_BUS_ATA, makedev(8, 16), 5, &result), 0);
        assert_false(was_deleted(ATA "/delete"));
        assert_int_equal(machine.n_commands, 0);
}

static void test_refused(void **state)
{
        struct hal_eject_result result;

        fake_drop(&machine, ATA "/delete");
        assert_int_equal(eject(HAL_BUS_ATA, makedev(8, 0), 5, &result), -ENOENT);
        assert_int_equal(result.spun_down, 0);
        assert_int_equal(eject(HAL_BUS_VIRTIO, makedev(8, 0), 5, &result), -EOPNOTSUPP);
        assert_int_equal(eject(HAL_BUS_FILE, 0, 0, &result), 0);
}

#define WITH_MACHINE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_MACHINE(test_scsi),    WITH_MACHINE(test_cannot_stop),
                WITH_MACHINE(test_nvme),    WITH_MACHINE(test_not_the_docked_one),
                WITH_MACHINE(test_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
