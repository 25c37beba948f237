/* SPDX-License-Identifier: GPL-3.0-or-later */
/* health - one reader a bus, and one place that judges. */
#include "hal/health.h"

#include <linux/nvme_ioctl.h>
#include <sys/ioctl.h>

#include "base/le.h"
#include "base/str.h"
#include "hal/scsi.h"

/* ---- ATA ---- */

#define ATTRIBUTES_AT  2 /* in SMART data */
#define ATTRIBUTES     30
#define ATTRIBUTE_SIZE 12
#define RAW_AT         5 /* in an attribute: six bytes, little endian */

#define ID_REALLOCATED   5
#define ID_POWER_ON      9
#define ID_UNCORRECTABLE 187
#define ID_AIRFLOW       190
#define ID_TEMPERATURE   194
#define ID_PENDING       197
#define ID_OFFLINE       198

/* ---- NVMe ---- */

#define NVME_GET_LOG     0x02
#define NVME_LOG_HEALTH  0x02
#define NVME_LOG_BYTES   512
#define NVME_ALL         0xffffffffu
#define NVME_TIMEOUT_MS  10000
#define NVME_TEMPERATURE 1 /* offsets in the log; Kelvin */
#define NVME_SPARE       3
#define NVME_SPARE_MIN   4
#define NVME_USED        5
#define NVME_HOURS       128
#define NVME_ERRORS      160
#define KELVIN           273
#define WARN_SPARE       0x01
#define WARN_HOT         0x02 /* says nothing about the medium */

/* ---- SCSI ---- */

#define LOG_EXCEPTIONS   0x2f
#define LOG_MAX_BYTES    252
#define ASC_FAILURE      0x5d /* failure prediction threshold exceeded */
#define ASC_WARNING      0x0b
#define TEMPERATURE_NONE 0xff

#define WORN_PERCENT 100
#define HOT_LIMIT    150 /* a number above is no temperature */

static const struct {
        const char *name, *sentence;
} verdicts[] = {
#define X(id, name, sentence) { name, sentence },
        HAL_VERDICTS(X)
#undef X
};

const char *hal_verdict_to_string(enum hal_verdict v)
{
        return v >= 0 && v < _HAL_VERDICT_MAX ? verdicts[v].name : NULL;
}

enum hal_verdict hal_verdict_from_string(const char *name)
{
        for (int i = 0; i < _HAL_VERDICT_MAX; i++)
                if (bth_streq(name, verdicts[i].name))
                        return (enum hal_verdict)i;
        return _HAL_VERDICT_INVALID;
}

const char *hal_verdict_sentence(enum hal_verdict v)
{
        return v >= 0 && v < _HAL_VERDICT_MAX ? verdicts[v].sentence : "";
}

static void set_temperature(struct hal_health *h, int celsius)
{
        if (celsius <= -HOT_LIMIT || celsius >= HOT_LIMIT)
                return;
        h->has_temperature = true;
        h->temperature_celsius = celsius;
}

static void take_attribute(struct hal_health *h, const uint8_t *a)
{
        const uint64_t raw = (uint64_t)a[RAW_AT] | (uint64_t)a[RAW_AT + 1] << 8 |
                             (uint64_t)a[RAW_AT + 2] << 16 | (uint64_t)a[RAW_AT + 3] << 24;

        switch (a[0]) {
        case ID_REALLOCATED:
                h->reallocated_sectors = raw;
                break;
        case ID_POWER_ON:
                h->power_on_hours = raw & 0xffffff; /* some keep minutes above */
                break;
        case ID_PENDING:
                h->pending_sectors = raw;
                break;
        case ID_UNCORRECTABLE:
        case ID_OFFLINE:
                /* Reported and found offline: the worse of both. */
                if (h->uncorrectable == HAL_HEALTH_UNTOLD || raw > h->uncorrectable)
                        h->uncorrectable = raw;
                break;
        case ID_AIRFLOW:
        case ID_TEMPERATURE:
                set_temperature(h, a[RAW_AT]);
                break;
        default:
                break;
        }
}

static int read_ata(const struct hal_host *host, int fd, struct hal_health *h, bool *ret_failing)
{
        uint8_t block[HAL_ATA_BLOCK_BYTES];
        int r = hal_scsi_ata_smart_status(host, fd, ret_failing), data;

        data = hal_scsi_ata_smart_data(host, fd, block);
        if (data == 0)
                for (size_t i = 0; i < ATTRIBUTES; i++)
                        take_attribute(h, block + ATTRIBUTES_AT + i * ATTRIBUTE_SIZE);
        /* Many a bridge passes the data, but not the registers of the status. */
        return r < 0 ? data : r;
}

