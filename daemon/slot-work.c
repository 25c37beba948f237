/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slot-work - the worker of a slot: its order, what it reports, and what its end means. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/names.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/share.h"
#include "daemon/station-internal.h"
#include "daemon/transfers.h"

int dmn_message_copy(const struct bth_message *m, struct bth_message *ret_copy)
{
        _cleanup_(bth_frame_freep) struct bth_frame *frame = NULL;
        int r = bth_message_to_frame(m, &frame);

        return r < 0 ? r : bth_message_from_frame(frame, ret_copy, NULL);
}

/* -- reports
 * ------------------------------------------------------------------------------------------ */

static void take_activity(struct dmn_slot *slot, const struct bth_activity_report *a)
{
        slot->activity = job_activity_of_worker(a->activity);
        free(slot->activity_sentence);
        slot->activity_sentence = a->sentence ? strdup(a->sentence) : NULL;
        slot->report_activity = true;
        dmn_slot_log(slot, LOG_INFO, NULL, NULL, NULL,
                     a->sentence ? a->sentence : bth_activity_sentence(a->activity));
}

static void take_sandbox(struct dmn_slot *slot, const struct bth_sandbox_report *level)
{
        free(slot->sandbox.sentence);
        slot->sandbox = *level;
        slot->sandbox.sentence = level->sentence ? strdup(level->sentence) : NULL;
        dmn_slot_log(slot, LOG_INFO, NULL, NULL, NULL, level->sentence);
}

static void take_progress(struct dmn_slot *slot, const struct bth_progress_report *p)
{
        slot->progress = *p;
        slot->has_progress = true;
        slot->rate = slot->rate == 0 ? p->bytes_per_sec : (7 * slot->rate + p->bytes_per_sec) / 8;
        if (job_progress_due(&slot->gate, p->bytes, p->bytes_done, p->blobs_done,
                             bth_now_monotonic_usec()))
                slot->report_progress = true;
}

static void on_report(void *userdata, const struct bth_message *m)
{
        struct dmn_slot *slot = userdata;

        slot->heard_usec = bth_now_monotonic_usec();
        switch (m->type) {
        case BTH_MESSAGE_SANDBOX:
                take_sandbox(slot, &m->sandbox);
                break;
        case BTH_MESSAGE_ACTIVITY:
                take_activity(slot, &m->activity);
                break;
        case BTH_MESSAGE_PROGRESS:
                take_progress(slot, &m->progress);
                break;
        case BTH_MESSAGE_NOTE:
                dmn_slot_log(slot, LOG_NOTICE, NULL, m->note.blob, m->note.name, m->note.sentence);
                break;
        case BTH_MESSAGE_OUTCOME:
                if (m->outcome.reason)
                        dmn_slot_log(slot, LOG_WARNING, NULL, m->outcome.blob_path,
                                     m->outcome.reason, m->outcome.sentence);
                break;
        default:
                break;
        }
        dmn_slot_step(slot);
        dmn_station_changed(slot->station);
}

/* -- the end of a run
 * --------------------------------------------------------------------------------- */

static void replace(char **text, const char *with)
{
        free(*text);
        *text = with ? strdup(with) : NULL;
}

/* A run that gave no result failed, with what the station saw. */
static void no_result(struct dmn_slot *slot, const struct bth_error *error)
{
        struct bth_result_report *r = &slot->result.result;

        slot->result = (struct bth_message){ .type = BTH_MESSAGE_RESULT };
        r->end = slot->stopping && error->code == -ECANCELED ? BTH_RUN_END_STOPPED
                                                             : BTH_RUN_END_FAILED;
        replace(&r->reason, bth_reason_to_string(error->reason));
        replace(&r->sentence, error->sentence);
        replace(&r->advice, bth_error_advice(error));
        if (slot->has_progress) {
                r->blobs = slot->progress.blobs;
                r->bytes = slot->progress.bytes;
                r->sent_bytes = slot->progress.sent_bytes;
        }
}

/* Nothing that the drive could help: an identity that does not answer before the worker begins, or
 * a worker of the last run that hangs (on a dead disk, for instance) and still has the record. That
 * one is systemd's, and only root can end it. */
