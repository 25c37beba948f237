/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker - the stages of a run, each with the status its failure gives the drive; what is open
 * before the first is in worker-open.c. */
#include "uploader/worker.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
#include "base/str.h"
#include "base/time.h"
#include "media/naming.h"
#include "uploader/header-hash.h"
#include "uploader/pool.h"
#include "uploader/redact.h"
#include "uploader/worker-internal.h"

#define FINDINGS_EACH       5u
#define DEFAULT_DIAGNOSTICS "waimportexport"

/* --- small --- */

static void enter(struct upl_worker *w, enum bth_activity a)
{
        atomic_store(&w->activity, a);
        atomic_store(&w->told, a);
        upl_link_activity(w->link, a, NULL);
}

/* A failure that gives the drive its status. */
static int fail(struct upl_worker *w, enum bth_drive_status status, int r)
{
        w->status = status;
        if (w->error.code == 0)
                (void)bth_error_set(&w->error, r, BTH_REASON_INTERNAL, "%s", bth_strerror(r));
        return r;
}

void upl_worker_manifest_options(const struct upl_worker *w, const struct med_findings *findings,
                                 struct med_manifest_options *ret_options)
{
        *ret_options = (struct med_manifest_options){
                .object = w->order.manifest_path,
                .direction = MED_MANIFEST_IMPORT,
                .default_disposition = w->order.default_disposition,
                .without_range_list = w->order.without_range_list,
                .findings = findings,
                .max_each = FINDINGS_EACH,
                .drive_serial = w->order.drive_id,
        };
}

/* --- stages --- */

static int unlock(struct upl_worker *w)
{
        const struct upl_drive_options o = {
                .depth = UPL_DRIVE_FILES,
                .read_ahead = true,
                .block = { .no_uring = w->order.no_uring },
        };
        struct cry_credential c = { .kind = CRY_CREDENTIAL_NONE, .secret = w->order.bitlocker_key };
        int r;

        enter(w, BTH_ACTIVITY_UNLOCKING);
        if (c.secret)
                c.kind = cry_credential_kind_of_journal_key(c.secret);
        r = upl_drive_open(w->order.drive_fd, &o, &c, &w->drive, &w->error);
        w->order.bitlocker_key = bth_secret_free(w->order.bitlocker_key);
        if (r < 0)
                return fail(w, upl_drive_status(&w->error), r);
        atomic_store(&w->device, w->drive->device);
        return 0;
}

/* How the job's hash of the drive's header is made was never published: a difference is told. */
static int check_header(struct upl_worker *w)
{
        struct bth_error e = BTH_ERROR_INIT;
        int r = w->order.header_hash
                        ? upl_header_hash_check(w->drive->device, w->order.header_hash, &e)
                        : 0;

        if (r == -ENODEV)
                return fail(w, BTH_DRIVE_STATUS_DISK_OPERATION_FAILED, r);
        if (r < 0)
                upl_link_note(w->link, "drive-header-differs", &e);
        return 0;
}

static int list_files(struct upl_worker *w)
{
        const struct med_ntfs_scan_options o = { .max_bytes = (size_t)UPL_WORKER_INDEX_BYTES,
                                                 .fd = take_fd(w->index_fd) };
        struct bth_error damaged = BTH_ERROR_INIT;
        int r;

        enter(w, BTH_ACTIVITY_SCANNING);
        r = med_ntfs_scan_with(w->drive->ntfs, &o, &w->index, &w->error);
        if (r < 0)
                return fail(w, BTH_DRIVE_STATUS_DISK_OPERATION_FAILED, r);
        if (med_ntfs_index_damaged(w->index) > 0) {
                (void)bth_error_set(&damaged, -EBADMSG, BTH_REASON_NTFS_DAMAGED,
                                    "%zu records of the file table are damaged; what they named is "
                                    "not found",
                                    med_ntfs_index_damaged(w->index));
                upl_link_note(w->link, "file-records-damaged", &damaged);
        }
        r = upl_sidecars_new(w->drive->ntfs, w->index, &w->sidecars);
        return r < 0 ? fail(w, BTH_DRIVE_STATUS_INTERNAL_ERROR, r) : 0;
}

