/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-preview-export - what a blob list selects in an account, and how many drives it fills.
 * Nothing is downloaded. The service's own way of packing was never published; here each blob goes
 * onto the first drive with room, large ones first, with what NTFS and the manifest take added.
 * Source: import-export specification 7.8, 8.4. */
#include <inttypes.h>
#include <string.h>

#include "base/io.h"
#include "base/str.h"
#include "ctl/arena.h"
#include "ctl/prep-account.h"
#include "ctl/prep-distribute.h"
#include "ctl/prep.h"
#include "media/bloblist.h"
#include "media/naming.h"

#define DRIVES_OF_A_JOB_MAX 10
#define DRIVES_MAX          100000u
#define BLOBS_MAX           ((size_t)100000000)
#define DRIVE_MIN_BYTES     (UINT64_C(1) << 30)
#define DRIVE_FIXED_BYTES   (UINT64_C(384) << 20) /* partitions, log, BitLocker's areas */
#define DRIVE_SHARE         32768 /* the bitmap: a bit for each cluster of 4096 bytes */

/* The blocks of the service's export manifests. */
static const struct ctl_cost block_cost = { .block_bytes = UINT64_C(4) << 20 };

struct chosen {
        const char *name, *snapshot; /* "container/name"; snapshot NULL: the blob itself */
        uint64_t length_bytes;
        bool archived;
};

struct preview {
        struct ctl_context *context;
        struct ctl_findings findings;
        struct med_findings to;
        struct ctl_account *account;
        struct ctl_arena *arena;
        struct chosen *chosen;
        size_t n, allocated;
        const struct med_selector *selector; /* under way */
        struct bth_error *error;
        uint64_t n_unique, n_duplicate, n_missing; /* selectors */
        uint64_t n_overlaps;                       /* blobs that two selectors choose */
        uint64_t n_cannot;
};

/* ---- choosing ---- */

static int choose(struct preview *p, const char *container, const char *name, const char *snapshot,
                  uint64_t length_bytes, bool archived)
{
        const size_t container_n = strlen(container), name_n = strlen(name);
        _cleanup_free_ char *path = malloc(container_n + 1 + name_n + 1);
        struct chosen *c;

        if (p->n == BLOBS_MAX)
                return bth_error_set(p->error, -E2BIG, BTH_REASON_LIMIT_EXCEEDED,
                                     "the list selects more than %zu blobs", BLOBS_MAX);
        if (p->n == p->allocated) {
                const size_t want = p->allocated * 2 + 1024;
                struct chosen *grown = reallocarray(p->chosen, want, sizeof *grown);

                if (!grown)
                        return -ENOMEM;
                p->chosen = grown;
                p->allocated = want;
        }
        if (!path)
                return -ENOMEM;
        memcpy(path, container, container_n);
        path[container_n] = '/';
        memcpy(path + container_n + 1, name, name_n + 1);
        c = &p->chosen[p->n];
        *c = (struct chosen){ .length_bytes = length_bytes, .archived = archived };
        c->name = ctl_arena_string(p->arena, path, container_n + 1 + name_n);
        if (snapshot)
                c->snapshot = ctl_arena_string(p->arena, snapshot, strlen(snapshot));
        if (!c->name || (snapshot && !c->snapshot))
                return -ENOMEM;
        p->n++;
        return 0;
}

static int take_matching(void *userdata, const char *container, const struct upl_blob_item *blob)
{
        struct preview *p = userdata;

        if (!med_selector_matches(p->selector, container, blob->name, blob->snapshot))
                return 0;
        return choose(p, container, blob->name, blob->snapshot, blob->length_bytes, blob->archived);
}

static int list_container(struct preview *p, const char *container, const char *prefix)
{
        int r = ctl_account_blobs(p->account, container, prefix, true, take_matching, p, p->error);

        return r == -ENOENT ? 0 : r; /* no such container: nothing is selected */
}

static int list_whole_container(void *userdata, const char *container)
{
        return list_container(userdata, container, NULL);
}

/* One blob by its name, alone or with its snapshots. */
static int choose_blob(struct preview *p)
{
        const struct med_selector *s = p->selector;
        _cleanup_free_ char *container = NULL, *name = NULL;
        struct ctl_blob_look look;
        int r = med_blob_path_split(s->path, &container, &name);

        if (r < 0)
                return r == -EINVAL ? 0 : r;
        if (!s->snapshot && !s->no_snapshots)
                return list_container(p, container, name);
        r = ctl_account_look(p->account, container, name, s->snapshot, &look, p->error);
        if (r == -ENOENT)
                return 0;
        return r < 0 ? r
                     : choose(p, container, name, s->snapshot, look.length_bytes, look.archived);
}

