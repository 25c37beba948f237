/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/ctl.h"

int main(int argc, char **argv)
{
        static const struct ctl_verb *const verbs[] = {
                &ctl_list,        &ctl_show,          &ctl_watch,       &ctl_bays,
                &ctl_match,       &ctl_locate,        &ctl_eject,       &ctl_jobs,
                &ctl_job_import,  &ctl_job_show,      &ctl_job_ship,    &ctl_job_receive,
                &ctl_job_return,  &ctl_job_cancel,    &ctl_job_delete,  &ctl_job_forget,
                &ctl_missing,     &ctl_retry,         &ctl_pause,       &ctl_resume,
                &ctl_give_up,     &ctl_history,       &ctl_receipt,     &ctl_logs,
                &ctl_station,     &ctl_limit,         &ctl_reload,      &ctl_config,
                &ctl_names,       &ctl_hub_stations,  &ctl_hub_drives,  &ctl_hub_conflicts,
                &ctl_outbox_list, &ctl_outbox_resend, &ctl_outbox_drop,
        };
        char list[] = "list";
        char *alone[] = { argv[0], list, NULL };

        /* Without a word it shows what there is. */
        if (argc < 2)
                return ctl_main("berthctl", verbs, ARRAY_SIZE(verbs), 2, alone);
        return ctl_main("berthctl", verbs, ARRAY_SIZE(verbs), argc, argv);
}
