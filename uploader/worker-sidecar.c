/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker-sidecar - a small cache of checked files. */
#include "uploader/worker-sidecar.h"

#include <string.h>

#include "media/naming.h"

#define KEEP_UNUSED 32u /* files that nobody wants just now */

struct entry {
        struct upl_sidecar sidecar;
        struct entry *next; /* the latest used first */
        unsigned users;
        bool properties;
        uint8_t md5[BTH_MD5_BYTES];
        char *path;
};

struct upl_sidecars {
        const struct med_ntfs_volume *volume;
        const struct med_ntfs_index *index;
        struct entry *first;
};

int upl_sidecars_new(const struct med_ntfs_volume *volume, const struct med_ntfs_index *index,
                     struct upl_sidecars **ret_sidecars)
{
        struct upl_sidecars *s = calloc(1, sizeof *s);

        if (!s)
                return -ENOMEM;
        s->volume = volume;
        s->index = index;
        *ret_sidecars = s;
        return 0;
}

static void entry_free(struct entry *e)
{
        med_metadata_clear(&e->sidecar.metadata);
        med_properties_clear(&e->sidecar.properties);
        free(e->path);
        free(e);
}

struct upl_sidecars *upl_sidecars_free(struct upl_sidecars *s)
{
        if (!s)
                return NULL;
        while (s->first) {
                struct entry *e = s->first;

                s->first = e->next;
                entry_free(e);
        }
        free(s);
        return NULL;
}

static int fault(struct upl_sidecar *s, enum bth_sidecar_status status, int code,
                 enum bth_reason reason, const char *path, const char *sentence)
{
        s->status = status;
        bth_error_at(&s->error, path, 0, BTH_ERROR_NO_OFFSET);
        (void)bth_error_set(&s->error, code, reason, "%s", sentence);
        return 0;
}

static int find(const struct upl_sidecars *s, const char *path, struct upl_sidecar *to,
                struct med_ntfs_found *ret_found)
{
        int r = med_check_file_path(path, NULL);

        if (r == 0)
                r = med_ntfs_index_find(s->index, path, ret_found);
        to->status = BTH_SIDECAR_STATUS_COMPLETED;
        if (r == -ENAMETOOLONG)
                return fault(to, BTH_SIDECAR_STATUS_FILE_NAME_TOO_LONG, r, BTH_REASON_NAME_INVALID,
                             path, "the path of this file is too long");
        if (r == -ENOENT)
                return fault(to, BTH_SIDECAR_STATUS_FILE_NOT_FOUND, r, BTH_REASON_FILE_UNREADABLE,
                             path, "this file is not on the drive");
        if (r < 0)
                return fault(to, BTH_SIDECAR_STATUS_FILE_NAME_INVALID, r, BTH_REASON_NAME_INVALID,
                             path, "the path of this file is not a legal name");
        if (ret_found->status != MED_NTFS_OK && ret_found->status != MED_NTFS_IS_COMPRESSED)
                return fault(to, BTH_SIDECAR_STATUS_FILE_ACCESS_DENIED, -EACCES,
                             BTH_REASON_FILE_UNREADABLE, path, "this file cannot be opened");
        if (ret_found->size_bytes > MED_SIDECAR_MAX_BYTES)
                return fault(to, BTH_SIDECAR_STATUS_XML_READ_FAILED, -EFBIG, BTH_REASON_TOO_LARGE,
                             path, "this file is too large for metadata or properties");
        return 0;
}

static int read_content(const struct upl_sidecars *s, const struct med_ntfs_found *found,
                        uint8_t **ret_data)
{
        _cleanup_free_ uint8_t *data = malloc((size_t)found->size_bytes + 1);
        struct med_ntfs_file *file;
        int r;

        if (!data)
                return -ENOMEM;
        r = med_ntfs_file_open(s->volume, found->reference, &file);
        if (r < 0)
                return r;
        r = file->source.size_bytes != found->size_bytes ? -EIO : 0;
        if (r == 0 && found->size_bytes > 0)
                r = bth_source_read(&file->source, 0, data, (size_t)found->size_bytes);
        (void)bth_source_free(&file->source);
        if (r == 0)
                *ret_data = take_ptr(data);
        return r;
}

