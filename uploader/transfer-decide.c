/* SPDX-License-Identifier: GPL-3.0-or-later */
/* transfer-decide - under which name a blob goes, whether what is there is ours, and its lease.
 * See transfer.h and parts.h. */
#include "uploader/parts.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "base/guid.h"
#include "base/le.h"
#include "base/time.h"
#include "media/naming.h"

#define LEASE_SECONDS 60u
/* Last-Modified has whole seconds, and the measured clock is off by the answer's way. */
#define CLOCK_TOLERANCE_USEC (5 * BTH_USEC_PER_SEC)

/* What the service's clock says now, as far as its answers told. */
static uint64_t service_now(struct upl_transfer_env *env)
{
        return (uint64_t)((long long)bth_now_realtime_usec() +
                          atomic_load(&env->service_clock_usec));
}

void upl_transfer_learn(struct upl_transfer *t, const struct upl_call *call)
{
        uint64_t date = bth_time_from_http(upl_headers_get(call->answer, "Date"));

        if (date == 0)
                return;
        atomic_store(&t->env->service_clock_usec,
                     (long long)date - (long long)bth_now_realtime_usec());
        if (upl_state_begun(t->env->state) == 0 && upl_state_begin(t->env->state, date) < 0)
                bth_debug("the begin of the transfer could not be recorded, ignoring");
}

int upl_transfer_call(struct upl_transfer *t, struct upl_call *call, int built)
{
        int r;

        if (built < 0)
                return built;
        if (atomic_load(t->env->stop))
                return -ECANCELED;
        r = upl_client_call(t->env->client, call, &t->result->error);
        if (r != -ENOMEM && r != -ECANCELED)
                upl_transfer_learn(t, call);
        return r;
}

/* When the drive was begun, on whatever station; 0: not known. */
static uint64_t begun(const struct upl_transfer *t)
{
        return t->env->begun_usec ? t->env->begun_usec : upl_state_begun(t->env->state);
}

struct upl_target upl_transfer_target(const struct upl_transfer *t)
{
        return (struct upl_target){
                .container = t->container,
                .blob = t->intent.name,
                .lease_id = t->leased ? t->intent.lease_id : NULL,
        };
}

/* --- is what is there ours? --- */

/* Blocks that we cut have their ids from their content, which is read for that: once, and only when
 * all else fits. What cannot be read is told when it is to be sent. */
static int learn_hash(struct upl_transfer *t, size_t i)
{
        int r = upl_part_learn_hash(t, i);

        if (r != -EIO && r != -ENODATA)
                return r;
        t->drive_failed = false;
        bth_error_clear(&t->result->error);
        return 0;
}

static int has_the_id(struct upl_transfer *t, size_t i, const char *id, bool *ret_same)
{
        int r = learn_hash(t, i);

        *ret_same = r == 0 && t->parts[i].has_id && strcmp(id, t->parts[i].id) == 0;
        return r;
}

static int same_blocks(struct upl_transfer *t, bool *ret_same)
{
        struct upl_target target = upl_transfer_target(t);
        _cleanup_call_ struct upl_call call = { 0 };
        struct upl_remote_blocks blocks;
        int r;

        r = upl_transfer_call(t, &call, upl_get_block_list(&call.request, &target, true, false));
        if (r < 0)
                return r;
        r = upl_answer_blocks(call.content->data, call.content->length, &blocks, &t->result->error);
        if (r < 0)
                return r;
        *ret_same = blocks.n == t->plan->n_parts;
        for (size_t i = 0; i < blocks.n && *ret_same; i++)
                *ret_same = blocks.items[i].length_bytes == t->plan->parts[i].length_bytes;
        for (size_t i = 0; i < blocks.n && *ret_same && r == 0; i++)
                r = has_the_id(t, i, blocks.items[i].id, ret_same);
        upl_remote_blocks_clear(&blocks);
        return r;
}

static int same_whole(struct upl_transfer *t, const struct upl_blob_look *look, bool *ret_same)
{
        int r;

        *ret_same = t->plan->n_parts == 0;
        if (*ret_same || !look->has_md5)
                return 0;
        r = learn_hash(t, 0);
        *ret_same = r == 0 && t->parts[0].has_md5 &&
                    memcmp(look->md5, t->parts[0].md5, BTH_MD5_BYTES) == 0;
        return r;
}

