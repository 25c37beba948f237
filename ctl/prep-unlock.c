/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-unlock - look into a BitLocker volume with its key, without mounting and without
 * device-mapper. */
#include <fcntl.h>
#include <string.h>

#include "base/str.h"
#include "base/time.h"
#include "ctl/prep.h"
#include "ctl/progress.h"
#include "crypto/view.h"
#include "hal/block.h"
#include "media/partition.h"

#define COPY_BYTES ((size_t)4 << 20)

struct unlock_options {
        struct ctl_key_options key;
        bool info;
        const char *raw;
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

static int unlock_and_write(struct ctl_context *c, struct bth_source *volume,
                            const struct unlock_options *o, struct bth_error *error)
{
        _cleanup_(cry_metadata_freep) struct cry_metadata *m =
                NULL; /* of the copy that is genuine */
        _cleanup_(bth_secret_freep) struct bth_secret *secret = NULL;
        _cleanup_(bth_source_freep) struct bth_source *view = NULL;
        struct cry_credential credential;
        struct cry_unlocked unlocked = { 0 };
        int r = ctl_key_read(&o->key, &credential, &secret, error);

        if (r == 0)
                r = cry_unlock_volume(volume, &credential, &m, &unlocked, error);
        if (r == 0) {
                ctl_say(c, "unlocked by %s",
                        cry_protector_kind_to_string(unlocked.protector->kind));
                ctl_report(c, "unlockedBy",
                           json_string(cry_protector_kind_to_string(unlocked.protector->kind)));
                r = cry_view_new(volume, m, &unlocked, &view, error);
        }
        cry_unlocked_clear(&unlocked);
        if (r == 0 && o->raw && !c->dry_run)
                r = write_raw(c, view, o->raw, error);
        return r;
}

static int open_path(const char *path, int *ret_fd, struct bth_error *error)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        if (fd < 0)
                return bth_error_set(error, -errno, BTH_REASON_FILE_UNREADABLE,
                                     "it cannot be opened: %s", bth_strerror(-errno));
        *ret_fd = fd;
        return 0;
}

/* Where the data volume lies: on a whole drive behind its table, otherwise the whole of what was
 * named. */
static int find_volume(struct ctl_context *c, const char *path, uint64_t *ret_offset,
                       uint64_t *ret_length, struct bth_error *error)
{
        _cleanup_(med_partitions_freep) struct med_partitions *partitions = NULL;
        const struct med_partition *p = NULL;
        _cleanup_close_ int fd = BTH_FD_NONE;
        int r = open_path(path, &fd, error);

        if (r == 0)
                r = med_partitions_read(fd, &partitions, error);
        if (r == 0)
                r = med_partitions_first_data(partitions, &p, error);
        if (r < 0)
                return r;
        *ret_offset = p->offset_bytes;
        *ret_length = p->length_bytes;
        ctl_report(c, "partition",
                   json_pack("{s:s, s:i, s:I, s:I, s:s, s:s}", "table",
                             med_table_to_string(partitions->table), "number", (int)p->number,
                             "offset", (json_int_t)p->offset_bytes, "length",
                             (json_int_t)p->length_bytes, "type", p->type, "content", p->content));
        if (partitions->table != MED_TABLE_NONE)
                ctl_say(c, "partition %u of a %s table", p->number,
                        med_table_to_string(partitions->table));
        return 0;
}

static int open_volume(struct ctl_context *c, const char *path, struct bth_source **ret_volume,
                       struct bth_error *error)
{
        struct bth_source *drive = NULL;
        uint64_t offset = 0, length = 0;
        int fd, r = find_volume(c, path, &offset, &length, error);

        if (r == 0)
                r = open_path(path, &fd, error);
        if (r == 0)
                r = hal_block_open_fd(fd, true, NULL, &drive, error);
        return r < 0 ? r : bth_source_new_window(drive, offset, length, true, ret_volume);
}

static enum ctl_exit work(struct ctl_context *c, const char *path, const struct unlock_options *o)
{
        _cleanup_(bth_source_freep) struct bth_source *volume = NULL;
        _cleanup_(cry_metadata_freep) struct cry_metadata *m = NULL;
        struct bth_error error = BTH_ERROR_INIT;
        int r = open_volume(c, path, &volume, &error);

        if (r == 0)
                r = cry_metadata_read(volume, &m, &error);
        if (r == 0) {
                warn_all(c, m);
                if (o->info)
                        show_info(c, m);
                if (!o->info || o->raw)
                        r = unlock_and_write(c, volume, o, &error);
        }
        if (r < 0) {
                if (error.object[0] == '\0')
                        bth_error_at(&error, path, 0, error.offset_bytes);
                ctl_report(c, "driveStatus",
                           json_string(bth_drive_status_to_string(cry_drive_status(&error))));
                ctl_fail(c, &error);
                return CTL_EXIT_FAILED;
        }
        return CTL_EXIT_OK;
}

static enum ctl_exit run(struct ctl_context *c, int argc, char **argv)
{
        struct unlock_options o = { 0 };
        const struct ctl_option options[] = {
                CTL_KEY_OPTIONS(&o.key),
                { "info", NULL, "say what the volume is; needs no key", .flag = &o.info },
                { "raw", "OUT", "write the decrypted volume to a new file", .text = &o.raw },
        };
        char **words;
        int n, r = bth_process_forbid_dumps();

        if (r == 0)
                r = ctl_parse_options(c, options, ARRAY_SIZE(options), argc, argv, 1, 1, &words,
                                      &n);
        if (r != 0)
                return r > 0 ? CTL_EXIT_OK : CTL_EXIT_USAGE;
        return work(c, words[0], &o);
}

const struct ctl_verb ctl_prep_unlock = {
        .name = "unlock",
        .arguments = "DRIVE",
        .summary = "Looks into a BitLocker volume, without mounting it.",
        .details = "DRIVE is a drive, a partition, or an image of either. It is only read. Without "
                   "--info or "
                   "--raw the\n"
                   "key is tried and nothing else is done. A suspended volume opens without a key.",
        .run = run,
};