static int find_manifest(struct upl_worker *w, struct med_ntfs_found *ret_found)
{
        int r = med_check_file_path(w->order.manifest_path, &w->error);

        bth_error_at(&w->error, w->order.manifest_path, 0, BTH_ERROR_NO_OFFSET);
        if (r < 0)
                return fail(w,
                            r == -ENAMETOOLONG ? BTH_DRIVE_STATUS_MANIFEST_NAME_TOO_LONG
                                               : BTH_DRIVE_STATUS_MANIFEST_NAME_INVALID,
                            r);
        r = med_ntfs_index_find(w->index, w->order.manifest_path, ret_found);
        if (r < 0) {
                (void)bth_error_set(&w->error, r, BTH_REASON_FILE_UNREADABLE,
                                    "the manifest is not on the drive");
                return fail(w,
                            r == -ENAMETOOLONG ? BTH_DRIVE_STATUS_MANIFEST_NAME_TOO_LONG
                            : r == -EILSEQ     ? BTH_DRIVE_STATUS_MANIFEST_NAME_INVALID
                                               : BTH_DRIVE_STATUS_MANIFEST_NOT_FOUND,
                            r);
        }
        if (ret_found->status == MED_NTFS_OK || ret_found->status == MED_NTFS_IS_COMPRESSED)
                return 0;
        r = bth_error_set(&w->error, -EACCES, BTH_REASON_FILE_UNREADABLE,
                          "the manifest is no plain file: a folder, a link, or encrypted by NTFS");
        return fail(w, BTH_DRIVE_STATUS_MANIFEST_ACCESS_DENIED, r);
}

static int spool_file(struct upl_worker *w, const struct med_ntfs_found *found,
                      enum bth_drive_status *ret_status)
{
        struct med_ntfs_file *file;
        int r = med_ntfs_file_open(w->drive->ntfs, found->reference, &file);

        if (r < 0)
                return bth_error_set(&w->error, r, BTH_REASON_DRIVE_READ_ERROR,
                                     "the manifest cannot be opened: %s", bth_strerror(r));
        const struct med_manifest_spool_options o = {
                .object = w->order.manifest_path,
                .hash = w->order.manifest_hash,
                .fd = take_fd(w->manifest_fd),
        };
        r = med_manifest_spool_new(&file->source, &o, &w->spool, ret_status, &w->error);
        (void)bth_source_free(&file->source);
        return r;
}

static int spool_manifest(struct upl_worker *w)
{
        enum bth_drive_status status = BTH_DRIVE_STATUS_READ_MANIFEST_FAILED;
        struct med_ntfs_found found;
        int r = find_manifest(w, &found);

        if (r < 0)
                return r;
        upl_wait_begin(w->budget, UPL_WAIT_DISK);
        r = spool_file(w, &found, &status);
        upl_wait_end(w->budget, UPL_WAIT_DISK);
        return r < 0 ? fail(w, status, r) : 0;
}

static void on_finding(void *userdata, const struct med_finding *f)
{
        struct upl_worker *w = userdata;
        struct bth_error e = BTH_ERROR_INIT;

        /* The station's account has one: that a manifest brings none is as it should be. */
        if (!w->order.manifest_credentials && strcmp(f->name, "credential-missing") == 0)
                return;
        bth_error_at(&e, f->object, f->line, BTH_ERROR_NO_OFFSET);
        bth_error_blob(&e, f->blob);
        (void)bth_error_set(&e, -EINVAL, BTH_REASON_VALUE_INVALID, "%s", f->sentence);
        bth_error_advise(&e, "%s", f->advice);
        upl_link_note(w->link, f->name, &e);
}

