/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker-blobs - the engine's two ends: the next blob with its file, and what became of it. */
#include <string.h>

#include "base/log.h"
#include "uploader/worker-internal.h"

/* So many blobs in a row given up for the network, each after its own long patience: nobody is
 * there. */
#define NETWORK_FAILURES_MAX 4u
#define DOUBTS_MAX           100u

/* A file that is opened when it is first read: finished and empty blobs never are, and the reading
 * of file records spreads over the engine's threads. */
struct content {
        struct bth_source source;
        const struct med_ntfs_volume *volume;
        uint64_t reference;
        pthread_mutex_t lock; /* over what is below */
        struct med_ntfs_file *file;
        int failed;
};

struct job {
        struct upl_listed *listed;
        const struct upl_sidecar *metadata, *properties;
        struct content content;
};

static int open_content(struct content *c)
{
        int r;

        (void)pthread_mutex_lock(&c->lock);
        if (!c->file && c->failed == 0)
                c->failed = med_ntfs_file_open(c->volume, c->reference, &c->file);
        r = c->failed;
        (void)pthread_mutex_unlock(&c->lock);
        return r;
}

static int content_read(struct bth_source *source, uint64_t offset_bytes, void *buffer, size_t n)
{
        struct content *c = container_of(source, struct content, source);
        int r = open_content(c);

        if (r == 0)
                r = bth_source_read(&c->file->source, offset_bytes, buffer, n);
        /* The record is not what it was when it was listed. */
        return r == -EINVAL || r == -ENOENT || r == -EBADMSG ? -EIO : r;
}

static void content_init(struct content *c, const struct med_ntfs_volume *volume,
                         const struct upl_listed *listed)
{
        static const struct bth_source_ops ops = { .read = content_read };

        c->source = (struct bth_source){
                .ops = &ops,
                .size_bytes = listed->file_bytes,
                .logical_block_bytes = 1,
                .memory_align_bytes = 1,
        };
        c->volume = volume;
        c->reference = listed->reference;
        (void)pthread_mutex_init(&c->lock, NULL);
}

static void job_free(struct upl_worker *w, struct job *job)
{
        upl_sidecar_put(w->sidecars, job->metadata);
        upl_sidecar_put(w->sidecars, job->properties);
        if (job->content.volume)
                (void)pthread_mutex_destroy(&job->content.lock);
        if (job->content.file)
                (void)bth_source_free(&job->content.file->source);
        (void)upl_listed_free(job->listed);
        free(job);
}

/* --- ends --- */

static const char *sentence_of_list(enum bth_blob_status s)
{
        return s == BTH_BLOB_STATUS_FAILED
                       ? "entries for Azure Files, and entries with errors, are not copied"
                       : bth_blob_status_sentence(s);
}

static void count(struct upl_worker *w, const struct upl_log_blob *b, uint64_t sent_bytes)
{
        struct upl_worker_counts *c = &w->counts;

        atomic_fetch_add(&c->blobs_done, 1);
        atomic_fetch_add(&c->bytes_done, b->listed->blob.length_bytes);
        atomic_fetch_add(&c->sent_bytes, sent_bytes);
        if (b->status == BTH_BLOB_STATUS_COMPLETED)
                atomic_fetch_add(&c->completed, 1);
        else
                atomic_fetch_add(&c->failed, 1);
        if (b->status == BTH_BLOB_STATUS_BLOB_REQUEST_FORBIDDEN)
                atomic_fetch_add(&c->forbidden, 1);
        switch (b->disposition) {
        case BTH_DISPOSITION_STATUS_CREATED:
                atomic_fetch_add(&c->created, 1);
                break;
        case BTH_DISPOSITION_STATUS_RENAMED:
                atomic_fetch_add(&c->renamed, 1);
                break;
        case BTH_DISPOSITION_STATUS_SKIPPED:
                atomic_fetch_add(&c->skipped, 1);
                break;
        case BTH_DISPOSITION_STATUS_OVERWRITTEN:
                atomic_fetch_add(&c->overwritten, 1);
                break;
        default:
                break;
        }
}

