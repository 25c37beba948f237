/* SPDX-License-Identifier: GPL-3.0-or-later */
/* verbs-bays - what operators ask of bays, of drives that are in them, and of the station. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "daemon/station-internal.h"
#include "daemon/verbs.h"

/* -- looking
 * ------------------------------------------------------------------------------------------ */

void dmn_do_station_show(struct dmn_station *s, struct dmn_call *c)
{
        dmn_call_answer(c, dmn_station_view(s));
}

void dmn_do_config_show(struct dmn_station *s, struct dmn_call *c)
{
        dmn_call_answer(c, dmn_config_view(s));
}

void dmn_do_places_list(struct dmn_station *s, struct dmn_call *c)
{
        dmn_call_answer(c, dmn_places_view(s));
}

void dmn_do_bays_list(struct dmn_station *s, struct dmn_call *c)
{
        json_t *list = json_array();

        for (size_t i = 0; i < s->bays.n_bays; i++)
                (void)json_array_append_new(list, dmn_bay_view(s, &s->bays.bays[i]));
        dmn_call_answer(c, json_pack("{s:o}", "bays", list));
}

static const struct hal_bay *find_bay(struct dmn_station *s, struct dmn_call *c)
{
        const struct hal_bay *bay = hal_bays_find(&s->bays, c->target);

        if (!bay)
                dmn_call_refuse(c, -ENOENT, BTH_REASON_NOT_FOUND, "there is no bay '%s'",
                                c->target);
        return bay;
}

void dmn_do_bay_show(struct dmn_station *s, struct dmn_call *c)
{
        const struct hal_bay *bay = find_bay(s, c);

        if (bay)
                dmn_call_answer(c, dmn_bay_view(s, bay));
}

/* -- the station
 * -------------------------------------------------------------------------------------- */

static json_t *limits_view(const struct dmn_station *s)
{
        return json_pack("{s:I,s:I}", "bandwidth_bytes_per_second",
                         (json_int_t)s->bandwidth_bytes_per_sec, "memory_bytes",
                         (json_int_t)s->config->memory_bytes);
}

void dmn_do_limits_show(struct dmn_station *s, struct dmn_call *c)
{
        dmn_call_answer(c, limits_view(s));
}

void dmn_do_limits_set(struct dmn_station *s, struct dmn_call *c)
{
        static const char *const members[] = { "bandwidth_bytes_per_second", NULL };
        struct bth_error error = BTH_ERROR_INIT;
        uint64_t bandwidth = s->bandwidth_bytes_per_sec;
        char sentence[96];
        json_t *answer;
        int r = dmn_call_members(c, members, &error);

        if (r == 0)
                r = dmn_call_u64(c, members[0], &bandwidth, &error);
        if (r < 0) {
                dmn_call_fail(c, &error);
                return;
        }
        dmn_station_limit(s, bandwidth);
        if (bandwidth > 0)
                (void)snprintf(sentence, sizeof sentence,
                               "all drives together send at most %llu bytes a second",
                               (unsigned long long)bandwidth);
        else
                (void)snprintf(sentence, sizeof sentence, "the drives send without a cap");
        answer = limits_view(s);
        if (answer)
                (void)json_object_set_new(answer, "sentence", json_string(sentence));
        dmn_call_answer(c, answer);
}

void dmn_do_reload(struct dmn_station *s, struct dmn_call *c)
{
        struct bth_error error = BTH_ERROR_INIT;

        int r = dmn_station_reload(s, &error);

        /* A file that is not there is a mistake in the configuration, not in the request's path. */
        if (r < 0 && r != -EBUSY && r != -ENOMEM)
                error.code = -EINVAL;
        if (r < 0)
                dmn_call_fail(c, &error);
        else
                dmn_call_answer(c, json_pack("{s:s}", "sentence", "the configuration was read"));
}

/* -- bays
 * --------------------------------------------------------------------------------------------- */

void dmn_do_bay_locate(struct dmn_station *s, struct dmn_call *c)
{
        static const char *const members[] = { "on", NULL };
        const struct hal_bay *bay = find_bay(s, c);
        struct bth_error error = BTH_ERROR_INIT;
        bool on = true;
        int r;

        if (!bay)
                return;
        r = dmn_call_members(c, members, &error);
        if (r == 0)
                r = dmn_call_bool(c, members[0], &on, &error);
        if (r < 0) {
                dmn_call_fail(c, &error);
                return;
        }
        dmn_lights_locate(s->lights, bay, on);
        dmn_call_answer(c, json_pack("{s:s,s:b}", "sentence",
                                     !dmn_lights_has(s->lights, bay)
                                             ? "the bay has no lamp; it is marked on the screen"
                                     : on ? "the bay's lamp is lit"
                                          : "the bay's lamp is as before",
                                     "locate", on));
}

