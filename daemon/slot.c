/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/slot.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/names.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/aside.h"
#include "daemon/station-internal.h"
#include "hal/eject.h"

/* -- life
 * --------------------------------------------------------------------------------------------- */

int dmn_slot_new(struct dmn_station *s, const struct hal_docking *d, struct dmn_slot **ret_slot)
{
        struct dmn_slot *slot = calloc(1, sizeof *slot);

        if (!slot)
                return -ENOMEM;
        slot->station = s;
        slot->docking = d;
        slot->sequence = d->sequence;
        slot->is_virtual = d->is_virtual;
        slot->docked_usec = bth_now_realtime_usec();
        slot->trouble = BTH_ERROR_INIT;
        (void)snprintf(slot->bay, sizeof slot->bay, "%s", d->bay->name);
        (void)snprintf(slot->node, sizeof slot->node, "%s", d->node);
        (void)snprintf(slot->diskseq, sizeof slot->diskseq, "%llu",
                       (unsigned long long)d->sequence);
        slot->next = s->slots;
        s->slots = slot;
        *ret_slot = slot;
        return 0;
}

static void refuse_wish(struct dmn_wish *wish, int code, const char *sentence)
{
        struct dmn_call *call = wish->call;

        *wish = (struct dmn_wish){ 0 };
        if (call)
                dmn_call_refuse(call, code, BTH_REASON_REFUSED, "%s", sentence);
}

static void grant_wish(struct dmn_wish *wish, const char *sentence)
{
        struct dmn_call *call = wish->call;

        *wish = (struct dmn_wish){ 0 };
        if (call)
                dmn_call_answer(call, json_pack("{s:s}", "sentence", sentence));
}

void dmn_slot_free(struct dmn_slot *slot)
{
        struct dmn_slot **at = &slot->station->slots;
        const bool stopping = slot->station->ending;
        const int code = stopping ? -ECANCELED : -ENODEV;
        const char *why = stopping ? "the station stops" : "the drive was pulled";

        if (slot->aside)
                dmn_aside_finish(slot->aside);
        while (*at != slot)
                at = &(*at)->next;
        *at = slot->next;
        refuse_wish(&slot->eject, code, why);
        refuse_wish(&slot->give_up, code, why);
        refuse_wish(&slot->match_by_hand, code, why);
        slot->worker = dmn_worker_free(slot->worker);
        slot->timer = sd_event_source_disable_unref(slot->timer);
        if (slot->has_result)
                bth_message_clear(&slot->result);
        (void)job_record_free(slot->record);
        free(slot->activity_sentence);
        free(slot->sandbox.sentence);
        free(slot->ordered_account);
        free(slot);
}

void dmn_slot_log(const struct dmn_slot *slot, int level, const char *id, const char *blob,
                  const char *reason, const char *sentence)
{
        const struct bth_log_field fields[] = {
                { BTH_FIELD_MESSAGE_ID, id },
                { BTH_FIELD_BAY, slot->bay },
                { BTH_FIELD_DRIVE_SERIAL, slot->identity.serial },
                { BTH_FIELD_JOB, slot->job > 0 && slot->record ? slot->record->name : NULL },
                { BTH_FIELD_BLOB, blob },
                { BTH_FIELD_REASON, reason }
        };

        bth_log_fields(level, fields, "bay %s: drive %s: %s%s%s", slot->bay, slot->identity.serial,
                       blob ? blob : "", blob ? ": " : "", sentence ? sentence : "");
}

struct job_drive *dmn_slot_drive(const struct dmn_slot *slot)
{
        return slot->job > 0 && slot->record ? &slot->record->model.drives[slot->drive] : NULL;
}

bool dmn_slot_works(const struct dmn_slot *slot)
{
        return slot->worker || slot->has_result;
}

/* -- the drive itself
 * --------------------------------------------------------------------------------- */

static void add_warning(struct dmn_slot *slot, const char *warning)
{
        const size_t n = strlen(slot->warning);

        (void)snprintf(slot->warning + n, sizeof slot->warning - n, "%s%s", n > 0 ? "; " : "",
                       warning);
}

static void find_warnings(struct dmn_slot *slot)
{
        slot->warning[0] = '\0';
        if (slot->identity.bus == HAL_BUS_USB)
                add_warning(slot, "it is behind a USB bridge");
        if (slot->identity.logical_sector_bytes == 4096)
                add_warning(slot, "it has sectors of 4096 bytes");
        if (slot->health_known && slot->health.verdict >= HAL_VERDICT_WORN)
                add_warning(slot, hal_verdict_sentence(slot->health.verdict));
}

