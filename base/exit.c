/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/exit.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

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