/* "/", "/book", "/book/", "/book/dra": what follows the second slash is within one container. */
static int choose_prefix(struct preview *p)
{
        const char *path = p->selector->path + (p->selector->path[0] == '/');
        const char *slash = strchr(path, '/');
        _cleanup_free_ char *container = NULL;

        if (!slash)
                return ctl_account_containers(p->account, path[0] ? path : NULL,
                                              list_whole_container, p, p->error);
        container = strndup(path, (size_t)(slash - path));
        return container ? list_container(p, container, slash[1] ? slash + 1 : NULL) : -ENOMEM;
}

/* The list is sorted: is this the same as the one before it? */
static bool is_repeated(const struct med_bloblist *l, size_t i)
{
        const struct med_selector *a = &l->selectors[i], *b = &l->selectors[i > 0 ? i - 1 : 0];

        return i > 0 && a->kind == b->kind && strcmp(a->path, b->path) == 0 &&
               bth_streq(a->snapshot, b->snapshot) && a->no_snapshots == b->no_snapshots;
}

static int by_selector(const void *pa, const void *pb)
{
        const struct med_selector *a = pa, *b = pb;
        int r = a->kind < b->kind ? -1 : a->kind > b->kind;

        if (r == 0)
                r = strcmp(a->path, b->path);
        if (r == 0)
                r = strcmp(a->snapshot ? a->snapshot : "", b->snapshot ? b->snapshot : "");
        if (r == 0)
                r = a->no_snapshots < b->no_snapshots ? -1 : a->no_snapshots > b->no_snapshots;
        return r != 0 ? r : a->line < b->line ? -1 : a->line > b->line;
}

static int choose_one(struct preview *p, const struct med_selector *s)
{
        const size_t before = p->n;
        int r;

        p->selector = s;
        p->n_unique++;
        if (s->kind != MED_SELECT_BLOB && s->kind != MED_SELECT_BLOB_PREFIX) {
                med_find(&p->to, MED_SEVERITY_ERROR, "azure-files", s->line, NULL,
                         "take it out; Import/Export exports blobs only",
                         "'%s' is in Azure Files, which cannot be exported", s->path);
                return 0;
        }
        r = s->kind == MED_SELECT_BLOB ? choose_blob(p) : choose_prefix(p);
        if (r == 0 && p->n == before) {
                p->n_missing++;
                med_find(&p->to, MED_SEVERITY_ERROR, "selects-nothing", s->line, NULL,
                         "correct the name, or take it out", "'%s' selects no blob", s->path);
        }
        return r;
}

static int choose_all(struct preview *p, struct med_bloblist *l)
{
        int r = 0;

        if (l->n_selectors > 0)
                qsort(l->selectors, l->n_selectors, sizeof *l->selectors, by_selector);
        for (size_t i = 0; r == 0 && i < l->n_selectors; i++) {
                if (is_repeated(l, i)) {
                        p->n_duplicate++;
                        med_find(&p->to, MED_SEVERITY_WARNING, "selector-twice",
                                 l->selectors[i].line, NULL, "take one of them out",
                                 "'%s' is there twice", l->selectors[i].path);
                } else {
                        r = choose_one(p, &l->selectors[i]);
                }
        }
        return r;
}

static int by_name(const void *pa, const void *pb)
{
        const struct chosen *a = pa, *b = pb;
        int r = strcmp(a->name, b->name);

        return r != 0 ? r : strcmp(a->snapshot ? a->snapshot : "", b->snapshot ? b->snapshot : "");
}

/* A blob that several selectors choose is exported once. */
static void drop_doubles(struct preview *p)
{
        size_t n = 0;

        if (p->n > 0)
                qsort(p->chosen, p->n, sizeof *p->chosen, by_name);
        for (size_t i = 0; i < p->n; i++)
                if (n > 0 && by_name(&p->chosen[n - 1], &p->chosen[i]) == 0)
                        p->n_overlaps++;
                else
                        p->chosen[n++] = p->chosen[i];
        p->n = n;
}

/* ---- packing ---- */

static void refuse(struct preview *p, const struct chosen *c, const char *name, const char *advice,
                   const char *why)
{
        p->n_cannot++;
        med_find(&p->to, MED_SEVERITY_ERROR, name, 0, c->name, advice, "it %s", why);
}

