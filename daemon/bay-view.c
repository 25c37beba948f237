/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bay-view - bays, drives and progress as the API shows them (berth-api(7)). */
#include <string.h>

#include "base/str.h"
#include "base/time.h"
#include "daemon/station-internal.h"
#include "daemon/verbs.h"

#define PERCENT 100

static void set_text(json_t *object, const char *key, const char *text)
{
        if (text && text[0] != '\0' && bth_utf8_valid(text, strlen(text)))
                (void)json_object_set_new(object, key, json_string(text));
}

static void set_u64(json_t *object, const char *key, uint64_t value)
{
        (void)json_object_set_new(object, key,
                                  json_integer((json_int_t)MIN(value, (uint64_t)INT64_MAX)));
}

static void set_time(json_t *object, const char *key, uint64_t usec)
{
        char text[BTH_TIME_TEXT_MAX];

        if (usec > 0)
                set_text(object, key, bth_time_iso8601(usec, text));
}

/* What most of the blocks wait for. */
static const char *wait_of(const struct bth_progress_report *p)
{
        const struct {
                const char *name;
                uint64_t blocks;
        } waits[] = { { "disk", p->waiting_disk },
                      { "cpu", p->waiting_cpu },
                      { "network", p->waiting_network },
                      { "throttled", p->waiting_throttled },
                      { "budget", p->waiting_budget } };
        size_t most = 0;

        for (size_t i = 1; i < ARRAY_SIZE(waits); i++)
                if (waits[i].blocks > waits[most].blocks)
                        most = i;
        return waits[most].blocks > 0 ? waits[most].name : NULL;
}

json_t *dmn_slot_progress(const struct dmn_slot *slot)
{
        const struct bth_progress_report *p = &slot->progress;
        json_t *j;

        if (!slot->worker || !slot->has_progress)
                return NULL;
        j = json_object();
        set_u64(j, "bytes", p->bytes);
        set_u64(j, "bytes_done", p->bytes_done);
        set_u64(j, "blobs", p->blobs);
        set_u64(j, "blobs_done", p->blobs_done);
        if (p->bytes > 0)
                set_u64(j, "percent",
                        (uint64_t)((double)MIN(p->bytes_done, p->bytes) / (double)p->bytes *
                                   PERCENT));
        set_u64(j, "bytes_per_second", slot->rate);
        if (slot->rate > 0 && p->bytes >= p->bytes_done)
                set_u64(j, "seconds_left", (p->bytes - p->bytes_done) / slot->rate);
        set_text(j, "wait", wait_of(p));
        set_u64(j, "sent_bytes", p->sent_bytes);
        set_u64(j, "requests", p->requests);
        set_u64(j, "retries", p->retries);
        set_u64(j, "throttled", p->throttled);
        set_u64(j, "in_flight", p->in_flight);
        set_u64(j, "memory_bytes", p->budget_taken_bytes);
        if (slot->bandwidth_bytes_per_sec > 0)
                set_u64(j, "bandwidth_share", slot->bandwidth_bytes_per_sec);
        return j;
}

json_t *dmn_slot_sandbox(const struct dmn_slot *slot)
{
        const struct bth_sandbox_report *s = &slot->sandbox;
        json_t *j;

        if (!slot->worker || !s->sentence)
                return NULL;
        j = json_object();
        set_text(j, "sentence", s->sentence);
        (void)json_object_set_new(j, "no_new_privileges", json_boolean(s->no_new_privileges));
        (void)json_object_set_new(j, "no_dumps", json_boolean(s->no_dumps));
        (void)json_object_set_new(j, "system_calls", json_boolean(s->system_calls));
        (void)json_object_set_new(j, "files", json_boolean(s->files));
        (void)json_object_set_new(j, "connections", json_boolean(s->connections));
        (void)json_object_set_new(j, "limits", json_boolean(s->limits));
        (void)json_object_set_new(j, "io_uring", json_boolean(s->uring));
        set_u64(j, "landlock", s->landlock_abi);
        return j;
}

static json_t *health_of(const struct hal_health *h)
{
        json_t *j = json_object();

        set_text(j, "verdict", hal_verdict_to_string(h->verdict));
        set_text(j, "sentence", hal_verdict_sentence(h->verdict));
        if (h->has_temperature)
                (void)json_object_set_new(j, "temperature", json_integer(h->temperature_celsius));
        if (h->power_on_hours != HAL_HEALTH_UNTOLD)
                set_u64(j, "power_on_hours", h->power_on_hours);
        if (h->reallocated_sectors != HAL_HEALTH_UNTOLD)
                set_u64(j, "reallocated", h->reallocated_sectors);
        if (h->pending_sectors != HAL_HEALTH_UNTOLD)
                set_u64(j, "pending", h->pending_sectors);
        return j;
}