/* Spec 9 takes SATA drives with 512-byte sectors; others are taken with a warning. */
static bool is_strange(const struct dmn_slot *slot)
{
        return slot->identity.bus == HAL_BUS_USB || slot->identity.logical_sector_bytes == 4096;
}

void dmn_slot_docking(struct dmn_slot *slot, const struct hal_docking *d)
{
        if (d->state == HAL_DOCKING_GONE) {
                slot->docking = NULL;
                slot->gone = true;
                if (!slot->ejected && !slot->eject.set)
                        dmn_slot_log(slot, LOG_NOTICE, BTH_ID(DRIVE_REMOVED), NULL, NULL,
                                     "it was removed");
                return;
        }
        if (d->state == HAL_DOCKING_READY && !slot->ready) {
                slot->identity = d->identity;
                slot->ready = true;
                find_warnings(slot);
        }
        slot->identity.fault = d->identity.fault;
}

/* The thread has a copy of the docking, which ends when the drive is pulled meanwhile. */
struct asking {
        struct dmn_slot *slot;
        struct hal_docking docking;
        struct hal_health health;
};

static int ask_health(void *userdata)
{
        struct asking *a = userdata;
        const struct hal_host *host = a->slot->station->host;
        _cleanup_close_ int fd = BTH_FD_NONE;
        int r = hal_docking_open(&a->docking, host, &fd, NULL);

        return r < 0 ? r : hal_health_read(host, fd, a->docking.identity.bus, &a->health);
}

static void health_done(void *userdata, int r)
{
        struct asking *a = userdata;
        struct dmn_slot *slot = a->slot;

        slot->aside = NULL;
        slot->health_known = r == 0;
        slot->health = a->health;
        free(a);
        find_warnings(slot);
        dmn_slot_step(slot);
}

static void begin_health(struct dmn_slot *slot)
{
        struct asking *a = slot->is_virtual ? NULL : calloc(1, sizeof *a);

        slot->health_asked = true;
        if (a) {
                a->slot = slot;
                a->docking = *slot->docking;
                if (dmn_aside_run(slot->station->loop, ask_health, health_done, a, &slot->aside) ==
                    0)
                        return;
                free(a);
        }
        dmn_slot_step(slot);
}

/* -- ejecting
 * ----------------------------------------------------------------------------------------- */

struct ejecting {
        struct dmn_slot *slot;
        char node[HAL_NODE_MAX];
        struct hal_identity identity;
        struct hal_eject_result result;
        struct bth_error error;
};

static int eject(void *userdata)
{
        struct ejecting *e = userdata;

        return hal_eject(e->slot->station->host, e->node, &e->identity, &e->result, &e->error);
}

static void eject_done(void *userdata, int r)
{
        struct ejecting *e = userdata;
        struct dmn_slot *slot = e->slot;
        struct dmn_call *call = slot->eject.call;

        slot->aside = NULL;
        if (r == 0) {
                slot->ejected = true; /* nothing is begun on it any more */
                slot->in_place = !slot->is_virtual && e->result.deleted == 0;
        } else {
                bth_log_error(LOG_ERR, &e->error);
                slot->eject = (struct dmn_wish){ 0 };
                if (call)
                        dmn_call_fail(call, &e->error);
        }
        free(e);
        dmn_slot_step(slot);
}

static void begin_eject(struct dmn_slot *slot)
{
        struct ejecting *e = calloc(1, sizeof *e);

        if (e) {
                e->slot = slot;
                e->identity = slot->identity;
                e->error = BTH_ERROR_INIT;
                (void)snprintf(e->node, sizeof e->node, "%s", slot->node);
                if (dmn_aside_run(slot->station->loop, eject, eject_done, e, &slot->aside) == 0)
                        return;
                free(e);
        }
        refuse_wish(&slot->eject, -ENOMEM, "no memory to eject the drive");
}

/* -- steps
 * -------------------------------------------------------------------------------------------- */

static int on_timer(sd_event_source *t, uint64_t usec, void *userdata)
{
        (void)t;
        (void)usec;
        dmn_slot_step(userdata);
        return 0;
}

void dmn_slot_step_at(struct dmn_slot *slot, uint64_t usec)
{
        uint64_t set = UINT64_MAX;
        int enabled = SD_EVENT_OFF;

        if (!slot->timer) {
                (void)sd_event_add_time(slot->station->loop, &slot->timer, CLOCK_MONOTONIC, usec, 0,
                                        on_timer, slot);
                return;
        }
        (void)sd_event_source_get_enabled(slot->timer, &enabled);
        (void)sd_event_source_get_time(slot->timer, &set);
        if (enabled == SD_EVENT_OFF || usec < set)
                (void)sd_event_source_set_time(slot->timer, usec);
        (void)sd_event_source_set_enabled(slot->timer, SD_EVENT_ONESHOT);
}