static int make_items(struct preview *p, uint64_t room_bytes, struct ctl_items *items)
{
        items->items = calloc(MAX(p->n, (size_t)1), sizeof *items->items);
        if (!items->items)
                return -ENOMEM;
        for (size_t i = 0; i < p->n; i++) {
                const struct chosen *c = &p->chosen[i];
                struct ctl_item *item = &items->items[items->n_items];

                *item = (struct ctl_item){ .blob_path = c->name,
                                           .file_path = c->name,
                                           .size_bytes = c->length_bytes };
                if (c->archived)
                        refuse(p, c, "blob-archived", "rehydrate it before the export",
                               "is in the archive tier");
                else if (ctl_item_cost(item, &block_cost) > room_bytes)
                        refuse(p, c, "blob-too-large", "use larger drives",
                               "does not fit on one drive");
                else {
                        items->total_bytes += c->length_bytes;
                        items->n_items++;
                }
        }
        return 0;
}

/* Distributes until all have a place; the number that is foretold is nearly always enough. */
static int pack(struct ctl_items *items, uint64_t room_bytes, struct ctl_target **ret_targets,
                size_t *ret_n)
{
        _cleanup_free_ struct ctl_target *targets = NULL;
        struct ctl_distribution d = { .n_more_drives = items->n_items > 0 };
        size_t n = 0;

        while (d.n_more_drives > 0) {
                struct ctl_target *grown;
                int r;

                if (d.n_more_drives > DRIVES_MAX - n)
                        return -E2BIG;
                n += d.n_more_drives;
                grown = reallocarray(targets, n, sizeof *targets);
                if (!grown)
                        return -ENOMEM;
                targets = grown;
                for (size_t i = 0; i < n; i++)
                        targets[i] = (struct ctl_target){ .free_bytes = room_bytes };
                r = ctl_distribute(items, &block_cost, targets, n, &d);
                if (r < 0)
                        return r;
        }
        while (n > 0 && targets[n - 1].n_items == 0)
                n--;
        *ret_targets = take_ptr(targets);
        *ret_n = n;
        return 0;
}

static void report(struct preview *p, const struct ctl_items *items, uint64_t drive_bytes,
                   const struct ctl_target *targets, size_t n_targets)
{
        json_t *drives = json_array();
        char size[32];

        ctl_say(p->context,
                "paths and prefixes: %" PRIu64 " unique, %" PRIu64 " duplicate, %" PRIu64
                " select nothing",
                p->n_unique, p->n_duplicate, p->n_missing);
        ctl_say(p->context, "blobs that can be exported: %zu (%s); that cannot: %" PRIu64,
                items->n_items, ctl_bytes_text(items->total_bytes, size), p->n_cannot);
        if (p->n_overlaps > 0)
                ctl_say(p->context, "chosen more than once, exported once: %" PRIu64,
                        p->n_overlaps);
        ctl_say(p->context, "drives of %s needed: %zu", ctl_bytes_text(drive_bytes, size),
                n_targets);
        for (size_t i = 0; i < n_targets; i++) {
                ctl_say(p->context, "  drive %zu: %zu blobs, %.2f GB", i + 1, targets[i].n_items,
                        (double)targets[i].used_bytes / 1e9);
                (void)json_array_append_new(
                        drives, json_pack("{s:I, s:o}", "blobs", (json_int_t)targets[i].n_items,
                                          "usedBytes", ctl_json_bytes(targets[i].used_bytes)));
        }
        ctl_report(p->context, "selectors",
                   json_pack("{s:I, s:I, s:I}", "unique", (json_int_t)p->n_unique, "duplicate",
                             (json_int_t)p->n_duplicate, "missing", (json_int_t)p->n_missing));
        ctl_report(p->context, "blobs",
                   json_pack("{s:I, s:I, s:I, s:o}", "exportable", (json_int_t)items->n_items,
                             "notExportable", (json_int_t)p->n_cannot, "chosenTwice",
                             (json_int_t)p->n_overlaps, "bytes",
                             ctl_json_bytes(items->total_bytes)));
        ctl_report(p->context, "driveSizeBytes", ctl_json_bytes(drive_bytes));
        ctl_report(p->context, "drives", drives);
}

