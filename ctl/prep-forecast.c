/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-forecast - which blobs of a data set or manifest exist in the account already, and what the
 * disposition would do about each. The service replaces or renames without asking, so it is better
 * to know before a drive is shipped.
 *
 *     file ─► targets ─► sorted by container ─► few: looked at one by one; many: container listed
 *
 * Source: import-export specification 2.5, 4.2, 4.3, 10 (row 18). */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/io.h"
#include "base/str.h"
#include "ctl/arena.h"
#include "ctl/prep-account.h"
#include "ctl/prep-source.h"
#include "ctl/prep.h"
#include "media/dataset.h"
#include "media/manifest.h"
#include "uploader/transfer.h"

#define LOOKS_MAX   64u /* so many requests are cheaper than listing a container */
#define SHOWN_MAX   1000u
#define SNIFF_BYTES 64u

struct target {
        const char *path; /* "container/name"; of the arena */
        uint64_t order;   /* in the file */
        uint64_t length_bytes;
        enum bth_disposition disposition;
        bool exists;
        uint64_t existing_bytes;
};

struct forecast {
        struct ctl_context *context;
        struct ctl_findings findings;
        struct med_findings to;
        struct ctl_account *account;
        struct ctl_arena *arena;
        struct target *targets;
        size_t n, allocated;
        enum bth_disposition fallback; /* where the file says nothing */
        struct bth_error *error;
        uint64_t counts[_BTH_DISPOSITION_STATUS_MAX];
        json_t *list;
        size_t n_shown;
        struct med_seen *renamed; /* names that renames of this run take */
};

/* ---- what is to be imported ---- */

static int add_target(struct forecast *f, const char *path, uint64_t length_bytes,
                      enum bth_disposition disposition)
{
        struct target *t;

        if (f->n == f->allocated) {
                const size_t want = f->allocated * 2 + 1024;
                struct target *grown = reallocarray(f->targets, want, sizeof *grown);

                if (!grown)
                        return -ENOMEM;
                f->targets = grown;
                f->allocated = want;
        }
        path += path[0] == '/';
        t = &f->targets[f->n];
        *t = (struct target){ .path = ctl_arena_string(f->arena, path, strlen(path)),
                              .order = f->n,
                              .length_bytes = length_bytes,
                              .disposition = disposition };
        f->n++;
        return t->path ? 0 : -ENOMEM;
}

static void take_note(void *userdata, const char *source_path, const char *sentence)
{
        struct forecast *f = userdata;

        med_find(&f->to, MED_SEVERITY_WARNING, "not-copied", 0, NULL, "", "%s: %s", source_path,
                 sentence);
}

static int rows_of(const struct med_dataset *d, struct ctl_source_row **ret_rows,
                   struct bth_error *error)
{
        struct ctl_source_row *rows = calloc(MAX(d->n_rows, (size_t)1), sizeof *rows);

        if (!rows)
                return -ENOMEM;
        for (size_t i = 0; i < d->n_rows; i++) {
                const struct med_dataset_row *row = &d->rows[i];

                if (row->kind == MED_ITEM_FILE) {
                        free(rows);
                        bth_error_at(error, NULL, row->line, BTH_ERROR_NO_OFFSET);
                        return bth_error_set(error, -EOPNOTSUPP, BTH_REASON_UNSUPPORTED,
                                             "this row is for Azure Files, not for blobs");
                }
                rows[i] = (struct ctl_source_row){
                        .base_path = row->base_path,
                        .destination = row->destination,
                        .kind = row->kind == MED_ITEM_BLOCK  ? CTL_BLOB_BLOCK
                                : row->kind == MED_ITEM_PAGE ? CTL_BLOB_PAGE
                                                             : CTL_BLOB_AUTO,
                        .line = row->line,
                };
        }
        *ret_rows = rows;
        return 0;
}

