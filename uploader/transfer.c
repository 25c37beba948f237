/* SPDX-License-Identifier: GPL-3.0-or-later */
/* transfer - see transfer.h: names, conditions, and what an end means. The parts are in parts.c. */
#include "uploader/transfer.h"

#include <stdio.h>
#include <string.h>

#include "media/naming.h"
#include "uploader/blob.h"
#include "uploader/content-type.h"
#include "uploader/parts.h"

#define OVERWRITE_TRIES 3u
#define LEASES_LOST_MAX 3u

void upl_transfer_result_clear(struct upl_transfer_result *r)
{
        upl_outcome_clear(&r->outcome);
        free(r->ranges);
        (void)upl_plan_free(r->plan);
        *r = (struct upl_transfer_result){ 0 };
}

/* --- sending --- */

static struct upl_attributes attributes_of(const struct upl_transfer *t)
{
        return (struct upl_attributes){
                .properties = t->item->properties,
                .metadata = t->item->metadata,
                .content_type = t->item->content_type        ? t->item->content_type
                                : t->env->guess_content_type ? upl_content_type_of(t->name)
                                                             : NULL,
        };
}

static struct upl_target conditional_target(const struct upl_transfer *t)
{
        struct upl_target target = upl_transfer_target(t);

        if (t->intent.etag)
                target.if_match = t->intent.etag;
        else
                target.if_none_match = "*";
        return target;
}