static char *text_or_none(const char *text)
{
        return text && *text ? (char *)(uintptr_t)text : NULL;
}

static void report(struct upl_worker *w, const struct upl_log_blob *b,
                   const struct bth_error *error, uint64_t sent_bytes, bool resumed)
{
        const bool failed = error && error->code < 0;
        const struct bth_message m = {
                .type = BTH_MESSAGE_OUTCOME,
                .outcome = { .index = b->listed->blob.index,
                             .blob_path = text_or_none(b->listed->blob.blob_path),
                             .file_path = text_or_none(b->listed->blob.file_path),
                             .name = text_or_none(b->name),
                             .status = b->status,
                             .disposition = b->disposition,
                             .length_bytes = b->listed->blob.length_bytes,
                             .sent_bytes = sent_bytes,
                             .resumed = resumed,
                             .reason = failed ? text_or_none(bth_reason_to_string(error->reason))
                                              : NULL,
                             .sentence = failed ? text_or_none(error->sentence) : NULL,
                             .advice = failed ? text_or_none(bth_error_advice(error)) : NULL,
                             .offset_bytes = failed ? error->offset_bytes : BTH_ERROR_NO_OFFSET },
        };

        upl_link_send(w->link, &m);
}

static bool is_wrong(const struct upl_sidecar *s)
{
        return s && s->status != BTH_SIDECAR_STATUS_COMPLETED;
}

/* Logs, counts and reports one blob. A log that cannot be written ends the run. */
static void settle(struct upl_worker *w, struct upl_log_blob *b, const struct bth_error *error,
                   uint64_t sent_bytes, bool resumed)
{
        int r;

        if (b->status == BTH_BLOB_STATUS_COMPLETED &&
            b->disposition != BTH_DISPOSITION_STATUS_SKIPPED &&
            (is_wrong(b->metadata) || is_wrong(b->properties))) {
                b->status = BTH_BLOB_STATUS_COMPLETED_WITH_ERRORS;
                error = is_wrong(b->metadata) ? &b->metadata->error : &b->properties->error;
        }
        r = upl_logs_add(w->logs, b);
        if (r < 0 && w->error.code == 0)
                (void)bth_error_set(&w->error, r, BTH_REASON_FILE_UNWRITABLE,
                                    "the copy log cannot be written on the station: %s",
                                    bth_strerror(r));
        count(w, b, sent_bytes);
        report(w, b, error, sent_bytes, resumed);
}

/* A blob whose file cannot be had: nothing was tried. */
static void settle_unread(struct upl_worker *w, struct upl_listed *listed)
{
        struct upl_log_blob b = {
                .listed = listed,
                .status = listed->status,
                .disposition = BTH_DISPOSITION_STATUS_CANCELLED,
        };
        struct bth_error error = BTH_ERROR_INIT;

        bth_error_at(&error, listed->blob.file_path, 0, BTH_ERROR_NO_OFFSET);
        (void)bth_error_set(&error, -ENOENT, BTH_REASON_FILE_UNREADABLE, "%s",
                            sentence_of_list(listed->status));
        bth_error_advise(&error, "ask the customer for the file");
        settle(w, &b, &error, 0, false);
        (void)upl_listed_free(listed);
}

static void on_ended(void *userdata, void *cookie, const struct upl_transfer_item *item,
                     const struct upl_transfer_result *result)
{
        struct upl_worker *w = userdata;
        struct job *job = cookie;
        struct upl_log_blob b = {
                .listed = job->listed,
                .status = result->outcome.status,
                .disposition = result->outcome.disposition,
                .name = result->outcome.name,
                .plan = result->plan,
                .ranges = result->ranges,
                .metadata = job->metadata,
                .properties = job->properties,
        };

        if (result->error.code < 0 && result->error.reason == BTH_REASON_NETWORK)
                w->network_failures++;
        else
                w->network_failures = 0;
        settle(w, &b, &result->error, result->sent_bytes, result->resumed);
        job_free(w, job);
}

