/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "hal/block_shape.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/source.h"
#include "base/time.h"

#define SECTOR_MIN  512
#define ALIGN_MAX   65536
#define PAUSE_MSEC  50
#define ALIGN_USUAL 4096u /* suits every drive and file system where the kernel does not tell */

static int measure(int fd, uint64_t *ret_size, bool *ret_device, uint32_t *ret_sector)
{
        struct stat st;
        int sector = SECTOR_MIN;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (S_ISREG(st.st_mode)) {
                *ret_size = (uint64_t)st.st_size;
                *ret_device = false;
                *ret_sector = 1;
                return 0;
        }
        if (!S_ISBLK(st.st_mode))
                return -ENOTBLK;
        if (ioctl(fd, BLKGETSIZE64, ret_size) < 0 || ioctl(fd, BLKSSZGET, &sector) < 0)
                return -errno;
        if (sector < SECTOR_MIN || sector > ALIGN_MAX || !bth_is_power_of_two((uint64_t)sector))
                return -EIO;
        *ret_device = true;
        *ret_sector = (uint32_t)sector;
        return 0;
}

/* A device wants whole sectors, a file what its file system wants. */
static void ask_alignment(int fd, struct hal_block_shape *s)
{
#ifdef STATX_DIOALIGN
        struct statx x;

        if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &x) == 0 &&
            (x.stx_mask & STATX_DIOALIGN) && bth_is_power_of_two(x.stx_dio_offset_align) &&
            bth_is_power_of_two(x.stx_dio_mem_align) && x.stx_dio_offset_align <= ALIGN_MAX &&
            x.stx_dio_mem_align <= ALIGN_MAX) {
                s->unit_bytes = x.stx_dio_offset_align;
                s->memory_align_bytes = x.stx_dio_mem_align;
                return;
        }
#endif
        if (!s->is_device)
                s->unit_bytes = ALIGN_USUAL;
        s->memory_align_bytes = MAX(s->unit_bytes, ALIGN_USUAL);
}

/* Turns O_DIRECT on and tries it: some file systems take the flag and refuse the read. */
static void try_direct(int fd, struct hal_block_shape *s)
{
        _cleanup_free_ void *probe = bth_io_buffer_new(ALIGN_MAX);
        struct hal_block_shape direct = *s;
        const int flags = fcntl(fd, F_GETFL);

        if (!probe || flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) < 0)
                return;
        ask_alignment(fd, &direct);
        if (s->size_bytes > 0 && pread(fd, probe, direct.unit_bytes, 0) < 0 && errno == EINVAL) {
                (void)fcntl(fd, F_SETFL, flags & ~O_DIRECT);
                return;
        }
        direct.direct = true;
        *s = direct;
}

int hal_block_measure(int fd, bool want_direct, struct hal_block_shape *ret_shape)
{
        struct hal_block_shape s = { .memory_align_bytes = 1 };
        int r = measure(fd, &s.size_bytes, &s.is_device, &s.unit_bytes);

        if (r < 0)
                return r;
        if (want_direct)
                try_direct(fd, &s);
        *ret_shape = s;
        return 0;
}

bool hal_block_is_whole(int fd, uint64_t size_bytes)
{
        uint32_t sector;
        uint64_t now;
        bool device;

        return measure(fd, &now, &device, &sector) == 0 && now >= size_bytes;
}

/* -- bad, broken or gone
 * -------------------------------------------------------------------------------------------- */

static bool reads_at(const struct hal_block_watch *w, uint8_t *buffer, uint64_t offset)
{
        return pread(w->fd, buffer, w->shape.unit_bytes, (off_t)offset) > 0;
}

/* Both ends: a bad place is rarely at one of them, and never at both. */
static bool answers(const struct hal_block_watch *w, uint8_t *buffer)
{
        const uint64_t unit = w->shape.unit_bytes;

        return reads_at(w, buffer, 0) ||
               (w->shape.size_bytes > unit &&
                reads_at(w, buffer, (w->shape.size_bytes - 1) / unit * unit));
}

int hal_block_explain(struct hal_block_watch *w, int r)
{
        _cleanup_free_ void *buffer = NULL;
        uint64_t none = 0;

        if (r >= 0 || r == -ENODEV || r == -ENOMEM)
                return r;
        buffer = bth_io_buffer_new(ALIGN_MAX);
        for (;;) {
                if (!hal_block_is_whole(w->fd, w->shape.size_bytes))
                        return -ENODEV;
                if (!buffer || answers(w, buffer)) {
                        atomic_store(&w->silent_usec, 0);
                        return r;
                }
                /* The first one says from when on; the others wait for what is left. */
                (void)atomic_compare_exchange_strong(&w->silent_usec, &none,
                                                     bth_now_monotonic_usec());
                if (bth_now_monotonic_usec() >= atomic_load(&w->silent_usec) + w->vanish_usec)
                        return r;
                none = 0;
                (void)poll(NULL, 0, PAUSE_MSEC);
        }
}
