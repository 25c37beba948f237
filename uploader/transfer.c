/* SPDX-License-Identifier: GPL-3.0-or-later */
/* transfer - see transfer.h: names, conditions, and what an end means. The parts are in parts.c. */
#include "uploader/transfer.h"

#include <string.h>
#include <time.h>

#include "base/guid.h"
#include "base/time.h"
#include "media/naming.h"
#include "uploader/blob.h"
#include "uploader/parts.h"

#define OVERWRITE_TRIES 3u
#define LEASE_SECONDS   60u
/* Last-Modified has whole seconds, and the measured clock is off by the answer's way. */
#define CLOCK_TOLERANCE_USEC (5 * BTH_USEC_PER_SEC)

void upl_transfer_result_clear(struct upl_transfer_result *r)
{
        upl_outcome_clear(&r->outcome);
        free(r->ranges);
        (void)upl_plan_free(r->plan);
        *r = (struct upl_transfer_result){ 0 };
}

static uint64_t http_time_usec(const char *text)
{
        struct tm tm = { 0 };
        const char *end = text ? strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm) : NULL;
        time_t t = end && !*end ? timegm(&tm) : 0;

        return t > 0 ? (uint64_t)t * BTH_USEC_PER_SEC : 0;
}

/* What the service's clock says now, as far as its answers told. */
static uint64_t service_now(struct upl_transfer_env *env)
{
        return (uint64_t)((long long)bth_now_realtime_usec() +
                          atomic_load(&env->service_clock_usec));
}

static int call_and_learn(struct upl_transfer *t, struct upl_call *call, int built)
{
        uint64_t date;
        int r;

        if (built < 0)
                return built;
        if (atomic_load(t->env->stop))
                return -ECANCELED;
        r = upl_client_call(t->env->client, call, &t->result->error);
        date = r == -ENOMEM || r == -ECANCELED
                       ? 0
                       : http_time_usec(upl_headers_get(call->answer, "Date"));
        if (date > 0)
                atomic_store(&t->env->service_clock_usec,
                             (long long)date - (long long)bth_now_realtime_usec());
        return r;
}

static struct upl_target target_of(const struct upl_transfer *t)
{
        return (struct upl_target){
                .container = t->container,
                .blob = t->intent.name,
                .lease_id = t->leased ? t->intent.lease_id : NULL,
        };
}

/* --- is what is there ours? --- */

static int same_blocks(struct upl_transfer *t, bool *ret_same)
{
        struct upl_target target = target_of(t);
        _cleanup_call_ struct upl_call call = { 0 };
        struct upl_remote_blocks blocks;
        int r;

        r = call_and_learn(t, &call, upl_get_block_list(&call.request, &target, true, false));
        if (r < 0)
                return r;
        r = upl_answer_blocks(call.content->data, call.content->length, &blocks, &t->result->error);
        if (r < 0)
                return r;
        *ret_same = blocks.n == t->plan->n_parts;
        for (size_t i = 0; i < blocks.n && *ret_same; i++)
                *ret_same = t->parts[i].has_id && strcmp(blocks.items[i].id, t->parts[i].id) == 0 &&
                            blocks.items[i].length_bytes == t->plan->parts[i].length_bytes;
        upl_remote_blocks_clear(&blocks);
        return 0;
}

