/* SPDX-License-Identifier: GPL-3.0-or-later */
/* macros - attributes, automatic cleanup and ownership transfer.
 * Needs nothing. Everything here is usable from any thread. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#define _must_check_   __attribute__((warn_unused_result))
#define _printf_(f, a) __attribute__((format(printf, f, a)))
#define _unused_       __attribute__((unused))
#define _pure_         __attribute__((pure))
#define _const_        __attribute__((const))
#define _noreturn_     __attribute__((noreturn))
#define _packed_       __attribute__((packed))
#define _cleanup_(f)   __attribute__((cleanup(f)))
#define _likely_(x)    __builtin_expect(!!(x), 1)
#define _unlikely_(x)  __builtin_expect(!!(x), 0)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define MIN(a, b)                                  \
        ({                                         \
                __typeof__(a) _min_a = (a);        \
                __typeof__(b) _min_b = (b);        \
                _min_a < _min_b ? _min_a : _min_b; \
        })
#define MAX(a, b)                                  \
        ({                                         \
                __typeof__(a) _max_a = (a);        \
                __typeof__(b) _max_b = (b);        \
                _max_a > _max_b ? _max_a : _max_b; \
        })

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* The descriptor value that means "none". Never -1, so that an errno cannot be taken for one. */
#define BTH_FD_NONE (-EBADF)

/* Declares NAMEp(), for _cleanup_(NAMEp), beside a function NAME(TYPE) that takes NULL. */
#define DEFINE_CLEANUP(name, type)          \
        static inline void name##p(type *p) \
        {                                   \
                if (*p)                     \
                        (void)name(*p);     \
        }                                   \
        struct bth_swallow_semicolon

/* Moves a pointer out of a variable that would be cleaned up; leaves NULL behind. */
#define take_ptr(p)                          \
        ({                                   \
                __typeof__(p) _take_p = (p); \
                (p) = NULL;                  \
                _take_p;                     \
        })

/* Moves a descriptor out of a variable that would be closed; leaves BTH_FD_NONE behind. */
#define take_fd(fd)                  \
        ({                           \
                int _take_fd = (fd); \
                (fd) = BTH_FD_NONE;  \
                _take_fd;            \
        })

static inline void freep(void *p)
{
        free(*(void **)p);
}

/* Closes a descriptor and keeps errno. Returns BTH_FD_NONE, for `fd = bth_close(fd)`.
 * An error of close() is not reported: who needs to know about written data calls fsync() first. */
static inline int bth_close(int fd)
{
        if (fd >= 0) {
                int saved = errno;
                (void)close(fd);
                errno = saved;
        }
        return BTH_FD_NONE;
}

static inline void bth_closep(int *fd)
{
        *fd = bth_close(*fd);
}

#define _cleanup_free_  _cleanup_(freep)
#define _cleanup_close_ _cleanup_(bth_closep)
