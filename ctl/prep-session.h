/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-session - a copy session: its rows, drives and files, as the plan keeps them.
 * The plan's header holds all but the files; every text belongs to it. Keys are never in it.
 * Source: import-export specification 1.7, 4. */
#pragma once

#include "base/digest.h"
#include "base/json.h"
#include "base/status.h"
#include "ctl/prep-source.h"

#define CTL_BLOCK_BYTES      (UINT64_C(4) << 20)
#define CTL_BLOCK_2014_BYTES (UINT64_C(4) << 20) /* largest block of the 2014 manifest */

enum ctl_sidecar {
        CTL_SIDECAR_METADATA,
        CTL_SIDECAR_PROPERTIES,
        _CTL_SIDECAR_MAX,
        _CTL_SIDECAR_INVALID = -EINVAL,
};

struct ctl_session_row {
        const char *destination; /* for people */
        bool disposition_given;
        enum bth_disposition disposition;
        const char *sidecars[_CTL_SIDECAR_MAX]; /* source files; NULL: none */
        uint8_t sidecar_md5[_CTL_SIDECAR_MAX][BTH_MD5_BYTES];
};

struct ctl_session_drive {
        const char *path;
        const char *serial;
        bool format;
};

struct ctl_session {
        json_t *header;
        const char *id;
        uint64_t block_bytes;
        bool content_md5;
        bool skip_write; /* the files are on the drive already */
        struct ctl_session_row *rows;
        size_t n_rows;
        struct ctl_session_drive *drives;
        size_t n_drives;
        struct ctl_items items;
};

/* Takes `header` over, also on failure. Items are not touched. Returns 0, -EBADMSG when a member is
 * missing or wrong, -ENOMEM. */
int ctl_session_read(json_t *header, struct ctl_session *ret_session) _must_check_;
void ctl_session_clear(struct ctl_session *s);

/* A row and a drive as they stand in the header's arrays "rows" and "drives". NULL when there is no
 * memory. */
json_t *ctl_session_row_to_json(const struct ctl_session_row *row) _must_check_;
json_t *ctl_session_drive_to_json(const struct ctl_session_drive *drive) _must_check_;

/* How the file is cut: the session's block, or for a file of more than 50,000 of these a larger
 * one. Page ranges are never larger than 4 MiB. */
uint64_t ctl_item_block_bytes(const struct ctl_session *s, const struct ctl_item *item) _pure_;
size_t ctl_item_blocks(const struct ctl_session *s, const struct ctl_item *item) _pure_;

/* Where a row's sidecar stands on the drive: "\SESSION.sidecars\3.metadata.xml". A session's id has
 * no dot, so no session's folder is meant. `out` has room for 128 bytes. Returns `out`. */
char *ctl_sidecar_path(const struct ctl_session *s, size_t row, enum ctl_sidecar kind,
                       char out[128]);