static bool waits_for_others(const struct bth_result_report *r)
{
        const int reason = (int)bth_reason_from_string(r->reason);

        return r->end == BTH_RUN_END_FAILED &&
               (reason == BTH_REASON_CREDENTIALS || reason == BTH_REASON_DEVICE_BUSY);
}

static bool is_disk_full(const struct bth_result_report *r)
{
        return bth_reason_from_string(r->reason) == BTH_REASON_DISK_FULL;
}

static bool counts_as_failure(const struct bth_result_report *r)
{
        return (r->end == BTH_RUN_END_FAILED && !is_disk_full(r) && !waits_for_others(r)) ||
               r->end == BTH_RUN_END_DRIVE_STALLED;
}

/* What fails again and again without getting any further will not get better by itself. */
static void give_up_if_hopeless(struct dmn_slot *slot)
{
        struct bth_result_report *r = &slot->result.result;
        const bool drive = r->end == BTH_RUN_END_DRIVE_STALLED ||
                           bth_reason_from_string(r->reason) == BTH_REASON_NTFS_DAMAGED;

        if (slot->has_progress && slot->progress.bytes_done > slot->bytes_at_failure)
                slot->failures = 0;
        slot->bytes_at_failure = slot->has_progress ? slot->progress.bytes_done : 0;
        if (!counts_as_failure(r) || ++slot->failures < DMN_SLOT_FAILURES_MAX)
                return;
        r->end = BTH_RUN_END_FINISHED;
        replace(&r->copy_status,
                bth_drive_status_to_string(drive ? BTH_DRIVE_STATUS_DISK_OPERATION_FAILED
                                                 : BTH_DRIVE_STATUS_INTERNAL_ERROR));
        slot->failures = 0;
}

static uint64_t backoff_after(const struct dmn_slot *slot)
{
        const unsigned doublings = MIN(slot->failures, 6u);

        return MIN(slot->station->backoff_usec << doublings, DMN_BACKOFF_MAX_USEC);
}

static uint64_t pause_after(const struct dmn_slot *slot)
{
        const struct bth_result_report *r = &slot->result.result;

        switch (r->end) {
        case BTH_RUN_END_NETWORK_STALLED:
        case BTH_RUN_END_DRIVE_STALLED:
                return DMN_STALLED_USEC;
        case BTH_RUN_END_DRIVE_GONE:
                return DMN_STILL_THERE_USEC;
        case BTH_RUN_END_FAILED:
                return is_disk_full(r)       ? DMN_STALLED_USEC
                       : waits_for_others(r) ? DMN_BACKOFF_MAX_USEC
                                             : backoff_after(slot);
        default:
                return 0;
        }
}

static void log_end(const struct dmn_slot *slot)
{
        const struct bth_result_report *r = &slot->result.result;
        const bool finished = r->end == BTH_RUN_END_FINISHED;
        const bool well = finished && bth_streq(r->copy_status, "Completed");

        dmn_slot_log(
                slot, well ? LOG_NOTICE : LOG_WARNING,
                well       ? BTH_ID(DRIVE_COMPLETED)
                : finished ? BTH_ID(DRIVE_FAILED)
                           : BTH_ID(DRIVE_INTERRUPTED),
                NULL, r->reason,
                r->sentence ? r->sentence
                : finished ? bth_drive_status_sentence(bth_drive_status_from_string(r->copy_status))
                           : bth_run_end_sentence(r->end));
}

static void on_end(void *userdata, const struct bth_result_report *result,
                   const struct bth_error *error)
{
        struct dmn_slot *slot = userdata;
        struct bth_error no_memory = BTH_ERROR_INIT;
        const struct bth_message m = { .type = BTH_MESSAGE_RESULT,
                                       .result =
                                               result ? *result : (struct bth_result_report){ 0 } };

        if (result && dmn_message_copy(&m, &slot->result) < 0)
                result = NULL, error = &no_memory;
        if (!result)
                no_result(slot, error);
        give_up_if_hopeless(slot);
        slot->has_result = true;
        slot->report_progress = slot->has_progress;
        slot->again_usec = bth_now_monotonic_usec() + pause_after(slot);
        log_end(slot);
        slot->worker = dmn_worker_free(slot->worker);
        slot->stopping = slot->has_progress = false;
        slot->rate = slot->memory_bytes = 0;
        dmn_station_changed(slot->station);
        dmn_slot_step(slot);
}

