/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-validate - everything that could make the data centre refuse a drive, found before it is
 * shipped. Each stage tells what it finds and goes on as far as it can, so that one run shows all.
 *
 *     journal ─ serial number ─ partition ─ key ─ file system ─ manifest and its hash ─ every file
 *
 * Source: import-export specification 1.4 to 1.9, 2.11, 5.3, 9. */
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "ctl/prep-check.h"
#include "ctl/prep-drive.h"
#include "media/journal.h"

#define JOURNALS_MAX        64
#define DRIVES_OF_A_JOB_MAX 10
#define FAULTS_SHOWN_MAX    1000u
#define SHORT_CIPHER        "-128" /* in the name of a method */
#define DRIVE_SECTOR_BYTES  512u

struct validate_options {
        struct ctl_key_options key;
        const char *journals[JOURNALS_MAX];
        size_t n_journals;
        const char *serial;
};

struct validate {
        struct ctl_context *context;
        const struct validate_options *o;
        struct ctl_findings findings;
        struct med_findings to; /* its object is the file under way */
        struct med_journal *journals[JOURNALS_MAX];
        struct med_seen *job_blobs, *serials;
        struct bth_secret *account_key; /* of the first manifest that has one; NULL: none yet */
        json_t *drives;
        unsigned n_shown;
        uint64_t n_hidden;
};

/* One drive under way. */
struct subject {
        const char *path;
        char *serial;
        const struct med_journal_drive *in_journal; /* NULL: none */
        struct ctl_drive *drive;
        enum bth_drive_status status;
        struct ctl_check_result checked;
};

static void find(struct validate *v, enum med_severity severity, const char *name,
                 const char *advice, const char *sentence)
{
        med_find(&v->to, severity, name, 0, NULL, advice, "%s", sentence);
}

/* An error that ends a stage is a finding about the drive. */
static void find_error(struct validate *v, const struct bth_error *e)
{
        med_find(&v->to, MED_SEVERITY_ERROR, bth_reason_to_string(e->reason), e->line, NULL,
                 bth_error_advice(e), "%s%s%s", bth_streq(e->object, v->to.object) ? "" : e->object,
                 bth_streq(e->object, v->to.object) || !e->object[0] ? "" : ": ", e->sentence);
}

/* ---- journal ---- */

static int load_journals(struct validate *v, struct bth_error *error)
{
        for (size_t i = 0; i < v->o->n_journals; i++) {
                struct stat st;
                int r;

                v->to.object = v->o->journals[i];
                r = med_journal_load(v->o->journals[i], &v->to, &v->journals[i], error);
                if (r < 0)
                        return r;
                if (stat(v->o->journals[i], &st) == 0 && st.st_size > MED_JOURNAL_PORTAL_BYTES)
                        find(v, MED_SEVERITY_WARNING, "journal-too-large",
                             "give the portal the small file of each drive instead",
                             "the portal takes no journal of more than 2 MB");
        }
        return 0;
}

static size_t count_journal_drives(const struct validate *v,
                                   const struct med_journal_drive **ret_last)
{
        size_t n = 0;

        for (size_t i = 0; i < v->o->n_journals; i++) {
                n += v->journals[i]->n_drives;
                if (v->journals[i]->n_drives > 0)
                        *ret_last = &v->journals[i]->drives[0];
        }
        return n;
}

static void find_in_journal(struct validate *v, struct subject *s, int n_subjects)
{
        const struct med_journal_drive *only = NULL;

        for (size_t i = 0; s->serial && i < v->o->n_journals && !s->in_journal; i++)
                s->in_journal = med_journal_drive(v->journals[i], s->serial);
        if (s->in_journal)
                return;
        if (s->serial)
                med_find(&v->to, MED_SEVERITY_ERROR, "drive-not-in-journal", 0, NULL,
                         "give the journal that was made with this drive",
                         "no journal names a drive with the serial number %s", s->serial);
        else
                find(v, MED_SEVERITY_ERROR, "serial-unknown",
                     "connect it without an adapter that hides it, or say it with --serial",
                     "the drive tells no serial number");
        /* With one drive on either side there is no doubt what was meant: more can be checked. */
        if (n_subjects == 1 && count_journal_drives(v, &only) == 1)
                s->in_journal = only;
}

