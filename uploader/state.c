/* SPDX-License-Identifier: GPL-3.0-or-later */
/* state - see state.h; the file and its lock. What its records say is kept in state-known.c. */
#include "uploader/state.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/io.h"
#include "base/le.h"
#include "base/str.h"
#include "crypto/crc64.h"
#include "uploader/state-known.h"

#define MAGIC             "BERTHUPL"
#define HEADER_BYTES      64u
#define RECORD_HEAD_BYTES 16u
#define RECORD_TAIL_BYTES 8u
#define PAYLOAD_MAX       16384u
#define FILE_MAX_BYTES    (UINT64_C(16) << 30)
#define TEXT_NONE         UINT32_MAX

enum record_kind { RECORD_INTENT = 1, RECORD_OUTCOME = 2, RECORD_PAGE = 3, RECORD_BEGUN = 4 };

/* No page of a blob: says that the blob is there, by us. */
static const struct upl_page made = { UINT64_MAX, 0 };

struct upl_state {
        int fd;
        uint8_t identity[UPL_STATE_IDENTITY_BYTES];
        pthread_mutex_t lock; /* over all below; nothing is locked while it is held */
        pthread_cond_t flushed;
        uint64_t size_bytes;    /* written */
        uint64_t flushed_bytes; /* on stable storage */
        bool flushing;          /* a thread is in fdatasync(), without the lock */
        uint64_t begun_usec;
        int failed; /* the error that ended all writing */
        struct upl_known known;
};

/* --- records --- */

static int add_u32(struct bth_buf *b, uint32_t v)
{
        uint8_t raw[4];

        bth_store_le32(raw, v);
        return bth_buf_add(b, raw, sizeof raw);
}

static int add_u64(struct bth_buf *b, uint64_t v)
{
        uint8_t raw[8];

        bth_store_le64(raw, v);
        return bth_buf_add(b, raw, sizeof raw);
}

static int add_text(struct bth_buf *b, const char *text)
{
        size_t n = text ? strlen(text) : 0;
        int r = n < PAYLOAD_MAX ? add_u32(b, text ? (uint32_t)n : TEXT_NONE) : -ENAMETOOLONG;

        return r < 0 || !text ? r : bth_buf_add(b, text, n);
}

struct cursor {
        const uint8_t *data;
        size_t n;
        bool bad;
};

static uint64_t take_number(struct cursor *c, size_t bytes)
{
        uint64_t v;

        if (c->bad || c->n < bytes) {
                c->bad = true;
                return 0;
        }
        v = bytes == 8 ? bth_load_le64(c->data) : bth_load_le32(c->data);
        c->data += bytes;
        c->n -= bytes;
        return v;
}

static int take_text(struct cursor *c, char **ret_text)
{
        uint64_t n = take_number(c, 4);

        *ret_text = NULL;
        if (c->bad || n == TEXT_NONE)
                return 0;
        if (n > c->n || memchr(c->data, '\0', (size_t)n)) {
                c->bad = true;
                return 0;
        }
        *ret_text = strndup((const char *)c->data, (size_t)n);
        c->data += n;
        c->n -= (size_t)n;
        return *ret_text ? 0 : -ENOMEM;
}

static int replay_intent(struct upl_state *s, uint64_t blob, struct cursor *c)
{
        struct upl_intent i = { .realtime_usec = take_number(c, 8) };
        _cleanup_free_ char *container = NULL;
        int r = take_text(c, &container);

        if (r == 0)
                r = take_text(c, &i.name);

        if (r == 0)
                r = take_text(c, &i.etag);
        if (r == 0)
                r = take_text(c, &i.lease_id);
        if (r == 0 && (c->bad || !container || !i.name))
                r = -EBADMSG;
        if (r == 0)
                r = upl_known_intent(&s->known, blob, container, &i);
        upl_intent_clear(&i);
        return r;
}

