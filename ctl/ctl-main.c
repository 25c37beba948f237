/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/ctl.h"

int main(int argc, char **argv)
{
        static const struct ctl_verb *const verbs[] = {
                &ctl_list, &ctl_show, &ctl_jobs, &ctl_job_import, &ctl_job_show,
        };
        char list[] = "list";
        char *alone[] = { argv[0], list, NULL };

        /* Without a word it shows what there is. */
        if (argc < 2)
                return ctl_main("berthctl", verbs, ARRAY_SIZE(verbs), 2, alone);
        return ctl_main("berthctl", verbs, ARRAY_SIZE(verbs), argc, argv);
}
