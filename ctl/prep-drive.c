/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/prep-drive.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "hal/identity.h"

#define INDEX_MAX_BYTES  ((size_t)1 << 30) /* more goes to an unlinked file, encrypted */
#define HASH_PIECE_BYTES ((size_t)1 << 20)

/* ---- serial number ---- */

int ctl_drive_serial(const char *path, char **ret_serial, struct bth_error *error)
{
        struct hal_identity id;
        int r = hal_identity_of_path(NULL, path, &id, error);

        if (r < 0)
                return r;
        if (id.fault != HAL_IDENTITY_FAULT_NONE)
                return bth_error_set(error, -ENODATA, BTH_REASON_VALUE_MISSING, "%s",
                                     hal_identity_fault_sentence(id.fault));
        *ret_serial = strdup(id.serial);
        return *ret_serial ? 0 : -ENOMEM;
}

/* ---- opening ---- */

static int open_stack(struct ctl_drive *d, enum upl_drive_depth depth,
                      const struct cry_credential *credential, struct bth_error *error)
{
        const struct upl_drive_options options = { .depth = depth };
        int r;

        d->fd = open(d->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (d->fd < 0)
                return bth_error_set(error, -errno, BTH_REASON_FILE_UNREADABLE,
                                     "it cannot be opened: %s", bth_strerror(-errno));
        r = upl_drive_open(d->fd, &options, credential, &d->drive, error);
        if (r == 0 && depth == UPL_DRIVE_FILES)
                r = med_ntfs_scan(d->drive->ntfs, INDEX_MAX_BYTES, &d->index, error);
        if (r < 0 && error && error->code == 0)
                return bth_error_set(error, r, BTH_REASON_DRIVE_READ_ERROR,
                                     "it cannot be opened: %s", bth_strerror(r));
        return r;
}

int ctl_drive_open(const char *path, enum upl_drive_depth depth,
                   const struct cry_credential *credential, struct ctl_drive **ret_drive,
                   struct bth_error *error)
{
        _cleanup_(ctl_drive_closep) struct ctl_drive *d = calloc(1, sizeof *d);
        struct bth_error no_serial = BTH_ERROR_INIT;
        int r;

        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        if (d) {
                d->fd = BTH_FD_NONE;
                d->path = strdup(path);
        }
        if (!d || !d->path)
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory");
        r = open_stack(d, depth, credential, error);
        if (r < 0)
                return r;
        /* Not every device has one, and not every verb wants it. */
        (void)!ctl_drive_serial(path, &d->serial, &no_serial);
        *ret_drive = take_ptr(d);
        return 0;
}

struct ctl_drive *ctl_drive_close(struct ctl_drive *d)
{
        if (!d)
                return NULL;
        (void)med_ntfs_index_free(d->index);
        (void)upl_drive_close(d->drive);
        (void)bth_close(d->fd);
        free(d->path);
        free(d->serial);
        free(d);
        return NULL;
}

/* ---- files ---- */

static int refuse(int r, enum med_ntfs_status status, struct bth_error *error)
{
        static const char *const why[] = {
                [MED_NTFS_IS_DIRECTORY] = "it is a folder",
                [MED_NTFS_IS_ENCRYPTED] = "Windows encrypted it for one user (EFS)",
                [MED_NTFS_IS_REPARSE] = "it is a link, or its content is kept elsewhere",
                [MED_NTFS_IS_OFFLINE] = "its content was moved to other storage",
                [MED_NTFS_IS_COMPRESSED] = "it is compressed in a way that cannot be read here",
                [MED_NTFS_IS_DAMAGED] = "its record in the file table is damaged",
        };

        if (r == 0 && status == MED_NTFS_IS_DIRECTORY)
                r = -EISDIR;
        else if (r == 0)
                r = status == MED_NTFS_IS_DAMAGED ? -EBADMSG : -EACCES;
        return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE, "%s",
                             status != MED_NTFS_OK && (size_t)status < ARRAY_SIZE(why) ? why[status]
                             : r == -ENOENT ? "it is not on the drive"
                                            : bth_strerror(r));
}

int ctl_drive_file(const struct ctl_drive *d, const char *path, struct med_ntfs_file **ret_file,
                   struct bth_error *error)
{
        struct med_ntfs_file *file = NULL;
        struct med_ntfs_found found = { .status = MED_NTFS_OK };
        int r = med_ntfs_index_find(d->index, path, &found);

        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        if (r == 0 && found.status != MED_NTFS_IS_DIRECTORY)
                r = med_ntfs_file_open(d->drive->ntfs, found.reference, &file);
        if (r == 0 && file && file->status == MED_NTFS_OK) {
                *ret_file = file;
                return 0;
        }
        if (file) {
                found.status = file->status;
                (void)bth_source_free(&file->source);
        }
        return refuse(r, r < 0 ? MED_NTFS_OK : found.status, error);
}