/* ---- drive ---- */

static void find_identity(struct validate *v, const struct hal_identity *id)
{
        if (id->serial_source == HAL_SERIAL_SOURCE_USB_BRIDGE)
                find(v, MED_SEVERITY_WARNING, "serial-of-bridge",
                     "connect the drive itself, or compare with its label and use --serial",
                     "the serial number is that of a USB bridge, not of the drive in it");
        if (id->logical_sector_bytes > DRIVE_SECTOR_BYTES)
                find(v, MED_SEVERITY_ERROR, "sector-size", "use a drive with 512-byte sectors",
                     "the drive has logical sectors of 4096 bytes; the service takes only 512");
}

static void find_partitions(struct validate *v, const struct upl_drive *d)
{
        unsigned n = 0;

        for (size_t i = 0; i < d->partitions->n; i++)
                n += d->partitions->items[i].role == MED_PARTITION_DATA;
        if (n > 1)
                med_find(&v->to, MED_SEVERITY_WARNING, "several-data-volumes", 0, NULL,
                         "put everything on the first one",
                         "the drive has %u data volumes; only the first one is processed", n);
        if (d->metadata->sector_bytes > DRIVE_SECTOR_BYTES)
                find(v, MED_SEVERITY_ERROR, "volume-sector-size",
                     "encrypt it where the drive shows 512-byte sectors, without that adapter",
                     "the volume was encrypted for sectors of 4096 bytes; the service takes only "
                     "512");
}

static void find_encryption(struct validate *v, const struct cry_metadata *m)
{
        static const unsigned errors =
                CRY_WARNING_TRUNCATED | CRY_WARNING_NOT_FINISHED | CRY_WARNING_DECRYPTED;

        for (unsigned bit = 1; bit < CRY_WARNINGS_END; bit <<= 1)
                if (m->warnings & bit)
                        find(v, errors & bit ? MED_SEVERITY_ERROR : MED_SEVERITY_WARNING,
                             cry_warning_to_string(bit), "", cry_warning_sentence(bit));
        if (strstr(cry_method_to_string(m->method), SHORT_CIPHER))
                med_find(&v->to, MED_SEVERITY_WARNING, "cipher-short-key", 0, NULL,
                         "encrypt with a 256-bit key where that is a choice",
                         "the volume is encrypted with %s; newer rules of the service ask for "
                         "AES-256",
                         cry_method_to_string(m->method));
}

static void find_file_system(struct validate *v, const struct ctl_drive *d)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct med_ntfs_health health;

        if (med_ntfs_check(d->drive->ntfs, &health, &e) == 0) {
                if (health.mirror_differs)
                        find(v, MED_SEVERITY_WARNING, "ntfs-mirror-differs", "run chkdsk",
                             "the copy of the file table's first records is not their copy");
                if (health.log_dirty)
                        find(v, MED_SEVERITY_WARNING, "ntfs-log-open",
                             "eject the drive in Windows before it is unplugged, or run chkdsk",
                             "the file system's log holds changes that were not finished");
                if (health.refused)
                        find(v, MED_SEVERITY_WARNING, "ntfs-inconsistent", "run chkdsk",
                             e.sentence);
        }
        if (d->drive->ntfs->dirty)
                find(v, MED_SEVERITY_WARNING, "ntfs-dirty",
                     "eject the drive in Windows before it is unplugged, or run chkdsk",
                     "the file system was not unmounted cleanly");
        if (med_ntfs_index_damaged(d->index) > 0)
                med_find(&v->to, MED_SEVERITY_WARNING, "ntfs-damaged-records", 0, NULL,
                         "run chkdsk", "%zu records of the file table are damaged",
                         med_ntfs_index_damaged(d->index));
}