/* Blocks belong to a name, and are gone once somebody else commits under it; so are pages. */
static void forget_sent(struct upl_transfer *t)
{
        for (size_t i = 0; i < t->plan->n_parts; i++) {
                t->parts[i].sent = t->parts[i].dirty = false;
                if (t->result->ranges[i] == BTH_RANGE_STATUS_COMPLETED)
                        t->result->ranges[i] = BTH_RANGE_STATUS_CANCELLED;
        }
        t->n_acknowledged = t->n_recorded = 0;
}

/* Of a page blob that we are not known to have made: one with a page that is not as ours is
 * somebody else's, who may have made it just before us. */
static int same_pages(struct upl_transfer *t, bool *ret_same)
{
        int r = upl_pages_compare(t, ret_same);

        if (r < 0 || !*ret_same)
                forget_sent(t);
        return r;
}

int upl_transfer_is_ours(struct upl_transfer *t, bool *ret_ours)
{
        struct upl_target target = { .container = t->container, .blob = t->intent.name };
        _cleanup_call_ struct upl_call call = { 0 };
        struct upl_blob_look look;
        const char *type = t->plan->kind == UPL_PLAN_PAGES ? "PageBlob" : "BlockBlob";
        uint64_t modified;
        int r;

        *ret_ours = false;
        if (upl_state_is_claimed(t->env->state, t->item->blob->index, t->container, t->intent.name))
                return 0;
        r = upl_transfer_call(t, &call, upl_get_properties(&call.request, &target));
        if (r == -ENOENT)
                return 0;
        if (r == 0)
                r = upl_blob_look(call.answer, &look);
        if (r < 0)
                return r;
        modified = bth_time_from_http(look.last_modified);
        if (look.length_bytes != t->plan->length_bytes || !bth_streq(look.type, type) ||
            bth_streq(look.etag, t->intent.etag) ||
            modified + CLOCK_TOLERANCE_USEC < t->intent.realtime_usec)
                return 0;
        if (t->plan->kind == UPL_PLAN_BLOCKS)
                r = same_blocks(t, ret_ours);
        else if (t->plan->kind == UPL_PLAN_PUT_BLOB)
                r = same_whole(t, &look, ret_ours);
        else if (t->decided && upl_state_is_made(t->env->state, t->item->blob->index))
                *ret_ours = true;
        else
                r = same_pages(t, ret_ours);
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
        int r = upl_transfer_call(t, &call, upl_get_properties(&call.request, &target));

        if (r == 0)
                r = upl_blob_look(call.answer, &look);
        if (r < 0)
                return r;
        *ret_etag = strdup(look.etag);
        return *ret_etag ? 0 : -ENOMEM;
}

/* Has another station, of whose decisions nothing is recorded here, put this blob there? Then its
 * decision is ours. */
static int is_from_before(struct upl_transfer *t, const char *name, bool *ret_ours)
{
        int r;

        *ret_ours = false;
        if (t->env->begun_usec == 0)
                return 0;
        upl_intent_clear(&t->intent);
        t->intent.name = strdup(name);
        t->intent.realtime_usec = t->env->begun_usec;
        r = t->intent.name ? upl_transfer_is_ours(t, ret_ours) : -ENOMEM;
        return r;
}

int upl_transfer_claim(struct upl_transfer *t, const char *name)
{
        return upl_state_claim(t->env->state, t->item->blob->index, t->container, name);
}

/* Is the name free, or was it used for this blob by another station? Then it is this blob's.
 * Returns 0, TRANSFER_OURS, -EEXIST, or another negative errno. */
static int try_name(struct upl_transfer *t, const char *name)
{
        _cleanup_free_ char *etag = NULL;
        bool ours = false;
        int r, claimed;

        /* Another entry of the manifest may have it and not have sent anything yet. */
        if (upl_state_is_claimed(t->env->state, t->item->blob->index, t->container, name))
                return -EEXIST;
        r = look_at(t, name, &etag);
        if (r == 0)
                r = is_from_before(t, name, &ours);
        if (r < 0 ? r != -ENOENT : !ours)
                return r < 0 ? r : -EEXIST;
        claimed = upl_transfer_claim(t, name);
        return claimed < 0 ? claimed : r == 0 ? TRANSFER_OURS : 0;
}