/* Did an earlier attempt of ours, under the stored intent, commit what is there now? */
static int is_ours(struct upl_transfer *t, bool *ret_ours)
{
        struct upl_target target = { .container = t->container, .blob = t->intent.name };
        _cleanup_call_ struct upl_call call = { 0 };
        struct upl_blob_look look;
        const char *type = t->plan->kind == UPL_PLAN_PAGES ? "PageBlob" : "BlockBlob";
        uint64_t modified;
        int r;

        *ret_ours = false;
        r = call_and_learn(t, &call, upl_get_properties(&call.request, &target));
        if (r == -ENOENT)
                return 0;
        if (r == 0)
                r = upl_blob_look(call.answer, &look);
        if (r < 0)
                return r;
        modified = http_time_usec(look.last_modified);
        if (look.length_bytes != t->plan->length_bytes || !bth_streq(look.type, type) ||
            bth_streq(look.etag, t->intent.etag) ||
            modified + CLOCK_TOLERANCE_USEC < t->intent.realtime_usec)
                return 0;
        if (t->plan->kind == UPL_PLAN_BLOCKS)
                r = same_blocks(t, ret_ours);
        else if (t->plan->kind == UPL_PLAN_PUT_BLOB)
                *ret_ours = t->plan->n_parts == 0 ||
                            (look.has_md5 && t->parts[0].has_md5 &&
                             memcmp(look.md5, t->parts[0].md5, BTH_MD5_BYTES) == 0);
        else
                *ret_ours = true;
        if (r == 0 && *ret_ours) {
                free(t->etag);
                t->etag = strdup(look.etag);
                if (!t->etag)
                        r = -ENOMEM;
        }
        return r;
}

/* --- which name, under which condition --- */

/* Looks at a name: 0 and its ETag when a blob is there, -ENOENT when none is. */
static int look_at(struct upl_transfer *t, const char *name, char **ret_etag)
{
        struct upl_target target = { .container = t->container, .blob = name };
        _cleanup_call_ struct upl_call call = { 0 };
        struct upl_blob_look look;
        int r = call_and_learn(t, &call, upl_get_properties(&call.request, &target));

        if (r == 0)
                r = upl_blob_look(call.answer, &look);
        if (r < 0)
                return r;
        *ret_etag = strdup(look.etag);
        return *ret_etag ? 0 : -ENOMEM;
}

/* The first free name of "name", "name (2)", … from t->n_renames on. */
static int pick_free_name(struct upl_transfer *t, char **ret_name)
{
        for (; t->n_renames < UPL_RENAMES_MAX; t->n_renames++) {
                char *name = NULL, *etag = NULL;
                int r;

                if (t->n_renames == 0) {
                        name = strdup(t->name);
                        r = name ? 0 : -ENOMEM;
                } else
                        r = med_rename(t->name, t->n_renames + 1, &name);
                if (r == 0)
                        r = look_at(t, name, &etag);
                free(etag);
                if (r == -ENOENT) {
                        *ret_name = name;
                        return 0;
                }
                free(name);
                if (r < 0)
                        return r;
        }
        return -ENAMETOOLONG;
}

static int give_lease_id(struct upl_intent *intent)
{
        char text[BTH_GUID_TEXT_MAX];
        struct bth_guid guid;
        int r = bth_guid_random(&guid);

        if (r < 0)
                return r;
        intent->lease_id = strdup(bth_guid_to_string(&guid, text));
        return intent->lease_id ? 0 : -ENOMEM;
}

/* Decides and stores the intent. Returns 0, TRANSFER_SKIP, or a negative errno. */
static int decide(struct upl_transfer *t)
{
        struct upl_intent intent = { 0 };
        int r = 0;

        /* A small blob is sent once under If-None-Match, which tells as much as looking before. */
        if (t->plan->kind == UPL_PLAN_PUT_BLOB && !t->looked)
                intent.name = strdup(t->name);
        else if (t->disposition == BTH_DISPOSITION_RENAME)
                r = pick_free_name(t, &intent.name);
        else {
                intent.name = strdup(t->name);
                r = look_at(t, t->name, &intent.etag);
                if (r == 0 && t->disposition == BTH_DISPOSITION_NO_OVERWRITE)
                        r = TRANSFER_SKIP;
                else if (r == 0)
                        r = give_lease_id(&intent);
                else if (r == -ENOENT)
                        r = 0;
        }
        if (r == 0 && !intent.name)
                r = -ENOMEM;
        intent.realtime_usec = service_now(t->env);
        if (r == 0)
                r = upl_state_intend(t->env->state, t->item->blob->index, &intent);
        if (r != 0) {
                upl_intent_clear(&intent);
                return r;
        }
        upl_intent_clear(&t->intent);
        t->intent = intent;
        t->decided = true;
        /* Blocks belong to a name, and are gone once somebody else commits under it. */
        for (size_t i = 0; i < t->plan->n_parts; i++)
                t->parts[i].sent = false;
        t->pages_made = false;
        bth_error_clear(&t->result->error);
        return 0;
}

