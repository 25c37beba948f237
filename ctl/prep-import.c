/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-import - the verb: which form, which session, and what became of it. */
#include "ctl/prep-import.h"

#include <string.h>

#include "base/str.h"
#include "ctl/prep-copy.h"
#include "media/manifest.h"
#include "media/naming.h"

#define MIB (UINT64_C(1) << 20)

struct arguments {
        struct ctl_import im;
        bool resume, abort;
};

static int parse_block(const char *value, void *userdata)
{
        uint64_t *bytes = userdata;
        int r = bth_parse_size(value, bytes);

        return r == 0 && (*bytes < MED_MANIFEST_PAGE_BYTES ||
                          *bytes % MED_MANIFEST_PAGE_BYTES != 0 ||
                          *bytes > MED_MANIFEST_BLOCK_BYTES)
                       ? -EINVAL
                       : r;
}

static int parse_checkpoint(const char *value, void *userdata)
{
        return bth_parse_size(value, userdata);
}

static int usage(struct ctl_context *c, const char *sentence)
{
        struct bth_error e = BTH_ERROR_INIT;

        (void)bth_error_set(&e, -EINVAL, BTH_REASON_USAGE, "%s", sentence);
        ctl_fail(c, &e);
        return -EINVAL;
}

static int check(const struct arguments *a)
{
        const struct ctl_import *im = &a->im;
        struct ctl_context *c = im->context;
        struct bth_error e = BTH_ERROR_INIT;
        const bool one =
                im->source_dir || im->source_file || im->destination_dir || im->destination_blob;

        if (!im->journal || !im->session)
                return usage(c, "--journal and --session are needed");
        if (!bth_ends_with(im->journal, ".jrn"))
                return usage(c, "a journal's name ends with .jrn");
        if (med_check_session_id(im->session, &e) < 0) {
                ctl_fail(c, &e);
                return -EINVAL;
        }
        if (a->resume && a->abort)
                return usage(c, "--resume and --abort exclude each other");
        if ((a->resume || a->abort) && (im->dataset || im->driveset || im->drive || one))
                return usage(c, "the plan of the session says what and where: give only --journal "
                                "and --session");
        if (im->leave_out && !a->resume)
                return usage(c, "--leave-out belongs to --resume");
        if (!a->resume && !a->abort && (im->dataset != NULL) == one)
                return usage(c, "give either --dataset, or a source and a destination");
        if (im->drive && im->driveset)
                return usage(c, "give either --drive or --driveset");
        if (im->format && !im->drive)
                return usage(c, "--format belongs to --drive; a drive set says it for each drive");
        return 0;
}

static enum ctl_exit fail(struct ctl_context *c, const struct bth_error *e, enum ctl_exit code)
{
        ctl_fail(c, e);
        return code;
}

static enum ctl_exit exit_of(const struct bth_error *e)
{
        return e->reason == BTH_REASON_USAGE ? CTL_EXIT_USAGE : CTL_EXIT_FAILED;
}

static enum ctl_exit run_session(struct ctl_import *im, const struct ctl_session *s)
{
        struct bth_error e = BTH_ERROR_INIT;
        int r = ctl_import_run(im, s, &e);

        ctl_report(im->context, "state", json_string(r > 0 ? "Completed" : "Started"));
        if (r < 0) {
                enum ctl_exit code = fail(im->context, &e, CTL_EXIT_FAILED);

                ctl_say(im->context,
                        "the session is not finished: --resume goes on where it stopped");
                return code;
        }
        if (r == 0) {
                (void)bth_error_set(&e, -EIO, BTH_REASON_FILE_UNREADABLE,
                                    "some files were not copied");
                bth_error_advise(&e, "put them back as they were and --resume, or --resume "
                                     "--leave-out, or --abort");
                return fail(im->context, &e, CTL_EXIT_FAILED);
        }
        ctl_say(im->context, "session %s is finished; check the drives with: berth-prep validate",
                s->id);
        return CTL_EXIT_OK;
}

static enum ctl_exit new_session(struct ctl_import *im)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct ctl_session s;
        enum ctl_exit code;
        int r = ctl_import_plan(im, &s, &code, &e);

        if (r < 0)
                return fail(im->context, &e, code);
        if (r == 0)
                return code;
        code = run_session(im, &s);
        ctl_session_clear(&s);
        return code;
}

