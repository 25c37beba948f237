/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-run - the drives of a session, one after the other; each step may be cut off and run again.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/str.h"
#include "base/time.h"
#include "crypto/target.h"
#include "ctl/prep-copy.h"
#include "ctl/prep-drive.h"
#include "ctl/prep-format.h"
#include "ctl/prep-import.h"
#include "ctl/prep-manifest.h"
#include "ctl/prep-skipwrite.h"
#include "media/driveset.h"
#include "media/sidecar.h"

#define POOL_QUEUE        128
#define OVERLAY_MAX_BYTES ((size_t)48 << 20)
#define LOCK_TRIES        100 /* each failed because another session ended just then */
#define FAILED_SHOWN      20
#define PORTAL_BYTES      MED_JOURNAL_PORTAL_BYTES

struct run {
        struct ctl_import *im;
        const struct ctl_session *session;
        struct ctl_copied copied;
        struct ctl_pool *pool;
        struct ctl_progress *progress;
        json_t *drives, *failed; /* of the report */
        size_t n_failed;
};

/* One drive of the session, open. */
struct open_drive {
        size_t index;
        const struct ctl_session_drive *drive;
        struct med_journal *journal; /* as of now */
        struct ctl_volume *volume;
        struct ctl_done *done;
};

char *ctl_import_file(const struct ctl_import *im, size_t drive, const char *suffix)
{
        char *path;
        int n = drive == SIZE_MAX ? asprintf(&path, "%s.d/%s.%s", im->journal, im->session, suffix)
                                  : asprintf(&path, "%s.d/%s-%zu.%s", im->journal, im->session,
                                             drive, suffix);

        return n < 0 ? NULL : path;
}

/* What is left of a journal that was killed (or lost its power) before its first record was whole.
 * The next append makes a journal of it. */
static bool is_stump(const char *path)
{
        static const char begin[] = "[BeginUpdateRecord]";
        _cleanup_free_ char *text = NULL;
        size_t n;

        return bth_read_file(path, sizeof begin - 2, &text, &n) == 0 && memcmp(text, begin, n) == 0;
}

int ctl_import_journal(const struct ctl_import *im, struct med_journal **ret_journal,
                       struct bth_error *error)
{
        *ret_journal = NULL;
        if ((access(im->journal, F_OK) < 0 && errno == ENOENT) || is_stump(im->journal))
                return 0;
        /* What is not ready yet is no news here. */
        return med_journal_load(im->journal, NULL, ret_journal, error);
}

static int no_memory(struct bth_error *error)
{
        return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory for the session");
}

void ctl_import_forget(const struct ctl_import *im)
{
        static const char *const suffixes[] = { "done", "redo", "redo.tmp" };
        static const char *const plans[] = { "plan.tmp", "plan" };

        for (size_t i = 0; i < MED_DRIVESET_MAX_ROWS; i++)
                for (size_t k = 0; k < ARRAY_SIZE(suffixes); k++) {
                        _cleanup_free_ char *path = ctl_import_file(im, i, suffixes[k]);

                        if (path)
                                (void)unlink(path);
                }
        for (size_t i = 0; i < ARRAY_SIZE(plans); i++) {
                _cleanup_free_ char *path = ctl_import_file(im, SIZE_MAX, plans[i]);

                if (path)
                        (void)unlink(path);
        }
}

/* -- one program at a time
 * ---------------------------------------------------------------------------- */

static int lock_paths(const struct ctl_import *im, char **ret_folder, char **ret_lock)
{
        if (asprintf(ret_folder, "%s.d", im->journal) < 0)
                *ret_folder = NULL;
        if (asprintf(ret_lock, "%s.d/lock", im->journal) < 0)
                *ret_lock = NULL;
        return *ret_folder && *ret_lock ? 0 : -ENOMEM;
}

/* Opens and locks the file. Returns 0; -EAGAIN when it was removed meanwhile; -errno. */
static int try_lock(const char *folder, const char *lock, int *ret_fd)
{
        _cleanup_close_ int fd = BTH_FD_NONE;
        struct stat st;

        if (mkdir(folder, 0700) < 0 && errno != EEXIST)
                return -errno;
        fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return errno == ENOENT ? -EAGAIN : -errno;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? -EBUSY : -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_nlink == 0) /* of a session that ended between open and flock */
                return -EAGAIN;
        *ret_fd = take_fd(fd);
        return 0;
}

