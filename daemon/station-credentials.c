/* SPDX-License-Identifier: GPL-3.0-or-later */
/* station-credentials - a renewed credential goes to the workers of its account at once; drives
 * that could not begin for want of a good one try again. */
#include "base/log.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/station-internal.h"

static bool is_of(const struct dmn_slot *slot, const struct dmn_account_config *a)
{
        return slot->record &&
               dmn_config_account(slot->station->config, slot->record->account) == a;
}

static void send_to(struct dmn_slot *slot, const struct dmn_account_config *a,
                    const struct bth_secret *secret)
{
        const struct bth_message m = {
                .type = BTH_MESSAGE_CREDENTIAL,
                .credential = { .credential = (struct bth_secret *)(uintptr_t)secret },
        };
        int r = dmn_worker_send(slot->worker, &m);

        if (r < 0 && r != -EPIPE)
                bth_log(LOG_WARNING,
                        "the worker in bay %s does not take the new credential of account '%s': "
                        "%s, ignoring",
                        slot->bay, a->name, bth_strerror(r));
}

/* Whoever waits for a credential need not wait any longer. */
static void try_again(struct dmn_slot *slot)
{
        if (slot->trouble.reason != BTH_REASON_CREDENTIALS)
                return;
        slot->again_usec = 0;
        dmn_slot_step_at(slot, bth_now_monotonic_usec());
}

static void renew(struct dmn_station *s, const struct dmn_account_config *a)
{
        _cleanup_(bth_secret_freep) struct bth_secret *secret = NULL;
        struct bth_error error = BTH_ERROR_INIT;

        if (dmn_credential_read(a, &secret, &error) < 0) {
                bth_log_error(LOG_WARNING, &error); /* workers keep what they have */
                return;
        }
        bth_debug("the credential of account '%s' was read again", a->name);
        for (struct dmn_slot *slot = s->slots; slot; slot = slot->next) {
                if (!is_of(slot, a))
                        continue;
                if (!slot->worker)
                        try_again(slot);
                else if (secret && !slot->stopping) /* another one begins with what is there then */
                        send_to(slot, a, secret);
        }
}

static void changed(void *userdata, const char *name)
{
        struct dmn_station *s = userdata;
        const struct dmn_account_config *a = dmn_config_account(s->config, name);

        if (a)
                renew(s, a);
}

static bool is_wanted(const struct dmn_station *s, const struct dmn_account_config *a)
{
        for (const struct dmn_slot *slot = s->slots; slot; slot = slot->next)
                if (is_of(slot, a))
                        return true;
        return false;
}

void dmn_station_credentials(struct dmn_station *s)
{
        int r;

        s->credentials = dmn_credential_watch_free(s->credentials);
        r = dmn_credential_watch(s->loop, s->config, changed, s, &s->credentials);
        if (r < 0)
                bth_log(LOG_WARNING,
                        "renewed credentials are seen at a reload only, since their files cannot "
                        "be watched: %s, ignoring",
                        bth_strerror(r));
        for (struct dmn_slot *slot = s->slots; slot; slot = slot->next)
                dmn_slot_account_look(slot);
        for (size_t i = 0; i < s->config->n_accounts; i++)
                if (is_wanted(s, &s->config->accounts[i]))
                        renew(s, &s->config->accounts[i]);
}
