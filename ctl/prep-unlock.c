/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-unlock - look into a BitLocker volume with its key, without mounting and without
 * device-mapper. */
#include <fcntl.h>
#include <string.h>

#include "base/str.h"
#include "base/time.h"
#include "ctl/prep-extract.h"
#include "ctl/progress.h"

#define COPY_BYTES ((size_t)4 << 20)

struct unlock_options {
        struct ctl_key_options key;
        bool info, list, recursive;
        const char *raw, *extract, *to;
        const char *folder; /* of list */
};

static void show_protector(struct ctl_context *c, json_t *list, const struct cry_protector *p)
{
        char id[BTH_GUID_TEXT_MAX], when[BTH_TIME_TEXT_MAX], description[200] = "";

        if (p->description)
                bth_escape(p->description, strlen(p->description), description, sizeof description);
        ctl_say(c, "  protector %s  %-18s %s %s", bth_guid_to_string(&p->id, id),
                cry_protector_kind_to_string(p->kind), bth_time_iso8601(p->modified_usec, when),
                description);
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "id", id, "kind",
                                                    cry_protector_kind_to_string(p->kind),
                                                    "modified", when, "description", description));
}

static void show_info(struct ctl_context *c, const struct cry_metadata *m)
{
        json_t *protectors = json_array(), *info;
        char id[BTH_GUID_TEXT_MAX], description[512] = "", size[32], when[BTH_TIME_TEXT_MAX];

        if (m->description)
                bth_escape(m->description, strlen(m->description), description, sizeof description);
        ctl_say(c, "BitLocker volume %s, %s, sectors of %u bytes, %s",
                bth_guid_to_string(&m->volume_id, id), cry_method_to_string(m->method),
                m->sector_bytes, ctl_bytes_text(m->volume_bytes, size));
        ctl_say(c, "  state: %s: %s", cry_volume_state_to_string(m->state),
                cry_volume_state_sentence(m->state));
        ctl_say(c, "  created %s, label '%s', metadata copy %u of 3 is used",
                bth_time_iso8601(m->created_usec, when), description, m->copy + 1);
        for (size_t i = 0; i < m->n_protectors; i++)
                show_protector(c, protectors, &m->protectors[i]);
        info = json_pack("{s:s, s:s, s:i, s:I, s:s, s:s, s:s, s:b, s:o}", "volumeId", id, "cipher",
                         cry_method_to_string(m->method), "sectorBytes", (int)m->sector_bytes,
                         "volumeBytes", (json_int_t)m->volume_bytes, "state",
                         cry_volume_state_to_string(m->state), "created", when, "label",
                         description, "toGo", (int)m->to_go, "protectors", protectors);
        ctl_report(c, "volume", info);
}

static void warn_all(struct ctl_context *c, const struct cry_metadata *m)
{
        for (unsigned bit = 1; bit < CRY_WARNINGS_END; bit <<= 1)
                if (m->warnings & bit)
                        ctl_warn(c, "%s [%s]", cry_warning_sentence(bit),
                                 cry_warning_to_string(bit));
}

static int copy_out(struct bth_source *view, int fd, struct ctl_progress *progress,
                    struct bth_error *error)
{
        _cleanup_free_ uint8_t *buffer = bth_io_buffer_new(COPY_BYTES);
        _cleanup_(bth_sink_freep) struct bth_sink *sink = NULL;
        int r = buffer ? 0 : -ENOMEM;

        if (r == 0 && ftruncate(fd, (off_t)view->size_bytes) < 0)
                r = -errno;
        if (r == 0)
                r = bth_sink_new_fd(fd, false, &sink);
        for (uint64_t at = 0; r == 0 && at < view->size_bytes;) {
                size_t n = (size_t)MIN((uint64_t)COPY_BYTES, view->size_bytes - at);

                r = bth_source_read(view, at, buffer, n);
                if (r < 0) {
                        bth_error_at(error, NULL, 0, at);
                        return bth_error_set(error, r, BTH_REASON_DRIVE_READ_ERROR,
                                             "the drive cannot be read: %s", bth_strerror(r));
                }
                r = bth_sink_write(sink, at, buffer, n);
                ctl_progress_add(progress, n);
                at += n;
        }
        if (r == 0)
                r = bth_sink_flush(sink);
        return r < 0 ? bth_error_set(error, r,
                                     r == -ENOSPC ? BTH_REASON_DISK_FULL
                                                  : BTH_REASON_FILE_UNWRITABLE,
                                     "the copy cannot be written: %s", bth_strerror(r))
                     : 0;
}

static int write_raw(struct ctl_context *c, struct bth_source *view, const char *path,
                     struct bth_error *error)
{
        _cleanup_(ctl_progress_freep) struct ctl_progress *progress = NULL;
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        int r = fd < 0 ? -errno : 0;

        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE, "it cannot be made: %s",
                                     bth_strerror(r));
        r = ctl_progress_new("decrypting", view->size_bytes, c->quiet || c->json, &progress);
        if (r == 0)
                r = copy_out(view, fd, progress, error);
        if (r < 0)
                (void)unlink(path); /* nothing half done is left behind */
        return r;
}