/* -- the order
 * ---------------------------------------------------------------------------------------- */

static const struct dmn_account_config *find_account(const struct dmn_slot *slot,
                                                     struct bth_error *error)
{
        const struct dmn_account_config *a =
                dmn_config_account(slot->station->config, slot->record->account);

        if (!a)
                (void)bth_error_set(error, -ENOENT, BTH_REASON_CREDENTIALS,
                                    "the account '%s' of job %s is not in the configuration",
                                    slot->record->account, slot->record->name);
        return a;
}

bool dmn_slot_hindered(struct dmn_slot *slot)
{
        _cleanup_(bth_secret_freep) struct bth_secret *credential = NULL;
        struct bth_error error = BTH_ERROR_INIT;
        const struct dmn_account_config *account = find_account(slot, &error);

        if (account && dmn_credential_read(account, &credential, &error) == 0)
                return false;
        if (strcmp(error.sentence, slot->trouble.sentence) != 0)
                bth_log_error(LOG_ERR, &error);
        slot->trouble = error;
        slot->again_usec = bth_now_monotonic_usec() + DMN_BACKOFF_MAX_USEC;
        dmn_slot_step_at(slot, slot->again_usec);
        return true;
}

static void fill_account(struct bth_order *o, const struct dmn_account_config *a)
{
        o->account = a->name;
        o->endpoint = a->endpoint;
        o->allow_plain = a->allow_plain;
        o->credential_kind = a->credential_kind;
        o->identity_client = a->identity_client;
        o->identity_endpoint = a->identity_endpoint;
        o->ca_file = a->ca_file;
        o->proxy = a->proxy;
        o->client_cert = a->client_cert;
        o->client_key = a->client_key;
        o->connect_to = a->connect_to;
        o->containers = a->containers;
}

/* What an order says of its account, as one text; not the secret, which can change while it runs.
 * NULL: no memory. */
static char *account_text(const struct dmn_account_config *a)
{
        const char *const parts[] = { a->name,
                                      a->endpoint,
                                      a->allow_plain ? "+" : "-",
                                      a->ca_file,
                                      a->credential_kind,
                                      a->proxy,
                                      a->client_cert,
                                      a->client_key,
                                      a->connect_to,
                                      a->containers,
                                      a->diagnostics,
                                      a->identity_client,
                                      a->identity_endpoint };
        struct bth_buf b = BTH_BUF_INIT;

        for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
                if (bth_buf_add_format(&b, "%s\n", parts[i] ? parts[i] : "") < 0) {
                        bth_buf_clear(&b);
                        return NULL;
                }
        }
        return b.data;
}

void dmn_slot_account_look(struct dmn_slot *slot)
{
        const struct dmn_account_config *a;
        _cleanup_free_ char *text = NULL;

        if (!slot->worker || slot->stopping || !slot->record || !slot->ordered_account)
                return;
        a = dmn_config_account(slot->station->config, slot->record->account);
        text = a ? account_text(a) : NULL;
        if (a && (!text || strcmp(text, slot->ordered_account) == 0))
                return;
        dmn_slot_log(slot, LOG_NOTICE, NULL, NULL, NULL,
                     a ? "its storage account was configured anew: its worker begins again"
                       : "its storage account is not in the configuration any more");
        dmn_slot_stop(slot);
}

static void fill_policy(struct bth_order *o, const struct dmn_slot *slot)
{
        const struct dmn_config *c = slot->station->config;
        const struct job_record *record = slot->record;

        o->default_disposition = c->default_disposition;
        o->verify = c->verify;
        o->verbose_log = c->verbose_log || record->verbose_log;
        o->manifest_backup = c->manifest_backup || record->backup_manifest;
        o->manifest_credentials = c->manifest_credentials;
        o->stall_sec = c->stall_sec;
        o->started_usec = record->model.drives[slot->drive].begun_usec;
        o->memory_bytes = slot->memory_bytes;
        o->bandwidth_bytes_per_sec = slot->bandwidth_bytes_per_sec;
}

static int give_order(struct dmn_slot *slot, struct bth_order *o, struct bth_error *error)
{
        static const struct dmn_worker_events events = { .on_report = on_report, .on_end = on_end };

        return dmn_worker_start(slot->station->loop, dmn_config_worker(slot->station->config), o,
                                &events, slot, &slot->worker, error);
}