static int plan(struct preview *p, uint64_t drive_bytes)
{
        const uint64_t room = drive_bytes - DRIVE_FIXED_BYTES - drive_bytes / DRIVE_SHARE;
        _cleanup_free_ struct ctl_target *targets = NULL;
        struct ctl_items items = { 0 };
        size_t n_targets = 0;
        int r = make_items(p, room, &items);

        if (r == 0)
                r = pack(&items, room, &targets, &n_targets);
        if (r == -E2BIG)
                (void)bth_error_set(p->error, r, BTH_REASON_LIMIT_EXCEEDED,
                                    "more than %u drives would be needed", DRIVES_MAX);
        if (r == 0 && n_targets > DRIVES_OF_A_JOB_MAX)
                med_find(&p->to, MED_SEVERITY_WARNING, "too-many-drives", 0, NULL,
                         "split the list into several jobs, or use larger drives",
                         "a job has at most %d drives, not %zu", DRIVES_OF_A_JOB_MAX, n_targets);
        if (r == 0)
                report(p, &items, drive_bytes, targets, n_targets);
        free(items.items);
        return r;
}

/* ---- the verb ---- */

static int load_list(struct preview *p, const char *path, struct med_bloblist **ret_list)
{
        _cleanup_free_ char *text = NULL;
        size_t n;
        int r = bth_read_file(path, MED_BLOBLIST_MAX_BYTES, &text, &n);

        bth_error_at(p->error, path, 0, BTH_ERROR_NO_OFFSET);
        if (r < 0)
                return bth_error_set(p->error, r, BTH_REASON_FILE_UNREADABLE,
                                     "it cannot be read: %s", bth_strerror(r));
        return med_bloblist_parse(text, n, &p->to, ret_list, p->error);
}

static int preview(struct preview *p, const char *list, const struct ctl_account_options *account,
                   uint64_t drive_bytes)
{
        _cleanup_(med_bloblist_freep) struct med_bloblist *l = NULL;
        int r = load_list(p, list, &l);

        if (r < 0)
                return r;
        *p->error = BTH_ERROR_INIT;
        r = ctl_account_open(account, &p->account, p->error);
        if (r == 0)
                r = ctl_arena_new(&p->arena);
        if (r == 0)
                r = choose_all(p, l);
        if (r < 0)
                return r;
        drop_doubles(p);
        return plan(p, drive_bytes);
}

static int parse_drive_size(const char *value, void *userdata)
{
        uint64_t *bytes = userdata;
        int r = bth_parse_size(value, bytes);

        return r < 0 ? r : *bytes < DRIVE_MIN_BYTES ? -ERANGE : 0;
}

static enum ctl_exit run(struct ctl_context *c, int argc, char **argv)
{
        struct ctl_account_options account = { 0 };
        uint64_t drive_bytes = 0;
        const char *list = NULL;
        const struct ctl_option options[] = {
                { "blob-list", "FILE", "the XML list of blobs and prefixes to export",
                  .text = &list },
                { "drive-size", "SIZE", "of each drive, decimal: 500GB, 1.5TB",
                  .parse = parse_drive_size, .userdata = &drive_bytes },
                CTL_ACCOUNT_OPTIONS(&account),
        };
        struct bth_error error = BTH_ERROR_INIT;
        struct preview p = { .context = c, .findings = { .context = c }, .error = &error };
        char **words;
        int n, r = bth_process_forbid_dumps();

        if (r == 0)
                r = ctl_parse_options(c, options, ARRAY_SIZE(options), argc, argv, 0, 0, &words,
                                      &n);
        if (r != 0)
                return r > 0 ? CTL_EXIT_OK : CTL_EXIT_USAGE;
        if (!list || drive_bytes == 0)
                return ctl_usage(c, "--blob-list and --drive-size are needed");
        p.to = (struct med_findings){ ctl_findings_take, &p.findings, list };
        r = preview(&p, list, &account, drive_bytes);
        (void)ctl_account_close(p.account);
        (void)ctl_arena_free(p.arena);
        free(p.chosen);
        return r < 0                     ? ctl_end_failed(c, r, &error)
               : p.findings.n_errors > 0 ? CTL_EXIT_FINDINGS
                                         : CTL_EXIT_OK;
}

const struct ctl_verb ctl_prep_preview_export = {
        .name = "preview-export",
        .arguments = "",
        .summary = "Tells how many drives an export needs.",
        .details = "Looks up in the account what a blob list selects, tells what selects nothing "
                   "or cannot be\n"
                   "exported, and packs the rest onto drives of the given size. Nothing is "
                   "downloaded.",
        .run = run,
};