int ctl_import_lock(const struct ctl_import *im, int *ret_fd, struct bth_error *error)
{
        _cleanup_free_ char *folder = NULL, *lock = NULL;
        int r = lock_paths(im, &folder, &lock);

        if (r == 0)
                r = -EAGAIN;
        for (unsigned i = 0; r == -EAGAIN && i < LOCK_TRIES; i++)
                r = try_lock(folder, lock, ret_fd);
        if (r == 0)
                return 0;
        bth_error_at(error, im->journal, 0, BTH_ERROR_NO_OFFSET);
        if (r == -EBUSY) {
                (void)bth_error_set(error, r, BTH_REASON_DEVICE_BUSY,
                                    "another berth-prep works with this journal");
                bth_error_advise(error, "wait until it has ended");
                return r;
        }
        return bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                             "the folder beside it cannot be made: %s", bth_strerror(r));
}

void ctl_import_unlock(const struct ctl_import *im, int fd)
{
        _cleanup_free_ char *folder = NULL, *lock = NULL;

        if (fd < 0)
                return;
        /* The folder stays while it holds anything of a session. */
        if (lock_paths(im, &folder, &lock) == 0 && unlink(lock) == 0)
                (void)rmdir(folder);
        (void)bth_close(fd);
}

int ctl_import_load(const struct ctl_import *im, bool to_abort, struct ctl_session *ret_session,
                    struct bth_error *error)
{
        _cleanup_free_ char *path = ctl_import_file(im, SIZE_MAX, "plan");
        _cleanup_(med_journal_freep) struct med_journal *j = NULL;
        struct ctl_items items = { 0 };
        enum ctl_session_state state;
        json_t *header = NULL;
        int r = path ? ctl_import_journal(im, &j, error) : no_memory(error);

        if (r < 0)
                return r;
        state = ctl_journal_session(j, im->session);
        if (state == CTL_SESSION_COMPLETED || state == CTL_SESSION_ABORTED) {
                if (!im->context->dry_run)
                        ctl_import_forget(im); /* a crash may have left them */
                if (state == (to_abort ? CTL_SESSION_ABORTED : CTL_SESSION_COMPLETED))
                        return -EALREADY;
                bth_error_at(error, im->journal, 0, BTH_ERROR_NO_OFFSET);
                return bth_error_set(error, -EEXIST, BTH_REASON_USAGE, "session %s was %s",
                                     im->session, to_abort ? "finished" : "aborted");
        }
        if (!to_abort && state == CTL_SESSION_ABORTING) {
                bth_error_at(error, im->journal, 0, BTH_ERROR_NO_OFFSET);
                (void)bth_error_set(error, -EEXIST, BTH_REASON_USAGE, "session %s is half aborted",
                                    im->session);
                bth_error_advise(error, "finish that with --abort");
                return -EEXIST;
        }
        r = ctl_plan_load(path, &header, &items, error);
        if (r == -ENOENT) {
                bth_error_clear(error);
                bth_error_at(error, im->journal, 0, BTH_ERROR_NO_OFFSET);
                return bth_error_set(error, r, BTH_REASON_USAGE,
                                     "there is no unfinished session %s", im->session);
        }
        if (r < 0)
                return r;
        r = ctl_session_read(header, ret_session);
        if (r < 0) {
                ctl_items_clear(&items);
                bth_error_at(error, path, 1, BTH_ERROR_NO_OFFSET);
                return bth_error_set(error, r, BTH_REASON_SYNTAX, "the session's plan is damaged");
        }
        ret_session->items = items;
        for (size_t i = 0; i < items.n_items; i++)
                if (items.items[i].row >= ret_session->n_rows ||
                    items.items[i].drive >= ret_session->n_drives) {
                        ctl_session_clear(ret_session);
                        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
                        return bth_error_set(error, -EBADMSG, BTH_REASON_SYNTAX,
                                             "the session's plan is damaged");
                }
        return 0;
}