/* Puts a wish into a slot; the slot answers the call. */
static void wish(struct dmn_slot *slot, struct dmn_wish *w, struct dmn_call *c)
{
        if (w->set) {
                dmn_call_refuse(c, -EBUSY, BTH_REASON_REFUSED, "that is being done already");
                return;
        }
        *w = (struct dmn_wish){ .set = true, .call = c };
        dmn_slot_step(slot);
}

static void eject(struct dmn_slot *slot, struct dmn_call *c)
{
        if (slot->ejected && !slot->eject.set)
                dmn_call_answer(c, json_pack("{s:s}", "sentence", "the drive is safe to remove"));
        else if (!slot->ready)
                dmn_call_refuse(c, -EBUSY, BTH_REASON_REFUSED,
                                "the drive is still being identified; try again");
        else
                wish(slot, &slot->eject, c);
}

static struct dmn_slot *find_slot(struct dmn_station *s, struct dmn_call *c)
{
        const struct hal_bay *bay = find_bay(s, c);
        struct dmn_slot *slot = bay ? dmn_station_slot_in(s, bay->name) : NULL;

        if (bay && !slot)
                dmn_call_refuse(c, -ENOENT, BTH_REASON_NOT_FOUND, "bay '%s' is empty", bay->name);
        return slot;
}

void dmn_do_bay_eject(struct dmn_station *s, struct dmn_call *c)
{
        struct dmn_slot *slot = find_slot(s, c);

        if (slot)
                eject(slot, c);
}

/* -- matching by hand
 * --------------------------------------------------------------------------------- */

struct finding {
        struct dmn_station *station;
        struct dmn_call *call;
        char *serial, *job;
        uint64_t found_job;
        size_t found_drive;
        bool only_ended; /* what was found is past */
        unsigned n;
};

static int on_named(void *userdata, const struct job_record *r, size_t drive)
{
        struct finding *f = userdata;

        const bool ended =
                r->model.state == BTH_JOB_STATE_COMPLETED || r->model.state == BTH_JOB_STATE_CLOSED;

        if (f->job && strcmp(f->job, r->name) != 0)
                return 0;
        if (ended && f->n > 0)
                return 0; /* a job that still goes on is meant */
        if (f->only_ended) {
                f->only_ended = false;
                f->n = 0;
        }
        f->only_ended = ended;
        f->found_job = r->id;
        f->found_drive = drive;
        f->n++;
        return 0;
}

static int task_find(struct job_store *store, void *userdata, struct bth_error *error)
{
        struct finding *f = userdata;
        int r = job_store_named(store, f->serial, on_named, f, error);

        if (r < 0)
                return r;
        if (f->n == 0)
                return bth_error_set(error, -ENOENT, BTH_REASON_NOT_FOUND,
                                     "no job%s%s has a drive '%s'", f->job ? " " : "",
                                     f->job ? f->job : "", f->serial);
        return f->n == 1
                       ? 0
                       : bth_error_set(error, -EEXIST, BTH_REASON_CONFLICT,
                                       "several jobs have a drive '%s': say which one", f->serial);
}

static void match_found(void *userdata, int r, const struct bth_error *error)
{
        struct finding *f = userdata;
        struct dmn_slot *slot = dmn_station_slot_in(f->station, f->call->target);

        if (r < 0) {
                dmn_call_fail(f->call, error);
        } else if (!slot || !slot->ready || slot->gone) {
                dmn_call_refuse(f->call, -ENOENT, BTH_REASON_NOT_FOUND,
                                "there is no drive in the bay any more");
        } else {
                slot->hand_job = f->found_job;
                slot->hand_drive = f->found_drive;
                wish(slot, &slot->match_by_hand, f->call);
        }
        free(f->serial);
        free(f->job);
        free(f);
}

