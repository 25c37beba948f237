/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/prep.h"

int main(int argc, char **argv)
{
        static const struct ctl_verb *const verbs[] = {
                &ctl_prep_forecast,       &ctl_prep_import,          &ctl_prep_list,
                &ctl_prep_preview_export, &ctl_prep_rebuild_journal, &ctl_prep_repair_import,
                &ctl_prep_unlock,         &ctl_prep_validate,        &ctl_prep_verify_export,
        };

        return ctl_main("berth-prep", verbs, ARRAY_SIZE(verbs), argc, argv);
}