static int replay_outcome(struct upl_state *s, uint64_t blob, struct cursor *c)
{
        struct upl_outcome o = { 0 };
        uint64_t status = take_number(c, 4), disposition = take_number(c, 4);
        _cleanup_free_ char *container = NULL;
        int r = take_text(c, &container);

        if (r == 0)
                r = take_text(c, &o.name);

        if (r == 0)
                r = take_text(c, &o.etag);
        if (r == 0 && (c->bad || !container || !o.name || status >= _BTH_BLOB_STATUS_MAX ||
                       disposition >= _BTH_DISPOSITION_STATUS_MAX))
                r = -EBADMSG;
        o.status = (enum bth_blob_status)status;
        o.disposition = (enum bth_disposition_status)disposition;
        if (r == 0)
                r = upl_known_outcome(&s->known, blob, container, &o);
        upl_outcome_clear(&o);
        return r;
}

static int replay_record(struct upl_state *s, uint32_t kind, uint64_t blob, const uint8_t *payload,
                         size_t n)
{
        struct cursor c = { payload, n, false };
        struct upl_page page;

        switch (kind) {
        case RECORD_INTENT:
                return replay_intent(s, blob, &c);
        case RECORD_OUTCOME:
                return replay_outcome(s, blob, &c);
        case RECORD_PAGE:
                page.offset_bytes = take_number(&c, 8);
                page.length_bytes = take_number(&c, 8);
                return c.bad ? -EBADMSG : upl_known_page(&s->known, blob, page);
        case RECORD_BEGUN:
                s->begun_usec = take_number(&c, 8);
                return c.bad ? -EBADMSG : 0;
        default:
                return -EBADMSG;
        }
}

/* Reads records up to the first that is not whole. Returns where that is in `ret_end`. */
static int replay(struct upl_state *s, uint64_t file_bytes, uint64_t *ret_end)
{
        uint8_t record[RECORD_HEAD_BYTES + PAYLOAD_MAX + RECORD_TAIL_BYTES];
        uint64_t at = HEADER_BYTES;

        while (bth_range_inside(at, RECORD_HEAD_BYTES + RECORD_TAIL_BYTES, file_bytes)) {
                uint32_t n;
                size_t whole;
                int r = bth_pread_full(s->fd, record, RECORD_HEAD_BYTES, at);

                if (r < 0)
                        return r;
                n = bth_load_le32(record + 4);
                whole = RECORD_HEAD_BYTES + (size_t)n + RECORD_TAIL_BYTES;
                if (n > PAYLOAD_MAX || !bth_range_inside(at, whole, file_bytes))
                        break;
                r = bth_pread_full(s->fd, record, whole, at);
                if (r < 0)
                        return r;
                if (cry_crc64(at, record, whole - RECORD_TAIL_BYTES) !=
                    bth_load_le64(record + whole - RECORD_TAIL_BYTES))
                        break;
                r = replay_record(s, bth_load_le32(record), bth_load_le64(record + 8),
                                  record + RECORD_HEAD_BYTES, n);
                if (r < 0)
                        return r;
                at += whole;
        }
        *ret_end = at;
        return 0;
}

/* --- the file --- */

static void make_header(const uint8_t *identity, uint8_t header[HEADER_BYTES])
{
        memset(header, 0, HEADER_BYTES);
        memcpy(header, MAGIC, 8);
        bth_store_le32(header + 8, UPL_STATE_VERSION);
        memcpy(header + 16, identity, UPL_STATE_IDENTITY_BYTES);
        bth_store_le64(header + 56, cry_crc64(0, header, 56));
}