/* The journal's key is what the service will use; another one only where it has none. */
static int take_key(const struct validate *v, const struct subject *s,
                    struct cry_credential *ret_credential, struct bth_secret **ret_secret,
                    struct bth_error *error)
{
        const struct med_journal_drive *j = s->in_journal;

        if (j && j->bitlocker_key &&
            (j->key_form == MED_KEY_FORM_NUMERICAL || j->key_form == MED_KEY_FORM_EXTERNAL)) {
                *ret_credential = (struct cry_credential){
                        .kind = cry_credential_kind_of_journal_key(j->bitlocker_key),
                        .secret = j->bitlocker_key,
                };
                return 0;
        }
        return ctl_key_read(&v->o->key, ret_credential, ret_secret, error);
}

static int open_drive(struct validate *v, struct subject *s, struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *secret = NULL;
        struct cry_credential credential;
        int r = take_key(v, s, &credential, &secret, error);

        if (r == 0)
                r = ctl_drive_open(s->path, UPL_DRIVE_FILES, &credential, &s->drive, error);
        if (r < 0) {
                s->status = upl_drive_status(error);
                return r;
        }
        find_partitions(v, s->drive->drive);
        find_encryption(v, s->drive->drive->metadata);
        find_file_system(v, s->drive);
        return 0;
}

/* ---- manifest and files ---- */

static void take_fault(void *userdata, const struct ctl_check_fault *fault)
{
        struct validate *v = userdata;

        if (v->n_shown++ < FAULTS_SHOWN_MAX)
                ctl_check_find(&v->to, fault,
                               fault->warning ? "check that the right file was prepared"
                                              : "prepare this file again");
        else
                v->n_hidden++;
}

static int check_files(struct validate *v, struct subject *s, struct bth_source *manifest,
                       const struct med_manifest_options *reading,
                       const struct med_manifest_summary *summary, struct bth_error *error)
{
        _cleanup_(ctl_progress_freep) struct ctl_progress *progress = NULL;
        struct ctl_check_options o = {
                .volume = s->drive->drive->ntfs,
                .index = s->drive->index,
                .manifest = manifest,
                .reading = reading,
                .summary = summary,
                .parse_sidecars = true,
                .fault = take_fault,
                .userdata = v,
        };
        int r = ctl_progress_new("validating", summary->range_bytes,
                                 v->context->quiet || v->context->json, &progress);

        o.progress = progress;
        v->n_shown = 0;
        if (r == 0)
                r = ctl_check_run(&o, &s->checked, error);
        return r;
}

/* A job has one storage account, and so has each key. */
static int compare_accounts(struct validate *v, const struct med_manifest_summary *summary)
{
        const struct bth_secret *key = summary->header.account_key;

        if (!key)
                return 0;
        if (!v->account_key)
                return bth_secret_new_copy(key->data, key->length_bytes, &v->account_key);
        if (!bth_secret_equal(key, v->account_key))
                find(v, MED_SEVERITY_ERROR, "several-accounts", "make a job for each account",
                     "the manifest has the key of another account than the drives before");
        return 0;
}

