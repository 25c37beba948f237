/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sandbox - what a process that reads hostile bytes gives up, for good.
 *
 *     no new privileges   no program it could start would have more rights; none can be started; no
 *                         capabilities, also where it is root
 *     no dumps            no core, no ptrace by others of its user
 *     limits              memory it may write to, processor time
 *     files               Landlock: named files and folders, read-only; nothing else can be opened
 *     connections         Landlock 4: TCP to named ports only; no listening
 *     system calls        seccomp: a list of what is needed; all others fail with EPERM
 *
 * Descriptors that are open stay as they are. What the kernel does not have is left out, and the
 * level says so; what it has and refuses is an error. UDP is not limited by Landlock: names are
 * looked up over it. Linux only, x86-64 and arm64. Source: landlock(7), seccomp(2), prctl(2). */
#pragma once

#include "base/error.h"

struct upl_sandbox_options {
        const char *const
                *read_only;    /* files and folders, NULL ends; what is missing is passed over */
        const uint16_t *ports; /* that may be connected to */
        size_t n_ports;
        uint64_t data_bytes;  /* of memory that can be written to; 0: no limit */
        uint64_t cpu_seconds; /* the kernel kills the process beyond; 0: no limit */
        bool uring;        /* io_uring may be used; only where files and connections are limited */
        bool only_compute; /* the short list of system calls: memory, and what is open already */
};

struct upl_sandbox_level {
        bool no_new_privileges, no_dumps, limits, files, connections, system_calls;
        bool uring;            /* may be used */
        unsigned landlock_abi; /* 0: the kernel has none */
};

/* Enters the sandbox. To be called while the process has one thread; later ones are inside too.
 * Returns 0 and the level; -errno of what the kernel has and refused. */
int upl_sandbox_enter(const struct upl_sandbox_options *options,
                      struct upl_sandbox_level *ret_level, struct bth_error *error) _must_check_;

/* "files, connections, system calls, limits (Landlock 7)", or what is missing. Writes at most
 * `size_bytes` with NUL; returns `text`. */
char *upl_sandbox_to_string(const struct upl_sandbox_level *level, char *text, size_t size_bytes);

/* The list of system calls alone; internal to sandbox*.c. Returns 0, -errno of libseccomp. */
int upl_sandbox_system_calls(bool uring, bool only_compute) _must_check_;