static int check_header(const uint8_t header[HEADER_BYTES], const uint8_t *identity,
                        struct bth_error *error)
{
        if (memcmp(header, MAGIC, 8) != 0 || bth_load_le64(header + 56) != cry_crc64(0, header, 56))
                return bth_error_set(error, -EBADMSG, BTH_REASON_SYNTAX,
                                     "this is no record of a transfer");
        if (bth_load_le32(header + 8) != UPL_STATE_VERSION)
                return bth_error_set(error, -EPROTO, BTH_REASON_UNSUPPORTED,
                                     "the record was written by another version (%u)",
                                     bth_load_le32(header + 8));
        if (memcmp(header + 16, identity, UPL_STATE_IDENTITY_BYTES) != 0)
                return bth_error_set(error, -ESTALE, BTH_REASON_VALUE_INVALID,
                                     "the record belongs to another drive or manifest");
        return 0;
}

static int load(struct upl_state *s, const uint8_t *identity, struct bth_error *error)
{
        uint8_t header[HEADER_BYTES];
        uint64_t end = HEADER_BYTES;
        struct stat st;
        int r;

        if (fstat(s->fd, &st) < 0)
                return -errno;
        if ((uint64_t)st.st_size > FILE_MAX_BYTES)
                return bth_error_set(error, -EBADMSG, BTH_REASON_TOO_LARGE,
                                     "the record of the transfer is larger than any can be");
        /* A crash while the file was made leaves less than a header: nothing was intended yet. */
        if ((uint64_t)st.st_size < HEADER_BYTES) {
                make_header(identity, header);
                r = bth_pwrite_full(s->fd, header, sizeof header, 0);
        } else {
                r = bth_pread_full(s->fd, header, sizeof header, 0);
                if (r == 0)
                        r = check_header(header, identity, error);
                if (r == 0)
                        r = replay(s, (uint64_t)st.st_size, &end);
        }
        if (r == 0 && ftruncate(s->fd, (off_t)end) < 0)
                r = -errno;
        if (r == 0 && fsync(s->fd) < 0)
                r = -errno;
        s->size_bytes = s->flushed_bytes = end;
        return r;
}

int upl_state_open(int folder_fd, const char *name,
                   const uint8_t identity[UPL_STATE_IDENTITY_BYTES], struct upl_state **ret_state,
                   struct bth_error *error)
{
        struct upl_state *s = calloc(1, sizeof *s);
        int r = 0;

        bth_error_at(error, name, 0, BTH_ERROR_NO_OFFSET);
        if (!s)
                return -ENOMEM;
        memcpy(s->identity, identity, sizeof s->identity);
        /* Another user may go on, of the group that the folder is shared with: umask(2) decides. */
        s->fd = openat(folder_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0660);
        if (s->fd < 0)
                r = bth_error_set(error, -errno, BTH_REASON_FILE_UNWRITABLE,
                                  "the record of the transfer cannot be opened: %s",
                                  bth_strerror(-errno));
        else if (upl_known_init(&s->known) < 0 || pthread_mutex_init(&s->lock, NULL) != 0)
                r = -ENOMEM;
        else if (pthread_cond_init(&s->flushed, NULL) != 0) {
                (void)pthread_mutex_destroy(&s->lock);
                r = -ENOMEM;
        }
        if (r < 0) {
                (void)bth_close(s->fd);
                upl_known_clear(&s->known);
                free(s);
                return r;
        }
        if (flock(s->fd, LOCK_EX | LOCK_NB) < 0)
                r = bth_error_set(error, -EBUSY, BTH_REASON_DEVICE_BUSY,
                                  "another worker transfers this drive");
        if (r == 0)
                r = load(s, identity, error);
        if (r == 0 && fsync(folder_fd) < 0)
                r = -errno;
        if (r < 0)
                (void)upl_state_free(s);
        else
                *ret_state = s;
        return r;
}

struct upl_state *upl_state_free(struct upl_state *s)
{
        if (!s)
                return NULL;
        upl_known_clear(&s->known);
        (void)pthread_cond_destroy(&s->flushed);
        (void)pthread_mutex_destroy(&s->lock);
        (void)bth_close(s->fd);
        free(s);
        return NULL;
}

