/* SPDX-License-Identifier: GPL-3.0-or-later */
/* scsi - command blocks, and what a status means. */
#include "hal/scsi.h"

#include <scsi/sg.h>
#include <string.h>

#define OP_INQUIRY           0x12
#define OP_START_STOP_UNIT   0x1b
#define OP_SYNCHRONIZE_CACHE 0x35
#define OP_LOG_SENSE         0x4d
#define OP_ATA_PASS_THROUGH  0x85

#define ATA_IDENTIFY 0xec
#define ATA_SMART    0xb0

#define SMART_READ_DATA     0xd0
#define SMART_RETURN_STATUS 0xda
#define SMART_LBA_MID       0x4f /* the signature every SMART command carries */
#define SMART_LBA_HIGH      0xc2
#define SMART_FAIL_MID      0xf4 /* and how it comes back when the drive expects to fail */
#define SMART_FAIL_HIGH     0x2c

#define SENSE_BYTES     64
#define STATUS_GOOD     0x00
#define STATUS_CHECK    0x02
#define DRIVER_SENSE    0x08 /* in driver_status: there is sense, nothing worse */
#define VPD_HEADER      4
#define VPD_MAX_BYTES   255
#define DESCRIPTOR_ATA  0x09 /* ATA Status Return, in descriptor sense */
#define SENSE_RECOVERED 0x01

struct command {
        uint8_t cdb[16];
        unsigned char n_cdb;
        void *data; /* from the drive; NULL: none */
        unsigned n_data;
        uint8_t sense[SENSE_BYTES];
        unsigned n_sense;
        unsigned n_got;
        uint8_t status;
};

/* Returns 0 when the command came back at all; its status is the caller's to judge. */
static int run(const struct hal_host *host, int fd, struct command *c)
{
        struct sg_io_hdr h = {
                .interface_id = 'S',
                .dxfer_direction = c->data ? SG_DXFER_FROM_DEV : SG_DXFER_NONE,
                .cmd_len = c->n_cdb,
                .mx_sb_len = SENSE_BYTES,
                .dxfer_len = c->n_data,
                .dxferp = c->data,
                .cmdp = c->cdb,
                .sbp = c->sense,
                .timeout = HAL_SCSI_TIMEOUT_MS,
        };
        int r;

        if (c->data)
                memset(c->data, 0, c->n_data);
        r = hal_host_ioctl(host, fd, SG_IO, &h);
        if (r < 0)
                return r;
        if (h.host_status != 0 || (h.driver_status & ~DRIVER_SENSE) != 0)
                return -EIO;
        c->status = h.status;
        c->n_sense = MIN((unsigned)h.sb_len_wr, (unsigned)SENSE_BYTES);
        c->n_got = h.resid > 0 && (unsigned)h.resid <= c->n_data ? c->n_data - (unsigned)h.resid
                                                                 : c->n_data;
        return 0;
}

int hal_scsi_inquiry_page(const struct hal_host *host, int fd, uint8_t page, uint8_t *buffer,
                          size_t max_bytes, size_t *ret_n)
{
        uint8_t answer[VPD_HEADER + VPD_MAX_BYTES];
        struct command c = {
                /* Old bridges look at one byte of length only, and fall over larger ones. */
                .cdb = { OP_INQUIRY, 1, page, 0, VPD_MAX_BYTES, 0 },
                .n_cdb = 6,
                .data = answer,
                .n_data = VPD_MAX_BYTES,
        };
        size_t n;
        int r = run(host, fd, &c);

        if (r < 0)
                return r;
        if (c.status != STATUS_GOOD)
                return -EIO;
        /* A bridge that ignores the page bit answers with its standard inquiry. */
        if (c.n_got < VPD_HEADER || answer[1] != page || answer[2] != 0)
                return -EBADMSG;
        n = MIN((size_t)answer[3], (size_t)c.n_got - VPD_HEADER);
        *ret_n = MIN(n, max_bytes);
        memcpy(buffer, answer + VPD_HEADER, *ret_n);
        return 0;
}

int hal_scsi_log_page(const struct hal_host *host, int fd, uint8_t page, uint8_t *buffer,
                      size_t max_bytes, size_t *ret_n)
{
        uint8_t answer[VPD_HEADER + VPD_MAX_BYTES];
        struct command c = {
                /* Cumulative values, which is what every drive has. */
                .cdb = { OP_LOG_SENSE, 0, (uint8_t)(0x40 | page), 0, 0, 0, 0, 0, VPD_MAX_BYTES, 0 },
                .n_cdb = 10,
                .data = answer,
                .n_data = VPD_MAX_BYTES,
        };
        size_t n;
        int r = run(host, fd, &c);

        if (r < 0)
                return r;
        if (c.status != STATUS_GOOD)
                return -EIO;
        if (c.n_got < VPD_HEADER || (answer[0] & 0x3f) != page)
                return -EBADMSG;
        n = MIN((size_t)(answer[2] << 8 | answer[3]), (size_t)c.n_got - VPD_HEADER);
        *ret_n = MIN(n, max_bytes);
        memcpy(buffer, answer + VPD_HEADER, *ret_n);
        return 0;
}

