/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sandbox - the steps in their order: privileges, dumps, limits, Landlock, and system calls last,
 * since the steps before need some that are not on the list.
 *
 * Landlock's structures are written out here: the headers of Debian 12 know less than kernels do.
 */
#include "uploader/sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/secret.h"

#define FS_EXECUTE    (UINT64_C(1) << 0)
#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE  (UINT64_C(1) << 2)
#define FS_READ_DIR   (UINT64_C(1) << 3)
#define FS_OF_ABI_1   ((UINT64_C(1) << 13) - 1) /* all that are handled by each version */
#define FS_REFER      (UINT64_C(1) << 13)       /* 2 */
#define FS_TRUNCATE   (UINT64_C(1) << 14)       /* 3 */
#define FS_IOCTL_DEV  (UINT64_C(1) << 15)       /* 5 */
#define NET_ALL       UINT64_C(3)               /* 4: bind and connect */
#define NET_CONNECT   (UINT64_C(1) << 1)
#define SCOPE_ALL     UINT64_C(3) /* 6: abstract Unix sockets and signals of others */

#define RULESET_VERSION 1u
#define RULE_PATH       1
#define RULE_PORT       2

/* Grows with the versions of Landlock; a kernel takes a shorter one. */
struct ruleset {
        uint64_t files, network, scoped;
};

struct path_rule {
        uint64_t allowed;
        int32_t parent_fd;
} __attribute__((packed));

struct port_rule {
        uint64_t allowed, port;
};

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

static int failed(struct bth_error *error, const char *what)
{
        int r = -errno;

        return bth_error_set(error, r, BTH_REASON_INTERNAL, "the sandbox cannot be entered: %s: %s",
                             what, bth_strerror(r));
}

/* --- privileges --- */

/* Is there nothing to drop? Where a service manager took them all, it may also have forbidden
 * capset(2). */
static bool has_no_capabilities(void)
{
        struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct now[_LINUX_CAPABILITY_U32S_3] = { 0 };

        if (syscall(SYS_capget, &head, now) < 0)
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(now); i++)
                if (now[i].effective || now[i].permitted || now[i].inheritable)
                        return false;
        return true;
}

/* A station that runs as root has children that do; in here that is worth no more than a name. */
static int drop_privileges(struct upl_sandbox_level *level, struct bth_error *error)
{
        struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
        const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return failed(error, "no new privileges");
        if (!has_no_capabilities() && syscall(SYS_capset, &head, none) < 0)
                return failed(error, "no capabilities");
        level->no_new_privileges = true;
        return 0;
}

/* --- limits --- */

static int set_limit(int resource, uint64_t value)
{
        const struct rlimit limit = { value, value };

        return setrlimit((__rlimit_resource_t)resource, &limit);
}

static int set_limits(const struct upl_sandbox_options *o, struct upl_sandbox_level *level,
                      struct bth_error *error)
{
        /* A sanitizer's shadow memory is beyond every limit. */
        if (o->data_bytes > 0 && !SANITIZED && set_limit(RLIMIT_DATA, o->data_bytes) < 0)
                return failed(error, "memory");
        if (o->cpu_seconds > 0 && set_limit(RLIMIT_CPU, o->cpu_seconds) < 0)
                return failed(error, "processor time");
        level->limits = o->data_bytes > 0 && o->cpu_seconds > 0;
        return 0;
}

/* --- Landlock --- */

/* Returns the kernel's version, 0 when it has none. */
static unsigned landlock_version(void)
{
        long v = syscall(SYS_landlock_create_ruleset, NULL, 0, RULESET_VERSION);

        return v > 0 ? (unsigned)v : 0;
}

static uint64_t handled_files(unsigned abi)
{
        return FS_OF_ABI_1 | (abi >= 2 ? FS_REFER : 0) | (abi >= 3 ? FS_TRUNCATE : 0) |
               (abi >= 5 ? FS_IOCTL_DEV : 0);
}

