/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/prep-repair-upload.h"

#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <string.h>

#include "base/io.h"
#include "ctl/progress.h"
#include "uploader/engine.h"

#define BUDGET_BYTES  (UINT64_C(256) << 20)
#define BLOBS_AT_ONCE 8u
#define PAGE_BYTES    UPL_PAGE_WRITE_BYTES

/* A blob under way, as the engine wants it. */
struct under_way {
        const struct ctl_repair_entry *entry;
        struct med_manifest_blob blob;
        struct med_manifest_range *ranges;
        struct bth_source *content;
        struct med_metadata metadata;
        struct med_properties properties;
};

struct upload {
        const struct ctl_repair_upload *o;
        struct upl_transfer_env env;
        atomic_bool stop;
        struct ctl_progress *progress;
        size_t next;
};

static struct under_way *under_way_free(struct under_way *w)
{
        if (!w)
                return NULL;
        (void)bth_source_free(w->content);
        free(w->ranges);
        med_metadata_clear(&w->metadata);
        med_properties_clear(&w->properties);
        free(w);
        return NULL;
}
DEFINE_CLEANUP(under_way_free, struct under_way *);

static bool is_zero(const uint8_t *data, size_t n)
{
        return n == 0 || (data[0] == 0 && memcmp(data, data + 1, n - 1) == 0);
}

/* Pages have to be named with their hashes before they are sent; those of zeros need not be. */
static int make_pages(struct under_way *w)
{
        const uint64_t length = w->blob.length_bytes;
        const size_t most = (size_t)(length / PAGE_BYTES + 1);
        _cleanup_free_ uint8_t *page = malloc(PAGE_BYTES);
        int r = 0;

        w->ranges = calloc(most, sizeof *w->ranges);
        if (!page || !w->ranges)
                return -ENOMEM;
        for (uint64_t at = 0; r == 0 && at < length; at += PAGE_BYTES) {
                const size_t n = (size_t)MIN(length - at, PAGE_BYTES);
                struct med_manifest_range *range = &w->ranges[w->blob.n_ranges];

                r = bth_source_read(w->content, at, page, n);
                if (r < 0 || is_zero(page, n))
                        continue;
                range->offset_bytes = at;
                range->length_bytes = n;
                range->id = MED_MANIFEST_NO_ID;
                r = bth_digest_of(BTH_DIGEST_MD5, page, n, range->md5);
                w->blob.n_ranges++;
        }
        w->blob.ranges = w->ranges;
        return r;
}

static int read_sidecars(struct under_way *w, struct bth_error *error)
{
        const struct ctl_repair_entry *e = w->entry;
        _cleanup_free_ char *metadata = NULL, *properties = NULL;
        size_t n;
        int r = 0;

        if (e->metadata.original) {
                r = bth_read_file(e->metadata.original, MED_SIDECAR_MAX_BYTES, &metadata, &n);
                if (r == 0)
                        r = med_metadata_parse(metadata, n, e->metadata.original, &w->metadata,
                                               error);
        }
        if (r == 0 && e->properties.original) {
                r = bth_read_file(e->properties.original, MED_SIDECAR_MAX_BYTES, &properties, &n);
                if (r == 0)
                        r = med_properties_parse(properties, n, e->properties.original,
                                                 &w->properties, error);
        }
        return r;
}

static int prepare(struct upload *u, size_t index, struct under_way **ret_w,
                   struct bth_error *error)
{
        const struct ctl_repair_entry *e = &u->o->repair->entries[index];
        _cleanup_(under_way_freep) struct under_way *w = calloc(1, sizeof *w);
        int fd, r;

        if (!w)
                return -ENOMEM;
        w->entry = e;
        fd = open(e->original, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        r = fd < 0 ? -errno : bth_source_new_fd(fd, true, &w->content);
        if (r < 0) {
                bth_error_at(error, e->original, 0, BTH_ERROR_NO_OFFSET);
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE, "it cannot be read: %s",
                                     bth_strerror(r));
        }
        w->blob = (struct med_manifest_blob){
                .index = index,
                .line = e->line,
                .blob_path = e->blob_path,
                .file_path = e->drive_path,
                .length_bytes = w->content->size_bytes,
                .disposition = e->has_disposition ? e->disposition : BTH_DISPOSITION_OVERWRITE,
                .disposition_given = true,
                .kind = e->page ? MED_MANIFEST_PAGE : MED_MANIFEST_NONE,
        };
        r = read_sidecars(w, error);
        if (r == 0 && e->page)
                r = make_pages(w);
        if (r == 0)
                *ret_w = take_ptr(w);
        return r;
}

