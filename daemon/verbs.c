/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/verbs.h"

static const dmn_verb_fn functions[_DMN_VERB_MAX] = {
        [DMN_VERB_STATION_SHOW] = dmn_do_station_show,
        [DMN_VERB_CONFIG_SHOW] = dmn_do_config_show,
        [DMN_VERB_RELOAD] = dmn_do_reload,
        [DMN_VERB_LIMITS_SHOW] = dmn_do_limits_show,
        [DMN_VERB_LIMITS_SET] = dmn_do_limits_set,
        [DMN_VERB_BAYS_LIST] = dmn_do_bays_list,
        [DMN_VERB_BAY_SHOW] = dmn_do_bay_show,
        [DMN_VERB_BAY_LOCATE] = dmn_do_bay_locate,
        [DMN_VERB_BAY_MATCH] = dmn_do_bay_match,
        [DMN_VERB_BAY_EJECT] = dmn_do_bay_eject,
        [DMN_VERB_PLACES_LIST] = dmn_do_places_list,
        [DMN_VERB_DRIVE_PAUSE] = dmn_do_drive_pause,
        [DMN_VERB_DRIVE_RESUME] = dmn_do_drive_resume,
        [DMN_VERB_DRIVE_RETRY] = dmn_do_drive_retry,
        [DMN_VERB_DRIVE_GIVE_UP] = dmn_do_drive_give_up,
        [DMN_VERB_DRIVE_EJECT] = dmn_do_drive_eject,
        [DMN_VERB_DRIVES_LIST] = dmn_do_drives_list,
        [DMN_VERB_DRIVE_SHOW] = dmn_do_drive_show,
        [DMN_VERB_DRIVE_RECEIVE] = dmn_do_drive_receive,
        [DMN_VERB_DRIVE_MISSING] = dmn_do_drive_missing,
        [DMN_VERB_DRIVE_RECEIPT] = dmn_do_drive_receipt,
        [DMN_VERB_DRIVE_LOGS] = dmn_do_drive_logs,
        [DMN_VERB_JOBS_LIST] = dmn_do_jobs_list,
        [DMN_VERB_JOB_IMPORT] = dmn_do_job_import,
        [DMN_VERB_JOB_JOURNALS] = dmn_do_job_journals,
        [DMN_VERB_JOB_SHOW] = dmn_do_job_show,
        [DMN_VERB_JOB_SHIP] = dmn_do_job_ship,
        [DMN_VERB_JOB_RECEIVE] = dmn_do_job_receive,
        [DMN_VERB_JOB_CANCEL] = dmn_do_job_cancel,
        [DMN_VERB_JOB_RETURN] = dmn_do_job_return,
        [DMN_VERB_JOB_DELETE] = dmn_do_job_delete,
        [DMN_VERB_JOB_FORGET] = dmn_do_job_forget,
        [DMN_VERB_EVENTS_LIST] = dmn_do_events_list,
        [DMN_VERB_OUTBOX_LIST] = dmn_do_outbox_list,
        [DMN_VERB_OUTBOX_RESEND] = dmn_do_outbox_resend,
        [DMN_VERB_OUTBOX_DROP] = dmn_do_outbox_drop,
        [DMN_VERB_HUB_EVENTS] = dmn_do_hub_events,
        [DMN_VERB_HUB_JOBS] = dmn_do_hub_jobs,
        [DMN_VERB_HUB_STATIONS] = dmn_do_hub_stations,
        [DMN_VERB_HUB_DRIVES] = dmn_do_hub_drives,
        [DMN_VERB_HUB_CONFLICTS] = dmn_do_hub_conflicts,
};

/* Those that know no member; all others look at theirs. */
static const bool takes_nothing[_DMN_VERB_MAX] = {
        [DMN_VERB_STATION_SHOW] = true, [DMN_VERB_CONFIG_SHOW] = true,
        [DMN_VERB_RELOAD] = true,       [DMN_VERB_LIMITS_SHOW] = true,
        [DMN_VERB_BAYS_LIST] = true,    [DMN_VERB_BAY_SHOW] = true,
        [DMN_VERB_BAY_EJECT] = true,    [DMN_VERB_PLACES_LIST] = true,
        [DMN_VERB_DRIVE_EJECT] = true,
};

void dmn_verb_call(struct dmn_station *s, struct dmn_call *c)
{
        static const char *const none[] = { NULL };
        const struct dmn_verb_info *info = dmn_verb_info(c->verb);
        struct bth_error error = BTH_ERROR_INIT;

        if (!info || !functions[c->verb])
                dmn_call_refuse(c, -ENOENT, BTH_REASON_UNSUPPORTED, "there is no such verb");
        else if (!dmn_right_allows(c->right, info->right))
                dmn_call_refuse(c, -EACCES, BTH_REASON_NOT_PERMITTED, "this needs the right to %s",
                                dmn_right_to_string(info->right));
        else if (takes_nothing[c->verb] && dmn_call_members(c, none, &error) < 0)
                dmn_call_fail(c, &error);
        else
                functions[c->verb](s, c);
}
