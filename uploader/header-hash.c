/* SPDX-License-Identifier: GPL-3.0-or-later */
/* header-hash - see header-hash.h. */
#include "uploader/header-hash.h"

#include <string.h>

#include "base/checked.h"
#include "base/digest.h"
#include "base/str.h"

#define PIECE_BYTES ((size_t)1 << 20)

struct region {
        uint64_t offset, length;
        enum bth_digest_kind kind;
        uint8_t hash[BTH_DIGEST_MAX_BYTES];
};

/* "offset:length:hash" in [text, text + n). Returns 0 or -EINVAL. */
static int parse_region(const char *text, size_t n, struct region *ret)
{
        const char *first = memchr(text, ':', n), *second;
        size_t digits;

        second = first ? memchr(first + 1, ':', n - (size_t)(first + 1 - text)) : NULL;
        if (!second || bth_parse_u64_n(text, (size_t)(first - text), &ret->offset) < 0 ||
            bth_parse_u64_n(first + 1, (size_t)(second - first - 1), &ret->length) < 0)
                return -EINVAL;
        digits = n - (size_t)(second + 1 - text);
        for (ret->kind = BTH_DIGEST_MD5; ret->kind < _BTH_DIGEST_MAX; ret->kind++)
                if (digits == 2 * bth_digest_size(ret->kind))
                        return bth_hex_decode(second + 1, digits, ret->hash);
        return -EINVAL;
}

static int hash_region(struct bth_source *device, const struct region *q, void *buffer,
                       uint8_t *ret_hash)
{
        _cleanup_(bth_digest_freep) struct bth_digest *d = NULL;
        int r = bth_digest_new(q->kind, &d);

        for (uint64_t at = 0; r == 0 && at < q->length;) {
                size_t take = (size_t)MIN((uint64_t)PIECE_BYTES, q->length - at);

                r = bth_source_read(device, q->offset + at, buffer, take);
                if (r == 0)
                        r = bth_digest_update(d, buffer, take);
                at += take;
        }
        return r < 0 ? r : bth_digest_finish(d, ret_hash);
}

static int check_region(struct bth_source *device, const struct region *q, void *buffer,
                        struct bth_error *error)
{
        uint8_t hash[BTH_DIGEST_MAX_BYTES];
        int r;

        if (!bth_range_inside(q->offset, q->length, device->size_bytes))
                return bth_error_set(error, -ERANGE, BTH_REASON_VALUE_INVALID,
                                     "the header hash names a place behind the drive's end");
        r = hash_region(device, q, buffer, hash);
        bth_error_at(error, NULL, 0, q->offset);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_DRIVE_READ_ERROR,
                                     "the drive cannot read what the header hash is over: %s",
                                     bth_strerror(r));
        if (memcmp(hash, q->hash, bth_digest_size(q->kind)) != 0)
                return bth_error_set(error, -EILSEQ, BTH_REASON_HASH_MISMATCH,
                                     "the first part of the drive, or of its volume, is not what "
                                     "it was when the drive was prepared");
        return 0;
}

int upl_header_hash_check(struct bth_source *device, const char *text, struct bth_error *error)
{
        _cleanup_free_ void *buffer = bth_io_buffer_new(PIECE_BYTES);
        uint64_t total = 0;
        unsigned n = 0;
        int r = 0;

        if (!buffer)
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory");
        for (const char *at = text; r == 0 && (*at || n == 0);) {
                size_t length = strcspn(at, ";");
                struct region q;

                if (parse_region(at, length, &q) < 0)
                        return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                             "the header hash is not of the form "
                                             "offset:length:hash;…");
                if (++n > UPL_HEADER_REGIONS_MAX || !bth_add_u64(total, q.length, &total) ||
                    total > UPL_HEADER_BYTES_MAX)
                        return bth_error_set(error, -ERANGE, BTH_REASON_LIMIT_EXCEEDED,
                                             "the header hash is over too much of the drive");
                r = check_region(device, &q, buffer, error);
                at += length;
                at += *at == ';';
        }
        return r;
}
