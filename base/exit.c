/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/exit.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/str.h"

static bool is_crash(int signal)
{
        switch (signal) {
        case SIGSEGV:
        case SIGBUS:
        case SIGILL:
        case SIGFPE:
        case SIGABRT:
        case SIGTRAP:
        case SIGSYS: /* a system call that the sandbox does not allow */
                return true;
        default:
                return false;
        }
}

int bth_exit_explain(int wait_status, struct bth_error *error)
{
        if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == BTH_EXIT_NO_PROGRESS)
                return bth_error_set(error, -EIO, BTH_REASON_NTFS_DAMAGED,
                                     "reading the file system came to no end");
        if (!WIFSIGNALED(wait_status))
                return 0;
        if (is_crash(WTERMSIG(wait_status)))
                return bth_error_set(error, -EIO, BTH_REASON_NTFS_DAMAGED,
                                     "reading the drive crashed its process (SIG%s)",
                                     sigabbrev_np(WTERMSIG(wait_status)));
        return bth_error_set(error, -ECANCELED, BTH_REASON_CANCELLED,
                             "the process of the drive was ended by signal %d",
                             WTERMSIG(wait_status));
}

static int signal_of_name(const char *name)
{
        for (int i = 1; i < NSIG; i++)
                if (bth_streq(sigabbrev_np(i), name))
                        return i;
        return -EINVAL;
}

int bth_exit_from_systemd(const char *code, const char *status, int *ret_wait_status)
{
        uint64_t number;
        int r;

        if (!code || !status)
                return -EINVAL;
        if (strcmp(code, "exited") == 0) {
                if (bth_parse_u64(status, &number) < 0 || number > UINT8_MAX)
                        return -EINVAL;
                *ret_wait_status = (int)number << 8;
                return 0;
        }
        if (strcmp(code, "killed") != 0 && strcmp(code, "dumped") != 0)
                return -EINVAL;
        r = signal_of_name(status);
        if (r < 0)
                return r;
        *ret_wait_status = r | (*code == 'd' ? WCOREFLAG : 0);
        return 0;
}
