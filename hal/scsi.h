/* SPDX-License-Identifier: GPL-3.0-or-later */
/* scsi - the few commands Berth sends to a drive itself: who are you, how are you, stop.
 *
 * By SG_IO on the drive's descriptor; ATA commands ride in ATA PASS-THROUGH (16), which SATA ports,
 * SAS adapters and most USB bridges understand. INQUIRY is open to everybody who can open the
 * drive, the others want CAP_SYS_RAWIO. Nothing here writes data. All block, at most
 * HAL_SCSI_TIMEOUT_MS. Any thread. Source: SPC-4, SAT-3, ACS-3. */
#pragma once

#include "hal/host.h"

#define HAL_SCSI_TIMEOUT_MS 10000u /* a drive that spins up answers within it */
#define HAL_ATA_BLOCK_BYTES 512u   /* of IDENTIFY and SMART data */

/* All below return 0; -errno of the ioctl (-ENOTTY: not a SCSI device, -EPERM); -EIO when the drive
 * refused or failed the command; -EBADMSG for an answer that is none. */

/* A page of vital product data: the bytes behind its four-byte header. Returns as said above. */
int hal_scsi_inquiry_page(const struct hal_host *host, int fd, uint8_t page, uint8_t *buffer,
                          size_t max_bytes, size_t *ret_n) _must_check_;

/* A log page: its parameters, behind the header of four bytes. Returns as said above. */
int hal_scsi_log_page(const struct hal_host *host, int fd, uint8_t page, uint8_t *buffer,
                      size_t max_bytes, size_t *ret_n) _must_check_;

/* ATA commands that answer with one block. Each returns as said above. */
int hal_scsi_ata_identify(const struct hal_host *host, int fd,
                          uint8_t ret_block[HAL_ATA_BLOCK_BYTES]) _must_check_;
int hal_scsi_ata_smart_data(const struct hal_host *host, int fd,
                            uint8_t ret_block[HAL_ATA_BLOCK_BYTES]) _must_check_;
/* SMART RETURN STATUS: does the drive expect to fail soon? Returns as said above. */
int hal_scsi_ata_smart_status(const struct hal_host *host, int fd, bool *ret_failing) _must_check_;

/* SYNCHRONIZE CACHE (10), and START STOP UNIT with START 0: the drive parks its heads. Each returns
 * as said above. */
int hal_scsi_synchronize(const struct hal_host *host, int fd) _must_check_;
int hal_scsi_stop(const struct hal_host *host, int fd) _must_check_;

/* The text of an IDENTIFY block: words `first` to `first + n_words - 1`, two characters a word with
 * the first one in the high byte, blanks at the ends cut. `out` has 2 * n_words + 1 bytes. Returns
 * `out`. */
char *hal_scsi_ata_text(const uint8_t block[HAL_ATA_BLOCK_BYTES], unsigned first, unsigned n_words,
                        char *out);