void dmn_do_bay_match(struct dmn_station *s, struct dmn_call *c)
{
        static const char *const members[] = { "drive", "job", NULL };
        struct dmn_slot *slot = find_slot(s, c);
        struct bth_error error = BTH_ERROR_INIT;
        const char *drive = NULL, *job = NULL;
        struct finding *f;
        int r;

        if (!slot)
                return;
        r = dmn_call_members(c, members, &error);
        if (r == 0)
                r = dmn_call_text(c, "drive", &drive, &error);
        if (r == 0)
                r = dmn_call_text(c, "job", &job, &error);
        if (r == 0 && !drive)
                r = bth_error_set(&error, -EINVAL, BTH_REASON_VALUE_MISSING,
                                  "'drive' is missing: the serial number in the job");
        f = r == 0 ? calloc(1, sizeof *f) : NULL;
        if (f) {
                *f = (struct finding){ .station = s,
                                       .call = c,
                                       .serial = strdup(drive),
                                       .job = job ? strdup(job) : NULL };
                if (f->serial && dmn_station_submit(s, task_find, match_found, f) == 0)
                        return;
                free(f->serial);
                free(f->job);
                free(f);
        }
        if (r == 0)
                r = bth_error_set(&error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory");
        dmn_call_fail(c, &error);
}

/* -- drives
 * ------------------------------------------------------------------------------------------- */

/* An input of an operator for a drive that need not be docked; then the slots look again. */
struct acting {
        struct finding find; /* first */
        struct job_policy policy;
        enum job_input_kind kind;
        struct job_outcome outcome;
};

static int task_act(struct job_store *store, void *userdata, struct bth_error *error)
{
        struct acting *a = userdata;
        struct job_act act = { .input = { .kind = a->kind } };
        int r = task_find(store, &a->find, error);

        act.job = a->find.found_job;
        act.input.drive = a->find.found_drive;
        return r < 0 ? r
                     : job_store_apply(store, &act, &a->policy, bth_now_realtime_usec(),
                                       a->find.call->who, &a->outcome, error);
}

static void acting_free(struct acting *a)
{
        free(a->find.serial);
        free(a->find.job);
        free(a);
}

static void acted(void *userdata, int r, const struct bth_error *error)
{
        struct acting *a = userdata;
        struct dmn_station *s = a->find.station;
        struct dmn_slot *slot = dmn_station_slot_of(s, a->find.found_job, a->find.found_drive);

        if (r < 0) {
                (void)dmn_station_store_failed(s, r, error);
                dmn_call_fail(a->find.call, error);
                acting_free(a);
                return;
        }
        if (slot && (a->kind == JOB_INPUT_RESUMED || a->kind == JOB_INPUT_RETRIED)) {
                slot->released = true;
                slot->again_usec = 0;
                slot->failures = 0;
                slot->trouble = BTH_ERROR_INIT;
                slot->ejected = false;
        }
        dmn_call_answer(a->find.call, json_pack("{s:s}", "sentence", a->outcome.sentence));
        dmn_station_look(s);
        acting_free(a);
}

static const char *const act_members[] = { "job", NULL };

static void act(struct dmn_station *s, struct dmn_call *c, enum job_input_kind kind)
{
        struct acting *a = calloc(1, sizeof *a);
        struct bth_error error = BTH_ERROR_INIT;
        const char *job = NULL;
        int r = a ? dmn_call_members(c, act_members, &error) : -ENOMEM;

        if (r == 0)
                r = dmn_call_text(c, "job", &job, &error);
        if (r == 0) {
                a->find = (struct finding){ .station = s,
                                            .call = c,
                                            .serial = strdup(c->target),
                                            .job = job ? strdup(job) : NULL };
                a->kind = kind;
                a->policy = s->policy;
                r = a->find.serial ? dmn_station_submit(s, task_act, acted, a) : -ENOMEM;
                if (r == 0)
                        return;
        }
        if (error.code == 0)
                (void)bth_error_set(&error, r, BTH_REASON_OUT_OF_MEMORY, "no memory");
        if (a)
                acting_free(a);
        dmn_call_fail(c, &error);
}

void dmn_do_drive_pause(struct dmn_station *s, struct dmn_call *c)
{
        act(s, c, JOB_INPUT_PAUSED);
}

void dmn_do_drive_resume(struct dmn_station *s, struct dmn_call *c)
{
        act(s, c, JOB_INPUT_RESUMED);
}

void dmn_do_drive_retry(struct dmn_station *s, struct dmn_call *c)
{
        act(s, c, JOB_INPUT_RETRIED);
}

/* The slot of a drive in a bay by its serial number, in any spelling. */
static struct dmn_slot *docked(const struct dmn_station *s, const char *serial)
{
        for (struct dmn_slot *slot = s->slots; slot; slot = slot->next)
                if ((!slot->gone || slot->in_place) &&
                    (job_serial_equal(slot->identity.serial, serial) ||
                     (dmn_slot_drive(slot) &&
                      job_serial_equal(slot->record->drives[slot->drive].serial, serial))))
                        return slot;
        return NULL;
}

/* A worker that runs is stopped first, so that what it did is recorded before. */
void dmn_do_drive_give_up(struct dmn_station *s, struct dmn_call *c)
{
        struct dmn_slot *slot = docked(s, c->target);
        struct bth_error error = BTH_ERROR_INIT;

        if (dmn_call_members(c, act_members, &error) < 0)
                dmn_call_fail(c, &error);
        else if (slot && dmn_slot_works(slot))
                wish(slot, &slot->give_up, c);
        else
                act(s, c, JOB_INPUT_GIVEN_UP);
}

void dmn_do_drive_eject(struct dmn_station *s, struct dmn_call *c)
{
        struct dmn_slot *slot = docked(s, c->target);

        if (slot)
                eject(slot, c);
        else
                dmn_call_refuse(c, -ENOENT, BTH_REASON_NOT_FOUND, "drive '%s' is in no bay",
                                c->target);
}
