/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-verify-export - is everything that the service says it exported on the drive, and whole?
 * What is not becomes a list of blobs to export or download again.
 * Source: import-export specification 2.8, 7.8. */
#include <string.h>

#include "base/io.h"
#include "ctl/prep-check.h"
#include "ctl/prep-drive.h"
#include "media/bloblist.h"

#define FAULTS_SHOWN_MAX 1000u

struct verify_options {
        struct ctl_key_options key;
        const char *manifest, *hash, *refetch;
};

struct verify {
        struct ctl_context *context;
        struct ctl_findings findings;
        struct med_findings to;
        struct med_selector *again; /* blobs with a fault, each as often as it has one */
        size_t n_again, allocated;
        json_t *ranges; /* that are bad, for tools that can fetch parts */
        uint64_t n_hidden;
        int result;
};

/* ---- what to fetch again ---- */

static int remember(struct verify *v, const char *blob_path, const char *snapshot)
{
        struct med_selector *s;

        if (v->n_again == v->allocated) {
                const size_t want = v->allocated * 2 + 64;
                struct med_selector *p = reallocarray(v->again, want, sizeof *p);

                if (!p)
                        return -ENOMEM;
                v->again = p;
                v->allocated = want;
        }
        s = &v->again[v->n_again];
        *s = (struct med_selector){ .kind = MED_SELECT_BLOB,
                                    .path = strdup(blob_path + (blob_path[0] == '/')),
                                    .no_snapshots = !snapshot,
                                    .snapshot = snapshot ? strdup(snapshot) : NULL };
        v->n_again++;
        return s->path && (s->snapshot || !snapshot) ? 0 : -ENOMEM;
}

static int by_name(const void *pa, const void *pb)
{
        const struct med_selector *a = pa, *b = pb;
        int r = strcmp(a->path, b->path);

        return r != 0 ? r : strcmp(a->snapshot ? a->snapshot : "", b->snapshot ? b->snapshot : "");
}

static void sort_again(struct verify *v)
{
        size_t n = 0;

        if (v->n_again > 0)
                qsort(v->again, v->n_again, sizeof *v->again, by_name);
        for (size_t i = 0; i < v->n_again; i++) {
                if (n > 0 && by_name(&v->again[n - 1], &v->again[i]) == 0) {
                        free(v->again[i].path);
                        free(v->again[i].snapshot);
                } else {
                        v->again[n++] = v->again[i];
                }
        }
        v->n_again = n;
}

static int write_again(struct verify *v, const char *path, struct bth_error *error)
{
        const struct med_bloblist list = { .selectors = v->again, .n_selectors = v->n_again };
        _cleanup_buf_ struct bth_buf text = BTH_BUF_INIT;
        int r = med_bloblist_write(&text, &list, false);

        if (r == 0)
                r = bth_write_file_atomic(path, text.data, text.length, 0644);
        if (r == 0)
                return 0;
        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        return bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE, "it cannot be written: %s",
                             bth_strerror(r));
}

static void report_again(struct verify *v)
{
        json_t *list = json_array();

        for (size_t i = 0; i < v->n_again; i++)
                (void)json_array_append_new(list, json_pack("{s:s, s:s*}", "blob", v->again[i].path,
                                                            "snapshot", v->again[i].snapshot));
        ctl_report(v->context, "fetchAgain", list);
}

/* ---- the check ---- */

static void take_fault(void *userdata, const struct ctl_check_fault *fault)
{
        struct verify *v = userdata;

        if (!fault->warning && fault->blob_path && v->result == 0)
                v->result = remember(v, fault->blob_path, fault->snapshot);
        if (v->findings.n_errors + v->findings.n_warnings >= FAULTS_SHOWN_MAX) {
                v->n_hidden++;
                return;
        }
        ctl_check_find(&v->to, fault, fault->warning ? "" : "fetch the blob again");
        if (fault->part == CTL_CHECK_RANGE)
                (void)json_array_append_new(
                        v->ranges, json_pack("{s:s, s:s*, s:s, s:o, s:o}", "blob", fault->blob_path,
                                             "snapshot", fault->snapshot, "file", fault->file_path,
                                             "offset", ctl_json_bytes(fault->offset_bytes),
                                             "length", ctl_json_bytes(fault->length_bytes)));
}

static int check(struct verify *v, const struct ctl_drive *d, struct bth_source *manifest,
                 const struct med_manifest_options *reading,
                 const struct med_manifest_summary *summary, struct bth_error *error)
{
        _cleanup_(ctl_progress_freep) struct ctl_progress *progress = NULL;
        struct ctl_check_options o = {
                .volume = d->drive->ntfs,
                .index = d->index,
                .manifest = manifest,
                .reading = reading,
                .summary = summary,
                .fault = take_fault,
                .userdata = v,
        };
        struct ctl_check_result result;
        char size[32];
        int r = ctl_progress_new("verifying", summary->range_bytes,
                                 v->context->quiet || v->context->json, &progress);

        o.progress = progress;
        if (r == 0)
                r = ctl_check_run(&o, &result, error);
        if (r == 0)
                r = v->result;
        if (r < 0)
                return r;
        sort_again(v);
        ctl_report(v->context, "checked",
                   json_pack("{s:I, s:I, s:I, s:I, s:I}", "blobs", (json_int_t)result.n_blobs,
                             "ranges", (json_int_t)result.n_ranges, "files",
                             (json_int_t)(result.n_blobs + result.n_sidecars), "bytes",
                             (json_int_t)result.read_bytes, "faults", (json_int_t)result.n_faults));
        report_again(v);
        if (v->n_hidden > 0)
                ctl_warn(v->context, "%llu more faults are not shown",
                         (unsigned long long)v->n_hidden);
        ctl_say(v->context, "%llu blobs, %s read, %llu faults; %zu blobs to fetch again",
                (unsigned long long)result.n_blobs, ctl_bytes_text(result.read_bytes, size),
                (unsigned long long)result.n_faults, v->n_again);
        return 0;
}