static int make_ruleset(unsigned abi, struct bth_error *error)
{
        const struct ruleset r = {
                .files = handled_files(abi),
                .network = abi >= 4 ? NET_ALL : 0,
                .scoped = abi >= 6 ? SCOPE_ALL : 0,
        };
        size_t n = abi >= 6   ? sizeof r
                   : abi >= 4 ? offsetof(struct ruleset, scoped)
                              : offsetof(struct ruleset, network);
        int fd = (int)syscall(SYS_landlock_create_ruleset, &r, n, 0);

        return fd < 0 ? failed(error, "the set of rules") : fd;
}

static int add_path(int ruleset_fd, const char *path, struct bth_error *error)
{
        _cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
        struct path_rule rule = { .allowed = FS_READ_FILE, .parent_fd = fd };
        struct stat st;

        if (fd < 0)
                return errno == ENOENT || errno == EACCES || errno == ENOTDIR ? 0
                                                                              : failed(error, path);
        if (fstat(fd, &st) < 0)
                return failed(error, path);
        if (S_ISDIR(st.st_mode))
                rule.allowed |= FS_READ_DIR;
        return syscall(SYS_landlock_add_rule, ruleset_fd, RULE_PATH, &rule, 0) < 0
                       ? failed(error, path)
                       : 0;
}

static int add_port(int ruleset_fd, uint16_t port, struct bth_error *error)
{
        const struct port_rule rule = { .allowed = NET_CONNECT, .port = port };

        return syscall(SYS_landlock_add_rule, ruleset_fd, RULE_PORT, &rule, 0) < 0
                       ? failed(error, "a port")
                       : 0;
}

static int restrict_access(const struct upl_sandbox_options *o, struct upl_sandbox_level *level,
                           struct bth_error *error)
{
        unsigned abi = landlock_version();
        _cleanup_close_ int fd = BTH_FD_NONE;
        int r = 0;

        level->landlock_abi = abi;
        if (abi == 0)
                return 0;
        fd = make_ruleset(abi, error);
        if (fd < 0)
                return fd;
        for (const char *const *p = o->read_only; p && *p && r == 0; p++)
                r = add_path(fd, *p, error);
        for (size_t i = 0; abi >= 4 && i < o->n_ports && r == 0; i++)
                r = add_port(fd, o->ports[i], error);
        if (r == 0 && syscall(SYS_landlock_restrict_self, fd, 0) < 0)
                r = failed(error, "Landlock");
        if (r == 0) {
                level->files = true;
                level->connections = abi >= 4;
        }
        return r;
}

/* --- all --- */

int upl_sandbox_enter(const struct upl_sandbox_options *options,
                      struct upl_sandbox_level *ret_level, struct bth_error *error)
{
        struct upl_sandbox_level level = { 0 };
        int r = bth_process_forbid_dumps();

        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_INTERNAL,
                                     "core dumps cannot be forbidden: %s", bth_strerror(r));
        level.no_dumps = true;
        r = drop_privileges(&level, error);
        if (r == 0)
                r = set_limits(options, &level, error);
        if (r == 0)
                r = restrict_access(options, &level, error);
        if (r < 0)
                return r;
        /* Requests in a ring pass by seccomp, but not by Landlock. */
        level.uring = options->uring && !options->only_compute && level.files && level.connections;
        r = upl_sandbox_system_calls(level.uring, options->only_compute);
        if (r < 0 && r != -EOPNOTSUPP)
                return bth_error_set(error, r, BTH_REASON_INTERNAL,
                                     "the list of system calls cannot be loaded: %s",
                                     bth_strerror(r));
        level.system_calls = r == 0;
        *ret_level = level;
        return 0;
}

char *upl_sandbox_to_string(const struct upl_sandbox_level *level, char *text, size_t size_bytes)
{
        char landlock[32] = "no Landlock";

        if (level->landlock_abi > 0)
                (void)snprintf(landlock, sizeof landlock, "Landlock %u", level->landlock_abi);
        (void)snprintf(text, size_bytes, "system calls %s, files %s, connections %s, limits %s; %s",
                       level->system_calls ? "listed" : "OPEN", level->files ? "listed" : "OPEN",
                       level->connections ? "listed" : "OPEN", level->limits ? "set" : "NONE",
                       landlock);
        return text;
}