static int lease(struct upl_transfer *t)
{
        struct upl_target target = { .container = t->container, .blob = t->intent.name };
        _cleanup_call_ struct upl_call call = { 0 };
        int r;

        if (!t->intent.lease_id)
                return 0;
        r = call_and_learn(
                t, &call,
                upl_lease_acquire(&call.request, &target, t->intent.lease_id, LEASE_SECONDS));
        t->leased = r == 0;
        t->leased_usec = bth_now_monotonic_usec();
        /* It went between looking and leasing: the commit's condition says so. */
        return r == -ENOENT ? 0 : r;
}

int upl_transfer_keep_lease(struct upl_transfer *t)
{
        struct upl_target target = target_of(t);
        _cleanup_call_ struct upl_call call = { 0 };

        if (!t->leased ||
            bth_now_monotonic_usec() - t->leased_usec < LEASE_SECONDS * BTH_USEC_PER_SEC / 3)
                return 0;
        t->leased_usec = bth_now_monotonic_usec();
        return call_and_learn(t, &call, upl_lease_renew(&call.request, &target));
}

static void release(struct upl_transfer *t)
{
        struct upl_target target = target_of(t);
        _cleanup_call_ struct upl_call call = { 0 };
        struct bth_error kept = t->result->error;

        if (!t->leased)
                return;
        /* A lease that cannot be released ends by itself within a minute. */
        if (call_and_learn(t, &call, upl_lease_release(&call.request, &target)) < 0)
                bth_debug("the lease of a replaced blob could not be released, ignoring");
        t->result->error = kept;
        t->leased = false;
}

/* --- sending --- */

static struct upl_attributes attributes_of(const struct upl_transfer *t)
{
        return (struct upl_attributes){
                .properties = t->item->properties,
                .metadata = t->item->metadata,
                .content_type = t->item->content_type,
        };
}

static struct upl_target conditional_target(const struct upl_transfer *t)
{
        struct upl_target target = target_of(t);

        if (t->intent.etag)
                target.if_match = t->intent.etag;
        else
                target.if_none_match = "*";
        return target;
}

/* Runs a request that makes the blob; it may find that an earlier attempt has made it. */
static int run_commit(struct upl_transfer *t, struct upl_call *call, int built)
{
        const char *etag;
        int r = call_and_learn(t, call, built);

        t->ambiguous = t->ambiguous || call->sent_before;
        if (r < 0) {
                if (r == -ENOENT && strcmp(call->code, "ContainerNotFound") == 0)
                        t->container_missing = true;
                return r;
        }
        etag = upl_headers_get(call->answer, "ETag");
        free(t->etag);
        t->etag = etag ? strdup(etag) : NULL;
        return etag && !t->etag ? -ENOMEM : 0;
}

static int put_whole(struct upl_transfer *t, const void *data, uint64_t n, const uint8_t *md5,
                     struct upl_stream *stream)
{
        struct upl_target target = conditional_target(t);
        struct upl_attributes attributes = attributes_of(t);
        struct upl_checksum sum = { md5, NULL };
        _cleanup_call_ struct upl_call call = { 0 };
        int r = upl_put_blob(&call.request, &target, data, n, sum, &attributes);

