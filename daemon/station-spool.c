/* SPDX-License-Identifier: GPL-3.0-or-later */
/* station-spool - the spool folder of the configuration, and what is made from it. */
#include "base/log.h"
#include "base/str.h"
#include "daemon/station-internal.h"

static int import(void *userdata, struct dmn_import *import, dmn_import_fn done,
                  void *done_userdata, struct dmn_importing **ret_importing,
                  struct bth_error *error)
{
        struct dmn_station *s = userdata;

        if (s->stopping)
                return bth_error_set(error, -ECANCELED, BTH_REASON_CANCELLED,
                                     "the station is being stopped");
        if (!import->account)
                import->account = s->config->spool_account;
        if (!import->account)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING,
                                     "neither job.conf (account) nor the configuration "
                                     "(spool_account) names a storage account");
        return dmn_import_begin(s->loop, s->store, s->config, import, done, done_userdata,
                                ret_importing, error);
}

static void made(void *userdata, uint64_t job)
{
        (void)job;
        dmn_station_look(userdata);
}

void dmn_station_spool(struct dmn_station *s)
{
        static const struct dmn_spool_events events = { .import = import, .made = made };
        struct bth_error error = BTH_ERROR_INIT;

        /* What it was reading is read again. */
        s->spool = dmn_spool_free(s->spool);
        if (s->config->spool_directory && !s->stopping &&
            dmn_spool_new(s->loop, s->config->spool_directory, &events, s, &s->spool, &error) < 0)
                bth_log_error(LOG_ERR, &error);
}