bool dmn_slot_is_over(const struct dmn_slot *slot)
{
        return slot->in_place && slot->gone && slot->docking_id == 0 && !slot->busy &&
               !slot->aside && !slot->eject.set && !dmn_slot_works(slot);
}

/* The drive is gone: first its worker, then what it left, then the booking, then the slot. One that
 * was ejected is gone because of that. */
static void step_gone(struct dmn_slot *slot)
{
        if (slot->worker)
                dmn_slot_stop(slot);
        else if (slot->docking_id > 0)
                dmn_slot_undock(slot, slot->ejected);
        else if (slot->in_place)
                grant_wish(&slot->eject, "the drive is safe to remove");
        else {
                struct dmn_station *s = slot->station;

                dmn_slot_free(slot);
                dmn_station_changed(s);
        }
}

/* Another station may have done the drive since the jobs were fetched last: asks before it is
 * booked. An outage stops nothing: what is known here counts when no answer comes. True: it waits.
 */
static bool waits_for_answer(struct dmn_slot *slot)
{
        struct dmn_upstream *u = slot->station->upstream;
        const uint64_t now = bth_now_monotonic_usec();

        if (!u)
                return false;
        if (!slot->asked) {
                slot->asked = true;
                slot->ask = dmn_upstream_ask(u);
                slot->ask_until_usec = now + DMN_ASK_USEC;
        }
        if (dmn_upstream_answered(u, slot->ask) || now >= slot->ask_until_usec) {
                slot->asked = false;
                return false;
        }
        dmn_slot_step_at(slot, slot->ask_until_usec);
        return true;
}

/* Not in the store yet, or there as an extra drive that may have a job by now. */
static bool step_dock(struct dmn_slot *slot)
{
        const bool nameless = slot->identity.fault != HAL_IDENTITY_FAULT_NONE;

        if (slot->match_by_hand.set && slot->job > 0)
                refuse_wish(&slot->match_by_hand, -EPERM, "the drive belongs to a job already");
        if (!slot->health_asked) {
                begin_health(slot);
                return true;
        }
        if (slot->docking_id > 0 && !slot->match_by_hand.set &&
            (slot->job > 0 || !slot->rematch || nameless))
                return false;
        if (nameless && !slot->match_by_hand.set)
                return false;
        if (slot->docking_id == 0 && slot->again_usec > bth_now_monotonic_usec()) {
                dmn_slot_step_at(slot, slot->again_usec);
                return true;
        }
        if ((slot->docking_id == 0 || slot->match_by_hand.set) && waits_for_answer(slot))
                return true;
        dmn_slot_dock(slot);
        return true;
}

static bool step_wishes(struct dmn_slot *slot)
{
        if (slot->give_up.set && slot->job == 0)
                refuse_wish(&slot->give_up, -ENOENT, "the drive belongs to no job");
        if (!slot->eject.set && !slot->give_up.set)
                return false;
        if (slot->worker)
                dmn_slot_stop(slot);
        else if (slot->give_up.set)
                dmn_slot_input(slot, JOB_INPUT_GIVEN_UP, NULL, &slot->give_up);
        else if (!slot->ejected)
                begin_eject(slot);
        else if (slot->docking_id > 0)
                dmn_slot_undock(slot, true);
        else
                grant_wish(&slot->eject, "the drive is safe to remove");
        return true;
}

/* A worker runs: may it go on, and is there something to tell? */
static void step_running(struct dmn_slot *slot)
{
        const struct job_drive *d = dmn_slot_drive(slot);

        if (slot->station->stopping || d->held || d->state != BTH_DRIVE_STATE_TRANSFERRING ||
            slot->station->store_trouble.code < 0)
                dmn_slot_stop(slot);
        if (!slot->stopping)
                dmn_slot_listen(slot);
        if (slot->report_activity || slot->report_progress)
                dmn_slot_report(slot);
}

static bool may_start(struct dmn_slot *slot)
{
        const struct dmn_station *s = slot->station;
        const struct job_drive *d = dmn_slot_drive(slot);

        slot->waits[0] = '\0';
        slot->memory_bytes = 0; /* of a begin that the store had no time for */
        if (s->stopping || !slot->docking || s->store_trouble.code < 0)
                return false;
        if (!s->config->start_at_once && !slot->released && d->copy != JOB_COPY_IN_PROGRESS)
                (void)snprintf(slot->waits, sizeof slot->waits,
                               "waits for an operator: berthctl resume %s", slot->bay);
        else if (slot->again_usec > bth_now_monotonic_usec())
                dmn_slot_step_at(slot, slot->again_usec);
        else if (dmn_station_workers(s) >= s->config->workers_at_once)
                (void)snprintf(slot->waits, sizeof slot->waits,
                               "waits until another drive is done: %llu at once",
                               (unsigned long long)s->config->workers_at_once);
        else if (slot->trouble.code == 0 || !dmn_slot_hindered(slot))
                return (slot->memory_bytes = dmn_slot_memory(slot)) > 0;
        return false;
}

