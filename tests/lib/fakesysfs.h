/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fakesysfs - a machine for tests: a folder that looks like /sys, and drives that answer SG_IO and
 * NVMe commands from a list. One thread builds it; any may read. Failures end the test. */
#pragma once

#include "hal/host.h"

/* What a fake drive answers to a command of SCSI: the first bytes of its command block are looked
 * up. */
struct fake_answer {
        uint8_t cdb[16];
        size_t n_cdb; /* how many of them must be the same */
        uint8_t status;
        const void *data, *sense;
        size_t n_data, n_sense;
        int error; /* negative errno of the ioctl itself; 0: none */
};

struct fake_machine {
        struct hal_host host;
        char root[64];
        const struct fake_answer *answers; /* none: every ioctl fails with -ENOTTY */
        size_t n_answers;
        /* every ioctl that is no SG_IO goes here when it is set */
        int (*other)(struct fake_machine *m, int fd, unsigned long request, void *argument);
        uint8_t last_cdb[16];
        unsigned n_commands;
};

/* Makes the empty folder; fake_machine_remove() takes it away with all that is in it. */
void fake_machine_make(struct fake_machine *m);
void fake_machine_remove(struct fake_machine *m);

/* A file below the root with its folders; replaces one that is there. */
void fake_file(const struct fake_machine *m, const char *path, const void *data, size_t n);
void fake_text(const struct fake_machine *m, const char *path, const char *text);
void fake_link(const struct fake_machine *m, const char *path, const char *target);
/* Removes a file, a link or a folder with all that is in it. */
void fake_drop(const struct fake_machine *m, const char *path);
/* The content of a file below the root, blanks at the end cut; free() it. */
char *fake_content(const struct fake_machine *m, const char *path);

/* A disk at `place` ("devices/pci0000:00/ata1/host0/target0:0:0/0:0:0:0"), its name ("sda"), device
 * number and size; block/NAME, class/block/NAME and dev/block/M:m lead to it, and its `device` link
 * to `place`. */
void fake_disk(const struct fake_machine *m, const char *place, const char *name, dev_t device,
               uint64_t size_bytes, uint64_t diskseq);