/* -- opening
 * ------------------------------------------------------------------------------------------ */

/* The device may have got another name, or be another device, since the session was planned. */
static int check_serial(const struct ctl_session_drive *d, struct bth_error *error)
{
        _cleanup_free_ char *serial = NULL;
        int r = ctl_drive_serial(d->path, &serial, error);

        if (r == 0 && strcmp(serial, d->serial) != 0) {
                bth_error_at(error, d->path, 0, BTH_ERROR_NO_OFFSET);
                r = bth_error_set(error, -ENXIO, BTH_REASON_DEVICE_WRONG_SIZE,
                                  "this is drive %s, and the session is on drive %s", serial,
                                  d->serial);
        }
        return r;
}

/* Opens the drive. It is identified once it is held, so that no other can take its name between. */
static int hold(const struct ctl_session_drive *d, int *ret_fd, uint64_t *ret_bytes,
                struct bth_error *error)
{
        /* That it may be overwritten was asked when the session was planned. */
        const struct cry_target_params agreed = { .destroy = true };
        _cleanup_close_ int fd = BTH_FD_NONE;
        int r = cry_target_open(d->path, &agreed, &fd, ret_bytes, error);

        if (r == 0)
                r = check_serial(d, error);
        if (r == 0)
                *ret_fd = take_fd(fd);
        return r;
}

struct key_note {
        const struct run *run;
        const struct ctl_session_drive *drive;
};

/* The key stands in the journal before the drive is written. */
static int note_key(void *userdata, const struct bth_secret *recovery_password,
                    struct bth_error *error)
{
        const struct key_note *n = userdata;
        const struct med_journal_drive info = {
                .drive_id = (char *)(uintptr_t)n->drive->serial,
                .bitlocker_key = (struct bth_secret *)(uintptr_t)recovery_password
        };

        return ctl_journal_note_info(n->run->im->journal, &info, error);
}

static int format_drive(const struct run *run, const struct ctl_session_drive *d,
                        struct bth_error *error)
{
        const char *journal = run->im->journal;
        struct key_note note = { run, d };
        char description[160], date[BTH_TIME_TEXT_MAX];
        _cleanup_close_ int fd = BTH_FD_NONE;
        struct ctl_format f;
        uint64_t bytes;
        int sector = 512;
        int r = hold(d, &fd, &bytes, error);

        if (r < 0)
                return r;
        if (ioctl(fd, BLKSSZGET, &sector) < 0)
                sector = 512; /* an image */
        r = ctl_format_prepare(bytes, (uint32_t)sector, NULL, &f, error);
        if (r < 0)
                return r;
        ctl_say(run->im->context, "formatting drive %s", d->serial);
        bth_time_iso8601(bth_now_realtime_usec(), date);
        (void)snprintf(description, sizeof description, "BERTH %.100s %.10s", d->serial, date);
        r = ctl_journal_note_drive(journal, d->serial, "BerthFormat", "Started", error);
        if (r == 0)
                r = ctl_format_write(&f, fd, description, note_key, &note, error);
        if (r == 0)
                r = ctl_journal_note_drive(journal, d->serial, "BerthFormat", "Completed", error);
        ctl_format_clear(&f);
        return r;
}

/* A record that fits the plan: the manifest takes as many hashes as a file has blocks. */
static int take_done(void *userdata, size_t item, const uint8_t *hashes, size_t n_blocks)
{
        struct run *run = userdata;
        const struct ctl_session *s = run->session;

        if (n_blocks !=
            ctl_item_blocks(s, &s->items.items[item]) + (s->content_md5 ? (size_t)1 : 0))
                return -EBADMSG;
        return ctl_copied_take(&run->copied, item, hashes, n_blocks);
}