static json_t *identity_of(const struct hal_identity *i)
{
        json_t *j = json_object();

        set_text(j, "serial", i->serial);
        set_text(j, "model", i->model);
        set_text(j, "firmware", i->firmware);
        set_text(j, "bus", hal_bus_to_string(i->bus));
        set_u64(j, "size", i->size_bytes);
        if (i->logical_sector_bytes > 0)
                set_u64(j, "sector_bytes", i->logical_sector_bytes);
        (void)json_object_set_new(j, "rotational", json_boolean(i->rotational));
        set_text(j, "serial_source", hal_serial_source_to_string(i->serial_source));
        if (i->fault != HAL_IDENTITY_FAULT_NONE)
                set_text(j, "fault", hal_identity_fault_to_string(i->fault));
        return j;
}

static json_t *drive_in(const struct dmn_slot *slot)
{
        json_t *j = identity_of(&slot->identity);

        set_text(j, "node", slot->node);
        set_u64(j, "sequence", slot->sequence);
        if (slot->warning[0] != '\0')
                (void)json_object_set_new(j, "warnings", json_pack("[s]", slot->warning));
        if (slot->health_known)
                (void)json_object_set_new(j, "health", health_of(&slot->health));
        return j;
}

static void add_slot(json_t *j, const struct dmn_slot *slot)
{
        const struct job_drive *d = dmn_slot_drive(slot);
        const char *sentence = NULL;
        const enum job_activity activity = dmn_slot_activity(slot, &sentence);
        json_t *progress = dmn_slot_progress(slot), *sandbox = dmn_slot_sandbox(slot);

        set_text(j, "activity", job_activity_to_string(activity));
        set_text(j, "sentence", sentence);
        set_text(j, "led", job_led_to_string(job_activity_led(activity)));
        set_time(j, "docked_at", slot->docked_usec);
        (void)json_object_set_new(j, "drive", drive_in(slot));
        if (slot->docking_id > 0)
                (void)json_object_set_new(
                        j, "match",
                        json_pack("{s:s,s:s}", "kind", job_match_kind_to_string(slot->match.kind),
                                  "sentence",
                                  slot->match.sentence[0]
                                          ? slot->match.sentence
                                          : job_match_kind_sentence(slot->match.kind)));
        if (d) {
                set_text(j, "job", slot->record->name);
                set_text(j, "job_drive", slot->record->drives[slot->drive].serial);
                set_text(j, "drive_state", bth_drive_state_to_string(d->state));
                set_text(j, "copy_status", job_drive_copy_status(d));
                set_u64(j, "percent", job_drive_percent(d));
                (void)json_object_set_new(j, "held", json_boolean(d->held));
        }
        if (progress)
                (void)json_object_set_new(j, "progress", progress);
        if (sandbox)
                (void)json_object_set_new(j, "sandbox", sandbox);
}

json_t *dmn_bay_view(const struct dmn_station *s, const struct hal_bay *bay)
{
        const struct dmn_slot *slot = dmn_station_slot_in(s, bay->name);
        json_t *j = json_object(), *places = json_array();
        char text[HAL_PLACE_TEXT_MAX];

        for (size_t i = 0; i < bay->n_places; i++)
                (void)json_array_append_new(
                        places, json_string(hal_place_to_string(&bay->places[i], text)));
        set_text(j, "bay", bay->name);
        (void)json_object_set_new(j, "places", places);
        set_text(j, "state",
                 slot && slot->docking ? hal_docking_state_to_string(slot->docking->state)
                 : slot                ? "ejected"
                                       : "empty");
        (void)json_object_set_new(j, "locate", json_boolean(dmn_lights_located(s->lights, bay)));
        (void)json_object_set_new(j, "lamps", json_boolean(dmn_lights_has(s->lights, bay)));
        if (slot)
                add_slot(j, slot);
        return j;
}

/* A drive and where it is, in a bay or not. */
static json_t *place_view(const struct hal_docking *d)
{
        json_t *j = json_object(), *places = json_array();
        char text[HAL_PLACE_TEXT_MAX];
        struct hal_place place;

        if (d->bay)
                set_text(j, "bay", d->bay->name);
        if (hal_whereabouts_to_place(&d->where, &place) == 0)
                (void)json_array_append_new(places, json_string(hal_place_to_string(&place, text)));
        place.kind = HAL_PLACE_ID_PATH;
        if (d->where.id_path[0] != '\0') {
                memcpy(place.value, d->where.id_path, sizeof place.value);
                (void)json_array_append_new(places, json_string(hal_place_to_string(&place, text)));
        }
        (void)json_object_set_new(j, "places", places);
        set_text(j, "state", hal_docking_state_to_string(d->state));
        set_text(j, "sentence", hal_docking_state_sentence(d->state));
        set_text(j, "node", d->node);
        set_u64(j, "sequence", d->sequence);
        (void)json_object_set_new(j, "drive", identity_of(&d->identity));
        return j;
}

