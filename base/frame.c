/* SPDX-License-Identifier: GPL-3.0-or-later */
/* frame - building, sending, receiving and checking messages between our own processes. */
#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/checked.h"
#include "base/frame.h"
#include "base/le.h"
#include "base/str.h"

#define FRAME_MAGIC        0x48545242u /* "BRTH" */
#define FIELD_HEADER_BYTES 8
#define RECEIVE_BYTES      (64u * 1024)

struct bth_frame {
        uint16_t type;
        uint8_t *fields; /* wiped whenever it moves or goes */
        size_t length;
        size_t allocated;
        int fds[BTH_FRAME_MAX_FDS];
        unsigned n_fds;
};

int bth_frame_new(uint16_t type, struct bth_frame **ret_frame)
{
        struct bth_frame *f = calloc(1, sizeof *f);

        if (!f)
                return -ENOMEM;
        f->type = type;
        for (size_t i = 0; i < BTH_FRAME_MAX_FDS; i++)
                f->fds[i] = BTH_FD_NONE;
        *ret_frame = f;
        return 0;
}

struct bth_frame *bth_frame_free(struct bth_frame *f)
{
        if (!f)
                return NULL;
        for (size_t i = 0; i < BTH_FRAME_MAX_FDS; i++)
                (void)bth_close(f->fds[i]);
        bth_wipe(f->fields, f->allocated);
        free(f->fields);
        free(f);
        return NULL;
}

uint16_t bth_frame_type(const struct bth_frame *f)
{
        return f->type;
}

/* Grows by copy and wipe: realloc() would leave a key behind in freed memory. */
static int grow_wiping(uint8_t **data, size_t used, size_t *allocated, size_t need)
{
        size_t grown = *allocated < 256 ? 256 : *allocated;
        uint8_t *p;

        if (need <= *allocated)
                return 0;
        while (grown < need)
                if (!bth_mul_size(grown, 2, &grown))
                        return -ENOMEM;
        p = malloc(grown);
        if (!p)
                return -ENOMEM;
        if (used > 0)
                memcpy(p, *data, used);
        bth_wipe(*data, *allocated);
        free(*data);
        *data = p;
        *allocated = grown;
        return 0;
}

int bth_frame_add_bytes(struct bth_frame *f, uint16_t tag, const void *data, size_t n)
{
        uint8_t *p;
        int r;

        if (n > BTH_FRAME_MAX_BYTES - FIELD_HEADER_BYTES ||
            f->length > BTH_FRAME_MAX_BYTES - FIELD_HEADER_BYTES - n)
                return -EMSGSIZE;
        r = grow_wiping(&f->fields, f->length, &f->allocated, f->length + FIELD_HEADER_BYTES + n);
        if (r < 0)
                return r;
        p = f->fields + f->length;
        bth_store_le16(p, tag);
        bth_store_le16(p + 2, 0);
        bth_store_le32(p + 4, (uint32_t)n);
        if (n > 0)
                memcpy(p + FIELD_HEADER_BYTES, data, n);
        f->length += FIELD_HEADER_BYTES + n;
        return 0;
}

int bth_frame_add_string(struct bth_frame *f, uint16_t tag, const char *text)
{
        return bth_frame_add_bytes(f, tag, text, strlen(text));
}

int bth_frame_add_u64(struct bth_frame *f, uint16_t tag, uint64_t value)
{
        le64_t v = le64_make(value);

        return bth_frame_add_bytes(f, tag, v.b, sizeof v.b);
}

int bth_frame_add_secret(struct bth_frame *f, uint16_t tag, const struct bth_secret *s)
{
        return bth_frame_add_bytes(f, tag, s->data, s->length_bytes);
}

int bth_frame_add_fd(struct bth_frame *f, int fd)
{
        int copy;

        if (f->n_fds == BTH_FRAME_MAX_FDS)
                return -EMSGSIZE;
        copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (copy < 0)
                return -errno;
        f->fds[f->n_fds++] = copy;
        return 0;
}

/* The fields were checked when they came in or were made here, so walking them needs no more
 * checks. */
int bth_frame_get_bytes(const struct bth_frame *f, uint16_t tag, const void **ret_data,
                        size_t *ret_n)
{
        for (size_t at = 0; at < f->length;) {
                const uint8_t *p = f->fields + at;
                size_t n = bth_load_le32(p + 4);

                if (bth_load_le16(p) == tag) {
                        *ret_data = p + FIELD_HEADER_BYTES;
                        *ret_n = n;
                        return 0;
                }
                at += FIELD_HEADER_BYTES + n;
        }
        return -ENOENT;
}

int bth_frame_get_string(const struct bth_frame *f, uint16_t tag, char **ret_text)
{
        const void *data;
        size_t n;
        char *text;
        int r = bth_frame_get_bytes(f, tag, &data, &n);

        if (r < 0)
                return r;
        if (memchr(data, '\0', n) || !bth_utf8_valid(data, n))
                return -EBADMSG;
        text = strndup(data, n);
        if (!text)
                return -ENOMEM;
        *ret_text = text;
        return 0;
}