static int open_volume(const struct run *run, struct open_drive *o, struct bth_error *error)
{
        const struct med_journal_drive *known =
                o->journal ? med_journal_drive(o->journal, o->drive->serial) : NULL;
        _cleanup_free_ char *redo = ctl_import_file(run->im, o->index, "redo");
        _cleanup_free_ char *done = ctl_import_file(run->im, o->index, "done");
        struct cry_credential credential = { 0 };
        uint64_t bytes;
        int fd, r;

        if (!redo || !done)
                return no_memory(error);
        if (!known || !known->bitlocker_key)
                return bth_error_set(error, -ENOKEY, BTH_REASON_VALUE_MISSING,
                                     "the journal has no key of drive %s", o->drive->serial);
        credential.secret = known->bitlocker_key;
        credential.kind = cry_credential_kind_of_journal_key(known->bitlocker_key);
        r = hold(o->drive, &fd, &bytes, error);
        if (r == 0)
                r = ctl_volume_open(fd, &credential, redo, &o->volume, error);
        if (r == 0)
                r = ctl_done_open(done, run->session->items.n_items, o->volume->redo_replayed,
                                  take_done, (void *)(uintptr_t)run, &o->done, error);
        return r < 0 ? r : ctl_overlay_forget(redo, error);
}

static int open_drive(const struct run *run, size_t index, struct open_drive *ret,
                      struct bth_error *error)
{
        struct open_drive o = { .index = index, .drive = &run->session->drives[index] };
        int r = ctl_import_journal(run->im, &o.journal, error);

        if (r == 0 && o.drive->format &&
            !bth_streq(ctl_journal_of_drive(o.journal, o.drive->serial, "BerthFormat"),
                       "Completed")) {
                r = format_drive(run, o.drive, error);
                (void)med_journal_free(take_ptr(o.journal));
                if (r == 0)
                        r = ctl_import_journal(run->im, &o.journal, error);
        }
        if (r == 0)
                r = open_volume(run, &o, error);
        *ret = o;
        if (r < 0 && error && error->object[0] == '\0')
                bth_error_at(error, o.drive->path, 0, error->offset_bytes);
        return r;
}

static void close_drive(struct open_drive *o)
{
        (void)ctl_done_close(o->done);
        (void)ctl_volume_close(o->volume);
        (void)med_journal_free(o->journal);
}

/* -- what stands beside the files
 * --------------------------------------------------------------------- */

static int checkpoint_if_large(struct open_drive *o, struct bth_error *error)
{
        return ctl_overlay_bytes(o->volume->overlay) < OVERLAY_MAX_BYTES
                       ? 0
                       : ctl_copy_checkpoint(o->volume, o->done, error);
}

/* Puts a file unless an earlier run did. */
static int put_once(struct open_drive *o, const char *path, const void *data, size_t n,
                    struct bth_error *error)
{
        int r = med_ntfs_writer_exists(o->volume->writer, path, error);

        if (r == 0)
                r = ctl_volume_put(o->volume, path, data, n, error);
        return r < 0 ? r : checkpoint_if_large(o, error);
}

static int put_sidecar(const struct run *run, struct open_drive *o, size_t row,
                       enum ctl_sidecar kind, struct bth_error *error)
{
        const struct ctl_session_row *from = &run->session->rows[row];
        uint8_t md5[BTH_MD5_BYTES];
        _cleanup_free_ char *text = NULL;
        char path[128];
        size_t n;
        int r = bth_read_file(from->sidecars[kind], MED_SIDECAR_MAX_BYTES, &text, &n);

        bth_error_at(error, from->sidecars[kind], 0, BTH_ERROR_NO_OFFSET);
        if (r == 0)
                r = bth_digest_of(BTH_DIGEST_MD5, text, n, md5);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE, "it cannot be read: %s",
                                     bth_strerror(r));
        if (memcmp(md5, from->sidecar_md5[kind], sizeof md5) != 0)
                return bth_error_set(error, -ESTALE, BTH_REASON_HASH_MISMATCH,
                                     "it has changed since the session was planned");
        return put_once(o, ctl_sidecar_path(run->session, row, kind, path), text, n, error);
}

static bool row_is_on(const struct run *run, size_t row, size_t drive)
{
        const struct ctl_items *items = &run->session->items;

        for (size_t i = 0; i < items->n_items; i++)
                if (items->items[i].row == row && items->items[i].drive == drive)
                        return true;
        return false;
}