static int check_manifest(struct validate *v, struct subject *s, struct bth_error *error)
{
        _cleanup_(med_manifest_spool_freep) struct med_manifest_spool *spool = NULL;
        _cleanup_(med_manifest_summary_freep) struct med_manifest_summary *summary = NULL;
        _cleanup_free_ char *path = NULL, *object = NULL;
        char hash[2 * BTH_DIGEST_MAX_BYTES + 1];
        const struct med_journal_drive *j = s->in_journal;
        int r = ctl_drive_manifest(s->drive, j ? j->manifest_file : NULL,
                                   j ? j->manifest_hash : NULL, NULL, &spool, &path, hash,
                                   &s->status, error);
        /* Every drive has one of this name. */
        if (r == 0 && asprintf(&object, "%s:%s", s->path, path) < 0) {
                object = NULL;
                r = -ENOMEM;
        }
        const struct med_manifest_options reading = {
                .object = object,
                .direction = MED_MANIFEST_IMPORT,
                .findings = &v->to,
                .drive_serial = s->serial,
                .find_doubles = true,
                .job_blobs = v->job_blobs,
        };
        struct bth_error of_manifest = BTH_ERROR_INIT;

        if (r < 0)
                return r;
        v->to.object = object;
        r = med_manifest_validate(med_manifest_spool_source(spool), &reading, &summary, &s->status,
                                  &of_manifest);
        if (!summary) {
                *error = of_manifest;
                return r;
        }
        r = compare_accounts(v, summary);
        return r < 0 ? r
                     : check_files(v, s, med_manifest_spool_source(spool), &reading, summary,
                                   error);
}

/* How the drive was read: whether past the page cache, and how often the head had to go back. */
static json_t *device_stats(const struct subject *s)
{
        struct hal_block_stats stats = { 0 };

        if (s->drive)
                hal_block_get_stats(s->drive->drive->device, &stats);
        return json_pack("{s:b, s:b, s:I, s:I, s:I}", "direct", (int)stats.direct, "uring",
                         (int)stats.uring, "requests", (json_int_t)stats.requests, "bytes",
                         (json_int_t)stats.bytes, "backwardSeeks",
                         (json_int_t)stats.backward_seeks);
}

static void report_subject(struct validate *v, const struct subject *s, unsigned n_errors)
{
        char size[32];

        ctl_say(v->context, "%s (%s): %s; %llu blobs, %s read", s->path,
                s->serial ? s->serial : "no serial number",
                n_errors > 0 ? "would be refused, in whole or in part" : "in order",
                (unsigned long long)s->checked.n_blobs,
                ctl_bytes_text(s->checked.read_bytes, size));
        (void)json_array_append_new(
                v->drives,
                json_pack("{s:s, s:s*, s:s, s:b, s:I, s:I, s:I, s:I, s:o}", "path", s->path,
                          "serial", s->serial, "driveStatus", bth_drive_status_to_string(s->status),
                          "inOrder", n_errors == 0, "blobs", (json_int_t)s->checked.n_blobs,
                          "ranges", (json_int_t)s->checked.n_ranges, "bytes",
                          (json_int_t)s->checked.read_bytes, "faults",
                          (json_int_t)s->checked.n_faults, "device", device_stats(s)));
}

/* Returns 0, or what keeps the command itself from working. */
static int validate_drive(struct validate *v, const char *path, int n_subjects,
                          struct bth_error *error)
{
        struct subject s = { .path = path, .status = BTH_DRIVE_STATUS_COMPLETED };
        const unsigned errors_before = v->findings.n_errors;
        struct bth_error e = BTH_ERROR_INIT;
        struct hal_identity id;
        int r;

        v->to.object = path;
        r = hal_identity_of_path(NULL, path, &id, error);
        if (r < 0)
                return r;
        find_identity(v, &id);
        if (v->o->serial || id.fault == HAL_IDENTITY_FAULT_NONE) {
                s.serial = strdup(v->o->serial ? v->o->serial : id.serial);
                if (!s.serial)
                        return -ENOMEM;
        }
        if (s.serial && med_seen_add(v->serials, s.serial, strlen(s.serial)) > 0)
                find(v, MED_SEVERITY_ERROR, "drive-twice", "name each drive once",
                     "the drive was named before");
        find_in_journal(v, &s, n_subjects);
        r = open_drive(v, &s, &e);
        if (r == 0)
                r = check_manifest(v, &s, &e);
        v->to.object = path;
        if (r < 0 && e.code == 0)
                (void)bth_error_set(&e, r, BTH_REASON_OUT_OF_MEMORY, "no memory");
        if (r < 0 && r != -ENOMEM)
                find_error(v, &e);
        if (v->findings.n_errors > errors_before && s.status == BTH_DRIVE_STATUS_COMPLETED)
                s.status = BTH_DRIVE_STATUS_COMPLETED_WITH_ERRORS;
        report_subject(v, &s, v->findings.n_errors - errors_before);
        (void)ctl_drive_close(s.drive);
        free(s.serial);
        if (r == -ENOMEM)
                *error = e;
        return r == -ENOMEM ? r : 0;
}