static int verify_manifest(struct verify *v, struct ctl_drive *d, const struct verify_options *o,
                           struct bth_error *error)
{
        _cleanup_(med_manifest_spool_freep) struct med_manifest_spool *spool = NULL;
        _cleanup_(med_manifest_summary_freep) struct med_manifest_summary *summary = NULL;
        _cleanup_free_ char *path = NULL;
        char hash[2 * BTH_DIGEST_MAX_BYTES + 1];
        enum bth_drive_status status;
        struct med_manifest_options reading = { .direction = MED_MANIFEST_EXPORT,
                                                .without_range_list = true };
        int r = ctl_drive_manifest(d, o->manifest, o->hash, &v->to, &spool, &path, hash, &status,
                                   error);

        if (r == 0) {
                ctl_report(v->context, "manifest",
                           json_pack("{s:s, s:s, s:b}", "path", path, "hash", hash, "hashGiven",
                                     o->hash != NULL));
                if (!o->hash)
                        ctl_warn(v->context,
                                 "no hash was given for the manifest %s: it is taken "
                                 "as it is (%s)",
                                 path, hash);
                v->to.object = reading.object = path;
                reading.findings = &v->to;
                r = med_manifest_validate(med_manifest_spool_source(spool), &reading, &summary,
                                          &status, error);
                if (summary) /* its errors were told; the other entries can be checked */
                        r = check(v, d, med_manifest_spool_source(spool), &reading, summary, error);
        }
        if (r < 0)
                ctl_report(v->context, "driveStatus",
                           json_string(bth_drive_status_to_string(status)));
        v->to.object = d->path;
        return r;
}

static enum ctl_exit work(struct verify *v, const char *path, const struct verify_options *o)
{
        _cleanup_(bth_secret_freep) struct bth_secret *secret = NULL;
        _cleanup_(ctl_drive_closep) struct ctl_drive *d = NULL;
        struct bth_error error = BTH_ERROR_INIT;
        struct cry_credential credential;
        int r = ctl_key_read(&o->key, &credential, &secret, &error);

        if (r == 0)
                r = ctl_drive_open(path, UPL_DRIVE_FILES, &credential, &d, &error);
        if (r == 0)
                r = verify_manifest(v, d, o, &error);
        if (r == 0 && o->refetch && !v->context->dry_run)
                r = write_again(v, o->refetch, &error);
        if (r < 0)
                return ctl_end_failed(v->context, r, &error);
        return v->findings.n_errors > 0 ? CTL_EXIT_FINDINGS : CTL_EXIT_OK;
}

static enum ctl_exit run(struct ctl_context *c, int argc, char **argv)
{
        struct verify_options o = { 0 };
        const struct ctl_option options[] = {
                CTL_KEY_OPTIONS(&o.key),
                { "manifest", "PATH", "the manifest on the drive, if it has an unusual name",
                  .text = &o.manifest },
                { "manifest-hash", "HEX", "MD5 or SHA-256 of the manifest, as the job says",
                  .text = &o.hash },
                { "fetch-again", "FILE", "write the list of blobs to export once more",
                  .text = &o.refetch },
        };
        struct verify v = { .context = c, .findings = { .context = c } };
        enum ctl_exit code;
        char **words;
        int n, r = bth_process_forbid_dumps();

        if (r == 0)
                r = ctl_parse_options(c, options, ARRAY_SIZE(options), argc, argv, 1, 1, &words,
                                      &n);
        if (r != 0)
                return r > 0 ? CTL_EXIT_OK : CTL_EXIT_USAGE;
        v.ranges = json_array();
        ctl_report(c, "badRanges", v.ranges);
        v.to = (struct med_findings){ ctl_findings_take, &v.findings, words[0] };
        code = work(&v, words[0], &o);
        for (size_t i = 0; i < v.n_again; i++) {
                free(v.again[i].path);
                free(v.again[i].snapshot);
        }
        free(v.again);
        return code;
}

const struct ctl_verb ctl_prep_verify_export = {
        .name = "verify-export",
        .arguments = "DRIVE",
        .summary = "Checks an exported drive against its manifest; says what to fetch again.",
        .details =
                "Every block, page range and sidecar file that the manifest of the service names "
                "is read,\n"
                "in the order in which it lies on the drive, and its MD5 compared. Exit code 1 "
                "when\n"
                "something is missing or damaged.",
        .run = run,
};
