/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-rebuild-journal - a lost journal made again: serial number from the drive, path and hash of
 * the manifest computed, and the key that its owner has.
 * Source: import-export specification 1.4, 1.7 (what losing a journal costs otherwise). */
#include <string.h>

#include "base/time.h"
#include "ctl/prep-drive.h"
#include "media/journal.h"
#include "media/manifest.h"

struct rebuild_options {
        struct ctl_key_options key;
        const char *journal, *manifest, *serial;
};

struct rebuild {
        struct ctl_context *context;
        const struct rebuild_options *o;
        struct ctl_findings findings;
        struct med_findings to;
        struct cry_credential credential;
        struct bth_secret *secret;
        struct ctl_drive *drive;
        char *serial, *manifest_path;
        char manifest_hash[2 * BTH_DIGEST_MAX_BYTES + 1];
};

/* The service unlocks with what the journal says, and that can be two kinds of key only. */
static int journal_key(struct rebuild *b, struct bth_secret **ret_text, struct bth_error *error)
{
        switch (b->credential.kind) {
        case CRY_CREDENTIAL_RECOVERY_PASSWORD:
                return bth_secret_new_copy(b->secret->data, b->secret->length_bytes, ret_text);
        case CRY_CREDENTIAL_EXTERNAL_KEY:
                return cry_external_key_text(b->secret, ret_text, error);
        default:
                (void)bth_error_set(error, -EINVAL, BTH_REASON_USAGE,
                                    "a journal holds a recovery password or an external key");
                bth_error_advise(error, "give --recovery-key-file or --external-key");
                return -EINVAL;
        }
}

static int read_drive(struct rebuild *b, const char *path, struct bth_error *error)
{
        _cleanup_(med_manifest_spool_freep) struct med_manifest_spool *spool = NULL;
        enum bth_drive_status status;
        int r = ctl_drive_open(path, UPL_DRIVE_FILES, &b->credential, &b->drive, error);

        if (r == 0 && b->o->serial)
                b->serial = strdup(b->o->serial);
        else if (r == 0)
                r = ctl_drive_serial(path, &b->serial, error);
        if (r == 0 && !b->serial)
                r = -ENOMEM;
        if (r == 0)
                r = ctl_drive_manifest(b->drive, b->o->manifest, NULL, &b->to, &spool,
                                       &b->manifest_path, b->manifest_hash, &status, error);
        if (r < 0)
                return r;
        const struct med_manifest_options reading = {
                .object = b->manifest_path,
                .direction = MED_MANIFEST_IMPORT,
                .findings = &b->to,
                .drive_serial = b->serial,
        };

        b->to.object = b->manifest_path;
        r = med_manifest_validate(med_manifest_spool_source(spool), &reading, NULL, &status, error);
        bth_error_at(error, b->manifest_path, 0, BTH_ERROR_NO_OFFSET);
        return r;
}

/* A journal that already says something else about this drive is not silently overruled. */
static bool may_write(struct rebuild *b)
{
        _cleanup_(med_journal_freep) struct med_journal *j = NULL;
        struct bth_error unreadable = BTH_ERROR_INIT;
        const struct med_journal_drive *d;

        /* Not there, or no journal: then appending says so. */
        if (med_journal_load(b->o->journal, NULL, &j, &unreadable) < 0)
                return true;
        d = med_journal_drive(j, b->serial);
        if (!d || (d->manifest_hash && bth_ascii_casecmp(d->manifest_hash, b->manifest_hash) == 0))
                return true;
        return ctl_confirm(b->context, "The journal has another manifest for this drive; what was "
                                       "computed now will replace it.");
}

static int write_journal(struct rebuild *b, struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *key = NULL;
        const uint64_t now = bth_now_realtime_usec();
        struct bth_buf record = BTH_BUF_INIT;
        int r = journal_key(b, &key, error);

        if (r == 0) {
                const struct med_journal_drive d = {
                        .drive_id = b->serial,
                        .bitlocker_key = key,
                        .manifest_file = b->manifest_path,
                        .manifest_hash = b->manifest_hash,
                };

                r = med_journal_write_drive(&record, now, &d);
        }
        if (r == 0 && !b->context->dry_run)
                r = med_journal_append(b->o->journal, &record, now, error);
        bth_wipe(record.data, record.allocated);
        bth_buf_clear(&record);
        return r;
}

static enum ctl_exit work(struct rebuild *b, const char *path)
{
        _cleanup_(bth_secret_freep) struct bth_secret *key = NULL;
        struct bth_error error = BTH_ERROR_INIT;
        int r = ctl_key_read(&b->o->key, &b->credential, &b->secret, &error);

        if (r == 0)
                r = journal_key(b, &key, &error); /* before the drive is read for nothing */
        if (r == 0)
                r = read_drive(b, path, &error);
        if (r < 0)
                return ctl_end_failed(b->context, r, &error);
        if (!b->context->dry_run && !may_write(b)) {
                (void)bth_error_set(&error, -EEXIST, BTH_REASON_VALUE_INVALID,
                                    "the journal says something else about drive %s", b->serial);
                bth_error_at(&error, b->o->journal, 0, BTH_ERROR_NO_OFFSET);
                bth_error_advise(&error, "name a new file, or confirm with --yes");
                ctl_fail(b->context, &error);
                return CTL_EXIT_REFUSED;
        }
        r = write_journal(b, &error);
        if (r < 0)
                return ctl_end_failed(b->context, r, &error);
        ctl_report(b->context, "drive",
                   json_pack("{s:s, s:s, s:s, s:s}", "journal", b->o->journal, "driveId", b->serial,
                             "manifestFile", b->manifest_path, "manifestHash", b->manifest_hash));
        ctl_say(b->context, "%s: drive %s, manifest %s %s", b->o->journal, b->serial,
                b->manifest_path, b->manifest_hash);
        return CTL_EXIT_OK;
}

static enum ctl_exit run(struct ctl_context *c, int argc, char **argv)
{
        struct rebuild_options o = { 0 };
        const struct ctl_option options[] = {
                CTL_KEY_OPTIONS(&o.key),
                { "journal", "FILE", "the journal to make, or to add the drive to",
                  .text = &o.journal },
                { "manifest", "PATH", "the manifest on the drive, if it has an unusual name",
                  .text = &o.manifest },
                { "serial", "TEXT", "the drive's serial number, where it does not tell it",
                  .text = &o.serial },
        };
        struct rebuild b = { .context = c, .o = &o, .findings = { .context = c } };
        enum ctl_exit code;
        char **words;
        int n, r = bth_process_forbid_dumps();

        if (r == 0)
                r = ctl_parse_options(c, options, ARRAY_SIZE(options), argc, argv, 1, 1, &words,
                                      &n);
        if (r != 0)
                return r > 0 ? CTL_EXIT_OK : CTL_EXIT_USAGE;
        if (!o.journal)
                return ctl_usage(c, "--journal is missing");
        b.to = (struct med_findings){ ctl_findings_take, &b.findings, words[0] };
        code = work(&b, words[0]);
        (void)ctl_drive_close(b.drive);
        (void)bth_secret_free(b.secret);
        free(b.serial);
        free(b.manifest_path);
        return code;
}

const struct ctl_verb ctl_prep_rebuild_journal = {
        .name = "rebuild-journal",
        .arguments = "DRIVE",
        .summary = "Makes a lost journal again from the drive and its key.",
        .details = "The drive is unlocked and its manifest checked; then serial number, key, path "
                   "and hash of\n"
                   "the manifest are written to the journal. The journal must not lie on the drive "
                   "itself.",
        .run = run,
};