static int md5_of(struct bth_source *file, char *ret_hex)
{
        _cleanup_free_ void *buffer = bth_io_buffer_new(HASH_PIECE_BYTES);
        _cleanup_(bth_digest_freep) struct bth_digest *digest = NULL;
        uint8_t hash[BTH_MD5_BYTES];
        int r = buffer ? bth_digest_new(BTH_DIGEST_MD5, &digest) : -ENOMEM;

        for (uint64_t at = 0; r == 0 && at < file->size_bytes; at += HASH_PIECE_BYTES) {
                const size_t n = (size_t)MIN(file->size_bytes - at, (uint64_t)HASH_PIECE_BYTES);

                r = bth_source_read(file, at, buffer, n);
                if (r == 0)
                        r = bth_digest_update(digest, buffer, n);
        }
        if (r == 0)
                r = bth_digest_finish(digest, hash);
        if (buffer)
                bth_wipe(buffer, HASH_PIECE_BYTES); /* credentials may have been in it */
        if (r == 0)
                bth_hex_encode(hash, sizeof hash, ret_hex);
        return r;
}

static enum bth_drive_status status_of(int r)
{
        switch (r) {
        case -ENOENT:
        case -EISDIR:
                return BTH_DRIVE_STATUS_MANIFEST_NOT_FOUND;
        case -EILSEQ:
                return BTH_DRIVE_STATUS_MANIFEST_NAME_INVALID;
        case -ENAMETOOLONG:
                return BTH_DRIVE_STATUS_MANIFEST_NAME_TOO_LONG;
        case -EACCES:
                return BTH_DRIVE_STATUS_MANIFEST_ACCESS_DENIED;
        default:
                return BTH_DRIVE_STATUS_READ_MANIFEST_FAILED;
        }
}

struct manifests {
        char *path; /* the last one seen */
        size_t n;
};

static int take_manifest(void *context, const char *name, const struct med_ntfs_found *found)
{
        struct manifests *m = context;

        if (found->directory || !bth_ends_with(name, ".manifest"))
                return 0;
        m->n++;
        free(m->path);
        if (asprintf(&m->path, "\\%s", name) < 0)
                m->path = NULL;
        return m->path ? 0 : -ENOMEM;
}

/* Services name it after the drive, or by a GUID that is nowhere else: the only one will be it. */
static int find_any_manifest(const struct ctl_drive *d, char **ret_path, struct bth_error *error)
{
        struct manifests m = { 0 };
        int r = med_ntfs_index_list(d->index, "", take_manifest, &m);

        if (r == 0 && m.n == 1) {
                *ret_path = m.path;
                return 0;
        }
        free(m.path);
        if (r < 0)
                return r;
        bth_error_at(error, "\\", 0, BTH_ERROR_NO_OFFSET);
        r = bth_error_set(error, -ENOENT, BTH_REASON_FILE_UNREADABLE,
                          m.n == 0 ? "there is no manifest" : "there are several manifests");
        bth_error_advise(error, "name it with --manifest");
        return r;
}

/* The names that tools and service give it, where nobody has said. */
static int find_manifest(const struct ctl_drive *d, char **ret_path,
                         struct med_ntfs_file **ret_file, struct bth_error *error)
{
        _cleanup_free_ char *by_serial = NULL, *path = NULL;
        const char *names[] = { "\\DriveManifest.xml", "\\drive-manifest.xml", NULL };
        struct med_ntfs_found found;
        int r = 0;

        if (d->serial && asprintf(&by_serial, "\\%s.manifest", d->serial) < 0)
                return -ENOMEM;
        names[2] = by_serial;
        for (size_t i = 0; i < ARRAY_SIZE(names) && names[i] && !path; i++)
                if (med_ntfs_index_find(d->index, names[i], &found) == 0) {
                        path = strdup(names[i]);
                        r = path ? 0 : -ENOMEM;
                }
        if (r == 0 && !path)
                r = find_any_manifest(d, &path, error);
        if (r == 0)
                r = ctl_drive_file(d, path, ret_file, error);
        if (r == 0)
                *ret_path = take_ptr(path);
        return r;
}

int ctl_drive_manifest(struct ctl_drive *d, const char *path, const char *hash,
                       const struct med_findings *findings, struct med_manifest_spool **ret_spool,
                       char **ret_path, char ret_hash[2 * BTH_DIGEST_MAX_BYTES + 1],
                       enum bth_drive_status *ret_status, struct bth_error *error)
{
        struct med_ntfs_file *file = NULL;
        struct med_manifest_spool_options options = { .hash = hash, .findings = findings };
        _cleanup_free_ char *found = NULL;
        int r;

        ret_hash[0] = '\0';
        if (path) {
                r = ctl_drive_file(d, path, &file, error);
                found = strdup(path);
        } else {
                r = find_manifest(d, &found, &file, error);
        }
        *ret_status = status_of(r);
        if (r == 0 && !found)
                r = -ENOMEM;
        if (r == 0 && !hash) {
                r = md5_of(&file->source, ret_hash);
                options.hash = ret_hash;
                if (r < 0)
                        (void)bth_error_set(error, r, BTH_REASON_DRIVE_READ_ERROR,
                                            "the manifest cannot be read: %s", bth_strerror(r));
        } else if (r == 0) {
                (void)snprintf(ret_hash, 2 * BTH_DIGEST_MAX_BYTES + 1, "%s", hash);
        }
        if (r == 0) {
                options.object = found;
                r = med_manifest_spool_new(&file->source, &options, ret_spool, ret_status, error);
        }
        if (file)
                (void)bth_source_free(&file->source);
        if (r == 0)
                *ret_path = take_ptr(found);
        return r;
}
