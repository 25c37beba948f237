/* SPDX-License-Identifier: GPL-3.0-or-later */
/* secret - one private mapping per secret: locked, not dumped, wiped in children and when freed. */
#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/secret.h"

#define SECRET_MAX_BYTES ((size_t)16 << 20)

void bth_wipe(void *p, size_t n)
{
        if (p && n > 0)
                explicit_bzero(p, n);
}

int bth_secret_new(size_t length_bytes, struct bth_secret **ret_secret)
{
        struct bth_secret *s;
        uint64_t mapped;
        void *p;

        if (length_bytes == 0 || length_bytes > SECRET_MAX_BYTES)
                return -EINVAL;
        if (!bth_align_up(length_bytes + 1, (uint64_t)sysconf(_SC_PAGESIZE), &mapped))
                return -EINVAL;
        s = calloc(1, sizeof *s);
        if (!s)
                return -ENOMEM;
        p = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) {
                free(s);
                return -ENOMEM;
        }
        /* Both advices are as old as the kernels we run on; a failure would only weaken, not break.
         */
        (void)madvise(p, mapped, MADV_DONTDUMP);
        (void)madvise(p, mapped, MADV_WIPEONFORK);
        *s = (struct bth_secret){
                .data = p,
                .length_bytes = length_bytes,
                .mapped_bytes = mapped,
                .locked = mlock(p, mapped) == 0,
        };
        *ret_secret = s;
        return 0;
}

int bth_secret_new_copy(const void *data, size_t length_bytes, struct bth_secret **ret_secret)
{
        int r = bth_secret_new(length_bytes, ret_secret);

        if (r == 0)
                memcpy((*ret_secret)->data, data, length_bytes);
        return r;
}

static void trim_line_end(struct bth_secret *s)
{
        size_t n = s->length_bytes;

        if (n > 0 && s->data[n - 1] == '\n')
                n--;
        if (n > 0 && n < s->length_bytes && s->data[n - 1] == '\r')
                n--;
        bth_secret_truncate(s, n);
}

int bth_secret_new_from_fd(int fd, size_t max_bytes, bool trim, struct bth_secret **ret_secret)
{
        _cleanup_(bth_secret_freep) struct bth_secret *s = NULL;
        size_t n = 0;
        int r;

        if (max_bytes >= SECRET_MAX_BYTES)
                return -EINVAL;
        r = bth_secret_new(max_bytes + 1, &s);
        if (r < 0)
                return r;
        while (n < max_bytes + 1) {
                ssize_t k = read(fd, s->data + n, max_bytes + 1 - n);

                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (k == 0)
                        break;
                n += (size_t)k;
        }
        if (n > max_bytes)
                return -EFBIG;
        bth_secret_truncate(s, n);
        if (trim)
                trim_line_end(s);
        if (s->length_bytes == 0)
                return -ENODATA;
        *ret_secret = take_ptr(s);
        return 0;
}

int bth_secret_new_from_file(const char *path, size_t max_bytes, bool trim,
                             struct bth_secret **ret_secret)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        struct stat st;

        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (S_ISREG(st.st_mode) && (st.st_mode & 077) != 0)
                return -EPERM;
        return bth_secret_new_from_fd(fd, max_bytes, trim, ret_secret);
}

void bth_secret_truncate(struct bth_secret *s, size_t length_bytes)
{
        assert(length_bytes <= s->length_bytes);
        bth_wipe(s->data + length_bytes, s->length_bytes - length_bytes);
        s->length_bytes = length_bytes;
}

struct bth_secret *bth_secret_free(struct bth_secret *s)
{
        if (s) {
                bth_wipe(s->data, s->mapped_bytes);
                (void)munmap(s->data, s->mapped_bytes); /* unlocks too */
                free(s);
        }
        return NULL;
}

bool bth_secret_equal(const struct bth_secret *a, const struct bth_secret *b)
{
        uint8_t difference = 0;

        if (a->length_bytes != b->length_bytes)
                return false;
        for (size_t i = 0; i < a->length_bytes; i++)
                difference |= (uint8_t)(a->data[i] ^ b->data[i]);
        return difference == 0;
}

int bth_process_forbid_dumps(void)
{
        const struct rlimit none = { 0, 0 };

        if (prctl(PR_SET_DUMPABLE, 0) < 0)
                return -errno;
        return setrlimit(RLIMIT_CORE, &none) < 0 ? -errno : 0;
}