static void report_partition(struct ctl_context *c, const struct upl_drive *d)
{
        const struct med_partition *p = d->partition;
        const char *table = med_table_to_string(d->partitions->table);

        ctl_report(c, "partition",
                   json_pack("{s:s, s:i, s:I, s:I, s:s, s:s}", "table", table, "number",
                             (int)p->number, "offset", (json_int_t)p->offset_bytes, "length",
                             (json_int_t)p->length_bytes, "type", p->type, "content", p->content));
        if (d->partitions->table != MED_TABLE_NONE)
                ctl_say(c, "partition %u of a %s table", p->number, table);
}

/* What can be said without a key. */
static int look(struct ctl_context *c, const char *path, bool info, struct bth_error *error)
{
        _cleanup_(ctl_drive_closep) struct ctl_drive *d = NULL;
        int r = ctl_drive_open(path, UPL_DRIVE_METADATA, NULL, &d, error);

        if (r < 0)
                return r;
        report_partition(c, d->drive);
        warn_all(c, d->drive->metadata);
        if (info)
                show_info(c, d->drive->metadata);
        return 0;
}

static int unlock(struct ctl_context *c, const char *path, const struct unlock_options *o,
                  const struct med_findings *findings, struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *secret = NULL;
        _cleanup_(ctl_drive_closep) struct ctl_drive *d = NULL;
        const bool files = o->list || o->extract;
        struct cry_credential credential;
        int r = ctl_key_read(&o->key, &credential, &secret, error);

        if (r == 0)
                r = ctl_drive_open(path, files ? UPL_DRIVE_FILES : UPL_DRIVE_PLAIN, &credential, &d,
                                   error);
        if (r < 0)
                return r;
        if (!o->list)
                ctl_say(c, "unlocked by %s", cry_protector_kind_to_string(d->drive->unlocked_by));
        ctl_report(c, "unlockedBy",
                   json_string(cry_protector_kind_to_string(d->drive->unlocked_by)));
        if (o->list)
                r = ctl_drive_list(c, d, o->folder, o->recursive, error);
        if (r == 0 && o->extract)
                r = ctl_drive_extract(c, d, o->extract, o->to, findings, error);
        if (r == 0 && o->raw && !c->dry_run)
                r = write_raw(c, d->drive->plain, o->raw, error);
        return r;
}

static enum ctl_exit work(struct ctl_context *c, const char *path, const struct unlock_options *o)
{
        struct ctl_findings findings = { .context = c };
        const struct med_findings to = { ctl_findings_take, &findings, path };
        struct bth_error error = BTH_ERROR_INIT;
        int r = look(c, path, o->info, &error);

        if (r == 0 && (!o->info || o->raw || o->list || o->extract))
                r = unlock(c, path, o, &to, &error);
        if (r < 0) {
                ctl_report(c, "driveStatus",
                           json_string(bth_drive_status_to_string(upl_drive_status(&error))));
                return ctl_end_failed(c, r, &error);
        }
        return findings.n_errors > 0 ? CTL_EXIT_FINDINGS : CTL_EXIT_OK;
}

static enum ctl_exit run(struct ctl_context *c, int argc, char **argv)
{
        struct unlock_options o = { 0 };
        const struct ctl_option options[] = {
                CTL_KEY_OPTIONS(&o.key),
                { "info", NULL, "say what the volume is; needs no key", .flag = &o.info },
                { "list", NULL, "list a folder; without one, the root", .flag = &o.list },
                { "recursive", NULL, "list all that is below the folder", .flag = &o.recursive },
                { "extract", "PATH", "copy a file, or a folder with all below it",
                  .text = &o.extract },
                { "to", "DIR", "where to copy it; nothing there is overwritten", .text = &o.to },
                { "raw", "OUT", "write the decrypted volume to a new file", .text = &o.raw },
        };
        char **words;
        int n, r = bth_process_forbid_dumps();

        if (r == 0)
                r = ctl_parse_options(c, options, ARRAY_SIZE(options), argc, argv, 1, 2, &words,
                                      &n);
        if (r != 0)
                return r > 0 ? CTL_EXIT_OK : CTL_EXIT_USAGE;
        if ((n == 2 || o.recursive) && !o.list)
                return ctl_usage(c, "a folder is for --list");
        if (!o.extract != !o.to)
                return ctl_usage(c, "--extract and --to belong together");
        o.folder = n == 2 ? words[1] : "";
        return work(c, words[0], &o);
}

const struct ctl_verb ctl_prep_unlock = {
        .name = "unlock",
        .arguments = "DRIVE [FOLDER]",
        .summary = "Looks into a BitLocker volume, without mounting it.",
        .details =
                "DRIVE is a drive, a partition, or an image of either. It is only read. Without an "
                "option the\n"
                "key is tried and nothing else is done. A suspended volume opens without a key.\n"
                "--list FOLDER lists a folder of its file system.",
        .run = run,
};