/* ATA PASS-THROUGH (16): one block in (PIO), or none with the registers back (CK_COND). */
static struct command ata(uint8_t opcode, uint8_t feature, void *block)
{
        const uint8_t protocol = block ? 4 << 1 : 3 << 1;
        const uint8_t flags = block ? 0x0e : 0x20; /* from device, blocks, length in count */
        const bool smart = opcode == ATA_SMART;

        return (struct command){
                .cdb = { OP_ATA_PASS_THROUGH, protocol, flags, 0, feature, 0, block ? 1 : 0, 0, 0,
                         0, smart ? SMART_LBA_MID : 0, 0, smart ? SMART_LBA_HIGH : 0, 0, opcode,
                         0 },
                .n_cdb = 16,
                .data = block,
                .n_data = block ? HAL_ATA_BLOCK_BYTES : 0,
        };
}

static int ata_block(const struct hal_host *host, int fd, uint8_t opcode, uint8_t feature,
                     uint8_t *ret_block)
{
        uint8_t block[HAL_ATA_BLOCK_BYTES];
        struct command c = ata(opcode, feature, block);
        int r = run(host, fd, &c);

        if (r < 0)
                return r;
        if (c.status != STATUS_GOOD)
                return -EIO;
        if (c.n_got < HAL_ATA_BLOCK_BYTES)
                return -EBADMSG;
        memcpy(ret_block, block, sizeof block);
        return 0;
}

int hal_scsi_ata_identify(const struct hal_host *host, int fd,
                          uint8_t ret_block[HAL_ATA_BLOCK_BYTES])
{
        uint8_t block[HAL_ATA_BLOCK_BYTES], sum = 0;
        int r = ata_block(host, fd, ATA_IDENTIFY, 0, block);

        if (r < 0)
                return r;
        /* ACS-3 7.12.7.78: where the signature is there, all bytes add up to 0. */
        for (size_t i = 0; i < sizeof block; i++)
                sum = (uint8_t)(sum + block[i]);
        if (block[510] == 0xa5 && sum != 0)
                return -EBADMSG;
        memcpy(ret_block, block, sizeof block);
        return 0;
}

int hal_scsi_ata_smart_data(const struct hal_host *host, int fd,
                            uint8_t ret_block[HAL_ATA_BLOCK_BYTES])
{
        uint8_t block[HAL_ATA_BLOCK_BYTES], sum = 0;
        int r = ata_block(host, fd, ATA_SMART, SMART_READ_DATA, block);

        if (r < 0)
                return r;
        for (size_t i = 0; i < sizeof block; i++)
                sum = (uint8_t)(sum + block[i]);
        if (sum != 0)
                return -EBADMSG;
        memcpy(ret_block, block, sizeof block);
        return 0;
}

int hal_scsi_ata_smart_status(const struct hal_host *host, int fd, bool *ret_failing)
{
        struct command c = ata(ATA_SMART, SMART_RETURN_STATUS, NULL);
        const uint8_t *d = c.sense + 8;
        int r = run(host, fd, &c);

        if (r < 0)
                return r;
        /* The registers come back as sense data, with the status CHECK CONDITION. */
        if (c.status != STATUS_CHECK || c.n_sense < 8 + 14 || (c.sense[0] & 0x7f) != 0x72 ||
            (c.sense[1] & 0x0f) > SENSE_RECOVERED || d[0] != DESCRIPTOR_ATA)
                return -EIO;
        if (d[9] == SMART_LBA_MID && d[11] == SMART_LBA_HIGH)
                *ret_failing = false;
        else if (d[9] == SMART_FAIL_MID && d[11] == SMART_FAIL_HIGH)
                *ret_failing = true;
        else
                return -EBADMSG;
        return 0;
}

static int plain(const struct hal_host *host, int fd, struct command c)
{
        int r = run(host, fd, &c);

        return r < 0 ? r : c.status != STATUS_GOOD ? -EIO : 0;
}

int hal_scsi_synchronize(const struct hal_host *host, int fd)
{
        return plain(host, fd, (struct command){ .cdb = { OP_SYNCHRONIZE_CACHE }, .n_cdb = 10 });
}

int hal_scsi_stop(const struct hal_host *host, int fd)
{
        return plain(host, fd, (struct command){ .cdb = { OP_START_STOP_UNIT }, .n_cdb = 6 });
}

char *hal_scsi_ata_text(const uint8_t block[HAL_ATA_BLOCK_BYTES], unsigned first, unsigned n_words,
                        char *out)
{
        size_t n = 0, start = 0;

        for (unsigned i = first; i < first + n_words && i < HAL_ATA_BLOCK_BYTES / 2; i++) {
                out[n++] = (char)block[2 * i + 1];
                out[n++] = (char)block[2 * i];
        }
        while (n > 0 && (unsigned char)out[n - 1] <= ' ')
                n--;
        while (start < n && out[start] == ' ')
                start++;
        memmove(out, out + start, n - start);
        out[n - start] = '\0';
        return out;
}