int bth_frame_get_u64(const struct bth_frame *f, uint16_t tag, uint64_t *ret_value)
{
        const void *data;
        size_t n;
        int r = bth_frame_get_bytes(f, tag, &data, &n);

        if (r < 0)
                return r;
        if (n != 8)
                return -EBADMSG;
        *ret_value = bth_load_le64(data);
        return 0;
}

int bth_frame_get_secret(const struct bth_frame *f, uint16_t tag, struct bth_secret **ret_s)
{
        const void *data;
        size_t n;
        int r = bth_frame_get_bytes(f, tag, &data, &n);

        if (r < 0)
                return r;
        r = bth_secret_new_copy(data, n, ret_s);
        return r == -EINVAL ? -EBADMSG : r;
}

int bth_frame_take_fd(struct bth_frame *f, unsigned index, int *ret_fd)
{
        if (index >= f->n_fds || f->fds[index] < 0)
                return -ENOENT;
        *ret_fd = take_fd(f->fds[index]);
        return 0;
}

static void put_header(const struct bth_frame *f, uint8_t header[BTH_FRAME_HEADER_BYTES])
{
        bth_store_le32(header, FRAME_MAGIC);
        bth_store_le16(header + 4, BTH_FRAME_VERSION);
        bth_store_le16(header + 6, f->type);
        bth_store_le32(header + 8, (uint32_t)f->length);
        bth_store_le32(header + 12, f->n_fds);
}

static void pass_over(struct msghdr *message, size_t sent)
{
        while (message->msg_iovlen > 0 && sent >= message->msg_iov->iov_len) {
                sent -= message->msg_iov->iov_len;
                message->msg_iov++;
                message->msg_iovlen--;
        }
        if (message->msg_iovlen > 0) {
                message->msg_iov->iov_base = (uint8_t *)message->msg_iov->iov_base + sent;
                message->msg_iov->iov_len -= sent;
        }
}

/* Header and fields leave in one call, unless the socket takes only a part. */
int bth_frame_send(int socket_fd, const struct bth_frame *f)
{
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int) * BTH_FRAME_MAX_FDS)];
        } control = { 0 };
        uint8_t header[BTH_FRAME_HEADER_BYTES];
        struct iovec parts[2] = { { .iov_base = header, .iov_len = sizeof header },
                                  { .iov_base = f->fields, .iov_len = f->length } };
        struct msghdr message = { .msg_iov = parts, .msg_iovlen = f->length > 0 ? 2 : 1 };

        put_header(f, header);
        if (f->n_fds > 0) {
                struct cmsghdr *c;

                message.msg_control = control.bytes;
                message.msg_controllen = CMSG_SPACE(sizeof(int) * f->n_fds);
                c = CMSG_FIRSTHDR(&message);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int) * f->n_fds);
                memcpy(CMSG_DATA(c), f->fds, sizeof(int) * f->n_fds);
        }
        while (message.msg_iovlen > 0) {
                ssize_t k = sendmsg(socket_fd, &message, MSG_NOSIGNAL);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                message.msg_control = NULL; /* the descriptors went with the first byte */
                message.msg_controllen = 0;
                pass_over(&message, (size_t)k);
        }
        return 0;
}

struct header {
        uint16_t type;
        uint32_t length;
        uint32_t n_fds;
};

static int parse_header(const uint8_t *p, struct header *ret_header)
{
        if (bth_load_le32(p) != FRAME_MAGIC)
                return -EBADMSG;
        if (bth_load_le16(p + 4) != BTH_FRAME_VERSION)
                return -EPROTO;
        *ret_header = (struct header){
                .type = bth_load_le16(p + 6),
                .length = bth_load_le32(p + 8),
                .n_fds = bth_load_le32(p + 12),
        };
        if (ret_header->length > BTH_FRAME_MAX_BYTES)
                return -EMSGSIZE;
        return ret_header->n_fds > BTH_FRAME_MAX_FDS ? -EBADMSG : 0;
}

static int check_fields(const uint8_t *p, size_t n)
{
        while (n > 0) {
                size_t length;

                if (n < FIELD_HEADER_BYTES || bth_load_le16(p + 2) != 0)
                        return -EBADMSG;
                length = bth_load_le32(p + 4);
                if (length > n - FIELD_HEADER_BYTES)
                        return -EBADMSG;
                p += FIELD_HEADER_BYTES + length;
                n -= FIELD_HEADER_BYTES + length;
        }
        return 0;
}