/* A manifest may bring its own credential, where the station allows that and has none itself. */
static int take_manifest_credential(struct upl_worker *w)
{
        const struct med_manifest_header *h = &w->summary->header;
        const char *mark;
        _cleanup_(bth_secret_freep) struct bth_secret *token = NULL;
        enum upl_credential_kind kind = UPL_CREDENTIAL_KEY;
        const struct bth_secret *secret = h->account_key;
        int r;

        if (!w->order.manifest_credentials || strcmp(w->order.credential_kind, "none") != 0)
                return 0;
        if (h->container_sas) {
                mark = strchr((const char *)h->container_sas->data, '?');
                r = mark ? bth_secret_new_copy(mark + 1, strlen(mark + 1), &token) : -EINVAL;
                if (r < 0)
                        return fail(w, BTH_DRIVE_STATUS_MANIFEST_FORMAT_INVALID, r);
                kind = UPL_CREDENTIAL_SAS;
                secret = token;
        }
        if (!secret)
                return 0;
        r = upl_credential_replace(w->credential, kind, secret, &w->error);
        return r < 0 ? fail(w, BTH_DRIVE_STATUS_BLOB_REQUEST_FORBIDDEN, r) : 0;
}

static int read_manifest(struct upl_worker *w)
{
        const struct med_findings findings = { on_finding, w, w->order.manifest_path };
        struct med_manifest_options o;
        enum bth_drive_status status;
        int r;

        enter(w, BTH_ACTIVITY_READING_MANIFEST);
        r = spool_manifest(w);
        if (r < 0)
                return r;
        upl_worker_manifest_options(w, &findings, &o);
        r = med_manifest_validate(med_manifest_spool_source(w->spool), &o, &w->summary, &status,
                                  &w->error);
        if (r < 0)
                return fail(w, status, r);
        atomic_store(&w->counts.blobs, w->summary->n_blobs);
        atomic_store(&w->counts.bytes, w->summary->length_bytes);
        if (w->summary->header.container[0])
                w->env.only_container = w->summary->header.container;
        r = take_manifest_credential(w);
        if (r < 0)
                return r;
        upl_worker_manifest_options(w, NULL, &o);
        r = upl_list_new(med_manifest_spool_source(w->spool), &o, w->summary, w->index,
                         take_fd(w->list_fd), &w->stop, &w->list, &w->error);
        return r < 0 ? fail(w, BTH_DRIVE_STATUS_INTERNAL_ERROR, r) : 0;
}

static enum bth_drive_status final_status(const struct upl_worker *w)
{
        const struct upl_worker_counts *c = &w->counts;
        uint64_t failed = atomic_load(&c->failed);

        if (failed > 0)
                return atomic_load(&c->forbidden) == atomic_load(&c->blobs_done)
                               ? BTH_DRIVE_STATUS_BLOB_REQUEST_FORBIDDEN
                               : BTH_DRIVE_STATUS_COMPLETED_WITH_ERRORS;
        return atomic_load(&c->created) == atomic_load(&c->blobs_done)
                       ? BTH_DRIVE_STATUS_COMPLETED
                       : BTH_DRIVE_STATUS_COMPLETED_WITH_WARNINGS;
}

static int copy(struct upl_worker *w)
{
        int r;

        enter(w, BTH_ACTIVITY_TRANSFERRING);
        r = upl_worker_transfer(w);
        if (r < 0)
                return fail(w, BTH_DRIVE_STATUS_INTERNAL_ERROR, r);
        w->status = final_status(w);
        return 0;
}

/* --- logs --- */

static int upload(struct upl_worker *w, enum med_log_kind kind, struct bth_source *content,
                  uint64_t when_usec, char **ret_path)
{
        const char *place = w->order.diagnostics ? w->order.diagnostics : DEFAULT_DIAGNOSTICS;
        const char *slash = strchr(place, '/');
        size_t n = slash ? (size_t)(slash - place) : strlen(place);
        _cleanup_free_ char *container = strndup(place, n), *name = NULL, *whole = NULL;
        int r = container ? med_log_name(w->order.job, w->order.drive_id, when_usec, kind, &name)
                          : -ENOMEM;

        if (r < 0)
                return r;
        if (asprintf(&whole, "%s%s%s", slash ? slash + 1 : "", slash ? "/" : "", name) < 0) {
                whole = NULL;
                return -ENOMEM;
        }
        r = upl_log_upload(w->client, container, whole, content, &w->error);
        if (r == 0 && asprintf(ret_path, "%s/%s", container, whole) < 0)
                *ret_path = NULL;
        return r;
}