static int read_dataset(struct forecast *f, const char *path)
{
        _cleanup_(med_dataset_freep) struct med_dataset *d = NULL;
        _cleanup_free_ struct ctl_source_row *rows = NULL;
        _cleanup_free_ char *text = NULL;
        struct ctl_items items = { 0 };
        size_t n;
        int r = bth_read_file(path, MED_CSV_MAX_BYTES, &text, &n);

        if (r == 0)
                r = med_dataset_parse(text, n, &f->to, &d, f->error);
        if (r == 0 && d->n_errors > 0)
                r = bth_error_set(f->error, -EBADMSG, BTH_REASON_SYNTAX,
                                  "the data set has %u errors", d->n_errors);
        if (r == 0)
                r = rows_of(d, &rows, f->error);
        if (r == 0)
                r = ctl_items_collect(rows, d->n_rows, "forecast", take_note, f, &items, f->error);
        for (size_t i = 0; r == 0 && i < items.n_items; i++) {
                const struct ctl_item *item = &items.items[i];
                const struct med_dataset_row *row = &d->rows[item->row];

                r = add_target(f, item->blob_path, item->size_bytes,
                               row->has_disposition ? row->disposition : f->fallback);
        }
        ctl_items_clear(&items);
        return r;
}

static int read_manifest(struct forecast *f, const char *path)
{
        _cleanup_(med_manifest_reader_freep) struct med_manifest_reader *reader = NULL;
        _cleanup_(bth_source_freep) struct bth_source *source = NULL;
        const struct med_manifest_options reading = { .object = path,
                                                      .direction = MED_MANIFEST_IMPORT,
                                                      .default_disposition = f->fallback,
                                                      .findings = &f->to };
        const struct med_manifest_blob *blob;
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        int r = fd < 0 ? -errno : bth_source_new_fd(fd, true, &source);

        if (r == 0)
                r = med_manifest_reader_new(source, &reading, NULL, &reader);
        while (r == 0 && (r = med_manifest_next(reader, &blob, f->error)) > 0)
                r = blob->n_errors > 0 || blob->azure_file
                            ? 0
                            : add_target(f, blob->blob_path, blob->length_bytes,
                                         blob->disposition_given ? blob->disposition : f->fallback);
        return r;
}

/* A manifest begins with '<', whatever its name. */
static int read_file(struct forecast *f, const char *path)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        char start[SNIFF_BYTES + 1] = "";
        const char *at = start;
        ssize_t n = fd < 0 ? -1 : pread(fd, start, SNIFF_BYTES, 0);

        bth_error_at(f->error, path, 0, BTH_ERROR_NO_OFFSET);
        if (n < 0)
                return bth_error_set(f->error, -errno, BTH_REASON_FILE_UNREADABLE,
                                     "it cannot be read: %s", bth_strerror(-errno));
        at += memcmp(start, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        at += strspn(at, " \t\r\n");
        return *at == '<' ? read_manifest(f, path) : read_dataset(f, path);
}

/* ---- what is there ---- */

static int by_path(const void *pa, const void *pb)
{
        const struct target *a = pa, *b = pb;
        int r = strcmp(a->path, b->path);

        return r != 0 ? r : a->order < b->order ? -1 : a->order > b->order;
}

/* The first target of this path, or NULL. */
static struct target *find_target(const struct forecast *f, const char *path)
{
        size_t low = 0, high = f->n;