static void on_dropped(void *userdata, void *cookie)
{
        job_free(userdata, cookie);
}

/* --- next --- */

static int get_sidecars(struct upl_worker *w, struct job *job)
{
        const struct med_manifest_blob *b = &job->listed->blob;
        int r = 0;

        if (!b->metadata.path && !b->properties.path)
                return 0;
        upl_wait_begin(w->budget, UPL_WAIT_DISK);
        if (b->metadata.path)
                r = upl_sidecar_get(w->sidecars, false, &b->metadata, &job->metadata);
        if (r == 0 && b->properties.path)
                r = upl_sidecar_get(w->sidecars, true, &b->properties, &job->properties);
        upl_wait_end(w->budget, UPL_WAIT_DISK);
        return r;
}

static void fill_item(struct job *job, struct upl_transfer_item *ret_item)
{
        *ret_item = (struct upl_transfer_item){
                .blob = &job->listed->blob,
                .content = &job->content.source,
                .metadata =
                        job->metadata && !is_wrong(job->metadata) ? &job->metadata->metadata : NULL,
                .properties = job->properties && !is_wrong(job->properties)
                                      ? &job->properties->properties
                                      : NULL,
        };
}

static void on_finding(void *userdata, const struct med_finding *f)
{
        struct upl_worker *w = userdata;
        const struct bth_message m = {
                .type = BTH_MESSAGE_NOTE,
                .note = { .name = text_or_none(f->name),
                          .object = text_or_none(f->object),
                          .blob = text_or_none(f->blob),
                          .line = f->line,
                          .sentence = text_or_none(f->sentence),
                          .advice = text_or_none(f->advice) },
        };

        /* A hostile manifest could have millions. */
        if (w->n_doubts++ < DOUBTS_MAX)
                upl_link_send(w->link, &m);
}

static int make_job(struct upl_worker *w, struct upl_listed *listed,
                    struct upl_transfer_item *ret_item, void **ret_cookie)
{
        const struct med_findings findings = { on_finding, w, w->order.manifest_path };
        struct job *job = calloc(1, sizeof *job);
        int r;

        if (!job) {
                (void)upl_listed_free(listed);
                return -ENOMEM;
        }
        job->listed = listed;
        r = get_sidecars(w, job);
        if (r < 0) {
                job_free(w, job);
                return r;
        }
        med_manifest_check_file(&findings, &listed->blob, listed->file_bytes);
        content_init(&job->content, w->drive->ntfs, listed);
        fill_item(job, ret_item);
        *ret_cookie = job;
        return 1;
}

static int on_next(void *userdata, struct upl_transfer_item *ret_item, void **ret_cookie)
{
        struct upl_worker *w = userdata;
        struct upl_listed *listed;
        int r;

        for (;;) {
                if (w->error.code < 0)
                        return w->error.code;
                if (w->network_failures >= NETWORK_FAILURES_MAX)
                        return -ENETDOWN;
                r = upl_list_next(w->list, &listed);
                if (r <= 0)
                        return r;
                if (listed->status == BTH_BLOB_STATUS_COMPLETED)
                        return make_job(w, listed, ret_item, ret_cookie);
                settle_unread(w, listed);
        }
}

int upl_worker_transfer(struct upl_worker *w)
{
        const struct upl_engine_options options = {
                .env = &w->env,
                .threads = (unsigned)w->order.blobs_at_once,
                .next = on_next,
                .ended = on_ended,
                .dropped = on_dropped,
                .userdata = w,
        };
        int r = upl_engine_run(&options);

        if (r == 0 && w->error.code < 0)
                r = w->error.code;
        return r;
}