static int put_sidecars(const struct run *run, struct open_drive *o, struct bth_error *error)
{
        int r = 0;

        for (size_t row = 0; row < run->session->n_rows; row++)
                for (int k = 0; r == 0 && k < _CTL_SIDECAR_MAX; k++)
                        if (run->session->rows[row].sidecars[k] && row_is_on(run, row, o->index))
                                r = put_sidecar(run, o, row, (enum ctl_sidecar)k, error);
        return r;
}

/* With --content-md5 every blob has a properties file of its own. */
static int put_item_properties(const struct run *run, struct open_drive *o, size_t row,
                               const struct med_properties *properties, struct bth_error *error)
{
        const struct ctl_session *s = run->session;
        int r = 0;

        for (size_t i = 0; r == 0 && i < s->items.n_items; i++) {
                const struct ctl_item *item = &s->items.items[i];
                _cleanup_buf_ struct bth_buf text = BTH_BUF_INIT;
                char path[128];

                if (item->row != row || item->drive != o->index || !run->copied.hashes[i])
                        continue;
                r = ctl_item_properties(
                        properties,
                        run->copied.hashes[i] + ctl_item_blocks(s, item) * BTH_MD5_BYTES, &text);
                if (r < 0)
                        return no_memory(error);
                r = put_once(o, ctl_item_properties_path(s, i, path), text.data, text.length,
                             error);
        }
        return r;
}

static int put_all_properties(const struct run *run, struct open_drive *o, struct bth_error *error)
{
        int r = 0;

        for (size_t row = 0; run->session->content_md5 && r == 0 && row < run->session->n_rows;
             row++) {
                struct med_properties properties;

                r = ctl_row_properties(run->session, row, &properties, error);
                if (r == 0)
                        r = put_item_properties(run, o, row, &properties, error);
                med_properties_clear(&properties);
        }
        return r;
}

/* -- manifest and journal
 * ----------------------------------------------------------------------------- */

/* The small file that the portal takes in the place of a journal of more than 2 MB. Serial numbers
 * may have what a file name cannot. */
static char *drive_file(const struct run *run, const char *serial)
{
        const char *slash = strrchr(run->im->journal, '/');
        const size_t folder = slash ? (size_t)(slash + 1 - run->im->journal) : 0;
        char *path;

        if (asprintf(&path, "%.*s%s.xml", (int)folder, run->im->journal, serial) < 0)
                return NULL;
        for (char *p = path + folder; *p; p++)
                if (*p == '/')
                        *p = '_';
        return path;
}

static int write_drive_file(const struct run *run, const struct med_journal_drive *info,
                            struct bth_error *error)
{
        _cleanup_free_ char *path = drive_file(run, info->drive_id);
        _cleanup_buf_ struct bth_buf text = { .secret = true };
        int r = path ? med_journal_write_drive(&text, bth_now_realtime_usec(), info) : -ENOMEM;

        if (r == 0 && !info->manifest_hash) /* an old one would promise what is gone */
                r = unlink(path) < 0 && errno != ENOENT ? -errno : 0;
        else if (r == 0)
                r = bth_write_file_atomic(path, text.data, text.length, 0600);
        if (r < 0) {
                bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
                (void)bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                                    "the drive's file cannot be written: %s", bth_strerror(r));
        }
        return r;
}

/* The drive's record with its new manifest, or with none. */
static int note_manifest(const struct run *run, const struct open_drive *o, const char *hash,
                         struct bth_error *error)
{
        const struct med_journal_drive *known = med_journal_drive(o->journal, o->drive->serial);
        const struct med_journal_drive info = {
                .drive_id = known->drive_id,
                .bitlocker_key = known->bitlocker_key,
                .manifest_file = hash ? (char *)(uintptr_t)CTL_MANIFEST_PATH : NULL,
                .manifest_hash = (char *)(uintptr_t)hash,
        };
        int r = ctl_journal_note_info(run->im->journal, &info, error);

        return r < 0 ? r : write_drive_file(run, &info, error);
}

static int build_manifest(const struct run *run, const struct open_drive *o,
                          const struct ctl_copied *copied, struct ctl_manifest *ret,
                          struct bth_error *error)
{
        const struct med_journal_drive *known = med_journal_drive(o->journal, o->drive->serial);