static void step_idle(struct dmn_slot *slot)
{
        const struct job_drive *d = dmn_slot_drive(slot);

        if (!job_drive_may_begin(&slot->record->model, slot->drive))
                return;
        if (slot->station->config->strict_hardware && is_strange(slot) &&
            d->state == BTH_DRIVE_STATE_RECEIVED)
                dmn_slot_input(slot, JOB_INPUT_NOT_ACCEPTED, slot->warning, NULL);
        else if (may_start(slot))
                dmn_slot_begin(slot);
}

void dmn_slot_step(struct dmn_slot *slot)
{
        if (slot->busy || slot->aside || slot->station->ending)
                return;
        if (slot->worker && slot->station->store_trouble.code < 0)
                dmn_slot_stop(slot); /* nothing is copied that cannot be recorded */
        if (slot->has_result) {
                dmn_slot_result(slot);
                return;
        }
        if (slot->gone) {
                step_gone(slot);
                return;
        }
        if (!slot->ready)
                return;
        if (slot->ejected && !slot->eject.set) {
                refuse_wish(&slot->match_by_hand, -EPERM,
                            "the drive is safe to remove; dock it again");
                return;
        }
        if (!slot->ejected && step_dock(slot))
                return;
        if (step_wishes(slot) || slot->job == 0)
                return;
        if (slot->stale || !slot->record)
                dmn_slot_read(slot);
        else if (slot->worker)
                step_running(slot);
        else
                step_idle(slot);
}

/* -- what it shows
 * ------------------------------------------------------------------------------------ */

static enum job_activity of_docking(const struct dmn_slot *slot, const char **ret_sentence)
{
        const struct hal_docking *d = slot->docking;

        *ret_sentence = d ? hal_docking_state_sentence(d->state) : "the drive was removed";
        if (d && d->state == HAL_DOCKING_UNREADABLE && d->error.sentence[0])
                *ret_sentence = d->error.sentence;
        return d && d->state == HAL_DOCKING_IDENTIFYING  ? JOB_ACTIVITY_IDENTIFYING
               : d && d->state == HAL_DOCKING_UNREADABLE ? JOB_ACTIVITY_WAITING_DISK
                                                         : JOB_ACTIVITY_NONE;
}

static enum job_activity of_record(const struct dmn_slot *slot, const char **ret_sentence)
{
        const struct job_drive *d = dmn_slot_drive(slot);
        const char *detail = slot->record->drives[slot->drive].detail;

        *ret_sentence = detail ? detail : job_activity_sentence(d->activity);
        if (slot->station->store_trouble.code < 0 && d->state == BTH_DRIVE_STATE_TRANSFERRING) {
                *ret_sentence = slot->station->store_trouble.sentence;
                return JOB_ACTIVITY_PAUSED_STORE;
        }
        if (slot->waits[0] != '\0')
                *ret_sentence = slot->waits;
        else if (slot->trouble.code < 0 && !slot->worker)
                *ret_sentence = slot->trouble.sentence;
        return d->activity;
}

enum job_activity dmn_slot_activity(const struct dmn_slot *slot, const char **ret_sentence)
{
        if (slot->ejected) {
                *ret_sentence = job_activity_sentence(JOB_ACTIVITY_SAFE_TO_REMOVE);
                return JOB_ACTIVITY_SAFE_TO_REMOVE;
        }
        if (!slot->ready)
                return of_docking(slot, ret_sentence);
        if (slot->identity.fault != HAL_IDENTITY_FAULT_NONE && slot->docking_id == 0) {
                *ret_sentence = hal_identity_fault_sentence(slot->identity.fault);
                return JOB_ACTIVITY_UNKNOWN_DRIVE;
        }
        if (slot->worker) {
                *ret_sentence = slot->activity_sentence ? slot->activity_sentence
                                                        : job_activity_sentence(slot->activity);
                return slot->activity;
        }
        if (slot->job > 0 && slot->record)
                return of_record(slot, ret_sentence);
        if (slot->docking_id == 0) {
                *ret_sentence = "the drive is being matched to its job";
                return JOB_ACTIVITY_IDENTIFYING;
        }
        *ret_sentence = slot->match.sentence[0] ? slot->match.sentence
                                                : job_match_kind_sentence(slot->match.kind);
        return JOB_ACTIVITY_UNKNOWN_DRIVE;
}