        if (r == 0 && stream)
                upl_stream_attach(stream, &call);
        r = run_commit(t, &call, r);
        if (stream)
                upl_stream_detach(stream);
        if (r == 0 && !upl_checksum_echoed(call.answer, sum))
                r = bth_error_set(&t->result->error, -EBADMSG, BTH_REASON_HASH_MISMATCH,
                                  "the service answered with another MD5 than was sent");
        t->result->sent_bytes += n * (r == 0);
        return r;
}

static int send_whole_long(struct upl_transfer *t)
{
        struct upl_stream *stream;
        int r, fault;

        r = upl_part_learn_hash(t, 0);
        if (r == 0)
                r = upl_part_stream(t, 0, &stream);
        if (r < 0)
                return r;
        r = put_whole(t, NULL, t->plan->parts[0].length_bytes, t->parts[0].md5, stream);
        fault = upl_stream_fault(stream);
        (void)upl_stream_free(stream);
        return r < 0 && fault < 0 ? upl_part_read_fault(t, 0, fault) : r;
}

static int send_whole(struct upl_transfer *t)
{
        uint8_t empty_md5[BTH_MD5_BYTES];
        void *data = NULL;
        int r;

        if (t->plan->n_parts == 0) {
                upl_hasher_md5(t->env->hasher, "", 0, empty_md5);
                return put_whole(t, NULL, 0, empty_md5, NULL);
        }
        if (upl_part_is_long(t, 0))
                r = send_whole_long(t);
        else {
                r = upl_part_load(t, 0, &data);
                if (r == 0) {
                        r = put_whole(t, data, t->plan->parts[0].length_bytes, t->parts[0].md5,
                                      NULL);
                        upl_part_unload(t, 0, data);
                }
        }
        if (r < 0 && t->result->ranges[0] == BTH_RANGE_STATUS_CANCELLED)
                t->result->ranges[0] = BTH_RANGE_STATUS_BLOB_REQUEST_FAILED;
        return r;
}

static int commit_blocks(struct upl_transfer *t)
{
        struct upl_target target = conditional_target(t);
        struct upl_attributes attributes = attributes_of(t);
        _cleanup_call_ struct upl_call call = { 0 };
        _cleanup_free_ const char **ids = calloc(t->plan->n_parts, sizeof *ids);

        if (!ids)
                return -ENOMEM;
        for (size_t i = 0; i < t->plan->n_parts; i++)
                ids[i] = t->parts[i].id;
        return run_commit(
                t, &call,
                upl_put_block_list(&call.request, &target, ids, t->plan->n_parts, &attributes));
}

static int make_page_blob(struct upl_transfer *t)
{
        struct upl_target target = conditional_target(t);
        struct upl_attributes attributes = attributes_of(t);
        _cleanup_call_ struct upl_call call = { 0 };

        return run_commit(
                t, &call,
                upl_create_page_blob(&call.request, &target, t->plan->length_bytes, &attributes));
}

/* After a commit in several steps: does the service have what we sent? */
static int confirm(struct upl_transfer *t)
{
        struct upl_target target = target_of(t);
        _cleanup_call_ struct upl_call call = { 0 };
        struct upl_blob_look look;
        int r = call_and_learn(t, &call, upl_get_properties(&call.request, &target));

        if (r == 0)
                r = upl_blob_look(call.answer, &look);
        if (r < 0)
                return r;
        if (look.length_bytes != t->plan->length_bytes)
                return bth_error_set(&t->result->error, -ESTALE, BTH_REASON_HASH_MISMATCH,
                                     "the service has another length than was sent");
        /* Pages change the ETag with each write; a committed block blob must still have ours. */
        if (t->plan->kind == UPL_PLAN_BLOCKS && t->etag && strcmp(look.etag, t->etag) != 0)
                return bth_error_set(&t->result->error, -ESTALE, BTH_REASON_HASH_MISMATCH,
                                     "the blob was changed by somebody else after its commit");
        free(t->etag);
        t->etag = strdup(look.etag);
        return t->etag ? 0 : -ENOMEM;
}