        const struct ctl_manifest_input in = {
                .session = run->session,
                .drive = (uint32_t)o->index,
                .serial = o->drive->serial,
                .copied = copied,
                .volume = o->volume,
                .old_hashes = { known->manifest_hash,
                                ctl_journal_of_drive(o->journal, o->drive->serial,
                                                     "BerthNextManifestHash") },

        };

        return ctl_manifest_build(&in, ret, error);
}

/* Drive and journal say the same before and after; in between the journal knows both hashes. */
static int replace_manifest(const struct run *run, struct open_drive *o,
                            const struct ctl_manifest *m, struct bth_error *error)
{
        int r = ctl_journal_note_drive(run->im->journal, o->drive->serial, "BerthNextManifestHash",
                                       m->md5, error);

        if (r == 0)
                r = ctl_manifest_put(m, o->volume, error);
        if (r == 0)
                r = ctl_copy_checkpoint(o->volume, o->done, error);
        return r < 0 ? r : note_manifest(run, o, m->md5, error);
}

static int finish_drive(struct run *run, struct open_drive *o, struct bth_error *error)
{
        struct ctl_manifest m;
        int r = put_all_properties(run, o, error);

        if (r == 0) /* what the manifest names is on the drive before it */
                r = ctl_copy_checkpoint(o->volume, o->done, error);
        if (r == 0)
                r = build_manifest(run, o, &run->copied, &m, error);
        if (r < 0)
                return r;
        r = replace_manifest(run, o, &m, error);
        if (r == 0) {
                ctl_say(run->im->context, "drive %s: %" PRIu64 " blobs, manifest %s",
                        o->drive->serial, m.n_blobs, m.md5);
                (void)json_array_append_new(
                        run->drives,
                        json_pack("{s:s, s:s, s:I, s:s, s:s}", "driveId", o->drive->serial, "path",
                                  o->drive->path, "blobs", (json_int_t)m.n_blobs, "manifestFile",
                                  CTL_MANIFEST_PATH, "manifestHash", m.md5));
        }
        ctl_manifest_clear(&m);
        return r;
}

/* -- running
 * ------------------------------------------------------------------------------------------ */

static void file_failed(void *userdata, const struct ctl_item *item, const char *sentence)
{
        struct run *run = userdata;

        if (run->n_failed++ < FAILED_SHOWN)
                ctl_warn(run->im->context, "'%s' was not copied: %s", item->source_path, sentence);
        (void)json_array_append_new(run->failed,
                                    json_pack("{s:s, s:s, s:s}", "source", item->source_path,
                                              "blob", item->blob_path, "sentence", sentence));
}

static int run_drive(struct run *run, size_t index, struct bth_error *error)
{
        struct open_drive o;
        struct ctl_copy copy = { .session = run->session,
                                 .drive = (uint32_t)index,
                                 .copied = &run->copied,
                                 .pool = run->pool,
                                 .checkpoint_bytes = run->im->checkpoint_bytes,
                                 .progress = run->progress,
                                 .failed = file_failed,
                                 .userdata = run };
        int r = open_drive(run, index, &o, error);

        copy.volume = o.volume;
        copy.done = o.done;
        for (size_t i = 0; r == 0 && i < run->session->items.n_items; i++)
                if (run->session->items.items[i].drive == index && run->copied.hashes[i])
                        ctl_progress_add(run->progress, run->session->items.items[i].size_bytes);
        if (r == 0)
                r = put_sidecars(run, &o, error);
        if (r == 0)
                r = run->session->skip_write ? ctl_skipwrite_hash(&copy, error)
                                             : ctl_copy_drive(&copy, error);
        /* With files missing the drive keeps its old manifest, unless it was said that they may be
         * missing. */
        if (r == 0 && (copy.n_failed == 0 || run->im->leave_out))
                r = finish_drive(run, &o, error);
        if (r < 0 && error && error->object[0] == '\0')
                bth_error_at(error, o.drive->path, 0, error->offset_bytes);
        close_drive(&o);
        return r;
}