static enum ctl_exit old_session(struct ctl_import *im, bool abort)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct ctl_session s;
        enum ctl_exit code = CTL_EXIT_OK;
        int r = ctl_import_load(im, abort, &s, &e);

        if (r == -EALREADY) {
                ctl_say(im->context, "session %s is %s", im->session,
                        abort ? "aborted" : "finished");
                ctl_report(im->context, "state", json_string(abort ? "Aborted" : "Completed"));
                return CTL_EXIT_OK;
        }
        if (r < 0)
                return fail(im->context, &e, exit_of(&e));
        if (im->context->dry_run)
                ctl_say(im->context, "session %s would be %s", s.id, abort ? "aborted" : "resumed");
        else if (!abort)
                code = run_session(im, &s);
        else {
                r = ctl_import_abort(im, &s, &e);
                if (r < 0)
                        code = fail(im->context, &e, CTL_EXIT_FAILED);
                else
                        ctl_say(im->context, "session %s is aborted", s.id);
                ctl_report(im->context, "state", json_string(r < 0 ? "Aborting" : "Aborted"));
        }
        ctl_session_clear(&s);
        return code;
}

static enum ctl_exit run(struct ctl_context *c, int argc, char **argv)
{
        struct arguments a = { .im = { .context = c,
                                       .findings = { .context = c },
                                       .block_bytes = CTL_BLOCK_BYTES,
                                       .checkpoint_bytes = CTL_CHECKPOINT_BYTES } };
        struct ctl_import *im = &a.im;
        const struct ctl_option options[] = {
                { "journal", "FILE", "the journal (.jrn); made when it does not exist",
                  .text = &im->journal },
                { "session", "ID", "name of this copy session: 3 to 30 of A-Z a-z 0-9 _ - #",
                  .text = &im->session },
                { "dataset", "CSV", "what is copied, and where to", .text = &im->dataset },
                { "driveset", "CSV", "the drives; a device or image in the place of a letter",
                  .text = &im->driveset },
                { "additional-driveset", "CSV", "more drives than the journal knows",
                  .text = &im->more_drives },
                { "resume", NULL, "go on with a session that was not finished", .flag = &a.resume },
                { "abort", NULL, "take an unfinished session off its drives", .flag = &a.abort },
                { "leave-out", NULL,
                  "with --resume: finish without the files that cannot be copied",
                  .flag = &im->leave_out },
                { "skip-write", NULL,
                  "the files are on the drive already: only hash them and write the manifest",
                  .flag = &im->skip_write },
                { "content-md5", NULL, "give each blob the MD5 of its whole content",
                  .flag = &im->content_md5 },
                { "block-size", "SIZE", "length of a block; 4MiB", .parse = parse_block,
                  .userdata = &im->block_bytes },
                { "checkpoint", "SIZE", "copy so much between two checkpoints; 2GiB",
                  .parse = parse_checkpoint, .userdata = &im->checkpoint_bytes },
                { "drive", "DRIVE", "one drive, without a drive set", .text = &im->drive },
                { "format", NULL, "format and encrypt that drive", .flag = &im->format },
                { "silent", NULL, "do not ask before formatting it", .flag = &im->silent },
                CTL_KEY_OPTIONS(&im->key),
                { "source-dir", "DIR", "one folder, without a data set", .text = &im->source_dir },
                { "destination-dir", "PREFIX", "its place: container/ or container/prefix/",
                  .text = &im->destination_dir },
                { "source-file", "FILE", "one file, without a data set", .text = &im->source_file },
                { "destination-blob", "BLOB", "its name: container/blob",
                  .text = &im->destination_blob },
                { "disposition", "WORD", "rename, no-overwrite or overwrite",
                  .text = &im->disposition },
                { "blob-type", "WORD", "BlockBlob or PageBlob", .text = &im->blob_type },
                { "metadata-file", "FILE", "metadata of the blobs", .text = &im->metadata_file },
                { "properties-file", "FILE", "properties of the blobs",
                  .text = &im->properties_file },
        };
        struct bth_error e = BTH_ERROR_INIT;
        enum ctl_exit code;
        char **words;
        int lock = BTH_FD_NONE;
        int n, r = bth_process_forbid_dumps();

        if (r == 0)
                r = ctl_parse_options(c, options, ARRAY_SIZE(options), argc, argv, 0, 0, &words,
                                      &n);
        if (r != 0)
                return r > 0 ? CTL_EXIT_OK : CTL_EXIT_USAGE;
        if (check(&a) < 0)
                return CTL_EXIT_USAGE;
        /* A dry run only looks, and must be possible where nothing can be written. */
        if (!c->dry_run && ctl_import_lock(im, &lock, &e) < 0)
                return fail(c, &e, CTL_EXIT_FAILED);
        code = a.resume || a.abort ? old_session(im, a.abort) : new_session(im);
        ctl_import_unlock(im, lock);
        return code;
}

const struct ctl_verb ctl_prep_import = {
        .name = "import",
        .arguments = "--journal FILE --session ID …",
        .summary = "Copies files onto encrypted drives for an import job.",
        .details = "Everything is planned and checked before a byte is written: names, sizes, the "
                   "room on the drives\n"
                   "(and how many more are needed), the keys. The drives' keys stand in the "
                   "journal, mode 0600, before\n"
                   "a drive is formatted. A session that was cut off at any moment goes on with "
                   "--resume.",
        .run = run,
};
