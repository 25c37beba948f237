/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-repair-import - what an import could not copy, by its copy logs: written as a data set that
 * another drive can be prepared from, or uploaded directly.
 * Source: import-export specification 4.2, 8.3. */
#include <string.h>

#include "base/io.h"
#include "base/str.h"
#include "ctl/prep-repair-upload.h"
#include "ctl/prep.h"
#include "media/dataset.h"

#define FOLDERS_MAX 64

struct repair_options {
        struct ctl_account_options account;
        const char *folders[FOLDERS_MAX];
        size_t n_folders;
        const char *path_map, *dataset, *state;
};

struct repair {
        struct ctl_context *context;
        const struct repair_options *o;
        struct ctl_findings findings;
        struct med_findings to;
        struct ctl_repair *repair;
        struct ctl_account *account;
        struct bth_error *error;
        json_t *list;
        size_t n_repaired;
};

/* ---- findings ---- */

static void find_missing(struct repair *p)
{
        for (size_t i = 0; i < p->repair->n; i++) {
                const struct ctl_repair_entry *e = &p->repair->entries[i];
                char name[64];

                if (e->azure_file) {
                        med_find(&p->to, MED_SEVERITY_ERROR, "azure-files", e->line, e->blob_path,
                                 "copy it to the share with another tool",
                                 "it belongs to Azure Files, which cannot be repaired here");
                } else if (e->state != CTL_ORIGINAL_FOUND) {
                        (void)snprintf(name, sizeof name, "original-%s",
                                       ctl_original_to_string(e->state));
                        med_find(&p->to, MED_SEVERITY_ERROR, name, e->line, e->blob_path,
                                 p->o->path_map ? "complete its line in the path map, and run again"
                                                : "name its folder, or use --path-map",
                                 "%s (%s on the drive)", ctl_original_sentence(e->state),
                                 e->drive_path);
                }
                if (e->state == CTL_ORIGINAL_FOUND &&
                    ((e->metadata.drive_path && !e->metadata.original) ||
                     (e->properties.drive_path && !e->properties.original)))
                        med_find(&p->to, MED_SEVERITY_WARNING, "sidecar-missing", e->line,
                                 e->blob_path, "name its folder, or use --path-map",
                                 "its metadata or properties file was not found; the blob gets "
                                 "none");
        }
}

static void report_entry(struct repair *p, const struct ctl_repair_entry *e, const char *outcome,
                         const char *name)
{
        (void)json_array_append_new(
                p->list, json_pack("{s:s, s:s, s:s, s:s, s:s*, s:s, s:s*}", "blob", e->blob_path,
                                   "failedWith", e->status, "pathOnDrive", e->drive_path, "state",
                                   ctl_original_to_string(e->state), "original", e->original,
                                   "outcome", outcome, "newName", name));
}

static bool can_repair(const struct ctl_repair_entry *e)
{
        return e->state == CTL_ORIGINAL_FOUND && !e->azure_file;
}

/* ---- as a data set ---- */

static int write_dataset(struct repair *p)
{
        struct med_dataset d = { .generation = MED_DATASET_A };
        _cleanup_buf_ struct bth_buf text = BTH_BUF_INIT;
        int r;

        d.rows = calloc(MAX(p->repair->n, (size_t)1), sizeof *d.rows);
        if (!d.rows)
                return -ENOMEM;
        for (size_t i = 0; i < p->repair->n; i++) {
                const struct ctl_repair_entry *e = &p->repair->entries[i];

                if (!can_repair(e)) {
                        report_entry(p, e, "not repaired", NULL);
                        continue;
                }
                report_entry(p, e, "in the data set", NULL);
                d.rows[d.n_rows++] = (struct med_dataset_row){
                        .base_path = e->original,
                        .destination = e->blob_path,
                        .kind = e->page ? MED_ITEM_PAGE : MED_ITEM_BLOCK,
                        .has_disposition = true,
                        .disposition =
                                e->has_disposition ? e->disposition : BTH_DISPOSITION_OVERWRITE,
                        .metadata_file = e->metadata.original,
                        .properties_file = e->properties.original,
                };
        }
        p->n_repaired = d.n_rows;
        r = med_dataset_write(&text, &d);
        free(d.rows);
        if (r == 0 && !p->context->dry_run)
                r = bth_write_file_atomic(p->o->dataset, text.data, text.length, 0644);
        if (r < 0) {
                bth_error_at(p->error, p->o->dataset, 0, BTH_ERROR_NO_OFFSET);
                return bth_error_set(p->error, r, BTH_REASON_FILE_UNWRITABLE,
                                     "the data set cannot be written: %s", bth_strerror(r));
        }
        ctl_say(p->context, "%s: %zu files to prepare again, of %zu that failed", p->o->dataset,
                p->n_repaired, p->repair->n);
        return 0;
}

/* ---- directly ---- */

static void blob_ended(void *userdata, const struct ctl_repair_entry *e,
                       enum bth_blob_status status, enum bth_disposition_status disposition,
                       const char *name, const struct bth_error *error)
{
        struct repair *p = userdata;

        report_entry(p, e,
                     status == BTH_BLOB_STATUS_COMPLETED
                             ? bth_disposition_status_to_string(disposition)
                             : bth_blob_status_to_string(status),
                     name);
        if (status == BTH_BLOB_STATUS_COMPLETED)
                p->n_repaired++;
        else
                med_find(&p->to, MED_SEVERITY_ERROR, "upload-failed", e->line, e->blob_path,
                         bth_error_advice(error), "%s: %s", bth_blob_status_to_string(status),
                         error->sentence);
}