static bool has_items(const struct ctl_session *s, size_t drive)
{
        for (size_t i = 0; i < s->items.n_items; i++)
                if (s->items.items[i].drive == drive)
                        return true;
        return false;
}

static int run_drives(struct run *run, struct bth_error *error)
{
        const struct ctl_session *s = run->session;
        int r = 0;

        for (size_t i = 0; r == 0 && i < s->n_drives; i++) {
                if (!has_items(s, i)) {
                        ctl_say(run->im->context, "drive %s is not needed and was not touched",
                                s->drives[i].serial);
                        continue;
                }
                r = run_drive(run, i, error);
        }
        return r;
}

static int run_begin(struct run *run, struct ctl_import *im, const struct ctl_session *s)
{
        const uint64_t copying = s->items.total_bytes;
        int r = ctl_copied_new(s->items.n_items, &run->copied);

        run->im = im;
        run->session = s;
        run->drives = json_array();
        run->failed = json_array();
        if (r == 0)
                r = ctl_pool_new(0, POOL_QUEUE, CTL_COPY_SCRATCH, &run->pool);
        if (r == 0)
                r = ctl_progress_new(s->skip_write ? "hashing" : "copying", copying,
                                     im->context->quiet || im->context->json, &run->progress);
        return r;
}

static void run_end(struct run *run)
{
        (void)ctl_progress_free(run->progress);
        (void)ctl_pool_free(run->pool);
        ctl_copied_clear(&run->copied);
        ctl_report(run->im->context, "drives", run->drives);
        if (json_array_size(run->failed) > 0)
                ctl_report(run->im->context, "failed", run->failed);
        else
                json_decref(run->failed);
}

/* A plan that was stored right before a crash: the journal has not heard of its session. */
static int note_started(const struct ctl_import *im, struct bth_error *error)
{
        _cleanup_(med_journal_freep) struct med_journal *j = NULL;
        int r = ctl_import_journal(im, &j, error);

        if (r < 0 || ctl_journal_session(j, im->session) == CTL_SESSION_STARTED)
                return r;
        return ctl_journal_note_session(im->journal, im->session, CTL_SESSION_STARTED, error);
}

int ctl_import_run(struct ctl_import *im, const struct ctl_session *s, struct bth_error *error)
{
        struct run run = { 0 };
        struct stat st;
        int r = run_begin(&run, im, s);

        r = r < 0 ? no_memory(error) : note_started(im, error);
        if (r == 0)
                r = run_drives(&run, error);

        if (run.n_failed > FAILED_SHOWN)
                ctl_warn(im->context, "%zu files in all were not copied", run.n_failed);
        if (r == 0 && (run.n_failed == 0 || im->leave_out)) {
                r = ctl_journal_note_session(im->journal, im->session, CTL_SESSION_COMPLETED,
                                             error);
                if (r == 0) {
                        ctl_import_forget(im);
                        r = 1;
                }
        }
        if (r > 0 && stat(im->journal, &st) == 0 && st.st_size > PORTAL_BYTES)
                ctl_warn(im->context, "the journal is larger than 2 MB: give the portal the files "
                                      "SERIAL.xml beside it");
        run_end(&run);
        return r;
}

/* -- aborting
 * ------------------------------------------------------------------------------------------ */

static int remove_if_there(struct open_drive *o, const char *path, struct bth_error *error)
{
        int r = med_ntfs_writer_exists(o->volume->writer, path, error);

        if (r > 0)
                r = med_ntfs_writer_remove(o->volume->writer, path, error);
        return r < 0 ? r : checkpoint_if_large(o, error);
}

/* The folder of a file and those above it, as far as they are empty. */
static int remove_folders(struct open_drive *o, const char *file_path, struct bth_error *error)
{
        _cleanup_free_ char *path = strdup(file_path);
        char *slash;
        int r = 1;

        if (!path)
                return no_memory(error);
        while (r > 0 && (slash = strrchr(path, '\\')) && slash != path) {
                *slash = '\0';
                r = med_ntfs_writer_remove_folder(o->volume->writer, path, error);
        }
        return r < 0 ? r : checkpoint_if_large(o, error);
}

