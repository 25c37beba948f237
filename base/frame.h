/* SPDX-License-Identifier: GPL-3.0-or-later */
/* frame - versioned messages between Berth's own processes over a Unix stream socket.
 *
 *   +0  u32 le  magic "BRTH"
 *   +4  u16 le  protocol version (BTH_FRAME_VERSION; another one is refused, not guessed)
 *   +6  u16 le  type (meaning is the peers' affair)
 *   +8  u32 le  length of the fields in bytes, at most BTH_FRAME_MAX_BYTES
 *   +12 u32 le  number of descriptors that travel with the frame, at most BTH_FRAME_MAX_FDS
 *   +16 fields, each:  u16 le tag, u16 le 0, u32 le length, then the bytes, unpadded
 *
 * Unknown tags are skipped by readers, so fields can be added without a new version. Buffers that
 * held a frame are wiped, because frames may carry keys. One object belongs to one thread. */
#pragma once

#include "base/macros.h"
#include "base/secret.h"

#define BTH_FRAME_VERSION      1
#define BTH_FRAME_MAX_BYTES    (16u * 1024 * 1024)
#define BTH_FRAME_MAX_FDS      8
#define BTH_FRAME_HEADER_BYTES 16

struct bth_frame;

/* An empty frame to fill. Returns 0 or -ENOMEM. */
int bth_frame_new(uint16_t type, struct bth_frame **ret_frame) _must_check_;
/* Wipes, closes descriptors that were received and not taken. NULL is fine; returns NULL. */
struct bth_frame *bth_frame_free(struct bth_frame *f);
DEFINE_CLEANUP(bth_frame_free, struct bth_frame *);

uint16_t bth_frame_type(const struct bth_frame *f);

/* Add a field; the same tag may come more than once. Returns 0, -ENOMEM, -EMSGSIZE beyond the
 * limit. */
int bth_frame_add_bytes(struct bth_frame *f, uint16_t tag, const void *data, size_t n) _must_check_;
int bth_frame_add_string(struct bth_frame *f, uint16_t tag, const char *text) _must_check_;
int bth_frame_add_u64(struct bth_frame *f, uint16_t tag, uint64_t value) _must_check_;
int bth_frame_add_secret(struct bth_frame *f, uint16_t tag, const struct bth_secret *s)
        _must_check_;
/* Lets a descriptor travel with the frame: a duplicate is kept. Returns 0, -EMSGSIZE, -errno of
 * fcntl(2). */
int bth_frame_add_fd(struct bth_frame *f, int fd) _must_check_;

/* Read a field: the first of that tag. Returns 0, -ENOENT when absent, -EBADMSG for a wrong size
 * or, for strings, a NUL inside or invalid UTF-8. Pointers are borrowed and live as long as the
 * frame. */
int bth_frame_get_bytes(const struct bth_frame *f, uint16_t tag, const void **ret_data,
                        size_t *ret_n) _must_check_;
int bth_frame_get_string(const struct bth_frame *f, uint16_t tag, char **ret_text)
        _must_check_; /* free() */
int bth_frame_get_u64(const struct bth_frame *f, uint16_t tag, uint64_t *ret_value) _must_check_;
int bth_frame_get_secret(const struct bth_frame *f, uint16_t tag, struct bth_secret **ret_s)
        _must_check_;
/* Takes over descriptor number `index`. Returns 0 or -ENOENT. */
int bth_frame_take_fd(struct bth_frame *f, unsigned index, int *ret_fd) _must_check_;

/* Sends a whole frame, blocking. Returns 0, -EPIPE when the peer is gone, -errno of sendmsg(2). */
int bth_frame_send(int socket_fd, const struct bth_frame *f) _must_check_;

/* Collects frames from a socket, blocking or not. */
struct bth_frame_reader;
int bth_frame_reader_new(int socket_fd, struct bth_frame_reader **ret_reader)
        _must_check_; /* 0, -ENOMEM */
struct bth_frame_reader *
bth_frame_reader_free(struct bth_frame_reader *r); /* does not close the socket */
DEFINE_CLEANUP(bth_frame_reader_free, struct bth_frame_reader *);
/* Reads what is there until one frame is whole.
 * Returns 1 and a frame; 0 when a non-blocking socket has no more yet; -EPIPE at the peer's clean
 * end; -EBADMSG for bytes that are no frame (wrong magic, a field past the end, too many
 * descriptors); -EPROTO for another version; -EMSGSIZE beyond the limit; -ENODATA for an end inside
 * a frame; -errno of recvmsg(2); -ENOMEM. After an error other than -EINTR the reader is of no more
 * use. */
int bth_frame_read(struct bth_frame_reader *r, struct bth_frame **ret_frame) _must_check_;

/* Parses one frame (header and fields, no descriptors) from memory; for tests and fuzzing.
 * Returns 0 and the errors of bth_frame_read(). */
int bth_frame_parse(const void *data, size_t n, struct bth_frame **ret_frame) _must_check_;