json_t *dmn_places_view(const struct dmn_station *s)
{
        json_t *list = json_array();
        const struct hal_docking *d;

        for (size_t i = 0; (d = hal_hotplug_at(s->hotplug, i)); i++)
                (void)json_array_append_new(list, place_view(d));
        return json_pack("{s:o}", "places", list);
}

/* Whether the job service above hears us, and what it has not got. */
static json_t *upstream_view(const struct dmn_upstream *u)
{
        struct dmn_upstream_status st;
        json_t *j = json_object();

        dmn_upstream_status(u, &st);
        set_text(j, "url", st.url);
        set_text(j, "source", st.source);
        set_time(j, "heard_at", st.heard_usec);
        set_time(j, "fetched_at", st.fetched_usec);
        set_u64(j, "failures", st.failures);
        set_u64(j, "waiting", st.outbox.waiting);
        set_u64(j, "parked", st.outbox.parked);
        set_time(j, "oldest_at", st.outbox.oldest_usec);
        if (st.error.code < 0)
                set_text(j, "trouble", st.error.sentence);
        return j;
}

json_t *dmn_station_view(const struct dmn_station *s)
{
        json_t *j = json_object();
        uint64_t taken = 0, rate = 0, docked = 0;

        for (const struct dmn_slot *slot = s->slots; slot; slot = slot->next) {
                docked += slot->docking != NULL;
                taken += slot->worker ? slot->memory_bytes : 0;
                rate += slot->rate;
        }
        set_text(j, "name", s->config->name);
        set_text(j, "location", s->config->location);
        set_text(j, "version", BERTH_VERSION);
        set_time(j, "started_at", s->started_usec);
        set_u64(j, "bays", s->bays.n_bays);
        set_u64(j, "docked", docked);
        set_u64(j, "workers", dmn_station_workers(s));
        set_u64(j, "bytes_per_second", rate);
        set_u64(j, "memory_bytes", s->config->memory_bytes);
        set_u64(j, "memory_taken_bytes", taken);
        set_u64(j, "bandwidth_bytes_per_second", s->bandwidth_bytes_per_sec);
        (void)json_object_set_new(j, "stopping", json_boolean(s->stopping));
        (void)json_object_set_new(j, "healthy", json_boolean(s->store_trouble.code == 0));
        if (s->store_trouble.code < 0)
                set_text(j, "trouble", s->store_trouble.sentence);
        if (s->upstream)
                (void)json_object_set_new(j, "job_service", upstream_view(s->upstream));
        return j;
}

static void add_account(json_t *list, const struct dmn_account_config *a)
{
        json_t *j = json_object();

        set_text(j, "name", a->name);
        set_text(j, "resource_id", a->resource_id);
        set_text(j, "endpoint", a->endpoint);
        set_text(j, "credential", a->credential_kind); /* the kind, and where it is; never itself */
        set_text(j, "credential_file", a->credential_file);
        set_text(j, "identity_client", a->identity_client);
        set_text(j, "identity_endpoint", a->identity_endpoint);
        set_text(j, "containers", a->containers);
        set_text(j, "diagnostics", a->diagnostics);
        (void)json_array_append_new(list, j);
}

json_t *dmn_config_view(const struct dmn_station *s)
{
        const struct dmn_config *c = s->config;
        json_t *j = json_object(), *accounts = json_array(), *bays = json_array();

        set_text(j, "file", s->config_path);
        set_text(j, "name", c->name);
        set_text(j, "location", c->location);
        set_text(j, "state_directory", c->state_directory);
        set_text(j, "run_directory", c->run_directory);
        set_text(j, "spool_directory", c->spool_directory);
        set_text(j, "worker", c->worker);
        set_u64(j, "memory", c->memory_bytes);
        set_u64(j, "bandwidth", c->bandwidth_bytes_per_sec);
        set_u64(j, "workers_at_once", c->workers_at_once);
        set_u64(j, "stall", c->stall_sec);
        set_u64(j, "dock_again", c->dock_again_sec);
        set_u64(j, "keep_history", c->keep_history_sec);
        set_text(j, "default_disposition", bth_disposition_to_string(c->default_disposition));
        set_text(j, "verify", bth_verify_to_string(c->verify));
        (void)json_object_set_new(j, "accept_unshipped", json_boolean(c->accept_unshipped));
        (void)json_object_set_new(j, "strict_hardware", json_boolean(c->strict_hardware));
        (void)json_object_set_new(j, "start_at_once", json_boolean(c->start_at_once));
        (void)json_object_set_new(j, "verbose_log", json_boolean(c->verbose_log));
        (void)json_object_set_new(j, "manifest_backup", json_boolean(c->manifest_backup));
        for (size_t i = 0; i < c->n_accounts; i++)
                add_account(accounts, &c->accounts[i]);
        for (size_t i = 0; i < s->bays.n_bays; i++)
                (void)json_array_append_new(bays, json_string(s->bays.bays[i].name));
        (void)json_object_set_new(j, "accounts", accounts);
        (void)json_object_set_new(j, "bays", bays);
        return j;
}