/* Who reads the logs may not be meant to have what the manifest brings, unless it may be used. */
static int upload_manifest(struct upl_worker *w, uint64_t when_usec)
{
        struct bth_source *content = med_manifest_spool_source(w->spool);
        _cleanup_(bth_source_freep) struct bth_source *redacted = NULL;
        int r = w->order.manifest_credentials ? 0 : upl_redact_new(content, &redacted);

        if (r < 0)
                return bth_error_set(&w->error, r, BTH_REASON_VALUE_INVALID,
                                     "the manifest's credentials cannot be blanked out: %s",
                                     bth_strerror(r));
        return upload(w, MED_LOG_MANIFEST, redacted ? redacted : content, when_usec,
                      &w->manifest_backup);
}

/* Whatever became of the drive, its logs say so. What the service refuses is told and left. */
static int write_logs(struct upl_worker *w)
{
        uint64_t when = w->order.started_usec ? w->order.started_usec : bth_now_realtime_usec();
        struct bth_error kept = w->error;
        int r;

        enter(w, BTH_ACTIVITY_WRITING_LOGS);
        r = upl_logs_end(w->logs, w->status);
        if (r < 0)
                return r;
        bth_error_clear(&w->error);
        r = upload(w, MED_LOG_ERROR, upl_logs_error(w->logs), when, &w->error_log);
        if (r == 0 && upl_logs_verbose(w->logs))
                r = upload(w, MED_LOG_VERBOSE, upl_logs_verbose(w->logs), when, &w->verbose_log);
        if (r == 0 && w->order.manifest_backup && w->spool)
                r = upload_manifest(w, when);
        if (r == -ECANCELED || (r < 0 && w->error.reason == BTH_REASON_NETWORK))
                return r == -ECANCELED ? r : -ENETDOWN;
        if (r < 0)
                upl_link_note(w->link, "log-not-uploaded", &w->error);
        w->error = kept;
        return 0;
}

/* --- the end --- */

static char *text_or_none(const char *text)
{
        return text && *text ? (char *)(uintptr_t)text : NULL;
}

static enum bth_reason reason_of_end(enum bth_run_end end)
{
        switch (end) {
        case BTH_RUN_END_STOPPED:
                return BTH_REASON_CANCELLED;
        case BTH_RUN_END_DRIVE_GONE:
                return BTH_REASON_DRIVE_GONE;
        case BTH_RUN_END_DRIVE_STALLED:
                return BTH_REASON_DRIVE_READ_ERROR;
        case BTH_RUN_END_NETWORK_STALLED:
                return BTH_REASON_NETWORK;
        default:
                return BTH_REASON_NONE;
        }
}

static void explain(const struct upl_worker *w, enum bth_run_end end, struct bth_result_report *r)
{
        const bool by_error = end == BTH_RUN_END_FINISHED || end == BTH_RUN_END_FAILED;
        const enum bth_reason reason = by_error ? w->error.reason : reason_of_end(end);

        if (by_error && w->error.code == 0)
                return;
        r->reason = text_or_none(bth_reason_to_string(reason));
        r->sentence = text_or_none(by_error ? w->error.sentence : bth_run_end_sentence(end));
        r->advice =
                text_or_none(by_error ? bth_error_advice(&w->error) : bth_reason_advice(reason));
        r->object = by_error ? text_or_none(w->error.object) : NULL;
}

void upl_worker_result(const struct upl_worker *w, enum bth_run_end end,
                       struct bth_message *ret_message)
{
        const struct upl_worker_counts *c = &w->counts;
        const bool finished = end == BTH_RUN_END_FINISHED;

