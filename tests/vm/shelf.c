/* SPDX-License-Identifier: GPL-3.0-or-later */
/* shelf - an enclosure with slots for the guest, which QEMU has none of: the other end of the
 * kernel's "TCM in user space", which makes a SCSI device of what this program answers. The
 * kernel's own driver of enclosures (ses) then offers the lamps of the slots in sysfs, and what it
 * switches is printed:
 *
 *     shelf /dev/uio0 SLOTS        "slot 2: locate 1, fault 0, active 0", a line for each change
 *
 * Only what that driver asks is answered. Source: Documentation/target/tcmu-design.rst; SES-3,
 * pages 1, 2, 7 and 10. */
#include <stddef.h>

#include <linux/target_core_user.h>
/* The kernel's header has this structure; the library is not to define it again. */
#define __iovec_defined 1

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/str.h"

#define SLOTS_MAX     24
#define PAGE_MAX      1024
#define ELEMENT_BYTES 4
#define HEAD_BYTES    8
#define STATUS_OK     0x01
#define SELECT        0x80

enum {
        TEST_UNIT_READY = 0x00,
        INQUIRY = 0x12,
        RECEIVE_DIAGNOSTIC = 0x1c,
        SEND_DIAGNOSTIC = 0x1d,
        CHECK_CONDITION = 0x02,
        ILLEGAL_REQUEST = 0x05,
        INVALID_FIELD = 0x24
};

static const char id[8] = { 0x50, 0x00, 0x56, (char)0xb3, 0x12, 0x34, (char)0xab, (char)0xcd };

struct shelf {
        unsigned n_slots;
        uint8_t slots[SLOTS_MAX + 1][ELEMENT_BYTES]; /* the first is "all of them" */
};

/* A page being written. */
struct page {
        uint8_t data[PAGE_MAX];
        size_t n;
};

static void put(struct page *p, const void *data, size_t n)
{
        if (n <= sizeof p->data - p->n) {
                memcpy(p->data + p->n, data, n);
                p->n += n;
        }
}

static void put_byte(struct page *p, unsigned value)
{
        const uint8_t byte = (uint8_t)value;

        put(p, &byte, 1);
}

static void put_zeros(struct page *p, size_t n)
{
        static const uint8_t zeros[PAGE_MAX];

        put(p, zeros, n);
}

/* Text in a field of fixed width. */
static void put_text(struct page *p, const char *text, size_t width)
{
        for (size_t i = 0; i < width; i++)
                put_byte(p, i < strlen(text) ? (unsigned char)text[i] : ' ');
}

/* -- inquiry
 * ------------------------------------------------------------------------------------------ */

static bool inquire(const uint8_t *cdb, struct page *p)
{
        const bool is_vital = cdb[1] & 1;

        put_byte(p, 0x0d); /* an enclosure */
        if (!is_vital) {
                static const uint8_t head[] = { 0x00, 0x06, 0x02, 31, 0x00, 0x40, 0x00 };

                put(p, head, sizeof head);
                put_text(p, "BERTH", 8);
                put_text(p, "TEST SHELF", 16);
                put_text(p, "1", 4);
                return true;
        }
        put_byte(p, cdb[2]);
        put_byte(p, 0);
        switch (cdb[2]) {
        case 0x00:
                put(p, "\3\x00\x80\x83", 4);
                return true;
        case 0x80:
                put_byte(p, 8);
                put_text(p, "SHELF001", 8);
                return true;
        case 0x83:
                put_byte(p, 12);
                put(p, "\1\3\0\10", 4); /* binary, NAA, eight bytes */
                put(p, id, sizeof id);
                return true;
        default:
                return false;
        }
}

/* -- pages of the enclosure
 * --------------------------------------------------------------------------- */

static void put_configuration(const struct shelf *s, struct page *p)
{
        put(p, "\x11\0\1\x24", 4); /* one list of elements; 36 bytes follow */
        put(p, id, sizeof id);
        put_text(p, "BERTH", 8);
        put_text(p, "TEST SHELF", 16);
        put_text(p, "1", 4);
        put_byte(p, 0x17); /* slots of an array */
        put_byte(p, s->n_slots);
        put_zeros(p, 2);
}

static void put_names(const struct shelf *s, struct page *p)
{
        char name[16];

        put_zeros(p, 4);
        for (unsigned i = 1; i <= s->n_slots; i++) {
                (void)snprintf(name, sizeof name, "Slot%02u", i);
                put_zeros(p, 2);
                put_byte(p, 0);
                put_byte(p, 6);
                put(p, name, 6);
        }
}

/* SAS, with its place in the list and its number, and no address: there is no disk in it. */
static void put_numbers(const struct shelf *s, struct page *p)
{
        for (unsigned i = 1; i <= s->n_slots; i++) {
                put_byte(p, 0x16);
                put_byte(p, 34);
                put_byte(p, 0);
                put_byte(p, i - 1);
                put_byte(p, 1); /* one phy */
                put_zeros(p, 2);
                put_byte(p, i);
                put_zeros(p, 28);
        }
}

static bool diagnose(const struct shelf *s, const uint8_t *cdb, struct page *p)
{
        put_byte(p, cdb[2]);
        put_zeros(p, HEAD_BYTES - 1);
        switch (cdb[2]) {
        case 1:
                put_configuration(s, p);
                break;
        case 2:
                put(p, s->slots, (s->n_slots + 1) * ELEMENT_BYTES);
                break;
        case 7:
                put_names(s, p);
                break;
        case 10:
                put_numbers(s, p);
                break;
        default:
                return false;
        }
        p->data[2] = (uint8_t)((p->n - 4) >> 8);
        p->data[3] = (uint8_t)(p->n - 4);
        return true;
}