static int upload(struct repair *p)
{
        struct ctl_repair_upload o = {
                .repair = p->repair,
                .state_path = p->o->state,
                .account_url = p->o->account.url,
                .quiet = p->context->quiet || p->context->json,
                .ended = blob_ended,
                .userdata = p,
        };
        int r = ctl_account_open(&p->o->account, &p->account, p->error);

        o.account = p->account;
        for (size_t i = 0; i < p->repair->n; i++)
                if (!can_repair(&p->repair->entries[i]))
                        report_entry(p, &p->repair->entries[i], "not repaired", NULL);
                else if (r == 0 && p->context->dry_run)
                        report_entry(p, &p->repair->entries[i], "would be uploaded", NULL);
        if (r == 0 && !p->context->dry_run)
                r = ctl_repair_upload(&o, p->error);
        if (r == 0)
                ctl_say(p->context, "%zu blobs uploaded, of %zu that failed", p->n_repaired,
                        p->repair->n);
        return r;
}

/* ---- the verb ---- */

static int repair_all(struct repair *p, char **logs, int n)
{
        int r = ctl_repair_new(&p->repair);

        for (int i = 0; r == 0 && i < n; i++) {
                p->to.object = logs[i];
                r = ctl_repair_read_log(p->repair, logs[i], &p->to, p->error);
        }
        if (r == 0)
                r = ctl_repair_find(p->repair, p->o->folders, p->o->n_folders, p->o->path_map,
                                    p->error);
        if (r < 0)
                return r;
        *p->error = BTH_ERROR_INIT;
        find_missing(p);
        r = p->o->dataset ? write_dataset(p) : upload(p);
        if (r == 0 && p->o->path_map && !p->context->dry_run && p->findings.n_errors > 0)
                r = ctl_repair_write_map(p->repair, p->o->path_map, p->error);
        ctl_report(p->context, "failed", json_integer((json_int_t)p->repair->n));
        ctl_report(p->context, "repaired", json_integer((json_int_t)p->n_repaired));
        return r;
}

static int add_folder(const char *value, void *userdata)
{
        struct repair_options *o = userdata;

        if (o->n_folders == FOLDERS_MAX)
                return -E2BIG;
        o->folders[o->n_folders++] = value;
        return 0;
}

static enum ctl_exit check_usage(const struct ctl_context *c, const struct repair_options *o)
{
        if (o->n_folders == 0 && !o->path_map)
                return ctl_usage(c, "--source-dir or --path-map is needed");
        if (!o->dataset == !o->account.url)
                return ctl_usage(c, "one of --dataset and --account-url is needed");
        if (o->account.url && !o->state)
                return ctl_usage(c, "an upload needs --repair-file, to go on when it is cut off");
        return CTL_EXIT_OK;
}

static enum ctl_exit run(struct ctl_context *c, int argc, char **argv)
{
        struct repair_options o = { 0 };
        const struct ctl_option options[] = {
                { "source-dir", "DIR", "a folder that holds originals; may be given several times",
                  .parse = add_folder, .userdata = &o },
                { "path-map", "FILE", "where originals are; what is not found is added",
                  .text = &o.path_map },
                { "dataset", "OUT.csv", "write a data set to prepare another drive from",
                  .text = &o.dataset },
                { "repair-file", "FILE", "state of the upload; the same file resumes it",
                  .text = &o.state },
                CTL_ACCOUNT_OPTIONS(&o.account),
        };
        struct bth_error error = BTH_ERROR_INIT;
        struct repair p = { .context = c, .o = &o, .findings = { .context = c }, .error = &error };
        char **words;
        int n, r = bth_process_forbid_dumps();

        if (r == 0)
                r = ctl_parse_options(c, options, ARRAY_SIZE(options), argc, argv, 1, 1000, &words,
                                      &n);
        if (r != 0)
                return r > 0 ? CTL_EXIT_OK : CTL_EXIT_USAGE;
        if (check_usage(c, &o) != CTL_EXIT_OK)
                return CTL_EXIT_USAGE;
        p.to = (struct med_findings){ ctl_findings_take, &p.findings, words[0] };
        p.list = json_array();
        ctl_report(c, "blobs", p.list);
        r = repair_all(&p, words, n);
        (void)ctl_account_close(p.account);
        (void)ctl_repair_free(p.repair);
        return r < 0                     ? ctl_end_failed(c, r, &error)
               : p.findings.n_errors > 0 ? CTL_EXIT_FINDINGS
                                         : CTL_EXIT_OK;
}

const struct ctl_verb ctl_prep_repair_import = {
        .name = "repair-import",
        .arguments = "COPY-LOG…",
        .summary = "Repairs what an import could not copy, by its copy logs.",
        .details = "Looks for the original of each entry that failed, and verifies it. With "
                   "--dataset it\n"
                   "writes a data set to prepare another drive from; with --account-url it uploads "
                   "directly.",
        .run = run,
};
