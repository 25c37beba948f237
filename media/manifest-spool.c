/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manifest-spool - copying a manifest away from its drive while hashing it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/io.h"
#include "base/secret.h"
#include "base/str.h"
#include "media/manifest-finding.h"
#include "media/manifest-spool.h"
#include "media/xml.h"

#define PIECE_BYTES ((size_t)256 << 10)

struct med_manifest_spool {
        struct bth_source *source;
};

/* What one spooling needs until the hash is known. */
struct copy {
        const struct med_manifest_spool_options *options;
        struct bth_source *file;
        int fd;
        enum bth_digest_kind kind;
        struct bth_digest *digest;
        uint8_t expected[BTH_DIGEST_MAX_BYTES];
        enum bth_drive_status status;
        struct bth_error *error;
};

static int _printf_(5, 6) fail(struct copy *c, int code, enum bth_drive_status status,
                               enum bth_reason reason, const char *format, ...)
{
        char sentence[256];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(sentence, sizeof sentence, format, ap);
        va_end(ap);
        c->status = status;
        bth_error_at(c->error, c->options->object, 0, BTH_ERROR_NO_OFFSET);
        return bth_error_set(c->error, code, reason, "%s", sentence);
}

/* The number of digits says which hash it is. */
static int read_expected_hash(struct copy *c)
{
        const char *text = c->options->hash ? c->options->hash : "";
        size_t n = strlen(text);

        med_xml_trim(&text, &n);
        c->kind = n == 2 * BTH_SHA256_BYTES ? BTH_DIGEST_SHA256 : BTH_DIGEST_MD5;
        if (n == 2 * bth_digest_size(c->kind) && bth_hex_decode(text, n, c->expected) == 0)
                return 0;
        return fail(c, -EINVAL, BTH_DRIVE_STATUS_MANIFEST_CORRUPTED, BTH_REASON_VALUE_INVALID,
                    "the hash that the journal gives for the manifest, '%.70s', has neither 32 nor "
                    "64 hexadecimal digits",
                    text);
}

static int check_empty(int fd)
{
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        return st.st_size == 0 ? 0 : -EEXIST;
}

static int prepare(struct copy *c)
{
        const uint64_t max =
                c->options->max_bytes > 0 ? c->options->max_bytes : MED_MANIFEST_MAX_BYTES;
        int r = read_expected_hash(c);

        if (r < 0)
                return r;
        if (c->file->size_bytes > max)
                return fail(c, -EFBIG, BTH_DRIVE_STATUS_MANIFEST_FORMAT_INVALID,
                            BTH_REASON_TOO_LARGE,
                            "the manifest has %llu bytes; at most %llu are accepted",
                            (unsigned long long)c->file->size_bytes, (unsigned long long)max);
        r = bth_digest_new(c->kind, &c->digest);
        if (r < 0)
                return fail(c, r, BTH_DRIVE_STATUS_INTERNAL_ERROR, BTH_REASON_INTERNAL,
                            "no digest: %s", bth_strerror(r));
        r = c->fd < 0 ? bth_open_unlinked(c->options->folder, &c->fd) : check_empty(c->fd);
        if (r < 0)
                return fail(c, r, BTH_DRIVE_STATUS_INTERNAL_ERROR, BTH_REASON_FILE_UNWRITABLE,
                            "no file for a copy of the manifest: %s", bth_strerror(r));
        return 0;
}

static int copy_piece(struct copy *c, void *buffer, uint64_t offset_bytes, size_t n)
{
        int r = bth_source_read(c->file, offset_bytes, buffer, n);

        if (r < 0) {
                r = fail(c, r, BTH_DRIVE_STATUS_READ_MANIFEST_FAILED, BTH_REASON_DRIVE_READ_ERROR,
                         "the drive failed while the manifest was read: %s", bth_strerror(r));
                bth_error_at(c->error, NULL, 0, offset_bytes);
                return r;
        }
        r = bth_digest_update(c->digest, buffer, n);
        if (r == 0)
                r = bth_pwrite_full(c->fd, buffer, n, offset_bytes);
        if (r < 0)
                return fail(c, r, BTH_DRIVE_STATUS_INTERNAL_ERROR,
                            r == -ENOSPC ? BTH_REASON_DISK_FULL : BTH_REASON_FILE_UNWRITABLE,
                            "the copy of the manifest cannot be written: %s", bth_strerror(r));
        return 0;
}