static int validate_all(struct validate *v, char **paths, int n, struct bth_error *error)
{
        int r = med_seen_new(&v->job_blobs);

        if (r == 0)
                r = med_seen_new(&v->serials);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY, "no memory");
        r = load_journals(v, error);
        if (r == 0 && n > DRIVES_OF_A_JOB_MAX)
                med_find(&v->to, MED_SEVERITY_ERROR, "too-many-drives", 0, NULL,
                         "make a job for each ten drives", "a job has at most %u drives, not %d",
                         DRIVES_OF_A_JOB_MAX, n);
        for (int i = 0; r == 0 && i < n; i++)
                r = validate_drive(v, paths[i], n, error);
        return r;
}

static int add_journal(const char *value, void *userdata)
{
        struct validate_options *o = userdata;

        if (o->n_journals == JOURNALS_MAX)
                return -E2BIG;
        o->journals[o->n_journals++] = value;
        return 0;
}

static enum ctl_exit work(struct validate *v, char **paths, int n)
{
        struct bth_error error = BTH_ERROR_INIT;
        int r = validate_all(v, paths, n, &error);

        for (size_t i = 0; i < v->o->n_journals; i++)
                (void)med_journal_free(v->journals[i]);
        (void)med_seen_free(v->job_blobs);
        (void)med_seen_free(v->serials);
        (void)bth_secret_free(v->account_key);
        if (r < 0)
                return ctl_end_failed(v->context, r, &error);
        if (v->n_hidden > 0)
                ctl_warn(v->context, "%llu more faults are not shown",
                         (unsigned long long)v->n_hidden);
        return v->findings.n_errors > 0 ? CTL_EXIT_FINDINGS : CTL_EXIT_OK;
}

static enum ctl_exit run(struct ctl_context *c, int argc, char **argv)
{
        struct validate_options o = { 0 };
        const struct ctl_option options[] = {
                CTL_KEY_OPTIONS(&o.key),
                { "journal", "FILE", "the drive's journal; may be given for each drive",
                  .parse = add_journal, .userdata = &o },
                { "serial", "TEXT", "the drive's serial number, where it does not tell it",
                  .text = &o.serial },
        };
        struct validate v = { .context = c, .o = &o, .findings = { .context = c } };
        char **words;
        int n, r = bth_process_forbid_dumps();

        if (r == 0)
                r = ctl_parse_options(c, options, ARRAY_SIZE(options), argc, argv, 1, 1000, &words,
                                      &n);
        if (r != 0)
                return r > 0 ? CTL_EXIT_OK : CTL_EXIT_USAGE;
        if (o.n_journals == 0)
                return ctl_usage(c, "--journal is missing");
        if (o.serial && n > 1)
                return ctl_usage(c, "--serial is for one drive");
        v.to = (struct med_findings){ ctl_findings_take, &v.findings, words[0] };
        v.drives = json_array();
        ctl_report(c, "drives", v.drives);
        return work(&v, words, n);
}

const struct ctl_verb ctl_prep_validate = {
        .name = "validate",
        .arguments = "DRIVE…",
        .summary = "Finds everything that could make the data centre refuse a drive.",
        .details = "Checks the drives of one job: journal against serial number, key, file system, "
                   "manifest\n"
                   "and its hash, sidecar files, and every block of every file, in the order of "
                   "the disk.\n"
                   "One line per finding; exit code 1 when one is an error.",
        .run = run,
};