/* One try under the present intent. */
static int send(struct upl_transfer *t)
{
        int r;

        if (t->plan->kind == UPL_PLAN_PUT_BLOB)
                return send_whole(t);
        if (t->plan->kind == UPL_PLAN_PAGES) {
                if (!t->pages_made) {
                        r = make_page_blob(t);
                        if (r < 0)
                                return r;
                        t->pages_made = true;
                }
                r = upl_parts_send(t);
        } else {
                r = upl_parts_send(t);
                if (r == 0)
                        r = commit_blocks(t);
        }
        return r < 0 ? r : confirm(t);
}

static int make_container(struct upl_transfer *t)
{
        _cleanup_call_ struct upl_call call = { 0 };
        int r = call_and_learn(t, &call, upl_create_container(&call.request, t->container));

        t->container_missing = false;
        return r == -EEXIST ? 0 : r;
}

/* --- ends --- */

static enum bth_blob_status status_of(const struct upl_transfer *t, int r)
{
        if (t->drive_failed)
                return BTH_BLOB_STATUS_IO_FAILED;
        switch (r) {
        case 0:
                return BTH_BLOB_STATUS_COMPLETED;
        case -EACCES:
                return BTH_BLOB_STATUS_BLOB_REQUEST_FORBIDDEN;
        case -EBUSY:
                return BTH_BLOB_STATUS_LEASE_PRESENT;
        case -ESTALE:
                return BTH_BLOB_STATUS_BLOB_UNEXPECTED_CHANGE;
        case -ENAMETOOLONG:
                return BTH_BLOB_STATUS_RENAME_FAILED;
        case -EILSEQ: /* content that does not have the manifest's hash: its ranges say Corrupted */
        case -ENODATA: /* or that is shorter than the manifest says */
                return BTH_BLOB_STATUS_COMPLETED_WITH_ERRORS;
        case -ECONNRESET:
        case -ECONNREFUSED:
        case -EHOSTUNREACH:
        case -ETIMEDOUT:
                return BTH_BLOB_STATUS_IO_FAILED;
        case -EINVAL:
                return BTH_BLOB_STATUS_FAILED;
        default:
                return BTH_BLOB_STATUS_BLOB_REQUEST_FAILED;
        }
}

static enum bth_disposition_status disposition_of(const struct upl_transfer *t, int r)
{
        if (r == TRANSFER_SKIP)
                return BTH_DISPOSITION_STATUS_SKIPPED;
        if (r < 0)
                return BTH_DISPOSITION_STATUS_CANCELLED;
        if (strcmp(t->intent.name, t->name) != 0)
                return BTH_DISPOSITION_STATUS_RENAMED;
        return t->intent.etag ? BTH_DISPOSITION_STATUS_OVERWRITTEN : BTH_DISPOSITION_STATUS_CREATED;
}

/* Fills the result; what is good is stored, what failed is left for another run. */
static int settle(struct upl_transfer *t, int r)
{
        struct upl_outcome *o = &t->result->outcome;
        const char *name = t->decided && r == 0 ? t->intent.name : t->name;

        if (r == -ECANCELED || r == -ENODEV || r == -ENOMEM)
                return r;
        o->status = r == TRANSFER_SKIP ? BTH_BLOB_STATUS_COMPLETED : status_of(t, r);
        o->disposition = disposition_of(t, r);
        o->name = strdup(name);
        if (!o->name)
                return -ENOMEM;
        o->etag = r == 0 ? take_ptr(t->etag) : NULL;
        if (r < 0) {
                if (t->result->error.code == 0)
                        (void)bth_error_set(&t->result->error, r, BTH_REASON_INTERNAL, "%s",
                                            bth_strerror(r));
                return 0;
        }
        /* A first try may have failed, and an earlier run may have sent what this one did not. */
        for (size_t i = 0; i < t->plan->n_parts; i++)
                t->result->ranges[i] =
                        r == 0 ? BTH_RANGE_STATUS_COMPLETED : BTH_RANGE_STATUS_CANCELLED;
        bth_error_clear(&t->result->error);
        return upl_state_finish(t->env->state, t->item->blob->index, o);
}