/* What the answer to a request that makes the blob says; an earlier attempt may have made it. */
static int commit_answered(struct upl_transfer *t, const struct upl_call *call, int r)
{
        const char *etag;

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

static int run_commit(struct upl_transfer *t, struct upl_call *call, int built)
{
        return commit_answered(t, call, upl_transfer_call_leased(t, call, built));
}

static int build_whole(struct upl_transfer *t, const void *data, uint64_t n, const uint8_t *md5,
                       struct upl_call *call)
{
        struct upl_target target = conditional_target(t);
        struct upl_attributes attributes = attributes_of(t);

        return upl_put_blob(&call->request, &target, data, n, (struct upl_checksum){ md5, NULL },
                            &attributes);
}

int upl_transfer_build_whole(struct upl_transfer *t, const void *data, struct upl_call *call)
{
        return build_whole(t, data, t->plan->parts[0].length_bytes, t->parts[0].md5, call);
}

/* The blob's answer after its commit_answered(). */
static int whole_answered(struct upl_transfer *t, const struct upl_call *call, const uint8_t *md5,
                          int r)
{
        if (r == 0 && !upl_checksum_echoed(call->answer, (struct upl_checksum){ md5, NULL }))
                r = bth_error_set(&t->result->error, -EBADMSG, BTH_REASON_HASH_MISMATCH,
                                  "the service answered with another MD5 than was sent");
        t->result->sent_bytes += t->plan->length_bytes * (r == 0);
        return r;
}

int upl_transfer_whole_answered(struct upl_transfer *t, struct upl_call *call)
{
        int r = call->result;

        if (r < 0)
                (void)upl_call_explain(call, &t->result->error);
        if (r != -ENOMEM && r != -ECANCELED)
                upl_transfer_learn(t, call);
        r = whole_answered(t, call, t->parts[0].md5, commit_answered(t, call, r));
        if (r < 0)
                t->result->ranges[0] = BTH_RANGE_STATUS_BLOB_REQUEST_FAILED;
        return r;
}

static int put_whole(struct upl_transfer *t, const void *data, uint64_t n, const uint8_t *md5,
                     struct upl_stream *stream)
{
        _cleanup_call_ struct upl_call call = { 0 };
        int r = build_whole(t, data, n, md5, &call);

        if (r == 0 && stream)
                upl_stream_attach(stream, &call);
        r = run_commit(t, &call, r);
        if (stream)
                upl_stream_detach(stream);
        return whole_answered(t, &call, md5, r);
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

static int send_whole_held(struct upl_transfer *t)
{
        void *data;
        int r = upl_part_load(t, 0, &data);

        if (r < 0)
                return r;
        r = put_whole(t, data, t->plan->parts[0].length_bytes, t->parts[0].md5, NULL);
        upl_part_unload(t, 0, data);
        return r;
}

static int send_whole(struct upl_transfer *t)
{
        uint8_t empty_md5[BTH_MD5_BYTES];
        int r;

        if (t->plan->n_parts == 0) {
                upl_hasher_md5(t->env->hasher, "", 0, empty_md5);
                return put_whole(t, NULL, 0, empty_md5, NULL);
        }
        r = upl_part_is_long(t, 0) ? send_whole_long(t) : send_whole_held(t);
        if (r == -EBADMSG && !t->parts[0].recheck) {
                t->parts[0].recheck = true;
                r = upl_part_is_long(t, 0) ? send_whole_long(t) : send_whole_held(t);
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

/* Is a header of the answer what was sent? What was not sent is the service's affair. */
static bool has_header(const struct upl_call *call, const char *name, const char *sent)
{
        const char *found = upl_headers_get(call->answer, name);

        if (!sent || !sent[0])
                return true;
        /* Text outside ASCII comes back in a form that is up to every server on the way. */
        for (const char *c = sent; *c; c++)
                if ((unsigned char)*c >= 0x7f)
                        return found != NULL;
        return bth_streq(found, sent);
}

/* Name of a property or metadatum that the service has otherwise than it was sent; NULL: none. */
static const char *find_difference(const struct upl_transfer *t, const struct upl_call *call)
{
        static const enum med_property properties[] = {
                MED_PROPERTY_CONTENT_TYPE,     MED_PROPERTY_CONTENT_MD5,
                MED_PROPERTY_CONTENT_ENCODING, MED_PROPERTY_CONTENT_LANGUAGE,
                MED_PROPERTY_CACHE_CONTROL,
        };
        struct upl_attributes a = attributes_of(t);
        char name[256];

        for (size_t i = 0; a.properties && i < ARRAY_SIZE(properties); i++)
                if (!has_header(call, med_property_to_string(properties[i]),
                                a.properties->values[properties[i]]))
                        return med_property_to_string(properties[i]);
        if (!(a.properties && a.properties->values[MED_PROPERTY_CONTENT_TYPE]) &&
            !has_header(call, "Content-Type", a.content_type))
                return "Content-Type";
        for (size_t i = 0; a.metadata && i < a.metadata->n_items; i++) {
                (void)snprintf(name, sizeof name, "x-ms-meta-%s", a.metadata->items[i].name);
                if (strlen(a.metadata->items[i].name) < sizeof name - 16 &&
                    !has_header(call, name, a.metadata->items[i].value))
                        return a.metadata->items[i].name;
        }
        return NULL;
}

/* After a commit in several steps: does the service have what we sent? */
static int confirm(struct upl_transfer *t)
{
        struct upl_target target = upl_transfer_target(t);
        _cleanup_call_ struct upl_call call = { 0 };
        struct upl_blob_look look;
        const char *other;
        int r = upl_transfer_call(t, &call, upl_get_properties(&call.request, &target));

        if (r == 0)
                r = upl_blob_look(call.answer, &look);
        if (r < 0)
                return r;
        if (look.length_bytes != t->plan->length_bytes)
                return bth_error_set(&t->result->error, -ESTALE, BTH_REASON_HASH_MISMATCH,
                                     "the service has another length than was sent");
        /* Pages change the ETag with each write; a committed block blob must still have ours. */
        if (t->plan->kind != UPL_PLAN_PAGES && t->etag && strcmp(look.etag, t->etag) != 0)
                return bth_error_set(&t->result->error, -ESTALE, BTH_REASON_HASH_MISMATCH,
                                     "the blob was changed by somebody else after its commit");
        other = find_difference(t, &call);
        if (other)
                return bth_error_set(&t->result->error, -EPROTO, BTH_REASON_VALUE_INVALID,
                                     "the service has another value of %s than was sent", other);
        free(t->etag);
        t->etag = strdup(look.etag);
        return t->etag ? 0 : -ENOMEM;
}

/* The answer to Put Blob says what was stored, but for properties and metadata. */
static int confirm_whole(struct upl_transfer *t)
{
        return t->item->properties || t->item->metadata ? confirm(t) : 0;
}

/* From now on what is under this name is ours, whatever a cut connection has left of a page. */
static int note_made(struct upl_transfer *t)
{
        if (upl_state_is_made(t->env->state, t->item->blob->index))
                return 0;
        return upl_state_made(t->env->state, t->item->blob->index);
}

/* One try under the present intent. */
static int send(struct upl_transfer *t)
{
        int r;

        if (t->plan->kind == UPL_PLAN_PUT_BLOB) {
                r = send_whole(t);
                return r < 0 ? r : confirm_whole(t);
        }
        if (t->plan->kind == UPL_PLAN_PAGES) {
                if (!t->pages_made) {
                        r = make_page_blob(t);
                        if (r < 0)
                                return r;
                        t->pages_made = true;
                }
                r = note_made(t);
                if (r == 0)
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
        int r = upl_transfer_call(t, &call, upl_create_container(&call.request, t->container));

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
        return upl_state_finish(t->env->state, t->item->blob->index, t->container, o);
}

/* Somebody has the name: 0 and go on with another try, TRANSFER_SKIP, or the end. */
static int give_way(struct upl_transfer *t, int r)
{
        t->looked = true;
        t->decided = false;
        upl_transfer_release(t);
        if (t->disposition == BTH_DISPOSITION_RENAME)
                return 0;
        if (t->disposition == BTH_DISPOSITION_NO_OVERWRITE)
                return TRANSFER_SKIP;
        /* The first refusal of a blob that was sent without looking is only the look. */
        return t->n_overwrites++ < OVERWRITE_TRIES ? 0 : r;
}

/* A pause may be longer than a lease, which nobody could renew in it. It is taken again: should
 * somebody else have it now, or have changed the blob, the service says so. */
static bool may_lease_again(struct upl_transfer *t, int r)
{
        if (r != -EBUSY || !t->leased || t->n_leases_lost++ == LEASES_LOST_MAX)
                return false;
        t->leased = false;
        return true;
}

/* One try: what is there, the decision, the lease, the content. Returns 0, TRANSFER_SKIP, or an
 * error that may let another try follow. */
static int try_once(struct upl_transfer *t)
{
        bool ours = false;
        int r = 0;

        if (t->decided && (t->result->resumed || t->ambiguous)) {
                r = upl_transfer_is_ours(t, &ours);
                if (r < 0 || (ours && t->plan->kind != UPL_PLAN_PAGES))
                        return r;
                t->pages_made = t->pages_made || ours;
        }
        if (!t->decided)
                r = upl_transfer_decide(t);
        if (r == TRANSFER_OURS) {
                t->result->resumed = true;
                if (t->plan->kind != UPL_PLAN_PAGES)
                        return 0;
                t->pages_made = true;
                r = 0;
        }
        if (r == 0)
                r = upl_transfer_lease(t);
        return r == 0 ? send(t) : r;
}

/* Tries until the blob is there, or is somebody else's to the end. `tried`: once already, with `r`.
 */
int upl_transfer_drive(struct upl_transfer *t, bool tried, int r)
{
        bool ours = false, container_made = false;

        if (tried && r == 0)
                r = confirm_whole(t);
        for (;; tried = false) {
                if (!tried)
                        r = try_once(t);
                /* Damaged on its way, or in our memory: read and hashed again. */
                if (tried && r == -EBADMSG) {
                        t->parts[0].recheck = true;
                        continue;
                }
                if (r == -ENOENT && t->container_missing && !container_made) {
                        container_made = true;
                        r = make_container(t);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (may_lease_again(t, r))
                        continue;
                if (r != -EEXIST && r != -ESTALE)
                        return r;
                /* Also when nothing went wrong that we know of: a proxy may have sent it twice. */
                if (t->decided) {
                        int e = upl_transfer_is_ours(t, &ours);

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

/* Is the name one of those in a list with blanks between? */
static bool is_listed(const char *list, const char *name)
{
        const size_t n = strlen(name);

        while (*list != '\0') {
                const size_t word = strcspn(list, " \t");

                if (word == n && strncmp(list, name, n) == 0)
                        return true;
                list += word;
                list += strspn(list, " \t");
        }
        return false;
}

static int check_container(const struct upl_transfer *t, struct bth_error *error)
{
        const struct upl_transfer_env *env = t->env;

        if (env->only_container && strcmp(t->container, env->only_container) != 0)
                return bth_error_set(error, -EACCES, BTH_REASON_CREDENTIALS,
                                     "the manifest's ContainerSas is for the container '%s', not "
                                     "for '%s'",
                                     env->only_container, t->container);
        if (env->containers && !is_listed(env->containers, t->container))
                return bth_error_set(error, -EACCES, BTH_REASON_CREDENTIALS,
                                     "the station may not write to the container '%s' of this "
                                     "account",
                                     t->container);
        return 0;
}

static int prepare(struct upl_transfer *t)
{
        const struct med_manifest_blob *blob = t->item->blob;
        int r = med_blob_path_split(blob->blob_path, &t->container, &t->name);

        if (r < 0)
                return bth_error_set(&t->result->error, r, BTH_REASON_NAME_INVALID,
                                     "the blob's path has no container");
        r = check_container(t, &t->result->error);
        if (r < 0)
                return r;
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

int upl_transfer_open(struct upl_transfer *t)
{
        int r;

        *t->result = (struct upl_transfer_result){ .error = BTH_ERROR_INIT };
        r = upl_state_get_outcome(t->env->state, t->item->blob->index, &t->result->outcome);
        if (r != -ENOENT)
                return r < 0 ? r : TRANSFER_KNOWN;
        return prepare(t);
}

int upl_transfer_close(struct upl_transfer *t, int r)
{
        if (r == 0 && t->env->readback)
                r = upl_parts_read_back(t);
        upl_transfer_release(t);
        r = settle(t, r);
        upl_parts_clear(t);
        upl_intent_clear(&t->intent);
        free(t->container);
        free(t->name);
        free(t->etag);
        if (r < 0)
                upl_transfer_result_clear(t->result);
        return r;
}

int upl_transfer_run(struct upl_transfer_env *env, const struct upl_transfer_item *item,
                     struct upl_transfer_result *ret_result)
{
        struct upl_transfer t = { .env = env, .item = item, .result = ret_result };
        int r = upl_transfer_open(&t);

        if (r == TRANSFER_KNOWN)
                return 0;
        if (r == 0)
                r = upl_transfer_drive(&t, false, 0);
        return upl_transfer_close(&t, r);
}