int dmn_slot_work(struct dmn_slot *slot, const struct bth_secret *key, struct bth_error *error)
{
        const struct job_record_drive *d = &slot->record->drives[slot->drive];
        const struct dmn_account_config *account = find_account(slot, error);
        _cleanup_(bth_secret_freep) struct bth_secret *credential = NULL;
        _cleanup_close_ int drive = BTH_FD_NONE, folder = BTH_FD_NONE;
        struct bth_order o = { 0 };
        int r;

        if (!account)
                return -ENOENT;
        r = dmn_credential_read(account, &credential, error);
        if (r == 0)
                r = dmn_transfer_open(slot->station->config->state_directory, slot->job,
                                      slot->drive, &folder, error);
        if (r == 0)
                r = slot->docking
                            ? hal_docking_open(slot->docking, slot->station->host, &drive, error)
                            : bth_error_set(error, -ENODEV, BTH_REASON_DRIVE_GONE,
                                            "the drive was pulled");
        if (r < 0)
                return r;
        o = (struct bth_order){ .drive_fd = drive,
                                .state_fd = folder,
                                .job = slot->record->name,
                                .drive_id = d->serial,
                                .manifest_path = d->manifest_file,
                                .manifest_hash = d->manifest_hash,
                                .header_hash = d->header_hash,
                                .bitlocker_key = (struct bth_secret *)key,
                                .credential = credential,
                                .diagnostics = slot->record->diagnostics ? slot->record->diagnostics
                                                                         : account->diagnostics };
        /* Until the shares are given out anew, an equal part. */
        slot->bandwidth_bytes_per_sec =
                slot->station->bandwidth_bytes_per_sec / dmn_station_workers(slot->station);
        fill_account(&o, account);
        fill_policy(&o, slot);
        slot->gate = (struct job_progress_gate){ 0 };
        slot->activity = JOB_ACTIVITY_STARTING;
        replace(&slot->activity_sentence, NULL);
        replace(&slot->sandbox.sentence, NULL);
        slot->heard_usec = bth_now_monotonic_usec();
        r = give_order(slot, &o, error);
        free(slot->ordered_account);
        slot->ordered_account = r == 0 ? account_text(account) : NULL;
        if (r == 0)
                dmn_slot_log(slot, LOG_INFO, BTH_ID(DRIVE_BEGUN), NULL, NULL,
                             "the worker was started");
        return r;
}

void dmn_slot_listen(struct dmn_slot *slot)
{
        const uint64_t limit = slot->heard_usec + slot->station->silent_usec;
        struct bth_error error = BTH_ERROR_INIT;

        if (bth_now_monotonic_usec() < limit) {
                dmn_slot_step_at(slot, limit);
                return;
        }
        (void)bth_error_set(&error, -EIO, BTH_REASON_INTERNAL,
                            "the worker has said nothing for %llu seconds and was ended",
                            (unsigned long long)(slot->station->silent_usec / BTH_USEC_PER_SEC));
        dmn_worker_abandon(slot->worker, &error);
        slot->heard_usec = bth_now_monotonic_usec();
}

void dmn_slot_stop(struct dmn_slot *slot)
{
        if (!slot->worker || slot->stopping)
                return;
        slot->stopping = true;
        slot->activity = JOB_ACTIVITY_STOPPING;
        replace(&slot->activity_sentence, NULL);
        dmn_worker_stop(slot->worker);
}

uint64_t dmn_slot_memory(struct dmn_slot *slot)
{
        const struct dmn_station *s = slot->station;
        uint64_t taken = 0, share;
        size_t more = 0;

        for (const struct dmn_slot *o = s->slots; o; o = o->next) {
                taken += o != slot ? o->memory_bytes : 0;
                if (o != slot && o->memory_bytes == 0 && o->record && o->job > 0 &&
                    job_drive_may_begin(&o->record->model, o->drive))
                        more++;
        }
        share = dmn_memory_share(s->config->memory_bytes, taken, more);
        if (share == 0)
                (void)snprintf(slot->waits, sizeof slot->waits,
                               "waits until another drive is done: the memory is given away");
        return share;
}