/* The lamps of those slots that are selected. */
static bool control(struct shelf *s, const uint8_t *data, size_t n)
{
        if (n < HEAD_BYTES || data[0] != 2)
                return false;
        for (unsigned i = 1; i <= s->n_slots && HEAD_BYTES + (i + 1) * ELEMENT_BYTES <= n; i++) {
                const uint8_t *wanted = data + HEAD_BYTES + i * ELEMENT_BYTES;
                uint8_t *slot = s->slots[i];

                if (!(wanted[0] & SELECT))
                        continue;
                slot[2] = wanted[2] & 0x82; /* active, locate */
                slot[3] = wanted[3] & 0x20; /* fault */
                (void)printf("slot %u: locate %d, fault %d, active %d\n", i, !!(slot[2] & 0x02),
                             !!(slot[3] & 0x20), !!(slot[2] & 0x80));
        }
        (void)fflush(stdout);
        return true;
}

/* -- the ring
 * ----------------------------------------------------------------------------------------- */

static void give(uint8_t *ring, const struct tcmu_cmd_entry *e, const struct page *p)
{
        size_t at = 0;

        for (uint32_t i = 0; i < e->req.iov_cnt && at < p->n; i++) {
                const size_t n = MIN(e->req.iov[i].iov_len, p->n - at);

                memcpy(ring + (uintptr_t)e->req.iov[i].iov_base, p->data + at, n);
                at += n;
        }
}

static size_t take(const uint8_t *ring, const struct tcmu_cmd_entry *e, uint8_t *data, size_t max)
{
        size_t at = 0;

        for (uint32_t i = 0; i < e->req.iov_cnt && at < max; i++) {
                const size_t n = MIN(e->req.iov[i].iov_len, max - at);

                memcpy(data + at, ring + (uintptr_t)e->req.iov[i].iov_base, n);
                at += n;
        }
        return at;
}

static void answer(struct shelf *s, uint8_t *ring, struct tcmu_cmd_entry *e)
{
        const uint8_t *cdb = ring + e->req.cdb_off;
        struct page p = { 0 };
        bool is_good = false;

        if (cdb[0] == TEST_UNIT_READY) {
                is_good = true;
        } else if (cdb[0] == INQUIRY) {
                is_good = inquire(cdb, &p);
        } else if (cdb[0] == RECEIVE_DIAGNOSTIC) {
                is_good = diagnose(s, cdb, &p);
        } else if (cdb[0] == SEND_DIAGNOSTIC) {
                uint8_t data[PAGE_MAX];

                is_good = control(s, data, take(ring, e, data, sizeof data));
        }
        if (is_good)
                give(ring, e, &p);
        memset(&e->rsp, 0, sizeof e->rsp);
        if (!is_good) {
                e->rsp.scsi_status = CHECK_CONDITION;
                e->rsp.sense_buffer[0] = 0x70;
                e->rsp.sense_buffer[2] = ILLEGAL_REQUEST;
                e->rsp.sense_buffer[7] = 10;
                e->rsp.sense_buffer[12] = INVALID_FIELD;
        }
}

static void serve(struct shelf *s, struct tcmu_mailbox *box)
{
        uint8_t *ring = (uint8_t *)box;

        while (box->cmd_tail != __atomic_load_n(&box->cmd_head, __ATOMIC_ACQUIRE)) {
                struct tcmu_cmd_entry *e =
                        (struct tcmu_cmd_entry *)(ring + box->cmdr_off + box->cmd_tail);
                const uint32_t length = tcmu_hdr_get_len(e->hdr.len_op);

                if (tcmu_hdr_get_op(e->hdr.len_op) == TCMU_OP_CMD)
                        answer(s, ring, e);
                else if (tcmu_hdr_get_op(e->hdr.len_op) != TCMU_OP_PAD)
                        e->hdr.uflags |= TCMU_UFLAG_UNKNOWN_OP;
                __atomic_store_n(&box->cmd_tail, (box->cmd_tail + length) % box->cmdr_size,
                                 __ATOMIC_RELEASE);
        }
}

/* The whole of the first map. */
static struct tcmu_mailbox *map(int fd, const char *device)
{
        char path[128], text[32] = "";
        uint64_t n = 0;
        void *box;
        int size_fd;

        (void)snprintf(path, sizeof path, "/sys/class/uio/%s/maps/map0/size",
                       strrchr(device, '/') + 1);
        size_fd = open(path, O_RDONLY | O_CLOEXEC);
        if (size_fd < 0 || read(size_fd, text, sizeof text - 1) < 0 ||
            sscanf(text, "0x%lx", (unsigned long *)&n) != 1)
                return NULL;
        (void)close(size_fd);
        box = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        return box == MAP_FAILED ? NULL : box;
}

int main(int argc, char **argv)
{
        struct shelf s = { 0 };
        struct tcmu_mailbox *box;
        uint64_t n_slots;
        int32_t events;
        int fd;

        if (argc != 3 || bth_parse_u64(argv[2], &n_slots) < 0 || n_slots > SLOTS_MAX) {
                (void)fputs("usage: shelf DEVICE SLOTS\n", stderr);
                return 2;
        }
        s.n_slots = (unsigned)n_slots;
        for (unsigned i = 0; i <= s.n_slots; i++)
                s.slots[i][0] = STATUS_OK;
        fd = open(argv[1], O_RDWR | O_CLOEXEC);
        box = fd < 0 ? NULL : map(fd, argv[1]);
        if (!box) {
                perror(argv[1]);
                return 1;
        }
        for (;;) {
                serve(&s, box);
                events = 0;
                if (write(fd, &events, sizeof events) < 0 || read(fd, &events, sizeof events) < 0)
                        return 1;
        }
}
