/* SPDX-License-Identifier: GPL-3.0-or-later */
/* health - what a drive says about itself before a transfer: SMART, where it answers.
 *
 *     ATA, USB bridges   SMART RETURN STATUS and SMART READ DATA, by ATA PASS-THROUGH
 *     SCSI               LOG SENSE, informational exceptions (page 0x2f)
 *     NVMe               SMART / health information log (page 2)
 *
 * A drive that does not answer is UNKNOWN, which is no reason to refuse it. What a drive says is
 * hostile: numbers only, nothing is followed. Blocks (a sleeping drive spins up): not in the loop.
 * Any thread. Source: ACS-3 7.48, SPC-4 7.3, NVMe 1.4 5.14.1.2. */
#pragma once

#include "hal/identity.h"

/* X(identifier, name, sentence) */
#define HAL_VERDICTS(X)                                                                      \
        X(UNKNOWN, "unknown", "the drive does not tell its health")                          \
        X(GOOD, "good", "the drive reports no trouble")                                      \
        X(WORN, "worn", "the drive has bad places or is worn; it may have to be read twice") \
        X(FAILING, "failing", "the drive expects to fail soon")

enum hal_verdict {
#define X(id, name, sentence) HAL_VERDICT_##id,
        HAL_VERDICTS(X)
#undef X
                _HAL_VERDICT_MAX,
        _HAL_VERDICT_INVALID = -EINVAL,
};
const char *hal_verdict_to_string(enum hal_verdict v);        /* NULL outside the list */
enum hal_verdict hal_verdict_from_string(const char *name);   /* _INVALID for others */
const char *hal_verdict_sentence(enum hal_verdict v) _const_; /* "" outside the list */

#define HAL_HEALTH_UNTOLD UINT64_MAX

/* Numbers that the drive did not tell are HAL_HEALTH_UNTOLD. */
struct hal_health {
        enum hal_verdict verdict;
        bool has_temperature;
        int temperature_celsius;
        uint64_t power_on_hours;
        uint64_t reallocated_sectors; /* replaced by spares */
        uint64_t pending_sectors;     /* could not be read lately */
        uint64_t uncorrectable;       /* reads that failed for good; NVMe: media errors */
        uint64_t percentage_used;     /* of its life in writes; may be over 100 */
};

/* Asks the drive. Never refuses: what cannot be asked is UNKNOWN.
 *   fd   the drive, open for reading; ATA commands want CAP_SYS_RAWIO
 * Returns 0; -ENODEV when the drive went meanwhile. */
int hal_health_read(const struct hal_host *host, int fd, enum hal_bus bus,
                    struct hal_health *ret_health) _must_check_;