static int frame_from(const struct header *h, const uint8_t *fields, struct bth_frame **ret_frame)
{
        _cleanup_(bth_frame_freep) struct bth_frame *f = NULL;
        int r = check_fields(fields, h->length);

        if (r == 0)
                r = bth_frame_new(h->type, &f);
        if (r == 0)
                r = grow_wiping(&f->fields, 0, &f->allocated, h->length);
        if (r < 0)
                return r;
        if (h->length > 0)
                memcpy(f->fields, fields, h->length);
        f->length = h->length;
        *ret_frame = take_ptr(f);
        return 0;
}

int bth_frame_parse(const void *data, size_t n, struct bth_frame **ret_frame)
{
        struct header h;
        int r;

        if (n < BTH_FRAME_HEADER_BYTES)
                return -ENODATA;
        r = parse_header(data, &h);
        if (r < 0)
                return r;
        if (n - BTH_FRAME_HEADER_BYTES < h.length)
                return -ENODATA;
        if (n - BTH_FRAME_HEADER_BYTES > h.length || h.n_fds > 0)
                return -EBADMSG;
        return frame_from(&h, (const uint8_t *)data + BTH_FRAME_HEADER_BYTES, ret_frame);
}

struct bth_frame_reader {
        int socket_fd;
        uint8_t *data;
        size_t length;
        size_t allocated;
        int fds[BTH_FRAME_MAX_FDS]; /* received and not yet handed to a frame */
        unsigned n_fds;
};

int bth_frame_reader_new(int socket_fd, struct bth_frame_reader **ret_reader)
{
        struct bth_frame_reader *r = calloc(1, sizeof *r);

        if (!r)
                return -ENOMEM;
        r->socket_fd = socket_fd;
        *ret_reader = r;
        return 0;
}

struct bth_frame_reader *bth_frame_reader_free(struct bth_frame_reader *r)
{
        if (!r)
                return NULL;
        for (unsigned i = 0; i < r->n_fds; i++)
                (void)bth_close(r->fds[i]);
        bth_wipe(r->data, r->allocated);
        free(r->data);
        free(r);
        return NULL;
}

static int keep_fds(struct bth_frame_reader *r, struct msghdr *message)
{
        int result = message->msg_flags & MSG_CTRUNC ? -EBADMSG : 0;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
                size_t n;

                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                for (size_t i = 0; i < n; i++) {
                        int fd;

                        memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
                        if (r->n_fds < BTH_FRAME_MAX_FDS) {
                                r->fds[r->n_fds++] = fd;
                        } else {
                                (void)bth_close(fd);
                                result = -EBADMSG;
                        }
                }
        }
        return result;
}

/* Reads at most up to the end of the frame under way, so that descriptors of the next frame cannot
 * be taken for this one's. Returns bytes, 0 at the end, negative errno. */
static ssize_t receive(struct bth_frame_reader *r, size_t want)
{
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(int) * BTH_FRAME_MAX_FDS)];
        } control;
        struct iovec part;
        struct msghdr message = { .msg_iov = &part,
                                  .msg_iovlen = 1,
                                  .msg_control = control.bytes,
                                  .msg_controllen = sizeof control.bytes };
        ssize_t k;
        int e;

        want = MIN(want, (size_t)RECEIVE_BYTES);
        e = grow_wiping(&r->data, r->length, &r->allocated, r->length + want);
        if (e < 0)
                return e;
        part = (struct iovec){ .iov_base = r->data + r->length, .iov_len = want };
        do
                k = recvmsg(r->socket_fd, &message, MSG_CMSG_CLOEXEC);
        while (k < 0 && errno == EINTR);
        if (k < 0)
                return -errno;
        e = keep_fds(r, &message);
        if (e < 0)
                return e;
        r->length += (size_t)k;
        return k;
}

static int hand_over(struct bth_frame_reader *r, const struct header *h,
                     struct bth_frame **ret_frame)
{
        struct bth_frame *f;
        int e;

        if (h->n_fds != r->n_fds)
                return -EBADMSG;
        e = frame_from(h, r->data + BTH_FRAME_HEADER_BYTES, &f);
        if (e < 0)
                return e;
        memcpy(f->fds, r->fds, sizeof(int) * r->n_fds);
        f->n_fds = r->n_fds;
        r->n_fds = 0;
        bth_wipe(r->data, r->length);
        r->length = 0;
        *ret_frame = f;
        return 1;
}

int bth_frame_read(struct bth_frame_reader *r, struct bth_frame **ret_frame)
{
        for (;;) {
                size_t want = BTH_FRAME_HEADER_BYTES;
                struct header h;
                ssize_t k;

                if (r->length >= BTH_FRAME_HEADER_BYTES) {
                        int e = parse_header(r->data, &h);

                        if (e < 0)
                                return e;
                        want += h.length;
                        if (r->length == want)
                                return hand_over(r, &h, ret_frame);
                }
                k = receive(r, want - r->length);
                if (k == -EAGAIN)
                        return 0;
                if (k < 0)
                        return (int)k;
                if (k == 0)
                        return r->length == 0 ? -EPIPE : -ENODATA;
        }
}
