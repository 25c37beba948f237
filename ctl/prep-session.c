/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/prep-session.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "media/manifest.h"

#define MIB (UINT64_C(1) << 20)

static const char *const sidecar_names[_CTL_SIDECAR_MAX] = { "metadata", "properties" };

json_t *ctl_session_row_to_json(const struct ctl_session_row *row)
{
        json_t *j = json_pack("{s:s}", "destination", row->destination);
        int r = j ? 0 : -1;

        if (r == 0 && row->disposition_given)
                r = json_object_set_new(j, "disposition",
                                        json_string(bth_disposition_to_string(row->disposition)));
        for (size_t i = 0; r == 0 && i < _CTL_SIDECAR_MAX; i++) {
                char hex[2 * BTH_MD5_BYTES + 1];

                if (row->sidecars[i])
                        r = json_object_set_new(
                                j, sidecar_names[i],
                                json_pack("{s:s, s:s}", "path", row->sidecars[i], "md5",
                                          bth_hex_encode(row->sidecar_md5[i], BTH_MD5_BYTES, hex)));
        }
        if (r < 0)
                json_decref(j);
        return r < 0 ? NULL : j;
}

json_t *ctl_session_drive_to_json(const struct ctl_session_drive *d)
{
        return json_pack("{s:s, s:s, s:b}", "path", d->path, "serial", d->serial, "format",
                         (int)d->format);
}

static int read_sidecar(const json_t *row, const char *name, const char **ret_path,
                        uint8_t ret_md5[BTH_MD5_BYTES])
{
        const json_t *j = json_object_get(row, name);
        const char *md5 = NULL;

        if (!j)
                return 0;
        if (bth_json_get_string(j, "path", ret_path) < 0 ||
            bth_json_get_string(j, "md5", &md5) < 0 || strlen(md5) != 2 * BTH_MD5_BYTES ||
            bth_hex_decode(md5, strlen(md5), ret_md5) < 0)
                return -EBADMSG;
        return 0;
}

static int read_row(const json_t *j, struct ctl_session_row *row)
{
        const char *disposition = NULL;
        int r = bth_json_get_string(j, "destination", &row->destination);

        if (r == 0)
                r = bth_json_get_string(j, "disposition", &disposition);
        if (r == 0) {
                row->disposition = bth_disposition_from_string(disposition);
                row->disposition_given = true;
                if ((int)row->disposition < 0)
                        return -EBADMSG;
        } else if (r != -ENOENT || !row->destination)
                return -EBADMSG;
        for (size_t i = 0; i < _CTL_SIDECAR_MAX; i++) {
                r = read_sidecar(j, sidecar_names[i], &row->sidecars[i], row->sidecar_md5[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_drive(const json_t *j, struct ctl_session_drive *d)
{
        return bth_json_get_string(j, "path", &d->path) < 0 ||
                               bth_json_get_string(j, "serial", &d->serial) < 0 ||
                               bth_json_get_bool(j, "format", &d->format) < 0
                       ? -EBADMSG
                       : 0;
}

static int read_lists(struct ctl_session *s)
{
        const json_t *rows = json_object_get(s->header, "rows"),
                     *drives = json_object_get(s->header, "drives");
        int r = 0;

        s->n_rows = json_array_size(rows);
        s->n_drives = json_array_size(drives);
        s->rows = calloc(MAX(s->n_rows, (size_t)1), sizeof *s->rows);
        s->drives = calloc(MAX(s->n_drives, (size_t)1), sizeof *s->drives);
        if (!s->rows || !s->drives)
                return -ENOMEM;
        for (size_t i = 0; r == 0 && i < s->n_rows; i++)
                r = read_row(json_array_get(rows, i), &s->rows[i]);
        for (size_t i = 0; r == 0 && i < s->n_drives; i++)
                r = read_drive(json_array_get(drives, i), &s->drives[i]);
        return r < 0 ? r : s->n_rows == 0 || s->n_drives == 0 ? -EBADMSG : 0;
}

int ctl_session_read(json_t *header, struct ctl_session *ret_session)
{
        struct ctl_session s = { .header = header };
        int r = bth_json_get_string(header, "session", &s.id);

        if (r == 0)
                r = bth_json_get_u64(header, "blockBytes", &s.block_bytes);
        if (r == 0)
                r = bth_json_get_bool(header, "contentMd5", &s.content_md5);
        if (r == 0)
                r = bth_json_get_bool(header, "skipWrite", &s.skip_write);
        if (r == 0 && (s.block_bytes == 0 || s.block_bytes > MED_MANIFEST_BLOCK_BYTES))
                r = -EBADMSG;
        r = r < 0 ? -EBADMSG : read_lists(&s);
        if (r < 0) {
                ctl_session_clear(&s);
                return r;
        }
        *ret_session = s;
        return 0;
}

void ctl_session_clear(struct ctl_session *s)
{
        free(s->rows);
        free(s->drives);
        ctl_items_clear(&s->items);
        json_decref(s->header);
        *s = (struct ctl_session){ 0 };
}

uint64_t ctl_item_block_bytes(const struct ctl_session *s, const struct ctl_item *item)
{
        const uint64_t least =
                (item->size_bytes + MED_MANIFEST_BLOCKS_MAX - 1) / MED_MANIFEST_BLOCKS_MAX;

        if (item->page) { /* a manifest has no more than MED_MANIFEST_RANGES_MAX of one blob */
                const uint64_t page =
                        (item->size_bytes / MED_MANIFEST_PAGE_BYTES + MED_MANIFEST_RANGES_MAX - 1) /
                        MED_MANIFEST_RANGES_MAX * MED_MANIFEST_PAGE_BYTES;

                return MAX(MIN(s->block_bytes, CTL_BLOCK_2014_BYTES), page);
        }
        return least <= s->block_bytes ? s->block_bytes : (least + MIB - 1) / MIB * MIB;
}

size_t ctl_item_blocks(const struct ctl_session *s, const struct ctl_item *item)
{
        const uint64_t block = ctl_item_block_bytes(s, item);

        return (size_t)((item->size_bytes + block - 1) / block);
}

char *ctl_sidecar_path(const struct ctl_session *s, size_t row, enum ctl_sidecar kind,
                       char out[128])
{
        (void)snprintf(out, 128, "\\%s.sidecars\\%zu.%s.xml", s->id, row, sidecar_names[kind]);
        return out;
}