/* The files of the session are those of the drive's record: what else lies there is not its own. */
static int remove_items(const struct run *run, struct open_drive *o, struct bth_error *error)
{
        const struct ctl_session *s = run->session;
        char path[128];
        int r = 0;

        for (size_t i = 0; r == 0 && i < s->items.n_items; i++) {
                if (s->items.items[i].drive != o->index || !run->copied.hashes[i])
                        continue;
                if (!s->skip_write)
                        r = remove_if_there(o, s->items.items[i].file_path, error);
                if (r == 0 && s->content_md5)
                        r = remove_if_there(o, ctl_item_properties_path(s, i, path), error);
        }
        for (size_t i = s->items.n_items; r == 0 && !s->skip_write && i-- > 0;)
                if (s->items.items[i].drive == o->index && run->copied.hashes[i])
                        r = remove_folders(o, s->items.items[i].file_path, error);
        return r;
}

static int remove_files(const struct run *run, struct open_drive *o, struct bth_error *error)
{
        const struct ctl_session *s = run->session;
        char path[128];
        int r = remove_items(run, o, error);

        for (size_t row = 0; row < s->n_rows; row++)
                for (int k = 0; r == 0 && k < _CTL_SIDECAR_MAX; k++)
                        if (s->rows[row].sidecars[k])
                                r = remove_if_there(
                                        o, ctl_sidecar_path(s, row, (enum ctl_sidecar)k, path),
                                        error);
        return r < 0 ? r
                     : remove_folders(o, ctl_sidecar_path(s, 0, CTL_SIDECAR_METADATA, path), error);
}

/* The manifest without this session; a drive that has nothing else loses it. */
static int take_back_manifest(const struct run *run, struct open_drive *o, struct bth_error *error)
{
        struct ctl_copied nothing;
        struct ctl_manifest m;
        int r = ctl_copied_new(run->session->items.n_items, &nothing);

        if (r < 0)
                return no_memory(error);
        r = build_manifest(run, o, &nothing, &m, error);
        ctl_copied_clear(&nothing);
        if (r < 0)
                return r;
        if (m.n_blobs > 0) {
                r = replace_manifest(run, o, &m, error);
        } else {
                r = note_manifest(run, o, NULL, error);
                if (r == 0)
                        r = remove_if_there(o, CTL_MANIFEST_PATH, error);
                if (r == 0)
                        r = ctl_copy_checkpoint(o->volume, o->done, error);
        }
        ctl_manifest_clear(&m);
        return r;
}

static int abort_drive(struct run *run, size_t index, struct bth_error *error)
{
        _cleanup_(med_journal_freep) struct med_journal *j = NULL;
        const struct ctl_session_drive *d = &run->session->drives[index];
        struct open_drive o;
        int r = ctl_import_journal(run->im, &j, error);

        if (r < 0)
                return r;
        if (d->format && !bth_streq(ctl_journal_of_drive(j, d->serial, "BerthFormat"), "Completed"))
                return 0; /* there is no file system yet */
        r = open_drive(run, index, &o, error);
        /* First the manifest, so that it never names a file that is gone. */
        if (r == 0)
                r = take_back_manifest(run, &o, error);
        if (r == 0)
                r = remove_files(run, &o, error);
        if (r == 0)
                r = ctl_copy_checkpoint(o.volume, o.done, error);
        if (r < 0 && error && error->object[0] == '\0')
                bth_error_at(error, d->path, 0, error->offset_bytes);
        close_drive(&o);
        return r;
}

int ctl_import_abort(struct ctl_import *im, const struct ctl_session *s, struct bth_error *error)
{
        struct run run = { 0 };
        int r = run_begin(&run, im, s);

        r = r < 0 ? no_memory(error)
                  : ctl_journal_note_session(im->journal, im->session, CTL_SESSION_ABORTING, error);
        for (size_t i = 0; r == 0 && i < s->n_drives; i++)
                if (has_items(s, i))
                        r = abort_drive(&run, i, error);
        if (r == 0)
                r = ctl_journal_note_session(im->journal, im->session, CTL_SESSION_ABORTED, error);
        if (r == 0)
                ctl_import_forget(im);
        run_end(&run);
        return r;
}