/* The name with the next number, if the service can have it. */
static int next_name(struct upl_transfer *t, char **ret_name)
{
        int r = med_rename(t->name, t->n_renames + 1, ret_name);

        if (r == 0 && med_check_blob_name(t->container, *ret_name, NULL) < 0)
                r = bth_error_set(&t->result->error, -ENAMETOOLONG, BTH_REASON_NAME_INVALID,
                                  "this blob is there, and its name leaves no room for a number");
        return r;
}

/* The first free name of "name", "name (2)", … from t->n_renames on, or the one that another
 * station has used. Returns 0, TRANSFER_OURS, or a negative errno. */
static int pick_free_name(struct upl_transfer *t, char **ret_name)
{
        for (; t->n_renames < UPL_RENAMES_MAX; t->n_renames++) {
                _cleanup_free_ char *name = NULL;
                int r;

                if (t->n_renames == 0) {
                        name = strdup(t->name);
                        r = name ? 0 : -ENOMEM;
                } else
                        r = next_name(t, &name);
                if (r == 0)
                        r = try_name(t, name);
                if (r >= 0)
                        *ret_name = take_ptr(name);
                if (r != -EEXIST)
                        return r;
        }
        return bth_error_set(&t->result->error, -ENAMETOOLONG, BTH_REASON_NAME_INVALID,
                             "this blob and %u numbered ones are there", UPL_RENAMES_MAX - 1);
}

/* The lease's id tells drive and blob, so that after a crash another station, which knows nothing
 * of the lease, takes the same one and need not wait for its end. */
static int give_lease_id(struct upl_transfer *t, struct upl_intent *intent)
{
        uint8_t known[UPL_STATE_IDENTITY_BYTES + 8], hash[BTH_SHA256_BYTES];
        char text[BTH_GUID_TEXT_MAX];
        struct bth_guid guid;
        int r;

        memcpy(known, upl_state_identity(t->env->state), UPL_STATE_IDENTITY_BYTES);
        bth_store_le64(known + UPL_STATE_IDENTITY_BYTES, t->item->blob->index);
        r = bth_digest_of(BTH_DIGEST_SHA256, known, sizeof known, hash);
        if (r < 0)
                return r;
        memcpy(guid.b, hash, sizeof guid.b);
        intent->lease_id = strdup(bth_guid_to_string(&guid, text));
        return intent->lease_id ? 0 : -ENOMEM;
}

int upl_transfer_decide(struct upl_transfer *t)
{
        struct upl_intent intent = { 0 };
        bool unlooked = t->plan->kind == UPL_PLAN_PUT_BLOB && !t->looked;
        int r = 0, claimed = t->disposition == BTH_DISPOSITION_RENAME && !unlooked
                                     ? 0
                                     : upl_transfer_claim(t, t->name);

        if (claimed < 0 && claimed != -EEXIST)
                return claimed;
        if (claimed == -EEXIST)
                unlooked = false;
        /* A small blob is sent once under If-None-Match, which tells as much as looking before. */
        if (unlooked)
                intent.name = strdup(t->name);
        else if (t->disposition == BTH_DISPOSITION_RENAME)
                r = pick_free_name(t, &intent.name);
        else {
                bool ours = false;

                intent.name = strdup(t->name);
                r = look_at(t, t->name, &intent.etag);
                if (r == 0)
                        r = is_from_before(t, t->name, &ours);
                if (r == 0 && ours)
                        r = TRANSFER_OURS;
                else if (r == 0 && t->disposition == BTH_DISPOSITION_NO_OVERWRITE)
                        r = TRANSFER_SKIP;
                else if (r == 0)
                        r = give_lease_id(t, &intent);
                else if (r == -ENOENT)
                        r = 0;
        }
        if (r >= 0 && !intent.name)
                r = -ENOMEM;
        intent.realtime_usec = t->env->begun_usec ? t->env->begun_usec : service_now(t->env);
        if (unlooked && begun(t) > 0)
                intent.realtime_usec = begun(t);
        if (r == TRANSFER_OURS) {
                /* Whether it replaced another one is not known any more. */
                free(intent.etag);
                intent.etag = NULL;
        }
        /* Where the begin is recorded, the plain name under no condition but that it is free needs
         * no record of its own: should the blob be there after a crash, it is ours by that. */
        if ((r == 0 && !(unlooked && begun(t) > 0)) || r == TRANSFER_OURS) {
                int e = upl_state_intend(t->env->state, t->item->blob->index, t->container,
                                         &intent);

                r = e < 0 ? e : r;
        }
        if (r < 0 || r == TRANSFER_SKIP) {
                upl_intent_clear(&intent);
                return r;
        }
        upl_intent_clear(&t->intent);
        t->intent = intent;
        t->decided = true;
        bth_error_clear(&t->result->error);
        if (r == TRANSFER_OURS)
                return r;
        forget_sent(t);
        t->pages_made = false;
        return 0;
}