const uint8_t *upl_state_identity(const struct upl_state *s)
{
        return s->identity;
}

/* Appends one record, with the lock held. */
static int append(struct upl_state *s, enum record_kind kind, uint64_t blob,
                  const struct bth_buf *payload)
{
        _cleanup_buf_ struct bth_buf record = BTH_BUF_INIT;
        int r;

        if (s->failed < 0)
                return s->failed;
        if (payload->length > PAYLOAD_MAX)
                return -ENAMETOOLONG;
        r = add_u32(&record, kind);
        if (r == 0)
                r = add_u32(&record, (uint32_t)payload->length);
        if (r == 0)
                r = add_u64(&record, blob);
        if (r == 0)
                r = bth_buf_add(&record, payload->data, payload->length);
        /* The place goes into the checksum, so that an old record elsewhere is none. */
        if (r == 0)
                r = add_u64(&record, cry_crc64(s->size_bytes, record.data, record.length));
        if (r < 0)
                return r;
        r = bth_pwrite_full(s->fd, record.data, record.length, s->size_bytes);
        if (r < 0) {
                s->failed = r;
                return r;
        }
        s->size_bytes += record.length;
        return 0;
}

/* Waits until everything up to `end` is on stable storage: one thread flushes for all that wait.
 * Called and left with the lock held. */
static int flush_up_to(struct upl_state *s, uint64_t end)
{
        while (s->flushed_bytes < end && s->failed == 0) {
                uint64_t size = s->size_bytes;
                int r;

                if (s->flushing) {
                        (void)pthread_cond_wait(&s->flushed, &s->lock);
                        continue;
                }
                s->flushing = true;
                (void)pthread_mutex_unlock(&s->lock);
                r = fdatasync(s->fd) < 0 ? -errno : 0;
                (void)pthread_mutex_lock(&s->lock);
                s->flushing = false;
                if (r < 0)
                        s->failed = r; /* the kernel may have dropped what was not written */
                else
                        s->flushed_bytes = MAX(s->flushed_bytes, size);
                (void)pthread_cond_broadcast(&s->flushed);
        }
        return s->failed;
}

int upl_state_claim(struct upl_state *s, uint64_t blob, const char *container, const char *name)
{
        int r;

        (void)pthread_mutex_lock(&s->lock);
        r = upl_claims_take(s->known.claims, container, name, blob);
        (void)pthread_mutex_unlock(&s->lock);
        return r;
}

bool upl_state_is_claimed(struct upl_state *s, uint64_t blob, const char *container,
                          const char *name)
{
        bool claimed;

        (void)pthread_mutex_lock(&s->lock);
        claimed = upl_claims_others(s->known.claims, container, name, blob);
        (void)pthread_mutex_unlock(&s->lock);
        return claimed;
}

int upl_state_intend(struct upl_state *s, uint64_t blob, const char *container,
                     const struct upl_intent *intent)
{
        _cleanup_buf_ struct bth_buf payload = BTH_BUF_INIT;
        int r = add_u64(&payload, intent->realtime_usec);

        if (r == 0)
                r = add_text(&payload, container);
        if (r == 0)
                r = add_text(&payload, intent->name);
        if (r == 0)
                r = add_text(&payload, intent->etag);
        if (r == 0)
                r = add_text(&payload, intent->lease_id);
        if (r < 0)
                return r;
        (void)pthread_mutex_lock(&s->lock);
        r = append(s, RECORD_INTENT, blob, &payload);
        if (r == 0)
                r = upl_known_intent(&s->known, blob, container, intent);
        if (r == 0)
                r = flush_up_to(s, s->size_bytes);
        (void)pthread_mutex_unlock(&s->lock);
        return r;
}

