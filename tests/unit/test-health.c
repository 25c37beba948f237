/* SPDX-License-Identifier: GPL-3.0-or-later */
/* health - answers as drives gave them, put behind the fake machine's ioctl. */
#include <linux/nvme_ioctl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

#include <cmocka.h>

#include "hal/health.h"
#include "hal/scsi.h"
#include "tests/lib/fakesysfs.h"

static struct fake_machine machine;
static uint8_t smart[512], nvme_log[512];

/* Descriptor sense with the ATA registers: here they say that all is well. */
static uint8_t status_good[] = { 0x72, 1, 0, 0x1d, 0, 0, 0,    14, 0x09, 12, 0,
                                 0,    0, 0, 0,    0, 0, 0x4f, 0,  0xc2, 0,  0x50 };

static struct fake_answer ata_answers[] = {
        { .cdb = { 0x85, 6 },
          .n_cdb = 2,
          .status = 2,
          .sense = status_good,
          .n_sense = sizeof status_good },
        { .cdb = { 0x85, 8 }, .n_cdb = 2, .data = smart, .n_data = sizeof smart },
};

static int setup(void **state)
{
        fake_machine_make(&machine);
        memset(smart, 0, sizeof smart);
        memset(nvme_log, 0, sizeof nvme_log);
        status_good[17] = 0x4f;
        status_good[19] = 0xc2;
        return 0;
}

static int teardown(void **state)
{
        fake_machine_remove(&machine);
        return 0;
}

static void attribute(size_t at, uint8_t id, uint64_t raw)
{
        uint8_t *a = smart + 2 + at * 12, sum = 0;

        a[0] = id;
        for (size_t i = 0; i < 6; i++)
                a[5 + i] = (uint8_t)(raw >> (8 * i));
        smart[511] = 0;
        for (size_t i = 0; i < 511; i++)
                sum = (uint8_t)(sum + smart[i]);
        smart[511] = (uint8_t)-sum;
}

static struct hal_health ask(enum hal_bus bus)
{
        struct hal_health h;

        assert_int_equal(hal_health_read(&machine.host, 0, bus, &h), 0);
        return h;
}

static void test_ata(void **state)
{
        struct hal_health h;

        machine.answers = ata_answers;
        machine.n_answers = 2;
        attribute(0, 9, UINT64_C(0x120000001234));
        attribute(1, 194, UINT64_C(0x2d0014000021));
        attribute(2, 5, 0);
        attribute(29, 197, 0);
        h = ask(HAL_BUS_ATA);
        assert_int_equal(h.verdict, HAL_VERDICT_GOOD);
        assert_true(h.has_temperature && h.temperature_celsius == 33);
        assert_true(h.power_on_hours == 0x1234 && h.reallocated_sectors == 0);
        assert_true(h.percentage_used == HAL_HEALTH_UNTOLD);
        attribute(29, 197, 8);
        h = ask(HAL_BUS_USB);
        assert_int_equal(h.verdict, HAL_VERDICT_WORN);
        assert_true(h.pending_sectors == 8);
        status_good[17] = 0xf4;
        status_good[19] = 0x2c;
        assert_int_equal(ask(HAL_BUS_SCSI).verdict, HAL_VERDICT_FAILING);
        /* Registers that are neither, and data with a wrong sum: it has told nothing. */
        status_good[17] = 0;
        smart[400] ^= 1;
        h = ask(HAL_BUS_ATA);
        assert_int_equal(h.verdict, HAL_VERDICT_UNKNOWN);
        assert_false(h.has_temperature);
}

static void test_scsi(void **state)
{
        uint8_t page[] = { 0x2f, 0, 0, 8, 0, 0, 3, 4, 0, 0, 38, 0 };
        struct fake_answer answers[] = {
                { .cdb = { 0x4d, 0, 0x6f }, .n_cdb = 3, .data = page, .n_data = sizeof page },
        };
        struct hal_health h;

        machine.answers = answers;
        machine.n_answers = 1;
        h = ask(HAL_BUS_SCSI);
        assert_int_equal(h.verdict, HAL_VERDICT_GOOD);
        assert_int_equal(h.temperature_celsius, 38);
        page[8] = 0x5d;
        assert_int_equal(ask(HAL_BUS_SCSI).verdict, HAL_VERDICT_FAILING);
        page[3] = 4; /* ends inside the parameter */
        assert_int_equal(ask(HAL_BUS_SCSI).verdict, HAL_VERDICT_UNKNOWN);
        page[0] = 0x0d;
        assert_int_equal(ask(HAL_BUS_SCSI).verdict, HAL_VERDICT_UNKNOWN);
}

static int nvme_ioctl(struct fake_machine *m, int fd, unsigned long request, void *argument)
{
        struct nvme_admin_cmd *c = argument;

        if (request != NVME_IOCTL_ADMIN_CMD)
                return -ENOTTY;
        assert_int_equal(c->opcode, 2);
        assert_true(c->cdw10 == 0x007f0002 && c->data_len == 512);
        memcpy((void *)(uintptr_t)c->addr, nvme_log, sizeof nvme_log);
        return 0;
}

static void test_nvme(void **state)
{
        struct hal_health h;

        machine.other = nvme_ioctl;
        nvme_log[1] = 0x43; /* 323 K */
        nvme_log[2] = 0x01;
        nvme_log[3] = 100;
        nvme_log[4] = 10;
        nvme_log[5] = 3;
        nvme_log[128] = 77;
        h = ask(HAL_BUS_NVME);
        assert_int_equal(h.verdict, HAL_VERDICT_GOOD);
        assert_true(h.temperature_celsius == 50 && h.power_on_hours == 77 &&
                    h.percentage_used == 3);
        nvme_log[0] = 2; /* hot, and well */
        assert_int_equal(ask(HAL_BUS_NVME).verdict, HAL_VERDICT_GOOD);
        nvme_log[3] = 9; /* fewer spares than its own limit */
        assert_int_equal(ask(HAL_BUS_NVME).verdict, HAL_VERDICT_WORN);
        nvme_log[0] = 8; /* read-only */
        assert_int_equal(ask(HAL_BUS_NVME).verdict, HAL_VERDICT_FAILING);
}

static int gone(struct fake_machine *m, int fd, unsigned long request, void *argument)
{
        return -ENODEV;
}

static void test_silent(void **state)
{
        struct hal_health h;

        assert_int_equal(ask(HAL_BUS_USB).verdict, HAL_VERDICT_UNKNOWN);
        assert_int_equal(ask(HAL_BUS_NVME).verdict, HAL_VERDICT_UNKNOWN);
        assert_int_equal(ask(HAL_BUS_FILE).verdict, HAL_VERDICT_UNKNOWN);
        machine.other = gone;
        assert_int_equal(hal_health_read(&machine.host, 0, HAL_BUS_NVME, &h), -ENODEV);
        assert_int_equal(hal_verdict_from_string("worn"), HAL_VERDICT_WORN);
        assert_string_equal(hal_verdict_sentence(_HAL_VERDICT_INVALID), "");
}

#define WITH_MACHINE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_MACHINE(test_ata),
                WITH_MACHINE(test_scsi),
                WITH_MACHINE(test_nvme),
                WITH_MACHINE(test_silent),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