static int parse(struct entry *e, const uint8_t *data, size_t n)
{
        struct upl_sidecar *to = &e->sidecar;
        uint8_t md5[BTH_MD5_BYTES];
        int r = bth_digest_of(BTH_DIGEST_MD5, data, n, md5);

        if (r < 0)
                return r;
        if (memcmp(md5, e->md5, BTH_MD5_BYTES) != 0)
                return fault(to, BTH_SIDECAR_STATUS_CORRUPTED, -EILSEQ, BTH_REASON_HASH_MISMATCH,
                             e->path, "this file does not have the manifest's hash");
        r = e->properties ? med_properties_parse(data, n, e->path, &to->properties, &to->error)
                          : med_metadata_parse(data, n, e->path, &to->metadata, &to->error);
        if (r == -ENOMEM)
                return r;
        to->status = r < 0 ? BTH_SIDECAR_STATUS_XML_READ_FAILED : BTH_SIDECAR_STATUS_COMPLETED;
        return 0;
}

static int load(const struct upl_sidecars *s, struct entry *e)
{
        _cleanup_free_ uint8_t *data = NULL;
        struct med_ntfs_found found;
        int r = find(s, e->path, &e->sidecar, &found);

        if (r < 0 || e->sidecar.status != BTH_SIDECAR_STATUS_COMPLETED)
                return r;
        r = read_content(s, &found, &data);
        if (r == -ENODEV || r == -ENXIO)
                return -ENODEV;
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return fault(&e->sidecar, BTH_SIDECAR_STATUS_IO_FAILED, r,
                             BTH_REASON_DRIVE_READ_ERROR, e->path,
                             "the drive cannot read this file");
        return parse(e, data, (size_t)found.size_bytes);
}

/* Drops what nobody uses beyond the latest KEEP_UNUSED. */
static void trim(struct upl_sidecars *s)
{
        unsigned unused = 0;

        for (struct entry **link = &s->first; *link;) {
                struct entry *e = *link;

                if (e->users == 0 && ++unused > KEEP_UNUSED) {
                        *link = e->next;
                        entry_free(e);
                } else
                        link = &e->next;
        }
}

static struct entry *find_entry(struct upl_sidecars *s, bool properties,
                                const struct med_manifest_sidecar *from)
{
        for (struct entry **link = &s->first; *link; link = &(*link)->next) {
                struct entry *e = *link;

                if (e->properties == properties && strcmp(e->path, from->path) == 0 &&
                    memcmp(e->md5, from->md5, BTH_MD5_BYTES) == 0) {
                        *link = e->next;
                        e->next = s->first;
                        s->first = e;
                        return e;
                }
        }
        return NULL;
}

int upl_sidecar_get(struct upl_sidecars *s, bool properties,
                    const struct med_manifest_sidecar *from, const struct upl_sidecar **ret_sidecar)
{
        struct entry *e = find_entry(s, properties, from);
        int r;

        if (!e) {
                e = calloc(1, sizeof *e);
                if (!e)
                        return -ENOMEM;
                e->properties = properties;
                e->sidecar.error = BTH_ERROR_INIT;
                memcpy(e->md5, from->md5, BTH_MD5_BYTES);
                e->path = strdup(from->path);
                r = e->path ? load(s, e) : -ENOMEM;
                if (r < 0) {
                        entry_free(e);
                        return r;
                }
                e->next = s->first;
                s->first = e;
        }
        e->users++;
        trim(s);
        *ret_sidecar = &e->sidecar;
        return 0;
}

void upl_sidecar_put(struct upl_sidecars *s, const struct upl_sidecar *sidecar)
{
        /* Entries in use are few: one or two a blob under way. */
        for (struct entry *e = s->first; e; e = e->next)
                if (&e->sidecar == sidecar) {
                        e->users--;
                        break;
                }
}