/* Somebody has the name: 0 and go on with another try, TRANSFER_SKIP, or the end. */
static int give_way(struct upl_transfer *t, int r)
{
        t->looked = true;
        t->decided = false;
        release(t);
        if (t->disposition == BTH_DISPOSITION_RENAME)
                return 0;
        if (t->disposition == BTH_DISPOSITION_NO_OVERWRITE)
                return TRANSFER_SKIP;
        /* The first refusal of a blob that was sent without looking is only the look. */
        return t->n_overwrites++ < OVERWRITE_TRIES ? 0 : r;
}

/* Tries until the blob is there, or is somebody else's to the end. */
static int drive_to_end(struct upl_transfer *t)
{
        bool ours = false, container_made = false;
        int r;

        for (;;) {
                r = 0;
                if (t->decided && (t->result->resumed || t->ambiguous)) {
                        r = is_ours(t, &ours);
                        if (r < 0)
                                return r;
                        if (ours && t->plan->kind != UPL_PLAN_PAGES)
                                return 0;
                        t->pages_made = t->pages_made || ours;
                }
                if (!t->decided)
                        r = decide(t);
                if (r == 0)
                        r = lease(t);
                if (r == 0)
                        r = send(t);
                if (r == -ENOENT && t->container_missing && !container_made) {
                        container_made = true;
                        r = make_container(t);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (r != -EEXIST && r != -ESTALE)
                        return r;
                /* Also when nothing went wrong that we know of: a proxy may have sent it twice. */
                if (t->decided) {
                        int e = is_ours(t, &ours);

                        if (e < 0 || (ours && t->plan->kind != UPL_PLAN_PAGES))
                                return e;
                        /* Our own empty page blob: its pages are still to be written. */
                        if (ours && !t->pages_made) {
                                t->pages_made = true;
                                continue;
                        }
                }
                t->ambiguous = false;
                t->result->resumed = false;
                r = give_way(t, r);
                if (r != 0)
                        return r;
        }
}

static int prepare(struct upl_transfer *t)
{
        const struct med_manifest_blob *blob = t->item->blob;
        int r = med_blob_path_split(blob->blob_path, &t->container, &t->name);

        if (r < 0)
                return bth_error_set(&t->result->error, r, BTH_REASON_NAME_INVALID,
                                     "the blob's path has no container");
        r = upl_plan_new(blob, &t->result->plan, &t->result->error);
        if (r < 0)
                return r;
        t->plan = t->result->plan;
        t->disposition = blob->disposition;
        r = upl_parts_prepare(t);
        if (r == 0 && upl_state_get_intent(t->env->state, blob->index, &t->intent) == 0)
                t->decided = t->result->resumed = true;
        return r;
}

int upl_transfer_run(struct upl_transfer_env *env, const struct upl_transfer_item *item,
                     struct upl_transfer_result *ret_result)
{
        struct upl_transfer t = { .env = env, .item = item, .result = ret_result };
        int r;

        *ret_result = (struct upl_transfer_result){ .error = BTH_ERROR_INIT };
        r = upl_state_get_outcome(env->state, item->blob->index, &ret_result->outcome);
        if (r != -ENOENT)
                return r;
        r = prepare(&t);
        if (r == 0)
                r = drive_to_end(&t);
        if (r == 0 && env->readback)
                r = upl_parts_read_back(&t);
        release(&t);
        r = settle(&t, r);
        upl_parts_clear(&t);
        upl_intent_clear(&t.intent);
        free(t.container);
        free(t.name);
        free(t.etag);
        if (r < 0)
                upl_transfer_result_clear(ret_result);
        return r;
}
