/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sandbox-calls - the system calls that a worker needs, and what of their arguments is allowed.
 *
 * What is not on the list fails with EPERM, as it would for want of rights: libraries have ways
 * around that, and a mistake of ours shows as an error with a place. */
#include <fcntl.h>
#include <linux/blkzoned.h>
#include <linux/fs.h>
#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "uploader/sandbox.h"

/* Whatever their arguments. */
static const int free_calls[] = {
        /* descriptors that are open */
        SCMP_SYS(read),
        SCMP_SYS(write),
        SCMP_SYS(readv),
        SCMP_SYS(writev),
        SCMP_SYS(pread64),
        SCMP_SYS(preadv),
        SCMP_SYS(pwrite64),
        SCMP_SYS(pwritev),
        SCMP_SYS(lseek),
        SCMP_SYS(close),
        SCMP_SYS(fstat),
        SCMP_SYS(newfstatat),
        SCMP_SYS(statx),
        SCMP_SYS(fcntl),
        SCMP_SYS(dup),
        SCMP_SYS(ftruncate),
        SCMP_SYS(fallocate),
        SCMP_SYS(fsync),
        SCMP_SYS(fdatasync),
        SCMP_SYS(fadvise64),
        SCMP_SYS(flock),
        SCMP_SYS(getdents64),
        SCMP_SYS(fstatfs),
        /* names: Landlock says which */
        SCMP_SYS(access),
        SCMP_SYS(faccessat),
        SCMP_SYS(faccessat2),
        SCMP_SYS(readlink),
        SCMP_SYS(readlinkat),
        SCMP_SYS(stat),
        SCMP_SYS(lstat),
        /* memory */
        SCMP_SYS(mmap),
        SCMP_SYS(munmap),
        SCMP_SYS(mprotect),
        SCMP_SYS(mremap),
        SCMP_SYS(madvise),
        SCMP_SYS(brk),
        SCMP_SYS(mlock),
        SCMP_SYS(mlock2),
        SCMP_SYS(munlock),
        SCMP_SYS(memfd_create),
        /* threads and time */
        SCMP_SYS(futex),
        SCMP_SYS(set_robust_list),
        SCMP_SYS(rseq),
        SCMP_SYS(sched_yield),
        SCMP_SYS(sched_getaffinity),
        SCMP_SYS(exit),
        SCMP_SYS(exit_group),
        SCMP_SYS(gettid),
        SCMP_SYS(getpid),
        SCMP_SYS(getuid),
        SCMP_SYS(geteuid),
        SCMP_SYS(getgid),
        SCMP_SYS(getegid),
        SCMP_SYS(membarrier),
        SCMP_SYS(restart_syscall),
        SCMP_SYS(clock_gettime),
        SCMP_SYS(clock_getres),
        SCMP_SYS(clock_nanosleep),
        SCMP_SYS(nanosleep),
        SCMP_SYS(gettimeofday),
        SCMP_SYS(time),
        SCMP_SYS(getrandom),
        SCMP_SYS(uname),
        SCMP_SYS(sysinfo),
        /* signals of its own */
        SCMP_SYS(rt_sigaction),
        SCMP_SYS(rt_sigprocmask),
        SCMP_SYS(rt_sigreturn),
        SCMP_SYS(rt_sigtimedwait),
        SCMP_SYS(sigaltstack),
        SCMP_SYS(signalfd4),
        /* waiting */
        SCMP_SYS(poll),
        SCMP_SYS(ppoll),
        SCMP_SYS(select),
        SCMP_SYS(pselect6),
        SCMP_SYS(epoll_create1),
        SCMP_SYS(epoll_ctl),
        SCMP_SYS(epoll_wait),
        SCMP_SYS(epoll_pwait),
        SCMP_SYS(eventfd2),
        SCMP_SYS(pipe2),
        SCMP_SYS(timerfd_create),
        SCMP_SYS(timerfd_settime),
        /* sockets: which, is said below; where to, Landlock says */
        SCMP_SYS(connect),
        SCMP_SYS(bind),
        SCMP_SYS(getsockname),
        SCMP_SYS(getpeername),
        SCMP_SYS(getsockopt),
        SCMP_SYS(setsockopt),
        SCMP_SYS(sendto),
        SCMP_SYS(recvfrom),
        SCMP_SYS(sendmsg),
        SCMP_SYS(recvmsg),
        SCMP_SYS(sendmmsg),
        SCMP_SYS(recvmmsg),
        SCMP_SYS(shutdown),
};

