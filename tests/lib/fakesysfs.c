/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/lib/fakesysfs.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <scsi/sg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/io.h"

static void must(bool ok, const char *what)
{
        if (ok)
                return;
        (void)fprintf(stderr, "the fake machine cannot be built: %s: %s\n", what, strerror(errno));
        abort();
}

static const struct fake_answer *answer_for(const struct fake_machine *m, const uint8_t *cdb,
                                            size_t n_cdb)
{
        for (size_t i = 0; i < m->n_answers; i++)
                if (m->answers[i].n_cdb <= n_cdb &&
                    memcmp(m->answers[i].cdb, cdb, m->answers[i].n_cdb) == 0)
                        return &m->answers[i];
        return NULL;
}

/* As sg(4) does it: bytes that the drive did not send are the residue. */
static int fake_ioctl(void *userdata, int fd, unsigned long request, void *argument)
{
        struct fake_machine *m = userdata;
        struct sg_io_hdr *h = argument;
        const struct fake_answer *a;
        size_t n;

        if (request != SG_IO)
                return m->other ? m->other(m, fd, request, argument) : -ENOTTY;
        if (m->n_answers == 0)
                return -ENOTTY;
        memset(m->last_cdb, 0, sizeof m->last_cdb);
        memcpy(m->last_cdb, h->cmdp, MIN((size_t)h->cmd_len, sizeof m->last_cdb));
        m->n_commands++;
        a = answer_for(m, h->cmdp, h->cmd_len);
        if (!a) {
                static const uint8_t invalid[18] = { 0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20 };

                h->status = 2;
                h->resid = (int)h->dxfer_len;
                h->sb_len_wr = (uint8_t)MIN(sizeof invalid, (size_t)h->mx_sb_len);
                memcpy(h->sbp, invalid, h->sb_len_wr);
                return 0;
        }
        n = MIN(a->n_data, (size_t)h->dxfer_len);
        if (n > 0)
                memcpy(h->dxferp, a->data, n);
        h->resid = (int)(h->dxfer_len - n);
        h->status = a->status;
        h->sb_len_wr = (uint8_t)MIN(a->n_sense, (size_t)h->mx_sb_len);
        if (h->sb_len_wr > 0)
                memcpy(h->sbp, a->sense, h->sb_len_wr);
        return a->error;
}

void fake_machine_make(struct fake_machine *m)
{
        *m = (struct fake_machine){ .root = "/tmp/berth-sysfs-XXXXXX" };
        must(mkdtemp(m->root) != NULL, m->root);
        m->host = (struct hal_host){ .sysfs = m->root, .ioctl = fake_ioctl, .userdata = m };
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
        return remove(path);
}

void fake_machine_remove(struct fake_machine *m)
{
        must(nftw(m->root, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0, m->root);
}

static void full_path(const struct fake_machine *m, const char *path, char *out)
{
        must(snprintf(out, PATH_MAX, "%s/%s", m->root, path) < PATH_MAX, path);
}

/* All folders above a path; a link on the way is followed. */
static void make_folders(char *full)
{
        for (char *p = strchr(full + 1, '/'); p; p = strchr(p + 1, '/')) {
                *p = '\0';
                must(mkdir(full, 0755) == 0 || errno == EEXIST, full);
                *p = '/';
        }
}

void fake_file(const struct fake_machine *m, const char *path, const void *data, size_t n)
{
        char full[PATH_MAX];
        int fd;

        full_path(m, path, full);
        make_folders(full);
        fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        must(fd >= 0 && bth_write_full(fd, data, n) == 0, full);
        (void)bth_close(fd);
}

void fake_text(const struct fake_machine *m, const char *path, const char *text)
{
        fake_file(m, path, text, strlen(text));
}

void fake_link(const struct fake_machine *m, const char *path, const char *target)
{
        char full[PATH_MAX];

        full_path(m, path, full);
        make_folders(full);
        (void)unlink(full);
        must(symlink(target, full) == 0, full);
}

void fake_drop(const struct fake_machine *m, const char *path)
{
        char full[PATH_MAX];

        full_path(m, path, full);
        must(nftw(full, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0, full);
}

char *fake_content(const struct fake_machine *m, const char *path)
{
        char full[PATH_MAX], *text = NULL;
        size_t n;

        full_path(m, path, full);
        must(bth_read_file(full, 65536, &text, &n) == 0, full);
        while (n > 0 && (unsigned char)text[n - 1] <= ' ')
                text[--n] = '\0';
        return text;
}

static void attribute(const struct fake_machine *m, const char *folder, const char *name,
                      uint64_t value)
{
        char path[PATH_MAX], text[32];

        (void)snprintf(path, sizeof path, "%s/%s", folder, name);
        (void)snprintf(text, sizeof text, "%" PRIu64 "\n", value);
        fake_text(m, path, text);
}

void fake_disk(const struct fake_machine *m, const char *place, const char *name, dev_t device,
               uint64_t size_bytes, uint64_t diskseq)
{
        /* An NVMe namespace lies below its controller; all others in a folder "block". */
        const bool nvme = strncmp(name, "nvme", 4) == 0;
        char disk[PATH_MAX / 2], path[PATH_MAX], target[PATH_MAX];

        (void)snprintf(disk, sizeof disk, "%s%s/%s", place, nvme ? "" : "/block", name);
        attribute(m, disk, "size", size_bytes / 512);
        attribute(m, disk, "diskseq", diskseq);
        attribute(m, disk, "ro", 0);
        attribute(m, disk, "removable", 0);
        attribute(m, disk, "queue/logical_block_size", 512);
        attribute(m, disk, "queue/physical_block_size", 4096);
        attribute(m, disk, "queue/rotational", nvme ? 0 : 1);
        (void)snprintf(path, sizeof path, "%s/dev", disk);
        (void)snprintf(target, sizeof target, "%u:%u\n", major(device), minor(device));
        fake_text(m, path, target);
        (void)snprintf(path, sizeof path, "%s/device", disk);
        (void)snprintf(target, sizeof target, "%s/%s", m->root, place);
        fake_link(m, path, target);
        (void)snprintf(target, sizeof target, "%s/%s", m->root, disk);
        (void)snprintf(path, sizeof path, "dev/block/%u:%u", major(device), minor(device));
        fake_link(m, path, target);
        (void)snprintf(path, sizeof path, "block/%s", name);
        fake_link(m, path, target);
        (void)snprintf(path, sizeof path, "class/block/%s", name);
        fake_link(m, path, target);
}