static unsigned lease_seconds(const struct upl_transfer *t)
{
        return t->env->lease_seconds ? t->env->lease_seconds : LEASE_SECONDS;
}

int upl_transfer_lease(struct upl_transfer *t)
{
        struct upl_target target = { .container = t->container, .blob = t->intent.name };
        _cleanup_call_ struct upl_call call = { 0 };
        int r;

        if (!t->intent.lease_id)
                return 0;
        r = upl_transfer_call(
                t, &call,
                upl_lease_acquire(&call.request, &target, t->intent.lease_id, lease_seconds(t)));
        t->leased = r == 0;
        t->leased_usec = bth_now_monotonic_usec();
        /* It went between looking and leasing: the commit's condition says so. */
        return r == -ENOENT ? 0 : r;
}

int upl_transfer_keep_lease(struct upl_transfer *t)
{
        struct upl_target target = upl_transfer_target(t);
        _cleanup_call_ struct upl_call call = { 0 };

        if (!t->leased ||
            bth_now_monotonic_usec() - t->leased_usec < lease_seconds(t) * BTH_USEC_PER_SEC / 3)
                return 0;
        t->leased_usec = bth_now_monotonic_usec();
        return upl_transfer_call(t, &call, upl_lease_renew(&call.request, &target));
}

static void on_leased_done(struct upl_call *call)
{
        struct upl_transfer *t = call->userdata;

        (void)pthread_mutex_lock(&t->lock);
        t->n_flying--;
        (void)pthread_cond_signal(&t->changed);
        (void)pthread_mutex_unlock(&t->lock);
}

static void wait_leased(struct upl_transfer *t)
{
        (void)pthread_mutex_lock(&t->lock);
        while (t->n_flying > 0) {
                struct timespec until;

                (void)clock_gettime(CLOCK_REALTIME, &until);
                until.tv_sec += UPL_LEASE_LOOK_SECONDS;
                (void)pthread_cond_timedwait(&t->changed, &t->lock, &until);
                if (t->n_flying == 0)
                        break;
                (void)pthread_mutex_unlock(&t->lock);
                /* A lease that is lost shows in the call's own answer. */
                if (upl_transfer_keep_lease(t) < 0)
                        bth_debug("the lease of a blob could not be renewed, ignoring");
                (void)pthread_mutex_lock(&t->lock);
        }
        (void)pthread_mutex_unlock(&t->lock);
}

int upl_transfer_call_leased(struct upl_transfer *t, struct upl_call *call, int built)
{
        int r;

        if (!t->leased || built < 0)
                return upl_transfer_call(t, call, built);
        if (atomic_load(t->env->stop))
                return -ECANCELED;
        assert(t->n_flying == 0);
        call->done = on_leased_done;
        call->userdata = t;
        t->n_flying = 1;
        r = upl_client_start(t->env->client, call);
        if (r < 0) {
                t->n_flying = 0;
                return r;
        }
        wait_leased(t);
        upl_transfer_learn(t, call);
        return upl_call_explain(call, &t->result->error);
}

void upl_transfer_release(struct upl_transfer *t)
{
        struct upl_target target = upl_transfer_target(t);
        _cleanup_call_ struct upl_call call = { 0 };
        struct bth_error kept = t->result->error;

        if (!t->leased)
                return;
        /* A lease that cannot be released ends by itself within a minute. */
        if (upl_transfer_call(t, &call, upl_lease_release(&call.request, &target)) < 0)
                bth_debug("the lease of a replaced blob could not be released, ignoring");
        t->result->error = kept;
        t->leased = false;
}