        *ret_message = (struct bth_message){ .type = BTH_MESSAGE_RESULT };
        ret_message->result = (struct bth_result_report){
                .end = end,
                .copy_status =
                        finished ? text_or_none(bth_drive_status_to_string(w->status)) : NULL,
                .blobs = atomic_load(&c->blobs),
                .completed = atomic_load(&c->completed),
                .created = atomic_load(&c->created),
                .renamed = atomic_load(&c->renamed),
                .skipped = atomic_load(&c->skipped),
                .overwritten = atomic_load(&c->overwritten),
                .failed = atomic_load(&c->failed),
                .bytes = atomic_load(&c->bytes),
                .sent_bytes = atomic_load(&c->sent_bytes),
                .error_log = finished ? w->error_log : NULL,
                .verbose_log = finished ? w->verbose_log : NULL,
                .manifest = finished ? w->manifest_backup : NULL,
        };
        explain(w, end, &ret_message->result);
}

/* What a failure means for the run: most leave the drive where it was. */
static enum bth_run_end end_of(const struct upl_worker *w, int r)
{
        if (atomic_load(&w->stop))
                return BTH_RUN_END_STOPPED;
        if (r == -ENODEV || r == -ENXIO || w->error.reason == BTH_REASON_DRIVE_GONE)
                return BTH_RUN_END_DRIVE_GONE;
        /* Without its partitions, or with another content: a drive that is being pulled. */
        if ((r < 0 || atomic_load(&w->counts.failed) > 0) &&
            hal_block_is_gone(w->order.drive_fd, w->drive_bytes))
                return BTH_RUN_END_DRIVE_GONE;
        if (r == -ENETDOWN)
                return BTH_RUN_END_NETWORK_STALLED;
        if (r < 0 && w->status == BTH_DRIVE_STATUS_INTERNAL_ERROR)
                return BTH_RUN_END_FAILED;
        return BTH_RUN_END_FINISHED;
}

static enum bth_run_end run(struct upl_worker *w)
{
        static int (*const stages[])(struct upl_worker * w) = { unlock, check_header, list_files,
                                                                read_manifest, copy };
        enum bth_run_end end;
        int r = 0;

        for (size_t i = 0; i < ARRAY_SIZE(stages) && r == 0; i++)
                r = atomic_load(&w->stop) ? -ECANCELED : stages[i](w);
        end = end_of(w, r);
        if (end == BTH_RUN_END_FINISHED) {
                r = write_logs(w);
                if (r < 0)
                        end = r == -ECANCELED  ? BTH_RUN_END_STOPPED
                              : r == -ENETDOWN ? BTH_RUN_END_NETWORK_STALLED
                                               : BTH_RUN_END_FAILED;
        }
        return end;
}

static int take_order(struct upl_worker *w, struct bth_frame *f)
{
        struct bth_message m;
        int r;

        if (bth_frame_type(f) != BTH_MESSAGE_ORDER)
                return bth_error_set(&w->error, -EBADMSG, BTH_REASON_VALUE_INVALID,
                                     "the first message is no order");
        r = bth_message_from_frame(f, &m, &w->error);
        if (r == 0)
                w->order = m.order;
        return r;
}

/* A peer that closes a connection is an error like others. */
static int prepare_process(void)
{
        int r = bth_process_forbid_dumps();

        if (r == 0 && signal(SIGPIPE, SIG_IGN) == SIG_ERR)
                r = -errno;
        upl_pool_tune_heap();
        return r;
}

/* From here on they come by descriptor. Before there is an order, nothing is there to be ended in
 * good order. */
static int block_signals(void)
{
        sigset_t set;

        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGTERM);
        (void)sigaddset(&set, SIGINT);
        return sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? -errno : 0;
}