/* For a process of one thread that reads what it was given, computes, and says what came out. */
static const int compute_calls[] = {
        SCMP_SYS(read),          SCMP_SYS(pread64),
        SCMP_SYS(lseek),         SCMP_SYS(fstat),
        SCMP_SYS(newfstatat),    SCMP_SYS(close),
        SCMP_SYS(write),         SCMP_SYS(writev),
        SCMP_SYS(sendmsg),       SCMP_SYS(sendto),
        SCMP_SYS(mmap),          SCMP_SYS(munmap),
        SCMP_SYS(mprotect),      SCMP_SYS(mremap),
        SCMP_SYS(madvise),       SCMP_SYS(brk),
        SCMP_SYS(mlock),         SCMP_SYS(mlock2),
        SCMP_SYS(munlock),       SCMP_SYS(futex),
        SCMP_SYS(rt_sigaction),  SCMP_SYS(rt_sigprocmask),
        SCMP_SYS(rt_sigreturn),  SCMP_SYS(sigaltstack),
        SCMP_SYS(getpid),        SCMP_SYS(gettid),
        SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday),
        SCMP_SYS(getrandom),     SCMP_SYS(sched_yield),
        SCMP_SYS(exit),          SCMP_SYS(exit_group),
};

/* What block devices and sockets are asked. */
static const unsigned long ioctls[] = {
        BLKGETSIZE64,  BLKGETSIZE,  BLKSSZGET, BLKPBSZGET,       BLKIOMIN,
        BLKIOOPT,      BLKALIGNOFF, BLKROGET,  BLKDISCARDZEROES, BLKGETZONESZ,
        BLKGETDISKSEQ, FIONBIO,     FIONREAD,
};

static const int uring_calls[] = {
        SCMP_SYS(io_uring_setup),
        SCMP_SYS(io_uring_enter),
};

#define ALLOW(filter, call, n, ...) \
        seccomp_rule_add((filter), SCMP_ACT_ALLOW, SCMP_SYS(call), (n), __VA_ARGS__)

static int add_free(scmp_filter_ctx filter, const int *calls, size_t n)
{
        int r = 0;

        for (size_t i = 0; i < n && r == 0; i++) {
                /* Calls that this architecture does not have are negative. */
                if (calls[i] < 0)
                        continue;
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
        }
        return r;
}

/* Internet sockets; the kernel's list of addresses, for name lookups; pairs within the process. */
static int add_sockets(scmp_filter_ctx filter)
{
        int r = ALLOW(filter, socket, 1, SCMP_A0(SCMP_CMP_EQ, AF_INET));

        if (r == 0)
                r = ALLOW(filter, socket, 1, SCMP_A0(SCMP_CMP_EQ, AF_INET6));
        if (r == 0)
                r = ALLOW(filter, socket, 2, SCMP_A0(SCMP_CMP_EQ, AF_NETLINK),
                          SCMP_A2(SCMP_CMP_EQ, NETLINK_ROUTE));
        /* Not datagrams: those could be connected anew, to anywhere. */
        if (r == 0)
                r = ALLOW(filter, socketpair, 2, SCMP_A0(SCMP_CMP_EQ, AF_UNIX),
                          SCMP_A1(SCMP_CMP_MASKED_EQ, 0xf, SOCK_STREAM));
        return r;
}

/* Opening is for reading only, also where there is no Landlock. */
static int add_opening(scmp_filter_ctx filter)
{
        const uint64_t writing = O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY);

        return ALLOW(filter, openat, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, writing, O_RDONLY));
}

/* Threads, but no processes; no signals to others. */
static int add_threads(scmp_filter_ctx filter)
{
        int r = ALLOW(
                filter, clone, 1,
                SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM));

        /* Its flags cannot be seen: the library falls back to clone. */
        if (r == 0)
                r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
        if (r == 0)
                r = ALLOW(filter, tgkill, 1, SCMP_A0(SCMP_CMP_EQ, (uint64_t)getpid()));
        if (r == 0)
                r = ALLOW(filter, prctl, 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
        /* Limits may be looked at. */
        if (r == 0)
                r = ALLOW(filter, prlimit64, 1, SCMP_A2(SCMP_CMP_EQ, 0));
        return r;
}

/* A crash is to be seen as one: signals to itself. */
static int fill_compute(scmp_filter_ctx filter)
{
        int r = add_free(filter, compute_calls, ARRAY_SIZE(compute_calls));

        if (r == 0)
                r = ALLOW(filter, tgkill, 1, SCMP_A0(SCMP_CMP_EQ, (uint64_t)getpid()));
        return r;
}

static int fill(scmp_filter_ctx filter, bool uring)
{
        int r = add_free(filter, free_calls, ARRAY_SIZE(free_calls));

        if (r == 0 && uring)
                r = add_free(filter, uring_calls, ARRAY_SIZE(uring_calls));
        for (size_t i = 0; i < ARRAY_SIZE(ioctls) && r == 0; i++)
                r = ALLOW(filter, ioctl, 1, SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, ioctls[i]));
        if (r == 0)
                r = add_sockets(filter);
        if (r == 0)
                r = add_opening(filter);
        if (r == 0)
                r = add_threads(filter);
        return r;
}

int upl_sandbox_system_calls(bool uring, bool only_compute)
{
        scmp_filter_ctx filter;
        int r;

        /* The kernel may be built without it. */
        if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0 && errno == EINVAL)
                return -EOPNOTSUPP;
        filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
        if (!filter)
                return -ENOMEM;
        r = only_compute ? fill_compute(filter) : fill(filter, uring);
        if (r == 0)
                r = seccomp_load(filter);
        seccomp_release(filter);
        return r;
}