static int copy_all(struct copy *c)
{
        _cleanup_free_ void *buffer = bth_io_buffer_new(PIECE_BYTES);
        const uint64_t size = c->file->size_bytes;
        int r = 0;

        if (!buffer)
                return fail(c, -ENOMEM, BTH_DRIVE_STATUS_INTERNAL_ERROR, BTH_REASON_OUT_OF_MEMORY,
                            "no memory to read the manifest");
        for (uint64_t at = 0; r == 0 && at < size; at += PIECE_BYTES)
                r = copy_piece(c, buffer, at, (size_t)MIN(size - at, (uint64_t)PIECE_BYTES));
        bth_wipe(buffer, PIECE_BYTES); /* credentials may have been in it */
        return r;
}

static int compare_hash(struct copy *c)
{
        char expected[2 * BTH_DIGEST_MAX_BYTES + 1], actual[2 * BTH_DIGEST_MAX_BYTES + 1];
        const size_t n = bth_digest_size(c->kind);
        uint8_t hash[BTH_DIGEST_MAX_BYTES];
        int r = bth_digest_finish(c->digest, hash);

        if (r < 0)
                return fail(c, r, BTH_DRIVE_STATUS_INTERNAL_ERROR, BTH_REASON_INTERNAL,
                            "the digest failed");
        if (memcmp(hash, c->expected, n) == 0)
                return 0;
        (void)bth_hex_encode(c->expected, n, expected);
        (void)bth_hex_encode(hash, n, actual);
        med_manifest_report(c->options->findings, MED_MANIFEST_FINDING_MANIFEST_HASH_MISMATCH, 0,
                            NULL, "the journal says %s, the file has %s", expected, actual);
        r = fail(c, -EBADMSG, BTH_DRIVE_STATUS_MANIFEST_CORRUPTED, BTH_REASON_HASH_MISMATCH,
                 "the manifest does not have the hash of the journal: that says %s, the file has "
                 "%s",
                 expected, actual);
        bth_error_advise(c->error, "%s",
                         med_manifest_finding_advice(MED_MANIFEST_FINDING_MANIFEST_HASH_MISMATCH));
        return r;
}

static int spool(struct copy *c, struct med_manifest_spool **ret_spool)
{
        _cleanup_(med_manifest_spool_freep) struct med_manifest_spool *s = NULL;
        int r = prepare(c);

        if (r == 0)
                r = copy_all(c);
        if (r == 0)
                r = compare_hash(c);
        if (r < 0)
                return r;
        s = calloc(1, sizeof *s);
        if (!s)
                r = -ENOMEM;
        else
                r = bth_source_new_fd(take_fd(c->fd), true, &s->source);
        if (r < 0)
                return fail(c, r, BTH_DRIVE_STATUS_INTERNAL_ERROR, BTH_REASON_INTERNAL,
                            "the copy of the manifest cannot be used: %s", bth_strerror(r));
        *ret_spool = take_ptr(s);
        return 0;
}

int med_manifest_spool_new(struct bth_source *file,
                           const struct med_manifest_spool_options *options,
                           struct med_manifest_spool **ret_spool, enum bth_drive_status *ret_status,
                           struct bth_error *error)
{
        struct copy c = {
                .options = options,
                .file = file,
                .fd = options->fd > 0 ? options->fd : BTH_FD_NONE,
                .status = BTH_DRIVE_STATUS_COMPLETED,
                .error = error,
        };
        int r = spool(&c, ret_spool);

        (void)bth_digest_free(c.digest);
        (void)bth_close(c.fd);
        if (ret_status)
                *ret_status = c.status;
        return r;
}

struct bth_source *med_manifest_spool_source(struct med_manifest_spool *s)
{
        return s->source;
}

struct med_manifest_spool *med_manifest_spool_free(struct med_manifest_spool *s)
{
        if (s) {
                (void)bth_source_free(s->source);
                free(s);
        }
        return NULL;
}