/* The next blob that can be prepared; one that cannot has come to its end with that. */
static int next(void *userdata, struct upl_transfer_item *ret_item, void **ret_cookie)
{
        struct upload *u = userdata;

        while (u->next < u->o->repair->n) {
                const size_t index = u->next++;
                const struct ctl_repair_entry *e = &u->o->repair->entries[index];
                struct bth_error error = BTH_ERROR_INIT;
                struct under_way *w = NULL;
                int r;

                if (e->state != CTL_ORIGINAL_FOUND || e->azure_file)
                        continue;
                r = prepare(u, index, &w, &error);
                if (r == -ENOMEM)
                        return r;
                if (r < 0) {
                        u->o->ended(u->o->userdata, e, BTH_BLOB_STATUS_FILE_ACCESS_DENIED,
                                    BTH_DISPOSITION_STATUS_CANCELLED, e->blob_path, &error);
                        continue;
                }
                *ret_item = (struct upl_transfer_item){
                        .blob = &w->blob,
                        .content = w->content,
                        .metadata = e->metadata.original ? &w->metadata : NULL,
                        .properties = e->properties.original ? &w->properties : NULL,
                };
                *ret_cookie = w;
                return 1;
        }
        return 0;
}

static void ended(void *userdata, void *cookie, const struct upl_transfer_item *item,
                  const struct upl_transfer_result *result)
{
        struct upload *u = userdata;
        struct under_way *w = cookie;

        ctl_progress_add(u->progress, item->blob->length_bytes);
        u->o->ended(u->o->userdata, w->entry, result->outcome.status, result->outcome.disposition,
                    result->outcome.name, &result->error);
        (void)under_way_free(w);
}

static void dropped(void *userdata, void *cookie)
{
        (void)userdata;
        (void)under_way_free(cookie);
}

/* The state must not be used for other logs, nor for the same logs and another account. */
static int identity_of(const struct ctl_repair_upload *o, uint8_t ret[UPL_STATE_IDENTITY_BYTES])
{
        _cleanup_(bth_digest_freep) struct bth_digest *digest = NULL;
        int r = bth_digest_new(BTH_DIGEST_SHA256, &digest);

        if (r == 0)
                r = bth_digest_update(digest, o->repair->identity, sizeof o->repair->identity);
        if (r == 0)
                r = bth_digest_update(digest, o->account_url, strlen(o->account_url));
        return r < 0 ? r : bth_digest_finish(digest, ret);
}

static int open_state(struct upload *u, struct bth_error *error)
{
        _cleanup_free_ char *for_folder = strdup(u->o->state_path),
                            *for_name = strdup(u->o->state_path);
        uint8_t identity[UPL_STATE_IDENTITY_BYTES];
        _cleanup_close_ int folder = BTH_FD_NONE;
        int r = for_folder && for_name ? identity_of(u->o, identity) : -ENOMEM;

        if (r < 0)
                return r;
        bth_error_at(error, u->o->state_path, 0, BTH_ERROR_NO_OFFSET);
        folder = open(dirname(for_folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder < 0)
                return bth_error_set(error, -errno, BTH_REASON_FILE_UNWRITABLE,
                                     "its folder cannot be opened: %s", bth_strerror(-errno));
        r = upl_state_open(folder, basename(for_name), identity, &u->env.state, error);
        if (r == -ESTALE)
                bth_error_advise(error, "name another file: this one is of other logs, or of "
                                        "another account");
        return r;
}

static uint64_t total_bytes(const struct ctl_repair *repair)
{
        uint64_t total = 0;

        for (size_t i = 0; i < repair->n; i++)
                if (repair->entries[i].state == CTL_ORIGINAL_FOUND && repair->entries[i].has_length)
                        total += repair->entries[i].length_bytes;
        return total;
}

int ctl_repair_upload(const struct ctl_repair_upload *o, struct bth_error *error)
{
        struct upload u = { .o = o, .env = { .client = o->account->client } };
        const struct upl_engine_options engine = {
                .env = &u.env,
                .threads = BLOBS_AT_ONCE,
                .next = next,
                .ended = ended,
                .dropped = dropped,
                .userdata = &u,
        };
        int r = open_state(&u, error);

        u.env.stop = &u.stop;
        if (r == 0)
                r = upl_budget_new(BUDGET_BYTES, &u.env.budget);
        if (r == 0)
                r = upl_hasher_new(&u.env.hasher);
        if (r == 0)
                r = ctl_progress_new("uploading", total_bytes(o->repair), o->quiet, &u.progress);
        if (r == 0)
                r = upl_engine_run(&engine);
        (void)ctl_progress_free(u.progress);
        (void)upl_state_free(u.env.state);
        (void)upl_hasher_free(u.env.hasher);
        (void)upl_budget_free(u.env.budget);
        return r;
}