        while (low < high) {
                const size_t middle = low + (high - low) / 2;

                if (strcmp(f->targets[middle].path, path) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < f->n && strcmp(f->targets[low].path, path) == 0 ? &f->targets[low] : NULL;
}

static void mark(struct forecast *f, struct target *t, uint64_t existing_bytes)
{
        for (const char *path = t->path; t < f->targets + f->n && strcmp(t->path, path) == 0; t++) {
                t->exists = true;
                t->existing_bytes = existing_bytes;
        }
}

static char *join(const char *container, const char *name)
{
        char *path;

        return asprintf(&path, "%s/%s", container, name) < 0 ? NULL : path;
}

static int take_listed(void *userdata, const char *container, const struct upl_blob_item *blob)
{
        struct forecast *f = userdata;
        _cleanup_free_ char *path = join(container, blob->name);
        struct target *t = path ? find_target(f, path) : NULL;

        if (t)
                mark(f, t, blob->length_bytes);
        return path ? 0 : -ENOMEM;
}

/* Does a blob of this path exist? Returns 1, 0 or a negative errno. */
static int look(struct forecast *f, const char *path, uint64_t *ret_bytes)
{
        _cleanup_free_ char *container = NULL, *name = NULL;
        struct ctl_blob_look found;
        int r = med_blob_path_split(path, &container, &name);

        if (r == 0)
                r = ctl_account_look(f->account, container, name, NULL, &found, f->error);
        if (r == -ENOENT) {
                *f->error = BTH_ERROR_INIT;
                return 0;
        }
        if (r == 0)
                *ret_bytes = found.length_bytes;
        return r < 0 ? r : 1;
}

static size_t common_prefix(const char *a, const char *b)
{
        size_t n = 0;

        while (a[n] && a[n] == b[n])
                n++;
        while (n > 0 && (a[n] & 0xc0) == 0x80)
                n--; /* not within a character */
        return n;
}

/* Targets [from, to) are in one container; being sorted, first and last share what all share. */
static int look_at_container(struct forecast *f, size_t from, size_t to)
{
        const char *path = f->targets[from].path;
        const size_t container_n = strcspn(path, "/");
        _cleanup_free_ char *container = strndup(path, container_n), *prefix = NULL;
        uint64_t bytes = 0;
        int r = 0;

        for (size_t i = from; to - from <= LOOKS_MAX && i < to; i++) {
                r = look(f, f->targets[i].path, &bytes);
                if (r < 0)
                        return r;
                if (r > 0)
                        mark(f, &f->targets[i], bytes);
        }
        if (to - from <= LOOKS_MAX)
                return 0;
        prefix = strndup(path, common_prefix(path, f->targets[to - 1].path));
        if (!container || !prefix)
                return -ENOMEM;
        r = ctl_account_blobs(f->account, container,
                              strlen(prefix) > container_n + 1 ? prefix + container_n + 1 : NULL,
                              false, take_listed, f, f->error);
        if (r == -ENOENT) {
                *f->error = BTH_ERROR_INIT;
                r = 0; /* the import makes the container */
        }
        return r;
}

static int look_at_all(struct forecast *f)
{
        int r = 0;

        if (f->n > 0)
                qsort(f->targets, f->n, sizeof *f->targets, by_path);
        for (size_t from = 0, to; r == 0 && from < f->n; from = to) {
                const char *path = f->targets[from].path;
                const size_t n = strcspn(path, "/") + 1;

                for (to = from + 1; to < f->n && strncmp(f->targets[to].path, path, n) == 0;)
                        to++;
                r = look_at_container(f, from, to);
        }
        return r;
}

/* ---- what would be done ---- */

/* The first name that neither the account, nor another target, nor another rename has. */
static int find_free_name(struct forecast *f, const char *path, char **ret_path)
{
        const char *slash = strchr(path, '/');

        for (unsigned n = 2; slash && n <= UPL_RENAMES_MAX; n++) {
                _cleanup_free_ char *name = NULL, *candidate = NULL;
                uint64_t bytes;
                int r = med_rename(slash + 1, n, &name);

                if (r == 0 && asprintf(&candidate, "%.*s/%s", (int)(slash - path), path, name) < 0)
                        r = -ENOMEM;
                if (r == 0 && find_target(f, candidate))
                        continue;
                if (r == 0)
                        r = look(f, candidate, &bytes);
                if (r == 0)
                        r = med_seen_add(f->renamed, candidate, strlen(candidate));
                if (r == 0)
                        *ret_path = take_ptr(candidate);
                if (r <= 0)
                        return r;
        }
        return -EEXIST;
}

static int tell(struct forecast *f, const struct target *t, bool twice)
{
        static const enum bth_disposition_status what[] = {
                [BTH_DISPOSITION_RENAME] = BTH_DISPOSITION_STATUS_RENAMED,
                [BTH_DISPOSITION_NO_OVERWRITE] = BTH_DISPOSITION_STATUS_SKIPPED,
                [BTH_DISPOSITION_OVERWRITE] = BTH_DISPOSITION_STATUS_OVERWRITTEN,
        };
        const enum bth_disposition_status s = what[t->disposition];
        _cleanup_free_ char *new_name = NULL;
        char path[600], renamed[600] = "", size[32];
        int r = 0;

        f->counts[s]++;
        if (f->n_shown++ >= SHOWN_MAX)
                return 0;
        if (s == BTH_DISPOSITION_STATUS_RENAMED)
                r = find_free_name(f, t->path, &new_name);
        if (r < 0 && r != -EEXIST)
                return r;
        bth_escape(t->path, strlen(t->path), path, sizeof path);
        if (new_name)
                bth_escape(new_name, strlen(new_name), renamed, sizeof renamed);
        ctl_say(f->context, "%-11s %s%s%s (%s%s)", bth_disposition_status_to_string(s), path,
                new_name ? " -> " : "", renamed,
                twice ? "another file of this import has the name"
                      : ctl_bytes_text(t->existing_bytes, size),
                twice ? "" : " there now");
        (void)json_array_append_new(f->list,
                                    json_pack("{s:s, s:s, s:s*, s:b, s:o}", "blob", t->path,
                                              "outcome", bth_disposition_status_to_string(s),
                                              "newName", new_name, "inAccount", t->exists,
                                              "existingBytes", ctl_json_bytes(t->existing_bytes)));
        return 0;
}

static int judge(struct forecast *f)
{
        int r = med_seen_new(&f->renamed);

        for (size_t i = 0; r == 0 && i < f->n; i++) {
                const struct target *t = &f->targets[i];
                const bool twice = i > 0 && strcmp(t[-1].path, t->path) == 0 && !t->exists;

                if (t->exists || twice)
                        r = tell(f, t, twice);
                else
                        f->counts[BTH_DISPOSITION_STATUS_CREATED]++;
        }
        return r;
}

static void report(struct forecast *f)
{
        json_t *counts = json_object();

        for (int s = 0; s <= BTH_DISPOSITION_STATUS_OVERWRITTEN; s++) {
                const char *name = bth_disposition_status_to_string((enum bth_disposition_status)s);

                ctl_say(f->context, "%-11s %" PRIu64, name, f->counts[s]);
                (void)json_object_set_new(counts, name, ctl_json_bytes(f->counts[s]));
        }
        ctl_report(f->context, "counts", counts);
        if (f->n_shown > SHOWN_MAX)
                ctl_warn(f->context, "%zu more blobs that exist are not shown",
                         f->n_shown - SHOWN_MAX);
}

/* ---- the verb ---- */

static int forecast(struct forecast *f, const char *path, const struct ctl_account_options *account)
{
        int r = ctl_account_open(account, &f->account, f->error);

        if (r == 0)
                r = ctl_arena_new(&f->arena);
        if (r == 0)
                r = read_file(f, path);
        if (r == 0)
                r = look_at_all(f);
        if (r == 0)
                r = judge(f);
        if (r == 0)
                report(f);
        return r;
}

static int parse_disposition(const char *value, void *userdata)
{
        enum bth_disposition *d = userdata;

        *d = bth_disposition_from_string(value);
        return (int)*d < 0 ? -EINVAL : 0;
}

static enum ctl_exit run(struct ctl_context *c, int argc, char **argv)
{
        struct ctl_account_options account = { 0 };
        struct bth_error error = BTH_ERROR_INIT;
        struct forecast f = {
                .context = c,
                .findings = { .context = c },
                .fallback = BTH_DISPOSITION_RENAME,
                .error = &error,
        };
        const struct ctl_option options[] = {
                { "disposition", "WORD",
                  "where the file says none: rename, no-overwrite, overwrite",
                  .parse = parse_disposition, .userdata = &f.fallback },
                CTL_ACCOUNT_OPTIONS(&account),
        };
        uint64_t n_existing;
        char **words;
        int n, r = bth_process_forbid_dumps();

        if (r == 0)
                r = ctl_parse_options(c, options, ARRAY_SIZE(options), argc, argv, 1, 1, &words,
                                      &n);
        if (r != 0)
                return r > 0 ? CTL_EXIT_OK : CTL_EXIT_USAGE;
        f.to = (struct med_findings){ ctl_findings_take, &f.findings, words[0] };
        f.list = json_array();
        ctl_report(c, "existing", f.list);
        r = forecast(&f, words[0], &account);
        n_existing = f.counts[BTH_DISPOSITION_STATUS_RENAMED] +
                     f.counts[BTH_DISPOSITION_STATUS_SKIPPED] +
                     f.counts[BTH_DISPOSITION_STATUS_OVERWRITTEN];
        (void)ctl_account_close(f.account);
        (void)ctl_arena_free(f.arena);
        (void)med_seen_free(f.renamed);
        free(f.targets);
        return r < 0                                       ? ctl_end_failed(c, r, &error)
               : n_existing > 0 || f.findings.n_errors > 0 ? CTL_EXIT_FINDINGS
                                                           : CTL_EXIT_OK;
}

const struct ctl_verb ctl_prep_forecast = {
        .name = "forecast",
        .arguments = "DATASET.csv|MANIFEST",
        .summary = "Tells which blobs exist already, and what the import would do about them.",
        .details = "Takes a dataset.csv or the manifest of a drive, and looks into the account. "
                   "Exit code 1\n"
                   "when a blob would be renamed, skipped or overwritten.",
        .run = run,
};