static int read_scsi(const struct hal_host *host, int fd, struct hal_health *h, bool *ret_failing)
{
        uint8_t page[LOG_MAX_BYTES];
        size_t n = 0;
        int r = hal_scsi_log_page(host, fd, LOG_EXCEPTIONS, page, sizeof page, &n);

        if (r < 0)
                return r;
        /* Parameter 0: code, flags, length, then ASC, ASCQ, temperature. */
        if (n < 7 || page[0] != 0 || page[1] != 0 || page[3] < 3)
                return -EBADMSG;
        *ret_failing = page[4] == ASC_FAILURE || page[4] == ASC_WARNING;
        if (page[6] != 0 && page[6] != TEMPERATURE_NONE)
                set_temperature(h, page[6]);
        return 0;
}

static int read_nvme(const struct hal_host *host, int fd, struct hal_health *h, bool *ret_failing)
{
        uint8_t log[NVME_LOG_BYTES] = { 0 };
        struct nvme_admin_cmd c = {
                .opcode = NVME_GET_LOG,
                .nsid = NVME_ALL,
                .addr = (uint64_t)(uintptr_t)log,
                .data_len = sizeof log,
                .cdw10 = NVME_LOG_HEALTH | (sizeof log / 4 - 1) << 16,
                .timeout_ms = NVME_TIMEOUT_MS,
        };
        int r = hal_host_ioctl(host, fd, NVME_IOCTL_ADMIN_CMD, &c);

        if (r < 0)
                return r;
        set_temperature(h, (log[NVME_TEMPERATURE] | log[NVME_TEMPERATURE + 1] << 8) - KELVIN);
        h->percentage_used = log[NVME_USED];
        h->power_on_hours = bth_load_le64(log + NVME_HOURS);
        h->uncorrectable = bth_load_le64(log + NVME_ERRORS);
        *ret_failing = (log[0] & ~(WARN_HOT | WARN_SPARE)) != 0;
        if ((log[0] & WARN_SPARE) || log[NVME_SPARE] < log[NVME_SPARE_MIN])
                h->percentage_used = MAX(h->percentage_used, (uint64_t)WORN_PERCENT);
        return 0;
}

static bool some(uint64_t n)
{
        return n != HAL_HEALTH_UNTOLD && n > 0;
}

static enum hal_verdict judge(const struct hal_health *h, bool failing)
{
        if (failing)
                return HAL_VERDICT_FAILING;
        if (some(h->pending_sectors) || some(h->uncorrectable) || some(h->reallocated_sectors) ||
            (h->percentage_used != HAL_HEALTH_UNTOLD && h->percentage_used >= WORN_PERCENT))
                return HAL_VERDICT_WORN;
        return HAL_VERDICT_GOOD;
}

int hal_health_read(const struct hal_host *host, int fd, enum hal_bus bus,
                    struct hal_health *ret_health)
{
        struct hal_health h = {
                .verdict = HAL_VERDICT_UNKNOWN,
                .power_on_hours = HAL_HEALTH_UNTOLD,
                .reallocated_sectors = HAL_HEALTH_UNTOLD,
                .pending_sectors = HAL_HEALTH_UNTOLD,
                .uncorrectable = HAL_HEALTH_UNTOLD,
                .percentage_used = HAL_HEALTH_UNTOLD,
        };
        bool failing = false;
        int r = -ENOTTY;

        if (bus == HAL_BUS_NVME)
                r = read_nvme(host, fd, &h, &failing);
        /* A SATA drive behind an adapter looks like SCSI, and a bridge may understand either. */
        if (bus == HAL_BUS_ATA || bus == HAL_BUS_SCSI || bus == HAL_BUS_USB)
                r = read_ata(host, fd, &h, &failing);
        if (r < 0 && r != -ENODEV && (bus == HAL_BUS_SCSI || bus == HAL_BUS_USB))
                r = read_scsi(host, fd, &h, &failing);
        if (r == -ENODEV || r == -ENXIO)
                return -ENODEV;
        if (r == 0)
                h.verdict = judge(&h, failing);
        *ret_health = h;
        return 0;
}