static int begin(struct upl_worker *w)
{
        int r = block_signals();

        if (r == 0)
                r = upl_worker_open_files(w);
        w->drive_bytes = hal_block_size(w->order.drive_fd);
        if (r == 0) {
                bth_error_clear(&w->error); /* it names files that were opened */
                r = upl_worker_sandbox(w);
        }
        if (r == 0)
                r = upl_worker_listen(w);
        if (r == 0)
                r = upl_worker_open_network(w);
        if (r == 0) {
                r = upl_logs_new(w->order.drive_id, take_fd(w->error_log_fd),
                                 take_fd(w->verbose_log_fd), &w->logs);
        }
        if (r == 0)
                atomic_store(&w->ready, true);
        if (r < 0)
                (void)fail(w, BTH_DRIVE_STATUS_INTERNAL_ERROR, r);
        return r;
}

static void clear(struct upl_worker *w)
{
        struct bth_message order = { .type = BTH_MESSAGE_ORDER, .order = w->order };

        (void)upl_renewer_free(w->renewer);
        (void)upl_client_free(w->client);
        (void)upl_credential_free(w->credential);
        (void)upl_logs_free(w->logs);
        (void)upl_sidecars_free(w->sidecars);
        (void)upl_list_free(w->list);
        (void)med_manifest_summary_free(w->summary);
        (void)med_manifest_spool_free(w->spool);
        (void)med_ntfs_index_free(w->index);
        (void)upl_drive_close(w->drive);
        (void)upl_hasher_free(w->hasher);
        (void)upl_budget_free(w->budget);
        (void)upl_limit_free(w->limit);
        (void)upl_state_free(w->state);
        (void)bth_close(w->manifest_fd);
        (void)bth_close(w->index_fd);
        (void)bth_close(w->list_fd);
        (void)bth_close(w->error_log_fd);
        (void)bth_close(w->verbose_log_fd);
        (void)bth_close(w->quit_fd);
        (void)bth_close(w->signal_fd);
        free(w->error_log);
        free(w->verbose_log);
        free(w->manifest_backup);
        (void)bth_frame_reader_free(w->reader);
        (void)upl_link_free(w->link);
        bth_message_clear(&order);
}

/* The drive's order: everything up to its result. */
static int do_order(struct upl_worker *w, struct bth_frame *first)
{
        enum bth_run_end end = BTH_RUN_END_FAILED;
        struct bth_message result;
        int r = take_order(w, first);

        if (r < 0)
                return r;
        if (begin(w) == 0)
                end = run(w);
        upl_worker_listen_end(w);
        upl_worker_result(w, end, &result);
        r = upl_link_finish(w->link, &result);
        return r < 0 ? r : 0;
}

static int do_what_comes(struct upl_worker *w)
{
        _cleanup_(bth_frame_freep) struct bth_frame *first = NULL;
        int r = bth_frame_read(w->reader, &first);

        if (r < 0)
                return r;
        if (r == 0)
                return bth_error_set(&w->error, -EBADMSG, BTH_REASON_VALUE_INVALID,
                                     "the socket does not wait for messages");
        return bth_frame_type(first) == BTH_MESSAGE_JOURNAL
                       ? upl_worker_journals(w->reader, w->link, first, &w->error)
                       : do_order(w, first);
}

int upl_worker_main(int socket_fd)
{
        struct upl_worker w = {
                .socket_fd = socket_fd,
                .manifest_fd = BTH_FD_NONE,
                .index_fd = BTH_FD_NONE,
                .list_fd = BTH_FD_NONE,
                .error_log_fd = BTH_FD_NONE,
                .verbose_log_fd = BTH_FD_NONE,
                .quit_fd = BTH_FD_NONE,
                .signal_fd = BTH_FD_NONE,
                .order = { .drive_fd = BTH_FD_NONE, .state_fd = BTH_FD_NONE },
                .error = BTH_ERROR_INIT,
        };
        int r = prepare_process();

        if (r == 0)
                r = bth_frame_reader_new(socket_fd, &w.reader);
        if (r == 0)
                r = upl_link_new(socket_fd, &w.link);
        if (r == 0)
                r = do_what_comes(&w);
        if (r < 0 && w.error.code < 0)
                bth_log_error(LOG_ERR, &w.error);
        clear(&w);
        return r;
}