int upl_state_begin(struct upl_state *s, uint64_t realtime_usec)
{
        _cleanup_buf_ struct bth_buf payload = BTH_BUF_INIT;
        int r = add_u64(&payload, realtime_usec);

        if (r < 0)
                return r;
        (void)pthread_mutex_lock(&s->lock);
        if (s->begun_usec == 0) {
                r = append(s, RECORD_BEGUN, 0, &payload);
                if (r == 0)
                        r = flush_up_to(s, s->size_bytes);
                if (r == 0)
                        s->begun_usec = realtime_usec;
        }
        (void)pthread_mutex_unlock(&s->lock);
        return r;
}

uint64_t upl_state_begun(struct upl_state *s)
{
        uint64_t begun;

        (void)pthread_mutex_lock(&s->lock);
        begun = s->begun_usec;
        (void)pthread_mutex_unlock(&s->lock);
        return begun;
}

int upl_state_flush(struct upl_state *s)
{
        int r;

        (void)pthread_mutex_lock(&s->lock);
        r = flush_up_to(s, s->size_bytes);
        (void)pthread_mutex_unlock(&s->lock);
        return r;
}

int upl_state_finish(struct upl_state *s, uint64_t blob, const char *container,
                     const struct upl_outcome *outcome)
{
        _cleanup_buf_ struct bth_buf payload = BTH_BUF_INIT;
        int r = add_u32(&payload, (uint32_t)outcome->status);

        if (r == 0)
                r = add_u32(&payload, (uint32_t)outcome->disposition);
        if (r == 0)
                r = add_text(&payload, container);
        if (r == 0)
                r = add_text(&payload, outcome->name);
        if (r == 0)
                r = add_text(&payload, outcome->etag);
        if (r < 0)
                return r;
        (void)pthread_mutex_lock(&s->lock);
        r = append(s, RECORD_OUTCOME, blob, &payload);
        if (r == 0)
                r = upl_known_outcome(&s->known, blob, container, outcome);
        (void)pthread_mutex_unlock(&s->lock);
        return r;
}

int upl_state_page(struct upl_state *s, uint64_t blob, uint64_t offset_bytes, uint64_t length_bytes)
{
        _cleanup_buf_ struct bth_buf payload = BTH_BUF_INIT;
        int r = add_u64(&payload, offset_bytes);

        if (r == 0)
                r = add_u64(&payload, length_bytes);
        if (r < 0)
                return r;
        (void)pthread_mutex_lock(&s->lock);
        r = append(s, RECORD_PAGE, blob, &payload);
        if (r == 0)
                r = upl_known_page(&s->known, blob,
                                   (struct upl_page){ offset_bytes, length_bytes });
        (void)pthread_mutex_unlock(&s->lock);
        return r;
}

int upl_state_made(struct upl_state *s, uint64_t blob)
{
        return upl_state_page(s, blob, made.offset_bytes, made.length_bytes);
}

bool upl_state_is_made(struct upl_state *s, uint64_t blob)
{
        return upl_state_has_page(s, blob, made.offset_bytes, made.length_bytes);
}

int upl_state_get_intent(struct upl_state *s, uint64_t blob, struct upl_intent *ret_intent)
{
        int r;

        (void)pthread_mutex_lock(&s->lock);
        r = upl_known_get_intent(&s->known, blob, ret_intent);
        (void)pthread_mutex_unlock(&s->lock);
        return r;
}

int upl_state_get_outcome(struct upl_state *s, uint64_t blob, struct upl_outcome *ret_outcome)
{
        int r;

        (void)pthread_mutex_lock(&s->lock);
        r = upl_known_get_outcome(&s->known, blob, ret_outcome);
        (void)pthread_mutex_unlock(&s->lock);
        return r;
}

bool upl_state_has_page(struct upl_state *s, uint64_t blob, uint64_t offset_bytes,
                        uint64_t length_bytes)
{
        bool has;

        (void)pthread_mutex_lock(&s->lock);
        has = upl_known_has_page(&s->known, blob, (struct upl_page){ offset_bytes, length_bytes });
        (void)pthread_mutex_unlock(&s->lock);
        return has;
}
